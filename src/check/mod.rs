//! `losscc check`: what can be wrong with a loss that its types do not show.
//!
//! The gradient is compared with finite differences of the value and the Hessian's diagonal with those of the gradient,
//! in f64 by the interpreter, on random inputs. `stop_gradient` is a constant there, as it is for the gradient. The last
//! inputs are full of zeros and ties, where a gradient is easily NaN; at kinks, where there is no derivative, nothing is
//! compared. What to draw is read off the program: an int that is an index stays in the range of what it indexes, and
//! where the value is not finite for normally distributed reals, other distributions are tried (probabilities, positive
//! numbers, labels). `probe` then looks at the borders of where the value is finite.

mod differences;
mod probe;
mod sample;

use crate::compile;
use crate::diagnostic::Diagnostic;
use crate::interp::{Bound, evaluate};
use crate::ir::{Program, TensorId};
pub use differences::{Comparison, Entry, Of, compare, smooth};
pub use sample::Sampler;

/// What a check found.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Derivatives that are wrong.
    pub findings: Vec<Diagnostic>,
    /// What is not wrong, but good to know: warnings and notes.
    pub notes: Vec<Diagnostic>,
    /// Random inputs that were evaluated.
    pub samples: usize,
    /// Entries of gradients that agree with finite differences.
    pub agreeing: usize,
    /// Entries at a kink, or where rounding hides the difference.
    pub skipped: usize,
    /// Entries of the Hessian's diagonal that agree with finite differences of the gradient.
    pub second: usize,
    /// The least and the largest value that was seen.
    pub range: Option<(f64, f64)>,
}

/// How many random inputs a check draws; at how many of them the second derivatives are compared, and at how many of an
/// input's elements.
const SAMPLES: usize = 6;
const SECOND: usize = 2;
const ELEMENTS: usize = 8;

/// Inputs full of zeros and ties are rounded to multiples of these.
const GRIDS: [f64; 3] = [0.5, 1.0, 2.0];

/// Compares every gradient of a derived program with finite differences, and looks where it is not finite.
///
/// # Errors
/// What the interpreter refuses on every input that was tried.
pub fn check(program: &Program, seed: u64) -> Result<Report, Diagnostic> {
    let mut sampler = Sampler::new(program, seed);
    let mut checker = Checker {
        program,
        diagonals: diagonals(program),
        moves: vec![false; program.gradients.len()],
        report: Report::default(),
    };
    let mut last_error = None;
    let mut first = None;
    for k in 0..SAMPLES {
        match sampler.draw() {
            Ok(bound) => {
                checker.examine(&bound, true)?;
                if k < SECOND {
                    checker.second(&bound)?;
                }
                first.get_or_insert(bound);
            }
            Err(e) => last_error = Some(e),
        }
    }
    for grid in GRIDS {
        if let Some(bound) = sampler.draw_edges(grid) {
            let mut rng = fastrand::Rng::with_seed(seed);
            let smooth = differences::smooth(program, Of::Value, &bound, &mut rng);
            checker.examine(&bound, smooth)?;
            let smooth = smooth
                && checker.diagonals.iter().all(|d| {
                    differences::smooth(program, Of::Gradient(d.gradient), &bound, &mut rng)
                });
            if smooth {
                checker.second(&bound)?;
            }
        }
    }
    checker.unmoved();
    let mut report = checker.report;
    if let Some(bound) = first
        && report.findings.is_empty()
    {
        report
            .notes
            .append(&mut probe::probe(program, &bound, seed));
    }
    match last_error {
        Some(e) if report.samples == 0 => Err(e),
        _ => Ok(report),
    }
}

/// The Hessian's diagonal with respect to one input.
struct Diagonal {
    input: TensorId,
    gradient: TensorId,
    /// The program that has it as the gradient.
    program: Program,
}

/// The diagonals that exist: some need an extra axis.
fn diagonals(program: &Program) -> Vec<Diagonal> {
    let of = |g: &crate::ir::Gradient| {
        let gradient = g.tensor.filter(|_| g.stated.is_none())?;
        let (program, _) = compile::hessian_diagonal(program.clone(), &[g.input]).ok()?;
        Some(Diagonal {
            input: g.input,
            gradient,
            program,
        })
    };
    program.gradients.iter().filter_map(of).collect()
}

struct Checker<'a> {
    program: &'a Program,
    diagonals: Vec<Diagonal>,
    /// For each gradient, whether it was other than 0 somewhere.
    moves: Vec<bool>,
    report: Report,
}

