//! Programs made by hand: what needs no text.

use super::{Wanted, interp, print, schedule};
use crate::array::{Array, Data};
use crate::grad::differentiate;
use crate::interp::{bind, evaluate};
use crate::ir::{
    AxisId, Body, Dim, ExtentKind, Gradient, Input, Node, Op, Param, ParamId, Program, ReduceOp,
    Tensor, TensorId, TensorKind, Type,
};
use crate::rewrite::simplify::simplify;

fn input(
    p: &mut Program,
    name: &str,
    ty: Type,
    head: &[AxisId],
    shape: Option<&[&str]>,
    differentiated: bool,
) -> TensorId {
    let head = head.iter().map(|&a| p.fresh(a)).collect();
    let shape = shape.map(|s| s.iter().map(|d| Dim::Named((*d).into())).collect());
    let kind = TensorKind::Input(Input {
        differentiated,
        shape,
        doc: "".into(),
    });
    let t = p.tensor(Tensor {
        name: name.into(),
        ty,
        head,
        kind,
        named: true,
        span: None,
    });
    p.inputs.push(t);
    if differentiated {
        p.gradients.push(Gradient {
            input: t,
            tensor: None,
            stated: None,
        });
    }
    t
}

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
                (x - y).abs() <= 1e-12 * x.abs().max(1.0) || x == y || x.is_nan() && y.is_nan(),
                "{x} {y}\n{text}"
            );
        }
    }
    text
}

#[test]
fn mse_is_one_pass() {
    let mut p = Program::new("mse".into());
    let all = p.extent("*".into(), ExtentKind::Input);
    let star = p.axis("*".into(), all);
    let yhat = input(&mut p, "yhat", Type::Real, &[star], None, true);
    let y = input(&mut p, "y", Type::Real, &[star], None, false);
    let (a, b) = (p.read_at(y, &[star]), p.read_at(yhat, &[star]));
    let d = p.sub(a, b);
    let square = p.power(d, 2.0);
    let mean = p.reduce(ReduceOp::Mean, &[star], None, square);
    p.value = p.define("value", vec![], Type::Real, Body::Expr(mean));
    let reals = |v: &[f64]| Array::real(&[v.len()], v.to_vec());
    insta::assert_snapshot!(checked(
        p,
        &[
            ("yhat", reals(&[1.0, 2.0, 4.0])),
            ("y", reals(&[1.5, 0.0, -1.0]))
        ]
    ));
}

#[test]
fn cross_entropy_counts_first_and_keeps_exponentials() {
    let mut p = Program::new("cross_entropy".into());
    let (rows, classes) = (
        p.extent("N".into(), ExtentKind::Input),
        p.extent("C".into(), ExtentKind::Input),
    );
    let (n, c) = (p.axis("N".into(), rows), p.axis("C".into(), classes));
    let logits = input(
        &mut p,
        "logits",
        Type::Real,
        &[n, c],
        Some(&["N", "C"]),
        true,
    );
    let target = input(&mut p, "target", Type::Int, &[n], Some(&["N"]), false);
    let ignored = Param {
        name: "ignore_index".into(),
        ty: Type::Int,
        default: Some(-100.0),
        domain: None,
        doc: "".into(),
    };
    p.params.push(ignored);
    let ignore = p.mk(Node::Param(ParamId(0)));
    let head = p.fresh(n);
    let all = p.read_at(logits, &[head, c]);
    let lse = p.reduce(ReduceOp::LogSumExp, &[c], None, all);
    let lse = p.define("lse", vec![head], Type::Real, Body::Expr(lse));
    p.tensors[lse.index()].named = true;
    let (l, t, i) = (p.read_at(lse, &[n]), p.read_at(target, &[n]), p.index_of(n));
    let at = p.read(logits, &[i, t], None);
    let term = p.sub(l, at);
    let counts = p.compare(Op::Ne, t, ignore);
    let mean = p.reduce(ReduceOp::Mean, &[n], Some(counts), term);
    p.value = p.define("value", vec![], Type::Real, Body::Expr(mean));
    let data = [
        (
            "logits",
            Array::real(&[3, 2], vec![0.0, 1.0, 2.0, -1.0, 5.0, 5.0]),
        ),
        (
            "target",
            Array {
                shape: vec![3],
                data: Data::Int(vec![1, -100, 0]),
            },
        ),
    ];
    insta::assert_snapshot!(checked(p, &data));
}
