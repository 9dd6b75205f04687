//! Finite differences: central ones, extrapolated (Richardson), with an estimate of their own error.

use crate::array::{Array, Data};
use crate::diagnostic::Diagnostic;
use crate::interp::{Bound, Held, Plan};
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
    /// What the gradient or the Hessian's diagonal says.
    pub stated: f64,
    pub difference: f64,
}

/// Relative to the largest entry of the gradient (or 1).
const TOLERANCE: f64 = 1e-6;

/// What differences are taken of.
#[derive(Debug, Clone, Copy)]
pub enum Of {
    Value,
    /// A gradient, each element with respect to the same element of its input: the Hessian's diagonal.
    Gradient(TensorId),
}

impl Of {
    fn tensor(self, program: &Program) -> TensorId {
        match self {
            Of::Value => program.value,
            Of::Gradient(tensor) => tensor,
        }
    }

    /// The number that moves with one element: the value (of rows without a reduction their sum, which the gradient is
    /// of), or this element of the gradient.
    fn number(self, computed: &Array, position: usize) -> f64 {
        let all = computed.reals().unwrap_or(&[]);
        match self {
            Of::Value => all.iter().sum(),
            Of::Gradient(_) => all.get(position).copied().unwrap_or(f64::NAN),
        }
    }
}

/// Whether the value (and a gradient) has a derivative along a random direction through all differentiated inputs.
///
/// Where it has none, derivatives along single elements may exist by chance, and be no part of a gradient: sort(x) at
/// a tie, compared with numbers below and above.
pub fn smooth(program: &Program, of: Of, bound: &Bound, rng: &mut fastrand::Rng) -> bool {
    let differentiated: Vec<bool> = program
        .inputs
        .iter()
        .map(|&i| program.gradients.iter().any(|g| g.input == i))
        .collect();
    let slots = bound.inputs.iter().zip(differentiated);
    let directions: Vec<Vec<f64>> = slots
        .map(|(a, moves)| match a.reals() {
            Some(v) if moves => v.iter().map(|_| rng.f64() - 0.5).collect(),
            _ => vec![],
        })
        .collect();
    let plan = Plan::new(program, &[of.tensor(program)]);
    let mut held = Held::Keep(Default::default());
    let Ok(centre) = plan.run(bound, &mut held) else {
        return false;
    };
    held = held.used();
    // The elements of a gradient in a random mixture.
    let weights: Vec<f64> = (0..centre[0].len()).map(|_| rng.f64() + 0.5).collect();
    let mixed = |computed: &Array| match of {
        Of::Value => of.number(computed, 0),
        Of::Gradient(_) => {
            let all = computed.reals().unwrap_or(&[]);
            all.iter().zip(&weights).map(|(x, w)| x * w).sum()
        }
    };
    let mut along = |step: f64| {
        let mut moved = bound.clone();
        for (array, direction) in moved.inputs.iter_mut().zip(&directions) {
            if let Data::Real(v) = &mut array.data {
                v.iter_mut()
                    .zip(direction)
                    .for_each(|(x, d)| *x += d * step);
            }
        }
        let computed = plan.run(&moved, &mut held);
        computed.map_or(f64::NAN, |c| mixed(&c[0]))
    };
    derivative(&mut along, 1.0, mixed(&centre[0]))
        .is_some_and(|(d, error)| error <= TOLERANCE * d.abs().max(1.0))
}

/// Compares `stated`, one number for each element of `input`, with differences of the value or of the gradient, at no more
/// than `most` of the elements.
///
/// # Errors
/// What the interpreter refuses at the inputs as they are; where only a neighbour is refused, the entry is skipped.
pub fn compare(
    program: &Program,
    bound: &Bound,
    input: TensorId,
    of: Of,
    stated: &[f64],
    most: usize,
) -> Result<Comparison, Diagnostic> {
    let slot = program.inputs.iter().position(|&i| i == input).unwrap_or(0);
    let shape = bound.shapes[slot].clone();
    let plan = Plan::new(program, &[of.tensor(program)]);
    let mut held = Held::Keep(Default::default());
    let centre = plan.run(bound, &mut held)?.remove(0);
    held = held.used();
    let scale = stated
        .iter()
        .filter(|g| g.is_finite())
        .fold(1.0f64, |m, g| m.max(g.abs()));
    let mut out = Comparison::default();
    let mut largest = 0.0;
    let mut moved = bound.clone();
    let stride = stated.len().div_ceil(most.max(1)).max(1);
    for (position, &stated) in stated.iter().enumerate().step_by(stride) {
        let at = bound.inputs[slot].reals().map_or(0.0, |v| v[position]);
        let mut along = |step: f64| {
            put(&mut moved.inputs[slot], position, at + step);
            let computed = plan.run(&moved, &mut held);
            computed.map_or(f64::NAN, |c| of.number(&c[0], position))
        };
        let difference = derivative(&mut along, at, of.number(&centre, position));
        put(&mut moved.inputs[slot], position, at);
        match difference {
            Some((difference, error)) if error <= TOLERANCE * scale => {
                // A gradient that is not finite where the derivative is, is as wrong as can be.
                let off = (difference - stated).abs();
                let off = if off.is_nan() { f64::INFINITY } else { off };
                if off <= TOLERANCE * scale + 3.0 * error {
                    out.agreeing += 1;
                } else if off > largest {
                    largest = off;
                    let shape = shape.clone();
                    out.worst = Some(Entry {
                        shape,
                        position,
                        at,
                        stated,
                        difference: readable(difference, error),
                    });
                }
            }
            _ => out.skipped += 1,
        }
    }
    Ok(out)
}

/// Without the digits that are only rounding.
fn readable(difference: f64, error: f64) -> f64 {
    if difference.abs() <= 10.0 * error {
        return 0.0;
    }
    format!("{difference:.8e}").parse().unwrap_or(difference)
}

fn put(array: &mut Array, position: usize, value: f64) {
    if let Data::Real(v) = &mut array.data {
        v[position] = value;
    }
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
