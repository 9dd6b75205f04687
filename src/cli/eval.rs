//! `losscc eval`: value and gradient at data.

use super::args::{Eval, Hessian};
use super::{Failure, Outcome, Output, derive, open, usage};
use crate::array::Array;
use crate::data::{self, Format, Named};
use crate::diagnostic::Diagnostic;
use crate::error::Error;
use crate::loss::{Evaluated, Loss, NamedGradient, Options};
use serde_json::Value;
use std::fmt::Write;

pub(crate) fn run(args: &Eval, out: &mut Output) -> Outcome {
    let set = settings(&args.set)?;
    let spec = open(&args.spec, out)?;
    let loss = derive(&spec, &args.rows)?;
    let arrays = load(&args.data, &loss)?;
    let options = Options {
        dtype: args.common.dtype.into(),
        wrt: args.common.wrt.clone(),
        ..Options::default()
    };
    let result = evaluate(&loss, &options, &arrays, &set)?;
    for warning in &result.warnings {
        out.diagnostic(warning, loss.sources());
    }
    let hessian = match args.hessian {
        Some(Hessian::Diag) => Some(diagonal(&loss, &options, &arrays, &set, out)?),
        None => None,
    };
    if let Some(file) = &args.out {
        save(file, &result)?;
    }
    let text = if args.json {
        // The denominator in use, where it is not the spec's.
        if let (true, Some(reduction)) = (edited(args), loss.reduction()) {
            out.say(&format!("{}: {reduction}", loss.name()));
        }
        format!("{}\n", json(&loss, &options, &result, hessian.as_ref()))
    } else {
        table(&loss, &result, hessian.as_ref())
    };
    out.print(&text);
    Ok(())
}

fn edited(args: &Eval) -> bool {
    args.rows.reduction.is_some() || args.rows.weighted
}

fn evaluate(
    loss: &Loss,
    options: &Options,
    arrays: &Named,
    set: &[(&str, f64)],
) -> Result<Evaluated, Failure> {
    let inputs: Vec<(&str, &Array)> = arrays.iter().map(|(n, a)| (n.as_str(), a)).collect();
    Ok(loss.compile(options)?.evaluate(&inputs, set)?)
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
    evaluate(&diagonal, options, arrays, set)
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
fn load(files: &[String], loss: &Loss) -> Result<Named, Failure> {
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
            if format == Format::Csv {
                one_axis(loss, &name, file)?;
            }
            all.retain(|(n, _)| *n != name);
            all.push((name, array));
        }
    }
    Ok(all)
}

/// A column has one axis; whatever needs another number of them must come from another kind of file.
fn one_axis(loss: &Loss, name: &str, file: &str) -> Outcome {
    match loss.axes_of(name) {
        Some(n) if n != 1 => {
            let title = format!("`{name}` has {n} axes, a column of `{file}` only one");
            let error = Diagnostic::data(title).help("write it as .npz, .npy or .json");
            Err(Error::plain(error).into())
        }
        Some(_) | None => Ok(()),
    }
}

fn save(file: &str, result: &Evaluated) -> Outcome {
    let mut arrays: Vec<(&str, &[usize], &[f64])> = result
        .gradients
        .iter()
        .map(|g| (g.name.as_str(), g.shape.as_slice(), g.values.as_slice()))
        .collect();
    if !result.value.shape.is_empty() {
        if arrays.iter().any(|(name, ..)| *name == "value") {
            let title = format!("`{file}` cannot hold the rows beside the gradient of `value`");
            return Err(usage(title));
        }
        arrays.push(("value", &result.value.shape, reals(&result.value)));
    }
    let written = std::fs::File::create(file)
        .and_then(|f| data::write_npz(std::io::BufWriter::new(f), &arrays));
    written.map_err(|e| usage(format!("cannot write `{file}`: {e}")))
}

