//! The partial derivative of every pointwise operator, one arm each, with the conventions at kinks of rule R13.
//!
//! A partial is a list of summands. Each has guards, conditions outside of which it is 0 and is not evaluated, and a
//! factor. The factor multiplies or divides the adjoint, so that `1 / b` is a division and not a product.

use crate::ir::{AxisId, ExprId, Op, Program, Type};

/// One summand of a partial derivative: the adjoint times `times`, divided by `over`, under `guards`.
#[derive(Debug, Clone, Default)]
pub struct Summand {
    pub guards: Vec<ExprId>,
    pub times: Option<ExprId>,
    pub over: Option<ExprId>,
    pub negative: bool,
}

impl Summand {
    fn one() -> Summand {
        Summand::default()
    }

    fn times(e: ExprId) -> Summand {
        Summand {
            times: Some(e),
            ..Summand::default()
        }
    }

    fn over(e: ExprId) -> Summand {
        Summand {
            over: Some(e),
            ..Summand::default()
        }
    }

    fn ratio(a: ExprId, b: ExprId) -> Summand {
        Summand {
            times: Some(a),
            over: Some(b),
            ..Summand::default()
        }
    }

    fn negated(self) -> Summand {
        Summand {
            negative: !self.negative,
            ..self
        }
    }

    fn when(mut self, guard: ExprId) -> Summand {
        self.guards.push(guard);
        self
    }

    /// The axes of its factors.
    pub fn axes(&self, p: &Program) -> Vec<AxisId> {
        let factors = self.times.into_iter().chain(self.over);
        factors.flat_map(|e| p.free(e).to_vec()).collect()
    }

    /// The adjoint of the operand that this summand makes of the answer's.
    pub fn apply(&self, p: &mut Program, adjoint: ExprId) -> ExprId {
        let mut e = adjoint;
        if let Some(factor) = self.times {
            e = p.product(e, factor);
        }
        if let Some(divisor) = self.over {
            e = p.quotient(e, divisor);
        }
        if self.negative { p.neg(e) } else { e }
    }
}

/// Whether an operator passes a derivative to its operands at all (rule R9: comparisons, ints and bools carry none).
pub fn passes(op: Op) -> bool {
    match op {
        Op::Add
        | Op::Sub
        | Op::Mul
        | Op::Neg
        | Op::Abs
        | Op::Max
        | Op::Min
        | Op::Clamp
        | Op::Div
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
        | Op::Erf
        | Op::Lgamma
        | Op::Digamma
        | Op::Polygamma
        | Op::Xlogy
        | Op::LogSumExp => true,
        Op::Sign
        | Op::Floor
        | Op::Ceil
        | Op::Round
        | Op::StopGradient
        | Op::IntDiv
        | Op::Mod
        | Op::ToReal
        | Op::ToInt
        | Op::Eq
        | Op::Ne
        | Op::Lt
        | Op::Le
        | Op::Gt
        | Op::Ge
        | Op::And
        | Op::Or
        | Op::Not => false,
    }
}

