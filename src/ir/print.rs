//! Prints a program as a `.loss` text: the loss's value, its gradients and every definition they need, self-contained.
//!
//! The text parses, and means what the program means. Definitions keep the loss's own names; generated ones get a number
//! where their name is taken. Axes are named when printed: a name has one extent in the whole text (rule R2), and an axis
//! whose extent no position shows is declared.

use super::layout::{Piece, WIDTH, prec};
use super::{
    AxisId, Body, Dim, Domain, ExprId, ExtentId, ExtentKind, Node, Op, Program, ReduceOp, TensorId,
    TensorKind, Type,
};
use crate::rewrite::{live, recurrent};
use rustc_hash::{FxHashMap, FxHashSet};

/// `losscc grad`: the value and a `gradient` for each differentiated input.
pub fn gradient_text(program: &Program) -> String {
    Printer::new(program, true).text()
}

/// The value alone, of any program.
pub fn dump(program: &Program) -> String {
    Printer::new(program, false).text()
}

/// The parts of a reduction as they would be printed.
pub struct ReductionText {
    /// `N, C`.
    pub axes: String,
    pub guard: Option<String>,
    pub body: Option<String>,
}

/// The text of `[axes if guard](body)`, as far as it is given, for words about it.
pub fn reduction(
    program: &Program,
    axes: &[AxisId],
    guard: Option<ExprId>,
    body: Option<ExprId>,
) -> ReductionText {
    let mut printer = Printer::new(program, false);
    let mut names = vec![];
    printer.name_axes(axes, &mut names);
    ReductionText {
        axes: names.join(", "),
        guard: guard.map(|g| printer.expr(g, &names).flat),
        body: body.map(|b| printer.expr(b, &names).flat),
    }
}

/// Words that cannot be names.
const KEYWORDS: [&str; 19] = [
    "use", "axis", "def", "loss", "gradient", "where", "example", "if", "then", "else", "and",
    "or", "not", "in", "int", "bool", "true", "false", "inf",
];

struct Printer<'a> {
    program: &'a Program,
    gradients: bool,
    /// Definitions printed in `where`, producers first.
    definitions: Vec<TensorId>,
    names: FxHashMap<TensorId, String>,
    /// The names of head axes, and of binders while they are open.
    axes: FxHashMap<AxisId, String>,
    /// The extent that a name stands for.
    extent_of_name: FxHashMap<String, ExtentId>,
    /// The name by which an extent's size is asked.
    name_of_extent: FxHashMap<ExtentId, String>,
    /// Names that are known to have the extent of another, see [`Printer::link`].
    same_as: FxHashMap<String, String>,
    /// Names whose extent the signature or a position shows.
    sized: FxHashSet<String>,
    /// Names that must be declared: they stand at a position of another extent.
    declared: FxHashSet<String>,
    /// Definitions of recurrences, whose heads must be shown.
    recurrent: FxHashSet<TensorId>,
    /// Names in use in the text.
    used: Vec<String>,
}

