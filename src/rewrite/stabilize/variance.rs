//! Rules on moments: differences of means that cancel.

use super::view::Factors;
use super::{Rewriter, Rule};
use crate::ir::{AxisId, ExprId, Node, Op, ReduceOp};

pub(super) const RULES: &[Rule] = &[
    // mean(x^2) - mean(x)^2 is 0 (or negative) where mean(x)^2 is 1e16 times the variance.
    Rule::new("mean_of_square_less_square_of_mean", &[Op::Sub], variance),
];

/// A sum or mean over axes; `over_count` says how often the number of elements divides.
struct Moment {
    axes: Vec<AxisId>,
    guard: Option<ExprId>,
    body: ExprId,
    over_count: i32,
}

fn moment(r: &mut Rewriter, e: ExprId) -> Option<Moment> {
    let e = r.look(e);
    let Node::Reduce {
        op,
        axes,
        guard,
        body,
    } = r.program.node(e)
    else {
        return None;
    };
    let over_count = match op {
        ReduceOp::Sum => 0,
        ReduceOp::Mean => 1,
        ReduceOp::Prod
        | ReduceOp::Max
        | ReduceOp::Min
        | ReduceOp::LogSumExp
        | ReduceOp::Norm
        | ReduceOp::Any
        | ReduceOp::All
        | ReduceOp::Count
        | ReduceOp::ArgMax
        | ReduceOp::ArgMin => return None,
    };
    if r.program.ty(*body) != crate::ir::Type::Real {
        return None;
    }
    Some(Moment {
        axes: axes.to_vec(),
        guard: *guard,
        body: *body,
        over_count,
    })
}

/// `c (mean(x y) - mean(x) mean(y))` is `c mean((x - mean(x)) (y - mean(y)))`; means also as sums over the count, and
/// multiplied by it: `sum(x^2) - sum(x)^2 / size(N)`.
fn variance(r: &mut Rewriter, e: ExprId) -> Option<ExprId> {
    let (a, b) = r.program.binary(e, Op::Sub)?;
    let (a, b) = (r.look(a), r.look(b));
    let (second, mut first) = (r.factors(a), squares_apart(r, b));
    // The one reduction above on the left.
    let (at, joint) = (0..second.num.len()).find_map(|i| Some((i, moment(r, second.num[i])?)))?;
    let mut left = second.clone();
    left.num.remove(at);
    // Two on the right, over the same elements.
    let mut pair = vec![];
    let mut i = 0;
    while i < first.num.len() && pair.len() < 2 {
        match moment(r, first.num[i]).filter(|m| over_same(r, &joint, m)) {
            Some(m) => {
                first.num.remove(i);
                pair.push(m);
            }
            None => i += 1,
        }
    }
    let [x, y] = <[Moment; 2]>::try_from(pair).ok()?;
    let (body_x, body_y) = (body_in(r, &joint, &x), body_in(r, &joint, &y));
    if !is_product(r, joint.body, body_x, body_y) {
        return None;
    }
    // Both sides are sums times constants and powers of the count; the right has one more division.
    let count = r.count(&joint.axes, joint.guard);
    let left_power = joint.over_count + take_count(r, &mut left, count);
    let right_power = x.over_count + y.over_count + take_count(r, &mut first, count);
    if right_power != left_power + 1 || left.ratio(&first) != Some(1.0) {
        return None;
    }
    centred(r, &joint, [body_x, body_y], left, left_power, count)
}

/// `left * count^(1 - power) * mean((x - mean(x)) (y - mean(y)))`.
fn centred(
    r: &mut Rewriter,
    joint: &Moment,
    bodies: [ExprId; 2],
    mut left: Factors,
    power: i32,
    count: ExprId,
) -> Option<ExprId> {
    let mut deviation = |x: ExprId| {
        let mean = r.reduce(ReduceOp::Mean, &joint.axes, joint.guard, x);
        r.program.sub(x, mean)
    };
    let body = if bodies[0] == bodies[1] {
        let d = deviation(bodies[0]);
        r.program.power(d, 2.0)
    } else {
        let (x, y) = (deviation(bodies[0]), deviation(bodies[1]));
        r.program.mul(x, y)
    };
    let mean = r.reduce(ReduceOp::Mean, &joint.axes, joint.guard, body);
    for _ in power..1 {
        left.num.push(count);
    }
    for _ in 1..power {
        left.den.push(count);
    }
    Some(r.times(&left, mean))
}

/// The factors of `e`, a square as two equal ones.
fn squares_apart(r: &mut Rewriter, e: ExprId) -> Factors {
    let f = r.factors(e);
    let mut out = Factors {
        literal: f.literal,
        ..Factors::one()
    };
    for d in f.den {
        match r.program.binary(d, Op::Pow) {
            Some((base, two)) if r.program.is_number(two, 2.0) => out.den.extend([base, base]),
            _ => out.den.push(d),
        }
    }
    for n in f.num {
        match r.program.binary(n, Op::Pow) {
            Some((base, two)) if r.program.is_number(two, 2.0) => {
                let base = r.look(base);
                let inner = r.factors(base);
                let square = inner.clone().times(&inner);
                out = out.times(&square);
            }
            _ => {
                let n = r.look(n);
                out = out.times(&r.factors(n));
            }
        }
    }
    out
}

fn over_same(r: &Rewriter, a: &Moment, b: &Moment) -> bool {
    let extents = |m: &Moment| {
        m.axes
            .iter()
            .map(|&x| r.program.extent_of(x))
            .collect::<Vec<_>>()
    };
    if extents(a) != extents(b) {
        return false;
    }
    let mut map = b.axes.iter().copied().zip(a.axes.iter().copied()).collect();
    match (a.guard, b.guard) {
        (None, None) => true,
        (Some(g), Some(h)) => r.same(h, g, &mut map),
        _ => false,
    }
}

/// The body of `m` over the axes of `joint`.
fn body_in(r: &mut Rewriter, joint: &Moment, m: &Moment) -> ExprId {
    let map = m
        .axes
        .iter()
        .zip(&joint.axes)
        .map(|(&from, &to)| (from, r.program.index_of(to)))
        .collect();
    crate::rewrite::substitute(r.program, m.body, &map)
}

/// Whether `e` is `x * y`.
fn is_product(r: &mut Rewriter, e: ExprId, x: ExprId, y: ExprId) -> bool {
    let expected = r.factors(x).times(&r.factors(y));
    let mut actual = Factors::one();
    let e = r.look(e);
    let f = r.factors(e);
    actual.literal = f.literal;
    actual.den = f.den;
    for n in f.num {
        match r.program.binary(n, Op::Pow) {
            Some((base, two)) if r.program.is_number(two, 2.0) => {
                let inner = r.factors(base);
                actual = actual.times(&inner).times(&inner);
            }
            _ => actual.num.push(n),
        }
    }
    actual.ratio(&expected) == Some(1.0)
}

/// Takes the count out of `f`: how often it divides, less how often it multiplies.
fn take_count(r: &mut Rewriter, f: &mut Factors, count: ExprId) -> i32 {
    let mut power = 0;
    let is_count = |r: &mut Rewriter, x: ExprId| {
        let x = r.look(x);
        r.same(x, count, &mut vec![])
    };
    let mut kept = vec![];
    for &d in &f.den {
        if is_count(r, d) {
            power += 1
        } else {
            kept.push(d)
        }
    }
    f.den = std::mem::take(&mut kept);
    for &n in &f.num {
        if is_count(r, n) {
            power -= 1
        } else {
            kept.push(n)
        }
    }
    f.num = kept;
    power
}
