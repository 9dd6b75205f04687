//! Reals that are the same for all lanes and are used beyond the loop that they are computed in front of: they
//! live in memory and are loaded where they are used, so that no register holds them across a loop.

use super::math::{Bundle, Width};
use super::stage::{Gen, Result, memory};
use super::value::{Val, bundle};
use crate::loops::block::each_use;
use crate::loops::{Stmt, ValueId};
use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::ir::{InstBuilder, StackSlot, StackSlotData, StackSlotKind, Value, types};
use rustc_hash::{FxHashMap, FxHashSet};

/// Where a value lives, and its last load: in which stretch of code, after how many instructions.
#[derive(Clone, Copy)]
pub(super) struct Home {
    slot: StackSlot,
    width: Width,
    last: (Value, usize, usize),
}

/// The values of a stage that live in memory, and stretches of code without a loop in them, by number.
#[derive(Default)]
pub(super) struct Homes {
    crossing: FxHashSet<ValueId>,
    at: FxHashMap<ValueId, Home>,
    stretch: usize,
    /// Those that a short lane loop holds in registers.
    pub held: FxHashMap<ValueId, Value>,
}

impl Homes {
    pub fn new(body: &[Stmt]) -> Homes {
        let mut homes = Homes::default();
        let (mut stretch, mut made) = (0, FxHashMap::default());
        crossing(body, &mut stretch, &mut made, &mut homes.crossing);
        homes
    }

    /// At the start and at the end of a loop.
    pub fn next_stretch(&mut self) {
        self.stretch += 1;
    }
}

fn crossing(
    block: &[Stmt],
    stretch: &mut usize,
    made: &mut FxHashMap<ValueId, usize>,
    out: &mut FxHashSet<ValueId>,
) {
    for stmt in block {
        each_use(stmt, &mut |v| {
            if made.get(&v).is_some_and(|at| at != stretch) {
                out.insert(v);
            }
        });
        match stmt {
            Stmt::Let(v, _) => {
                made.insert(*v, *stretch);
            }
            Stmt::Loop { body, .. } => {
                *stretch += 1;
                crossing(body, stretch, made, out);
                *stretch += 1;
            }
            Stmt::Fold { .. }
            | Stmt::Store { .. }
            | Stmt::Fill { .. }
            | Stmt::Sort(_)
            | Stmt::Gemm(_) => {}
        }
    }
}

impl<'u, 'f> Gen<'u, 'f> {
    /// Gives a value a home in memory if it is used in another stretch of code.
    pub(super) fn settle(&mut self, id: ValueId, val: Val) {
        let Val::Real {
            vectors,
            width,
            lanes: false,
        } = val
        else {
            return;
        };
        if !self.homes.crossing.contains(&id) {
            return;
        }
        let data = StackSlotData::new(StackSlotKind::ExplicitSlot, 16, 4);
        let slot = self.b.create_sized_stack_slot(data);
        let value = vectors.values()[0];
        self.b.ins().stack_store(types::I64, value, slot, 0);
        let last = (value, self.homes.stretch, self.b.func.dfg.num_insts());
        self.homes.at.insert(id, Home { slot, width, last });
    }

    /// A value from its home, if it has one.
    pub(super) fn at_home(&mut self, id: ValueId) -> Result<Option<Val>> {
        let Some(home) = self.homes.at.get(&id).copied() else {
            return Ok(None);
        };
        let now = self.b.func.dfg.num_insts();
        let (mut value, stretch, at) = home.last;
        if let Some(anchor) = self.constants.before_loop {
            value = match self.homes.held.get(&id) {
                Some(&value) => value,
                None => {
                    let mut cursor = FuncCursor::new(self.b.func).at_inst(anchor);
                    let address = cursor.ins().stack_addr(types::I64, home.slot, 0);
                    let vector = home.width.vector();
                    cursor.ins().load(vector, memory(), address, 0)
                }
            };
            self.homes.held.insert(id, value);
        } else if stretch != self.homes.stretch || now > at + self.reload * self.copies {
            let address = self.b.ins().stack_addr(types::I64, home.slot, 0);
            value = self.b.ins().load(home.width.vector(), memory(), address, 0);
            let last = (value, self.homes.stretch, now);
            self.homes.at.insert(id, Home { last, ..home });
        }
        Ok(Some(Val::Real {
            vectors: bundle(&[value])?,
            width: home.width,
            lanes: false,
        }))
    }

    /// A value that a short lane loop holds in a register, with the other sign, made before the loop.
    pub(super) fn negated_before_loop(&mut self, id: ValueId) -> Result<Option<Bundle>> {
        let Some(anchor) = self.constants.before_loop else {
            return Ok(None);
        };
        let Some(&value) = self.homes.held.get(&id) else {
            return Ok(None);
        };
        if self.b.func.dfg.value_type(value) != self.width.vector() {
            return Ok(None);
        }
        let bits = self.width.sign_bit();
        let sign = self.emitter(1).bits(bits);
        let mut cursor = FuncCursor::new(self.b.func).at_inst(anchor);
        let negated = cursor.ins().bxor(value, sign.values()[0]);
        Ok(Some(bundle(&[negated])?))
    }
}
