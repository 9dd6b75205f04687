//! Gradients of every spec and of programs made to be hard: against finite differences, and printed, parsed again and
//! evaluated against themselves.

use losscc::array::Data;
use losscc::check::{self, Sampler};
use losscc::interp::{Bound, evaluate};
use losscc::ir::{Program, TensorId, print};
use losscc::lower::lower;
use losscc::modules::{self, NoFiles};
use losscc::shipped;

/// The value program of a text.
fn lowered(name: &str, text: &str) -> Result<Program, String> {
    let modules = modules::load_text(name, text, &NoFiles).map_err(|f| format!("{:#?}", f.diagnostics))?;
    let checked = lower(&modules, modules.root).map_err(|d| format!("{d:#?}\n{text}"))?;
    Ok(checked.program)
}

/// With gradients; the program is verified after each pass.
fn derived(name: &str, text: &str) -> Result<Program, String> {
    let program = lowered(name, text)?;
    let derived = losscc::compile::derive(program).map_err(|e| format!("{}: {:?}", e.title, e.notes))?;
    Ok(derived.program)
}

/// Every number of value and gradients, the largest disagreement relative to the largest entry.
fn disagreement(a: &Program, b: &Program, bound: &Bound) -> Result<f64, String> {
    let mut worst = 0.0f64;
    let values = |p: &Program, t: Option<TensorId>| -> Result<Vec<f64>, String> {
        let Some(t) = t else { return Ok(vec![]) };
        let out = evaluate(p, bound, &[t]).map_err(|e| e.title)?.remove(0);
        match out.data {
            Data::Real(v) => Ok(v),
            Data::Int(v) => Ok(v.into_iter().map(|x| x as f64).collect()),
            Data::Bool(_) => Err("a bool".into()),
        }
    };
    let mut compare = |x: Vec<f64>, y: Vec<f64>| {
        let n = x.len().max(y.len());
        let at = |v: &[f64], i: usize| v.get(i).copied().unwrap_or(0.0);
        let scale = x.iter().chain(&y).filter(|v| v.is_finite()).fold(1.0f64, |m, v| m.max(v.abs()));
        for i in 0..n {
            let (u, v) = (at(&x, i), at(&y, i));
            let same = u == v || u.is_nan() && v.is_nan();
            worst = worst.max(if same { 0.0 } else { (u - v).abs() / scale });
            if !same && (u - v).is_nan() {
                worst = f64::INFINITY;
            }
        }
    };
    compare(values(a, Some(a.value))?, values(b, Some(b.value))?);
    for (g, h) in a.gradients.iter().zip(&b.gradients) {
        compare(values(a, g.tensor)?, values(b, h.tensor)?);
    }
    Ok(worst)
}

/// The same inputs for a program of the same signature.
fn rebound(from: &Program, to: &Program, bound: &Bound) -> Result<Bound, String> {
    let arrays: Vec<_> = from.inputs.iter().zip(&bound.inputs).map(|(&t, a)| (from.get(t).name.clone(), a)).collect();
    let data: Vec<_> = arrays.iter().map(|(n, a)| (&**n, *a)).collect();
    losscc::interp::bind(to, &data, &[]).map_err(|e| format!("{e:#?}"))
}

/// Losses whose value depends on an input behind `stop_gradient`: differences see it, the gradient must not.
const FROZEN: [&str; 3] = ["ciou", "gaussian_nll", "stepped"];

/// Finite differences, and the printed text.
fn examine(name: &str, text: &str) -> Result<String, String> {
    let program = derived(name, text)?;
    let printed = print::gradient_text(&program);
    let fail = |e: String| format!("{e}\n{printed}");
    let report = check::check(&program, 7).map_err(|e| fail(e.title))?;
    if !report.findings.is_empty() && !FROZEN.contains(&name) {
        let finding = &report.findings[0];
        return Err(fail(format!("{}: {:?}", finding.title, finding.notes)));
    }
    let again = derived(name, &printed).map_err(&fail)?;
    let mut sampler = Sampler::new(&program, 11);
    for _ in 0..3 {
        let Ok(bound) = sampler.draw() else { break };
        let other = rebound(&program, &again, &bound).map_err(&fail)?;
        let worst = disagreement(&program, &again, &other).map_err(&fail)?;
        if worst > 1e-12 {
            let twice = print::gradient_text(&again);
            return Err(fail(format!("the printed text differs by {worst:e}\nread again:\n{twice}")));
        }
    }
    Ok(printed)
}

fn all(programs: impl Iterator<Item = (String, String)>) {
    let only = std::env::var("ONLY").ok();
    let mut failures = vec![];
    for (name, text) in programs {
        if only.as_ref().is_some_and(|o| !o.split(',').any(|o| o == name)) {
            continue;
        }
        let result = std::panic::catch_unwind(|| examine(&name, &text));
        match result {
            Ok(Ok(printed)) if only.is_some() => println!("{printed}"),
            Ok(Ok(_)) => {}
            Ok(Err(e)) => failures.push(format!("== {name}: {e}")),
            Err(_) => failures.push(format!("== {name}: panicked")),
        }
    }
    assert!(failures.is_empty(), "{} fail\n{}", failures.len(), failures.join("\n\n"));
}

#[test]
fn gradients_of_all_specs_agree_with_differences_and_survive_printing() {
    all(shipped::all().iter().map(|&(n, t)| (n.to_string(), t.to_string())));
}

#[test]
fn gradients_of_hard_programs_agree_with_differences_and_survive_printing() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/calculus");
    let mut programs: Vec<(String, String)> = std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .map(|p| (p.file_stem().unwrap().to_string_lossy().into_owned(), std::fs::read_to_string(&p).unwrap()))
        .collect();
    programs.sort();
    all(programs.into_iter());
}
