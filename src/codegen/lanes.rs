//! Lane loops: 64 bytes of elements a step where registers allow it, and one body for the full steps and for the tail.
//!
//! ```text
//! head:   full steps left in this block of 1024 elements?  -> ready with the arrays as they are
//!         otherwise the tail: its elements are copied to padded stack slots -> ready with the slots in place of arrays
//! ready:  step: body; folds of all lanes; next step
//! after:  in the tail, fold again, only the lanes that are elements, and copy what was stored out of the slots;
//!         carry sums into f64; head
//! ```
//! So an element goes through the same vector code wherever it stands and however many there are.

use super::folds::{BLOCK, Pending};
use super::layout::root;
use super::math::{Bundle, Width};
use super::stage::{Gen, Place, Result, arg, bug};
use super::value::{Val, bundle, cast};
use super::weight::{SHORT, reload_after, vectors_in_flight, weight};
use crate::loops::block::each_statement;
use crate::loops::{BufferId, FoldId, Index, LoopAxisId, Stmt, ValueId};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    BlockArg, InstBuilder, StackSlot, StackSlotData, StackSlotKind, Value, types,
};
use cranelift_codegen::ir::{InstructionData, Opcode};

/// The open lane loop.
pub(super) struct Lanes {
    pub axis: LoopAxisId,
    /// The index of the step's first element, and one past the loop's last.
    pub index: Value,
    pub end: Value,
    /// Whether the statement at hand is in the body itself, not in a loop of it.
    pub top: bool,
    /// Whether its lanes are rows, a whole group of them.
    pub group: bool,
    pub streams: Vec<Stream>,
    /// The buffers in whose memory the body stores.
    pub stored: Vec<BufferId>,
    pub pending: Vec<Pending>,
}

/// Memory that the lane loop walks through, the same from start to end.
pub(super) struct Stream {
    /// The buffer in whose memory it lies.
    pub buffer: BufferId,
    pub at: Vec<Index>,
    /// What decides whether its elements are there, and (before the loop) whether they are. Where they are not, its
    /// slot stands for them.
    pub condition: Option<Condition>,
    pub fine: Option<Value>,
    /// Bytes of an element.
    pub size: i64,
    pub how: Use,
    /// Whether the step has stored to it.
    pub written: bool,
    /// Where element 0 of the axis lies (or would lie), and bytes from one to the next where it is not `size`.
    pub start: Value,
    pub stride: Option<Value>,
    pub slot: StackSlot,
    /// Where start and stride are kept, and after them those of the current phase, if not in registers.
    pub held: Option<StackSlot>,
}

/// What a load that may not be in range depends on beside its indices. A store depends on its indices alone.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Condition {
    pub when: Option<ValueId>,
    pub or: bool,
    pub checked: bool,
}

/// What a lane loop does with a stream. What is loaded and then stored is two streams.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    Load,
    /// `keeps`: some elements stay as they were, or are combined with.
    Store {
        keeps: bool,
    },
}

/// A stream in the current step.
#[derive(Clone, Copy)]
pub(super) struct Cursor {
    /// Where the element of lane 0 lies.
    pub address: Value,
    pub stride: Option<Value>,
}

