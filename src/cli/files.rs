//! `losscc list` and `losscc fmt`.

use super::args::Fmt;
use super::{Failure, Outcome, Output};
use crate::diagnostic::Sources;
use crate::error::Error;
use crate::shipped;
use std::io::Read;
use std::sync::Arc;

/// How wide a line of the list may be.
const COLUMNS: usize = 100;

/// A line for every shipped loss: its name and what it is.
pub(crate) fn list(out: &mut Output) -> Outcome {
    let width = shipped::all()
        .iter()
        .map(|(n, _)| n.len())
        .max()
        .unwrap_or(0);
    let mut text = String::new();
    for (name, source) in shipped::all() {
        let doc = crate::spec::summary(name, source);
        let doc = shortened(&doc, COLUMNS - width - 2);
        text.push_str(format!("{name:width$}  {doc}").trim_end());
        text.push('\n');
    }
    out.print(&text);
    Ok(())
}

/// A sentence without its full stop, cut after a word if it is too long.
fn shortened(sentence: &str, width: usize) -> String {
    let sentence = sentence.trim_end_matches('.');
    if sentence.chars().count() <= width {
        return sentence.into();
    }
    let room = sentence.char_indices().nth(width - 3);
    let head = &sentence[..room.map_or(sentence.len(), |(i, _)| i)];
    let head = head.rsplit_once(' ').map_or(head, |(words, _)| words);
    format!("{} ...", head.trim_end_matches([',', ':', ';']))
}

/// Lays out files in place, or standard input to standard output. When one of them cannot be read or does not parse,
/// the others are laid out all the same.
pub(crate) fn format(args: &Fmt, out: &mut Output) -> Outcome {
    let mut failed = 0;
    for name in super::specs(&args.files)? {
        match one(&name, args.check, out) {
            Ok(()) => {}
            Err(Failure::Error(error)) => {
                out.error(&error);
                failed = failed.max(error.exit_code());
            }
            Err(Failure::Code(code)) => failed = failed.max(code),
        }
    }
    if failed == 0 {
        Ok(())
    } else {
        Err(Failure::Code(failed))
    }
}

/// Lays out one file, or says that it is not laid out.
fn one(name: &str, check: bool, out: &mut Output) -> Outcome {
    let stdin = name == "-";
    let shown = if stdin { "standard input" } else { name };
    let bytes = if stdin {
        let mut bytes = vec![];
        std::io::stdin().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        std::fs::read(name)
    };
    let bytes = bytes.map_err(|e| super::usage(format!("cannot read `{shown}`: {e}")))?;
    let text = crate::parse::decode(shown, bytes).map_err(Error::plain)?;
    let mut sources = Sources::default();
    let file = sources.add(shown, text.as_str());
    let formatted = crate::format::format(&sources, file)
        .map_err(|diagnostics| Error::new(diagnostics, Arc::new(sources)))?;
    if check {
        if formatted == text {
            return Ok(());
        }
        out.say(&format!("`{shown}` is not laid out"));
        return Err(Failure::Code(1));
    }
    if stdin {
        out.print(&formatted);
    } else if formatted != text {
        std::fs::write(name, formatted)
            .map_err(|e| super::usage(format!("cannot write `{name}`: {e}")))?;
    }
    Ok(())
}
