//! The machines that code is made for.

use super::Refusal;
use cranelift_codegen::isa::{self, OwnedTargetIsa};
use cranelift_codegen::settings::{self, Configurable, Flags};
use std::sync::OnceLock;
use target_lexicon::{Architecture, Triple};

/// What the x86-64 text of `--emit asm` may use, whatever machine losscc runs on: that of every processor since 2013.
const X86_64_V3: [&str; 12] = [
    "has_sse3",
    "has_ssse3",
    "has_cmpxchg16b",
    "has_sse41",
    "has_sse42",
    "has_popcnt",
    "has_avx",
    "has_avx2",
    "has_fma",
    "has_bmi1",
    "has_bmi2",
    "has_lzcnt",
];

/// How registers are given to values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registers {
    /// Going through the code once: in a third of the time, and the code takes up to three times as long.
    OnePass,
    /// With an eye on the whole function.
    Backtracking,
}

/// The machine losscc runs on, with everything it can do.
///
/// # Errors
/// Cranelift has no code generator for it, or not for its vectors.
pub fn host(registers: Registers) -> Result<OwnedTargetIsa, Refusal> {
    type Host = OnceLock<Result<OwnedTargetIsa, Refusal>>;
    static HOSTS: [Host; 2] = [const { OnceLock::new() }; 2];
    let make = || {
        let builder = cranelift_native::builder().map_err(|e| Refusal::Target(e.to_string()))?;
        supported(builder.triple())?;
        builder
            .finish(flags(false, registers)?)
            .map_err(|e| Refusal::Target(e.to_string()))
    };
    HOSTS[registers as usize].get_or_init(make).clone()
}

/// A machine by its triple, with features that do not depend on where losscc runs.
///
/// # Errors
/// The triple is unknown, or not x86-64 or aarch64.
pub fn named(triple: &str) -> Result<OwnedTargetIsa, Refusal> {
    let triple: Triple = triple
        .parse()
        .map_err(|e| Refusal::Target(format!("`{triple}` is no target: {e}")))?;
    supported(&triple)?;
    let unusable = |e: &dyn std::fmt::Display| Refusal::Target(format!("{triple}: {e}"));
    let mut builder = isa::lookup(triple.clone()).map_err(|e| unusable(&e))?;
    if let Architecture::X86_64 = triple.architecture {
        for feature in X86_64_V3 {
            builder.enable(feature).map_err(|e| unusable(&e))?;
        }
    }
    builder
        .finish(flags(true, Registers::Backtracking)?)
        .map_err(|e| unusable(&e))
}

/// Only these have the vector operations that all code uses; others may fail inside Cranelift.
fn supported(triple: &Triple) -> Result<(), Refusal> {
    match triple.architecture {
        Architecture::X86_64 | Architecture::Aarch64(_) => Ok(()),
        other => Err(Refusal::Target(format!(
            "there is no code generation for {other}, only for x86_64 and aarch64"
        ))),
    }
}

/// No optimisation by Cranelift: it would undo the interleaving of vectors, and the loops are optimised already.
fn flags(position_independent: bool, registers: Registers) -> Result<Flags, Refusal> {
    let mut builder = settings::builder();
    let pic = if position_independent {
        "true"
    } else {
        "false"
    };
    let algorithm = match registers {
        Registers::OnePass => "single_pass",
        Registers::Backtracking => "backtracking",
    };
    for (name, value) in [
        ("opt_level", "none"),
        ("regalloc_algorithm", algorithm),
        ("is_pic", pic),
        (
            "enable_verifier",
            if cfg!(debug_assertions) {
                "true"
            } else {
                "false"
            },
        ),
        ("enable_probestack", "false"),
        ("unwind_info", "false"),
    ] {
        builder
            .set(name, value)
            .map_err(|e| Refusal::Bug(format!("{name}: {e}")))?;
    }
    Ok(Flags::new(builder))
}
