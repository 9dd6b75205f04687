//! Why a text does not parse. The parser stops at the first place that the grammar cannot pass, and says which words
//! and marks it would have taken there. What a person meant is found from the tokens around that place: a list of
//! slips, each with a help of its own, is tried in order, and where none fits the message says what was expected.
//!
//! A help is given only where it is right for every text that leads to it.

mod brackets;
mod declarations;
mod operators;
mod scene;
mod signatures;
mod text;
mod words;

use super::Rule;
use crate::ast::FileId;
use crate::diagnostic::Diagnostic;
use scene::Scene;

type Slip = fn(&Scene) -> Option<Diagnostic>;

/// The slips, the more specific before the more general.
const SLIPS: [&[Slip]; 5] = [
    &text::SLIPS,
    &operators::SLIPS,
    &brackets::SLIPS,
    &signatures::SLIPS,
    &declarations::SLIPS,
];

/// The message for a text that the grammar could not pass at the byte `place`, where it `expected` one of some rules.
pub(super) fn explain(text: &str, file: FileId, place: usize, expected: &[Rule]) -> Diagnostic {
    let scene = Scene::new(text, file, place, expected);
    let slip = SLIPS
        .iter()
        .copied()
        .flatten()
        .find_map(|slip| slip(&scene));
    slip.unwrap_or_else(|| unexpected(&scene))
}

/// An error at the token found.
fn error(scene: &Scene, title: impl Into<String>, label: impl Into<String>) -> Diagnostic {
    Diagnostic::error(title).at(scene.place(), label)
}

/// Nothing more is known than what stands here and what may stand here.
fn unexpected(scene: &Scene) -> Diagnostic {
    let expected = words::expected(scene);
    let error = Diagnostic::error(format!(
        "expected {expected}, found {}",
        scene.found_words()
    ))
    .at(scene.place(), format!("expected {expected}"));
    match scene.open() {
        Some(open) if scene.expects(Rule::close) || scene.expects(Rule::close_bracket) => {
            error.at(scene.span(open), "opened here")
        }
        _ => error,
    }
}
