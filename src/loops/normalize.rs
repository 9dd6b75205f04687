//! Definitions become parts: every reduction is a fold of its own, logsumexp and norm are written out as folds of
//! max, exp and sum, and a bracket in a guard (`sum[N if target == C]`) becomes the place where the fold adds.

use super::part::{Cell, Kind, Output, OutputInfo, Part, Parts, Softmax};
use super::pool::{Id, Node, PartId, Pool, Source};
use super::{ExtentIndex, FoldOp};
use crate::diagnostic::Diagnostic;
use crate::ir::{self, AxisId, Body, ExprId, Op, Program, ReduceOp, TensorId, Type};
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// More parts than this are refused.
const MAX_PARTS: usize = 2000;

/// The parts of all outputs of a program, wanted or not.
pub(super) fn normalize(
    program: &Program,
    pool: Pool,
    extent_index: &[ExtentIndex],
    order: &[TensorId],
) -> Result<Parts, Diagnostic> {
    let parts = Parts {
        pool,
        parts: vec![],
        softmax: FxHashMap::default(),
        outputs: vec![],
    };
    let mut n = Normalizer {
        program,
        extent_index,
        parts,
        inputs: program
            .inputs
            .iter()
            .enumerate()
            .map(|(k, &t)| (t, k as u32))
            .collect(),
        of_tensor: FxHashMap::default(),
        memo: FxHashMap::default(),
        shared: FxHashMap::default(),
        canonical: FxHashMap::default(),
        conditions: vec![],
        name: "".into(),
        head: vec![],
    };
    for &tensor in order {
        n.define(tensor)?;
        if n.parts.parts.len() > MAX_PARTS {
            return Err(
                Diagnostic::error(format!("`{}` is too large to compile", program.name)).note(
                    format!("it has more than {MAX_PARTS} reductions and definitions"),
                ),
            );
        }
    }
    n.outputs();
    Ok(n.parts)
}

/// An output's definition, head, name and the input whose gradient it is.
type OutputOf = (TensorId, Vec<AxisId>, Arc<str>, Option<u32>);

/// What makes two generated parts one.
#[derive(PartialEq, Eq, Hash)]
struct Key {
    kind: Kind,
    head: Vec<AxisId>,
    over: Vec<AxisId>,
    at: Vec<Id>,
    guard: Option<Id>,
    body: Id,
}

struct Normalizer<'a> {
    program: &'a Program,
    extent_index: &'a [ExtentIndex],
    parts: Parts,
    inputs: FxHashMap<TensorId, u32>,
    of_tensor: FxHashMap<TensorId, PartId>,
    /// What expressions without reductions became.
    memo: FxHashMap<ExprId, Id>,
    shared: FxHashMap<Key, PartId>,
    /// Axes of generated parts, by extent and a number, so that equal folds are one whatever their binders.
    canonical: FxHashMap<(ExtentIndex, usize), AxisId>,
    /// What holds where the expression at hand is evaluated.
    conditions: Vec<Id>,
    /// Name and head of the definition at hand.
    name: Arc<str>,
    head: Vec<AxisId>,
}

