//! Substitution: cheap maps into their readers, softmax weights by the exponentials that are at hand, and any map on
//! request (what is not worth keeping is computed again).

use super::normalize::in_range;
use super::part::{Kind, Part, Parts, Softmax};
use super::pool::{Id, Node, PartId, Pool, Source};
use crate::ir::{AxisId, Op, Type};
use rustc_hash::FxHashMap;

/// A map that costs at most this is computed where it is read.
pub(super) const CHEAP: u32 = 4;

/// Head and body of a map that is substituted.
type Inlined = FxHashMap<PartId, (Vec<AxisId>, Id)>;

/// Substitutes cheap maps, each once, producers first.
pub(super) fn substitute_cheap(parts: &mut Parts) {
    let mut small: Inlined = FxHashMap::default();
    for id in parts.topological() {
        let mut part = parts.part(id).clone();
        part.rewrite(|root| rewrite(parts, root, &small, true));
        if part.is_map() && part.output.is_none() && parts.pool.weight(part.body) <= CHEAP {
            small.insert(id, (part.head, part.body));
            parts.parts[id.index()] = None;
        } else {
            parts.parts[id.index()] = Some(part);
        }
    }
}

/// Substitutes the given maps wherever they are read.
pub(super) fn substitute(parts: &mut Parts, these: &[PartId]) {
    let order = parts.topological();
    let mut gone: Inlined = FxHashMap::default();
    for id in order {
        let mut part = parts.part(id).clone();
        part.rewrite(|root| rewrite(parts, root, &gone, false));
        if these.contains(&id) {
            gone.insert(id, (part.head, part.body));
            parts.parts[id.index()] = None;
        } else {
            parts.parts[id.index()] = Some(part);
        }
    }
}

fn rewrite(parts: &mut Parts, root: Id, inlined: &Inlined, softmax: bool) -> Id {
    let Parts {
        pool,
        parts,
        softmax: weights,
        ..
    } = parts;
    pool.rebuild(root, &mut |pool, node| match node {
        Node::Read {
            from: Source::Part(p),
            index,
            default,
        } => match inlined.get(&p) {
            Some((head, body)) => read_inlined(pool, p, head, *body, &index, default),
            None => pool.make(Node::Read {
                from: Source::Part(p),
                index,
                default,
            }),
        },
        Node::Op(Op::Exp, operands) if softmax => match weight(pool, parts, weights, operands[0]) {
            Some(w) => w,
            None => pool.make(Node::Op(Op::Exp, operands)),
        },
        Node::Op(Op::Div, operands) => mean_factor(pool, &operands),
        node => pool.make(node),
    })
}

/// `c * x / n` with n made of sizes and counts is `x * (c / n)`, whose factor no element changes: no division in the
/// loop. Never for other divisors, whose inverse may overflow.
fn mean_factor(pool: &mut Pool, operands: &[Id]) -> Id {
    let (mut x, n) = (operands[0], operands[1]);
    let size = matches!(pool.node(n), Node::Op(Op::ToReal, _) | Node::Real(_))
        && pool.reachable([n]).into_iter().all(|i| {
            matches!(
                pool.node(i),
                Node::Size(_) | Node::Int(_) | Node::Real(_) | Node::Op(Op::Mul | Op::ToReal, _)
            ) || matches!(pool.node(i), Node::Read { .. } if pool.ty(i) == Type::Int)
        });
    if !size || pool.free(x).is_empty() || !pool.free(n).is_empty() {
        return pool.op(Op::Div, operands);
    }
    let mut factor = 1.0;
    loop {
        match pool.node(x) {
            Node::Op(Op::Neg, o) => (factor, x) = (-factor, o[0]),
            Node::Op(Op::Mul, o) => match (pool.node(o[0]), pool.node(o[1])) {
                (Node::Real(c), _) => (factor, x) = (factor * c.0, o[1]),
                (_, Node::Real(c)) => (factor, x) = (factor * c.0, o[0]),
                _ => break,
            },
            _ => break,
        }
    }
    let c = pool.real(factor);
    let c = pool.op(Op::Div, &[c, n]);
    pool.op(Op::Mul, &[x, c])
}

fn read_inlined(
    pool: &mut Pool,
    part: PartId,
    head: &[AxisId],
    body: Id,
    index: &[Id],
    default: Option<Id>,
) -> Id {
    let map: Vec<(AxisId, Id)> = head.iter().copied().zip(index.iter().copied()).collect();
    let value = pool.subst(body, &map);
    let Some(default) = default else { return value };
    let shape = pool.shape(Source::Part(part)).to_vec();
    let mut inside = None;
    for (&i, extent) in index.iter().zip(shape) {
        if !pool.fits(i, extent) {
            let here = in_range(pool, i, extent);
            inside = pool.and(inside, Some(here));
        }
    }
    match inside {
        Some(c) => pool.select(c, value, default),
        None => value,
    }
}

