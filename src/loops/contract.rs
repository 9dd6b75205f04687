//! Contractions: a sum of products of two groups of factors, both with all axes of the sum and each with an axis that the
//! other lacks, becomes a matrix product. What is around it stays: factors that the sum does not run over go to the readers, and a
//! group that is no plain read becomes a map that is kept.

use super::inline::{self, CHEAP, Inlined};
use super::part::{Cell, Kind, Part, Parts};
use super::pool::{Id, Node, PartId, Pool, Source};
use super::{ExtentIndex, FoldOp};
use crate::ir::{AxisId, Op, Type};
use rustc_hash::{FxHashMap, FxHashSet};
use std::sync::Arc;

/// Longer products stay sums.
const MAX_FACTORS: usize = 12;

/// Makes matrix products of sums, before anything depends on which kernel of a loss this is.
pub(super) fn contract(parts: &mut Parts) {
    let mut c = Contractor::default();
    let mut gone: Inlined = FxHashMap::default();
    for id in parts.topological() {
        if !gone.is_empty() {
            let mut part = parts.part(id).clone();
            part.rewrite(|root| inline::rewrite(parts, root, &gone, false));
            parts.parts[id.index()] = Some(part);
        }
        if !c.part(parts, id) {
            continue;
        }
        let part = parts.part(id);
        // A scaled product is scaled where it is read.
        if part.output.is_none() && parts.pool.weight(part.body) <= 2 * CHEAP {
            gone.insert(id, (part.head.clone(), part.body));
            parts.parts[id.index()] = None;
        }
    }
    if !c.products.is_empty() {
        c.pick(parts);
        into_outputs(parts);
    }
}

/// A product that an output is nothing but is written there at once.
fn into_outputs(parts: &mut Parts) {
    let readers = parts.readers();
    for id in parts.ids() {
        let part = parts.part(id);
        let Some(output) = &part.output else { continue };
        let Node::Read {
            from: Source::Part(product),
            index,
            default: None,
        } = parts.pool.node(part.body)
        else {
            continue;
        };
        let own = |(&i, &a): (&Id, &AxisId)| matches!(parts.pool.node(i), Node::Axis(b) if *b == a);
        if !part.is_map()
            || !readers[id.index()].is_empty()
            || !parts.part(*product).is_gemm()
            || parts.part(*product).output.is_some()
            || index.len() != part.head.len()
            || !index.iter().zip(&part.head).all(own)
            || !whole(&output.cell)
        {
            continue;
        }
        let (product, output, name) = (*product, part.output.clone(), part.name.clone());
        parts.parts[id.index()] = None;
        if let Some(part) = &mut parts.parts[product.index()] {
            (part.output, part.name) = (output, name);
        }
    }
}

/// A sum taken apart.
struct Found {
    /// Factors and divisors that the sum does not run over, and whether the whole is negated.
    outer: Vec<Id>,
    divisors: Vec<Id>,
    negative: bool,
    groups: [Vec<Id>; 2],
    /// Axes of both groups, and those of one only, in the order of the head.
    batch: Vec<AxisId>,
    own: [Vec<AxisId>; 2],
    inner: Vec<AxisId>,
}

/// What makes two generated parts one: the extents of the axes and an expression over canonical axes.
type Key = (Vec<ExtentIndex>, Id);

#[derive(Default)]
struct Contractor {
    canonical: FxHashMap<(ExtentIndex, usize), AxisId>,
    operands: FxHashMap<Key, PartId>,
    products: FxHashMap<Key, PartId>,
    picked: FxHashMap<Key, PartId>,
}

