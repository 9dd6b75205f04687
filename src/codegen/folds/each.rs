//! One accumulator for each lane, in a loop within a lane loop.

use super::{Accumulator, Kind};
use crate::codegen::math::Width;
use crate::codegen::stage::{Gen, Result};
use crate::codegen::value::{Val, bundle, promote};
use crate::loops::FoldId;
use cranelift::frontend::Variable;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value, types};

/// Elements between two carries of a lane into f64: fewer than a lane loop's, as they all add to one number.
const ELEMENTS: i64 = 512;

impl<'u, 'f> Gen<'u, 'f> {
    pub(super) fn each_start(&mut self, kind: Kind) -> Accumulator {
        let start = self.vector_identity(kind);
        let n = self.copies * self.vectors_each(kind);
        let vectors = (0..n).map(|_| self.variable(start)).collect();
        let (mut carry, mut count) = (vec![], None);
        if kind.rounds() && self.width == Width::F32X4 {
            let start = self.emitter_at(Width::F64X2, 1);
            let start = { start }.real(kind.float_identity()).values()[0];
            carry = (0..2 * self.copies).map(|_| self.variable(start)).collect();
            let zero = self.b.ins().iconst(types::I64, 0);
            count = Some(self.variable(zero));
        }
        Accumulator::Each {
            vectors,
            carry,
            count,
        }
    }

    /// Accumulator vectors for each vector in flight.
    pub(super) fn vectors_each(&self, kind: Kind) -> usize {
        if kind.is_float() || kind == Kind::Count {
            1
        } else {
            self.pairs()
        }
    }

    /// After each element of a loop that is not a lane loop: carry every [`ELEMENTS`].
    pub(in crate::codegen) fn count_fold(&mut self, id: FoldId) -> Result<()> {
        let kind = self.kind_of(id)?;
        let (vectors, carry, count) = match self.folds.get(&id).cloned() {
            Some(Accumulator::Row {
                lanes,
                carry,
                count,
            }) => return self.count_row(kind, (lanes, carry, count), 1),
            Some(Accumulator::Tree { count, .. }) => {
                let n = self.b.use_var(count);
                let n = self.b.ins().iadd_imm_s(n, 1);
                self.b.def_var(count, n);
                return Ok(());
            }
            Some(Accumulator::Each {
                vectors,
                carry,
                count: Some(count),
            }) => (vectors, carry, count),
            _ => return Ok(()),
        };
        let n = self.b.use_var(count);
        let n = self.b.ins().iadd_imm_s(n, 1);
        self.b.def_var(count, n);
        let full = self.b.ins().icmp_imm_s(IntCC::Equal, n, ELEMENTS);
        let (flush, after) = (self.b.create_block(), self.b.create_block());
        self.b.ins().brif(full, flush, &[], after, &[]);
        self.enter(flush);
        self.carry_each(kind, &vectors, &carry)?;
        let start = self.vector_identity(kind);
        for v in vectors {
            self.b.def_var(v, start);
        }
        let zero = self.b.ins().iconst(types::I64, 0);
        self.b.def_var(count, zero);
        self.b.ins().jump(after, &[]);
        self.enter(after);
        Ok(())
    }

    pub(super) fn carry_each(
        &mut self,
        kind: Kind,
        vectors: &[Variable],
        carry: &[Variable],
    ) -> Result<()> {
        for (k, &v) in vectors.iter().enumerate() {
            let x = self.b.use_var(v);
            for (half, x) in promote(&mut self.b, x).into_iter().enumerate() {
                let old = self.b.use_var(carry[2 * k + half]);
                let new = match kind {
                    Kind::Prod => self.b.ins().fmul(old, x),
                    _ => self.b.ins().fadd(old, x),
                };
                self.b.def_var(carry[2 * k + half], new);
            }
        }
        Ok(())
    }

    pub(super) fn each(&mut self, kind: Kind, v: &[Value], carried: bool) -> Result<Val> {
        Ok(match kind {
            Kind::Sum | Kind::Prod | Kind::Max | Kind::Min => Val::Real {
                vectors: bundle(v)?,
                width: if carried { Width::F64X2 } else { self.width },
                lanes: true,
            },
            Kind::Any | Kind::All => Val::Mask {
                vectors: bundle(v)?,
                lanes: true,
            },
            Kind::Count => {
                let mut out = vec![];
                for &v in v {
                    match self.width {
                        Width::F32X4 => {
                            out.push(self.b.ins().swiden_low(v));
                            out.push(self.b.ins().swiden_high(v));
                        }
                        Width::F64X2 => out.push(v),
                    }
                }
                Val::Ints(bundle(&out)?)
            }
            Kind::IntSum
            | Kind::IntProd
            | Kind::IntMax
            | Kind::IntMin
            | Kind::ArgMax
            | Kind::ArgMin => Val::Ints(bundle(v)?),
        })
    }
}
