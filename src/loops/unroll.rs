//! Axes of a small constant extent are written out, in folds and in heads: boxes and pairs of parameters become
//! scalars of their row, and no later step meets such an axis.

use super::FoldOp;
use super::part::{Cell, Kind, Output, Part, Parts, Softmax};
use super::pool::{Id, Node, PartId, Pool, Source};
use super::recurrence::Recurrences;
use crate::diagnostic::Diagnostic;
use crate::ir::{AxisId, Op, Type};
use rustc_hash::{FxHashMap, FxHashSet};

/// Axes up to this extent are written out.
const LARGEST: u64 = 8;
/// Unless that makes more nodes than this.
const MAX_NODES: usize = 10_000;

pub(super) fn unroll(parts: &mut Parts) -> Result<(), Diagnostic> {
    let order = parts.topological();
    let recurrences = Recurrences::find(parts)?;
    let heads = unrollable_heads(parts, &order, &recurrences);
    let mut copies = 0usize;
    for &id in &order {
        let part = parts.part(id);
        let axes = constant_axes(parts, part, &heads, id);
        if axes.is_empty() {
            continue;
        }
        let extents = axes.iter().filter_map(|&a| constant(&parts.pool, a));
        let n = extents.fold(1, |n: usize, e| n.saturating_mul(e as usize));
        let nodes = parts.pool.reachable(part.roots()).len();
        copies = copies.saturating_add(n.saturating_mul(nodes));
    }
    if copies == 0 || copies > MAX_NODES {
        return Ok(());
    }
    let mut u = Unroller {
        made: FxHashMap::default(),
        outside: FxHashMap::default(),
        heads,
    };
    for &id in &order {
        u.part(parts, id);
    }
    u.softmax(parts);
    let readers = parts.readers();
    for id in u.outside.into_values() {
        if readers[id.index()].is_empty() {
            parts.parts[id.index()] = None;
        }
    }
    Ok(())
}

/// The extent of an axis that is small and constant.
fn constant(pool: &Pool, axis: AxisId) -> Option<u64> {
    pool.extents[pool.extent(axis).0 as usize].filter(|&n| n <= LARGEST)
}

fn constant_over(parts: &Parts, part: &Part) -> Vec<AxisId> {
    if matches!(
        part.kind,
        Kind::Map | Kind::Sort | Kind::Gemm { .. } | Kind::Fold(FoldOp::ArgMax | FoldOp::ArgMin)
    ) {
        return vec![];
    }
    let in_place = |a: AxisId| part.at.iter().any(|&i| parts.pool.has(i, a));
    part.over
        .iter()
        .copied()
        .filter(|&a| constant(&parts.pool, a).is_some() && !in_place(a))
        .collect()
}

fn constant_axes(
    parts: &Parts,
    part: &Part,
    heads: &FxHashSet<(PartId, usize)>,
    id: PartId,
) -> Vec<AxisId> {
    let mut axes = constant_over(parts, part);
    axes.extend(
        (0..part.head.len())
            .filter(|&k| heads.contains(&(id, k)))
            .map(|k| part.head[k]),
    );
    axes
}

/// The head positions that can be written out: every reader names a constant there once its own axes are.
fn unrollable_heads(
    parts: &Parts,
    order: &[PartId],
    recurrences: &Recurrences,
) -> FxHashSet<(PartId, usize)> {
    let mut heads = FxHashSet::default();
    for &id in order {
        let part = parts.part(id);
        // The steps of a recurrence are a loop, however few.
        let steps = recurrences.group(id).is_some();
        for k in 0..if steps { 0 } else { part.head.len() } {
            if constant(&parts.pool, part.head[k]).is_some()
                && part.bare(&parts.pool, k)
                && !used_in_scatter(parts, part, k)
            {
                heads.insert((id, k));
            }
        }
    }
    loop {
        let mut changed = false;
        for &id in order {
            let axes = constant_axes(parts, parts.part(id), &heads, id);
            for read in parts.reads(id) {
                let Source::Part(p) = read.from else { continue };
                for (k, &index) in read.index.iter().enumerate() {
                    changed |=
                        !becomes_constant(&parts.pool, index, &axes) && heads.remove(&(p, k));
                }
            }
        }
        if !changed {
            return heads;
        }
    }
}

fn used_in_scatter(parts: &Parts, part: &Part, position: usize) -> bool {
    let axis = part.head[position];
    (0..part.at.len()).any(|k| k != position && parts.pool.has(part.at[k], axis))
}

