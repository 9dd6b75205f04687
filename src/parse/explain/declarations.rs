//! Slips in declarations: names and axes, the mark after the head, and what stands between declarations.

use super::scene::Scene;
use super::{Slip, error};
use crate::diagnostic::Diagnostic;
use crate::parse::Rule;
use crate::parse::token::{Token, TokenKind};

pub(super) const SLIPS: [Slip; 13] = [
    foreign_word,
    keyword_as_name,
    capital_name,
    small_axis,
    odd_name,
    local_function,
    head_of_indices,
    no_signature,
    wrong_equals,
    missing_equals,
    semicolon_or_comma,
    misplaced_part,
    missing_operator,
];

/// `return x`, `lambda x: x`, `let a = 1`: a word of another language, which reads as a name here.
fn foreign_word(scene: &Scene) -> Option<Diagnostic> {
    let found = scene.found()?;
    if scene.between_declarations() && !scene.after_operand() {
        let help = match found.text {
            "import" | "from" | "include" => {
                "losses and functions of other files are imported by `use name`; builtins need no import"
            }
            "fn" | "function" | "func" => "a function is declared by `def f(x) = ...`",
            _ => "",
        };
        if !help.is_empty() {
            return Some(error(scene, format!("`{}` is not a keyword", found.text), "").help(help));
        }
    }
    let operand = found.kind == TokenKind::Number || found.kind == TokenKind::Word;
    let follows = scene.after_operand() && operand;
    let declares = scene.expects(Rule::equals) && found.is_name();
    // `a = return b` reads as the definition of a and the beginning of one of b.
    let back = if scene.expects(Rule::equals) && !declares {
        2
    } else {
        1
    };
    let word = scene
        .before(back)
        .filter(|word| word.kind == TokenKind::Word)?;
    let help = match word.text {
        "return" if follows || back == 2 => {
            "the value is the expression after `=`; leave `return` out"
        }
        "lambda" if follows || back == 2 => {
            "a function has a name: `def f(x) = x^2` at the top of the file"
        }
        "for" | "while" if follows || back == 2 => {
            "there are no loops: `sum[N](e)` runs over the axis N, and a definition may refer to its own neighbours"
        }
        "let" | "var" | "val" | "const" | "auto" | "float" | "double" if declares => {
            "a definition begins with its name: `a = ...`"
        }
        "fn" | "function" | "func" if declares => {
            "a function is declared by `def f(x) = ...` at the top of the file"
        }
        "elif" | "elseif" | "elsif" if follows || back == 2 => "write `else if`",
        _ => return None,
    };
    let place = scene.span(scene.at - back);
    Some(
        Diagnostic::error(format!("`{}` is not a keyword", word.text))
            .at(place, "")
            .help(help),
    )
}

/// Whether only a name may stand here.
pub(super) fn needs_name(scene: &Scene) -> bool {
    let names = [
        Rule::name,
        Rule::input,
        Rule::option,
        Rule::setting,
        Rule::definition,
    ];
    names.iter().any(|rule| scene.expects(*rule))
        && !scene.needs_operand()
        && !scene.after_operand()
}

/// `loss in = x`, `where if = 2`, `f(use: [N])`
fn keyword_as_name(scene: &Scene) -> Option<Diagnostic> {
    let found = scene.found().filter(|found| found.is_keyword())?;
    let used = scene
        .after(1)
        .is_some_and(|after| matches!(after.text, "=" | "[" | "(" | ":" | "," | ")"));
    if !needs_name(scene) || !(used || scene.expects(Rule::name)) {
        return None;
    }
    Some(
        error(
            scene,
            format!("`{}` is a keyword", found.text),
            "a name belongs here",
        )
        .help("choose another name"),
    )
}

/// `loss f(Y: [N])`, `where S = 1`
fn capital_name(scene: &Scene) -> Option<Diagnostic> {
    let found = scene.found().filter(|found| found.is_axis())?;
    if !needs_name(scene) || scene.expects(Rule::axis) {
        return None;
    }
    let small = found.text.to_ascii_lowercase();
    let mut error = error(
        scene,
        format!("`{}` is the name of an axis", found.text),
        "names that begin with a capital letter are axes",
    );
    if !crate::parse::token::is_keyword(&small) {
        error = error.help(format!("begin it with a small letter: `{small}`"));
    }
    if scene.expects(Rule::extent) && scene.after(1).is_some_and(|after| after.is_mark("=")) {
        error = error.help(format!(
            "the extent of an axis is declared by `axis {} = ...`",
            found.text
        ));
    }
    Some(error)
}

