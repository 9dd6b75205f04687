//! Definitions: their elements, all at once or when they are needed.

use super::{MAX_ELEMENTS, Machine, Mark, RED_ZONE, STACK, Sort};
use crate::array::{Array, Data};
use crate::diagnostic::Diagnostic;

use crate::interp::scalar::{self, Scalar};
use crate::ir::{AxisId, Body, ExprId, TensorId, TensorKind, Type};

impl<'a> Machine<'a> {
    pub(super) fn extent(&self, axis: AxisId) -> usize {
        self.bound.extents[self.program.extent_of(axis).index()]
    }

    pub(super) fn set(&mut self, axis: AxisId, value: i64) {
        self.clock += 1;
        self.axes[axis.index()] = (value, self.clock);
    }

    pub(super) fn array(&self, tensor: TensorId) -> Array {
        let t = self.program.get(tensor);
        let shape = t.head.iter().map(|&a| self.extent(a)).collect();
        let elements = self.arrays[tensor.index()].as_deref().unwrap_or(&[]);
        let data = match t.ty {
            Type::Real => Data::Real(elements.iter().map(|s| s.real()).collect()),
            Type::Int => Data::Int(elements.iter().map(|s| s.int()).collect()),
            Type::Bool => Data::Bool(elements.iter().map(|s| s.bool()).collect()),
        };
        Array { shape, data }
    }

    pub(super) fn compute_group(
        &mut self,
        group: &[TensorId],
        recursive: bool,
    ) -> Result<(), Diagnostic> {
        let program = self.program;
        for &t in group {
            if let TensorKind::Definition(_) = &program.get(t).kind {
                let count = self.count(t)?;
                self.arrays[t.index()] = Some(vec![Scalar::Int(0); count]);
                self.done[t.index()] = if recursive {
                    vec![Mark::New; count]
                } else {
                    vec![]
                };
            }
        }
        for &t in group {
            match program.body(t) {
                Some(Body::Expr(body)) => self.compute_all(t, *body, recursive)?,
                Some(Body::Grad { .. }) => {
                    return Err(Diagnostic::error(
                        "an inner gradient was not expanded before evaluation",
                    ));
                }
                Some(&Body::Argsort { along, guard, key }) => {
                    self.sort_all(t, Sort { along, guard, key }, recursive)?
                }
                None => {}
            }
        }
        Ok(())
    }

    fn sort_all(
        &mut self,
        tensor: TensorId,
        sort: Sort,
        recursive: bool,
    ) -> Result<(), Diagnostic> {
        let head = &self.program.get(tensor).head;
        for position in 0..self.count(tensor)? {
            if recursive {
                self.element(tensor, position)?;
                continue;
            }
            let mut indices = head.iter().zip(self.indices(head, position));
            if indices.any(|(&a, at)| a == sort.along && at == 0) {
                self.argsort(tensor, position, sort)?;
            }
        }
        Ok(())
    }

    pub(super) fn count(&self, tensor: TensorId) -> Result<usize, Diagnostic> {
        let t = self.program.get(tensor);
        let count = t
            .head
            .iter()
            .try_fold(1usize, |n, &a| n.checked_mul(self.extent(a)));
        match count.filter(|&n| n <= MAX_ELEMENTS) {
            Some(n) => Ok(n),
            None => {
                let mut d = Diagnostic::data(format!(
                    "`{}` has too many elements for the interpreter",
                    t.name
                ));
                d.labels.extend(t.span.map(|s| (s, String::new())));
                Err(d.note(format!(
                    "the limit is {MAX_ELEMENTS} elements of one definition"
                )))
            }
        }
    }

    fn compute_all(
        &mut self,
        tensor: TensorId,
        body: ExprId,
        recursive: bool,
    ) -> Result<(), Diagnostic> {
        let head = self.program.get(tensor).head.clone();
        let shape: Vec<usize> = head.iter().map(|&a| self.extent(a)).collect();
        let count: usize = shape.iter().product();
        for position in 0..count {
            if recursive {
                self.element(tensor, position)?;
                continue;
            }
            let mut rest = position;
            for (k, &a) in head.iter().enumerate().rev() {
                let value = (rest % shape[k]) as i64;
                rest /= shape[k];
                if position == 0 || self.axes[a.index()].0 != value {
                    self.set(a, value);
                }
            }
            let value = self.eval(body)?;
            self.put(tensor, position, value);
        }
        Ok(())
    }

