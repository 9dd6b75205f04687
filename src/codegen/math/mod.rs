//! Elementary and special functions as inlined, branch-free vector code.
//!
//! [`emit`] writes a function for a [`Bundle`] of vectors through Cranelift's `FunctionBuilder`, with operations that every target has. The
//! f32 forms are within 2 ulp on the whole range, with infinities, NaN, signed zeros and subnormal numbers as the mathematical function
//! has them.

mod coefficients;
mod emitter;
mod exp;
mod hyperbolic;
mod log;

pub use emitter::{Bundle, Emitter, MAX_COPIES, Width};

use cranelift::frontend::FunctionBuilder;
use cranelift_codegen::ir::Value;

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
}

/// A function of this library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Function {
    /// e^x
    Exp,
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
}

impl Function {
    /// Every function.
    pub const ALL: &'static [Function] = &[
        Function::Exp,
        Function::Expm1,
        Function::Log,
        Function::Log1p,
        Function::Log2,
        Function::Tanh,
        Function::Sigmoid,
        Function::Softplus,
        Function::Xlogy,
    ];

    /// How many arguments it takes.
    pub fn arity(self) -> usize {
        match self {
            Function::Xlogy => 2,
            Function::Exp
            | Function::Expm1
            | Function::Log
            | Function::Log1p
            | Function::Log2
            | Function::Tanh
            | Function::Sigmoid
            | Function::Softplus => 1,
        }
    }
}

/// Emits a function of one argument for every vector of the bundle; of a function of two, `y` is the second argument.
pub fn emit(e: &mut Emitter, function: Function, x: Bundle, y: Bundle) -> Bundle {
    match function {
        Function::Exp => exp::exp(e, x),
        Function::Expm1 => exp::expm1(e, x),
        Function::Log => log::log(e, x),
        Function::Log1p => log::log1p(e, x),
        Function::Log2 => log::log2(e, x),
        Function::Tanh => hyperbolic::tanh(e, x),
        Function::Sigmoid => exp::sigmoid(e, x),
        Function::Softplus => exp::softplus(e, x),
        Function::Xlogy => log::xlogy(e, x, y),
    }
}

/// Emits softplus and sigmoid of the same argument, which share an exponential.
pub fn emit_softplus_sigmoid(e: &mut Emitter, x: Bundle) -> (Bundle, Bundle) {
    let both = exp::softplus_sigmoid(e, x);
    (both.softplus, both.sigmoid)
}
