//! Smart constructors: [`Program::op`], [`Program::add`] and their like make a node in its simplest local form.
//!
//! Every rule here has the exact meaning of the plain node: a value that was right stays right, to the last bit where
//! nothing else is said. So `x * 0`, `x - x`, `x / x` stay (they are NaN for infinite x), sums and products of reals keep
//! their order, and `a / b / c` is not merged to `a / (b * c)`, which overflows. What is allowed beyond bits: signs move
//! outwards, literals are folded where the result is finite and exact or both are literals.
//! Ints are brought to the linear normal form of [`super::index`].

use super::index;
use crate::ir::{
    AxisId, Body, ExprId, ExtentId, ExtentKind, Node, Op, Program, ReduceOp, TensorId, Type,
};

impl Program {
    // ---- looking

    /// The value of a real literal (or of an int literal made real).
    pub fn number(&self, e: ExprId) -> Option<f64> {
        match self.node(e) {
            Node::Real(x) => Some(x.0),
            Node::Op(Op::ToReal, o) => self.integer(o[0]).map(|k| k as f64),
            _ => None,
        }
    }

    pub fn integer(&self, e: ExprId) -> Option<i64> {
        match self.node(e) {
            Node::Int(k) => Some(*k),
            _ => None,
        }
    }

    pub fn truth(&self, e: ExprId) -> Option<bool> {
        match self.node(e) {
            Node::Bool(b) => Some(*b),
            _ => None,
        }
    }

    /// The operand of `op`, if `e` is one with a single operand.
    pub fn unary(&self, e: ExprId, op: Op) -> Option<ExprId> {
        match self.node(e) {
            Node::Op(o, operands) if *o == op && operands.len() == 1 => Some(operands[0]),
            _ => None,
        }
    }

    /// The operands of `op`, if `e` is one with two.
    pub fn binary(&self, e: ExprId, op: Op) -> Option<(ExprId, ExprId)> {
        match self.node(e) {
            Node::Op(o, operands) if *o == op && operands.len() == 2 => {
                Some((operands[0], operands[1]))
            }
            _ => None,
        }
    }

    /// Whether the literal `e` is the number `value`.
    pub fn is_number(&self, e: ExprId, value: f64) -> bool {
        self.number(e) == Some(value) || self.integer(e).is_some_and(|k| k as f64 == value)
    }

    /// Whether a real expression is finite in every call: made of literals, hyperparameters, sizes and indices by `+ - *`.
    pub fn is_finite(&self, e: ExprId) -> bool {
        fn walk(p: &Program, e: ExprId, budget: &mut usize) -> bool {
            if *budget == 0 {
                return false;
            }
            *budget -= 1;
            match p.node(e) {
                Node::Real(x) => x.0.is_finite(),
                Node::Int(_) | Node::Size(_) | Node::Param(_) | Node::Axis(_) => true,
                Node::Op(Op::ToReal, _) => true,
                Node::Op(Op::Add | Op::Sub | Op::Mul | Op::Neg, o) => {
                    p.ty(e) == Type::Int || o.iter().all(|&x| walk(p, x, budget))
                }
                _ => p.ty(e) == Type::Int,
            }
        }
        walk(self, e, &mut 32)
    }

    // ---- making

    /// The node in its simplest local form.
    pub fn make(&mut self, node: Node) -> ExprId {
        match node {
            Node::Real(_) | Node::Int(_) | Node::Bool(_) | Node::Axis(_) | Node::Param(_) => {
                self.mk(node)
            }
            Node::Size(extent) => self.size_of(extent),
            Node::Read {
                tensor,
                index,
                default,
            } => self.read(tensor, &index, default),
            Node::If {
                condition,
                then,
                otherwise,
            } => self.iff(condition, then, otherwise),
            Node::Op(op, operands) => self.op(op, &operands),
            Node::Reduce {
                op,
                axes,
                guard,
                body,
            } => self.reduce(op, &axes, guard, body),
        }
    }

