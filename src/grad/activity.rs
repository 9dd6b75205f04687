//! Which expressions and definitions depend on the inputs that are differentiated, by a way that carries a derivative.

use super::partials;
use crate::graph::components;
use crate::ir::{Body, ExprId, Node, Program, ReduceOp, TensorId, Type};
use rustc_hash::{FxHashMap, FxHashSet};

/// Whether a reduction passes a derivative to its body.
pub fn reduces_actively(op: ReduceOp) -> bool {
    match op {
        ReduceOp::Sum
        | ReduceOp::Mean
        | ReduceOp::Prod
        | ReduceOp::Max
        | ReduceOp::Min
        | ReduceOp::LogSumExp
        | ReduceOp::Norm => true,
        ReduceOp::Any | ReduceOp::All | ReduceOp::Count | ReduceOp::ArgMax | ReduceOp::ArgMin => {
            false
        }
    }
}

/// The operands of an expression through which a derivative may pass. Conditions, indices and guards are none.
pub fn active_operands(program: &Program, e: ExprId) -> Vec<ExprId> {
    if program.ty(e) != Type::Real {
        return vec![];
    }
    match program.node(e) {
        Node::Real(_)
        | Node::Int(_)
        | Node::Bool(_)
        | Node::Axis(_)
        | Node::Size(_)
        | Node::Param(_) => vec![],
        Node::Read { default, .. } => default.iter().copied().collect(),
        Node::If {
            then, otherwise, ..
        } => vec![*then, *otherwise],
        Node::Op(op, operands) if partials::passes(*op) => operands.to_vec(),
        Node::Op(..) => vec![],
        Node::Reduce { op, body, .. } if reduces_actively(*op) => vec![*body],
        Node::Reduce { .. } => vec![],
    }
}

/// The definitions and inputs that a body reads by an active way.
pub fn active_reads(program: &Program, tensor: TensorId) -> Vec<TensorId> {
    let Some(Body::Expr(root)) = program.body(tensor) else {
        return vec![];
    };
    if program.get(tensor).ty != Type::Real {
        return vec![];
    }
    let (mut seen, mut out, mut stack) = (FxHashSet::default(), vec![], vec![*root]);
    while let Some(e) = stack.pop() {
        if !seen.insert(e) {
            continue;
        }
        if let Node::Read { tensor, .. } = program.node(e)
            && program.get(*tensor).ty == Type::Real
            && !out.contains(tensor)
        {
            out.push(*tensor);
        }
        stack.extend(active_operands(program, e));
    }
    out.sort_unstable();
    out
}

/// The definitions through which `of` depends on `wrt`, in groups of those that read each other; a group comes before
/// the groups it reads. With them, whether a group is a recurrence.
pub struct Activity {
    pub active: FxHashSet<TensorId>,
    pub groups: Vec<Vec<TensorId>>,
    pub recurrent: FxHashSet<TensorId>,
}

impl Activity {
    pub fn of(program: &Program, of: TensorId, wrt: &[TensorId]) -> Activity {
        let mut reads: FxHashMap<TensorId, Vec<TensorId>> = FxHashMap::default();
        let mut stack = vec![of];
        while let Some(t) = stack.pop() {
            if reads.contains_key(&t) {
                continue;
            }
            let list = if wrt.contains(&t) {
                vec![]
            } else {
                active_reads(program, t)
            };
            stack.extend(&list);
            reads.insert(t, list);
        }
        // What reads something active is active.
        let mut readers: FxHashMap<TensorId, Vec<TensorId>> = FxHashMap::default();
        for (&t, list) in &reads {
            for &r in list {
                readers.entry(r).or_default().push(t);
            }
        }
        let mut active: FxHashSet<TensorId> = FxHashSet::default();
        let mut stack: Vec<TensorId> = wrt
            .iter()
            .copied()
            .filter(|t| reads.contains_key(t))
            .collect();
        while let Some(t) = stack.pop() {
            if active.insert(t)
                && let Some(list) = readers.get(&t)
            {
                stack.extend(list);
            }
        }
        for list in reads.values_mut() {
            list.retain(|t| active.contains(t));
        }
        let mut names: Vec<TensorId> = reads.keys().copied().collect();
        names.sort_unstable();
        let place: FxHashMap<TensorId, usize> =
            names.iter().enumerate().map(|(i, &t)| (t, i)).collect();
        let edges: Vec<Vec<usize>> = names
            .iter()
            .map(|t| {
                reads[t]
                    .iter()
                    .filter_map(|r| place.get(r).copied())
                    .collect()
            })
            .collect();
        let mut groups = components(&edges, &[place[&of]]);
        groups.reverse();
        let recurrent = groups
            .iter()
            .filter(|g| g.len() > 1 || edges[g[0]].contains(&g[0]))
            .flatten()
            .map(|&i| names[i])
            .collect();
        let groups = groups
            .into_iter()
            .map(|g| g.into_iter().map(|i| names[i]).collect::<Vec<_>>())
            .filter(|g| g.iter().any(|t| active.contains(t)))
            .collect();
        Activity {
            active,
            groups,
            recurrent,
        }
    }
}
