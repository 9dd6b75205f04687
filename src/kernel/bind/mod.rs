//! From a call's arguments to the cells of the code: everything is checked here, before anything runs.

use super::code::Code;
use super::{Data, DataMut, Gradient, Input, Workspace};
use crate::codegen::Dtype;
use crate::codegen::layout::{MASK_CELLS, MASKS};
use crate::diagnostic::Diagnostic;
use crate::interp::scalar;
use crate::ir::Type;
use crate::loops::{
    Buffer, BufferId, Elem, ExtentExpr, ExtentFrom, ExtentIndex, Home, LoopParam, Loops,
};
use std::sync::OnceLock;

type Result<T> = std::result::Result<T, Diagnostic>;

/// No call may ask for more bytes, and no axis be longer: what this machine's memory holds.
pub(super) fn memory_limit() -> u64 {
    static LIMIT: OnceLock<u64> = OnceLock::new();
    *LIMIT.get_or_init(|| {
        let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let total = info.lines().find_map(|l| l.strip_prefix("MemTotal:"));
        let kib = total.and_then(|t| t.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
        kib.map_or(1 << 36, |k| k.saturating_mul(1024))
    })
}

impl Data<'_> {
    fn len(&self) -> usize {
        match self {
            Data::F32(d) => d.len(),
            Data::F64(d) => d.len(),
            Data::I64(d) => d.len(),
            Data::Bool(d) => d.len(),
        }
    }

    fn address(&self) -> usize {
        match self {
            Data::F32(d) => d.as_ptr() as usize,
            Data::F64(d) => d.as_ptr() as usize,
            Data::I64(d) => d.as_ptr() as usize,
            Data::Bool(d) => d.as_ptr() as usize,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Data::F32(d) => size_of_val(*d),
            Data::F64(d) => size_of_val(*d),
            Data::I64(d) => size_of_val(*d),
            Data::Bool(d) => d.len(),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Data::F32(_) => "f32",
            Data::F64(_) => "f64",
            Data::I64(_) => "i64",
            Data::Bool(_) => "bool",
        }
    }

    fn fits(&self, elem: Elem, dtype: Dtype) -> bool {
        matches!(
            (self, elem, dtype),
            (Data::F32(_), Elem::Real, Dtype::F32)
                | (Data::F64(_), Elem::Real, Dtype::F64)
                | (Data::I64(_), Elem::Int, _)
                | (Data::Bool(_), Elem::Bool, _)
        )
    }
}

impl DataMut<'_> {
    fn len(&self) -> usize {
        match self {
            DataMut::F32(d) => d.len(),
            DataMut::F64(d) => d.len(),
        }
    }

    fn address(&mut self) -> usize {
        match self {
            DataMut::F32(d) => d.as_mut_ptr() as usize,
            DataMut::F64(d) => d.as_mut_ptr() as usize,
        }
    }

    fn dtype(&self) -> Dtype {
        match self {
            DataMut::F32(_) => Dtype::F32,
            DataMut::F64(_) => Dtype::F64,
        }
    }
}

/// What an element of a buffer is called where users hand it over.
fn elem_name(elem: Elem, dtype: Dtype) -> &'static str {
    match elem {
        Elem::Real => dtype.name(),
        Elem::Sum => "f64",
        Elem::Int => "i64",
        Elem::Bool => "bool",
    }
}

/// Whether a buffer's one dimension is the anonymous axis.
fn is_flat(loops: &Loops, buffer: &Buffer) -> bool {
    matches!(buffer.dims.as_slice(), [d] if loops.extents[d.extent.0 as usize].name == "*")
}

/// The inputs in the order of the loops' buffers.
fn inputs(loops: &Loops) -> impl Iterator<Item = (BufferId, &Buffer)> {
    let all = loops.buffers.iter().enumerate();
    all.filter(|(_, b)| b.home == Home::Input)
        .map(|(k, b)| (BufferId(k as u32), b))
}

impl Code {
    /// Fills the cells of hyperparameters, inputs and extents.
    pub(super) fn bind(
        &self,
        given: &[Input],
        params: &[(&str, f64)],
        work: &mut Workspace,
    ) -> Result<()> {
        work.cells.clear();
        work.cells.resize(self.layout.cells() + 1, 0);
        work.cells[MASKS..MASKS + MASK_CELLS / 2].fill(u64::MAX);
        self.bind_params(params, work)?;
        for (position, (id, buffer)) in inputs(&self.loops).enumerate() {
            let input = find(given, position, &buffer.name)
                .ok_or_else(|| missing(&self.loops.name, buffer, given))?;
            self.fit(buffer, input)?;
            work.cells[self.layout.buffer(id)] = input.data.address() as u64;
        }
        self.no_strangers(given)?;
        self.bind_extents(given, work)
    }

