//! From the syntax tree to the IR: names, axes, types, functions and recurrences resolved and checked.
//!
//! It happens in two steps. First every expression is built in a *scoped program*, in which an axis is what a name
//! stands for in one declaration: a bare read of `x` has the index `N` wherever it stands, and `sum[N](..)` binds that
//! same `N`, so inner binders shadow outer ones as in the text. In this form equal arguments of functions are equal
//! ids, and copying a template is one look-up when it was copied with these arguments before. Then `finish` copies
//! what the loss needs into the program proper, with fresh axes for every binder and every extent known.
//!
//! An expression with a mistake is `Reported` and takes with it only what needs it, so that one run shows the
//! mistakes of all declarations.

mod along;
mod arguments;
mod builtins;
mod calls;
mod definitions;
mod examples;
mod expr;
mod extents;
mod finish;
mod gradients;
mod lints;
mod loss;
mod options;
mod parameters;
mod reads;
pub mod recurrence;
mod reductions;
mod scope;
mod stated;
mod templates;
mod uncalled;
mod walk;

#[cfg(test)]
pub(crate) mod tests;

use crate::ast::{FileId, Span};
use crate::diagnostic::{Class, Diagnostic};
use crate::ir::{self, ExprId, Program, TensorId};
use crate::modules::{ModuleId, Modules};
use crate::stack::with_stack;
pub use examples::{Example, examples};
use extents::Extents;
use rustc_hash::{FxHashMap, FxHashSet};
use scope::AxisInfo;
use std::rc::Rc;
use std::sync::Arc;
use templates::{FunctionRef, InstanceKey, Parameter};

/// How many nodes a loss may have, all functions expanded.
pub const MAX_NODES: usize = 1 << 20;

/// How many times functions may be copied.
const MAX_COPIES: usize = 1 << 16;

/// More stack is taken where functions call each other deeply.
const RED_ZONE: usize = 256 << 10;
const SEGMENT: usize = 4 << 20;

/// A loss that passed all checks.
pub struct Checked {
    pub program: Program,
    /// Lints; nothing that changes what the loss means.
    pub warnings: Vec<Diagnostic>,
}

/// A mistake that was reported already.
#[derive(Debug, Clone, Copy)]
struct Reported;

type Lowered<T> = Result<T, Reported>;

/// Checks the loss of a file and lowers it.
///
/// # Errors
/// Every mistake found in the loss and in what it uses; a file without a loss is one.
pub fn lower(modules: &Modules, root: ModuleId) -> Result<Checked, Vec<Diagnostic>> {
    with_stack(|| Lowerer::new(modules).run(root))
}

/// Checks a library: the functions of a file that have only typed parameters, as if they were losses, and the names
/// in the others.
///
/// # Errors
/// Every mistake found.
pub fn check_functions(
    modules: &Modules,
    root: ModuleId,
) -> Result<Vec<Diagnostic>, Vec<Diagnostic>> {
    with_stack(|| Lowerer::new(modules).check_functions(root))
}

struct Lowerer<'m> {
    modules: &'m Modules,
    /// The scoped program.
    p: Program,
    extents: Extents,
    /// Parallel to the axes of `p`.
    axes: Vec<AxisInfo>,
    parameters: FxHashMap<FunctionRef, Rc<Vec<Parameter<'m>>>>,
    /// The names that a function differentiates by.
    by_gradient: FxHashMap<FunctionRef, Rc<Vec<Arc<str>>>>,
    instances: FxHashMap<InstanceKey, Lowered<ExprId>>,
    /// The functions being copied, the innermost last, and where each was called.
    active: Vec<(FunctionRef, Span)>,
    copying: FxHashSet<FunctionRef>,
    /// Conditions under which what is being lowered is evaluated (in this declaration).
    path: Vec<ExprId>,
    /// Definitions made for arguments that are expressions with one axis.
    arguments: FxHashMap<ExprId, TensorId>,
    too_large: bool,
    diagnostics: Vec<Diagnostic>,
    warnings: Vec<Diagnostic>,
}

