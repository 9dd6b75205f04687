//! The error function; its f64 form is a call for every lane.

use super::bundle::{Bundle, Width};
use super::coefficients as c;
use super::emitter::Emitter;
use super::{exp, runtime};
use cranelift_codegen::ir::condcodes::FloatCC;

/// Up to here erf is an odd polynomial.
const SMALL: f64 = 0.95;

/// From here on erf is 1 in f32.
const LARGEST: f64 = 4.0;

/// erf x: x + x P(x^2) for small x, elsewhere 1 - e^(-a Q(a)), a = |x|, with the sign of x.
pub(super) fn erf(e: &mut Emitter, x: Bundle) -> Bundle {
    if e.width() == Width::F64X2 {
        return runtime::call(e, runtime::ERF, x, None);
    }
    let size = e.abs(x);
    let largest = e.real(LARGEST);
    let a = e.min_or_data(largest, size);
    let q = e.polynomial(a, &c::ERF_LARGE_F32);
    let q = e.mul(q, a);
    let q = e.neg(q);
    let rest = exp::exp_of_negative(e, q);
    let one = e.real(1.0);
    let large = e.sub(one, rest);

    let z = e.mul(size, size);
    let p = e.polynomial(z, &c::ERF_SMALL_F32);
    let small = e.fma(p, size, size);
    let limit = e.real(SMALL);
    let is_small = e.compare(FloatCC::LessThan, size, limit);
    let value = e.select(is_small, small, large);
    let sign = e.sign(x);
    e.or(value, sign)
}
