//! Sums, products, powers and extrema in canonical form.

use crate::ir::{ExprId, ExtentId, Node, Op, Program, Type};
use crate::rewrite::index;

impl Program {
    pub(super) fn int_of(&mut self, e: ExprId) -> ExprId {
        // int(real(i)) is i where the real is exact; ints of 2^53 and more are rounded, so only bounded ones are folded.
        if let Some(i) = self.unary(e, Op::ToReal)
            && matches!(self.node(i), Node::Axis(_) | Node::Size(_))
        {
            return i;
        }
        match self.number(e) {
            Some(x) => self.int(x as i64),
            None => self.raw(Op::ToInt, &[e]),
        }
    }

    /// An int expression in its normal form, if it has one and that is not what it already is.
    fn int_form(&mut self, op: Op, a: ExprId, b: ExprId) -> ExprId {
        let plain = self.raw(op, &[a, b]);
        match index::linear(self, plain) {
            Some(form) if form.terms.len() <= 8 && form.terms != [(plain, 1)] => {
                index::expression(self, &form)
            }
            _ => plain,
        }
    }

    pub fn add(&mut self, a: ExprId, b: ExprId) -> ExprId {
        if self.ty(a) == Type::Int && self.ty(b) == Type::Int {
            return self.int_form(Op::Add, a, b);
        }
        if self.is_number(a, 0.0) {
            return b;
        }
        if self.is_number(b, 0.0) {
            return a;
        }
        if let Some(x) = self.fold(a, b, |x, y| x + y) {
            return x;
        }
        if let Some(n) = self.unary(b, Op::Neg) {
            return self.sub(a, n);
        }
        if let Some(n) = self.unary(a, Op::Neg) {
            return self.sub(b, n);
        }
        if let Some(n) = self.negated_product(b) {
            return self.sub(a, n);
        }
        if a == b {
            let two = self.real(2.0);
            return self.mul(two, a);
        }
        if let Some(closed) = self.closed_sum(Op::Add, a, b) {
            return closed;
        }
        self.raw(Op::Add, &[a, b])
    }

    pub fn sub(&mut self, a: ExprId, b: ExprId) -> ExprId {
        if self.ty(a) == Type::Int && self.ty(b) == Type::Int {
            return self.int_form(Op::Sub, a, b);
        }
        if self.is_number(b, 0.0) {
            return a;
        }
        if self.is_number(a, 0.0) {
            return self.neg(b);
        }
        if let Some(x) = self.fold(a, b, |x, y| x - y) {
            return x;
        }
        if let Some(n) = self.unary(b, Op::Neg) {
            return self.add(a, n);
        }
        if let Some(n) = self.negated_product(b) {
            return self.add(a, n);
        }
        if let Some(closed) = self.closed_sum(Op::Sub, a, b) {
            return closed;
        }
        self.raw(Op::Sub, &[a, b])
    }

    /// Folds two real literals, if the answer is exact (error-free) or both are short.
    fn fold(&mut self, a: ExprId, b: ExprId, f: impl Fn(f64, f64) -> f64) -> Option<ExprId> {
        let (x, y) = (self.number(a)?, self.number(b)?);
        let z = f(x, y);
        let whole = |v: f64| v.fract() == 0.0 && v.abs() < 2f64.powi(53);
        let dyadic = |v: f64| v.is_finite() && whole(v * 1024.0);
        (dyadic(x) && dyadic(y) && dyadic(z)).then(|| self.real(z))
    }

    /// For a product with a negative literal in front (`-2 * x`), the product with the sign turned.
    fn negated_product(&mut self, e: ExprId) -> Option<ExprId> {
        for op in [Op::Mul, Op::Div] {
            if let Some((a, b)) = self.binary(e, op) {
                let x = self.number(a)?;
                if x < 0.0 {
                    let positive = self.real(-x);
                    return Some(self.op(op, &[positive, b]));
                }
                return None;
            }
        }
        None
    }

    /// Sums of literals, hyperparameters and sizes (rule 11): `s + (1 - s)` is 1. Only where terms cancel.
    fn closed_sum(&mut self, op: Op, a: ExprId, b: ExprId) -> Option<ExprId> {
        let (mut terms, mut constant) = (vec![], 0.0);
        let mut count = 0;
        self.closed_terms(a, 1.0, &mut terms, &mut constant, &mut count, 0)?;
        self.closed_terms(
            b,
            if op == Op::Add { 1.0 } else { -1.0 },
            &mut terms,
            &mut constant,
            &mut count,
            0,
        )?;
        let mut merged: Vec<(ExprId, f64)> = vec![];
        for (t, c) in terms {
            match merged.iter_mut().find(|m| m.0 == t) {
                Some(m) => m.1 += c,
                None => merged.push((t, c)),
            }
        }
        merged.retain(|m| m.1 != 0.0);
        // Only if at least two of the terms met.
        if merged.len() + usize::from(constant != 0.0) + 1 >= count {
            return None;
        }
        let mut sum = if constant == 0.0 {
            None
        } else {
            Some(self.real(constant))
        };
        for (t, c) in merged {
            let k = self.real(c.abs());
            let term = self.mul(k, t);
            sum = Some(match (sum, c > 0.0) {
                (None, true) => term,
                (None, false) => self.neg(term),
                (Some(s), true) => self.raw(Op::Add, &[s, term]),
                (Some(s), false) => self.raw(Op::Sub, &[s, term]),
            });
        }
        Some(match sum {
            Some(s) => s,
            None => self.real(0.0),
        })
    }

