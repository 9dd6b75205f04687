//! Every spec against the values and gradients of the libraries that have the same loss, and losses with gradients inside
//! (`tests/inner`) against automatic differentiation.
//!
//! `tests/reference/<loss>.json` and `tests/inner/<loss>.json` hold the cases, `scripts/reference.py` made them. A value is right to the
//! tolerance times max(1, |value|), a gradient to the tolerance times its largest entry.

use losscc::array::Array;
use losscc::data::{self, Format};
use losscc::diagnostic::Diagnostic;
use losscc::interp::{bind, evaluate};
use losscc::ir::{Program, Type};
use losscc::{Dtype, Error, Kernel, Loss, Options, Spec};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// One case of a file.
struct Case {
    /// `loss/case`.
    name: String,
    inputs: Vec<(String, Array)>,
    /// Hyperparameters that differ from their defaults.
    set: Vec<(String, f64)>,
    value: f64,
    /// Gradients of those inputs for which one is promised.
    grad: Vec<(String, Array)>,
    hessian_diag: Vec<(String, Array)>,
    /// Whether f32 is accurate enough for it.
    f32: bool,
}

impl Case {
    fn data(&self) -> Vec<(&str, &Array)> {
        self.inputs.iter().map(|(n, a)| (n.as_str(), a)).collect()
    }

    fn set(&self) -> Vec<(&str, f64)> {
        self.set.iter().map(|(n, x)| (n.as_str(), *x)).collect()
    }
}

fn directory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The names of the files with an extension in a directory, sorted.
fn stems(directory: &Path, extension: &str) -> Vec<String> {
    let mut stems: Vec<String> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == extension))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    stems.sort();
    stems
}

fn cases(loss: &str) -> Vec<Case> {
    let folder = if is_inner(loss) {
        "tests/inner"
    } else {
        "tests/reference"
    };
    let path = directory(folder).join(format!("{loss}.json"));
    let file: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert_eq!(file["loss"], loss);
    let cases = file["cases"].as_array().unwrap();
    cases.iter().map(|case| read_case(loss, case)).collect()
}

fn read_case(loss: &str, case: &Value) -> Case {
    let name = format!("{loss}/{}", case["name"].as_str().unwrap());
    let arrays = |key: &str| match case.get(key) {
        Some(entries) => data::read(&name, Format::Json, entries.to_string().as_bytes()).unwrap(),
        None => vec![],
    };
    let set = case.get("set").and_then(Value::as_object);
    let number = |(name, x): (&String, &Value)| (name.clone(), x.as_f64().unwrap());
    Case {
        inputs: arrays("inputs"),
        set: set.into_iter().flatten().map(number).collect(),
        value: match &case["value"] {
            Value::String(text) => text.parse().unwrap(),
            value => value.as_f64().unwrap(),
        },
        grad: arrays("grad"),
        hessian_diag: arrays("hessian_diag"),
        f32: case.get("f32") != Some(&Value::Bool(false)),
        name,
    }
}

/// How close a result must be, and below which size a number need not be told from 0.
#[derive(Clone, Copy)]
struct Tolerance {
    relative: f64,
    floor: f64,
}

const F64: Tolerance = Tolerance {
    relative: 1e-9,
    floor: f64::MIN_POSITIVE,
};

const F32: Tolerance = Tolerance {
    relative: 1e-5,
    floor: f32::MIN_POSITIVE as f64,
};

impl Tolerance {
    fn value(self, want: f64, got: f64) -> Result<(), String> {
        self.close(want, got, want.abs().max(1.0))
    }

    fn gradient(self, want: &[f64], got: &[f64]) -> Result<(), String> {
        if want.len() != got.len() {
            return Err(format!("{} entries instead of {}", got.len(), want.len()));
        }
        let largest = want
            .iter()
            .filter(|x| x.is_finite())
            .fold(0.0, |a: f64, x| a.max(x.abs()));
        want.iter()
            .zip(got)
            .enumerate()
            .try_for_each(|(at, (&want, &got))| {
                self.close(want, got, largest)
                    .map_err(|e| format!("entry {at}: {e}"))
            })
    }

    fn close(self, want: f64, got: f64, scale: f64) -> Result<(), String> {
        let close = want == got
            || want.is_nan() && got.is_nan()
            || want.is_finite() && (want - got).abs() <= self.relative * scale + self.floor;
        match close {
            true => Ok(()),
            false => Err(format!("{got:e} instead of {want:e}")),
        }
    }
}

#[test]
fn every_spec_has_reference_values() {
    let specs = stems(&directory("specs"), "loss");
    assert_eq!(specs, stems(&directory("tests/reference"), "json"));
    for loss in losses() {
        let cases = cases(&loss);
        assert!(cases.len() >= 3, "{loss} has {} cases", cases.len());
        assert!(
            cases.iter().any(|case| !case.grad.is_empty()),
            "{loss} has no gradient"
        );
    }
}

fn losses() -> Vec<String> {
    let mut all = stems(&directory("specs"), "loss");
    all.extend(stems(&directory("tests/inner"), "loss"));
    all
}

fn is_inner(loss: &str) -> bool {
    directory("tests/inner")
        .join(format!("{loss}.loss"))
        .exists()
}

fn derived(loss: &str) -> Result<Loss, Error> {
    let path = directory("tests/inner").join(format!("{loss}.loss"));
    match is_inner(loss) {
        true => Spec::open(path.to_str().unwrap())?.derive(),
        false => Spec::open(loss)?.derive(),
    }
}

