//! Second derivatives: the diagonal d²L/dx_i² of an input, by differentiating its gradient again.
//!
//! The gradient `g[A]` is differentiated as `grad[x](g)` is, to `h[F, A]`, and read at F = A. A definition that is then read
//! with one axis at two positions is replaced by its diagonal, and the brackets `[F == A]` become true. Where the result
//! needs loops over more axes than value and gradient do, the second derivative of an inner vector was built: that is
//! reported, not hidden.

use super::inner::gradient_of;
use crate::ir::{AxisId, Body, ExprId, ExtentKind, Node, Op, Program, TensorId, Type};
use crate::rewrite::simplify::simplify;
use crate::rewrite::{Memo, Substitution, index, live, rebuild, substitute};
use rustc_hash::FxHashMap;

/// The diagonal of the Hessian with respect to one input.
#[derive(Debug, Clone, Copy)]
pub struct Diagonal {
    /// A definition with a head like the input's; `None` if it is zero everywhere.
    pub tensor: Option<TensorId>,
    /// Whether the Hessian may have entries off the diagonal, which this does not show.
    pub other_entries: bool,
    /// How many more axes its loops have than those of value and gradient. Above 0 the cost grows by a size.
    pub extra_axes: usize,
}

/// The Hessian's diagonal for the differentiated input `input`, after [`differentiate`](super::differentiate). `None` if
/// the input is none of the differentiated ones.
pub fn diagonal(program: &mut Program, input: TensorId) -> Option<Diagonal> {
    let gradient = program.gradients.iter().find(|g| g.input == input)?.tensor;
    let zero = Diagonal {
        tensor: None,
        other_entries: false,
        extra_axes: 0,
    };
    let Some(gradient) = gradient else {
        return Some(zero);
    };
    let outputs = program.outputs();
    let before = widest(program, &outputs);
    let Some(full) = gradient_of(program, gradient, input) else {
        return Some(zero);
    };
    simplify(program, &[full]);
    let other_entries = !only_diagonal(program, full);
    let axes: Vec<AxisId> = program
        .get(input)
        .head
        .clone()
        .iter()
        .map(|&a| program.fresh(a))
        .collect();
    let at: Vec<AxisId> = axes.iter().chain(&axes).copied().collect();
    let read = program.read_at(full, &at);
    let body = specialise(program, read);
    let name = format!("{}_diagonal", program.get(input).name);
    let tensor = program.define(&name, axes, Type::Real, Body::Expr(body));
    simplify(program, &[tensor]);
    // What simplification uncovers may be read on a diagonal again.
    for t in live(program, &[tensor]) {
        if let Some(&Body::Expr(e)) = program.body(t) {
            let e = specialise(program, e);
            program.set_body(t, Body::Expr(e));
        }
    }
    simplify(program, &[tensor]);
    if matches!(program.body(tensor), Some(&Body::Expr(e)) if program.is_number(e, 0.0)) {
        return Some(Diagonal {
            other_entries,
            ..zero
        });
    }
    let extra_axes = widest(program, &[tensor]).saturating_sub(before);
    Some(Diagonal {
        tensor: Some(tensor),
        other_entries,
        extra_axes,
    })
}

/// The most axes that a definition loops over, heads and reductions together; axes of constant extent do not count.
fn widest(program: &Program, outputs: &[TensorId]) -> usize {
    let counts = |a: AxisId| {
        let kind = program.extents[program.extent_of(a).index()].kind;
        !matches!(kind, ExtentKind::Constant(_))
    };
    live(program, outputs)
        .into_iter()
        .map(|t| {
            let head = program.get(t).head.iter().filter(|&&a| counts(a)).count();
            let inner = program
                .reachable(&program.roots(t))
                .into_iter()
                .map(|e| match program.node(e) {
                    Node::Reduce { axes, .. } => axes.iter().filter(|&&a| counts(a)).count(),
                    _ => 0,
                })
                .max();
            head + inner.unwrap_or(0)
        })
        .max()
        .unwrap_or(0)
}

