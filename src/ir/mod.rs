//! The intermediate representation: named definitions over axes, with explicit indices.
//!
//! A [`Program`] is a list of tensors, inputs and definitions. A definition `v[A, B] = e` has a head of axes of its
//! own and a body, an expression in which every read gives an index for each position of what it reads. So there is
//! no "read at its own axes" here, no broadcasting and no shadowing: an [`Axis`] is an object, not a name, every
//! binder (a head, a reduction) has axes that occur nowhere else, and names are chosen only when printing.
//!
//! Expressions are hash-consed nodes of one arena. A node's operands were made before it, so **an operand's id is
//! always smaller than its reader's**: a pass over expressions is a loop over ids, not a recursion, and its memo is
//! keyed by id.
//!
//! What it means: `interp` evaluates it plainly. An expression is evaluated at values of its free axes;
//! `And`, `Or`, `If`, guards and defaults evaluate only what they need. A definition is a tensor: it is computed at
//! all of its elements, and the order of definitions in the list means nothing.

#[cfg(test)]
pub(crate) mod by_hand;
mod layout;
pub mod op;
pub mod print;
mod program;
pub mod verify;
mod visited;

use crate::ast::Span;
use crate::diagnostic::Diagnostic;
pub use op::{Op, ReduceOp, Type};
pub use program::Program;
use std::sync::Arc;
pub use visited::Visited;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub u32);
        impl $name {
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }
    };
}

id!(
    /// An expression: index into the arena of its program.
    ExprId
);
id!(
    /// An axis: a binder of a head or of a reduction.
    AxisId
);
id!(
    /// An extent: how many elements an axis has. Axes of one name in the source share it.
    ExtentId
);
id!(
    /// A hyperparameter.
    ParamId
);
id!(
    /// An input or a definition.
    TensorId
);

/// A real literal; compared by its bits, so that it can be hashed (NaN equals itself, 0.0 differs from -0.0).
#[derive(Debug, Clone, Copy)]
pub struct Real(pub f64);

impl PartialEq for Real {
    fn eq(&self, other: &Real) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}
impl Eq for Real {}
impl std::hash::Hash for Real {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

/// One operation of an expression.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Node {
    Real(Real),
    Int(i64),
    Bool(bool),
    /// The value of an index, int.
    Axis(AxisId),
    /// How many elements an axis has, int.
    Size(ExtentId),
    Param(ParamId),
    /// `tensor[index.. else default]`. One index (int) for each axis of the tensor's head. Without a default an index
    /// out of range is an error of the call; with one, the default is the value then.
    Read {
        tensor: TensorId,
        index: Box<[ExprId]>,
        default: Option<ExprId>,
    },
    /// Evaluates only the branch taken.
    If {
        condition: ExprId,
        then: ExprId,
        otherwise: ExprId,
    },
    Op(Op, Box<[ExprId]>),
    /// `op[axes if guard](body)`; binds `axes`. The body is not evaluated where the guard is false.
    Reduce {
        op: ReduceOp,
        axes: Box<[AxisId]>,
        guard: Option<ExprId>,
        body: ExprId,
    },
}

#[derive(Debug, Clone)]
pub struct Axis {
    /// The name in the source, or a good name for a generated one.
    pub hint: Arc<str>,
    pub extent: ExtentId,
}

#[derive(Debug, Clone)]
pub struct Extent {
    /// The source's first name for it; `*` for the anonymous axis.
    pub name: Arc<str>,
    pub kind: ExtentKind,
}

/// Where an extent comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExtentKind {
    /// From the data: every position of an input whose head axis has it. They must agree.
    Input,
    Constant(u64),
    /// `axis L = 2 * size(S) + 1`: an int expression of sizes, int hyperparameters and constants.
    Declared(ExprId),
}

/// A hyperparameter.
#[derive(Debug, Clone)]
pub struct Param {
    pub name: Arc<str>,
    pub ty: Type,
    /// What it is where the caller gives nothing; without it the caller must.
    pub default: Option<f64>,
    pub domain: Option<Domain>,
    pub doc: Arc<str>,
}

/// An interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Domain {
    pub low: f64,
    pub low_included: bool,
    pub high: f64,
    pub high_included: bool,
}

/// What is said where a hyperparameter without a default is not given.
pub(crate) fn unset(name: &str, domain: Option<&Domain>) -> Diagnostic {
    let title = format!("the hyperparameter `{name}` has no default and is not set");
    let d = Diagnostic::data(title);
    let d = match domain {
        Some(domain) => d.note(format!("its domain is {domain}")),
        None => d,
    };
    d.help(format!("on the command line: `--set {name}=...`"))
}

/// An input or a definition.
#[derive(Debug, Clone)]
pub struct Tensor {
    pub name: Arc<str>,
    pub ty: Type,
    /// One axis for each position. A definition's body may use these axes and no others free.
    pub head: Vec<AxisId>,
    pub kind: TensorKind,
    /// Whether the name stands in the source, so that a printed program keeps it.
    pub named: bool,
    pub span: Option<Span>,
}

#[derive(Debug, Clone)]
pub enum TensorKind {
    Input(Input),
    Definition(Body),
}

#[derive(Debug, Clone)]
pub struct Input {
    /// Whether the gradient with respect to it is wanted.
    pub differentiated: bool,
    /// What the signature says of each position; `None` for an untyped input (`[*]`).
    pub shape: Option<Vec<Dim>>,
    pub doc: Arc<str>,
}

/// One position of an input's type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dim {
    Named(Arc<str>),
    Constant(u64),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    Expr(ExprId),
    /// For each value of the other head axes, the permutation that sorts `key` ascending along the head axis `along`:
    /// stable, NaN last, and after it what `guard` leaves out.
    Argsort {
        along: AxisId,
        guard: Option<ExprId>,
        key: ExprId,
    },
    /// `grad[wrt](of)` (rule R10). The head is the axes of `of`, then those of `wrt`. [`grad`](crate::grad) replaces it.
    Grad {
        of: TensorId,
        wrt: TensorId,
    },
}

/// The gradient with respect to one differentiated input.
#[derive(Debug, Clone)]
pub struct Gradient {
    pub input: TensorId,
    /// The definition that is the gradient, its head like the input's; `None` while not derived, or if it is zero
    /// everywhere by structure.
    pub tensor: Option<TensorId>,
    /// Stated in the source (rule R11).
    pub stated: Option<Stated>,
}

/// How a stated gradient was stated.
#[derive(Debug, Clone)]
pub struct Stated {
    /// The reason, if the source says that it is meant to differ from the derivative.
    pub intended: Option<Arc<str>>,
    pub span: Span,
}