impl<'u, 'f> Gen<'u, 'f> {
    /// A loop whose elements are lanes.
    pub(super) fn lanes(
        &mut self,
        axis: LoopAxisId,
        folds: &[FoldId],
        body: &'u [Stmt],
    ) -> Result<()> {
        if self.lane_loop.is_some() {
            return Err(bug("a lane loop within a lane loop"));
        }
        let (begin, end) = self.range(axis);
        let weight = weight(body);
        self.copies = vectors_in_flight(weight, !self.places.is_empty(), self.variant);
        self.reload = reload_after(weight);
        let lanes = self.copies * self.width.lanes();
        let step = lanes as i64;
        for &f in folds {
            self.declare_lane_fold(f)?;
        }
        let mut stored = vec![];
        each_statement(body, &mut |s| {
            stored.extend(s.writes().map(|to| root(self.unit.loops, to)));
        });
        let mut streams = vec![];
        self.find_streams(axis, body, &mut streams)?;
        let index = self.variable(begin);
        let carries = self.carries(folds)?;

        let [head, whole, partial, ready, body_block, after, exit] =
            [0; 7].map(|_| self.b.create_block());
        self.b.set_cold_block(partial);
        let jump = self.b.ins().jump(head, &[]);
        self.constants.before_loop = (weight <= SHORT).then_some(jump);

        // Which phase is next?
        self.b.switch_to_block(head);
        let i = self.b.use_var(index);
        let more = self.b.ins().icmp(IntCC::SignedLessThan, i, end);
        let choose = self.b.create_block();
        self.b.ins().brif(more, choose, &[], exit, &[]);
        self.enter(choose);
        let length = self.since(begin, end);
        let full = self.b.ins().band_imm_s(length, -step);
        let full_end = match self.is_zero_int(begin) {
            true => full,
            false => self.b.ins().iadd(begin, full),
        };
        let mut limit = full_end;
        if carries {
            // A whole step begins a block here: the last block's rest is the tail's.
            let block_end = self.b.ins().iadd_imm_s(i, BLOCK);
            limit = self.b.ins().smin(full_end, block_end);
        }
        let is_whole = self.b.ins().icmp(IntCC::SignedLessThan, i, limit);
        self.b.ins().brif(is_whole, whole, &[], partial, &[]);

        // Each stream's start and stride and the limit are parameters of `ready`.
        self.enter(whole);
        let mut args = vec![arg(limit)];
        for s in &streams {
            let (start, stride) = self.origin(s);
            self.place_stream(s, start, stride, &mut args);
        }
        self.b.ins().jump(ready, &args);

        self.enter(partial);
        let limit = self.b.ins().iadd_imm_s(i, step);
        self.save(folds);
        self.enter_tail(&streams, (i, end, limit), ready);

        let limit = self.b.append_block_param(ready, types::I64);
        let mut placed = vec![];
        for s in &streams {
            if s.held.is_some() {
                placed.push((s.start, s.stride));
                continue;
            }
            let start = self.b.append_block_param(ready, types::I64);
            let stride = s
                .stride
                .map(|_| self.b.append_block_param(ready, types::I64));
            placed.push((start, stride));
        }
        self.enter(ready);
        self.b.ins().jump(body_block, &[]);

        // The body.
        self.b.switch_to_block(body_block);
        let i = self.b.use_var(index);
        let originals: Vec<(Value, Option<Value>)> =
            streams.iter().map(|s| (s.start, s.stride)).collect();
        for (s, (start, stride)) in streams.iter_mut().zip(placed) {
            (s.start, s.stride) = (start, stride);
        }
        self.lane_loop = Some(Lanes {
            axis,
            index: i,
            end,
            top: true,
            group: false,
            streams,
            stored,
            pending: vec![],
        });
        self.places.push((axis, Place::Lanes));
        let known = self.known.enter();
        self.homes.next_stretch();
        self.block(body)?;
        let next = self.b.ins().iadd_imm_s(i, step);
        let added = self.fold_pending()?;
        self.homes.next_stretch();
        self.known.leave(known);
        self.drop_waiting();
        self.rotate(folds)?;
        self.b.def_var(index, next);
        let more = self.b.ins().icmp(IntCC::SignedLessThan, next, limit);
        self.b.ins().brif(more, body_block, &[], after, &[]);
        self.b.seal_block(body_block);

        self.enter(after);
        self.fold_tail(&added, (next, end))?;
        self.places.pop();
        let mut streams = self.lane_loop.take().map(|l| l.streams).unwrap_or_default();
        let mut phase = vec![];
        for (s, original) in streams.iter_mut().zip(originals) {
            phase.push((s.start, s.stride));
            (s.start, s.stride) = original;
        }
        self.leave_step(&streams, &phase, (next, limit, end))?;
        if carries {
            self.carry_at_block_end((begin, end), next, folds)?;
        }
        self.b.ins().jump(head, &[]);
        self.b.seal_block(head);
        self.copies = 1;
        self.constants.leave_loop();
        self.homes.held.clear();
        self.enter(exit);
        folds.iter().try_for_each(|&f| self.finish_fold(f))
    }

