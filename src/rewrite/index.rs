//! Arithmetic of indices: one normal form for ints, and what it proves.
//!
//! An int expression is a linear form over *atoms*: axes, sizes, and whatever is opaque (reads, counts, `mod` ..). What
//! is known: `0 <= axis < size`, `size >= 0`, and `size >= 1` beside an axis of the extent (where an axis is empty nothing is
//! evaluated), `0 <= mod(x, c) < c`, a count is not negative, an int hyperparameter lies in its domain. Sizes of declared extents are expanded where they are
//! linear (`size(I)` is `2 * size(N)`), which is what decides the joins of two inputs.
//!
//! Ints wrap; the forms do not model that. Indices that come near 2^63 do not exist, and coefficients that would
//! overflow here are refused.

use crate::ir::{AxisId, ExprId, ExtentId, ExtentKind, Node, Op, Program, ReduceOp, Type};

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

/// What is known of an atom: a lower and an upper bound, both included.
fn bounds(program: &mut Program, atom: ExprId) -> (Option<Linear>, Option<Linear>) {
    let zero = || Some(Linear::constant(0));
    match program.node(atom).clone() {
        Node::Axis(axis) => {
            let mut high = extent_size(program, program.extent_of(axis));
            high.constant = high.constant.saturating_sub(1);
            (zero(), Some(high))
        }
        Node::Size(_) => (zero(), None),
        Node::Param(p) => match program.params[p.index()].domain {
            None => (None, None),
            Some(d) => {
                // Bounds of an int hyperparameter; an end that is left out still bounds from that side.
                let whole = |x: f64| (x.abs() < 1e15).then(|| Linear::constant(x as i64));
                (whole(d.low.ceil()), whole(d.high.floor()))
            }
        },
        Node::Op(Op::Mod, o) => match program.node(o[1]) {
            Node::Int(k) if *k > 0 => (zero(), Some(Linear::constant(*k - 1))),
            _ => match linear(program, o[1]) {
                Some(l)
                    if nonnegative(
                        program,
                        &Linear {
                            constant: l.constant.saturating_sub(1),
                            ..l.clone()
                        },
                        // By 0 it would be an error.
                        &Sizes::Positive,
                    ) =>
                {
                    (zero(), l.plus(&Linear::constant(-1), 1))
                }
                _ => (None, None),
            },
        },
        Node::Op(Op::Abs, _)
        | Node::Reduce {
            op: ReduceOp::Count | ReduceOp::ArgMax | ReduceOp::ArgMin,
            ..
        } => (zero(), None),
        Node::Read {
            tensor,
            default: None,
            ..
        } => match program.body(tensor) {
            // An argsort's elements are positions along its axis.
            Some(crate::ir::Body::Argsort { along, .. }) => {
                let extent = program.extent_of(*along);
                let mut high = extent_size(program, extent);
                high.constant = high.constant.saturating_sub(1);
                (zero(), Some(high))
            }
            Some(crate::ir::Body::Expr(b)) => match program.node(*b) {
                Node::Reduce {
                    op: ReduceOp::Count | ReduceOp::ArgMax | ReduceOp::ArgMin,
                    ..
                } => (zero(), None),
                _ => (None, None),
            },
            _ => (None, None),
        },
        _ => (None, None),
    }
}

/// Which sizes are at least 1.
enum Sizes {
    /// All: where an index is evaluated, what it is an index of has elements, or that is an error.
    Positive,
    /// Those of the extents whose axes something speaks of.
    Of(Vec<ExtentId>),
}

impl Sizes {
    fn spoken_of<'a>(program: &Program, forms: impl Iterator<Item = &'a Linear>) -> Sizes {
        let atoms = forms.flat_map(|f| &f.terms);
        let extent = |&(e, _): &(ExprId, i64)| match program.node(e) {
            Node::Axis(a) => Some(program.extent_of(*a)),
            _ => None,
        };
        Sizes::Of(atoms.filter_map(extent).collect())
    }

    fn least(&self, extent: ExtentId) -> i64 {
        match self {
            Sizes::Positive => 1,
            Sizes::Of(extents) => i64::from(extents.contains(&extent)),
        }
    }
}

/// Whether the form is provably at least 0.
fn nonnegative(program: &mut Program, form: &Linear, sizes: &Sizes) -> bool {
    let mut form = form.clone();
    // Every atom but the sizes is replaced by the bound that makes the form least; then sizes.
    for _ in 0..8 {
        let Some(&(atom, c)) = form
            .terms
            .iter()
            .find(|&&(a, _)| !matches!(program.node(a), Node::Size(_)))
        else {
            break;
        };
        let (low, high) = bounds(program, atom);
        let Some(bound) = (if c > 0 { low } else { high }) else {
            return false;
        };
        if bound.coefficient(atom) != 0 {
            return false;
        }
        match form.without(atom).plus(&bound, c) {
            Some(next) => form = next,
            None => return false,
        }
    }
    let mut least = form.constant;
    for &(atom, c) in &form.terms {
        let &Node::Size(extent) = program.node(atom) else {
            return false;
        };
        if c < 0 {
            return false;
        }
        least = least.saturating_add(c.saturating_mul(sizes.least(extent)));
    }
    least >= 0
}

