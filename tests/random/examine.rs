//! What is asked of a program: that everything that computes it agrees.

use losscc::array::Array;
use losscc::check::{self, Of};
use losscc::grad::inner;
use losscc::interp::{Bound, Held, Plan, Rounding, bind};
use losscc::ir::{Program, TensorId};
use losscc::{Data, Dtype, Error, Input, Kernel, Loss, Options, Spec};

/// What went wrong.
#[derive(Debug, Clone)]
pub struct Failure {
    /// In a word, the same for the same fault.
    pub kind: String,
    pub text: String,
}

/// What was seen of a program.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// The first line of an error, where it is none of the language.
    pub refused: Option<String>,
    /// What does not compile yet.
    pub not_yet: Option<String>,
    pub compared: usize,
    pub compared_f32: usize,
    pub differences: usize,
    /// Why data were not compared.
    pub unfit: Vec<String>,
}

/// A call: inputs by name; whether it is small enough for finite differences.
pub struct Case {
    pub arrays: Vec<(String, Array)>,
    pub small: bool,
}

type Numbers = Vec<Vec<f64>>;

fn failure(kind: &str, text: String) -> Failure {
    Failure {
        kind: kind.into(),
        text,
    }
}

/// The title of an error.
fn title(e: &Error) -> String {
    let d = &e.diagnostics()[0];
    format!("{} ({:?})", d.title, d.class)
}

fn not_yet(e: &Error) -> bool {
    let d = &e.diagnostics()[0];
    d.title.contains("not compile yet") || d.title.contains("not compiled yet")
}

/// Everything that can be asked of a text and some data.
pub fn examine(text: &str, cases: &[Case]) -> Result<Seen, Failure> {
    let mut seen = Seen::default();
    let spec = match Spec::parse("random", text) {
        Ok(spec) => spec,
        Err(e) if e.exit_code() == 101 => return Err(failure("bug", e.to_string())),
        Err(e) => {
            seen.refused = Some(e.to_string());
            return Ok(seen);
        }
    };
    let loss = spec
        .derive()
        .map_err(|e| failure("derive", e.to_string()))?;
    let printed = loss.gradient_text();
    let again = Spec::parse("random", &printed)
        .and_then(|s| s.derive())
        .map_err(|e| failure("printed text", format!("{}\n{printed}", e)))?;
    let mut raw = spec.program().clone();
    let value = raw.value;
    inner::expand(&mut raw, &[value]).expect("inner gradients of a small loss");
    let kernels = match Kernels::new(&loss) {
        Ok(kernels) => Some(kernels),
        Err(e) if not_yet(&e) => {
            seen.not_yet = Some(title(&e));
            None
        }
        Err(e) => return Err(failure("compile", e.to_string())),
    };
    for case in cases {
        let program = loss.program();
        let known = |name: &str| {
            program
                .inputs
                .iter()
                .any(|&i| *program.get(i).name == *name)
        };
        let data: Vec<(&str, &Array)> = case
            .arrays
            .iter()
            .filter(|(n, _)| known(n))
            .map(|(n, a)| (&**n, a))
            .collect();
        let bound = match bind(program, &data, &[]) {
            Ok(bound) => bound,
            Err(d) => {
                seen.unfit.push(d[0].title.clone());
                continue;
            }
        };
        let want = match numbers(program, &bound, None) {
            Ok(want) => want,
            Err(why) => {
                seen.unfit.push(why);
                continue;
            }
        };
        seen.compared += 1;
        let steady = Steady::new(program, &bound, &want, 2f64.powi(-50), false, 1e-10);
        same_value(&raw, program, &bound, &want, &steady)?;
        same_text(program, &again, &data, &want, &steady, &printed)?;
        if case.small {
            seen.differences += slopes(program, &bound, &want, &steady)?;
        }
        if let Some(kernels) = &kernels {
            let single = Steady::new(program, &bound, &want, 2f64.powi(-22), true, 2e-6);
            seen.compared_f32 += single.entries.iter().filter(|e| **e).count();
            kernels.compare(program, &data, &want, &[&steady, &single])?;
        }
    }
    Ok(seen)
}

