//! Functions that compiled code calls, on arrays of lanes.
//!
//! Each has the signature `(values: *mut T, second: *const T, count: usize)` and replaces every value x by f(x), or by f(x, second).
//! The ones for large arguments replace only where |second| is above [`trig::LARGEST_REDUCED`](super::trig), the argument being `second`.

use super::bundle::{Bundle, Width};
use super::emitter::{Emitter, bit_flags};
use super::{special, trig};
use cranelift_codegen::ir::condcodes::FloatCC;
use cranelift_codegen::ir::{
    AbiParam, BlockArg, InstBuilder, MemFlagsData, Signature, StackSlotData, StackSlotKind, Type,
    Value,
};
use cranelift_codegen::isa::CallConv;

/// The symbols of one function for each width.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lanes {
    f32: &'static str,
    f64: &'static str,
}

/// The signature that all of them have.
pub fn signature(pointer: Type, call_conv: CallConv) -> Signature {
    let mut signature = Signature::new(call_conv);
    signature.params.extend([AbiParam::new(pointer); 3]);
    signature
}

/// Every function that emitted code may call, with its address, for a JIT's table of symbols.
pub fn symbols() -> Vec<(&'static str, *const u8)> {
    let mut all = Vec::new();
    define(&mut |name, address| all.push((name, address)));
    all
}

/// `f` on each value.
///
/// # Safety
/// `values` points to `count` numbers that nothing else uses.
unsafe fn each<T: Copy>(values: *mut T, count: usize, f: impl Fn(T) -> T) {
    // SAFETY: the caller's promise.
    let values = unsafe { std::slice::from_raw_parts_mut(values, count) };
    for value in values {
        *value = f(*value);
    }
}

/// `f` on each value and its partner.
///
/// # Safety
/// `values` and `second` point to `count` numbers each, and nothing else uses the values.
unsafe fn each_pair<T: Copy>(
    values: *mut T,
    second: *const T,
    count: usize,
    f: impl Fn(T, T) -> T,
) {
    // SAFETY: the caller's promise.
    let values = unsafe { std::slice::from_raw_parts_mut(values, count) };
    // SAFETY: as above; compiled code never passes overlapping arrays here.
    let second = unsafe { std::slice::from_raw_parts(second, count) };
    for (value, &second) in values.iter_mut().zip(second) {
        *value = f(*value, second);
    }
}

/// Defines the functions of one argument, of two, and those for large arguments, and lists all of them.
macro_rules! functions {
    (
        one { $($one:ident = $f:path, $one32:ident, $one64:ident;)* }
        two { $($two:ident = $g:path, $two32:ident, $two64:ident;)* }
        large { $($large:ident = $h:path, $large32:ident;)* }
    ) => {
        $(
            pub(super) const $one: Lanes = Lanes {
                f32: concat!("losscc_", stringify!($one32)),
                f64: concat!("losscc_", stringify!($one64)),
            };
            unsafe extern "C" fn $one32(values: *mut f32, _: *const f32, count: usize) {
                // SAFETY: compiled code passes an array of its own.
                unsafe { each(values, count, |x| $f(f64::from(x)) as f32) }
            }
            unsafe extern "C" fn $one64(values: *mut f64, _: *const f64, count: usize) {
                // SAFETY: as above.
                unsafe { each(values, count, $f) }
            }
        )*
        $(
            pub(super) const $two: Lanes = Lanes {
                f32: concat!("losscc_", stringify!($two32)),
                f64: concat!("losscc_", stringify!($two64)),
            };
            unsafe extern "C" fn $two32(values: *mut f32, second: *const f32, count: usize) {
                // SAFETY: compiled code passes two arrays of its own.
                unsafe { each_pair(values, second, count, |x, y| $g(f64::from(x), f64::from(y)) as f32) }
            }
            unsafe extern "C" fn $two64(values: *mut f64, second: *const f64, count: usize) {
                // SAFETY: as above.
                unsafe { each_pair(values, second, count, $g) }
            }
        )*
        $(
            const $large: &str = concat!("losscc_", stringify!($large32));
            unsafe extern "C" fn $large32(values: *mut f32, second: *const f32, count: usize) {
                let patch = |value: f32, x: f32| {
                    let x = f64::from(x);
                    if x.abs() > trig::LARGEST_REDUCED { $h(x) as f32 } else { value }
                };
                // SAFETY: compiled code passes two arrays of its own.
                unsafe { each_pair(values, second, count, patch) }
            }
        )*

        fn define(add: &mut dyn FnMut(&'static str, *const u8)) {
            $(add($one.f32, $one32 as *const u8); add($one.f64, $one64 as *const u8);)*
            $(add($two.f32, $two32 as *const u8); add($two.f64, $two64 as *const u8);)*
            $(add($large, $large32 as *const u8);)*
        }
    };
}

functions! {
    one {
        SIN = libm::sin, sin_f32, sin_f64;
        COS = libm::cos, cos_f32, cos_f64;
        TAN = libm::tan, tan_f32, tan_f64;
        ASIN = libm::asin, asin_f32, asin_f64;
        ACOS = libm::acos, acos_f32, acos_f64;
        ATAN = libm::atan, atan_f32, atan_f64;
        ERF = libm::erf, erf_f32, erf_f64;
        LGAMMA = special::lgamma, lgamma_f32, lgamma_f64;
        DIGAMMA = special::digamma, digamma_f32, digamma_f64;
    }
    two {
        ATAN2 = libm::atan2, atan2_f32, atan2_f64;
        POW = libm::pow, pow_f32, pow_f64;
        POLYGAMMA = special::polygamma, polygamma_f32, polygamma_f64;
    }
    large {
        SIN_LARGE = libm::sin, sin_large_f32;
        COS_LARGE = libm::cos, cos_large_f32;
        TAN_LARGE = libm::tan, tan_large_f32;
    }
}

/// The three functions whose f32 form calls for large arguments only.
#[derive(Clone, Copy, Debug)]
pub(super) enum Large {
    Sin,
    Cos,
    Tan,
}

impl Large {
    fn symbol(self) -> &'static str {
        match self {
            Large::Sin => SIN_LARGE,
            Large::Cos => COS_LARGE,
            Large::Tan => TAN_LARGE,
        }
    }
}

