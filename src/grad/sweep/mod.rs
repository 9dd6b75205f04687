//! The reverse sweep: definitions from the value back to the inputs, each body as a DAG from its root to its reads.
//!
//! `u_bar`'s body is the sum of its contributions; it is complete when u's turn comes. A recurrence needs no rule of its
//! own: the adjoints of a group are made before any of its members is walked, and their bodies are closed after all are.
//!
//! Invariant: guards stay a list beside the product until a contribution is made, `if g then adj * p` and never
//! `(if g then adj else 0) * p`, since p may be NaN where g is false.

mod poles;
mod reductions;

use super::activity::{self, Activity};
use super::brackets::{Contribution, Places};
use super::conjunction::conjunction;
use super::partials::partials;
use super::support::Support;
use crate::ir::{AxisId, Body, ExprId, Node, Op, Program, TensorId, Type};
use crate::rewrite::index;
use crate::rewrite::product::is_closed;
use crate::rewrite::stabilize::sign::Ranges;
use reductions::Reduction;
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::BinaryHeap;
use std::rc::Rc;

/// The adjoint of a node: for each list of guards, the part that holds under them.
type Adjoint = Vec<(Rc<[ExprId]>, ExprId)>;

/// How many lists of guards a node keeps apart before they are merged into one.
const MOST_GUARDS: usize = 8;

pub struct Sweep<'a> {
    program: &'a mut Program,
    active: FxHashSet<TensorId>,
    bars: FxHashMap<TensorId, TensorId>,
    contributions: FxHashMap<TensorId, Vec<ExprId>>,
    places: Places,
    /// Definitions made for partials; each is shared by all of its uses.
    made: FxHashMap<ExprId, ExprId>,
    /// Whether a node depends on an active read.
    depends: FxHashMap<ExprId, bool>,
    ranges: Ranges,
}

/// The adjoints of `wrt` for the output `of` (seeded with 1 at each of its elements): definitions over axes like theirs.
/// What `of` does not depend on has none.
pub fn adjoints(
    program: &mut Program,
    of: TensorId,
    wrt: &[TensorId],
) -> FxHashMap<TensorId, TensorId> {
    let Activity {
        active,
        groups,
        recurrent,
    } = Activity::of(program, of, wrt);
    let mut sweep = Sweep {
        program,
        active,
        bars: FxHashMap::default(),
        contributions: FxHashMap::default(),
        places: Places::default(),
        made: FxHashMap::default(),
        depends: FxHashMap::default(),
        ranges: Ranges::default(),
    };
    if sweep.active.contains(&of) {
        let one = sweep.program.real(1.0);
        let bar = sweep.bar(of);
        sweep.contributions.entry(bar).or_default().push(one);
    }
    for group in groups {
        if !group.iter().any(|t| sweep.bars.contains_key(t)) {
            continue;
        }
        if recurrent.contains(&group[0]) {
            for &t in &group {
                sweep.bar(t);
            }
            for &t in &group {
                sweep.walk(t);
            }
            for &t in &group {
                sweep.close(t);
            }
        } else {
            sweep.close(group[0]);
            if !wrt.contains(&group[0]) && !sweep.is_zero(group[0]) {
                sweep.walk(group[0]);
            }
        }
    }
    let bars = sweep.bars;
    wrt.iter()
        .filter_map(|t| Some((*t, *bars.get(t)?)))
        .collect()
}

