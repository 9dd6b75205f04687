//! What the levels need to know of a part.

use crate::ir::Op;
use crate::loops::align::{Class, Classes};
use crate::loops::inline::CHEAP;
use crate::loops::part::{Kind, Parts};
use crate::loops::pool::{Id, Node, PartId, Source};
use crate::loops::recurrence::Recurrences;
use crate::loops::{Direction, FoldOp};

/// One read of a part: for each position the class of a plain index.
pub(super) struct Edge {
    pub from: PartId,
    pub index: Vec<Option<Class>>,
    /// The loop whose earlier steps have made it.
    pub step: Option<u32>,
}

pub(super) struct Info {
    /// Class of each head position and whether it is a loop.
    pub head: Vec<(Class, bool)>,
    /// Loops in layout order.
    pub loops: Vec<Class>,
    pub reads: Vec<Edge>,
    /// Loops that must run step by step, outermost first, by number.
    pub sequences: Vec<(Class, Direction, u32)>,
    pub fold: bool,
    /// A map that is no output.
    pub map: bool,
    /// An argmax or argmin: it keeps its best element in a register, so what it reduces is its innermost loop.
    pub arg: bool,
    /// A result that is not cheap to compute again.
    pub dear: bool,
    /// What each class costs as the lane axis.
    pub lane_cost: Vec<(Class, u32)>,
}

pub(super) fn info_of(
    parts: &Parts,
    classes: &Classes,
    recurrences: &Recurrences,
    id: PartId,
) -> Info {
    let pool = &parts.pool;
    let part = parts.part(id);
    let mut reads = vec![];
    let mut lane_cost: Vec<(Class, u32)> = vec![];
    let mut cost = |class: Class, cost: u32| match lane_cost.iter_mut().find(|(c, _)| *c == class) {
        Some((_, total)) => *total += cost,
        None => lane_cost.push((class, cost)),
    };
    let mut price = |index: &[Id]| {
        for (k, &i) in index.iter().enumerate() {
            let last = k + 1 == index.len();
            for &a in pool.free(i).iter() {
                let c = match pool.node(i) {
                    Node::Axis(_) if last => 0,
                    Node::Op(Op::Add | Op::Sub, o)
                        if last
                            && o.iter()
                                .all(|&o| !matches!(pool.node(o), Node::Read { .. })) =>
                    {
                        1
                    }
                    _ => 4,
                };
                cost(classes.of(id, a), c);
            }
        }
    };
    for read in parts.reads(id) {
        price(&read.index);
        let Source::Part(from) = read.from else {
            continue;
        };
        let index = read
            .index
            .iter()
            .map(|&i| match pool.node(i) {
                Node::Axis(a) if !part.whole(*a) => Some(classes.of(id, *a)),
                _ => None,
            })
            .collect();
        let step = recurrences.step(parts, id, &read);
        reads.push(Edge { from, index, step });
    }
    if !part.is_map() || part.output.is_some() {
        price(&part.at);
    }
    let mut loops: Vec<Class> = part
        .loops(pool)
        .iter()
        .map(|&a| classes.of(id, a))
        .collect();
    loops.sort_unstable();
    Info {
        head: (0..part.head.len())
            .map(|k| (classes.of(id, part.head[k]), part.bare(pool, k)))
            .collect(),
        loops,
        reads,
        sequences: recurrences
            .sequences(id)
            .iter()
            .map(|s| (classes.of(id, s.axis), s.direction, s.id))
            .collect(),
        fold: part.is_fold() && part.into.is_none(),
        map: part.is_map() && part.output.is_none(),
        dear: !part.is_map() || recurrences.carried(id) || pool.weight(part.body) > CHEAP,
        arg: matches!(part.kind, Kind::Fold(FoldOp::ArgMax | FoldOp::ArgMin)),
        lane_cost,
    }
}