/// `d answer / d operands[i]` for `answer = op(operands)`. `answer` is an expression of its value, reused where the
/// derivative needs it.
pub fn partials(
    p: &mut Program,
    op: Op,
    operands: &[ExprId],
    i: usize,
    answer: ExprId,
) -> Vec<Summand> {
    let x = operands[i];
    let y = answer;
    let one = |s: Summand| vec![s];
    match op {
        // d(a + b) = da + db
        Op::Add => one(Summand::one()),
        // d(a - b) = da - db
        Op::Sub => one(if i == 0 {
            Summand::one()
        } else {
            Summand::one().negated()
        }),
        // d(-a) = -da
        Op::Neg => one(Summand::one().negated()),
        // d(a b) = b da + a db
        Op::Mul => one(Summand::times(operands[1 - i])),
        // d(a / b) = da / b - (a / b) db / b; never a / (b b), which overflows.
        Op::Div if i == 0 => one(Summand::over(operands[1])),
        Op::Div => one(Summand::ratio(y, x).negated()),
        // d|x| = sign(x) dx, 0 at 0
        Op::Abs => {
            let sign = p.op(Op::Sign, &[x]);
            one(Summand::times(sign))
        }
        Op::Max | Op::Min => extremum(p, op, operands, i, y),
        Op::Clamp => clamp(p, operands, i),
        Op::Pow => pow(p, operands, i, y),
        // d sqrt(x) = dx / (2 sqrt(x))
        Op::Sqrt => {
            let half = p.real(0.5);
            one(Summand::ratio(half, y))
        }
        // d exp(x) = exp(x) dx
        Op::Exp => one(Summand::times(y)),
        // d expm1(x) = exp(x) dx; expm1(x) + 1 would lose the digits of a small exp(x).
        Op::Expm1 => {
            let e = p.op(Op::Exp, &[x]);
            one(Summand::times(e))
        }
        // d log(x) = dx / x
        Op::Log => one(Summand::over(x)),
        // d log1p(x) = dx / (1 + x)
        Op::Log1p => {
            let unit = p.real(1.0);
            let sum = p.add(unit, x);
            one(Summand::over(sum))
        }
        // d log2(x) = dx / x / log(2)
        Op::Log2 => {
            let two = p.real(2.0);
            let ln2 = p.op(Op::Log, &[two]);
            let scaled = p.mul(ln2, x);
            one(Summand::over(scaled))
        }
        // d sin(x) = cos(x) dx
        Op::Sin => {
            let c = p.op(Op::Cos, &[x]);
            one(Summand::times(c))
        }
        // d cos(x) = -sin(x) dx
        Op::Cos => {
            let s = p.op(Op::Sin, &[x]);
            one(Summand::times(s).negated())
        }
        // d tan(x) = (1 + tan(x)^2) dx
        Op::Tan => {
            let (unit, square) = (p.real(1.0), p.power(y, 2.0));
            let sum = p.add(unit, square);
            one(Summand::times(sum))
        }
        // d asin(x) = dx / sqrt((1 - x) (1 + x)), the factors so that nothing cancels near the ends
        Op::Asin => one(Summand::over(circle(p, x))),
        // d acos(x) = -dx / sqrt((1 - x) (1 + x))
        Op::Acos => one(Summand::over(circle(p, x)).negated()),
        // d atan(x) = dx / (1 + x^2)
        Op::Atan => {
            let (unit, square) = (p.real(1.0), p.power(x, 2.0));
            let sum = p.add(unit, square);
            one(Summand::over(sum))
        }
        // d atan2(y, x) = (x dy - y dx) / (y^2 + x^2), of the operands by the larger of them: their squares may be 0 or
        // infinite where the quotient is neither.
        Op::Atan2 => {
            let sizes = [p.op(Op::Abs, &[operands[0]]), p.op(Op::Abs, &[operands[1]])];
            let size = p.op(Op::Max, &sizes);
            // It cancels, so it has no derivative.
            let size = p.op(Op::StopGradient, &[size]);
            let (u, v) = (p.div(operands[0], size), p.div(operands[1], size));
            let (a, b) = (p.power(u, 2.0), p.power(v, 2.0));
            let sum = p.add(a, b);
            let square = p.mul(size, sum);
            // As for norm, the derivative at the origin is 0; at infinity, in every direction, its limit is.
            let (zero, infinity) = (p.real(0.0), p.real(f64::INFINITY));
            let apart = p.compare(Op::Ne, size, zero);
            let finite = p.compare(Op::Ne, size, infinity);
            let partial = match i {
                0 => Summand::ratio(v, square),
                _ => Summand::ratio(u, square).negated(),
            };
            one(partial.when(apart).when(finite))
        }
        // d sinh(x) = cosh(x) dx
        Op::Sinh => {
            let c = p.op(Op::Cosh, &[x]);
            one(Summand::times(c))
        }
        // d cosh(x) = sinh(x) dx
        Op::Cosh => {
            let s = p.op(Op::Sinh, &[x]);
            one(Summand::times(s))
        }
        // d tanh(x) = (1 - tanh(x)^2) dx
        Op::Tanh => {
            let (unit, square) = (p.real(1.0), p.power(y, 2.0));
            let difference = p.sub(unit, square);
            one(Summand::times(difference))
        }
        // d sigmoid(x) = sigmoid(x) sigmoid(-x) dx; 1 - sigmoid(x) would cancel.
        Op::Sigmoid => {
            let minus = p.neg(x);
            let other = p.op(Op::Sigmoid, &[minus]);
            let product = p.product(y, other);
            one(Summand::times(product))
        }
        // d softplus(x) = sigmoid(x) dx
        Op::Softplus => {
            let s = p.op(Op::Sigmoid, &[x]);
            one(Summand::times(s))
        }
        // d relu(x) = dx where x > 0, 0 at 0
        Op::Relu => {
            let zero = p.real(0.0);
            let positive = p.compare(Op::Gt, x, zero);
            one(Summand::one().when(positive))
        }
        // d erf(x) = 2 / sqrt(pi) exp(-x^2) dx
        Op::Erf => {
            let square = p.power(x, 2.0);
            let minus = p.neg(square);
            let e = p.op(Op::Exp, &[minus]);
            let (two, pi) = (p.real(2.0), p.real(std::f64::consts::PI));
            let root = p.op(Op::Sqrt, &[pi]);
            let product = p.product(two, e);
            one(Summand::ratio(product, root))
        }
        // d lgamma(x) = digamma(x) dx
        Op::Lgamma => {
            let d = p.op(Op::Digamma, &[x]);
            one(Summand::times(d))
        }
        // d digamma(x) = polygamma(1, x) dx
        Op::Digamma => {
            let order = p.int(1);
            let d = p.op(Op::Polygamma, &[order, x]);
            one(Summand::times(d))
        }
        // d polygamma(n, x) = polygamma(n + 1, x) dx
        Op::Polygamma if i == 0 => vec![],
        Op::Polygamma => {
            let unit = p.int(1);
            let order = p.add(operands[0], unit);
            let d = p.op(Op::Polygamma, &[order, x]);
            one(Summand::times(d))
        }
        Op::Xlogy => xlogy(p, operands, i),
        // d logsumexp(x..) = exp(x - answer) dx; of nothing but -inf, 0
        Op::LogSumExp => {
            let difference = p.sub(x, y);
            let weight = p.op(Op::Exp, &[difference]);
            let some = not_minus_infinity(p, y);
            one(Summand::times(weight).when(some))
        }
        Op::Sign
        | Op::Floor
        | Op::Ceil
        | Op::Round
        | Op::StopGradient
        | Op::IntDiv
        | Op::Mod
        | Op::ToReal
        | Op::ToInt
        | Op::Eq
        | Op::Ne
        | Op::Lt
        | Op::Le
        | Op::Gt
        | Op::Ge
        | Op::And
        | Op::Or
        | Op::Not => vec![],
    }
}

