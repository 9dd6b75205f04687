//! argmax and argmin.

use super::{Accumulator, Kind};
use crate::ast::Span;
use crate::codegen::CheckKind;
use crate::codegen::stage::{Gen, Result, bug};
use crate::codegen::value::{Val, bundle, cast};
use crate::loops::ValueId;
use cranelift::frontend::Variable;
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{InstBuilder, Value, types};

impl<'u, 'f> Gen<'u, 'f> {
    pub(super) fn arg_start(&mut self) -> Accumulator {
        let best = self.b.ins().f64const(0.0);
        let at = self.b.ins().iconst(types::I64, -1);
        Accumulator::Arg {
            best: self.variable(best),
            at: self.variable(at),
        }
    }

    /// The index that was found. That there is one is checked where it is asked for: only there must something be found.
    pub(in crate::codegen) fn found(
        &mut self,
        index: ValueId,
        when: Option<ValueId>,
        span: Option<Span>,
    ) -> Result<Val> {
        let check = self.new_check(CheckKind::Empty, span);
        let val = self.val(index)?;
        let when = when.map(|w| self.val(w)).transpose()?;
        if !val.lanes() && !when.is_some_and(|w| w.lanes()) {
            let at = self.int(index)?;
            let when = when.map(|w| self.flag_of(w)).transpose()?;
            let lane = self.lane_index();
            self.check_found(at, when, check, lane)?;
            return Ok(val);
        }
        let alive = self.alive(when)?;
        for (k, at) in self.lane_ints(val)?.into_iter().enumerate() {
            let lane = self.lane_at(k);
            self.check_found(at, Some(alive[k]), check, lane)?;
        }
        Ok(val)
    }

    fn check_found(
        &mut self,
        at: Value,
        when: Option<Value>,
        check: usize,
        lane: Option<Value>,
    ) -> Result<()> {
        let found = IntCC::SignedGreaterThanOrEqual;
        let mut fine = self.b.ins().icmp_imm_s(found, at, 0);
        if let Some(when) = when {
            let idle = self.b.ins().icmp_imm_s(IntCC::Equal, when, 0);
            fine = self.b.ins().bor(fine, idle);
        }
        self.check(fine, check, at, lane)
    }

    /// argmax and argmin, lane after lane in a lane loop.
    pub(super) fn fold_arg(
        &mut self,
        kind: Kind,
        (best, at): (Variable, Variable),
        value: Val,
        guard: Option<Val>,
    ) -> Result<()> {
        let axis = self.places.last().map(|(a, _)| *a);
        let axis = axis.ok_or_else(|| bug("a fold outside of a loop"))?;
        let ints = matches!(value, Val::Int(_) | Val::Ints(_));
        let elements: Vec<(Value, Value, Option<Value>)> = if self.lane_loop.is_some() {
            let alive = self.alive(None)?;
            let guards = match guard {
                Some(g) => Some(self.lane_flags(g)?),
                None => None,
            };
            let xs = self.lane_scalars(value)?;
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
            let x = self.lane_scalars(value)?[0];
            let Val::Int(index) = self.axis_index(axis)? else {
                return Err(bug("an index of a loop"));
            };
            let guard = guard.map(|g| self.flag_of(g)).transpose()?;
            vec![(x, index, guard)]
        };
        for (x, index, takes) in elements {
            let (old, place) = (self.b.use_var(best), self.b.use_var(at));
            let better = if ints {
                let (x, old) = (self.as_int(x), self.as_int(old));
                self.b.ins().icmp(int_order(kind), x, old)
            } else {
                let better = self.b.ins().fcmp(real_order(kind), x, old);
                let nan = self.b.ins().fcmp(FloatCC::Unordered, x, x);
                let settled = self.b.ins().fcmp(FloatCC::Unordered, old, old);
                let unsettled = self.b.ins().icmp_imm_s(IntCC::Equal, settled, 0);
                let nan = self.b.ins().band(nan, unsettled);
                self.b.ins().bor(better, nan)
            };
            let first = self.b.ins().icmp_imm_s(IntCC::SignedLessThan, place, 0);
            let mut take = self.b.ins().bor(better, first);
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

    fn as_int(&mut self, x: Value) -> Value {
        cast(&mut self.b, types::I64, x)
    }

    /// A real of each lane as a scalar f64, or the bits of an int as one.
    fn lane_scalars(&mut self, value: Val) -> Result<Vec<Value>> {
        if let Val::Int(_) | Val::Ints(_) = value {
            let ints = self.lane_ints(value)?;
            return Ok(ints
                .into_iter()
                .map(|v| cast(&mut self.b, types::F64, v))
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

    pub(super) fn fold_each_arg(
        &mut self,
        kind: Kind,
        (best, ints, at): (&[Variable], &[Variable], &[Variable]),
        value: Val,
        guard: Option<Val>,
    ) -> Result<()> {
        let axis = self.places.last().map(|(a, _)| *a);
        let index = self.axis_index(axis.ok_or_else(|| bug("a fold outside of a loop"))?)?;
        let index = self.ints_of(index)?;
        let places: Vec<Value> = at.iter().map(|&v| self.b.use_var(v)).collect();
        let zero = self.b.ins().iconst(types::I64, 0);
        let zero = self.b.ins().splat(types::I64X2, zero);
        let mut first = vec![];
        for &p in &places {
            let m = self.b.ins().icmp(IntCC::SignedLessThan, p, zero);
            first.push(m);
        }
        if let Val::Int(_) | Val::Ints(_) = value {
            let guard = match guard {
                Some(guard) => {
                    let guard = self.mask_of(guard)?;
                    let guard = self.spread(guard);
                    Some(self.wide_masks(guard)?)
                }
                None => None,
            };
            let xs = self.ints_of(value)?;
            for (k, &x) in xs.values().iter().enumerate() {
                let old = self.b.use_var(ints[k]);
                let better = self.b.ins().icmp(int_order(kind), x, old);
                let mut take = self.b.ins().bor(better, first[k]);
                if let Some(guard) = &guard {
                    let guard = cast(&mut self.b, types::I64X2, guard.values()[k]);
                    take = self.b.ins().band(take, guard);
                }
                let new = self.b.ins().bitselect(take, x, old);
                let place = self.b.ins().bitselect(take, index.values()[k], places[k]);
                self.b.def_var(ints[k], new);
                self.b.def_var(at[k], place);
            }
            return Ok(());
        }
        let x = self.at_width(value, self.width)?;
        let x = self.spread(x);
        let old: Vec<Value> = best.iter().map(|&v| self.b.use_var(v)).collect();
        let first = self.narrow_masks(bundle(&first)?)?;
        let old = bundle(&old)?;
        let mut e = self.emitter(x.copies());
        let better = e.compare(real_order(kind), x, old);
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
}

fn int_order(kind: Kind) -> IntCC {
    match kind {
        Kind::ArgMin => IntCC::SignedLessThan,
        _ => IntCC::SignedGreaterThan,
    }
}

fn real_order(kind: Kind) -> FloatCC {
    match kind {
        Kind::ArgMin => FloatCC::LessThan,
        _ => FloatCC::GreaterThan,
    }
}
