//! `losscc test`: the examples.

use super::args::Test;
use super::{Failure, Outcome, Output, open, specs};
use crate::diagnostic::Diagnostic;

/// Runs the examples of each spec; all run even if one fails.
pub(crate) fn run(args: &Test, out: &mut Output) -> Outcome {
    let (mut passed, mut failed, mut code) = (0, 0, 0);
    for name in specs(&args.specs)? {
        match one(&name, out) {
            Ok((p, f)) => {
                passed += p;
                failed += f;
                code = code.max(u8::from(f > 0));
            }
            Err(Failure::Code(c)) => code = code.max(c),
            Err(Failure::Error(e)) => {
                out.error(&e);
                failed += 1;
                code = code.max(e.exit_code());
            }
        }
    }
    out.print(&format!("{passed} passed, {failed} failed\n"));
    if code > 0 {
        Err(Failure::Code(code))
    } else {
        Ok(())
    }
}

fn one(name: &str, out: &mut Output) -> Result<(usize, usize), Failure> {
    let spec = open(name, out)?;
    let examples = spec.run_examples()?;
    let mut failed = 0;
    for example in examples.iter().filter(|e| !e.passed()) {
        failed += 1;
        let d = Diagnostic::error(format!("this example of `{}` is wrong", spec.name()))
            .at(example.span, format!("it gives {}", example.value))
            .note(format!(
                "the right side is {}; they may differ by 1e-9, relatively",
                example.expected
            ));
        out.diagnostic(&d, spec.sources());
    }
    Ok((examples.len() - failed, failed))
}
