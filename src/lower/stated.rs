//! Stated gradients (rule R11).

use super::expr::At;
use super::extents::{Fit, Stand};
use super::scope::{Binding, Scope};
use super::templates::Parameter;
use super::{Lowered, Lowerer, Reported, axes_count, axis_names};
use crate::ast;
use crate::diagnostic::Diagnostic;
use crate::ir::{AxisId, Body, Input, Stated, TensorId, TensorKind, Type};
use crate::suggest;
use std::sync::Arc;

impl<'m> Lowerer<'m> {
    pub(super) fn stated_gradient(
        &mut self,
        s: &mut Scope<'m>,
        g: &'m ast::Gradient,
        parameters: &[Parameter<'m>],
    ) -> Lowered<()> {
        let name = &g.input.text;
        let input = self
            .p
            .inputs
            .iter()
            .copied()
            .find(|&i| self.p.get(i).name == *name);
        let Some(input) = input else {
            let names: Vec<&str> = parameters.iter().map(|p| &*p.name.text).collect();
            let out = Diagnostic::error(format!("there is no input `{name}`"))
                .at(g.input.span, "a gradient of an input is expected");
            return Err(self.error(match suggest::closest(name, names) {
                Some(near) => out.help(format!("did you mean `{near}`?")),
                None => out,
            }));
        };
        let Some(k) = self.p.gradients.iter().position(|x| x.input == input) else {
            let why = if self.p.get(input).ty == Type::Real {
                "it stands after the bar"
            } else {
                "it is not real"
            };
            let out =
                Diagnostic::error(format!("`{name}` is not differentiated")).at(g.input.span, why);
            return Err(self.error(if self.p.get(input).ty == Type::Real {
                out.help("inputs before the bar are differentiated: `(yhat | y)`")
            } else {
                out
            }));
        };
        if let Some(first) = &self.p.gradients[k].stated {
            let first = first.span;
            let title = format!("the gradient of `{name}` is stated twice");
            return Err(self.error(
                Diagnostic::error(title)
                    .at(g.input.span, "again here")
                    .at(first, "first here"),
            ));
        }
        let head = self.gradient_head(s, g, input)?;
        let value = self.expr(s, &g.value)?;
        let value = self.real(At {
            id: value,
            span: g.value.span,
        })?;
        let extra: Vec<AxisId> = self
            .p
            .free(value)
            .iter()
            .copied()
            .filter(|a| !head.contains(a))
            .collect();
        if !extra.is_empty() {
            let names = axis_names(&self.p, &extra).join(", ");
            return Err(self.error(
                Diagnostic::error(format!(
                    "unreduced axes in the gradient of `{name}`: {names}"
                ))
                .at(g.value.span, format!("{names} is free here"))
                .help(format!(
                    "a gradient has the axes of its input: reduce, for example `sum[{names}](...)`"
                )),
            ));
        }
        let tensor = self
            .p
            .define(&format!("{name}_bar"), head, Type::Real, Body::Expr(value));
        self.p.tensors[tensor.index()].span = Some(g.span);
        let intended = g
            .doc
            .lines()
            .find_map(|l| l.trim().strip_prefix("intended:"))
            .map(|why| Arc::from(why.trim()));
        self.p.gradients[k].tensor = Some(tensor);
        self.p.gradients[k].stated = Some(Stated {
            intended,
            span: g.span,
        });
        Ok(())
    }

    /// The head names every position of the input.
    fn gradient_head(
        &mut self,
        s: &mut Scope<'m>,
        g: &'m ast::Gradient,
        input: TensorId,
    ) -> Lowered<Vec<AxisId>> {
        let name = g.input.text.clone();
        let positions = self.p.get(input).head.clone();
        let TensorKind::Input(Input { shape, .. }) = &self.p.get(input).kind else {
            return Err(Reported);
        };
        let untyped = shape.is_none();
        let names = g.head.as_deref().unwrap_or(&[]);
        let ordered = match s.values.get(&name).map(|v| &v.binding) {
            Some(Binding::View(view)) => view.ordered,
            _ => false,
        };
        // That of `[*]` may name an axis over all elements.
        let count = match (untyped, ordered) {
            (true, true) => names.len().min(1),
            (true, false) => 0,
            (false, _) => positions.len(),
        };
        if names.len() != count {
            let why = if untyped {
                "is untyped".into()
            } else {
                format!("has {}", axes_count(count))
            };
            let out = Diagnostic::error(format!(
                "`{name}` {why}, the gradient's head has {}",
                axes_count(names.len())
            ))
            .at(g.input.span, "the head names every position of the input");
            return Err(self.error(if untyped || count == 0 {
                out.help(format!("leave the head out: `gradient {name} = ...`"))
            } else {
                let hints = axis_names(&self.p, &positions).join(", ");
                out.help(format!("`gradient {name}[{hints}] = ...`"))
            }));
        }
        if names.is_empty() {
            return Ok(positions);
        }
        let head = self.head(s, g.head.as_deref())?.unwrap_or_default();
        for (k, ((&axis, &position), written)) in head.iter().zip(&positions).zip(names).enumerate()
        {
            let (own, extent) = (self.p.extent_of(axis), self.p.extent_of(position));
            let stand = Stand {
                axis,
                name: written.text.clone(),
                position: extent,
                of: name.clone(),
                ordinal: k + 1,
                span: written.span,
                fit: Fit::Head,
                depth: 0,
            };
            self.extents.stand(own, stand);
        }
        Ok(head)
    }
}