impl Contractor {
    /// Replaces a sum by a product's element, if it is one; tells whether it was.
    fn part(&mut self, parts: &mut Parts, id: PartId) -> bool {
        let part = parts.part(id);
        let Some(found) = find(&parts.pool, part) else {
            return false;
        };
        if reads_itself(parts, id) {
            return false;
        }
        let name = parts.part(id).name.clone();
        let [a, b] = [0, 1].map(|k| {
            let factors = &found.groups[k];
            let body = factors[1..]
                .iter()
                .fold(factors[0], |x, &y| parts.pool.op(Op::Mul, &[x, y]));
            let axes = [&found.batch[..], &found.own[k], &found.inner].concat();
            self.operand(parts, &name, body, &axes, [&found.own[k], &found.inner])
        });
        let head: Vec<AxisId> = [&found.batch[..], &found.own[0], &found.own[1]].concat();
        let kind = Kind::Gemm {
            batch: found.batch.len(),
            rows: found.own[0].len(),
        };
        let body = parts.pool.mk(Node::Op(Op::Mul, [a, b].into()));
        let mut value = self.product(parts, kind, &name, &head, &found.inner, body);
        let pool = &mut parts.pool;
        for f in found.outer {
            value = pool.op(Op::Mul, &[f, value]);
        }
        for d in found.divisors {
            value = pool.op(Op::Div, &[value, d]);
        }
        if found.negative {
            value = pool.op(Op::Neg, &[value]);
        }
        if let Some(part) = &mut parts.parts[id.index()] {
            part.kind = Kind::Map;
            part.over.clear();
            part.body = value;
        }
        true
    }

    /// A group as a read of what lies in memory: a plain one as it is, otherwise one of a map.
    fn operand(
        &mut self,
        parts: &mut Parts,
        name: &str,
        body: Id,
        axes: &[AxisId],
        dims: [&[AxisId]; 2],
    ) -> Id {
        if is_plain(parts, body, dims) {
            return body;
        }
        // The same map for all products that need it: its axes as they first occur in it.
        let mut order = occurrence(&parts.pool, body);
        order.retain(|a| axes.contains(a));
        if order.len() < axes.len() || !dims.iter().all(|d| adjacent(&order, d)) {
            order = axes.to_vec();
        }
        let name = format!("{name} factor");
        self.generated(parts, |c| &mut c.operands, &name, &order, body)
    }

    /// A map of `body` over `head`, the same for equal ones; the read of it.
    fn generated(
        &mut self,
        parts: &mut Parts,
        table: impl Fn(&mut Contractor) -> &mut FxHashMap<Key, PartId>,
        name: &str,
        head: &[AxisId],
        body: Id,
    ) -> Id {
        let (key, axes) = self.key(&mut parts.pool, head, body);
        let index = head.iter().map(|&a| parts.pool.axis(a)).collect();
        let id = match table(self).get(&key) {
            Some(&id) => id,
            None => {
                let id = add(parts, Kind::Map, name.into(), axes, vec![], key.1);
                table(self).insert(key, id);
                id
            }
        };
        parts.pool.read(Source::Part(id), index)
    }

    /// A matrix product, the same for equal ones; the read of it at `head`.
    fn product(
        &mut self,
        parts: &mut Parts,
        kind: Kind,
        name: &Arc<str>,
        head: &[AxisId],
        inner: &[AxisId],
        body: Id,
    ) -> Id {
        let all = [head, inner].concat();
        let (key, mut axes) = self.key(&mut parts.pool, &all, body);
        let index = head.iter().map(|&a| parts.pool.axis(a)).collect();
        let id = match self.products.get(&key) {
            Some(&id) => id,
            None => {
                let over = axes.split_off(head.len());
                let id = add(parts, kind, name.clone(), axes, over, key.1);
                self.products.insert(key, id);
                id
            }
        };
        parts.pool.read(Source::Part(id), index)
    }

    /// An expression over canonical axes in place of these.
    fn key(&mut self, pool: &mut Pool, axes: &[AxisId], body: Id) -> (Key, Vec<AxisId>) {
        let extents: Vec<ExtentIndex> = axes.iter().map(|&a| pool.extent(a)).collect();
        let (mut renamed, mut canonical) = (vec![], vec![]);
        for (k, (&axis, &extent)) in axes.iter().zip(&extents).enumerate() {
            let nth = extents[..k].iter().filter(|e| **e == extent).count();
            let new = *self.canonical.entry((extent, nth)).or_insert_with(|| {
                let hint = pool.axes[axis.index()].0.clone();
                pool.new_axis(hint, extent)
            });
            renamed.push((axis, pool.axis(new)));
            canonical.push(new);
        }
        ((extents, pool.subst(body, &renamed)), canonical)
    }

