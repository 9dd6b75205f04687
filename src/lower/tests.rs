//! Tables of source and result.

use crate::ast::Span;
use crate::diagnostic::Diagnostic;
use crate::interp;
use crate::ir::{Body, Program, Tensor, TensorKind, verify};
use crate::lower::{Checked, examples, lower};
use crate::modules::{self, Modules, NoFiles};
use crate::shipped;

pub(super) fn load(text: &str) -> Modules {
    match modules::load_text("test.loss", text, &NoFiles) {
        Ok(modules) => modules,
        Err(failure) => panic!("{text}\n{:#?}", failure.diagnostics),
    }
}

fn shown(modules: &Modules, diagnostics: &[Diagnostic]) -> String {
    let one = |d: &Diagnostic| {
        let place = |s: &Span| format!("{}..{} `{}`", s.start, s.end, modules.sources.text(*s));
        let labels: Vec<String> = d
            .labels
            .iter()
            .map(|(s, t)| format!("  {}: {t}", place(s)))
            .collect();
        format!(
            "{}\n{}\n{:?} {:?}",
            d.title,
            labels.join("\n"),
            d.notes,
            d.help
        )
    };
    diagnostics.iter().map(one).collect::<Vec<_>>().join("\n")
}

pub(super) fn accept(text: &str) -> Checked {
    let modules = load(text);
    match lower(&modules, modules.root) {
        Ok(checked) => {
            assert_eq!(verify::verify(&checked.program), Ok(()), "{text}");
            checked
        }
        Err(d) => panic!("{text}\n{}", shown(&modules, &d)),
    }
}

fn run(program: &Program, example: &examples::Example) -> f64 {
    let data: Vec<_> = example.data.iter().map(|(n, a)| (&**n, a)).collect();
    let set: Vec<_> = example.set.iter().map(|(n, x)| (&**n, *x)).collect();
    let bound = interp::bind(program, &data, &set).unwrap_or_else(|e| panic!("{e:#?}"));
    let out =
        interp::evaluate(program, &bound, &[program.value]).unwrap_or_else(|e| panic!("{e:#?}"));
    match &out[0].data {
        crate::array::Data::Real(v) => v[0],
        _ => f64::NAN,
    }
}

