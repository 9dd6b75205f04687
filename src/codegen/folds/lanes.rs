//! The accumulators of a lane loop, and how they become one number.

use super::{Accumulator, Kind, Pending, SUM_VECTORS, combine_floats};
use crate::codegen::math::{Bundle, Emitter, Width};
use crate::codegen::stage::{Gen, Result, bug};
use crate::codegen::value::{Val, bundle, cast, high_half, second_lane};
use crate::loops::FoldId;
use cranelift::frontend::{FunctionBuilder, Variable};
use cranelift_codegen::ir::condcodes::FloatCC;
use cranelift_codegen::ir::{InstBuilder, Value, types};

impl<'u, 'f> Gen<'u, 'f> {
    /// What a fold of the lane loop combines: the identity where its guard does not hold.
    pub(in crate::codegen) fn fold_elements(&mut self, fold: &Pending) -> Result<Bundle> {
        let kind = self.kind_of(fold.id)?;
        let value = self.val(fold.value)?;
        let guard = fold.guard.map(|g| self.val(g)).transpose()?;
        self.elements(kind, value, guard)
    }

    /// The elements, or the identity outside of a mask.
    pub(in crate::codegen) fn fold_within(
        &mut self,
        id: FoldId,
        x: Bundle,
        mask: Bundle,
    ) -> Result<Bundle> {
        let kind = self.kind_of(id)?;
        if kind.is_float() {
            return Ok(neutral_floats(&mut self.emitter(x.copies()), kind, x, mask));
        }
        self.neutral_ints(kind, x, mask)
    }

    /// Combines elements with the accumulators of a fold of the lane loop.
    pub(in crate::codegen) fn accumulate(&mut self, id: FoldId, x: Bundle) -> Result<()> {
        let kind = self.kind_of(id)?;
        let Some(Accumulator::Lanes { vectors, .. }) = self.folds.get(&id).cloned() else {
            return Err(bug("a lane fold outside of its loop"));
        };
        match kind {
            Kind::Max | Kind::Min => self.combine_extremes(kind, &vectors, x),
            _ => self.combine(kind, &vectors, x),
        }
    }

    /// The largest or smallest so far in all accumulators but the last, which holds where a NaN has been: to look for two
    /// vectors' NaNs at once costs less than to keep them.
    fn combine_extremes(&mut self, kind: Kind, accumulators: &[Variable], x: Bundle) -> Result<()> {
        let Some((&nan, accumulators)) = accumulators.split_last() else {
            return Err(bug("a fold without accumulators"));
        };
        for (&variable, &x) in accumulators.iter().zip(x.values()) {
            let old = self.b.use_var(variable);
            let new = self.extreme(kind, old, x)?;
            self.b.def_var(variable, new);
        }
        for pair in x.values().chunks(2) {
            let (x, y) = (bundle(&pair[..1])?, bundle(&pair[pair.len() - 1..])?);
            let old = bundle(&[self.b.use_var(nan)])?;
            let mut e = self.emitter(1);
            let here = e.compare(FloatCC::Unordered, x, y);
            let new = e.or(old, here);
            self.b.def_var(nan, new.values()[0]);
        }
        Ok(())
    }

    fn extreme(&mut self, kind: Kind, x: Value, y: Value) -> Result<Value> {
        let (x, y) = (bundle(&[x])?, bundle(&[y])?);
        let mut e = self.emitter(1);
        let out = match kind {
            Kind::Min => e.min_or_data(x, y),
            _ => e.max_or_data(x, y),
        };
        Ok(out.values()[0])
    }

    /// The lanes of [`Gen::combine_extremes`]'s accumulators; NaN if one has been.
    pub(super) fn reduce_extremes(&mut self, kind: Kind, vectors: &[Variable]) -> Result<Val> {
        let mut v: Vec<Value> = vectors.iter().map(|&v| self.b.use_var(v)).collect();
        let (Some(mut nan), Some(mut x)) = (v.pop(), v.pop()) else {
            return Err(bug("a fold without accumulators"));
        };
        for y in v.into_iter().rev() {
            x = self.extreme(kind, y, x)?;
        }
        let parts: &[fn(&mut FunctionBuilder, Value) -> Value] = match self.width {
            Width::F32X4 => &[high_half, second_lane],
            Width::F64X2 => &[high_half],
        };
        for part in parts {
            let (other, also) = (part(&mut self.b, x), part(&mut self.b, nan));
            x = self.extreme(kind, x, other)?;
            nan = self.or(nan, also)?;
        }
        // All bits set are a NaN, too.
        let x = self.or(x, nan)?;
        let lane = self.b.ins().extractlane(x, 0);
        self.splat(lane)
    }

    fn or(&mut self, x: Value, y: Value) -> Result<Value> {
        let (x, y) = (bundle(&[x])?, bundle(&[y])?);
        Ok(self.emitter(1).or(x, y).values()[0])
    }

    pub(super) fn elements(
        &mut self,
        kind: Kind,
        value: Val,
        guard: Option<Val>,
    ) -> Result<Bundle> {
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

    pub(super) fn combine(
        &mut self,
        kind: Kind,
        accumulators: &[Variable],
        x: Bundle,
    ) -> Result<()> {
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

    /// Adds the lanes of the sums into their f64, and starts them again.
    pub(in crate::codegen) fn carry_lanes(&mut self, folds: &[FoldId]) -> Result<()> {
        for &id in folds {
            let kind = self.kind_of(id)?;
            let Some(Accumulator::Lanes {
                vectors,
                carry: Some(carry),
                ..
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

    /// Keeps the accumulators as they are before the tail.
    pub(in crate::codegen) fn save(&mut self, folds: &[FoldId]) {
        for id in folds {
            if let Some(Accumulator::Lanes { vectors, saved, .. }) = self.folds.get(id).cloned() {
                for (k, &v) in vectors.iter().enumerate() {
                    let v = self.b.use_var(v);
                    let at = 16 * k as i32;
                    self.b.ins().stack_store(types::I64, v, saved, at);
                }
            }
        }
    }

    /// Makes the accumulators of a fold what they were at [`Gen::save`].
    pub(in crate::codegen) fn restore(&mut self, id: FoldId) {
        if let Some(Accumulator::Lanes { vectors, saved, .. }) = self.folds.get(&id).cloned() {
            for (k, &variable) in vectors.iter().enumerate() {
                let now = self.b.use_var(variable);
                let ty = self.b.func.dfg.value_type(now);
                let at = 16 * k as i32;
                let old = self.b.ins().stack_load(types::I64, ty, saved, at);
                self.b.def_var(variable, old);
            }
        }
    }

    /// After a step with fewer vectors in flight than a sum has: the next step adds to the next ones.
    pub(in crate::codegen) fn rotate(&mut self, folds: &[FoldId]) -> Result<()> {
        if self.copies >= SUM_VECTORS {
            return Ok(());
        }
        for &id in folds {
            let Some(Accumulator::Lanes {
                vectors,
                carry: Some(_),
                ..
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

    pub(super) fn uniform(&mut self, kind: Kind, v: Value) -> Result<Val> {
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

    /// The lanes of accumulators that add in any order.
    pub(super) fn reduce_lanes(&mut self, kind: Kind, vectors: &[Variable]) -> Result<Val> {
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
}

/// The elements, or the identity where the mask is not set.
pub(super) fn neutral_floats(e: &mut Emitter, kind: Kind, x: Bundle, mask: Bundle) -> Bundle {
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