    fn closed_terms(
        &self,
        e: ExprId,
        sign: f64,
        terms: &mut Vec<(ExprId, f64)>,
        constant: &mut f64,
        count: &mut usize,
        depth: usize,
    ) -> Option<()> {
        // Long sums are never closed; finding that out must not cost their length at each of their terms.
        if *count > 6 || depth > 8 || !self.free(e).is_empty() {
            return None;
        }
        if let Some(x) = self.number(e) {
            // Only halves and the like, so that nothing is rounded.
            if !x.is_finite() || (x * 1024.0).fract() != 0.0 || x.abs() > 1e9 {
                return None;
            }
            *constant += sign * x;
            *count += 1;
            return Some(());
        }
        match self.node(e) {
            Node::Param(_) => {}
            Node::Op(Op::ToReal, o)
                if matches!(self.node(o[0]), Node::Param(_) | Node::Size(_)) => {}
            Node::Op(Op::Add, o) => {
                self.closed_terms(o[0], sign, terms, constant, count, depth + 1)?;
                return self.closed_terms(o[1], sign, terms, constant, count, depth + 1);
            }
            Node::Op(Op::Sub, o) => {
                self.closed_terms(o[0], sign, terms, constant, count, depth + 1)?;
                return self.closed_terms(o[1], -sign, terms, constant, count, depth + 1);
            }
            Node::Op(Op::Neg, o) => {
                return self.closed_terms(o[0], -sign, terms, constant, count, depth + 1);
            }
            _ => return None,
        }
        terms.push((e, sign));
        *count += 1;
        Some(())
    }

    pub fn neg(&mut self, a: ExprId) -> ExprId {
        if self.ty(a) == Type::Int {
            let zero = self.int(0);
            return self.int_form(Op::Sub, zero, a);
        }
        if let Some(x) = self.number(a) {
            return self.real(-x);
        }
        match self.node(a).clone() {
            Node::Op(Op::Neg, o) => o[0],
            Node::Op(Op::Sub, o) => self.sub(o[1], o[0]),
            Node::Op(op @ (Op::Mul | Op::Div), o) if self.number(o[0]).is_some() => {
                let n = self.neg(o[0]);
                self.op(op, &[n, o[1]])
            }
            // The sign of `(-2 * x) / n` belongs to its literal.
            Node::Op(Op::Div, o) => match self.negated_product(o[0]) {
                Some(n) => self.div(n, o[1]),
                None => self.raw(Op::Neg, &[a]),
            },
            _ => self.raw(Op::Neg, &[a]),
        }
    }

    pub fn mul(&mut self, a: ExprId, b: ExprId) -> ExprId {
        if self.ty(a) == Type::Int && self.ty(b) == Type::Int {
            return self.int_form(Op::Mul, a, b);
        }
        if self.is_number(a, 1.0) {
            return b;
        }
        if self.is_number(b, 1.0) {
            return a;
        }
        if self.is_number(a, -1.0) {
            return self.neg(b);
        }
        if self.is_number(b, -1.0) {
            return self.neg(a);
        }
        if let Some(x) = self.fold(a, b, |x, y| x * y) {
            return x;
        }
        if let Some(zero) = self.zero_times(a, b) {
            return zero;
        }
        if let Some(n) = self.unary(a, Op::Neg) {
            let product = self.mul(n, b);
            return self.neg(product);
        }
        if let Some(n) = self.unary(b, Op::Neg) {
            let product = self.mul(a, n);
            return self.neg(product);
        }
        // A literal moves in front and meets the literal there: `2 * (3 * x)`, `(0.5 * x) * 2`.
        if self.number(b).is_some() && self.number(a).is_none() {
            return self.mul(b, a);
        }
        if self.number(a).is_some()
            && let Some((c, x)) = self.binary(b, Op::Mul)
            && let Some(k) = self.fold(a, c, |x, y| x * y)
        {
            return self.mul(k, x);
        }
        self.raw(Op::Mul, &[a, b])
    }

