//! The callable kernel: checks, shapes, bits, threads.

mod build;

use build::*;
use losscc::Spec;
use losscc::array::Array;
use losscc::codegen::{Dtype, isa, text};
use losscc::interp::{bind, evaluate};
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

fn kernel(text: &str, dtype: Dtype) -> Kernel {
    let [full, value] = spec(text);
    Kernel::new(full, Some(value), dtype).unwrap()
}

fn input<'a>(name: &'a str, data: &'a [f32], shape: &'a [usize]) -> Input<'a> {
    Input {
        name,
        data: Data::F32(data),
        shape,
    }
}

fn grad<'a>(name: &'a str, data: &'a mut [f32]) -> Gradient<'a> {
    Gradient {
        name,
        data: DataMut::F32(data),
    }
}

#[test]
fn one_kernel_serves_twenty_shapes() {
    let [full, value] = shipped("huber");
    let kernel = Kernel::new(full, Some(value), Dtype::F32).unwrap();
    let shapes: [&[usize]; 20] = [
        &[],
        &[1],
        &[5],
        &[16],
        &[17],
        &[1021],
        &[40_000],
        &[0],
        &[1, 1],
        &[3, 7],
        &[7, 3],
        &[100, 100],
        &[0, 5],
        &[2, 3, 4],
        &[4, 1, 9],
        &[33, 2, 17],
        &[2, 2, 2, 2],
        &[1, 5, 1, 6],
        &[3, 1, 4, 1, 5],
        &[2, 1, 2, 1, 2, 1, 2],
    ];
    for shape in shapes {
        let n: usize = shape.iter().product();
        let (y, p) = (single(&data(n, 1)), single(&data(n, 2)));
        let mut g = vec![0.0; n];
        let inputs = [input("y", &y, shape), input("yhat", &p, shape)];
        let v = kernel
            .value_and_grad(&inputs, &[], &mut [grad("yhat", &mut g)])
            .unwrap();
        let terms: Vec<_> = (0..n).map(|i| huber_of(f64::from(y[i] - p[i]))).collect();
        let mean = terms.iter().map(|t| t.0).sum::<f64>() / n as f64;
        assert!((v - mean).abs() < 1e-6 || n == 0 && v.is_nan(), "{shape:?}");
        for (g, t) in g.iter().zip(&terms) {
            assert!((f64::from(*g) * n as f64 + t.1).abs() < 1e-5, "{shape:?}");
        }
        let empty = kernel.empty_axis(&inputs, &[]).unwrap();
        assert_eq!(empty.is_some(), n == 0);
    }
}

#[test]
fn kernels_are_shared_between_threads() {
    fn send_and_sync<T: Send + Sync>() {}
    send_and_sync::<Kernel>();
    let [full, value] = shipped("cross_entropy");
    let kernel = Kernel::new(full, Some(value), Dtype::F32).unwrap();
    let x = single(&data(40 * 33, 5));
    let target: Vec<i64> = (0..40).map(|i| i % 33).collect();
    let run = || {
        let inputs = [
            input("logits", &x, &[40, 33]),
            Input {
                name: "target",
                data: Data::I64(&target),
                shape: &[40],
            },
        ];
        let mut g = vec![0.0; x.len()];
        let v = kernel
            .value_and_grad(&inputs, &[], &mut [grad("logits", &mut g)])
            .unwrap();
        assert_eq!(v, kernel.value(&inputs, &[]).unwrap());
        (v, g)
    };
    let first = run();
    std::thread::scope(|s| {
        let all: Vec<_> = (0..4)
            .map(|_| s.spawn(|| (0..50).map(|_| run()).collect::<Vec<_>>()))
            .collect();
        for t in all {
            assert!(t.join().unwrap().iter().all(|r| *r == first));
        }
    });
}

