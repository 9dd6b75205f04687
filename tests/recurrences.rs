//! Recurrences as kernels: what they sum up counted one by one, sizes at the edge, and wrong data.

use losscc::array::{Array, Data};
use losscc::{Dtype, Kernel, Options, Spec};

fn kernel(name: &str, text: &str, dtype: Dtype) -> Kernel {
    let options = Options {
        dtype,
        ..Options::default()
    };
    let loss = Spec::parse(name, text).and_then(|spec| spec.derive());
    loss.and_then(|l| l.compile(&options))
        .unwrap_or_else(|e| panic!("{e}"))
}

fn shipped(name: &str, dtype: Dtype) -> Kernel {
    kernel(name, losscc::shipped::text(name).unwrap(), dtype)
}

fn reals(shape: &[usize], values: &[f64]) -> Array {
    Array::real(shape, values.to_vec())
}

fn ints(shape: &[usize], values: &[i64]) -> Array {
    Array {
        shape: shape.to_vec(),
        data: Data::Int(values.to_vec()),
    }
}

/// Numbers that both dtypes hold.
fn random(rng: &mut fastrand::Rng, n: usize) -> Vec<f64> {
    (0..n).map(|_| f64::from(rng.f32() * 4.0 - 2.0)).collect()
}

/// All sequences of `length` labels below `labels`.
fn sequences(length: usize, labels: usize) -> Vec<Vec<usize>> {
    let mut all = vec![vec![]];
    for _ in 0..length {
        let longer = |s: Vec<usize>| {
            (0..labels).map(move |k| {
                let mut s = s.clone();
                s.push(k);
                s
            })
        };
        all = all.into_iter().flat_map(longer).collect();
    }
    all
}

fn close(got: &[f64], want: &[f64], tolerance: f64, what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    let finite = want.iter().filter(|x| x.is_finite());
    let scale = finite.fold(1.0, |m: f64, x| m.max(x.abs()));
    for (g, w) in got.iter().zip(want) {
        assert!(
            g == w || (g - w).abs() <= tolerance * scale,
            "{what}: {got:?} {want:?}"
        );
    }
}

const DTYPES: [(Dtype, f64); 2] = [(Dtype::F64, 1e-11), (Dtype::F32, 1e-5)];

/// A conditional random field's log Z is the log of the summed weights of all tag sequences, its gradient what the
/// average sequence uses.
#[test]
fn crf_sums_over_all_tag_sequences() {
    for (dtype, tolerance) in DTYPES {
        let kernel = shipped("crf_nll", dtype);
        for (t, k) in [(1, 1), (1, 3), (2, 2), (3, 3), (4, 2), (5, 3), (2, 6)] {
            let mut rng = fastrand::Rng::with_seed((10 * t + k) as u64);
            let x = random(&mut rng, 2 * t * k);
            let transitions = random(&mut rng, k * k);
            let (start, end) = (random(&mut rng, k), random(&mut rng, k));
            let tags: Vec<i64> = (0..2 * t).map(|_| rng.i64(0..k as i64)).collect();
            let lengths = [rng.usize(1..=t), t];
            let mask = (0..2 * t).map(|i| i % t < lengths[i / t]).collect();
            let mut value = 0.0;
            let mut x_bar = vec![0.0; 2 * t * k];
            let mut transitions_bar = vec![0.0; k * k];
            for b in 0..2 {
                let n = lengths[b];
                let score = |s: &[usize]| {
                    let mut all = start[s[0]] + end[s[n - 1]];
                    for i in 0..n {
                        all += x[(b * t + i) * k + s[i]];
                        all += if i > 0 {
                            transitions[s[i - 1] * k + s[i]]
                        } else {
                            0.0
                        };
                    }
                    all
                };
                let mut use_of = |s: &[usize], weight: f64| {
                    for i in 0..n {
                        x_bar[(b * t + i) * k + s[i]] += weight / 2.0;
                        if i > 0 {
                            transitions_bar[s[i - 1] * k + s[i]] += weight / 2.0;
                        }
                    }
                };
                let all = sequences(n, k);
                let z: f64 = all.iter().map(|s| score(s).exp()).sum();
                for s in &all {
                    use_of(s, score(s).exp() / z);
                }
                let given: Vec<usize> = (0..n).map(|i| tags[b * t + i] as usize).collect();
                use_of(&given, -1.0);
                value += (z.ln() - score(&given)) / 2.0;
            }
            let data = [
                ("emissions", &reals(&[2, t, k], &x)),
                ("transitions", &reals(&[k, k], &transitions)),
                ("start", &reals(&[k], &start)),
                ("end", &reals(&[k], &end)),
                ("tags", &ints(&[2, t], &tags)),
                (
                    "mask",
                    &Array {
                        shape: vec![2, t],
                        data: Data::Bool(mask),
                    },
                ),
            ];
            let got = kernel.evaluate(&data, &[]).unwrap();
            let what = format!("{dtype:?}, {t} times, {k} tags");
            close(&[got.value.number().unwrap()], &[value], tolerance, &what);
            close(&got.gradients[0].values, &x_bar, tolerance, &what);
            close(&got.gradients[1].values, &transitions_bar, tolerance, &what);
        }
    }
}

/// What a sequence of symbols and blanks stands for.
fn merged(path: &[usize]) -> Vec<i64> {
    let mut out = vec![];
    for (i, &c) in path.iter().enumerate() {
        if c != 0 && (i == 0 || path[i - 1] != c) {
            out.push(c as i64);
        }
    }
    out
}

