//! Takes the value of a loss apart: the reduction over the rows, and what stands around it.

use super::{Reduction, Rows, asked};
use crate::diagnostic::Diagnostic;
use crate::ir::{AxisId, Body, ExprId, Node, Op, Program, ReduceOp};
use crate::rewrite::equal::Pool;
use crate::rewrite::{Substitution, index, instantiate, substitute};
use rustc_hash::FxHashSet;

/// A value with a row term: what is around of (the sum or mean over `axes` of `term` where `guard`).
pub(super) struct Value {
    pub(super) axes: Vec<AxisId>,
    pub(super) guard: Option<ExprId>,
    pub(super) term: ExprId,
    pub(super) divisor: Divisor,
    /// Innermost first.
    around: Vec<Around>,
}

/// What the sum over the rows is divided by.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Divisor {
    Nothing,
    /// The number of rows that the guard lets through.
    Count,
    /// The sum over the same rows of this, which is over the axes of the rows.
    Sum(ExprId),
}

#[derive(Clone, Copy)]
enum Around {
    Minus,
    Times(ExprId),
    Over(ExprId),
    /// A sum of ints.
    ToReal,
}

impl Value {
    pub(super) fn reduction(&self) -> Reduction {
        match self.divisor {
            Divisor::Nothing => Reduction::Sum,
            Divisor::Count | Divisor::Sum(_) => Reduction::Mean,
        }
    }

    /// Puts the sign and the factors back.
    pub(super) fn surround(&self, program: &mut Program, e: ExprId) -> ExprId {
        self.around.iter().fold(e, |e, around| match *around {
            Around::Minus => program.raw(Op::Neg, &[e]),
            Around::Times(factor) => program.raw(Op::Mul, &[factor, e]),
            Around::Over(divisor) => program.raw(Op::Div, &[e, divisor]),
            Around::ToReal => e,
        })
    }
}

/// Why a value has no row term: what it is instead, and where.
struct Other {
    at: ExprId,
    what: String,
}

/// Takes the value of a program apart.
pub(super) fn take(program: &mut Program, rows: Rows) -> Result<Value, Diagnostic> {
    let value = program.value;
    let Some(&Body::Expr(root)) = program.body(value) else {
        return Err(Diagnostic::data("the value is no expression"));
    };
    let taken = apart(program, root).and_then(|v| with_sizes(program, v, root));
    taken.map_err(|other| {
        let span = program.span(other.at).or(program.get(value).span);
        let mut d = Diagnostic::data(format!(
            "`{}` has no row term, so it takes no {}",
            program.name,
            asked(rows)
        ));
        if let Some(span) = span {
            d = d.at(span, other.what);
        }
        d.note("the row term of `mean[N](e)` and of `sum[N](e)` is e; a sign or a factor without axes may stand around")
    })
}

