//! Rewriting of programs: the smart constructors ([`canonicalize`]), arithmetic of indices ([`index`]) and the passes
//! built from [`rebuild`] and [`substitute`].
//!
//! A pass is a loop over ids, operands before readers, so depth costs no stack and shared nodes are visited once. Only a
//! reduction is entered by recursion when axes are substituted, because its binders open a scope.

pub mod axes;
pub mod branches;
pub mod canonicalize;
pub mod equal;
pub mod index;
pub mod inline;
pub mod name;
pub mod product;
pub mod share;
pub mod simplify;
pub mod stabilize;
pub mod sums;

use crate::ast::Span;
use crate::ir::{AxisId, Body, ExprId, Node, Program, TensorId, Visited};
use rustc_hash::{FxHashMap, FxHashSet};

/// What each expression became.
pub type Memo = FxHashMap<ExprId, ExprId>;

/// The node with its operands replaced.
pub fn map_operands(node: &Node, mut f: impl FnMut(ExprId) -> ExprId) -> Node {
    match node {
        Node::Real(_)
        | Node::Int(_)
        | Node::Bool(_)
        | Node::Axis(_)
        | Node::Size(_)
        | Node::Param(_) => node.clone(),
        Node::Read {
            tensor,
            index,
            default,
        } => {
            let index = index.iter().map(|&i| f(i)).collect();
            Node::Read {
                tensor: *tensor,
                index,
                default: default.map(&mut f),
            }
        }
        Node::If {
            condition,
            then,
            otherwise,
        } => Node::If {
            condition: f(*condition),
            then: f(*then),
            otherwise: f(*otherwise),
        },
        Node::Op(op, operands) => Node::Op(*op, operands.iter().map(|&o| f(o)).collect()),
        Node::Reduce {
            op,
            axes,
            guard,
            body,
        } => {
            let guard = guard.map(&mut f);
            Node::Reduce {
                op: *op,
                axes: axes.clone(),
                guard,
                body: f(*body),
            }
        }
    }
}

/// The nodes under `root` that `memo` does not know yet, operands before readers.
fn unknown(program: &Program, root: ExprId, memo: &Memo) -> Vec<ExprId> {
    let mut seen = Visited::new(program);
    let mut stack = vec![root];
    while let Some(id) = stack.pop() {
        if !memo.contains_key(&id) && seen.insert(id) {
            program.for_children(id, |c| stack.push(c));
        }
    }
    seen.sorted()
}

/// Rebuilds `root` from its leaves up. `f` gets the old expression and its node with the operands already replaced, and
/// gives the new expression; [`Program::make`] is what it does where it has nothing to say. Sharing `memo` between
/// roots shares the work.
pub fn rebuild(
    program: &mut Program,
    root: ExprId,
    memo: &mut Memo,
    mut f: impl FnMut(&mut Program, ExprId, Node) -> ExprId,
) -> ExprId {
    if let Some(&done) = memo.get(&root) {
        return done;
    }
    let ids = unknown(program, root, memo);
    memo.reserve(ids.len());
    for id in ids {
        let node = map_operands(program.node(id), |c| memo[&c]);
        let before = program.node_count();
        let new = f(program, id, node);
        keep_span(program, id, new);
        if let Some(span) = program.span(id) {
            locate_new(program, before, span);
        }
        memo.insert(id, new);
    }
    memo[&root]
}

/// What a replacement is made of, all nodes from number `before` on, is where the source says what it replaces.
fn locate_new(program: &mut Program, before: usize, span: Span) {
    for k in before..program.node_count() {
        program.locate(ExprId(k as u32), span);
    }
}

/// A node that replaces another keeps its place in the source.
fn keep_span(program: &mut Program, old: ExprId, new: ExprId) {
    if old != new
        && let Some(span) = program.span(old)
        && program.span(new).is_none()
    {
        program.locate(new, span);
    }
}

/// Rebuilds every expression of a definition's body with one memo; see [`rebuild`].
pub fn rebuild_body(
    program: &mut Program,
    tensor: TensorId,
    memo: &mut Memo,
    mut f: impl FnMut(&mut Program, ExprId, Node) -> ExprId,
) {
    let Some(body) = program.body(tensor).cloned() else {
        return;
    };
    let body = match body {
        Body::Expr(e) => Body::Expr(rebuild(program, e, memo, &mut f)),
        Body::Argsort { along, guard, key } => {
            let guard = guard.map(|g| rebuild(program, g, memo, &mut f));
            Body::Argsort {
                along,
                guard,
                key: rebuild(program, key, memo, &mut f),
            }
        }
        Body::Grad { .. } => body,
    };
    program.set_body(tensor, body);
}

/// What to put for axes.
pub type Substitution = FxHashMap<AxisId, ExprId>;

/// `root` with expressions for axes. Binders on the way are renamed, so nothing is captured.
pub fn substitute(program: &mut Program, root: ExprId, map: &Substitution) -> ExprId {
    substitute_at(program, root, map, None)
}

