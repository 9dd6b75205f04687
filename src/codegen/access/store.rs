//! Stores, updates in place, scatters, and fills.

use crate::codegen::copies::Copy;
use crate::codegen::lanes::Condition;
use crate::codegen::layout::SINK;
use crate::codegen::stage::{Gen, Result, arg, bug, memory, uses_axis};
use crate::codegen::value::Val;
use crate::loops::{BufferId, Elem, FoldOp, How, Index, LoopAxisId, ValueId};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value, types};

impl<'u, 'f> Gen<'u, 'f> {
    pub(in crate::codegen) fn store(
        &mut self,
        to: BufferId,
        at: &[Index],
        how: How,
        value: ValueId,
        guard: Option<ValueId>,
    ) -> Result<()> {
        self.check_rank(to, at)?;
        let value = self.val(value)?;
        let guard = guard.map(|g| self.val(g)).transpose()?;
        let Some(axis) = self.lane_loop.as_ref().map(|l| l.axis) else {
            return self.store_one(to, at, how, value, guard);
        };
        let condition = (!self.all_proved(to, at)).then(Condition::default);
        if let Some((cursor, _)) = self.stream_cursor(to, at, condition, true) {
            return self.store_lanes(to, cursor, how, value, guard);
        }
        if !uses_axis(at, axis) && !self.lane_values(at)? {
            return Err(bug("a store of lanes into one cell"));
        }
        if self.lane_values(at)? || !self.all_proved(to, at) {
            return self.scatter(to, at, how, value, guard);
        }
        self.store_in_place(to, at, how, value, guard, axis)
    }

    /// A store whose address changes within the lane loop: in the tail through a slot.
    fn store_in_place(
        &mut self,
        to: BufferId,
        at: &[Index],
        how: How,
        value: Val,
        guard: Option<Val>,
        axis: LoopAxisId,
    ) -> Result<()> {
        let size = self.elem_size(self.elem(to));
        let target = self.place_cursor(to, at, axis, true)?;
        let cursor = self.through_slot(target, size, None)?;
        self.store_lanes(to, cursor, how, value, guard)?;
        if self.in_group() {
            return Ok(());
        }
        let Some((i, end)) = self.lane_loop.as_ref().map(|l| (l.index, l.end)) else {
            return Err(bug("no lane loop"));
        };
        let tail = self.in_tail()?;
        let [copy, done] = [0; 2].map(|_| self.b.create_block());
        self.b.set_cold_block(copy);
        self.b.ins().brif(tail, copy, &[], done, &[]);
        self.enter(copy);
        let first = self.b.ins().iconst(types::I64, 0);
        let count = self.b.ins().isub(end, i);
        let copy = Copy {
            to: (target.address, target.stride),
            from: (cursor.address, cursor.stride),
            size,
        };
        self.copy(&[copy], (first, count));
        self.b.ins().jump(done, &[]);
        self.enter(done);
        Ok(())
    }

    /// One cell. Out of range nothing is stored.
    fn store_one(
        &mut self,
        to: BufferId,
        at: &[Index],
        how: How,
        value: Val,
        guard: Option<Val>,
    ) -> Result<()> {
        let mut indices = vec![];
        for index in at {
            indices.push(self.index(index, None)?);
        }
        let guard = guard.map(|g| self.flag_of(g)).transpose()?;
        let after = match self.inside(to, at, &indices, guard) {
            None => None,
            Some(fine) => {
                let [inside, after] = [0; 2].map(|_| self.b.create_block());
                self.b.ins().brif(fine, inside, &[], after, &[]);
                self.enter(inside);
                Some(after)
            }
        };
        let address = self.address(to, &indices, true);
        let scalar = self.scalar_of(self.elem(to), value)?;
        self.store_cell(to, how, scalar, address)?;
        if let Some(after) = after {
            self.b.ins().jump(after, &[]);
            self.enter(after);
        }
        Ok(())
    }

    /// Two cells' contents.
    fn combine_cells(&mut self, op: FoldOp, x: Value, y: Value) -> Result<Value> {
        let ty = self.b.func.dfg.value_type(x);
        let real = ty.is_float();
        Ok(match (op, real) {
            (FoldOp::Sum, true) => self.b.ins().fadd(x, y),
            (FoldOp::Prod, true) => self.b.ins().fmul(x, y),
            (FoldOp::Max, true) => self.b.ins().fmax(x, y),
            (FoldOp::Min, true) => self.b.ins().fmin(x, y),
            (FoldOp::Sum | FoldOp::Count, false) => self.b.ins().iadd(x, y),
            (FoldOp::Prod, false) => self.b.ins().imul(x, y),
            (FoldOp::Max, false) => self.b.ins().smax(x, y),
            (FoldOp::Min, false) => self.b.ins().smin(x, y),
            (FoldOp::Any, false) => self.b.ins().bor(x, y),
            (FoldOp::All, false) => self.b.ins().band(x, y),
            (FoldOp::Any | FoldOp::All | FoldOp::Count, true)
            | (FoldOp::ArgMax | FoldOp::ArgMin, _) => {
                return Err(bug("this fold cannot combine cells"));
            }
        })
    }

