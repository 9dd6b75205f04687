//! sin, cos and tan.
//!
//! x = n pi/2 + r with |r| <= pi/4: the parity of n picks the polynomial of sin or of cos, its next bit the sign. The reduction holds to
//! |x| <= 1e5. Where a lane is larger, a branch that is otherwise not taken asks a function for those lanes. The f64 forms are that function
//! for every lane.

use super::bundle::{Bundle, Width};
use super::coefficients as c;
use super::emitter::Emitter;
use super::runtime::{self, Large};
use cranelift_codegen::ir::condcodes::FloatCC;

/// Up to here the reduction is exact enough: n has 16 bits.
pub(super) const LARGEST_REDUCED: f64 = 1e5;

/// 1.5 2^23: a small number added to it is rounded to an integer, found in the low bits.
const MAGIC: f64 = 12_582_912.0;

/// pi/2 as three f32 for fused products, each cut off, so that none is negative: x - n times the first is exact, and 0 times each of them
/// leaves a -0 as it is when subtracted.
const HALF_PI_F32: [f64; 3] = [
    1.570796251296997,
    7.549789415861596e-08,
    5.390302529957765e-15,
];

/// pi/2 as 33 bits and the rest.
const HALF_PI_F64: [f64; 2] = [1.5707963267341256, 6.077100506506192e-11];

/// n, the nearest integer to x/(pi/2).
struct Quadrant {
    n: Bundle,
    /// The sum of the magic number, n and the quarter turns asked for, whose low bits tell the quadrant.
    shifted: Bundle,
}

/// The quadrant of x; `quarters` is added in the low bits, so that 1 makes sin of cos.
fn quadrant(e: &mut Emitter, x: Bundle, quarters: f64) -> Quadrant {
    let magic = e.real(MAGIC + quarters);
    let inverse = e.real(std::f64::consts::FRAC_2_PI);
    let shifted = e.fma(x, inverse, magic);
    let n = e.sub(shifted, magic);
    Quadrant { n, shifted }
}

/// x - n pi/2, rounded.
fn reduce(e: &mut Emitter, x: Bundle, n: Bundle) -> Bundle {
    if !e.context.has_fma() {
        let exact = reduce_in_f64(e, x, n);
        return e.narrow(exact);
    }
    let [p, q, s] = HALF_PI_F32;
    let r = e.fma_real(n, -p, x);
    let r = e.fma_real(n, -q, r);
    e.fma_real(n, -s, r)
}

/// x - n pi/2 and what its rounding lost, as a number to subtract.
fn reduce_with_rest(e: &mut Emitter, x: Bundle, n: Bundle) -> (Bundle, Bundle) {
    if !e.context.has_fma() {
        let exact = reduce_in_f64(e, x, n);
        let r = e.narrow(exact);
        let rounded = e.widen(r);
        let lost = e.in_f64(|e| [e.sub(rounded[0], exact[0]), e.sub(rounded[1], exact[1])]);
        return (r, e.narrow(lost));
    }
    let [p, q, s] = HALF_PI_F32;
    let first = e.fma_real(n, -p, x);
    let second = e.mul_real(n, q);
    let minus_second = e.neg(second);
    let second_rest = e.fma_real(n, q, minus_second);
    let r = e.sub(first, second);
    let taken = e.sub(first, r);
    let lost = e.sub(second, taken);
    let lost = e.add(lost, second_rest);
    (r, e.fma_real(n, s, lost))
}

/// x - n pi/2 in f64, without fused products: n times the first part has 50 bits at most.
fn reduce_in_f64(e: &mut Emitter, x: Bundle, n: Bundle) -> [Bundle; 2] {
    let xs = e.widen(x);
    let ns = e.widen(n);
    e.in_f64(|e| {
        let [p, q] = HALF_PI_F64;
        [(xs[0], ns[0]), (xs[1], ns[1])].map(|(x, n)| {
            let first = e.mul_real(n, p);
            let r = e.sub(x, first);
            let second = e.mul_real(n, q);
            e.sub(r, second)
        })
    })
}

