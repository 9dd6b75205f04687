//! Loops as text (`--emit=loops`): `xL` a loop with lanes, `@s` a total, `t{C}` a row's scratch, no brackets a
//! register, `(in out.logits)` memory that is shared; `guard ? statement`; `gemm` a matrix product, `order of` a sort
//! along the index `:`.

use super::block::{each_statement, each_use};
use super::*;
use std::fmt::Write;

/// The whole kernel, one stage after the other.
pub fn print(loops: &Loops) -> String {
    let mut p = Printer {
        loops,
        uses: vec![0; loops.values.len()],
        text: vec![None; loops.values.len()],
        names: vec![],
        out: String::new(),
    };
    for stage in &loops.stages {
        each_statement(stage.body(), &mut |s| {
            each_use(s, &mut |v| p.uses[v.0 as usize] += 1);
        });
    }
    p.name_values();
    for stage in &loops.stages {
        match stage {
            Stage::Once(body) => {
                p.line(0, "once:");
                p.block(body, 1);
            }
            Stage::Rows {
                axis,
                single_chunk,
                body,
                ..
            } => {
                let one = if *single_chunk { " in one chunk" } else { "" };
                let wide = if loops.wide { " in f64" } else { "" };
                let down = body.iter().any(
                    |s| matches!(s, Stmt::Loop { direction, .. } if *direction == Direction::Down),
                );
                let down = if down { " down" } else { "" };
                let lanes = body
                    .iter()
                    .any(|s| matches!(s, Stmt::Loop { lanes: true, .. }));
                let lanes = if lanes { " xL" } else { "" };
                p.line(
                    0,
                    &format!(
                        "rows {}{down}{lanes}{one}{wide}:",
                        loops.axes[axis.0 as usize].name
                    ),
                );
                for s in body {
                    match s {
                        Stmt::Loop { body, .. } => p.block(body, 1),
                        s => p.statement(s, 1),
                    }
                }
            }
        }
    }
    p.out
}

struct Printer<'a> {
    loops: &'a Loops,
    uses: Vec<u32>,
    /// How each value is written where it is used, with its precedence.
    text: Vec<Option<(String, u8)>>,
    names: Vec<String>,
    out: String,
}

/// What takes more bytes than this has a line of its own: lines stay readable, and all of them together as long as the
/// program.
const LONG: usize = 1000;

/// Precedences, as in the language.
const ATOM: u8 = 9;

