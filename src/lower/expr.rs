//! Expressions: operators, reads, and the types of their operands (rule R9).

use super::scope::Scope;
use super::{Lowered, Lowerer, RED_ZONE, Reported, SEGMENT};
use crate::ast::{ChainOp, CompareOp, Constant, Expr, ExprKind, Span};
use crate::diagnostic::Diagnostic;
use crate::ir::{ExprId, Node, Op, Type};

/// A lowered operand and where it stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct At {
    pub id: ExprId,
    pub span: Span,
}

/// A type in words.
pub(super) fn noun(ty: Type) -> &'static str {
    match ty {
        Type::Real => "a real",
        Type::Int => "an int",
        Type::Bool => "a bool",
    }
}

impl<'m> Lowerer<'m> {
    pub(super) fn expr(&mut self, s: &mut Scope<'m>, e: &'m Expr) -> Lowered<ExprId> {
        if self.too_large {
            return Err(Reported);
        }
        let id = stacker::maybe_grow(RED_ZONE, SEGMENT, || self.expr_here(s, e))?;
        self.p.locate(id, e.span);
        Ok(id)
    }

    pub(super) fn at(&mut self, s: &mut Scope<'m>, e: &'m Expr) -> Lowered<At> {
        Ok(At {
            id: self.expr(s, e)?,
            span: e.span,
        })
    }

    fn expr_here(&mut self, s: &mut Scope<'m>, e: &'m Expr) -> Lowered<ExprId> {
        match &e.kind {
            ExprKind::Constant(c) => Ok(self.constant(*c)),
            ExprKind::Axis(name) => {
                let axis = self.axis(s, name, e.span);
                Ok(self.p.index_of(axis))
            }
            ExprKind::Use(u) => match &u.arguments {
                None => self.read(s, u, e.span),
                Some(arguments) => self.call(s, u, arguments, e.span),
            },
            ExprKind::If {
                condition,
                then,
                otherwise,
            } => self.choice(s, condition, then, otherwise),
            ExprKind::Not(inner) => {
                let inner = self.at(s, inner)?;
                let inner = self.boolean(inner)?;
                Ok(self.p.raw(Op::Not, &[inner]))
            }
            ExprKind::Negate(inner) => self.negate(s, inner),
            ExprKind::Compare { op, left, right } => self.compare(s, *op, left, right),
            ExprKind::Power { base, exponent } => {
                let (base, exponent) = (self.at(s, base), self.at(s, exponent));
                let (base, exponent) = (self.real(base?), self.real(exponent?));
                Ok(self.p.raw(Op::Pow, &[base?, exponent?]))
            }
            ExprKind::Chain { first, rest } => self.chain(s, first, rest),
            ExprKind::Paren(inner) => self.expr(s, inner),
        }
    }

    pub(super) fn constant(&mut self, c: Constant) -> ExprId {
        match c {
            Constant::Int(n) => self.p.int(n),
            Constant::Real(x) => self.p.real(x),
            Constant::True => self.p.bool(true),
            Constant::False => self.p.bool(false),
            Constant::Inf => self.p.real(f64::INFINITY),
            Constant::Pi => self.p.real(std::f64::consts::PI),
        }
    }

    fn negate(&mut self, s: &mut Scope<'m>, inner: &'m Expr) -> Lowered<ExprId> {
        // A literal keeps its sign, so that `-1` and `-inf` are numbers.
        match inner.kind {
            ExprKind::Constant(Constant::Int(n)) => return Ok(self.p.int(n.wrapping_neg())),
            ExprKind::Constant(Constant::Real(x)) => return Ok(self.p.real(-x)),
            ExprKind::Constant(Constant::Inf) => return Ok(self.p.real(f64::NEG_INFINITY)),
            ExprKind::Constant(Constant::Pi) => return Ok(self.p.real(-std::f64::consts::PI)),
            _ => {}
        }
        let inner = self.at(s, inner)?;
        let (_, operands) = self.numbers(&[inner])?;
        Ok(self.p.raw(Op::Neg, &operands))
    }