impl Normalizer<'_> {
    fn define(&mut self, tensor: TensorId) -> Result<(), Diagnostic> {
        let t = self.program.get(tensor);
        let refused = match self.program.body(tensor) {
            Some(Body::Argsort { .. }) => format!(
                "sorting is not compiled yet: `{}` is a sorted order",
                t.name
            ),
            Some(Body::Grad { .. }) => {
                format!("a gradient within is not compiled yet: `{}`", t.name)
            }
            Some(Body::Expr(_)) | None => String::new(),
        };
        let Some(Body::Expr(root)) = self.program.body(tensor) else {
            return Err(match t.span {
                Some(span) => Diagnostic::error(refused).at(span, ""),
                None => Diagnostic::error(refused),
            });
        };
        self.name = t.name.clone();
        self.head = t.head.clone();
        let body = self.convert(*root)?;
        let at = t.head.iter().map(|&a| self.parts.pool.axis(a)).collect();
        let part = Part {
            name: t.name.clone(),
            ty: t.ty,
            kind: Kind::Map,
            head: t.head.clone(),
            over: vec![],
            at,
            guard: None,
            body,
            output: None,
            into: None,
        };
        let id = self.parts.add(part);
        self.of_tensor.insert(tensor, id);
        Ok(())
    }

    /// Marks the outputs. A definition that is two outputs, or an output's body that is zero, gets a part of its own.
    fn outputs(&mut self) {
        let program = self.program;
        let value = (
            program.value,
            program.get(program.value).head.clone(),
            "value".into(),
            None,
        );
        let mut all: Vec<OutputOf> = vec![value];
        for g in &program.gradients {
            let input = program.get(g.input);
            let tensor = g.tensor.unwrap_or(TensorId(u32::MAX));
            all.push((
                tensor,
                input.head.clone(),
                format!("out.{}", input.name).into(),
                Some(self.inputs[&g.input]),
            ));
        }
        for (which, (tensor, head, name, input)) in all.into_iter().enumerate() {
            let pool = &self.parts.pool;
            let shape = head.iter().map(|a| pool.extent(*a)).collect();
            let cell = (0..head.len()).map(Cell::Head).collect();
            let output = Some(Output { which, cell });
            self.parts.outputs.push(OutputInfo {
                name: name.clone(),
                input,
                shape,
            });
            let part = self.of_tensor.get(&tensor).copied();
            match part {
                Some(id) if self.parts.part(id).output.is_none() => {
                    let part = self.parts.parts[id.index()].as_mut().expect("just made");
                    part.output = output;
                    part.name = name;
                }
                _ => {
                    let pool = &mut self.parts.pool;
                    let at: Vec<Id> = head.iter().map(|&a| pool.axis(a)).collect();
                    let body = match part {
                        Some(id) => pool.read(Source::Part(id), at.clone().into()),
                        None => pool.real(0.0),
                    };
                    let (kind, ty) = (Kind::Map, Type::Real);
                    let part = Part {
                        name,
                        ty,
                        kind,
                        head,
                        over: vec![],
                        at,
                        guard: None,
                        body,
                        output,
                        into: None,
                    };
                    self.parts.add(part);
                }
            }
        }
    }

    // ---- expressions

    fn convert(&mut self, id: ExprId) -> Result<Id, Diagnostic> {
        if let Some(&done) = self.memo.get(&id) {
            return Ok(done);
        }
        let parts = self.parts.parts.len();
        let new = stacker::maybe_grow(64 * 1024, 1024 * 1024, || self.convert_node(id))?;
        self.parts.pool.locate(new, self.program.span(id));
        // A nested reduction may depend on the conditions it stands under.
        if self.conditions.is_empty() || self.parts.parts.len() == parts {
            self.memo.insert(id, new);
        }
        Ok(new)
    }

    fn convert_all(&mut self, ids: &[ExprId]) -> Result<Box<[Id]>, Diagnostic> {
        ids.iter().map(|&i| self.convert(i)).collect()
    }

    /// Converts `id`, which is evaluated only where `condition` holds.
    fn convert_under(&mut self, condition: Option<Id>, id: ExprId) -> Result<Id, Diagnostic> {
        self.conditions.extend(condition);
        let new = self.convert(id);
        self.conditions
            .truncate(self.conditions.len() - usize::from(condition.is_some()));
        new
    }

    fn convert_node(&mut self, id: ExprId) -> Result<Id, Diagnostic> {
        let program = self.program;
        let node = match program.node(id) {
            ir::Node::Real(r) => Node::Real(*r),
            ir::Node::Int(v) => Node::Int(*v),
            ir::Node::Bool(v) => Node::Bool(*v),
            ir::Node::Axis(a) => Node::Axis(*a),
            ir::Node::Size(e) => Node::Size(self.extent_index[e.index()]),
            ir::Node::Param(p) => Node::Param(p.0),
            ir::Node::Read {
                tensor,
                index,
                default,
            } => {
                let index = self.convert_all(index)?;
                let default = default.map(|d| self.convert(d)).transpose()?;
                let from = match self.inputs.get(tensor) {
                    Some(&k) => Source::Input(k),
                    None => Source::Part(self.of_tensor[tensor]),
                };
                let in_range = index
                    .iter()
                    .zip(self.parts.pool.shape(from))
                    .all(|(&i, &e)| self.parts.pool.fits(i, e));
                Node::Read {
                    from,
                    index,
                    default: default.filter(|_| !in_range),
                }
            }
            ir::Node::If {
                condition,
                then,
                otherwise,
            } => {
                let c = self.convert(*condition)?;
                let not = self.parts.pool.op(Op::Not, &[c]);
                let then = self.convert_under(Some(c), *then)?;
                Node::If(c, then, self.convert_under(Some(not), *otherwise)?)
            }
            ir::Node::Op(op, operands) => return self.convert_op(*op, operands),
            ir::Node::Reduce {
                op,
                axes,
                guard,
                body,
            } => return self.reduce(*op, axes, *guard, *body),
        };
        Ok(self.parts.pool.make(node))
    }

    fn convert_op(&mut self, op: Op, operands: &[ExprId]) -> Result<Id, Diagnostic> {
        if matches!(op, Op::And | Op::Or) && operands.len() == 2 {
            let a = self.convert(operands[0])?;
            let under = if op == Op::And {
                a
            } else {
                self.parts.pool.op(Op::Not, &[a])
            };
            let b = self.convert_under(Some(under), operands[1])?;
            return Ok(self.parts.pool.op(op, &[a, b]));
        }
        let operands = self.convert_all(operands)?;
        let pool = &mut self.parts.pool;
        Ok(match op {
            Op::StopGradient => operands[0],
            Op::LogSumExp => logsumexp(pool, &operands),
            Op::Add | Op::Mul | Op::Max | Op::Min | Op::And | Op::Or if operands.len() > 2 => {
                operands[1..]
                    .iter()
                    .fold(operands[0], |a, &b| pool.op(op, &[a, b]))
            }
            Op::Pow => power(pool, operands[0], operands[1]),
            _ => pool.op(op, &operands),
        })
    }

    // ---- reductions

    fn reduce(
        &mut self,
        op: ReduceOp,
        axes: &[AxisId],
        guard: Option<ExprId>,
        body: ExprId,
    ) -> Result<Id, Diagnostic> {
        let guard = guard.map(|g| self.convert(g)).transpose()?;
        let mut body = self.convert_under(guard, body)?;
        let mut guard = guard;
        // A fold is computed wherever it is placed; what must not be evaluated there brings its conditions along,
        // outer ones first.
        if self.parts.pool.partial(body) || guard.is_some_and(|g| self.parts.pool.partial(g)) {
            let mut all = None;
            for c in self.conditions.clone() {
                all = self.parts.pool.and(all, Some(c));
            }
            guard = self.parts.pool.and(all, guard);
        }
        let one = |op| Ok((op, None));
        let (fold, mean) = match op {
            ReduceOp::Mean => Ok::<_, Diagnostic>((FoldOp::Sum, Some(()))),
            ReduceOp::LogSumExp => return Ok(self.logsumexp(axes, guard, body)),
            ReduceOp::Norm => return Ok(self.norm(axes, guard, body)),
            ReduceOp::Sum => one(FoldOp::Sum),
            ReduceOp::Prod => one(FoldOp::Prod),
            ReduceOp::Max => one(FoldOp::Max),
            ReduceOp::Min => one(FoldOp::Min),
            ReduceOp::Any => one(FoldOp::Any),
            ReduceOp::All => one(FoldOp::All),
            ReduceOp::Count => one(FoldOp::Count),
            ReduceOp::ArgMax => one(FoldOp::ArgMax),
            ReduceOp::ArgMin => one(FoldOp::ArgMin),
        }?;
        if fold == FoldOp::Count {
            // What is counted is a guard, so that brackets in it are seen and equal counts are one.
            guard = self.parts.pool.and(guard, Some(body));
            body = self.parts.pool.mk(Node::Bool(true));
        }
        let sum = self.fold(fold, axes, guard, body);
        if mean.is_none() {
            return Ok(sum);
        }
        let count = match guard {
            None => {
                let sizes: Vec<Id> = axes.iter().map(|&a| self.size(a)).collect();
                sizes[1..]
                    .iter()
                    .fold(sizes[0], |a, &b| self.parts.pool.op(Op::Mul, &[a, b]))
            }
            Some(_) => {
                let yes = self.parts.pool.mk(Node::Bool(true));
                self.fold(FoldOp::Count, axes, guard, yes)
            }
        };
        let count = self.parts.pool.op(Op::ToReal, &[count]);
        Ok(self.parts.pool.op(Op::Div, &[sum, count]))
    }

    fn size(&mut self, axis: AxisId) -> Id {
        let extent = self.parts.pool.extent(axis);
        match self.parts.pool.extents[extent.0 as usize] {
            Some(n) => self.parts.pool.int(n as i64),
            None => self.parts.pool.mk(Node::Size(extent)),
        }
    }

    /// `fin m + log z` with `m = max x`, `z = sum exp(x - fin m)`: right for infinities and for nothing at all.
    fn logsumexp(&mut self, axes: &[AxisId], guard: Option<Id>, x: Id) -> Id {
        let head = self.free_head(axes, [Some(x), guard]);
        let m = self.fold(FoldOp::Max, axes, guard, x);
        let pool = &mut self.parts.pool;
        let shift = pool.mk(Node::Finite(m));
        let d = pool.op(Op::Sub, &[x, shift]);
        let mut e = pool.op(Op::Exp, &[d]);
        if let Some(g) = guard {
            let zero = pool.real(0.0);
            e = pool.select(g, e, zero);
        }
        let all: Vec<AxisId> = head.iter().chain(axes).copied().collect();
        let e = self.map("e", &all, e);
        let z = self.fold(FoldOp::Sum, axes, None, e);
        let pool = &mut self.parts.pool;
        let log = pool.op(Op::Log, &[z]);
        let lse = pool.op(Op::Add, &[shift, log]);
        let lse = self.map("lse", &head, lse);
        if guard.is_none() {
            let pool = &mut self.parts.pool;
            let (zero, one) = (pool.real(0.0), pool.real(1.0));
            let none = pool.op(Op::Eq, &[z, zero]);
            let inverse = pool.op(Op::Div, &[one, z]);
            let scale = pool.select(none, zero, inverse);
            let scale = self.map("scale", &head, scale);
            if let (Some(exp), Some(scale), Some(lse)) =
                (self.read_of(e), self.read_of(scale), self.read_of(lse))
            {
                self.parts.softmax.insert(lse, vec![Softmax { exp, scale }]);
            }
        }
        lse
    }

    fn read_of(&self, id: Id) -> Option<PartId> {
        match self.parts.pool.node(id) {
            Node::Read {
                from: Source::Part(p),
                ..
            } => Some(*p),
            _ => None,
        }
    }

    /// `s * sqrt(sum (x / s)^2)` with s the largest magnitude, 1 where that is 0 or infinite: no overflow, no underflow.
    fn norm(&mut self, axes: &[AxisId], guard: Option<Id>, x: Id) -> Id {
        let head = self.free_head(axes, [Some(x), guard]);
        let size = self.parts.pool.op(Op::Abs, &[x]);
        let m = self.fold(FoldOp::Max, axes, guard, size);
        let pool = &mut self.parts.pool;
        let (zero, one, inf) = (pool.real(0.0), pool.real(1.0), pool.real(f64::INFINITY));
        let low = pool.op(Op::Gt, &[m, zero]);
        let high = pool.op(Op::Lt, &[m, inf]);
        let usual = pool.op(Op::And, &[low, high]);
        let s = pool.select(usual, m, one);
        let s = self.map("largest", &head, s);
        let pool = &mut self.parts.pool;
        let q = pool.op(Op::Div, &[x, s]);
        let q = pool.op(Op::Mul, &[q, q]);
        let sum = self.fold(FoldOp::Sum, axes, guard, q);
        let pool = &mut self.parts.pool;
        let root = pool.op(Op::Sqrt, &[sum]);
        pool.op(Op::Mul, &[s, root])
    }

    /// The free axes of some expressions but for `axes`, in the order of the definition's head.
    fn free_head(&self, axes: &[AxisId], of: impl IntoIterator<Item = Option<Id>>) -> Vec<AxisId> {
        let mut free: Vec<AxisId> = vec![];
        for id in of.into_iter().flatten() {
            free.extend(
                self.parts
                    .pool
                    .free(id)
                    .iter()
                    .filter(|a| !axes.contains(a)),
            );
        }
        let place = |a: &AxisId| {
            (
                self.head.iter().position(|b| b == a).unwrap_or(usize::MAX),
                *a,
            )
        };
        free.sort_unstable_by_key(place);
        free.dedup();
        free
    }

    /// `op[axes if guard](body)` as a part; the read of it.
    fn fold(&mut self, op: FoldOp, axes: &[AxisId], guard: Option<Id>, body: Id) -> Id {
        let head = self.free_head(axes, [Some(body), guard]);
        self.part(Kind::Fold(op), "", &head, axes, guard, body)
    }

    /// `body` over `head` as a part; the read of it.
    fn map(&mut self, name: &str, head: &[AxisId], body: Id) -> Id {
        self.part(Kind::Map, name, head, &[], None, body)
    }

    fn part(
        &mut self,
        kind: Kind,
        name: &str,
        head: &[AxisId],
        over: &[AxisId],
        guard: Option<Id>,
        body: Id,
    ) -> Id {
        let index: Box<[Id]> = head.iter().map(|&a| self.parts.pool.axis(a)).collect();
        let mut used: Vec<(ExtentIndex, usize)> = vec![];
        let mut renamed: Vec<(AxisId, Id)> = vec![];
        let mut rename = |this: &mut Self, axis: AxisId| {
            let extent = this.parts.pool.extent(axis);
            let k = match used.iter_mut().find(|(e, _)| *e == extent) {
                Some((_, k)) => {
                    *k += 1;
                    *k
                }
                None => {
                    used.push((extent, 0));
                    0
                }
            };
            let pool = &mut this.parts.pool;
            let canonical = *this.canonical.entry((extent, k)).or_insert_with(|| {
                let hint = pool.axes[axis.index()].0.clone();
                pool.new_axis(hint, extent)
            });
            renamed.push((axis, this.parts.pool.axis(canonical)));
            canonical
        };
        let head: Vec<AxisId> = head.iter().map(|&a| rename(self, a)).collect();
        let over: Vec<AxisId> = over.iter().map(|&a| rename(self, a)).collect();
        let pool = &mut self.parts.pool;
        let body = pool.subst(body, &renamed);
        let guard = guard.map(|g| pool.subst(g, &renamed));
        let mut key = Key {
            kind,
            at: head.iter().map(|&a| pool.axis(a)).collect(),
            head,
            over,
            guard,
            body,
        };
        find_scatter(pool, &mut key);
        if let Some(&id) = self.shared.get(&key) {
            return self.parts.pool.read(Source::Part(id), index);
        }
        let ty = match kind {
            Kind::Map => pool.ty(key.body),
            Kind::Fold(FoldOp::Count | FoldOp::ArgMax | FoldOp::ArgMin) => Type::Int,
            Kind::Fold(_) => pool.ty(key.body),
        };
        let name: Arc<str> = if name.is_empty() {
            self.name.clone()
        } else {
            name.into()
        };
        let part = Part {
            name,
            ty,
            kind,
            head: key.head.clone(),
            over: key.over.clone(),
            at: key.at.clone(),
            guard: key.guard,
            body: key.body,
            output: None,
            into: None,
        };
        let id = self.parts.add(part);
        self.shared.insert(key, id);
        self.parts.pool.read(Source::Part(id), index)
    }
}