impl Printer<'_> {
    fn line(&mut self, indent: usize, text: &str) {
        let _ = writeln!(self.out, "{:w$}{text}", "", w = 2 * indent);
    }

    fn name_values(&mut self) {
        let mut seen: rustc_hash::FxHashMap<String, usize> = Default::default();
        for (k, info) in self.loops.values.iter().enumerate() {
            let base = if info.name.is_empty() {
                format!("v{k}")
            } else {
                info.name.to_string()
            };
            let n = seen.entry(base.clone()).or_default();
            *n += 1;
            self.names
                .push(if *n == 1 { base } else { format!("{base}'{n}") });
        }
    }

    fn block(&mut self, block: &Block, indent: usize) {
        for s in block {
            self.statement(s, indent);
        }
    }

    fn statement(&mut self, s: &Stmt, indent: usize) {
        match s {
            Stmt::Let(v, e) => {
                let (text, level) = self.expr(e);
                let trivial = matches!(
                    e,
                    Expr::Real(_)
                        | Expr::Int(_)
                        | Expr::Bool(_)
                        | Expr::Param(_)
                        | Expr::Size(_)
                        | Expr::Axis(_)
                ) || matches!(e, Expr::Load { at, .. } if at.iter().all(|i| matches!(i, Index::Axis(_) | Index::Const(_))));
                let k = v.0 as usize;
                let once = self.uses[k] <= 1 && text.len() <= LONG;
                if trivial || once {
                    self.text[k] = Some((text, level));
                } else {
                    let name = self.names[k].clone();
                    self.line(indent, &format!("{name} = {text}"));
                    self.text[k] = Some((name, ATOM));
                }
            }
            Stmt::Loop {
                axis,
                direction,
                lanes,
                body,
                ..
            } => {
                let word = if *direction == Direction::Up {
                    "for"
                } else {
                    "down"
                };
                let lanes = if *lanes { " xL" } else { "" };
                self.line(
                    indent,
                    &format!("{word} {}{lanes}:", self.loops.axes[axis.0 as usize].name),
                );
                self.block(body, indent + 1);
            }
            Stmt::Fold { id, value, guard } => {
                let info = &self.loops.folds[id.0 as usize];
                let text = format!(
                    "{}{} {} {}",
                    self.guard(guard),
                    self.fold_name(*id),
                    sign(info.op),
                    self.value(*value)
                );
                self.line(indent, &text);
            }
            Stmt::Store {
                to,
                at,
                how,
                value,
                guard,
            } => {
                let sign = match how {
                    How::Set => "=",
                    How::Combine(op) => sign(*op),
                };
                let text = format!(
                    "{}{} {sign} {}",
                    self.guard(guard),
                    self.cell(*to, at),
                    self.value(*value)
                );
                self.line(indent, &text);
            }
            Stmt::Fill { to, at, with } => {
                let index: Vec<String> = at
                    .iter()
                    .map(|i| i.as_ref().map_or(":".into(), |i| self.index(i)))
                    .collect();
                let cells = format!("{}{}", self.buffer(*to), brackets(&index));
                let text = format!("{cells} = none {}", sign(*with).trim_end_matches('='));
                self.line(indent, text.trim_end());
            }
            Stmt::Sort(sort) => {
                let into = self.run_of(sort.into, &sort.at);
                let keys = self.run_of(sort.keys, &sort.keys_at);
                let kept = sort.kept.as_ref().map(|(b, at)| self.run_of(*b, at));
                let kept = kept.map_or(String::new(), |k| format!(" where {k}"));
                self.line(indent, &format!("{into} = order of {keys}{kept}"));
            }
            Stmt::Gemm(gemm) => {
                let [c, a, b] = [&gemm.c, &gemm.a, &gemm.b].map(|m| self.matrix(m, gemm));
                self.line(indent, &format!("gemm {c} = {a} * {b}"));
            }
        }
    }

    /// A matrix, its dims by the names that the product and one of the factors have for them.
    fn matrix(&self, m: &Matrix, gemm: &Gemm) -> String {
        let names = |m: &Matrix, dim: &MatrixDim| -> Vec<String> {
            let dims = &self.loops.buffers[m.buffer.0 as usize].dims;
            let all = m.dims.iter().zip(dims).filter(|(d, _)| *d == dim);
            all.map(|(_, d)| match d.axis {
                Some(a) => self.loops.axes[a.0 as usize].name.clone(),
                None => "_".into(),
            })
            .collect()
        };
        let outer = [
            names(&gemm.c, &MatrixDim::Rows),
            names(&gemm.c, &MatrixDim::Columns),
        ];
        let mut inner = names(&gemm.a, &MatrixDim::Inner);
        if inner.iter().any(|i| outer.concat().contains(i)) {
            inner = names(&gemm.b, &MatrixDim::Inner);
        }
        let mut index: Vec<String> = vec![];
        for (k, dim) in m.dims.iter().enumerate() {
            // Dims of one kind follow each other.
            let again = m.dims[..k].contains(dim);
            match dim {
                MatrixDim::At(i) => index.push(self.index(i)),
                _ if again => {}
                MatrixDim::Rows => index.extend(outer[0].iter().cloned()),
                MatrixDim::Columns => index.extend(outer[1].iter().cloned()),
                MatrixDim::Inner => index.extend(inner.iter().cloned()),
            }
        }
        format!("{}{}", self.buffer(m.buffer), brackets(&index))
    }

    /// A buffer along all of its last dim.
    fn run_of(&self, buffer: BufferId, at: &[Index]) -> String {
        let mut index: Vec<String> = at.iter().map(|i| self.index(i)).collect();
        index.push(":".into());
        format!("{}{}", self.buffer(buffer), brackets(&index))
    }

    fn guard(&self, guard: &Option<ValueId>) -> String {
        guard.map_or(String::new(), |g| format!("{} ? ", self.value(g)))
    }

    fn fold_name(&self, id: FoldId) -> String {
        let info = &self.loops.folds[id.0 as usize];
        let same = self.loops.folds[..id.0 as usize]
            .iter()
            .filter(|f| f.name == info.name)
            .count();
        if same == 0 {
            info.name.to_string()
        } else {
            format!("{}'{}", info.name, same + 1)
        }
    }

    fn value(&self, v: ValueId) -> String {
        self.text[v.0 as usize]
            .as_ref()
            .map_or_else(|| format!("?{}", v.0), |t| t.0.clone())
    }

    fn at_level(&self, v: ValueId, level: u8) -> String {
        match &self.text[v.0 as usize] {
            Some((text, own)) if *own >= level => text.clone(),
            Some((text, _)) => format!("({text})"),
            None => format!("?{}", v.0),
        }
    }

    fn buffer(&self, b: BufferId) -> String {
        let buffer = &self.loops.buffers[b.0 as usize];
        match (buffer.home, buffer.shares) {
            (_, Some(host)) => format!(
                "{} (in {})",
                buffer.name, self.loops.buffers[host.0 as usize].name
            ),
            (Home::Total(_), None) => format!("@{}", buffer.name),
            _ => buffer.name.clone(),
        }
    }

    fn cell(&self, b: BufferId, at: &[Index]) -> String {
        let buffer = &self.loops.buffers[b.0 as usize];
        let index: Vec<String> = at.iter().map(|i| self.index(i)).collect();
        match buffer.home {
            Home::Row if !index.is_empty() => format!("{}{{{}}}", self.buffer(b), index.join(", ")),
            _ => match buffer.shares {
                Some(host) => format!(
                    "{}{} (in {})",
                    buffer.name,
                    brackets(&index),
                    self.loops.buffers[host.0 as usize].name
                ),
                None => format!("{}{}", self.buffer(b), brackets(&index)),
            },
        }
    }

    fn index(&self, i: &Index) -> String {
        let name = |a: &LoopAxisId| self.loops.axes[a.0 as usize].name.clone();
        match i {
            Index::Axis(a) => name(a),
            Index::Shift(a, k) if *k < 0 => format!("{} - {}", name(a), k.unsigned_abs()),
            Index::Shift(a, k) => format!("{} + {k}", name(a)),
            Index::Const(k) => k.to_string(),
            Index::Value(v) => self.value(*v),
        }
    }

    fn expr(&self, e: &Expr) -> (String, u8) {
        match e {
            Expr::Real(x) => (format!("{x}"), ATOM),
            Expr::Int(x) => (format!("{x}"), ATOM),
            Expr::Bool(x) => (format!("{x}"), ATOM),
            Expr::Param(p) => (self.loops.params[*p as usize].name.clone(), ATOM),
            Expr::Size(i) => (format!("|{}|", self.loops.extents[i.0 as usize].name), ATOM),
            Expr::Axis(a) => (self.loops.axes[a.0 as usize].name.clone(), ATOM),
            Expr::Load {
                from,
                at,
                when,
                or,
                checked,
            } => {
                let mut text = self.cell(*from, at);
                if *checked || or.is_some() {
                    let word = if *checked { "checked " } else { "" };
                    let default = or.map_or(String::new(), |d| format!(" else {}", self.value(d)));
                    let index: Vec<String> = at.iter().map(|i| self.index(i)).collect();
                    text = format!(
                        "{}[{word}{}{default}]",
                        self.buffer(*from),
                        index.join(", ")
                    );
                }
                match when {
                    Some(w) if *checked => (format!("{} ? {text}", self.at_level(*w, 2)), 1),
                    _ => (text, ATOM),
                }
            }
            Expr::Op(op, o) => self.op(*op, o),
            Expr::Divide { op, a, b, .. } => (
                format!("{}({}, {})", op.name(), self.value(*a), self.value(*b)),
                ATOM,
            ),
            Expr::Found { index, .. } => (format!("found {}", self.at_level(*index, ATOM)), 8),
            Expr::Select(c, a, b) => (
                format!(
                    "{} ? {} : {}",
                    self.at_level(*c, 2),
                    self.at_level(*a, 2),
                    self.at_level(*b, 2)
                ),
                1,
            ),
            Expr::Finite(x) => (format!("fin {}", self.at_level(*x, ATOM)), 8),
            Expr::Folded(f) => (self.fold_name(*f), ATOM),
        }
    }

    fn op(&self, op: Op, o: &[ValueId]) -> (String, u8) {
        let level = match op {
            Op::Or => 2,
            Op::And => 3,
            _ if op.compares() => 4,
            Op::Add | Op::Sub => 5,
            Op::Mul | Op::Div => 6,
            Op::Pow => 8,
            _ => 0,
        };
        match (op, o) {
            (Op::Neg, [x]) => (format!("-{}", self.at_level(*x, 7)), 7),
            (Op::Not, [x]) => (format!("not {}", self.at_level(*x, 4)), 3),
            (Op::ToReal, [x]) => (
                self.value(*x),
                self.text[x.0 as usize].as_ref().map_or(ATOM, |t| t.1),
            ),
            (_, [a, b]) if level > 0 => {
                let right = if matches!(op, Op::Add | Op::And | Op::Or) {
                    level
                } else {
                    level + 1
                };
                (
                    format!(
                        "{} {} {}",
                        self.at_level(*a, level),
                        op.name(),
                        self.at_level(*b, right)
                    ),
                    level,
                )
            }
            _ => {
                let all: Vec<String> = o.iter().map(|&v| self.value(v)).collect();
                (format!("{}({})", op.name(), all.join(", ")), ATOM)
            }
        }
    }
}

fn brackets(index: &[String]) -> String {
    if index.is_empty() {
        String::new()
    } else {
        format!("[{}]", index.join(", "))
    }
}

fn sign(op: FoldOp) -> &'static str {
    match op {
        FoldOp::Sum => "+=",
        FoldOp::Count => "count=",
        FoldOp::Prod => "*=",
        FoldOp::Max => "max=",
        FoldOp::Min => "min=",
        FoldOp::Any => "or=",
        FoldOp::All => "and=",
        FoldOp::ArgMax => "argmax=",
        FoldOp::ArgMin => "argmin=",
    }
}