/// What a comparison of ints says as `form >= 0`; two forms for an equality, none for what is no conjunction of such.
pub fn facts_of(program: &Program, condition: ExprId) -> Vec<Linear> {
    let Node::Op(op, o) = program.node(condition) else {
        return vec![];
    };
    let difference = |a: ExprId, b: ExprId, less: i64| {
        let mut l = linear(program, a)?.minus(&linear(program, b)?)?;
        l.constant = l.constant.checked_sub(less)?;
        Some(l)
    };
    let strict = |a, b| difference(a, b, 1).into_iter().collect::<Vec<_>>();
    let weak = |a, b| difference(a, b, 0).into_iter().collect::<Vec<_>>();
    match op {
        Op::Gt => strict(o[0], o[1]),
        Op::Ge => weak(o[0], o[1]),
        Op::Lt => strict(o[1], o[0]),
        Op::Le => weak(o[1], o[0]),
        Op::Eq => [weak(o[0], o[1]), weak(o[1], o[0])].concat(),
        _ => vec![],
    }
}

/// Whether `form >= 0` follows from the facts (each `>= 0`) and what is known of the atoms. At most two facts are combined.
fn follows(program: &mut Program, facts: &[Linear], form: &Linear, sizes: &Sizes) -> bool {
    if nonnegative(program, form, sizes) {
        return true;
    }
    let shares = |f: &Linear, g: &Linear| f.terms.iter().any(|t| g.coefficient(t.0) != 0);
    for (i, f) in facts.iter().enumerate() {
        if !shares(f, form) {
            continue;
        }
        let Some(rest) = form.minus(f) else { continue };
        if nonnegative(program, &rest, sizes) {
            return true;
        }
        for (j, g) in facts.iter().enumerate() {
            if j != i
                && shares(g, &rest)
                && rest
                    .minus(g)
                    .is_some_and(|r| nonnegative(program, &r, sizes))
            {
                return true;
            }
        }
    }
    false
}

/// What a comparison of ints is under the facts, if they decide it.
pub fn decide(
    program: &mut Program,
    facts: &[Linear],
    op: Op,
    a: ExprId,
    b: ExprId,
) -> Option<bool> {
    decide_with(program, facts, op, (a, b), false)
}

/// As [`decide`]; `inside` says that the sizes in it are of what has elements.
fn decide_with(
    program: &mut Program,
    facts: &[Linear],
    op: Op,
    (a, b): (ExprId, ExprId),
    inside: bool,
) -> Option<bool> {
    let d = linear(program, a)?.minus(&linear(program, b)?)?;
    let positive = |l: &Linear| Linear {
        constant: l.constant.saturating_sub(1),
        terms: l.terms.clone(),
    };
    let minus = d.times(-1)?;
    if d.is_constant() {
        return op.holds(Some(d.constant.cmp(&0)));
    }
    let sizes = if inside {
        Sizes::Positive
    } else {
        Sizes::spoken_of(program, facts.iter().chain([&d]))
    };
    let ge = |p: &mut Program| follows(p, facts, &d, &sizes);
    let gt = |p: &mut Program| follows(p, facts, &positive(&d), &sizes);
    let le = |p: &mut Program| follows(p, facts, &minus, &sizes);
    let lt = |p: &mut Program| follows(p, facts, &positive(&minus), &sizes);
    let choose = |yes: bool, no: bool| {
        if yes {
            Some(true)
        } else if no {
            Some(false)
        } else {
            None
        }
    };
    match op {
        Op::Ge => choose(ge(program), lt(program)),
        Op::Gt => choose(gt(program), le(program)),
        Op::Le => choose(le(program), gt(program)),
        Op::Lt => choose(lt(program), ge(program)),
        Op::Eq => choose(false, gt(program) || lt(program)),
        Op::Ne => choose(gt(program) || lt(program), false),
        _ => None,
    }
}

/// The conditions that `index` is a position of `extent`, those that are not provable: at most `index >= 0` and
/// `index < size(extent)`, as comparisons of the atoms with the rest.
pub fn range_conditions(program: &mut Program, index: ExprId, extent: ExtentId) -> Vec<ExprId> {
    if let &Node::Axis(a) = program.node(index)
        && program.extent_of(a) == extent
    {
        return vec![];
    }
    let size = program.size_of(extent);
    let zero = program.int(0);
    let mut out = vec![];
    if decide_with(program, &[], Op::Ge, (index, zero), true) != Some(true) {
        out.push(at_least_zero(program, index));
    }
    if decide_with(program, &[], Op::Lt, (index, size), true) != Some(true) {
        out.push(program.compare(Op::Lt, index, size));
    }
    out
}

