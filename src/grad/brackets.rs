//! Brackets: a read `v[i1..ik]` adds `sum[S](a [i1 == A1] .. [ik == Ak])` to `v_bar[A...]`, and every bracket that can be
//! solved for one of the summed axes S goes (rule 1 of the calculus).

use super::conjunction::{conjunction, plain};
use crate::ir::{AxisId, Body, ExprId, Node, Op, Program, TensorId, Type};
use crate::rewrite::{Substitution, index, substitute, sums};

/// One contribution on its way to an adjoint.
pub struct Contribution {
    /// `[index == position]`.
    brackets: Vec<(ExprId, AxisId)>,
    /// The axes summed: the head of the reader and the reductions open around the read.
    axes: Vec<AxisId>,
    /// Where a substituted position must lie; stands before the guards, which read at it.
    ranges: Vec<ExprId>,
    guards: Vec<ExprId>,
    term: ExprId,
}

impl Contribution {
    /// `index[k]` is the index at position k, whose adjoint has the axis `head[k]` there.
    ///
    /// An axis that several positions determine is determined by the one of its own name: `r[I, J]` that reads
    /// `r[J - 1, J - 1]` goes back along J, and so must its adjoint.
    pub fn new(
        program: &Program,
        index: &[ExprId],
        head: &[AxisId],
        axes: &[AxisId],
        guards: Vec<ExprId>,
        term: ExprId,
    ) -> Contribution {
        let brackets = index.iter().copied().zip(head.iter().copied());
        let own = |&(i, a): &(ExprId, AxisId)| {
            let mut same = axes.iter().filter(|&&s| is_namesake(program, s, a));
            same.any(|&s| program.is_free(s, i))
        };
        let (mut first, rest): (Vec<_>, Vec<_>) = brackets.partition(own);
        first.extend(rest);
        Contribution {
            brackets: first,
            axes: axes.to_vec(),
            ranges: vec![],
            guards,
            term,
        }
    }

    /// The expression over the adjoint's head, zero where nothing arrives. `places` makes inverses of permutations.
    pub fn eliminate(mut self, program: &mut Program, places: &mut Places) -> ExprId {
        self.bare(program);
        while self.bare(program)
            || self.linear(program)
            || self.permutation(program, places)
            || self.guard(program)
        {}
        self.reduce_first(program);
        self.close(program)
    }

    /// (a) `s == A` with s summed: s := A, where A is a position of s. All at once.
    fn bare(&mut self, program: &mut Program) -> bool {
        let mut map = Substitution::default();
        let mut ranges = vec![];
        let brackets = std::mem::take(&mut self.brackets);
        for &(i, a) in &brackets {
            let axis = match *program.node(i) {
                Node::Axis(s) if self.axes.contains(&s) && !map.contains_key(&s) => Some(s),
                _ => None,
            };
            let Some(s) = axis.filter(|&s| !determined_elsewhere(program, &brackets, s, a)) else {
                self.brackets.push((i, a));
                continue;
            };
            let value = program.index_of(a);
            map.insert(s, value);
            let (from, to) = (program.extent_of(a), program.extent_of(s));
            if !index::same_extent(program, from, to) {
                ranges.extend(index::range_conditions(program, value, to));
            }
        }
        self.put(program, &map, ranges);
        !map.is_empty()
    }

    /// (b) an index linear in a summed axis.
    fn linear(&mut self, program: &mut Program) -> bool {
        for k in 0..self.brackets.len() {
            let (i, a) = self.brackets[k];
            let target = program.index_of(a);
            let Some((axis, value, exact)) = index::solve(program, i, target, &self.axes) else {
                continue;
            };
            self.brackets.remove(k);
            let mut ranges: Vec<ExprId> = exact.into_iter().collect();
            let extent = program.extent_of(axis);
            ranges.extend(index::range_conditions(program, value, extent));
            self.put(program, &Substitution::from_iter([(axis, value)]), ranges);
            return true;
        }
        false
    }

    /// (e) `P[.., s, ..] == A` with P an argsort along s: s := place[.., A, ..], place the inverse of P.
    fn permutation(&mut self, program: &mut Program, places: &mut Places) -> bool {
        for k in 0..self.brackets.len() {
            let (i, a) = self.brackets[k];
            let Node::Read {
                tensor,
                index,
                default: None,
            } = program.node(i)
            else {
                continue;
            };
            let (order, at) = (*tensor, index.clone());
            let Some(along) = program.sorted_along(order) else {
                continue;
            };
            let &Node::Axis(s) = program.node(at[along]) else {
                continue;
            };
            let elsewhere = at
                .iter()
                .enumerate()
                .any(|(j, &x)| j != along && program.is_free(s, x));
            if !self.axes.contains(&s) || elsewhere {
                continue;
            }
            let place = places.inverse(program, order);
            let mut position = at.to_vec();
            position[along] = program.index_of(a);
            let value = program.read(place, &position, None);
            self.brackets.remove(k);
            self.put(program, &Substitution::from_iter([(s, value)]), vec![]);
            return true;
        }
        false
    }

    /// (c) a condition `s == e`: s := e, where e is a position of s.
    fn guard(&mut self, program: &mut Program) -> bool {
        for k in 0..self.guards.len() {
            let Some((axis, value)) = sums::equation(program, self.guards[k], &self.axes) else {
                continue;
            };
            self.guards.remove(k);
            let extent = program.extent_of(axis);
            let ranges = index::range_conditions(program, value, extent);
            self.put(program, &Substitution::from_iter([(axis, value)]), ranges);
            return true;
        }
        false
    }

