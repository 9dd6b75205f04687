//! One element: its type and the operators on it.

use super::fold::{Fold, log_sum_exp_of};
use crate::codegen::math::special;
use crate::ir::{Op, ReduceOp, Type};
use std::cmp::Ordering;

/// One element of a tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scalar {
    Real(f64),
    Int(i64),
    Bool(bool),
}

impl Scalar {
    /// As a real; an int or bool is converted.
    pub fn real(self) -> f64 {
        match self {
            Scalar::Real(x) => x,
            Scalar::Int(n) => n as f64,
            Scalar::Bool(b) => f64::from(u8::from(b)),
        }
    }

    /// As an int (rule R9: towards zero, saturating, 0 for NaN).
    pub fn int(self) -> i64 {
        match self {
            Scalar::Real(x) => x as i64,
            Scalar::Int(n) => n,
            Scalar::Bool(b) => i64::from(b),
        }
    }

    pub fn bool(self) -> bool {
        match self {
            Scalar::Real(x) => x != 0.0,
            Scalar::Int(n) => n != 0,
            Scalar::Bool(b) => b,
        }
    }
}

/// `op(values)`; `None` for an int division by 0. `And` and `Or` are evaluated by who knows how to be lazy, here both
/// operands are there.
pub fn apply(op: Op, v: &[Scalar]) -> Option<Scalar> {
    if let Scalar::Int(_) = v[0]
        && matches!(v.last(), Some(Scalar::Int(_)))
    {
        return ints(op, v);
    }
    Some(match op {
        Op::And => Scalar::Bool(v[0].bool() && v[1].bool()),
        Op::Or => Scalar::Bool(v[0].bool() || v[1].bool()),
        Op::Not => Scalar::Bool(!v[0].bool()),
        Op::Eq | Op::Ne | Op::Lt | Op::Le | Op::Gt | Op::Ge => {
            Scalar::Bool(op.holds(v[0].real().partial_cmp(&v[1].real()))?)
        }
        Op::ToInt => Scalar::Int(v[0].int()),
        Op::StopGradient => v[0],
        Op::Polygamma => Scalar::Real(special::polygamma(v[0].real(), v[1].real())),
        Op::LogSumExp => {
            let all: Vec<f64> = v.iter().map(|x| x.real()).collect();
            Scalar::Real(log_sum_exp_of(&all))
        }
        Op::Max | Op::Min => {
            let mut fold = Fold::new(
                match op {
                    Op::Max => ReduceOp::Max,
                    _ => ReduceOp::Min,
                },
                Type::Real,
            );
            v.iter().for_each(|&x| fold.add(x, 0));
            return fold.finish();
        }
        Op::Clamp => Scalar::Real(clamp(v[0].real(), v[1].real(), v[2].real())),
        Op::IntDiv | Op::Mod => return ints(op, v),
        Op::Add | Op::Sub | Op::Mul | Op::Div | Op::Pow | Op::Atan2 | Op::Xlogy => {
            Scalar::Real(binary(op, v[0].real(), v[1].real()))
        }
        _ => Scalar::Real(unary(op, v[0].real())),
    })
}

fn ints(op: Op, v: &[Scalar]) -> Option<Scalar> {
    let n = |k: usize| v[k].int();
    Some(match op {
        Op::Add => Scalar::Int(n(0).wrapping_add(n(1))),
        Op::Sub => Scalar::Int(n(0).wrapping_sub(n(1))),
        Op::Mul => Scalar::Int(n(0).wrapping_mul(n(1))),
        Op::Neg => Scalar::Int(n(0).wrapping_neg()),
        Op::Abs => Scalar::Int(n(0).wrapping_abs()),
        Op::Sign => Scalar::Int(n(0).signum()),
        Op::Max => Scalar::Int(v.iter().map(|x| x.int()).max()?),
        Op::Min => Scalar::Int(v.iter().map(|x| x.int()).min()?),
        Op::Clamp => Scalar::Int(n(0).max(n(1)).min(n(2))),
        Op::IntDiv | Op::Mod if n(1) == 0 => return None,
        // Floor division; the remainder has the divisor's sign. The least int by -1 wraps.
        Op::IntDiv => {
            let (q, r) = (n(0).wrapping_div(n(1)), n(0).wrapping_rem(n(1)));
            Scalar::Int(if r != 0 && (r < 0) != (n(1) < 0) {
                q - 1
            } else {
                q
            })
        }
        Op::Mod => {
            let r = n(0).wrapping_rem(n(1));
            Scalar::Int(if r != 0 && (r < 0) != (n(1) < 0) {
                r + n(1)
            } else {
                r
            })
        }
        Op::Eq | Op::Ne | Op::Lt | Op::Le | Op::Gt | Op::Ge => {
            Scalar::Bool(op.holds(Some(n(0).cmp(&n(1))))?)
        }
        Op::ToReal => Scalar::Real(n(0) as f64),
        Op::ToInt | Op::StopGradient => v[0],
        Op::And | Op::Or | Op::Not => Scalar::Bool(false),
        _ => {
            let reals: Vec<Scalar> = v.iter().map(|x| Scalar::Real(x.real())).collect();
            return apply(op, &reals);
        }
    })
}

