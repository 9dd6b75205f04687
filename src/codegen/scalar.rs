//! The functions that code calls lane by lane, where there is no vector form: on f64, also from f32 kernels.

use crate::ir::Op;
use cranelift::frontend::FunctionBuilder;
use cranelift_codegen::ir::{
    AbiParam, ExtFuncData, ExternalName, FuncRef, Signature, UserExternalName, types,
};
use cranelift_codegen::isa::TargetIsa;

/// One of them.
#[derive(Debug, Clone, Copy)]
pub struct Function {
    pub name: &'static str,
    pub address: *const u8,
    op: Op,
    arguments: usize,
    /// Whether the first argument is an i64.
    pub int_first: bool,
    index: u32,
}

/// All of them; code refers to them by their position.
pub fn all() -> Vec<Function> {
    type One = extern "C" fn(f64) -> f64;
    type Two = extern "C" fn(f64, f64) -> f64;
    let one = |op, name, f: One| (op, name, f as *const u8, 1, false);
    let two = |op, name, f: Two| (op, name, f as *const u8, 2, false);
    let table = [
        one(Op::Exp, "losscc_exp", exp),
        one(Op::Expm1, "losscc_expm1", expm1),
        one(Op::Log, "losscc_log", log),
        one(Op::Log1p, "losscc_log1p", log1p),
        one(Op::Log2, "losscc_log2", log2),
        one(Op::Sin, "losscc_sin", sin),
        one(Op::Cos, "losscc_cos", cos),
        one(Op::Tan, "losscc_tan", tan),
        one(Op::Asin, "losscc_asin", asin),
        one(Op::Acos, "losscc_acos", acos),
        one(Op::Atan, "losscc_atan", atan),
        one(Op::Sinh, "losscc_sinh", sinh),
        one(Op::Cosh, "losscc_cosh", cosh),
        one(Op::Erf, "losscc_erf", erf),
        one(Op::Lgamma, "losscc_lgamma", lgamma),
        two(Op::Pow, "losscc_pow", pow),
        two(Op::Atan2, "losscc_atan2", atan2),
    ];
    let make = |(index, (op, name, address, arguments, int_first)): (usize, _)| Function {
        name,
        address,
        op,
        arguments,
        int_first,
        index: index as u32,
    };
    table.into_iter().enumerate().map(make).collect()
}

/// The function of an operator.
pub(super) fn of(op: Op) -> Option<Function> {
    all().into_iter().find(|f| f.op == op)
}

/// Its signature.
pub fn signature(f: &Function, isa: &dyn TargetIsa) -> Signature {
    let mut signature = Signature::new(isa.default_call_conv());
    for k in 0..f.arguments {
        let ty = if k == 0 && f.int_first {
            types::I64
        } else {
            types::F64
        };
        signature.params.push(AbiParam::new(ty));
    }
    signature.returns.push(AbiParam::new(types::F64));
    signature
}

/// A reference to it from a function under construction.
pub(super) fn import(b: &mut FunctionBuilder, isa: &dyn TargetIsa, f: Function) -> FuncRef {
    let known = b.func.params.user_named_funcs().iter();
    let known = known
        .filter(|(_, n)| n.index == f.index)
        .map(|(k, _)| k)
        .next();
    if let Some(name) = known {
        let name = ExternalName::user(name);
        if let Some((f, _)) = b.func.dfg.ext_funcs.iter().find(|(_, e)| e.name == name) {
            return f;
        }
    }
    let name = b
        .func
        .declare_imported_user_function(UserExternalName::new(0, f.index));
    let signature = b.import_signature(signature(&f, isa));
    b.import_function(ExtFuncData {
        name: ExternalName::user(name),
        signature,
        colocated: false,
        patchable: false,
    })
}

extern "C" fn exp(x: f64) -> f64 {
    x.exp()
}
extern "C" fn expm1(x: f64) -> f64 {
    x.exp_m1()
}
extern "C" fn log(x: f64) -> f64 {
    x.ln()
}
extern "C" fn log1p(x: f64) -> f64 {
    x.ln_1p()
}
extern "C" fn log2(x: f64) -> f64 {
    x.log2()
}
extern "C" fn sin(x: f64) -> f64 {
    x.sin()
}
extern "C" fn cos(x: f64) -> f64 {
    x.cos()
}
extern "C" fn tan(x: f64) -> f64 {
    x.tan()
}
extern "C" fn asin(x: f64) -> f64 {
    x.asin()
}
extern "C" fn acos(x: f64) -> f64 {
    x.acos()
}
extern "C" fn atan(x: f64) -> f64 {
    x.atan()
}
extern "C" fn sinh(x: f64) -> f64 {
    x.sinh()
}
extern "C" fn cosh(x: f64) -> f64 {
    x.cosh()
}
extern "C" fn erf(x: f64) -> f64 {
    libm::erf(x)
}
extern "C" fn lgamma(x: f64) -> f64 {
    libm::lgamma(x)
}
extern "C" fn pow(x: f64, y: f64) -> f64 {
    x.powf(y)
}
extern "C" fn atan2(y: f64, x: f64) -> f64 {
    y.atan2(x)
}
