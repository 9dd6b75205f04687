//! Where an adjoint is not 0: a condition around the read of a definition does not enter the definition, so its adjoint is 0
//! at the elements that nobody reads, and an infinite partial there would make NaN of it.

use crate::ir::{Body, ExprId, Node, Op, Program, ReduceOp, TensorId};
use crate::rewrite::{Substitution, substitute};
use std::cell::OnceCell;

/// How many nodes of adjoints are looked at.
const MOST_NODES: usize = 60;

/// The conditions under which an adjoint may differ from 0, found when they are first needed.
pub struct Support {
    bar: TensorId,
    read: Vec<ExprId>,
    conditions: OnceCell<Vec<ExprId>>,
}

impl Support {
    /// Of the adjoint `bar`, where it is read at `index`.
    pub fn new(bar: TensorId, index: Vec<ExprId>) -> Support {
        Support {
            bar,
            read: index,
            conditions: OnceCell::new(),
        }
    }

    /// How many axes the adjoint has.
    pub fn rank(&self) -> usize {
        self.read.len()
    }

    /// None where it may differ from 0 everywhere.
    pub fn conditions(&self, program: &mut Program) -> &[ExprId] {
        self.conditions.get_or_init(|| self.find(program))
    }

    fn find(&self, program: &mut Program) -> Vec<ExprId> {
        let Some(&Body::Expr(body)) = program.body(self.bar) else {
            return vec![];
        };
        // The adjoint of a recurrence is not known yet.
        if program.is_number(body, 0.0) {
            return vec![];
        }
        let mut budget = MOST_NODES;
        let Some(condition) = support(program, body, &mut budget) else {
            return vec![];
        };
        let condition = at(program, self.bar, &self.read, condition);
        let mut guards = vec![];
        program.collect_conjuncts(condition, &mut guards);
        guards
    }
}

/// Where an expression may differ from 0 by its form: a branch without an alternative, a sum under a guard, and sums and
/// products of such.
/// Never `e != 0`, which the next derivative would take for a branch.
fn support(program: &mut Program, e: ExprId, budget: &mut usize) -> Option<ExprId> {
    *budget = budget.checked_sub(1)?;
    match program.node(e).clone() {
        Node::Real(_) if program.is_number(e, 0.0) => Some(program.bool(false)),
        Node::If {
            condition,
            then,
            otherwise,
        } => {
            let (a, b) = (
                support(program, then, budget),
                support(program, otherwise, budget),
            );
            if a.is_none() && b.is_none() {
                return None;
            }
            let always = program.bool(true);
            let first = program.and(condition, a.unwrap_or(always));
            if b.is_some_and(|b| program.truth(b) == Some(false)) {
                return Some(first);
            }
            let not = program.not(condition);
            let second = program.and(not, b.unwrap_or(always));
            Some(program.or(first, second))
        }
        Node::Op(Op::Neg | Op::Div, o) => support(program, o[0], budget),
        Node::Op(Op::Mul, o) => {
            let factors: Vec<ExprId> = o
                .iter()
                .filter_map(|&o| support(program, o, budget))
                .collect();
            (!factors.is_empty()).then(|| program.all_of(&factors))
        }
        Node::Op(Op::Add | Op::Sub, o) => {
            let mut any = program.bool(false);
            for &term in o.iter() {
                let term = support(program, term, budget)?;
                any = program.or(any, term);
            }
            Some(any)
        }
        Node::Reduce {
            op: ReduceOp::Sum,
            axes,
            guard,
            body,
        } => {
            // What does not depend on the element, of where the elements may differ from 0.
            let element = support(program, body, budget);
            let mut conditions = vec![];
            for condition in guard.into_iter().chain(element) {
                program.collect_conjuncts(condition, &mut conditions);
            }
            conditions.retain(|&c| !program.free(c).iter().any(|a| axes.contains(a)));
            (!conditions.is_empty()).then(|| program.all_of(&conditions))
        }
        Node::Read {
            tensor,
            index,
            default: None,
        } => {
            let &Body::Expr(body) = program.body(tensor)? else {
                return None;
            };
            let condition = support(program, body, budget)?;
            Some(at(program, tensor, &index, condition))
        }
        _ => None,
    }
}

/// A condition over the head of a definition, at an index.
fn at(program: &mut Program, tensor: TensorId, index: &[ExprId], condition: ExprId) -> ExprId {
    let head = program.get(tensor).head.clone();
    let map: Substitution = head.iter().copied().zip(index.iter().copied()).collect();
    substitute(program, condition, &map)
}
