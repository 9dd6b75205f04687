//! Expressions: operators, reads, and the types of their operands (rule R9).

use super::extents::{Fit, Stand};
use super::scope::{Binding, Scope, Value, View, capitalized};
use super::{
    Lowered, Lowerer, RED_ZONE, Reported, SEGMENT, axes_count, axis_names, listed, ordinal,
};
use crate::ast::{self, ChainOp, CompareOp, Constant, Expr, ExprKind, Position, Span, Use};
use crate::diagnostic::Diagnostic;
use crate::ir::{Body, ExprId, Node, Op, Tensor, TensorId, TensorKind, Type};

/// A lowered operand and where it stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct At {
    pub id: ExprId,
    pub span: Span,
}

/// A type in words.
pub(super) fn noun(ty: Type) -> &'static str {
    match ty {
        Type::Real => "a real",
        Type::Int => "an int",
        Type::Bool => "a bool",
    }
}

impl<'m> Lowerer<'m> {
    pub(super) fn expr(&mut self, s: &mut Scope<'m>, e: &'m Expr) -> Lowered<ExprId> {
        if self.too_large {
            return Err(Reported);
        }
        let id = stacker::maybe_grow(RED_ZONE, SEGMENT, || self.expr_here(s, e))?;
        self.p.locate(id, e.span);
        Ok(id)
    }

    pub(super) fn at(&mut self, s: &mut Scope<'m>, e: &'m Expr) -> Lowered<At> {
        Ok(At {
            id: self.expr(s, e)?,
            span: e.span,
        })
    }

    fn expr_here(&mut self, s: &mut Scope<'m>, e: &'m Expr) -> Lowered<ExprId> {
        match &e.kind {
            ExprKind::Constant(c) => Ok(self.constant(*c)),
            ExprKind::Axis(name) => {
                let axis = self.axis(s, name, e.span);
                Ok(self.p.index_of(axis))
            }
            ExprKind::Use(u) => match &u.arguments {
                None => self.read(s, u, e.span),
                Some(arguments) => self.call(s, u, arguments, e.span),
            },
            ExprKind::If {
                condition,
                then,
                otherwise,
            } => self.choice(s, condition, then, otherwise),
            ExprKind::Not(inner) => {
                let inner = self.at(s, inner)?;
                let inner = self.boolean(inner)?;
                Ok(self.p.raw(Op::Not, &[inner]))
            }
            ExprKind::Negate(inner) => self.negate(s, inner),
            ExprKind::Compare { op, left, right } => self.compare(s, *op, left, right),
            ExprKind::Power { base, exponent } => {
                let (base, exponent) = (self.at(s, base), self.at(s, exponent));
                let (base, exponent) = (self.real(base?), self.real(exponent?));
                Ok(self.p.raw(Op::Pow, &[base?, exponent?]))
            }
            ExprKind::Chain { first, rest } => self.chain(s, first, rest),
            ExprKind::Paren(inner) => self.expr(s, inner),
        }
    }

    pub(super) fn constant(&mut self, c: Constant) -> ExprId {
        match c {
            Constant::Int(n) => self.p.int(n),
            Constant::Real(x) => self.p.real(x),
            Constant::True => self.p.bool(true),
            Constant::False => self.p.bool(false),
            Constant::Inf => self.p.real(f64::INFINITY),
            Constant::Pi => self.p.real(std::f64::consts::PI),
        }
    }

    fn negate(&mut self, s: &mut Scope<'m>, inner: &'m Expr) -> Lowered<ExprId> {
        // A literal keeps its sign, so that `-1` and `-inf` are numbers.
        match inner.kind {
            ExprKind::Constant(Constant::Int(n)) => return Ok(self.p.int(n.wrapping_neg())),
            ExprKind::Constant(Constant::Real(x)) => return Ok(self.p.real(-x)),
            ExprKind::Constant(Constant::Inf) => return Ok(self.p.real(f64::NEG_INFINITY)),
            ExprKind::Constant(Constant::Pi) => return Ok(self.p.real(-std::f64::consts::PI)),
            _ => {}
        }
        let inner = self.at(s, inner)?;
        let (_, operands) = self.numbers(&[inner])?;
        Ok(self.p.raw(Op::Neg, &operands))
    }

