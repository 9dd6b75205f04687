//! Compiles one function of the vector library into a loop over arrays.

use cranelift::frontend::{FunctionBuilder, FunctionBuilderContext};
use cranelift_codegen::Context;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{AbiParam, FuncRef, InstBuilder, MemFlagsData, Value};
use cranelift_codegen::isa::{self, OwnedTargetIsa};
use cranelift_codegen::settings::{self, Configurable};
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{Linkage, Module};
use losscc::codegen::math::{self, Bundle, Emitter, Function, MathContext, Width};

/// Vectors that go side by side through the loop's body.
pub const COPIES: usize = 2;

type Entry = unsafe extern "C" fn(*const u8, *const u8, *mut u8, usize);

/// A function of the library, callable on slices.
pub struct Compiled {
    entry: Entry,
    module: Option<JITModule>,
}

impl Drop for Compiled {
    fn drop(&mut self) {
        if let Some(module) = self.module.take() {
            // SAFETY: `entry` goes with `self`, and no call is running.
            unsafe { module.free_memory() };
        }
    }
}

struct Surroundings<'m> {
    has_fma: bool,
    module: &'m mut JITModule,
}

impl MathContext for Surroundings<'_> {
    fn has_fma(&self) -> bool {
        self.has_fma
    }

    fn function(&mut self, b: &mut FunctionBuilder, symbol: &'static str) -> FuncRef {
        let config = self.module.target_config();
        let signature = math::signature(config.pointer_type(), config.default_call_conv);
        let id = self
            .module
            .declare_function(symbol, Linkage::Import, &signature)
            .unwrap();
        self.module.declare_func_in_func(id, b.func)
    }
}

fn flags() -> settings::Flags {
    let mut flags = settings::builder();
    flags.set("opt_level", "none").unwrap();
    flags.set("is_pic", "false").unwrap();
    settings::Flags::new(flags)
}

fn module(isa: OwnedTargetIsa) -> JITModule {
    let mut builder = JITBuilder::with_isa(isa, cranelift_module::default_libcall_names());
    builder.symbols(math::symbols());
    JITModule::new(builder)
}

/// Compiles `function` at `width` for this machine; `fma: false` is what a machine without FMA runs.
pub fn compile(function: Function, width: Width, fma: bool) -> Compiled {
    let isa = cranelift_native::builder()
        .unwrap()
        .finish(flags())
        .unwrap();
    let mut module = module(isa);
    let mut context = module.make_context();
    build(&mut module, &mut context, function, width, fma);
    let id = module
        .declare_function("loop", Linkage::Export, &context.func.signature)
        .unwrap();
    module.define_function(id, &mut context).unwrap();
    module.finalize_definitions().unwrap();
    let code = module.get_finalized_function(id);
    // SAFETY: the code was compiled with this signature.
    let entry = unsafe { std::mem::transmute::<*const u8, Entry>(code) };
    Compiled {
        entry,
        module: Some(module),
    }
}

/// The machine code's listing for a target and its features.
pub fn listing(
    function: Function,
    width: Width,
    triple: &str,
    features: &[&str],
    fma: bool,
) -> String {
    let mut builder = isa::lookup_by_name(triple).unwrap();
    for feature in features {
        builder.enable(feature).unwrap();
    }
    let isa = builder.finish(flags()).unwrap();
    let mut module = module(isa.clone());
    let mut context = module.make_context();
    build(&mut module, &mut context, function, width, fma);
    context.set_disasm(true);
    let code = context.compile(&*isa, &mut Default::default()).unwrap();
    code.vcode.clone().unwrap()
}

/// for (i = 0; i < bytes; i += 16 COPIES) out[i..] = f(x[i..], y[i..])
fn build(
    module: &mut JITModule,
    context: &mut Context,
    function: Function,
    width: Width,
    fma: bool,
) {
    let config = module.target_config();
    let pointer = config.pointer_type();
    context
        .func
        .signature
        .params
        .extend([AbiParam::new(pointer); 4]);
    let mut builder_context = FunctionBuilderContext::new();
    let mut b = FunctionBuilder::new(&mut context.func, &mut builder_context);
    let entry = b.create_block();
    let head = b.create_block();
    let exit = b.create_block();
    b.append_block_params_for_function_params(entry);
    let at = b.append_block_param(head, pointer);
    b.switch_to_block(entry);
    let params = b.block_params(entry).to_vec();
    let zero = b.ins().iconst(pointer, 0);
    b.ins().jump(head, &[zero.into()]);
    b.switch_to_block(head);
    let load = |b: &mut FunctionBuilder, base| {
        let address = b.ins().iadd(base, at);
        let load = |i| {
            b.ins()
                .load(width.vector(), MemFlagsData::new(), address, 16 * i)
        };
        let values: Vec<Value> = (0..COPIES as i32).map(load).collect();
        Bundle::new(&values).unwrap()
    };
    let x = load(&mut b, params[0]);
    let y = load(&mut b, params[1]);
    let mut surroundings = Surroundings {
        has_fma: fma,
        module,
    };
    let mut e = Emitter::new(&mut b, &mut surroundings, width, COPIES);
    let result = math::emit(&mut e, function, x, y);
    let address = b.ins().iadd(params[2], at);
    for (i, &v) in result.values().iter().enumerate() {
        b.ins()
            .store(MemFlagsData::new(), v, address, 16 * i as i32);
    }
    let step = b.ins().iconst(pointer, 16 * COPIES as i64);
    let next = b.ins().iadd(at, step);
    let more = b.ins().icmp(IntCC::UnsignedLessThan, next, params[3]);
    b.ins().brif(more, head, &[next.into()], exit, &[]);
    b.switch_to_block(exit);
    b.ins().return_(&[]);
    b.seal_all_blocks();
    b.finalize(config);
}

impl Compiled {
    /// out = f(x, y). The length is a multiple of the lanes of all copies.
    pub fn run<T>(&self, x: &[T], y: &[T], out: &mut [T]) {
        let bytes = size_of_val(x);
        assert!(bytes > 0 && bytes.is_multiple_of(16 * COPIES));
        assert!(x.len() == y.len() && x.len() == out.len());
        let (x, y, out) = (
            x.as_ptr().cast(),
            y.as_ptr().cast(),
            out.as_mut_ptr().cast(),
        );
        // SAFETY: three arrays of the stated size.
        unsafe { (self.entry)(x, y, out, bytes) };
    }
}