    /// Where element 0 of a stream lies, and its stride.
    pub(super) fn origin(&mut self, s: &Stream) -> (Value, Option<Value>) {
        match s.held {
            None => (s.start, s.stride),
            Some(slot) => (
                self.b.ins().stack_load(types::I64, types::I64, slot, 0),
                s.stride
                    .map(|_| self.b.ins().stack_load(types::I64, types::I64, slot, 8)),
            ),
        }
    }

    /// Where the current phase finds a stream: kept with it, or handed on in a jump.
    pub(super) fn place_stream(
        &mut self,
        s: &Stream,
        start: Value,
        stride: Option<Value>,
        args: &mut Vec<BlockArg>,
    ) {
        let Some(slot) = s.held else {
            args.push(arg(start));
            args.extend(stride.map(arg));
            return;
        };
        self.b.ins().stack_store(types::I64, start, slot, 16);
        if let Some(stride) = stride {
            self.b.ins().stack_store(types::I64, stride, slot, 24);
        }
    }

    /// Where the current phase finds a stream.
    pub(super) fn placed(
        &mut self,
        (start, stride): (Value, Option<Value>),
        held: Option<StackSlot>,
    ) -> (Value, Option<Value>) {
        match held {
            None => (start, stride),
            Some(slot) => (
                self.b.ins().stack_load(types::I64, types::I64, slot, 16),
                stride.map(|_| self.b.ins().stack_load(types::I64, types::I64, slot, 24)),
            ),
        }
    }

    /// Whether a whole step from an address on lies within its buffer.
    pub(super) fn step_fits(
        &mut self,
        from: Value,
        stride: Option<Value>,
        size: i64,
        end: Value,
    ) -> Value {
        let lanes = (self.copies * self.width.lanes()) as i64;
        let last = match stride {
            None => self.b.ins().iadd_imm_s(from, lanes * size),
            Some(stride) => {
                let reach = self.b.ins().imul_imm_s(stride, lanes - 1);
                let last = self.b.ins().iadd(from, reach);
                self.b.ins().iadd_imm_s(last, size)
            }
        };
        self.b.ins().icmp(IntCC::UnsignedLessThanOrEqual, last, end)
    }

    /// The body's folds, of all lanes. Gives what they added.
    fn fold_pending(&mut self) -> Result<Vec<(FoldId, Bundle)>> {
        let Some(lanes) = &mut self.lane_loop else {
            return Err(bug("no lane loop"));
        };
        let pending = std::mem::take(&mut lanes.pending);
        let mut added = vec![];
        for fold in &pending {
            added.push((fold.id, self.fold_elements(fold)?));
        }
        for &(id, x) in &added {
            self.accumulate(id, x)?;
        }
        Ok(added)
    }

    /// After the loop: if its step was the tail, the folds are as they were before it, and only the lanes that are
    /// elements are added. So the loop itself need not ask.
    fn fold_tail(&mut self, added: &[(FoldId, Bundle)], (next, end): (Value, Value)) -> Result<()> {
        if added.is_empty() {
            return Ok(());
        }
        let [some, done] = [0; 2].map(|_| self.b.create_block());
        self.b.set_cold_block(some);
        let tail = self.b.ins().icmp(IntCC::SignedGreaterThan, next, end);
        self.b.ins().brif(tail, some, &[], done, &[]);
        self.enter(some);
        let mut again: Vec<FoldId> = added.iter().map(|a| a.0).collect();
        again.dedup();
        again.iter().for_each(|&id| self.restore(id));
        let valid = self.tail_masks(next)?;
        for &(id, x) in added {
            let x = self.fold_within(id, x, valid)?;
            self.accumulate(id, x)?;
        }
        self.rotate(&again)?;
        self.b.ins().jump(done, &[]);
        self.enter(done);
        Ok(())
    }

