//! Other reductions than a loss's own, and weights for its rows (rule R12).
//!
//! `tests/rows/<loss>.json` holds the references, `scripts/rows_reference.py` made them.

use losscc::array::Array;
use losscc::check::Sampler;
use losscc::data::{self, Format};
use losscc::interp::{Bound, bind, evaluate};
use losscc::ir::{Program, Type};
use losscc::{Dtype, Error, Gradient, Input, Kernel, Loss, Options, Reduction, Spec, shipped};
use serde_json::Value;
use std::path::Path;

const REDUCTIONS: [Reduction; 3] = [Reduction::None, Reduction::Sum, Reduction::Mean];

/// Values and gradients by input.
type Answer = (Vec<f64>, Vec<(String, Vec<f64>)>);

fn loss(name: &str, reduction: Option<Reduction>, weighted: bool) -> Result<Loss, Error> {
    Spec::open(name)?.derive()?.reduced(reduction, weighted)
}

fn text(text: &str, reduction: Option<Reduction>, weighted: bool) -> Result<Loss, Error> {
    Spec::parse("test", text)?
        .derive()?
        .reduced(reduction, weighted)
}

fn interpret(program: &Program, bound: &Bound) -> Answer {
    let outputs = program.outputs();
    let computed = evaluate(program, bound, &outputs).unwrap();
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
    (of(program.value), gradients.collect())
}

fn call(kernel: &Kernel, data: &[(&str, &Array)], set: &[(&str, f64)]) -> Answer {
    let answer = kernel.evaluate(data, set).unwrap();
    let gradients = answer.gradients.into_iter().map(|g| (g.name, g.values));
    (answer.value.reals().unwrap().to_vec(), gradients.collect())
}

fn close(want: &[f64], got: &[f64], tolerance: f64, least: f64) -> bool {
    let finite = want.iter().filter(|x| x.is_finite());
    let scale = finite.fold(least, |m: f64, x| m.max(x.abs()));
    let same = |(&w, &g): (&f64, &f64)| {
        w == g || (w.is_nan() && g.is_nan()) || (w - g).abs() <= tolerance * scale
    };
    want.len() == got.len() && want.iter().zip(got).all(same)
}

fn agree(what: &str, want: &Answer, got: &Answer, tolerance: f64) {
    assert!(
        close(&want.0, &got.0, tolerance, 1.0),
        "{what}: {got:?}, not {want:?}"
    );
    for (name, want) in &want.1 {
        let (_, got) = got.1.iter().find(|(n, _)| n == name).unwrap();
        let fits = close(want, got, tolerance, f64::MIN_POSITIVE);
        assert!(fits, "{what}: gradient of {name} {got:?}, not {want:?}");
    }
}

fn arrays(value: &Value) -> Vec<(String, Array)> {
    data::read("reference", Format::Json, value.to_string().as_bytes()).unwrap()
}

#[test]
fn libraries_agree() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rows");
    let mut compared = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let file: Value =
            serde_json::from_slice(&std::fs::read(entry.unwrap().path()).unwrap()).unwrap();
        let name = file["loss"].as_str().unwrap();
        let inputs = arrays(&file["inputs"]);
        let data: Vec<(&str, &Array)> = inputs.iter().map(|(n, a)| (n.as_str(), a)).collect();
        let set = file.get("set").and_then(Value::as_object);
        let set: Vec<(&str, f64)> = set
            .into_iter()
            .flatten()
            .map(|(k, v)| (k.as_str(), v.as_f64().unwrap()))
            .collect();
        for (reduction, weighted) in REDUCTIONS.into_iter().flat_map(|r| [(r, false), (r, true)]) {
            let key = match weighted {
                true => format!("weighted {}", reduction.name()),
                false => reduction.name().to_string(),
            };
            let what = format!("{name}, {key}");
            let expected = &file[&key];
            let value = arrays(&serde_json::json!({ "value": expected["value"] }))
                .remove(0)
                .1;
            let grad = arrays(&expected["grad"]).into_iter().map(|(n, a)| {
                let a = a.convert(Type::Real).unwrap();
                (n, a.reals().unwrap().to_vec())
            });
            let value = value.convert(Type::Real).unwrap();
            let want = (value.reals().unwrap().to_vec(), grad.collect());
            let loss = loss(name, Some(reduction), weighted).unwrap_or_else(|e| panic!("{e}"));
            let bound = bind(loss.program(), &data, &set).unwrap();
            agree(&what, &want, &interpret(loss.program(), &bound), 1e-9);
            for (dtype, tolerance) in [(Dtype::F64, 1e-9), (Dtype::F32, 1e-5)] {
                let options = Options {
                    dtype,
                    ..Options::default()
                };
                let Ok(kernel) = loss.compile(&options) else {
                    continue;
                };
                agree(&what, &want, &call(&kernel, &data, &set), tolerance);
                let shape = kernel.evaluate(&data, &set).unwrap().value.shape;
                assert_eq!(shape, value.shape, "{what}");
                compared += 1;
            }
        }
    }
    assert!(compared >= 200, "{compared}");
}

