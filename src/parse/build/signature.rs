//! Signatures, and the numbers in them.

use super::{Builder, Result, bug};
use crate::ast::*;
use crate::diagnostic::Diagnostic;
use crate::parse::Rule;
use pest::iterators::Pair;

impl Builder {
    /// signature = { open ~ inputs? ~ given? ~ options? ~ close }
    pub(super) fn signature(&mut self, pair: Pair<Rule>) -> Result<Signature> {
        let children = self.children(pair);
        let mut signature = Signature {
            inputs: vec![],
            given: vec![],
            options: vec![],
            span: children.span,
        };
        for part in children.pairs {
            match part.as_rule() {
                Rule::inputs => signature.inputs = self.inputs(part)?,
                Rule::given => {
                    let inputs = self
                        .children(part)
                        .find(Rule::inputs)
                        .ok_or_else(|| bug(children.span))?;
                    signature.given = self.inputs(inputs)?;
                }
                Rule::options => {
                    let mut options = self.children(part);
                    while let Some(option) = options.find(Rule::option) {
                        signature.options.push(self.option(option)?);
                    }
                }
                _ => {}
            }
        }
        Ok(signature)
    }

    /// inputs = { input ~ (comma ~ input)* ~ comma? }
    fn inputs(&mut self, pair: Pair<Rule>) -> Result<Vec<Input>> {
        let mut children = self.children(pair);
        let mut inputs = vec![];
        while let Some(input) = children.find(Rule::input) {
            inputs.push(self.input(input)?);
        }
        Ok(inputs)
    }

    /// input = { doc* ~ name ~ (colon ~ shape)? }
    fn input(&mut self, pair: Pair<Rule>) -> Result<Input> {
        let mut children = self.children(pair);
        let doc = children.docs();
        let name = self.name(children.expect(Rule::name)?);
        let shape = children
            .find(Rule::shape)
            .map(|pair| self.shape(pair))
            .transpose()?;
        let end = shape.as_ref().map_or(name.span, |shape| shape.span);
        Ok(Input {
            doc,
            span: name.span.to(end),
            name,
            shape,
        })
    }

    /// shape = { kind? ~ open_bracket ~ (dim ~ (comma ~ dim)* ~ comma?)? ~ close_bracket }
    fn shape(&mut self, pair: Pair<Rule>) -> Result<Shape> {
        let mut children = self.children(pair);
        let kind = children.take(Rule::kind).map(kind);
        let mut dims = vec![];
        while let Some(dim) = children.find(Rule::dim) {
            dims.push(self.dim(dim)?);
        }
        Ok(Shape {
            kind,
            dims,
            span: children.span,
        })
    }

    /// dim = { axis | number | star }
    fn dim(&mut self, pair: Pair<Rule>) -> Result<Dim> {
        let mut children = self.children(pair);
        let child = children.any()?;
        let kind = match child.as_rule() {
            Rule::axis => DimKind::Axis(child.as_str().into()),
            Rule::star => DimKind::Star,
            _ => match child.as_str().parse() {
                Ok(extent) => DimKind::Constant(extent),
                Err(_) => {
                    self.errors.push(
                        Diagnostic::error(format!("`{}` is not an extent", child.as_str()))
                            .at(children.span, "an axis, a whole number or `*` stands here"),
                    );
                    DimKind::Constant(0)
                }
            },
        };
        Ok(Dim {
            kind,
            span: children.span,
        })
    }

    /// option = { doc* ~ name ~ (colon ~ kind)? ~ (equals ~ literal)? ~ domain? }
    fn option(&mut self, pair: Pair<Rule>) -> Result<HyperParameter> {
        let mut children = self.children(pair);
        let doc = children.docs();
        let name = self.name(children.expect(Rule::name)?);
        let mut span = name.span;
        let mut option = HyperParameter {
            doc,
            name,
            kind: None,
            default: None,
            domain: None,
            span,
        };
        for part in children.pairs {
            span = span.to(self.span(&part));
            match part.as_rule() {
                Rule::kind => option.kind = Some(kind(part)),
                Rule::literal => option.default = Some(self.literal(part)?),
                Rule::domain => option.domain = Some(self.domain(part)?),
                _ => {}
            }
        }
        Ok(HyperParameter { span, ..option })
    }

    /// domain = { k_in ~ (open | open_bracket) ~ literal ~ comma ~ literal ~ (close | close_bracket) }
    fn domain(&mut self, pair: Pair<Rule>) -> Result<Domain> {
        let mut children = self.children(pair);
        children.expect(Rule::k_in)?;
        let low_included = children.any()?.as_rule() == Rule::open_bracket;
        let low = self.literal(children.expect(Rule::literal)?)?;
        children.expect(Rule::comma)?;
        let high = self.literal(children.expect(Rule::literal)?)?;
        let high_included = children.any()?.as_rule() == Rule::close_bracket;
        Ok(Domain {
            low,
            low_included,
            high,
            high_included,
            span: children.span,
        })
    }

    /// literal = { minus? ~ (number | constant) }
    pub(super) fn literal(&mut self, pair: Pair<Rule>) -> Result<Literal> {
        let mut children = self.children(pair);
        let negative = children.take(Rule::minus).is_some();
        let value = children.any()?;
        Ok(Literal {
            negative,
            value: self.constant(&value),
            span: children.span,
        })
    }

    /// number = @{ ... }, constant = @{ ... }
    pub(super) fn constant(&mut self, pair: &Pair<Rule>) -> Constant {
        let text = pair.as_str();
        match text {
            "true" => return Constant::True,
            "false" => return Constant::False,
            "inf" => return Constant::Inf,
            "pi" => return Constant::Pi,
            _ => {}
        }
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Constant::Int(text.parse().unwrap_or_else(|_| {
                self.errors.push(
                    Diagnostic::error(format!("`{text}` is too large for an int"))
                        .at(self.span(pair), format!("the largest is {}", i64::MAX))
                        .help(format!("with a point it is a real number: `{text}.0`")),
                );
                0
            }));
        }
        match text.parse::<f64>() {
            Ok(value) if value.is_finite() => Constant::Real(value),
            _ => {
                self.errors.push(
                    Diagnostic::error(format!("`{text}` is too large for a real number"))
                        .at(self.span(pair), format!("the largest is {:e}", f64::MAX))
                        .help("infinity is written `inf`"),
                );
                Constant::Real(0.0)
            }
        }
    }
}

fn kind(pair: Pair<Rule>) -> Kind {
    if pair.as_str() == "int" {
        Kind::Int
    } else {
        Kind::Bool
    }
}
