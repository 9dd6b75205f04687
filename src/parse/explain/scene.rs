//! The place where the parser stopped, and what stands around it.

use crate::ast::{FileId, Span};
use crate::parse::Rule;
use crate::parse::token::{Token, TokenKind, Tokens};

/// What is open around the place: a bracket, or the whole declaration if there is none.
#[derive(Default)]
pub(super) struct Frame {
    /// The opening bracket.
    pub open: Option<usize>,
    /// The `if`s that can still go on.
    pub ifs: Vec<If>,
    /// The `if` of a guard or the `else` of a default.
    pub clause: Option<usize>,
    /// The comparison in the operand at hand, if it has one.
    pub compare: Option<usize>,
    /// Where the operands of that comparison begin.
    pub start: usize,
}

pub(super) struct If {
    pub token: usize,
    pub then: bool,
    pub otherwise: bool,
}

pub(super) struct Scene<'a> {
    pub text: &'a str,
    file: FileId,
    /// All tokens but plain comments.
    pub tokens: Vec<Token<'a>>,
    /// The token at which the parser stopped; the number of tokens at the end of the file.
    pub at: usize,
    expected: &'a [Rule],
    /// The parser stopped within the token found, as after the `<` of `<>`.
    within: bool,
    /// Open brackets, the outermost frame first; it is never empty.
    frames: Vec<Frame>,
    /// The keyword that begins the declaration or part (`where`, `gradient`) at hand.
    pub section: Option<usize>,
}

