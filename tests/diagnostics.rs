//! What a person sees for a broken spec: each file of `tests/errors` with the whole rendered diagnostics as a snapshot.
//! `INSTA_UPDATE=always cargo test --test diagnostics` writes them anew; read them as a user would.

use losscc::ast::{FileId, Span};
use losscc::diagnostic::{Diagnostic, Sources};
use losscc::parse;
use losscc::render::render;
use std::fmt::Write;
use std::path::Path;

/// All that losscc says about one file, under this name.
fn diagnose(path: &Path, name: &str) -> String {
    let text = parse::decode(name, std::fs::read(path).unwrap()).unwrap();
    let mut sources = Sources::default();
    let file = sources.add(name, text);
    let diagnostics = match parse::parse(&sources, file) {
        Err(diagnostics) => diagnostics,
        Ok(_) => vec![],
    };
    let mut out = String::new();
    for diagnostic in &diagnostics {
        writeln!(out, "{}\n", render(diagnostic, &sources, false)).unwrap();
    }
    out
}

#[test]
fn broken_specs() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/errors");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_snapshot_path("snapshots/errors");
    settings.set_omit_expression(true);
    let _guard = settings.bind_to_scope();
    for path in paths.iter().filter(|path| {
        path.extension()
            .is_some_and(|extension| extension == "loss")
    }) {
        let said = diagnose(path, path.file_name().unwrap().to_str().unwrap());
        assert!(!said.is_empty(), "{} is not refused", path.display());
        insta::assert_snapshot!(path.file_stem().unwrap().to_str().unwrap(), said);
    }
}

/// No message shows the name of a rule of the grammar.
#[test]
fn no_rule_is_named() {
    let grammar = include_str!("../grammar/loss.pest");
    let rules = grammar
        .lines()
        .filter_map(|line| line.split_once(" = ").map(|(rule, _)| rule.trim()));
    // Words that are names of rules as they are of the language.
    let odd: Vec<&str> = rules.filter(|rule| rule.contains('_')).collect();
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/errors")).unwrap() {
        let said = diagnose(&entry.unwrap().path(), "a.loss");
        for rule in &odd {
            assert!(!said.contains(rule), "`{rule}` in\n{said}");
        }
    }
}

fn rendering(diagnostics: &[Diagnostic], sources: &Sources) -> String {
    let texts: Vec<String> = diagnostics
        .iter()
        .map(|diagnostic| render(diagnostic, sources, false))
        .collect();
    texts.join("\n\n")
}

/// Places at the end of a file, in several files, after tabs and wide characters, in long lines and beyond the text.
#[test]
fn odd_places() {
    let mut sources = Sources::default();
    let plain = sources.add("plain.loss", "loss f = x +\n");
    let odd = sources.add(
        "odd.loss",
        "\tloss résumé = 😀x\r\n  where\r\n  y = ∑z\r\n\r\n\r\n\r\n k = 1\r\n",
    );
    let long = format!(
        "loss f = {}y + oops + {}z",
        "x + ".repeat(200),
        "q * ".repeat(200)
    );
    let place = long.find("oops").unwrap() as u32;
    let long = sources.add("long.loss", long);
    let empty = sources.add("empty.loss", "");
    let at = |file: FileId, start: u32, end: u32| Span { file, start, end };
    let diagnostics = [
        Diagnostic::error("after the last line")
            .at(at(plain, 13, 13), "here")
            .help("two lines\nof help"),
        Diagnostic::error("after a line")
            .at(at(plain, 12, 12), "here")
            .at(at(plain, 5, 6), "because of this"),
        Diagnostic::warning("two files")
            .at(at(odd, 6, 14), "the name")
            .at(at(odd, 17, 21), "the face")
            .at(at(odd, 37, 40), "the sum")
            .at(at(plain, 0, 4), "the other file")
            .note("a\ttab and an escape \x1b[31m"),
        Diagnostic::error("several lines")
            .at(at(odd, 1, 45), "cut to the first")
            .at(at(odd, 55, 56), "far away"),
        Diagnostic::error("a long line").at(at(long, place, place + 4), "oops"),
        Diagnostic::error("an empty file").at(at(empty, 0, 0), "nothing"),
        Diagnostic::error("beyond the end").at(at(empty, 10, 20), "nothing"),
        Diagnostic::error("within a character, and backwards").at(at(odd, 19, 18), "here"),
        Diagnostic::data("no place at all")
            .note("a note")
            .help("a help"),
    ];
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let _guard = settings.bind_to_scope();
    insta::assert_snapshot!("odd_places", rendering(&diagnostics, &sources));
}

#[test]
fn colour_is_asked_for() {
    let error = Diagnostic::error("wrong");
    assert!(render(&error, &Sources::default(), true).contains('\x1b'));
    assert!(!render(&error, &Sources::default(), false).contains('\x1b'));
}

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % n
    }
}

/// Pieces that are put into specs where they do not belong.
const PIECES: [&str; 44] = [
    "(", ")", "[", "]", "{", ",", ";", ":", "=", "==", "**", "*", "-", "+", "^", "<", "<=", "|",
    "||", "&&", "!", "%", "?", ".", "..", "5.", ".5", "2x", "#", "///", "if", "then", "else",
    "not", "and", "where", "axis", "loss", "in", "int", "x", "N", "é", "²",
];

/// Specs with one token deleted, doubled or replaced: some message, with a place in the text, and never a panic.
#[test]
fn damaged_specs() {
    let mut dice = Dice(7);
    let mut refused = 0;
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/specs")).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let tokens: Vec<_> = parse::token::Tokens::new(&text).collect();
        for _ in 0..10 {
            let token = tokens[dice.below(tokens.len())];
            let (start, end) = match dice.below(3) {
                0 => (token.start, token.end()),
                1 => (token.start, token.start),
                _ => (
                    token.start,
                    token.start + text[token.start..].chars().next().unwrap().len_utf8(),
                ),
            };
            let piece = if dice.below(3) == 0 {
                ""
            } else {
                PIECES[dice.below(PIECES.len())]
            };
            let damaged = format!("{}{piece} {}", &text[..start], &text[end..]);
            let mut sources = Sources::default();
            let file = sources.add("damaged.loss", damaged.clone());
            for diagnostic in parse::parse(&sources, file).err().into_iter().flatten() {
                refused += 1;
                let (span, _) = diagnostic.labels.first().expect("a place");
                assert!(span.start <= span.end && span.end as usize <= damaged.len());
                let said = render(&diagnostic, &sources, false);
                if std::env::var_os("SHOW").is_some() {
                    println!("{said}\n");
                }
            }
        }
    }
    assert!(refused > 300, "{refused}");
}