/// Looks through signs, factors and names for the reduction over the rows.
fn apart(program: &mut Program, root: ExprId) -> Result<Value, Other> {
    let mut around = vec![];
    let mut e = root;
    loop {
        let other = |what: &str| {
            Err(Other {
                at: e,
                what: what.into(),
            })
        };
        e = match program.node(e).clone() {
            Node::Reduce {
                op: op @ (ReduceOp::Sum | ReduceOp::Mean),
                axes,
                guard,
                body,
            } => {
                around.reverse();
                let divisor = match op {
                    ReduceOp::Mean => Divisor::Count,
                    _ => Divisor::Nothing,
                };
                return Ok(Value {
                    axes: axes.to_vec(),
                    guard,
                    term: body,
                    divisor,
                    around,
                });
            }
            Node::Reduce { op, .. } => {
                return other(&format!("the value is a `{}`", op.name()));
            }
            Node::Read {
                tensor, ref index, ..
            } => match program.body(tensor) {
                Some(&Body::Expr(body)) if index.is_empty() => body,
                Some(_) if index.is_empty() => return other("the value is an inner gradient"),
                Some(_) => return other("the value is one element"),
                None => return other("the value is an input"),
            },
            Node::Op(Op::Neg, o) => {
                around.push(Around::Minus);
                o[0]
            }
            Node::Op(Op::ToReal, o) => {
                around.push(Around::ToReal);
                o[0]
            }
            Node::Op(Op::Mul, o) => {
                let (factor, rest) = match (is_factor(program, o[0]), is_factor(program, o[1])) {
                    (true, false) => (o[0], o[1]),
                    (false, true) => (o[1], o[0]),
                    (true, true) => return other("the value has no reduction"),
                    (false, false) => return other("the value is a product of reductions"),
                };
                around.push(Around::Times(factor));
                rest
            }
            Node::Op(Op::Div, o) if is_factor(program, o[1]) => {
                around.push(Around::Over(o[1]));
                o[0]
            }
            Node::Op(Op::Div, o) => {
                around.reverse();
                return quotient(program, e, o[0], o[1], around);
            }
            Node::Op(Op::Add | Op::Sub, o) => {
                let one = o.iter().any(|&x| is_factor(program, x));
                return other(match one {
                    true => "the value is a sum, not of rows alone",
                    false => "the value is a sum of reductions",
                });
            }
            Node::Op(Op::Pow, _) => return other("the value is a power"),
            Node::Op(op, _) => return other(&format!("the value is a `{}`", op.name())),
            Node::If { .. } => return other("the value is an `if`"),
            Node::Real(_)
            | Node::Int(_)
            | Node::Bool(_)
            | Node::Size(_)
            | Node::Param(_)
            | Node::Axis(_) => {
                return other("the value is the same for all data");
            }
        };
    }
}

/// `sum[A if g](w * e) / sum[A if g](w)`, and with the count of the rows below: means.
fn quotient(
    program: &mut Program,
    e: ExprId,
    over: ExprId,
    under: ExprId,
    mut around: Vec<Around>,
) -> Result<Value, Other> {
    let mut value = apart(program, over)?;
    let other = Other {
        at: e,
        what: "the value is a quotient of reductions, and no weighted mean".into(),
    };
    let under = named(program, under);
    let Node::Reduce {
        op,
        axes,
        guard,
        body,
    } = program.node(under).clone()
    else {
        return Err(other);
    };
    let mut pool = Pool::default();
    let mut same = |program: &mut Program, a: Option<ExprId>, b: Option<ExprId>| match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => {
            pool.canonical(program, a, &value.axes) == pool.canonical(program, b, &axes)
        }
        _ => false,
    };
    let paired = value.axes.iter().zip(&axes);
    let fits = value.divisor == Divisor::Nothing
        && value.axes.len() == axes.len()
        && paired.fold(true, |fits, (&a, &b)| {
            let (a, b) = (program.extent_of(a), program.extent_of(b));
            fits && index::same_extent(program, a, b)
        });
    if !fits {
        return Err(other);
    }
    let always = program.truth(body) == Some(true);
    let divisor = match op {
        // `count[N](c)` counts where c is true, as `count[N if c](true)` does.
        ReduceOp::Count if guard.is_none() && same(program, value.guard, Some(body)) => {
            Divisor::Count
        }
        ReduceOp::Count if always && same(program, value.guard, guard) => Divisor::Count,
        ReduceOp::Sum if same(program, value.guard, guard) => {
            let factors = factors(program, body);
            let mut of_term = factors_of_term(program, value.term);
            let all = factors.iter().all(|&w| {
                let found = of_term
                    .iter()
                    .position(|&f| same(program, Some(f), Some(w)));
                found.map(|k| of_term.swap_remove(k)).is_some()
            });
            if !all {
                return Err(other);
            }
            let map: Substitution = axes
                .iter()
                .zip(&value.axes)
                .map(|(&old, &new)| (old, program.index_of(new)))
                .collect();
            match program.is_number(body, 1.0) {
                true => Divisor::Count,
                false => Divisor::Sum(substitute(program, body, &map)),
            }
        }
        _ => return Err(other),
    };
    value.divisor = divisor;
    value.around.append(&mut around);
    Ok(value)
}

