//! The order of the stages. No other file knows it.
//!
//! ```text
//! text -> ast -> ir -> rows -> stabilize -> differentiate -> stabilize -> simplify -> loops -> machine code
//! ```
//!
//! In debug builds the verifiers run after each stage, so that a bug is reported by the stage that made it.

use crate::diagnostic::{Class, Diagnostic};
use crate::grad::{self, hessian, inner, vector};
use crate::ir::{self, Body, Program, TensorId};
use crate::loops::{self, Loops, Wanted};
use crate::rewrite::live;
use crate::rewrite::simplify::simplify;
use crate::rewrite::stabilize::{Applied, Phase, stabilize};
use crate::rows::{self, Rows};
use std::borrow::Cow;

pub use crate::stack::with_stack;

/// What [`derive()`] makes.
pub struct Derived {
    pub program: Program,
    /// How the rows become the value, in words; `None` for a value without a row term.
    pub reduction: Option<String>,
    /// The rewrites that made the formula stable.
    pub rewrites: Vec<Applied>,
}

/// The same loss with another reduction of its rows.
///
/// # Errors
/// What `rows` asks for and the value does not have.
pub fn reduced(written: &Program, rows: Rows) -> Result<Program, Diagnostic> {
    with_stack(|| {
        let mut program = written.clone();
        rows::edit(&mut program, rows)?;
        verify(&program, "editing the reduction")?;
        Ok(program)
    })
}

/// Makes a program's value stable and derives its gradients.
///
/// # Errors
/// None so far: every loss that passes the checks has a gradient, if only zero.
pub fn derive(mut program: Program) -> Result<Derived, Diagnostic> {
    with_stack(|| {
        let reduction = rows::describe(&program);
        // With the gradients that the source states.
        let value = program.outputs();
        let mut rewrites = expand(&mut program, &value)?;
        verify(&program, "expanding inner gradients")?;
        rewrites.extend(stabilize(&mut program, Phase::Before));
        verify(&program, "stabilizing the value")?;
        simplify(&mut program, &value);
        verify(&program, "simplifying the value")?;
        grad::differentiate(&mut program);
        verify(&program, "differentiation")?;
        stabilize(&mut program, Phase::After);
        verify(&program, "stabilizing the gradient")?;
        let outputs = program.outputs();
        simplify(&mut program, &outputs);
        verify(&program, "simplifying the gradient")?;
        Ok(Derived {
            program,
            reduction,
            rewrites,
        })
    })
}

/// Derives inner gradients, from stable forms where they are by inputs. A stable form may no longer read a definition that
/// it was written with, so where that is what is differentiated by, the forms stay until the gradient is derived.
fn expand(program: &mut Program, outputs: &[TensorId]) -> Result<Vec<Applied>, Diagnostic> {
    let live = live(program, outputs);
    let mut by = live.iter().filter_map(|&t| match program.body(t) {
        Some(Body::Grad { wrt, .. }) => Some(*wrt),
        _ => None,
    });
    let first = by.next();
    let inputs = |t: TensorId| program.body(t).is_none();
    let rewrites = match first {
        Some(wrt) if inputs(wrt) && by.all(inputs) => stabilize(program, Phase::Before),
        _ => vec![],
    };
    inner::expand(program, outputs)?;
    Ok(rewrites)
}

/// The program with one number for a value: the sum of the rows where there are several.
pub fn as_number(program: &Program) -> Cow<'_, Program> {
    if program.get(program.value).head.is_empty() {
        return Cow::Borrowed(program);
    }
    let mut program = program.clone();
    rows::sum(&mut program);
    Cow::Owned(program)
}

/// Makes a value ready to be evaluated without its gradients: inner gradients expanded, textbook forms stable.
///
/// # Errors
/// Inner gradients that are too large.
pub fn prepare(program: &mut Program) -> Result<(), Diagnostic> {
    with_stack(|| {
        let value = [program.value];
        expand(program, &value)?;
        stabilize(program, Phase::Before);
        Ok(())
    })
}

/// Replaces each gradient by the Hessian's diagonal; with notes on what the diagonal does not show.
///
/// # Errors
/// Where the diagonal needs loops over more axes than value and gradient do.
pub fn hessian_diagonal(
    mut program: Program,
    wanted: &[TensorId],
) -> Result<(Program, Vec<Diagnostic>), Diagnostic> {
    with_stack(|| {
        let mut notes = vec![];
        let mut diagonals = vec![];
        for gradient in program.gradients.clone() {
            if !wanted.contains(&gradient.input) {
                continue;
            }
            let name = program.get(gradient.input).name.clone();
            let Some(diagonal) = hessian::diagonal(&mut program, gradient.input) else {
                continue;
            };
            if diagonal.extra_axes > 0 {
                let title = format!("the Hessian's diagonal of `{name}` needs an extra axis");
                return Err(Diagnostic::error(title)
                    .note("it takes the second derivative of an inner vector, which has one element for each pair"));
            }
            if diagonal.other_entries {
                let title = format!(
                    "the Hessian of `{}` has entries off its diagonal in `{name}`",
                    program.name
                );
                let mut note = Diagnostic::warning(title);
                note.severity = crate::diagnostic::Severity::Note;
                notes.push(note);
            }
            diagonals.push((gradient.input, diagonal.tensor));
        }
        program.gradients.retain(|g| wanted.contains(&g.input));
        for gradient in &mut program.gradients {
            if let Some((_, tensor)) = diagonals.iter().find(|(i, _)| *i == gradient.input) {
                gradient.tensor = *tensor;
                gradient.stated = None;
            }
        }
        let outputs = program.outputs();
        simplify(&mut program, &outputs);
        verify(&program, "the second derivative")?;
        Ok((program, notes))
    })
}

/// Replaces each gradient by the Hessian's product with a vector, a new input for each of `wanted`.
///
/// # Errors
/// A bug, if a pass breaks the program.
pub fn hessian_vector(mut program: Program, wanted: &[TensorId]) -> Result<Program, Diagnostic> {
    with_stack(|| {
        vector::products(&mut program, wanted);
        verify(&program, "differentiating again")?;
        stabilize(&mut program, Phase::After);
        verify(&program, "stabilizing the second derivative")?;
        let outputs = program.outputs();
        simplify(&mut program, &outputs);
        verify(&program, "simplifying the second derivative")?;
        Ok(program)
    })
}

/// The loops of one kernel: the value, and the gradients with respect to `wanted`.
///
/// # Errors
/// What is not compiled yet, by name.
pub fn schedule(program: &Program, wanted: Vec<TensorId>) -> Result<Loops, Diagnostic> {
    let wanted = Wanted {
        value: true,
        gradients: wanted,
    };
    with_stack(|| loops::schedule(program, &wanted))
}

/// Checks what a stage made, in debug builds.
fn verify(program: &Program, stage: &str) -> Result<(), Diagnostic> {
    if cfg!(debug_assertions)
        && let Err(what) = ir::verify::verify(program)
    {
        let mut bug = Diagnostic::error(format!("{stage} made a broken program"));
        bug.class = Class::Bug;
        return Err(bug.note(what));
    }
    Ok(())
}
