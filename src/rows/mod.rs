//! Rows (rule R12): another reduction for a loss, and weights for its rows, without touching its file.
//!
//! A value `mean[A.. if g](e)` or `sum[A.. if g](e)` has the row term e. A sign and factors without axes around it belong
//! to e; `sum[A if g](w * e) / sum[A if g](w)` is a mean as well, weighted by w. What is asked for becomes an edit of the
//! program, before anything is rewritten or differentiated: the stages that follow see an ordinary loss.

mod apart;

use crate::diagnostic::Diagnostic;
use crate::ir::print::{self, ReductionText};
use crate::ir::{
    AxisId, Body, Dim, ExprId, ExtentKind, Input, Node, Op, Program, ReduceOp, Tensor, TensorId,
    TensorKind, Type,
};
use crate::rewrite::{Substitution, instantiate, substitute};
use apart::{Divisor, Value, take};

/// How the rows of a loss become its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reduction {
    /// They do not: the value is the row term of each row, 0 where the guard leaves a row out. Its gradient is that of
    /// the rows' sum.
    None,
    /// Their sum.
    Sum,
    /// Their mean: over the rows that count, or by the sum of their weights.
    Mean,
}

impl Reduction {
    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Reduction::None => "none",
            Reduction::Sum => "sum",
            Reduction::Mean => "mean",
        }
    }
}

/// The input that row weights are given by.
pub const WEIGHT: &str = "sample_weight";

/// Another value of the same loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rows {
    /// Instead of the loss's own.
    pub reduction: Option<Reduction>,
    /// Whether each row has a weight, an input `sample_weight` over the axes of the rows.
    pub weighted: bool,
}

impl Rows {
    /// Whether the loss stays as it is written.
    pub fn is_default(self) -> bool {
        self == Rows::default()
    }
}

/// Edits the program's value; it must not be differentiated yet.
///
/// # Errors
/// A value without a row term; an input that is called as the weights are; a stated gradient, which is that of another
/// value.
pub fn edit(program: &mut Program, rows: Rows) -> Result<(), Diagnostic> {
    if rows.is_default() {
        return Ok(());
    }
    let value = take(program, rows)?;
    let own = value.reduction();
    let reduction = rows.reduction.unwrap_or(own);
    if reduction == own && !rows.weighted {
        return Ok(());
    }
    stated(program, rows)?;
    let weight = match rows.weighted {
        true => Some(weight_input(program, &value)?),
        false => None,
    };
    // Binders are the value's own: the old value may be read elsewhere.
    let axes: Vec<AxisId> = value.axes.iter().map(|&a| program.fresh(a)).collect();
    let map: Substitution = value
        .axes
        .iter()
        .zip(&axes)
        .map(|(&old, &new)| (old, program.index_of(new)))
        .collect();
    let guard = value.guard.map(|g| substitute(program, g, &map));
    let mut term = substitute(program, value.term, &map);
    let weight = weight.map(|w| program.read_at(w, &axes));
    if let Some(w) = weight {
        term = program.raw(Op::Mul, &[w, term]);
    }
    let sum = |program: &mut Program, axes: &[AxisId], guard, body| {
        program.mk(Node::Reduce {
            op: ReduceOp::Sum,
            axes: axes.into(),
            guard,
            body,
        })
    };
    let body = match reduction {
        Reduction::None => {
            let row = value.surround(program, term);
            match guard {
                Some(condition) => {
                    let otherwise = program.real(0.0);
                    program.mk(Node::If {
                        condition,
                        then: row,
                        otherwise,
                    })
                }
                None => row,
            }
        }
        Reduction::Sum => {
            let total = sum(program, &axes, guard, term);
            value.surround(program, total)
        }
        Reduction::Mean => {
            let own = match value.divisor {
                Divisor::Sum(w) => Some(substitute(program, w, &map)),
                Divisor::Nothing | Divisor::Count => None,
            };
            let by = match (weight, own) {
                (Some(w), Some(own)) => Some(program.raw(Op::Mul, &[w, own])),
                (w, own) => w.or(own),
            };
            let mean = match by {
                None => program.mk(Node::Reduce {
                    op: ReduceOp::Mean,
                    axes: axes.clone().into(),
                    guard,
                    body: term,
                }),
                Some(by) => {
                    let over = sum(program, &axes, guard, term);
                    let again: Vec<AxisId> = axes.iter().map(|&a| program.fresh(a)).collect();
                    let map: Substitution = axes
                        .iter()
                        .zip(&again)
                        .map(|(&old, &new)| (old, program.index_of(new)))
                        .collect();
                    let by = substitute(program, by, &map);
                    let guard = guard.map(|g| substitute(program, g, &map));
                    let under = sum(program, &again, guard, by);
                    program.raw(Op::Div, &[over, under])
                }
            };
            value.surround(program, mean)
        }
    };
    let span = program.get(program.value).span;
    let head = match reduction {
        Reduction::None => axes,
        Reduction::Sum | Reduction::Mean => vec![],
    };
    program.value = program.define("value", head, Type::Real, Body::Expr(body));
    program.tensors[program.value.index()].span = span;
    Ok(())
}

