//! Elements in memory and as values: the lanes of a step, and single cells.

use super::lanes::Cursor;
use super::math::{Bundle, Width};
use super::stage::{Gen, Result, bug, memory};
use super::value::{Val, bundle, cast};
use crate::loops::{BufferId, Elem, FoldOp, How};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value, types};

impl<'u, 'f> Gen<'u, 'f> {
    fn elem_of(&self, buffer: BufferId) -> Elem {
        self.unit.loops.buffers[buffer.0 as usize].elem
    }

    /// The width of a buffer's reals in memory.
    fn memory_width(&self, elem: Elem) -> Width {
        match (elem, self.unit.dtype) {
            (Elem::Real, super::Dtype::F32) => Width::F32X4,
            (Elem::Real, super::Dtype::F64) | (Elem::Sum | Elem::Int | Elem::Bool, _) => {
                Width::F64X2
            }
        }
    }

    /// The elements of all lanes in flight.
    pub(super) fn load_lanes(&mut self, buffer: BufferId, from: Cursor) -> Result<Val> {
        let elem = self.elem_of(buffer);
        if let Some(stride) = from.stride {
            let mut cells = vec![];
            let mut address = from.address;
            for k in 0..self.copies * self.width.lanes() {
                if k > 0 {
                    address = self.b.ins().iadd(address, stride);
                }
                cells.push(self.load_scalar(elem, address));
            }
            return self.lanes_from_scalars(elem, &cells);
        }
        match elem {
            Elem::Real | Elem::Sum => self.load_reals(elem, from.address),
            Elem::Int => {
                let mut out = vec![];
                for k in 0..self.copies * self.pairs() {
                    let offset = 16 * k as i32;
                    let v = self
                        .b
                        .ins()
                        .load(types::I64X2, memory(), from.address, offset);
                    out.push(v);
                }
                Ok(Val::Ints(bundle(&out)?))
            }
            Elem::Bool => self.load_bools(from.address),
        }
    }

    fn load_reals(&mut self, elem: Elem, address: Value) -> Result<Val> {
        let width = self.memory_width(elem);
        let mut out = vec![];
        if width == Width::F32X4 && self.width == Width::F64X2 {
            // Two f32 at a time, as the stage computes in f64.
            for k in 0..self.copies {
                let pair = self
                    .b
                    .ins()
                    .load(types::I64, memory(), address, 8 * k as i32);
                let pair = self.b.ins().scalar_to_vector(types::I64X2, pair);
                let pair = cast(&mut self.b, types::F32X4, pair);
                out.push(self.b.ins().fvpromote_low(pair));
            }
            return Ok(self.real_val(bundle(&out)?, true));
        }
        let vectors = self.copies * self.width.lanes() / width.lanes();
        for k in 0..vectors {
            let offset = 16 * k as i32;
            out.push(self.b.ins().load(width.vector(), memory(), address, offset));
        }
        Ok(Val::Real {
            vectors: bundle(&out)?,
            width,
            lanes: true,
        })
    }

    /// Bytes of 0 or 1 as masks.
    fn load_bools(&mut self, address: Value) -> Result<Val> {
        let mut out = vec![];
        let integer = self.width.integer();
        for k in 0..self.copies {
            let (ty, vector) = match self.width {
                Width::F32X4 => (types::I32, types::I32X4),
                Width::F64X2 => (types::I16, types::I16X8),
            };
            let offset = (k * self.width.lanes()) as i32;
            let bytes = self.b.ins().load(ty, memory(), address, offset);
            let v = self.b.ins().scalar_to_vector(vector, bytes);
            let v = cast(&mut self.b, types::I8X16, v);
            let v = self.b.ins().uwiden_low(v);
            let mut v = self.b.ins().uwiden_low(v);
            if self.width == Width::F64X2 {
                v = self.b.ins().uwiden_low(v);
            }
            let zero = self.emitter(1).bits(0).values()[0];
            let zero = cast(&mut self.b, integer, zero);
            let mask = self.b.ins().icmp(IntCC::NotEqual, v, zero);
            out.push(cast(&mut self.b, self.width.vector(), mask));
        }
        Ok(Val::Mask {
            vectors: bundle(&out)?,
            lanes: true,
        })
    }

