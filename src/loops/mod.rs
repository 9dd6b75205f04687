//! Loop nests: what a program becomes before it is machine code.
//!
//! A kernel is a sequence of [`Stage`]s. A `Rows` stage runs one loop in fixed chunks of its axis; what the chunks add
//! up (`Home::Total`) is merged in chunk order after the stage. A `Once` stage runs on one thread after that, with the
//! totals at hand. Code generation walks this tree and decides nothing.
//!
//! What a value is: a [`Stmt::Let`] computes one value for the current iteration of the loops around it. In the body of
//! a lane loop it is one vector (what does not depend on the lanes was placed outside, but for constants, whose Lets
//! may stand anywhere). Values are SSA: a value is used only after its Let, in the block that defines it or in blocks
//! within.
//! Reals have the kernel's dtype in `Rows` stages (but see [`Loops::wide`]); sums are carried in f64 (`Elem::Sum`) and read back in the dtype;
//! in a `Once` stage every real is an f64.

mod align;
pub mod block;
mod contract;
mod emit;
mod extents;
mod inline;
pub mod interp;
mod levels;
mod nests;
mod normalize;
mod order;
mod part;
mod peel;
mod pool;
pub mod print;
mod products;
mod recurrence;
mod rounding;
mod schedule;
mod storage;
#[cfg(test)]
mod tests;
mod unroll;
pub mod verify;

pub use schedule::{Wanted, schedule};

use crate::ir::{Domain, Op, Type};
use std::sync::Arc;

/// Index of an axis class: one loop variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LoopAxisId(pub u32);
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BufferId(pub u32);
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub u32);
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FoldId(pub u32);
/// Index into [`Loops::extents`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExtentIndex(pub u32);

/// The schedule of one kernel.
#[derive(Debug, Clone, Default)]
pub struct Loops {
    pub name: String,
    /// How many elements an axis has: computed once at the start of a call, in this order.
    pub extents: Vec<LoopExtent>,
    pub axes: Vec<LoopAxis>,
    pub buffers: Vec<Buffer>,
    pub params: Vec<LoopParam>,
    pub stages: Vec<Stage>,
    /// The value (a buffer without dims), then the gradients asked for.
    pub outputs: Vec<BufferId>,
    /// For each `ValueId` what it holds, and for messages the place in the source of what computes it.
    pub values: Vec<ValueInfo>,
    pub folds: Vec<FoldInfo>,
    /// Every real is computed in f64, as in a `Once` stage: what the steps of a recurrence carry would gather the
    /// rounding of f32, and `exp(a - b)` of two large carried numbers show it; what equals an extremum must equal it in
    /// every stage.
    pub wide: bool,
}

#[derive(Debug, Clone)]
pub struct LoopExtent {
    pub name: String,
    pub from: ExtentFrom,
}

#[derive(Debug, Clone)]
pub enum ExtentFrom {
    /// The extent of a position of an input; every other position listed must agree.
    Input(Vec<(BufferId, usize)>),
    Constant(u64),
    /// An int expression over earlier extents and int hyperparameters.
    Expr(ExtentExpr),
}

/// Declared extents are computed before anything runs.
#[derive(Debug, Clone, PartialEq)]
pub enum ExtentExpr {
    Int(i64),
    Size(ExtentIndex),
    Param(u32),
    Op(Op, Vec<ExtentExpr>),
    If(Box<ExtentExpr>, Box<ExtentExpr>, Box<ExtentExpr>),
}

/// One class of aligned axes: the loops over it have one variable.
#[derive(Debug, Clone)]
pub struct LoopAxis {
    pub name: String,
    pub extent: ExtentIndex,
}

#[derive(Debug, Clone)]
pub struct LoopParam {
    pub name: String,
    /// Real or Int; a real arrives as f64.
    pub ty: Type,
    /// What it is where the caller gives nothing; without it the caller must.
    pub default: Option<f64>,
    pub domain: Option<Domain>,
}

