//! Schedules against the definitions: every spec and every program of `tests/programs` that schedules, value and
//! gradient and the value alone, on random small shapes with empty axes among them. Loops are interpreted plainly,
//! with their buffers contracted and shared.

use losscc::array::Array;
use losscc::interp::evaluate;
use losscc::ir::Program;
use losscc::loops::{Wanted, interp, print, schedule};

mod draw;

const SEEDS: u64 = 30;

fn close(a: &Array, b: &Array) -> bool {
    let (a, b) = (a.reals().unwrap_or(&[]), b.reals().unwrap_or(&[]));
    let finite = a
        .iter()
        .filter(|x| x.is_finite())
        .map(|x| x.abs())
        .fold(1.0, f64::max);
    a.len() == b.len()
        && a.iter()
            .zip(b)
            .all(|(x, y)| x == y || x.is_nan() && y.is_nan() || (x - y).abs() <= 1e-9 * finite)
}

/// The loops of a program, run against its definitions; the text of the loops, or why there are none.
fn checked(name: &str, program: &Program) -> Result<String, String> {
    let gradients: Vec<_> = program.gradients.iter().map(|g| g.input).collect();
    let all = Wanted {
        value: true,
        gradients: gradients.clone(),
    };
    let mut kernels = vec![(
        schedule(program, &all).map_err(|d| d.title)?,
        program.outputs(),
    )];
    let value = Wanted {
        value: true,
        gradients: vec![],
    };
    kernels.push((
        schedule(program, &value).map_err(|d| d.title)?,
        vec![program.value],
    ));
    if gradients.len() > 1 {
        let one = Wanted {
            value: true,
            gradients: gradients[1..2].to_vec(),
        };
        let mut outputs = vec![program.value];
        outputs.extend(program.gradients[1].tensor);
        kernels.push((schedule(program, &one).map_err(|d| d.title)?, outputs));
    }
    let text = print::print(&kernels[0].0);
    let mut compared = 0;
    for seed in 0..SEEDS {
        let mut rng = fastrand::Rng::with_seed(seed);
        let Some(bound) = draw::draw(program, 6, None, &mut rng) else {
            continue;
        };
        let chunk = rng.usize(1..5);
        let mut first: Option<Array> = None;
        for (loops, outputs) in &kernels {
            let missing = loops.outputs.len() != outputs.len();
            let got = interp::run(loops, &bound.inputs, &bound.params, chunk);
            let expected = match evaluate(program, &bound, outputs) {
                Ok(v) => v,
                // The definitions fail here; loops compute less of them, so they may not.
                Err(_) => continue,
            };
            let got = match got {
                Ok(got) => got,
                // Without elements, a definition that lost an unused axis may be computed once too often.
                Err(e)
                    if name == "random"
                        && e.contains("out of range")
                        && bound.extents.contains(&0) =>
                {
                    continue;
                }
                Err(e) => panic!(
                    "{name}, seed {seed}: {e}\n{}\n{}",
                    losscc::ir::print::dump(program),
                    print::print(loops)
                ),
            };
            compared += 1;
            if !missing {
                for (a, b) in expected.iter().zip(&got) {
                    assert!(
                        close(a, b),
                        "{name}, seed {seed}:\n{a:?}\n{b:?}\n{:?}\n{}\n{}",
                        bound.inputs,
                        losscc::ir::print::dump(program),
                        print::print(loops)
                    );
                }
            }
            let value = got[0].clone();
            let same = first.get_or_insert_with(|| value.clone());
            let bits = |a: &Array| {
                a.reals()
                    .map(|v| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>())
            };
            assert!(
                bits(same) == bits(&value) || value.reals().is_some_and(|v| v[0].is_nan()),
                "{name}, seed {seed}: the kernels disagree on the value\n{text}\n{}",
                print::print(loops)
            );
        }
    }
    if compared == 0 {
        return Err("no inputs were found".into());
    }
    Ok(text)
}

