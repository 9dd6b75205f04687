//! Products and quotients, so that loops multiply once by what is known outside of them.

use super::part::Parts;
use super::pool::{Id, Node, PartId, Pool, Source};
use crate::ir::{Op, Type};

/// Puts the factors of products that fewer loops change first, so that the loops within multiply once by what is known
/// outside. It happens before anything depends on which kernel of a loss this is.
pub(super) fn group_products(parts: &mut Parts) {
    let scales: Vec<PartId> = parts.softmax.values().flatten().map(|s| s.scale).collect();
    for id in parts.ids() {
        let mut part = parts.part(id).clone();
        part.rewrite(|root| {
            parts.pool.rebuild(root, &mut |pool, node| match node {
                Node::Op(Op::Mul, o) if pool.ty(o[0]) == Type::Real => product(pool, &o, &scales),
                node => pool.mk(node),
            })
        });
        parts.parts[id.index()] = Some(part);
    }
}

/// Longer products stay as they are.
const MAX_FACTORS: usize = 12;

fn product(pool: &mut Pool, operands: &[Id], scales: &[PartId]) -> Id {
    let mut factors = vec![];
    let mut stack: Vec<Id> = operands.iter().rev().copied().collect();
    while let Some(f) = stack.pop() {
        match pool.node(f) {
            Node::Op(Op::Mul, o) if factors.len() + stack.len() < MAX_FACTORS => {
                stack.extend(o.iter().rev())
            }
            _ => factors.push(f),
        }
    }
    let axes = |pool: &Pool, f: Id| pool.free(f).len();
    let most = factors.iter().map(|&f| axes(pool, f)).max().unwrap_or(0);
    let outer: Vec<Id> = factors
        .iter()
        .copied()
        .filter(|&f| axes(pool, f) < most)
        .collect();
    // Only one of the outer factors may be anything: the product of two could overflow where the whole does not.
    let large = outer
        .iter()
        .filter(|&&f| !moderate(pool, f, scales))
        .count();
    if outer.is_empty() || large > 1 {
        return pool.op(Op::Mul, operands);
    }
    factors.sort_by_key(|&f| axes(pool, f));
    factors[1..]
        .iter()
        .fold(factors[0], |a, &b| pool.op(Op::Mul, &[a, b]))
}

/// Whether a factor is neither huge nor tiny by its form: numbers, hyperparameters, sizes, counts, and the weights'
/// scale of a softmax.
fn moderate(pool: &Pool, id: Id, scales: &[PartId]) -> bool {
    pool.reachable([id])
        .into_iter()
        .all(|i| match pool.node(i) {
            Node::Real(r) => r.0 == 0.0 || (1e-6..1e6).contains(&r.0.abs()),
            Node::Param(_) | Node::Int(_) | Node::Size(_) | Node::Axis(_) => true,
            Node::Op(op, _) => matches!(
                op,
                Op::ToReal | Op::Div | Op::Mul | Op::Neg | Op::Add | Op::Sub
            ),
            Node::Read {
                from: Source::Part(p),
                ..
            } => scales.contains(p) || pool.ty(i) == Type::Int,
            Node::Read { .. } | Node::Bool(_) | Node::If(..) | Node::Finite(_) | Node::Found(_) => {
                false
            }
        })
}

/// `c * x / n` with n made of sizes and counts is `x * (c / n)`, whose factor no element changes: no division in the
/// loop. Never for other divisors, whose inverse may overflow.
pub(super) fn mean_factor(pool: &mut Pool, operands: &[Id]) -> Id {
    let (mut x, n) = (operands[0], operands[1]);
    let size = matches!(pool.node(n), Node::Op(Op::ToReal, _) | Node::Real(_))
        && pool.reachable([n]).into_iter().all(|i| {
            matches!(
                pool.node(i),
                Node::Size(_) | Node::Int(_) | Node::Real(_) | Node::Op(Op::Mul | Op::ToReal, _)
            ) || matches!(pool.node(i), Node::Read { .. } if pool.ty(i) == Type::Int)
        });
    if !size || pool.free(x).is_empty() || !pool.free(n).is_empty() {
        return pool.op(Op::Div, operands);
    }
    let mut factor = 1.0;
    loop {
        match pool.node(x) {
            Node::Op(Op::Neg, o) => (factor, x) = (-factor, o[0]),
            Node::Op(Op::Mul, o) => match (pool.node(o[0]), pool.node(o[1])) {
                (Node::Real(c), _) => (factor, x) = (factor * c.0, o[1]),
                (_, Node::Real(c)) => (factor, x) = (factor * c.0, o[0]),
                _ => break,
            },
            _ => break,
        }
    }
    let c = pool.real(factor);
    let c = pool.op(Op::Div, &[c, n]);
    pool.op(Op::Mul, &[x, c])
}
