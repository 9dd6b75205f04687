//! What must hold of loops, whoever made them. It runs after scheduling in builds with debug assertions.

mod visible;

use super::block::{each_statement, each_use};
use super::*;

/// The first element of a matrix.
fn fixed(m: &Matrix) -> Vec<Index> {
    let index = |d: &MatrixDim| match d {
        MatrixDim::At(i) => i.clone(),
        MatrixDim::Rows | MatrixDim::Columns | MatrixDim::Inner => Index::Const(0),
    };
    m.dims.iter().map(index).collect()
}

/// Checks the invariants that code generation relies on.
///
/// # Errors
/// The first one that does not hold, as a sentence.
pub fn verify(loops: &Loops) -> Result<(), String> {
    let mut v = Verifier {
        loops,
        defined: vec![false; loops.values.len()],
        lanes: vec![false; loops.values.len()],
        open: vec![],
        folds: vec![],
        finished: vec![false; loops.folds.len()],
        stored: vec![false; loops.buffers.len()],
        written: vec![false; loops.buffers.len()],
        orders: vec![None; loops.buffers.len()],
        row: None,
        single_chunk: false,
        totals: vec![],
    };
    for (k, buffer) in loops.buffers.iter().enumerate() {
        v.written[k] = buffer.home == Home::Input;
        v.stored[k] = buffer.home == Home::Input;
        v.buffer(buffer)?;
    }
    // Where a load stands in the text, its buffer may be written further down, in earlier steps of a loop around both.
    for stage in &loops.stages {
        each_statement(stage.body(), &mut |s| {
            if let Some(to) = s.writes() {
                v.stored[to.0 as usize] = true;
            }
        });
    }
    for stage in &loops.stages {
        v.stage(stage)?;
    }
    visible::check(loops)?;
    match loops.outputs.iter().find(|b| !v.written[b.0 as usize]) {
        Some(b) => Err(format!("output {} is never written", v.name(*b))),
        None => Ok(()),
    }
}

struct OpenLoop {
    axis: LoopAxisId,
    lanes: bool,
    folds: Vec<FoldId>,
}

struct Verifier<'a> {
    loops: &'a Loops,
    defined: Vec<bool>,
    /// Whether a value differs from lane to lane.
    lanes: Vec<bool>,
    open: Vec<OpenLoop>,
    /// Folds of open loops.
    folds: Vec<FoldId>,
    /// Folds whose loop is closed.
    finished: Vec<bool>,
    /// Buffers that some statement writes.
    stored: Vec<bool>,
    /// Buffers that some statement before has written.
    written: Vec<bool>,
    /// Buffers that a sort has filled, and of how many elements their permutations are.
    orders: Vec<Option<ExtentIndex>>,
    row: Option<LoopAxisId>,
    single_chunk: bool,
    /// Totals that the stage at hand adds to: complete only after it.
    totals: Vec<BufferId>,
}

