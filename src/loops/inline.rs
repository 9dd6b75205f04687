//! Substitution: cheap maps into their readers, softmax weights by the exponentials that are at hand, and any map on
//! request (what is not worth keeping is computed again).

use super::normalize::in_range;
use super::part::{Part, Parts, Softmax};
use super::pool::{Id, Node, PartId, Pool, Read, Source};
use super::products;
use super::recurrence::Recurrences;
use crate::diagnostic::Diagnostic;
use crate::ir::{AxisId, Op, Type};
use crate::loops::ExtentIndex;
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// A map that costs at most this is computed where it is read.
pub(super) const CHEAP: u32 = 4;

/// Head and body of a map that is substituted.
pub(super) type Inlined = FxHashMap<PartId, (Vec<AxisId>, Id)>;

/// Substitutes cheap maps, each once, producers first.
pub(super) fn substitute_cheap(parts: &mut Parts) -> Result<(), Diagnostic> {
    let recurrences = pass_through(parts)?;
    let real = |id: &PartId| parts.part(*id).ty == Type::Real;
    let wide = parts
        .ids()
        .iter()
        .any(|id| recurrences.carried(*id) && real(id));
    parts.wide = wide;
    let mut small: Inlined = FxHashMap::default();
    let mut operands = parts.operands();
    operands.extend(parts.softmax.values().flatten().map(|s| s.scale));
    let checked = checked_positions(parts);
    for id in parts.ordered(&|p| !recurrences.carried(p)) {
        let mut part = parts.part(id).clone();
        part.rewrite(|root| rewrite(parts, root, &small, true));
        let cheap = part.is_map() && parts.pool.weight(part.body) <= CHEAP;
        let kept = part.output.is_some()
            || operands.contains(&id)
            || recurrences.carried(id)
            || guards_range(parts, &checked, id, &part);
        if cheap && !kept {
            small.insert(id, (part.head, part.body));
            parts.parts[id.index()] = None;
        } else {
            parts.parts[id.index()] = Some(part);
        }
    }
    Ok(())
}

/// Whether a map must stay, since an index out of its range is an error that its body would not meet.
fn guards_range(
    parts: &Parts,
    checked: &FxHashMap<PartId, Vec<usize>>,
    id: PartId,
    part: &Part,
) -> bool {
    let unseen = |k: &usize| !reads_at(&parts.pool, part.body, part.head[*k]);
    checked.get(&id).is_some_and(|c| c.iter().any(unseen))
}

/// The head positions at which parts are read by an index that may be out of range, which is an error of the call. An index
/// without data, such as `T - 1`, may be proved to be in range by the conditions under which it is read.
fn checked_positions(parts: &mut Parts) -> FxHashMap<PartId, Vec<usize>> {
    let mut checked: FxHashMap<PartId, Vec<usize>> = FxHashMap::default();
    for id in parts.ids() {
        let mut conditions = None;
        let open = |pool: &Pool, r: &Read| {
            let mut positions = r.index.iter().zip(pool.shape(r.from));
            r.default.is_none() && !positions.all(|(&i, &extent)| pool.fits(i, extent))
        };
        for r in parts.reads(id) {
            let Source::Part(p) = r.from else { continue };
            if !open(&parts.pool, &r) {
                continue;
            }
            let known = conditions.get_or_insert_with(|| {
                let part = parts.parts[id.index()].clone();
                part.map_or_else(Vec::new, |p| known_at(&mut parts.pool, &p))
            });
            let holds = known.iter().find(|(read, _)| *read == r);
            let holds = holds.map_or(&[][..], |(_, known)| known);
            let pool = &parts.pool;
            for (k, (&i, &extent)) in r.index.iter().zip(pool.shape(r.from)).enumerate() {
                let data = !pool.reads([i]).is_empty();
                if !pool.fits(i, extent) && (data || pool.proof(i, extent, holds).is_none()) {
                    checked.entry(p).or_default().push(k);
                }
            }
        }
    }
    checked
}

