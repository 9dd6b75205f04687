//! Slips in operators and expressions: what other languages write in their place.

use super::scene::{Frame, Scene};
use super::{Slip, error};
use crate::diagnostic::Diagnostic;
use crate::parse::Rule;
use crate::parse::token::TokenKind;

pub(super) const SLIPS: [Slip; 13] = [
    norm_bars,
    foreign_operator,
    factorial,
    equals_in_condition,
    chained_comparison,
    if_as_operand,
    not_as_operand,
    axis_argument,
    where_called,
    python_if,
    list_in_expression,
    second_point,
    axis_called,
];

/// `|x|` and `||x||`.
fn norm_bars(scene: &Scene) -> Option<Diagnostic> {
    let found = scene.found()?;
    let (title, help) = match found.text {
        "|" if scene.needs_operand() => (
            "bars are no absolute value",
            "the absolute value of x is `abs(x)`",
        ),
        "||" if scene.needs_operand() => (
            "bars are no norm",
            "the length of x over the axis D is `norm[D](x)`",
        ),
        _ => return None,
    };
    Some(error(scene, title, "").help(help))
}

/// What to write for an operator of another language, if an operator or an operand stands in its place.
fn foreign_operator(scene: &Scene) -> Option<Diagnostic> {
    let found = scene
        .found()
        .filter(|found| found.kind == TokenKind::Mark)?;
    let after = scene.after_operand();
    let help = match found.text {
        "**" => "a power is written with `^`, as in `x^2`",
        "&&" | "&" if after => "write `and`",
        "||" | "|" if after => "write `or`",
        "!" | "~" if scene.needs_operand() => "write `not`",
        "%" if after => {
            "the remainder of a division is `mod(a, b)`, the whole quotient `div(a, b)`"
        }
        "===" if after => "write `==`",
        "!==" | "<>" if after => "write `!=`",
        "=<" if after => "write `<=`",
        "=>" if after => "greater or equal is written `>=`",
        "@" if after => {
            "a matrix product is a sum over the axis that both share: `sum[D](a[N, D] * b[D, M])`"
        }
        "?" if after => "a choice is written `if c then a else b`",
        "++" | "--" | "+=" | "-=" | "*=" | "/=" => {
            "definitions do not change: give the new value a name of its own"
        }
        _ => return None,
    };
    Some(
        error(
            scene,
            format!("`{}` is not an operator of the language", found.text),
            "",
        )
        .help(help),
    )
}

/// `n!`
fn factorial(scene: &Scene) -> Option<Diagnostic> {
    if !(scene.found_is("!") && scene.after_operand()) {
        return None;
    }
    Some(
        error(scene, "`!` is not an operator of the language", "")
            .help("`!=` compares, `not` negates, and the factorial of n is `exp(lgamma(n + 1))`"),
    )
}

/// `if x = 0 then`, `mean[N if x = 0]`, `(x = 0)`.
fn equals_in_condition(scene: &Scene) -> Option<Diagnostic> {
    if !(scene.found_is("=") && scene.after_operand()) {
        return None;
    }
    let frame = scene.frame();
    let waits = frame.ifs.last().is_some_and(|last| !last.then);
    let guard = frame
        .clause
        .is_some_and(|clause| scene.tokens[clause].is_word("if"));
    if !(waits || guard || frame.open.is_some()) {
        return None;
    }
    Some(
        error(
            scene,
            "`=` declares, it does not compare",
            "in an expression, equality is `==`",
        )
        .help("write `==`"),
    )
}

/// `0 < x < 1`
fn chained_comparison(scene: &Scene) -> Option<Diagnostic> {
    let found = scene.found()?;
    let Frame {
        compare: Some(first),
        start,
        ..
    } = *scene.frame()
    else {
        return None;
    };
    if !matches!(found.text, "==" | "!=" | "<" | "<=" | ">" | ">=") || !scene.after_operand() {
        return None;
    }
    let middle = scene.between(first + 1, scene.at - 1);
    let left = scene.between(start, first);
    let right = scene.between(scene.at, end_of_sum(scene, scene.at + 1)?);
    let mut error = error(scene, "comparisons do not chain", "the second comparison")
        .at(scene.span(first), "the first one");
    let joined = format!("{left} {middle} and {middle} {right}");
    error = if joined.len() <= 80 && !joined.contains('\n') && !joined.contains("//") {
        error.help(format!("write `{joined}`"))
    } else {
        error.help("join two comparisons with `and`")
    };
    Some(error)
}

/// The last token of the sum that begins at `start`.
fn end_of_sum(scene: &Scene, start: usize) -> Option<usize> {
    let mut depth = 0;
    for (index, token) in scene.tokens.iter().enumerate().skip(start) {
        let ends = match token.text {
            "(" | "[" => {
                depth += 1;
                false
            }
            ")" | "]" => {
                depth -= 1;
                depth < 0
            }
            _ if depth > 0 => false,
            "+" | "-" | "*" | "/" | "^" | "." => false,
            // An operand after an operand begins something else.
            _ if token.kind == TokenKind::Number || token.kind == TokenKind::Word => {
                !token.ends_operand() || (index > start && scene.tokens[index - 1].ends_operand())
            }
            _ => true,
        };
        if ends {
            return index.checked_sub(1).filter(|last| *last >= start);
        }
    }
    scene
        .tokens
        .len()
        .checked_sub(1)
        .filter(|last| *last >= start)
}

