//! Typed parameters: what they get, and which axes are which (rule R8).

use super::expr::{At, noun, strip};
use super::extents::{Fit, Known, Stand};
use super::scope::{Bare, Binding, Scope, View};
use super::templates::{FunctionRef, Given, Parameter, Slot};
use super::{Lowered, Lowerer, Reported, axes_count, axis_names, walk};
use crate::ast::{self, DimKind, Expr, ExprKind, Span};
use crate::diagnostic::Diagnostic;
use crate::ir::{AxisId, ExprId, ExtentId, Node, Op, Type};
use std::rc::Rc;
use std::sync::Arc;

impl<'m> Lowerer<'m> {
    /// A bare read of a tensor at distinct axes, seen as the tensor.
    pub(super) fn as_view(&self, e: ExprId) -> Option<View> {
        let (e, to_real) = match self.p.node(e) {
            Node::Op(Op::ToReal, o) => (o[0], true),
            _ => (e, false),
        };
        let Node::Read {
            tensor,
            index,
            default: None,
        } = self.p.node(e)
        else {
            return None;
        };
        let mut axes = vec![];
        for &i in index {
            match self.p.node(i) {
                Node::Axis(a) if !axes.contains(a) => axes.push(*a),
                _ => return None,
            }
        }
        Some(View {
            tensor: *tensor,
            axes,
            extra: vec![],
            bare: Bare::Yes,
            ordered: true,
            to_real,
        })
    }

    pub(super) fn typed_argument(
        &mut self,
        s: &mut Scope<'m>,
        f: FunctionRef,
        p: &Parameter<'m>,
        dims: &'m [ast::Dim],
        e: &'m Expr,
        slots: &mut Vec<Slot<'m>>,
    ) -> Lowered<Given> {
        let given = self.given(s, p, dims, e)?;
        let (axes, extents): (Vec<Option<AxisId>>, Vec<ExtentId>) = match &given {
            Given::View(view) => {
                let repeated = |a: &AxisId| view.axes.iter().filter(|b| *b == a).count() > 1;
                let named =
                    |&a: &AxisId| (!self.axes[a.index()].anonymous && !repeated(&a)).then_some(a);
                (view.axes.iter().map(named).collect(), self.positions(view))
            }
            Given::Expr { axis, .. } => (
                axis.iter().map(|&a| Some(a)).collect(),
                axis.iter().map(|&a| self.p.extent_of(a)).collect(),
            ),
        };
        if axes.len() != dims.len() {
            let name = self.function_name(f);
            let wanted: Vec<String> = dims.iter().map(|d| self.text(d.span).to_string()).collect();
            let out = Diagnostic::error(format!(
                "the input `{}` of `{name}` has {}, this has {}",
                p.name.text,
                axes_count(dims.len()),
                if axes.is_empty() {
                    "none".into()
                } else {
                    axes.len().to_string()
                }
            ))
            .at(e.span, format!("[{}] is expected", wanted.join(", ")))
            .at(p.span, "declared here");
            return Err(self.error(out));
        }
        for (k, ((dim, axis), extent)) in dims.iter().zip(axes).zip(extents).enumerate() {
            let parameter = p.name.text.clone();
            slots.push(Slot {
                dim,
                axis,
                extent,
                parameter,
                ordinal: k + 1,
                span: e.span,
            });
        }
        Ok(given)
    }

