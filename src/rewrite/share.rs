//! An expensive expression that stands in several places gets a name, also where the places differ in axes.

use super::equal::Pool;
use super::inline::{op_weight, weight};
use super::name::always_defined;
use super::{Memo, Substitution, live, map_operands, recurrent, substitute};
use crate::ir::{AxisId, Body, ExprId, Node, Op, Program, TensorId, Type, Visited};
use rustc_hash::{FxHashMap, FxHashSet};

/// From this weight on an expression is worth a name.
const WORTH: usize = 6;

/// Where an expression occurs.
struct Place {
    e: ExprId,
    axes: Vec<AxisId>,
}

/// Names what occurs at two places or more. A definition that is exactly the expression serves as the name.
pub fn share(program: &mut Program, outputs: &[TensorId]) {
    let order = live(program, outputs);
    let loops = recurrent(program, &order);
    let mut pool = Pool::default();
    let mut keys: FxHashMap<ExprId, (ExprId, Vec<AxisId>)> = FxHashMap::default();
    let mut first: FxHashMap<ExprId, Place> = FxHashMap::default();
    let mut bodies = vec![];
    for &t in &order {
        let nodes = program.reachable(&program.roots(t));
        for &e in &nodes {
            if !keys.contains_key(&e) && is_candidate(program, e) {
                let axes = free_in_order(program, e);
                let key = pool.canonical(program, e, &axes);
                first.entry(key).or_insert_with(|| Place {
                    e,
                    axes: axes.clone(),
                });
                keys.insert(e, (key, axes));
            }
        }
        bodies.push(nodes);
    }
    if keys.is_empty() {
        return;
    }
    // What an expression is an operand of. Equal readers count once: then the reader is what is shared.
    let mut readers: FxHashMap<ExprId, FxHashSet<(ExprId, usize)>> = FxHashMap::default();
    for (&t, nodes) in order.iter().zip(&bodies) {
        for r in program.roots(t) {
            if let Some((key, _)) = keys.get(&r) {
                let root = ExprId(u32::MAX - t.0);
                readers.entry(*key).or_default().insert((root, 0));
            }
        }
        for &e in nodes {
            let reader = keys.get(&e).map_or(e, |(key, _)| *key);
            let mut slot = 0;
            program.for_children(e, |c| {
                slot += 1;
                if let Some((key, _)) = keys.get(&c) {
                    readers.entry(*key).or_default().insert((reader, slot));
                }
            });
        }
    }
    let chosen: FxHashSet<ExprId> = readers
        .iter()
        .filter(|(_, r)| r.len() > 1)
        .map(|(k, _)| *k)
        .collect();
    if chosen.is_empty() {
        return;
    }
    let mut made: FxHashMap<ExprId, TensorId> = FxHashMap::default();
    for &t in &order {
        // A definition that is the expression already.
        let Some(&Body::Expr(e)) = program.body(t) else {
            continue;
        };
        if let Some((key, axes)) = keys.get(&e)
            && chosen.contains(key)
            && !outputs.contains(&t)
            && !loops.contains(&t)
            && *axes == program.get(t).head
        {
            made.entry(*key).or_insert(t);
        }
    }
    let mut sharing = Sharing {
        keys,
        chosen,
        made,
        first,
    };
    let mut memo = Memo::default();
    for t in order {
        sharing.definition(program, t, &mut memo);
    }
}

struct Sharing {
    keys: FxHashMap<ExprId, (ExprId, Vec<AxisId>)>,
    chosen: FxHashSet<ExprId>,
    made: FxHashMap<ExprId, TensorId>,
    first: FxHashMap<ExprId, Place>,
}

impl Sharing {
    fn definition(&mut self, program: &mut Program, t: TensorId, memo: &mut Memo) {
        let Some(body) = program.body(t).cloned() else {
            return;
        };
        let body = match body {
            Body::Expr(e) => {
                let own = self
                    .keys
                    .get(&e)
                    .is_some_and(|(k, _)| self.made.get(k) == Some(&t));
                Body::Expr(self.rebuild(program, e, memo, own))
            }
            Body::Argsort { along, guard, key } => {
                let guard = guard.map(|g| self.rebuild(program, g, memo, false));
                Body::Argsort {
                    along,
                    guard,
                    key: self.rebuild(program, key, memo, false),
                }
            }
            Body::Grad { .. } => body,
        };
        program.set_body(t, body);
    }

