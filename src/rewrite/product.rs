//! Products and sums of generated code in one form: a number first, then factors, then divisors, sizes last.
//!
//! [`Program::mul`](crate::ir::Program) keeps what the user wrote. What differentiation makes has no order of its own,
//! and is built here so that `-1 * (1 / size(N)) * (2 * r)` is made as `-2 * r / size(N)`. Only numbers, hyperparameters
//! and sizes change their place: `x * (a / b)` stays, since `x * a / b` may overflow where `a / b` is small.

use crate::ir::{ExprId, Node, Op, Program};

/// `number * over[0] * .. / under[0] / ..`.
#[derive(Debug, Clone, PartialEq)]
pub struct Product {
    pub number: f64,
    pub over: Vec<ExprId>,
    pub under: Vec<ExprId>,
}

/// How many factors of a product are told apart.
const BUDGET: usize = 12;

impl Product {
    pub fn one() -> Product {
        Product {
            number: 1.0,
            over: vec![],
            under: vec![],
        }
    }

    /// Takes an expression apart.
    pub fn of(program: &Program, e: ExprId) -> Product {
        let mut product = Product::one();
        product.collect(program, e);
        product
    }

    fn collect(&mut self, program: &Program, e: ExprId) {
        let mut stack = vec![e];
        while let Some(e) = stack.pop() {
            if let Some(x) = program.number(e)
                && x.is_finite()
                && x != 0.0
                && usable(self.number * x)
            {
                self.number *= x;
                continue;
            }
            if self.over.len() + self.under.len() + stack.len() >= BUDGET {
                self.over.push(e);
                continue;
            }
            match program.node(e) {
                Node::Op(Op::Neg, o) => {
                    self.number = -self.number;
                    stack.push(o[0]);
                }
                Node::Op(Op::Mul, o) => stack.extend([o[1], o[0]]),
                Node::Op(Op::Div, o) if is_closed(program, o[1]) || is_closed(program, o[0]) => {
                    match program.number(o[1]) {
                        Some(x) if x != 0.0 && exact(self.number / x, self.number, x) => {
                            self.number /= x
                        }
                        _ => self.under.push(o[1]),
                    }
                    stack.push(o[0]);
                }
                _ => self.over.push(e),
            }
        }
    }

    pub fn times(mut self, other: Product) -> Product {
        self.number *= other.number;
        self.over.extend(other.over);
        self.under.extend(other.under);
        self
    }

    /// The expression; the sign is outermost, or in the number.
    pub fn build(mut self, program: &mut Program) -> ExprId {
        // Sizes cancel (rule 11).
        let mut i = 0;
        while i < self.under.len() {
            let u = self.under[i];
            match self.over.iter().position(|&o| o == u) {
                Some(j) if program.is_size(u) => {
                    self.over.remove(j);
                    self.under.remove(i);
                }
                _ => i += 1,
            }
        }
        // Literals among the divisors in lowest terms, the rest of them after what is not closed.
        self.under.sort_by_key(|&u| is_closed(program, u));
        let negative = self.number < 0.0;
        let number = self.number.abs();
        let mut product = (number != 1.0 || self.over.is_empty()).then(|| program.real(number));
        for o in self.over {
            product = Some(match product {
                None => o,
                Some(p) => program.raw(Op::Mul, &[p, o]),
            });
        }
        let mut product = product.unwrap_or_else(|| program.real(1.0));
        for u in self.under {
            product = program.div(product, u);
        }
        if negative {
            program.neg(product)
        } else {
            product
        }
    }
}

fn usable(x: f64) -> bool {
    x.is_finite() && x != 0.0 && x.abs() > 1e-30 && x.abs() < 1e30
}

fn exact(quotient: f64, a: f64, b: f64) -> bool {
    usable(quotient) && quotient * b == a && (quotient * 1024.0).fract() == 0.0
}

