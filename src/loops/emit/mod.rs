//! From the loop tree to statements: every value at the outermost place where its operands are known, equal values
//! once, folds in registers or in memory.

mod buffers;
mod checks;
mod expr;
mod parts;
mod stages;

use super::align::{Class, Classes};
use super::levels::Tree;
use super::part::{Cell, Kind, Part, Parts};
use super::pool::{Id, Node, PartId, Pool, Source};
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
        for id in e.parts.ids() {
            e.allocate(id);
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
        let depth_of = |pool: &Pool, i: Id| {
            let axes = pool.free(i).iter();
            let place =
                axes.filter_map(|a| path.iter().position(|c| self.class_axis[c.index()] == *a));
            place.map(|k| k + 1).max().unwrap_or(0)
        };
        let needed = at.iter().map(|&i| depth_of(pool, i)).max().unwrap_or(0);
        let reduced = self.layout.outermost_reduced(self.parts, self.classes, id);
        let fold = part.is_fold();
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
