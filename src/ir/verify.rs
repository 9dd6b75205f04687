//! The verifier: whether a program keeps what [`Program`] promises. It runs after each pass in tests, so that a
//! mistake is found in the pass that made it.

use super::op::Operands;
use super::{
    AxisId, Body, ExprId, ExtentKind, Node, Op, Program, ReduceOp, TensorId, TensorKind, Type,
};
use rustc_hash::{FxHashMap, FxHashSet};

/// Checks ids, types of operands, arity of reads, that the free axes of every body are in its head, and that every
/// binder has axes of its own.
///
/// # Errors
/// The first broken promise, in words for a developer of losscc.
pub fn verify(program: &Program) -> Result<(), String> {
    for (k, axis) in program.axes.iter().enumerate() {
        in_range(axis.extent.index(), program.extents.len(), || {
            format!("the extent of axis {k}")
        })?;
    }
    for (k, extent) in program.extents.iter().enumerate() {
        if let ExtentKind::Declared(e) = extent.kind {
            expression(program, e, &format!("extent {k} ({})", extent.name))?;
            if program.ty(e) != Type::Int || !program.free(e).is_empty() {
                return Err(format!(
                    "extent {k} ({}) is not an int without axes",
                    extent.name
                ));
            }
        }
    }
    let mut binders = FxHashMap::default();
    for t in 0..program.tensors.len() {
        tensor(program, TensorId(t as u32), &mut binders)?;
    }
    in_range(program.value.index(), program.tensors.len(), || {
        "the value".into()
    })?;
    for &input in &program.inputs {
        in_range(input.index(), program.tensors.len(), || "an input".into())?;
        if !matches!(program.get(input).kind, TensorKind::Input(_)) {
            return Err(format!(
                "{} is listed as an input and is none",
                program.get(input).name
            ));
        }
    }
    for g in &program.gradients {
        in_range(g.input.index(), program.tensors.len(), || {
            "the input of a gradient".into()
        })?;
        let Some(t) = g.tensor else { continue };
        in_range(t.index(), program.tensors.len(), || "a gradient".into())?;
        let (input, bar) = (program.get(g.input), program.get(t));
        if bar.ty != Type::Real || input.head.len() != bar.head.len() {
            return Err(format!(
                "the gradient {} does not look like its input {}",
                bar.name, input.name
            ));
        }
    }
    Ok(())
}

fn in_range(id: usize, len: usize, what: impl FnOnce() -> String) -> Result<(), String> {
    if id < len {
        Ok(())
    } else {
        Err(format!("{} does not exist: {id} of {len}", what()))
    }
}

fn tensor(
    program: &Program,
    id: TensorId,
    binders: &mut FxHashMap<AxisId, String>,
) -> Result<(), String> {
    let t = program.get(id);
    let name = format!("{} (tensor {})", t.name, id.0);
    for &axis in &t.head {
        in_range(axis.index(), program.axes.len(), || {
            format!("an axis of {name}")
        })?;
        bind(binders, axis, &name)?;
    }
    let TensorKind::Definition(body) = &t.kind else {
        return Ok(());
    };
    match body {
        Body::Expr(e) => {
            expression(program, *e, &name)?;
            if program.ty(*e) != t.ty {
                return Err(format!(
                    "{name} is {:?}, its body {:?}",
                    t.ty,
                    program.ty(*e)
                ));
            }
        }
        Body::Argsort { along, guard, key } => {
            if !t.head.contains(along) {
                return Err(format!("{name} sorts along an axis that it does not have"));
            }
            if t.ty != Type::Int {
                return Err(format!("{name} is a permutation and not int"));
            }
            expression(program, *key, &name)?;
            if program.ty(*key) == Type::Bool {
                return Err(format!("{name} sorts bools"));
            }
            if let Some(g) = guard {
                expression(program, *g, &name)?;
                expect(program, *g, Type::Bool, &name)?;
            }
        }
        Body::Grad { of, wrt } => {
            in_range(of.index(), program.tensors.len(), || {
                format!("what {name} differentiates")
            })?;
            in_range(wrt.index(), program.tensors.len(), || {
                format!("what {name} differentiates by")
            })?;
            if t.head.len() != program.get(*of).head.len() + program.get(*wrt).head.len() {
                return Err(format!(
                    "{name} does not have the axes of both operands of grad"
                ));
            }
            if program.get(*of).ty != Type::Real
                || program.get(*wrt).ty != Type::Real
                || t.ty != Type::Real
            {
                return Err(format!("{name} differentiates what is not real"));
            }
        }
    }
    for e in program.roots(id) {
        if let Some(a) = program.free(e).iter().find(|a| !t.head.contains(a)) {
            return Err(format!(
                "axis {} ({}) is free in {name}",
                program.axes[a.index()].hint,
                a.0
            ));
        }
        for n in program.reachable(&[e]) {
            if let Node::Reduce { axes, .. } = program.node(n)
                && let Some(a) = axes.iter().find(|a| t.head.contains(a))
            {
                return Err(format!(
                    "a reduction in {name} binds its head axis {}",
                    program.axes[a.index()].hint
                ));
            }
        }
    }
    Ok(())
}

