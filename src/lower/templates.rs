//! Functions as templates (rule R8): copied at each call, once for each choice of arguments.

use super::expr::{At, noun, strip};
use super::extents::{Fit, Known, Stand};
use super::scope::{Bare, Binding, Scope, Value, View};
use super::{Lowered, Lowerer, RED_ZONE, Reported, SEGMENT, axes_count, axis_names, listed, walk};
use crate::ast::{self, Argument, DimKind, Expr, ExprKind, Kind, Span, Use};
use crate::diagnostic::Diagnostic;
use crate::ir::{AxisId, ExprId, ExtentId, Node, Op, Type};
use crate::modules::ModuleId;
use crate::suggest;
use rustc_hash::FxHashMap;
use std::rc::Rc;
use std::sync::Arc;

/// A function of some file, or its loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum FunctionRef {
    Def(ModuleId, u32),
    Loss(ModuleId),
}

impl FunctionRef {
    pub fn module(self) -> ModuleId {
        match self {
            FunctionRef::Def(m, _) | FunctionRef::Loss(m) => m,
        }
    }
}

/// One input of a function or loss.
#[derive(Debug, Clone)]
pub(super) struct Parameter<'m> {
    pub name: ast::Name,
    /// `None` also for `[*]`.
    pub dims: Option<&'m [ast::Dim]>,
    pub ty: Type,
    /// Whether the type is stated (`int[*]`), or anything goes.
    pub typed: bool,
    /// Before the bar.
    pub differentiated: bool,
    pub doc: &'m str,
    /// Whether its type has a mistake.
    pub broken: bool,
    pub span: Span,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct InstanceKey(FunctionRef, Vec<ArgumentKey>, Vec<ExprId>);

impl InstanceKey {
    pub fn function(&self) -> FunctionRef {
        self.0
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum ArgumentKey {
    Expr(ExprId),
    View(View),
    Argument(ExprId, ExprId, AxisId),
}

/// What a call gives for a typed parameter.
enum Given {
    View(View),
    Expr {
        at: At,
        safe: ExprId,
        axis: Option<AxisId>,
    },
}

/// One position of a typed parameter and what it got.
struct Slot<'m> {
    dim: &'m ast::Dim,
    /// The caller's axis, unless it has no name of its own there.
    axis: Option<AxisId>,
    extent: ExtentId,
    parameter: Arc<str>,
    ordinal: usize,
    span: Span,
}

pub(super) fn type_of(kind: Option<Kind>) -> Type {
    match kind {
        None => Type::Real,
        Some(Kind::Int) => Type::Int,
        Some(Kind::Bool) => Type::Bool,
    }
}

impl<'m> Lowerer<'m> {
    pub(super) fn function_name(&self, f: FunctionRef) -> &'m str {
        let ast = &self.modules.get(f.module()).ast;
        match f {
            FunctionRef::Def(_, k) => &ast.functions[k as usize].name.text,
            FunctionRef::Loss(_) => ast.loss.as_ref().map_or("loss", |l| &l.name.text),
        }
    }

