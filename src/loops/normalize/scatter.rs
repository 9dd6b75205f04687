//! Brackets: a guard that says where a fold adds.

use super::*;

/// A conjunct `e == A` of a guard, A in the head and e free of A: the fold adds at `A := e`.
pub(super) fn find_scatter(pool: &mut Pool, key: &mut Key) {
    if !matches!(key.kind, Kind::Fold(op) if !matches!(op, FoldOp::ArgMax | FoldOp::ArgMin)) {
        return;
    }
    let mut guards = pool.conjuncts(key.guard);
    let mut k = 0;
    while k < guards.len() {
        let Some((axis, to)) = bracket(pool, guards[k], &key.head) else {
            k += 1;
            continue;
        };
        let position = key.head.iter().position(|&a| a == axis).unwrap_or(0);
        let data = pool.free(to).iter().any(|a| key.over.contains(a));
        if !data
            || key.at[position] != pool.axis(axis)
            || key
                .at
                .iter()
                .any(|&i| i != key.at[position] && pool.has(i, axis))
        {
            k += 1;
            continue;
        }
        guards.remove(k);
        let elsewhere = pool.has(key.body, axis)
            || pool.partial(key.body)
            || guards.iter().any(|&g| pool.has(g, axis) || pool.partial(g));
        if elsewhere {
            // What speaks of A is evaluated only where e is one.
            let range = in_range(pool, to, pool.extent(axis));
            let (later, mut first): (Vec<Id>, Vec<Id>) = guards
                .drain(..)
                .enumerate()
                .map(|(j, g)| (j >= k, g))
                .fold((vec![], vec![]), |mut split, (after, g)| {
                    let late = after || pool.has(g, axis);
                    if late {
                        split.0.push(g)
                    } else {
                        split.1.push(g)
                    }
                    split
                });
            first.push(range);
            k = first.len();
            first.extend(later.into_iter().map(|g| pool.subst(g, &[(axis, to)])));
            guards = first;
            key.body = pool.subst(key.body, &[(axis, to)]);
        }
        key.at[position] = to;
    }
    key.guard = None;
    for g in guards {
        key.guard = pool.and(key.guard, Some(g));
    }
}

/// `e == A` with A among `head`, e free of it: A and e.
pub(in crate::loops) fn bracket(
    pool: &Pool,
    condition: Id,
    head: &[AxisId],
) -> Option<(AxisId, Id)> {
    let Node::Op(Op::Eq, operands) = pool.node(condition) else {
        return None;
    };
    let [l, r] = operands[..] else { return None };
    let side = |axis: Id, to: Id| match pool.node(axis) {
        Node::Axis(a)
            if head.contains(a) && !pool.has(to, *a) && !matches!(pool.node(to), Node::Int(_)) =>
        {
            Some((*a, to))
        }
        _ => None,
    };
    side(r, l).or_else(|| side(l, r))
}

/// `0 <= index and index < extent`.
pub(in crate::loops) fn in_range(pool: &mut Pool, index: Id, extent: ExtentIndex) -> Id {
    let zero = pool.int(0);
    let size = size(pool, extent);
    let low = pool.op(Op::Ge, &[index, zero]);
    let high = pool.op(Op::Lt, &[index, size]);
    pool.op(Op::And, &[low, high])
}

/// How many elements an axis of an extent has.
pub(in crate::loops) fn size(pool: &mut Pool, extent: ExtentIndex) -> Id {
    match pool.extents[extent.0 as usize] {
        Some(n) => pool.int(n as i64),
        None => pool.mk(Node::Size(extent)),
    }
}
