//! The operators of the IR. What gives each a meaning matches on all of them, so that a new one shows where it is needed;
//! what is for some asks [`Op::operands`] and [`Op::arity`] about the others.

use std::cmp::Ordering;

/// The three types of values (rule R9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Type {
    Real,
    /// 64 bits, wraps.
    Int,
    Bool,
}

/// Declares the operators, one a line: how it is written in the language (the function's name or the operator's sign),
/// what it may be applied to, and to how many; `None` for two or more.
macro_rules! operators {
    ($($(#[$doc:meta])* $op:ident: $name:literal, $operands:ident, $arity:expr;)*) => {
        /// A pointwise operator. The operands have one type unless it is said; arithmetic exists on reals and on ints.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Op {
            $($(#[$doc])* $op,)*
        }

        impl Op {
            /// Every operator, in the order of declaration.
            pub const ALL: &[Op] = &[$(Op::$op),*];

            /// As it is written in the language: the function's name or the operator's sign.
            pub fn name(self) -> &'static str {
                match self {
                    $(Op::$op => $name,)*
                }
            }

            /// What it may be applied to.
            pub fn operands(self) -> Operands {
                match self {
                    $(Op::$op => Operands::$operands,)*
                }
            }

            /// How many operands it has; `None` for two or more.
            pub fn arity(self) -> Option<usize> {
                match self {
                    $(Op::$op => $arity,)*
                }
            }
        }
    };
}

operators! {
    // Arithmetic, real or int.
    Add: "+", Numbers, Some(2);
    Sub: "-", Numbers, Some(2);
    Mul: "*", Numbers, Some(2);
    Neg: "-", Numbers, Some(1);
    Abs: "abs", Numbers, Some(1);
    /// -1, 0 or 1; NaN stays NaN.
    Sign: "sign", Numbers, Some(1);
    /// Two or more operands; NaN passes through.
    Max: "max", Numbers, None;
    /// Two or more operands; NaN passes through.
    Min: "min", Numbers, None;
    /// `clamp(x, low, high)`: min(max(x, low), high).
    Clamp: "clamp", Numbers, Some(3);

    // Int only.
    /// Floor division; by 0 an error.
    IntDiv: "div", Ints, Some(2);
    /// Remainder of floor division; by 0 an error.
    Mod: "mod", Ints, Some(2);

    // Real only.
    Div: "/", Reals, Some(2);
    /// `x^y`, as C's `pow`; `x^0` is 1.
    Pow: "^", Reals, Some(2);
    Sqrt: "sqrt", Reals, Some(1);
    Exp: "exp", Reals, Some(1);
    Expm1: "expm1", Reals, Some(1);
    Log: "log", Reals, Some(1);
    Log1p: "log1p", Reals, Some(1);
    Log2: "log2", Reals, Some(1);
    Sin: "sin", Reals, Some(1);
    Cos: "cos", Reals, Some(1);
    Tan: "tan", Reals, Some(1);
    Asin: "asin", Reals, Some(1);
    Acos: "acos", Reals, Some(1);
    Atan: "atan", Reals, Some(1);
    Atan2: "atan2", Reals, Some(2);
    Sinh: "sinh", Reals, Some(1);
    Cosh: "cosh", Reals, Some(1);
    Tanh: "tanh", Reals, Some(1);
    Sigmoid: "sigmoid", Reals, Some(1);
    /// `log(1 + exp(x))`.
    Softplus: "softplus", Reals, Some(1);
    Relu: "relu", Reals, Some(1);
    Floor: "floor", Reals, Some(1);
    Ceil: "ceil", Reals, Some(1);
    /// To the nearest, ties to even.
    Round: "round", Reals, Some(1);
    Erf: "erf", Reals, Some(1);
    Lgamma: "lgamma", Reals, Some(1);
    Digamma: "digamma", Reals, Some(1);
    /// `polygamma(n, x)`; n is an int.
    Polygamma: "polygamma", IntAndReal, Some(2);
    /// `x * log(y)`, 0 for x = 0 and y not NaN.
    Xlogy: "xlogy", Reals, Some(2);
    /// Two or more operands.
    LogSumExp: "logsumexp", Reals, None;
    /// The operand; no gradient passes.
    StopGradient: "stop_gradient", Reals, Some(1);

    // Conversions.
    /// Int to real.
    ToReal: "real", Ints, Some(1);
    /// Real to int: towards zero, saturating, 0 for NaN.
    ToInt: "int", Reals, Some(1);

    // Bool results; operands both real, both int or (Eq and Ne) both bool.
    Eq: "==", Alike, Some(2);
    Ne: "!=", Alike, Some(2);
    Lt: "<", Numbers, Some(2);
    Le: "<=", Numbers, Some(2);
    Gt: ">", Numbers, Some(2);
    Ge: ">=", Numbers, Some(2);
    // Bool only; the second operand is not evaluated where the first decides.
    And: "and", Bools, Some(2);
    Or: "or", Bools, Some(2);
    Not: "not", Bools, Some(1);
}

/// What a reduction does with its elements. Nothing to reduce gives the value in parentheses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ReduceOp {
    /// (0), real or int.
    Sum,
    /// (NaN), real.
    Mean,
    /// (1), real or int.
    Prod,
    /// (-inf), real or int (an int maximum of nothing is the least int).
    Max,
    /// (inf), real or int.
    Min,
    /// (-inf), real.
    LogSumExp,
    /// (0), real: the root of the sum of squares, scaled so that it does not overflow.
    Norm,
    /// (false), bool.
    Any,
    /// (true), bool.
    All,
    /// (0), of bool, gives an int.
    Count,
    /// (error), one axis, gives the index of the first of the largest.
    ArgMax,
    /// (error), one axis.
    ArgMin,
}

/// What the operands of an operator are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operands {
    /// Alike, real or int.
    Numbers,
    Reals,
    Ints,
    Bools,
    /// Alike, of any type.
    Alike,
    /// An int, then a real.
    IntAndReal,
}

