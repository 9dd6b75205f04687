//! From a call's arguments to the cells of the code: everything is checked here, before anything runs.

mod data;
mod extents;
mod outputs;

use super::code::Code;
use super::{Input, Workspace};
use crate::codegen::Dtype;
use crate::codegen::layout::{MASK_CELLS, MASKS};
use crate::diagnostic::Diagnostic;
use crate::ir::Type;
use crate::loops::{Buffer, BufferId, Elem, Home, LoopParam, Loops};
pub(super) use extents::memory_limit;

type Result<T> = std::result::Result<T, Diagnostic>;

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
        let twice = |k: &usize| given[..*k].iter().any(|i| i.name == given[*k].name);
        if let Some(k) = (0..given.len()).find(twice) {
            let title = format!("the input `{}` is given twice", given[k].name);
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
                "`{name}` has {} instead of {}",
                axes_count(input.shape.len()),
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
        let twice = |k: &usize| given[..*k].iter().any(|(n, _)| *n == given[*k].0);
        if let Some(k) = (0..given.len()).find(twice) {
            let title = format!("the hyperparameter `{}` is given twice", given[k].0);
            return Err(Diagnostic::data(title));
        }
        for (k, p) in loops.params.iter().enumerate() {
            let set = given.iter().find(|(n, _)| **n == p.name);
            let Some(value) = set.map(|(_, v)| *v).or(p.default) else {
                return Err(crate::ir::unset(&p.name, p.domain.as_ref()));
            };
            work.cells[self.layout.param(k as u32)] = param_bits(p, value)?;
        }
        Ok(())
    }
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

fn axes_count(n: usize) -> String {
    format!("{n} {}", if n == 1 { "axis" } else { "axes" })
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
        Type::Int if value.trunc() == value => {
            Err(Diagnostic::data(format!("`{}` is beyond 64 bits", p.name)))
        }
        Type::Int => Err(Diagnostic::data(format!(
            "`{}` is {value}, not a whole number",
            p.name
        ))),
        Type::Bool => Ok(u64::from(value != 0.0)),
    }
}
