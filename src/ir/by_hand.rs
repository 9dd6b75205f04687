//! Programs made by hand, for tests of what needs no text.

use super::{
    AxisId, Body, Dim, ExtentKind, Gradient, Input, Node, Op, Param, ParamId, Program, ReduceOp,
    Tensor, TensorId, TensorKind, Type,
};

/// Adds an input, and its place among the gradients if it is differentiated; without a shape it is over `*`.
pub(crate) fn input(
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

/// `mean((y - yhat)^2)`.
pub(crate) fn mse() -> Program {
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
    p
}

/// `mean[N if target != ignore_index](lse - logits[N, target])` with `lse = logsumexp[C](logits)`.
pub(crate) fn cross_entropy() -> Program {
    let mut p = Program::new("cross_entropy".into());
    let rows = p.extent("N".into(), ExtentKind::Input);
    let classes = p.extent("C".into(), ExtentKind::Input);
    let (n, c) = (p.axis("N".into(), rows), p.axis("C".into(), classes));
    let shape: &[&str] = &["N", "C"];
    let logits = input(&mut p, "logits", Type::Real, &[n, c], Some(shape), true);
    let target = input(&mut p, "target", Type::Int, &[n], Some(&["N"]), false);
    p.params.push(Param {
        name: "ignore_index".into(),
        ty: Type::Int,
        default: Some(-100.0),
        domain: None,
        doc: "".into(),
    });
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
    p
}
