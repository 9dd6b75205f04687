//! Stability rewrites: textbook forms that overflow, cancel or divide 0 by 0 become operators that do not.
//!
//! A rule has a name, the operators that it starts from, and a function that gives the replacement or nothing. Above
//! each stands the input that breaks the naive form. Rules look through reads of definitions, take operands in any order,
//! and keep to the tree of sums and products as written: `(1 + a) - b` is not `1 + (a - b)`.
//!
//! Architecture invariant: where the naive form is accurate, the rewritten one has the same value (within rounding), at
//! infinities, zeros, NaN and for empty reductions too. A rule that needs a sign asks [`sign`] for a proof; where
//! there is none it does not fire, or it leaves the choice to run time.
//!
//! Rewriting runs before differentiating, so that derivatives are taken of stable forms, and again after, on what
//! the chain rule made of them.

mod cancel;
mod derived;
mod entropy;
mod exps;
mod facts;
mod logs;
mod make;
mod norms;
pub mod range;
mod same;
mod scaled;
pub mod sign;
mod variance;
mod view;

use crate::ast::Span;
use crate::ir::{Body, ExprId, Node, Op, Program, TensorId, TensorKind};
use crate::rewrite::{Memo, locate_new, map_operands};
use facts::Facts;
use range::Range;
use rustc_hash::FxHashMap;
use scaled::Scaled;
use sign::{Fact, Ranges};
use std::sync::OnceLock;

/// Which side of differentiation the rewriting is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Before,
    After,
}

/// One rewrite that was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    pub rule: &'static str,
    /// The definition in whose body it was.
    pub tensor: TensorId,
    /// Where the source says the expression, if it is of the source.
    pub span: Option<Span>,
}

/// When a rule may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    Always,
    /// Cleans up what the chain rule leaves; of no use, or wrong for derivatives, before.
    After,
}

/// A rewrite of an expression whose operator is one of `roots`.
struct Rule {
    name: &'static str,
    when: When,
    roots: &'static [Op],
    apply: fn(&mut Rewriter, ExprId) -> Option<ExprId>,
}

impl Rule {
    const fn new(
        name: &'static str,
        roots: &'static [Op],
        apply: fn(&mut Rewriter, ExprId) -> Option<ExprId>,
    ) -> Rule {
        Rule {
            name,
            when: When::Always,
            roots,
            apply,
        }
    }

    const fn after(
        name: &'static str,
        roots: &'static [Op],
        apply: fn(&mut Rewriter, ExprId) -> Option<ExprId>,
    ) -> Rule {
        Rule {
            name,
            when: When::After,
            roots,
            apply,
        }
    }
}

/// All rules; of those that share an operator the earlier goes first.
const TABLES: [&[Rule]; 7] = [
    logs::RULES,
    exps::RULES,
    derived::RULES,
    cancel::RULES,
    norms::RULES,
    variance::RULES,
    entropy::RULES,
];

/// The names of all rules, in order.
pub fn rule_names() -> impl Iterator<Item = &'static str> {
    TABLES.iter().flat_map(|t| t.iter().map(|r| r.name))
}

/// The rules that start from an operator.
fn rules_of(op: Op) -> &'static [&'static Rule] {
    static INDEX: OnceLock<Vec<Vec<&'static Rule>>> = OnceLock::new();
    let index = INDEX.get_or_init(|| {
        let rules = |op: &Op| {
            TABLES
                .iter()
                .flat_map(|t| t.iter())
                .filter(|r| r.roots.contains(op))
                .collect()
        };
        Op::ALL.iter().map(rules).collect()
    });
    &index[op as usize]
}

/// How often one expression may be rewritten, and how deep rewriting nests: rules shrink what they start from, so this is
/// never reached but by a mistake in a rule.
const ROUNDS: usize = 8;
const NESTING: u32 = 12;
/// A definition with more nodes than this is not looked through.
const LOOK_LIMIT: usize = 200;

/// Rewrites every definition that the outputs need. Returns what was done, in order.
pub fn stabilize(program: &mut Program, phase: Phase) -> Vec<Applied> {
    let groups = definition_groups(program);
    let tensors: Vec<TensorId> = groups.iter().flatten().copied().collect();
    let mut ranges = Ranges::default();
    let facts = facts::collect(program, &tensors, &mut ranges);
    let active = active_tensors(program, &groups);
    let mut rewriter = Rewriter::new(program, phase, ranges, facts);
    rewriter.active = active;
    for group in groups {
        for &t in &group {
            rewriter.definition(t);
        }
        // A recurrence is not looked through: it has no end.
        if let [only] = group[..] {
            rewriter.open[only.index()] = rewriter.may_look_through(only);
        }
    }
    rewriter.applied
}

