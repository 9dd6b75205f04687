//! Head axes that no body uses are dropped (left by the copies of `grad` and by summands that do not vary).

use super::{Memo, index, live, map_operands};
use crate::ir::{Body, ExprId, Node, Program, TensorId};
use rustc_hash::{FxHashMap, FxHashSet};

type Position = (TensorId, usize);

/// Drops every position of a generated definition that its body does not need. A bare axis handed on to a position that
/// is not needed either is no need, so whole recurrences lose an axis together. A read with a default that could miss
/// on a position needs it.
pub fn drop_unused_axes(program: &mut Program, outputs: &[TensorId]) {
    let order = live(program, outputs);
    let candidates: FxHashSet<Position> = order
        .iter()
        .filter(|t| !outputs.contains(t) && !program.get(**t).named)
        .flat_map(|&t| (0..program.get(t).head.len()).map(move |q| (t, q)))
        .collect();
    if candidates.is_empty() {
        return;
    }
    // (v, q) is needed if one of these is.
    let mut handed_to: FxHashMap<Position, Vec<Position>> = FxHashMap::default();
    let mut needed: FxHashSet<Position> = FxHashSet::default();
    for &t in &order {
        needs(program, t, &candidates, &mut handed_to, &mut needed);
    }
    let mut readers: FxHashMap<Position, Vec<Position>> = FxHashMap::default();
    for (&from, to) in &handed_to {
        for &p in to {
            readers.entry(p).or_default().push(from);
        }
    }
    let mut stack: Vec<Position> = needed.iter().copied().collect();
    while let Some(p) = stack.pop() {
        for &r in readers.get(&p).map_or(&[][..], |l| l) {
            if needed.insert(r) {
                stack.push(r);
            }
        }
    }
    let dropped: FxHashSet<Position> = candidates.difference(&needed).copied().collect();
    if dropped.is_empty() {
        return;
    }
    apply(program, &order, &dropped);
}

fn needs(
    program: &mut Program,
    t: TensorId,
    candidates: &FxHashSet<Position>,
    handed_to: &mut FxHashMap<Position, Vec<Position>>,
    needed: &mut FxHashSet<Position>,
) {
    let head = program.get(t).head.clone();
    if let Some(Body::Argsort { along, .. }) = program.body(t) {
        let q = head.iter().position(|a| a == along);
        needed.extend(q.map(|q| (t, q)));
    }
    let place = |e: ExprId, program: &Program| match program.node(e) {
        Node::Axis(a) => head.iter().position(|h| h == a),
        _ => None,
    };
    let roots = program.roots(t);
    needed.extend(
        roots
            .iter()
            .filter_map(|&r| place(r, program))
            .map(|q| (t, q)),
    );
    for e in program.reachable(&roots) {
        if let Node::Read {
            tensor,
            index,
            default,
        } = program.node(e)
        {
            let (tensor, index, default) = (*tensor, index.clone(), *default);
            if let Some(q) = default.and_then(|d| place(d, program)) {
                needed.insert((t, q));
            }
            for (j, &i) in index.iter().enumerate() {
                if candidates.contains(&(tensor, j)) {
                    let extent = program.extent_of(program.get(tensor).head[j]);
                    if default.is_some() && !index::in_range(program, &[], i, extent) {
                        needed.insert((tensor, j));
                    }
                }
                let Some(q) = place(i, program) else { continue };
                if candidates.contains(&(tensor, j)) {
                    handed_to.entry((t, q)).or_default().push((tensor, j));
                } else {
                    needed.insert((t, q));
                }
            }
            continue;
        }
        let mut bare = vec![];
        program.for_children(e, |c| bare.push(c));
        needed.extend(
            bare.into_iter()
                .filter_map(|c| place(c, program))
                .map(|q| (t, q)),
        );
    }
}

fn apply(program: &mut Program, order: &[TensorId], dropped: &FxHashSet<Position>) {
    let mut memo = Memo::default();
    // Also in definitions that nothing needs any more, so that the program stays well-formed.
    for t in (0..program.tensors.len() as u32).map(TensorId) {
        // Reads are made anew as they are: `read` looks at heads, which are between two states here.
        super::rebuild_body(program, t, &mut memo, |program, _, node| match node {
            Node::Read {
                tensor,
                index,
                default,
            } => {
                let keep = |&(j, _): &(usize, &ExprId)| !dropped.contains(&(tensor, j));
                let index = index
                    .iter()
                    .enumerate()
                    .filter(keep)
                    .map(|(_, &i)| i)
                    .collect();
                program.mk(Node::Read {
                    tensor,
                    index,
                    default,
                })
            }
            node => program.mk(map_operands(&node, |c| c)),
        });
    }
    for &t in order {
        let head = program.get(t).head.clone();
        let keep = head
            .into_iter()
            .enumerate()
            .filter(|&(q, _)| !dropped.contains(&(t, q)))
            .map(|(_, a)| a)
            .collect();
        program.tensors[t.index()].head = keep;
    }
}
