//! The operators on reals and bools.

use super::math::{self, Bundle, Emitter, Function, Logistic, Sign};
use super::stage::{Gen, Result, arity, bug};
use super::value::{Val, bundle, cast};
use crate::ir::{Op, Type};
use crate::loops::ValueId;
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{InstBuilder, types};

impl<'u, 'f> Gen<'u, 'f> {
    /// `op(operands)`; `result` is the type of what comes out.
    pub(super) fn op(&mut self, op: Op, operands: &[ValueId], result: Type) -> Result<Val> {
        arity(op, operands)?;
        let of = |id: ValueId| {
            let info = self.unit.loops.values.get(id.0 as usize);
            info.map(|i| i.ty).ok_or_else(|| bug("an unknown operand"))
        };
        match (op, of(operands[operands.len() - 1])?) {
            (Op::And | Op::Or | Op::Not, _) => self.logic(op, operands),
            (Op::Eq | Op::Ne, Type::Bool) => self.logic(op, operands),
            (Op::Eq | Op::Ne | Op::Lt | Op::Le | Op::Gt | Op::Ge, Type::Real) => {
                self.compare(op, operands)
            }
            (Op::ToInt, Type::Real) => self.real_to_int(operands[0]),
            (Op::Polygamma, _) => self.polygamma(operands),
            (_, Type::Int) if result != Type::Real => self.int_op(op, operands),
            (Op::ToReal, Type::Int) => self.int_to_real(operands[0]),
            (Op::Neg, Type::Real) if self.lane_loop.is_some() => {
                if let Some(val) = self.negated_product(operands[0])? {
                    return Ok(val);
                }
                let (x, lanes) = self.real(operands[0])?;
                let vectors = self.emitter(x.copies()).neg(x);
                Ok(self.real_val(vectors, lanes))
            }
            (Op::Sigmoid | Op::Softplus, Type::Real) if self.shares() => {
                self.logistic_of(op, operands[0])
            }
            (_, Type::Real) => {
                self.prepare(operands)?;
                let mut args = vec![];
                for &o in operands {
                    args.push(self.real(o)?);
                }
                let lanes = args.iter().any(|(_, lanes)| *lanes);
                let args: Vec<Bundle> = if lanes {
                    args.into_iter().map(|a| self.spread(a)).collect()
                } else {
                    args.into_iter().map(|a| a.0).collect()
                };
                let vectors = self.real_op(op, &args)?;
                Ok(self.real_val(vectors, lanes))
            }
            (_, Type::Int | Type::Bool) => {
                Err(bug(&format!("`{}` of operands of a wrong type", op.name())))
            }
        }
    }

    /// Makes the operands that take several registers, those that take most first, so that the others are not held
    /// while they are made.
    fn prepare(&mut self, operands: &[ValueId]) -> Result<()> {
        let mut order: Vec<(usize, ValueId)> =
            operands.iter().map(|&o| (self.registers(o), o)).collect();
        order.sort_by_key(|&(registers, _)| std::cmp::Reverse(registers));
        for (registers, id) in order {
            if registers > 1 {
                self.val(id)?;
            }
        }
        Ok(())
    }

    /// Whether what one statement makes is still there for the next: in the body of a lane loop.
    fn shares(&self) -> bool {
        self.lane_loop.as_ref().is_some_and(|l| l.top)
    }

    /// Sigmoid and softplus of x and of -x are made of one exponential.
    fn logistic_of(&mut self, op: Op, operand: ValueId) -> Result<Val> {
        let base = self.without_sign(operand);
        let sign = if base == operand {
            Sign::Same
        } else {
            Sign::Negated
        };
        let (mut parts, lanes) = match self.logistic.get(&base) {
            Some(&known) => known,
            None => {
                let (x, lanes) = self.real(base)?;
                (Logistic::new(&mut self.emitter(x.copies()), x), lanes)
            }
        };
        // What needs the argument comes last: it was long ago that it was used, so it may be loaded again.
        let mut e = self.emitter(parts.copies());
        let vectors = match op {
            Op::Sigmoid => match parts.sigmoid_again(&mut e, sign) {
                Some(vectors) => vectors,
                None => {
                    parts.of_sigmoids(&mut e);
                    let (x, _) = self.real(base)?;
                    parts.sigmoid(&mut self.emitter(x.copies()), x, sign)
                }
            },
            _ => {
                parts.of_softplus(&mut e);
                let (x, _) = self.real(base)?;
                parts.softplus(&mut self.emitter(x.copies()), x, sign)
            }
        };
        self.logistic.insert(base, (parts, lanes));
        Ok(self.real_val(vectors, lanes))
    }