fn becomes_constant(pool: &Pool, index: Id, axes: &[AxisId]) -> bool {
    pool.free(index).iter().all(|a| axes.contains(a))
        && pool
            .reachable([index])
            .into_iter()
            .all(|id| match pool.node(id) {
                Node::Int(_) | Node::Axis(_) => true,
                Node::Op(op, _) => matches!(op, Op::Add | Op::Sub | Op::Mul | Op::Neg),
                _ => false,
            })
}

struct Unroller {
    /// The copies of a part by the values of its unrolled head axes.
    made: FxHashMap<(PartId, Vec<i64>), PartId>,
    /// For each part with copies what is read at a constant that none of them is: a part of the same head, without
    /// content, whose reads are out of range and fail as any other where they are evaluated.
    outside: FxHashMap<PartId, PartId>,
    heads: FxHashSet<(PartId, usize)>,
}

impl Unroller {
    fn unrolled(&self, id: PartId, rank: usize) -> Vec<usize> {
        (0..rank)
            .filter(|&k| self.heads.contains(&(id, k)))
            .collect()
    }

    fn part(&mut self, parts: &mut Parts, id: PartId) {
        let part = parts.part(id).clone();
        let positions = self.unrolled(id, part.head.len());
        let over = constant_over(parts, &part);
        let axes: Vec<AxisId> = positions.iter().map(|&k| part.head[k]).collect();
        if !positions.is_empty() {
            let outside = nothing(parts, &part);
            self.outside.insert(id, outside);
        }
        for values in combinations(&parts.pool, &axes) {
            let fixed: Vec<(AxisId, Id)> = axes
                .iter()
                .zip(&values)
                .map(|(&a, &v)| (a, parts.pool.int(v)))
                .collect();
            let copy = self.copy(parts, &part, &positions, &values, &fixed, &over);
            if positions.is_empty() {
                parts.parts[id.index()] = Some(copy);
            } else {
                let new = parts.add(copy);
                self.made.insert((id, values), new);
            }
        }
        if !positions.is_empty() {
            parts.parts[id.index()] = None;
        }
    }

    fn copy(
        &self,
        parts: &mut Parts,
        part: &Part,
        positions: &[usize],
        values: &[i64],
        fixed: &[(AxisId, Id)],
        over: &[AxisId],
    ) -> Part {
        let keep: Vec<usize> = (0..part.head.len())
            .filter(|k| !positions.contains(k))
            .collect();
        let mut copy = part.clone();
        copy.head = keep.iter().map(|&k| part.head[k]).collect();
        copy.at = keep
            .iter()
            .map(|&k| self.rewrite(parts, part.at[k], fixed))
            .collect();
        copy.over.retain(|a| !over.contains(a));
        if !positions.is_empty() {
            let text: Vec<String> = values.iter().map(i64::to_string).collect();
            copy.name = format!("{}@{}", part.name, text.join("_")).into();
        }
        if let Some(output) = &part.output {
            let cell = output.cell.iter().map(|&c| match c {
                Cell::Head(k) => match positions.iter().position(|&p| p == k) {
                    Some(j) => Cell::Const(values[j]),
                    None => Cell::Head(keep.iter().position(|&p| p == k).unwrap_or(k)),
                },
                Cell::Const(_) => c,
            });
            copy.output = Some(Output {
                which: output.which,
                cell: cell.collect(),
            });
        }
        let Kind::Fold(op) = part.kind else {
            copy.guard = part.guard.map(|g| self.rewrite(parts, g, fixed));
            copy.body = self.rewrite(parts, part.body, fixed);
            return copy;
        };
        if over.is_empty() {
            copy.guard = part.guard.map(|g| self.rewrite(parts, g, fixed));
            copy.body = self.rewrite(parts, part.body, fixed);
            return copy;
        }
        let mut sum: Option<Id> = None;
        let ty = if op == FoldOp::Count {
            Type::Int
        } else {
            parts.pool.ty(part.body)
        };
        for element in combinations(&parts.pool, over) {
            let mut all = fixed.to_vec();
            all.extend(
                over.iter()
                    .zip(&element)
                    .map(|(&a, &v)| (a, parts.pool.int(v))),
            );
            let mut x = self.rewrite(parts, part.body, &all);
            let guard = part.guard.map(|g| self.rewrite(parts, g, &all));
            let pool = &mut parts.pool;
            if op == FoldOp::Count {
                let (zero, one) = (pool.int(0), pool.int(1));
                x = pool.select(x, one, zero);
            }
            if let Some(g) = guard {
                let identity = pool.identity(op, ty);
                x = pool.select(g, x, identity);
            }
            sum = Some(match sum {
                None => x,
                Some(s) => pool.op(combiner(op), &[s, x]),
            });
        }
        let body = sum.unwrap_or_else(|| parts.pool.identity(op, ty));
        copy.guard = None;
        copy.body = body;
        if copy.over.is_empty() && !copy.scatters(&parts.pool) {
            copy.kind = Kind::Map;
        } else if op == FoldOp::Count {
            copy.kind = Kind::Fold(FoldOp::Sum);
        }
        copy
    }