    fn choice(
        &mut self,
        s: &mut Scope<'m>,
        condition: &'m Expr,
        then: &'m Expr,
        otherwise: &'m Expr,
    ) -> Lowered<ExprId> {
        let condition = self.at(s, condition).and_then(|c| self.boolean(c));
        let depth = self.path.len();
        self.path.extend(condition.ok());
        let then = self.at(s, then);
        self.path.truncate(depth);
        if let Ok(c) = condition {
            let not = self.p.raw(Op::Not, &[c]);
            self.path.push(not);
        }
        let otherwise = self.at(s, otherwise);
        self.path.truncate(depth);
        let (condition, a, b) = (condition?, then?, otherwise?);
        let (then, otherwise) = self.alike(a, b, "the branches of an `if`")?;
        Ok(self.p.mk(Node::If {
            condition,
            then,
            otherwise,
        }))
    }

    /// Two operands of one type: both numbers or both bools.
    pub(super) fn alike(&mut self, a: At, b: At, what: &str) -> Lowered<(ExprId, ExprId)> {
        match (self.p.ty(a.id), self.p.ty(b.id)) {
            (x, y) if x == y => Ok((a.id, b.id)),
            (Type::Bool, other) | (other, Type::Bool) => {
                let (bool_at, number_at) = if self.p.ty(a.id) == Type::Bool {
                    (a, b)
                } else {
                    (b, a)
                };
                Err(self.error(
                    Diagnostic::error(format!("{what} have different types"))
                        .at(number_at.span, format!("this is {}", noun(other)))
                        .at(bool_at.span, "this is a bool")
                        .help("`if b then 1 else 0` makes a number of a bool"),
                ))
            }
            _ => Ok((self.real(a)?, self.real(b)?)),
        }
    }

    fn compare(
        &mut self,
        s: &mut Scope<'m>,
        op: CompareOp,
        left: &'m Expr,
        right: &'m Expr,
    ) -> Lowered<ExprId> {
        let (left, right) = (self.at(s, left), self.at(s, right));
        let (left, right) = (left?, right?);
        let op = match op {
            CompareOp::Eq => Op::Eq,
            CompareOp::Ne => Op::Ne,
            CompareOp::Lt => Op::Lt,
            CompareOp::Le => Op::Le,
            CompareOp::Gt => Op::Gt,
            CompareOp::Ge => Op::Ge,
        };
        let bools = self.p.ty(left.id) == Type::Bool && self.p.ty(right.id) == Type::Bool;
        if bools && !matches!(op, Op::Eq | Op::Ne) {
            return Err(self.error(
                Diagnostic::error(format!("`{}` compares numbers", op.name()))
                    .at(left.span.to(right.span), "these are bools")
                    .help("bools are compared by `==` and `!=` only"),
            ));
        }
        let (a, b) = self.alike(left, right, "the sides of a comparison")?;
        Ok(self.p.raw(op, &[a, b]))
    }

    fn chain(
        &mut self,
        s: &mut Scope<'m>,
        first: &'m Expr,
        rest: &'m [(ChainOp, Expr)],
    ) -> Lowered<ExprId> {
        let depth = self.path.len();
        let mut left = self.at(s, first);
        for (op, e) in rest {
            if let Ok(l) = left
                && self.p.ty(l.id) == Type::Bool
            {
                match op {
                    ChainOp::And => self.path.push(l.id),
                    ChainOp::Or => {
                        let not = self.p.raw(Op::Not, &[l.id]);
                        self.path.push(not);
                    }
                    ChainOp::Add | ChainOp::Subtract | ChainOp::Multiply | ChainOp::Divide => {}
                }
            }
            let right = self.at(s, e);
            left = match (left, right) {
                (Ok(l), Ok(r)) => self.binary(*op, l, r).map(|id| At {
                    id,
                    span: l.span.to(r.span),
                }),
                _ => Err(Reported),
            };
            if let Ok(l) = left {
                self.p.locate(l.id, l.span);
            }
        }
        self.path.truncate(depth);
        let left = left?;
        self.limit(left.span)?;
        Ok(left.id)
    }

