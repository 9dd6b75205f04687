//! Recurrences: parts that need each other, and the loops that compute them one step after the other (rule R7).
//!
//! Definitions were found to be in order when the program was lowered. Here the same is found for parts, which are
//! finer (a fold within a step is a part of its own) and whose axes have no names to go by: once an axis of one part
//! is chosen, the reads say which axis of each other part steps with it.

use super::Direction;
use super::part::{Part, Parts};
use super::pool::{PartId, Pool, Read, Source};
use crate::diagnostic::Diagnostic;
use crate::graph;
use crate::ir::AxisId;
use rustc_hash::FxHashMap;

/// A loop that some parts need to run one step after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sequence {
    /// One number for all parts in it.
    pub id: u32,
    /// The axis of this part that is the loop.
    pub axis: AxisId,
    pub direction: Direction,
}

/// The recurrences among the parts.
pub(super) struct Recurrences {
    /// For each part the loops that must run step by step around it, outermost first.
    sequences: Vec<Vec<Sequence>>,
    /// For each part the recurrence it belongs to.
    group: Vec<Option<u32>>,
    /// Parts that a later step reads: they are kept, as putting them into their readers would never end.
    carried: Vec<bool>,
}

/// A read within a recurrence.
struct Reference {
    reader: PartId,
    from: PartId,
    read: Read,
}

impl Recurrences {
    /// # Errors
    /// Parts that need each other in no order that loops can run in.
    pub fn find(parts: &Parts) -> Result<Recurrences, Diagnostic> {
        let count = parts.parts.len();
        let mut found = Recurrences {
            sequences: vec![vec![]; count],
            group: vec![None; count],
            carried: vec![false; count],
        };
        let ids = parts.ids();
        let references = |members: &[PartId]| -> Vec<Reference> {
            let of = |&reader: &PartId| {
                let reads = parts.reads(reader).into_iter();
                reads.filter_map(move |read| match read.from {
                    Source::Part(from) => Some(Reference { reader, from, read }),
                    Source::Input(_) => None,
                })
            };
            let all = members.iter().flat_map(of);
            all.filter(|r| members.contains(&r.from)).collect()
        };
        let mut edges = vec![vec![]; count];
        for &id in &ids {
            edges[id.index()] = parts.producers(id).iter().map(|p| p.index()).collect();
        }
        let roots: Vec<usize> = ids.iter().map(|p| p.index()).collect();
        let (mut groups, mut loops) = (0, 0);
        for members in graph::components(&edges, &roots) {
            if members.len() == 1 && !edges[members[0]].contains(&members[0]) {
                continue;
            }
            let members: Vec<PartId> = members.into_iter().map(|k| PartId(k as u32)).collect();
            let references = references(&members);
            let all: Vec<&Reference> = references.iter().collect();
            let plan = cycle(parts, &members, &all, &mut loops);
            for (part, sequence) in plan.ok_or_else(|| no_order(parts, &members))? {
                found.sequences[part.index()].push(sequence);
            }
            for part in members {
                found.group[part.index()] = Some(groups);
            }
            groups += 1;
            for r in &references {
                if found.step(parts, r.reader, &r.read).is_some() {
                    found.carried[r.from.index()] = true;
                }
            }
        }
        Ok(found)
    }

    /// The loops that must run step by step around a part, outermost first.
    pub fn sequences(&self, part: PartId) -> &[Sequence] {
        &self.sequences[part.index()]
    }

    /// Each of those loops: the parts in it, each with its axis.
    pub fn loops(&self) -> Vec<Vec<(PartId, AxisId)>> {
        let mut out: Vec<Vec<(PartId, AxisId)>> = vec![];
        for (k, all) in self.sequences.iter().enumerate() {
            for s in all {
                let id = s.id as usize;
                out.resize_with(out.len().max(id + 1), Vec::new);
                out[id].push((PartId(k as u32), s.axis));
            }
        }
        out
    }

    /// Whether another step of a recurrence reads a part.
    pub fn carried(&self, part: PartId) -> bool {
        self.carried.get(part.index()).copied().unwrap_or(false)
    }

    pub fn group(&self, part: PartId) -> Option<u32> {
        self.group[part.index()]
    }

    /// The loop whose earlier steps have made what `reader` reads here; `None` for what this step makes.
    pub fn step(&self, parts: &Parts, reader: PartId, read: &Read) -> Option<u32> {
        let Source::Part(from) = read.from else {
            return None;
        };
        let (own, other) = (self.sequences(reader), self.sequences(from));
        for (a, b) in own.iter().zip(other) {
            if a.id != b.id {
                break;
            }
            let place = parts.part(from).head.iter().position(|h| *h == b.axis)?;
            match parts.pool.shift(read.index[place]) {
                Some((_, 0)) => {}
                _ => return Some(a.id),
            }
        }
        None
    }
}

