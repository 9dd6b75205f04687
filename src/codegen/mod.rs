//! Native code for loop nests, through Cranelift.

pub mod math;
