//! `grad[x](e)` (rule R10): inner gradients, innermost first.
//!
//! x is read through a copy `x'[F, A] = x[A]`, F the free axes of e: one x for each value of F, so that their derivatives do
//! not meet. A definition between e and x is cloned once for each way it is read: F is its own head axis where it is read
//! at the bare axis, otherwise an extra head axis. The clones are differentiated as ever, then the copies read x again, and
//! [`simplify`](crate::rewrite::simplify) drops head axes that nobody uses and merges clones that equal their originals.

use super::activity::active_reads;
use super::sweep;
use crate::diagnostic::Diagnostic;
use crate::ir::{AxisId, Body, ExprId, Node, Program, TensorId, Type};
use crate::rewrite::{Memo, Substitution, live, name, rebuild, rebuild_body, substitute};
use rustc_hash::{FxHashMap, FxHashSet};

/// Inner gradients add at most this many nodes to a program: each level of `grad` in `grad` multiplies them.
const MOST: usize = 250_000;

/// Replaces every inner gradient that `outputs` need by its derivation.
///
/// # Errors
/// Gradients in gradients whose derivation is too large.
pub fn expand(program: &mut Program, outputs: &[TensorId]) -> Result<(), Diagnostic> {
    let most = program.node_count() + MOST;
    // A gradient comes after the gradients in what it differentiates.
    for t in live(program, outputs) {
        if let Some(&Body::Grad { of, wrt }) = program.body(t) {
            let head = program.get(t).head.clone();
            let derived = gradient_of(program, of, wrt);
            let body = match derived {
                Some(g) => program.read_at(g, &head),
                None => program.real(0.0),
            };
            program.set_body(t, Body::Expr(body));
            if program.node_count() > most {
                let wrt = program.get(wrt).name.clone();
                let title = format!("the inner gradient by `{wrt}` is too large to derive");
                let error = Diagnostic::error(title)
                    .note(format!(
                        "inner gradients may add {MOST} operations to a loss"
                    ))
                    .help("each `grad` of a `grad` multiplies them; differentiate fewer times");
                return Err(match program.get(t).span {
                    Some(span) => error.at(span, "up to here they are more"),
                    None => error,
                });
            }
        }
    }
    Ok(())
}

/// The derivative of each element of `of` with respect to `wrt`, a definition over the axes of `of` and then those of
/// `wrt`; `None` if there is no dependence.
pub fn gradient_of(program: &mut Program, of: TensorId, wrt: TensorId) -> Option<TensorId> {
    let mut definitions = live(program, &[of]);
    name::name_reductions(program, &mut definitions);
    let path = path(program, of, wrt);
    if !path.contains(&of) && of != wrt {
        return None;
    }
    let free = program.get(of).head.clone();
    let first = program.tensors.len();
    let copy = copy_of(program, wrt, &free);
    let mut cloning = Cloning {
        wrt,
        copy,
        free: free.clone(),
        path,
        made: FxHashMap::default(),
        pending: vec![],
    };
    let top = if of == wrt {
        // grad[x](x): the copy itself.
        let head: Vec<AxisId> = free.iter().map(|&a| program.fresh(a)).collect();
        let at: Vec<AxisId> = head.iter().chain(&head).copied().collect();
        let read = program.read_at(copy, &at);
        program.define("copy", head, Type::Real, Body::Expr(read))
    } else {
        cloning.clone_of(program, of, (0..free.len()).map(Some).collect())
    };
    cloning.finish(program);
    let bar = sweep::adjoints(program, top, &[copy]).remove(&copy);
    dissolve(program, copy, wrt, free.len(), first);
    bar
}

/// The definitions through which `of` depends on `wrt`.
fn path(program: &Program, of: TensorId, wrt: TensorId) -> FxHashSet<TensorId> {
    let mut readers: FxHashMap<TensorId, Vec<TensorId>> = FxHashMap::default();
    let (mut seen, mut stack) = (FxHashSet::default(), vec![of]);
    while let Some(t) = stack.pop() {
        if !seen.insert(t) || t == wrt {
            continue;
        }
        for r in active_reads(program, t) {
            readers.entry(r).or_default().push(t);
            stack.push(r);
        }
    }
    let (mut path, mut stack) = (FxHashSet::default(), vec![wrt]);
    while let Some(t) = stack.pop() {
        for &r in readers.get(&t).map_or(&[][..], |l| l) {
            if path.insert(r) {
                stack.push(r);
            }
        }
    }
    path
}

