//! What losscc says to a person: one type for every error, warning and note, whoever finds it.

use crate::ast::{FileId, Span};
use std::sync::Arc;

/// The texts that spans point into.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    files: Vec<Source>,
}

/// One file, by the name that messages show.
#[derive(Debug, Clone)]
pub struct Source {
    pub name: Arc<str>,
    pub text: Arc<str>,
}

impl Sources {
    pub fn add(&mut self, name: impl Into<Arc<str>>, text: impl Into<Arc<str>>) -> FileId {
        self.files.push(Source {
            name: name.into(),
            text: text.into(),
        });
        FileId(self.files.len() as u32 - 1)
    }

    pub fn get(&self, id: FileId) -> &Source {
        &self.files[id.0 as usize]
    }

    pub fn text(&self, span: Span) -> &str {
        &self.get(span.file).text[span.start as usize..span.end as usize]
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Error,
    Warning,
    Note,
}

/// Whose mistake it is; decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The spec is wrong, or a check, test or example failed: exit code 1.
    Spec,
    /// Usage, files, data: exit code 2.
    Data,
    /// A bug of losscc: exit code 101.
    Bug,
}

/// One message.
#[derive(Debug, Clone, PartialEq)]
pub struct Diagnostic {
    pub severity: Severity,
    pub class: Class,
    /// One line, without a full stop: what is wrong, in the words of the language.
    pub title: String,
    /// Places, the main one first; a text may be empty. Without a place the message is about no file's text.
    pub labels: Vec<(Span, String)>,
    /// What else helps to understand it, a line each.
    pub notes: Vec<String>,
    /// What to do, a line each.
    pub help: Vec<String>,
}

impl Diagnostic {
    pub fn error(title: impl Into<String>) -> Diagnostic {
        Diagnostic {
            severity: Severity::Error,
            class: Class::Spec,
            title: title.into(),
            labels: vec![],
            notes: vec![],
            help: vec![],
        }
    }

    pub fn warning(title: impl Into<String>) -> Diagnostic {
        Diagnostic {
            severity: Severity::Warning,
            ..Diagnostic::error(title)
        }
    }

    /// An error in usage, files or data.
    pub fn data(title: impl Into<String>) -> Diagnostic {
        Diagnostic {
            class: Class::Data,
            ..Diagnostic::error(title)
        }
    }

    pub fn at(mut self, span: Span, label: impl Into<String>) -> Diagnostic {
        self.labels.push((span, label.into()));
        self
    }

    pub fn note(mut self, note: impl Into<String>) -> Diagnostic {
        self.notes.push(note.into());
        self
    }

    pub fn help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help.push(help.into());
        self
    }
}
