//! Branches within branches that meet again: compiled in time and space that grow with the text, and what can fail
//! fails exactly where it is needed.

use losscc::array::{Array, Data};
use losscc::interp::{bind, evaluate};
use losscc::loops::{Block, Loops, Stage, Stmt, Wanted, schedule};
use losscc::{Dtype, Options, Spec};

const LEVELS: usize = 16;
const ROWS: usize = 11;

/// `step` nested so deep, over a gather that only some rows need.
fn nested(levels: usize, step: &str) -> String {
    let inner = "(if b[N, 0] then z[i] else 2)".to_owned();
    let value = (0..levels).fold(inner, |x, k| {
        format!("step({x}, w, j[N, {k}], d[N, {k}], b[N, {k}])")
    });
    format!(
        "def step(x, w: [A], j, d, c) = if c then x * 0.5 else {step}
         loss l(z: [M] | w: [M], i: int[N], j: int[N, K], d: int[N, K], b: bool[N, K]) = sum[N]({value})"
    )
}

fn scheduled(text: &str) -> Loops {
    let loss = Spec::parse("test", text).unwrap().derive().unwrap();
    let gradients = loss.program().gradients.iter().map(|g| g.input).collect();
    let wanted = Wanted {
        value: true,
        gradients,
    };
    schedule(loss.program(), &wanted).unwrap()
}

fn statements(block: &Block) -> usize {
    let within = |s: &Stmt| match s {
        Stmt::Loop { body, .. } => statements(body),
        _ => 0,
    };
    block.iter().map(|s| 1 + within(s)).sum()
}

#[test]
fn statements_grow_with_the_text() {
    for step in ["sin(x) + 1", "log(x)", "sqrt(x)", "1 / x", "x + w[j]"] {
        let size = |levels: usize| -> usize {
            let loops = scheduled(&nested(levels, step));
            let bodies = loops.stages.iter().map(|s| match s {
                Stage::Rows { body, .. } | Stage::Once(body) => statements(body),
            });
            bodies.sum()
        };
        let (few, many) = (size(LEVELS), size(2 * LEVELS));
        assert!(many < 3 * few, "{step}: {few} statements, then {many}");
    }
}

/// Data in which an index or a divisor is good for nothing where nobody needs it, but for the one that `bad` names: by
/// the input and the place among its elements.
fn data(rng: &mut fastrand::Rng, bad: Option<(&str, usize)>) -> Vec<(&'static str, Array)> {
    let cells = ROWS * LEVELS;
    let mut b: Vec<bool> = (0..cells).map(|_| rng.bool()).collect();
    match bad {
        Some(("i", k)) => b[k * LEVELS] = true,
        Some((_, k)) => b[k] = false,
        None => {}
    }
    let mut ints = |name: &str, wrong: i64, needed: Vec<bool>| {
        let mut one = |k: usize| match needed[k] {
            true if bad == Some((name, k)) => wrong,
            false if rng.bool() => wrong,
            _ => rng.i64(1..3),
        };
        Data::Int((0..needed.len()).map(&mut one).collect())
    };
    let i = ints("i", 7, b.iter().step_by(LEVELS).copied().collect());
    let j = ints("j", -1, b.iter().map(|b| !b).collect());
    let d = ints("d", 0, b.iter().map(|b| !b).collect());
    let array = |shape: &[usize], data: Data| Array {
        shape: shape.to_vec(),
        data,
    };
    vec![
        ("z", Array::real(&[3], vec![0.25, -1.5, 0.75])),
        ("w", Array::real(&[3], vec![0.5, 0.25, -0.75])),
        ("i", array(&[ROWS], i)),
        ("j", array(&[ROWS, LEVELS], j)),
        ("d", array(&[ROWS, LEVELS], d)),
        ("b", array(&[ROWS, LEVELS], Data::Bool(b))),
    ]
}