/// `x'[F, A] = x[A]`.
fn copy_of(program: &mut Program, wrt: TensorId, free: &[AxisId]) -> TensorId {
    let own: Vec<AxisId> = program
        .get(wrt)
        .head
        .clone()
        .iter()
        .map(|&a| program.fresh(a))
        .collect();
    let extra: Vec<AxisId> = free.iter().map(|&a| program.fresh(a)).collect();
    let body = program.read_at(wrt, &own);
    let name = program.get(wrt).name.clone();
    program.define(&name, [extra, own].concat(), Type::Real, Body::Expr(body))
}

/// After differentiation: the copy is x again, also under a default (its extra axes never miss).
fn dissolve(program: &mut Program, copy: TensorId, wrt: TensorId, extra: usize, first: usize) {
    let mut memo = Memo::default();
    for t in first..program.tensors.len() {
        let t = TensorId(t as u32);
        if t == copy {
            continue;
        }
        rebuild_body(program, t, &mut memo, |program, _, node| match node {
            Node::Read {
                tensor,
                index,
                default,
            } if tensor == copy => program.read(wrt, &index[extra..], default),
            node => program.make(node),
        });
    }
}

/// Where each of F is in a definition's head; `None` where it is an extra axis.
type Positions = Vec<Option<usize>>;

struct Cloning {
    wrt: TensorId,
    copy: TensorId,
    free: Vec<AxisId>,
    path: FxHashSet<TensorId>,
    made: FxHashMap<(TensorId, Positions), TensorId>,
    /// Clones without a body yet: the clone, its original, its axes of F.
    pending: Vec<(TensorId, TensorId, Vec<AxisId>)>,
}

impl Cloning {
    fn clone_of(&mut self, program: &mut Program, v: TensorId, positions: Positions) -> TensorId {
        if let Some(&t) = self.made.get(&(v, positions.clone())) {
            return t;
        }
        let own: Vec<AxisId> = program
            .get(v)
            .head
            .clone()
            .iter()
            .map(|&a| program.fresh(a))
            .collect();
        let mut extra = vec![];
        let mut current = vec![];
        for (&f, position) in self.free.iter().zip(&positions) {
            current.push(match position {
                Some(q) => own[*q],
                None => {
                    let axis = program.fresh(f);
                    extra.push(axis);
                    axis
                }
            });
        }
        let (name, zero) = (program.get(v).name.clone(), program.real(0.0));
        let clone = program.define(&name, [extra, own].concat(), Type::Real, Body::Expr(zero));
        self.made.insert((v, positions), clone);
        self.pending.push((clone, v, current));
        clone
    }

    /// Gives every clone its body; that makes more clones.
    fn finish(&mut self, program: &mut Program) {
        while let Some((clone, v, current)) = self.pending.pop() {
            let Some(&Body::Expr(body)) = program.body(v) else {
                continue;
            };
            let old = program.get(v).head.clone();
            let new = program.get(clone).head.clone();
            let own = &new[new.len() - old.len()..];
            let map: Substitution = old
                .iter()
                .zip(own)
                .map(|(&a, &b)| (a, program.index_of(b)))
                .collect();
            let body = substitute(program, body, &map);
            let body = self.redirect(program, body, &current);
            program.set_body(clone, Body::Expr(body));
        }
    }

    /// Reads of x and of what leads to it become reads of copies at `current`, the axes that stand for F.
    fn redirect(&mut self, program: &mut Program, body: ExprId, current: &[AxisId]) -> ExprId {
        rebuild(
            program,
            body,
            &mut Memo::default(),
            |program, _, node| match node {
                Node::Read {
                    tensor,
                    index,
                    default,
                } if tensor == self.wrt => {
                    let index = self.at(program, current.iter(), &index);
                    program.mk(Node::Read {
                        tensor: self.copy,
                        index,
                        default,
                    })
                }
                Node::Read {
                    tensor,
                    index,
                    default,
                } if self.path.contains(&tensor) => {
                    let place = |program: &Program, axis: AxisId| {
                        index
                            .iter()
                            .position(|&i| program.node(i) == &Node::Axis(axis))
                    };
                    let positions: Positions = current.iter().map(|&c| place(program, c)).collect();
                    let extra: Vec<AxisId> = current
                        .iter()
                        .zip(&positions)
                        .filter(|(_, p)| p.is_none())
                        .map(|(&c, _)| c)
                        .collect();
                    let clone = self.clone_of(program, tensor, positions);
                    let index = self.at(program, extra.iter(), &index);
                    program.mk(Node::Read {
                        tensor: clone,
                        index,
                        default,
                    })
                }
                node => program.mk(node),
            },
        )
    }

    fn at<'a>(
        &self,
        program: &mut Program,
        axes: impl Iterator<Item = &'a AxisId>,
        index: &[ExprId],
    ) -> Box<[ExprId]> {
        let mut all: Vec<ExprId> = axes.map(|&a| program.index_of(a)).collect();
        all.extend(index);
        all.into()
    }
}
