//! Which axes of different parts are one loop. This only proposes loops: whether two parts may share one is decided
//! later on explicit indices, so a bad choice here costs speed and never a result.

use super::ExtentIndex;
use super::part::Parts;
use super::pool::{Node, PartId, Source};
use super::recurrence::Recurrences;
use crate::ir::AxisId;
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// A class of aligned axes. Ids are in layout order: of two axes the outer one has the smaller class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Class(pub u32);

impl Class {
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

pub(super) struct Classes {
    /// For each part its axes and their classes; scattered head axes last, as they are no loops.
    of: Vec<Vec<(AxisId, Class)>>,
    pub names: Vec<String>,
    pub extents: Vec<ExtentIndex>,
    /// For each input its positions' classes.
    pub inputs: Vec<Vec<Class>>,
}

impl Classes {
    pub fn of(&self, part: PartId, axis: AxisId) -> Class {
        let found = self.of[part.index()].iter().find(|(a, _)| *a == axis);
        found.map_or(Class(u32::MAX), |f| f.1)
    }

    /// The axis of a part that is of a class.
    pub fn axis(&self, part: PartId, class: Class) -> Option<AxisId> {
        self.of[part.index()]
            .iter()
            .find(|(_, c)| *c == class)
            .map(|f| f.0)
    }

    pub fn axes(&self, part: PartId) -> &[(AxisId, Class)] {
        &self.of[part.index()]
    }
}

/// One proposal: smaller priorities first, then in the order found.
struct Proposal {
    priority: (i32, u8),
    a: usize,
    b: usize,
}

struct Aligner {
    parent: Vec<usize>,
    /// Whose axes a class holds, at its root; two axes of one owner stay apart.
    owners: Vec<Vec<u32>>,
    extents: Vec<ExtentIndex>,
}

impl Aligner {
    fn node(&mut self, owner: u32, extent: ExtentIndex) -> usize {
        self.parent.push(self.parent.len());
        self.owners.push(vec![owner]);
        self.extents.push(extent);
        self.parent.len() - 1
    }

    fn find(&mut self, mut x: usize) -> usize {
        while self.parent[x] != x {
            self.parent[x] = self.parent[self.parent[x]];
            x = self.parent[x];
        }
        x
    }

