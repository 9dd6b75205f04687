//! The tokens of the source, which the formatter writes anew in their order.

use super::layout::{Doc, concat, line, own_line, soft_line, suffix, text};
use crate::parse::token::{Token, TokenKind, Tokens};

pub struct Source<'a> {
    text: &'a str,
    tokens: Vec<Token<'a>>,
    next: usize,
}

/// A comment, or a line of documentation.
pub struct Remark {
    pub text: String,
    /// An empty line stands before it.
    pub after_blank: bool,
}

impl<'a> Source<'a> {
    pub fn new(text: &'a str) -> Source<'a> {
        Source {
            text,
            tokens: Tokens::new(text).collect(),
            next: 0,
        }
    }

    /// Where the formatter is; [`back_to`](Source::back_to) returns there to write something in another way.
    pub fn place(&self) -> usize {
        self.next
    }

    pub fn back_to(&mut self, place: usize) {
        self.next = place;
    }

    /// The next token that is no comment.
    pub fn peek(&self) -> &'a str {
        let rest = &self.tokens[self.next..];
        rest.iter()
            .find(|token| !is_remark(token))
            .map_or("", |token| token.text)
    }

    /// The next token, with the comments before it. A comma that the formatter does not write, one before a closing
    /// mark, is passed over.
    pub fn token(&mut self, expected: &str) -> Doc {
        let mut docs = vec![];
        while let Some(token) = self.tokens.get(self.next) {
            if is_remark(token) {
                let comment = token.text.trim_end();
                docs.push(if self.same_line() {
                    suffix(comment)
                } else {
                    own_line(comment)
                });
            } else if token.text == expected || token.text != "," {
                break;
            }
            self.next += 1;
        }
        // Should the tree and the tokens disagree, the check at the end of `format` refuses the result.
        self.next += 1;
        docs.push(text(expected));
        if docs.len() == 1 {
            text(expected)
        } else {
            concat(docs)
        }
    }

    /// A space or line end here, behind the comments that end the line of the token before.
    pub fn line(&mut self) -> Doc {
        concat(vec![self.tail(), line()])
    }

    /// As [`line`](Source::line), without the space.
    pub fn soft_line(&mut self) -> Doc {
        concat(vec![self.tail(), soft_line()])
    }

    /// The comments that end the line of the token before, within a layout.
    pub fn tail(&mut self) -> Doc {
        let mut comments = vec![];
        while let Some(token) = self.tokens.get(self.next).filter(|token| is_remark(token)) {
            if !self.same_line() {
                break;
            }
            comments.push(suffix(token.text.trim_end()));
            self.next += 1;
        }
        concat(comments)
    }

    /// The comments that end the line of the token before.
    pub fn trailing(&mut self) -> Vec<String> {
        self.skip_comma();
        let mut comments = vec![];
        while let Some(token) = self.tokens.get(self.next) {
            if token.kind != TokenKind::Comment || !self.same_line() {
                break;
            }
            comments.push(token.text.trim_end().to_owned());
            self.next += 1;
        }
        comments
    }

    /// The comments and documentation before the next token.
    pub fn remarks(&mut self) -> Vec<Remark> {
        let mut remarks = vec![];
        while let Some(token) = self.tokens.get(self.next).copied().filter(is_remark) {
            remarks.push(Remark {
                text: token.text.trim_end().to_owned(),
                after_blank: self.after_blank(),
            });
            self.next += 1;
        }
        remarks
    }

    /// Whether a comment or documentation stands before the next token.
    pub fn at_remark(&self) -> bool {
        self.tokens.get(self.next).is_some_and(is_remark)
    }

    /// Whether an empty line stands before what comes next.
    pub fn after_blank(&self) -> bool {
        self.gap().matches('\n').count() > 1
    }

    fn same_line(&self) -> bool {
        self.next > 0 && !self.gap().contains('\n')
    }

    /// The space before the next token.
    fn gap(&self) -> &'a str {
        let start = self
            .next
            .checked_sub(1)
            .and_then(|before| self.tokens.get(before))
            .map_or(0, Token::end);
        let end = self
            .tokens
            .get(self.next)
            .map_or(self.text.len(), |token| token.start);
        self.text.get(start..end).unwrap_or("")
    }

    /// Passes over a comma after the last item of a list without brackets.
    fn skip_comma(&mut self) {
        if self
            .tokens
            .get(self.next)
            .is_some_and(|token| token.text == ",")
        {
            self.next += 1;
        }
    }
}

fn is_remark(token: &Token) -> bool {
    matches!(token.kind, TokenKind::Doc | TokenKind::Comment)
}

/// The tokens that carry meaning, those that must be the same after formatting: all but comments and the commas
/// that end a list.
pub fn meaning(text: &str) -> Vec<&str> {
    let mut tokens: Vec<&str> = vec![];
    for token in Tokens::new(text).filter(|token| token.kind != TokenKind::Comment) {
        let closes = matches!(token.text, ")" | "]" | "|" | ";" | "if" | "else");
        let declares = matches!(token.text, "use" | "axis" | "def" | "loss" | "example")
            || token.kind == TokenKind::Doc;
        if (closes || declares) && tokens.last() == Some(&",") {
            tokens.pop();
        }
        tokens.push(token.text.trim_end());
    }
    if tokens.last() == Some(&",") {
        tokens.pop();
    }
    tokens
}

/// The text of all comments, in order and without spaces: two comments that share a line are one.
pub fn comments(text: &str) -> String {
    let comments = Tokens::new(text).filter(|token| token.kind == TokenKind::Comment);
    comments
        .flat_map(|token| token.text.split_whitespace())
        .collect()
}
