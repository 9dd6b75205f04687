//! A plain interpreter of loops, in f64: what schedules are tested with. Buffers are contracted and shared as in the
//! machine's memory, and reading a cell that nothing has written is an error.

mod whole;

use super::*;
use crate::array::{Array, Data};
use crate::interp::fold::is_better;
use crate::interp::scalar::{self, Scalar};

/// Runs the loops of a kernel. `inputs` as in the signature, inputs over `*` flat; a chunk has `chunk_rows` rows.
/// Returns one array for each of `loops.outputs`.
///
/// # Errors
/// An index out of range, an int division by 0; a read of a cell that was never written is a bug of the schedule.
pub fn run(
    loops: &Loops,
    inputs: &[Array],
    params: &[Scalar],
    chunk_rows: usize,
) -> Result<Vec<Array>, String> {
    let mut m = Machine {
        loops,
        extents: vec![],
        params,
        cells: vec![],
        values: vec![Scalar::Int(0); loops.values.len()],
        folds: vec![(Scalar::Int(0), None); loops.folds.len()],
        axes: vec![0; loops.axes.len()],
        rows: None,
    };
    m.extents(inputs)?;
    for (k, buffer) in loops.buffers.iter().enumerate() {
        let count = m.count(buffer);
        m.cells.push(match inputs.get(k) {
            Some(array) if buffer.home == Home::Input => cells(array),
            _ => vec![None; count],
        });
    }
    for stage in &loops.stages {
        m.stage(stage, chunk_rows.max(1))?;
    }
    loops.outputs.iter().map(|&b| m.output(b)).collect()
}

fn cells(array: &Array) -> Vec<Option<Scalar>> {
    match &array.data {
        Data::Real(v) => v.iter().map(|&x| Some(Scalar::Real(x))).collect(),
        Data::Int(v) => v.iter().map(|&x| Some(Scalar::Int(x))).collect(),
        Data::Bool(v) => v.iter().map(|&x| Some(Scalar::Bool(x))).collect(),
    }
}

struct Machine<'a> {
    loops: &'a Loops,
    extents: Vec<usize>,
    params: &'a [Scalar],
    /// The cells of each buffer; those of a sharing buffer are its host's.
    cells: Vec<Vec<Option<Scalar>>>,
    values: Vec<Scalar>,
    /// The result so far, and for argmax and argmin the best value.
    folds: Vec<(Scalar, Option<Scalar>)>,
    axes: Vec<i64>,
    /// The row axis of the stage and the rows of the chunk.
    rows: Option<(LoopAxisId, usize, usize)>,
}

