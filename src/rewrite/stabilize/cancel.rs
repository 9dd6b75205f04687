//! Rules on sums and differences that cancel.

use super::view::Factors;
use super::{Phase, Rewriter, Rule};
use crate::ir::{ExprId, Op};

const SUMS: &[Op] = &[Op::Add, Op::Sub];

pub(super) const RULES: &[Rule] = &[
    // exp(x) - 1 is 0 for |x| below 1e-16.
    Rule::new("exp_less_one", SUMS, exp_less_one),
    // expm1(x) + 1 rounds twice what exp(x) rounds once; it is 0 for x below -37.
    Rule::new("expm1_plus_one", SUMS, expm1_plus_one),
    // 1 - sigmoid(x) is 0 for x above 37, where sigmoid(-x) is exp(-x).
    Rule::new("one_less_sigmoid", SUMS, one_less_sigmoid),
    // 2 sigmoid(x) - 1 is 0 for |x| below 1e-16.
    Rule::new("twice_sigmoid_less_one", SUMS, twice_sigmoid_less_one),
    // 1 + tanh(x) is 0 for x below -19.
    Rule::new("one_plus_tanh", SUMS, one_plus_tanh),
    // 1 - tanh(x)^2 is 0 for |x| above 19; it is tanh's derivative.
    Rule::new("one_less_tanh_squared", SUMS, one_less_tanh_squared),
    // 1 - cos(x) is 0 for |x| below 1e-8.
    Rule::new("one_less_cos", SUMS, one_less_cos),
    // cosh(x) - 1 is 0 for |x| below 1e-8.
    Rule::new("cosh_less_one", SUMS, cosh_less_one),
    // exp(x) - exp(-x) is 0 for |x| below 1e-16.
    Rule::new("exp_sinh_cosh", SUMS, exp_sinh_cosh),
    // softplus(x) - x is 0 for x above 37, where softplus(-x) is exp(-x); and NaN for inf.
    Rule::new("softplus_less_x", SUMS, softplus_less_x),
    // sqrt(x^2 + c^2) - c is 0 for |x| below 1e-8 c.
    Rule::new("sqrt_difference", SUMS, sqrt_difference),
];

/// A sum of two terms of which one is `rest * op(x)` and the other `ratio * rest`.
struct Paired {
    rest: Factors,
    x: ExprId,
    ratio: f64,
}

/// Finds `op(x)` in either term, with any factor that both have: `w * exp(x) - w`.
fn paired(r: &mut Rewriter, e: ExprId, op: Op) -> Option<Paired> {
    let (a, b) = r.pair(e)?;
    for (f, g) in [(&a, &b), (&b, &a)] {
        for i in 0..f.num.len() {
            let Some(x) = r.unary(f.num[i], op) else {
                continue;
            };
            let mut rest = f.clone();
            rest.num.remove(i);
            if let Some(ratio) = g.ratio(&rest) {
                return Some(Paired { rest, x, ratio });
            }
        }
    }
    None
}

fn exp_less_one(r: &mut Rewriter, e: ExprId) -> Option<ExprId> {
    let p = paired(r, e, Op::Exp).filter(|p| p.ratio == -1.0)?;
    let expm1 = r.op(Op::Expm1, &[p.x]);
    Some(r.times(&p.rest, expm1))
}

fn expm1_plus_one(r: &mut Rewriter, e: ExprId) -> Option<ExprId> {
    let p = paired(r, e, Op::Expm1).filter(|p| p.ratio == 1.0)?;
    let exp = r.op(Op::Exp, &[p.x]);
    Some(r.times(&p.rest, exp))
}

fn one_less_sigmoid(r: &mut Rewriter, e: ExprId) -> Option<ExprId> {
    let mut p = paired(r, e, Op::Sigmoid).filter(|p| p.ratio == -1.0)?;
    p.rest.literal = -p.rest.literal;
    let x = r.neg(p.x);
    let sigmoid = r.op(Op::Sigmoid, &[x]);
    Some(r.times(&p.rest, sigmoid))
}

