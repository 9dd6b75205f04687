//! Nests of loops: all of them, and those whose lengths no data bound.

use super::*;

impl Loops {
    /// For each innermost loop its axis and those of the loops around it, outermost first.
    pub fn nests(&self) -> Vec<Vec<LoopAxisId>> {
        let mut nests = vec![];
        for stage in &self.stages {
            collect(stage.body(), &mut vec![], &mut nests);
        }
        nests
    }

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
        let free = |axis: &LoopAxisId| !bounded[self.axes[axis.0 as usize].extent.0 as usize];
        let mut nests = self.nests();
        for nest in &mut nests {
            nest.retain(free);
        }
        nests.retain(|nest| nest.len() > 1);
        nests.sort();
        nests.dedup();
        nests
    }
}

fn collect(block: &Block, around: &mut Vec<LoopAxisId>, nests: &mut Vec<Vec<LoopAxisId>>) {
    let mut innermost = true;
    for statement in block {
        if let Stmt::Loop { axis, body, .. } = statement {
            innermost = false;
            around.push(*axis);
            collect(body, around, nests);
            around.pop();
        }
    }
    if innermost && !around.is_empty() {
        nests.push(around.clone());
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