impl Sweep<'_> {
    /// The adjoint's definition, over fresh axes.
    fn bar(&mut self, t: TensorId) -> TensorId {
        if let Some(&bar) = self.bars.get(&t) {
            return bar;
        }
        let name = format!("{}_bar", self.program.get(t).name);
        let head: Vec<AxisId> = self
            .program
            .get(t)
            .head
            .clone()
            .iter()
            .map(|&a| self.program.fresh(a))
            .collect();
        let zero = self.program.real(0.0);
        let bar = self
            .program
            .define(&name, head, Type::Real, Body::Expr(zero));
        self.bars.insert(t, bar);
        bar
    }

    fn close(&mut self, t: TensorId) {
        let Some(&bar) = self.bars.get(&t) else {
            return;
        };
        let terms = self.contributions.remove(&bar).unwrap_or_default();
        let total = self.program.total(&terms);
        self.program.set_body(bar, Body::Expr(total));
    }

    fn is_zero(&self, t: TensorId) -> bool {
        let body = self.bars.get(&t).and_then(|&bar| self.program.body(bar));
        matches!(body, Some(&Body::Expr(e)) if self.program.is_number(e, 0.0))
    }

    /// Passes the adjoint of `u` on to everything its body reads.
    fn walk(&mut self, u: TensorId) {
        let Some(&Body::Expr(root)) = self.program.body(u) else {
            return;
        };
        let Some(&bar) = self.bars.get(&u) else {
            return;
        };
        let head = self.program.get(u).head.clone();
        // What is known of the adjoint is used, where it is no more than a number over sizes.
        let adjoint = match self.program.body(bar) {
            Some(&Body::Expr(e))
                if is_closed(self.program, e) && !self.program.is_number(e, 0.0) =>
            {
                e
            }
            _ => self.program.read_at(bar, &head),
        };
        let answer = self.program.read_at(u, &head);
        let answered = self.answered(root);
        let index = head.iter().map(|&a| self.program.index_of(a)).collect();
        let region = Region {
            answered,
            answer,
            axes: head,
            support: Rc::new(Support::new(bar, index)),
        };
        self.region(root, Rc::new([]), adjoint, &region);
    }

    /// The node whose value is the definition's own, wherever it is evaluated.
    fn answered(&self, root: ExprId) -> ExprId {
        let mut e = root;
        while let &Node::If {
            then, otherwise, ..
        } = self.program.node(e)
        {
            if self.program.number(otherwise).is_none() {
                return e;
            }
            e = then;
        }
        e
    }

    fn depends(&mut self, e: ExprId) -> bool {
        if let Some(&d) = self.depends.get(&e) {
            return d;
        }
        // Operands first, by ids.
        let (mut seen, mut stack) = (FxHashSet::default(), vec![e]);
        while let Some(e) = stack.pop() {
            if !self.depends.contains_key(&e) && seen.insert(e) {
                stack.extend(activity::active_operands(self.program, e));
            }
        }
        let mut ids: Vec<ExprId> = seen.into_iter().collect();
        ids.sort_unstable();
        for id in ids {
            let reads = matches!(self.program.node(id), Node::Read { tensor, .. } if self.active.contains(tensor));
            let d = reads
                || activity::active_operands(self.program, id)
                    .iter()
                    .any(|o| self.depends[o]);
            self.depends.insert(id, d);
        }
        self.depends[&e]
    }

    /// Sweeps one body, or the operand of a reduction in it, with the adjoint of its root.
    fn region(&mut self, root: ExprId, guards: Rc<[ExprId]>, adjoint: ExprId, region: &Region) {
        let mut pending: FxHashMap<ExprId, Adjoint> = FxHashMap::default();
        let mut queue = BinaryHeap::new();
        self.push(&mut pending, &mut queue, root, &guards, &[], adjoint);
        // Readers have larger ids than operands: the largest left is complete.
        while let Some(e) = queue.pop() {
            let Some(parts) = pending.remove(&e) else {
                continue;
            };
            let parts = self.merge(e, parts);
            for (guards, adjoint) in parts {
                if self.program.is_number(adjoint, 0.0) {
                    continue;
                }
                self.node(e, &guards, adjoint, region, &mut pending, &mut queue);
            }
        }
    }

    fn push(
        &mut self,
        pending: &mut FxHashMap<ExprId, Adjoint>,
        queue: &mut BinaryHeap<ExprId>,
        e: ExprId,
        guards: &Rc<[ExprId]>,
        more: &[ExprId],
        adjoint: ExprId,
    ) {
        if !self.depends(e) {
            return;
        }
        let guards = if more.is_empty() {
            guards.clone()
        } else {
            let mut list = guards.to_vec();
            for &g in more {
                self.program.collect_conjuncts(g, &mut list);
            }
            match conjunction(self.program, &list) {
                Some(list) => list.into(),
                None => return,
            }
        };
        let parts = pending.entry(e).or_insert_with(|| {
            queue.push(e);
            vec![]
        });
        match parts.iter_mut().find(|(g, _)| *g == guards) {
            Some((_, sum)) => *sum = self.program.total(&[*sum, adjoint]),
            None => parts.push((guards, adjoint)),
        }
    }

    /// (g) A read whose index is computed from data contributes once, and a node has a bounded number of parts: what
    /// the lists of guards share stays beside, the rest is a condition inside.
    fn merge(&mut self, e: ExprId, parts: Adjoint) -> Adjoint {
        let gather = match self.program.node(e) {
            Node::Read {
                index,
                default: None,
                ..
            } => {
                let index = index.clone();
                index.iter().any(|&i| !is_affine(self.program, i))
            }
            _ => false,
        };
        if parts.len() < 2 || !gather && parts.len() <= MOST_GUARDS {
            return parts;
        }
        let common: Vec<ExprId> = parts[0]
            .0
            .iter()
            .copied()
            .filter(|g| parts.iter().all(|(list, _)| list.contains(g)))
            .collect();
        let zero = self.program.real(0.0);
        let (mut terms, mut any) = (vec![], self.program.bool(false));
        for (guards, adjoint) in parts {
            let rest: Vec<ExprId> = guards
                .iter()
                .copied()
                .filter(|g| !common.contains(g))
                .collect();
            let rest = self.program.all_of(&rest);
            terms.push(self.program.iff(rest, adjoint, zero));
            any = self.program.or(any, rest);
        }
        let sum = self.program.total(&terms);
        let mut guards = common;
        if self.program.truth(any).is_none() {
            guards.push(any);
        }
        vec![(guards.into(), sum)]
    }

    /// Passes the adjoint of one node on to its operands.
    fn node(
        &mut self,
        e: ExprId,
        guards: &Rc<[ExprId]>,
        adjoint: ExprId,
        region: &Region,
        pending: &mut FxHashMap<ExprId, Adjoint>,
        queue: &mut BinaryHeap<ExprId>,
    ) {
        match self.program.node(e).clone() {
            Node::Read {
                tensor,
                index,
                default,
            } => {
                if self.active.contains(&tensor) {
                    self.contribute(tensor, &index, default.is_some(), adjoint, guards, region);
                }
                if let Some(d) = default {
                    let inside = self.in_range(tensor, &index);
                    let inside = self.program.all_of(&inside);
                    let outside = self.program.not(inside);
                    self.push(pending, queue, d, guards, &[outside], adjoint);
                }
            }
            Node::If {
                condition,
                then,
                otherwise,
            } => {
                let not = self.program.not(condition);
                self.push(pending, queue, then, guards, &[condition], adjoint);
                self.push(pending, queue, otherwise, guards, &[not], adjoint);
            }
            Node::Op(op, operands) => {
                let answer = region.answer_of(e);
                for (i, &operand) in operands.iter().enumerate() {
                    if !self.depends(operand) {
                        continue;
                    }
                    for summand in partials(self.program, op, &operands, i, answer) {
                        // A factor 0 is a structural zero, whatever the adjoint is.
                        if summand
                            .times
                            .is_some_and(|f| self.program.is_number(f, 0.0))
                        {
                            continue;
                        }
                        let part = summand.apply(self.program, adjoint);
                        let mut more = summand.guards.clone();
                        // In a reduction a condition would keep a product from being one of matrices.
                        let own = region.axes.len() == region.support.rank();
                        if self.singular(op, &operands, &summand)
                            || own && op == Op::Mul && self.has_pole(summand.times)
                        {
                            let at = summand.axes(self.program);
                            let all = region.support.conditions(self.program).to_vec();
                            // Along the axes that it lacks a partial is the same where the condition holds.
                            more.extend(all.into_iter().filter(|&c| {
                                let free = self.program.free(c);
                                free.is_empty() || free.iter().any(|a| at.contains(a))
                            }));
                        }
                        self.push(pending, queue, operand, guards, &more, part);
                    }
                }
            }
            Node::Reduce {
                op,
                axes,
                guard,
                body,
            } => self.reduction(
                Reduction {
                    op,
                    axes: &axes,
                    guard,
                    body,
                    answer: region.answer_of(e),
                },
                guards,
                adjoint,
                region,
            ),
            Node::Real(_)
            | Node::Int(_)
            | Node::Bool(_)
            | Node::Axis(_)
            | Node::Size(_)
            | Node::Param(_) => {}
        }
    }

    fn in_range(&mut self, tensor: TensorId, index: &[ExprId]) -> Vec<ExprId> {
        let head = self.program.get(tensor).head.clone();
        let mut conditions = vec![];
        for (&i, &a) in index.iter().zip(&head) {
            let extent = self.program.extent_of(a);
            conditions.extend(index::range_conditions(self.program, i, extent));
        }
        conditions
    }

    fn contribute(
        &mut self,
        tensor: TensorId,
        index: &[ExprId],
        has_default: bool,
        adjoint: ExprId,
        guards: &[ExprId],
        region: &Region,
    ) {
        let bar = self.bar(tensor);
        let head = self.program.get(bar).head.clone();
        let mut guards = guards.to_vec();
        if has_default {
            for c in self.in_range(tensor, index) {
                self.program.collect_conjuncts(c, &mut guards);
            }
        }
        let contribution =
            Contribution::new(self.program, index, &head, &region.axes, guards, adjoint);
        let term = contribution.eliminate(self.program, &mut self.places);
        if !self.program.is_number(term, 0.0) {
            self.contributions.entry(bar).or_default().push(term);
        }
    }
}

/// The part of a body that one sweep covers.
struct Region {
    /// The node whose value `answer` reads.
    answered: ExprId,
    answer: ExprId,
    /// The head of the reader and the axes of open reductions.
    axes: Vec<AxisId>,
    /// Where the reader's adjoint is not 0.
    support: Rc<Support>,
}

impl Region {
    fn answer_of(&self, e: ExprId) -> ExprId {
        if e == self.answered { self.answer } else { e }
    }
}

/// Linear in axes and sizes alone.
fn is_affine(program: &Program, index: ExprId) -> bool {
    index::linear(program, index).is_some_and(|l| {
        l.terms
            .iter()
            .all(|&(a, _)| matches!(program.node(a), Node::Axis(_) | Node::Size(_)))
    })
}
