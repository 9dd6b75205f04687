//! A program: its tensors, and the arena of their expressions.

use super::{
    Axis, AxisId, Body, ExprId, Extent, ExtentId, ExtentKind, Gradient, Node, Op, Param, Real,
    Tensor, TensorId, TensorKind, Type, Visited,
};
use crate::ast::Span;
use hashbrown::HashTable;
use rustc_hash::FxBuildHasher;
use std::hash::BuildHasher;
use std::sync::{Arc, OnceLock};

/// A loss (or what became of it), as definitions.
#[derive(Clone)]
pub struct Program {
    pub name: Arc<str>,
    pub doc: Arc<str>,
    pub extents: Vec<Extent>,
    pub axes: Vec<Axis>,
    pub params: Vec<Param>,
    pub tensors: Vec<Tensor>,
    /// Inputs in the order of the signature.
    pub inputs: Vec<TensorId>,
    /// The loss's value: a definition without axes (with axes for `--reduction none`).
    pub value: TensorId,
    pub gradients: Vec<Gradient>,
    entries: Vec<Entry>,
    /// The number of each expression, found by its hash.
    interned: HashTable<(u64, ExprId)>,
    no_axes: Arc<[AxisId]>,
}

#[derive(Clone)]
struct Entry {
    node: Node,
    ty: Type,
    /// Free axes, sorted.
    free: Arc<[AxisId]>,
    /// Where the source says it, for messages about its evaluation.
    span: Option<Span>,
    /// The tensors that are read in it, once somebody asked: passes ask for those of whole bodies again and again.
    reads: OnceLock<Arc<[TensorId]>>,
}

impl Program {
    /// An empty program; `value` must be set before it is used.
    pub fn new(name: Arc<str>) -> Program {
        Program {
            name,
            doc: "".into(),
            extents: vec![],
            axes: vec![],
            params: vec![],
            tensors: vec![],
            inputs: vec![],
            value: TensorId(u32::MAX),
            gradients: vec![],
            entries: Vec::with_capacity(256),
            interned: HashTable::new(),
            no_axes: Arc::new([]),
        }
    }

    // ---- making

    pub fn extent(&mut self, name: Arc<str>, kind: ExtentKind) -> ExtentId {
        self.extents.push(Extent { name, kind });
        ExtentId(self.extents.len() as u32 - 1)
    }

    pub fn axis(&mut self, hint: Arc<str>, extent: ExtentId) -> AxisId {
        self.axes.push(Axis { hint, extent });
        AxisId(self.axes.len() as u32 - 1)
    }

    /// A new axis with the name and extent of `axis`.
    pub fn fresh(&mut self, axis: AxisId) -> AxisId {
        let Axis { hint, extent } = self.axes[axis.index()].clone();
        self.axis(hint, extent)
    }

    pub fn tensor(&mut self, tensor: Tensor) -> TensorId {
        self.tensors.push(tensor);
        TensorId(self.tensors.len() as u32 - 1)
    }

    /// A generated definition (its name is a hint). The body must be of type `ty` and free in nothing but `head`.
    pub fn define(&mut self, name: &str, head: Vec<AxisId>, ty: Type, body: Body) -> TensorId {
        self.tensor(Tensor {
            name: name.into(),
            ty,
            head,
            kind: TensorKind::Definition(body),
            named: false,
            span: None,
        })
    }

    /// The node as it is, without any simplification; the same node has the same id.
    pub fn mk(&mut self, node: Node) -> ExprId {
        let hash = FxBuildHasher.hash_one(&node);
        let same = |&(_, id): &(u64, ExprId)| self.entries[id.index()].node == node;
        if let Some(&(_, id)) = self.interned.find(hash, same) {
            return id;
        }
        let ty = self.type_of(&node);
        let free = self.free_of(&node);
        let id = ExprId(self.entries.len() as u32);
        self.interned
            .insert_unique(hash, (hash, id), |&(hash, _)| hash);
        self.entries.push(Entry {
            node,
            ty,
            free,
            span: None,
            reads: OnceLock::new(),
        });
        id
    }

