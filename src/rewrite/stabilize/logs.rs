//! Rules that start from a logarithm.

use super::view::Factors;
use super::{Rewriter, Rule};
use crate::ir::{ExprId, Node, Op, ReduceOp};

pub(super) const RULES: &[Rule] = &[
    // log(sum(exp(x))) overflows to inf for x above 709 and underflows to -inf below -745; so does every log of exponentials
    // under products, quotients, powers, sums, means and branches: log_softmax, logsumexp, softplus, log_sigmoid.
    Rule::new("log_of_exp", &[Op::Log], log_of_exp),
    // log(exp(x) - 1) and log(1 - exp(x)) are -inf for |x| below 1e-16, and inexact below 1e-3; log(1 - exp(-exp(x))) is -inf
    // for x below -745, where it is x.
    Rule::new("log_of_one_less_exp", &[Op::Log], log_of_one_less_exp),
    // log(1 + x) is 0 for |x| below 1e-16.
    Rule::new("log_of_one_plus", &[Op::Log], log_of_one_plus),
    // log(x^2) is inf for x = 1e200 and -inf for x = 1e-200; log(a * b) likewise, where neither is negative.
    Rule::new("log_of_product", &[Op::Log], log_of_product),
    // log(prod(x)) underflows to -inf for 1000 probabilities of 0.1.
    Rule::new("log_of_prod", &[Op::Log], log_of_prod),
    // A logarithm goes into the branches where one of them has a rule of its own.
    Rule::new("log_of_branches", &[Op::Log], log_of_branches),
    // log1p(exp(x)) is inf for x above 709.
    Rule::new("log1p_of_exp", &[Op::Log1p], log1p_of_exp),
    // log1p(-sigmoid(x)) is -inf for x above 37; log1p(-exp(x)) is inexact for x near 0.
    Rule::new("log1p_of_less_exp", &[Op::Log1p], log1p_of_less_exp),
    // log(sum(exp(x - m))) + m with m = max(x) is NaN where all x are -inf; the shift is not needed.
    Rule::new(
        "logsumexp_of_shifted",
        &[Op::Add, Op::Sub],
        logsumexp_of_shifted,
    ),
    // log2 of what log has a rule for.
    Rule::new("log2_of_exp", &[Op::Log2], log2_of_exp),
];

/// `log(weight * exp(x))` is `log(weight) + x`.
///
/// A negative weight makes both NaN, but for x = -inf: then the product is -0, whose logarithm is -inf.
fn log_of_exp(r: &mut Rewriter, e: ExprId) -> Option<ExprId> {
    let argument = r.program.unary(e, Op::Log)?;
    let s = r.scaled(argument)?;
    if s.weight == Factors::one() {
        return Some(s.log);
    }
    if s.weight.is_literal() && s.weight.literal < 0.0 {
        return None;
    }
    let weight = r.product(&s.weight);
    if s.finite {
        // Not made stable again: it is the shifted sum itself.
        let log = if s.weight.num.len() == 1 && s.weight.den.is_empty() && s.weight.literal == 1.0 {
            r.program.raw(Op::Log, &[weight])
        } else {
            log_of_weight(r, &s.weight, weight)
        };
        return Some(r.program.add(log, s.log));
    }
    let log = log_of_weight(r, &s.weight, weight);
    let sum = match r.program.unary(log, Op::Neg) {
        Some(n) => r.program.sub(s.log, n),
        None => r.program.add(s.log, log),
    };
    if r.range(weight).is_nonnegative() || r.range(s.log).low > f64::NEG_INFINITY {
        return Some(sum);
    }
    let (zero, nothing) = (r.real(0.0), r.real(f64::NEG_INFINITY));
    let negative = r.program.compare(Op::Lt, weight, zero);
    let vanishes = r.program.compare(Op::Eq, s.log, nothing);
    let both = r.program.and(negative, vanishes);
    Some(r.program.iff(both, nothing, sum))
}

fn log_of_weight(r: &mut Rewriter, factors: &Factors, weight: ExprId) -> ExprId {
    if factors.literal == 1.0 && factors.num.is_empty() {
        let inverse = Factors {
            literal: 1.0,
            num: factors.den.clone(),
            den: vec![],
        };
        let below = r.product(&inverse);
        // For a divisor of -inf the quotient is -0, which has a logarithm.
        if r.range(below).low > f64::NEG_INFINITY {
            let log = r.op(Op::Log, &[below]);
            return r.neg(log);
        }
    }
    r.op(Op::Log, &[weight])
}

