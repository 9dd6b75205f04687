//! Sums: what stands under a `sum` and need not (rules 1c, 4 and 11).

use super::index;
use super::product::Product;
use super::{Substitution, renamed, substitute};
use crate::ir::{AxisId, ExprId, Node, Op, Program, ReduceOp, Type};

/// `sum[axes if conditions](body)`, simplified. `free_factors`: any factor that the axes do not touch may move out, as in
/// generated code; else only finite ones.
pub fn sum(
    program: &mut Program,
    axes: &[AxisId],
    conditions: &[ExprId],
    body: ExprId,
    free_factors: bool,
) -> ExprId {
    let mut sum = Sum {
        axes: axes.to_vec(),
        conditions: vec![],
        body,
        outer: vec![],
        free_factors,
    };
    for &c in conditions {
        program.collect_conjuncts(c, &mut sum.conditions);
    }
    sum.simplify(program)
}

struct Sum {
    axes: Vec<AxisId>,
    conditions: Vec<ExprId>,
    body: ExprId,
    /// Conditions that the axes do not touch.
    outer: Vec<ExprId>,
    free_factors: bool,
}

impl Sum {
    fn simplify(mut self, program: &mut Program) -> ExprId {
        let zero = program.real(0.0);
        loop {
            self.take_branch(program);
            self.move_conditions_out(program);
            if !self.one_point(program) {
                break;
            }
        }
        if self
            .conditions
            .iter()
            .chain(&self.outer)
            .any(|&c| program.truth(c) == Some(false))
            || program.is_number(self.body, 0.0)
        {
            return zero;
        }
        let outer = std::mem::take(&mut self.outer);
        let value = self.build(program);
        let outer = program.all_of(&outer);
        program.iff(outer, value, zero)
    }

    /// `sum(if g then e else 0)` is a guarded sum.
    fn take_branch(&mut self, program: &mut Program) {
        loop {
            match *program.node(self.body) {
                Node::If {
                    condition,
                    then,
                    otherwise,
                } if program.is_number(otherwise, 0.0) => {
                    program.collect_conjuncts(condition, &mut self.conditions);
                    self.body = then;
                }
                _ => return,
            }
        }
    }

    fn touches(&self, program: &Program, e: ExprId) -> bool {
        program.free(e).iter().any(|a| self.axes.contains(a))
    }

    fn move_conditions_out(&mut self, program: &Program) {
        let conditions = std::mem::take(&mut self.conditions);
        for c in conditions {
            if self.touches(program, c) {
                self.conditions.push(c);
            } else if !self.outer.contains(&c) {
                self.outer.push(c);
            }
        }
    }

    /// `sum[s if s == e](f)` is f at s = e, where e is a position of s.
    fn one_point(&mut self, program: &mut Program) -> bool {
        for (i, &c) in self.conditions.iter().enumerate() {
            let Some((axis, value)) = equation(program, c, &self.axes) else {
                continue;
            };
            let map = Substitution::from_iter([(axis, value)]);
            let mut conditions = index::range_conditions(program, value, program.extent_of(axis));
            let others: Vec<ExprId> = self
                .conditions
                .iter()
                .enumerate()
                .filter(|&(j, _)| j != i)
                .map(|(_, &c)| c)
                .collect();
            for other in others {
                let other = substitute(program, other, &map);
                program.collect_conjuncts(other, &mut conditions);
            }
            self.axes.retain(|&a| a != axis);
            self.conditions = conditions;
            self.body = substitute(program, self.body, &map);
            return true;
        }
        false
    }

    fn build(mut self, program: &mut Program) -> ExprId {
        if self.axes.is_empty() {
            let (guard, zero) = (program.all_of(&self.conditions), program.real(0.0));
            return program.iff(guard, self.body, zero);
        }
        if let Some(distributed) = self.distribute(program) {
            return distributed;
        }
        let mut outside = Product::one();
        let mut inside = Product::one();
        let product = Product::of(program, self.body);
        outside.number = product.number;
        for (factors, divides) in [(product.over, false), (product.under, true)] {
            for e in factors {
                let finite = program.is_finite(e) && (!divides || program.is_size(e));
                let moves = !self.touches(program, e)
                    && (finite || self.free_factors && self.conditions.is_empty());
                let side = if moves { &mut outside } else { &mut inside };
                if moves && divides && self.may_be_empty(program, e) {
                    // Outside it would divide the sum of nothing by 0.
                    let one = program.real(1.0);
                    side.under.push(program.op(Op::Max, &[e, one]));
                } else if divides {
                    side.under.push(e)
                } else {
                    side.over.push(e)
                }
            }
        }
        self.body = inside.build(program);
        // An axis that nothing uses counts.
        let unused = |p: &Program, s: &Sum, a: AxisId| {
            !p.is_free(a, s.body) && s.conditions.iter().all(|&c| !p.is_free(a, c))
        };
        for a in self.axes.clone() {
            if unused(program, &self, a) {
                self.axes.retain(|&b| b != a);
                let size = program.real_size(program.extent_of(a));
                outside = outside.times(Product::of(program, size));
            }
        }
        let inner = self.reduction(program);
        let outside = outside.build(program);
        program.product(outside, inner)
    }

