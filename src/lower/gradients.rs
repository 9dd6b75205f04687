//! `grad` (rule R10), and what is safe in a definition of its own.

use super::lints;
use super::scope::{Binding, Scope};
use super::{Lowered, Lowerer, Reported, axis_names};
use crate::ast::{self, Expr, ExprKind, Position, Span, Use};
use crate::diagnostic::Diagnostic;
use crate::ir::{AxisId, Body, ExprId, Node, Op, ReduceOp, Tensor, TensorId, TensorKind, Type};

impl<'m> Lowerer<'m> {
    pub(super) fn grad(
        &mut self,
        s: &mut Scope<'m>,
        u: &'m Use,
        operand: &'m Expr,
        span: Span,
    ) -> Lowered<ExprId> {
        let usage = "`grad[x](e)` is the derivative of e with respect to the input or definition x";
        let Some(bracket) = &u.bracket else {
            let title = "`grad` needs what to differentiate by in brackets";
            return Err(self.error(Diagnostic::error(title).at(span, "no brackets").help(usage)));
        };
        let name = match &bracket.positions[..] {
            [
                Position::Expr(Expr {
                    kind: ExprKind::Use(x),
                    ..
                }),
            ] if x.module.is_none() && x.bracket.is_none() && x.arguments.is_none() => &x.name,
            _ => {
                let title = "`grad` takes one name in its brackets";
                return Err(self.error(
                    Diagnostic::error(title)
                        .at(bracket.span, "not a name")
                        .help(usage),
                ));
            }
        };
        if bracket.guard.is_some() || bracket.default.is_some() {
            let title = "`grad` takes neither guard nor default";
            return Err(self.error(
                Diagnostic::error(title)
                    .at(bracket.span, "only a name")
                    .help(usage),
            ));
        }
        let (wrt, axes) = self.differentiated(s, name)?;
        let e = self.at(s, operand)?;
        let value = self.real(e)?;
        let free = self.p.free(value).to_vec();
        let shared: Vec<AxisId> = free.iter().copied().filter(|a| axes.contains(a)).collect();
        if !shared.is_empty() {
            let names = axis_names(&self.p, &shared).join(", ");
            return Err(self.error(
                Diagnostic::error(format!(
                    "`grad[{}]` of something with the axis {names}, which `{}` has too",
                    name.text, name.text
                ))
                .at(operand.span, format!("{names} is free here"))
                .help(format!("reduce first: `sum[{names}](...)`")),
            ));
        }
        let (of, free) = self.grad_operand(value, free, span);
        if s.lints {
            lints::misaligned(self, of, wrt, span);
        }
        let head: Vec<AxisId> = free.iter().chain(&axes).copied().collect();
        let tensor = self.p.tensor(Tensor {
            name: format!("{}_grad", name.text).into(),
            ty: Type::Real,
            head: head.clone(),
            kind: TensorKind::Definition(Body::Grad { of, wrt }),
            named: false,
            span: Some(span),
        });
        Ok(self.p.read_at(tensor, &head))
    }

    /// What `grad` differentiates: the definition itself if it is one, otherwise a definition of it.
    pub(super) fn grad_operand(
        &mut self,
        value: ExprId,
        free: Vec<AxisId>,
        span: Span,
    ) -> (TensorId, Vec<AxisId>) {
        if let Node::Read {
            tensor,
            index,
            default: None,
        } = self.p.node(value)
        {
            let axes: Vec<AxisId> = index
                .iter()
                .filter_map(|&i| match self.p.node(i) {
                    Node::Axis(a) => Some(*a),
                    _ => None,
                })
                .collect();
            let definition = matches!(self.p.get(*tensor).kind, TensorKind::Definition(_));
            if definition && axes.len() == index.len() && axes == self.p.get(*tensor).head {
                return (*tensor, axes);
            }
        }
        let value = self.under_path(value, &free);
        let of = self.generate("inner", free.clone(), value);
        self.p.tensors[of.index()].span = Some(span);
        (of, free)
    }

    /// The tensor that `grad` differentiates by, and its axes here.
    pub(super) fn differentiated(
        &mut self,
        s: &mut Scope<'m>,
        name: &'m ast::Name,
    ) -> Lowered<(TensorId, Vec<AxisId>)> {
        let value = self.value(s, name)?;
        let view = match &value.binding {
            Binding::Poisoned => return Err(Reported),
            Binding::View(view) => view.clone(),
            Binding::Argument { safe, axis, .. } => self.argument_view(*safe, Some(*axis), name),
            Binding::Expr(e) => match self.as_view(*e) {
                Some(view) => view,
                None => {
                    return Err(self.error(
                        Diagnostic::error(format!(
                            "`{}` is neither an input nor a definition",
                            name.text
                        ))
                        .at(name.span, format!("a {}", value.what))
                        .help("give what it stands for a name, and pass that"),
                    ));
                }
            },
        };
        if self.p.get(view.tensor).ty != Type::Real {
            let title = format!(
                "`{}` is not real, so nothing can be differentiated by it",
                name.text
            );
            return Err(self.error(
                Diagnostic::error(title)
                    .at(name.span, "not real")
                    .at(value.span, "declared here"),
            ));
        }
        self.read_bare(&value, &name.text, name.span)?;
        Ok((
            view.tensor,
            view.axes.iter().chain(&view.extra).copied().collect(),
        ))
    }

    /// An expression as it is safe in a definition of its own, computed at all elements: under those conditions around
    /// it that speak of nothing but `axes`, where it could fail without them.
    pub(super) fn under_path(&mut self, e: ExprId, axes: &[AxisId]) -> ExprId {
        let path = self.path.clone();
        let mut conditions = vec![];
        for c in path {
            for part in self.p.conjuncts(c) {
                if self.p.free(part).iter().all(|a| axes.contains(a)) && !conditions.contains(&part)
                {
                    conditions.push(part);
                }
            }
        }
        if conditions.is_empty() || !self.can_fail(e) {
            return e;
        }
        let mut condition = conditions[0];
        for &c in &conditions[1..] {
            condition = self.p.raw(Op::And, &[condition, c]);
        }
        let otherwise = match self.p.ty(e) {
            Type::Real => self.p.real(0.0),
            Type::Int => self.p.int(0),
            Type::Bool => self.p.bool(false),
        };
        self.p.mk(Node::If {
            condition,
            then: e,
            otherwise,
        })
    }

    pub(super) fn can_fail(&self, e: ExprId) -> bool {
        self.p
            .reachable(&[e])
            .into_iter()
            .any(|n| match self.p.node(n) {
                Node::Read {
                    index,
                    default: None,
                    ..
                } => index
                    .iter()
                    .any(|&i| !matches!(self.p.node(i), Node::Axis(_))),
                Node::Op(Op::IntDiv | Op::Mod, _) => true,
                Node::Reduce {
                    op: ReduceOp::ArgMax | ReduceOp::ArgMin,
                    ..
                } => true,
                _ => false,
            })
    }
}
