//! What is known of an expression's value: an interval, from literals, domains of hyperparameters, operators that are
//! never negative, and the conditions under which it is evaluated.
//!
//! A [`Range`] says "the value lies in it, or is NaN", in floating-point arithmetic: `exp(x)` is not negative, but it may
//! be 0, and a sum of finite numbers may be infinite.

use super::range::{Range, slack};
use crate::ir::{Body, ExprId, Node, Op, Program, ReduceOp, TensorId, Type};
use rustc_hash::FxHashMap;

/// A condition that holds wherever an expression is evaluated: `subject` lies in `range` or is NaN.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fact {
    pub subject: ExprId,
    pub range: Range,
}

/// How deep an expression is looked into.
const DEPTH: u32 = 48;
/// How deep, where facts make it impossible to remember answers.
const DEPTH_WITH_FACTS: u32 = 8;

/// Ranges of a program's expressions, each computed once.
#[derive(Default)]
pub struct Ranges {
    memo: FxHashMap<ExprId, Range>,
    tensors: FxHashMap<TensorId, Range>,
}

impl Ranges {
    /// The range of an expression, whatever conditions it stands under.
    pub fn of(&mut self, program: &Program, e: ExprId) -> Range {
        self.at(program, e, &[], DEPTH)
    }

    /// The range of an expression where `facts` hold.
    pub fn under(&mut self, program: &Program, e: ExprId, facts: &[Fact]) -> Range {
        if facts.is_empty() {
            return self.of(program, e);
        }
        self.at(program, e, facts, DEPTH_WITH_FACTS)
    }

    pub(super) fn at(&mut self, program: &Program, e: ExprId, facts: &[Fact], depth: u32) -> Range {
        if let Some(&r) = self.memo.get(&e)
            && (facts.is_empty() || depth == 0)
        {
            return r;
        }
        if depth == 0 {
            return Range::ALL;
        }
        let mut r = self.of_node(program, e, facts, depth - 1);
        for fact in facts {
            if fact.subject == e {
                r = r.meet(fact.range);
            }
        }
        // An answer cut short by the depth is still true, and remembering it keeps the cost linear.
        if facts.is_empty() {
            self.memo.insert(e, r);
        }
        r
    }

    fn of_node(&mut self, program: &Program, e: ExprId, facts: &[Fact], depth: u32) -> Range {
        match program.node(e) {
            Node::Real(_)
            | Node::Int(_)
            | Node::Bool(_)
            | Node::Axis(_)
            | Node::Size(_)
            | Node::Param(_) => leaf(program, e),
            Node::Read {
                tensor, default, ..
            } => {
                let (tensor, default) = (*tensor, *default);
                let read = self.of_tensor(program, tensor, depth);
                match default {
                    Some(d) => read.join(self.at(program, d, facts, depth)),
                    None => read,
                }
            }
            &Node::If {
                condition,
                then,
                otherwise,
            } => {
                let mut branch = |b: ExprId, holds: bool| {
                    let r = self.at(program, b, facts, depth);
                    // Only what leaves say: asking for more would start again at every `if`.
                    facts_of(program, condition, holds, |e| leaf(program, e))
                        .iter()
                        .filter(|f| f.subject == b)
                        .fold(r, |r, f| r.meet(f.range))
                };
                branch(then, true).join(branch(otherwise, false))
            }
            Node::Op(op, operands) => self.of_op(program, *op, operands, facts, depth),
            &Node::Reduce { op, body, .. } => {
                let r = match op {
                    ReduceOp::Any | ReduceOp::All | ReduceOp::Count => Range::ALL,
                    _ => self.at(program, body, facts, depth),
                };
                of_reduction(op, r)
            }
        }
    }

    fn of_tensor(&mut self, program: &Program, tensor: TensorId, depth: u32) -> Range {
        if let Some(&r) = self.tensors.get(&tensor) {
            return r;
        }
        // Until it is known (a recurrence reads itself) it may be anything.
        self.tensors.insert(tensor, Range::ALL);
        let r = match program.body(tensor) {
            Some(&Body::Expr(body)) => self.at(program, body, &[], depth),
            Some(Body::Argsort { .. }) => Range::from(0.0),
            Some(Body::Grad { .. }) | None => Range::ALL,
        };
        self.tensors.insert(tensor, r);
        r
    }