    fn no_strangers(&self, given: &[Input]) -> Result<()> {
        let known = |i: &Input| inputs(&self.loops).any(|(_, b)| b.name == i.name);
        if let Some(i) = given.iter().find(|i| !known(i)) {
            let title = format!("`{}` has no input `{}`", self.loops.name, i.name);
            return Err(Diagnostic::data(title));
        }
        Ok(())
    }

    fn fit(&self, buffer: &Buffer, input: &Input) -> Result<()> {
        let name = &buffer.name;
        if !input.data.fits(buffer.elem, self.dtype) {
            return Err(Diagnostic::data(format!(
                "`{name}` is an array of {}, but this kernel takes {}",
                input.data.name(),
                elem_name(buffer.elem, self.dtype)
            )));
        }
        let count = input
            .shape
            .iter()
            .try_fold(1usize, |n, &d| n.checked_mul(d));
        if count != Some(input.data.len()) {
            return Err(Diagnostic::data(format!(
                "`{name}` has {} elements, which is not the shape {:?}",
                input.data.len(),
                input.shape
            ))
            .help("arrays are contiguous, the last axis fastest"));
        }
        if !is_flat(&self.loops, buffer) && input.shape.len() != buffer.dims.len() {
            return Err(Diagnostic::data(format!(
                "`{name}` has {} axes instead of {}",
                input.shape.len(),
                buffer.dims.len()
            ))
            .note(format!("`{name}` is {}", describe(&self.loops, buffer))));
        }
        Ok(())
    }

    fn bind_params(&self, given: &[(&str, f64)], work: &mut Workspace) -> Result<()> {
        let loops = &self.loops;
        if let Some((name, _)) = given
            .iter()
            .find(|(n, _)| !loops.params.iter().any(|p| p.name == **n))
        {
            let title = format!("`{}` has no hyperparameter `{name}`", loops.name);
            return Err(Diagnostic::data(title));
        }
        for (k, p) in loops.params.iter().enumerate() {
            let last = given.iter().rev().find(|(n, _)| **n == p.name);
            let Some(value) = last.map(|(_, v)| *v).or(p.default) else {
                return Err(Diagnostic::data(format!(
                    "the hyperparameter `{}` has no default and is not set",
                    p.name
                )));
            };
            work.cells[self.layout.param(k as u32)] = param_bits(p, value)?;
        }
        Ok(())
    }

    /// Every extent, checked: positions agree, nothing overflows, memory could hold it.
    fn bind_extents(&self, given: &[Input], work: &mut Workspace) -> Result<()> {
        let loops = &self.loops;
        for (k, extent) in loops.extents.iter().enumerate() {
            let n = match &extent.from {
                ExtentFrom::Constant(n) => *n,
                ExtentFrom::Expr(e) => self.declared(&extent.name, e, work)?,
                ExtentFrom::Input(places) => self.shared_extent(&extent.name, places, given)?,
            };
            if n > memory_limit() || i64::try_from(n).is_err() {
                return Err(Diagnostic::data(format!(
                    "axis {} has {n} elements, more than memory holds",
                    extent.name
                )));
            }
            work.cells[self.layout.extent(ExtentIndex(k as u32))] = n;
        }
        // A position whose extent comes from elsewhere must have it, too.
        for (position, (_, buffer)) in inputs(loops).enumerate() {
            let Some(input) = find(given, position, &buffer.name) else {
                continue;
            };
            if is_flat(loops, buffer) {
                continue;
            }
            for (d, (dim, &n)) in buffer.dims.iter().zip(input.shape).enumerate() {
                let wanted = work.cells[self.layout.extent(dim.extent)];
                if wanted != n as u64 {
                    return Err(Diagnostic::data(format!(
                        "position {} of `{}` has {n} elements, but axis {} has {wanted}",
                        d + 1,
                        buffer.name,
                        loops.extents[dim.extent.0 as usize].name
                    )));
                }
            }
        }
        Ok(())
    }

    fn shared_extent(
        &self,
        name: &str,
        places: &[(BufferId, usize)],
        given: &[Input],
    ) -> Result<u64> {
        let loops = &self.loops;
        let mut first: Option<(&Input, u64)> = None;
        for &(id, d) in places {
            let buffer = &loops.buffers[id.0 as usize];
            let position = inputs(loops).take_while(|(b, _)| *b != id).count();
            let Some(input) = find(given, position, &buffer.name) else {
                continue;
            };
            let flat = is_flat(loops, buffer);
            let n = if flat {
                input.data.len() as u64
            } else {
                input.shape.get(d).map_or(0, |n| *n as u64)
            };
            match first {
                None => first = Some((input, n)),
                Some((other, _)) if flat && other.shape != input.shape => {
                    return Err(Diagnostic::data(format!(
                        "`{}` has the shape {:?}, but `{}` has {:?}",
                        input.name, input.shape, other.name, other.shape
                    ))
                    .note("inputs without a declared shape have one shape in common"));
                }
                Some((other, m)) if m != n => {
                    return Err(Diagnostic::data(format!(
                        "axis {name} has {m} elements in `{}` and {n} in `{}`",
                        other.name, input.name
                    )));
                }
                Some(_) => {}
            }
        }
        Ok(first.map_or(0, |(_, n)| n))
    }

