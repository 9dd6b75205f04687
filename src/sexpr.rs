//! The syntax tree as text, for `--emit=ast` and tests: one line for each declaration, definition and example,
//! operators before their operands, parentheses of the source left out, since the structure says what they say.

use crate::ast::*;
use std::fmt::{self, Display, Formatter, Write};

/// The whole file: imports and extents first, then functions, the loss and the examples, each in source order.
pub fn file(file: &File) -> String {
    let mut out = String::new();
    let mut line = |indent: usize, text: String| {
        let _ = writeln!(out, "{:indent$}{text}", "");
    };
    for import in &file.imports {
        line(0, format!("(use {})", import.name.text));
    }
    for extent in &file.extents {
        line(0, self::extent(extent));
    }
    for function in &file.functions {
        line(
            0,
            format!(
                "(def {} {} {})",
                function.name.text,
                signature(&function.signature),
                function.value
            ),
        );
        bindings(&function.bindings, &mut line);
    }
    if let Some(loss) = &file.loss {
        let signature = loss
            .signature
            .as_ref()
            .map_or("bare".to_owned(), self::signature);
        line(
            0,
            format!("(loss {} {signature} {})", loss.name.text, loss.value),
        );
        for gradient in &loss.gradients {
            let target = headed(&gradient.input, &gradient.head);
            line(2, format!("(gradient {target} {})", gradient.value));
        }
        bindings(&loss.bindings, &mut line);
    }
    for example in &file.examples {
        let mut settings = String::new();
        for (name, value) in &example.settings {
            let _ = write!(settings, " ({} {value})", name.text);
        }
        line(
            0,
            format!(
                "(example {}{settings} {})",
                example.loss.text, example.expected
            ),
        );
    }
    out
}

fn bindings(bindings: &Bindings, line: &mut impl FnMut(usize, String)) {
    for extent in &bindings.extents {
        line(2, self::extent(extent));
    }
    for definition in &bindings.definitions {
        let target = headed(&definition.name, &definition.head);
        line(2, format!("(= {target} {})", definition.value));
    }
}

fn extent(extent: &Extent) -> String {
    format!("(axis {} {})", extent.axis.text, extent.value)
}

/// `name` or `name[A B]`.
fn headed(name: &Name, head: &Option<Vec<Name>>) -> String {
    match head {
        None => name.text.to_string(),
        Some(axes) => {
            let axes: Vec<&str> = axes.iter().map(|axis| &*axis.text).collect();
            format!("{}[{}]", name.text, axes.join(" "))
        }
    }
}

fn signature(signature: &Signature) -> String {
    let inputs = |inputs: &[Input]| {
        let texts: Vec<String> = inputs
            .iter()
            .map(|input| match &input.shape {
                None => input.name.text.to_string(),
                Some(shape) => format!("{}:{shape}", input.name.text),
            })
            .collect();
        texts.join(" ")
    };
    let mut out = format!("({}", inputs(&signature.inputs));
    if !signature.given.is_empty() {
        let _ = write!(out, " | {}", inputs(&signature.given));
    }
    if !signature.options.is_empty() {
        out.push_str(" ;");
        for option in &signature.options {
            let _ = write!(out, " {option}");
        }
    }
    out + ")"
}

fn join<T: Display>(f: &mut Formatter, items: &[T]) -> fmt::Result {
    for (i, item) in items.iter().enumerate() {
        let space = if i > 0 { " " } else { "" };
        write!(f, "{space}{item}")?;
    }
    Ok(())
}

impl Display for Shape {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        if let Some(kind) = self.kind {
            f.write_str(match kind {
                Kind::Int => "int",
                Kind::Bool => "bool",
            })?;
        }
        f.write_char('[')?;
        join(f, &self.dims)?;
        f.write_char(']')
    }
}

impl Display for Dim {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match &self.kind {
            DimKind::Axis(axis) => f.write_str(axis),
            DimKind::Constant(extent) => write!(f, "{extent}"),
            DimKind::Star => f.write_char('*'),
        }
    }
}

impl Display for HyperParameter {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        write!(f, "({}", self.name.text)?;
        if let Some(kind) = self.kind {
            f.write_str(if kind == Kind::Int { " int" } else { " bool" })?;
        }
        if let Some(default) = &self.default {
            write!(f, " {default}")?;
        }
        if let Some(domain) = &self.domain {
            let low = if domain.low_included { '[' } else { '(' };
            let high = if domain.high_included { ']' } else { ')' };
            write!(f, " in {low}{}, {}{high}", domain.low, domain.high)?;
        }
        f.write_char(')')
    }
}

