//! A checked call: memory, stages, chunks, merges.

use super::Workspace;
use super::bind::memory_limit;
use super::code::{Code, Machine, Made, Placed};
use crate::codegen::CheckKind;
use crate::codegen::groups::{MANY_ROWS, SHORT_ROW};
use crate::codegen::layout::{ERROR_INDEX, ERROR_PLACE, root};
use crate::diagnostic::Diagnostic;
use crate::loops::{BufferId, Elem, ExtentIndex, FoldOp, Home, LoopAxisId, Stage};
use crate::stack::with_stack;

type Result<T> = std::result::Result<T, Diagnostic>;

/// Elements of the largest input that are one chunk.
const CHUNK: u64 = 16_384;
/// A stage whose totals are tables has no more chunks than this, and its tables no more bytes.
const TABLE_CHUNKS: u64 = 64;
const TABLE_BYTES: u64 = 64 << 20;
/// Bytes of stack that every thread has: functions of formulas with thousands of terms take more.
const FRAME: usize = 32 << 10;

impl Code {
    /// Gives every buffer of the kernel's own its place in the workspace.
    pub(super) fn place_buffers(&self, work: &mut Workspace) -> Result<()> {
        let mut words = 0u64;
        for pass in [false, true] {
            let mut next = 0u64;
            for (k, buffer) in self.loops.buffers.iter().enumerate() {
                let id = BufferId(k as u32);
                let copies = match buffer.home {
                    Home::Input | Home::Output => continue,
                    _ if root(&self.loops, id) != id => continue,
                    Home::Full | Home::Row => 1,
                    Home::Total(_) => 2,
                };
                let size = self.words(id, work);
                if pass {
                    // The base is known now, and the whole fits.
                    let base = work.scratch.as_mut_ptr() as u64;
                    work.cells[self.layout.buffer(id)] = base + 8 * next;
                    let own = if copies == 2 {
                        next.saturating_add(size)
                    } else {
                        next
                    };
                    work.cells[self.layout.partial(id)] = base + 8 * own;
                }
                next = next.saturating_add(size.saturating_mul(copies));
            }
            words = next;
            if !pass {
                self.reserve(words, work)?;
            }
        }
        debug_assert!(words as usize <= work.scratch.len());
        for k in 0..self.loops.buffers.len() {
            let id = BufferId(k as u32);
            let end = work.cells[self.layout.buffer(id)].wrapping_add(self.bytes(id, work));
            work.cells[self.layout.end(id)] = end;
        }
        Ok(())
    }

    fn reserve(&self, words: u64, work: &mut Workspace) -> Result<()> {
        let too_much = |bytes: u64| {
            Diagnostic::data(format!(
                "`{}` needs {bytes} bytes of memory for these shapes, more than there is",
                self.loops.name
            ))
        };
        let bytes = words.saturating_mul(8);
        if bytes > memory_limit() {
            return Err(too_much(bytes));
        }
        let words = words as usize;
        if work.scratch.len() < words {
            let more = words - work.scratch.len();
            work.scratch
                .try_reserve_exact(more)
                .map_err(|_| too_much(bytes))?;
            work.scratch.resize(words, 0);
        }
        Ok(())
    }

    /// Cells of a buffer.
    fn words(&self, id: BufferId, work: &Workspace) -> u64 {
        self.bytes(id, work).div_ceil(8).max(1)
    }

    /// Bytes of a buffer's elements.
    fn bytes(&self, id: BufferId, work: &Workspace) -> u64 {
        let buffer = &self.loops.buffers[id.0 as usize];
        let mut n = 1u64;
        for d in &buffer.dims {
            n = n.saturating_mul(work.cells[self.layout.extent(d.extent)]);
        }
        let size = match buffer.elem {
            Elem::Real => self.dtype.size() as u64,
            Elem::Sum | Elem::Int => 8,
            Elem::Bool => 1,
        };
        n.saturating_mul(size)
    }

    /// Runs all stages.
    pub(super) fn run(&self, work: &mut Workspace) -> Result<()> {
        let fast = self.steps.are_many(&self.layout, work);
        for (k, (stage, placed)) in self.loops.stages.iter().zip(&self.stages).enumerate() {
            let machine = self.machine_for(stage, placed, fast, work);
            match stage {
                Stage::Rows {
                    axis,
                    row_inputs,
                    single_chunk,
                    ..
                } => {
                    let rows = (k, *axis);
                    self.rows(machine, rows, row_inputs, *single_chunk, placed, work)?;
                }
                Stage::Once(_) => self.chunk(machine, k, (0, 1), work)?,
            }
        }
        Ok(())
    }