    pub fn real(&mut self, value: f64) -> ExprId {
        self.mk(Node::Real(Real(value)))
    }

    pub fn int(&mut self, value: i64) -> ExprId {
        self.mk(Node::Int(value))
    }

    pub fn bool(&mut self, value: bool) -> ExprId {
        self.mk(Node::Bool(value))
    }

    pub fn index_of(&mut self, axis: AxisId) -> ExprId {
        self.mk(Node::Axis(axis))
    }

    /// `op(operands)` as it is.
    pub fn raw(&mut self, op: Op, operands: &[ExprId]) -> ExprId {
        self.mk(Node::Op(op, operands.into()))
    }

    /// A read of `tensor` at plain indices `axes`.
    pub fn read_at(&mut self, tensor: TensorId, axes: &[AxisId]) -> ExprId {
        let index = axes.iter().map(|&a| self.index_of(a)).collect();
        self.mk(Node::Read {
            tensor,
            index,
            default: None,
        })
    }

    /// Remembers where the source says an expression; the first place given stays.
    pub fn locate(&mut self, id: ExprId, span: Span) {
        self.entries[id.index()].span.get_or_insert(span);
    }

    // ---- asking

    pub fn node(&self, id: ExprId) -> &Node {
        &self.entries[id.index()].node
    }

    pub fn ty(&self, id: ExprId) -> Type {
        self.entries[id.index()].ty
    }

    /// Free axes, sorted by id.
    pub fn free(&self, id: ExprId) -> &Arc<[AxisId]> {
        &self.entries[id.index()].free
    }

    pub fn is_free(&self, axis: AxisId, id: ExprId) -> bool {
        self.free(id).binary_search(&axis).is_ok()
    }

    pub fn span(&self, id: ExprId) -> Option<Span> {
        self.entries[id.index()].span
    }

    /// How many nodes the arena holds; ids run from 0 to this.
    pub fn node_count(&self) -> usize {
        self.entries.len()
    }

    pub fn extent_of(&self, axis: AxisId) -> ExtentId {
        self.axes[axis.index()].extent
    }

    pub fn get(&self, tensor: TensorId) -> &Tensor {
        &self.tensors[tensor.index()]
    }

    /// The body of a definition, `None` for an input.
    pub fn body(&self, tensor: TensorId) -> Option<&Body> {
        match &self.get(tensor).kind {
            TensorKind::Input(_) => None,
            TensorKind::Definition(body) => Some(body),
        }
    }

    pub fn set_body(&mut self, tensor: TensorId, body: Body) {
        self.tensors[tensor.index()].kind = TensorKind::Definition(body);
    }

    /// The expressions a body is made of, guard before key.
    pub fn roots(&self, tensor: TensorId) -> Vec<ExprId> {
        match self.body(tensor) {
            None | Some(Body::Grad { .. }) => vec![],
            Some(Body::Expr(e)) => vec![*e],
            Some(Body::Argsort { guard, key, .. }) => guard.iter().copied().chain([*key]).collect(),
        }
    }

    /// The value and every gradient that exists.
    pub fn outputs(&self) -> Vec<TensorId> {
        std::iter::once(self.value)
            .chain(self.gradients.iter().filter_map(|g| g.tensor))
            .collect()
    }

    /// Calls `f` for each operand of a node, in order of evaluation (a guard before the body, indices before the default).
    pub fn for_children(&self, id: ExprId, mut f: impl FnMut(ExprId)) {
        match self.node(id) {
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
            Node::If {
                condition,
                then,
                otherwise,
            } => {
                f(*condition);
                f(*then);
                f(*otherwise);
            }
            Node::Op(_, operands) => operands.iter().copied().for_each(&mut f),
            Node::Reduce { guard, body, .. } => {
                guard.iter().copied().for_each(&mut f);
                f(*body);
            }
        }
    }

