//! Layout of text with places where a line may end, after Wadler's "A prettier printer": a group is written on one
//! line if it fits, otherwise its own line ends are taken, and the groups inside decide for themselves.

/// How long a line may be.
pub const WIDTH: usize = 110;

/// A piece of text with alternatives.
#[derive(Debug, Clone)]
pub struct Doc {
    kind: Kind,
    /// It holds a comment, so that what surrounds it cannot stand on one line.
    breaks: bool,
}

#[derive(Debug, Clone)]
enum Kind {
    Text(String),
    /// A space, or a line end.
    Line,
    /// Nothing, or a line end.
    SoftLine,
    /// Nothing, or this text where the group is broken.
    IfBroken(&'static str),
    Concat(Vec<Doc>),
    Group(Box<Doc>),
    /// Lines inside begin so many columns further right.
    Nest(usize, Box<Doc>),
    /// Lines inside begin so many columns left of where this begins.
    Hang(usize, Box<Doc>),
    /// Pieces with a space between them, or a line end where the next one does not fit.
    Fill(Vec<Doc>),
    /// A comment that goes to the end of its line.
    Suffix(String),
    /// A comment that stood on a line of its own.
    OwnLine(String),
}

pub fn text(text: impl Into<String>) -> Doc {
    Doc {
        kind: Kind::Text(text.into()),
        breaks: false,
    }
}

pub fn line() -> Doc {
    Doc {
        kind: Kind::Line,
        breaks: false,
    }
}

pub fn soft_line() -> Doc {
    Doc {
        kind: Kind::SoftLine,
        breaks: false,
    }
}

pub fn if_broken(text: &'static str) -> Doc {
    Doc {
        kind: Kind::IfBroken(text),
        breaks: false,
    }
}

pub fn concat(docs: Vec<Doc>) -> Doc {
    let breaks = docs.iter().any(|doc| doc.breaks);
    Doc {
        kind: Kind::Concat(docs),
        breaks,
    }
}

pub fn group(doc: Doc) -> Doc {
    Doc {
        breaks: doc.breaks,
        kind: Kind::Group(Box::new(doc)),
    }
}

pub fn nest(columns: usize, doc: Doc) -> Doc {
    Doc {
        breaks: doc.breaks,
        kind: Kind::Nest(columns, Box::new(doc)),
    }
}

pub fn hang(columns: usize, doc: Doc) -> Doc {
    Doc {
        breaks: doc.breaks,
        kind: Kind::Hang(columns, Box::new(doc)),
    }
}

pub fn fill(docs: Vec<Doc>) -> Doc {
    let breaks = docs.iter().any(|doc| doc.breaks);
    Doc {
        kind: Kind::Fill(docs),
        breaks,
    }
}

pub fn suffix(comment: &str) -> Doc {
    Doc {
        kind: Kind::Suffix(comment.to_owned()),
        breaks: true,
    }
}

pub fn own_line(comment: &str) -> Doc {
    Doc {
        kind: Kind::OwnLine(comment.to_owned()),
        breaks: true,
    }
}

impl Doc {
    /// Whether it holds a comment.
    pub fn breaks(&self) -> bool {
        self.breaks
    }

    /// The text on one line; none if it holds a comment.
    pub fn flat(&self) -> Option<String> {
        let mut out = String::new();
        self.write_flat(&mut out).then_some(out)
    }

    fn write_flat(&self, out: &mut String) -> bool {
        match &self.kind {
            Kind::Text(text) => out.push_str(text),
            Kind::Line => out.push(' '),
            Kind::SoftLine | Kind::IfBroken(_) => {}
            Kind::Concat(docs) => return docs.iter().all(|doc| doc.write_flat(out)),
            Kind::Group(doc) | Kind::Nest(_, doc) | Kind::Hang(_, doc) => {
                return doc.write_flat(out);
            }
            Kind::Fill(docs) => {
                return docs.iter().enumerate().all(|(i, doc)| {
                    out.push_str(if i > 0 { " " } else { "" });
                    doc.write_flat(out)
                });
            }
            Kind::Suffix(_) | Kind::OwnLine(_) => return false,
        }
        true
    }

    /// The text from a column on; lines after the first begin at `indent`. `suffixes` are the comments that wait for the
    /// end of the line, before and after.
    pub fn render(&self, column: usize, indent: usize, suffixes: &mut Vec<String>) -> String {
        let mut writer = Writer {
            out: String::new(),
            column,
            suffixes: std::mem::take(suffixes),
            blank: false,
        };
        let mut todo = vec![Step {
            doc: self,
            indent,
            flat: false,
        }];
        while let Some(step) = todo.pop() {
            writer.step(step, &mut todo);
        }
        *suffixes = writer.suffixes;
        writer.out
    }
}

#[derive(Clone, Copy)]
struct Step<'a> {
    doc: &'a Doc,
    indent: usize,
    flat: bool,
}

struct Writer {
    out: String,
    column: usize,
    /// Comments that wait for the end of the line.
    suffixes: Vec<String>,
    /// Nothing but indentation stands on the line.
    blank: bool,
}