/// A value and the gradients by input.
type Answer = (f64, Vec<(String, Vec<f64>)>);

/// What the interpreter computes.
fn interpret(program: &Program, case: &Case) -> Result<Answer, String> {
    let titles = |d: Vec<Diagnostic>| {
        d.into_iter()
            .map(|d| d.title)
            .collect::<Vec<_>>()
            .join("; ")
    };
    let bound = bind(program, &case.data(), &case.set()).map_err(titles)?;
    let outputs = program.outputs();
    let computed = evaluate(program, &bound, &outputs).map_err(|d| d.title)?;
    let of = |tensor| {
        let at = outputs.iter().position(|&t| t == tensor).unwrap();
        computed[at].reals().unwrap().to_vec()
    };
    let gradients = program.gradients.iter().map(|g| {
        let at = program.inputs.iter().position(|&t| t == g.input).unwrap();
        let zero = || vec![0.0; bound.inputs[at].len()];
        let name = program.get(g.input).name.to_string();
        (name, g.tensor.map_or_else(zero, of))
    });
    Ok((of(program.value)[0], gradients.collect()))
}

/// What a kernel computes.
fn call(kernel: &Kernel, case: &Case) -> Result<Answer, String> {
    let answer = kernel.evaluate(&case.data(), &case.set());
    let answer = answer.map_err(|e| e.to_string())?;
    let gradients = answer.gradients.into_iter().map(|g| (g.name, g.values));
    Ok((answer.value.number().unwrap(), gradients.collect()))
}

/// What is wrong with the gradients of an answer.
fn compare_gradients(
    case: &Case,
    tolerance: Tolerance,
    wanted: &[(String, Array)],
    answer: &Answer,
) -> Vec<String> {
    let mut wrong = vec![];
    for (input, want) in wanted {
        let want = want.clone().convert(Type::Real).unwrap();
        let compared = match answer.1.iter().find(|(name, _)| name == input) {
            Some((_, got)) => tolerance.gradient(want.reals().unwrap(), got),
            None => Err("there is none".to_owned()),
        };
        if let Err(e) = compared {
            wrong.push(format!("{}: gradient of {input}: {e}", case.name));
        }
    }
    wrong
}

/// What is wrong with an answer.
fn compare(case: &Case, tolerance: Tolerance, answer: Result<Answer, String>) -> Vec<String> {
    let answer = match answer {
        Ok(answer) => answer,
        Err(e) => return vec![format!("{}: {e}", case.name)],
    };
    let mut wrong = compare_gradients(case, tolerance, &case.grad, &answer);
    if let Err(e) = tolerance.value(case.value, answer.0) {
        wrong.push(format!("{}: the value is {e}", case.name));
    }
    wrong
}

/// Runs `check` on every loss; it says what is wrong.
fn for_every_loss(check: impl Fn(&str, &Loss) -> Vec<String>) {
    let wrong: Vec<String> = losses()
        .iter()
        .flat_map(|loss| match derived(loss) {
            Ok(derived) => check(loss, &derived),
            Err(e) => vec![format!("{loss}: {e}")],
        })
        .collect();
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn the_interpreter_agrees_with_the_references() {
    for_every_loss(|name, loss| {
        let check = |case: &Case| compare(case, F64, interpret(loss.program(), case));
        cases(name).iter().flat_map(check).collect()
    });
}

#[test]
fn printed_gradients_agree_with_the_references() {
    for_every_loss(|name, loss| {
        let text = loss.gradient_text();
        let printed = match Spec::parse(name, &text).and_then(|spec| spec.derive()) {
            Ok(printed) => printed,
            Err(e) => return vec![format!("{name}: {e}\n{text}")],
        };
        let check = |case: &Case| compare(case, F64, interpret(printed.program(), case));
        cases(name).iter().flat_map(check).collect()
    });
}

#[test]
fn hessian_diagonals_agree_with_the_references() {
    for_every_loss(|name, loss| {
        let mut wrong = vec![];
        for case in cases(name) {
            let wrt: Vec<String> = case.hessian_diag.iter().map(|(n, _)| n.clone()).collect();
            if wrt.is_empty() {
                continue;
            }
            let diagonal = loss.hessian_diagonal(Some(&wrt)).map_err(|e| e.to_string());
            let answer = diagonal.and_then(|(d, _)| interpret(d.program(), &case));
            match answer {
                Ok(answer) => {
                    wrong.extend(compare_gradients(&case, F64, &case.hessian_diag, &answer))
                }
                Err(e) => wrong.push(format!("{}: {e}", case.name)),
            }
        }
        wrong
    });
}

fn check_kernels(dtype: Dtype, tolerance: Tolerance) {
    for_every_loss(|name, loss| {
        let options = Options {
            dtype,
            ..Options::default()
        };
        let kernel = match loss.compile(&options) {
            Ok(kernel) => kernel,
            Err(e) => return vec![format!("{name} does not compile: {e}")],
        };
        cases(name)
            .iter()
            .filter(|case| dtype == Dtype::F64 || case.f32)
            .flat_map(|case| compare(case, tolerance, call(&kernel, case)))
            .collect()
    });
}

#[test]
fn f64_kernels_agree_with_the_references() {
    check_kernels(Dtype::F64, F64);
}

#[test]
fn f32_kernels_agree_with_the_references() {
    check_kernels(Dtype::F32, F32);
}