impl Checker<'_> {
    /// The gradients at one input. Where the value is not smooth, only what is no number is a finding.
    fn examine(&mut self, bound: &Bound, smooth: bool) -> Result<(), Diagnostic> {
        let program = self.program;
        self.report.samples += 1;
        let value = evaluate(program, bound, &[program.value])?.remove(0);
        for &v in value.reals().unwrap_or(&[]) {
            let (least, largest) = self.report.range.unwrap_or((v, v));
            self.report.range = Some((least.min(v), largest.max(v)));
        }
        for (k, gradient) in program.gradients.iter().enumerate() {
            let Some(tensor) = gradient.tensor else {
                continue;
            };
            let stated = evaluate(program, bound, &[tensor])?.remove(0);
            let stated = stated.reals().unwrap_or(&[]);
            self.moves[k] |= stated.iter().any(|&x| x != 0.0);
            let intended = gradient.stated.as_ref().and_then(|s| s.intended.as_ref());
            if intended.is_some() {
                continue;
            }
            let compared = compare(
                program,
                bound,
                gradient.input,
                Of::Value,
                stated,
                usize::MAX,
            )?;
            self.report.agreeing += compared.agreeing;
            self.report.skipped += compared.skipped;
            if let Some(worst) = compared.worst
                && self.report.findings.is_empty()
                && (smooth || !worst.stated.is_finite())
            {
                let finding = disagreement(program, bound, gradient.input, Of::Value, &worst);
                self.report.findings.push(finding);
            }
        }
        Ok(())
    }

    /// The Hessian's diagonals at one input.
    fn second(&mut self, bound: &Bound) -> Result<(), Diagnostic> {
        for d in &self.diagonals {
            let found = d.program.gradients.iter().find(|g| g.input == d.input);
            let tensors: Vec<TensorId> = found.and_then(|g| g.tensor).into_iter().collect();
            let slot = self.program.inputs.iter().position(|&i| i == d.input);
            // Without a definition the diagonal is zero everywhere.
            let stated = match evaluate(&d.program, bound, &tensors)?.pop() {
                Some(array) => array.reals().unwrap_or(&[]).to_vec(),
                None => vec![0.0; slot.map_or(0, |k| bound.inputs[k].len())],
            };
            let of = Of::Gradient(d.gradient);
            let compared = compare(self.program, bound, d.input, of, &stated, ELEMENTS)?;
            self.report.second += compared.agreeing;
            if let Some(worst) = compared.worst
                && self.report.findings.is_empty()
            {
                let finding = disagreement(self.program, bound, d.input, of, &worst);
                self.report.findings.push(finding);
            }
        }
        Ok(())
    }

    /// Inputs whose gradient was 0 wherever it was looked at, where others' was not.
    fn unmoved(&mut self) {
        if self.report.samples == 0 || !self.moves.contains(&true) {
            return;
        }
        for (gradient, _) in self
            .program
            .gradients
            .iter()
            .zip(&self.moves)
            .filter(|(_, m)| !**m)
        {
            let input = self.program.get(gradient.input);
            let samples = self.report.samples;
            let title = format!(
                "the gradient of `{}` is 0 at all of {samples} inputs",
                input.name
            );
            let mut d = Diagnostic::warning(title);
            d.labels.extend(input.span.map(|s| (s, String::new())));
            let given = "if it is not to be learned, declare it after the bar: `(yhat | y)`";
            self.report.notes.push(d.help(given));
        }
    }
}

fn disagreement(
    program: &Program,
    bound: &Bound,
    input: TensorId,
    of: Of,
    entry: &Entry,
) -> Diagnostic {
    let name = &program.get(input).name;
    let title = match of {
        Of::Value => format!(
            "the gradient of `{name}` is not the derivative of `{}`",
            program.name
        ),
        Of::Gradient(_) => {
            format!("the Hessian's diagonal in `{name}` is not the derivative of its gradient")
        }
    };
    let mut d = Diagnostic::error(title);
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
    let what = match of {
        Of::Value => "gradient",
        Of::Gradient(_) => "diagonal",
    };
    let d = d.note(format!(
        "at {name}{at} = {}: the {what} says {}, finite differences {}",
        entry.at, entry.stated, entry.difference
    ));
    match moved(program, bound) {
        settings if settings.is_empty() => d,
        settings => d.note(format!("with {}", settings.join(", "))),
    }
}

/// The hyperparameters that are not at their defaults.
fn moved(program: &Program, bound: &Bound) -> Vec<String> {
    let values = bound.params.iter().map(|v| v.real());
    let pairs = program.params.iter().zip(values);
    let moved = pairs.filter(|(p, v)| p.default != Some(*v));
    moved.map(|(p, v)| format!("{} = {v}", p.name)).collect()
}
