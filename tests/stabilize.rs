//! The stability rewrites, each against exact values.
//!
//! `tests/stabilize/*.json` holds textbook forms in several spellings, inputs, and exact values and gradients (mpmath, see
//! `scripts/stabilize_reference.py`). The rewritten program must have them everywhere; so it has the naive program's value
//! wherever that one is accurate, which is also asked for inputs without an exact value.

use losscc::array::{Array, Data};
use losscc::check::Sampler;
use losscc::interp::{bind, evaluate};
use losscc::ir::Program;
use losscc::modules::{NoFiles, load_text};
use losscc::rewrite::simplify::simplify;
use losscc::rewrite::stabilize::{Applied, Phase, rule_names, stabilize};
use losscc::{Dtype, Options, Spec, grad, lower};
use serde_json::Value;
use std::collections::BTreeSet;

fn lowered(text: &str) -> Program {
    let modules = load_text("t.loss", text, &NoFiles)
        .unwrap_or_else(|e| panic!("{text}\n{:?}", e.diagnostics));
    let checked = lower::lower(&modules, modules.root).unwrap_or_else(|e| panic!("{text}\n{e:?}"));
    checked.program
}

fn simplified(program: &mut Program) {
    let outputs = program.outputs();
    simplify(program, &outputs);
    if let Err(what) = losscc::ir::verify::verify(program) {
        panic!(
            "broken program: {what}\n{}",
            losscc::ir::print::dump(program)
        );
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
    grad::inner::expand(&mut program, &value).expect("small inner gradients");
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
    Array {
        shape,
        data: Data::Real(data),
    }
}

struct Outcome {
    value: f64,
    gradients: Vec<(String, Vec<f64>)>,
}

fn run(program: &Program, inputs: &Value) -> Outcome {
    let arrays: Vec<(&str, Array)> = inputs
        .as_object()
        .into_iter()
        .flatten()
        .map(|(k, v)| (k.as_str(), array(v)))
        .collect();
    let data: Vec<(&str, &Array)> = arrays.iter().map(|(k, v)| (*k, v)).collect();
    let bound = bind(program, &data, &[]).unwrap_or_else(|e| panic!("{e:?}"));
    let reals = |t| match evaluate(program, &bound, &[t]) {
        Ok(arrays) => arrays[0].reals().unwrap_or(&[]).to_vec(),
        Err(e) => panic!("{e:?}"),
    };
    let mut gradients = vec![];
    for g in program.gradients.iter().filter(|g| g.tensor.is_some()) {
        let name = program.get(g.input).name.to_string();
        gradients.push((name, g.tensor.map_or(vec![], reals)));
    }
    Outcome {
        value: reals(program.value)[0],
        gradients,
    }
}

/// Relative to the exact value; what is smaller than any normal number may be 0.
fn close(actual: f64, exact: f64, tolerance: f64, scale: f64) -> bool {
    actual == exact || exact.is_finite() && (actual - exact).abs() <= tolerance * scale + 1e-307
}

/// What is wrong, a line each.
fn compare(case: &Value, text: &str, failures: &mut Vec<String>) {
    let (naive, _) = derived(text, false);
    let (stable, applied) = derived(text, true);
    let has = |rule: &str| applied.iter().any(|a| a.rule == rule);
    for rule in case["rules"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        if !has(rule) {
            failures.push(format!("{text}\n  {rule} did not fire: {applied:?}"));
        }
    }
    let (tolerance, grad_tolerance) = (number(&case["tolerance"]), number(&case["grad_tolerance"]));
    let floor = number(&case["floor"]);
    let mut worst: Option<String> = None;
    for point in case["points"].as_array().into_iter().flatten() {
        let (before, after) = (
            run(&naive, &point["inputs"]),
            run(&stable, &point["inputs"]),
        );
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
            let zeros = vec![0.0; exact.len()];
            // A gradient that is not there is zero.
            let actual = after
                .gradients
                .iter()
                .find(|g| g.0 == *name)
                .map_or(&zeros, |g| &g.1);
            let scale = exact
                .iter()
                .fold(number(&case["grad_floor"]), |m: f64, x| m.max(x.abs()));
            let fits = |(a, e): (&f64, &f64)| e.is_nan() || close(*a, *e, grad_tolerance, scale);
            if !actual.iter().zip(&exact).all(fits) {
                let naive = before
                    .gradients
                    .iter()
                    .find(|g| g.0 == *name)
                    .map(|g| g.1.clone());
                worst.get_or_insert(format!(
                    "{}: d/d{name} is {actual:?} instead of {exact:?} (naive {naive:?})",
                    point["inputs"]
                ));
            }
        }
    }
    if let Some(worst) = worst {
        let rules: Vec<&str> = applied.iter().map(|a| a.rule).collect();
        failures.push(format!(
            "{text}\n  {worst}\n  {rules:?}\n{}",
            losscc::ir::print::gradient_text(&stable)
        ));
    }
}

