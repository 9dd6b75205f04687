//! Definitions become parts: every reduction is a fold of its own, logsumexp and norm are written out as folds of
//! max, exp and sum, and a bracket in a guard (`sum[N if target == C]`) becomes the place where the fold adds.

mod reduce;
mod scatter;
mod sort;

use scatter::find_scatter;
pub(super) use scatter::{bracket, in_range, size};

use super::part::{Cell, Kind, Output, OutputInfo, Part, Parts, Softmax};
use super::pool::{Id, Node, PartId, Pool, Source};
use super::{ExtentIndex, FoldOp};
use crate::diagnostic::Diagnostic;
use crate::ir::{self, AxisId, Body, ExprId, Op, Program, ReduceOp, TensorId, Type};
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// More parts than this are refused.
const MAX_PARTS: usize = 200_000;

/// The parts of all outputs of a program, wanted or not.
pub(super) fn normalize(
    program: &Program,
    pool: Pool,
    extent_index: &[ExtentIndex],
    order: &[Vec<TensorId>],
) -> Result<Parts, Diagnostic> {
    let parts = Parts {
        pool,
        parts: vec![],
        softmax: FxHashMap::default(),
        outputs: vec![],
        wide: false,
        narrow: vec![],
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
        steps: false,
        shared: FxHashMap::default(),
        canonical: FxHashMap::default(),
        conditions: vec![],
        name: "".into(),
        head: vec![],
    };
    let recurrent =
        |group: &[TensorId]| group.len() > 1 || program.reads(group[0]).contains(&group[0]);
    n.steps = order.iter().any(|group| recurrent(group));
    for group in order {
        if recurrent(group) {
            group.iter().for_each(|&tensor| n.declare(tensor));
        }
        for &tensor in group {
            n.define(tensor)?;
        }
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
    /// Whether there are recurrences.
    steps: bool,
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
        self.name = t.name.clone();
        self.head = t.head.clone();
        let root = match self.program.body(tensor) {
            Some(Body::Expr(root)) => *root,
            Some(Body::Argsort { along, guard, key }) => {
                return self.sort(tensor, *along, *guard, *key);
            }
            Some(Body::Grad { .. }) | None => {
                let title = format!("a gradient within is not compiled yet: `{}`", t.name);
                return Err(match t.span {
                    Some(span) => Diagnostic::error(title).at(span, ""),
                    None => Diagnostic::error(title),
                });
            }
        };
        let body = self.convert(root)?;
        if let Some(&declared) = self.of_tensor.get(&tensor) {
            if let Some(part) = &mut self.parts.parts[declared.index()] {
                part.body = body;
            }
            return Ok(());
        }
        let part = self.definition(tensor, body);
        let id = self.parts.add(part);
        self.of_tensor.insert(tensor, id);
        Ok(())
    }

    /// The part of a definition that is read before its body is known: one of a recurrence.
    fn declare(&mut self, tensor: TensorId) {
        let unknown = self.parts.pool.real(f64::NAN);
        let part = match self.program.body(tensor) {
            Some(Body::Expr(_)) => self.definition(tensor, unknown),
            Some(Body::Argsort { .. }) => self.sorted(tensor, None, unknown),
            Some(Body::Grad { .. }) | None => return,
        };
        let id = self.parts.add(part);
        self.of_tensor.insert(tensor, id);
    }

    fn definition(&mut self, tensor: TensorId, body: Id) -> Part {
        let t = self.program.get(tensor);
        Part {
            name: t.name.clone(),
            ty: t.ty,
            kind: Kind::Map,
            head: t.head.clone(),
            over: vec![],
            at: t.head.iter().map(|&a| self.parts.pool.axis(a)).collect(),
            guard: None,
            body,
            output: None,
            into: None,
        }
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
                let mut index = self.convert_all(index)?;
                self.sorted_last(*tensor, &mut index);
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
            Op::LogSumExp => {
                let (largest, log) = logsumexp(pool, &operands);
                let sum = pool.op(Op::Add, &[largest, log]);
                let head = self.free_head(&[], [Some(sum)]);
                // What can fail must not be computed where this is not.
                let here = self.conditions.is_empty() && head.len() == self.head.len();
                if self.steps || !here && self.parts.pool.partial(sum) {
                    return Ok(sum);
                }
                self.log_sum(&head, largest, log).0
            }
            Op::Add | Op::Mul | Op::Max | Op::Min | Op::And | Op::Or if operands.len() > 2 => {
                operands[1..]
                    .iter()
                    .fold(operands[0], |a, &b| pool.op(op, &[a, b]))
            }
            Op::Pow => power(pool, operands[0], operands[1]),
            _ => pool.op(op, &operands),
        })
    }
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

/// `logsumexp(a, b, ..)` of elements: `fin m + log1p(sum of exp(x - fin m) over the others)` with m the largest, since
/// `log(1 + e^-40)` would lose what `log1p(e^-40)` keeps. Its two terms.
fn logsumexp(pool: &mut Pool, x: &[Id]) -> (Id, Id) {
    let (mut m, mut others) = (x[0], vec![]);
    for &x in &x[1..] {
        others.push(pool.op(Op::Min, &[m, x]));
        m = pool.op(Op::Max, &[m, x]);
    }
    let shift = pool.mk(Node::Finite(m));
    let mut sum: Option<Id> = None;
    for x in others {
        let d = pool.op(Op::Sub, &[x, shift]);
        let e = pool.op(Op::Exp, &[d]);
        sum = Some(match sum {
            None => e,
            Some(s) => pool.op(Op::Add, &[s, e]),
        });
    }
    let sum = sum.unwrap_or_else(|| pool.real(0.0));
    // The first term is not `shift`: of nothing but -inf it is -inf.
    (m, pool.op(Op::Log1p, &[sum]))
}
