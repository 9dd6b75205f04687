//! Compiled losses against loops written by hand, in the same run: value and gradient in f32 on one thread.
//!
//! `cargo bench` prints nanoseconds per element and the ratio of the medians. Candidates take turns, so that what else
//! the machine does hits all of them.

#[path = "../tests/build/mod.rs"]
mod build;
mod hand;

use losscc::codegen::Dtype;
use losscc::kernel::*;
use losscc::loops::Loops;
use std::hint::black_box;
use std::time::Instant;

fn main() {
    if !hand::has_avx2() {
        println!("no AVX2 on this machine, nothing to compare with");
        return;
    }
    elementwise();
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
    let repeats = (50_000 / once).clamp(1, 1000);
    let deadline = Instant::now() + std::time::Duration::from_millis(1200);
    while Instant::now() < deadline || times[0].len() < 5 {
        for ((_, f), t) in candidates.iter_mut().zip(&mut times) {
            let start = Instant::now();
            for _ in 0..repeats {
                f();
            }
            t.push(start.elapsed().as_nanos() as f64 / repeats as f64);
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
    pair("mse", build::mse(), ["y", "yhat"], &[("avx2", mse)]);
    pair("huber", build::huber(), ["y", "yhat"], &[("avx2", huber)]);
    let mut all = vec![("avx2", bce)];
    if hand::has_avx512() {
        all.push(("avx512", bce512));
    }
    pair("bce_with_logits", build::bce(), ["x", "y"], &all);
}

fn pair(name: &str, loops: Loops, inputs: [&str; 2], hands: &[(&str, Hand)]) {
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
