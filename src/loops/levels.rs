//! Which loops there are, and in which order: levels, counted from the end, one axis at a time.
//!
//! A part that is read at its own element shares the loop of its reader; otherwise its loop comes one level earlier.
//! The same rule makes the stages of a kernel, the passes over a row and the loops within. Loops have even levels,
//! straight code odd ones; the end, where the value is finished, is -1.
//!
//! Parts that need each other are one node. Its loop runs step by step, up or down; within it, what earlier steps have
//! made is at hand, and the same rule orders what is left.

use super::align::{Class, Classes};
use super::inline::CHEAP;
use super::part::{Kind, Parts};
use super::pool::{Node, PartId, Source};
use super::recurrence::Recurrences;
use super::{Direction, FoldOp};
use crate::graph;
use crate::ir::{AxisId, Op};
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

/// One read of a part: for each position the class of a plain index.
struct Edge {
    from: PartId,
    index: Vec<Option<Class>>,
    /// The loop whose earlier steps have made it.
    step: Option<u32>,
}

struct Info {
    /// Class of each head position and whether it is a loop.
    head: Vec<(Class, bool)>,
    /// Loops in layout order.
    loops: Vec<Class>,
    reads: Vec<Edge>,
    /// Loops that must run step by step, outermost first, by number.
    sequences: Vec<(Class, Direction, u32)>,
    fold: bool,
    /// A map that is no output.
    map: bool,
    /// An argmax or argmin: it keeps its best element in a register, so what it reduces is its innermost loop.
    arg: bool,
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

fn info_of(parts: &Parts, classes: &Classes, recurrences: &Recurrences, id: PartId) -> Info {
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
        let step = recurrences.step(parts, id, &read);
        reads.push(Edge { from, index, step });
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
        sequences: recurrences
            .sequences(id)
            .iter()
            .map(|s| (classes.of(id, s.axis), s.direction, s.id))
            .collect(),
        fold: part.is_fold() && part.into.is_none(),
        map: part.is_map() && part.output.is_none(),
        dear: !part.is_map() || recurrences.carried(id) || pool.weight(part.body) > CHEAP,
        arg: matches!(part.kind, Kind::Fold(FoldOp::ArgMax | FoldOp::ArgMin)),
        lane_cost,
    }
}

/// The parts of one nest, by place: producers before their readers.
struct Nest {
    ids: Vec<PartId>,
    /// Places that need each other, or one place.
    nodes: Vec<Vec<usize>>,
    /// The reads between nodes, by the node that is read: place of what is read, place of its reader, number of the read.
    readers: Vec<Vec<(usize, usize, usize)>>,
    /// The same by the node that reads.
    reads: Vec<Vec<(usize, usize, usize)>>,
    /// The reads within each node.
    inside: Vec<Vec<(usize, usize, usize)>>,
    /// The node of each place.
    node: Vec<usize>,
}

impl Nest {
    fn first(&self, node: usize) -> PartId {
        self.ids[self.nodes[node][0]]
    }

