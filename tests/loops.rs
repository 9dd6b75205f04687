//! Schedules against the definitions: every spec and every program of `tests/programs` that schedules, value and
//! gradient and the value alone, on random small shapes with empty axes among them. Loops are interpreted plainly,
//! with their buffers contracted and shared.

use losscc::array::{Array, Data};
use losscc::interp::scalar::Scalar;
use losscc::interp::{Bound, evaluate, extents_for};
use losscc::ir::{ExtentKind, Program, Type};
use losscc::loops::{Wanted, interp, print, schedule};
use losscc::{compile, lower, modules};
use std::path::Path;

const SEEDS: u64 = 30;

/// Loads, checks, makes stable and differentiates.
fn program(name: &str, text: &str) -> Program {
    let files =
        |path: &Path| std::fs::read(Path::new("specs").join(path.file_name().unwrap_or_default()));
    let modules = modules::load_text(name, text, &files)
        .unwrap_or_else(|f| panic!("{name}: {:?}", f.diagnostics));
    let checked = lower::lower(&modules, modules.root).unwrap_or_else(|e| panic!("{name}: {e:?}"));
    let derived = compile::derive(checked.program).unwrap_or_else(|e| panic!("{name}: {e:?}"));
    derived.program
}

/// Random inputs; extents are small and 0 now and then.
fn draw(program: &Program, rng: &mut fastrand::Rng) -> Option<Bound> {
    let params: Vec<Scalar> = program
        .params
        .iter()
        .map(|p| match p.ty {
            Type::Int => Scalar::Int(p.default.unwrap_or(2.0) as i64),
            _ => Scalar::Real(p.default.unwrap_or(0.7)),
        })
        .collect();
    let empty = rng.u8(..4) == 0;
    let extent = |rng: &mut fastrand::Rng| {
        if empty {
            rng.usize(0..3)
        } else {
            rng.usize(1..6)
        }
    };
    let given: Vec<Option<usize>> = program
        .extents
        .iter()
        .map(|e| (e.kind == ExtentKind::Input).then(|| extent(rng)))
        .collect();
    let extents = extents_for(program, &given, &params).ok()?;
    let positive = rng.bool();
    let largest = rng.i64(1..5);
    let inputs = program.inputs.iter().map(|&t| {
        let tensor = program.get(t);
        let shape: Vec<usize> = tensor
            .head
            .iter()
            .map(|&a| extents[program.extent_of(a).index()])
            .collect();
        let n: usize = shape.iter().product();
        let data = match tensor.ty {
            Type::Real => Data::Real(
                (0..n)
                    .map(|_| match rng.u8(..12) {
                        0 => 0.0,
                        1 => 1.0,
                        2 if !positive => -1.0,
                        _ if positive => rng.f64() * 0.98 + 0.01,
                        _ => rng.f64() * 6.0 - 3.0,
                    })
                    .collect(),
            ),
            Type::Int => Data::Int(
                (0..n)
                    .map(|_| {
                        if rng.u8(..9) == 0 {
                            -100
                        } else {
                            rng.i64(0..largest)
                        }
                    })
                    .collect(),
            ),
            Type::Bool => Data::Bool((0..n).map(|_| rng.bool()).collect()),
        };
        Array { shape, data }
    });
    let inputs: Vec<Array> = inputs.collect();
    Some(Bound {
        shapes: inputs.iter().map(|a| a.shape.clone()).collect(),
        inputs,
        extents,
        params,
    })
}

fn close(a: &Array, b: &Array) -> bool {
    let (a, b) = (a.reals().unwrap_or(&[]), b.reals().unwrap_or(&[]));
    let finite = a
        .iter()
        .filter(|x| x.is_finite())
        .map(|x| x.abs())
        .fold(1.0, f64::max);
    a.len() == b.len()
        && a.iter()
            .zip(b)
            .all(|(x, y)| x == y || x.is_nan() && y.is_nan() || (x - y).abs() <= 1e-9 * finite)
}

