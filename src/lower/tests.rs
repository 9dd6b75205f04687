//! Tables of source and result.

use crate::ast::Span;
use crate::diagnostic::Diagnostic;
use crate::interp;
use crate::ir::{Body, Program, Tensor, TensorKind, verify};
use crate::lower::{Checked, examples, lower};
use crate::modules::{self, Modules, NoFiles};
use crate::shipped;

pub(super) fn load(text: &str) -> Modules {
    match modules::load_text("test.loss", text, &NoFiles) {
        Ok(modules) => modules,
        Err(failure) => panic!("{text}\n{:#?}", failure.diagnostics),
    }
}

fn shown(modules: &Modules, diagnostics: &[Diagnostic]) -> String {
    let one = |d: &Diagnostic| {
        let place = |s: &Span| format!("{}..{} `{}`", s.start, s.end, modules.sources.text(*s));
        let labels: Vec<String> = d
            .labels
            .iter()
            .map(|(s, t)| format!("  {}: {t}", place(s)))
            .collect();
        format!(
            "{}\n{}\n{:?} {:?}",
            d.title,
            labels.join("\n"),
            d.notes,
            d.help
        )
    };
    diagnostics.iter().map(one).collect::<Vec<_>>().join("\n")
}

pub(crate) fn accept(text: &str) -> Checked {
    let modules = load(text);
    match lower(&modules, modules.root) {
        Ok(checked) => {
            assert_eq!(verify::verify(&checked.program), Ok(()), "{text}");
            checked
        }
        Err(d) => panic!("{text}\n{}", shown(&modules, &d)),
    }
}

fn run(program: &Program, example: &examples::Example) -> f64 {
    let data: Vec<_> = example.data.iter().map(|(n, a)| (&**n, a)).collect();
    let set: Vec<_> = example.set.iter().map(|(n, x)| (&**n, *x)).collect();
    let bound = interp::bind(program, &data, &set).unwrap_or_else(|e| panic!("{e:#?}"));
    let out =
        interp::evaluate(program, &bound, &[program.value]).unwrap_or_else(|e| panic!("{e:#?}"));
    match &out[0].data {
        crate::array::Data::Real(v) => v[0],
        _ => f64::NAN,
    }
}

