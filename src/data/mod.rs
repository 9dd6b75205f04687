//! Arrays from files: `.npz`, `.npy`, `.json`, `.csv`; and gradients back to `.npz`.
//!
//! Nothing here opens a file: bytes come in, named arrays or an error go out.

mod csv;
mod json;
mod numpy;

use crate::array::Array;
use crate::diagnostic::Diagnostic;
pub use json::{number, to_json};
pub use numpy::write_npz;

/// Arrays by name, in the order of the file.
pub type Named = Vec<(String, Array)>;

/// The formats, told apart by the end of a file's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Npz,
    Npy,
    Json,
    Csv,
}

impl Format {
    /// The format of a file of this name.
    pub fn of(name: &str) -> Option<Format> {
        let (_, end) = name.rsplit_once('.')?;
        match end.to_ascii_lowercase().as_str() {
            "npz" => Some(Format::Npz),
            "npy" => Some(Format::Npy),
            "json" => Some(Format::Json),
            "csv" => Some(Format::Csv),
            _ => None,
        }
    }
}

/// Reads what a file holds. An `.npy` file holds one array without a name; it gets the name "".
///
/// # Errors
/// What is wrong with the bytes, with the file's name and, where there is one, the place.
pub fn read(file: &str, format: Format, bytes: &[u8]) -> Result<Named, Diagnostic> {
    match format {
        Format::Npz => numpy::read_npz(file, bytes),
        Format::Npy => Ok(vec![(String::new(), numpy::read_npy(file, bytes)?)]),
        Format::Json => json::read(file, bytes),
        Format::Csv => csv::read(file, bytes),
    }
}

/// The error that a file is not what its name says.
fn broken(file: &str, what: impl std::fmt::Display) -> Diagnostic {
    Diagnostic::data(format!("cannot read `{file}`: {what}"))
}

/// The text of a file, without a byte order mark.
fn text<'a>(file: &str, bytes: &'a [u8]) -> Result<&'a str, Diagnostic> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.strip_prefix('\u{feff}').unwrap_or(text)),
        Err(e) => Err(broken(
            file,
            format!("it is not UTF-8 text (byte {})", e.valid_up_to()),
        )),
    }
}
