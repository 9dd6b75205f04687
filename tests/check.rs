//! What `losscc check` finds, and what it rightly does not.

use losscc::check::check;
use losscc::{Spec, shipped};

/// The findings for a text: title and notes.
fn findings(text: &str) -> Vec<String> {
    let loss = Spec::parse("test", text).and_then(|s| s.derive());
    let loss = loss.unwrap_or_else(|e| panic!("{e}"));
    let report = check(loss.program(), 3).unwrap_or_else(|d| panic!("{}", d.title));
    assert!(report.samples > 0);
    let findings = report.findings.iter();
    findings
        .map(|d| format!("{}: {}", d.title, d.notes.join("; ")))
        .collect()
}

#[test]
fn right_gradients() {
    for text in [
        "loss l(x) = mean(x^2)",
        // A constant for the gradient is one for the differences.
        "loss l(x) = mean(stop_gradient(x^2) * x)",
        "loss l(x: [N, C]) = sum(x * stop_gradient(p)) where p[N, C] = softmax[C](x)",
        "loss l(x: [N]) = sum(if x > 0 then stop_gradient(log(x)) * x else 0)",
        // At kinks there is no derivative to compare with.
        "loss l(x) = sum(abs(x) + relu(x) + max(x, 0.5))",
        "loss l(x: [N], y: [N]) = sum(abs(sort[N](x) - sort[N](y)))",
        "loss l(x: [N]) = norm(x)",
        "loss l(x: [N]) = sum(if x > 0 then sqrt(x) else 0)",
        // A stated gradient that is right, and one that is meant to differ.
        "loss l(x: [N]) = sum(x^3) gradient x[N] = 3 * x^2",
        "loss l(x: [N]) = sum(x^3)\n/// intended: clipped\ngradient x[N] = clamp(3 * x^2, -1, 1)",
    ] {
        assert_eq!(findings(text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn wrong_gradients() {
    for (text, says) in [
        (
            "loss l(x: [N]) = sum(x^3) gradient x[N] = 2 * x^2",
            "the gradient of `x` is not the derivative of `l`: at x[",
        ),
        // Right everywhere but at 0, where it is 0 / 0.
        (
            "loss l(x: [N]) = sum(x^3) gradient x[N] = 3 * x^4 / (x * x)",
            "the gradient says NaN, finite differences 0",
        ),
        // The gradient of one input is right, that of the other is not.
        (
            "loss l(x: [N], w: [N]) = sum(x * w) gradient w[N] = w",
            "the gradient of `w` is not",
        ),
    ] {
        let found = findings(text);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].contains(says), "{text}: {found:?}");
    }
}

#[test]
fn what_has_no_finite_value_is_said() {
    let loss = Spec::parse("test", "loss l(x: [N]) = sum(log(-1 - x^2))").and_then(|s| s.derive());
    let said = check(loss.unwrap().program(), 1).unwrap_err();
    assert_eq!(said.title, "`l` is finite at none of 200 random inputs");
}

#[test]
fn shipped_losses() {
    let mut wrong = vec![];
    for (name, _) in shipped::all() {
        let loss = Spec::open(name).and_then(|s| s.derive());
        let report = check(loss.unwrap_or_else(|e| panic!("{e}")).program(), 7);
        match report {
            Ok(r) if r.findings.is_empty() => {}
            Ok(r) => wrong.push(format!("{name}: {:?}", r.findings[0].notes)),
            Err(d) => wrong.push(format!("{name}: {}", d.title)),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