/// The reads of a part, with what holds wherever each is evaluated.
fn known_at(pool: &mut Pool, part: &Part) -> Vec<(Read, Vec<Id>)> {
    let guard = pool.conjuncts(part.guard);
    // Operands are older than what is made of them, so the last is reached from all its users.
    let mut open: BTreeMap<Id, Vec<Id>> = BTreeMap::new();
    let at = |root: Id| match Some(root) == part.guard {
        true => (root, vec![]),
        false => (root, guard.clone()),
    };
    let mut steps: Vec<(Id, Vec<Id>)> = part.roots().map(at).collect();
    let mut out = vec![];
    loop {
        for (child, known) in steps.drain(..) {
            match open.entry(child) {
                Entry::Vacant(e) => {
                    e.insert(known);
                }
                Entry::Occupied(mut e) => e.get_mut().retain(|c| known.contains(c)),
            }
        }
        let Some((id, known)) = open.pop_last() else {
            return out;
        };
        for (child, condition) in pool.conditional_operands(id) {
            let mut all = known.clone();
            all.extend(pool.conjuncts(condition));
            steps.push((child, all));
        }
        if let Some(r) = pool.as_read(id) {
            out.push((r, known));
        }
    }
}

/// Whether every evaluation of `body` reads something at the axis itself, so that a substituted index is still checked.
fn reads_at(pool: &Pool, body: Id, axis: AxisId) -> bool {
    let at_axis = |r: Read| {
        let mut positions = r.index.iter().zip(pool.shape(r.from));
        let bare = |(&i, &extent): (&Id, &ExtentIndex)| {
            matches!(pool.node(i), Node::Axis(a) if *a == axis) && extent == pool.extent(axis)
        };
        r.default.is_none() && positions.any(bare)
    };
    let all = pool.certain(body);
    all.into_iter().filter_map(|e| pool.as_read(e)).any(at_axis)
}

/// Substitutes cheap maps that a later step reads but that only hand on one other map of their recurrence, which is
/// then kept in their place: `b[T] = if mask then a else 0` and `a[T] = x + b[T + 1 else 0]` need one buffer, not two.
/// A map with more reads of its recurrence would make the steps grow with each substitution.
fn pass_through(parts: &mut Parts) -> Result<Recurrences, Diagnostic> {
    let operands = parts.operands();
    loop {
        let recurrences = Recurrences::find(parts)?;
        let hands_on = |id: &PartId| {
            let part = parts.part(*id);
            let cheap = part.is_map() && parts.pool.weight(part.body) <= CHEAP;
            if !cheap || part.output.is_some() || operands.contains(id) || !recurrences.carried(*id)
            {
                return false;
            }
            let reads = parts.reads(*id).into_iter().filter_map(|r| match r.from {
                Source::Part(p) if recurrences.group(p) == recurrences.group(*id) => Some(p),
                Source::Part(_) | Source::Input(_) => None,
            });
            let reads: Vec<PartId> = reads.collect();
            matches!(reads[..], [other] if other != *id && parts.part(other).is_map())
        };
        match parts.ids().into_iter().find(hands_on) {
            Some(id) => substitute(parts, &[id], &recurrences),
            None => return Ok(recurrences),
        }
    }
}

/// Those of the given maps whose substitution drops no check of an index.
pub(super) fn substitutable(parts: &mut Parts, these: Vec<PartId>) -> Vec<PartId> {
    let checked = checked_positions(parts);
    let kept = |id: &PartId| !guards_range(parts, &checked, *id, parts.part(*id));
    these.into_iter().filter(kept).collect()
}

