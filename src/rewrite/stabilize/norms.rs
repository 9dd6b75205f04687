//! Rules on square roots of squares.

use super::view::Factors;
use super::{Rewriter, Rule};
use crate::ir::{AxisId, ExprId, Node, Op, ReduceOp};

const ROOTS: &[Op] = &[Op::Sqrt, Op::Pow];

pub(super) const RULES: &[Rule] = &[
    // sqrt(sum(x^2)) is inf for an x of 1e200, 0 for 1e-200, and its derivative at 0 is 0 / 0.
    Rule::new("root_of_squares", ROOTS, root_of_squares),
    // sqrt(x^2 + y^2) likewise.
    Rule::new("root_of_two_squares", ROOTS, root_of_two_squares),
    // sqrt(x^2) likewise.
    Rule::new("root_of_square", ROOTS, root_of_square),
];

/// What is under a root: `sqrt(e)`, `e^0.5`.
fn radicand(r: &mut Rewriter, e: ExprId) -> Option<ExprId> {
    let inside = match r.program.unary(e, Op::Sqrt) {
        Some(x) => x,
        None => {
            let (base, n) = r.program.binary(e, Op::Pow)?;
            if !r.program.is_number(n, 0.5) {
                return None;
            }
            base
        }
    };
    Some(r.look(inside))
}

/// A reduction that is a sum or a mean of squares.
struct Squares {
    mean: bool,
    axes: Vec<AxisId>,
    guard: Option<ExprId>,
    root: ExprId,
    /// A positive literal in front of the square.
    literal: f64,
}