    /// Lane by lane, in the order of the lanes; what must not be stored goes to a cell that nobody reads.
    fn scatter(
        &mut self,
        to: BufferId,
        at: &[Index],
        how: How,
        value: Val,
        guard: Option<Val>,
    ) -> Result<()> {
        let alive = self.alive(guard)?;
        let lists = self.lane_index_lists(at)?;
        let scalars = self.scalars_of(self.elem(to), value)?;
        let sink = self.cell_address(SINK);
        for (k, indices) in lists.iter().enumerate() {
            let fine = self.inside(to, at, indices, Some(alive[k]));
            let mut address = self.address(to, indices, true);
            if let Some(fine) = fine {
                address = self.b.ins().select(fine, address, sink);
            }
            self.store_cell(to, how, scalars[k], address)?;
        }
        Ok(())
    }

    /// The guard, and whether those indices that may be out of range are in it.
    fn inside(
        &mut self,
        to: BufferId,
        at: &[Index],
        indices: &[Value],
        guard: Option<Value>,
    ) -> Option<Value> {
        let mut fine = guard;
        for ((index, &value), extent) in at.iter().zip(indices).zip(self.dims(to)) {
            if self.proved(index, extent) {
                continue;
            }
            let inside = self.in_range(value, extent);
            fine = Some(match fine {
                None => inside,
                Some(f) => self.b.ins().band(f, inside),
            });
        }
        fine
    }

    /// Sets or combines the cell at an address.
    fn store_cell(
        &mut self,
        to: BufferId,
        how: How,
        mut scalar: Value,
        address: Value,
    ) -> Result<()> {
        if let How::Combine(op) = how {
            let old = self.load_scalar(self.elem(to), address);
            scalar = self.combine_cells(op, old, scalar)?;
        }
        self.b.ins().store(memory(), scalar, address, 0);
        Ok(())
    }

    /// Fills the cells whose given indices are fixed: along the leading dims at most, so the rest is one piece.
    pub(in crate::codegen) fn fill(
        &mut self,
        to: BufferId,
        at: &[Option<Index>],
        with: FoldOp,
    ) -> Result<()> {
        let dims = self.dims(to);
        let fixed = at.iter().take_while(|i| i.is_some()).count();
        if at.iter().skip(fixed).any(Option::is_some) {
            return self.fill_strided(to, at, with);
        }
        let mut indices = vec![];
        for index in at.iter().flatten() {
            indices.push(self.index(index, None)?);
        }
        let mut count = self.b.ins().iconst(types::I64, 1);
        for &extent in &dims[fixed..] {
            let extent = self.extent(extent);
            count = self.b.ins().imul(count, extent);
        }
        let zero = self.b.ins().iconst(types::I64, 0);
        indices.resize(dims.len(), zero);
        let start = self.address(to, &indices, true);
        let value = self.fill_value(self.elem(to), with)?;
        self.fill_run(start, self.elem_size(self.elem(to)), count, value);
        Ok(())
    }

    /// Loops over the free dims from the outside.
    fn fill_strided(&mut self, to: BufferId, at: &[Option<Index>], with: FoldOp) -> Result<()> {
        let dims = self.dims(to);
        let value = self.fill_value(self.elem(to), with)?;
        let mut indices = vec![];
        let mut open = vec![];
        for (index, &extent) in at.iter().zip(&dims) {
            if let Some(index) = index {
                indices.push(self.index(index, None)?);
                continue;
            }
            let zero = self.b.ins().iconst(types::I64, 0);
            let counter = self.variable(zero);
            let [head, inside, after] = [0; 3].map(|_| self.b.create_block());
            self.b.ins().jump(head, &[]);
            self.b.switch_to_block(head);
            let k = self.b.use_var(counter);
            let extent = self.extent(extent);
            let more = self.b.ins().icmp(IntCC::SignedLessThan, k, extent);
            self.b.ins().brif(more, inside, &[], after, &[]);
            self.enter(inside);
            indices.push(k);
            open.push((counter, k, head, after));
        }
        let address = self.address(to, &indices, true);
        self.b.ins().store(memory(), value, address, 0);
        for (counter, k, head, after) in open.into_iter().rev() {
            let next = self.b.ins().iadd_imm_s(k, 1);
            self.b.def_var(counter, next);
            self.b.ins().jump(head, &[]);
            self.b.seal_block(head);
            self.enter(after);
        }
        Ok(())
    }

    fn fill_value(&mut self, elem: Elem, with: FoldOp) -> Result<Value> {
        let (real, int) = with.identity();
        Ok(match self.scalar_type(elem) {
            types::F32 => self.b.ins().f32const(real as f32),
            types::F64 => self.b.ins().f64const(real),
            types::I8 => self.b.ins().iconst(types::I8, int & 1),
            _ => self.b.ins().iconst(types::I64, int),
        })
    }

    /// `count` cells, perhaps none.
    fn fill_run(&mut self, start: Value, size: i64, count: Value, value: Value) {
        let [head, step, done] = [0; 3].map(|_| self.b.create_block());
        let end = self.element(start, None, size, count);
        self.b.ins().jump(head, &[arg(start)]);
        let at = self.b.append_block_param(head, types::I64);
        self.b.switch_to_block(head);
        let more = self.b.ins().icmp(IntCC::UnsignedLessThan, at, end);
        self.b.ins().brif(more, step, &[], done, &[]);
        self.enter(step);
        self.b.ins().store(memory(), value, at, 0);
        let next = self.b.ins().iadd_imm_s(at, size);
        self.b.ins().jump(head, &[arg(next)]);
        self.b.seal_block(head);
        self.enter(done);
    }
}
