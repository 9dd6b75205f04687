//! The steps of a lane loop that have fewer elements than lanes.

use super::copies::Copy;
use super::lanes::{Stream, Use};
use super::layout::{MASK_CELLS, MASKS};
use super::math::Bundle;
use super::stage::{Gen, Result, arg, bug, memory};
use super::value::{Val, bundle};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{Block, InstBuilder, Value, types};

impl<'u, 'f> Gen<'u, 'f> {
    /// Stores of the tail go to slots. Loads come from slots, too, where a whole step would reach beyond the buffer.
    pub(super) fn enter_tail(
        &mut self,
        streams: &[Stream],
        (i, end, limit): (Value, Value, Value),
        ready: Block,
    ) {
        let count = self.b.ins().isub(end, i);
        let (mut near, mut far) = (vec![arg(limit)], vec![arg(limit)]);
        let mut fits: Option<Value> = None;
        let (mut loads, mut kept) = (vec![], vec![]);
        let mut moved = vec![];
        for s in streams {
            let (origin, stride) = self.origin(s);
            let from = self.element(origin, stride, s.size, i);
            let slot = self.b.ins().stack_addr(types::I64, s.slot, 0);
            let back = self.b.ins().imul_imm_s(i, s.size);
            let start = self.b.ins().isub(slot, back);
            let size = stride.map(|_| self.b.ins().iconst(types::I64, s.size));
            // Where nothing is there the slot is copied to itself.
            let address = self.or_slot(s, from, slot);
            let copy = Copy {
                to: (slot, None),
                from: (address, stride),
                size: s.size,
            };
            match s.how {
                Use::Load => {
                    self.place_stream(s, origin, stride, &mut near);
                    let end = self.buffer_end(s.buffer, false);
                    let mut inside = self.step_fits(from, stride, s.size, end);
                    if let Some(fine) = s.fine {
                        let none = self.b.ins().icmp_imm_s(IntCC::Equal, fine, 0);
                        inside = self.b.ins().bor(inside, none);
                    }
                    fits = Some(match fits {
                        None => inside,
                        Some(f) => self.b.ins().band(f, inside),
                    });
                    loads.push(copy);
                    if s.held.is_some() {
                        moved.push((s, start, size));
                    } else {
                        far.extend([Some(start), size].into_iter().flatten().map(arg));
                    }
                }
                Use::Store { keeps } => {
                    self.place_stream(s, start, size, &mut near);
                    if s.held.is_none() {
                        far.extend([Some(start), size].into_iter().flatten().map(arg));
                    }
                    if keeps {
                        kept.push(copy);
                    }
                }
            }
        }
        self.copy(&kept, count);
        let Some(fits) = fits else {
            self.b.ins().jump(ready, &near);
            return;
        };
        let copying = self.b.create_block();
        self.b.ins().brif(fits, ready, &near, copying, &[]);
        self.enter(copying);
        for (s, start, size) in moved {
            self.place_stream(s, start, size, &mut vec![]);
        }
        self.copy_each(&loads, count);
        self.b.ins().jump(ready, &far);
    }

    /// The address, or that of the slot where the stream's elements are not there.
    fn or_slot(&mut self, s: &Stream, address: Value, slot: Value) -> Value {
        match s.fine {
            None => address,
            Some(fine) => self.b.ins().select(fine, address, slot),
        }
    }

    /// Whether this step is the tail: a whole one ends where the loop does at the latest.
    pub(super) fn in_tail(&mut self) -> Result<Value> {
        let (index, end) = (self.current()?.index, self.current()?.end);
        let step = (self.copies * self.width.lanes()) as i64;
        let next = self.b.ins().iadd_imm_s(index, step);
        Ok(self.b.ins().icmp(IntCC::SignedGreaterThan, next, end))
    }

    /// After a phase: what the tail stored goes where it belongs.
    pub(super) fn leave_step(
        &mut self,
        streams: &[Stream],
        (i, next, end): (Value, Value, Value),
    ) -> Result<()> {
        let stored = |s: &&Stream| s.how != Use::Load;
        if !streams.iter().any(|s| stored(&s)) {
            return Ok(());
        }
        let [out, done] = [0; 2].map(|_| self.b.create_block());
        let tail = self.b.ins().icmp(IntCC::SignedGreaterThan, next, end);
        self.b.ins().brif(tail, out, &[], done, &[]);
        self.enter(out);
        let count = self.b.ins().isub(end, i);
        let mut copies = vec![];
        for s in streams.iter().filter(stored) {
            let slot = self.b.ins().stack_addr(types::I64, s.slot, 0);
            let (start, stride) = self.origin(s);
            let to = self.element(start, stride, s.size, i);
            let to = self.or_slot(s, to, slot);
            copies.push(Copy {
                to: (to, stride),
                from: (slot, None),
                size: s.size,
            });
        }
        self.copy(&copies, count);
        self.b.ins().jump(done, &[]);
        self.enter(done);
        Ok(())
    }

    /// Which lanes are elements, as masks of all vectors in flight: part of a table that the caller holds.
    pub(super) fn valid_masks(&mut self) -> Result<Bundle> {
        let (index, end) = (self.current()?.index, self.current()?.end);
        let left = self.b.ins().isub(end, index);
        let step = (self.copies * self.width.lanes()) as i64;
        let step = self.b.ins().iconst(types::I64, step);
        let left = self.b.ins().smin(left, step);
        let bytes = (16 / self.width.lanes()) as i64;
        let back = self.b.ins().imul_imm_s(left, bytes);
        let from = self.cell_address(MASKS + MASK_CELLS / 2);
        let from = self.b.ins().isub(from, back);
        let vector = self.width.vector();
        let mut out = vec![];
        for k in 0..self.copies {
            let offset = 16 * k as i32;
            out.push(self.b.ins().load(vector, memory(), from, offset));
        }
        bundle(&out)
    }

    /// For each lane an i8: whether it is an element and a condition holds.
    pub(super) fn alive(&mut self, when: Option<Val>) -> Result<Vec<Value>> {
        let end = self.current()?.end;
        let group = self.in_group();
        let conditions = match when {
            Some(when) => Some(self.lane_flags(when)?),
            None => None,
        };
        let mut out = vec![];
        for k in 0..self.copies * self.width.lanes() {
            if group {
                let all = || self.b.ins().iconst(types::I8, 1);
                out.push(conditions.as_ref().map_or_else(all, |c| c[k]));
                continue;
            }
            let index = self.lane_at(k).ok_or_else(|| bug("no lane loop"))?;
            let mut alive = self.b.ins().icmp(IntCC::SignedLessThan, index, end);
            if let Some(c) = &conditions {
                alive = self.b.ins().band(alive, c[k]);
            }
            out.push(alive);
        }
        Ok(out)
    }
}
