//! Second derivatives along a vector: the product of the Hessian with it, without the Hessian.
//!
//! `H v` is the gradient of `sum(x_bar * v)`, the gradient of the loss times a constant vector: one more reverse sweep
//! over the program that has the gradient, so it costs a small multiple of the gradient, through recurrences and inner
//! gradients, too.

use super::sweep;
use crate::ir::{
    AxisId, Body, ExprId, Input, Node, Op, Program, ReduceOp, Tensor, TensorId, TensorKind, Type,
};
use crate::rewrite::{live, name};
use std::sync::Arc;

/// The name of the vector for an input: `v_x`, with the same number of underscores after it for every input where an
/// input or a hyperparameter has one of these names.
pub fn vector_name(program: &Program, input: TensorId) -> Arc<str> {
    let inputs: Vec<&str> = program
        .inputs
        .iter()
        .map(|&i| &*program.get(i).name)
        .collect();
    let params = program.params.iter().map(|p| &*p.name);
    let taken: Vec<&str> = params.chain(inputs.iter().copied()).collect();
    let mut end = String::new();
    while inputs
        .iter()
        .any(|x| taken.contains(&format!("v_{x}{end}").as_str()))
    {
        end.push('_');
    }
    format!("v_{}{end}", program.get(input).name).into()
}

/// Makes the value of a differentiated program the product of its gradients with vectors, one new input for each of
/// `wanted`, and each gradient the Hessian-vector product. Other gradients go.
pub fn products(program: &mut Program, wanted: &[TensorId]) {
    program.gradients.retain(|g| wanted.contains(&g.input));
    let mut value = program.real(0.0);
    let gradients: Vec<_> = program
        .gradients
        .iter()
        .map(|g| (g.input, vector_name(program, g.input), g.tensor))
        .collect();
    for (input, name, gradient) in gradients {
        let vector = vector_for(program, input, name);
        let Some(gradient) = gradient else {
            continue;
        };
        let term = dot(program, gradient, vector);
        value = program.add(value, term);
    }
    program.value = program.define("along", vec![], Type::Real, Body::Expr(value));
    let mut definitions = live(program, &[program.value]);
    name::name_reductions(program, &mut definitions);
    let bars = sweep::adjoints(program, program.value, wanted);
    for g in &mut program.gradients {
        g.tensor = bars.get(&g.input).copied();
        g.stated = None;
    }
}

/// A new input of the type of `input`.
fn vector_for(program: &mut Program, input: TensorId, name: Arc<str>) -> TensorId {
    let Tensor {
        name: of,
        head,
        kind,
        ..
    } = program.get(input).clone();
    let shape = match kind {
        TensorKind::Input(i) => i.shape,
        TensorKind::Definition(_) => None,
    };
    let head = head.iter().map(|&a| program.fresh(a)).collect();
    let vector = program.tensor(Tensor {
        name,
        ty: Type::Real,
        head,
        kind: TensorKind::Input(Input {
            differentiated: false,
            shape,
            doc: format!("What the Hessian in `{of}` is multiplied with.").into(),
        }),
        named: true,
        span: None,
    });
    program.inputs.push(vector);
    vector
}

/// `sum[A](gradient[A] * vector[A])`.
fn dot(program: &mut Program, gradient: TensorId, vector: TensorId) -> ExprId {
    let head = program.get(gradient).head.clone();
    let axes: Vec<AxisId> = head.iter().map(|&a| program.fresh(a)).collect();
    let g = program.read_at(gradient, &axes);
    let v = program.read_at(vector, &axes);
    let body = program.raw(Op::Mul, &[g, v]);
    if axes.is_empty() {
        return body;
    }
    program.mk(Node::Reduce {
        op: ReduceOp::Sum,
        axes: axes.into(),
        guard: None,
        body,
    })
}
