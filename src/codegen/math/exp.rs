//! exp, expm1, and the functions made of exp(-|x|): sigmoid and softplus.
//!
//! With h the nearest integer to x/(2 log 2), x = 2 h log 2 + r and |r| <= log 2, e^x is 2^h 2^h (1 + r + r^2 P(r)). Each factor 2^h is a
//! normal number for every x whose exponential is neither 0 nor infinite, so one path serves overflow, normal results and subnormal ones.
//! For x <= 0 the exponents span less: n the nearest integer to x/log 2 and |r| <= log(2)/2, with 2^(n + 64) 2^-64 in place of 2^n.

use super::bundle::{Bundle, Width};
use super::coefficients as c;
use super::emitter::Emitter;
use super::log;
use cranelift_codegen::ir::condcodes::FloatCC;

/// The constants of an argument reduction in one format: x = h step + r.
struct Reduction {
    /// Below it the exponential rounds to 0.
    lowest: f64,
    /// Above it the exponential rounds to infinity.
    highest: f64,
    /// 1.5 2^m + bias, m the stored bits of the significand: a small number added to it is rounded to an integer, which appears in the
    /// low bits with the exponent's bias on top, so that a shift makes a power of two of it.
    magic: f64,
    inverse_step: f64,
    /// The step in two parts; the product of the first with h is exact.
    step_high: f64,
    step_low: f64,
    polynomial: &'static [f64],
}

const F32: Reduction = Reduction {
    lowest: -104.0,
    highest: 89.0,
    magic: 12_582_912.0 + 127.0,
    inverse_step: 0.5 * std::f64::consts::LOG2_E,
    step_high: 1.38629150390625,
    step_low: 2.857213530660374e-06,
    polynomial: &c::EXP_F32,
};

const F64: Reduction = Reduction {
    lowest: -746.0,
    highest: 710.0,
    magic: 6_755_399_441_055_744.0 + 1023.0,
    inverse_step: 0.5 * std::f64::consts::LOG2_E,
    step_high: 1.3862943607382476,
    step_low: 3.8164298585411754e-10,
    polynomial: &c::EXP_F64,
};

/// What the exponents of the reductions for x <= 0 are raised by, to be lowered again by a product that may be subnormal.
const RAISED: f64 = 64.0;

const F32_NEGATIVE: Reduction = Reduction {
    magic: F32.magic + RAISED,
    inverse_step: std::f64::consts::LOG2_E,
    step_high: F32.step_high / 2.0,
    step_low: F32.step_low / 2.0,
    polynomial: &c::EXP_NEGATIVE_F32,
    ..F32
};

const F64_NEGATIVE: Reduction = Reduction {
    magic: F64.magic + RAISED,
    inverse_step: std::f64::consts::LOG2_E,
    step_high: F64.step_high / 2.0,
    step_low: F64.step_low / 2.0,
    polynomial: &c::EXP_NEGATIVE_F64,
    ..F64
};

/// e^x = scale^2 (1 + fraction), or scale (1 + fraction) by the reductions for x <= 0, whose scale is 2^64 times too large.
struct Parts {
    scale: Bundle,
    fraction: Bundle,
}

/// The parts of e^x for x between the reduction's ends; NaN's fraction is NaN.
fn parts(e: &mut Emitter, k: &Reduction, x: Bundle, polynomial: &[f64]) -> Parts {
    let magic = e.real(k.magic);
    let inverse = e.real(k.inverse_step);
    let shifted = e.fma(x, inverse, magic);
    let h = e.sub(shifted, magic);
    let r = e.fma_real(h, -k.step_high, x);
    let r = e.fma_real(h, -k.step_low, r);
    let scale = e.shift_left(shifted, e.width().mantissa_bits());
    let p = e.polynomial(r, polynomial);
    let p = e.mul(p, r);
    let fraction = e.fma(p, r, r);
    Parts { scale, fraction }
}

/// e^x.
pub(super) fn exp(e: &mut Emitter, x: Bundle) -> Bundle {
    let k = match e.width() {
        Width::F32X4 => &F32,
        Width::F64X2 => &F64,
    };
    let lowest = e.real(k.lowest);
    let x = e.max_or_data(lowest, x);
    let highest = e.real(k.highest);
    let x = e.min_or_data(highest, x);
    let p = parts(e, k, x, k.polynomial);
    let once = e.fma(p.fraction, p.scale, p.scale);
    e.mul(once, p.scale)
}

