//! The expressions of parts: hash-consed like those of a [`Program`](crate::ir::Program), but without binders, so that
//! substitution is simultaneous replacement and can capture nothing.

use super::{ExtentIndex, FoldOp};
use crate::ast::Span;
use crate::ir::{AxisId, Op, Real, Type};
use rustc_hash::{FxHashMap, FxHashSet};
use std::sync::Arc;

/// An expression. Its operands have smaller ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Id(pub u32);

/// A definition as the scheduler sees it: one map or one fold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct PartId(pub u32);

impl PartId {
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a read reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Source {
    /// By its place in the signature.
    Input(u32),
    Part(PartId),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Node {
    Real(Real),
    Int(i64),
    Bool(bool),
    Axis(AxisId),
    Size(ExtentIndex),
    Param(u32),
    Read {
        from: Source,
        index: Box<[Id]>,
        default: Option<Id>,
    },
    If(Id, Id, Id),
    Op(Op, Box<[Id]>),
    /// The operand where it is finite or NaN, 0 where it is infinite.
    Finite(Id),
}

struct Entry {
    node: Node,
    ty: Type,
    free: Arc<[AxisId]>,
    /// Whether its evaluation can fail: a computed index without a default, an int division.
    partial: bool,
    span: Option<Span>,
}

/// One read of a part or an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Read {
    pub from: Source,
    pub index: Box<[Id]>,
    pub default: Option<Id>,
}

/// The arena, and what expressions need to know of axes, extents and tensors.
pub(super) struct Pool {
    entries: Vec<Entry>,
    interned: FxHashMap<Node, Id>,
    no_axes: Arc<[AxisId]>,
    /// Name and extent of each axis. Axes of the program keep their ids.
    pub axes: Vec<(Arc<str>, ExtentIndex)>,
    pub extents: Vec<Option<u64>>,
    pub param_types: Vec<Type>,
    pub input_shapes: Vec<(Type, Vec<ExtentIndex>)>,
    pub part_shapes: Vec<(Type, Vec<ExtentIndex>)>,
}

impl Pool {
    pub fn new() -> Pool {
        Pool {
            entries: vec![],
            interned: FxHashMap::default(),
            no_axes: Arc::new([]),
            axes: vec![],
            extents: vec![],
            param_types: vec![],
            input_shapes: vec![],
            part_shapes: vec![],
        }
    }

    pub fn node(&self, id: Id) -> &Node {
        &self.entries[id.0 as usize].node
    }

    pub fn ty(&self, id: Id) -> Type {
        self.entries[id.0 as usize].ty
    }

    pub fn free(&self, id: Id) -> &Arc<[AxisId]> {
        &self.entries[id.0 as usize].free
    }

    pub fn has(&self, id: Id, axis: AxisId) -> bool {
        self.free(id).binary_search(&axis).is_ok()
    }

    pub fn partial(&self, id: Id) -> bool {
        self.entries[id.0 as usize].partial
    }

    pub fn span(&self, id: Id) -> Option<Span> {
        self.entries[id.0 as usize].span
    }

    pub fn locate(&mut self, id: Id, span: Option<Span>) {
        let entry = &mut self.entries[id.0 as usize];
        entry.span = entry.span.or(span);
    }

    pub fn shape(&self, from: Source) -> &[ExtentIndex] {
        match from {
            Source::Input(i) => &self.input_shapes[i as usize].1,
            Source::Part(p) => &self.part_shapes[p.index()].1,
        }
    }

    pub fn extent(&self, axis: AxisId) -> ExtentIndex {
        self.axes[axis.index()].1
    }

    pub fn new_axis(&mut self, hint: Arc<str>, extent: ExtentIndex) -> AxisId {
        self.axes.push((hint, extent));
        AxisId(self.axes.len() as u32 - 1)
    }

    // ---- making

    /// The node as it is.
    pub fn mk(&mut self, node: Node) -> Id {
        if let Some(&id) = self.interned.get(&node) {
            return id;
        }
        let ty = self.type_of(&node);
        let free = self.free_of(&node);
        let partial = self.partial_of(&node);
        let id = Id(self.entries.len() as u32);
        self.interned.insert(node.clone(), id);
        self.entries.push(Entry {
            node,
            ty,
            free,
            partial,
            span: None,
        });
        id
    }

    pub fn real(&mut self, value: f64) -> Id {
        self.mk(Node::Real(Real(value)))
    }

    pub fn int(&mut self, value: i64) -> Id {
        self.mk(Node::Int(value))
    }

    pub fn axis(&mut self, axis: AxisId) -> Id {
        self.mk(Node::Axis(axis))
    }

    pub fn read(&mut self, from: Source, index: Box<[Id]>) -> Id {
        self.mk(Node::Read {
            from,
            index,
            default: None,
        })
    }

