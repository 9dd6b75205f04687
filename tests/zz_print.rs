use losscc::{grad, lower, modules, rewrite};
use losscc::loops::*;
use std::path::Path;
#[test]
fn show() {
    for name in std::env::var("SPECS").unwrap().split(',') {
        let text = losscc::shipped::text(name).unwrap();
        let files = |path: &Path| std::fs::read(Path::new("specs").join(path.file_name().unwrap_or_default()));
        let modules = modules::load_text(name, text, &files).ok().unwrap();
        let mut p = lower::lower(&modules, modules.root).ok().unwrap().program;
        grad::differentiate(&mut p);
        let outputs = p.outputs();
        rewrite::simplify::simplify(&mut p, &outputs);
        for g in [p.gradients.iter().map(|g| g.input).collect(), vec![]] {
            let w = Wanted { value: true, gradients: g };
            println!("{}", print::print(&schedule(&p, &w).ok().unwrap()));
        }
    }
}
