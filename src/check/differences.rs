//! Finite differences: central ones, extrapolated (Richardson), with an estimate of their own error.

use crate::array::{Array, Data};
use crate::diagnostic::Diagnostic;
use crate::interp::{Bound, evaluate};
use crate::ir::{Program, TensorId};

/// How a gradient compares with finite differences.
#[derive(Debug, Clone, Default)]
pub struct Comparison {
    pub agreeing: usize,
    /// Entries where the differences do not settle: kinks, steps, rounding.
    pub skipped: usize,
    /// The entry that disagrees most.
    pub worst: Option<Entry>,
}

/// One entry of a gradient.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Shape of the input, and position in row-major order.
    pub shape: Vec<usize>,
    pub position: usize,
    /// The input's value there.
    pub at: f64,
    pub gradient: f64,
    pub difference: f64,
}

/// Relative to the largest entry of the gradient (or 1).
const TOLERANCE: f64 = 1e-6;

/// Compares `gradient`, one number for each element of `input`, with differences of the program's value.
///
/// # Errors
/// What the interpreter refuses at the inputs as they are; where only a neighbour is refused, the entry is skipped.
pub fn compare(
    program: &Program,
    bound: &Bound,
    input: TensorId,
    gradient: &[f64],
) -> Result<Comparison, Diagnostic> {
    let slot = program.inputs.iter().position(|&i| i == input).unwrap_or(0);
    let shape = bound.shapes[slot].clone();
    let centre = value(program, bound)?;
    let scale = gradient
        .iter()
        .filter(|g| g.is_finite())
        .fold(1.0f64, |m, g| m.max(g.abs()));
    let mut out = Comparison::default();
    let mut largest = 0.0;
    for (position, &stated) in gradient.iter().enumerate() {
        let mut moved = bound.clone();
        let at = bound.inputs[slot].reals().map_or(0.0, |v| v[position]);
        let mut along = |step: f64| {
            if let Array {
                data: Data::Real(v),
                ..
            } = &mut moved.inputs[slot]
            {
                v[position] = at + step;
            }
            value(program, &moved).unwrap_or(f64::NAN)
        };
        match derivative(&mut along, at, centre) {
            Some((difference, error)) if error <= TOLERANCE * scale && stated.is_finite() => {
                let off = (difference - stated).abs();
                if off <= TOLERANCE * scale + 3.0 * error {
                    out.agreeing += 1;
                } else if off > largest {
                    largest = off;
                    let shape = shape.clone();
                    out.worst = Some(Entry {
                        shape,
                        position,
                        at,
                        gradient: stated,
                        difference,
                    });
                }
            }
            _ => out.skipped += 1,
        }
    }
    Ok(out)
}

fn value(program: &Program, bound: &Bound) -> Result<f64, Diagnostic> {
    let array = evaluate(program, bound, &[program.value])?.remove(0);
    Ok(array
        .reals()
        .and_then(|v| v.first().copied())
        .unwrap_or(f64::NAN))
}

/// The derivative at `x` and an estimate of its error; `None` if the two sides differ (a kink) or a value is not
/// finite.
fn derivative(f: &mut impl FnMut(f64) -> f64, x: f64, centre: f64) -> Option<(f64, f64)> {
    let h = 1e-3 * x.abs().max(1.0);
    let steps: Vec<(f64, f64)> = [h, h / 2.0, h / 4.0]
        .iter()
        .map(|&s| (f(s), f(-s)))
        .collect();
    let central = |k: usize| (steps[k].0 - steps[k].1) / (2.0 * h / f64::from(1 << k));
    let first = |a: f64, b: f64| (4.0 * b - a) / 3.0;
    let (r1, r2) = (first(central(0), central(1)), first(central(1), central(2)));
    let best = (16.0 * r2 - r1) / 15.0;
    let s = h / 4.0;
    let (right, left) = ((steps[2].0 - centre) / s, (centre - steps[2].1) / s);
    // A smooth function's one-sided slopes differ by about its curvature times the step, which halves with it.
    let (wide_right, wide_left) = ((steps[0].0 - centre) / h, (centre - steps[0].1) / h);
    let (near, far) = ((right - left).abs(), (wide_right - wide_left).abs());
    let rounding = 8.0 * f64::EPSILON * centre.abs().max(steps[2].0.abs()) / s;
    let kink = near > 0.6 * far + 4.0 * rounding + 1e-9 * best.abs();
    if kink || !best.is_finite() {
        return None;
    }
    Some((best, (r2 - r1).abs() + rounding))
}

#[cfg(test)]
mod tests {
    use super::derivative;

    #[test]
    fn smooth_functions_have_derivatives_and_kinks_have_none() {
        for (f, x, expected) in [
            (f64::exp as fn(f64) -> f64, 1.0, 1f64.exp()),
            (f64::sin, 20.0, 20f64.cos()),
            (|x| x * x, 0.0, 0.0),
            (|_| 3.0, 0.5, 0.0),
        ] {
            let (d, e) = derivative(&mut |s| f(x + s), x, f(x)).unwrap();
            assert!((d - expected).abs() < 1e-8, "{d} {expected} {e}");
        }
        assert!(derivative(&mut |s| s.abs(), 0.0, 0.0).is_none());
        assert!(derivative(&mut |s| (1e-4 + s).abs(), 1e-4, 1e-4).is_none());
        assert!(derivative(&mut |s| (s - 1e-4).ln(), 0.0, f64::NAN).is_none());
    }
}