/// A head has axes that no other head has.
fn bind(binders: &mut FxHashMap<AxisId, String>, axis: AxisId, name: &str) -> Result<(), String> {
    match binders.insert(axis, name.into()) {
        Some(other) => Err(format!("axis {} is bound by {other} and by {name}", axis.0)),
        None => Ok(()),
    }
}

/// Checks every node that an expression is made of.
fn expression(program: &Program, root: ExprId, name: &str) -> Result<(), String> {
    in_range(root.index(), program.node_count(), || {
        format!("the body of {name}")
    })?;
    let mut seen: FxHashSet<AxisId> = FxHashSet::default();
    for e in program.reachable(&[root]) {
        node(program, e, name)?;
        let mut later = None;
        program.for_children(e, |c| {
            if c >= e {
                later = Some(c);
            }
        });
        if let Some(c) = later {
            return Err(format!(
                "in {name}, node {} has the later operand {}",
                e.0, c.0
            ));
        }
        if let Node::Reduce { axes, .. } = program.node(e) {
            for &a in axes {
                in_range(a.index(), program.axes.len(), || {
                    format!("an axis of a reduction in {name}")
                })?;
                if !seen.insert(a) {
                    return Err(format!("two reductions in {name} bind axis {}", a.0));
                }
            }
        }
    }
    Ok(())
}

fn expect(program: &Program, e: ExprId, ty: Type, name: &str) -> Result<(), String> {
    if program.ty(e) == ty {
        Ok(())
    } else {
        Err(format!(
            "in {name}, node {} is {:?} and not {ty:?}: {:?}",
            e.0,
            program.ty(e),
            program.node(e)
        ))
    }
}

fn node(program: &Program, e: ExprId, name: &str) -> Result<(), String> {
    match program.node(e) {
        Node::Real(_) | Node::Int(_) | Node::Bool(_) => Ok(()),
        Node::Axis(a) => in_range(a.index(), program.axes.len(), || {
            format!("an axis in {name}")
        }),
        Node::Size(x) => in_range(x.index(), program.extents.len(), || {
            format!("an extent in {name}")
        }),
        Node::Param(p) => in_range(p.index(), program.params.len(), || {
            format!("a hyperparameter in {name}")
        }),
        Node::Read {
            tensor,
            index,
            default,
        } => {
            in_range(tensor.index(), program.tensors.len(), || {
                format!("a tensor read in {name}")
            })?;
            let t = program.get(*tensor);
            if t.head.len() != index.len() {
                return Err(format!(
                    "in {name}, {} has {} axes, read at {}",
                    t.name,
                    t.head.len(),
                    index.len()
                ));
            }
            for &i in index {
                expect(program, i, Type::Int, name)?;
            }
            default.map_or(Ok(()), |d| expect(program, d, t.ty, name))
        }
        Node::If {
            condition,
            then,
            otherwise,
        } => {
            expect(program, *condition, Type::Bool, name)?;
            expect(program, *otherwise, program.ty(*then), name)
        }
        Node::Op(op, operands) => operator(program, *op, operands, name)
            .map_err(|m| format!("{m} (node {}: {:?})", e.0, program.node(e))),
        Node::Reduce {
            op,
            axes,
            guard,
            body,
        } => {
            if let Some(g) = guard {
                expect(program, *g, Type::Bool, name)?;
            }
            if matches!(op, ReduceOp::ArgMax | ReduceOp::ArgMin) && axes.len() != 1 {
                return Err(format!("in {name}, {} over {} axes", op.name(), axes.len()));
            }
            match op {
                ReduceOp::Mean | ReduceOp::LogSumExp | ReduceOp::Norm => {
                    expect(program, *body, Type::Real, name)
                }
                ReduceOp::Any | ReduceOp::All | ReduceOp::Count => {
                    expect(program, *body, Type::Bool, name)
                }
                ReduceOp::Sum
                | ReduceOp::Prod
                | ReduceOp::Max
                | ReduceOp::Min
                | ReduceOp::ArgMax
                | ReduceOp::ArgMin => number(program, *body, name).map(|_| ()),
            }
        }
    }
}