/// `exp(x' - lse[i])` where x' is the x of that logsumexp at i and some axes: `e[i, axes] * scale[i]`.
fn weight(
    pool: &mut Pool,
    parts: &[Option<Part>],
    weights: &FxHashMap<PartId, Vec<Softmax>>,
    arg: Id,
) -> Option<Id> {
    let Node::Op(op, operands) = pool.node(arg) else {
        return None;
    };
    let (x, lse) = match (op, &operands[..]) {
        (Op::Sub, [x, lse]) => (*x, *lse),
        (Op::Add, [a, b]) => match (pool.node(*a), pool.node(*b)) {
            (_, Node::Op(Op::Neg, o)) => (*a, o[0]),
            (Node::Op(Op::Neg, o), _) => (*b, o[0]),
            _ => return None,
        },
        _ => return None,
    };
    let Node::Read {
        from: Source::Part(p),
        index,
        default: None,
    } = pool.node(lse)
    else {
        return None;
    };
    let index = index.clone();
    for found in weights.get(p)? {
        let Some(e) = &parts[found.exp.index()] else {
            continue;
        };
        let Node::Op(Op::Exp, d) = pool.node(e.body) else {
            continue;
        };
        let Node::Op(Op::Sub, d) = pool.node(d[0]) else {
            continue;
        };
        let mut bound: Vec<Option<Id>> = index.iter().map(|&i| Some(i)).collect();
        bound.resize(e.head.len(), None);
        if !matches(pool, d[0], x, &e.head, &mut bound) {
            continue;
        }
        let Some(at) = bound.into_iter().collect::<Option<Vec<Id>>>() else {
            continue;
        };
        let mut distinct = at.clone();
        distinct.sort_unstable();
        distinct.dedup();
        if distinct.len() < at.len() || !at.iter().all(|&i| matches!(pool.node(i), Node::Axis(_))) {
            continue;
        }
        let (exp, scale) = (found.exp, found.scale);
        let e = pool.read(Source::Part(exp), at.into());
        let scale = pool.read(Source::Part(scale), index);
        return Some(pool.op(Op::Mul, &[e, scale]));
    }
    None
}

/// Whether `target` is `pattern` with its axes `variables` replaced by `bound` (filled in where still open).
fn matches(
    pool: &Pool,
    pattern: Id,
    target: Id,
    variables: &[AxisId],
    bound: &mut [Option<Id>],
) -> bool {
    if let Node::Axis(a) = pool.node(pattern)
        && let Some(k) = variables.iter().position(|v| v == a)
    {
        return *bound[k].get_or_insert(target) == target;
    }
    if pool.free(pattern).is_empty() {
        return pattern == target;
    }
    let all = |a: &[Id], b: &[Id], bound: &mut [Option<Id>]| {
        a.len() == b.len()
            && stacker::maybe_grow(64 * 1024, 1024 * 1024, || {
                a.iter()
                    .zip(b)
                    .all(|(&p, &t)| matches(pool, p, t, variables, bound))
            })
    };
    match (pool.node(pattern), pool.node(target)) {
        (
            Node::Read {
                from: f,
                index: i,
                default: d,
            },
            Node::Read {
                from: g,
                index: j,
                default: e,
            },
        ) => {
            let defaults = match (d, e) {
                (None, None) => true,
                (Some(d), Some(e)) => all(&[*d], &[*e], bound),
                (None, Some(_)) | (Some(_), None) => false,
            };
            f == g && defaults && all(i, j, bound)
        }
        (Node::If(a, b, c), Node::If(x, y, z)) => all(&[*a, *b, *c], &[*x, *y, *z], bound),
        (Node::Op(o, a), Node::Op(p, b)) => o == p && all(a, b, bound),
        (Node::Finite(a), Node::Finite(b)) => all(&[*a], &[*b], bound),
        _ => false,
    }
}

/// Puts the factors of products that fewer loops change first, so that the loops within multiply once by what is known
/// outside. It happens before anything depends on which kernel of a loss this is.
pub(super) fn group_products(parts: &mut Parts) {
    let scales: Vec<PartId> = parts.softmax.values().flatten().map(|s| s.scale).collect();
    for id in parts.ids() {
        let mut part = parts.part(id).clone();
        part.rewrite(|root| {
            parts.pool.rebuild(root, &mut |pool, node| match node {
                Node::Op(Op::Mul, o) if pool.ty(o[0]) == Type::Real => product(pool, &o, &scales),
                node => pool.mk(node),
            })
        });
        parts.parts[id.index()] = Some(part);
    }
}

