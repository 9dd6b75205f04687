//! log, log1p, log2 and x log y.
//!
//! x = 2^k (1 + f) with sqrt(1/2) <= 1 + f < sqrt(2), taken from the bits; log x = k log 2 + log(1 + f).

use super::bundle::{Bundle, Width};
use super::coefficients as c;
use super::emitter::Emitter;
use cranelift_codegen::ir::condcodes::FloatCC;

/// The constants of the split in one format.
struct Split {
    /// Bits of sqrt(1/2).
    root_half: u64,
    /// 2^m, whose last bits hold an integer when ORed into it.
    integers: f64,
    bias: f64,
    /// log 2 in two parts; the product of the first with an exponent is exact.
    ln2_high: f64,
    ln2_low: f64,
    smallest_normal: f64,
    /// What lifts a subnormal number into the normal ones, and its logarithm to base 2.
    lift: f64,
    lift_bits: f64,
}

const F32: Split = Split {
    root_half: 0x3f35_04f3,
    integers: 8_388_608.0,
    bias: 127.0,
    ln2_high: 0.693145751953125,
    ln2_low: 1.428606765330187e-06,
    smallest_normal: f32::MIN_POSITIVE as f64,
    lift: 16_777_216.0,
    lift_bits: 24.0,
};

const F64: Split = Split {
    root_half: 0x3fe6_a09e_667f_3bcd,
    integers: 4_503_599_627_370_496.0,
    bias: 1023.0,
    ln2_high: 0.6931471803691238,
    ln2_low: 1.9082149292705877e-10,
    smallest_normal: f64::MIN_POSITIVE,
    lift: 18_014_398_509_481_984.0,
    lift_bits: 54.0,
};

fn constants(width: Width) -> &'static Split {
    match width {
        Width::F32X4 => &F32,
        Width::F64X2 => &F64,
    }
}

/// A positive normal number as 2^exponent (1 + fraction).
struct Parts {
    exponent: Bundle,
    fraction: Bundle,
    /// 2^exponent as the integer exponent + bias, unshifted.
    biased: Bundle,
}

/// Splits positive normal numbers; `offset` is what the integer in `biased` exceeds the exponent by, with 2^m on top.
fn split(e: &mut Emitter, x: Bundle, offset: Bundle) -> Parts {
    let width = e.width();
    let k = constants(width);
    let one = width.bits(1.0);
    let shift = e.bits(one - k.root_half);
    let raised = e.add_bits(x, shift);
    let biased = e.shift_right(raised, width.mantissa_bits());
    let integers = e.bits(width.bits(k.integers));
    let exponent = e.or(biased, integers);
    let exponent = e.sub(exponent, offset);
    let mantissa = e.bits((1 << width.mantissa_bits()) - 1);
    let m = e.and(raised, mantissa);
    let root = e.bits(k.root_half);
    let m = e.add_bits(m, root);
    let fraction = e.add_real(m, -1.0);
    Parts {
        exponent,
        fraction,
        biased,
    }
}

/// The same for positive numbers with subnormals.
fn split_any(e: &mut Emitter, x: Bundle) -> Parts {
    let k = constants(e.width());
    let smallest = e.real(k.smallest_normal);
    let tiny = e.compare(FloatCC::LessThan, x, smallest);
    let lifted = e.mul_real(x, k.lift);
    let x = e.select(tiny, lifted, x);
    let lifted = e.real(k.integers + k.bias + k.lift_bits);
    let plain = e.real(k.integers + k.bias);
    let offset = e.select(tiny, lifted, plain);
    split(e, x, offset)
}

fn split_normal(e: &mut Emitter, x: Bundle) -> Parts {
    let k = constants(e.width());
    let offset = e.real(k.integers + k.bias);
    split(e, x, offset)
}

/// k log 2 + log(1 + f).
fn combine(e: &mut Emitter, k: Bundle, f: Bundle) -> Bundle {
    let constants = constants(e.width());
    match e.width() {
        // log(1+f) = f + f^2 (f P(f) - 1/2)
        Width::F32X4 => {
            let p = e.polynomial(f, &c::LOG_F32);
            let minus_half = e.real(-0.5);
            let p = e.fma(p, f, minus_half);
            let square = e.mul(f, f);
            let p = e.mul(p, square);
            let p = e.fma_real(k, constants.ln2_low, p);
            let p = e.add(p, f);
            e.fma_real(k, constants.ln2_high, p)
        }
        Width::F64X2 => combine_f64(e, k, f, &c::LOG_F64),
    }
}

/// k log 2 + log(1 + f); with s = f/(2+f): log(1+f) = f - (f^2/2 - s (f^2/2 + s^2 P(s^2))).
fn combine_f64(e: &mut Emitter, k: Bundle, f: Bundle, polynomial: &[f64]) -> Bundle {
    let two = e.real(2.0);
    let denominator = e.add(f, two);
    let s = e.div(f, denominator);
    let z = e.mul(s, s);
    let p = e.polynomial(z, polynomial);
    let half = e.mul_real(f, 0.5);
    let half_square = e.mul(half, f);
    let q = e.fma(p, z, half_square);
    let low = e.mul_real(k, F64.ln2_low);
    let q = e.fma(q, s, low);
    let q = e.sub(half_square, q);
    let q = e.sub(f, q);
    e.fma_real(k, F64.ln2_high, q)
}

