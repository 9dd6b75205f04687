//! How rules make new expressions.

use super::Rewriter;
use super::view::{Factors, Term};
use crate::ir::{AxisId, ExprId, Node, Op, ReduceOp};
use crate::rewrite::renamed;

impl Rewriter<'_> {
    /// `op(operands)`, simplified and made stable.
    pub(super) fn op(&mut self, op: Op, operands: &[ExprId]) -> ExprId {
        let e = self.program.op(op, operands);
        self.improve(e)
    }

    pub(super) fn neg(&mut self, e: ExprId) -> ExprId {
        self.program.neg(e)
    }

    pub(super) fn real(&mut self, x: f64) -> ExprId {
        self.program.real(x)
    }

    /// The product that `factors` says, its sign outermost.
    pub(super) fn product(&mut self, factors: &Factors) -> ExprId {
        let p = &mut *self.program;
        let literal = factors.literal.abs();
        let mut e = factors.num.iter().copied().reduce(|a, b| p.mul(a, b));
        // A whole divisor reads better than its inverse: x / 2.
        let divisor = (1.0 / literal).round();
        let divides = literal < 1.0 && literal * divisor == 1.0;
        if literal != 1.0 && !(divides && e.is_some()) {
            let l = p.real(literal);
            e = Some(match e {
                Some(e) => p.mul(l, e),
                None => l,
            });
        }
        let mut e = match e {
            Some(e) => e,
            None => p.real(1.0),
        };
        if literal != 1.0 && divides && !factors.num.is_empty() {
            let l = p.real(divisor);
            e = p.div(e, l);
        }
        for &d in &factors.den {
            e = p.div(e, d);
        }
        if factors.literal < 0.0 { p.neg(e) } else { e }
    }

    /// `factors * e`.
    pub(super) fn times(&mut self, factors: &Factors, e: ExprId) -> ExprId {
        let mut f = factors.clone();
        f.num.push(e);
        self.product(&f)
    }

    /// `f(x)` for an odd function, the sign of a negated `x` in front.
    pub(super) fn odd(&mut self, op: Op, x: ExprId) -> ExprId {
        match self.program.unary(x, Op::Neg) {
            Some(n) => {
                let e = self.op(op, &[n]);
                self.neg(e)
            }
            None => self.op(op, &[x]),
        }
    }

    /// `literal * e`.
    pub(super) fn scale(&mut self, literal: f64, e: ExprId) -> ExprId {
        self.times(
            &Factors {
                literal,
                ..Factors::one()
            },
            e,
        )
    }

    /// A sum of terms, in order.
    pub(super) fn sum_of(&mut self, terms: &[Term]) -> ExprId {
        let p = &mut *self.program;
        let mut sum: Option<ExprId> = None;
        for &(minus, t) in terms {
            sum = Some(match sum {
                Some(s) if minus => p.sub(s, t),
                Some(s) => p.add(s, t),
                None if minus => p.neg(t),
                None => t,
            });
        }
        match sum {
            Some(s) => s,
            None => p.real(0.0),
        }
    }

    /// `a - b`, without the terms that both have.
    pub(super) fn difference(&mut self, a: ExprId, b: ExprId) -> ExprId {
        let mut left = self.terms(a, 6);
        let mut right = self.terms(b, 6);
        if let [(false, sum)] = right[..]
            && let Some((sum, shifts)) = self.unshifted(sum)
            && shifts.iter().all(|s| left.contains(s))
        {
            right = vec![(false, sum)];
            right.extend(shifts);
        }
        let before = right.len();
        right.retain(|t| match left.iter().position(|l| l == t) {
            Some(at) => {
                left.remove(at);
                false
            }
            None => true,
        });
        if right.len() == before || left.is_empty() {
            return self.program.sub(a, b);
        }
        left.extend(right.into_iter().map(|(minus, t)| (!minus, t)));
        self.sum_of(&left)
    }

    /// `logsumexp[C](x - m)` as `logsumexp[C](x)` and the terms that do not depend on C (here minus m).
    pub(super) fn unshifted(&mut self, e: ExprId) -> Option<(ExprId, Vec<Term>)> {
        let e = self.look(e);
        let Node::Reduce {
            op: ReduceOp::LogSumExp,
            axes,
            guard,
            body,
        } = self.program.node(e).clone()
        else {
            return None;
        };
        let terms = self.terms(body, 6);
        let (inside, outside): (Vec<Term>, Vec<Term>) = terms
            .into_iter()
            .partition(|t| axes.iter().any(|&a| self.program.is_free(a, t.1)));
        if outside.is_empty() || inside.is_empty() {
            return None;
        }
        let body = self.sum_of(&inside);
        Some((
            self.reduce(ReduceOp::LogSumExp, &axes, guard, body),
            outside,
        ))
    }

    /// `op[axes if guard](body)` with axes of its own.
    pub(super) fn reduce(
        &mut self,
        op: ReduceOp,
        axes: &[AxisId],
        guard: Option<ExprId>,
        body: ExprId,
    ) -> ExprId {
        let e = self.program.reduce(op, axes, guard, body);
        renamed(self.program, e)
    }

    /// How many elements a reduction has, as a real.
    pub(super) fn count(&mut self, axes: &[AxisId], guard: Option<ExprId>) -> ExprId {
        let all = self.program.bool(true);
        let count = self.reduce(ReduceOp::Count, axes, guard, all);
        self.program.to_real(count)
    }
}
