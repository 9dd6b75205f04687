//! Walks over the statements of a block.

use super::*;

impl Stage {
    pub fn body(&self) -> &Block {
        match self {
            Stage::Rows { body, .. } | Stage::Once(body) => body,
        }
    }
}

impl Stmt {
    /// The buffer that it writes, a loop's body aside.
    pub fn writes(&self) -> Option<BufferId> {
        match self {
            Stmt::Store { to, .. } | Stmt::Fill { to, .. } => Some(*to),
            Stmt::Sort(sort) => Some(sort.into),
            Stmt::Gemm(gemm) => Some(gemm.c.buffer),
            Stmt::Let(..) | Stmt::Fold { .. } | Stmt::Loop { .. } => None,
        }
    }
}

impl Loops {
    /// The totals that a block makes, each once.
    pub fn totals(&self, block: &Block) -> Vec<(BufferId, FoldOp)> {
        let mut out = vec![];
        each_statement(block, &mut |s| {
            if let Some(to) = s.writes()
                && let Home::Total(op) = self.buffers[to.0 as usize].home
                && !out.contains(&(to, op))
            {
                out.push((to, op));
            }
        });
        out
    }
}

/// Calls `f` for each statement, a loop before those in it.
pub fn each_statement<'b>(block: &'b [Stmt], f: &mut dyn FnMut(&'b Stmt)) {
    for s in block {
        f(s);
        if let Stmt::Loop { body, .. } = s {
            each_statement(body, f);
        }
    }
}

/// Every value that a statement itself uses.
pub fn each_use(s: &Stmt, f: &mut dyn FnMut(ValueId)) {
    let at = |index: &[Index], f: &mut dyn FnMut(ValueId)| {
        for i in index {
            if let Index::Value(v) = i {
                f(*v);
            }
        }
    };
    match s {
        Stmt::Let(_, e) => match e {
            Expr::Real(_)
            | Expr::Int(_)
            | Expr::Bool(_)
            | Expr::Param(_)
            | Expr::Size(_)
            | Expr::Axis(_)
            | Expr::Folded(_) => {}
            Expr::Load {
                at: index,
                when,
                or,
                ..
            } => {
                at(index, f);
                when.iter().chain(or).for_each(|&v| f(v));
            }
            Expr::Op(_, o) => o.iter().for_each(|&v| f(v)),
            Expr::Divide { a, b, when, .. } => [*a, *b].into_iter().chain(*when).for_each(f),
            Expr::Found { index, when } => [*index].into_iter().chain(*when).for_each(f),
            Expr::Select(a, b, c) => [*a, *b, *c].into_iter().for_each(f),
            Expr::Finite(x) => f(*x),
        },
        Stmt::Fold { value, guard, .. } => [*value].into_iter().chain(*guard).for_each(f),
        Stmt::Store {
            at: index,
            value,
            guard,
            ..
        } => {
            at(index, f);
            [*value].into_iter().chain(*guard).for_each(f);
        }
        Stmt::Sort(sort) => {
            at(&sort.at, f);
            at(&sort.keys_at, f);
            sort.kept.iter().for_each(|(_, kept)| at(kept, f));
        }
        Stmt::Fill { at: index, .. } => index
            .iter()
            .flatten()
            .for_each(|i| at(std::slice::from_ref(i), f)),
        Stmt::Gemm(gemm) => {
            for m in [&gemm.c, &gemm.a, &gemm.b] {
                m.dims.iter().for_each(|d| {
                    if let MatrixDim::At(i) = d {
                        at(std::slice::from_ref(i), f);
                    }
                });
            }
        }
        Stmt::Loop { .. } => {}
    }
}
