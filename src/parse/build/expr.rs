//! Expressions: the grammar keeps the levels of operators silent, so one pair holds operands and operators in a row,
//! and the functions here, one for each level, put them together again.

use super::{Builder, Children, Result, bug};
use crate::ast::*;
use crate::diagnostic::Diagnostic;
use crate::parse::Rule;
use pest::iterators::Pair;

type Level = fn(&mut Builder, &mut Children) -> Result<Expr>;

impl Builder {
    /// expr = { choice | either }
    pub(super) fn expr(&mut self, pair: Pair<Rule>) -> Result<Expr> {
        let mut children = self.children(pair);
        match children.take(Rule::choice) {
            Some(choice) => self.choice(choice),
            None => self.either(&mut children),
        }
    }

    /// sum_alone = { sum }
    pub(super) fn sum_alone(&mut self, pair: Pair<Rule>) -> Result<Expr> {
        let mut children = self.children(pair);
        self.sum(&mut children)
    }

    /// choice = { k_if ~ expr ~ k_then ~ expr ~ k_else ~ expr }
    fn choice(&mut self, pair: Pair<Rule>) -> Result<Expr> {
        let mut children = self.children(pair);
        let start = self.span(&children.expect(Rule::k_if)?);
        let condition = Box::new(self.expr(children.expect(Rule::expr)?)?);
        children.expect(Rule::k_then)?;
        let then = Box::new(self.expr(children.expect(Rule::expr)?)?);
        children.expect(Rule::k_else)?;
        let otherwise = Box::new(self.expr(children.expect(Rule::expr)?)?);
        let span = start.to(otherwise.span);
        Ok(Expr {
            kind: ExprKind::If {
                condition,
                then,
                otherwise,
            },
            span,
        })
    }

    /// either = _{ both ~ (k_or ~ both)* }
    fn either(&mut self, children: &mut Children) -> Result<Expr> {
        self.chain(children, Builder::both, |rule| {
            (rule == Rule::k_or).then_some(ChainOp::Or)
        })
    }

    /// both = _{ negated ~ (k_and ~ negated)* }
    fn both(&mut self, children: &mut Children) -> Result<Expr> {
        self.chain(children, Builder::negated, |rule| {
            (rule == Rule::k_and).then_some(ChainOp::And)
        })
    }

    /// negated = _{ k_not ~ negated | comparison }
    fn negated(&mut self, children: &mut Children) -> Result<Expr> {
        let Some(not) = children.take(Rule::k_not) else {
            return self.comparison(children);
        };
        let operand = Box::new(self.negated(children)?);
        Ok(Expr {
            span: self.span(&not).to(operand.span),
            kind: ExprKind::Not(operand),
        })
    }

    /// comparison = _{ sum ~ (compare ~ sum)? }
    fn comparison(&mut self, children: &mut Children) -> Result<Expr> {
        let left = self.sum(children)?;
        let Some(compare) = children.take(Rule::compare) else {
            return Ok(left);
        };
        let op = match compare.as_str() {
            "==" => CompareOp::Eq,
            "!=" => CompareOp::Ne,
            "<" => CompareOp::Lt,
            "<=" => CompareOp::Le,
            ">" => CompareOp::Gt,
            ">=" => CompareOp::Ge,
            _ => return Err(bug(self.span(&compare))),
        };
        let right = self.sum(children)?;
        let span = left.span.to(right.span);
        Ok(Expr {
            kind: ExprKind::Compare {
                op,
                left: Box::new(left),
                right: Box::new(right),
            },
            span,
        })
    }

    /// sum = _{ product ~ ((plus | minus) ~ product)* }
    fn sum(&mut self, children: &mut Children) -> Result<Expr> {
        self.chain(children, Builder::product, |rule| match rule {
            Rule::plus => Some(ChainOp::Add),
            Rule::minus => Some(ChainOp::Subtract),
            _ => None,
        })
    }

    /// product = _{ unary ~ ((times | over) ~ unary)* }
    fn product(&mut self, children: &mut Children) -> Result<Expr> {
        self.chain(children, Builder::unary, |rule| match rule {
            Rule::times => Some(ChainOp::Multiply),
            Rule::over => Some(ChainOp::Divide),
            _ => None,
        })
    }

    /// unary = _{ negative ~ unary | power }
    fn unary(&mut self, children: &mut Children) -> Result<Expr> {
        let Some(minus) = children.take(Rule::negative) else {
            return self.power(children);
        };
        let operand = Box::new(self.unary(children)?);
        Ok(Expr {
            span: self.span(&minus).to(operand.span),
            kind: ExprKind::Negate(operand),
        })
    }

    /// power = _{ atom ~ (raised ~ unary)? }
    fn power(&mut self, children: &mut Children) -> Result<Expr> {
        let base = self.atom(children)?;
        if children.take(Rule::raised).is_none() {
            return Ok(base);
        }
        let exponent = self.unary(children)?;
        let span = base.span.to(exponent.span);
        Ok(Expr {
            kind: ExprKind::Power {
                base: Box::new(base),
                exponent: Box::new(exponent),
            },
            span,
        })
    }

