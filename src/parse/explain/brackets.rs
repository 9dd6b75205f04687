//! Brackets that do not match, `if` without its parts, and operators without operands.

use super::scene::Scene;
use super::{Slip, error};
use crate::diagnostic::Diagnostic;
use crate::parse::Rule;
use crate::parse::token::{Token, TokenKind, Tokens};

pub(super) const SLIPS: [Slip; 9] = [
    clause_not_last,
    indexed_expression,
    wrong_close,
    unclosed,
    empty_bracket,
    without_else,
    without_then,
    stray_else,
    missing_operand,
];

fn closes(open: &str) -> &'static str {
    match open {
        "(" => ")",
        "[" => "]",
        _ => "}",
    }
}

/// `x[N else 0, M]`
fn clause_not_last(scene: &Scene) -> Option<Diagnostic> {
    let clause = scene.frame().clause?;
    if !scene.found_is(",") || !scene.expects(Rule::close_bracket) {
        return None;
    }
    let word = scene.tokens[clause].text;
    let what = if word == "if" { "guard" } else { "default" };
    Some(
        Diagnostic::error(format!("the {what} stands last in the brackets"))
            .at(scene.place(), "another position")
            .at(scene.span(clause), format!("the {what} begins here")),
    )
}

/// `sort[N](x)[0]`, `x[0][1]`
fn indexed_expression(scene: &Scene) -> Option<Diagnostic> {
    let before = scene.before(1).filter(|_| scene.after_operand())?;
    if !scene.found_is("[") {
        return None;
    }
    let help = match before.text {
        ")" => {
            "define it in `where` with a head that names its axes, `s[N] = ...`, and read `s[0]`"
        }
        "]" => "one pair of brackets holds all indices: `x[0, 1]`",
        _ => return None,
    };
    Some(error(scene, "only a name is indexed", "").help(help))
}

/// `mean(x]`, `mean(x))`
fn wrong_close(scene: &Scene) -> Option<Diagnostic> {
    let found = scene
        .found()
        .filter(|found| matches!(found.text, ")" | "]"))?;
    let Some(open) = scene.open() else {
        return Some(
            Diagnostic::error(format!("`{}` closes nothing", found.text))
                .at(scene.place(), "all brackets before it are closed"),
        );
    };
    let opening = scene.tokens[open];
    if closes(opening.text) == found.text {
        return None;
    }
    Some(
        Diagnostic::error(format!(
            "`{}` does not close `{}`",
            found.text, opening.text
        ))
        .at(
            scene.place(),
            format!("expected `{}`", closes(opening.text)),
        )
        .at(scene.span(open), "opened here"),
    )
}

/// `mean((x - y)^2 where ...`: the text goes on as if the bracket were closed.
fn unclosed(scene: &Scene) -> Option<Diagnostic> {
    let open = scene.open()?;
    let next_begins = match scene.found() {
        None => true,
        Some(found) if found.kind == TokenKind::Doc => true,
        Some(_) if scene.begins_section(scene.at) => true,
        Some(found) if found.is_mark("=") => ends_signature(scene),
        Some(_) => scene.new_line() && scene.after_operand() && scene.found_definition(),
    };
    if !next_begins {
        return None;
    }
    let opening = scene.tokens[open].text;
    let close = closes(opening);
    let label = match scene.found() {
        None => format!("the file ends without `{close}`"),
        Some(_) => format!("expected `{close}` before this"),
    };
    let error = Diagnostic::error(format!("`{opening}` is never closed"))
        .at(scene.span(open), "opened here")
        .at(scene.place(), label);
    Some(if closed_in_comment(scene, open, close) {
        error.help(
            "`//` begins a comment up to the end of the line; ints are divided by `div(a, b)`",
        )
    } else {
        error
    })
}

/// `mean(x // 2)`: a comment after the bracket closes more than it opens.
fn closed_in_comment(scene: &Scene, open: usize, close: &str) -> bool {
    let span = scene.spans(open, scene.at.saturating_sub(1));
    let end = scene.found().map_or(scene.text.len(), |found| found.start);
    let opening = scene.tokens[open].text;
    Tokens::new(&scene.text[span.start as usize..end])
        .filter(|token| token.kind == TokenKind::Comment)
        .any(|token| token.text.matches(close).count() > token.text.matches(opening).count())
}

