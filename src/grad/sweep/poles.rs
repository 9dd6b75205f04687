//! Where a partial derivative, or a factor of one, may be infinite.

use super::Sweep;
use crate::grad::partials::Summand;
use crate::ir::{Body, ExprId, Node, Op};
use crate::rewrite::product::is_closed;

/// How many nodes of a factor are looked at.
const FACTOR_NODES: usize = 40;

impl Sweep<'_> {
    /// Whether a partial may be infinite.
    pub(super) fn singular(&mut self, op: Op, operands: &[ExprId], summand: &Summand) -> bool {
        let pole = match op {
            // x^p has a derivative at 0 from p = 1 on.
            Op::Pow => self.program.number(operands[1]).is_none_or(|p| p < 1.0),
            Op::Exp
            | Op::Expm1
            | Op::Sinh
            | Op::Cosh
            | Op::Xlogy
            | Op::Tan
            | Op::Lgamma
            | Op::Digamma
            | Op::Polygamma => true,
            _ => false,
        };
        pole || summand.over.is_some_and(|d| self.may_vanish(d))
    }

    /// Whether a denominator may be 0.
    fn may_vanish(&mut self, d: ExprId) -> bool {
        !is_closed(self.program, d) && !self.ranges.of(self.program, d).is_nonzero()
    }

    /// Whether a factor may be infinite: a quotient stands in it or in what it reads.
    pub(super) fn has_pole(&mut self, factor: Option<ExprId>) -> bool {
        let mut stack: Vec<ExprId> = factor.into_iter().collect();
        let mut budget = FACTOR_NODES;
        while let Some(e) = stack.pop() {
            let Some(left) = budget.checked_sub(1) else {
                return true;
            };
            budget = left;
            match self.program.node(e) {
                &Node::Op(Op::Div, ref o) => {
                    let (a, d) = (o[0], o[1]);
                    if self.may_vanish(d) {
                        return true;
                    }
                    stack.extend([a, d]);
                }
                Node::Op(_, o) => stack.extend(o.iter().copied()),
                &Node::If {
                    then, otherwise, ..
                } => stack.extend([then, otherwise]),
                &Node::Read { tensor, .. } => {
                    if let Some(&Body::Expr(body)) = self.program.body(tensor) {
                        stack.push(body);
                    }
                }
                &Node::Reduce { body, .. } => stack.push(body),
                _ => {}
            }
        }
        false
    }
}