impl Display for Literal {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        write!(f, "{}{}", if self.negative { "-" } else { "" }, self.value)
    }
}

impl Display for Constant {
    /// A real number shows a point or an exponent, so that it is told from an int.
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match self {
            Constant::Int(value) => write!(f, "{value}"),
            Constant::Real(value) => write!(f, "{value:?}"),
            Constant::True => f.write_str("true"),
            Constant::False => f.write_str("false"),
            Constant::Inf => f.write_str("inf"),
            Constant::Pi => f.write_str("pi"),
        }
    }
}

impl Display for Value {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match self {
            Value::Literal(literal) => literal.fmt(f),
            Value::List(values, _) => {
                f.write_char('[')?;
                join(f, values)?;
                f.write_char(']')
            }
        }
    }
}

impl CompareOp {
    /// The operator as the language writes it.
    pub fn symbol(self) -> &'static str {
        match self {
            CompareOp::Eq => "==",
            CompareOp::Ne => "!=",
            CompareOp::Lt => "<",
            CompareOp::Le => "<=",
            CompareOp::Gt => ">",
            CompareOp::Ge => ">=",
        }
    }
}

impl ChainOp {
    /// The operator as the language writes it.
    pub fn symbol(self) -> &'static str {
        match self {
            ChainOp::Or => "or",
            ChainOp::And => "and",
            ChainOp::Add => "+",
            ChainOp::Subtract => "-",
            ChainOp::Multiply => "*",
            ChainOp::Divide => "/",
        }
    }
}

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match &self.kind {
            ExprKind::Constant(constant) => constant.fmt(f),
            ExprKind::Axis(axis) => f.write_str(axis),
            ExprKind::Use(read) => read.fmt(f),
            ExprKind::If {
                condition,
                then,
                otherwise,
            } => write!(f, "(if {condition} {then} {otherwise})"),
            ExprKind::Not(operand) => write!(f, "(not {operand})"),
            ExprKind::Negate(operand) => write!(f, "(- {operand})"),
            ExprKind::Compare { op, left, right } => write!(f, "({} {left} {right})", op.symbol()),
            ExprKind::Power { base, exponent } => write!(f, "(^ {base} {exponent})"),
            ExprKind::Chain { first, rest } => chain(f, first, rest),
            ExprKind::Paren(inner) => inner.fmt(f),
        }
    }
}

/// A chain is printed as it groups, from the left: `a + b - c` is `(- (+ a b) c)`; neighbours of one operator share
/// parentheses, `(+ a b c)`.
fn chain(f: &mut Formatter, first: &Expr, rest: &[(ChainOp, Expr)]) -> fmt::Result {
    let switches = |i: &usize| *i == 0 || rest[*i].0 != rest[*i - 1].0;
    for i in (0..rest.len()).rev().filter(switches) {
        write!(f, "({} ", rest[i].0.symbol())?;
    }
    first.fmt(f)?;
    for (i, (_, operand)) in rest.iter().enumerate() {
        if i > 0 && switches(&i) {
            f.write_char(')')?;
        }
        write!(f, " {operand}")?;
    }
    f.write_char(')')
}

impl Display for Use {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        if let Some(module) = &self.module {
            write!(f, "{}.", module.text)?;
        }
        f.write_str(&self.name.text)?;
        if let Some(bracket) = &self.bracket {
            f.write_char('[')?;
            join(f, &bracket.positions)?;
            if let Some(guard) = &bracket.guard {
                write!(f, " if {guard}")?;
            }
            if let Some(default) = &bracket.default {
                write!(f, " else {default}")?;
            }
            f.write_char(']')?;
        }
        if let Some(arguments) = &self.arguments {
            f.write_char('(')?;
            join(f, arguments)?;
            f.write_char(')')?;
        }
        Ok(())
    }
}

impl Display for Position {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match self {
            Position::Star(_) => f.write_char('*'),
            Position::Expr(expr) => expr.fmt(f),
        }
    }
}

impl Display for Argument {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match self {
            Argument::Star(_) => f.write_char('*'),
            Argument::Positional(expr) => expr.fmt(f),
            Argument::Named(name, value) => write!(f, "{}={value}", name.text),
        }
    }
}
