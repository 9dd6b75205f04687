//! Results as text, JSON and files.

use super::{Outcome, usage};
use crate::array::Array;
use crate::data;
use crate::diagnostic::Diagnostic;
use crate::error::Error;
use crate::loss::{Evaluated, Loss, NamedGradient, Options};
use serde_json::Value;
use std::fmt::Write;

/// Second derivatives: the gradients of another program, whose value nobody needs.
pub(super) struct Second {
    pub(super) kind: Kind,
    pub(super) result: Evaluated,
}

#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// The Hessian's diagonal.
    Diagonal,
    /// The Hessian's product with a vector.
    Product,
}

impl Kind {
    fn key(self) -> &'static str {
        match self {
            Kind::Diagonal => "hessian_diag",
            Kind::Product => "hvp",
        }
    }
}

/// Writes the arrays of a result: gradients by the names of their inputs, second derivatives as `hvp.x` and
/// `hessian_diag.x`, which no input can be called.
pub(super) fn save(file: &str, result: &Evaluated, seconds: &[Second]) -> Outcome {
    let path = std::path::Path::new(file);
    if path
        .extension()
        .is_some_and(|e| !e.eq_ignore_ascii_case("npz"))
    {
        let other = path.with_extension("npz");
        let d = Diagnostic::data(format!("`{file}` is no name of a .npz file"));
        let d = d.help(format!("write `--out {}`", other.display()));
        return Err(Error::plain(d).into());
    }
    let named: Vec<(String, &NamedGradient)> = seconds
        .iter()
        .flat_map(|s| s.result.gradients.iter().map(|g| (s.kind, g)))
        .map(|(kind, g)| (format!("{}.{}", kind.key(), g.name), g))
        .collect();
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
    arrays.extend(
        named
            .iter()
            .map(|(name, g)| (name.as_str(), g.shape.as_slice(), g.values.as_slice())),
    );
    let written = std::fs::File::create(file)
        .and_then(|f| data::write_npz(std::io::BufWriter::new(f), &arrays));
    written.map_err(|e| usage(format!("cannot write `{file}`: {e}")))
}

pub(super) fn json(
    loss: &Loss,
    options: &Options,
    result: &Evaluated,
    seconds: &[Second],
) -> String {
    let (name, dtype) = (Value::from(loss.name()), options.dtype.name());
    let mut value = String::new();
    nested(&result.value.shape, reals(&result.value), &mut value);
    let grad = members(result);
    let mut text =
        format!("{{\"loss\": {name}, \"dtype\": \"{dtype}\", \"value\": {value}, \"grad\": {grad}");
    for second in seconds {
        let _ = write!(
            text,
            ", \"{}\": {}",
            second.kind.key(),
            members(&second.result)
        );
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

pub(super) fn table(loss: &Loss, result: &Evaluated, seconds: &[Second]) -> String {
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
    for second in seconds {
        for g in &second.result.gradients {
            let of = match second.kind {
                Kind::Diagonal => format!("d² {name} / d {}²", g.name),
                Kind::Product => format!("Hessian of {name} times the vector, in {}", g.name),
            };
            array(&of, &g.shape, &g.values, &mut text);
        }
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