/// Loops for parts that all need each other: takes an axis on which every reference stays or steps one way, and one
/// steps; then the same for what remains.
fn cycle(
    parts: &Parts,
    members: &[PartId],
    references: &[&Reference],
    loops: &mut u32,
) -> Option<Vec<(PartId, Sequence)>> {
    for &axis in &parts.part(members[0]).head {
        let Some((axes, steps)) = spread(parts, members[0], axis, references) else {
            continue;
        };
        let direction = if steps.iter().all(|&k| k <= 0) {
            Direction::Up
        } else {
            Direction::Down
        };
        let against = direction == Direction::Down && steps.iter().any(|&k| k < 0);
        if against || steps.iter().all(|&k| k == 0) || axes.len() < members.len() {
            continue;
        }
        let id = *loops;
        *loops += 1;
        let rest = references.iter().zip(&steps).filter(|(_, k)| **k == 0);
        let rest: Vec<&Reference> = rest.map(|(r, _)| *r).collect();
        let sequence = |p: &PartId| {
            let axis = axes[p];
            let sequence = Sequence {
                id,
                axis,
                direction,
            };
            (*p, sequence)
        };
        let mut out: Vec<(PartId, Sequence)> = members.iter().map(sequence).collect();
        if let Some(inner) = remaining(parts, members, &rest, loops) {
            out.extend(inner);
            return Some(out);
        }
    }
    None
}

/// Loops for what still needs each other within a step.
fn remaining(
    parts: &Parts,
    members: &[PartId],
    references: &[&Reference],
    loops: &mut u32,
) -> Option<Vec<(PartId, Sequence)>> {
    let place: FxHashMap<PartId, usize> =
        members.iter().enumerate().map(|(k, &p)| (p, k)).collect();
    let mut edges = vec![vec![]; members.len()];
    for r in references {
        edges[place[&r.reader]].push(place[&r.from]);
    }
    let roots: Vec<usize> = (0..members.len()).collect();
    let mut out = vec![];
    for group in graph::components(&edges, &roots) {
        let group: Vec<PartId> = group.into_iter().map(|k| members[k]).collect();
        let inside = references
            .iter()
            .filter(|r| group.contains(&r.reader) && group.contains(&r.from));
        let inside: Vec<&Reference> = inside.copied().collect();
        if !inside.is_empty() {
            out.extend(cycle(parts, &group, &inside, loops)?);
        }
    }
    Some(out)
}

/// The axis of each part that steps with `axis` of `first`, and how far each reference steps; `None` where one of
/// them does not.
fn spread(
    parts: &Parts,
    first: PartId,
    axis: AxisId,
    references: &[&Reference],
) -> Option<(FxHashMap<PartId, AxisId>, Vec<i64>)> {
    let mut axes: FxHashMap<PartId, AxisId> = FxHashMap::default();
    axes.insert(first, axis);
    let mut todo = vec![first];
    while let Some(from) = todo.pop() {
        for r in references.iter().filter(|r| r.from == from) {
            let (step, _) = stepped(parts, r, axes[&from])?;
            if axes.insert(r.reader, step).is_none() {
                todo.push(r.reader);
            }
        }
    }
    let mut steps = vec![];
    for r in references {
        let (axis, by) = stepped(parts, r, *axes.get(&r.from)?)?;
        if axes.get(&r.reader) != Some(&axis) {
            return None;
        }
        steps.push(by);
    }
    Some((axes, steps))
}

/// The axis of the reader that `axis` of what it reads follows, and by how much the index differs from it.
fn stepped(parts: &Parts, r: &Reference, axis: AxisId) -> Option<(AxisId, i64)> {
    let (reader, from) = (parts.part(r.reader), parts.part(r.from));
    let place = own_axis(&parts.pool, from, axis)?;
    let (found, by) = parts.pool.shift(r.read.index[place])?;
    own_axis(&parts.pool, reader, found)?;
    (parts.pool.extent(found) == parts.pool.extent(axis)).then_some((found, by))
}

/// The position of a head axis that is a loop of its part.
fn own_axis(pool: &Pool, part: &Part, axis: AxisId) -> Option<usize> {
    let place = part.head.iter().position(|a| *a == axis)?;
    part.bare(pool, place).then_some(place)
}

fn no_order(parts: &Parts, members: &[PartId]) -> Diagnostic {
    let mut names: Vec<&str> = members.iter().map(|&p| &*parts.part(p).name).collect();
    names.sort_unstable();
    names.dedup();
    let names: Vec<String> = names.iter().map(|n| format!("`{n}`")).collect();
    Diagnostic::error(format!(
        "no order of loops computes {}, which need each other",
        names.join(", ")
    ))
}
