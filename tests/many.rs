//! The fast code, which the first call with many steps makes: the same bits as the first code.

use losscc::array::{Array, Data};
use losscc::ir::{Dim, TensorKind, Type};
use losscc::{Dtype, Kernel, Loss, Options, Spec};
use std::collections::HashMap;

/// Data that suits every loss here, with axes as long as `extent` says.
fn data(loss: &Loss, extent: &dyn Fn(&str) -> usize) -> Vec<(String, Array)> {
    let program = loss.program();
    let mut random = fastrand::Rng::with_seed(7);
    let mut out = vec![];
    for &id in &program.inputs {
        let tensor = program.get(id);
        let TensorKind::Input(input) = &tensor.kind else {
            panic!("`{}` is no input", tensor.name);
        };
        let shape: Vec<usize> = match &input.shape {
            None => vec![extent("N")],
            Some(dims) => dims
                .iter()
                .map(|d| match d {
                    Dim::Constant(n) => *n as usize,
                    Dim::Named(axis) => extent(axis),
                })
                .collect(),
        };
        let n = shape.iter().product();
        let data = match tensor.ty {
            Type::Real => Data::Real((0..n).map(|_| 0.05 + 0.9 * random.f64()).collect()),
            Type::Int => Data::Int((0..n).map(|_| random.i64(0..2)).collect()),
            Type::Bool => Data::Bool((0..n).map(|_| random.bool()).collect()),
        };
        out.push((tensor.name.to_string(), Array { shape, data }));
    }
    out
}

/// The bits of value and gradients.
fn bits(kernel: &Kernel, data: &[(String, Array)]) -> Vec<Vec<u64>> {
    let data: Vec<(&str, &Array)> = data.iter().map(|(n, a)| (&n[..], a)).collect();
    let all = kernel.evaluate(&data, &[]).unwrap();
    let mut out = vec![
        all.value
            .reals()
            .unwrap()
            .iter()
            .map(|x| x.to_bits())
            .collect(),
    ];
    for g in all.gradients {
        out.push(g.values.iter().map(|x| x.to_bits()).collect());
    }
    out
}

#[test]
fn the_fast_code_computes_the_same_bits() {
    let losses = [
        "bce_with_logits",
        "gan_discriminator",
        "gaussian_nll",
        "soft_margin",
        "msle",
        "cross_entropy",
        "soft_cross_entropy",
        "dice",
        "demographic_parity",
        "huber",
        "soft_dtw",
        "emd",
        "listmle",
    ];
    for name in losses {
        let loss = Spec::open(&format!("specs/{name}.loss"))
            .unwrap()
            .derive()
            .unwrap();
        for dtype in [Dtype::F32, Dtype::F64] {
            let make = |many| {
                let options = Options {
                    dtype,
                    many,
                    ..Options::default()
                };
                loss.compile(&options).unwrap()
            };
            let [first, fast] = [false, true].map(make);
            assert!(fast.code_size() != first.code_size(), "{name} {dtype:?}");
            // Rows of some, a part of a step and no elements; few and many of them. Up to `Kernel::MANY` steps the
            // code is the first.
            let few = [(1, 3), (0, 5), (2, 9), (5, 7), (1, 50), (29, 2), (64, 3)];
            let many = [(37, 29), (3, 1021), (23_001, 2), (33, 1030)];
            for (rows, others) in few.into_iter().chain(many) {
                let extents = HashMap::from([("N", rows), ("B", rows), ("Q", rows)]);
                let extent = |axis: &str| extents.get(axis).copied().unwrap_or(others);
                let data = data(&loss, &extent);
                let want = bits(&fast, &data);
                assert!(
                    bits(&first, &data) == want,
                    "{name} {dtype:?} {rows} {others}"
                );
            }
        }
    }
}