impl Verifier<'_> {
    fn name(&self, b: BufferId) -> &str {
        &self.loops.buffers[b.0 as usize].name
    }

    fn buffer(&self, buffer: &Buffer) -> Result<(), String> {
        let Some(host) = buffer.shares else {
            return Ok(());
        };
        let host = &self.loops.buffers[host.0 as usize];
        let extents = |b: &Buffer| b.dims.iter().map(|d| d.extent).collect::<Vec<_>>();
        let fits = host.elem == buffer.elem
            && extents(host) == extents(buffer)
            && (host.home == Home::Output || host.home == Home::Full)
            && host.shares.is_none();
        if fits {
            Ok(())
        } else {
            Err(format!(
                "{} cannot share the memory of {}",
                buffer.name, host.name
            ))
        }
    }

    fn stage(&mut self, stage: &Stage) -> Result<(), String> {
        self.totals.clear();
        match stage {
            Stage::Once(body) => {
                self.row = None;
                self.block(body)
            }
            Stage::Rows {
                axis,
                single_chunk,
                body,
                ..
            } => {
                self.row = Some(*axis);
                self.single_chunk = *single_chunk;
                let is_row = |s: &&Stmt| matches!(s, Stmt::Loop { axis: a, .. } if a == axis);
                if body.iter().filter(is_row).count() != 1 {
                    return Err("a stage has not exactly one loop over its rows".into());
                }
                let other = body.iter().find(|s| {
                    !matches!(s, Stmt::Let(..) | Stmt::Store { .. } | Stmt::Fill { .. })
                        && !is_row(s)
                });
                if other.is_some() {
                    return Err(
                        "a stage has more than its loop, Lets before it and stores after it".into(),
                    );
                }
                self.block(body)
            }
        }
    }

    fn block(&mut self, block: &Block) -> Result<(), String> {
        let mut here = vec![];
        for s in block {
            let mut problem = None;
            each_use(s, &mut |v| {
                if !self.defined[v.0 as usize] {
                    problem = Some(format!("v{} is used where it is not defined", v.0));
                }
            });
            if let Some(p) = problem {
                return Err(p);
            }
            self.statement(s, &mut here)?;
        }
        for v in here {
            self.defined[v] = false;
        }
        Ok(())
    }

    fn statement(&mut self, s: &Stmt, here: &mut Vec<usize>) -> Result<(), String> {
        match s {
            Stmt::Let(v, e) => {
                self.expr(e)?;
                let mut lanes = matches!(e, Expr::Axis(a) if self.lane_axis() == Some(*a));
                if let Expr::Load { at, .. } = e {
                    lanes |= at.iter().any(|i| self.index_has_lanes(i));
                }
                each_use(s, &mut |u| lanes |= self.lanes[u.0 as usize]);
                let k = v.0 as usize;
                if let Some(extent) = self.loops.values[k].place_of {
                    self.place(e, extent)?;
                }
                if std::mem::replace(&mut self.defined[k], true) {
                    return Err(format!("v{k} is defined twice"));
                }
                self.lanes[k] = lanes;
                here.push(k);
                Ok(())
            }
            Stmt::Loop {
                axis,
                lanes,
                folds,
                body,
                ..
            } => self.looped(*axis, *lanes, folds, body),
            Stmt::Fold { id, .. } => match self.open.last() {
                Some(l) if l.folds.contains(id) => Ok(()),
                _ => Err(format!("fold {} stands outside its loop", id.0)),
            },
            Stmt::Store { to, at, how, .. } => self.store(*to, at, *how),
            Stmt::Fill { to, at, .. } => {
                self.rank(*to, at.len())?;
                self.written[to.0 as usize] = true;
                Ok(())
            }
            Stmt::Sort(sort) => self.sort(sort),
            Stmt::Gemm(gemm) => self.gemm(gemm),
        }
    }

    fn looped(
        &mut self,
        axis: LoopAxisId,
        lanes: bool,
        folds: &[FoldId],
        body: &Block,
    ) -> Result<(), String> {
        if self.open.iter().any(|l| l.axis == axis) {
            return Err("a loop within a loop over the same axis".into());
        }
        if lanes && self.open.iter().any(|l| l.lanes) {
            return Err("lanes within lanes".into());
        }
        self.open.push(OpenLoop {
            axis,
            lanes,
            folds: folds.to_vec(),
        });
        self.folds.extend(folds);
        self.block(body)?;
        self.open.pop();
        self.folds.truncate(self.folds.len() - folds.len());
        for f in folds {
            self.finished[f.0 as usize] = true;
        }
        Ok(())
    }

    fn lane_axis(&self) -> Option<LoopAxisId> {
        self.open.iter().find(|l| l.lanes).map(|l| l.axis)
    }

    fn index_has_lanes(&self, i: &Index) -> bool {
        match i {
            Index::Axis(a) | Index::Shift(a, _) => self.lane_axis() == Some(*a),
            Index::Const(_) => false,
            Index::Value(v) => self.lanes[v.0 as usize],
        }
    }

    fn rank(&self, b: BufferId, rank: usize) -> Result<(), String> {
        let dims = self.loops.buffers[b.0 as usize].dims.len();
        if dims == rank {
            Ok(())
        } else {
            Err(format!("{} has {dims} dims, not {rank}", self.name(b)))
        }
    }

    fn indices(&self, b: BufferId, at: &[Index]) -> Result<(), String> {
        self.rank(b, at.len())?;
        let closed = at.iter().find(|i| match i {
            Index::Axis(a) | Index::Shift(a, _) => !self.open.iter().any(|l| l.axis == *a),
            Index::Const(_) | Index::Value(_) => false,
        });
        match closed {
            Some(_) => Err(format!(
                "{} is indexed by an axis whose loop is not open",
                self.name(b)
            )),
            None => Ok(()),
        }
    }

    fn store(&mut self, to: BufferId, at: &[Index], how: How) -> Result<(), String> {
        self.indices(to, at)?;
        let buffer = &self.loops.buffers[to.0 as usize];
        if buffer.home == Home::Input {
            return Err(format!("{} is an input", buffer.name));
        }
        if matches!(how, How::Combine(_)) {
            let total = matches!(buffer.home, Home::Total(_));
            if !total && !self.written[to.0 as usize] {
                return Err(format!("{} is added to before it is set", buffer.name));
            }
            if self.lane_axis().is_some()
                && at
                    .iter()
                    .any(|i| matches!(i, Index::Value(v) if self.lanes[v.0 as usize]))
            {
                return Err(format!("lanes may meet in one cell of {}", buffer.name));
            }
        }
        if let Home::Total(_) = buffer.home {
            self.totals.push(to);
        } else if let (Some(row), false) = (self.row, buffer.home == Home::Row) {
            let owned = at.contains(&Index::Axis(row));
            if !owned && !self.single_chunk {
                return Err(format!("two chunks may write one cell of {}", buffer.name));
            }
        }
        self.written[to.0 as usize] = true;
        Ok(())
    }

    /// Keys and order lie along one axis, each in one piece.
    fn sort(&mut self, sort: &Sort) -> Result<(), String> {
        if self.lane_axis().is_some() {
            return Err("a sort within lanes".into());
        }
        let keys = [(sort.keys, &sort.keys_at)];
        let kept = sort.kept.iter().map(|(b, at)| (*b, at));
        let along = |b: BufferId| {
            let dims = &self.loops.buffers[b.0 as usize].dims;
            dims.last().map(|d| d.extent)
        };
        for (b, at) in keys.into_iter().chain(kept) {
            let host = self.loops.buffers[b.0 as usize].shares.unwrap_or(b);
            self.rank(b, at.len() + 1)?;
            if !self.written[b.0 as usize] && !self.written[host.0 as usize] {
                return Err(format!("{} is sorted before it is written", self.name(b)));
            }
            if along(b) != along(sort.into) {
                return Err(format!("{} is sorted along two axes", self.name(b)));
            }
        }
        let mut at = sort.at.clone();
        at.push(Index::Const(0));
        if self.loops.buffers[sort.into.0 as usize].elem != Elem::Int {
            return Err(format!("{} holds no order", self.name(sort.into)));
        }
        self.orders[sort.into.0 as usize] = along(sort.into);
        self.store(sort.into, &at, How::Set)
    }

    /// The dims of the three matrices agree.
    fn gemm(&mut self, gemm: &Gemm) -> Result<(), String> {
        if self.lane_axis().is_some() {
            return Err("a matrix product within lanes".into());
        }
        let extents = |v: &Self, m: &Matrix, dim: MatrixDim| -> Vec<ExtentIndex> {
            let dims = &v.loops.buffers[m.buffer.0 as usize].dims;
            let all = m.dims.iter().zip(dims).filter(|(d, _)| **d == dim);
            all.map(|(_, d)| d.extent).collect()
        };
        let (c, a, b) = (&gemm.c, &gemm.a, &gemm.b);
        for (dim, x, y, none) in [
            (MatrixDim::Rows, c, a, b),
            (MatrixDim::Columns, c, b, a),
            (MatrixDim::Inner, a, b, c),
        ] {
            let own = extents(self, x, dim.clone());
            let other = extents(self, y, dim.clone());
            if own.is_empty() || own != other || !extents(self, none, dim.clone()).is_empty() {
                return Err(format!(
                    "{} has not the dims of a matrix product",
                    self.name(c.buffer)
                ));
            }
            for m in [x, y] {
                let runs = m.dims.windows(2).filter(|d| (d[0] == dim) != (d[1] == dim));
                let ends = m.dims.first() == Some(&dim);
                if runs.count() + usize::from(ends) > 2 {
                    return Err(format!("a matrix in {} is in pieces", self.name(m.buffer)));
                }
            }
        }
        for m in [a, b] {
            let host = self.loops.buffers[m.buffer.0 as usize]
                .shares
                .unwrap_or(m.buffer);
            self.indices(m.buffer, &fixed(m))?;
            if !self.written[m.buffer.0 as usize] && !self.written[host.0 as usize] {
                let name = self.name(m.buffer);
                return Err(format!("{name} is multiplied before it is written"));
            }
        }
        for m in [c, a, b] {
            if self.loops.buffers[m.buffer.0 as usize].elem != Elem::Real {
                let name = self.name(m.buffer);
                return Err(format!("{name} is no matrix of the kernel's dtype"));
            }
        }
        self.store(c.buffer, &fixed(c), How::Set)
    }

    /// What is a place in a permutation is read from one.
    fn place(&self, e: &Expr, extent: ExtentIndex) -> Result<(), String> {
        match e {
            Expr::Load { from, or: None, .. } if self.orders[from.0 as usize] == Some(extent) => {
                Ok(())
            }
            _ => Err("an index is no element of the permutation that it should be".into()),
        }
    }

    fn expr(&self, e: &Expr) -> Result<(), String> {
        match e {
            Expr::Load {
                from,
                at,
                or,
                when,
                checked,
            } => {
                self.indices(*from, at)?;
                let host = self.loops.buffers[from.0 as usize].shares.unwrap_or(*from);
                if !self.stored[from.0 as usize] && !self.written[host.0 as usize] {
                    return Err(format!("{} is read but never written", self.name(*from)));
                }
                if self.totals.contains(from) {
                    return Err(format!(
                        "@{} is read before its chunks are merged",
                        self.name(*from)
                    ));
                }
                let dims = &self.loops.buffers[from.0 as usize].dims;
                let proven = at.iter().zip(dims).all(|(i, d)| match i {
                    Index::Axis(_) => true,
                    Index::Const(k) => self
                        .constant(d.extent)
                        .is_some_and(|n| *k >= 0 && (*k as u64) < n),
                    Index::Value(v) => self.loops.values[v.0 as usize].place_of == Some(d.extent),
                    Index::Shift(..) => false,
                });
                if !proven && !checked && or.is_none() && when.is_none() {
                    return Err(format!(
                        "an index of {} is neither checked nor proven",
                        self.name(*from)
                    ));
                }
                Ok(())
            }
            Expr::Axis(a) => match self.open.iter().any(|l| l.axis == *a) {
                true => Ok(()),
                false => Err("an axis is used whose loop is not open".into()),
            },
            Expr::Folded(f) => match self.finished[f.0 as usize] && !self.folds.contains(f) {
                true => Ok(()),
                false => Err(format!("fold {} is read before its loop is done", f.0)),
            },
            Expr::Op(op, o) => match op {
                Op::LogSumExp | Op::StopGradient | Op::IntDiv | Op::Mod => {
                    Err(format!("`{}` has no place in loops", op.name()))
                }
                Op::Max | Op::Min if o.len() != 2 => {
                    Err(format!("`{}` of {} operands", op.name(), o.len()))
                }
                _ => Ok(()),
            },
            Expr::Real(_)
            | Expr::Int(_)
            | Expr::Bool(_)
            | Expr::Param(_)
            | Expr::Size(_)
            | Expr::Divide { .. }
            | Expr::Found { .. }
            | Expr::Select(..)
            | Expr::Finite(_) => Ok(()),
        }
    }

    fn constant(&self, e: ExtentIndex) -> Option<u64> {
        match self.loops.extents[e.0 as usize].from {
            ExtentFrom::Constant(n) => Some(n),
            ExtentFrom::Input(_) | ExtentFrom::Expr(_) => None,
        }
    }
}