#[test]
fn every_spec_lowers_and_its_examples_hold() {
    let mut bad = vec![];
    for (name, text) in shipped::all() {
        let modules = load(text);
        let checked = match lower(&modules, modules.root) {
            Ok(c) => c,
            Err(d) => {
                bad.push(format!("{name}: {}", shown(&modules, &d)));
                continue;
            }
        };
        if let Err(e) = verify::verify(&checked.program) {
            bad.push(format!("{name}: {e}"));
            continue;
        }
        if !checked.warnings.is_empty() {
            bad.push(format!("{name}: {}", shown(&modules, &checked.warnings)));
        }
        let found = match examples(&modules, modules.root) {
            Ok(found) => found,
            Err(d) => {
                bad.push(format!("{name}: {}", shown(&modules, &d)));
                continue;
            }
        };
        if found.len() < 2 {
            bad.push(format!("{name}: {} examples", found.len()));
        }
        // An inner gradient is for the calculus to expand.
        let inner = |t: &Tensor| matches!(t.kind, TensorKind::Definition(Body::Grad { .. }));
        if checked.program.tensors.iter().any(inner) {
            continue;
        }
        for e in found {
            let value = run(&checked.program, &e);
            let error = (value - e.expected).abs();
            // Textbook forms that overflow here are rewritten later.
            let overflow = value.is_infinite()
                && ["gan_generator_minimax", "log_cosh", "soft_margin"].contains(name);
            let close =
                overflow || value == e.expected || error <= 1e-9 * e.expected.abs().max(1e-3);
            if !close {
                bad.push(format!(
                    "{name}: {} gives {value}, not {}",
                    modules.sources.text(e.span),
                    e.expected
                ));
            }
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n\n"));
}

/// Sources that are long or deep; each must lower within this many seconds, also without optimisation.
const SECONDS: f64 = 120.0;

fn timed(what: &str, text: &str) {
    let start = std::time::Instant::now();
    let modules = load(text);
    let parsed = start.elapsed().as_secs_f64();
    let checked = lower(&modules, modules.root);
    let lowered = start.elapsed().as_secs_f64() - parsed;
    eprintln!("{what}: parsed in {parsed:.2} s, lowered in {lowered:.2} s");
    assert!(lowered < SECONDS, "{what}: {lowered} s");
    if let Err(d) = checked {
        panic!("{what}: {:?}", d.first().map(|d| &d.title));
    }
}

#[test]
fn long_sources_take_linear_time() {
    let terms: Vec<String> = (0..100_000).map(|k| format!("x * {k}")).collect();
    timed(
        "a sum of 100,000 terms",
        &format!("loss f(x) = mean({})", terms.join(" + ")),
    );
    let chain: Vec<String> = (1..10_000)
        .map(|k| format!("d{k} = d{} + x", k - 1))
        .collect();
    let text = format!(
        "loss f(x) = mean(d9999)\nwhere d0 = x\n{}",
        chain.join("\n")
    );
    timed("a chain of 10,000 definitions", &text);
    let chain: Vec<String> = (1..10_000)
        .rev()
        .map(|k| format!("d{k}[N] = d{}[N - 1 else 0] + x", k - 1))
        .collect();
    let text = format!(
        "loss f(x: [N]) = mean(d9999)\nwhere\n{}\nd0[N] = x",
        chain.join("\n")
    );
    timed("the same backwards, with heads", &text);
    let axes: Vec<String> = (1..2_000)
        .rev()
        .map(|k| format!("axis A{k} = size(A{}) + 1", k - 1))
        .collect();
    let text = format!(
        "loss f(x: [N]) = mean(x) + sum[A1999](1)\nwhere\n{}\naxis A0 = size(N)",
        axes.join("\n")
    );
    timed("a chain of 2,000 axes", &text);
    let defs: Vec<String> = (1..2_000)
        .map(|k| format!("def f{k}(x) = f{}(x) + 1", k - 1))
        .collect();
    let text = format!(
        "def f0(x) = x\n{}\nloss f(x) = mean(f1999(x))",
        defs.join("\n")
    );
    timed("a chain of 2,000 functions", &text);
    let defs: Vec<String> = (1..1_000)
        .map(|k| format!("def f{k}(x) = f{}(x) * f{}(x)", k - 1, k - 1))
        .collect();
    let text = format!(
        "def f0(x) = x + 1\n{}\nloss f(x) = mean(f999(x))",
        defs.join("\n")
    );
    timed(
        "functions that call the next one twice with the same argument",
        &text,
    );
    let nested = format!("{}x{}", "sq(".repeat(150), ")".repeat(150));
    let text = format!("def sq(x) = x * x + sum(x)\nloss f(x: [N]) = mean({nested})");
    timed("150 nested calls that use their argument twice", &text);
    let calls: Vec<String> = (0..5_000).map(|k| format!("g(x, k = {k})")).collect();
    let text = format!(
        "def g(a: [N]; k) = a * k + sum[N](a)\nloss f(x: [N]) = mean({})",
        calls.join(" + ")
    );
    timed("5,000 calls", &text);
}

#[test]
fn growth_beyond_measure_is_refused() {
    let mut defs = vec!["def f0(x) = x * x + 1".to_string()];
    defs.extend((1..40).map(|k| format!("def f{k}(x) = f{}(f{}(x) + 1)", k - 1, k - 1)));
    let text = format!("{}\nloss f(x) = mean(f39(x))", defs.join("\n"));
    let modules = load(&text);
    let start = std::time::Instant::now();
    let titles: Vec<String> = lower(&modules, modules.root)
        .err()
        .into_iter()
        .flatten()
        .map(|d| d.title)
        .collect();
    assert_eq!(titles, ["this loss is too large"]);
    assert!(start.elapsed().as_secs_f64() < SECONDS);
}