    fn union(&mut self, a: usize, b: usize) {
        let (a, b) = (self.find(a), self.find(b));
        if a == b
            || self.extents[a] != self.extents[b]
            || self.owners[a].iter().any(|o| self.owners[b].contains(o))
        {
            return;
        }
        let (a, b) = (a.min(b), a.max(b));
        self.parent[b] = a;
        let more = std::mem::take(&mut self.owners[b]);
        self.owners[a].extend(more);
    }
}

pub(super) fn align(parts: &Parts, recurrences: &Recurrences) -> Classes {
    let pool = &parts.pool;
    let count = parts.parts.len() as u32;
    let mut aligner = Aligner {
        parent: vec![],
        owners: vec![],
        extents: vec![],
    };
    let mut nodes: Vec<Vec<(AxisId, usize)>> = vec![vec![]; parts.parts.len()];
    let ids = parts.ids();
    for &id in &ids {
        let part = parts.part(id);
        let own = &mut nodes[id.index()];
        for axis in part.loops(pool) {
            own.push((axis, aligner.node(id.0, pool.extent(axis))));
        }
        for k in (0..part.head.len()).filter(|&k| !part.bare(pool, k)) {
            own.push((
                part.head[k],
                aligner.node(count + id.0, pool.extent(part.head[k])),
            ));
        }
    }
    let inputs: Vec<Vec<usize>> = (0u32..)
        .zip(&pool.input_shapes)
        .map(|(k, (_, shape))| {
            shape
                .iter()
                .map(|&e| aligner.node(2 * count + k, e))
                .collect()
        })
        .collect();

    // The parts of a recurrence run in one loop, or not at all.
    let mut sequential = vec![];
    for members in recurrences.loops() {
        let node = |(id, axis): &(PartId, AxisId)| {
            let own = nodes[id.index()].iter();
            own.filter(|n| n.0 == *axis).map(|n| n.1).next()
        };
        let all: Vec<usize> = members.iter().filter_map(node).collect();
        if let Some(&first) = all.first() {
            all.iter().for_each(|&n| aligner.union(first, n));
            sequential.push(first);
        }
    }
    let mut proposals = propose(parts, &ids, &nodes, &inputs);
    proposals.sort_by_key(|p| p.priority);
    for p in proposals {
        aligner.union(p.a, p.b);
    }
    // Last: what the source calls by one name.
    let mut by_name: FxHashMap<(&str, ExtentIndex), Vec<usize>> = FxHashMap::default();
    for &id in &ids {
        for &(axis, node) in &nodes[id.index()] {
            let (hint, extent) = &pool.axes[axis.index()];
            let all = by_name.entry((hint, *extent)).or_default();
            if let (Some(&first), Some(&last)) = (all.first(), all.last()) {
                aligner.union(first, node);
                aligner.union(last, node);
            }
            all.push(node);
        }
    }
    let all: Vec<usize> = inputs.iter().flatten().copied().collect();
    for (k, &a) in all.iter().enumerate() {
        for &b in &all[k + 1..] {
            aligner.union(a, b);
        }
    }
    number(parts, &ids, &nodes, &inputs, &sequential, aligner)
}

fn propose(
    parts: &Parts,
    ids: &[PartId],
    nodes: &[Vec<(AxisId, usize)>],
    inputs: &[Vec<usize>],
) -> Vec<Proposal> {
    let pool = &parts.pool;
    let mut out = vec![];
    for &id in ids {
        let part = parts.part(id);
        let node = |axis: AxisId| {
            nodes[id.index()]
                .iter()
                .find(|(a, _)| *a == axis)
                .map(|n| n.1)
        };
        for read in parts.reads(id) {
            let bare: Vec<Option<AxisId>> = read
                .index
                .iter()
                .map(|&i| match pool.node(i) {
                    Node::Axis(a) => Some(*a),
                    _ => None,
                })
                .collect();
            let own = bare
                .iter()
                .zip(&part.head)
                .filter(|(b, h)| **b == Some(**h))
                .count()
                == bare.len();
            let (rank, targets): (i32, Vec<usize>) = match read.from {
                Source::Input(k) => (0, inputs[k as usize].clone()),
                Source::Part(p) => {
                    let head = &parts.part(p).head;
                    let nodes = &nodes[p.index()];
                    let of = |a: &AxisId| nodes.iter().find(|(b, _)| b == a).map_or(0, |n| n.1);
                    let loops = part.head.len() + part.over.len();
                    (
                        -(loops.min(read.index.len()) as i32),
                        head.iter().map(of).collect(),
                    )
                }
            };
            let late = if own { 0 } else { 2 } + u8::from(matches!(read.from, Source::Input(_)));
            for (&axis, &b) in bare.iter().zip(&targets) {
                if let Some(a) = axis.and_then(node) {
                    out.push(Proposal {
                        priority: (rank, late),
                        a,
                        b,
                    });
                }
            }
        }
        // An output lies like its input.
        let Some(output) = &part.output else { continue };
        let Some(input) = parts.outputs[output.which].input else {
            continue;
        };
        for (position, cell) in output.cell.iter().enumerate() {
            if let super::part::Cell::Head(k) = cell
                && let Some(a) = node(part.head[*k])
            {
                out.push(Proposal {
                    priority: (0, 0),
                    a,
                    b: inputs[input as usize][position],
                });
            }
        }
    }
    out
}

/// Gives the classes their ids: a class stands before another if more tensors have them in this order, and after all
/// others if a recurrence runs along it, so that it is no row where there is another one.
fn number(
    parts: &Parts,
    ids: &[PartId],
    nodes: &[Vec<(AxisId, usize)>],
    inputs: &[Vec<usize>],
    sequential: &[usize],
    mut aligner: Aligner,
) -> Classes {
    let sequential: Vec<usize> = sequential.iter().map(|&n| aligner.find(n)).collect();
    let mut tensors: Vec<Vec<usize>> = vec![];
    for input in inputs {
        tensors.push(input.iter().map(|&n| aligner.find(n)).collect());
    }
    let mut rest: Vec<usize> = vec![];
    for &id in ids {
        let part = parts.part(id);
        let roots: Vec<(AxisId, usize)> = nodes[id.index()]
            .iter()
            .map(|&(a, n)| (a, aligner.find(n)))
            .collect();
        if (!part.is_map() || part.output.is_some()) && part.into.is_none() {
            let of = |a: &AxisId| roots.iter().find(|(b, _)| b == a).map_or(0, |r| r.1);
            tensors.push(part.head.iter().map(of).collect());
        }
        rest.extend(roots.iter().map(|r| r.1));
    }
    let mut left: Vec<usize> = vec![];
    for &root in tensors.iter().flatten().chain(&rest) {
        if !left.contains(&root) {
            left.push(root);
        }
    }
    let mut votes: FxHashMap<(usize, usize), i32> = FxHashMap::default();
    for t in &tensors {
        for (k, &a) in t.iter().enumerate() {
            for &b in &t[k + 1..] {
                *votes.entry((a, b)).or_default() += 1;
                *votes.entry((b, a)).or_default() -= 1;
            }
        }
    }
    let mut order: Vec<usize> = vec![];
    while !left.is_empty() {
        let some_free = left.iter().any(|c| !sequential.contains(c));
        let waits = |c: &usize| some_free && sequential.contains(c);
        let first = |&c: &usize| {
            let before = |&&d: &&usize| !waits(&d) && votes.get(&(d, c)).is_some_and(|&v| v > 0);
            !waits(&c) && left.iter().find(before).is_none()
        };
        let other = || left.iter().position(|c| !waits(c));
        let k = left.iter().position(first).or_else(other).unwrap_or(0);
        order.push(left.remove(k));
    }
    let class: FxHashMap<usize, Class> = order
        .iter()
        .enumerate()
        .map(|(k, &r)| (r, Class(k as u32)))
        .collect();
    let mut classes = Classes {
        of: vec![vec![]; parts.parts.len()],
        names: vec![],
        extents: order.iter().map(|&r| aligner.extents[r]).collect(),
        inputs: inputs
            .iter()
            .map(|i| i.iter().map(|&n| class[&aligner.find(n)]).collect())
            .collect(),
    };
    let mut hints: Vec<Option<Arc<str>>> = vec![None; order.len()];
    for &id in ids {
        for &(axis, node) in &nodes[id.index()] {
            let c = class[&aligner.find(node)];
            classes.of[id.index()].push((axis, c));
            hints[c.index()].get_or_insert_with(|| parts.pool.axes[axis.index()].0.clone());
        }
    }
    for hint in hints {
        let mut name = hint.map_or_else(|| "_".to_string(), |h| h.to_string());
        while classes.names.contains(&name) {
            name.push('\'');
        }
        classes.names.push(name);
    }
    classes
}
