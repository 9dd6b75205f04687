//! Walks over the syntax tree, in the order of the text.

use crate::ast::{Argument, Bracket, Expr, ExprKind, Position, Use};

/// Calls `f` for every name that is read or called in an expression, in the order of the text.
pub(super) fn uses<'m>(e: &'m Expr, f: &mut impl FnMut(&'m Use)) {
    any(e, |e| {
        if let ExprKind::Use(u) = &e.kind {
            f(u);
        }
        false
    });
}

/// Whether an axis stands anywhere in an expression.
pub(super) fn has_axis(e: &Expr, name: &str) -> bool {
    any(e, |e| matches!(&e.kind, ExprKind::Axis(a) if **a == *name))
}

/// Calls `f` for every expression within one and for itself, in the order of the text, until it says true: whether it did.
fn any<'m>(e: &'m Expr, mut f: impl FnMut(&'m Expr) -> bool) -> bool {
    let mut stack = vec![e];
    while let Some(e) = stack.pop() {
        if f(e) {
            return true;
        }
        match &e.kind {
            ExprKind::Constant(_) | ExprKind::Axis(_) => {}
            ExprKind::Use(u) => {
                for a in u.arguments.iter().flatten().rev() {
                    match a {
                        Argument::Star(_) => {}
                        Argument::Positional(e) | Argument::Named(_, e) => stack.push(e),
                    }
                }
                if let Some(bracket) = &u.bracket {
                    push_bracket(bracket, &mut stack);
                }
            }
            ExprKind::If {
                condition,
                then,
                otherwise,
            } => stack.extend([&**otherwise, then, condition]),
            ExprKind::Not(a) | ExprKind::Negate(a) | ExprKind::Paren(a) => stack.push(a),
            ExprKind::Compare { left, right, .. } => stack.extend([&**right, left]),
            ExprKind::Power { base, exponent } => stack.extend([&**exponent, base]),
            ExprKind::Chain { first, rest } => {
                stack.extend(rest.iter().rev().map(|(_, e)| e));
                stack.push(first);
            }
        }
    }
    false
}

fn push_bracket<'m>(bracket: &'m Bracket, stack: &mut Vec<&'m Expr>) {
    stack.extend(&bracket.default);
    stack.extend(&bracket.guard);
    for p in bracket.positions.iter().rev() {
        match p {
            Position::Star(_) => {}
            Position::Expr(e) => stack.push(e),
        }
    }
}

/// Whether a name is read (not called, and of this file).
pub(super) fn is_read(u: &Use) -> bool {
    u.arguments.is_none() && u.module.is_none()
}
