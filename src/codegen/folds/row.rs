//! Sums and products of one element at a time, in the order of a lane loop: its lanes are in memory.

use super::lanes::neutral_floats;
use super::{Accumulator, BLOCK, Kind, SUM_VECTORS};
use crate::codegen::math::Width;
use crate::codegen::stage::{Gen, Result, memory};
use crate::codegen::value::{Val, high_half, second_lane};
use cranelift::frontend::Variable;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, StackSlot, StackSlotData, StackSlotKind, Value, types};

impl<'u, 'f> Gen<'u, 'f> {
    pub(super) fn row_start(&mut self, kind: Kind) -> Result<Accumulator> {
        let bytes = (16 * SUM_VECTORS) as u32;
        let data = StackSlotData::new(StackSlotKind::ExplicitSlot, bytes, 4);
        let lanes = self.b.create_sized_stack_slot(data);
        self.clear_row(kind, lanes);
        let carry = self.carry_start(kind);
        let zero = self.b.ins().iconst(types::I64, 0);
        Ok(Accumulator::Row {
            lanes,
            carry,
            count: self.variable(zero),
        })
    }

    fn clear_row(&mut self, kind: Kind, lanes: StackSlot) {
        let start = self.vector_identity(kind);
        for k in 0..SUM_VECTORS {
            self.b
                .ins()
                .stack_store(types::I64, start, lanes, 16 * k as i32);
        }
    }

    /// Adds one element to its lane.
    pub(super) fn fold_row(
        &mut self,
        kind: Kind,
        (lanes, count): (StackSlot, Variable),
        value: Val,
        guard: Option<Val>,
    ) -> Result<()> {
        let (x, _) = self.at_width(value, self.width)?;
        let x = match guard {
            None => x,
            Some(guard) => {
                let (mask, _) = self.mask_of(guard)?;
                neutral_floats(&mut self.emitter(1), kind, x, mask)
            }
        };
        let x = self.b.ins().extractlane(x.values()[0], 0);
        let ty = self.b.func.dfg.value_type(x);
        let k = self.b.use_var(count);
        let all = (SUM_VECTORS * self.width.lanes()) as i64;
        let lane = self.b.ins().band_imm_s(k, all - 1);
        let base = self.b.ins().stack_addr(types::I64, lanes, 0);
        let cell = self.element(base, None, i64::from(ty.bytes()), lane);
        let old = self.b.ins().load(ty, memory(), cell, 0);
        let new = match kind {
            Kind::Prod => self.b.ins().fmul(old, x),
            _ => self.b.ins().fadd(old, x),
        };
        self.b.ins().store(memory(), new, cell, 0);
        Ok(())
    }

    /// After one or several elements: carry every [`BLOCK`] elements.
    pub(super) fn count_row(
        &mut self,
        kind: Kind,
        (lanes, carry, count): (StackSlot, StackSlot, Variable),
        elements: i64,
    ) -> Result<()> {
        let n = self.b.use_var(count);
        let n = self.b.ins().iadd_imm_s(n, elements);
        self.b.def_var(count, n);
        let within = self.b.ins().band_imm_s(n, BLOCK - 1);
        let full = self.b.ins().icmp_imm_s(IntCC::Equal, within, 0);
        let [flush, after] = [0; 2].map(|_| self.b.create_block());
        self.b.ins().brif(full, flush, &[], after, &[]);
        self.enter(flush);
        self.carry_row(kind, lanes, carry);
        self.clear_row(kind, lanes);
        self.b.ins().jump(after, &[]);
        self.enter(after);
        Ok(())
    }

    pub(super) fn carry_start(&mut self, kind: Kind) -> StackSlot {
        let data = StackSlotData::new(StackSlotKind::ExplicitSlot, 16, 4);
        let carry = self.b.create_sized_stack_slot(data);
        let start = self.one_identity(kind);
        self.b.ins().stack_store(types::I64, start, carry, 0);
        carry
    }

    pub(super) fn carried(&mut self, carry: StackSlot) -> Value {
        self.b.ins().stack_load(types::I64, types::F64X2, carry, 0)
    }

    /// Adds to a carry what the lanes of its sum add up to.
    pub(super) fn carry_into(&mut self, kind: Kind, carry: StackSlot, x: Value) {
        let old = self.carried(carry);
        let new = self.add_or_multiply(kind, old, x);
        self.b.ins().stack_store(types::I64, new, carry, 0);
    }

    pub(super) fn carry_row(&mut self, kind: Kind, lanes: StackSlot, carry: StackSlot) {
        let vector = self.width.vector();
        let v = [0, 1, 2, 3].map(|k| self.b.ins().stack_load(types::I64, vector, lanes, 16 * k));
        let x = self.add_lanes(kind, v);
        self.carry_into(kind, carry, x);
    }

    pub(super) fn add_or_multiply(&mut self, kind: Kind, x: Value, y: Value) -> Value {
        match kind {
            Kind::Prod => self.b.ins().fmul(x, y),
            _ => self.b.ins().fadd(x, y),
        }
    }

    /// The lanes of four accumulators pairwise, in lane 0 of a vector of f64.
    pub(super) fn add_lanes(&mut self, kind: Kind, v: [Value; SUM_VECTORS]) -> Value {
        let x = self.add_or_multiply(kind, v[0], v[2]);
        let y = self.add_or_multiply(kind, v[1], v[3]);
        let x = self.add_or_multiply(kind, x, y);
        let high = high_half(&mut self.b, x);
        let x = self.add_or_multiply(kind, x, high);
        if self.width == Width::F64X2 {
            return x;
        }
        let second = second_lane(&mut self.b, x);
        let x = self.add_or_multiply(kind, x, second);
        self.b.ins().fvpromote_low(x)
    }
}