/// Definitions in dependency order; those that need each other are one group.
fn definition_groups(program: &Program) -> Vec<Vec<TensorId>> {
    let edges: Vec<Vec<usize>> = (0..program.tensors.len())
        .map(|t| {
            program
                .reads(TensorId(t as u32))
                .into_iter()
                .map(TensorId::index)
                .collect()
        })
        .collect();
    let roots: Vec<usize> = program.outputs().iter().map(|t| t.index()).collect();
    let groups = crate::graph::components(&edges, &roots);
    groups
        .into_iter()
        .map(|g| {
            g.into_iter()
                .map(|t| TensorId(t as u32))
                .filter(|&t| program.body(t).is_some())
                .collect()
        })
        .filter(|g: &Vec<TensorId>| !g.is_empty())
        .collect()
}

/// Which tensors have a derivative: inputs that are differentiated, here or by an inner `grad`, and what reads them.
fn active_tensors(program: &Program, groups: &[Vec<TensorId>]) -> Vec<bool> {
    let mut active: Vec<bool> = program
        .tensors
        .iter()
        .map(|t| matches!(&t.kind, TensorKind::Input(i) if i.differentiated))
        .collect();
    for t in &program.tensors {
        if let TensorKind::Definition(Body::Grad { wrt, .. }) = t.kind {
            active[wrt.index()] = true;
        }
    }
    for group in groups {
        let reads = group
            .iter()
            .any(|&t| active[t.index()] || program.reads(t).iter().any(|r| active[r.index()]));
        for t in group {
            active[t.index()] = reads;
        }
    }
    active
}

/// The state of one run.
struct Rewriter<'a> {
    program: &'a mut Program,
    phase: Phase,
    /// What each expression of the program became.
    memo: Memo,
    ranges: Ranges,
    all_facts: Facts,
    /// The conditions under which the expression at hand is evaluated, about new expressions.
    facts: Vec<Fact>,
    /// Which definitions may be looked through, by tensor.
    open: Vec<bool>,
    /// Which tensors have a derivative.
    active: Vec<bool>,
    looked: FxHashMap<ExprId, ExprId>,
    /// Of roots of two or three squares, by what they were rewritten to, what is under the root.
    hypotenuses: FxHashMap<ExprId, ExprId>,
    /// Exponential forms, by how deep they were looked for; under facts they are of the expression at hand only.
    scaled: FxHashMap<(ExprId, u32), Option<Scaled>>,
    scaled_here: FxHashMap<(ExprId, u32), Option<Scaled>>,
    improved: FxHashMap<ExprId, ExprId>,
    improved_here: FxHashMap<ExprId, ExprId>,
    nesting: u32,
    tensor: TensorId,
    span: Option<Span>,
    applied: Vec<Applied>,
}

