//! What stands in the signature of a loss: its inputs and hyperparameters.

use super::expr::noun;
use super::extents::Known;
use super::scope::{Bare, Binding, MAX_EXTENT, Scope, Value, View};
use super::templates::{Parameter, type_of};
use super::{Lowerer, walk};
use crate::ast::{self, Constant, DimKind};
use crate::diagnostic::Diagnostic;
use crate::ir::{
    AxisId, Dim, Domain, Gradient, Input, Node, Param, ParamId, Tensor, TensorKind, Type,
};

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
    // ---- inputs

    pub(super) fn input(
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
        let extent = self.new_extent("*".into(), Some(Known::Star));
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
                    if *n > MAX_EXTENT {
                        let title = format!(
                            "`{}` has a position of {n} elements, which no memory holds",
                            p.name.text
                        );
                        self.error(Diagnostic::error(title).at(dim.span, "too large"));
                    }
                    let extent = self.new_extent(n.to_string().into(), Some(Known::Constant(*n)));
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

    pub(super) fn hyperparameter(&mut self, s: &mut Scope<'m>, o: &'m ast::HyperParameter) {
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
        } else if domain.low == domain.high && !domain.contains(domain.low) {
            self.error(
                Diagnostic::error(format!("the domain of `{name}` is empty"))
                    .at(written.span, "ends where it begins")
                    .help("`(` and `)` leave the ends out, `[` and `]` take them in"),
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
}
