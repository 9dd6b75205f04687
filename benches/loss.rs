//! Compiled losses against loops written by hand, in the same run: value and gradient in f32 on one thread.
//!
//! `cargo bench` prints nanoseconds per element and the ratio of the medians. Candidates take turns, so that what else
//! the machine does hits all of them.

#[path = "../tests/build/mod.rs"]
mod build;
mod hand;

use losscc::codegen::Dtype;
use losscc::kernel::*;
use losscc::loops::{Loops, Wanted};
use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

fn main() {
    if !hand::has_avx2() {
        println!("no AVX2 on this machine, nothing to compare with");
        return;
    }
    elementwise();
    rows();
    overhead();
    latency();
}

/// The loops of a shipped spec: value and gradients, and the value alone.
fn loops(name: &str) -> [Loops; 2] {
    let text = losscc::shipped::text(name).expect("a shipped spec");
    let files =
        |path: &Path| std::fs::read(Path::new("specs").join(path.file_name().unwrap_or_default()));
    let modules =
        losscc::modules::load_text(name, text, &files).unwrap_or_else(|_| panic!("{name}"));
    let checked = losscc::lower::lower(&modules, modules.root).expect("it checks");
    let program = losscc::compile::derive(checked.program)
        .expect("it has a gradient")
        .program;
    let all = program.gradients.iter().map(|g| g.input).collect();
    [all, vec![]].map(|gradients| {
        let wanted = Wanted {
            value: true,
            gradients,
        };
        losscc::loops::schedule(&program, &wanted).expect("a schedule")
    })
}

fn kernel(name: &str) -> Kernel {
    let [loops, _] = loops(name);
    Kernel::new(loops, None, Dtype::F32).expect("it compiles")
}

type HandRows = unsafe fn(&[f32], &[i64], usize, &mut [f32]) -> f64;

/// Softmax cross-entropy with wide and with narrow rows.
fn rows() {
    let kernel = kernel("cross_entropy");
    let avx2: HandRows = |x, t, c, g| {
        // SAFETY: AVX2 was detected.
        unsafe { hand::cross_entropy_avx2(x, t, c, g) }
    };
    let avx512: HandRows = |x, t, c, g| {
        // SAFETY: only called where AVX-512 was detected.
        unsafe { hand::cross_entropy_avx512(x, t, c, g) }
    };
    let plain: HandRows = |x, t, c, g| hand::cross_entropy_plain(x, t, c, g);
    let mut hands = vec![("plain", plain), ("avx2", avx2)];
    if hand::has_avx512() {
        hands.push(("avx512", avx512));
    }
    for (c, n) in [(1000, 100), (1000, 10_000), (10, 10_000), (10, 500_000)] {
        let x = numbers(n * c, 3);
        let target: Vec<i64> = (0..n).map(|i| (i * 7 % c) as i64).collect();
        let mut g = vec![0.0f32; n * c];
        let (shape, rows) = ([n, c], [n]);
        let mut ours = || {
            let given = [
                Input {
                    name: "logits",
                    data: Data::F32(&x),
                    shape: &shape,
                },
                Input {
                    name: "target",
                    data: Data::I64(&target),
                    shape: &rows,
                },
            ];
            let mut out = [Gradient {
                name: "logits",
                data: DataMut::F32(&mut g),
            }];
            black_box(kernel.value_and_grad(&given, &[], &mut out)).expect("it runs");
        };
        let mut others: Vec<_> = hands
            .iter()
            .map(|(name, f)| {
                let (x, target) = (&x, &target);
                let mut g = vec![0.0f32; n * c];
                (*name, move || {
                    // SAFETY: the feature was detected.
                    black_box(unsafe { f(x, target, c, &mut g) });
                })
            })
            .collect();
        let mut candidates: Vec<(&str, &mut dyn FnMut())> = vec![("losscc", &mut ours)];
        for (name, f) in &mut others {
            candidates.push((name, f));
        }
        let names: Vec<&str> = candidates.iter().map(|c| c.0).collect();
        let times = race(&mut candidates);
        report(&format!("cross_entropy C={c} N={n}"), n * c, &names, &times);
    }
}