    /// The code that a stage takes: its first, or the fast one if that is worth it.
    fn machine_for(
        &self,
        stage: &Stage,
        placed: &Placed,
        fast: bool,
        work: &Workspace,
    ) -> &Machine {
        let in_groups = |axis: &LoopAxisId, short: &[ExtentIndex]| {
            let rows = self.loops.axes[axis.0 as usize].extent;
            work.cells[self.layout.extent(rows)] >= MANY_ROWS && self.all_short(short, work)
        };
        let machine = match (stage, &placed.short) {
            _ if !fast => None,
            (Stage::Rows { axis, .. }, Some(short)) if in_groups(axis, short) => self.groups(),
            _ if placed.fast => self.fast(),
            _ => None,
        };
        machine.unwrap_or(&self.machine)
    }

    fn rows(
        &self,
        machine: &Machine,
        (stage, axis): (usize, LoopAxisId),
        row_inputs: &[(BufferId, usize)],
        single: bool,
        placed: &Placed,
        work: &mut Workspace,
    ) -> Result<()> {
        let rows = work.cells[self.layout.extent(self.loops.axes[axis.0 as usize].extent)];
        let per_row = self.elements_per_row(row_inputs, work);
        for total in &placed.totals {
            self.start(total, false, work);
        }
        // Of an index alone it is not known which chunk's is the better one.
        let finds = |t: &Made| matches!(t.op, FoldOp::ArgMax | FoldOp::ArgMin);
        let step = if single || placed.totals.iter().any(finds) {
            rows.max(1)
        } else {
            self.chunk_rows(rows, per_row, placed, work)
        };
        let mut begin = 0;
        while begin < rows {
            let end = rows.min(begin + step);
            for total in &placed.totals {
                self.start(total, true, work);
            }
            self.chunk(machine, stage, (begin, end), work)?;
            for total in &placed.totals {
                self.merge(total, work);
            }
            begin = end;
        }
        Ok(())
    }

    /// The elements of a row in the largest of its inputs.
    fn elements_per_row(&self, row_inputs: &[(BufferId, usize)], work: &Workspace) -> u64 {
        let mut per_row = 1u64;
        for &(id, position) in row_inputs {
            let mut n = 1u64;
            for (k, d) in self.loops.buffers[id.0 as usize].dims.iter().enumerate() {
                if k != position {
                    n = n.saturating_mul(work.cells[self.layout.extent(d.extent)]);
                }
            }
            per_row = per_row.max(n);
        }
        per_row
    }

    /// How many rows are a chunk: a function of the shapes only.
    fn chunk_rows(&self, rows: u64, per_row: u64, placed: &Placed, work: &Workspace) -> u64 {
        let step = (CHUNK / per_row).max(1);
        let mut table = 0u64;
        for t in &placed.totals {
            if !self.loops.buffers[t.buffer.0 as usize].dims.is_empty() {
                table = table.saturating_add(8 * self.words(t.buffer, work));
            }
        }
        if table == 0 {
            return step;
        }
        let chunks = TABLE_CHUNKS.min(TABLE_BYTES / table).max(1);
        step.max(rows.div_ceil(chunks))
    }

    fn all_short(&self, extents: &[ExtentIndex], work: &Workspace) -> bool {
        extents
            .iter()
            .all(|&e| work.cells[self.layout.extent(e)] <= SHORT_ROW)
    }

    fn chunk(
        &self,
        machine: &Machine,
        stage: usize,
        (begin, end): (u64, u64),
        work: &mut Workspace,
    ) -> Result<()> {
        let Some(function) = machine.functions[stage] else {
            return Err(Diagnostic::data("the kernel has no code for a stage"));
        };
        let cells = work.cells.as_mut_ptr();
        // SAFETY: the cells hold what `layout` says: addresses of buffers that were checked to be as long as the
        // extents in the cells say and that live during the call; the rows are below the axis's extent; the code reads and
        // writes no other memory, computed indices are compared with the extents.
        let call = || unsafe { function(cells, begin as i64, end as i64) };
        let status = match machine.frame {
            0..=FRAME => call(),
            _ => with_stack(call),
        };
        match status {
            0 => Ok(()),
            check => Err(self.failure(machine, check, work)),
        }
    }