impl Machine<'_> {
    fn extents(&mut self, inputs: &[Array]) -> Result<(), String> {
        for extent in &self.loops.extents {
            let n = match &extent.from {
                ExtentFrom::Constant(n) => *n as i64,
                ExtentFrom::Input(positions) => {
                    let first = positions.first().ok_or("an extent without an input")?;
                    inputs[first.0.0 as usize].shape[first.1] as i64
                }
                ExtentFrom::Expr(e) => {
                    let size = |i: ExtentIndex| self.extents[i.0 as usize] as i64;
                    let param = |p: u32| self.params[p as usize].int();
                    e.value(&size, &param)
                        .ok_or("an extent that is no number")?
                }
            };
            self.extents
                .push(usize::try_from(n).map_err(|_| "a negative extent")?);
        }
        Ok(())
    }

    fn count(&self, buffer: &Buffer) -> usize {
        buffer
            .dims
            .iter()
            .map(|d| self.extents[d.extent.0 as usize])
            .product()
    }

    fn output(&self, id: BufferId) -> Result<Array, String> {
        let buffer = &self.loops.buffers[id.0 as usize];
        let shape: Vec<usize> = buffer
            .dims
            .iter()
            .map(|d| self.extents[d.extent.0 as usize])
            .collect();
        let cells = &self.cells[id.0 as usize];
        let data: Option<Vec<f64>> = cells.iter().map(|c| c.map(Scalar::real)).collect();
        Ok(Array {
            shape,
            data: Data::Real(
                data.ok_or(format!("{} has cells that are not written", buffer.name))?,
            ),
        })
    }

    fn stage(&mut self, stage: &Stage, chunk_rows: usize) -> Result<(), String> {
        match stage {
            Stage::Once(body) => {
                self.rows = None;
                self.block(body)
            }
            Stage::Rows {
                axis,
                single_chunk,
                body,
                ..
            } => {
                let n = self.extents[self.loops.axes[axis.0 as usize].extent.0 as usize];
                let step = if *single_chunk { n.max(1) } else { chunk_rows };
                let totals = self.loops.totals(body);
                let mut sums: Vec<Vec<Option<Scalar>>> = totals
                    .iter()
                    .map(|&(b, op)| self.identities(b, op))
                    .collect();
                let mut from = 0;
                while from < n {
                    for &(b, op) in &totals {
                        self.cells[b.0 as usize] = self.identities(b, op);
                    }
                    self.poison_rows();
                    self.rows = Some((*axis, from, (from + step).min(n)));
                    self.block(body)?;
                    for (&(b, op), sum) in totals.iter().zip(&mut sums) {
                        for (s, c) in sum.iter_mut().zip(&self.cells[b.0 as usize]) {
                            *s = s.zip(*c).map(|(s, c)| combine(op, s, c));
                        }
                    }
                    from += step;
                }
                for (&(b, _), sum) in totals.iter().zip(sums) {
                    self.cells[b.0 as usize] = sum;
                }
                self.rows = None;
                Ok(())
            }
        }
    }

    fn identities(&self, b: BufferId, op: FoldOp) -> Vec<Option<Scalar>> {
        let buffer = &self.loops.buffers[b.0 as usize];
        vec![Some(identity(op, buffer.elem == Elem::Int)); self.count(buffer)]
    }

    fn poison_rows(&mut self) {
        for (k, buffer) in self.loops.buffers.iter().enumerate() {
            if buffer.home == Home::Row {
                self.cells[k].fill(None);
            }
        }
    }

    fn block(&mut self, block: &Block) -> Result<(), String> {
        for s in block {
            self.statement(s)?;
        }
        Ok(())
    }

    fn statement(&mut self, s: &Stmt) -> Result<(), String> {
        match s {
            Stmt::Let(v, e) => self.values[v.0 as usize] = self.expr(e)?,
            Stmt::Loop {
                axis,
                direction,
                folds,
                body,
                ..
            } => {
                for f in folds {
                    let info = &self.loops.folds[f.0 as usize];
                    self.folds[f.0 as usize] = (identity(info.op, info.ty == Type::Int), None);
                }
                let n = self.extents[self.loops.axes[axis.0 as usize].extent.0 as usize];
                let (from, to) = match self.rows {
                    Some((row, from, to)) if row == *axis => (from, to),
                    _ => (0, n),
                };
                for k in from..to {
                    self.axes[axis.0 as usize] = if *direction == Direction::Up {
                        k as i64
                    } else {
                        (from + to - 1 - k) as i64
                    };
                    self.block_of(body, *axis)?;
                }
            }
            Stmt::Fold { .. } => return Err("a fold outside its loop".into()),
            Stmt::Store {
                to,
                at,
                how,
                value,
                guard,
            } => {
                if guard.is_some_and(|g| !self.get(g).bool()) {
                    return Ok(());
                }
                if let Some(k) = self.cell(*to, at)? {
                    let host = self.host(*to);
                    let value = self.get(*value);
                    let cell = &mut self.cells[host][k];
                    *cell = Some(match how {
                        How::Set => value,
                        How::Combine(op) => {
                            combine(*op, cell.ok_or("combining with nothing")?, value)
                        }
                    });
                }
            }
            Stmt::Fill { to, at, with } => self.fill(*to, at, *with),
            Stmt::Sort(sort) => self.sort(sort)?,
            Stmt::Gemm(gemm) => self.gemm(gemm)?,
        }
        Ok(())
    }

    /// The body of a loop over `axis`; its folds see the loop's index.
    fn block_of(&mut self, body: &Block, axis: LoopAxisId) -> Result<(), String> {
        for s in body {
            match s {
                Stmt::Fold { id, value, guard } => {
                    if guard.is_none_or(|g| self.get(g).bool()) {
                        self.fold(*id, self.get(*value), self.axes[axis.0 as usize]);
                    }
                }
                s => self.statement(s)?,
            }
        }
        Ok(())
    }

    fn fold(&mut self, id: FoldId, value: Scalar, at: i64) {
        let op = self.loops.folds[id.0 as usize].op;
        let (result, best) = &mut self.folds[id.0 as usize];
        match op {
            FoldOp::ArgMax | FoldOp::ArgMin => {
                if best.is_none_or(|b| is_better(value, b, op == FoldOp::ArgMin)) {
                    (*result, *best) = (Scalar::Int(at), Some(value));
                }
            }
            op => *result = combine(op, *result, value),
        }
    }

    fn fill(&mut self, to: BufferId, at: &[Option<Index>], with: FoldOp) {
        let buffer = &self.loops.buffers[to.0 as usize];
        let shape: Vec<usize> = buffer
            .dims
            .iter()
            .map(|d| self.extents[d.extent.0 as usize])
            .collect();
        let fixed: Vec<Option<i64>> = at
            .iter()
            .map(|i| i.as_ref().map(|i| self.index(i)))
            .collect();
        let value = identity(with, buffer.elem == Elem::Int);
        let host = self.host(to);
        for k in 0..self.count(buffer) {
            let mut rest = k;
            let inside = shape.iter().zip(&fixed).rev().all(|(&n, f)| {
                let i = rest % n;
                rest /= n;
                f.is_none_or(|f| f == i as i64)
            });
            if inside {
                self.cells[host][k] = Some(value);
            }
        }
    }

    fn get(&self, v: ValueId) -> Scalar {
        self.values[v.0 as usize]
    }

    fn host(&self, b: BufferId) -> usize {
        self.loops.buffers[b.0 as usize].shares.unwrap_or(b).0 as usize
    }

    fn index(&self, i: &Index) -> i64 {
        match i {
            Index::Axis(a) => self.axes[a.0 as usize],
            Index::Shift(a, k) => self.axes[a.0 as usize].wrapping_add(*k),
            Index::Const(k) => *k,
            Index::Value(v) => self.get(*v).int(),
        }
    }

    /// The position of a cell; `None` where an index is out of range.
    fn cell(&self, b: BufferId, at: &[Index]) -> Result<Option<usize>, String> {
        let buffer = &self.loops.buffers[b.0 as usize];
        if at.len() != buffer.dims.len() {
            return Err(format!(
                "{} has {} dims, not {}",
                buffer.name,
                buffer.dims.len(),
                at.len()
            ));
        }
        let mut k = 0;
        for (i, d) in at.iter().zip(&buffer.dims) {
            let (i, n) = (self.index(i), self.extents[d.extent.0 as usize]);
            if i < 0 || i as usize >= n {
                return Ok(None);
            }
            k = k * n + i as usize;
        }
        Ok(Some(k))
    }

    fn expr(&self, e: &Expr) -> Result<Scalar, String> {
        Ok(match e {
            Expr::Real(x) => Scalar::Real(*x),
            Expr::Int(x) => Scalar::Int(*x),
            Expr::Bool(x) => Scalar::Bool(*x),
            Expr::Param(p) => self.params[*p as usize],
            Expr::Size(i) => Scalar::Int(self.extents[i.0 as usize] as i64),
            Expr::Axis(a) => Scalar::Int(self.axes[a.0 as usize]),
            Expr::Load {
                from,
                at,
                when,
                or,
                checked,
            } => {
                let name = &self.loops.buffers[from.0 as usize].name;
                let place = self.cell(*from, at)?;
                if when.is_some_and(|w| !self.get(w).bool()) {
                    return Ok(self.poison(*from));
                }
                match (place, or) {
                    (Some(k), _) => self.cells[self.host(*from)][k]
                        .ok_or(format!("{name} is read before it is written"))?,
                    (None, Some(or)) => self.get(*or),
                    (None, None) if *checked => {
                        return Err(format!("index out of range of {name}"));
                    }
                    (None, None) => return Err(format!("unchecked index out of range of {name}")),
                }
            }
            Expr::Op(op, operands) => {
                let v: Vec<Scalar> = operands.iter().map(|&o| self.get(o)).collect();
                scalar::apply(*op, &v).ok_or("division by 0")?
            }
            Expr::Divide { op, a, b, when } => {
                match scalar::apply(*op, &[self.get(*a), self.get(*b)]) {
                    Some(v) => v,
                    None if when.is_some_and(|w| !self.get(w).bool()) => Scalar::Int(0),
                    None => return Err("division by 0".into()),
                }
            }
            Expr::Found { index, when } => {
                let asked = when.is_none_or(|w| self.get(w).bool());
                match self.get(*index) {
                    Scalar::Int(..0) if asked => return Err("the index of nothing".into()),
                    index => index,
                }
            }
            Expr::Select(c, a, b) => self.get(if self.get(*c).bool() { *a } else { *b }),
            Expr::Finite(x) => {
                let x = self.get(*x).real();
                Scalar::Real(if x.is_infinite() { 0.0 } else { x })
            }
            Expr::Folded(f) => self.folds[f.0 as usize].0,
        })
    }

    /// What an unread cell gives: something that shows if it is used.
    fn poison(&self, b: BufferId) -> Scalar {
        match self.loops.buffers[b.0 as usize].elem {
            Elem::Real | Elem::Sum => Scalar::Real(f64::NAN),
            Elem::Int => Scalar::Int(0),
            Elem::Bool => Scalar::Bool(false),
        }
    }
}

