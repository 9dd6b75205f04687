//! What is known of ints whatever the data are: axes, sizes and shifts of them, and what conditions say about those.

use super::*;

impl Pool {
    /// An int as something and a number added to it.
    fn linear(&self, id: Id) -> (Option<Id>, i64) {
        let (mut at, mut by) = (id, 0i64);
        loop {
            let next = match self.node(at) {
                Node::Int(k) => return (None, by.saturating_add(*k)),
                Node::Op(Op::Add, o) => match (self.node(o[0]), self.node(o[1])) {
                    (_, Node::Int(k)) => by.checked_add(*k).map(|by| (o[0], by)),
                    (Node::Int(k), _) => by.checked_add(*k).map(|by| (o[1], by)),
                    _ => None,
                },
                Node::Op(Op::Sub, o) => match self.node(o[1]) {
                    Node::Int(k) => by.checked_sub(*k).map(|by| (o[0], by)),
                    _ => None,
                },
                _ => None,
            };
            match next {
                Some(next) => (at, by) = next,
                None => return (Some(at), by),
            }
        }
    }

    /// `A + k` as A and k.
    pub fn shift(&self, index: Id) -> Option<(AxisId, i64)> {
        match self.linear(index) {
            (Some(atom), by) => match self.node(atom) {
                Node::Axis(a) => Some((*a, by)),
                _ => None,
            },
            (None, _) => None,
        }
    }

    /// The least that an int can be by its form. Axes and sizes are far from wrapping.
    pub(super) fn least(&self, id: Id) -> Option<i64> {
        match self.linear(id) {
            (None, k) => Some(k),
            (Some(atom), k) if is_small(k) => {
                matches!(self.node(atom), Node::Axis(_) | Node::Size(_)).then_some(k)
            }
            (Some(_), _) => None,
        }
    }

    /// `x <op> y` as `x - y >= 0` or the like: the sides of a comparison so that it reads `larger >= smaller + k`; of
    /// an inequality of ints both ways are given up.
    fn at_least(&self, condition: Id) -> Vec<(Id, Id, i64)> {
        let (op, o, negated) = match self.node(condition) {
            Node::Op(Op::Not, o) => match self.node(o[0]) {
                Node::Op(op, o) if o.len() == 2 => (*op, o, true),
                _ => return vec![],
            },
            Node::Op(op, o) if o.len() == 2 => (*op, o, false),
            _ => return vec![],
        };
        let (a, b) = (o[0], o[1]);
        if self.ty(a) != Type::Int {
            return vec![];
        }
        match (op, negated) {
            (Op::Ge, false) | (Op::Lt, true) => vec![(a, b, 0)],
            (Op::Gt, false) | (Op::Le, true) => vec![(a, b, 1)],
            (Op::Le, false) | (Op::Gt, true) => vec![(b, a, 0)],
            (Op::Lt, false) | (Op::Ge, true) => vec![(b, a, 1)],
            (Op::Eq, false) | (Op::Ne, true) => vec![(a, b, 0), (b, a, 0)],
            // What cannot be less than a number and is not that number is more.
            (Op::Ne, false) | (Op::Eq, true) => {
                let more = |x: Id, y: Id| match (self.least(x), self.node(y)) {
                    (Some(least), Node::Int(k)) if least == *k => Some((x, y, 1)),
                    _ => None,
                };
                more(a, b).or_else(|| more(b, a)).into_iter().collect()
            }
            _ => vec![],
        }
    }

    /// Whether a condition says that `larger >= smaller`, the sides given in linear form; then what it adds to the two.
    fn says(
        &self,
        condition: Id,
        larger: (Option<Id>, i64),
        smaller: (Option<Id>, i64),
    ) -> Option<(i64, i64)> {
        let all = self.at_least(condition).into_iter();
        let mut said = all.map(|(a, b, k)| (self.linear(a), self.linear(b), k));
        said.find_map(|(a, b, k)| {
            // a >= b + k, so larger = a + (its shift) >= b + k + (that) has to reach smaller.
            let gap = larger.1.checked_sub(a.1)?;
            let gap = gap.checked_add(b.1)?.checked_add(k)?;
            (a.0 == larger.0 && b.0 == smaller.0 && gap >= smaller.1).then_some((a.1, b.1))
        })
    }

    /// The conditions among `known` by which an index is in range, `None` if they do not say so.
    pub fn proof(&self, index: Id, extent: ExtentIndex, known: &[Id]) -> Option<Vec<Id>> {
        if self.fits(index, extent) {
            return Some(vec![]);
        }
        let (atom, by) = self.linear(index);
        // Each with what the condition adds to the atom.
        let not_negative: Vec<(Option<Id>, i64)> = match self.least(index) {
            Some(0..) => vec![(None, 0)],
            _ => {
                let low = |&c: &Id| Some((Some(c), self.says(c, (atom, by), (None, 0))?.0));
                known.iter().filter_map(low).collect()
            }
        };
        let (form, next) = (self.node(atom?), by.saturating_add(1));
        let own = match form {
            Node::Axis(a) => self.extent(*a) == extent && by <= 0,
            Node::Size(e) => *e == extent && by < 0,
            _ => false,
        };
        let below: Vec<(Option<Id>, i64)> = if own {
            vec![(None, 0)]
        } else {
            let high = |&c: &Id| match self.extents[extent.0 as usize] {
                Some(n) => Some((Some(c), self.says(c, (None, n as i64), (atom, next))?.1)),
                None => {
                    let (larger, smaller) =
                        self.says(c, (self.size_in(c, extent), 0), (atom, next))?;
                    is_small(larger).then_some((Some(c), smaller))
                }
            };
            known.iter().filter_map(high).collect()
        };
        let far_from_wrapping = matches!(form, Node::Axis(_) | Node::Size(_));
        for &(low, p) in &not_negative {
            for &(high, q) in &below {
                // Other ints may be anything, and adding wraps: the conditions speak of the index itself, or they bound
                // the int so that no sum that matters wraps.
                let bounded =
                    |k: i64| far_from_wrapping || k == 0 || k < 0 && p == 0 || k > 0 && q == 0;
                let exact = p == by && q == by;
                if exact || [by, p, q].into_iter().all(|k| is_small(k) && bounded(k)) {
                    let mut out: Vec<Id> = [low, high].into_iter().flatten().collect();
                    out.dedup();
                    return Some(out);
                }
            }
        }
        None
    }

    /// The size of an extent where a comparison of ints speaks of it.
    fn size_in(&self, condition: Id, extent: ExtentIndex) -> Option<Id> {
        let sides = self.at_least(condition);
        let all = sides.iter().flat_map(|&(a, b, _)| [a, b]);
        let is_size = |x: &Id| matches!(self.node(*x), Node::Size(e) if *e == extent);
        all.filter_map(|x| self.linear(x).0).find(is_size)
    }
}

/// Whether a size or what is bounded by one does not wrap when this is added.
fn is_small(k: i64) -> bool {
    (-(1 << 32)..1 << 32).contains(&k)
}