    fn choice(
        &mut self,
        s: &mut Scope<'m>,
        condition: &'m Expr,
        then: &'m Expr,
        otherwise: &'m Expr,
    ) -> Lowered<ExprId> {
        let condition = self.at(s, condition).and_then(|c| self.boolean(c));
        let depth = self.path.len();
        self.path.extend(condition.ok());
        let then = self.at(s, then);
        self.path.truncate(depth);
        if let Ok(c) = condition {
            let not = self.p.raw(Op::Not, &[c]);
            self.path.push(not);
        }
        let otherwise = self.at(s, otherwise);
        self.path.truncate(depth);
        let (condition, a, b) = (condition?, then?, otherwise?);
        let (then, otherwise) = self.alike(a, b, "the branches of an `if`")?;
        Ok(self.p.mk(Node::If {
            condition,
            then,
            otherwise,
        }))
    }

    /// Two operands of one type: both numbers or both bools.
    pub(super) fn alike(&mut self, a: At, b: At, what: &str) -> Lowered<(ExprId, ExprId)> {
        match (self.p.ty(a.id), self.p.ty(b.id)) {
            (x, y) if x == y => Ok((a.id, b.id)),
            (Type::Bool, other) | (other, Type::Bool) => {
                let (bool_at, number_at) = if self.p.ty(a.id) == Type::Bool {
                    (a, b)
                } else {
                    (b, a)
                };
                Err(self.error(
                    Diagnostic::error(format!("{what} have different types"))
                        .at(number_at.span, format!("this is {}", noun(other)))
                        .at(bool_at.span, "this is a bool")
                        .help("`if b then 1 else 0` makes a number of a bool"),
                ))
            }
            _ => Ok((self.real(a)?, self.real(b)?)),
        }
    }

    fn compare(
        &mut self,
        s: &mut Scope<'m>,
        op: CompareOp,
        left: &'m Expr,
        right: &'m Expr,
    ) -> Lowered<ExprId> {
        let (left, right) = (self.at(s, left), self.at(s, right));
        let (left, right) = (left?, right?);
        let op = match op {
            CompareOp::Eq => Op::Eq,
            CompareOp::Ne => Op::Ne,
            CompareOp::Lt => Op::Lt,
            CompareOp::Le => Op::Le,
            CompareOp::Gt => Op::Gt,
            CompareOp::Ge => Op::Ge,
        };
        let bools = self.p.ty(left.id) == Type::Bool && self.p.ty(right.id) == Type::Bool;
        if bools && !matches!(op, Op::Eq | Op::Ne) {
            return Err(self.error(
                Diagnostic::error(format!("`{}` compares numbers", op.name()))
                    .at(left.span.to(right.span), "these are bools")
                    .help("bools are compared by `==` and `!=` only"),
            ));
        }
        let (a, b) = self.alike(left, right, "the sides of a comparison")?;
        Ok(self.p.raw(op, &[a, b]))
    }

    fn chain(
        &mut self,
        s: &mut Scope<'m>,
        first: &'m Expr,
        rest: &'m [(ChainOp, Expr)],
    ) -> Lowered<ExprId> {
        let depth = self.path.len();
        let mut left = self.at(s, first);
        for (op, e) in rest {
            if let Ok(l) = left
                && self.p.ty(l.id) == Type::Bool
            {
                match op {
                    ChainOp::And => self.path.push(l.id),
                    ChainOp::Or => {
                        let not = self.p.raw(Op::Not, &[l.id]);
                        self.path.push(not);
                    }
                    ChainOp::Add | ChainOp::Subtract | ChainOp::Multiply | ChainOp::Divide => {}
                }
            }
            let right = self.at(s, e);
            left = match (left, right) {
                (Ok(l), Ok(r)) => self.binary(*op, l, r).map(|id| At {
                    id,
                    span: l.span.to(r.span),
                }),
                _ => Err(Reported),
            };
            if let Ok(l) = left {
                self.p.locate(l.id, l.span);
            }
        }
        self.path.truncate(depth);
        let left = left?;
        self.limit(left.span)?;
        Ok(left.id)
    }

    fn binary(&mut self, op: ChainOp, left: At, right: At) -> Lowered<ExprId> {
        let (op, operands) = match op {
            ChainOp::Or | ChainOp::And => {
                let (a, b) = (self.boolean(left), self.boolean(right));
                (
                    if op == ChainOp::Or { Op::Or } else { Op::And },
                    vec![a?, b?],
                )
            }
            ChainOp::Add => (Op::Add, self.numbers(&[left, right])?.1),
            ChainOp::Subtract => (Op::Sub, self.numbers(&[left, right])?.1),
            ChainOp::Multiply => (Op::Mul, self.numbers(&[left, right])?.1),
            ChainOp::Divide => {
                let (a, b) = (self.real(left), self.real(right));
                (Op::Div, vec![a?, b?])
            }
        };
        Ok(self.p.raw(op, &operands))
    }

