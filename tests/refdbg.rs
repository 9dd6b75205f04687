//! Every spec against the values and gradients of the libraries that have the same loss.
//!
//! `tests/reference/<loss>.json` holds the cases, `scripts/reference.py` made them. A value is right to the
//! tolerance times max(1, |value|), a gradient to the tolerance times its largest entry.

use losscc::array::{Array, Data};
use losscc::codegen::Dtype;
use losscc::data::{self, Format};
use losscc::diagnostic::Diagnostic;
use losscc::interp::{bind, evaluate};
use losscc::ir::{Program, Type};
use losscc::kernel::{self, Kernel};
use losscc::loops::{Wanted, schedule};
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
    let path = directory("tests/reference").join(format!("{loss}.json"));
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
            || (want - got).abs() <= self.relative * scale + self.floor;
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
    for loss in specs {
        let cases = cases(&loss);
        assert!(cases.len() >= 3, "{loss} has {} cases", cases.len());
        assert!(
            cases.iter().any(|case| !case.grad.is_empty()),
            "{loss} has no gradient"
        );
    }
}

/// The loss with its gradients.
fn derived(loss: &str) -> Program {
    let modules = losscc::modules::load(loss, &losscc::modules::NoFiles)
        .map_err(|f| render(&f.diagnostics))
        .unwrap();
    let checked = losscc::lower::lower(&modules, modules.root);
    let mut program = checked.map_err(|d| render(&d)).unwrap().program;
    let value = [program.value];
    losscc::grad::inner::expand(&mut program, &value);
    losscc::rewrite::simplify::simplify(&mut program, &value);
    losscc::grad::differentiate(&mut program);
    let outputs = program.outputs();
    losscc::rewrite::simplify::simplify(&mut program, &outputs);
    program
}

fn render(diagnostics: &[Diagnostic]) -> String {
    let titles: Vec<&str> = diagnostics.iter().map(|d| d.title.as_str()).collect();
    titles.join("; ")
}

/// A value and the gradients by input.
type Answer = (f64, Vec<(String, Vec<f64>)>);

/// What the interpreter computes.
fn interpret(program: &Program, case: &Case) -> Result<Answer, String> {
    let bound = bind(program, &case.data(), &case.set()).map_err(|d| render(&d))?;
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

/// An input in the type that a kernel takes it in.
enum Column {
    F32(Vec<f32>),
    F64(Vec<f64>),
    I64(Vec<i64>),
    Bool(Vec<bool>),
}

impl Column {
    fn new(array: &Array, ty: Type, dtype: Dtype) -> Column {
        let converted = array.clone().convert(ty).unwrap();
        match (converted.data, dtype) {
            (Data::Real(x), Dtype::F32) => Column::F32(x.iter().map(|&x| x as f32).collect()),
            (Data::Real(x), Dtype::F64) => Column::F64(x),
            (Data::Int(x), _) => Column::I64(x),
            (Data::Bool(x), _) => Column::Bool(x),
        }
    }

    fn zeros(len: usize, dtype: Dtype) -> Column {
        match dtype {
            Dtype::F32 => Column::F32(vec![0.0; len]),
            Dtype::F64 => Column::F64(vec![0.0; len]),
        }
    }

    fn data(&self) -> kernel::Data<'_> {
        match self {
            Column::F32(x) => kernel::Data::F32(x),
            Column::F64(x) => kernel::Data::F64(x),
            Column::I64(x) => kernel::Data::I64(x),
            Column::Bool(x) => kernel::Data::Bool(x),
        }
    }

    fn data_mut(&mut self) -> kernel::DataMut<'_> {
        match self {
            Column::F32(x) => kernel::DataMut::F32(x),
            Column::F64(x) => kernel::DataMut::F64(x),
            Column::I64(_) | Column::Bool(_) => unreachable!("a gradient is real"),
        }
    }

    fn reals(self) -> Vec<f64> {
        match self {
            Column::F32(x) => x.into_iter().map(f64::from).collect(),
            Column::F64(x) => x,
            Column::I64(_) | Column::Bool(_) => unreachable!("a gradient is real"),
        }
    }
}

