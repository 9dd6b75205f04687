//! Example lines: what they set, and the value they expect.

use super::scope::Scope;
use super::templates::{FunctionRef, Parameter, type_of};
use super::{Lowered, Lowerer, Reported, listed};
use crate::array::{Array, Data};
use crate::ast::{self, Constant, Expr, Span, Value};
use crate::diagnostic::Diagnostic;
use crate::interp::scalar::{self, Scalar};
use crate::ir::{ExprId, Node, Type};
use crate::modules::{ModuleId, Modules};
use crate::stack::with_stack;
use crate::suggest;
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// One `example` line.
#[derive(Debug, Clone)]
pub struct Example {
    /// The inputs, in the order of the line.
    pub data: Vec<(Arc<str>, Array)>,
    /// The hyperparameters that it sets.
    pub set: Vec<(Arc<str>, f64)>,
    /// What the loss is to be.
    pub expected: f64,
    pub doc: Arc<str>,
    /// The line.
    pub span: Span,
    /// What stands right of `==`.
    pub expected_span: Span,
}

/// The examples of a file, checked against its loss.
///
/// # Errors
/// Every mistake in an example: unknown or missing names, ragged lists, an expected value that is no constant.
pub fn examples(modules: &Modules, module: ModuleId) -> Result<Vec<Example>, Vec<Diagnostic>> {
    with_stack(|| {
        let mut lowerer = Lowerer::new(modules);
        let found = lowerer.examples(module);
        if lowerer.diagnostics.is_empty() {
            Ok(found)
        } else {
            Err(lowerer.sorted())
        }
    })
}

impl<'m> Lowerer<'m> {
    fn examples(&mut self, module: ModuleId) -> Vec<Example> {
        let ast = &self.modules.get(module).ast;
        let Some(loss) = &ast.loss else {
            for e in &ast.examples {
                let title = "an example in a file without a loss";
                self.error(
                    Diagnostic::error(title).at(e.loss.span, "there is nothing to evaluate"),
                );
            }
            return vec![];
        };
        let parameters = self.parameters(FunctionRef::Loss(module));
        let options = loss.signature.as_ref().map_or(&[][..], |s| &s.options);
        let mut scope = self.scope(module, "an example".into(), super::templates::no_bindings());
        let mut out = vec![];
        for e in &ast.examples {
            if e.loss.text != loss.name.text {
                self.error(
                    Diagnostic::error(format!("there is no loss `{}`", e.loss.text))
                        .at(e.loss.span, "unknown loss")
                        .help(format!("this file declares `{}`", loss.name.text)),
                );
                continue;
            }
            out.extend(self.example(&mut scope, e, &parameters, options));
        }
        out
    }

