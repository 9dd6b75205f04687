//! Diagnostics as the text that a person sees.

use crate::ast::{FileId, Span};
use crate::diagnostic::{Diagnostic, Severity, Sources};
use annotate_snippets::{
    Annotation, AnnotationKind, Group, Level, Renderer, Snippet, normalize_untrusted_str,
};
use std::ops::Range;

/// How many characters of a line are shown around a place, when the line is longer.
const WIDTH: usize = 120;

/// One diagnostic with its places, notes and help, in several lines; the last one ends without a line end.
pub fn render(diagnostic: &Diagnostic, sources: &Sources, color: bool) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Note => Level::NOTE,
    };
    let mut group = Group::with_title(level.primary_title(&*diagnostic.title));
    for (file, labels) in by_file(diagnostic) {
        group = group.element(snippet(file, &labels, sources));
    }
    let lines =
        |texts: &[String]| -> Vec<String> { texts.iter().map(|text| printable(text)).collect() };
    group = group.elements(
        lines(&diagnostic.notes)
            .into_iter()
            .map(|text| Level::NOTE.message(text)),
    );
    group = group.elements(
        lines(&diagnostic.help)
            .into_iter()
            .map(|text| Level::HELP.message(text)),
    );
    let renderer = if color {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    let text = renderer.term_width(WIDTH).render(&[group]);
    // Lines that show nothing of an empty line of the source end in a space.
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n")
}

/// A text without characters that would confuse a terminal, line ends apart.
fn printable(text: &str) -> String {
    text.split('\n')
        .map(normalize_untrusted_str)
        .collect::<Vec<_>>()
        .join("\n")
}

struct Label<'a> {
    span: Span,
    text: &'a str,
    main: bool,
}

/// The labels of each file, the file of the main label first.
fn by_file(diagnostic: &Diagnostic) -> Vec<(FileId, Vec<Label<'_>>)> {
    let mut files: Vec<(FileId, Vec<Label>)> = vec![];
    for (i, (span, text)) in diagnostic.labels.iter().enumerate() {
        let label = Label {
            span: *span,
            text,
            main: i == 0,
        };
        match files.iter_mut().find(|(file, _)| *file == span.file) {
            Some((_, labels)) => labels.push(label),
            None => files.push((span.file, vec![label])),
        }
    }
    files
}

/// The lines from the first label to the last, without those between that say nothing.
fn snippet<'a>(
    file: FileId,
    labels: &[Label<'a>],
    sources: &'a Sources,
) -> Snippet<'a, Annotation<'a>> {
    let source = sources.get(file);
    let text = &*source.text;
    let ranges: Vec<Range<usize>> = labels
        .iter()
        .map(|label| within(text, label.span))
        .collect();
    let first = ranges.iter().map(|range| range.start).min().unwrap_or(0);
    let last = ranges.iter().map(|range| range.end).max().unwrap_or(0);
    let start = text[..first].rfind('\n').map_or(0, |end| end + 1);
    let end = text[last..].find('\n').map_or(text.len(), |end| last + end);
    let line = text[..start].matches('\n').count() + 1;
    let annotations = labels.iter().zip(ranges).map(|(label, range)| {
        let kind = if label.main {
            AnnotationKind::Primary
        } else {
            AnnotationKind::Context
        };
        let annotation = kind.span(range.start - start..range.end - start);
        if label.text.is_empty() {
            annotation
        } else {
            annotation.label(label.text)
        }
    });
    Snippet::source(text[start..end].trim_end_matches('\r'))
        .path(&*source.name)
        .line_start(line)
        .annotations(annotations)
}

/// A span as a range of the text, whatever it says. A span of several lines is cut to the first, since what is wrong
/// with a whole declaration is best read at its beginning.
fn within(text: &str, span: Span) -> Range<usize> {
    let start = text.floor_char_boundary(span.start as usize);
    let end = text.ceil_char_boundary(span.end as usize).max(start);
    match text[start..end].find(['\r', '\n']) {
        Some(line) if line > 0 => start..start + line,
        _ => start..end,
    }
}