/// `index >= 0`, with a constant part moved over: `X >= 2` for `X - 2`.
fn at_least_zero(program: &mut Program, index: ExprId) -> ExprId {
    let zero = program.int(0);
    let Some(form) = linear(program, index) else {
        return program.compare(Op::Ge, index, zero);
    };
    let (mut left, mut right) = (Linear::default(), Linear::default());
    for &(a, c) in &form.terms {
        if c > 0 {
            left.terms.push((a, c))
        } else {
            right.terms.push((a, -c))
        }
    }
    if form.constant > 0 {
        left.constant = form.constant
    } else {
        right.constant = form.constant.saturating_neg()
    }
    let (l, r) = (expression(program, &left), expression(program, &right));
    program.compare(Op::Ge, l, r)
}

/// Whether `index` is provably a position of `extent` where the conditions hold.
pub fn in_range(
    program: &mut Program,
    conditions: &[ExprId],
    index: ExprId,
    extent: ExtentId,
) -> bool {
    if let &Node::Axis(a) = program.node(index)
        && program.extent_of(a) == extent
    {
        return true;
    }
    let zero = program.int(0);
    let size = program.size_of(extent);
    let mut facts: Vec<Linear> = vec![];
    for &c in conditions {
        facts.extend(facts_of(program, c));
    }
    if !has_elements(program, &facts, index, extent) {
        return false;
    }
    if decide_with(program, &[], Op::Ge, (index, zero), true) == Some(true)
        && decide_with(program, &[], Op::Lt, (index, size), true) == Some(true)
    {
        return true;
    }
    !facts.is_empty()
        && decide_with(program, &facts, Op::Ge, (index, zero), true) == Some(true)
        && decide_with(program, &facts, Op::Lt, (index, size), true) == Some(true)
}

/// Whether the extent has elements wherever `index` is evaluated, as an axis in it or something that it reads shows, or a
/// fact that speaks of its size.
fn has_elements(program: &mut Program, facts: &[Linear], index: ExprId, extent: ExtentId) -> bool {
    let mut shown = vec![];
    for e in program.reachable(&[index]) {
        match program.node(e) {
            Node::Axis(a) => shown.push(program.extent_of(*a)),
            Node::Read {
                tensor,
                default: None,
                ..
            } => {
                let head = &program.get(*tensor).head;
                shown.extend(head.iter().map(|&a| program.extent_of(a)));
            }
            _ => {}
        }
    }
    if shown.contains(&extent) {
        return true;
    }
    let size = extent_size(program, extent);
    if size.constant >= 1 && size.terms.iter().all(|t| t.1 > 0) {
        return true;
    }
    let shown: Vec<Linear> = shown.iter().map(|&e| extent_size(program, e)).collect();
    let known = |atom: ExprId| shown.iter().chain(facts).any(|l| l.coefficient(atom) != 0);
    size.terms.iter().all(|&(atom, _)| known(atom))
}

/// An axis of `axes` that the equation `index == target` determines, with the value it gives and the condition under
/// which there is one: the solution is `axis := value` where `condition` (if any) holds.
pub fn solve(
    program: &mut Program,
    index: ExprId,
    target: ExprId,
    axes: &[AxisId],
) -> Option<(AxisId, ExprId, Option<ExprId>)> {
    let form = linear(program, index)?;
    let target = linear(program, target)?;
    let mut strided = None;
    for &(atom, c) in &form.terms {
        let &Node::Axis(axis) = program.node(atom) else {
            continue;
        };
        let elsewhere = form
            .terms
            .iter()
            .any(|&(other, _)| other != atom && program.is_free(axis, other));
        if !axes.contains(&axis) || elsewhere {
            continue;
        }
        let rest = target.minus(&form.without(atom))?;
        if c == 1 || c == -1 {
            let value = rest.times(c)?;
            return Some((axis, expression(program, &value), None));
        }
        let affine =
            |&(a, _): &(ExprId, i64)| matches!(program.node(a), Node::Axis(_) | Node::Size(_));
        if c > 1 && form.terms.iter().all(affine) && strided.is_none() {
            strided = Some((axis, rest, c));
        }
    }
    let (axis, rest, c) = strided?;
    let (rest, c) = (expression(program, &rest), program.int(c));
    let value = program.op(Op::IntDiv, &[rest, c]);
    let remainder = program.op(Op::Mod, &[rest, c]);
    let zero = program.int(0);
    let exact = program.compare(Op::Eq, remainder, zero);
    Some((axis, value, Some(exact)))
}