/// e^x for x <= 0 or NaN.
pub(super) fn exp_of_negative(e: &mut Emitter, x: Bundle) -> Bundle {
    let k = match e.width() {
        Width::F32X4 => &F32_NEGATIVE,
        Width::F64X2 => &F64_NEGATIVE,
    };
    let lowest = e.real(k.lowest);
    let x = e.max_or_data(lowest, x);
    let p = parts(e, k, x, k.polynomial);
    let raised = e.fma(p.fraction, p.scale, p.scale);
    e.mul_real(raised, (-RAISED).exp2())
}

/// e^x in f64 for a result that is rounded to f32: anything beyond its range will do for what is beyond.
pub(super) fn exp_for_f32(e: &mut Emitter, x: Bundle, polynomial: &[f64]) -> Bundle {
    let k = Reduction {
        magic: F64.magic,
        ..F64_NEGATIVE
    };
    let lowest = e.real(-200.0);
    let x = e.max_or_data(lowest, x);
    let highest = e.real(200.0);
    let x = e.min_or_data(highest, x);
    let p = parts(e, &k, x, polynomial);
    e.fma(p.fraction, p.scale, p.scale)
}

/// Half of e^x for x >= 0 or NaN, which is finite a little further than e^x. The exponents are lowered first and raised by a product.
pub(super) fn half_exp(e: &mut Emitter, x: Bundle) -> Bundle {
    let negative = match e.width() {
        Width::F32X4 => &F32_NEGATIVE,
        Width::F64X2 => &F64_NEGATIVE,
    };
    let k = Reduction {
        magic: negative.magic - 2.0 * RAISED,
        ..*negative
    };
    let highest = e.real(k.highest + 1.0);
    let x = e.min_or_data(highest, x);
    let p = parts(e, &k, x, k.polynomial);
    let lowered = e.fma(p.fraction, p.scale, p.scale);
    e.mul_real(lowered, (RAISED - 1.0).exp2())
}

/// e^x - 1: with s = 2^h it is s (s r P + (s - 1/s)), whose parts keep the digits of r when h = 0.
pub(super) fn expm1(e: &mut Emitter, x: Bundle) -> Bundle {
    let width = e.width();
    let (k, lowest, polynomial): (&Reduction, f64, &[f64]) = match width {
        Width::F32X4 => (&F32, -20.0, &c::EXPM1_F32),
        Width::F64X2 => (&F64, -40.0, &c::EXP_F64),
    };
    let lowest = e.real(lowest);
    let bounded = e.max_or_data(lowest, x);
    let highest = e.real(k.highest);
    let bounded = e.min_or_data(highest, bounded);
    let p = parts(e, k, bounded, polynomial);
    let two_biases = e.bits(width.bits(1.0) << 1);
    let inverse = e.sub_bits(two_biases, p.scale);
    let offset = e.sub(p.scale, inverse);
    let inner = e.fma(p.fraction, p.scale, offset);
    let result = e.mul(inner, p.scale);
    // The sum above turns -0 into +0.
    let sign = e.sign(x);
    e.or(result, sign)
}

/// log(1 + e^x) and its derivative 1/(1 + e^-x), which share e^-|x|.
pub(super) struct SoftplusSigmoid {
    pub(super) softplus: Bundle,
    pub(super) sigmoid: Bundle,
}

/// Both, of the same x.
pub(super) fn softplus_sigmoid(e: &mut Emitter, x: Bundle) -> SoftplusSigmoid {
    let u = exp_of_neg_abs(e, x);
    let sigmoid = sigmoid_from(e, x, u);
    let softplus = softplus_from(e, x, u);
    SoftplusSigmoid { softplus, sigmoid }
}

/// log(1 + e^x) = max(x, 0) + log(1 + e^-|x|).
pub(super) fn softplus(e: &mut Emitter, x: Bundle) -> Bundle {
    let u = exp_of_neg_abs(e, x);
    softplus_from(e, x, u)
}

/// 1/(1 + e^-x).
pub(super) fn sigmoid(e: &mut Emitter, x: Bundle) -> Bundle {
    let u = exp_of_neg_abs(e, x);
    sigmoid_from(e, x, u)
}

/// e^-|x|.
pub(super) fn exp_of_neg_abs(e: &mut Emitter, x: Bundle) -> Bundle {
    let x = e.neg_abs(x);
    exp_of_negative(e, x)
}