    fn binary(&mut self, op: ChainOp, left: At, right: At) -> Lowered<ExprId> {
        let (op, operands) = match op {
            ChainOp::Or | ChainOp::And => {
                let (a, b) = (self.boolean(left), self.boolean(right));
                (
                    if op == ChainOp::Or { Op::Or } else { Op::And },
                    vec![a?, b?],
                )
            }
            ChainOp::Add => (Op::Add, self.numbers(&[left, right])?.1),
            ChainOp::Subtract => (Op::Sub, self.numbers(&[left, right])?.1),
            ChainOp::Multiply => (Op::Mul, self.numbers(&[left, right])?.1),
            ChainOp::Divide => {
                let (a, b) = (self.real(left), self.real(right));
                (Op::Div, vec![a?, b?])
            }
        };
        Ok(self.p.raw(op, &operands))
    }

    // ---- types

    pub(super) fn boolean(&mut self, e: At) -> Lowered<ExprId> {
        match self.p.ty(e.id) {
            Type::Bool => Ok(e.id),
            ty @ (Type::Real | Type::Int) => Err(self.error(
                Diagnostic::error(format!("a bool is expected, this is {}", noun(ty)))
                    .at(e.span, noun(ty))
                    .help(format!(
                        "compare it: `{} != 0`",
                        self.short_text(e.span, "x")
                    )),
            )),
        }
    }

    /// A real; an int becomes one.
    pub(super) fn real(&mut self, e: At) -> Lowered<ExprId> {
        match self.p.ty(e.id) {
            Type::Real => Ok(e.id),
            Type::Int => Ok(self.int_to_real(e.id)),
            Type::Bool => Err(self.not_a_number(e.span)),
        }
    }

    /// A literal becomes a real literal, also as a branch; anything else is converted.
    fn int_to_real(&mut self, e: ExprId) -> ExprId {
        match *self.p.node(e) {
            Node::Int(n) => self.p.real(n as f64),
            Node::If {
                condition,
                then,
                otherwise,
            } => {
                let literal = |s: &Self, e| matches!(s.p.node(e), Node::Int(_) | Node::If { .. });
                if !literal(self, then) && !literal(self, otherwise) {
                    return self.p.raw(Op::ToReal, &[e]);
                }
                let then = self.int_to_real(then);
                let otherwise = self.int_to_real(otherwise);
                self.p.mk(Node::If {
                    condition,
                    then,
                    otherwise,
                })
            }
            _ => self.p.raw(Op::ToReal, &[e]),
        }
    }

    pub(super) fn int(&mut self, e: At, why: &str) -> Lowered<ExprId> {
        match self.p.ty(e.id) {
            Type::Int => Ok(e.id),
            ty @ (Type::Real | Type::Bool) => {
                let out = Diagnostic::error(format!("{why} is an int, this is {}", noun(ty)))
                    .at(e.span, noun(ty));
                let out = if ty == Type::Bool {
                    out.help("`if b then 1 else 0` makes a number of a bool")
                } else {
                    out.help("`int(x)` cuts off towards zero, `div` divides ints; an input is int if declared so: `x: int[N]`")
                };
                Err(self.error(out))
            }
        }
    }

    /// Operands of one numeric type: ints if all are, otherwise reals.
    pub(super) fn numbers(&mut self, operands: &[At]) -> Lowered<(Type, Vec<ExprId>)> {
        let mut bad = false;
        for o in operands {
            if self.p.ty(o.id) == Type::Bool {
                self.not_a_number(o.span);
                bad = true;
            }
        }
        if bad {
            return Err(Reported);
        }
        if operands.iter().all(|o| self.p.ty(o.id) == Type::Int) {
            return Ok((Type::Int, operands.iter().map(|o| o.id).collect()));
        }
        let reals: Lowered<Vec<ExprId>> = operands.iter().map(|&o| self.real(o)).collect();
        Ok((Type::Real, reals?))
    }

