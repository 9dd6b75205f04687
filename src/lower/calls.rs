//! Calls: which function a name is (rule R8), and the built-in ones.

use super::builtins::{self, Builtin, Reduction};
use super::expr::At;
use super::lints;
use super::scope::{Binding, Scope};
use super::templates::FunctionRef;
use super::{Lowered, Lowerer, Reported, axis_names, listed};
use crate::ast::{self, Argument, Expr, ExprKind, Position, Span, Use};
use crate::diagnostic::Diagnostic;
use crate::ir::{AxisId, Body, ExprId, Node, Op, ReduceOp, Tensor, TensorId, TensorKind, Type};
use crate::modules::ModuleId;
use crate::suggest;

pub(super) enum Callee {
    Builtin(Builtin),
    Function(FunctionRef),
}

impl<'m> Lowerer<'m> {
    pub(super) fn call(
        &mut self,
        s: &mut Scope<'m>,
        u: &'m Use,
        arguments: &'m [Argument],
        span: Span,
    ) -> Lowered<ExprId> {
        match self.callee(s, u)? {
            Callee::Function(f) => {
                if let Some(bracket) = &u.bracket {
                    return Err(self.error(
                        Diagnostic::error(format!("`{}` takes no brackets", u.name.text))
                            .at(
                                bracket.span,
                                "only built-in functions name axes in brackets",
                            )
                            .help("give the result a name in `where` to index it"),
                    ));
                }
                self.call_function(s, f, u, arguments, span)
            }
            Callee::Builtin(b) => self.call_builtin(s, b, u, arguments, span),
        }
    }

    /// A file's own functions, then its imports, then the built-in ones.
    pub(super) fn callee(&mut self, s: &Scope<'m>, u: &'m Use) -> Lowered<Callee> {
        let name = &u.name;
        if let Some(module) = &u.module {
            return self.qualified(s, module, name).map(Callee::Function);
        }
        if let Some(f) = self.own_function(s.module, &name.text) {
            return Ok(Callee::Function(f));
        }
        let imports = &self.modules.get(s.module).imports;
        if let Some(&(_, m)) = imports.iter().find(|(n, _)| n.text == name.text) {
            if self.modules.get(m).ast.loss.is_some() {
                return Ok(Callee::Function(FunctionRef::Loss(m)));
            }
            let functions = self.function_names(m);
            return Err(self.error(
                Diagnostic::error(format!("`{}` declares no loss", name.text))
                    .at(name.span, "so the file itself cannot be called")
                    .help(format!("it has the functions {}", listed(&functions))),
            ));
        }
        if let Some(b) = builtins::find(&name.text) {
            return Ok(Callee::Builtin(b));
        }
        Err(self.unknown_function(s, name))
    }

    fn qualified(
        &mut self,
        s: &Scope<'m>,
        module: &'m ast::Name,
        name: &'m ast::Name,
    ) -> Lowered<FunctionRef> {
        let imports = &self.modules.get(s.module).imports;
        let Some(&(_, m)) = imports.iter().find(|(n, _)| n.text == module.text) else {
            let names: Vec<&str> = imports.iter().map(|(n, _)| &*n.text).collect();
            let out = Diagnostic::error(format!("there is no import `{}`", module.text))
                .at(module.span, "unknown file");
            let out = match suggest::closest(&module.text, names) {
                Some(near) => out.help(format!("did you mean `{near}`?")),
                None => out.help(format!("add `use {}` at the top of the file", module.text)),
            };
            return Err(self.error(out));
        };
        if let Some(f) = self.own_function(m, &name.text) {
            return Ok(f);
        }
        let functions = self.function_names(m);
        let out = Diagnostic::error(format!("`{}` has no function `{}`", module.text, name.text))
            .at(name.span, "unknown function");
        Err(self.error(
            match suggest::closest(&name.text, functions.iter().copied()) {
                Some(near) => out.help(format!("did you mean `{}.{near}`?", module.text)),
                None if functions.is_empty() => out.help("it declares none"),
                None => out.help(format!("it has {}", listed(&functions))),
            },
        ))
    }

    fn own_function(&self, module: ModuleId, name: &str) -> Option<FunctionRef> {
        let ast = &self.modules.get(module).ast;
        if let Some(k) = ast.functions.iter().position(|f| *f.name.text == *name) {
            return Some(FunctionRef::Def(module, k as u32));
        }
        let loss = ast.loss.as_ref()?;
        (*loss.name.text == *name).then_some(FunctionRef::Loss(module))
    }

