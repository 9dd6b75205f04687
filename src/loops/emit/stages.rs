//! Stages and loops.

use super::*;

impl Emitter<'_> {
    pub fn stages(&mut self, tree: &[Tree]) {
        let mut k = 0;
        while k < tree.len() {
            self.values.clear();
            self.scopes = vec![Scope::default()];
            self.crosses_rows = false;
            match &tree[k] {
                Tree::Part(_) => {
                    self.row = None;
                    while let Some(Tree::Part(id)) = tree.get(k) {
                        self.part(*id);
                        k += 1;
                    }
                    let body = std::mem::take(&mut self.scopes[0].block);
                    self.loops.stages.push(Stage::Once(body));
                }
                Tree::Loop {
                    class,
                    direction,
                    body,
                } => {
                    // Steps that need each other are one chunk.
                    self.crosses_rows = direction.is_some();
                    let ids = parts_in(body);
                    self.row = Some(*class);
                    self.tree(&tree[k]);
                    self.crosses_rows |= ids.iter().any(|id| self.one_chunk.contains(id));
                    if self.crosses_rows {
                        self.one_chunk.extend(&ids);
                    }
                    let body = std::mem::take(&mut self.scopes[0].block);
                    let starts = self.starts(&ids);
                    if !starts.is_empty() {
                        self.loops.stages.push(Stage::Once(starts));
                    }
                    self.loops.stages.push(Stage::Rows {
                        axis: LoopAxisId(class.0),
                        row_inputs: self.row_inputs(*class),
                        single_chunk: self.crosses_rows,
                        body,
                    });
                    k += 1;
                }
            }
        }
    }

    /// Indices over all rows are of nothing until a row says otherwise: without rows no chunk does.
    fn starts(&self, ids: &[PartId]) -> Vec<Stmt> {
        let start = |&id: &PartId| {
            let Kind::Fold(op @ (FoldOp::ArgMax | FoldOp::ArgMin)) = self.parts.part(id).kind
            else {
                return None;
            };
            let plan = self.plan_of(id);
            let to = plan.buffer.filter(|_| plan.total)?;
            let dims = self.loops.buffers[to.0 as usize].dims.len();
            Some(Stmt::Fill {
                to,
                at: vec![None; dims],
                with: op,
            })
        };
        ids.iter().filter_map(start).collect()
    }

    pub(super) fn row_inputs(&self, class: Class) -> Vec<(BufferId, usize)> {
        let extent = self.classes.extents[class.index()];
        let shapes = self.parts.pool.input_shapes.iter().enumerate();
        shapes
            .filter_map(|(k, (_, shape))| {
                Some((BufferId(k as u32), shape.iter().position(|&e| e == extent)?))
            })
            .collect()
    }

    pub(super) fn tree(&mut self, tree: &Tree) {
        match tree {
            Tree::Part(id) => self.part(*id),
            Tree::Loop {
                class,
                direction,
                body,
            } => {
                let looped = self.find_loop(body);
                for id in looped
                    .and_then(|l| self.fills.get(&l))
                    .cloned()
                    .unwrap_or_default()
                {
                    self.fill(id);
                }
                self.scopes.push(Scope {
                    class: Some(*class),
                    looped,
                    ..Scope::default()
                });
                let mut leaf = true;
                for t in body {
                    leaf &= matches!(t, Tree::Part(_));
                    self.tree(t);
                }
                self.close(*class, *direction, leaf);
            }
        }
    }

    /// The number of the loop that holds these trees: the one around any of its parts at the depth at hand.
    pub(super) fn find_loop(&self, body: &[Tree]) -> Option<u32> {
        let id = parts_in(body).first().copied()?;
        self.layout
            .place(id)
            .path
            .get(self.scopes.len() - 1)
            .copied()
    }

    pub(super) fn close(&mut self, class: Class, direction: Option<Direction>, leaf: bool) {
        let Some(scope) = self.scopes.pop() else {
            return;
        };
        for key in &scope.keys {
            self.values.remove(key);
        }
        let arg = scope.folds.iter().any(|f| {
            matches!(
                self.loops.folds[f.0 as usize].op,
                FoldOp::ArgMax | FoldOp::ArgMin
            )
        });
        let statement = Stmt::Loop {
            axis: LoopAxisId(class.0),
            direction: direction.unwrap_or(Direction::Up),
            lanes: leaf && !scope.scalar && !arg && direction.is_none(),
            folds: scope.folds,
            body: scope.block,
        };
        self.push(statement);
        let depth = self.scopes.len() - 1;
        for (fold, part) in scope.pending {
            let info = &self.loops.folds[fold.0 as usize];
            let (ty, name) = (info.ty, info.name.clone());
            let value = self.define(depth, Expr::Folded(fold), ty, None);
            self.loops.values[value.0 as usize].name = name;
            self.fold(part, value, None, true);
        }
    }

    pub(super) fn push(&mut self, statement: Stmt) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.block.push(statement);
        }
    }

    pub(super) fn fill(&mut self, id: PartId) {
        let plan = self.plan_of(id).clone();
        let (Some(to), Kind::Fold(op)) = (plan.buffer, self.parts.part(id).kind) else {
            return;
        };
        let op = if op == FoldOp::Count { FoldOp::Sum } else { op };
        let dims = self.layout.storage[id.index()].dims.clone();
        let at = dims
            .iter()
            .map(|&k| {
                let class = self.classes.of(id, self.parts.part(id).head[k]);
                let open = self.scopes.iter().any(|s| s.class == Some(class))
                    && self.parts.part(id).bare(&self.parts.pool, k);
                open.then_some(Index::Axis(LoopAxisId(class.0)))
            })
            .collect();
        self.push(Stmt::Fill { to, at, with: op });
    }
}