    // ---- types

    pub(super) fn boolean(&mut self, e: At) -> Lowered<ExprId> {
        match self.p.ty(e.id) {
            Type::Bool => Ok(e.id),
            ty @ (Type::Real | Type::Int) => {
                let help = match self.text(e.span) {
                    "True" => "an axis begins with a capital letter, the constant is `true`".into(),
                    "False" => {
                        "an axis begins with a capital letter, the constant is `false`".into()
                    }
                    _ => format!("compare it: `{} != 0`", self.short_text(e.span, "x")),
                };
                Err(self.error(
                    Diagnostic::error(format!("a bool is expected, this is {}", noun(ty)))
                        .at(e.span, noun(ty))
                        .help(help),
                ))
            }
        }
    }

    /// A real; an int becomes one.
    pub(super) fn real(&mut self, e: At) -> Lowered<ExprId> {
        match self.p.ty(e.id) {
            Type::Real => Ok(e.id),
            Type::Int => Ok(self.int_to_real(e.id)),
            Type::Bool => Err(self.not_a_number(e.span)),
        }
    }

    /// A literal becomes a real literal, also as a branch; anything else is converted.
    fn int_to_real(&mut self, e: ExprId) -> ExprId {
        match *self.p.node(e) {
            Node::Int(n) => self.p.real(n as f64),
            Node::If {
                condition,
                then,
                otherwise,
            } => {
                let literal = |s: &Self, e| matches!(s.p.node(e), Node::Int(_) | Node::If { .. });
                if !literal(self, then) && !literal(self, otherwise) {
                    return self.p.raw(Op::ToReal, &[e]);
                }
                let then = self.int_to_real(then);
                let otherwise = self.int_to_real(otherwise);
                self.p.mk(Node::If {
                    condition,
                    then,
                    otherwise,
                })
            }
            _ => self.p.raw(Op::ToReal, &[e]),
        }
    }

    pub(super) fn int(&mut self, e: At, why: &str) -> Lowered<ExprId> {
        match self.p.ty(e.id) {
            Type::Int => Ok(e.id),
            ty @ (Type::Real | Type::Bool) => {
                let out = Diagnostic::error(format!("{why} is an int, this is {}", noun(ty)))
                    .at(e.span, noun(ty));
                let out = if ty == Type::Bool {
                    out.help("`if b then 1 else 0` makes a number of a bool")
                } else {
                    out.help("`int(x)` cuts off towards zero, `div` divides ints; an input is int if declared so: `x: int[N]`")
                };
                Err(self.error(out))
            }
        }
    }

    /// Operands of one numeric type: ints if all are, otherwise reals.
    pub(super) fn numbers(&mut self, operands: &[At]) -> Lowered<(Type, Vec<ExprId>)> {
        let mut bad = false;
        for o in operands {
            if self.p.ty(o.id) == Type::Bool {
                self.not_a_number(o.span);
                bad = true;
            }
        }
        if bad {
            return Err(Reported);
        }
        if operands.iter().all(|o| self.p.ty(o.id) == Type::Int) {
            return Ok((Type::Int, operands.iter().map(|o| o.id).collect()));
        }
        let reals: Lowered<Vec<ExprId>> = operands.iter().map(|&o| self.real(o)).collect();
        Ok((Type::Real, reals?))
    }

    fn not_a_number(&mut self, span: Span) -> Reported {
        self.error(
            Diagnostic::error("a number is expected, this is a bool")
                .at(span, "a bool")
                .help("a bool never becomes a number by itself: `count[N](b)` counts, `if b then 1 else 0` converts"),
        )
    }

    /// The text of a place if it is short, for help lines.
    pub(super) fn short_text(&self, span: Span, otherwise: &str) -> String {
        let text = self.text(span);
        if text.len() <= 30 && !text.contains('\n') {
            text.into()
        } else {
            otherwise.into()
        }
    }
}

/// An expression without the parentheses around it.
pub(super) fn strip(mut e: &Expr) -> &Expr {
    while let ExprKind::Paren(inner) = &e.kind {
        e = inner;
    }
    e
}
