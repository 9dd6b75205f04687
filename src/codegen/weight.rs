//! How much a step of a lane loop does, and so how many vectors of it are in flight at a time.

use super::Variant;
use crate::ir::Op;
use crate::loops::{Expr, Stmt};

/// Bodies up to this weight have registers to spare for constants.
pub(super) const SHORT: usize = 16;

/// Bodies up to this weight have several vectors side by side in every code.
const LIGHT: usize = 20;

/// How many vectors go through a body side by side: fewer where it is long, so that the registers do, and in a row, which
/// may be short: with fewer elements in a step there are fewer left for its tail. Each takes about as long to compile as
/// the first, which pays where there are many elements.
pub(super) fn vectors_in_flight(weight: usize, in_row: bool, variant: Variant) -> usize {
    let (four, two) = match (variant, in_row) {
        (Variant::First, _) => (0, LIGHT),
        (Variant::Groups, _) => (LIGHT, 200),
        (Variant::Fast, true) => (36, 200),
        (Variant::Fast, false) => (75, 200),
    };
    match weight {
        w if w <= four => 4,
        w if w <= two => 2,
        _ => 1,
    }
}

/// After how many instructions for each vector in flight a load is repeated: sooner where registers are short.
pub(super) fn reload_after(weight: usize) -> usize {
    match weight {
        0..=32 => 16,
        _ => 8,
    }
}

/// About how many instructions a body has for each vector.
pub(super) fn weight(block: &[Stmt]) -> usize {
    let logistic = |expr: &Expr| matches!(expr, Expr::Op(Op::Sigmoid | Op::Softplus, _));
    let mut shared = false;
    block
        .iter()
        .map(|stmt| match stmt {
            Stmt::Let(_, expr) => match expr {
                // They share an exponential, as a rule.
                Expr::Op(..) if logistic(expr) && std::mem::replace(&mut shared, true) => 8,
                Expr::Op(op, _) => op_weight(*op),
                Expr::Divide { .. } => 40,
                Expr::Load { .. } | Expr::Select(..) => 1,
                Expr::Finite(_) | Expr::Found { .. } => 3,
                Expr::Axis(_) => 2,
                Expr::Real(_)
                | Expr::Int(_)
                | Expr::Bool(_)
                | Expr::Param(_)
                | Expr::Size(_)
                | Expr::Folded(_) => 0,
            },
            Stmt::Loop { body, .. } => 10 + weight(body),
            Stmt::Fold { .. } | Stmt::Store { .. } => 1,
            Stmt::Fill { .. } | Stmt::Sort(_) | Stmt::Gemm(_) => 1,
        })
        .sum()
}

/// About how many instructions an operator has for each vector.
pub(super) fn op_weight(op: Op) -> usize {
    match op {
        Op::Exp | Op::Expm1 | Op::Sigmoid => 18,
        Op::Tanh | Op::Log | Op::Log1p | Op::Log2 | Op::Xlogy => 25,
        Op::Softplus => 30,
        Op::Max | Op::Min | Op::Sign | Op::Clamp => 3,
        Op::ToReal | Op::ToInt => 8,
        Op::Add
        | Op::Sub
        | Op::Mul
        | Op::Neg
        | Op::Abs
        | Op::Div
        | Op::Sqrt
        | Op::Relu
        | Op::Floor
        | Op::Ceil
        | Op::Round
        | Op::StopGradient
        | Op::Eq
        | Op::Ne
        | Op::Lt
        | Op::Le
        | Op::Gt
        | Op::Ge
        | Op::And
        | Op::Or
        | Op::Not => 1,
        _ => 40,
    }
}
