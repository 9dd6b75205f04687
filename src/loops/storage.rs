//! Where results live: registers, a row's scratch, the workspace, or the memory of an output that is written later.
//! And what is not worth keeping at all.

use super::align::{Class, Classes};
use super::levels::Tree;
use super::part::{Cell, Kind, Parts};
use super::pool::{Node, PartId, Read};
use super::recurrence::Recurrences;
use crate::ir::Type;

/// Maps of at least this weight are kept between stages rather than computed again.
const KEEP: u32 = 64;

/// One loop of the tree.
pub(super) struct LoopInfo {
    pub class: Class,
}

/// Where a part stands in the tree.
#[derive(Debug, Clone, Default)]
pub(super) struct Place {
    /// Loops around it, outermost first.
    pub path: Vec<u32>,
    pub stage: u32,
    /// Place in the order of execution.
    pub order: u32,
}

/// What becomes of a part's result.
#[derive(Debug, Clone, Default)]
pub(super) struct Storage {
    /// Head positions that are dimensions of its buffer.
    pub dims: Vec<usize>,
    /// How many of its loops its readers share at its own element.
    pub home: usize,
    /// Whether it needs memory.
    pub kept: bool,
    /// The part in whose memory it lives: an output, or a map that is kept later.
    pub shares: Option<PartId>,
}

pub(super) struct Layout {
    pub loops: Vec<LoopInfo>,
    pub places: Vec<Place>,
    pub storage: Vec<Storage>,
    pub readers: Vec<Vec<(PartId, Read)>>,
    /// Parts whose cells are f64 where all is computed in f64, so that a number is the same in memory and in a register:
    /// which it is in may differ from kernel to kernel.
    pub wide: Vec<bool>,
}

/// Numbers the loops of a tree and decides what is kept where.
pub(super) fn layout(parts: &Parts, classes: &Classes, tree: &[Tree]) -> Layout {
    let wide = |id: PartId| {
        let part = parts.get(id);
        let inner = part.is_some_and(|p| p.output.is_none() && p.ty == Type::Real && !p.is_gemm());
        inner && parts.wide && !parts.narrow.contains(&id)
    };
    let mut layout = Layout {
        wide: (0..parts.parts.len())
            .map(|k| wide(PartId(k as u32)))
            .collect(),
        loops: vec![],
        places: vec![Place::default(); parts.parts.len()],
        storage: vec![Storage::default(); parts.parts.len()],
        readers: parts.readers(),
    };
    let (mut stage, mut order, mut straight) = (0, 0, false);
    for t in tree {
        let is_part = matches!(t, Tree::Part(_));
        if !(straight && is_part) {
            stage += 1;
        }
        straight = is_part;
        layout.number(t, stage, &mut order, &mut vec![]);
    }
    for id in parts.ids() {
        layout.storage[id.index()] = layout.store(parts, classes, id);
    }
    layout
}

impl Layout {
    fn number(&mut self, tree: &Tree, stage: u32, order: &mut u32, path: &mut Vec<u32>) {
        match tree {
            Tree::Part(id) => {
                *order += 1;
                self.places[id.index()] = Place {
                    path: path.clone(),
                    stage,
                    order: *order,
                };
            }
            Tree::Loop { class, body, .. } => {
                path.push(self.loops.len() as u32);
                self.loops.push(LoopInfo { class: *class });
                for t in body {
                    self.number(t, stage, order, path);
                }
                path.pop();
            }
        }
    }

    pub fn place(&self, id: PartId) -> &Place {
        &self.places[id.index()]
    }

    pub fn class(&self, l: u32) -> Class {
        self.loops[l as usize].class
    }

    /// How many loops two parts share.
    pub fn common(&self, a: PartId, b: PartId) -> usize {
        let (a, b) = (self.place(a), self.place(b));
        a.path
            .iter()
            .zip(&b.path)
            .take_while(|(x, y)| x == y)
            .count()
    }

    /// The outermost loop that a fold reduces, as a place in its path.
    pub fn outermost_reduced(&self, parts: &Parts, classes: &Classes, id: PartId) -> Option<usize> {
        let part = parts.part(id);
        let over: Vec<Class> = part.over.iter().map(|&a| classes.of(id, a)).collect();
        let scattered = part.scatters(&parts.pool);
        let owned = |c: Class| {
            (0..part.head.len())
                .any(|k| part.bare(&parts.pool, k) && classes.of(id, part.head[k]) == c)
        };
        let path = &self.place(id).path;
        (0..path.len()).find(|&k| {
            let c = self.class(path[k]);
            over.contains(&c) || scattered && !owned(c)
        })
    }

