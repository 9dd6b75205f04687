//! Random inputs that a program can be evaluated at.

use crate::array::{Array, Data};
use crate::diagnostic::Diagnostic;
use crate::interp::scalar::Scalar;
use crate::interp::{Bound, Held, Plan, extents_for};
use crate::ir::{
    ExprId, ExtentId, ExtentKind, Node, Op, Param, Program, TensorId, TensorKind, Type,
};
use fastrand::Rng;

/// Draws inputs until the program's value is finite at them.
pub struct Sampler<'a> {
    program: &'a Program,
    rng: Rng,
    /// For each input that is an index: the least and the first too large value, as far as reads show it.
    indices: Vec<(TensorId, Vec<IndexUse>)>,
    /// Whether hyperparameters move from their defaults, in every second draw: what a default of 0 or 1 hides shows only
    /// then.
    moves: bool,
}

/// `factor * x + offset` indexes a position of extent `extent`.
#[derive(Debug, Clone, Copy)]
struct IndexUse {
    factor: i64,
    offset: i64,
    extent: ExtentId,
}

/// How real inputs are drawn.
#[derive(Debug, Clone, Copy)]
enum Distribution {
    Normal,
    /// Strictly between 0 and 1.
    Unit,
    Positive,
    /// -1 or 1.
    Sign,
    /// 0 or 1.
    Label,
}

const DISTRIBUTIONS: [Distribution; 5] = [
    Distribution::Normal,
    Distribution::Unit,
    Distribution::Positive,
    Distribution::Sign,
    Distribution::Label,
];

/// How many draws may fail before it is given up.
const TRIES: usize = 200;