    fn not_a_number(&mut self, span: Span) -> Reported {
        self.error(
            Diagnostic::error("a number is expected, this is a bool")
                .at(span, "a bool")
                .help("a bool never becomes a number by itself: `count[N](b)` counts, `if b then 1 else 0` converts"),
        )
    }

    /// The text of a place if it is short, for help lines.
    pub(super) fn short_text(&self, span: Span, otherwise: &str) -> String {
        let text = self.text(span);
        if text.len() <= 30 && !text.contains('\n') {
            text.into()
        } else {
            otherwise.into()
        }
    }

    // ---- reads

    fn read(&mut self, s: &mut Scope<'m>, u: &'m Use, span: Span) -> Lowered<ExprId> {
        if let Some(module) = &u.module {
            return Err(self.error(
                Diagnostic::error(format!("`{}.{}` is not a value", module.text, u.name.text))
                    .at(span, "only functions can be used from another file")
                    .help(format!("call it: `{}.{}(...)`", module.text, u.name.text)),
            ));
        }
        let value = self.value(s, &u.name);
        let Some(bracket) = &u.bracket else {
            return self.read_bare(&value?, &u.name.text, span);
        };
        let index: Vec<Lowered<At>> = bracket
            .positions
            .iter()
            .map(|p| self.position(s, p))
            .collect();
        let default = bracket.default.as_ref().map(|d| self.at(s, d));
        let index: Vec<At> = index.into_iter().collect::<Lowered<_>>()?;
        let default = default.transpose()?;
        if let Some(guard) = &bracket.guard {
            return Err(self.error(
                Diagnostic::error("a read has no guard")
                    .at(guard.span, "only reductions take `if` in their brackets")
                    .help("a value for indices out of range is given by `else`: `x[N - 1 else 0]`"),
            ));
        }
        let value = value?;
        let view = self.indexed_view(&value, &u.name)?;
        self.positions_fit(s, &view, &value, u, bracket, &index)?;
        let ids: Vec<ExprId> = index.iter().map(|i| i.id).collect();
        let default = match default {
            Some(d) => Some(self.default(&view, &value, d)?),
            None => None,
        };
        let read = self.read_view(&view, &ids, default);
        self.p.locate(read, span);
        Ok(if view.to_real {
            self.p.raw(Op::ToReal, &[read])
        } else {
            read
        })
    }

    /// The default has the type of the tensor.
    fn default(&mut self, view: &View, value: &Value, d: At) -> Lowered<ExprId> {
        let wanted = self.p.get(view.tensor).ty;
        match (wanted, self.p.ty(d.id)) {
            (Type::Real, _) => self.real(d),
            (Type::Bool, _) => self.boolean(d),
            (Type::Int, Type::Int) => Ok(d.id),
            (Type::Int, found) => Err(self.error(
                Diagnostic::error(format!("the default of an int is {}", noun(found)))
                    .at(d.span, noun(found))
                    .at(value.span, "this is int"),
            )),
        }
    }

    fn position(&mut self, s: &mut Scope<'m>, p: &'m Position) -> Lowered<At> {
        match p {
            Position::Star(span) => Err(self.error(
                Diagnostic::error("`*` is not an index")
                    .at(
                        *span,
                        "`*` stands in the brackets of reductions and in `size(*)`",
                    )
                    .help("an untyped input is read without brackets"),
            )),
            Position::Expr(e) => {
                let at = self.at(s, e)?;
                self.int(at, "an index")?;
                Ok(at)
            }
        }
    }

