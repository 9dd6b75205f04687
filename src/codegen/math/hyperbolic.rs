//! tanh, sinh and cosh.

use super::bundle::{Bundle, Width};
use super::coefficients as c;
use super::emitter::Emitter;
use super::exp;
use cranelift_codegen::ir::condcodes::FloatCC;

/// Up to here tanh is an odd polynomial.
const TANH_SMALL: f64 = 0.7;

/// tanh x: x + x z P(z), z = x^2, for small x, elsewhere 1 - 2u/(1+u) with u = e^-2|x| and the sign of x.
pub(super) fn tanh(e: &mut Emitter, x: Bundle) -> Bundle {
    let coefficients: &[f64] = match e.width() {
        Width::F32X4 => &c::TANH_F32,
        Width::F64X2 => &c::TANH_F64,
    };
    let size = e.abs(x);
    let doubled = e.mul_real(size, -2.0);
    let u = exp::exp_of_negative(e, doubled);
    let one = e.real(1.0);
    let denominator = e.add(u, one);
    let twice = e.add(u, u);
    let quotient = e.div(twice, denominator);
    let large = e.sub(one, quotient);

    let z = e.mul(x, x);
    let p = e.polynomial(z, coefficients);
    let p = e.mul(p, z);
    let small = e.fma(p, x, x);
    let limit = e.real(TANH_SMALL);
    let is_small = e.compare(FloatCC::LessThan, size, limit);
    let result = e.select(is_small, small, large);
    // A small result has the sign already, but for -0.
    let sign = e.sign(x);
    e.or(result, sign)
}

/// Up to here sinh is an odd polynomial.
const SINH_SMALL: f64 = 1.0;

/// sinh x: x + x z P(z), z = x^2, for small x, elsewhere h - 1/(4h) with h = e^|x|/2 and the sign of x.
pub(super) fn sinh(e: &mut Emitter, x: Bundle) -> Bundle {
    let coefficients: &[f64] = match e.width() {
        Width::F32X4 => &c::SINH_F32,
        Width::F64X2 => &c::SINH_F64,
    };
    let size = e.abs(x);
    let half = exp::half_exp(e, size);
    let quarter = e.real(0.25);
    let inverse = e.div(quarter, half);
    let large = e.sub(half, inverse);
    let z = e.mul(size, size);
    let p = e.polynomial(z, coefficients);
    let p = e.mul(p, z);
    let small = e.fma(p, size, size);
    let limit = e.real(SINH_SMALL);
    let is_small = e.compare(FloatCC::LessThan, size, limit);
    let value = e.select(is_small, small, large);
    let sign = e.sign(x);
    e.or(value, sign)
}

/// cosh x = h + 1/(4h) with h = e^|x|/2.
pub(super) fn cosh(e: &mut Emitter, x: Bundle) -> Bundle {
    let size = e.abs(x);
    let half = exp::half_exp(e, size);
    let quarter = e.real(0.25);
    let inverse = e.div(quarter, half);
    e.add(half, inverse)
}
