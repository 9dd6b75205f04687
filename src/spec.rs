//! A spec: a text that was read, parsed and checked.

use crate::array::Array;
use crate::ast::{self, Span};
use crate::diagnostic::{Class, Diagnostic, Sources};
use crate::error::Error;
use crate::ir::Program;
use crate::loss::Loss;
use crate::modules::{self, Files, Modules};
use crate::rows::Rows;
use crate::{compile, interp, lower, parse};
use std::path::Path;
use std::sync::Arc;

/// One `.loss` file and everything that it uses, checked.
///
/// ```
/// let spec = losscc::Spec::parse("absolute", "loss absolute(yhat | y) = mean(abs(y - yhat))")?;
/// assert_eq!(spec.name(), "absolute");
/// # Ok::<(), losscc::Error>(())
/// ```
pub struct Spec {
    modules: Modules,
    sources: Arc<Sources>,
    program: Arc<Program>,
    warnings: Vec<Diagnostic>,
}

impl Spec {
    /// Opens a spec by its path, or a shipped one by its name.
    ///
    /// # Errors
    /// A file that is not there or is no UTF-8 text, and every mistake in the spec.
    pub fn open(spec: &str) -> Result<Spec, Error> {
        Spec::load(modules::load(spec, &disk as &dyn Files))
    }

    /// Checks a text; `use` looks in the working directory, then among the shipped specs.
    ///
    /// # Errors
    /// Every mistake in the spec.
    pub fn parse(name: &str, text: &str) -> Result<Spec, Error> {
        Spec::load(modules::load_text(name, text, &disk as &dyn Files))
    }

    fn load(loaded: Result<Modules, Box<modules::Failure>>) -> Result<Spec, Error> {
        let modules = loaded.map_err(|f| Error::new(f.diagnostics, Arc::new(f.sources)))?;
        let sources = Arc::new(modules.sources.clone());
        match lower::lower(&modules, modules.root) {
            Ok(checked) => Ok(Spec {
                modules,
                sources,
                program: Arc::new(checked.program),
                warnings: checked.warnings,
            }),
            Err(diagnostics) => Err(Error::new(diagnostics, sources)),
        }
    }

    /// The loss's name.
    pub fn name(&self) -> &str {
        &self.program.name
    }

    /// Its doc comment.
    pub fn doc(&self) -> &str {
        &self.program.doc
    }

    /// What is not wrong, but looks like a mistake.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// The texts that diagnostics point into.
    pub fn sources(&self) -> &Arc<Sources> {
        &self.sources
    }

    /// The syntax tree of the file itself.
    pub fn ast(&self) -> &ast::File {
        &self.modules.root().ast
    }

    /// The value as definitions with explicit indices, before any rewriting.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The `example` lines.
    ///
    /// # Errors
    /// An example that does not fit the loss.
    pub fn examples(&self) -> Result<Vec<lower::Example>, Error> {
        lower::examples(&self.modules, self.modules.root)
            .map_err(|d| Error::new(d, self.sources.clone()))
    }

    /// Evaluates the examples with the interpreter.
    ///
    /// # Errors
    /// An example that does not fit the loss, or whose evaluation fails.
    pub fn run_examples(&self) -> Result<Vec<ExampleResult>, Error> {
        let mut program = (*self.program).clone();
        compile::prepare(&mut program).map_err(|d| Error::new(vec![d], self.sources.clone()))?;
        let run = |example: lower::Example| {
            let data: Vec<(&str, &Array)> = example.data.iter().map(|(n, a)| (&**n, a)).collect();
            let set: Vec<(&str, f64)> = example.set.iter().map(|(n, v)| (&**n, *v)).collect();
            let located = |mut d: Diagnostic| {
                d.labels.push((example.span, "in this example".into()));
                d.class = Class::Spec;
                d
            };
            let fail = |d: Vec<Diagnostic>| {
                Error::new(d.into_iter().map(located).collect(), self.sources.clone())
            };
            let bound = interp::bind(&program, &data, &set).map_err(fail)?;
            let value =
                interp::evaluate(&program, &bound, &[program.value]).map_err(|d| fail(vec![d]))?;
            let value = value[0]
                .reals()
                .and_then(|v| v.first().copied())
                .unwrap_or(f64::NAN);
            Ok(ExampleResult {
                span: example.span,
                value,
                expected: example.expected,
            })
        };
        self.examples()?.into_iter().map(run).collect()
    }

    /// Reads and checks the same texts again, for measuring.
    ///
    /// # Errors
    /// As [`Spec::open`].
    pub fn again(&self) -> Result<Spec, Error> {
        let file = self.sources.get(self.modules.root().file);
        Spec::parse(&file.name, &file.text)
    }

    /// Makes the loss stable and derives its gradient.
    ///
    /// # Errors
    /// What has no derivative by the rules of the language.
    pub fn derive(&self) -> Result<Loss, Error> {
        Loss::new(self.program.clone(), Rows::default(), self.sources.clone())
    }
}

/// What an `example` line gave.
#[derive(Debug, Clone)]
pub struct ExampleResult {
    /// The line.
    pub span: Span,
    pub value: f64,
    pub expected: f64,
}

impl ExampleResult {
    /// Whether the value is the expected one to 1e-9, relatively; NaN equals NaN here.
    pub fn passed(&self) -> bool {
        let (a, b) = (self.value, self.expected);
        // Beside an infinity every difference is small.
        let near = b.is_finite() && (a - b).abs() <= 1e-9 * b.abs();
        a == b || (a.is_nan() && b.is_nan()) || near
    }
}

/// The first sentence of the doc comment of a spec's loss.
pub(crate) fn summary(name: &str, text: &str) -> String {
    let mut sources = Sources::default();
    let file = sources.add(name, text);
    let doc = parse::parse(&sources, file)
        .ok()
        .and_then(|f| Some(f.loss?.doc))
        .unwrap_or_default();
    let first: String = doc
        .lines()
        .take_while(|l| !l.trim().is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    match first.split_once(". ") {
        Some((sentence, _)) => format!("{sentence}."),
        None => first,
    }
}

/// The file system.
fn disk(path: &Path) -> std::io::Result<Vec<u8>> {
    std::fs::read(path)
}
