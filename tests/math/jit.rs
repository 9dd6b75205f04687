//! Compiles one function of the vector library into a loop over arrays.

use cranelift::frontend::{FunctionBuilder, FunctionBuilderContext};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{AbiParam, InstBuilder, MemFlagsData};
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

struct Context {
    has_fma: bool,
}

impl MathContext for Context {
    fn has_fma(&self) -> bool {
        self.has_fma
    }
}

/// Compiles `function` at `width`; `fma: false` is what a machine without FMA runs.
pub fn compile(function: Function, width: Width, fma: bool) -> Compiled {
    build(width, COPIES, fma, |e, x, y| math::emit(e, function, x, y))
}

/// Compiles a loop around what `body` emits.
pub fn build(
    width: Width,
    copies: usize,
    fma: bool,
    body: impl Fn(&mut Emitter, Bundle, Bundle) -> Bundle,
) -> Compiled {
    let mut flags = settings::builder();
    flags.set("opt_level", "none").unwrap();
    flags.set("is_pic", "false").unwrap();
    let isa = cranelift_native::builder()
        .unwrap()
        .finish(settings::Flags::new(flags))
        .unwrap();
    let builder = JITBuilder::with_isa(isa, cranelift_module::default_libcall_names());
    let mut module = JITModule::new(builder);
    let mut context = module.make_context();
    let pointer = module.target_config().pointer_type();
    for _ in 0..4 {
        context.func.signature.params.push(AbiParam::new(pointer));
    }
    let mut builder_context = FunctionBuilderContext::new();
    let config = module.target_config();
    let mut b = FunctionBuilder::new(&mut context.func, &mut builder_context);
    let entry = b.create_block();
    let head = b.create_block();
    let exit = b.create_block();
    b.append_block_params_for_function_params(entry);
    b.append_block_param(head, pointer);
    b.switch_to_block(entry);
    let params = b.block_params(entry).to_vec();
    let zero = b.ins().iconst(pointer, 0);
    b.ins().jump(head, &[zero.into()]);
    b.switch_to_block(head);
    let at = b.block_params(head)[0];
    let load = |b: &mut FunctionBuilder, base| {
        let address = b.ins().iadd(base, at);
        let values: Vec<_> = (0..copies)
            .map(|i| {
                b.ins()
                    .load(width.vector(), MemFlagsData::new(), address, 16 * i as i32)
            })
            .collect();
        Bundle::new(&values).unwrap()
    };
    let x = load(&mut b, params[0]);
    let y = load(&mut b, params[1]);
    let mut math_context = Context { has_fma: fma };
    let mut e = Emitter::new(&mut b, &mut math_context, width, copies);
    let result = body(&mut e, x, y);
    let address = b.ins().iadd(params[2], at);
    for (i, &v) in result.values().iter().enumerate() {
        b.ins()
            .store(MemFlagsData::new(), v, address, 16 * i as i32);
    }
    let step = b.ins().iconst(pointer, 16 * copies as i64);
    let next = b.ins().iadd(at, step);
    let more = b.ins().icmp(IntCC::UnsignedLessThan, next, params[3]);
    b.ins().brif(more, head, &[next.into()], exit, &[]);
    b.switch_to_block(exit);
    b.ins().return_(&[]);
    b.seal_all_blocks();
    b.finalize(config);

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

impl Compiled {
    /// out = f(x, y). The length is a multiple of the lanes of all copies.
    pub fn run<T>(&self, x: &[T], y: &[T], out: &mut [T]) {
        let bytes = size_of_val(x);
        assert!(bytes > 0 && bytes.is_multiple_of(16 * COPIES));
        assert!(x.len() == y.len() && x.len() == out.len());
        // SAFETY: three arrays of the stated size.
        unsafe {
            (self.entry)(
                x.as_ptr().cast(),
                y.as_ptr().cast(),
                out.as_mut_ptr().cast(),
                bytes,
            )
        };
    }
}
