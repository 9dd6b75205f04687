//! From the loop tree to statements: every value at the outermost place where its operands are known, equal values
//! once, folds in registers or in memory.

use super::align::{Class, Classes};
use super::levels::Tree;
use super::part::{Cell, Kind, Part, Parts};
use super::pool::{Id, Node, PartId, Source};
use super::storage::Layout;
use super::*;
use crate::ir::{AxisId, Op, Type};
use rustc_hash::FxHashMap;

/// A part's expressions over classes instead of its own axes, and how its fold runs.
#[derive(Clone)]
struct Plan {
    guard: Option<Id>,
    body: Id,
    at: Vec<Id>,
    /// The read of the part at the element that is being computed.
    own: Id,
    /// The number of loops around the place where the fold is finished: loops within hold it in registers.
    stop: usize,
    /// Whether it combines into memory.
    table: bool,
    total: bool,
    buffer: Option<BufferId>,
}

#[derive(Default)]
struct Scope {
    block: Block,
    /// What was computed here.
    keys: Vec<(Id, Option<Id>)>,
    class: Option<Class>,
    looped: Option<u32>,
    folds: Vec<FoldId>,
    pending: Vec<(FoldId, PartId)>,
    /// Why this loop cannot have lanes.
    scalar: bool,
}

pub(super) struct Emitter<'a> {
    parts: &'a mut Parts,
    classes: &'a Classes,
    layout: &'a Layout,
    pub loops: Loops,
    plans: Vec<Option<Plan>>,
    /// The pool's axis of each class.
    class_axis: Vec<AxisId>,
    scopes: Vec<Scope>,
    values: FxHashMap<(Id, Option<Id>), ValueId>,
    /// How many loops are around each value.
    depth: Vec<usize>,
    /// Tables to clear before a loop.
    fills: FxHashMap<u32, Vec<PartId>>,
    /// The row of the stage at hand, and whether it writes cells that belong to no row.
    row: Option<Class>,
    crosses_rows: bool,
    /// Parts whose stage is one chunk: in all kernels of the loss, as they add in one order.
    pub one_chunk: Vec<PartId>,
}

