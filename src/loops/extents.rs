//! How many elements axes have: one list, in which equal extents are one.

use super::*;
use crate::diagnostic::Diagnostic;
use crate::interp::scalar;
use crate::ir::{self, ExprId, Extent, ExtentKind, Program};
use rustc_hash::FxHashMap;

/// The extents of a kernel, and for each extent of the program which of them it is.
pub(super) fn extents(
    program: &Program,
) -> Result<(Vec<LoopExtent>, Vec<ExtentIndex>), Diagnostic> {
    let mut e = Extents {
        program,
        index: vec![None; program.extents.len()],
        out: vec![],
        constants: FxHashMap::default(),
    };
    for k in 0..program.extents.len() {
        e.visit(k, 0)?;
    }
    let index = e
        .index
        .into_iter()
        .map(|i| i.unwrap_or(ExtentIndex(0)))
        .collect();
    Ok((e.out, index))
}

impl ExtentExpr {
    /// Its value for these sizes and hyperparameters; `None` for an overflow or a division by 0.
    pub fn value(
        &self,
        size: &dyn Fn(ExtentIndex) -> i64,
        param: &dyn Fn(u32) -> i64,
    ) -> Option<i64> {
        match self {
            ExtentExpr::Int(n) => Some(*n),
            ExtentExpr::Size(i) => Some(size(*i)),
            ExtentExpr::Param(p) => Some(param(*p)),
            ExtentExpr::If(c, a, b) => {
                let taken = if c.value(size, param)? != 0 { a } else { b };
                taken.value(size, param)
            }
            ExtentExpr::Op(op, operands) => {
                let values = operands.iter().map(|o| o.value(size, param));
                scalar::checked(*op, &values.collect::<Option<Vec<i64>>>()?)
            }
        }
    }
}

struct Extents<'a> {
    program: &'a Program,
    index: Vec<Option<ExtentIndex>>,
    out: Vec<LoopExtent>,
    constants: FxHashMap<u64, ExtentIndex>,
}

impl Extents<'_> {
    fn push(&mut self, k: usize, from: ExtentFrom) -> ExtentIndex {
        self.out.push(LoopExtent {
            name: self.program.extents[k].name.to_string(),
            from,
        });
        ExtentIndex(self.out.len() as u32 - 1)
    }

    fn visit(&mut self, k: usize, depth: usize) -> Result<ExtentIndex, Diagnostic> {
        if let Some(i) = self.index[k] {
            return Ok(i);
        }
        let Extent { name, kind } = &self.program.extents[k];
        if depth > self.program.extents.len() {
            return Err(Diagnostic::error(format!(
                "the extent of `{name}` depends on itself"
            )));
        }
        let index = match kind {
            ExtentKind::Constant(n) => self.constant(k, *n),
            ExtentKind::Input => {
                let mut positions = vec![];
                for (b, &input) in self.program.inputs.iter().enumerate() {
                    for (p, &axis) in self.program.get(input).head.iter().enumerate() {
                        if self.program.extent_of(axis).index() == k {
                            positions.push((BufferId(b as u32), p));
                        }
                    }
                }
                self.push(k, ExtentFrom::Input(positions))
            }
            ExtentKind::Declared(e) => match self.expr(*e, depth)? {
                ExtentExpr::Size(same) => same,
                ExtentExpr::Int(n) if n >= 0 => self.constant(k, n as u64),
                expr => self.push(k, ExtentFrom::Expr(expr)),
            },
        };
        self.index[k] = Some(index);
        Ok(index)
    }

    fn constant(&mut self, k: usize, n: u64) -> ExtentIndex {
        if let Some(&i) = self.constants.get(&n) {
            return i;
        }
        let index = self.push(k, ExtentFrom::Constant(n));
        self.constants.insert(n, index);
        index
    }

    fn expr(&mut self, id: ExprId, depth: usize) -> Result<ExtentExpr, Diagnostic> {
        let program = self.program;
        Ok(match program.node(id) {
            ir::Node::Int(v) => ExtentExpr::Int(*v),
            ir::Node::Param(p) => ExtentExpr::Param(p.0),
            ir::Node::Size(e) => {
                let index = self.visit(e.index(), depth + 1)?;
                match self.out[index.0 as usize].from {
                    ExtentFrom::Constant(n) => ExtentExpr::Int(n as i64),
                    ExtentFrom::Input(_) | ExtentFrom::Expr(_) => ExtentExpr::Size(index),
                }
            }
            ir::Node::Op(op, o) => {
                let operands = o
                    .iter()
                    .map(|&o| self.expr(o, depth))
                    .collect::<Result<Vec<_>, _>>()?;
                ExtentExpr::Op(*op, operands)
            }
            ir::Node::If {
                condition,
                then,
                otherwise,
            } => ExtentExpr::If(
                Box::new(self.expr(*condition, depth)?),
                Box::new(self.expr(*then, depth)?),
                Box::new(self.expr(*otherwise, depth)?),
            ),
            ir::Node::Bool(_)
            | ir::Node::Real(_)
            | ir::Node::Axis(_)
            | ir::Node::Read { .. }
            | ir::Node::Reduce { .. } => {
                return Err(Diagnostic::error(
                    "an extent is made of sizes, int hyperparameters and numbers",
                ));
            }
        })
    }
}
