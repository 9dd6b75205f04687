//! The binary as a user runs it: what it prints, where, and the exit code.

use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Runs `losscc` in the repository, with `input` on standard input.
fn run(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_losscc"))
        .args(arguments)
        .current_dir(ROOT)
        .env_remove("NO_COLOR")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_string();
    // A command that fails early may not read all of it.
    let writer = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

/// Exit code, stdout, stderr.
fn said(arguments: &[&str], input: &str) -> (i32, String, String) {
    let output = run(arguments, input);
    (
        output.status.code().unwrap_or(-1),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// What a command that must succeed without a word on stderr prints.
fn prints(arguments: &[&str]) -> String {
    let (code, out, err) = said(arguments, "");
    assert_eq!((code, err.as_str()), (0, ""), "{arguments:?}");
    out
}

/// A file of its own for a test; the tests' folder is below target/.
fn file(name: &str, bytes: impl AsRef<[u8]>) -> String {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().into()
}

/// Where a test may write.
fn place(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_file(&path);
    path.to_str().unwrap().into()
}

const TWO: &str = r#"{"yhat": [1, 2], "y": [1, 4]}"#;

// ---- eval

#[test]
fn the_main_job() {
    let data = "examples/diabetes.csv";
    let out = prints(&["eval", "specs/huber.loss", "--data", data]);
    assert!(out.starts_with("huber = 42.779910554347"), "{out}");
    assert!(out.contains("d huber / d yhat  (442)"), "{out}");
}

#[test]
fn json_has_the_documented_shape() {
    let two = file("json/two.json", TWO);
    let scalar = file("json/scalar.json", r#"{"x": 3, "y": [1, 2]}"#);
    let odd = file(
        "json/odd.json",
        r#"{"yhat": ["Infinity", 0], "y": [0, "NaN"]}"#,
    );
    let grid = file(
        "json/grid.json",
        r#"{"yhat": [[1, 2], [3, 4]], "y": [[1, 4], [3, 4]]}"#,
    );
    for (arguments, input, expected) in [
        (
            vec!["huber", "--data", &two],
            "",
            r#"{"loss": "huber", "dtype": "f64", "value": 0.75, "grad": {"yhat": [-0.0, -0.5]}}"#,
        ),
        (
            vec!["mse", "--data", &two, "--dtype", "f32", "--hessian", "diag"],
            "",
            r#"{"loss": "mse", "dtype": "f32", "value": 2.0, "grad": {"yhat": [0.0, -2.0]}, "hessian_diag": {"yhat": [1.0, 1.0]}}"#,
        ),
        (
            vec!["-", "--data", &scalar],
            "loss l(x: [], y: [N]) = x * sum(y)",
            r#"{"loss": "l", "dtype": "f64", "value": 9.0, "grad": {"x": 3.0, "y": [3.0, 3.0]}}"#,
        ),
        (
            vec!["-", "--data", &scalar, "--wrt", "y"],
            "loss l(x: [], y: [N]) = x * sum(y)",
            r#"{"loss": "l", "dtype": "f64", "value": 9.0, "grad": {"y": [3.0, 3.0]}}"#,
        ),
        (
            vec!["-", "--data", &odd],
            "loss l(yhat, y) = sum(-yhat * 2 + y)",
            r#"{"loss": "l", "dtype": "f64", "value": "NaN", "grad": {"yhat": [-2.0, -2.0], "y": [1.0, 1.0]}}"#,
        ),
        (
            vec!["-", "--data", &odd],
            "loss l(yhat | y) = -sum(yhat * abs(yhat))",
            r#"{"loss": "l", "dtype": "f64", "value": "-Infinity", "grad": {"yhat": ["-Infinity", 0.0]}}"#,
        ),
        (
            vec!["mse", "--data", &grid],
            "",
            r#"{"loss": "mse", "dtype": "f64", "value": 1.0, "grad": {"yhat": [[0.0, -1.0], [0.0, 0.0]]}}"#,
        ),
    ] {
        let mut all = vec!["eval", "--json"];
        all.extend(arguments);
        let (code, out, err) = said(&all, input);
        let out = out
            .replace("-0.0]", "0.0]")
            .replace("[-0.0", "[0.0")
            .replace(" -0.0", " 0.0");
        let expected = expected.replace("[-0.0", "[0.0");
        assert_eq!(
            (code, out.as_str()),
            (0, format!("{expected}\n").as_str()),
            "{all:?}: {err}"
        );
    }
}

#[test]
fn other_reductions() {
    let data = file(
        "rows/data.json",
        r#"{"yhat": [[1, 2], [3, 4]], "y": [[1, 4], [3, 6]], "sample_weight": [[1, 0], [1, 2]]}"#,
    );
    let eval = |flags: &[&str]| {
        let arguments = [&["eval", "mse", "--data", &data, "--json"], flags].concat();
        let (code, out, err) = said(&arguments, "");
        assert_eq!(code, 0, "{err}");
        (out, err)
    };
    for (flags, value, grad, by) in [
        (
            vec!["--reduction", "none"],
            "[[0.0, 4.0], [0.0, 4.0]]",
            "[[0.0, -4.0], [0.0, -4.0]]",
            "one number for each element",
        ),
        (
            vec!["--reduction=sum"],
            "8.0",
            "[[0.0, -4.0], [0.0, -4.0]]",
            "sum over all elements",
        ),
        (
            vec!["--weighted"],
            "2.0",
            "[[0.0, 0.0], [0.0, -2.0]]",
            "mean over all elements, divided by the sum of sample_weight",
        ),
        (
            vec!["--weighted", "--reduction=sum"],
            "8.0",
            "[[0.0, 0.0], [0.0, -8.0]]",
            "sum over all elements, times sample_weight",
        ),
    ] {
        let (out, err) = eval(&flags);
        let out = out.replace("-0.0", "0.0");
        let expected = format!(
            "{{\"loss\": \"mse\", \"dtype\": \"f64\", \"value\": {value}, \"grad\": {{\"yhat\": {grad}}}}}\n"
        );
        assert_eq!((out, err), (expected, format!("mse: {by}\n")));
    }
    let out = prints(&["eval", "mse", "--data", &data, "--reduction", "none"]);
    let rows = "mse  (one number for each element)  (2 x 2)\n             0     4.000000\n";
    assert!(out.starts_with(rows), "{out}");
    let npz = place("rows/out.npz");
    let arguments = [
        "eval",
        "mse",
        "--data",
        &data,
        "--reduction",
        "none",
        "--out",
        &npz,
    ];
    prints(&arguments);
    let written = losscc::data::read("out", losscc::data::Format::Npz, &fs::read(&npz).unwrap());
    let (name, value) = written.unwrap().pop().unwrap();
    assert_eq!((name.as_str(), value.shape), ("value", vec![2, 2]));
    let (code, _, err) = said(&["eval", "rmse", "--data", &data, "--weighted"], "");
    assert_eq!(code, 2);
    assert!(
        err.contains("`rmse` has no row term, so it takes no `--weighted`"),
        "{err}"
    );
}

#[test]
fn data_of_every_format() {
    let csv = file("formats/d.csv", "yhat, y, other\n1, 1, 7\n2, 4, 8\n");
    let bom = file("formats/bom.csv", "\u{feff}yhat,y\n1,1\n2,4\n");
    for data in [csv, bom, file("formats/d.json", TWO)] {
        let out = prints(&["eval", "mse", "--json", "--data", &data]);
        assert!(out.contains(r#""value": 2.0"#), "{data}: {out}");
    }
    // yhat is 0, 0.25 ... 1.25 in both, y too.
    let npz = prints(&["eval", "mse", "--data", "tests/data/plain.npz", "--json"]);
    assert!(npz.contains(r#""grad": {"yhat": [["#), "{npz}");
    let (c, fortran, big) = (
        "tests/data/c_order.npy",
        "yhat=tests/data/fortran_order.npy",
        "y=tests/data/big_endian.npy",
    );
    let out = prints(&["eval", "mse", "--data", fortran, "--data", big, "--json"]);
    assert!(out.contains(r#""value": 0.0"#), "{out}");
    let (code, _, err) = said(&["eval", "mse", "--data", c, "--data", big], "");
    assert_eq!(code, 2);
    assert!(
        err.contains("holds an array without a name") && err.contains("--data NAME="),
        "{err}"
    );
}

#[test]
fn data_on_standard_input() {
    for input in [TWO, "\u{feff}yhat,y\n1,1\n2,4\n"] {
        let (code, out, err) = said(&["eval", "mse", "--data", "-", "--json"], input);
        assert_eq!((code, err.as_str()), (0, ""));
        assert!(out.contains(r#""value": 2.0"#), "{out}");
    }
    let (code, _, err) = said(&["eval", "-", "--data", "-"], "loss l = mean(x)");
    let twice = "error: standard input can be read only once: `-` stands twice\n";
    assert_eq!((code, err.as_str()), (2, twice));
    let (code, _, err) = said(&["eval", "mse", "--data", "-"], "{\"yhat\": [1, ");
    assert_eq!(code, 2);
    assert!(
        err.starts_with("error: cannot read `standard input`: EOF"),
        "{err}"
    );
}

/// What the loss does not name may be anything.
#[test]
fn other_arrays_are_ignored() {
    let names = file("others/names.csv", "name,yhat,age,y\nAda,1,,1\nBob,2,7,4\n");
    let json = file(
        "others/names.json",
        r#"{"yhat": [1, 2], "y": [1, 4], "name": "x", "notes": [["a"], [1, null]]}"#,
    );
    for data in [names.as_str(), &json] {
        let out = prints(&["eval", "mse", "--json", "--data", data]);
        assert!(out.contains(r#""value": 2.0"#), "{data}: {out}");
    }
    let out = prints(&["eval", "mse", "--json", "--data", "tests/data/mixed.npz"]);
    assert!(out.contains(r#""value": 1.0"#), "{out}");
    let (code, _, err) = said(&["eval", "-", "--data", &names], "loss l = mean(age)");
    assert_eq!(code, 2);
    assert!(err.contains("line 2: column `age` is empty"), "{err}");
}

#[test]
fn hyperparameters_and_a_table() {
    let two = file("set/two.json", TWO);
    let out = prints(&["eval", "huber", "--data", &two, "--set", "delta=3"]);
    assert_eq!(
        out,
        "huber = 1  (mean over all elements)\n\nd huber / d yhat  (2)\n             0    -1.000000\n"
    );
}

#[test]
fn gradients_to_a_file() {
    let (two, out) = (file("out/two.json", TWO), place("out.npz"));
    prints(&["eval", "mse", "--data", &two, "--out", &out]);
    let arrays = losscc::data::read(
        "out.npz",
        losscc::data::Format::Npz,
        &fs::read(&out).unwrap(),
    );
    let arrays = arrays.unwrap();
    assert_eq!(arrays[0].0, "yhat");
    assert_eq!(arrays[0].1.reals(), Some([0.0, -2.0].as_slice()));
    let vector = file("out/vector.json", r#"{"yhat": [1, 3]}"#);
    let second = ["--hessian", "diag", "--hvp", &vector];
    let first = ["eval", "mse", "--data", &two, "--out", &out];
    prints(&[&first[..], &second].concat());
    let bytes = fs::read(&out).unwrap();
    let arrays = losscc::data::read("out.npz", losscc::data::Format::Npz, &bytes).unwrap();
    let found: Vec<(&str, &[f64])> = arrays
        .iter()
        .map(|(name, a)| (name.as_str(), a.reals().unwrap()))
        .collect();
    assert_eq!(found[1], ("hessian_diag.yhat", [1.0, 1.0].as_slice()));
    assert_eq!(found[2], ("hvp.yhat", [1.0, 3.0].as_slice()));
}

#[test]
fn second_derivatives_say_what_they_leave_out() {
    let data = file(
        "hessian/ce.json",
        r#"{"logits": [[1, 2], [3, 4]], "target": [0, 1]}"#,
    );
    let all = [
        "eval",
        "cross_entropy",
        "--data",
        &data,
        "--hessian",
        "diag",
    ];
    let (code, out, err) = said(&all, "");
    assert_eq!(code, 0);
    assert!(
        out.contains("d² cross_entropy / d logits²  (2 x 2)"),
        "{out}"
    );
    assert!(
        err.starts_with("note: the Hessian of `cross_entropy` has entries off its diagonal"),
        "{err}"
    );
    let layers = r#"{"x": [1, 2], "w": [[1, 2]], "u": [[1], [2]]}"#;
    let layers = file("hessian/layers.json", layers);
    let (code, _, err) = said(
        &["eval", "-", "--data", &layers, "--hessian", "diag"],
        "loss l(x: [N] | w: [M, N], u: [K, M]) = sum[K](tanh(sum[M](u * h)))\n  where h = tanh(sum[N](w * x))",
    );
    assert!(
        code == 1 && err.contains("needs an extra axis"),
        "{code} {err}"
    );
}

#[test]
fn hessian_vector_products() {
    let data = file("hvp/data.json", r#"{"x": [1, 2], "y": 3}"#);
    let v = file("hvp/v.json", r#"{"x": [1, 0], "y": -1, "z": [5]}"#);
    let spec = file("hvp/l.loss", "loss l(x: [N], y: []) = y * sum(x^3)");
    let eval = |flags: &[&str]| said(&[&["eval", &spec, "--data", &data], flags].concat(), "");
    let (code, out, err) = eval(&["--hvp", &v, "--json"]);
    assert_eq!((code, err.as_str()), (0, ""));
    let expected = r#"{"loss": "l", "dtype": "f64", "value": 27.0, "grad": {"x": [9.0, 36.0], "y": 9.0}, "hvp": {"x": [15.0, -12.0], "y": 3.0}}"#;
    assert_eq!(out.trim_end(), expected);
    let (_, out, _) = eval(&["--hvp", &v, "--wrt", "y", "--json"]);
    assert!(
        out.contains(r#""grad": {"y": 9.0}, "hvp": {"y": 0.0}}"#),
        "{out}"
    );
    let (_, out, _) = eval(&["--hvp", &v, "--hessian", "diag", "--json"]);
    assert!(
        out.contains(r#""hessian_diag": {"x": [18.0, 36.0], "y": 0.0}, "hvp": {"#),
        "{out}"
    );
    let (_, out, _) = eval(&["--hvp", &v]);
    let of = "Hessian of l times the vector, in x  (2)\n     15.000000   -12.000000\n";
    assert!(out.contains(of), "{out}");
    for (vectors, says) in [
        (
            r#"{"x": [1, 0]}"#,
            "error: `--hvp` has no vector for `y`\n |\n = note: it has `x`\n = help: give an array `y`, or leave the input out of `--wrt`",
        ),
        (
            r#"{"x": [1, 0, 2], "y": 1}"#,
            "error: the vector for `x` in `--hvp` has the shape [3], but `x` has [2]",
        ),
        (r#"{"x": [1, "one"], "y": 1}"#, "error: cannot read `"),
    ] {
        let v = file("hvp/wrong.json", vectors);
        let (code, out, err) = eval(&["--hvp", &v]);
        assert_eq!((code, out.as_str()), (2, ""));
        assert!(err.contains(says), "{err}");
    }
    let (code, _, err) = eval(&["--hvp", "v.txt"]);
    assert_eq!(code, 2);
    assert!(
        err.contains("`v.txt` is neither .npz, .npy, .json nor .csv"),
        "{err}"
    );
}

#[test]
fn no_rows_are_no_error() {
    let data = file("rows/none.csv", "yhat,y\n");
    let (code, out, err) = said(&["eval", "mse", "--data", &data, "--json"], "");
    assert_eq!(code, 0, "{err}");
    assert_eq!(
        out,
        "{\"loss\": \"mse\", \"dtype\": \"f64\", \"value\": \"NaN\", \"grad\": {\"yhat\": []}}\n"
    );
    assert_eq!(err.matches("warning: ").count(), 1, "{err}");
    // An empty list does not say how long its rows would be.
    let lists = [
        (
            "cross_entropy",
            r#"{"logits": [], "target": []}"#,
            r#""value": "NaN""#,
        ),
        ("iou", r#"{"pred": [], "target": []}"#, r#""value": "NaN""#),
        (
            "weighted_cross_entropy",
            r#"{"logits": [], "target": [], "weight": [1, 2]}"#,
            r#""grad": {"logits": []}"#,
        ),
    ];
    for (spec, data, holds) in lists {
        let data = file("rows/none.json", data);
        let (code, out, err) = said(&["eval", spec, "--data", &data, "--json"], "");
        assert_eq!(code, 0, "{err}");
        assert!(out.contains(holds), "{out}");
    }
}

// ---- compile, grad

#[test]
fn the_report() {
    let out = prints(&["compile", "specs/huber.loss"]);
    for part in [
        "loss huber(yhat | y; delta = 1 in (0, inf)) =",
        "gradient yhat = ",
        "\nstages  (f64, value and gradient)\n",
        "\nvalue   mean over all elements\n",
        "\ncode    ",
        " from text to callable kernel (median of ",
    ] {
        assert!(out.contains(part), "{part}: {out}");
    }
}

#[test]
fn stages_come_in_the_order_of_the_pipeline() {
    let emit = "--emit=asm,clif,loops,grad,ir,ast";
    let out = prints(&[
        "compile",
        "mse",
        emit,
        "--target",
        "x86_64-unknown-linux-gnu",
    ]);
    let marks = [
        "(loss mse",
        "yhat: real",
        "gradient yhat",
        "rows",
        "function ",
        "push",
    ];
    let mut last = 0;
    for (k, mark) in marks.iter().enumerate() {
        if k == 1 {
            continue;
        }
        let found = out[last..].find(mark);
        last += found.unwrap_or_else(|| panic!("no {mark} after {last}: {out}"));
    }
    let arm = prints(&[
        "compile",
        "mse",
        "--emit=asm",
        "--target",
        "aarch64-unknown-linux-gnu",
    ]);
    assert!(arm.contains("ret") && !arm.contains("%rsp"), "{arm}");
}

#[test]
fn stages_as_files() {
    let dir = place("emitted");
    prints(&[
        "compile",
        "mse",
        "--emit",
        "ast,ir,grad,loops,clif,asm",
        "-o",
        &dir,
    ]);
    for end in ["ast", "ir", "grad.loss", "loops", "clif", "asm"] {
        let text = fs::read_to_string(format!("{dir}/mse.{end}")).unwrap();
        assert!(text.len() > 10, "{end}");
    }
    // The printed gradient is a spec.
    prints(&["compile", &format!("{dir}/mse.grad.loss")]);
}

#[test]
fn printed_gradients_are_specs() {
    let data = file(
        "printed/d.json",
        r#"{"logits": [[1, 2, 0], [3, 4, -1]], "target": [0, 1]}"#,
    );
    for loss in ["cross_entropy", "focal_multiclass"] {
        let printed = prints(&["grad", loss]);
        let direct = prints(&["eval", loss, "--data", &data, "--json"]);
        let (code, again, err) = said(&["eval", "-", "--data", &data, "--json"], &printed);
        assert_eq!(
            (code, again.as_str()),
            (0, direct.as_str()),
            "{loss}: {err}"
        );
        assert_eq!(said(&["compile", "-"], &printed).0, 0);
    }
}

#[test]
fn commands_take_other_reductions() {
    let out = prints(&["compile", "nll", "--weighted"]);
    let by =
        "value   mean over N where target != ignore_index, divided by the sum of sample_weight\n";
    assert!(out.contains(by), "{out}");
    let out = prints(&["compile", "nll", "--reduction=sum", "--emit=ir"]);
    assert!(out.contains("sum[N if target != ignore_index]"), "{out}");
    // A loss is one number: the text without a reduction is that of the sum, whose gradient it is.
    let out = prints(&["grad", "nll", "--reduction=none"]);
    assert!(
        out.contains("sum[N if target != ignore_index](-log_probs[N, target])"),
        "{out}"
    );
    for flags in [&["--reduction=none"][..], &["--weighted"]] {
        let (code, out, err) = said(&[&["check", "nll"], flags].concat(), "");
        assert_eq!(code, 0, "{err}");
        assert!(out.contains("agree with finite differences"), "{out}");
    }
    let (code, _, err) = said(&["check", "lasso", "mse", "--reduction=sum"], "");
    assert_eq!(code, 2);
    assert!(err.contains("`lasso` has no row term"), "{err}");
}

#[test]
fn flat_losses_are_warned_of() {
    for command in ["compile", "grad"] {
        let (code, _, err) = said(&[command, "zero_one"], "");
        assert_eq!(
            (code, err.as_str()),
            (
                0,
                "warning: the gradient of `zero_one` is zero everywhere\n"
            )
        );
    }
}

// ---- check, test, list, fmt

#[test]
fn checks() {
    assert_eq!(
        prints(&["check", "mse"]),
        "mse: ok; 31 entries of the gradient and 15 of the Hessian's diagonal agree with finite differences; the value was never negative\n"
    );
    let wrong = "loss l(x: [N]) = sum(x^2)\n  gradient x[N] = x\n";
    let (code, out, err) = said(&["check", "-"], wrong);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(
        err.contains("the gradient of `x` is not the derivative of `l`"),
        "{err}"
    );
    assert!(err.contains(" --> <stdin>:2:"), "{err}");
    let (code, out, _) = said(&["check", "mse", "nothing_of_the_kind", "huber"], "");
    assert_eq!(code, 2);
    assert_eq!(out.lines().count(), 2, "{out}");
}

#[test]
fn examples() {
    assert!(prints(&["test", "mse", "huber"]).ends_with(" passed, 0 failed\n"));
    // No number is near an infinity.
    let text = "loss l(x) = sum(x)\nexample l(x = [1, 2]) == inf\n";
    let (code, out, err) = said(&["test", "-"], text);
    assert_eq!((code, out.as_str()), (1, "0 passed, 1 failed\n"), "{err}");
    let text = "loss l(x) = sum(x)\nexample l(x = [1, 2]) == 3\nexample l(x = [1, 2]) == 4\n";
    let (code, out, err) = said(&["test", "-"], text);
    assert_eq!((code, out.as_str()), (1, "1 passed, 1 failed\n"));
    assert!(
        err.contains(" --> <stdin>:3:") && err.contains("it gives 3"),
        "{err}"
    );
}

#[test]
fn the_list() {
    let out = prints(&["list"]);
    assert!(out.lines().count() >= 75);
    assert!(out.lines().all(|l| l.chars().count() <= 100), "{out}");
    assert!(
        out.lines()
            .any(|l| l.starts_with("huber ") && l.contains("quadratic")),
        "{out}"
    );
}

#[test]
fn layout() {
    let text = "loss  l( x ,y)=mean( x*y )// why\n";
    let (code, laid, err) = said(&["fmt", "-"], text);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(
        laid.contains("loss l(x, y)") && laid.contains("// why"),
        "{laid}"
    );
    assert_eq!(said(&["fmt", "-"], &laid).1, laid);
    let path = file("fmt/l.loss", text);
    let (code, _, err) = said(&["fmt", "--check", &path], "");
    assert!(code == 1 && err.contains("is not laid out"), "{err}");
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
    prints(&["fmt", &path]);
    assert_eq!(fs::read_to_string(&path).unwrap(), laid);
    prints(&["fmt", "--check", &path]);
    assert_eq!(said(&["fmt", "-"], "loss l(x = 1").0, 1);
}

// ---- around it

#[test]
fn usage() {
    assert_eq!(said(&[], "").0, 2);
    assert_eq!(said(&["evaluate"], "").0, 2);
    assert_eq!(said(&["eval", "mse"], "").0, 2);
    assert_eq!(
        said(&["eval", "mse", "--data", "x.json", "--dtype", "f16"], "").0,
        2
    );
    assert_eq!(said(&["compile", "mse", "--emit", "wasm"], "").0, 2);
    let (code, out, err) = said(&["--help"], "");
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.contains("Exit codes: 0 fine"), "{out}");
    assert!(said(&["--version"], "").1.starts_with("losscc "));
}

#[test]
fn colour_only_where_it_is_wanted() {
    let broken = "loss l(x) = mean(x +)";
    let (_, _, plain) = said(&["check", "-"], broken);
    assert!(!plain.contains('\x1b'), "{plain}");
    let (_, _, colored) = said(&["check", "-", "--color", "always"], broken);
    assert!(colored.contains('\x1b'), "{colored}");
}

/// Whoever reads may close early; that is no panic.
#[test]
fn a_closed_pipe() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_losscc"))
        .arg("list")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut err = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut err)
        .unwrap();
    assert_eq!((child.wait().unwrap().code(), err.as_str()), (Some(0), ""));
}

// ---- what is wrong

#[test]
fn wrong_specs() {
    for (text, place, says) in [
        ("", "1:1", "the file declares nothing"),
        ("loss l(x) = mean(x", "1:17", "never closed"),
        ("loss l(x) = mean(z)", "1:18", "`z`"),
        ("loss l(x) = mean(sgmoid(x))", "1:18", "sigmoid"),
        ("loss l(x) = mean(sigmoid(x, x))", "1:29", "sigmoid"),
        (
            "loss l(x: [N], y: [M]) = mean(x[N] * y[N])",
            "1:40",
            "axis N",
        ),
        ("loss l(x: [N, C]) = mean[N](x)", "1:", "C"),
        ("loss l(x, x) = mean(x)", "1:11", "`x`"),
        ("loss l(x) = mean(a) where a = x a = x", "1:33", "`a`"),
        ("use l\nloss l(x) = mean(x)", "1:5", "there is no spec `l`"),
    ] {
        let (code, out, err) = said(&["check", "-"], text);
        assert_eq!((code, out.as_str()), (1, ""), "{text}: {err}");
        assert!(
            err.contains(says) && err.contains(&format!("<stdin>:{place}")),
            "{text}: {err}"
        );
    }
    let own = file("itself/itself.loss", "use itself\nloss itself(x) = mean(x)");
    let (code, _, err) = said(&["check", &own], "");
    assert!(code == 1 && err.contains("`itself` uses itself"), "{err}");
}

#[test]
fn wrong_files() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let folder = folder.to_str().unwrap();
    let two = file("files/two.json", TWO);
    let bad = file("files/bad.loss", b"loss l(x) = mean(\xff)");
    let cut = file("files/cut.json", &TWO[..TWO.len() - 4]);
    let ragged = file("files/ragged.json", r#"{"yhat": [[1, 2], [3]], "y": [1]}"#);
    let twice = file(
        "files/twice.json",
        r#"{"yhat": [1], "yhat": [2], "y": [1]}"#,
    );
    let list = file("files/list.json", "[1, 2]");
    let text = file("files/text.json", r#"{"yhat": ["one"], "y": [1]}"#);
    let deep = file(
        "files/deep.json",
        format!(r#"{{"yhat": {}1"#, "[".repeat(100_000)),
    );
    let hole = file("files/hole.csv", "yhat,y\n1,2\n3,\n");
    let columns = file("files/columns.csv", "y,y\n1,2\n");
    let blank = file("files/blank.csv", "");
    let short = file("files/short.csv", "yhat,y\n1,2\n3\n");
    let semicolons = file("files/semicolons.csv", "yhat;y\n1;2\n");
    let python = file("files/python.json", r#"{"yhat": [NaN], "y": [1]}"#);
    let bytes = file("files/bytes.csv", b"yhat,y\n\xff,1\n");
    let zip = file("files/zip.npz", b"PK\x03\x04 and no more");
    for (arguments, says) in [
        (
            vec!["check", "missing.loss"],
            "there is no file `missing.loss`",
        ),
        (
            vec!["check", "hubre"],
            "did you mean the shipped loss `huber`?",
        ),
        (vec!["compile", folder], "cannot read `"),
        (vec!["check", &bad], "is not UTF-8"),
        (
            vec!["eval", "mse", "--data", "missing.json"],
            "cannot read `missing.json`: ",
        ),
        (
            vec!["eval", "mse", "--data", folder],
            "neither .npz, .npy, .json nor .csv",
        ),
        (vec!["eval", "mse", "--data", &cut], "EOF while parsing"),
        (
            vec!["eval", "mse", "--data", &ragged],
            "`yhat` is ragged: one list has 2 elements, another 1",
        ),
        (
            vec!["eval", "mse", "--data", &twice],
            "the name `yhat` stands twice",
        ),
        (
            vec!["eval", "mse", "--data", &list],
            "it is not an object of arrays",
        ),
        (
            vec!["eval", "mse", "--data", &text],
            "`yhat` holds the text \"one\"",
        ),
        (
            vec!["eval", "mse", "--data", &deep],
            "recursion limit exceeded",
        ),
        (
            vec!["eval", "mse", "--data", &hole],
            "line 3: column `y` is empty",
        ),
        (
            vec!["eval", "mse", "--data", &columns],
            "two columns have the name `y`",
        ),
        (
            vec!["eval", "mse", "--data", &short],
            "line 3 has 1 cell, the line of names 2",
        ),
        (
            vec!["eval", "mse", "--data", &semicolons],
            "its columns stand apart by ';', not by a comma",
        ),
        (
            vec!["eval", "mse", "--data", &python],
            "JSON has no NaN; write it as a text: \"NaN\"",
        ),
        (vec!["eval", "mse", "--data", &blank], "it is empty"),
        (
            vec!["eval", "mse", "--data", &bytes],
            "it is not UTF-8 text (byte 7)",
        ),
        (vec!["eval", "mse", "--data", &zip], "cannot read `"),
        (
            vec!["eval", "mse", "--data", "tests/data/truncated.npz"],
            "cannot read `tests/data/truncated.npz`",
        ),
        (
            vec!["eval", "mse", "--data", "yhat=tests/data/truncated.npy"],
            "it is truncated",
        ),
        (
            vec!["eval", "mse", "--data", &two, "--out", folder],
            "cannot write `",
        ),
        (
            vec!["eval", "mse", "--data", &two, "--out", "gradients.json"],
            "`gradients.json` is no name of a .npz file\n |\n = help: write `--out gradients.npz`",
        ),
        (
            vec!["eval", "mse", "--data", &two, "--out", "no/such/place.npz"],
            "cannot write `no/such/place.npz`",
        ),
        (
            vec!["compile", "mse", "--emit", "ir", "-o", &two],
            "cannot write `",
        ),
        (
            vec!["eval", "mse", "--data", &two, "--wrt", "yhat,yhat"],
            "the gradient with respect to `yhat` is wanted twice",
        ),
        (
            vec!["compile", "mse", "--emit", "asm", "--target", "mips"],
            "there is no code generation for mips",
        ),
    ] {
        let (code, out, err) = said(&arguments, "");
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}: {err}");
        assert!(
            err.starts_with("error: ") && err.contains(says),
            "{arguments:?}: {err}"
        );
    }
}

#[test]
fn wrong_data() {
    let two = file("data/two.json", TWO);
    let (one, longer) = (r#"{"yhat": [1, 2]}"#, r#"{"yhat": [1, 2], "y": [1, 2, 3]}"#);
    let ce = |logits: &str, target: &str| format!(r#"{{"logits": {logits}, "target": {target}}}"#);
    let huge = "axis L = size(N) * 500000000000\nloss l(x: [N]) = sum[L](1) * sum(x)";
    let memory =
        "axis L = size(N) * 500000000000\nloss l(x: [N]) = sum[L](v) where v = exp(sum[N](x) * L)";
    let overflow = "axis L = 9223372036854775807 + size(N)\nloss l(x: [N]) = sum[L](L * sum(x))";
    let negative = "axis L = size(N) - 5\nloss l(x: [N]) = sum[L](L * sum(x))";
    let x = r#"{"x": [1, 2]}"#;
    for (k, (spec, input, data, arguments, says)) in [
        (
            "mse",
            "",
            one.to_string(),
            vec![],
            "the data has no `y`, which `mse` needs",
        ),
        (
            "mse",
            "",
            longer.into(),
            vec![],
            "`y` has the shape [3], but `yhat` has [2]",
        ),
        (
            "cross_entropy",
            "",
            ce("[1, 2]", "[0]"),
            vec![],
            "`logits` has the shape [2], which is one axis instead of 2",
        ),
        (
            "cross_entropy",
            "",
            ce("[[1, 2]]", "[0, 1]"),
            vec![],
            "axis N has 1 elements in `logits` and 2 in `target`",
        ),
        (
            "mse",
            "",
            r#"{"yhat": [1, 1e300], "y": [1, 2]}"#.into(),
            vec!["--dtype", "f32"],
            "`yhat` at [1] is 1e300, which f32 does not hold",
        ),
        (
            "cross_entropy",
            "",
            ce("[[1, 2]]", "[0.5]"),
            vec![],
            "`target` at [0] is 0.5, not a whole number",
        ),
        (
            "cross_entropy",
            "",
            ce("[[1, 2], [1, 2]]", "[0, 7]"),
            vec![],
            "index 7 is out of range at position 2 of `logits`",
        ),
        (
            "cross_entropy",
            "",
            ce("[[1, 2], [1, 2]]", "[0, -1]"),
            vec![],
            "index -1 is out of range at position 2 of `logits`",
        ),
        (
            "iou",
            "",
            r#"{"pred": [[1, 2, 3]], "target": [[1, 2, 3]]}"#.into(),
            vec![],
            "but position 2 must be 4",
        ),
        (
            "huber",
            "",
            TWO.into(),
            vec!["--set", "delta=-1"],
            "`delta` is -1, outside of its domain (0, inf)",
        ),
        (
            "huber",
            "",
            TWO.into(),
            vec!["--set", "delta=nan"],
            "`delta` is NaN, outside of its domain (0, inf)",
        ),
        (
            "huber",
            "",
            TWO.into(),
            vec!["--set", "delta=two"],
            "`two` is not a number",
        ),
        (
            "huber",
            "",
            TWO.into(),
            vec!["--set", "delta"],
            "is not NAME=VALUE",
        ),
        (
            "huber",
            "",
            TWO.into(),
            vec!["--set", "detla=1"],
            "did you mean `delta`?",
        ),
        (
            "huber",
            "",
            TWO.into(),
            vec!["--wrt", "y"],
            "`y` is given, so `huber` has no gradient",
        ),
        (
            "huber",
            "",
            TWO.into(),
            vec!["--wrt", "yhta"],
            "did you mean `yhat`?",
        ),
        (
            "-",
            huge,
            x.into(),
            vec![],
            "axis L has 1000000000000 elements, more than memory holds",
        ),
        ("-", memory, x.into(), vec![], "more than memory holds"),
        (
            "-",
            overflow,
            x.into(),
            vec![],
            "the extent of axis L overflows",
        ),
        (
            "-",
            negative,
            x.into(),
            vec![],
            "axis L has the extent -3, less than nothing",
        ),
        (
            "-",
            "loss l(x: [N]; k: int = 2) = sum(x * div(size(N), k))",
            x.into(),
            vec!["--set", "k=0"],
            "divided by 0",
        ),
        (
            "-",
            "loss l(x: [N]; k: int = 2) = sum(x * k)",
            x.into(),
            vec!["--set", "k=1.5"],
            "not a whole number",
        ),
        (
            "-",
            "loss l(x: [N]; k) = sum(x * k)",
            x.into(),
            vec![],
            "`k` has no default and is not set\n |\n = help: on the command line: `--set k=...`",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let data = file(&format!("data/{k}.json"), data);
        let mut all = vec!["eval", spec, "--data", &data];
        all.extend(arguments);
        let (code, out, err) = said(&all, input);
        assert_eq!((code, out.as_str()), (2, ""), "{all:?} {input}: {err}");
        assert!(err.contains(says), "{all:?} {input}: {err}");
    }
    let csv = file("data/ce.csv", "logits,target\n1,0\n");
    // Of one name in two files none wins; what the loss does not read may be in both.
    let more = file("data/more.json", r#"{"y": [1, 1], "id": [7, 8]}"#);
    let others = file("data/others.json", r#"{"yhat": [1, 1], "id": [7, 8]}"#);
    prints(&["eval", "mse", "--data", &more, "--data", &others]);
    let (code, _, err) = said(&["eval", "mse", "--data", &two, "--data", &more], "");
    assert!(
        code == 2 && err.contains(&format!("`y` is in `{two}` and in `{more}`")),
        "{err}"
    );
    let (code, _, err) = said(
        &["eval", "cross_entropy", "--data", &csv, "--data", &two],
        "",
    );
    assert!(
        code == 2 && err.contains("`logits` has 2 axes, a column of"),
        "{err}"
    );
}

/// One limit for every kind of nesting, in every build.
#[test]
fn deep_nesting_is_refused() {
    let n = 100_000;
    for (head, open, middle, close) in [
        ("loss l(x) = mean(", "(", "x", ")"),
        ("loss l(x) = mean(", "abs(", "x", ")"),
        ("loss l(x: [N]) = mean(", "x[", "0", "]"),
        ("loss l(x) = mean(", "-", "x", ""),
        ("loss l(x) = mean(if ", "not ", "true then x else 0", ""),
        ("loss l(x) = mean(", "x^", "2", ""),
        ("loss l(x) = mean(", "if x > 0 then x else ", "x", ""),
        ("loss l(x) = mean(x)\nexample l(x = ", "[", "1", "]"),
    ] {
        let text = format!("{head}{}{middle}{})", open.repeat(n), close.repeat(n));
        let (code, _, err) = said(&["check", "-"], &text);
        assert_eq!(code, 1, "{open}");
        assert!(
            err.contains("nested more than 200 levels deep"),
            "{open}: {err}"
        );
    }
}
