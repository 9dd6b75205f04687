//! Where an evaluation meets what an operator is not made for: a logarithm of 0, a division by 0, a mean of nothing.

use super::scalar::Scalar;
use crate::ir::{ExprId, Op, ReduceOp};

/// What was met, each kind once for each expression, in order of evaluation.
#[derive(Debug, Default)]
pub struct Watch {
    pub seen: Vec<(ExprId, Singular)>,
}

/// A place at which an operator has no finite value or no derivative.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Singular {
    /// `log`, `log2`, `sqrt` of 0, and a divisor of 0.
    Zero(Op),
    /// `log`, `log2`, `sqrt` of a negative number.
    Negative(Op),
    /// The length of a vector of zeros.
    ZeroNorm,
    /// The mean of nothing.
    EmptyMean,
    /// Any other operator that makes NaN of numbers.
    Undefined(Op),
    /// Any other operator whose result is infinite where its operands are finite.
    Infinite(Op),
}

impl Watch {
    pub(super) fn operator(&mut self, id: ExprId, op: Op, operands: &[Scalar], result: Scalar) {
        let Scalar::Real(result) = result else {
            return;
        };
        let real = |k: usize| match operands.get(k) {
            Some(Scalar::Real(x)) => *x,
            Some(Scalar::Int(_) | Scalar::Bool(_)) | None => 1.0,
        };
        let given = |test: fn(f64) -> bool| (0..operands.len()).all(|k| test(real(k)));
        let singular = match op {
            Op::Log | Op::Log2 | Op::Sqrt if real(0) == 0.0 => Singular::Zero(op),
            Op::Log | Op::Log2 | Op::Sqrt if real(0) < 0.0 => Singular::Negative(op),
            Op::Div if real(1) == 0.0 => Singular::Zero(op),
            // It was `x * log(y)`, in most sources.
            Op::Xlogy if real(1) == 0.0 && result.is_infinite() => Singular::Zero(Op::Log),
            Op::Xlogy if real(1) < 0.0 && result.is_nan() => Singular::Negative(Op::Log),
            _ if result.is_nan() && given(|x| !x.is_nan()) => Singular::Undefined(op),
            _ if result.is_infinite() && given(f64::is_finite) => Singular::Infinite(op),
            _ => return,
        };
        self.add(id, singular);
    }

    pub(super) fn reduction(&mut self, id: ExprId, op: ReduceOp, count: usize, result: Scalar) {
        match (op, result) {
            (ReduceOp::Mean, _) if count == 0 => self.add(id, Singular::EmptyMean),
            (ReduceOp::Norm, Scalar::Real(0.0)) if count > 0 => self.add(id, Singular::ZeroNorm),
            _ => {}
        }
    }

    fn add(&mut self, id: ExprId, singular: Singular) {
        if !self.seen.contains(&(id, singular)) {
            self.seen.push((id, singular));
        }
    }
}
