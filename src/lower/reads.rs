//! Reads (rules R3 and R4), and the axes in brackets.

use super::expr::{At, noun, strip};
use super::extents::{Fit, Known, Stand};
use super::scope::{Bare, Binding, Scope, Value, View, capitalized};
use super::{Lowered, Lowerer, Reported, axes_count, axis_names, listed, ordinal};
use crate::ast::{self, ExprKind, Position, Span, Use};
use crate::diagnostic::Diagnostic;
use crate::ir::{AxisId, Body, ExprId, ExtentId, Node, Op, Tensor, TensorId, TensorKind, Type};

impl<'m> Lowerer<'m> {
    pub(super) fn read(&mut self, s: &mut Scope<'m>, u: &'m Use, span: Span) -> Lowered<ExprId> {
        if let Some(module) = &u.module {
            return Err(self.error(
                Diagnostic::error(format!("`{}.{}` is not a value", module.text, u.name.text))
                    .at(span, "only functions can be used from another file")
                    .help(format!("call it: `{}.{}(...)`", module.text, u.name.text)),
            ));
        }
        let value = self.value(s, &u.name);
        let Some(bracket) = &u.bracket else {
            return self.read_bare(&value?, &u.name.text, span);
        };
        let index: Vec<Lowered<At>> = bracket
            .positions
            .iter()
            .map(|p| self.position(s, p))
            .collect();
        let default = bracket.default.as_ref().map(|d| self.at(s, d));
        let index: Vec<At> = index.into_iter().collect::<Lowered<_>>()?;
        let default = default.transpose()?;
        if let Some(guard) = &bracket.guard {
            return Err(self.error(
                Diagnostic::error("a read has no guard")
                    .at(guard.span, "only reductions take `if` in their brackets")
                    .help("a value for indices out of range is given by `else`: `x[N - 1 else 0]`"),
            ));
        }
        let value = value?;
        let view = self.indexed_view(&value, &u.name)?;
        self.positions_fit(s, &view, &value, u, bracket, &index)?;
        let ids: Vec<ExprId> = index.iter().map(|i| i.id).collect();
        let default = match default {
            Some(d) => Some(self.default(&view, &value, d)?),
            None => None,
        };
        let read = self.read_view(&view, &ids, default);
        self.p.locate(read, span);
        Ok(if view.to_real {
            self.p.raw(Op::ToReal, &[read])
        } else {
            read
        })
    }

    /// The default has the type of the tensor.
    pub(super) fn default(&mut self, view: &View, value: &Value, d: At) -> Lowered<ExprId> {
        let wanted = self.p.get(view.tensor).ty;
        match (wanted, self.p.ty(d.id)) {
            (Type::Real, _) => self.real(d),
            (Type::Bool, _) => self.boolean(d),
            (Type::Int, Type::Int) => Ok(d.id),
            (Type::Int, found) => Err(self.error(
                Diagnostic::error(format!("the default of an int is {}", noun(found)))
                    .at(d.span, noun(found))
                    .at(value.span, "this is int"),
            )),
        }
    }

    pub(super) fn position(&mut self, s: &mut Scope<'m>, p: &'m Position) -> Lowered<At> {
        match p {
            Position::Star(span) => Err(self.error(
                Diagnostic::error("`*` is not an index")
                    .at(
                        *span,
                        "`*` stands in the brackets of reductions and in `size(*)`",
                    )
                    .help("an untyped input is read without brackets"),
            )),
            Position::Expr(e) => {
                let at = self.at(s, e)?;
                self.int(at, "an index")?;
                Ok(at)
            }
        }
    }

