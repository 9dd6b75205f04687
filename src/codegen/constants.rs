//! Constants and functions that a stage refers to, each made once.

use super::math::{MathContext, Width};
use super::{gemm, math, sort};
use cranelift::frontend::FunctionBuilder;
use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::ir::{
    ExtFuncData, ExternalName, FuncRef, Inst, InstBuilder, UserExternalName, Value, types,
};
use cranelift_codegen::isa::{CallConv, TargetIsa};
use rustc_hash::FxHashMap;
use std::sync::OnceLock;

/// Constants of vectors, and functions. A constant is loaded where it is used, so that it holds no register in between;
/// in a short lane loop's body, which has registers to spare, it is loaded before the loop.
pub(super) struct Constants {
    fma: bool,
    /// The jump into a short lane loop.
    pub(super) before_loop: Option<Inst>,
    held: FxHashMap<(Width, u64), Value>,
    imported: FxHashMap<&'static str, FuncRef>,
    call_conv: CallConv,
}

impl Constants {
    pub(super) fn new(isa: &dyn TargetIsa) -> Constants {
        Constants {
            fma: isa.has_native_fma(),
            before_loop: None,
            held: FxHashMap::default(),
            imported: FxHashMap::default(),
            call_conv: isa.default_call_conv(),
        }
    }

    pub(super) fn leave_loop(&mut self) {
        self.before_loop = None;
        self.held.clear();
    }
}

impl MathContext for Constants {
    fn has_fma(&self) -> bool {
        self.fma
    }

    fn constant(&mut self, b: &mut FunctionBuilder, width: Width, bits: u64) -> Value {
        let Some(anchor) = self.before_loop else {
            return width.splat(b, bits);
        };
        *self.held.entry((width, bits)).or_insert_with(|| {
            let bytes = width.splat_bytes(bits);
            let constant = b.func.dfg.constants.insert(bytes.as_slice().into());
            FuncCursor::new(b.func)
                .at_inst(anchor)
                .ins()
                .vconst(width.vector(), constant)
        })
    }

    fn function(&mut self, b: &mut FunctionBuilder, symbol: &'static str) -> FuncRef {
        let call_conv = self.call_conv;
        *self.imported.entry(symbol).or_insert_with(|| {
            // A function's number is its position among the symbols; an unknown name would not link.
            let number = symbols().iter().position(|(name, _)| *name == symbol);
            let name = UserExternalName::new(0, number.map_or(u32::MAX, |n| n as u32));
            let name = b.func.declare_imported_user_function(name);
            let signature = b.import_signature(math::signature(types::I64, call_conv));
            b.import_function(ExtFuncData {
                name: ExternalName::user(name),
                signature,
                colocated: false,
                patchable: false,
            })
        })
    }
}

/// Where a function of this program is.
pub(crate) struct Address(pub(crate) *const u8);

// SAFETY: it points to code, which nobody writes.
unsafe impl Send for Address {}

// SAFETY: as above.
unsafe impl Sync for Address {}

/// The functions that code may call, in the order of their numbers.
pub(crate) fn symbols() -> &'static [(&'static str, Address)] {
    static SYMBOLS: OnceLock<Vec<(&str, Address)>> = OnceLock::new();
    SYMBOLS.get_or_init(|| {
        let all = math::symbols().into_iter();
        let all = all.chain(sort::symbols()).chain(gemm::symbols());
        all.map(|(name, p)| (name, Address(p))).collect()
    })
}
