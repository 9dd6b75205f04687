//! The formatter: the shipped specs are its fixed points, and whatever a text looks like, it keeps meaning and
//! comments.

use losscc::diagnostic::Sources;
use losscc::format::format;
use losscc::parse::{parse, token::Tokens};
use losscc::sexpr;

fn formatted(text: &str) -> String {
    let mut sources = Sources::default();
    let file = sources.add("test.loss", text);
    format(&sources, file).unwrap_or_else(|error| panic!("{error:?}\n{text}"))
}

fn tree(text: &str) -> String {
    let mut sources = Sources::default();
    let file = sources.add("test.loss", text);
    sexpr::file(&parse(&sources, file).unwrap_or_else(|error| panic!("{error:?}\n{text}")))
}

fn specs() -> Vec<(String, String)> {
    let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/specs")).unwrap();
    let mut specs: Vec<(String, String)> = folder
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "loss")
        })
        .map(|path| {
            (
                path.display().to_string(),
                std::fs::read_to_string(path).unwrap(),
            )
        })
        .collect();
    specs.sort();
    specs
}

#[test]
fn shipped_specs_are_formatted() {
    for (name, text) in specs() {
        let formatted = formatted(&text);
        if let Some(folder) = std::env::var_os("FORMAT_INTO") {
            let file = std::path::Path::new(&name).file_name().unwrap();
            std::fs::write(std::path::Path::new(&folder).join(file), &formatted).unwrap();
        } else {
            assert_eq!(formatted, text, "{name}: run `losscc fmt` on it");
        }
    }
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

/// The same tokens with other spaces between them, and with comments where none were.
fn ugly(text: &str, dice: &mut Dice, comments: usize) -> String {
    let mut out = String::new();
    let mut words = 0;
    for token in Tokens::new(text) {
        let remark = token.text.starts_with("//");
        let joins = |c: char| c.is_alphanumeric() || c == '_' || c == '.' || c == '/';
        let touches = out.ends_with(joins) && token.text.starts_with(joins);
        let pair = [("<", "="), ("=", "="), ("-", "-"), (">", "="), ("!", "=")];
        let touches = touches
            || pair
                .iter()
                .any(|(a, b)| out.ends_with(a) && token.text.starts_with(b));
        match dice.below(8) {
            0..=2 if !touches && !remark => {}
            3 => out.push_str("\n\n   "),
            4 => out.push_str("\r\n"),
            5 => out.push('\t'),
            _ => out.push(' '),
        }
        if comments > 0 && dice.below(comments) == 0 {
            words += 1;
            out.push_str(&format!(" // comment {words}\n"));
        }
        out.push_str(token.text);
        if remark {
            out.push('\n');
        }
    }
    out
}

#[test]
fn any_text_keeps_its_meaning_and_comments() {
    let mut dice = Dice(3);
    for (name, text) in specs() {
        for comments in [0, 40, 8] {
            let ugly = ugly(&text, &mut dice, comments);
            let once = formatted(&ugly);
            assert_eq!(tree(&once), tree(&text), "{name}\n{ugly}");
            let comments_of = |text: &str| text.matches("// comment").count();
            assert_eq!(
                comments_of(&once),
                comments_of(&ugly),
                "{name}\n{ugly}\n{once}"
            );
            let twice = formatted(&once);
            assert!(twice == once, "{name}\n{once}\n---- and again:\n{twice}");
            if comments == 0 && !text.contains("\n//") {
                let lines = |text: &str| {
                    text.lines()
                        .filter(|line| !line.is_empty())
                        .map(str::to_owned)
                        .collect::<Vec<_>>()
                };
                assert_eq!(lines(&once), lines(&formatted(&text)), "{name}");
            }
        }
    }
}

/// What is written, and what the formatter makes of it.
#[test]
fn layouts() {
    for (text, expected) in [
        (
            "loss   mse=mean ((y-yhat)^2)",
            "loss mse = mean((y - yhat)^2)\n",
        ),
        (
            "use a,b,\n\n\nuse c\ndef f()=1",
            "use a, b\n\nuse c\n\ndef f() = 1\n",
        ),
        (
            "loss f(x|y;d=1 in(0,1],k:int=-3,)=x where a=1",
            "loss f(x | y; d = 1 in (0, 1], k: int = -3) = x\n  where a = 1\n",
        ),
        ("loss f(|y)=y", "loss f(| y) = y\n"),
        ("loss f(;d=1)=d", "loss f(; d = 1) = d\n"),
        (
            "loss f=a where a=1 bcd[N,M]=x[N,M else-1]axis L=3",
            "loss f = a\n  where\n    a         = 1\n    bcd[N, M] = x[N, M else -1]\n    axis L    = 3\n",
        ),
        // Comments: above, behind, at the end, and within an expression.
        (
            "// head\n\nloss f = a // value\n// above\n  where a = // why\n b // end\n// last",
            "// head\n\nloss f = a  // value\n  // above\n  where\n    a =  // why\n      b  // end\n// last\n",
        ),
        (
            "loss f = a // first\n + b // second\n - c // third",
            "loss f =\n    a  // first\n  + b  // second\n  - c  // third\n",
        ),
        (
            "loss f(x,// the input\n y)=x",
            "loss f(\n    x,  // the input\n    y) =\n  x\n",
        ),
        // Documented hyperparameters have lines of their own.
        (
            "loss f(x|y;/// the width\nd=1)=x",
            "loss f(x | y;\n    /// the width\n    d = 1) =\n  x\n",
        ),
        (
            "loss f(/// in\nx:[N]|/// out\ny:int[N],z:bool[])=x",
            "loss f(\n    /// in\n    x: [N]\n  | /// out\n    y: int[N],\n    z: bool[]) =\n  x\n",
        ),
        (
            "example f(x=[1,[2,],],y=-inf)==-log(2)",
            "example f(x = [1, [2]], y = -inf) == -log(2)\n",
        ),
        (
            "loss f=if a and not b or c>=1 then-x else 2^-x",
            "loss f = if a and not b or c >= 1 then -x else 2^-x\n",
        ),
        (
            "loss f=x gradient x[N]=2*x where a=1",
            "loss f = x\n  gradient x[N] = 2 * x\n  where a = 1\n",
        ),
    ] {
        assert_eq!(formatted(text), expected, "{text}");
        assert_eq!(formatted(expected), expected, "{text}");
    }
}

/// What does not fit on a line.
#[test]
fn long_lines() {
    let text = "loss f(x: [N, C] | t: int[N]; delta = 1.0) = mean[N if t != -100](logsumexp[C](x) * delta - x[N, t] + \
        delta * mean[C](x) + sum[C](if x > delta then a_long_name else if x < -delta then another_long_name else x))\n\
        gradient x[N, C] = if t == C then softmax[C](x) - 1 else if t == C + 1 then softmax[C](x) * a_long_name else \
        softmax[C](x)\n\
        where a_long_name = some_function(x, t, delta = delta) * another_function(x, t, delta) + a_third_function(x)\n\
        b = 1\n\
        another_long_name[N, C] = max(some_function_with_a_long_name(x, t), another_function_with_a_long_name(x, t), 0)\n\
        example f(x = [[1, 2, 3, 4], [5, 6, 7, 8], [1, 2, 3, 4], [5, 6, 7, 8], [1, 2, 3, 4]], t = [0, 1, 2, 3, 4, 5], \
        delta = 2) == 0.1234567";
    insta::with_settings!({prepend_module_to_snapshot => false, omit_expression => true}, {
        insta::assert_snapshot!("long_lines", formatted(text));
    });
}

#[test]
fn what_does_not_parse_is_refused() {
    let mut sources = Sources::default();
    let file = sources.add("test.loss", "loss f = (");
    assert!(format(&sources, file).is_err());
}
