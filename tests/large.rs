//! Formulas as programs write them: a sum of 100,000 terms, a chain of 10,000 definitions, from the text to the kernel.

use losscc::{Data, DataMut, Dtype, Gradient, Input, Options, Spec};

/// Value and gradient of a loss of one input `x: [N]`.
fn run(text: &str, x: &[f64]) -> (f64, Vec<f64>) {
    let loss = Spec::parse("large.loss", text).unwrap().derive().unwrap();
    assert!(!loss.gradient_text().is_empty());
    let options = Options {
        dtype: Dtype::F64,
        ..Options::default()
    };
    let kernel = loss.compile(&options).unwrap();
    let (shape, mut gradient) = ([x.len()], vec![f64::NAN; x.len()]);
    let inputs = [Input::new("x", Data::F64(x), &shape)];
    let mut gradients = [Gradient::new("x", DataMut::F64(&mut gradient))];
    let value = kernel.value_and_grad(&inputs, &[], &mut gradients).unwrap();
    (value, gradient)
}

fn near(a: f64, b: f64) {
    assert!((a - b).abs() <= 1e-9 * b.abs().max(1.0), "{a} {b}");
}

#[test]
#[cfg_attr(debug_assertions, ignore = "takes minutes without optimisation")]
fn a_sum_of_100_000_terms_compiles() {
    let factor = |k: usize| ((k * 7919) % 1000) as f64 / 8.0;
    let terms: Vec<String> = (0..100_000).map(|k| format!("{} * x", factor(k))).collect();
    let total: f64 = (0..100_000).map(factor).sum();
    let (value, gradient) = run(
        &format!("loss s(x: [N]) = mean({})", terms.join(" + ")),
        &[0.5, 2.0],
    );
    near(value, total * 1.25);
    gradient.iter().for_each(|&g| near(g, total / 2.0));
}

#[test]
#[cfg_attr(debug_assertions, ignore = "takes minutes without optimisation")]
fn a_chain_of_10_000_definitions_compiles() {
    let mut text = String::from("loss c(x: [N]) = mean(d9999)\n  where\n    d0 = x\n");
    for k in 1..10_000 {
        text += &format!("    d{k} = 0.9 * d{} + sin(x)\n", k - 1);
    }
    let x = [0.25, -1.5, 3.0];
    let (value, gradient) = run(&text, &x);
    // Its limit, as 0.9^9999 is nothing: 10 sin(x).
    near(value, x.iter().map(|x| 10.0 * x.sin()).sum::<f64>() / 3.0);
    for (g, x) in gradient.iter().zip(x) {
        near(*g, 10.0 * x.cos() / 3.0);
    }
}