    /// The zero, or other identity, of a fold over values of type `ty`.
    pub fn identity(&mut self, op: FoldOp, ty: Type) -> Id {
        match (op, ty) {
            (FoldOp::Sum, Type::Real) => self.real(0.0),
            (FoldOp::Sum | FoldOp::Count, _) => self.int(0),
            (FoldOp::Prod, Type::Real) => self.real(1.0),
            (FoldOp::Prod, _) => self.int(1),
            (FoldOp::Max, Type::Real) => self.real(f64::NEG_INFINITY),
            (FoldOp::Max, _) => self.int(i64::MIN),
            (FoldOp::Min, Type::Real) => self.real(f64::INFINITY),
            (FoldOp::Min, _) => self.int(i64::MAX),
            (FoldOp::Any, _) => self.mk(Node::Bool(false)),
            (FoldOp::All, _) => self.mk(Node::Bool(true)),
            (FoldOp::ArgMax | FoldOp::ArgMin, _) => self.int(-1),
        }
    }

    pub fn op(&mut self, op: Op, operands: &[Id]) -> Id {
        self.make(Node::Op(op, operands.into()))
    }

    pub fn and(&mut self, a: Option<Id>, b: Option<Id>) -> Option<Id> {
        match (a, b) {
            (None, x) | (x, None) => x,
            (Some(a), Some(b)) if a == b => Some(a),
            (Some(a), Some(b)) => Some(self.op(Op::And, &[a, b])),
        }
    }

    pub fn select(&mut self, condition: Id, then: Id, otherwise: Id) -> Id {
        self.make(Node::If(condition, then, otherwise))
    }

    /// The node, or what it is when its operands decide it: what unrolling an axis leaves behind.
    pub fn make(&mut self, node: Node) -> Id {
        match &node {
            Node::If(condition, then, otherwise) => match self.node(*condition) {
                Node::Bool(true) => return *then,
                Node::Bool(false) => return *otherwise,
                _ if then == otherwise => return *then,
                _ => {}
            },
            Node::Op(op, operands) => {
                if let Some(id) = self.fold_op(*op, operands) {
                    return id;
                }
            }
            Node::Real(_)
            | Node::Int(_)
            | Node::Bool(_)
            | Node::Axis(_)
            | Node::Size(_)
            | Node::Param(_)
            | Node::Read { .. }
            | Node::Finite(_) => {}
        }
        self.mk(node)
    }

    /// Ints and bools that are known; reals are left to the simplifier.
    fn fold_op(&mut self, op: Op, operands: &[Id]) -> Option<Id> {
        let int = |pool: &Pool, k: usize| match operands.get(k).map(|&o| pool.node(o)) {
            Some(Node::Int(v)) => Some(*v),
            _ => None,
        };
        let known = |pool: &Pool, k: usize| match operands.get(k).map(|&o| pool.node(o)) {
            Some(Node::Bool(v)) => Some(*v),
            _ => None,
        };
        let (a, b) = (int(self, 0), int(self, 1));
        let real = |pool: &Pool, k: usize| match operands.get(k).map(|&o| pool.node(o)) {
            Some(Node::Real(v)) => Some(v.0),
            _ => None,
        };
        let as_bool = |pool: &mut Pool, v: bool| Some(pool.mk(Node::Bool(v)));
        match (op, real(self, 0), real(self, 1)) {
            (Op::Add, Some(0.0), _) | (Op::Mul, Some(1.0), _) => return Some(operands[1]),
            (Op::Add | Op::Sub, _, Some(0.0)) | (Op::Mul | Op::Div, _, Some(1.0)) => {
                return Some(operands[0]);
            }
            (Op::Sub, Some(0.0), None) => return Some(self.op(Op::Neg, &[operands[1]])),
            _ => {}
        }
        match op {
            Op::Add => match (a, b) {
                (Some(a), Some(b)) => Some(self.int(a.wrapping_add(b))),
                (Some(0), None) => Some(operands[1]),
                (None, Some(0)) => Some(operands[0]),
                _ => None,
            },
            Op::Sub => match (a, b) {
                (Some(a), Some(b)) => Some(self.int(a.wrapping_sub(b))),
                (None, Some(0)) => Some(operands[0]),
                _ => None,
            },
            Op::Mul => match (a, b) {
                (Some(a), Some(b)) => Some(self.int(a.wrapping_mul(b))),
                (Some(1), None) => Some(operands[1]),
                (None, Some(1)) => Some(operands[0]),
                _ => None,
            },
            Op::Neg => a.map(|a| self.int(a.wrapping_neg())),
            Op::Eq | Op::Ne | Op::Lt | Op::Le | Op::Gt | Op::Ge => {
                let (a, b) = (a?, b?);
                let v = match op {
                    Op::Eq => a == b,
                    Op::Ne => a != b,
                    Op::Lt => a < b,
                    Op::Le => a <= b,
                    Op::Gt => a > b,
                    _ => a >= b,
                };
                as_bool(self, v)
            }
            Op::And => match (known(self, 0), known(self, 1)) {
                (Some(false), _) | (_, Some(false)) => as_bool(self, false),
                (Some(true), _) => Some(operands[1]),
                (_, Some(true)) => Some(operands[0]),
                _ => None,
            },
            Op::Or => match (known(self, 0), known(self, 1)) {
                (Some(true), _) | (_, Some(true)) => as_bool(self, true),
                (Some(false), _) => Some(operands[1]),
                (_, Some(false)) => Some(operands[0]),
                _ => None,
            },
            Op::Not => known(self, 0).and_then(|v| as_bool(self, !v)),
            Op::ToReal => a.map(|a| self.real(a as f64)),
            _ => None,
        }
    }

