//! What names stand for in one declaration.

use super::extents::Known;
use super::{Lowered, Lowerer, RED_ZONE, Reported, SEGMENT};
use crate::ast::{self, Span};
use crate::diagnostic::Diagnostic;
use crate::ir::{AxisId, ExprId, ExtentId, ExtentKind, Node, Op, TensorId, Type};
use crate::modules::ModuleId;
use crate::suggest;
use rustc_hash::{FxHashMap, FxHashSet};
use std::sync::Arc;

/// One extent may have at most this many elements by declaration: no memory holds more.
pub(super) const MAX_EXTENT: u64 = 1 << 36;

/// What is known of an axis of the scoped program.
pub(super) struct AxisInfo {
    /// Whether its extent comes from the positions it stands in.
    pub inferred: bool,
    /// Whether it is a template's second axis for one of the caller's.
    pub copy: bool,
    /// Whether it stands for a position without a name.
    pub anonymous: bool,
    /// Where it was first written.
    pub span: Option<Span>,
}

/// A tensor under a name: its positions, by the axes they have here.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct View {
    pub tensor: TensorId,
    pub axes: Vec<AxisId>,
    /// Axes of untyped arguments that pass through a definition; they are read at themselves.
    pub extra: Vec<AxisId>,
    pub bare: Bare,
    /// Whether the order of the axes is stated, so that brackets have a meaning.
    pub ordered: bool,
    /// An int tensor given where a real is wanted.
    pub to_real: bool,
}

/// Whether a tensor may be read without brackets (rule R3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Bare {
    Yes,
    /// `[K, K]`
    Repeated,
    /// `[N, 4]`
    Unnamed,
}

#[derive(Debug, Clone)]
pub(super) enum Binding {
    /// An untyped parameter or a hyperparameter: the expression itself.
    Expr(ExprId),
    /// An input, a definition, or a typed parameter that got one of them.
    View(View),
    /// A typed parameter that got an expression over one axis. `safe` is the expression as it can be computed at all
    /// elements, for where it is indexed.
    Argument {
        value: ExprId,
        safe: ExprId,
        axis: AxisId,
    },
    /// A definition with a mistake.
    Poisoned,
}

#[derive(Debug, Clone)]
pub(super) struct Value {
    pub binding: Binding,
    /// "input", "hyperparameter", "definition" or "parameter".
    pub what: &'static str,
    pub span: Span,
}

pub(super) struct Scope<'m> {
    pub module: ModuleId,
    pub name: Arc<str>,
    pub axes: FxHashMap<Arc<str>, AxisId>,
    pub declared: FxHashMap<Arc<str>, &'m ast::Extent>,
    pub values: FxHashMap<Arc<str>, Value>,
    /// The axes that `*` stands for, if there are untyped inputs.
    pub star: Option<Vec<AxisId>>,
    /// Whether what is written here gets lints.
    pub lints: bool,
}

