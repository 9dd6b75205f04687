//! Functions as templates (rule R8): copied at each call, once for each choice of arguments.

use super::expr::At;
use super::scope::{Binding, Scope, Value, View};
use super::{Lowered, Lowerer, RED_ZONE, Reported, SEGMENT, axis_names};
use crate::ast::{self, Argument, DimKind, Expr, Kind, Span, Use};
use crate::diagnostic::Diagnostic;
use crate::ir::{AxisId, ExprId, ExtentId, Type};
use crate::modules::ModuleId;
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
pub(super) enum Given {
    View(View),
    Expr {
        at: At,
        safe: ExprId,
        axis: Option<AxisId>,
    },
}

/// One position of a typed parameter and what it got.
pub(super) struct Slot<'m> {
    pub dim: &'m ast::Dim,
    /// The caller's axis, unless it has no name of its own there.
    pub axis: Option<AxisId>,
    pub extent: ExtentId,
    pub parameter: Arc<str>,
    pub ordinal: usize,
    pub span: Span,
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

    pub(super) fn options(&self, f: FunctionRef) -> &'m [ast::HyperParameter] {
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
            (None, Some(loss)) => super::parameters::bare_parameters(loss),
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
        if let Some((n, _)) = named
            .iter()
            .find(|(n, _)| parameters.iter().any(|p| p.name.text == n.text))
        {
            return Err(self.input_by_name(f, &parameters, n));
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

    fn input_by_name(
        &mut self,
        f: FunctionRef,
        parameters: &[Parameter<'m>],
        name: &ast::Name,
    ) -> Reported {
        let function = self.function_name(f);
        let names: Vec<&str> = parameters.iter().map(|p| &*p.name.text).collect();
        let call = format!("`{function}({})`", names.join(", "));
        self.error(
            Diagnostic::error(format!("inputs of `{function}` go by position"))
                .at(name.span, format!("an input of {call}"))
                .help("only hyperparameters go by name: write the value without its name, in its place"),
        )
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
}

pub(super) fn no_bindings<'m>() -> &'m ast::Bindings {
    static NONE: ast::Bindings = ast::Bindings {
        extents: vec![],
        definitions: vec![],
    };
    &NONE
}