    /// An element of a product that is not the reader's own (`s[N, N]`) is read by a map of its own, so that it can be
    /// read before something else takes the product's memory. Not where that could fail and the reader would not.
    fn pick(&mut self, parts: &mut Parts) {
        for id in parts.ids() {
            let part = parts.part(id);
            if !matches!(part.kind, Kind::Map | Kind::Fold(_)) {
                continue;
            }
            let pool = &parts.pool;
            let certain = pool.certain(part.guard.unwrap_or(part.body));
            let loops = part.loops(pool);
            let evaluated = |i: Id| {
                let own = loops.iter().all(|&a| pool.has(i, a));
                !pool.partial(i) || own && certain.contains(&i)
            };
            let reads: Vec<(Id, PartId)> = pool
                .reachable(part.roots())
                .into_iter()
                .filter_map(|i| match pool.node(i) {
                    Node::Read {
                        from: Source::Part(p),
                        index,
                        default: None,
                    } if parts.part(*p).is_gemm()
                        && distinct_axes(pool, index).is_none()
                        && evaluated(i) =>
                    {
                        Some((i, *p))
                    }
                    _ => None,
                })
                .collect();
            if reads.is_empty() {
                continue;
            }
            let mut maps: FxHashMap<Id, Id> = FxHashMap::default();
            for (read, product) in reads {
                let name = format!("{} picked", parts.part(product).name);
                let head = occurrence(&parts.pool, read);
                let map = self.generated(parts, |c| &mut c.picked, &name, &head, read);
                maps.insert(read, map);
            }
            let mut part = parts.part(id).clone();
            part.rewrite(|root| {
                parts.pool.rebuild(root, &mut |pool, node| {
                    let made = pool.make(node);
                    maps.get(&made).copied().unwrap_or(made)
                })
            });
            parts.parts[id.index()] = Some(part);
        }
    }
}

fn add(
    parts: &mut Parts,
    kind: Kind,
    name: Arc<str>,
    head: Vec<AxisId>,
    over: Vec<AxisId>,
    body: Id,
) -> PartId {
    let at = head.iter().map(|&a| parts.pool.axis(a)).collect();
    parts.add(Part {
        name,
        ty: Type::Real,
        kind,
        head,
        over,
        at,
        guard: None,
        body,
        output: None,
        into: None,
    })
}

/// Takes a sum apart, if it is a contraction.
fn find(pool: &Pool, part: &Part) -> Option<Found> {
    if part.kind != Kind::Fold(FoldOp::Sum)
        || part.ty != Type::Real
        || part.guard.is_some()
        || part.into.is_some()
        || part.scatters(pool)
        || pool.partial(part.body)
    {
        return None;
    }
    let (mut outer, mut divisors, mut negative, mut factors) = (vec![], vec![], false, vec![]);
    let free_of_sum = |f: Id| !part.over.iter().any(|&a| pool.has(f, a));
    let mut stack = vec![part.body];
    while let Some(f) = stack.pop() {
        if free_of_sum(f) {
            outer.push(f);
            continue;
        }
        match pool.node(f) {
            Node::Op(Op::Mul, o) => stack.extend(o.iter().rev()),
            Node::Op(Op::Div, o) if free_of_sum(o[1]) => {
                divisors.push(o[1]);
                stack.push(o[0]);
            }
            Node::Op(Op::Neg, o) => {
                negative = !negative;
                stack.push(o[0]);
            }
            _ => factors.push(f),
        }
        if factors.len() + stack.len() > MAX_FACTORS {
            return None;
        }
    }
    let [a, b] = split(pool, &part.head, &factors)?;
    let has = |group: &[Id], a: AxisId| group.iter().any(|&f| pool.has(f, a));
    if !part.over.iter().all(|&r| has(&a, r) && has(&b, r)) {
        return None;
    }
    let axes = |group: &[Id]| -> Vec<AxisId> {
        let head = part.head.iter().copied();
        head.filter(|&h| has(group, h)).collect()
    };
    let (of_a, of_b) = (axes(&a), axes(&b));
    let (batch, left): (Vec<AxisId>, Vec<AxisId>) = of_a.iter().partition(|x| of_b.contains(x));
    let right: Vec<AxisId> = of_b.into_iter().filter(|x| !batch.contains(x)).collect();
    let place = |axes: &[AxisId]| part.head.iter().position(|h| *h == axes[0]);
    let (groups, own) = match place(&left) <= place(&right) {
        true => ([a, b], [left, right]),
        false => ([b, a], [right, left]),
    };
    Some(Found {
        outer,
        divisors,
        negative,
        groups,
        batch,
        own,
        inner: part.over.clone(),
    })
}