    /// What is passed: a tensor if it is a name, otherwise an expression with at most one axis.
    pub(super) fn given(
        &mut self,
        s: &mut Scope<'m>,
        p: &Parameter<'m>,
        dims: &[ast::Dim],
        e: &'m Expr,
    ) -> Lowered<Given> {
        let inner = strip(e);
        let mut at = None;
        if let ExprKind::Use(u) = &inner.kind
            && u.module.is_none()
            && u.bracket.is_none()
            && u.arguments.is_none()
        {
            let value = self.value(s, &u.name)?;
            match &value.binding {
                Binding::View(view) if view.extra.is_empty() => {
                    if !view.ordered {
                        if value.what == "input" {
                            return Err(self.untyped_given(p, dims, e.span));
                        }
                        let names = axis_names(&self.p, &view.axes).join(", ");
                        let name = &u.name.text;
                        return Err(self.error(
                            Diagnostic::error(format!("the axes of `{name}` have no order"))
                                .at(
                                    e.span,
                                    format!("bound to `{}` position by position", p.name.text),
                                )
                                .at(value.span, "defined here without a head")
                                .help(format!("give it a head: `{name}[{names}] = ...`")),
                        ));
                    }
                    return self.typed_view(view.clone(), p, e.span).map(Given::View);
                }
                Binding::Expr(id) => {
                    if let Some(view) = self.as_view(*id).filter(|v| v.axes.len() == dims.len()) {
                        return self.typed_view(view, p, e.span).map(Given::View);
                    }
                    at = Some(At {
                        id: *id,
                        span: e.span,
                    });
                }
                Binding::View(_) | Binding::Argument { .. } | Binding::Poisoned => {}
            }
        }
        let at = match at {
            Some(at) => at,
            None => self.at(s, e)?,
        };
        let id = match p.ty {
            Type::Real => self.real(at)?,
            Type::Int => self.int(at, &format!("the input `{}`", p.name.text))?,
            Type::Bool => self.boolean(at)?,
        };
        let free = self.p.free(id).to_vec();
        let safe = self.under_path(id, &free);
        let at = At { id, span: e.span };
        match &free[..] {
            [] => Ok(Given::Expr {
                at,
                safe,
                axis: None,
            }),
            &[axis] => Ok(Given::Expr {
                at,
                safe,
                axis: Some(axis),
            }),
            many => {
                let names = axis_names(&self.p, many).join(", ");
                Err(self.error(
                    Diagnostic::error(format!(
                        "an expression with {} has no order of axes",
                        axes_count(many.len())
                    ))
                    .at(
                        e.span,
                        format!(
                            "bound to `{}` position by position; it has {names}",
                            p.name.text
                        ),
                    )
                    .help(format!(
                        "give it a name with a head in `where`: `a[{names}] = ...`, and pass `a`"
                    )),
                ))
            }
        }
    }

    pub(super) fn untyped_given(
        &mut self,
        p: &Parameter<'m>,
        dims: &[ast::Dim],
        span: Span,
    ) -> Reported {
        self.error(
            Diagnostic::error(format!(
                "`{}` has {}, an untyped input is given",
                p.name.text,
                axes_count(dims.len())
            ))
            .at(span, "untyped: its axes are not known")
            .help("give it axes in the signature"),
        )
    }

    pub(super) fn typed_view(
        &mut self,
        mut view: View,
        p: &Parameter<'m>,
        span: Span,
    ) -> Lowered<View> {
        let found = if view.to_real {
            Type::Real
        } else {
            self.p.get(view.tensor).ty
        };
        match (p.ty, found) {
            (a, b) if a == b => Ok(view),
            (Type::Real, Type::Int) => {
                view.to_real = true;
                Ok(view)
            }
            (wanted, found) => Err(self.error(
                Diagnostic::error(format!(
                    "the input `{}` is {}, this is {}",
                    p.name.text,
                    noun(wanted),
                    noun(found)
                ))
                .at(span, noun(found))
                .at(p.span, "declared here"),
            )),
        }
    }

