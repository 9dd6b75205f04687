//! Parts: definitions after normalisation, each one map or one fold with a body that has no binders.

use super::FoldOp;
use super::pool::{Id, Node, PartId, Pool, Read, Source};
use crate::ir::{AxisId, Type};
use rustc_hash::FxHashMap;
use std::sync::Arc;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Map,
    Fold(FoldOp),
    /// The permutation that sorts `body` along the last axis of the head, what `guard` leaves out last. Both are reads
    /// of maps that are kept; the axis is storage, no loop of this part.
    Sort,
    /// The matrix product that `body` is the product of two reads of, summed over the axes of `over`. The head is
    /// `batch` axes, which are loops, then axes of the first read, `rows` of them, then axes of the second.
    Gemm {
        batch: usize,
        rows: usize,
    },
}

/// A position of an output's buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cell {
    /// The position of the part's head.
    Head(usize),
    /// An unrolled axis.
    Const(i64),
}

/// Which output a part is (or a slice of it, where an axis was unrolled).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Output {
    /// 0 is the value, then the program's gradients in order.
    pub which: usize,
    pub cell: Vec<Cell>,
}

/// `v[head] = body`, or `v[at] = op[over if guard](body)`.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub name: Arc<str>,
    pub ty: Type,
    pub kind: Kind,
    pub head: Vec<AxisId>,
    /// The axes that a fold reduces.
    pub over: Vec<AxisId>,
    /// Where a fold adds: one index for each head axis. A head axis whose index is not itself is *scattered*: it is
    /// storage and no loop of this part.
    pub at: Vec<Id>,
    pub guard: Option<Id>,
    pub body: Id,
    pub output: Option<Output>,
    /// An update: what it folds is added to the cells of that output, after they are set.
    pub into: Option<PartId>,
}

impl Part {
    pub fn is_map(&self) -> bool {
        self.kind == Kind::Map
    }

    pub fn is_fold(&self) -> bool {
        matches!(self.kind, Kind::Fold(_))
    }

    pub fn is_gemm(&self) -> bool {
        matches!(self.kind, Kind::Gemm { .. })
    }

    /// Whether the part is computed along an axis as a whole, with what it reads along it: by a sort or a matrix
    /// product. Such an axis is storage, no loop.
    pub fn whole(&self, axis: AxisId) -> bool {
        match self.kind {
            Kind::Map | Kind::Fold(_) => false,
            Kind::Sort => self.head.last() == Some(&axis),
            Kind::Gemm { batch, .. } => !self.head[..batch].contains(&axis),
        }
    }

    /// Whether a head position is an index of its own loop.
    pub fn bare(&self, pool: &Pool, position: usize) -> bool {
        !self.whole(self.head[position])
            && matches!(pool.node(self.at[position]), Node::Axis(a) if *a == self.head[position])
    }

    pub fn scatters(&self, pool: &Pool) -> bool {
        (0..self.head.len()).any(|k| !self.bare(pool, k))
    }

    /// The axes that are loops of the part: what of the head is not scattered, then what it reduces.
    pub fn loops(&self, pool: &Pool) -> Vec<AxisId> {
        let head = (0..self.head.len())
            .filter(|&k| self.bare(pool, k))
            .map(|k| self.head[k]);
        let over = self.over.iter().copied().filter(|&a| !self.whole(a));
        head.chain(over).collect()
    }

    /// Every expression of the part.
    pub fn roots(&self) -> impl Iterator<Item = Id> + '_ {
        self.guard
            .into_iter()
            .chain([self.body])
            .chain(self.at.iter().copied())
    }

    pub fn rewrite(&mut self, mut f: impl FnMut(Id) -> Id) {
        self.guard = self.guard.map(&mut f);
        self.body = f(self.body);
        self.at.iter_mut().for_each(|i| *i = f(*i));
    }
}

/// How the weights of a softmax are found again, by the part `log z` or that of the whole logsumexp: the parts that it
/// was made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Softmax {
    /// `exp(x - max)`, its head that of the logsumexp and then the reduced axes.
    pub exp: PartId,
    /// One over the sum of `exp`, 0 where that is 0.
    pub scale: PartId,
}

pub(super) struct Parts {
    pub pool: Pool,
    /// By `PartId`; `None` where a part was substituted or is dead.
    pub parts: Vec<Option<Part>>,
    pub softmax: FxHashMap<PartId, Vec<Softmax>>,
    /// The definitions of the program that each output is, for the layout: input by its place, for gradients.
    pub outputs: Vec<OutputInfo>,
    /// Whether a recurrence carries reals.
    pub wide: bool,
    /// What sorts and matrix products of any kernel read: cells of the kernel's dtype in all of them.
    pub narrow: Vec<PartId>,
}

