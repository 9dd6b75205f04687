//! The plain interpreter: what a program means, in f64.
//!
//! It is the oracle of the tests, so it is written to be read: a definition is computed element by element, a
//! reduction is a loop, an `if` evaluates the branch taken. Two things keep that from being hopeless on real data.
//! Every node remembers its last value together with the time of computing it, which holds as long as no axis that
//! the node depends on has moved since; so shared and loop-invariant parts are computed once. And a definition that
//! is not part of a recurrence is computed as a whole array, in dependency order; only the elements of recurrences
//! are computed on demand, each once.

mod bind;
mod rounding;
pub mod scalar;
mod watch;

use crate::array::{Array, Data};
use crate::diagnostic::Diagnostic;
use crate::ir::{AxisId, Body, ExprId, Node, Op, Program, ReduceOp, TensorId, TensorKind, Type};
pub use bind::{Bound, bind, extents_for, fitted, misset};
pub use rounding::Rounding;
use rustc_hash::FxHashMap;
use scalar::{Fold, Scalar};
pub use watch::{Singular, Watch};

/// No definition may have more elements than this in the interpreter (1 GiB of reals).
pub const MAX_ELEMENTS: usize = 1 << 27;

/// How deep a recurrence or an expression may nest before a new stack is made, and how large that is.
const RED_ZONE: usize = 128 * 1024;
const STACK: usize = 16 * 1024 * 1024;

/// Computes every tensor in `wanted` (and what it needs).
///
/// # Errors
/// An index out of range, an int division by 0, an `argmax` of nothing, an extent that no memory holds.
pub fn evaluate(
    program: &Program,
    bound: &Bound,
    wanted: &[TensorId],
) -> Result<Vec<Array>, Diagnostic> {
    Plan::new(program, wanted).run(bound, &mut Held::Nothing)
}

/// What has to be computed for some tensors, in which order; for evaluating them often.
pub struct Plan<'a> {
    program: &'a Program,
    wanted: Vec<TensorId>,
    /// Definitions that need each other, and whether they do.
    groups: Vec<(Vec<TensorId>, bool)>,
    rounding: Option<Rounding>,
}

/// What becomes of `stop_gradient(e)`.
///
/// For a derivative it is a constant: finite differences keep the values that it had before an input was moved.
#[derive(Debug, Clone)]
pub enum Held {
    /// It is computed.
    Nothing,
    /// It is computed, and its value kept here for each node and the values of its free axes.
    Keep(HeldValues),
    /// It is what was kept; NaN where nothing was, since nobody knows what it would have been.
    Use(HeldValues),
}

type HeldValues = FxHashMap<(ExprId, Vec<i64>), Scalar>;

impl Held {
    /// From now on what was kept is used.
    pub fn used(self) -> Held {
        match self {
            Held::Keep(values) => Held::Use(values),
            Held::Nothing | Held::Use(_) => self,
        }
    }
}

impl<'a> Plan<'a> {
    pub fn new(program: &'a Program, wanted: &[TensorId]) -> Plan<'a> {
        Plan {
            program,
            wanted: wanted.to_vec(),
            groups: groups(program, wanted)
                .into_iter()
                .map(|g| {
                    let recursive = g.len() > 1 || program.reads(g[0]).contains(&g[0]);
                    (g, recursive)
                })
                .collect(),
            rounding: None,
        }
    }

    /// The same, but every result is off by a little.
    pub fn rounded(self, rounding: Rounding) -> Plan<'a> {
        Plan {
            rounding: Some(rounding),
            ..self
        }
    }

    /// Computes the wanted tensors, in their order.
    ///
    /// # Errors
    /// As [`evaluate`].
    pub fn run(&self, bound: &Bound, held: &mut Held) -> Result<Vec<Array>, Diagnostic> {
        Ok(self.run_watching(bound, held)?.0)
    }

    /// As [`Plan::run`]; also whether every real on the way was finite.
    ///
    /// # Errors
    /// As [`evaluate`].
    pub fn run_watching(
        &self,
        bound: &Bound,
        held: &mut Held,
    ) -> Result<(Vec<Array>, bool), Diagnostic> {
        self.compute(Machine::new(self.program, bound, held))
    }

    /// [`Plan::run`], with a watch on singular places.
    ///
    /// # Errors
    /// As [`evaluate`].
    pub fn run_watched(&self, bound: &Bound, watch: &mut Watch) -> Result<Vec<Array>, Diagnostic> {
        let mut held = Held::Nothing;
        let mut machine = Machine::new(self.program, bound, &mut held);
        machine.watch = Some(watch);
        Ok(self.compute(machine)?.0)
    }

    fn compute(&self, mut machine: Machine) -> Result<(Vec<Array>, bool), Diagnostic> {
        machine.rounding = self.rounding;
        for (group, recursive) in &self.groups {
            machine.compute_group(group, *recursive)?;
        }
        let arrays = self.wanted.iter().map(|&t| machine.array(t)).collect();
        Ok((arrays, machine.finite))
    }
}