    /// What brackets after a name index.
    fn indexed_view(&mut self, value: &Value, name: &ast::Name) -> Lowered<View> {
        match &value.binding {
            Binding::Poisoned => Err(Reported),
            Binding::View(view) if view.ordered => Ok(view.clone()),
            Binding::View(view) if view.axes.is_empty() && value.what == "input" => {
                Ok(view.clone())
            }
            Binding::View(view) if value.what == "input" => {
                let _ = view;
                Err(self.untyped_indexed(value, name))
            }
            Binding::View(view) => {
                let axes = axis_names(&self.p, &view.axes);
                Err(self.error(
                    Diagnostic::error(format!(
                        "`{}` has {} and no head",
                        name.text,
                        axes_count(axes.len())
                    ))
                    .at(name.span, "brackets go by position")
                    .at(value.span, "defined here")
                    .help(format!(
                        "say the order of its axes: `{}[{}] = ...`",
                        name.text,
                        axes.join(", ")
                    )),
                ))
            }
            Binding::Argument { safe, axis, .. } => {
                Ok(self.argument_view(*safe, Some(*axis), name))
            }
            Binding::Expr(_) if value.what == "hyperparameter" => Err(self.error(
                Diagnostic::error(format!(
                    "`{}` is a hyperparameter, a single number",
                    name.text
                ))
                .at(name.span, "it has no positions")
                .at(value.span, "declared here"),
            )),
            Binding::Expr(_) => Err(self.untyped_indexed(value, name)),
        }
    }

    fn untyped_indexed(&mut self, value: &Value, name: &ast::Name) -> Reported {
        self.error(
            Diagnostic::error(format!(
                "`{}` is untyped and can only be read without brackets",
                name.text
            ))
            .at(name.span, "read with brackets here")
            .at(value.span, "declared here")
            .help(format!(
                "give it axes in the signature: `{}: [N]`",
                name.text
            )),
        )
    }

    /// The definition behind an argument that is an expression, made when it is indexed for the first time.
    pub(super) fn argument_view(
        &mut self,
        value: ExprId,
        axis: Option<crate::ir::AxisId>,
        name: &ast::Name,
    ) -> View {
        let axes: Vec<_> = axis.into_iter().collect();
        let tensor = match self.arguments.get(&value) {
            Some(&t) => t,
            None => {
                let t = self.generate(&name.text, axes.clone(), value);
                self.arguments.insert(value, t);
                t
            }
        };
        View {
            tensor,
            axes,
            extra: vec![],
            bare: super::scope::Bare::Yes,
            ordered: true,
            to_real: false,
        }
    }

    /// A generated definition of an expression.
    pub(super) fn generate(
        &mut self,
        name: &str,
        head: Vec<crate::ir::AxisId>,
        body: ExprId,
    ) -> TensorId {
        let ty = self.p.ty(body);
        let span = self.p.span(body);
        self.p.tensor(Tensor {
            name: name.into(),
            ty,
            head,
            kind: TensorKind::Definition(Body::Expr(body)),
            named: false,
            span,
        })
    }

    /// Checks the number of positions, and that bare axes and literals fit (rule R2).
    fn positions_fit(
        &mut self,
        s: &mut Scope<'m>,
        view: &View,
        value: &Value,
        u: &'m Use,
        bracket: &'m ast::Bracket,
        index: &[At],
    ) -> Lowered<()> {
        let name = &u.name.text;
        if index.len() != view.axes.len() {
            return Err(self.error(
                Diagnostic::error(format!(
                    "`{name}` has {}, {} {} given",
                    axes_count(view.axes.len()),
                    index.len(),
                    if index.len() == 1 {
                        "index is"
                    } else {
                        "indices are"
                    }
                ))
                .at(
                    bracket.span,
                    format!("one index for each of {}", self.axes_text(view)),
                )
                .at(value.span, "declared here"),
            ));
        }
        let extents = self.positions(view);
        for (k, (position, extent)) in bracket.positions.iter().zip(extents).enumerate() {
            let Position::Expr(e) = position else {
                continue;
            };
            if let ExprKind::Axis(axis_name) = &strip(e).kind {
                let axis = self.axis(s, axis_name, e.span);
                let fit = if bracket.default.is_some() {
                    Fit::Any
                } else {
                    Fit::Within
                };
                let own = self.p.extent_of(axis);
                let stand = Stand {
                    axis,
                    name: axis_name.clone(),
                    position: extent,
                    of: name.clone(),
                    ordinal: k + 1,
                    span: e.span,
                    fit,
                    depth: self.active.len(),
                };
                self.extents.stand(own, stand);
            } else if bracket.default.is_none() {
                self.literal_fits(extent, index[k], name, k)?;
            }
        }
        Ok(())
    }

