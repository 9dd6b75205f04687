//! From the scoped program to the program proper: what the loss needs, with fresh axes for every binder and every
//! extent known.

use super::extents::{Fit, Known, Stand};
use super::{Lowered, Lowerer, MAX_NODES, RED_ZONE, Reported, SEGMENT};
use crate::diagnostic::Diagnostic;
use crate::ir::{
    AxisId, Body, ExprId, ExtentId, ExtentKind, Gradient, Node, Program, Tensor, TensorId,
    TensorKind,
};
use crate::rewrite::index::{self, Linear};
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::sync::Arc;

/// Copies expressions of the scoped program; `to` is the program proper.
struct Copier<'l, 'm> {
    from: &'l mut Lowerer<'m>,
    to: Program,
    /// By root of the scoped program's extents.
    extents: FxHashMap<ExtentId, Option<ExtentId>>,
    constants: FxHashMap<u64, ExtentId>,
    declared: Vec<(Linear, ExtentId)>,
    tensors: FxHashMap<TensorId, TensorId>,
    queue: VecDeque<TensorId>,
    /// What each axis of the scoped program is where the copying is.
    env: Vec<Option<AxisId>>,
    memo: FxHashMap<(ExprId, Box<[AxisId]>), ExprId>,
}

impl Lowerer<'_> {
    pub(super) fn finish(&mut self) -> Lowered<Program> {
        self.join_weak();
        let mut to = Program::new(self.p.name.clone());
        to.doc = self.p.doc.clone();
        to.params = self.p.params.clone();
        let axes = self.p.axes.len();
        let mut copier = Copier {
            from: self,
            to,
            extents: FxHashMap::default(),
            constants: FxHashMap::default(),
            declared: vec![],
            tensors: FxHashMap::default(),
            queue: VecDeque::new(),
            env: vec![None; axes],
            memo: FxHashMap::default(),
        };
        let done = copier.program();
        let fits = copier.check_stands();
        let to = copier.to;
        done.and(fits)?;
        Ok(to)
    }
}

impl Copier<'_, '_> {
    fn program(&mut self) -> Lowered<()> {
        let inputs = self.from.p.inputs.clone();
        for input in inputs {
            let copy = self.tensor(input)?;
            self.to.inputs.push(copy);
        }
        self.to.value = self.tensor(self.from.p.value)?;
        for g in self.from.p.gradients.clone() {
            let input = self.tensor(g.input)?;
            let tensor = g.tensor.map(|t| self.tensor(t)).transpose()?;
            self.to.gradients.push(Gradient {
                input,
                tensor,
                stated: g.stated,
            });
        }
        while let Some(t) = self.queue.pop_front() {
            self.body(t)?;
        }
        Ok(())
    }

    /// The copy of a tensor; its body is copied later.
    fn tensor(&mut self, t: TensorId) -> Lowered<TensorId> {
        if let Some(&copy) = self.tensors.get(&t) {
            return Ok(copy);
        }
        let original = self.from.p.get(t).clone();
        let mut head = vec![];
        for &axis in &original.head {
            head.push(self.fresh(axis)?);
        }
        let copy = self.to.tensor(Tensor { head, ..original });
        self.tensors.insert(t, copy);
        if matches!(self.to.get(copy).kind, TensorKind::Definition(_)) {
            self.queue.push_back(t);
        }
        Ok(copy)
    }

    fn body(&mut self, t: TensorId) -> Lowered<()> {
        let copy = self.tensor(t)?;
        let Some(body) = self.from.p.body(t).cloned() else {
            return Ok(());
        };
        let heads: Vec<(AxisId, AxisId)> = self
            .from
            .p
            .get(t)
            .head
            .iter()
            .copied()
            .zip(self.to.get(copy).head.clone())
            .collect();
        for &(old, new) in &heads {
            self.env[old.index()] = Some(new);
        }
        let body = match body {
            Body::Expr(e) => Body::Expr(self.expr(e)?),
            Body::Argsort { along, guard, key } => {
                let guard = guard.map(|g| self.expr(g)).transpose()?;
                let key = self.expr(key)?;
                Body::Argsort {
                    along: self.env[along.index()].ok_or(Reported)?,
                    guard,
                    key,
                }
            }
            Body::Grad { of, wrt } => Body::Grad {
                of: self.tensor(of)?,
                wrt: self.tensor(wrt)?,
            },
        };
        self.to.set_body(copy, body);
        for &(old, _) in &heads {
            self.env[old.index()] = None;
        }
        Ok(())
    }

    fn fresh(&mut self, axis: AxisId) -> Lowered<AxisId> {
        let extent = self.extent_of(axis)?;
        let hint = self.from.p.axes[axis.index()].hint.clone();
        Ok(self.to.axis(hint, extent))
    }

