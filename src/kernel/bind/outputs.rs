//! The places of the outputs of a call.

use super::extents::memory_limit;
use super::{Result, find, inputs, is_flat};
use crate::diagnostic::Diagnostic;
use crate::kernel::code::Code;
use crate::kernel::{DataMut, Gradient, Input, Workspace};
use crate::loops::{Buffer, ExtentIndex};

impl Code {
    /// The place of the value: a cell, or the caller's memory where it has one number for each row.
    pub(in crate::kernel) fn bind_value(
        &self,
        given: &[Input],
        rows: Option<DataMut>,
        work: &mut Workspace,
    ) -> Result<()> {
        let loops = &self.loops;
        let Some(&id) = loops.outputs.first() else {
            return Ok(());
        };
        let buffer = &loops.buffers[id.0 as usize];
        let address = match (buffer.dims.is_empty(), rows) {
            (true, None) => &raw mut work.cells[self.layout.cells()] as usize,
            (false, Some(mut rows)) => self.place(buffer, "rows", &mut rows, given, work)?,
            (true, Some(_)) => {
                return Err(Diagnostic::data(format!(
                    "the value of `{}` is one number, there are no rows",
                    loops.name
                ))
                .help("compile it with `reduction: Some(Reduction::None)`"));
            }
            (false, None) => {
                return Err(Diagnostic::data(format!(
                    "the value of `{}` has one number for each row",
                    loops.name
                ))
                .help("ask for it with `rows` or `rows_and_grad`"));
            }
        };
        work.cells[self.layout.buffer(id)] = address as u64;
        Ok(())
    }

    /// The shape of the value, as the inputs have it.
    pub(in crate::kernel) fn value_shape(&self, given: &[Input], work: &Workspace) -> Vec<usize> {
        let loops = &self.loops;
        let Some(id) = loops.outputs.first() else {
            return vec![];
        };
        let buffer = &loops.buffers[id.0 as usize];
        if is_flat(loops, buffer) {
            let mut flat = inputs(loops)
                .enumerate()
                .filter(|(_, (_, b))| is_flat(loops, b));
            let first = flat.find_map(|(position, (_, b))| find(given, position, &b.name));
            return first.map_or(vec![], |i| i.shape.to_vec());
        }
        let extents = buffer.dims.iter();
        extents
            .map(|d| work.cells[self.layout.extent(d.extent)] as usize)
            .collect()
    }

    /// The address of an output's place, which must be of the right type and size and apart from the inputs.
    fn place(
        &self,
        buffer: &Buffer,
        name: &str,
        data: &mut DataMut,
        given: &[Input],
        work: &Workspace,
    ) -> Result<usize> {
        let count = self.count(buffer, work);
        if data.dtype() != self.dtype || data.len() as u64 != count {
            return Err(Diagnostic::data(format!(
                "the place for `{name}` has {} elements of {}, but {count} of {} are needed",
                data.len(),
                data.dtype().name(),
                self.dtype.name()
            )));
        }
        let (start, bytes) = (data.address(), data.len() * self.dtype.size());
        if let Some(i) = given.iter().find(|i| {
            let (a, n) = (i.data.address(), i.data.bytes());
            n > 0 && bytes > 0 && start < a + n && a < start + bytes
        }) {
            return Err(Diagnostic::data(format!(
                "the place for `{name}` overlaps the input `{}`",
                i.name
            )));
        }
        Ok(start)
    }

    /// How many elements a buffer has.
    fn count(&self, buffer: &Buffer, work: &Workspace) -> u64 {
        let extents = buffer.dims.iter();
        extents.fold(1, |n, d| {
            n.saturating_mul(work.cells[self.layout.extent(d.extent)])
        })
    }

    /// Outputs in the caller's memory must be apart from each other.
    fn apart(&self, work: &Workspace) -> Result<()> {
        let loops = &self.loops;
        let buffer = |k: usize| &loops.buffers[loops.outputs[k].0 as usize];
        let first = usize::from(!loops.outputs.is_empty() && buffer(0).dims.is_empty());
        let place = |k: usize| {
            let start = work.cells[self.layout.buffer(loops.outputs[k])];
            let bytes = self.count(buffer(k), work) * self.dtype.size() as u64;
            (start, start + bytes)
        };
        for k in first..loops.outputs.len() {
            let (start, end) = place(k);
            let overlaps = |&j: &usize| {
                let (a, b) = place(j);
                start.max(a) < end.min(b)
            };
            if let Some(j) = (first..k).find(overlaps) {
                return Err(Diagnostic::data(format!(
                    "the places for `{}` and `{}` overlap",
                    given_name(&buffer(j).name),
                    given_name(&buffer(k).name)
                )));
            }
        }
        Ok(())
    }

