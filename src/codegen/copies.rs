//! Copies of a tail's elements between arrays and padded slots. All copies of one place share their branches.

use super::stage::{Gen, arg, memory};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Type, Value, types};

/// Elements of `size` bytes from one place to another: where the first is, and bytes from one to the next where they
/// are not contiguous.
#[derive(Clone, Copy)]
pub(super) struct Copy {
    pub to: (Value, Option<Value>),
    pub from: (Value, Option<Value>),
    pub size: i64,
}

impl Copy {
    fn contiguous(&self) -> bool {
        self.to.1.is_none() && self.from.1.is_none()
    }
}

impl<'u, 'f> Gen<'u, 'f> {
    /// Copies `count` elements, at least 1 and fewer than a whole step has.
    pub(super) fn copy(&mut self, copies: &[Copy], count: Value) {
        let (pieces, each): (Vec<Copy>, Vec<Copy>) = copies.iter().partition(|c| c.contiguous());
        self.copy_pieces(&pieces, count);
        self.copy_each(&each, count);
    }

    /// Contiguous elements in pieces of halving size, as the bits of `count` say.
    fn copy_pieces(&mut self, copies: &[Copy], count: Value) {
        if copies.is_empty() {
            return;
        }
        let mut done = self.b.ins().iconst(types::I64, 0);
        let mut elements = (self.copies * self.width.lanes()) as i64 / 2;
        while elements > 0 {
            let [piece, next] = [0; 2].map(|_| self.b.create_block());
            let wanted = self.b.ins().band_imm_s(count, elements);
            self.b.ins().brif(wanted, piece, &[], next, &[arg(done)]);
            self.enter(piece);
            for copy in copies {
                let from = self.element(copy.from.0, None, copy.size, done);
                let to = self.element(copy.to.0, None, copy.size, done);
                self.move_bytes(from, to, elements * copy.size);
            }
            done = self.b.ins().iadd_imm_s(done, elements);
            self.b.ins().jump(next, &[arg(done)]);
            done = self.b.append_block_param(next, types::I64);
            self.enter(next);
            elements /= 2;
        }
    }

    /// A power of two of bytes.
    fn move_bytes(&mut self, from: Value, to: Value, bytes: i64) {
        let ty = match bytes {
            1 => types::I8,
            2 => types::I16,
            4 => types::I32,
            8 => types::I64,
            _ => types::I8X16,
        };
        let mut at = 0;
        while at < bytes {
            let x = self.b.ins().load(ty, memory(), from, at as i32);
            self.b.ins().store(memory(), x, to, at as i32);
            at += i64::from(ty.bytes());
        }
    }

    /// One element of each at a time: little code for what is seldom needed or lies apart.
    pub(super) fn copy_each(&mut self, copies: &[Copy], count: Value) {
        if copies.is_empty() {
            return;
        }
        let [step, done] = [0; 2].map(|_| self.b.create_block());
        let zero = self.b.ins().iconst(types::I64, 0);
        self.b.ins().jump(step, &[arg(zero)]);
        let k = self.b.append_block_param(step, types::I64);
        self.b.switch_to_block(step);
        for copy in copies {
            let from = self.element(copy.from.0, copy.from.1, copy.size, k);
            let to = self.element(copy.to.0, copy.to.1, copy.size, k);
            let ty = element_type(copy.size);
            let x = self.b.ins().load(ty, memory(), from, 0);
            self.b.ins().store(memory(), x, to, 0);
        }
        let next = self.b.ins().iadd_imm_s(k, 1);
        let more = self.b.ins().icmp(IntCC::SignedLessThan, next, count);
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
