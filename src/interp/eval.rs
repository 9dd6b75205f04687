//! Expressions at one setting of the axes.

use super::{Held, MAX_STEPS, Machine, RED_ZONE, STACK};
use crate::array::{Array, Data};
use crate::diagnostic::Diagnostic;
use crate::interp::fold::Fold;
use crate::interp::scalar::{self, Scalar};
use crate::ir::{AxisId, ExprId, Node, Op, ReduceOp, TensorId, Type};

impl<'a> Machine<'a> {
    /// The value of an expression if none of its axes has moved since it was computed.
    fn remembered(&self, id: ExprId) -> Option<Scalar> {
        let (value, time) = self.memo[id.index()];
        let free = self.program.free(id).iter();
        (time > 0 && free.into_iter().all(|a| self.axes[a.index()].1 <= time)).then_some(value)
    }

    pub(super) fn eval(&mut self, id: ExprId) -> Result<Scalar, Diagnostic> {
        if let Some(value) = self.remembered(id) {
            return Ok(value);
        }
        let value = stacker::maybe_grow(RED_ZONE, STACK, || self.compute(id))?;
        Ok(self.keep(id, value))
    }

    /// Rounds a result if that is asked for, and remembers it.
    pub(super) fn keep(&mut self, id: ExprId, mut value: Scalar) -> Scalar {
        if let Scalar::Real(x) = value {
            self.finite &= x.is_finite();
            if let Some(rounding) = &self.rounding {
                value = Scalar::Real(rounding.round(self.program.node(id), x));
            }
        }
        self.memo[id.index()] = (value, self.clock);
        value
    }

    pub(super) fn compute(&mut self, id: ExprId) -> Result<Scalar, Diagnostic> {
        let program = self.program;
        match program.node(id) {
            Node::Real(x) => Ok(Scalar::Real(x.0)),
            Node::Int(n) => Ok(Scalar::Int(*n)),
            Node::Bool(b) => Ok(Scalar::Bool(*b)),
            Node::Axis(a) => Ok(Scalar::Int(self.axes[a.index()].0)),
            Node::Size(e) => Ok(Scalar::Int(self.bound.extents[e.index()] as i64)),
            Node::Param(p) => Ok(self.bound.params[p.index()]),
            Node::If {
                condition,
                then,
                otherwise,
            } => {
                if self.eval(*condition)?.bool() {
                    self.eval(*then)
                } else {
                    self.eval(*otherwise)
                }
            }
            Node::Op(Op::And, operands) => Ok(Scalar::Bool(
                self.eval(operands[0])?.bool() && self.eval(operands[1])?.bool(),
            )),
            Node::Op(Op::Or, operands) => Ok(Scalar::Bool(
                self.eval(operands[0])?.bool() || self.eval(operands[1])?.bool(),
            )),
            Node::Op(Op::StopGradient, operands) => self.stopped(id, operands[0]),
            Node::Op(_, operands) if operands.len() == 2 => self.chain(id),
            Node::Op(op, operands) => {
                let values = operands
                    .iter()
                    .map(|&o| self.eval(o))
                    .collect::<Result<Vec<_>, _>>()?;
                self.apply(id, *op, &values)
            }
            Node::Read {
                tensor,
                index,
                default,
            } => self.read(id, *tensor, index, *default),
            Node::Reduce {
                op,
                axes,
                guard,
                body,
            } => self.reduce(id, *op, axes, *guard, *body),
        }
    }

    fn apply(&mut self, id: ExprId, op: Op, values: &[Scalar]) -> Result<Scalar, Diagnostic> {
        let Some(result) = scalar::apply(op, values) else {
            return Err(self.error(id, "an int is divided by 0"));
        };
        if let Some(watch) = &mut self.watch {
            watch.operator(id, op, values, result);
        }
        Ok(result)
    }

    /// An operator of two operands. A sum of very many terms leans to the left: its spine is walked, so that the depth
    /// of the recursion is not the number of terms.
    pub(super) fn chain(&mut self, id: ExprId) -> Result<Scalar, Diagnostic> {
        let program = self.program;
        let start = self.spine.len();
        let mut left = id;
        while let Node::Op(op, operands) = program.node(left)
            && let [a, b] = operands[..]
            && !matches!(op, Op::And | Op::Or)
            && (left == id || self.remembered(left).is_none())
        {
            self.spine.push((left, *op, b));
            left = a;
        }
        let mut value = self.eval(left)?;
        for k in (start..self.spine.len()).rev() {
            let (id, op, right) = self.spine[k];
            let right = self.eval(right)?;
            value = self.apply(id, op, &[value, right])?;
            if k > start {
                value = self.keep(id, value);
            }
        }
        self.spine.truncate(start);
        Ok(value)
    }

