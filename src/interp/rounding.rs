//! Evaluation with every result off by a little, to see how far rounding can take an outcome.

use crate::ir::{Node, Op, ReduceOp};

/// Moves every result that is not exact by up to `unit`, relatively.
///
/// By how much is random, but always the same for the same number, as rounding is: so what is equal stays equal. Where
/// outcomes of several seeds differ much, a kernel's may, too.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rounding {
    pub unit: f64,
    /// Whether results are f32: they overflow and vanish as those do.
    pub single: bool,
    pub seed: u64,
}

impl Rounding {
    /// The result of a node as it may come out.
    pub(super) fn round(&self, node: &Node, x: f64) -> f64 {
        let moved = if exact(node) || !x.is_finite() {
            x
        } else {
            x * (1.0 + self.unit * self.draw(x))
        };
        if self.single {
            f64::from(moved as f32)
        } else {
            moved
        }
    }

    /// Between -1 and 1, by the number alone.
    fn draw(&self, x: f64) -> f64 {
        let mut rng = fastrand::Rng::with_seed(x.to_bits() ^ self.seed.rotate_left(17));
        rng.f64() * 2.0 - 1.0
    }
}

/// Whether a node gives one of the numbers it was given, or a whole one.
fn exact(node: &Node) -> bool {
    match node {
        Node::Op(op, _) => matches!(
            op,
            Op::Neg
                | Op::Abs
                | Op::Sign
                | Op::Max
                | Op::Min
                | Op::Clamp
                | Op::Relu
                | Op::Floor
                | Op::Ceil
                | Op::Round
                | Op::StopGradient
                | Op::ToReal
        ),
        Node::Reduce { op, .. } => matches!(op, ReduceOp::Max | ReduceOp::Min),
        Node::Real(_)
        | Node::Int(_)
        | Node::Bool(_)
        | Node::Axis(_)
        | Node::Size(_)
        | Node::Param(_)
        | Node::If { .. }
        | Node::Read { .. } => true,
    }
}
