//! The loss of a file as the root of a program: its inputs, hyperparameters, value and stated gradients.

use super::expr::noun;
use super::extents::{Fit, Stand};
use super::scope::{Bare, Binding, Scope, Value, View};
use super::templates::{FunctionRef, Parameter, type_of};
use super::{Lowered, Lowerer, Reported, axes_count, axis_names, lints, listed, walk};
use crate::ast::{self, Constant, DimKind};
use crate::diagnostic::Diagnostic;
use crate::ir::{
    AxisId, Body, Dim, Domain, Gradient, Input, Node, Param, ParamId, Stated, Tensor, TensorId,
    TensorKind, Type,
};
use crate::modules::ModuleId;
use crate::suggest;
use std::sync::Arc;

/// The number that a literal stands for; `true` and `false` are 1 and 0.
pub(super) fn literal_value(literal: &ast::Literal) -> f64 {
    let value = match literal.value {
        Constant::Int(n) => n as f64,
        Constant::Real(x) => x,
        Constant::True => 1.0,
        Constant::False => 0.0,
        Constant::Inf => f64::INFINITY,
        Constant::Pi => std::f64::consts::PI,
    };
    if literal.negative { -value } else { value }
}

pub(super) fn domain_of(domain: &ast::Domain) -> Domain {
    Domain {
        low: literal_value(&domain.low),
        low_included: domain.low_included,
        high: literal_value(&domain.high),
        high_included: domain.high_included,
    }
}

/// The inputs of a loss without a signature (rule R6).
pub(super) fn bare_parameters(loss: &ast::Loss) -> Vec<Parameter<'_>> {
    let defined = |n: &str| loss.bindings.definitions.iter().any(|d| *d.name.text == *n);
    let mut names: Vec<&ast::Name> = vec![];
    let bodies =
        std::iter::once(&loss.value).chain(loss.bindings.definitions.iter().map(|d| &d.value));
    for e in bodies {
        walk::uses(e, &mut |u| {
            if walk::is_read(u)
                && !defined(&u.name.text)
                && names.iter().all(|n| n.text != u.name.text)
            {
                names.push(&u.name);
            }
        });
    }
    let hats = names.iter().any(|n| n.text.ends_with("hat"));
    let (first, second): (Vec<_>, Vec<_>) = names
        .into_iter()
        .partition(|n| !hats || n.text.ends_with("hat"));
    let one = |n: &ast::Name, differentiated| Parameter {
        name: n.clone(),
        dims: None,
        ty: Type::Real,
        typed: false,
        differentiated,
        doc: "",
        broken: false,
        span: n.span,
    };
    first
        .into_iter()
        .map(|n| one(n, true))
        .chain(second.into_iter().map(|n| one(n, false)))
        .collect()
}

impl<'m> Lowerer<'m> {
    /// Lowers the loss of a file into the scoped program.
    pub(super) fn loss(&mut self, module: ModuleId) -> Lowered<()> {
        let file = self.modules.get(module);
        self.check_names(module);
        let Some(loss) = &file.ast.loss else {
            let functions: Vec<&str> = file.ast.functions.iter().map(|f| &*f.name.text).collect();
            let mut out = Diagnostic::error(format!("`{}` declares no loss", file.name));
            if !functions.is_empty() {
                out = out.note(format!(
                    "it is a library of the functions {}",
                    listed(&functions)
                ));
            }
            self.diagnostics
                .push(out.help("a loss is declared by `loss name(inputs) = value`"));
            return Err(Reported);
        };
        self.p.name = loss.name.text.clone();
        self.p.doc = loss.doc.as_str().into();
        let f = FunctionRef::Loss(module);
        let mut s = self.scope(module, loss.name.text.clone(), &loss.bindings);
        s.lints = true;
        self.copying.insert(f);
        let parameters = self.parameters(f);
        for p in parameters.iter() {
            self.input(&mut s, p, loss.signature.as_ref());
        }
        for option in loss.signature.iter().flat_map(|s| &s.options) {
            self.hyperparameter(&mut s, option);
        }
        let value = self
            .body(&mut s, &loss.bindings, &loss.value)
            .and_then(|value| {
                let at = super::expr::At {
                    id: value,
                    span: loss.value.span,
                };
                if self.p.ty(value) == Type::Bool {
                    let title = "the value of a loss is a number, this is a bool";
                    return Err(self.error(Diagnostic::error(title).at(at.span, "a bool")));
                }
                self.unreduced(loss, value)?;
                self.real(at)
            });
        for gradient in &loss.gradients {
            // A mistake was reported; the other gradients are checked all the same.
            let _ = self.stated_gradient(&mut s, gradient, &parameters);
        }
        self.every_declaration(&mut s);
        self.copying.remove(&f);
        let value = value?;
        self.p.value = self
            .p
            .define("value", vec![], Type::Real, Body::Expr(value));
        self.p.tensors[self.p.value.index()].span = Some(loss.value.span);
        lints::unused(self, module, loss);
        Ok(())
    }