fn twice_sigmoid_less_one(r: &mut Rewriter, e: ExprId) -> Option<ExprId> {
    let mut p = paired(r, e, Op::Sigmoid).filter(|p| p.ratio == -0.5)?;
    p.rest.literal *= 0.5;
    let half = r.scale(0.5, p.x);
    let tanh = r.odd(Op::Tanh, half);
    Some(r.times(&p.rest, tanh))
}

fn one_plus_tanh(r: &mut Rewriter, e: ExprId) -> Option<ExprId> {
    let mut p = paired(r, e, Op::Tanh).filter(|p| p.ratio.abs() == 1.0)?;
    p.rest.literal *= 2.0 * p.ratio;
    let x = r.scale(2.0 * p.ratio, p.x);
    let sigmoid = r.op(Op::Sigmoid, &[x]);
    Some(r.times(&p.rest, sigmoid))
}

/// `1 - tanh(x)^2` is `1 / cosh(x)^2`; before differentiation `4 sigmoid(2x) sigmoid(-2x)`, since the derivative of the
/// quotient is `sinh(x) / cosh(x)^3`, inf / inf for |x| above 710.
fn one_less_tanh_squared(r: &mut Rewriter, e: ExprId) -> Option<ExprId> {
    let (a, b) = r.pair(e)?;
    for (f, g) in [(&a, &b), (&b, &a)] {
        for i in 0..f.num.len() {
            let root = match r.program.binary(f.num[i], Op::Pow) {
                Some((base, n)) if r.program.is_number(n, 2.0) => base,
                _ => f.num[i],
            };
            let Some(x) = r.unary(root, Op::Tanh) else {
                continue;
            };
            let mut rest = f.clone();
            rest.num.remove(i);
            if root == f.num[i] {
                let Some(second) = rest.num.iter().position(|&n| n == root) else {
                    continue;
                };
                rest.num.remove(second);
            }
            if g.ratio(&rest) == Some(-1.0) {
                if r.phase == Phase::Before {
                    let (twice, minus) = (r.scale(2.0, x), r.scale(-2.0, x));
                    let both = [r.op(Op::Sigmoid, &[twice]), r.op(Op::Sigmoid, &[minus])];
                    let mut product = g.clone();
                    product.literal *= 4.0;
                    product.num.extend(both);
                    return Some(r.product(&product));
                }
                let cosh = r.op(Op::Cosh, &[x]);
                let square = r.program.power(cosh, 2.0);
                let mut quotient = g.clone();
                quotient.den.push(square);
                return Some(r.product(&quotient));
            }
        }
    }
    None
}

/// `1 - cos(x)` is `2 sin(x / 2)^2`.
fn one_less_cos(r: &mut Rewriter, e: ExprId) -> Option<ExprId> {
    let mut p = paired(r, e, Op::Cos).filter(|p| p.ratio == -1.0)?;
    p.rest.literal *= -2.0;
    let half = r.scale(0.5, p.x);
    let sin = r.op(Op::Sin, &[half]);
    let square = r.program.power(sin, 2.0);
    Some(r.times(&p.rest, square))
}

/// `cosh(x) - 1` is `2 sinh(x / 2)^2`.
fn cosh_less_one(r: &mut Rewriter, e: ExprId) -> Option<ExprId> {
    let mut p = paired(r, e, Op::Cosh).filter(|p| p.ratio == -1.0)?;
    p.rest.literal *= 2.0;
    let half = r.scale(0.5, p.x);
    let sinh = r.op(Op::Sinh, &[half]);
    let square = r.program.power(sinh, 2.0);
    Some(r.times(&p.rest, square))
}