    /// `root` with reads for what has a name. With `own`, `root` is itself what is named.
    fn rebuild(
        &mut self,
        program: &mut Program,
        root: ExprId,
        memo: &mut Memo,
        own: bool,
    ) -> ExprId {
        let (mut seen, mut stack) = (Visited::new(program), vec![root]);
        while let Some(e) = stack.pop() {
            if memo.contains_key(&e) && !(own && e == root) || !seen.insert(e) {
                continue;
            }
            let stops = self.is_chosen(e) && !(own && e == root);
            if !stops {
                program.for_children(e, |c| stack.push(c));
            }
        }
        let ids = seen.sorted();
        let mut answer = root;
        for e in ids {
            let new = if self.is_chosen(e) && !(own && e == root) {
                self.read(program, e, memo)
            } else {
                let node = map_operands(program.node(e), |c| memo[&c]);
                program.make(node)
            };
            if own && e == root {
                answer = new;
            } else {
                memo.insert(e, new);
            }
        }
        if own { answer } else { memo[&root] }
    }

    fn is_chosen(&self, e: ExprId) -> bool {
        self.keys
            .get(&e)
            .is_some_and(|(k, _)| self.chosen.contains(k))
    }

    fn read(&mut self, program: &mut Program, e: ExprId, memo: &mut Memo) -> ExprId {
        let (key, axes) = self.keys[&e].clone();
        let tensor = match self.made.get(&key) {
            Some(&t) => t,
            None => {
                let place = &self.first[&key];
                let (body, from) = (place.e, place.axes.clone());
                let head: Vec<AxisId> = from.iter().map(|&a| program.fresh(a)).collect();
                let map: Substitution = from
                    .iter()
                    .zip(&head)
                    .map(|(&a, &b)| (a, program.index_of(b)))
                    .collect();
                // What is shared inside it is shared there too.
                let body = self.rebuild(program, body, memo, true);
                let body = substitute(program, body, &map);
                let ty = program.ty(body);
                let t = program.define("shared", head, ty, Body::Expr(body));
                self.made.insert(key, t);
                t
            }
        };
        program.read_at(tensor, &axes)
    }
}

fn is_candidate(program: &mut Program, e: ExprId) -> bool {
    if program.ty(e) != Type::Real || program.free(e).is_empty() && is_closed(program, e) {
        return false;
    }
    match program.node(e) {
        Node::Op(Op::StopGradient, _) => {}
        Node::Op(op, _) if op_weight(*op) > 0 && *op != Op::LogSumExp => {}
        Node::If { .. } => {}
        _ => return false,
    }
    // Cheap to see first.
    if weight(program, e, WORTH) < WORTH {
        return false;
    }
    let holds_reduction = program.reachable(&[e]).iter().any(|&n| {
        matches!(
            program.node(n),
            Node::Reduce { .. } | Node::Op(Op::LogSumExp, _)
        )
    });
    !holds_reduction && always_defined(program, e)
}

/// Made of numbers, sizes and hyperparameters: computed once for a call in any case.
fn is_closed(program: &Program, e: ExprId) -> bool {
    program
        .reachable(&[e])
        .iter()
        .all(|&n| !matches!(program.node(n), Node::Read { .. } | Node::Reduce { .. }))
}

/// Free axes in order of first occurrence from the left, the same for equal expressions.
fn free_in_order(program: &Program, e: ExprId) -> Vec<AxisId> {
    let free = program.free(e).clone();
    if free.len() < 2 {
        return free.to_vec();
    }
    let (mut out, mut seen, mut stack) = (vec![], FxHashSet::default(), vec![e]);
    while let Some(e) = stack.pop() {
        if !seen.insert(e) {
            continue;
        }
        if let Node::Axis(a) = program.node(e)
            && free.contains(a)
            && !out.contains(a)
        {
            out.push(*a);
        }
        let mut children = vec![];
        program.for_children(e, |c| children.push(c));
        stack.extend(children.into_iter().rev());
    }
    out
}
