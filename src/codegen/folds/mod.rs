//! Accumulators of folds, and the order in which they add.
//!
//! In a lane loop element i adds to lane i mod L, L being 64 bytes of elements in four vectors; every 1024 elements, and
//! at the end, the lanes are added pairwise (l and l + L/2, and so on) into an f64. The tail adds in the same places. With
//! fewer than four vectors in flight the accumulators change places after each step, which adds the same pairs. Outside
//! of lane loops, and where the lanes are short rows, the order is the same, so that a sum has the same bits in every kernel
//! of a loss; any other loop within a lane loop has one sum for each lane, carried into f64 every 512 elements in f32
//! kernels. Largest, smallest, any, all and counts are exact in any order.

mod arg;
mod each;
mod group;
mod lanes;
mod row;

use super::math::{Bundle, Emitter, Width};
use super::ops::{max, min};
use super::stage::{Gen, Result, bug};
use super::value::{Val, bundle, cast};
use crate::ir::Type;
use crate::loops::{FoldId, FoldOp, ValueId};
use cranelift::frontend::Variable;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, StackSlot, StackSlotData, StackSlotKind, Value, types};

/// Elements between two carries into f64 of 16 lanes (8 in f64 kernels).
pub(super) const BLOCK: i64 = 1024;

/// Vectors of accumulators of a sum: 64 bytes of elements.
const SUM_VECTORS: usize = 4;

/// A fold whose loop is open, or its result.
#[derive(Clone)]
pub(super) enum Accumulator {
    /// One element at a time.
    One(Variable),
    /// A sum or product of one element at a time: the lanes of the lane loop's accumulators, in memory, so that it adds
    /// in the same order as a lane loop.
    Row {
        lanes: StackSlot,
        carry: StackSlot,
        /// Elements so far.
        count: Variable,
    },
    /// argmax and argmin of a loop that is not within a lane loop: the best so far, and its index (-1: none).
    Arg {
        best: Variable,
        at: Variable,
    },
    /// The lane loop's own.
    Lanes {
        vectors: Vec<Variable>,
        /// What the vectors were before the tail.
        saved: StackSlot,
        /// In memory, as it is needed only once in a block.
        carry: Option<StackSlot>,
    },
    /// One for each lane, in a loop within a lane loop.
    Each {
        vectors: Vec<Variable>,
        carry: Vec<Variable>,
        /// Elements since the last carry.
        count: Option<Variable>,
    },
    /// A sum or product for each row of a group: the lanes of the lane loop's accumulators, in memory.
    Tree {
        lanes: StackSlot,
        /// Elements so far.
        count: Variable,
    },
    /// The same for argmax and argmin; the best so far is a real or an int.
    EachArg {
        best: Vec<Variable>,
        ints: Vec<Variable>,
        at: Vec<Variable>,
    },
    Done(Val),
}

/// A Fold statement at the top level of a lane loop's body, put off to the end of the body.
#[derive(Clone, Copy)]
pub(super) struct Pending {
    pub id: FoldId,
    pub value: ValueId,
    pub guard: Option<ValueId>,
}

/// What a fold does, on what.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sum,
    Prod,
    Max,
    Min,
    IntSum,
    IntProd,
    IntMax,
    IntMin,
    Any,
    All,
    Count,
    ArgMax,
    ArgMin,
}

impl Kind {
    /// Whether the accumulators are vectors of floats (or masks), not of i64.
    fn is_float(self) -> bool {
        match self {
            Kind::Sum | Kind::Prod | Kind::Max | Kind::Min | Kind::Any | Kind::All => true,
            Kind::IntSum
            | Kind::IntProd
            | Kind::IntMax
            | Kind::IntMin
            | Kind::Count
            | Kind::ArgMax
            | Kind::ArgMin => false,
        }
    }

    /// Whether rounding makes the order matter.
    fn rounds(self) -> bool {
        matches!(self, Kind::Sum | Kind::Prod)
    }

    fn float_identity(self) -> f64 {
        match self {
            Kind::Prod => 1.0,
            Kind::Max | Kind::ArgMax => f64::NEG_INFINITY,
            Kind::Min | Kind::ArgMin => f64::INFINITY,
            Kind::Sum
            | Kind::IntSum
            | Kind::IntProd
            | Kind::IntMax
            | Kind::IntMin
            | Kind::Any
            | Kind::All
            | Kind::Count => 0.0,
        }
    }