/// What a call costs on top of its arithmetic: a call on 1,000 elements less 1/100 of one on 100,000.
fn overhead() {
    for name in ["mse", "huber"] {
        let kernel = kernel(name);
        let mut calls: Vec<_> = [1_000usize, 16_000]
            .into_iter()
            .map(|n| {
                let kernel = &kernel;
                let (y, p, mut g) = (numbers(n, 1), numbers(n, 2), vec![0.0f32; n]);
                move || {
                    let shape = [n];
                    let given = [
                        Input {
                            name: "y",
                            data: Data::F32(&y),
                            shape: &shape,
                        },
                        Input {
                            name: "yhat",
                            data: Data::F32(&p),
                            shape: &shape,
                        },
                    ];
                    let mut out = [Gradient {
                        name: "yhat",
                        data: DataMut::F32(&mut g),
                    }];
                    black_box(kernel.value_and_grad(&given, &[], &mut out)).expect("it runs");
                }
            })
            .collect();
        let (small, large) = calls.split_at_mut(1);
        let times = race(&mut [("1000", &mut small[0]), ("16000", &mut large[0])]);
        let cost = times[0] - times[1] / 16.0;
        println!(
            "{:<34} {:.0} ns a call, {cost:.0} ns beyond its arithmetic",
            format!("{name} n=1000"),
            times[0]
        );
    }
}

/// From text to a callable kernel, warm: the median over the shipped specs that compile.
fn latency() {
    let mut medians = vec![];
    for (name, _) in losscc::shipped::all() {
        let attempt = || {
            let start = now();
            let text = losscc::shipped::text(name)?;
            let files = |path: &Path| {
                std::fs::read(Path::new("specs").join(path.file_name().unwrap_or_default()))
            };
            let modules = losscc::modules::load_text(name, text, &files).ok()?;
            let checked = losscc::lower::lower(&modules, modules.root).ok()?;
            let program = losscc::compile::derive(checked.program).ok()?.program;
            let gradients = program.gradients.iter().map(|g| g.input).collect();
            let front = now() - start;
            let wanted = Wanted {
                value: true,
                gradients,
            };
            let loops = losscc::loops::schedule(&program, &wanted).ok()?;
            let middle = now() - start;
            let kernel = Kernel::new(loops, None, Dtype::F32).ok()?;
            let all = now() - start;
            Some((
                [front, middle - front, all - middle, all],
                kernel.code_size(),
            ))
        };
        let mut times = vec![];
        let mut size = 0;
        for _ in 0..7 {
            if let Some((t, s)) = attempt() {
                times.push(t.map(|t| t / 1e3));
                size = s;
            }
        }
        if times.is_empty() {
            continue;
        }
        times.sort_by(|a, b| a[3].total_cmp(&b[3]));
        let [front, middle, code, all] = times[times.len() / 2];
        println!(
            "{name:<28} {all:>7.0} us: program {front:.0}, loops {middle:.0}, code {code:.0} ({size} bytes)"
        );
        medians.push(all);
    }
    medians.sort_by(f64::total_cmp);
    println!(
        "text to kernel, median of {} specs: {:.0} us",
        medians.len(),
        medians[medians.len() / 2]
    );
}

fn numbers(n: usize, seed: u32) -> Vec<f32> {
    let mut s = seed | 1;
    (0..n)
        .map(|_| {
            s ^= s << 13;
            s ^= s >> 17;
            s ^= s << 5;
            s as f32 / u32::MAX as f32 * 6.0 - 3.0
        })
        .collect()
}

/// Nanoseconds that this thread has run, so that what else the machine does counts little.
fn now() -> f64 {
    #[repr(C)]
    struct Time {
        seconds: i64,
        nanoseconds: i64,
    }
    unsafe extern "C" {
        fn clock_gettime(clock: i32, time: *mut Time) -> i32;
    }
    const THREAD: i32 = 3;
    let mut t = Time {
        seconds: 0,
        nanoseconds: 0,
    };
    // SAFETY: C's function, which writes one `timespec`; on the 64-bit Linux that this benchmark is for it is two i64.
    unsafe { clock_gettime(THREAD, &raw mut t) };
    t.seconds as f64 * 1e9 + t.nanoseconds as f64
}

