//! Slips in characters, comments and numbers.

use super::scene::Scene;
use super::{Slip, error};
use crate::diagnostic::Diagnostic;
use crate::parse::token::{Token, TokenKind};

pub(super) const SLIPS: [Slip; 5] = [
    misplaced_doc,
    foreign_character,
    foreign_mark,
    malformed_number,
    number_with_letters,
];

/// `loss f = x /// the value`: a doc comment that documents nothing.
fn misplaced_doc(scene: &Scene) -> Option<Diagnostic> {
    let doc = (0..=1).find_map(|back| {
        let index = scene.at.checked_sub(back)?;
        scene
            .tokens
            .get(index)
            .filter(|token| token.kind == TokenKind::Doc)
            .map(|_| index)
    })?;
    // Between declarations the comment is right, and what follows it is wrong.
    let found = scene.found().filter(|found| found.kind != TokenKind::Doc);
    if doc < scene.at
        && found.is_some_and(|found| found.is_keyword() || found.is_name() || found.is_axis())
    {
        return None;
    }
    Some(
        Diagnostic::error("this comment documents nothing")
            .at(
                scene.span(doc),
                "no declaration, input or hyperparameter follows",
            )
            .help("a plain comment begins with `//`"),
    )
}

/// What to write for a character that the language does not have.
const CHARACTERS: [(char, &str); 36] = [
    ('≤', "`<=`"),
    ('⩽', "`<=`"),
    ('≥', "`>=`"),
    ('⩾', "`>=`"),
    ('≠', "`!=`"),
    ('≡', "`==`"),
    ('≔', "`=`"),
    ('−', "`-`"),
    ('–', "`-`"),
    ('—', "`-`"),
    ('·', "`*`"),
    ('⋅', "`*`"),
    ('∙', "`*`"),
    ('×', "`*`"),
    ('÷', "`/`"),
    ('∕', "`/`"),
    ('⁄', "`/`"),
    ('²', "`^2`"),
    ('³', "`^3`"),
    ('¹', "`^1`"),
    ('½', "`0.5`"),
    ('√', "`sqrt(x)`"),
    ('∑', "`sum[N](x)`"),
    ('∏', "`prod[N](x)`"),
    ('∞', "`inf`"),
    ('∧', "`and`"),
    ('∨', "`or`"),
    ('¬', "`not`"),
    ('‖', "`norm(x)` around the vector"),
    ('∇', "`grad[x](e)`"),
    ('π', "`pi`"),
    ('∂', "`grad[x](e)`"),
    ('⟨', "`(`"),
    ('⟩', "`)`"),
    ('（', "`(`"),
    ('）', "`)`"),
];

/// `a ≤ b`, `x²`, `λ`, and spaces that only look like spaces.
fn foreign_character(scene: &Scene) -> Option<Diagnostic> {
    let found = scene.found()?;
    let character = found.text.chars().find(|c| !c.is_ascii())?;
    let entry = CHARACTERS.iter().find(|(known, _)| *known == character);
    if let (Some((_, instead)), true) = (entry, found.text.chars().count() == 1) {
        return Some(
            error(scene, format!("`{character}` is not in the language"), "")
                .help(format!("write {instead}")),
        );
    }
    if let (Some(name), 1) = (greek(character), found.text.chars().count()) {
        return Some(
            error(scene, format!("`{character}` is not a name"), "")
                .help(format!("spell it out: `{name}`")),
        );
    }
    if found.kind == TokenKind::Word {
        return Some(
            error(
                scene,
                format!("`{}` is not a name", found.text),
                format!("`{character}` stands in no name"),
            )
            .help("names are of the letters a to z and A to Z, digits and `_`"),
        );
    }
    let code = format!("U+{:04X}", character as u32);
    let blank = character.is_whitespace() || character.is_control();
    if blank || "\u{200B}\u{200C}\u{200D}\u{2060}\u{FEFF}".contains(character) {
        let error = error(
            scene,
            format!("the character {code} is not in the language"),
            "it only looks like a space",
        );
        return Some(error.help("replace it by a space"));
    }
    Some(error(
        scene,
        format!("`{character}` ({code}) is not in the language"),
        "",
    ))
}

