//! A forgiving tokenizer: it splits any text, right or wrong, and never fails. The parser does not use it; it
//! measures nesting before the parser runs, explains what stands where the parser stopped, and finds the comments
//! that the formatter keeps.

/// What kind of thing a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// A name, an axis or a keyword; also names that the language does not have, as `N̂` or `résumé`.
    Word,
    /// Digits, a point and an exponent, also where they are malformed: `5.`, `.5`, `1e`.
    Number,
    /// An operator or another mark, also of other languages: `**`, `&&`, `≤`.
    Mark,
    /// `/// ...`
    Doc,
    /// `// ...`
    Comment,
}

/// A piece of the text between white space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token<'a> {
    pub kind: TokenKind,
    pub text: &'a str,
    pub start: usize,
}

impl Token<'_> {
    pub fn end(&self) -> usize {
        self.start + self.text.len()
    }

    pub fn is_mark(&self, mark: &str) -> bool {
        self.kind == TokenKind::Mark && self.text == mark
    }

    pub fn is_word(&self, word: &str) -> bool {
        self.kind == TokenKind::Word && self.text == word
    }

    pub fn is_keyword(&self) -> bool {
        self.kind == TokenKind::Word && is_keyword(self.text)
    }

    /// Whether it can only be an axis: its first letter is a capital.
    pub fn is_axis(&self) -> bool {
        self.kind == TokenKind::Word && self.text.starts_with(|c: char| c.is_ascii_uppercase())
    }

    /// Whether it is a name of the language, other than an axis or keyword.
    pub fn is_name(&self) -> bool {
        self.kind == TokenKind::Word && is_name(self.text)
    }

    /// Whether an operand can end with it, so that an operator or a closing mark is what may follow.
    pub fn ends_operand(&self) -> bool {
        match self.kind {
            TokenKind::Number => true,
            TokenKind::Word => {
                !self.is_keyword() || matches!(self.text, "true" | "false" | "inf" | "pi")
            }
            TokenKind::Mark => matches!(self.text, ")" | "]"),
            TokenKind::Doc | TokenKind::Comment => false,
        }
    }
}

/// The words that no declaration may take as its name.
pub const KEYWORDS: [&str; 20] = [
    "use", "axis", "def", "loss", "gradient", "where", "example", "if", "then", "else", "and",
    "or", "not", "in", "int", "bool", "true", "false", "inf", "pi",
];

/// Whether a word is a name of the language, other than an axis or keyword.
pub fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_lowercase())
        && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !is_keyword(word)
}

pub fn is_keyword(word: &str) -> bool {
    KEYWORDS.contains(&word)
}

/// Marks of two or three characters, longest first. Those that the language lacks are here too, so that a message can
/// show them whole; `<-` is not: `a <-b` compares a with -b.
const LONG_MARKS: [&str; 21] = [
    "===", "!==", "...", "==", "!=", "<=", ">=", "**", "&&", "||", ":=", "->", "=>", "+=", "-=",
    "*=", "/=", "++", "=<", "<>", "/*",
];

/// The tokens of a text, comments included, in order.
#[derive(Debug, Clone)]
pub struct Tokens<'a> {
    text: &'a str,
    position: usize,
}

impl<'a> Tokens<'a> {
    pub fn new(text: &'a str) -> Tokens<'a> {
        Tokens {
            text,
            position: if text.starts_with('\u{FEFF}') { 3 } else { 0 },
        }
    }

    fn skip_space(&mut self) {
        let rest = &self.text[self.position..];
        self.position += rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        self.skip_space();
        let rest = &self.text[self.position..];
        let first = rest.chars().next()?;
        let (kind, length) = if rest.starts_with("//") {
            let doc = rest.starts_with("///") && !rest.starts_with("////");
            let kind = if doc {
                TokenKind::Doc
            } else {
                TokenKind::Comment
            };
            (kind, rest.find('\n').unwrap_or(rest.len()))
        } else if first.is_alphabetic() || first == '_' {
            // Digits of other alphabets are no part of a word: `x²` is x and a square.
            let end = rest.find(|c: char| !(c.is_alphabetic() || c.is_ascii_digit() || c == '_'));
            (TokenKind::Word, end.unwrap_or(rest.len()))
        } else if let Some(length) = number_length(rest) {
            (TokenKind::Number, length)
        } else {
            let long = LONG_MARKS.iter().find(|mark| rest.starts_with(**mark));
            (
                TokenKind::Mark,
                long.map_or(first.len_utf8(), |mark| mark.len()),
            )
        };
        let token = Token {
            kind,
            text: &rest[..length],
            start: self.position,
        };
        self.position += length;
        Some(token)
    }
}

/// The length of the number that `text` begins with, also of a malformed one (`5.`, `.5`); none if it begins
/// otherwise.
fn number_length(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let digits = |mut at: usize| {
        while bytes.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        at
    };
    let mut end = digits(0);
    if bytes.get(end) == Some(&b'.') && bytes.get(end + 1) != Some(&b'.') {
        let fraction = digits(end + 1);
        let alone = fraction == end + 1;
        // `5.` is a number that lacks digits, `x.5` and `.5` too, but a point alone is none.
        if end == 0 && alone {
            return None;
        }
        end = fraction;
    }
    if end == 0 {
        return None;
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let exponent = digits(end + 1 + sign);
        if exponent > end + 1 + sign {
            end = exponent;
        }
    }
    Some(end)
}