/// What a kernel computes.
fn call(kernel: &Kernel, program: &Program, case: &Case) -> Result<Answer, String> {
    let given = |name: &str| &case.inputs.iter().find(|(n, _)| n == name).unwrap().1;
    let columns: Vec<(&str, Column, &[usize])> = program
        .inputs
        .iter()
        .map(|&t| {
            let tensor = program.get(t);
            let array = given(&tensor.name);
            let column = Column::new(array, tensor.ty, kernel.dtype());
            (&*tensor.name, column, &array.shape[..])
        })
        .collect();
    let inputs: Vec<kernel::Input> = columns
        .iter()
        .map(|(name, column, shape)| kernel::Input {
            name,
            data: column.data(),
            shape,
        })
        .collect();
    let mut gradients: Vec<(String, Column)> = program
        .gradients
        .iter()
        .map(|g| {
            let name = &program.get(g.input).name;
            let zeros = Column::zeros(given(name).len(), kernel.dtype());
            (name.to_string(), zeros)
        })
        .collect();
    let mut places: Vec<kernel::Gradient> = gradients
        .iter_mut()
        .map(|(name, column)| kernel::Gradient {
            name,
            data: column.data_mut(),
        })
        .collect();
    let value = kernel.value_and_grad(&inputs, &case.set(), &mut places);
    let value = value.map_err(|d| d.title)?;
    let gradients = gradients.into_iter().map(|(name, g)| (name, g.reals()));
    Ok((value, gradients.collect()))
}

/// What is wrong with an answer.
fn compare(case: &Case, tolerance: Tolerance, answer: Result<Answer, String>) -> Vec<String> {
    let (value, grad) = match answer {
        Ok(answer) => answer,
        Err(e) => return vec![format!("{}: {e}", case.name)],
    };
    let mut wrong = vec![];
    if let Err(e) = tolerance.value(case.value, value) {
        wrong.push(format!("{}: the value is {e}", case.name));
    }
    for (input, want) in &case.grad {
        let want = want.clone().convert(Type::Real).unwrap();
        let got = grad.iter().find(|(name, _)| name == input);
        let compared = match got {
            Some((_, got)) => tolerance.gradient(want.reals().unwrap(), got),
            None => Err("there is none".to_owned()),
        };
        if let Err(e) = compared {
            wrong.push(format!("{}: gradient of {input}: {e}", case.name));
        }
    }
    wrong
}

fn losses() -> Vec<String> {
    match std::env::var("ONLY") { Ok(o) => vec![o], Err(_) => stems(&directory("specs"), "loss") }
}

fn report(wrong: &[String]) {
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn the_interpreter_agrees_with_the_references() {
    let mut wrong = vec![];
    for loss in losses() {
        let program = derived(&loss);
        for case in cases(&loss) {
            wrong.extend(compare(&case, F64, interpret(&program, &case)));
        }
    }
    report(&wrong);
}

/// What need not compile yet: it is refused by name, never evaluated otherwise.
const MAY_BE_REFUSED: &[&str] = &[
    "approx_ndcg",
    "crf_nll",
    "ctc",
    "emd",
    "fgsm_logistic",
    "ghm_c",
    "ghm_r",
    "info_nce",
    "listmle",
    "listnet",
    "lovasz_hinge",
    "maml_linear",
    "multilabel_margin",
    "nt_xent",
    "ranknet",
    "soft_dtw",
    "supcon",
    "trades",
    "wasserstein_1d",
];

fn compiled(program: &Program, dtype: Dtype) -> Result<Kernel, String> {
    let gradients = program.gradients.iter().map(|g| g.input).collect();
    let wanted = Wanted {
        value: true,
        gradients,
    };
    let loops = schedule(program, &wanted).map_err(|d| d.title)?;
    Kernel::new(loops, None, dtype).map_err(|refusal| format!("{refusal:?}"))
}

fn check_kernels(dtype: Dtype, tolerance: Tolerance) {
    let mut wrong = vec![];
    for loss in losses() {
        let program = derived(&loss);
        let kernel = match compiled(&program, dtype) {
            Ok(kernel) => kernel,
            Err(e) if MAY_BE_REFUSED.contains(&loss.as_str()) => {
                println!("{loss} does not compile: {e}");
                continue;
            }
            Err(e) => {
                wrong.push(format!("{loss} does not compile: {e}"));
                continue;
            }
        };
        for case in cases(&loss) {
            if dtype == Dtype::F64 || case.f32 {
                wrong.extend(compare(&case, tolerance, call(&kernel, &program, &case)));
            }
        }
    }
    report(&wrong);
}

#[test]
fn f64_kernels_agree_with_the_references() {
    check_kernels(Dtype::F64, F64);
}

#[test]
fn f32_kernels_agree_with_the_references() {
    check_kernels(Dtype::F32, F32);
}