    /// With axes replaced by numbers, and reads of unrolled parts by reads of their copies.
    fn rewrite(&self, parts: &mut Parts, root: Id, fixed: &[(AxisId, Id)]) -> Id {
        parts.pool.rebuild(root, &mut |pool, node| match node {
            Node::Axis(a) => match fixed.iter().find(|(b, _)| *b == a) {
                Some(&(_, to)) => to,
                None => pool.mk(node),
            },
            Node::Read {
                from: Source::Part(p),
                index,
                default,
            } => {
                let positions = self.unrolled(p, index.len());
                if positions.is_empty() {
                    return pool.make(Node::Read {
                        from: Source::Part(p),
                        index,
                        default,
                    });
                }
                let values = positions.iter().map(|&k| match pool.node(index[k]) {
                    Node::Int(v) => *v,
                    _ => -1,
                });
                let values: Vec<i64> = values.collect();
                let outside = (self.outside.get(&p)).map(|&o| Node::Read {
                    from: Source::Part(o),
                    index: index.clone(),
                    default: None,
                });
                let rest = (0..index.len())
                    .filter(|k| !positions.contains(k))
                    .map(|k| index[k])
                    .collect();
                match self.made.get(&(p, values)) {
                    Some(&copy) => pool.make(Node::Read {
                        from: Source::Part(copy),
                        index: rest,
                        default,
                    }),
                    None => match (default, outside) {
                        (Some(default), _) => default,
                        (None, Some(read)) => pool.mk(read),
                        (None, None) => unreachable!("producers are unrolled before their readers"),
                    },
                }
            }
            node => pool.make(node),
        })
    }

    /// The copies of a logsumexp and of its exponentials belong together as the originals did.
    fn softmax(&self, parts: &mut Parts) {
        let copies = |id: PartId| -> Vec<(Vec<i64>, PartId)> {
            let all = self
                .made
                .iter()
                .filter(|((p, _), _)| *p == id)
                .map(|((_, v), &c)| (v.clone(), c));
            let mut all: Vec<_> = all.collect();
            if all.is_empty() {
                all.push((vec![], id));
            }
            all.sort();
            all
        };
        for (lse, found) in std::mem::take(&mut parts.softmax) {
            for (_, l) in copies(lse) {
                parts.softmax.entry(l).or_default();
            }
            for s in found {
                for (v, l) in copies(lse) {
                    let scale = copies(s.scale).into_iter().find(|(w, _)| *w == v);
                    let Some((_, scale)) = scale else { continue };
                    for (w, exp) in copies(s.exp) {
                        if w.starts_with(&v) {
                            parts
                                .softmax
                                .entry(l)
                                .or_default()
                                .push(Softmax { exp, scale });
                        }
                    }
                }
            }
        }
    }
}

/// A map over the head of a part that is nothing anywhere.
fn nothing(parts: &mut Parts, part: &Part) -> PartId {
    let at = part.head.iter().map(|&a| parts.pool.axis(a)).collect();
    let body = match part.ty {
        Type::Real => parts.pool.real(0.0),
        Type::Int => parts.pool.int(0),
        Type::Bool => parts.pool.mk(Node::Bool(false)),
    };
    parts.add(Part {
        kind: Kind::Map,
        over: vec![],
        at,
        guard: None,
        body,
        output: None,
        into: None,
        ..part.clone()
    })
}

fn combinations(pool: &Pool, axes: &[AxisId]) -> Vec<Vec<i64>> {
    let mut all = vec![vec![]];
    for &a in axes {
        let n = constant(pool, a).unwrap_or(0) as i64;
        all = all
            .into_iter()
            .flat_map(|v| (0..n).map(move |k| [v.clone(), vec![k]].concat()))
            .collect();
    }
    all
}

fn combiner(op: FoldOp) -> Op {
    match op {
        FoldOp::Sum | FoldOp::Count => Op::Add,
        FoldOp::Prod => Op::Mul,
        FoldOp::Max => Op::Max,
        FoldOp::Min => Op::Min,
        FoldOp::Any => Op::Or,
        FoldOp::All => Op::And,
        FoldOp::ArgMax | FoldOp::ArgMin => unreachable!("not unrolled"),
    }
}