fn identity(op: FoldOp, int: bool) -> Scalar {
    let (real, whole) = op.identity();
    match op {
        FoldOp::Any | FoldOp::All => Scalar::Bool(whole != 0),
        FoldOp::Count | FoldOp::ArgMax | FoldOp::ArgMin => Scalar::Int(whole),
        FoldOp::Sum | FoldOp::Prod | FoldOp::Max | FoldOp::Min if int => Scalar::Int(whole),
        FoldOp::Sum | FoldOp::Prod | FoldOp::Max | FoldOp::Min => Scalar::Real(real),
    }
}

fn combine(op: FoldOp, a: Scalar, b: Scalar) -> Scalar {
    let with = |op| scalar::apply(op, &[a, b]).unwrap_or(a);
    match op {
        FoldOp::Sum => with(Op::Add),
        FoldOp::Prod => with(Op::Mul),
        FoldOp::Max => with(Op::Max),
        FoldOp::Min => with(Op::Min),
        FoldOp::Any => Scalar::Bool(a.bool() || b.bool()),
        FoldOp::All => Scalar::Bool(a.bool() && b.bool()),
        FoldOp::Count => Scalar::Int(a.int() + i64::from(b.bool())),
        FoldOp::ArgMax | FoldOp::ArgMin => b,
    }
}