/// Emits a call of `lanes` for all lanes of the bundle.
pub(super) fn call(e: &mut Emitter, lanes: Lanes, x: Bundle, y: Option<Bundle>) -> Bundle {
    let symbol = match e.width() {
        Width::F32X4 => lanes.f32,
        Width::F64X2 => lanes.f64,
    };
    call_symbol(e, symbol, x, y.unwrap_or(x))
}

fn call_symbol(e: &mut Emitter, symbol: &'static str, x: Bundle, y: Bundle) -> Bundle {
    let pointer = e.context.pointer_type();
    let function = e.context.function(e.b, symbol);
    let values = store(e, pointer, x);
    let second = store(e, pointer, y);
    let count = (e.width().lanes() * x.copies()) as i64;
    let count = e.b.ins().iconst(pointer, count);
    e.b.ins().call(function, &[values, second, count]);
    let vector = e.width().vector();
    let mut offset = -16;
    e.unary(x, |b, _| {
        offset += 16;
        b.ins()
            .load(vector, MemFlagsData::trusted(), values, offset)
    })
}

/// The address of a stack slot that holds the bundle.
fn store(e: &mut Emitter, pointer: Type, x: Bundle) -> Value {
    let size = 16 * x.copies() as u32;
    let data = StackSlotData::new(StackSlotKind::ExplicitSlot, size, 4);
    let slot = e.b.create_sized_stack_slot(data);
    let address = e.b.ins().stack_addr(pointer, slot, 0);
    for (i, &value) in x.values().iter().enumerate() {
        e.b.ins()
            .store(MemFlagsData::trusted(), value, address, 16 * i as i32);
    }
    address
}

/// `value`, but where |x| is too large for the inlined form what the function says. The call stands in a cold block that is entered only
/// when some lane needs it.
pub(super) fn call_where_large(e: &mut Emitter, large: Large, x: Bundle, value: Bundle) -> Bundle {
    let size = e.abs(x);
    let limit = e.real(trig::LARGEST_REDUCED);
    let masks = e.compare(FloatCC::GreaterThan, size, limit);
    let integer = e.width().integer();
    let mut any = None;
    for &mask in masks.values() {
        any = Some(match any {
            Some(before) => e.b.ins().bor(before, mask),
            None => mask,
        });
    }
    let Some(any) = any else { return value };
    let any = e.b.ins().bitcast(integer, bit_flags(), any);
    let any = e.b.ins().vany_true(any);

    let slow = e.b.create_block();
    let done = e.b.create_block();
    let vector = e.width().vector();
    let results: Vec<Value> = (0..value.copies())
        .map(|_| e.b.append_block_param(done, vector))
        .collect();
    let arguments =
        |bundle: Bundle| -> Vec<BlockArg> { bundle.values().iter().map(|&v| v.into()).collect() };
    e.b.set_cold_block(slow);
    e.b.ins().brif(any, slow, &[], done, &arguments(value));
    e.b.switch_to_block(slow);
    let patched = call_symbol(e, large.symbol(), value, x);
    e.b.ins().jump(done, &arguments(patched));
    e.b.switch_to_block(done);
    Bundle::new(&results).unwrap_or(value)
}
