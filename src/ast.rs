//! The syntax tree: what one `.loss` file says, with the place of everything.
//!
//! Nothing is resolved here: a name may be an input, a definition or a mistake. Chains of operators of one
//! precedence (`a + b - c`) are kept flat, so the depth of a tree is the nesting that its text shows, which the
//! parser limits; a sum of 100,000 terms is a shallow tree.

use std::sync::Arc;

/// A range of bytes in the text of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Span {
    /// Which file, see [`Sources`](crate::diagnostic::Sources).
    pub file: FileId,
    pub start: u32,
    pub end: u32,
}

impl Span {
    /// The smallest span that covers both; `other` is in the same file.
    pub fn to(self, other: Span) -> Span {
        Span {
            file: self.file,
            start: self.start.min(other.start),
            end: self.end.max(other.end),
        }
    }
}

/// Index of a file among the [`Sources`](crate::diagnostic::Sources) of a compilation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId(pub u32);

/// A name with its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Name {
    pub text: Arc<str>,
    pub span: Span,
}

/// The lines of a `///` comment, without the slashes, joined by line ends; empty if there is none.
pub type Doc = String;

/// One `.loss` file.
#[derive(Debug, Clone, PartialEq)]
pub struct File {
    pub id: FileId,
    /// Doc comments that stand before the first declaration's own, if any (the file's first `///` block belongs to
    /// the first declaration).
    pub imports: Vec<Import>,
    pub extents: Vec<Extent>,
    pub functions: Vec<Function>,
    /// At most one (rule R8).
    pub loss: Option<Loss>,
    pub examples: Vec<Example>,
}

/// `use iou, diou`: one entry for each name.
#[derive(Debug, Clone, PartialEq)]
pub struct Import {
    pub doc: Doc,
    pub name: Name,
}

/// `axis L = 2 * size(S) + 1`.
#[derive(Debug, Clone, PartialEq)]
pub struct Extent {
    pub doc: Doc,
    pub axis: Name,
    pub value: Expr,
    pub span: Span,
}

/// `def term(x, y; w = 1.0) = ... where ...`.
#[derive(Debug, Clone, PartialEq)]
pub struct Function {
    pub doc: Doc,
    pub name: Name,
    pub signature: Signature,
    pub value: Expr,
    pub bindings: Bindings,
    pub span: Span,
}

/// `loss f(...) = e gradient x = g where ...`; without signature it is the bare form of rule R6.
#[derive(Debug, Clone, PartialEq)]
pub struct Loss {
    pub doc: Doc,
    pub name: Name,
    pub signature: Option<Signature>,
    pub value: Expr,
    pub gradients: Vec<Gradient>,
    pub bindings: Bindings,
    pub span: Span,
}

/// A stated gradient (rule R11).
#[derive(Debug, Clone, PartialEq)]
pub struct Gradient {
    /// A line that begins with `intended:` says why the gradient differs from the derivative.
    pub doc: Doc,
    pub input: Name,
    pub head: Option<Vec<Name>>,
    pub value: Expr,
    pub span: Span,
}

/// Everything after `where`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Bindings {
    pub extents: Vec<Extent>,
    pub definitions: Vec<Definition>,
}

/// `alpha[B, T] = e`.
#[derive(Debug, Clone, PartialEq)]
pub struct Definition {
    pub doc: Doc,
    pub name: Name,
    pub head: Option<Vec<Name>>,
    pub value: Expr,
    pub span: Span,
}

/// `(differentiated | given; hyperparameters)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Signature {
    /// Inputs before the bar; all of them if there is no bar.
    pub inputs: Vec<Input>,
    /// Inputs after the bar.
    pub given: Vec<Input>,
    pub options: Vec<HyperParameter>,
    pub span: Span,
}

/// `target: int[N]`; without a shape it is untyped.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    pub doc: Doc,
    pub name: Name,
    pub shape: Option<Shape>,
    pub span: Span,
}

