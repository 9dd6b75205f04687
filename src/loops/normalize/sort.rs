//! Sorted orders: a map of keys, a map of what is left out, and the sort that reads them.

use super::*;

impl Normalizer<'_> {
    /// The permutation of a definition. The axis that is sorted comes last in the head of all three parts, so that
    /// what is sorted is one piece of memory.
    pub(super) fn sort(
        &mut self,
        tensor: TensorId,
        along: AxisId,
        guard: Option<ExprId>,
        key: ExprId,
    ) -> Result<(), Diagnostic> {
        let t = self.program.get(tensor);
        let mut head = t.head.clone();
        self.sorted_last(tensor, &mut head);
        let guard = guard.map(|g| self.convert(g)).transpose()?;
        let mut body = self.convert_under(guard, key)?;
        if let Some(g) = guard {
            let pool = &mut self.parts.pool;
            let none = pool.identity(FoldOp::Sum, pool.ty(body));
            body = pool.select(g, body, none);
        }
        let body = match self.is_order(body, &head) {
            true => body,
            false => self.map(&format!("{} key", t.name), &head, body),
        };
        let guard = guard.map(|g| self.map(&format!("{} kept", t.name), &head, g));
        if let Some(&declared) = self.of_tensor.get(&tensor) {
            if let Some(part) = &mut self.parts.parts[declared.index()] {
                (part.guard, part.body) = (guard, body);
            }
            return Ok(());
        }
        let part = self.sorted(tensor, guard, body);
        debug_assert_eq!(part.head.last(), Some(&along));
        let id = self.parts.add(part);
        self.of_tensor.insert(tensor, id);
        Ok(())
    }

    /// The sort of a definition, of parts with its head.
    pub(super) fn sorted(&mut self, tensor: TensorId, guard: Option<Id>, body: Id) -> Part {
        let t = self.program.get(tensor);
        let mut head = t.head.clone();
        self.sorted_last(tensor, &mut head);
        Part {
            name: t.name.clone(),
            ty: Type::Int,
            kind: Kind::Sort,
            at: head.iter().map(|&a| self.parts.pool.axis(a)).collect(),
            head,
            over: vec![],
            guard,
            body,
            output: None,
            into: None,
        }
    }

    /// Whether keys are a sorted order themselves, element by element: it lies as keys do.
    fn is_order(&self, key: Id, head: &[AxisId]) -> bool {
        let pool = &self.parts.pool;
        let Node::Read {
            from: Source::Part(p),
            index,
            default: None,
        } = pool.node(key)
        else {
            return false;
        };
        let own = |(&i, &a): (&Id, &AxisId)| matches!(pool.node(i), Node::Axis(b) if *b == a);
        self.parts.part(*p).kind == Kind::Sort
            && index.len() == head.len()
            && index.iter().zip(head).all(own)
    }

    /// Moves the position that a sorted order is sorted along to the end: so the parts of sorts have it.
    pub(super) fn sorted_last<T>(&self, tensor: TensorId, positions: &mut [T]) {
        if let Some(Body::Argsort { along, .. }) = self.program.body(tensor) {
            let head = &self.program.get(tensor).head;
            let place = head.iter().position(|a| a == along);
            positions[place.unwrap_or(0)..].rotate_left(1);
        }
    }
}
