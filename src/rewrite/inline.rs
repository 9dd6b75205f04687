//! Definitions that are not worth a name are substituted into their readers.

use super::product::is_closed;
use super::{Memo, instantiate, live, rebuild_body, recurrent, with_fresh_binders};
use crate::ir::{Body, ExprId, Node, Op, Program, TensorId, Type, Visited};
use rustc_hash::{FxHashMap, FxHashSet};

/// Up to this weight a definition is not worth being computed once.
const CHEAP: usize = 2;
/// Up to this weight a definition with one reader is not worth a name of its own.
const SMALL: usize = 12;

/// What computing an expression costs, roughly: additions 1, divisions and functions 4, reductions 20. Shared nodes
/// count once. Stops counting beyond `limit`.
pub fn weight(program: &Program, e: ExprId, limit: usize) -> usize {
    let (mut seen, mut stack, mut sum) = (Visited::new(program), vec![e], 0);
    while let Some(e) = stack.pop() {
        if !seen.insert(e) {
            continue;
        }
        sum += node_weight(program, e);
        if sum > limit {
            return sum;
        }
        program.for_children(e, |c| stack.push(c));
    }
    sum
}

fn node_weight(program: &Program, e: ExprId) -> usize {
    match program.node(e) {
        Node::Real(_)
        | Node::Int(_)
        | Node::Bool(_)
        | Node::Axis(_)
        | Node::Size(_)
        | Node::Param(_) => 0,
        Node::Read { .. } | Node::If { .. } => 1,
        Node::Reduce { .. } => 20,
        Node::Op(op, _) => op_weight(*op),
    }
}

/// The cost of one operator in the same unit.
pub fn op_weight(op: Op) -> usize {
    match op {
        Op::ToReal | Op::ToInt | Op::StopGradient => 0,
        Op::Add
        | Op::Sub
        | Op::Mul
        | Op::Neg
        | Op::Abs
        | Op::Sign
        | Op::Relu
        | Op::Eq
        | Op::Ne
        | Op::Lt
        | Op::Le
        | Op::Gt
        | Op::Ge
        | Op::And
        | Op::Or
        | Op::Not => 1,
        Op::Max | Op::Min | Op::Clamp | Op::Floor | Op::Ceil | Op::Round => 2,
        _ => 4,
    }
}

/// How a definition is read.
#[derive(Default)]
struct Uses {
    /// In how many different ways, in how many definitions.
    count: usize,
    /// As the operand of how many nodes.
    edges: usize,
    /// Some read has a default; its range is the definition's own, so the read must stay.
    defaulted: bool,
    /// The reader, if there is one, and whether it reads at all of its axes, each bare.
    aligned: bool,
}

fn uses(program: &Program, order: &[TensorId]) -> FxHashMap<TensorId, Uses> {
    let mut uses: FxHashMap<TensorId, Uses> = FxHashMap::default();
    for &t in order {
        let nodes = program.reachable(&program.roots(t));
        let mut open = program.get(t).head.clone();
        for &e in &nodes {
            if let Node::Reduce { axes, .. } = program.node(e) {
                open.extend(axes.iter());
            }
        }
        let mut edges: FxHashMap<ExprId, usize> = FxHashMap::default();
        for r in program.roots(t) {
            *edges.entry(r).or_default() += 1;
        }
        for &e in &nodes {
            program.for_children(e, |c| *edges.entry(c).or_default() += 1);
        }
        for &e in &nodes {
            let Node::Read {
                tensor,
                index,
                default,
            } = program.node(e)
            else {
                continue;
            };
            let entry = uses.entry(*tensor).or_default();
            entry.count += 1;
            entry.edges += edges[&e];
            entry.defaulted |= default.is_some();
            entry.aligned = is_aligned(program, index, &open);
        }
    }
    uses
}

/// Whether the indices are the open axes, each once and bare.
fn is_aligned(program: &Program, index: &[ExprId], open: &[crate::ir::AxisId]) -> bool {
    let mut bare = vec![];
    for &i in index {
        match program.node(i) {
            Node::Axis(a) if !bare.contains(a) => bare.push(*a),
            _ => return false,
        }
    }
    open.iter().all(|a| bare.contains(a))
}

/// Substitutes what is cheap, or small and read once. Definitions with a name from the source stay, and so do outputs,
/// recurrences and reductions.
pub fn inline(program: &mut Program, outputs: &[TensorId]) {
    let order = live(program, outputs);
    adopt_names(program, &order, outputs);
    let uses = uses(program, &order);
    let loops = recurrent(program, &order);
    let none = Uses::default();
    let mut gone: FxHashSet<TensorId> = FxHashSet::default();
    let mut memo = Memo::default();
    for &t in &order {
        // A member of a recurrence may be read by a definition that comes before it, so it is never inlined itself.
        rebuild_body(program, t, &mut memo, |program, old, node| match node {
            Node::Read {
                tensor,
                ref index,
                default: None,
            } if gone.contains(&tensor) => {
                let site = program.span(old);
                instantiate(program, tensor, index, site)
                    .unwrap_or_else(|| program.make(node.clone()))
            }
            node => program.make(node),
        });
        let used = uses.get(&t).unwrap_or(&none);
        if !outputs.contains(&t)
            && !loops.contains(&t)
            && !used.defaulted
            && worth_inlining(program, t, used)
        {
            gone.insert(t);
        }
    }
}