/// The definitions that `wanted` need, in dependency order; definitions that need each other are one group.
pub fn groups(program: &Program, wanted: &[TensorId]) -> Vec<Vec<TensorId>> {
    let edges: Vec<Vec<usize>> = (0..program.tensors.len())
        .map(|t| {
            program
                .reads(TensorId(t as u32))
                .into_iter()
                .map(TensorId::index)
                .collect()
        })
        .collect();
    let roots: Vec<usize> = wanted.iter().map(|t| t.index()).collect();
    let groups = crate::graph::components(&edges, &roots);
    groups
        .into_iter()
        .map(|g| g.into_iter().map(|t| TensorId(t as u32)).collect())
        .collect()
}

struct Machine<'a> {
    program: &'a Program,
    bound: &'a Bound,
    held: &'a mut Held,
    watch: Option<&'a mut Watch>,
    rounding: Option<Rounding>,
    /// Whether every real so far is.
    finite: bool,
    /// The elements of each tensor computed so far; `done` marks them in recurrences.
    arrays: Vec<Option<Vec<Scalar>>>,
    done: Vec<Vec<Mark>>,
    /// Values of axes, and when they were set.
    axes: Vec<(i64, u64)>,
    /// The last value of each node, and when it was computed (0: never).
    memo: Vec<(Scalar, u64)>,
    clock: u64,
    /// The operators of [`Machine::chain`] that wait for their left operand.
    spine: Vec<(ExprId, Op, ExprId)>,
}

/// What a sorted order is made of.
#[derive(Clone, Copy)]
struct Sort {
    along: AxisId,
    guard: Option<ExprId>,
    key: ExprId,
}

#[derive(Clone, Copy, PartialEq)]
enum Mark {
    New,
    Started,
    Done,
}

impl<'a> Machine<'a> {
    fn new(program: &'a Program, bound: &'a Bound, held: &'a mut Held) -> Machine<'a> {
        let mut arrays: Vec<Option<Vec<Scalar>>> = vec![None; program.tensors.len()];
        for (&t, array) in program.inputs.iter().zip(&bound.inputs) {
            arrays[t.index()] = Some(scalars(array));
        }
        Machine {
            program,
            bound,
            held,
            watch: None,
            rounding: None,
            finite: true,
            arrays,
            done: vec![vec![]; program.tensors.len()],
            axes: vec![(0, 0); program.axes.len()],
            memo: vec![(Scalar::Int(0), 0); program.node_count()],
            clock: 1,
            spine: vec![],
        }
    }

    fn extent(&self, axis: AxisId) -> usize {
        self.bound.extents[self.program.extent_of(axis).index()]
    }

    fn set(&mut self, axis: AxisId, value: i64) {
        self.clock += 1;
        self.axes[axis.index()] = (value, self.clock);
    }

    fn array(&self, tensor: TensorId) -> Array {
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

    fn compute_group(&mut self, group: &[TensorId], recursive: bool) -> Result<(), Diagnostic> {
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

    fn count(&self, tensor: TensorId) -> Result<usize, Diagnostic> {
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
    fn element(&mut self, tensor: TensorId, position: usize) -> Result<Scalar, Diagnostic> {
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

    // ---- expressions

    /// The value of an expression if none of its axes has moved since it was computed.
    fn remembered(&self, id: ExprId) -> Option<Scalar> {
        let (value, time) = self.memo[id.index()];
        let free = self.program.free(id).iter();
        (time > 0 && free.into_iter().all(|a| self.axes[a.index()].1 <= time)).then_some(value)
    }

    fn eval(&mut self, id: ExprId) -> Result<Scalar, Diagnostic> {
        if let Some(value) = self.remembered(id) {
            return Ok(value);
        }
        let value = stacker::maybe_grow(RED_ZONE, STACK, || self.compute(id))?;
        Ok(self.keep(id, value))
    }

    /// Rounds a result if that is asked for, and remembers it.
    fn keep(&mut self, id: ExprId, mut value: Scalar) -> Scalar {
        if let Scalar::Real(x) = value {
            self.finite &= x.is_finite();
            if let Some(rounding) = &self.rounding {
                value = Scalar::Real(rounding.round(self.program.node(id), x));
            }
        }
        self.memo[id.index()] = (value, self.clock);
        value
    }

    fn compute(&mut self, id: ExprId) -> Result<Scalar, Diagnostic> {
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
    fn chain(&mut self, id: ExprId) -> Result<Scalar, Diagnostic> {
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

    fn error(&self, id: ExprId, title: impl Into<String>) -> Diagnostic {
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

fn scalars(array: &Array) -> Vec<Scalar> {
    match &array.data {
        Data::Real(v) => v.iter().map(|&x| Scalar::Real(x)).collect(),
        Data::Int(v) => v.iter().map(|&x| Scalar::Int(x)).collect(),
        Data::Bool(v) => v.iter().map(|&x| Scalar::Bool(x)).collect(),
    }
}