fn squares(r: &mut Rewriter, e: ExprId) -> Option<Squares> {
    let e = r.look(e);
    let Node::Reduce {
        op,
        axes,
        guard,
        body,
    } = r.program.node(e).clone()
    else {
        return None;
    };
    let mean = match op {
        ReduceOp::Sum => false,
        ReduceOp::Mean => true,
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
    if r.program.ty(body) != crate::ir::Type::Real {
        return None;
    }
    let mut axes = axes.to_vec();
    if let Some(root) = r.square_root_of(body) {
        return Some(Squares {
            mean,
            axes,
            guard,
            root,
            literal: 1.0,
        });
    }
    let body = r.look(body);
    // A literal in front: 0.5 * x^2.
    if let Some((l, x)) = r.program.binary(body, Op::Mul)
        && let Some(literal) = r.program.number(l)
        && literal > 0.0
        && let Some(root) = r.square_root_of(x)
    {
        return Some(Squares {
            mean,
            axes,
            guard,
            root,
            literal,
        });
    }
    // A sum in a sum, a mean in a mean.
    if let Node::Reduce { guard: None, .. } = r.program.node(body)
        && guard.is_none()
    {
        let inner = squares(r, body)?;
        if inner.mean == mean {
            axes.extend(inner.axes);
            return Some(Squares { axes, ..inner });
        }
    }
    None
}

/// `sqrt(c * sum[N](x^2) / d)` is `norm[N](x) * sqrt(c / d)` for constants that are not negative; of a mean, divided by the
/// root of the count as well.
fn root_of_squares(r: &mut Rewriter, e: ExprId) -> Option<ExprId> {
    let inside = radicand(r, e)?;
    let f = r.deep_factors(inside);
    if f.literal <= 0.0 {
        return None;
    }
    let mut found = None;
    for (i, &n) in f.num.iter().enumerate() {
        if let Some(s) = squares(r, n) {
            found = Some((i, s));
            break;
        }
    }
    let (at, s) = found?;
    let mut rest = f.clone();
    rest.num.remove(at);
    rest.literal *= s.literal;
    for &c in rest.num.iter().chain(&rest.den) {
        if !(r.is_given(c) && r.range(c).is_nonnegative()) {
            return None;
        }
    }
    let norm = r.reduce(ReduceOp::Norm, &s.axes, s.guard, s.root);
    if s.mean {
        let count = r.count(&s.axes, s.guard);
        rest.den.push(count);
    }
    scaled_root(r, norm, &rest)
}

/// `e * sqrt(rest)`.
fn scaled_root(r: &mut Rewriter, e: ExprId, rest: &Factors) -> Option<ExprId> {
    if *rest == Factors::one() {
        return Some(e);
    }
    if rest.num.is_empty() && rest.literal == 1.0 {
        let inverse = Factors {
            num: rest.den.clone(),
            ..Factors::one()
        };
        let below = r.product(&inverse);
        let root = r.program.op(Op::Sqrt, &[below]);
        return Some(r.program.div(e, root));
    }
    let exact = rest.literal.sqrt();
    let mut constant = rest.clone();
    let mut front = 1.0;
    if exact * exact == rest.literal {
        constant.literal = 1.0;
        front = exact;
    }
    let scaled = r.scale(front, e);
    if constant == Factors::one() {
        return Some(scaled);
    }
    let c = r.product(&constant);
    let root = r.program.op(Op::Sqrt, &[c]);
    Some(r.program.mul(scaled, root))
}

/// `sqrt(c * x^2)` is `abs(x) * sqrt(c)`.
fn root_of_square(r: &mut Rewriter, e: ExprId) -> Option<ExprId> {
    let inside = radicand(r, e)?;
    if let Some(x) = r.square_root_of(inside) {
        return Some(r.op(Op::Abs, &[x]));
    }
    let f = r.deep_factors(inside);
    if f.literal <= 0.0 {
        return None;
    }
    let mut rest = Factors {
        literal: f.literal,
        ..Factors::one()
    };
    let mut roots = Factors::one();
    for (below, &x) in f
        .num
        .iter()
        .map(|x| (false, x))
        .chain(f.den.iter().map(|x| (true, x)))
    {
        if r.is_given(x) && r.range(x).is_nonnegative() {
            if below {
                rest.den.push(x)
            } else {
                rest.num.push(x)
            }
        } else {
            let root = r.square_root_of(x)?;
            if below {
                roots.den.push(root)
            } else {
                roots.num.push(root)
            }
        }
    }
    if roots == Factors::one() {
        return None;
    }
    let root = r.product(&roots);
    let magnitude = r.op(Op::Abs, &[root]);
    scaled_root(r, magnitude, &rest)
}

/// `sqrt(x^2 + y^2)` of two or three squares, none a constant: divided by the largest magnitude, which is a constant to
/// the derivative since it cancels. 0 and infinity are what the root is there.
fn root_of_two_squares(r: &mut Rewriter, e: ExprId) -> Option<ExprId> {
    let inside = radicand(r, e)?;
    let terms = r.terms(inside, 4);
    if !(2..=3).contains(&terms.len()) || terms.iter().any(|t| t.0) {
        return None;
    }
    let mut roots = vec![];
    for (_, t) in terms {
        let root = r.square_root_of(t)?;
        if r.is_given(root) {
            return None;
        }
        // Divided already: its own result.
        if r.deep_factors(root)
            .den
            .iter()
            .any(|&d| r.program.unary(d, Op::StopGradient).is_some())
        {
            return None;
        }
        roots.push(root);
    }
    let magnitudes: Vec<ExprId> = roots.iter().map(|&x| r.program.op(Op::Abs, &[x])).collect();
    let largest = r.program.op(Op::Max, &magnitudes);
    let largest = r.program.op(Op::StopGradient, &[largest]);
    let mut sum: Option<ExprId> = None;
    for &x in &roots {
        let part = r.program.div(x, largest);
        let square = r.program.power(part, 2.0);
        sum = Some(match sum {
            Some(s) => r.program.add(s, square),
            None => square,
        });
    }
    let root = r.program.op(Op::Sqrt, &[sum?]);
    let scaled = r.program.mul(largest, root);
    let (zero, infinity) = (r.real(0.0), r.real(f64::INFINITY));
    let positive = r.program.compare(Op::Gt, largest, zero);
    let finite = r.program.compare(Op::Lt, largest, infinity);
    let usable = r.program.and(positive, finite);
    let hypotenuse = r.program.iff(usable, scaled, largest);
    r.hypotenuses.insert(hypotenuse, inside);
    Some(hypotenuse)
}
