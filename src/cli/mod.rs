//! The command line: reads files, calls the library, prints.
//!
//! Results go to stdout, words for people to stderr. Nothing here knows what a loss means.

mod args;
mod check;
mod compile;
mod eval;
mod files;
mod load;
mod output;
mod results;
mod test;

use crate::error::Error;
use crate::loss::Loss;
use crate::spec::Spec;
use crate::stack::with_stack;
use args::{Cli, Command};
use clap::Parser;
pub(crate) use output::Output;
use std::io::Read;
use std::process::ExitCode;

/// How a command ended, other than well.
pub(crate) enum Failure {
    /// An error to be shown.
    Error(Box<Error>),
    /// All was said already.
    Code(u8),
}

impl From<Error> for Failure {
    fn from(e: Error) -> Failure {
        Failure::Error(Box::new(e))
    }
}

pub(crate) type Outcome = Result<(), Failure>;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut out = Output::new(cli.color);
    let outcome = with_stack(|| match &cli.command {
        Command::Compile(a) => compile::run(a, &mut out),
        Command::Eval(a) => eval::run(a, &mut out),
        Command::Grad(a) => compile::grad(a, &mut out),
        Command::Check(a) => check::run(a, &mut out),
        Command::Test(a) => test::run(a, &mut out),
        Command::List(_) => files::list(&mut out),
        Command::Fmt(a) => files::format(a, &mut out),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Code(code)) => ExitCode::from(code),
        Err(Failure::Error(e)) => {
            out.error(&e);
            ExitCode::from(e.exit_code())
        }
    }
}

/// Opens a SPEC argument and shows its warnings.
fn open(spec: &str, out: &mut Output) -> Result<Spec, Failure> {
    let spec = if spec == "-" {
        let mut bytes = vec![];
        let read = std::io::stdin().read_to_end(&mut bytes);
        read.map_err(|e| usage(format!("cannot read standard input: {e}")))?;
        let text = crate::parse::decode("standard input", bytes).map_err(Error::plain)?;
        Spec::parse("<stdin>", &text)?
    } else {
        Spec::open(spec)?
    };
    for warning in spec.warnings() {
        out.diagnostic(warning, spec.sources());
    }
    Ok(spec)
}

/// Derives a loss, with the reduction that the command asks for.
fn derive(spec: &Spec, rows: &args::Rows) -> Result<Loss, Error> {
    let loss = spec.derive()?;
    if rows.reduction.is_none() && !rows.weighted {
        return Ok(loss);
    }
    loss.reduced(rows.reduction.map(Into::into), rows.weighted)
}

/// An error in usage or files.
fn usage(title: impl Into<String>) -> Failure {
    Error::plain(crate::diagnostic::Diagnostic::data(title)).into()
}

/// The specs that arguments name: a directory stands for the `.loss` files in it, in order of their names.
fn specs(arguments: &[String]) -> Result<Vec<String>, Failure> {
    let mut all = vec![];
    for argument in arguments {
        if !std::path::Path::new(argument).is_dir() {
            all.push(argument.clone());
            continue;
        }
        let entries = std::fs::read_dir(argument)
            .map_err(|e| usage(format!("cannot read `{argument}`: {e}")))?;
        let mut names: Vec<String> = entries
            .filter_map(|e| e.ok()?.path().to_str().map(str::to_string))
            .filter(|p| p.ends_with(".loss"))
            .collect();
        if names.is_empty() {
            return Err(usage(format!("there is no .loss file in `{argument}`")));
        }
        names.sort();
        all.append(&mut names);
    }
    Ok(all)
}
