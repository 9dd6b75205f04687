//! The kernel of a loss: calls by name, with errors that show the source, and calls on arrays from files.

use crate::array::{Array, Data};
use crate::codegen::{Dtype, isa, isa::Registers};
use crate::diagnostic::{Diagnostic, Sources};
use crate::error::Error;
use crate::interp;
use crate::ir::{Program, TensorId};
use crate::kernel::{self, DataMut, Gradient, Input, Workspace};
use std::sync::Arc;

/// A compiled loss. One kernel serves every shape that fits the signature, from any number of threads at once; what it
/// needs for scratch is the calling thread's, or a [`Workspace`] of the caller's, and is kept for the next call.
pub struct Kernel {
    pub(crate) inner: kernel::Kernel,
    pub(super) program: Arc<Program>,
    pub(super) gradients: Vec<TensorId>,
    pub(super) sources: Arc<Sources>,
}

/// What a kernel computed from named arrays.
#[derive(Debug, Clone)]
pub struct Evaluated {
    /// A number, an array without axes; with [`Reduction::None`](crate::Reduction::None) one for each row, in the shape of the rows.
    pub value: Array,
    /// In the order of the kernel's gradients.
    pub gradients: Vec<NamedGradient>,
    /// What is no error but seldom meant, such as an axis without elements.
    pub warnings: Vec<Diagnostic>,
}

/// The gradient with respect to one input.
#[derive(Debug, Clone)]
pub struct NamedGradient {
    pub name: String,
    /// That of the input.
    pub shape: Vec<usize>,
    pub values: Vec<f64>,
}

impl Kernel {
    /// What it computes in.
    pub fn dtype(&self) -> Dtype {
        self.inner.dtype()
    }

    /// The machine that the code is for, by its triple.
    pub fn target(&self) -> String {
        isa::host(Registers::Backtracking)
            .map_or_else(|_| String::new(), |isa| isa.triple().to_string())
    }

    /// Bytes of machine code, without what later calls may add.
    pub fn code_size(&self) -> usize {
        self.inner.code_size()
    }

    /// Makes the fast code unless it is there.
    pub(crate) fn make_fast_code(&self) -> bool {
        self.inner.make_fast_code()
    }

    /// The loop nests that it was made of, as text.
    pub fn loops_text(&self) -> String {
        crate::loops::print::print(self.inner.loops())
    }

    /// The value at `inputs`, which are matched by name, with hyperparameters by name (those with a default may be left out).
    ///
    /// # Errors
    /// Inputs or hyperparameters that do not fit; an index out of range; an int divided by 0.
    pub fn value(&self, inputs: &[Input], params: &[(&str, f64)]) -> Result<f64, Error> {
        self.inner.value(inputs, params).map_err(|d| self.fail(d))
    }

    /// The value, and the gradients into the caller's memory: one [`Gradient`] for each input that the kernel was compiled
    /// for, each with as many elements as its input, in the kernel's dtype. After the first call of a size nothing is
    /// allocated, but for the buffer in which a matrix product packs its factors.
    ///
    /// # Errors
    /// As [`Kernel::value`]; also where a gradient does not fit or overlaps an input. What an erroneous call leaves in the
    /// gradients is unspecified.
    pub fn value_and_grad(
        &self,
        inputs: &[Input],
        params: &[(&str, f64)],
        gradients: &mut [Gradient],
    ) -> Result<f64, Error> {
        self.inner
            .value_and_grad(inputs, params, gradients)
            .map_err(|d| self.fail(d))
    }

    /// [`Kernel::value_and_grad`] with scratch memory of the caller's.
    ///
    /// # Errors
    /// As [`Kernel::value_and_grad`].
    pub fn value_and_grad_in(
        &self,
        work: &mut Workspace,
        inputs: &[Input],
        params: &[(&str, f64)],
        gradients: &mut [Gradient],
    ) -> Result<f64, Error> {
        self.inner
            .value_and_grad_in(work, inputs, params, gradients)
            .map_err(|d| self.fail(d))
    }

