//! The one limit on nesting, checked in a scan over the text before the parser runs.

use super::token::{Token, TokenKind, Tokens};
use crate::ast::{FileId, Span};
use crate::diagnostic::Diagnostic;

/// How deep a text may nest: brackets of all kinds, `if` within `if` (also `else if`), unary minus, `not` and `^`
/// count alike. It is the same in every build and thread: the parser takes the stack that it needs.
pub const MAX_NESTING: usize = 200;

/// Finds the place where a text nests deeper than [`MAX_NESTING`].
///
/// Architecture invariant: what this lets through, the parser, the builder of the tree and whoever walks the tree
/// enter at most `MAX_NESTING` levels deep, each with a bounded number of calls.
pub fn check(text: &str, file: FileId) -> Result<(), Diagnostic> {
    let mut scan = Scan::default();
    for token in Tokens::new(text) {
        scan.step(&token);
        if scan.depth > MAX_NESTING {
            let place = Span {
                file,
                start: token.start as u32,
                end: token.end() as u32,
            };
            return Err(Diagnostic::error(format!("nested more than {MAX_NESTING} levels deep"))
                .at(place, format!("level {} begins here", MAX_NESTING + 1))
                .note(
                    "parentheses, brackets, `if` (also `else if`), unary `-`, `not` and `^` count, each within the other",
                )
                .help("give an inner part a name in `where`"));
        }
    }
    Ok(())
}

/// What is open between two brackets, or outside of all.
#[derive(Default)]
struct Frame {
    /// The `if`s around this place; true from `else` on, where one ends only with its surroundings.
    ifs: Vec<bool>,
    nots: usize,
    /// Unary minus and `^`.
    powers: usize,
}

impl Frame {
    fn depth(&self) -> usize {
        self.ifs.len() + self.nots + self.powers
    }
}

#[derive(Default)]
struct Scan {
    outer: Vec<Frame>,
    here: Frame,
    depth: usize,
    /// Whether an operand ends before this place, so that `-` subtracts.
    after_operand: bool,
}

impl Scan {
    fn step(&mut self, token: &Token) {
        if matches!(token.kind, TokenKind::Doc | TokenKind::Comment) {
            return;
        }
        let before = self.here.depth();
        match token.text {
            "(" | "[" | "{" => {
                self.outer.push(std::mem::take(&mut self.here));
                self.depth += 1;
                self.after_operand = false;
                return;
            }
            ")" | "]" | "}" => {
                self.depth -= before;
                if let Some(outer) = self.outer.pop() {
                    self.here = outer;
                    self.depth -= 1;
                } else {
                    self.here = Frame::default();
                }
                self.after_operand = true;
                return;
            }
            "-" if !self.after_operand => self.here.powers += 1,
            "^" => self.here.powers += 1,
            "not" => self.here.nots += 1,
            // After an operand it is the guard of a bracket, which counts itself.
            "if" if !self.after_operand => self.here.ifs.push(false),
            "then" => self.end_operand(),
            "else" => self.enter_else(),
            "+" | "-" | "*" | "/" | "==" | "!=" | "<" | "<=" | ">" | ">=" => self.here.powers = 0,
            "and" | "or" => self.end_operand(),
            "," | "=" | ";" | "|" | ":" | "use" | "axis" | "def" | "loss" | "gradient"
            | "where" | "example" => {
                self.here = Frame::default();
            }
            _ => {}
        }
        self.depth = self.depth + self.here.depth() - before;
        self.after_operand = token.ends_operand();
    }

    fn end_operand(&mut self) {
        self.here.nots = 0;
        self.here.powers = 0;
    }

    /// `else` belongs to the last `if` that has none yet; those inside it are over.
    fn enter_else(&mut self) {
        self.end_operand();
        while self.here.ifs.pop_if(|has_else| *has_else).is_some() {}
        if let Some(last) = self.here.ifs.last_mut() {
            *last = true;
        }
    }
}
