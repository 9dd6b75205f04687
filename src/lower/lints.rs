//! Lints: what means something, but hardly what was meant. Only the loss of the file itself is looked at.

use super::builtins::{self, Builtin, Reduction};
use super::expr::At;
use super::{Lowerer, axis_names, listed, walk};
use crate::ast::{self, Expr, ExprKind, Span, Use};
use crate::diagnostic::Diagnostic;
use crate::graph;
use crate::ir::{AxisId, ExprId, Node, Program, ReduceOp, TensorId};
use crate::modules::ModuleId;
use rustc_hash::FxHashSet;

impl<'m> Lowerer<'m> {
    /// An axis in the brackets that the operand lacks: only `sum` and `count` have a use for it.
    pub(super) fn lint_brackets(
        &mut self,
        r: Reduction,
        axes: &[AxisId],
        guard: Option<At>,
        body: At,
        u: &'m Use,
        operand: &'m Expr,
    ) {
        if matches!(r, Reduction::Plain(ReduceOp::Sum | ReduceOp::Count)) {
            return;
        }
        let used = |a: &AxisId| {
            self.p.is_free(*a, body.id) || guard.is_some_and(|g| self.p.is_free(*a, g.id))
        };
        let missing: Vec<AxisId> = axes.iter().copied().filter(|a| !used(a)).collect();
        if missing.is_empty() {
            return;
        }
        let names = axis_names(&self.p, &missing).join(", ");
        let name = r.name();
        let mut out = Diagnostic::warning(format!(
            "`{name}` over {names}, which its operand does not have"
        ))
        .at(body.span, format!("the same for every {names}"));
        if let ExprKind::Use(inner) = &super::expr::strip(operand).kind
            && inner.arguments.is_some()
            && inner.bracket.is_none()
            && matches!(builtins::find(&inner.name.text), Some(Builtin::Reduce(_)))
        {
            out = out.note(format!(
                "`{}` without brackets already ran over all axes",
                inner.name.text
            ));
        }
        out.labels.push((u.name.span, String::new()));
        self.warn(out.help(format!("leave {names} out of the brackets")));
    }
}

/// A reduction without brackets over an operand that joins disjoint axes runs over all pairs.
pub(super) fn disjoint(l: &mut Lowerer<'_>, name: &str, body: At) {
    let mut stack = vec![body.id];
    let mut seen: FxHashSet<ExprId> = FxHashSet::default();
    while let Some(e) = stack.pop() {
        if !seen.insert(e) {
            continue;
        }
        let operands: Vec<ExprId> = match l.p.node(e) {
            Node::Op(_, operands) => operands.to_vec(),
            Node::If {
                condition,
                then,
                otherwise,
            } => vec![*condition, *then, *otherwise],
            _ => continue,
        };
        for (k, &a) in operands.iter().enumerate() {
            for &b in &operands[k + 1..] {
                let (fa, fb) = (l.p.free(a), l.p.free(b));
                if !fa.is_empty()
                    && !fb.is_empty()
                    && fa.iter().all(|x| fb.binary_search(x).is_err())
                {
                    let (na, nb) = (
                        axis_names(&l.p, fa).join(", "),
                        axis_names(&l.p, fb).join(", "),
                    );
                    let span = l.p.span(e).unwrap_or(body.span);
                    let both = [na.as_str(), nb.as_str()].join(", ");
                    l.warn(
                        Diagnostic::warning(format!(
                            "`{name}` runs over all pairs of {na} and {nb}"
                        ))
                        .at(
                            span,
                            format!("joins something over {na} with something over {nb}"),
                        )
                        .help(format!("if that is meant, say so: `{name}[{both}](...)`")),
                    );
                    return;
                }
            }
        }
        stack.extend(operands);
    }
}