/// Losses whose value is not made of rows.
const WITHOUT_ROWS: [&str; 13] = [
    "demographic_parity",
    "gan_discriminator",
    "hinge_gan_discriminator",
    "lasso",
    "lsgan_discriminator",
    "multi_task",
    "poly_cross_entropy",
    "ridge",
    "rmse",
    "soft_dtw",
    "trades",
    "uncertainty_weighting",
    "wasserstein_critic",
];

#[test]
fn every_spec_has_rows_or_says_why_not() {
    for (name, _) in shipped::all() {
        let rows = match loss(name, Some(Reduction::None), false) {
            Ok(rows) => rows,
            Err(e) => {
                let said = e.to_string();
                assert!(WITHOUT_ROWS.contains(name), "{said}");
                assert!(
                    said.contains("has no row term, so it takes no `--reduction none`"),
                    "{said}"
                );
                assert!(said.contains("the value is "), "{said}");
                assert!(loss(name, None, true).is_err());
                continue;
            }
        };
        assert!(!WITHOUT_ROWS.contains(name), "{name}");
        let sum = loss(name, Some(Reduction::Sum), false).unwrap();
        let bound = Sampler::new(sum.program(), 5).draw().unwrap();
        let of_rows = interpret(rows.program(), &bound);
        let of_sum = interpret(sum.program(), &bound);
        let total = (vec![of_rows.0.iter().sum()], of_rows.1.clone());
        agree(&format!("{name}, none and sum"), &of_sum, &total, 1e-12);
        // The text is that of the sum, and means the same.
        let printed = Spec::parse(name, &rows.gradient_text()).and_then(|s| s.derive());
        let printed = interpret(printed.unwrap_or_else(|e| panic!("{e}")).program(), &bound);
        agree(&format!("{name}, printed"), &of_sum, &printed, 1e-12);
        let Ok(kernel) = rows.compile(&Options::default()) else {
            continue;
        };
        let names = rows
            .program()
            .inputs
            .iter()
            .map(|&i| &*rows.program().get(i).name);
        let shaped: Vec<Array> = bound
            .inputs
            .iter()
            .zip(&bound.shapes)
            .map(|(a, shape)| Array {
                shape: shape.clone(),
                data: a.data.clone(),
            })
            .collect();
        let data: Vec<(&str, &Array)> = names.zip(&shaped).collect();
        let set: Vec<(&str, f64)> = rows
            .program()
            .params
            .iter()
            .zip(&bound.params)
            .map(|(p, v)| (&*p.name, v.real()))
            .collect();
        agree(
            &format!("{name}, kernel"),
            &of_rows,
            &call(&kernel, &data, &set),
            1e-9,
        );
    }
}