    /// What brackets after a name index.
    pub(super) fn indexed_view(&mut self, value: &Value, name: &ast::Name) -> Lowered<View> {
        match &value.binding {
            Binding::Poisoned => Err(Reported),
            Binding::View(view) if view.ordered => Ok(view.clone()),
            Binding::View(view) if view.axes.is_empty() && value.what == "input" => {
                Ok(view.clone())
            }
            Binding::View(_) if value.what == "input" => Err(self.untyped_indexed(value, name)),
            Binding::View(view) => {
                let axes = axis_names(&self.p, &view.axes);
                Err(self.error(
                    Diagnostic::error(format!(
                        "`{}` has {} and no head",
                        name.text,
                        axes_count(axes.len())
                    ))
                    .at(name.span, "brackets go by position")
                    .at(value.span, "defined here")
                    .help(format!(
                        "say the order of its axes: `{}[{}] = ...`",
                        name.text,
                        axes.join(", ")
                    )),
                ))
            }
            Binding::Argument { safe, axis, .. } => {
                Ok(self.argument_view(*safe, Some(*axis), name))
            }
            Binding::Expr(_) if value.what == "hyperparameter" => Err(self.error(
                Diagnostic::error(format!(
                    "`{}` is a hyperparameter, a single number",
                    name.text
                ))
                .at(name.span, "it has no positions")
                .at(value.span, "declared here"),
            )),
            Binding::Expr(_) => Err(self.untyped_indexed(value, name)),
        }
    }

    pub(super) fn untyped_indexed(&mut self, value: &Value, name: &ast::Name) -> Reported {
        self.error(
            Diagnostic::error(format!(
                "`{}` is untyped and can only be read without brackets",
                name.text
            ))
            .at(name.span, "read with brackets here")
            .at(value.span, "declared here")
            .help(format!(
                "give it axes in the signature: `{}: [N]`",
                name.text
            )),
        )
    }

    /// The definition behind an argument that is an expression, made when it is indexed for the first time.
    pub(super) fn argument_view(
        &mut self,
        value: ExprId,
        axis: Option<AxisId>,
        name: &ast::Name,
    ) -> View {
        let axes: Vec<_> = axis.into_iter().collect();
        let tensor = match self.arguments.get(&value) {
            Some(&t) => t,
            None => {
                let t = self.generate(&name.text, axes.clone(), value);
                self.arguments.insert(value, t);
                t
            }
        };
        View {
            tensor,
            axes,
            extra: vec![],
            bare: Bare::Yes,
            ordered: true,
            to_real: false,
        }
    }

    /// A generated definition of an expression.
    pub(super) fn generate(&mut self, name: &str, head: Vec<AxisId>, body: ExprId) -> TensorId {
        let ty = self.p.ty(body);
        let span = self.p.span(body);
        self.p.tensor(Tensor {
            name: name.into(),
            ty,
            head,
            kind: TensorKind::Definition(Body::Expr(body)),
            named: false,
            span,
        })
    }

    /// Checks the number of positions, and that bare axes and literals fit (rule R2).
    pub(super) fn positions_fit(
        &mut self,
        s: &mut Scope<'m>,
        view: &View,
        value: &Value,
        u: &'m Use,
        bracket: &'m ast::Bracket,
        index: &[At],
    ) -> Lowered<()> {
        let name = &u.name.text;
        if index.len() != view.axes.len() {
            return Err(self.error(
                Diagnostic::error(format!(
                    "`{name}` has {}, {} {} given",
                    axes_count(view.axes.len()),
                    index.len(),
                    if index.len() == 1 {
                        "index is"
                    } else {
                        "indices are"
                    }
                ))
                .at(
                    bracket.span,
                    format!("one index for each of {}", self.axes_text(view)),
                )
                .at(value.span, "declared here"),
            ));
        }
        let extents = self.positions(view);
        for (k, (position, extent)) in bracket.positions.iter().zip(extents).enumerate() {
            let Position::Expr(e) = position else {
                continue;
            };
            if let ExprKind::Axis(axis_name) = &strip(e).kind {
                let axis = self.axis(s, axis_name, e.span);
                let fit = if bracket.default.is_some() {
                    Fit::Any
                } else {
                    Fit::Within
                };
                let own = self.p.extent_of(axis);
                let stand = Stand {
                    axis,
                    name: axis_name.clone(),
                    position: extent,
                    of: name.clone(),
                    ordinal: k + 1,
                    span: e.span,
                    fit,
                    depth: self.active.len(),
                };
                self.extents.stand(own, stand);
            } else if bracket.default.is_none() {
                self.literal_fits(extent, index[k], name, k)?;
            }
        }
        Ok(())
    }

