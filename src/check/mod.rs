//! `losscc check`: what can be wrong with a loss that its types do not show.
//!
//! The gradient is compared with finite differences of the value, both in f64 by the interpreter, on random inputs.
//! `stop_gradient` is a constant there, as it is for the gradient. The last inputs are full of zeros and ties, where a
//! gradient is easily NaN; at kinks, where there is no derivative, nothing is compared.
//! What to draw is read off the program: an int that is an index stays in the range of what it indexes, and where
//! the value is not finite for normally distributed reals, other distributions are tried (probabilities, positive
//! numbers, labels).

mod differences;
mod sample;

use crate::diagnostic::Diagnostic;
use crate::interp::{Bound, evaluate};
use crate::ir::{Program, TensorId};
pub use differences::{Comparison, Entry, compare};
pub use sample::Sampler;

/// What a check found.
#[derive(Debug, Clone, Default)]
pub struct Report {
    pub findings: Vec<Diagnostic>,
    /// Random inputs that were evaluated.
    pub samples: usize,
    /// Entries of gradients that agree with finite differences.
    pub agreeing: usize,
    /// Entries at a kink, or where rounding hides the difference.
    pub skipped: usize,
}

/// How many random inputs a check draws.
const SAMPLES: usize = 6;

/// Inputs full of zeros and ties are rounded to multiples of these.
const GRIDS: [f64; 3] = [0.5, 1.0, 2.0];

/// Compares every gradient of a derived program with finite differences.
///
/// # Errors
/// What the interpreter refuses on every input that was tried.
pub fn check(program: &Program, seed: u64) -> Result<Report, Diagnostic> {
    let mut sampler = Sampler::new(program, seed);
    let mut report = Report::default();
    let mut last_error = None;
    for _ in 0..SAMPLES {
        match sampler.draw() {
            Ok(bound) => examine(program, &bound, true, &mut report)?,
            Err(e) => last_error = Some(e),
        }
    }
    for grid in GRIDS {
        if let Some(bound) = sampler.draw_edges(grid) {
            let smooth = differences::smooth(program, &bound, &mut fastrand::Rng::with_seed(seed));
            examine(program, &bound, smooth, &mut report)?;
        }
    }
    match last_error {
        Some(e) if report.samples == 0 => Err(e),
        _ => Ok(report),
    }
}

/// Where the value is not smooth, only what is no number is a finding.
fn examine(
    program: &Program,
    bound: &Bound,
    smooth: bool,
    report: &mut Report,
) -> Result<(), Diagnostic> {
    report.samples += 1;
    for gradient in &program.gradients {
        let Some(tensor) = gradient.tensor else {
            continue;
        };
        if gradient
            .stated
            .as_ref()
            .is_some_and(|s| s.intended.is_some())
        {
            continue;
        }
        let stated = evaluate(program, bound, &[tensor])?.remove(0);
        let comparison = compare(
            program,
            bound,
            gradient.input,
            stated.reals().unwrap_or(&[]),
        )?;
        report.agreeing += comparison.agreeing;
        report.skipped += comparison.skipped;
        let first = report.findings.is_empty();
        if let Some(worst) = comparison.worst
            && first
            && (smooth || !worst.gradient.is_finite())
        {
            report
                .findings
                .push(disagreement(program, gradient.input, &worst));
        }
    }
    Ok(())
}

fn disagreement(program: &Program, input: TensorId, entry: &Entry) -> Diagnostic {
    let name = &program.get(input).name;
    let mut d = Diagnostic::error(format!(
        "the gradient of `{name}` is not the derivative of `{}`",
        program.name
    ));
    let stated = program
        .gradients
        .iter()
        .find(|g| g.input == input)
        .and_then(|g| g.stated.as_ref());
    if let Some(stated) = stated {
        d = d.at(stated.span, "stated here");
        d = d.help("if it is meant to differ, say why in a line `/// intended: ...` before it");
    } else if let Some(span) = program.get(input).span {
        d = d.at(span, "");
    }
    let at = crate::array::place(&entry.shape, entry.position);
    d.note(format!(
        "at {name}{at} = {}: the gradient says {}, finite differences {}",
        entry.at, entry.gradient, entry.difference
    ))
}
