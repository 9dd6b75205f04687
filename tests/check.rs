//! What `losscc check` finds, and what it rightly does not.

use losscc::check::check;
use losscc::diagnostic::Severity;
use losscc::{Reduction, Spec, shipped};
use std::process::Command;

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
        // Right at the hyperparameters' defaults alone.
        (
            "loss l(x: [N]; k = 1.0 in (0, inf)) = sum(k * x^2) gradient x[N] = 2 * x",
            "the gradient of `x` is not",
        ),
        (
            "loss l(x: [N]; k = 0.0) = sum(x^2 + k * x) gradient x[N] = 2 * x",
            "the gradient of `x` is not",
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
    let (mut second, mut notes) = (0, 0);
    for (name, _) in shipped::all() {
        let loss = Spec::open(name).and_then(|s| s.derive());
        let report = check(loss.unwrap_or_else(|e| panic!("{e}")).program(), 7);
        match report {
            Ok(r) if r.findings.is_empty() => {
                second += usize::from(r.second > 0);
                notes += r.notes.len();
                // What is noted is a fact about the formula; a warning would be a mistake in it.
                let warned = r.notes.iter().filter(|d| d.severity != Severity::Note);
                wrong.extend(warned.map(|d| format!("{name}: {}", d.title)));
            }
            Ok(r) => wrong.push(format!("{name}: {:?}", r.findings[0].notes)),
            Err(d) => wrong.push(format!("{name}: {}", d.title)),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(second >= 60, "{second} have second derivatives");
    assert!(notes <= 15, "{notes} notes");
}

/// Stdout and stderr of `losscc check`.
fn said(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_losscc"))
        .arg("check")
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// Each file of `tests/checked` with all that a person reads about it as a snapshot.
#[test]
fn whole_reports() {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_snapshot_path("snapshots/checked");
    settings.set_omit_expression(true);
    let _guard = settings.bind_to_scope();
    let folder = format!("{}/tests/checked", env!("CARGO_MANIFEST_DIR"));
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    for name in names {
        let (code, out, err) = said(&[&format!("tests/checked/{name}")]);
        let text = format!("exit code {}\n{out}\n{err}", code.unwrap());
        insta::assert_snapshot!(name.trim_end_matches(".loss"), text);
    }
}

#[test]
fn rewrites_are_explained() {
    let (code, out, err) = said(&["tests/checked/rewritten.loss", "--explain"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let explained: Vec<&str> = out.lines().filter(|l| l.contains("made stable")).collect();
    assert_eq!(
        explained,
        [
            "rewritten: made stable, sigmoid quotient: 1 / (1 + exp(-logit))",
            "rewritten: made stable, log of exp: log(p)",
            "rewritten: made stable, one less sigmoid: 1 - p",
            "rewritten: made stable, log of exp: log(1 - p)",
        ]
    );
    let (_, out, _) = said(&["mse", "--explain"]);
    assert!(!out.contains("made stable"), "{out}");
}

/// Stated gradients of inputs with repeated axes, unnamed positions and no axes, and of untyped ones.
#[test]
fn stated_gradients_of_every_shape() {
    for (right, wrong) in [
        (
            "loss l(w: [K, K]) = sum[J, K](w[J, K]^2 * w[K, J]) gradient w[J, K] = 2 * w[J, K] * w[K, J] + w[K, J]^2",
            "loss l(w: [K, K]) = sum[J, K](w[J, K]^2 * w[K, J]) gradient w[J, K] = 2 * w[K, J] * w[K, J] + w[J, K]^2",
        ),
        (
            "loss l(b: [N, 2]) = sum[N](b[N, 0] * b[N, 1]^2) gradient b[N, A] = if A == 0 then b[N, 1]^2 else 2 * b[N, 0] * b[N, 1]",
            "loss l(b: [N, 2]) = sum[N](b[N, 0] * b[N, 1]^2) gradient b[N, A] = if A == 1 then b[N, 1]^2 else 2 * b[N, 0] * b[N, 1]",
        ),
        (
            "loss l(x: [], y: [N]) = exp(x) * sum(y) gradient x = exp(x) * sum(y) gradient y[N] = exp(x)",
            "loss l(x: [], y: [N]) = exp(x) * sum(y) gradient x = exp(x) gradient y[N] = exp(x)",
        ),
        (
            "loss l(yhat | y) = mean((yhat - y)^2) gradient yhat = 2 * (yhat - y) / size(*)",
            "loss l(yhat | y) = mean((yhat - y)^2) gradient yhat = 2 * (yhat - y)",
        ),
    ] {
        assert_eq!(findings(right), Vec::<String>::new(), "{right}");
        assert_eq!(findings(wrong).len(), 1, "{wrong}");
    }
}

#[test]
fn other_reductions_are_checked_as_they_are() {
    for (name, reduction, weighted) in [
        ("cross_entropy", Reduction::None, false),
        ("cross_entropy", Reduction::Sum, true),
        ("ciou", Reduction::Mean, true),
        ("ranknet", Reduction::None, true),
    ] {
        let loss = Spec::open(name).and_then(|s| s.derive()).unwrap();
        let loss = loss.reduced(Some(reduction), weighted).unwrap();
        let report = check(loss.program(), 4).unwrap();
        assert!(report.findings.is_empty(), "{name}: {:?}", report.findings);
        assert!(report.agreeing > 20);
    }
}
