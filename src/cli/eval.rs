//! `losscc eval`: value and gradient at data.

use super::args::{Eval, Hessian};
use super::{Failure, Outcome, Output, open, usage};
use crate::array::Array;
use crate::data::{self, Format, Named};
use crate::diagnostic::Diagnostic;
use crate::error::Error;
use crate::loss::{Evaluated, Loss, Options};
use serde_json::{Map, Value};
use std::fmt::Write;

pub(crate) fn run(args: &Eval, out: &mut Output) -> Outcome {
    let set = settings(&args.set)?;
    let spec = open(&args.spec, out)?;
    let loss = spec.derive()?;
    let arrays = load(&args.data)?;
    let options = Options {
        dtype: args.common.dtype.into(),
        wrt: args.common.wrt.clone(),
    };
    let result = evaluate(&loss, &options, &arrays, &set, out)?;
    let hessian = match args.hessian {
        Some(Hessian::Diag) => Some(diagonal(&loss, &options, &arrays, &set, out)?),
        None => None,
    };
    if let Some(file) = &args.out {
        save(file, &result)?;
    }
    let text = if args.json {
        format!("{}\n", json(&loss, &options, &result, hessian.as_ref()))
    } else {
        table(&loss, &result, hessian.as_ref())
    };
    out.print(&text);
    Ok(())
}

fn evaluate(
    loss: &Loss,
    options: &Options,
    arrays: &Named,
    set: &[(&str, f64)],
    out: &mut Output,
) -> Result<Evaluated, Failure> {
    let inputs: Vec<(&str, &Array)> = arrays.iter().map(|(n, a)| (n.as_str(), a)).collect();
    let result = loss.compile(options)?.evaluate(&inputs, set)?;
    for warning in &result.warnings {
        out.diagnostic(warning, loss.sources());
    }
    Ok(result)
}

/// The Hessian's diagonal is the gradient of another program, whose value nobody needs.
fn diagonal(
    loss: &Loss,
    options: &Options,
    arrays: &Named,
    set: &[(&str, f64)],
    out: &mut Output,
) -> Result<Evaluated, Failure> {
    let (diagonal, notes) = loss.hessian_diagonal(options.wrt.as_deref())?;
    for note in &notes {
        out.diagnostic(note, loss.sources());
    }
    evaluate(
        &diagonal,
        options,
        arrays,
        set,
        &mut Output::new(super::args::Color::Never),
    )
}

/// `name=value`, where the value is a number.
fn settings(set: &[String]) -> Result<Vec<(&str, f64)>, Failure> {
    set.iter()
        .map(|s| {
            let (name, value) = s
                .split_once('=')
                .ok_or_else(|| usage(format!("`--set {s}` is not NAME=VALUE")))?;
            let number = match value.trim() {
                "true" => Some(1.0),
                "false" => Some(0.0),
                v => v.parse().ok(),
            };
            let number =
                number.ok_or_else(|| usage(format!("`--set {s}`: `{value}` is not a number")))?;
            Ok((name.trim(), number))
        })
        .collect()
}

/// All arrays of all files; of two with one name the later counts.
fn load(files: &[String]) -> Result<Named, Failure> {
    let mut all: Named = vec![];
    for argument in files {
        let (name, file) = match argument.split_once('=') {
            Some((name, file)) if !std::path::Path::new(argument).exists() => (Some(name), file),
            _ => (None, argument.as_str()),
        };
        let Some(format) = Format::of(file) else {
            return Err(usage(format!(
                "`{file}` is neither .npz, .npy, .json nor .csv"
            )));
        };
        let bytes = std::fs::read(file).map_err(|e| usage(format!("cannot read `{file}`: {e}")))?;
        let mut arrays = data::read(file, format, &bytes).map_err(Error::plain)?;
        match (format, name) {
            (Format::Npy, Some(name)) => arrays[0].0 = name.into(),
            (Format::Npy, None) => {
                let error = Diagnostic::data(format!("`{file}` holds an array without a name"));
                return Err(Error::plain(error.help(format!("write `--data NAME={file}`"))).into());
            }
            (_, Some(name)) => {
                return Err(usage(format!(
                    "`{name}={file}`: the arrays in `{file}` have their own names"
                )));
            }
            (_, None) => {}
        }
        for (name, array) in arrays {
            all.retain(|(n, _)| *n != name);
            all.push((name, array));
        }
    }
    Ok(all)
}

fn save(file: &str, result: &Evaluated) -> Outcome {
    let arrays: Vec<(&str, &[usize], &[f64])> = result
        .gradients
        .iter()
        .map(|g| (g.name.as_str(), g.shape.as_slice(), g.values.as_slice()))
        .collect();
    let written = std::fs::File::create(file)
        .and_then(|f| data::write_npz(std::io::BufWriter::new(f), &arrays));
    written.map_err(|e| usage(format!("cannot write `{file}`: {e}")))
}

fn json(loss: &Loss, options: &Options, result: &Evaluated, hessian: Option<&Evaluated>) -> String {
    let nested = |e: &Evaluated| -> Value {
        e.gradients
            .iter()
            .map(|g| (g.name.clone(), data::to_json(&g.shape, &g.values)))
            .collect::<Map<_, _>>()
            .into()
    };
    // Written by hand so that the members come in this order.
    let mut text = String::from("{");
    let _ = write!(text, "\"loss\": {}", Value::from(loss.name()));
    let _ = write!(text, ", \"dtype\": \"{}\"", options.dtype.name());
    let _ = write!(text, ", \"value\": {}", data::number(result.value));
    let _ = write!(text, ", \"grad\": {}", nested(result));
    if let Some(hessian) = hessian {
        let _ = write!(text, ", \"hessian_diag\": {}", nested(hessian));
    }
    text.push('}');
    text
}

/// How many elements of an array are shown to a person.
const SHOWN: usize = 6;

fn table(loss: &Loss, result: &Evaluated, hessian: Option<&Evaluated>) -> String {
    let mut text = format!("{} = {}\n", loss.name(), result.value);
    for gradient in &result.gradients {
        let _ = writeln!(
            text,
            "\nd {} / d {}  {}",
            loss.name(),
            gradient.name,
            shape(&gradient.shape)
        );
        let _ = writeln!(text, "{}", elements(&gradient.values));
    }
    for diagonal in hessian.iter().flat_map(|h| &h.gradients) {
        let _ = writeln!(
            text,
            "\nd² {} / d {}²  {}",
            loss.name(),
            diagonal.name,
            shape(&diagonal.shape)
        );
        let _ = writeln!(text, "{}", elements(&diagonal.values));
    }
    text
}

fn shape(shape: &[usize]) -> String {
    match shape {
        [] => "a number".into(),
        _ => shape
            .iter()
            .map(usize::to_string)
            .collect::<Vec<_>>()
            .join(" x "),
    }
}

/// The first elements, and how the rest lies.
fn elements(values: &[f64]) -> String {
    let shown: Vec<String> = values
        .iter()
        .take(SHOWN)
        .map(|x| format!("{x:.6e}"))
        .collect();
    let more = if values.len() > SHOWN { " ..." } else { "" };
    let mut text = format!("  [{}{more}]", shown.join(" "));
    if values.len() > SHOWN {
        let (mut low, mut high, mut sum) = (f64::INFINITY, f64::NEG_INFINITY, 0.0);
        for &x in values {
            low = low.min(x);
            high = high.max(x);
            sum += x;
        }
        let _ = write!(
            text,
            "\n  least {low:.6e}, largest {high:.6e}, mean {:.6e}",
            sum / values.len() as f64
        );
    }
    text
}