    fn function_names(&self, module: ModuleId) -> Vec<&'m str> {
        let ast = &self.modules.get(module).ast;
        ast.functions.iter().map(|f| &*f.name.text).collect()
    }

    pub(super) fn is_function(&self, s: &Scope<'m>, name: &str) -> bool {
        self.own_function(s.module, name).is_some()
            || self
                .modules
                .get(s.module)
                .imports
                .iter()
                .any(|(n, _)| *n.text == *name)
            || builtins::find(name).is_some()
    }

    fn unknown_function(&mut self, s: &Scope<'m>, name: &'m ast::Name) -> Reported {
        let text = &*name.text;
        let out = Diagnostic::error(format!("there is no function `{text}`"))
            .at(name.span, "unknown function");
        if let Some(help) = builtins::elsewhere(text) {
            return self.error(out.help(help));
        }
        if let Some(value) = s.values.get(text) {
            let out = out.at(
                value.span,
                format!("`{text}` is no function, but this {}", value.what),
            );
            return self
                .error(out.help(format!("a product is written with `*`: `{text} * (...)`")));
        }
        let module = self.modules.get(s.module);
        let imports: Vec<&str> = module.imports.iter().map(|(n, _)| &*n.text).collect();
        let mut known = self.function_names(s.module);
        known.extend(imports.iter().copied());
        known.extend(builtins::names().map(|n| -> &str { n }));
        if let Some(near) = suggest::closest(text, known) {
            return self.error(out.help(format!("did you mean `{near}`?")));
        }
        let homes: Vec<String> = module
            .imports
            .iter()
            .filter(|(_, m)| self.own_function(*m, text).is_some())
            .map(|(n, _)| format!("{}.{text}", n.text))
            .collect();
        if !homes.is_empty() {
            return self.error(out.help(format!("did you mean {}?", listed(&homes))));
        }
        if crate::shipped::text(text).is_some() {
            return self.error(out.help(format!(
                "there is a shipped loss of this name: add `use {text}`"
            )));
        }
        self.error(out)
    }

    // ---- built-in functions

    fn call_builtin(
        &mut self,
        s: &mut Scope<'m>,
        b: Builtin,
        u: &'m Use,
        arguments: &'m [Argument],
        span: Span,
    ) -> Lowered<ExprId> {
        let name = &*u.name.text;
        if b == Builtin::Size {
            return self.size(s, u, arguments, span);
        }
        let mut operands = vec![];
        for a in arguments {
            match a {
                Argument::Positional(e) => operands.push(e),
                Argument::Star(star) => {
                    return Err(self.error(
                        Diagnostic::error(format!("`{name}` does not take `*`"))
                            .at(*star, "only `size(*)` does")
                            .help(format!("`{name}[*](x)` is over all elements")),
                    ));
                }
                Argument::Named(n, value) => {
                    return Err(self.error(
                        Diagnostic::error(format!("`{name}` has no hyperparameter `{}`", n.text))
                            .at(n.span.to(value.span), "built-in functions have none")
                            .help(match &*n.text {
                                "dim" | "dims" | "axes" | "keepdim" | "keepdims" => {
                                    format!("axes are named in brackets: `{name}[N](x)`")
                                }
                                _ => "`=` names a hyperparameter, `==` compares".to_owned(),
                            }),
                    ));
                }
            }
        }
        match b {
            Builtin::Reduce(r) => self.call_reduction(s, r, u, &operands, span),
            Builtin::Along(a) => {
                self.arity(name, &operands, 1, span)?;
                self.along(s, a, u, operands[0], span)
            }
            Builtin::Grad => {
                self.arity(name, &operands, 1, span)?;
                self.grad(s, u, operands[0], span)
            }
            Builtin::Number(_)
            | Builtin::Real(_)
            | Builtin::Reals(_)
            | Builtin::Ints(_)
            | Builtin::Polygamma
            | Builtin::Clamp
            | Builtin::Int
            | Builtin::StopGradient
            | Builtin::Size => {
                self.no_brackets(u)?;
                self.elementwise(s, b, name, &operands, span)
            }
        }
    }

    fn no_brackets(&mut self, u: &Use) -> Lowered<()> {
        match &u.bracket {
            None => Ok(()),
            Some(bracket) => Err(self.error(
                Diagnostic::error(format!("`{}` takes no brackets", u.name.text))
                    .at(bracket.span, "it is elementwise")
                    .help("only functions over axes name them in brackets, such as `sum[N](x)` and `softmax[C](x)`"),
            )),
        }
    }

    fn arity(
        &mut self,
        name: &str,
        operands: &[&'m Expr],
        wanted: usize,
        span: Span,
    ) -> Lowered<()> {
        if operands.len() == wanted {
            return Ok(());
        }
        let plural = if wanted == 1 { "" } else { "s" };
        let at = operands.get(wanted).map_or(span, |e| e.span);
        let label = if operands.len() > wanted {
            "one too many"
        } else {
            "more is needed here"
        };
        Err(self.error(
            Diagnostic::error(format!(
                "`{name}` takes {wanted} argument{plural}, {} given",
                operands.len()
            ))
            .at(at, label),
        ))
    }

    fn operands(&mut self, s: &mut Scope<'m>, operands: &[&'m Expr]) -> Lowered<Vec<At>> {
        let all: Vec<Lowered<At>> = operands.iter().map(|e| self.at(s, e)).collect();
        all.into_iter().collect()
    }

    fn elementwise(
        &mut self,
        s: &mut Scope<'m>,
        b: Builtin,
        name: &str,
        operands: &[&'m Expr],
        span: Span,
    ) -> Lowered<ExprId> {
        let wanted = match b {
            Builtin::Reals(_) | Builtin::Ints(_) | Builtin::Polygamma => 2,
            Builtin::Clamp => 3,
            _ => 1,
        };
        self.arity(name, operands, wanted, span)?;
        let at = self.operands(s, operands)?;
        match b {
            Builtin::Number(op) => {
                let (_, ids) = self.numbers(&at)?;
                Ok(self.p.raw(op, &ids))
            }
            Builtin::Real(op) | Builtin::Reals(op) => {
                let ids: Vec<Lowered<ExprId>> = at.iter().map(|&a| self.real(a)).collect();
                let ids: Vec<ExprId> = ids.into_iter().collect::<Lowered<_>>()?;
                Ok(self.p.raw(op, &ids))
            }
            Builtin::Ints(op) => {
                let why = format!("an operand of `{name}`");
                let ids: Vec<Lowered<ExprId>> = at.iter().map(|&a| self.int(a, &why)).collect();
                let ids: Vec<ExprId> = ids.into_iter().collect::<Lowered<_>>()?;
                if let Node::Int(0) = self.p.node(ids[1]) {
                    return Err(self.error(
                        Diagnostic::error(format!("`{name}` by 0")).at(at[1].span, "never defined"),
                    ));
                }
                Ok(self.p.raw(op, &ids))
            }
            Builtin::Polygamma => {
                let n = self.int(at[0], "the order of `polygamma`")?;
                let x = self.real(at[1])?;
                Ok(self.p.raw(Op::Polygamma, &[n, x]))
            }
            Builtin::Clamp => {
                let (_, ids) = self.numbers(&at)?;
                Ok(self.p.raw(Op::Clamp, &ids))
            }
            Builtin::Int => match self.p.ty(at[0].id) {
                Type::Int => Ok(at[0].id),
                Type::Real => Ok(self.p.raw(Op::ToInt, &[at[0].id])),
                Type::Bool => Err(self.error(
                    Diagnostic::error("`int` takes a number, this is a bool")
                        .at(at[0].span, "a bool")
                        .help("`if b then 1 else 0` makes a number of a bool"),
                )),
            },
            Builtin::StopGradient => match self.p.ty(at[0].id) {
                // Ints and bools carry no gradient anyway (rule R9).
                Type::Int | Type::Bool => Ok(at[0].id),
                Type::Real => Ok(self.p.raw(Op::StopGradient, &[at[0].id])),
            },
            Builtin::Reduce(_) | Builtin::Along(_) | Builtin::Size | Builtin::Grad => Err(Reported),
        }
    }

    /// `size(N)`, `size(*)`
    fn size(
        &mut self,
        s: &mut Scope<'m>,
        u: &'m Use,
        arguments: &'m [Argument],
        span: Span,
    ) -> Lowered<ExprId> {
        self.no_brackets(u)?;
        let axes = match arguments {
            [Argument::Star(star)] => self.star(s, *star)?,
            [
                Argument::Positional(Expr {
                    kind: ExprKind::Axis(name),
                    span,
                }),
            ] => vec![self.axis(s, name, *span)],
            _ => {
                return Err(self.error(
                    Diagnostic::error("`size` takes an axis")
                        .at(span, "not an axis")
                        .help("`size(N)` is the extent of axis N, `size(*)` the number of elements of untyped inputs"),
                ));
            }
        };
        let mut out = None;
        for axis in axes {
            let extent = self.p.extent_of(axis);
            let size = self.p.mk(Node::Size(extent));
            out = Some(match out {
                None => size,
                Some(product) => self.p.raw(Op::Mul, &[product, size]),
            });
        }
        Ok(match out {
            Some(size) => size,
            None => self.p.int(1),
        })
    }

    // ---- reductions (rule R5)

    fn call_reduction(
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

    fn reduction(
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
                let deviation = self.p.raw(Op::Sub, &[x, mean]);
                if r == Reduction::Var {
                    let two = self.p.real(2.0);
                    let square = self.p.raw(Op::Pow, &[deviation, two]);
                    return Ok(self.reduce(ReduceOp::Mean, axes, guard, square));
                }
                // As a norm, so that the derivative at 0 is 0.
                let norm = self.reduce(ReduceOp::Norm, axes, guard, deviation);
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

    fn reduction_operand(&mut self, op: ReduceOp, body: At) -> Lowered<ExprId> {
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

    // ---- grad (rule R10)

    fn grad(
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
    fn grad_operand(
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
    fn differentiated(
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
            for part in self.conjuncts(c) {
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

    fn conjuncts(&self, condition: ExprId) -> Vec<ExprId> {
        let (mut out, mut stack) = (vec![], vec![condition]);
        while let Some(c) = stack.pop() {
            match self.p.node(c) {
                Node::Op(Op::And, o) => stack.extend(o.iter().rev()),
                _ => out.push(c),
            }
        }
        out
    }

    fn can_fail(&self, e: ExprId) -> bool {
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
