//! Definitions after `where` (rule R3): in the order of their needs, recurrences as groups (rule R7).

use super::scope::{Bare, Binding, Scope, Value, View};
use super::{Lowered, Lowerer, Reported, axis_names, builtins, listed, walk};
use crate::ast::{self, ChainOp, Constant, Definition, Expr, ExprKind};
use crate::diagnostic::Diagnostic;
use crate::graph;
use crate::ir::{AxisId, Body, ExprId, Node, Op, ReduceOp, Tensor, TensorId, TensorKind, Type};
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// How often the types of a recurrence are tried.
const ROUNDS: usize = 4;

impl<'m> Lowerer<'m> {
    /// The definitions of a declaration, then its value.
    pub(super) fn body(
        &mut self,
        s: &mut Scope<'m>,
        bindings: &'m ast::Bindings,
        value: &'m Expr,
    ) -> Lowered<ExprId> {
        self.definitions(s, &bindings.definitions);
        self.expr(s, value)
    }

    pub(super) fn definitions(&mut self, s: &mut Scope<'m>, list: &'m [Definition]) {
        let mut places: FxHashMap<&str, usize> = FxHashMap::default();
        let mut kept: Vec<&'m Definition> = vec![];
        for d in list {
            let name = &d.name;
            let earlier = places
                .get(&*name.text)
                .map(|&k| ("definition", kept[k].name.span));
            let earlier = earlier.or_else(|| s.values.get(&name.text).map(|v| (v.what, v.span)));
            if let Some((what, first)) = earlier {
                let article = if what == "input" { "an" } else { "a" };
                self.error(
                    Diagnostic::error(format!("`{}` is {article} {what} already", name.text))
                        .at(name.span, "defined again here")
                        .at(first, "first here")
                        .help("choose another name"),
                );
                continue;
            }
            places.insert(&name.text, kept.len());
            kept.push(d);
        }
        let mut edges = vec![];
        for d in &kept {
            let mut needs = vec![];
            walk::uses(&d.value, &mut |u| {
                if walk::is_read(u)
                    && let Some(&k) = places.get(&*u.name.text)
                {
                    needs.push(k);
                }
            });
            needs.sort_unstable();
            needs.dedup();
            edges.push(needs);
        }
        let roots: Vec<usize> = (0..kept.len()).collect();
        for group in graph::components(&edges, &roots) {
            let members: Vec<&'m Definition> = group.iter().map(|&k| kept[k]).collect();
            let recurrent = group.len() > 1 || edges[group[0]].contains(&group[0]);
            let done = if recurrent {
                self.recurrence(s, &members)
            } else {
                self.definition(s, members[0])
            };
            if done.is_err() {
                for d in members {
                    self.define_value(s, &d.name, "definition", Binding::Poisoned);
                }
            }
        }
    }

    fn definition(&mut self, s: &mut Scope<'m>, d: &'m Definition) -> Lowered<()> {
        let head = self.head(s, d.head.as_deref());
        let path = std::mem::take(&mut self.path);
        let body = self.expr(s, &d.value);
        self.path = path;
        let (head, body) = (head?, body?);
        self.limit(d.span)?;
        let free = self.p.free(body).to_vec();
        let (axes, extra) = match head {
            None => (free, vec![]),
            Some(head) => {
                let extra = self.outside_head(s, d, &head, &free)?;
                (head, extra)
            }
        };
        let all: Vec<AxisId> = axes.iter().chain(&extra).copied().collect();
        let tensor = match self.adopt(body, &all, &d.name) {
            Some(tensor) => tensor,
            None => self.p.tensor(Tensor {
                name: d.name.text.clone(),
                ty: self.p.ty(body),
                head: all,
                kind: TensorKind::Definition(Body::Expr(body)),
                named: true,
                span: Some(d.name.span),
            }),
        };
        let ordered = d.head.is_some() || axes.len() <= 1;
        let view = View {
            tensor,
            axes,
            extra,
            bare: Bare::Yes,
            ordered,
            to_real: false,
        };
        self.define_value(s, &d.name, "definition", Binding::View(view));
        Ok(())
    }