/// A conjunct `e == A` of a guard, A in the head and e free of A: the fold adds at `A := e`.
fn find_scatter(pool: &mut Pool, key: &mut Key) {
    if !matches!(key.kind, Kind::Fold(op) if !matches!(op, FoldOp::ArgMax | FoldOp::ArgMin)) {
        return;
    }
    let mut guards = pool.conjuncts(key.guard);
    let mut k = 0;
    while k < guards.len() {
        let Some((axis, to)) = bracket(pool, guards[k], &key.head) else {
            k += 1;
            continue;
        };
        let position = key.head.iter().position(|&a| a == axis).unwrap_or(0);
        let data = pool.free(to).iter().any(|a| key.over.contains(a));
        if !data
            || key.at[position] != pool.axis(axis)
            || key
                .at
                .iter()
                .any(|&i| i != key.at[position] && pool.has(i, axis))
        {
            k += 1;
            continue;
        }
        guards.remove(k);
        let elsewhere = pool.has(key.body, axis)
            || pool.partial(key.body)
            || guards.iter().any(|&g| pool.has(g, axis) || pool.partial(g));
        if elsewhere {
            // What speaks of A is evaluated only where e is one.
            let range = in_range(pool, to, pool.extent(axis));
            let (later, mut first): (Vec<Id>, Vec<Id>) = guards
                .drain(..)
                .enumerate()
                .map(|(j, g)| (j >= k, g))
                .fold((vec![], vec![]), |mut split, (after, g)| {
                    let late = after || pool.has(g, axis);
                    if late {
                        split.0.push(g)
                    } else {
                        split.1.push(g)
                    }
                    split
                });
            first.push(range);
            k = first.len();
            first.extend(later.into_iter().map(|g| pool.subst(g, &[(axis, to)])));
            guards = first;
            key.body = pool.subst(key.body, &[(axis, to)]);
        }
        key.at[position] = to;
    }
    key.guard = None;
    for g in guards {
        key.guard = pool.and(key.guard, Some(g));
    }
}

