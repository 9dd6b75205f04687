//! `losscc list` and `losscc fmt`.

use super::args::Fmt;
use super::{Outcome, Output};
use crate::shipped;

/// Name and first line of the doc comment of every shipped loss.
pub(crate) fn list(out: &mut Output) -> Outcome {
    let width = shipped::all()
        .iter()
        .map(|(n, _)| n.len())
        .max()
        .unwrap_or(0);
    let mut text = String::new();
    for (name, source) in shipped::all() {
        let doc = super::super::spec::summary(name, source);
        text.push_str(format!("{name:width$}  {doc}").trim_end());
        text.push('\n');
    }
    out.print(&text);
    Ok(())
}

/// Lays out files in place, or standard input to standard output.
pub(crate) fn format(args: &Fmt, _: &mut Output) -> Outcome {
    let _ = &args.files;
    Err(super::usage("fmt is not there yet"))
}