/// The value, then all gradients; a gradient that is structurally 0 is left empty.
fn numbers(
    program: &Program,
    bound: &Bound,
    rounding: Option<Rounding>,
) -> Result<Numbers, String> {
    let mut wanted = vec![program.value];
    wanted.extend(program.gradients.iter().filter_map(|g| g.tensor));
    let mut plan = Plan::new(program, &wanted);
    if let Some(r) = rounding {
        plan = plan.rounded(r);
    }
    let mut arrays = plan
        .run(bound, &mut Held::Nothing)
        .map_err(|d| d.title)?
        .into_iter()
        .map(|a| a.reals().map_or(vec![], <[f64]>::to_vec));
    let mut out = vec![arrays.next().unwrap_or_default()];
    for g in &program.gradients {
        out.push(match g.tensor {
            Some(_) => arrays.next().unwrap_or_default(),
            None => vec![0.0; elements(program, bound, g.input)],
        });
    }
    Ok(out)
}

fn elements(program: &Program, bound: &Bound, input: TensorId) -> usize {
    let slot = program.inputs.iter().position(|&i| i == input);
    slot.map_or(0, |s| bound.inputs[s].len())
}

/// Which outputs rounding does not move by more than a tolerance: only these can be compared.
struct Steady {
    entries: Vec<bool>,
}

/// An output is compared relative to its largest entry.
fn scale(want: &[f64]) -> f64 {
    want.iter()
        .filter(|x| x.is_finite())
        .fold(1e-30, |m, x| m.max(x.abs()))
}

fn off(got: &[f64], want: &[f64]) -> f64 {
    if got.len() != want.len() {
        return f64::INFINITY;
    }
    let scale = scale(want);
    let one = |(x, y): (&f64, &f64)| {
        let same = x == y || x.is_nan() && y.is_nan();
        let d = (x - y).abs() / scale;
        if same {
            0.0
        } else if d.is_nan() {
            f64::INFINITY
        } else {
            d
        }
    };
    got.iter().zip(want).map(one).fold(0.0, f64::max)
}

impl Steady {
    fn new(
        program: &Program,
        bound: &Bound,
        want: &Numbers,
        unit: f64,
        single: bool,
        tolerance: f64,
    ) -> Steady {
        let mut entries = vec![true; want.len()];
        for seed in 1..5 {
            let rounding = Rounding { unit, single, seed };
            match numbers(program, bound, Some(rounding)) {
                Ok(got) => {
                    for ((e, g), w) in entries.iter_mut().zip(&got).zip(want) {
                        *e &= off(g, w) <= tolerance;
                    }
                }
                Err(_) => entries.fill(false),
            }
        }
        Steady { entries }
    }
}

/// The formula as it was written, against what rewriting made of it.
fn same_value(
    raw: &Program,
    program: &Program,
    bound: &Bound,
    want: &Numbers,
    steady: &Steady,
) -> Result<(), Failure> {
    let plan = |rounding: Option<Rounding>| {
        let mut plan = Plan::new(raw, &[raw.value]);
        if let Some(r) = rounding {
            plan = plan.rounded(r);
        }
        let out = plan.run(bound, &mut Held::Nothing).ok()?;
        out[0].reals().map(|v| v[0])
    };
    let Some(value) = plan(None) else {
        return Ok(());
    };
    // Rewriting may make finite what was not, never the reverse.
    let steady_raw = (1..5).all(|seed| {
        let rounding = Rounding {
            unit: 2f64.powi(-50),
            single: false,
            seed,
        };
        plan(Some(rounding)).is_some_and(|v| off(&[v], &[value]) <= 1e-10)
    });
    if value.is_finite() && steady_raw && steady.entries[0] && off(&want[0], &[value]) > 1e-9 {
        let text = format!(
            "the formula gives {value:e}, rewritten {:e}\n{}",
            want[0][0],
            losscc::ir::print::dump(program)
        );
        return Err(failure("rewritten", text));
    }
    Ok(())
}