    /// `0 * e` for an `e` that is finite in every call.
    fn zero_times(&mut self, a: ExprId, b: ExprId) -> Option<ExprId> {
        let zero = self.is_number(a, 0.0) && self.is_finite(b)
            || self.is_number(b, 0.0) && self.is_finite(a);
        zero.then(|| self.real(0.0))
    }

    pub fn div(&mut self, a: ExprId, b: ExprId) -> ExprId {
        let (a, b) = (self.to_real(a), self.to_real(b));
        if self.is_number(b, 1.0) {
            return a;
        }
        if self.is_number(b, -1.0) {
            return self.neg(a);
        }
        if let (Some(x), Some(y)) = (self.number(a), self.number(b)) {
            // Exact quotients only: 1 / 3 says more than its digits.
            let z = x / y;
            if y != 0.0 && z.is_finite() && z * y == x && (z * 1024.0).fract() == 0.0 {
                return self.real(z);
            }
            // In lowest terms.
            let whole = |v: f64| v.fract() == 0.0 && v.abs() < 1e9 && v != 0.0;
            if whole(x) && whole(y) && y < 0.0 {
                let (x, y) = (self.real(-x), self.real(-y));
                return self.div(x, y);
            }
        }
        if let Some(n) = self.unary(a, Op::Neg) {
            let quotient = self.div(n, b);
            return self.neg(quotient);
        }
        if let Some(n) = self.unary(b, Op::Neg) {
            let quotient = self.div(a, n);
            return self.neg(quotient);
        }
        // A size in both (rule 11): `size(N) * x / size(N)`.
        if self.is_size(b) {
            if a == b {
                return self.real(1.0);
            }
            if let Some((x, y)) = self.binary(a, Op::Mul) {
                if x == b {
                    return y;
                }
                if y == b {
                    return x;
                }
            }
        }
        // `(2 * x) / 2`: literals in lowest terms where that is exact.
        if let Some(d) = self.number(b)
            && let Some((c, x)) = self.binary(a, Op::Mul)
            && let Some(c) = self.number(c)
            && d != 0.0
            && c / d * d == c
            && ((c / d) * 1024.0).fract() == 0.0
            && (c / d).is_finite()
        {
            let k = self.real(c / d);
            return self.mul(k, x);
        }
        self.raw(Op::Div, &[a, b])
    }

    /// Whether an expression is a size made real, which is at least 1 where an axis of its extent is evaluated.
    pub fn is_size(&self, e: ExprId) -> bool {
        self.size_extent(e).is_some()
    }

    /// The extent that an expression is the size of, made real.
    pub fn size_extent(&self, e: ExprId) -> Option<ExtentId> {
        match self.node(self.unary(e, Op::ToReal)?) {
            Node::Size(extent) => Some(*extent),
            _ => None,
        }
    }

    pub fn pow(&mut self, a: ExprId, b: ExprId) -> ExprId {
        let (a, b) = (self.to_real(a), self.to_real(b));
        if self.is_number(b, 1.0) {
            return a;
        }
        if self.is_number(b, 0.0) {
            return self.real(1.0);
        }
        if let (Some(x), Some(y)) = (self.number(a), self.number(b)) {
            let z = x.powf(y);
            if z.is_finite() && z.fract() == 0.0 && z.abs() < 1e9 && y.fract() == 0.0 {
                return self.real(z);
            }
        }
        self.raw(Op::Pow, &[a, b])
    }

    /// `base ^ exponent` for a whole literal exponent that comes out of a derivative.
    pub fn power(&mut self, base: ExprId, exponent: f64) -> ExprId {
        let e = self.real(exponent);
        self.pow(base, e)
    }

    pub(super) fn extremum(&mut self, op: Op, operands: &[ExprId]) -> ExprId {
        let mut unique: Vec<ExprId> = Vec::with_capacity(operands.len());
        for &o in operands {
            if !unique.contains(&o) {
                unique.push(o);
            }
        }
        if let [a, b] = unique[..]
            && self.ty(a) == Type::Int
        {
            let (less, greater) = if op == Op::Max { (b, a) } else { (a, b) };
            match index::decide(self, &[], Op::Le, less, greater) {
                Some(true) => return a,
                Some(false) => return b,
                None => {}
            }
        }
        match unique[..] {
            [only] => only,
            _ => self.raw(op, &unique),
        }
    }

    pub(super) fn int_division(&mut self, op: Op, a: ExprId, b: ExprId) -> ExprId {
        if let (Some(x), Some(y)) = (self.integer(a), self.integer(b))
            && y != 0
            && let (Some(quotient), Some(rest)) = (x.checked_div_euclid(y), x.checked_rem_euclid(y))
            && y > 0
        {
            return self.int(if op == Op::IntDiv { quotient } else { rest });
        }
        if self.integer(b) == Some(1) {
            return if op == Op::IntDiv { a } else { self.int(0) };
        }
        self.raw(op, &[a, b])
    }
}
