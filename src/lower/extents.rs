//! Extents while they are being found out (rule R2): classes of axes that must have one extent.

use super::{Lowered, Lowerer, Reported, ordinal};
use crate::ast::Span;
use crate::diagnostic::Diagnostic;
use crate::ir::{AxisId, ExprId, ExtentId};
use crate::suggest;
use std::sync::Arc;

/// What is known of the extent of a class.
#[derive(Debug, Clone)]
pub(super) enum Known {
    /// From the data; where the signature says so, such as "extent of logits, 2nd".
    Input(String),
    Constant(u64),
    /// `axis L = value`; while the value is being lowered there is none.
    Declared {
        value: Option<ExprId>,
        span: Span,
    },
    /// The anonymous axis.
    Star,
    /// A mistake in its declaration was reported; nothing more is said about it.
    Mistaken,
}

/// Union-find over the extents of the scoped program.
#[derive(Default)]
pub(super) struct Extents {
    parent: Vec<u32>,
    known: Vec<Option<Known>>,
    pub(super) stands: Vec<Stand>,
}

/// How an axis must fit a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    /// It provably fits, or is equal where it was inferred.
    Within,
    /// An axis of a function at a position of an argument: the extents are the same.
    Argument,
    /// An axis of the head of a stated gradient at a position of its input: the extents are the same.
    Head,
    /// Anything goes, but an axis that nothing else determines gets its extent here (rule R4).
    Any,
}

/// A bare axis at a position.
#[derive(Debug, Clone)]
pub(super) struct Stand {
    pub axis: AxisId,
    /// As it was written.
    pub name: Arc<str>,
    pub position: ExtentId,
    pub of: Arc<str>,
    pub ordinal: usize,
    pub span: Span,
    pub fit: Fit,
    /// How deep in calls it stands; a mistake at one depth shows again at all below.
    pub depth: usize,
}

impl Extents {
    pub(super) fn add(&mut self, known: Option<Known>) {
        self.parent.push(self.parent.len() as u32);
        self.known.push(known);
    }

    pub(super) fn find(&mut self, e: ExtentId) -> ExtentId {
        let mut at = e.0;
        while self.parent[at as usize] != at {
            let up = self.parent[at as usize];
            self.parent[at as usize] = self.parent[up as usize];
            at = up;
        }
        ExtentId(at)
    }

    pub(super) fn known(&mut self, e: ExtentId) -> Option<&Known> {
        let root = self.find(e);
        self.known[root.index()].as_ref()
    }

    pub(super) fn set(&mut self, e: ExtentId, known: Known) {
        let root = self.find(e);
        self.known[root.index()] = Some(known);
    }

    /// Makes two classes one if at most one of them is known; false if both are, and are not the same.
    fn join(&mut self, a: ExtentId, b: ExtentId) -> bool {
        let (a, b) = (self.find(a), self.find(b));
        if a == b {
            return true;
        }
        match (&self.known[a.index()], &self.known[b.index()]) {
            (None, _) => self.parent[a.index()] = b.0,
            (_, None) => self.parent[b.index()] = a.0,
            (Some(Known::Constant(x)), Some(Known::Constant(y))) if x == y => {
                self.parent[a.index()] = b.0
            }
            _ => return false,
        }
        true
    }

    /// Notes that an axis stands at a position; what cannot be decided yet is decided by
    /// [`check_extents`](Lowerer::check_extents) or by `finish`.
    pub(super) fn stand(&mut self, extent: ExtentId, stand: Stand) {
        if stand.fit == Fit::Any || !self.join(extent, stand.position) {
            self.stands.push(stand);
        }
    }
}

