//! The vector library against f64 functions (for f32) and against exact values (for f64).

#[path = "math/jit.rs"]
mod jit;

use losscc::codegen::math::{Function, Width};

/// The function in f64.
fn reference(function: Function, x: f64, y: f64) -> f64 {
    match function {
        Function::Exp => x.exp(),
        Function::Expm1 => x.exp_m1(),
        Function::Log => x.ln(),
        Function::Log1p => x.ln_1p(),
        Function::Log2 => x.log2(),
        Function::Tanh => x.tanh(),
        Function::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Function::Softplus => {
            x.max(0.0) + (-x.abs()).exp().ln_1p() + if x.is_nan() { x } else { 0.0 }
        }
        Function::Xlogy => {
            if x == 0.0 && !y.is_nan() {
                0.0
            } else {
                x * y.ln()
            }
        }
    }
}

/// The distance of `got` from the exact `want`, in units of the last place of `want` rounded to f32. Infinite where a special value is wrong.
fn ulps_f32(got: f32, want: f64) -> f64 {
    let rounded = want as f32;
    if rounded.is_nan() || got.is_nan() {
        return if rounded.is_nan() && got.is_nan() {
            0.0
        } else {
            f64::INFINITY
        };
    }
    if rounded == 0.0 || rounded.is_infinite() || got.is_infinite() {
        if got.to_bits() == rounded.to_bits() {
            return 0.0;
        }
        // Next to the overflow threshold a neighbour is as good as infinity.
        let near = got.is_infinite() != rounded.is_infinite()
            && got.signum() == rounded.signum()
            && want.abs() > 3.4028233e38
            && want.abs() < 3.4028237e38;
        if near {
            return 1.0;
        }
        if rounded == 0.0 && got.abs() <= f32::from_bits(1) && want != 0.0 {
            return 1.0;
        }
        return f64::INFINITY;
    }
    let exponent = ((rounded.to_bits() >> 23) & 255).max(1) as i32;
    let ulp = 2f64.powi(exponent - 150);
    (f64::from(got) - want).abs() / ulp
}

/// Every n-th f32 bit pattern is tried; LOSSCC_MATH_STRIDE=1 is the exhaustive test.
fn stride() -> usize {
    let text = std::env::var("LOSSCC_MATH_STRIDE").unwrap_or_default();
    text.parse().unwrap_or(1021)
}

/// Arguments at which a function may be special.
const SPECIAL: &[f32] = &[
    0.0,
    -0.0,
    1.0,
    -1.0,
    2.0,
    -2.0,
    3.0,
    -3.0,
    0.5,
    -0.5,
    0.7,
    -1e-3,
    1e5,
    -1e5,
    1.00001e5,
    1e20,
    -1e20,
    1e-40,
    -1e-40,
    f32::MIN_POSITIVE,
    -f32::MIN_POSITIVE,
    1e-45,
    -1e-45,
    f32::MAX,
    f32::MIN,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
    88.72284,
    -87.33655,
    -103.97208,
    -103.97209,
    -104.0,
    16_777_216.0,
    16_777_215.0,
    -16_777_215.0,
    f32::from_bits(0x7f80_0001),
    f32::from_bits(0xffff_ffff),
    f32::from_bits(0x3f7f_ffff),
    f32::from_bits(0x3f80_0001),
];

/// Numbers spread over the bit patterns, in no order: a multiplicative generator, the same in every run.
fn scattered(seed: u32) -> impl Iterator<Item = f32> {
    let mut state = seed | 1;
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
        f32::from_bits(state ^ (state >> 15))
    })
}

struct Worst {
    ulps: f64,
    steps: u32,
    x: f32,
    y: f32,
    got: f32,
    want: f64,
}