/// `1 + if a then b else c`
fn if_as_operand(scene: &Scene) -> Option<Diagnostic> {
    let found = scene.found().filter(|found| found.is_word("if"))?;
    if !scene.expects(Rule::number) || scene.expects(Rule::expr) {
        return None;
    }
    let before = scene.before(1).map_or("", |before| before.text);
    Some(
        error(
            scene,
            format!("an `{}` as an operand stands in parentheses", found.text),
            format!("an operand of `{before}`"),
        )
        .help(format!("write `{before} (if ... then ... else ...)`")),
    )
}

/// `a == not b`, `-not b`
fn not_as_operand(scene: &Scene) -> Option<Diagnostic> {
    scene.found().filter(|found| found.is_word("not"))?;
    if !scene.expects(Rule::number) || scene.expects(Rule::expr) {
        return None;
    }
    let before = scene.before(1).map_or("", |before| before.text);
    Some(
        error(
            scene,
            "a `not` as an operand stands in parentheses",
            format!("`{before}` binds tighter than `not`"),
        )
        .help(format!("write `{before} (not ...)`")),
    )
}

/// `where(c, a, b)`, the choice of array libraries.
fn where_called(scene: &Scene) -> Option<Diagnostic> {
    scene.found().filter(|found| found.is_word("where"))?;
    scene
        .after(1)
        .filter(|after| after.is_mark("(") && scene.needs_operand())?;
    Some(
        error(
            scene,
            "`where` is no function",
            "`where` begins the definitions of a loss",
        )
        .help("a choice is written `if c then a else b`"),
    )
}

/// `sum(x, axis=1)`: `axis` is a keyword, so this does not parse; `dim=0` does, and the checker explains it.
fn axis_argument(scene: &Scene) -> Option<Diagnostic> {
    scene.found().filter(|found| found.is_word("axis"))?;
    scene
        .after(1)
        .filter(|after| after.is_mark("=") && scene.needs_operand())?;
    let open = scene.open()?;
    let callee = open.checked_sub(1).map(|callee| scene.tokens[callee])?;
    let name = if callee.is_name() { callee.text } else { "sum" };
    Some(
        error(scene, "axes have names, not numbers", "`axis` is a keyword")
            .help(format!("name the axes in brackets: `{name}[C](x)`")),
    )
}

/// `a if c else b`
fn python_if(scene: &Scene) -> Option<Diagnostic> {
    let found = scene
        .found()
        .filter(|found| found.kind == TokenKind::Word)?;
    if !scene.after_operand() {
        return None;
    }
    match found.text {
        "if" if scene.else_follows() => Some(
            error(scene, "the condition comes first", "")
                .help("a choice is written `if c then a else b`"),
        ),
        "elif" | "elseif" | "elsif" => Some(
            error(scene, format!("`{}` is not a keyword", found.text), "").help("write `else if`"),
        ),
        _ => None,
    }
}

/// `max([a, b])`
fn list_in_expression(scene: &Scene) -> Option<Diagnostic> {
    if !(scene.found_is("[") && scene.needs_operand()) {
        return None;
    }
    Some(
        error(
            scene,
            "lists stand only in the data of an example",
            "an operand belongs here",
        )
        .help("functions of several values take them one by one: `max(a, b)`"),
    )
}

/// `np.random.x`, `x.T`, `use iou.loss`
fn second_point(scene: &Scene) -> Option<Diagnostic> {
    let found = scene.found()?;
    if found.is_mark(".") && scene.in_section("use") && scene.expects(Rule::comma) {
        return Some(
            error(scene, "a file is named without its extension", "")
                .help("`use iou` reads `iou.loss`"),
        );
    }
    if found.is_mark(".") && scene.after_operand() {
        return Some(
            error(scene, "a name has at most one point", "")
                .help("`iou.union(...)` is the function `union` of the file that `use iou` imports; builtins have no point"),
        );
    }
    if scene.before(1).is_some_and(|before| before.is_mark(".")) && scene.expects(Rule::name) {
        return Some(
            error(
                scene,
                format!(
                    "expected the name of a function after the point, found {}",
                    scene.found_words()
                ),
                "",
            )
            .help("`iou.union(...)` is the function `union` of the file that `use iou` imports"),
        );
    }
    None
}

/// `mean[N(x)`, `F(x)`, `Sum[N](x)`
fn axis_called(scene: &Scene) -> Option<Diagnostic> {
    let axis = scene.before(1).filter(|before| before.is_axis())?;
    if scene.found_is("[") && scene.after_operand() {
        let title = format!("`{}` is an axis, it has no positions", axis.text);
        return Some(
            error(scene, &title, "")
                .help("the names of functions and of all that is read begin with a small letter"),
        );
    }
    if !(scene.found_is("(") && scene.after_operand()) {
        return None;
    }
    let error = Diagnostic::error(format!("`{}` is an axis, not a function", axis.text))
        .at(scene.place(), "an axis has no arguments")
        .help("the names of functions begin with a small letter");
    let open = scene.open().filter(|open| scene.tokens[*open].is_mark("["));
    Some(match open {
        Some(open) => error.at(
            scene.span(open),
            "or do these brackets end before the parenthesis?",
        ),
        None => error,
    })
}