/// `result` for x in (0, inf); inf and NaN as they are, NaN below 0 and -inf at 0.
fn finish(e: &mut Emitter, x: Bundle, result: Bundle) -> Bundle {
    let infinity = e.real(f64::INFINITY);
    let finite = e.compare(FloatCC::LessThan, x, infinity);
    let result = e.select(finite, result, x);
    let zero = e.real(0.0);
    let negative = e.compare(FloatCC::LessThan, x, zero);
    let nan = e.real(f64::NAN);
    let result = e.select(negative, nan, result);
    let at_zero = e.compare(FloatCC::Equal, x, zero);
    let pole = e.real(f64::NEG_INFINITY);
    e.select(at_zero, pole, result)
}

/// log x.
pub(super) fn log(e: &mut Emitter, x: Bundle) -> Bundle {
    let p = split_any(e, x);
    let result = combine(e, p.exponent, p.fraction);
    finish(e, x, result)
}

/// log x in f64 for x = |an f32|, which is never subnormal; `polynomial` may be shorter than f64's.
pub(super) fn log_of_widened(e: &mut Emitter, x: Bundle, polynomial: &[f64]) -> Bundle {
    let p = split_normal(e, x);
    let result = combine_f64(e, p.exponent, p.fraction, polynomial);
    let infinity = e.real(f64::INFINITY);
    let finite = e.compare(FloatCC::LessThan, x, infinity);
    let result = e.select(finite, result, x);
    let zero = e.real(0.0);
    let at_zero = e.compare(FloatCC::Equal, x, zero);
    let pole = e.real(f64::NEG_INFINITY);
    e.select(at_zero, pole, result)
}

/// log(1 + x): with u = 1 + x rounded and c = x - (u - 1), the fraction is that of u plus 2^-k c.
pub(super) fn log1p(e: &mut Emitter, x: Bundle) -> Bundle {
    let one = e.real(1.0);
    let u = e.add(x, one);
    let p = split_normal(e, u);
    let f = corrected_fraction(e, x, u, &p);
    let result = combine(e, p.exponent, f);
    let result = finish(e, u, result);
    // 1 + x has lost the sign of a zero.
    let sign = e.sign(x);
    e.or(result, sign)
}

fn corrected_fraction(e: &mut Emitter, x: Bundle, u: Bundle, p: &Parts) -> Bundle {
    let width = e.width();
    let one = e.real(1.0);
    let kept = e.sub(u, one);
    let lost = e.sub(x, kept);
    // 2^(1-k), since 2^-k is subnormal at the upper end.
    let shifted = e.shift_left(p.biased, width.mantissa_bits());
    let bias = width.bits(1.0);
    let twice = e.bits(bias + width.bits(2.0));
    let scale = e.sub_bits(twice, shifted);
    let lost = e.mul(lost, scale);
    e.fma_real(lost, 0.5, p.fraction)
}

/// log(1 + u) for 0 <= u <= 1, or NaN.
pub(super) fn log1p_of_unit(e: &mut Emitter, u: Bundle) -> Bundle {
    match e.width() {
        Width::F32X4 => {
            let p = e.polynomial(u, &c::LOG1P_UNIT_F32);
            let p = e.mul(p, u);
            e.fma(p, u, u)
        }
        Width::F64X2 => {
            let one = e.real(1.0);
            let sum = e.add(u, one);
            let p = split_normal(e, sum);
            let f = corrected_fraction(e, u, sum, &p);
            let result = combine(e, p.exponent, f);
            e.keep_nan(u, result)
        }
    }
}

/// x log y; 0 when x is 0 and y is no NaN.
pub(super) fn xlogy(e: &mut Emitter, x: Bundle, y: Bundle) -> Bundle {
    let log = log(e, y);
    let product = e.mul(x, log);
    let zero = e.real(0.0);
    let ordered = e.compare(FloatCC::Ordered, y, y);
    let at_zero = e.compare(FloatCC::Equal, x, zero);
    let both = e.and(ordered, at_zero);
    e.select(both, zero, product)
}

/// log2(e) as an f32; what it lacks is the constant term of the f32 polynomial.
const LOG2_E_HIGH: f64 = std::f32::consts::LOG2_E as f64;

/// log2 x: k + f (log2(e) + P(f)) in f32, k + log2(e) log(1 + f) in f64.
pub(super) fn log2(e: &mut Emitter, x: Bundle) -> Bundle {
    let p = split_any(e, x);
    let f = p.fraction;
    let result = match e.width() {
        Width::F32X4 => {
            let q = e.polynomial(f, &c::LOG2_F32);
            let q = e.mul(q, f);
            let log = e.fma_real(f, LOG2_E_HIGH, q);
            e.add(log, p.exponent)
        }
        Width::F64X2 => {
            let zero = e.real(0.0);
            let log = combine(e, zero, f);
            let high = e.mul_real(log, std::f64::consts::LOG2_E);
            e.add(high, p.exponent)
        }
    };
    finish(e, x, result)
}