/// What each rule accepts, with examples of what it means.
const ACCEPTED: &[&str] = &[
    // R1: functions and values are apart, precedence, trailing commas.
    "loss f(var: [N], sum: [N],) = sum[N](var * sum) - max(1, 2,)
     example f(var = [1, 2], sum = [3, 4]) == 9",
    "loss f(x) = sum(-x^2 + 2^-x)
     example f(x = [1, 2]) == -5 + 0.75",
    "loss f(x) = sum(if not x > 1 and x < 5 or x == 7 then 1 else 0)
     example f(x = [0, 1, 2, 6, 7]) == 3",
    // R7: what stands before the first element may make reals of what began as an int.
    "loss f(x: [N]) = sum[N](x * d)
       where d[N] = 1 + d[N - 1 else 0.5]
     example f(x = [1, 10, 100]) == 1.5 + 25 + 350",
    // R2: extents from the signature, declared, inferred; bare axes that fit.
    "axis X = 2
     loss f(b: [N, 4]) = sum[N, X](b[N, X + 2] - b[N, X])
     example f(b = [[1, 2, 3, 5]]) == 5",
    "loss f(x: [N]) = sum[L](if mod(L, 2) == 0 then 1 else x[div(L, 2)])
       where axis L = 2 * size(N) + 1
     example f(x = [10, 20]) == 33",
    "loss f(x: [N]) = sum[N, M](x * x[M])
     example f(x = [1, 2]) == 9",
    "loss f(x: [N]) = sum[N](z[N])
       where
         axis M = 2 * size(N)
         z[M] = x[div(M, 2)] + M
     example f(x = [1, 2]) == 3",
    "loss f(x: [N]) = sum[M](x[M])
       where axis M = size(N)
     example f(x = [1, 2]) == 3",
    "loss f(x: [N]; k: int = 2) = sum[B](B + 1) * sum[N](x)
       where axis B = k + 1
     example f(x = [1]) == 6
     example f(x = [1], k = 0) == 1",
    "loss f(x: [N]) = x[size(N) - 1] + x[0]
     example f(x = [1, 2, 4]) == 5",
    // R3: a definition is a tensor; brackets by position; heads in any order.
    "loss f(x: [N, C]) = sum[N](t[0, N] - t[1, N])
       where t[C, N] = x
     example f(x = [[5, 2], [7, 3]]) == 7",
    "loss f(x: [N, C]) = sum[N](s) + s[0]
       where s = sum[C](x)
     example f(x = [[5, 2], [7, 3]]) == 24",
    "loss f(x: [K, K]) = sum[I, J](x[I, J] * I) + sum[K](x[K, K])
     example f(x = [[1, 2], [3, 4]]) == 12",
    "loss f(x: [N]) = a
       where
         a = b + 1
         b = c * 2
         c = sum[N](x)
     example f(x = [1, 2]) == 7",
    // R4: defaults.
    "loss f(x: [N]) = sum[N](x[N - 1 else -1] * x[N + 1 else 10])
     example f(x = [1, 2, 3]) == -2 + 3 + 20",
    "loss f(a: [N], b: [N]) = sum[I](I * z)
       where
         axis I = 2 * size(N)
         z[I] = a[I else b[I - size(N)]]
     example f(a = [1, 2], b = [3, 4]) == 2 + 6 + 12",
    "loss f(k: int[N], m: bool[N]) = sum[N](k[N + 1 else 7]) + count[N](m[N + 1 else true])
     example f(k = [1, 2], m = [true, false]) == 10",
    // R5: reductions, also of nothing, of absent axes, without brackets.
    "loss f(x: [N, C]) = sum(x) + mean[N](sum[C](x)) + prod[N](sum[C](x)) + sum[N](1) + count[N, C](true)
     example f(x = [[1, 2], [3, 4]]) == 10 + 5 + 21 + 2 + 4",
    "loss f(x: [N]) = max(x) - min[N](x) + logsumexp(1, 1) + norm(x) + argmax[N](x) * 10 + argmin[N](x) * 100
     example f(x = [3, 4, 3]) == 1 + 1 + log(2) + sqrt(34) + 10",
    "loss f(x: [N]) = var(x) + std[N](x) + var[N if x > 1](x)
     example f(x = [1, 3, 5]) == 8 / 3 + sqrt(8 / 3) + 1",
    "loss f(x: [N]) = sum[N if x > 9](x) + prod[N if x > 9](x) + norm[N if x > 9](x) + count[N](x > 9)
       + (if any[N if x > 9](x > 0) then 10 else 0) + (if all[N if x > 9](x > 0) then 100 else 0)
     example f(x = [1]) == 101",
    "loss f(x: [N]) = max[N if x > 9](x) + logsumexp[N if x > 9](x)
     example f(x = [1]) == -inf",
    "loss f(x: [N, T], m: bool[N, T]) = sum[N, T](softmax[T if m](x)) + sum[N, T](if m then log_softmax[T if m](x) else 0)
     example f(x = [[3, 3, 100]], m = [[true, true, false]]) == 1 - 2 * log(2)",
    "loss f(x: [N]) = sum[N](N * normalize[N](x)) + sum[N](sort[N](x) * N) + sum[N](argsort[N](x) * N)
     example f(x = [4, 3]) == 0.6 + 4 + 0",
    "loss f(x: [N, K], m: bool[N, K]) = sum(N + K + cumsum[K if m](x) * x)
     example f(x = [[1, 2, 3]], m = [[true, false, true]]) == 3 + 1 + 2 + 12",
    "loss f(x: [N], m: bool[N]) = sum[N](sort[N if m](x) * (N + 1))
     example f(x = [9, 2, 1], m = [false, true, true]) == 1 + 4 + 27",
    "loss f(x: [N]) = sum[N](sort[N](x * x - N) * N)
     example f(x = [3, 1, 2]) == 2 + 18",
    // R6: untyped inputs and the bare form.
    "loss f = mean((y - yhat)^2)
     example f(yhat = [[1, 2], [3, 4]], y = [[1, 2], [3, 6]]) == 1",
    "loss f(x | m: bool[*]) = mean[* if m](x) + size(*) + std[* if m](x)
     example f(x = [1, 2, 3], m = [true, false, true]) == 6",
    "loss f(x) = sum(centred^2)
       where centred = x - mean(x)
     example f(x = [1, 3]) == 2",
    // R7: recurrences, one way and the other, over two axes, of two definitions.
    "loss f(x: [T]) = s[size(T) - 1] + r[0]
       where
         s[T] = x + 2 * s[T - 1 else 0]
         r[T] = x + r[T + 1 else 0]
     example f(x = [1, 2, 3]) == 11 + 6",
    "loss f(x: [I, J]) = p[size(I) - 1, size(J) - 1]
       where p[I, J] = x + max(p[I - 1, J else 0], p[I, J - 1 else 0])
     example f(x = [[1, 5], [2, 1]]) == 7",
    "loss f(x: [T]) = a[size(T) - 1]
       where
         a[T] = x + b
         b[T] = a[T - 1 else 1] * 2
     example f(x = [1, 2]) == 8",
    "loss f(x: [T]) = n[size(T) - 1] + count[T](e)
       where
         e[T] = if T == 0 then true else not e[T - 1]
         n[T] = if T == 0 then 0 else n[T - 1] + 1
     example f(x = [1, 2, 3]) == 4",
    "loss f(x: [T]) = n[size(T) - 1]
       where
         n[T] = if T == 0 then 1 else m[T - 1] + 1
         m[T] = n * 0.5
     example f(x = [1, 2]) == 1.5",
    // A step on the second axis lets the first go either way.
    "loss f(x: [T, K]) = sum[T](a[T, 0])
       where a[T, K] = x + (if T == 0 then a[T + 1, K + 1 else 0] else a[T - 1, K + 1 else 0])
     example f(x = [[1, 2], [3, 4]]) == 10",
    // R8: templates.
    "def sq(x) = x * x
     def dot(a: [N], b: [N]) = sum[N](a * b)
     loss f(x: [M]) = dot(x, sq(x)) + sum[M](sq(sq(x)))
     example f(x = [1, 2]) == 9 + 17",
    "def distance(a: [N, D], b: [M, D]) = sum[N, M](norm[D](a - b))
     loss f(x: [Q, E]) = distance(x, x)
     example f(x = [[0, 0], [3, 4]]) == 10",
    "def head(a: [N]) = a[0]
     loss f(x: [M, K]) = sum[M](head(x[M, 1] * 2 + M))
     example f(x = [[1, 2], [3, 4]]) == 8",
    "def head(a: [N]) = a[0]
     loss f(x: [M]) = head(x * 2)
     example f(x = [3, 4]) == 6",
    "def scaled(x; k, b = 1.0) = k * x + b
     loss f(x; k = 3.0) = sum(scaled(x, k = k)) + sum(scaled(x, b = 0, k = 1))
     example f(x = [1]) == 5",
    "def pick(c, a, b) = if c then a else b
     loss f(x) = sum(pick(x > 1, x, -1))
     example f(x = [1, 2]) == 1",
    "def running(x: [N], y) = s[size(N) - 1]
       where s[N] = x * y + s[N - 1 else 0]
     loss f(x: [M], y: [C]) = sum[C](running(x, y) * C)
     example f(x = [1, 2], y = [5, 7]) == 21",
    "use mse, iou
     loss f(a: [N], b: [N], p: [N, 4]) = mse(a, 2 * b) + mean[N](iou.area(p))
     example f(a = [1], b = [2], p = [[0, 0, 2, 3]]) == 15",
    // A loss that builds on another of its name.
    "use mse
     def twice(a, b) = mse(a, b) * 2
     loss mse(a: [N], b: [N]) = mse(a, b) + twice(a, b)
     example mse(a = [1], b = [3]) == 12",
    "def sum(x) = x + 1
     loss f(x) = max(sum(x))
     example f(x = [1, 2]) == 3",
    "def t(x: [N, 4]) = sum[N](x[N, 3])
     loss f(x: [N]) = t(b)
       where
         axis A = 4
         b[N, A] = x * A
     example f(x = [1, 2]) == 9",
    "def pairs(a: [N], b: [N]) = sum[N](a * b)
     loss f(x: [N]) = pairs(x, y)
       where y[M] = x[M] + 1
     example f(x = [1, 2]) == 8",
    // R9: types.
    "loss f(x: [N]) = sum[N](x[int(x)]) + mod(-7, 3) + div(-7, 2) + 7 / 2 + 2^3
     example f(x = [1.9, 0.5]) == 2.4 + 2 - 4 + 3.5 + 8",
    "loss f(k: int[N]; m: int = 2) = max[N](k * m) + abs(-3) + sum[N](sign(min(k, 0)))
     example f(k = [1, 2]) == 7
     example f(k = [1, -2], m = 3) == 5",
    "loss f(x: [N]) = sum[N](if x > 0 and x[div(N, max(int(x), 1))] > 0 then 1 else 0) + clamp(5, 0, 3)
     example f(x = [1, -2]) == 4",
    "loss f(b: bool[N]) = count[N](b == true) + count[N](b != true) + (if all(b) then 10 else 20)
     example f(b = [true, false]) == 22",
    // R10: gradients as values.
    "loss f(x: [N]) = sum[N](grad[x](sum[N](x^3)))
     example f(x = [1, 2]) == 15",
    // At 0^0 the exponent has the derivative 0, as has the base.
    "loss f(x: [N], c: [N]) = sum[N](grad[x](e)) + sum[N](grad[c](e))
       where e = sum[N](x^c)
     example f(x = [0, 0, 2], c = [0, 2, 3]) == 12 + 8 * log(2)",
    "loss f(w: [D] | x: [T, D]) = sum[T, D](g * g)
       where
         e = sum[D](w * x)^2
         g = grad[w](e)
     example f(w = [1], x = [[1], [2]]) == 4 + 64",
    "loss f(x: [N]) = sum[N](grad[y](sum[N](y^2)))
       where y = 3 * x
     example f(x = [1, 2]) == 18",
    "def slope(f: [N]) = sum[N](grad[f](sum[N](f^2)))
     loss f(x: [N]) = slope(x + 1)
     example f(x = [1, 2]) == 10",
    // An argument that is only valid where a condition holds, indexed in the function.
    "def swapped(a: [N]) = a[size(N) - 1 - N]
     loss f(x: [N]) = sum[N](if N > 0 then swapped(x[N - 1]) * N else 0)
     example f(x = [1, 2, 3]) == 1 + 0",
    // R11: stated gradients.
    "loss f(x | y) = mean(x * y)
       gradient x = y / size(*)
     example f(x = [1], y = [2]) == 2",
    "loss f(b: [N, 4], t: [K, K], s: []) = mean[N](b[N, 0]) + sum[K](t[K, K]) + s
       gradient b[N, A] = if A == 0 then 1 / size(N) else 0
       gradient t[I, J] = if I == J then 1 else 0
       gradient s = 1
       where axis A = 4
     example f(b = [[1, 2, 3, 4]], t = [[2]], s = 5) == 8",
];

