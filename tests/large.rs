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

/// Its code keeps thousands of vectors on the stack at a time; its loops are as long as the formula.
#[test]
#[cfg_attr(debug_assertions, ignore = "takes minutes without optimisation")]
fn a_sum_of_10_000_terms_runs_on_a_small_stack() {
    let term = |k: usize| match k % 2 {
        0 => format!("max(x, {k})"),
        _ => format!("{k} * x * x"),
    };
    let terms: Vec<String> = (0..10_000).map(term).collect();
    let text = format!("loss s(x: [N]) = mean({})", terms.join(" + "));
    let loss = Spec::parse("large.loss", &text).unwrap().derive().unwrap();
    let kernel = loss.compile(&Options::default()).unwrap();
    assert!(kernel.loops_text().len() < 10 * text.len());
    let x = [0.5, 9.0, 4001.0];
    let call = || {
        let mut gradient = [f64::NAN; 3];
        let inputs = [Input::new("x", Data::F64(&x), &[3])];
        let mut gradients = [Gradient::new("x", DataMut::F64(&mut gradient))];
        let value = kernel.value_and_grad(&inputs, &[], &mut gradients).unwrap();
        (value, gradient)
    };
    let (value, gradient) = std::thread::scope(|scope| {
        let small = std::thread::Builder::new().stack_size(128 << 10);
        small.spawn_scoped(scope, call).unwrap().join().unwrap()
    });
    let even = || (0..10_000).step_by(2).map(|k| k as f64);
    let odd: f64 = (1..10_000).step_by(2).map(|k| k as f64).sum();
    let one = |x: f64| even().map(|k| x.max(k)).sum::<f64>() + odd * x * x;
    near(value, x.iter().map(|&x| one(x)).sum::<f64>() / 3.0);
    for (g, x) in gradient.iter().zip(x) {
        let slope = even().filter(|&k| x > k).count() as f64 + 2.0 * odd * x;
        near(*g, slope / 3.0);
    }
}

/// Each level reads the one below twice, and no rewriting names what is no real of the loss's own elements.
#[test]
fn what_doubles_at_every_level_prints_shortly_and_means_the_same() {
    let double = |first: &str, value: &str| {
        let levels: String = (1..6)
            .map(|k| format!("def g{k}(x) = g{0}(g{0}(x))\n", k - 1))
            .collect();
        format!("def g0(x) = {first}\n{levels}{value}")
    };
    let ints = "(if x > 3 then x + 1 else x - 1) * mod(x, 7)";
    let divided = "if mod(7, x) > 1 then x - div(9, x) else x * div(3, x)";
    for text in [
        double(ints, "loss f(x: [N]) = sum(x * g5(2 + N))"),
        double("x * sin(x)", "loss f(x: [N]; p = 0.5) = sum(x * g5(p))"),
        double(
            "x * sin(x)",
            "loss f(x: [N]) = sum(g5(x[mod(N + 1, size(N))]))",
        ),
        double(
            "x * sin(x)",
            "loss f(x: [N]) = sum(if N < 2 then g5(x[N + 1]) else 0)",
        ),
        double(divided, "loss f(x: [N]) = sum(x * g5(N + 3))"),
    ] {
        let loss = Spec::parse("doubling.loss", &text)
            .unwrap()
            .derive()
            .unwrap();
        let printed = loss.gradient_text();
        assert!(
            printed.len() < 100_000,
            "{} characters for {text}",
            printed.len()
        );
        let x = [0.5, 2.0, -1.25];
        let (value, gradient) = run(&printed, &x);
        let (again, same) = run(&text, &x);
        near(again, value);
        gradient.iter().zip(same).for_each(|(&g, h)| near(g, h));
    }
}

/// Gradients in gradients are refused before nobody can wait for them.
#[test]
fn deep_inner_gradients_are_refused_with_their_limit() {
    let levels: String = (0..9)
        .map(|k| format!(" g{k} = grad[x](e{k})\n e{} = sum(g{k}^2)\n", k + 1))
        .collect();
    let text = format!("loss f(x: [N]) = e9 where\n e0 = sum(exp(sin(x) * x))\n{levels}");
    let error = Spec::parse("deep.loss", &text)
        .unwrap()
        .derive()
        .err()
        .unwrap();
    assert!(error.to_string().contains("too large to derive"), "{error}");
}

/// 22 axes of extent 8 have 2^66 elements, which no count of copies holds.
#[test]
fn axes_that_are_too_many_to_write_out_compile() {
    let axes: Vec<String> = (0..22).map(|k| format!("A{k}")).collect();
    let extents: Vec<String> = axes.iter().map(|a| format!("axis {a} = 8")).collect();
    let text = format!(
        "loss f(x: [N]) = sum(x) * sum[{}](x[0] + {}) + sum[B](x[0] * B)\n  where\n    {}\n    axis B = 3",
        axes.join(", "),
        axes.join(" + "),
        extents.join("\n    ")
    );
    let loss = Spec::parse("many_axes", &text).unwrap().derive().unwrap();
    assert!(loss.compile(&Options::default()).unwrap().code_size() > 0);
}
