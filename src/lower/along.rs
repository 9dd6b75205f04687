//! Functions along axes that keep them: written out, so that no later stage knows of them.

use super::builtins::Along;
use super::expr::At;
use super::scope::Scope;
use super::{Lowered, Lowerer, axes_count, axis_names};
use crate::ast::{Expr, Span, Use};
use crate::diagnostic::Diagnostic;
use crate::ir::{AxisId, Body, ExprId, Node, Op, ReduceOp, Tensor, TensorId, TensorKind, Type};

/// `normalize` holds the length above this; where it does, the gradient is 0.
const SHORTEST: f64 = 1e-12;

impl<'m> Lowerer<'m> {
    pub(super) fn along(
        &mut self,
        s: &mut Scope<'m>,
        function: Along,
        u: &'m Use,
        operand: &'m Expr,
        span: Span,
    ) -> Lowered<ExprId> {
        let name = function.name();
        let Some(bracket) = &u.bracket else {
            return Err(self.error(
                Diagnostic::error(format!("`{name}` needs its axes in brackets"))
                    .at(span, "along which axis?")
                    .help(format!("for example `{name}[N](x)`")),
            ));
        };
        let axes = self.bracket_axes(s, name, bracket)?;
        let (guard, body) = self.guarded(s, &axes, bracket.guard.as_ref(), operand)?;
        let guard = guard.map(|g| g.id);
        self.has_axes(name, &axes, body)?;
        match function {
            Along::Softmax | Along::LogSoftmax => {
                let x = self.real(body)?;
                let lse = self.reduce(ReduceOp::LogSumExp, &axes, guard, x);
                let log = self.p.raw(Op::Sub, &[x, lse]);
                if function == Along::LogSoftmax {
                    return Ok(self.or_else(guard, log, f64::NEG_INFINITY));
                }
                let value = self.p.raw(Op::Exp, &[log]);
                Ok(self.or_else(guard, value, 0.0))
            }
            Along::Normalize => {
                let x = self.real(body)?;
                let norm = self.reduce(ReduceOp::Norm, &axes, guard, x);
                let shortest = self.p.real(SHORTEST);
                let constant = self.p.raw(Op::StopGradient, &[x]);
                let condition = self.p.raw(Op::Gt, &[norm, shortest]);
                let then = self.p.raw(Op::Div, &[x, norm]);
                let otherwise = self.p.raw(Op::Div, &[constant, shortest]);
                let value = self.p.mk(Node::If {
                    condition,
                    then,
                    otherwise,
                });
                Ok(self.or_else(guard, value, 0.0))
            }
            Along::Cumsum | Along::Sort | Along::Argsort => {
                let &[along] = &axes[..] else {
                    return Err(self.error(
                        Diagnostic::error(format!("`{name}` takes one axis, not {}", axes.len()))
                            .at(bracket.span, axes_count(axes.len())),
                    ));
                };
                match function {
                    Along::Cumsum => self.cumsum(along, guard, body, span),
                    Along::Sort => self.sort(along, guard, body, span),
                    _ => {
                        let (_, key) = self.numbers(&[body])?;
                        let (order, head) = self.order(along, guard, key[0], span);
                        Ok(self.p.read_at(order, &head))
                    }
                }
            }
        }
    }

    /// A function along an axis that the operand lacks has no meaning.
    fn has_axes(&mut self, name: &str, axes: &[AxisId], body: At) -> Lowered<()> {
        let missing: Vec<AxisId> = axes
            .iter()
            .copied()
            .filter(|&a| !self.p.is_free(a, body.id))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let names = axis_names(&self.p, &missing).join(", ");
        let has = axis_names(&self.p, self.p.free(body.id)).join(", ");
        let has = if has.is_empty() {
            "it has no axes".into()
        } else {
            format!("it has {has}")
        };
        Err(self.error(
            Diagnostic::error(format!("the operand of `{name}` has no axis {names}"))
                .at(body.span, has),
        ))
    }

    fn or_else(&mut self, guard: Option<ExprId>, then: ExprId, otherwise: f64) -> ExprId {
        let Some(condition) = guard else { return then };
        let otherwise = self.p.real(otherwise);
        self.p.mk(Node::If {
            condition,
            then,
            otherwise,
        })
    }

