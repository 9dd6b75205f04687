//! The definitions of a program in an order in which they can be computed.

use crate::graph;
use crate::ir::{Program, TensorId, TensorKind};

/// The definitions that the outputs need, producers first; those that need each other are one group.
pub(super) fn order(program: &Program) -> Vec<Vec<TensorId>> {
    let input = |t: &TensorId| matches!(program.get(*t).kind, TensorKind::Input(_));
    let mut edges = vec![vec![]; program.tensors.len()];
    let mut todo = program.outputs();
    let mut seen = vec![false; program.tensors.len()];
    while let Some(t) = todo.pop() {
        if std::mem::replace(&mut seen[t.index()], true) {
            continue;
        }
        let mut reads = program.reads(t);
        reads.retain(|r| !input(r));
        edges[t.index()] = reads.iter().map(|r| r.index()).collect();
        todo.extend(reads);
    }
    let outputs = program.outputs().into_iter().filter(|t| !input(t));
    let roots: Vec<usize> = outputs.map(TensorId::index).collect();
    let tensor = |k: usize| TensorId(k as u32);
    graph::components(&edges, &roots)
        .into_iter()
        .map(|group| group.into_iter().map(tensor).collect())
        .collect()
}
