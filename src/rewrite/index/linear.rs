//! The normal form of an int expression, and the expression of a normal form.

use crate::ir::{ExprId, ExtentId, ExtentKind, Node, Op, Program, Type};

/// `constant + sum of coefficient * atom`. Terms are sorted by atom, coefficients are never 0.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Linear {
    pub terms: Vec<(ExprId, i64)>,
    pub constant: i64,
}

/// How many nodes of an int expression are looked into. What is larger is opaque.
const BUDGET: usize = 64;

impl Linear {
    pub fn constant(value: i64) -> Linear {
        Linear {
            terms: vec![],
            constant: value,
        }
    }

    pub fn atom(atom: ExprId) -> Linear {
        Linear {
            terms: vec![(atom, 1)],
            constant: 0,
        }
    }

    /// `self + factor * other`, if no coefficient overflows.
    pub fn plus(&self, other: &Linear, factor: i64) -> Option<Linear> {
        let mut terms = Vec::with_capacity(self.terms.len() + other.terms.len());
        let (mut a, mut b) = (self.terms.iter().peekable(), other.terms.iter().peekable());
        loop {
            let term = match (a.peek(), b.peek()) {
                (None, None) => break,
                (Some(&&(x, c)), None) => {
                    a.next();
                    (x, c)
                }
                (Some(&&(x, c)), Some(&&(y, _))) if x < y => {
                    a.next();
                    (x, c)
                }
                (Some(&&(x, c)), Some(&&(y, d))) if x == y => {
                    a.next();
                    b.next();
                    (x, c.checked_add(d.checked_mul(factor)?)?)
                }
                (_, Some(&&(y, d))) => {
                    b.next();
                    (y, d.checked_mul(factor)?)
                }
            };
            if term.1 != 0 {
                terms.push(term);
            }
        }
        let constant = self
            .constant
            .checked_add(other.constant.checked_mul(factor)?)?;
        Some(Linear { terms, constant })
    }

    pub fn minus(&self, other: &Linear) -> Option<Linear> {
        self.plus(other, -1)
    }

    pub fn times(&self, factor: i64) -> Option<Linear> {
        Linear::default().plus(self, factor)
    }

    pub fn is_constant(&self) -> bool {
        self.terms.is_empty()
    }

    pub fn coefficient(&self, atom: ExprId) -> i64 {
        self.terms.iter().find(|t| t.0 == atom).map_or(0, |t| t.1)
    }

    /// Without the term of `atom`.
    pub fn without(&self, atom: ExprId) -> Linear {
        Linear {
            terms: self.terms.iter().copied().filter(|t| t.0 != atom).collect(),
            constant: self.constant,
        }
    }
}

/// The linear form of an int expression; an opaque one is an atom. `None` for other types and on overflow.
pub fn linear(program: &Program, e: ExprId) -> Option<Linear> {
    if program.ty(e) != Type::Int {
        return None;
    }
    let mut budget = BUDGET;
    form(program, e, &mut budget)
}

fn form(program: &Program, e: ExprId, budget: &mut usize) -> Option<Linear> {
    if *budget == 0 {
        return Some(Linear::atom(e));
    }
    *budget -= 1;
    match program.node(e) {
        Node::Int(value) => Some(Linear::constant(*value)),
        Node::Size(extent) => size(program, e, *extent, budget),
        Node::Op(Op::Add, o) => form(program, o[0], budget)?.plus(&form(program, o[1], budget)?, 1),
        Node::Op(Op::Sub, o) => {
            form(program, o[0], budget)?.plus(&form(program, o[1], budget)?, -1)
        }
        Node::Op(Op::Neg, o) => form(program, o[0], budget)?.times(-1),
        Node::Op(Op::Mul, o) => {
            let (a, b) = (form(program, o[0], budget)?, form(program, o[1], budget)?);
            if a.is_constant() {
                b.times(a.constant)
            } else if b.is_constant() {
                a.times(b.constant)
            } else {
                Some(Linear::atom(e))
            }
        }
        Node::Real(_)
        | Node::Bool(_)
        | Node::Axis(_)
        | Node::Param(_)
        | Node::Read { .. }
        | Node::If { .. }
        | Node::Op(..)
        | Node::Reduce { .. } => Some(Linear::atom(e)),
    }
}

fn size(program: &Program, e: ExprId, extent: ExtentId, budget: &mut usize) -> Option<Linear> {
    match program.extents[extent.index()].kind {
        ExtentKind::Input => Some(Linear::atom(e)),
        ExtentKind::Constant(n) => Some(Linear::constant(i64::try_from(n).ok()?)),
        ExtentKind::Declared(value) => {
            let l = form(program, value, budget)?;
            let simple =
                |&(a, _): &(ExprId, i64)| matches!(program.node(a), Node::Size(_) | Node::Param(_));
            Some(if l.terms.iter().all(simple) {
                l
            } else {
                Linear::atom(e)
            })
        }
    }
}

/// The extent's size as a linear form.
pub fn extent_size(program: &mut Program, extent: ExtentId) -> Linear {
    let e = program.mk(Node::Size(extent));
    linear(program, e).unwrap_or_else(|| Linear::atom(e))
}

/// Whether two extents are equal in every call.
pub fn same_extent(program: &mut Program, a: ExtentId, b: ExtentId) -> bool {
    a == b || extent_size(program, a) == extent_size(program, b)
}

/// The expression of a linear form: positive terms first, axes before other atoms before sizes, the constant last.
pub fn expression(program: &mut Program, form: &Linear) -> ExprId {
    let mut terms = form.terms.clone();
    let rank = |program: &Program, e: ExprId| match program.node(e) {
        Node::Axis(_) => 0,
        Node::Size(_) => 2,
        Node::Real(_)
        | Node::Int(_)
        | Node::Bool(_)
        | Node::Param(_)
        | Node::Read { .. }
        | Node::If { .. }
        | Node::Op(..)
        | Node::Reduce { .. } => 1,
    };
    // `size(N) - 1 - N` reads better than `-N + size(N) - 1`.
    terms.sort_by_key(|&(e, c)| (c < 0, rank(program, e), e));
    let mut sum: Option<ExprId> = None;
    for (atom, c) in terms {
        let term = if c.unsigned_abs() == 1 {
            atom
        } else {
            let k = program.int(c.saturating_abs());
            program.raw(Op::Mul, &[k, atom])
        };
        sum = Some(match (sum, c > 0) {
            (None, true) => term,
            (None, false) => match program.node(term).clone() {
                Node::Op(Op::Mul, o) if matches!(program.node(o[0]), Node::Int(_)) => {
                    let k = program.int(c);
                    program.raw(Op::Mul, &[k, o[1]])
                }
                _ => program.raw(Op::Neg, &[term]),
            },
            (Some(s), true) => program.raw(Op::Add, &[s, term]),
            (Some(s), false) => program.raw(Op::Sub, &[s, term]),
        });
    }
    let Some(sum) = sum else {
        return program.int(form.constant);
    };
    if form.constant == 0 {
        return sum;
    }
    if form.constant == i64::MIN {
        let k = program.int(form.constant);
        return program.raw(Op::Add, &[sum, k]);
    }
    let k = program.int(form.constant.abs());
    program.raw(if form.constant > 0 { Op::Add } else { Op::Sub }, &[sum, k])
}
