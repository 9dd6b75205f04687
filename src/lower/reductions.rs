//! Reductions (rule R5).

use super::builtins::Reduction;
use super::expr::At;
use super::lints;
use super::scope::Scope;
use super::{Lowered, Lowerer, axis_names, listed};
use crate::ast::{Expr, Span, Use};
use crate::diagnostic::Diagnostic;
use crate::ir::{AxisId, ExprId, Node, Op, ReduceOp, Type};

impl<'m> Lowerer<'m> {
    pub(super) fn call_reduction(
        &mut self,
        s: &mut Scope<'m>,
        r: Reduction,
        u: &'m Use,
        operands: &[&'m Expr],
        span: Span,
    ) -> Lowered<ExprId> {
        let name = r.name();
        if operands.len() >= 2 && u.bracket.is_none() {
            let op = match r {
                Reduction::Plain(ReduceOp::Max) => Some(Op::Max),
                Reduction::Plain(ReduceOp::Min) => Some(Op::Min),
                Reduction::Plain(ReduceOp::LogSumExp) => Some(Op::LogSumExp),
                _ => None,
            };
            if let Some(op) = op {
                let at = self.operands(s, operands)?;
                let ids = if op == Op::LogSumExp {
                    let ids: Vec<Lowered<ExprId>> = at.iter().map(|&a| self.real(a)).collect();
                    ids.into_iter().collect::<Lowered<_>>()?
                } else {
                    self.numbers(&at)?.1
                };
                return Ok(self.p.raw(op, &ids));
            }
        }
        if operands.len() >= 2 && u.bracket.is_some() && matches!(name, "max" | "min" | "logsumexp")
        {
            return Err(self.error(
                Diagnostic::error(format!(
                    "`{name}` over axes takes one operand, {} given",
                    operands.len()
                ))
                .at(operands[1].span, "one too many")
                .help(format!("elementwise, without brackets: `{name}(a, b)`")),
            ));
        }
        self.arity(name, operands, 1, span)?;
        let (axes, guard) = match &u.bracket {
            None => (None, None),
            Some(bracket) => {
                let axes = self.bracket_axes(s, name, bracket)?;
                (Some(axes), bracket.guard.as_ref())
            }
        };
        let (guard, body) = self.guarded(s, axes.as_deref().unwrap_or(&[]), guard, operands[0])?;
        let axes = match axes {
            Some(axes) => {
                if s.lints {
                    self.lint_brackets(r, &axes, guard, body, u, operands[0]);
                }
                axes
            }
            None => {
                let axes = self.p.free(body.id).to_vec();
                if s.lints {
                    lints::disjoint(self, name, body);
                }
                axes
            }
        };
        self.reduction(r, &axes, guard.map(|g| g.id), body, span)
    }

    /// A guard and what is evaluated under it.
    pub(super) fn guarded(
        &mut self,
        s: &mut Scope<'m>,
        axes: &[AxisId],
        guard: Option<&'m Expr>,
        body: &'m Expr,
    ) -> Lowered<(Option<At>, At)> {
        // Conditions around say nothing of the axes that are bound here.
        let outer = self.path.clone();
        self.path
            .retain(|&c| !axes.iter().any(|&a| self.p.is_free(a, c)));
        let guard = match guard {
            None => Ok(None),
            Some(g) => self.at(s, g).and_then(|g| {
                Ok(Some(At {
                    id: self.boolean(g)?,
                    span: g.span,
                }))
            }),
        };
        if let Ok(Some(g)) = guard {
            self.path.push(g.id);
        }
        let body = self.at(s, body);
        self.path = outer;
        Ok((guard?, body?))
    }

    pub(super) fn reduction(
        &mut self,
        r: Reduction,
        axes: &[AxisId],
        guard: Option<ExprId>,
        body: At,
        span: Span,
    ) -> Lowered<ExprId> {
        match r {
            Reduction::Plain(op) => {
                let id = self.reduction_operand(op, body)?;
                if matches!(op, ReduceOp::ArgMax | ReduceOp::ArgMin) && axes.len() != 1 {
                    let names = axis_names(&self.p, axes);
                    return Err(self.error(
                        Diagnostic::error(format!(
                            "`{}` takes one axis, not {}",
                            op.name(),
                            axes.len()
                        ))
                        .at(
                            span,
                            if axes.is_empty() {
                                "no axes".into()
                            } else {
                                listed(&names).replace('`', "")
                            },
                        ),
                    ));
                }
                Ok(self.reduce(op, axes, guard, id))
            }
            Reduction::Var | Reduction::Std => {
                let x = self.real(body)?;
                let mean = self.reduce(ReduceOp::Mean, axes, guard, x);
                self.p.locate(mean, span);
                let deviation = self.p.raw(Op::Sub, &[x, mean]);
                if r == Reduction::Var {
                    let two = self.p.real(2.0);
                    let square = self.p.raw(Op::Pow, &[deviation, two]);
                    return Ok(self.reduce(ReduceOp::Mean, axes, guard, square));
                }
                // As a norm, so that the derivative at 0 is 0.
                let norm = self.reduce(ReduceOp::Norm, axes, guard, deviation);
                self.p.locate(norm, span);
                let condition = match guard {
                    Some(g) => g,
                    None => self.p.bool(true),
                };
                let count = self.reduce(ReduceOp::Count, axes, None, condition);
                let count = self.p.raw(Op::ToReal, &[count]);
                let root = self.p.raw(Op::Sqrt, &[count]);
                Ok(self.p.raw(Op::Div, &[norm, root]))
            }
        }
    }

    pub(super) fn reduction_operand(&mut self, op: ReduceOp, body: At) -> Lowered<ExprId> {
        match op {
            ReduceOp::Sum
            | ReduceOp::Prod
            | ReduceOp::Max
            | ReduceOp::Min
            | ReduceOp::ArgMax
            | ReduceOp::ArgMin => {
                if op == ReduceOp::Sum && self.p.ty(body.id) == Type::Bool {
                    return Err(self.error(
                        Diagnostic::error("`sum` adds numbers, this is a bool")
                            .at(body.span, "a bool")
                            .help("`count[N](b)` counts where it is true"),
                    ));
                }
                Ok(self.numbers(&[body])?.1[0])
            }
            ReduceOp::Mean | ReduceOp::LogSumExp | ReduceOp::Norm => self.real(body),
            ReduceOp::Any | ReduceOp::All | ReduceOp::Count => self.boolean(body),
        }
    }

    /// A reduction; over no axes there is one element (or none, where the guard is false).
    pub(super) fn reduce(
        &mut self,
        op: ReduceOp,
        axes: &[AxisId],
        guard: Option<ExprId>,
        body: ExprId,
    ) -> ExprId {
        if !axes.is_empty() {
            return self.p.mk(Node::Reduce {
                op,
                axes: axes.into(),
                guard,
                body,
            });
        }
        let ty = self.p.ty(body);
        let one = match op {
            ReduceOp::Norm => self.p.raw(Op::Abs, &[body]),
            ReduceOp::Count => {
                let (one, zero) = (self.p.int(1), self.p.int(0));
                self.p.mk(Node::If {
                    condition: body,
                    then: one,
                    otherwise: zero,
                })
            }
            ReduceOp::ArgMax | ReduceOp::ArgMin => self.p.int(0),
            ReduceOp::Sum
            | ReduceOp::Mean
            | ReduceOp::Prod
            | ReduceOp::Max
            | ReduceOp::Min
            | ReduceOp::LogSumExp
            | ReduceOp::Any
            | ReduceOp::All => body,
        };
        let Some(condition) = guard else { return one };
        let int = ty == Type::Int;
        let nothing = match op {
            ReduceOp::Sum | ReduceOp::Norm if !int => self.p.real(0.0),
            ReduceOp::Prod if !int => self.p.real(1.0),
            ReduceOp::Max if int => self.p.int(i64::MIN),
            ReduceOp::Min if int => self.p.int(i64::MAX),
            ReduceOp::Max | ReduceOp::LogSumExp => self.p.real(f64::NEG_INFINITY),
            ReduceOp::Min => self.p.real(f64::INFINITY),
            ReduceOp::Mean => self.p.real(f64::NAN),
            ReduceOp::Any => self.p.bool(false),
            ReduceOp::All => self.p.bool(true),
            ReduceOp::Prod => self.p.int(1),
            ReduceOp::Sum
            | ReduceOp::Norm
            | ReduceOp::Count
            | ReduceOp::ArgMax
            | ReduceOp::ArgMin => self.p.int(0),
        };
        self.p.mk(Node::If {
            condition,
            then: one,
            otherwise: nothing,
        })
    }
}