/// `loss f(x: [N] = mean(x)`: `=` within a signature, and no default after it.
fn ends_signature(scene: &Scene) -> bool {
    let declares = scene.in_section("loss") || scene.in_section("def");
    let value = if scene.after(1).is_some_and(|after| after.is_mark("-")) {
        2
    } else {
        1
    };
    let number = scene.after(value).is_some_and(|token| {
        token.kind == TokenKind::Number || matches!(token.text, "inf" | "pi" | "true" | "false")
    });
    let ends = scene
        .after(value + 1)
        .is_some_and(|token| matches!(token.text, "," | ")" | "in" | ";"));
    declares && scene.expects(Rule::close) && !scene.after_operand() && !(number && ends)
}

/// `x[]`, `mean[](x)`
fn empty_bracket(scene: &Scene) -> Option<Diagnostic> {
    if !(scene.found_is("]") && scene.needs_operand() && scene.open()? + 1 == scene.at) {
        return None;
    }
    Some(
        Diagnostic::error("the brackets are empty")
            .at(scene.place(), "expected an axis or an index")
            .help("without brackets a tensor is read at its own axes, and a reduction runs over all axes"),
    )
}

/// `if a then b`
fn without_else(scene: &Scene) -> Option<Diagnostic> {
    let last = scene.frame().ifs.last()?;
    if !scene.expects(Rule::k_else) || !scene.after_operand() || !ends_part(scene) {
        return None;
    }
    Some(
        Diagnostic::error("`if` without `else`")
            .at(scene.place(), "expected `else`")
            .at(scene.span(last.token), "for this `if`")
            .help("every `if` has a value in both cases: `if c then a else 0`"),
    )
}

/// `if a b else c`
fn without_then(scene: &Scene) -> Option<Diagnostic> {
    let last = scene.frame().ifs.last()?;
    if !scene.expects(Rule::k_then) || !scene.after_operand() || !ends_part(scene) {
        return None;
    }
    Some(
        Diagnostic::error("`if` without `then`")
            .at(scene.place(), "expected `then`")
            .at(scene.span(last.token), "for this `if`")
            .help("a choice is written `if c then a else b`"),
    )
}

/// Whether the token found can only mean that a part of an `if` is over: it is no operator of this or another
/// language.
fn ends_part(scene: &Scene) -> bool {
    scene.found().is_none_or(|found| match found.kind {
        TokenKind::Word | TokenKind::Number | TokenKind::Doc | TokenKind::Comment => true,
        TokenKind::Mark => matches!(found.text, "(" | "[" | ")" | "]" | "," | ";" | ":"),
    })
}

/// `then` or `else` that belongs to no `if`.
fn stray_else(scene: &Scene) -> Option<Diagnostic> {
    let found = scene
        .found()
        .filter(|found| matches!(found.text, "then" | "else"))?;
    if !scene.after_operand() {
        return None;
    }
    let error = Diagnostic::error(format!("`{}` without `if`", found.text)).at(
        scene.place(),
        format!("no `if` waits for `{}` here", found.text),
    );
    let closed = scene.before(1).is_some_and(|before| before.is_mark("]"));
    Some(if found.is_word("else") && closed {
        error.help("the default of a read stands inside the brackets: `x[N - 1 else 0]`")
    } else {
        error.help("a choice is written `if c then a else b`")
    })
}

/// `x +`, `(a * )`, `mean(, x)`: the text goes on where an operand is missing.
fn missing_operand(scene: &Scene) -> Option<Diagnostic> {
    if !scene.needs_operand() {
        return None;
    }
    let over = scene.found().is_none_or(|found| {
        matches!(
            found.text,
            ")" | "]" | "," | ";" | "then" | "else" | "and" | "or"
        ) || scene.begins_section(scene.at)
            || (found.kind == TokenKind::Mark && is_infix(found))
    });
    let before = scene.before(1).filter(|_| over)?;
    let what = match before.text {
        _ if before.kind != TokenKind::Mark && !before.is_keyword() => return None,
        "(" | "[" | "," => {
            return Some(
                Diagnostic::error(format!(
                    "expected an expression, found {}",
                    scene.found_words()
                ))
                .at(scene.place(), "expected an expression"),
            );
        }
        "=" => "a value is missing after `=`".to_owned(),
        text => format!("an operand is missing after `{text}`"),
    };
    let error = Diagnostic::error(what).at(scene.span(scene.at - 1), "");
    Some(match scene.found() {
        Some(_) => error.at(scene.place(), "expected an expression here"),
        None => error,
    })
}

fn is_infix(token: &Token) -> bool {
    matches!(
        token.text,
        "+" | "*" | "/" | "^" | "==" | "!=" | "<" | "<=" | ">" | ">=" | "="
    )
}