/// `x: [n]`, `axis l = 3`, `s[n] = ...`
fn small_axis(scene: &Scene) -> Option<Diagnostic> {
    let found = scene.found().filter(|found| found.is_name())?;
    if !(scene.expects(Rule::axis) || scene.expects(Rule::dim)) || scene.needs_operand() {
        return None;
    }
    let mut letters = found.text.chars();
    let capital: String = letters
        .next()
        .into_iter()
        .flat_map(char::to_uppercase)
        .chain(letters)
        .collect();
    Some(
        error(
            scene,
            format!("`{}` is no axis", found.text),
            "an axis begins with a capital letter",
        )
        .help(format!("write `{capital}`")),
    )
}

/// `_x`: names begin with a letter.
fn odd_name(scene: &Scene) -> Option<Diagnostic> {
    let found = scene
        .found()
        .filter(|found| found.kind == TokenKind::Word && found.text.starts_with('_'))?;
    Some(error(
        scene,
        format!("`{}` is not a name", found.text),
        "names begin with a letter",
    ))
}

/// `where f(x) = x^2`
fn local_function(scene: &Scene) -> Option<Diagnostic> {
    if !(scene.in_section("where") && scene.expects(Rule::equals) && scene.found_is("(")) {
        return None;
    }
    let name = scene.before(1)?.text;
    let begins = scene.at.checked_sub(2).is_none_or(|before| {
        scene.tokens[before].is_word("where") || scene.tokens[before].ends_operand()
    });
    begins.then(|| {
        error(scene, format!("`{name}` takes no arguments here"), "a definition has no parentheses")
            .help(format!("a function is declared at the top of the file: `def {name}(...) = ...`"))
            .help(format!("if `{name}(...)` belongs to the expression before it, an operator is missing between them"))
    })
}

/// `s[N + 1] = ...`, `alpha[0] = ...`
fn head_of_indices(scene: &Scene) -> Option<Diagnostic> {
    let open = scene
        .open()
        .filter(|open| scene.tokens[*open].is_mark("["))?;
    let head = scene.expects(Rule::axis) && !scene.needs_operand();
    let after_axis =
        scene.expects(Rule::close_bracket) && scene.expects(Rule::comma) && !scene.after_operand();
    if !(head || after_axis) || !scene.is_head(open) || scene.found_is("]") {
        return None;
    }
    Some(
        error(scene, "a head names axes", "expected an axis, `,` or `]`")
            .at(scene.span(open), "the head begins here")
            .help("a definition holds at all positions of its axes; what differs at one of them is an `if`: `s[T] = if T == 0 then ... else ...`"),
    )
}

/// `def f = x`
fn no_signature(scene: &Scene) -> Option<Diagnostic> {
    if !scene.in_section("def")
        || !scene.expects(Rule::open)
        || scene.expects(Rule::equals)
        || scene.after_operand()
    {
        return None;
    }
    if scene.needs_operand() {
        return None;
    }
    let name = scene.before(1)?.text;
    Some(
        error(scene, "a function has parentheses", "expected `(`")
            .help(format!("also without arguments: `def {name}() = ...`")),
    )
}

/// `f := x`, `f <- x`, `f == x`, `def f(x): x`, `def f(x) -> x`
fn wrong_equals(scene: &Scene) -> Option<Diagnostic> {
    if !scene.expects(Rule::equals) || scene.after_operand() || scene.expects(Rule::k_in) {
        return None;
    }
    let found = scene.found()?;
    let arrow = found.is_mark("<")
        && scene
            .after(1)
            .is_some_and(|after| after.is_mark("-") && after.start == found.end());
    if !(arrow || matches!(found.text, ":=" | "==" | ":" | "->" | "=>" | "{" | "≔")) {
        return None;
    }
    let text = if arrow { "<-" } else { found.text };
    let last = if arrow { scene.at + 1 } else { scene.at };
    let help = if text == "==" {
        "`=` declares, `==` compares: write `=`"
    } else {
        "write `=`"
    };
    Some(
        Diagnostic::error(format!("expected `=`, found `{text}`"))
            .at(scene.spans(scene.at, last), "expected `=`")
            .help(help),
    )
}