    /// `-(u * x)` for u that is the same for all lanes, as `(-u) * x`.
    fn negated_product(&mut self, operand: ValueId) -> Result<Option<Val>> {
        let Some(factors) = self.product(operand) else {
            return Ok(None);
        };
        let (a, b) = (self.real(factors[0])?, self.real(factors[1])?);
        let (id, uniform, x) = match (a.1, b.1) {
            (false, true) => (factors[0], a.0, b.0),
            (true, false) => (factors[1], b.0, a.0),
            _ => return Ok(None),
        };
        let minus = match self.negated_before_loop(id)? {
            Some(minus) => minus,
            None => self.emitter(1).neg(uniform),
        };
        let minus = self.spread((minus, false));
        let vectors = self.emitter(x.copies()).mul(minus, x);
        Ok(Some(self.real_val(vectors, true)))
    }

    fn real_op(&mut self, op: Op, args: &[Bundle]) -> Result<Bundle> {
        let x = args[0];
        let y = args[args.len().min(2) - 1];
        let copies = x.copies();
        if let Some(function) = function(op) {
            let mut e = self.emitter(copies);
            return Ok(math::emit(&mut e, function, x, y));
        }
        let mut e = self.emitter(copies);
        Ok(match op {
            Op::Add => e.add(x, y),
            Op::Sub => e.sub(x, y),
            Op::Mul => e.mul(x, y),
            Op::Div => e.div(x, y),
            Op::Neg => e.neg(x),
            Op::Abs => e.abs(x),
            Op::Sign => sign(&mut e, x),
            Op::Max => max(&mut e, x, y),
            Op::Min => min(&mut e, x, y),
            Op::Clamp => clamp(&mut e, x, y, args[2]),
            Op::Relu => {
                let zero = e.real(0.0);
                e.max_or_data(zero, x)
            }
            Op::StopGradient => x,
            _ => return Err(bug(&format!("`{}` is no operator on reals", op.name()))),
        })
    }

    /// The order is an int, the argument a real.
    fn polygamma(&mut self, operands: &[ValueId]) -> Result<Val> {
        let order = self.int_to_real(operands[0])?;
        let order = self.at_width(order, self.width)?;
        let x = self.real(operands[1])?;
        let lanes = order.1 || x.1;
        let (order, x) = if lanes {
            (self.spread(order), self.spread(x))
        } else {
            (order.0, x.0)
        };
        let vectors = self.real_op(Op::Polygamma, &[order, x])?;
        Ok(self.real_val(vectors, lanes))
    }

    fn compare(&mut self, op: Op, operands: &[ValueId]) -> Result<Val> {
        self.prepare(operands)?;
        let (x, y) = (self.real(operands[0])?, self.real(operands[1])?);
        let lanes = x.1 || y.1;
        let (x, y) = if lanes {
            (self.spread(x), self.spread(y))
        } else {
            (x.0, y.0)
        };
        let (_, cc) = conditions(op)?;
        let vectors = self.emitter(x.copies()).compare(cc, x, y);
        Ok(Val::Mask { vectors, lanes })
    }

    fn logic(&mut self, op: Op, operands: &[ValueId]) -> Result<Val> {
        let mut vals = vec![];
        for &o in operands {
            vals.push(self.val(o)?);
        }
        if vals.iter().all(|v| matches!(v, Val::Flag(_))) {
            let x = self.flag_of(vals[0])?;
            let y = self.flag_of(vals[vals.len() - 1])?;
            return Ok(Val::Flag(match op {
                Op::And => self.b.ins().band(x, y),
                Op::Or => self.b.ins().bor(x, y),
                Op::Not => self.b.ins().icmp_imm_s(IntCC::Equal, x, 0),
                Op::Eq => self.b.ins().icmp(IntCC::Equal, x, y),
                _ => self.b.ins().icmp(IntCC::NotEqual, x, y),
            }));
        }
        let lanes = vals.iter().any(Val::lanes);
        let mut masks = vec![];
        for v in vals {
            let mask = self.mask_of(v)?;
            masks.push(if lanes { self.spread(mask) } else { mask.0 });
        }
        let (x, y) = (masks[0], masks[masks.len() - 1]);
        let mut e = self.emitter(x.copies());
        let vectors = match op {
            Op::And => e.and(x, y),
            Op::Or => e.or(x, y),
            Op::Ne => e.xor(x, y),
            Op::Not => {
                let all = e.bits(u64::MAX);
                e.xor(x, all)
            }
            _ => {
                let differ = e.xor(x, y);
                let all = e.bits(u64::MAX);
                e.xor(differ, all)
            }
        };
        Ok(Val::Mask { vectors, lanes })
    }

