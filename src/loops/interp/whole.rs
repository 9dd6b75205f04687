//! The statements on whole runs and matrices: sorts and products.

use super::*;

impl Machine<'_> {
    pub(super) fn sort(&mut self, sort: &Sort) -> Result<(), String> {
        let keys = self.run_of(sort.keys, &sort.keys_at)?;
        let mut read = vec![];
        for k in 0..keys.len() {
            let kept = match &sort.kept {
                None => true,
                Some((b, at)) => {
                    let k = self.run_of(*b, at)?.start + k;
                    self.cells[self.host(*b)][k].is_some_and(Scalar::bool)
                }
            };
            let key = self.cells[self.host(sort.keys)][keys.start + k];
            let key = key.ok_or("a key is read before it is written")?;
            read.push(kept.then_some(key));
        }
        let mut order: Vec<usize> = (0..read.len()).collect();
        order.sort_by(|&a, &b| scalar::sort_order(read[a], read[b]));
        let into = self.run_of(sort.into, &sort.at)?;
        let host = self.host(sort.into);
        for (cell, o) in self.cells[host][into].iter_mut().zip(order) {
            *cell = Some(Scalar::Int(o as i64));
        }
        Ok(())
    }

    pub(super) fn gemm(&mut self, gemm: &Gemm) -> Result<(), String> {
        let size = |m: &Matrix, dim| -> usize {
            let dims = &self.loops.buffers[m.buffer.0 as usize].dims;
            let all = m.dims.iter().zip(dims).filter(|(d, _)| **d == dim);
            all.map(|(_, d)| self.extents[d.extent.0 as usize])
                .product()
        };
        let rows = size(&gemm.c, MatrixDim::Rows);
        let columns = size(&gemm.c, MatrixDim::Columns);
        let inner = size(&gemm.a, MatrixDim::Inner);
        for i in 0..rows {
            for j in 0..columns {
                let mut sum = 0.0;
                for k in 0..inner {
                    let element = |m: &Matrix| {
                        let cell = self.cells[self.host(m.buffer)][self.element(m, i, j, k)?];
                        let x = cell.ok_or("a factor is read before it is written")?;
                        Ok::<f64, String>(x.real())
                    };
                    sum += element(&gemm.a)? * element(&gemm.b)?;
                }
                let (host, at) = (self.host(gemm.c.buffer), self.element(&gemm.c, i, j, 0)?);
                self.cells[host][at] = Some(Scalar::Real(sum));
            }
        }
        Ok(())
    }

    /// The position of a matrix's element.
    fn element(&self, m: &Matrix, i: usize, j: usize, k: usize) -> Result<usize, String> {
        let mut rest = [i, j, k];
        let mut at = vec![];
        let dims = &self.loops.buffers[m.buffer.0 as usize].dims;
        for (dim, d) in m.dims.iter().zip(dims).rev() {
            let n = self.extents[d.extent.0 as usize];
            let part = match dim {
                MatrixDim::At(index) => {
                    at.push(Index::Const(self.index(index)));
                    continue;
                }
                MatrixDim::Rows => &mut rest[0],
                MatrixDim::Columns => &mut rest[1],
                MatrixDim::Inner => &mut rest[2],
            };
            at.push(Index::Const((*part % n) as i64));
            *part /= n;
        }
        at.reverse();
        let name = &self.loops.buffers[m.buffer.0 as usize].name;
        self.cell(m.buffer, &at)?
            .ok_or(format!("no such element of {name}"))
    }

    /// The cells along a buffer's last dim.
    fn run_of(&self, b: BufferId, at: &[Index]) -> Result<std::ops::Range<usize>, String> {
        let buffer = &self.loops.buffers[b.0 as usize];
        let last = buffer.dims.last().ok_or("a sort of one number")?;
        let n = self.extents[last.extent.0 as usize];
        let mut at = at.to_vec();
        at.push(Index::Const(0));
        match self.cell(b, &at)? {
            Some(start) => Ok(start..start + n),
            None if n == 0 => Ok(0..0),
            None => Err(format!("a row of {} that there is not", buffer.name)),
        }
    }
}