    /// The gradients' places: all the loops make, of the right type and size, apart from the inputs and each other.
    pub(in crate::kernel) fn bind_gradients(
        &self,
        given: &[Input],
        gradients: &mut [Gradient],
        work: &mut Workspace,
    ) -> Result<()> {
        let loops = &self.loops;
        let mut found = 0;
        for &id in loops.outputs.iter().skip(1) {
            let buffer = &loops.buffers[id.0 as usize];
            let Some(g) = gradients
                .iter_mut()
                .find(|g| fits_name(&buffer.name, g.name))
            else {
                return Err(Diagnostic::data(format!(
                    "there is no place for the gradient of `{}`",
                    given_name(&buffer.name)
                ))
                .help("`Options::wrt` chooses the gradients that a kernel computes"));
            };
            found += 1;
            let address = self.place(buffer, g.name, &mut g.data, given, work)?;
            work.cells[self.layout.buffer(id)] = address as u64;
        }
        if found != gradients.len() {
            let strange = gradients.iter().find(|g| {
                !loops
                    .outputs
                    .iter()
                    .skip(1)
                    .any(|o| fits_name(&loops.buffers[o.0 as usize].name, g.name))
            });
            let twice = |k: &usize| gradients[..*k].iter().any(|g| g.name == gradients[*k].name);
            let title = match (strange, (0..gradients.len()).find(twice)) {
                (None, Some(k)) => format!(
                    "the place for the gradient of `{}` is given twice",
                    gradients[k].name
                ),
                (strange, _) => format!(
                    "this kernel of `{}` computes no gradient of `{}`",
                    loops.name,
                    strange.map_or("", |g| g.name)
                ),
            };
            return Err(Diagnostic::data(title));
        }
        self.apart(work)
    }
}

impl Code {
    /// Memory for gradients that nobody asked for.
    pub(in crate::kernel) fn bind_unwanted(&self, work: &mut Workspace) -> Result<()> {
        let loops = &self.loops;
        let mut words = 0u64;
        let sizes = |k: usize, work: &Workspace| {
            let buffer = &loops.buffers[loops.outputs[k].0 as usize];
            if k == 0 && buffer.dims.is_empty() {
                return 0;
            }
            let extents = buffer
                .dims
                .iter()
                .map(|d| work.cells[self.layout.extent(d.extent)]);
            extents.fold(1u64, u64::saturating_mul).saturating_add(1)
        };
        for k in 0..loops.outputs.len() {
            words = words.saturating_add(sizes(k, work));
        }
        let too_much = || Diagnostic::data("the gradients need more memory than there is");
        if words.saturating_mul(8) > memory_limit() {
            return Err(too_much());
        }
        if (work.unwanted.len() as u64) < words {
            let more = words as usize - work.unwanted.len();
            work.unwanted
                .try_reserve_exact(more)
                .map_err(|_| too_much())?;
            work.unwanted.resize(words as usize, 0);
        }
        let mut next = work.unwanted.as_mut_ptr() as u64;
        for (k, &id) in loops.outputs.iter().enumerate() {
            let size = sizes(k, work);
            let address = if size == 0 {
                &raw mut work.cells[self.layout.cells()] as usize as u64
            } else {
                next
            };
            work.cells[self.layout.buffer(id)] = address;
            next += 8 * size;
        }
        Ok(())
    }

    /// The value after a call; NaN where the output is no single number.
    pub(in crate::kernel) fn value(&self, work: &Workspace) -> f64 {
        match self.loops.outputs.first() {
            Some(id) if self.loops.buffers[id.0 as usize].dims.is_empty() => {
                f64::from_bits(work.cells[self.layout.cells()])
            }
            _ => f64::NAN,
        }
    }

    /// The name of an axis without elements.
    pub(in crate::kernel) fn empty_axis(&self, work: &Workspace) -> Option<String> {
        let extents = self.loops.extents.iter().enumerate();
        extents
            .filter(|(k, _)| work.cells[self.layout.extent(ExtentIndex(*k as u32))] == 0)
            .map(|(_, e)| e.name.clone())
            .next()
    }
}

/// An output buffer is named as the input it is the gradient of, perhaps with `out.` before it.
pub(in crate::kernel) fn fits_name(buffer: &str, given: &str) -> bool {
    given_name(buffer) == given
}

fn given_name(buffer: &str) -> &str {
    buffer.strip_prefix("out.").unwrap_or(buffer)
}
