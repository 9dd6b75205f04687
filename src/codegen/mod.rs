//! Native code for loop nests, through Cranelift.
