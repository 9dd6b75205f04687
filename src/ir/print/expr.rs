//! Expressions, with as few parentheses as the precedences allow.

use super::*;

impl Printer<'_> {
    pub(super) fn expr(&mut self, e: ExprId, open: &[String]) -> Piece {
        // As deep as the text's nesting, which has a limit, but not every caller's stack is large.
        stacker::maybe_grow(64 * 1024, 1024 * 1024, || self.expr_here(e, open))
    }

    pub(super) fn expr_here(&mut self, e: ExprId, open: &[String]) -> Piece {
        let program = self.program;
        match program.node(e) {
            Node::Real(x) => number(x.0),
            Node::Int(k) => integer(*k),
            Node::Bool(b) => Piece::atom(b.to_string()),
            Node::Axis(a) => Piece::atom(self.axes.get(a).cloned().unwrap_or_else(|| "?".into())),
            Node::Size(extent) => self.size(*extent),
            Node::Param(p) => Piece::atom(program.params[p.index()].name.to_string()),
            Node::Read {
                tensor,
                index,
                default,
            } => self.read(*tensor, index, *default, open),
            Node::If {
                condition,
                then,
                otherwise,
            } => {
                let condition = self.expr(*condition, open);
                let then = self.expr(*then, open);
                let otherwise = self.expr(*otherwise, open);
                // Which `else` belongs to which `if` is clear to the parser only.
                let then = if then.is_choice() {
                    Piece::wrap("(", then, ")", prec::ATOM)
                } else {
                    then
                };
                Piece::choice(condition, then, otherwise)
            }
            Node::Op(op, operands) => self.op(e, *op, operands, open),
            Node::Reduce {
                op,
                axes,
                guard,
                body,
            } => self.reduce(*op, axes, *guard, *body, open),
        }
    }

    pub(super) fn size(&mut self, extent: ExtentId) -> Piece {
        let extent = self.extent(extent);
        if let ExtentKind::Constant(k) = self.program.extents[extent.index()].kind {
            return Piece::atom(k.to_string());
        }
        let name = self
            .name_of_extent
            .get(&extent)
            .cloned()
            .unwrap_or_else(|| "*".into());
        if !self.used.contains(&name) {
            self.used.push(name.clone());
        }
        Piece::atom(format!("size({name})"))
    }

    pub(super) fn read(
        &mut self,
        tensor: TensorId,
        index: &[ExprId],
        default: Option<ExprId>,
        open: &[String],
    ) -> Piece {
        let program = self.program;
        let t = program.get(tensor);
        let name = self
            .names
            .get(&tensor)
            .cloned()
            .unwrap_or_else(|| t.name.to_string());
        let own = self.positions(tensor);
        let mut texts = vec![];
        for (q, &i) in index.iter().enumerate() {
            let mut text = self.expr(i, open).flat;
            if let &Node::Axis(a) = program.node(i)
                && text != "*"
            {
                let (from, to) = (program.extent_of(a), program.extent_of(t.head[q]));
                let joins = default.is_some() && self.extent(from) != self.extent(to);
                if joins {
                    // The one case where a bare axis may have another extent (rule R4), so the place does not show it.
                    self.declared.insert(text.clone());
                    texts.push(text);
                    continue;
                }
                text = self.bare_index(text, self.extent(from), self.extent(to), own[q].as_deref());
            }
            texts.push(text);
        }
        let distinct = (1..own.len()).all(|i| !own[..i].contains(&own[i]));
        let bare = distinct && own.iter().zip(&texts).all(|(o, t)| o.as_ref() == Some(t));
        match default {
            None if bare || texts.is_empty() => Piece::atom(name),
            None => Piece::atom(format!("{name}[{}]", texts.join(", "))),
            Some(d) => {
                let d = self.expr(d, open).flat;
                Piece::atom(format!("{name}[{} else {d}]", texts.join(", ")))
            }
        }
    }

    /// The names of a tensor's positions; `None` where there is none.
    pub(super) fn positions(&self, tensor: TensorId) -> Vec<Option<String>> {
        let t = self.program.get(tensor);
        match &t.kind {
            TensorKind::Input(input) => match &input.shape {
                None => {
                    let name = self.star.then(|| "*".to_string());
                    t.head.iter().map(|_| name.clone()).collect()
                }
                Some(shape) => shape
                    .iter()
                    .map(|d| match d {
                        Dim::Named(n) => Some(n.to_string()),
                        Dim::Constant(_) => None,
                    })
                    .collect(),
            },
            TensorKind::Definition(_) => t.head.iter().map(|a| self.axes.get(a).cloned()).collect(),
        }
    }

    /// An axis as an index at a position: it shows the axis's extent, or is checked.
    pub(super) fn bare_index(
        &mut self,
        text: String,
        from: ExtentId,
        to: ExtentId,
        position: Option<&str>,
    ) -> String {
        if from == to {
            match position {
                Some(p) => self.link(&text, p),
                None => {
                    self.sized.insert(text.clone());
                }
            }
            return text;
        }
        self.declared.insert(text.clone());
        match (
            self.program.extents[from.index()].kind,
            self.program.extents[to.index()].kind,
        ) {
            (ExtentKind::Constant(a), ExtentKind::Constant(b)) if a <= b => text,
            _ => format!("{text} + 0"),
        }
    }

    pub(super) fn reduce(
        &mut self,
        op: ReduceOp,
        axes: &[AxisId],
        guard: Option<ExprId>,
        body: ExprId,
        open: &[String],
    ) -> Piece {
        let program = self.program;
        // Names that are visible inside must not be hidden; those of axes that the body does not use may.
        let mut inner: Vec<String> = vec![];
        for e in guard.iter().chain([&body]) {
            inner.extend(
                program
                    .free(*e)
                    .iter()
                    .filter_map(|a| self.axes.get(a))
                    .filter(|n| open.contains(n))
                    .cloned(),
            );
        }
        for a in axes {
            self.axes.remove(a);
        }
        self.name_axes(axes, &mut inner);
        let names: Vec<String> = axes.iter().map(|a| self.axes[a].clone()).collect();
        let inside: Vec<String> = open.iter().cloned().chain(names.iter().cloned()).collect();
        let (guard, body) = match guard {
            // `count[N](c)` for `count[N if c](true)`.
            Some(g) if op == ReduceOp::Count && program.truth(body) == Some(true) => (None, g),
            _ => (guard, body),
        };
        let all =
            names.iter().all(|n| n == "*") && program.free(body).iter().all(|a| axes.contains(a));
        let piece = self.expr(body, &inside);
        let guard = guard.map(|g| self.expr(g, &inside).flat);
        let shows = !names.is_empty()
            && names.iter().all(|n| n == "*")
            && guard.is_none()
            && all
            && !program.free(body).is_empty();
        let before = match guard {
            None if shows => format!("{}(", op.name()),
            None => format!("{}[{}](", op.name(), names.join(", ")),
            Some(g) => format!("{}[{} if {g}](", op.name(), names.join(", ")),
        };
        Piece::wrap(before, piece, ")", prec::ATOM)
    }

    pub(super) fn op(&mut self, e: ExprId, op: Op, operands: &[ExprId], open: &[String]) -> Piece {
        match op {
            Op::Add | Op::Sub => self.sum(e, open),
            Op::Mul | Op::Div => self.product(e, open),
            Op::Neg => {
                let inner = self.expr(operands[0], open);
                if let Some(negated) = inner.negated_product() {
                    return negated;
                }
                let inner = inner.at(prec::UNARY);
                if inner.flat.starts_with('-') {
                    let inner = Piece::wrap("(", inner, ")", prec::ATOM);
                    return Piece::wrap("-", inner, "", prec::UNARY);
                }
                Piece::wrap("-", inner, "", prec::UNARY)
            }
            Op::Pow => {
                let base = self.expr(operands[0], open).at(prec::ATOM);
                let exponent = self.expr(operands[1], open).at(prec::UNARY);
                Piece::text(format!("{}^{}", base.flat, exponent.flat), prec::POWER)
            }
            Op::Eq | Op::Ne | Op::Lt | Op::Le | Op::Gt | Op::Ge => {
                let (a, b) = (self.expr(operands[0], open), self.expr(operands[1], open));
                let (a, b) = (a.at(prec::SUM), b.at(prec::SUM));
                Piece::text(
                    format!("{} {} {}", a.flat, op.name(), b.flat),
                    prec::COMPARE,
                )
            }
            Op::And | Op::Or => {
                let level = if op == Op::And { prec::AND } else { prec::OR };
                let mut list = vec![];
                self.flatten(e, op, &mut list);
                let pieces: Vec<(String, Piece)> = list
                    .into_iter()
                    .enumerate()
                    .map(|(i, o)| {
                        let sign = if i == 0 { "" } else { op.name() };
                        (sign.to_string(), self.expr(o, open).at(level + 1))
                    })
                    .collect();
                Piece::chain(pieces, level)
            }
            Op::Not => Piece::wrap(
                "not ",
                self.expr(operands[0], open).at(prec::NOT),
                "",
                prec::NOT,
            ),
            Op::ToReal => self.expr(operands[0], open),
            _ => {
                if let &[only] = operands {
                    let inner = self.expr(only, open);
                    return Piece::wrap(format!("{}(", op.name()), inner, ")", prec::ATOM);
                }
                let arguments = operands.iter().map(|&o| self.expr(o, open)).collect();
                Piece::call(op.name(), arguments)
            }
        }
    }

    /// The operands of a chain of one associative operator that leans to the left.
    pub(super) fn flatten(&self, e: ExprId, op: Op, out: &mut Vec<ExprId>) {
        let mut e = e;
        while let Some((a, b)) = self.program.binary(e, op) {
            out.push(b);
            e = a;
        }
        out.push(e);
        out.reverse();
    }

    pub(super) fn sum(&mut self, e: ExprId, open: &[String]) -> Piece {
        let mut terms: Vec<(&str, ExprId)> = vec![];
        let mut e = e;
        loop {
            if let Some((a, b)) = self.program.binary(e, Op::Add) {
                terms.push(("+", b));
                e = a;
            } else if let Some((a, b)) = self.program.binary(e, Op::Sub) {
                terms.push(("-", b));
                e = a;
            } else {
                break;
            }
        }
        let first = self.expr(e, open).at(prec::SUM);
        let mut pieces = vec![(String::new(), first)];
        for (sign, t) in terms.into_iter().rev() {
            let piece = self.expr(t, open).at(prec::PRODUCT);
            // `a + -b` parses, and reads badly.
            let piece = if piece.flat.starts_with('-') {
                Piece::wrap("(", piece, ")", prec::ATOM)
            } else {
                piece
            };
            pieces.push((sign.to_string(), piece));
        }
        Piece::chain(pieces, prec::SUM)
    }

    pub(super) fn product(&mut self, e: ExprId, open: &[String]) -> Piece {
        let mut factors: Vec<(&str, ExprId)> = vec![];
        let mut e = e;
        loop {
            if let Some((a, b)) = self.program.binary(e, Op::Mul) {
                factors.push(("*", b));
                e = a;
            } else if let Some((a, b)) = self.program.binary(e, Op::Div) {
                factors.push(("/", b));
                e = a;
            } else {
                break;
            }
        }
        let first = self.expr(e, open).at(prec::PRODUCT);
        let mut pieces = vec![(String::new(), first)];
        for (sign, f) in factors.into_iter().rev() {
            let piece = self.expr(f, open).at(prec::UNARY);
            let piece = if piece.flat.starts_with('-') {
                Piece::wrap("(", piece, ")", prec::ATOM)
            } else {
                piece
            };
            pieces.push((sign.to_string(), piece));
        }
        Piece::chain(pieces, prec::PRODUCT)
    }
}
