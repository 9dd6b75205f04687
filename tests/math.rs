//! The vector library against f64 functions (for f32) and against exact values (for f64), and its code on other targets.

#[path = "math/jit.rs"]
mod jit;
#[path = "math/ulp.rs"]
mod ulp;

use jit::Compiled;
use losscc::codegen::math::{Function, Width, special};
use ulp::{order_f32, order_f64, ulps_f32};

/// The function in f64: the platform's or libm's, which are good to an f64 ulp or so.
fn reference(function: Function, x: f64, y: f64) -> f64 {
    match function {
        Function::Exp | Function::ExpNonPositive => x.exp(),
        Function::Expm1 => x.exp_m1(),
        Function::Log => x.ln(),
        Function::Log1p => x.ln_1p(),
        Function::Log2 => x.log2(),
        Function::Tanh => x.tanh(),
        Function::Sigmoid if x < 0.0 => x.exp() / (1.0 + x.exp()),
        Function::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Function::Softplus if x.is_nan() => x,
        Function::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
        Function::Xlogy if x == 0.0 && !y.is_nan() => 0.0,
        Function::Xlogy => x * y.ln(),
        Function::Sin => libm::sin(x),
        Function::Cos => libm::cos(x),
        Function::Tan => libm::tan(x),
        Function::Asin => libm::asin(x),
        Function::Acos => libm::acos(x),
        Function::Atan => libm::atan(x),
        Function::Atan2 => libm::atan2(x, y),
        Function::Sinh => x.sinh(),
        Function::Cosh => x.cosh(),
        Function::Erf => libm::erf(x),
        Function::Pow => x.powf(y),
        Function::Lgamma => special::lgamma(x),
        Function::Digamma => special::digamma(x),
        Function::Polygamma => special::polygamma(x, y),
        Function::Sqrt => x.sqrt(),
        Function::Floor => x.floor(),
        Function::Ceil => x.ceil(),
        Function::Round => x.round_ties_even(),
    }
}

/// Every n-th f32 bit pattern is tried, by default 4 million of them; LOSSCC_MATH_STRIDE=1 tries all. For the functions that are calls in
/// f32 too a few do, since the same function is the reference.
fn stride(function: Function) -> usize {
    let text = std::env::var("LOSSCC_MATH_STRIDE").unwrap_or_default();
    let inlined = text.parse().unwrap_or(1021);
    match function {
        Function::Lgamma | Function::Digamma | Function::Polygamma => 1_000_003,
        _ => inlined,
    }
}

/// Arguments at which a function may be special; each pair of them is tried.
#[rustfmt::skip]
const SPECIAL: &[f32] = &[
    0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 3.0, -3.0, 0.5, -0.5, 0.7, -1e-3, 1.5, -2.5, 1e5, -1e5, 1.00001e5, 1e20, -1e20, 1e-40, -1e-40,
    f32::MIN_POSITIVE, -f32::MIN_POSITIVE, 1e-45, -1e-45, f32::MAX, f32::MIN, f32::INFINITY, f32::NEG_INFINITY, f32::NAN,
    88.72284, 88.72285, -87.33655, -103.97208, -103.97209, -104.0, 89.4159, 89.416, 16_777_216.0, 16_777_215.0, -16_777_215.0,
    f32::from_bits(0x7f80_0001), f32::from_bits(0xffff_ffff), f32::from_bits(0x3f7f_ffff), f32::from_bits(0x3f80_0001),
    f32::from_bits(0xbf7f_ffff), f32::from_bits(0xbf80_0001),
];

/// Bit patterns in no order: a multiplicative generator, the same in every run.
fn scattered(seed: u32) -> impl Iterator<Item = f32> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
        f32::from_bits(state ^ (state >> 15))
    })
}

/// The arguments tried: pairs of special ones, then bit patterns with special or scattered partners.
fn arguments(function: Function) -> impl Iterator<Item = (f32, f32)> {
    let pairs = SPECIAL
        .iter()
        .flat_map(|&x| SPECIAL.iter().map(move |&y| (x, y)));
    let patterns = (0..=u32::MAX).step_by(stride(function)).map(f32::from_bits);
    let special = SPECIAL.iter().copied().cycle();
    let moderate = scattered(11).map(|v| (v.to_bits() % 4001) as f32 / 100.0 - 20.0);
    let partners = special
        .zip(scattered(7))
        .zip(moderate)
        .flat_map(|((a, b), c)| [a, b, c]);
    let domain = move |x: f32| {
        if function == Function::ExpNonPositive {
            -x.abs()
        } else {
            x
        }
    };
    pairs
        .chain(patterns.zip(partners))
        .map(move |(x, y)| (domain(x), y))
}

