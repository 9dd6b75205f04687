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
