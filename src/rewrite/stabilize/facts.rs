//! Which conditions hold wherever an expression is evaluated: those of the branches and guards on every way to it.

use super::sign::{Fact, Ranges, facts_of};
use crate::ir::{ExprId, Node, Op, Program, TensorId};
use rustc_hash::FxHashMap;
use std::rc::Rc;

/// The facts of each expression that has any.
pub type Facts = FxHashMap<ExprId, Rc<[Fact]>>;

/// One sweep from readers to operands. An expression with several readers has the facts that all of them give it.
pub fn collect(program: &Program, tensors: &[TensorId], ranges: &mut Ranges) -> Facts {
    let roots: Vec<ExprId> = tensors.iter().flat_map(|&t| program.roots(t)).collect();
    let ids = program.reachable(&roots);
    let conditional = |id: &ExprId| {
        matches!(
            program.node(*id),
            Node::If { .. } | Node::Reduce { guard: Some(_), .. } | Node::Op(Op::And | Op::Or, _)
        )
    };
    if !ids.iter().any(conditional) {
        return Facts::default();
    }
    let none: Rc<[Fact]> = Rc::new([]);
    let mut facts: Facts = roots.iter().map(|&r| (r, none.clone())).collect();
    for &id in ids.iter().rev() {
        let here = facts.get(&id).cloned().unwrap_or_else(|| none.clone());
        let with = |condition: ExprId, holds: bool, ranges: &mut Ranges| -> Rc<[Fact]> {
            let more = facts_of(program, condition, holds, |e| ranges.of(program, e));
            if more.is_empty() {
                here.clone()
            } else {
                here.iter().copied().chain(more).collect()
            }
        };
        match program.node(id) {
            &Node::If {
                condition,
                then,
                otherwise,
            } => {
                let (yes, no) = (
                    with(condition, true, ranges),
                    with(condition, false, ranges),
                );
                reach(&mut facts, condition, &here);
                reach(&mut facts, then, &yes);
                reach(&mut facts, otherwise, &no);
            }
            Node::Reduce {
                guard: Some(guard),
                body,
                ..
            } => {
                let (guard, body) = (*guard, *body);
                let inside = with(guard, true, ranges);
                reach(&mut facts, guard, &here);
                reach(&mut facts, body, &inside);
            }
            Node::Op(op @ (Op::And | Op::Or), o) => {
                let (first, second) = (o[0], o[1]);
                let after = with(first, *op == Op::And, ranges);
                reach(&mut facts, first, &here);
                reach(&mut facts, second, &after);
            }
            Node::Real(_)
            | Node::Int(_)
            | Node::Bool(_)
            | Node::Axis(_)
            | Node::Size(_)
            | Node::Param(_)
            | Node::Read { .. }
            | Node::Op(..)
            | Node::Reduce { guard: None, .. } => {
                program.for_children(id, |child| reach(&mut facts, child, &here));
            }
        }
    }
    facts.retain(|_, f| !f.is_empty());
    facts
}

/// `id` is evaluated where `here` holds: keeps what earlier readers gave as well.
fn reach(facts: &mut Facts, id: ExprId, here: &Rc<[Fact]>) {
    match facts.get_mut(&id) {
        None => {
            facts.insert(id, here.clone());
        }
        Some(old) if Rc::ptr_eq(old, here) || old.is_empty() => {}
        Some(old) => *old = old.iter().copied().filter(|f| here.contains(f)).collect(),
    }
}
