//! The expressions of parts: hash-consed like those of a [`Program`](crate::ir::Program), but without binders, so that
//! substitution is simultaneous replacement and can capture nothing.

mod bounds;
mod known;
mod walk;
mod weight;

pub(super) use walk::for_children;

use super::{ExtentIndex, FoldOp};
use crate::ast::Span;
use crate::ir::{AxisId, Op, Real, Type};
use hashbrown::HashTable;
use rustc_hash::FxBuildHasher;
use std::cell::{OnceCell, RefCell};
use std::hash::BuildHasher;
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
    /// The index that an argmax or argmin found; less than 0 is none, which is an error.
    Found(Id),
}

struct Entry {
    node: Node,
    ty: Type,
    free: Arc<[AxisId]>,
    /// Whether its evaluation can fail: a computed index without a default, an int
    /// division, the index of nothing.
    partial: bool,
    span: Option<Span>,
    /// The parts that are read in it, once somebody asked.
    parts: OnceCell<Box<[PartId]>>,
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
    /// The number of each expression, found by its hash.
    interned: HashTable<(u64, Id)>,
    /// Which walk saw each node last, and the number of that walk.
    marks: RefCell<(u32, Vec<u32>)>,
    no_axes: Arc<[AxisId]>,
    /// Name and extent of each axis. Axes of the program keep their ids.
    pub axes: Vec<(Arc<str>, ExtentIndex)>,
    pub extents: Vec<Option<u64>>,
    pub param_types: Vec<Type>,
    pub input_shapes: Vec<(Type, Vec<ExtentIndex>)>,
    pub part_shapes: Vec<(Type, Vec<ExtentIndex>)>,
    /// By part: of how many elements it holds permutations, if it does.
    pub permutations: Vec<Option<ExtentIndex>>,
}

impl Pool {
    pub fn new() -> Pool {
        Pool {
            entries: Vec::with_capacity(256),
            interned: HashTable::new(),
            marks: RefCell::default(),
            no_axes: Arc::new([]),
            axes: vec![],
            extents: vec![],
            param_types: vec![],
            input_shapes: vec![],
            part_shapes: vec![],
            permutations: vec![],
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
        let hash = FxBuildHasher.hash_one(&node);
        let same = |&(_, id): &(u64, Id)| self.entries[id.0 as usize].node == node;
        if let Some(&(_, id)) = self.interned.find(hash, same) {
            return id;
        }
        let ty = self.type_of(&node);
        let free = self.free_of(&node);
        let partial = self.partial_of(&node);
        let id = Id(self.entries.len() as u32);
        self.interned
            .insert_unique(hash, (hash, id), |&(hash, _)| hash);
        self.entries.push(Entry {
            node,
            ty,
            free,
            partial,
            span: None,
            parts: OnceCell::new(),
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
        let (real, int) = op.identity();
        match op {
            FoldOp::Any | FoldOp::All => self.mk(Node::Bool(int != 0)),
            FoldOp::Count | FoldOp::ArgMax | FoldOp::ArgMin => self.int(int),
            FoldOp::Sum | FoldOp::Prod | FoldOp::Max | FoldOp::Min if ty == Type::Real => {
                self.real(real)
            }
            FoldOp::Sum | FoldOp::Prod | FoldOp::Max | FoldOp::Min => self.int(int),
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
            | Node::Finite(_)
            | Node::Found(_) => {}
        }
        self.mk(node)
    }

    // ---- what a node is

    fn type_of(&self, node: &Node) -> Type {
        match node {
            Node::Real(_) | Node::Finite(_) => Type::Real,
            Node::Int(_) | Node::Axis(_) | Node::Size(_) | Node::Found(_) => Type::Int,
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
            Node::Found(_) => true,
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
            Node::Read { .. } => self.place_of(index) == Some(extent),
            _ => false,
        }
    }

    /// Of how many elements an expression is a place in a permutation. It is one only where it is read: a read out of
    /// range is none.
    pub fn place_of(&self, id: Id) -> Option<ExtentIndex> {
        match self.node(id) {
            Node::Read {
                from: Source::Part(p),
                default: None,
                ..
            } if !self.partial(id) => self.permutations[p.index()],
            _ => None,
        }
    }
}
