//! Signatures.

use super::Formatter;
use super::layout::{Doc, WIDTH, concat, text};
use crate::ast::*;

/// One input or hyperparameter.
struct Item {
    doc: Doc,
    /// Documentation or comments stand before it.
    remarks: bool,
    part: Part,
}

#[derive(Clone, Copy, PartialEq)]
enum Part {
    Inputs,
    Given,
    Options,
}

impl Formatter<'_> {
    /// The signature behind a name that ends at a column: on one line, or the hyperparameters on lines of their own, or
    /// everything.
    pub fn signature(&mut self, signature: &Signature, column: usize) -> String {
        let place = self.source.place();
        let (items, odd) = self.items(signature);
        // ` =` follows.
        let room = WIDTH.saturating_sub(column + 2);
        let documented = |part: &[Part]| {
            items
                .iter()
                .any(|item| part.contains(&item.part) && (item.remarks || item.doc.breaks()))
        };
        let all = [Part::Inputs, Part::Given, Part::Options];
        let flat = flat(&items, &all);
        let after = self.source.place();
        self.source.back_to(place);
        if !documented(&all) && !odd && flat.chars().count() + 2 <= room {
            self.source.back_to(after);
            return format!("({flat})");
        }
        let inputs = [Part::Inputs, Part::Given];
        let short = !signature.options.is_empty()
            && !documented(&inputs)
            && !odd
            && (!signature.inputs.is_empty() || !signature.given.is_empty())
            && self::flat(&items, &inputs).chars().count() + 2 <= room;
        self.lines(signature, short)
    }

    /// The items in order, and whether a comment stands before a parenthesis.
    fn items(&mut self, signature: &Signature) -> (Vec<Item>, bool) {
        let mut items = vec![];
        let open = self.source.token("(");
        for (i, input) in signature.inputs.iter().enumerate() {
            self.item(&mut items, i, Part::Inputs, |this| this.input(input));
        }
        for (i, input) in signature.given.iter().enumerate() {
            self.item(&mut items, i, Part::Given, |this| this.input(input));
        }
        for (i, option) in signature.options.iter().enumerate() {
            self.item(&mut items, i, Part::Options, |this| this.option(option));
        }
        let close = self.source.token(")");
        (items, open.breaks() || close.breaks())
    }

    fn item(
        &mut self,
        items: &mut Vec<Item>,
        i: usize,
        part: Part,
        write: impl FnOnce(&mut Self) -> Doc,
    ) {
        let mark = match part {
            _ if i > 0 => ",",
            Part::Inputs => "",
            Part::Given => "|",
            Part::Options => ";",
        };
        let mark_remark = !mark.is_empty() && self.source.token(mark).breaks();
        let remarks = !self.source.remarks().is_empty();
        let doc = write(self);
        items.push(Item {
            doc,
            remarks: remarks || mark_remark,
            part,
        });
    }

    /// The signature over several lines; with `short` only the hyperparameters have lines of their own.
    fn lines(&mut self, signature: &Signature, short: bool) -> String {
        let outer = std::mem::take(&mut self.out);
        self.open("(", short);
        for (i, input) in signature.inputs.iter().enumerate() {
            let last = i + 1 == signature.inputs.len();
            let doc = self.lead(short, Self::input, input);
            let ends = if !last {
                ","
            } else if signature.given.is_empty() && !signature.options.is_empty() {
                ";"
            } else {
                ""
            };
            self.write_item(doc, ends, short && !(last && ends == ";"), short && i > 0);
        }
        for (i, input) in signature.given.iter().enumerate() {
            let last = i + 1 == signature.given.len();
            if i == 0 {
                self.bar(short, signature.inputs.is_empty());
            }
            let doc = self.lead(short, Self::input, input);
            let ends = if !last {
                ","
            } else if signature.options.is_empty() {
                ""
            } else {
                ";"
            };
            self.write_item(doc, ends, short && !(last && ends == ";"), short && i > 0);
        }
        if signature.inputs.is_empty()
            && signature.given.is_empty()
            && !signature.options.is_empty()
        {
            let mark = self.source.token(";");
            self.write(&mark, 4);
            self.end_line();
        }
        for (i, option) in signature.options.iter().enumerate() {
            let ends = if i + 1 < signature.options.len() {
                ","
            } else {
                ""
            };
            let doc = self.lead(false, Self::option, option);
            self.write_item(doc, ends, false, false);
        }
        // The last item's line goes on with the parenthesis, behind comments of their own.
        let end = self.out.trim_end_matches('\n').len();
        let line_ends =
            self.out[self.out[..end].rfind('\n').map_or(0, |start| start + 1)..end].contains("//");
        if self.source.at_remark() {
            self.remarks(4);
            self.indent(2);
        } else if line_ends {
            self.indent(2);
        } else {
            self.out.truncate(end);
        }
        let close = self.source.token(")");
        self.write(&close, 4);
        std::mem::replace(&mut self.out, outer)
    }

    fn open(&mut self, mark: &str, short: bool) {
        let open = self.source.token(mark);
        self.write(&open, 4);
        if !short {
            self.end_line();
        }
    }

    /// `|` before the inputs that are given: behind the others, or at the beginning of a line.
    fn bar(&mut self, short: bool, first: bool) {
        if short {
            self.out.push_str(if first { "" } else { " " });
        } else {
            self.indent(2);
        }
        let bar = self.source.token("|");
        self.write(&bar, 4);
        self.out.push(' ');
    }

    /// The comments before an item and its layout. Behind `| ` the first comment stands on the same line.
    fn lead<T>(&mut self, short: bool, write: fn(&mut Self, &T) -> Doc, item: &T) -> Doc {
        if !short {
            let behind_bar = self.out.ends_with("| ");
            let mut remarks = String::new();
            std::mem::swap(&mut remarks, &mut self.out);
            self.remarks(4);
            std::mem::swap(&mut remarks, &mut self.out);
            let remarks = if behind_bar {
                remarks.trim_start()
            } else {
                &remarks
            };
            self.out.push_str(remarks);
            if !behind_bar || !remarks.is_empty() {
                self.indent(4);
            }
        }
        write(self, item)
    }

    /// Writes an item and the mark after it, and ends the line unless it goes on.
    fn write_item(&mut self, doc: Doc, ends: &str, goes_on: bool, follows: bool) {
        if follows {
            self.out.push(' ');
        }
        let mut docs = vec![doc];
        if !ends.is_empty() {
            docs.push(self.source.token(ends));
        }
        self.write(&concat(docs), 6);
        if !goes_on {
            self.end_line();
        }
    }

    /// `name: int[N, 4]`
    fn input(&mut self, input: &Input) -> Doc {
        let mut docs = vec![self.source.token(&input.name.text)];
        if let Some(shape) = &input.shape {
            docs.push(self.source.token(":"));
            docs.push(text(" "));
            if let Some(kind) = shape.kind {
                docs.push(self.source.token(kind_word(kind)));
            }
            docs.push(self.source.token("["));
            for (i, dim) in shape.dims.iter().enumerate() {
                if i > 0 {
                    docs.push(self.source.token(","));
                    docs.push(text(" "));
                }
                let dim = self.text(dim.span);
                docs.push(self.source.token(dim));
            }
            docs.push(self.source.token("]"));
        }
        concat(docs)
    }

    /// `name: int = 1 in [0, inf)`
    fn option(&mut self, option: &HyperParameter) -> Doc {
        let mut docs = vec![self.source.token(&option.name.text)];
        if let Some(kind) = option.kind {
            docs.push(self.source.token(":"));
            docs.push(text(" "));
            docs.push(self.source.token(kind_word(kind)));
        }
        if let Some(default) = &option.default {
            docs.push(text(" "));
            docs.push(self.source.token("="));
            docs.push(text(" "));
            docs.push(self.literal(default));
        }
        if let Some(domain) = &option.domain {
            docs.push(text(" "));
            docs.push(self.source.token("in"));
            docs.push(text(" "));
            docs.push(
                self.source
                    .token(if domain.low_included { "[" } else { "(" }),
            );
            docs.push(self.literal(&domain.low));
            docs.push(self.source.token(","));
            docs.push(text(" "));
            docs.push(self.literal(&domain.high));
            docs.push(
                self.source
                    .token(if domain.high_included { "]" } else { ")" }),
            );
        }
        concat(docs)
    }
}

fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Int => "int",
        Kind::Bool => "bool",
    }
}

/// The items of some parts on one line.
fn flat(items: &[Item], parts: &[Part]) -> String {
    let mut out = String::new();
    let mut before = None;
    for item in items.iter().filter(|item| parts.contains(&item.part)) {
        out.push_str(match (before, item.part) {
            (None, Part::Given) => "| ",
            (None, Part::Options) => "; ",
            (None, Part::Inputs) => "",
            (Some(before), part) if before == part => ", ",
            (Some(_), Part::Given) => " | ",
            (Some(_), _) => "; ",
        });
        out.push_str(&item.doc.flat().unwrap_or_default());
        before = Some(item.part);
    }
    out
}