impl<'a> Sampler<'a> {
    pub fn new(program: &'a Program, seed: u64) -> Sampler<'a> {
        Sampler {
            program,
            rng: Rng::with_seed(seed),
            moves: true,
            indices: index_uses(program),
        }
    }

    /// Inputs at which the value is finite.
    ///
    /// # Errors
    /// The last error of the interpreter, if it refused all; or that no value was finite.
    pub fn draw(&mut self) -> Result<Bound, Diagnostic> {
        self.moves = !self.moves;
        self.finite(TRIES, |_| {})
    }

    /// The value of a hyperparameter: its default, unless it moves.
    fn param(&mut self, p: &Param, moves: bool) -> f64 {
        if let Some(default) = p.default {
            if !moves || p.ty != Type::Real {
                return default;
            }
            if default != 0.0 {
                let other = default * (0.5 + self.rng.f64());
                let allowed = p.domain.is_none_or(|d| d.contains(other));
                return if allowed { other } else { default };
            }
        }
        let (low, high) = p
            .domain
            .map_or((0.0, 1.0), |d| (d.low.max(-10.0), d.high.min(10.0)));
        low + (high - low) * (0.1 + 0.8 * self.rng.f64())
    }

    /// Inputs with many zeros and ties, all reals multiples of `grid`, at which the value is finite; if they are easy
    /// to find.
    pub fn draw_edges(&mut self, grid: f64) -> Option<Bound> {
        self.moves = false;
        let round = |bound: &mut Bound| {
            for array in &mut bound.inputs {
                if let Data::Real(v) = &mut array.data {
                    v.iter_mut()
                        .for_each(|x| *x = (*x / grid).round() * grid + 0.0);
                }
            }
        };
        self.finite(TRIES / 10, round).ok()
    }

    fn finite(&mut self, tries: usize, change: impl Fn(&mut Bound)) -> Result<Bound, Diagnostic> {
        let program = self.program;
        let plan = Plan::new(program, &[program.value]);
        let mut error = None;
        for attempt in 0..tries {
            let mut bound = match self.attempt(attempt) {
                Ok(bound) => bound,
                Err(e) => {
                    error = Some(e);
                    continue;
                }
            };
            change(&mut bound);
            match plan.run(&bound, &mut Held::Nothing) {
                Ok(value)
                    if value[0]
                        .reals()
                        .is_some_and(|v| v.iter().all(|x| x.is_finite())) =>
                {
                    return Ok(bound);
                }
                Ok(_) => {}
                Err(e) => error = Some(e),
            }
        }
        Err(error.unwrap_or_else(|| {
            Diagnostic::warning(format!(
                "`{}` is finite at none of {tries} random inputs",
                program.name
            ))
        }))
    }

    fn attempt(&mut self, attempt: usize) -> Result<Bound, Diagnostic> {
        let program = self.program;
        let moves = self.moves && attempt < DISTRIBUTIONS.len();
        let params: Vec<Scalar> = program
            .params
            .iter()
            .map(|p| {
                let value = self.param(p, moves);
                if p.ty == Type::Int {
                    Scalar::Int(value as i64)
                } else {
                    Scalar::Real(value)
                }
            })
            .collect();
        // Finite differences take time as the square of the number of elements.
        let inputs = program.extents.iter();
        let axes = inputs.filter(|e| matches!(e.kind, ExtentKind::Input));
        let end = if axes.count() > 4 { 4 } else { 6 };
        let given: Vec<Option<usize>> = program
            .extents
            .iter()
            .map(|e| match e.kind {
                ExtentKind::Input => Some(self.rng.usize(2..end)),
                ExtentKind::Constant(_) | ExtentKind::Declared(_) => None,
            })
            .collect();
        let extents = extents_for(program, &given, &params)?;
        // Mostly one distribution for all, at first the normal one; the labels of later draws are mixed freely.
        let all = DISTRIBUTIONS[attempt % DISTRIBUTIONS.len()];
        let mut inputs = vec![];
        for &t in &program.inputs {
            let tensor = program.get(t);
            let shape: Vec<usize> = tensor
                .head
                .iter()
                .map(|&a| extents[program.extent_of(a).index()])
                .collect();
            let n: usize = shape.iter().product();
            let data = match tensor.ty {
                Type::Real => {
                    let given = matches!(&tensor.kind, TensorKind::Input(i) if !i.differentiated);
                    let mixed = attempt >= DISTRIBUTIONS.len() || given;
                    let d = if mixed {
                        DISTRIBUTIONS[self.rng.usize(..DISTRIBUTIONS.len())]
                    } else {
                        all
                    };
                    Data::Real((0..n).map(|_| self.real(d)).collect())
                }
                Type::Int => {
                    let (low, high) = self.range(t, &extents);
                    Data::Int((0..n).map(|_| self.rng.i64(low..=high)).collect())
                }
                Type::Bool => Data::Bool((0..n).map(|_| self.rng.u8(..4) > 0).collect()),
            };
            inputs.push(Array { shape, data });
        }
        let shapes = inputs.iter().map(|a| a.shape.clone()).collect();
        Ok(Bound {
            inputs,
            shapes,
            extents,
            params,
        })
    }

    fn real(&mut self, d: Distribution) -> f64 {
        let unit = 0.02 + 0.96 * self.rng.f64();
        match d {
            Distribution::Normal => {
                (-2.0 * unit.ln()).sqrt() * (std::f64::consts::TAU * self.rng.f64()).cos()
            }
            Distribution::Unit => unit,
            Distribution::Positive => 3.0 * unit,
            Distribution::Sign => {
                if self.rng.bool() {
                    1.0
                } else {
                    -1.0
                }
            }
            Distribution::Label => f64::from(u8::from(self.rng.bool())),
        }
    }

    /// The values of an int input for which every index it makes is in range; -1 to 2 if it makes none.
    fn range(&self, input: TensorId, extents: &[usize]) -> (i64, i64) {
        let Some((_, uses)) = self.indices.iter().find(|(t, _)| *t == input) else {
            return (-1, 2);
        };
        let (mut low, mut high) = (i64::MIN, i64::MAX);
        for u in uses {
            // 0 <= factor * x + offset < extent
            let last = extents[u.extent.index()] as i64 - 1 - u.offset;
            let (a, b) = (
                (-u.offset) as f64 / u.factor as f64,
                last as f64 / u.factor as f64,
            );
            low = low.max(a.min(b).ceil() as i64);
            high = high.min(a.max(b).floor() as i64);
        }
        if low > high { (0, 0) } else { (low, high) }
    }
}

/// Where int inputs, as they are or scaled and shifted, are indices of plain reads.
fn index_uses(program: &Program) -> Vec<(TensorId, Vec<IndexUse>)> {
    let mut out: Vec<(TensorId, Vec<IndexUse>)> = vec![];
    for id in (0..program.node_count()).map(|n| ExprId(n as u32)) {
        let Node::Read {
            tensor,
            index,
            default: None,
        } = program.node(id)
        else {
            continue;
        };
        for (&i, &axis) in index.iter().zip(&program.get(*tensor).head) {
            if let Some((input, factor, offset)) = linear(program, i) {
                let use_ = IndexUse {
                    factor,
                    offset,
                    extent: program.extent_of(axis),
                };
                match out.iter_mut().find(|(t, _)| *t == input) {
                    Some((_, uses)) => uses.push(use_),
                    None => out.push((input, vec![use_])),
                }
            }
        }
    }
    out
}

/// `factor * input + offset`, if the index is of this form.
fn linear(program: &Program, e: ExprId) -> Option<(TensorId, i64, i64)> {
    let constant = |e: ExprId| {
        if let Node::Int(n) = program.node(e) {
            Some(*n)
        } else {
            None
        }
    };
    match program.node(e) {
        Node::Read { tensor, .. } if program.inputs.contains(tensor) => Some((*tensor, 1, 0)),
        Node::Op(Op::Add, o) => match (linear(program, o[0]), constant(o[1]), constant(o[0])) {
            (Some((t, f, c)), Some(n), _) => Some((t, f, c + n)),
            (_, _, Some(n)) => linear(program, o[1]).map(|(t, f, c)| (t, f, c + n)),
            _ => None,
        },
        Node::Op(Op::Sub, o) => {
            let n = constant(o[1])?;
            linear(program, o[0]).map(|(t, f, c)| (t, f, c - n))
        }
        Node::Op(Op::Mul, o) => {
            let (n, x) = constant(o[0])
                .map(|n| (n, o[1]))
                .or_else(|| constant(o[1]).map(|n| (n, o[0])))?;
            linear(program, x)
                .filter(|_| n != 0)
                .map(|(t, f, c)| (t, f * n, c * n))
        }
        _ => None,
    }
}
