//! One element: its type, the operators on it, and what reductions do with many.

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

/// A reduction under way.
pub enum Fold {
    /// With Neumaier's compensation, so that the oracle is more exact than what it judges.
    Sum {
        sum: f64,
        lost: f64,
        count: i64,
        mean: bool,
    },
    IntSum(i64),
    Prod(f64),
    IntProd(i64),
    /// The larger of all so far times the sign; NaN stays. `None`: nothing yet.
    Extreme {
        best: Option<f64>,
        sign: f64,
    },
    IntExtreme {
        best: i64,
        max: bool,
    },
    LogSumExp(Vec<f64>),
    Norm(Vec<f64>),
    Any(bool),
    All(bool),
    Count(i64),
    ArgExtreme {
        best: Option<(f64, i64)>,
        sign: f64,
    },
}

impl Fold {
    pub fn new(op: ReduceOp, body: Type) -> Fold {
        match (op, body) {
            (ReduceOp::Sum, Type::Int) => Fold::IntSum(0),
            (ReduceOp::Sum, _) => Fold::Sum {
                sum: 0.0,
                lost: 0.0,
                count: 0,
                mean: false,
            },
            (ReduceOp::Mean, _) => Fold::Sum {
                sum: 0.0,
                lost: 0.0,
                count: 0,
                mean: true,
            },
            (ReduceOp::Prod, Type::Int) => Fold::IntProd(1),
            (ReduceOp::Prod, _) => Fold::Prod(1.0),
            (ReduceOp::Max, Type::Int) => Fold::IntExtreme {
                best: i64::MIN,
                max: true,
            },
            (ReduceOp::Min, Type::Int) => Fold::IntExtreme {
                best: i64::MAX,
                max: false,
            },
            (ReduceOp::Max, _) => Fold::Extreme {
                best: None,
                sign: 1.0,
            },
            (ReduceOp::Min, _) => Fold::Extreme {
                best: None,
                sign: -1.0,
            },
            (ReduceOp::LogSumExp, _) => Fold::LogSumExp(vec![]),
            (ReduceOp::Norm, _) => Fold::Norm(vec![]),
            (ReduceOp::Any, _) => Fold::Any(false),
            (ReduceOp::All, _) => Fold::All(true),
            (ReduceOp::Count, _) => Fold::Count(0),
            (ReduceOp::ArgMax, _) => Fold::ArgExtreme {
                best: None,
                sign: 1.0,
            },
            (ReduceOp::ArgMin, _) => Fold::ArgExtreme {
                best: None,
                sign: -1.0,
            },
        }
    }

    /// Adds one element; `at` is its index along the (first) reduced axis.
    pub fn add(&mut self, value: Scalar, at: usize) {
        match self {
            Fold::Sum {
                sum, lost, count, ..
            } => {
                let x = value.real();
                let next = *sum + x;
                *lost += if sum.abs() >= x.abs() {
                    (*sum - next) + x
                } else {
                    (x - next) + *sum
                };
                *sum = next;
                *count += 1;
            }
            Fold::IntSum(sum) => *sum = sum.wrapping_add(value.int()),
            Fold::Prod(product) => *product *= value.real(),
            Fold::IntProd(product) => *product = product.wrapping_mul(value.int()),
            Fold::Extreme { best, sign } => {
                let x = value.real();
                if best.is_none_or(|b| !b.is_nan() && (x.is_nan() || x * *sign > b * *sign)) {
                    *best = Some(x);
                }
            }
            Fold::IntExtreme { best, max } => {
                *best = if *max {
                    (*best).max(value.int())
                } else {
                    (*best).min(value.int())
                };
            }
            Fold::LogSumExp(all) | Fold::Norm(all) => all.push(value.real()),
            Fold::Any(any) => *any |= value.bool(),
            Fold::All(all) => *all &= value.bool(),
            Fold::Count(count) => *count += i64::from(value.bool()),
            Fold::ArgExtreme { best, sign } => {
                let x = value.real();
                if best.is_none_or(|(b, _)| !b.is_nan() && (x.is_nan() || x * *sign > b * *sign)) {
                    *best = Some((x, at as i64));
                }
            }
        }
    }