    /// Whether a size is that of an axis that stays, so that nothing is summed where it is 0.
    fn may_be_empty(&self, program: &Program, size: ExprId) -> bool {
        let of = |a: &AxisId| program.size_extent(size) == Some(program.extent_of(*a));
        let parts = || self.conditions.iter().chain([&self.body]);
        let used = |a: &&AxisId| parts().any(|&e| program.is_free(**a, e));
        self.axes.iter().filter(used).any(of)
    }

    fn reduction(self, program: &mut Program) -> ExprId {
        if self.axes.is_empty() && self.conditions.is_empty() {
            return self.body;
        }
        let guard = program.all_of(&self.conditions);
        if program.is_number(self.body, 1.0) {
            let always = program.bool(true);
            let count = program.reduce(ReduceOp::Count, &self.axes, Some(guard), always);
            return program.to_real(count);
        }
        program.reduce(ReduceOp::Sum, &self.axes, Some(guard), self.body)
    }

    /// A factor `a + (if s == e then b else 0)` is multiplied out, so that the one-point term loses its sum.
    fn distribute(&self, program: &mut Program) -> Option<ExprId> {
        let product = Product::of(program, self.body);
        for (i, &factor) in product.over.iter().enumerate() {
            let Node::Op(op @ (Op::Add | Op::Sub), o) = program.node(factor) else {
                if let Node::If {
                    then,
                    otherwise,
                    condition,
                } = *program.node(factor)
                    && program.is_number(otherwise, 0.0)
                    && product.over.len() > 1
                    && self.has_point(program, factor)
                {
                    let mut rest = product.clone();
                    rest.over[i] = then;
                    let body = rest.build(program);
                    let conditions = [&self.conditions[..], &[condition]].concat();
                    return Some(sum(
                        program,
                        &self.axes,
                        &conditions,
                        body,
                        self.free_factors,
                    ));
                }
                continue;
            };
            let (op, a, b) = (*op, o[0], o[1]);
            if !self.has_point(program, a) && !self.has_point(program, b) {
                continue;
            }
            let [x, y] = [a, b].map(|term| {
                let mut with = product.clone();
                with.over[i] = term;
                let body = with.build(program);
                sum(
                    program,
                    &self.axes,
                    &self.conditions,
                    body,
                    self.free_factors,
                )
            });
            let y = renamed(program, y);
            return Some(program.op(op, &[x, y]));
        }
        None
    }

    fn has_point(&self, program: &Program, term: ExprId) -> bool {
        Product::of(program, term).over.iter().any(|&e| match *program.node(e) {
            Node::If { condition, otherwise, .. } => {
                program.is_number(otherwise, 0.0)
                    && program.conjuncts(condition).iter().any(|&c| equation(program, c, &self.axes).is_some())
            }
            Node::Op(Op::Add | Op::Sub, ref o) => o.iter().any(|&x| {
                matches!(*program.node(x), Node::If { condition, otherwise, .. } if program.is_number(otherwise, 0.0)
                    && program.conjuncts(condition).iter().any(|&c| equation(program, c, &self.axes).is_some()))
            }),
            _ => false,
        })
    }
}

/// For a condition `s == e` with one of the axes alone on a side, and e free of it: the axis and e.
pub fn equation(program: &Program, condition: ExprId, axes: &[AxisId]) -> Option<(AxisId, ExprId)> {
    let (a, b) = program.binary(condition, Op::Eq)?;
    if program.ty(a) != Type::Int {
        return None;
    }
    for (l, r) in [(a, b), (b, a)] {
        if let &Node::Axis(axis) = program.node(l)
            && axes.contains(&axis)
            && !program.is_free(axis, r)
        {
            return Some((axis, r));
        }
    }
    None
}
