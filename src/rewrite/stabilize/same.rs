//! Whether expressions are the same but for names, or one is an instance of another.

use super::Rewriter;
use crate::ir::{AxisId, ExprId, Node, Program};

impl Rewriter<'_> {
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