/// Makes the sum of the rows the value of a program without a reduction.
pub fn sum(program: &mut Program) {
    let head = program.get(program.value).head.clone();
    let axes: Vec<AxisId> = head.iter().map(|&a| program.fresh(a)).collect();
    let index: Vec<ExprId> = axes.iter().map(|&a| program.index_of(a)).collect();
    // The rows' definition goes, so their reductions need no axes of their own.
    let Some(row) = instantiate(program, program.value, &index, None) else {
        return;
    };
    let (guard, body) = match *program.node(row) {
        Node::If {
            condition,
            then,
            otherwise,
        } if program.is_number(otherwise, 0.0) => (Some(condition), then),
        _ => (None, row),
    };
    let total = program.mk(Node::Reduce {
        op: ReduceOp::Sum,
        axes: axes.into(),
        guard,
        body,
    });
    program.value = program.define("value", vec![], Type::Real, Body::Expr(total));
}

/// How the rows of an edited program become its value and by what their sum is divided, in words: `mean over N where
/// target != ignore_index, divided by the sum of sample_weight`. `None` for a value without a row term.
pub fn describe(program: &Program) -> Option<String> {
    let head = program.get(program.value).head.clone();
    let mut program = program.clone();
    if !head.is_empty() {
        let &Body::Expr(e) = program.body(program.value)? else {
            return None;
        };
        let guard = match *program.node(e) {
            Node::If {
                condition,
                otherwise,
                ..
            } if program.is_number(otherwise, 0.0) => Some(condition),
            _ => None,
        };
        let text = print::reduction(&program, &head, guard, None);
        let mut words = match text.axes.as_str() {
            "*" => "one number for each element".to_string(),
            axes => format!("one number for each {axes}"),
        };
        if let Some(g) = text.guard {
            words.push_str(&format!(", 0 unless {g}"));
        }
        if is_weighted(&program) {
            words.push_str(&format!(", times {WEIGHT}"));
        }
        return Some(words);
    }
    let value = take(&mut program, Rows::default()).ok()?;
    let by = match value.divisor {
        Divisor::Sum(w) => Some(w),
        Divisor::Nothing | Divisor::Count => None,
    };
    let ReductionText { axes, guard, body } =
        print::reduction(&program, &value.axes, value.guard, by);
    let axes = if axes == "*" { "all elements" } else { &axes };
    let mut words = format!("{} over {axes}", value.reduction().name());
    if let Some(g) = guard {
        words.push_str(&format!(" where {g}"));
    }
    match body {
        Some(w) => words.push_str(&format!(", divided by the sum of {w}")),
        None if is_weighted(&program) => words.push_str(&format!(", times {WEIGHT}")),
        None => {}
    }
    Some(words)
}

fn is_weighted(program: &Program) -> bool {
    program
        .inputs
        .iter()
        .any(|&i| *program.get(i).name == *WEIGHT && program.get(i).span.is_none())
}

/// A stated gradient is that of the value as it is written.
fn stated(program: &Program, rows: Rows) -> Result<(), Diagnostic> {
    let Some((gradient, stated)) = program
        .gradients
        .iter()
        .find_map(|g| Some((g, g.stated.as_ref()?)))
    else {
        return Ok(());
    };
    let name = &program.get(gradient.input).name;
    Err(Diagnostic::data(format!(
        "`{}` states its gradient, which does not hold with {}",
        program.name,
        asked(rows)
    ))
    .at(
        stated.span,
        format!("the gradient of `{name}` is that of the value as it is written"),
    )
    .help("write the reduction that is wanted in the file, with its gradient"))
}

/// The flags that were given.
fn asked(rows: Rows) -> String {
    let reduction = rows
        .reduction
        .map(|r| format!("`--reduction {}`", r.name()));
    let weighted = rows.weighted.then(|| "`--weighted`".to_string());
    let all: Vec<String> = reduction.into_iter().chain(weighted).collect();
    all.join(" and ")
}

/// The input `sample_weight`, over axes like those of the rows.
fn weight_input(program: &mut Program, value: &Value) -> Result<TensorId, Diagnostic> {
    let taken = |what: &str| {
        Diagnostic::data(format!("`{}` has {what} `{WEIGHT}` already", program.name))
            .note("`--weighted` adds an input of this name, which weighs the rows")
            .help("leave out `--weighted`, or give the other one another name")
    };
    if let Some(&i) = program
        .inputs
        .iter()
        .find(|&&i| *program.get(i).name == *WEIGHT)
    {
        let d = taken("an input");
        return Err(match program.get(i).span {
            Some(span) => d.at(span, ""),
            None => d,
        });
    }
    if program.params.iter().any(|p| *p.name == *WEIGHT) {
        return Err(taken("a hyperparameter"));
    }
    let head: Vec<AxisId> = value.axes.iter().map(|&a| program.fresh(a)).collect();
    let dim = |&a: &AxisId| {
        let extent = &program.extents[program.extent_of(a).index()];
        match extent.kind {
            ExtentKind::Constant(n) => Dim::Constant(n),
            ExtentKind::Input | ExtentKind::Declared(_) => Dim::Named(extent.name.clone()),
        }
    };
    let shape: Vec<Dim> = head.iter().map(dim).collect();
    let untyped = shape == [Dim::Named("*".into())];
    let input = program.tensor(Tensor {
        name: WEIGHT.into(),
        ty: Type::Real,
        head,
        kind: TensorKind::Input(Input {
            differentiated: false,
            shape: (!untyped).then_some(shape),
            doc: "Weight of each row.".into(),
        }),
        named: true,
        span: None,
    });
    program.inputs.push(input);
    Ok(input)
}
