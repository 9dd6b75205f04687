//! Rules on products with a logarithm: `x log(y)` at zero.

use super::scaled::Scaled;
use super::view::Factors;
use super::{Rewriter, Rule};
use crate::ir::{ExprId, Node, Op};

const PRODUCTS: &[Op] = &[Op::Mul, Op::Div];

pub(super) const RULES: &[Rule] = &[
    // p * (log(p) - log(q)) is 0 * NaN for p = q = 0.
    Rule::new("p_log_p_less_log_q", PRODUCTS, p_log_p_less_log_q),
    // x * log(y) is 0 * inf for x = y = 0; and x * log(x / y) is 0 * NaN.
    Rule::new("x_log_y", PRODUCTS, x_log_y),
    // (1 - y) * log1p(-p) is 0 * inf for y = p = 1.
    Rule::new("x_log1p", PRODUCTS, x_log1p),
    // p * log(p) for p = exp(x) is 0 * inf at x = -inf, also when log(p) has become x.
    Rule::new("exp_x_times_x", PRODUCTS, exp_x_times_x),
    // xlogy(x, sigmoid(y)) is -inf for y below -745, where the logarithm is y.
    Rule::new("xlogy_of_exp", &[Op::Xlogy], xlogy_of_exp),
];

/// Whether a factor's being 0 is to be reckoned with: constants are left alone.
fn may_vanish(r: &mut Rewriter, e: ExprId) -> bool {
    !r.is_given(e) && !r.range(e).is_nonzero()
}

/// The factors of `f` but the one at `at`, as what a logarithm is multiplied with, and those that may not be 0, which stay
/// outside. `None` if none may be 0.
fn split(r: &mut Rewriter, f: &Factors, at: usize) -> Option<(ExprId, Factors)> {
    let mut outside = Factors {
        literal: f.literal,
        num: vec![],
        den: f.den.clone(),
    };
    let mut inside = Factors::one();
    for (i, &n) in f.num.iter().enumerate() {
        if i == at {
            continue;
        }
        if r.is_given(n) {
            outside.num.push(n)
        } else {
            inside.num.push(n)
        }
    }
    if !inside.num.iter().any(|&n| may_vanish(r, n)) {
        return None;
    }
    Some((r.product(&inside), outside))
}

/// `x * log(y)` is `xlogy(x, y)`. In `x * log(x / d)` the quotient is 0 / 0 where both are 0, and 1 is put for it.
fn x_log_y(r: &mut Rewriter, e: ExprId) -> Option<ExprId> {
    let f = r.factors(e);
    for at in 0..f.num.len() {
        let (y, two) = match r.unary(f.num[at], Op::Log) {
            Some(y) => (y, false),
            None => match r.unary(f.num[at], Op::Log2) {
                Some(y) => (y, true),
                None => continue,
            },
        };
        if r.is_given(y) || r.range(y).is_positive() {
            continue;
        }
        let (x, mut outside) = split(r, &f, at)?;
        if two {
            let base = r.real(2.0);
            outside.den.push(r.program.raw(Op::Log, &[base]));
        }
        let y = without_zero_by_zero(r, &f, at, y);
        let product = r.op(Op::Xlogy, &[x, y]);
        return Some(r.times(&outside, product));
    }
    None
}

fn without_zero_by_zero(r: &mut Rewriter, f: &Factors, at: usize, y: ExprId) -> ExprId {
    let inner = r.look(y);
    let quotient = r.factors(inner);
    let shared = quotient
        .num
        .iter()
        .copied()
        .find(|n| f.num.iter().enumerate().any(|(i, x)| i != at && x == n));
    let (Some(p), false) = (shared, quotient.den.is_empty()) else {
        return y;
    };
    let below = Factors {
        num: quotient.den,
        ..Factors::one()
    };
    let q = r.product(&below);
    if !may_vanish(r, q) {
        return y;
    }
    let (zero, one) = (r.real(0.0), r.real(1.0));
    let p = r.program.compare(Op::Eq, p, zero);
    let q = r.program.compare(Op::Eq, q, zero);
    let both = r.program.and(p, q);
    r.program.iff(both, one, inner)
}