/// `exp(x) + exp(-x)` is `2 cosh(x)`, `exp(x) - exp(-x)` is `2 sinh(x)`.
fn exp_sinh_cosh(r: &mut Rewriter, e: ExprId) -> Option<ExprId> {
    let (a, b) = r.pair(e)?;
    let position = |r: &mut Rewriter, f: &Factors| {
        (0..f.num.len()).find(|&i| r.unary(f.num[i], Op::Exp).is_some())
    };
    let (i, j) = (position(r, &a)?, position(r, &b)?);
    let (x, y) = (r.unary(a.num[i], Op::Exp)?, r.unary(b.num[j], Op::Exp)?);
    if x == y || r.neg(x) != y {
        return None;
    }
    let (mut rest, mut other) = (a, b);
    rest.num.remove(i);
    other.num.remove(j);
    let ratio = other.ratio(&rest).filter(|ratio| ratio.abs() == 1.0)?;
    rest.literal *= 2.0;
    let function = if ratio > 0.0 {
        // Even: the sign does not matter.
        let x = r.program.unary(x, Op::Neg).unwrap_or(x);
        r.op(Op::Cosh, &[x])
    } else {
        r.odd(Op::Sinh, x)
    };
    Some(r.times(&rest, function))
}

fn softplus_less_x(r: &mut Rewriter, e: ExprId) -> Option<ExprId> {
    let (a, b) = r.pair(e)?;
    for (f, g) in [(&a, &b), (&b, &a)] {
        for i in 0..f.num.len() {
            let Some(x) = r.unary(f.num[i], Op::Softplus) else {
                continue;
            };
            let mut rest = f.clone();
            rest.num.remove(i);
            let negated = r.neg(x);
            let times_x = rest.clone().times(&r.factors(x));
            // softplus(x) - softplus(-x) is x: log(p / (1 - p)) for p = sigmoid(x).
            if let [other] = g.num[..]
                && r.unary(other, Op::Softplus) == Some(negated)
                && rest.is_literal()
                && g.den.is_empty()
                && g.literal == -rest.literal
            {
                return Some(r.product(&times_x));
            }
            if g.ratio(&times_x) == Some(-1.0) {
                let softplus = r.op(Op::Softplus, &[negated]);
                return Some(r.times(&rest, softplus));
            }
        }
    }
    None
}

/// `sqrt(a + c^2) - c` is `a / (sqrt(a + c^2) + c)`, for c >= 0: with a negative c that would divide by what cancels.
///
/// The derivative of the naive form with respect to a is exact and simple, that of the quotient is neither. So the quotient comes in as a
/// correction without a derivative: `s - c + stop_gradient(a / (s + c) - (s - c))`.
fn sqrt_difference(r: &mut Rewriter, e: ExprId) -> Option<ExprId> {
    let (a, b) = r.pair(e)?;
    for (f, g) in [(&a, &b), (&b, &a)] {
        for i in 0..f.num.len() {
            let Some(inside) = r.radicand(f.num[i]) else {
                continue;
            };
            let mut rest = f.clone();
            rest.num.remove(i);
            // g = -rest * c
            let mut c = g.clone().over(&rest);
            c.literal = -c.literal;
            if c.literal <= 0.0 || !reduce_fraction(&mut c) {
                continue;
            }
            let root = f.num[i];
            if let Some(less) = root_less(r, root, inside, &c) {
                return Some(r.times(&rest, less));
            }
        }
    }
    None
}

/// Cancels what is above and below; whether nothing stays below.
fn reduce_fraction(f: &mut Factors) -> bool {
    f.den.retain(|d| match f.num.iter().position(|n| n == d) {
        Some(at) => {
            f.num.swap_remove(at);
            false
        }
        None => true,
    });
    f.den.is_empty()
}

/// `sqrt(inside) - c` without the cancellation.
fn root_less(r: &mut Rewriter, root: ExprId, inside: ExprId, c: &Factors) -> Option<ExprId> {
    let value = r.product(c);
    if !r.range(value).is_nonnegative() {
        return None;
    }
    let inside = r.look(inside);
    let terms = r.terms(inside, 6);
    let at = (0..terms.len()).find(|&i| !terms[i].0 && is_square(r, terms[i].1, c))?;
    let mut rest: Option<ExprId> = None;
    for (i, &(minus, t)) in terms.iter().enumerate() {
        if i != at {
            rest = Some(match rest {
                Some(sum) if minus => r.program.sub(sum, t),
                Some(sum) => r.program.add(sum, t),
                None if minus => r.neg(t),
                None => t,
            });
        }
    }
    let rest = rest?;
    match r.square_root_of(rest) {
        Some(x) => hypotenuse_less(r, root, x, value),
        None => root_of_sum_less(r, root, rest, value),
    }
}

