//! Loads and stores: addresses, which index is compared with what, and where lanes find their elements.

use super::CheckKind;
use super::copies::Copy;
use super::lanes::{Condition, Cursor, Stream, Use};
use super::layout::{SINK, ZERO, root};
use super::stage::{Fact, Gen, Place, Result, arg, bug, memory, uses_axis};
use super::value::{Val, cast};
use crate::ast::Span;
use crate::loops::{
    BufferId, Elem, Expr, ExtentFrom, ExtentIndex, Fill, FoldOp, Home, How, Index, LoopAxisId,
    Stmt, ValueId,
};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, StackSlot, StackSlotData, StackSlotKind, Value, types};

/// A load.
pub(super) struct Read<'a> {
    pub from: BufferId,
    pub at: &'a [Index],
    pub when: Option<ValueId>,
    pub or: Option<ValueId>,
    pub checked: bool,
    pub span: Option<Span>,
}

/// So many streams of a lane loop have their addresses in registers.
const REGISTER_STREAMS: usize = 4;

/// What a lane loop walks through.
struct Walk<'a> {
    axis: LoopAxisId,
    buffer: BufferId,
    at: &'a [Index],
    how: Use,
    condition: Option<Condition>,
    span: Option<Span>,
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
                Some(linear) => {
                    let extent = self.extent(extent);
                    let linear = self.b.ins().imul(linear, extent);
                    self.b.ins().iadd(linear, index)
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

    /// One past the last byte of a buffer.
    pub(super) fn buffer_end(&mut self, buffer: BufferId, own: bool) -> Value {
        let base = self.base(buffer, own);
        let mut cells: Option<Value> = None;
        for extent in self.dims(buffer) {
            let extent = self.extent(extent);
            cells = Some(cells.map_or(extent, |n| self.b.ins().imul(n, extent)));
        }
        let size = self.elem_size(self.elem(buffer));
        match cells {
            None => self.b.ins().iadd_imm_s(base, size),
            Some(cells) => self.element(base, None, size, cells),
        }
    }

    /// Bytes from one element along the lane axis to the next; `None` where it is an element's size.
    fn stride(&mut self, buffer: BufferId, at: &[Index], axis: LoopAxisId) -> Option<Value> {
        let dims = self.dims(buffer);
        let last = at.len().checked_sub(1)?;
        if !uses_axis(&at[..last], axis) {
            return None;
        }
        let mut stride = self.b.ins().iconst(types::I64, 0);
        let mut step = self.b.ins().iconst(types::I64, 1);
        for (index, extent) in at.iter().zip(dims).rev() {
            if uses_axis(std::slice::from_ref(index), axis) {
                stride = self.b.ins().iadd(stride, step);
            }
            let extent = self.extent(extent);
            step = self.b.ins().imul(step, extent);
        }
        let size = self.elem_size(self.elem(buffer));
        Some(self.b.ins().imul_imm_s(stride, size))
    }

    // ---- streams of a lane loop

    /// Collects the memory that a lane loop's body walks through, for the loop's start.
    pub(super) fn find_streams(
        &mut self,
        axis: LoopAxisId,
        body: &[Stmt],
        streams: &mut Vec<Stream>,
    ) -> Result<()> {
        self.scan_streams(axis, body, false, streams)?;
        // Where two stores may meet in one element, neither may keep it in a slot until the end of the tail.
        let mut stores = vec![];
        self.find_places(body, &mut stores);
        streams.retain(|s| {
            let meets = |&(buffer, at): &(BufferId, &[Index])| {
                buffer == s.buffer && at != s.at && !apart(at, &s.at, axis)
            };
            s.how == Use::Load || !stores.iter().any(meets)
        });
        Ok(())
    }

    /// Where a block stores: buffer and indices.
    fn find_places<'b>(&self, block: &'b [Stmt], out: &mut Vec<(BufferId, &'b [Index])>) {
        for stmt in block {
            match stmt {
                Stmt::Store { to, at, .. } => out.push((root(self.unit.loops, *to), at)),
                Stmt::Loop { body, .. } | Stmt::If { then: body, .. } => {
                    self.find_places(body, out)
                }
                Stmt::Let(..)
                | Stmt::Fold { .. }
                | Stmt::Fill { .. }
                | Stmt::Sort(_)
                | Stmt::Gemm(_) => {}
            }
        }
    }

    fn scan_streams(
        &mut self,
        axis: LoopAxisId,
        body: &[Stmt],
        within_if: bool,
        streams: &mut Vec<Stream>,
    ) -> Result<()> {
        for stmt in body {
            match stmt {
                // Constants may stand anywhere; made here they serve as conditions.
                Stmt::Let(id, expr @ (Expr::Bool(_) | Expr::Int(_))) => self.make(*id, expr)?,
                Stmt::Let(
                    id,
                    Expr::Load {
                        from,
                        at,
                        when,
                        or,
                        checked,
                    },
                ) => {
                    self.check_rank(*from, at)?;
                    let condition = self.condition(*from, at, (*when, *or, *checked));
                    let walk = Walk {
                        axis,
                        buffer: *from,
                        at,
                        how: Use::Load,
                        condition,
                        span: self.unit.loops.values[id.0 as usize].span,
                    };
                    if !within_if || self.all_proved(*from, at) {
                        self.add_stream(walk, streams)?;
                    }
                }
                Stmt::Store {
                    to, at, how, guard, ..
                } => {
                    self.check_rank(*to, at)?;
                    let keeps = guard.is_some() || *how != How::Set || within_if;
                    let condition = (!self.all_proved(*to, at)).then(Condition::default);
                    let walk = Walk {
                        axis,
                        buffer: *to,
                        at,
                        how: Use::Store { keeps },
                        condition,
                        span: None,
                    };
                    if !within_if || condition.is_none() {
                        self.add_stream(walk, streams)?;
                    }
                }
                Stmt::If { then, .. } => self.scan_streams(axis, then, true, streams)?,
                Stmt::Let(..)
                | Stmt::Loop { .. }
                | Stmt::Fold { .. }
                | Stmt::Fill { .. }
                | Stmt::Sort(_)
                | Stmt::Gemm(_) => {}
            }
        }
        Ok(())
    }

    /// What a load depends on beyond its address; nothing where it is in range whatever the data are.
    fn condition(
        &self,
        from: BufferId,
        at: &[Index],
        (when, or, checked): (Option<ValueId>, Option<ValueId>, bool),
    ) -> Option<Condition> {
        let conditional = checked || or.is_some() || when.is_some();
        let or = or.is_some();
        (conditional && !self.all_proved(from, at)).then_some(Condition { when, or, checked })
    }

    fn add_stream(&mut self, walk: Walk, streams: &mut Vec<Stream>) -> Result<()> {
        let Walk {
            axis,
            buffer,
            at,
            how,
            condition,
            ..
        } = walk;
        let owner = root(self.unit.loops, buffer);
        let same = |s: &&mut Stream| s.buffer == owner && s.at == at && s.condition == condition;
        for s in streams.iter_mut().filter(same) {
            match (&mut s.how, how) {
                // What is loaded after a store is found where the store left it.
                (Use::Load | Use::Store { .. }, Use::Load) => return Ok(()),
                (Use::Store { keeps }, Use::Store { keeps: also }) => {
                    *keeps |= also;
                    return Ok(());
                }
                (Use::Load, Use::Store { .. }) => {}
            }
        }
        if !uses_axis(at, axis) || !self.uniform_condition(&walk) {
            return Ok(());
        }
        let stores = |s: &Stream| s.buffer == owner && (s.how != Use::Load || how != Use::Load);
        if condition.is_some() && streams.iter().any(stores) {
            return Ok(());
        }
        let zero = self.b.ins().iconst(types::I64, 0);
        let mut indices = vec![];
        for index in at {
            indices.push(match index {
                Index::Axis(a) if *a == axis => zero,
                Index::Shift(a, by) if *a == axis => self.b.ins().iconst(types::I64, *by),
                Index::Axis(a) | Index::Shift(a, _) => {
                    if !self.places.iter().any(|(open, _)| open == a) {
                        return Ok(());
                    }
                    self.index(index, None)?
                }
                Index::Const(_) => self.index(index, None)?,
                Index::Value(v) => match self.values.get(v.0 as usize) {
                    Some(Some(Val::Int(v))) => *v,
                    _ => return Ok(()),
                },
            });
        }
        let own = how != Use::Load;
        let size = self.elem_size(self.elem(buffer));
        let mut stride = self.stride(buffer, at, axis);
        let fine = self.stream_fine(&walk, &indices)?;
        if let Some(fine) = fine {
            stride = stride.map(|stride| {
                let size = self.b.ins().iconst(types::I64, size);
                self.b.ins().select(fine, stride, size)
            });
        }
        let start = self.address(buffer, &indices, own);
        let slot = self.slot(size);
        if fine.is_some() && !own {
            self.clear_slot(slot, size);
        }
        // What lies apart needs many registers anyway.
        let held = (stride.is_some() || streams.len() >= REGISTER_STREAMS)
            .then(|| self.hold_stream(start, stride));
        streams.push(Stream {
            buffer: owner,
            at: at.to_vec(),
            condition,
            fine,
            size,
            how,
            written: false,
            start,
            stride,
            slot,
            held,
        });
        Ok(())
    }

    fn hold_stream(&mut self, start: Value, stride: Option<Value>) -> StackSlot {
        let data = StackSlotData::new(StackSlotKind::ExplicitSlot, 32, 4);
        let slot = self.b.create_sized_stack_slot(data);
        self.b.ins().stack_store(types::I64, start, slot, 0);
        if let Some(stride) = stride {
            self.b.ins().stack_store(types::I64, stride, slot, 8);
        }
        slot
    }

    /// Whether all indices that may be out of range are the same for all lanes.
    fn uniform_condition(&self, walk: &Walk) -> bool {
        if walk.condition.is_none() {
            return true;
        }
        let at = walk.at.iter().zip(self.dims(walk.buffer));
        at.into_iter()
            .all(|(i, e)| !uses_axis(std::slice::from_ref(i), walk.axis) || self.proved(i, e))
    }

    /// Whether a condition is the same for all lanes and known before the loop.
    fn known_before(&self, when: ValueId) -> bool {
        let val = self.values.get(when.0 as usize).copied().flatten();
        val.is_some_and(|v| !v.lanes())
    }

    /// Whether the elements of a stream are there, for all lanes alike; nothing where they always are. Where they must
    /// be and are not, ends the call.
    fn stream_fine(&mut self, walk: &Walk, indices: &[Value]) -> Result<Option<Value>> {
        let Some(condition) = walk.condition else {
            return Ok(None);
        };
        let store = walk.how != Use::Load;
        let early = condition.when.is_none_or(|when| self.known_before(when));
        let when = match condition.when {
            Some(when) if early => Some(self.flag(when)?),
            _ => None,
        };
        let mut fine = when;
        if early && !(condition.checked || condition.or || store) {
            return Ok(fine);
        }
        // An error is reported at the first element; without one there is none.
        let (begin, end) = self.range(walk.axis);
        self.places.push((walk.axis, Place::Lanes));
        for (k, extent) in self.dims(walk.buffer).into_iter().enumerate() {
            if self.proved(&walk.at[k], extent) {
                continue;
            }
            // Where the condition is one of the lanes', the range alone decides, and the load checks.
            if !early || !condition.checked || condition.or {
                let inside = self.in_range(indices[k], extent);
                fine = Some(fine.map_or(inside, |f| self.b.ins().band(f, inside)));
            } else if self.unchecked(indices[k], extent, condition.when, Some(walk.axis)) {
                let inside = self.in_range(indices[k], extent);
                let some = self.b.ins().icmp(IntCC::SignedLessThan, begin, end);
                let needed = when.map_or(some, |when| self.b.ins().band(some, when));
                let ok = self.or_idle(inside, Some(needed));
                let check = self.index_check(walk.buffer, k, walk.span);
                self.check(ok, check, indices[k], Some(begin))?;
            }
        }
        self.places.pop();
        Ok(fine)
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

    /// Zeros: what is read where nothing is there.
    fn clear_slot(&mut self, slot: StackSlot, size: i64) {
        let zero = self.emitter(1).bits(0).values()[0];
        let bytes = (self.copies * self.width.lanes()) as i64 * size;
        for k in (0..bytes.max(16)).step_by(16) {
            self.b.ins().stack_store(types::I64, zero, slot, k as i32);
        }
    }

    /// Whether a load in a lane loop may be put off, as it walks through memory that the loop only reads; and whether
    /// it may be repeated, as it is cheap.
    pub(super) fn reloads(&self, expr: &Expr) -> Option<bool> {
        let Expr::Load {
            from,
            at,
            when,
            or,
            checked,
        } = expr
        else {
            return None;
        };
        let lanes = self.lane_loop.as_ref()?;
        let condition = self.condition(*from, at, (*when, *or, *checked));
        let owner = root(self.unit.loops, *from);
        if lanes.stored.contains(&owner) {
            return None;
        }
        let same = |s: &&Stream| s.buffer == owner && s.at == *at && s.condition == condition;
        let found = lanes.streams.iter().find(same)?;
        Some(found.stride.is_none())
    }

    /// The buffers in whose memory a block stores.
    pub(super) fn find_stored(&self, block: &[Stmt], out: &mut Vec<BufferId>) {
        for stmt in block {
            match stmt {
                Stmt::Store { to, .. } | Stmt::Fill { to, .. } => {
                    out.push(root(self.unit.loops, *to));
                }
                Stmt::Sort(sort) => out.push(root(self.unit.loops, sort.into)),
                Stmt::Gemm(gemm) => out.push(root(self.unit.loops, gemm.c.buffer)),
                Stmt::Loop { body, .. } | Stmt::If { then: body, .. } => {
                    self.find_stored(body, out)
                }
                Stmt::Let(..) | Stmt::Fold { .. } => {}
            }
        }
    }

    fn stream_cursor(
        &mut self,
        buffer: BufferId,
        at: &[Index],
        condition: Option<Condition>,
        store: bool,
    ) -> Option<(Cursor, Option<Value>)> {
        let owner = root(self.unit.loops, buffer);
        let lanes = self.lane_loop.as_mut()?;
        let index = lanes.index;
        let mut same = lanes
            .streams
            .iter_mut()
            .filter(|s| s.buffer == owner && s.at == at && s.condition == condition);
        // A load reads what a store of this step wrote.
        let first = same.next()?;
        let s = match same.next() {
            Some(second) if store || second.written => second,
            _ => first,
        };
        if store && s.how == Use::Load {
            return None;
        }
        s.written |= store;
        let (size, fine, slot) = (s.size, s.fine, s.slot);
        let (at, held) = ((s.start, s.stride), s.held);
        let (start, stride) = self.placed(at, held);
        let mut address = self.element(start, stride, size, index);
        if let Some(fine) = fine {
            let slot = self.b.ins().stack_addr(types::I64, slot, 0);
            address = self.b.ins().select(fine, address, slot);
        }
        Some((Cursor { address, stride }, fine))
    }

    // ---- loads

    pub(super) fn load(&mut self, read: Read) -> Result<Val> {
        self.check_rank(read.from, read.at)?;
        let Some(axis) = self.lane_loop.as_ref().map(|l| l.axis) else {
            return self.load_one(&read);
        };
        let condition = self.condition(read.from, read.at, (read.when, read.or, read.checked));
        if let Some((cursor, fine)) = self.stream_cursor(read.from, read.at, condition, false) {
            if let (Some(_), Some(when)) = (fine, read.when)
                && read.checked
                && read.or.is_none()
                && self.val(when)?.lanes()
            {
                self.check_lanes(&read, when)?;
            }
            let loaded = self.load_lanes(read.from, cursor)?;
            return match (read.or, fine) {
                (Some(or), Some(fine)) => {
                    let or = self.val(or)?;
                    let mask = self.mask_of(Val::Flag(fine))?;
                    let mask = self.spread(mask);
                    self.pick_lanes(mask, loaded, or)
                }
                _ => Ok(loaded),
            };
        }
        let proved = self.all_proved(read.from, read.at);
        let conditional = read.checked || read.or.is_some() || read.when.is_some();
        let by_value = self.lane_values(read.at)?;
        let uniform = !uses_axis(read.at, axis) && !by_value;
        let mut lane_conditions = false;
        for v in [read.when, read.or].into_iter().flatten() {
            lane_conditions |= !proved && self.val(v)?.lanes();
        }
        if uniform && !lane_conditions {
            return self.load_one(&read);
        }
        if uniform && read.or.is_none() {
            return self.load_for_lanes(&read);
        }
        if by_value || (conditional && !proved) {
            return self.gather(&read);
        }
        let cursor = self.place_cursor(read.from, read.at, axis, false)?;
        let size = self.elem_size(self.elem(read.from));
        let end = self.buffer_end(read.from, false);
        let cursor = self.through_slot(cursor, size, Some(end))?;
        self.load_lanes(read.from, cursor)
    }

    /// One cell that only some lanes need: it is read wherever it is.
    fn load_for_lanes(&mut self, read: &Read) -> Result<Val> {
        if let (true, Some(when)) = (read.checked, read.when) {
            self.check_lanes(read, when)?;
        }
        let lane = self.lane_index();
        let mut indices = vec![];
        let mut fine: Option<Value> = None;
        for (index, extent) in read.at.iter().zip(self.dims(read.from)) {
            let v = self.index(index, lane)?;
            if !self.proved(index, extent) {
                let inside = self.in_range(v, extent);
                fine = Some(fine.map_or(inside, |f| self.b.ins().band(f, inside)));
            }
            indices.push(v);
        }
        let mut address = self.address(read.from, &indices, false);
        if let Some(fine) = fine {
            let zero = self.cell_address(ZERO);
            address = self.b.ins().select(fine, address, zero);
        }
        self.load_cell(read.from, address)
    }

    /// Ends the call if indices that are the same for all lanes are out of range where a condition holds: at the first
    /// such lane.
    fn check_lanes(&mut self, read: &Read, when: ValueId) -> Result<()> {
        let when = self.val(when)?;
        let when = self.mask_of(when)?;
        let (when, valid) = (self.spread(when), self.valid_masks()?);
        let alive = self.emitter(when.copies()).and(when, valid);
        let mut lanes = self.b.ins().iconst(types::I64, 0);
        for (k, &mask) in alive.values().iter().enumerate() {
            let mask = cast(&mut self.b, self.width.integer(), mask);
            let bits = self.b.ins().vhigh_bits(types::I64, mask);
            let bits = self
                .b
                .ins()
                .ishl_imm_u(bits, (k * self.width.lanes()) as i64);
            lanes = self.b.ins().bor(lanes, bits);
        }
        let first = self.b.ins().ctz(lanes);
        let first = self.lane_index().map(|i| self.b.ins().iadd(i, first));
        let none = self.b.ins().icmp_imm_s(IntCC::Equal, lanes, 0);
        for (k, extent) in self.dims(read.from).into_iter().enumerate() {
            if self.proved(&read.at[k], extent) {
                continue;
            }
            let index = self.index(&read.at[k], None)?;
            let inside = self.in_range(index, extent);
            let ok = self.b.ins().bor(inside, none);
            let check = self.index_check(read.from, k, read.span);
            self.check(ok, check, index, first)?;
        }
        Ok(())
    }

    /// Whether an index differs from lane to lane through a computed value.
    fn lane_values(&mut self, at: &[Index]) -> Result<bool> {
        for index in at {
            if let Index::Value(v) = index
                && self.val(*v)?.lanes()
            {
                return Ok(true);
            }
        }
        Ok(false)
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
        let tail = self.in_tail()?;
        let slot = self.slot(size);
        let [copy, done] = [0; 2].map(|_| self.b.create_block());
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
        let count = self.b.ins().isub(end, i);
        let copy = Copy {
            to: (slot, None),
            from: (from.address, from.stride),
            size,
        };
        match end_of {
            None => self.copy(&[copy], count),
            Some(_) => self.copy_each(&[copy], count),
        }
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

    /// One cell, the same for all lanes.
    fn load_one(&mut self, read: &Read) -> Result<Val> {
        let lane = self.lane_index();
        let mut indices = vec![];
        for index in read.at {
            indices.push(self.index(index, lane)?);
        }
        let proved = self.all_proved(read.from, read.at);
        let when = match read.when {
            Some(w) if !proved => Some(self.flag(w)?),
            _ => None,
        };
        let compare = !proved && (read.checked || read.or.is_some());
        let mut fine: Option<Value> = when;
        if compare {
            for (k, extent) in self.dims(read.from).into_iter().enumerate() {
                if self.proved(&read.at[k], extent) {
                    continue;
                }
                if read.or.is_some() {
                    let inside = self.in_range(indices[k], extent);
                    fine = Some(fine.map_or(inside, |f| self.b.ins().band(f, inside)));
                } else if self.unchecked(indices[k], extent, read.when, None) {
                    let inside = self.in_range(indices[k], extent);
                    let ok = self.or_idle(inside, when);
                    let check = self.index_check(read.from, k, read.span);
                    self.check(ok, check, indices[k], lane)?;
                }
            }
        }
        let mut address = self.address(read.from, &indices, false);
        if let Some(fine) = fine {
            let zero = self.cell_address(ZERO);
            address = self.b.ins().select(fine, address, zero);
        }
        let loaded = self.load_cell(read.from, address)?;
        match (read.or, fine) {
            (Some(or), Some(fine)) if compare => {
                let or = self.val(or)?;
                self.pick(fine, loaded, or)
            }
            _ => Ok(loaded),
        }
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

    /// One of two values by a flag that is the same for all lanes.
    fn pick(&mut self, flag: Value, a: Val, b: Val) -> Result<Val> {
        Ok(match (a, b) {
            (Val::Int(a), Val::Int(b)) => Val::Int(self.b.ins().select(flag, a, b)),
            (Val::Flag(a), b) => {
                let b = self.flag_of(b)?;
                Val::Flag(self.b.ins().select(flag, a, b))
            }
            (a, b) => {
                let (mask, _) = self.mask_of(Val::Flag(flag))?;
                let (a, b) = (self.at_width(a, self.width)?, self.at_width(b, self.width)?);
                let v = self.emitter(1).select(mask, a.0, b.0);
                self.real_val(v, false)
            }
        })
    }

    fn load_cell(&mut self, buffer: BufferId, address: Value) -> Result<Val> {
        let scalar = self.load_scalar(self.elem(buffer), address);
        match self.elem(buffer) {
            Elem::Int => Ok(Val::Int(scalar)),
            Elem::Bool => Ok(Val::Flag(scalar)),
            Elem::Sum => {
                let v = self.b.ins().splat(types::F64X2, scalar);
                Ok(Val::Real {
                    vectors: super::value::bundle(&[v])?,
                    width: super::math::Width::F64X2,
                    lanes: false,
                })
            }
            Elem::Real => self.splat(scalar),
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

    /// Lane by lane, each with its own address, its conditions and its checks.
    fn gather(&mut self, read: &Read) -> Result<Val> {
        let when = read.when.map(|w| self.val(w)).transpose()?;
        let alive = self.alive(when)?;
        let checked = read.checked && read.or.is_none();
        let lanes = self.lane_index_lists(read.at)?;
        let dims = self.dims(read.from);
        let mut checks = vec![None; dims.len()];
        let zero = self.cell_address(ZERO);
        let (mut cells, mut fines) = (vec![], vec![]);
        for (k, indices) in lanes.iter().enumerate() {
            let mut fine = alive[k];
            for (d, (&index, &extent)) in indices.iter().zip(&dims).enumerate() {
                if self.proved(&read.at[d], extent) {
                    continue;
                }
                let inside = self.in_range(index, extent);
                if checked {
                    let check = match checks[d] {
                        Some(check) => check,
                        None => self.index_check(read.from, d, read.span),
                    };
                    checks[d] = Some(check);
                    let ok = self.or_idle(inside, Some(alive[k]));
                    let lane = self.lane_at(k);
                    self.check(ok, check, index, lane)?;
                } else {
                    fine = self.b.ins().band(fine, inside);
                }
            }
            let address = self.address(read.from, indices, false);
            let address = self.b.ins().select(fine, address, zero);
            cells.push(self.load_scalar(self.elem(read.from), address));
            fines.push(fine);
        }
        let loaded = self.lanes_from_scalars(self.elem(read.from), &cells)?;
        let Some(or) = read.or else {
            return Ok(loaded);
        };
        let mask = self.masks_from_flags(&fines)?;
        let or = self.val(or)?;
        self.pick_lanes(mask, loaded, or)
    }

    /// The indices of each lane.
    fn lane_index_lists(&mut self, at: &[Index]) -> Result<Vec<Vec<Value>>> {
        let mut columns = vec![];
        for index in at {
            columns.push(match index {
                Index::Value(v) => {
                    let v = self.val(*v)?;
                    Some(self.lane_ints(v)?)
                }
                Index::Axis(_) | Index::Shift(..) | Index::Const(_) => None,
            });
        }
        let mut out = vec![];
        for k in 0..self.copies * self.width.lanes() {
            let lane = self.lane_at(k);
            let mut indices = vec![];
            for (index, column) in at.iter().zip(&columns) {
                indices.push(match column {
                    Some(c) => c[k],
                    None => self.index(index, lane)?,
                });
            }
            out.push(indices);
        }
        Ok(out)
    }

    // ---- stores

    pub(super) fn store(
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
        let Some((i, end)) = self.lane_loop.as_ref().map(|l| (l.index, l.end)) else {
            return Err(bug("no lane loop"));
        };
        let tail = self.in_tail()?;
        let [copy, done] = [0; 2].map(|_| self.b.create_block());
        self.b.ins().brif(tail, copy, &[], done, &[]);
        self.enter(copy);
        let count = self.b.ins().isub(end, i);
        let copy = Copy {
            to: (target.address, target.stride),
            from: (cursor.address, cursor.stride),
            size,
        };
        self.copy(&[copy], count);
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
        let mut fine = guard.map(|g| self.flag_of(g)).transpose()?;
        for (k, extent) in self.dims(to).into_iter().enumerate() {
            if self.proved(&at[k], extent) {
                continue;
            }
            let inside = self.in_range(indices[k], extent);
            fine = Some(match fine {
                None => inside,
                Some(f) => self.b.ins().band(f, inside),
            });
        }
        let after = match fine {
            None => None,
            Some(fine) => {
                let [inside, after] = [0; 2].map(|_| self.b.create_block());
                self.b.ins().brif(fine, inside, &[], after, &[]);
                self.enter(inside);
                Some(after)
            }
        };
        let address = self.address(to, &indices, true);
        let mut scalar = self.scalar_of(self.elem(to), value)?;
        if let How::Combine(op) = how {
            let old = self.load_scalar(self.elem(to), address);
            scalar = self.combine_cells(op, old, scalar)?;
        }
        self.b.ins().store(memory(), scalar, address, 0);
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
        let dims = self.dims(to);
        let sink = self.cell_address(SINK);
        for (k, indices) in lists.iter().enumerate() {
            let mut fine = alive[k];
            for (d, (&index, &extent)) in indices.iter().zip(&dims).enumerate() {
                if !self.proved(&at[d], extent) {
                    let inside = self.in_range(index, extent);
                    fine = self.b.ins().band(fine, inside);
                }
            }
            let address = self.address(to, indices, true);
            let address = self.b.ins().select(fine, address, sink);
            let mut scalar = scalars[k];
            if let How::Combine(op) = how {
                let old = self.load_scalar(self.elem(to), address);
                scalar = self.combine_cells(op, old, scalar)?;
            }
            self.b.ins().store(memory(), scalar, address, 0);
        }
        Ok(())
    }

    // ---- fills

    /// Fills the cells whose given indices are fixed: along the leading dims at most, so the rest is one piece.
    pub(super) fn fill(&mut self, to: BufferId, at: &[Option<Index>], with: Fill) -> Result<()> {
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
    fn fill_strided(&mut self, to: BufferId, at: &[Option<Index>], with: Fill) -> Result<()> {
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

    fn fill_value(&mut self, elem: Elem, with: Fill) -> Result<Value> {
        let (real, int) = identity(with);
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

/// What a fill writes, as a real and as an int.
pub fn identity(with: Fill) -> (f64, i64) {
    match with {
        Fill::Zero => (0.0, 0),
        Fill::Identity(op) => match op {
            FoldOp::Sum | FoldOp::Count | FoldOp::Any => (0.0, 0),
            FoldOp::Prod | FoldOp::All => (1.0, 1),
            FoldOp::Max => (f64::NEG_INFINITY, i64::MIN),
            FoldOp::Min => (f64::INFINITY, i64::MAX),
            FoldOp::ArgMax | FoldOp::ArgMin => (0.0, -1),
        },
    }
}

/// Whether two places of a buffer are different elements in all lanes.
fn apart(a: &[Index], b: &[Index], lanes: LoopAxisId) -> bool {
    let plain = |index: &Index| match *index {
        Index::Axis(axis) if axis != lanes => Some((Some(axis), 0)),
        Index::Shift(axis, by) if axis != lanes => Some((Some(axis), by)),
        Index::Const(c) => Some((None, c)),
        Index::Axis(_) | Index::Shift(..) | Index::Value(_) => None,
    };
    a.iter().zip(b).any(|(a, b)| match (plain(a), plain(b)) {
        (Some((over, x)), Some((other, y))) => over == other && x != y,
        _ => false,
    })
}
