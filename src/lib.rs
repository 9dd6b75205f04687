//! losscc: a declarative loss-spec compiler. A loss function is written once, as the formula in the paper; losscc
//! checks it, makes it numerically stable, differentiates it symbolically and compiles value and gradient into one
//! native kernel.

pub mod array;
pub mod ast;
pub mod check;
pub mod cli;
pub mod codegen;
pub mod compile;
pub mod data;
pub mod diagnostic;
pub mod error;
pub mod format;
pub mod grad;
pub mod graph;
pub mod interp;
pub mod ir;
pub mod kernel;
pub mod loops;
pub mod loss;
pub mod lower;
pub mod modules;
pub mod parse;
pub mod render;
pub mod rewrite;
pub mod rows;
pub mod sexpr;
pub mod shipped;
pub mod spec;
mod stack;
pub mod suggest;

pub use codegen::Dtype;
pub use error::Error;
pub use kernel::{Data, DataMut, Gradient, Input, Workspace};
pub use loss::{Evaluated, Kernel, Loss, NamedGradient, Options};
pub use rows::Reduction;
pub use spec::Spec;
