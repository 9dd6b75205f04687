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
    /// The format of bytes that have no file name. An `.npz` file is a zip archive; what is nothing else may be a table.
    pub fn of_bytes(bytes: &[u8]) -> Format {
        let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        if bytes.starts_with(b"PK") {
            Format::Npz
        } else if bytes.starts_with(b"\x93NUMPY") {
            Format::Npy
        } else if matches!(text.trim_ascii_start().first(), Some(b'{' | b'[')) {
            Format::Json
        } else {
            Format::Csv
        }
    }

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

/// Whether somebody needs the array of a name. What nobody needs may be anything, such as a column of words, and is left
/// out where it is no array of numbers.
pub type Needed<'a> = &'a dyn Fn(&str) -> bool;

/// Reads what a file holds. An `.npy` file holds one array without a name; it gets the name "".
///
/// # Errors
/// What is wrong with the bytes, with the file's name and, where there is one, the place.
pub fn read(file: &str, format: Format, bytes: &[u8]) -> Result<Named, Diagnostic> {
    read_needed(file, format, bytes, &|_| true)
}

/// As [`read`], without the arrays that are not needed and cannot be read.
///
/// # Errors
/// As [`read`].
pub fn read_needed(
    file: &str,
    format: Format,
    bytes: &[u8],
    needed: Needed,
) -> Result<Named, Diagnostic> {
    match format {
        Format::Npz => numpy::read_npz(file, bytes, needed),
        Format::Npy => Ok(vec![(String::new(), numpy::read_npy(file, bytes)?)]),
        Format::Json => json::read(file, bytes, needed),
        Format::Csv => csv::read(file, bytes, needed),
    }
}

/// The arrays that could be read, or the first error of one that is needed.
fn those_needed(
    arrays: impl IntoIterator<Item = (String, Result<Array, Diagnostic>)>,
    needed: Needed,
) -> Result<Named, Diagnostic> {
    let mut out = vec![];
    for (name, array) in arrays {
        match array {
            Ok(array) => out.push((name, array)),
            Err(e) if needed(&name) => return Err(e),
            Err(_) => {}
        }
    }
    Ok(out)
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
