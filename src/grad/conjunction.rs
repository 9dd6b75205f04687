//! Conditions of a sum or a branch without those that others imply.

use crate::ir::{ExprId, Node, Op, Program, Type};
use crate::rewrite::index::{self, Linear};

/// The conditions without what the others imply; `None` if they contradict each other.
pub fn conjunction(program: &mut Program, conditions: &[ExprId]) -> Option<Vec<ExprId>> {
    let mut kept = without_implied_by_earlier(program, conditions)?;
    drop_nonzero(program, &mut kept);
    drop_implied_by_later(program, &mut kept);
    Some(kept)
}

/// The conditions without what the ones before imply; `None` if these contradict one.
fn without_implied_by_earlier(program: &mut Program, conditions: &[ExprId]) -> Option<Vec<ExprId>> {
    let mut kept: Vec<ExprId> = vec![];
    let mut facts = vec![];
    for &c in conditions {
        if program.truth(c) == Some(true) || kept.contains(&c) {
            continue;
        }
        let not = program.not(c);
        if program.truth(c) == Some(false) || kept.contains(&not) {
            return None;
        }
        match decided(program, &facts, c) {
            Some(true) => continue,
            Some(false) => return None,
            None => {}
        }
        facts.extend(index::facts_of(program, c));
        kept.push(c);
    }
    Some(kept)
}

/// Drops `x != 0` that is implied by `x >= c` for a positive c, unless what stands between needs it.
fn drop_nonzero(program: &Program, kept: &mut Vec<ExprId>) {
    let positive = |&c: &ExprId| match program.node(c) {
        Node::Op(Op::Ge, o) if program.number(o[1]).is_some_and(|x| x > 0.0) => Some(o[0]),
        Node::Op(Op::Gt, o) if program.number(o[1]).is_some_and(|x| x >= 0.0) => Some(o[0]),
        _ => None,
    };
    let above: Vec<(usize, ExprId)> = kept
        .iter()
        .enumerate()
        .filter_map(|(i, c)| Some((i, positive(c)?)))
        .collect();
    let implied = |i: usize, c: ExprId| {
        let Some((x, zero)) = program.binary(c, Op::Ne) else {
            return false;
        };
        program.is_number(zero, 0.0)
            && above.iter().any(|&(j, y)| {
                let between = kept.get(i + 1..=j).unwrap_or_default();
                x == y && between.iter().all(|&c| cannot_fail(program, c))
            })
    };
    let needed = |(i, &c): (usize, &ExprId)| (!implied(i, c)).then_some(c);
    *kept = kept.iter().enumerate().filter_map(needed).collect();
}

/// Drops a pure comparison of axes that later ones imply: `T != 0 and T >= 2`. What stands between may need it, so the
/// later ones take its place. One that speaks of data stays, `t != -1` before `t == V`: what is computed for all V
/// needs it.
fn drop_implied_by_later(program: &mut Program, kept: &mut Vec<ExprId>) {
    let mut i = 0;
    while i < kept.len() {
        let c = kept[i];
        let later: Vec<Linear> = kept[i + 1..]
            .iter()
            .filter(|&&k| plain(program, k))
            .flat_map(|&k| index::facts_of(program, k))
            .collect();
        if of_axes(program, c) && decided(program, &later, c) == Some(true) {
            kept.remove(i);
            kept[i..].sort_by_key(|&k| !plain(program, k));
        } else {
            i += 1;
        }
    }
}

/// What a comparison of ints is under the facts, if they decide it.
fn decided(program: &mut Program, facts: &[Linear], condition: ExprId) -> Option<bool> {
    let &Node::Op(op, ref o) = program.node(condition) else {
        return None;
    };
    let &[a, b] = &o[..] else { return None };
    if facts.is_empty() || program.ty(a) != Type::Int {
        return None;
    }
    index::decide(program, facts, op, a, b)
}

/// Whether an int expression is made of axes, sizes and numbers only.
fn of_axes(program: &Program, e: ExprId) -> bool {
    let read = |&e: &ExprId| matches!(program.node(e), Node::Read { .. });
    plain(program, e) && !program.reachable(&[e]).iter().any(read)
}

/// Whether an int expression can be evaluated anywhere: made of axes, sizes, numbers and reads at the tensor's own axes.
pub fn plain(program: &Program, e: ExprId) -> bool {
    let of_ints = |&e: &ExprId| match program.node(e) {
        Node::Axis(_)
        | Node::Size(_)
        | Node::Int(_)
        | Node::Param(_)
        | Node::Op(..)
        | Node::Read { .. } => true,
        Node::Real(_) | Node::Bool(_) | Node::If { .. } | Node::Reduce { .. } => false,
    };
    cannot_fail(program, e) && program.reachable(&[e]).iter().all(of_ints)
}

/// Whether an expression can be evaluated anywhere: it has no read that may be out of range and no division of ints. An
/// axis that took another's place may be longer than the position it stands in.
fn cannot_fail(program: &Program, e: ExprId) -> bool {
    let inner = program.reachable(&[e]);
    inner.iter().all(|&e| match program.node(e) {
        Node::Op(op, _) => !matches!(op, Op::IntDiv | Op::Mod),
        Node::Read {
            tensor,
            index,
            default,
        } => {
            let head = &program.get(*tensor).head;
            let own = |(&i, &own)| match program.node(i) {
                Node::Axis(a) => program.extent_of(*a) == program.extent_of(own),
                _ => false,
            };
            default.is_none() && index.iter().zip(head).all(own)
        }
        Node::Reduce { .. } => false,
        Node::Real(_)
        | Node::Int(_)
        | Node::Bool(_)
        | Node::Axis(_)
        | Node::Size(_)
        | Node::Param(_)
        | Node::If { .. } => true,
    })
}