/// The `x` of an `expm1(x)`, and whether it is negated.
fn expm1_argument(r: &mut Rewriter, e: ExprId) -> Option<(bool, ExprId)> {
    let e = r.look(e);
    match r.program.unary(e, Op::Neg) {
        Some(n) => Some((true, r.unary(n, Op::Expm1)?)),
        None => Some((false, r.program.unary(e, Op::Expm1)?)),
    }
}

const MINUS_LOG_2: f64 = -std::f64::consts::LN_2;

/// `log(1 - exp(x))`, exact on both sides: `log(-expm1(x))` near 0, `log1p(-exp(x))` away from it (Maechler 2012). And
/// `log(exp(x) - 1)` is x more than that of -x.
fn log_of_one_less_exp(r: &mut Rewriter, e: ExprId) -> Option<ExprId> {
    let argument = r.program.unary(e, Op::Log)?;
    let (negated, x) = expm1_argument(r, argument)?;
    if negated {
        return log1mexp(r, x);
    }
    // expm1(x) overflows for x above 709; where x is small nothing is wrong with it.
    if r.range(x).high <= 40.0 {
        return None;
    }
    let forty = r.real(40.0);
    let far = r.program.compare(Op::Gt, x, forty);
    // Above 40 the 1 is lost beside exp(x).
    Some(r.program.iff(far, x, e))
}

fn log1mexp(r: &mut Rewriter, x: ExprId) -> Option<ExprId> {
    let small = r.program.op(Op::Expm1, &[x]);
    let small = r.neg(small);
    let close = r.program.raw(Op::Log, &[small]);
    let closest = log1mexp_of_exp(r, x, close);
    if r.range(x).low >= MINUS_LOG_2 {
        return closest;
    }
    let close = closest.unwrap_or(close);
    let border = r.real(MINUS_LOG_2);
    let near = r.program.compare(Op::Gt, x, border);
    let exp = r.program.op(Op::Exp, &[x]);
    let exp = r.neg(exp);
    let away = r.program.raw(Op::Log1p, &[exp]);
    Some(r.program.iff(near, close, away))
}

/// Below this `log(1 - exp(-exp(y)))` is y - exp(y) / 2 to the last digit.
const TINY: f64 = -18.0;

/// `log(1 - exp(x))` near 0, which is `close`, for an `x` that is itself minus an exponential: of exp(y) only y is known
/// where it is 0.
fn log1mexp_of_exp(r: &mut Rewriter, x: ExprId, close: ExprId) -> Option<ExprId> {
    let size = r.neg(x);
    r.scaled(size)?;
    let log = r.op(Op::Log, &[size]);
    if r.range(log).low >= TINY {
        return None;
    }
    let border = r.real(TINY);
    let tiny = r.program.compare(Op::Lt, log, border);
    let half = r.scale(0.5, size);
    let leading = r.program.sub(log, half);
    Some(r.program.iff(tiny, leading, close))
}

/// `1 + x` as it stands in the tree, or a longer sum with a 1 whose other terms have one sign, so that their order loses
/// nothing.
fn log_of_one_plus(r: &mut Rewriter, e: ExprId) -> Option<ExprId> {
    let argument = r.program.unary(e, Op::Log)?;
    let argument = r.look(argument);
    let &[a, b] = (match r.program.node(argument) {
        Node::Op(Op::Add | Op::Sub, o) => &o[..],
        _ => return None,
    }) else {
        return None;
    };
    let minus = matches!(r.program.node(argument), Node::Op(Op::Sub, _));
    // Whole numbers and constants gain nothing.
    let gains =
        |r: &Rewriter, x: ExprId| !r.is_given(x) && r.program.unary(x, Op::ToReal).is_none();
    if r.program.is_number(a, 1.0) && gains(r, b) {
        let x = if minus { r.neg(b) } else { b };
        return Some(r.op(Op::Log1p, &[x]));
    }
    if r.program.is_number(b, 1.0) && !minus && gains(r, a) {
        return Some(r.op(Op::Log1p, &[a]));
    }
    let terms = r.terms(argument, 6);
    let one = terms
        .iter()
        .position(|&(minus, t)| !minus && r.program.is_number(t, 1.0))?;
    let mut rest: Option<ExprId> = None;
    for (i, &(minus, t)) in terms.iter().enumerate() {
        if i == one {
            continue;
        }
        if minus || !r.range(t).is_nonnegative() || !gains(r, t) {
            return None;
        }
        rest = Some(match rest {
            Some(sum) => r.program.add(sum, t),
            None => t,
        });
    }
    Some(r.op(Op::Log1p, &[rest?]))
}