/// `p * (log(p) - log(q))` is 0 for p = 0, whatever q is.
fn p_log_p_less_log_q(r: &mut Rewriter, e: ExprId) -> Option<ExprId> {
    let f = r.factors(e);
    for at in 0..f.num.len() {
        let sum = r.look(f.num[at]);
        if !matches!(r.program.node(sum), Node::Op(Op::Add | Op::Sub, _)) {
            continue;
        }
        for (_, t) in r.terms(sum, 4) {
            let Some(p) = r.unary(t, Op::Log) else {
                continue;
            };
            if may_vanish(r, p) && f.num.iter().enumerate().any(|(i, &n)| i != at && n == p) {
                let zero = r.real(0.0);
                let vanishes = r.program.compare(Op::Eq, p, zero);
                return Some(r.program.iff(vanishes, zero, e));
            }
        }
    }
    None
}

/// `x * log1p(u)`: where x is 0 and u is -1, 0 is put for u.
fn x_log1p(r: &mut Rewriter, e: ExprId) -> Option<ExprId> {
    let f = r.factors(e);
    for at in 0..f.num.len() {
        let Some(u) = r.unary(f.num[at], Op::Log1p) else {
            continue;
        };
        let inner = r.look(u);
        if !r.range(inner).contains(-1.0) || matches!(r.program.node(inner), Node::If { .. }) {
            continue;
        }
        let (x, outside) = split(r, &f, at)?;
        let (zero, least) = (r.real(0.0), r.real(-1.0));
        let vanishes = r.program.compare(Op::Eq, x, zero);
        let singular = r.program.compare(Op::Eq, inner, least);
        let both = r.program.and(vanishes, singular);
        let held = r.program.iff(both, zero, inner);
        let log = r.program.raw(Op::Log1p, &[held]);
        let product = r.program.mul(x, log);
        return Some(r.times(&outside, product));
    }
    None
}

/// The form of a factor as an exponential alone.
fn exponential(r: &mut Rewriter, e: ExprId) -> Option<Scaled> {
    r.scaled(e)
        .filter(|s| s.weight == Factors::one() && !s.shifted)
}

/// `p * y` where p = exp(x) and y goes to infinity with x.
fn exp_x_times_x(r: &mut Rewriter, e: ExprId) -> Option<ExprId> {
    let f = r.factors(e);
    if f.num.len() < 2 {
        return None;
    }
    for p in 0..f.num.len() {
        let looked = r.look(f.num[p]);
        // Only what is written as a probability; a reduction or a sum under it would be computed twice.
        if !matches!(r.program.node(looked), Node::Op(Op::Exp | Op::Sigmoid, _))
            || r.range(looked).is_positive()
        {
            continue;
        }
        let Some(s) = exponential(r, looked) else {
            continue;
        };
        let own = r.terms(s.log, 6);
        let meets = (0..f.num.len()).any(|y| y != p && shares_term(r, f.num[y], &own));
        if !meets {
            continue;
        }
        let factor = f.num[p];
        let zero = r.real(0.0);
        let vanishes = r.program.compare(Op::Eq, factor, zero);
        return Some(r.program.iff(vanishes, zero, e));
    }
    None
}

/// Whether a factor is a sum with one of the terms, not counting terms that are finite constants.
fn shares_term(r: &mut Rewriter, factor: ExprId, own: &[(bool, ExprId)]) -> bool {
    let factor = r.look(factor);
    let theirs = r.terms(factor, 6);
    theirs
        .iter()
        .any(|&(_, t)| !r.is_given(t) && own.iter().any(|o| o.1 == t) && !r.range(t).is_finite())
}

/// `xlogy(x, exp(y))` is `x * y`, 0 for x = 0 and y = -inf.
fn xlogy_of_exp(r: &mut Rewriter, e: ExprId) -> Option<ExprId> {
    let (x, y) = r.program.binary(e, Op::Xlogy)?;
    let s = exponential(r, y)?;
    let (zero, nothing) = (r.real(0.0), r.real(f64::NEG_INFINITY));
    let product = r.program.mul(x, s.log);
    let condition = match (x == y, r.range(x).is_nonzero()) {
        (true, _) => r.program.compare(Op::Eq, x, zero),
        (false, true) => return Some(product),
        (false, false) => {
            let vanishes = r.program.compare(Op::Eq, x, zero);
            let singular = r.program.compare(Op::Eq, s.log, nothing);
            r.program.and(vanishes, singular)
        }
    };
    Some(r.program.iff(condition, zero, product))
}