    /// A value from one cell's content for each lane.
    pub(super) fn lanes_from_scalars(&mut self, elem: Elem, cells: &[Value]) -> Result<Val> {
        match elem {
            Elem::Int => Ok(Val::Ints(self.vectors_of(types::I64X2, cells)?)),
            Elem::Bool => {
                let vectors = self.masks_from_flags(cells)?;
                Ok(Val::Mask {
                    vectors,
                    lanes: true,
                })
            }
            Elem::Real | Elem::Sum => {
                let width = match self.memory_width(elem) {
                    // A stage in f64 over f32 arrays: each lane is promoted first.
                    Width::F32X4 if self.width == Width::F64X2 => {
                        let mut wide = vec![];
                        for &x in cells {
                            wide.push(self.b.ins().fpromote(types::F64, x));
                        }
                        let vectors = self.vectors_of(types::F64X2, &wide)?;
                        return Ok(self.real_val(vectors, true));
                    }
                    width => width,
                };
                Ok(Val::Real {
                    vectors: self.vectors_of(width.vector(), cells)?,
                    width,
                    lanes: true,
                })
            }
        }
    }

    /// Masks from an i8 of 0 or 1 for each lane.
    pub(super) fn masks_from_flags(&mut self, flags: &[Value]) -> Result<Bundle> {
        let integer = self.width.integer();
        let mut bits = vec![];
        for &f in flags {
            bits.push(self.b.ins().bmask(integer.lane_type(), f));
        }
        let masks = self.vectors_of(integer, &bits)?;
        let vector = self.width.vector();
        let out: Vec<Value> = masks
            .values()
            .iter()
            .map(|&m| cast(&mut self.b, vector, m))
            .collect();
        bundle(&out)
    }

    /// `a` where the mask is set, else `b`, of each lane.
    pub(super) fn pick_lanes(&mut self, mask: Bundle, a: Val, b: Val) -> Result<Val> {
        match a {
            Val::Int(_) | Val::Ints(_) => {
                let (a, b) = (self.ints_of(a)?, self.ints_of(b)?);
                let wide = self.wide_masks(mask)?;
                let mut out = vec![];
                for ((&m, &a), &b) in wide.values().iter().zip(a.values()).zip(b.values()) {
                    let m = cast(&mut self.b, types::I64X2, m);
                    out.push(self.b.ins().bitselect(m, a, b));
                }
                Ok(Val::Ints(bundle(&out)?))
            }
            Val::Flag(_) | Val::Mask { .. } => {
                let (a, b) = (self.mask_of(a)?, self.mask_of(b)?);
                let (a, b) = (self.spread(a), self.spread(b));
                let vectors = self.emitter(mask.copies()).select(mask, a, b);
                Ok(Val::Mask {
                    vectors,
                    lanes: true,
                })
            }
            Val::Real { .. } => {
                let (a, b) = (self.at_width(a, self.width)?, self.at_width(b, self.width)?);
                let (a, b) = (self.spread(a), self.spread(b));
                let vectors = self.emitter(mask.copies()).select(mask, a, b);
                Ok(self.real_val(vectors, true))
            }
        }
    }

    // ---- stores

    /// The content of one cell.
    pub(super) fn scalar_of(&mut self, elem: Elem, value: Val) -> Result<Value> {
        match (elem, value) {
            (Elem::Int, Val::Int(v)) => Ok(v),
            // A count of bools: 0 or 1.
            (Elem::Int, Val::Flag(v)) => Ok(self.b.ins().uextend(types::I64, v)),
            (Elem::Bool, v) => self.flag_of(v),
            (Elem::Real | Elem::Sum, Val::Int(v)) => {
                let ty = self.scalar_type(elem);
                Ok(self.b.ins().fcvt_from_sint(ty, v))
            }
            (Elem::Real | Elem::Sum, value) => {
                let width = self.memory_width(elem);
                let (v, lanes) = self.at_width(value, width)?;
                if lanes {
                    return Err(bug("lanes stored into one cell"));
                }
                Ok(self.b.ins().extractlane(v.values()[0], 0))
            }
            (Elem::Int, _) => Err(bug("an int was expected")),
        }
    }