impl Op {
    /// The type of the result for operands of type `operand` (for mixed operands, the last one's).
    pub fn result(self, operand: Type) -> Type {
        match self {
            Op::StopGradient => operand,
            Op::IntDiv | Op::Mod | Op::ToInt => Type::Int,
            Op::And | Op::Or | Op::Not => Type::Bool,
            _ if self.compares() => Type::Bool,
            _ if self.operands() == Operands::Numbers => operand,
            _ => Type::Real,
        }
    }

    /// Whether it compares.
    pub fn compares(self) -> bool {
        self.holds(None).is_some()
    }

    /// What a comparison says of two operands in this order, `None` with NaN; `None` for what does not compare.
    pub fn holds(self, order: Option<Ordering>) -> Option<bool> {
        match self {
            Op::Eq => Some(order.is_some_and(Ordering::is_eq)),
            Op::Ne => Some(order.is_none_or(Ordering::is_ne)),
            Op::Lt => Some(order.is_some_and(Ordering::is_lt)),
            Op::Le => Some(order.is_some_and(Ordering::is_le)),
            Op::Gt => Some(order.is_some_and(Ordering::is_gt)),
            Op::Ge => Some(order.is_some_and(Ordering::is_ge)),
            _ => None,
        }
    }
}

impl ReduceOp {
    /// As it is written in the language.
    pub fn name(self) -> &'static str {
        match self {
            ReduceOp::Sum => "sum",
            ReduceOp::Mean => "mean",
            ReduceOp::Prod => "prod",
            ReduceOp::Max => "max",
            ReduceOp::Min => "min",
            ReduceOp::LogSumExp => "logsumexp",
            ReduceOp::Norm => "norm",
            ReduceOp::Any => "any",
            ReduceOp::All => "all",
            ReduceOp::Count => "count",
            ReduceOp::ArgMax => "argmax",
            ReduceOp::ArgMin => "argmin",
        }
    }

    /// The type of the result for a body of type `body`.
    pub fn result(self, body: Type) -> Type {
        match self {
            ReduceOp::Sum | ReduceOp::Prod | ReduceOp::Max | ReduceOp::Min => body,
            ReduceOp::Mean | ReduceOp::LogSumExp | ReduceOp::Norm => Type::Real,
            ReduceOp::Any | ReduceOp::All => Type::Bool,
            ReduceOp::Count | ReduceOp::ArgMax | ReduceOp::ArgMin => Type::Int,
        }
    }
}