/// The loops of a program, run against its definitions; the text of the loops, or why there are none.
fn checked(name: &str, program: &Program) -> Result<String, String> {
    let gradients: Vec<_> = program.gradients.iter().map(|g| g.input).collect();
    let all = Wanted {
        value: true,
        gradients: gradients.clone(),
    };
    let mut kernels = vec![(
        schedule(program, &all).map_err(|d| d.title)?,
        program.outputs(),
    )];
    let value = Wanted {
        value: true,
        gradients: vec![],
    };
    kernels.push((
        schedule(program, &value).map_err(|d| d.title)?,
        vec![program.value],
    ));
    if gradients.len() > 1 {
        let one = Wanted {
            value: true,
            gradients: gradients[1..2].to_vec(),
        };
        let mut outputs = vec![program.value];
        outputs.extend(program.gradients[1].tensor);
        kernels.push((schedule(program, &one).map_err(|d| d.title)?, outputs));
    }
    let text = print::print(&kernels[0].0);
    let mut compared = 0;
    for seed in 0..SEEDS {
        let mut rng = fastrand::Rng::with_seed(seed);
        let Some(bound) = draw(program, &mut rng) else {
            continue;
        };
        let chunk = rng.usize(1..5);
        let mut first: Option<Array> = None;
        for (loops, outputs) in &kernels {
            let missing = loops.outputs.len() != outputs.len();
            let got = interp::run(loops, &bound.inputs, &bound.params, chunk);
            let expected = match evaluate(program, &bound, outputs) {
                Ok(v) => v,
                // The definitions fail here; loops compute less of them, so they may not.
                Err(_) => continue,
            };
            let got = match got {
                Ok(got) => got,
                Err(e) => panic!(
                    "{name}, seed {seed}: {e}\n{}\n{}",
                    losscc::ir::print::dump(program),
                    print::print(loops)
                ),
            };
            compared += 1;
            if !missing {
                for (a, b) in expected.iter().zip(&got) {
                    assert!(
                        close(a, b),
                        "{name}, seed {seed}:\n{a:?}\n{b:?}\n{:?}\n{}\n{}",
                        bound.inputs,
                        losscc::ir::print::dump(program),
                        print::print(loops)
                    );
                }
            }
            let value = got[0].clone();
            let same = first.get_or_insert_with(|| value.clone());
            let bits = |a: &Array| {
                a.reals()
                    .map(|v| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>())
            };
            assert!(
                bits(same) == bits(&value) || value.reals().is_some_and(|v| v[0].is_nan()),
                "{name}, seed {seed}: the kernels disagree on the value\n{text}\n{}",
                print::print(loops)
            );
        }
    }
    if compared == 0 {
        return Err("no inputs were found".into());
    }
    Ok(text)
}

/// Recurrences, sorted orders and inner gradients: refused by name, until they compile.
const NOT_YET: &[&str] = &[
    "approx_ndcg",
    "crf_nll",
    "ctc",
    "emd",
    "fgsm_logistic",
    "listmle",
    "lovasz_hinge",
    "maml_linear",
    "multilabel_margin",
    "soft_dtw",
    "wasserstein_1d",
];

#[test]
fn specs() {
    let only = std::env::var("ONLY").ok();
    let mut failed = vec![];
    for (name, text) in losscc::shipped::all() {
        if only.as_ref().is_some_and(|o| o != name) {
            continue;
        }
        let result = std::panic::catch_unwind(|| {
            let program = program(name, text);
            let text = checked(name, &program);
            if only.is_some() {
                println!(
                    "{}\n{}",
                    losscc::ir::print::dump(&program),
                    text.clone().unwrap_or_default()
                );
            }
            text
        });
        match result {
            Ok(Ok(_)) => {}
            Ok(Err(why)) if NOT_YET.contains(name) && why.contains("not compiled yet") => {}
            Ok(Err(why)) => failed.push(format!("{name}: {why}")),
            Err(_) => failed.push(format!("{name}: panics")),
        }
    }
    assert!(
        failed.is_empty(),
        "{} specs fail:\n{}",
        failed.len(),
        failed.join("\n")
    );
}

/// Losses that no catalogue has.
#[test]
fn programs() {
    let only = std::env::var("ONLY").ok();
    let mut failed = vec![];
    let mut count = 0;
    for entry in std::fs::read_dir("tests/programs").expect("the folder of programs") {
        let path = entry.expect("a program").path();
        let name = path
            .file_stem()
            .and_then(|s| s.to_str())
            .unwrap_or_default()
            .to_string();
        if only.as_ref().is_some_and(|o| *o != name) {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a text");
        count += 1;
        let result = std::panic::catch_unwind(|| {
            let program = program(&name, &text);
            let text = checked(&name, &program);
            if only.is_some() {
                println!(
                    "{}\n{}",
                    losscc::ir::print::dump(&program),
                    text.clone().unwrap_or_default()
                );
            }
            text
        });
        match result {
            Ok(Ok(_)) => {}
            Ok(Err(why)) => failed.push(format!("{name}: {why}")),
            Err(_) => failed.push(format!("{name}: panics")),
        }
    }
    assert!(
        failed.is_empty(),
        "{count} programs, {} fail:\n{}",
        failed.len(),
        failed.join("\n")
    );
    assert!(only.is_some() || count >= 40);
}
