//! Native code for loop nests, through Cranelift.
//!
//! One function for each stage: `stage(context, begin, end) -> status`. `context` is the block of 8-byte cells of
//! [`layout`], filled by the caller ([`kernel`](crate::kernel)): where the buffers are, how long the axes are, what the
//! hyperparameters are. `begin..end` are the rows of one chunk. A status other than 0 says that an index was out of
//! range (or an int was divided by 0); the block then says which and where.
//!
//! Everything that is real is computed in vectors, also what is one number for all lanes (a sum of a row): its lanes
//! are equal. So there is one form of every operator, and a scalar's result is a vector's.

mod access;
mod checks;
mod constants;
mod copies;
mod elements;
mod folds;
mod gemm;
pub mod groups;
mod homes;
mod ints;
pub mod isa;
mod lanes;
pub mod layout;
mod limits;
pub mod math;
mod ops;
mod sort;
mod stage;
mod tail;
mod value;
mod waiting;
mod weight;

use crate::ast::Span;
use crate::diagnostic::{Class, Diagnostic};
use crate::loops::{Home, Loops};
use cranelift::frontend::FunctionBuilderContext;
use cranelift_codegen::Context;
use cranelift_codegen::ir::Function;
use cranelift_codegen::isa::TargetIsa;
use layout::Layout;
use std::fmt::Write;

/// What a kernel computes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Dtype {
    F32,
    #[default]
    F64,
}

impl Dtype {
    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            Dtype::F32 => 4,
            Dtype::F64 => 8,
        }
    }

    /// As users write it.
    pub fn name(self) -> &'static str {
        match self {
            Dtype::F32 => "f32",
            Dtype::F64 => "f64",
        }
    }
}

/// Why no code was made.
#[derive(Debug, Clone, PartialEq)]
pub enum Refusal {
    /// What the loops hold that does not compile yet, in the words of a message.
    NotYet(String),
    /// The target cannot be compiled for.
    Target(String),
    /// Loops that make no sense, or Cranelift failed: a mistake of losscc.
    Bug(String),
}

impl From<Refusal> for Diagnostic {
    fn from(refusal: Refusal) -> Diagnostic {
        match refusal {
            Refusal::NotYet(what) => Diagnostic::error(format!("{what} does not compile yet")),
            Refusal::Target(what) => Diagnostic::data(what),
            Refusal::Bug(what) => {
                let mut bug = Diagnostic::error("no machine code could be made");
                bug.class = Class::Bug;
                bug.note(what)
            }
        }
    }
}

/// A place in the code that may end a call: what the message about it needs.
#[derive(Debug, Clone)]
pub struct Check {
    pub kind: CheckKind,
    /// Where the source says it.
    pub span: Option<Span>,
    /// The names of the axes whose values the code reports, outermost first.
    pub axes: Vec<String>,
}

#[derive(Debug, Clone)]
pub enum CheckKind {
    /// A read of `buffer` with an index out of range at one of its positions; the code reports the index.
    Index { buffer: String, position: usize },
    /// An int divided by 0.
    Divide,
    /// argmax or argmin of nothing.
    Empty,
}

/// Generated code as text.
#[derive(Debug, Clone, PartialEq)]
pub struct CodeText {
    /// Cranelift's intermediate language.
    pub clif: String,
    /// Assembly.
    pub asm: String,
}

/// The code of one stage before it is placed in memory.
pub struct StageCode {
    pub stage: usize,
    pub name: String,
    pub function: Function,
}

/// What stages of a kernel become.
pub struct Code {
    pub stages: Vec<StageCode>,
    /// Indexed by what a status says minus 1.
    pub checks: Vec<Check>,
    pub layout: Layout,
}

/// The codes that a stage may have. They compute the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// For all shapes, and made soonest.
    First,
    /// For all shapes, too: with more vectors side by side, and registers well used.
    Fast,
    /// For many [short rows](groups), as fast.
    Groups,
}

/// Builds the functions of the `stages` with these numbers, not yet compiled.
///
/// # Errors
/// What does not compile yet, by name.
pub fn build(
    loops: &Loops,
    dtype: Dtype,
    isa: &dyn TargetIsa,
    variant: Variant,
    stages: impl IntoIterator<Item = usize>,
) -> Result<Code, Refusal> {
    let layout = Layout::new(loops);
    let mut checks = vec![];
    let mut built = vec![];
    let mut frontend = FunctionBuilderContext::new();
    for k in stages {
        let mut function = Function::new();
        stage::build(
            stage::Unit {
                loops,
                dtype,
                isa,
                layout: &layout,
            },
            &loops.stages[k],
            &mut function,
            &mut frontend,
            &mut checks,
            variant,
        )?;
        built.push(StageCode {
            stage: k,
            name: format!("stage{k}"),
            function,
        });
    }
    Ok(Code {
        stages: built,
        checks,
        layout,
    })
}

/// The functions of the fast code as text, in Cranelift's language and as the machine's code in words.
///
/// # Errors
/// As [`build`].
pub fn text(loops: &Loops, dtype: Dtype, isa: &dyn TargetIsa) -> Result<CodeText, Refusal> {
    let mut clif = head(loops, dtype, isa);
    let mut asm = clif.clone();
    let all = 0..loops.stages.len();
    for StageCode { name, function, .. } in build(loops, dtype, isa, Variant::Fast, all)?.stages {
        let mut context = Context::for_function(function);
        let _ = write!(clif, "\n; {name}\n{}", context.func.display());
        context.set_disasm(true);
        let compiled = context
            .compile(isa, &mut Default::default())
            .map_err(|e| Refusal::Bug(format!("{:?}", e.inner)))?;
        let words = compiled.vcode.as_deref().unwrap_or_default();
        let _ = write!(asm, "\n; {name}\n{words}");
    }
    Ok(CodeText { clif, asm })
}

fn head(loops: &Loops, dtype: Dtype, isa: &dyn TargetIsa) -> String {
    let totals = loops
        .buffers
        .iter()
        .filter(|b| matches!(b.home, Home::Total(_)))
        .count();
    format!(
        "; {} in {}, {}: {} stages, {totals} totals\n",
        loops.name,
        dtype.name(),
        isa.triple(),
        loops.stages.len(),
    )
}

/// The functions that code may call: name and address, in the order of their numbers in the code.
pub(crate) fn symbols() -> impl Iterator<Item = (&'static str, *const u8)> {
    constants::symbols().iter().map(|(name, a)| (*name, a.0))
}

/// Their signature.
pub(crate) fn symbol_signature(isa: &dyn TargetIsa) -> cranelift_codegen::ir::Signature {
    math::signature(cranelift_codegen::ir::types::I64, isa.default_call_conv())
}
