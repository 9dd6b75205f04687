//! The formatter: one layout for every file. It changes spaces, line ends and commas that end a list, nothing else:
//! tokens and comments keep their text and order, and what would differ in them is refused.

mod bindings;
mod declarations;
mod expr;
mod layout;
mod signature;
mod source;

use crate::ast::{File, FileId, Span};
use crate::diagnostic::{Class, Diagnostic, Sources};
use crate::parse;
use crate::stack::with_stack;
use layout::Doc;
use source::Source;

/// How often a text is formatted at most until it no longer changes. A comment in an odd place moves to the end of its
/// line first, and what stands around it is laid out again.
const ROUNDS: usize = 4;

/// The canonical text of a file.
///
/// Errors: what does not parse is not formatted.
pub fn format(sources: &Sources, file: FileId) -> Result<String, Vec<Diagnostic>> {
    let mut text = sources
        .get(file)
        .text
        .trim_start_matches('\u{FEFF}')
        .replace("\r\n", "\n");
    let tree = parse::parse(sources, file)?;
    let mut formatted = with_stack(|| once(sources, &tree));
    for _ in 1..ROUNDS {
        if formatted == text {
            break;
        }
        text = formatted;
        let mut sources = Sources::default();
        let again = sources.add("formatted text", &*text);
        let tree = parse::parse(&sources, again).map_err(|_| vec![changed()])?;
        formatted = with_stack(|| once(&sources, &tree));
    }
    let original = &*sources.get(file).text;
    let same = source::meaning(original) == source::meaning(&formatted)
        && source::comments(original) == source::comments(&formatted);
    if same {
        Ok(formatted)
    } else {
        Err(vec![changed()])
    }
}

/// The canonical form of a text.
///
/// Errors: those of [`format()`].
pub fn format_text(text: &str) -> Result<String, Vec<Diagnostic>> {
    let mut sources = Sources::default();
    let file = sources.add("text", text);
    format(&sources, file)
}

/// The formatter would have changed more than spaces.
fn changed() -> Diagnostic {
    Diagnostic {
        class: Class::Bug,
        ..Diagnostic::error("the formatter would have changed what the file says; please report it")
    }
}

fn once(sources: &Sources, tree: &File) -> String {
    let text = &*sources.get(tree.id).text;
    let source = Source::new(text);
    let mut formatter = Formatter {
        text,
        source,
        out: String::new(),
        pending: vec![],
    };
    formatter.file(tree);
    formatter.out
}

struct Formatter<'a> {
    text: &'a str,
    source: Source<'a>,
    out: String,
    /// Comments that wait for the end of the line.
    pending: Vec<String>,
}

impl<'a> Formatter<'a> {
    fn text(&self, span: Span) -> &'a str {
        self.text
            .get(span.start as usize..span.end as usize)
            .unwrap_or("")
    }

    /// Begins a line.
    fn indent(&mut self, columns: usize) {
        self.out.extend(std::iter::repeat_n(' ', columns));
    }

    /// Writes a layout behind what was written; its further lines begin at `indent`.
    fn write(&mut self, doc: &Doc, indent: usize) {
        let column = self.column();
        let text = doc.render(column, indent, &mut self.pending);
        self.out.push_str(&text);
    }

    /// Ends the line, with the comments that belong behind it.
    fn end_line(&mut self) {
        self.pending.extend(self.source.trailing());
        for comment in std::mem::take(&mut self.pending) {
            self.out.push_str("  ");
            self.out.push_str(&comment);
        }
        self.out.push('\n');
    }

    /// How many characters stand on the line that is written.
    fn column(&self) -> usize {
        self.out[self.out.rfind('\n').map_or(0, |end| end + 1)..]
            .chars()
            .count()
    }

    /// Writes the comments and documentation before the next token, each on a line. Empty lines between them stay,
    /// one at most; the first follows no empty line of its own.
    fn remarks(&mut self, columns: usize) {
        let remarks = self.source.remarks();
        let any = !remarks.is_empty();
        for (i, remark) in remarks.into_iter().enumerate() {
            if i > 0 && remark.after_blank {
                self.out.push('\n');
            }
            self.indent(columns);
            self.out.push_str(&remark.text);
            self.out.push('\n');
        }
        if any && self.source.after_blank() && !self.source.peek().is_empty() {
            self.out.push('\n');
        }
    }
}
