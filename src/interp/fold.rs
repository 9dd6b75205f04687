//! What reductions do with many elements.

use super::scalar::Scalar;
use crate::ir::{ReduceOp, Type};

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
        best: Option<(Scalar, i64)>,
        least: bool,
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
                least: false,
            },
            (ReduceOp::ArgMin, _) => Fold::ArgExtreme {
                best: None,
                least: true,
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
            Fold::ArgExtreme { best, least } => {
                if best.is_none_or(|(b, _)| is_better(value, b, *least)) {
                    *best = Some((value, at as i64));
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

/// Whether an argmax (or argmin, of the `least`) takes an element instead of its best so far: of equals and of NaN it is
/// the first.
pub fn is_better(value: Scalar, best: Scalar, least: bool) -> bool {
    if let (Scalar::Int(x), Scalar::Int(b)) = (value, best) {
        return if least { x < b } else { x > b };
    }
    let (x, b) = (value.real(), best.real());
    let beyond = if least { x < b } else { x > b };
    !b.is_nan() && (x.is_nan() || beyond)
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
pub(super) fn log_sum_exp_of(all: &[f64]) -> f64 {
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
}