    /// Operands of one level with operators between them; a single operand is itself.
    fn chain(
        &mut self,
        children: &mut Children,
        operand: Level,
        operator: impl Fn(Rule) -> Option<ChainOp>,
    ) -> Result<Expr> {
        let first = operand(self, children)?;
        let mut rest = vec![];
        while let Some(op) = children.peek().and_then(&operator) {
            children.any()?;
            rest.push((op, operand(self, children)?));
        }
        let Some((_, last)) = rest.last() else {
            return Ok(first);
        };
        let span = first.span.to(last.span);
        Ok(Expr {
            kind: ExprKind::Chain {
                first: Box::new(first),
                rest,
            },
            span,
        })
    }

    /// atom = _{ number | constant | axis | use_of | group }
    fn atom(&mut self, children: &mut Children) -> Result<Expr> {
        let pair = children.any()?;
        let mut span = self.span(&pair);
        let kind = match pair.as_rule() {
            Rule::number | Rule::constant => ExprKind::Constant(self.constant(&pair)),
            Rule::axis => ExprKind::Axis(pair.as_str().into()),
            Rule::use_of => {
                // The pair reaches over the spaces before a bracket or argument list that did not come.
                if let Some(last) = pair.clone().into_inner().next_back() {
                    span.end = self.span(&last).end;
                }
                ExprKind::Use(Box::new(self.use_of(pair)?))
            }
            Rule::group => {
                let inner = self
                    .children(pair)
                    .find(Rule::expr)
                    .ok_or_else(|| bug(span))?;
                ExprKind::Paren(Box::new(self.expr(inner)?))
            }
            _ => return Err(bug(span)),
        };
        Ok(Expr { kind, span })
    }

    /// use_of = { (kind | name) ~ (dot ~ name)? ~ bracket? ~ arguments? }
    fn use_of(&mut self, pair: Pair<Rule>) -> Result<Use> {
        let mut children = self.children(pair);
        let first = children.any()?;
        let keyword = first.as_rule() == Rule::kind;
        let first = self.name(first);
        let (module, name) = match children.take(Rule::dot) {
            Some(_) => (Some(first.clone()), self.name(children.expect(Rule::name)?)),
            None => (None, first.clone()),
        };
        let bracket = children
            .take(Rule::bracket)
            .map(|pair| self.bracket(pair))
            .transpose()?;
        let arguments = children
            .take(Rule::arguments)
            .map(|pair| self.arguments(pair))
            .transpose()?;
        if keyword
            && (module.is_some()
                || bracket.is_some()
                || arguments.is_none()
                || &*first.text == "bool")
        {
            self.errors.push(keyword_as_value(&first));
        }
        Ok(Use {
            module,
            name,
            bracket,
            arguments,
        })
    }

    /// arguments = { open ~ (argument ~ (comma ~ argument)* ~ comma?)? ~ close }
    fn arguments(&mut self, pair: Pair<Rule>) -> Result<Vec<Argument>> {
        let mut arguments = vec![];
        for child in self.children(pair).pairs {
            match child.as_rule() {
                Rule::star => arguments.push(Argument::Star(self.span(&child))),
                Rule::expr => arguments.push(Argument::Positional(self.expr(child)?)),
                Rule::named => {
                    let mut named = self.children(child);
                    let name = self.name(named.expect(Rule::name)?);
                    named.expect(Rule::equals)?;
                    arguments.push(Argument::Named(name, self.expr(named.expect(Rule::expr)?)?));
                }
                _ => {}
            }
        }
        Ok(arguments)
    }

    /// bracket = { open_bracket ~ position ~ (comma ~ position)* ~ comma? ~ (guard | default)? ~ close_bracket }
    fn bracket(&mut self, pair: Pair<Rule>) -> Result<Bracket> {
        let children = self.children(pair);
        let mut bracket = Bracket {
            positions: vec![],
            guard: None,
            default: None,
            span: children.span,
        };
        for child in children.pairs {
            match child.as_rule() {
                Rule::star => bracket.positions.push(Position::Star(self.span(&child))),
                Rule::expr => bracket.positions.push(Position::Expr(self.expr(child)?)),
                Rule::guard => bracket.guard = Some(self.expr_after(Rule::k_if, child)?),
                Rule::default => bracket.default = Some(self.expr_after(Rule::k_else, child)?),
                _ => {}
            }
        }
        Ok(bracket)
    }

    /// guard = { k_if ~ expr }, default = { k_else ~ expr }
    fn expr_after(&mut self, opening: Rule, pair: Pair<Rule>) -> Result<Expr> {
        let mut children = self.children(pair);
        children.expect(opening)?;
        self.expr(children.expect(Rule::expr)?)
    }
}

fn keyword_as_value(name: &Name) -> Diagnostic {
    let error =
        Diagnostic::error(format!("`{}` is a keyword, not a value", name.text)).at(name.span, "");
    if &*name.text == "int" {
        error.help("`int(e)` takes the whole part of a real number")
    } else {
        error.help(
            "a bool becomes a number by `if b then 1 else 0`, trues are counted by `count[N](b)`",
        )
    }
}