    fn of_op(
        &mut self,
        program: &Program,
        op: Op,
        operands: &[ExprId],
        facts: &[Fact],
        depth: u32,
    ) -> Range {
        let mut get = |i: usize| self.at(program, operands[i], facts, depth);
        let from_zero = Range::closed(0.0, f64::INFINITY);
        match op {
            Op::Add => get(0).plus(get(1)),
            Op::Sub => get(0).plus(get(1).negated()),
            Op::Mul if operands[0] == operands[1] => get(0).squared(),
            Op::Mul => get(0).times(get(1)),
            Op::Neg => get(0).negated(),
            Op::Abs => get(0).absolute(),
            Op::Sign => {
                let r = get(0);
                let sign = |x: f64| if x == 0.0 { 0.0 } else { x.signum() };
                Range::closed(
                    if r.is_positive() { 1.0 } else { sign(r.low) },
                    if r.is_negative() { -1.0 } else { sign(r.high) },
                )
            }
            Op::Max | Op::Min => {
                let first = get(0);
                (1..operands.len()).fold(first, |a, i| {
                    let b = get(i);
                    let (most, least) = (a.join(b), a.meet(b));
                    if op == Op::Max {
                        Range {
                            low: least.low,
                            low_open: least.low_open,
                            not_zero: false,
                            ..most
                        }
                    } else {
                        Range {
                            high: least.high,
                            high_open: least.high_open,
                            not_zero: false,
                            ..most
                        }
                    }
                })
            }
            Op::Clamp => {
                let (x, low, high) = (get(0), get(1), get(2));
                // max(x, low), then min with high.
                let raised = Range::closed(x.low.max(low.low), x.high.max(low.high));
                Range::closed(raised.low.min(high.low), raised.high.min(high.high))
            }
            Op::IntDiv if get(0).is_nonnegative() && get(1).is_nonnegative() => Range::from(0.0),
            Op::Mod if get(1).is_nonnegative() => Range::from(0.0),
            Op::IntDiv | Op::Mod => Range::ALL,
            Op::Div => get(0).divided_by(get(1)),
            Op::Pow => {
                let (base, exponent) = (get(0), get(1));
                let even = exponent.low == exponent.high && exponent.low % 2.0 == 0.0;
                if even && exponent.low == 2.0 {
                    base.squared()
                } else if base.is_nonnegative() && base.high <= 1.0 && exponent.is_nonnegative() {
                    Range::closed(0.0, 1.0)
                } else if base.is_nonnegative() || even {
                    from_zero
                } else {
                    Range::ALL
                }
            }
            Op::Sqrt => {
                let r = get(0);
                Range {
                    low_open: r.is_positive(),
                    ..Range::closed(0.0, f64::INFINITY).meet(r.mapped(f64::sqrt))
                }
            }
            Op::Exp => from_zero.meet(get(0).mapped(f64::exp)),
            Op::Expm1 => Range::closed(-1.0, f64::INFINITY).meet(get(0).mapped(f64::exp_m1)),
            Op::Log => get(0).mapped(f64::ln),
            Op::Log1p => get(0).mapped(f64::ln_1p),
            Op::Log2 => get(0).mapped(f64::log2),
            Op::Sin | Op::Cos | Op::Tanh | Op::Erf => {
                let r = get(0);
                let high = if r.high <= 0.0 && !matches!(op, Op::Sin | Op::Cos) {
                    0.0
                } else {
                    1.0
                };
                let low = if r.low >= 0.0 && !matches!(op, Op::Sin | Op::Cos) {
                    0.0
                } else {
                    -1.0
                };
                Range::closed(low, high)
            }
            Op::Asin | Op::Atan => Range::closed(-1.6, 1.6),
            Op::Acos => Range::closed(0.0, 3.2),
            Op::Atan2 => Range::closed(-3.2, 3.2),
            Op::Sinh if get(0).is_nonnegative() => from_zero,
            Op::Cosh => Range::closed(1.0, f64::INFINITY),
            Op::Sigmoid => {
                Range::closed(0.0, 1.0).meet(get(0).mapped(|x| 1.0 / (1.0 + (-x).exp())))
            }
            Op::Softplus => from_zero,
            Op::Relu => {
                let r = get(0);
                Range {
                    low: r.low.max(0.0),
                    low_open: r.is_positive() && r.low_open,
                    high: r.high.max(0.0),
                    not_zero: false,
                    ..r
                }
            }
            Op::Floor => get(0).mapped(f64::floor),
            Op::Ceil => get(0).mapped(f64::ceil),
            Op::Round => get(0).mapped(f64::round),
            Op::Xlogy => {
                let (x, y) = (get(0), get(1));
                match (x.is_nonnegative(), y.low >= 1.0, y.high <= 1.0) {
                    (true, true, _) => from_zero,
                    (true, _, true) => from_zero.negated(),
                    _ => Range::ALL,
                }
            }
            Op::LogSumExp => {
                let low = (0..operands.len())
                    .map(|i| get(i).low)
                    .fold(f64::NEG_INFINITY, f64::max);
                Range::closed(low - slack(low), f64::INFINITY)
            }
            Op::StopGradient => get(0),
            Op::ToReal => get(0),
            Op::ToInt => get(0).mapped(f64::trunc),
            Op::Tan | Op::Sinh | Op::Lgamma | Op::Digamma | Op::Polygamma => Range::ALL,
            Op::Eq | Op::Ne | Op::Lt | Op::Le | Op::Gt | Op::Ge | Op::And | Op::Or | Op::Not => {
                Range::ALL
            }
        }
    }
}