impl<'m> Lowerer<'m> {
    fn new(modules: &'m Modules) -> Lowerer<'m> {
        Lowerer {
            modules,
            p: Program::new("".into()),
            extents: Extents::default(),
            axes: vec![],
            parameters: FxHashMap::default(),
            by_gradient: FxHashMap::default(),
            instances: FxHashMap::default(),
            active: vec![],
            copying: FxHashSet::default(),
            path: vec![],
            arguments: FxHashMap::default(),
            too_large: false,
            diagnostics: vec![],
            warnings: vec![],
        }
    }

    fn run(mut self, root: ModuleId) -> Result<Checked, Vec<Diagnostic>> {
        let lowered = self.loss(root);
        self.check_uncalled(root);
        if lowered.is_err() || !self.diagnostics.is_empty() {
            self.check_extents();
            return Err(self.sorted());
        }
        match self.finish() {
            Ok(program) => {
                debug_assert_eq!(ir::verify::verify(&program), Ok(()));
                recurrence::check(&program)?;
                Ok(Checked {
                    program,
                    warnings: self.warnings,
                })
            }
            Err(Reported) => Err(self.sorted()),
        }
    }

    /// The diagnostics without repetitions, in the order of the text.
    fn sorted(mut self) -> Vec<Diagnostic> {
        let mut seen = FxHashSet::default();
        let key = |d: &Diagnostic| (d.labels.first().map(|(s, _)| *s), d.title.clone());
        self.diagnostics.retain(|d| seen.insert(key(d)));
        if self.diagnostics.is_empty() {
            let mut bug =
                Diagnostic::error("this loss cannot be lowered, and losscc does not know why");
            bug.class = Class::Bug;
            self.diagnostics.push(bug);
        }
        self.diagnostics
            .sort_by_key(|d| d.labels.first().map(|(s, _)| (s.file, s.start)));
        self.diagnostics
    }

    /// Reports a mistake, with the calls that led to it.
    fn error(&mut self, mut diagnostic: Diagnostic) -> Reported {
        let file = diagnostic.labels.first().map(|(s, _)| s.file);
        if let Some((f, _)) = self.active.last() {
            let inside = file.is_none_or(|file| self.file_of(*f) == file);
            let calls: Vec<(FunctionRef, Span)> =
                self.active.iter().rev().take(3).copied().collect();
            if inside {
                for (f, span) in calls {
                    // A function that nothing calls is checked by itself.
                    if matches!(f, FunctionRef::Def(m, k)
                        if self.modules.get(m).ast.functions[k as usize].name.span == span)
                    {
                        continue;
                    }
                    let name = self.function_name(f);
                    diagnostic = diagnostic.at(span, format!("in this call of `{name}`"));
                }
            }
        }
        self.diagnostics.push(diagnostic);
        Reported
    }

    fn file_of(&self, f: FunctionRef) -> FileId {
        self.modules.get(f.module()).file
    }

    /// Ends a lowering that grows beyond all measure; reported once.
    fn limit(&mut self, span: Span) -> Lowered<()> {
        if self.too_large {
            return Err(Reported);
        }
        if self.p.node_count() > MAX_NODES || self.instances.len() > MAX_COPIES {
            self.too_large = true;
            self.diagnostics.push(
                Diagnostic::error("this loss is too large")
                    .at(span, "reached here")
                    .note(format!(
                        "with all functions copied it has more than {MAX_NODES} operations or {MAX_COPIES} copies"
                    ))
                    .help("give repeated parts a name in `where`"),
            );
            return Err(Reported);
        }
        Ok(())
    }

    /// The text of a place, for messages.
    fn text(&self, span: Span) -> &'m str {
        self.modules.sources.text(span)
    }

    fn warn(&mut self, diagnostic: Diagnostic) {
        let same = |d: &Diagnostic| {
            d.title == diagnostic.title && d.labels.first() == diagnostic.labels.first()
        };
        if !self.warnings.iter().any(same) {
            self.warnings.push(diagnostic);
        }
    }
}

/// "1st", "2nd", "3rd" ...
fn ordinal(n: usize) -> String {
    let end = match (n % 10, n % 100) {
        (1, h) if h != 11 => "st",
        (2, h) if h != 12 => "nd",
        (3, h) if h != 13 => "rd",
        _ => "th",
    };
    format!("{n}{end}")
}

/// "`a`, `b` and `c`".
fn listed<S: AsRef<str>>(names: &[S]) -> String {
    let quoted: Vec<String> = names.iter().map(|n| format!("`{}`", n.as_ref())).collect();
    match quoted.split_last() {
        None => String::new(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
    }
}

/// "1 axis", "2 axes".
fn axes_count(n: usize) -> String {
    if n == 1 {
        "1 axis".into()
    } else {
        format!("{n} axes")
    }
}

fn axis_names(p: &Program, axes: &[ir::AxisId]) -> Vec<Arc<str>> {
    axes.iter()
        .map(|a| p.axes[a.index()].hint.clone())
        .collect()
}
