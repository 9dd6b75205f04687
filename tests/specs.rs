//! Every shipped spec: free of warnings, its examples right, and what each stage makes of it as one snapshot.

use losscc::ir::print;
use losscc::{Dtype, Options, Spec, shipped};
use std::fmt::Write;

/// Runs `test` for every shipped spec and reports all that fail.
fn for_all(test: impl Fn(&str, &str) -> Result<(), String>) {
    let mut failures = String::new();
    let mut count = 0;
    for (name, text) in shipped::all() {
        count += 1;
        if let Err(e) = test(name, text) {
            let _ = writeln!(failures, "{name}: {e}");
        }
    }
    assert!(count >= 75, "only {count} specs");
    assert!(failures.is_empty(), "{failures}");
}

/// The specs that the README shows are right, with their examples.
#[test]
fn specs_of_the_readme() {
    let readme = include_str!("../README.md");
    let blocks = readme.split("```\n").filter(|b| b.contains("\nloss "));
    let mut examples = 0;
    let mut count = 0;
    for block in blocks {
        let spec = Spec::parse("readme", block).unwrap_or_else(|e| panic!("{e}"));
        let results = spec.run_examples().unwrap_or_else(|e| panic!("{e}"));
        examples += results.len();
        assert!(results.iter().all(|r| r.passed()), "{block}: {results:?}");
        count += 1;
    }
    assert_eq!((count, examples), (2, 1));
}

#[test]
fn free_of_warnings() {
    for_all(|name, _| {
        let spec = Spec::open(name).map_err(|e| e.to_string())?;
        match spec.warnings().first() {
            Some(w) => Err(w.title.clone()),
            None => Ok(()),
        }
    });
}

#[test]
fn two_examples_each_and_all_right() {
    for_all(|name, _| {
        let spec = Spec::open(name).map_err(|e| e.to_string())?;
        let examples = spec.run_examples().map_err(|e| e.to_string())?;
        if examples.len() < 2 {
            return Err(format!("{} examples", examples.len()));
        }
        match examples.iter().find(|e| !e.passed()) {
            Some(e) => Err(format!(
                "an example gives {} instead of {}",
                e.value, e.expected
            )),
            None => Ok(()),
        }
    });
}

/// Source, IR, gradient and loops of every spec, one self-contained file each.
#[test]
fn stages() {
    for (name, text) in shipped::all() {
        let spec = Spec::open(name).unwrap();
        let loss = spec.derive().unwrap();
        let mut out = String::new();
        section(&mut out, "source", text);
        section(&mut out, "ir", &print::dump(spec.program()));
        section(&mut out, "gradient", &loss.gradient_text());
        let loops = loss.loops_text(&Options::default());
        section(&mut out, "loops", &loops.unwrap_or_else(|e| e.to_string()));
        snapshot("specs", name, &out);
    }
}

/// The code of three losses for both targets: elementwise arithmetic, a transcendental function, rows with a gather.
#[test]
fn code() {
    let options = Options {
        dtype: Dtype::F32,
        ..Options::default()
    };
    for name in ["huber", "bce_with_logits", "cross_entropy"] {
        let loss = Spec::open(name).and_then(|s| s.derive()).unwrap();
        for target in ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"] {
            let text = loss.code_text(&options, Some(target)).unwrap();
            let (arch, _) = target.split_once('-').unwrap();
            snapshot("code", &format!("{name}.{arch}.asm"), &text.asm);
            if arch == "x86_64" {
                snapshot("code", &format!("{name}.clif"), &text.clif);
            }
        }
    }
}

fn section(out: &mut String, title: &str, text: &str) {
    let _ = writeln!(out, "======== {title}\n{}\n", text.trim_end());
}

fn snapshot(folder: &str, name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(format!("snapshots/{folder}"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text.trim_end()));
}