/// Whether every term of `h[F, A]` stands under `F == A` for each pair of axes.
fn only_diagonal(program: &Program, full: TensorId) -> bool {
    let head = &program.get(full).head;
    let half = head.len() / 2;
    let Some(&Body::Expr(root)) = program.body(full) else {
        return false;
    };
    let mut stack = vec![root];
    while let Some(e) = stack.pop() {
        match program.node(e) {
            Node::Op(Op::Add | Op::Sub | Op::Neg, o) => stack.extend(o.iter()),
            Node::Op(Op::Mul, o) => {
                let on = o
                    .iter()
                    .any(|&x| under_equality(program, x, &head[..half], &head[half..]));
                if !on {
                    return false;
                }
            }
            Node::Op(Op::Div, o) => stack.push(o[0]),
            _ if half == 0 || program.is_number(e, 0.0) => {}
            _ if under_equality(program, e, &head[..half], &head[half..]) => {}
            _ => return false,
        }
    }
    true
}

fn under_equality(program: &Program, e: ExprId, left: &[AxisId], right: &[AxisId]) -> bool {
    let &Node::If {
        condition,
        otherwise,
        ..
    } = program.node(e)
    else {
        return false;
    };
    let conditions = program.conjuncts(condition);
    let equal = |a: AxisId, b: AxisId| {
        conditions.iter().any(|&c| match program.binary(c, Op::Eq) {
            Some((x, y)) => {
                let (x, y) = (program.node(x), program.node(y));
                (x, y) == (&Node::Axis(a), &Node::Axis(b))
                    || (x, y) == (&Node::Axis(b), &Node::Axis(a))
            }
            None => false,
        })
    };
    program.is_number(otherwise, 0.0) && left.iter().zip(right).all(|(&a, &b)| equal(a, b))
}

/// Replaces definitions that `e` reads with one axis at two positions by their diagonals, and those that these read.
fn specialise(program: &mut Program, e: ExprId) -> ExprId {
    let mut made: FxHashMap<(TensorId, usize, usize), TensorId> = FxHashMap::default();
    let mut pending = vec![];
    let e = specialise_expr(program, e, &mut made, &mut pending);
    while let Some(t) = pending.pop() {
        if let Some(&Body::Expr(body)) = program.body(t) {
            let body = specialise_expr(program, body, &mut made, &mut pending);
            program.set_body(t, Body::Expr(body));
        }
    }
    e
}

fn specialise_expr(
    program: &mut Program,
    e: ExprId,
    made: &mut FxHashMap<(TensorId, usize, usize), TensorId>,
    pending: &mut Vec<TensorId>,
) -> ExprId {
    rebuild(program, e, &mut Memo::default(), |program, _, node| {
        let Node::Read {
            mut tensor,
            index,
            default: None,
        } = node
        else {
            return program.make(node);
        };
        let mut index = index.to_vec();
        while let Some((i, j)) = equal_positions(program, tensor, &index) {
            tensor = match made.get(&(tensor, i, j)) {
                Some(&t) => t,
                None => {
                    let t = diagonal_of(program, tensor, i, j);
                    made.insert((tensor, i, j), t);
                    pending.push(t);
                    t
                }
            };
            index.remove(j);
        }
        program.read(tensor, &index, None)
    })
}

/// Two positions of a definition at which the same axis stands.
fn equal_positions(
    program: &mut Program,
    tensor: TensorId,
    index: &[ExprId],
) -> Option<(usize, usize)> {
    if !matches!(program.body(tensor), Some(Body::Expr(_))) {
        return None;
    }
    let head = program.get(tensor).head.clone();
    for j in 1..index.len() {
        for i in 0..j {
            let bare = matches!(program.node(index[i]), Node::Axis(_));
            let (a, b) = (program.extent_of(head[i]), program.extent_of(head[j]));
            if bare && index[i] == index[j] && index::same_extent(program, a, b) {
                return Some((i, j));
            }
        }
    }
    None
}

/// The definition with its head axis `j` equal to `i`.
fn diagonal_of(program: &mut Program, tensor: TensorId, i: usize, j: usize) -> TensorId {
    let old = program.get(tensor).head.clone();
    let mut head: Vec<AxisId> = vec![];
    let mut map = Substitution::default();
    for (q, &a) in old.iter().enumerate() {
        if q != j {
            let axis = program.fresh(a);
            head.push(axis);
            map.insert(a, program.index_of(axis));
        }
    }
    let same = map[&old[i]];
    map.insert(old[j], same);
    let body = match program.body(tensor) {
        Some(&Body::Expr(e)) => substitute(program, e, &map),
        _ => program.real(0.0),
    };
    let (name, ty) = (program.get(tensor).name.clone(), program.get(tensor).ty);
    program.define(&name, head, ty, Body::Expr(body))
}