fn number(program: &Program, e: ExprId, name: &str) -> Result<Type, String> {
    match program.ty(e) {
        Type::Bool => Err(format!(
            "in {name}, node {} is a bool and not a number",
            e.0
        )),
        ty @ (Type::Real | Type::Int) => Ok(ty),
    }
}

/// Number and types of an operator's operands.
fn operator(program: &Program, op: Op, operands: &[ExprId], name: &str) -> Result<(), String> {
    let fits = match op.arity() {
        Some(wanted) => operands.len() == wanted,
        None => operands.len() >= 2,
    };
    if !fits {
        return Err(format!(
            "in {name}, `{}` has {} operands",
            op.name(),
            operands.len()
        ));
    }
    let all = |ty: Type| {
        operands
            .iter()
            .try_for_each(|&o| expect(program, o, ty, name))
    };
    match op.operands() {
        Operands::Numbers => number(program, operands[0], name).and_then(all),
        Operands::Alike => all(program.ty(operands[0])),
        Operands::Reals => all(Type::Real),
        Operands::Ints => all(Type::Int),
        Operands::Bools => all(Type::Bool),
        Operands::IntAndReal => {
            expect(program, operands[0], Type::Int, name)?;
            expect(program, operands[1], Type::Real, name)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{Tensor, TensorId};

    /// `value = sum[N](x)` over an input x, and what a test breaks of it.
    fn broken(change: impl FnOnce(&mut Program)) -> String {
        let mut p = Program::new("f".into());
        let extent = p.extent("N".into(), ExtentKind::Input);
        let head = p.axis("N".into(), extent);
        let x = p.tensor(Tensor {
            name: "x".into(),
            ty: Type::Real,
            head: vec![head],
            kind: TensorKind::Input(super::super::Input {
                differentiated: true,
                shape: None,
                doc: "".into(),
            }),
            named: true,
            span: None,
        });
        p.inputs.push(x);
        let n = p.fresh(head);
        let body = p.read_at(x, &[n]);
        let sum = p.mk(Node::Reduce {
            op: ReduceOp::Sum,
            axes: [n].into(),
            guard: None,
            body,
        });
        p.value = p.define("value", vec![], Type::Real, Body::Expr(sum));
        assert_eq!(verify(&p), Ok(()));
        change(&mut p);
        verify(&p).unwrap_err()
    }

    #[test]
    fn broken_promises_are_found() {
        let value = |p: &mut Program, e: ExprId| {
            let t = p.value;
            p.set_body(t, Body::Expr(e));
        };
        let cases: Vec<(&str, String)> = vec![
            (
                "is Real, its body Int",
                broken(|p| {
                    let e = p.int(1);
                    value(p, e);
                }),
            ),
            (
                "is free in value",
                broken(|p| {
                    let a = p.fresh(AxisId(0));
                    let e = p.read_at(TensorId(0), &[a]);
                    value(p, e);
                }),
            ),
            (
                "x has 1 axes, read at 0",
                broken(|p| {
                    let e = p.read_at(TensorId(0), &[]);
                    value(p, e);
                }),
            ),
            (
                "is Int and not Real",
                broken(|p| {
                    let one = p.int(1);
                    let e = p.raw(Op::Exp, &[one]);
                    value(p, e);
                }),
            ),
            (
                "is a bool and not a number",
                broken(|p| {
                    let b = p.bool(true);
                    let e = p.raw(Op::Add, &[b, b]);
                    let t = p.value;
                    p.tensors[t.index()].ty = Type::Bool;
                    value(p, e);
                }),
            ),
            (
                "`clamp` has 2 operands",
                broken(|p| {
                    let x = p.real(1.0);
                    let e = p.raw(Op::Clamp, &[x, x]);
                    value(p, e);
                }),
            ),
            (
                "two reductions in value (tensor 1) bind axis 1",
                broken(|p| {
                    let Some(Body::Expr(sum)) = p.body(p.value).cloned() else {
                        return;
                    };
                    let Node::Reduce { body, axes, .. } = p.node(sum).clone() else {
                        return;
                    };
                    let other = p.mk(Node::Reduce {
                        op: ReduceOp::Max,
                        axes,
                        guard: None,
                        body,
                    });
                    let e = p.raw(Op::Add, &[sum, other]);
                    value(p, e);
                }),
            ),
            (
                "axis 0 is bound by x (tensor 0) and by d (tensor 2)",
                broken(|p| {
                    let e = p.real(0.0);
                    p.define("d", vec![AxisId(0)], Type::Real, Body::Expr(e));
                }),
            ),
        ];
        for (expected, found) in cases {
            assert!(found.contains(expected), "{expected}: {found}");
        }
    }
}
