//! Vectors that go through the same operations side by side.

use cranelift::frontend::FunctionBuilder;
use cranelift_codegen::ir::{ConstantData, InstBuilder, Type, Value, types};

/// The most vectors that one [`Bundle`] holds.
pub const MAX_COPIES: usize = 8;

/// The vector type of a bundle: both fill the 128 bits that Cranelift offers on every target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Width {
    /// Four f32.
    F32X4,
    /// Two f64.
    F64X2,
}

impl Width {
    /// The vector type.
    pub fn vector(self) -> Type {
        match self {
            Width::F32X4 => types::F32X4,
            Width::F64X2 => types::F64X2,
        }
    }

    /// The integer vector type with lanes of the same size.
    pub fn integer(self) -> Type {
        match self {
            Width::F32X4 => types::I32X4,
            Width::F64X2 => types::I64X2,
        }
    }

    /// Lanes of one vector.
    pub fn lanes(self) -> usize {
        match self {
            Width::F32X4 => 4,
            Width::F64X2 => 2,
        }
    }

    /// Stored bits of the significand.
    pub(super) fn mantissa_bits(self) -> i64 {
        match self {
            Width::F32X4 => 23,
            Width::F64X2 => 52,
        }
    }

    /// The bit pattern of `value` in this format, rounded to nearest; a number too large for it is its largest, not infinite.
    pub fn bits(self, value: f64) -> u64 {
        match self {
            Width::F32X4 if value.is_finite() => {
                let near = (value as f32).clamp(f32::MIN, f32::MAX);
                u64::from(near.to_bits())
            }
            Width::F32X4 => u64::from((value as f32).to_bits()),
            Width::F64X2 => value.to_bits(),
        }
    }

    /// The bit pattern of the sign alone.
    pub fn sign_bit(self) -> u64 {
        self.bits(-0.0)
    }

    /// All sixteen bytes of a vector whose lanes hold `bits`.
    pub fn splat_bytes(self, bits: u64) -> [u8; 16] {
        let mut bytes = [0; 16];
        match self {
            Width::F32X4 => {
                for lane in bytes.chunks_exact_mut(4) {
                    lane.copy_from_slice(&(bits as u32).to_le_bytes());
                }
            }
            Width::F64X2 => {
                for lane in bytes.chunks_exact_mut(8) {
                    lane.copy_from_slice(&bits.to_le_bytes());
                }
            }
        }
        bytes
    }

    /// Emits the constant vector at the builder's position.
    pub fn splat(self, b: &mut FunctionBuilder, bits: u64) -> Value {
        let bytes = ConstantData::from(&self.splat_bytes(bits)[..]);
        let constant = b.func.dfg.constants.insert(bytes);
        b.ins().vconst(self.vector(), constant)
    }
}

/// W vectors that go through the same operations side by side.
///
/// Emission is interleaved: the first operation of all W vectors comes before the second of any. A processor then has W independent chains
/// in flight; one vector after the other would wait for the latency of each step.
#[derive(Clone, Copy, Debug)]
pub struct Bundle {
    values: [Value; MAX_COPIES],
    count: u8,
}

impl Bundle {
    /// A bundle of these vectors; `None` when there are none or more than [`MAX_COPIES`].
    pub fn new(values: &[Value]) -> Option<Bundle> {
        let first = *values.first()?;
        let mut held = [first; MAX_COPIES];
        held.get_mut(..values.len())?.copy_from_slice(values);
        Some(Bundle {
            values: held,
            count: values.len() as u8,
        })
    }

    /// The same vector `copies` times, as for a constant.
    pub fn repeat(value: Value, copies: usize) -> Bundle {
        Bundle {
            values: [value; MAX_COPIES],
            count: copies.min(MAX_COPIES) as u8,
        }
    }

    /// The vectors.
    pub fn values(&self) -> &[Value] {
        &self.values[..usize::from(self.count)]
    }

    /// How many vectors there are.
    pub fn copies(&self) -> usize {
        usize::from(self.count)
    }

    /// `count` vectors from `first` on, as far as there are any.
    pub(super) fn part(&self, first: usize, count: usize) -> Bundle {
        let mut part = *self;
        let end = (first + count).min(self.copies());
        let first = first.min(end);
        part.values.copy_within(first..end, 0);
        part.count = (end - first) as u8;
        part
    }

    /// Puts vectors in place of those from `first` on.
    pub(super) fn set(&mut self, first: usize, part: Bundle) {
        for (to, from) in self.values.iter_mut().skip(first).zip(part.values()) {
            *to = *from;
        }
    }

    /// The bundle of f of each vector.
    pub(super) fn map(mut self, mut f: impl FnMut(Value) -> Value) -> Bundle {
        for value in &mut self.values[..usize::from(self.count)] {
            *value = f(*value);
        }
        self
    }
}