    /// The axes of an operand and of its guard.
    fn head_of(&self, guard: Option<ExprId>, e: ExprId) -> Vec<AxisId> {
        let mut head = self.p.free(e).to_vec();
        head.extend(guard.iter().flat_map(|&g| self.p.free(g).iter().copied()));
        head.sort_unstable();
        head.dedup();
        head
    }

    /// `running[F, A] = x + running[F, A - 1 else 0]`
    fn cumsum(
        &mut self,
        along: AxisId,
        guard: Option<ExprId>,
        body: At,
        span: Span,
    ) -> Lowered<ExprId> {
        let (ty, ids) = self.numbers(&[body])?;
        let zero = if ty == Type::Int {
            self.p.int(0)
        } else {
            self.p.real(0.0)
        };
        let head = self.head_of(guard, ids[0]);
        let outside: Vec<AxisId> = head.iter().copied().filter(|&a| a != along).collect();
        let mut x = ids[0];
        if let Some(condition) = guard {
            x = self.p.mk(Node::If {
                condition,
                then: x,
                otherwise: zero,
            });
        }
        let x = self.under_path(x, &outside);
        let tensor = self.p.tensor(Tensor {
            name: "running".into(),
            ty,
            head: head.clone(),
            kind: TensorKind::Definition(Body::Expr(x)),
            named: false,
            span: Some(span),
        });
        let one = self.p.int(1);
        let index = head
            .iter()
            .map(|&a| {
                let at = self.p.index_of(a);
                if a == along {
                    self.p.raw(Op::Sub, &[at, one])
                } else {
                    at
                }
            })
            .collect();
        let before = self.p.mk(Node::Read {
            tensor,
            index,
            default: Some(zero),
        });
        let sum = self.p.raw(Op::Add, &[x, before]);
        self.p.set_body(tensor, Body::Expr(sum));
        Ok(self.p.read_at(tensor, &head))
    }

    /// The definition of the permutation that sorts a key, and its head.
    fn order(
        &mut self,
        along: AxisId,
        guard: Option<ExprId>,
        key: ExprId,
        span: Span,
    ) -> (TensorId, Vec<AxisId>) {
        let head = self.head_of(guard, key);
        let outside: Vec<AxisId> = head.iter().copied().filter(|&a| a != along).collect();
        let key = self.under_path(key, &outside);
        let tensor = self.p.tensor(Tensor {
            name: "order".into(),
            ty: Type::Int,
            head: head.clone(),
            kind: TensorKind::Definition(Body::Argsort { along, guard, key }),
            named: false,
            span: Some(span),
        });
        (tensor, head)
    }

    /// A gather through the permutation.
    fn sort(
        &mut self,
        along: AxisId,
        guard: Option<ExprId>,
        body: At,
        span: Span,
    ) -> Lowered<ExprId> {
        let (_, ids) = self.numbers(&[body])?;
        let (order, head) = self.order(along, guard, ids[0], span);
        let place = self.p.read_at(order, &head);
        if let Some(read) = self.gather(along, ids[0], place) {
            return Ok(read);
        }
        let own = self.p.free(ids[0]).to_vec();
        let outside: Vec<AxisId> = own.iter().copied().filter(|&a| a != along).collect();
        let value = self.under_path(ids[0], &outside);
        let tensor = self.generate("unsorted", own.clone(), value);
        let index = own
            .iter()
            .map(|&a| {
                if a == along {
                    place
                } else {
                    self.p.index_of(a)
                }
            })
            .collect();
        Ok(self.p.mk(Node::Read {
            tensor,
            index,
            default: None,
        }))
    }

    /// A bare read along the axis needs no definition of its own to be read elsewhere.
    fn gather(&mut self, along: AxisId, e: ExprId, place: ExprId) -> Option<ExprId> {
        let Node::Read {
            tensor,
            index,
            default: None,
        } = self.p.node(e).clone()
        else {
            return None;
        };
        let bare = |s: &Self, i: ExprId| matches!(s.p.node(i), Node::Axis(_));
        if !index.iter().all(|&i| bare(self, i)) {
            return None;
        }
        let index = index
            .iter()
            .map(|&i| if self.p.is_free(along, i) { place } else { i })
            .collect();
        Some(self.p.mk(Node::Read {
            tensor,
            index,
            default: None,
        }))
    }
}
