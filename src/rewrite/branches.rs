//! Conditions decide what stands under them: `if c then (if c then a else b) else d` is `if c then a else d`, a default
//! goes where the condition proves the range, and a comparison of indices that it implies is true.

use super::product::is_closed;
use super::{Memo, distinct_binders, index, keep_span, live, locate_new, map_operands, sums};
use crate::ir::{Body, ExprId, Node, Op, Program, ReduceOp, TensorId, Type, Visited};

/// How many nodes one body may cost; branches that share much are left as they are beyond it.
const BUDGET: usize = 4000;

/// Simplifies every live body under its own conditions, and its sums.
pub fn settle(program: &mut Program, outputs: &[TensorId]) {
    // What the source says keeps its products as they are.
    let (mut of_source, mut of_generated) = (Memo::default(), Memo::default());
    for t in live(program, outputs) {
        let Some(body) = program.body(t).cloned() else {
            continue;
        };
        let free_factors = !program.get(t).named && t != program.value;
        let unconditional = if free_factors {
            &mut of_generated
        } else {
            &mut of_source
        };
        let mut settle = Settle {
            program,
            budget: BUDGET,
            free_factors,
            plain: Memo::default(),
        };
        let body = match body {
            Body::Expr(e) => {
                let e = settle.under(e, &[], unconditional);
                // One reduction under two conditions may have become two.
                Body::Expr(distinct_binders(program, e))
            }
            Body::Argsort { along, guard, key } => {
                let guard = guard.map(|g| settle.under(g, &[], unconditional));
                Body::Argsort {
                    along,
                    guard,
                    key: settle.under(key, &[], unconditional),
                }
            }
            Body::Grad { .. } => body,
        };
        program.set_body(t, body);
    }
}

struct Settle<'a> {
    program: &'a mut Program,
    budget: usize,
    free_factors: bool,
    /// What expressions became that no conditions may change.
    plain: Memo,
}

