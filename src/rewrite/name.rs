//! A-normal form (rule 2): every reduction and every n-ary logsumexp becomes a definition of its own, so that its answer
//! has a name when its derivative needs it, and no reduction stands in a body whose axes it does not have.

use super::{Memo, Substitution, index, keep_span, map_operands, substitute};
use crate::ir::{AxisId, Body, ExprId, Node, Op, Program, ReduceOp, TensorId, Type, Visited};
use rustc_hash::{FxHashMap, FxHashSet};

/// Names what `tensors` hold; the new definitions are appended to the list.
pub fn name_reductions(program: &mut Program, tensors: &mut Vec<TensorId>) {
    let mut i = 0;
    while i < tensors.len() {
        let t = tensors[i];
        i += 1;
        for new in Naming::run(program, t) {
            tensors.push(new);
        }
    }
}

struct Naming<'a> {
    program: &'a mut Program,
    owner: TensorId,
    /// The conditions under which a node is evaluated, whichever way it is reached.
    paths: FxHashMap<ExprId, Vec<ExprId>>,
    /// Reductions that stay where they are: the body itself, or what its outermost branch takes.
    top: FxHashSet<ExprId>,
    memo: Memo,
    new: Vec<TensorId>,
}

impl<'a> Naming<'a> {
    fn run(program: &'a mut Program, owner: TensorId) -> Vec<TensorId> {
        let Some(body) = program.body(owner).cloned() else {
            return vec![];
        };
        let roots = program.roots(owner);
        if !roots.iter().any(|&r| has_inner(program, r)) {
            return vec![];
        }
        let mut naming = Naming {
            program,
            owner,
            paths: FxHashMap::default(),
            top: FxHashSet::default(),
            memo: Memo::default(),
            new: vec![],
        };
        let body = match body {
            Body::Expr(e) => {
                naming.mark_top(e);
                Body::Expr(naming.rebuild(e))
            }
            Body::Argsort { along, guard, key } => {
                let guard = guard.map(|g| naming.rebuild(g));
                if let Some(g) = guard {
                    naming.paths.insert(key, vec![g]);
                }
                Body::Argsort {
                    along,
                    guard,
                    key: naming.rebuild(key),
                }
            }
            Body::Grad { .. } => body,
        };
        let new = naming.new;
        program.set_body(owner, body);
        new
    }

    fn mark_top(&mut self, body: ExprId) {
        let mut e = body;
        while let &Node::If {
            then, otherwise, ..
        } = self.program.node(e)
        {
            let literal = matches!(
                self.program.node(otherwise),
                Node::Real(_) | Node::Int(_) | Node::Bool(_)
            );
            if !literal {
                return;
            }
            e = then;
        }
        // `real(count)` counts as the count.
        if let Some(i) = self.program.unary(e, Op::ToReal) {
            e = i;
        }
        self.top.insert(e);
    }

    fn stays(&self, e: ExprId) -> bool {
        self.top.contains(&e) || !is_named_kind(self.program.node(e))
    }

    fn rebuild(&mut self, root: ExprId) -> ExprId {
        let order = self.collect(root);
        for &id in order.iter().rev() {
            self.spread_path(id);
        }
        for id in order {
            let new = if self.stays(id) {
                let memo = &self.memo;
                let node = map_operands(self.program.node(id), |c| memo[&c]);
                self.program.make(node)
            } else {
                self.name(id)
            };
            keep_span(self.program, id, new);
            self.memo.insert(id, new);
        }
        self.memo[&root]
    }

    /// The nodes of the body, not entering what gets a name.
    fn collect(&self, root: ExprId) -> Vec<ExprId> {
        let mut seen = Visited::new(self.program);
        let mut stack = vec![root];
        while let Some(id) = stack.pop() {
            if !self.memo.contains_key(&id) && seen.insert(id) && self.stays(id) {
                self.program.for_children(id, |c| stack.push(c));
            }
        }
        seen.sorted()
    }

