//! Loads and stores: addresses, which index is compared with what, and where lanes find their elements.

mod load;
pub mod store;
mod streams;

use super::CheckKind;
use super::checks::Fact;
use super::copies::Copy;
use super::lanes::Cursor;
use super::layout::root;
use super::stage::{Gen, Place, Result, arg, bug, memory};
use super::value::Val;
use crate::ast::Span;
use crate::loops::{BufferId, Elem, ExtentFrom, ExtentIndex, Home, Index, LoopAxisId, ValueId};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value, types};

/// A load.
pub(super) struct Read<'a> {
    pub from: BufferId,
    pub at: &'a [Index],
    pub when: Option<ValueId>,
    pub or: Option<ValueId>,
    pub checked: bool,
    pub span: Option<Span>,
}

impl<'u, 'f> Gen<'u, 'f> {
    // ---- what is known

    pub(super) fn elem(&self, buffer: BufferId) -> Elem {
        self.unit.loops.buffers[buffer.0 as usize].elem
    }

    pub(super) fn elem_size(&self, elem: Elem) -> i64 {
        match elem {
            Elem::Real => self.unit.dtype.size() as i64,
            Elem::Sum | Elem::Int => 8,
            Elem::Bool => 1,
        }
    }

    pub(super) fn dims(&self, buffer: BufferId) -> Vec<ExtentIndex> {
        let dims = &self.unit.loops.buffers[buffer.0 as usize].dims;
        dims.iter().map(|d| d.extent).collect()
    }

    /// Whether an index is below the extent whatever the data are.
    fn proved(&self, index: &Index, extent: ExtentIndex) -> bool {
        let loops = self.unit.loops;
        match index {
            Index::Axis(a) => loops.axes[a.0 as usize].extent == extent,
            Index::Const(c) => match &loops.extents[extent.0 as usize].from {
                ExtentFrom::Constant(n) => u64::try_from(*c).is_ok_and(|c| c < *n),
                ExtentFrom::Input(_) | ExtentFrom::Expr(_) => false,
            },
            Index::Value(v) => {
                let info = loops.values.get(v.0 as usize);
                info.is_some_and(|i| i.place_of == Some(extent))
            }
            Index::Shift(..) => false,
        }
    }

    fn all_proved(&self, buffer: BufferId, at: &[Index]) -> bool {
        at.iter()
            .zip(self.dims(buffer))
            .all(|(i, e)| self.proved(i, e))
    }

    fn check_rank(&self, buffer: BufferId, at: &[Index]) -> Result<()> {
        let known = self.unit.loops.buffers.get(buffer.0 as usize);
        let known = known.ok_or_else(|| bug("an unknown buffer"))?;
        if known.dims.len() == at.len() {
            Ok(())
        } else {
            Err(bug(&format!("{} indices for `{}`", at.len(), known.name)))
        }
    }

    /// The value of an index; of the lane loop's axis, `lane`.
    pub(super) fn index(&mut self, index: &Index, lane: Option<Value>) -> Result<Value> {
        let place = |g: &Self, a: LoopAxisId| match g.place(a)? {
            Place::One(v) => Ok(v),
            Place::Lanes => lane.ok_or_else(|| bug("a lane's index outside of lanes")),
        };
        match index {
            Index::Axis(a) => place(self, *a),
            Index::Shift(a, by) => {
                let v = place(self, *a)?;
                Ok(self.b.ins().iadd_imm_s(v, *by))
            }
            Index::Const(c) => Ok(self.b.ins().iconst(types::I64, *c)),
            Index::Value(v) => self.int(*v),
        }
    }

    pub(super) fn axis_index(&mut self, axis: LoopAxisId) -> Result<Val> {
        match self.place(axis)? {
            Place::One(v) => Ok(Val::Int(v)),
            Place::Lanes => self.lane_indices(),
        }
    }

    /// Where a buffer begins; `own` for the chunk's cells of a total.
    fn base(&mut self, buffer: BufferId, own: bool) -> Value {
        let buffer = root(self.unit.loops, buffer);
        let cell = match self.unit.loops.buffers[buffer.0 as usize].home {
            Home::Total(_) if own => self.unit.layout.partial(buffer),
            Home::Total(_) | Home::Input | Home::Output | Home::Full | Home::Row => {
                self.unit.layout.buffer(buffer)
            }
        };
        self.cell(cell)
    }

    /// The address of the element at these indices.
    pub(super) fn address(&mut self, buffer: BufferId, indices: &[Value], own: bool) -> Value {
        let base = self.base(buffer, own);
        let dims = self.dims(buffer);
        let mut linear: Option<Value> = None;
        for (&index, extent) in indices.iter().zip(dims) {
            linear = Some(match linear {
                None => index,
                Some(linear) if self.is_zero_int(linear) => index,
                Some(linear) => {
                    let extent = self.extent(extent);
                    let linear = self.b.ins().imul(linear, extent);
                    match self.is_zero_int(index) {
                        true => linear,
                        false => self.b.ins().iadd(linear, index),
                    }
                }
            });
        }
        match linear {
            None => base,
            Some(linear) => {
                let size = self.elem_size(self.elem(buffer));
                self.element(base, None, size, linear)
            }
        }
    }