#[test]
fn weights_that_are_all_one_change_nothing() {
    for (name, _) in shipped::all() {
        let Ok(weighted) = loss(name, None, true) else {
            continue;
        };
        let own = loss(name, None, false).unwrap();
        let mut bound = Sampler::new(weighted.program(), 6).draw().unwrap();
        let ones = bound.inputs.last_mut().unwrap();
        *ones = Array::real(&ones.shape.clone(), vec![1.0; ones.len()]);
        let with = interpret(weighted.program(), &bound);
        bound.inputs.pop();
        bound.shapes.pop();
        agree(name, &interpret(own.program(), &bound), &with, 1e-12);
    }
}

#[test]
fn forms_of_a_value() {
    let in_words = |t: &str| {
        let loss = text(t, None, false).unwrap_or_else(|e| panic!("{e}"));
        loss.reduction().map(str::to_string)
    };
    let weighted = |t: &str| {
        let loss = text(t, None, true).unwrap_or_else(|e| panic!("{t}: {e}"));
        loss.reduction().unwrap().to_string()
    };
    let rows = |t: &str| {
        let loss = text(t, Some(Reduction::None), true).unwrap_or_else(|e| panic!("{t}: {e}"));
        loss.reduction().unwrap().to_string()
    };
    for (value, own, with_weights, without) in [
        (
            "loss l = mean((y - yhat)^2)",
            "mean over all elements",
            "mean over all elements, divided by the sum of sample_weight",
            "one number for each element, times sample_weight",
        ),
        (
            "loss l = -sum(y * yhat)",
            "sum over all elements",
            "sum over all elements, times sample_weight",
            "one number for each element, times sample_weight",
        ),
        (
            "loss l(x: [N, C] | t: int[N]) = mean[N if t >= 0](logsumexp[C](x) - x[N, t])",
            "mean over N where t >= 0",
            "mean over N where t >= 0, divided by the sum of sample_weight",
            "one number for each N, 0 unless t >= 0, times sample_weight",
        ),
        (
            "loss l(x: [N, C]; w = 2) = w * total where total = -per_row / 3  per_row = sum(x^2)",
            "sum over N, C",
            "sum over N, C, times sample_weight",
            "one number for each N, C, times sample_weight",
        ),
        (
            "loss l(x: [N]) = sum[N](x^2) / size(N)",
            "mean over N",
            "mean over N, divided by the sum of sample_weight",
            "one number for each N, times sample_weight",
        ),
        (
            "loss l(x: [N] | m: bool[N]) = sum[N if m](x) / count[N](m)",
            "mean over N where m",
            "mean over N where m, divided by the sum of sample_weight",
            "one number for each N, 0 unless m, times sample_weight",
        ),
        (
            "loss l(x: [N] | w: [N]) = -sum[N](term) / all where all = sum(w) term = x^2 * w",
            "mean over N, divided by the sum of w",
            "mean over N, divided by the sum of sample_weight * w",
            "one number for each N, times sample_weight",
        ),
        (
            "loss l(x: [N, 2]) = sum[N, J](x[N, J])",
            "sum over N, J",
            "sum over N, J, times sample_weight",
            "one number for each N, J, times sample_weight",
        ),
    ] {
        assert_eq!(in_words(value).as_deref(), Some(own), "{value}");
        assert_eq!(weighted(value), with_weights, "{value}");
        assert_eq!(rows(value), without, "{value}");
    }
}

/// Everything that an error says.
fn refused(t: &str, reduction: Option<Reduction>, weighted: bool) -> String {
    match text(t, reduction, weighted) {
        Ok(_) => panic!("{t} is accepted"),
        Err(e) => {
            assert_eq!(e.exit_code(), 2);
            e.to_string()
        }
    }
}

