//! Whether numbers are compared with themselves in another precision.
//!
//! An extremum's share of the gradient goes to the operands that equal it. In an f32 kernel a `Once` stage computes in
//! f64, so an operand that is computed again there does not equal the extremum that a stage over rows has found in f32:
//! all of the gradient would be lost. Such kernels compute in f64 throughout ([`Loops::wide`]).

use super::block::each_statement;
use super::{Elem, Expr, Home, Loops, Stage, Stmt, ValueId};
use crate::ir::Op;

/// Where the bits of a real come from.
#[derive(Clone, Copy, PartialEq)]
enum Origin {
    /// What the caller gave, and what does not depend on data: the same in both precisions.
    Caller,
    /// Computed in f32 if the kernel is one of f32.
    Narrow,
    Wide,
}

/// Whether an equality compares a computed number with one of another precision, which needs stages of both.
pub(super) fn compares_across(loops: &Loops) -> bool {
    let mut origins = vec![Origin::Caller; loops.values.len()];
    let mut across = false;
    for stage in loops.stages.iter().filter(|_| !loops.wide) {
        let here = match stage {
            Stage::Rows { .. } => Origin::Narrow,
            Stage::Once(_) => Origin::Wide,
        };
        each_statement(stage.body(), &mut |statement| {
            let Stmt::Let(id, expr) = statement else {
                return;
            };
            let of = |v: &ValueId| origins[v.0 as usize];
            let origin = match expr {
                Expr::Load { from, .. } => {
                    let buffer = &loops.buffers[from.0 as usize];
                    match buffer.elem {
                        _ if buffer.home == Home::Input => Origin::Caller,
                        Elem::Real => Origin::Narrow,
                        Elem::Sum => Origin::Wide,
                        Elem::Int | Elem::Bool => Origin::Caller,
                    }
                }
                Expr::Op(Op::Eq | Op::Ne, operands) => {
                    if let [a, b] = &operands[..] {
                        let (a, b) = (of(a), of(b));
                        across |= a != b && a != Origin::Caller && b != Origin::Caller;
                    }
                    Origin::Caller
                }
                // Signs are no rounding.
                Expr::Op(Op::Neg | Op::Abs, x) if of(&x[0]) == Origin::Caller => Origin::Caller,
                Expr::Select(_, a, b) => match (of(a), of(b)) {
                    (a, b) if a == b => a,
                    (Origin::Caller, x) | (x, Origin::Caller) => x,
                    _ => here,
                },
                Expr::Op(..) | Expr::Folded(_) => here,
                _ => Origin::Caller,
            };
            origins[id.0 as usize] = origin;
        });
    }
    across
}
