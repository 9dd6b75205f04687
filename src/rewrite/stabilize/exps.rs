//! Rules on exponentials and their quotients: sigmoid, softmax, tanh.

use super::scaled::Scaled;
use super::view::Factors;
use super::{Rewriter, Rule};
use crate::ir::{ExprId, Node, Op, ReduceOp};

pub(super) const PRODUCTS: &[Op] = &[Op::Mul, Op::Div];

pub(super) const RULES: &[Rule] = &[
    // (exp(x) - exp(-x)) / (exp(x) + exp(-x)) is inf / inf for |x| above 710, as (exp(2x) - 1) / (exp(2x) + 1) is.
    Rule::new("tanh_quotient", PRODUCTS, tanh_quotient),
    // exp(x) / (1 + exp(x)) is inf / inf for x above 709; 1 / (1 + exp(-x)) is 0 below -709, where exp(x) is not.
    Rule::new("sigmoid_quotient", PRODUCTS, sigmoid_quotient),
    // exp(a) / sum(exp(a)) is inf / inf where an a is above 709, and 0 / 0 where all are below -745.
    Rule::new("exp_quotient", PRODUCTS, exp_quotient),
    // exp(a) * exp(b) is inf * 0 for a = 800, b = -800.
    Rule::new("exp_product", &[Op::Mul], exp_product),
    // sigmoid(x) * exp(-x) is 0 * inf for x below -745.
    Rule::new("sigmoid_times_exp", PRODUCTS, sigmoid_times_exp),
    // exp(-softplus(-x)) rounds twice what sigmoid(x) rounds once; exp(x - softplus(x)) is NaN for x = inf.
    Rule::new("exp_of_softplus", &[Op::Exp], exp_of_softplus),
    // exp(log(x)) loses a digit for each factor of 10 in |log(x)|; its derivative is 0 * inf at 0.
    Rule::new("exp_of_log", &[Op::Exp], exp_of_log),
];

/// `literal * (exp(u) + exp(v))`, v = 0 for a 1.
struct Logistic {
    literal: f64,
    u: ExprId,
    v: Option<ExprId>,
}

/// A denominator of a sigmoid: `1 + exp(u)`, `exp(u) + exp(v)`, `cosh(u)`, `1 + c expm1(u)` with c = 1/2.
fn logistic(r: &mut Rewriter, e: ExprId) -> Option<Logistic> {
    let e = r.look(e);
    if let Some(u) = r.program.unary(e, Op::Cosh) {
        let v = r.neg(u);
        return Some(Logistic {
            literal: 0.5,
            u,
            v: Some(v),
        });
    }
    if !matches!(r.program.node(e), Node::Op(Op::Add | Op::Sub, _)) {
        return None;
    }
    let (a, b) = r.pair(e)?;
    let mut exponent = |f: &Factors, op: Op| match f.num[..] {
        [x] if f.den.is_empty() => r.unary(x, op),
        _ => None,
    };
    for (f, g) in [(&a, &b), (&b, &a)] {
        if let Some(u) = exponent(f, Op::Exp) {
            if g.is_literal() && g.literal == f.literal {
                return Some(Logistic {
                    literal: f.literal,
                    u,
                    v: None,
                });
            }
            if let Some(v) = exponent(g, Op::Exp)
                && f.literal == g.literal
            {
                return Some(Logistic {
                    literal: f.literal,
                    u,
                    v: Some(v),
                });
            }
        }
        if let Some(u) = exponent(f, Op::Expm1)
            && g.is_literal()
            && g.literal == 2.0 * f.literal
        {
            return Some(Logistic {
                literal: f.literal,
                u,
                v: None,
            });
        }
    }
    None
}

/// The position of a factor that is `op(..)` for which `fits` says yes, also through a definition.
fn find(
    r: &mut Rewriter,
    factors: &[ExprId],
    op: Op,
    fits: impl Fn(ExprId) -> bool,
) -> Option<usize> {
    (0..factors.len()).find(|&i| r.unary(factors[i], op).is_some_and(&fits))
}

fn without(factors: &[ExprId], at: usize) -> Vec<ExprId> {
    let mut v = factors.to_vec();
    v.remove(at);
    v
}

/// `sinh(x) / cosh(x)` and `expm1(x) / (1 + exp(x))`, which is `tanh(x / 2)`.
fn tanh_quotient(r: &mut Rewriter, e: ExprId) -> Option<ExprId> {
    let f = r.deep_factors(e);
    for d in 0..f.den.len() {
        if let Some(x) = r.unary(f.den[d], Op::Cosh)
            && let Some(n) = find(r, &f.num, Op::Sinh, |y| y == x)
        {
            let tanh = r.odd(Op::Tanh, x);
            let rest = Factors {
                literal: f.literal,
                num: without(&f.num, n),
                den: without(&f.den, d),
            };
            return Some(r.times(&rest, tanh));
        }
        let Some(Logistic {
            literal,
            u,
            v: None,
        }) = logistic(r, f.den[d])
        else {
            continue;
        };
        if let Some(n) = find(r, &f.num, Op::Expm1, |y| y == u) {
            let half = r.scale(0.5, u);
            let tanh = r.odd(Op::Tanh, half);
            let rest = Factors {
                literal: f.literal / literal,
                num: without(&f.num, n),
                den: without(&f.den, d),
            };
            return Some(r.times(&rest, tanh));
        }
    }
    None
}

