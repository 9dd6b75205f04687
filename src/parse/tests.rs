use super::*;
use crate::ast::Span;
use crate::sexpr;
use std::time::{Duration, Instant};

fn parse_text(text: &str) -> Result<File, Vec<Diagnostic>> {
    let mut sources = Sources::default();
    let file = sources.add("test.loss", text);
    parse(&sources, file)
}

/// The tree of an expression.
fn expression(text: &str) -> String {
    let file =
        parse_text(&format!("loss f = {text}")).unwrap_or_else(|error| panic!("{text}: {error:?}"));
    file.loss.unwrap().value.to_string()
}

/// The tree of a file.
fn tree(text: &str) -> String {
    sexpr::file(&parse_text(text).unwrap_or_else(|error| panic!("{text}: {error:?}")))
}

#[test]
fn expressions() {
    for (source, expected) in [
        // Precedence, from the loosest operator to the tightest.
        (
            "a or b and not c == d + e * -f ^ g",
            "(or a (and b (not (== c (+ d (* e (- (^ f g))))))))",
        ),
        ("-x^2", "(- (^ x 2))"),
        ("2^-x", "(^ 2 (- x))"),
        ("2^-x^2 * y", "(* (^ 2 (- (^ x 2))) y)"),
        ("a^b^c", "(^ a (^ b c))"),
        ("(-x)^2", "(^ (- x) 2)"),
        ("- - x", "(- (- x))"),
        ("not not a", "(not (not a))"),
        ("not a and b", "(and (not a) b)"),
        ("a * -b", "(* a (- b))"),
        ("a <-b", "(< a (- b))"),
        // Chains group from the left.
        ("a - b - c", "(- a b c)"),
        ("a - b + c", "(+ (- a b) c)"),
        ("a - (b + c)", "(- a (+ b c))"),
        ("a / b * c / d", "(/ (* (/ a b) c) d)"),
        // An if reaches as far right as it can.
        ("if a then b else c + d", "(if a b (+ c d))"),
        ("(if a then b else c) + d", "(+ (if a b c) d)"),
        ("if a then b else if c then d else e", "(if a b (if c d e))"),
        ("if a then if b then c else d else e", "(if a (if b c d) e)"),
        // Reads, calls and reductions.
        ("x[N, target]", "x[N target]"),
        ("x[N - 1 else 0]", "x[(- N 1) else 0]"),
        ("mean[N if t != 0](e)", "mean[N if (!= t 0)](e)"),
        ("mean[* if mask](e)", "mean[* if mask](e)"),
        ("size(*) * size(N)", "(* size(*) size(N))"),
        (
            "iou.ratio(a, b[N], eps = 1e-7)",
            "iou.ratio(a b[N] eps=1e-7)",
        ),
        ("int(x) + f()", "(+ int(x) f())"),
        ("grad[w](inner)", "grad[w](inner)"),
        ("f(a == b, c = d == e)", "f((== a b) c=(== d e))"),
        ("x [N] (a)", "x[N](a)"),
        // Trailing commas.
        ("f(a, b,)", "f(a b)"),
        (
            "sum[N, C,](x) + y[N, else 0]",
            "(+ sum[N C](x) y[N else 0])",
        ),
        // Numbers and constants.
        ("1 + 1.0 + 1e2 + 1.5E-3", "(+ 1 1.0 100.0 0.0015)"),
        ("-inf + pi", "(+ (- inf) pi)"),
        ("true and false", "(and true false)"),
        // Words that only begin like keywords.
        ("iffy + notes + inner + pine", "(+ iffy notes inner pine)"),
        // Comments and line ends.
        ("a // comment\n\r\n\t+ b", "(+ a b)"),
        ("a //// banner\n / b", "(/ a b)"),
    ] {
        assert_eq!(expression(source), expected, "{source}");
    }
}

#[test]
fn declarations() {
    for (source, expected) in [
        ("\u{FEFF}loss f = x", "(loss f bare x)\n"),
        ("use a, b,\ndef f() = 1", "(use a)\n(use b)\n(def f () 1)\n"),
        ("axis L = 2 * size(S) + 1", "(axis L (+ (* 2 size(S)) 1))\n"),
        ("loss f() = 1", "(loss f () 1)\n"),
        (
            "loss f(x: [N, C,], y, | t: int[N], m: bool[], z: [*], b: [N, 4]; d = 1.0 in (0, inf), i: int = -1, q in [0, 1), r,) = 1",
            "(loss f (x:[N C] y | t:int[N] m:bool[] z:[*] b:[N 4] ; (d 1.0 in (0, inf)) (i int -1) (q in [0, 1)) (r)) 1)\n",
        ),
        (
            "loss f(x) = a gradient x = b gradient y[N, A] = c where axis A = 4 a = x b[N] = y c = 1",
            "(loss f (x) a)\n  (gradient x b)\n  (gradient y[N A] c)\n  (axis A 4)\n  (= a x)\n  (= b[N] y)\n  (= c 1)\n",
        ),
        (
            "example f(x = [[1, -2.5], [],], y = -inf, z = true,) == log(2) - 1",
            "(example f (x [[1 -2.5] []]) (y -inf) (z true) (- log(2) 1))\n",
        ),
    ] {
        assert_eq!(tree(source), expected, "{source}");
    }
}

