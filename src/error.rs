//! The one error type of the public interface.

use crate::diagnostic::{Class, Diagnostic, Severity, Sources};
use crate::render::render;
use std::sync::Arc;

/// What went wrong: one or more diagnostics, with the texts that they point into.
///
/// `Display` renders them as the command line does, without colour.
#[derive(Debug, Clone)]
pub struct Error {
    diagnostics: Vec<Diagnostic>,
    sources: Arc<Sources>,
}

impl Error {
    pub(crate) fn new(diagnostics: Vec<Diagnostic>, sources: Arc<Sources>) -> Error {
        Error {
            diagnostics,
            sources,
        }
    }

    /// An error that points into no text.
    pub(crate) fn plain(diagnostic: Diagnostic) -> Error {
        Error {
            diagnostics: vec![diagnostic],
            sources: Arc::default(),
        }
    }

    /// All that was found, in the order of the source.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// The texts that the diagnostics point into.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// The text for a person, with carets, in colour or not.
    pub fn render(&self, color: bool) -> String {
        let all: Vec<String> = self
            .diagnostics
            .iter()
            .map(|d| render(d, &self.sources, color))
            .collect();
        all.join("\n")
    }

    /// What the command line exits with: 1 for a wrong spec, 2 for usage, files and data, 101 for a bug of losscc.
    pub fn exit_code(&self) -> u8 {
        let errors = self
            .diagnostics
            .iter()
            .filter(|d| d.severity == Severity::Error);
        errors.map(|d| code(d.class)).max().unwrap_or(1)
    }
}

fn code(class: Class) -> u8 {
    match class {
        Class::Spec => 1,
        Class::Data => 2,
        Class::Bug => 101,
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.render(false).trim_end())
    }
}

impl std::error::Error for Error {}
