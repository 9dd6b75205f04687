//! Whether numbers are compared with themselves in another precision.
//!
//! An extremum's share of the gradient goes to the operands that equal it. In an f32 kernel a `Once` stage computes in
//! f64, so an operand that is computed again there does not equal the extremum that a stage over rows has found in f32:
//! all of the gradient would be lost. Such kernels compute in f64 throughout ([`Loops::wide`]).

use super::block::each_statement;
use super::{Elem, Expr, Home, Loops, Stage, Stmt, ValueId};
use crate::ir::Op;
use rustc_hash::FxHashMap;

/// Where the bits of a real come from.
#[derive(Clone, Copy, PartialEq)]
enum From {
    /// What the caller gave, and what does not depend on data: the same in both precisions.
    Caller,
    /// Computed in f32 if the kernel is one of f32.
    Narrow,
    Wide,
}

/// Whether an equality compares a computed number with one of another precision.
pub(super) fn compares_across(loops: &Loops) -> bool {
    loops.stages.iter().any(|stage| {
        let (body, here) = match stage {
            Stage::Rows { body, .. } => (body, From::Narrow),
            Stage::Once(body) => (body, From::Wide),
        };
        let mut from: FxHashMap<ValueId, From> = FxHashMap::default();
        let mut across = false;
        each_statement(body, &mut |statement| {
            let Stmt::Let(id, expr) = statement else {
                return;
            };
            let of = |v: &ValueId| from.get(v).copied().unwrap_or(From::Caller);
            let source = match expr {
                Expr::Load { from, .. } => {
                    let buffer = &loops.buffers[from.0 as usize];
                    match buffer.elem {
                        _ if buffer.home == Home::Input => From::Caller,
                        Elem::Real => From::Narrow,
                        Elem::Sum => From::Wide,
                        Elem::Int | Elem::Bool => From::Caller,
                    }
                }
                Expr::Op(Op::Eq | Op::Ne, operands) => {
                    let [a, b] = [0, 1].map(|k| operands.get(k).map_or(From::Caller, of));
                    across |= a != b && a != From::Caller && b != From::Caller;
                    From::Caller
                }
                Expr::Op(_, operands) if operands.iter().all(|o| of(o) == From::Caller) => {
                    match operands.len() {
                        // Signs are no rounding.
                        1 if matches!(expr, Expr::Op(Op::Neg | Op::Abs, _)) => From::Caller,
                        _ => here,
                    }
                }
                Expr::Op(..) => here,
                Expr::Select(_, a, b) if of(a) == of(b) => of(a),
                Expr::Select(_, a, b) if of(a) == From::Caller => of(b),
                Expr::Select(_, a, b) if of(b) == From::Caller => of(a),
                Expr::Select(..) => here,
                Expr::Folded(_) => here,
                _ => From::Caller,
            };
            from.insert(*id, source);
        });
        across
    })
}
