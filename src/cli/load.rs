//! Arrays from the files that the command line names.

use super::{Failure, Outcome, usage};
use crate::array::Array;
use crate::data::{self, Format, Named};
use crate::diagnostic::Diagnostic;
use crate::error::Error;
use crate::loss::Loss;
use std::io::Read;

/// All arrays of all files; two with one name that the loss reads are a mistake.
pub(super) fn load(flag: &str, files: &[String], loss: &Loss) -> Result<Named, Failure> {
    let mut all: Named = vec![];
    let mut origins: Vec<String> = vec![];
    let needed = |name: &str| {
        loss.program()
            .inputs
            .iter()
            .any(|&t| *loss.program().get(t).name == *name)
    };
    for argument in files {
        let (name, file) = match argument.split_once('=') {
            Some((name, file)) if !std::path::Path::new(argument).exists() => (Some(name), file),
            _ => (None, argument.as_str()),
        };
        let (format, bytes) = contents(file)?;
        let shown = if file == "-" { "standard input" } else { file };
        let mut arrays = data::read_needed(shown, format, &bytes, &needed).map_err(Error::plain)?;
        match (format, name) {
            (Format::Npy, Some(name)) => arrays[0].0 = name.into(),
            (Format::Npy, None) => {
                let error = Diagnostic::data(format!("`{shown}` holds an array without a name"));
                return Err(Error::plain(error.help(format!("write `{flag} NAME={file}`"))).into());
            }
            (_, Some(name)) => {
                return Err(usage(format!(
                    "`{name}={file}`: the arrays in `{shown}` have their own names"
                )));
            }
            (_, None) => {}
        }
        for (name, array) in arrays {
            if format == Format::Csv {
                one_axis(loss, &name, file)?;
            }
            let other = all.iter().position(|(n, _)| *n == name);
            if let Some(k) = other.filter(|_| needed(&name)) {
                return Err(twice(&name, &origins[k], shown, flag));
            }
            all.push((name, array));
            origins.push(shown.to_string());
        }
    }
    Ok(all)
}

/// An array that two files hold, or one file that is given twice.
fn twice(name: &str, first: &str, second: &str, flag: &str) -> Failure {
    let title = if first == second {
        format!("`{first}` is given twice with `{flag}`: two arrays are called `{name}`")
    } else {
        format!("`{name}` is in `{first}` and in `{second}`")
    };
    let error = Diagnostic::data(title).help("take one of them away, or give it another name");
    Error::plain(error).into()
}

/// The bytes of a file, or of standard input, and what they are by its name or, without one, by their look.
fn contents(file: &str) -> Result<(Format, Vec<u8>), Failure> {
    if file == "-" {
        let mut bytes = vec![];
        let read = std::io::stdin().read_to_end(&mut bytes);
        read.map_err(|e| usage(format!("cannot read standard input: {e}")))?;
        return Ok((Format::of_bytes(&bytes), bytes));
    }
    let Some(format) = Format::of(file) else {
        return Err(usage(format!(
            "`{file}` is neither .npz, .npy, .json nor .csv"
        )));
    };
    let bytes = std::fs::read(file).map_err(|e| usage(format!("cannot read `{file}`: {e}")))?;
    Ok((format, bytes))
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
