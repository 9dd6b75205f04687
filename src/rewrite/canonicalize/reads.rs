//! Reads and reductions in canonical form.

use crate::ir::{AxisId, Body, ExprId, ExtentId, Node, Op, Program, ReduceOp, TensorId, Type};
use crate::rewrite::index;

impl Program {
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
