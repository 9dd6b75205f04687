//! `losscc check`.

use super::args::Check;
use super::{Failure, Outcome, Output, derive, open, specs};
use crate::check;
use crate::diagnostic::{Diagnostic, Severity};
use crate::error::Error;
use crate::{lower, modules};
use std::sync::Arc;

/// Checks each spec; all are checked even if one is wrong.
pub(crate) fn run(args: &Check, out: &mut Output) -> Outcome {
    let specs = specs(&args.specs)?;
    let (mut failed, mut code) = (0, 0);
    for name in &specs {
        match one(name, args, out) {
            Ok(line) => out.print(&format!("{line}\n")),
            Err(Failure::Code(c)) => {
                failed += 1;
                code = code.max(c);
            }
            Err(Failure::Error(e)) => {
                out.error(&e);
                failed += 1;
                code = code.max(e.exit_code());
            }
        }
    }
    if specs.len() > 1 {
        out.say(&format!("{} checked, {failed} failed", specs.len()));
    }
    if code > 0 {
        Err(Failure::Code(code))
    } else {
        Ok(())
    }
}

/// Checks a file without a loss, a library of functions; `None` for one with a loss.
fn library(name: &str) -> Result<Option<String>, Failure> {
    let read = |path: &std::path::Path| std::fs::read(path);
    let Ok(modules) = modules::load(name, &read as &dyn modules::Files) else {
        return Ok(None);
    };
    let file = &modules.root().ast;
    let count = file.functions.len();
    if file.loss.is_some() || count == 0 {
        return Ok(None);
    }
    lower::check_functions(&modules, modules.root)
        .map_err(|d| Error::new(d, Arc::new(modules.sources.clone())))?;
    let plural = if count == 1 { "" } else { "s" };
    Ok(Some(format!("{count} function{plural}")))
}

fn one(name: &str, args: &Check, out: &mut Output) -> Result<String, Failure> {
    if let Some(functions) = library(name)? {
        return Ok(format!("{name}: ok; a library of {functions}"));
    }
    let spec = open(name, out)?;
    let loss = derive(&spec, &args.rows)?;
    for rewrite in loss.rewrites() {
        let rule = rewrite.rule.replace('_', " ");
        if args.explain {
            let formula = rewrite.span.map_or("", |s| spec.sources().text(s));
            let formula = formula.split_whitespace().collect::<Vec<_>>().join(" ");
            out.print(&format!(
                "{}: made stable, {rule}: {formula}\n",
                spec.name()
            ));
        } else if let Some(span) = rewrite.span {
            let mut d = Diagnostic::warning("made stable for you: nothing to change");
            d.severity = Severity::Note;
            out.diagnostic(&d.at(span, format!("by the rule `{rule}`")), spec.sources());
        }
    }
    if loss.has_zero_gradient() {
        let d = Diagnostic::warning(format!(
            "the gradient of `{}` is zero everywhere",
            spec.name()
        ));
        out.diagnostic(&d, spec.sources());
    }
    let report = match check::check(loss.program(), 1) {
        Ok(report) => report,
        Err(d) => {
            out.diagnostic(&d, spec.sources());
            if d.severity == Severity::Error {
                return Err(Failure::Code(1));
            }
            return Ok(format!(
                "{}: types are fine; the gradient was not compared",
                spec.name()
            ));
        }
    };
    for d in report.findings.iter().chain(&report.notes) {
        out.diagnostic(d, spec.sources());
    }
    if !report.findings.is_empty() {
        return Err(Failure::Code(1));
    }
    Ok(format!("{}: ok; {}", spec.name(), summary(&report)))
}

/// What a check without findings found.
fn summary(report: &check::Report) -> String {
    if report.agreeing + report.skipped == 0 {
        return "there is no gradient to compare".into();
    }
    let mut text = format!("{} entries of the gradient", report.agreeing);
    if report.second > 0 {
        text.push_str(&format!(" and {} of the Hessian's diagonal", report.second));
    }
    text.push_str(" agree with finite differences");
    if report.skipped > 0 {
        text.push_str(&format!(", {} have none (kinks)", report.skipped));
    }
    match report.range {
        Some((least, _)) if least >= 0.0 => text.push_str("; the value was never negative"),
        Some((_, largest)) if largest <= 0.0 => text.push_str("; the value was never positive"),
        Some(_) => text.push_str("; the value had both signs"),
        None => {}
    }
    text
}