    fn declared(&self, name: &str, e: &ExtentExpr, work: &Workspace) -> Result<u64> {
        let n = self.extent_value(e, work).ok_or_else(|| {
            Diagnostic::data(format!(
                "the extent of axis {name} overflows, or an int is divided by 0 in it"
            ))
        })?;
        u64::try_from(n).map_err(|_| {
            Diagnostic::data(format!("axis {name} has the extent {n}, less than nothing"))
        })
    }

    /// `None` for an overflow or a division by 0.
    fn extent_value(&self, e: &ExtentExpr, work: &Workspace) -> Option<i64> {
        Some(match e {
            ExtentExpr::Int(n) => *n,
            ExtentExpr::Size(s) => work.cells[self.layout.extent(*s)] as i64,
            ExtentExpr::Param(p) => work.cells[self.layout.param(*p)] as i64,
            ExtentExpr::If(c, a, b) => {
                let taken = if self.extent_value(c, work)? != 0 {
                    a
                } else {
                    b
                };
                self.extent_value(taken, work)?
            }
            ExtentExpr::Op(op, operands) => {
                let mut v = vec![];
                for o in operands {
                    v.push(self.extent_value(o, work)?);
                }
                scalar::checked(*op, &v)?
            }
        })
    }

    /// The place of the value: a cell, or the caller's memory where it has one number for each row.
    pub(super) fn bind_value(
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
    pub(super) fn value_shape(&self, given: &[Input], work: &Workspace) -> Vec<usize> {
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
        let mut count = 1u64;
        for d in &buffer.dims {
            count = count.saturating_mul(work.cells[self.layout.extent(d.extent)]);
        }
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

    /// The gradients' places: all the loops make, of the right type and size, apart from the inputs.
    pub(super) fn bind_gradients(
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
                    "there is no place for the output `{}`",
                    buffer.name
                )));
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
            let name = strange.map_or("", |g| g.name);
            return Err(Diagnostic::data(format!(
                "`{}` has no gradient with respect to `{name}`, or it was given twice",
                loops.name
            )));
        }
        Ok(())
    }
}

impl Code {
    /// Memory for gradients that nobody asked for.
    pub(super) fn bind_unwanted(&self, work: &mut Workspace) -> Result<()> {
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
    pub(super) fn value(&self, work: &Workspace) -> f64 {
        match self.loops.outputs.first() {
            Some(id) if self.loops.buffers[id.0 as usize].dims.is_empty() => {
                f64::from_bits(work.cells[self.layout.cells()])
            }
            _ => f64::NAN,
        }
    }

    /// The name of an axis without elements.
    pub(super) fn empty_axis(&self, work: &Workspace) -> Option<String> {
        let extents = self.loops.extents.iter().enumerate();
        extents
            .filter(|(k, _)| work.cells[self.layout.extent(ExtentIndex(*k as u32))] == 0)
            .map(|(_, e)| e.name.clone())
            .next()
    }
}

/// An output buffer is named as the input it is the gradient of, perhaps with `out.` before it.
pub(super) fn fits_name(buffer: &str, given: &str) -> bool {
    buffer.strip_prefix("out.").unwrap_or(buffer) == given
}

fn find<'a, 'b>(given: &'a [Input<'b>], position: usize, name: &str) -> Option<&'a Input<'b>> {
    // Usually they come in order.
    match given.get(position) {
        Some(i) if i.name == name => Some(i),
        _ => given.iter().find(|i| i.name == name),
    }
}

fn missing(loss: &str, buffer: &Buffer, given: &[Input]) -> Diagnostic {
    let d = Diagnostic::data(format!(
        "the call lacks `{}`, which `{loss}` needs",
        buffer.name
    ));
    if given.is_empty() {
        return d;
    }
    let names: Vec<String> = given.iter().map(|i| format!("`{}`", i.name)).collect();
    d.note(format!("it has {}", names.join(", ")))
}

fn describe(loops: &Loops, buffer: &Buffer) -> String {
    let names: Vec<&str> = buffer
        .dims
        .iter()
        .map(|d| loops.extents[d.extent.0 as usize].name.as_str())
        .collect();
    format!("[{}]", names.join(", "))
}

fn param_bits(p: &LoopParam, value: f64) -> Result<u64> {
    if let Some(domain) = &p.domain
        && !domain.contains(value)
    {
        return Err(Diagnostic::data(format!(
            "`{}` is {value}, outside of its domain {domain}",
            p.name
        )));
    }
    match p.ty {
        Type::Real => Ok(value.to_bits()),
        Type::Int if value.trunc() == value && value.abs() < 9.2e18 => Ok(value as i64 as u64),
        Type::Int => Err(Diagnostic::data(format!(
            "`{}` is {value}, not a whole number",
            p.name
        ))),
        Type::Bool => Ok(u64::from(value != 0.0)),
    }
}
