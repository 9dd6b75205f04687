//! Arithmetic of indices: one normal form for ints, and what it proves.
//!
//! An int expression is a linear form over *atoms*: axes, sizes, and whatever is opaque (reads, counts, `mod` ..). What
//! is known: `0 <= axis < size`, `size >= 0`, and `size >= 1` beside an axis of the extent (where an axis is empty nothing is
//! evaluated), `0 <= mod(x, c) < c`, a count is not negative, an int hyperparameter lies in its domain. Sizes of declared extents are expanded where they are
//! linear (`size(I)` is `2 * size(N)`), which is what decides the joins of two inputs.
//!
//! Ints wrap. A form says what its expression is modulo 2^64, which is enough to write it otherwise and to solve an
//! equation. To compare, a form is taken only where it cannot leave the ints: sums of axes, sizes and what is bounded as
//! they are. Of data nothing is known: `a + 1 > a` is not true for the largest int, so there `a + 1` is an atom itself.
//! Coefficients that would overflow here are refused.

mod linear;
mod proofs;

use crate::ir::{AxisId, ExprId, ExtentId, Node, Op, Program};
pub use linear::{Linear, expression, extent_size, linear, same_extent};
pub use proofs::{decide, facts_of};
use proofs::{decide_with, is_exact};

/// The conditions that `index` is a position of `extent`, those that are not provable: at most `index >= 0` and
/// `index < size(extent)`, as comparisons of the atoms with the rest.
pub fn range_conditions(program: &mut Program, index: ExprId, extent: ExtentId) -> Vec<ExprId> {
    if let &Node::Axis(a) = program.node(index)
        && program.extent_of(a) == extent
    {
        return vec![];
    }
    let size = program.size_of(extent);
    let zero = program.int(0);
    let mut out = vec![];
    if decide_with(program, &[], Op::Ge, (index, zero), true) != Some(true) {
        out.push(at_least_zero(program, index));
    }
    if decide_with(program, &[], Op::Lt, (index, size), true) != Some(true) {
        out.push(program.compare(Op::Lt, index, size));
    }
    out
}

/// `index >= 0`, with a constant part moved over: `X >= 2` for `X - 2`.
fn at_least_zero(program: &mut Program, index: ExprId) -> ExprId {
    let zero = program.int(0);
    // A number that is taken off one int moves over: where the difference wraps, it is beyond every size.
    let shifted = |l: &Linear| l.constant <= 0 && matches!(l.terms[..], [(_, 1)]);
    let form = linear(program, index).filter(|l| shifted(l) || is_exact(program, l));
    let Some(form) = form else {
        return program.compare(Op::Ge, index, zero);
    };
    let (mut left, mut right) = (Linear::default(), Linear::default());
    for &(a, c) in &form.terms {
        if c > 0 {
            left.terms.push((a, c))
        } else {
            right.terms.push((a, -c))
        }
    }
    if form.constant > 0 {
        left.constant = form.constant
    } else {
        right.constant = form.constant.saturating_neg()
    }
    let (l, r) = (expression(program, &left), expression(program, &right));
    program.compare(Op::Ge, l, r)
}

/// Whether `index` is provably a position of `extent` where the conditions hold.
pub fn in_range(
    program: &mut Program,
    conditions: &[ExprId],
    index: ExprId,
    extent: ExtentId,
) -> bool {
    if let &Node::Axis(a) = program.node(index)
        && program.extent_of(a) == extent
    {
        return true;
    }
    let zero = program.int(0);
    let size = program.size_of(extent);
    let mut facts: Vec<Linear> = vec![];
    for &c in conditions {
        facts.extend(facts_of(program, c));
    }
    if !has_elements(program, &facts, index, extent) {
        return false;
    }
    if decide_with(program, &[], Op::Ge, (index, zero), true) == Some(true)
        && decide_with(program, &[], Op::Lt, (index, size), true) == Some(true)
    {
        return true;
    }
    !facts.is_empty()
        && decide_with(program, &facts, Op::Ge, (index, zero), true) == Some(true)
        && decide_with(program, &facts, Op::Lt, (index, size), true) == Some(true)
}

/// Whether the extent has elements wherever `index` is evaluated, as an axis in it or something that it reads shows, or a
/// fact that speaks of its size.
fn has_elements(program: &mut Program, facts: &[Linear], index: ExprId, extent: ExtentId) -> bool {
    let mut shown = vec![];
    for e in program.reachable(&[index]) {
        match program.node(e) {
            Node::Axis(a) => shown.push(program.extent_of(*a)),
            Node::Read {
                tensor,
                default: None,
                ..
            } => {
                let head = &program.get(*tensor).head;
                shown.extend(head.iter().map(|&a| program.extent_of(a)));
            }
            _ => {}
        }
    }
    if shown.contains(&extent) {
        return true;
    }
    let size = extent_size(program, extent);
    if size.constant >= 1 && size.terms.iter().all(|t| t.1 > 0) {
        return true;
    }
    let shown: Vec<Linear> = shown.iter().map(|&e| extent_size(program, e)).collect();
    let known = |atom: ExprId| shown.iter().chain(facts).any(|l| l.coefficient(atom) != 0);
    size.terms.iter().all(|&(atom, _)| known(atom))
}

/// An axis of `axes` that the equation `index == target` determines, with the value it gives and the condition under
/// which there is one: the solution is `axis := value` where `condition` (if any) holds.
pub fn solve(
    program: &mut Program,
    index: ExprId,
    target: ExprId,
    axes: &[AxisId],
) -> Option<(AxisId, ExprId, Option<ExprId>)> {
    let form = linear(program, index)?;
    let target = linear(program, target)?;
    let mut strided = None;
    for &(atom, c) in &form.terms {
        let &Node::Axis(axis) = program.node(atom) else {
            continue;
        };
        let elsewhere = form
            .terms
            .iter()
            .any(|&(other, _)| other != atom && program.is_free(axis, other));
        if !axes.contains(&axis) || elsewhere {
            continue;
        }
        let rest = target.minus(&form.without(atom))?;
        if c == 1 || c == -1 {
            let value = rest.times(c)?;
            return Some((axis, expression(program, &value), None));
        }
        let affine =
            |&(a, _): &(ExprId, i64)| matches!(program.node(a), Node::Axis(_) | Node::Size(_));
        if c > 1 && form.terms.iter().all(affine) && strided.is_none() {
            strided = Some((axis, rest, c));
        }
    }
    let (axis, rest, c) = strided?;
    let (rest, c) = (expression(program, &rest), program.int(c));
    let value = program.op(Op::IntDiv, &[rest, c]);
    let remainder = program.op(Op::Mod, &[rest, c]);
    let zero = program.int(0);
    let exact = program.compare(Op::Eq, remainder, zero);
    Some((axis, value, Some(exact)))
}
