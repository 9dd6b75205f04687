//! The callable kernel: checks, shapes, bits, threads.

mod build;

use build::*;
use losscc::codegen::Dtype;
use losscc::kernel::*;

fn data(n: usize, seed: u64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..n)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as f64 / (1u64 << 52) as f64 * 3.0 - 3.0
        })
        .collect()
}

fn single(x: &[f64]) -> Vec<f32> {
    x.iter().map(|&x| x as f32).collect()
}

const SIZES: [usize; 14] = [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 511, 1021];

fn huber_of(r: f64) -> (f64, f64) {
    if r.abs() <= 1.0 {
        (0.5 * r * r, r)
    } else {
        (r.abs() - 0.5, r.signum())
    }
}

#[test]
fn mse_and_huber_in_f32_and_f64_at_many_sizes() {
    type Term = fn(f64) -> (f64, f64);
    let losses: [(_, Term); 2] = [(mse(), |r| (r * r, 2.0 * r)), (huber(), huber_of)];
    for (loops, term) in losses {
        let k32 = Kernel::new(loops.clone(), None, Dtype::F32).unwrap();
        let k64 = Kernel::new(loops, None, Dtype::F64).unwrap();
        for n in SIZES.into_iter().chain([20_000, 70_001]) {
            let (y, p) = (data(n, 1), data(n, 2));
            let (y32, p32) = (single(&y), single(&p));
            let terms: Vec<_> = (0..n).map(|i| term(y[i] - p[i])).collect();
            let mean = terms.iter().map(|t| t.0).sum::<f64>() / n as f64;
            let shape = [n];
            let mut g = vec![9.0; n];
            let inputs = [
                Input {
                    name: "y",
                    data: Data::F64(&y),
                    shape: &shape,
                },
                Input {
                    name: "yhat",
                    data: Data::F64(&p),
                    shape: &shape,
                },
            ];
            let mut out = [Gradient {
                name: "yhat",
                data: DataMut::F64(&mut g),
            }];
            let v = k64.value_and_grad(&inputs, &[], &mut out).unwrap();
            let close = |a: f64, b: f64, e: f64| a.is_nan() && b.is_nan() || (a - b).abs() <= e;
            assert!(close(v, mean, 1e-12), "{v} {mean} n={n}");
            assert!(close(k64.value(&inputs, &[]).unwrap(), v, 0.0));
            for i in 0..n {
                assert!(close(g[i] * n as f64, -terms[i].1, 1e-12), "n={n} i={i}");
            }
            let mut g = vec![9.0; n];
            let inputs = [
                Input {
                    name: "y",
                    data: Data::F32(&y32),
                    shape: &shape,
                },
                Input {
                    name: "yhat",
                    data: Data::F32(&p32),
                    shape: &shape,
                },
            ];
            let mut out = [Gradient {
                name: "yhat",
                data: DataMut::F32(&mut g),
            }];
            let v = k32.value_and_grad(&inputs, &[], &mut out).unwrap();
            assert!(close(v, mean, 1e-5), "{v} {mean} n={n}");
            for i in 0..n {
                assert!(
                    close(f64::from(g[i]) * n as f64, -terms[i].1, 1e-5),
                    "n={n} i={i}"
                );
            }
        }
    }
}