/// Median nanoseconds of each candidate, taking turns for about a second.
fn race(candidates: &mut [(&str, &mut dyn FnMut())]) -> Vec<f64> {
    let mut times = vec![vec![]; candidates.len()];
    for (_, f) in candidates.iter_mut() {
        f();
    }
    // Short ones are repeated within one measurement.
    let start = Instant::now();
    candidates[0].1();
    let once = start.elapsed().as_nanos().max(1) as u64;
    let repeats = (500_000 / once).clamp(1, 10_000);
    let deadline = Instant::now() + std::time::Duration::from_millis(1500);
    while Instant::now() < deadline || times[0].len() < 5 {
        for ((_, f), t) in candidates.iter_mut().zip(&mut times) {
            let start = now();
            for _ in 0..repeats {
                f();
            }
            t.push((now() - start) / repeats as f64);
        }
    }
    times
        .into_iter()
        .map(|mut t| {
            t.sort_by(f64::total_cmp);
            t[t.len() / 2]
        })
        .collect()
}

fn report(title: &str, n: usize, names: &[&str], times: &[f64]) {
    print!("{title:<34}");
    for (name, t) in names.iter().zip(times) {
        print!(" {name} {:.3}", t / n as f64);
    }
    for (name, t) in names.iter().zip(times).skip(1) {
        print!("  [{:.2}x {name}]", times[0] / t);
    }
    println!();
}

type Hand = unsafe fn(&[f32], &[f32], &mut [f32]) -> f64;

fn elementwise() {
    let huber: Hand = |a, b, g| {
        // SAFETY: AVX2 was detected.
        unsafe { hand::huber_avx2(a, b, g, 1.0) }
    };
    let mse: Hand = |a, b, g| {
        // SAFETY: AVX2 was detected.
        unsafe { hand::mse_avx2(a, b, g) }
    };
    let bce: Hand = |a, b, g| {
        // SAFETY: AVX2 was detected.
        unsafe { hand::bce_avx2(a, b, g) }
    };
    let bce512: Hand = |a, b, g| {
        // SAFETY: only called where AVX-512 was detected.
        unsafe { hand::bce_avx512(a, b, g) }
    };
    pair("mse", ["y", "yhat"], &[("avx2", mse)]);
    pair("huber", ["y", "yhat"], &[("avx2", huber)]);
    let mut all = vec![("avx2", bce)];
    if hand::has_avx512() {
        all.push(("avx512", bce512));
    }
    pair("bce_with_logits", ["logits", "y"], &all);
}

fn pair(name: &str, inputs: [&str; 2], hands: &[(&str, Hand)]) {
    let [loops, _] = loops(name);
    let grad = loops.buffers[loops.outputs[1].0 as usize].name.clone();
    let grad = grad.trim_start_matches("out.").to_string();
    let kernel = Kernel::new(loops, None, Dtype::F32).expect("it compiles");
    for n in [1_000, 100_000, 10_000_000] {
        let (a, b) = (numbers(n, 1), numbers(n, 2));
        let mut g = vec![0.0f32; n];
        let shape = [n];
        let mut ours = {
            let (a, b) = (&a, &b);
            let (kernel, grad) = (&kernel, grad.as_str());
            let mut g = vec![0.0f32; n];
            move || {
                let given = [
                    Input {
                        name: inputs[0],
                        data: Data::F32(a),
                        shape: &shape,
                    },
                    Input {
                        name: inputs[1],
                        data: Data::F32(b),
                        shape: &shape,
                    },
                ];
                let mut out = [Gradient {
                    name: grad,
                    data: DataMut::F32(&mut g),
                }];
                black_box(kernel.value_and_grad(&given, &[], &mut out)).expect("it runs");
            }
        };
        let mut others: Vec<_> = hands
            .iter()
            .map(|(name, f)| {
                let (a, b) = (&a, &b);
                let mut g = std::mem::take(&mut g);
                g.resize(n, 0.0);
                (*name, move || {
                    // SAFETY: the feature was detected.
                    black_box(unsafe { f(a, b, &mut g) });
                })
            })
            .collect();
        let mut candidates: Vec<(&str, &mut dyn FnMut())> = vec![("losscc", &mut ours)];
        for (name, f) in &mut others {
            candidates.push((name, f));
        }
        let names: Vec<&str> = candidates.iter().map(|c| c.0).collect();
        let times = race(&mut candidates);
        report(&format!("{name} n={n}"), n, &names, &times);
    }
}
