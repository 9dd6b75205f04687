//! Slips in signatures and in the data of examples.

use super::declarations::needs_name;
use super::scene::Scene;
use super::{Slip, error};
use crate::diagnostic::Diagnostic;
use crate::parse::Rule;
use crate::parse::token::TokenKind;

pub(super) const SLIPS: [Slip; 6] = [
    input_with_default,
    foreign_type,
    condition_as_domain,
    value_of_hyperparameter,
    data,
    example_mark,
];

/// `example f(x = 1) = 1`
fn example_mark(scene: &Scene) -> Option<Diagnostic> {
    if !scene.expects(Rule::double_equals) {
        return None;
    }
    let error = error(
        scene,
        format!("expected `==` and the value, found {}", scene.found_words()),
        "expected `==`",
    );
    Some(if scene.found_is("=") {
        error.help("`=` declares, an example compares: write `==`")
    } else {
        error
    })
}

/// `loss f(x = 1)`
fn input_with_default(scene: &Scene) -> Option<Diagnostic> {
    if !(scene.found_is("=") && scene.expects(Rule::bar) && scene.expects(Rule::semicolon)) {
        return None;
    }
    let name = scene
        .before(1)
        .filter(|before| before.is_name())
        .map_or("delta", |before| before.text);
    Some(error(scene, "an input has no default", "").help(format!(
        "hyperparameters stand after a semicolon: `(x; {name} = 1.0)`"
    )))
}

/// `x: N`, `x: float[N]`, `t: int`, `delta: float`
fn foreign_type(scene: &Scene) -> Option<Diagnostic> {
    let found = scene.found()?;
    if scene.expects(Rule::shape)
        || (scene.expects(Rule::open_bracket) && scene.expects(Rule::kind))
    {
        if found.is_axis() {
            return Some(
                error(scene, "a shape stands in brackets", "")
                    .help(format!("write `[{}]`", found.text)),
            );
        }
        if found.is_name() {
            return Some(
                error(scene, format!("`{}` is not a type", found.text), "expected a shape")
                    .help("`[N]` holds real numbers, `int[N]` whole ones, `bool[N]` truth values; `[]` is a single number"),
            );
        }
        return None;
    }
    if scene
        .before(1)
        .is_some_and(|before| matches!(before.text, "int" | "bool"))
        && scene.expects(Rule::open_bracket)
        && !scene.after_operand()
        && !scene.expects(Rule::open)
    {
        let kind = scene.before(1)?.text;
        return Some(
            error(scene, format!("`{kind}` needs a shape"), "expected `[`")
                .help(format!("`{kind}[N]` has the axis N, `{kind}[]` is a single value, `{kind}[*]` has any shape")),
        );
    }
    let real = found.is_name() || found.is_axis();
    if scene.expects(Rule::kind) && !scene.needs_operand() && !needs_name(scene) && real {
        return Some(
            error(
                scene,
                format!("`{}` is not the type of a hyperparameter", found.text),
                "expected `int`",
            )
            .help("without a type a hyperparameter is a real number"),
        );
    }
    None
}

/// `delta > 0` in a signature.
fn condition_as_domain(scene: &Scene) -> Option<Diagnostic> {
    let found = scene.found()?;
    if !scene.expects(Rule::k_in) || !matches!(found.text, "<" | "<=" | ">" | ">=") {
        return None;
    }
    Some(
        error(scene, "the domain of a hyperparameter is an interval", "")
            .help("`in (0, inf)` means greater than 0, `in [0, 1]` from 0 to 1"),
    )
}

/// `delta = 1 / 2` in a signature, `in (0, 2 * pi)`.
fn value_of_hyperparameter(scene: &Scene) -> Option<Diagnostic> {
    let signature = scene
        .section
        .is_some_and(|section| matches!(scene.tokens[section].text, "loss" | "def"));
    let operator = scene.expects(Rule::k_in)
        && scene
            .found()
            .is_some_and(|found| matches!(found.text, "+" | "-" | "*" | "/" | "^"));
    let operand = scene.expects(Rule::literal)
        && scene
            .found()
            .is_some_and(|found| found.is_name() || found.is_mark("("));
    if !signature || !(operator || operand) {
        return None;
    }
    Some(
        error(
            scene,
            "a default is a number",
            "an expression cannot stand here",
        )
        .help("work it out, or compute it in `where`"),
    )
}

/// `example f(x = 1/2)`, `example f([1, 2])`, `example f(x = log(2))`
fn data(scene: &Scene) -> Option<Diagnostic> {
    if !scene.in_section("example")
        || scene.open().is_none()
        || scene.needs_operand() && !scene.expects(Rule::literal)
    {
        return None;
    }
    let found = scene.found()?;
    if scene.expects(Rule::setting) || scene.expects(Rule::name) {
        let value = found.kind == TokenKind::Number || matches!(found.text, "[" | "-");
        return value.then(|| {
            error(
                scene,
                "the data of an example have names",
                "expected an input's name",
            )
            .help("write `name = value` for every input, as in `(yhat = [0, 1], y = [1, 1])`")
        });
    }
    let operator = matches!(found.text, "+" | "-" | "*" | "/" | "^" | "(");
    let inside = scene.expects(Rule::literal)
        || (scene.expects(Rule::comma) && operator && !scene.after_operand());
    if !inside || !(operator || found.is_name()) {
        return None;
    }
    Some(
        error(
            scene,
            "the data of an example are numbers",
            "an expression cannot stand here",
        )
        .help("expressions stand only after `==`"),
    )
}