    /// A cell's content for each lane.
    pub(super) fn scalars_of(&mut self, elem: Elem, value: Val) -> Result<Vec<Value>> {
        match elem {
            Elem::Int => self.lane_ints(value),
            Elem::Bool => self.lane_flags(value),
            Elem::Real | Elem::Sum => {
                let v = self.reals_for(elem, value)?;
                if self.memory_width(elem) == Width::F32X4 && self.width == Width::F64X2 {
                    let mut out = vec![];
                    for &v in v.values() {
                        out.push(self.b.ins().extractlane(v, 0));
                        out.push(self.b.ins().extractlane(v, 1));
                    }
                    return Ok(out);
                }
                let mut lanes = self.lanes_of(v);
                lanes.truncate(self.copies * self.width.lanes());
                if v.copies() > self.copies && self.memory_width(elem) == self.width {
                    return Err(bug("more lanes than there are"));
                }
                Ok(lanes)
            }
        }
    }

    /// The vectors of a real as it lies in memory; where a stage in f64 stores f32, two lanes of each are used.
    fn reals_for(&mut self, elem: Elem, value: Val) -> Result<Bundle> {
        let width = self.memory_width(elem);
        if width == Width::F32X4 && self.width == Width::F64X2 {
            let x = self.at_width(value, Width::F64X2)?;
            let x = self.spread(x);
            let mut out = vec![];
            for &v in x.values() {
                out.push(self.b.ins().fvdemote(v));
            }
            return bundle(&out);
        }
        let x = self.at_width(value, self.width)?;
        if width == self.width {
            return Ok(self.spread(x));
        }
        // A sum in an f32 kernel: the wide form keeps what a fold has not yet rounded.
        let (v, lanes) = self.at_width(value, width)?;
        if lanes {
            Ok(v)
        } else {
            Ok(Bundle::repeat(v.values()[0], 2 * self.copies))
        }
    }

    /// Stores all lanes in flight. In the tail the cursor is a slot, so all of them may be written.
    pub(super) fn store_lanes(
        &mut self,
        buffer: BufferId,
        to: Cursor,
        how: How,
        value: Val,
        guard: Option<Val>,
    ) -> Result<()> {
        let elem = self.elem_of(buffer);
        let mut value = value;
        if let How::Combine(op) = how {
            let old = self.load_lanes(buffer, to)?;
            value = self.combine_lanes(op, elem, old, value)?;
        }
        if let Some(guard) = guard {
            let old = self.load_lanes(buffer, to)?;
            value = self.guarded(elem, guard, value, old)?;
        }
        if to.stride.is_some() || elem == Elem::Bool {
            let size = self.elem_size(elem);
            let mut address = to.address;
            for (k, x) in self.scalars_of(elem, value)?.into_iter().enumerate() {
                if k > 0 {
                    address = match to.stride {
                        Some(stride) => self.b.ins().iadd(address, stride),
                        None => self.b.ins().iadd_imm_s(address, size),
                    };
                }
                self.b.ins().store(memory(), x, address, 0);
            }
            return Ok(());
        }
        match elem {
            Elem::Int | Elem::Bool => {
                let v = self.ints_of(value)?;
                for (k, &v) in v.values().iter().enumerate() {
                    self.b.ins().store(memory(), v, to.address, 16 * k as i32);
                }
            }
            Elem::Real | Elem::Sum => {
                let v = self.reals_for(elem, value)?;
                let half = self.memory_width(elem) == Width::F32X4 && self.width == Width::F64X2;
                for (k, &v) in v.values().iter().enumerate() {
                    if half {
                        let v = cast(&mut self.b, types::I64X2, v);
                        let pair = self.b.ins().extractlane(v, 0);
                        self.b.ins().store(memory(), pair, to.address, 8 * k as i32);
                    } else {
                        self.b.ins().store(memory(), v, to.address, 16 * k as i32);
                    }
                }
            }
        }
        Ok(())
    }