    /// Every node that `roots` are made of, operands before their readers, each once.
    pub fn reachable(&self, roots: &[ExprId]) -> Vec<ExprId> {
        let mut seen = Visited::new(self);
        let mut stack = Vec::with_capacity(roots.len() + 32);
        stack.extend_from_slice(roots);
        while let Some(id) = stack.pop() {
            if seen.insert(id) {
                self.for_children(id, |c| stack.push(c));
            }
        }
        seen.sorted()
    }

    /// The tensors that a definition reads, each once, in ascending order.
    pub fn reads(&self, tensor: TensorId) -> Vec<TensorId> {
        if let Some(Body::Grad { of, wrt }) = self.body(tensor) {
            return vec![*of, *wrt];
        }
        match self.roots(tensor)[..] {
            [] => vec![],
            [root] => self.read_in(root).to_vec(),
            ref roots => {
                let all = roots.iter().flat_map(|&r| self.read_in(r).iter().copied());
                let mut out: Vec<TensorId> = all.collect();
                out.sort_unstable();
                out.dedup();
                out
            }
        }
    }

    /// The tensors that are read in an expression, each once, in ascending order.
    fn read_in(&self, root: ExprId) -> &[TensorId] {
        self.entries[root.index()].reads.get_or_init(|| {
            let (mut seen, mut stack) = (Visited::new(self), vec![root]);
            let mut out = vec![];
            while let Some(id) = stack.pop() {
                if seen.insert(id) {
                    if let Node::Read { tensor, .. } = self.node(id) {
                        out.push(*tensor);
                    }
                    self.for_children(id, |c| stack.push(c));
                }
            }
            out.sort_unstable();
            out.dedup();
            out.into()
        })
    }

    // ---- what a node is

    fn type_of(&self, node: &Node) -> Type {
        match node {
            Node::Real(_) => Type::Real,
            Node::Int(_) | Node::Axis(_) | Node::Size(_) => Type::Int,
            Node::Bool(_) => Type::Bool,
            Node::Param(p) => self.params[p.index()].ty,
            Node::Read { tensor, .. } => self.get(*tensor).ty,
            Node::If { then, .. } => self.ty(*then),
            Node::Op(op, operands) => {
                op.result(operands.last().map_or(Type::Real, |&o| self.ty(o)))
            }
            Node::Reduce { op, body, .. } => op.result(self.ty(*body)),
        }
    }

    fn free_of(&self, node: &Node) -> Arc<[AxisId]> {
        let mut all: Vec<AxisId> = vec![];
        let mut only: Option<&Arc<[AxisId]>> = None;
        let mut add = |id: ExprId| {
            let free = self.free(id);
            if free.is_empty() {
                return;
            }
            match only {
                None if all.is_empty() => only = Some(free),
                Some(f) if f == free => {}
                _ => {
                    if let Some(f) = only.take() {
                        all.extend(f.iter());
                    }
                    all.extend(free.iter());
                }
            }
        };
        match node {
            Node::Real(_) | Node::Int(_) | Node::Bool(_) | Node::Size(_) | Node::Param(_) => {}
            Node::Axis(a) => return Arc::new([*a]),
            Node::Read { index, default, .. } => {
                index.iter().copied().for_each(&mut add);
                default.iter().copied().for_each(&mut add);
            }
            Node::If {
                condition,
                then,
                otherwise,
            } => [*condition, *then, *otherwise]
                .into_iter()
                .for_each(&mut add),
            Node::Op(_, operands) => operands.iter().copied().for_each(&mut add),
            Node::Reduce {
                guard, body, axes, ..
            } => {
                guard.iter().copied().for_each(&mut add);
                add(*body);
                if let Some(f) = only.take() {
                    all.extend(f.iter());
                }
                all.retain(|a| !axes.contains(a));
            }
        }
        if let Some(f) = only {
            return f.clone();
        }
        if all.is_empty() {
            return self.no_axes.clone();
        }
        all.sort_unstable();
        all.dedup();
        all.into()
    }
}