/// `log(c * x^2 * y)` as a sum, where no factor is negative: two negative factors have a logarithm together, but not
/// each. Even powers have their sign in them: `log(x^2)` is `2 log(abs(x))`.
fn log_of_product(r: &mut Rewriter, e: ExprId) -> Option<ExprId> {
    let argument = r.program.unary(e, Op::Log)?;
    let argument = r.look(argument);
    if let Some(product) = r.program.unary(argument, Op::Abs) {
        return log_of_magnitude(r, product);
    }
    let factors = r.deep_factors(argument);
    if factors.literal <= 0.0 {
        return None;
    }
    let mut constant = Factors {
        literal: factors.literal,
        ..Factors::one()
    };
    let mut wide: Vec<(f64, ExprId)> = vec![];
    let mut roots: Vec<ExprId> = vec![];
    for (sign, f) in both_sides(&factors) {
        if r.is_given(f) && r.range(f).is_nonnegative() {
            if sign > 0.0 {
                constant.num.push(f)
            } else {
                constant.den.push(f)
            }
            continue;
        }
        let (power, base) = power_of(r, f);
        if power.fract() != 0.0 {
            roots.push(base);
        }
        match wide.iter_mut().find(|w| w.1 == base) {
            Some(w) => w.0 += sign * power,
            None => wide.push((sign * power, base)),
        }
    }
    let alone = wide.len() == 1;
    let powers = wide.iter().filter(|w| w.0.abs() != 1.0).count();
    for (power, base) in &mut wide {
        if *power == 0.0 {
            return None;
        }
        if *power % 2.0 == 0.0 {
            // `sqrt(x)^4` is NaN for a negative x, and is no `abs(x)^2`.
            if roots.contains(base) && !r.range(*base).is_nonnegative() {
                return None;
            }
            *base = magnitude(r, *base);
        }
        // A root of a negative number is NaN, as its logarithm; so is the logarithm of an odd power that stands alone.
        let odd = *power > 0.0 && *power % 2.0 == 1.0;
        if !(r.range(*base).is_nonnegative() || *power == 0.5 || odd && alone) {
            return None;
        }
    }
    // A quotient of two numbers near each other has an exact logarithm; their logarithms' difference has not.
    let divides = wide.iter().any(|w| w.0 < 0.0);
    let multiplies = wide.iter().any(|w| w.0 > 0.0);
    if wide.is_empty() || divides && multiplies || powers == 0 && (wide.len() < 2 || divides) {
        return None;
    }
    let mut sum: Option<ExprId> = None;
    if constant != Factors::one() {
        let c = r.product(&constant);
        sum = Some(r.op(Op::Log, &[c]));
    }
    for (power, base) in wide {
        let log = r.op(Op::Log, &[base]);
        let term = r.scale(power, log);
        sum = Some(match sum {
            Some(s) => r.program.add(s, term),
            None => term,
        });
    }
    sum
}

fn both_sides(f: &Factors) -> Vec<(f64, ExprId)> {
    f.num
        .iter()
        .map(|&x| (1.0, x))
        .chain(f.den.iter().map(|&x| (-1.0, x)))
        .collect()
}

/// `x^n` as (n, x), `sqrt(x)` as (1/2, x); else (1, e).
fn power_of(r: &mut Rewriter, e: ExprId) -> (f64, ExprId) {
    let looked = r.look(e);
    if let Some((base, exponent)) = r.program.binary(looked, Op::Pow)
        && let Some(n) = r.program.number(exponent)
        && n != 0.0
        && n.is_finite()
    {
        return (n, base);
    }
    match r.program.unary(looked, Op::Sqrt) {
        Some(x) => (0.5, x),
        None => (1.0, e),
    }
}

/// `abs(x)`, x itself where that is not negative.
fn magnitude(r: &mut Rewriter, x: ExprId) -> ExprId {
    if r.range(x).is_nonnegative() {
        x
    } else {
        r.op(Op::Abs, &[x])
    }
}

/// `log(abs(a * b))` is a sum whatever the signs are.
fn log_of_magnitude(r: &mut Rewriter, product: ExprId) -> Option<ExprId> {
    let (a, b) = r.program.binary(product, Op::Mul)?;
    if r.is_given(a) || r.is_given(b) {
        return None;
    }
    let mut log = |x: ExprId| {
        let magnitude = magnitude(r, x);
        r.op(Op::Log, &[magnitude])
    };
    let (a, b) = (log(a), log(b));
    Some(r.program.add(a, b))
}