/// `sqrt(a + c^2) - c` for an `a` that is no square. Where a is infinite, or all is 0, the naive form is right.
fn root_of_sum_less(r: &mut Rewriter, root: ExprId, a: ExprId, c: ExprId) -> Option<ExprId> {
    let sum = r.program.add(root, c);
    let (zero, infinity) = (r.real(0.0), r.real(f64::INFINITY));
    let mut usable = r.program.compare(Op::Lt, a, infinity);
    if !r.range(c).is_positive() {
        let positive = r.program.compare(Op::Gt, sum, zero);
        usable = r.program.and(usable, positive);
    }
    let naive = r.program.raw(Op::Sub, &[root, c]);
    let quotient = r.program.div(a, sum);
    let error = r.program.raw(Op::Sub, &[quotient, naive]);
    let error = r.program.iff(usable, error, zero);
    corrected(r, naive, error)
}

/// From this ratio of x to c on, `sqrt(x^2 + c^2)` is x to the last digit.
const FAR: f64 = (1u32 << 27) as f64;

/// `sqrt(x^2 + c^2) - c`: far from c it is `abs(x) - c`, also for an x whose square is infinite. Nearer, x^2 is finite if c^2
/// is well so; a c that has a derivative may be of any size, so both are divided by it.
fn hypotenuse_less(r: &mut Rewriter, root: ExprId, x: ExprId, c: ExprId) -> Option<ExprId> {
    let size = r.op(Op::Abs, &[x]);
    let bound = r.scale(FAR, c);
    let near = r.program.compare(Op::Lt, size, bound);
    let close = if r.is_given(c) {
        let naive = r.program.raw(Op::Sub, &[root, c]);
        let sum = r.program.add(root, c);
        let part = r.program.div(x, sum);
        let quotient = r.program.mul(x, part);
        let error = r.program.raw(Op::Sub, &[quotient, naive]);
        corrected(r, naive, error)?
    } else {
        // With respect to c the naive form's derivative cancels as well, that of the quotient does not. The divisor cancels,
        // so it has no derivative.
        let unit = r.program.op(Op::StopGradient, &[c]);
        let (u, v) = (r.program.div(x, unit), r.program.div(c, unit));
        let squares = [r.program.power(u, 2.0), r.program.power(v, 2.0)];
        let inside = r.program.add(squares[0], squares[1]);
        let root = r.program.op(Op::Sqrt, &[inside]);
        let sum = r.program.add(root, v);
        let part = r.program.div(u, sum);
        r.program.mul(x, part)
    };
    let far = r.program.sub(size, c);
    Some(r.program.iff(near, close, far))
}

/// `naive + error`, with the derivative of the naive form. Nothing if the program has it: then this is the naive form in what
/// the rule made before.
fn corrected(r: &mut Rewriter, naive: ExprId, error: ExprId) -> Option<ExprId> {
    let known = r.program.node_count();
    let error = r.program.op(Op::StopGradient, &[error]);
    (error.index() >= known).then(|| r.program.raw(Op::Add, &[naive, error]))
}

/// Whether `e` is `c^2`; also as numbers, where either is the other's rounded square or root.
fn is_square(r: &mut Rewriter, e: ExprId, c: &Factors) -> bool {
    // sqrt(x + y) - sqrt(y)
    if let [root] = c.num[..]
        && c.literal == 1.0
        && r.unary(root, Op::Sqrt) == Some(e)
    {
        return true;
    }
    let mut square = r.factors(e);
    let mut num = vec![];
    for f in std::mem::take(&mut square.num) {
        match r.program.binary(f, Op::Pow) {
            Some((base, n)) if r.program.is_number(n, 2.0) => match r.program.number(base) {
                Some(x) => square.literal *= x * x,
                None => num.extend([base, base]),
            },
            _ => num.push(f),
        }
    }
    let mut twice: Vec<ExprId> = c.num.iter().chain(&c.num).copied().collect();
    num.sort_unstable();
    twice.sort_unstable();
    let literals = square.literal == c.literal * c.literal || square.literal.sqrt() == c.literal;
    square.den.is_empty() && num == twice && literals
}
