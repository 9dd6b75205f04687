//! Expressions in the logarithmic domain: which `e` is `weight * exp(log)` with a `log` that can be computed without
//! leaving the range of floating point, where `e` itself cannot.
//!
//! This is what most rules on logarithms and quotients share: `log(e)` is `log(weight) + log`, and a quotient of two is
//! `exp` of a difference. Forms compose: products add, sums become `logsumexp`, products over an axis become sums.

mod sums;

use super::Rewriter;
use super::view::Factors;
use crate::ir::{AxisId, ExprId, Node, Op, ReduceOp};

/// How `exp(log)` gets out of range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Growth {
    /// Only towards 0, as a sigmoid does. Beside a term that is not small nothing is lost.
    Decays,
    /// Both ways.
    Grows,
}

/// `weight * exp(log)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Scaled {
    pub weight: Factors,
    pub log: ExprId,
    pub growth: Growth,
    /// `log` is finite by construction, whatever the inputs are.
    pub finite: bool,
    /// `log` is of `weight * exp(log)` summed with these weights; a term of the sum may have an exponent above it where its
    /// weight is 0.
    pub shifted: bool,
}

/// Exponentials are held below this where their weight may be 0: `0 * exp(1000)` is NaN. What a derivative by the weight asks
/// for is the exponential itself, so it is held no earlier than it must be. In f32 it stands for the largest number.
pub(super) const HELD: f64 = 1e308;

const DEPTH: u32 = 6;

impl Scaled {
    pub fn pure(log: ExprId, growth: Growth) -> Scaled {
        Scaled {
            weight: Factors::one(),
            log,
            growth,
            finite: false,
            shifted: false,
        }
    }

    /// The weight is a positive number (a literal, often 1).
    pub fn is_pure(&self) -> bool {
        self.weight.is_literal() && self.weight.literal > 0.0
    }
}

