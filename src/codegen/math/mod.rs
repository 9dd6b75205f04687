//! Elementary and special functions as inlined, branch-free vector code.
//!
//! [`emit`] writes a function for a [`Bundle`] of vectors through Cranelift's `FunctionBuilder`, with operations that every target has. The
//! f32 forms are within 2 ulp on the whole range, with infinities, NaN, signed zeros and subnormal numbers as the mathematical function
//! has them.

mod bundle;
mod coefficients;
mod emitter;
mod error;
mod exp;
mod hyperbolic;
mod inverse;
mod log;
mod power;
mod runtime;
pub mod special;
mod special_tables;
mod trig;

pub use bundle::{Bundle, MAX_COPIES, Width};
pub use emitter::Emitter;
pub use exp::{Logistic, Sign};
pub use runtime::{signature, symbols};

use cranelift::frontend::FunctionBuilder;
use cranelift_codegen::ir::{FuncRef, Type, Value, types};

/// What emission needs to know of its surroundings.
pub trait MathContext {
    /// Whether the target has fused multiply-add. Without it, Cranelift's `fma` is a call for every lane, so it is never emitted.
    fn has_fma(&self) -> bool;

    /// A vector whose lanes hold these bits.
    ///
    /// [`Width::splat`] at the builder's position is right everywhere: the constant is one load from memory next to its use. An
    /// implementation may keep a few often used ones in registers across a loop instead.
    fn constant(&mut self, b: &mut FunctionBuilder, width: Width, bits: u64) -> Value {
        width.splat(b, bits)
    }

    /// The type of addresses.
    fn pointer_type(&self) -> Type {
        types::I64
    }

    /// The imported function of this name, one of [`symbols`], with [`signature`].
    fn function(&mut self, b: &mut FunctionBuilder, symbol: &'static str) -> FuncRef;
}

/// A function of this library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Function {
    /// e^x
    Exp,
    /// e^x for x that is known not to be above 0, as after the largest was subtracted: a sixth cheaper than `Exp`. Wrong above 43.
    ExpNonPositive,
    /// e^x - 1
    Expm1,
    /// The natural logarithm.
    Log,
    /// log(1 + x)
    Log1p,
    /// The logarithm to base 2.
    Log2,
    /// The hyperbolic tangent.
    Tanh,
    /// 1/(1 + e^-x)
    Sigmoid,
    /// log(1 + e^x)
    Softplus,
    /// x log y, 0 at x = 0.
    Xlogy,
    /// The sine. The f64 forms of this and of the functions up to `Atan2` are calls (libm, below 1 ulp).
    Sin,
    /// The cosine.
    Cos,
    /// The tangent.
    Tan,
    /// The inverse sine.
    Asin,
    /// The inverse cosine.
    Acos,
    /// The inverse tangent.
    Atan,
    /// The angle of (y, x), first argument y, as C's atan2.
    Atan2,
    /// The hyperbolic sine.
    Sinh,
    /// The hyperbolic cosine.
    Cosh,
    /// The error function; f64 by call.
    Erf,
    /// x^y with the special cases of C's pow; f64 by call.
    Pow,
    /// The logarithm of |Gamma(x)|, by [`special::lgamma`].
    Lgamma,
    /// Its derivative, by [`special::digamma`].
    Digamma,
    /// The n-th derivative of digamma at x, by [`special::polygamma`]; the first argument is n.
    Polygamma,
    /// The square root, correctly rounded.
    Sqrt,
    /// The largest whole number not above x.
    Floor,
    /// The smallest whole number not below x.
    Ceil,
    /// The nearest whole number, of two the even one.
    Round,
}

