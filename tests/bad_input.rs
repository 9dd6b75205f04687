//! Bad input: each has its designed answer, from the kernel and from the interpreter.

use losscc::array::Array;
use losscc::data::{self, Format};
use losscc::interp::{bind, evaluate};
use losscc::{Dtype, Evaluated, Options, Spec};

fn arrays(json: &str) -> Vec<(String, Array)> {
    data::read("data", Format::Json, json.as_bytes()).unwrap()
}

/// What the kernel says, and whether the interpreter refuses it too.
fn refused(spec: &str, json: &str, set: &[(&str, f64)]) -> String {
    let loss = open(spec).derive().unwrap();
    let arrays = arrays(json);
    let data: Vec<(&str, &Array)> = arrays.iter().map(|(n, a)| (n.as_str(), a)).collect();
    let plain = bind(loss.program(), &data, set);
    let plain = plain
        .and_then(|b| evaluate(loss.program(), &b, &loss.program().outputs()).map_err(|d| vec![d]));
    assert!(plain.is_err(), "{spec}");
    let kernel = loss.compile(&Options::default()).unwrap();
    let error = kernel.evaluate(&data, set).unwrap_err();
    assert_eq!(error.exit_code(), 2, "{spec}");
    error.to_string()
}

fn evaluated(spec: &str, json: &str) -> Evaluated {
    let kernel = open(spec).derive().unwrap().compile(&Options::default());
    let arrays = arrays(json);
    let data: Vec<(&str, &Array)> = arrays.iter().map(|(n, a)| (n.as_str(), a)).collect();
    kernel.unwrap().evaluate(&data, &[]).unwrap()
}

/// A shipped loss by its name, or a text.
fn open(spec: &str) -> Spec {
    match spec.starts_with("loss ") {
        true => Spec::parse("test", spec).unwrap_or_else(|e| panic!("{e}")),
        false => Spec::open(spec).unwrap(),
    }
}

#[test]
fn no_bins() {
    let data = r#"{"logits": [1, 2], "y": [0, 1]}"#;
    let said = refused("ghm_c", data, &[("bins", 0.0)]);
    assert_eq!(said, "error: `bins` is 0, outside of its domain [1, inf)");
    // Where the domain does not say it, the extent or the index does.
    let spec = "loss l(x: [N]; bins: int = 2) = sum[N](x * h[min(int(x), bins - 1)]) where axis B = bins  h[B] = 1 + B";
    let x = r#"{"x": [0.5, 1.5]}"#;
    let said = refused(spec, x, &[("bins", 0.0)]);
    let out = "error: index -1 is out of range at position 1 of `h`, where axis B has 0 elements\n";
    assert!(said.starts_with(out), "{said}");
    let said = refused(spec, x, &[("bins", -1.0)]);
    assert_eq!(said, "error: axis B has the extent -1, less than nothing");
    let said = refused(spec, x, &[("bins", 1.5)]);
    assert_eq!(said, "error: `bins` is 1.5, not a whole number");
}