    fn put(&mut self, program: &mut Program, map: &Substitution, ranges: Vec<ExprId>) {
        if map.is_empty() {
            return;
        }
        self.axes.retain(|a| !map.contains_key(a));
        for (i, _) in &mut self.brackets {
            *i = substitute(program, *i, map);
        }
        for list in [&mut self.ranges, &mut self.guards] {
            let mut new = vec![];
            for &c in list.iter() {
                let c = substitute(program, c, map);
                program.collect_conjuncts(c, &mut new);
            }
            *list = new;
        }
        for r in ranges {
            program.collect_conjuncts(r, &mut self.ranges);
        }
        self.term = substitute(program, self.term, map);
    }

    /// (f') before a scatter, the axes that no remaining bracket has are summed.
    fn reduce_first(&mut self, program: &mut Program) {
        if self.brackets.is_empty() {
            return;
        }
        let brackets = std::mem::take(&mut self.brackets);
        let stays = |a: AxisId| brackets.iter().any(|&(i, _)| program.is_free(a, i));
        let (keep, first): (Vec<AxisId>, Vec<AxisId>) = self.axes.iter().partition(|&&a| stays(a));
        self.brackets = brackets;
        if keep.is_empty() || first.is_empty() {
            return;
        }
        let conditions = [
            std::mem::take(&mut self.ranges),
            std::mem::take(&mut self.guards),
        ]
        .concat();
        let (inner, outer): (Vec<ExprId>, Vec<ExprId>) = conditions
            .into_iter()
            .partition(|&c| first.iter().any(|&a| program.is_free(a, c)));
        let (first, inner, term) = fresh_sum(program, &first, &inner, self.term);
        self.term = sums::sum(program, &first, &inner, term, true);
        self.guards = outer;
        self.axes = keep;
    }

    /// (d) and (f): the brackets that are left are conditions.
    fn close(self, program: &mut Program) -> ExprId {
        // A bracket that can be evaluated anywhere stands first, and implies what else is said of its index.
        let (mut first, mut last) = (vec![], vec![]);
        for (i, a) in self.brackets {
            let a = program.index_of(a);
            let computed = program
                .reachable(&[i])
                .iter()
                .any(|&e| matches!(program.node(e), Node::Read { .. }));
            let (l, r) = if computed { (i, a) } else { (a, i) };
            let bracket = program.compare(Op::Eq, l, r);
            if plain(program, i) {
                first.push(bracket)
            } else {
                last.push(bracket)
            }
        }
        let conditions = if self.axes.is_empty() {
            [first, self.ranges, self.guards, last].concat()
        } else {
            [self.ranges, self.guards, first, last].concat()
        };
        let zero = program.real(0.0);
        let Some(conditions) = conjunction(program, &conditions) else {
            return zero;
        };
        let (axes, conditions, term) = fresh_sum(program, &self.axes, &conditions, self.term);
        sums::sum(program, &axes, &conditions, term, true)
    }
}

/// Whether two axes have one name in the source.
fn is_namesake(program: &Program, a: AxisId, b: AxisId) -> bool {
    program.axes[a.index()].hint == program.axes[b.index()].hint
}

/// Whether `s` is to be determined by another position than `a`, the one of its own name.
fn determined_elsewhere(
    program: &mut Program,
    brackets: &[(ExprId, AxisId)],
    s: AxisId,
    a: AxisId,
) -> bool {
    if is_namesake(program, s, a) {
        return false;
    }
    brackets.iter().any(|&(i, b)| {
        let target = program.index_of(b);
        is_namesake(program, s, b) && index::solve(program, i, target, &[s]).is_some()
    })
}

/// The same sum over fresh axes: the summed ones are also bound elsewhere.
fn fresh_sum(
    program: &mut Program,
    axes: &[AxisId],
    conditions: &[ExprId],
    term: ExprId,
) -> (Vec<AxisId>, Vec<ExprId>, ExprId) {
    let new: Vec<AxisId> = axes.iter().map(|&a| program.fresh(a)).collect();
    let map: Substitution = axes
        .iter()
        .zip(&new)
        .map(|(&a, &b)| (a, program.index_of(b)))
        .collect();
    let conditions = conditions
        .iter()
        .map(|&c| substitute(program, c, &map))
        .collect();
    (new, conditions, substitute(program, term, &map))
}

/// The inverses of permutations, each made once.
#[derive(Default)]
pub struct Places(Vec<(TensorId, TensorId)>);

impl Places {
    /// `place = argsort(order)` over axes of its own.
    fn inverse(&mut self, program: &mut Program, order: TensorId) -> TensorId {
        if let Some(&(_, place)) = self.0.iter().find(|(o, _)| *o == order) {
            return place;
        }
        let known = (0..program.tensors.len() as u32).map(TensorId).find(|&t| {
            program.sorts(t, order) && program.sorted_along(t) == program.sorted_along(order)
        });
        let place = known.unwrap_or_else(|| {
            let head: Vec<AxisId> = program
                .get(order)
                .head
                .clone()
                .iter()
                .map(|&a| program.fresh(a))
                .collect();
            let key = program.read_at(order, &head);
            let key = program.to_real(key);
            let along = head[program.sorted_along(order).unwrap_or(0)];
            program.define(
                "place",
                head,
                Type::Int,
                Body::Argsort {
                    along,
                    guard: None,
                    key,
                },
            )
        });
        self.0.push((order, place));
        place
    }
}
