//! Maps and folds: one part at its place.

use super::*;

impl Emitter<'_> {
    pub(super) fn part(&mut self, id: PartId) {
        let plan = self.plan_of(id).clone();
        let part = self.parts.part(id).clone();
        if part.is_map() {
            let value = self.whole(plan.body, None);
            self.name(value, &part);
            self.finish(id, value, None);
            return;
        }
        match part.kind {
            Kind::Sort => return self.sort(id),
            Kind::Gemm { batch, rows } => return self.gemm(id, batch, rows),
            Kind::Map | Kind::Fold(_) => {}
        }
        let guard = plan.guard.map(|g| self.whole(g, None));
        let condition = plan.guard.filter(|_| self.parts.pool.partial(plan.body));
        let value = self.whole(plan.body, condition);
        self.fold(id, value, guard, false);
    }

    /// A sort of maps that lie in memory, at the place of the axes around it.
    fn sort(&mut self, id: PartId) {
        let part = self.parts.part(id).clone();
        let rows = |e: &mut Self, of: PartId| {
            let plan = e.plan_of(of).clone();
            let dims = e.layout.storage[of.index()].dims.clone();
            let (_, outside) = dims.split_last()?;
            // Their heads are alike, so the positions are this part's.
            let own = e.plan_of(id).at.clone();
            let at: Vec<Index> = outside.iter().map(|&k| e.index(own[k], None)).collect();
            Some((plan.buffer?, at))
        };
        let source = |e: &Self, read: Id| match e.parts.pool.node(read) {
            Node::Read {
                from: Source::Part(p),
                ..
            } => Some(*p),
            _ => None,
        };
        let kept = part.guard.and_then(|g| source(self, g));
        let kept = kept.and_then(|p| rows(self, p));
        debug_assert_eq!(kept.is_some(), part.guard.is_some());
        let keys = source(self, part.body).and_then(|p| rows(self, p));
        let (Some((into, at)), Some((keys, keys_at))) = (rows(self, id), keys) else {
            debug_assert!(false, "{} has no memory", part.name);
            return;
        };
        if let Some(scope) = self.scopes.last_mut() {
            scope.scalar = true;
        }
        self.push(Stmt::Sort(Sort {
            into,
            at,
            keys,
            keys_at,
            kept,
        }));
    }

    /// A matrix product of what lies in memory, at the place of the batch axes around it.
    fn gemm(&mut self, id: PartId, batch: usize, rows: usize) {
        let part = self.parts.part(id).clone();
        let at = self.plan_of(id).at.clone();
        let role = |e: &mut Self, axis: AxisId| match part.head.iter().position(|&a| a == axis) {
            Some(k) if k < batch => MatrixDim::At(e.index(at[k], None)),
            Some(k) if k < batch + rows => MatrixDim::Rows,
            Some(_) => MatrixDim::Columns,
            None => MatrixDim::Inner,
        };
        let operand = |e: &mut Self, read: Id| {
            let Node::Read { from, index, .. } = e.parts.pool.node(read).clone() else {
                return None;
            };
            let (buffer, positions) = match from {
                Source::Input(k) => (BufferId(k), (0..index.len()).collect()),
                Source::Part(p) => match e.parts.part(p).output {
                    Some(_) => (e.plan_of(p).buffer?, (0..index.len()).collect()),
                    None => {
                        let dims = e.layout.storage[p.index()].dims.clone();
                        (e.plan_of(p).buffer?, dims)
                    }
                },
            };
            let mut dims = vec![];
            for k in positions {
                let Node::Axis(axis) = *e.parts.pool.node(index[k]) else {
                    return None;
                };
                dims.push(role(e, axis));
            }
            Some(Matrix { buffer, dims })
        };
        let factors = match self.parts.pool.node(part.body).clone() {
            Node::Op(Op::Mul, o) => (operand(self, o[0]), operand(self, o[1])),
            _ => (None, None),
        };
        let dims = match part.output {
            Some(_) => (0..part.head.len()).collect(),
            None => self.layout.storage[id.index()].dims.clone(),
        };
        let dims = dims.iter().map(|&k| role(self, part.head[k])).collect();
        let (Some(buffer), (Some(a), Some(b))) = (self.plan_of(id).buffer, factors) else {
            debug_assert!(false, "{} has no memory", part.name);
            return;
        };
        if let Some(scope) = self.scopes.last_mut() {
            scope.scalar = true;
        }
        let c = Matrix { buffer, dims };
        self.push(Stmt::Gemm(Gemm { c, a, b }));
    }

    pub(super) fn name(&mut self, value: ValueId, part: &Part) {
        let info = &mut self.loops.values[value.0 as usize];
        if info.name.is_empty() {
            info.name = part.name.clone();
        }
    }

    /// Adds `value` to the fold of a part at the depth at hand: to a register of the innermost loop that it reduces,
    /// or where all of those are closed to its cell.
    pub(super) fn fold(&mut self, id: PartId, value: ValueId, guard: Option<ValueId>, inner: bool) {
        let part = self.parts.part(id);
        let Kind::Fold(op) = part.kind else { return };
        let op = if inner && op == FoldOp::Count {
            FoldOp::Sum
        } else {
            op
        };
        let (ty, name) = (part.ty, part.name.clone());
        let plan = self.plan_of(id);
        if self.scopes.len() - 1 <= plan.stop {
            return self.finish_fold(id, value, guard, inner);
        }
        // A count of a guard alone counts the guard.
        let (value, guard) = match guard {
            Some(g) if op == FoldOp::Count && self.is_true(value) => (g, None),
            _ => (value, guard),
        };
        self.loops.folds.push(FoldInfo { op, ty, name });
        let fold = FoldId(self.loops.folds.len() as u32 - 1);
        self.push(Stmt::Fold {
            id: fold,
            value,
            guard,
        });
        if let Some(scope) = self.scopes.last_mut() {
            scope.folds.push(fold);
            scope.pending.push((fold, id));
        }
    }

    pub(super) fn is_true(&self, value: ValueId) -> bool {
        let yes = self
            .values
            .iter()
            .find(|(_, v)| **v == value)
            .map(|((id, _), _)| self.parts.pool.node(*id));
        matches!(yes, Some(Node::Bool(true)))
    }

    pub(super) fn finish_fold(
        &mut self,
        id: PartId,
        value: ValueId,
        guard: Option<ValueId>,
        inner: bool,
    ) {
        let part = self.parts.part(id).clone();
        let Kind::Fold(op) = part.kind else { return };
        let mut value = value;
        if op == FoldOp::Count && !inner {
            let (one, zero) = (self.parts.pool.int(1), self.parts.pool.int(0));
            let one = self.emit(one, None);
            value = if self.is_true(value) {
                one
            } else {
                let zero = self.emit(zero, None);
                let depth = self.scopes.len() - 1;
                self.define(depth, Expr::Select(value, one, zero), Type::Int, None)
            };
        }
        if !self.plan_of(id).table {
            let value = match guard {
                None => value,
                Some(g) => {
                    let identity = self.parts.pool.identity(op, part.ty);
                    let identity = self.emit(identity, None);
                    let depth = self.scopes.len() - 1;
                    self.define(depth, Expr::Select(g, value, identity), part.ty, None)
                }
            };
            return self.finish(id, value, Some(op));
        }
        let plan = self.plan_of(id).clone();
        let op = if op == FoldOp::Count { FoldOp::Sum } else { op };
        let condition = plan.guard.filter(|_| guard.is_some());
        self.places(&plan.at, condition);
        let (to, at) = match part.into {
            Some(target) => {
                let to = self.plan_of(target).buffer;
                let cells = self
                    .parts
                    .part(target)
                    .output
                    .as_ref()
                    .map(|o| o.cell.clone())
                    .unwrap_or_default();
                (to, self.cells(&cells, &plan.at, condition))
            }
            None => {
                let dims = self.layout.storage[id.index()].dims.clone();
                let at = dims
                    .iter()
                    .map(|&k| self.index(plan.at[k], condition))
                    .collect();
                (plan.buffer, at)
            }
        };
        let Some(to) = to else { return };
        self.store(to, at, How::Combine(op), value, guard);
    }

    /// Computes the indices that can fail, so that they are at hand.
    fn places(&mut self, at: &[Id], condition: Option<Id>) {
        for &i in at {
            if self.parts.pool.partial(i) {
                self.whole(i, condition);
            }
        }
    }

    pub(super) fn cells(&mut self, cells: &[Cell], at: &[Id], condition: Option<Id>) -> Vec<Index> {
        cells
            .iter()
            .map(|&c| match c {
                Cell::Head(k) => self.index(at[k], condition),
                Cell::Const(v) => Index::Const(v),
            })
            .collect()
    }

    /// A finished value: known under the part's name here, and stored if it is kept.
    pub(super) fn finish(&mut self, id: PartId, value: ValueId, fold: Option<FoldOp>) {
        let plan = self.plan_of(id).clone();
        if let Some(to) = plan.buffer {
            self.places(&plan.at, None);
            let at = match self.parts.part(id).output.as_ref().map(|o| o.cell.clone()) {
                Some(cells) => self.cells(&cells, &plan.at, None),
                None => {
                    let dims = self.layout.storage[id.index()].dims.clone();
                    dims.iter().map(|&k| self.index(plan.at[k], None)).collect()
                }
            };
            self.store(to, at, How::Set, value, None);
            if matches!(fold, Some(FoldOp::ArgMax | FoldOp::ArgMin)) && plan.total {
                self.crosses_rows = true;
            }
        }
        if !plan.total {
            self.remember((plan.own, None), value);
        }
    }

    pub(super) fn store(
        &mut self,
        to: BufferId,
        at: Vec<Index>,
        how: How,
        value: ValueId,
        guard: Option<ValueId>,
    ) {
        let buffer = &self.loops.buffers[to.0 as usize];
        let shared = buffer.shares.is_some() || matches!(buffer.home, Home::Output | Home::Full);
        if let Some(row) = self.row {
            let owned = at.contains(&Index::Axis(LoopAxisId(row.0)));
            self.crosses_rows |= shared && !owned && self.scopes.len() > 1;
        }
        let depth = self.scopes.len() - 1;
        let computed = at
            .iter()
            .any(|i| matches!(i, Index::Value(v) if self.depth[v.0 as usize] == depth));
        if matches!(how, How::Combine(_))
            && let Some(scope) = self.scopes.last_mut()
        {
            // Lanes may meet in one cell.
            let own = scope.class.map(|c| Index::Axis(LoopAxisId(c.0)));
            scope.scalar |= computed || !own.is_some_and(|own| at.contains(&own));
        }
        self.push(Stmt::Store {
            to,
            at,
            how,
            value,
            guard,
        });
    }
}