/// A definition between the operand of `grad` and what it differentiates by that is read elsewhere than at the axes of
/// the gradient (reduced, shifted or gathered): right, but every element of it gets a gradient for each of theirs.
pub(super) fn misaligned(l: &mut Lowerer<'_>, of: TensorId, wrt: TensorId, span: Span) {
    let axes = l.p.get(of).head.clone();
    if axes.is_empty() {
        return;
    }
    let path = between(&l.p, of, wrt);
    for &reader in &path {
        for root in l.p.roots(reader) {
            if let Some((axis, read)) = misaligned_read(&l.p, root, &axes, &path) {
                let name = l.p.axes[axis.index()].hint.clone();
                let Node::Read { tensor, .. } = l.p.node(read) else {
                    continue;
                };
                let tensor = l.p.get(*tensor).name.clone();
                let at = l.p.span(read).unwrap_or(span);
                l.warn(
                    Diagnostic::warning(format!("`grad` for each {name} goes through `{tensor}` at other {name}"))
                        .at(at, format!("not read at {name} itself"))
                        .at(span, format!("one gradient for each {name}"))
                        .note(format!("it is right, and costs as if `{tensor}` were computed for each {name}"))
                        .help(format!("if the sum over {name} is what is meant, reduce before: `grad[..](sum[{name}](..))`")),
                );
                return;
            }
        }
    }
}

/// The definitions that `of` needs, itself included, and that need `wrt`.
fn between(p: &Program, of: TensorId, wrt: TensorId) -> Vec<TensorId> {
    let edges: Vec<Vec<usize>> = (0..p.tensors.len())
        .map(|t| {
            p.reads(TensorId(t as u32))
                .into_iter()
                .map(TensorId::index)
                .collect()
        })
        .collect();
    let mut needs = vec![false; p.tensors.len()];
    needs[wrt.index()] = true;
    let mut path = vec![];
    // Groups come after what they need.
    for group in graph::components(&edges, &[of.index()]) {
        let on = group
            .iter()
            .any(|&t| needs[t] || edges[t].iter().any(|&r| needs[r]));
        for t in group {
            if on && t != wrt.index() {
                needs[t] = true;
                path.push(TensorId(t as u32));
            }
        }
    }
    path
}

/// A read of a definition on the path at another index than an axis that it has.
fn misaligned_read(
    p: &Program,
    root: ExprId,
    axes: &[AxisId],
    path: &[TensorId],
) -> Option<(AxisId, ExprId)> {
    let mut stack: Vec<(ExprId, Vec<AxisId>)> = vec![(root, vec![])];
    let mut seen: FxHashSet<(ExprId, Vec<AxisId>)> = FxHashSet::default();
    while let Some((e, bound)) = stack.pop() {
        if !seen.insert((e, bound.clone())) {
            continue;
        }
        let mut inner = bound.clone();
        match p.node(e) {
            Node::Read { tensor, index, .. } if path.contains(tensor) => {
                for (own, &i) in p.get(*tensor).head.iter().zip(index) {
                    let same =
                        matches!(p.node(i), Node::Axis(a) if a == own) && !bound.contains(own);
                    if axes.contains(own) && !same {
                        return Some((*own, e));
                    }
                }
            }
            Node::Reduce { axes: reduced, .. } => {
                inner.extend(reduced.iter().filter(|a| axes.contains(a)));
                inner.sort_unstable();
                inner.dedup();
            }
            Node::Read { .. }
            | Node::Real(_)
            | Node::Int(_)
            | Node::Bool(_)
            | Node::Axis(_)
            | Node::Size(_)
            | Node::Param(_)
            | Node::If { .. }
            | Node::Op(..) => {}
        }
        p.for_children(e, |c| stack.push((c, inner.clone())));
    }
    None
}