    fn example(
        &mut self,
        scope: &mut Scope<'m>,
        e: &'m ast::Example,
        parameters: &[Parameter<'m>],
        options: &'m [ast::HyperParameter],
    ) -> Lowered<Example> {
        let (mut data, mut set) = (vec![], vec![]);
        let mut failed = false;
        let mut seen: Vec<&ast::Name> = vec![];
        for (name, value) in &e.settings {
            if let Some(first) = seen.iter().find(|n| n.text == name.text) {
                let title = format!("`{}` is set twice", name.text);
                self.error(
                    Diagnostic::error(title)
                        .at(name.span, "again here")
                        .at(first.span, "first here"),
                );
                failed = true;
                continue;
            }
            seen.push(name);
            if let Some(p) = parameters.iter().find(|p| p.name.text == name.text) {
                match self.data(p, value) {
                    Ok(array) => data.push((name.text.clone(), array)),
                    Err(Reported) => failed = true,
                }
            } else if let Some(o) = options.iter().find(|o| o.name.text == name.text) {
                match self.setting(o, value) {
                    Ok(x) => set.push((name.text.clone(), x)),
                    Err(Reported) => failed = true,
                }
            } else {
                let known = parameters
                    .iter()
                    .map(|p| &*p.name.text)
                    .chain(options.iter().map(|o| &*o.name.text));
                let out = Diagnostic::error(format!(
                    "`{}` has no input or hyperparameter `{}`",
                    e.loss.text, name.text
                ))
                .at(name.span, "unknown name");
                self.error(match suggest::closest(&name.text, known) {
                    Some(near) => out.help(format!("did you mean `{near}`?")),
                    None => out,
                });
                failed = true;
            }
        }
        let given = |name: &str| seen.iter().any(|n| *n.text == *name);
        let inputs = parameters.iter().map(|p| &*p.name.text);
        let needed = options
            .iter()
            .filter(|o| o.default.is_none())
            .map(|o| &*o.name.text);
        let missing: Vec<&str> = inputs.chain(needed).filter(|n| !given(n)).collect();
        if !missing.is_empty() {
            self.error(
                Diagnostic::error(format!("the example does not set {}", listed(&missing)))
                    .at(e.loss.span, "here"),
            );
            failed = true;
        }
        let expected = self.expected(scope, &e.expected);
        if failed {
            return Err(Reported);
        }
        Ok(Example {
            data,
            set,
            expected: expected?,
            doc: e.doc.as_str().into(),
            span: e.span,
            expected_span: e.expected.span,
        })
    }

    // ---- values

    fn data(&mut self, p: &Parameter<'m>, value: &'m Value) -> Lowered<Array> {
        let mut shape: Vec<Option<usize>> = vec![];
        let mut leaves = vec![];
        self.shape(value, 0, &mut shape, &mut leaves)?;
        let shape: Vec<usize> = shape.into_iter().map(|n| n.unwrap_or(0)).collect();
        let name = &p.name.text;
        if let Some(dims) = p.dims
            && shape.len() != dims.len()
            && !(leaves.is_empty() && shape.len() < dims.len())
        {
            return Err(self.error(
                Diagnostic::error(format!(
                    "`{name}` has {}, the example gives {}",
                    super::axes_count(dims.len()),
                    shape.len()
                ))
                .at(value_span(value), "nested as deep as it has axes"),
            ));
        }
        let mut shape = shape;
        if let Some(dims) = p.dims {
            shape.resize(dims.len(), 0);
        }
        let mut reals = vec![];
        for leaf in leaves {
            let x = super::parameters::literal_value(leaf);
            let bool_literal = matches!(leaf.value, Constant::True | Constant::False);
            let wrong = match p.ty {
                Type::Real => bool_literal,
                Type::Int => bool_literal || x.fract() != 0.0 || x.abs() > 9e15,
                Type::Bool => !bool_literal && x != 0.0 && x != 1.0,
            };
            if wrong {
                let noun = super::expr::noun(p.ty);
                let title = format!("`{name}` is {noun}, this is not");
                return Err(self
                    .error(Diagnostic::error(title).at(leaf.span, format!("{noun} is expected"))));
            }
            reals.push((x, leaf));
        }
        let data = match p.ty {
            Type::Real => Data::Real(reals.iter().map(|r| r.0).collect()),
            Type::Int => Data::Int(
                reals
                    .iter()
                    .map(|(x, l)| int_value(l).unwrap_or(*x as i64))
                    .collect(),
            ),
            Type::Bool => Data::Bool(reals.iter().map(|r| r.0 != 0.0).collect()),
        };
        Ok(Array { shape, data })
    }

    /// The shape of nested lists, which must be rectangular. A `None` is a level where every list was empty.
    fn shape(
        &mut self,
        value: &'m Value,
        depth: usize,
        shape: &mut Vec<Option<usize>>,
        leaves: &mut Vec<&'m ast::Literal>,
    ) -> Lowered<()> {
        match value {
            Value::Literal(literal) => {
                if shape.len() > depth {
                    let title = "a number where the other elements are lists";
                    return Err(self.error(Diagnostic::error(title).at(literal.span, "a number")));
                }
                leaves.push(literal);
            }
            Value::List(list, span) => {
                if shape.len() == depth {
                    if !leaves.is_empty() {
                        let title = "a list where the other elements are numbers";
                        return Err(self.error(Diagnostic::error(title).at(*span, "a list")));
                    }
                    shape.push(None);
                }
                match shape[depth] {
                    Some(n) if n != list.len() => {
                        return Err(self.error(
                            Diagnostic::error("the lists have different lengths")
                                .at(*span, format!("{} here, {n} before", list.len())),
                        ));
                    }
                    _ => shape[depth] = Some(list.len()),
                }
                for v in list {
                    self.shape(v, depth + 1, shape, leaves)?;
                }
            }
        }
        Ok(())
    }

    fn setting(&mut self, o: &'m ast::HyperParameter, value: &'m Value) -> Lowered<f64> {
        let Value::Literal(literal) = value else {
            let title = format!("the hyperparameter `{}` is one number", o.name.text);
            return Err(self.error(Diagnostic::error(title).at(value_span(value), "a list")));
        };
        if type_of(o.kind) == Type::Int && !matches!(literal.value, Constant::Int(_)) {
            let title = format!("the hyperparameter `{}` is an int", o.name.text);
            return Err(self.error(Diagnostic::error(title).at(literal.span, "not an int")));
        }
        let x = super::parameters::literal_value(literal);
        if let Some(domain) = &o.domain
            && !super::parameters::domain_of(domain).contains(x)
        {
            return Err(self.error(
                Diagnostic::error(format!("`{}` is outside its domain", o.name.text))
                    .at(literal.span, "outside")
                    .at(domain.span, "the domain"),
            ));
        }
        Ok(x)
    }

    // ---- the expected value

    fn expected(&mut self, scope: &mut Scope<'m>, e: &'m Expr) -> Lowered<f64> {
        let id = self.expr(scope, e)?;
        let id = self.real(super::expr::At { id, span: e.span })?;
        match self.constant_value(id) {
            Some(value) => Ok(value.real()),
            None => Err(self.error(
                Diagnostic::error("the expected value of an example is a constant")
                    .at(e.span, "not a constant")
                    .help("it is made of numbers, operators and elementwise functions"),
            )),
        }
    }

    pub(super) fn constant_value(&self, root: ExprId) -> Option<Scalar> {
        let mut values: FxHashMap<ExprId, Option<Scalar>> = FxHashMap::default();
        for e in self.p.reachable(&[root]) {
            let of = |id: ExprId| values.get(&id).copied().flatten();
            let value = match self.p.node(e) {
                Node::Real(x) => Some(Scalar::Real(x.0)),
                Node::Int(n) => Some(Scalar::Int(*n)),
                Node::Bool(b) => Some(Scalar::Bool(*b)),
                Node::If {
                    condition,
                    then,
                    otherwise,
                } => match of(*condition)? {
                    Scalar::Bool(true) => of(*then),
                    _ => of(*otherwise),
                },
                Node::Op(op, operands) => operands
                    .iter()
                    .map(|&o| of(o))
                    .collect::<Option<Vec<_>>>()
                    .and_then(|v| scalar::apply(*op, &v)),
                Node::Axis(_)
                | Node::Size(_)
                | Node::Param(_)
                | Node::Read { .. }
                | Node::Reduce { .. } => None,
            };
            values.insert(e, value);
        }
        values.get(&root).copied().flatten()
    }
}

fn int_value(literal: &ast::Literal) -> Option<i64> {
    match literal.value {
        Constant::Int(n) => Some(if literal.negative {
            n.wrapping_neg()
        } else {
            n
        }),
        _ => None,
    }
}

fn value_span(value: &Value) -> Span {
    match value {
        Value::Literal(l) => l.span,
        Value::List(_, span) => *span,
    }
}
