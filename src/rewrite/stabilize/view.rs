//! How rules see expressions: through definitions, as factors and as terms, in any order.

use super::{LOOK_LIMIT, Phase, Rewriter};
use crate::ir::{Body, ExprId, Node, Op, Program, ReduceOp, TensorId, Type};
use crate::rewrite::instantiate;

/// A product: `literal * num.. / den..`.
#[derive(Debug, Clone, PartialEq)]
pub struct Factors {
    pub literal: f64,
    pub num: Vec<ExprId>,
    pub den: Vec<ExprId>,
}

/// A term of a sum and whether it is subtracted.
pub type Term = (bool, ExprId);

/// Sums and products of more parts than this are not taken apart.
const PARTS: usize = 12;

impl Factors {
    pub fn one() -> Factors {
        Factors {
            literal: 1.0,
            num: vec![],
            den: vec![],
        }
    }

    pub fn is_literal(&self) -> bool {
        self.num.is_empty() && self.den.is_empty()
    }

    pub fn times(mut self, other: &Factors) -> Factors {
        self.literal *= other.literal;
        self.num.extend(&other.num);
        self.den.extend(&other.den);
        self
    }

    pub fn over(mut self, other: &Factors) -> Factors {
        self.literal /= other.literal;
        self.num.extend(&other.den);
        self.den.extend(&other.num);
        self
    }

    /// The ratio of the literals, if the rest is the same in any order.
    pub fn ratio(&self, other: &Factors) -> Option<f64> {
        let sorted = |v: &[ExprId]| {
            let mut v = v.to_vec();
            v.sort_unstable();
            v
        };
        let same = self.num.len() == other.num.len()
            && self.den.len() == other.den.len()
            && sorted(&self.num) == sorted(&other.num)
            && sorted(&self.den) == sorted(&other.den);
        let ratio = self.literal / other.literal;
        (same && ratio.is_finite() && self.literal != 0.0).then_some(ratio)
    }
}