/// `loss f(x) mean(x)`, and `where a = b c`, which may also lack an operator.
fn missing_equals(scene: &Scene) -> Option<Diagnostic> {
    if !scene.expects(Rule::equals) || scene.after_operand() || scene.expects(Rule::k_in) {
        return None;
    }
    // A signature without its parenthesis.
    if scene.expects(Rule::open)
        && scene
            .after(1)
            .is_some_and(|after| matches!(after.text, ":" | "," | "|" | ";"))
    {
        return None;
    }
    let name = scene.before(1)?;
    let definition = scene.in_section("where")
        && scene
            .at
            .checked_sub(2)
            .is_some_and(|before| scene.tokens[before].ends_operand());
    if !definition {
        let begins = scene.found().is_some_and(|found| {
            found.kind == TokenKind::Number
                || found.kind == TokenKind::Word
                || matches!(found.text, "-" | "(" | "[")
        });
        if !begins && scene.found().is_some() {
            return None;
        }
        return Some(error(
            scene,
            format!("`=` is missing before {}", scene.found_words()),
            "expected `=` and a value",
        ));
    }
    let error = error(
        scene,
        format!("expected `=`, found {}", scene.found_words()),
        "expected `=`",
    )
    .at(scene.span(scene.at - 1), "a definition begins here");
    Some(error.help(format!(
        "if `{}` belongs to the expression before it, an operator is missing between them",
        name.text
    )))
}

/// `a = 1; b = 2`, `a = 1, b = 2`, `f(x; w = 1)`
fn semicolon_or_comma(scene: &Scene) -> Option<Diagnostic> {
    let found = scene
        .found()
        .filter(|found| matches!(found.text, ";" | ","))?;
    if !scene.after_operand() {
        return None;
    }
    if scene.open().is_none() {
        return Some(
            error(scene, format!("`{}` means nothing here", found.text), "")
                .help("definitions and declarations follow each other without a mark between them"),
        );
    }
    if found.is_mark(",") {
        return None;
    }
    Some(
        error(scene, "the arguments of a call are separated by commas", "")
            .help("hyperparameters follow by name: `f(x, delta = 1.0)`"),
    )
}

/// What stands between declarations and is none: definitions without `where`, gradients in the wrong place.
fn misplaced_part(scene: &Scene) -> Option<Diagnostic> {
    if !scene.between_declarations() {
        return None;
    }
    let found = scene.found()?;
    match found.text {
        "gradient" if scene.in_section("where") => {
            return Some(
                error(scene, "stated gradients come before `where`", "")
                    .help("move it between the value of the loss and `where`"),
            );
        }
        "gradient" => {
            return Some(
                error(scene, "a `gradient` belongs to a loss", "")
                    .help("it follows the value of its loss"),
            );
        }
        "where" if scene.in_section("where") => {
            return Some(
                error(scene, "a second `where`", "")
                    .help("all definitions follow one `where`; leave this one out"),
            );
        }
        "where" => {
            return Some(
                error(scene, "a `where` belongs to a `loss` or `def`", "")
                    .help("it follows its value"),
            );
        }
        _ => {}
    }
    let in_value =
        scene.in_section("loss") || scene.in_section("def") || scene.in_section("gradient");
    if scene.found_definition() && in_value && scene.after_operand() {
        return Some(
            error(
                scene,
                format!("a definition of `{}` outside of `where`", found.text),
                "",
            )
            .help("write `where` before the first definition"),
        );
    }
    if scene.found_definition() || (scene.expects(Rule::file) && found.kind != TokenKind::Mark) {
        let error = error(
            scene,
            format!("expected a declaration, found {}", scene.found_words()),
            "",
        );
        let error = error.help("a file consists of `use`, `axis`, `def`, `loss` and `example`");
        return Some(if scene.found_definition() {
            error.help(format!("a loss is declared by `loss {} = ...`", found.text))
        } else {
            error
        });
    }
    None
}

/// `2 (x)`, `x y`: two operands in a row.
fn missing_operator(scene: &Scene) -> Option<Diagnostic> {
    let found = scene.found()?;
    let operand = found.kind == TokenKind::Number
        || found.is_mark("(")
        || (found.kind == TokenKind::Word
            && (!found.is_keyword() || found.ends_operand() || found.is_word("int")));
    let before = scene.before(1).filter(|before| before.ends_operand())?;
    if !operand || !scene.after_operand() {
        return None;
    }
    if found.text.starts_with('.') {
        return Some(error(
            scene,
            format!("expected an operator before {}", scene.found_words()),
            "",
        ));
    }
    let part = |token: &Token| match token.text {
        "(" | ")" | "]" => "(...)".to_owned(),
        text => text.to_owned(),
    };
    // A function of two ints, written between them.
    if let function @ ("div" | "mod") = found.text {
        let whole = match scene.after(1) {
            Some(right) => format!("`{function}({}, {})`", part(before), part(right)),
            None => format!("`{function}(a, b)`"),
        };
        return Some(
            error(
                scene,
                format!("`{function}` is a function, not an operator"),
                "",
            )
            .help(format!("it stands before its operands: {whole}")),
        );
    }
    Some(
        error(
            scene,
            format!("expected an operator before {}", scene.found_words()),
            "an operand after an operand",
        )
        .help(format!(
            "a product is written with `*`: `{} * {}`",
            part(before),
            part(found)
        )),
    )
}