    /// The result; `None` for an argmax or argmin of nothing.
    pub fn finish(self) -> Option<Scalar> {
        Some(match self {
            Fold::Sum {
                sum,
                lost,
                count,
                mean,
            } => {
                let total = if sum.is_finite() { sum + lost } else { sum };
                Scalar::Real(if mean { total / count as f64 } else { total })
            }
            Fold::IntSum(n)
            | Fold::IntProd(n)
            | Fold::Count(n)
            | Fold::IntExtreme { best: n, .. } => Scalar::Int(n),
            Fold::Prod(x) => Scalar::Real(x),
            Fold::Extreme { best, sign } => Scalar::Real(best.unwrap_or(-sign * f64::INFINITY)),
            Fold::LogSumExp(all) => Scalar::Real(log_sum_exp(&all)),
            Fold::Norm(all) => Scalar::Real(norm(&all)),
            Fold::Any(b) | Fold::All(b) => Scalar::Bool(b),
            Fold::ArgExtreme { best, .. } => Scalar::Int(best?.1),
        })
    }
}

fn log_sum_exp(all: &[f64]) -> f64 {
    if all.iter().any(|x| x.is_nan()) {
        return f64::NAN;
    }
    let max = all.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if max.is_infinite() {
        return max;
    }
    max + all.iter().map(|x| (x - max).exp()).sum::<f64>().ln()
}

/// The same of few operands, to the last bits also where it is near 0: only the others than the largest are summed.
fn log_sum_exp_of(all: &[f64]) -> f64 {
    let max = all.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if max.is_infinite() || all.iter().any(|x| x.is_nan()) {
        return log_sum_exp(all);
    }
    let largest = all.iter().position(|&x| x == max);
    let others = all.iter().enumerate().filter(|(k, _)| Some(*k) != largest);
    max + others.map(|(_, x)| (x - max).exp()).sum::<f64>().ln_1p()
}

/// The root of the sum of squares, scaled by the largest so that it neither overflows nor vanishes.
fn norm(all: &[f64]) -> f64 {
    if all.iter().any(|x| x.is_nan()) {
        return f64::NAN;
    }
    let max = all.iter().fold(0.0f64, |m, x| m.max(x.abs()));
    if max == 0.0 || max.is_infinite() {
        return max;
    }
    max * all
        .iter()
        .map(|x| (x / max) * (x / max))
        .sum::<f64>()
        .sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reduce(op: ReduceOp, all: &[f64]) -> Scalar {
        let mut fold = Fold::new(op, Type::Real);
        all.iter()
            .enumerate()
            .for_each(|(i, &x)| fold.add(Scalar::Real(x), i));
        fold.finish().unwrap()
    }

    #[test]
    fn nothing_to_reduce() {
        assert_eq!(reduce(ReduceOp::Sum, &[]), Scalar::Real(0.0));
        assert!(reduce(ReduceOp::Mean, &[]).real().is_nan());
        assert_eq!(reduce(ReduceOp::Max, &[]), Scalar::Real(f64::NEG_INFINITY));
        assert_eq!(reduce(ReduceOp::Min, &[]), Scalar::Real(f64::INFINITY));
        assert_eq!(
            reduce(ReduceOp::LogSumExp, &[]),
            Scalar::Real(f64::NEG_INFINITY)
        );
        assert_eq!(reduce(ReduceOp::Norm, &[]), Scalar::Real(0.0));
        assert!(Fold::new(ReduceOp::ArgMax, Type::Real).finish().is_none());
    }

    #[test]
    fn nan_passes_and_the_first_of_equals_wins() {
        assert!(reduce(ReduceOp::Max, &[1.0, f64::NAN, 2.0]).real().is_nan());
        assert_eq!(reduce(ReduceOp::ArgMax, &[1.0, 3.0, 3.0]), Scalar::Int(1));
        assert!(
            reduce(ReduceOp::LogSumExp, &[f64::INFINITY, f64::NAN])
                .real()
                .is_nan()
        );
        assert_eq!(
            reduce(ReduceOp::Sum, &[1e100, 1.0, -1e100]),
            Scalar::Real(1.0)
        );
        let norm = reduce(ReduceOp::Norm, &[3e200, 4e200]).real();
        assert!((norm / 5e200 - 1.0).abs() < 1e-15);
    }

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
