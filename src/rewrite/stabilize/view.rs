//! How rules see expressions: through definitions, as factors and as terms, in any order; and how they make new ones.

use super::{LOOK_LIMIT, Phase, Rewriter};
use crate::ir::{AxisId, Body, ExprId, Node, Op, Program, ReduceOp, TensorId, Type};
use crate::rewrite::{instantiate, renamed};

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
    // ---- looking

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

    /// `e` as a product. What cannot be taken apart is one factor. Reads stay.
    pub(super) fn factors(&self, e: ExprId) -> Factors {
        let mut f = Factors::one();
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
                _ => match self.program.number(e) {
                    Some(x) if below && x != 0.0 => f.literal /= x,
                    Some(x) if !below && x.is_finite() && x != 0.0 => f.literal *= x,
                    _ if below => f.den.push(e),
                    _ => f.num.push(e),
                },
            }
        }
        f
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

    /// Made of literals, hyperparameters and sizes only: the same for every element, and no input's derivative.
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

    // ---- comparing

    /// Whether two expressions are the same but for the names of what they bind; axes `map` on the left stand for others
    /// on the right.
    pub(super) fn same(&self, a: ExprId, b: ExprId, map: &mut Vec<(AxisId, AxisId)>) -> bool {
        same(self.program, a, b, map, &mut 256)
    }

    /// Whether `subject` is `pattern` with some expressions in place of `axes`.
    pub(super) fn is_instance(&self, pattern: ExprId, subject: ExprId, axes: &[AxisId]) -> bool {
        let mut bound = vec![None; axes.len()];
        instance(self.program, pattern, subject, axes, &mut bound, &mut 256)
    }

    // ---- making

    /// `op(operands)`, simplified and made stable.
    pub(super) fn op(&mut self, op: Op, operands: &[ExprId]) -> ExprId {
        let e = self.program.op(op, operands);
        self.improve(e)
    }

    pub(super) fn neg(&mut self, e: ExprId) -> ExprId {
        self.program.neg(e)
    }

    pub(super) fn real(&mut self, x: f64) -> ExprId {
        self.program.real(x)
    }

    /// The product that `factors` says, its sign outermost.
    pub(super) fn product(&mut self, factors: &Factors) -> ExprId {
        let p = &mut *self.program;
        let literal = factors.literal.abs();
        let mut e = factors.num.iter().copied().reduce(|a, b| p.mul(a, b));
        // A whole divisor reads better than its inverse: x / 2.
        let divisor = (1.0 / literal).round();
        let divides = literal < 1.0 && literal * divisor == 1.0;
        if literal != 1.0 && !(divides && e.is_some()) {
            let l = p.real(literal);
            e = Some(match e {
                Some(e) => p.mul(l, e),
                None => l,
            });
        }
        let mut e = match e {
            Some(e) => e,
            None => p.real(1.0),
        };
        if literal != 1.0 && divides && !factors.num.is_empty() {
            let l = p.real(divisor);
            e = p.div(e, l);
        }
        for &d in &factors.den {
            e = p.div(e, d);
        }
        if factors.literal < 0.0 { p.neg(e) } else { e }
    }

    /// `factors * e`.
    pub(super) fn times(&mut self, factors: &Factors, e: ExprId) -> ExprId {
        let mut f = factors.clone();
        f.num.push(e);
        self.product(&f)
    }

    /// `f(x)` for an odd function, the sign of a negated `x` in front.
    pub(super) fn odd(&mut self, op: Op, x: ExprId) -> ExprId {
        match self.program.unary(x, Op::Neg) {
            Some(n) => {
                let e = self.op(op, &[n]);
                self.neg(e)
            }
            None => self.op(op, &[x]),
        }
    }

    /// `literal * e`.
    pub(super) fn scale(&mut self, literal: f64, e: ExprId) -> ExprId {
        self.times(
            &Factors {
                literal,
                ..Factors::one()
            },
            e,
        )
    }

    /// A sum of terms, in order.
    pub(super) fn sum_of(&mut self, terms: &[Term]) -> ExprId {
        let p = &mut *self.program;
        let mut sum: Option<ExprId> = None;
        for &(minus, t) in terms {
            sum = Some(match sum {
                Some(s) if minus => p.sub(s, t),
                Some(s) => p.add(s, t),
                None if minus => p.neg(t),
                None => t,
            });
        }
        match sum {
            Some(s) => s,
            None => p.real(0.0),
        }
    }

    /// `a - b`, without the terms that both have.
    pub(super) fn difference(&mut self, a: ExprId, b: ExprId) -> ExprId {
        let mut left = self.terms(a, 6);
        let mut right = self.terms(b, 6);
        if let [(false, sum)] = right[..]
            && let Some((sum, shifts)) = self.unshifted(sum)
            && shifts.iter().all(|s| left.contains(s))
        {
            right = vec![(false, sum)];
            right.extend(shifts);
        }
        let before = right.len();
        right.retain(|t| match left.iter().position(|l| l == t) {
            Some(at) => {
                left.remove(at);
                false
            }
            None => true,
        });
        if right.len() == before || left.is_empty() {
            return self.program.sub(a, b);
        }
        left.extend(right.into_iter().map(|(minus, t)| (!minus, t)));
        self.sum_of(&left)
    }

    /// `logsumexp[C](x - m)` as `logsumexp[C](x)` and the terms that do not depend on C (here minus m).
    pub(super) fn unshifted(&mut self, e: ExprId) -> Option<(ExprId, Vec<Term>)> {
        let e = self.look(e);
        let Node::Reduce {
            op: ReduceOp::LogSumExp,
            axes,
            guard,
            body,
        } = self.program.node(e).clone()
        else {
            return None;
        };
        let terms = self.terms(body, 6);
        let (inside, outside): (Vec<Term>, Vec<Term>) = terms
            .into_iter()
            .partition(|t| axes.iter().any(|&a| self.program.is_free(a, t.1)));
        if outside.is_empty() || inside.is_empty() {
            return None;
        }
        let body = self.sum_of(&inside);
        Some((
            self.reduce(ReduceOp::LogSumExp, &axes, guard, body),
            outside,
        ))
    }

    /// `op[axes if guard](body)` with axes of its own.
    pub(super) fn reduce(
        &mut self,
        op: ReduceOp,
        axes: &[AxisId],
        guard: Option<ExprId>,
        body: ExprId,
    ) -> ExprId {
        let e = self.program.reduce(op, axes, guard, body);
        renamed(self.program, e)
    }

    /// How many elements a reduction has, as a real.
    pub(super) fn count(&mut self, axes: &[AxisId], guard: Option<ExprId>) -> ExprId {
        let all = self.program.bool(true);
        let count = self.reduce(ReduceOp::Count, axes, guard, all);
        self.program.to_real(count)
    }
}