/// As [`substitute`], for a read at `site`: that is where the source says the indices that come in, so a read that gets one
/// is there.
fn substitute_at(
    program: &mut Program,
    root: ExprId,
    map: &Substitution,
    site: Option<Span>,
) -> ExprId {
    if map.is_empty() {
        return root;
    }
    let touched =
        |program: &Program, e: ExprId| program.free(e).iter().any(|a| map.contains_key(a));
    if !touched(program, root) {
        return root;
    }
    // Collect what changes, not entering reductions: those have a scope of their own.
    let mut seen = Visited::new(program);
    let mut stack = vec![root];
    while let Some(id) = stack.pop() {
        if touched(program, id)
            && seen.insert(id)
            && !matches!(program.node(id), Node::Reduce { .. })
        {
            program.for_children(id, |c| stack.push(c));
        }
    }
    let ids = seen.sorted();
    let mut memo = Memo::with_capacity_and_hasher(ids.len(), Default::default());
    for id in ids {
        let new = match program.node(id) {
            Node::Axis(a) => map[a],
            Node::Reduce { .. } => substitute_reduction(program, id, map, site),
            node => {
                let node = map_operands(node, |c| memo.get(&c).copied().unwrap_or(c));
                let new = program.make(node);
                if let Some(site) = site
                    && takes_index(program, new, map)
                {
                    program.locate(new, site);
                }
                new
            }
        };
        keep_span(program, id, new);
        memo.insert(id, new);
    }
    memo[&root]
}

/// Whether `e` reads at an index that `map` brought in, another one than a bare axis.
fn takes_index(program: &Program, e: ExprId, map: &Substitution) -> bool {
    let Node::Read { index, .. } = program.node(e) else {
        return false;
    };
    let computed = |i: &&ExprId| !matches!(program.node(**i), Node::Axis(_));
    index
        .iter()
        .filter(computed)
        .any(|i| map.values().any(|to| to == i))
}

fn substitute_reduction(
    program: &mut Program,
    id: ExprId,
    map: &Substitution,
    site: Option<Span>,
) -> ExprId {
    let Node::Reduce {
        op,
        axes,
        guard,
        body,
    } = program.node(id).clone()
    else {
        return id;
    };
    let mut inner: Substitution = program
        .free(id)
        .iter()
        .filter_map(|a| map.get(a).map(|&e| (*a, e)))
        .collect();
    let renamed: Vec<AxisId> = axes.iter().map(|&a| program.fresh(a)).collect();
    for (&old, &new) in axes.iter().zip(&renamed) {
        let new = program.index_of(new);
        inner.insert(old, new);
    }
    let guard = guard.map(|g| substitute_at(program, g, &inner, site));
    let body = substitute_at(program, body, &inner, site);
    program.reduce(op, &renamed, guard, body)
}

/// The body expression of a definition read at `index`; `site` is where the source reads it.
pub fn instantiate(
    program: &mut Program,
    tensor: TensorId,
    index: &[ExprId],
    site: Option<Span>,
) -> Option<ExprId> {
    let Some(Body::Expr(body)) = program.body(tensor) else {
        return None;
    };
    let body = *body;
    let map = program
        .get(tensor)
        .head
        .iter()
        .copied()
        .zip(index.iter().copied())
        .collect();
    Some(substitute_at(program, body, &map, site))
}

/// A copy of `e` whose reductions bind fresh axes, for a second use beside the first.
pub fn renamed(program: &mut Program, e: ExprId) -> ExprId {
    match program.node(e) {
        Node::Reduce { .. } => substitute_reduction(program, e, &Substitution::default(), None),
        _ => e,
    }
}

/// As [`renamed`], of every reduction in `e`.
pub fn with_fresh_binders(program: &mut Program, e: ExprId) -> ExprId {
    rebuild(program, e, &mut Memo::default(), |program, _, node| {
        let id = program.mk(node);
        renamed(program, id)
    })
}

/// `root` where no two reductions bind one axis.
pub fn distinct_binders(program: &mut Program, root: ExprId) -> ExprId {
    let (mut bound, mut again) = (FxHashSet::default(), FxHashSet::default());
    for e in program.reachable(&[root]) {
        if let Node::Reduce { axes, .. } = program.node(e)
            && axes.iter().filter(|&&a| bound.insert(a)).count() < axes.len()
        {
            again.insert(e);
        }
    }
    if again.is_empty() {
        return root;
    }
    rebuild(program, root, &mut Memo::default(), |program, old, node| {
        let new = program.make(node);
        if again.contains(&old) {
            renamed(program, new)
        } else {
            new
        }
    })
}

/// Definitions that `outputs` need, a definition before its readers where there is no recurrence; inputs are left out.
pub fn live(program: &Program, outputs: &[TensorId]) -> Vec<TensorId> {
    let mut state = vec![0u8; program.tensors.len()];
    let mut order = vec![];
    let mut stack: Vec<(TensorId, bool)> = outputs.iter().rev().map(|&t| (t, false)).collect();
    while let Some((t, leave)) = stack.pop() {
        if leave {
            order.push(t);
            continue;
        }
        if state[t.index()] != 0 || program.body(t).is_none() {
            continue;
        }
        state[t.index()] = 1;
        stack.push((t, true));
        stack.extend(program.reads(t).into_iter().rev().map(|r| (r, false)));
    }
    order
}

/// The definitions among `order` that depend on themselves (rule R7).
pub fn recurrent(program: &Program, order: &[TensorId]) -> FxHashSet<TensorId> {
    let place: FxHashMap<TensorId, usize> =
        order.iter().enumerate().map(|(i, &t)| (t, i)).collect();
    let edges: Vec<Vec<usize>> = order
        .iter()
        .map(|&t| {
            program
                .reads(t)
                .iter()
                .filter_map(|r| place.get(r).copied())
                .collect()
        })
        .collect();
    let roots: Vec<usize> = (0..order.len()).collect();
    crate::graph::components(&edges, &roots)
        .into_iter()
        .filter(|group| group.len() > 1 || edges[group[0]].contains(&group[0]))
        .flatten()
        .map(|i| order[i])
        .collect()
}