    /// `op(operands)`, simplified.
    pub fn op(&mut self, op: Op, operands: &[ExprId]) -> ExprId {
        match (op, operands) {
            (Op::Add, &[a, b]) => self.add(a, b),
            (Op::Sub, &[a, b]) => self.sub(a, b),
            (Op::Mul, &[a, b]) => self.mul(a, b),
            (Op::Div, &[a, b]) => self.div(a, b),
            (Op::Neg, &[a]) => self.neg(a),
            (Op::Pow, &[a, b]) => self.pow(a, b),
            (Op::And, &[a, b]) => self.and(a, b),
            (Op::Or, &[a, b]) => self.or(a, b),
            (Op::Not, &[a]) => self.not(a),
            (Op::Eq | Op::Ne | Op::Lt | Op::Le | Op::Gt | Op::Ge, &[a, b]) => {
                self.compare(op, a, b)
            }
            (Op::ToReal, &[a]) => self.to_real(a),
            (Op::ToInt, &[a]) => self.int_of(a),
            (Op::IntDiv | Op::Mod, &[a, b]) => self.int_division(op, a, b),
            (Op::Max | Op::Min, _) => self.extremum(op, operands),
            (Op::LogSumExp, &[a]) => a,
            _ => self.raw(op, operands),
        }
    }

    /// A size as an int; of a constant extent, the constant.
    pub fn size_of(&mut self, extent: ExtentId) -> ExprId {
        match self.extents[extent.index()].kind {
            ExtentKind::Constant(n) if i64::try_from(n).is_ok() => self.int(n as i64),
            ExtentKind::Constant(_) | ExtentKind::Input | ExtentKind::Declared(_) => {
                self.mk(Node::Size(extent))
            }
        }
    }

    /// A size as a real.
    pub fn real_size(&mut self, extent: ExtentId) -> ExprId {
        let size = self.size_of(extent);
        self.to_real(size)
    }

    pub fn to_real(&mut self, e: ExprId) -> ExprId {
        match (self.ty(e), self.integer(e)) {
            (Type::Real, _) => e,
            (_, Some(k)) if k.unsigned_abs() <= 1 << 53 => self.real(k as f64),
            _ => self.raw(Op::ToReal, &[e]),
        }
    }