/// `e != -inf`.
pub fn not_minus_infinity(p: &mut Program, e: ExprId) -> ExprId {
    let least = p.real(f64::NEG_INFINITY);
    p.compare(Op::Ne, e, least)
}

/// sqrt((1 - x) (1 + x))
fn circle(p: &mut Program, x: ExprId) -> ExprId {
    let unit = p.real(1.0);
    let (a, b) = (p.sub(unit, x), p.add(unit, x));
    let product = p.mul(a, b);
    p.op(Op::Sqrt, &[product])
}

/// d max(x..) = dx / ties where x is the maximum; of two, 1/2 for a tie. NaN has no derivative.
fn extremum(p: &mut Program, op: Op, operands: &[ExprId], i: usize, y: ExprId) -> Vec<Summand> {
    let x = operands[i];
    if let &[a, b] = operands {
        let other = if i == 0 { b } else { a };
        let (beats, half, unit) = (
            if op == Op::Max { Op::Ge } else { Op::Le },
            p.real(0.5),
            p.real(1.0),
        );
        let wins = p.compare(beats, x, other);
        let tie = p.compare(Op::Eq, x, other);
        let share = p.iff(tie, half, unit);
        return vec![Summand::times(share).when(wins)];
    }
    let wins = p.compare(Op::Eq, x, y);
    let (unit, zero) = (p.real(1.0), p.real(0.0));
    let mut ties: Option<ExprId> = None;
    for &o in operands {
        let is = p.compare(Op::Eq, o, y);
        let counts = p.iff(is, unit, zero);
        ties = Some(match ties {
            None => counts,
            Some(t) => p.add(t, counts),
        });
    }
    let mut share = Summand::one().when(wins);
    share.over = ties;
    vec![share]
}

