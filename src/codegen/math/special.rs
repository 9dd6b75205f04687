//! The gamma function's logarithm and that one's derivatives, in f64, one number at a time.

use super::special_tables::{BERNOULLI, DIGAMMA_AT_ROOT, DIGAMMA_ROOT};
use std::f64::consts::PI;

/// log |Gamma(x)|: libm's, with an error of a few units of the last place for positive x and an absolute error of about 1e-15 times the
/// larger terms that cancel near the zeros at negative x.
pub fn lgamma(x: f64) -> f64 {
    libm::lgamma(x)
}

/// The logarithmic derivative of the gamma function.
///
/// Within 4e-16 of max(1, |value|) for positive x, and in relative terms within 1e-15 around the root near 1.46. At 0 it is infinite with the opposite
/// sign, at negative integers and -inf NaN.
pub fn digamma(x: f64) -> f64 {
    if x == 0.0 {
        return f64::INFINITY.copysign(-x);
    }
    if x < 0.0 {
        if x == x.floor() {
            return f64::NAN;
        }
        // psi(x) = psi(1 - x) - pi / tan(pi x), and tan has period 1 in x.
        let part = x - x.round();
        return digamma(1.0 - x) - PI / (PI * part).tan();
    }
    let from_root = (x - DIGAMMA_ROOT[0]) - DIGAMMA_ROOT[1];
    if from_root.abs() < 0.2 {
        return from_root * horner(&DIGAMMA_AT_ROOT, from_root);
    }
    // psi(x) = psi(x + 1) - 1/x until the asymptotic series holds.
    let mut x = x;
    let mut lower = 0.0;
    while x < 10.0 {
        lower += 1.0 / x;
        x += 1.0;
    }
    let inverse = 1.0 / (x * x);
    let mut series = 0.0;
    for (k, b) in BERNOULLI.iter().enumerate().take(9).rev() {
        series = (series + b / (2 * (k + 1)) as f64) * inverse;
    }
    x.ln() - 0.5 / x - series - lower
}

/// The n-th derivative of [`digamma`] at x; n = 0 is digamma itself. NaN for n that is negative or no integer.
///
/// Relative error below 1e-14 for n up to 20; overflows to infinity where the value does. At 0 and the negative integers infinite with
/// the sign (-1)^(n+1), for n > 0.
pub fn polygamma(n: f64, x: f64) -> f64 {
    if n == 0.0 {
        return digamma(x);
    }
    if !(n > 0.0 && n == n.floor() && n <= 1e4) {
        return f64::NAN;
    }
    // (-1)^(n+1) n! zeta(n + 1, x)
    let s = n as i32 + 1;
    let sign = if s % 2 == 0 { 1.0 } else { -1.0 };
    let factorial: f64 = (2..s).map(f64::from).product();
    sign * factorial * hurwitz_zeta(s, x)
}

/// The sum of (x + k)^-s over k >= 0, for s >= 2.
fn hurwitz_zeta(s: i32, x: f64) -> f64 {
    if x > 0.0 || x.is_nan() {
        return zeta_of_positive(s, x);
    }
    if x == x.floor() {
        return if x == f64::NEG_INFINITY {
            f64::NAN
        } else {
            f64::INFINITY
        };
    }
    // The sum over all integers k, which depends on the part after the point only, without the terms of k < 0.
    let parity = if s % 2 == 0 { 1.0 } else { -1.0 };
    let part = x - x.round();
    let size = part.abs();
    let all = zeta_of_positive(s, size) + parity * zeta_of_positive(s, 1.0 - size);
    let all = if part < 0.0 { parity * all } else { all };
    all - parity * zeta_of_positive(s, 1.0 - x)
}

/// Terms one by one while x is small, then Euler and Maclaurin's formula.
fn zeta_of_positive(s: i32, x: f64) -> f64 {
    if x == f64::INFINITY {
        return 0.0;
    }
    let mut x = x;
    let mut sum = 0.0;
    let enough = 10.0 + f64::from(s);
    while x < enough {
        let term = x.powi(-s);
        sum += term;
        if term < 1e-18 * sum {
            return sum;
        }
        x += 1.0;
    }
    let power = x.powi(-s);
    sum += power * (x / f64::from(s - 1) + 0.5);
    // B_2j/(2j)! s (s+1) ... (s+2j-2) x^(-s-2j+1), j from 1; `factor` is all but the Bernoulli number.
    let s = f64::from(s);
    let mut factor = power * s / (2.0 * x);
    let mut twice_j = 2.0;
    for b in &BERNOULLI {
        sum += b * factor;
        let rising = (s + twice_j - 1.0) * (s + twice_j);
        factor *= rising / ((twice_j + 1.0) * (twice_j + 2.0) * x * x);
        twice_j += 2.0;
    }
    sum
}

fn horner(coefficients: &[f64], x: f64) -> f64 {
    coefficients.iter().rev().fold(0.0, |p, c| p * x + c)
}
