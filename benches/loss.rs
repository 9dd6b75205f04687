//! Compiled losses against loops written by hand, in the same run: value and gradient in f32 on one thread.
//!
//! `cargo bench` lets divan time every candidate. It then prints, for each case, nanoseconds per element and the ratios of
//! the medians of candidates that take turns, so that what else the machine does hits all of them; what a call costs
//! beyond its arithmetic; and how long the shipped specs take from text to a callable kernel. With a filter, as in
//! `cargo bench -- mse`, it does so for the cases whose names contain it, and no more.

#[path = "../tests/build/mod.rs"]
mod build;
mod hand;

use divan::Bencher;
use divan::counter::ItemsCount;
use losscc::codegen::Dtype;
use losscc::kernel::*;
use losscc::loops::{Loops, Wanted};
use std::fmt;
use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

fn main() {
    if !hand::has_avx2() {
        println!("no AVX2 on this machine, nothing to compare with");
        return;
    }
    divan::main();
    // Cargo itself passes `--bench`.
    let filters: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    let wanted = |case: &&Case| {
        let name = case.to_string();
        filters.iter().all(|f| name.contains(f.as_str()))
    };
    CASES.iter().filter(wanted).for_each(ratios);
    if filters.is_empty() {
        overhead();
        latency();
    }
}

/// A loss at some shape.
struct Case {
    loss: &'static str,
    /// Rows, and elements of a row where the loss has rows.
    shape: &'static [usize],
}

const CASES: &[Case] = &[
    case("mse", &[1_000]),
    case("mse", &[100_000]),
    case("mse", &[10_000_000]),
    case("huber", &[1_000]),
    case("huber", &[100_000]),
    case("huber", &[10_000_000]),
    case("bce_with_logits", &[1_000]),
    case("bce_with_logits", &[100_000]),
    case("bce_with_logits", &[10_000_000]),
    case("cross_entropy", &[100, 1000]),
    case("cross_entropy", &[10_000, 1000]),
    case("cross_entropy", &[10_000, 100]),
    case("cross_entropy", &[10_000, 24]),
    case("cross_entropy", &[10_000, 10]),
    case("cross_entropy", &[10_000, 2]),
    case("cross_entropy", &[500_000, 10]),
];

const fn case(loss: &'static str, shape: &'static [usize]) -> Case {
    Case { loss, shape }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} {:?}", self.loss, self.shape)
    }
}

/// Who computes it.
#[derive(Clone, Copy)]
enum Who {
    Losscc,
    Plain,
    Avx2,
    Avx512,
}

impl Who {
    const ALL: [(&'static str, Who); 4] = [
        ("losscc", Who::Losscc),
        ("plain", Who::Plain),
        ("avx2", Who::Avx2),
        ("avx512", Who::Avx512),
    ];
}

#[divan::bench(args = CASES, sample_count = 20)]
fn losscc_kernel(bencher: Bencher, case: &Case) {
    time(bencher, case, Who::Losscc);
}

#[divan::bench(args = CASES, sample_count = 20)]
fn hand_plain(bencher: Bencher, case: &Case) {
    time(bencher, case, Who::Plain);
}

#[divan::bench(args = CASES, sample_count = 20)]
fn hand_avx2(bencher: Bencher, case: &Case) {
    time(bencher, case, Who::Avx2);
}

#[divan::bench(args = CASES, sample_count = 20)]
fn hand_avx512(bencher: Bencher, case: &Case) {
    time(bencher, case, Who::Avx512);
}

fn time(bencher: Bencher, case: &Case, who: Who) {
    if let Some(call) = case.call(who) {
        let elements: usize = case.shape.iter().product();
        bencher.counter(ItemsCount::new(elements)).bench_local(call);
    }
}

type Call = Box<dyn FnMut()>;
type Hand = unsafe fn(&[f32], &[f32], &mut [f32]) -> f64;
type HandRows = unsafe fn(&[f32], &[i64], usize, &mut [f32]) -> f64;

impl Case {
    /// One call of value and gradient; nothing where there is no such loop.
    fn call(&self, who: Who) -> Option<Call> {
        if let (Who::Avx512, false) = (who, hand::has_avx512()) {
            return None;
        }
        match *self.shape {
            [n, c] => self.rows(who, n, c),
            _ => self.elements(who, self.shape[0]),
        }
    }

