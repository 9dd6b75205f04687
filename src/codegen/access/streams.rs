//! The memory that a lane loop walks through: found before the loop, its addresses held through it.

use crate::ast::Span;
use crate::codegen::lanes::{Condition, Cursor, Stream, Use};
use crate::codegen::layout::root;
use crate::codegen::stage::{Gen, Place, Result, uses_axis};
use crate::codegen::value::Val;
use crate::loops::block::each_statement;
use crate::loops::{BufferId, Expr, How, Index, LoopAxisId, Stmt, ValueId};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, StackSlot, StackSlotData, StackSlotKind, Value, types};

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
    /// Bytes from one element along the lane axis to the next; `None` where it is an element's size.
    pub(super) fn stride(
        &mut self,
        buffer: BufferId,
        at: &[Index],
        axis: LoopAxisId,
    ) -> Option<Value> {
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

    /// Collects the memory that a lane loop's body walks through, for the loop's start.
    pub(in crate::codegen) fn find_streams(
        &mut self,
        axis: LoopAxisId,
        body: &[Stmt],
        streams: &mut Vec<Stream>,
    ) -> Result<()> {
        self.scan_streams(axis, body, streams)?;
        // Where two stores may meet in one element, neither may keep it in a slot until the end of the tail.
        let mut stores = vec![];
        each_statement(body, &mut |s| {
            if let Stmt::Store { to, at, .. } = s {
                stores.push((root(self.unit.loops, *to), at.as_slice()));
            }
        });
        streams.retain(|s| {
            let meets = |&(buffer, at): &(BufferId, &[Index])| {
                buffer == s.buffer && at != s.at && !apart(at, &s.at, axis)
            };
            s.how == Use::Load || !stores.iter().any(meets)
        });
        Ok(())
    }

    fn scan_streams(
        &mut self,
        axis: LoopAxisId,
        body: &[Stmt],
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
                    self.add_stream(walk, streams)?;
                }
                Stmt::Store {
                    to, at, how, guard, ..
                } => {
                    self.check_rank(*to, at)?;
                    let keeps = guard.is_some() || *how != How::Set;
                    let condition = (!self.all_proved(*to, at)).then(Condition::default);
                    let walk = Walk {
                        axis,
                        buffer: *to,
                        at,
                        how: Use::Store { keeps },
                        condition,
                        span: None,
                    };
                    self.add_stream(walk, streams)?;
                }
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
    pub(super) fn condition(
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
    pub(in crate::codegen) fn reloads(&self, expr: &Expr) -> Option<bool> {
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

    pub(super) fn stream_cursor(
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