    /// A constant index is in range.
    pub(super) fn literal_fits(
        &mut self,
        extent: ExtentId,
        index: At,
        name: &str,
        k: usize,
    ) -> Lowered<()> {
        let Node::Int(n) = *self.p.node(index.id) else {
            return Ok(());
        };
        if n < 0 {
            let axis = self.size_name(extent);
            return Err(self.error(
                Diagnostic::error("there are no negative indices")
                    .at(index.span, "before the first element")
                    .help(format!("the last element is at `size({axis}) - 1`")),
            ));
        }
        if let Some(&Known::Constant(size)) = self.extents.known(extent)
            && n as u64 >= size
        {
            return Err(self.error(
                Diagnostic::error(format!("index {n} is out of range"))
                    .at(
                        index.span,
                        format!(
                            "the {} position of `{name}` has extent {size}",
                            ordinal(k + 1)
                        ),
                    )
                    .help("the first element is at 0"),
            ));
        }
        Ok(())
    }

    pub(super) fn size_name(&mut self, extent: ExtentId) -> String {
        let root = self.extents.find(extent);
        self.p.extents[root.index()].name.to_string()
    }

    pub(super) fn axes_text(&self, view: &View) -> String {
        if view.axes.is_empty() {
            "its axes; it has none".into()
        } else {
            let names = axis_names(&self.p, &view.axes);
            format!("its axes {}", listed(&names).replace('`', ""))
        }
    }

    /// The axes in the brackets of a reduction or a function along axes.
    pub(super) fn bracket_axes(
        &mut self,
        s: &mut Scope<'m>,
        function: &str,
        bracket: &'m ast::Bracket,
    ) -> Lowered<Vec<AxisId>> {
        let mut out = vec![];
        let mut failed = false;
        for position in &bracket.positions {
            match position {
                Position::Star(span) => match self.star(s, *span) {
                    Ok(axes) => out.extend(axes),
                    Err(Reported) => failed = true,
                },
                Position::Expr(e) => match &e.kind {
                    ExprKind::Axis(name) => {
                        let axis = self.axis(s, name, e.span);
                        if out.contains(&axis) {
                            let title =
                                format!("axis {name} stands twice in the brackets of `{function}`");
                            self.error(Diagnostic::error(title).at(e.span, "again here"));
                            failed = true;
                        }
                        out.push(axis);
                    }
                    _ => {
                        let text = self.short_text(e.span, "this");
                        let mut d =
                            Diagnostic::error(format!("`{function}` takes axes in its brackets"))
                                .at(e.span, "this is not an axis");
                        if text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
                            && text.starts_with(|c: char| c.is_ascii_lowercase())
                        {
                            d = d.help(format!(
                                "an axis begins with a capital letter: `{}`",
                                capitalized(&text)
                            ));
                        } else {
                            d = d.help(format!("name what to reduce over: `{function}[N](...)`"));
                        }
                        self.error(d);
                        failed = true;
                    }
                },
            }
        }
        if let Some(default) = &bracket.default {
            self.error(
                Diagnostic::error(format!("`{function}` takes no `else`"))
                    .at(default.span, "only reads have a default")
                    .help("a condition on the elements is a guard: `sum[N if c](x)`"),
            );
            failed = true;
        }
        if failed { Err(Reported) } else { Ok(out) }
    }

    /// The axes that `*` stands for.
    pub(super) fn star(&mut self, s: &Scope<'m>, span: Span) -> Lowered<Vec<AxisId>> {
        match &s.star {
            Some(axes) => Ok(axes.clone()),
            None => Err(self.error(
                Diagnostic::error(format!("`*` means nothing in `{}`", s.name))
                    .at(span, "the axis of untyped inputs of a loss, and there are none")
                    .help("name the axes, or leave the brackets out to reduce over all of the operand's"),
            )),
        }
    }
}