/// The printed gradient, read again.
fn same_text(
    program: &Program,
    again: &Loss,
    data: &[(&str, &Array)],
    want: &Numbers,
    steady: &Steady,
    printed: &str,
) -> Result<(), Failure> {
    let bound = bind(again.program(), data, &[])
        .map_err(|d| failure("printed text", format!("{}\n{printed}", d[0].title)))?;
    let got = numbers(again.program(), &bound, None)
        .map_err(|e| failure("printed text", format!("{e}\n{printed}")))?;
    for (k, (g, w)) in got.iter().zip(want).enumerate() {
        if steady.entries[k] && off(g, w) > 1e-9 {
            let text = format!(
                "output {}: {g:?}\nand not {w:?}\n{printed}",
                name(program, k)
            );
            return Err(failure("printed numbers", text));
        }
    }
    Ok(())
}

/// What the k-th output is.
fn name(program: &Program, k: usize) -> String {
    match k {
        0 => "value".into(),
        k => program.get(program.gradients[k - 1].input).name.to_string(),
    }
}

/// Finite differences; gives how many entries agree.
fn slopes(
    program: &Program,
    bound: &Bound,
    want: &Numbers,
    steady: &Steady,
) -> Result<usize, Failure> {
    if !steady.entries[0] || !want[0][0].is_finite() {
        return Ok(0);
    }
    // Infinite numbers on the way make any derivative NaN.
    let plan = Plan::new(program, &[program.value]);
    if !plan
        .run_watching(bound, &mut Held::Nothing)
        .is_ok_and(|r| r.1)
    {
        return Ok(0);
    }
    // At ties slopes along single inputs can exist where no derivative does.
    if !check::smooth(program, Of::Value, bound, &mut fastrand::Rng::with_seed(3)) {
        return Ok(0);
    }
    let mut agreeing = 0;
    for (k, g) in program.gradients.iter().enumerate() {
        if !steady.entries[k + 1] {
            continue;
        }
        let found = check::compare(program, bound, g.input, Of::Value, &want[k + 1], usize::MAX);
        let found = found.map_err(|d| failure("differences", d.title))?;
        agreeing += found.agreeing;
        if let Some(worst) = found.worst {
            let text = format!("{}: {worst:?}\n{:?}", name(program, k + 1), want[k + 1]);
            return Err(failure("differences", text));
        }
    }
    Ok(agreeing)
}

/// The kernels of one loss.
struct Kernels {
    full: [Kernel; 2],
    /// The same with the code for many elements.
    many: [Kernel; 2],
    /// For the value and the last gradient alone, where there are more.
    part: Vec<Kernel>,
    all: Vec<String>,
}

impl Kernels {
    fn new(loss: &Loss) -> Result<Kernels, Error> {
        let p = loss.program();
        let all: Vec<String> = p
            .gradients
            .iter()
            .map(|g| p.get(g.input).name.to_string())
            .collect();
        let compiled = |dtype, wrt, many| {
            loss.compile(&Options {
                dtype,
                wrt,
                many,
                ..Options::default()
            })
        };
        let kernel = |dtype, wrt| compiled(dtype, wrt, false);
        let last = all.last().filter(|_| all.len() > 1).cloned();
        Ok(Kernels {
            full: [kernel(Dtype::F64, None)?, kernel(Dtype::F32, None)?],
            many: [
                compiled(Dtype::F64, None, true)?,
                compiled(Dtype::F32, None, true)?,
            ],
            part: match last {
                Some(l) => vec![
                    kernel(Dtype::F64, Some(vec![l.clone()]))?,
                    kernel(Dtype::F32, Some(vec![l]))?,
                ],
                None => vec![],
            },
            all,
        })
    }

