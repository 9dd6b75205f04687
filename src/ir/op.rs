//! The operators of the IR. What gives each a meaning matches on all of them, so that a new one shows where it is needed;
//! what is for some asks [`Op::operands`] and [`Op::arity`] about the others.

/// The three types of values (rule R9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Type {
    Real,
    /// 64 bits, wraps.
    Int,
    Bool,
}

/// A pointwise operator. The operands have one type unless it is said; arithmetic exists on reals and on ints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Op {
    // Arithmetic, real or int.
    Add,
    Sub,
    Mul,
    Neg,
    Abs,
    /// -1, 0 or 1; NaN stays NaN.
    Sign,
    /// Two or more operands; NaN passes through.
    Max,
    /// Two or more operands; NaN passes through.
    Min,
    /// `clamp(x, low, high)`: min(max(x, low), high).
    Clamp,

    // Int only.
    /// Floor division; by 0 an error.
    IntDiv,
    /// Remainder of floor division; by 0 an error.
    Mod,

    // Real only.
    Div,
    /// `x^y`, as C's `pow`; `x^0` is 1.
    Pow,
    Sqrt,
    Exp,
    Expm1,
    Log,
    Log1p,
    Log2,
    Sin,
    Cos,
    Tan,
    Asin,
    Acos,
    Atan,
    Atan2,
    Sinh,
    Cosh,
    Tanh,
    Sigmoid,
    /// `log(1 + exp(x))`.
    Softplus,
    Relu,
    Floor,
    Ceil,
    /// To the nearest, ties to even.
    Round,
    Erf,
    Lgamma,
    Digamma,
    /// `polygamma(n, x)`; n is an int.
    Polygamma,
    /// `x * log(y)`, 0 for x = 0 and y not NaN.
    Xlogy,
    /// Two or more operands.
    LogSumExp,
    /// The operand; no gradient passes.
    StopGradient,

    // Conversions.
    /// Int to real.
    ToReal,
    /// Real to int: towards zero, saturating, 0 for NaN.
    ToInt,

    // Bool results; operands both real, both int or (Eq and Ne) both bool.
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    // Bool only; the second operand is not evaluated where the first decides.
    And,
    Or,
    Not,
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
    /// Every operator, in the order of declaration.
    pub const ALL: [Op; 53] = [
        Op::Add,
        Op::Sub,
        Op::Mul,
        Op::Neg,
        Op::Abs,
        Op::Sign,
        Op::Max,
        Op::Min,
        Op::Clamp,
        Op::IntDiv,
        Op::Mod,
        Op::Div,
        Op::Pow,
        Op::Sqrt,
        Op::Exp,
        Op::Expm1,
        Op::Log,
        Op::Log1p,
        Op::Log2,
        Op::Sin,
        Op::Cos,
        Op::Tan,
        Op::Asin,
        Op::Acos,
        Op::Atan,
        Op::Atan2,
        Op::Sinh,
        Op::Cosh,
        Op::Tanh,
        Op::Sigmoid,
        Op::Softplus,
        Op::Relu,
        Op::Floor,
        Op::Ceil,
        Op::Round,
        Op::Erf,
        Op::Lgamma,
        Op::Digamma,
        Op::Polygamma,
        Op::Xlogy,
        Op::LogSumExp,
        Op::StopGradient,
        Op::ToReal,
        Op::ToInt,
        Op::Eq,
        Op::Ne,
        Op::Lt,
        Op::Le,
        Op::Gt,
        Op::Ge,
        Op::And,
        Op::Or,
        Op::Not,
    ];

    /// As it is written in the language: the function's name or the operator's sign.
    pub fn name(self) -> &'static str {
        match self {
            Op::Add => "+",
            Op::Sub => "-",
            Op::Mul => "*",
            Op::Neg => "-",
            Op::Abs => "abs",
            Op::Sign => "sign",
            Op::Max => "max",
            Op::Min => "min",
            Op::Clamp => "clamp",
            Op::IntDiv => "div",
            Op::Mod => "mod",
            Op::Div => "/",
            Op::Pow => "^",
            Op::Sqrt => "sqrt",
            Op::Exp => "exp",
            Op::Expm1 => "expm1",
            Op::Log => "log",
            Op::Log1p => "log1p",
            Op::Log2 => "log2",
            Op::Sin => "sin",
            Op::Cos => "cos",
            Op::Tan => "tan",
            Op::Asin => "asin",
            Op::Acos => "acos",
            Op::Atan => "atan",
            Op::Atan2 => "atan2",
            Op::Sinh => "sinh",
            Op::Cosh => "cosh",
            Op::Tanh => "tanh",
            Op::Sigmoid => "sigmoid",
            Op::Softplus => "softplus",
            Op::Relu => "relu",
            Op::Floor => "floor",
            Op::Ceil => "ceil",
            Op::Round => "round",
            Op::Erf => "erf",
            Op::Lgamma => "lgamma",
            Op::Digamma => "digamma",
            Op::Polygamma => "polygamma",
            Op::Xlogy => "xlogy",
            Op::LogSumExp => "logsumexp",
            Op::StopGradient => "stop_gradient",
            Op::ToReal => "real",
            Op::ToInt => "int",
            Op::Eq => "==",
            Op::Ne => "!=",
            Op::Lt => "<",
            Op::Le => "<=",
            Op::Gt => ">",
            Op::Ge => ">=",
            Op::And => "and",
            Op::Or => "or",
            Op::Not => "not",
        }
    }

    /// The type of the result for operands of type `operand` (for mixed operands, the last one's).
    pub fn result(self, operand: Type) -> Type {
        match self {
            Op::Add
            | Op::Sub
            | Op::Mul
            | Op::Neg
            | Op::Abs
            | Op::Sign
            | Op::Max
            | Op::Min
            | Op::Clamp => operand,
            Op::StopGradient => operand,
            Op::IntDiv | Op::Mod | Op::ToInt => Type::Int,
            Op::Eq | Op::Ne | Op::Lt | Op::Le | Op::Gt | Op::Ge | Op::And | Op::Or | Op::Not => {
                Type::Bool
            }
            _ => Type::Real,
        }
    }

    /// What it may be applied to.
    pub fn operands(self) -> Operands {
        match self {
            Op::Add
            | Op::Sub
            | Op::Mul
            | Op::Neg
            | Op::Abs
            | Op::Sign
            | Op::Max
            | Op::Min
            | Op::Clamp
            | Op::Lt
            | Op::Le
            | Op::Gt
            | Op::Ge => Operands::Numbers,
            Op::Eq | Op::Ne => Operands::Alike,
            Op::IntDiv | Op::Mod | Op::ToReal => Operands::Ints,
            Op::And | Op::Or | Op::Not => Operands::Bools,
            Op::Polygamma => Operands::IntAndReal,
            Op::Div
            | Op::Pow
            | Op::Sqrt
            | Op::Exp
            | Op::Expm1
            | Op::Log
            | Op::Log1p
            | Op::Log2
            | Op::Sin
            | Op::Cos
            | Op::Tan
            | Op::Asin
            | Op::Acos
            | Op::Atan
            | Op::Atan2
            | Op::Sinh
            | Op::Cosh
            | Op::Tanh
            | Op::Sigmoid
            | Op::Softplus
            | Op::Relu
            | Op::Floor
            | Op::Ceil
            | Op::Round
            | Op::Erf
            | Op::Lgamma
            | Op::Digamma
            | Op::Xlogy
            | Op::LogSumExp
            | Op::StopGradient
            | Op::ToInt => Operands::Reals,
        }
    }

    /// How many operands it has; `None` for two or more.
    pub fn arity(self) -> Option<usize> {
        match self {
            Op::Max | Op::Min | Op::LogSumExp => None,
            Op::Clamp => Some(3),
            Op::Add | Op::Sub | Op::Mul | Op::Div | Op::IntDiv | Op::Mod | Op::Pow => Some(2),
            Op::Atan2 | Op::Polygamma | Op::Xlogy | Op::And | Op::Or => Some(2),
            Op::Eq | Op::Ne | Op::Lt | Op::Le | Op::Gt | Op::Ge => Some(2),
            _ => Some(1),
        }
    }

    /// Whether it compares.
    pub fn compares(self) -> bool {
        matches!(self, Op::Eq | Op::Ne | Op::Lt | Op::Le | Op::Gt | Op::Ge)
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
