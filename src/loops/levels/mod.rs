//! Which loops there are, and in which order: levels, counted from the end, one axis at a time.
//!
//! A part that is read at its own element shares the loop of its reader; otherwise its loop comes one level earlier.
//! The same rule makes the stages of a kernel, the passes over a row and the loops within. Loops have even levels,
//! straight code odd ones; the end, where the value is finished, is -1.
//!
//! Parts that need each other are one node. Its loop runs step by step, up or down; within it, what earlier steps have
//! made is at hand, and the same rule orders what is left.

mod info;
mod nest;
mod place;

use super::Direction;
use super::align::{Class, Classes};
use super::part::Parts;
use super::pool::PartId;
use super::recurrence::Recurrences;
use crate::ir::AxisId;
use info::{Info, info_of};
use nest::Nest;
use place::{early, levels};
use rustc_hash::FxHashMap;

/// A loop or a part, in order of execution.
#[derive(Debug, Clone)]
pub(super) enum Tree {
    Loop {
        class: Class,
        /// The way it must run; without one its steps are independent of each other.
        direction: Option<Direction>,
        body: Vec<Tree>,
    },
    Part(PartId),
}

/// For each part the order of its axes: equal in all kernels of a loss, so that they add in one order.
pub(super) type Orders = FxHashMap<PartId, Vec<AxisId>>;

pub(super) struct Levels<'a> {
    classes: &'a Classes,
    info: Vec<Option<Info>>,
    fixed: FxHashMap<PartId, Vec<Class>>,
    /// Place of a part in the nest at hand.
    place: Vec<usize>,
}

/// The next loop of a node: nodes of one level and key share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Key {
    class: Class,
    direction: Option<Direction>,
}

/// The loops that are open, outermost first.
#[derive(Default)]
struct Open {
    classes: Vec<Class>,
    /// Those that run step by step, by number.
    steps: Vec<u32>,
}

/// The loop tree of all live parts.
pub(super) fn tree(
    parts: &Parts,
    classes: &Classes,
    recurrences: &Recurrences,
    orders: &Orders,
) -> Vec<Tree> {
    let mut info: Vec<Option<Info>> = vec![];
    info.resize_with(parts.parts.len(), || None);
    for id in parts.ids() {
        info[id.index()] = Some(info_of(parts, classes, recurrences, id));
    }
    let mut fixed = FxHashMap::default();
    for (&id, order) in orders {
        let Some(Some(i)) = info.get(id.index()) else {
            continue;
        };
        let mut order: Vec<Class> = order.iter().map(|&a| classes.of(id, a)).collect();
        let found = order.clone();
        order.sort_unstable();
        if order == i.loops {
            fixed.insert(id, found);
        }
    }
    let mut levels = Levels {
        classes,
        place: vec![usize::MAX; info.len()],
        info,
        fixed,
    };
    levels.nest(&parts.topological(), &mut Open::default())
}

/// The order of each part's axes in a tree.
pub(super) fn orders(tree: &[Tree], classes: &Classes) -> Orders {
    fn walk(tree: &[Tree], open: &mut Vec<Class>, classes: &Classes, out: &mut Orders) {
        for t in tree {
            match t {
                Tree::Loop { class, body, .. } => {
                    open.push(*class);
                    walk(body, open, classes, out);
                    open.pop();
                }
                Tree::Part(id) => {
                    out.insert(
                        *id,
                        open.iter().filter_map(|&c| classes.axis(*id, c)).collect(),
                    );
                }
            }
        }
    }
    let mut out = FxHashMap::default();
    walk(tree, &mut vec![], classes, &mut out);
    out
}

