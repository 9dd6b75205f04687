//! Where words go.

use super::args::Color;
use crate::diagnostic::{Diagnostic, Sources};
use crate::error::Error;
use crate::render::render;
use std::ffi::OsStr;
use std::io::{self, IsTerminal, Write};

/// Standard output and standard error.
pub(crate) struct Output {
    color: bool,
}

impl Output {
    pub(crate) fn new(color: Color) -> Output {
        let no_color = std::env::var_os("NO_COLOR");
        Output {
            color: is_colored(color, io::stderr().is_terminal(), no_color.as_deref()),
        }
    }

    /// Writes to stdout. Whoever reads it may have enough and close it: then the process ends quietly.
    pub(crate) fn print(&mut self, text: &str) {
        let mut stdout = io::stdout().lock();
        if stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush())
            .is_err()
        {
            std::process::exit(0);
        }
    }

    /// Writes a line to stderr.
    pub(crate) fn say(&mut self, line: &str) {
        let _ = writeln!(io::stderr(), "{line}");
    }

    pub(crate) fn diagnostic(&mut self, diagnostic: &Diagnostic, sources: &Sources) {
        let _ = writeln!(
            io::stderr(),
            "{}",
            render(diagnostic, sources, self.color).trim_end()
        );
    }

    pub(crate) fn error(&mut self, error: &Error) {
        for diagnostic in error.diagnostics() {
            self.diagnostic(diagnostic, error.sources());
        }
    }
}

/// Whether messages are coloured: on a terminal, unless NO_COLOR is set to anything (<https://no-color.org>).
fn is_colored(color: Color, terminal: bool, no_color: Option<&OsStr>) -> bool {
    match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => terminal && no_color.is_none_or(OsStr::is_empty),
    }
}

#[cfg(test)]
mod tests {
    use super::{Color, is_colored};
    use std::ffi::OsStr;

    #[test]
    fn no_color_is_honoured() {
        let set = Some(OsStr::new("1"));
        assert!(is_colored(Color::Auto, true, None));
        assert!(is_colored(Color::Auto, true, Some(OsStr::new(""))));
        assert!(!is_colored(Color::Auto, true, set));
        assert!(!is_colored(Color::Auto, false, None));
        // What is asked for in so many words goes first.
        assert!(is_colored(Color::Always, false, set));
        assert!(!is_colored(Color::Never, true, None));
    }
}