    fn int_identity(self) -> i64 {
        match self {
            Kind::IntProd | Kind::All => 1,
            Kind::IntMax => i64::MIN,
            Kind::IntMin => i64::MAX,
            Kind::Sum
            | Kind::Prod
            | Kind::Max
            | Kind::Min
            | Kind::IntSum
            | Kind::Any
            | Kind::Count
            | Kind::ArgMax
            | Kind::ArgMin => 0,
        }
    }
}

impl<'u, 'f> Gen<'u, 'f> {
    fn kind_of(&self, id: FoldId) -> Result<Kind> {
        let info = self.unit.loops.folds.get(id.0 as usize);
        info.map(|f| kind(f.op, f.ty))
            .ok_or_else(|| bug("an unknown fold"))
    }

    /// At the start of a loop of one element at a time.
    pub(super) fn declare_fold(&mut self, id: FoldId) -> Result<()> {
        let kind = self.kind_of(id)?;
        let accumulator = match (self.lane_loop.is_some(), kind) {
            (false, Kind::ArgMax | Kind::ArgMin) => self.arg_start(),
            (false, Kind::Sum | Kind::Prod) => self.row_start(kind)?,
            (false, _) => {
                let start = self.one_identity(kind);
                Accumulator::One(self.variable(start))
            }
            (true, Kind::ArgMax | Kind::ArgMin) => {
                let none = self.b.ins().iconst(types::I64, -1);
                let none = self.b.ins().splat(types::I64X2, none);
                let zero = self.emitter(1).real(0.0).values()[0];
                let pairs = self.copies * self.pairs();
                Accumulator::EachArg {
                    best: (0..self.copies).map(|_| self.variable(zero)).collect(),
                    ints: (0..pairs).map(|_| self.variable(none)).collect(),
                    at: (0..pairs).map(|_| self.variable(none)).collect(),
                }
            }
            (true, Kind::Sum | Kind::Prod) if self.in_group() => self.tree_start(kind),
            (true, _) => self.each_start(kind),
        };
        self.folds.insert(id, accumulator);
        Ok(())
    }

    fn one_identity(&mut self, kind: Kind) -> Value {
        match kind {
            Kind::Sum | Kind::Prod => {
                let mut e = self.emitter_at(Width::F64X2, 1);
                e.real(kind.float_identity()).values()[0]
            }
            Kind::Max | Kind::Min => self.emitter(1).real(kind.float_identity()).values()[0],
            Kind::Any | Kind::All => self.b.ins().iconst(types::I8, kind.int_identity()),
            Kind::IntSum
            | Kind::IntProd
            | Kind::IntMax
            | Kind::IntMin
            | Kind::Count
            | Kind::ArgMax
            | Kind::ArgMin => self.b.ins().iconst(types::I64, kind.int_identity()),
        }
    }

    fn vector_identity(&mut self, kind: Kind) -> Value {
        match kind {
            Kind::All => self.emitter(1).bits(u64::MAX).values()[0],
            Kind::Any => self.emitter(1).bits(0).values()[0],
            Kind::Sum | Kind::Prod | Kind::Max | Kind::Min => {
                self.emitter(1).real(kind.float_identity()).values()[0]
            }
            Kind::Count => {
                let zero = self.emitter(1).bits(0).values()[0];
                cast(&mut self.b, self.width.integer(), zero)
            }
            Kind::IntSum
            | Kind::IntProd
            | Kind::IntMax
            | Kind::IntMin
            | Kind::ArgMax
            | Kind::ArgMin => {
                let one = self.b.ins().iconst(types::I64, kind.int_identity());
                self.b.ins().splat(types::I64X2, one)
            }
        }
    }

    /// At the start of a lane loop.
    pub(super) fn declare_lane_fold(&mut self, id: FoldId) -> Result<()> {
        let kind = self.kind_of(id)?;
        let accumulator = match kind {
            Kind::ArgMax | Kind::ArgMin => self.arg_start(),
            _ => {
                let start = self.vector_identity(kind);
                let n = if kind.rounds() {
                    SUM_VECTORS
                } else {
                    self.copies * self.vectors_each(kind)
                };
                let mut vectors: Vec<Variable> = (0..n).map(|_| self.variable(start)).collect();
                if matches!(kind, Kind::Max | Kind::Min) {
                    let none = self.vector_identity(Kind::Any);
                    vectors.push(self.variable(none));
                }
                let bytes = 16 * vectors.len() as u32;
                let data = StackSlotData::new(StackSlotKind::ExplicitSlot, bytes, 4);
                Accumulator::Lanes {
                    vectors,
                    saved: self.b.create_sized_stack_slot(data),
                    carry: kind.rounds().then(|| self.carry_start(kind)),
                }
            }
        };
        self.folds.insert(id, accumulator);
        Ok(())
    }