#[test]
fn other_values_are_refused() {
    for (t, says) in [
        ("loss l(x: [N]) = sqrt(mean(x^2))", "the value is a `sqrt`"),
        (
            "loss l(x: [N]) = mean(x) - mean(x^2)",
            "the value is a sum of reductions",
        ),
        (
            "loss l(x: [N]) = 1 - mean(x)",
            "the value is a sum, not of rows alone",
        ),
        (
            "loss l(x: [N]) = mean(x) * mean(x^2)",
            "the value is a product of reductions",
        ),
        (
            "loss l(x: [N]) = sum(x) / sum(x^2)",
            "the value is a quotient of reductions, and no weighted mean",
        ),
        (
            "loss l(x: [N], w: [M]) = sum[N](x) / sum[M](w)",
            "no weighted mean",
        ),
        (
            "loss l(x: [N] | w: [N]) = sum[N if x > 0](w * x) / sum[N](w)",
            "no weighted mean",
        ),
        (
            "loss l(x: [N, C]) = sum[N, C](x) / size(N)",
            "the number of rows is a factor",
        ),
        ("loss l(x: [N]) = max(x)", "the value is a `max`"),
        ("loss l(x: [N]) = x[0]", "the value is an input"),
        ("loss l(x: []) = x^2", "the value is a power"),
        (
            "loss l(x: [N]) = if size(N) > 2 then mean(x) else 0",
            "the value is an `if`",
        ),
        (
            "loss l(x: [N]) = r[size(N) - 1] where r[N] = x + r[N - 1 else 0]",
            "the value is one element",
        ),
        (
            "loss l(x: []) = grad[x](x^3)",
            "the value is an inner gradient",
        ),
    ] {
        let said = refused(t, Some(Reduction::None), false);
        assert!(said.contains(says), "{t}: {said}");
    }
}

#[test]
fn refusals_name_the_place() {
    let t = "loss l(x: [N] | y: [N]; power = 2) =\n  total ^ 0.5\n  where total = mean(abs(x - y)^power)";
    assert_eq!(
        refused(t, Some(Reduction::Sum), true),
        "\
error: `l` has no row term, so it takes no `--reduction sum` and `--weighted`
 --> test:2:3
  |
2 |   total ^ 0.5
  |   ^^^^^^^^^^^ the value is a power
  |
  = note: the row term of `mean[N](e)` and of `sum[N](e)` is e; a sign or a factor without axes may stand around"
    );
    let t = "loss l(x: [N] | sample_weight: [N]) = mean(sample_weight * x)";
    assert!(text(t, Some(Reduction::Sum), false).is_ok());
    assert_eq!(
        refused(t, None, true),
        "\
error: `l` has an input `sample_weight` already
 --> test:1:17
  |
1 | loss l(x: [N] | sample_weight: [N]) = mean(sample_weight * x)
  |                 ^^^^^^^^^^^^^
  |
  = note: `--weighted` adds an input of this name, which weighs the rows
  = help: leave out `--weighted`, or give the other one another name"
    );
    let t = "loss l(x: [N]) = mean(x^2) gradient x[N] = 2 * x / size(N)";
    assert!(
        text(t, Some(Reduction::Mean), false).is_ok(),
        "nothing changes"
    );
    assert_eq!(
        refused(t, Some(Reduction::None), false),
        "\
error: `l` states its gradient, which does not hold with `--reduction none`
 --> test:1:28
  |
1 | loss l(x: [N]) = mean(x^2) gradient x[N] = 2 * x / size(N)
  |                            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ the gradient of `x` is that of the value as it is written
  |
  = help: write the reduction that is wanted in the file, with its gradient"
    );
    let t = "loss l(x: [N]; sample_weight = 1) = sample_weight * mean(x)";
    assert!(refused(t, None, true).contains("has a hyperparameter `sample_weight` already"));
}

#[test]
fn a_definition_may_have_the_name_of_the_weights() {
    let t = "loss l(x: [N]) = mean[N](x * sample_weight) where sample_weight = exp(x)";
    let loss = text(t, None, true).unwrap();
    let printed = Spec::parse("l", &loss.gradient_text()).unwrap();
    assert_eq!(printed.program().inputs.len(), 2);
}