/// The first of the largest of nothing is no element.
#[test]
fn argmax_of_nothing() {
    for pick in ["argmax", "argmin"] {
        let spec = format!("loss l(x: [N], w: [K]) = w[{pick}[N](x)]");
        refused(&spec, r#"{"x": [], "w": [1, 2]}"#, &[]);
        let value = evaluated(&spec, r#"{"x": [3, 3], "w": [1, 2]}"#).value;
        assert_eq!(value.reals(), Some(&[1.0][..]));
    }
}

/// It is no error where a condition says that nobody asks for it, and one wherever somebody does.
#[test]
fn argmax_under_conditions() {
    let read = "w[argmax[C](x)] * x[N, 0 else 1]";
    for body in [
        format!("sum[N](if size(C) > 0 then {read} else 3)"),
        format!("sum[N](if any[C](x > 0) then {read} else 3)"),
        format!("sum[N if size(C) > 0]({read})"),
        format!("sum[N if any[C](x > 0)]({read})"),
        "sum[N](if any[C](x > 0) then w[argmax[C if x > 0](x)] else 3)".into(),
        "sum[N](if any[C](x > 0) then w[argmin[C if x > 0](w[C])] * w[0] else 3)".into(),
        "sum[N](if size(C) > 0 and argmax[C](x) == 1 then w[1] else 3)".into(),
        "if size(C) > 0 and size(N) > 0 then sum[N](w[argmax[C](x)]) else 3".into(),
        "if size(C) > 0 then w[argmin[C](w)] + sum(x) else 3".into(),
        "sum[N](if any[C](x > 0) then sum[D](if D == argmax[C](x) then w[D] else 0) else 3)".into(),
    ] {
        let spec = format!("loss l(w: [D] | x: [N, C]) = {body}");
        let spec = match body.contains("[D]") {
            true => spec,
            false => spec.replace("w: [D]", "w: [C]"),
        };
        for data in [
            r#"{"x": [], "w": []}"#,
            r#"{"x": [[], [], []], "w": []}"#,
            r#"{"x": [[-1, -2], [1, 2], [2, -1]], "w": [1, 2]}"#,
            r#"{"x": [[-1, -2], [-1, -2], [-2, -1], [0, 0], [1, 2]], "w": [1, 2]}"#,
        ] {
            let shaped = arrays(data).into_iter().map(|(name, mut array)| {
                if name == "x" && array.shape == [0] {
                    array.shape = vec![0, 0];
                }
                (name, array)
            });
            let shaped: Vec<(String, Array)> = shaped.collect();
            let data: Vec<(&str, &Array)> = shaped.iter().map(|(n, a)| (n.as_str(), a)).collect();
            let loss = open(&spec).derive().unwrap();
            let bound = bind(loss.program(), &data, &[]).unwrap();
            let plain = evaluate(loss.program(), &bound, &loss.program().outputs());
            let kernel = loss.compile(&Options::default()).unwrap();
            match (plain, kernel.evaluate(&data, &[])) {
                (Ok(want), Ok(got)) => {
                    assert_eq!(want[0].reals(), got.value.reals(), "{body} {data:?}");
                    let gradients = got.gradients.iter().map(|g| g.values.as_slice());
                    for (want, got) in want[1..].iter().zip(gradients) {
                        assert_eq!(want.reals(), Some(got), "{body} {data:?}");
                    }
                }
                (plain, kernel) => {
                    let (plain, kernel) = (plain.err(), kernel.err());
                    panic!("{body} {data:?}: {plain:?} {kernel:?}")
                }
            }
        }
    }
    // Asked for by one row of many.
    let spec = "loss l(w: [C] | x: [N, C], b: bool[N]) = sum[N](if b then w[argmax[C if x > 0](x)] else 3)";
    let data = r#"{"x": [[-1, -2], [1, 2], [-2, -1]], "w": [1, 2], "b": [false, true, true]}"#;
    let said = refused(spec, data, &[]);
    assert!(said.contains("argmax or argmin of nothing"), "{said}");
    let fine = r#"{"x": [[-1, -2], [1, 2], [-2, -1]], "w": [1, 2], "b": [false, true, false]}"#;
    assert_eq!(evaluated(spec, fine).value.reals(), Some(&[8.0][..]));
}

/// Comparisons of ints that wrap, or that reals do not tell apart, are what the interpreter says, in every kernel.
#[test]
fn comparisons_of_ints_that_wrap() {
    let text = |e: &str| {
        format!(
            "loss l(x: [N] | a: int[N], b: int[N]; k: int = 3, m: int = 2 in [0, 9]) = sum[N](if {e} then x else 0)"
        )
    };
    let holds = |e: &str, a: i64, b: i64| {
        let data = format!(r#"{{"x": [1], "a": [{a}], "b": [{b}]}}"#);
        evaluated(&text(e), &data)
            .value
            .reals()
            .map(|v| v[0] == 1.0)
            .unwrap()
    };
    let (least, most) = (i64::MIN, i64::MAX);
    for (e, at) in [
        ("a + 1 > a", vec![(most, 0, false), (5, 0, true)]),
        ("a - 1 < a", vec![(least, 0, false), (5, 0, true)]),
        ("a + 1 == a", vec![(most, 0, false), (5, 0, false)]),
        ("a + b >= a", vec![(most, 1, false), (5, 1, true)]),
        ("a + k > a", vec![(most, 0, false), (5, 0, true)]),
        ("a + m >= a", vec![(most, 0, false), (5, 0, true)]),
        ("2 * a > a", vec![(most, 0, false), (5, 0, true)]),
        (
            "-a <= 0",
            vec![(least, 0, true), (5, 0, true), (-5, 0, false)],
        ),
        ("abs(a) >= 0", vec![(least, 0, false), (-5, 0, true)]),
        ("a >= 0 and a + 1 > 0", vec![(most, 0, false), (5, 0, true)]),
        ("a > b and a - b > 0", vec![(most, -1, false), (5, 1, true)]),
        (
            "a >= 1 and (if a - 2 >= -1 then true else false)",
            vec![(most, 0, true), (5, 0, true)],
        ),
        (
            "a - 1 >= 0 and a >= 1",
            vec![(least, 0, false), (5, 0, true)],
        ),
        ("N + a >= a", vec![(most, 0, true)]),
        ("size(N) + a > a", vec![(most, 0, false), (5, 0, true)]),
        ("max(a, a + 1) == a", vec![(most, 0, true), (5, 0, false)]),
        ("9007199254740993 > 9007199254740992", vec![(0, 0, true)]),
        ("9007199254740993 == 9007199254740992", vec![(0, 0, false)]),
        ("a == b", vec![(9007199254740993, 9007199254740992, false)]),
    ] {
        for (a, b, want) in at {
            assert_eq!(holds(e, a, b), want, "{e} at a = {a}, b = {b}");
        }
    }
}

/// Indices that wrap on the way are in range where they end in it.
#[test]
fn indices_beyond_the_ints() {
    for (read, a, want) in [
        ("x[a - 1 else 7]", i64::MIN, 7.0),
        ("x[a + 1 else 7]", i64::MAX, 7.0),
        ("x[size(N) - a else 7]", i64::MIN, 7.0),
        ("x[size(N) - 1 - a else 7]", i64::MIN, 7.0),
        ("x[-a else 7]", i64::MIN, 7.0),
        ("x[2 * a else 7]", i64::MIN, 1.0),
        ("(if a + 1 > a then x[a + 1 else 7] else 5)", i64::MAX, 5.0),
        (
            "(if a + 1 >= 0 and a < size(N) - 1 then x[a + 1] else 5)",
            i64::MAX,
            5.0,
        ),
        (
            "(if a >= 1 and a - 1 < size(N) then x[a - 1] else 5)",
            i64::MAX,
            5.0,
        ),
    ] {
        let spec = format!("loss l(x: [N] | a: int[]) = sum[N]({read})");
        let data = format!(r#"{{"x": [1, 2], "a": {a}}}"#);
        let got = evaluated(&spec, &data);
        assert_eq!(got.value.reals(), Some(&[2.0 * want][..]), "{read}");
        let slope = match want {
            1.0 => [2.0, 0.0],
            _ => [0.0, 0.0],
        };
        assert_eq!(got.gradients[0].values, slope, "{read}");
    }
}

/// The largest of ints that no real tells apart, by row, in lanes and in all.
#[test]
fn argmax_of_large_ints() {
    let data = |a: &str| format!(r#"{{"x": [1, 2, 4], "a": {a}, "m": [true, true, false]}}"#);
    let rows = "[[9007199254740992, 9007199254740993, 9007199254740994], \
                 [-9007199254740993, -9007199254740992, -9007199254740993], \
                 [-9223372036854775808, 9223372036854775806, 9223372036854775807]]";
    for (body, want) in [
        ("sum[N](x[argmax[C](a)])", 10.0),
        ("sum[N](x[argmin[C](a)])", 3.0),
        ("sum[N](x[argmax[C if m](a)])", 6.0),
        ("sum[C](x[argmax[N](a)])", 9.0),
        ("sum[C](x[argmin[N](a)])", 8.0),
        ("x[argmax[C](a[2, C])] + x[argmin[C](a[1, C])]", 5.0),
    ] {
        let spec = format!("loss l(x: [C] | a: int[N, C], m: bool[C]) = {body}");
        let loss = open(&spec).derive().unwrap();
        let arrays = arrays(&data(rows));
        let given: Vec<(&str, &Array)> = arrays.iter().map(|(n, a)| (n.as_str(), a)).collect();
        let bound = bind(loss.program(), &given, &[]).unwrap();
        let plain = evaluate(loss.program(), &bound, &loss.program().outputs()).unwrap();
        assert_eq!(plain[0].reals(), Some(&[want][..]), "{body}");
        for dtype in [Dtype::F32, Dtype::F64] {
            let options = Options {
                dtype,
                ..Options::default()
            };
            let got = loss
                .compile(&options)
                .unwrap()
                .evaluate(&given, &[])
                .unwrap();
            assert_eq!(got.value.reals(), Some(&[want][..]), "{body} {dtype:?}");
        }
    }
}

/// The derivatives of an angle where the squares of its operands are 0 or infinite, or the operands themselves.
#[test]
fn angles_of_small_and_large_numbers() {
    let loss = open("loss l(y: [N], x: [N]) = sum[N](atan2(y, x))")
        .derive()
        .unwrap();
    for (dtype, size) in [(Dtype::F64, 1e200), (Dtype::F32, 1e25)] {
        let options = Options {
            dtype,
            ..Options::default()
        };
        let kernel = loss.compile(&options).unwrap();
        let scales = [1.0, size, 1.0 / size];
        let numbers = |k: f64| Array::real(&[3], scales.iter().map(|s| k * s).collect());
        let (y, x) = (numbers(2.0), numbers(-4.0));
        let got = kernel.evaluate(&[("y", &y), ("x", &x)], &[]).unwrap();
        for (k, s) in scales.iter().enumerate() {
            for (gradient, want) in [(&got.gradients[0], -0.2 / s), (&got.gradients[1], -0.1 / s)] {
                let got = gradient.values[k];
                assert!(
                    (got / want - 1.0).abs() < 1e-6,
                    "{dtype:?}: {got:e}, not {want:e}"
                );
            }
        }
        const INF: f64 = f64::INFINITY;
        let rest = [(0.0, 0.0), (INF, 1.0), (1.0, INF), (-INF, 2.0), (0.0, -INF)];
        let corners = [(INF, INF), (-INF, -INF), (INF, -INF), (INF, 0.0)];
        let (y, x): (Vec<f64>, Vec<f64>) = rest.into_iter().chain(corners).unzip();
        let (y, x) = (Array::real(&[9], y), Array::real(&[9], x));
        let got = kernel.evaluate(&[("y", &y), ("x", &x)], &[]).unwrap();
        for gradient in &got.gradients {
            assert_eq!(gradient.values, [0.0; 9], "{dtype:?}");
        }
        let (nan, one) = (
            Array::real(&[2], vec![f64::NAN; 2]),
            Array::real(&[2], vec![1.0, INF]),
        );
        let got = kernel.evaluate(&[("y", &nan), ("x", &one)], &[]).unwrap();
        for gradient in &got.gradients {
            assert!(gradient.values.iter().all(|g| g.is_nan()), "{dtype:?}");
        }
    }
}

/// A definition that needs no memory still has a range.
#[test]
fn indices_of_cheap_definitions() {
    for (body, i) in [
        ("1 + 2.5 * N", 7),
        ("1 + 2.5 * N", -1),
        ("if N > 0 then x else 1", -7),
        ("3", 2),
        ("if x[0] > 0 and x > 0 then 1 else 2", 2),
    ] {
        let spec = format!("loss l(x: [N] | i: int[N]) = sum[N](x * h[i]) where h[N] = {body}");
        let said = refused(
            &spec,
            &format!(r#"{{"x": [0.5, 1.5], "i": [0, {i}]}}"#),
            &[],
        );
        let index = format!("error: index {i} is out of range at position 1 of `");
        assert!(said.starts_with(&index), "{spec}: {said}");
        assert!(said.contains("= note: at N = 1"), "{said}");
    }
    let spec = "loss l(x: [N]) = sum[N](x * h[N + 1]) where h[N] = 2.5 * N + 1";
    let said = refused(spec, r#"{"x": [0.5, 1.5]}"#, &[]);
    assert!(
        said.starts_with("error: index 2 is out of range at position 1 of `h`"),
        "{said}"
    );
}

/// An axis that is written out has a range as well.
#[test]
fn indices_of_unrolled_definitions() {
    for (body, index) in [
        ("sum[N](x) * B", "A + 3"),
        ("sum[N](x) * B", "A - 1"),
        ("B + 0.5", "3 * A + 1"),
        ("sum[N](x * w[N, B])", "A + 3"),
    ] {
        let spec = format!(
            "loss l(x: [N], w: [N, 4]) = sum[A](d[{index}]) where axis A = 2  axis B = 4  d[B] = {body}"
        );
        let data = r#"{"x": [0.5, 1.5], "w": [[1, 2, 3, 4], [1, 2, 3, 4]]}"#;
        let said = refused(&spec, data, &[]);
        let k = if index == "A - 1" { -1 } else { 4 };
        let title = format!("error: index {k} is out of range at position 1 of `d`, where axis ");
        assert!(said.starts_with(&title), "{spec}: {said}");
        assert!(said.contains(&format!(" | {spec}")), "{said}");
    }
    // Over rows, under a condition, and of an int.
    let spec = "loss l(x: [N]) = mean(sum[A](if x > 1 then e[N, A + 5] else x^2)) where axis A = 1  axis B = 4  e[N, B] = exp(x) * B";
    let said = refused(spec, r#"{"x": [0.5, 1.5]}"#, &[]);
    let title =
        "error: index 5 is out of range at position 2 of `e`, where axis B has 4 elements\n";
    assert!(said.starts_with(title), "{said}");
    assert!(said.contains("= note: at N = 1"), "{said}");
    let value = evaluated(spec, r#"{"x": [0.5, 1.0]}"#).value;
    assert_eq!(value.number(), Some(0.625));
    let spec = "loss l(x: [N]) = sum(sum[A](if x > 1 then x * k[A + 4] else x)) where axis A = 1  axis B = 4  k[B] = B + 1";
    let said = refused(spec, r#"{"x": [0.5, 1.5]}"#, &[]);
    let title =
        "error: index 4 is out of range at position 1 of `k`, where axis B has 4 elements\n";
    assert!(said.starts_with(title), "{said}");
    let value = evaluated(spec, r#"{"x": [0.5, 1.0]}"#).value;
    assert_eq!(value.number(), Some(1.5));
}

/// A definition that is computed where it is read has an extent of its own.
#[test]
fn indices_under_conditions() {
    let data = r#"{"x": [1, 2], "mask": [true, true]}"#;
    for body in [
        "2.0 * T",
        "sum[S](1.5) where axis S = 3",
        "if T > 0 then 1 else 2",
    ] {
        let spec = format!(
            "loss l(x: [T] | mask: bool[T]) = sum[T if mask](x * w[T + 1]) where w[T] = {}",
            body.replace(" where", "\n")
        );
        let said = refused(&spec, data, &[]);
        assert!(said.starts_with("error: index 2 is out of range"), "{said}");
    }
    let fine = "loss l(x: [T] | mask: bool[T]) = sum[T if mask and T > 0](x * w[T - 1]) where w[T] = 2.0 * T";
    assert_eq!(evaluated(fine, data).value.reals(), Some(&[0.0][..]));
}

/// Ints wrap, so what a condition says of one of them says little of a sum.
#[test]
fn indices_that_wrap() {
    let most = i64::MAX;
    for (index, by, a) in [
        ("a + 3", "a >= 0 and a + 3 < size(N)", most),
        (
            "a + 100000000000",
            "a >= 0 and a + 100000000000 < size(N)",
            most,
        ),
        (
            "a + 100000000000",
            "not (a < 0) and not (a + 100000000000 >= size(N))",
            most,
        ),
        ("a", "a - 5 >= 0 and a < size(N)", i64::MIN),
        ("a - 5", "a - 5 >= 0 and a < size(N)", -5 + (1 << 62)),
    ] {
        let spec = format!("loss l(x: [N] | a: int[]) = (if {by} then x[{index}] else 0) + sum(x)");
        let data = format!(r#"{{"x": [1, 2], "a": {a}}}"#);
        let loss = open(&spec).derive().unwrap();
        let arrays = arrays(&data);
        let data: Vec<(&str, &Array)> = arrays.iter().map(|(n, a)| (n.as_str(), a)).collect();
        let kernel = loss.compile(&Options::default()).unwrap();
        match kernel.evaluate(&data, &[]) {
            Ok(e) => assert_eq!(e.value.reals(), Some(&[3.0][..]), "{spec}"),
            Err(e) => assert!(e.to_string().contains("is out of range"), "{e}"),
        }
    }
}

/// A sum of nothing is 0, and so is the gradient by what all rows share.
#[test]
fn no_rows_at_all() {
    let parts = evaluated("loss l(x: [N]) = sum(x / size(N))", r#"{"x": []}"#);
    assert_eq!(parts.value.reals(), Some(&[0.0][..]));
    let spec = "loss l(w: [D], b: [] | x: [N, D], y: [N]) = mean[N]((sum[D](w * x) + b - y)^2)";
    let loss = open(spec)
        .derive()
        .unwrap()
        .compile(&Options::default())
        .unwrap();
    let (w, b) = (
        Array::real(&[2], vec![1.0, 2.0]),
        Array::real(&[], vec![0.5]),
    );
    let (x, y) = (Array::real(&[0, 2], vec![]), Array::real(&[0], vec![]));
    let data = [("w", &w), ("b", &b), ("x", &x), ("y", &y)];
    let none = loss.evaluate(&data, &[]).unwrap();
    assert!(none.value.number().is_some_and(f64::is_nan));
    assert_eq!(none.gradients[0].values, [0.0, 0.0]);
    assert_eq!(none.gradients[1].values, [0.0]);
}

#[test]
fn all_rows_ignored() {
    let out = evaluated(
        "cross_entropy",
        r#"{"logits": [[1, 2], [3, 4]], "target": [-100, -100]}"#,
    );
    assert!(out.value.number().unwrap().is_nan());
    assert_eq!(out.gradients[0].values, [0.0; 4]);
}

/// Longer label sequences than there are times for.
#[test]
fn labels_longer_than_inputs() {
    let out = evaluated(
        "ctc",
        r#"{"log_probs": [[[-1, -2, -3]], [[-1, -2, -3]]], "targets": [[1, 1, 2]], "input_lengths": [2], "target_lengths": [3]}"#,
    );
    assert_eq!(out.value.number(), Some(f64::INFINITY));
    assert_eq!(out.gradients[0].values, [0.0; 6]);
}

/// An index that is out of range stands where the source says it, not in the definition that it ends up in.
#[test]
fn indices_of_definitions_that_go() {
    let data = r#"{"x": [0.5, 1], "t": [0, 7]}"#;
    for spec in [
        "loss l(x: [N] | t: int[N]) = mean[N](a[t]) where a[N] = 2 * b[N] b[N] = sin(x)",
        "loss l(x: [N] | t: int[N]) = mean[N](a[t]) where a[N] = exp(sin(x)) + cos(x) / tan(x)",
        "loss l(x: [N] | t: int[N]) = mean[N](a[t]) where a[N] = count[M](x[M] > x[N] + 1)",
    ] {
        let said = refused(spec, data, &[]);
        assert!(said.starts_with("error: index 7 is out of range"), "{said}");
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines[1], " --> test:1:38", "{said}");
        let caret = lines[4].trim_start_matches(['|', ' ']);
        assert_eq!(caret, "^^^^", "{said}");
    }
}

#[test]
fn recurrences_without_an_end() {
    let spec = "loss l(x: [T]) = sum(a) where a[T] = if x > 0 then x else a[T - 1]";
    let said = refused(spec, r#"{"x": [-1, 2]}"#, &[]);
    assert_eq!(
        said,
        "\
error: index -1 is out of range at position 1 of `a`, where axis T has 2 elements
 --> test:1:59
  |
1 | loss l(x: [T]) = sum(a) where a[T] = if x > 0 then x else a[T - 1]
  |                                                           ^^^^^^^^
  |
  = note: at T = 0"
    );
    // Where no element can do without another one, it needs no data to see that.
    for spec in [
        "loss l(x: [T]) = sum(a) where a[T] = x + a[T - 1]",
        "loss l(x: [T]) = sum(a) where a[T] = x * exp(-a[T + 1])",
        "loss l(x: [T]) = sum(a) where a[T] = if b[T - 1] > 0 then x else 1  b[T] = 2 * a",
        "loss l(x: [T]) = sum(a) where a[T] = x + (if x > 0 and a[T - 1] > 0 then 1 else a[T - 1]) + a[T - 2]",
    ] {
        let error = Spec::parse("test", spec).err().unwrap();
        assert_eq!(error.exit_code(), 1, "{spec}");
        let title = "error: the recurrence of `a` has no base case\n";
        assert!(error.to_string().starts_with(title), "{error}");
    }
    let both = "loss l(x: [T]) = sum(a) where a[T] = x + a[T - 1 else 0] + a[T + 1 else 0]";
    let error = Spec::parse("test", both).err().unwrap();
    assert_eq!(error.exit_code(), 1);
    let said = error.to_string();
    let title = "error: `a` refers to itself in no order that it can be computed in\n";
    assert!(said.starts_with(title), "{said}");
}

#[test]
fn unequal_extents() {
    let spec = "loss l(x: [N] | y: [N], z: [N, 2]) = sum((x - y)^2) + sum[N](z[N, 1])";
    let said = refused(
        spec,
        r#"{"x": [1, 2], "y": [1, 2, 3], "z": [[1, 2], [3, 4]]}"#,
        &[],
    );
    assert_eq!(said, "error: axis N has 2 elements in `x` and 3 in `y`");
    let said = refused(
        spec,
        r#"{"x": [1, 2], "y": [1, 2], "z": [[1, 2, 3], [3, 4, 5]]}"#,
        &[],
    );
    assert!(
        said.contains("`z` has the shape [2, 3], but position 2 must be 2"),
        "{said}"
    );
}
