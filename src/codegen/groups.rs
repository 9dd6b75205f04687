//! Short rows: several at a time, one in each lane.
//!
//! Where a row's reductions run over few elements, most of its time goes into the ends of lane loops: tails, sums over
//! lanes, a logarithm for one number. The rows of a group are the lanes instead, and the loops over a row's elements go
//! one element at a time. Sums keep the order of a lane loop, so that a row has the same bits in a group and alone: what
//! is left of a chunk's rows goes through the ordinary code.

use super::lanes::Lanes;
use super::layout::root;
use super::stage::{Gen, Place, Result};
use super::weight::{reload_after, vectors_in_flight, weight};
use crate::loops::{
    BufferId, Direction, Expr, ExtentIndex, FoldId, FoldOp, Home, How, Index, LoopAxisId, Loops,
    Stage, Stmt,
};
use cranelift::frontend::Variable;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{Block, InstBuilder, Value};

/// Rows of more elements are lanes themselves.
pub const SHORT_ROW: u64 = 24;
/// Fewer rows are not worth the code.
pub const MANY_ROWS: u64 = 64;

/// The extents that must be short for a stage's rows to go in groups; nothing where they cannot.
pub fn short_extents(loops: &Loops, stage: &Stage) -> Option<Vec<ExtentIndex>> {
    let Stage::Rows {
        axis,
        body,
        single_chunk: false,
        ..
    } = stage
    else {
        return None;
    };
    let mut search = Search {
        loops,
        rows: *axis,
        short: vec![],
        tables: vec![],
    };
    for stmt in body {
        if let Stmt::Loop {
            axis: over,
            lanes: false,
            body,
            folds,
            direction: Direction::Up,
        } = stmt
            && over == axis
        {
            let plain = search.folds(folds) && body.iter().all(|s| search.row(s));
            if !plain {
                return None;
            }
        }
    }
    (!search.short.is_empty()).then_some(search.short)
}

/// Whether rows go in groups: their statements are lane loops and straight code, and whatever several rows store to is
/// stored to in the order of the rows.
struct Search<'a> {
    loops: &'a Loops,
    rows: LoopAxisId,
    /// The extents of reductions so far.
    short: Vec<ExtentIndex>,
    /// What several rows store to.
    tables: Vec<BufferId>,
}

impl Search<'_> {
    fn folds(&self, folds: &[FoldId]) -> bool {
        let plain = |f: &FoldId| {
            let info = self.loops.folds.get(f.0 as usize);
            info.is_some_and(|f| !matches!(f.op, FoldOp::ArgMax | FoldOp::ArgMin))
        };
        folds.iter().all(plain)
    }

    /// A statement of a row.
    fn row(&mut self, stmt: &Stmt) -> bool {
        match stmt {
            Stmt::Loop {
                axis,
                direction: Direction::Up,
                lanes: true,
                folds,
                body,
            } => {
                if !folds.is_empty() {
                    self.short.push(self.loops.axes[axis.0 as usize].extent);
                }
                self.folds(folds) && body.iter().all(|s| self.element(s))
            }
            Stmt::Store { to, at, how, .. } if !at.contains(&Index::Axis(self.rows)) => {
                let table = root(self.loops, *to);
                let first = !self.tables.contains(&table);
                self.tables.push(table);
                let chosen = at.iter().any(|i| matches!(i, Index::Value(_)));
                first && chosen && matches!(how, How::Combine(_)) && !self.own(to)
            }
            _ => self.element(stmt),
        }
    }

    /// A statement of an element of a row.
    fn element(&self, stmt: &Stmt) -> bool {
        match stmt {
            Stmt::Let(_, Expr::Load { from, .. }) => !self.own(from),
            Stmt::Let(..) | Stmt::Fold { .. } => true,
            Stmt::Store { to, at, .. } => at.contains(&Index::Axis(self.rows)) && !self.own(to),
            Stmt::Loop { .. } | Stmt::Fill { .. } | Stmt::Sort(_) | Stmt::Gemm(_) => false,
        }
    }

    /// Whether a buffer holds one row at a time.
    fn own(&self, buffer: &BufferId) -> bool {
        let home = self.loops.buffers[root(self.loops, *buffer).0 as usize].home;
        matches!(home, Home::Row)
    }
}

/// The loop over a stage's rows.
pub(super) struct Rows<'u> {
    pub axis: LoopAxisId,
    pub index: Variable,
    /// The row at hand and one past the last.
    pub at: Value,
    pub end: Value,
    pub head: Block,
    pub folds: &'u [FoldId],
    pub body: &'u [Stmt],
}

impl<'u, 'f> Gen<'u, 'f> {
    /// Whether a lane loop is open whose lanes are rows.
    pub(super) fn in_group(&self) -> bool {
        self.lane_loop.as_ref().is_some_and(|l| l.group)
    }

    /// Where a whole group of rows is left: the group, and back to the loop's head. The code goes on with a single row.
    pub(super) fn group(&mut self, rows: &Rows<'u>) -> Result<()> {
        let weight = weight(rows.body);
        self.copies = vectors_in_flight(weight, true, self.variant).min(2);
        self.reload = reload_after(weight);
        let lanes = (self.copies * self.width.lanes()) as i64;
        let next = self.b.ins().iadd_imm_s(rows.at, lanes);
        let whole = self
            .b
            .ins()
            .icmp(IntCC::SignedLessThanOrEqual, next, rows.end);
        let [group, one] = [0; 2].map(|_| self.b.create_block());
        self.b.ins().brif(whole, group, &[], one, &[]);
        self.enter(group);
        self.lane_loop = Some(Lanes {
            axis: rows.axis,
            index: rows.at,
            end: next,
            top: false,
            group: true,
            streams: vec![],
            stored: vec![],
            pending: vec![],
        });
        self.places.push((rows.axis, Place::Lanes));
        let known = self.known.enter();
        self.homes.next_stretch();
        self.block(rows.body)?;
        self.homes.next_stretch();
        self.known.leave(known);
        self.drop_waiting();
        self.places.pop();
        self.lane_loop = None;
        self.copies = 1;
        for &f in rows.folds {
            self.count_rows(f, lanes)?;
        }
        self.b.def_var(rows.index, next);
        self.b.ins().jump(rows.head, &[]);
        self.enter(one);
        Ok(())
    }
}