/// Whatever stands beside an element, its gradient has the same bits.
#[test]
fn bits_do_not_depend_on_the_position() {
    let text = "loss f(x: [N], w: [N]) = sum(softplus(x) * exp(w) + tanh(x) ^ 2 / (1 + w * w) + log(1 + x * x))";
    for dtype in [Dtype::F32, Dtype::F64] {
        let kernel = kernel(text, dtype);
        let (x, w) = (data(70, 3), data(70, 4));
        let run = |x: &[f64], w: &[f64]| -> Vec<u64> {
            let shape = [x.len()];
            let (a, b) = (single(x), single(w));
            let (mut g, mut h) = (vec![0f32; x.len()], vec![0f32; x.len()]);
            let (mut g64, mut h64) = (vec![0f64; x.len()], vec![0f64; x.len()]);
            if dtype == Dtype::F32 {
                let inputs = [input("x", &a, &shape), input("w", &b, &shape)];
                let mut out = [grad("x", &mut g), grad("w", &mut h)];
                kernel.value_and_grad(&inputs, &[], &mut out).unwrap();
                return g.iter().chain(&h).map(|v| u64::from(v.to_bits())).collect();
            }
            let inputs = [("x", x), ("w", w)].map(|(name, d)| Input {
                name,
                data: Data::F64(d),
                shape: &shape,
            });
            let mut out = [("x", &mut g64), ("w", &mut h64)].map(|(name, d)| Gradient {
                name,
                data: DataMut::F64(d),
            });
            kernel.value_and_grad(&inputs, &[], &mut out).unwrap();
            g64.iter().chain(&h64).map(|v| v.to_bits()).collect()
        };
        let all = run(&x, &w);
        for (from, to) in [
            (0, 1),
            (1, 2),
            (3, 20),
            (5, 70),
            (17, 49),
            (40, 41),
            (2, 70),
        ] {
            let part = run(&x[from..to], &w[from..to]);
            let n = to - from;
            assert_eq!(part[..n], all[from..to], "{dtype:?} {from}..{to}");
            assert_eq!(part[n..], all[70 + from..70 + to], "{dtype:?} {from}..{to}");
        }
    }
}

/// A call that is wrong says what is wrong.
#[test]
fn wrong_calls_are_errors() {
    let [full, _] = shipped("huber");
    let kernel = Kernel::new(full, None, Dtype::F32).unwrap();
    let (y, p) = (vec![1.0f32; 6], vec![2.0f32; 6]);
    let doubles = vec![1.0f64; 6];
    let mut g = vec![0.0f32; 6];
    let mut short = vec![0.0f32; 5];
    let good = [input("y", &y, &[6]), input("yhat", &p, &[6])];
    let title = |r: Result<f64, losscc::diagnostic::Diagnostic>| r.unwrap_err().title;
    let mut call = |inputs: &[Input], params: &[(&str, f64)]| {
        title(kernel.value_and_grad(inputs, params, &mut [grad("yhat", &mut g)]))
    };
    let wide = Input {
        name: "y",
        data: Data::F64(&doubles),
        shape: &[6],
    };
    let cases = [
        (call(&good[..1], &[]), "lacks `yhat`"),
        (
            call(&[good[0], good[1], input("z", &y, &[6])], &[]),
            "no input `z`",
        ),
        (
            call(&[wide, good[1]], &[]),
            "array of f64, but this kernel takes f32",
        ),
        (
            call(&[input("y", &y, &[7]), good[1]], &[]),
            "not the shape [7]",
        ),
        (
            call(&[input("y", &y, &[2, 3]), good[1]], &[]),
            "has the shape",
        ),
        (
            call(&[input("y", &y[..5], &[5]), good[1]], &[]),
            "has the shape",
        ),
        (
            call(&[good[0], good[1], good[0]], &[]),
            "the input `y` is given twice",
        ),
        (
            call(&good, &[("delta", 1.0), ("delta", 2.0)]),
            "the hyperparameter `delta` is given twice",
        ),
        (call(&good, &[("gamma", 1.0)]), "no hyperparameter `gamma`"),
        (call(&good, &[("delta", -1.0)]), "outside of its domain"),
        (call(&good, &[("delta", f64::NAN)]), "outside of its domain"),
        (
            call(&[input("y", &y, &[usize::MAX, 2]), good[1]], &[]),
            "not the shape",
        ),
        (
            title(kernel.value_and_grad(&good, &[], &mut [])),
            "no place for the gradient of `yhat`",
        ),
        (
            title(kernel.value_and_grad(&good, &[], &mut [grad("yhat", &mut short)])),
            "has 5 elements of f32, but 6 of f32 are needed",
        ),
        (
            title(kernel.value_and_grad(&good, &[], &mut [grad("y", &mut [0.0; 6])])),
            "no place for the gradient of `yhat`",
        ),
        (
            title(kernel.value_and_grad(
                &good,
                &[],
                &mut [grad("yhat", &mut [0.0; 6]), grad("yhat", &mut [0.0; 6])],
            )),
            "the place for the gradient of `yhat` is given twice",
        ),
        (
            title(kernel.value_and_grad(
                &good,
                &[],
                &mut [grad("yhat", &mut [0.0; 6]), grad("y", &mut [0.0; 6])],
            )),
            "computes no gradient of `y`",
        ),
    ];
    for (got, wanted) in cases {
        assert!(got.contains(wanted), "{got}, without {wanted}");
    }
}

