//! The borders of where a loss is finite: inputs with zeros and ties, masks that are false everywhere, large numbers.
//!
//! Each probe changes one thing of an input at which all is well. Where value or gradient is no number afterwards, or has
//! no derivative, the operator that met its singular place is named, with its place in the source.

use super::differences::{self, Of};
use crate::array::{Array, Data, place};
use crate::ast::Span;
use crate::diagnostic::{Diagnostic, Severity};
use crate::interp::{Bound, Plan, Singular, Watch, evaluate};
use crate::ir::{Body, ExprId, Node, Op, Program, ReduceOp, TensorId, TensorKind, Type};
use crate::rewrite::live;
use rustc_hash::FxHashSet;

/// An input that was changed, and how, in words.
struct Probe {
    bound: Bound,
    words: String,
    /// Whether it may leave out rows: a mask or an index was changed.
    leaves_out: bool,
}

/// Large enough for exp to overflow.
const LARGE: f64 = 1e3;

/// What is seen at the borders around `bound`.
pub(super) fn probe(program: &Program, bound: &Bound, seed: u64) -> Vec<Diagnostic> {
    let mut found: Vec<(Option<ExprId>, Diagnostic)> = vec![];
    let own = own_reduction(program);
    for probe in probes(program, bound) {
        let Some((cause, d)) = look(program, &probe, &own, seed) else {
            continue;
        };
        if !found
            .iter()
            .any(|(c, other)| *c == cause && other.title == d.title)
        {
            found.push((cause, d));
        }
    }
    found.into_iter().map(|(_, d)| d).collect()
}

fn probes(program: &Program, bound: &Bound) -> Vec<Probe> {
    let mut out = vec![];
    let mut change = |slot: usize, words: String, f: &dyn Fn(&mut Array)| {
        let mut bound = bound.clone();
        f(&mut bound.inputs[slot]);
        let leaves_out = bound.inputs[slot].reals().is_none();
        out.push(Probe {
            bound,
            words,
            leaves_out,
        });
    };
    for (slot, &input) in program.inputs.iter().enumerate() {
        let (name, array) = (&program.get(input).name, &bound.inputs[slot]);
        if array.is_empty() {
            continue;
        }
        match &array.data {
            Data::Real(reals) => {
                let first = place(&bound.shapes[slot], 0);
                let set = |v: f64| move |a: &mut Array| fill(a, |_, _| v);
                change(slot, format!("{name}{first} = 0"), &|a| {
                    fill(a, |k, x| if k == 0 { 0.0 } else { x })
                });
                if array.len() > 1 {
                    change(slot, format!("{name} = 0 everywhere"), &set(0.0));
                }
                for (other, twin) in bound.inputs.iter().enumerate().take(slot) {
                    let same = twin.reals().filter(|_| twin.shape == array.shape);
                    if let Some(twin) = same {
                        let other = &program.get(program.inputs[other]).name;
                        change(slot, format!("{name} = {other}"), &|a| {
                            fill(a, |k, _| twin[k])
                        });
                    }
                }
                // Numbers that have no sign may have no upper limit either.
                if is_differentiated(program, input) && reals.iter().any(|&x| x < 0.0) {
                    change(slot, format!("{name} of the size of {LARGE}"), &|a| {
                        fill(a, |_, x| x.signum() * LARGE)
                    });
                }
            }
            Data::Bool(_) => change(slot, format!("{name} false everywhere"), &|a| {
                if let Data::Bool(v) = &mut a.data {
                    v.fill(false);
                }
            }),
            Data::Int(_) => {
                for (p, value) in program.params.iter().zip(&bound.params) {
                    if p.ty == Type::Int {
                        let n = value.int();
                        change(slot, format!("{name} = {} everywhere", p.name), &|a| {
                            if let Data::Int(v) = &mut a.data {
                                v.fill(n);
                            }
                        });
                    }
                }
            }
        }
    }
    out
}

fn is_differentiated(program: &Program, input: TensorId) -> bool {
    matches!(&program.get(input).kind, TensorKind::Input(i) if i.differentiated)
}

fn fill(array: &mut Array, f: impl Fn(usize, f64) -> f64) {
    if let Data::Real(v) = &mut array.data {
        v.iter_mut().enumerate().for_each(|(k, x)| *x = f(k, *x));
    }
}

/// The means and quotients that make the value: rule R5 says what they give for nothing.
fn own_reduction(program: &Program) -> Vec<ExprId> {
    let Some(&Body::Expr(root)) = program.body(program.value) else {
        return vec![];
    };
    let (mut own, mut stack) = (vec![], vec![root]);
    while let Some(e) = stack.pop() {
        match program.node(e) {
            Node::Reduce {
                op: ReduceOp::Mean, ..
            } => own.push(e),
            Node::Op(Op::Neg | Op::Mul, o) => stack.extend(o.iter()),
            Node::Op(Op::Div, o) => {
                own.push(e);
                stack.push(o[0]);
            }
            _ => {}
        }
    }
    own
}