    /// Lowers the axes that nothing uses too, for their mistakes.
    fn every_declaration(&mut self, s: &mut Scope<'m>) {
        let mut declared: Vec<&'m ast::Extent> = s.declared.values().copied().collect();
        declared.sort_by_key(|e| e.span.start);
        for e in declared {
            self.axis(s, &e.axis.text, e.axis.span);
        }
    }

    fn unreduced(&mut self, loss: &'m ast::Loss, value: crate::ir::ExprId) -> Lowered<()> {
        let free = self.p.free(value).to_vec();
        if free.is_empty() {
            return Ok(());
        }
        let names = axis_names(&self.p, &free).join(", ");
        let what = if names == "*" {
            "the value has one number for each element".into()
        } else {
            format!("{names} is free here")
        };
        let what = if free.len() > 1 {
            format!("{names} are free here")
        } else {
            what
        };
        let example = if names == "*" {
            "mean(...)".to_string()
        } else {
            format!("mean[{names}](...)")
        };
        Err(self.error(
            Diagnostic::error(format!("unreduced axes: {names}"))
                .at(loss.value.span, what)
                .help(format!(
                    "a loss is one number: reduce it, for example by `{example}`"
                )),
        ))
    }

    /// Two declarations of one name in a file.
    pub(super) fn check_names(&mut self, module: ModuleId) {
        let file = self.modules.get(module);
        let mut seen: Vec<(&'m ast::Name, &str)> = vec![];
        let imports = file.ast.imports.iter().map(|i| (&i.name, "import"));
        let functions = file.ast.functions.iter().map(|f| (&f.name, "function"));
        let own = functions.chain(file.ast.loss.iter().map(|l| (&l.name, "loss")));
        let mut doubled = vec![];
        for (name, what) in imports {
            if let Some((first, _)) = seen.iter().find(|(n, _)| n.text == name.text) {
                doubled.push((name, what, first.span));
            }
            seen.push((name, what));
        }
        let mut functions: Vec<&'m ast::Name> = vec![];
        for (name, what) in own {
            if let Some(first) = functions.iter().find(|n| n.text == name.text) {
                doubled.push((name, what, first.span));
            }
            functions.push(name);
        }
        for (name, what, first) in doubled {
            let verb = if what == "import" {
                "imported"
            } else {
                "declared"
            };
            self.error(
                Diagnostic::error(format!("`{}` is {verb} twice", name.text))
                    .at(name.span, "again here")
                    .at(first, "first here"),
            );
        }
    }

    fn duplicate(&mut self, s: &Scope<'m>, name: &ast::Name) -> bool {
        let Some(first) = s.values.get(&name.text).map(|v| v.span) else {
            return false;
        };
        self.error(
            Diagnostic::error(format!("`{}` stands twice in the signature", name.text))
                .at(name.span, "again here")
                .at(first, "first here"),
        );
        true
    }

    // ---- inputs

    fn input(
        &mut self,
        s: &mut Scope<'m>,
        p: &Parameter<'m>,
        signature: Option<&'m ast::Signature>,
    ) {
        if self.duplicate(s, &p.name) {
            return;
        }
        if p.broken {
            self.define_value(s, &p.name, "input", Binding::Poisoned);
            return;
        }
        let bar = signature.is_some_and(|s| !s.given.is_empty());
        if p.differentiated && p.ty != Type::Real && bar {
            self.error(
                Diagnostic::error(format!(
                    "`{}` is {} and cannot be differentiated",
                    p.name.text,
                    noun(p.ty)
                ))
                .at(p.span, "stands before the bar")
                .help("inputs that are only given stand after the bar: `(yhat | y)`"),
            );
        }
        let (axes, shape, bare) = match p.dims {
            None => (vec![self.star_axis(s)], None, Bare::Yes),
            Some(dims) => self.input_axes(s, p, dims),
        };
        let tensor = self.p.tensor(Tensor {
            name: p.name.text.clone(),
            ty: p.ty,
            head: axes.clone(),
            kind: TensorKind::Input(Input {
                differentiated: p.differentiated && p.ty == Type::Real,
                shape,
                doc: p.doc.into(),
            }),
            named: true,
            span: Some(p.name.span),
        });
        self.p.inputs.push(tensor);
        if p.differentiated && p.ty == Type::Real {
            self.p.gradients.push(Gradient {
                input: tensor,
                tensor: None,
                stated: None,
            });
        }
        // `[*]` has an order of its elements, an untyped input is a number at each of them.
        let ordered = p.typed;
        let view = View {
            tensor,
            axes,
            extra: vec![],
            bare,
            ordered,
            to_real: false,
        };
        s.values.insert(
            p.name.text.clone(),
            Value {
                binding: Binding::View(view),
                what: "input",
                span: p.name.span,
            },
        );
    }

    /// The one anonymous axis of all untyped inputs.
    fn star_axis(&mut self, s: &mut Scope<'m>) -> AxisId {
        if let Some(axes) = &s.star {
            return axes[0];
        }
        let extent = self.new_extent("*".into(), Some(super::extents::Known::Star));
        let axis = self.new_axis("*".into(), extent, false, None);
        s.star = Some(vec![axis]);
        axis
    }

    fn input_axes(
        &mut self,
        s: &mut Scope<'m>,
        p: &Parameter<'m>,
        dims: &'m [ast::Dim],
    ) -> (Vec<AxisId>, Option<Vec<Dim>>, Bare) {
        let (mut axes, mut shape, mut bare) = (vec![], vec![], Bare::Yes);
        for (k, dim) in dims.iter().enumerate() {
            match &dim.kind {
                DimKind::Axis(name) => {
                    let axis = self.axis(s, name, dim.span);
                    let extent = self.p.extent_of(axis);
                    // The extent of a declared axis may have asked for the size of one that stands further on.
                    if self.extents.known(extent).is_none() {
                        self.extents
                            .set(extent, Self::from_signature(&p.name.text, k));
                        self.axes[axis.index()].inferred = false;
                    }
                    if axes.contains(&axis) {
                        let second = self.new_axis(name.clone(), extent, false, None);
                        self.axes[second.index()].anonymous = true;
                        axes.push(second);
                        bare = Bare::Repeated;
                    } else {
                        axes.push(axis);
                    }
                    shape.push(Dim::Named(name.clone()));
                }
                DimKind::Constant(n) => {
                    if *n > super::scope::MAX_EXTENT {
                        let title = format!(
                            "`{}` has a position of {n} elements, which no memory holds",
                            p.name.text
                        );
                        self.error(Diagnostic::error(title).at(dim.span, "too large"));
                    }
                    let extent = self.new_extent(
                        n.to_string().into(),
                        Some(super::extents::Known::Constant(*n)),
                    );
                    axes.push(self.anonymous(extent));
                    shape.push(Dim::Constant(*n));
                    bare = Bare::Unnamed;
                }
                // Mixed with other axes; reported where the parameters were read.
                DimKind::Star => axes.push(self.star_axis(s)),
            }
        }
        (axes, Some(shape), bare)
    }

    // ---- hyperparameters

    fn hyperparameter(&mut self, s: &mut Scope<'m>, o: &'m ast::HyperParameter) {
        if self.duplicate(s, &o.name) {
            return;
        }
        let ty = type_of(o.kind);
        self.check_option(o, ty);
        self.p.params.push(Param {
            name: o.name.text.clone(),
            ty: if ty == Type::Bool { Type::Int } else { ty },
            default: o.default.as_ref().map(literal_value),
            domain: o.domain.as_ref().map(domain_of),
            doc: o.doc.as_str().into(),
        });
        let id = self
            .p
            .mk(Node::Param(ParamId(self.p.params.len() as u32 - 1)));
        s.values.insert(
            o.name.text.clone(),
            Value {
                binding: Binding::Expr(id),
                what: "hyperparameter",
                span: o.name.span,
            },
        );
    }

    /// A default of the right type in a domain that makes sense.
    pub(super) fn check_option(&mut self, o: &ast::HyperParameter, ty: Type) {
        let name = &o.name.text;
        if ty == Type::Bool {
            self.error(
                Diagnostic::error(format!("the hyperparameter `{name}` is a bool"))
                    .at(o.span, "hyperparameters are real or int")
                    .help(format!(
                        "write `{name}: int = 1 in [0, 1]` and compare: `{name} == 1`"
                    )),
            );
            return;
        }
        let ends = o.domain.iter().flat_map(|d| [&d.low, &d.high]);
        for literal in o.default.iter().chain(ends) {
            let wrong = match (ty, literal.value) {
                (_, Constant::True | Constant::False) => Some("a bool"),
                (Type::Int, Constant::Real(_) | Constant::Pi) => Some("a real"),
                _ => None,
            };
            if let Some(found) = wrong {
                self.error(
                    Diagnostic::error(format!("`{name}` is {}, this is {found}", noun(ty)))
                        .at(literal.span, found),
                );
            }
        }
        if let (Type::Int, Some(d)) = (ty, &o.default)
            && d.value == Constant::Inf
        {
            self.error(
                Diagnostic::error(format!("`{name}` is an int, which is never infinite"))
                    .at(d.span, "a real"),
            );
        }
        let Some(written) = &o.domain else { return };
        let domain = domain_of(written);
        if domain.low > domain.high {
            self.error(
                Diagnostic::error(format!("the domain of `{name}` is empty"))
                    .at(written.span, "ends before it begins"),
            );
        } else if let Some(d) = &o.default
            && !domain.contains(literal_value(d))
        {
            self.error(
                Diagnostic::error(format!("the default of `{name}` is outside its domain"))
                    .at(d.span, "the default")
                    .at(written.span, "the domain"),
            );
        }
    }

    // ---- stated gradients (rule R11)

    fn stated_gradient(
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
            return Err(self.error(
                Diagnostic::error(format!("`{name}` is not differentiated")).at(g.input.span, why),
            ));
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
        let value = self.real(super::expr::At {
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