fn worst_f32(function: Function, fma: bool) -> Worst {
    let compiled = jit::compile(function, Width::F32X4, fma);
    let mut worst = Worst {
        ulps: 0.0,
        steps: 0,
        x: 0.0,
        y: 0.0,
        got: 0.0,
        want: 0.0,
    };
    let specials = SPECIAL
        .iter()
        .flat_map(|&x| SPECIAL.iter().map(move |&y| (x, y)));
    let patterns = (0..=u32::MAX).step_by(stride()).map(f32::from_bits);
    let seconds = SPECIAL
        .iter()
        .copied()
        .cycle()
        .zip(scattered(7))
        .flat_map(|(a, b)| [a, b]);
    let mut arguments = specials.chain(patterns.zip(seconds));
    loop {
        let (mut xs, mut ys): (Vec<f32>, Vec<f32>) = arguments.by_ref().take(4096).unzip();
        if xs.is_empty() {
            return worst;
        }
        xs.resize(4096, 1.0);
        ys.resize(4096, 1.0);
        let mut out = vec![0f32; 4096];
        compiled.run(&xs, &ys, &mut out);
        for ((&x, &y), &got) in xs.iter().zip(&ys).zip(&out) {
            let want = reference(function, f64::from(x), f64::from(y));
            let ulps = ulps_f32(got, want);
            worst.steps = worst.steps.max(steps_f32(got, want as f32));
            if ulps > worst.ulps {
                worst = Worst {
                    ulps,
                    x,
                    y,
                    got,
                    want,
                    ..worst
                };
            }
        }
    }
}

/// Steps from one f32 to another, NaN a step from nothing but NaN, the zeros apart.
fn steps_f32(got: f32, want: f32) -> u32 {
    if got.is_nan() || want.is_nan() {
        return if got.is_nan() && want.is_nan() {
            0
        } else {
            u32::MAX
        };
    }
    if got == 0.0 && want == 0.0 {
        return if got.to_bits() == want.to_bits() {
            0
        } else {
            u32::MAX
        };
    }
    let order = |v: f32| {
        let bits = v.to_bits() as i32;
        if bits < 0 {
            i32::MIN.wrapping_sub(bits)
        } else {
            bits
        }
    };
    order(got).abs_diff(order(want))
}

#[test]
fn f32_forms_are_within_two_ulp() {
    let mut failed = Vec::new();
    for &function in Function::ALL {
        for fma in [true, false] {
            let w = worst_f32(function, fma);
            println!(
                "{function:?} fma {fma}: {:.3} ulp, {} steps, at {:e} ({:x}), {:e}: {:e} for {:e}",
                w.ulps,
                w.steps,
                w.x,
                w.x.to_bits(),
                w.y,
                w.got,
                w.want
            );
            if w.steps > 2 || w.ulps.is_infinite() {
                failed.push((function, fma));
            }
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
}

/// Steps from one f64 to another; infinite between NaN and a number, or infinity and a finite number more than a step away.
fn steps_f64(got: f64, want: f64) -> u64 {
    if got.is_nan() || want.is_nan() {
        return if got.is_nan() && want.is_nan() {
            0
        } else {
            u64::MAX
        };
    }
    let order = |v: f64| {
        let bits = v.to_bits() as i64;
        if bits < 0 {
            i64::MIN.wrapping_sub(bits)
        } else {
            bits
        }
    };
    if got == 0.0 && want == 0.0 {
        return if got.to_bits() == want.to_bits() {
            0
        } else {
            u64::MAX
        };
    }
    order(got).abs_diff(order(want))
}

fn by_name(name: &str) -> Option<Function> {
    Function::ALL
        .iter()
        .copied()
        .find(|f| format!("{f:?}").to_lowercase() == name)
}

#[test]
fn f64_forms_are_within_two_ulp() {
    let text = include_str!("math/exact.txt");
    let mut cases: Vec<(Function, f64, f64, f64)> = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |i: usize| f64::from_bits(u64::from_str_radix(words[i], 16).unwrap());
        cases.push((by_name(words[0]).unwrap(), number(1), number(2), number(3)));
    }
    let mut failed = Vec::new();
    for &function in Function::ALL {
        let cases: Vec<_> = cases.iter().filter(|c| c.0 == function).collect();
        if cases.is_empty() {
            continue;
        }
        for fma in [true, false] {
            let compiled = jit::compile(function, Width::F64X2, fma);
            let n = cases.len().next_multiple_of(2 * jit::COPIES);
            let mut x: Vec<f64> = cases.iter().map(|c| c.1).collect();
            let mut y: Vec<f64> = cases.iter().map(|c| c.2).collect();
            x.resize(n, 1.0);
            y.resize(n, 1.0);
            let mut out = vec![0.0; n];
            compiled.run(&x, &y, &mut out);
            let worst = cases
                .iter()
                .zip(&out)
                .map(|(c, &got)| (steps_f64(got, c.3), c.1, c.2, got, c.3))
                .max_by_key(|w| w.0)
                .unwrap();
            println!("{function:?} fma {fma}: {worst:?}");
            if worst.0 > 2 {
                failed.push((function, fma));
            }
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
}