/// Inner gradients: refused by name, until they compile.
const NOT_YET: &[&str] = &["fgsm_logistic", "maml_linear"];

#[test]
fn specs() {
    let only = std::env::var("ONLY").ok();
    let mut failed = vec![];
    for (name, text) in losscc::shipped::all() {
        if only.as_ref().is_some_and(|o| o != name) {
            continue;
        }
        let result = std::panic::catch_unwind(|| {
            let program = draw::program(name, text);
            let text = checked(name, &program);
            if only.is_some() {
                println!(
                    "{}\n{}",
                    losscc::ir::print::dump(&program),
                    text.clone().unwrap_or_default()
                );
            }
            text
        });
        match result {
            Ok(Ok(_)) => {}
            Ok(Err(why)) if NOT_YET.contains(name) && why.contains("not compiled yet") => {}
            Ok(Err(why)) => failed.push(format!("{name}: {why}")),
            Err(_) => failed.push(format!("{name}: panics")),
        }
    }
    assert!(
        failed.is_empty(),
        "{} specs fail:\n{}",
        failed.len(),
        failed.join("\n")
    );
}

/// Losses that no catalogue has.
#[test]
fn programs() {
    let only = std::env::var("ONLY").ok();
    let mut failed = vec![];
    let mut count = 0;
    for entry in std::fs::read_dir("tests/programs").expect("the folder of programs") {
        let path = entry.expect("a program").path();
        let name = path
            .file_stem()
            .and_then(|s| s.to_str())
            .unwrap_or_default()
            .to_string();
        if only.as_ref().is_some_and(|o| *o != name) {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a text");
        count += 1;
        let result = std::panic::catch_unwind(|| {
            let program = draw::program(&name, &text);
            let text = checked(&name, &program);
            if only.is_some() {
                println!(
                    "{}\n{}",
                    losscc::ir::print::dump(&program),
                    text.clone().unwrap_or_default()
                );
            }
            text
        });
        match result {
            Ok(Ok(_)) => {}
            Ok(Err(why)) => failed.push(format!("{name}: {why}")),
            Err(_) => failed.push(format!("{name}: panics")),
        }
    }
    assert!(
        failed.is_empty(),
        "{count} programs, {} fail:\n{}",
        failed.len(),
        failed.join("\n")
    );
    assert!(only.is_some() || count >= 40);
}

/// Losses over all pairs hold one matrix of them, with gradients and without: the product of the vectors lives where its
/// own gradient is made of it.
#[test]
fn one_matrix_of_pairs_is_kept() {
    for (name, products) in [("info_nce", 3), ("nt_xent", 3), ("supcon", 3)] {
        let program = draw::program(name, losscc::shipped::text(name).expect("a spec"));
        let gradients: Vec<_> = program.gradients.iter().map(|g| g.input).collect();
        for (gradients, products) in [(gradients, products), (vec![], 1)] {
            let wanted = Wanted {
                value: true,
                gradients,
            };
            let loops = schedule(&program, &wanted).expect("a schedule");
            let text = print::print(&loops);
            let pairs = loops.buffers.iter().filter(|b| {
                let own = b.home == losscc::loops::Home::Full && b.shares.is_none();
                own && b.dims.len() == 2 && b.dims[0].extent == b.dims[1].extent
            });
            assert_eq!(pairs.count(), 1, "{name}:\n{text}");
            assert_eq!(text.matches("gemm ").count(), products, "{name}:\n{text}");
        }
    }
}

/// Programs that nobody thought of: random definitions over three axes, read at their own element, shifted, gathered
/// reduced and stepped along, under guards.
#[test]
fn random_programs() {
    let only: Option<u64> = std::env::var("SEED").ok().and_then(|s| s.parse().ok());
    let mut failed = vec![];
    for seed in only.map_or(0..60, |s| s..s + 1) {
        let text = Random {
            rng: fastrand::Rng::with_seed(seed),
            definitions: vec![],
        }
        .program();
        let result = std::panic::catch_unwind(|| {
            let program = draw::program("random", &text);
            checked("random", &program)
        });
        let why = match result {
            Ok(Ok(loops)) => {
                if only.is_some() {
                    println!("{text}\n{loops}");
                }
                continue;
            }
            Ok(Err(why)) => why,
            Err(_) => "panics".to_string(),
        };
        failed.push(format!("seed {seed}: {why}\n{text}"));
    }
    assert!(
        failed.is_empty(),
        "{} fail:\n{}",
        failed.len(),
        failed.join("\n")
    );
}

struct Random {
    rng: fastrand::Rng,
    /// Name and head of the definitions so far.
    definitions: Vec<(String, Vec<&'static str>)>,
}

const AXES: [&str; 3] = ["N", "C", "T"];

impl Random {
    fn program(mut self) -> String {
        let mut whole = String::new();
        for k in 0..self.rng.usize(1..6) {
            let head: Vec<&str> = AXES.into_iter().filter(|_| self.rng.bool()).collect();
            let body = self.real(&head, 3);
            let name = format!("d{k}");
            let brackets = if head.is_empty() {
                String::new()
            } else {
                format!("[{}]", head.join(", "))
            };
            let body = self.step(&name, &head, body);
            whole.push_str(&format!("    {name}{brackets} = {body}\n"));
            self.definitions.push((name, head));
        }
        let value = self.real(&[], 4);
        format!(
            "loss random(x: [N, C], u: [N, T], w: [C], a: [] | s: [N], k: int[N], m: bool[N, C], v: [T, C]; p = 0.5) =\n  {value} + 0.1 * sum[N, C](x * w)\n  where\n{whole}"
        )
    }

    /// The body of a definition, or of a recurrence that steps along an axis of its head, or along two.
    fn step(&mut self, name: &str, head: &[&'static str], body: String) -> String {
        if head.is_empty() || self.rng.u8(..5) < 3 {
            return body;
        }
        let mut at: Vec<String> = head.iter().map(|a| a.to_string()).collect();
        for _ in 0..self.rng.usize(1..3) {
            let k = self.rng.usize(..head.len());
            at[k] = format!("{} - {}", head[k], self.rng.usize(1..3));
        }
        let down = self.rng.u8(..3) == 0;
        let at = at.join(", ");
        let at = if down { at.replace('-', "+") } else { at };
        let before = format!("{name}[{at} else {}]", self.of(&["0.2", "a", "1 - p"]));
        let condition = self.condition(head);
        match self.rng.u8(..4) {
            0 => format!("0.5 * ({body}) + 0.4 * {before}"),
            1 => format!("max({before} - 0.1, 0.5 * ({body}))"),
            2 => format!("(if {condition} then 0.3 * {before} + {body} else 0.9 * {before})"),
            _ => format!("tanh(0.5 * {before} + {body}) + 0.1 * {before}"),
        }
    }

    fn of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.rng.usize(..all.len())]
    }

    /// A real over (some of) the axes in `open`.
    fn real(&mut self, open: &[&'static str], depth: u32) -> String {
        if depth == 0 {
            return self.leaf(open);
        }
        let closed: Vec<&'static str> = AXES.into_iter().filter(|a| !open.contains(a)).collect();
        match self.rng.u8(..12) {
            0..=2 if !closed.is_empty() => {
                let axis = closed[self.rng.usize(..closed.len())];
                let inner = [open, &[axis]].concat();
                let op = self.of(&[
                    "sum",
                    "mean",
                    "max",
                    "min",
                    "logsumexp",
                    "norm",
                    "prod",
                    "sum",
                    "sum",
                ]);
                let body = self.real(&inner, depth - 1);
                match self.rng.u8(..3) {
                    0 => format!("{op}[{axis} if {}](0.5 * ({body}))", self.condition(&inner)),
                    _ => format!("{op}[{axis}](0.5 * ({body}) + 0.0 * {})", self.at(axis)),
                }
            }
            0..=4 => {
                let op = self.of(&["+", "-", "*"]);
                format!(
                    "({} {op} {})",
                    self.real(open, depth - 1),
                    self.real(open, depth - 1)
                )
            }
            5 => format!(
                "({} / (1 + {}^2))",
                self.real(open, depth - 1),
                self.real(open, depth - 1)
            ),
            6 | 7 => {
                let f = self.of(&[
                    "sin",
                    "tanh",
                    "abs",
                    "relu",
                    "sigmoid",
                    "softplus",
                    "exp(-1) * ",
                    "atan",
                    "erf",
                ]);
                format!("{f}({})", self.real(open, depth - 1))
            }
            8 => {
                let f = self.of(&["max", "min", "logsumexp"]);
                format!(
                    "{f}({}, {})",
                    self.real(open, depth - 1),
                    self.real(open, depth - 1)
                )
            }
            9 | 10 => {
                let c = self.condition(open);
                format!(
                    "(if {c} then {} else {})",
                    self.real(open, depth - 1),
                    self.real(open, depth - 1)
                )
            }
            _ => self.leaf(open),
        }
    }

    /// Something that has an axis, so that a reduction over it is no lint.
    fn at(&mut self, axis: &str) -> String {
        match axis {
            "N" => "s".into(),
            "C" => "w".into(),
            _ => "v[T, 0 else 0.5]".into(),
        }
    }

    fn leaf(&mut self, open: &[&'static str]) -> String {
        let has = |a: &str| open.contains(&a);
        let mut all: Vec<String> =
            vec!["a".into(), "p".into(), "0.3".into(), "size(C) * 0.1".into()];
        if has("N") {
            all.extend(
                [
                    "s",
                    "x[N, k else 0.2]",
                    "x[N, 1 else 0]",
                    "s[N - 1 else 0.4]",
                    "w[k else 1]",
                ]
                .map(String::from),
            );
        }
        if has("C") {
            all.extend(["w", "w[C + 1 else 0.1]", "v[0, C else 0.3]"].map(String::from));
        }
        if has("T") {
            all.extend(["u[0, T else 0.6]", "T * 0.1"].map(String::from));
        }
        if has("N") && has("C") {
            all.extend(["x", "x[N, C - 1 else 0]", "x[N - 1, C else w]", "x"].map(String::from));
        }
        if has("N") && has("T") {
            all.extend(["u", "u[N, T + 1 else 0.1]", "u"].map(String::from));
        }
        if has("T") && has("C") {
            all.push("v".into());
        }
        for (name, head) in &self.definitions {
            if head.iter().all(|a| has(a)) {
                all.extend([name.clone(), name.clone(), name.clone()]);
                if let Some(&axis) = head.first() {
                    let rest = head[1..]
                        .iter()
                        .map(|a| format!(", {a}"))
                        .collect::<String>();
                    all.push(format!("{name}[{axis} - 1{rest} else 0.7]"));
                }
                if head.len() == 2 && head[0] == "N" && head[1] == "C" {
                    all.push(format!("{name}[N, k else 0.9]"));
                }
            }
        }
        all.swap_remove(self.rng.usize(..all.len()))
    }

    fn condition(&mut self, open: &[&'static str]) -> String {
        let has = |a: &str| open.contains(&a);
        let mut all: Vec<String> = vec!["p > 0.4".into()];
        if has("N") {
            all.extend(["s > 0", "k == 1", "N > 0", "k >= 0 and k < size(C)"].map(String::from));
        }
        if has("C") {
            all.extend(["C > 0", "w < 0.5"].map(String::from));
        }
        if has("N") && has("C") {
            all.extend(["m", "k == C", "k == C and s > 0", "x > w"].map(String::from));
        }
        if has("T") {
            all.push("mod(T, 2) == 0".into());
        }
        all.swap_remove(self.rng.usize(..all.len()))
    }
}