/// `log(prod[N](x))` is `sum[N](log(x))` for x >= 0. The number of negative ones is not known otherwise.
fn log_of_prod(r: &mut Rewriter, e: ExprId) -> Option<ExprId> {
    let argument = r.program.unary(e, Op::Log)?;
    let argument = r.look(argument);
    let Node::Reduce {
        op: ReduceOp::Prod,
        axes,
        guard,
        body,
    } = r.program.node(argument).clone()
    else {
        return None;
    };
    if r.program.ty(body) != crate::ir::Type::Real || !r.range(body).is_nonnegative() {
        return None;
    }
    let log = r.op(Op::Log, &[body]);
    Some(r.reduce(ReduceOp::Sum, &axes, guard, log))
}

fn log_of_branches(r: &mut Rewriter, e: ExprId) -> Option<ExprId> {
    let argument = r.program.unary(e, Op::Log)?;
    let argument = r.look(argument);
    let &Node::If {
        condition,
        then,
        otherwise,
    } = r.program.node(argument)
    else {
        return None;
    };
    let mut log = |x: ExprId| {
        let plain = r.program.op(Op::Log, &[x]);
        let better = r.improve(plain);
        (better, better != plain)
    };
    let (a, better_a) = log(then);
    let (b, better_b) = log(otherwise);
    (better_a || better_b).then(|| r.program.iff(condition, a, b))
}

/// `log1p(c * exp(x))` is `softplus(x + log(c))`.
fn log1p_of_exp(r: &mut Rewriter, e: ExprId) -> Option<ExprId> {
    let argument = r.program.unary(e, Op::Log1p)?;
    let argument = r.look(argument);
    if let Some(x) = r.program.unary(argument, Op::Expm1) {
        return Some(x);
    }
    let s = r.scaled(argument)?;
    if !s.is_pure() || s.shifted || r.program.unary(argument, Op::Sigmoid).is_some() {
        return None;
    }
    let exponent = if s.weight.literal == 1.0 {
        s.log
    } else {
        let c = r.real(s.weight.literal);
        let c = r.program.raw(Op::Log, &[c]);
        r.program.add(s.log, c)
    };
    Some(r.op(Op::Softplus, &[exponent]))
}

fn log1p_of_less_exp(r: &mut Rewriter, e: ExprId) -> Option<ExprId> {
    let argument = r.program.unary(e, Op::Log1p)?;
    let argument = r.look(argument);
    let positive = r.program.unary(argument, Op::Neg)?;
    if let Some(x) = r.unary(positive, Op::Sigmoid) {
        let softplus = r.op(Op::Softplus, &[x]);
        return Some(r.neg(softplus));
    }
    if let Some(root) = r.square_root_of(positive)
        && r.unary(root, Op::Tanh).is_some()
    {
        let one = r.real(1.0);
        let difference = r.op(Op::Sub, &[one, positive]);
        return Some(r.op(Op::Log, &[difference]));
    }
    let x = r.unary(positive, Op::Exp)?;
    // Below -log 2 it is what it should be.
    if r.range(x).high <= MINUS_LOG_2 + 1e-9 {
        return None;
    }
    log1mexp(r, x)
}

/// `logsumexp[C](x - m) + m` is `logsumexp[C](x)`.
fn logsumexp_of_shifted(r: &mut Rewriter, e: ExprId) -> Option<ExprId> {
    let terms = r.terms(e, 6);
    let (at, sign, sum, shifts) = (0..terms.len()).find_map(|i| {
        let (sum, shifts) = r.unshifted(terms[i].1)?;
        Some((i, terms[i].0, sum, shifts))
    })?;
    let mut rest = terms;
    rest[at].1 = sum;
    // Every term taken out of the sum must meet its opposite.
    for (minus, shift) in shifts {
        let opposite = rest
            .iter()
            .position(|&(m, t)| t == shift && m != (minus != sign))?;
        rest.remove(opposite);
    }
    Some(r.sum_of(&rest))
}

fn log2_of_exp(r: &mut Rewriter, e: ExprId) -> Option<ExprId> {
    let argument = r.program.unary(e, Op::Log2)?;
    r.scaled(argument)?;
    let log = r.program.raw(Op::Log, &[argument]);
    let log = log_of_exp(r, log)?;
    let two = r.real(2.0);
    let per = r.program.raw(Op::Log, &[two]);
    Some(r.program.div(log, per))
}
