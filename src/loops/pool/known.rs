//! Operations whose operands decide them: what unrolling an axis leaves behind.

use super::*;

impl Pool {
    /// `x + k`, if x is an int shifted already: one shift.
    fn shifted(&mut self, x: Id, k: i64) -> Option<Id> {
        let Node::Op(op @ (Op::Add | Op::Sub), o) = self.node(x) else {
            return None;
        };
        let (&Node::Int(by), inner) = (self.node(o[1]), o[0]) else {
            return None;
        };
        let by = if *op == Op::Add {
            by
        } else {
            by.checked_neg()?
        };
        let both = by.checked_add(k)?;
        let (op, size) = match both {
            0.. => (Op::Add, both),
            _ => (Op::Sub, both.checked_neg()?),
        };
        let size = self.int(size);
        Some(self.op(op, &[inner, size]))
    }

    /// Ints and bools that are known; reals are left to the simplifier.
    pub(super) fn fold_op(&mut self, op: Op, operands: &[Id]) -> Option<Id> {
        let int = |pool: &Pool, k: usize| match operands.get(k).map(|&o| pool.node(o)) {
            Some(Node::Int(v)) => Some(*v),
            _ => None,
        };
        let known = |pool: &Pool, k: usize| match operands.get(k).map(|&o| pool.node(o)) {
            Some(Node::Bool(v)) => Some(*v),
            _ => None,
        };
        let (a, b) = (int(self, 0), int(self, 1));
        let real = |pool: &Pool, k: usize| match operands.get(k).map(|&o| pool.node(o)) {
            Some(Node::Real(v)) => Some(v.0),
            _ => None,
        };
        let as_bool = |pool: &mut Pool, v: bool| Some(pool.mk(Node::Bool(v)));
        match (op, real(self, 0), real(self, 1)) {
            (Op::Add, Some(0.0), _) | (Op::Mul, Some(1.0), _) => return Some(operands[1]),
            (Op::Add | Op::Sub, _, Some(0.0)) | (Op::Mul | Op::Div, _, Some(1.0)) => {
                return Some(operands[0]);
            }
            (Op::Sub, Some(0.0), None) => return Some(self.op(Op::Neg, &[operands[1]])),
            _ => {}
        }
        match op {
            Op::Add => match (a, b) {
                (Some(a), Some(b)) => Some(self.int(a.wrapping_add(b))),
                (Some(0), None) => Some(operands[1]),
                (None, Some(0)) => Some(operands[0]),
                (None, Some(b)) => self.shifted(operands[0], b),
                (Some(a), None) => self.shifted(operands[1], a),
                (None, None) => None,
            },
            Op::Sub => match (a, b) {
                (Some(a), Some(b)) => Some(self.int(a.wrapping_sub(b))),
                (None, Some(0)) => Some(operands[0]),
                (None, Some(b)) => self.shifted(operands[0], b.checked_neg()?),
                _ => None,
            },
            Op::Mul => match (a, b) {
                (Some(a), Some(b)) => Some(self.int(a.wrapping_mul(b))),
                (Some(1), None) => Some(operands[1]),
                (None, Some(1)) => Some(operands[0]),
                _ => None,
            },
            Op::Neg => a.map(|a| self.int(a.wrapping_neg())),
            op if op.compares() => {
                if let (None, Some(b)) = (a, b)
                    && let Some(least) = self.least(operands[0])
                {
                    return match op {
                        Op::Ne | Op::Gt if least > b => as_bool(self, true),
                        Op::Ge if least >= b => as_bool(self, true),
                        Op::Eq | Op::Le if least > b => as_bool(self, false),
                        Op::Lt if least >= b => as_bool(self, false),
                        _ => None,
                    };
                }
                as_bool(self, op.holds(Some(a?.cmp(&b?)))?)
            }
            Op::And => match (known(self, 0), known(self, 1)) {
                (Some(false), _) | (_, Some(false)) => as_bool(self, false),
                (Some(true), _) => Some(operands[1]),
                (_, Some(true)) => Some(operands[0]),
                _ => None,
            },
            Op::Or => match (known(self, 0), known(self, 1)) {
                (Some(true), _) | (_, Some(true)) => as_bool(self, true),
                (Some(false), _) => Some(operands[1]),
                (_, Some(false)) => Some(operands[0]),
                _ => None,
            },
            Op::Not => known(self, 0).and_then(|v| as_bool(self, !v)),
            Op::ToReal => a.map(|a| self.real(a as f64)),
            _ => None,
        }
    }
}
