//! Machine code in memory, and what is known of it.

use super::steps::Steps;
use crate::codegen::groups::short_extents;
use crate::codegen::isa::{self, Registers};
use crate::codegen::{self, Check, Dtype, Refusal, StageCode, Variant, layout::Layout};
use crate::loops::{BufferId, Elem, ExtentIndex, FoldOp, LoopAxisId, Loops, Stage, Stmt};
use crate::stack::with_stack;
use cranelift_codegen::Context;
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{Linkage, Module, default_libcall_names};
use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::sync::OnceLock;

/// `stage(cells, begin, end) -> status`.
pub(super) type StageFn = unsafe extern "C" fn(*mut u64, i64, i64) -> i64;

thread_local! {
    /// What Cranelift allocated for the last kernel serves the next one.
    static CONTEXT: Cell<Option<Box<Context>>> = const { Cell::new(None) };
}

/// With more instructions in a function, backtracking takes a time that grows with their square.
const LARGE: usize = 100_000;

/// The memory of larger kernels (bytes of code) is given back.
const KEPT: usize = 64 << 10;

/// A total that a stage makes: its chunks' cells, merged in chunk order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Made {
    pub buffer: BufferId,
    pub op: FoldOp,
    pub elem: Elem,
}

/// One stage.
pub(super) struct Placed {
    pub totals: Vec<Made>,
    /// The extents that must be short for its rows to go in groups; nothing where they cannot.
    pub short: Option<Vec<ExtentIndex>>,
    /// Whether it has fast code that is still to be made.
    pub fast: bool,
}

/// The stages of a kernel.
pub(super) struct Code {
    pub loops: Loops,
    pub dtype: Dtype,
    pub layout: Layout,
    pub stages: Vec<Placed>,
    /// Loops within loops whose lengths no data bound.
    pub nests: Vec<Vec<LoopAxisId>>,
    pub machine: Machine,
    pub steps: Steps,
    /// The fast code of the stages, made at the first call with many steps; nothing where that failed.
    fast: OnceLock<Option<Machine>>,
    /// The same for many short rows.
    groups: OnceLock<Option<Machine>>,
}

impl Code {
    /// Compiles for this machine: the fast code if there will be `many` elements, otherwise the first.
    pub(super) fn new(loops: Loops, dtype: Dtype, many: bool) -> Result<Code, Refusal> {
        let variant = if many { Variant::Fast } else { Variant::First };
        let machine = Machine::new(&loops, dtype, variant, 0..loops.stages.len())?;
        let mut stages = vec![];
        for stage in &loops.stages {
            let made = match stage {
                Stage::Rows { body, .. } => loops.totals(body),
                Stage::Once(_) => vec![],
            };
            let made = made.into_iter().map(|(buffer, op)| Made {
                buffer,
                op,
                elem: loops.buffers[buffer.0 as usize].elem,
            });
            let totals = made.collect();
            let short = short_extents(&loops, stage);
            stages.push(Placed {
                totals,
                short,
                fast: !many && stage.body().iter().any(takes_long),
            });
        }
        Ok(Code {
            layout: Layout::new(&loops),
            dtype,
            stages,
            nests: loops.unbounded_nests(),
            machine,
            steps: Steps::new(&loops),
            fast: OnceLock::new(),
            groups: OnceLock::new(),
            loops,
        })
    }

    /// The code for many short rows.
    pub(super) fn groups(&self) -> Option<&Machine> {
        let make = || self.variant(Variant::Groups, |stage| stage.short.is_some());
        self.groups.get_or_init(make).as_ref()
    }

    /// The fast code.
    pub(super) fn fast(&self) -> Option<&Machine> {
        let make = || self.variant(Variant::Fast, |stage| stage.fast);
        self.fast.get_or_init(make).as_ref()
    }

    fn variant(&self, variant: Variant, has: impl Fn(&Placed) -> bool) -> Option<Machine> {
        let stages = (0..self.stages.len()).filter(|&k| has(&self.stages[k]));
        with_stack(|| Machine::new(&self.loops, self.dtype, variant, stages)).ok()
    }
}