#[test]
fn rows_of_any_rank() {
    let kernel = loss("mse", Some(Reduction::None), false).unwrap();
    let kernel = kernel.compile(&Options::default()).unwrap();
    for shape in [
        vec![],
        vec![0],
        vec![3],
        vec![2, 2],
        vec![1, 3, 2],
        vec![4099],
    ] {
        let n: usize = shape.iter().product();
        let yhat: Vec<f64> = (0..n).map(|i| i as f64).collect();
        let y = vec![1.0; n];
        let inputs = [
            Input::new("yhat", &yhat, &shape),
            Input::new("y", &y, &shape),
        ];
        let (mut rows, mut grad) = (vec![-1.0; n], vec![-1.0; n]);
        let places = &mut [Gradient::new("yhat", &mut grad)];
        kernel
            .rows_and_grad(&inputs, &[], &mut rows, places)
            .unwrap();
        assert!(
            rows.iter()
                .zip(&yhat)
                .all(|(r, x)| *r == (x - 1.0) * (x - 1.0))
        );
        assert!(grad.iter().zip(&yhat).all(|(g, x)| *g == 2.0 * (x - 1.0)));
        let mut again = vec![-1.0; n];
        kernel.rows(&inputs, &[], &mut again).unwrap();
        assert_eq!(rows, again);
        assert_eq!(kernel.rows_shape(&inputs, &[]).unwrap(), shape);
    }
}

#[test]
fn a_kernel_says_what_it_gives() {
    let (x, y) = ([1.0, 2.0], [0.0, 0.0]);
    let inputs = [Input::new("yhat", &x, &[2]), Input::new("y", &y, &[2])];
    let number = loss("mse", None, false)
        .unwrap()
        .compile(&Options::default())
        .unwrap();
    let rows = loss("mse", Some(Reduction::None), false).unwrap();
    let rows = rows.compile(&Options::default()).unwrap();
    let mut two = [0.0; 2];
    let said = |e: Result<(), Error>| e.unwrap_err().to_string();
    assert!(said(number.rows(&inputs, &[], &mut two)).contains("one number, there are no rows"));
    assert!(said(rows.value(&inputs, &[]).map(|_| ())).contains("one number for each row"));
    let short = said(rows.rows(&inputs, &[], &mut [0.0; 1]));
    assert!(
        short.contains("the place for `rows` has 1 elements of f64, but 2 of f64 are needed"),
        "{short}"
    );
    let single = said(rows.rows(&inputs, &[], &mut [0f32; 2]));
    assert!(
        single.contains("2 elements of f32, but 2 of f64"),
        "{single}"
    );
    assert!(number.rows_shape(&inputs, &[]).unwrap().is_empty());
    // The options of the kernel do what `reduced` does.
    let options = Options {
        reduction: Some(Reduction::Sum),
        weighted: true,
        ..Options::default()
    };
    let sum = Spec::open("mse")
        .unwrap()
        .derive()
        .unwrap()
        .compile(&options)
        .unwrap();
    let weighted = [
        inputs[0],
        inputs[1],
        Input::new("sample_weight", &[3.0, 0.5], &[2]),
    ];
    assert_eq!(sum.value(&weighted, &[]).unwrap(), 5.0);
    assert!(said(sum.value(&inputs, &[]).map(|_| ())).contains("lacks `sample_weight`"));
}

#[test]
fn nothing_to_divide_by() {
    let weighted = loss("cross_entropy", None, true).unwrap();
    let kernel = weighted.compile(&Options::default()).unwrap();
    let logits = [1.0, 2.0, 3.0, 0.0];
    for (target, weights) in [([0, 1], [0.0, 0.0]), ([-100, -100], [1.0, 1.0])] {
        let inputs = [
            Input::new("logits", &logits, &[2, 2]),
            Input::new("target", &target, &[2]),
            Input::new("sample_weight", &weights, &[2]),
        ];
        let mut grad = [1.0; 4];
        let places = &mut [Gradient::new("logits", &mut grad)];
        let value = kernel.value_and_grad(&inputs, &[], places).unwrap();
        assert!(value.is_nan(), "0 / 0, as the mean of nothing");
        if target[0] < 0 {
            assert_eq!(grad, [0.0; 4], "rows that do not count have no gradient");
        }
    }
}
