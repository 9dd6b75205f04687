//! What the command line takes.

use clap::{Args, Parser, Subcommand, ValueEnum};

/// A declarative loss-spec compiler: the formula from the paper in, native value and gradient out.
#[derive(Debug, Parser)]
#[command(name = "losscc", version, arg_required_else_help = true, after_help = EXIT_CODES)]
pub struct Cli {
    /// When to colour messages
    #[arg(long, global = true, value_enum, default_value = "auto")]
    pub color: Color,
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "\
A SPEC is a path, `-` for standard input, or the name of a shipped loss (`losscc list`).

Exit codes: 0 fine, with or without warnings; 1 the spec is wrong, or a check or example failed;
2 usage, files and data; 101 a bug in losscc.";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check a spec, compile it, and report on it; or print what a stage makes of it
    Compile(Compile),
    /// Compute the value and the gradient of a loss at data
    Eval(Eval),
    /// Print the symbolic gradient, in the language of the spec
    Grad(Grad),
    /// Check specs: types, lints, and the gradient against finite differences
    Check(Check),
    /// Run the examples of specs
    Test(Test),
    /// List the shipped losses
    List(List),
    /// Lay out spec files in the canonical form
    Fmt(Fmt),
}

#[derive(Debug, Args)]
pub struct Compile {
    /// A path, `-` for standard input, or the name of a shipped loss
    pub spec: String,
    /// What to print (or, with -o, write) instead of the report: the results of these stages, such as `ir,grad`
    #[arg(long, value_enum, value_delimiter = ',')]
    pub emit: Vec<Emit>,
    /// Write each thing to a file of this directory: NAME.ast, NAME.ir, ...
    #[arg(short, long, value_name = "DIR", requires = "emit")]
    pub out: Option<String>,
    /// Make machine code for this target instead of this machine: x86_64-unknown-linux-gnu, aarch64-unknown-linux-gnu
    #[arg(long, value_name = "TRIPLE", requires = "emit")]
    pub target: Option<String>,
    #[command(flatten)]
    pub rows: Rows,
    #[command(flatten)]
    pub common: Common,
}

/// What the stages print, in the order of the pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Emit {
    /// The syntax tree
    Ast,
    /// The value as definitions with explicit indices
    Ir,
    /// The value and its gradient, in the language of the spec
    Grad,
    /// The loop nests
    Loops,
    /// Cranelift's intermediate code
    Clif,
    /// Assembly
    Asm,
}

impl Emit {
    /// The end of a file's name.
    pub fn extension(self) -> &'static str {
        match self {
            Emit::Ast => "ast",
            Emit::Ir => "ir",
            Emit::Grad => "grad.loss",
            Emit::Loops => "loops",
            Emit::Clif => "clif",
            Emit::Asm => "asm",
        }
    }
}

#[derive(Debug, Args)]
pub struct Common {
    /// The type of the reals in the kernel
    #[arg(long, value_enum, default_value = "f64")]
    pub dtype: Dtype,
    /// The inputs whose gradients are wanted, such as `a,b`, instead of all
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub wrt: Option<Vec<String>>,
}

/// Another value of the same loss.
#[derive(Debug, Args)]
pub struct Rows {
    /// What becomes of the rows, instead of the reduction in the spec
    #[arg(long, value_enum)]
    pub reduction: Option<Reduction>,
    /// Weigh the rows by one more input, `sample_weight`; a mean is divided by the sum of the weights
    #[arg(long)]
    pub weighted: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Reduction {
    /// The value of each row, 0 for rows that the loss leaves out; the gradient is that of their sum
    None,
    Sum,
    Mean,
}

impl From<Reduction> for crate::rows::Reduction {
    fn from(reduction: Reduction) -> Self {
        match reduction {
            Reduction::None => crate::rows::Reduction::None,
            Reduction::Sum => crate::rows::Reduction::Sum,
            Reduction::Mean => crate::rows::Reduction::Mean,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Dtype {
    F32,
    F64,
}

impl From<Dtype> for crate::codegen::Dtype {
    fn from(dtype: Dtype) -> Self {
        match dtype {
            Dtype::F32 => crate::codegen::Dtype::F32,
            Dtype::F64 => crate::codegen::Dtype::F64,
        }
    }
}

#[derive(Debug, Args)]
pub struct Eval {
    /// A path, `-` for standard input, or the name of a shipped loss
    pub spec: String,
    /// A file with the inputs: .npz, .json, .csv, or NAME=FILE.npy, `-` for standard input; may be given several times
    #[arg(long, value_name = "FILE", required = true)]
    pub data: Vec<String>,
    /// Set a hyperparameter; may be given several times
    #[arg(long, value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    #[command(flatten)]
    pub rows: Rows,
    #[command(flatten)]
    pub common: Common,
    /// Also second derivatives: `diag` is d²L/dx² for each element x of each input
    #[arg(long, value_enum)]
    pub hessian: Option<Hessian>,
    /// Also the product of the Hessian with a vector: a file with an array for each input that is differentiated by,
    /// called as it; .npz, .json, .csv, or NAME=FILE.npy; may be given several times
    #[arg(long, value_name = "FILE")]
    pub hvp: Vec<String>,
    /// Print one line of JSON
    #[arg(long)]
    pub json: bool,
    /// Write the gradients to this .npz file, by the names of their inputs; the rows of `--reduction none` as `value`,
    /// second derivatives as `hessian_diag.x` and `hvp.x`
    #[arg(long, value_name = "FILE.npz")]
    pub out: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Hessian {
    Diag,
}

#[derive(Debug, Args)]
pub struct Grad {
    /// A path, `-` for standard input, or the name of a shipped loss
    pub spec: String,
    #[command(flatten)]
    pub rows: Rows,
}

#[derive(Debug, Args)]
pub struct Check {
    /// Specs, or directories of them; `-` is standard input
    #[arg(required = true)]
    pub specs: Vec<String>,
    /// Show which rewrites made a formula stable
    #[arg(long)]
    pub explain: bool,
    #[command(flatten)]
    pub rows: Rows,
}

#[derive(Debug, Args)]
pub struct Test {
    /// Specs, or directories of them; `-` is standard input
    #[arg(required = true)]
    pub specs: Vec<String>,
}

#[derive(Debug, Args)]
pub struct List {}

#[derive(Debug, Args)]
pub struct Fmt {
    /// Files, or directories of them; `-` reads standard input and writes standard output
    #[arg(required = true)]
    pub files: Vec<String>,
    /// Change nothing; exit with 1 if a file is not laid out
    #[arg(long)]
    pub check: bool,
}
