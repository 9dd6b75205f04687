//! Recurrences (rule R7): whether an order of axes exists in which a group of definitions can be computed.

use crate::diagnostic::Diagnostic;
use crate::graph;
use crate::interp;
use crate::ir::{Body, ExprId, Node, Op, Program, TensorId, Visited};
use crate::rewrite::index;
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// The way a loop over an axis goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the first element on: what is read is at smaller indices.
    Up,
    /// From the last element on.
    Down,
}

/// An axis that must be a loop, for each member the position in its head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loop {
    /// The axis, by its name in the source.
    pub axis: Arc<str>,
    pub direction: Direction,
    /// The members that this loop is around, and where in their heads the axis stands.
    pub members: Vec<(TensorId, usize)>,
}

/// How a group is computed: loops from the outside to the inside, and within them smaller groups one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// One definition without a cycle inside the loops around it; its other axes are parallel.
    Definition(TensorId),
    /// Parts in the order of their needs.
    Sequence(Vec<Plan>),
    Loop(Loop, Box<Plan>),
}

/// One reference from a member of a group to a member.
#[derive(Debug, Clone)]
struct Reference {
    from: TensorId,
    to: TensorId,
    /// For each axis of the reader's head that the group shares: how the index relates to it.
    steps: FxHashMap<(Arc<str>, usize), Step>,
    read: Option<ExprId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Same,
    /// At a smaller index.
    Earlier,
    Later,
    Unknown,
}

/// An axis of a group: name, and which of the head's axes of this name.
type AxisName = (Arc<str>, usize);

/// The plan of a group of definitions that need each other.
///
/// # Errors
/// A reference (its reader and, if it is a read, the expression) that no order of axes serves.
pub fn order(program: &Program, group: &[TensorId]) -> Result<Plan, (TensorId, Option<ExprId>)> {
    let references: Vec<Reference> = group
        .iter()
        .flat_map(|&t| references(program, group, t))
        .collect();
    plan(program, group, &references.iter().collect::<Vec<_>>())
}

/// Checks all recurrences of a program.
pub(super) fn check(program: &Program) -> Result<(), Vec<Diagnostic>> {
    let mut errors = vec![];
    for group in interp::groups(program, &program.outputs()) {
        let own = group.len() == 1 && !program.reads(group[0]).contains(&group[0]);
        if own {
            continue;
        }
        if let Err((reader, read)) = order(program, &group) {
            errors.push(no_order(program, &group, reader, read));
        } else if let Some((reader, read)) = endless(program, &group) {
            errors.push(no_base(program, reader, read));
        }
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(errors)
    }
}

/// A read by which every element of a definition needs another one of the group, and so on without end.
fn endless(program: &Program, group: &[TensorId]) -> Option<(TensorId, ExprId)> {
    let certain: Vec<Vec<(ExprId, TensorId)>> = group
        .iter()
        .map(|&t| certain_reads(program, group, t))
        .collect();
    let place = |t: &TensorId| group.iter().position(|g| g == t);
    let edges: Vec<Vec<usize>> = certain
        .iter()
        .map(|reads| reads.iter().filter_map(|(_, t)| place(t)).collect())
        .collect();
    let all: Vec<usize> = (0..group.len()).collect();
    graph::components(&edges, &all)
        .into_iter()
        .find_map(|cycle| {
            let reader = *cycle.iter().min()?;
            let within = |t: &TensorId| place(t).is_some_and(|k| cycle.contains(&k));
            let (read, _) = certain[reader].iter().find(|(_, t)| within(t))?;
            Some((group[reader], *read))
        })
}

/// The reads of the group, without a default, that every evaluation of an element evaluates.
fn certain_reads(
    program: &Program,
    group: &[TensorId],
    reader: TensorId,
) -> Vec<(ExprId, TensorId)> {
    let mut out = vec![];
    let mut seen = Visited::new(program);
    let mut stack = match program.body(reader) {
        Some(Body::Expr(e)) => vec![*e],
        Some(Body::Argsort { .. } | Body::Grad { .. }) | None => vec![],
    };
    while let Some(e) = stack.pop() {
        if !seen.insert(e) {
            continue;
        }
        match program.node(e) {
            Node::Read {
                tensor,
                index,
                default,
            } => {
                if default.is_none() && group.contains(tensor) {
                    out.push((e, *tensor));
                }
                stack.extend(index.iter().rev());
            }
            Node::If { condition, .. } => stack.push(*condition),
            Node::Op(Op::And | Op::Or, o) => stack.push(o[0]),
            Node::Op(_, o) => stack.extend(o.iter().rev()),
            // It may have nothing to reduce.
            Node::Reduce { .. } => {}
            Node::Real(_)
            | Node::Int(_)
            | Node::Bool(_)
            | Node::Axis(_)
            | Node::Size(_)
            | Node::Param(_) => {}
        }
    }
    out
}