    fn int_of(&mut self, e: ExprId) -> ExprId {
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

    /// A size made real, which is at least 1 wherever anything is evaluated.
    pub fn is_size(&self, e: ExprId) -> bool {
        self.unary(e, Op::ToReal)
            .is_some_and(|i| matches!(self.node(i), Node::Size(_)))
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

    fn extremum(&mut self, op: Op, operands: &[ExprId]) -> ExprId {
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

    fn int_division(&mut self, op: Op, a: ExprId, b: ExprId) -> ExprId {
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

    // ---- conditions

    pub fn compare(&mut self, op: Op, a: ExprId, b: ExprId) -> ExprId {
        if let (Some(x), Some(y)) = (self.number(a), self.number(b)) {
            let answer = match op {
                Op::Eq => Some(x == y),
                Op::Ne => Some(x != y),
                Op::Lt => Some(x < y),
                Op::Le => Some(x <= y),
                Op::Gt => Some(x > y),
                Op::Ge => Some(x >= y),
                _ => None,
            };
            if let Some(answer) = answer {
                return self.bool(answer);
            }
        }
        if self.ty(a) == Type::Int
            && self.ty(b) == Type::Int
            && let Some(answer) = index::decide(self, &[], op, a, b)
        {
            return self.bool(answer);
        }
        if self.ty(a) == Type::Bool && a == b && matches!(op, Op::Eq | Op::Ne) {
            return self.bool(op == Op::Eq);
        }
        // A real compared with infinities stays: it asks for more than it seems (NaN).
        self.raw(op, &[a, b])
    }

    pub fn not(&mut self, a: ExprId) -> ExprId {
        match self.node(a).clone() {
            Node::Bool(b) => self.bool(!b),
            Node::Op(Op::Not, o) => o[0],
            Node::Op(Op::Eq, o) => self.raw(Op::Ne, &o),
            Node::Op(Op::Ne, o) => self.raw(Op::Eq, &o),
            // With reals these would differ for NaN.
            Node::Op(op @ (Op::Lt | Op::Le | Op::Gt | Op::Ge), o) if self.ty(o[0]) == Type::Int => {
                let turned = match op {
                    Op::Lt => Op::Ge,
                    Op::Le => Op::Gt,
                    Op::Gt => Op::Le,
                    _ => Op::Lt,
                };
                self.raw(turned, &o)
            }
            _ => self.raw(Op::Not, &[a]),
        }
    }

    pub fn and(&mut self, a: ExprId, b: ExprId) -> ExprId {
        match (self.truth(a), self.truth(b)) {
            (Some(true), _) => b,
            (Some(false), _) => a,
            (_, Some(true)) => a,
            // The first is evaluated for its errors only; a read out of range is the user's to see, so it stays.
            (_, Some(false)) if self.is_total(a) => b,
            _ if a == b => a,
            _ => self.raw(Op::And, &[a, b]),
        }
    }

    pub fn or(&mut self, a: ExprId, b: ExprId) -> ExprId {
        match (self.truth(a), self.truth(b)) {
            (Some(false), _) => b,
            (Some(true), _) => a,
            (_, Some(false)) => a,
            (_, Some(true)) if self.is_total(a) => b,
            _ if a == b => a,
            _ => self.raw(Op::Or, &[a, b]),
        }
    }

    /// Whether evaluating it cannot fail, by a quick look.
    fn is_total(&self, e: ExprId) -> bool {
        match self.node(e) {
            Node::Real(_)
            | Node::Int(_)
            | Node::Bool(_)
            | Node::Axis(_)
            | Node::Size(_)
            | Node::Param(_) => true,
            Node::Read { index, default, .. } => {
                default.is_none() && index.iter().all(|&i| matches!(self.node(i), Node::Axis(_)))
            }
            Node::Op(op, o) => {
                !matches!(op, Op::IntDiv | Op::Mod)
                    && o.len() <= 2
                    && o.iter().all(|&x| self.is_leaf(x))
            }
            Node::If { .. } | Node::Reduce { .. } => false,
        }
    }

    fn is_leaf(&self, e: ExprId) -> bool {
        match self.node(e) {
            Node::Real(_)
            | Node::Int(_)
            | Node::Bool(_)
            | Node::Axis(_)
            | Node::Size(_)
            | Node::Param(_) => true,
            Node::Read { index, default, .. } => {
                default.is_none() && index.iter().all(|&i| matches!(self.node(i), Node::Axis(_)))
            }
            Node::Op(..) | Node::If { .. } | Node::Reduce { .. } => false,
        }
    }

    /// The conditions that an `and` joins, in order, each once; `true` joins none.
    pub fn conjuncts(&self, e: ExprId) -> Vec<ExprId> {
        let mut out = vec![];
        self.collect_conjuncts(e, &mut out);
        out
    }

    pub fn collect_conjuncts(&self, e: ExprId, out: &mut Vec<ExprId>) {
        let mut stack = vec![e];
        while let Some(e) = stack.pop() {
            match self.node(e) {
                Node::Bool(true) => {}
                Node::Op(Op::And, o) => stack.extend([o[1], o[0]]),
                _ if out.contains(&e) => {}
                _ => out.push(e),
            }
        }
    }

    /// All of the conditions, in order.
    pub fn all_of(&mut self, conditions: &[ExprId]) -> ExprId {
        let mut all = self.bool(true);
        for &c in conditions {
            all = self.and(all, c);
        }
        all
    }

    /// `if condition then a else b`.
    pub fn iff(&mut self, condition: ExprId, a: ExprId, b: ExprId) -> ExprId {
        if let Some(truth) = self.truth(condition) {
            return if truth { a } else { b };
        }
        if a == b && self.is_total(condition) {
            return a;
        }
        if let &Node::If {
            condition: c,
            then,
            otherwise,
        } = self.node(a)
        {
            if c == condition {
                return self.iff(condition, then, b);
            }
            if otherwise == b {
                let both = self.and(condition, c);
                return self.iff(both, then, b);
            }
        }
        if let Some(n) = self.unary(a, Op::Neg)
            && self.is_number(b, 0.0)
            && let &Node::If { otherwise, .. } = self.node(n)
            && self.is_number(otherwise, 0.0)
        {
            let positive = self.iff(condition, n, b);
            return self.neg(positive);
        }
        if let &Node::If {
            condition: c,
            otherwise,
            ..
        } = self.node(b)
            && c == condition
        {
            return self.iff(condition, a, otherwise);
        }
        if let (Some(true), Some(false)) = (self.truth(a), self.truth(b)) {
            return condition;
        }
        self.mk(Node::If {
            condition,
            then: a,
            otherwise: b,
        })
    }

    // ---- reads and reductions

    /// `tensor[index.. else default]`. The default goes where the range is proven.
    pub fn read(&mut self, tensor: TensorId, index: &[ExprId], default: Option<ExprId>) -> ExprId {
        let mut default = default;
        if default.is_some() {
            let extents: Vec<ExtentId> = self
                .get(tensor)
                .head
                .iter()
                .map(|&a| self.extent_of(a))
                .collect();
            if index
                .iter()
                .zip(extents)
                .all(|(&i, extent)| index::in_range(self, &[], i, extent))
            {
                default = None;
            }
        }
        if default.is_none()
            && let Some(undone) = self.inverse_permutation(tensor, index)
        {
            return undone;
        }
        self.mk(Node::Read {
            tensor,
            index: index.into(),
            default,
        })
    }

    /// `P[place[A]]` and `place[P[A]]` are A, where `place = argsort(P)` and P is a permutation (rule 1e).
    fn inverse_permutation(&mut self, tensor: TensorId, index: &[ExprId]) -> Option<ExprId> {
        let along = self.sorted_along(tensor)?;
        let Node::Read {
            tensor: inner,
            index: at,
            default: None,
        } = self.node(index[along])
        else {
            return None;
        };
        let inner = *inner;
        if at.len() != index.len() || (0..at.len()).any(|i| i != along && at[i] != index[i]) {
            return None;
        }
        let answer = at[along];
        if self.sorted_along(inner)? != along
            || !(self.sorts(tensor, inner) || self.sorts(inner, tensor))
        {
            return None;
        }
        Some(answer)
    }

    /// The position along which an argsort's elements are a permutation.
    pub fn sorted_along(&self, tensor: TensorId) -> Option<usize> {
        match self.body(tensor) {
            Some(Body::Argsort { along, .. }) => {
                self.get(tensor).head.iter().position(|a| a == along)
            }
            _ => None,
        }
    }

    /// Whether `place` is `argsort(order)`, the inverse of the permutation `order`.
    pub fn sorts(&self, place: TensorId, order: TensorId) -> bool {
        let Some(Body::Argsort {
            guard: None, key, ..
        }) = self.body(place)
        else {
            return false;
        };
        let key = self.unary(*key, Op::ToReal).unwrap_or(*key);
        let Node::Read {
            tensor,
            index,
            default: None,
        } = self.node(key)
        else {
            return false;
        };
        let head = &self.get(place).head;
        *tensor == order
            && index.len() == head.len()
            && index
                .iter()
                .zip(head)
                .all(|(&i, a)| self.node(i) == &Node::Axis(*a))
    }

    /// `op[axes if guard](body)`.
    pub fn reduce(
        &mut self,
        op: ReduceOp,
        axes: &[AxisId],
        guard: Option<ExprId>,
        body: ExprId,
    ) -> ExprId {
        let guard = guard.filter(|&g| self.truth(g) != Some(true));
        if axes.is_empty() && guard.is_none() {
            match op {
                ReduceOp::Sum
                | ReduceOp::Mean
                | ReduceOp::Prod
                | ReduceOp::Max
                | ReduceOp::Min
                | ReduceOp::LogSumExp
                | ReduceOp::Any
                | ReduceOp::All => return body,
                ReduceOp::Norm | ReduceOp::Count | ReduceOp::ArgMax | ReduceOp::ArgMin => {}
            }
        }
        if guard.is_some_and(|g| self.truth(g) == Some(false)) {
            match op {
                ReduceOp::Sum | ReduceOp::Prod if self.ty(body) == Type::Int => {
                    return self.int((op == ReduceOp::Prod).into());
                }
                ReduceOp::Sum | ReduceOp::Norm => return self.real(0.0),
                ReduceOp::Prod => return self.real(1.0),
                ReduceOp::Count => return self.int(0),
                ReduceOp::Any => return self.bool(false),
                ReduceOp::All => return self.bool(true),
                ReduceOp::LogSumExp => return self.real(f64::NEG_INFINITY),
                ReduceOp::Max if self.ty(body) == Type::Real => {
                    return self.real(f64::NEG_INFINITY);
                }
                ReduceOp::Min if self.ty(body) == Type::Real => return self.real(f64::INFINITY),
                ReduceOp::Max
                | ReduceOp::Min
                | ReduceOp::Mean
                | ReduceOp::ArgMax
                | ReduceOp::ArgMin => {}
            }
        }
        if op == ReduceOp::Sum && (self.is_number(body, 0.0) || self.integer(body) == Some(0)) {
            return body;
        }
        // `count[N](c)` and `count[N if c](true)` are one.
        if op == ReduceOp::Count && self.truth(body) == Some(true) && guard.is_none() {
            let mut product = self.int(1);
            for &a in axes {
                let size = self.size_of(self.extent_of(a));
                product = self.mul(product, size);
            }
            return product;
        }
        if op == ReduceOp::Count && self.truth(body) != Some(true) && guard.is_none() {
            let always = self.bool(true);
            return self.mk(Node::Reduce {
                op,
                axes: axes.into(),
                guard: Some(body),
                body: always,
            });
        }
        self.mk(Node::Reduce {
            op,
            axes: axes.into(),
            guard,
            body,
        })
    }
}
