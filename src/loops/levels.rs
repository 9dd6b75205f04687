//! Which loops there are, and in which order: levels, counted from the end, one axis at a time.
//!
//! A part that is read at its own element shares the loop of its reader; otherwise its loop comes one level earlier.
//! The same rule makes the stages of a kernel, the passes over a row and the loops within. Loops have even levels,
//! straight code odd ones; the end, where the value is finished, is -1.

use super::align::{Class, Classes};
use super::inline::CHEAP;
use super::part::Parts;
use super::pool::{Node, PartId, Source};
use crate::ir::{AxisId, Op};
use rustc_hash::FxHashMap;

/// A loop or a part, in order of execution.
#[derive(Debug, Clone)]
pub(super) enum Tree {
    Loop { class: Class, body: Vec<Tree> },
    Part(PartId),
}

/// For each part the order of its axes: equal in all kernels of a loss, so that they add in one order.
pub(super) type Orders = FxHashMap<PartId, Vec<AxisId>>;

/// One read of a part: for each position the class of a plain index.
struct Edge {
    from: PartId,
    index: Vec<Option<Class>>,
}

struct Info {
    /// Class of each head position and whether it is a loop.
    head: Vec<(Class, bool)>,
    /// Loops in layout order.
    loops: Vec<Class>,
    reads: Vec<Edge>,
    fold: bool,
    /// A result that is not cheap to compute again.
    dear: bool,
    /// What each class costs as the lane axis.
    lane_cost: Vec<(Class, u32)>,
}

pub(super) struct Levels<'a> {
    classes: &'a Classes,
    info: Vec<Option<Info>>,
    fixed: FxHashMap<PartId, Vec<Class>>,
    /// Place of a part in the nest at hand.
    place: Vec<usize>,
}