    /// `if c then a else b`, both evaluated.
    pub(super) fn select(&mut self, c: ValueId, a: ValueId, b: ValueId, ty: Type) -> Result<Val> {
        if let Some((x, d)) = self.as_clamp(c, a, b).filter(|_| ty == Type::Real) {
            let (x, d) = (self.real(x)?, self.real(d)?);
            let low = self.emitter(d.0.copies()).neg(d.0);
            let lanes = x.1 || d.1;
            let [x, low, high] =
                [x, (low, d.1), d].map(|v| if lanes { self.spread(v) } else { v.0 });
            let vectors = clamp(&mut self.emitter(x.copies()), x, low, high);
            return Ok(self.real_val(vectors, lanes));
        }
        if let Some((size, d)) = self.as_limit(c, a, b).filter(|_| ty == Type::Real) {
            let (x, bound) = (self.real(size)?, self.real(d)?);
            let lanes = x.1 || bound.1;
            let [x, bound] = [x, bound].map(|v| if lanes { self.spread(v) } else { v.0 });
            let limit = self.emitter(x.copies()).min_or_data(bound, x);
            let (vectors, lanes) = self.limited(b, d, (limit, lanes))?;
            return Ok(self.real_val(vectors, lanes));
        }
        let (then_zero, else_zero) = (self.is_zero(a), self.is_zero(b));
        self.prepare(&[a, b])?;
        // The condition last: a mask is used up at once.
        let (a, b, c) = (self.val(a)?, self.val(b)?, self.val(c)?);
        let lanes = c.lanes() || a.lanes() || b.lanes();
        match ty {
            Type::Real => {
                let (c, a, b) = (
                    self.mask_of(c)?,
                    self.at_width(a, self.width)?,
                    self.at_width(b, self.width)?,
                );
                let [c, a, b] = [c, a, b].map(|v| if lanes { self.spread(v) } else { v.0 });
                let mut e = self.emitter(c.copies());
                let vectors = match (then_zero, else_zero) {
                    // 0 is where the mask has no bits: one instruction instead of a blend.
                    (_, true) => e.and(c, a),
                    (true, false) => e.binary(b, c, |b, x, m| b.ins().band_not(x, m)),
                    (false, false) => e.select(c, a, b),
                };
                Ok(self.real_val(vectors, lanes))
            }
            Type::Bool => {
                let (c, a, b) = (self.mask_of(c)?, self.mask_of(a)?, self.mask_of(b)?);
                let [c, a, b] = [c, a, b].map(|v| if lanes { self.spread(v) } else { v.0 });
                let vectors = self.emitter(c.copies()).select(c, a, b);
                Ok(Val::Mask { vectors, lanes })
            }
            Type::Int if lanes => {
                let c = self.mask_of(c)?;
                let c = self.spread(c);
                let c = self.wide_masks(c)?;
                let (a, b) = (self.ints_of(a)?, self.ints_of(b)?);
                let mut out = vec![];
                for ((&c, &a), &b) in c.values().iter().zip(a.values()).zip(b.values()) {
                    let c = cast(&mut self.b, types::I64X2, c);
                    out.push(self.b.ins().bitselect(c, a, b));
                }
                Ok(Val::Ints(bundle(&out)?))
            }
            Type::Int => {
                let c = self.flag_of(c)?;
                match (a, b) {
                    (Val::Int(a), Val::Int(b)) => Ok(Val::Int(self.b.ins().select(c, a, b))),
                    _ => Err(bug("an int was expected")),
                }
            }
        }
    }

