//! The stability rewrites, each against exact values.
//!
//! `tests/stabilize/*.json` holds textbook forms in several spellings, inputs, and exact values and gradients (mpmath, see
//! `scripts/stabilize_reference.py`). The rewritten program must have them everywhere; so it has the naive program's value
//! wherever that one is accurate, which is also asked for inputs without an exact value.

use losscc::array::{Array, Data};
use losscc::interp::{bind, evaluate};
use losscc::ir::Program;
use losscc::modules::{NoFiles, load_text};
use losscc::rewrite::simplify::simplify;
use losscc::rewrite::stabilize::{Applied, Phase, rule_names, stabilize};
use losscc::{grad, lower};
use serde_json::Value;
use std::collections::BTreeSet;

fn lowered(text: &str) -> Program {
    let modules = load_text("t.loss", text, &NoFiles).unwrap_or_else(|e| panic!("{text}\n{:?}", e.diagnostics));
    let checked = lower::lower(&modules, modules.root).unwrap_or_else(|e| panic!("{text}\n{e:?}"));
    checked.program
}

fn simplified(program: &mut Program) {
    let outputs = program.outputs();
    simplify(program, &outputs);
    if let Err(what) = losscc::ir::verify::verify(program) {
        panic!("broken program: {what}\n{}", losscc::ir::print::dump(program));
    }
}

/// Value and gradients, as the compiler derives them, with or without the rewrites.
fn derived(text: &str, rewrite: bool) -> (Program, Vec<Applied>) {
    let mut program = lowered(text);
    let mut applied = vec![];
    if rewrite {
        applied.extend(stabilize(&mut program, Phase::Before));
    }
    let value = [program.value];
    grad::inner::expand(&mut program, &value);
    simplified(&mut program);
    grad::differentiate(&mut program);
    if rewrite {
        applied.extend(stabilize(&mut program, Phase::After));
    }
    simplified(&mut program);
    (program, applied)
}

fn number(v: &Value) -> f64 {
    match v {
        Value::String(s) => s.parse().unwrap_or_else(|_| panic!("{s} is no number")),
        v => v.as_f64().unwrap_or_else(|| panic!("{v} is no number")),
    }
}

/// Nested lists as an array.
fn array(v: &Value) -> Array {
    let mut shape = vec![];
    let mut first = v;
    while let Value::Array(rows) = first {
        shape.push(rows.len());
        first = &rows[0];
    }
    fn elements(v: &Value, out: &mut Vec<f64>) {
        match v {
            Value::Array(rows) => rows.iter().for_each(|r| elements(r, out)),
            v => out.push(number(v)),
        }
    }
    let mut data = vec![];
    elements(v, &mut data);
    Array { shape, data: Data::Real(data) }
}

struct Outcome {
    value: f64,
    gradients: Vec<(String, Vec<f64>)>,
}

fn run(program: &Program, inputs: &Value) -> Outcome {
    let arrays: Vec<(&str, Array)> =
        inputs.as_object().into_iter().flatten().map(|(k, v)| (k.as_str(), array(v))).collect();
    let data: Vec<(&str, &Array)> = arrays.iter().map(|(k, v)| (*k, v)).collect();
    let bound = bind(program, &data, &[]).unwrap_or_else(|e| panic!("{e:?}"));
    let reals = |t| match evaluate(program, &bound, &[t]) {
        Ok(arrays) => arrays[0].reals().unwrap_or(&[]).to_vec(),
        Err(e) => panic!("{e:?}"),
    };
    let mut gradients = vec![];
    for g in &program.gradients {
        let name = program.get(g.input).name.to_string();
        let size = arrays.iter().find(|a| a.0 == name).map_or(1, |a| a.1.len());
        gradients.push((name, g.tensor.map_or(vec![0.0; size], reals)));
    }
    Outcome { value: reals(program.value)[0], gradients }
}

/// Relative to the exact value; what is smaller than any normal number may be 0.
fn close(actual: f64, exact: f64, tolerance: f64, scale: f64) -> bool {
    actual == exact || (actual - exact).abs() <= tolerance * scale + 1e-307
}

/// What is wrong, a line each.
fn compare(case: &Value, text: &str, failures: &mut Vec<String>, fired: &mut BTreeSet<&'static str>) {
    let (naive, _) = derived(text, false);
    let (stable, applied) = derived(text, true);
    fired.extend(applied.iter().map(|a| a.rule));
    let has = |rule: &str| applied.iter().any(|a| a.rule == rule);
    for rule in case["rules"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !has(rule) {
            failures.push(format!("{text}\n  {rule} did not fire: {applied:?}"));
        }
    }
    let (tolerance, grad_tolerance) = (number(&case["tolerance"]), number(&case["grad_tolerance"]));
    let floor = number(&case["floor"]);
    let mut worst: Option<String> = None;
    for point in case["points"].as_array().into_iter().flatten() {
        let (before, after) = (run(&naive, &point["inputs"]), run(&stable, &point["inputs"]));
        let exact = number(&point["value"]);
        let value_ok = exact.is_nan() && before.value.is_nan()
            || exact.is_nan() && close(after.value, before.value, tolerance, before.value.abs())
            || close(after.value, exact, tolerance, exact.abs().max(floor))
            // Where the exact value is 0 up to cancellation, no more is asked than of the naive form.
            || close(after.value, exact, 1.0, (before.value - exact).abs() * 4.0) && (before.value - exact).abs() < 1e-13;
        if !value_ok {
            worst.get_or_insert(format!(
                "{}: {} instead of {exact} (naive {})",
                point["inputs"], after.value, before.value
            ));
        }
        for (name, exact) in point["grad"].as_object().into_iter().flatten() {
            let exact: Vec<f64> = exact.as_array().into_iter().flatten().map(number).collect();
            let Some((_, actual)) = after.gradients.iter().find(|g| g.0 == *name) else { continue };
            let scale = exact.iter().fold(number(&case["grad_floor"]), |m: f64, x| m.max(x.abs()));
            let fits = |(a, e): (&f64, &f64)| e.is_nan() || close(*a, *e, grad_tolerance, scale);
            if !actual.iter().zip(&exact).all(fits) {
                let naive = before.gradients.iter().find(|g| g.0 == *name).map(|g| g.1.clone());
                worst.get_or_insert(format!(
                    "{}: d/d{name} is {actual:?} instead of {exact:?} (naive {naive:?})",
                    point["inputs"]
                ));
            }
        }
    }
    if let Some(worst) = worst {
        let rules: Vec<&str> = applied.iter().map(|a| a.rule).collect();
        failures.push(format!("{text}\n  {worst}\n  {rules:?}\n{}", losscc::ir::print::gradient_text(&stable)));
    }
}

fn check(file: &str) {
    let path = format!("{}/tests/stabilize/{file}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    let cases: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}"));
    let (mut failures, mut fired, mut count) = (vec![], BTreeSet::new(), 0);
    for case in cases.as_array().into_iter().flatten() {
        for text in case["texts"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            compare(case, text, &mut failures, &mut fired);
            count += 1;
        }
    }
    assert!(count > 0);
    assert!(failures.is_empty(), "{} of {count} fail\n\n{}", failures.len(), failures.join("\n\n"));
}

macro_rules! files {
    ($($name:ident)*) => { $(#[test] fn $name() { check(stringify!($name)); })* };
}

files!(logistic hyperbolic cancel softmax entropy products norms moments);