    /// One past the last byte of a buffer; of a total, of the merged cells.
    pub(super) fn buffer_end(&mut self, buffer: BufferId) -> Value {
        let buffer = root(self.unit.loops, buffer);
        self.cell(self.unit.layout.end(buffer))
    }

    /// Whether an index still has to be checked; notes that it is.
    fn unchecked(
        &mut self,
        index: Value,
        extent: ExtentIndex,
        when: Option<ValueId>,
        axis: Option<LoopAxisId>,
    ) -> bool {
        let facts = [(None, None), (when, None), (None, axis), (when, axis)];
        let fact = |(when, axis)| Fact::Checked(index, extent, when, axis);
        if facts.iter().any(|&f| self.known.get(fact(f)).is_some()) {
            return false;
        }
        self.known.add(fact((when, axis)), index);
        true
    }

    /// Where lane 0 of the current step lies.
    fn place_cursor(
        &mut self,
        buffer: BufferId,
        at: &[Index],
        axis: LoopAxisId,
        own: bool,
    ) -> Result<Cursor> {
        let lane = self.lane_index();
        let mut indices = vec![];
        for index in at {
            indices.push(self.index(index, lane)?);
        }
        let address = self.address(buffer, &indices, own);
        let stride = self.stride(buffer, at, axis);
        Ok(Cursor { address, stride })
    }

    /// In the tail, the elements copied to a slot, as nothing beyond the buffer's `end` may be read; without an end, as
    /// nothing beyond the last element may be written.
    fn through_slot(&mut self, from: Cursor, size: i64, end_of: Option<Value>) -> Result<Cursor> {
        let Some((i, end)) = self.lane_loop.as_ref().map(|l| (l.index, l.end)) else {
            return Err(bug("no lane loop"));
        };
        if self.in_group() {
            return Ok(from);
        }
        let tail = self.in_tail()?;
        let slot = self.slot(size);
        let [copy, done] = [0; 2].map(|_| self.b.create_block());
        self.b.set_cold_block(copy);
        let args: Vec<Value> = [Some(from.address), from.stride]
            .into_iter()
            .flatten()
            .collect();
        let args: Vec<_> = args.into_iter().map(arg).collect();
        let beyond = match end_of {
            None => tail,
            Some(end) => {
                let fits = self.step_fits(from.address, from.stride, size, end);
                let beyond = self.b.ins().icmp_imm_s(IntCC::Equal, fits, 0);
                self.b.ins().band(tail, beyond)
            }
        };
        self.b.ins().brif(beyond, copy, &[], done, &args);
        self.enter(copy);
        let slot = self.b.ins().stack_addr(types::I64, slot, 0);
        let first = self.b.ins().iconst(types::I64, 0);
        let count = self.b.ins().isub(end, i);
        let copy = Copy {
            to: (slot, None),
            from: (from.address, from.stride),
            size,
        };
        let lanes = (self.copies * self.width.lanes()) as i64;
        let step = self.b.ins().iconst(types::I64, lanes);
        self.copy_padded(&[copy], (first, count), step);
        let mut args = vec![arg(slot)];
        if from.stride.is_some() {
            args.push(arg(self.b.ins().iconst(types::I64, size)));
        }
        self.b.ins().jump(done, &args);
        let address = self.b.append_block_param(done, types::I64);
        let stride = from
            .stride
            .map(|_| self.b.append_block_param(done, types::I64));
        self.enter(done);
        Ok(Cursor { address, stride })
    }

    /// Whether the index is in range, as an i8.
    fn in_range(&mut self, index: Value, extent: ExtentIndex) -> Value {
        let extent = self.extent(extent);
        self.b.ins().icmp(IntCC::UnsignedLessThan, index, extent)
    }

    fn index_check(&mut self, from: BufferId, position: usize, span: Option<Span>) -> usize {
        let buffer = self.unit.loops.buffers[from.0 as usize].name.clone();
        self.new_check(CheckKind::Index { buffer, position }, span)
    }

    /// `fine`, or a condition does not hold.
    fn or_idle(&mut self, fine: Value, when: Option<Value>) -> Value {
        match when {
            None => fine,
            Some(when) => {
                let idle = self.b.ins().icmp_imm_s(IntCC::Equal, when, 0);
                self.b.ins().bor(fine, idle)
            }
        }
    }

    pub(super) fn load_scalar(&mut self, elem: Elem, address: Value) -> Value {
        let ty = self.scalar_type(elem);
        self.b.ins().load(ty, memory(), address, 0)
    }

    pub(super) fn scalar_type(&self, elem: Elem) -> cranelift_codegen::ir::Type {
        match elem {
            Elem::Real if self.unit.dtype == super::Dtype::F32 => types::F32,
            Elem::Real | Elem::Sum => types::F64,
            Elem::Int => types::I64,
            Elem::Bool => types::I8,
        }
    }
}
