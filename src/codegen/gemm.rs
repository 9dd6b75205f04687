//! Matrix products: code that calls a function of this library, which calls the `matrixmultiply` crate.
//!
//! The function gets where the product goes, the address of its other arguments ([`Arguments`]), and how many of them
//! there are: the signature of all functions that code calls.

use super::Dtype;
use super::math::MathContext;
use super::stage::{Gen, Result, bug, memory};
use crate::loops::{Gemm, Matrix, MatrixDim};
use cranelift_codegen::ir::{InstBuilder, StackSlotData, StackSlotKind, Value, types};
use std::cell::RefCell;

/// A matrix in memory: where it begins, and elements from one row or column to the next.
#[derive(Clone, Copy)]
#[repr(C)]
struct Place {
    start: usize,
    down: isize,
    right: isize,
}

/// What a function gets beside the place of the product's first element: all cells of 8 bytes.
#[derive(Clone, Copy)]
#[repr(C)]
struct Arguments {
    a: Place,
    b: Place,
    rows: usize,
    columns: usize,
    inner: usize,
    /// Elements from one row or column of the product to the next.
    down: isize,
    right: isize,
}

const CELLS: usize = size_of::<Arguments>() / 8;

impl Gen<'_, '_> {
    pub(super) fn gemm(&mut self, gemm: &Gemm) -> Result<()> {
        if self.lane_loop.is_some() {
            return Err(bug("a matrix product within lanes"));
        }
        let symbol = match self.unit.dtype {
            Dtype::F32 => GEMM_F32,
            Dtype::F64 => GEMM_F64,
        };
        let (start, down, right) = self.matrix(&gemm.c, [MatrixDim::Rows, MatrixDim::Columns])?;
        let a = self.matrix(&gemm.a, [MatrixDim::Rows, MatrixDim::Inner])?;
        let b = self.matrix(&gemm.b, [MatrixDim::Inner, MatrixDim::Columns])?;
        let rows = self.count(&gemm.c, &MatrixDim::Rows);
        let columns = self.count(&gemm.c, &MatrixDim::Columns);
        let inner = self.count(&gemm.a, &MatrixDim::Inner);
        // In the order of `Arguments`.
        let cells: [Value; CELLS] = [
            a.0, a.1, a.2, b.0, b.1, b.2, rows, columns, inner, down, right,
        ];
        let data = StackSlotData::new(StackSlotKind::ExplicitSlot, 8 * CELLS as u32, 3);
        let slot = self.b.create_sized_stack_slot(data);
        let arguments = self.b.ins().stack_addr(types::I64, slot, 0);
        for (k, cell) in cells.into_iter().enumerate() {
            let offset = 8 * k as i32;
            self.b.ins().store(memory(), cell, arguments, offset);
        }
        let count = self.b.ins().iconst(types::I64, CELLS as i64);
        let function = self.constants.function(&mut self.b, symbol);
        self.b.ins().call(function, &[start, arguments, count]);
        Ok(())
    }

    /// A matrix's first element, and its strides for the two kinds of dims.
    fn matrix(&mut self, m: &Matrix, kinds: [MatrixDim; 2]) -> Result<(Value, Value, Value)> {
        let extents = self.dims(m.buffer);
        if extents.len() != m.dims.len() {
            return Err(bug("a matrix's dims"));
        }
        let mut indices = vec![];
        for dim in &m.dims {
            indices.push(match dim {
                MatrixDim::At(index) => self.index(index, None)?,
                MatrixDim::Rows | MatrixDim::Columns | MatrixDim::Inner => {
                    self.b.ins().iconst(types::I64, 0)
                }
            });
        }
        let start = self.address(m.buffer, &indices, true);
        let [down, right] = kinds.map(|kind| {
            // The dims after the last of the kind are what one step of it passes over.
            let last = m.dims.iter().rposition(|d| *d == kind).unwrap_or(0);
            self.product_of(extents[last + 1..].iter().copied())
        });
        Ok((start, down, right))
    }

    /// How many elements the dims of a kind have.
    fn count(&mut self, m: &Matrix, kind: &MatrixDim) -> Value {
        let extents = self.dims(m.buffer);
        let of_kind = extents.into_iter().zip(&m.dims).filter(|(_, d)| *d == kind);
        self.product_of(of_kind.map(|(e, _)| e))
    }

    fn product_of(&mut self, extents: impl Iterator<Item = crate::loops::ExtentIndex>) -> Value {
        let mut all = self.b.ins().iconst(types::I64, 1);
        for extent in extents {
            let extent = self.extent(extent);
            all = self.b.ins().imul(all, extent);
        }
        all
    }
}

const GEMM_F32: &str = "losscc_gemm_f32";
const GEMM_F64: &str = "losscc_gemm_f64";

