//! Gradients of every spec and of programs made to be hard: against finite differences, and printed, parsed again and
//! evaluated against themselves.

use losscc::array::{Array, Data};
use losscc::check::{self, Sampler};
use losscc::grad::hessian;
use losscc::interp::{Bound, bind, evaluate};
use losscc::ir::{Program, TensorId, print};
use losscc::lower::lower;
use losscc::modules::{self, NoFiles};
use losscc::shipped;

/// The value program of a text.
fn lowered(name: &str, text: &str) -> Result<Program, String> {
    let modules =
        modules::load_text(name, text, &NoFiles).map_err(|f| format!("{:#?}", f.diagnostics))?;
    let checked = lower(&modules, modules.root).map_err(|d| format!("{d:#?}\n{text}"))?;
    Ok(checked.program)
}

/// With gradients; the program is verified after each pass.
fn derived(name: &str, text: &str) -> Result<Program, String> {
    let program = lowered(name, text)?;
    let derived =
        losscc::compile::derive(program).map_err(|e| format!("{}: {:?}", e.title, e.notes))?;
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
        let scale = x
            .iter()
            .chain(&y)
            .filter(|v| v.is_finite())
            .fold(1.0f64, |m, v| m.max(v.abs()));
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
    let arrays: Vec<_> = from
        .inputs
        .iter()
        .zip(&bound.inputs)
        .map(|(&t, a)| (from.get(t).name.clone(), a))
        .collect();
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
            return Err(fail(format!(
                "the printed text differs by {worst:e}\nread again:\n{twice}"
            )));
        }
    }
    Ok(printed)
}

fn all(programs: impl Iterator<Item = (String, String)>) {
    each(programs, examine);
}

fn each(
    programs: impl Iterator<Item = (String, String)>,
    examine: impl Fn(&str, &str) -> Result<String, String> + std::panic::RefUnwindSafe,
) {
    let only = std::env::var("ONLY").ok();
    let mut failures = vec![];
    for (name, text) in programs {
        if only
            .as_ref()
            .is_some_and(|o| !o.split(',').any(|o| o == name))
        {
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
    assert!(
        failures.is_empty(),
        "{} fail\n{}",
        failures.len(),
        failures.join("\n\n")
    );
}

#[test]
fn gradients_of_all_specs_agree_with_differences_and_survive_printing() {
    all(shipped::all()
        .iter()
        .map(|&(n, t)| (n.to_string(), t.to_string())));
}

#[test]
fn gradients_of_hard_programs_agree_with_differences_and_survive_printing() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/calculus");
    let mut programs: Vec<(String, String)> = std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .map(|p| {
            (
                p.file_stem().unwrap().to_string_lossy().into_owned(),
                std::fs::read_to_string(&p).unwrap(),
            )
        })
        .collect();
    programs.sort();
    all(programs.into_iter());
}

/// The Hessian's diagonal, of inputs for which it needs no extra axis, against differences of the gradient.
fn examine_diagonal(name: &str, text: &str) -> Result<String, String> {
    let program = derived(name, text)?;
    let mut report = String::new();
    for gradient in &program.gradients {
        let input = program.get(gradient.input).name.clone();
        let mut second = program.clone();
        let fail = |p: &Program, e: String| format!("{input}: {e}\n{}", print::gradient_text(p));
        let Some(diagonal) = hessian::diagonal(&mut second, gradient.input) else {
            continue;
        };
        second.gradients.retain(|g| g.input == gradient.input);
        second.gradients[0].tensor = diagonal.tensor;
        report += &format!(
            "{input}: {} extra axes, other entries: {}\n",
            diagonal.extra_axes, diagonal.other_entries
        );
        if diagonal.extra_axes > 0 {
            continue;
        }
        losscc::ir::verify::verify(&second).map_err(|e| fail(&second, e))?;
        report += &print::gradient_text(&second);
        let mut sampler = Sampler::new(&program, 5);
        let Ok(bound) = sampler.draw() else { continue };
        let slot = program
            .inputs
            .iter()
            .position(|&i| i == gradient.input)
            .unwrap();
        let at =
            |tensor: Option<TensorId>, p: &Program, bound: &Bound| -> Result<Vec<f64>, String> {
                let Some(t) = tensor else {
                    return Ok(vec![0.0; bound.inputs[slot].len()]);
                };
                let array = evaluate(p, bound, &[t]).map_err(|e| e.title)?.remove(0);
                Ok(array.reals().unwrap_or(&[]).to_vec())
            };
        let found = at(diagonal.tensor, &second, &bound).map_err(|e| fail(&second, e))?;
        for i in 0..found.len() {
            let along = |h: f64| -> Result<f64, String> {
                let mut moved = bound.clone();
                if let Data::Real(v) = &mut moved.inputs[slot].data {
                    v[i] += h;
                }
                Ok(at(gradient.tensor, &program, &moved)?[i])
            };
            let difference =
                |h: f64| -> Result<f64, String> { Ok((along(h)? - along(-h)?) / (2.0 * h)) };
            let (wide, narrow) = match (difference(2e-4), difference(1e-4)) {
                (Ok(w), Ok(n)) => (w, n),
                _ => continue,
            };
            let expected = (4.0 * narrow - wide) / 3.0;
            let scale = found
                .iter()
                .filter(|x| x.is_finite())
                .fold(1.0f64, |m, x| m.max(x.abs()));
            // Where the differences do not settle there is a kink.
            let settled = (narrow - wide).abs() < 1e-4 * scale;
            let off = (found[i] - expected).abs();
            if settled && (off.is_nan() || off >= 1e-5 * scale) {
                return Err(fail(
                    &second,
                    format!("at {i}: {} and not {expected}", found[i]),
                ));
            }
        }
    }
    Ok(report)
}

#[test]
fn diagonals_of_hessians_agree_with_differences() {
    // Differences of ciou's gradient see what its `stop_gradient` hides.
    let programs = shipped::all().iter().filter(|(n, _)| *n != "ciou");
    each(
        programs.map(|&(n, t)| (n.to_string(), t.to_string())),
        examine_diagonal,
    );
}

/// A gradient inside a loss is that of the stable form, or it would be NaN where the textbook's form overflows.
#[test]
fn inner_gradients_come_from_stable_forms() {
    for (text, x, value, gradient) in [
        (
            "loss l(x: [N]) = sum[N](grad[x](e)) where e = sum[N](log(1 - sigmoid(x)))",
            [800.0, -800.0],
            -1.0,
            [0.0, 0.0],
        ),
        (
            "loss l(x: [N]) = sum[N](N * grad[x](e)) where e = log(sum[N](exp(x)))",
            [1000.0, 1000.0],
            0.5,
            [-0.25, 0.25],
        ),
        // By a definition: its stable form must not lose it.
        (
            "loss l(x: [N]) = sum[N](grad[p](e)) where p = sigmoid(x)  e = sum[N](log(p))",
            [0.0, 0.0],
            4.0,
            [-1.0, -1.0],
        ),
    ] {
        let program = derived("l", text).unwrap();
        let x = Array::real(&[2], x.to_vec());
        let bound = bind(&program, &[("x", &x)], &[]).unwrap();
        let got = evaluate(&program, &bound, &program.outputs()).unwrap();
        let close = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-12);
        assert!(close(got[0].reals().unwrap(), &[value]), "{text}: {got:?}");
        if let Some(bar) = got.get(1) {
            assert!(close(bar.reals().unwrap(), &gradient), "{text}: {got:?}");
        }
    }
}
