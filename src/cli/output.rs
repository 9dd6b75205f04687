//! Where words go.

use super::args::Color;
use crate::diagnostic::{Diagnostic, Sources};
use crate::error::Error;
use crate::render::render;
use std::io::{self, IsTerminal, Write};

/// Standard output and standard error.
pub(crate) struct Output {
    color: bool,
}

impl Output {
    pub(crate) fn new(color: Color) -> Output {
        let color = match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => {
                io::stderr().is_terminal()
                    && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
            }
        };
        Output { color }
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