    fn put(&mut self, tensor: TensorId, position: usize, value: Scalar) {
        if let Some(array) = &mut self.arrays[tensor.index()] {
            array[position] = value;
        }
    }

    /// One element of a recurrence.
    pub(super) fn element(
        &mut self,
        tensor: TensorId,
        position: usize,
    ) -> Result<Scalar, Diagnostic> {
        match self.done[tensor.index()].get(position) {
            Some(Mark::New) => {}
            Some(Mark::Started) => {
                let name = &self.program.get(tensor).name;
                return Err(Diagnostic::error(format!(
                    "an element of `{name}` depends on itself"
                )));
            }
            Some(Mark::Done) | None => {
                return Ok(self.arrays[tensor.index()]
                    .as_ref()
                    .map_or(Scalar::Int(0), |a| a[position]));
            }
        }
        let body = match self.program.body(tensor) {
            Some(Body::Expr(body)) => body,
            Some(&Body::Argsort { along, guard, key }) => {
                let sort = Sort { along, guard, key };
                stacker::maybe_grow(RED_ZONE, STACK, || self.argsort(tensor, position, sort))?;
                return self.element(tensor, position);
            }
            Some(Body::Grad { .. }) | None => return Ok(Scalar::Int(0)),
        };
        self.done[tensor.index()][position] = Mark::Started;
        let head = self.program.get(tensor).head.clone();
        let before: Vec<i64> = head.iter().map(|a| self.axes[a.index()].0).collect();
        for (&a, value) in head.iter().zip(self.indices(&head, position)) {
            self.set(a, value);
        }
        let value = stacker::maybe_grow(RED_ZONE, STACK, || self.eval(*body))?;
        for (&a, &value) in head.iter().zip(&before) {
            self.set(a, value);
        }
        self.done[tensor.index()][position] = Mark::Done;
        self.put(tensor, position, value);
        Ok(value)
    }

    /// The order along the sorted axis that an element is part of: all of its elements.
    fn argsort(&mut self, tensor: TensorId, position: usize, sort: Sort) -> Result<(), Diagnostic> {
        let head = self.program.get(tensor).head.clone();
        let before: Vec<i64> = head.iter().map(|a| self.axes[a.index()].0).collect();
        let place = head.iter().position(|&a| a == sort.along).unwrap_or(0);
        let after = head[place + 1..].iter();
        let inner: usize = after.map(|&a| self.extent(a)).product();
        let n = self.extent(sort.along);
        let base = position - position / inner % n * inner;
        let run = (0..n).map(|i| base + i * inner);
        for (&a, value) in head.iter().zip(self.indices(&head, base)) {
            self.set(a, value);
        }
        if !self.done[tensor.index()].is_empty() {
            for p in run.clone() {
                self.done[tensor.index()][p] = Mark::Started;
            }
        }
        let mut keys = Vec::with_capacity(n);
        for i in 0..n {
            self.set(sort.along, i as i64);
            let kept = sort
                .guard
                .map_or(Ok(true), |g| self.eval(g).map(Scalar::bool))?;
            // What the guard leaves out sorts after NaN.
            keys.push(if kept {
                Some(self.eval(sort.key)?)
            } else {
                None
            });
        }
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by(|&a, &b| scalar::sort_order(keys[a], keys[b]));
        for (p, o) in run.zip(order) {
            self.put(tensor, p, Scalar::Int(o as i64));
            if let Some(mark) = self.done[tensor.index()].get_mut(p) {
                *mark = Mark::Done;
            }
        }
        for (&a, &value) in head.iter().zip(&before) {
            self.set(a, value);
        }
        Ok(())
    }

    /// The index along each axis of the element at a position.
    fn indices(&self, head: &[AxisId], position: usize) -> Vec<i64> {
        let mut rest = position;
        let mut out: Vec<i64> = head
            .iter()
            .rev()
            .map(|&a| {
                let n = self.extent(a);
                let at = rest % n;
                rest /= n;
                at as i64
            })
            .collect();
        out.reverse();
        out
    }
}
