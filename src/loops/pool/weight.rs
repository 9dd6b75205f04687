//! What expressions cost.

use super::*;

impl Pool {
    /// What computing an expression costs, about in cycles of one element; each node once.
    pub fn weight(&self, root: Id) -> u32 {
        self.reachable([root])
            .into_iter()
            .map(|id| self.own_weight(id))
            .sum()
    }

    pub(super) fn own_weight(&self, id: Id) -> u32 {
        match self.node(id) {
            Node::Real(_)
            | Node::Int(_)
            | Node::Bool(_)
            | Node::Axis(_)
            | Node::Size(_)
            | Node::Param(_) => 0,
            Node::Read { default, .. } => u32::from(default.is_some()),
            Node::If(..) | Node::Finite(_) | Node::Found(_) => 1,
            Node::Op(op, _) => match op {
                Op::StopGradient => 0,
                Op::Add
                | Op::Sub
                | Op::Mul
                | Op::Neg
                | Op::Abs
                | Op::Sign
                | Op::Max
                | Op::Min
                | Op::Clamp
                | Op::Relu
                | Op::Floor
                | Op::Ceil
                | Op::Round
                | Op::ToReal
                | Op::ToInt
                | Op::Eq
                | Op::Ne
                | Op::Lt
                | Op::Le
                | Op::Gt
                | Op::Ge
                | Op::And
                | Op::Or
                | Op::Not => 1,
                Op::Div | Op::Sqrt => 4,
                Op::IntDiv | Op::Mod => 8,
                Op::LogSumExp => 40,
                Op::Lgamma | Op::Digamma | Op::Polygamma => 64,
                _ => 16,
            },
        }
    }
}