#[test]
fn overlapping_outputs_are_refused() {
    let [full, _] = shipped("mse");
    let kernel = Kernel::new(full, None, Dtype::F32).unwrap();
    let mut memory = vec![1.0f32; 12];
    let start = memory.as_mut_ptr();
    // SAFETY: both lie within `memory`, whose contents are only numbers; the call must refuse before it writes.
    let (p, g) = unsafe {
        (
            std::slice::from_raw_parts(start, 6),
            std::slice::from_raw_parts_mut(start.add(3), 6),
        )
    };
    let y = vec![0.0f32; 6];
    let inputs = [input("y", &y, &[6]), input("yhat", p, &[6])];
    let e = kernel.value_and_grad(&inputs, &[], &mut [grad("yhat", g)]);
    assert!(e.unwrap_err().title.contains("overlaps the input `yhat`"));
    let [full, _] = shipped("gaussian_nll");
    let kernel = Kernel::new(full, None, Dtype::F32).unwrap();
    let ones = [1.0f32; 6];
    let inputs = ["yhat", "var", "y"].map(|name| input(name, &ones, &[6]));
    // SAFETY: as above.
    let (a, b) = unsafe {
        (
            std::slice::from_raw_parts_mut(start, 6),
            std::slice::from_raw_parts_mut(start.add(5), 6),
        )
    };
    let e = kernel.value_and_grad(&inputs, &[], &mut [grad("yhat", a), grad("var", b)]);
    let said = e.unwrap_err().title;
    assert_eq!(said, "the places for `yhat` and `var` overlap");
}

#[test]
fn an_index_out_of_range_says_where() {
    let [full, value] = shipped("cross_entropy");
    let kernel = Kernel::new(full, Some(value), Dtype::F64).unwrap();
    let x = data(5 * 3, 1);
    for (bad, at) in [(3, 0), (-1, 2), (i64::MIN, 4), (i64::MAX, 1)] {
        let mut target = vec![1i64, 0, 2, 1, 0];
        target[at] = bad;
        let inputs = [
            Input {
                name: "logits",
                data: Data::F64(&x),
                shape: &[5, 3],
            },
            Input {
                name: "target",
                data: Data::I64(&target),
                shape: &[5],
            },
        ];
        let e = kernel.value(&inputs, &[]).unwrap_err();
        let wanted = format!("index {bad} is out of range at position 2 of `logits`");
        assert!(e.title.starts_with(&wanted), "{}", e.title);
        assert!(e.notes[0].contains(&format!("N = {at}")), "{:?}", e.notes);
        // What is ignored is not read.
        let ignored = kernel.value(&inputs, &[("ignore_index", bad as f64)]);
        assert!(bad.unsigned_abs() > 1 << 53 || ignored.is_ok());
    }
}

