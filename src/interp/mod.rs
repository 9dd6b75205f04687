//! The plain interpreter: what a program means, in f64.
//!
//! It is the oracle of the tests, so it is written to be read: a definition is computed element by element, a
//! reduction is a loop, an `if` evaluates the branch taken. Two things keep that from being hopeless on real data.
//! Every node remembers its last value together with the time of computing it, which holds as long as no axis that
//! the node depends on has moved since; so shared and loop-invariant parts are computed once. And a definition that
//! is not part of a recurrence is computed as a whole array, in dependency order; only the elements of recurrences
//! are computed on demand, each once.

mod bind;
mod eval;
pub(crate) mod fold;
mod rounding;
pub mod scalar;
mod tensors;
mod watch;

use crate::array::Array;
use crate::diagnostic::Diagnostic;
use crate::ir::{AxisId, ExprId, Op, Program, TensorId};
pub use bind::{Bound, bind, extents_for, fitted, misset};
use eval::scalars;
pub use rounding::Rounding;
use rustc_hash::FxHashMap;
use scalar::Scalar;
pub use watch::{Singular, Watch};

/// No definition may have more elements than this in the interpreter (1 GiB of reals).
pub const MAX_ELEMENTS: usize = 1 << 27;

/// No reduction may have more elements than this in the interpreter (about a minute).
const MAX_STEPS: usize = 1 << 30;

/// How deep a recurrence or an expression may nest before a new stack is made, and how large that is.
const RED_ZONE: usize = 128 * 1024;
const STACK: usize = 16 * 1024 * 1024;

/// What has to be computed for some tensors, in which order; for evaluating them often.
pub struct Plan<'a> {
    program: &'a Program,
    wanted: Vec<TensorId>,
    /// Definitions that need each other, and whether they do.
    groups: Vec<(Vec<TensorId>, bool)>,
    rounding: Option<Rounding>,
}

/// What becomes of `stop_gradient(e)`.
///
/// For a derivative it is a constant: finite differences keep the values that it had before an input was moved.
#[derive(Debug, Clone)]
pub enum Held {
    /// It is computed.
    Nothing,
    /// It is computed, and its value kept here for each node and the values of its free axes.
    Keep(HeldValues),
    /// It is what was kept; NaN where nothing was, since nobody knows what it would have been.
    Use(HeldValues),
}

type HeldValues = FxHashMap<(ExprId, Vec<i64>), Scalar>;

impl Held {
    /// From now on what was kept is used.
    pub fn used(self) -> Held {
        match self {
            Held::Keep(values) => Held::Use(values),
            Held::Nothing | Held::Use(_) => self,
        }
    }
}

impl<'a> Plan<'a> {
    pub fn new(program: &'a Program, wanted: &[TensorId]) -> Plan<'a> {
        Plan {
            program,
            wanted: wanted.to_vec(),
            groups: groups(program, wanted)
                .into_iter()
                .map(|g| {
                    let recursive = g.len() > 1 || program.reads(g[0]).contains(&g[0]);
                    (g, recursive)
                })
                .collect(),
            rounding: None,
        }
    }

    /// The same, but every result is off by a little.
    pub fn rounded(self, rounding: Rounding) -> Plan<'a> {
        Plan {
            rounding: Some(rounding),
            ..self
        }
    }

    /// Computes the wanted tensors, in their order.
    ///
    /// # Errors
    /// As [`evaluate`].
    pub fn run(&self, bound: &Bound, held: &mut Held) -> Result<Vec<Array>, Diagnostic> {
        Ok(self.run_watching(bound, held)?.0)
    }

    /// As [`Plan::run`]; also whether every real on the way was finite.
    ///
    /// # Errors
    /// As [`evaluate`].
    pub fn run_watching(
        &self,
        bound: &Bound,
        held: &mut Held,
    ) -> Result<(Vec<Array>, bool), Diagnostic> {
        self.compute(Machine::new(self.program, bound, held))
    }

    /// [`Plan::run`], with a watch on singular places.
    ///
    /// # Errors
    /// As [`evaluate`].
    pub fn run_watched(&self, bound: &Bound, watch: &mut Watch) -> Result<Vec<Array>, Diagnostic> {
        let mut held = Held::Nothing;
        let mut machine = Machine::new(self.program, bound, &mut held);
        machine.watch = Some(watch);
        Ok(self.compute(machine)?.0)
    }

    fn compute(&self, mut machine: Machine) -> Result<(Vec<Array>, bool), Diagnostic> {
        machine.rounding = self.rounding;
        for (group, recursive) in &self.groups {
            machine.compute_group(group, *recursive)?;
        }
        let arrays = self.wanted.iter().map(|&t| machine.array(t)).collect();
        Ok((arrays, machine.finite))
    }
}

struct Machine<'a> {
    program: &'a Program,
    bound: &'a Bound,
    held: &'a mut Held,
    watch: Option<&'a mut Watch>,
    rounding: Option<Rounding>,
    /// Whether every real so far is.
    finite: bool,
    /// The elements of each tensor computed so far; `done` marks them in recurrences.
    arrays: Vec<Option<Vec<Scalar>>>,
    done: Vec<Vec<Mark>>,
    /// Values of axes, and when they were set.
    axes: Vec<(i64, u64)>,
    /// The last value of each node, and when it was computed (0: never).
    memo: Vec<(Scalar, u64)>,
    clock: u64,
    /// The operators of [`Machine::chain`] that wait for their left operand.
    spine: Vec<(ExprId, Op, ExprId)>,
}

/// What a sorted order is made of.
#[derive(Clone, Copy)]
struct Sort {
    along: AxisId,
    guard: Option<ExprId>,
    key: ExprId,
}

#[derive(Clone, Copy, PartialEq)]
enum Mark {
    New,
    Started,
    Done,
}

impl<'a> Machine<'a> {
    fn new(program: &'a Program, bound: &'a Bound, held: &'a mut Held) -> Machine<'a> {
        let mut arrays: Vec<Option<Vec<Scalar>>> = vec![None; program.tensors.len()];
        for (&t, array) in program.inputs.iter().zip(&bound.inputs) {
            arrays[t.index()] = Some(scalars(array));
        }
        Machine {
            program,
            bound,
            held,
            watch: None,
            rounding: None,
            finite: true,
            arrays,
            done: vec![vec![]; program.tensors.len()],
            axes: vec![(0, 0); program.axes.len()],
            memo: vec![(Scalar::Int(0), 0); program.node_count()],
            clock: 1,
            spine: vec![],
        }
    }
}

/// Computes every tensor in `wanted` (and what it needs).
///
/// # Errors
/// An index out of range, an int division by 0, an `argmax` of nothing, an extent that no memory holds.
pub fn evaluate(
    program: &Program,
    bound: &Bound,
    wanted: &[TensorId],
) -> Result<Vec<Array>, Diagnostic> {
    Plan::new(program, wanted).run(bound, &mut Held::Nothing)
}

/// The definitions that `wanted` need, in dependency order; definitions that need each other are one group.
pub fn groups(program: &Program, wanted: &[TensorId]) -> Vec<Vec<TensorId>> {
    let edges: Vec<Vec<usize>> = (0..program.tensors.len())
        .map(|t| {
            program
                .reads(TensorId(t as u32))
                .into_iter()
                .map(TensorId::index)
                .collect()
        })
        .collect();
    let roots: Vec<usize> = wanted.iter().map(|t| t.index()).collect();
    let groups = crate::graph::components(&edges, &roots);
    groups
        .into_iter()
        .map(|g| g.into_iter().map(|t| TensorId(t as u32)).collect())
        .collect()
}
