//! Loops written by hand, for tests of what comes after them.
#![allow(dead_code)]

use losscc::ir::Type;
use losscc::loops::*;

/// The loops of a spec's text: value and gradients, and the value alone.
pub fn spec(text: &str) -> [Loops; 2] {
    use losscc::{compile, lower, modules};
    let files = |path: &std::path::Path| std::fs::read(path);
    let modules =
        modules::load_text("test", text, &files).unwrap_or_else(|f| panic!("{:?}", f.diagnostics));
    let checked = lower::lower(&modules, modules.root).unwrap_or_else(|e| panic!("{e:?}"));
    let program = compile::derive(checked.program).unwrap().program;
    let all = program.gradients.iter().map(|g| g.input).collect();
    [all, vec![]].map(|gradients| {
        let wanted = Wanted {
            value: true,
            gradients,
        };
        schedule(&program, &wanted).unwrap_or_else(|e| panic!("{e:?}"))
    })
}

/// The loops of a shipped spec.
pub fn shipped(name: &str) -> [Loops; 2] {
    spec(losscc::shipped::text(name).unwrap())
}

/// Loops under construction.
pub struct Make {
    pub loops: Loops,
}

pub fn dim(extent: ExtentIndex, axis: LoopAxisId) -> BufferDim {
    BufferDim {
        extent,
        axis: Some(axis),
        position: 0,
    }
}

impl Make {
    pub fn new(name: &str) -> Make {
        Make {
            loops: Loops {
                name: name.into(),
                ..Loops::default()
            },
        }
    }

    /// An axis whose extent is found in inputs (see [`Make::buffer`]).
    pub fn axis(&mut self, name: &str) -> (LoopAxisId, ExtentIndex) {
        self.loops.extents.push(LoopExtent {
            name: name.into(),
            from: ExtentFrom::Input(vec![]),
        });
        let extent = ExtentIndex(self.loops.extents.len() as u32 - 1);
        self.loops.axes.push(LoopAxis {
            name: name.into(),
            extent,
        });
        (LoopAxisId(self.loops.axes.len() as u32 - 1), extent)
    }

    pub fn buffer(&mut self, name: &str, elem: Elem, home: Home, dims: &[BufferDim]) -> BufferId {
        let id = BufferId(self.loops.buffers.len() as u32);
        if home == Home::Input {
            for (k, d) in dims.iter().enumerate() {
                let extent = &mut self.loops.extents[d.extent.0 as usize];
                if let ExtentFrom::Input(places) = &mut extent.from {
                    places.push((id, k));
                }
            }
        }
        self.loops.buffers.push(Buffer {
            name: name.into(),
            elem,
            home,
            dims: dims
                .iter()
                .enumerate()
                .map(|(position, &d)| BufferDim { position, ..d })
                .collect(),
            shares: None,
        });
        id
    }

    pub fn param(&mut self, name: &str, ty: Type, default: f64) -> u32 {
        self.loops.params.push(LoopParam {
            name: name.into(),
            ty,
            default: Some(default),
            domain: None,
        });
        self.loops.params.len() as u32 - 1
    }

    pub fn fold(&mut self, op: FoldOp, ty: Type) -> FoldId {
        self.loops.folds.push(FoldInfo {
            op,
            ty,
            name: "f".into(),
        });
        FoldId(self.loops.folds.len() as u32 - 1)
    }

    /// A Let at the end of a block.
    pub fn put(&mut self, block: &mut Block, ty: Type, expr: Expr) -> ValueId {
        self.loops.values.push(ValueInfo {
            ty,
            span: None,
            name: "".into(),
            place_of: None,
        });
        let id = ValueId(self.loops.values.len() as u32 - 1);
        block.push(Stmt::Let(id, expr));
        id
    }

    pub fn real(&mut self, block: &mut Block, expr: Expr) -> ValueId {
        self.put(block, Type::Real, expr)
    }

    pub fn op(&mut self, block: &mut Block, op: losscc::ir::Op, operands: &[ValueId]) -> ValueId {
        let last = self.loops.values[operands[operands.len() - 1].0 as usize].ty;
        self.put(block, op.result(last), Expr::Op(op, operands.to_vec()))
    }

    pub fn load(&mut self, block: &mut Block, from: BufferId, at: &[Index]) -> ValueId {
        let ty = match self.loops.buffers[from.0 as usize].elem {
            Elem::Real | Elem::Sum => Type::Real,
            Elem::Int => Type::Int,
            Elem::Bool => Type::Bool,
        };
        self.put(block, ty, load(from, at))
    }
}

pub fn load(from: BufferId, at: &[Index]) -> Expr {
    Expr::Load {
        from,
        at: at.to_vec(),
        when: None,
        or: None,
        checked: false,
    }
}

pub fn set(to: BufferId, at: &[Index], value: ValueId) -> Stmt {
    Stmt::Store {
        to,
        at: at.to_vec(),
        how: How::Set,
        value,
        guard: None,
    }
}

pub fn fold(id: FoldId, value: ValueId) -> Stmt {
    Stmt::Fold {
        id,
        value,
        guard: None,
    }
}

pub fn each(axis: LoopAxisId, lanes: bool, folds: &[FoldId], body: Block) -> Stmt {
    Stmt::Loop {
        axis,
        direction: Direction::Up,
        lanes,
        folds: folds.to_vec(),
        body,
    }
}