/// The index is the same for all elements of a row; whether it is needed is not.
#[test]
fn an_index_out_of_range_counts_where_it_is_needed() {
    let text = "loss f(x: [N, C], t: [K], u: [K, C] | i: int[N], on: bool[N, C]) =
sum[N, C]((if on then x * t[i] else 0) + (if on then x * u[i, C] else 0))";
    let [full, _] = spec(text);
    let kernel = Kernel::new(full, None, Dtype::F32).unwrap();
    for c in [1, 5, 21] {
        let (x, t, u) = (vec![1.0f32; 3 * c], [2.0f32; 4], vec![3.0f32; 4 * c]);
        for (bad, needed) in [(4, true), (-1, true), (i64::MIN, true), (4, false)] {
            let index = [0i64, bad, 3];
            let mut on = vec![true; 3 * c];
            on[c..2 * c].fill(false);
            on[2 * c - 1] = needed;
            let shape = [3, c];
            let inputs = [
                input("x", &x, &shape),
                input("t", &t, &[4]),
                Input {
                    name: "u",
                    data: Data::F32(&u),
                    shape: &[4, c],
                },
                Input {
                    name: "i",
                    data: Data::I64(&index),
                    shape: &[3],
                },
                Input {
                    name: "on",
                    data: Data::Bool(&on),
                    shape: &shape,
                },
            ];
            let mut g = [vec![0.0f32; 3 * c], vec![0.0; 4], vec![0.0; 4 * c]];
            let [gx, gt, gu] = &mut g;
            let mut out = [grad("x", gx), grad("t", gt), grad("u", gu)];
            let result = kernel.value_and_grad(&inputs, &[], &mut out);
            if needed {
                let e = result.unwrap_err();
                let wanted = format!("index {bad} is out of range at position 1 of");
                assert!(e.title.starts_with(&wanted), "{}", e.title);
                let place = format!("N = 1, C = {}", c - 1);
                assert!(e.notes[0].contains(&place), "{:?}", e.notes);
            } else {
                assert_eq!(result.unwrap(), 2.0 * 5.0 * c as f64);
                assert!(gx[c..2 * c].iter().all(|&g| g == 0.0));
            }
        }
    }
}

#[test]
fn extents_that_no_memory_holds_are_refused() {
    let texts = [
        "loss f(x: [N]) = sum(x) + sum[L](0.0 * L)
where axis L = 1000000 * 1000000 * size(N)",
        "loss f(x: [N]) = sum[N](x) + sum[L](0.0 * L)
where axis L = 1000000000 * 1000000000 * 1000000000 * size(N)",
    ];
    for text in texts {
        let [full, _] = spec(text);
        let kernel = Kernel::new(full, None, Dtype::F64).unwrap();
        let x = [1.0, 2.0];
        let inputs = [Input {
            name: "x",
            data: Data::F64(&x),
            shape: &[2],
        }];
        let e = kernel.value(&inputs, &[]).unwrap_err().title;
        assert!(
            e.contains("more than memory holds") || e.contains("overflows"),
            "{e}"
        );
    }
}

