//! Prints a program as a `.loss` text: the loss's value, its gradients and every definition they need, self-contained.
//!
//! The text parses, and means what the program means. Definitions keep the loss's own names; generated ones get a number
//! where their name is taken. Axes are named when printed: a name has one extent in the whole text (rule R2), and an axis
//! whose extent no position shows is declared.

mod expr;
mod literal;
mod names;
mod repeated;
mod star;

use super::layout::{Piece, WIDTH, prec};
use super::{
    AxisId, Body, Dim, Domain, ExprId, ExtentId, ExtentKind, Node, Op, Program, ReduceOp, TensorId,
    TensorKind, Type,
};
use crate::rewrite::{live, recurrent};
use literal::{integer, number, parameter};
use rustc_hash::{FxHashMap, FxHashSet};

/// `losscc grad`: the value and a `gradient` for each differentiated input.
pub fn gradient_text(program: &Program) -> String {
    Printer::new(&repeated::with_names(program, &program.outputs()), true).text()
}

/// The value alone, of any program.
pub fn dump(program: &Program) -> String {
    Printer::new(&repeated::with_names(program, &[program.value]), false).text()
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
    /// Whether `*` names all axes over all elements, see [`star::suffices`].
    star: bool,
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
    /// What is read with a default.
    defaulted: FxHashSet<TensorId>,
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
            star: star::suffices(program, &all),
            definitions,
            names: FxHashMap::default(),
            axes: FxHashMap::default(),
            extent_of_name: FxHashMap::default(),
            name_of_extent: FxHashMap::default(),
            same_as: FxHashMap::default(),
            sized: FxHashSet::default(),
            declared: FxHashSet::default(),
            recurrent: recurrent(program, &all),
            defaulted: defaulted(program, &all),
            used: vec![],
        };
        printer.name_everything();
        printer
    }

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
        let ty = match tensor.ty {
            Type::Real => "",
            Type::Int => "int",
            Type::Bool => "bool",
        };
        let Some(shape) = &input.shape else {
            return match tensor.ty {
                Type::Real if self.star => tensor.name.to_string(),
                Type::Real => format!("{}: [*]", tensor.name),
                Type::Int | Type::Bool => format!("{}: {ty}[*]", tensor.name),
            };
        };
        let dims: Vec<String> = shape
            .iter()
            .map(|d| match d {
                Dim::Named(n) => n.to_string(),
                Dim::Constant(k) => k.to_string(),
            })
            .collect();
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
        } else if self.star || tensor.is_none() {
            for &a in &head {
                self.axes.insert(a, "*".into());
            }
        } else if !head.is_empty() {
            if tensor.is_some_and(|t| !self.names.contains_key(&t)) {
                self.name_axes(&head, &mut vec![]);
            }
            out.push_str(&format!("[{}]", self.axes[&head[0]]));
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
        let mut piece = self.body(t);
        if self.whole_real(t) {
            piece = Piece::wrap("1.0 * (", piece, ")", prec::PRODUCT);
        }
        let left = if shown {
            format!("{name}[{}]", names.join(", "))
        } else {
            name
        };
        (left, piece)
    }

    /// Whether a real that is read with a default would be taken for an int: the default may be none.
    fn whole_real(&self, t: TensorId) -> bool {
        let whole = match self.program.body(t) {
            Some(&Body::Expr(e)) if self.program.get(t).ty == Type::Real => {
                looks_whole(self.program, e)
            }
            _ => false,
        };
        whole && self.defaulted.contains(&t)
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

/// The tensors that definitions read with a default.
fn defaulted(program: &Program, definitions: &[TensorId]) -> FxHashSet<TensorId> {
    let mut out = FxHashSet::default();
    for &t in definitions {
        for e in program.reachable(&program.roots(t)) {
            if let Node::Read {
                tensor,
                default: Some(_),
                ..
            } = program.node(e)
            {
                out.insert(*tensor);
            }
        }
    }
    out
}

/// Whether the text of a real has only ints in it that no operator makes real.
fn looks_whole(program: &Program, e: ExprId) -> bool {
    match program.node(e) {
        Node::Real(x) => x.0.fract() == 0.0,
        Node::If {
            then, otherwise, ..
        } => looks_whole(program, *then) && looks_whole(program, *otherwise),
        Node::Op(Op::ToReal, _) => true,
        Node::Op(
            Op::Add | Op::Sub | Op::Mul | Op::Neg | Op::Abs | Op::Sign | Op::Max | Op::Min,
            operands,
        ) => operands.iter().all(|&o| looks_whole(program, o)),
        Node::Reduce {
            op: ReduceOp::Sum | ReduceOp::Prod | ReduceOp::Max | ReduceOp::Min,
            body,
            ..
        } => looks_whole(program, *body),
        _ => false,
    }
}
