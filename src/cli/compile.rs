//! `losscc compile` and `losscc grad`.

use super::args::{Compile, Emit, Grad};
use super::{Outcome, Output, derive, open, usage};
use crate::diagnostic::Diagnostic;
use crate::loss::{Loss, Options};
use crate::spec::Spec;
use crate::{ir, sexpr};
use std::fmt::Write;
use std::time::{Duration, Instant};

pub(crate) fn run(args: &Compile, out: &mut Output) -> Outcome {
    let options = Options {
        dtype: args.common.dtype.into(),
        wrt: args.common.wrt.clone(),
        ..Options::default()
    };
    if args.emit.is_empty() {
        return report(args, &options, out);
    }
    let spec = open(&args.spec, out)?;
    let mut wanted = args.emit.clone();
    wanted.sort();
    wanted.dedup();
    // The tree and the definitions are there even if what follows them fails.
    let mut loss = None;
    let mut code = None;
    let edited = args.rows.reduction.is_some() || args.rows.weighted;
    for emit in wanted {
        let last = if edited { Emit::Ast } else { Emit::Ir };
        if emit > last && loss.is_none() {
            let derived = derive(&spec, &args.rows)?;
            warn_if_flat(&derived, out);
            loss = Some(derived);
        }
        if let (Emit::Clif | Emit::Asm, Some(loss), None) = (emit, &loss, &code) {
            code = Some(loss.code_text(&options, args.target.as_deref())?);
        }
        let text = match (emit, &loss) {
            (Emit::Ast, _) => sexpr::file(spec.ast()),
            (Emit::Ir, Some(loss)) => ir::print::dump(loss.written()),
            (Emit::Ir, None) => ir::print::dump(spec.program()),
            (Emit::Grad, Some(loss)) => loss.gradient_text(),
            (Emit::Loops, Some(loss)) => loss.loops_text(&options)?,
            (Emit::Clif, _) => code.as_ref().map(|c| c.clif.clone()).unwrap_or_default(),
            (Emit::Asm, _) => code.as_ref().map(|c| c.asm.clone()).unwrap_or_default(),
            (Emit::Grad | Emit::Loops, None) => String::new(),
        };
        let text = format!("{}\n", text.trim_end());
        match &args.out {
            None => out.print(&text),
            Some(dir) => {
                let file = format!("{dir}/{}.{}", spec.name(), emit.extension());
                let written =
                    std::fs::create_dir_all(dir).and_then(|()| std::fs::write(&file, text));
                written.map_err(|e| usage(format!("cannot write `{file}`: {e}")))?;
            }
        }
    }
    Ok(())
}

/// The symbolic gradient, in the language of the spec.
pub(crate) fn grad(args: &Grad, out: &mut Output) -> Outcome {
    let spec = open(&args.spec, out)?;
    let loss = derive(&spec, &args.rows)?;
    warn_if_flat(&loss, out);
    out.print(&format!("{}\n", loss.gradient_text().trim_end()));
    Ok(())
}

fn warn_if_flat(loss: &Loss, out: &mut Output) {
    if loss.has_zero_gradient() {
        let d = Diagnostic::warning(format!(
            "the gradient of `{}` is zero everywhere",
            loss.name()
        ));
        out.diagnostic(&d, loss.sources());
    }
}

fn report(args: &Compile, options: &Options, out: &mut Output) -> Outcome {
    let spec = open(&args.spec, out)?;
    let loss = derive(&spec, &args.rows)?;
    warn_if_flat(&loss, out);
    let kernel = loss.compile(options)?;
    let mut text = format!("{}\n", loss.gradient_text().trim_end());
    let _ = writeln!(
        text,
        "\nstages  ({}, value and gradient)",
        options.dtype.name()
    );
    for line in kernel.loops_text().lines() {
        let _ = writeln!(text, "  {line}");
    }
    text.push('\n');
    if let Some(reduction) = loss.reduction() {
        let _ = writeln!(text, "value   {reduction}");
    }
    let _ = writeln!(
        text,
        "code    {} bytes for {}",
        kernel.code_size(),
        kernel.target()
    );
    let times = warm(&spec, args, options)?;
    let _ = writeln!(
        text,
        "time    {:.2} ms from text to callable kernel (median of {}, warm)",
        millis(times.callable),
        times.runs
    );
    if let Some(time) = times.fast {
        let _ = writeln!(
            text,
            "        {:.2} ms more for faster code, made at the first call with {} steps of loops or more",
            millis(time),
            crate::kernel::Kernel::MANY
        );
    }
    out.print(&text);
    Ok(())
}

/// How often the whole pipeline is timed for the report.
const RUNS: usize = 15;
/// How long it runs before: a core takes a while from its resting clock to the one that it keeps.
const WARM_UP: Duration = Duration::from_millis(100);
/// After this long it has run often enough.
const ENOUGH: Duration = Duration::from_secs(1);

/// Median times, once everything was used before, of how many runs.
struct Times {
    /// The whole way from text to a callable kernel.
    callable: Duration,
    /// That of the fast code, made later, if there is any.
    fast: Option<Duration>,
    runs: usize,
}

fn warm(spec: &Spec, args: &Compile, options: &Options) -> Result<Times, crate::error::Error> {
    let begin = Instant::now();
    let (mut callable, mut fast) = (vec![], vec![]);
    while callable.len() < RUNS && (callable.is_empty() || begin.elapsed() < ENOUGH) {
        let start = Instant::now();
        let again = spec.again()?;
        let kernel = derive(&again, &args.rows)?.compile(options)?;
        if start - begin < WARM_UP && begin.elapsed() < ENOUGH {
            continue;
        }
        callable.push(start.elapsed());
        let start = Instant::now();
        if kernel.make_fast_code() {
            fast.push(start.elapsed());
        }
    }
    let median = |times: &mut Vec<Duration>| {
        times.sort();
        times.get(times.len() / 2).copied()
    };
    Ok(Times {
        runs: callable.len(),
        callable: median(&mut callable).unwrap_or_default(),
        fast: median(&mut fast),
    })
}

fn millis(d: Duration) -> f64 {
    d.as_secs_f64() * 1e3
}
