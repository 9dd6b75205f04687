//! When the fast code is worth the time to make it.

use super::Workspace;
use crate::codegen::layout::Layout;
use crate::loops::{ExtentIndex, LoopAxisId, Loops};
use std::collections::BTreeMap;

/// A call of so many steps takes the fast code, though it takes as long to make as some hundred thousand: who has them
/// once will have them again. It depends on the shapes alone, so that only the first call with some shapes may make code.
pub(super) const MANY: u64 = 512;

/// How many steps innermost loops have.
pub(super) struct Steps {
    /// The extents around each innermost loop and its own, and how many such loops there are.
    nests: Vec<(Vec<ExtentIndex>, u64)>,
}

impl Steps {
    pub fn new(loops: &Loops) -> Steps {
        let extent = |axis: LoopAxisId| loops.axes[axis.0 as usize].extent;
        let mut counts: BTreeMap<Vec<ExtentIndex>, u64> = BTreeMap::new();
        for nest in loops.nests() {
            *counts
                .entry(nest.into_iter().map(extent).collect())
                .or_default() += 1;
        }
        Steps {
            nests: counts.into_iter().collect(),
        }
    }

    /// Whether a call is worth the fast code.
    pub fn are_many(&self, layout: &Layout, work: &Workspace) -> bool {
        let mut steps = 0u64;
        for (extents, n) in &self.nests {
            let size = |e: &ExtentIndex| work.cells[layout.extent(*e)];
            let product = extents.iter().map(size).fold(*n, u64::saturating_mul);
            steps = steps.saturating_add(product);
        }
        steps >= MANY
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Options, Spec};

    /// Of a loss of N rows and C classes.
    fn many(n: u64, c: u64) -> bool {
        let source = "loss l(x: [N, C] | y: int[N]) = mean[N](logsumexp[C](x) - x[N, y])";
        let loss = Spec::parse("l.loss", source).unwrap().derive().unwrap();
        let kernel = loss.compile(&Options::default()).unwrap();
        let loops = kernel.inner.loops();
        let layout = Layout::new(loops);
        let mut work = Workspace::default();
        work.cells.resize(layout.cells(), 0);
        for (k, extent) in loops.extents.iter().enumerate() {
            let size = if extent.name == "N" { n } else { c };
            work.cells[layout.extent(ExtentIndex(k as u32))] = size;
        }
        Steps::new(loops).are_many(&layout, &work)
    }

    #[test]
    fn the_steps_of_a_call_are_those_of_its_innermost_loops() {
        assert!(many(100, 10));
        assert!(many(u64::MAX, 2));
        assert!(many(1, 512));
        assert!(!many(10, 10));
        assert!(!many(0, u64::MAX));
    }
}