/// The sigmoid of x from u = e^-|x|: with w = u/(1+u) it is 1 - w for x >= 0, else w = u - u w, which loses less to the rounding of 1 + u
/// than the quotient itself.
pub(super) fn sigmoid_from(e: &mut Emitter, x: Bundle, u: Bundle) -> Bundle {
    let minus_w = minus_w(e, u);
    let base = one_or(e, x, Sign::Same, u);
    e.fma(minus_w, base, base)
}

/// -u/(1+u).
fn minus_w(e: &mut Emitter, u: Bundle) -> Bundle {
    let minus_one = e.real(-1.0);
    let denominator = e.sub(minus_one, u);
    e.div(u, denominator)
}

/// 1 where x >= 0 (or where -x is), else u.
fn one_or(e: &mut Emitter, x: Bundle, sign: Sign, u: Bundle) -> Bundle {
    let (zero, one) = (e.real(0.0), e.real(1.0));
    let beyond = match sign {
        Sign::Same => FloatCC::GreaterThanOrEqual,
        Sign::Negated => FloatCC::LessThanOrEqual,
    };
    let positive = e.compare(beyond, x, zero);
    let step = e.and(positive, one);
    e.max_or_data(step, u)
}

/// The softplus of x from u = e^-|x|.
pub(super) fn softplus_from(e: &mut Emitter, x: Bundle, u: Bundle) -> Bundle {
    let zero = e.real(0.0);
    let positive = e.max_or_data(zero, x);
    let log = log::log1p_of_unit(e, u);
    e.add(positive, log)
}

/// Whether a function is taken of x or of -x.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    Same,
    Negated,
}

/// What sigmoid and softplus of x and of -x have in common, made as it is asked for: all of them of one e^-|x|.
#[derive(Clone, Copy)]
pub struct Logistic {
    u: Bundle,
    minus_w: Option<Bundle>,
    /// What [`one_or`] gave first, and for which sign.
    base: Option<(Sign, Bundle)>,
    log: Option<Bundle>,
}

impl Logistic {
    /// Of x, and of -x.
    pub fn new(e: &mut Emitter, x: Bundle) -> Logistic {
        let u = exp_of_neg_abs(e, x);
        Logistic {
            u,
            minus_w: None,
            base: None,
            log: None,
        }
    }

    /// What sigmoids have in common.
    pub fn of_sigmoids(&mut self, e: &mut Emitter) -> Bundle {
        let u = self.u;
        *self.minus_w.get_or_insert_with(|| minus_w(e, u))
    }

    /// What softplus have in common.
    pub fn of_softplus(&mut self, e: &mut Emitter) -> Bundle {
        let u = self.u;
        *self.log.get_or_insert_with(|| log::log1p_of_unit(e, u))
    }

    /// How many vectors there are.
    pub fn copies(&self) -> usize {
        self.u.copies()
    }

    /// The sigmoid of the argument of [`Logistic::new`] or of its negative; the same bits as without sharing.
    pub fn sigmoid(&mut self, e: &mut Emitter, x: Bundle, sign: Sign) -> Bundle {
        if let Some(again) = self.sigmoid_again(e, sign) {
            return again;
        }
        let minus_w = self.of_sigmoids(e);
        let base = one_or(e, x, sign, self.u);
        self.base = Some((sign, base));
        e.fma(minus_w, base, base)
    }

    /// A second sigmoid, which needs no argument.
    pub fn sigmoid_again(&mut self, e: &mut Emitter, sign: Sign) -> Option<Bundle> {
        let (known, mut base) = self.base?;
        if known != sign {
            // Of u and 1 it is the other one; where x is 0 both are 1.
            let one = e.real(1.0);
            let both = e.xor(self.u, one);
            base = e.xor(base, both);
        }
        let minus_w = self.of_sigmoids(e);
        Some(e.fma(minus_w, base, base))
    }

    /// The softplus of x, as [`Logistic::sigmoid`].
    pub fn softplus(&mut self, e: &mut Emitter, x: Bundle, sign: Sign) -> Bundle {
        let log = self.of_softplus(e);
        let zero = e.real(0.0);
        match sign {
            Sign::Same => {
                let positive = e.max_or_data(zero, x);
                e.add(positive, log)
            }
            // max(-x, 0) = -min(x, 0)
            Sign::Negated => {
                let negative = e.min_or_data(zero, x);
                e.sub(log, negative)
            }
        }
    }
}
