//! Text of an expression with its line breaks: on one line where it fits, else broken at the outermost operators.

/// How wide a line may be.
pub const WIDTH: usize = 100;

/// A part of a text, on one line and as parts that a line break may separate.
#[derive(Debug, Clone)]
pub struct Piece {
    pub flat: String,
    /// How strongly it binds, see [`prec`].
    pub prec: u8,
    shape: Shape,
}

#[derive(Debug, Clone)]
enum Shape {
    Atom,
    /// Operands with the operator in front of each but the first (there only a sign).
    Chain(Vec<(String, Piece)>),
    /// `if`, `then`, `else`.
    Choice(Box<[Piece; 3]>),
    Wrap(String, Box<Piece>, String),
    /// `f(`, arguments, `)`.
    Call(String, Vec<Piece>),
}

/// Precedences, from low to high (rule R1).
pub mod prec {
    pub const CHOICE: u8 = 0;
    pub const OR: u8 = 1;
    pub const AND: u8 = 2;
    pub const NOT: u8 = 3;
    pub const COMPARE: u8 = 4;
    pub const SUM: u8 = 5;
    pub const PRODUCT: u8 = 6;
    pub const UNARY: u8 = 7;
    pub const POWER: u8 = 8;
    pub const ATOM: u8 = 9;
}

impl Piece {
    pub fn atom(text: impl Into<String>) -> Piece {
        Piece::text(text, prec::ATOM)
    }

    pub fn text(text: impl Into<String>, prec: u8) -> Piece {
        Piece {
            flat: text.into(),
            prec,
            shape: Shape::Atom,
        }
    }

    /// Operands joined by operators of one precedence: `operands[0].0` is a sign or empty.
    pub fn chain(operands: Vec<(String, Piece)>, prec: u8) -> Piece {
        let mut flat = String::new();
        for (i, (operator, piece)) in operands.iter().enumerate() {
            if i > 0 {
                flat.push(' ');
            }
            flat.push_str(operator);
            if i > 0 {
                flat.push(' ');
            }
            flat.push_str(&piece.flat);
        }
        Piece {
            flat,
            prec,
            shape: Shape::Chain(operands),
        }
    }

    pub fn choice(condition: Piece, then: Piece, otherwise: Piece) -> Piece {
        let flat = format!(
            "if {} then {} else {}",
            condition.flat, then.flat, otherwise.flat
        );
        Piece {
            flat,
            prec: prec::CHOICE,
            shape: Shape::Choice(Box::new([condition, then, otherwise])),
        }
    }

    pub fn wrap(
        before: impl Into<String>,
        inner: Piece,
        after: impl Into<String>,
        prec: u8,
    ) -> Piece {
        let (before, after) = (before.into(), after.into());
        let flat = format!("{before}{}{after}", inner.flat);
        Piece {
            flat,
            prec,
            shape: Shape::Wrap(before, Box::new(inner), after),
        }
    }

    /// `name(a, b, ..)`.
    pub fn call(name: &str, arguments: Vec<Piece>) -> Piece {
        let texts: Vec<&str> = arguments.iter().map(|a| &a.flat[..]).collect();
        let flat = format!("{name}({})", texts.join(", "));
        Piece {
            flat,
            prec: prec::ATOM,
            shape: Shape::Call(format!("{name}("), arguments),
        }
    }

    /// With a minus in front, if it is a product without a sign: `-a * b` is `-(a * b)`.
    pub fn negated_product(&self) -> Option<Piece> {
        let Shape::Chain(operands) = &self.shape else {
            return None;
        };
        if self.prec != prec::PRODUCT || self.flat.starts_with('-') {
            return None;
        }
        let mut operands = operands.clone();
        operands[0].0 = "-".into();
        Some(Piece::chain(operands, prec::PRODUCT))
    }

    pub fn is_choice(&self) -> bool {
        matches!(self.shape, Shape::Choice(_))
    }