/// Longer products stay as they are.
const MAX_FACTORS: usize = 12;

fn product(pool: &mut Pool, operands: &[Id], scales: &[PartId]) -> Id {
    let mut factors = vec![];
    let mut stack: Vec<Id> = operands.iter().rev().copied().collect();
    while let Some(f) = stack.pop() {
        match pool.node(f) {
            Node::Op(Op::Mul, o) if factors.len() + stack.len() < MAX_FACTORS => {
                stack.extend(o.iter().rev())
            }
            _ => factors.push(f),
        }
    }
    let axes = |pool: &Pool, f: Id| pool.free(f).len();
    let most = factors.iter().map(|&f| axes(pool, f)).max().unwrap_or(0);
    let outer: Vec<Id> = factors
        .iter()
        .copied()
        .filter(|&f| axes(pool, f) < most)
        .collect();
    // Only one of the outer factors may be anything: the product of two could overflow where the whole does not.
    let large = outer
        .iter()
        .filter(|&&f| !moderate(pool, f, scales))
        .count();
    if outer.is_empty() || large > 1 {
        return pool.op(Op::Mul, operands);
    }
    factors.sort_by_key(|&f| axes(pool, f));
    factors[1..]
        .iter()
        .fold(factors[0], |a, &b| pool.op(Op::Mul, &[a, b]))
}

/// Whether a factor is neither huge nor tiny by its form: numbers, hyperparameters, sizes, counts, and the weights'
/// scale of a softmax.
fn moderate(pool: &Pool, id: Id, scales: &[PartId]) -> bool {
    pool.reachable([id])
        .into_iter()
        .all(|i| match pool.node(i) {
            Node::Real(r) => r.0 == 0.0 || (1e-6..1e6).contains(&r.0.abs()),
            Node::Param(_) | Node::Int(_) | Node::Size(_) | Node::Axis(_) => true,
            Node::Op(op, _) => matches!(
                op,
                Op::ToReal | Op::Div | Op::Mul | Op::Neg | Op::Add | Op::Sub
            ),
            Node::Read {
                from: Source::Part(p),
                ..
            } => scales.contains(p) || pool.ty(i) == Type::Int,
            Node::Read { .. } | Node::Bool(_) | Node::If(..) | Node::Finite(_) => false,
        })
}

/// Terms of an output that only one cell along an axis has become updates after the dense part: `if target == C
/// then t else 0` adds t at `C := target`, and a scatter that nobody else reads adds straight into the output.
pub(super) fn peel(parts: &mut Parts) {
    let readers = parts.readers();
    for id in parts.ids() {
        let part = parts.part(id).clone();
        if part.output.is_none() || part.head.is_empty() || !readers[id.index()].is_empty() {
            continue;
        }
        let only: Vec<bool> = readers.iter().map(|r| r.len() == 1).collect();
        let mut updates = vec![];
        let dense = split(parts, &part, &only, part.body, false, &[], &mut updates);
        if updates.is_empty() {
            continue;
        }
        let body = dense.unwrap_or_else(|| parts.pool.real(0.0));
        if let Some(p) = &mut parts.parts[id.index()] {
            p.body = body;
        }
        for update in updates {
            if let Some(scatter) = update.scatter {
                parts.parts[scatter.index()] = None;
            }
            parts.add(Part {
                into: Some(id),
                ..update.part
            });
        }
    }
}

struct Update {
    part: Part,
    /// The part that it replaces.
    scatter: Option<PartId>,
}

/// What is left of a term without its updates, `None` for nothing.
fn split(
    parts: &mut Parts,
    output: &Part,
    only: &[bool],
    term: Id,
    negative: bool,
    conditions: &[Id],
    updates: &mut Vec<Update>,
) -> Option<Id> {
    stacker::maybe_grow(64 * 1024, 1024 * 1024, || {
        match parts.pool.node(term).clone() {
            Node::Op(op @ (Op::Add | Op::Sub), operands) => {
                let flip = negative != (op == Op::Sub);
                let (a, b) = (operands[0], operands[1]);
                let a = split(parts, output, only, a, negative, conditions, updates);
                let b = split(parts, output, only, b, flip, conditions, updates);
                match (a, b) {
                    (a, None) => a,
                    (None, Some(b)) if op == Op::Sub => Some(parts.pool.op(Op::Neg, &[b])),
                    (None, b) => b,
                    (Some(a), Some(b)) => Some(parts.pool.op(op, &[a, b])),
                }
            }
            Node::Op(Op::Neg, operands) => {
                let rest = split(
                    parts,
                    output,
                    only,
                    operands[0],
                    !negative,
                    conditions,
                    updates,
                );
                rest.map(|r| parts.pool.op(Op::Neg, &[r]))
            }
            Node::If(c, then, otherwise) if is_zero(&parts.pool, otherwise) => {
                let mut all = conditions.to_vec();
                all.extend(parts.pool.conjuncts(Some(c)));
                if let Some(part) = one_hot(&mut parts.pool, output, &all, then, negative) {
                    updates.push(Update {
                        part,
                        scatter: None,
                    });
                    return None;
                }
                let rest = split(parts, output, only, then, negative, &all, updates);
                rest.map(|r| parts.pool.select(c, r, otherwise))
            }
            Node::Read {
                from: Source::Part(p),
                index,
                default: None,
            } if only[p.index()] && conditions.is_empty() => {
                match scatter(parts, output, p, &index, negative) {
                    Some(part) => {
                        updates.push(Update {
                            part,
                            scatter: Some(p),
                        });
                        None
                    }
                    None => Some(term),
                }
            }
            _ => Some(term),
        }
    })
}

