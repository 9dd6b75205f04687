//! The loss of a file as the root of a program: its inputs, hyperparameters, value and stated gradients.

use super::scope::Scope;
use super::templates::FunctionRef;
use super::{Lowered, Lowerer, Reported, axis_names, lints, listed};
use crate::ast;
use crate::diagnostic::Diagnostic;
use crate::ir::{Body, ExprId, Node, Op, Type};
use crate::modules::ModuleId;

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

    fn unreduced(&mut self, loss: &'m ast::Loss, value: ExprId) -> Lowered<()> {
        let free = self.p.free(value).to_vec();
        if free.is_empty() {
            return Ok(());
        }
        let names = axis_names(&self.p, &free).join(", ");
        let part = self.open_part(value);
        let what = if names == "*" && part == value {
            "the value has one number for each element".into()
        } else if names == "*" {
            "this has one number for each element".into()
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
        let span = self.p.span(part).filter(|_| part != value);
        let help = match self.p.node(part) {
            Node::Read { tensor, .. }
                if part != value && loss.signature.is_none() && self.p.inputs.contains(tensor) =>
            {
                let (name, loss) = (&self.p.get(*tensor).name, &loss.name.text);
                format!(
                    "without a signature `{name}` is an array; a number is a hyperparameter: `loss {loss}(yhat | y; {name})`"
                )
            }
            _ => format!("a loss is one number: reduce it, for example by `{example}`"),
        };
        let error = Diagnostic::error(format!("unreduced axes: {names}"))
            .at(span.unwrap_or(loss.value.span), what)
            .help(help);
        Err(self.error(error))
    }

    /// The term or factor of `value` that has its free axes, where the others are reduced.
    fn open_part(&self, value: ExprId) -> ExprId {
        let (mut part, mut e) = (value, value);
        while let Node::Op(Op::Add | Op::Sub | Op::Mul | Op::Div | Op::Neg | Op::ToReal, o) =
            self.p.node(e)
        {
            let (open, closed): (Vec<ExprId>, Vec<ExprId>) =
                o.iter().partition(|&&x| !self.p.free(x).is_empty());
            let &[only] = &open[..] else {
                break;
            };
            let reduced =
                |&n: &ExprId| matches!(self.p.node(n), Node::Reduce { .. } | Node::Read { .. });
            e = only;
            if self.p.reachable(&closed).iter().any(reduced) {
                part = e;
            }
        }
        part
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
}
