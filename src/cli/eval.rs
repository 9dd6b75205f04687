//! `losscc eval`: value and gradient at data.

use super::args::{Eval, Hessian};
use super::results::{self, Kind, Second};
use super::{Failure, Outcome, Output, derive, load, open, usage};
use crate::array::Array;
use crate::data::Named;
use crate::loss::{Evaluated, Loss, Options};

pub(crate) fn run(args: &Eval, out: &mut Output) -> Outcome {
    let set = settings(&args.set)?;
    let files = args.data.iter().chain(&args.hvp);
    let names = files.map(|f| f.split_once('=').map_or(f.as_str(), |(_, file)| file));
    if names
        .chain([args.spec.as_str()])
        .filter(|n| *n == "-")
        .count()
        > 1
    {
        return Err(usage(
            "standard input can be read only once: `-` stands twice",
        ));
    }
    let spec = open(&args.spec, out)?;
    let loss = derive(&spec, &args.rows)?;
    let arrays = load::load("--data", &args.data, &loss)?;
    let options = Options {
        dtype: args.common.dtype.into(),
        wrt: args.common.wrt.clone(),
        ..Options::default()
    };
    let result = evaluate(&loss, &options, &arrays, &set)?;
    for warning in &result.warnings {
        out.diagnostic(warning, loss.sources());
    }
    let mut seconds = vec![];
    if let Some(Hessian::Diag) = args.hessian {
        let result = diagonal(&loss, &options, &arrays, &set, out)?;
        let kind = Kind::Diagonal;
        seconds.push(Second { kind, result });
    }
    if !args.hvp.is_empty() {
        let wrt: Vec<String> = result.gradients.iter().map(|g| g.name.clone()).collect();
        let mut all = load::vectors(&args.hvp, &loss, &wrt, &arrays)?;
        all.extend(arrays.iter().cloned());
        let product = loss.hessian_vector(options.wrt.as_deref())?;
        let result = evaluate(&product, &options, &all, &set)?;
        let kind = Kind::Product;
        seconds.push(Second { kind, result });
    }
    if let Some(file) = &args.out {
        results::save(file, &result, &seconds)?;
    }
    let text = if args.json {
        // The denominator in use, where it is not the spec's.
        if let (true, Some(reduction)) = (edited(args), loss.reduction()) {
            out.say(&format!("{}: {reduction}", loss.name()));
        }
        format!("{}\n", results::json(&loss, &options, &result, &seconds))
    } else {
        results::table(&loss, &result, &seconds)
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