/// A denominator `1 + exp(u)` is a factor `sigmoid(-u)`, or `sigmoid(u)` if there is an `exp(u)` above it. Also a power
/// of it: `exp(x) / (1 + exp(x))^2`.
fn sigmoid_quotient(r: &mut Rewriter, e: ExprId) -> Option<ExprId> {
    let f = r.deep_factors(e);
    for d in 0..f.den.len() {
        let whole = f.den[d];
        let (base, power) = match r.program.binary(whole, Op::Pow) {
            Some((base, n)) => (base, r.program.number(n)?),
            None => (whole, 1.0),
        };
        if ![1.0, 2.0, 3.0].contains(&power) {
            continue;
        }
        let Some(l) = logistic(r, base) else { continue };
        let mut rest = Factors {
            literal: f.literal / l.literal.powf(power),
            num: f.num.clone(),
            den: without(&f.den, d),
        };
        let mut sigmoids = vec![];
        for _ in 0..power as usize {
            sigmoids.extend(one_sigmoid(r, &l, &mut rest));
        }
        if sigmoids.len() < power as usize {
            continue;
        }
        for s in sigmoids {
            rest.num.push(s);
        }
        return Some(r.product(&rest));
    }
    None
}

fn one_sigmoid(r: &mut Rewriter, l: &Logistic, rest: &mut Factors) -> Option<ExprId> {
    if let Some(n) = find(r, &rest.num, Op::Exp, |y| y == l.u) {
        rest.num.remove(n);
        let x = match l.v {
            Some(v) => r.program.sub(l.u, v),
            None => l.u,
        };
        return Some(r.op(Op::Sigmoid, &[x]));
    }
    match l.v {
        Some(v) => {
            let n = find(r, &rest.num, Op::Exp, |y| y == v)?;
            rest.num.remove(n);
            let x = r.program.sub(v, l.u);
            Some(r.op(Op::Sigmoid, &[x]))
        }
        None => {
            let x = r.neg(l.u);
            Some(r.op(Op::Sigmoid, &[x]))
        }
    }
}

/// Whether the exponential is worth a quotient in logarithms: not a mere sigmoid.
fn is_exponential(r: &Rewriter, s: &Scaled) -> bool {
    r.program
        .unary(s.log, Op::Neg)
        .is_none_or(|n| r.program.unary(n, Op::Softplus).is_none())
}

/// `exp(a) / exp(b)` is `exp(a - b)`, where b may be the logarithm of a sum.
///
/// Other factors stay outside. One that may be 0 must not meet an exponential that overflows only now: `w * exp(400) /
/// exp(-400)` is 0 for w = 0. So there the exponent must be one of the sum's own, which is not above 0; or elements
/// without weight are left out, if the weight has no derivative.
fn exp_quotient(r: &mut Rewriter, e: ExprId) -> Option<ExprId> {
    let f = r.deep_factors(e);
    if f.den.is_empty() || f.num.is_empty() {
        return None;
    }
    let (mut above, mut below) = (None, None);
    for (i, &n) in f.num.iter().enumerate() {
        if let Some(s) = r.scaled(n)
            && is_exponential(r, &s)
        {
            above = Some((i, s));
            break;
        }
    }
    let (n, a) = above?;
    for (i, &d) in f.den.iter().enumerate() {
        if let Some(s) = r.scaled(d)
            && is_exponential(r, &s)
        {
            below = Some((i, s));
            break;
        }
    }
    let (d, b) = below?;
    let rest = Factors {
        literal: f.literal,
        num: without(&f.num, n),
        den: without(&f.den, d),
    };
    let rest = rest.times(&a.weight).over(&b.weight);
    let exponent = r.difference(a.log, b.log);
    // The weights that were beside the exponential: may one of them be 0?
    let weights: Vec<ExprId> = rest
        .num
        .iter()
        .copied()
        .filter(|w| !b.weight.den.contains(w))
        .collect();
    let safe = weights
        .iter()
        .all(|&w| r.is_given(w) || r.range(w).is_nonzero());
    if safe {
        let exp = r.op(Op::Exp, &[exponent]);
        return Some(r.times(&rest, exp));
    }
    let weight = r.product(&Factors {
        num: weights,
        ..Factors::one()
    });
    if let Some(sum) = sum_of_quotients(r, f.num[n], f.den[d], &b) {
        let mut outside = f.clone();
        outside.num[n] = sum;
        outside.den.remove(d);
        return Some(r.product(&outside));
    }
    let active = r.is_active(weight);
    let below_sum = r.is_element(f.den[d], a.log);
    if active && (!below_sum || a.shifted) {
        return None;
    }
    let mut exp = r.op(Op::Exp, &[exponent]);
    if active && b.shifted {
        exp = r.held(exp);
    }
    let quotient = r.times(&rest, exp);
    if active || below_sum && !b.shifted {
        return Some(quotient);
    }
    let zero = r.real(0.0);
    let counts = r.program.compare(Op::Ne, weight, zero);
    Some(r.program.iff(counts, quotient, zero))
}

