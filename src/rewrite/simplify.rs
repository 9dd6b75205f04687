//! The passes in order: a program in, a smaller one out that means the same.

use super::{axes, branches, equal, inline, live, name, share};
use crate::ir::{Program, TensorId};

/// Simplifies what `outputs` need. Afterwards every reduction that is shared, or runs over other axes than its reader, is a
/// definition of its own, no two definitions are equal, and what is expensive and used twice has a name.
pub fn simplify(program: &mut Program, outputs: &[TensorId]) {
    branches::settle(program, outputs);
    inline::inline(program, outputs);
    axes::drop_unused_axes(program, outputs);
    branches::settle(program, outputs);
    named(program, outputs);
    share::share(program, outputs);
    equal::merge_equal(program, &live(program, outputs), outputs);
    inline::inline(program, outputs);
    branches::settle(program, outputs);
    inline::inline_reductions(program, outputs);
}

/// A-normal form without equal definitions.
pub fn named(program: &mut Program, outputs: &[TensorId]) {
    let mut definitions = live(program, outputs);
    name::name_reductions(program, &mut definitions);
    equal::merge_equal(program, &live(program, outputs), outputs);
}
