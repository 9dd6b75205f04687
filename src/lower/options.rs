//! Hyperparameters of functions that are called, by name.

use super::scope::Scope;
use super::templates::{FunctionRef, type_of};
use super::{Lowered, Lowerer, Reported, axis_names, listed};
use crate::ast::{self, Expr, Use};
use crate::diagnostic::Diagnostic;
use crate::ir::{ExprId, Node, Type};
use crate::suggest;
use rustc_hash::FxHashMap;

impl<'m> Lowerer<'m> {
    /// Hyperparameters by name, with defaults for those that are left out.
    pub(super) fn given_options(
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
        let value = super::parameters::literal_value(literal);
        match (ty, literal.value) {
            (Type::Int, ast::Constant::Int(n)) => self.p.int(if literal.negative {
                n.wrapping_neg()
            } else {
                n
            }),
            _ => self.p.real(value),
        }
    }

    pub(super) fn option_value(
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
            let d = super::parameters::domain_of(domain);
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
}