/// sin r and cos r.
fn kernels(e: &mut Emitter, r: Bundle) -> (Bundle, Bundle) {
    let z = e.mul(r, r);
    let p = e.polynomial(z, &c::SIN_F32);
    // The sum with +0 makes a +0 of the product at r = 0, so that sin(-0) is -0.
    let zero = e.real(0.0);
    let p = e.fma(p, z, zero);
    let sin = e.fma(p, r, r);
    let minus_half = e.real(-0.5);
    let q = e.polynomial(z, &c::COS_F32);
    let q = e.fma(q, z, minus_half);
    let one = e.real(1.0);
    let cos = e.fma(q, z, one);
    (sin, cos)
}

/// The value in the quadrant that the low bits of `shifted` tell: 0 sin, 1 cos, 2 -sin, 3 -cos.
fn in_quadrant(e: &mut Emitter, shifted: Bundle, sin: Bundle, cos: Bundle) -> Bundle {
    // The lowest bit becomes the number 2, the next one the sign.
    let top = e.shift_left(shifted, 30);
    let zero = e.real(0.0);
    let odd = e.compare(FloatCC::NotEqual, top, zero);
    let value = e.select(odd, cos, sin);
    let sign = e.sign(top);
    e.xor(value, sign)
}

/// sin x.
pub(super) fn sin(e: &mut Emitter, x: Bundle) -> Bundle {
    turned(e, x, 0.0, runtime::SIN, Large::Sin)
}

/// cos x.
pub(super) fn cos(e: &mut Emitter, x: Bundle) -> Bundle {
    turned(e, x, 1.0, runtime::COS, Large::Cos)
}

fn turned(
    e: &mut Emitter,
    x: Bundle,
    quarters: f64,
    lanes: runtime::Lanes,
    large: Large,
) -> Bundle {
    if e.width() == Width::F64X2 {
        return runtime::call(e, lanes, x, None);
    }
    let q = quadrant(e, x, quarters);
    let r = reduce(e, x, q.n);
    let (sin, cos) = kernels(e, r);
    let value = in_quadrant(e, q.shifted, sin, cos);
    runtime::call_where_large(e, large, x, value)
}

/// sin x and cos x, which share the reduction and the polynomials.
pub(super) fn sin_cos(e: &mut Emitter, x: Bundle) -> (Bundle, Bundle) {
    if e.width() == Width::F64X2 {
        return (sin(e, x), cos(e, x));
    }
    let q = quadrant(e, x, 0.0);
    let r = reduce(e, x, q.n);
    let (sin, cos) = kernels(e, r);
    let sin_value = in_quadrant(e, q.shifted, sin, cos);
    let next = e.bits(1);
    let shifted = e.add_bits(q.shifted, next);
    let cos_value = in_quadrant(e, shifted, sin, cos);
    let sin_value = runtime::call_where_large(e, Large::Sin, x, sin_value);
    let cos_value = runtime::call_where_large(e, Large::Cos, x, cos_value);
    (sin_value, cos_value)
}

/// tan x: that of r for even n, -1/tan r for odd n. What the rounding of r lost counts here, since tan is steeper than its argument.
pub(super) fn tan(e: &mut Emitter, x: Bundle) -> Bundle {
    if e.width() == Width::F64X2 {
        return runtime::call(e, runtime::TAN, x, None);
    }
    let q = quadrant(e, x, 0.0);
    let (r, lost) = reduce_with_rest(e, x, q.n);
    let z = e.mul(r, r);
    let p = e.polynomial(z, &c::TAN_F32);
    let p = e.mul(p, z);
    let minus_lost = e.neg(lost);
    let tail = e.fma(p, r, minus_lost);
    let tan = e.add(r, tail);
    let top = e.shift_left(q.shifted, 30);
    let zero = e.real(0.0);
    let odd = e.compare(FloatCC::NotEqual, top, zero);
    let (one, minus_one) = (e.real(1.0), e.real(-1.0));
    let numerator = e.select(odd, minus_one, tan);
    let denominator = e.select(odd, tan, one);
    let value = e.div(numerator, denominator);
    runtime::call_where_large(e, Large::Tan, x, value)
}
