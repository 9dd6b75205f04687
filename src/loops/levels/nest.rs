//! The parts of one nest as a graph: those that need each other are one node.

use super::info::Edge;
use super::{Levels, Open};
use crate::graph;
use crate::loops::pool::PartId;

/// The parts of one nest, by place: producers before their readers.
pub(super) struct Nest {
    pub ids: Vec<PartId>,
    /// Places that need each other, or one place.
    pub nodes: Vec<Vec<usize>>,
    /// The reads between nodes, by the node that is read: place of what is read, place of its reader, number of the read.
    pub readers: Vec<Vec<(usize, usize, usize)>>,
    /// The same by the node that reads.
    pub reads: Vec<Vec<(usize, usize, usize)>>,
    /// The reads within each node.
    pub inside: Vec<Vec<(usize, usize, usize)>>,
    /// The node of each place.
    pub node: Vec<usize>,
}

impl Nest {
    pub fn first(&self, node: usize) -> PartId {
        self.ids[self.nodes[node][0]]
    }

    pub fn members(&self, node: usize) -> impl Iterator<Item = PartId> + '_ {
        self.nodes[node].iter().map(|&k| self.ids[k])
    }

    /// Whether the parts of a node need each other.
    pub fn cyclic(&self, node: usize) -> bool {
        !self.inside[node].is_empty()
    }
}

impl Levels<'_> {
    /// The parts as nodes. What earlier steps of an open loop have made is at hand.
    pub(super) fn nodes(&mut self, ids: &[PartId], open: &Open) -> Nest {
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
}
