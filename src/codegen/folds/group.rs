//! Folds where the lanes are rows: over the elements of each row, and over the rows themselves.
//!
//! A row's sum adds in the order of a lane loop over the row, whose lanes are vectors here, one for each lane.

use super::{Accumulator, BLOCK, Kind, SUM_VECTORS};
use crate::codegen::stage::{Gen, Result, bug, memory};
use crate::codegen::value::{Val, bundle};
use crate::loops::{FoldId, ValueId};
use cranelift::frontend::Variable;
use cranelift_codegen::ir::{InstBuilder, StackSlot, StackSlotData, StackSlotKind, Value, types};

// A short row's sum is never carried into f64 before its end.
const _: () = assert!(crate::codegen::groups::SHORT_ROW < BLOCK as u64);

impl<'u, 'f> Gen<'u, 'f> {
    /// How many lanes a lane loop's sum has.
    fn sum_lanes(&self) -> usize {
        SUM_VECTORS * self.width.lanes()
    }

    /// A sum or product of each row's elements.
    pub(super) fn tree_start(&mut self, kind: Kind) -> Accumulator {
        let vectors = self.sum_lanes() * self.copies;
        let data = StackSlotData::new(StackSlotKind::ExplicitSlot, 16 * vectors as u32, 4);
        let lanes = self.b.create_sized_stack_slot(data);
        let start = self.vector_identity(kind);
        for k in 0..vectors {
            let at = 16 * k as i32;
            self.b.ins().stack_store(types::I64, start, lanes, at);
        }
        let zero = self.b.ins().iconst(types::I64, 0);
        Accumulator::Tree {
            lanes,
            count: self.variable(zero),
        }
    }

    /// Adds an element of each row.
    pub(super) fn fold_tree(
        &mut self,
        kind: Kind,
        (lanes, count): (StackSlot, Variable),
        value: Val,
        guard: Option<Val>,
    ) -> Result<()> {
        let x = self.elements(kind, value, guard)?;
        let k = self.b.use_var(count);
        let last = self.sum_lanes() as i64 - 1;
        let k = self.b.ins().band_imm_s(k, last);
        let base = self.b.ins().stack_addr(types::I64, lanes, 0);
        let at = self.element(base, None, 16 * self.copies as i64, k);
        self.add_to_memory(kind, at, x.values());
        Ok(())
    }

    fn add_to_memory(&mut self, kind: Kind, at: Value, vectors: &[Value]) {
        for (k, &x) in vectors.iter().enumerate() {
            let offset = 16 * k as i32;
            let ty = self.b.func.dfg.value_type(x);
            let old = self.b.ins().load(ty, memory(), at, offset);
            let new = self.add_or_multiply(kind, old, x);
            self.b.ins().store(memory(), new, at, offset);
        }
    }

    /// After the row's last element: the lanes pairwise.
    pub(super) fn finish_tree(&mut self, kind: Kind, lanes: StackSlot) -> Result<Val> {
        let vector = self.width.vector();
        let mut out = vec![];
        for k in 0..self.copies {
            let mut sums = vec![];
            for lane in 0..self.sum_lanes() {
                let at = 16 * (lane * self.copies + k) as i32;
                sums.push(self.b.ins().stack_load(types::I64, vector, lanes, at));
            }
            while sums.len() > 1 {
                let half = sums.split_off(sums.len() / 2);
                for (x, y) in sums.iter_mut().zip(half) {
                    *x = self.add_or_multiply(kind, *x, y);
                }
            }
            out.extend(sums);
        }
        Ok(self.real_val(bundle(&out)?, true))
    }

    /// A fold over the rows themselves, with a value for each row of the group.
    pub(super) fn fold_rows(
        &mut self,
        id: FoldId,
        value: ValueId,
        guard: Option<ValueId>,
    ) -> Result<()> {
        let kind = self.kind_of(id)?;
        let value = self.val(value)?;
        let guard = guard.map(|g| self.val(g)).transpose()?;
        let x = self.elements(kind, value, guard)?;
        match self.folds.get(&id).cloned() {
            Some(Accumulator::Row { lanes, count, .. }) => {
                // Groups before it were whole, so the first row's lane is a vector's first.
                let k = self.b.use_var(count);
                let last = self.sum_lanes() as i64 - 1;
                let k = self.b.ins().band_imm_s(k, last);
                let base = self.b.ins().stack_addr(types::I64, lanes, 0);
                let bytes = (16 / self.width.lanes()) as i64;
                let at = self.element(base, None, bytes, k);
                self.add_to_memory(kind, at, x.values());
                Ok(())
            }
            Some(Accumulator::One(variable)) => {
                let start = self.vector_identity(kind);
                let vectors: Vec<Variable> =
                    x.values().iter().map(|_| self.variable(start)).collect();
                self.combine(kind, &vectors, x)?;
                let all = self.reduce_lanes(kind, &vectors)?;
                let kind = if kind == Kind::Count {
                    Kind::IntSum
                } else {
                    kind
                };
                self.fold_one(kind, variable, all, None)
            }
            _ => Err(bug("a fold over rows that do not go in groups")),
        }
    }

    /// After a group of rows.
    pub(in crate::codegen) fn count_rows(&mut self, id: FoldId, rows: i64) -> Result<()> {
        let kind = self.kind_of(id)?;
        match self.folds.get(&id).cloned() {
            Some(Accumulator::Row {
                lanes,
                carry,
                count,
            }) => self.count_row(kind, (lanes, carry, count), rows),
            _ => Ok(()),
        }
    }
}