impl Lowerer<'_> {
    /// Gives extents to axes that only reads with a default determine.
    pub(super) fn join_weak(&mut self) {
        let weak: Vec<(ExtentId, ExtentId)> = self
            .extents
            .stands
            .iter()
            .filter(|s| s.fit == Fit::Any)
            .map(|s| (self.p.extent_of(s.axis), s.position))
            .collect();
        for (a, b) in weak {
            self.extents.join(a, b);
        }
    }

    /// Reports constant extents that disagree; used where there are other errors, so that nothing else can be known.
    pub(super) fn check_extents(&mut self) {
        let mut stands = std::mem::take(&mut self.extents.stands);
        stands.sort_by_key(|s| s.depth);
        let mut wrong_at = usize::MAX;
        for stand in stands {
            if stand.depth > wrong_at {
                break;
            }
            let extent = self.p.extent_of(stand.axis);
            let (a, b) = (
                self.extents.known(extent).cloned(),
                self.extents.known(stand.position).cloned(),
            );
            let wrong = match (a, b, stand.fit) {
                (Some(Known::Constant(a)), Some(Known::Constant(b)), Fit::Within) => a > b,
                (Some(Known::Constant(a)), Some(Known::Constant(b)), Fit::Argument | Fit::Head) => {
                    a != b
                }
                (
                    Some(Known::Input(_)),
                    Some(Known::Input(_) | Known::Constant(_)),
                    Fit::Within | Fit::Argument | Fit::Head,
                ) => true,
                _ => false,
            };
            if wrong {
                wrong_at = stand.depth;
                self.misfit(&stand);
            }
        }
    }

    /// Reports an axis at a position that it does not fit.
    pub(super) fn misfit(&mut self, stand: &Stand) -> Reported {
        let extent = self.p.extent_of(stand.axis);
        let own = self.describe(extent);
        let short = self.short(extent);
        let position = self.short(stand.position);
        let inferred = self.axes[stand.axis.index()].inferred;
        let (name, of, nth) = (&stand.name, &stand.of, ordinal(stand.ordinal));
        if stand.fit == Fit::Argument {
            return self.error(
                Diagnostic::error(format!(
                    "{of} has extent {short} at its {nth} position, this has {position}"
                ))
                .at(
                    stand.span,
                    format!("the {nth} position has extent {position}"),
                ),
            );
        }
        let out = Diagnostic::error(format!(
            "axis {name} ({own}) at a position of extent {position}"
        ))
        .at(
            stand.span,
            format!("the {nth} position of `{of}` has extent {position}"),
        );
        let out = match (stand.fit, inferred) {
            (Fit::Head, _) => {
                out.help("the head of a gradient names axes of the extents of its input")
            }
            (_, inferred) => {
                let out = if inferred {
                    out.help(format!("use another name for one of the two: {name} has one extent wherever it stands"))
                } else {
                    out.help("use the axis of that position, or rename one of the two")
                };
                out.help(format!(
                    "`{name} + 0` is an index like any other, checked when it is evaluated"
                ))
            }
        };
        self.error(out)
    }

    /// An extent in words: `extent of logits, 2nd`.
    pub(super) fn describe(&mut self, e: ExtentId) -> String {
        match self.extents.known(e).cloned() {
            None | Some(Known::Mistaken) => "of unknown extent".into(),
            Some(Known::Input(by)) => by,
            Some(Known::Constant(n)) => format!("extent {n}"),
            Some(Known::Declared { span, .. }) => format!("extent {}", self.text(span)),
            Some(Known::Star) => "all elements".into(),
        }
    }

    /// An extent as an expression would name it.
    pub(super) fn short(&mut self, e: ExtentId) -> String {
        let root = self.extents.find(e);
        match self.extents.known(e).cloned() {
            None | Some(Known::Input(_) | Known::Mistaken) => {
                self.p.extents[root.index()].name.to_string()
            }
            Some(Known::Constant(n)) => n.to_string(),
            Some(Known::Declared { span, .. }) => self.text(span).to_string(),
            Some(Known::Star) => "*".into(),
        }
    }

    pub(super) fn from_signature(input: &str, position: usize) -> Known {
        Known::Input(format!("extent of {input}, {}", ordinal(position + 1)))
    }

    /// Nothing is said about an extent that a mistake left open.
    pub(super) fn unknown_extent(&mut self, axis: AxisId) -> Lowered<()> {
        let name = self.p.axes[axis.index()].hint.clone();
        let span = self.axes[axis.index()].span;
        let mut out = Diagnostic::error(format!("the extent of axis {name} is unknown"));
        if let Some(span) = span {
            out = out.at(span, "it stands at no position of an input or definition");
        }
        let known: Vec<_> = (0..self.p.axes.len())
            .filter(|&k| self.extents.known(self.p.axes[k].extent).is_some())
            .map(|k| self.p.axes[k].hint.clone())
            .collect();
        out = match suggest::closest(&name, known.iter().map(|n| &**n)) {
            Some(near) => out.help(format!("did you mean `{near}`?")),
            None => out.help(format!(
                "declare it, `axis {name} = ...` after `where`, or read something at it"
            )),
        };
        Err(self.error(out))
    }
}
