//! Calls: which function a name is (rule R8), and the built-in ones.

use super::builtins::{self, Builtin};
use super::expr::At;
use super::scope::Scope;
use super::templates::FunctionRef;
use super::{Lowered, Lowerer, Reported, listed};
use crate::ast::{self, Argument, Expr, ExprKind, Span, Use};
use crate::diagnostic::Diagnostic;
use crate::ir::{ExprId, Node, Op, Type};
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
        let imports = &self.modules.get(s.module).imports;
        let import = imports.iter().find(|(n, _)| n.text == name.text);
        if let Some(f) = self.own_function(s.module, &name.text) {
            // A loss cannot call itself, so an import and a built-in function keep its name.
            let loss = matches!(f, FunctionRef::Loss(_));
            let other = import.is_some() || builtins::find(&name.text).is_some();
            if !(loss && other) {
                return Ok(Callee::Function(f));
            }
        }
        if let Some(&(_, m)) = import {
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
                // `x.mean()`, `torch.log(x)`
                None if self.is_function(s, &name.text) && s.values.contains_key(&module.text) => {
                    out.help(format!(
                        "functions are no methods: `{}({})`",
                        name.text, module.text
                    ))
                }
                None if builtins::find(&name.text).is_some() => {
                    out.help(format!("`{}(...)` is built in", name.text))
                }
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

    pub(super) fn arity(
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

    pub(super) fn operands(
        &mut self,
        s: &mut Scope<'m>,
        operands: &[&'m Expr],
    ) -> Lowered<Vec<At>> {
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
}
