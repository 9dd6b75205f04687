//! Accumulators of folds, and the order in which they add.
//!
//! In a lane loop element i adds to lane i mod L, L being 64 bytes of elements in four vectors; every 512 elements, and at
//! the end, the lanes are added pairwise (l and l + L/2, and so on) into an f64. The tail adds in the same places. With
//! fewer than four vectors in flight the accumulators change places after each step, which adds the same pairs. Outside
//! of lane loops the order is the same, so that a sum has the same bits in every kernel of a loss; a loop within a lane loop has one sum for each lane, carried into f64
//! every 512 elements in f32 kernels. Largest, smallest, any, all and counts are exact in any order.

use super::CheckKind;
use super::math::{Bundle, Emitter, Width};
use super::ops::{max, min};
use super::stage::{Gen, Result, bug, memory};
use super::value::{Val, bundle, cast, high_half, promote, second_lane};
use crate::ast::Span;
use crate::ir::Type;
use crate::loops::{FoldId, FoldOp, ValueId};
use cranelift::frontend::Variable;
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{InstBuilder, StackSlot, StackSlotData, StackSlotKind, Value, types};

/// Elements between two carries into f64.
pub(super) const BLOCK: i64 = 512;
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
    /// The same for argmax and argmin.
    EachArg {
        best: Vec<Variable>,
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
                Accumulator::EachArg {
                    best: (0..self.copies).map(|_| self.variable(zero)).collect(),
                    at: (0..self.copies * self.pairs())
                        .map(|_| self.variable(none))
                        .collect(),
                }
            }
            (true, _) => self.each_start(kind),
        };
        self.folds.insert(id, accumulator);
        Ok(())
    }

    fn arg_start(&mut self) -> Accumulator {
        let best = self.b.ins().f64const(0.0);
        let at = self.b.ins().iconst(types::I64, -1);
        Accumulator::Arg {
            best: self.variable(best),
            at: self.variable(at),
        }
    }

    fn row_start(&mut self, kind: Kind) -> Result<Accumulator> {
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
    fn fold_row(
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

    /// After each element: carry every [`BLOCK`] elements.
    fn count_row(
        &mut self,
        kind: Kind,
        (lanes, carry, count): (StackSlot, StackSlot, Variable),
    ) -> Result<()> {
        let n = self.b.use_var(count);
        let n = self.b.ins().iadd_imm_s(n, 1);
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

    fn carry_start(&mut self, kind: Kind) -> StackSlot {
        let data = StackSlotData::new(StackSlotKind::ExplicitSlot, 16, 4);
        let carry = self.b.create_sized_stack_slot(data);
        let start = self.one_identity(kind);
        self.b.ins().stack_store(types::I64, start, carry, 0);
        carry
    }

    fn carried(&mut self, carry: StackSlot) -> Value {
        self.b.ins().stack_load(types::I64, types::F64X2, carry, 0)
    }

    /// Adds to a carry what the lanes of its sum add up to.
    fn carry_into(&mut self, kind: Kind, carry: StackSlot, x: Value) {
        let old = self.carried(carry);
        let new = self.add_or_multiply(kind, old, x);
        self.b.ins().stack_store(types::I64, new, carry, 0);
    }

    fn carry_row(&mut self, kind: Kind, lanes: StackSlot, carry: StackSlot) {
        let vector = self.width.vector();
        let v = [0, 1, 2, 3].map(|k| self.b.ins().stack_load(types::I64, vector, lanes, 16 * k));
        let x = self.add_lanes(kind, v);
        self.carry_into(kind, carry, x);
    }

    fn add_or_multiply(&mut self, kind: Kind, x: Value, y: Value) -> Value {
        match kind {
            Kind::Prod => self.b.ins().fmul(x, y),
            _ => self.b.ins().fadd(x, y),
        }
    }

    /// The lanes of four accumulators pairwise, in lane 0 of a vector of f64.
    fn add_lanes(&mut self, kind: Kind, v: [Value; SUM_VECTORS]) -> Value {
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

    fn each_start(&mut self, kind: Kind) -> Accumulator {
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
    fn vectors_each(&self, kind: Kind) -> usize {
        if kind.is_float() || kind == Kind::Count {
            1
        } else {
            self.pairs()
        }
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
                let vectors = (0..n).map(|_| self.variable(start)).collect();
                let carry = kind.rounds().then(|| self.carry_start(kind));
                Accumulator::Lanes { vectors, carry }
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
            Accumulator::EachArg { best, at } => {
                self.fold_each_arg(kind, (&best, &at), value, guard)
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

    /// What a fold of the lane loop combines: the identity where its guard does not hold.
    pub(super) fn fold_elements(&mut self, fold: &Pending) -> Result<Bundle> {
        let kind = self.kind_of(fold.id)?;
        let value = self.val(fold.value)?;
        let guard = fold.guard.map(|g| self.val(g)).transpose()?;
        self.elements(kind, value, guard)
    }

    /// The elements, or the identity outside of a mask.
    pub(super) fn fold_within(&mut self, id: FoldId, x: Bundle, mask: Bundle) -> Result<Bundle> {
        let kind = self.kind_of(id)?;
        if kind.is_float() {
            return Ok(neutral_floats(&mut self.emitter(x.copies()), kind, x, mask));
        }
        self.neutral_ints(kind, x, mask)
    }

    /// Combines elements with the accumulators of a fold of the lane loop.
    pub(super) fn accumulate(&mut self, id: FoldId, x: Bundle) -> Result<()> {
        let kind = self.kind_of(id)?;
        let Some(Accumulator::Lanes { vectors, .. }) = self.folds.get(&id).cloned() else {
            return Err(bug("a lane fold outside of its loop"));
        };
        self.combine(kind, &vectors, x)
    }

    fn elements(&mut self, kind: Kind, value: Val, guard: Option<Val>) -> Result<Bundle> {
        let mask = match guard {
            None => None,
            Some(guard) => {
                let mask = self.mask_of(guard)?;
                Some(self.spread(mask))
            }
        };
        if !kind.is_float() {
            let x = self.int_elements(kind, value)?;
            return match mask {
                None => Ok(x),
                Some(mask) => self.neutral_ints(kind, x, mask),
            };
        }
        let x = match kind {
            Kind::Any | Kind::All => self.mask_of(value)?,
            _ => self.at_width(value, self.width)?,
        };
        let x = self.spread(x);
        Ok(match mask {
            None => x,
            Some(mask) => neutral_floats(&mut self.emitter(x.copies()), kind, x, mask),
        })
    }

    fn combine(&mut self, kind: Kind, accumulators: &[Variable], x: Bundle) -> Result<()> {
        let old: Vec<Value> = accumulators.iter().map(|&v| self.b.use_var(v)).collect();
        let new = if kind.is_float() {
            let old = bundle(&old[..x.copies()])?;
            combine_floats(&mut self.emitter(x.copies()), kind, old, x)
        } else {
            let mut new = vec![];
            for (&old, &x) in old.iter().zip(x.values()) {
                new.push(self.combine_int(kind, old, x));
            }
            bundle(&new)?
        };
        for (&variable, &v) in accumulators.iter().zip(new.values()) {
            self.b.def_var(variable, v);
        }
        Ok(())
    }

    /// What is added to accumulators of ints: masks for a count.
    fn int_elements(&mut self, kind: Kind, value: Val) -> Result<Bundle> {
        if kind != Kind::Count {
            return self.ints_of(value);
        }
        let x = self.mask_of(value)?;
        let x = self.spread(x);
        let integer = self.width.integer();
        let out: Vec<Value> = x
            .values()
            .iter()
            .map(|&v| cast(&mut self.b, integer, v))
            .collect();
        bundle(&out)
    }

    /// Ints, or the identity where the mask is not set.
    fn neutral_ints(&mut self, kind: Kind, x: Bundle, mask: Bundle) -> Result<Bundle> {
        let mut out = vec![];
        if kind == Kind::Count {
            for (&x, &m) in x.values().iter().zip(mask.values()) {
                let m = cast(&mut self.b, self.width.integer(), m);
                out.push(self.b.ins().band(x, m));
            }
            return bundle(&out);
        }
        let mask = self.wide_masks(mask)?;
        let identity = self.vector_identity(kind);
        for (&x, &m) in x.values().iter().zip(mask.values()) {
            let m = cast(&mut self.b, types::I64X2, m);
            out.push(self.b.ins().bitselect(m, x, identity));
        }
        bundle(&out)
    }

    /// argmax and argmin, lane after lane in a lane loop.
    fn fold_arg(
        &mut self,
        kind: Kind,
        (best, at): (Variable, Variable),
        value: Val,
        guard: Option<Val>,
    ) -> Result<()> {
        let axis = self.places.last().map(|(a, _)| *a);
        let axis = axis.ok_or_else(|| bug("a fold outside of a loop"))?;
        let elements: Vec<(Value, Value, Option<Value>)> = if self.lane_loop.is_some() {
            let alive = self.alive(None)?;
            let guards = match guard {
                Some(g) => Some(self.lane_flags(g)?),
                None => None,
            };
            let xs = self.lane_doubles(value)?;
            let mut out = vec![];
            for (k, x) in xs.into_iter().enumerate() {
                let index = self
                    .lane_at(k)
                    .ok_or_else(|| bug("a lane without a loop"))?;
                let mut takes = alive[k];
                if let Some(g) = &guards {
                    takes = self.b.ins().band(takes, g[k]);
                }
                out.push((x, index, Some(takes)));
            }
            out
        } else {
            let x = self.lane_doubles(value)?[0];
            let Val::Int(index) = self.axis_index(axis)? else {
                return Err(bug("an index of a loop"));
            };
            let guard = guard.map(|g| self.flag_of(g)).transpose()?;
            vec![(x, index, guard)]
        };
        for (x, index, takes) in elements {
            let (old, place) = (self.b.use_var(best), self.b.use_var(at));
            let cc = match kind {
                Kind::ArgMin => FloatCC::LessThan,
                _ => FloatCC::GreaterThan,
            };
            let better = self.b.ins().fcmp(cc, x, old);
            let nan = self.b.ins().fcmp(FloatCC::Unordered, x, x);
            let settled = self.b.ins().fcmp(FloatCC::Unordered, old, old);
            let first = self.b.ins().icmp_imm_s(IntCC::SignedLessThan, place, 0);
            let unsettled = self.b.ins().icmp_imm_s(IntCC::Equal, settled, 0);
            let nan = self.b.ins().band(nan, unsettled);
            let mut take = self.b.ins().bor(better, nan);
            take = self.b.ins().bor(take, first);
            if let Some(takes) = takes {
                take = self.b.ins().band(take, takes);
            }
            let new = self.b.ins().select(take, x, old);
            let place = self.b.ins().select(take, index, place);
            self.b.def_var(best, new);
            self.b.def_var(at, place);
        }
        Ok(())
    }

    /// A real or an int of each lane as scalar f64.
    fn lane_doubles(&mut self, value: Val) -> Result<Vec<Value>> {
        if let Val::Int(v) = value {
            let v = self.b.ins().fcvt_from_sint(types::F64, v);
            return Ok(vec![v; self.copies * self.width.lanes()]);
        }
        if let Val::Ints(_) = value {
            let ints = self.lane_ints(value)?;
            return Ok(ints
                .into_iter()
                .map(|v| self.b.ins().fcvt_from_sint(types::F64, v))
                .collect());
        }
        let x = self.at_width(value, self.width)?;
        let x = self.spread(x);
        Ok(self
            .lanes_of(x)
            .into_iter()
            .map(|v| match self.b.func.dfg.value_type(v) {
                types::F32 => self.b.ins().fpromote(types::F64, v),
                _ => v,
            })
            .collect())
    }

    fn fold_each_arg(
        &mut self,
        kind: Kind,
        (best, at): (&[Variable], &[Variable]),
        value: Val,
        guard: Option<Val>,
    ) -> Result<()> {
        let axis = self.places.last().map(|(a, _)| *a);
        let index = self.axis_index(axis.ok_or_else(|| bug("a fold outside of a loop"))?)?;
        let index = self.ints_of(index)?;
        let value = match value {
            Val::Int(_) | Val::Ints(_) => self.int_val_to_real(value)?,
            Val::Real { .. } | Val::Flag(_) | Val::Mask { .. } => value,
        };
        let x = self.at_width(value, self.width)?;
        let x = self.spread(x);
        let old: Vec<Value> = best.iter().map(|&v| self.b.use_var(v)).collect();
        let places: Vec<Value> = at.iter().map(|&v| self.b.use_var(v)).collect();
        let zero = self.b.ins().iconst(types::I64, 0);
        let zero = self.b.ins().splat(types::I64X2, zero);
        let mut first = vec![];
        for &p in &places {
            let m = self.b.ins().icmp(IntCC::SignedLessThan, p, zero);
            first.push(m);
        }
        let first = self.narrow_masks(bundle(&first)?)?;
        let old = bundle(&old)?;
        let mut e = self.emitter(x.copies());
        let cc = match kind {
            Kind::ArgMin => FloatCC::LessThan,
            _ => FloatCC::GreaterThan,
        };
        let better = e.compare(cc, x, old);
        let nan = e.compare(FloatCC::Unordered, x, x);
        let unsettled = e.compare(FloatCC::Ordered, old, old);
        let nan = e.and(nan, unsettled);
        let take = e.or(better, nan);
        let mut take = e.or(take, first);
        if let Some(guard) = guard {
            let guard = self.mask_of(guard)?;
            let guard = self.spread(guard);
            take = self.emitter(x.copies()).and(take, guard);
        }
        let new = self.emitter(x.copies()).select(take, x, old);
        let wide = self.wide_masks(take)?;
        for (&variable, &v) in best.iter().zip(new.values()) {
            self.b.def_var(variable, v);
        }
        for (k, &variable) in at.iter().enumerate() {
            let m = cast(&mut self.b, types::I64X2, wide.values()[k]);
            let v = self.b.ins().bitselect(m, index.values()[k], places[k]);
            self.b.def_var(variable, v);
        }
        Ok(())
    }

    /// After each element of a loop that is not a lane loop: carry every [`BLOCK`] elements.
    pub(super) fn count_fold(&mut self, id: FoldId) -> Result<()> {
        let kind = self.kind_of(id)?;
        let (vectors, carry, count) = match self.folds.get(&id).cloned() {
            Some(Accumulator::Row {
                lanes,
                carry,
                count,
            }) => return self.count_row(kind, (lanes, carry, count)),
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
        let full = self.b.ins().icmp_imm_s(IntCC::Equal, n, BLOCK);
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

    fn carry_each(&mut self, kind: Kind, vectors: &[Variable], carry: &[Variable]) -> Result<()> {
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

    /// Adds the lanes of the sums into their f64, and starts them again.
    pub(super) fn carry_lanes(&mut self, folds: &[FoldId]) -> Result<()> {
        for &id in folds {
            let kind = self.kind_of(id)?;
            let Some(Accumulator::Lanes {
                vectors,
                carry: Some(carry),
            }) = self.folds.get(&id).cloned()
            else {
                continue;
            };
            let v = [0, 1, 2, 3].map(|k| self.b.use_var(vectors[k]));
            let x = self.add_lanes(kind, v);
            self.carry_into(kind, carry, x);
            let start = self.vector_identity(kind);
            for v in vectors {
                self.b.def_var(v, start);
            }
        }
        Ok(())
    }

    /// After a step with fewer vectors in flight than a sum has: the next step adds to the next ones.
    pub(super) fn rotate(&mut self, folds: &[FoldId]) -> Result<()> {
        for &id in folds {
            let Some(Accumulator::Lanes {
                vectors,
                carry: Some(_),
            }) = self.folds.get(&id).cloned()
            else {
                continue;
            };
            let values: Vec<Value> = vectors.iter().map(|&v| self.b.use_var(v)).collect();
            for (k, &variable) in vectors.iter().enumerate() {
                let next = values[(k + self.copies) % values.len()];
                self.b.def_var(variable, next);
            }
        }
        Ok(())
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
            Accumulator::Lanes { vectors, carry } => match carry {
                Some(carry) => {
                    let v = self.carried(carry);
                    let v = self.b.ins().extractlane(v, 0);
                    let v = self.b.ins().splat(types::F64X2, v);
                    self.uniform(kind, v)?
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
            Accumulator::EachArg { at, .. } => {
                let v: Vec<Value> = at.iter().map(|&v| self.b.use_var(v)).collect();
                Val::Ints(bundle(&v)?)
            }
            Accumulator::Done(val) => val,
        };
        self.folds.insert(id, Accumulator::Done(val));
        Ok(())
    }

    fn uniform(&mut self, kind: Kind, v: Value) -> Result<Val> {
        Ok(match kind {
            Kind::Sum | Kind::Prod => Val::Real {
                vectors: bundle(&[v])?,
                width: Width::F64X2,
                lanes: false,
            },
            Kind::Max | Kind::Min => self.real_val(bundle(&[v])?, false),
            Kind::Any | Kind::All => Val::Flag(v),
            Kind::IntSum
            | Kind::IntProd
            | Kind::IntMax
            | Kind::IntMin
            | Kind::Count
            | Kind::ArgMax
            | Kind::ArgMin => Val::Int(v),
        })
    }

    fn each(&mut self, kind: Kind, v: &[Value], carried: bool) -> Result<Val> {
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

    /// The lanes of accumulators that add in any order.
    fn reduce_lanes(&mut self, kind: Kind, vectors: &[Variable]) -> Result<Val> {
        let v: Vec<Value> = vectors.iter().map(|&v| self.b.use_var(v)).collect();
        if kind.is_float() {
            let mut x = bundle(&v[..1])?;
            for &y in &v[1..] {
                let y = bundle(&[y])?;
                x = combine_floats(&mut self.emitter(1), kind, x, y);
            }
            let integer = self.width.integer();
            let v = x.values()[0];
            match kind {
                Kind::Any => {
                    let v = cast(&mut self.b, integer, v);
                    return Ok(Val::Flag(self.b.ins().vany_true(v)));
                }
                Kind::All => {
                    let v = cast(&mut self.b, integer, v);
                    return Ok(Val::Flag(self.b.ins().vall_true(v)));
                }
                _ => {}
            }
            let high = bundle(&[high_half(&mut self.b, v)])?;
            x = combine_floats(&mut self.emitter(1), kind, x, high);
            if self.width == Width::F32X4 {
                let second = bundle(&[second_lane(&mut self.b, x.values()[0])])?;
                x = combine_floats(&mut self.emitter(1), kind, x, second);
            }
            let lane = self.b.ins().extractlane(x.values()[0], 0);
            return self.splat(lane);
        }
        let mut x = v[0];
        for &y in &v[1..] {
            x = match kind {
                Kind::Count => self.b.ins().iadd(x, y),
                _ => self.combine_int(kind, x, y),
            };
        }
        let lanes = self.lanes_of(bundle(&[x])?);
        let mut total: Option<Value> = None;
        for lane in lanes {
            let lane = match self.b.func.dfg.value_type(lane) {
                types::I32 => self.b.ins().uextend(types::I64, lane),
                _ => lane,
            };
            total = Some(match total {
                None => lane,
                Some(t) if kind == Kind::Count => self.b.ins().iadd(t, lane),
                Some(t) => self.combine_int(kind, t, lane),
            });
        }
        total
            .map(Val::Int)
            .ok_or_else(|| bug("a vector of no lanes"))
    }

    /// The result of a fold after its loop.
    pub(super) fn folded(&mut self, id: FoldId, span: Option<Span>) -> Result<Val> {
        let Some(Accumulator::Done(val)) = self.folds.get(&id).cloned() else {
            return Err(bug("a fold is read before its loop ended"));
        };
        if let (Kind::ArgMax | Kind::ArgMin, Val::Int(at)) = (self.kind_of(id)?, val) {
            let fine = self
                .b
                .ins()
                .icmp_imm_s(IntCC::SignedGreaterThanOrEqual, at, 0);
            let check = self.new_check(CheckKind::Empty, span);
            let lane = self.lane_index();
            self.check(fine, check, at, lane)?;
        }
        Ok(val)
    }
}

/// The elements, or the identity where the mask is not set.
fn neutral_floats(e: &mut Emitter, kind: Kind, x: Bundle, mask: Bundle) -> Bundle {
    match kind {
        Kind::Sum | Kind::Any => e.and(x, mask),
        Kind::All => {
            let all = e.bits(u64::MAX);
            let out = e.xor(mask, all);
            e.or(x, out)
        }
        Kind::Prod
        | Kind::Max
        | Kind::Min
        | Kind::IntSum
        | Kind::IntProd
        | Kind::IntMax
        | Kind::IntMin
        | Kind::Count
        | Kind::ArgMax
        | Kind::ArgMin => {
            let identity = e.real(kind.float_identity());
            e.select(mask, x, identity)
        }
    }
}
