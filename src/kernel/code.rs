//! Machine code in memory, and what is known of it.

use crate::codegen::{self, Check, Dtype, Refusal, isa, layout::Layout};
use crate::loops::{Block, BufferId, Elem, FoldOp, Home, Loops, Stage, Stmt};
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{Linkage, Module, default_libcall_names};
use std::mem::ManuallyDrop;

/// `stage(cells, begin, end) -> status`.
pub(super) type StageFn = unsafe extern "C" fn(*mut u64, i64, i64) -> i64;

/// A total that a stage makes: its chunks' cells, merged in chunk order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Made {
    pub buffer: BufferId,
    pub op: FoldOp,
    pub elem: Elem,
}

/// One stage in memory.
pub(super) struct Placed {
    pub function: StageFn,
    pub totals: Vec<Made>,
}

/// The stages of a kernel in memory.
pub(super) struct Code {
    pub loops: Loops,
    pub dtype: Dtype,
    pub layout: Layout,
    pub checks: Vec<Check>,
    pub stages: Vec<Placed>,
    pub bytes: usize,
    /// Owns the memory that `stages` point into.
    module: ManuallyDrop<JITModule>,
}

// SAFETY: after `Code::new` the module is only touched by `drop`, which has exclusive access; everything else is
// immutable, and the machine code writes to no memory but what a call hands to it.
unsafe impl Send for Code {}
// SAFETY: as above.
unsafe impl Sync for Code {}

impl Drop for Code {
    fn drop(&mut self) {
        // SAFETY: the module is not used again, and no function pointer outlives `self`.
        unsafe { ManuallyDrop::take(&mut self.module).free_memory() }
    }
}

impl Code {
    /// Compiles for this machine.
    pub(super) fn new(loops: Loops, dtype: Dtype) -> Result<Code, Refusal> {
        let isa = isa::host()?;
        let built = codegen::build(&loops, dtype, &*isa)?;
        let bug = |e: &dyn std::fmt::Display| Refusal::Bug(format!("Cranelift: {e}"));
        let mut builder = JITBuilder::with_isa(isa.clone(), default_libcall_names());
        let calls = built
            .stages
            .iter()
            .any(|s| !s.context.func.params.user_named_funcs().is_empty());
        let functions: Vec<_> = codegen::symbols().filter(|_| calls).collect();
        builder.symbols(functions.iter().copied());
        // Owned from here on, so that an error frees it too.
        let mut code = Code {
            stages: vec![],
            dtype,
            layout: built.layout,
            checks: built.checks,
            bytes: 0,
            module: ManuallyDrop::new(JITModule::new(builder)),
            loops,
        };
        let module = &mut *code.module;
        let signature = codegen::symbol_signature(&*isa);
        for (name, _) in &functions {
            // Their numbers are their positions, which is how the code refers to them.
            module
                .declare_function(name, Linkage::Import, &signature)
                .map_err(|e| bug(&e))?;
        }
        let mut ids = vec![];
        for mut stage in built.stages {
            let id = module
                .declare_function(&stage.name, Linkage::Local, &stage.context.func.signature)
                .map_err(|e| bug(&e))?;
            module
                .define_function(id, &mut stage.context)
                .map_err(|e| Refusal::Bug(format!("Cranelift: {e:?}")))?;
            let size = stage
                .context
                .compiled_code()
                .map_or(0, |c| c.code_buffer().len());
            code.bytes += size;
            ids.push(id);
        }
        module.finalize_definitions().map_err(|e| bug(&e))?;
        for (id, stage) in ids.into_iter().zip(&code.loops.stages) {
            let address = module.get_finalized_function(id);
            // SAFETY: the function was defined with this signature and the platform's calling convention.
            let function = unsafe { std::mem::transmute::<*const u8, StageFn>(address) };
            let mut totals = vec![];
            match stage {
                Stage::Rows { body, .. } => made(&code.loops, body, &mut totals),
                Stage::Once(_) => {}
            }
            code.stages.push(Placed { function, totals });
        }
        Ok(code)
    }
}

/// The totals that a block stores to, each once.
fn made(loops: &Loops, block: &Block, out: &mut Vec<Made>) {
    for stmt in block {
        match stmt {
            Stmt::Store { to, .. } | Stmt::Fill { to, .. } => {
                let buffer = &loops.buffers[to.0 as usize];
                if let Home::Total(op) = buffer.home
                    && !out.iter().any(|m| m.buffer == *to)
                {
                    out.push(Made {
                        buffer: *to,
                        op,
                        elem: buffer.elem,
                    });
                }
            }
            Stmt::Loop { body, .. } | Stmt::If { then: body, .. } => made(loops, body, out),
            Stmt::Let(..) | Stmt::Fold { .. } | Stmt::Sort(_) | Stmt::Gemm(_) => {}
        }
    }
}