    /// A definition that is nothing but a generated one gives it its name.
    fn adopt(&mut self, body: ExprId, head: &[AxisId], name: &ast::Name) -> Option<TensorId> {
        let Node::Read {
            tensor,
            index,
            default: None,
        } = self.p.node(body)
        else {
            return None;
        };
        let tensor = *tensor;
        let t = self.p.get(tensor);
        let same = t.head == head
            && index.len() == head.len()
            && index
                .iter()
                .zip(head)
                .all(|(&i, a)| matches!(self.p.node(i), Node::Axis(b) if a == b));
        if t.named || !same || !matches!(t.kind, TensorKind::Definition(_)) {
            return None;
        }
        let t = &mut self.p.tensors[tensor.index()];
        t.name = name.text.clone();
        t.named = true;
        t.span = Some(name.span);
        Some(tensor)
    }

    /// The axes of a head, each once.
    pub(super) fn head(
        &mut self,
        s: &mut Scope<'m>,
        head: Option<&'m [ast::Name]>,
    ) -> Lowered<Option<Vec<AxisId>>> {
        let Some(names) = head else { return Ok(None) };
        let mut out = vec![];
        let mut failed = false;
        for name in names {
            let axis = self.axis(s, &name.text, name.span);
            if out.contains(&axis) {
                self.error(
                    Diagnostic::error(format!("axis {} stands twice in a head", name.text))
                        .at(name.span, "again here")
                        .help("the axes of a head are its own: give the second another name"),
                );
                failed = true;
            }
            out.push(axis);
        }
        if failed { Err(Reported) } else { Ok(Some(out)) }
    }

    /// The axes of untyped arguments that pass through a definition with a head; any other free axis is a mistake.
    fn outside_head(
        &mut self,
        s: &Scope<'m>,
        d: &'m Definition,
        head: &[AxisId],
        free: &[AxisId],
    ) -> Lowered<Vec<AxisId>> {
        let outside: Vec<AxisId> = free.iter().copied().filter(|a| !head.contains(a)).collect();
        let own =
            |a: &AxisId| s.axes.values().any(|x| x == a) || s.star.iter().flatten().any(|x| x == a);
        let wrong: Vec<AxisId> = outside.iter().copied().filter(own).collect();
        if wrong.is_empty() {
            return Ok(outside);
        }
        let names = axis_names(&self.p, &wrong).join(", ");
        let plural = if wrong.len() == 1 { "is" } else { "are" };
        let mut out = Diagnostic::error(format!(
            "{names} {plural} free in `{}` but not in its head",
            d.name.text
        ))
        .at(d.value.span, format!("{names} {plural} free here"))
        .at(d.name.span, "the head names every axis of the definition");
        if names == "*" {
            out = out.help(format!(
                "a definition over all elements has no head: `{} = ...`",
                d.name.text
            ));
        } else {
            out = out.help(format!("add {names} to the head, or reduce over {names}"));
        }
        Err(self.error(out))
    }

    // ---- recurrences

