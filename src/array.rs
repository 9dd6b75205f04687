//! Arrays as they come from a caller: a shape and row-major elements of one type.

use crate::ir::Type;

/// A dense, row-major array. No axes means one element.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    pub shape: Vec<usize>,
    pub data: Data,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    Real(Vec<f64>),
    Int(Vec<i64>),
    Bool(Vec<bool>),
}

impl Data {
    pub fn len(&self) -> usize {
        match self {
            Data::Real(v) => v.len(),
            Data::Int(v) => v.len(),
            Data::Bool(v) => v.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Array {
    /// A scalar.
    pub fn scalar(value: f64) -> Array {
        Array {
            shape: vec![],
            data: Data::Real(vec![value]),
        }
    }

    /// Real elements of a shape; `data` must have as many elements as the shape says.
    pub fn real(shape: &[usize], data: Vec<f64>) -> Array {
        debug_assert_eq!(shape.iter().product::<usize>(), data.len());
        Array {
            shape: shape.to_vec(),
            data: Data::Real(data),
        }
    }

    pub fn len(&self) -> usize {
        self.data.len()
    }

    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// The type of the elements.
    pub fn ty(&self) -> Type {
        match self.data {
            Data::Real(_) => Type::Real,
            Data::Int(_) => Type::Int,
            Data::Bool(_) => Type::Bool,
        }
    }

    /// The real elements, `None` for another type.
    pub fn reals(&self) -> Option<&[f64]> {
        match &self.data {
            Data::Real(v) => Some(v),
            Data::Int(_) | Data::Bool(_) => None,
        }
    }

    /// The one real element of an array without axes.
    pub fn number(&self) -> Option<f64> {
        match (self.shape.is_empty(), self.reals()) {
            (true, Some(&[x])) => Some(x),
            _ => None,
        }
    }

    /// The same elements as another type, where that loses nothing: ints and bools become reals, whole reals ints, 0
    /// and 1 bools. The error is the first element that does not fit, by its position in row-major order.
    pub fn convert(self, ty: Type) -> Result<Array, Misfit> {
        let Array { shape, data } = self;
        let data = match (data, ty) {
            (Data::Real(v), Type::Real) => Data::Real(v),
            (Data::Int(v), Type::Int) => Data::Int(v),
            (Data::Bool(v), Type::Bool) => Data::Bool(v),
            (Data::Int(v), Type::Real) => Data::Real(each(&v, |x| {
                let real = x as f64;
                (real as i128 == x as i128).then_some(real)
            })?),
            (Data::Bool(v), Type::Real) => {
                Data::Real(v.iter().map(|&b| f64::from(u8::from(b))).collect())
            }
            (Data::Bool(v), Type::Int) => Data::Int(v.iter().map(|&b| i64::from(b)).collect()),
            (Data::Real(v), Type::Int) => Data::Int(each(&v, |x| {
                (x.trunc() == x && (-9223372036854775808.0..9223372036854775808.0).contains(&x))
                    .then_some(x as i64)
            })?),
            (Data::Real(v), Type::Bool) => Data::Bool(each(&v, |x| match x {
                0.0 => Some(false),
                1.0 => Some(true),
                _ => None,
            })?),
            (Data::Int(v), Type::Bool) => Data::Bool(each(&v, |x| match x {
                0 => Some(false),
                1 => Some(true),
                _ => None,
            })?),
        };
        Ok(Array { shape, data })
    }
}

/// An element that cannot become one of the wanted type without loss.
#[derive(Debug, Clone, PartialEq)]
pub struct Misfit {
    /// Position in row-major order.
    pub position: usize,
    /// As it is written.
    pub value: String,
}

fn each<A: Copy + std::fmt::Display, B>(
    values: &[A],
    f: impl Fn(A) -> Option<B>,
) -> Result<Vec<B>, Misfit> {
    let convert = |(position, &x): (usize, &A)| {
        f(x).ok_or_else(|| Misfit {
            position,
            value: x.to_string(),
        })
    };
    values.iter().enumerate().map(convert).collect()
}

/// The indices of the element at a position in row-major order, as `[1, 4]`.
pub fn place(shape: &[usize], mut position: usize) -> String {
    let mut index = vec![0; shape.len()];
    for (i, &n) in index.iter_mut().zip(shape).rev() {
        *i = position % n.max(1);
        position /= n.max(1);
    }
    format!("{index:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn converts_only_without_loss() {
        let real = |v: &[f64]| Array::real(&[v.len()], v.to_vec());
        assert_eq!(
            real(&[1.0, -3.0]).convert(Type::Int).unwrap().data,
            Data::Int(vec![1, -3])
        );
        assert_eq!(
            real(&[1.0, 0.5]).convert(Type::Int),
            Err(Misfit {
                position: 1,
                value: "0.5".into()
            })
        );
        assert_eq!(
            real(&[0.0, 1.0]).convert(Type::Bool).unwrap().data,
            Data::Bool(vec![false, true])
        );
        assert!(real(&[2.0]).convert(Type::Bool).is_err());
        assert!(real(&[f64::NAN]).convert(Type::Int).is_err());
        assert!(real(&[1e19]).convert(Type::Int).is_err());
        let big = Array {
            shape: vec![1],
            data: Data::Int(vec![(1 << 53) + 1]),
        };
        assert!(big.convert(Type::Real).is_err());
    }

    #[test]
    fn places_are_row_major() {
        assert_eq!(place(&[2, 3], 5), "[1, 2]");
        assert_eq!(place(&[], 0), "[]");
    }
}