impl Settle<'_> {
    /// `root` where the conditions hold. `memo` belongs to these conditions.
    fn under(&mut self, root: ExprId, conditions: &[ExprId], memo: &mut Memo) -> ExprId {
        if let Some(&done) = memo.get(&root) {
            return done;
        }
        if !conditions.is_empty() && !self.has_choice(root) {
            if !self.free_factors {
                return root;
            }
            return self.unconditionally(root);
        }
        // What is under a branch or a guard has more conditions and is entered on its own.
        let (mut seen, mut stack) = (Visited::new(self.program), vec![root]);
        while let Some(e) = stack.pop() {
            if memo.contains_key(&e) || !seen.insert(e) {
                continue;
            }
            match *self.program.node(e) {
                Node::If { condition, .. } => stack.push(condition),
                Node::Reduce { guard, body, .. } => stack.push(guard.unwrap_or(body)),
                Node::Op(Op::And | Op::Or, ref o) => stack.push(o[0]),
                _ => self.program.for_children(e, |c| stack.push(c)),
            }
        }
        let ids = seen.sorted();
        if ids.len() > self.budget {
            return root;
        }
        self.budget -= ids.len().min(if conditions.is_empty() {
            0
        } else {
            self.budget
        });
        memo.reserve(ids.len());
        for e in ids {
            let before = self.program.node_count();
            let new = self.node(e, conditions, memo);
            keep_span(self.program, e, new);
            if let Some(span) = self.program.span(e) {
                locate_new(self.program, before, span);
            }
            memo.insert(e, new);
        }
        memo[&root]
    }

    /// `root` as it is under no conditions.
    fn unconditionally(&mut self, root: ExprId) -> ExprId {
        let mut plain = std::mem::take(&mut self.plain);
        let done = self.under(root, &[], &mut plain);
        self.plain = plain;
        done
    }

    /// Whether a condition could change anything below.
    fn has_choice(&self, root: ExprId) -> bool {
        let (mut seen, mut stack) = (Visited::new(self.program), vec![root]);
        while let Some(e) = stack.pop() {
            if !seen.insert(e) {
                continue;
            }
            match self.program.node(e) {
                Node::If { .. }
                | Node::Reduce { .. }
                | Node::Read {
                    default: Some(_), ..
                } => return true,
                Node::Op(_, _) if self.program.ty(e) == Type::Bool => return true,
                _ => self.program.for_children(e, |c| stack.push(c)),
            }
        }
        false
    }

    fn node(&mut self, e: ExprId, conditions: &[ExprId], memo: &mut Memo) -> ExprId {
        match self.program.node(e).clone() {
            Node::If {
                condition,
                then,
                otherwise,
            } => {
                let c = memo[&condition];
                match self.program.truth(c) {
                    Some(true) => self.under(then, conditions, memo),
                    Some(false) => self.under(otherwise, conditions, memo),
                    None => {
                        let a = self.with(then, conditions, c);
                        let not = self.program.not(c);
                        let b = self.with(otherwise, conditions, not);
                        self.program.iff(c, a, b)
                    }
                }
            }
            Node::Op(op @ (Op::And | Op::Or), o) => {
                let a = memo[&o[0]];
                let holds = if op == Op::And {
                    a
                } else {
                    self.program.not(a)
                };
                let b = self.with(o[1], conditions, holds);
                self.program.op(op, &[a, b])
            }
            Node::Reduce {
                op,
                axes,
                guard,
                body,
            } => {
                let (guard, body) = match guard {
                    None => (None, memo[&body]),
                    Some(g) => {
                        let g = memo[&g];
                        (Some(g), self.with(body, conditions, g))
                    }
                };
                if op == ReduceOp::Sum && self.program.ty(body) == Type::Real {
                    let guards: Vec<ExprId> = guard.into_iter().collect();
                    return sums::sum(self.program, &axes, &guards, body, self.free_factors);
                }
                self.program.reduce(op, &axes, guard, body)
            }
            Node::Read {
                tensor,
                index,
                default: Some(d),
            } => {
                let index: Vec<ExprId> = index.iter().map(|i| memo[i]).collect();
                let d = memo[&d];
                let head = self.program.get(tensor).head.clone();
                let inside = index.iter().zip(&head).all(|(&i, &a)| {
                    let extent = self.program.extent_of(a);
                    index::in_range(self.program, conditions, i, extent)
                });
                self.program
                    .read(tensor, &index, if inside { None } else { Some(d) })
            }
            // Whether an operand is the extremum is asked of what the extremum was made of, to the bit: under conditions
            // it might be rewritten to something that rounds in another way.
            Node::Op(op @ (Op::Eq | Op::Ne), o)
                if !conditions.is_empty() && self.program.ty(o[0]) == Type::Real =>
            {
                let operands: Vec<ExprId> = o.iter().map(|&x| self.unconditionally(x)).collect();
                let new = self.program.op(op, &operands);
                self.decided(new, conditions)
            }
            node => {
                let node = map_operands(&node, |c| memo[&c]);
                if let Some(lifted) = self.lift(&node).or_else(|| self.gather_factors(&node)) {
                    return lifted;
                }
                let new = self.program.make(node);
                self.decided(new, conditions)
            }
        }
    }

    fn with(&mut self, e: ExprId, conditions: &[ExprId], more: ExprId) -> ExprId {
        let mut list = conditions.to_vec();
        self.program.collect_conjuncts(more, &mut list);
        self.under(e, &list, &mut Memo::default())
    }

    /// In generated code `(if c then a else 0) * b` is `if c then a * b else 0`: where c does not hold, nothing else counts.
    fn lift(&mut self, node: &Node) -> Option<ExprId> {
        let Node::Op(op @ (Op::Mul | Op::Div | Op::Neg), o) = node else {
            return None;
        };
        if !self.free_factors {
            return None;
        }
        let candidates = if *op == Op::Mul { o.len() } else { 1 };
        for k in 0..candidates {
            if let Node::If {
                condition,
                then,
                otherwise,
            } = *self.program.node(o[k])
                && self.program.is_number(otherwise, 0.0)
            {
                let mut operands = o.to_vec();
                operands[k] = then;
                let inner = match (*op, &operands[..]) {
                    (Op::Mul, &[a, b]) => self.program.product(a, b),
                    (Op::Div, &[a, b]) => self.program.quotient(a, b),
                    _ => return None,
                };
                return Some(self.program.iff(condition, inner, otherwise));
            }
        }
        None
    }

    /// In generated code numbers stand in front of a product and sizes below it, also after a definition was inlined.
    fn gather_factors(&mut self, node: &Node) -> Option<ExprId> {
        let Node::Op(op @ (Op::Mul | Op::Div), o) = node else {
            return None;
        };
        if !self.free_factors {
            return None;
        }
        let scaled = |p: &Program, e: ExprId| match p.node(e) {
            Node::Op(Op::Div, o) => is_closed(p, o[1]) || is_closed(p, o[0]),
            Node::Op(Op::Mul, o) => p.number(o[0]).is_some(),
            Node::Op(Op::Neg, _) => true,
            _ => p.number(e).is_some(),
        };
        let divided = |p: &Program, e: ExprId| match p.node(e) {
            Node::Op(Op::Div, o) => is_closed(p, o[1]) || is_closed(p, o[0]),
            _ => false,
        };
        match *op {
            Op::Mul if scaled(self.program, o[1]) || divided(self.program, o[0]) => {
                Some(self.program.product(o[0], o[1]))
            }
            Op::Div if scaled(self.program, o[0]) => Some(self.program.quotient(o[0], o[1])),
            _ => None,
        }
    }

    /// A condition that others decide.
    fn decided(&mut self, e: ExprId, conditions: &[ExprId]) -> ExprId {
        if conditions.is_empty() || self.program.ty(e) != Type::Bool {
            return e;
        }
        if conditions.contains(&e) {
            return self.program.bool(true);
        }
        let not = self.program.not(e);
        if conditions.contains(&not) {
            return self.program.bool(false);
        }
        if let Node::Op(op, o) = self.program.node(e)
            && let &[a, b] = &o[..]
            && self.program.ty(a) == Type::Int
        {
            let op = *op;
            let facts: Vec<_> = conditions
                .iter()
                .flat_map(|&c| index::facts_of(self.program, c))
                .collect();
            if !facts.is_empty()
                && let Some(answer) = index::decide(self.program, &facts, op, a, b)
            {
                return self.program.bool(answer);
            }
        }
        e
    }
}
