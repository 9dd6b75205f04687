//! The callable kernel.
//!
//! A [`Kernel`] owns its machine code. A call checks everything it is given (names, types, shapes, hyperparameters, the
//! size and place of outputs) and then runs the stages of the loops: a stage over rows chunk by chunk, the chunks'
//! totals merged in their order. Scratch memory is a [`Workspace`], the caller's or the thread's. (Only the library
//! that multiplies matrices takes memory of its own for each product, to pack the factors, and frees it.)

mod bind;
mod code;
mod run;
mod steps;

use crate::codegen::{Dtype, Refusal};
use crate::diagnostic::Diagnostic;
use crate::loops::Loops;
use crate::stack::with_stack;
use code::Code;
use std::cell::RefCell;
use std::sync::OnceLock;

/// The elements of an input, contiguous, the last axis fastest.
#[derive(Debug, Clone, Copy)]
pub enum Data<'a> {
    F32(&'a [f32]),
    F64(&'a [f64]),
    I64(&'a [i64]),
    Bool(&'a [bool]),
}

/// One input of a call: its name in the loss, elements and shape.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    pub name: &'a str,
    pub data: Data<'a>,
    pub shape: &'a [usize],
}

impl<'a> Input<'a> {
    /// An input by its name; `data` is a slice of f32, f64, i64 or bool.
    pub fn new(name: &'a str, data: impl Into<Data<'a>>, shape: &'a [usize]) -> Input<'a> {
        Input {
            name,
            data: data.into(),
            shape,
        }
    }
}

/// Where a gradient goes: as many elements as its input has.
#[derive(Debug)]
pub enum DataMut<'a> {
    F32(&'a mut [f32]),
    F64(&'a mut [f64]),
}

/// One output of a call: the name of the input that it is the gradient of.
#[derive(Debug)]
pub struct Gradient<'a> {
    pub name: &'a str,
    pub data: DataMut<'a>,
}

/// Memory that calls use and leave behind for the next one. It grows to what the largest call needs.
#[derive(Debug, Default)]
pub struct Workspace {
    /// What the code reads: addresses, extents, hyperparameters.
    cells: Vec<u64>,
    /// The buffers of the kernel's own.
    scratch: Vec<u64>,
    /// Where gradients go that nobody asked for.
    unwanted: Vec<u64>,
}

impl<'a> Gradient<'a> {
    /// A place for the gradient with respect to the input `name`; `data` is a slice of f32 or f64.
    pub fn new(name: &'a str, data: impl Into<DataMut<'a>>) -> Gradient<'a> {
        Gradient {
            name,
            data: data.into(),
        }
    }
}

/// Slices, vectors and arrays as the data of a call.
macro_rules! data_from {
    ($data:ident::$variant:ident, $element:ty $(, $mut:tt)?) => {
        impl<'a> From<&'a $($mut)? [$element]> for $data<'a> {
            fn from(elements: &'a $($mut)? [$element]) -> $data<'a> {
                $data::$variant(elements)
            }
        }
        impl<'a> From<&'a $($mut)? Vec<$element>> for $data<'a> {
            fn from(elements: &'a $($mut)? Vec<$element>) -> $data<'a> {
                $data::$variant(elements)
            }
        }
        impl<'a, const N: usize> From<&'a $($mut)? [$element; N]> for $data<'a> {
            fn from(elements: &'a $($mut)? [$element; N]) -> $data<'a> {
                $data::$variant(elements)
            }
        }
    };
}

data_from!(Data::F32, f32);
data_from!(Data::F64, f64);
data_from!(Data::I64, i64);
data_from!(Data::Bool, bool);
data_from!(DataMut::F32, f32, mut);
data_from!(DataMut::F64, f64, mut);

thread_local! {
    static WORKSPACE: RefCell<Workspace> = RefCell::default();
}

/// Makes the loops of the value alone, when they are first needed.
pub type MakeLoops = Box<dyn Fn() -> Result<Loops, Diagnostic> + Send + Sync>;

/// A compiled loss: callable from many threads at once, for any shapes that fit its signature.
pub struct Kernel {
    full: Code,
    many: bool,
    value_loops: Option<MakeLoops>,
    value: OnceLock<Result<Code, Diagnostic>>,
}

impl std::fmt::Debug for Kernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Kernel({}, {}, {} stages)",
            self.full.loops.name,
            self.full.dtype.name(),
            self.full.stages.len()
        )
    }
}