/// Whether a statement's time depends on shapes and is spent in code of ours.
fn takes_long(statement: &Stmt) -> bool {
    matches!(statement, Stmt::Loop { .. } | Stmt::Sort(_))
}

/// Machine code in memory.
pub(super) struct Machine {
    /// One for each stage that it has code for.
    pub functions: Vec<Option<StageFn>>,
    pub checks: Vec<Check>,
    pub bytes: usize,
    /// Bytes of stack that the function with the most takes.
    pub frame: usize,
    /// Owns the memory that `functions` point into.
    module: ManuallyDrop<JITModule>,
}

// SAFETY: after `Machine::new` the module is only touched by `drop`, which has exclusive access; everything else is
// immutable, and the machine code writes to no memory but what a call hands to it.
unsafe impl Send for Machine {}
// SAFETY: as above.
unsafe impl Sync for Machine {}

impl Drop for Machine {
    fn drop(&mut self) {
        // SAFETY: the module is not used again, and no function pointer outlives `self`.
        unsafe { ManuallyDrop::take(&mut self.module).free_memory() }
    }
}

impl Machine {
    /// Compiles the stages with these numbers for this machine.
    fn new(
        loops: &Loops,
        dtype: Dtype,
        variant: Variant,
        stages: impl IntoIterator<Item = usize>,
    ) -> Result<Machine, Refusal> {
        let mut isa = isa::host(match variant {
            Variant::First => Registers::OnePass,
            Variant::Fast | Variant::Groups => Registers::Backtracking,
        })?;
        let built = codegen::build(loops, dtype, &*isa, variant, stages)?;
        let large = |s: &StageCode| s.function.dfg.num_insts() > LARGE;
        if built.stages.iter().any(large) {
            isa = isa::host(Registers::OnePass)?;
        }
        let bug = |e: &dyn std::fmt::Display| Refusal::Bug(format!("Cranelift: {e}"));
        let mut builder = JITBuilder::with_isa(isa.clone(), default_libcall_names());
        let calls = built
            .stages
            .iter()
            .any(|s| !s.function.params.user_named_funcs().is_empty());
        let symbols: Vec<_> = codegen::symbols().filter(|_| calls).collect();
        builder.symbols(symbols.iter().copied());
        // Owned from here on, so that an error frees it too.
        let mut machine = Machine {
            functions: vec![None; loops.stages.len()],
            checks: built.checks,
            bytes: 0,
            frame: 0,
            module: ManuallyDrop::new(JITModule::new(builder)),
        };
        let module = &mut *machine.module;
        let signature = codegen::symbol_signature(&*isa);
        for (name, _) in &symbols {
            // Their numbers are their positions, which is how the code refers to them.
            module
                .declare_function(name, Linkage::Import, &signature)
                .map_err(|e| bug(&e))?;
        }
        let mut ids = vec![];
        let mut context = CONTEXT.take().unwrap_or_else(|| Box::new(Context::new()));
        for stage in built.stages {
            context.clear();
            context.func = stage.function;
            let id = module
                .declare_function(&stage.name, Linkage::Local, &context.func.signature)
                .map_err(|e| bug(&e))?;
            module
                .define_function(id, &mut context)
                .map_err(|e| Refusal::Bug(format!("Cranelift: {e:?}")))?;
            if let Some(code) = context.compiled_code() {
                machine.bytes += code.code_buffer().len();
                let frame = code.buffer.frame_layout();
                let frame = frame.map_or(0, |f| f.frame_to_fp_offset as usize);
                machine.frame = machine.frame.max(frame);
            }
            ids.push((stage.stage, id));
        }
        if machine.bytes < KEPT {
            context.clear();
            CONTEXT.set(Some(context));
        }
        module.finalize_definitions().map_err(|e| bug(&e))?;
        for (stage, id) in ids {
            let address = module.get_finalized_function(id);
            // SAFETY: the function was defined with this signature and the platform's calling convention.
            let function = unsafe { std::mem::transmute::<*const u8, StageFn>(address) };
            machine.functions[stage] = Some(function);
        }
        Ok(machine)
    }
}