    fn recurrence(&mut self, s: &mut Scope<'m>, group: &[&'m Definition]) -> Lowered<()> {
        let mut heads = vec![];
        let mut failed = false;
        for d in group {
            if d.head.is_none() {
                let names: Vec<&str> = group.iter().map(|d| &*d.name.text).collect();
                let cycle = if names.len() == 1 {
                    "itself".into()
                } else {
                    format!("{} in a circle", listed(&names))
                };
                self.error(
                    Diagnostic::error(format!(
                        "`{}` refers to {cycle} and has no head",
                        d.name.text
                    ))
                    .at(d.name.span, "a recurrence needs a head")
                    .help(format!("name its axes: `{}[T] = ...`", d.name.text)),
                );
                failed = true;
                continue;
            }
            match self.head(s, d.head.as_deref()) {
                Ok(Some(head)) => heads.push(head),
                _ => failed = true,
            }
        }
        if failed {
            return Err(Reported);
        }
        let extra = self.group_extra(s, group, &heads);
        let mut types = self.guess_types(s, group);
        for round in 0..ROUNDS {
            let mark = (self.diagnostics.len(), self.warnings.len());
            let bodies = self.recurrence_bodies(s, group, &heads, &extra, &types);
            let found: Vec<Option<Type>> = bodies
                .iter()
                .map(|b| b.as_ref().ok().map(|b| self.p.ty(*b)))
                .collect();
            let fits = |wanted: Type, found: Option<Type>| {
                found == Some(wanted) || (wanted == Type::Real && found == Some(Type::Int))
            };
            if types.iter().zip(&found).all(|(&w, &f)| fits(w, f)) {
                return self.close(s, group, &heads, &types, &bodies);
            }
            let wider: Vec<Type> = types
                .iter()
                .zip(&found)
                .map(|(&w, &f)| if fits(w, f) { w } else { f.unwrap_or(w) })
                .collect();
            if wider == types || round + 1 == ROUNDS {
                if self.diagnostics.len() == mark.0 {
                    let d = group[0];
                    let title = format!("the type of `{}` contradicts itself", d.name.text);
                    self.error(
                        Diagnostic::error(title).at(d.span, "its own values have another type"),
                    );
                }
                return Err(Reported);
            }
            self.diagnostics.truncate(mark.0);
            self.warnings.truncate(mark.1);
            types = wider;
        }
        Err(Reported)
    }

    fn recurrence_bodies(
        &mut self,
        s: &mut Scope<'m>,
        group: &[&'m Definition],
        heads: &[Vec<AxisId>],
        extra: &[AxisId],
        types: &[Type],
    ) -> Vec<Lowered<ExprId>> {
        for ((d, head), &ty) in group.iter().zip(heads).zip(types) {
            let zero = self.p.int(0);
            let tensor = self.p.tensor(Tensor {
                name: d.name.text.clone(),
                ty,
                head: head.iter().chain(extra).copied().collect(),
                kind: TensorKind::Definition(Body::Expr(zero)),
                named: true,
                span: Some(d.name.span),
            });
            let view = View {
                tensor,
                axes: head.clone(),
                extra: extra.to_vec(),
                bare: Bare::Yes,
                ordered: true,
                to_real: false,
            };
            self.define_value(s, &d.name, "definition", Binding::View(view));
        }
        let path = std::mem::take(&mut self.path);
        let bodies = group.iter().map(|d| self.expr(s, &d.value)).collect();
        self.path = path;
        bodies
    }

    fn close(
        &mut self,
        s: &Scope<'m>,
        group: &[&'m Definition],
        heads: &[Vec<AxisId>],
        types: &[Type],
        bodies: &[Lowered<ExprId>],
    ) -> Lowered<()> {
        let mut done = Ok(());
        for (k, d) in group.iter().enumerate() {
            let mut body = bodies[k]?;
            let free = self.p.free(body).to_vec();
            if self.outside_head(s, d, &heads[k], &free).is_err() {
                done = Err(Reported);
                continue;
            }
            if types[k] == Type::Real {
                body = self.real(super::expr::At {
                    id: body,
                    span: d.value.span,
                })?;
            }
            if let Some(Value {
                binding: Binding::View(view),
                ..
            }) = s.values.get(&d.name.text)
            {
                self.p.set_body(view.tensor, Body::Expr(body));
            }
        }
        done
    }

    /// Axes of untyped arguments that pass through a group.
    fn group_extra(
        &self,
        s: &Scope<'m>,
        group: &[&'m Definition],
        heads: &[Vec<AxisId>],
    ) -> Vec<AxisId> {
        let mut out: Vec<AxisId> = vec![];
        for d in group {
            walk::uses(&d.value, &mut |u| {
                if let (true, Some(v)) = (walk::is_read(u), s.values.get(&u.name.text)) {
                    match &v.binding {
                        Binding::Expr(e) => out.extend(self.p.free(*e).iter()),
                        Binding::View(v) => out.extend(&v.extra),
                        Binding::Argument { .. } | Binding::Poisoned => {}
                    }
                }
            });
        }
        out.sort_unstable();
        out.dedup();
        out.retain(|a| !s.axes.values().any(|x| x == a) && heads.iter().all(|h| !h.contains(a)));
        out
    }

    /// First guesses at the types of a group; lowering shows whether they were right.
    fn guess_types(&self, s: &Scope<'m>, group: &[&'m Definition]) -> Vec<Type> {
        let mut known: FxHashMap<Arc<str>, Option<Type>> =
            group.iter().map(|d| (d.name.text.clone(), None)).collect();
        for _ in 0..ROUNDS {
            for d in group {
                let ty = self.guess(s, &known, &d.value);
                known.insert(d.name.text.clone(), ty);
            }
        }
        group
            .iter()
            .map(|d| known[&d.name.text].unwrap_or(Type::Real))
            .collect()
    }

    fn guess(
        &self,
        s: &Scope<'m>,
        known: &FxHashMap<Arc<str>, Option<Type>>,
        e: &Expr,
    ) -> Option<Type> {
        let join = |a: Option<Type>, b: Option<Type>| match (a, b) {
            (None, x) | (x, None) => x,
            (Some(Type::Int), Some(Type::Int)) => Some(Type::Int),
            (Some(Type::Bool), Some(Type::Bool)) => Some(Type::Bool),
            _ => Some(Type::Real),
        };
        match &e.kind {
            ExprKind::Constant(Constant::Int(_)) | ExprKind::Axis(_) => Some(Type::Int),
            ExprKind::Constant(Constant::True | Constant::False) => Some(Type::Bool),
            ExprKind::Constant(Constant::Real(_) | Constant::Inf | Constant::Pi) => {
                Some(Type::Real)
            }
            ExprKind::Not(_) | ExprKind::Compare { .. } => Some(Type::Bool),
            ExprKind::Power { .. } => Some(Type::Real),
            ExprKind::Negate(a) | ExprKind::Paren(a) => self.guess(s, known, a),
            ExprKind::If {
                then, otherwise, ..
            } => join(self.guess(s, known, then), self.guess(s, known, otherwise)),
            ExprKind::Chain { first, rest } => match rest.first().map(|(op, _)| *op) {
                Some(ChainOp::And | ChainOp::Or) => Some(Type::Bool),
                _ if rest.iter().any(|(op, _)| *op == ChainOp::Divide) => Some(Type::Real),
                _ => rest.iter().fold(self.guess(s, known, first), |t, (_, e)| {
                    join(t, self.guess(s, known, e))
                }),
            },
            ExprKind::Use(u) => match (&u.arguments, &u.module) {
                (None, None) => match known.get(&u.name.text) {
                    // Where a definition is read beyond its start, it is what stands there.
                    Some(&ty) => match u.bracket.as_ref().and_then(|b| b.default.as_ref()) {
                        Some(default) => join(ty, self.guess(s, known, default)),
                        None => ty,
                    },
                    None => match &s.values.get(&u.name.text)?.binding {
                        Binding::Expr(e) | Binding::Argument { value: e, .. } => {
                            Some(self.p.ty(*e))
                        }
                        Binding::View(v) if v.to_real => Some(Type::Real),
                        Binding::View(v) => Some(self.p.get(v.tensor).ty),
                        Binding::Poisoned => None,
                    },
                },
                (Some(arguments), None) => {
                    let operands = arguments.iter().fold(None, |t, a| match a {
                        ast::Argument::Positional(e) => join(t, self.guess(s, known, e)),
                        ast::Argument::Star(_) | ast::Argument::Named(..) => t,
                    });
                    guess_call(&u.name.text, operands)
                }
                _ => None,
            },
        }
    }
}

fn guess_call(name: &str, operands: Option<Type>) -> Option<Type> {
    use builtins::{Along, Builtin, Reduction};
    match builtins::find(name)? {
        Builtin::Reduce(Reduction::Plain(op)) => match op {
            ReduceOp::Any | ReduceOp::All => Some(Type::Bool),
            ReduceOp::Count | ReduceOp::ArgMax | ReduceOp::ArgMin => Some(Type::Int),
            ReduceOp::Mean | ReduceOp::LogSumExp | ReduceOp::Norm => Some(Type::Real),
            ReduceOp::Sum | ReduceOp::Prod | ReduceOp::Max | ReduceOp::Min => operands,
        },
        Builtin::Along(Along::Argsort) => Some(Type::Int),
        Builtin::Along(Along::Cumsum | Along::Sort) | Builtin::Number(_) | Builtin::Clamp => {
            operands
        }
        Builtin::Ints(_) | Builtin::Int | Builtin::Size => Some(Type::Int),
        Builtin::StopGradient => operands,
        Builtin::Real(op) | Builtin::Reals(op) => Some(Op::result(op, Type::Real)),
        Builtin::Reduce(Reduction::Var | Reduction::Std)
        | Builtin::Along(Along::Softmax | Along::LogSoftmax | Along::Normalize)
        | Builtin::Polygamma
        | Builtin::Grad => Some(Type::Real),
    }
}