/// What is to be said of one probe: of which expression, and the words.
fn look(
    program: &Program,
    probe: &Probe,
    own: &[ExprId],
    seed: u64,
) -> Option<(Option<ExprId>, Diagnostic)> {
    let mut watch = Watch::default();
    let plan = Plan::new(program, &[program.value]);
    // Where an index is out of range, or an int is divided by 0, the call itself says so.
    let value = plan.run_watched(&probe.bound, &mut watch).ok()?.remove(0);
    let values = value.reals()?;
    let broken = values.iter().copied().find(|v| !v.is_finite());
    let mut gradient = None;
    for g in &program.gradients {
        let Some(tensor) = g.tensor else {
            continue;
        };
        let bar = evaluate(program, &probe.bound, &[tensor]).ok()?.remove(0);
        let odd = bar.reals()?.iter().position(|x| !x.is_finite());
        if let Some(k) = odd {
            let slot = program.inputs.iter().position(|&i| i == g.input)?;
            let at = place(&probe.bound.shapes[slot], k);
            let input = program.get(g.input);
            gradient = Some((format!("{}{at}", input.name), bar.reals()?[k], input.span));
            break;
        }
    }
    let seen = |test: fn(Singular) -> bool| watch.seen.iter().find(|(_, s)| test(*s)).copied();
    let kink = |s: Singular| matches!(s, Singular::ZeroNorm);
    if broken.is_none() && gradient.is_none() {
        let (e, _) = seen(kink)?;
        let mut rng = fastrand::Rng::with_seed(seed);
        if differences::smooth(program, Of::Value, &probe.bound, &mut rng) {
            return None;
        }
        let d = note(Severity::Note, "`norm` of what can be 0".into());
        let d = located(program, d, e, &probe.words);
        return Some((
            Some(e),
            d.note("it has no derivative there; the gradient takes 0"),
        ));
    }
    // Infinite values of infinite sizes are what they are.
    if probe.words.contains(" of the size of ") && broken.is_some_and(f64::is_infinite) {
        return None;
    }
    let mut causes = watch.seen.iter().filter(|(_, s)| !kink(*s)).copied();
    // The root of 0 is 0: it breaks a derivative, but no value.
    let root = |s: Singular| broken.is_some() && matches!(s, Singular::Zero(Op::Sqrt));
    let first = causes.next();
    let cause = match first {
        Some((_, s)) if root(s) => causes.find(|(_, s)| !root(*s)).or(first),
        _ => first,
    };
    // The mean of no rows is NaN, also where it is a sum divided by that of the weights.
    let of_nothing = match cause {
        Some((_, Singular::EmptyMean)) => true,
        Some((_, Singular::Zero(Op::Div))) => probe.leaves_out,
        _ => false,
    };
    if of_nothing && cause.is_some_and(|(e, _)| own.contains(&e)) {
        return None;
    }
    let severity = match broken {
        Some(_) => Severity::Note,
        None => Severity::Warning,
    };
    let title = match cause {
        Some((_, singular)) => words(singular),
        None => "the gradient is no finite number where the value is".to_string(),
    };
    let d = note(severity, title);
    let place = cause.map(|(e, _)| e);
    let mut d = match place {
        Some(e) => located(program, d, e, &probe.words),
        None => match gradient.as_ref().and_then(|(_, _, span)| *span) {
            Some(span) => d.at(span, format!("at {}", probe.words)),
            None => d.note(format!("at {}", probe.words)),
        },
    };
    if let Some(v) = broken {
        d = d.note(format!("the value is {v} there"));
    }
    if let Some((at, g, _)) = gradient {
        d = d.note(format!("the gradient at {at} is {g}"));
    }
    Some((place, d))
}

fn note(severity: Severity, title: String) -> Diagnostic {
    Diagnostic {
        severity,
        ..Diagnostic::warning(title)
    }
}

/// Points to the expression, or to the least that it is a part of and that the source says.
fn located(program: &Program, d: Diagnostic, e: ExprId, at: &str) -> Diagnostic {
    match span_around(program, e).or(program.get(program.value).span) {
        Some(span) => d.at(span, format!("at {at}")),
        None => d.note(format!("at {at}")),
    }
}

fn span_around(program: &Program, e: ExprId) -> Option<Span> {
    if let Some(span) = program.span(e) {
        return Some(span);
    }
    // What contains it, definitions and expressions from the inside out.
    let (mut parts, mut tensors) = (FxHashSet::from_iter([e]), FxHashSet::default());
    for t in live(program, &[program.value]) {
        let roots = program.roots(t);
        for n in program.reachable(&roots) {
            let mut inside =
                matches!(program.node(n), Node::Read { tensor, .. } if tensors.contains(tensor));
            program.for_children(n, |c| inside |= parts.contains(&c));
            if !inside {
                continue;
            }
            if let Some(span) = program.span(n) {
                return Some(span);
            }
            parts.insert(n);
        }
        if roots.iter().any(|r| parts.contains(r)) {
            if let Some(span) = program.get(t).span {
                return Some(span);
            }
            tensors.insert(t);
        }
    }
    None
}

fn words(singular: Singular) -> String {
    match singular {
        Singular::Zero(Op::Div) => "a division by what can be 0".into(),
        Singular::Zero(op) => format!("`{}` of what can be 0", op.name()),
        Singular::Negative(op) => format!("`{}` of what can be negative", op.name()),
        Singular::ZeroNorm => "`norm` of what can be 0".into(),
        Singular::EmptyMean => "a mean of what can be nothing".into(),
        Singular::Undefined(op) => format!("`{}` has no value here", op.name()),
        Singular::Infinite(op) => format!("`{}` overflows", op.name()),
    }
}