/// An array. Row-major over `dims`.
#[derive(Debug, Clone)]
pub struct Buffer {
    pub name: String,
    pub elem: Elem,
    pub home: Home,
    /// The extent of each dimension and the class that usually runs over it (for printing and verification). An input
    /// with the anonymous axis has one dimension, of the extent named `*`: all its elements, whatever the rank.
    pub dims: Vec<BufferDim>,
    /// Lives in the memory of another buffer of equal dims and elem.
    pub shares: Option<BufferId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BufferDim {
    pub extent: ExtentIndex,
    pub axis: Option<LoopAxisId>,
    /// Which position of the definition it is: of those without a dimension, the loops around the buffer take care.
    pub position: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Elem {
    /// The dtype of the kernel.
    Real,
    /// f64 cells in both kernels.
    Sum,
    /// i64.
    Int,
    /// One byte, 0 or 1.
    Bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Home {
    Input,
    /// Written by the kernel, handed in by the caller. The value (no dims) is a `Sum` cell.
    Output,
    /// One per call, in the workspace.
    Full,
    /// One per worker, in the workspace.
    Row,
    /// One per chunk of its stage, merged in chunk order when the stage is done; read by later stages.
    Total(FoldOp),
}

#[derive(Debug, Clone)]
pub enum Stage {
    /// The body runs once for each chunk. It is: Lets that no row changes, then exactly one `Loop` over `axis` (with
    /// lanes where the rows themselves are the elements), which runs over the rows of the chunk, then Stores of its
    /// folds to totals (`How::Set`: this chunk's cell).
    /// A chunk has `max(1, 16384 / elements per row of the largest of row_inputs)` rows: a function of shapes only.
    Rows {
        axis: LoopAxisId,
        /// The inputs that have the axis and the position of it: the largest decides how many rows are a chunk.
        row_inputs: Vec<(BufferId, usize)>,
        /// Scatters across rows: the whole stage is one chunk.
        single_chunk: bool,
        body: Block,
    },
    /// Runs once.
    Once(Block),
}

pub type Block = Vec<Stmt>;

#[derive(Debug, Clone)]
pub enum Stmt {
    Let(ValueId, Expr),
    Loop {
        axis: LoopAxisId,
        direction: Direction,
        /// Vectorised: 64 bytes of elements a step. At most one on a path, and no loop within it unless that loop's
        /// folds hold one accumulator for each lane.
        lanes: bool,
        /// Accumulators that live in registers during this loop, the identity at its start; read with `Expr::Folded`
        /// after it. Its Fold statements stand in this loop's own body (or in Ifs of it), never in a loop within: a
        /// reduction over two axes is a fold of the inner loop whose result the outer loop folds.
        folds: Vec<FoldId>,
        body: Block,
    },
    /// Combines `value` into a register accumulator that the enclosing loop declares, where the guard holds.
    /// `Count` takes a bool and counts; counts and sums of ints are exact.
    Fold {
        id: FoldId,
        value: ValueId,
        guard: Option<ValueId>,
    },
    /// Sets or combines one cell, where the guard holds. Each computed index is checked as that of a checked load, but
    /// out of range it stores nothing and is no error (a bracket that matches nothing).
    /// A combining store whose index depends on the lanes through an `Index::Value` does not occur in a lane loop.
    Store {
        to: BufferId,
        at: Vec<Index>,
        how: How,
        value: ValueId,
        guard: Option<ValueId>,
    },
    /// Fills the cells of a buffer with the identity of `with`: all of it, or the cells at the fixed indices.
    Fill {
        to: BufferId,
        at: Vec<Option<Index>>,
        with: FoldOp,
    },
    /// Outside of lane loops.
    Sort(Sort),
    /// Outside of lane loops.
    Gemm(Gemm),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Up,
    Down,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    Set,
    Combine(FoldOp),
}

/// The permutation that sorts keys ascending: stable, NaN last, and after it what is left out. The axis that is sorted
/// is the last dim of all three buffers; the indices are those of the others.
#[derive(Debug, Clone)]
pub struct Sort {
    pub into: BufferId,
    pub at: Vec<Index>,
    /// Reals or ints.
    pub keys: BufferId,
    pub keys_at: Vec<Index>,
    /// Bools: what is false is left out.
    pub kept: Option<(BufferId, Vec<Index>)>,
}

/// The matrix product `c = a b`, all of the kernel's dtype: `c` has dims of rows and columns, `a` of rows and the inner
/// dim, `b` of the inner dim and columns, in any order.
#[derive(Debug, Clone)]
pub struct Gemm {
    pub c: Matrix,
    pub a: Matrix,
    pub b: Matrix,
}

/// A buffer as a matrix. Dims of one kind follow each other: they are one dimension of the matrix.
#[derive(Debug, Clone)]
pub struct Matrix {
    pub buffer: BufferId,
    pub dims: Vec<MatrixDim>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum MatrixDim {
    /// A fixed index.
    At(Index),
    Rows,
    Columns,
    Inner,
}

#[derive(Debug, Clone)]
pub enum Expr {
    Real(f64),
    Int(i64),
    Bool(bool),
    Param(u32),
    Size(ExtentIndex),
    /// The loop variable; in a lane loop over it, one value per lane.
    Axis(LoopAxisId),
    Load {
        from: BufferId,
        at: Vec<Index>,
        /// Conditions of its place: where false nothing is read and the result is unspecified but harmless (0).
        when: Option<ValueId>,
        /// The result where an index is out of range.
        or: Option<ValueId>,
        /// Every index but `Index::Axis` is compared with the extent of its position; so is an `Index::Axis` whose
        /// own extent is another one. Out of range (and `when`) ends the call with an error.
        /// Without `checked` and without `or` every index is known to be in range (where `when` holds).
        checked: bool,
    },
    /// A pointwise operator other than `LogSumExp`, `StopGradient`, `IntDiv` and `Mod`. Two operands for `Max` and `Min`.
    Op(Op, Vec<ValueId>),
    /// `IntDiv` or `Mod`; a divisor of 0 (where `when` holds) ends the call with an error.
    Divide {
        op: Op,
        a: ValueId,
        b: ValueId,
        when: Option<ValueId>,
    },
    /// The index that an argmax or argmin found; less than 0 (where `when` holds) ends the call with an error.
    Found {
        index: ValueId,
        when: Option<ValueId>,
    },
    /// `if c then a else b`, both evaluated.
    Select(ValueId, ValueId, ValueId),
    /// 0 for an infinite operand, otherwise the operand: the shift of a logsumexp.
    Finite(ValueId),
    /// The result of a fold after its loop; a Sum in f64 (converted to the dtype where a dtype is used).
    Folded(FoldId),
}

/// One index of a load or store.
#[derive(Debug, Clone, PartialEq)]
pub enum Index {
    Axis(LoopAxisId),
    Shift(LoopAxisId, i64),
    Const(i64),
    /// A computed int.
    Value(ValueId),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FoldOp {
    Sum,
    Prod,
    Max,
    Min,
    Any,
    All,
    Count,
    ArgMax,
    ArgMin,
}

impl FoldOp {
    /// What a fold of nothing gives, of reals and of ints; as a bool, 1 is true.
    pub fn identity(self) -> (f64, i64) {
        match self {
            FoldOp::Sum | FoldOp::Count | FoldOp::Any => (0.0, 0),
            FoldOp::Prod | FoldOp::All => (1.0, 1),
            FoldOp::Max => (f64::NEG_INFINITY, i64::MIN),
            FoldOp::Min => (f64::INFINITY, i64::MAX),
            FoldOp::ArgMax | FoldOp::ArgMin => (0.0, -1),
        }
    }
}

#[derive(Debug, Clone)]
pub struct ValueInfo {
    pub ty: Type,
    /// Where the source says it, for messages (an index out of range).
    pub span: Option<crate::ast::Span>,
    /// A name for printing, may be empty.
    pub name: Arc<str>,
    /// An element of a permutation of so many: an index that is in range.
    pub place_of: Option<ExtentIndex>,
}

#[derive(Debug, Clone)]
pub struct FoldInfo {
    pub op: FoldOp,
    pub ty: Type,
    pub name: Arc<str>,
}
