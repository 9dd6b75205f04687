//! Comparisons, conjunctions and choices in canonical form.

use crate::ir::{ExprId, Node, Op, Program, Type};
use crate::rewrite::index;

impl Program {
    pub fn compare(&mut self, op: Op, a: ExprId, b: ExprId) -> ExprId {
        if self.ty(a) == Type::Int && self.ty(b) == Type::Int {
            if let Some(answer) = index::decide(self, &[], op, a, b) {
                return self.bool(answer);
            }
        } else if let (Some(x), Some(y)) = (self.number(a), self.number(b))
            && let Some(answer) = op.holds(x.partial_cmp(&y))
        {
            return self.bool(answer);
        }
        if self.ty(a) == Type::Bool && a == b && matches!(op, Op::Eq | Op::Ne) {
            return self.bool(op == Op::Eq);
        }
        // A real compared with infinities stays: it asks for more than it seems (NaN).
        self.raw(op, &[a, b])
    }

    pub fn not(&mut self, a: ExprId) -> ExprId {
        match self.node(a).clone() {
            Node::Bool(b) => self.bool(!b),
            Node::Op(Op::Not, o) => o[0],
            Node::Op(Op::Eq, o) => self.raw(Op::Ne, &o),
            Node::Op(Op::Ne, o) => self.raw(Op::Eq, &o),
            // With reals these would differ for NaN.
            Node::Op(op @ (Op::Lt | Op::Le | Op::Gt | Op::Ge), o) if self.ty(o[0]) == Type::Int => {
                let turned = match op {
                    Op::Lt => Op::Ge,
                    Op::Le => Op::Gt,
                    Op::Gt => Op::Le,
                    _ => Op::Lt,
                };
                self.raw(turned, &o)
            }
            _ => self.raw(Op::Not, &[a]),
        }
    }

    pub fn and(&mut self, a: ExprId, b: ExprId) -> ExprId {
        match (self.truth(a), self.truth(b)) {
            (Some(true), _) => b,
            (Some(false), _) => a,
            (_, Some(true)) => a,
            // The first is evaluated for its errors only; a read out of range is the user's to see, so it stays.
            (_, Some(false)) if self.is_total(a) => b,
            _ if a == b => a,
            _ => self.raw(Op::And, &[a, b]),
        }
    }

    pub fn or(&mut self, a: ExprId, b: ExprId) -> ExprId {
        match (self.truth(a), self.truth(b)) {
            (Some(false), _) => b,
            (Some(true), _) => a,
            (_, Some(false)) => a,
            (_, Some(true)) if self.is_total(a) => b,
            _ if self.implies(b, a) => a,
            _ if self.implies(a, b) => b,
            _ => self.raw(Op::Or, &[a, b]),
        }
    }

    /// Whether all conditions of `b` are among those of `a`.
    fn implies(&self, a: ExprId, b: ExprId) -> bool {
        a == b || {
            let stronger = matches!(self.node(a), Node::Op(Op::And, _)).then(|| self.conjuncts(a));
            stronger.is_some_and(|all| self.conjuncts(b).iter().all(|c| all.contains(c)))
        }
    }

    /// Whether evaluating it cannot fail, by a quick look.
    fn is_total(&self, e: ExprId) -> bool {
        match self.node(e) {
            Node::Op(op, o) => {
                !matches!(op, Op::IntDiv | Op::Mod)
                    && o.len() <= 2
                    && o.iter().all(|&x| self.is_total_leaf(x))
            }
            _ => self.is_total_leaf(e),
        }
    }

    fn is_total_leaf(&self, e: ExprId) -> bool {
        match self.node(e) {
            Node::Real(_)
            | Node::Int(_)
            | Node::Bool(_)
            | Node::Axis(_)
            | Node::Size(_)
            | Node::Param(_) => true,
            Node::Read { index, default, .. } => {
                default.is_none() && index.iter().all(|&i| matches!(self.node(i), Node::Axis(_)))
            }
            Node::Op(..) | Node::If { .. } | Node::Reduce { .. } => false,
        }
    }

    /// The conditions that an `and` joins, in order, each once; `true` joins none.
    pub fn conjuncts(&self, e: ExprId) -> Vec<ExprId> {
        let mut out = vec![];
        self.collect_conjuncts(e, &mut out);
        out
    }

    pub fn collect_conjuncts(&self, e: ExprId, out: &mut Vec<ExprId>) {
        let mut stack = vec![e];
        while let Some(e) = stack.pop() {
            match self.node(e) {
                Node::Bool(true) => {}
                Node::Op(Op::And, o) => stack.extend([o[1], o[0]]),
                _ if out.contains(&e) => {}
                _ => out.push(e),
            }
        }
    }

    /// All of the conditions, in order.
    pub fn all_of(&mut self, conditions: &[ExprId]) -> ExprId {
        let mut all = self.bool(true);
        for &c in conditions {
            all = self.and(all, c);
        }
        all
    }

    /// `if condition then a else b`.
    pub fn iff(&mut self, condition: ExprId, a: ExprId, b: ExprId) -> ExprId {
        if let Some(truth) = self.truth(condition) {
            return if truth { a } else { b };
        }
        if a == b && self.is_total(condition) {
            return a;
        }
        if let &Node::If {
            condition: c,
            then,
            otherwise,
        } = self.node(a)
        {
            if c == condition {
                return self.iff(condition, then, b);
            }
            if otherwise == b {
                let both = self.and(condition, c);
                return self.iff(both, then, b);
            }
        }
        if let Some(n) = self.unary(a, Op::Neg)
            && self.is_number(b, 0.0)
            && let &Node::If { otherwise, .. } = self.node(n)
            && self.is_number(otherwise, 0.0)
        {
            let positive = self.iff(condition, n, b);
            return self.neg(positive);
        }
        if let &Node::If {
            condition: c,
            otherwise,
            ..
        } = self.node(b)
            && c == condition
        {
            return self.iff(condition, a, otherwise);
        }
        if let (Some(true), Some(false)) = (self.truth(a), self.truth(b)) {
            return condition;
        }
        self.mk(Node::If {
            condition,
            then: a,
            otherwise: b,
        })
    }
}