    fn store(&self, parts: &Parts, classes: &Classes, id: PartId) -> Storage {
        let part = parts.part(id);
        let place = self.place(id);
        let mut home = place.path.len();
        if matches!(part.kind, Kind::Fold(_)) {
            home = self.outermost_reduced(parts, classes, id).unwrap_or(home);
        }
        let mut elsewhere = false;
        for (reader, read) in &self.readers[id.index()] {
            elsewhere |= self.place(*reader).stage != place.stage;
            let shared = self.common(id, *reader);
            let local = |&k: &usize| {
                self.local(parts, classes, id, *reader, read, self.class(place.path[k]))
            };
            home = home.min((0..shared).take_while(local).count());
        }
        let open: Vec<Class> = place.path[..home].iter().map(|&l| self.class(l)).collect();
        let dims: Vec<usize> = (0..part.head.len())
            .filter(|&k| {
                !part.bare(&parts.pool, k) || !open.contains(&classes.of(id, part.head[k]))
            })
            .collect();
        let read = !self.readers[id.index()].is_empty();
        Storage {
            kept: part.output.is_some() || read && (!dims.is_empty() || elsewhere),
            dims,
            home,
            shares: None,
        }
    }

    /// Whether a read is at the element of v that the reader's loop over `class` is at.
    fn local(
        &self,
        parts: &Parts,
        classes: &Classes,
        v: PartId,
        u: PartId,
        read: &Read,
        class: Class,
    ) -> bool {
        let part = parts.part(v);
        (0..part.head.len()).any(|k| {
            part.bare(&parts.pool, k) && self.at_own(parts, classes, (v, k), u, read, class)
        })
    }

    /// Whether a read is at one position where the reader's loop over `class` is.
    fn at_own(
        &self,
        parts: &Parts,
        classes: &Classes,
        (v, position): (PartId, usize),
        u: PartId,
        read: &Read,
        class: Class,
    ) -> bool {
        classes.of(v, parts.part(v).head[position]) == class
            && matches!(parts.pool.node(read.index[position]), Node::Axis(a)
                if classes.of(u, *a) == class && !parts.part(u).whole(*a))
    }

    /// Maps that are better computed again where they are read.
    pub fn recompute(
        &self,
        parts: &Parts,
        classes: &Classes,
        recurrences: &Recurrences,
    ) -> Vec<PartId> {
        let set = |id: PartId| -> Vec<Class> {
            let mut all: Vec<Class> = parts
                .part(id)
                .head
                .iter()
                .map(|&a| classes.of(id, a))
                .collect();
            all.sort_unstable();
            all
        };
        let mut known: Vec<Vec<Class>> = classes.inputs.clone();
        let operands = parts.operands();
        let ids = parts.ids();
        known.extend(
            ids.iter()
                .filter(|&&id| {
                    let part = parts.part(id);
                    !part.is_map() || part.output.is_some() || recurrences.carried(id)
                })
                .map(|&id| set(id)),
        );
        let mut out = vec![];
        for &id in &ids {
            let (part, storage) = (parts.part(id), &self.storage[id.index()]);
            if !part.is_map() || part.output.is_some() || !storage.kept || storage.dims.is_empty() {
                continue;
            }
            if operands.contains(&id) || recurrences.carried(id) {
                continue;
            }
            let axes = set(id);
            // What belongs to the steps of a recurrence is kept with what they carry.
            let belongs = |&m: &PartId| {
                recurrences.carried(m)
                    && recurrences.group(m) == recurrences.group(id)
                    && axes.iter().all(|c| set(m).contains(c))
            };
            if recurrences.group(id).is_some() && ids.iter().any(belongs) {
                continue;
            }
            let fits = known.iter().any(|k| axes.iter().all(|c| k.contains(c)));
            let crosses = storage.home == 0
                && parts.pool.weight(part.body) < KEEP
                && !self.could_share(parts, classes, id);
            if !fits || crosses {
                out.push(id);
            }
        }
        out
    }