    fn carry_at_block_end(
        &mut self,
        (begin, end): (Value, Value),
        next: Value,
        folds: &[FoldId],
    ) -> Result<()> {
        let [within, carry, done] = [0; 3].map(|_| self.b.create_block());
        let last = self
            .b
            .ins()
            .icmp(IntCC::SignedGreaterThanOrEqual, next, end);
        self.b.ins().brif(last, carry, &[], within, &[]);
        self.enter(within);
        let position = self.since(begin, next);
        let rest = self.b.ins().band_imm_s(position, BLOCK - 1);
        self.b.ins().brif(rest, done, &[], carry, &[]);
        self.enter(carry);
        self.carry_lanes(folds)?;
        self.b.ins().jump(done, &[]);
        self.enter(done);
        Ok(())
    }

    // ---- lanes

    pub(super) fn current(&self) -> Result<&Lanes> {
        self.lane_loop.as_ref().ok_or_else(|| bug("no lane loop"))
    }

    /// The index of lane 0, if a lane loop is open.
    pub(super) fn lane_index(&self) -> Option<Value> {
        self.lane_loop.as_ref().map(|l| l.index)
    }

    /// The index of a lane.
    pub(super) fn lane_at(&mut self, lane: usize) -> Option<Value> {
        let index = self.lane_index()?;
        Some(match lane {
            0 => index,
            _ => self.b.ins().iadd_imm_s(index, lane as i64),
        })
    }

    /// The index of each lane.
    pub(super) fn lane_indices(&mut self) -> Result<Val> {
        let index = self.current()?.index;
        let first = self.b.ins().splat(types::I64X2, index);
        let mut out = vec![];
        for k in 0..self.copies * self.pairs() {
            let offset = self.ramp(Width::F64X2, 2 * k as u64);
            let offset = cast(&mut self.b, types::I64X2, offset);
            out.push(self.b.ins().iadd(first, offset));
        }
        Ok(Val::Ints(bundle(&out)?))
    }

    /// The integers `from, from + 1, ..` in the lanes of a float vector type.
    fn ramp(&mut self, width: Width, from: u64) -> Value {
        let mut bytes = vec![];
        for lane in 0..width.lanes() as u64 {
            bytes.extend_from_slice(&(from + lane).to_le_bytes()[..16 / width.lanes()]);
        }
        let constant = self.b.func.dfg.constants.insert(bytes.into());
        self.b.ins().vconst(width.vector(), constant)
    }

    // ---- memory

    /// Where an element lies.
    pub(super) fn element(
        &mut self,
        start: Value,
        stride: Option<Value>,
        size: i64,
        index: Value,
    ) -> Value {
        if self.is_zero_int(index) {
            return start;
        }
        let offset = match (stride, size) {
            (Some(stride), _) => self.b.ins().imul(index, stride),
            (None, 1) => index,
            (None, _) => {
                let shift = i64::from(size.trailing_zeros());
                self.b.ins().ishl_imm_u(index, shift)
            }
        };
        self.b.ins().iadd(start, offset)
    }

    /// How far an index is from another.
    fn since(&mut self, from: Value, to: Value) -> Value {
        match self.is_zero_int(from) {
            true => to,
            false => self.b.ins().isub(to, from),
        }
    }

    /// Whether an int is the constant 0.
    pub(super) fn is_zero_int(&self, v: Value) -> bool {
        let dfg = &self.b.func.dfg;
        let Some(inst) = dfg.value_def(v).inst() else {
            return false;
        };
        match dfg.insts[inst] {
            InstructionData::UnaryImm {
                opcode: Opcode::Iconst,
                imm,
            } => imm.bits() == 0,
            _ => false,
        }
    }

    /// A stack slot for a step's elements.
    pub(super) fn slot(&mut self, size: i64) -> StackSlot {
        let bytes = self.copies as i64 * self.width.lanes() as i64 * size;
        let kind = StackSlotKind::ExplicitSlot;
        self.b
            .create_sized_stack_slot(StackSlotData::new(kind, bytes.max(16) as u32, 4))
    }
}