#[derive(Debug, Clone)]
pub(super) struct OutputInfo {
    pub name: Arc<str>,
    /// The input whose gradient it is.
    pub input: Option<u32>,
    pub shape: Vec<super::ExtentIndex>,
}

impl Parts {
    pub fn part(&self, id: PartId) -> &Part {
        self.get(id).expect("a live part")
    }

    pub fn get(&self, id: PartId) -> Option<&Part> {
        self.parts[id.index()].as_ref()
    }

    pub fn ids(&self) -> Vec<PartId> {
        (0..self.parts.len())
            .filter(|&k| self.parts[k].is_some())
            .map(|k| PartId(k as u32))
            .collect()
    }

    pub fn add(&mut self, part: Part) -> PartId {
        let shape = part.head.iter().map(|&a| self.pool.extent(a)).collect();
        self.pool.part_shapes.push((part.ty, shape));
        let along = match part.kind {
            Kind::Sort => part.head.last().map(|&a| self.pool.extent(a)),
            Kind::Map | Kind::Fold(_) | Kind::Gemm { .. } => None,
        };
        self.pool.permutations.push(along);
        self.parts.push(Some(part));
        PartId(self.parts.len() as u32 - 1)
    }

    /// What a part reads, an update also the output it adds to (at the cells where it adds).
    pub fn reads(&self, id: PartId) -> Vec<Read> {
        let part = self.part(id);
        let mut reads = self.pool.reads(part.roots());
        if let Some(into) = part.into {
            reads.push(Read {
                from: Source::Part(into),
                index: part.at.clone().into(),
                default: None,
            });
        }
        reads
    }

    /// The parts that each part reads, once each.
    pub fn producers(&self, id: PartId) -> Vec<PartId> {
        let part = self.part(id);
        let mut out: Vec<PartId> = part.into.into_iter().collect();
        for root in part.roots() {
            out.extend_from_slice(self.pool.parts(root));
        }
        out.sort_unstable();
        out.dedup();
        out
    }

    /// What sorts and matrix products read: it needs memory.
    pub fn operands(&self) -> Vec<PartId> {
        let wholes = self.ids().into_iter();
        wholes
            .filter(|&id| !self.part(id).is_map() && !self.part(id).is_fold())
            .flat_map(|id| self.producers(id))
            .collect()
    }

    /// Live parts, producers before their readers (but within recurrences), otherwise in order of definition.
    pub fn topological(&self) -> Vec<PartId> {
        self.ordered(&|_| true)
    }

    /// Live parts, those producers that count before their readers: without a cycle of these.
    pub fn ordered(&self, counts: &dyn Fn(PartId) -> bool) -> Vec<PartId> {
        let mut done = vec![false; self.parts.len()];
        let mut order = vec![];
        for root in self.ids() {
            let mut stack = vec![(root, false)];
            while let Some((id, closed)) = stack.pop() {
                if closed {
                    order.push(id);
                } else if !std::mem::replace(&mut done[id.index()], true) {
                    stack.push((id, true));
                    stack.extend(
                        self.producers(id)
                            .into_iter()
                            .rev()
                            .filter(|p| counts(*p) && !done[p.index()])
                            .map(|p| (p, false)),
                    );
                }
            }
        }
        order
    }

    /// Removes what no wanted output needs.
    pub fn sweep(&mut self, wanted: &dyn Fn(usize) -> bool) {
        let mut live = vec![false; self.parts.len()];
        let mut stack: Vec<PartId> = vec![];
        for id in self.ids() {
            let part = self.part(id);
            let target = part.into.map_or(part, |t| self.part(t));
            if target.output.as_ref().is_some_and(|o| wanted(o.which)) {
                stack.push(id);
            }
        }
        while let Some(id) = stack.pop() {
            if !std::mem::replace(&mut live[id.index()], true) {
                stack.extend(self.producers(id));
            }
        }
        for (k, live) in live.into_iter().enumerate() {
            if !live {
                self.parts[k] = None;
            }
        }
    }

    /// For each part who reads it.
    pub fn readers(&self) -> Vec<Vec<(PartId, Read)>> {
        let mut out = vec![vec![]; self.parts.len()];
        for id in self.ids() {
            for read in self.reads(id) {
                if let Source::Part(p) = read.from {
                    out[p.index()].push((id, read));
                }
            }
        }
        out
    }
}
