//! losscc: a declarative loss-spec compiler.
pub mod codegen;