impl Kernel {
    /// Compiles the loops of value and gradients for this machine. `value_only` are loops of the same loss without
    /// gradients; they are compiled when the value alone is first asked for.
    ///
    /// # Errors
    /// What does not compile yet, by name.
    pub fn new(loops: Loops, value_only: Option<Loops>, dtype: Dtype) -> Result<Kernel, Refusal> {
        let make = |loops: Loops| -> MakeLoops { Box::new(move || Ok(loops.clone())) };
        Kernel::with_value(loops, value_only.map(make), dtype, false)
    }

    /// As [`Kernel::new`], but the loops of the value alone are not even made before they are needed. The fast code is
    /// made at once if there will be `many` elements, otherwise at the first call with many steps.
    ///
    /// # Errors
    /// As [`Kernel::new`].
    pub fn with_value(
        loops: Loops,
        value_only: Option<MakeLoops>,
        dtype: Dtype,
        many: bool,
    ) -> Result<Kernel, Refusal> {
        Ok(Kernel {
            full: Code::new(loops, dtype, many)?,
            many,
            value_loops: value_only,
            value: OnceLock::new(),
        })
    }

    /// What it computes in.
    pub fn dtype(&self) -> Dtype {
        self.full.dtype
    }

    /// A call with so many steps of loops or more takes the fast code.
    pub const MANY: u64 = steps::MANY;

    /// Bytes of machine code, without what later calls may add.
    pub fn code_size(&self) -> usize {
        self.full.machine.bytes
    }

    /// Makes the fast code of value and gradients unless it is there; whether there is one.
    pub(crate) fn make_fast_code(&self) -> bool {
        self.full.fast().is_some_and(|m| m.bytes > 0)
    }

    /// The loops it was made of.
    pub fn loops(&self) -> &Loops {
        &self.full.loops
    }

    /// The value.
    ///
    /// # Errors
    /// Inputs or hyperparameters that do not fit; an index out of range, a division of an int by 0. What does not
    /// compile yet, by name, where the value alone is compiled at its first call.
    pub fn value(&self, inputs: &[Input], params: &[(&str, f64)]) -> Result<f64, Diagnostic> {
        with_workspace(|work| self.value_in(work, inputs, params))
    }

    /// The value, and the gradients into the caller's memory: one [`Gradient`] for each that the kernel was made for.
    ///
    /// # Errors
    /// As [`Kernel::value`]; also where a gradient's place does not fit or overlaps an input. What an erroneous call
    /// leaves in the gradients is unspecified.
    pub fn value_and_grad(
        &self,
        inputs: &[Input],
        params: &[(&str, f64)],
        gradients: &mut [Gradient],
    ) -> Result<f64, Diagnostic> {
        with_workspace(|work| self.value_and_grad_in(work, inputs, params, gradients))
    }

    /// [`Kernel::value`] with a workspace of the caller's.
    ///
    /// # Errors
    /// As [`Kernel::value`].
    pub fn value_in(
        &self,
        work: &mut Workspace,
        inputs: &[Input],
        params: &[(&str, f64)],
    ) -> Result<f64, Diagnostic> {
        self.value_into(work, inputs, params, None)
    }

    /// By the code of the value alone, compiled when it is first asked for, if there are loops for it.
    fn value_into(
        &self,
        work: &mut Workspace,
        inputs: &[Input],
        params: &[(&str, f64)],
        rows: Option<DataMut>,
    ) -> Result<f64, Diagnostic> {
        let Some(make_loops) = &self.value_loops else {
            return self.call_full(work, inputs, params, rows);
        };
        let make = || {
            let loops = make_loops()?;
            Ok(with_stack(|| Code::new(loops, self.full.dtype, self.many))?)
        };
        match self.value.get_or_init(make) {
            Ok(code) => call(code, work, inputs, params, rows, &mut []),
            Err(d) => Err(d.clone()),
        }
    }

