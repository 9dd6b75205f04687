//! An expensive expression that stands in several places gets a name, also where the places differ in axes.

use super::equal::Pool;
use super::inline::{op_weight, weight};
use super::{Memo, Substitution, index, keep_span, live, map_operands, recurrent, substitute};
use crate::ir::{AxisId, Body, ExprId, Node, Op, Program, TensorId, Type, Visited};
use rustc_hash::{FxHashMap, FxHashSet};

/// From this weight on an expression is worth a name.
const WORTH: usize = 6;

/// An expression up to the names of its axes: a number for its form, and its free axes in order of first occurrence.
/// Two expressions with one form are equal once the axes of one are put for those of the other.
struct Form {
    key: u32,
    axes: Vec<AxisId>,
    /// Neither a reduction nor a read that may miss stands in it.
    plain: bool,
    /// Made of numbers, sizes and hyperparameters: computed once for a call in any case.
    closed: bool,
}

/// Forms of expressions, made from those of their operands, so that a body costs no more than its size.
#[derive(Default)]
struct Forms {
    of: FxHashMap<ExprId, Form>,
    /// A node with the keys of its operands, and where their axes are among its own.
    keys: FxHashMap<(Node, Vec<u16>), u32>,
    pool: Pool,
}

impl Forms {
    fn add(&mut self, program: &mut Program, e: ExprId) {
        if self.of.contains_key(&e) {
            return;
        }
        let node = program.node(e).clone();
        let form = match node {
            Node::Axis(a) => {
                let extent = self.pool.extent(program, program.extent_of(a));
                let key = self.key(Node::Size(extent), vec![u16::MAX]);
                Form {
                    key,
                    axes: vec![a],
                    plain: true,
                    closed: false,
                }
            }
            Node::Reduce { .. } => {
                let axes = program.free(e).to_vec();
                let key = self.key(node, vec![]);
                Form {
                    key,
                    axes,
                    plain: false,
                    closed: false,
                }
            }
            node => self.compose(program, e, node),
        };
        self.of.insert(e, form);
    }

    fn compose(&mut self, program: &mut Program, e: ExprId, node: Node) -> Form {
        let mut operands = vec![];
        program.for_children(e, |c| operands.push(c));
        let (mut axes, mut places): (Vec<AxisId>, Vec<u16>) = (vec![], vec![]);
        let (mut plain, mut closed) = (true, true);
        for c in &operands {
            let form = &self.of[c];
            plain &= form.plain;
            closed &= form.closed;
            for a in &form.axes {
                let place = axes.iter().position(|x| x == a).unwrap_or_else(|| {
                    axes.push(*a);
                    axes.len() - 1
                });
                places.push(place as u16);
            }
        }
        match &node {
            Node::Read {
                tensor,
                index,
                default,
            } => {
                closed = false;
                let (tensor, index) = (*tensor, index.clone());
                if default.is_none() && plain {
                    let head = program.get(tensor).head.clone();
                    plain = index.iter().zip(&head).all(|(&i, &a)| {
                        let extent = program.extent_of(a);
                        index::in_range(program, &[], i, extent)
                    });
                }
            }
            Node::Op(Op::IntDiv | Op::Mod, o) => {
                plain &= matches!(program.node(o[1]), Node::Int(k) if *k != 0);
            }
            Node::Op(Op::LogSumExp, _) => plain = false,
            _ => {}
        }
        let node = map_operands(&node, |c| ExprId(self.of[&c].key));
        let key = self.key(node, places);
        Form {
            key,
            axes,
            plain,
            closed,
        }
    }

    fn key(&mut self, node: Node, places: Vec<u16>) -> u32 {
        let next = self.keys.len() as u32;
        *self.keys.entry((node, places)).or_insert(next)
    }
}

/// Where an expression occurs.
struct Place {
    e: ExprId,
    axes: Vec<AxisId>,
}

/// Names what occurs at two places or more. A definition that is exactly the expression serves as the name.
pub fn share(program: &mut Program, outputs: &[TensorId]) {
    let order = live(program, outputs);
    let loops = recurrent(program, &order);
    let mut forms = Forms::default();
    let mut keys: FxHashMap<ExprId, (u32, Vec<AxisId>)> = FxHashMap::default();
    let mut first: FxHashMap<u32, Place> = FxHashMap::default();
    let mut bodies = vec![];
    for &t in &order {
        let nodes = program.reachable(&program.roots(t));
        for &e in &nodes {
            forms.add(program, e);
            if !keys.contains_key(&e) && is_candidate(program, e, &forms.of[&e]) {
                let Form { key, axes, .. } = &forms.of[&e];
                first.entry(*key).or_insert_with(|| Place {
                    e,
                    axes: axes.clone(),
                });
                keys.insert(e, (*key, axes.clone()));
            }
        }
        bodies.push(nodes);
    }
    if keys.is_empty() {
        return;
    }
    // What an expression is an operand of. Equal readers count once: then the reader is what is shared.
    let mut readers: FxHashMap<u32, FxHashSet<(Reader, usize)>> = FxHashMap::default();
    for (&t, nodes) in order.iter().zip(&bodies) {
        for r in program.roots(t) {
            if let Some((key, _)) = keys.get(&r) {
                readers
                    .entry(*key)
                    .or_default()
                    .insert((Reader::Body(t), 0));
            }
        }
        for &e in nodes {
            let reader = keys
                .get(&e)
                .map_or(Reader::Node(e), |(key, _)| Reader::Form(*key));
            let mut slot = 0;
            program.for_children(e, |c| {
                slot += 1;
                if let Some((key, _)) = keys.get(&c) {
                    readers.entry(*key).or_default().insert((reader, slot));
                }
            });
        }
    }
    let chosen: FxHashSet<u32> = readers
        .iter()
        .filter(|(_, r)| r.len() > 1)
        .map(|(k, _)| *k)
        .collect();
    if chosen.is_empty() {
        return;
    }
    let mut made: FxHashMap<u32, TensorId> = FxHashMap::default();
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

/// What an expression is an operand of.
#[derive(PartialEq, Eq, Hash, Clone, Copy)]
enum Reader {
    Node(ExprId),
    Form(u32),
    Body(TensorId),
}

struct Sharing {
    keys: FxHashMap<ExprId, (u32, Vec<AxisId>)>,
    chosen: FxHashSet<u32>,
    made: FxHashMap<u32, TensorId>,
    first: FxHashMap<u32, Place>,
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
        memo.reserve(ids.len());
        let mut answer = root;
        for e in ids {
            let new = if self.is_chosen(e) && !(own && e == root) {
                self.read(program, e, memo)
            } else {
                let node = map_operands(program.node(e), |c| memo[&c]);
                program.make(node)
            };
            keep_span(program, e, new);
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

fn is_candidate(program: &Program, e: ExprId, form: &Form) -> bool {
    if program.ty(e) != Type::Real || form.closed || !form.plain {
        return false;
    }
    match program.node(e) {
        Node::Op(Op::StopGradient, _) => {}
        Node::Op(op, _) if op_weight(*op) > 0 => {}
        Node::If { .. } => {}
        _ => return false,
    }
    weight(program, e, WORTH) >= WORTH
}