/// Made of literals, hyperparameters and sizes by arithmetic, so that it is known before any data and nothing to write again.
pub fn is_closed(program: &Program, e: ExprId) -> bool {
    fn walk(p: &Program, e: ExprId, budget: &mut usize) -> bool {
        if *budget == 0 {
            return false;
        }
        *budget -= 1;
        match p.node(e) {
            Node::Real(_) | Node::Int(_) | Node::Param(_) | Node::Size(_) => true,
            Node::Op(
                Op::Add
                | Op::Sub
                | Op::Mul
                | Op::Div
                | Op::Neg
                | Op::ToReal
                | Op::Sqrt
                | Op::Log
                | Op::Pow,
                o,
            ) => o.iter().all(|&x| walk(p, x, budget)),
            _ => false,
        }
    }
    walk(program, e, &mut 16)
}

impl Program {
    /// `a * b` of generated code.
    pub fn product(&mut self, a: ExprId, b: ExprId) -> ExprId {
        if self.is_number(a, 1.0) {
            return b;
        }
        if self.is_number(b, 1.0) {
            return a;
        }
        if self.is_number(a, 0.0) || self.is_number(b, 0.0) {
            return self.mul(a, b);
        }
        // The usual case, where nothing has to move.
        let moves = |p: &Program, e: ExprId| {
            p.number(e).is_some() || matches!(p.node(e), Node::Op(Op::Div | Op::Neg, _))
        };
        if !moves(self, a) && !moves(self, b) && !matches!(self.node(b), Node::Op(Op::Mul, _)) {
            return self.raw(Op::Mul, &[a, b]);
        }
        // `1 / b` as a factor divides.
        if let Some((one, divisor)) = self.binary(b, Op::Div)
            && let Some(k) = self.number(one)
        {
            let k = self.real(k);
            let scaled = self.product(a, k);
            return self.quotient(scaled, divisor);
        }
        let product = Product::of(self, a).times(Product::of(self, b));
        product.build(self)
    }

    /// `a / b` of generated code.
    pub fn quotient(&mut self, a: ExprId, b: ExprId) -> ExprId {
        let mut product = Product::of(self, a);
        match self.number(b) {
            Some(x) if x != 0.0 && exact(product.number / x, product.number, x) => {
                product.number /= x
            }
            _ => {
                let b = match self.unary(b, Op::Neg) {
                    Some(n) => {
                        product.number = -product.number;
                        n
                    }
                    None => b,
                };
                product.under.push(b);
            }
        }
        product.build(self)
    }

    /// The sum of generated terms: equal ones are counted, terms under one condition or over one closed divisor are
    /// joined, positive ones stand first.
    pub fn total(&mut self, terms: &[ExprId]) -> ExprId {
        let mut done: Vec<Term> = Vec::with_capacity(terms.len());
        for &t in terms {
            if self.is_number(t, 0.0) {
                continue;
            }
            let term = Term::of(self, t);
            // Sums of very many terms are left as they come: comparing all pairs is quadratic.
            let from = done.len().saturating_sub(32);
            match (from..done.len()).find_map(|i| done[i].join(self, &term).map(|j| (i, j))) {
                Some((i, joined)) => done[i] = joined,
                None => done.push(term),
            }
        }
        let mut sum: Option<ExprId> = None;
        done.sort_by_key(|t| t.product.number < 0.0);
        for term in done {
            if term.product.number == 0.0 {
                continue;
            }
            let e = term.build(self);
            sum = Some(match sum {
                None => e,
                Some(s) => self.add(s, e),
            });
        }
        match sum {
            Some(s) => s,
            None => self.real(0.0),
        }
    }
}

/// `if condition then product else 0`, or the product alone.
struct Term {
    condition: Option<ExprId>,
    product: Product,
}

impl Term {
    fn of(program: &Program, e: ExprId) -> Term {
        // A sign in front of a branch belongs to what is in it.
        let (sign, inner) = match program.unary(e, Op::Neg) {
            Some(n) => (-1.0, n),
            None => (1.0, e),
        };
        let (condition, inner) = match *program.node(inner) {
            Node::If {
                condition,
                then,
                otherwise,
            } if program.is_number(otherwise, 0.0) => (Some(condition), then),
            _ => (None, inner),
        };
        let mut product = Product::of(program, inner);
        product.number *= sign;
        Term { condition, product }
    }

