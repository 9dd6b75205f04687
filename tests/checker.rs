//! What a person sees for a spec that parses and is wrong: each file of `tests/refused` (the name begins with the rule
//! of the language that it breaks) and `tests/warned` with the whole rendered diagnostics as a snapshot.
//! `INSTA_UPDATE=always cargo test --test checker` writes them anew; read them as a user would.

use losscc::diagnostic::{Diagnostic, Sources};
use losscc::lower;
use losscc::modules::{self, NoFiles};
use losscc::render::render;
use std::path::PathBuf;

fn files(folder: &str) -> Vec<(String, String)> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(folder);
    let mut out: Vec<(String, String)> = std::fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "loss"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_string();
            (name, std::fs::read_to_string(&path).unwrap())
        })
        .collect();
    out.sort();
    out
}

fn rendered(diagnostics: &[Diagnostic], sources: &Sources) -> String {
    let all: Vec<String> = diagnostics
        .iter()
        .map(|d| render(d, sources, false))
        .collect();
    all.join("\n\n")
}

/// The mistakes in a text, and its warnings if there are none.
fn check(name: &str, text: &str) -> Result<String, String> {
    let modules = modules::load_text(&format!("{name}.loss"), text, &NoFiles)
        .map_err(|f| rendered(&f.diagnostics, &f.sources))?;
    match lower::lower(&modules, modules.root) {
        Ok(checked) => match lower::examples(&modules, modules.root) {
            Ok(_) => Ok(rendered(&checked.warnings, &modules.sources)),
            Err(diagnostics) => Err(rendered(&diagnostics, &modules.sources)),
        },
        Err(diagnostics) => Err(rendered(&diagnostics, &modules.sources)),
    }
}

fn snapshots(folder: &str) -> insta::internals::SettingsBindDropGuard {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_snapshot_path(format!("snapshots/{folder}"));
    settings.set_omit_expression(true);
    settings.bind_to_scope()
}

#[test]
fn refused() {
    let _guard = snapshots("refused");
    for (name, text) in files("refused") {
        match check(&name, &text) {
            Err(said) => insta::assert_snapshot!(name, said),
            Ok(_) => panic!("{name} is not refused:\n{text}"),
        }
    }
}

#[test]
fn warned() {
    let _guard = snapshots("warned");
    for (name, text) in files("warned") {
        match check(&name, &text) {
            Ok(said) if !said.is_empty() => insta::assert_snapshot!(name, said),
            other => panic!("{name} is not warned of: {other:?}\n{text}"),
        }
    }
}