    /// The message of a check that failed.
    fn failure(&self, machine: &Machine, status: i64, work: &Workspace) -> Diagnostic {
        let check = usize::try_from(status - 1)
            .ok()
            .and_then(|k| machine.checks.get(k));
        let Some(check) = check else {
            return Diagnostic::data("the kernel failed for an unknown reason");
        };
        let index = work.cells[ERROR_INDEX] as i64;
        let title = match &check.kind {
            CheckKind::Index { buffer, position } => {
                let found = self.loops.buffers.iter().find(|b| b.name == *buffer);
                let extent = found.and_then(|b| b.dims.get(*position)).map(|d| {
                    let n = work.cells[self.layout.extent(d.extent)];
                    (
                        n,
                        &self.loops.extents[d.extent.0 as usize].name,
                        d.position + 1,
                    )
                });
                let name = buffer.strip_prefix("out.").unwrap_or(buffer);
                match extent {
                    Some((n, axis, position)) => format!(
                        "index {index} is out of range at position {position} of `{name}`, where axis {axis} has {n} elements"
                    ),
                    None => format!("index {index} is out of range in `{name}`"),
                }
            }
            CheckKind::Divide => "an int is divided by 0".to_string(),
            CheckKind::Empty => "argmax or argmin of nothing".to_string(),
        };
        let mut d = Diagnostic::data(title);
        if let Some(span) = check.span {
            d = d.at(span, "");
        }
        let places: Vec<String> = check
            .axes
            .iter()
            .enumerate()
            .map(|(k, axis)| format!("{axis} = {}", work.cells[ERROR_PLACE + k]))
            .collect();
        if places.is_empty() {
            return d;
        }
        d.note(format!("at {}", places.join(", ")))
    }

    // ---- totals

    fn total_cells(&self, total: &Made, own: bool, work: &Workspace) -> (usize, usize) {
        let cell = if own {
            self.layout.partial(total.buffer)
        } else {
            self.layout.buffer(total.buffer)
        };
        let address = work.cells[cell] as usize;
        let base = work.scratch.as_ptr() as usize;
        let words = self.words(total.buffer, work) as usize;
        ((address - base) / 8, words)
    }

    /// The identity in every cell of a total.
    fn start(&self, total: &Made, own: bool, work: &mut Workspace) {
        let (at, words) = self.total_cells(total, own, work);
        let (real, int) = total.op.identity();
        let word = match total.elem {
            Elem::Sum => real.to_bits(),
            Elem::Real if self.dtype.size() == 8 => real.to_bits(),
            Elem::Real => {
                let half = u64::from((real as f32).to_bits());
                half << 32 | half
            }
            Elem::Int => int as u64,
            Elem::Bool => (int as u64 & 1) * 0x0101_0101_0101_0101,
        };
        work.scratch[at..at + words].fill(word);
    }

    /// Adds a chunk's cells to the merged ones.
    fn merge(&self, total: &Made, work: &mut Workspace) {
        let (to, words) = self.total_cells(total, false, work);
        let (from, _) = self.total_cells(total, true, work);
        for k in 0..words {
            let (x, y) = (work.scratch[to + k], work.scratch[from + k]);
            work.scratch[to + k] = match total.elem {
                Elem::Sum => merge_real(total.op, f64::from_bits(x), f64::from_bits(y)).to_bits(),
                Elem::Real if self.dtype.size() == 8 => {
                    merge_real(total.op, f64::from_bits(x), f64::from_bits(y)).to_bits()
                }
                Elem::Real => {
                    let part = |w: u64| f64::from(f32::from_bits(w as u32));
                    let one = |x: u64, y: u64| {
                        u64::from((merge_real(total.op, part(x), part(y)) as f32).to_bits())
                    };
                    one(x >> 32, y >> 32) << 32 | one(x, y)
                }
                Elem::Int => merge_int(total.op, x as i64, y as i64) as u64,
                Elem::Bool => match total.op {
                    FoldOp::All => x & y,
                    _ => x | y,
                },
            };
        }
    }
}

/// NaN passes through the extremes.
fn merge_real(op: FoldOp, x: f64, y: f64) -> f64 {
    match op {
        FoldOp::Prod => x * y,
        FoldOp::Max if x.is_nan() || x > y => x,
        FoldOp::Min if x.is_nan() || x < y => x,
        FoldOp::Max | FoldOp::Min => y,
        FoldOp::Sum
        | FoldOp::Any
        | FoldOp::All
        | FoldOp::Count
        | FoldOp::ArgMax
        | FoldOp::ArgMin => x + y,
    }
}

fn merge_int(op: FoldOp, x: i64, y: i64) -> i64 {
    match op {
        FoldOp::Prod => x.wrapping_mul(y),
        FoldOp::Max => x.max(y),
        FoldOp::Min => x.min(y),
        // There is one chunk, after -1.
        FoldOp::ArgMax | FoldOp::ArgMin => y,
        FoldOp::Sum | FoldOp::Any | FoldOp::All | FoldOp::Count => x.wrapping_add(y),
    }
}
