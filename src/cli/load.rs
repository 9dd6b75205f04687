//! Arrays from the files that the command line names.

use super::{Failure, Outcome, usage};
use crate::array::Array;
use crate::data::{self, Format, Named};
use crate::diagnostic::Diagnostic;
use crate::error::Error;
use crate::loss::Loss;

/// All arrays of all files; of two with one name the later counts.
pub(super) fn load(flag: &str, files: &[String], loss: &Loss) -> Result<Named, Failure> {
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
                return Err(Error::plain(error.help(format!("write `{flag} NAME={file}`"))).into());
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

/// The vectors that the Hessian is multiplied with, one of the shape of each input in `wrt`, by their names in
/// [`Loss::hessian_vector`].
pub(super) fn vectors(
    files: &[String],
    loss: &Loss,
    wrt: &[String],
    data: &Named,
) -> Result<Named, Failure> {
    let given = load("--hvp", files, loss)?;
    let mut named = vec![];
    for input in wrt {
        let Some((_, vector)) = given.iter().find(|(n, _)| n == input) else {
            let names: Vec<String> = given.iter().map(|(n, _)| format!("`{n}`")).collect();
            let error = Diagnostic::data(format!("`--hvp` has no vector for `{input}`"))
                .note(format!("it has {}", names.join(", ")))
                .help(format!(
                    "give an array `{input}`, or leave the input out of `--wrt`"
                ));
            return Err(Error::plain(error).into());
        };
        if let Some((_, of)) = data.iter().find(|(n, _)| n == input) {
            same_shape(input, vector, of)?;
        }
        let name = loss.vector_name(input);
        named.push((name.unwrap_or_default(), vector.clone()));
    }
    Ok(named)
}

fn same_shape(input: &str, vector: &Array, of: &Array) -> Outcome {
    if vector.shape == of.shape {
        return Ok(());
    }
    let title = format!(
        "the vector for `{input}` in `--hvp` has the shape {:?}, but `{input}` has {:?}",
        vector.shape, of.shape
    );
    Err(Error::plain(Diagnostic::data(title)).into())
}
