//! From text to the syntax tree. The grammar is `grammar/loss.pest`, which reads as the language's reference.

mod build;
mod explain;
mod nesting;
pub mod token;

use crate::ast::{File, FileId};
use crate::diagnostic::{Class, Diagnostic, Sources};
use crate::stack::with_stack;
use pest::Parser;
use pest::error::{ErrorVariant, InputLocation};

pub use nesting::MAX_NESTING;

/// How many bytes a file may have.
pub const MAX_BYTES: usize = 16 << 20;

#[derive(pest_derive::Parser)]
#[grammar = "../grammar/loss.pest"]
struct LossParser;

/// Parses one file.
///
/// Errors: the first mistake in the syntax, or all that stand in a file of right syntax (numbers out of range, a
/// second loss).
pub fn parse(sources: &Sources, file: FileId) -> Result<File, Vec<Diagnostic>> {
    let text = &*sources.get(file).text;
    if text.len() > MAX_BYTES {
        return Err(vec![Diagnostic::error(format!(
            "`{}` has {} bytes, a .loss file has at most {MAX_BYTES}",
            sources.get(file).name,
            text.len()
        ))]);
    }
    nesting::check(text, file).map_err(|error| vec![error])?;
    with_stack(|| match LossParser::parse(Rule::file, text) {
        Ok(pairs) => build::file(pairs, file),
        Err(error) => Err(vec![refuse(error, text, file)]),
    })
}

/// The message for a text that the grammar does not pass.
fn refuse(error: pest::error::Error<Rule>, text: &str, file: FileId) -> Diagnostic {
    let place = match error.location {
        InputLocation::Pos(place) | InputLocation::Span((place, _)) => place,
    };
    match error.variant {
        ErrorVariant::ParsingError { positives, .. } => {
            explain::explain(text, file, place, &positives)
        }
        // A limit of pest, which the stack is there to keep out of reach.
        ErrorVariant::CustomError { message } => Diagnostic {
            class: Class::Bug,
            ..Diagnostic::error(format!("the parser gave up: {message}"))
        },
    }
}

/// The text of a file named `name`.
///
/// Errors: bytes that are not UTF-8, with the place of the first.
pub fn decode(name: &str, bytes: Vec<u8>) -> Result<String, Diagnostic> {
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let before = &error.as_bytes()[..valid];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let byte = error.as_bytes()[valid];
        Diagnostic::data(format!(
            "`{name}` is not UTF-8: byte {valid} (line {line}) is 0x{byte:02x}"
        ))
        .help("save the file as UTF-8")
    })
}

#[cfg(test)]
mod tests;
