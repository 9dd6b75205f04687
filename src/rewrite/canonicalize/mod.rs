//! Smart constructors: [`Program::op`], [`Program::add`] and their like make a node in its simplest local form.
//!
//! Every rule here has the exact meaning of the plain node: a value that was right stays right, to the last bit where
//! nothing else is said. So `x * 0`, `x - x`, `x / x` stay (they are NaN for infinite x), sums and products of reals keep
//! their order, and `a / b / c` is not merged to `a / (b * c)`, which overflows. What is allowed beyond bits: signs move
//! outwards, literals are folded where the result is finite and exact or both are literals.
//! Ints are brought to the linear normal form of [`super::index`].

mod arithmetic;
mod conditions;
mod reads;

use crate::ir::{ExprId, ExtentId, ExtentKind, Node, Op, Program, Type};

impl Program {
    // ---- looking

    /// The value of a real literal (or of an int literal made real).
    pub fn number(&self, e: ExprId) -> Option<f64> {
        match self.node(e) {
            Node::Real(x) => Some(x.0),
            Node::Op(Op::ToReal, o) => self.integer(o[0]).map(|k| k as f64),
            _ => None,
        }
    }

    pub fn integer(&self, e: ExprId) -> Option<i64> {
        match self.node(e) {
            Node::Int(k) => Some(*k),
            _ => None,
        }
    }

    pub fn truth(&self, e: ExprId) -> Option<bool> {
        match self.node(e) {
            Node::Bool(b) => Some(*b),
            _ => None,
        }
    }

    /// The operand of `op`, if `e` is one with a single operand.
    pub fn unary(&self, e: ExprId, op: Op) -> Option<ExprId> {
        match self.node(e) {
            Node::Op(o, operands) if *o == op && operands.len() == 1 => Some(operands[0]),
            _ => None,
        }
    }

    /// The operands of `op`, if `e` is one with two.
    pub fn binary(&self, e: ExprId, op: Op) -> Option<(ExprId, ExprId)> {
        match self.node(e) {
            Node::Op(o, operands) if *o == op && operands.len() == 2 => {
                Some((operands[0], operands[1]))
            }
            _ => None,
        }
    }

    /// Whether the literal `e` is the number `value`.
    pub fn is_number(&self, e: ExprId, value: f64) -> bool {
        self.number(e) == Some(value) || self.integer(e).is_some_and(|k| k as f64 == value)
    }

    /// Whether a real expression is finite in every call: made of literals, hyperparameters, sizes and indices by `+ - *`.
    pub fn is_finite(&self, e: ExprId) -> bool {
        fn walk(p: &Program, e: ExprId, budget: &mut usize) -> bool {
            if *budget == 0 {
                return false;
            }
            *budget -= 1;
            match p.node(e) {
                Node::Real(x) => x.0.is_finite(),
                Node::Int(_) | Node::Size(_) | Node::Param(_) | Node::Axis(_) => true,
                Node::Op(Op::ToReal, _) => true,
                Node::Op(Op::Add | Op::Sub | Op::Mul | Op::Neg, o) => {
                    p.ty(e) == Type::Int || o.iter().all(|&x| walk(p, x, budget))
                }
                _ => p.ty(e) == Type::Int,
            }
        }
        walk(self, e, &mut 32)
    }

    // ---- making

    /// The node in its simplest local form.
    pub fn make(&mut self, node: Node) -> ExprId {
        match node {
            Node::Real(_) | Node::Int(_) | Node::Bool(_) | Node::Axis(_) | Node::Param(_) => {
                self.mk(node)
            }
            Node::Size(extent) => self.size_of(extent),
            Node::Read {
                tensor,
                index,
                default,
            } => self.read(tensor, &index, default),
            Node::If {
                condition,
                then,
                otherwise,
            } => self.iff(condition, then, otherwise),
            Node::Op(op, operands) => self.op(op, &operands),
            Node::Reduce {
                op,
                axes,
                guard,
                body,
            } => self.reduce(op, &axes, guard, body),
        }
    }

    /// `op(operands)`, simplified.
    pub fn op(&mut self, op: Op, operands: &[ExprId]) -> ExprId {
        match (op, operands) {
            (Op::Add, &[a, b]) => self.add(a, b),
            (Op::Sub, &[a, b]) => self.sub(a, b),
            (Op::Mul, &[a, b]) => self.mul(a, b),
            (Op::Div, &[a, b]) => self.div(a, b),
            (Op::Neg, &[a]) => self.neg(a),
            (Op::Pow, &[a, b]) => self.pow(a, b),
            (Op::And, &[a, b]) => self.and(a, b),
            (Op::Or, &[a, b]) => self.or(a, b),
            (Op::Not, &[a]) => self.not(a),
            (Op::Eq | Op::Ne | Op::Lt | Op::Le | Op::Gt | Op::Ge, &[a, b]) => {
                self.compare(op, a, b)
            }
            (Op::ToReal, &[a]) => self.to_real(a),
            (Op::ToInt, &[a]) => self.int_of(a),
            (Op::IntDiv | Op::Mod, &[a, b]) => self.int_division(op, a, b),
            (Op::Max | Op::Min, _) => self.extremum(op, operands),
            (Op::LogSumExp, &[a]) => a,
            _ => self.raw(op, operands),
        }
    }

    /// A size as an int; of a constant extent, the constant.
    pub fn size_of(&mut self, extent: ExtentId) -> ExprId {
        match self.extents[extent.index()].kind {
            ExtentKind::Constant(n) if i64::try_from(n).is_ok() => self.int(n as i64),
            ExtentKind::Constant(_) | ExtentKind::Input | ExtentKind::Declared(_) => {
                self.mk(Node::Size(extent))
            }
        }
    }

    /// A size as a real.
    pub fn real_size(&mut self, extent: ExtentId) -> ExprId {
        let size = self.size_of(extent);
        self.to_real(size)
    }

    pub fn to_real(&mut self, e: ExprId) -> ExprId {
        match (self.ty(e), self.integer(e)) {
            (Type::Real, _) => e,
            (_, Some(k)) if k.unsigned_abs() <= 1 << 53 => self.real(k as f64),
            _ => self.raw(Op::ToReal, &[e]),
        }
    }
}
