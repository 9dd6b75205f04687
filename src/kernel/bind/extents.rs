//! The extents of a call.

use super::{Result, find, inputs, is_flat};
use crate::diagnostic::Diagnostic;
use crate::kernel::code::Code;
use crate::kernel::{Input, Workspace};
use crate::loops::{BufferId, ExtentExpr, ExtentFrom, ExtentIndex, LoopAxisId};
use std::sync::OnceLock;

/// No call may ask for more bytes, and no axis be longer: what this machine's memory holds.
pub(in crate::kernel) fn memory_limit() -> u64 {
    static LIMIT: OnceLock<u64> = OnceLock::new();
    *LIMIT.get_or_init(|| {
        let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let total = info.lines().find_map(|l| l.strip_prefix("MemTotal:"));
        let kib = total.and_then(|t| t.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
        kib.map_or(1 << 36, |k| k.saturating_mul(1024))
    })
}

/// Loops over axes that no data bound take no more steps, which take months on one thread.
const MOST_STEPS: f64 = 1e16;

impl Code {
    /// Every extent, checked: positions agree, nothing overflows, memory could hold it.
    pub(super) fn bind_extents(&self, given: &[Input], work: &mut Workspace) -> Result<()> {
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
        self.bound_steps(work)
    }

    /// A call that nobody can wait for is an error: each axis fits in memory, but not all pairs of their elements in a life.
    fn bound_steps(&self, work: &Workspace) -> Result<()> {
        let axis = |i: &LoopAxisId| &self.loops.axes[i.0 as usize];
        let size = |i: &LoopAxisId| work.cells[self.layout.extent(axis(i).extent)];
        for nest in &self.nests {
            let steps: f64 = nest.iter().map(|i| size(i) as f64).product();
            if steps > MOST_STEPS {
                let axes = nest
                    .iter()
                    .map(|i| format!("{} has {} elements", axis(i).name, size(i)));
                let axes: Vec<String> = axes.collect();
                return Err(Diagnostic::data(format!(
                    "a loop over {} axes would take {steps:.0e} steps",
                    nest.len()
                ))
                .note(format!("axis {}", axes.join(", axis ")))
                .help(format!(
                    "at most {MOST_STEPS:.0e} steps are run over axes whose extents no data give"
                )));
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
        let size = |i: ExtentIndex| work.cells[self.layout.extent(i)] as i64;
        let param = |p: u32| work.cells[self.layout.param(p)] as i64;
        let n = e.value(&size, &param).ok_or_else(|| {
            Diagnostic::data(format!(
                "the extent of axis {name} overflows, or an int is divided by 0 in it"
            ))
        })?;
        u64::try_from(n).map_err(|_| {
            Diagnostic::data(format!("axis {name} has the extent {n}, less than nothing"))
        })
    }
}
