//! The data that programs are called with. An element depends on the seed, the input's name and its index only, so that
//! the others stay what they are where an extent shrinks.

use crate::program::{Input, Program, Rule};
use crate::term::Ty;
use fastrand::Rng;
use losscc::array::{Array, Data as Values};

#[derive(Clone, Debug)]
pub struct Data {
    pub seed: u64,
    /// The extent of each class that the caller chooses; of the others nothing.
    pub extents: Vec<usize>,
    pub style: Style,
}

/// How reals are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Style {
    /// Between -3 and 3.
    Plain,
    /// Between 0 and 1.
    Unit,
    /// Halves, with many ties and zeros.
    Ties,
    /// Now and then in the hundreds.
    Large,
}

pub const STYLES: [Style; 4] = [Style::Plain, Style::Unit, Style::Ties, Style::Large];

impl Data {
    /// Extents up to `largest`, now and then 0.
    pub fn draw(program: &Program, seed: u64, largest: usize) -> Data {
        let mut rng = Rng::with_seed(seed);
        let empty = rng.u8(..6) == 0;
        let extent = |_: &_| match rng.u8(..10) {
            0 if empty => 0,
            0 | 1 => 1,
            2 | 3 => rng.usize(1..=largest),
            _ => rng.usize(2..=largest.clamp(2, 5)),
        };
        let extents = program.classes.iter().map(extent).collect();
        let style = STYLES[rng.usize(..STYLES.len())];
        Data {
            seed,
            extents,
            style,
        }
    }

    /// The extent of a class.
    pub fn extent(&self, program: &Program, class: usize) -> usize {
        match &program.classes[class].rule {
            Rule::Input | Rule::Star => self.extents[class],
            Rule::Constant(n) | Rule::Param(_, n) => *n,
            Rule::Linear(factor, of, plus) => factor * self.extent(program, *of) + plus,
            Rule::Joined(a, b) => self.extent(program, *a) + self.extent(program, *b),
        }
    }

    /// The inputs.
    pub fn arrays(&self, program: &Program) -> Vec<(String, Array)> {
        let one = |input: &Input| (input.name.clone(), self.array(program, input));
        program.inputs.iter().map(one).collect()
    }

    fn array(&self, program: &Program, input: &Input) -> Array {
        let shape: Vec<usize> = input
            .dims
            .iter()
            .map(|&c| self.extent(program, c))
            .collect();
        let count: usize = shape.iter().product();
        let range = input.indexes.map(|c| self.extent(program, c));
        let element = |position: usize| {
            let mut hash = self.seed ^ 0x9e37_79b9_7f4a_7c15;
            let mut mix = |x: u64| {
                hash = (hash ^ x)
                    .wrapping_mul(0xff51_afd7_ed55_8ccd)
                    .rotate_left(29)
            };
            input.name.bytes().for_each(|b| mix(u64::from(b)));
            let mut rest = position;
            for &n in shape.iter().rev() {
                mix((rest % n) as u64 + 1);
                rest /= n;
            }
            Rng::with_seed(hash)
        };
        let data = match input.ty {
            Ty::Real => Values::Real((0..count).map(|p| self.real(element(p))).collect()),
            Ty::Int => {
                let int = |p| match range {
                    Some(n) => element(p).i64(0..n.max(1) as i64),
                    None => element(p).i64(-2..7),
                };
                Values::Int((0..count).map(int).collect())
            }
            Ty::Bool => Values::Bool((0..count).map(|p| element(p).u8(..3) > 0).collect()),
        };
        Array { shape, data }
    }

    /// Exact in f32, so that both kernels see the same numbers.
    fn real(&self, mut rng: Rng) -> f64 {
        let x = match (self.style, rng.u8(..12)) {
            (Style::Plain | Style::Unit, 0) => 0.0,
            (Style::Plain | Style::Unit, 1) => 1.0,
            (Style::Large, 0) => rng.f64() * 800.0 - 400.0,
            (Style::Unit, _) => rng.f64() * 0.98 + 0.01,
            (Style::Ties, _) => f64::from(rng.i8(-3..4)) / 2.0,
            (Style::Plain | Style::Large, _) => rng.f64() * 6.0 - 3.0,
        };
        f64::from(x as f32)
    }
}