/// `int[N, 4]`; no kind is real.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    pub kind: Option<Kind>,
    pub dims: Vec<Dim>,
    pub span: Span,
}

/// `int` or `bool`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Int,
    Bool,
}

/// One position of a shape.
#[derive(Debug, Clone, PartialEq)]
pub struct Dim {
    pub kind: DimKind,
    pub span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub enum DimKind {
    Axis(Arc<str>),
    /// An unnamed position of a fixed extent.
    Constant(u64),
    /// `[*]`: the anonymous axis over all elements (rule R6).
    Star,
}

/// `delta = 1.0 in (0, inf)`.
#[derive(Debug, Clone, PartialEq)]
pub struct HyperParameter {
    pub doc: Doc,
    pub name: Name,
    /// `: int`; no kind is real. `bool` parses and is refused by the checker unless it is supported there.
    pub kind: Option<Kind>,
    pub default: Option<Literal>,
    pub domain: Option<Domain>,
    pub span: Span,
}

/// `in (0, inf)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Domain {
    pub low: Literal,
    pub low_included: bool,
    pub high: Literal,
    pub high_included: bool,
    pub span: Span,
}

/// A number or a constant, perhaps with a minus sign.
#[derive(Debug, Clone, PartialEq)]
pub struct Literal {
    pub negative: bool,
    pub value: Constant,
    pub span: Span,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Constant {
    /// A literal without point or exponent. One too large for 64 bits is an error of the parser.
    Int(i64),
    Real(f64),
    True,
    False,
    Inf,
    Pi,
}

/// `example huber(yhat = [0, 3], y = [0, 0]) == 1.25`.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    pub doc: Doc,
    pub loss: Name,
    pub settings: Vec<(Name, Value)>,
    pub expected: Expr,
    pub span: Span,
}

/// A value in an example: a number or nested lists.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Literal(Literal),
    List(Vec<Value>, Span),
}

/// An expression with its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Expr {
    pub kind: ExprKind,
    pub span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub enum ExprKind {
    Constant(Constant),
    /// A bare axis: the index that runs over it.
    Axis(Arc<str>),
    /// A read, a call or a reduction: whatever begins with a name.
    Use(Box<Use>),
    If {
        condition: Box<Expr>,
        then: Box<Expr>,
        otherwise: Box<Expr>,
    },
    Not(Box<Expr>),
    Negate(Box<Expr>),
    /// `a == b`; comparisons do not chain.
    Compare {
        op: CompareOp,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    /// `a^b`.
    Power {
        base: Box<Expr>,
        exponent: Box<Expr>,
    },
    /// Operators of one precedence, applied from left to right; `rest` is not empty.
    Chain {
        first: Box<Expr>,
        rest: Vec<(ChainOp, Expr)>,
    },
    /// `(e)`: kept so that the formatter and messages show what was written.
    Paren(Box<Expr>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompareOp {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

/// The members of one chain are of one group: {Or}, {And}, {Add, Subtract} or {Multiply, Divide}.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainOp {
    Or,
    And,
    Add,
    Subtract,
    Multiply,
    Divide,
}

/// `module.name[bracket](arguments)`: without arguments a read, with them a call (rule R1).
#[derive(Debug, Clone, PartialEq)]
pub struct Use {
    pub module: Option<Name>,
    /// `int(e)` has the name `int`.
    pub name: Name,
    pub bracket: Option<Bracket>,
    pub arguments: Option<Vec<Argument>>,
}

/// `[i, j if guard]` or `[i, j else default]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Bracket {
    pub positions: Vec<Position>,
    pub guard: Option<Expr>,
    pub default: Option<Expr>,
    pub span: Span,
}

/// One place between brackets.
#[derive(Debug, Clone, PartialEq)]
pub enum Position {
    Star(Span),
    Expr(Expr),
}

/// One argument of a call.
#[derive(Debug, Clone, PartialEq)]
pub enum Argument {
    /// `size(*)`.
    Star(Span),
    Positional(Expr),
    /// `name = value`, a hyperparameter.
    Named(Name, Expr),
}