/// The probability of a sequence is the sum of those of its alignments, its gradient what the average alignment uses.
#[test]
fn ctc_sums_over_all_alignments() {
    for (dtype, tolerance) in DTYPES {
        let kernel = shipped("ctc", dtype);
        for (t, c, s) in [
            (1, 2, 1),
            (2, 3, 2),
            (3, 2, 2),
            (4, 3, 2),
            (5, 3, 3),
            (6, 2, 3),
        ] {
            let mut rng = fastrand::Rng::with_seed((100 * t + 10 * c + s) as u64);
            let x = random(&mut rng, t * 2 * c);
            let targets: Vec<i64> = (0..2 * s).map(|_| rng.i64(1..c as i64)).collect();
            let times = [rng.i64(1..=t as i64), t as i64];
            let lengths = [rng.i64(0..=s as i64), s as i64];
            let mut value = 0.0;
            let mut x_bar = vec![0.0; t * 2 * c];
            for n in 0..2 {
                let symbols = &targets[n * s..n * s + lengths[n] as usize];
                let weight = |path: &[usize]| {
                    let at = |(i, &c_i): (usize, &usize)| x[(i * 2 + n) * c + c_i];
                    path.iter().enumerate().map(at).sum::<f64>().exp()
                };
                let mut paths = sequences(times[n] as usize, c);
                paths.retain(|p| merged(p) == symbols);
                let total: f64 = paths.iter().map(|p| weight(p)).sum();
                let length = lengths[n].max(1) as f64;
                value -= total.ln() / length / 2.0;
                for p in &paths {
                    for (i, &c_i) in p.iter().enumerate() {
                        x_bar[(i * 2 + n) * c + c_i] -= weight(p) / total / length / 2.0;
                    }
                }
            }
            let data = [
                ("log_probs", &reals(&[t, 2, c], &x)),
                ("targets", &ints(&[2, s], &targets)),
                ("input_lengths", &ints(&[2], &times)),
                ("target_lengths", &ints(&[2], &lengths)),
            ];
            let got = kernel.evaluate(&data, &[]).unwrap();
            let what = format!("{dtype:?}, {t} times, {c} symbols, {s} at most");
            close(&[got.value.number().unwrap()], &[value], tolerance, &what);
            close(&got.gradients[0].values, &x_bar, tolerance, &what);
        }
    }
}

#[test]
fn a_sequence_longer_than_its_input_costs_infinitely_much() {
    for (dtype, _) in DTYPES {
        let data = [
            ("log_probs", &reals(&[1, 2, 3], &[-1.0; 6])),
            ("targets", &ints(&[2, 2], &[1, 2, 1, 1])),
            ("input_lengths", &ints(&[2], &[1, 1])),
            ("target_lengths", &ints(&[2], &[2, 1])),
        ];
        let got = shipped("ctc", dtype).evaluate(&data, &[]).unwrap();
        assert_eq!(got.value.number(), Some(f64::INFINITY));
        let grad = &got.gradients[0].values;
        assert_eq!(grad[..3], [0.0; 3], "the gradient of the first sequence");
        assert_eq!(grad[3..], [0.0, -0.5, 0.0], "that of the second");
    }
}

/// What reads a step that there is not is named, with its place.
#[test]
fn a_recurrence_without_its_base_is_an_error() {
    let always = "loss f(x: [N, T]) = sum[N, T](a)\n  where a[N, T] = x + a[N, T - 1]";
    let refused = Spec::parse("f", always).err().unwrap().to_string();
    assert!(refused.contains("`a` has no base case"), "{refused}");
    // Here it is the data that have none.
    let text =
        "loss f(x: [N, T]) = sum[N, T](a)\n  where a[N, T] = if x > 2 then x else x + a[N, T - 1]";
    let kernel = kernel("f", text, Dtype::F64);
    let error = kernel
        .evaluate(&[("x", &reals(&[2, 3], &[1.0; 6]))], &[])
        .map(|_| ())
        .unwrap_err();
    let message = error.to_string();
    assert!(
        message.contains("index -1 is out of range at position 2 of `a`"),
        "{message}"
    );
    let none = kernel
        .evaluate(&[("x", &reals(&[0, 3], &[]))], &[])
        .unwrap();
    assert_eq!(none.value.number(), Some(0.0));
}

/// Long runs of few numbers: f32 keeps what the reference has to 1e-5.
#[test]
fn long_recurrences_keep_their_digits() {
    let text = "loss f(x: [N, T]) = mean[N](level[N, size(T) - 1])
      where level[N, T] = if T == 0 then x else logsumexp(level[N, T - 1], x)";
    let mut rng = fastrand::Rng::with_seed(3);
    let (n, t) = (3, 4000);
    let x: Vec<f64> = (0..n * t)
        .map(|_| f64::from(rng.f32() * 2e3 - 1e3))
        .collect();
    let data = [("x", &reals(&[n, t], &x))];
    let [wide, narrow] = DTYPES.map(|(dtype, _)| {
        let got = kernel("f", text, dtype).evaluate(&data, &[]).unwrap();
        (got.value.number().unwrap(), got.gradients[0].values.clone())
    });
    let mut want = 0.0;
    for row in x.chunks(t) {
        let m = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        want += m + row.iter().map(|x| (x - m).exp()).sum::<f64>().ln();
    }
    close(&[wide.0], &[want / n as f64], 1e-12, "value");
    close(&[narrow.0], &[wide.0], 1e-5, "value in f32");
    let grad: Vec<f64> = wide.1.iter().map(|g| g * n as f64).collect();
    let grad32: Vec<f64> = narrow.1.iter().map(|g| g * n as f64).collect();
    close(&grad32, &grad, 1e-5, "gradient in f32");
}