    /// The new value where the guard holds, else the old one.
    fn guarded(&mut self, elem: Elem, guard: Val, new: Val, old: Val) -> Result<Val> {
        let mask = self.mask_of(guard)?;
        let mask = self.spread(mask);
        if let (Elem::Sum, Width::F32X4) = (elem, self.width) {
            let wide = self.wide_masks(mask)?;
            let (new, old) = (self.reals_for(elem, new)?, self.reals_for(elem, old)?);
            let mut out = vec![];
            for ((&m, &a), &b) in wide.values().iter().zip(new.values()).zip(old.values()) {
                let m = cast(&mut self.b, types::F64X2, m);
                out.push(self.b.ins().bitselect(m, a, b));
            }
            return Ok(Val::Real {
                vectors: bundle(&out)?,
                width: Width::F64X2,
                lanes: true,
            });
        }
        self.pick_lanes(mask, new, old)
    }

    fn combine_lanes(&mut self, op: FoldOp, elem: Elem, old: Val, new: Val) -> Result<Val> {
        match elem {
            Elem::Real | Elem::Sum => {
                // Sums of an f32 kernel add in f64.
                let wide = elem == Elem::Sum && self.width == Width::F32X4;
                let (x, y, width) = if wide {
                    (
                        self.reals_for(elem, old)?,
                        self.reals_for(elem, new)?,
                        Width::F64X2,
                    )
                } else {
                    let (x, y) = (
                        self.at_width(old, self.width)?,
                        self.at_width(new, self.width)?,
                    );
                    (self.spread(x), self.spread(y), self.width)
                };
                let mut e = self.emitter_at(width, x.copies());
                let vectors = match op {
                    FoldOp::Sum => e.add(x, y),
                    FoldOp::Prod => e.mul(x, y),
                    FoldOp::Max => super::ops::max(&mut e, x, y),
                    FoldOp::Min => super::ops::min(&mut e, x, y),
                    FoldOp::Any | FoldOp::All | FoldOp::Count | FoldOp::ArgMax | FoldOp::ArgMin => {
                        return Err(bug("this fold cannot combine cells"));
                    }
                };
                Ok(Val::Real {
                    vectors,
                    width,
                    lanes: true,
                })
            }
            Elem::Int => {
                let (x, y) = (self.ints_of(old)?, self.ints_of(new)?);
                let mut out = vec![];
                for (&x, &y) in x.values().iter().zip(y.values()) {
                    out.push(match op {
                        FoldOp::Sum | FoldOp::Count => self.b.ins().iadd(x, y),
                        FoldOp::Prod => self.b.ins().imul(x, y),
                        FoldOp::Max | FoldOp::Min => {
                            let cc = if op == FoldOp::Max {
                                IntCC::SignedGreaterThan
                            } else {
                                IntCC::SignedLessThan
                            };
                            let m = self.b.ins().icmp(cc, x, y);
                            self.b.ins().bitselect(m, x, y)
                        }
                        FoldOp::Any | FoldOp::All | FoldOp::ArgMax | FoldOp::ArgMin => {
                            return Err(bug("this fold cannot combine cells"));
                        }
                    });
                }
                Ok(Val::Ints(bundle(&out)?))
            }
            Elem::Bool => {
                let (x, y) = (self.mask_of(old)?, self.mask_of(new)?);
                let (x, y) = (self.spread(x), self.spread(y));
                let mut e = self.emitter(x.copies());
                let vectors = match op {
                    FoldOp::Any => e.or(x, y),
                    FoldOp::All => e.and(x, y),
                    FoldOp::Sum
                    | FoldOp::Prod
                    | FoldOp::Max
                    | FoldOp::Min
                    | FoldOp::Count
                    | FoldOp::ArgMax
                    | FoldOp::ArgMin => return Err(bug("this fold cannot combine cells")),
                };
                Ok(Val::Mask {
                    vectors,
                    lanes: true,
                })
            }
        }
    }
}