    /// In parentheses if it binds less than `least`.
    pub fn at(self, least: u8) -> Piece {
        if self.prec < least {
            Piece::wrap("(", self, ")", prec::ATOM)
        } else {
            self
        }
    }

    /// Writes it at column `column`; lines after the first begin at `indent` or deeper.
    pub fn write(&self, out: &mut String, column: usize, indent: usize) {
        if column + self.flat.len() <= WIDTH {
            out.push_str(&self.flat);
            return;
        }
        match &self.shape {
            Shape::Atom => out.push_str(&self.flat),
            Shape::Wrap(before, inner, after) => {
                out.push_str(before);
                let start = column + before.chars().count();
                if inner.is_chain() && start + inner.longest() > WIDTH.max(start + 30) {
                    new_line(out, indent + 2);
                    inner.write(out, indent + 2, indent + 2);
                } else {
                    inner.write(out, start, indent + 2);
                }
                out.push_str(after);
            }
            Shape::Call(before, arguments) => {
                out.push_str(before);
                let from = (column + before.len()).min(WIDTH / 2).max(indent);
                for (i, a) in arguments.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                        new_line(out, from);
                    }
                    let at = current_column(out);
                    a.write(out, at, from + 2);
                }
                out.push(')');
            }
            Shape::Choice(parts) => write_choice(out, parts, column, indent),
            Shape::Chain(operands) => write_chain(out, operands, column, indent),
        }
    }

    fn is_chain(&self) -> bool {
        matches!(self.shape, Shape::Chain(_))
    }

    /// The longest part that a break leaves whole.
    fn longest(&self) -> usize {
        match &self.shape {
            Shape::Chain(operands) => operands
                .iter()
                .map(|(o, p)| o.len() + 1 + p.flat.len())
                .max()
                .unwrap_or(0),
            _ => self.flat.len(),
        }
    }
}

fn new_line(out: &mut String, indent: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n(' ', indent));
}

fn current_column(out: &str) -> usize {
    out.len() - out.rfind('\n').map_or(0, |i| i + 1)
}

fn write_chain(out: &mut String, operands: &[(String, Piece)], column: usize, indent: usize) {
    let from = column.max(indent).min(WIDTH / 2);
    for (i, (operator, piece)) in operands.iter().enumerate() {
        if i == 0 {
            out.push_str(operator);
            piece.write(out, column + operator.len(), from + 2);
            continue;
        }
        // As many operands on a line as fit; a long one begins a line.
        let used = current_column(out);
        if operator.len() > 1
            || used + operator.len() + 2 + piece.flat.len() > WIDTH
            || operator == "+"
            || operator == "-"
        {
            new_line(out, from);
            out.push_str(operator);
            out.push(' ');
            piece.write(out, from + operator.len() + 1, from + 2);
        } else {
            out.push(' ');
            out.push_str(operator);
            out.push(' ');
            piece.write(out, used + operator.len() + 2, from + 2);
        }
    }
}

fn write_choice(out: &mut String, parts: &[Piece; 3], column: usize, indent: usize) {
    let [condition, then, otherwise] = parts;
    let from = column.max(indent).min(WIDTH / 2);
    out.push_str("if ");
    condition.write(out, column + 3, from + 3);
    let used = current_column(out);
    if used + 6 + then.flat.len() <= WIDTH {
        out.push_str(" then ");
        out.push_str(&then.flat);
    } else {
        new_line(out, from);
        out.push_str("then ");
        then.write(out, from + 5, from + 2);
    }
    if let Shape::Choice(next) = &otherwise.shape {
        new_line(out, from);
        out.push_str("else ");
        write_choice(out, next, from, from);
        return;
    }
    let used = current_column(out);
    if used + 6 + otherwise.flat.len() <= WIDTH && otherwise.flat.len() < 8 {
        out.push_str(" else ");
        out.push_str(&otherwise.flat);
    } else {
        new_line(out, from);
        out.push_str("else ");
        otherwise.write(out, from + 5, from + 2);
    }
}
