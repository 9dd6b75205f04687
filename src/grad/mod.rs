//! Differentiation of programs: symbolic, in reverse, definitions stay named.
//!
//! The derivative of a program is a program. A read `v[i1..ik]` inside `u[B...]` under reductions over `R...`, with the
//! local partial `p`, adds `sum[B, R](u_bar * p * [i1 == A1] ... [ik == Ak])` to `v_bar[A...]`. [`sweep`] collects these,
//! [`partials`] has the derivative of each operator, [`brackets`] eliminates the Iverson brackets. Gathers, recurrences,
//! sorts and `grad` itself need no rule of their own.

pub mod activity;
pub mod brackets;
mod conjunction;
pub mod hessian;
pub mod inner;
pub mod partials;
mod support;
pub mod sweep;
#[cfg(test)]
mod tests;
pub mod vector;

use crate::ir::{Program, TensorId};
use crate::rewrite::{live, name};

/// Derives the gradient with respect to every differentiated input that has none stated, into
/// [`Program::gradients`]. What the value does not depend on gets `None`: zero everywhere.
pub fn differentiate(program: &mut Program) {
    let mut definitions = live(program, &[program.value]);
    name::name_reductions(program, &mut definitions);
    let wanted: Vec<TensorId> = program
        .gradients
        .iter()
        .filter(|g| g.stated.is_none() && g.tensor.is_none())
        .map(|g| g.input)
        .collect();
    if wanted.is_empty() {
        return;
    }
    let bars = sweep::adjoints(program, program.value, &wanted);
    for gradient in &mut program.gradients {
        if wanted.contains(&gradient.input) {
            gradient.tensor = bars.get(&gradient.input).copied();
        }
    }
}
