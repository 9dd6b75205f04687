//! Sums of exponentials, perhaps with other terms, as one.

use super::{Growth, Scaled};
use crate::ir::{ExprId, Op};
use crate::rewrite::stabilize::Rewriter;
use crate::rewrite::stabilize::view::{Factors, Term};

/// A term of a sum, and what it is as an exponential (its sign included).
struct Part {
    minus: bool,
    term: ExprId,
    scaled: Option<Scaled>,
}

impl Rewriter<'_> {
    /// A sum of terms, some of them exponentials.
    pub(super) fn scaled_sum(&mut self, e: ExprId, depth: u32) -> Option<Scaled> {
        let terms = self.terms(e, 8);
        let mut parts: Vec<Part> = vec![];
        for &(minus, t) in &terms {
            parts.push(self.part(minus, t, depth));
        }
        let grows = parts
            .iter()
            .any(|p| p.scaled.as_ref().is_some_and(|s| s.growth == Growth::Grows));
        let all = parts.iter().all(|p| p.scaled.is_some());
        if !grows && !all {
            return None;
        }
        let logs: Option<Vec<(f64, ExprId)>> = parts.iter().map(|p| self.plain_part(p)).collect();
        match logs {
            Some(logs) => Some(self.log_sum(&logs, grows)),
            None => self.shifted_sum(&terms, &parts),
        }
    }

    fn part(&mut self, minus: bool, t: ExprId, depth: u32) -> Part {
        let mut scaled = self.scaled_at(t, depth);
        if let Some(s) = &mut scaled
            && minus
        {
            s.weight.literal = -s.weight.literal;
        }
        Part {
            minus,
            term: t,
            scaled,
        }
    }

    /// A term as `literal * exp(log)`: a pure exponential, or a constant that is provably not negative.
    fn plain_part(&mut self, part: &Part) -> Option<(f64, ExprId)> {
        if let Some(s) = &part.scaled {
            return s.is_pure().then_some((s.weight.literal, s.log));
        }
        if part.minus || !self.is_given(part.term) {
            return None;
        }
        if let Some(x) = self.program.number(part.term) {
            let zero = self.real(0.0);
            return (x > 0.0).then_some((x, zero));
        }
        if !self.range(part.term).is_nonnegative() {
            return None;
        }
        Some((1.0, self.program.raw(Op::Log, &[part.term])))
    }

    /// `sum of literal * exp(log)` as one exponential: a softplus if it is `1 + exp(x)`.
    fn log_sum(&mut self, parts: &[(f64, ExprId)], grows: bool) -> Scaled {
        let literal = parts[0].0;
        let common = parts.iter().all(|p| p.0 == literal);
        let growth = if grows { Growth::Grows } else { Growth::Decays };
        let mut logs = vec![];
        for &(l, log) in parts {
            logs.push(if common || l == 1.0 {
                log
            } else {
                let l = self.real(l);
                let l = self.program.raw(Op::Log, &[l]);
                self.program.add(log, l)
            });
        }
        let log = match logs[..] {
            [x, one] if self.program.is_number(one, 0.0) => self.program.op(Op::Softplus, &[x]),
            [one, x] if self.program.is_number(one, 0.0) => self.program.op(Op::Softplus, &[x]),
            _ => self.program.op(Op::LogSumExp, &logs),
        };
        let mut s = Scaled::pure(log, growth);
        if common {
            s.weight.literal = literal;
        }
        s
    }

    /// A sum whose terms have weights of unknown sign, or that has other terms beside exponentials: the largest exponent
    /// is taken out, at least 0 where there are other terms.
    fn shifted_sum(&mut self, terms: &[Term], parts: &[Part]) -> Option<Scaled> {
        let zero = self.real(0.0);
        let mut exponents = vec![];
        let mut conditions = vec![];
        for part in parts {
            let Some(s) = &part.scaled else {
                conditions.push(None);
                if !exponents.contains(&zero) {
                    exponents.push(zero);
                }
                continue;
            };
            let weight = self.product(&s.weight);
            if self.range(weight).is_nonzero() {
                conditions.push(None);
                exponents.push(s.log);
                continue;
            }
            let counts = self.program.compare(Op::Ne, weight, zero);
            let nothing = self.real(f64::NEG_INFINITY);
            conditions.push(Some((counts, self.is_active(weight))));
            exponents.push(self.program.iff(counts, s.log, nothing));
        }
        let largest = self.program.op(Op::Max, &exponents);
        let shift = self.held_finite(largest);
        let mut sum: Option<ExprId> = None;
        for ((part, &(minus, term)), condition) in parts.iter().zip(terms).zip(conditions) {
            let value = match &part.scaled {
                Some(s) => {
                    let hold = condition.and_then(|(counts, active)| active.then_some(counts));
                    let exponent = self.shifted_exponent(s.log, shift, hold);
                    let value = self.times(&s.weight.clone(), exponent);
                    match condition {
                        Some((counts, false)) => self.program.iff(counts, value, zero),
                        _ => value,
                    }
                }
                None => {
                    let scale = self.shifted_exponent(zero, shift, None);
                    let value = self.program.mul(term, scale);
                    if minus { self.neg(value) } else { value }
                }
            };
            sum = Some(match sum {
                Some(s) => self.program.add(s, value),
                None => value,
            });
        }
        let weight = Factors {
            num: vec![sum?],
            ..Factors::one()
        };
        Some(Scaled {
            weight,
            log: shift,
            growth: Growth::Grows,
            finite: true,
            shifted: true,
        })
    }
}
