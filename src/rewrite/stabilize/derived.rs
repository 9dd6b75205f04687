//! Rules on forms that derivatives have and nobody writes.

use super::exps::PRODUCTS;
use super::view::Factors;
use super::{Rewriter, Rule};
use crate::ir::{ExprId, Node, Op};

pub(super) const RULES: &[Rule] = &[
    // q * x^(q - 1) * x, as the derivative of softmax(x)^q comes out, is inf * 0 at 0 for q below 1.
    Rule::after("power_times_base", PRODUCTS, power_times_base),
    // sign(x) * tanh(abs(x)), as the derivative of log(cosh(x)) comes out, has a kink in its own derivative at 0.
    Rule::after("sign_of_odd", &[Op::Mul], sign_of_odd),
];

/// `x^p * x` is `x^(p + 1)`, and `x / sqrt(x)` is `sqrt(x)`; also where the power stands under a condition.
fn power_times_base(r: &mut Rewriter, e: ExprId) -> Option<ExprId> {
    let f = r.factors(e);
    let bases: Vec<ExprId> = f.num.iter().map(|&n| r.look(n)).collect();
    if let Some((t, product)) = raised_by(r, &f, &bases) {
        let mut product = product;
        let at = product.num.iter().position(|&n| n == f.num[t])?;
        product.num.remove(at);
        return Some(r.product(&product));
    }
    for (k, &branch) in bases.iter().enumerate() {
        let branch = r.program.unary(branch, Op::Neg).unwrap_or(branch);
        let Node::If {
            condition,
            then,
            otherwise,
        } = *r.program.node(branch)
        else {
            continue;
        };
        if !r.program.is_number(otherwise, 0.0) {
            continue;
        }
        let inner = r.factors(then);
        let Some((t, mut product)) = raised_by(r, &inner, &bases) else {
            continue;
        };
        if branch != bases[k] {
            product.literal = -product.literal;
        }
        let then = r.product(&product);
        let branch = r.program.iff(condition, then, otherwise);
        let num = (0..f.num.len()).filter(|&i| i != k && i != t);
        let num = num.map(|i| f.num[i]).collect();
        return Some(r.times(&Factors { num, ..f }, branch));
    }
    None
}

/// A product whose power is raised by one, for the base at the place that is said.
fn raised_by(r: &mut Rewriter, f: &Factors, bases: &[ExprId]) -> Option<(usize, Factors)> {
    for k in 0..f.num.len() {
        let power = r.look(f.num[k]);
        let Some((base, p)) = r.program.binary(power, Op::Pow) else {
            continue;
        };
        let looked = r.look(base);
        if let Some(t) = bases.iter().position(|&b| b == looked)
            && let Some(answer) = raised(r, base, p)
        {
            let mut product = f.clone();
            product.num[k] = answer;
            return Some((t, product));
        }
    }
    for k in 0..f.den.len() {
        let root = r.look(f.den[k]);
        let Some(base) = r.program.unary(root, Op::Sqrt) else {
            continue;
        };
        let base = r.look(base);
        if let Some(t) = bases.iter().position(|&b| b == base) {
            let mut product = f.clone();
            product.num.push(f.den[k]);
            product.den.remove(k);
            return Some((t, product));
        }
    }
    None
}

/// `base^(p + 1)`, for the exponents of derivatives: below 0, or one less than something.
fn raised(r: &mut Rewriter, base: ExprId, p: ExprId) -> Option<ExprId> {
    if let Some(p) = r.program.number(p) {
        return (p < 0.0).then(|| r.program.power(base, p + 1.0));
    }
    let (p, one) = r.program.binary(p, Op::Sub)?;
    let is_one = r.program.is_number(one, 1.0);
    is_one.then(|| r.op(Op::Pow, &[base, p]))
}

/// `sign(x) * f(abs(x))` is `f(x)` for odd f.
fn sign_of_odd(r: &mut Rewriter, e: ExprId) -> Option<ExprId> {
    let f = r.factors(e);
    for s in 0..f.num.len() {
        let Some(x) = r.program.unary(f.num[s], Op::Sign) else {
            continue;
        };
        for t in 0..f.num.len() {
            for op in [Op::Tanh, Op::Sinh] {
                let Some(argument) = r.program.unary(f.num[t], op) else {
                    continue;
                };
                let inner = r.factors(argument);
                let [magnitude] = inner.num[..] else { continue };
                if r.program.unary(magnitude, Op::Abs) != Some(x) || !inner.den.is_empty() {
                    continue;
                }
                let argument = r.scale(inner.literal, x);
                let odd = r.odd(op, argument);
                let num = (0..f.num.len())
                    .filter(|&i| i != s && i != t)
                    .map(|i| f.num[i])
                    .collect();
                let rest = Factors {
                    literal: f.literal,
                    num,
                    den: f.den.clone(),
                };
                return Some(r.times(&rest, odd));
            }
        }
    }
    None
}
