//! `where` and what stands in it.

use super::Formatter;
use super::expr::Place;
use super::layout::{Doc, WIDTH, concat, text};
use crate::ast::*;

/// How many spaces may stand before an `=` that is aligned with others.
const PADDING: usize = 12;

#[derive(Clone, Copy)]
enum Binding<'a> {
    Extent(&'a Extent),
    Definition(&'a Definition),
}

impl<'a> Binding<'a> {
    fn value(self) -> &'a Expr {
        match self {
            Binding::Extent(extent) => &extent.value,
            Binding::Definition(definition) => &definition.value,
        }
    }

    fn start(self) -> u32 {
        match self {
            Binding::Extent(extent) => extent.span.start,
            Binding::Definition(definition) => definition.span.start,
        }
    }
}

/// How one binding would be written if it stood alone.
struct Alone {
    /// Width of what stands before `=`.
    head: usize,
    /// How many lines it takes, none if the value does not begin behind `=`.
    lines: Option<usize>,
    after_blank: bool,
}

impl Formatter<'_> {
    /// `where` and one short definition on a line, or each definition on its own, with neighbouring `=` below each
    /// other.
    pub fn bindings(&mut self, bindings: &Bindings) {
        let extents = bindings.extents.iter().map(Binding::Extent);
        let mut all: Vec<Binding> = extents
            .chain(bindings.definitions.iter().map(Binding::Definition))
            .collect();
        all.sort_by_key(|binding| binding.start());
        if all.is_empty() {
            return;
        }
        self.remarks(2);
        self.indent(2);
        let keyword = self.source.token("where");
        self.write(&keyword, 2);
        if let [only] = all[..] {
            let place = self.source.place();
            if !self.source.at_remark() {
                let head = self.binding_head(only);
                let equals = self.source.token("=");
                let value = self.expr(only.value(), Place::Behind);
                let line = concat(vec![head, text(" "), equals, text(" "), value]).flat();
                if let Some(line) = line.filter(|line| 8 + line.chars().count() <= WIDTH) {
                    self.out.push(' ');
                    self.out.push_str(&line);
                    self.end_line();
                    return;
                }
            }
            self.source.back_to(place);
        }
        self.end_line();
        let widths = self.aligned(&all);
        for (i, (binding, width)) in all.iter().zip(widths).enumerate() {
            if i > 0 && self.source.after_blank() {
                self.out.push('\n');
            }
            self.remarks(4);
            self.indent(4);
            let head = self.binding_head(*binding);
            self.equation(head, width, binding.value(), 4);
            self.end_line();
        }
    }

    fn binding_head(&mut self, binding: Binding) -> Doc {
        match binding {
            Binding::Extent(extent) => concat(vec![
                self.source.token("axis"),
                text(" "),
                self.source.token(&extent.axis.text),
            ]),
            Binding::Definition(definition) => self.head(&definition.name, &definition.head),
        }
    }

    /// `name[A, B]`
    pub fn head(&mut self, name: &Name, head: &Option<Vec<Name>>) -> Doc {
        let mut docs = vec![self.source.token(&name.text)];
        if let Some(axes) = head {
            docs.push(self.source.token("["));
            for (i, axis) in axes.iter().enumerate() {
                if i > 0 {
                    docs.push(self.source.token(","));
                    docs.push(text(" "));
                }
                docs.push(self.source.token(&axis.text));
            }
            docs.push(self.source.token("]"));
        }
        concat(docs)
    }

    /// Writes `head = value`, the head padded to a width. A value of several lines begins behind `=` if it stays within
    /// the line width there, otherwise below.
    pub fn equation(&mut self, head: Doc, width: usize, value: &Expr, indent: usize) {
        self.write(&head, indent + 4);
        let padding = (indent + width).saturating_sub(self.column());
        self.indent(if width > 0 { padding } else { 0 });
        let equals = concat(vec![text(" "), self.source.token("=")]);
        self.write(&equals, indent + 4);
        let column = self.column() + 1;
        match self.value_behind(value, column, indent) {
            Some((text, suffixes)) => {
                self.out.push(' ');
                self.out.push_str(&text);
                self.pending = suffixes;
            }
            None => {
                self.end_line();
                self.value_below(value, indent + 2);
            }
        }
    }

    /// Writes a value on lines of its own, below the comments before it.
    pub fn value_below(&mut self, value: &Expr, indent: usize) {
        self.remarks(indent);
        let value = self.expr(value, Place::Fresh);
        self.indent(indent);
        self.write(&value, indent);
    }

    /// The text of a value behind `=`, with the comments that wait for the end of its last line; none if it has to stand
    /// below, and then the source is where it was.
    fn value_behind(
        &mut self,
        value: &Expr,
        column: usize,
        indent: usize,
    ) -> Option<(String, Vec<String>)> {
        if self.source.at_remark() {
            return None;
        }
        let place = self.source.place();
        let mut suffixes = self.pending.clone();
        let behind = self
            .expr(value, Place::Behind)
            .render(column, indent + 2, &mut suffixes);
        let after = self.source.place();
        if too_wide(&behind, column) > 0 {
            self.source.back_to(place);
            let below = self
                .expr(value, Place::Fresh)
                .render(indent + 2, indent + 2, &mut vec![]);
            if too_wide(&behind, column) > too_wide(&below, indent + 2) {
                self.source.back_to(place);
                return None;
            }
        }
        self.source.back_to(after);
        Some((behind, suffixes))
    }

    /// For each binding the width to which its head is padded. Neighbours are aligned; a value of several lines ends a
    /// row of neighbours, and so does an empty line.
    fn aligned(&mut self, all: &[Binding]) -> Vec<usize> {
        let place = self.source.place();
        let mut alone = vec![];
        for binding in all {
            let after_blank = self.source.after_blank();
            self.source.remarks();
            let head = self.binding_head(*binding).render(4, 8, &mut vec![]);
            let head = head.chars().count();
            self.source.token("=");
            let text = self.value_behind(binding.value(), 4 + head + 3, 4);
            let lines = text.map(|(text, _)| text.lines().count());
            if lines.is_none() {
                self.expr(binding.value(), Place::Fresh);
            }
            self.source.trailing();
            alone.push(Alone {
                head,
                lines,
                after_blank,
            });
        }
        self.source.back_to(place);
        let mut widths = vec![0; all.len()];
        let mut start = 0;
        while start < alone.len() {
            let end = end_of_row(&alone, start);
            let width = alone[start..end]
                .iter()
                .map(|binding| binding.head)
                .max()
                .unwrap_or(0);
            widths[start..end].fill(width);
            start = end;
        }
        widths
    }
}

/// Where the row of aligned bindings ends that begins at `start`.
fn end_of_row(alone: &[Alone], start: usize) -> usize {
    let (mut least, mut most) = (usize::MAX, 0);
    let mut end = start;
    while let Some(binding) = alone.get(end) {
        least = least.min(binding.head);
        most = most.max(binding.head);
        let breaks = binding.lines.is_none() || binding.after_blank || most - least > PADDING;
        if end > start && breaks {
            break;
        }
        end += 1;
        if binding.lines != Some(1) {
            break;
        }
    }
    end
}

/// By how many columns the lines of a text that begins at a column are too wide, comments apart.
fn too_wide(text: &str, column: usize) -> usize {
    let width = |line: &str| {
        line.split("//")
            .next()
            .unwrap_or(line)
            .trim_end()
            .chars()
            .count()
    };
    let first = text.lines().next().map_or(0, |line| column + width(line));
    text.lines()
        .skip(1)
        .map(width)
        .fold(first, usize::max)
        .saturating_sub(WIDTH)
}