/// Two groups of factors, each with a head axis that the other lacks.
fn split(pool: &Pool, head: &[AxisId], factors: &[Id]) -> Option<[Vec<Id>; 2]> {
    let axes = |f: Id| -> Vec<AxisId> {
        let has = |a: &AxisId| pool.has(f, *a);
        head.iter().copied().filter(has).collect()
    };
    let within = |a: &[AxisId], b: &[AxisId]| a.iter().all(|x| b.contains(x));
    for (i, &a) in factors.iter().enumerate() {
        for (j, &b) in factors.iter().enumerate().skip(i + 1) {
            let (of_a, of_b) = (axes(a), axes(b));
            if within(&of_a, &of_b) || within(&of_b, &of_a) {
                continue;
            }
            let mut groups = [vec![a], vec![b]];
            let rest = factors.iter().enumerate();
            let fits = rest.filter(|&(k, _)| k != i && k != j).all(|(_, &f)| {
                let own = axes(f);
                let into = match (within(&own, &of_a), within(&own, &of_b)) {
                    (true, true) => usize::from(groups[0].len() < groups[1].len()),
                    (true, false) => 0,
                    (false, true) => 1,
                    (false, false) => return false,
                };
                groups[into].push(f);
                true
            });
            if fits {
                return Some(groups);
            }
        }
    }
    None
}

/// Whether a part is one of a recurrence.
fn reads_itself(parts: &Parts, id: PartId) -> bool {
    let mut seen = vec![false; parts.parts.len()];
    let mut stack = parts.producers(id);
    while let Some(p) = stack.pop() {
        if p == id {
            return true;
        }
        if !std::mem::replace(&mut seen[p.index()], true) {
            stack.extend(parts.producers(p));
        }
    }
    false
}

/// The axes of an index that is a plain axis at each position, all different.
fn distinct_axes(pool: &Pool, index: &[Id]) -> Option<Vec<AxisId>> {
    let mut axes = vec![];
    for &i in index {
        match pool.node(i) {
            Node::Axis(a) if !axes.contains(a) => axes.push(*a),
            _ => return None,
        }
    }
    Some(axes)
}

/// Whether the axes follow each other in an index, so that they are one dimension of a matrix.
fn adjacent(order: &[AxisId], own: &[AxisId]) -> bool {
    let first = order.iter().position(|a| *a == own[0]);
    first.is_some_and(|k| order[k..].starts_with(own))
}

/// Whether an output's cells are those of its part, in order.
fn whole(cells: &[Cell]) -> bool {
    let mut cells = cells.iter().enumerate();
    cells.all(|(k, &c)| c == Cell::Head(k))
}

/// Whether a group is a read of something in memory in the dtype, with axes that lie as a matrix's do.
fn is_plain(parts: &Parts, body: Id, dims: [&[AxisId]; 2]) -> bool {
    let Node::Read {
        from,
        index,
        default: None,
    } = parts.pool.node(body)
    else {
        return false;
    };
    let Some(axes) = distinct_axes(&parts.pool, index) else {
        return false;
    };
    let in_memory = match from {
        Source::Input(_) => true,
        Source::Part(p) => {
            let part = parts.part(*p);
            // Where all is computed in f64, a map is kept in f64, and the operand is one of its own.
            (part.is_map() && !parts.wide || part.is_gemm())
                && part.output.as_ref().is_none_or(|o| whole(&o.cell))
                && !part.head.is_empty()
                // What a recurrence carries is kept in f64.
                && !reads_itself(parts, *p)
        }
    };
    let shape = parts.pool.shape(*from).iter();
    in_memory
        && parts.pool.ty(body) == Type::Real
        && dims.iter().all(|d| adjacent(&axes, d))
        && axes
            .iter()
            .zip(shape)
            .all(|(&a, &e)| parts.pool.extent(a) == e)
}

/// The free axes of an expression as they first occur in it.
fn occurrence(pool: &Pool, root: Id) -> Vec<AxisId> {
    let (mut seen, mut out, mut stack) = (FxHashSet::default(), vec![], vec![root]);
    while let Some(id) = stack.pop() {
        if pool.free(id).iter().all(|a| out.contains(a)) || !seen.insert(id) {
            continue;
        }
        if let Node::Axis(a) = pool.node(id) {
            out.push(*a);
        }
        let start = stack.len();
        super::pool::for_children(pool.node(id), |c| stack.push(c));
        stack[start..].reverse();
    }
    out
}