    fn members(&self, node: usize) -> impl Iterator<Item = PartId> + '_ {
        self.nodes[node].iter().map(|&k| self.ids[k])
    }

    /// Whether the parts of a node need each other.
    fn cyclic(&self, node: usize) -> bool {
        !self.inside[node].is_empty()
    }
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

    /// The parts as nodes. What earlier steps of an open loop have made is at hand.
    fn nodes(&mut self, ids: &[PartId], open: &Open) -> Nest {
        let reads_of = |levels: &Self, ids: &[PartId], k: usize| -> Vec<(usize, usize)> {
            let reads = levels.info(ids[k]).reads.iter().enumerate();
            let made = |edge: &Edge| edge.step.is_some_and(|s| open.steps.contains(&s));
            reads
                .filter(|(_, edge)| !made(edge))
                .filter_map(|(r, edge)| {
                    let v = levels.place[edge.from.index()];
                    (v < ids.len() && ids[v] == edge.from).then_some((v, r))
                })
                .collect()
        };
        self.number(ids);
        let edges: Vec<Vec<usize>> = (0..ids.len())
            .map(|k| reads_of(self, ids, k).iter().map(|e| e.0).collect())
            .collect();
        let roots: Vec<usize> = (0..ids.len()).collect();
        let groups = graph::components(&edges, &roots);
        let sorted: Vec<PartId> = groups.iter().flatten().map(|&k| ids[k]).collect();
        self.number(&sorted);
        let count = groups.len();
        let mut nest = Nest {
            ids: sorted,
            nodes: vec![],
            readers: vec![vec![]; count],
            reads: vec![vec![]; count],
            inside: vec![vec![]; count],
            node: vec![],
        };
        for (i, group) in groups.iter().enumerate() {
            let from = nest.node.len();
            nest.node.resize(from + group.len(), i);
            nest.nodes.push((from..nest.node.len()).collect());
        }
        for u in 0..ids.len() {
            for (v, r) in reads_of(self, &nest.ids, u) {
                let (from, to) = (nest.node[v], nest.node[u]);
                if from == to {
                    nest.inside[to].push((v, u, r));
                } else {
                    nest.readers[from].push((v, u, r));
                    nest.reads[to].push((v, u, r));
                }
            }
        }
        nest
    }

    fn number(&mut self, ids: &[PartId]) {
        for (k, &id) in ids.iter().enumerate() {
            self.place[id.index()] = k;
        }
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

    /// Inside a row: a fold whose producers are all early joins the earliest nest over the same axes.
    fn join<S: PartialEq, K: PartialEq>(
        &self,
        nest: &Nest,
        sets: &[Option<S>],
        keys: &[Option<K>],
        local: &dyn Fn(PartId, PartId, usize, &K) -> bool,
        level: &mut [i32],
    ) {
        let count = nest.nodes.len();
        for i in 0..count {
            let Some(key) = &keys[i] else { continue };
            if nest.cyclic(i) || !self.info(nest.first(i)).fold {
                continue;
            }
            let mut candidates: Vec<i32> = (0..count)
                .filter(|&j| {
                    j != i && sets[j] == sets[i] && keys[j] == keys[i] && level[j] > level[i]
                })
                .map(|j| level[j])
                .collect();
            candidates.sort_unstable_by_key(|l| -l);
            let fits = |l: i32| {
                nest.reads[i].iter().all(|&(v, u, r)| {
                    let j = nest.node[v];
                    let same = keys[j] == keys[i] && local(nest.ids[v], nest.ids[u], r, key);
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
    fn pull_all(&self, nest: &Nest, keys: &[Option<Key>], level: &mut [i32]) {
        for i in 0..nest.nodes.len() {
            let Some(key) = keys[i] else { continue };
            let mut candidates: Vec<i32> = nest.reads[i]
                .iter()
                .filter(|&&(v, u, r)| {
                    let (j, made) = (nest.node[v], nest.ids[v]);
                    keys[j] == Some(key)
                        && level[j] > level[i]
                        && self.info(made).dear
                        && self.local(made, nest.ids[u], r, key.class)
                })
                .map(|&(v, _, _)| level[nest.node[v]])
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
        keys: &[Option<Key>],
        level: &[i32],
        i: usize,
        to: i32,
        moved: &mut FxHashMap<usize, i32>,
    ) -> bool {
        moved.insert(i, to);
        nest.reads[i].iter().all(|&(v, u, r)| {
            let j = nest.node[v];
            let same = keys[i] == keys[j]
                && keys[i].is_none_or(|k| self.local(nest.ids[v], nest.ids[u], r, k.class));
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

/// The level of each node: 0 for loops and -1 for straight code at the end, higher the earlier it runs.
fn levels<K: PartialEq>(
    nest: &Nest,
    keys: &[Option<K>],
    local: &dyn Fn(PartId, PartId, usize, &K) -> bool,
) -> Vec<i32> {
    let mut level = vec![0; keys.len()];
    for i in (0..keys.len()).rev() {
        let mut l = if keys[i].is_none() { -1 } else { 0 };
        for &(v, u, r) in &nest.readers[i] {
            let j = nest.node[u];
            l = l.max(match (&keys[i], &keys[j]) {
                (None, None) => level[j],
                (None, Some(_)) | (Some(_), None) => level[j] + 1,
                (Some(a), Some(b)) if a == b && local(nest.ids[v], nest.ids[u], r, a) => level[j],
                (Some(_), Some(_)) => level[j] + 2,
            });
        }
        level[i] = l;
    }
    level
}

/// Straight code of a row runs as early as its inputs allow.
fn early(nest: &Nest, keys: &[Option<Key>], level: &mut [i32]) {
    let top = level.iter().copied().max().unwrap_or(1);
    let top = (top | 1).max(1);
    for i in 0..nest.nodes.len() {
        if keys[i].is_none() {
            let after = nest.reads[i]
                .iter()
                .map(|&(v, _, _)| level[nest.node[v]] - i32::from(keys[nest.node[v]].is_some()))
                .min();
            level[i] = after.unwrap_or(top);
        }
    }
}