/// `mean(f(a, b))` of two inputs with the gradient by the one at `wrt`, in one pass; `f` gives the term and `sign` times
/// its derivative.
fn pointwise(
    name: &str,
    inputs: [&str; 2],
    (wrt, sign): (usize, f64),
    f: impl Fn(&mut Make, &mut Block, [ValueId; 2]) -> (ValueId, ValueId),
) -> Loops {
    use losscc::ir::Op;
    let mut m = Make::new(name);
    let (axis, extent) = m.axis("*");
    let dims = [dim(extent, axis)];
    let [a, b] = inputs.map(|name| m.buffer(name, Elem::Real, Home::Input, &dims));
    let value = m.buffer("value", Elem::Sum, Home::Output, &[]);
    let out = m.buffer(
        &format!("out.{}", inputs[wrt]),
        Elem::Real,
        Home::Output,
        &dims,
    );
    let total = m.buffer("s", Elem::Sum, Home::Total(FoldOp::Sum), &[]);
    m.loops.outputs = vec![value, out];
    let s = m.fold(FoldOp::Sum, Type::Real);
    let mut head = vec![];
    let n = m.put(&mut head, Type::Int, Expr::Size(extent));
    let n = m.op(&mut head, Op::ToReal, &[n]);
    m.loops.values[n.0 as usize].ty = Type::Real;
    let one = m.real(&mut head, Expr::Real(sign));
    let c = m.op(&mut head, Op::Div, &[one, n]);
    let mut body = vec![];
    let at = [Index::Axis(axis)];
    let read = [a, b].map(|buffer| m.load(&mut body, buffer, &at));
    let (term, slope) = f(&mut m, &mut body, read);
    body.push(fold(s, term));
    let g = m.op(&mut body, Op::Mul, &[slope, c]);
    body.push(set(out, &at, g));
    head.push(each(axis, true, &[s], body));
    let sum = m.real(&mut head, Expr::Folded(s));
    head.push(set(total, &[], sum));
    let mut once = vec![];
    let sum = m.load(&mut once, total, &[]);
    let n = m.put(&mut once, Type::Int, Expr::Size(extent));
    let n = m.put(&mut once, Type::Real, Expr::Op(Op::ToReal, vec![n]));
    let mean = m.op(&mut once, Op::Div, &[sum, n]);
    once.push(set(value, &[], mean));
    m.loops.stages = vec![
        Stage::Rows {
            axis,
            row_inputs: vec![(a, 0), (b, 0)],
            single_chunk: false,
            body: head,
        },
        Stage::Once(once),
    ];
    m.loops
}

/// `mean(f(y - yhat))` with the gradient by yhat; `f` gives the term and its derivative in r.
fn residual(name: &str, f: impl Fn(&mut Make, &mut Block, ValueId) -> (ValueId, ValueId)) -> Loops {
    pointwise(name, ["y", "yhat"], (1, -1.0), |m, b, [y, yhat]| {
        let r = m.op(b, losscc::ir::Op::Sub, &[y, yhat]);
        f(m, b, r)
    })
}

pub fn mse() -> Loops {
    use losscc::ir::Op;
    residual("mse", |m, b, r| {
        let square = m.op(b, Op::Mul, &[r, r]);
        let two = m.real(b, Expr::Real(2.0));
        let slope = m.op(b, Op::Mul, &[two, r]);
        (square, slope)
    })
}

pub fn huber() -> Loops {
    use losscc::ir::Op;
    let mut loops = residual("huber", |m, b, r| {
        let delta = m.param("delta", Type::Real, 1.0);
        let d = m.real(b, Expr::Param(delta));
        let size = m.op(b, Op::Abs, &[r]);
        let near = m.op(b, Op::Le, &[size, d]);
        let half = m.real(b, Expr::Real(0.5));
        let square = m.op(b, Op::Mul, &[r, r]);
        let square = m.op(b, Op::Mul, &[square, half]);
        let hd = m.op(b, Op::Mul, &[half, d]);
        let far = m.op(b, Op::Sub, &[size, hd]);
        let far = m.op(b, Op::Mul, &[far, d]);
        let term = m.real(b, Expr::Select(near, square, far));
        let minus = m.op(b, Op::Neg, &[d]);
        let slope = m.op(b, Op::Clamp, &[r, minus, d]);
        (term, slope)
    });
    hoist(&mut loops);
    loops
}

/// Binary cross-entropy of logits, softplus(x) - x y, with its derivative sigmoid(x) - y.
pub fn bce() -> Loops {
    use losscc::ir::Op;
    pointwise("bce_with_logits", ["x", "y"], (0, 1.0), |m, b, [x, y]| {
        let plus = m.op(b, Op::Softplus, &[x]);
        let xy = m.op(b, Op::Mul, &[x, y]);
        let term = m.op(b, Op::Sub, &[plus, xy]);
        let sigmoid = m.op(b, Op::Sigmoid, &[x]);
        (term, m.op(b, Op::Sub, &[sigmoid, y]))
    })
}

/// Lets of a lane loop that depend on nothing of it stand before it, as the scheduler places them.
fn hoist(loops: &mut Loops) {
    let Stage::Rows { body, .. } = &mut loops.stages[0] else {
        return;
    };
    let at = body
        .iter()
        .position(|s| matches!(s, Stmt::Loop { .. }))
        .unwrap();
    let mut free: Vec<ValueId> = body[..at]
        .iter()
        .filter_map(|s| match s {
            Stmt::Let(v, _) => Some(*v),
            _ => None,
        })
        .collect();
    let mut moved = vec![];
    if let Stmt::Loop { body: inner, .. } = &mut body[at] {
        inner.retain(|s| {
            let Stmt::Let(v, e) = s else { return true };
            let ok = match e {
                Expr::Param(_) | Expr::Real(_) => true,
                Expr::Op(_, o) => o.iter().all(|o| free.contains(o)),
                _ => false,
            };
            if ok {
                free.push(*v);
                moved.push(s.clone());
            }
            !ok
        });
    }
    body.splice(at..at, moved);
}