/// Substitutes the given maps wherever they are read.
pub(super) fn substitute(parts: &mut Parts, these: &[PartId], recurrences: &Recurrences) {
    // Those that are carried come one at a time and need not be in order.
    let mut order = parts.ordered(&|p| !recurrences.carried(p));
    order.sort_by_key(|id| !(these.contains(id) && recurrences.carried(*id)));
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

pub(super) fn rewrite(parts: &mut Parts, root: Id, inlined: &Inlined, softmax: bool) -> Id {
    let Parts {
        pool,
        parts,
        softmax: weights,
        ..
    } = parts;
    pool.rebuild(root, &mut |pool, node| match node {
        Node::Read {
            from: Source::Part(p),
            ..
        } => match inlined.get(&p) {
            Some((head, body)) => read_inlined(pool, node, head, *body),
            None => pool.make(node),
        },
        Node::Op(Op::Exp, operands) if softmax => match weight(pool, parts, weights, operands[0]) {
            Some(w) => w,
            None => pool.make(Node::Op(Op::Exp, operands)),
        },
        Node::Op(Op::Div, operands) => products::mean_factor(pool, &operands),
        Node::Op(Op::Sub, operands) => difference(pool, weights, operands[0], operands[1]),
        Node::Op(Op::Add, operands) => {
            let negated = |k: usize| match pool.node(operands[k]) {
                Node::Op(Op::Neg, o) => log_sum(pool, weights, o[0]).map(|_| o[0]),
                _ => None,
            };
            match (negated(0), negated(1)) {
                (_, Some(b)) => difference(pool, weights, operands[0], b),
                (Some(b), None) => difference(pool, weights, operands[1], b),
                (None, None) => pool.make(Node::Op(Op::Add, operands)),
            }
        }
        node => pool.make(node),
    })
}

/// What a read of a part with the given head and body is, without the part.
fn read_inlined(pool: &mut Pool, read: Node, head: &[AxisId], body: Id) -> Id {
    let id = pool.mk(read);
    let site = pool.span(id);
    let Node::Read {
        from,
        index,
        default,
    } = pool.node(id).clone()
    else {
        return id;
    };
    let map: Vec<(AxisId, Id)> = head.iter().copied().zip(index.iter().copied()).collect();
    let value = pool.subst_at(body, &map, site);
    let Some(default) = default else { return value };
    let shape = pool.shape(from).to_vec();
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

/// The terms of a logsumexp: the largest number, and the log of a sum.
fn log_sum(pool: &Pool, weights: &FxHashMap<PartId, Vec<Softmax>>, id: Id) -> Option<(Id, Id)> {
    let Node::Op(Op::Add, o) = pool.node(id) else {
        return None;
    };
    match pool.node(o[1]) {
        Node::Read {
            from: Source::Part(p),
            default: None,
            ..
        } if weights.contains_key(p) => Some((o[0], o[1])),
        // That of a few numbers, where its part was substituted.
        Node::Op(Op::Log1p, _) => Some((o[0], o[1])),
        _ => None,
    }
}

/// `a - b`, the large terms of a logsumexp first: `(x - m) - log z` for `x - (m + log z)`, which for an x of 800 is known
/// to 3e-5 only in f32.
fn difference(pool: &mut Pool, weights: &FxHashMap<PartId, Vec<Softmax>>, a: Id, b: Id) -> Id {
    if let Some((m, log)) = log_sum(pool, weights, b) {
        let near = difference(pool, weights, a, m);
        return pool.op(Op::Sub, &[near, log]);
    }
    if let Some((m, log)) = log_sum(pool, weights, a) {
        let near = pool.op(Op::Sub, &[m, b]);
        return pool.op(Op::Add, &[near, log]);
    }
    pool.op(Op::Sub, &[a, b])
}

/// `exp((x' - fin m[i]) - log_z[i])` or `exp(x' - lse[i])` where x' is the x of that logsumexp at i and some axes:
/// `e[i, axes] * scale[i]`.
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
        let d_all = d[0];
        let Node::Op(Op::Sub, d) = pool.node(d_all) else {
            continue;
        };
        // Less the largest, or not.
        let bound = [d_all, d[0]].into_iter().find_map(|pattern| {
            let mut bound: Vec<Option<Id>> = index.iter().map(|&i| Some(i)).collect();
            bound.resize(e.head.len(), None);
            matches(pool, pattern, x, &e.head, &mut bound).then_some(bound)
        });
        let Some(bound) = bound else { continue };
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
        (Node::Finite(a), Node::Finite(b)) | (Node::Found(a), Node::Found(b)) => {
            all(&[*a], &[*b], bound)
        }
        _ => false,
    }
}
