//! Terms of outputs that become updates after the dense part.

use super::normalize::in_range;
use super::part::{Kind, Part, Parts};
use super::pool::{Id, Node, PartId, Pool, Source};
use crate::ir::{AxisId, Op};

/// Terms of an output that only one cell along an axis has become updates after the dense part: `if target == C
/// then t else 0` adds t at `C := target`, and a scatter that nobody else reads adds straight into the output.
pub(super) fn peel(parts: &mut Parts) {
    let readers = parts.readers();
    for id in parts.ids() {
        let part = parts.part(id).clone();
        if part.output.is_none() || part.head.is_empty() || !readers[id.index()].is_empty() {
            continue;
        }
        let only: Vec<bool> = readers.iter().map(|r| r.len() == 1).collect();
        let mut updates = vec![];
        let dense = split(parts, &part, &only, part.body, false, &[], &mut updates);
        if updates.is_empty() {
            continue;
        }
        let body = dense.unwrap_or_else(|| parts.pool.real(0.0));
        if let Some(p) = &mut parts.parts[id.index()] {
            p.body = body;
        }
        for update in updates {
            if let Some(scatter) = update.scatter {
                parts.parts[scatter.index()] = None;
            }
            parts.add(Part {
                into: Some(id),
                ..update.part
            });
        }
    }
}

struct Update {
    part: Part,
    /// The part that it replaces.
    scatter: Option<PartId>,
}

/// What is left of a term without its updates, `None` for nothing.
fn split(
    parts: &mut Parts,
    output: &Part,
    only: &[bool],
    term: Id,
    negative: bool,
    conditions: &[Id],
    updates: &mut Vec<Update>,
) -> Option<Id> {
    stacker::maybe_grow(64 * 1024, 1024 * 1024, || {
        match parts.pool.node(term).clone() {
            Node::Op(op @ (Op::Add | Op::Sub), operands) => {
                let flip = negative != (op == Op::Sub);
                let (a, b) = (operands[0], operands[1]);
                let a = split(parts, output, only, a, negative, conditions, updates);
                let b = split(parts, output, only, b, flip, conditions, updates);
                match (a, b) {
                    (a, None) => a,
                    (None, Some(b)) if op == Op::Sub => Some(parts.pool.op(Op::Neg, &[b])),
                    (None, b) => b,
                    (Some(a), Some(b)) => Some(parts.pool.op(op, &[a, b])),
                }
            }
            Node::Op(Op::Neg, operands) => {
                let rest = split(
                    parts,
                    output,
                    only,
                    operands[0],
                    !negative,
                    conditions,
                    updates,
                );
                rest.map(|r| parts.pool.op(Op::Neg, &[r]))
            }
            Node::If(c, then, otherwise) if is_zero(&parts.pool, otherwise) => {
                let mut all = conditions.to_vec();
                all.extend(parts.pool.conjuncts(Some(c)));
                if let Some(part) = one_hot(&mut parts.pool, output, &all, then, negative) {
                    updates.push(Update {
                        part,
                        scatter: None,
                    });
                    return None;
                }
                let rest = split(parts, output, only, then, negative, &all, updates);
                rest.map(|r| parts.pool.select(c, r, otherwise))
            }
            Node::Read {
                from: Source::Part(p),
                index,
                default: None,
            } if only[p.index()] && conditions.is_empty() => {
                match scatter(parts, output, p, &index, negative) {
                    Some(part) => {
                        updates.push(Update {
                            part,
                            scatter: Some(p),
                        });
                        None
                    }
                    None => Some(term),
                }
            }
            _ => Some(term),
        }
    })
}

fn is_zero(pool: &Pool, id: Id) -> bool {
    matches!(pool.node(id), Node::Real(r) if r.0 == 0.0)
}

fn signed(pool: &mut Pool, value: Id, negative: bool) -> Id {
    if negative {
        pool.op(Op::Neg, &[value])
    } else {
        value
    }
}

/// The update that adds `term` where the conditions hold, if one of them is a bracket on a head axis.
fn one_hot(
    pool: &mut Pool,
    output: &Part,
    conditions: &[Id],
    term: Id,
    negative: bool,
) -> Option<Part> {
    let found = conditions.iter().enumerate().find_map(|(k, &c)| {
        let (axis, to) = super::normalize::bracket(pool, c, &output.head)?;
        Some((k, axis, to))
    });
    let (k, axis, to) = found?;
    let map = [(axis, to)];
    let speaks = pool.has(term, axis)
        || conditions
            .iter()
            .enumerate()
            .any(|(j, &c)| j != k && pool.has(c, axis));
    let mut guard = None;
    let (mut late, mut early) = (vec![], vec![]);
    for (j, &c) in conditions.iter().enumerate().filter(|&(j, _)| j != k) {
        if j > k || pool.has(c, axis) {
            late.push(c)
        } else {
            early.push(c)
        }
    }
    for c in early {
        guard = pool.and(guard, Some(c));
    }
    let fits = pool.fits(to, pool.extent(axis));
    let fails = pool.partial(term) || late.iter().any(|&c| pool.partial(c));
    if (speaks || fails) && !fits {
        let range = in_range(pool, to, pool.extent(axis));
        guard = pool.and(guard, Some(range));
    }
    for c in late {
        let c = pool.subst(c, &map);
        guard = pool.and(guard, Some(c));
    }
    let body = pool.subst(term, &map);
    let body = signed(pool, body, negative);
    let at = output.at.iter().map(|&i| pool.subst(i, &map)).collect();
    let kind = Kind::Fold(super::FoldOp::Sum);
    Some(Part {
        kind,
        at,
        guard,
        body,
        output: None,
        over: vec![],
        ..output.clone()
    })
}

/// The update that is a scatter over the output's own cells.
fn scatter(
    parts: &mut Parts,
    output: &Part,
    id: PartId,
    index: &[Id],
    negative: bool,
) -> Option<Part> {
    let fold = parts.get(id)?.clone();
    if !fold.scatters(&parts.pool)
        || fold.kind != Kind::Fold(super::FoldOp::Sum)
        || fold.into.is_some()
    {
        return None;
    }
    // A table that no row owns is a total of each chunk; only where it is as large as the rows it is better added to
    // directly.
    let owned = (0..fold.head.len()).any(|k| fold.bare(&parts.pool, k));
    let extent = |a: &AxisId| parts.pool.extent(*a);
    let as_rows = fold
        .head
        .iter()
        .any(|a| fold.over.iter().any(|b| extent(a) == extent(b)));
    if !owned && !as_rows {
        return None;
    }
    // Each head axis of the fold is read at one head axis of the output, and all of them are.
    let mut order = vec![];
    for &i in index {
        let Node::Axis(a) = parts.pool.node(i) else {
            return None;
        };
        order.push(output.head.iter().position(|b| b == a)?);
    }
    let mut sorted = order.clone();
    sorted.sort_unstable();
    if sorted != (0..output.head.len()).collect::<Vec<_>>() {
        return None;
    }
    let place = |k: usize| order.iter().position(|&o| o == k).unwrap_or(k);
    let head = (0..order.len()).map(|k| fold.head[place(k)]).collect();
    let at = (0..order.len()).map(|k| fold.at[place(k)]).collect();
    let body = signed(&mut parts.pool, fold.body, negative);
    Some(Part {
        name: output.name.clone(),
        head,
        at,
        body,
        output: None,
        ..fold
    })
}