    /// Whether an open lane fold is carried into f64 every [`BLOCK`] elements.
    pub(super) fn carries(&self, folds: &[FoldId]) -> Result<bool> {
        for &f in folds {
            if self.kind_of(f)?.rounds() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A Fold statement.
    pub(super) fn fold(
        &mut self,
        id: FoldId,
        value: ValueId,
        guard: Option<ValueId>,
    ) -> Result<()> {
        let open = self.folds.get(&id).cloned();
        let open = open.ok_or_else(|| bug("a fold outside of its loop"))?;
        let kind = self.kind_of(id)?;
        if let Accumulator::Lanes { .. } = open {
            let pending = Pending { id, value, guard };
            if let Some(lanes) = self.lane_loop.as_mut().filter(|l| l.top) {
                lanes.pending.push(pending);
                return Ok(());
            }
            let x = self.fold_elements(&pending)?;
            let valid = self.valid_masks()?;
            let x = self.fold_within(id, x, valid)?;
            return self.accumulate(id, x);
        }
        if self.in_group() && matches!(open, Accumulator::One(_) | Accumulator::Row { .. }) {
            return self.fold_rows(id, value, guard);
        }
        let value = self.val(value)?;
        let guard = guard.map(|g| self.val(g)).transpose()?;
        match open {
            Accumulator::One(variable) => self.fold_one(kind, variable, value, guard),
            Accumulator::Row { lanes, count, .. } => {
                self.fold_row(kind, (lanes, count), value, guard)
            }
            Accumulator::Arg { best, at } => self.fold_arg(kind, (best, at), value, guard),
            Accumulator::Each { vectors, .. } => {
                let x = self.elements(kind, value, guard)?;
                self.combine(kind, &vectors, x)
            }
            Accumulator::Tree { lanes, count } => {
                self.fold_tree(kind, (lanes, count), value, guard)
            }
            Accumulator::EachArg { best, ints, at } => {
                self.fold_each_arg(kind, (&best, &ints, &at), value, guard)
            }
            Accumulator::Lanes { .. } | Accumulator::Done(_) => Err(bug("a fold after its loop")),
        }
    }

    fn fold_one(
        &mut self,
        kind: Kind,
        variable: Variable,
        value: Val,
        guard: Option<Val>,
    ) -> Result<()> {
        let old = self.b.use_var(variable);
        let new = match kind {
            Kind::Sum | Kind::Prod | Kind::Max | Kind::Min => {
                let width = if kind.rounds() {
                    Width::F64X2
                } else {
                    self.width
                };
                let (x, _) = self.at_width(value, width)?;
                let mut e = self.emitter_at(width, 1);
                let old = bundle(&[old])?;
                combine_floats(&mut e, kind, old, x).values()[0]
            }
            Kind::Any | Kind::All => {
                let x = self.flag_of(value)?;
                match kind {
                    Kind::Any => self.b.ins().bor(old, x),
                    _ => self.b.ins().band(old, x),
                }
            }
            Kind::Count => {
                let x = self.flag_of(value)?;
                let x = self.b.ins().uextend(types::I64, x);
                self.b.ins().iadd(old, x)
            }
            Kind::IntSum
            | Kind::IntProd
            | Kind::IntMax
            | Kind::IntMin
            | Kind::ArgMax
            | Kind::ArgMin => {
                let Val::Int(x) = value else {
                    return Err(bug("a fold of ints"));
                };
                self.combine_int(kind, old, x)
            }
        };
        let new = match guard {
            None => new,
            Some(guard) if self.b.func.dfg.value_type(new).is_vector() => {
                let (mask, _) = self.mask_of(guard)?;
                let ty = self.b.func.dfg.value_type(new);
                let mask = cast(&mut self.b, ty, mask.values()[0]);
                self.b.ins().bitselect(mask, new, old)
            }
            Some(guard) => {
                let flag = self.flag_of(guard)?;
                self.b.ins().select(flag, new, old)
            }
        };
        self.b.def_var(variable, new);
        Ok(())
    }

    /// On scalars and vectors alike.
    fn combine_int(&mut self, kind: Kind, x: Value, y: Value) -> Value {
        let cc = match kind {
            Kind::IntProd => return self.b.ins().imul(x, y),
            Kind::IntMax => IntCC::SignedGreaterThan,
            Kind::IntMin => IntCC::SignedLessThan,
            Kind::Count => return self.b.ins().isub(x, y),
            Kind::Sum
            | Kind::Prod
            | Kind::Max
            | Kind::Min
            | Kind::IntSum
            | Kind::Any
            | Kind::All
            | Kind::ArgMax
            | Kind::ArgMin => return self.b.ins().iadd(x, y),
        };
        let holds = self.b.ins().icmp(cc, x, y);
        if self.b.func.dfg.value_type(x).is_vector() {
            self.b.ins().bitselect(holds, x, y)
        } else {
            self.b.ins().select(holds, x, y)
        }
    }

    /// After the loop: the accumulators become a value.
    pub(super) fn finish_fold(&mut self, id: FoldId) -> Result<()> {
        let kind = self.kind_of(id)?;
        let open = self.folds.get(&id).cloned();
        let val = match open.ok_or_else(|| bug("a fold without its loop"))? {
            Accumulator::One(variable) => {
                let v = self.b.use_var(variable);
                self.uniform(kind, v)?
            }
            Accumulator::Row { lanes, carry, .. } => {
                self.carry_row(kind, lanes, carry);
                let v = self.carried(carry);
                let v = self.b.ins().extractlane(v, 0);
                let v = self.b.ins().splat(types::F64X2, v);
                self.uniform(kind, v)?
            }
            Accumulator::Arg { at, .. } => Val::Int(self.b.use_var(at)),
            Accumulator::Lanes { vectors, carry, .. } => match carry {
                Some(carry) => {
                    let v = self.carried(carry);
                    let v = self.b.ins().extractlane(v, 0);
                    let v = self.b.ins().splat(types::F64X2, v);
                    self.uniform(kind, v)?
                }
                None if matches!(kind, Kind::Max | Kind::Min) => {
                    self.reduce_extremes(kind, &vectors)?
                }
                None => self.reduce_lanes(kind, &vectors)?,
            },
            Accumulator::Each {
                vectors,
                carry,
                count,
            } => {
                if count.is_some() {
                    self.carry_each(kind, &vectors, &carry)?;
                }
                let from = if count.is_some() { &carry } else { &vectors };
                let v: Vec<Value> = from.iter().map(|&v| self.b.use_var(v)).collect();
                self.each(kind, &v, count.is_some())?
            }
            Accumulator::Tree { lanes, .. } => self.finish_tree(kind, lanes)?,
            Accumulator::EachArg { at, .. } => {
                let v: Vec<Value> = at.iter().map(|&v| self.b.use_var(v)).collect();
                Val::Ints(bundle(&v)?)
            }
            Accumulator::Done(val) => val,
        };
        self.folds.insert(id, Accumulator::Done(val));
        Ok(())
    }

    /// The result of a fold after its loop.
    pub(super) fn folded(&mut self, id: FoldId) -> Result<Val> {
        match self.folds.get(&id) {
            Some(Accumulator::Done(val)) => Ok(*val),
            _ => Err(bug("a fold is read before its loop ended")),
        }
    }
}

fn kind(op: FoldOp, ty: Type) -> Kind {
    match (op, ty) {
        (FoldOp::Sum, Type::Int) => Kind::IntSum,
        (FoldOp::Prod, Type::Int) => Kind::IntProd,
        (FoldOp::Max, Type::Int) => Kind::IntMax,
        (FoldOp::Min, Type::Int) => Kind::IntMin,
        (FoldOp::Sum, Type::Real | Type::Bool) => Kind::Sum,
        (FoldOp::Prod, Type::Real | Type::Bool) => Kind::Prod,
        (FoldOp::Max, Type::Real | Type::Bool) => Kind::Max,
        (FoldOp::Min, Type::Real | Type::Bool) => Kind::Min,
        (FoldOp::Any, _) => Kind::Any,
        (FoldOp::All, _) => Kind::All,
        (FoldOp::Count, _) => Kind::Count,
        (FoldOp::ArgMax, _) => Kind::ArgMax,
        (FoldOp::ArgMin, _) => Kind::ArgMin,
    }
}

/// `x op y` on bundles of floats or masks.
fn combine_floats(e: &mut Emitter, kind: Kind, x: Bundle, y: Bundle) -> Bundle {
    match kind {
        Kind::Prod => e.mul(x, y),
        Kind::Max => max(e, x, y),
        Kind::Min => min(e, x, y),
        Kind::Any => e.or(x, y),
        Kind::All => e.and(x, y),
        Kind::Sum
        | Kind::IntSum
        | Kind::IntProd
        | Kind::IntMax
        | Kind::IntMin
        | Kind::Count
        | Kind::ArgMax
        | Kind::ArgMin => e.add(x, y),
    }
}