impl Levels<'_> {
    fn info(&self, id: PartId) -> &Info {
        self.info[id.index()].as_ref().expect("a live part")
    }

    /// Whether read `r` of u reads v at u's own element of class c.
    fn local(&self, v: PartId, u: PartId, r: usize, c: Class) -> bool {
        let edge = &self.info(u).reads[r];
        let head = &self.info(v).head;
        head.iter()
            .zip(&edge.index)
            .any(|(&(class, bare), &at)| class == c && bare && at == Some(c))
    }

    fn nest(&mut self, ids: &[PartId], open: &mut Open) -> Vec<Tree> {
        let nest = self.nodes(ids, open);
        let left: Vec<Vec<Class>> = (0..nest.nodes.len())
            .map(|i| {
                let loops = nest.members(i).flat_map(|id| &self.info(id).loops);
                let mut left: Vec<Class> = loops.copied().collect();
                left.retain(|c| !open.classes.contains(c));
                left.sort_unstable();
                left.dedup();
                left
            })
            .collect();
        let straight = left.iter().all(Vec::is_empty);
        if straight && !open.classes.is_empty() {
            debug_assert!((0..left.len()).all(|i| !nest.cyclic(i)));
            return nest.ids.iter().map(|&id| Tree::Part(id)).collect();
        }
        // Families: what would share a nest if all axes were one. A recurrence shares none.
        let sets: Vec<Option<(&[Class], Option<usize>)>> = left
            .iter()
            .enumerate()
            .map(|(i, l)| (!l.is_empty()).then_some((&l[..], nest.cyclic(i).then_some(i))))
            .collect();
        let all_local = |v: PartId, u: PartId, r: usize, set: &(&[Class], Option<usize>)| {
            set.0.iter().all(|&c| {
                self.local(v, u, r, c)
                    || !self.info(v).head.iter().any(|h| h.0 == c)
                        && !self.info(v).loops.contains(&c)
            })
        };
        let mut level = levels(&nest, &sets, &all_local);
        let within = !open.classes.is_empty();
        if within {
            self.join(&nest, &sets, &sets, &all_local, &mut level);
        }
        let mut keys: Vec<Option<Key>> = (0..nest.nodes.len())
            .map(|i| {
                if nest.cyclic(i) {
                    return self.next_step(&nest, i, &left[i], open);
                }
                let family = (0..nest.nodes.len())
                    .filter(|&j| level[j] == level[i] && sets[j] == sets[i])
                    .map(|j| nest.first(j));
                let class = self.next_axis(nest.first(i), &left[i], !within, family)?;
                Some(Key {
                    class,
                    direction: None,
                })
            })
            .collect();
        self.follow(&nest, &left, &mut keys);
        let local = |v: PartId, u: PartId, r: usize, k: &Key| self.local(v, u, r, k.class);
        let mut level = levels(&nest, &keys, &local);
        if within {
            self.join(&nest, &sets, &keys, &local, &mut level);
        }
        self.pull_all(&nest, &keys, &mut level);
        if within {
            early(&nest, &keys, &mut level);
        }
        self.assemble(&nest, &keys, &level, open)
    }

    /// The next loop of a recurrence: a row along which nothing steps, then its steps.
    fn next_step(&self, nest: &Nest, i: usize, left: &[Class], open: &Open) -> Option<Key> {
        let free = |c: Class| {
            let own =
                |&(v, u, r): &(usize, usize, usize)| self.local(nest.ids[v], nest.ids[u], r, c);
            nest.inside[i].iter().all(own)
        };
        let first = self.info(nest.first(i));
        let steps = first.sequences.iter().find(|s| !open.steps.contains(&s.2));
        let steps = steps.map(|&(class, direction, _)| Key {
            class,
            direction: Some(direction),
        });
        let row = |class: Class| Key {
            class,
            direction: None,
        };
        let fixed = self.fixed.get(&nest.first(i));
        let fixed = fixed.and_then(|order| order.iter().copied().find(|c| left.contains(c)));
        match fixed {
            Some(c) if steps.is_some_and(|s| s.class == c) => return steps,
            Some(c) if free(c) => return Some(row(c)),
            Some(_) | None => {}
        }
        let mut rows = left.iter().copied().filter(|&c| free(c));
        if open.classes.is_empty()
            && let Some(c) = rows.next()
        {
            return Some(row(c));
        }
        steps
    }

    /// A map that only the steps of one recurrence read, each at its own, is computed there, if lanes run within a step:
    /// it needs no memory. (Otherwise it would be computed one element at a time.)
    fn follow(&self, nest: &Nest, left: &[Vec<Class>], keys: &mut [Option<Key>]) {
        for i in (0..nest.nodes.len()).rev() {
            let map = self.info(nest.first(i)).map;
            let (Some(key), true, false) = (keys[i], map, nest.cyclic(i)) else {
                continue;
            };
            let mut readers = nest.readers[i].iter();
            let Some(&(_, first, _)) = readers.next() else {
                continue;
            };
            let Some(steps) = keys[nest.node[first]] else {
                continue;
            };
            let there = |&(v, u, r): &(usize, usize, usize)| {
                keys[nest.node[u]] == Some(steps)
                    && left[nest.node[u]].len() > 1
                    && self.local(nest.ids[v], nest.ids[u], r, key.class)
            };
            if steps.direction.is_some()
                && steps.class == key.class
                && nest.readers[i].iter().all(there)
            {
                keys[i] = Some(steps);
            }
        }
    }

    /// The outermost axis first; within, the axis that is cheapest to vectorise comes last.
    fn next_axis(
        &self,
        id: PartId,
        left: &[Class],
        outermost: bool,
        family: impl Iterator<Item = PartId>,
    ) -> Option<Class> {
        if let Some(order) = self.fixed.get(&id)
            && let Some(&next) = order.iter().find(|c| left.contains(c))
        {
            return Some(next);
        }
        let info = self.info(id);
        let kept = |c: &&Class| info.head.iter().any(|&(h, _)| h == **c);
        if info.arg
            && let Some(&next) = left.iter().find(kept)
        {
            return Some(next);
        }
        if outermost || left.len() <= 1 {
            return left.first().copied();
        }
        let mut total: Vec<u32> = vec![0; left.len()];
        for m in family {
            for &(class, cost) in &self.info(m).lane_cost {
                if let Some(k) = left.iter().position(|&c| c == class) {
                    total[k] += cost;
                }
            }
        }
        let lanes = (0..left.len()).min_by_key(|&k| (total[k], usize::MAX - k))?;
        left.iter()
            .enumerate()
            .find(|&(k, _)| k != lanes)
            .map(|(_, &c)| c)
    }

    fn assemble(
        &mut self,
        nest: &Nest,
        keys: &[Option<Key>],
        level: &[i32],
        open: &mut Open,
    ) -> Vec<Tree> {
        let mut all: Vec<i32> = level.to_vec();
        all.sort_unstable_by_key(|l| -l);
        all.dedup();
        let mut out = vec![];
        for l in all {
            let mut groups: Vec<(Option<Key>, Vec<PartId>)> = vec![];
            for i in (0..nest.nodes.len()).filter(|&i| level[i] == l) {
                match groups.iter_mut().find(|(k, _)| *k == keys[i]) {
                    Some((_, group)) => group.extend(nest.members(i)),
                    None => groups.push((keys[i], nest.members(i).collect())),
                }
            }
            for (key, group) in groups {
                match key {
                    None => out.extend(group.into_iter().map(Tree::Part)),
                    Some(key) => out.push(self.looped(key, &group, open)),
                }
            }
        }
        debug_assert!(self.classes.extents.len() >= open.classes.len());
        out
    }

    fn looped(&mut self, key: Key, group: &[PartId], open: &mut Open) -> Tree {
        let steps = open.steps.len();
        for &id in group {
            for &(class, direction, loop_) in &self.info(id).sequences {
                let runs = class == key.class && Some(direction) == key.direction;
                if runs && !open.steps.contains(&loop_) {
                    open.steps.push(loop_);
                }
            }
        }
        open.classes.push(key.class);
        let body = self.nest(group, open);
        open.classes.pop();
        open.steps.truncate(steps);
        Tree::Loop {
            class: key.class,
            direction: key.direction,
            body,
        }
    }
}