fn greek(letter: char) -> Option<&'static str> {
    const NAMES: [&str; 25] = [
        "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa",
        "lambda", "mu", "nu", "xi", "omicron", "pi", "rho", "sigma", "sigma", "tau", "upsilon",
        "phi", "chi", "psi", "omega",
    ];
    NAMES
        .get((letter as usize).checked_sub('α' as usize)?)
        .copied()
}

/// Marks that have no place in the language at all, or none outside of signatures.
fn foreign_mark(scene: &Scene) -> Option<Diagnostic> {
    let found = scene
        .found()
        .filter(|found| found.kind == TokenKind::Mark)?;
    let (title, help) = match found.text {
        "#" => (
            "`#` begins no comment",
            "a comment begins with `//` and ends with its line",
        ),
        "/*" => (
            "`/*` begins no comment",
            "a comment begins with `//` and ends with its line",
        ),
        "{" | "}" => (
            "braces mean nothing here",
            "expressions are grouped by parentheses, definitions stand after `where`",
        ),
        "\"" | "'" if scene.in_section("use") => (
            "there are no strings",
            "a file is named without quotes: `use iou`",
        ),
        "\"" | "`" => (
            "there are no strings",
            "data are numbers, `true`, `false` and lists of them",
        ),
        "'" if scene.after_operand() => (
            "there is no transposition",
            "read the axes in the order that is needed: `a[M, N]`",
        ),
        "'" => (
            "there are no strings",
            "data are numbers, `true`, `false` and lists of them",
        ),
        "\\" => (
            "`\\` means nothing here",
            "line ends mean nothing: an expression goes on without a mark",
        ),
        "$" => ("`$` means nothing here", "names stand for themselves"),
        ":" if scene.after_operand()
            && scene
                .frame()
                .open
                .is_some_and(|open| scene.tokens[open].is_mark("[")) =>
        {
            (
                "there are no slices",
                "an axis runs over all its positions; `axis M = size(N) - 1` declares a shorter one, and `x[M + 1]` reads with it",
            )
        }
        _ => return None,
    };
    Some(error(scene, title, "").help(help))
}

/// `.5`, `5.`
fn malformed_number(scene: &Scene) -> Option<Diagnostic> {
    let found = scene
        .found()
        .filter(|found| found.kind == TokenKind::Number)?;
    let text = found.text;
    let touches_operand =
        scene.touches_before() && scene.before(1).is_some_and(Token::ends_operand);
    let whole = if text.starts_with('.') && !touches_operand {
        format!("0{text}")
    } else if text.ends_with('.') {
        format!("{text}0")
    } else if text.contains(".e") || text.contains(".E") {
        text.replacen('.', ".0", 1)
    } else {
        return None;
    };
    Some(
        error(
            scene,
            format!("`{text}` is not a number"),
            "digits stand on both sides of the point",
        )
        .help(format!("write `{whole}`")),
    )
}

/// `2x`, `1e`, `0x1F`, `10L`
fn number_with_letters(scene: &Scene) -> Option<Diagnostic> {
    let number = scene
        .found()
        .filter(|found| found.kind == TokenKind::Number)?;
    let word = scene
        .after(1)
        .filter(|word| word.kind == TokenKind::Word && word.start == number.end())?;
    let whole = Diagnostic::error(format!(
        "`{}{}` is neither a number nor a name",
        number.text, word.text
    ))
    .at(scene.spans(scene.at, scene.at + 1), "");
    Some(match word.text {
        "e" | "E" => whole.help(format!("an exponent has digits: `{}e-7`", number.text)),
        text if text.starts_with('_') => whole.help("digits of a number stand together"),
        "f" | "F" | "d" | "L" | "u" | "j" => whole.help("a number has no suffix"),
        text => whole.help(format!(
            "a product is written with `*`: `{} * {text}`",
            number.text
        )),
    })
}
