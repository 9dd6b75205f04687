//! When the values of Lets are made, and what is known of how they are made.
//!
//! In a lane loop a Let waits for its first use, and a load from an input is repeated where its register was needed for
//! something else in between.

use super::stage::{Gen, Result, bug};
use super::value::Val;
use super::weight::op_weight;
use crate::ir::Op;
use crate::loops::{Expr, ValueId};

/// The registers of a function of the vector library, for each vector.
const MATH: usize = 6;

impl<'u, 'f> Gen<'u, 'f> {
    /// The value of a Let, made now if it waited for this.
    pub(super) fn val(&mut self, id: ValueId) -> Result<Val> {
        if let Some((expr, _)) = self.waiting.remove(&id) {
            // As deep as the longest chain of operators.
            stacker::maybe_grow(64 * 1024, 1024 * 1024, || self.make(id, expr))?;
            if self.reloads(expr) == Some(true) {
                self.loaded.insert(id, (expr, self.b.func.dfg.num_insts()));
            }
        } else if let Some(&(expr, at)) = self.loaded.get(&id)
            && self.b.func.dfg.num_insts() > at + self.reload * self.copies
        {
            // To load it again is cheaper than to keep it in a register.
            self.make(id, expr)?;
            self.loaded.insert(id, (expr, self.b.func.dfg.num_insts()));
        }
        if let Some(val) = self.at_home(id)? {
            return Ok(val);
        }
        let val = self.values.get(id.0 as usize).copied().flatten();
        val.ok_or_else(|| bug(&format!("value {} is used before its Let", id.0)))
    }

    /// About how many registers it takes to make a value, if it is not made yet.
    pub(super) fn registers(&self, id: ValueId) -> usize {
        self.waiting.get(&id).map_or(0, |&(_, n)| n)
    }

    /// The number of Sethi and Ullman: what is made first is held while the rest is made.
    pub(super) fn registers_of(&self, expr: &Expr) -> usize {
        let (own, operands): (usize, &[ValueId]) = match expr {
            Expr::Op(op, operands) => (op_weight(*op).min(MATH), operands),
            Expr::Select(c, a, b) => (1, &[*c, *a, *b]),
            Expr::Finite(x) => (1, &[*x]),
            Expr::Load { .. } => (1, &[]),
            _ => (0, &[]),
        };
        let mut needs: Vec<usize> = operands.iter().map(|&o| self.registers(o)).collect();
        needs.sort_unstable_by(|a, b| b.cmp(a));
        let held = needs.iter().enumerate().map(|(i, n)| i + n);
        held.max().unwrap_or(0).max(own)
    }

    pub(super) fn make_waiting(&mut self) -> Result<()> {
        let mut ids: Vec<ValueId> = self.waiting.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            self.val(id)?;
        }
        Ok(())
    }

    /// Forgets what waits at the end of a lane loop's body, as nothing uses it, and what was shared in it.
    pub(super) fn drop_waiting(&mut self) {
        self.waiting.clear();
        self.loaded.clear();
        self.logistic.clear();
    }

    /// The value without its sign, where it is a negation.
    pub(super) fn without_sign(&self, id: ValueId) -> ValueId {
        match self.made.get(&id) {
            Some(Expr::Op(Op::Neg, operands)) => operands.first().copied().unwrap_or(id),
            _ => id,
        }
    }

    /// How a value is made.
    pub(super) fn made(&self, id: ValueId) -> Option<&'u Expr> {
        self.made.get(&id).copied()
    }

    /// The operands of a value, if it is made by this operator.
    pub(super) fn operands(&self, id: ValueId, op: Op) -> Option<&'u [ValueId]> {
        match self.made.get(&id) {
            Some(Expr::Op(o, operands)) if *o == op => Some(operands),
            _ => None,
        }
    }

    /// The factors of a product that is not made yet, so that nothing else needs it so far.
    pub(super) fn product(&self, id: ValueId) -> Option<[ValueId; 2]> {
        if !self.waiting.contains_key(&id) {
            return None;
        }
        <[ValueId; 2]>::try_from(self.operands(id, Op::Mul)?).ok()
    }

    /// Whether a value is the number 0.
    pub(super) fn is_zero(&self, id: ValueId) -> bool {
        matches!(self.made.get(&id), Some(Expr::Real(x)) if x.to_bits() == 0)
    }

    fn is_nonnegative(&self, id: ValueId) -> bool {
        match self.made.get(&id) {
            Some(Expr::Real(x)) => *x >= 0.0,
            Some(Expr::Param(p)) => {
                let param = self.unit.loops.params.get(*p as usize);
                let domain = param.and_then(|p| p.domain);
                domain.is_some_and(|d| d.low >= 0.0)
            }
            _ => false,
        }
    }

    pub(super) fn is_finite_and_nonnegative(&self, id: ValueId) -> bool {
        self.is_nonnegative(id)
            && match self.made.get(&id) {
                Some(Expr::Real(x)) => x.is_finite(),
                Some(Expr::Param(p)) => {
                    let param = self.unit.loops.params.get(*p as usize);
                    let domain = param.and_then(|p| p.domain);
                    domain.is_some_and(|d| d.high.is_finite() || !d.high_included)
                }
                _ => false,
            }
    }

    /// `if |x| <= d then x else d * sign(x)` for d that is never negative: x held between -d and d. Gives x and d.
    pub(super) fn as_clamp(
        &self,
        c: ValueId,
        a: ValueId,
        b: ValueId,
    ) -> Option<(ValueId, ValueId)> {
        let compared = self
            .operands(c, Op::Le)
            .or_else(|| self.operands(c, Op::Lt));
        let (&[size, d], &[l, r]) = (compared?, self.operands(b, Op::Mul)?) else {
            return None;
        };
        let other = if l == d { r } else { l };
        let same = self.operands(size, Op::Abs)? == [a] && self.operands(other, Op::Sign)? == [a];
        (same && (l == d || r == d) && self.is_nonnegative(d)).then_some((a, d))
    }
}

/// Whether a Let may be made later than it stands: it reads no memory and ends no call.
pub(super) fn waits(expr: &Expr) -> bool {
    match expr {
        Expr::Real(_)
        | Expr::Int(_)
        | Expr::Bool(_)
        | Expr::Param(_)
        | Expr::Op(..)
        | Expr::Select(..)
        | Expr::Finite(_) => true,
        Expr::Size(_)
        | Expr::Axis(_)
        | Expr::Load { .. }
        | Expr::Divide { .. }
        | Expr::Found { .. }
        | Expr::Folded(_) => false,
    }
}