fn json(loss: &Loss, options: &Options, result: &Evaluated, hessian: Option<&Evaluated>) -> String {
    let (name, dtype) = (Value::from(loss.name()), options.dtype.name());
    let mut value = String::new();
    nested(&result.value.shape, reals(&result.value), &mut value);
    let grad = members(result);
    let mut text =
        format!("{{\"loss\": {name}, \"dtype\": \"{dtype}\", \"value\": {value}, \"grad\": {grad}");
    if let Some(hessian) = hessian {
        let _ = write!(text, ", \"hessian_diag\": {}", members(hessian));
    }
    text.push('}');
    text
}

/// An object of nested lists, with the separators that Python writes.
fn members(result: &Evaluated) -> String {
    let member = |g: &NamedGradient| {
        let mut text = format!("{}: ", Value::from(g.name.as_str()));
        nested(&g.shape, &g.values, &mut text);
        text
    };
    let all: Vec<String> = result.gradients.iter().map(member).collect();
    format!("{{{}}}", all.join(", "))
}

fn nested(shape: &[usize], values: &[f64], text: &mut String) {
    let Some((&n, rest)) = shape.split_first() else {
        let _ = write!(
            text,
            "{}",
            data::number(values.first().copied().unwrap_or(0.0))
        );
        return;
    };
    let size: usize = rest.iter().product();
    text.push('[');
    for i in 0..n {
        if i > 0 {
            text.push_str(", ");
        }
        nested(rest, &values[i * size..(i + 1) * size], text);
    }
    text.push(']');
}

fn reals(array: &Array) -> &[f64] {
    array.reals().unwrap_or(&[])
}

/// How many elements of a line, and how many lines of an array, are shown to a person.
const SHOWN: usize = 6;
const LINES: usize = 4;

fn table(loss: &Loss, result: &Evaluated, hessian: Option<&Evaluated>) -> String {
    let name = loss.name();
    let (shape, value) = (&result.value.shape, reals(&result.value));
    let by = loss.reduction().map(|r| format!("  ({r})"));
    let by = by.unwrap_or_default();
    let mut text = match (shape.is_empty(), value) {
        (true, &[value]) => format!("{name} = {value}{by}\n"),
        _ => {
            let mut text = String::new();
            array(&format!("{name}{by}"), shape, value, &mut text);
            text.trim_start().to_string()
        }
    };
    for g in &result.gradients {
        let of = format!("d {name} / d {}", g.name);
        array(&of, &g.shape, &g.values, &mut text);
    }
    for g in hessian.iter().flat_map(|h| &h.gradients) {
        let of = format!("d² {name} / d {}²", g.name);
        array(&of, &g.shape, &g.values, &mut text);
    }
    text
}

/// A number in its line; else the first elements of the first lines, and how all of them lie.
fn array(of: &str, shape: &[usize], values: &[f64], text: &mut String) {
    let Some((&width, outer)) = shape.split_last() else {
        let number = values.first().copied().unwrap_or(0.0);
        let _ = writeln!(text, "\n{of} = {number}");
        return;
    };
    let size: Vec<String> = shape.iter().map(usize::to_string).collect();
    let _ = writeln!(text, "\n{of}  ({})", size.join(" x "));
    let lines: usize = outer.iter().product();
    for line in values.chunks(width.max(1)).take(LINES) {
        let shown: Vec<String> = line.iter().take(SHOWN).map(|&x| number(x)).collect();
        let more = if line.len() > SHOWN { " ..." } else { "" };
        let _ = writeln!(text, "  {}{more}", shown.join(" ").trim_end());
    }
    if lines > LINES {
        text.push_str("  ...\n");
    }
    if width > SHOWN || lines > LINES {
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let all = [least, largest, mean].map(|x| number(x).trim().to_string());
        let _ = writeln!(
            text,
            "  least {}, largest {}, mean {}",
            all[0], all[1], all[2]
        );
    }
}

/// Six digits or so in a column.
fn number(x: f64) -> String {
    let size = x.abs();
    if x == 0.0 {
        format!("{:>12}", 0)
    } else if (1e-4..1e6).contains(&size) {
        format!("{x:>12.6}")
    } else {
        format!("{x:>12.4e}")
    }
}