    // ---- what a node is

    fn type_of(&self, node: &Node) -> Type {
        match node {
            Node::Real(_) | Node::Finite(_) => Type::Real,
            Node::Int(_) | Node::Axis(_) | Node::Size(_) => Type::Int,
            Node::Bool(_) => Type::Bool,
            Node::Param(p) => self.param_types[*p as usize],
            Node::Read {
                from: Source::Input(i),
                ..
            } => self.input_shapes[*i as usize].0,
            Node::Read {
                from: Source::Part(p),
                ..
            } => self.part_shapes[p.index()].0,
            Node::If(_, then, _) => self.ty(*then),
            Node::Op(op, operands) => {
                op.result(operands.last().map_or(Type::Real, |&o| self.ty(o)))
            }
        }
    }

    fn free_of(&self, node: &Node) -> Arc<[AxisId]> {
        if let Node::Axis(a) = node {
            return Arc::new([*a]);
        }
        let mut first: Option<&Arc<[AxisId]>> = None;
        let mut all: Vec<AxisId> = vec![];
        for_children(node, |c| {
            let free = self.free(c);
            match first {
                _ if free.is_empty() => {}
                None => first = Some(free),
                Some(f) if f == free => {}
                Some(_) => all.extend(free.iter()),
            }
        });
        match first {
            None => self.no_axes.clone(),
            Some(f) if all.is_empty() => f.clone(),
            Some(f) => {
                all.extend(f.iter());
                all.sort_unstable();
                all.dedup();
                all.into()
            }
        }
    }

    fn partial_of(&self, node: &Node) -> bool {
        let own = match node {
            Node::Read {
                from,
                index,
                default: None,
            } => index
                .iter()
                .zip(self.shape(*from))
                .any(|(&i, &extent)| !self.fits(i, extent)),
            Node::Op(Op::IntDiv | Op::Mod, operands) => {
                !matches!(operands.get(1).map(|&o| self.node(o)), Some(Node::Int(d)) if *d != 0)
            }
            _ => false,
        };
        let mut partial = own;
        for_children(node, |c| partial |= self.partial(c));
        partial
    }

    /// Whether an index is in range of a position by its form.
    pub fn fits(&self, index: Id, extent: ExtentIndex) -> bool {
        let size = self.extents[extent.0 as usize];
        match self.node(index) {
            Node::Axis(a) => {
                let own = self.extent(*a);
                let known = self.extents[own.0 as usize];
                own == extent || matches!((known, size), (Some(a), Some(b)) if a <= b)
            }
            Node::Int(k) => size.is_some_and(|n| *k >= 0 && (*k as u64) < n),
            _ => false,
        }
    }

    // ---- walking and rewriting

    /// Every node that `roots` are made of, operands first.
    pub fn reachable(&self, roots: impl IntoIterator<Item = Id>) -> Vec<Id> {
        let mut seen = FxHashSet::default();
        let mut stack: Vec<Id> = vec![];
        for root in roots {
            if seen.insert(root) {
                stack.push(root);
            }
        }
        let mut ids = stack.clone();
        while let Some(id) = stack.pop() {
            for_children(self.node(id), |c| {
                if seen.insert(c) {
                    ids.push(c);
                    stack.push(c);
                }
            });
        }
        ids.sort_unstable();
        ids
    }

    /// Rebuilds `root` from its leaves up; `f` gets each node with its operands already rebuilt.
    pub fn rebuild(&mut self, root: Id, f: &mut dyn FnMut(&mut Pool, Node) -> Id) -> Id {
        let mut memo: FxHashMap<Id, Id> = FxHashMap::default();
        for id in self.reachable([root]) {
            let mut node = self.node(id).clone();
            map_children(&mut node, |c| memo[&c]);
            let new = f(self, node);
            if new != id {
                let span = self.span(id);
                self.locate(new, span);
            }
            memo.insert(id, new);
        }
        memo[&root]
    }