fn is_zero(pool: &Pool, id: Id) -> bool {
    matches!(pool.node(id), Node::Real(r) if r.0 == 0.0)
}

fn signed(pool: &mut Pool, value: Id, negative: bool) -> Id {
    if negative {
        pool.op(Op::Neg, &[value])
    } else {
        value
    }
}

/// The update that adds `term` where the conditions hold, if one of them is a bracket on a head axis.
fn one_hot(
    pool: &mut Pool,
    output: &Part,
    conditions: &[Id],
    term: Id,
    negative: bool,
) -> Option<Part> {
    let found = conditions.iter().enumerate().find_map(|(k, &c)| {
        let (axis, to) = super::normalize::bracket(pool, c, &output.head)?;
        Some((k, axis, to))
    });
    let (k, axis, to) = found?;
    let map = [(axis, to)];
    let speaks = pool.has(term, axis)
        || conditions
            .iter()
            .enumerate()
            .any(|(j, &c)| j != k && pool.has(c, axis));
    let mut guard = None;
    let (mut late, mut early) = (vec![], vec![]);
    for (j, &c) in conditions.iter().enumerate().filter(|&(j, _)| j != k) {
        if j > k || pool.has(c, axis) {
            late.push(c)
        } else {
            early.push(c)
        }
    }
    for c in early {
        guard = pool.and(guard, Some(c));
    }
    let fits = pool.fits(to, pool.extent(axis));
    let fails = pool.partial(term) || late.iter().any(|&c| pool.partial(c));
    if (speaks || fails) && !fits {
        let range = in_range(pool, to, pool.extent(axis));
        guard = pool.and(guard, Some(range));
    }
    for c in late {
        let c = pool.subst(c, &map);
        guard = pool.and(guard, Some(c));
    }
    let body = pool.subst(term, &map);
    let body = signed(pool, body, negative);
    let at = output.at.iter().map(|&i| pool.subst(i, &map)).collect();
    let kind = Kind::Fold(super::FoldOp::Sum);
    Some(Part {
        kind,
        at,
        guard,
        body,
        output: None,
        over: vec![],
        ..output.clone()
    })
}

/// The update that is a scatter over the output's own cells.
fn scatter(
    parts: &mut Parts,
    output: &Part,
    id: PartId,
    index: &[Id],
    negative: bool,
) -> Option<Part> {
    let fold = parts.get(id)?.clone();
    if !fold.scatters(&parts.pool)
        || fold.kind != Kind::Fold(super::FoldOp::Sum)
        || fold.into.is_some()
    {
        return None;
    }
    // A table that no row owns is a total of each chunk; only where it is as large as the rows it is better added to
    // directly.
    let owned = (0..fold.head.len()).any(|k| fold.bare(&parts.pool, k));
    let extent = |a: &AxisId| parts.pool.extent(*a);
    let as_rows = fold
        .head
        .iter()
        .any(|a| fold.over.iter().any(|b| extent(a) == extent(b)));
    if !owned && !as_rows {
        return None;
    }
    // Each head axis of the fold is read at one head axis of the output, and all of them are.
    let mut order = vec![];
    for &i in index {
        let Node::Axis(a) = parts.pool.node(i) else {
            return None;
        };
        order.push(output.head.iter().position(|b| b == a)?);
    }
    let mut sorted = order.clone();
    sorted.sort_unstable();
    if sorted != (0..output.head.len()).collect::<Vec<_>>() {
        return None;
    }
    let place = |k: usize| order.iter().position(|&o| o == k).unwrap_or(k);
    let head = (0..order.len()).map(|k| fold.head[place(k)]).collect();
    let at = (0..order.len()).map(|k| fold.at[place(k)]).collect();
    let body = signed(&mut parts.pool, fold.body, negative);
    Some(Part {
        name: output.name.clone(),
        head,
        at,
        body,
        output: None,
        ..fold
    })
}