/// The functions and their names.
pub(super) fn symbols() -> [(&'static str, *const u8); 2] {
    [
        (GEMM_F32, gemm_f32 as *const u8),
        (GEMM_F64, gemm_f64 as *const u8),
    ]
}

unsafe extern "C" fn gemm_f32(c: *mut f32, arguments: *const Arguments, _: usize) {
    // SAFETY: compiled code passes matrices that are as large as it says, `c` apart from the others.
    unsafe { product_f32(c, &*arguments) }
}

unsafe extern "C" fn gemm_f64(c: *mut f64, arguments: *const Arguments, _: usize) {
    // SAFETY: as above.
    let g = unsafe { *arguments };
    if g.is_small() {
        // SAFETY: as above.
        return unsafe { plain::<f64>(c, &g) };
    }
    // SAFETY: as above.
    unsafe {
        matrixmultiply::dgemm(
            g.rows,
            g.inner,
            g.columns,
            1.0,
            g.a.start as *const f64,
            g.a.down,
            g.a.right,
            g.b.start as *const f64,
            g.b.down,
            g.b.right,
            0.0,
            c,
            g.down,
            g.right,
        );
    }
}

/// Up to so many products a call of the crate costs more than the loop.
const SMALL: usize = 256;

impl Arguments {
    fn is_small(&self) -> bool {
        let columns = self.rows.saturating_mul(self.columns);
        columns.saturating_mul(self.inner) <= SMALL
    }
}

/// A number as f64 and back.
trait Element: Copy + Into<f64> {
    fn of(x: f64) -> Self;
}

impl Element for f32 {
    fn of(x: f64) -> f32 {
        x as f32
    }
}

impl Element for f64 {
    fn of(x: f64) -> f64 {
        x
    }
}

/// The loop.
///
/// # Safety
/// The matrices are as large as the arguments say, and nothing else writes them.
unsafe fn plain<T: Element>(c: *mut T, g: &Arguments) {
    let (a, b) = (g.a.start as *const T, g.b.start as *const T);
    for i in 0..g.rows as isize {
        for j in 0..g.columns as isize {
            let mut sum = 0.0;
            for k in 0..g.inner as isize {
                // SAFETY: the caller's promise.
                let x: f64 = unsafe { *a.offset(i * g.a.down + k * g.a.right) }.into();
                // SAFETY: as above.
                let y: f64 = unsafe { *b.offset(k * g.b.down + j * g.b.right) }.into();
                sum += x * y;
            }
            // SAFETY: as above.
            unsafe { *c.offset(i * g.down + j * g.right) = T::of(sum) }
        }
    }
}

/// Sums over more elements are carried in f64 from one block of so many to the next.
const BLOCK: usize = 4096;
/// So many elements of the product are carried at a time.
const TILE: usize = 1 << 18;

thread_local! {
    /// The sums so far, and those of a block.
    static SUMS: RefCell<(Vec<f64>, Vec<f32>)> = RefCell::default();
}

/// # Safety
/// The matrices are as large as the arguments say, and nothing else writes them.
unsafe fn product_f32(c: *mut f32, g: &Arguments) {
    if g.is_small() {
        // SAFETY: the caller's promise.
        return unsafe { plain::<f32>(c, g) };
    }
    if g.inner <= BLOCK {
        // SAFETY: the caller's promise.
        return unsafe { block(c, (g.down, g.right), g, (0, g.rows), (0, g.columns), 0) };
    }
    SUMS.with_borrow_mut(|(sums, part)| {
        let columns = g.columns.min(TILE);
        let rows = (TILE / columns.max(1)).clamp(1, g.rows.max(1));
        let size = rows * columns;
        if sums.len() < size {
            sums.resize(size, 0.0);
            part.resize(size, 0.0);
        }
        for i in (0..g.rows).step_by(rows) {
            let m = rows.min(g.rows - i);
            for j in (0..g.columns).step_by(columns) {
                let n = columns.min(g.columns - j);
                let (sums, part) = (&mut sums[..m * n], &mut part[..m * n]);
                sums.fill(0.0);
                for k in (0..g.inner).step_by(BLOCK) {
                    // SAFETY: the caller's promise; `part` has m rows of n.
                    unsafe { block(part.as_mut_ptr(), (n as isize, 1), g, (i, m), (j, n), k) };
                    for (sum, &x) in sums.iter_mut().zip(part.iter()) {
                        *sum += f64::from(x);
                    }
                }
                for (p, &sum) in sums.iter().enumerate() {
                    let (row, column) = ((i + p / n) as isize, (j + p % n) as isize);
                    // SAFETY: the caller's promise.
                    unsafe { *c.offset(row * g.down + column * g.right) = sum as f32 }
                }
            }
        }
    });
}

/// The product of some rows and columns (from, how many), summed over one block from `k` on.
///
/// # Safety
/// As of [`product_f32`]; `c` is the first element of as many rows and columns.
unsafe fn block(
    c: *mut f32,
    (down, right): (isize, isize),
    g: &Arguments,
    (i, rows): (usize, usize),
    (j, columns): (usize, usize),
    k: usize,
) {
    let inner = BLOCK.min(g.inner - k);
    let (i, j, k) = (i as isize, j as isize, k as isize);
    // SAFETY: the caller's promise.
    unsafe {
        matrixmultiply::sgemm(
            rows,
            inner,
            columns,
            1.0,
            (g.a.start as *const f32).offset(i * g.a.down + k * g.a.right),
            g.a.down,
            g.a.right,
            (g.b.start as *const f32).offset(k * g.b.down + j * g.b.right),
            g.b.down,
            g.b.right,
            0.0,
            c,
            down,
            right,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Products of random matrices, laid out in all ways, against plain sums; the largest error relative to the
    /// largest element.
    fn error(
        rows: usize,
        columns: usize,
        inner: usize,
        layout: usize,
        rng: &mut fastrand::Rng,
    ) -> f64 {
        let mut draw = |n: usize| -> Vec<f32> { (0..n).map(|_| rng.f32() - 0.3).collect() };
        let (a, b) = (draw(rows * inner), draw(inner * columns));
        let strides = |by_rows: bool, rows: usize, columns: usize| match by_rows {
            true => (columns as isize, 1),
            false => (1, rows as isize),
        };
        let place = |start: &[f32], by_rows: bool, rows: usize, columns: usize| {
            let (down, right) = strides(by_rows, rows, columns);
            let start = start.as_ptr() as usize;
            Place { start, down, right }
        };
        let (down, right) = strides(layout & 4 == 0, rows, columns);
        let g = Arguments {
            a: place(&a, layout & 1 == 0, rows, inner),
            b: place(&b, layout & 2 == 0, inner, columns),
            rows,
            columns,
            inner,
            down,
            right,
        };
        let mut c = vec![f32::NAN; rows * columns];
        unsafe { product_f32(c.as_mut_ptr(), &g) };
        let mut exact = vec![0.0f64; rows * columns];
        let wide = |x: &[f32]| -> Vec<f64> { x.iter().map(|&x| f64::from(x)).collect() };
        let (wide_a, wide_b) = (wide(&a), wide(&b));
        let mut wide_g = g;
        wide_g.a.start = wide_a.as_ptr() as usize;
        wide_g.b.start = wide_b.as_ptr() as usize;
        unsafe { plain(exact.as_mut_ptr(), &wide_g) };
        let mut sums = vec![0.0f64; rows * columns];
        unsafe { gemm_f64(sums.as_mut_ptr(), &wide_g, CELLS) };
        let largest = exact.iter().fold(1.0, |m: f64, x| m.max(x.abs()));
        let errors = exact
            .iter()
            .zip(&sums)
            .map(|(x, y)| (x - y).abs() / largest);
        assert!(errors.fold(0.0, f64::max) < 1e-13);
        let errors = exact.iter().zip(&c);
        errors
            .map(|(x, &y)| (x - f64::from(y)).abs() / largest)
            .fold(0.0, f64::max)
    }

    #[test]
    fn products_are_exact_in_all_layouts_and_sizes() {
        let mut rng = fastrand::Rng::with_seed(3);
        for layout in 0..8 {
            for (rows, columns, inner) in [
                (0, 3, 4),
                (3, 0, 4),
                (3, 4, 0),
                (1, 1, 1),
                (2, 3, 5),
                (17, 31, 23),
                (64, 65, 300),
                (3, 2, 3 * BLOCK + 5),
            ] {
                let error = error(rows, columns, inner, layout, &mut rng);
                assert!(error < 1e-6, "{rows} {columns} {inner} {layout}: {error}");
            }
        }
    }

    #[test]
    fn what_is_not_finite_stays_where_it_belongs() {
        // Row 1 of a has an infinity, row 2 a NaN: only theirs are not finite.
        let (rows, columns, inner) = (19, 37, 29);
        let mut a = vec![1.0f32; rows * inner];
        a[inner + 3] = f32::INFINITY;
        a[2 * inner + 28] = f32::NAN;
        let b = vec![1.0f32; inner * columns];
        let place = |x: &[f32], down: usize| Place {
            start: x.as_ptr() as usize,
            down: down as isize,
            right: 1,
        };
        let g = Arguments {
            a: place(&a, inner),
            b: place(&b, columns),
            rows,
            columns,
            inner,
            down: columns as isize,
            right: 1,
        };
        let mut c = vec![f32::NAN; rows * columns];
        unsafe { product_f32(c.as_mut_ptr(), &g) };
        for (k, &x) in c.iter().enumerate() {
            match k / columns {
                1 => assert_eq!(x, f32::INFINITY),
                2 => assert!(x.is_nan()),
                _ => assert_eq!(x, inner as f32),
            }
        }
    }
}