    /// The rows of a loss without a reduction, in the caller's memory: one number of the kernel's dtype for each row, in
    /// the order of the axes that [`Loss::reduction`](super::Loss::reduction) names.
    ///
    /// # Errors
    /// As [`Kernel::value`]; a loss that has a reduction; a place that does not fit or overlaps an input.
    pub fn rows<'a>(
        &self,
        inputs: &[Input],
        params: &[(&str, f64)],
        rows: impl Into<DataMut<'a>>,
    ) -> Result<(), Error> {
        self.inner
            .rows(inputs, params, rows.into())
            .map_err(|d| self.fail(d))
    }

    /// The rows of a loss without a reduction, and the gradients of their sum; as [`Kernel::value_and_grad`].
    ///
    /// # Errors
    /// As [`Kernel::rows`] and [`Kernel::value_and_grad`].
    pub fn rows_and_grad<'a>(
        &self,
        inputs: &[Input],
        params: &[(&str, f64)],
        rows: impl Into<DataMut<'a>>,
        gradients: &mut [Gradient],
    ) -> Result<(), Error> {
        self.inner
            .rows_and_grad(inputs, params, rows.into(), gradients)
            .map_err(|d| self.fail(d))
    }

    /// How many rows there are along each of their axes, for a loss without a reduction; nothing for one with.
    ///
    /// # Errors
    /// As [`Kernel::value`].
    pub fn rows_shape(
        &self,
        inputs: &[Input],
        params: &[(&str, f64)],
    ) -> Result<Vec<usize>, Error> {
        self.inner
            .value_shape(inputs, params)
            .map_err(|d| self.fail(d))
    }

    /// Value and gradients at arrays from files: converted to the types of the inputs where that loses nothing (reals are
    /// rounded to f32 for an f32 kernel). Arrays that the loss does not name are ignored.
    ///
    /// # Errors
    /// As [`Kernel::value_and_grad`].
    pub fn evaluate(
        &self,
        data: &[(&str, &Array)],
        params: &[(&str, f64)],
    ) -> Result<Evaluated, Error> {
        let mut errors = interp::misset(&self.program, params);
        let (arrays, mut unfit) = interp::fitted(&self.program, data);
        errors.append(&mut unfit);
        if self.dtype() == Dtype::F32 {
            let inputs = self.program.inputs.iter().zip(&arrays);
            errors.extend(inputs.filter_map(|(&t, a)| beyond_f32(&self.program.get(t).name, a)));
        }
        if !errors.is_empty() {
            return Err(Error::new(errors, self.sources.clone()));
        }
        let owned: Vec<Owned> = arrays
            .iter()
            .map(|a| Owned::new(&a.data, self.dtype()))
            .collect();
        let inputs: Vec<Input> = self
            .program
            .inputs
            .iter()
            .zip(arrays.iter().zip(&owned))
            .map(|(&t, (array, owned))| Input {
                name: &self.program.get(t).name,
                data: owned.view(),
                shape: &array.shape,
            })
            .collect();
        let mut buffers: Vec<Owned> = vec![];
        let mut shapes = vec![];
        for g in &self.gradients {
            let array = self
                .program
                .inputs
                .iter()
                .position(|i| i == g)
                .map(|k| &arrays[k]);
            let n = array.map_or(0, Array::len);
            shapes.push(array.map_or(vec![], |a| a.shape.clone()));
            buffers.push(Owned::new(&Data::Real(vec![0.0; n]), self.dtype()));
        }
        let mut gradients: Vec<Gradient> = self
            .gradients
            .iter()
            .zip(&mut buffers)
            .map(|(&g, buffer)| Gradient {
                name: &self.program.get(g).name,
                data: buffer.view_mut(),
            })
            .collect();
        let value = if self.program.get(self.program.value).head.is_empty() {
            Array::scalar(self.value_and_grad(&inputs, params, &mut gradients)?)
        } else {
            let shape = self.rows_shape(&inputs, params)?;
            let zeros = Data::Real(vec![0.0; shape.iter().product()]);
            let mut rows = Owned::new(&zeros, self.dtype());
            self.rows_and_grad(&inputs, params, rows.view_mut(), &mut gradients)?;
            Array::real(&shape, rows.into_f64())
        };
        let mut warnings = vec![];
        if let Some(axis) = self
            .inner
            .empty_axis(&inputs, params)
            .map_err(|d| self.fail(d))?
        {
            let title = format!("there are no elements to reduce: axis {axis} is empty");
            warnings.push(
                Diagnostic::warning(title).note("a sum of nothing is 0, a mean of nothing NaN"),
            );
        }
        let named = self.gradients.iter().zip(shapes).zip(buffers);
        let gradients = named.map(|((&g, shape), buffer)| NamedGradient {
            name: self.program.get(g).name.to_string(),
            shape,
            values: buffer.into_f64(),
        });
        Ok(Evaluated {
            value,
            gradients: gradients.collect(),
            warnings,
        })
    }

    fn fail(&self, diagnostic: Diagnostic) -> Error {
        Error::new(vec![diagnostic], self.sources.clone())
    }
}

/// A number that f32 has no other number for than infinity.
fn beyond_f32(name: &str, array: &Array) -> Option<Diagnostic> {
    let reals = array.reals()?;
    let lost = |x: &f64| x.is_finite() && (*x as f32).is_infinite();
    let k = reals.iter().position(lost)?;
    let at = crate::array::place(&array.shape, k);
    let title = format!(
        "`{name}` at {at} is {:e}, which f32 does not hold",
        reals[k]
    );
    Some(Diagnostic::data(title).help("`--dtype f64` computes with numbers up to 1e308"))
}

/// Elements in the type that a kernel takes.
enum Owned {
    F32(Vec<f32>),
    F64(Vec<f64>),
    I64(Vec<i64>),
    Bool(Vec<bool>),
}

impl Owned {
    fn new(data: &Data, dtype: Dtype) -> Owned {
        match (data, dtype) {
            (Data::Real(v), Dtype::F32) => Owned::F32(v.iter().map(|&x| x as f32).collect()),
            (Data::Real(v), Dtype::F64) => Owned::F64(v.clone()),
            (Data::Int(v), _) => Owned::I64(v.clone()),
            (Data::Bool(v), _) => Owned::Bool(v.clone()),
        }
    }

    fn view(&self) -> kernel::Data<'_> {
        match self {
            Owned::F32(v) => kernel::Data::F32(v),
            Owned::F64(v) => kernel::Data::F64(v),
            Owned::I64(v) => kernel::Data::I64(v),
            Owned::Bool(v) => kernel::Data::Bool(v),
        }
    }

    /// Gradients are real.
    fn view_mut(&mut self) -> DataMut<'_> {
        match self {
            Owned::F32(v) => DataMut::F32(v),
            Owned::F64(v) => DataMut::F64(v),
            Owned::I64(_) | Owned::Bool(_) => DataMut::F64(&mut []),
        }
    }

    fn into_f64(self) -> Vec<f64> {
        match self {
            Owned::F32(v) => v.into_iter().map(f64::from).collect(),
            Owned::F64(v) => v,
            Owned::I64(_) | Owned::Bool(_) => vec![],
        }
    }
}