/// d clamp(x, low, high), that is min(max(x, low), high): dx strictly inside, 0 at the ends; dlow below low, dhigh above high.
fn clamp(p: &mut Program, operands: &[ExprId], i: usize) -> Vec<Summand> {
    let &[x, low, high] = operands else {
        return vec![];
    };
    let conditions = match i {
        0 => vec![p.compare(Op::Gt, x, low), p.compare(Op::Lt, x, high)],
        1 => vec![p.compare(Op::Lt, x, low), p.compare(Op::Lt, low, high)],
        _ => {
            // With low > high the answer is high.
            let raised = p.op(Op::Max, &[x, low]);
            vec![p.compare(Op::Gt, raised, high)]
        }
    };
    let guards = conditions
        .into_iter()
        .filter(|&c| p.truth(c) != Some(true))
        .collect();
    vec![Summand {
        guards,
        ..Summand::one()
    }]
}

/// d x^c = c x^(c-1) dx, 0 for c = 0 also at x = 0; d x^c = x^c log(x) dc, 0 where x^c is and at x = c = 0.
fn pow(p: &mut Program, operands: &[ExprId], i: usize, y: ExprId) -> Vec<Summand> {
    let (x, c) = (operands[0], operands[1]);
    let zero = p.real(0.0);
    if i == 1 {
        let d = p.op(Op::Xlogy, &[y, x]);
        let (some_x, some_c) = (p.compare(Op::Ne, x, zero), p.compare(Op::Ne, c, zero));
        let either = p.or(some_x, some_c);
        return vec![Summand::times(d).when(either)];
    }
    if p.is_number(c, 0.0) {
        return vec![];
    }
    let unit = p.real(1.0);
    let less = match p.number(c) {
        Some(c) => p.real(c - 1.0),
        None => p.sub(c, unit),
    };
    let power = p.pow(x, less);
    let factor = p.product(c, power);
    let summand = Summand::times(factor);
    if p.number(c).is_some() {
        return vec![summand];
    }
    let some = p.compare(Op::Ne, c, zero);
    vec![summand.when(some)]
}

/// d xlogy(x, y) = log(y) dx + (x / y) dy; the first is 0 at x = y = 0, the second at x = 0.
fn xlogy(p: &mut Program, operands: &[ExprId], i: usize) -> Vec<Summand> {
    let (x, y) = (operands[0], operands[1]);
    let zero = p.real(0.0);
    let some_x = p.compare(Op::Ne, x, zero);
    if i == 1 {
        return vec![Summand::ratio(x, y).when(some_x)];
    }
    let some_y = p.compare(Op::Ne, y, zero);
    let either = p.or(some_x, some_y);
    let log = p.op(Op::Log, &[y]);
    debug_assert_eq!(p.ty(log), Type::Real);
    vec![Summand::times(log).when(either)]
}