/// Two axes that each fit in memory, and would run for ever one within the other.
#[test]
fn loops_that_nobody_can_wait_for_are_refused() {
    let kernel = kernel(
        "loss f(x: [N]; n: int = 2 in [0, inf)) = sum(x * s)
where
  axis I = n
  axis J = 2 * n
  axis K = size(N)
  s = sum[I, J](cos(I * J)) + sum[K, L](x[K])
  axis L = size(K)",
        Dtype::F64,
    );
    let x = [1.0, 2.0];
    let inputs = [Input::new("x", Data::F64(&x), &[2])];
    for n in [0, 2, 100] {
        let pairs = (0..n).flat_map(|i| (0..2 * n).map(move |j| f64::from(i * j).cos()));
        let value = kernel.value(&inputs, &[("n", f64::from(n))]).unwrap();
        assert!((value - 3.0 * (pairs.sum::<f64>() + 6.0)).abs() < 1e-9);
    }
    let e = kernel.value(&inputs, &[("n", 3e8)]).unwrap_err();
    assert_eq!(e.title, "a loop over 2 axes would take 2e17 steps");
    assert_eq!(
        e.notes,
        ["axis I has 300000000 elements, axis J has 600000000 elements"]
    );
    // The interpreter is slower, and gives up sooner.
    let loss = Spec::parse(
        "t",
        "loss f(x: [N]) = sum(x * s) where\n  axis I = 100000\n  axis J = 100000\n  s = sum[I, J](1.0 * I * J)",
    );
    let loss = loss.unwrap();
    let x = Array::real(&[2], x.to_vec());
    let bound = bind(loss.program(), &[("x", &x)], &[]).unwrap();
    let e = evaluate(loss.program(), &bound, &loss.program().outputs()).unwrap_err();
    assert_eq!(e.title, "`sum` of too many elements for the interpreter");
}

#[test]
fn no_rows_at_all_is_no_error() {
    let kernel = kernel("loss f(x: [N], s: [N]) = mean(x) + 0 * sum(s)", Dtype::F32);
    let inputs = [input("x", &[], &[0]), input("s", &[], &[0])];
    let mut out = [grad("x", &mut []), grad("s", &mut [])];
    assert!(
        kernel
            .value_and_grad(&inputs, &[], &mut out)
            .unwrap()
            .is_nan()
    );
    assert_eq!(
        kernel.empty_axis(&inputs, &[]).unwrap().as_deref(),
        Some("N")
    );
}

/// Kernels give their memory back.
#[test]
fn dropped_kernels_leave_nothing() {
    // Pages of code that belong to no file: other memory grows with the threads of other tests.
    let mapped = || {
        let text = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
        let pages = text.lines().filter_map(|line| {
            let mut fields = line.split_whitespace();
            let (from, to) = fields.next()?.split_once('-')?;
            let code = fields.next()?.contains('x') && fields.nth(3).is_none();
            let place = |text| usize::from_str_radix(text, 16).ok();
            code.then_some((place(to)? - place(from)?) / 4096)
        });
        pages.sum::<usize>()
    };
    let loops = mse();
    let make = || drop(Kernel::new(loops.clone(), None, Dtype::F32).unwrap());
    let kept = Kernel::new(loops.clone(), None, Dtype::F32).unwrap();
    let before = mapped();
    assert!(before > 0);
    drop(kept);
    (0..500).for_each(|_| make());
    let grown = mapped().saturating_sub(before);
    assert!(grown < 250, "{grown} pages for 500 kernels");
}

/// Huber and focal in f32 on x86-64: only vectors, and no calls.
#[test]
fn loops_hold_no_calls_and_no_scalar_arithmetic() {
    let isa = isa::named("x86_64-unknown-linux-gnu").unwrap();
    for name in ["huber", "focal"] {
        let [loops, _] = shipped(name);
        let made = text(&loops, Dtype::F32, &*isa).unwrap();
        assert_eq!(made, text(&loops, Dtype::F32, &*isa).unwrap());
        let stage = made.asm.split("; stage").nth(1).unwrap();
        let operations: Vec<&str> = stage
            .lines()
            .filter_map(|l| l.strip_prefix("  "))
            .filter_map(|l| l.split_whitespace().next())
            .collect();
        assert!(operations.iter().filter(|o| o.ends_with("ps")).count() > 20);
        assert!(!operations.iter().any(|o| o.starts_with("call")), "{name}");
        let arithmetic = [
            "add", "sub", "mul", "div", "sqrt", "min", "max", "fm", "fnm",
        ];
        for o in operations {
            let plain = o.trim_start_matches('v');
            let scalar = plain.ends_with("ss") || plain.ends_with("sd");
            assert!(
                !(scalar && arithmetic.iter().any(|a| plain.starts_with(a))),
                "{name}: {o}"
            );
        }
    }
}