    fn extent_of(&mut self, axis: AxisId) -> Lowered<ExtentId> {
        let extent = self.from.p.extent_of(axis);
        let root = self.from.extents.find(extent);
        if self.from.extents.known(root).is_none() {
            self.from.unknown_extent(axis)?;
        }
        self.extent(root)
    }

    /// The extent of a class of the scoped program.
    fn extent(&mut self, extent: ExtentId) -> Lowered<ExtentId> {
        let root = self.from.extents.find(extent);
        match self.extents.get(&root) {
            Some(Some(known)) => return Ok(*known),
            Some(None) => return Err(self.circular(root)),
            None => {}
        }
        let name = self.from.p.extents[root.index()].name.clone();
        let new = match self.from.extents.known(root).cloned() {
            None => {
                let axis = (0..self.from.p.axes.len() as u32).map(AxisId).find(|&a| {
                    let e = self.from.p.extent_of(a);
                    self.from.extents.find(e) == root
                });
                if let Some(axis) = axis {
                    self.from.unknown_extent(axis)?;
                }
                return Err(Reported);
            }
            Some(Known::Input(_) | Known::Star) => self.to.extent(name, ExtentKind::Input),
            Some(Known::Constant(n)) => self.constant(n, name),
            Some(Known::Mistaken) => return Err(Reported),
            Some(Known::Declared { value: None, .. }) => return Err(self.circular(root)),
            Some(Known::Declared {
                value: Some(value), ..
            }) => {
                self.extents.insert(root, None);
                let value = stacker::maybe_grow(RED_ZONE, SEGMENT, || self.expr(value))?;
                self.declared(value, name, root)?
            }
        };
        self.extents.insert(root, Some(new));
        Ok(new)
    }

    fn constant(&mut self, n: u64, name: Arc<str>) -> ExtentId {
        match self.constants.get(&n) {
            Some(&e) => e,
            None => {
                let e = self.to.extent(name, ExtentKind::Constant(n));
                self.constants.insert(n, e);
                e
            }
        }
    }

    /// A declared extent: another one's if they are equal by arithmetic.
    fn declared(&mut self, value: ExprId, name: Arc<str>, root: ExtentId) -> Lowered<ExtentId> {
        let Some(form) = index::linear(&self.to, value) else {
            return Ok(self.to.extent(name, ExtentKind::Declared(value)));
        };
        if form.is_constant() {
            let n = form.constant;
            if n < 0 || n as u64 > super::scope::MAX_EXTENT {
                return Err(self.bad_size(root, n));
            }
            return Ok(self.constant(n as u64, name));
        }
        if let ([(atom, 1)], 0) = (&form.terms[..], form.constant)
            && let Node::Size(extent) = self.to.node(*atom)
        {
            return Ok(*extent);
        }
        if let Some((_, known)) = self.declared.iter().find(|(f, _)| *f == form) {
            return Ok(*known);
        }
        let new = self.to.extent(name, ExtentKind::Declared(value));
        self.declared.push((form, new));
        Ok(new)
    }

    fn circular(&mut self, root: ExtentId) -> Reported {
        let name = self.from.p.extents[root.index()].name.clone();
        let mut out = Diagnostic::error(format!("the extent of axis {name} depends on itself"));
        if let Some(Known::Declared { span, .. }) = self.from.extents.known(root) {
            out = out.at(*span, "in a circle");
        }
        self.from.error(out)
    }

    fn bad_size(&mut self, root: ExtentId, n: i64) -> Reported {
        let name = self.from.p.extents[root.index()].name.clone();
        let why = if n < 0 {
            "less than nothing"
        } else {
            "which no memory holds"
        };
        let mut out = Diagnostic::error(format!("the extent of axis {name} is {n}, {why}"));
        if let Some(Known::Declared { span, .. }) = self.from.extents.known(root) {
            out = out.at(*span, "declared here");
        }
        self.from.error(out)
    }

    // ---- expressions

    fn key(&self, e: ExprId) -> Lowered<Box<[AxisId]>> {
        self.from
            .p
            .free(e)
            .iter()
            .map(|a| self.env[a.index()].ok_or(Reported))
            .collect()
    }

    /// The copy of an expression where the copying is; without recursion but for the bodies of reductions.
    fn expr(&mut self, root: ExprId) -> Lowered<ExprId> {
        let mut stack = vec![(root, false)];
        while let Some((e, ready)) = stack.pop() {
            let key = (e, self.key(e)?);
            if self.memo.contains_key(&key) {
                continue;
            }
            let reduction = matches!(self.from.p.node(e), Node::Reduce { .. });
            if !ready && !reduction {
                stack.push((e, true));
                let at = stack.len();
                self.from.p.for_children(e, |c| stack.push((c, false)));
                stack[at..].reverse();
                continue;
            }
            let copy = self.node(e)?;
            if let Some(span) = self.from.p.span(e) {
                self.to.locate(copy, span);
            }
            if self.to.node_count() > 2 * MAX_NODES {
                let span = self
                    .from
                    .p
                    .span(root)
                    .or(self.from.p.get(self.from.p.value).span);
                return Err(match span {
                    Some(span) => self.from.limit_copies(span),
                    None => Reported,
                });
            }
            self.memo.insert(key, copy);
        }
        self.done(root)
    }