    /// The sum of two terms as one.
    fn join(&self, program: &mut Program, other: &Term) -> Option<Term> {
        let (a, b) = (&self.product, &other.product);
        if self.condition != other.condition {
            return self.choose(program, other);
        }
        if a.over == b.over && a.under == b.under {
            let number = a.number + b.number;
            let finite = a.over.iter().all(|&e| program.is_finite(e));
            // `x - x` is 0 only for a finite x.
            if number != 0.0 && (number * 1024.0).fract() == 0.0 || number == 0.0 && finite {
                let product = Product {
                    number,
                    ..a.clone()
                };
                return Some(Term {
                    condition: self.condition,
                    product,
                });
            }
            return None;
        }
        let divided = !a.under.is_empty() && a.under == b.under;
        let closed = divided
            && (a.under.iter().all(|&u| is_closed(program, u))
                || a.over.iter().chain(&b.over).all(|&o| is_closed(program, o)));
        if self.condition.is_none() && !closed {
            return None;
        }
        // One condition: the terms are added inside. One divisor: above it.
        let (sign, x, y) = self.numerators(other, a.under == b.under);
        let sum = match (x.number < 0.0, y.number < 0.0) {
            (true, _) => {
                let (x, y) = (
                    Product {
                        number: -x.number,
                        ..x
                    }
                    .build(program),
                    y.build(program),
                );
                program.sub(y, x)
            }
            (false, true) => {
                let (x, y) = (
                    x.build(program),
                    Product {
                        number: -y.number,
                        ..y
                    }
                    .build(program),
                );
                program.sub(x, y)
            }
            (false, false) => {
                let (x, y) = (x.build(program), y.build(program));
                program.add(x, y)
            }
        };
        Some(self.over(program, sign, sum, other))
    }

    /// What is above the common divisors, with a common sign taken out.
    fn numerators(&self, other: &Term, divided: bool) -> (f64, Product, Product) {
        let strip = |p: &Product| {
            let under = if divided { vec![] } else { p.under.clone() };
            Product { under, ..p.clone() }
        };
        let (mut x, mut y) = (strip(&self.product), strip(&other.product));
        let sign = if x.number < 0.0 && y.number < 0.0 {
            -1.0
        } else {
            1.0
        };
        x.number *= sign;
        y.number *= sign;
        (sign, x, y)
    }

    /// `sign * e` over the divisors that the terms share.
    fn over(&self, program: &Program, sign: f64, e: ExprId, other: &Term) -> Term {
        let mut product = Product::of(program, e);
        product.number *= sign;
        if self.product.under == other.product.under {
            product.under.extend(&self.product.under);
        }
        let condition = if self.condition == other.condition {
            self.condition
        } else {
            None
        };
        Term { condition, product }
    }

    /// `(if c then a else 0) + (if not c then b else 0)` is `if c then a else b`, also under more conditions.
    fn choose(&self, program: &mut Program, other: &Term) -> Option<Term> {
        let (c, d) = (self.condition?, other.condition?);
        let (c, d) = (program.conjuncts(c), program.conjuncts(d));
        if c.len() != d.len() {
            return None;
        }
        let different: Vec<usize> = (0..c.len()).filter(|&i| c[i] != d[i]).collect();
        let &[i] = &different[..] else { return None };
        if program.not(c[i]) != d[i] {
            return None;
        }
        let (sign, x, y) = self.numerators(other, self.product.under == other.product.under);
        let (x, y) = (x.build(program), y.build(program));
        // The condition that reads better without `not` decides.
        let choice = match program.unary(c[i], Op::Not) {
            Some(plain) => program.iff(plain, y, x),
            None => program.iff(c[i], x, y),
        };
        let mut term = self.over(program, sign, choice, other);
        let rest: Vec<ExprId> = c
            .iter()
            .enumerate()
            .filter(|&(j, _)| j != i)
            .map(|(_, &e)| e)
            .collect();
        term.condition = (!rest.is_empty()).then(|| program.all_of(&rest));
        Some(term)
    }

    fn build(self, program: &mut Program) -> ExprId {
        let Some(condition) = self.condition else {
            return self.product.build(program);
        };
        let negative = self.product.number < 0.0;
        let product = Product {
            number: self.product.number.abs(),
            ..self.product
        };
        let then = product.build(program);
        let zero = program.real(0.0);
        let branch = program.iff(condition, then, zero);
        if negative {
            program.neg(branch)
        } else {
            branch
        }
    }
}