#[test]
fn text_for_other_machines() {
    let [loops, _] = shipped("huber");
    let arm = isa::named("aarch64-unknown-linux-gnu").unwrap();
    let asm = text(&loops, Dtype::F32, &*arm).unwrap().asm;
    assert!(asm.contains("fsub v") && asm.contains(".4s"), "{asm}");
    let clif = text(&loops, Dtype::F64, &*arm).unwrap().clif;
    assert!(clif.contains("f64x2"));
    for bad in [
        "riscv64gc-unknown-linux-gnu",
        "nonsense",
        "wasm32-unknown-unknown",
    ] {
        assert!(isa::named(bad).is_err());
    }
}

/// Sums of a matrix product over a long axis, in f32 against f64: also where they are carried from block to block.
#[test]
fn matrix_products_over_long_axes() {
    let text = "loss l(q: [N, D], k: [M, D] | w: [N, M]) =
      sum[N, M](w * (sum[D](q * k[M, D]) / size(D))^2)";
    let [full, value] = spec(text);
    let text = losscc::loops::print::print(&full);
    assert_eq!(text.matches("gemm ").count(), 3, "{text}");
    let k32 = Kernel::new(full.clone(), Some(value.clone()), Dtype::F32).unwrap();
    let k64 = Kernel::new(full, Some(value), Dtype::F64).unwrap();
    for (n, m, d) in [
        (5, 7, 4096),
        (3, 2, 20_000),
        (20_000, 3, 4),
        (1, 1, 1),
        (0, 3, 5),
        (3, 4, 0),
    ] {
        // Means that are not 0 as well as sums that cancel.
        for offset in [0.0, 1.5] {
            let shifted = |x: Vec<f64>| -> Vec<f64> {
                x.iter().map(|x| f64::from((x + offset) as f32)).collect()
            };
            let q = shifted(data(n * d, 1));
            let k = shifted(data(m * d, 2));
            let w = shifted(data(n * m, 3));
            let shapes = [[n, d], [m, d], [n, m]];
            let (q32, k32_in, w32) = (single(&q), single(&k), single(&w));
            let wide = [
                Input::new("q", &q, &shapes[0]),
                Input::new("k", &k, &shapes[1]),
                Input::new("w", &w, &shapes[2]),
            ];
            let narrow = [
                Input::new("q", &q32, &shapes[0]),
                Input::new("k", &k32_in, &shapes[1]),
                Input::new("w", &w32, &shapes[2]),
            ];
            let (mut gq, mut gk) = (vec![0.0f64; n * d], vec![0.0f64; m * d]);
            let (mut gq32, mut gk32) = (vec![0.0f32; n * d], vec![0.0f32; m * d]);
            let mut out = [Gradient::new("q", &mut gq), Gradient::new("k", &mut gk)];
            let want = k64.value_and_grad(&wide, &[], &mut out).unwrap();
            let mut out = [Gradient::new("q", &mut gq32), Gradient::new("k", &mut gk32)];
            let got = k32.value_and_grad(&narrow, &[], &mut out).unwrap();
            assert_eq!(got.to_bits(), k32.value(&narrow, &[]).unwrap().to_bits());
            assert!(
                (got - want).abs() <= 1e-5 * want.abs().max(1.0) || d == 0,
                "{got} {want}"
            );
            for (want, got) in [(gq, gq32), (gk, gk32)] {
                let largest = want.iter().fold(0.0f64, |m, x| m.max(x.abs()));
                for (x, &y) in want.iter().zip(&got) {
                    let error = (x - f64::from(y)).abs();
                    assert!(error <= 1e-5 * largest, "{n} {m} {d}: {x} {y}");
                }
            }
        }
    }
}
