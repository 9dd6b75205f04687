//! What needs memory, and where it is.

use super::*;

impl Emitter<'_> {
    pub(super) fn allocate(&mut self, id: PartId) {
        let part = self.parts.part(id);
        let storage = &self.layout.storage[id.index()];
        let plan = self.plan_of(id);
        let place = self.layout.place(id);
        let once = place.path.is_empty();
        let total = plan.total && !once;
        let memory = plan.table && part.into.is_none();
        if let Some(f) = self.layout.outermost_reduced(self.parts, self.classes, id)
            && memory
            && !total
        {
            self.fills
                .entry(self.layout.place(id).path[f])
                .or_default()
                .push(id);
        }
        let part = self.parts.part(id);
        let needs = self.plan_of(id).buffer.is_none()
            && part.into.is_none()
            && (storage.kept || memory || total);
        let plan = self.plans[id.index()].as_mut().expect("a live part");
        plan.total = total;
        if !needs {
            return;
        }
        let part = self.parts.part(id);
        let op = match part.kind {
            Kind::Fold(FoldOp::Count) => FoldOp::Sum,
            Kind::Fold(op) => op,
            Kind::Map | Kind::Sort | Kind::Gemm { .. } => FoldOp::Sum,
        };
        let arg = matches!(op, FoldOp::ArgMax | FoldOp::ArgMin);
        let carried =
            matches!(op, FoldOp::Sum | FoldOp::Prod) && part.is_fold() && (memory || total);
        let scalar = once && storage.dims.is_empty();
        let elem = match part.ty {
            Type::Real if carried || scalar || self.layout.wide[id.index()] => Elem::Sum,
            Type::Real => Elem::Real,
            Type::Int => Elem::Int,
            Type::Bool => Elem::Bool,
        };
        let home = match storage.home {
            _ if total && !arg => Home::Total(op),
            0 => Home::Full,
            _ => Home::Row,
        };
        let dims = storage.dims.iter().map(|&k| self.dim(id, k)).collect();
        let name = self.unique(&self.parts.part(id).name);
        self.loops.buffers.push(Buffer {
            name,
            elem,
            home,
            dims,
            shares: None,
        });
        let buffer = BufferId(self.loops.buffers.len() as u32 - 1);
        if let Some(plan) = &mut self.plans[id.index()] {
            plan.buffer = Some(buffer);
        }
    }

    pub(super) fn share(&mut self, id: PartId) {
        let Some(o) = self.layout.storage[id.index()].shares else {
            return;
        };
        if let (Some(own), Some(output)) = (self.plan_of(id).buffer, self.plan_of(o).buffer) {
            let buffer = &mut self.loops.buffers[own.0 as usize];
            buffer.shares = Some(output);
            buffer.home = Home::Full;
        }
    }

    pub(super) fn dim(&self, id: PartId, position: usize) -> BufferDim {
        let part = self.parts.part(id);
        let class = self.classes.of(id, part.head[position]);
        BufferDim {
            extent: self.parts.pool.extent(part.head[position]),
            axis: Some(LoopAxisId(class.0)),
            position,
        }
    }

    pub(super) fn unique(&self, name: &str) -> String {
        let base = name.replace(' ', "_");
        let mut name = base.clone();
        let mut k = 1;
        while self.loops.buffers.iter().any(|b| b.name == name) {
            k += 1;
            name = format!("{base}{k}");
        }
        name
    }
}
