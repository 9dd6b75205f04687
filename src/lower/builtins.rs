//! The built-in functions, by name.

use crate::ir::{Op, ReduceOp};

/// What a built-in name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Builtin {
    Reduce(Reduction),
    Along(Along),
    /// One operand, int or real.
    Number(Op),
    /// One real operand.
    Real(Op),
    /// Two real operands.
    Reals(Op),
    /// Two int operands.
    Ints(Op),
    Polygamma,
    Clamp,
    Int,
    StopGradient,
    Size,
    Grad,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reduction {
    Plain(ReduceOp),
    Var,
    Std,
}

impl Reduction {
    pub fn name(self) -> &'static str {
        match self {
            Reduction::Plain(op) => op.name(),
            Reduction::Var => "var",
            Reduction::Std => "std",
        }
    }
}

/// Functions along axes that keep them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Along {
    Softmax,
    LogSoftmax,
    Normalize,
    Cumsum,
    Sort,
    Argsort,
}

impl Along {
    pub fn name(self) -> &'static str {
        match self {
            Along::Softmax => "softmax",
            Along::LogSoftmax => "log_softmax",
            Along::Normalize => "normalize",
            Along::Cumsum => "cumsum",
            Along::Sort => "sort",
            Along::Argsort => "argsort",
        }
    }
}

const TABLE: &[(&str, Builtin)] = &[
    ("sum", Builtin::Reduce(Reduction::Plain(ReduceOp::Sum))),
    ("mean", Builtin::Reduce(Reduction::Plain(ReduceOp::Mean))),
    ("prod", Builtin::Reduce(Reduction::Plain(ReduceOp::Prod))),
    ("max", Builtin::Reduce(Reduction::Plain(ReduceOp::Max))),
    ("min", Builtin::Reduce(Reduction::Plain(ReduceOp::Min))),
    (
        "logsumexp",
        Builtin::Reduce(Reduction::Plain(ReduceOp::LogSumExp)),
    ),
    ("norm", Builtin::Reduce(Reduction::Plain(ReduceOp::Norm))),
    ("any", Builtin::Reduce(Reduction::Plain(ReduceOp::Any))),
    ("all", Builtin::Reduce(Reduction::Plain(ReduceOp::All))),
    ("count", Builtin::Reduce(Reduction::Plain(ReduceOp::Count))),
    (
        "argmax",
        Builtin::Reduce(Reduction::Plain(ReduceOp::ArgMax)),
    ),
    (
        "argmin",
        Builtin::Reduce(Reduction::Plain(ReduceOp::ArgMin)),
    ),
    ("var", Builtin::Reduce(Reduction::Var)),
    ("std", Builtin::Reduce(Reduction::Std)),
    ("softmax", Builtin::Along(Along::Softmax)),
    ("log_softmax", Builtin::Along(Along::LogSoftmax)),
    ("normalize", Builtin::Along(Along::Normalize)),
    ("cumsum", Builtin::Along(Along::Cumsum)),
    ("sort", Builtin::Along(Along::Sort)),
    ("argsort", Builtin::Along(Along::Argsort)),
    ("abs", Builtin::Number(Op::Abs)),
    ("sign", Builtin::Number(Op::Sign)),
    ("sqrt", Builtin::Real(Op::Sqrt)),
    ("exp", Builtin::Real(Op::Exp)),
    ("expm1", Builtin::Real(Op::Expm1)),
    ("log", Builtin::Real(Op::Log)),
    ("log1p", Builtin::Real(Op::Log1p)),
    ("log2", Builtin::Real(Op::Log2)),
    ("sin", Builtin::Real(Op::Sin)),
    ("cos", Builtin::Real(Op::Cos)),
    ("tan", Builtin::Real(Op::Tan)),
    ("asin", Builtin::Real(Op::Asin)),
    ("acos", Builtin::Real(Op::Acos)),
    ("atan", Builtin::Real(Op::Atan)),
    ("sinh", Builtin::Real(Op::Sinh)),
    ("cosh", Builtin::Real(Op::Cosh)),
    ("tanh", Builtin::Real(Op::Tanh)),
    ("sigmoid", Builtin::Real(Op::Sigmoid)),
    ("softplus", Builtin::Real(Op::Softplus)),
    ("relu", Builtin::Real(Op::Relu)),
    ("floor", Builtin::Real(Op::Floor)),
    ("ceil", Builtin::Real(Op::Ceil)),
    ("round", Builtin::Real(Op::Round)),
    ("erf", Builtin::Real(Op::Erf)),
    ("lgamma", Builtin::Real(Op::Lgamma)),
    ("digamma", Builtin::Real(Op::Digamma)),
    ("xlogy", Builtin::Reals(Op::Xlogy)),
    ("atan2", Builtin::Reals(Op::Atan2)),
    ("mod", Builtin::Ints(Op::Mod)),
    ("div", Builtin::Ints(Op::IntDiv)),
    ("polygamma", Builtin::Polygamma),
    ("clamp", Builtin::Clamp),
    ("int", Builtin::Int),
    ("stop_gradient", Builtin::StopGradient),
    ("size", Builtin::Size),
    ("grad", Builtin::Grad),
];

pub(super) fn find(name: &str) -> Option<Builtin> {
    TABLE.iter().find(|(n, _)| *n == name).map(|(_, b)| *b)
}

pub(super) fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|(n, _)| *n)
}

/// What another language calls a function of this one.
pub(super) fn elsewhere(name: &str) -> Option<&'static str> {
    Some(match name {
        "ln" => "`log(x)` is the natural logarithm",
        "log10" => "`log(x) / log(10)`",
        "pow" | "power" => "a power is written `x^y`",
        "square" => "a square is written `x^2`",
        "maximum" => "`max(a, b)` is elementwise",
        "minimum" => "`min(a, b)` is elementwise",
        "average" | "reduce_mean" => "it is called `mean`",
        "reduce_sum" => "it is called `sum`",
        "clip" => "it is called `clamp(x, low, high)`",
        "where" | "select" => "write `if c then a else b`",
        "len" | "shape" | "numel" => {
            "`size(N)` is the extent of axis N, `size(*)` the number of elements"
        }
        "detach" | "no_grad" => "it is called `stop_gradient`",
        "arctan" => "it is called `atan`",
        "arctan2" => "it is called `atan2`",
        "arcsin" => "it is called `asin`",
        "arccos" => "it is called `acos`",
        "logistic" | "expit" => "it is called `sigmoid`",
        "log_sum_exp" | "lse" => "it is called `logsumexp`",
        "product" => "it is called `prod`",
        "l2norm" | "norm2" => "it is called `norm`",
        "gamma_ln" | "gammaln" => "it is called `lgamma`",
        "fabs" => "it is called `abs`",
        "real" | "float" => "an int becomes a real by itself where one is needed",
        _ => return None,
    })
}