fn no_base(program: &Program, reader: TensorId, read: ExprId) -> Diagnostic {
    let name = &program.get(reader).name;
    let mut out = Diagnostic::error(format!("the recurrence of `{name}` has no base case"));
    if let Some(span) = program.span(read).or(program.get(reader).span) {
        out = out.at(span, "every element needs this one, also the first");
    }
    out.help("give the first one a value of its own: `if T == 0 then .. else ..`, or a default, as in `[T - 1 else 0]`")
}

fn no_order(
    program: &Program,
    group: &[TensorId],
    reader: TensorId,
    read: Option<ExprId>,
) -> Diagnostic {
    let names: Vec<&str> = group
        .iter()
        .filter(|t| program.get(**t).named)
        .map(|t| &*program.get(*t).name)
        .collect();
    let name = &program.get(reader).name;
    let title = if names.len() <= 1 {
        format!(
            "`{}` refers to itself in no order that it can be computed in",
            names.first().copied().unwrap_or(name)
        )
    } else {
        format!(
            "{} refer to each other in no order that they can be computed in",
            super::listed(&names)
        )
    };
    let span = read
        .and_then(|r| program.span(r))
        .or(program.get(reader).span);
    let mut out = Diagnostic::error(title);
    if let Some(span) = span {
        out = out.at(
            span,
            "this element need not be computed before the one that reads it",
        );
    }
    let grad = |t: &TensorId| matches!(program.body(*t), Some(Body::Grad { .. }));
    if group.iter().any(grad) {
        return out.help(
            "`grad` needs all of what it differentiates, so it cannot be part of a recurrence",
        );
    }
    out.help("on some axis all references must step the same way by a literal, such as `T - 1`")
}

/// The name of each position of a head.
fn axis_names(program: &Program, tensor: TensorId) -> Vec<AxisName> {
    let mut seen: FxHashMap<Arc<str>, usize> = FxHashMap::default();
    let head = &program.get(tensor).head;
    let mut out = vec![];
    for &a in head {
        let hint = program.axes[a.index()].hint.clone();
        let count = seen.entry(hint.clone()).or_insert(0);
        out.push((hint, *count));
        *count += 1;
    }
    out
}

fn references(program: &Program, group: &[TensorId], reader: TensorId) -> Vec<Reference> {
    let own = axis_names(program, reader);
    let unknown = |to: TensorId, read| {
        let steps = axis_names(program, to)
            .into_iter()
            .map(|n| (n, Step::Unknown))
            .collect();
        Reference {
            from: reader,
            to,
            steps,
            read,
        }
    };
    let along = match program.body(reader) {
        Some(&Body::Grad { of, wrt }) => {
            return [of, wrt]
                .into_iter()
                .filter(|t| group.contains(t))
                .map(|t| unknown(t, None))
                .collect();
        }
        Some(&Body::Argsort { along, .. }) => Some(along),
        Some(Body::Expr(_)) | None => None,
    };
    let head = &program.get(reader).head;
    let mut out = vec![];
    for e in program.reachable(&program.roots(reader)) {
        let Node::Read { tensor, index, .. } = program.node(e) else {
            continue;
        };
        if !group.contains(tensor) {
            continue;
        }
        let mut steps = FxHashMap::default();
        for (name, &i) in axis_names(program, *tensor).into_iter().zip(index) {
            let at = own.iter().position(|n| *n == name);
            // A permutation is of all elements along its axis.
            let step = match at {
                Some(k) if along != Some(head[k]) => step(program, i, head[k]),
                _ => Step::Unknown,
            };
            steps.insert(name, step);
        }
        out.push(Reference {
            from: reader,
            to: *tensor,
            steps,
            read: Some(e),
        });
    }
    out
}

fn step(program: &Program, index: ExprId, axis: crate::ir::AxisId) -> Step {
    let Some(form) = index::linear(program, index) else {
        return Step::Unknown;
    };
    let [(atom, 1)] = form.terms[..] else {
        return Step::Unknown;
    };
    if !matches!(program.node(atom), Node::Axis(a) if *a == axis) {
        return Step::Unknown;
    }
    match form.constant {
        0 => Step::Same,
        ..0 => Step::Earlier,
        _ => Step::Later,
    }
}

fn plan(
    program: &Program,
    members: &[TensorId],
    references: &[&Reference],
) -> Result<Plan, (TensorId, Option<ExprId>)> {
    let place: FxHashMap<TensorId, usize> =
        members.iter().enumerate().map(|(k, &t)| (t, k)).collect();
    let mut edges = vec![vec![]; members.len()];
    for r in references {
        edges[place[&r.from]].push(place[&r.to]);
    }
    let roots: Vec<usize> = (0..members.len()).collect();
    let mut parts = vec![];
    for part in graph::components(&edges, &roots) {
        let part: Vec<TensorId> = part.into_iter().map(|k| members[k]).collect();
        let inside: Vec<&Reference> = references
            .iter()
            .copied()
            .filter(|r| part.contains(&r.from) && part.contains(&r.to))
            .collect();
        parts.push(if inside.is_empty() {
            Plan::Definition(part[0])
        } else {
            cycle(program, &part, &inside)?
        });
    }
    if parts.len() == 1
        && let Some(only) = parts.pop()
    {
        return Ok(only);
    }
    Ok(Plan::Sequence(parts))
}

