//! Expressions as layouts.

use super::Formatter;
use super::layout::{Doc, concat, fill, group, hang, if_broken, nest, text};
use crate::ast::*;

/// Where an expression begins.
#[derive(Clone, Copy, PartialEq)]
pub enum Place {
    /// On a line of its own, if it needs more than one: its operators stand at the line's indentation and its operands
    /// two columns further right.
    Fresh,
    /// Behind something: its operators stand two columns left of its first operand.
    Behind,
}

impl Formatter<'_> {
    pub fn expr(&mut self, expr: &Expr, place: Place) -> Doc {
        match &expr.kind {
            ExprKind::Constant(_) => {
                let text = self.text(expr.span);
                self.source.token(text)
            }
            ExprKind::Axis(axis) => self.source.token(axis),
            ExprKind::Use(read) => self.read(read),
            ExprKind::If { .. } => self.choice(expr),
            ExprKind::Not(operand) => concat(vec![
                self.source.token("not"),
                text(" "),
                self.expr(operand, Place::Behind),
            ]),
            ExprKind::Negate(operand) => concat(vec![
                self.source.token("-"),
                self.expr(operand, Place::Behind),
            ]),
            ExprKind::Compare { op, left, right } => {
                let left = self.expr(left, Place::Behind);
                let line = self.source.line();
                let op = self.source.token(op.symbol());
                let right = self.expr(right, Place::Behind);
                group(concat(vec![
                    left,
                    nest(2, concat(vec![line, op, text(" "), right])),
                ]))
            }
            ExprKind::Power { base, exponent } => concat(vec![
                self.expr(base, Place::Behind),
                self.source.token("^"),
                self.expr(exponent, Place::Behind),
            ]),
            ExprKind::Chain { first, rest } => self.chain(first, rest, place),
            ExprKind::Paren(inner) => {
                let open = self.source.token("(");
                let inner = self.expr(inner, Place::Behind);
                concat(vec![open, inner, self.source.token(")")])
            }
        }
    }

    /// `a + b - c`, broken before the operators. Behind something, those of a sum stand left of its operands, those of
    /// a product, which may be an operand of a sum, further right, and `and` and `or`, too long for either, below the
    /// first operand.
    fn chain(&mut self, first: &Expr, rest: &[(ChainOp, Expr)], place: Place) -> Doc {
        let (left, right) = match rest.first().map(|(op, _)| *op) {
            Some(ChainOp::Add | ChainOp::Subtract) => (2, 0),
            Some(ChainOp::Multiply | ChainOp::Divide) => (0, 2),
            Some(ChainOp::Or | ChainOp::And) | None => (0, 0),
        };
        let mut docs = vec![];
        if place == Place::Fresh && left + right > 0 {
            docs.push(if_broken("  "));
        }
        docs.push(nest(2, self.expr(first, Place::Behind)));
        for (op, operand) in rest {
            docs.push(self.source.line());
            docs.push(self.source.token(op.symbol()));
            docs.push(text(" "));
            docs.push(nest(2, self.expr(operand, Place::Behind)));
        }
        let chain = group(concat(docs));
        match place {
            Place::Fresh => chain,
            Place::Behind => hang(left, nest(right, chain)),
        }
    }

    /// `if a then b else if c then d else e`: all on one line, or a line for each `else`.
    fn choice(&mut self, expr: &Expr) -> Doc {
        let mut docs = vec![];
        let mut expr = expr;
        while let ExprKind::If {
            condition,
            then,
            otherwise,
        } = &expr.kind
        {
            let keyword = self.source.token("if");
            let condition = self.expr(condition, Place::Behind);
            let then_keyword = self.source.token("then");
            let line = self.source.line();
            let then = self.expr(then, Place::Fresh);
            docs.push(group(concat(vec![
                keyword,
                text(" "),
                condition,
                text(" "),
                then_keyword,
                nest(2, concat(vec![line, then])),
            ])));
            docs.push(self.source.line());
            docs.push(self.source.token("else"));
            docs.push(text(" "));
            expr = otherwise;
        }
        docs.push(self.expr(expr, Place::Behind));
        hang(0, group(concat(docs)))
    }

    /// `module.name[bracket](arguments)`
    fn read(&mut self, read: &Use) -> Doc {
        let mut docs = vec![];
        if let Some(module) = &read.module {
            docs.push(self.source.token(&module.text));
            docs.push(self.source.token("."));
        }
        docs.push(self.source.token(&read.name.text));
        if let Some(bracket) = &read.bracket {
            docs.push(self.bracket(bracket));
        }
        if let Some(arguments) = &read.arguments {
            docs.push(self.arguments(arguments));
        }
        concat(docs)
    }

    fn bracket(&mut self, bracket: &Bracket) -> Doc {
        let open = self.source.token("[");
        let mut docs = vec![];
        for (i, position) in bracket.positions.iter().enumerate() {
            if i > 0 {
                docs.push(self.source.token(","));
                docs.push(self.source.line());
            }
            docs.push(match position {
                Position::Star(_) => self.source.token("*"),
                Position::Expr(expr) => self.expr(expr, Place::Behind),
            });
        }
        for (keyword, clause) in [("if", &bracket.guard), ("else", &bracket.default)] {
            if let Some(clause) = clause {
                docs.push(self.source.line());
                docs.push(self.source.token(keyword));
                docs.push(text(" "));
                docs.push(self.expr(clause, Place::Behind));
            }
        }
        let close = self.source.token("]");
        group(concat(vec![open, hang(0, concat(docs)), close]))
    }

    /// `(a, b, c = d)`: all on one line, or each argument on its own.
    fn arguments(&mut self, arguments: &[Argument]) -> Doc {
        let open = self.source.token("(");
        let mut docs = vec![];
        for (i, argument) in arguments.iter().enumerate() {
            if i > 0 {
                docs.push(self.source.token(","));
                docs.push(self.source.line());
            } else {
                docs.push(self.source.soft_line());
            }
            docs.push(match argument {
                Argument::Star(_) => self.source.token("*"),
                Argument::Positional(expr) => self.expr(expr, Place::Fresh),
                Argument::Named(name, value) => {
                    let name = self.source.token(&name.text);
                    let equals = self.source.token("=");
                    concat(vec![
                        name,
                        text(" "),
                        equals,
                        text(" "),
                        self.expr(value, Place::Behind),
                    ])
                }
            });
        }
        let close = self.source.token(")");
        group(concat(vec![open, nest(2, concat(docs)), close]))
    }

    /// A number or list in the data of an example.
    pub fn value(&mut self, value: &Value) -> Doc {
        match value {
            Value::Literal(literal) => self.literal(literal),
            Value::List(values, _) => {
                let open = self.source.token("[");
                let mut pieces = vec![];
                for (i, value) in values.iter().enumerate() {
                    let value = self.value(value);
                    pieces.push(self.piece(vec![value], i + 1 < values.len()));
                }
                let close = self.source.token("]");
                concat(vec![open, hang(0, fill(pieces)), close])
            }
        }
    }

    /// A piece of a fill, with its comma and the comments behind that.
    pub fn piece(&mut self, mut docs: Vec<Doc>, comma: bool) -> Doc {
        if comma {
            docs.push(self.source.token(","));
            docs.push(self.source.tail());
        }
        concat(docs)
    }

    pub fn literal(&mut self, literal: &Literal) -> Doc {
        let mut docs = vec![];
        if literal.negative {
            docs.push(self.source.token("-"));
        }
        let text = self.text(literal.span);
        docs.push(self.source.token(number(text)));
        concat(docs)
    }
}

/// The number or constant of a literal, without its sign.
fn number(literal: &str) -> &str {
    let start = literal
        .rfind(|c: char| c.is_whitespace() || c == '\n')
        .map_or(0, |space| space + 1);
    let last = &literal[start..];
    last.strip_prefix('-').unwrap_or(last)
}