/// `e == A` with A among `head`, e free of it: A and e.
pub(super) fn bracket(pool: &Pool, condition: Id, head: &[AxisId]) -> Option<(AxisId, Id)> {
    let Node::Op(Op::Eq, operands) = pool.node(condition) else {
        return None;
    };
    let [l, r] = operands[..] else { return None };
    let side = |axis: Id, to: Id| match pool.node(axis) {
        Node::Axis(a)
            if head.contains(a) && !pool.has(to, *a) && !matches!(pool.node(to), Node::Int(_)) =>
        {
            Some((*a, to))
        }
        _ => None,
    };
    side(r, l).or_else(|| side(l, r))
}

/// `0 <= index and index < extent`.
pub(super) fn in_range(pool: &mut Pool, index: Id, extent: ExtentIndex) -> Id {
    let zero = pool.int(0);
    let size = match pool.extents[extent.0 as usize] {
        Some(n) => pool.int(n as i64),
        None => pool.mk(Node::Size(extent)),
    };
    let low = pool.op(Op::Ge, &[index, zero]);
    let high = pool.op(Op::Lt, &[index, size]);
    pool.op(Op::And, &[low, high])
}

/// `x^c`; small whole powers are products.
fn power(pool: &mut Pool, x: Id, c: Id) -> Id {
    let square = |pool: &mut Pool| pool.op(Op::Mul, &[x, x]);
    match pool.node(c) {
        Node::Real(c) if c.0 == 1.0 => x,
        Node::Real(c) if c.0 == 2.0 => square(pool),
        Node::Real(c) if c.0 == 3.0 => {
            let s = square(pool);
            pool.op(Op::Mul, &[s, x])
        }
        Node::Real(c) if c.0 == 4.0 => {
            let s = square(pool);
            pool.op(Op::Mul, &[s, s])
        }
        _ => pool.op(Op::Pow, &[x, c]),
    }
}

/// `logsumexp(a, b, ..)` of elements.
fn logsumexp(pool: &mut Pool, x: &[Id]) -> Id {
    let m = x[1..].iter().fold(x[0], |a, &b| pool.op(Op::Max, &[a, b]));
    let shift = pool.mk(Node::Finite(m));
    let terms: Vec<Id> = x
        .iter()
        .map(|&x| {
            let d = pool.op(Op::Sub, &[x, shift]);
            pool.op(Op::Exp, &[d])
        })
        .collect();
    let sum = terms[1..]
        .iter()
        .fold(terms[0], |a, &b| pool.op(Op::Add, &[a, b]));
    let log = pool.op(Op::Log, &[sum]);
    pool.op(Op::Add, &[shift, log])
}
