//! What follows from bounds of the atoms and from facts.

use super::linear::{Linear, extent_size, linear};
use crate::ir::{Body, ExprId, ExtentId, ExtentKind, Node, Op, Program, ReduceOp};

/// Axes and sizes are less than this: no memory holds as many elements.
const LARGEST: i128 = 1 << 44;

/// How large an atom can be, whatever the data are; `None` where any int is possible.
fn largest(program: &Program, atom: ExprId) -> Option<i128> {
    let index = |op: &ReduceOp| matches!(op, ReduceOp::Count | ReduceOp::ArgMax | ReduceOp::ArgMin);
    match program.node(atom) {
        Node::Axis(_) | Node::Size(_) => Some(LARGEST),
        Node::Reduce { op, .. } if index(op) => Some(LARGEST),
        Node::Param(p) => {
            let domain = program.params[p.index()].domain;
            let largest = domain.map(|d| d.low.abs().max(d.high.abs()));
            match largest.filter(|l| *l < 1e15) {
                Some(largest) => Some(largest as i128),
                None => extents_bound(program, atom),
            }
        }
        Node::Op(Op::Mod, o) => match program.node(o[1]) {
            Node::Int(k) => Some(i128::from(*k).abs()),
            _ => magnitude(program, &linear(program, o[1])?),
        },
        Node::Read {
            tensor,
            default: None,
            ..
        } => match program.body(*tensor) {
            Some(Body::Argsort { .. }) => Some(LARGEST),
            Some(Body::Expr(b)) => match program.node(*b) {
                Node::Reduce { op, .. } if index(op) => Some(LARGEST),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}

/// What a hyperparameter can be at most, as an extent is made of it and of sizes.
fn extents_bound(program: &Program, param: ExprId) -> Option<i128> {
    program.extents.iter().find_map(|extent| {
        let ExtentKind::Declared(value) = extent.kind else {
            return None;
        };
        let form = linear(program, value)?;
        let rest = form.without(param);
        let sizes = |t: &(ExprId, i64)| matches!(program.node(t.0), Node::Size(_));
        match form.coefficient(param).abs() == 1 && rest.terms.iter().all(sizes) {
            true => magnitude(program, &rest)?.checked_add(LARGEST),
            false => None,
        }
    })
}

/// A bound of the absolute value of a form.
fn magnitude(program: &Program, form: &Linear) -> Option<i128> {
    let mut sum = i128::from(form.constant).abs();
    for &(atom, c) in &form.terms {
        let term = i128::from(c).abs().checked_mul(largest(program, atom)?)?;
        sum = sum.checked_add(term)?;
    }
    Some(sum)
}

/// Whether a form is what its expression is: nothing in it can wrap.
pub(super) fn is_exact(program: &Program, form: &Linear) -> bool {
    let itself = form.constant == 0 && matches!(form.terms[..], [(_, 1)]);
    itself || form.is_constant() || magnitude(program, form).is_some_and(|m| m < 1 << 62)
}

/// The form of an int that is compared: one that cannot wrap, or the expression itself as an atom.
fn compared(program: &Program, e: ExprId) -> Option<Linear> {
    let form = linear(program, e)?;
    Some(match is_exact(program, &form) {
        true => form,
        false => Linear::atom(e),
    })
}

/// The form that an equation says is 0, whatever wraps: at most one int in it is without bounds, and that alone, so that
/// what it is equal to modulo 2^64 is its value.
fn equation(program: &Program, a: ExprId, b: ExprId) -> Option<Linear> {
    let d = linear(program, a)?.minus(&linear(program, b)?)?;
    let free = |t: &&(ExprId, i64)| largest(program, t.0).is_none();
    let rest = match d.terms.iter().find(free) {
        Some(&(atom, 1 | -1)) => d.without(atom),
        Some(_) => return None,
        None => d.clone(),
    };
    magnitude(program, &rest).filter(|m| *m < 1 << 62)?;
    Some(d)
}

/// What a comparison of ints says as `form >= 0`; two forms for an equality, none for what is no conjunction of such.
pub fn facts_of(program: &Program, condition: ExprId) -> Vec<Linear> {
    let Node::Op(op, o) = program.node(condition) else {
        return vec![];
    };
    let difference = |a: ExprId, b: ExprId, less: i64| {
        let mut l = compared(program, a)?.minus(&compared(program, b)?)?;
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
        Op::Eq => {
            let mut facts = [weak(o[0], o[1]), weak(o[1], o[0])].concat();
            if let Some(d) = equation(program, o[0], o[1])
                && !facts.contains(&d)
            {
                facts.extend(d.times(-1));
                facts.push(d);
            }
            facts
        }
        _ => vec![],
    }
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
pub(super) fn decide_with(
    program: &mut Program,
    facts: &[Linear],
    op: Op,
    (a, b): (ExprId, ExprId),
    inside: bool,
) -> Option<bool> {
    // What differs by a number is not equal, wherever it wraps.
    let apart = linear(program, a)?.minus(&linear(program, b)?)?;
    if apart.is_constant() && (apart.constant == 0 || matches!(op, Op::Eq | Op::Ne)) {
        return op.holds(Some(apart.constant.cmp(&0)));
    }
    let d = compared(program, a)?.minus(&compared(program, b)?)?;
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
            _ => match compared(program, o[1]) {
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
        // Of the least int it is that itself.
        Node::Op(Op::Abs, o) => {
            let operand = linear(program, o[0]);
            let bounded =
                operand.is_some_and(|l| magnitude(program, &l).is_some_and(|m| m < 1 << 62));
            (zero().filter(|_| bounded), None)
        }
        Node::Reduce {
            op: ReduceOp::Count | ReduceOp::ArgMax | ReduceOp::ArgMin,
            ..
        } => (zero(), None),
        Node::Read {
            tensor,
            default: None,
            ..
        } => match program.body(tensor) {
            // An argsort's elements are positions along its axis.
            Some(Body::Argsort { along, .. }) => {
                let extent = program.extent_of(*along);
                let mut high = extent_size(program, extent);
                high.constant = high.constant.saturating_sub(1);
                (zero(), Some(high))
            }
            Some(Body::Expr(b)) => match program.node(*b) {
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