impl<'a> Rewriter<'a> {
    fn new(
        program: &'a mut Program,
        phase: Phase,
        ranges: Ranges,
        all_facts: Facts,
    ) -> Rewriter<'a> {
        let open = vec![false; program.tensors.len()];
        let tensor = program.value;
        Rewriter {
            program,
            phase,
            memo: Memo::default(),
            ranges,
            all_facts,
            facts: vec![],
            open,
            active: vec![],
            looked: FxHashMap::default(),
            hypotenuses: FxHashMap::default(),
            scaled: FxHashMap::default(),
            scaled_here: FxHashMap::default(),
            improved: FxHashMap::default(),
            improved_here: FxHashMap::default(),
            nesting: 0,
            tensor,
            span: None,
            applied: vec![],
        }
    }

    fn definition(&mut self, tensor: TensorId) {
        self.tensor = tensor;
        let roots = self.program.roots(tensor);
        for id in self.program.reachable(&roots) {
            if !self.memo.contains_key(&id) {
                let new = self.expression(id);
                self.memo.insert(id, new);
            }
        }
        let body = match self.program.body(tensor) {
            Some(Body::Expr(e)) => Body::Expr(self.memo[e]),
            Some(Body::Argsort { along, guard, key }) => Body::Argsort {
                along: *along,
                guard: guard.map(|g| self.memo[&g]),
                key: self.memo[key],
            },
            Some(body @ Body::Grad { .. }) => body.clone(),
            None => return,
        };
        if self.program.body(tensor) != Some(&body) {
            self.program.set_body(tensor, body);
        }
    }

    /// What `id` becomes, its operands being done.
    fn expression(&mut self, id: ExprId) -> ExprId {
        let node = map_operands(self.program.node(id), |c| self.memo[&c]);
        let before = self.program.node_count();
        let new = self.program.make(node);
        self.span = self.program.span(id);
        self.enter(id);
        let new = self.improve(new);
        if let Some(span) = self.span {
            self.program.locate(new, span);
            locate_new(self.program, before, span);
        }
        new
    }

    /// Takes over the facts of `id`. What was found under others is forgotten.
    fn enter(&mut self, id: ExprId) {
        let mut facts = vec![];
        if let Some(old) = self.all_facts.get(&id) {
            let memo = &self.memo;
            let current = |f: &Fact| {
                memo.get(&f.subject).map(|&subject| Fact {
                    subject,
                    range: f.range,
                })
            };
            facts.extend(old.iter().filter_map(current));
        }
        if facts != self.facts {
            self.facts = facts;
            self.scaled_here.clear();
            self.improved_here.clear();
        }
    }

    /// Applies rules to `e` until none fires. Its operands are taken as they are, but for signs and literals, which the
    /// smart constructors move outwards past what rules start from.
    fn improve(&mut self, e: ExprId) -> ExprId {
        let Node::Op(op, operands) = self.program.node(e) else {
            return e;
        };
        if self.nesting >= NESTING {
            return e;
        }
        let known = if self.facts.is_empty() {
            &self.improved
        } else {
            &self.improved_here
        };
        if let Some(&known) = known.get(&e) {
            return known;
        }
        match (op, &operands[..]) {
            (Op::Neg, &[inner]) => {
                let better = self.improve_operand(inner);
                return if better == inner {
                    e
                } else {
                    self.program.neg(better)
                };
            }
            (Op::Mul, &[literal, inner]) if self.program.number(literal).is_some() => {
                let better = self.improve_operand(inner);
                if better != inner {
                    let e = self.program.mul(literal, better);
                    return self.improve(e);
                }
            }
            _ => {}
        }
        let Node::Op(op, _) = self.program.node(e) else {
            return e;
        };
        if rules_of(*op).is_empty() {
            return e;
        }
        self.nesting += 1;
        let mut current = e;
        for _ in 0..ROUNDS {
            match self.step(current) {
                Some(new) if new != current => current = new,
                _ => break,
            }
        }
        self.nesting -= 1;
        let improved = if self.facts.is_empty() {
            &mut self.improved
        } else {
            &mut self.improved_here
        };
        improved.insert(e, current);
        current
    }

    fn improve_operand(&mut self, e: ExprId) -> ExprId {
        self.nesting += 1;
        let better = self.improve(e);
        self.nesting -= 1;
        better
    }

    /// The first rule that fires.
    fn step(&mut self, e: ExprId) -> Option<ExprId> {
        let Node::Op(op, _) = self.program.node(e) else {
            return None;
        };
        for rule in rules_of(*op) {
            if rule.when == When::After && self.phase == Phase::Before {
                continue;
            }
            let done = self.applied.len();
            match (rule.apply)(self, e) {
                Some(new) if new != e => {
                    self.applied.push(Applied {
                        rule: rule.name,
                        tensor: self.tensor,
                        span: self.span,
                    });
                    return Some(new);
                }
                // What it rewrote on the way is not used.
                _ => self.applied.truncate(done),
            }
        }
        None
    }

    /// Whether `e` has a derivative with respect to anything.
    fn is_active(&self, e: ExprId) -> bool {
        self.program
            .reachable(&[e])
            .into_iter()
            .any(|n| match self.program.node(n) {
                Node::Read { tensor, .. } => self.active.get(tensor.index()).is_none_or(|&a| a),
                _ => false,
            })
    }

    /// The range of `e` where it is evaluated.
    fn range(&mut self, e: ExprId) -> Range {
        self.ranges.under(self.program, e, &self.facts)
    }
}