    /// Replaces axes by ints.
    pub fn subst(&mut self, root: Id, map: &[(AxisId, Id)]) -> Id {
        if !self.free(root).iter().any(|a| {
            map.iter()
                .any(|(b, to)| a == b && !matches!(self.node(*to), Node::Axis(c) if c == a))
        }) {
            return root;
        }
        self.rebuild(root, &mut |pool, node| match node {
            Node::Axis(a) => match map.iter().find(|(b, _)| *b == a) {
                Some(&(_, to)) => to,
                None => pool.mk(node),
            },
            _ => pool.make(node),
        })
    }

    /// The reads an expression is made of, each once.
    pub fn reads(&self, roots: impl IntoIterator<Item = Id>) -> Vec<Read> {
        let mut out = vec![];
        for id in self.reachable(roots) {
            if let Node::Read {
                from,
                index,
                default,
            } = self.node(id)
            {
                out.push(Read {
                    from: *from,
                    index: index.clone(),
                    default: *default,
                });
            }
        }
        out
    }

    /// The conjuncts of a condition, in order.
    pub fn conjuncts(&self, condition: Option<Id>) -> Vec<Id> {
        let mut out = vec![];
        let mut stack: Vec<Id> = condition.into_iter().collect();
        while let Some(id) = stack.pop() {
            match self.node(id) {
                Node::Op(Op::And, operands) => stack.extend(operands.iter().rev()),
                _ => out.push(id),
            }
        }
        out
    }

    /// What computing an expression costs, about in cycles of one element; each node once.
    pub fn weight(&self, root: Id) -> u32 {
        self.reachable([root])
            .into_iter()
            .map(|id| self.own_weight(id))
            .sum()
    }

    fn own_weight(&self, id: Id) -> u32 {
        match self.node(id) {
            Node::Real(_)
            | Node::Int(_)
            | Node::Bool(_)
            | Node::Axis(_)
            | Node::Size(_)
            | Node::Param(_) => 0,
            Node::Read { default, .. } => u32::from(default.is_some()),
            Node::If(..) | Node::Finite(_) => 1,
            Node::Op(op, _) => match op {
                Op::StopGradient => 0,
                Op::Add
                | Op::Sub
                | Op::Mul
                | Op::Neg
                | Op::Abs
                | Op::Sign
                | Op::Max
                | Op::Min
                | Op::Clamp
                | Op::Relu
                | Op::Floor
                | Op::Ceil
                | Op::Round
                | Op::ToReal
                | Op::ToInt
                | Op::Eq
                | Op::Ne
                | Op::Lt
                | Op::Le
                | Op::Gt
                | Op::Ge
                | Op::And
                | Op::Or
                | Op::Not => 1,
                Op::Div | Op::Sqrt => 4,
                Op::IntDiv | Op::Mod => 8,
                Op::Exp
                | Op::Expm1
                | Op::Log
                | Op::Log1p
                | Op::Log2
                | Op::Sin
                | Op::Cos
                | Op::Tan
                | Op::Asin
                | Op::Acos
                | Op::Atan
                | Op::Atan2
                | Op::Sinh
                | Op::Cosh
                | Op::Tanh
                | Op::Sigmoid
                | Op::Softplus
                | Op::Erf
                | Op::Xlogy
                | Op::Pow => 16,
                Op::LogSumExp => 40,
                Op::Lgamma | Op::Digamma | Op::Polygamma => 64,
            },
        }
    }
}

pub(super) fn for_children(node: &Node, mut f: impl FnMut(Id)) {
    match node {
        Node::Real(_)
        | Node::Int(_)
        | Node::Bool(_)
        | Node::Axis(_)
        | Node::Size(_)
        | Node::Param(_) => {}
        Node::Read { index, default, .. } => {
            index.iter().copied().for_each(&mut f);
            default.iter().copied().for_each(&mut f);
        }
        Node::If(a, b, c) => [*a, *b, *c].into_iter().for_each(f),
        Node::Op(_, operands) => operands.iter().copied().for_each(f),
        Node::Finite(x) => f(*x),
    }
}

fn map_children(node: &mut Node, f: impl Fn(Id) -> Id) {
    match node {
        Node::Real(_)
        | Node::Int(_)
        | Node::Bool(_)
        | Node::Axis(_)
        | Node::Size(_)
        | Node::Param(_) => {}
        Node::Read { index, default, .. } => {
            index.iter_mut().for_each(|i| *i = f(*i));
            if let Some(d) = default {
                *d = f(*d);
            }
        }
        Node::If(a, b, c) => {
            *a = f(*a);
            *b = f(*b);
            *c = f(*c);
        }
        Node::Op(_, operands) => operands.iter_mut().for_each(|o| *o = f(*o)),
        Node::Finite(x) => *x = f(*x),
    }
}