    fn options(&self, f: FunctionRef) -> &'m [ast::HyperParameter] {
        let ast = &self.modules.get(f.module()).ast;
        match f {
            FunctionRef::Def(_, k) => &ast.functions[k as usize].signature.options,
            FunctionRef::Loss(_) => match ast.loss.as_ref().and_then(|l| l.signature.as_ref()) {
                Some(signature) => &signature.options,
                None => &[],
            },
        }
    }

    /// The inputs of a function or loss, those of the bare form found in its text (rule R6).
    pub(super) fn parameters(&mut self, f: FunctionRef) -> Rc<Vec<Parameter<'m>>> {
        if let Some(known) = self.parameters.get(&f) {
            return known.clone();
        }
        let ast = &self.modules.get(f.module()).ast;
        let signature = match f {
            FunctionRef::Def(_, k) => Some(&ast.functions[k as usize].signature),
            FunctionRef::Loss(_) => ast.loss.as_ref().and_then(|l| l.signature.as_ref()),
        };
        let list = match (signature, &ast.loss) {
            (Some(signature), _) => self.stated_parameters(signature),
            (None, Some(loss)) => super::loss::bare_parameters(loss),
            (None, None) => vec![],
        };
        let list = Rc::new(list);
        self.parameters.insert(f, list.clone());
        list
    }

    fn stated_parameters(&mut self, signature: &'m ast::Signature) -> Vec<Parameter<'m>> {
        let mut out = vec![];
        let before = signature.inputs.iter().map(|i| (i, true));
        for (input, differentiated) in before.chain(signature.given.iter().map(|i| (i, false))) {
            let (mut dims, mut broken) = (None, false);
            if let Some(shape) = &input.shape {
                let star = shape.dims.iter().find(|d| d.kind == DimKind::Star);
                match star {
                    Some(d) if shape.dims.len() > 1 => {
                        broken = true;
                        self.error(
                            Diagnostic::error("`*` does not mix with other axes")
                                .at(d.span, "`*` alone stands for all elements")
                                .help("name every axis, or write `[*]`"),
                        );
                    }
                    Some(_) => {}
                    None => dims = Some(&shape.dims[..]),
                }
            }
            out.push(Parameter {
                name: input.name.clone(),
                dims,
                ty: type_of(input.shape.as_ref().and_then(|s| s.kind)),
                typed: input.shape.is_some(),
                differentiated,
                doc: &input.doc,
                broken,
                span: input.span,
            });
        }
        out
    }

    pub(super) fn call_function(
        &mut self,
        s: &mut Scope<'m>,
        f: FunctionRef,
        u: &'m Use,
        arguments: &'m [Argument],
        span: Span,
    ) -> Lowered<ExprId> {
        self.limit(span)?;
        let parameters = self.parameters(f);
        let mut positional = vec![];
        let mut named: Vec<(&'m ast::Name, &'m Expr)> = vec![];
        for a in arguments {
            match a {
                Argument::Positional(e) => positional.push(e),
                Argument::Named(n, e) => named.push((n, e)),
                Argument::Star(star) => {
                    let title = format!("`{}` does not take `*`", u.name.text);
                    return Err(
                        self.error(Diagnostic::error(title).at(*star, "only `size(*)` does"))
                    );
                }
            }
        }
        let options = self.given_options(s, f, &named, u);
        if positional.len() != parameters.len() {
            return Err(self.wrong_count(f, &parameters, positional.len(), u, span));
        }
        let mut bindings: Vec<Lowered<Binding>> = vec![];
        let mut slots = vec![];
        let mut given: Vec<Option<Given>> = vec![];
        for (p, e) in parameters.iter().zip(&positional) {
            match p.dims {
                None => {
                    bindings.push(self.untyped_argument(s, f, p, e).map(Binding::Expr));
                    given.push(None);
                }
                Some(dims) => {
                    let found = self.typed_argument(s, f, p, dims, e, &mut slots);
                    bindings.push(Err(Reported));
                    given.push(found.ok());
                }
            }
        }
        let options = options?;
        let mut inner = self.function_scope(f);
        self.bind_axes(&mut inner, f, &slots);
        let mut keys = vec![];
        for (k, p) in parameters.iter().enumerate() {
            let binding = match (given[k].take(), bindings[k].clone()) {
                (Some(found), _) => self.bind_typed(&inner, f, p, found)?,
                (None, untyped) => untyped?,
            };
            keys.push(match &binding {
                Binding::Expr(e) => ArgumentKey::Expr(*e),
                Binding::View(v) => ArgumentKey::View(v.clone()),
                Binding::Argument { value, safe, axis } => {
                    ArgumentKey::Argument(*value, *safe, *axis)
                }
                Binding::Poisoned => return Err(Reported),
            });
            inner.values.insert(
                p.name.text.clone(),
                Value {
                    binding,
                    what: "parameter",
                    span: p.name.span,
                },
            );
        }
        for (o, &value) in self.options(f).iter().zip(&options) {
            let binding = Binding::Expr(value);
            inner.values.insert(
                o.name.text.clone(),
                Value {
                    binding,
                    what: "hyperparameter",
                    span: o.name.span,
                },
            );
        }
        self.loss_star(f, &mut inner, &parameters, &positional)?;
        // Axes that two parameters of one caller's axis share are fresh in each copy; everything else is in the key.
        let arguments = self.argument_axes(&keys);
        let key = InstanceKey(f, self.without_copies(keys), options);
        if let Some(&known) = self.instances.get(&key) {
            return known;
        }
        let value = self.instance(f, inner, &arguments, u.name.span, span);
        self.instances.insert(key, value);
        value
    }

    fn function_scope(&mut self, f: FunctionRef) -> Scope<'m> {
        let ast = &self.modules.get(f.module()).ast;
        let bindings = match (f, &ast.loss) {
            (FunctionRef::Def(_, k), _) => &ast.functions[k as usize].bindings,
            (FunctionRef::Loss(_), Some(loss)) => &loss.bindings,
            (FunctionRef::Loss(_), None) => no_bindings(),
        };
        self.scope(f.module(), self.function_name(f).into(), bindings)
    }

    /// The axes that the result may have: those of the arguments, but no copies made for this call.
    fn argument_axes(&self, keys: &[ArgumentKey]) -> Vec<AxisId> {
        let mut out: Vec<AxisId> = vec![];
        for a in keys {
            match a {
                ArgumentKey::Expr(e) | ArgumentKey::Argument(e, ..) => {
                    out.extend(self.p.free(*e).iter())
                }
                ArgumentKey::View(v) => {
                    let own = v.axes.iter().filter(|a| {
                        let info = &self.axes[a.index()];
                        !info.copy && !info.anonymous
                    });
                    out.extend(own.chain(&v.extra));
                }
            }
        }
        out
    }

    /// Axes made for one call never leave it, so calls that differ in them alone are the same.
    fn without_copies(&self, mut keys: Vec<ArgumentKey>) -> Vec<ArgumentKey> {
        let mut numbers: FxHashMap<AxisId, AxisId> = FxHashMap::default();
        for key in &mut keys {
            let ArgumentKey::View(view) = key else {
                continue;
            };
            for axis in &mut view.axes {
                let info = &self.axes[axis.index()];
                if info.copy || info.anonymous {
                    let next = AxisId(u32::MAX - numbers.len() as u32);
                    *axis = *numbers.entry(*axis).or_insert(next);
                }
            }
        }
        keys
    }

    pub(super) fn instance(
        &mut self,
        f: FunctionRef,
        mut inner: Scope<'m>,
        arguments: &[AxisId],
        name_span: Span,
        span: Span,
    ) -> Lowered<ExprId> {
        let name = self.function_name(f);
        if self.copying.contains(&f) {
            let at = self.active.iter().position(|(g, _)| *g == f).unwrap_or(0);
            let mut chain: Vec<String> = self.active[at..]
                .iter()
                .map(|(g, _)| format!("`{}`", self.function_name(*g)))
                .collect();
            chain.push(format!("`{name}`"));
            self.diagnostics.push(
                Diagnostic::error(format!("`{name}` calls itself"))
                    .at(name_span, "called here while it is being copied")
                    .note(format!("the chain is {}", chain.join(" -> ")))
                    .help("functions are templates; a recurrence is a definition that reads itself, such as `s[N] = x + s[N - 1 else 0]`"),
            );
            return Err(Reported);
        }
        self.active.push((f, span));
        self.copying.insert(f);
        let path = std::mem::take(&mut self.path);
        let ast = &self.modules.get(f.module()).ast;
        let value = stacker::maybe_grow(RED_ZONE, SEGMENT, || match (f, &ast.loss) {
            (FunctionRef::Def(_, k), _) => {
                let def = &ast.functions[k as usize];
                self.body(&mut inner, &def.bindings, &def.value)
            }
            (FunctionRef::Loss(_), Some(loss)) => {
                self.body(&mut inner, &loss.bindings, &loss.value)
            }
            (FunctionRef::Loss(_), None) => Err(Reported),
        });
        let value = value.and_then(|v| {
            let extra: Vec<AxisId> = self
                .p
                .free(v)
                .iter()
                .copied()
                .filter(|a| !arguments.contains(a))
                .collect();
            if extra.is_empty() {
                return Ok(v);
            }
            let names = axis_names(&self.p, &extra).join(", ");
            let at = self.p.span(v).unwrap_or(name_span);
            Err(self.error(
                Diagnostic::error(format!(
                    "the result of `{name}` has the axis {names}, which its arguments lack"
                ))
                .at(at, format!("{names} is free here"))
                .help(format!("reduce it: `sum[{names}](...)`")),
            ))
        });
        self.path = path;
        self.copying.remove(&f);
        self.active.pop();
        value
    }

    fn wrong_count(
        &mut self,
        f: FunctionRef,
        parameters: &[Parameter<'m>],
        given: usize,
        u: &Use,
        span: Span,
    ) -> Reported {
        let name = self.function_name(f);
        let names: Vec<&str> = parameters.iter().map(|p| &*p.name.text).collect();
        let plural = if names.len() == 1 { "" } else { "s" };
        let options: Vec<&str> = self.options(f).iter().map(|o| &*o.name.text).collect();
        let mut out = Diagnostic::error(format!(
            "`{name}` takes {} input{plural}, {given} given",
            names.len()
        ))
        .at(span, format!("`{name}({})`", names.join(", ")));
        if given > names.len() && !options.is_empty() {
            out = out.help(format!(
                "hyperparameters go by name: `{}(..., {} = ...)`",
                u.name.text, options[0]
            ));
        }
        self.error(out)
    }

    /// Hyperparameters by name, with defaults for those that are left out.
    fn given_options(
        &mut self,
        s: &mut Scope<'m>,
        f: FunctionRef,
        named: &[(&'m ast::Name, &'m Expr)],
        u: &Use,
    ) -> Lowered<Vec<ExprId>> {
        let options = self.options(f);
        let name = self.function_name(f);
        let mut values: FxHashMap<&str, Lowered<ExprId>> = FxHashMap::default();
        let mut failed = false;
        for &(n, e) in named {
            let Some(option) = options.iter().find(|o| o.name.text == n.text) else {
                let names: Vec<&str> = options.iter().map(|o| &*o.name.text).collect();
                let out = Diagnostic::error(format!("`{name}` has no hyperparameter `{}`", n.text))
                    .at(n.span, "unknown hyperparameter");
                self.error(match suggest::closest(&n.text, names.iter().copied()) {
                    Some(near) => out.help(format!("did you mean `{near}`?")),
                    None if names.is_empty() => out.help("it has none; inputs go by position"),
                    None => out.help(format!("it has {}", listed(&names))),
                });
                failed = true;
                continue;
            };
            if values.contains_key(&*n.text) {
                let title = format!("`{}` is given twice", n.text);
                self.error(Diagnostic::error(title).at(n.span, "again here"));
                failed = true;
                continue;
            }
            let value = self.option_value(s, option, e);
            failed |= value.is_err();
            values.insert(&option.name.text, value);
        }
        let mut out = vec![];
        for o in options {
            let value = match (values.get(&*o.name.text), &o.default) {
                (Some(Ok(v)), _) => *v,
                (Some(Err(Reported)), _) => continue,
                (None, Some(literal)) => self.literal(literal, type_of(o.kind)),
                (None, None) => {
                    self.error(
                        Diagnostic::error(format!(
                            "`{name}` needs the hyperparameter `{}`",
                            o.name.text
                        ))
                        .at(u.name.span, "it has no default")
                        .at(o.name.span, "declared here")
                        .help(format!("`{}(..., {} = ...)`", u.name.text, o.name.text)),
                    );
                    failed = true;
                    continue;
                }
            };
            out.push(value);
        }
        if failed { Err(Reported) } else { Ok(out) }
    }

    pub(super) fn literal(&mut self, literal: &ast::Literal, ty: Type) -> ExprId {
        let value = super::loss::literal_value(literal);
        match (ty, literal.value) {
            (Type::Int, ast::Constant::Int(n)) => self.p.int(if literal.negative {
                n.wrapping_neg()
            } else {
                n
            }),
            _ => self.p.real(value),
        }
    }

    fn option_value(
        &mut self,
        s: &mut Scope<'m>,
        o: &'m ast::HyperParameter,
        e: &'m Expr,
    ) -> Lowered<ExprId> {
        let at = self.at(s, e)?;
        let name = &o.name.text;
        let value = match type_of(o.kind) {
            Type::Int => self.int(at, &format!("the hyperparameter `{name}`"))?,
            Type::Real | Type::Bool => self.real(at)?,
        };
        if !self.p.free(value).is_empty() {
            let names = axis_names(&self.p, self.p.free(value)).join(", ");
            return Err(self.error(
                Diagnostic::error(format!(
                    "the hyperparameter `{name}` is one number, this has the axes {names}"
                ))
                .at(e.span, format!("has the axes {names}"))
                .help("what has axes is passed as an input"),
            ));
        }
        let number = match *self.p.node(value) {
            Node::Real(x) => Some(x.0),
            Node::Int(n) => Some(n as f64),
            _ => None,
        };
        if let (Some(x), Some(domain)) = (number, &o.domain) {
            let d = super::loss::domain_of(domain);
            if !d.contains(x) {
                return Err(self.error(
                    Diagnostic::error(format!("`{name}` is outside its domain"))
                        .at(
                            e.span,
                            format!(
                                "not in {}",
                                self.text(domain.span).trim_start_matches("in").trim()
                            ),
                        )
                        .at(domain.span, "the domain"),
                ));
            }
        }
        Ok(value)
    }

    fn untyped_argument(
        &mut self,
        s: &mut Scope<'m>,
        f: FunctionRef,
        p: &Parameter<'m>,
        e: &'m Expr,
    ) -> Lowered<ExprId> {
        let at = self.at(s, e)?;
        if !p.typed && matches!(f, FunctionRef::Def(..)) {
            return Ok(at.id);
        }
        match p.ty {
            Type::Real => self.real(at),
            Type::Int => self.int(at, &format!("the input `{}`", p.name.text)),
            Type::Bool => self.boolean(at),
        }
    }

    /// A loss used as a function demands equal axes of its untyped arguments; they are what `*` stands for.
    fn loss_star(
        &mut self,
        f: FunctionRef,
        inner: &mut Scope<'m>,
        parameters: &[Parameter<'m>],
        arguments: &[&'m Expr],
    ) -> Lowered<()> {
        if matches!(f, FunctionRef::Def(..)) {
            return Ok(());
        }
        let mut first: Option<(Vec<AxisId>, Span)> = None;
        for (p, e) in parameters
            .iter()
            .zip(arguments)
            .filter(|(p, _)| p.dims.is_none())
        {
            let Some(Value {
                binding: Binding::Expr(id),
                ..
            }) = inner.values.get(&p.name.text)
            else {
                continue;
            };
            let axes = self.p.free(*id).to_vec();
            let Some((wanted, span)) = &first else {
                first = Some((axes, e.span));
                continue;
            };
            if *wanted != axes {
                let text = |axes: &[AxisId]| match axes {
                    [] => "no axes".to_string(),
                    axes => axis_names(&self.p, axes).join(", "),
                };
                let name = self.function_name(f);
                let (a, b, span) = (text(wanted), text(&axes), *span);
                return Err(self.error(
                    Diagnostic::error(format!("the untyped inputs of `{name}` need equal axes"))
                        .at(e.span, format!("has {b}"))
                        .at(span, format!("has {a}"))
                        .help("a loss has one value for each element of all of its untyped inputs"),
                ));
            }
        }
        if let Some((axes, _)) = first {
            inner.star = Some(axes);
        }
        Ok(())
    }

    // ---- typed parameters

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

    fn typed_argument(
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
    fn given(
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

    fn untyped_given(&mut self, p: &Parameter<'m>, dims: &[ast::Dim], span: Span) -> Reported {
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

    fn typed_view(&mut self, mut view: View, p: &Parameter<'m>, span: Span) -> Lowered<View> {
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
    fn bind_axes(&mut self, inner: &mut Scope<'m>, f: FunctionRef, slots: &[Slot<'m>]) {
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

    fn same_extent(&mut self, inner: &mut Scope<'m>, f: FunctionRef, slot: &Slot<'m>) {
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
    fn bind_typed(
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
    fn differentiates_by(&mut self, f: FunctionRef, name: &str) -> bool {
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
    fn rename_view(&mut self, view: &mut View, axes: &[Option<AxisId>]) {
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

pub(super) fn no_bindings<'m>() -> &'m ast::Bindings {
    static NONE: ast::Bindings = ast::Bindings {
        extents: vec![],
        definitions: vec![],
    };
    &NONE
}