    /// 0 for an infinite operand.
    pub(super) fn finite(&mut self, x: ValueId) -> Result<Val> {
        let (x, lanes) = self.real(x)?;
        let mut e = self.emitter(x.copies());
        let size = e.abs(x);
        let infinity = e.real(f64::INFINITY);
        let infinite = e.compare(FloatCC::Equal, size, infinity);
        let zero = e.real(0.0);
        let vectors = e.select(infinite, zero, x);
        Ok(self.real_val(vectors, lanes))
    }
}

/// The comparison of ints and of reals: with NaN only `!=` holds.
pub(super) fn conditions(op: Op) -> Result<(IntCC, FloatCC)> {
    Ok(match op {
        Op::Eq => (IntCC::Equal, FloatCC::Equal),
        Op::Ne => (IntCC::NotEqual, FloatCC::NotEqual),
        Op::Lt => (IntCC::SignedLessThan, FloatCC::LessThan),
        Op::Le => (IntCC::SignedLessThanOrEqual, FloatCC::LessThanOrEqual),
        Op::Gt => (IntCC::SignedGreaterThan, FloatCC::GreaterThan),
        Op::Ge => (IntCC::SignedGreaterThanOrEqual, FloatCC::GreaterThanOrEqual),
        _ => return Err(bug("no comparison")),
    })
}

/// The larger; NaN if either is.
pub(super) fn max(e: &mut Emitter, x: Bundle, y: Bundle) -> Bundle {
    let larger = e.max_or_data(x, y);
    e.keep_nan(x, larger)
}

/// The smaller; NaN if either is.
pub(super) fn min(e: &mut Emitter, x: Bundle, y: Bundle) -> Bundle {
    let smaller = e.min_or_data(x, y);
    e.keep_nan(x, smaller)
}

/// At least `low`, then at most `high`: where `low` is above `high`, the answer is `high`. NaN passes.
fn clamp(e: &mut Emitter, x: Bundle, low: Bundle, high: Bundle) -> Bundle {
    let raised = e.max_or_data(low, x);
    e.min_or_data(high, raised)
}

/// -1, 0 or 1; NaN stays.
fn sign(e: &mut Emitter, x: Bundle) -> Bundle {
    let (zero, one, minus) = (e.real(0.0), e.real(1.0), e.real(-1.0));
    let positive = e.compare(FloatCC::GreaterThan, x, zero);
    let out = e.select(positive, one, x);
    let negative = e.compare(FloatCC::LessThan, x, zero);
    e.select(negative, minus, out)
}

/// The operators that are functions of the vector library.
fn function(op: Op) -> Option<Function> {
    Some(match op {
        Op::Exp => Function::Exp,
        Op::Expm1 => Function::Expm1,
        Op::Log => Function::Log,
        Op::Log1p => Function::Log1p,
        Op::Log2 => Function::Log2,
        Op::Tanh => Function::Tanh,
        Op::Sigmoid => Function::Sigmoid,
        Op::Softplus => Function::Softplus,
        Op::Xlogy => Function::Xlogy,
        Op::Sin => Function::Sin,
        Op::Cos => Function::Cos,
        Op::Tan => Function::Tan,
        Op::Asin => Function::Asin,
        Op::Acos => Function::Acos,
        Op::Atan => Function::Atan,
        Op::Atan2 => Function::Atan2,
        Op::Sinh => Function::Sinh,
        Op::Cosh => Function::Cosh,
        Op::Erf => Function::Erf,
        Op::Pow => Function::Pow,
        Op::Lgamma => Function::Lgamma,
        Op::Digamma => Function::Digamma,
        Op::Polygamma => Function::Polygamma,
        Op::Sqrt => Function::Sqrt,
        Op::Floor => Function::Floor,
        Op::Ceil => Function::Ceil,
        Op::Round => Function::Round,
        Op::Add
        | Op::Sub
        | Op::Mul
        | Op::Neg
        | Op::Abs
        | Op::Sign
        | Op::Max
        | Op::Min
        | Op::Clamp
        | Op::IntDiv
        | Op::Mod
        | Op::Div
        | Op::Relu
        | Op::LogSumExp
        | Op::StopGradient
        | Op::ToReal
        | Op::ToInt
        | Op::Eq
        | Op::Ne
        | Op::Lt
        | Op::Le
        | Op::Gt
        | Op::Ge
        | Op::And
        | Op::Or
        | Op::Not => return None,
    })
}