    /// A constant index is in range.
    fn literal_fits(
        &mut self,
        extent: crate::ir::ExtentId,
        index: At,
        name: &str,
        k: usize,
    ) -> Lowered<()> {
        let Node::Int(n) = *self.p.node(index.id) else {
            return Ok(());
        };
        if n < 0 {
            let axis = self.size_name(extent);
            return Err(self.error(
                Diagnostic::error("there are no negative indices")
                    .at(index.span, "before the first element")
                    .help(format!("the last element is at `size({axis}) - 1`")),
            ));
        }
        if let Some(&super::extents::Known::Constant(size)) = self.extents.known(extent)
            && n as u64 >= size
        {
            return Err(self.error(
                Diagnostic::error(format!("index {n} is out of range"))
                    .at(
                        index.span,
                        format!(
                            "the {} position of `{name}` has extent {size}",
                            ordinal(k + 1)
                        ),
                    )
                    .help("the first element is at 0"),
            ));
        }
        Ok(())
    }

    fn size_name(&mut self, extent: crate::ir::ExtentId) -> String {
        let root = self.extents.find(extent);
        self.p.extents[root.index()].name.to_string()
    }

    fn axes_text(&self, view: &View) -> String {
        if view.axes.is_empty() {
            "its axes; it has none".into()
        } else {
            let names = axis_names(&self.p, &view.axes);
            format!("its axes {}", listed(&names).replace('`', ""))
        }
    }

    /// The axes in the brackets of a reduction or a function along axes.
    pub(super) fn bracket_axes(
        &mut self,
        s: &mut Scope<'m>,
        function: &str,
        bracket: &'m ast::Bracket,
    ) -> Lowered<Vec<crate::ir::AxisId>> {
        let mut out = vec![];
        let mut failed = false;
        for position in &bracket.positions {
            match position {
                Position::Star(span) => match self.star(s, *span) {
                    Ok(axes) => out.extend(axes),
                    Err(Reported) => failed = true,
                },
                Position::Expr(e) => match &e.kind {
                    ExprKind::Axis(name) => {
                        let axis = self.axis(s, name, e.span);
                        if out.contains(&axis) {
                            let title =
                                format!("axis {name} stands twice in the brackets of `{function}`");
                            self.error(Diagnostic::error(title).at(e.span, "again here"));
                            failed = true;
                        }
                        out.push(axis);
                    }
                    _ => {
                        let text = self.short_text(e.span, "this");
                        let mut d =
                            Diagnostic::error(format!("`{function}` takes axes in its brackets"))
                                .at(e.span, "this is not an axis");
                        if text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
                            && text.starts_with(|c: char| c.is_ascii_lowercase())
                        {
                            d = d.help(format!(
                                "an axis begins with a capital letter: `{}`",
                                capitalized(&text)
                            ));
                        } else {
                            d = d.help(format!("name what to reduce over: `{function}[N](...)`"));
                        }
                        self.error(d);
                        failed = true;
                    }
                },
            }
        }
        if let Some(default) = &bracket.default {
            self.error(
                Diagnostic::error(format!("`{function}` takes no `else`"))
                    .at(default.span, "only reads have a default")
                    .help("a condition on the elements is a guard: `sum[N if c](x)`"),
            );
            failed = true;
        }
        if failed { Err(Reported) } else { Ok(out) }
    }

    /// The axes that `*` stands for.
    pub(super) fn star(&mut self, s: &Scope<'m>, span: Span) -> Lowered<Vec<crate::ir::AxisId>> {
        match &s.star {
            Some(axes) => Ok(axes.clone()),
            None => Err(self.error(
                Diagnostic::error(format!("`*` means nothing in `{}`", s.name))
                    .at(span, "the axis of untyped inputs of a loss, and there are none")
                    .help("name the axes, or leave the brackets out to reduce over all of the operand's"),
            )),
        }
    }
}

/// An expression without the parentheses around it.
pub(super) fn strip(mut e: &Expr) -> &Expr {
    while let ExprKind::Paren(inner) = &e.kind {
        e = inner;
    }
    e
}
