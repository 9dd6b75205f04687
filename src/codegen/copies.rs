//! Copies of a tail's elements between arrays and padded slots. All copies of one place share their branches.

use super::stage::{Gen, arg, memory};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Type, Value, types};

/// Elements of `size` bytes from one place to another: where element 0 is, and bytes from one to the next where they
/// are not contiguous.
#[derive(Clone, Copy)]
pub(super) struct Copy {
    pub to: (Value, Option<Value>),
    pub from: (Value, Option<Value>),
    pub size: i64,
}

impl<'u, 'f> Gen<'u, 'f> {
    /// Copies the elements from `first` on (at least that one) to `end`, one of each at a time: little code, as there are
    /// tails in every lane loop and fewer elements in them than a step has.
    pub(super) fn copy(&mut self, copies: &[Copy], (first, end): (Value, Value)) {
        if !copies.is_empty() {
            self.copy_each(copies, (first, end), None);
        }
    }

    /// The same to slots that hold elements up to `padded`, which are filled with the last one: all lanes are computed
    /// with, and what was on the stack before (subnormal numbers, as a rule) may take a hundred times as long.
    pub(super) fn copy_padded(
        &mut self,
        copies: &[Copy],
        (first, end): (Value, Value),
        padded: Value,
    ) {
        if copies.is_empty() {
            return;
        }
        let last = self.b.ins().iadd_imm_s(end, -1);
        self.copy_each(copies, (first, padded), Some(last));
    }

    fn copy_each(&mut self, copies: &[Copy], (first, end): (Value, Value), last: Option<Value>) {
        let [step, done] = [0; 2].map(|_| self.b.create_block());
        self.b.set_cold_block(step);
        self.b.ins().jump(step, &[arg(first)]);
        let k = self.b.append_block_param(step, types::I64);
        self.b.switch_to_block(step);
        let source = match last {
            Some(last) => self.b.ins().smin(k, last),
            None => k,
        };
        for copy in copies {
            let from = self.element(copy.from.0, copy.from.1, copy.size, source);
            let to = self.element(copy.to.0, copy.to.1, copy.size, k);
            let ty = element_type(copy.size);
            let x = self.b.ins().load(ty, memory(), from, 0);
            self.b.ins().store(memory(), x, to, 0);
        }
        let next = self.b.ins().iadd_imm_s(k, 1);
        let more = self.b.ins().icmp(IntCC::SignedLessThan, next, end);
        self.b.ins().brif(more, step, &[arg(next)], done, &[]);
        self.b.seal_block(step);
        self.enter(done);
    }
}

/// The int type of an element's bytes.
fn element_type(size: i64) -> Type {
    match size {
        1 => types::I8,
        4 => types::I32,
        _ => types::I64,
    }
}