    fn stopped(&mut self, id: ExprId, operand: ExprId) -> Result<Scalar, Diagnostic> {
        let free = self.program.free(id).iter();
        let key = || (id, free.map(|a| self.axes[a.index()].0).collect());
        match self.held {
            Held::Nothing => self.eval(operand),
            Held::Keep(_) => {
                let key = key();
                let value = self.eval(operand)?;
                if let Held::Keep(values) = self.held {
                    values.insert(key, value);
                }
                Ok(value)
            }
            Held::Use(values) => {
                Ok(values
                    .get(&key())
                    .copied()
                    .unwrap_or_else(|| match self.program.ty(id) {
                        Type::Real => Scalar::Real(f64::NAN),
                        Type::Int => Scalar::Int(0),
                        Type::Bool => Scalar::Bool(false),
                    }))
            }
        }
    }

    fn read(
        &mut self,
        id: ExprId,
        tensor: TensorId,
        index: &[ExprId],
        default: Option<ExprId>,
    ) -> Result<Scalar, Diagnostic> {
        let program = self.program;
        let head = &program.get(tensor).head;
        let mut position = 0usize;
        for (k, (&i, &a)) in index.iter().zip(head).enumerate() {
            let n = self.extent(a);
            let value = self.eval(i)?.int();
            if value < 0 || value >= n as i64 {
                if let Some(d) = default {
                    return self.eval(d);
                }
                let name = &program.get(tensor).name;
                let text = format!(
                    "index {value} is out of range: `{name}` has {n} elements at position {}",
                    k + 1
                );
                return Err(self.error(id, text));
            }
            position = position * n + value as usize;
        }
        if self.done[tensor.index()].is_empty() {
            match &self.arrays[tensor.index()] {
                Some(array) => Ok(array[position]),
                None => Err(self.error(
                    id,
                    format!(
                        "`{}` was read before it was computed",
                        program.get(tensor).name
                    ),
                )),
            }
        } else {
            self.element(tensor, position)
        }
    }

    fn reduce(
        &mut self,
        id: ExprId,
        op: ReduceOp,
        axes: &[AxisId],
        guard: Option<ExprId>,
        body: ExprId,
    ) -> Result<Scalar, Diagnostic> {
        let shape: Vec<usize> = axes.iter().map(|&a| self.extent(a)).collect();
        let steps = shape.iter().try_fold(1usize, |n, &k| n.checked_mul(k));
        if steps.is_none_or(|n| n > MAX_STEPS) && !shape.contains(&0) {
            let what = format!("`{}` of too many elements for the interpreter", op.name());
            let d = self.error(id, what);
            return Err(d.note(format!(
                "the limit is {MAX_STEPS} elements of one reduction"
            )));
        }
        let mut fold = Fold::new(op, self.program.ty(body));
        let mut count = 0;
        let mut index = vec![0usize; axes.len()];
        // A recurrence may be in the middle of this very reduction at another element.
        let before: Vec<i64> = axes.iter().map(|a| self.axes[a.index()].0).collect();
        // A loop like an odometer: the last axis moves fastest, and only axes that move are set.
        let mut moved = 0;
        if shape.iter().all(|&n| n > 0) {
            loop {
                for k in moved..axes.len() {
                    self.set(axes[k], index[k] as i64);
                }
                if guard.map_or(Ok(true), |g| self.eval(g).map(Scalar::bool))? {
                    let value = self.eval(body)?;
                    fold.add(value, index[0]);
                    count += 1;
                }
                match (0..axes.len()).rev().find(|&k| index[k] + 1 < shape[k]) {
                    None => break,
                    Some(k) => {
                        index[k] += 1;
                        index[k + 1..].fill(0);
                        moved = k;
                    }
                }
            }
        }
        for (&a, &value) in axes.iter().zip(&before) {
            self.set(a, value);
        }
        let Some(result) = fold.finish() else {
            return Err(self.error(id, format!("`{}` of no elements", op.name())));
        };
        if let Some(watch) = &mut self.watch {
            watch.reduction(id, op, count, result);
        }
        Ok(result)
    }

    pub(super) fn error(&self, id: ExprId, title: impl Into<String>) -> Diagnostic {
        let mut d = Diagnostic::data(title);
        d.labels
            .extend(self.program.span(id).map(|s| (s, String::new())));
        let mut at: Vec<String> = vec![];
        for &a in self.program.free(id).iter() {
            at.push(format!(
                "{} = {}",
                self.program.axes[a.index()].hint,
                self.axes[a.index()].0
            ));
        }
        if at.is_empty() {
            d
        } else {
            d.note(format!("at {}", at.join(", ")))
        }
    }
}

pub(super) fn scalars(array: &Array) -> Vec<Scalar> {
    match &array.data {
        Data::Real(v) => v.iter().map(|&x| Scalar::Real(x)).collect(),
        Data::Int(v) => v.iter().map(|&x| Scalar::Int(x)).collect(),
        Data::Bool(v) => v.iter().map(|&x| Scalar::Bool(x)).collect(),
    }
}
