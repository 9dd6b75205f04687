//! What the grammar expects, in the words of the language.

use super::scene::Scene;
use crate::parse::Rule;

/// What may stand at the place, as a list: "an operator, `,` or `)`".
pub(super) fn expected(scene: &Scene) -> String {
    // Inside brackets, operators and the closing mark say enough.
    let mut words: Vec<&str> = vec![];
    for rule in scene.expected() {
        if let Some(word) = word(*rule, scene).filter(|word| !words.contains(word)) {
            words.push(word);
        }
    }
    words.sort_by_key(|word| word.starts_with('`'));
    match words.as_slice() {
        [] => "the end of the file".to_owned(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// A rule's name for a person; none where it goes without saying.
fn word(rule: Rule, scene: &Scene) -> Option<&'static str> {
    let after_operand = scene.after_operand();
    Some(match rule {
        Rule::expr | Rule::choice | Rule::sum_alone => "an expression",
        Rule::number | Rule::constant | Rule::negative | Rule::use_of | Rule::group => "an operand",
        Rule::axis if scene.expects(Rule::number) => "an operand",
        Rule::open if scene.expects(Rule::number) => "an operand",
        Rule::axis => "an axis",
        Rule::compare | Rule::plus | Rule::minus | Rule::times | Rule::over | Rule::raised => {
            "an operator"
        }
        Rule::k_and | Rule::k_or => "an operator",
        Rule::dot | Rule::open | Rule::open_bracket if after_operand => return None,
        Rule::bracket | Rule::arguments if after_operand => return None,
        Rule::EOI | Rule::doc | Rule::keyword => return None,
        // The keywords of declarations are expected one by one after a doc comment.
        Rule::import | Rule::function | Rule::loss | Rule::example | Rule::file => "a declaration",
        Rule::extent if scene.expects(Rule::definition) && !scene.between_declarations() => {
            "an `axis`"
        }
        Rule::extent => "a declaration",
        Rule::k_use | Rule::k_axis | Rule::k_def | Rule::k_loss | Rule::k_example => {
            "a declaration"
        }
        Rule::gradient | Rule::k_gradient => "`gradient`",
        Rule::bindings | Rule::k_where => "`where`",
        Rule::definition => "a definition",
        Rule::name => "a name",
        Rule::head => "`[`",
        Rule::signature => "`(`",
        Rule::setting => "an input with its data",
        Rule::list | Rule::literal => "a number",
        Rule::inputs | Rule::input => "an input",
        Rule::given => "`|`",
        Rule::options => "`;`",
        Rule::option => "a hyperparameter",
        Rule::shape => "a shape",
        Rule::dim => "an axis",
        Rule::domain | Rule::k_in => "`in`",
        Rule::kind => "`int`",
        Rule::named => "an argument",
        Rule::bracket => "`[`",
        Rule::arguments => "`(`",
        Rule::guard | Rule::k_if => "`if`",
        Rule::default | Rule::k_else => "`else`",
        Rule::k_then => "`then`",
        Rule::k_not => "`not`",
        Rule::equals => "`=`",
        Rule::double_equals => "`==`",
        Rule::open => "`(`",
        Rule::close => "`)`",
        Rule::open_bracket => "`[`",
        Rule::close_bracket => "`]`",
        Rule::comma => "`,`",
        Rule::colon => "`:`",
        Rule::semicolon => "`;`",
        Rule::bar => "`|`",
        Rule::dot => "`.`",
        Rule::star => "`*`",
        // Silent rules are never reported.
        Rule::WHITESPACE
        | Rule::COMMENT
        | Rule::line
        | Rule::word
        | Rule::digits
        | Rule::declaration
        | Rule::settings
        | Rule::value
        | Rule::either
        | Rule::both
        | Rule::negated
        | Rule::comparison
        | Rule::sum
        | Rule::product
        | Rule::unary
        | Rule::power
        | Rule::atom
        | Rule::argument
        | Rule::position
        | Rule::byte_order_mark => return None,
    })
}
