//! The operators on ints: 64 bits, wrapping, in vectors of two where every lane has its own.

use super::CheckKind;
use super::math::Bundle;
use super::ops::conditions;
use super::stage::{Gen, Result, bug};
use super::value::{Val, bundle};
use crate::ast::Span;
use crate::ir::Op;
use crate::loops::ValueId;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value, types};

impl<'u, 'f> Gen<'u, 'f> {
    pub(super) fn int_op(&mut self, op: Op, operands: &[ValueId]) -> Result<Val> {
        let mut vals = vec![];
        for &o in operands {
            vals.push(self.val(o)?);
        }
        if vals.iter().any(Val::lanes) {
            let mut args = vec![];
            for v in vals {
                args.push(self.ints_of(v)?);
            }
            return self.int_lanes(op, &args);
        }
        let mut args = vec![];
        for &o in operands {
            args.push(self.int(o)?);
        }
        let one = |g: &mut Self, n: i64| g.b.ins().iconst(types::I64, n);
        let out = self.int_vector(op, &args, one)?;
        Ok(match op {
            Op::Eq | Op::Ne | Op::Lt | Op::Le | Op::Gt | Op::Ge => Val::Flag(out),
            _ => Val::Int(out),
        })
    }

    fn int_lanes(&mut self, op: Op, args: &[Bundle]) -> Result<Val> {
        let constant = |g: &mut Self, n: i64| {
            let c = g.b.ins().iconst(types::I64, n);
            g.b.ins().splat(types::I64X2, c)
        };
        let mut out = vec![];
        for k in 0..args[0].copies() {
            let vectors: Vec<Value> = args.iter().map(|a| a.values()[k]).collect();
            out.push(self.int_vector(op, &vectors, constant)?);
        }
        let out = bundle(&out)?;
        match op {
            Op::Eq | Op::Ne | Op::Lt | Op::Le | Op::Gt | Op::Ge => {
                let vectors = self.narrow_masks(out)?;
                Ok(Val::Mask {
                    vectors,
                    lanes: true,
                })
            }
            _ => Ok(Val::Ints(out)),
        }
    }

    /// One operation on scalars or vectors alike; `constant` makes a number of their type.
    fn int_vector(
        &mut self,
        op: Op,
        v: &[Value],
        constant: impl Fn(&mut Self, i64) -> Value,
    ) -> Result<Value> {
        let y = v[v.len().min(2) - 1];
        let x = v[0];
        Ok(match op {
            Op::Add => self.b.ins().iadd(x, y),
            Op::Sub => self.b.ins().isub(x, y),
            Op::Mul => self.b.ins().imul(x, y),
            Op::Neg => self.b.ins().ineg(x),
            Op::Abs => {
                let zero = constant(self, 0);
                let minus = self.b.ins().ineg(x);
                self.choose(IntCC::SignedLessThan, (x, zero), minus, x)
            }
            Op::Sign => {
                let [zero, one, minus] = [0, 1, -1].map(|n| constant(self, n));
                let low = self.choose(IntCC::SignedLessThan, (x, zero), minus, zero);
                self.choose(IntCC::SignedGreaterThan, (x, zero), one, low)
            }
            Op::Max => self.choose(IntCC::SignedGreaterThan, (x, y), x, y),
            Op::Min => self.choose(IntCC::SignedLessThan, (x, y), x, y),
            Op::Clamp => {
                let raised = self.choose(IntCC::SignedLessThan, (x, y), y, x);
                self.choose(IntCC::SignedGreaterThan, (raised, v[2]), v[2], raised)
            }
            Op::Relu => {
                let zero = constant(self, 0);
                self.choose(IntCC::SignedGreaterThan, (x, zero), x, zero)
            }
            Op::StopGradient | Op::ToInt => x,
            _ if op.compares() => {
                let (cc, _) = conditions(op)?;
                self.b.ins().icmp(cc, x, y)
            }
            _ => return Err(bug(&format!("`{}` is no operator on ints", op.name()))),
        })
    }

    /// `a` where the comparison holds, else `b`.
    fn choose(&mut self, cc: IntCC, (x, y): (Value, Value), a: Value, b: Value) -> Value {
        let holds = self.b.ins().icmp(cc, x, y);
        if self.b.func.dfg.value_type(x).is_vector() {
            self.b.ins().bitselect(holds, a, b)
        } else {
            self.b.ins().select(holds, a, b)
        }
    }