    fn elements(&self, who: Who, n: usize) -> Option<Call> {
        let (a, b, mut g) = (numbers(n, 1), numbers(n, 2), vec![0.0f32; n]);
        // SAFETY of all three: only called where the feature was detected.
        let huber: Hand = |a, b, g| unsafe { hand::huber_avx2(a, b, g, 1.0) };
        let hand = match (self.loss, who) {
            (_, Who::Losscc) => {
                let (inputs, grad) = match self.loss {
                    "bce_with_logits" => (["logits", "y"], "logits"),
                    _ => (["y", "yhat"], "yhat"),
                };
                let kernel = kernel(self.loss);
                return Some(Box::new(move || {
                    let shape = [n];
                    let given = [(inputs[0], &a), (inputs[1], &b)].map(|(name, x)| Input {
                        name,
                        data: Data::F32(x),
                        shape: &shape,
                    });
                    let mut out = [Gradient {
                        name: grad,
                        data: DataMut::F32(&mut g),
                    }];
                    black_box(kernel.value_and_grad(&given, &[], &mut out)).expect("it runs");
                }));
            }
            ("mse", Who::Avx2) => hand::mse_avx2 as Hand,
            ("huber", Who::Avx2) => huber,
            ("bce_with_logits", Who::Avx2) => hand::bce_avx2 as Hand,
            ("bce_with_logits", Who::Avx512) => hand::bce_avx512 as Hand,
            _ => return None,
        };
        Some(Box::new(move || {
            // SAFETY: the feature was detected.
            black_box(unsafe { hand(&a, &b, &mut g) });
        }))
    }

    fn rows(&self, who: Who, n: usize, c: usize) -> Option<Call> {
        let x = numbers(n * c, 3);
        let target: Vec<i64> = (0..n).map(|i| (i * 7 % c) as i64).collect();
        let mut g = vec![0.0f32; n * c];
        let hand = match who {
            Who::Losscc => {
                let kernel = kernel(self.loss);
                return Some(Box::new(move || {
                    let given = [
                        Input {
                            name: "logits",
                            data: Data::F32(&x),
                            shape: &[n, c],
                        },
                        Input {
                            name: "target",
                            data: Data::I64(&target),
                            shape: &[n],
                        },
                    ];
                    let mut out = [Gradient {
                        name: "logits",
                        data: DataMut::F32(&mut g),
                    }];
                    black_box(kernel.value_and_grad(&given, &[], &mut out)).expect("it runs");
                }));
            }
            Who::Plain => hand::cross_entropy_plain as HandRows,
            Who::Avx2 => hand::cross_entropy_avx2 as HandRows,
            Who::Avx512 => hand::cross_entropy_avx512 as HandRows,
        };
        Some(Box::new(move || {
            // SAFETY: the feature was detected.
            black_box(unsafe { hand(&x, &target, c, &mut g) });
        }))
    }
}

/// Nanoseconds per element of each candidate, and how much longer losscc takes than the others.
fn ratios(case: &Case) {
    let all = Who::ALL.into_iter();
    let mut calls: Vec<(&str, Call)> = all
        .filter_map(|(name, who)| Some((name, case.call(who)?)))
        .collect();
    let mut candidates: Vec<(&str, &mut dyn FnMut())> = vec![];
    for (name, call) in &mut calls {
        candidates.push((*name, &mut **call));
    }
    let names: Vec<&str> = candidates.iter().map(|c| c.0).collect();
    let times = race(&mut candidates);
    report(
        &case.to_string(),
        case.shape.iter().product(),
        &names,
        &times,
    );
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
        // On one stack, as `losscc` runs, and warm.
        for k in 0..20 {
            if let Some((t, s)) = losscc::compile::with_stack(attempt)
                && k >= 5
            {
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
