//! Loops within loops whose lengths no data bound.

use super::*;

impl Loops {
    /// For each nest of loops those whose lengths come from the text or from hyperparameters alone, where
    /// they are several: each is bounded by memory, their product by nothing.
    pub fn unbounded_nests(&self) -> Vec<Vec<LoopAxisId>> {
        let mut bounded: Vec<bool> = vec![];
        for extent in &self.extents {
            bounded.push(match &extent.from {
                ExtentFrom::Input(_) => true,
                ExtentFrom::Constant(_) => false,
                ExtentFrom::Expr(e) => e.asks(&bounded),
            });
        }
        let mut nests = vec![];
        for stage in &self.stages {
            let (Stage::Rows { body, .. } | Stage::Once(body)) = stage;
            self.collect(body, &bounded, &mut vec![], &mut nests);
        }
        nests.sort();
        nests.dedup();
        nests
    }

    fn collect(
        &self,
        block: &Block,
        bounded: &[bool],
        around: &mut Vec<LoopAxisId>,
        nests: &mut Vec<Vec<LoopAxisId>>,
    ) {
        let mut innermost = true;
        for statement in block {
            let Stmt::Loop { axis, body, .. } = statement else {
                continue;
            };
            innermost = false;
            let extent = self.axes[axis.0 as usize].extent;
            let free = !bounded[extent.0 as usize];
            around.extend(free.then_some(*axis));
            self.collect(body, bounded, around, nests);
            around.truncate(around.len() - usize::from(free));
        }
        if innermost && around.len() > 1 {
            nests.push(around.clone());
        }
    }
}

impl ExtentExpr {
    /// Whether it asks for the size of an axis that is `bounded`.
    fn asks(&self, bounded: &[bool]) -> bool {
        match self {
            ExtentExpr::Int(_) | ExtentExpr::Param(_) => false,
            ExtentExpr::Size(i) => bounded[i.0 as usize],
            ExtentExpr::Op(_, operands) => operands.iter().any(|o| o.asks(bounded)),
            ExtentExpr::If(c, a, b) => [c, a, b].into_iter().any(|e| e.asks(bounded)),
        }
    }
}
