//! Checks that may end a call, and what is known to hold already.

use super::layout::{ERROR_INDEX, ERROR_PLACE, PLACES};
use super::stage::{Gen, Place, Result, arg, bug, memory};
use super::{Check, CheckKind};
use crate::ast::Span;
use crate::loops::{ExtentIndex, LoopAxisId, ValueId};
use cranelift_codegen::ir::{InstBuilder, Value, types};
use rustc_hash::FxHashMap;

/// Something that needs to be computed only once on a way through the code.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Fact {
    /// A bool that is the same for all lanes, as an i8.
    Flag(ValueId),
    /// What a cell of the context holds.
    Cell(usize),
    /// An index that ends the call where it is not below an extent, under a condition, and only if an axis has
    /// elements.
    Checked(Value, ExtentIndex, Option<ValueId>, Option<LoopAxisId>),
}

/// What holds from here to the end of the block that the code is in.
#[derive(Default)]
pub(super) struct Known {
    values: FxHashMap<Fact, Value>,
    order: Vec<Fact>,
}

impl Known {
    pub fn get(&self, fact: Fact) -> Option<Value> {
        self.values.get(&fact).copied()
    }

    pub fn add(&mut self, fact: Fact, value: Value) {
        if self.values.insert(fact, value).is_none() {
            self.order.push(fact);
        }
    }

    /// Where a block begins, for [`Known::leave`] at its end.
    pub fn enter(&self) -> usize {
        self.order.len()
    }

    pub fn leave(&mut self, at: usize) {
        for fact in self.order.drain(at..) {
            self.values.remove(&fact);
        }
    }
}

impl<'u, 'f> Gen<'u, 'f> {
    /// Ends the call where `fine` is 0; `index` goes into the message, `lane` is the element of the lane loop that it
    /// happened at. All checks of one place share the code that reports it.
    pub(super) fn check(
        &mut self,
        fine: Value,
        check: usize,
        index: Value,
        lane: Option<Value>,
    ) -> Result<()> {
        let mut open = vec![];
        let mut lanes = false;
        for &(_, place) in self.places.iter().take(PLACES) {
            open.push(match place {
                Place::One(v) => Some(v),
                Place::Lanes => None,
            });
            lanes |= matches!(place, Place::Lanes);
        }
        let failed = match self.failures.iter().find(|(at, _)| *at == open) {
            Some(&(_, block)) => block,
            None => {
                let block = self.b.create_block();
                self.b.set_cold_block(block);
                for _ in 0..2 + usize::from(lanes) {
                    self.b.append_block_param(block, types::I64);
                }
                self.failures.push((open, block));
                block
            }
        };
        let status = self.b.ins().iconst(types::I64, check as i64 + 1);
        let mut args = vec![arg(status), arg(index)];
        if lanes {
            args.push(arg(lane.ok_or_else(|| bug("a check without its lane"))?));
        }
        let good = self.b.create_block();
        self.b.ins().brif(fine, good, &[], failed, &args);
        self.enter(good);
        Ok(())
    }

    /// What the checks jump to, at the function's end.
    pub(super) fn report_failures(&mut self) {
        for (open, block) in std::mem::take(&mut self.failures) {
            self.b.switch_to_block(block);
            let params = self.b.block_params(block).to_vec();
            self.put(ERROR_INDEX, params[1]);
            for (k, place) in open.into_iter().enumerate() {
                let at = place.unwrap_or(params[params.len() - 1]);
                self.put(ERROR_PLACE + k, at);
            }
            self.b.ins().return_(&[params[0]]);
        }
    }

    fn put(&mut self, cell: usize, value: Value) {
        self.b
            .ins()
            .store(memory(), value, self.context, 8 * cell as i32);
    }

    /// A new check, by number.
    pub(super) fn new_check(&mut self, kind: CheckKind, span: Option<Span>) -> usize {
        let axes = self
            .places
            .iter()
            .take(PLACES)
            .map(|(a, _)| self.unit.loops.axes[a.0 as usize].name.clone())
            .collect();
        self.checks.push(Check { kind, span, axes });
        self.checks.len() - 1
    }
}