/// The largest error of one compiled form.
#[derive(Default)]
struct Worst {
    ulps: f64,
    steps: u64,
    text: String,
}

impl Worst {
    fn add(&mut self, (x, y): (f32, f32), got: f32, want: f64) {
        let ulps = ulps_f32(got, want);
        self.steps = self
            .steps
            .max(order_f32(got).abs_diff(order_f32(want as f32)));
        if ulps > self.ulps {
            self.ulps = ulps;
            self.text = format!(
                "{ulps:.3} ulp at {x:e} ({:08x}), {y:e}: {got:e} for {want:e}",
                x.to_bits()
            );
        }
    }
}

/// Both compiled forms, with and without FMA, must be within two steps of the rounded f64 value.
fn check_f32(functions: &[Function]) {
    for &function in functions {
        let forms: [Compiled; 2] =
            [true, false].map(|fma| jit::compile(function, Width::F32X4, fma));
        let mut worst = [Worst::default(), Worst::default()];
        let mut arguments = arguments(function);
        loop {
            let mut batch: Vec<(f32, f32)> = arguments.by_ref().take(4096).collect();
            if batch.is_empty() {
                break;
            }
            batch.resize(4096, (1.0, 1.0));
            let (x, y): (Vec<f32>, Vec<f32>) = batch.iter().copied().unzip();
            let mut out = [vec![0.0; 4096], vec![0.0; 4096]];
            for (form, out) in forms.iter().zip(&mut out) {
                form.run(&x, &y, out);
            }
            for (i, &pair) in batch.iter().enumerate() {
                let want = reference(function, f64::from(pair.0), f64::from(pair.1));
                for (worst, out) in worst.iter_mut().zip(&out) {
                    worst.add(pair, out[i], want);
                }
            }
        }
        for (worst, fma) in worst.iter().zip(["with", "without"]) {
            println!(
                "{function:?} {fma} FMA: {} steps, {}",
                worst.steps, worst.text
            );
            assert!(
                worst.steps <= 2,
                "{function:?} {fma} FMA: {} steps, {}",
                worst.steps,
                worst.text
            );
        }
    }
}

#[test]
fn f32_exponentials_are_within_two_ulp() {
    check_f32(&[
        Function::Exp,
        Function::ExpNonPositive,
        Function::Expm1,
        Function::Sigmoid,
        Function::Softplus,
    ]);
}

#[test]
fn f32_logarithms_are_within_two_ulp() {
    check_f32(&[
        Function::Log,
        Function::Log1p,
        Function::Log2,
        Function::Xlogy,
    ]);
}

#[test]
fn f32_hyperbolic_functions_are_within_two_ulp() {
    check_f32(&[Function::Tanh, Function::Sinh, Function::Cosh]);
}

#[test]
fn f32_trigonometric_functions_are_within_two_ulp() {
    check_f32(&[Function::Sin, Function::Cos, Function::Tan]);
}

#[test]
fn f32_inverse_functions_are_within_two_ulp() {
    check_f32(&[
        Function::Asin,
        Function::Acos,
        Function::Atan,
        Function::Atan2,
    ]);
}

#[test]
fn f32_powers_and_the_error_function_are_within_two_ulp() {
    check_f32(&[Function::Pow, Function::Erf]);
}

#[test]
fn f32_calls_and_native_operations_are_right() {
    check_f32(&[Function::Lgamma, Function::Digamma, Function::Polygamma]);
    check_f32(&[
        Function::Sqrt,
        Function::Floor,
        Function::Ceil,
        Function::Round,
    ]);
}

struct Exact {
    function: Function,
    x: f64,
    y: f64,
    value: f64,
}

/// The correctly rounded values of tests/math/exact.txt, made by scripts/exact_math.py.
fn exact_values() -> Vec<Exact> {
    let by_name = |name: &str| {
        let mut all = Function::ALL.iter().copied();
        all.find(|f| format!("{f:?}").to_lowercase() == name)
            .unwrap()
    };
    let parse = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |i: usize| f64::from_bits(u64::from_str_radix(words[i], 16).unwrap());
        Exact {
            function: by_name(words[0]),
            x: number(1),
            y: number(2),
            value: number(3),
        }
    };
    include_str!("math/exact.txt").lines().map(parse).collect()
}

/// What each f64 form may differ by: steps, or for the gamma family relative to max(1, |value|).
fn agrees(case: &Exact, got: f64) -> bool {
    let relative = (got - case.value).abs() / case.value.abs().max(1.0);
    match case.function {
        Function::Lgamma => relative < 4e-15,
        Function::Digamma => relative < 2e-15 || case.x < 0.0 && relative < 1e-14,
        Function::Polygamma if case.value.is_infinite() => got == case.value,
        Function::Polygamma => (got - case.value).abs() <= 2e-14 * case.value.abs(),
        _ => order_f64(got).abs_diff(order_f64(case.value)) <= 2,
    }
}