#[test]
fn docs_are_kept() {
    let file = parse_text(
        "/// First\n///   indented\n///\nloss f(\n  /// the input\n  x;\n  /// the width\n  w = 1) = a\n\
         /// intended: why\ngradient x = b where\n /// a's doc\n a = x // plain",
    )
    .unwrap();
    let loss = file.loss.unwrap();
    let signature = loss.signature.unwrap();
    assert_eq!(loss.doc, "First\n  indented\n");
    assert_eq!(signature.inputs[0].doc, "the input");
    assert_eq!(signature.options[0].doc, "the width");
    assert_eq!(loss.gradients[0].doc, "intended: why");
    assert_eq!(loss.bindings.definitions[0].doc, "a's doc");
}

#[test]
fn spans_end_with_the_last_word() {
    let text = "loss f(x) = a  // c\n\n where a = x [ N ]  // d\n\n example f(x = 1) == 2 \n";
    let file = parse_text(text).unwrap();
    let at = |span: Span| &text[span.start as usize..span.end as usize];
    let loss = file.loss.unwrap();
    assert_eq!(at(loss.value.span), "a");
    assert_eq!(at(loss.bindings.definitions[0].value.span), "x [ N ]");
    assert_eq!(at(loss.span), "loss f(x) = a  // c\n\n where a = x [ N ]");
    assert_eq!(at(file.examples[0].span), "example f(x = 1) == 2");
}

#[test]
fn the_shipped_specs_parse() {
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/specs")).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "loss")
        {
            let text = std::fs::read_to_string(&path).unwrap();
            let file =
                parse_text(&text).unwrap_or_else(|error| panic!("{}: {error:?}", path.display()));
            assert!(file.loss.is_some());
        }
    }
}

/// Each kind of nesting, `n` levels of it within the declaration.
fn nested(n: usize) -> Vec<String> {
    let wrap = |open: &str, close: &str| format!("loss f = {}x{}", open.repeat(n), close.repeat(n));
    vec![
        wrap("(", ")"),
        wrap("x[", "]"),
        wrap("f(", ")"),
        wrap("x[N if ", "]"),
        wrap("x[N else ", "]"),
        wrap("-", ""),
        wrap("- ", ""),
        wrap("not ", ""),
        wrap("2^", ""),
        wrap("if a then b else ", ""),
        wrap("if a then ", " else b"),
        wrap("if ", " then a else b"),
        wrap("f(a = ", ")"),
        format!(
            "example f(x = {}{}) == 1",
            "[".repeat(n - 1),
            "]".repeat(n - 1)
        ),
        format!("example f(x = 1) == {}1{}", "(".repeat(n), ")".repeat(n)),
    ]
}

#[test]
fn nesting_has_one_limit_in_every_thread() {
    // The stack of a thread is far smaller than what the limit needs in a debug build.
    let thread = std::thread::Builder::new().stack_size(128 << 10).spawn(|| {
        for text in nested(MAX_NESTING) {
            assert!(
                parse_text(&text).is_ok(),
                "{}: {:?}",
                &text[..60],
                parse_text(&text)
            );
        }
        for text in nested(MAX_NESTING + 1).into_iter().chain(nested(100_000)) {
            let errors = parse_text(&text).unwrap_err();
            assert_eq!(
                errors[0].title,
                "nested more than 200 levels deep",
                "{}",
                &text[..60]
            );
        }
    });
    thread.unwrap().join().unwrap();
}

#[test]
fn kinds_of_nesting_add_up_only_where_they_nest() {
    let flat = [
        ("not a and ", "b"),
        ("-a + ", "b"),
        ("a^b * ", "c"),
        ("(if a then b else c) + ", "d"),
        ("f(-a, if b then c else d) + ", "e"),
        ("x[N if a](-b) / ", "c"),
    ];
    for (term, last) in flat {
        let text = format!("loss f = {}{last}", term.repeat(1000));
        assert!(parse_text(&text).is_ok(), "{term}");
    }
    let mixed = format!(
        "loss f = {}x{}",
        "-(not (a == 2^".repeat(60),
        "))".repeat(60)
    );
    assert!(parse_text(&mixed).is_err());
}

#[test]
fn long_texts_are_fast() {
    let sum = format!("loss f = {}x", "x + ".repeat(100_000));
    let either = format!("loss f = {}x", "x * 2 == 1 or not y and ".repeat(10_000));
    let mut chain = "loss f = d10000 where d0 = x".to_owned();
    for i in 1..=10_000 {
        chain += &format!("\n  /// step\n  d{i}[N] = d{} + 1 // add", i - 1);
    }
    let list = format!("example f(x = [{}]) == 1", "[1.5, -2],".repeat(10_000));
    let comments = format!("loss f = x {}", "// a comment\n".repeat(100_000));
    for text in [sum, either, chain, list, comments] {
        let start = Instant::now();
        assert!(parse_text(&text).is_ok(), "{}", &text[..40]);
        let spent = start.elapsed();
        assert!(
            spent < Duration::from_secs(20),
            "{}: {spent:?}",
            &text[..40]
        );
    }
}

#[test]
fn numbers_out_of_range() {
    for text in ["99999999999999999999", "1e999"] {
        assert!(parse_text(&format!("loss f = {text}")).is_err());
    }
}

#[test]
fn decode_names_the_byte() {
    let error = decode("f.loss", b"loss f\n = \xff".to_vec()).unwrap_err();
    assert_eq!(
        error.title,
        "`f.loss` is not UTF-8: byte 10 (line 2) is 0xff"
    );
}