    /// Parts that `Once` stages read: themselves, or by the parts that are substituted into what is computed there.
    pub fn read_once(&self, substituted: &[PartId]) -> Vec<PartId> {
        let mut out = vec![];
        let mut todo: Vec<PartId> = vec![];
        let ids = || (0..self.readers.len()).map(|k| PartId(k as u32));
        let once = |&id: &PartId| {
            let mut readers = self.readers[id.index()].iter();
            readers.any(|(r, _)| self.place(*r).path.is_empty())
        };
        todo.extend(ids().filter(once));
        while let Some(id) = todo.pop() {
            if out.contains(&id) {
                continue;
            }
            out.push(id);
            if substituted.contains(&id) {
                let reads = |r: &PartId| self.readers[r.index()].iter().any(|(u, _)| *u == id);
                todo.extend(ids().filter(reads));
            }
        }
        out
    }

    fn could_share(&self, parts: &Parts, classes: &Classes, id: PartId) -> bool {
        parts
            .ids()
            .into_iter()
            .any(|o| parts.part(o).output.is_some() && self.may_share(parts, classes, id, o))
    }

    /// Lets kept maps live in outputs that are written when they are no longer read.
    pub fn share(&mut self, parts: &Parts, classes: &Classes) {
        let ids = parts.ids();
        let mut taken: Vec<PartId> = vec![];
        for &id in &ids {
            let storage = &self.storage[id.index()];
            if !storage.kept || storage.dims.is_empty() || parts.part(id).output.is_some() {
                continue;
            }
            let found = ids.iter().find(|o| {
                parts.part(**o).output.is_some()
                    && !taken.contains(o)
                    && self.may_share(parts, classes, id, **o)
            });
            if let Some(&o) = found {
                taken.push(o);
                self.lives_in(parts, id, o);
            }
        }
        // What is left may live in what is kept later: a matrix product in the map that is made of it.
        for &id in &ids {
            let storage = &self.storage[id.index()];
            let alone = storage.shares.is_none() && !taken.contains(&id);
            if !alone || !storage.kept || storage.home > 0 || parts.part(id).output.is_some() {
                continue;
            }
            let found = ids.iter().find(|o| {
                let host = &self.storage[o.index()];
                host.kept
                    && host.home == 0
                    && host.shares.is_none()
                    && parts.part(**o).output.is_none()
                    && !taken.contains(o)
                    && self.may_share(parts, classes, id, **o)
            });
            if let Some(&o) = found {
                taken.push(o);
                self.lives_in(parts, id, o);
            }
        }
    }

    fn lives_in(&mut self, parts: &Parts, id: PartId, host: PartId) {
        let all = (0..parts.part(id).head.len()).collect();
        let storage = &mut self.storage[id.index()];
        storage.shares = Some(host);
        storage.dims = all;
    }

    fn may_share(&self, parts: &Parts, classes: &Classes, v: PartId, o: PartId) -> bool {
        let (part, output) = (parts.part(v), parts.part(o));
        let whole = output.output.as_ref().is_none_or(|o| {
            let mut cells = o.cell.iter().enumerate();
            cells.all(|(k, &c)| c == Cell::Head(k))
        });
        let all = |id: PartId| {
            parts
                .part(id)
                .head
                .iter()
                .map(|&a| classes.of(id, a))
                .collect::<Vec<Class>>()
        };
        let axes = all(v);
        if v == o
            || self.wide[v.index()] != self.wide[o.index()]
            || !(part.is_map() || part.is_gemm())
            || part.ty != Type::Real
            || !output.is_map()
            || axes.is_empty()
            || axes != all(o)
            || !whole
            || self.place(v).order >= self.place(o).order
        {
            return false;
        }
        let target = self.place(o);
        self.readers[v.index()].iter().all(|(m, read)| {
            let place = self.place(*m);
            // The classes of v are all different, as those of o are: also where it is no loop of its own.
            let positions = 0..axes.len();
            let local = |c: Class| {
                let own = |k| self.at_own(parts, classes, (v, k), *m, read, c);
                positions.clone().any(own)
            };
            if place.stage == target.stage && place.path == target.path {
                return place.order <= target.order && axes.iter().all(|&c| local(c));
            }
            let shared = self.common(*m, o);
            place.order < target.order
                && target.path[..shared]
                    .iter()
                    .all(|&l| axes.contains(&self.class(l)) && local(self.class(l)))
        })
    }
}