    /// Makes the template's axes other names of the caller's; where two of them would be one, the second is a copy.
    pub(super) fn bind_axes(&mut self, inner: &mut Scope<'m>, f: FunctionRef, slots: &[Slot<'m>]) {
        let mut taken: Vec<AxisId> = vec![];
        for slot in slots {
            if let (DimKind::Axis(name), Some(axis)) = (&slot.dim.kind, slot.axis)
                && !inner.axes.contains_key(name)
                && !inner.declared.contains_key(name)
                && !taken.contains(&axis)
            {
                inner.axes.insert(name.clone(), axis);
                taken.push(axis);
            }
        }
        for slot in slots {
            if let DimKind::Axis(name) = &slot.dim.kind
                && !inner.axes.contains_key(name)
                && !inner.declared.contains_key(name)
            {
                let axis = self.new_axis(name.clone(), slot.extent, false, Some(slot.span));
                self.axes[axis.index()].copy = true;
                inner.axes.insert(name.clone(), axis);
            }
        }
        for slot in slots {
            self.same_extent(inner, f, slot);
        }
    }

    pub(super) fn same_extent(&mut self, inner: &mut Scope<'m>, f: FunctionRef, slot: &Slot<'m>) {
        let (axis, name) = match &slot.dim.kind {
            DimKind::Axis(name) => (self.axis(inner, name, slot.dim.span), name.clone()),
            DimKind::Constant(n) => {
                let name: Arc<str> = n.to_string().into();
                let extent = self.new_extent(name.clone(), Some(Known::Constant(*n)));
                (self.new_axis(name.clone(), extent, false, None), name)
            }
            DimKind::Star => return,
        };
        let extent = self.p.extent_of(axis);
        let of = format!("`{}` of `{}`", slot.parameter, self.function_name(f)).into();
        let stand = Stand {
            axis,
            name,
            position: slot.extent,
            of,
            ordinal: slot.ordinal,
            span: slot.span,
            fit: Fit::Argument,
            depth: self.active.len(),
        };
        self.extents.stand(extent, stand);
    }

    /// What a typed parameter stands for in the template.
    pub(super) fn bind_typed(
        &mut self,
        inner: &Scope<'m>,
        f: FunctionRef,
        p: &Parameter<'m>,
        given: Given,
    ) -> Lowered<Binding> {
        // What is differentiated by must be a tensor, and every read of it a read of that.
        let by_gradient = self.differentiates_by(f, &p.name.text);
        let dims = p.dims.unwrap_or(&[]);
        let axes: Vec<Option<AxisId>> = dims
            .iter()
            .map(|d| match &d.kind {
                DimKind::Axis(name) => inner.axes.get(name).copied(),
                DimKind::Constant(_) | DimKind::Star => None,
            })
            .collect();
        match given {
            Given::Expr { at, axis, .. } if axis.is_none() && !by_gradient => {
                Ok(Binding::Expr(at.id))
            }
            Given::Expr { at, safe, axis } => match (&axes[..], axis) {
                (&[Some(own)], Some(axis)) if own == axis && !by_gradient => {
                    Ok(Binding::Argument {
                        value: at.id,
                        safe,
                        axis,
                    })
                }
                _ => {
                    let mut view = self.argument_view(safe, axis, &p.name);
                    self.rename_view(&mut view, &axes);
                    Ok(Binding::View(view))
                }
            },
            Given::View(mut view) => {
                self.rename_view(&mut view, &axes);
                Ok(Binding::View(view))
            }
        }
    }

    /// Whether a function has `grad[name](..)`.
    pub(super) fn differentiates_by(&mut self, f: FunctionRef, name: &str) -> bool {
        let names = match self.by_gradient.get(&f) {
            Some(known) => known.clone(),
            None => {
                let ast = &self.modules.get(f.module()).ast;
                let (value, bindings) = match (f, &ast.loss) {
                    (FunctionRef::Def(_, k), _) => {
                        let def = &ast.functions[k as usize];
                        (&def.value, &def.bindings)
                    }
                    (FunctionRef::Loss(_), Some(loss)) => (&loss.value, &loss.bindings),
                    (FunctionRef::Loss(_), None) => return false,
                };
                let mut found: Vec<Arc<str>> = vec![];
                let bodies = bindings.definitions.iter().map(|d| &d.value);
                for e in bodies.chain([value]) {
                    walk::uses(e, &mut |u| {
                        if *u.name.text == *"grad"
                            && let Some(ast::Position::Expr(e)) =
                                u.bracket.as_ref().and_then(|b| b.positions.first())
                            && let ExprKind::Use(x) = &e.kind
                        {
                            found.push(x.name.text.clone());
                        }
                    });
                }
                let found = Rc::new(found);
                self.by_gradient.insert(f, found.clone());
                found
            }
        };
        names.iter().any(|n| **n == *name)
    }

    /// A tensor under the axes of a typed parameter.
    pub(super) fn rename_view(&mut self, view: &mut View, axes: &[Option<AxisId>]) {
        let extents = self.positions(view);
        let unnamed = axes.iter().any(Option::is_none);
        let mut out: Vec<AxisId> = vec![];
        let mut repeated = false;
        for (axis, extent) in axes.iter().zip(extents) {
            out.push(match axis {
                Some(a) => {
                    repeated |= out.contains(a);
                    *a
                }
                None => self.anonymous(extent),
            });
        }
        view.axes = out;
        view.bare = if unnamed {
            Bare::Unnamed
        } else if repeated {
            Bare::Repeated
        } else {
            Bare::Yes
        };
    }

    /// An axis for a position that has no name.
    pub(super) fn anonymous(&mut self, extent: ExtentId) -> AxisId {
        let axis = self.new_axis("X".into(), extent, false, None);
        self.axes[axis.index()].anonymous = true;
        axis
    }
}