impl<'m> Lowerer<'m> {
    /// A scope with the `axis` declarations of the file and of a declaration.
    pub(super) fn scope(
        &mut self,
        module: ModuleId,
        name: Arc<str>,
        bindings: &'m ast::Bindings,
    ) -> Scope<'m> {
        let mut declared = FxHashMap::default();
        for list in [&self.modules.get(module).ast.extents, &bindings.extents] {
            let mut seen: FxHashMap<&str, Span> = FxHashMap::default();
            for extent in list {
                if let Some(&first) = seen.get(&*extent.axis.text) {
                    let title = format!("axis {} is declared twice", extent.axis.text);
                    self.error(
                        Diagnostic::error(title)
                            .at(extent.axis.span, "again here")
                            .at(first, "first here"),
                    );
                } else {
                    seen.insert(&extent.axis.text, extent.axis.span);
                    declared.insert(extent.axis.text.clone(), extent);
                }
            }
        }
        Scope {
            module,
            name,
            axes: FxHashMap::default(),
            declared,
            values: FxHashMap::default(),
            star: None,
            lints: false,
        }
    }

    pub(super) fn new_extent(&mut self, name: Arc<str>, known: Option<Known>) -> ExtentId {
        self.extents.add(known);
        self.p.extent(name, ExtentKind::Input)
    }

    pub(super) fn new_axis(
        &mut self,
        name: Arc<str>,
        extent: ExtentId,
        inferred: bool,
        span: Option<Span>,
    ) -> AxisId {
        self.axes.push(AxisInfo {
            inferred,
            copy: false,
            anonymous: false,
            span,
        });
        self.p.axis(name, extent)
    }

    /// The axis that a name stands for; a name seen for the first time is declared here or gets its extent from the
    /// positions it will stand in.
    pub(super) fn axis(&mut self, s: &mut Scope<'m>, name: &Arc<str>, span: Span) -> AxisId {
        if let Some(&axis) = s.axes.get(name) {
            return axis;
        }
        let declared = s.declared.get(name).copied();
        let extent = self.new_extent(name.clone(), None);
        let axis = self.new_axis(name.clone(), extent, declared.is_none(), Some(span));
        s.axes.insert(name.clone(), axis);
        if let Some(declaration) = declared {
            stacker::maybe_grow(RED_ZONE, SEGMENT, || self.declare(s, extent, declaration));
        }
        axis
    }

    /// `axis L = 2 * size(S) + 1`
    fn declare(&mut self, s: &mut Scope<'m>, extent: ExtentId, declaration: &'m ast::Extent) {
        let span = declaration.value.span;
        self.extents
            .set(extent, Known::Declared { value: None, span });
        let path = std::mem::take(&mut self.path);
        let value = self.extent_value(s, declaration);
        self.path = path;
        let known = match value {
            Err(Reported) => Known::Mistaken,
            Ok(value) => match self.constant_int(value) {
                Some(n) => Known::Constant(n as u64),
                None => Known::Declared {
                    value: Some(value),
                    span,
                },
            },
        };
        self.extents.set(extent, known);
    }

    fn extent_value(&mut self, s: &mut Scope<'m>, declaration: &'m ast::Extent) -> Lowered<ExprId> {
        let value = self.expr(s, &declaration.value)?;
        let span = declaration.value.span;
        let name = &declaration.axis.text;
        match self.p.ty(value) {
            Type::Int => {}
            Type::Real => return Err(self.real_extent(name, value, span)),
            Type::Bool => {
                let title = format!("the extent of axis {name} is a bool");
                return Err(self.error(Diagnostic::error(title).at(span, "an int is expected")));
            }
        }
        let of_data = self
            .p
            .reachable(&[value])
            .into_iter()
            .find(|&e| match self.p.node(e) {
                Node::Read { .. } | Node::Reduce { .. } | Node::Axis(_) => true,
                Node::Real(_)
                | Node::Int(_)
                | Node::Bool(_)
                | Node::Size(_)
                | Node::Param(_)
                | Node::If { .. } => false,
                Node::Op(op, _) => *op == Op::ToInt,
            });
        if let Some(part) = of_data {
            let span = self.p.span(part).unwrap_or(span);
            return Err(self.error(
                Diagnostic::error(format!("the extent of axis {name} depends on data"))
                    .at(span, "not known before the loss is evaluated")
                    .help("an extent is made of sizes, int hyperparameters and constants"),
            ));
        }
        if let Some(n) = self.constant_int(value) {
            if n < 0 {
                let title = format!("the extent of axis {name} is {n}");
                return Err(self.error(Diagnostic::error(title).at(span, "less than nothing")));
            }
            if n as u64 > MAX_EXTENT {
                let title = format!("the extent of axis {name} is {n}, which no memory holds");
                return Err(self.error(
                    Diagnostic::error(title)
                        .at(span, "too large")
                        .note(format!("an extent is at most {MAX_EXTENT}")),
                ));
            }
        }
        Ok(value)
    }

    fn real_extent(&mut self, name: &str, value: ExprId, span: Span) -> Reported {
        if let Some(n) = self.constant_value(value).map(|v| v.real())
            && n > MAX_EXTENT as f64
        {
            let title = format!("the extent of axis {name} is {n}, which no memory holds");
            return self.error(
                Diagnostic::error(title)
                    .at(span, "too large")
                    .note(format!("an extent is at most {MAX_EXTENT}, and an int")),
            );
        }
        self.error(
            Diagnostic::error(format!("the extent of axis {name} is a real"))
                .at(span, "an int is expected")
                .help("`/` and `^` give reals: `div` divides ints, `x: int` makes a hyperparameter an int"),
        )
    }

    /// The value of an int expression of constants.
    pub(super) fn constant_int(&self, e: ExprId) -> Option<i64> {
        let form = crate::rewrite::index::linear(&self.p, e)?;
        form.is_constant().then_some(form.constant)
    }

    pub(super) fn define_value(
        &mut self,
        s: &mut Scope<'m>,
        name: &ast::Name,
        what: &'static str,
        binding: Binding,
    ) {
        s.values.insert(
            name.text.clone(),
            Value {
                binding,
                what,
                span: name.span,
            },
        );
    }

    /// What a name stands for.
    pub(super) fn value(&mut self, s: &Scope<'m>, name: &ast::Name) -> Lowered<Value> {
        if let Some(value) = s.values.get(&name.text) {
            return match value.binding {
                Binding::Poisoned => Err(Reported),
                Binding::Expr(_) | Binding::View(_) | Binding::Argument { .. } => Ok(value.clone()),
            };
        }
        let text = &*name.text;
        let out = Diagnostic::error(format!("there is no `{text}`")).at(name.span, "unknown name");
        let out = if s.axes.contains_key(&*capitalized(text))
            || s.declared.contains_key(&*capitalized(text))
        {
            out.help(format!(
                "an axis begins with a capital letter: `{}`",
                capitalized(text)
            ))
        } else if self.is_function(s, text) {
            out.help(format!(
                "`{text}` is a function; it is called with parentheses: `{text}(...)`"
            ))
        } else if text == "e" {
            out.help("the exponential function is `exp(x)`")
        } else if let Some(near) = suggest::closest(text, sorted(s.values.keys())) {
            out.help(format!("did you mean `{near}`?"))
        } else if s.values.is_empty() {
            out
        } else {
            out.help(format!("`{}` has {}", s.name, self.all_names(s)))
        };
        Err(self.error(out))
    }

    fn all_names(&self, s: &Scope<'m>) -> String {
        let names = sorted(s.values.keys());
        super::listed(&names)
    }

    /// An expression read through a view at plain indices.
    pub(super) fn read_view(
        &mut self,
        view: &View,
        index: &[ExprId],
        default: Option<ExprId>,
    ) -> ExprId {
        let extra: Vec<ExprId> = view.extra.iter().map(|&a| self.p.index_of(a)).collect();
        let index = index.iter().copied().chain(extra).collect();
        self.p.mk(Node::Read {
            tensor: view.tensor,
            index,
            default,
        })
    }

    /// The extent of each position of a view.
    pub(super) fn positions(&self, view: &View) -> Vec<ExtentId> {
        self.p.get(view.tensor).head[..view.axes.len()]
            .iter()
            .map(|&a| self.p.extent_of(a))
            .collect()
    }

    /// The value of a binding where it is read without brackets.
    pub(super) fn read_bare(&mut self, value: &Value, name: &str, span: Span) -> Lowered<ExprId> {
        match &value.binding {
            Binding::Poisoned => Err(Reported),
            Binding::Expr(e) => Ok(*e),
            Binding::Argument { value, .. } => Ok(*value),
            Binding::View(view) => {
                let why = match view.bare {
                    Bare::Yes => None,
                    Bare::Repeated => Some("has an axis twice"),
                    Bare::Unnamed => Some("has a position without a name"),
                };
                if let Some(why) = why {
                    let names = axes_help(&self.p, view);
                    return Err(self.error(
                        Diagnostic::error(format!("`{name}` is read without brackets, but {why}"))
                            .at(span, "where should it be read?")
                            .at(value.span, "declared here")
                            .help(format!("say the index of each position: `{name}[{names}]`")),
                    ));
                }
                let index: Vec<ExprId> = view.axes.iter().map(|&a| self.p.index_of(a)).collect();
                let read = self.read_view(view, &index, None);
                self.p.locate(read, span);
                Ok(if view.to_real {
                    self.p.raw(Op::ToReal, &[read])
                } else {
                    read
                })
            }
        }
    }
}

fn axes_help(p: &crate::ir::Program, view: &View) -> String {
    let mut used: FxHashSet<Arc<str>> = FxHashSet::default();
    let mut spare = ["I", "J", "K", "X", "Y"].into_iter();
    let mut out: Vec<Arc<str>> = vec![];
    for &a in &view.axes {
        let mut name = p.axes[a.index()].hint.clone();
        while !used.insert(name.clone()) {
            name = spare.next().unwrap_or("A").into();
        }
        out.push(name);
    }
    out.join(", ")
}

pub(super) fn capitalized(name: &str) -> String {
    let mut letters = name.chars();
    letters
        .next()
        .map_or(String::new(), |c| c.to_uppercase().chain(letters).collect())
}

pub(super) fn sorted<'a>(names: impl Iterator<Item = &'a Arc<str>>) -> Vec<&'a str> {
    let mut out: Vec<&str> = names.map(|n| &**n).collect();
    out.sort_unstable();
    out
}