#[test]
fn what_is_needed_fails() {
    let mut rng = fastrand::Rng::with_seed(1);
    for step in [
        "sin(x) + 1 + w[j]",
        "0.5 * x + div(12, d) / 4",
        "if x > 0 then w[j] * x else x + 1",
    ] {
        let loss = Spec::parse("test", &nested(LEVELS, step)).unwrap();
        let loss = loss.derive().unwrap();
        let outputs = loss.program().outputs();
        for (dtype, tolerance) in [(Dtype::F64, 1e-9), (Dtype::F32, 1e-5)] {
            let options = Options {
                dtype,
                ..Options::default()
            };
            let kernel = loss.compile(&options).unwrap();
            let (mut failed, mut fine) = (0, 0);
            for case in 0..24 {
                let place = |rng: &mut fastrand::Rng, n: usize| rng.usize(0..n);
                let bad = match case % 4 {
                    0 => Some(("i", place(&mut rng, ROWS))),
                    1 => Some(("j", place(&mut rng, ROWS * LEVELS))),
                    2 => Some(("d", place(&mut rng, ROWS * LEVELS))),
                    _ => None,
                };
                let data = data(&mut rng, bad);
                let data: Vec<(&str, &Array)> = data.iter().map(|(n, a)| (*n, a)).collect();
                let bound = bind(loss.program(), &data, &[]).unwrap();
                let plain = evaluate(loss.program(), &bound, &outputs);
                match (plain, kernel.evaluate(&data, &[])) {
                    (Ok(want), Ok(got)) => {
                        fine += 1;
                        let gradients = got.gradients.into_iter().map(|g| g.values);
                        let value = got.value.reals().unwrap().to_vec();
                        let got = [value].into_iter();
                        let got = got.chain(gradients);
                        for (want, got) in want.iter().zip(got) {
                            let want = want.reals().unwrap();
                            let finite = want.iter().filter(|x| x.is_finite());
                            let scale = finite.fold(1.0, |m: f64, x| m.max(x.abs()));
                            for (w, g) in want.iter().zip(got) {
                                let near = *w == g || (w - g).abs() <= tolerance * scale;
                                assert!(near, "{step}: {w} {g}");
                            }
                        }
                    }
                    (Err(_), Err(_)) => failed += 1,
                    (plain, kernel) => {
                        panic!("{step}, {bad:?}: {:?} {:?}", plain.err(), kernel.err())
                    }
                }
            }
            assert!(
                failed > 6 && fine > 6,
                "{step}: {failed} failed, {fine} fine"
            );
        }
    }
}

/// An element that a guard leaves out contributes nothing, whatever its definitions are worth: the mean of nothing and the
/// logsumexp and norm of it are NaN.
#[test]
fn what_a_guard_leaves_out_contributes_nothing() {
    let array = |shape: &[usize], data: &[f64]| Array::real(shape, data.to_vec());
    let x = array(&[2, 2], &[1.0, 2.0, 3.0, 4.0]);
    let w = array(&[2], &[0.5, -1.0]);
    let m = Array {
        shape: vec![2, 2],
        data: Data::Bool(vec![true, false, false, false]),
    };
    for kind in ["logsumexp", "norm"] {
        let of = |rows: &str| {
            format!(
                "loss l(x: [N, C], w: [D] | m: bool[N, C]) = norm[N, D if {rows}](r * w)
                   where r[N] = {kind}[D](mean[C if m](x) + w)"
            )
        };
        for dtype in [Dtype::F64, Dtype::F32] {
            let options = Options {
                dtype,
                ..Options::default()
            };
            // The second row is left out; then it is not there.
            let alone = [array(&[1, 2], &[1.0, 2.0]), w.clone()];
            let first = Array {
                shape: vec![1, 2],
                data: Data::Bool(vec![true, false]),
            };
            let run = |rows: &str, data: [&Array; 3]| {
                let loss = Spec::parse("test", &of(rows)).unwrap().derive().unwrap();
                let kernel = loss.compile(&options).unwrap();
                let [x, w, m] = data;
                kernel
                    .evaluate(&[("x", x), ("w", w), ("m", m)], &[])
                    .unwrap()
            };
            let got = run("any[C](m)", [&x, &w, &m]);
            let want = run("true", [&alone[0], &alone[1], &first]);
            assert_eq!(got.value, want.value, "{kind}");
            assert_eq!(got.gradients[0].values[..2], want.gradients[0].values[..]);
            assert_eq!(got.gradients[0].values[2..], [0.0, 0.0], "{kind}");
            assert_eq!(got.gradients[1].values, want.gradients[1].values, "{kind}");
        }
    }
}

#[test]
fn what_a_guard_leaves_out_contributes_nothing_to_factors() {
    let text = "loss l(x: [N], z: [N] | y: [N]) = sum[N if y > 0](s * r)
                  where
                    s = z / y
                    r = x^3 * s + s * s";
    let loss = Spec::parse("test", text).unwrap().derive().unwrap();
    let kernel = loss.compile(&Options::default()).unwrap();
    let array = |data: [f64; 3]| Array::real(&[3], data.to_vec());
    let x = array([1.0, 2.0, 3.0]);
    let z = array([0.5, -1.0, 2.0]);
    let y = array([1.0, 0.0, -1.0]);
    let got = kernel
        .evaluate(&[("x", &x), ("z", &z), ("y", &y)], &[])
        .unwrap();
    // x^3 z^2 / y^2 + z^3 / y^3 of the first alone.
    assert_eq!(got.value.reals(), Some(&[0.375][..]));
    assert_eq!(got.gradients[0].values, [0.75, 0.0, 0.0]);
    assert_eq!(got.gradients[1].values, [1.75, 0.0, 0.0]);
}