    fn done(&self, e: ExprId) -> Lowered<ExprId> {
        self.memo.get(&(e, self.key(e)?)).copied().ok_or(Reported)
    }

    /// The copy of a node whose operands are copied (but for a reduction's, which are copied here).
    fn node(&mut self, e: ExprId) -> Lowered<ExprId> {
        let node = match self.from.p.node(e).clone() {
            Node::Real(_) | Node::Int(_) | Node::Bool(_) | Node::Param(_) => {
                self.from.p.node(e).clone()
            }
            Node::Axis(a) => Node::Axis(self.env[a.index()].ok_or(Reported)?),
            Node::Size(extent) => Node::Size(self.extent(extent)?),
            Node::Read {
                tensor,
                index,
                default,
            } => {
                let index = index
                    .iter()
                    .map(|&i| self.done(i))
                    .collect::<Lowered<_>>()?;
                let default = default.map(|d| self.done(d)).transpose()?;
                Node::Read {
                    tensor: self.tensor(tensor)?,
                    index,
                    default,
                }
            }
            Node::If {
                condition,
                then,
                otherwise,
            } => Node::If {
                condition: self.done(condition)?,
                then: self.done(then)?,
                otherwise: self.done(otherwise)?,
            },
            Node::Op(op, operands) => Node::Op(
                op,
                operands
                    .iter()
                    .map(|&o| self.done(o))
                    .collect::<Lowered<_>>()?,
            ),
            Node::Reduce {
                op,
                axes,
                guard,
                body,
            } => {
                let mut fresh = vec![];
                let mut outer = vec![];
                for &axis in &axes {
                    let new = self.fresh(axis)?;
                    outer.push(self.env[axis.index()].replace(new));
                    fresh.push(new);
                }
                let inner = stacker::maybe_grow(RED_ZONE, SEGMENT, || {
                    let guard = guard.map(|g| self.expr(g)).transpose();
                    guard.and_then(|g| Ok((g, self.expr(body)?)))
                });
                for (&axis, old) in axes.iter().zip(outer) {
                    self.env[axis.index()] = old;
                }
                let (guard, body) = inner?;
                Node::Reduce {
                    op,
                    axes: fresh.into(),
                    guard,
                    body,
                }
            }
        };
        Ok(self.to.mk(node))
    }

    // ---- extents that must fit

    /// The checks of rule R2, now that every extent is known.
    fn check_stands(&mut self) -> Lowered<()> {
        let mut stands = std::mem::take(&mut self.from.extents.stands);
        stands.sort_by_key(|s| s.depth);
        let mut wrong_at = usize::MAX;
        let mut result = Ok(());
        let mut seen = rustc_hash::FxHashSet::default();
        for stand in stands {
            if stand.depth > wrong_at {
                break;
            }
            if stand.fit == Fit::Any || !seen.insert((stand.span, stand.position)) {
                continue;
            }
            match self.fits(&stand) {
                Ok(true) => {}
                Ok(false) => {
                    wrong_at = stand.depth;
                    result = Err(self.from.misfit(&stand));
                }
                Err(Reported) => result = Err(Reported),
            }
        }
        result
    }

    fn fits(&mut self, stand: &Stand) -> Lowered<bool> {
        let own = self.from.p.extent_of(stand.axis);
        if self.from.extents.known(own).is_none()
            || self.from.extents.known(stand.position).is_none()
        {
            return Ok(true);
        }
        let (own, position) = (self.extent(own)?, self.extent(stand.position)?);
        if own == position {
            return Ok(true);
        }
        let own = index::extent_size(&mut self.to, own);
        let position = index::extent_size(&mut self.to, position);
        let inferred = self.from.axes[stand.axis.index()].inferred;
        if stand.fit != Fit::Within || inferred {
            return Ok(own == position);
        }
        // Sizes are not negative; nothing is known of other atoms.
        Ok(position.minus(&own).is_some_and(|d| {
            let size = |&(atom, factor): &(ExprId, i64)| {
                factor > 0 && matches!(self.to.node(atom), Node::Size(_))
            };
            d.constant >= 0 && d.terms.iter().all(size)
        }))
    }
}

impl Lowerer<'_> {
    fn limit_copies(&mut self, span: crate::ast::Span) -> Reported {
        self.error(
            Diagnostic::error("this loss is too large")
                .at(span, "reached here")
                .note(format!(
                    "with every reduction's axes its own it has more than {} operations",
                    2 * MAX_NODES
                ))
                .help("give repeated parts a name in `where`"),
        )
    }
}