impl<'a> Emitter<'a> {
    /// `loops` has extents, params, axes, and the buffers of inputs and outputs; `outputs` says which buffer each
    /// output of the program is, if it is wanted.
    pub fn new(
        parts: &'a mut Parts,
        classes: &'a Classes,
        layout: &'a Layout,
        loops: Loops,
        outputs: &[Option<BufferId>],
        tree: &[Tree],
    ) -> Emitter<'a> {
        let class_axis: Vec<AxisId> = (0..classes.extents.len())
            .map(|k| {
                parts
                    .pool
                    .new_axis(classes.names[k].as_str().into(), classes.extents[k])
            })
            .collect();
        let mut e = Emitter {
            plans: vec![None; parts.parts.len()],
            parts,
            classes,
            layout,
            loops,
            class_axis,
            scopes: vec![],
            values: FxHashMap::default(),
            depth: vec![],
            fills: FxHashMap::default(),
            row: None,
            crosses_rows: false,
            one_chunk: vec![],
        };
        for id in e.parts.ids() {
            let plan = e.plan(id, outputs);
            e.plans[id.index()] = Some(plan);
        }
        let tables = e.table_stages(tree);
        for id in e.parts.ids() {
            e.allocate(id, &tables);
        }
        for id in e.parts.ids() {
            e.share(id);
        }
        e
    }

    fn plan_of(&self, id: PartId) -> &Plan {
        self.plans[id.index()].as_ref().expect("a live part")
    }

    fn plan(&mut self, id: PartId, outputs: &[Option<BufferId>]) -> Plan {
        let part = self.parts.part(id).clone();
        let map: Vec<(AxisId, Id)> = self
            .classes
            .axes(id)
            .iter()
            .filter(|(_, c)| c.0 != u32::MAX)
            .map(|&(a, c)| (a, self.parts.pool.axis(self.class_axis[c.index()])))
            .collect();
        let pool = &mut self.parts.pool;
        let at: Vec<Id> = part.at.iter().map(|&i| pool.subst(i, &map)).collect();
        let own: Vec<Id> = part
            .head
            .iter()
            .map(|a| map.iter().find(|(b, _)| a == b).map_or(at[0], |m| m.1))
            .collect();
        let path: Vec<Class> = self
            .layout
            .place(id)
            .path
            .iter()
            .map(|&l| self.layout.class(l))
            .collect();
        let depth_of = |pool: &super::pool::Pool, i: Id| {
            let axes = pool.free(i).iter();
            let place =
                axes.filter_map(|a| path.iter().position(|c| self.class_axis[c.index()] == *a));
            place.map(|k| k + 1).max().unwrap_or(0)
        };
        let needed = at.iter().map(|&i| depth_of(pool, i)).max().unwrap_or(0);
        let reduced = self.layout.outermost_reduced(self.parts, self.classes, id);
        let fold = !part.is_map();
        let table = fold
            && (part.into.is_some()
                || reduced.is_some_and(|f| needed > f)
                || part.scatters(&self.parts.pool));
        let pool = &mut self.parts.pool;
        let buffer = part.output.as_ref().and_then(|o| outputs[o.which]);
        Plan {
            guard: part.guard.map(|g| pool.subst(g, &map)),
            body: pool.subst(part.body, &map),
            own: pool.read(Source::Part(id), own.into()),
            stop: match (fold, table, reduced) {
                (true, true, _) => needed,
                (true, false, Some(f)) => f,
                _ => path.len(),
            },
            at,
            table,
            total: fold && reduced == Some(0) && part.into.is_none(),
            buffer,
        }
    }

    /// The loop stages that run over nothing but totals: once, on one thread.
    fn table_stages(&self, tree: &[Tree]) -> Vec<u32> {
        let mut out = vec![];
        for t in tree {
            let Tree::Loop { class, body } = t else {
                continue;
            };
            let ids = parts_in(body);
            let (mut tables, mut others) = (false, false);
            for &id in &ids {
                for read in self.parts.reads(id) {
                    let over = read.index.iter().any(|&i| {
                        self.parts
                            .pool
                            .free(i)
                            .iter()
                            .any(|&a| self.classes.of(id, a) == *class)
                    });
                    match read.from {
                        _ if !over => {}
                        Source::Part(p) if ids.contains(&p) => {}
                        Source::Part(p) if self.plan_of(p).total && self.plan_of(p).table => {
                            tables = true
                        }
                        Source::Part(_) | Source::Input(_) => others = true,
                    }
                }
            }
            if let (true, false, Some(&first)) = (tables, others, ids.first()) {
                out.push(self.layout.place(first).stage);
            }
        }
        out
    }

    // ---- buffers

    fn allocate(&mut self, id: PartId, tables: &[u32]) {
        let part = self.parts.part(id);
        let storage = &self.layout.storage[id.index()];
        let plan = self.plan_of(id);
        let place = self.layout.place(id);
        let once = place.path.is_empty() || tables.contains(&place.stage);
        let total = plan.total && !once;
        let memory = plan.table && part.into.is_none();
        if let Some(f) = self.layout.outermost_reduced(self.parts, self.classes, id)
            && memory
            && !total
        {
            self.fills
                .entry(self.layout.place(id).path[f])
                .or_default()
                .push(id);
        }
        let part = self.parts.part(id);
        let needs = self.plan_of(id).buffer.is_none()
            && part.into.is_none()
            && (storage.kept || memory || total);
        let plan = self.plans[id.index()].as_mut().expect("a live part");
        plan.total = total;
        if !needs {
            return;
        }
        let part = self.parts.part(id);
        let op = match part.kind {
            Kind::Fold(FoldOp::Count) => FoldOp::Sum,
            Kind::Fold(op) => op,
            Kind::Map => FoldOp::Sum,
        };
        let arg = matches!(op, FoldOp::ArgMax | FoldOp::ArgMin);
        let carried =
            matches!(op, FoldOp::Sum | FoldOp::Prod) && !part.is_map() && (memory || total);
        let scalar = once && storage.dims.is_empty();
        let elem = match part.ty {
            Type::Real if carried || scalar => Elem::Sum,
            Type::Real => Elem::Real,
            Type::Int => Elem::Int,
            Type::Bool => Elem::Bool,
        };
        let home = match storage.home {
            _ if total && !arg => Home::Total(op),
            0 => Home::Full,
            _ => Home::Row,
        };
        let dims = storage.dims.iter().map(|&k| self.dim(id, k)).collect();
        let name = self.unique(&self.parts.part(id).name);
        self.loops.buffers.push(Buffer {
            name,
            elem,
            home,
            dims,
            shares: None,
        });
        let buffer = BufferId(self.loops.buffers.len() as u32 - 1);
        if let Some(plan) = &mut self.plans[id.index()] {
            plan.buffer = Some(buffer);
        }
    }

    fn share(&mut self, id: PartId) {
        let Some(o) = self.layout.storage[id.index()].shares else {
            return;
        };
        if let (Some(own), Some(output)) = (self.plan_of(id).buffer, self.plan_of(o).buffer) {
            let buffer = &mut self.loops.buffers[own.0 as usize];
            buffer.shares = Some(output);
            buffer.home = Home::Full;
        }
    }

    fn dim(&self, id: PartId, position: usize) -> BufferDim {
        let part = self.parts.part(id);
        let class = self.classes.of(id, part.head[position]);
        BufferDim {
            extent: self.parts.pool.extent(part.head[position]),
            axis: Some(LoopAxisId(class.0)),
        }
    }

    fn unique(&self, name: &str) -> String {
        let base = name.replace(' ', "_");
        let mut name = base.clone();
        let mut k = 1;
        while self.loops.buffers.iter().any(|b| b.name == name) {
            k += 1;
            name = format!("{base}{k}");
        }
        name
    }

    // ---- stages

    pub fn stages(&mut self, tree: &[Tree]) {
        let mut k = 0;
        while k < tree.len() {
            self.values.clear();
            self.scopes = vec![Scope::default()];
            self.crosses_rows = false;
            match &tree[k] {
                Tree::Part(_) => {
                    self.row = None;
                    while let Some(Tree::Part(id)) = tree.get(k) {
                        self.part(*id);
                        k += 1;
                    }
                    let body = std::mem::take(&mut self.scopes[0].block);
                    self.loops.stages.push(Stage::Once(body));
                }
                Tree::Loop { class, body } => {
                    let ids = parts_in(body);
                    let rows = !ids.iter().all(|&id| self.is_once(id, &tree[k]));
                    self.row = rows.then_some(*class);
                    self.tree(&tree[k]);
                    self.crosses_rows |= ids.iter().any(|id| self.one_chunk.contains(id));
                    if self.crosses_rows {
                        self.one_chunk.extend(&ids);
                    }
                    let body = std::mem::take(&mut self.scopes[0].block);
                    let stage = match self.row {
                        Some(class) => Stage::Rows {
                            axis: LoopAxisId(class.0),
                            row_inputs: self.row_inputs(class),
                            single_chunk: self.crosses_rows,
                            body,
                        },
                        None => Stage::Once(body),
                    };
                    self.loops.stages.push(stage);
                    k += 1;
                }
            }
        }
    }

    fn is_once(&self, id: PartId, tree: &Tree) -> bool {
        self.table_stages(std::slice::from_ref(tree))
            .contains(&self.layout.place(id).stage)
    }

    fn row_inputs(&self, class: Class) -> Vec<(BufferId, usize)> {
        let extent = self.classes.extents[class.index()];
        let shapes = self.parts.pool.input_shapes.iter().enumerate();
        shapes
            .filter_map(|(k, (_, shape))| {
                Some((BufferId(k as u32), shape.iter().position(|&e| e == extent)?))
            })
            .collect()
    }

    fn tree(&mut self, tree: &Tree) {
        match tree {
            Tree::Part(id) => self.part(*id),
            Tree::Loop { class, body } => {
                let looped = self.find_loop(body);
                for id in looped
                    .and_then(|l| self.fills.get(&l))
                    .cloned()
                    .unwrap_or_default()
                {
                    self.fill(id);
                }
                self.scopes.push(Scope {
                    class: Some(*class),
                    looped,
                    ..Scope::default()
                });
                let mut leaf = true;
                for t in body {
                    leaf &= matches!(t, Tree::Part(_));
                    self.tree(t);
                }
                self.close(*class, leaf);
            }
        }
    }

    /// The number of the loop that holds these trees: the one around any of its parts at the depth at hand.
    fn find_loop(&self, body: &[Tree]) -> Option<u32> {
        let id = parts_in(body).first().copied()?;
        self.layout
            .place(id)
            .path
            .get(self.scopes.len() - 1)
            .copied()
    }

    fn close(&mut self, class: Class, leaf: bool) {
        let Some(scope) = self.scopes.pop() else {
            return;
        };
        for key in &scope.keys {
            self.values.remove(key);
        }
        let arg = scope.folds.iter().any(|f| {
            matches!(
                self.loops.folds[f.0 as usize].op,
                FoldOp::ArgMax | FoldOp::ArgMin
            )
        });
        let once = self.row.is_none();
        let statement = Stmt::Loop {
            axis: LoopAxisId(class.0),
            direction: Direction::Up,
            lanes: leaf && !scope.scalar && !arg && !once,
            folds: scope.folds,
            body: scope.block,
        };
        self.push(statement);
        let depth = self.scopes.len() - 1;
        for (fold, part) in scope.pending {
            let info = &self.loops.folds[fold.0 as usize];
            let (ty, name) = (info.ty, info.name.clone());
            let value = self.define(depth, Expr::Folded(fold), ty, None);
            self.loops.values[value.0 as usize].name = name;
            self.fold(part, value, None, true);
        }
    }

    fn push(&mut self, statement: Stmt) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.block.push(statement);
        }
    }

    fn fill(&mut self, id: PartId) {
        let plan = self.plan_of(id).clone();
        let (Some(to), Kind::Fold(op)) = (plan.buffer, self.parts.part(id).kind) else {
            return;
        };
        let op = if op == FoldOp::Count { FoldOp::Sum } else { op };
        let dims = self.layout.storage[id.index()].dims.clone();
        let at = dims
            .iter()
            .map(|&k| {
                let class = self.classes.of(id, self.parts.part(id).head[k]);
                let open = self.scopes.iter().any(|s| s.class == Some(class))
                    && self.parts.part(id).bare(&self.parts.pool, k);
                open.then_some(Index::Axis(LoopAxisId(class.0)))
            })
            .collect();
        self.push(Stmt::Fill {
            to,
            at,
            with: Fill::Identity(op),
        });
    }

    // ---- parts

    fn part(&mut self, id: PartId) {
        let plan = self.plan_of(id).clone();
        let part = self.parts.part(id).clone();
        if part.is_map() {
            let value = self.emit(plan.body, None);
            self.name(value, &part);
            self.finish(id, value, None);
            return;
        }
        let guard = plan.guard.map(|g| self.emit(g, None));
        let condition = plan.guard.filter(|_| self.parts.pool.partial(plan.body));
        let value = self.emit(plan.body, condition);
        self.fold(id, value, guard, false);
    }

    fn name(&mut self, value: ValueId, part: &Part) {
        let info = &mut self.loops.values[value.0 as usize];
        if info.name.is_empty() {
            info.name = part.name.clone();
        }
    }

    /// Adds `value` to the fold of a part at the depth at hand: to a register of the innermost loop that it reduces,
    /// or where all of those are closed to its cell.
    fn fold(&mut self, id: PartId, value: ValueId, guard: Option<ValueId>, inner: bool) {
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

    fn is_true(&self, value: ValueId) -> bool {
        let yes = self
            .values
            .iter()
            .find(|(_, v)| **v == value)
            .map(|((id, _), _)| self.parts.pool.node(*id));
        matches!(yes, Some(Node::Bool(true)))
    }

    fn finish_fold(&mut self, id: PartId, value: ValueId, guard: Option<ValueId>, inner: bool) {
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

    fn cells(&mut self, cells: &[Cell], at: &[Id], condition: Option<Id>) -> Vec<Index> {
        cells
            .iter()
            .map(|&c| match c {
                Cell::Head(k) => self.index(at[k], condition),
                Cell::Const(v) => Index::Const(v),
            })
            .collect()
    }

    /// A finished value: known under the part's name here, and stored if it is kept.
    fn finish(&mut self, id: PartId, value: ValueId, fold: Option<FoldOp>) {
        let plan = self.plan_of(id).clone();
        if let Some(to) = plan.buffer {
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

    fn store(
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

    // ---- expressions

    fn remember(&mut self, key: (Id, Option<Id>), value: ValueId) {
        if self.values.insert(key, value).is_none()
            && let Some(scope) = self.scopes.last_mut()
        {
            scope.keys.push(key);
        }
    }

    fn define(
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
        });
        self.depth.push(depth);
        let value = ValueId(self.loops.values.len() as u32 - 1);
        self.scopes[depth].block.push(Stmt::Let(value, expr));
        value
    }

    /// The value of an expression, evaluated where `condition` holds (if it can fail).
    fn emit(&mut self, id: Id, condition: Option<Id>) -> ValueId {
        let condition = condition.filter(|_| self.parts.pool.partial(id));
        if let Some(value) = self.known(id, condition) {
            return value;
        }
        let (depth, expr) =
            stacker::maybe_grow(64 * 1024, 1024 * 1024, || self.expr(id, condition));
        if let Some(&value) = self.values.get(&(id, condition)) {
            return value;
        }
        let value = self.define(
            depth,
            expr,
            self.parts.pool.ty(id),
            self.parts.pool.span(id),
        );
        self.values.insert((id, condition), value);
        self.scopes[depth].keys.push((id, condition));
        value
    }

    /// The value of an expression where `condition` holds, if it is at hand: computed under the same or a weaker
    /// condition.
    fn known(&self, id: Id, condition: Option<Id>) -> Option<ValueId> {
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

    fn deepest(&self, values: &[ValueId]) -> usize {
        values
            .iter()
            .map(|v| self.depth[v.0 as usize])
            .max()
            .unwrap_or(0)
    }

    fn expr(&mut self, id: Id, condition: Option<Id>) -> (usize, Expr) {
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
            } => self.load(from, &index, default, condition),
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
                let when = condition.map(|c| self.emit(c, None));
                let all: Vec<ValueId> = [Some(a), Some(b), when].into_iter().flatten().collect();
                (self.deepest(&all), Expr::Divide { op, a, b, when })
            }
            Node::Op(op, o) => {
                let operands: Vec<ValueId> = o.iter().map(|&o| self.emit(o, condition)).collect();
                (self.deepest(&operands), Expr::Op(op, operands))
            }
            Node::Finite(x) => {
                let x = self.emit(x, condition);
                (self.deepest(&[x]), Expr::Finite(x))
            }
        }
    }

    fn emit_under(&mut self, id: Id, condition: Option<Id>, more: Id) -> ValueId {
        if !self.parts.pool.partial(id) {
            return self.emit(id, None);
        }
        let both = self.parts.pool.and(condition, Some(more));
        self.emit(id, both)
    }

    fn load(
        &mut self,
        from: Source,
        index: &[Id],
        default: Option<Id>,
        condition: Option<Id>,
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
        let checked = default.is_none()
            && index
                .iter()
                .zip(&shape)
                .any(|(&i, &e)| !self.parts.pool.fits(i, e));
        let at: Vec<Index> = match cells {
            Some(cells) => self.cells(&cells, index, condition),
            None => positions
                .iter()
                .map(|&k| self.index(index[k], condition))
                .collect(),
        };
        let or = default.map(|d| self.emit(d, None));
        let when = condition.filter(|_| checked).map(|c| self.emit(c, None));
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
    fn branch(
        &mut self,
        from: Source,
        index: &[Id],
        default: Id,
        condition: Option<Id>,
    ) -> (usize, Expr) {
        let shape = self.parts.pool.shape(from).to_vec();
        let pool = &mut self.parts.pool;
        let mut inside = None;
        for (&i, extent) in index.iter().zip(shape) {
            if !pool.fits(i, extent) {
                let here = super::normalize::in_range(pool, i, extent);
                inside = pool.and(inside, Some(here));
            }
        }
        let read = pool.read(from, index.into());
        let inside = inside.unwrap_or_else(|| pool.mk(Node::Bool(true)));
        let not = pool.op(Op::Not, &[inside]);
        let c = self.emit(inside, condition);
        let a = self.emit_under(read, condition, inside);
        let b = self.emit_under(default, condition, not);
        (self.deepest(&[c, a, b]), Expr::Select(c, a, b))
    }

    /// From which depth on all cells of a part that can be read here are written.
    fn ready(&self, id: PartId) -> usize {
        let path = &self.layout.place(id).path;
        path.iter()
            .zip(&self.scopes[1..])
            .take_while(|(l, s)| s.looped == Some(**l))
            .count()
    }

    fn index(&mut self, id: Id, condition: Option<Id>) -> Index {
        let class = |e: &Self, i: Id| match e.parts.pool.node(i) {
            Node::Axis(a) => e
                .class_axis
                .iter()
                .position(|b| b == a)
                .map(|k| LoopAxisId(k as u32)),
            _ => None,
        };
        if let Some(axis) = class(self, id) {
            return Index::Axis(axis);
        }
        match self.parts.pool.node(id) {
            Node::Int(v) => return Index::Const(*v),
            Node::Op(op @ (Op::Add | Op::Sub), o) => {
                let (a, b) = (o[0], o[1]);
                match (
                    class(self, a),
                    class(self, b),
                    self.parts.pool.node(a),
                    self.parts.pool.node(b),
                    op,
                ) {
                    (Some(axis), _, _, Node::Int(k), Op::Add) => return Index::Shift(axis, *k),
                    (_, Some(axis), Node::Int(k), _, Op::Add) => return Index::Shift(axis, *k),
                    (Some(axis), _, _, Node::Int(k), Op::Sub) => {
                        return Index::Shift(axis, k.wrapping_neg());
                    }
                    _ => {}
                }
            }
            _ => {}
        }
        Index::Value(self.emit(id, condition))
    }
}

fn parts_in(tree: &[Tree]) -> Vec<PartId> {
    let mut out = vec![];
    for t in tree {
        match t {
            Tree::Part(id) => out.push(*id),
            Tree::Loop { body, .. } => out.extend(parts_in(body)),
        }
    }
    out
}