/// What a name without axes stands for, and an int that became real.
fn named(program: &Program, e: ExprId) -> ExprId {
    let mut e = e;
    loop {
        e = match program.node(e) {
            Node::Op(Op::ToReal, o) => o[0],
            Node::Read { tensor, index, .. } if index.is_empty() => match program.body(*tensor) {
                Some(&Body::Expr(body)) => body,
                _ => return e,
            },
            _ => return e,
        };
    }
}

/// The factors of a product; 1 has none.
fn factors(program: &Program, e: ExprId) -> Vec<ExprId> {
    let (mut out, mut stack) = (vec![], vec![e]);
    while let Some(e) = stack.pop() {
        match program.node(e) {
            Node::Op(Op::Mul, o) => stack.extend(o.iter()),
            _ if program.is_number(e, 1.0) => {}
            _ => out.push(e),
        }
    }
    out
}

/// How many names a product may be made of.
const NAMES: usize = 16;

/// The factors of a row term, also where it is a name for a product.
fn factors_of_term(program: &mut Program, e: ExprId) -> Vec<ExprId> {
    let mut out = vec![];
    let mut stack = vec![e];
    let mut budget = NAMES;
    while let Some(e) = stack.pop() {
        match program.node(e).clone() {
            Node::Op(Op::Mul, o) => stack.extend(o.iter()),
            Node::Op(Op::Neg | Op::ToReal, o) => stack.push(o[0]),
            Node::Op(Op::Div, o) => stack.push(o[0]),
            Node::Read {
                tensor,
                index,
                default: None,
            } if budget > 0 => {
                budget -= 1;
                out.push(e);
                stack.extend(
                    instantiate(program, tensor, &index, program.span(e))
                        .filter(|_| program.body(tensor).is_some()),
                );
            }
            _ => out.push(e),
        }
    }
    out
}

/// Whether an expression without axes has no reduction in it, also by name: a number for all rows alike.
fn is_factor(program: &Program, e: ExprId) -> bool {
    let (mut stack, mut seen) = (vec![e], FxHashSet::default());
    while let Some(e) = stack.pop() {
        if !seen.insert(e) {
            continue;
        }
        match program.node(e) {
            Node::Reduce { .. } => return false,
            Node::Read { tensor, .. } => match program.body(*tensor) {
                Some(&Body::Expr(body)) => stack.push(body),
                Some(Body::Argsort { .. } | Body::Grad { .. }) => return false,
                None => {}
            },
            _ => {}
        }
        program.for_children(e, |c| stack.push(c));
    }
    true
}

/// `sum[N](e) / size(N)` is a mean; any other factor with the size of the rows makes neither a sum nor a mean of them.
fn with_sizes(program: &mut Program, mut value: Value, root: ExprId) -> Result<Value, Other> {
    let extents: Vec<_> = value.axes.iter().map(|&a| program.extent_of(a)).collect();
    let mut kept = vec![];
    for around in std::mem::take(&mut value.around) {
        let (Around::Times(e) | Around::Over(e)) = around else {
            kept.push(around);
            continue;
        };
        let mut missing = extents.clone();
        let mut only_sizes = value.guard.is_none() && value.divisor == Divisor::Nothing;
        let leaves: Vec<ExprId> = factors(program, e)
            .into_iter()
            .flat_map(|f| factors(program, named(program, f)))
            .collect();
        for leaf in leaves {
            let found = match program.node(leaf) {
                &Node::Size(s) => missing
                    .iter()
                    .position(|&m| index::same_extent(program, m, s)),
                _ => None,
            };
            match found {
                Some(k) => drop(missing.swap_remove(k)),
                None => only_sizes = false,
            }
        }
        if only_sizes && missing.is_empty() && matches!(around, Around::Over(_)) {
            value.divisor = Divisor::Count;
            continue;
        }
        for x in program.reachable(&[e]) {
            let &Node::Size(s) = program.node(x) else {
                continue;
            };
            if extents.iter().any(|&m| index::same_extent(program, m, s)) {
                return Err(Other {
                    at: root,
                    what: "the number of rows is a factor".into(),
                });
            }
        }
        kept.push(around);
    }
    value.around = kept;
    Ok(value)
}