    fn compare(
        &self,
        program: &Program,
        data: &[(&str, &Array)],
        want: &Numbers,
        steady: &[&Steady; 2],
    ) -> Result<(), Failure> {
        for ((kernel, steady), tolerance) in self.full.iter().zip(steady).zip([1e-9, 1e-5]) {
            let dtype = kernel.dtype();
            let got = called(kernel, data)
                .map_err(|e| failure("call", format!("{dtype:?}: {}", title(&e))))?;
            for (k, (g, w)) in got.iter().zip(want).enumerate() {
                if steady.entries[k] && off(g, w) > tolerance {
                    let kind = format!("{dtype:?} {}", if k == 0 { "value" } else { "gradient" });
                    let text = format!("{}: {g:?}\nand not {w:?}", name(program, k));
                    return Err(failure(&kind, text));
                }
            }
            let alone = alone(kernel, data)
                .map_err(|e| failure("call", format!("value alone, {dtype:?}: {}", title(&e))))?;
            if !bits(&[alone], &got[0]) {
                let text = format!(
                    "the value alone is {alone:e}, with gradients {:e}",
                    got[0][0]
                );
                return Err(failure("bits of the value alone", text));
            }
        }
        for (full, many) in self.full.iter().zip(&self.many) {
            let got = called(many, data).map_err(|e| failure("call", title(&e)))?;
            let full = called(full, data).map_err(|e| failure("call", title(&e)))?;
            if !got.iter().zip(&full).all(|(g, f)| bits(g, f)) {
                let dtype = many.dtype();
                let text = format!("{dtype:?}: {got:?}\nand not {full:?}");
                return Err(failure("bits of the code for many elements", text));
            }
        }
        for (full, part) in self.full.iter().zip(&self.part) {
            let got = called(part, data).map_err(|e| failure("call", title(&e)))?;
            if let Ok(full) = called(full, data) {
                let last = self.all.len();
                if !bits(&got[0], &full[0]) || !bits(&got[1], &full[last]) {
                    let dtype = part.dtype();
                    let text = format!("{dtype:?}: {got:?}\nand with all gradients {full:?}");
                    return Err(failure("bits of one gradient", text));
                }
            }
        }
        Ok(())
    }
}

fn bits(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len()
        && a.iter()
            .zip(b)
            .all(|(x, y)| x.to_bits() == y.to_bits() || x.is_nan() && y.is_nan())
}

fn called(kernel: &Kernel, data: &[(&str, &Array)]) -> Result<Numbers, Error> {
    let out = kernel.evaluate(data, &[])?;
    let mut all = vec![out.value.reals().map_or(vec![], <[f64]>::to_vec)];
    all.extend(out.gradients.into_iter().map(|g| g.values));
    Ok(all)
}

/// The kernel of the value alone.
fn alone(kernel: &Kernel, data: &[(&str, &Array)]) -> Result<f64, Error> {
    use losscc::array::Data as Values;
    let narrow: Vec<Vec<f32>> = data
        .iter()
        .map(|(_, a)| a.reals().unwrap_or(&[]).iter().map(|&x| x as f32).collect())
        .collect();
    let inputs = data.iter().zip(&narrow).map(|((name, array), narrow)| {
        let data = match (&array.data, kernel.dtype()) {
            (Values::Real(_), Dtype::F32) => Data::F32(narrow),
            (Values::Real(v), Dtype::F64) => Data::F64(v),
            (Values::Int(v), _) => Data::I64(v),
            (Values::Bool(v), _) => Data::Bool(v),
        };
        Input {
            name,
            data,
            shape: &array.shape,
        }
    });
    kernel.value(&inputs.collect::<Vec<_>>(), &[])
}