#[test]
fn accepted_sources_mean_what_the_rules_say() {
    let mut bad = vec![];
    for text in ACCEPTED {
        let modules = load(text);
        let mut program = accept(text).program;
        let value = program.value;
        crate::grad::inner::expand(&mut program, &[value]).expect("small gradients");
        let found = match examples(&modules, modules.root) {
            Ok(found) => found,
            Err(d) => panic!("{text}\n{}", shown(&modules, &d)),
        };
        assert!(!found.is_empty(), "{text}");
        for e in found {
            let value = run(&program, &e);
            let close = value == e.expected
                || (value - e.expected).abs() <= 1e-12 * e.expected.abs().max(1.0);
            if !close {
                bad.push(format!("{text}\ngives {value}"));
            }
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n\n"));
}

#[test]
fn every_spec_lowers_and_its_examples_hold() {
    let mut bad = vec![];
    for (name, text) in shipped::all() {
        let modules = load(text);
        let checked = match lower(&modules, modules.root) {
            Ok(c) => c,
            Err(d) => {
                bad.push(format!("{name}: {}", shown(&modules, &d)));
                continue;
            }
        };
        if let Err(e) = verify::verify(&checked.program) {
            bad.push(format!("{name}: {e}"));
            continue;
        }
        if !checked.warnings.is_empty() {
            bad.push(format!("{name}: {}", shown(&modules, &checked.warnings)));
        }
        let found = match examples(&modules, modules.root) {
            Ok(found) => found,
            Err(d) => {
                bad.push(format!("{name}: {}", shown(&modules, &d)));
                continue;
            }
        };
        if found.len() < 2 {
            bad.push(format!("{name}: {} examples", found.len()));
        }
        // An inner gradient is for the calculus to expand.
        let inner = |t: &Tensor| matches!(t.kind, TensorKind::Definition(Body::Grad { .. }));
        if checked.program.tensors.iter().any(inner) {
            continue;
        }
        for e in found {
            let value = run(&checked.program, &e);
            let error = (value - e.expected).abs();
            // Textbook forms that overflow here are rewritten later.
            let overflow = value.is_infinite()
                && ["gan_generator_minimax", "log_cosh", "soft_margin"].contains(name);
            let close =
                overflow || value == e.expected || error <= 1e-9 * e.expected.abs().max(1e-3);
            if !close {
                bad.push(format!(
                    "{name}: {} gives {value}, not {}",
                    modules.sources.text(e.span),
                    e.expected
                ));
            }
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n\n"));
}

/// Sources that are long or deep; each must lower within this many seconds, also without optimisation.
const SECONDS: f64 = 120.0;

fn timed(what: &str, text: &str) {
    let start = std::time::Instant::now();
    let modules = load(text);
    let parsed = start.elapsed().as_secs_f64();
    let checked = lower(&modules, modules.root);
    let lowered = start.elapsed().as_secs_f64() - parsed;
    eprintln!("{what}: parsed in {parsed:.2} s, lowered in {lowered:.2} s");
    assert!(lowered < SECONDS, "{what}: {lowered} s");
    if let Err(d) = checked {
        panic!("{what}: {:?}", d.first().map(|d| &d.title));
    }
}

#[test]
fn long_sources_take_linear_time() {
    let terms: Vec<String> = (0..100_000).map(|k| format!("x * {k}")).collect();
    timed(
        "a sum of 100,000 terms",
        &format!("loss f(x) = mean({})", terms.join(" + ")),
    );
    let chain: Vec<String> = (1..10_000)
        .map(|k| format!("d{k} = d{} + x", k - 1))
        .collect();
    let text = format!(
        "loss f(x) = mean(d9999)\nwhere d0 = x\n{}",
        chain.join("\n")
    );
    timed("a chain of 10,000 definitions", &text);
    let chain: Vec<String> = (1..10_000)
        .rev()
        .map(|k| format!("d{k}[N] = d{}[N - 1 else 0] + x", k - 1))
        .collect();
    let text = format!(
        "loss f(x: [N]) = mean(d9999)\nwhere\n{}\nd0[N] = x",
        chain.join("\n")
    );
    timed("the same backwards, with heads", &text);
    let axes: Vec<String> = (1..2_000)
        .rev()
        .map(|k| format!("axis A{k} = size(A{}) + 1", k - 1))
        .collect();
    let text = format!(
        "loss f(x: [N]) = mean(x) + sum[A1999](1)\nwhere\n{}\naxis A0 = size(N)",
        axes.join("\n")
    );
    timed("a chain of 2,000 axes", &text);
    let defs: Vec<String> = (1..2_000)
        .map(|k| format!("def f{k}(x) = f{}(x) + 1", k - 1))
        .collect();
    let text = format!(
        "def f0(x) = x\n{}\nloss f(x) = mean(f1999(x))",
        defs.join("\n")
    );
    timed("a chain of 2,000 functions", &text);
    let defs: Vec<String> = (1..1_000)
        .map(|k| format!("def f{k}(x) = f{}(x) * f{}(x)", k - 1, k - 1))
        .collect();
    let text = format!(
        "def f0(x) = x + 1\n{}\nloss f(x) = mean(f999(x))",
        defs.join("\n")
    );
    timed(
        "functions that call the next one twice with the same argument",
        &text,
    );
    let nested = format!("{}x{}", "sq(".repeat(150), ")".repeat(150));
    let text = format!("def sq(x) = x * x + sum(x)\nloss f(x: [N]) = mean({nested})");
    timed("150 nested calls that use their argument twice", &text);
    let calls: Vec<String> = (0..5_000).map(|k| format!("g(x, k = {k})")).collect();
    let text = format!(
        "def g(a: [N]; k) = a * k + sum[N](a)\nloss f(x: [N]) = mean({})",
        calls.join(" + ")
    );
    timed("5,000 calls", &text);
}

#[test]
fn growth_beyond_measure_is_refused() {
    let mut defs = vec!["def f0(x) = x * x + 1".to_string()];
    defs.extend((1..40).map(|k| format!("def f{k}(x) = f{}(f{}(x) + 1)", k - 1, k - 1)));
    let text = format!("{}\nloss f(x) = mean(f39(x))", defs.join("\n"));
    let modules = load(&text);
    let start = std::time::Instant::now();
    let titles: Vec<String> = lower(&modules, modules.root)
        .err()
        .into_iter()
        .flatten()
        .map(|d| d.title)
        .collect();
    assert_eq!(titles, ["this loss is too large"]);
    assert!(start.elapsed().as_secs_f64() < SECONDS);
}

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % n.max(1)
    }
}

/// Specs with tokens replaced by others of the same kind: most still parse. Whatever they mean, nothing panics, what is
/// refused has a message with a place, and what is accepted is a program that keeps its promises.
#[test]
fn shuffled_specs_never_panic() {
    use crate::parse::token::Tokens;
    let mut dice = Dice(11);
    let (mut refused, mut accepted) = (0, 0);
    let rounds = std::env::var("ROUNDS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(24);
    for (name, text) in shipped::all() {
        let tokens: Vec<_> = Tokens::new(text).collect();
        for round in 0..rounds {
            let mut damaged = text.to_string();
            for _ in 0..1 + round % 3 {
                let all: Vec<_> = Tokens::new(&damaged).map(|t| (t.start, t.end())).collect();
                let (start, end) = all[dice.below(all.len())];
                let word = damaged[start..end].to_string();
                let class = |w: &str| {
                    w.chars()
                        .next()
                        .map(|c| (c.is_uppercase(), c.is_lowercase(), c.is_numeric()))
                };
                let same: Vec<&str> = tokens
                    .iter()
                    .map(|t| &text[t.start..t.end()])
                    .filter(|w| class(w) == class(&word) && **w != *word)
                    .collect();
                if let Some(&other) = same.get(dice.below(same.len())) {
                    damaged.replace_range(start..end, other);
                }
            }
            let Ok(modules) = modules::load_text("damaged.loss", &damaged, &NoFiles) else {
                continue;
            };
            match lower(&modules, modules.root) {
                Ok(checked) => {
                    accepted += 1;
                    assert_eq!(
                        verify::verify(&checked.program),
                        Ok(()),
                        "{name}:\n{damaged}"
                    );
                }
                Err(diagnostics) => {
                    refused += 1;
                    assert!(
                        !diagnostics.is_empty(),
                        "{name}: refused in silence:\n{damaged}"
                    );
                    for d in diagnostics {
                        assert!(
                            !d.labels.is_empty(),
                            "{name}: {} has no place:\n{damaged}",
                            d.title
                        );
                    }
                }
            }
            let _ = examples(&modules, modules.root);
        }
    }
    eprintln!("{accepted} accepted, {refused} refused");
    assert!(
        accepted > 30 && refused > 100,
        "{accepted} accepted, {refused} refused"
    );
}
