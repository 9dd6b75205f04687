//! losscc: a declarative loss-spec compiler. A loss function is written once, as the formula in the paper; losscc
//! checks it, makes it numerically stable, differentiates it symbolically and compiles value and gradient into one
//! native kernel.

pub mod array;
pub mod ast;
pub mod check;
pub mod codegen;
pub mod data;
pub mod diagnostic;
pub mod graph;
pub mod interp;
pub mod grad;
pub mod ir;
pub mod kernel;
pub mod loops;
pub mod lower;
pub mod modules;
pub mod parse;
pub mod render;
pub mod rewrite;
pub mod sexpr;
pub mod shipped;
pub mod suggest;