impl<'a> Printer<'a> {
    fn new(program: &'a Program, gradients: bool) -> Printer<'a> {
        let mut outputs = vec![program.value];
        if gradients {
            outputs = program.outputs();
        }
        let order = live(program, &outputs);
        // An output that is read needs a name like any other.
        let read: FxHashSet<TensorId> = order.iter().flat_map(|&t| program.reads(t)).collect();
        let all = order.clone();
        let definitions = order
            .into_iter()
            .filter(|t| !outputs.contains(t) || read.contains(t))
            .collect();
        let mut printer = Printer {
            program,
            gradients,
            definitions,
            names: FxHashMap::default(),
            axes: FxHashMap::default(),
            extent_of_name: FxHashMap::default(),
            name_of_extent: FxHashMap::default(),
            same_as: FxHashMap::default(),
            sized: FxHashSet::default(),
            declared: FxHashSet::default(),
            recurrent: recurrent(program, &all),
            used: vec![],
        };
        printer.name_everything();
        printer
    }

    // ---- names

    fn name_everything(&mut self) {
        let program = self.program;
        let mut taken: FxHashSet<String> = KEYWORDS.iter().map(|k| k.to_string()).collect();
        taken.insert("pi".into());
        taken.extend(program.params.iter().map(|p| p.name.to_string()));
        for &i in &program.inputs {
            let t = program.get(i);
            taken.insert(t.name.to_string());
            self.names.insert(i, t.name.to_string());
            self.name_positions(i);
        }
        let mut numbers: FxHashMap<String, usize> = FxHashMap::default();
        // The loss's own names come first, so that a generated one yields.
        for named in [true, false] {
            for i in 0..self.definitions.len() {
                let t = self.definitions[i];
                if program.get(t).named == named {
                    let name = free_name(&program.get(t).name, &taken, &mut numbers);
                    taken.insert(name.clone());
                    self.names.insert(t, name);
                }
            }
        }
        self.name_extents();
        for i in 0..self.definitions.len() {
            let head = program.get(self.definitions[i]).head.clone();
            self.name_axes(&head, &mut vec![]);
        }
    }

    fn name_positions(&mut self, input: TensorId) {
        let t = self.program.get(input);
        let TensorKind::Input(kind) = &t.kind else {
            return;
        };
        for (q, &a) in t.head.iter().enumerate() {
            let extent = self.extent(self.program.extent_of(a));
            let name = match kind.shape.as_ref().and_then(|s| s.get(q)) {
                None => "*".to_string(),
                Some(Dim::Named(n)) => n.to_string(),
                Some(Dim::Constant(_)) => continue,
            };
            self.extent_of_name.insert(name.clone(), extent);
            self.name_of_extent
                .entry(extent)
                .or_insert_with(|| name.clone());
            self.sized.insert(name);
        }
    }

    /// Names for the other extents: that of the source, with a number if it is taken.
    fn name_extents(&mut self) {
        let mut extents: Vec<ExtentId> = vec![];
        for i in 0..self.program.extents.len() {
            extents.push(ExtentId(i as u32));
        }
        for e in extents {
            let extent = self.extent(e);
            if self.name_of_extent.contains_key(&extent) {
                continue;
            }
            let hint = self.program.extents[extent.index()].name.to_string();
            if matches!(
                self.program.extents[extent.index()].kind,
                ExtentKind::Constant(_)
            ) {
                continue;
            }
            let name = self.free_axis(&hint, extent, &[]);
            self.extent_of_name.insert(name.clone(), extent);
            self.name_of_extent.insert(extent, name);
        }
    }

    /// One extent for all constants of a value.
    fn extent(&self, e: ExtentId) -> ExtentId {
        let extents = &self.program.extents;
        match extents[e.index()].kind {
            ExtentKind::Constant(n) => {
                let first = extents
                    .iter()
                    .position(|x| x.kind == ExtentKind::Constant(n));
                first.map_or(e, |i| ExtentId(i as u32))
            }
            ExtentKind::Input | ExtentKind::Declared(_) => e,
        }
    }

    /// Gives names to axes that are bound together; `open` are the names that they must not hide.
    fn name_axes(&mut self, axes: &[AxisId], open: &mut Vec<String>) {
        for &a in axes {
            let extent = self.extent(self.program.extent_of(a));
            let hint = self.program.axes[a.index()].hint.clone();
            let name = self.free_axis(&hint, extent, open);
            self.extent_of_name.insert(name.clone(), extent);
            if !self.used.contains(&name) {
                self.used.push(name.clone());
            }
            open.push(name.clone());
            self.axes.insert(a, name);
        }
    }

    /// A name for an axis of `extent` that is not in `open`: the hint, another name of that extent, or the hint numbered.
    fn free_axis(&self, hint: &str, extent: ExtentId, open: &[String]) -> String {
        if &*self.program.extents[extent.index()].name == "*" {
            return "*".into();
        }
        let fits = |n: &str| {
            !open.iter().any(|o| o == n) && self.extent_of_name.get(n).is_none_or(|&e| e == extent)
        };
        let starts_well = hint.starts_with(|c: char| c.is_ascii_uppercase());
        let hint = if starts_well { hint } else { "X" };
        if fits(hint) {
            return hint.to_string();
        }
        let mut others: Vec<&String> = self
            .extent_of_name
            .iter()
            .filter(|(n, e)| **e == extent && fits(n))
            .map(|(n, _)| n)
            .collect();
        others.sort();
        if let Some(n) = others.first() {
            return n.to_string();
        }
        let stem = hint.trim_end_matches(|c: char| c.is_ascii_digit());
        // `M` beside `N` reads better than `N2`.
        let next = |c: char| matches!(c, 'N' | 'I' | 'J' | 'K').then(|| ((c as u8) + 1) as char);
        let letters: Vec<char> = stem.chars().collect();
        if let [only] = letters[..] {
            let neighbour = if only == 'N' { Some('M') } else { next(only) };
            if let Some(n) = neighbour.map(String::from)
                && fits(&n)
                && !self.extent_of_name.contains_key(&n)
            {
                return n;
            }
        }
        (2..)
            .map(|k| format!("{stem}{k}"))
            .find(|n| fits(n))
            .unwrap_or_else(|| stem.to_string())
    }

    /// Two names stand at one position.
    fn link(&mut self, a: &str, b: &str) {
        let (a, b) = (self.root(a), self.root(b));
        if a != b {
            self.same_as.insert(a, b);
        }
    }

    fn root(&self, name: &str) -> String {
        let mut name = name;
        while let Some(next) = self.same_as.get(name) {
            name = next;
        }
        name.to_string()
    }

    // ---- the text

    fn text(mut self) -> String {
        let program = self.program;
        if !self.names.contains_key(&program.value) {
            // The rows of a loss without a reduction.
            self.name_axes(&program.get(program.value).head, &mut vec![]);
        }
        let mut out = format!("loss {}{} =\n  ", program.name, self.signature());
        let value = self.output(program.value);
        value.write(&mut out, 2, 4);
        if self.gradients {
            for g in &program.gradients {
                if let Some(why) = g.stated.as_ref().and_then(|s| s.intended.as_ref()) {
                    out.push_str(&format!("\n  /// intended: {why}"));
                }
                self.gradient(&mut out, g.input, g.tensor);
            }
        }
        let mut lines = vec![];
        for t in self.definitions.clone() {
            let line = self.definition(t);
            lines.push(line);
        }
        let declarations = self.declarations();
        if !lines.is_empty() || !declarations.is_empty() {
            out.push_str("\n  where");
            for d in declarations {
                out.push_str("\n    ");
                out.push_str(&d);
            }
            write_definitions(&mut out, &lines);
        }
        out.push('\n');
        out
    }

    fn signature(&self) -> String {
        let program = self.program;
        let part = |differentiated: bool| {
            let of_kind = |t: &&TensorId| match &program.get(**t).kind {
                TensorKind::Input(i) => i.differentiated == differentiated,
                TensorKind::Definition(_) => false,
            };
            program
                .inputs
                .iter()
                .filter(of_kind)
                .map(|&t| self.input(t))
                .collect::<Vec<_>>()
                .join(", ")
        };
        let (differentiated, given) = (part(true), part(false));
        let options: Vec<String> = program.params.iter().map(parameter).collect();
        let mut s = format!("({differentiated}");
        if !given.is_empty() {
            s.push_str(if differentiated.is_empty() {
                "| "
            } else {
                " | "
            });
            s.push_str(&given);
        }
        if !options.is_empty() {
            s.push_str("; ");
            s.push_str(&options.join(", "));
        }
        s.push(')');
        s
    }

    fn input(&self, t: TensorId) -> String {
        let tensor = self.program.get(t);
        let TensorKind::Input(input) = &tensor.kind else {
            return String::new();
        };
        let Some(shape) = &input.shape else {
            return tensor.name.to_string();
        };
        let dims: Vec<String> = shape
            .iter()
            .map(|d| match d {
                Dim::Named(n) => n.to_string(),
                Dim::Constant(k) => k.to_string(),
            })
            .collect();
        let ty = match tensor.ty {
            Type::Real => "",
            Type::Int => "int",
            Type::Bool => "bool",
        };
        format!("{}: {ty}[{}]", tensor.name, dims.join(", "))
    }

    /// What an output is: its body, or its name where others read it too.
    fn output(&mut self, t: TensorId) -> Piece {
        match self.names.get(&t) {
            Some(name) => Piece::atom(name.clone()),
            None => self.body(t),
        }
    }

    fn gradient(&mut self, out: &mut String, input: TensorId, tensor: Option<TensorId>) {
        let program = self.program;
        let name = program.get(input).name.clone();
        let head = match tensor {
            Some(t) => program.get(t).head.clone(),
            None => program.get(input).head.clone(),
        };
        let shape = match &program.get(input).kind {
            TensorKind::Input(i) => i.shape.clone(),
            TensorKind::Definition(_) => None,
        };
        let start = out.len();
        out.push_str(&format!("\n  gradient {name}"));
        if let Some(shape) = &shape
            && !shape.is_empty()
        {
            let renamed = tensor.is_some_and(|t| self.names.contains_key(&t));
            if !renamed {
                self.name_like(&head, shape);
            }
            let names: Vec<String> = head.iter().map(|a| self.axes[a].clone()).collect();
            for (n, d) in names.iter().zip(shape) {
                match d {
                    Dim::Named(s) => self.link(n, s),
                    Dim::Constant(_) => {
                        self.sized.insert(n.clone());
                    }
                }
            }
            out.push_str(&format!("[{}]", names.join(", ")));
        } else {
            for &a in &head {
                self.axes.insert(a, "*".into());
            }
        }
        out.push_str(" =");
        let piece = match tensor {
            Some(t) => self.output(t),
            None => Piece::atom("0"),
        };
        let column = out.len() - start;
        if column + piece.flat.len() <= WIDTH {
            out.push(' ');
            out.push_str(&piece.flat);
        } else {
            out.push_str("\n      ");
            piece.write(out, 6, 6);
        }
    }

    /// Names a gradient's head after the signature; a repeated name and an unnamed position get another one.
    fn name_like(&mut self, head: &[AxisId], shape: &[Dim]) {
        let mut open: Vec<String> = vec![];
        for (&a, d) in head.iter().zip(shape) {
            match d {
                Dim::Named(n) if !open.contains(&n.to_string()) => {
                    open.push(n.to_string());
                    self.axes.insert(a, n.to_string());
                    if !self.used.contains(&open[open.len() - 1]) {
                        self.used.push(n.to_string());
                    }
                }
                Dim::Named(_) | Dim::Constant(_) => self.name_axes(&[a], &mut open),
            }
        }
    }

    /// A definition: what stands before the `=`, and the body.
    fn definition(&mut self, t: TensorId) -> (String, Piece) {
        let program = self.program;
        let head = program.get(t).head.clone();
        let names: Vec<String> = head.iter().map(|a| self.axes[a].clone()).collect();
        let name = self.names[&t].clone();
        let roots = program.roots(t);
        let own = |r: &&ExprId| program.free(**r)[..] == head[..];
        let shown = match names.len() {
            0 => false,
            _ if names[0] == "*" => false,
            // Its one axis can be seen in the body.
            1 => !roots.iter().any(|r| own(&r)) || self.recurrent.contains(&t),
            _ => true,
        };
        let piece = self.body(t);
        let left = if shown {
            format!("{name}[{}]", names.join(", "))
        } else {
            name
        };
        (left, piece)
    }

    fn body(&mut self, t: TensorId) -> Piece {
        let head: Vec<String> = self
            .program
            .get(t)
            .head
            .iter()
            .filter_map(|a| self.axes.get(a).cloned())
            .collect();
        match self.program.body(t) {
            Some(&Body::Expr(e)) => self.expr(e, &head),
            Some(&Body::Argsort { along, guard, key }) => {
                let mut brackets = self.axes.get(&along).cloned().unwrap_or_default();
                if let Some(g) = guard {
                    brackets.push_str(&format!(" if {}", self.expr(g, &head).flat));
                }
                let key = self.expr(key, &head);
                Piece::wrap(format!("argsort[{brackets}]("), key, ")", prec::ATOM)
            }
            Some(Body::Grad { of, wrt }) => {
                let name = |t: &TensorId| self.names.get(t).cloned().unwrap_or_default();
                Piece::atom(format!("grad[{}]({})", name(wrt), name(of)))
            }
            None => Piece::atom(""),
        }
    }

    /// `axis` lines: what the source declares and the text uses, and names whose extent nothing shows.
    fn declarations(&mut self) -> Vec<String> {
        let program = self.program;
        let mut out = vec![];
        let mut done: FxHashSet<String> = FxHashSet::default();
        // A declaration may ask for sizes of extents that are declared themselves.
        let mut i = 0;
        let mut used = self.used.clone();
        while i < used.len() {
            if let Some(&extent) = self.extent_of_name.get(&used[i])
                && let ExtentKind::Declared(e) = program.extents[extent.index()].kind
            {
                for n in program.reachable(&[e]) {
                    if let Node::Size(x) = program.node(n)
                        && let Some(name) = self.name_of_extent.get(&self.extent(*x))
                        && !used.contains(name)
                    {
                        used.push(name.clone());
                    }
                }
                if let Some(own) = self.name_of_extent.get(&extent)
                    && !used.contains(own)
                {
                    used.push(own.clone());
                }
            }
            i += 1;
        }
        for name in &used {
            let Some(&extent) = self.extent_of_name.get(name) else {
                continue;
            };
            let first = self.name_of_extent.get(&extent) == Some(name);
            if let ExtentKind::Declared(e) = program.extents[extent.index()].kind
                && first
                && done.insert(name.clone())
            {
                let text = self.expr(e, &[]).flat;
                out.push(format!("axis {name} = {text}"));
                self.sized.insert(name.clone());
            }
        }
        for name in &used {
            if name == "*" || done.contains(name) {
                continue;
            }
            let root = self.root(name);
            let known = used
                .iter()
                .chain(self.sized.iter())
                .any(|n| self.sized.contains(n) && self.root(n) == root);
            if known && !self.declared.contains(name) {
                continue;
            }
            let Some(&extent) = self.extent_of_name.get(name) else {
                continue;
            };
            let text = match program.extents[extent.index()].kind {
                ExtentKind::Constant(k) => k.to_string(),
                ExtentKind::Input | ExtentKind::Declared(_) => {
                    match self.name_of_extent.get(&extent) {
                        Some(n) if n != name => format!("size({n})"),
                        _ => continue,
                    }
                }
            };
            out.push(format!("axis {name} = {text}"));
            self.sized.insert(name.clone());
        }
        out.reverse();
        // Sources before what is made of them does not matter to the language; keep the order of use.
        out.reverse();
        out
    }

    // ---- expressions

    fn expr(&mut self, e: ExprId, open: &[String]) -> Piece {
        // As deep as the text's nesting, which has a limit, but not every caller's stack is large.
        stacker::maybe_grow(64 * 1024, 1024 * 1024, || self.expr_here(e, open))
    }

    fn expr_here(&mut self, e: ExprId, open: &[String]) -> Piece {
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

    fn size(&mut self, extent: ExtentId) -> Piece {
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

    fn read(
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
                    // The one case where a bare axis may have another extent (rule R4).
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
    fn positions(&self, tensor: TensorId) -> Vec<Option<String>> {
        let t = self.program.get(tensor);
        match &t.kind {
            TensorKind::Input(input) => match &input.shape {
                None => t.head.iter().map(|_| Some("*".to_string())).collect(),
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
    fn bare_index(
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

    fn reduce(
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

    fn op(&mut self, e: ExprId, op: Op, operands: &[ExprId], open: &[String]) -> Piece {
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
            Op::Abs
            | Op::Sign
            | Op::Max
            | Op::Min
            | Op::Clamp
            | Op::IntDiv
            | Op::Mod
            | Op::Sqrt
            | Op::Exp
            | Op::Expm1
            | Op::Log
            | Op::Log1p
            | Op::Log2
            | Op::Sin
            | Op::Cos
            | Op::Tan
            | Op::Asin
            | Op::Acos
            | Op::Atan
            | Op::Atan2
            | Op::Sinh
            | Op::Cosh
            | Op::Tanh
            | Op::Sigmoid
            | Op::Softplus
            | Op::Relu
            | Op::Floor
            | Op::Ceil
            | Op::Round
            | Op::Erf
            | Op::Lgamma
            | Op::Digamma
            | Op::Polygamma
            | Op::Xlogy
            | Op::LogSumExp
            | Op::StopGradient
            | Op::ToInt => {
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
    fn flatten(&self, e: ExprId, op: Op, out: &mut Vec<ExprId>) {
        let mut e = e;
        while let Some((a, b)) = self.program.binary(e, op) {
            out.push(b);
            e = a;
        }
        out.push(e);
        out.reverse();
    }

    fn sum(&mut self, e: ExprId, open: &[String]) -> Piece {
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

    fn product(&mut self, e: ExprId, open: &[String]) -> Piece {
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

/// Definitions with their `=` in one column, as far as the names allow.
fn write_definitions(out: &mut String, lines: &[(String, Piece)]) {
    let widest = lines
        .iter()
        .map(|(l, _)| l.len())
        .filter(|&n| n <= 24)
        .max()
        .unwrap_or(0);
    for (left, piece) in lines {
        let start = out.len() + 1;
        out.push_str(&format!("\n    {left:widest$} = "));
        let column = out.len() - start;
        piece.write(out, column, 6);
    }
}

/// The hint, or with a number if it is taken; `numbers` has the last number of each hint.
fn free_name(
    hint: &str,
    taken: &FxHashSet<String>,
    numbers: &mut FxHashMap<String, usize>,
) -> String {
    if !taken.contains(hint) {
        return hint.to_string();
    }
    let separator = if hint.ends_with(|c: char| c.is_ascii_digit()) {
        "_"
    } else {
        ""
    };
    let k = numbers.entry(hint.to_string()).or_insert(1);
    loop {
        *k += 1;
        let name = format!("{hint}{separator}{k}");
        if !taken.contains(&name) {
            return name;
        }
    }
}

fn parameter(p: &super::Param) -> String {
    let mut s = p.name.to_string();
    match p.ty {
        Type::Real => {}
        Type::Int => s.push_str(": int"),
        Type::Bool => s.push_str(": bool"),
    }
    if let Some(d) = p.default {
        let text = match p.ty {
            Type::Bool => (d != 0.0).to_string(),
            Type::Int => format!("{d}"),
            Type::Real => literal(d),
        };
        s.push_str(&format!(" = {text}"));
    }
    if let Some(d) = &p.domain {
        s.push_str(&format!(" in {}", interval(d)));
    }
    s
}

fn interval(d: &Domain) -> String {
    let (open, close) = (
        if d.low_included { '[' } else { '(' },
        if d.high_included { ']' } else { ')' },
    );
    format!("{open}{}, {}{close}", literal(d.low), literal(d.high))
}

/// The shortest text that reads back as the number.
fn literal(x: f64) -> String {
    if x.is_nan() {
        return "(inf - inf)".into();
    }
    if x.is_infinite() {
        return if x > 0.0 { "inf".into() } else { "-inf".into() };
    }
    if x.abs() == std::f64::consts::PI {
        return if x > 0.0 { "pi".into() } else { "-pi".into() };
    }
    let size = x.abs();
    if size != 0.0 && !(1e-4..1e15).contains(&size) {
        format!("{x:e}")
    } else {
        format!("{x}")
    }
}

fn number(x: f64) -> Piece {
    let text = literal(x);
    let prec = if text.starts_with('-') {
        prec::UNARY
    } else {
        prec::ATOM
    };
    Piece::text(text, prec)
}

fn integer(k: i64) -> Piece {
    let prec = if k < 0 { prec::UNARY } else { prec::ATOM };
    Piece::text(k.to_string(), prec)
}
