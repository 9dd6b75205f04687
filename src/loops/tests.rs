//! Programs made by hand: what needs no text.

use super::{Wanted, interp, print, schedule};
use crate::array::{Array, Data};
use crate::grad::differentiate;
use crate::interp::{bind, evaluate};
use crate::ir::{Program, by_hand};
use crate::rewrite::simplify::simplify;

/// The loops of value and gradients; they must give what the definitions give.
fn checked(mut p: Program, data: &[(&str, Array)]) -> String {
    differentiate(&mut p);
    let outputs = p.outputs();
    simplify(&mut p, &outputs);
    let wanted = Wanted {
        value: true,
        gradients: p.gradients.iter().map(|g| g.input).collect(),
    };
    let loops = schedule(&p, &wanted).expect("a schedule");
    let text = print::print(&loops);
    let data: Vec<(&str, &Array)> = data.iter().map(|(n, a)| (*n, a)).collect();
    let bound = bind(&p, &data, &[]).expect("data that fit");
    let expected = evaluate(&p, &bound, &p.outputs()).expect("a value");
    let got = interp::run(&loops, &bound.inputs, &bound.params, 2)
        .unwrap_or_else(|e| panic!("{e}\n{text}"));
    for (a, b) in expected.iter().zip(&got) {
        let (a, b) = (a.reals().expect("reals"), b.reals().expect("reals"));
        for (x, y) in a.iter().zip(b) {
            assert!(
                x.is_finite() && (x - y).abs() <= 1e-12 * x.abs().max(1.0)
                    || x == y
                    || x.is_nan() && y.is_nan(),
                "{x} {y}\n{text}"
            );
        }
    }
    text
}

#[test]
fn mse_is_one_pass() {
    let reals = |v: &[f64]| Array::real(&[v.len()], v.to_vec());
    insta::assert_snapshot!(checked(
        by_hand::mse(),
        &[
            ("yhat", reals(&[1.0, 2.0, 4.0])),
            ("y", reals(&[1.5, 0.0, -1.0]))
        ]
    ));
}

#[test]
fn cross_entropy_counts_first_and_keeps_exponentials() {
    let logits = Array::real(&[3, 2], vec![0.0, 1.0, 2.0, -1.0, 5.0, 5.0]);
    let target = Array {
        shape: vec![3],
        data: Data::Int(vec![1, -100, 0]),
    };
    let data = [("logits", logits), ("target", target)];
    insta::assert_snapshot!(checked(by_hand::cross_entropy(), &data));
}