/// The loop tree of all live parts.
pub(super) fn tree(parts: &Parts, classes: &Classes, orders: &Orders) -> Vec<Tree> {
    let mut info: Vec<Option<Info>> = vec![];
    info.resize_with(parts.parts.len(), || None);
    for id in parts.ids() {
        info[id.index()] = Some(info_of(parts, classes, id));
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
    levels.nest(&parts.topological(), &mut vec![])
}

/// The order of each part's axes in a tree.
pub(super) fn orders(tree: &[Tree], classes: &Classes) -> Orders {
    fn walk(tree: &[Tree], open: &mut Vec<Class>, classes: &Classes, out: &mut Orders) {
        for t in tree {
            match t {
                Tree::Loop { class, body } => {
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

fn info_of(parts: &Parts, classes: &Classes, id: PartId) -> Info {
    let pool = &parts.pool;
    let part = parts.part(id);
    let mut reads = vec![];
    let mut lane_cost: Vec<(Class, u32)> = vec![];
    let mut cost = |class: Class, cost: u32| match lane_cost.iter_mut().find(|(c, _)| *c == class) {
        Some((_, total)) => *total += cost,
        None => lane_cost.push((class, cost)),
    };
    let mut price = |index: &[super::pool::Id]| {
        for (k, &i) in index.iter().enumerate() {
            let last = k + 1 == index.len();
            for &a in pool.free(i).iter() {
                let c = match pool.node(i) {
                    Node::Axis(_) if last => 0,
                    Node::Op(Op::Add | Op::Sub, o)
                        if last
                            && o.iter()
                                .all(|&o| !matches!(pool.node(o), Node::Read { .. })) =>
                    {
                        1
                    }
                    _ => 4,
                };
                cost(classes.of(id, a), c);
            }
        }
    };
    for read in parts.reads(id) {
        price(&read.index);
        let Source::Part(from) = read.from else {
            continue;
        };
        let index = read
            .index
            .iter()
            .map(|&i| match pool.node(i) {
                Node::Axis(a) if !part.whole(*a) => Some(classes.of(id, *a)),
                _ => None,
            })
            .collect();
        reads.push(Edge { from, index });
    }
    if !part.is_map() || part.output.is_some() {
        price(&part.at);
    }
    let mut loops: Vec<Class> = part
        .loops(pool)
        .iter()
        .map(|&a| classes.of(id, a))
        .collect();
    loops.sort_unstable();
    Info {
        head: (0..part.head.len())
            .map(|k| (classes.of(id, part.head[k]), part.bare(pool, k)))
            .collect(),
        loops,
        reads,
        fold: part.is_fold() && part.into.is_none(),
        dear: !part.is_map() || pool.weight(part.body) > CHEAP,
        lane_cost,
    }
}

/// The parts of one nest, by place.
struct Nest {
    ids: Vec<PartId>,
    /// For each part its readers within the nest, with the number of the read.
    readers: Vec<Vec<(usize, usize)>>,
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

    fn nest(&mut self, ids: &[PartId], open: &mut Vec<Class>) -> Vec<Tree> {
        let nest = self.edges(ids);
        let left: Vec<Vec<Class>> = ids
            .iter()
            .map(|&id| {
                self.info(id)
                    .loops
                    .iter()
                    .copied()
                    .filter(|c| !open.contains(c))
                    .collect()
            })
            .collect();
        let straight = left.iter().all(Vec::is_empty);
        if straight && !open.is_empty() {
            return ids.iter().map(|&id| Tree::Part(id)).collect();
        }
        // Families: what would share a nest if all axes were one.
        let sets: Vec<Option<&[Class]>> = left
            .iter()
            .map(|l| (!l.is_empty()).then_some(&l[..]))
            .collect();
        let all_local = |v: PartId, u: PartId, r: usize, set: &&[Class]| {
            set.iter().all(|&c| {
                self.local(v, u, r, c)
                    || !self.info(v).head.iter().any(|h| h.0 == c)
                        && !self.info(v).loops.contains(&c)
            })
        };
        let mut level = levels(&nest, &sets, &all_local);
        if !open.is_empty() {
            self.join(&nest, &sets, &sets, &all_local, &mut level);
        }
        let keys: Vec<Option<Class>> = (0..ids.len())
            .map(|i| {
                let family = (0..ids.len())
                    .filter(|&j| level[j] == level[i] && sets[j] == sets[i])
                    .map(|j| ids[j]);
                self.next_axis(ids[i], &left[i], open.is_empty(), family)
            })
            .collect();
        let local = |v: PartId, u: PartId, r: usize, c: &Class| self.local(v, u, r, *c);
        let mut level = levels(&nest, &keys, &local);
        if !open.is_empty() {
            self.join(&nest, &sets, &keys, &local, &mut level);
        }
        self.pull_all(&nest, &keys, &mut level);
        if !open.is_empty() {
            early(self, &nest, &keys, &mut level);
        }
        self.assemble(&nest, &keys, &level, open)
    }

    fn edges(&mut self, ids: &[PartId]) -> Nest {
        for (k, &id) in ids.iter().enumerate() {
            self.place[id.index()] = k;
        }
        let mut readers = vec![vec![]; ids.len()];
        for (k, &id) in ids.iter().enumerate() {
            for (r, edge) in self.info(id).reads.iter().enumerate() {
                let v = self.place[edge.from.index()];
                if v < ids.len() && ids[v] == edge.from {
                    readers[v].push((k, r));
                }
            }
        }
        Nest {
            ids: ids.to_vec(),
            readers,
        }
    }

    /// The reads of part i that stay within the nest: producer and number of the read.
    fn producers<'b>(
        &'b self,
        nest: &'b Nest,
        i: usize,
    ) -> impl Iterator<Item = (usize, usize)> + 'b {
        let reads = &self.info(nest.ids[i]).reads;
        reads.iter().enumerate().filter_map(move |(r, edge)| {
            let v = self.place[edge.from.index()];
            (v < nest.ids.len() && nest.ids[v] == edge.from).then_some((v, r))
        })
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

    /// Inside a row: a fold whose producers are all early joins the earliest nest over the same axes.
    fn join<K: PartialEq>(
        &self,
        nest: &Nest,
        sets: &[Option<&[Class]>],
        keys: &[Option<K>],
        local: &dyn Fn(PartId, PartId, usize, &K) -> bool,
        level: &mut [i32],
    ) {
        for i in 0..nest.ids.len() {
            let Some(key) = &keys[i] else { continue };
            if !self.info(nest.ids[i]).fold {
                continue;
            }
            let mut candidates: Vec<i32> = (0..nest.ids.len())
                .filter(|&j| {
                    j != i && sets[j] == sets[i] && keys[j] == keys[i] && level[j] > level[i]
                })
                .map(|j| level[j])
                .collect();
            candidates.sort_unstable_by_key(|l| -l);
            let fits = |l: i32| {
                self.producers(nest, i).all(|(j, r)| {
                    let same = keys[j] == keys[i] && local(nest.ids[j], nest.ids[i], r, key);
                    level[j]
                        >= if same {
                            l
                        } else if keys[j].is_none() {
                            l + 1
                        } else {
                            l + 2
                        }
                })
            };
            if let Some(l) = candidates.into_iter().find(|&l| fits(l)) {
                level[i] = l;
            }
        }
    }

    /// A part that reads a dear result at its own element moves to the level where that is made, if it can.
    fn pull_all(&self, nest: &Nest, keys: &[Option<Class>], level: &mut [i32]) {
        for i in 0..nest.ids.len() {
            let Some(key) = keys[i] else { continue };
            let mut candidates: Vec<i32> = self
                .producers(nest, i)
                .filter(|&(j, r)| {
                    let v = nest.ids[j];
                    keys[j] == Some(key)
                        && level[j] > level[i]
                        && self.info(v).dear
                        && self.local(v, nest.ids[i], r, key)
                })
                .map(|(j, _)| level[j])
                .collect();
            candidates.sort_unstable_by_key(|l| -l);
            for l in candidates {
                let mut moved = FxHashMap::default();
                if self.pull(nest, keys, level, i, l, &mut moved) {
                    for (j, l) in moved {
                        level[j] = l;
                    }
                    break;
                }
            }
        }
    }

    fn pull(
        &self,
        nest: &Nest,
        keys: &[Option<Class>],
        level: &[i32],
        i: usize,
        to: i32,
        moved: &mut FxHashMap<usize, i32>,
    ) -> bool {
        moved.insert(i, to);
        let producers: Vec<(usize, usize)> = self.producers(nest, i).collect();
        producers.into_iter().all(|(j, r)| {
            let same = keys[i] == keys[j]
                && keys[i].is_none_or(|c| self.local(nest.ids[j], nest.ids[i], r, c));
            let need = match (same, keys[j].is_none() == keys[i].is_none()) {
                (true, _) => to,
                (false, false) => to + 1,
                (false, true) => to + 2,
            };
            let now = moved.get(&j).copied().unwrap_or(level[j]);
            now >= need
                || same
                    && stacker::maybe_grow(64 * 1024, 1024 * 1024, || {
                        self.pull(nest, keys, level, j, need, moved)
                    })
        })
    }

    fn assemble(
        &mut self,
        nest: &Nest,
        keys: &[Option<Class>],
        level: &[i32],
        open: &mut Vec<Class>,
    ) -> Vec<Tree> {
        let mut all: Vec<i32> = level.to_vec();
        all.sort_unstable_by_key(|l| -l);
        all.dedup();
        let mut out = vec![];
        for l in all {
            let mut groups: Vec<(Option<Class>, Vec<PartId>)> = vec![];
            for i in (0..nest.ids.len()).filter(|&i| level[i] == l) {
                match groups.iter_mut().find(|(k, _)| *k == keys[i]) {
                    Some((_, group)) => group.push(nest.ids[i]),
                    None => groups.push((keys[i], vec![nest.ids[i]])),
                }
            }
            for (key, group) in groups {
                match key {
                    None => out.extend(group.into_iter().map(Tree::Part)),
                    Some(class) => {
                        open.push(class);
                        let body = self.nest(&group, open);
                        open.pop();
                        out.push(Tree::Loop { class, body });
                    }
                }
            }
        }
        debug_assert!(self.classes.extents.len() >= open.len());
        out
    }
}

/// The level of each part: 0 for loops and -1 for straight code at the end, higher the earlier it runs.
fn levels<K: PartialEq>(
    nest: &Nest,
    keys: &[Option<K>],
    local: &dyn Fn(PartId, PartId, usize, &K) -> bool,
) -> Vec<i32> {
    let mut level = vec![0; keys.len()];
    for v in (0..keys.len()).rev() {
        let mut l = if keys[v].is_none() { -1 } else { 0 };
        for &(u, r) in &nest.readers[v] {
            l = l.max(match (&keys[v], &keys[u]) {
                (None, None) => level[u],
                (None, Some(_)) | (Some(_), None) => level[u] + 1,
                (Some(a), Some(b)) if a == b && local(nest.ids[v], nest.ids[u], r, a) => level[u],
                (Some(_), Some(_)) => level[u] + 2,
            });
        }
        level[v] = l;
    }
    level
}

/// Straight code of a row runs as early as its inputs allow.
fn early(levels: &Levels, nest: &Nest, keys: &[Option<Class>], level: &mut [i32]) {
    let top = level.iter().copied().max().unwrap_or(1);
    let top = (top | 1).max(1);
    for i in 0..nest.ids.len() {
        if keys[i].is_none() {
            let after = levels
                .producers(nest, i)
                .map(|(j, _)| level[j] - i32::from(keys[j].is_some()))
                .min();
            level[i] = after.unwrap_or(top);
        }
    }
}