/// Takes an axis on which all references are equal or step one way, and one does.
fn cycle(
    program: &Program,
    part: &[TensorId],
    inside: &[&Reference],
) -> Result<Plan, (TensorId, Option<ExprId>)> {
    let mut error = None;
    for name in axis_names(program, part[0]) {
        for (direction, wanted) in [
            (Direction::Up, Step::Earlier),
            (Direction::Down, Step::Later),
        ] {
            let step = |r: &Reference| r.steps.get(&name).copied().unwrap_or(Step::Unknown);
            if !inside
                .iter()
                .all(|r| step(r) == Step::Same || step(r) == wanted)
                || !inside.iter().any(|r| step(r) == wanted)
            {
                continue;
            }
            let rest: Vec<&Reference> = inside
                .iter()
                .copied()
                .filter(|r| step(r) == Step::Same)
                .collect();
            match plan(program, part, &rest) {
                Ok(inner) => {
                    let members = part
                        .iter()
                        .filter_map(|&t| {
                            Some((t, axis_names(program, t).iter().position(|n| *n == name)?))
                        })
                        .collect();
                    let around = Loop {
                        axis: name.0.clone(),
                        direction,
                        members,
                    };
                    return Ok(Plan::Loop(around, Box::new(inner)));
                }
                Err(e) => error = error.or(Some(e)),
            }
        }
    }
    Err(error.unwrap_or_else(|| blame(inside)))
}

/// The reference to name: one that steps nowhere, or else one against the first's direction.
fn blame(inside: &[&Reference]) -> (TensorId, Option<ExprId>) {
    let still = |r: &&&Reference| {
        r.steps
            .values()
            .all(|s| matches!(s, Step::Same | Step::Unknown))
    };
    let first = inside.first().copied();
    let against = |r: &&&Reference| {
        first.is_some_and(|f| {
            r.steps.iter().any(|(n, s)| {
                matches!(
                    (f.steps.get(n), s),
                    (Some(Step::Earlier), Step::Later) | (Some(Step::Later), Step::Earlier)
                )
            })
        })
    };
    let worst = inside
        .iter()
        .find(still)
        .or_else(|| inside.iter().find(against))
        .copied()
        .or(first);
    worst.map_or((TensorId(0), None), |r| (r.from, r.read))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lower::tests::accept;

    fn show(program: &Program, plan: &Plan) -> String {
        match plan {
            Plan::Definition(t) => program.get(*t).name.to_string(),
            Plan::Sequence(parts) => parts
                .iter()
                .map(|p| show(program, p))
                .collect::<Vec<_>>()
                .join(", "),
            Plan::Loop(l, inner) => {
                let arrow = if l.direction == Direction::Up {
                    "up"
                } else {
                    "down"
                };
                format!("{} {arrow} {{ {} }}", l.axis, show(program, inner))
            }
        }
    }

    #[test]
    fn plans() {
        for (source, expected) in [
            (
                "loss f(x: [T]) = s[0] where s[T] = x + s[T + 1 else 0]",
                "T down { s }",
            ),
            (
                "loss f(x: [I, J]) = sum(r) where r[I, J] = x + r[I - 1, J else 0] + r[I, J - 1 else 0]",
                "I up { J up { r } }",
            ),
            // Along J nothing steps, so it is parallel.
            (
                "loss f(x: [I, J]) = sum(r) where r[I, J] = x + sum[K](r[I - 1, K else 0] * x[I, K])",
                "I up { r }",
            ),
            (
                "loss f(x: [T]) = sum(a) where a[T] = x + b  b[T] = 2 * a[T - 1 else 0]",
                "T up { b, a }",
            ),
            // Within one step of T, a goes up and b down.
            (
                "loss f(x: [T, K]) = sum(a) where
                   a[T, K] = x + a[T, K - 1 else 0] + b[T - 1, K else 0]
                   b[T, K] = a + b[T, K + 1 else 0]",
                "T up { K up { a }, K down { b } }",
            ),
            (
                "loss f(x: [T, K]) = sum(a) where a[T, K] = x + (if T > 0 then cumsum[K](a[T - 1, K]) else 0)",
                "T up { K up { running }, a }",
            ),
        ] {
            let program = accept(source).program;
            let groups = interp::groups(&program, &[program.value]);
            let recurrent = |g: &&Vec<TensorId>| g.len() > 1 || program.reads(g[0]).contains(&g[0]);
            let group = groups.iter().find(recurrent).unwrap();
            assert_eq!(
                show(&program, &order(&program, group).unwrap()),
                expected,
                "{source}"
            );
        }
    }
}
