//! Reductions as folds, and what is written out as several.

use super::*;

impl Normalizer<'_> {
    pub(super) fn reduce(
        &mut self,
        op: ReduceOp,
        axes: &[AxisId],
        guard: Option<ExprId>,
        body: ExprId,
    ) -> Result<Id, Diagnostic> {
        let guard = guard.map(|g| self.convert(g)).transpose()?;
        let body = self.convert_under(guard, body)?;
        let mut guard = guard;
        // A fold is computed wherever it is placed; what must not be evaluated there brings its conditions along,
        // outer ones first.
        let partial = [Some(body), guard].into_iter().flatten();
        if partial.into_iter().any(|e| self.parts.pool.partial(e)) {
            let mut all = None;
            for c in self.conditions.clone() {
                all = self.parts.pool.and(all, Some(c));
            }
            guard = self.parts.pool.and(all, guard);
        }
        let one = |op| Ok((op, None));
        let (fold, mean) = match op {
            ReduceOp::Mean => Ok::<_, Diagnostic>((FoldOp::Sum, Some(()))),
            ReduceOp::LogSumExp => return Ok(self.logsumexp(axes, guard, body)),
            ReduceOp::Norm => return Ok(self.norm(axes, guard, body)),
            ReduceOp::Sum => one(FoldOp::Sum),
            ReduceOp::Prod => one(FoldOp::Prod),
            ReduceOp::Max => one(FoldOp::Max),
            ReduceOp::Min => one(FoldOp::Min),
            ReduceOp::Any => one(FoldOp::Any),
            ReduceOp::All => one(FoldOp::All),
            ReduceOp::Count => one(FoldOp::Count),
            ReduceOp::ArgMax => one(FoldOp::ArgMax),
            ReduceOp::ArgMin => one(FoldOp::ArgMin),
        }?;
        let mut body = body;
        if fold == FoldOp::Count {
            // What is counted is a guard, so that brackets in it are seen and equal counts are one.
            guard = self.parts.pool.and(guard, Some(body));
            body = self.parts.pool.mk(Node::Bool(true));
        }
        let sum = self.fold(fold, axes, guard, body);
        if matches!(fold, FoldOp::ArgMax | FoldOp::ArgMin) {
            return Ok(self.parts.pool.mk(Node::Found(sum)));
        }
        if mean.is_none() {
            return Ok(sum);
        }
        let count = match guard {
            None => {
                let sizes: Vec<Id> = axes.iter().map(|&a| self.size(a)).collect();
                sizes[1..]
                    .iter()
                    .fold(sizes[0], |a, &b| self.parts.pool.op(Op::Mul, &[a, b]))
            }
            Some(_) => {
                let yes = self.parts.pool.mk(Node::Bool(true));
                self.fold(FoldOp::Count, axes, guard, yes)
            }
        };
        let count = self.parts.pool.op(Op::ToReal, &[count]);
        Ok(self.parts.pool.op(Op::Div, &[sum, count]))
    }

    pub(super) fn size(&mut self, axis: AxisId) -> Id {
        let extent = self.parts.pool.extent(axis);
        size(&mut self.parts.pool, extent)
    }

    /// `fin m + log z` with `m = max x`, `z = sum exp(x - fin m)`: right for infinities and for nothing at all.
    pub(super) fn logsumexp(&mut self, axes: &[AxisId], guard: Option<Id>, x: Id) -> Id {
        let head = self.free_head(axes, [Some(x), guard]);
        let m = self.fold(FoldOp::Max, axes, guard, x);
        let pool = &mut self.parts.pool;
        let shift = pool.mk(Node::Finite(m));
        let d = pool.op(Op::Sub, &[x, shift]);
        let mut e = pool.op(Op::Exp, &[d]);
        if let Some(g) = guard {
            let zero = pool.real(0.0);
            e = pool.select(g, e, zero);
        }
        let all: Vec<AxisId> = head.iter().chain(axes).copied().collect();
        let e = self.map("e", &all, e);
        let z = self.fold(FoldOp::Sum, axes, None, e);
        let pool = &mut self.parts.pool;
        let log = pool.op(Op::Log, &[z]);
        // Recurrences are computed in f64 and store one number for two.
        let (lse, part) = if self.steps {
            let lse = pool.op(Op::Add, &[shift, log]);
            let lse = self.map("lse", &head, lse);
            (lse, lse)
        } else {
            self.log_sum(&head, shift, log)
        };
        if guard.is_none() {
            let pool = &mut self.parts.pool;
            let one = pool.real(1.0);
            // Infinite where all is -inf: there the weight `exp(x - lse)` is NaN, and so is 0 times infinity.
            let scale = pool.op(Op::Div, &[one, z]);
            let scale = self.map("scale", &head, scale);
            if let (Some(exp), Some(scale), Some(part)) =
                (self.read_of(e), self.read_of(scale), self.read_of(part))
            {
                let found = self.parts.softmax.entry(part).or_default();
                *found = vec![Softmax { exp, scale }];
            }
        }
        lse
    }

    /// The sum of a large number and a log, and the log: both are parts, so that a difference to the sum takes off the
    /// large number first, and rounds less.
    pub(super) fn log_sum(&mut self, head: &[AxisId], large: Id, log: Id) -> (Id, Id) {
        let large = self.map("largest", head, large);
        let log = self.map("log_z", head, log);
        if let Some(part) = self.read_of(log) {
            self.parts.softmax.entry(part).or_default();
        }
        (self.parts.pool.op(Op::Add, &[large, log]), log)
    }

    pub(super) fn read_of(&self, id: Id) -> Option<PartId> {
        match self.parts.pool.node(id) {
            Node::Read {
                from: Source::Part(p),
                ..
            } => Some(*p),
            _ => None,
        }
    }

    /// `s * sqrt(sum (x / s)^2)` with s the largest magnitude, 1 where that is 0 or infinite: no overflow, no underflow.
    pub(super) fn norm(&mut self, axes: &[AxisId], guard: Option<Id>, x: Id) -> Id {
        let head = self.free_head(axes, [Some(x), guard]);
        let size = self.parts.pool.op(Op::Abs, &[x]);
        let m = self.fold(FoldOp::Max, axes, guard, size);
        let pool = &mut self.parts.pool;
        let (zero, one, inf) = (pool.real(0.0), pool.real(1.0), pool.real(f64::INFINITY));
        let low = pool.op(Op::Gt, &[m, zero]);
        let high = pool.op(Op::Lt, &[m, inf]);
        let usual = pool.op(Op::And, &[low, high]);
        let s = pool.select(usual, m, one);
        let s = self.map("largest", &head, s);
        let pool = &mut self.parts.pool;
        let q = pool.op(Op::Div, &[x, s]);
        let q = pool.op(Op::Mul, &[q, q]);
        let sum = self.fold(FoldOp::Sum, axes, guard, q);
        let pool = &mut self.parts.pool;
        let root = pool.op(Op::Sqrt, &[sum]);
        pool.op(Op::Mul, &[s, root])
    }

    /// The free axes of some expressions but for `axes`, in the order of the definition's head.
    pub(super) fn free_head(
        &self,
        axes: &[AxisId],
        of: impl IntoIterator<Item = Option<Id>>,
    ) -> Vec<AxisId> {
        let mut free: Vec<AxisId> = vec![];
        for id in of.into_iter().flatten() {
            free.extend(
                self.parts
                    .pool
                    .free(id)
                    .iter()
                    .filter(|a| !axes.contains(a)),
            );
        }
        let place = |a: &AxisId| {
            (
                self.head.iter().position(|b| b == a).unwrap_or(usize::MAX),
                *a,
            )
        };
        free.sort_unstable_by_key(place);
        free.dedup();
        free
    }

    /// `op[axes if guard](body)` as a part; the read of it.
    pub(super) fn fold(&mut self, op: FoldOp, axes: &[AxisId], guard: Option<Id>, body: Id) -> Id {
        let head = self.free_head(axes, [Some(body), guard]);
        self.part(Kind::Fold(op), "", &head, axes, guard, body)
    }

    /// `body` over `head` as a part; the read of it.
    pub(super) fn map(&mut self, name: &str, head: &[AxisId], body: Id) -> Id {
        self.part(Kind::Map, name, head, &[], None, body)
    }

    pub(super) fn part(
        &mut self,
        kind: Kind,
        name: &str,
        head: &[AxisId],
        over: &[AxisId],
        guard: Option<Id>,
        body: Id,
    ) -> Id {
        let index: Box<[Id]> = head.iter().map(|&a| self.parts.pool.axis(a)).collect();
        let mut used: Vec<(ExtentIndex, usize)> = vec![];
        let mut renamed: Vec<(AxisId, Id)> = vec![];
        let mut rename = |this: &mut Self, axis: AxisId| {
            let extent = this.parts.pool.extent(axis);
            let k = match used.iter_mut().find(|(e, _)| *e == extent) {
                Some((_, k)) => {
                    *k += 1;
                    *k
                }
                None => {
                    used.push((extent, 0));
                    0
                }
            };
            let pool = &mut this.parts.pool;
            let canonical = *this.canonical.entry((extent, k)).or_insert_with(|| {
                let hint = pool.axes[axis.index()].0.clone();
                pool.new_axis(hint, extent)
            });
            renamed.push((axis, this.parts.pool.axis(canonical)));
            canonical
        };
        let head: Vec<AxisId> = head.iter().map(|&a| rename(self, a)).collect();
        let over: Vec<AxisId> = over.iter().map(|&a| rename(self, a)).collect();
        let pool = &mut self.parts.pool;
        let body = pool.subst(body, &renamed);
        let guard = guard.map(|g| pool.subst(g, &renamed));
        let mut key = Key {
            kind,
            at: head.iter().map(|&a| pool.axis(a)).collect(),
            head,
            over,
            guard,
            body,
        };
        find_scatter(pool, &mut key);
        if let Some(&id) = self.shared.get(&key) {
            return self.parts.pool.read(Source::Part(id), index);
        }
        let ty = match kind {
            Kind::Map => pool.ty(key.body),
            Kind::Fold(FoldOp::Count | FoldOp::ArgMax | FoldOp::ArgMin) => Type::Int,
            Kind::Fold(_) => pool.ty(key.body),
            Kind::Sort => Type::Int,
            Kind::Gemm { .. } => Type::Real,
        };
        let name: Arc<str> = if name.is_empty() {
            self.name.clone()
        } else {
            name.into()
        };
        let part = Part {
            name,
            ty,
            kind,
            head: key.head.clone(),
            over: key.over.clone(),
            at: key.at.clone(),
            guard: key.guard,
            body: key.body,
            output: None,
            into: None,
        };
        let id = self.parts.add(part);
        self.shared.insert(key, id);
        self.parts.pool.read(Source::Part(id), index)
    }
}
