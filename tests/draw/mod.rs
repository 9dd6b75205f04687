//! Programs of a text, and random inputs for them.

use losscc::array::{Array, Data};
use losscc::interp::scalar::Scalar;
use losscc::interp::{Bound, extents_for};
use losscc::ir::{ExtentKind, Program, Type};
use losscc::{compile, lower, modules};
use std::path::Path;

/// Loads, checks, makes stable and differentiates.
pub fn program(name: &str, text: &str) -> Program {
    let files =
        |path: &Path| std::fs::read(Path::new("specs").join(path.file_name().unwrap_or_default()));
    let modules = modules::load_text(name, text, &files)
        .unwrap_or_else(|f| panic!("{name}: {:?}", f.diagnostics));
    let checked = lower::lower(&modules, modules.root).unwrap_or_else(|e| panic!("{name}: {e:?}"));
    let derived = compile::derive(checked.program);
    derived.unwrap_or_else(|e| panic!("{name}: {e:?}")).program
}

/// Random inputs, of numbers that an f32 holds; extents are below `most`, and 0 now and then; that of number `long` is
/// longer.
pub fn draw(
    program: &Program,
    most: usize,
    long: Option<usize>,
    rng: &mut fastrand::Rng,
) -> Option<Bound> {
    let params: Vec<Scalar> = program
        .params
        .iter()
        .map(|p| match p.ty {
            Type::Int => Scalar::Int(p.default.unwrap_or(2.0) as i64),
            Type::Real | Type::Bool => Scalar::Real(p.default.unwrap_or(0.7)),
        })
        .collect();
    let empty = rng.u8(..4) == 0 && long.is_none();
    let extent = |rng: &mut fastrand::Rng| {
        if empty {
            rng.usize(0..3)
        } else {
            rng.usize(1..most)
        }
    };
    let given: Vec<Option<usize>> = program
        .extents
        .iter()
        .enumerate()
        .map(|(k, e)| {
            let n = (e.kind == ExtentKind::Input).then(|| extent(rng))?;
            Some(if long == Some(k) { 3 * most + n } else { n })
        })
        .collect();
    let extents = extents_for(program, &given, &params).ok()?;
    let positive = rng.bool();
    let largest = rng.i64(1..5);
    let mut inputs = vec![];
    for &t in &program.inputs {
        let tensor = program.get(t);
        let shape: Vec<usize> = tensor
            .head
            .iter()
            .map(|&a| extents[program.extent_of(a).index()])
            .collect();
        let n: usize = shape.iter().product();
        let real = |rng: &mut fastrand::Rng| match rng.u8(..12) {
            0 => 0.0,
            1 => 1.0,
            2 if !positive => -1.0,
            _ if positive => f64::from((rng.f64() * 0.98 + 0.01) as f32),
            _ => f64::from((rng.f64() * 6.0 - 3.0) as f32),
        };
        let data = match tensor.ty {
            Type::Real => Data::Real((0..n).map(|_| real(rng)).collect()),
            Type::Int => Data::Int(
                (0..n)
                    .map(|_| {
                        if rng.u8(..9) == 0 {
                            -100
                        } else {
                            rng.i64(0..largest)
                        }
                    })
                    .collect(),
            ),
            Type::Bool => Data::Bool((0..n).map(|_| rng.bool()).collect()),
        };
        inputs.push(Array { shape, data });
    }
    Some(Bound {
        shapes: inputs.iter().map(|a| a.shape.clone()).collect(),
        inputs,
        extents,
        params,
    })
}
