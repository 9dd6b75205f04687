//! Definitions that are equal up to the names of their axes become one.

use super::{Memo, rebuild_body, recurrent};
use crate::ir::{AxisId, Body, ExprId, ExtentId, Node, Program, TensorId, Type, Visited};
use rustc_hash::FxHashMap;

/// Axes that stand for heads and binders in comparable expressions: one for each extent and level.
#[derive(Default)]
pub struct Pool {
    axes: FxHashMap<(ExtentId, usize), AxisId>,
    extents: FxHashMap<ExtentId, ExtentId>,
}

impl Pool {
    /// The first extent that equals `extent`.
    pub fn extent(&mut self, program: &mut Program, extent: ExtentId) -> ExtentId {
        if let Some(&e) = self.extents.get(&extent) {
            return e;
        }
        let first = (0..extent.0)
            .map(ExtentId)
            .find(|&other| super::index::same_extent(program, other, extent))
            .unwrap_or(extent);
        self.extents.insert(extent, first);
        first
    }

    fn axis(&mut self, program: &mut Program, like: AxisId, level: usize) -> AxisId {
        let extent = self.extent(program, program.extent_of(like));
        *self
            .axes
            .entry((extent, level))
            .or_insert_with(|| program.axis("A".into(), extent))
    }

    /// `e` with `head` and its binders replaced by axes of the pool: equal up to names means equal.
    pub fn canonical(&mut self, program: &mut Program, e: ExprId, head: &[AxisId]) -> ExprId {
        let mut map = FxHashMap::default();
        for (level, &a) in head.iter().enumerate() {
            let axis = self.axis(program, a, level);
            map.insert(a, program.index_of(axis));
        }
        self.walk(program, e, &map, head.len())
    }

    fn walk(
        &mut self,
        program: &mut Program,
        root: ExprId,
        map: &FxHashMap<AxisId, ExprId>,
        level: usize,
    ) -> ExprId {
        let mut seen = Visited::new(program);
        let mut stack = vec![root];
        while let Some(id) = stack.pop() {
            if seen.insert(id) && !matches!(program.node(id), Node::Reduce { .. }) {
                program.for_children(id, |c| stack.push(c));
            }
        }
        let ids = seen.sorted();
        let mut memo = Memo::with_capacity_and_hasher(ids.len(), Default::default());
        for id in ids {
            let new = match program.node(id).clone() {
                Node::Axis(a) => map.get(&a).copied().unwrap_or(id),
                Node::Reduce {
                    op,
                    axes,
                    guard,
                    body,
                } => {
                    let mut inner = map.clone();
                    let mut binders = Vec::with_capacity(axes.len());
                    for (i, &a) in axes.iter().enumerate() {
                        let axis = self.axis(program, a, level + i);
                        binders.push(axis);
                        inner.insert(a, program.index_of(axis));
                    }
                    let below = level + axes.len();
                    let guard = guard.map(|g| self.walk(program, g, &inner, below));
                    let body = self.walk(program, body, &inner, below);
                    program.mk(Node::Reduce {
                        op,
                        axes: binders.into(),
                        guard,
                        body,
                    })
                }
                node => {
                    let node = super::map_operands(&node, |c| memo.get(&c).copied().unwrap_or(c));
                    program.mk(node)
                }
            };
            memo.insert(id, new);
        }
        memo[&root]
    }
}

/// What makes two definitions the same.
#[derive(PartialEq, Eq, Hash)]
struct Key {
    extents: Vec<ExtentId>,
    ty: Type,
    body: ExprId,
    /// For an argsort: along which position, and the guard.
    sort: Option<(usize, Option<ExprId>)>,
}

/// Merges equal definitions among `order` (producers before readers), except recurrences. An output that equals an earlier
/// definition reads it. Gives the list without those that are gone.
pub fn merge_equal(
    program: &mut Program,
    order: &[TensorId],
    outputs: &[TensorId],
) -> Vec<TensorId> {
    let loops = recurrent(program, order);
    let mut pool = Pool::default();
    let mut seen: FxHashMap<Key, TensorId> = FxHashMap::default();
    let mut same: FxHashMap<TensorId, TensorId> = FxHashMap::default();
    let mut memo = Memo::default();
    let mut kept = vec![];
    for &t in order {
        if !same.is_empty() {
            replace_reads(program, t, &same, &mut memo);
        }
        if loops.contains(&t) {
            kept.push(t);
            continue;
        }
        let Some(key) = key(program, &mut pool, t) else {
            kept.push(t);
            continue;
        };
        match seen.get(&key) {
            None => {
                seen.insert(key, t);
                kept.push(t);
            }
            Some(&first) if outputs.contains(&t) => {
                let head = program.get(t).head.clone();
                let read = program.read_at(first, &head);
                if program.body(t) != Some(&Body::Expr(read)) {
                    program.set_body(t, Body::Expr(read));
                }
                kept.push(t);
            }
            Some(&first) => {
                if program.get(t).named && !program.get(first).named && !outputs.contains(&first) {
                    let name = program.get(t).name.clone();
                    let target = &mut program.tensors[first.index()];
                    target.name = name;
                    target.named = true;
                }
                same.insert(t, first);
            }
        }
    }
    // Readers in recurrences may stand before what they read.
    if !same.is_empty() {
        for &t in &kept {
            replace_reads(program, t, &same, &mut memo);
        }
    }
    kept
}

fn key(program: &mut Program, pool: &mut Pool, t: TensorId) -> Option<Key> {
    let head = program.get(t).head.clone();
    let ty = program.get(t).ty;
    let extents = head
        .iter()
        .map(|&a| pool.extent(program, program.extent_of(a)))
        .collect();
    match program.body(t)?.clone() {
        Body::Expr(e) => {
            // A definition that only reads another is left to inlining.
            let body = pool.canonical(program, e, &head);
            Some(Key {
                extents,
                ty,
                body,
                sort: None,
            })
        }
        Body::Argsort { along, guard, key } => {
            let guard = guard.map(|g| pool.canonical(program, g, &head));
            let body = pool.canonical(program, key, &head);
            let along = head.iter().position(|&a| a == along)?;
            Some(Key {
                extents,
                ty,
                body,
                sort: Some((along, guard)),
            })
        }
        Body::Grad { .. } => None,
    }
}

/// Reads of `same`'s keys become reads of its values, at the same index.
pub fn replace_reads(
    program: &mut Program,
    t: TensorId,
    same: &FxHashMap<TensorId, TensorId>,
    memo: &mut Memo,
) {
    rebuild_body(program, t, memo, |program, _, node| match node {
        Node::Read {
            tensor,
            index,
            default,
        } if same.contains_key(&tensor) => program.read(same[&tensor], &index, default),
        node => program.make(node),
    });
}
