//! What expressions are made of, and expressions made anew from their operands.

use super::*;
use rustc_hash::FxHashSet;

impl Pool {
    /// Every node that `roots` are made of, operands first.
    pub fn reachable(&self, roots: impl IntoIterator<Item = Id>) -> Vec<Id> {
        let mut marks = self.marks.borrow_mut();
        let (mark, stamps) = &mut *marks;
        *mark += 1;
        stamps.resize(self.entries.len(), 0);
        let mut see = |id: Id| std::mem::replace(&mut stamps[id.0 as usize], *mark) != *mark;
        let mut ids: Vec<Id> = Vec::with_capacity(64);
        ids.extend(roots.into_iter().filter(|&r| see(r)));
        let mut next = 0;
        while next < ids.len() {
            for_children(self.node(ids[next]), |c| {
                if see(c) {
                    ids.push(c);
                }
            });
            next += 1;
        }
        ids.sort_unstable();
        ids
    }

    /// What every evaluation of an expression evaluates, whatever its conditions are.
    pub fn certain(&self, root: Id) -> FxHashSet<Id> {
        let mut seen = FxHashSet::default();
        let mut stack = vec![root];
        while let Some(id) = stack.pop() {
            if !seen.insert(id) {
                continue;
            }
            match self.node(id) {
                Node::If(condition, ..) => stack.push(*condition),
                Node::Op(Op::And | Op::Or, operands) => stack.push(operands[0]),
                Node::Read { index, .. } => stack.extend(index.iter()),
                node => for_children(node, |c| stack.push(c)),
            }
        }
        seen
    }

    /// The operands of an expression, each with the condition that decides whether it is evaluated.
    pub fn conditional_operands(&mut self, id: Id) -> Vec<(Id, Option<Id>)> {
        match self.node(id).clone() {
            Node::If(c, a, b) => {
                let not = self.op(Op::Not, &[c]);
                vec![(c, None), (a, Some(c)), (b, Some(not))]
            }
            Node::Op(Op::And, o) => vec![(o[0], None), (o[1], Some(o[0]))],
            Node::Op(Op::Or, o) => {
                let not = self.op(Op::Not, &[o[0]]);
                vec![(o[0], None), (o[1], Some(not))]
            }
            node => {
                let mut all = vec![];
                for_children(&node, |c| all.push((c, None)));
                all
            }
        }
    }

    /// Rebuilds `root` from its leaves up; `f` gets each node with its operands already rebuilt.
    pub fn rebuild(&mut self, root: Id, f: &mut dyn FnMut(&mut Pool, Node) -> Id) -> Id {
        let ids = self.reachable([root]);
        let mut new: Vec<Id> = Vec::with_capacity(ids.len());
        for &id in &ids {
            let mut node = self.node(id).clone();
            // Operands are among the smaller ids that are done.
            map_children(&mut node, |c| ids.binary_search(&c).map_or(c, |k| new[k]));
            let made = f(self, node);
            if made != id {
                let span = self.span(id);
                self.locate(made, span);
            }
            new.push(made);
        }
        new.last().copied().unwrap_or(root)
    }

    /// Replaces axes by ints.
    pub fn subst(&mut self, root: Id, map: &[(AxisId, Id)]) -> Id {
        self.subst_at(root, map, None)
    }

    /// As [`Pool::subst`], for a read at `site`: that is where the source says the indices that come in, so a read that gets
    /// one is there.
    pub fn subst_at(&mut self, root: Id, map: &[(AxisId, Id)], site: Option<Span>) -> Id {
        if !self.free(root).iter().any(|a| {
            map.iter()
                .any(|(b, to)| a == b && !matches!(self.node(*to), Node::Axis(c) if c == a))
        }) {
            return root;
        }
        self.rebuild(root, &mut |pool, node| match node {
            Node::Axis(a) => match map.iter().find(|(b, _)| *b == a) {
                Some(&(_, to)) => to,
                None => pool.mk(node),
            },
            Node::Read { ref index, .. } if site.is_some() => {
                let brought = |i: &Id| {
                    !matches!(pool.node(*i), Node::Axis(_)) && map.iter().any(|(_, to)| to == i)
                };
                let here = index.iter().any(brought);
                let read = pool.make(node);
                if here {
                    pool.locate(read, site);
                }
                read
            }
            _ => pool.make(node),
        })
    }

    /// The parts that are read in an expression, each once, in ascending order.
    pub fn parts(&self, root: Id) -> &[PartId] {
        self.entries[root.0 as usize].parts.get_or_init(|| {
            let part = |id: &Id| match self.node(*id) {
                Node::Read {
                    from: Source::Part(p),
                    ..
                } => Some(*p),
                _ => None,
            };
            let mut out: Vec<PartId> = self.reachable([root]).iter().filter_map(part).collect();
            out.sort_unstable();
            out.dedup();
            out.into()
        })
    }

    /// The reads an expression is made of, each once.
    pub fn reads(&self, roots: impl IntoIterator<Item = Id>) -> Vec<Read> {
        let all = self.reachable(roots).into_iter();
        all.filter_map(|id| self.as_read(id)).collect()
    }

    /// The expression as a read, if it is one.
    pub fn as_read(&self, id: Id) -> Option<Read> {
        match self.node(id) {
            Node::Read {
                from,
                index,
                default,
            } => Some(Read {
                from: *from,
                index: index.clone(),
                default: *default,
            }),
            _ => None,
        }
    }

    /// The conjuncts of a condition, in order.
    pub fn conjuncts(&self, condition: Option<Id>) -> Vec<Id> {
        let mut out = vec![];
        let mut stack: Vec<Id> = condition.into_iter().collect();
        while let Some(id) = stack.pop() {
            match self.node(id) {
                Node::Op(Op::And, operands) => stack.extend(operands.iter().rev()),
                _ => out.push(id),
            }
        }
        out
    }
}

/// Calls `f` on each operand.
pub(in crate::loops) fn for_children(node: &Node, mut f: impl FnMut(Id)) {
    match node {
        Node::Real(_)
        | Node::Int(_)
        | Node::Bool(_)
        | Node::Axis(_)
        | Node::Size(_)
        | Node::Param(_) => {}
        Node::Read { index, default, .. } => {
            index.iter().copied().for_each(&mut f);
            default.iter().copied().for_each(&mut f);
        }
        Node::If(a, b, c) => [*a, *b, *c].into_iter().for_each(f),
        Node::Op(_, operands) => operands.iter().copied().for_each(f),
        Node::Finite(x) | Node::Found(x) => f(*x),
    }
}

fn map_children(node: &mut Node, f: impl Fn(Id) -> Id) {
    match node {
        Node::Real(_)
        | Node::Int(_)
        | Node::Bool(_)
        | Node::Axis(_)
        | Node::Size(_)
        | Node::Param(_) => {}
        Node::Read { index, default, .. } => {
            index.iter_mut().for_each(|i| *i = f(*i));
            if let Some(d) = default {
                *d = f(*d);
            }
        }
        Node::If(a, b, c) => {
            *a = f(*a);
            *b = f(*b);
            *c = f(*c);
        }
        Node::Op(_, operands) => operands.iter_mut().for_each(|o| *o = f(*o)),
        Node::Finite(x) | Node::Found(x) => *x = f(*x),
    }
}
