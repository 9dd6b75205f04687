//! The derivatives of reductions.

use super::{Region, Sweep};
use crate::grad::activity;
use crate::grad::conjunction::conjunction;
use crate::grad::partials::not_minus_infinity;
use crate::ir::{AxisId, ExprId, Op, ReduceOp};
use crate::rewrite::name::define;
use crate::rewrite::{Substitution, renamed, substitute};
use std::rc::Rc;

pub(super) struct Reduction<'a> {
    pub op: ReduceOp,
    pub axes: &'a [AxisId],
    pub guard: Option<ExprId>,
    pub body: ExprId,
    pub answer: ExprId,
}

impl Sweep<'_> {
    /// Opens the region of a reduction's operand, with more summed axes.
    pub(super) fn reduction(
        &mut self,
        r: Reduction,
        guards: &Rc<[ExprId]>,
        adjoint: ExprId,
        region: &Region,
    ) {
        if !activity::reduces_actively(r.op) || !self.depends(r.body) {
            return;
        }
        let mut inner = guards.to_vec();
        if let Some(g) = r.guard {
            self.program.collect_conjuncts(g, &mut inner);
        }
        let Some(mut inner) = conjunction(self.program, &inner) else {
            return;
        };
        let adjoint = self.through(&r, &mut inner, adjoint);
        if matches!(r.op, ReduceOp::LogSumExp | ReduceOp::Norm) {
            // Their partials are NaN where they are, of an empty mean for instance.
            inner.extend_from_slice(region.support.conditions(self.program));
            let Some(list) = conjunction(self.program, &inner) else {
                return;
            };
            inner = list;
        }
        let axes = [&region.axes[..], r.axes].concat();
        let below = Region {
            axes,
            answered: r.body,
            answer: r.body,
            support: region.support.clone(),
        };
        self.region(r.body, inner.into(), adjoint, &below);
    }

    /// The adjoint of a reduction's operand; adds the guards under which it is not 0.
    fn through(&mut self, r: &Reduction, guards: &mut Vec<ExprId>, adjoint: ExprId) -> ExprId {
        let path = guards.clone();
        match r.op {
            // d sum(x) = sum(dx)
            ReduceOp::Sum => adjoint,
            // d mean(x) = sum(dx) / members. Whoever asks is a member, so there is one.
            ReduceOp::Mean => match r.guard {
                None => {
                    let mut quotient = adjoint;
                    for &a in r.axes {
                        let size = self.program.real_size(self.program.extent_of(a));
                        quotient = self.program.quotient(quotient, size);
                    }
                    quotient
                }
                Some(guard) => {
                    let always = self.program.bool(true);
                    let count = self
                        .program
                        .reduce(ReduceOp::Count, r.axes, Some(guard), always);
                    let members = self.named("members", count, &path);
                    let members = self.program.to_real(members);
                    self.program.quotient(adjoint, members)
                }
            },
            // d logsumexp(x) = sum(exp(x - answer) dx); of nothing but -inf, 0
            ReduceOp::LogSumExp => {
                guards.push(not_minus_infinity(self.program, r.answer));
                let difference = self.program.sub(r.body, r.answer);
                let weight = self.program.op(Op::Exp, &[difference]);
                let weight = self.named("weight", weight, &path);
                self.program.product(adjoint, weight)
            }
            // d norm(x) = sum(x dx) / norm(x), 0 at 0
            ReduceOp::Norm => {
                let zero = self.program.real(0.0);
                guards.push(self.program.compare(Op::Ne, r.answer, zero));
                let product = self.program.product(adjoint, r.body);
                self.program.quotient(product, r.answer)
            }
            // d max(x) = sum(dx over the maxima) / how many there are
            ReduceOp::Max | ReduceOp::Min => {
                let tie = self.program.compare(Op::Eq, r.body, r.answer);
                guards.push(tie);
                let conditions: Vec<ExprId> = r.guard.into_iter().chain([tie]).collect();
                let guard = self.program.all_of(&conditions);
                let always = self.program.bool(true);
                let count = self
                    .program
                    .reduce(ReduceOp::Count, r.axes, Some(guard), always);
                let ties = self.named("ties", count, &path);
                let ties = self.program.to_real(ties);
                self.program.quotient(adjoint, ties)
            }
            // d prod(x) = sum(dx times the product of the others), never a division
            ReduceOp::Prod => {
                let others = self.others(r);
                let others = self.named("others", others, &path);
                self.program.product(adjoint, others)
            }
            ReduceOp::Any
            | ReduceOp::All
            | ReduceOp::Count
            | ReduceOp::ArgMax
            | ReduceOp::ArgMin => adjoint,
        }
    }

    /// `prod[R' if guard' and R' != R](x')`.
    fn others(&mut self, r: &Reduction) -> ExprId {
        let program = &mut *self.program;
        let other: Vec<AxisId> = r.axes.iter().map(|&a| program.fresh(a)).collect();
        let map: Substitution = r
            .axes
            .iter()
            .zip(&other)
            .map(|(&a, &b)| (a, program.index_of(b)))
            .collect();
        let mut same = program.bool(true);
        for (&a, &b) in r.axes.iter().zip(&other) {
            let (a, b) = (program.index_of(a), program.index_of(b));
            let equal = program.compare(Op::Eq, b, a);
            same = program.and(same, equal);
        }
        let mut guard = program.not(same);
        if let Some(g) = r.guard {
            let g = substitute(program, g, &map);
            guard = program.and(g, guard);
        }
        let body = substitute(program, r.body, &map);
        program.reduce(ReduceOp::Prod, &other, Some(guard), body)
    }

    /// A definition over the expression's own axes, before brackets are eliminated, so that all reads share it.
    fn named(&mut self, name: &str, e: ExprId, path: &[ExprId]) -> ExprId {
        if self.program.integer(e).is_some() || self.program.number(e).is_some() {
            return e;
        }
        if let Some(&read) = self.made.get(&e) {
            return read;
        }
        let axes: Vec<AxisId> = self.program.free(e).to_vec();
        let fresh = renamed(self.program, e);
        let (read, _) = define(self.program, name, &axes, fresh, path);
        self.made.insert(e, read);
        read
    }
}