fn same(
    p: &Program,
    a: ExprId,
    b: ExprId,
    map: &mut Vec<(AxisId, AxisId)>,
    budget: &mut u32,
) -> bool {
    if *budget == 0 {
        return false;
    }
    *budget -= 1;
    if a == b
        && !p
            .free(a)
            .iter()
            .any(|x| map.iter().any(|m| m.0 == *x || m.1 == *x))
    {
        return true;
    }
    let all = |xs: &[ExprId], ys: &[ExprId], map: &mut Vec<(AxisId, AxisId)>, budget: &mut u32| {
        xs.len() == ys.len() && xs.iter().zip(ys).all(|(&x, &y)| same(p, x, y, map, budget))
    };
    let optional = |x: Option<ExprId>,
                    y: Option<ExprId>,
                    map: &mut Vec<(AxisId, AxisId)>,
                    budget: &mut u32| match (x, y) {
        (None, None) => true,
        (Some(x), Some(y)) => same(p, x, y, map, budget),
        _ => false,
    };
    match (p.node(a), p.node(b)) {
        (Node::Axis(x), Node::Axis(y)) => match map.iter().rev().find(|m| m.0 == *x || m.1 == *y) {
            Some(m) => *m == (*x, *y),
            None => x == y,
        },
        (
            Node::Read {
                tensor,
                index,
                default,
            },
            Node::Read {
                tensor: t2,
                index: i2,
                default: d2,
            },
        ) => tensor == t2 && all(index, i2, map, budget) && optional(*default, *d2, map, budget),
        (
            Node::If {
                condition,
                then,
                otherwise,
            },
            Node::If {
                condition: c2,
                then: t2,
                otherwise: o2,
            },
        ) => all(
            &[*condition, *then, *otherwise],
            &[*c2, *t2, *o2],
            map,
            budget,
        ),
        (Node::Op(op, o), Node::Op(op2, o2)) => op == op2 && all(o, o2, map, budget),
        (
            Node::Reduce {
                op,
                axes,
                guard,
                body,
            },
            Node::Reduce {
                op: op2,
                axes: axes2,
                guard: guard2,
                body: body2,
            },
        ) => {
            let extents =
                |axes: &[AxisId]| axes.iter().map(|&x| p.extent_of(x)).collect::<Vec<_>>();
            if op != op2 || extents(axes) != extents(axes2) {
                return false;
            }
            let depth = map.len();
            map.extend(axes.iter().copied().zip(axes2.iter().copied()));
            let answer =
                optional(*guard, *guard2, map, budget) && same(p, *body, *body2, map, budget);
            map.truncate(depth);
            answer
        }
        _ => a == b,
    }
}

fn instance(
    p: &Program,
    pattern: ExprId,
    subject: ExprId,
    axes: &[AxisId],
    bound: &mut [Option<ExprId>],
    budget: &mut u32,
) -> bool {
    if *budget == 0 {
        return false;
    }
    *budget -= 1;
    if !axes.iter().any(|&a| p.is_free(a, pattern)) {
        return same(p, pattern, subject, &mut vec![], budget);
    }
    if let Node::Axis(a) = p.node(pattern)
        && let Some(at) = axes.iter().position(|x| x == a)
    {
        return *bound[at].get_or_insert(subject) == subject;
    }
    match (p.node(pattern), p.node(subject)) {
        (
            Node::Read {
                tensor,
                index,
                default: None,
            },
            Node::Read {
                tensor: tensor2,
                index: index2,
                default: None,
            },
        ) => {
            tensor == tensor2
                && index
                    .iter()
                    .zip(index2)
                    .all(|(&x, &y)| instance(p, x, y, axes, bound, budget))
        }
        (Node::Op(op, o), Node::Op(op2, o2)) => {
            op == op2
                && o.len() == o2.len()
                && o.iter()
                    .zip(o2)
                    .all(|(&x, &y)| instance(p, x, y, axes, bound, budget))
        }
        // A reduction over other axes inside is rare; it counts as different.
        _ => false,
    }
}
