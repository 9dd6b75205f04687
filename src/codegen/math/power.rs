//! x^y.
//!
//! The f32 form passes through f64: |x|^y = e^(y log |x|) with some 34 good bits, then rounded once. Signs and special cases are those of
//! C's pow, put in afterwards. The f64 form is a call for every lane.

use super::bundle::{Bundle, Width};
use super::coefficients as c;
use super::emitter::Emitter;
use super::{exp, log, runtime};
use cranelift_codegen::ir::condcodes::FloatCC;

/// x^y.
pub(super) fn pow(e: &mut Emitter, x: Bundle, y: Bundle) -> Bundle {
    if e.width() == Width::F64X2 {
        return runtime::call(e, runtime::POW, x, Some(y));
    }
    let size = e.abs(x);
    let sizes = e.widen(size);
    let exponents = e.widen(y);
    let halves = e.in_f64(|e| {
        [(sizes[0], exponents[0]), (sizes[1], exponents[1])].map(|(x, y)| {
            let log = log::log_of_widened(e, x, &c::POW_LOG_F64);
            let product = e.mul(log, y);
            exp::exp_for_f32(e, product, &c::POW_EXP_F64)
        })
    });
    let value = e.narrow(halves);
    let value = with_sign(e, x, y, size, value);
    let (zero, one) = (e.real(0.0), e.real(1.0));
    // 1^y and x^0 are 1, even for NaN; (-1)^inf is 1.
    let y_size = e.abs(y);
    let infinity = e.real(f64::INFINITY);
    let unbounded = e.compare(FloatCC::Equal, y_size, infinity);
    let unit = e.compare(FloatCC::Equal, size, one);
    let unit = e.and(unbounded, unit);
    let value = e.select(unit, one, value);
    let is_one = e.compare(FloatCC::Equal, x, one);
    let value = e.select(is_one, one, value);
    let no_exponent = e.compare(FloatCC::Equal, y, zero);
    e.select(no_exponent, one, value)
}

/// |x|^y with the sign of x^y, or NaN where x < 0 is finite and y is no integer.
fn with_sign(e: &mut Emitter, x: Bundle, y: Bundle, size: Bundle, value: Bundle) -> Bundle {
    let whole = e.floor(y);
    let half = e.mul_real(y, 0.5);
    let half_whole = e.floor(half);
    let odd = e.compare(FloatCC::NotEqual, half, half_whole);
    let integer = e.compare(FloatCC::Equal, whole, y);
    let odd = e.and(odd, integer);
    let sign = e.sign(x);
    let sign = e.and(sign, odd);
    let value = e.or(value, sign);
    let (zero, infinity, nan) = (e.real(0.0), e.real(f64::INFINITY), e.real(f64::NAN));
    let negative = e.compare(FloatCC::LessThan, x, zero);
    let finite = e.compare(FloatCC::LessThan, size, infinity);
    let fraction = e.compare(FloatCC::NotEqual, whole, y);
    let undefined = e.and(negative, finite);
    let undefined = e.and(undefined, fraction);
    e.select(undefined, nan, value)
}
