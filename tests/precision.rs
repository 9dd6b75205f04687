//! Numbers that are small beside those they are made of.

use losscc::array::Array;
use losscc::data::{self, Format};
use losscc::interp::{bind, evaluate};
use losscc::{Dtype, Evaluated, Options, Spec};

fn arrays(json: &str) -> Vec<(String, Array)> {
    data::read("data", Format::Json, json.as_bytes()).unwrap()
}

fn kernel(text: &str, json: &str, dtype: Dtype) -> Evaluated {
    let options = Options {
        dtype,
        ..Options::default()
    };
    let loss = Spec::parse("test", text).and_then(|s| s.derive()).unwrap();
    let arrays = arrays(json);
    let data: Vec<(&str, &Array)> = arrays.iter().map(|(n, a)| (n.as_str(), a)).collect();
    let kernel = loss.compile(&options).unwrap();
    kernel.evaluate(&data, &[]).unwrap()
}

fn interpreted(text: &str, json: &str) -> f64 {
    let loss = Spec::parse("test", text).and_then(|s| s.derive()).unwrap();
    let arrays = arrays(json);
    let data: Vec<(&str, &Array)> = arrays.iter().map(|(n, a)| (n.as_str(), a)).collect();
    let bound = bind(loss.program(), &data, &[]).unwrap();
    let out = evaluate(loss.program(), &bound, &[loss.program().value]).unwrap();
    out[0].number().unwrap()
}

/// `log(1 + e^-40)` is 0 in f64.
#[test]
fn logsumexp_of_a_large_and_small_numbers() {
    let (two, three) = (
        "loss l(a, b) = sum(logsumexp(a, b))",
        "loss l(a, b) = sum(logsumexp(b - 1, a, b))",
    );
    let inf = f64::INFINITY;
    // The last column: mpmath, 60 digits.
    let cases = [
        (two, "0", "-40", 4.248354255291589e-18),
        (two, "-40", "0", 4.248354255291589e-18),
        (three, "0", "-40", 5.811236444626578e-18),
        (three, "-40", "0", 0.31326168751822286),
        (two, "1", "1", 1.6931471805599454),
        (two, "\"-Infinity\"", "\"-Infinity\"", -inf),
        (two, "\"-Infinity\"", "-2.5", -2.5),
        (two, "\"Infinity\"", "\"-Infinity\"", inf),
        (two, "\"Infinity\"", "\"Infinity\"", inf),
        (two, "1000", "\"Infinity\"", inf),
        (three, "\"-Infinity\"", "\"-Infinity\"", -inf),
        (three, "\"NaN\"", "\"Infinity\"", f64::NAN),
    ];
    for (text, a, b, want) in cases {
        let json = format!(r#"{{"a": [{a}], "b": [{b}]}}"#);
        let close = |got: f64, error: f64| {
            got == want
                || (got.is_nan() && want.is_nan())
                || want.is_finite() && (got - want).abs() <= error * want.abs()
        };
        let got = interpreted(text, &json);
        assert!(close(got, 4e-16), "{text} {json}: {got:e}");
        for (dtype, error) in [(Dtype::F64, 4e-16), (Dtype::F32, 2e-7)] {
            let got = kernel(text, &json, dtype).value.number().unwrap();
            assert!(close(got, error), "{text} {json} {dtype:?}: {got:e}");
        }
    }
}

/// The spacing of f32 at 800 is 6e-5, and a logsumexp of such numbers no better; differences to it are.
#[test]
fn softmax_of_large_logits_in_f32() {
    let row = |k: i32| {
        let x: Vec<String> = (0..5)
            .map(|c| format!("{}", 800.0 + f64::from((k * 7 + c * 5) % 11) * 0.8125))
            .collect();
        format!("[{}]", x.join(", "))
    };
    let rows: Vec<String> = (0..6).map(row).collect();
    let json = format!(
        r#"{{"x": [{}], "target": [0, 4, 2, 1, 3, 2]}}"#,
        rows.join(", ")
    );
    for body in [
        "mean[N](lse - x[N, target]) where lse = logsumexp[C](x)",
        "mean[N]((1 - exp(x[N, target] - lse))^2 * (lse - x[N, target])) where lse = logsumexp[C](x)",
        "mean[N](logsumexp[C if C != target](x) - x[N, target])",
        "mean[N]((1 - p[N, target])^2) where p[N, C] = softmax[C](x)",
        "mean[N](sum[C](p * log(p))) where p[N, C] = softmax[C](x)",
        "mean[N](logsumexp(x[N, 0], x[N, 1], x[N, 2]) - x[N, target])",
    ] {
        let text = format!("loss l(x: [N, C] | target: int[N]) = {body}");
        let (single, double) = (
            kernel(&text, &json, Dtype::F32),
            kernel(&text, &json, Dtype::F64),
        );
        let (a, b) = (single.value.number(), double.value.number());
        let (a, b) = (a.unwrap(), b.unwrap());
        assert!((a - b).abs() <= 5e-7 * b.abs().max(1.0), "{body}: {a} {b}");
        let (a, b) = (&single.gradients[0].values, &double.gradients[0].values);
        let largest = b.iter().fold(0f64, |m, x| m.max(x.abs()));
        for (a, b) in a.iter().zip(b) {
            assert!((a - b).abs() <= 5e-7 * largest, "{body}: {a} {b}");
        }
    }
}