impl Rewriter<'_> {
    /// Whether `log` is the exponent of an element of the sum `e`, so that it is not above the logarithm of the sum.
    fn is_element(&mut self, e: ExprId, log: ExprId) -> bool {
        let e = self.look(e);
        match self.program.node(e).clone() {
            Node::Reduce {
                axes,
                guard: None,
                body,
                ..
            } => {
                let Some(s) = self.scaled(body) else {
                    return false;
                };
                self.is_instance(s.log, log, &axes)
            }
            Node::Op(Op::Add, _) => self
                .terms(e, 8)
                .into_iter()
                .any(|(minus, t)| !minus && self.scaled(t).is_some_and(|s| s.log == log)),
            Node::Op(Op::Exp, o) => o[0] == log,
            _ => false,
        }
    }
}

/// `sum(w * exp(x)) / sum(exp(x))` is `sum(w * exp(x - logsumexp(x)))`, no exponent above 0.
fn sum_of_quotients(
    r: &mut Rewriter,
    above: ExprId,
    below: ExprId,
    divisor: &Scaled,
) -> Option<ExprId> {
    let above = r.look(above);
    let Node::Reduce {
        op: op @ (ReduceOp::Sum | ReduceOp::Mean),
        axes,
        guard,
        body,
    } = r.program.node(above).clone()
    else {
        return None;
    };
    let s = r.scaled(body)?;
    if !divisor.is_pure() || s.shifted || !r.is_element(below, s.log) {
        return None;
    }
    let exponent = r.difference(s.log, divisor.log);
    let exp = r.op(Op::Exp, &[exponent]);
    let mut weight = s.weight.clone();
    weight.literal /= divisor.weight.literal;
    let body = r.times(&weight, exp);
    Some(r.reduce(op, &axes, guard, body))
}

/// Only side by side: in `w * exp(a) * exp(b)` the weight may be 0 where `exp(a + b)` overflows.
fn exp_product(r: &mut Rewriter, e: ExprId) -> Option<ExprId> {
    let (a, b) = r.program.binary(e, Op::Mul)?;
    let (a, b) = (r.program.unary(a, Op::Exp)?, r.program.unary(b, Op::Exp)?);
    let sum = r.program.add(a, b);
    Some(r.op(Op::Exp, &[sum]))
}

/// `sigmoid(x) * exp(-x)` is `sigmoid(-x)`.
fn sigmoid_times_exp(r: &mut Rewriter, e: ExprId) -> Option<ExprId> {
    let f = r.factors(e);
    for s in 0..f.num.len() {
        let Some(x) = r.program.unary(f.num[s], Op::Sigmoid) else {
            continue;
        };
        let minus = r.neg(x);
        let Some(t) = f
            .num
            .iter()
            .position(|&n| r.program.unary(n, Op::Exp) == Some(minus))
        else {
            continue;
        };
        let sigmoid = r.op(Op::Sigmoid, &[minus]);
        let num = (0..f.num.len())
            .filter(|&i| i != s && i != t)
            .map(|i| f.num[i])
            .collect();
        let rest = Factors { num, ..f };
        return Some(r.times(&rest, sigmoid));
    }
    None
}

/// `exp(-softplus(x))` is `sigmoid(-x)`, `exp(x - softplus(x))` is `sigmoid(x)`.
fn exp_of_softplus(r: &mut Rewriter, e: ExprId) -> Option<ExprId> {
    let exponent = r.program.unary(e, Op::Exp)?;
    let terms = r.terms(exponent, 4);
    let (softplus, rest): (Vec<_>, Vec<_>) = terms
        .into_iter()
        .partition(|&(minus, t)| minus && r.program.unary(t, Op::Softplus).is_some());
    let [(_, softplus)] = softplus[..] else {
        return None;
    };
    let x = r.program.unary(softplus, Op::Softplus)?;
    let answer = match rest[..] {
        [] => r.neg(x),
        [(minus, t)] if !minus && t == x || minus && r.neg(t) == x => x,
        _ => return None,
    };
    Some(r.op(Op::Sigmoid, &[answer]))
}

/// `exp(n log(x))` is `x^n`, for x that is not negative (else it is NaN).
fn exp_of_log(r: &mut Rewriter, e: ExprId) -> Option<ExprId> {
    let exponent = r.program.unary(e, Op::Exp)?;
    let exponent = r.look(exponent);
    let f = r.factors(exponent);
    let ([log], true) = (&f.num[..], f.den.is_empty() && f.literal > 0.0) else {
        return None;
    };
    let x = r.unary(*log, Op::Log)?;
    if !r.range(x).is_nonnegative() {
        return None;
    }
    Some(r.program.power(x, f.literal))
}