fn cases(file: &str) -> Vec<Value> {
    let path = format!("{}/tests/stabilize/{file}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn texts(case: &Value) -> impl Iterator<Item = &str> {
    case["texts"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

fn check(file: &str) {
    let (mut failures, mut count) = (vec![], 0);
    for case in cases(file) {
        for text in texts(&case) {
            compare(&case, text, &mut failures);
            count += 1;
        }
    }
    assert!(count > 0);
    assert!(
        failures.is_empty(),
        "{} of {count} fail\n\n{}",
        failures.len(),
        failures.join("\n\n")
    );
}

macro_rules! files {
    ($($name:ident)*) => {
        $(#[test] fn $name() { check(stringify!($name)); })*
        const FILES: &[&str] = &[$(stringify!($name)),*];
    };
}

files!(logistic hyperbolic cancel softmax entropy products norms moments);

/// The finite inputs of a point are all within what a type of reals holds well.
fn is_moderate(arrays: &[(&str, Array)], least: f64, most: f64) -> bool {
    let fits = |x: &f64| !x.is_finite() || *x == 0.0 || (least..=most).contains(&x.abs());
    arrays
        .iter()
        .all(|a| a.1.reals().unwrap_or(&[]).iter().all(fits))
}

/// A kernel against the exact values: to 1e-9 in f64 and 1e-5 in f32, values relative to at least 1, gradients relative
/// to their largest entry. In f32 the inputs are moderate: a logarithm of 800 has an error of 3e-5 there.
fn kernel_failure(case: &Value, text: &str, dtype: Dtype) -> Option<String> {
    let loss = Spec::parse("t", text).and_then(|s| s.derive());
    let options = Options {
        dtype,
        ..Options::default()
    };
    let kernel = match loss.and_then(|l| l.compile(&options)) {
        Ok(kernel) => kernel,
        Err(e) => return Some(format!("{text}: {e}")),
    };
    let (tolerance, least, most) = if dtype == Dtype::F64 {
        (1e-9, 0.0, f64::MAX)
    } else {
        (1e-5, 1e-8, 40.0)
    };
    for point in case["points"].as_array().into_iter().flatten() {
        let inputs = point["inputs"].as_object().into_iter().flatten();
        let arrays: Vec<(&str, Array)> = inputs.map(|(k, v)| (k.as_str(), array(v))).collect();
        let exact = number(&point["value"]);
        if exact.is_nan() || !is_moderate(&arrays, least, most) {
            continue;
        }
        let data: Vec<(&str, &Array)> = arrays.iter().map(|(k, v)| (*k, v)).collect();
        let out = match kernel.evaluate(&data, &[]) {
            Ok(out) => out,
            Err(e) => return Some(format!("{text}: {e}")),
        };
        let value = out.value.number().unwrap();
        if !close(value, exact, tolerance, exact.abs().max(1.0)) {
            return Some(format!(
                "{text}\n  {dtype:?} {}: {value} instead of {exact}",
                point["inputs"]
            ));
        }
        for (name, exact) in point["grad"].as_object().into_iter().flatten() {
            let exact: Vec<f64> = exact.as_array().into_iter().flatten().map(number).collect();
            let floor = number(&case["grad_floor"]).max(tolerance);
            let scale = exact.iter().fold(floor, |m: f64, x| m.max(x.abs()));
            let Some(actual) = out.gradients.iter().find(|g| g.name == *name) else {
                continue;
            };
            let fits = |(a, e): (&f64, &f64)| e.is_nan() || close(*a, *e, tolerance, scale);
            if !actual.values.iter().zip(&exact).all(fits) {
                let actual = &actual.values;
                return Some(format!(
                    "{text}\n  {dtype:?} {}: d/d{name} is {actual:?} instead of {exact:?}",
                    point["inputs"]
                ));
            }
        }
    }
    None
}

#[test]
fn kernels_have_the_exact_values() {
    let mut failures = vec![];
    for file in FILES {
        for case in cases(file) {
            for text in texts(&case) {
                failures.extend(
                    [Dtype::F64, Dtype::F32]
                        .into_iter()
                        .find_map(|d| kernel_failure(&case, text, d)),
                );
            }
        }
    }
    assert!(
        failures.is_empty(),
        "{} fail\n\n{}",
        failures.len(),
        failures.join("\n")
    );
}

/// What single precision squares to infinity or to 0.
#[test]
fn short_legs_of_long_hypotenuses() {
    let spec = "loss t(x: [N]; delta = 2.0 in (0, inf)) = sum(sqrt(x^2 + delta^2) - delta)";
    let loss = Spec::parse("t", spec).and_then(|s| s.derive()).unwrap();
    for (dtype, x) in [(Dtype::F32, 1e30), (Dtype::F64, 1e200)] {
        let options = Options {
            dtype,
            ..Options::default()
        };
        let kernel = loss.compile(&options).unwrap();
        for (delta, x, value, gradient) in [
            (2.0, x, x, 1.0),
            (2.0, -x, x, -1.0),
            (2.0, -1.0 / x, 0.0, 0.0),
            (2.0, 1e9, 1e9 - 2.0, 1.0),
            (2.0, 1e-4, 2.5e-9, 5e-5),
            (1e-6, x, x, 1.0),
            (1e10, x, x - 1e10, 1.0),
            (1e10, 1e7, 5e3, 1e-3),
        ] {
            let data = Array::real(&[1], vec![x]);
            let got = kernel.evaluate(&[("x", &data)], &[("delta", delta)]);
            let got = got.unwrap();
            let answers = [got.value.number().unwrap(), got.gradients[0].values[0]];
            for (answer, exact) in answers.into_iter().zip([value, gradient]) {
                assert!(
                    close(answer, exact, 1e-6, f64::abs(exact).max(1e-20)),
                    "{dtype:?} {x:e} {delta:e}: {answer:e} instead of {exact:e}"
                );
            }
        }
    }
}

/// Every rule is used by some case: none is dead.
#[test]
fn every_rule_fires() {
    let mut fired = BTreeSet::new();
    for file in FILES {
        for case in cases(file) {
            for text in texts(&case) {
                fired.extend(derived(text, true).1.iter().map(|a| a.rule));
            }
        }
    }
    // The derivative of log(cosh(x)) on one way, and no other text.
    let idle: Vec<&str> = rule_names().filter(|r| !fired.contains(r)).collect();
    assert!(idle.is_empty(), "never used: {idle:?}");
}

/// Numbers where IEEE arithmetic is exact or has a rule of its own: the naive value is right there unless it is NaN.
const SPECIAL: [f64; 7] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    f64::INFINITY,
    f64::NEG_INFINITY,
    f64::NAN,
];

/// The inputs of a point with every number replaced, the k-th by the digit k of `n` in base 7.
fn special(v: &Value, n: &mut usize, ints: bool) -> Value {
    match v {
        Value::Array(rows) => rows.iter().map(|r| special(r, n, ints)).collect(),
        _ if ints => v.clone(),
        _ => {
            let x = SPECIAL[*n % SPECIAL.len()];
            *n /= SPECIAL.len();
            Value::String(x.to_string())
        }
    }
}

/// The value alone, rewritten.
fn stable_value(text: &str) -> Program {
    let mut program = lowered(text);
    stabilize(&mut program, Phase::Before);
    program
}

#[test]
fn right_values_at_infinities_and_zeros_stay() {
    let mut failures = vec![];
    for file in FILES {
        for case in cases(file) {
            let Some(inputs) = case["points"][0]["inputs"].as_object() else {
                continue;
            };
            for text in texts(&case) {
                let (naive, stable) = (lowered(text), stable_value(text));
                // All combinations of two numbers, and some of more.
                for n in 0..98 {
                    let mut n = n * if n < 49 { 1 } else { 59 };
                    let point = inputs
                        .iter()
                        .map(|(k, v)| (k.clone(), special(v, &mut n, k == "k")))
                        .collect();
                    let point = Value::Object(point);
                    let (before, after) = (run(&naive, &point).value, run(&stable, &point).value);
                    if !before.is_nan() && !close(after, before, 1e-12, before.abs().max(1.0)) {
                        failures.push(format!("{text}\n  {point}: {after} instead of {before}"));
                        break;
                    }
                }
            }
        }
    }
    assert!(
        failures.is_empty(),
        "{} fail\n\n{}",
        failures.len(),
        failures.join("\n\n")
    );
}

/// The definitions, before and after the rewrites, with what fired.
fn rewritten(text: &str) -> (String, String, Vec<Applied>) {
    let mut program = lowered(text);
    simplified(&mut program);
    let before = losscc::ir::print::dump(&program);
    let applied = stabilize(&mut program, Phase::Before);
    (before, losscc::ir::print::dump(&program), applied)
}

/// Outside of a rule's condition nothing happens.
#[test]
fn what_no_rule_is_sound_for_stays() {
    let texts = [
        // The signs of the factors are not known: two negative ones have a logarithm.
        "loss t(a: [], b: []) = log(a * b)",
        "loss t(x: [N]) = log(prod(x))",
        "loss t(a: [], b: []) = log(a^3 * b)",
        "loss t(a: [], b: []) = log(a * b * sqrt(b))",
        // A quotient near 1 has an exact logarithm.
        "loss t(a: [], b: []) = log(abs(a) / abs(b))",
        "loss t(a: []) = log(a)",
        "loss t(a: []) = log(2 * a)",
        // c may be negative: then it is the sum that cancels in the rewritten form.
        "loss t(x: []; c = 1.0) = sqrt(x^2 + c^2) - c",
        "loss t(x: []; c = 1.0 in [-1, 1]) = sqrt(x^2 + c^2) - c",
        "loss t(x: [], c: []) = sqrt(x^3 + c^2) - c",
        "loss t(x: []) = sqrt(x^2 + 4) + 2",
        "loss t(x: []) = sqrt(x^2 + 4) - 3",
        "loss t(x: []; c = 1.0 in (0, inf), d = 2.0 in (0, inf)) = sqrt(x^2 + c^2) - d",
        // 1 + a is rounded before b is subtracted; a - b first would be rounded elsewhere.
        "loss t(a: [], b: []) = log(1 + a - b)",
        "loss t(a: []) = log(2 + a)",
        "loss t(a: [], b: []) = exp(a) - b",
        "loss t(a: [], b: []) = exp(a) - exp(b)",
        "loss t(a: []) = exp(a) + 1",
        "loss t(a: []) = exp(a) - 2",
        // A weight that may be 0 must not meet an exponential that overflows only now.
        "loss t(a: [], b: [], w: []) = w * exp(a) / exp(b)",
        "loss t(a: [], b: [], w: []) = w * exp(a) * exp(b)",
        // NaN for negative x, which the simplified form is not.
        "loss t(x: []) = exp(log(x))",
        // With the constant the logarithm is bounded; nothing overflows.
        "loss t(x: []) = log(sigmoid(x) + 1e-8)",
        "loss t(x: [C] | y: [C]) = -sum(y * log(clamp(softmax[C](x), 1e-7, 1)))",
        "loss t(x: [C]) = log(sum(sigmoid(x)))",
        // Not the same elements, or not the same guard, or not a square.
        "loss t(x: [N]) = mean(x^2) - mean[N if N > 0](x)^2",
        "loss t(x: [N], y: [N]) = mean(x^2) - mean(y)^2",
        "loss t(x: [N], y: [N]) = mean(x * y) - mean(x)^2",
        "loss t(x: [N]) = mean(x^2) - sum(x)^2",
        "loss t(x: [N]) = mean(x^2) + mean(x)^2",
        "loss t(x: [N]) = mean(x^2) - 2 * mean(x)^2",
        "loss t(x: [N], y: [N]) = sqrt(sum(x * y))",
        "loss t(x: [N]) = sqrt(sum(x^3))",
        "loss t(x: [N]; eps = 1e-6 in (0, inf)) = sqrt(sum(x^2) + eps)",
        "loss t(x: [N]; c = 1.0) = sqrt(c * sum(x^2))",
        "loss t(x: [], y: []) = sqrt(x^2 - y^2)",
        "loss t(x: []) = sqrt(x)",
        "loss t(x: []) = 1 - sigmoid(x)^2",
        "loss t(x: []) = 2 - sigmoid(x)",
        "loss t(x: [], y: []) = softplus(x) - y",
        "loss t(x: []) = softplus(x) - 2 * x",
        "loss t(x: []) = 1 / (2 + exp(-x))",
        "loss t(x: [], y: []) = sinh(x) / cosh(y)",
        "loss t(x: [], y: []) = exp(x) - exp(-y)",
        // The weight is a constant: x * log(y) is -inf at y = 0 and should be.
        "loss t(x: []; w = 2.0) = w * log(x)",
        // y is at least 1, so that its logarithm is finite.
        "loss t(x: [], y: []) = x * log(2 + y^2)",
        // No derivative passes, and none may come to pass.
        "loss t(x: []) = log(stop_gradient(exp(x)))",
        "loss t(x: [C]) = log(sum(exp(x - stop_gradient(max(x)))))",
    ];
    let mut failures = vec![];
    for text in texts {
        let (before, after, applied) = rewritten(text);
        if !applied.is_empty() || before != after {
            failures.push(format!("{text}\n  {applied:?}\n{before}{after}"));
        }
    }
    assert!(
        failures.is_empty(),
        "{} fail\n\n{}",
        failures.len(),
        failures.join("\n")
    );
}

/// Signs that conditions, domains and operators prove.
#[test]
fn conditions_prove_signs() {
    for (text, rule) in [
        (
            "loss t(a: [], b: []) = if a > 0 and b > 0 then log(a * b) else 0",
            "log_of_product",
        ),
        (
            "loss t(a: [N], b: [N]) = sum[N if a >= 0 and b >= 0](log(a * b))",
            "log_of_product",
        ),
        (
            "loss t(a: [], b: []) = if not (a < 0) and 0 < b then log(a * b) else 0",
            "log_of_product",
        ),
        (
            "loss t(a: [], b: []) = if a < 0 or b < 0 then 0 else log(a * b)",
            "log_of_product",
        ),
        (
            "loss t(a: [], b: []) = log(relu(a) * softplus(b))",
            "log_of_product",
        ),
        (
            "loss t(a: [], b: []) = log(max(a, 1e-3) * clamp(b, 0.1, 2))",
            "log_of_product",
        ),
        (
            "loss t(a: [], b: []) = log(p * q)\n  where\n    p = abs(a)\n    q = b^2",
            "log_of_product",
        ),
        (
            "loss t(a: []) = if a > 0 then exp(log(a)) else 0",
            "exp_of_log",
        ),
        (
            "loss t(a: [], b: []; c = 1.0 in (0, inf)) = sqrt(a * b + c) - sqrt(c)",
            "sqrt_difference",
        ),
        (
            "loss t(a: []) = if a >= 0 then log(1 + a + a^2) else 0",
            "log_of_one_plus",
        ),
        ("loss t(x: [N]) = log(prod(sigmoid(x)))", "log_of_exp"),
        ("loss t(x: [N]) = log(prod(relu(x)))", "log_of_prod"),
    ] {
        let (_, _, applied) = rewritten(text);
        assert!(
            applied.iter().any(|a| a.rule == rule),
            "{text}: {applied:?}"
        );
    }
    // The other branch knows nothing.
    for text in [
        "loss t(a: [], b: []) = if a > 0 and b > 0 then 0 else log(a * b)",
        "loss t(a: [], b: []) = if a > 0 or b > 0 then log(a * b) else 0",
        "loss t(a: [], b: []) = (if a > 0 and b > 0 then log(a * b) else 0) + log(a * b)",
    ] {
        let (_, _, applied) = rewritten(text);
        assert!(applied.is_empty(), "{text}: {applied:?}");
    }
}

/// `if x > 0 then log(x) else 0` has gradient 0 where the branch is not taken.
#[test]
fn branches_not_taken_contribute_nothing() {
    for (text, x) in [
        ("loss t(x: []) = if x > 0 then log(x) else 0", -1.0),
        ("loss t(x: []) = if x > 0 then log(x) else 0", 0.0),
        ("loss t(x: []) = if x > 0 then x * log(x) else 0", 0.0),
        ("loss t(x: []) = if x > 0 then sqrt(x^2) / x else 0", 0.0),
        (
            "loss t(x: []) = if x > 0 then sqrt(x^2 + 1) - 1 else 0",
            -2.0,
        ),
        (
            "loss t(x: []) = if x < 700 then log(exp(x) - 1) else 0",
            800.0,
        ),
        (
            "loss t(x: []) = if x > 0 then log(1 - exp(-x)) else 0",
            -5.0,
        ),
    ] {
        let (program, _) = derived(text, true);
        let outcome = run(&program, &serde_json::json!({ "x": x }));
        assert_eq!(outcome.value, 0.0, "{text}");
        assert_eq!(outcome.gradients[0].1, [0.0], "{text}");
    }
}

/// The shipped specs have the same values and gradients with the rewrites, on random inputs.
#[test]
fn shipped_specs_keep_their_values() {
    let mut failures = vec![];
    for (name, text) in losscc::shipped::all() {
        let (naive, _) = derived(text, false);
        let (stable, applied) = derived(text, true);
        let mut sampler = Sampler::new(&stable, 7);
        for _ in 0..3 {
            let Ok(bound) = sampler.draw() else { continue };
            for (a, b) in naive.outputs().into_iter().zip(stable.outputs()) {
                let (Ok(x), Ok(y)) = (
                    evaluate(&naive, &bound, &[a]),
                    evaluate(&stable, &bound, &[b]),
                ) else {
                    continue;
                };
                let (x, y) = (x[0].reals().unwrap_or(&[]), y[0].reals().unwrap_or(&[]));
                let scale = x.iter().fold(1.0, |m: f64, v| m.max(v.abs()));
                let same =
                    |(x, y): (&f64, &f64)| x.is_nan() && y.is_nan() || close(*y, *x, 1e-9, scale);
                if x.len() != y.len() || !x.iter().zip(y).all(same) {
                    failures.push(format!("{name}: {y:?} instead of {x:?}, {applied:?}"));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Long sums, long chains of definitions and deep nests of products are no problem.
#[test]
fn large_programs_are_rewritten() {
    let sum = vec!["log(1 + exp(x))"; 2000].join(" + ");
    let product = vec!["0.1"; 2000].join(" * ");
    let mut chain = String::from("loss t(x: []) = d1000\n  where\n    d0 = exp(x)\n");
    for k in 1..=1000 {
        chain += &format!("    d{k} = log(1 + exp(d{}) + d{})\n", k - 1, k - 1);
    }
    for text in [
        format!("loss t(x: []) = {sum}"),
        format!("loss t(x: []) = if x > 0 then {product} * log(1 + exp(x)) else 0"),
        format!("loss t(x: []) = if x > 0 then {sum} else 0"),
        chain,
    ] {
        let mut program = losscc::compile::with_stack(|| lowered(&text));
        let applied = losscc::compile::with_stack(|| stabilize(&mut program, Phase::Before));
        assert!(!applied.is_empty());
    }
}