impl Writer {
    fn put(&mut self, text: &str) {
        self.out.push_str(text);
        self.column += text.chars().count();
        self.blank &= text.is_empty();
    }

    fn end_suffixes(&mut self) {
        for comment in std::mem::take(&mut self.suffixes) {
            self.out.push_str("  ");
            self.out.push_str(&comment);
        }
    }

    fn end_line(&mut self, indent: usize) {
        self.out.truncate(self.out.trim_end_matches(' ').len());
        self.end_suffixes();
        self.out.push('\n');
        self.out.extend(std::iter::repeat_n(' ', indent));
        self.column = indent;
        self.blank = true;
    }

    fn step<'a>(&mut self, step: Step<'a>, todo: &mut Vec<Step<'a>>) {
        let Step { doc, indent, flat } = step;
        match &doc.kind {
            Kind::Text(text) => self.put(text),
            Kind::Line if flat => self.put(" "),
            Kind::SoftLine | Kind::IfBroken(_) if flat => {}
            Kind::Line | Kind::SoftLine => self.end_line(indent),
            Kind::IfBroken(text) => self.put(text),
            Kind::Concat(docs) => todo.extend(docs.iter().rev().map(|doc| Step { doc, ..step })),
            Kind::Nest(columns, doc) => todo.push(Step {
                doc,
                indent: indent + columns,
                flat,
            }),
            Kind::Hang(columns, doc) => {
                todo.push(Step {
                    doc,
                    indent: self.column.saturating_sub(*columns),
                    flat,
                });
            }
            Kind::Group(doc) => {
                let flat = flat || (!doc.breaks && self.fits(doc, todo));
                todo.push(Step { doc, indent, flat });
            }
            Kind::Fill(docs) => self.fill(docs, step),
            Kind::Suffix(comment) => self.suffixes.push(comment.clone()),
            Kind::OwnLine(comment) if self.blank && self.suffixes.is_empty() => {
                self.put(comment);
                self.end_line(indent);
            }
            Kind::OwnLine(comment) => self.suffixes.push(comment.clone()),
        }
    }

    /// Writes the pieces of a fill; each is laid out on its own.
    fn fill(&mut self, docs: &[Doc], step: Step) {
        for (i, doc) in docs.iter().enumerate() {
            if i > 0 {
                // A comment ends its line.
                let here = self.suffixes.is_empty() && self.column + 1 + flat_width(doc) <= WIDTH;
                if step.flat || here {
                    self.put(" ")
                } else {
                    self.end_line(step.indent)
                }
            }
            let mut todo = vec![Step { doc, ..step }];
            while let Some(step) = todo.pop() {
                self.step(step, &mut todo);
            }
        }
    }

    /// Whether `doc` on one line, and what follows it up to the next possible line end, stay within the width.
    fn fits<'a>(&self, doc: &'a Doc, todo: &[Step<'a>]) -> bool {
        let mut left = WIDTH.saturating_sub(self.column);
        let mut steps = vec![Step {
            doc,
            indent: 0,
            flat: true,
        }];
        let mut outer = todo.iter().rev();
        loop {
            let Some(Step { doc, flat, .. }) = steps.pop().or_else(|| outer.next().copied()) else {
                return true;
            };
            let width = match &doc.kind {
                Kind::Text(text) => text.chars().count(),
                Kind::Line if flat => 1,
                Kind::Line => return true,
                Kind::SoftLine if !flat => return true,
                Kind::SoftLine | Kind::IfBroken(_) | Kind::Suffix(_) => 0,
                Kind::OwnLine(_) => return true,
                Kind::Concat(docs) | Kind::Fill(docs) => {
                    steps.extend(docs.iter().rev().map(|doc| Step {
                        doc,
                        indent: 0,
                        flat,
                    }));
                    if matches!(doc.kind, Kind::Fill(_)) {
                        docs.len().saturating_sub(1)
                    } else {
                        0
                    }
                }
                Kind::Group(doc) | Kind::Nest(_, doc) | Kind::Hang(_, doc) => {
                    // A group that follows can be broken, so only what stands before its first line end must fit.
                    let flat = flat && !doc.breaks;
                    steps.push(Step {
                        doc,
                        indent: 0,
                        flat,
                    });
                    0
                }
            };
            if width > left {
                return false;
            }
            left -= width;
        }
    }
}

/// The width of a layout on one line, comments apart.
fn flat_width(doc: &Doc) -> usize {
    match &doc.kind {
        Kind::Text(text) => text.chars().count(),
        Kind::Line => 1,
        Kind::SoftLine | Kind::IfBroken(_) | Kind::Suffix(_) | Kind::OwnLine(_) => 0,
        Kind::Concat(docs) => docs.iter().map(flat_width).sum(),
        Kind::Fill(docs) => docs
            .iter()
            .map(|doc| flat_width(doc) + 1)
            .sum::<usize>()
            .saturating_sub(1),
        Kind::Group(doc) | Kind::Nest(_, doc) | Kind::Hang(_, doc) => flat_width(doc),
    }
}
