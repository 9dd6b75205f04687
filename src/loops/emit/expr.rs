//! Expressions: values at the outermost place where their operands are known.

use super::*;
use crate::loops::normalize::size;

impl Emitter<'_> {
    pub(super) fn remember(&mut self, key: (Id, Option<Id>), value: ValueId) {
        if self.values.insert(key, value).is_none()
            && let Some(scope) = self.scopes.last_mut()
        {
            scope.keys.push(key);
        }
    }

    pub(super) fn define(
        &mut self,
        depth: usize,
        expr: Expr,
        ty: Type,
        span: Option<crate::ast::Span>,
    ) -> ValueId {
        self.loops.values.push(ValueInfo {
            ty,
            span,
            name: "".into(),
            place_of: None,
        });
        self.depth.push(depth);
        let value = ValueId(self.loops.values.len() as u32 - 1);
        self.scopes[depth].block.push(Stmt::Let(value, expr));
        value
    }

    /// The value of an expression, evaluated where `condition` holds (if it can fail).
    pub(super) fn emit(&mut self, id: Id, condition: Option<Id>) -> ValueId {
        let condition = condition.filter(|_| self.parts.pool.partial(id));
        if let Some(value) = self.emit_known(id, condition) {
            return value;
        }
        let effective = self.effective(id, condition);
        if let Some(value) = self.known(id, effective) {
            return value;
        }
        let (depth, expr) =
            stacker::maybe_grow(64 * 1024, 1024 * 1024, || self.expr(id, condition));
        if let Some(&value) = self.values.get(&(id, effective)) {
            return value;
        }
        let value = self.define(
            depth,
            expr,
            self.parts.pool.ty(id),
            self.parts.pool.span(id),
        );
        self.loops.values[value.0 as usize].place_of = self.parts.pool.place_of(id);
        self.values.insert((id, effective), value);
        self.scopes[depth].keys.push((id, effective));
        value
    }

    /// What the conditions of a place decide: a branch, a condition, or that a read is in range; it then depends on
    /// nothing else, so that it is the same value wherever that holds.
    fn emit_known(&mut self, id: Id, condition: Option<Id>) -> Option<ValueId> {
        let known = self.parts.pool.conjuncts(Some(condition?));
        let node = self.parts.pool.node(id).clone();
        let holds = |e: &Self, c: Id| {
            let all = e.parts.pool.conjuncts(Some(c));
            all.iter().all(|c| known.contains(c))
        };
        match node {
            Node::If(c, a, b) => {
                if holds(self, c) {
                    return Some(self.emit(a, condition));
                }
                let not = self.parts.pool.op(Op::Not, &[c]);
                known.contains(&not).then(|| self.emit(b, condition))
            }
            Node::Op(Op::And, o) if holds(self, o[0]) => Some(self.emit(o[1], condition)),
            Node::Op(Op::And, o) if holds(self, o[1]) => Some(self.emit(o[0], condition)),
            Node::Read {
                from,
                index,
                default: None,
            } => {
                let proof = self.proof(from, &index, &known)?;
                if let Some(value) = self.known(id, proof) {
                    return Some(value);
                }
                let (depth, mut expr) = self.load(from, &index, None, (proof, proof));
                if let Expr::Load { checked, .. } = &mut expr {
                    *checked = false;
                }
                let (ty, span) = (self.parts.pool.ty(id), self.parts.pool.span(id));
                let value = self.define(depth, expr, ty, span);
                self.loops.values[value.0 as usize].place_of = self.parts.pool.place_of(id);
                self.values.insert((id, proof), value);
                self.scopes[depth].keys.push((id, proof));
                Some(value)
            }
            _ => None,
        }
    }

    /// The conditions by which all indices of a read are in range.
    pub(super) fn proof(&mut self, from: Source, index: &[Id], known: &[Id]) -> Option<Option<Id>> {
        let shape = self.parts.pool.shape(from).to_vec();
        let mut needed: Vec<Id> = vec![];
        for (&i, extent) in index.iter().zip(shape) {
            if self.parts.pool.partial(i) {
                return None;
            }
            needed.extend(self.parts.pool.proof(i, extent, known)?);
        }
        if needed.iter().any(|&c| self.parts.pool.partial(c)) {
            return None;
        }
        // In the order in which they stand, each once.
        let mut all = None;
        for &c in known.iter().filter(|c| needed.contains(c)) {
            all = self.parts.pool.and(all, Some(c));
        }
        Some(all)
    }

    /// The condition of an evaluation that can fail and may move out of loops: a loop that never runs must not fail.
    pub(super) fn effective(&mut self, id: Id, condition: Option<Id>) -> Option<Id> {
        let mut all = condition;
        if !self.parts.pool.partial(id) {
            return all;
        }
        let open: Vec<Class> = self.scopes.iter().filter_map(|s| s.class).collect();
        for class in open {
            let extent = self.classes.extents[class.index()];
            let pool = &mut self.parts.pool;
            // Without rows there is no chunk.
            if self.row == Some(class) || pool.has(id, self.class_axis[class.index()]) {
                continue;
            }
            let (zero, size) = (pool.int(0), size(pool, extent));
            let runs = pool.op(Op::Gt, &[size, zero]);
            if !matches!(pool.node(runs), Node::Bool(true)) {
                all = pool.and(all, Some(runs));
            }
        }
        all
    }

    /// The value of an expression where `condition` holds, if it is at hand: computed under the same or a weaker
    /// condition.
    pub(super) fn known(&self, id: Id, condition: Option<Id>) -> Option<ValueId> {
        let mut weaker = condition;
        loop {
            if let Some(&value) = self.values.get(&(id, weaker)) {
                return Some(value);
            }
            weaker = match self.parts.pool.node(weaker?) {
                Node::Op(Op::And, o) => Some(o[0]),
                _ => None,
            };
        }
    }

    pub(super) fn deepest(&self, values: &[ValueId]) -> usize {
        values
            .iter()
            .map(|v| self.depth[v.0 as usize])
            .max()
            .unwrap_or(0)
    }

    pub(super) fn expr(&mut self, id: Id, condition: Option<Id>) -> (usize, Expr) {
        let node = self.parts.pool.node(id).clone();
        match node {
            Node::Real(r) => (0, Expr::Real(r.0)),
            Node::Int(v) => (0, Expr::Int(v)),
            Node::Bool(v) => (0, Expr::Bool(v)),
            Node::Size(e) => (0, Expr::Size(e)),
            Node::Param(p) => (0, Expr::Param(p)),
            Node::Axis(a) => {
                let class = self.class_axis.iter().position(|&b| b == a).unwrap_or(0);
                let depth = self
                    .scopes
                    .iter()
                    .position(|s| s.class == Some(Class(class as u32)));
                (depth.unwrap_or(0), Expr::Axis(LoopAxisId(class as u32)))
            }
            Node::Read {
                from,
                index,
                default,
            } => {
                let effective = self.effective(id, condition);
                self.load(from, &index, default, (condition, effective))
            }
            Node::If(c, a, b) => {
                let cv = self.emit(c, condition);
                let not = self.parts.pool.op(Op::Not, &[c]);
                let a = self.emit_under(a, condition, c);
                let b = self.emit_under(b, condition, not);
                (self.deepest(&[cv, a, b]), Expr::Select(cv, a, b))
            }
            Node::Op(op @ (Op::And | Op::Or), o) => {
                let a = self.emit(o[0], condition);
                let under = if op == Op::And {
                    o[0]
                } else {
                    self.parts.pool.op(Op::Not, &[o[0]])
                };
                let b = self.emit_under(o[1], condition, under);
                (self.deepest(&[a, b]), Expr::Op(op, vec![a, b]))
            }
            Node::Op(op @ (Op::IntDiv | Op::Mod), o) => {
                let (a, b) = (self.emit(o[0], condition), self.emit(o[1], condition));
                let when = match self.is_never(condition) {
                    true => {
                        let zero = self.parts.pool.int(0);
                        Some(self.parts.pool.op(Op::Ne, &[o[1], zero]))
                    }
                    false => self.effective(id, condition),
                };
                let under = condition.filter(|_| self.is_never(condition));
                let when = when.map(|c| self.emit(c, under));
                let all: Vec<ValueId> = [Some(a), Some(b), when].into_iter().flatten().collect();
                (self.deepest(&all), Expr::Divide { op, a, b, when })
            }
            Node::Op(op, o) => {
                let operands: Vec<ValueId> = o.iter().map(|&o| self.emit(o, condition)).collect();
                (self.deepest(&operands), Expr::Op(op, operands))
            }
            Node::Found(x) => {
                let index = self.emit(x, condition);
                let when = self.effective(id, condition);
                let under = condition.filter(|_| self.is_never(condition));
                let when = when.map(|c| self.emit(c, under));
                let all: Vec<ValueId> = [index].into_iter().chain(when).collect();
                (self.deepest(&all), Expr::Found { index, when })
            }
            Node::Finite(x) => {
                let x = self.emit(x, condition);
                (self.deepest(&[x]), Expr::Finite(x))
            }
        }
    }

    pub(super) fn emit_under(&mut self, id: Id, condition: Option<Id>, more: Id) -> ValueId {
        if !self.parts.pool.partial(id) {
            return self.emit(id, None);
        }
        let both = self.parts.pool.and(condition, Some(more));
        self.emit(id, both)
    }

    pub(super) fn load(
        &mut self,
        from: Source,
        index: &[Id],
        default: Option<Id>,
        (condition, effective): (Option<Id>, Option<Id>),
    ) -> (usize, Expr) {
        let shape = self.parts.pool.shape(from).to_vec();
        let (buffer, positions, ready) = match from {
            Source::Input(k) => (BufferId(k), (0..index.len()).collect(), 0),
            Source::Part(p) => {
                let plan = self.plan_of(p);
                let positions = match self.parts.part(p).output {
                    Some(_) => (0..index.len()).collect(),
                    None => self.layout.storage[p.index()].dims.clone(),
                };
                // The values of what is registers only are known already.
                debug_assert!(
                    plan.buffer.is_some(),
                    "{} has no memory",
                    self.parts.part(p).name
                );
                (plan.buffer.unwrap_or(BufferId(0)), positions, self.ready(p))
            }
        };
        let cells = match from {
            Source::Part(p) => self.parts.part(p).output.as_ref().map(|o| o.cell.clone()),
            Source::Input(_) => None,
        };
        if let Some(d) = default
            && self.parts.pool.partial(d)
        {
            return self.branch(from, index, d, condition);
        }
        let fits = index
            .iter()
            .zip(&shape)
            .all(|(&i, &e)| self.parts.pool.fits(i, e));
        // Where nothing can fail, 0 is read beyond the end.
        let default = match default {
            None if !fits && self.is_never(effective) => {
                let pool = &mut self.parts.pool;
                let ty = match from {
                    Source::Input(k) => pool.input_shapes[k as usize].0,
                    Source::Part(p) => pool.part_shapes[p.index()].0,
                };
                Some(match ty {
                    Type::Bool => pool.mk(Node::Bool(false)),
                    Type::Int | Type::Real => pool.identity(FoldOp::Sum, ty),
                })
            }
            default => default,
        };
        let checked = default.is_none() && !fits;
        let at: Vec<Index> = match cells {
            Some(cells) => self.cells(&cells, index, condition),
            None => positions
                .iter()
                .map(|&k| self.index(index[k], condition))
                .collect(),
        };
        let or = default.map(|d| self.emit(d, None));
        let under = condition.filter(|_| self.is_never(condition));
        let when = effective.filter(|_| checked).map(|c| self.emit(c, under));
        let mut depth = ready.max(self.deepest(&or.into_iter().chain(when).collect::<Vec<_>>()));
        for i in &at {
            depth = depth.max(match i {
                Index::Axis(a) | Index::Shift(a, _) => self
                    .scopes
                    .iter()
                    .position(|s| s.class == Some(Class(a.0)))
                    .unwrap_or(0),
                Index::Const(_) => 0,
                Index::Value(v) => self.depth[v.0 as usize],
            });
        }
        (
            depth,
            Expr::Load {
                from: buffer,
                at,
                when,
                or,
                checked,
            },
        )
    }

    /// A read with a default that can fail itself: a branch.
    pub(super) fn branch(
        &mut self,
        from: Source,
        index: &[Id],
        default: Id,
        condition: Option<Id>,
    ) -> (usize, Expr) {
        let pool = &mut self.parts.pool;
        let read = pool.read(from, index.into());
        let inside = super::checks::all_in_range(pool, from, index);
        if matches!(pool.node(inside), Node::Bool(true)) {
            return self.load(from, index, None, (condition, condition));
        }
        let not = pool.op(Op::Not, &[inside]);
        let c = self.emit(inside, condition);
        let a = self.emit_under(read, condition, inside);
        let b = self.emit_under(default, condition, not);
        (self.deepest(&[c, a, b]), Expr::Select(c, a, b))
    }

    /// From which depth on all cells of a part that can be read here are written.
    pub(super) fn ready(&self, id: PartId) -> usize {
        let path = &self.layout.place(id).path;
        path.iter()
            .zip(&self.scopes[1..])
            .take_while(|(l, s)| s.looped == Some(**l))
            .count()
    }

    pub(super) fn index(&mut self, id: Id, condition: Option<Id>) -> Index {
        if let Some((axis, by)) = self.parts.pool.shift(id)
            && let Some(class) = self.class_axis.iter().position(|a| *a == axis)
        {
            let axis = LoopAxisId(class as u32);
            return match by {
                0 => Index::Axis(axis),
                by => Index::Shift(axis, by),
            };
        }
        if let Node::Int(k) = self.parts.pool.node(id) {
            return Index::Const(*k);
        }
        Index::Value(self.emit(id, condition))
    }
}