    /// Tells the operands of a node under which conditions they are evaluated.
    fn spread_path(&mut self, id: ExprId) {
        if !self.stays(id) {
            return;
        }
        let path = self.paths.entry(id).or_default().clone();
        let mut steps: Vec<(ExprId, Option<ExprId>)> = vec![];
        match self.program.node(id).clone() {
            Node::If {
                condition,
                then,
                otherwise,
            } => {
                let not = self.program.not(condition);
                steps.extend([
                    (condition, None),
                    (then, Some(condition)),
                    (otherwise, Some(not)),
                ]);
            }
            Node::Op(Op::And, o) => steps.extend([(o[0], None), (o[1], Some(o[0]))]),
            Node::Op(Op::Or, o) => {
                let not = self.program.not(o[0]);
                steps.extend([(o[0], None), (o[1], Some(not))]);
            }
            Node::Reduce { guard, body, .. } => {
                steps.extend(guard.map(|g| (g, None)));
                steps.push((body, guard));
            }
            _ => self.program.for_children(id, |c| steps.push((c, None))),
        }
        for (child, condition) in steps {
            let mut way = path.clone();
            if let Some(c) = condition {
                self.program.collect_conjuncts(c, &mut way);
            }
            let known = match self.paths.remove(&child) {
                None => way,
                Some(known) => self.either(known, way),
            };
            self.paths.insert(child, known);
        }
    }

    /// What holds if one of two lists of conditions does: what they share, and one rest or the other.
    fn either(&mut self, a: Vec<ExprId>, b: Vec<ExprId>) -> Vec<ExprId> {
        let (mut common, rest_a): (Vec<ExprId>, Vec<ExprId>) =
            a.iter().partition(|c| b.contains(c));
        let rest_b: Vec<ExprId> = b.into_iter().filter(|c| !common.contains(c)).collect();
        if !rest_a.is_empty() && !rest_b.is_empty() {
            let (x, y) = (self.program.all_of(&rest_a), self.program.all_of(&rest_b));
            let not = self.program.not(x);
            if y != not {
                common.push(self.program.or(x, y));
            }
        }
        common
    }

    fn name(&mut self, id: ExprId) -> ExprId {
        let head = self.program.get(self.owner).head.clone();
        let mut axes: Vec<AxisId> = self.program.free(id).to_vec();
        axes.sort_by_key(|a| (head.iter().position(|h| h == a).unwrap_or(usize::MAX), *a));
        let path = self.paths.remove(&id).unwrap_or_default();
        let name = name_for(self.program, self.owner, id);
        let (read, new) = define(self.program, &name, &axes, id, &path);
        self.new.push(new);
        read
    }
}

/// Whether something below the top of an expression gets a name.
fn has_inner(program: &Program, root: ExprId) -> bool {
    program
        .reachable(&[root])
        .iter()
        .any(|&e| is_named_kind(program.node(e)))
}

fn is_named_kind(node: &Node) -> bool {
    matches!(node, Node::Reduce { .. } | Node::Op(Op::LogSumExp, _))
}

/// A definition of `e` over `axes`, and its read there. If an index in `e` is not provably in range, the conditions of
/// `path` that speak of the definition's own axes come along, and what the others imply of the index: a definition is computed
/// at all of its elements.
pub fn define(
    program: &mut Program,
    name: &str,
    axes: &[AxisId],
    e: ExprId,
    path: &[ExprId],
) -> (ExprId, TensorId) {
    let mut body = e;
    if !path.is_empty() && !always_defined(program, e) {
        let own = |p: &Program, c: ExprId| p.free(c).iter().all(|a| axes.contains(a));
        let mut conditions: Vec<ExprId> =
            path.iter().copied().filter(|&c| own(program, c)).collect();
        if conditions.len() < path.len() {
            for c in implied_ranges(program, e, path) {
                if own(program, c) && !conditions.contains(&c) {
                    conditions.push(c);
                }
            }
        }
        let condition = program.all_of(&conditions);
        let none = match program.ty(e) {
            Type::Real => program.real(0.0),
            Type::Int => program.int(0),
            Type::Bool => program.bool(false),
        };
        body = program.iff(condition, e, none);
    }
    let head: Vec<AxisId> = axes.iter().map(|&a| program.fresh(a)).collect();
    let map: Substitution = axes
        .iter()
        .zip(&head)
        .map(|(&old, &new)| (old, program.index_of(new)))
        .collect();
    let body = substitute(program, body, &map);
    let ty = program.ty(body);
    let tensor = program.define(name, head, ty, Body::Expr(body));
    (program.read_at(tensor, axes), tensor)
}