    /// Floor division or its remainder.
    pub(super) fn divide(
        &mut self,
        op: Op,
        a: ValueId,
        b: ValueId,
        when: Option<ValueId>,
        span: Option<Span>,
    ) -> Result<Val> {
        let check = self.new_check(CheckKind::Divide, span);
        let (x, y) = (self.val(a)?, self.val(b)?);
        let when = when.map(|w| self.val(w)).transpose()?;
        if !x.lanes() && !y.lanes() && !when.is_some_and(|w| w.lanes()) {
            let (x, y) = (self.int(a)?, self.int(b)?);
            let when = when.map(|w| self.flag_of(w)).transpose()?;
            let lane = self.lane_index();
            return Ok(Val::Int(self.divide_one(op, (x, y), when, check, lane)?));
        }
        let (xs, ys) = (self.lane_ints(x)?, self.lane_ints(y)?);
        let alive = self.alive(when)?;
        let mut out = vec![];
        for k in 0..xs.len() {
            let lane = self.lane_at(k);
            out.push(self.divide_one(op, (xs[k], ys[k]), Some(alive[k]), check, lane)?);
        }
        Ok(Val::Ints(self.vectors_of(types::I64X2, &out)?))
    }

    fn divide_one(
        &mut self,
        op: Op,
        (x, y): (Value, Value),
        when: Option<Value>,
        check: usize,
        lane: Option<Value>,
    ) -> Result<Value> {
        let mut fine = self.b.ins().icmp_imm_s(IntCC::NotEqual, y, 0);
        if let Some(when) = when {
            let idle = self.b.ins().icmp_imm_s(IntCC::Equal, when, 0);
            fine = self.b.ins().bor(fine, idle);
        }
        self.check(fine, check, y, lane)?;
        // The hardware traps on a divisor of 0 and on the least int by -1.
        let one = self.b.ins().iconst(types::I64, 1);
        let next = self.b.ins().iadd(y, one);
        let special = self
            .b
            .ins()
            .icmp_imm_s(IntCC::UnsignedLessThanOrEqual, next, 1);
        let divisor = self.b.ins().select(special, one, y);
        let quotient = self.b.ins().sdiv(x, divisor);
        let back = self.b.ins().imul(quotient, divisor);
        let remainder = self.b.ins().isub(x, back);
        let differ = self.b.ins().bxor(remainder, divisor);
        let differ = self.b.ins().icmp_imm_s(IntCC::SignedLessThan, differ, 0);
        let inexact = self.b.ins().icmp_imm_s(IntCC::NotEqual, remainder, 0);
        let down = self.b.ins().band(differ, inexact);
        if op == Op::Mod {
            let moved = self.b.ins().iadd(remainder, divisor);
            return Ok(self.b.ins().select(down, moved, remainder));
        }
        let down = self.b.ins().uextend(types::I64, down);
        let floor = self.b.ins().isub(quotient, down);
        let minus = self.b.ins().ineg(x);
        let by_minus_one = self.b.ins().icmp_imm_s(IntCC::Equal, y, -1);
        Ok(self.b.ins().select(by_minus_one, minus, floor))
    }

    /// Int to real, rounded once.
    pub(super) fn int_to_real(&mut self, x: ValueId) -> Result<Val> {
        let val = self.val(x)?;
        self.int_val_to_real(val)
    }

    pub(super) fn int_val_to_real(&mut self, val: Val) -> Result<Val> {
        let float = self.width.vector().lane_type();
        match val {
            Val::Int(v) => {
                let v = self.b.ins().fcvt_from_sint(float, v);
                self.splat(v)
            }
            val => {
                let mut out = vec![];
                for v in self.lane_ints(val)? {
                    out.push(self.b.ins().fcvt_from_sint(float, v));
                }
                let vectors = self.vectors_of(self.width.vector(), &out)?;
                Ok(self.real_val(vectors, true))
            }
        }
    }

    /// Real to int: towards zero, saturating, 0 for NaN.
    pub(super) fn real_to_int(&mut self, x: ValueId) -> Result<Val> {
        let (vectors, lanes) = self.real(x)?;
        if !lanes {
            let v = self.b.ins().extractlane(vectors.values()[0], 0);
            return Ok(Val::Int(self.b.ins().fcvt_to_sint_sat(types::I64, v)));
        }
        let mut out = vec![];
        for v in self.lanes_of(vectors) {
            out.push(self.b.ins().fcvt_to_sint_sat(types::I64, v));
        }
        Ok(Val::Ints(self.vectors_of(types::I64X2, &out)?))
    }
}