impl<'a> Scene<'a> {
    pub fn new(text: &'a str, file: FileId, place: usize, expected: &'a [Rule]) -> Scene<'a> {
        let tokens: Vec<Token> = Tokens::new(text)
            .filter(|token| token.kind != TokenKind::Comment)
            .collect();
        let at = tokens.partition_point(|token| token.end() <= place);
        let within = tokens.get(at).is_some_and(|found| found.start < place);
        let frames = vec![Frame::default()];
        let mut scene = Scene {
            text,
            file,
            tokens,
            at,
            expected,
            within,
            frames,
            section: None,
        };
        for index in 0..at {
            scene.enter(index);
        }
        scene
    }

    /// Follows one token before the place.
    fn enter(&mut self, index: usize) {
        let token = self.tokens[index];
        let after_operand = index > 0 && self.tokens[index - 1].ends_operand();
        if self.frames.len() == 1 && self.begins_section(index) {
            self.section = Some(index);
            self.frames = vec![Frame::default()];
        }
        let outermost = self.frames.len() == 1;
        let Some(frame) = self.frames.last_mut() else {
            return;
        };
        match token.text {
            "(" | "[" | "{" => {
                self.frames.push(Frame {
                    open: Some(index),
                    start: index + 1,
                    ..Frame::default()
                });
                return;
            }
            ")" | "]" | "}" if !outermost => {
                self.frames.pop();
                return;
            }
            "if" if after_operand => frame.clause = Some(index),
            "if" => frame.ifs.push(If {
                token: index,
                then: false,
                otherwise: false,
            }),
            "then" => {
                if let Some(last) = frame.ifs.last_mut() {
                    last.then = true;
                }
            }
            "else" => {
                while frame.ifs.pop_if(|last| last.otherwise).is_some() {}
                match frame.ifs.last_mut() {
                    Some(last) => last.otherwise = true,
                    None => frame.clause = Some(index),
                }
            }
            "==" | "!=" | "<" | "<=" | ">" | ">=" => {
                frame.compare = Some(index);
                return;
            }
            "=" | "," => frame.ifs.clear(),
            "and" | "or" | "not" => {}
            _ => return,
        }
        frame.compare = None;
        frame.start = index + 1;
    }

    pub fn frame(&self) -> &Frame {
        &self.frames[self.frames.len() - 1]
    }

    /// The bracket that is open here, the innermost one.
    pub fn open(&self) -> Option<usize> {
        self.frame().open
    }

    pub fn found(&self) -> Option<&Token<'a>> {
        self.tokens.get(self.at)
    }

    pub fn found_is(&self, mark: &str) -> bool {
        self.found().is_some_and(|found| found.is_mark(mark))
    }

    /// The token `distance` after the one found.
    pub fn after(&self, distance: usize) -> Option<&Token<'a>> {
        self.tokens.get(self.at + distance)
    }

    /// The token `distance` before the one found.
    pub fn before(&self, distance: usize) -> Option<&Token<'a>> {
        self.tokens.get(self.at.checked_sub(distance)?)
    }

    pub fn expects(&self, rule: Rule) -> bool {
        self.expected.contains(&rule)
    }

    pub fn expected(&self) -> &[Rule] {
        self.expected
    }

    /// An operand has ended, an operator could follow.
    pub fn after_operand(&self) -> bool {
        let operand = || self.before(1).is_some_and(Token::ends_operand);
        if self.within {
            operand()
        } else {
            self.expects(Rule::times)
        }
    }

    /// An operand of an expression must follow.
    pub fn needs_operand(&self) -> bool {
        !self.within && (self.expects(Rule::expr) || self.expects(Rule::number))
    }

    /// A declaration could begin here.
    pub fn between_declarations(&self) -> bool {
        self.expects(Rule::loss) || self.expects(Rule::file)
    }

    /// The keyword of the declaration or part at hand.
    pub fn in_section(&self, keyword: &str) -> bool {
        self.section
            .is_some_and(|section| self.tokens[section].text == keyword)
    }

    /// Whether a declaration or a part of one begins with this token: a keyword with a name after it.
    pub fn begins_section(&self, index: usize) -> bool {
        let keyword = self
            .tokens
            .get(index)
            .is_some_and(|token| is_section(token.text));
        let name = |token: &Token| {
            token.is_name()
                || token.is_axis()
                || token.is_word("axis")
                || token.kind == TokenKind::Doc
        };
        keyword && self.tokens.get(index + 1).is_none_or(name)
    }

    /// Whether the token found begins a definition: `a =`, `a[N] =`.
    pub fn found_definition(&self) -> bool {
        self.found().is_some_and(Token::is_name) && self.is_head(self.at + 1)
    }

    /// Whether `=` or `[...] =` stands from this token on.
    pub fn is_head(&self, mut index: usize) -> bool {
        if self
            .tokens
            .get(index)
            .is_some_and(|token| token.is_mark("["))
        {
            let close = self.tokens[index..]
                .iter()
                .position(|token| token.is_mark("]"));
            index = close.map_or(self.tokens.len(), |close| index + close + 1);
        }
        self.tokens
            .get(index)
            .is_some_and(|token| token.is_mark("="))
    }

    /// Whether an `else` of the brackets at hand follows the token found.
    pub fn else_follows(&self) -> bool {
        let mut depth = 0;
        for token in self.tokens.iter().skip(self.at + 1) {
            match token.text {
                "else" if depth == 0 => return true,
                "(" | "[" => depth += 1,
                ")" | "]" if depth == 0 => return false,
                ")" | "]" => depth -= 1,
                "=" | "," if depth == 0 => return false,
                _ => {}
            }
        }
        false
    }

    /// Whether a line ends between the token found and the one before it.
    pub fn new_line(&self) -> bool {
        match (self.before(1), self.found()) {
            (Some(before), Some(found)) => self.text[before.end()..found.start].contains('\n'),
            _ => true,
        }
    }

    /// Whether nothing stands between the token found and the one before it.
    pub fn touches_before(&self) -> bool {
        matches!((self.before(1), self.found()), (Some(before), Some(found)) if before.end() == found.start)
    }

    /// The text from one token to another.
    pub fn between(&self, first: usize, last: usize) -> &'a str {
        match (self.tokens.get(first), self.tokens.get(last)) {
            (Some(first), Some(last)) if first.start <= last.start => {
                &self.text[first.start..last.end()]
            }
            _ => "",
        }
    }

    pub fn span(&self, index: usize) -> Span {
        self.spans(index, index)
    }

    pub fn spans(&self, first: usize, last: usize) -> Span {
        let end = self.tokens.last().map_or(0, Token::end);
        let start = self.tokens.get(first).map_or(end, |token| token.start);
        let end = self.tokens.get(last).map_or(end, Token::end);
        Span {
            file: self.file,
            start: start as u32,
            end: end as u32,
        }
    }

    /// The token found, or the place after the last one.
    pub fn place(&self) -> Span {
        self.span(self.at)
    }

    /// What was found, in words.
    pub fn found_words(&self) -> String {
        match self.found() {
            None => "the end of the file".to_owned(),
            Some(found) if found.kind == TokenKind::Doc => "a `///` comment".to_owned(),
            Some(found) if found.is_keyword() => format!("the keyword `{}`", found.text),
            Some(found) if found.text.chars().count() > 40 => {
                format!("`{}...`", found.text.chars().take(40).collect::<String>())
            }
            Some(found) => format!("`{}`", found.text),
        }
    }
}

/// Keywords that begin a declaration or a part of one, and stand in no expression.
fn is_section(word: &str) -> bool {
    matches!(
        word,
        "use" | "axis" | "def" | "loss" | "gradient" | "where" | "example"
    )
}