impl Rewriter<'_> {
    /// `e` as `weight * exp(log)`, if it contains an exponential to speak of.
    pub(super) fn scaled(&mut self, e: ExprId) -> Option<Scaled> {
        self.scaled_at(e, DEPTH)
    }

    fn scaled_at(&mut self, e: ExprId, depth: u32) -> Option<Scaled> {
        let e = self.look(e);
        if depth == 0
            || matches!(
                self.program.node(e),
                Node::Real(_) | Node::Read { .. } | Node::Param(_)
            )
        {
            return None;
        }
        let plain = self.facts.is_empty();
        let known = if plain {
            &self.scaled
        } else {
            &self.scaled_here
        };
        if let Some(known) = known.get(&(e, depth)) {
            return known.clone();
        }
        let answer = match self.program.node(e).clone() {
            Node::Op(op, operands) => self.scaled_op(op, &operands, e, depth - 1),
            Node::If {
                condition,
                then,
                otherwise,
            } => self.scaled_if(condition, then, otherwise, depth - 1),
            Node::Reduce {
                op,
                axes,
                guard,
                body,
            } => self.scaled_reduction(op, &axes, guard, body, depth - 1),
            Node::Real(_)
            | Node::Int(_)
            | Node::Bool(_)
            | Node::Axis(_)
            | Node::Size(_)
            | Node::Param(_)
            | Node::Read { .. } => None,
        };
        let known = if plain {
            &mut self.scaled
        } else {
            &mut self.scaled_here
        };
        known.insert((e, depth), answer.clone());
        answer
    }

    fn scaled_op(&mut self, op: Op, operands: &[ExprId], e: ExprId, depth: u32) -> Option<Scaled> {
        match (op, operands) {
            (Op::Exp, &[x]) if !self.is_shifted(x) => {
                let growth = if self.range(x).high <= 0.0 {
                    Growth::Decays
                } else {
                    Growth::Grows
                };
                Some(Scaled::pure(x, growth))
            }
            // sigmoid(x) = exp(-softplus(-x))
            (Op::Sigmoid, &[x]) => {
                let negated = self.neg(x);
                let softplus = self.op(Op::Softplus, &[negated]);
                Some(Scaled::pure(self.neg(softplus), Growth::Decays))
            }
            // cosh(x) = exp(|x|) (1 + exp(-2|x|)) / 2, without the rounding of 1 + ..: 1 + expm1(-2|x|) / 2.
            (Op::Cosh, &[x]) => {
                let magnitude = self.op(Op::Abs, &[x]);
                let exponent = self.scale(-2.0, magnitude);
                let small = self.program.op(Op::Expm1, &[exponent]);
                let half = self.scale(0.5, small);
                let rest = self.program.op(Op::Log1p, &[half]);
                Some(Scaled::pure(
                    self.program.add(magnitude, rest),
                    Growth::Grows,
                ))
            }
            (Op::Neg | Op::Mul | Op::Div, _) => self.scaled_product(e, depth),
            (Op::Pow, &[base, exponent]) => {
                let exponent_range = self.range(exponent);
                if !self.is_given(exponent) || !exponent_range.is_nonzero() {
                    return None;
                }
                self.scaled_power(base, exponent, depth)
            }
            (Op::Sqrt, &[x]) => {
                let half = self.real(0.5);
                self.scaled_power(x, half, depth)
            }
            (Op::Add | Op::Sub, _) => self.scaled_sum(e, depth),
            _ => None,
        }
    }

    /// Whether an exponent has its maximum subtracted already: these rules do so under `stop_gradient`.
    fn is_shifted(&self, exponent: ExprId) -> bool {
        let p = &*self.program;
        self.terms(exponent, 6)
            .iter()
            .any(|&(minus, t)| minus && matches!(p.node(t), Node::Op(Op::StopGradient, _)))
    }

    fn scaled_power(&mut self, base: ExprId, exponent: ExprId, depth: u32) -> Option<Scaled> {
        let s = self.scaled_at(base, depth)?;
        if s.weight != Factors::one() {
            return None;
        }
        let log = match self.program.number(exponent) {
            Some(x) => self.scale(x, s.log),
            None => self.program.mul(exponent, s.log),
        };
        Some(Scaled {
            log,
            growth: Growth::Grows,
            ..s
        })
    }

    /// Exponents of a product add. At most one factor may be a shifted sum.
    fn scaled_product(&mut self, e: ExprId, depth: u32) -> Option<Scaled> {
        let factors = self.factors(e);
        let mut weight = Factors {
            literal: factors.literal,
            ..Factors::one()
        };
        let mut log: Option<ExprId> = None;
        let (mut growth, mut finite, mut shifted) = (Growth::Decays, true, false);
        let sides = [(false, &factors.num), (true, &factors.den)];
        for (below, f) in sides
            .into_iter()
            .flat_map(|(below, v)| v.iter().map(move |&f| (below, f)))
        {
            let Some(s) = self.scaled_at(f, depth) else {
                if below {
                    weight.den.push(f)
                } else {
                    weight.num.push(f)
                }
                continue;
            };
            log = Some(match (log, below) {
                (None, false) => s.log,
                (None, true) => self.neg(s.log),
                (Some(l), false) => self.program.add(l, s.log),
                (Some(l), true) => self.program.sub(l, s.log),
            });
            weight = if below {
                weight.over(&s.weight)
            } else {
                weight.times(&s.weight)
            };
            growth = growth.max(if below { Growth::Grows } else { s.growth });
            finite &= s.finite;
            shifted |= s.shifted;
        }
        let log = log?;
        Some(Scaled {
            weight,
            log,
            growth,
            finite,
            shifted,
        })
    }

    /// The logarithm of a branch: of a literal as well, 0 included.
    fn branch(&mut self, e: ExprId, depth: u32) -> Option<(ExprId, Option<Growth>)> {
        match self.program.number(e) {
            Some(0.0) => Some((self.real(f64::NEG_INFINITY), None)),
            Some(1.0) => Some((self.real(0.0), None)),
            Some(x) if x > 0.0 => Some((self.program.raw(Op::Log, &[e]), None)),
            Some(_) => None,
            None => {
                let s = self.scaled_at(e, depth)?;
                if s.weight != Factors::one() {
                    return None;
                }
                Some((s.log, Some(s.growth)))
            }
        }
    }

    fn scaled_if(
        &mut self,
        condition: ExprId,
        then: ExprId,
        otherwise: ExprId,
        depth: u32,
    ) -> Option<Scaled> {
        let (a, b) = (self.branch(then, depth)?, self.branch(otherwise, depth)?);
        let growth = a.1.max(b.1)?;
        Some(Scaled::pure(self.program.iff(condition, a.0, b.0), growth))
    }

    fn scaled_reduction(
        &mut self,
        op: ReduceOp,
        axes: &[AxisId],
        guard: Option<ExprId>,
        body: ExprId,
        depth: u32,
    ) -> Option<Scaled> {
        match op {
            ReduceOp::Sum | ReduceOp::Mean => {
                let s = self.scaled_at(body, depth)?;
                let mut sum = self.summed(s, axes, guard)?;
                if op == ReduceOp::Mean {
                    sum.weight.den.push(self.count(axes, guard));
                }
                Some(sum)
            }
            ReduceOp::Prod => {
                let s = self.scaled_at(body, depth)?;
                if s.weight != Factors::one() {
                    return None;
                }
                Some(Scaled::pure(
                    self.reduce(ReduceOp::Sum, axes, guard, s.log),
                    Growth::Grows,
                ))
            }
            ReduceOp::Max
            | ReduceOp::Min
            | ReduceOp::LogSumExp
            | ReduceOp::Norm
            | ReduceOp::Any
            | ReduceOp::All
            | ReduceOp::Count
            | ReduceOp::ArgMax
            | ReduceOp::ArgMin => None,
        }
    }

    /// `sum[axes if guard](weight * exp(log))`. Weights that the axes do not move stay outside of a `logsumexp`; others need
    /// the maximum subtracted by hand, over the elements whose weight is not 0.
    fn summed(&mut self, s: Scaled, axes: &[AxisId], guard: Option<ExprId>) -> Option<Scaled> {
        let bound = |r: &Self, e: ExprId| axes.iter().any(|&a| r.program.is_free(a, e));
        let given = s
            .weight
            .num
            .iter()
            .chain(&s.weight.den)
            .all(|&f| !bound(self, f));
        if given {
            // Sigmoids do not leave the range together; their sum is not worth an exponential each.
            if s.growth == Growth::Decays && self.is_softplus(s.log) {
                return None;
            }
            let log = self.reduce(ReduceOp::LogSumExp, axes, guard, s.log);
            return Some(Scaled {
                log,
                finite: false,
                ..s
            });
        }
        if s.growth == Growth::Decays && self.is_softplus(s.log) {
            return None;
        }
        let weight = self.product(&s.weight);
        let zero = self.real(0.0);
        let counts = self.program.compare(Op::Ne, weight, zero);
        let among = match guard {
            Some(g) => self.program.and(g, counts),
            None => counts,
        };
        let largest = self.reduce(ReduceOp::Max, axes, Some(among), s.log);
        let shift = self.held_finite(largest);
        // Elements without weight are left out, unless the weight has a derivative there.
        let active = self.is_active(weight);
        let exponent = self.shifted_exponent(s.log, shift, active.then_some(counts));
        let weighted = self.program.mul(weight, exponent);
        let sum = self.reduce(
            ReduceOp::Sum,
            axes,
            if active { guard } else { Some(among) },
            weighted,
        );
        let weight = Factors {
            num: vec![sum],
            ..Factors::one()
        };
        Some(Scaled {
            weight,
            log: shift,
            growth: s.growth,
            finite: true,
            shifted: true,
        })
    }

    fn is_softplus(&self, log: ExprId) -> bool {
        self.program
            .unary(log, Op::Neg)
            .is_some_and(|n| self.program.unary(n, Op::Softplus).is_some())
    }

    /// A maximum as a shift: 0 where it is infinite, and no derivative passes, since the shift cancels.
    fn held_finite(&mut self, largest: ExprId) -> ExprId {
        let p = &mut *self.program;
        let (zero, infinity) = (p.real(0.0), p.real(f64::INFINITY));
        let magnitude = p.op(Op::Abs, &[largest]);
        let finite = p.compare(Op::Lt, magnitude, infinity);
        let held = p.iff(finite, largest, zero);
        p.op(Op::StopGradient, &[held])
    }

    /// `exp(log - shift)`, held where a zero weight lets it grow, which is where the condition given is false.
    fn shifted_exponent(&mut self, log: ExprId, shift: ExprId, counts: Option<ExprId>) -> ExprId {
        let p = &mut *self.program;
        let exponent = p.sub(log, shift);
        let exp = p.op(Op::Exp, &[exponent]);
        match counts {
            Some(counts) => {
                let held = self.held(exp);
                self.program.iff(counts, exp, held)
            }
            None => exp,
        }
    }

    /// An exponential that is finite, since its weight may be 0.
    pub(super) fn held(&mut self, exp: ExprId) -> ExprId {
        let most = self.program.real(HELD);
        self.program.op(Op::Min, &[exp, most])
    }
}