/// The range of an expression without operands; of any other, every value.
fn leaf(program: &Program, e: ExprId) -> Range {
    match program.node(e) {
        Node::Real(x) if !x.0.is_nan() => Range::closed(x.0, x.0),
        Node::Int(k) => Range::closed(*k as f64, *k as f64),
        Node::Axis(_) | Node::Size(_) => Range::from(0.0),
        Node::Param(p) => match program.params[p.index()].domain {
            Some(d) => Range {
                low: d.low,
                high: d.high,
                low_open: !d.low_included || d.low.is_infinite(),
                high_open: !d.high_included || d.high.is_infinite(),
                not_zero: false,
            },
            None => Range::open(f64::NEG_INFINITY, f64::INFINITY),
        },
        Node::Real(_)
        | Node::Bool(_)
        | Node::Read { .. }
        | Node::If { .. }
        | Node::Op(..)
        | Node::Reduce { .. } => Range::ALL,
    }
}

/// The range of a reduction of elements in `r`, with what it is of nothing.
fn of_reduction(op: ReduceOp, r: Range) -> Range {
    let from_zero = Range::closed(0.0, f64::INFINITY);
    match op {
        ReduceOp::Sum if r.is_nonnegative() => from_zero,
        ReduceOp::Sum if r.high <= 0.0 => from_zero.negated(),
        ReduceOp::Sum => Range::ALL,
        ReduceOp::Mean => Range::closed(r.low - 1e5 * slack(r.low), r.high + 1e5 * slack(r.high)),
        ReduceOp::Prod if r.is_nonnegative() && r.high <= 1.0 => Range::closed(0.0, 1.0),
        ReduceOp::Prod if r.is_nonnegative() => from_zero,
        ReduceOp::Prod => Range::ALL,
        ReduceOp::Max => r.join(Range::closed(f64::NEG_INFINITY, f64::NEG_INFINITY)),
        ReduceOp::Min => r.join(Range::closed(f64::INFINITY, f64::INFINITY)),
        ReduceOp::Norm => from_zero,
        ReduceOp::Count | ReduceOp::ArgMax | ReduceOp::ArgMin => Range::from(0.0),
        ReduceOp::LogSumExp | ReduceOp::Any | ReduceOp::All => Range::ALL,
    }
}

/// What `condition` says of its operands where it holds (or, with `holds` false, where it does not).
/// `range` says what is known of an operand.
pub fn facts_of(
    program: &Program,
    condition: ExprId,
    holds: bool,
    mut range: impl FnMut(ExprId) -> Range,
) -> Vec<Fact> {
    let mut facts = vec![];
    let mut stack = vec![(condition, holds)];
    while let Some((c, holds)) = stack.pop() {
        let Node::Op(op, o) = program.node(c) else {
            continue;
        };
        match (op, holds) {
            (Op::And, true) | (Op::Or, false) => stack.extend([(o[0], holds), (o[1], holds)]),
            (Op::Not, _) => stack.push((o[0], !holds)),
            (Op::Eq | Op::Ne | Op::Lt | Op::Le | Op::Gt | Op::Ge, _)
                if program.ty(o[0]) != Type::Bool =>
            {
                let sides = [(o[0], range(o[0])), (o[1], range(o[1]))];
                let says = compared(*op, holds, sides);
                facts.extend(says.into_iter().flatten().filter(|f| {
                    f.range != Range::ALL
                        && !matches!(program.node(f.subject), Node::Real(_) | Node::Int(_))
                }));
            }
            _ => {}
        }
    }
    facts
}

/// The facts of one comparison. Where it does not hold, an operand may be NaN, which every range allows.
fn compared(op: Op, holds: bool, [(a, ra), (b, rb)]: [(ExprId, Range); 2]) -> [Option<Fact>; 2] {
    let below = |r: Range, strict: bool| Range {
        high: r.high,
        high_open: strict || r.high_open,
        ..Range::ALL
    };
    let above = |r: Range, strict: bool| Range {
        low: r.low,
        low_open: strict || r.low_open,
        ..Range::ALL
    };
    let (less, strict) = match (op, holds) {
        (Op::Lt, true) | (Op::Ge, false) => (Some(true), true),
        (Op::Le, true) | (Op::Gt, false) => (Some(true), false),
        (Op::Gt, true) | (Op::Le, false) => (Some(false), true),
        (Op::Ge, true) | (Op::Lt, false) => (Some(false), false),
        (Op::Eq, true) | (Op::Ne, false) => (None, false),
        _ => {
            let zero = Range::closed(0.0, 0.0);
            let other = |x: ExprId, rx: Range, ry: Range| {
                // Of a number that is not negative, `!= 0` says that it is positive.
                let low = if rx.is_nonnegative() {
                    0.0
                } else {
                    f64::NEG_INFINITY
                };
                let range = Range {
                    low,
                    low_open: low == 0.0,
                    not_zero: true,
                    ..Range::ALL
                };
                (ry == zero).then_some(Fact { subject: x, range })
            };
            return [other(a, ra, rb), other(b, rb, ra)];
        }
    };
    let (says_a, says_b) = match less {
        Some(true) => (below(rb, strict), above(ra, strict)),
        Some(false) => (above(rb, strict), below(ra, strict)),
        None => (rb, ra),
    };
    [
        Some(Fact {
            subject: a,
            range: says_a,
        }),
        Some(Fact {
            subject: b,
            range: says_b,
        }),
    ]
}
