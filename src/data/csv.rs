//! `.csv`: a line of names, then a line of numbers for each row; a column is an array with one axis.

use super::{Named, Needed, broken, text, those_needed};
use crate::array::{Array, Data};
use crate::diagnostic::Diagnostic;

/// Every cell of a needed column must be a number, or true or false.
pub(super) fn read(file: &str, bytes: &[u8], needed: Needed) -> Result<Named, Diagnostic> {
    let text = text(file, bytes)?;
    let mut reader = ::csv::ReaderBuilder::new()
        .trim(::csv::Trim::All)
        .from_reader(text.as_bytes());
    let names: Vec<String> = match reader.headers() {
        Ok(names) => names.iter().map(str::to_string).collect(),
        Err(e) => return Err(broken(file, e)),
    };
    if names.is_empty() {
        return Err(broken(
            file,
            "it is empty; the first line names the columns",
        ));
    }
    if let Some(name) = names
        .iter()
        .enumerate()
        .find(|(k, n)| names[..*k].contains(n))
        .map(|(_, n)| n)
    {
        return Err(broken(file, format!("two columns have the name `{name}`")));
    }
    if let [only] = &names[..]
        && let Some(separator) = [';', '\t', '|'].into_iter().find(|&c| only.contains(c))
    {
        let what = format!("its columns stand apart by {separator:?}, not by a comma");
        return Err(broken(file, what));
    }
    let mut columns: Vec<Result<Vec<f64>, Diagnostic>> = vec![Ok(vec![]); names.len()];
    for record in reader.records() {
        let record = record.map_err(|e| broken(file, odd_record(&e)))?;
        let line = record.position().map_or(0, |p| p.line());
        for ((column, cell), name) in columns.iter_mut().zip(record.iter()).zip(&names) {
            let Ok(values) = column else { continue };
            match cell_value(cell) {
                Some(x) => values.push(x),
                None => {
                    let what = if cell.is_empty() {
                        "is empty".into()
                    } else {
                        format!("is `{cell}`, not a number")
                    };
                    let what = format!("line {line}: column `{name}` {what}");
                    *column = Err(broken(file, what));
                }
            }
        }
    }
    let array = |v: Vec<f64>| Array {
        shape: vec![v.len()],
        data: Data::Real(v),
    };
    let arrays = columns.into_iter().map(|c| c.map(array));
    those_needed(names.into_iter().zip(arrays), needed)
}

/// What is wrong with a record, in words.
fn odd_record(error: &::csv::Error) -> String {
    match error.kind() {
        ::csv::ErrorKind::UnequalLengths {
            pos,
            expected_len,
            len,
        } => {
            let line = pos.as_ref().map_or(0, ::csv::Position::line);
            let cells = |n: u64| format!("{n} cell{}", if n == 1 { "" } else { "s" });
            format!(
                "line {line} has {}, the line of names {expected_len}",
                cells(*len)
            )
        }
        _ => error.to_string(),
    }
}

fn cell_value(cell: &str) -> Option<f64> {
    match cell {
        "true" | "True" | "TRUE" => Some(1.0),
        "false" | "False" | "FALSE" => Some(0.0),
        _ => cell.parse().ok(),
    }
}
