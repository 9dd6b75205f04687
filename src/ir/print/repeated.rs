//! Names for what a text would repeat too often.
//!
//! In a program an operand of many readers is one node, in a text it is written at each of them, and with operands of operands
//! the text doubles at every level. What makes a text long in this way becomes a definition of its own before it is printed.

use super::*;
use crate::rewrite::index::in_range;
use crate::rewrite::{Memo, Substitution, map_operands, rebuild, substitute};
use std::borrow::Cow;

/// Up to this many nodes a text may repeat what it likes.
const ENOUGH: u64 = 20_000;
/// From this many nodes on an expression gets a name.
const WORTH: u64 = 64;

/// The program with definitions for what its text would repeat, if it would be long.
pub(super) fn with_names<'a>(program: &'a Program, outputs: &[TensorId]) -> Cow<'a, Program> {
    let order = live(program, outputs);
    let roots: Vec<ExprId> = order.iter().flat_map(|&t| program.roots(t)).collect();
    let nodes = program.reachable(&roots);
    let written = lengths(program, &nodes, |_, _| false);
    let all = roots.iter().map(|r| written[r]);
    if all.fold(0, u64::saturating_add) <= ENOUGH {
        return Cow::Borrowed(program);
    }
    let mut readers: FxHashMap<ExprId, usize> = FxHashMap::default();
    for &e in &nodes {
        program.for_children(e, |c| *readers.entry(c).or_default() += 1);
    }
    for &r in &roots {
        *readers.entry(r).or_default() += 1;
    }
    let mut named: FxHashSet<ExprId> = FxHashSet::default();
    lengths(program, &nodes, |e, length| {
        length >= WORTH && readers[&e] > 1 && named.insert(e)
    });
    let certain = certain(program, &order);
    let mut program = program.clone();
    let mut memo = Memo::default();
    for e in nodes {
        let node = map_operands(program.node(e), |c| memo[&c]);
        let mut new = program.mk(node);
        if named.contains(&e) {
            if !certain.contains(&e) {
                new = total(&mut program, new);
            }
            new = name(&mut program, new);
        }
        memo.insert(e, new);
    }
    for t in order {
        let body = match program.body(t).cloned() {
            Some(Body::Expr(e)) => Body::Expr(memo[&e]),
            Some(Body::Argsort { along, guard, key }) => Body::Argsort {
                along,
                guard: guard.map(|g| memo[&g]),
                key: memo[&key],
            },
            Some(Body::Grad { .. }) | None => continue,
        };
        program.set_body(t, body);
    }
    Cow::Owned(program)
}

/// How many nodes the text of each expression shows. What `is_named` counts as one.
fn lengths(
    program: &Program,
    nodes: &[ExprId],
    mut is_named: impl FnMut(ExprId, u64) -> bool,
) -> FxHashMap<ExprId, u64> {
    let mut lengths: FxHashMap<ExprId, u64> = FxHashMap::default();
    for &e in nodes {
        let mut length = 1u64;
        program.for_children(e, |c| length = length.saturating_add(lengths[&c]));
        lengths.insert(e, if is_named(e, length) { 1 } else { length });
    }
    lengths
}

/// What is evaluated at all elements of its definition, under no condition. A definition of its own is just as well.
fn certain(program: &Program, order: &[TensorId]) -> FxHashSet<ExprId> {
    let mut seen = FxHashSet::default();
    let mut stack: Vec<ExprId> = vec![];
    // A guard comes before the key that it guards.
    stack.extend(
        order
            .iter()
            .filter_map(|&t| program.roots(t).first().copied()),
    );
    while let Some(e) = stack.pop() {
        if !seen.insert(e) {
            continue;
        }
        match program.node(e) {
            Node::If { condition, .. } => stack.push(*condition),
            Node::Op(Op::And | Op::Or, operands) => stack.extend(operands.first()),
            Node::Read { index, .. } => stack.extend(index),
            Node::Reduce { guard: Some(g), .. } => stack.push(*g),
            _ => program.for_children(e, |c| stack.push(c)),
        }
    }
    seen
}

/// The expression with 0 in place of what is not defined: as a definition it is computed also where its readers do not ask.
fn total(program: &mut Program, e: ExprId) -> ExprId {
    rebuild(program, e, &mut Memo::default(), |p, _, node| {
        let new = p.mk(node.clone());
        let defined = match node {
            Node::Read {
                tensor,
                index,
                default: None,
            } => {
                let head = p.get(tensor).head.clone();
                let extents: Vec<ExtentId> = head.iter().map(|&a| p.extent_of(a)).collect();
                let mut places = index.iter().zip(extents);
                if places.all(|(&i, extent)| in_range(p, &[], i, extent)) {
                    return new;
                }
                let default = Some(zero(p, new));
                return p.mk(Node::Read {
                    tensor,
                    index,
                    default,
                });
            }
            Node::Op(Op::IntDiv | Op::Mod, operands) => {
                let none = p.int(0);
                p.compare(Op::Ne, operands[1], none)
            }
            Node::Reduce {
                op: ReduceOp::ArgMax | ReduceOp::ArgMin,
                axes,
                guard: Some(body),
                ..
            } => p.mk(Node::Reduce {
                op: ReduceOp::Any,
                axes,
                guard: None,
                body,
            }),
            Node::Reduce {
                op: ReduceOp::ArgMax | ReduceOp::ArgMin,
                axes,
                ..
            } => {
                let extent = p.extent_of(axes[0]);
                let (size, none) = (p.mk(Node::Size(extent)), p.int(0));
                p.compare(Op::Gt, size, none)
            }
            _ => return new,
        };
        let otherwise = zero(p, new);
        p.mk(Node::If {
            condition: defined,
            then: new,
            otherwise,
        })
    })
}

fn zero(program: &mut Program, like: ExprId) -> ExprId {
    match program.ty(like) {
        Type::Real => program.real(0.0),
        Type::Int => program.int(0),
        Type::Bool => program.mk(Node::Bool(false)),
    }
}

/// A read of a new definition, over the free axes of the expression that is its body.
fn name(program: &mut Program, e: ExprId) -> ExprId {
    let axes = program.free(e).to_vec();
    let head: Vec<AxisId> = axes.iter().map(|&a| program.fresh(a)).collect();
    let indices: Vec<ExprId> = head.iter().map(|&a| program.index_of(a)).collect();
    let map: Substitution = axes.iter().copied().zip(indices).collect();
    let body = substitute(program, e, &map);
    let ty = program.ty(e);
    let tensor = program.define("shared", head, ty, Body::Expr(body));
    program.read_at(tensor, &axes)
}
