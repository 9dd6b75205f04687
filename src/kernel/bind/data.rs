//! What is asked of the arrays of a call.

use crate::codegen::Dtype;
use crate::kernel::{Data, DataMut};
use crate::loops::Elem;

impl Data<'_> {
    pub(super) fn len(&self) -> usize {
        match self {
            Data::F32(d) => d.len(),
            Data::F64(d) => d.len(),
            Data::I64(d) => d.len(),
            Data::Bool(d) => d.len(),
        }
    }

    pub(super) fn address(&self) -> usize {
        match self {
            Data::F32(d) => d.as_ptr() as usize,
            Data::F64(d) => d.as_ptr() as usize,
            Data::I64(d) => d.as_ptr() as usize,
            Data::Bool(d) => d.as_ptr() as usize,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        match self {
            Data::F32(d) => size_of_val(*d),
            Data::F64(d) => size_of_val(*d),
            Data::I64(d) => size_of_val(*d),
            Data::Bool(d) => d.len(),
        }
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Data::F32(_) => "f32",
            Data::F64(_) => "f64",
            Data::I64(_) => "i64",
            Data::Bool(_) => "bool",
        }
    }

    pub(super) fn fits(&self, elem: Elem, dtype: Dtype) -> bool {
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
    pub(super) fn len(&self) -> usize {
        match self {
            DataMut::F32(d) => d.len(),
            DataMut::F64(d) => d.len(),
        }
    }

    pub(super) fn address(&mut self) -> usize {
        match self {
            DataMut::F32(d) => d.as_mut_ptr() as usize,
            DataMut::F64(d) => d.as_mut_ptr() as usize,
        }
    }

    pub(super) fn dtype(&self) -> Dtype {
        match self {
            DataMut::F32(_) => Dtype::F32,
            DataMut::F64(_) => Dtype::F64,
        }
    }
}