    /// The value of a loss without a reduction: one number for each row, into the caller's memory.
    ///
    /// # Errors
    /// As [`Kernel::value`]; also for a loss whose value is one number, or where the place does not fit.
    pub fn rows(
        &self,
        inputs: &[Input],
        params: &[(&str, f64)],
        rows: DataMut,
    ) -> Result<(), Diagnostic> {
        with_workspace(|work| self.value_into(work, inputs, params, Some(rows))).map(|_| ())
    }

    /// The rows, and the gradients of their sum.
    ///
    /// # Errors
    /// As [`Kernel::rows`] and [`Kernel::value_and_grad`].
    pub fn rows_and_grad(
        &self,
        inputs: &[Input],
        params: &[(&str, f64)],
        rows: DataMut,
        gradients: &mut [Gradient],
    ) -> Result<(), Diagnostic> {
        with_workspace(|work| call(&self.full, work, inputs, params, Some(rows), gradients))
            .map(|_| ())
    }

    /// The shape of the value: none for a number, that of the rows for a loss without a reduction.
    ///
    /// # Errors
    /// Inputs or hyperparameters that do not fit.
    pub fn value_shape(
        &self,
        inputs: &[Input],
        params: &[(&str, f64)],
    ) -> Result<Vec<usize>, Diagnostic> {
        with_workspace(|work| {
            self.full.bind(inputs, params, work)?;
            Ok(self.full.value_shape(inputs, work))
        })
    }

    /// [`Kernel::value_and_grad`] with a workspace of the caller's.
    ///
    /// # Errors
    /// As [`Kernel::value_and_grad`].
    pub fn value_and_grad_in(
        &self,
        work: &mut Workspace,
        inputs: &[Input],
        params: &[(&str, f64)],
        gradients: &mut [Gradient],
    ) -> Result<f64, Diagnostic> {
        call(&self.full, work, inputs, params, None, gradients)
    }

    /// Without loops for the value alone the gradients are computed, too, and forgotten.
    fn call_full(
        &self,
        work: &mut Workspace,
        inputs: &[Input],
        params: &[(&str, f64)],
        rows: Option<DataMut>,
    ) -> Result<f64, Diagnostic> {
        self.full.bind(inputs, params, work)?;
        self.full.bind_unwanted(work)?;
        self.full.bind_value(inputs, rows, work)?;
        self.full.place_buffers(work)?;
        self.full.run(work)?;
        Ok(self.full.value(work))
    }

    /// An axis of the loss that has no elements in this call, if there is one: then sums are 0 and means NaN, which is
    /// no error, but seldom meant.
    ///
    /// # Errors
    /// Inputs or hyperparameters that do not fit.
    pub fn empty_axis(
        &self,
        inputs: &[Input],
        params: &[(&str, f64)],
    ) -> Result<Option<String>, Diagnostic> {
        with_workspace(|work| {
            self.full.bind(inputs, params, work)?;
            Ok(self.full.empty_axis(work))
        })
    }
}

fn call(
    code: &Code,
    work: &mut Workspace,
    inputs: &[Input],
    params: &[(&str, f64)],
    rows: Option<DataMut>,
    gradients: &mut [Gradient],
) -> Result<f64, Diagnostic> {
    code.bind(inputs, params, work)?;
    code.bind_value(inputs, rows, work)?;
    code.bind_gradients(inputs, gradients, work)?;
    code.place_buffers(work)?;
    code.run(work)?;
    Ok(code.value(work))
}

/// The thread's workspace, or a new one where a call is made within a call.
fn with_workspace<T>(f: impl FnOnce(&mut Workspace) -> T) -> T {
    WORKSPACE.with(|w| match w.try_borrow_mut() {
        Ok(mut w) => f(&mut w),
        Err(_) => f(&mut Workspace::default()),
    })
}
