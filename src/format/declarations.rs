//! Files and their declarations.

use super::Formatter;
use super::expr::Place;
use super::layout::{Doc, WIDTH, concat, fill, group, hang, nest, text};
use crate::ast::*;

impl Formatter<'_> {
    /// Declarations in their order, with an empty line between any two, but for `use`, `axis` and `example`, which may
    /// follow each other directly.
    pub fn file(&mut self, file: &File) {
        let (mut extents, mut functions) = (file.extents.iter(), file.functions.iter());
        let (mut losses, mut examples) = (file.loss.iter(), file.examples.iter());
        let mut before = "";
        loop {
            let keyword = self.source.peek();
            let together = keyword == before && matches!(keyword, "use" | "axis" | "example");
            if !before.is_empty()
                && (self.source.after_blank() || !(together || keyword.is_empty()))
            {
                self.out.push('\n');
            }
            self.remarks(0);
            match keyword {
                "use" => self.imports(),
                "axis" => extents
                    .next()
                    .into_iter()
                    .for_each(|extent| self.extent(extent)),
                "def" => functions
                    .next()
                    .into_iter()
                    .for_each(|function| self.function(function)),
                "loss" => losses.next().into_iter().for_each(|loss| self.loss(loss)),
                "example" => examples
                    .next()
                    .into_iter()
                    .for_each(|example| self.example(example)),
                _ => break,
            }
            before = keyword;
        }
        let end = self.out.trim_end().len();
        self.out.truncate(end);
        self.out.push('\n');
    }

    /// `use a, b`
    fn imports(&mut self) {
        let mut docs = vec![self.source.token("use"), text(" ")];
        loop {
            let name = self.source.peek();
            docs.push(self.source.token(name));
            if self.source.peek() != "," {
                break;
            }
            let place = self.source.place();
            let comma = self.source.token(",");
            if !crate::parse::token::is_name(self.source.peek()) {
                self.source.back_to(place);
                break;
            }
            docs.push(comma);
            docs.push(text(" "));
        }
        self.write(&concat(docs), 4);
        self.end_line();
    }

    fn extent(&mut self, extent: &Extent) {
        let head = vec![
            self.source.token("axis"),
            text(" "),
            self.source.token(&extent.axis.text),
        ];
        self.equation(concat(head), 0, &extent.value, 0);
        self.end_line();
    }

    fn function(&mut self, function: &Function) {
        let name = vec![
            self.source.token("def"),
            text(" "),
            self.source.token(&function.name.text),
        ];
        self.headed(concat(name), Some(&function.signature), &function.value);
        self.bindings(&function.bindings);
    }

    fn loss(&mut self, loss: &Loss) {
        let name = vec![
            self.source.token("loss"),
            text(" "),
            self.source.token(&loss.name.text),
        ];
        self.headed(concat(name), loss.signature.as_ref(), &loss.value);
        for gradient in &loss.gradients {
            self.remarks(2);
            self.indent(2);
            let head = vec![
                self.source.token("gradient"),
                text(" "),
                self.head(&gradient.input, &gradient.head),
            ];
            self.equation(concat(head), 0, &gradient.value, 2);
            self.end_line();
        }
        self.bindings(&loss.bindings);
    }

    /// `name(signature) = value`: on one line, or the value below.
    fn headed(&mut self, name: Doc, signature: Option<&Signature>, value: &Expr) {
        self.write(&name, 4);
        let start = self.column();
        let signature =
            signature.map_or(String::new(), |signature| self.signature(signature, start));
        self.out.push_str(&signature);
        let equals = concat(vec![text(" "), self.source.token("=")]);
        self.write(&equals, 4);
        let one_line = !signature.contains('\n');
        let place = self.source.place();
        let value_doc = self.expr(value, Place::Fresh);
        let flat = value_doc
            .flat()
            .filter(|flat| one_line && self.column() + 1 + flat.chars().count() <= WIDTH);
        if let Some(flat) = flat {
            self.out.push(' ');
            self.out.push_str(&flat);
        } else {
            // A comment after `=` ends its line.
            self.source.back_to(place);
            self.end_line();
            self.value_below(value, 2);
        }
        self.end_line();
    }

    /// `example f(x = [1], y = [2]) == 3`; long data go on below the first.
    fn example(&mut self, example: &Example) {
        let mut docs = vec![
            self.source.token("example"),
            text(" "),
            self.source.token(&example.loss.text),
        ];
        docs.push(self.source.token("("));
        let mut settings = vec![];
        for (i, (name, value)) in example.settings.iter().enumerate() {
            let name = self.source.token(&name.text);
            let equals = self.source.token("=");
            let value = self.value(value);
            let setting = vec![name, text(" "), equals, text(" "), value];
            settings.push(self.piece(setting, i + 1 < example.settings.len()));
        }
        docs.push(hang(0, fill(settings)));
        docs.push(self.source.token(")"));
        let line = self.source.line();
        let equals = self.source.token("==");
        let expected = self.expr(&example.expected, Place::Behind);
        docs.push(group(nest(
            2,
            concat(vec![line, equals, text(" "), expected]),
        )));
        self.write(&concat(docs), 0);
        self.end_line();
    }
}