/// What `path` implies of the indices in `e` that are made of axes: that they are in range.
fn implied_ranges(program: &mut Program, e: ExprId, path: &[ExprId]) -> Vec<ExprId> {
    let mut out = vec![];
    for id in program.reachable(&[e]) {
        let Node::Read {
            tensor,
            index,
            default: None,
        } = program.node(id)
        else {
            continue;
        };
        let (tensor, index) = (*tensor, index.clone());
        let head = program.get(tensor).head.clone();
        for (&i, &a) in index.iter().zip(&head) {
            let extent = program.extent_of(a);
            let reads = |e: &ExprId| matches!(program.node(*e), Node::Read { .. });
            let computed = program.reachable(&[i]).iter().any(reads);
            if !computed && index::in_range(program, path, i, extent) {
                out.extend(index::range_conditions(program, i, extent));
            }
        }
    }
    out
}

/// Whether no read in `e` can miss, as far as it is provable, and no int division stands in it.
pub fn always_defined(program: &mut Program, e: ExprId) -> bool {
    for id in program.reachable(&[e]) {
        match program.node(id) {
            Node::Read {
                tensor,
                index,
                default: None,
            } => {
                let (tensor, index) = (*tensor, index.clone());
                let head = program.get(tensor).head.clone();
                for (&i, &a) in index.iter().zip(&head) {
                    let extent = program.extent_of(a);
                    if program.node(i) != &Node::Axis(a)
                        && !index::in_range(program, &[], i, extent)
                    {
                        return false;
                    }
                }
            }
            Node::Op(Op::IntDiv | Op::Mod, o) if !matches!(program.node(o[1]), Node::Int(k) if *k != 0) =>
            {
                return false;
            }
            Node::Reduce {
                op: ReduceOp::ArgMax | ReduceOp::ArgMin,
                ..
            } => return false,
            _ => {}
        }
    }
    true
}

/// A good name: `lse`, `members`, or that of the reduction, after a reader or an operand whose name is the source's.
fn name_for(program: &Program, owner: TensorId, e: ExprId) -> String {
    let (kind, operand) = match program.node(e) {
        Node::Reduce { op, body, .. } => (kind_name(*op), Some(*body)),
        _ => ("lse", None),
    };
    let reader = program.get(owner);
    if reader.named && owner != program.value && kind != "members" {
        return format!("{}_{kind}", reader.name);
    }
    if let Some(operand) = operand
        && let Node::Read {
            tensor,
            default: None,
            index,
        } = program.node(operand)
        && program.get(*tensor).named
        && program.body(*tensor).is_some()
        && index
            .iter()
            .all(|&i| matches!(program.node(i), Node::Axis(_)))
    {
        return format!("{}_{kind}", program.get(*tensor).name);
    }
    kind.to_string()
}

fn kind_name(op: ReduceOp) -> &'static str {
    match op {
        ReduceOp::LogSumExp => "lse",
        ReduceOp::Count => "members",
        ReduceOp::Sum
        | ReduceOp::Mean
        | ReduceOp::Prod
        | ReduceOp::Max
        | ReduceOp::Min
        | ReduceOp::Norm
        | ReduceOp::Any
        | ReduceOp::All
        | ReduceOp::ArgMax
        | ReduceOp::ArgMin => op.name(),
    }
}