/// `op(values)` of ints without wrapping, as the extents of axes are computed; `None` for an overflow or a division by 0.
/// A bool is 0 or 1.
pub fn checked(op: Op, v: &[i64]) -> Option<i64> {
    let x = *v.first()?;
    let y = v.get(1).copied().unwrap_or(0);
    match op {
        Op::Add => x.checked_add(y),
        Op::Sub => x.checked_sub(y),
        Op::Mul => x.checked_mul(y),
        Op::Neg => x.checked_neg(),
        Op::Abs => x.checked_abs(),
        Op::Relu => Some(x.max(0)),
        Op::And => Some(i64::from(x != 0 && y != 0)),
        Op::Or => Some(i64::from(x != 0 || y != 0)),
        Op::Not => Some(i64::from(x == 0)),
        Op::IntDiv | Op::Mod if y == -1 && x == i64::MIN => None,
        Op::Sign
        | Op::Max
        | Op::Min
        | Op::Clamp
        | Op::IntDiv
        | Op::Mod
        | Op::ToInt
        | Op::StopGradient
        | Op::Eq
        | Op::Ne
        | Op::Lt
        | Op::Le
        | Op::Gt
        | Op::Ge => {
            let operands: Vec<Scalar> = v.iter().map(|&n| Scalar::Int(n)).collect();
            Some(ints(op, &operands)?.int())
        }
        // The others are of reals.
        _ => None,
    }
}

fn binary(op: Op, a: f64, b: f64) -> f64 {
    match op {
        Op::Add => a + b,
        Op::Sub => a - b,
        Op::Mul => a * b,
        Op::Div => a / b,
        Op::Pow => a.powf(b),
        Op::Atan2 => a.atan2(b),
        Op::Xlogy if a == 0.0 && !b.is_nan() => 0.0,
        Op::Xlogy => a * b.ln(),
        _ => f64::NAN,
    }
}

fn unary(op: Op, x: f64) -> f64 {
    match op {
        Op::Neg => -x,
        Op::Abs => x.abs(),
        Op::Sign if x == 0.0 || x.is_nan() => x + 0.0,
        Op::Sign => x.signum(),
        Op::Sqrt => x.sqrt(),
        Op::Exp => x.exp(),
        Op::Expm1 => x.exp_m1(),
        Op::Log => x.ln(),
        Op::Log1p => x.ln_1p(),
        Op::Log2 => x.log2(),
        Op::Sin => x.sin(),
        Op::Cos => x.cos(),
        Op::Tan => x.tan(),
        Op::Asin => x.asin(),
        Op::Acos => x.acos(),
        Op::Atan => x.atan(),
        Op::Sinh => x.sinh(),
        Op::Cosh => x.cosh(),
        Op::Tanh => x.tanh(),
        // Each side in the form whose exponential cannot overflow.
        Op::Sigmoid if x >= 0.0 => 1.0 / (1.0 + (-x).exp()),
        Op::Sigmoid => x.exp() / (1.0 + x.exp()),
        Op::Softplus if x.is_nan() => x,
        Op::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
        Op::Relu if x > 0.0 || x.is_nan() => x,
        Op::Relu => 0.0,
        Op::Floor => x.floor(),
        Op::Ceil => x.ceil(),
        Op::Round => x.round_ties_even(),
        Op::Erf => libm::erf(x),
        Op::Lgamma => special::lgamma(x),
        Op::Digamma => special::digamma(x),
        Op::ToReal => x,
        _ => f64::NAN,
    }
}

/// At least `low`, then at most `high`: where `low` is above `high`, the answer is `high`. NaN passes through.
fn clamp(x: f64, low: f64, high: f64) -> f64 {
    let raised = if x < low { low } else { x };
    if raised > high { high } else { raised }
}

/// Ascending, NaN last, and after it what a guard left out (`None`).
pub fn sort_order(a: Option<Scalar>, b: Option<Scalar>) -> Ordering {
    match (a, b) {
        (Some(Scalar::Int(a)), Some(Scalar::Int(b))) => a.cmp(&b),
        (Some(a), Some(b)) => {
            let (a, b) = (a.real(), b.real());
            a.partial_cmp(&b)
                .unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
        }
        (a, b) => b.is_some().cmp(&a.is_some()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn int_division_floors() {
        let int = |op, a, b| apply(op, &[Scalar::Int(a), Scalar::Int(b)]);
        assert_eq!(int(Op::IntDiv, -7, 2), Some(Scalar::Int(-4)));
        assert_eq!(int(Op::Mod, -7, 2), Some(Scalar::Int(1)));
        assert_eq!(int(Op::Mod, 7, -2), Some(Scalar::Int(-1)));
        assert_eq!(int(Op::IntDiv, i64::MIN, -1), Some(Scalar::Int(i64::MIN)));
        assert_eq!(int(Op::IntDiv, 1, 0), None);
        assert_eq!(
            apply(Op::ToInt, &[Scalar::Real(f64::NAN)]),
            Some(Scalar::Int(0))
        );
    }

    #[test]
    fn clamp_with_its_limits_crossed_is_the_higher_one_for_reals_and_ints() {
        for x in [0, 1, 2, 5] {
            let limits = [x, 2, 1];
            let [ints, reals] = [Scalar::Int, |n| Scalar::Real(n as f64)].map(|f| limits.map(f));
            assert_eq!(apply(Op::Clamp, &ints).map(Scalar::int), Some(1));
            assert_eq!(apply(Op::Clamp, &reals).map(Scalar::real), Some(1.0));
            assert_eq!(checked(Op::Clamp, &limits), Some(1));
        }
    }
}
