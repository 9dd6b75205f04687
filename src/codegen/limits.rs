//! Selects that a limit replaces.
//!
//! `if |x| <= d then A else B`, where A is what B becomes when d is |x|, is B with `min(|x|, d)` in place of d: as in
//! `if |x| <= d then x^2/2 else d (|x| - d/2)`. That spares the comparison, one of the two formulas and the blend.

use super::math::Bundle;
use super::stage::{Gen, Result};
use crate::ir::Op;
use crate::loops::{Expr, ValueId};
use std::collections::BTreeMap;

/// Products of powers of x, |x| and d, with their factors.
type Polynomial = BTreeMap<[u8; 3], f64>;

/// No product has more factors.
const DEGREE: u8 = 2;
/// Neither polynomial has more terms.
const TERMS: usize = 8;
/// How much larger than A's factors those of B may be, together, so that no digits are lost where they cancel.
const GROWTH: f64 = 4.0;

/// x, |x| and d.
#[derive(Clone, Copy)]
struct Names([ValueId; 3]);

impl<'u, 'f> Gen<'u, 'f> {
    /// |x| and d, where `if c then a else b` is `b` with `min(|x|, d)` in place of d.
    pub(super) fn as_limit(
        &self,
        c: ValueId,
        a: ValueId,
        b: ValueId,
    ) -> Option<(ValueId, ValueId)> {
        let compared = self
            .operands(c, Op::Le)
            .or_else(|| self.operands(c, Op::Lt))?;
        let &[size, d] = compared else {
            return None;
        };
        let &[x] = self.operands(size, Op::Abs)? else {
            return None;
        };
        if !self.is_finite_and_nonnegative(d) {
            return None;
        }
        let names = Names([x, size, d]);
        let inside = at_limit(&self.polynomial(a, names)?, false)?;
        let outside = self.polynomial(b, names)?;
        let growth = |degree: u8| -> f64 {
            let of = |p: &[u8; 3]| p.iter().sum::<u8>() == degree;
            outside
                .iter()
                .filter(|(p, _)| of(p))
                .map(|(_, f)| f.abs())
                .sum()
        };
        let close = (0..=DEGREE).all(|degree| {
            let factor = inside.get(&[0, degree, 0]).map_or(0.0, |f| f.abs());
            growth(degree) <= GROWTH * factor
        });
        (close && at_limit(&outside, true)? == inside).then_some((size, d))
    }

    /// A value as a polynomial, if it is one.
    fn polynomial(&self, id: ValueId, names: Names) -> Option<Polynomial> {
        if let Some(k) = names.0.iter().position(|&n| n == id) {
            let mut powers = [0; 3];
            powers[k] = 1;
            return Some(Polynomial::from([(powers, 1.0)]));
        }
        let mut out = Polynomial::new();
        match self.made(id)? {
            Expr::Real(x) => {
                out.insert([0; 3], *x);
            }
            Expr::Op(op @ (Op::Add | Op::Sub), operands) => {
                out = self.polynomial(operands[0], names)?;
                let sign = if *op == Op::Add { 1.0 } else { -1.0 };
                for (p, f) in self.polynomial(operands[1], names)? {
                    *out.entry(p).or_default() += sign * f;
                }
            }
            Expr::Op(Op::Mul, operands) => {
                let x = self.polynomial(operands[0], names)?;
                let y = self.polynomial(operands[1], names)?;
                for (p, f) in &x {
                    for (q, g) in &y {
                        let powers = [p[0] + q[0], p[1] + q[1], p[2] + q[2]];
                        if powers.iter().sum::<u8>() > DEGREE {
                            return None;
                        }
                        *out.entry(powers).or_default() += f * g;
                    }
                }
            }
            _ => return None,
        }
        (out.len() <= TERMS).then_some(out)
    }

    /// Where [`Gen::as_limit`] holds: `b` with what is given in place of d.
    pub(super) fn limited(
        &mut self,
        b: ValueId,
        d: ValueId,
        limit: (Bundle, bool),
    ) -> Result<(Bundle, bool)> {
        if b == d {
            return Ok(limit);
        }
        let (op, operands) = match self.made(b) {
            Some(Expr::Op(op @ (Op::Add | Op::Sub | Op::Mul), operands)) => (*op, operands),
            _ => return self.real(b),
        };
        let x = self.limited(operands[0], d, limit)?;
        let y = self.limited(operands[1], d, limit)?;
        let lanes = x.1 || y.1;
        let [x, y] = [x, y].map(|v| if lanes { self.spread(v) } else { v.0 });
        let mut e = self.emitter(x.copies());
        let out = match op {
            Op::Add => e.add(x, y),
            Op::Sub => e.sub(x, y),
            _ => e.mul(x, y),
        };
        Ok((out, lanes))
    }
}

/// The polynomial in |x| alone: with |x| for d if that is `allowed`. Nothing if it has odd powers of x.
fn at_limit(p: &Polynomial, allowed: bool) -> Option<Polynomial> {
    let mut out = Polynomial::new();
    for (&[x, size, d], &f) in p {
        if x % 2 == 1 || (d > 0 && !allowed) {
            return None;
        }
        *out.entry([0, x + size + d, 0]).or_default() += f;
    }
    out.retain(|_, f| *f != 0.0);
    Some(out)
}