impl Rewriter<'_> {
    /// Whether reads of `tensor` are looked through: its body is small, and after differentiation, when reductions have
    /// definitions of their own, holds none.
    pub(super) fn may_look_through(&self, tensor: TensorId) -> bool {
        let Some(&Body::Expr(body)) = self.program.body(tensor) else {
            return false;
        };
        let nodes = self.program.reachable(&[body]);
        if self.program.get(tensor).ty != Type::Real || nodes.len() > LOOK_LIMIT {
            return false;
        }
        self.phase == Phase::Before
            || !nodes
                .iter()
                .any(|&n| matches!(self.program.node(n), Node::Reduce { .. }))
    }

    /// What `e` stands for: for a read of a definition, its body at the read's indices.
    pub(super) fn look(&mut self, e: ExprId) -> ExprId {
        let mut current = e;
        for _ in 0..8 {
            let &Node::Read {
                tensor,
                default: None,
                ..
            } = self.program.node(current)
            else {
                break;
            };
            if !self.open[tensor.index()] {
                break;
            }
            if let Some(&known) = self.looked.get(&current) {
                current = known;
                continue;
            }
            let Node::Read { index, .. } = self.program.node(current) else {
                break;
            };
            let index = index.to_vec();
            let site = self.program.span(current);
            let Some(body) = instantiate(self.program, tensor, &index, site) else {
                break;
            };
            self.looked.insert(current, body);
            current = body;
        }
        current
    }

    /// The operand of the unary operator `op`, also through a definition.
    pub(super) fn unary(&mut self, e: ExprId, op: Op) -> Option<ExprId> {
        let e = self.look(e);
        self.program.unary(e, op)
    }

    /// What is under the root that `e` is, also where it was rewritten to a hypotenuse.
    pub(super) fn radicand(&mut self, e: ExprId) -> Option<ExprId> {
        let e = self.look(e);
        let hypotenuse = self.hypotenuses.get(&e).copied();
        hypotenuse.or_else(|| self.program.unary(e, Op::Sqrt))
    }

    /// `e` as a product. What cannot be taken apart is one factor. Reads stay.
    pub(super) fn factors(&self, e: ExprId) -> Factors {
        let mut f = Factors::one();
        if !matches!(
            self.program.node(e),
            Node::Op(Op::Mul | Op::Div | Op::Neg, _)
        ) {
            // Most often.
            self.factor(&mut f, e, false);
            return f;
        }
        let mut stack = vec![(e, false)];
        while let Some((e, below)) = stack.pop() {
            let full = f.num.len() + f.den.len() + stack.len() >= PARTS;
            match self.program.node(e) {
                Node::Op(Op::Mul, o) if !full => stack.extend([(o[1], below), (o[0], below)]),
                Node::Op(Op::Div, o) if !full => stack.extend([(o[1], !below), (o[0], below)]),
                Node::Op(Op::Neg, o) => {
                    f.literal = -f.literal;
                    stack.push((o[0], below));
                }
                _ => self.factor(&mut f, e, below),
            }
        }
        f
    }

    /// `f` times (below: by) what is no product.
    fn factor(&self, f: &mut Factors, e: ExprId, below: bool) {
        match self.program.number(e) {
            Some(x) if below && x != 0.0 => f.literal /= x,
            Some(x) if !below && x.is_finite() && x != 0.0 => f.literal *= x,
            _ if below => f.den.push(e),
            _ => f.num.push(e),
        }
    }

    /// `e` as a product, also of what definitions are products of.
    pub(super) fn deep_factors(&mut self, e: ExprId) -> Factors {
        let shallow = self.factors(e);
        let mut deep = Factors {
            literal: shallow.literal,
            ..Factors::one()
        };
        for (below, f) in shallow
            .num
            .iter()
            .map(|&f| (false, f))
            .chain(shallow.den.iter().map(|&f| (true, f)))
        {
            let looked = self.look(f);
            let inner = match self.program.node(looked) {
                Node::Op(Op::Mul | Op::Div | Op::Neg, _) if looked != f => self.factors(looked),
                _ => Factors {
                    num: vec![f],
                    ..Factors::one()
                },
            };
            deep = if below {
                deep.over(&inner)
            } else {
                deep.times(&inner)
            };
        }
        deep
    }

    /// `e` as a sum, at most `limit` terms. What cannot be taken apart is one term. Reads stay.
    pub(super) fn terms(&self, e: ExprId, limit: usize) -> Vec<Term> {
        let mut terms = vec![];
        let mut stack = vec![(false, e)];
        while let Some((minus, e)) = stack.pop() {
            let full = terms.len() + stack.len() + 1 >= limit;
            match self.program.node(e) {
                Node::Op(Op::Add, o) if !full => stack.extend([(minus, o[1]), (minus, o[0])]),
                Node::Op(Op::Sub, o) if !full => stack.extend([(!minus, o[1]), (minus, o[0])]),
                Node::Op(Op::Neg, o) => stack.push((!minus, o[0])),
                _ => terms.push((minus, e)),
            }
        }
        terms
    }

    /// The two operands of a sum or difference as products, as they stand in the tree: `x - y` is `x + (-1) * y`.
    pub(super) fn pair(&mut self, e: ExprId) -> Option<(Factors, Factors)> {
        let (minus, (a, b)) = match self.program.binary(e, Op::Add) {
            Some(operands) => (false, operands),
            None => (true, self.program.binary(e, Op::Sub)?),
        };
        let (a, mut b) = (self.deep_factors(a), self.deep_factors(b));
        if minus {
            b.literal = -b.literal;
        }
        Some((a, b))
    }

    /// The `x` of an `x^2`, however it is spelled: `x^2`, `x * x`, `a^2 * b^2`, `(a / b)^2`, `abs(x)^2`.
    pub(super) fn square_root_of(&mut self, e: ExprId) -> Option<ExprId> {
        let e = self.look(e);
        if let Some((base, exponent)) = self.program.binary(e, Op::Pow) {
            let n = self.program.number(exponent)?;
            if n == 2.0 {
                return Some(base);
            }
            if n > 2.0 && n % 2.0 == 0.0 && n < 64.0 {
                return Some(self.program.power(base, n / 2.0));
            }
            return None;
        }
        if !matches!(self.program.node(e), Node::Op(Op::Mul | Op::Div, _)) {
            return None;
        }
        let f = self.factors(e);
        let literal = f.literal.sqrt();
        if f.literal <= 0.0 || literal * literal != f.literal {
            return None;
        }
        let num = self.halves(&f.num)?;
        let den = self.halves(&f.den)?;
        Some(self.product(&Factors { literal, num, den }))
    }

    /// Half of the factors, if each occurs twice or is a square.
    fn halves(&mut self, factors: &[ExprId]) -> Option<Vec<ExprId>> {
        let mut half = vec![];
        let mut open: Vec<ExprId> = vec![];
        for &f in factors {
            if let Some(at) = open.iter().position(|&o| o == f) {
                open.swap_remove(at);
                half.push(f);
            } else if matches!(self.program.node(f), Node::Op(Op::Pow, _))
                && let Some(x) = self.square_root_of(f)
            {
                half.push(x);
            } else {
                open.push(f);
            }
        }
        open.is_empty().then_some(half)
    }

    /// Made of literals, hyperparameters, sizes and counts: the same for every element, and no input's derivative.
    pub(super) fn is_given(&self, e: ExprId) -> bool {
        fn walk(p: &Program, e: ExprId, budget: &mut u32) -> bool {
            if *budget == 0 {
                return false;
            }
            *budget -= 1;
            match p.node(e) {
                Node::Real(_) | Node::Int(_) | Node::Bool(_) | Node::Size(_) | Node::Param(_) => {
                    true
                }
                Node::Op(_, o) => o.iter().all(|&x| walk(p, x, budget)),
                Node::If {
                    condition,
                    then,
                    otherwise,
                } => [*condition, *then, *otherwise]
                    .into_iter()
                    .all(|x| walk(p, x, budget)),
                Node::Reduce {
                    op: ReduceOp::Count,
                    guard: None,
                    ..
                } => true,
                Node::Reduce {
                    op: ReduceOp::Count,
                    guard: Some(_),
                    ..
                } => p.free(e).is_empty(),
                Node::Reduce { .. } | Node::Axis(_) | Node::Read { .. } => false,
            }
        }
        walk(self.program, e, &mut 24)
    }
}