/// Inputs, hyperparameters, definitions, axes and imports that nothing uses.
pub(super) fn unused<'m>(l: &mut Lowerer<'m>, module: ModuleId, loss: &'m ast::Loss) {
    let mut read: FxHashSet<&str> = FxHashSet::default();
    let mut roots: Vec<&'m Expr> = vec![&loss.value];
    roots.extend(loss.gradients.iter().map(|g| &g.value));
    roots.extend(loss.bindings.extents.iter().map(|e| &e.value));
    roots.extend(l.modules.get(module).ast.extents.iter().map(|e| &e.value));
    while let Some(e) = roots.pop() {
        walk::uses(e, &mut |u| {
            if walk::is_read(u) && read.insert(&u.name.text) {
                let definition = loss
                    .bindings
                    .definitions
                    .iter()
                    .find(|d| d.name.text == u.name.text);
                roots.extend(definition.map(|d| &d.value));
            }
        });
    }
    let mut found: Vec<(&ast::Name, &str)> = vec![];
    if let Some(signature) = &loss.signature {
        let inputs = signature.inputs.iter().chain(&signature.given);
        found.extend(inputs.map(|i| (&i.name, "input")));
        found.extend(
            signature
                .options
                .iter()
                .map(|o| (&o.name, "hyperparameter")),
        );
    }
    found.extend(
        loss.bindings
            .definitions
            .iter()
            .map(|d| (&d.name, "definition")),
    );
    found.retain(|(n, _)| !read.contains(&*n.text));
    for (name, what) in found {
        l.warn(
            Diagnostic::warning(format!("the {what} `{}` is not used", name.text))
                .at(name.span, "never read"),
        );
    }
    unused_axes(l, loss);
    unused_imports(l, module);
}

fn unused_axes<'m>(l: &mut Lowerer<'m>, loss: &'m ast::Loss) {
    for e in &loss.bindings.extents {
        let name = &*e.axis.text;
        let others = loss
            .bindings
            .extents
            .iter()
            .filter(|o| !std::ptr::eq(*o, e))
            .map(|o| &o.value);
        let bodies = others
            .chain([&loss.value])
            .chain(loss.bindings.definitions.iter().map(|d| &d.value))
            .chain(loss.gradients.iter().map(|g| &g.value));
        let in_heads = loss
            .bindings
            .definitions
            .iter()
            .filter_map(|d| d.head.as_ref());
        let in_heads = in_heads.chain(loss.gradients.iter().filter_map(|g| g.head.as_ref()));
        let signature = loss.signature.iter();
        let inputs = signature.flat_map(|s| s.inputs.iter().chain(&s.given));
        let in_shapes = inputs.filter_map(|i| i.shape.as_ref());
        let used = in_heads.flatten().any(|n| *n.text == *name)
            || in_shapes
                .flat_map(|s| &s.dims)
                .any(|d| matches!(&d.kind, ast::DimKind::Axis(n) if **n == *name))
            || bodies.into_iter().any(|b| walk::has_axis(b, name));
        if !used {
            l.warn(
                Diagnostic::warning(format!("the axis {name} is not used"))
                    .at(e.axis.span, "stands nowhere"),
            );
        }
    }
}

fn unused_imports(l: &mut Lowerer<'_>, module: ModuleId) {
    let file = &l.modules.get(module).ast;
    let mut called: FxHashSet<&str> = FxHashSet::default();
    let mut note = |e| {
        walk::uses(e, &mut |u: &Use| {
            if u.arguments.is_some() {
                called.insert(u.module.as_ref().map_or(&*u.name.text, |m| &*m.text));
            }
        });
    };
    for f in &file.functions {
        note(&f.value);
        f.bindings.definitions.iter().for_each(|d| note(&d.value));
    }
    if let Some(loss) = &file.loss {
        note(&loss.value);
        loss.bindings
            .definitions
            .iter()
            .for_each(|d| note(&d.value));
        loss.gradients.iter().for_each(|g| note(&g.value));
    }
    let unused: Vec<&ast::Name> = file
        .imports
        .iter()
        .map(|i| &i.name)
        .filter(|n| !called.contains(&*n.text))
        .collect();
    for name in unused {
        l.warn(
            Diagnostic::warning(format!("the import `{}` is not used", name.text)).at(
                name.span,
                format!(
                    "neither {} is called",
                    listed(&[
                        format!("{}(...)", name.text),
                        format!("{}.f(...)", name.text)
                    ])
                    .replace(" and ", " nor ")
                ),
            ),
        );
    }
}
