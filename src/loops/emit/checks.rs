//! Values apart from their checks. An expression that can fail is emitted under the condition of its place, once for
//! each condition it is needed under; branches within branches that meet again make those conditions double at every
//! level. Then the values come first, under `false`: where nothing can fail. What can fail follows, once each, under all
//! the conditions it is needed under at once; these are made of values that are there.

use super::*;
use rustc_hash::FxHashSet;

/// How often the expressions of one part may be emitted on the average before values and checks go apart.
const EMITTED: usize = 8;

impl Emitter<'_> {
    /// The value of a whole expression, evaluated where `condition` holds (if it can fail).
    pub(super) fn whole(&mut self, id: Id, condition: Option<Id>) -> ValueId {
        if !self.parts.pool.partial(id) || !self.multiplies(id, condition) {
            return self.emit(id, condition);
        }
        let never = self.never();
        let value = self.emit(id, Some(never));
        self.checks(id, condition);
        let key = (id, self.effective(id, condition));
        let depth = self.depth[value.0 as usize];
        if self.values.insert(key, value).is_none() {
            self.scopes[depth].keys.push(key);
        }
        value
    }

    /// The condition of what cannot fail.
    pub(super) fn never(&mut self) -> Id {
        self.parts.pool.mk(Node::Bool(false))
    }

    pub(super) fn is_never(&self, condition: Option<Id>) -> bool {
        condition.is_some_and(|c| matches!(self.parts.pool.node(c), Node::Bool(false)))
    }

    /// Whether the conditions of an expression are many more than what it is made of.
    fn multiplies(&mut self, root: Id, condition: Option<Id>) -> bool {
        let pool = &mut self.parts.pool;
        let all = pool.reachable([root]);
        let partial = all.iter().filter(|&&id| pool.partial(id)).count();
        let mut seen: FxHashSet<(Id, Option<Id>)> = FxHashSet::default();
        let mut todo = vec![(root, condition)];
        while let Some((id, condition)) = todo.pop() {
            if !pool.partial(id) || !seen.insert((id, condition)) {
                continue;
            }
            if seen.len() > EMITTED * partial {
                return true;
            }
            todo.extend(operands(pool, id, condition));
        }
        false
    }

    /// Every check of an expression, under the condition that it is needed.
    fn checks(&mut self, root: Id, condition: Option<Id>) {
        let mut needs: FxHashMap<Id, Option<Id>> = FxHashMap::default();
        needs.insert(root, condition);
        // Operands have smaller ids: whatever needs a node comes before it.
        for id in self.parts.pool.reachable([root]).into_iter().rev() {
            let Some(&need) = needs.get(&id) else {
                continue;
            };
            self.check(id, need);
            for (operand, condition) in operands(&mut self.parts.pool, id, need) {
                if !self.parts.pool.partial(operand) {
                    continue;
                }
                let all = match needs.get(&operand) {
                    Some(&before) => self.either(before, condition),
                    None => condition,
                };
                needs.insert(operand, all);
            }
        }
    }

    /// The check of one expression itself: it is computed again for its own sake, and nobody reads it.
    fn check(&mut self, id: Id, need: Option<Id>) {
        if self.is_never(need) {
            return;
        }
        let never = self.never();
        let (depth, expr) = match self.parts.pool.node(id).clone() {
            Node::Read {
                from,
                index,
                default: None,
            } => {
                let known = self.parts.pool.conjuncts(need);
                if self.proof(from, &index, &known).is_some() {
                    return;
                }
                let when = self.effective(id, need);
                self.load(from, &index, None, (Some(never), when))
            }
            Node::Op(op @ (Op::IntDiv | Op::Mod), o) => {
                let (a, b) = (self.emit(o[0], Some(never)), self.emit(o[1], Some(never)));
                let when = self.effective(id, need);
                let when = when.map(|c| self.emit(c, Some(never)));
                let all: Vec<ValueId> = [Some(a), Some(b), when].into_iter().flatten().collect();
                (self.deepest(&all), Expr::Divide { op, a, b, when })
            }
            Node::Found(x) => {
                let index = self.emit(x, Some(never));
                let when = self.effective(id, need);
                let when = when.map(|c| self.emit(c, Some(never)));
                let all: Vec<ValueId> = [index].into_iter().chain(when).collect();
                (self.deepest(&all), Expr::Found { index, when })
            }
            _ => return,
        };
        if !matches!(expr, Expr::Load { checked: false, .. }) {
            let (ty, span) = (self.parts.pool.ty(id), self.parts.pool.span(id));
            self.define(depth, expr, ty, span);
        }
    }

    /// Where one of two conditions holds.
    fn either(&mut self, a: Option<Id>, b: Option<Id>) -> Option<Id> {
        let (a, b) = (a?, b?);
        let pool = &mut self.parts.pool;
        let split = |pool: &Pool, id: Id| match pool.node(id) {
            Node::Op(Op::And, o) => (Some(o[0]), o[1]),
            _ => (None, id),
        };
        let ((before_a, last_a), (before_b, last_b)) = (split(pool, a), split(pool, b));
        // `a and c or a` is `a`.
        if a == b || before_b == Some(a) {
            return Some(a);
        }
        if before_a == Some(b) {
            return Some(b);
        }
        if before_a != before_b {
            return Some(pool.op(Op::Or, &[a, b]));
        }
        let (not_a, not_b) = (pool.op(Op::Not, &[last_a]), pool.op(Op::Not, &[last_b]));
        if last_a == not_b || last_b == not_a {
            return before_a;
        }
        let last = pool.op(Op::Or, &[last_a, last_b]);
        pool.and(before_a, Some(last))
    }
}

/// What an expression evaluates, and under which conditions if itself under one.
fn operands(pool: &mut Pool, id: Id, condition: Option<Id>) -> Vec<(Id, Option<Id>)> {
    if let Node::Read {
        from,
        index,
        default,
    } = pool.node(id).clone()
    {
        let mut all: Vec<(Id, Option<Id>)> = index.iter().map(|&i| (i, condition)).collect();
        if let Some(d) = default.filter(|&d| pool.partial(d)) {
            let inside = all_in_range(pool, from, &index);
            let not = pool.op(Op::Not, &[inside]);
            all.push((d, pool.and(condition, Some(not))));
        }
        return all;
    }
    let all = pool.conditional_operands(id).into_iter();
    all.map(|(operand, own)| (operand, pool.and(condition, own)))
        .collect()
}

/// That all indices of a read are in range.
pub(super) fn all_in_range(pool: &mut Pool, from: Source, index: &[Id]) -> Id {
    let shape = pool.shape(from).to_vec();
    let mut inside = None;
    for (&i, extent) in index.iter().zip(shape) {
        if !pool.fits(i, extent) {
            let here = crate::loops::normalize::in_range(pool, i, extent);
            inside = pool.and(inside, Some(here));
        }
    }
    inside.unwrap_or_else(|| pool.mk(Node::Bool(true)))
}