#[test]
fn f64_forms_agree_with_exact_values() {
    let all = exact_values();
    for &function in Function::ALL {
        let cases: Vec<&Exact> = all.iter().filter(|c| c.function == function).collect();
        if cases.is_empty() {
            continue;
        }
        for fma in [true, false] {
            let compiled = jit::compile(function, Width::F64X2, fma);
            let length = cases.len().next_multiple_of(2 * jit::COPIES);
            let mut x: Vec<f64> = cases.iter().map(|c| c.x).collect();
            let mut y: Vec<f64> = cases.iter().map(|c| c.y).collect();
            x.resize(length, 1.0);
            y.resize(length, 1.0);
            let mut out = vec![0.0; length];
            compiled.run(&x, &y, &mut out);
            for (case, &got) in cases.iter().zip(&out) {
                assert!(
                    agrees(case, got),
                    "{function:?} fma {fma}: {:e}, {:e}: {got:e} for {:e}",
                    case.x,
                    case.y,
                    case.value
                );
            }
        }
    }
}

/// Where f64 forms are special: infinities, NaN and zeros as the f64 functions have them.
#[test]
fn f64_forms_have_the_special_values() {
    let narrow = SPECIAL
        .iter()
        .filter(|v| !v.is_nan())
        .map(|&v| f64::from(v));
    let wide = [
        f64::NAN,
        f64::MAX,
        f64::MIN,
        f64::MIN_POSITIVE,
        5e-324,
        -5e-324,
        1e-310,
        709.78,
        709.79,
        -745.13,
        -745.14,
        710.4,
    ];
    let special: Vec<f64> = narrow.chain(wide).collect();
    for &function in Function::ALL {
        if function == Function::ExpNonPositive {
            continue;
        }
        for fma in [true, false] {
            let compiled = jit::compile(function, Width::F64X2, fma);
            let pairs = special
                .iter()
                .flat_map(|&x| special.iter().map(move |&y| (x, y)));
            let (mut x, mut y): (Vec<f64>, Vec<f64>) = pairs.unzip();
            let length = x.len().next_multiple_of(2 * jit::COPIES);
            x.resize(length, 1.0);
            y.resize(length, 1.0);
            let mut out = vec![0.0; length];
            compiled.run(&x, &y, &mut out);
            for ((&x, &y), &got) in x.iter().zip(&y).zip(&out) {
                let want = reference(function, x, y);
                let near = want.is_finite() && (got - want).abs() <= 1e-14 * want.abs();
                assert!(
                    near || order_f64(got) == order_f64(want),
                    "{function:?} fma {fma}: {x:e}, {y:e}: {got:e} for {want:e}"
                );
            }
        }
    }
}

/// The library uses no operation of one machine: it compiles for others, down to x86-64 without extensions.
#[test]
fn every_form_compiles_for_other_targets() {
    for &function in Function::ALL {
        for width in [Width::F32X4, Width::F64X2] {
            jit::listing(function, width, "aarch64-unknown-linux-gnu", &[], true);
            jit::listing(function, width, "x86_64-unknown-linux-gnu", &[], false);
            jit::listing(
                function,
                width,
                "x86_64-unknown-linux-gnu",
                &["has_sse41", "has_avx", "has_fma"],
                true,
            );
        }
    }
}

/// Forms said to be inlined contain no call, and without FMA none to `fmaf` in its place.
#[test]
fn inlined_forms_make_no_call() {
    let inlined = [
        Function::Exp,
        Function::ExpNonPositive,
        Function::Expm1,
        Function::Log,
        Function::Log1p,
        Function::Log2,
        Function::Tanh,
        Function::Sigmoid,
        Function::Softplus,
        Function::Xlogy,
        Function::Sinh,
        Function::Cosh,
    ];
    let inlined_f32 = [
        Function::Asin,
        Function::Acos,
        Function::Atan,
        Function::Atan2,
        Function::Erf,
        Function::Pow,
    ];
    let f32s = inlined
        .iter()
        .chain(&inlined_f32)
        .map(|&f| (f, Width::F32X4));
    let f64s = inlined.iter().map(|&f| (f, Width::F64X2));
    for (function, width) in f32s.chain(f64s) {
        let code = jit::listing(
            function,
            width,
            "x86_64-unknown-linux-gnu",
            &["has_sse41"],
            false,
        );
        assert!(!code.contains("  call"), "{function:?} {width:?}:\n{code}");
    }
}