impl Function {
    /// Every function.
    pub const ALL: &'static [Function] = &[
        Function::Exp,
        Function::ExpNonPositive,
        Function::Expm1,
        Function::Log,
        Function::Log1p,
        Function::Log2,
        Function::Tanh,
        Function::Sigmoid,
        Function::Softplus,
        Function::Xlogy,
        Function::Sin,
        Function::Cos,
        Function::Tan,
        Function::Asin,
        Function::Acos,
        Function::Atan,
        Function::Atan2,
        Function::Sinh,
        Function::Cosh,
        Function::Erf,
        Function::Pow,
        Function::Lgamma,
        Function::Digamma,
        Function::Polygamma,
        Function::Sqrt,
        Function::Floor,
        Function::Ceil,
        Function::Round,
    ];

    /// How many arguments it takes.
    pub fn arity(self) -> usize {
        match self {
            Function::Xlogy | Function::Atan2 | Function::Pow | Function::Polygamma => 2,
            Function::Exp
            | Function::ExpNonPositive
            | Function::Expm1
            | Function::Log
            | Function::Log1p
            | Function::Log2
            | Function::Tanh
            | Function::Sigmoid
            | Function::Softplus
            | Function::Sin
            | Function::Cos
            | Function::Tan
            | Function::Asin
            | Function::Acos
            | Function::Atan
            | Function::Sinh
            | Function::Cosh
            | Function::Erf
            | Function::Lgamma
            | Function::Digamma
            | Function::Sqrt
            | Function::Floor
            | Function::Ceil
            | Function::Round => 1,
        }
    }
}

/// Emits a function for every vector of the bundle; `y` is the second argument of a function of two, and not looked at otherwise.
///
/// Sin, Cos and Tan on f32 add blocks: afterwards the builder stands in another one.
pub fn emit(e: &mut Emitter, function: Function, x: Bundle, y: Bundle) -> Bundle {
    match function {
        Function::Exp => exp::exp(e, x),
        Function::ExpNonPositive => exp::exp_of_negative(e, x),
        Function::Expm1 => exp::expm1(e, x),
        Function::Log => e.in_pairs(x, y, |e, x, _| log::log(e, x)),
        Function::Log1p => e.in_pairs(x, y, |e, x, _| log::log1p(e, x)),
        Function::Log2 => e.in_pairs(x, y, |e, x, _| log::log2(e, x)),
        Function::Tanh => hyperbolic::tanh(e, x),
        Function::Sigmoid => exp::sigmoid(e, x),
        Function::Softplus => exp::softplus(e, x),
        Function::Xlogy => e.in_pairs(x, y, log::xlogy),
        Function::Sin => trig::sin(e, x),
        Function::Cos => trig::cos(e, x),
        Function::Tan => trig::tan(e, x),
        Function::Asin => inverse::asin(e, x),
        Function::Acos => inverse::acos(e, x),
        Function::Atan => inverse::atan(e, x),
        Function::Atan2 => inverse::atan2(e, x, y),
        Function::Sinh => hyperbolic::sinh(e, x),
        Function::Cosh => hyperbolic::cosh(e, x),
        Function::Erf => error::erf(e, x),
        Function::Pow => power::pow(e, x, y),
        Function::Lgamma => runtime::call(e, runtime::LGAMMA, x, None),
        Function::Digamma => runtime::call(e, runtime::DIGAMMA, x, None),
        Function::Polygamma => runtime::call(e, runtime::POLYGAMMA, x, Some(y)),
        Function::Sqrt => e.sqrt(x),
        Function::Floor => e.floor(x),
        Function::Ceil => e.ceil(x),
        Function::Round => e.round(x),
    }
}

/// Emits sin and cos of the same argument, which share reduction and polynomials.
pub fn emit_sin_cos(e: &mut Emitter, x: Bundle) -> (Bundle, Bundle) {
    trig::sin_cos(e, x)
}

/// Emits softplus and sigmoid of the same argument, which share an exponential.
pub fn emit_softplus_sigmoid(e: &mut Emitter, x: Bundle) -> (Bundle, Bundle) {
    let both = exp::softplus_sigmoid(e, x);
    (both.softplus, both.sigmoid)
}
