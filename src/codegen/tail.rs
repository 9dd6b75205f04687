//! The steps of a lane loop that have fewer elements than lanes.

use super::copies::Copy;
use super::lanes::{Stream, Use};
use super::layout::{MASK_CELLS, MASKS};
use super::math::Bundle;
use super::stage::{Gen, Result, arg, bug, memory};
use super::value::{Val, bundle};
use crate::loops::{ExtentIndex, Index};
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
        let (mut near, mut far) = (vec![arg(limit)], vec![arg(limit)]);
        let mut fits: Option<Value> = None;
        let (mut loads, mut kept) = (vec![], vec![]);
        let mut moved = vec![];
        let mut compared: Vec<(&[Index], Vec<ExtentIndex>)> = vec![];
        let mut bytes: Vec<(i64, Value)> = vec![];
        for s in streams {
            let (origin, stride) = self.origin(s);
            let before = match bytes.iter().find(|(size, _)| *size == s.size) {
                Some(&(_, before)) => before,
                None => {
                    let shift = i64::from(s.size.trailing_zeros());
                    let before = match shift {
                        0 => i,
                        _ => self.b.ins().ishl_imm_u(i, shift),
                    };
                    bytes.push((s.size, before));
                    before
                }
            };
            // Where element 0 would lie, so that the tail's first element is the slot's first.
            let slot = self.b.ins().stack_addr(types::I64, s.slot, 0);
            let start = self.b.ins().isub(slot, before);
            let size = stride.map(|_| self.b.ins().iconst(types::I64, s.size));
            let copy = Copy {
                to: (start, None),
                from: (self.or_slot(s, origin, start), stride),
                size: s.size,
            };
            match s.how {
                Use::Load => {
                    self.place_stream(s, origin, stride, &mut near);
                    let place = (&s.at[..], self.dims(s.buffer));
                    // Elements at the same place of arrays of one shape are all within or none is.
                    if s.fine.is_some() || !compared.contains(&place) {
                        let from = self.element(origin, stride, s.size, i);
                        let beyond = self.buffer_end(s.buffer);
                        let mut inside = self.step_fits(from, stride, s.size, beyond);
                        match s.fine {
                            None => compared.push(place),
                            Some(fine) => {
                                let none = self.b.ins().icmp_imm_s(IntCC::Equal, fine, 0);
                                inside = self.b.ins().bor(inside, none);
                            }
                        }
                        fits = Some(match fits {
                            None => inside,
                            Some(f) => self.b.ins().band(f, inside),
                        });
                    }
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
        self.copy_padded(&kept, (i, end), limit);
        let Some(fits) = fits else {
            self.b.ins().jump(ready, &near);
            return;
        };
        let copying = self.b.create_block();
        self.b.set_cold_block(copying);
        self.b.ins().brif(fits, ready, &near, copying, &[]);
        self.enter(copying);
        for (s, start, size) in moved {
            self.place_stream(s, start, size, &mut vec![]);
        }
        self.copy_padded(&loads, (i, end), limit);
        self.b.ins().jump(ready, &far);
    }

    /// Where a stream's elements are, or its slot where they are not there: what is copied is the slot itself then.
    fn or_slot(&mut self, s: &Stream, origin: Value, slot: Value) -> Value {
        match s.fine {
            None => origin,
            Some(fine) => self.b.ins().select(fine, origin, slot),
        }
    }

    /// Whether this step is the tail: a whole one ends where the loop does at the latest.
    pub(super) fn in_tail(&mut self) -> Result<Value> {
        let (index, end) = (self.current()?.index, self.current()?.end);
        let step = (self.copies * self.width.lanes()) as i64;
        let next = self.b.ins().iadd_imm_s(index, step);
        Ok(self.b.ins().icmp(IntCC::SignedGreaterThan, next, end))
    }

    /// After a phase: what the tail stored goes from where the phase found the stream to where it belongs.
    pub(super) fn leave_step(
        &mut self,
        streams: &[Stream],
        phase: &[(Value, Option<Value>)],
        (next, limit, end): (Value, Value, Value),
    ) -> Result<()> {
        let stored = |s: &Stream| s.how != Use::Load;
        if !streams.iter().any(stored) {
            return Ok(());
        }
        let [out, done] = [0; 2].map(|_| self.b.create_block());
        self.b.set_cold_block(out);
        let tail = self.b.ins().icmp(IntCC::SignedGreaterThan, next, end);
        self.b.ins().brif(tail, out, &[], done, &[]);
        self.enter(out);
        let mut copies = vec![];
        for (s, &placed) in streams.iter().zip(phase).filter(|(s, _)| stored(s)) {
            let (origin, stride) = self.origin(s);
            let (slot, _) = self.placed(placed, s.held);
            let to = self.or_slot(s, origin, slot);
            copies.push(Copy {
                to: (to, stride),
                from: (slot, None),
                size: s.size,
            });
        }
        let step = (self.copies * self.width.lanes()) as i64;
        // Not from `next`, or instruction selection would keep the step's own index for this.
        let i = self.b.ins().iadd_imm_s(limit, -step);
        self.copy(&copies, (i, end));
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
        self.masks_of(left, 0)
    }

    /// The same where this step is the tail, and the next one would begin at `next`.
    pub(super) fn tail_masks(&mut self, next: Value) -> Result<Bundle> {
        let beyond = self.current()?.end;
        let beyond = self.b.ins().isub(beyond, next);
        self.masks_of(beyond, self.copies)
    }

    /// Masks of the first `count` lanes and those of `whole` vectors.
    fn masks_of(&mut self, count: Value, whole: usize) -> Result<Bundle> {
        let bytes = 16 / self.width.lanes();
        let shift = i64::from(bytes.trailing_zeros());
        let back = self.b.ins().ishl_imm_u(count, shift);
        let from = self.b.ins().isub(self.context, back);
        let vector = self.width.vector();
        let mut out = vec![];
        for k in 0..self.copies {
            let offset = 8 * (MASKS + MASK_CELLS / 2) + 16 * k - 16 * whole;
            out.push(self.b.ins().load(vector, memory(), from, offset as i32));
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
