//! asin, acos, atan and atan2; the f64 forms are calls for every lane.

use super::bundle::{Bundle, Width};
use super::coefficients as c;
use super::emitter::Emitter;
use super::runtime;
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};

/// pi/2 as an f32, and what it lacks.
const HALF_PI_HIGH: f64 = std::f32::consts::FRAC_PI_2 as f64;
const HALF_PI_LOW: f64 = -4.371138828673793e-08;

/// What asin and acos share: for a = |x| above 1/2, asin a = pi/2 - 2 asin(sqrt((1-a)/2)).
struct Folded {
    /// Where |x| > 1/2.
    large: Bundle,
    /// The argument of the polynomial, not negative, and its square.
    s: Bundle,
    z: Bundle,
}

fn fold(e: &mut Emitter, x: Bundle) -> Folded {
    let size = e.abs(x);
    let half = e.real(0.5);
    let large = e.compare(FloatCC::GreaterThan, size, half);
    let one = e.real(1.0);
    let rest = e.sub(one, size);
    let rest = e.mul(rest, half);
    let root = e.sqrt(rest);
    let square = e.mul(x, x);
    Folded {
        large,
        s: e.select(large, root, size),
        z: e.select(large, rest, square),
    }
}

/// asin x.
pub(super) fn asin(e: &mut Emitter, x: Bundle) -> Bundle {
    if e.width() == Width::F64X2 {
        return runtime::call(e, runtime::ASIN, x, None);
    }
    let f = fold(e, x);
    let p = e.polynomial(f.z, &c::ASIN_F32);
    let p = e.mul(p, f.z);
    let tail = e.mul(p, f.s);
    let small = e.add(f.s, tail);
    let tail = e.add(tail, tail);
    let tail = e.add_real(tail, -HALF_PI_LOW);
    let twice = e.add(f.s, f.s);
    let high = e.real(HALF_PI_HIGH);
    let large = e.sub(high, twice);
    let large = e.sub(large, tail);
    let value = e.select(f.large, large, small);
    let sign = e.sign(x);
    e.or(value, sign)
}

/// acos x: pi/2 - asin x for small x, 2 asin(s) or pi - 2 asin(s) for large.
pub(super) fn acos(e: &mut Emitter, x: Bundle) -> Bundle {
    if e.width() == Width::F64X2 {
        return runtime::call(e, runtime::ACOS, x, None);
    }
    let f = fold(e, x);
    let twice = e.add(f.s, f.s);
    let sign = e.sign(x);
    let twice = e.xor(twice, sign);
    let negated = e.neg(twice);
    let u = e.select(f.large, negated, x);
    // The base is pi/2, or 0 or pi by the sign: pi/2 less or plus pi/2.
    let zero = e.real(0.0);
    let negative = e.compare(FloatCC::LessThan, x, zero);
    let (high, low) = (e.real(HALF_PI_HIGH), e.real(HALF_PI_LOW));
    let (pi_high, pi_low) = (e.real(2.0 * HALF_PI_HIGH), e.real(2.0 * HALF_PI_LOW));
    let end_high = e.select(negative, pi_high, zero);
    let end_low = e.select(negative, pi_low, zero);
    let base_high = e.select(f.large, end_high, high);
    let base_low = e.select(f.large, end_low, low);
    let p = e.polynomial(f.z, &c::ASIN_F32);
    let p = e.mul(p, f.z);
    let tail = e.mul(p, u);
    let tail = e.sub(tail, base_low);
    let sum = e.add(u, tail);
    e.sub(base_high, sum)
}

/// base + atan q for 0 <= |q| <= 1, the base in two parts.
fn arctangent(e: &mut Emitter, q: Bundle, base_high: Bundle, base_low: Bundle) -> Bundle {
    let z = e.mul(q, q);
    let p = e.polynomial(z, &c::ATAN_F32);
    let p = e.mul(p, z);
    let tail = e.fma(p, q, base_low);
    let sum = e.add(q, tail);
    e.add(base_high, sum)
}

/// atan x; beyond 1 it is pi/2 - atan(1/x).
pub(super) fn atan(e: &mut Emitter, x: Bundle) -> Bundle {
    if e.width() == Width::F64X2 {
        return runtime::call(e, runtime::ATAN, x, None);
    }
    let size = e.abs(x);
    let one = e.real(1.0);
    let beyond = e.compare(FloatCC::GreaterThan, size, one);
    let minus_one = e.real(-1.0);
    let numerator = e.select(beyond, minus_one, size);
    let denominator = e.select(beyond, size, one);
    let q = e.div(numerator, denominator);
    let zero = e.real(0.0);
    let (high, low) = (e.real(HALF_PI_HIGH), e.real(HALF_PI_LOW));
    let high = e.select(beyond, high, zero);
    let low = e.select(beyond, low, zero);
    let value = arctangent(e, q, high, low);
    let sign = e.sign(x);
    e.or(value, sign)
}

/// The angle of the point (x, y), as C's atan2(y, x).
pub(super) fn atan2(e: &mut Emitter, y: Bundle, x: Bundle) -> Bundle {
    if e.width() == Width::F64X2 {
        return runtime::call(e, runtime::ATAN2, y, Some(x));
    }
    let (size_x, size_y) = (e.abs(x), e.abs(y));
    let steep = e.compare(FloatCC::GreaterThan, size_y, size_x);
    let smaller = e.select(steep, size_x, size_y);
    let larger = e.select(steep, size_y, size_x);
    let q = ratio(e, smaller, larger);

    // From the positive x axis: q, or pi/2 - q when steep; behind the y axis pi minus that.
    let behind = sign_mask(e, x);
    let (high, low) = (e.real(HALF_PI_HIGH), e.real(HALF_PI_LOW));
    let (pi_high, pi_low) = (e.real(2.0 * HALF_PI_HIGH), e.real(2.0 * HALF_PI_LOW));
    let flat_high = e.and(behind, pi_high);
    let flat_low = e.and(behind, pi_low);
    let base_high = e.select(steep, high, flat_high);
    let base_low = e.select(steep, low, flat_low);
    let turned = e.xor(steep, behind);
    let turned = e.sign(turned);
    let q = e.xor(q, turned);
    let value = arctangent(e, q, base_high, base_low);
    let sign = e.sign(y);
    let value = e.or(value, sign);
    let sum = e.add(x, y);
    let nan = e.compare(FloatCC::Unordered, x, y);
    e.select(nan, sum, value)
}

/// smaller / larger, 1 where both are infinite and 0 where both are 0.
fn ratio(e: &mut Emitter, smaller: Bundle, larger: Bundle) -> Bundle {
    let quotient = e.div(smaller, larger);
    let (zero, one, infinity) = (e.real(0.0), e.real(1.0), e.real(f64::INFINITY));
    let infinite = e.compare(FloatCC::Equal, smaller, infinity);
    let quotient = e.select(infinite, one, quotient);
    let nothing = e.compare(FloatCC::Equal, larger, zero);
    e.select(nothing, zero, quotient)
}

/// All ones where the sign bit is set, -0 included.
fn sign_mask(e: &mut Emitter, x: Bundle) -> Bundle {
    let zero = e.real(0.0);
    e.compare_bits(IntCC::SignedLessThan, x, zero)
}