fn worth_inlining(program: &Program, t: TensorId, used: &Uses) -> bool {
    let Some(&Body::Expr(body)) = program.body(t) else {
        return false;
    };
    let limit = 200;
    let heavy = |e: ExprId| {
        matches!(
            program.node(e),
            Node::Reduce { .. } | Node::Op(Op::LogSumExp, _)
        )
    };
    let nodes = program.reachable(&[body]);
    if nodes.iter().any(|&e| heavy(e)) {
        return false;
    }
    let weight = weight(program, body, limit);
    if program.get(t).named {
        // A name of the source for another name, or for nothing but a number, made by specialisation.
        return false;
    }
    weight <= CHEAP
        || weight <= SMALL && is_closed(program, body)
        || used.edges <= 1 && (weight <= SMALL || used.aligned && weight < limit)
}

/// A definition of the source that only reads a generated one gives it its name.
fn adopt_names(program: &mut Program, order: &[TensorId], outputs: &[TensorId]) {
    let mut renamed: FxHashMap<TensorId, TensorId> = FxHashMap::default();
    for &t in order {
        let Some(&Body::Expr(e)) = program.body(t) else {
            continue;
        };
        let Node::Read {
            tensor: inner,
            index,
            default: None,
        } = program.node(e)
        else {
            continue;
        };
        let inner = *inner;
        let head = &program.get(t).head;
        let same = index.len() == head.len()
            && index
                .iter()
                .zip(head)
                .all(|(&i, a)| program.node(i) == &Node::Axis(*a));
        let generated = program.body(inner).is_some() && !program.get(inner).named;
        if same
            && generated
            && program.get(t).named
            && !outputs.contains(&t)
            && !outputs.contains(&inner)
            && !renamed.contains_key(&inner)
        {
            let (name, span) = (program.get(t).name.clone(), program.get(t).span);
            let target = &mut program.tensors[inner.index()];
            target.name = name;
            target.named = true;
            target.span = span;
            renamed.insert(t, inner);
        }
    }
    if renamed.is_empty() {
        return;
    }
    let mut memo = Memo::default();
    for &t in order {
        if !renamed.contains_key(&t) {
            super::equal::replace_reads(program, t, &renamed, &mut memo);
        }
    }
}

/// A generated reduction with one reader goes back into it, where it is evaluated as often: the reader runs over the same
/// axes, its own and those that it reduces. What remains is named because it is shared or because it runs over other axes.
pub fn inline_reductions(program: &mut Program, outputs: &[TensorId]) {
    let order = live(program, outputs);
    let loops = recurrent(program, &order);
    let uses = uses(program, &order);
    let mut gone: FxHashSet<TensorId> = FxHashSet::default();
    for &t in &order {
        let inner: Vec<TensorId> = body_reads(program, t);
        for r in inner {
            let single = uses
                .get(&r)
                .is_some_and(|u| u.edges == 1 && !u.defaulted && u.aligned);
            if single
                && !outputs.contains(&r)
                && !loops.contains(&r)
                && is_plain_reduction(program, r)
            {
                gone.insert(r);
            }
        }
    }
    if gone.is_empty() {
        return;
    }
    let mut memo = Memo::default();
    for &t in &order {
        rebuild_body(program, t, &mut memo, |program, old, node| match node {
            Node::Read {
                tensor,
                ref index,
                default: None,
            } if gone.contains(&tensor) => {
                let site = program.span(old);
                match instantiate(program, tensor, index, site) {
                    // Definitions of their own may have bound the same axes.
                    Some(e) => with_fresh_binders(program, e),
                    None => program.make(node),
                }
            }
            node => program.make(node),
        });
    }
}

/// Generated, holding one reduction, and small beside it.
fn is_plain_reduction(program: &Program, t: TensorId) -> bool {
    let Some(&Body::Expr(e)) = program.body(t) else {
        return false;
    };
    if program.get(t).named || program.get(t).ty == Type::Bool {
        return false;
    }
    let nodes = program.reachable(&[e]);
    let reductions = nodes
        .iter()
        .filter(|&&n| matches!(program.node(n), Node::Reduce { .. }))
        .count();
    let sums = nodes
        .iter()
        .any(|&n| matches!(program.node(n), Node::Op(Op::LogSumExp, _)));
    reductions == 1 && !sums && weight(program, e, 60) < 60
}

/// What a body reads.
fn body_reads(program: &Program, t: TensorId) -> Vec<TensorId> {
    match program.body(t) {
        Some(Body::Expr(_)) => program.reads(t),
        _ => vec![],
    }
}
