//! What a loop value is while code is made, and its conversions.

use super::checks::Fact;
use super::math::{Bundle, Emitter, Width};
use super::stage::{Gen, Result, bug};
use crate::loops::ValueId;
use cranelift::frontend::FunctionBuilder;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{Endianness, InstBuilder, MemFlagsData, Type, Value, types};

/// A value: one number for all lanes (`lanes` false, one vector or scalar), or one for each lane of all the vectors
/// that are in flight.
#[derive(Debug, Clone, Copy)]
pub(super) enum Val {
    /// Vectors of floats. Of f64 where a sum is not yet rounded to the dtype, then two for each of f32.
    Real {
        vectors: Bundle,
        width: Width,
        lanes: bool,
    },
    /// An i64, the same for all lanes.
    Int(Value),
    /// Vectors of two i64.
    Ints(Bundle),
    /// An i8, 0 or 1, the same for all lanes.
    Flag(Value),
    /// Float vectors of the stage's width whose lanes are all ones or all zeros.
    Mask { vectors: Bundle, lanes: bool },
}

impl Val {
    /// Whether it has a value of its own for each lane.
    pub(super) fn lanes(&self) -> bool {
        match self {
            Val::Real { lanes, .. } | Val::Mask { lanes, .. } => *lanes,
            Val::Ints(_) => true,
            Val::Int(_) | Val::Flag(_) => false,
        }
    }
}

/// Bits keep their place when a vector is seen with other lanes, on a big-endian target too.
pub(super) fn bit_flags() -> MemFlagsData {
    MemFlagsData::new().with_endianness(Endianness::Little)
}

/// The same bits as another type.
pub(super) fn cast(b: &mut FunctionBuilder, ty: Type, x: Value) -> Value {
    if b.func.dfg.value_type(x) == ty {
        return x;
    }
    b.ins().bitcast(ty, bit_flags(), x)
}

/// Vectors made of a list; more than a bundle holds is a mistake of ours.
pub(super) fn bundle(values: &[Value]) -> Result<Bundle> {
    Bundle::new(values).ok_or_else(|| bug("a bundle of no or too many vectors"))
}

/// Which 16 bytes of two vectors.
fn shuffle(b: &mut FunctionBuilder, x: Value, y: Value, bytes: [u8; 16], ty: Type) -> Value {
    let (x, y) = (cast(b, types::I8X16, x), cast(b, types::I8X16, y));
    let mask = b.func.dfg.immediates.push(bytes.as_slice().into());
    let z = b.ins().shuffle(x, y, mask);
    cast(b, ty, z)
}

const LOW_HALVES: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23];
const HIGH_HALF: [u8; 16] = [8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15];
const EVEN_WORDS: [u8; 16] = [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27];
/// The second half of the lanes in front, for pairwise sums.
const SECOND_WORD: [u8; 16] = [4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7];

/// The upper half of a vector in its lower half.
pub(super) fn high_half(b: &mut FunctionBuilder, x: Value) -> Value {
    let ty = b.func.dfg.value_type(x);
    shuffle(b, x, x, HIGH_HALF, ty)
}

/// Lane 1 of four in lane 0.
pub(super) fn second_lane(b: &mut FunctionBuilder, x: Value) -> Value {
    let ty = b.func.dfg.value_type(x);
    shuffle(b, x, x, SECOND_WORD, ty)
}

/// The four lanes as two vectors of f64.
pub(super) fn promote(b: &mut FunctionBuilder, x: Value) -> [Value; 2] {
    let high = high_half(b, x);
    [b.ins().fvpromote_low(x), b.ins().fvpromote_low(high)]
}

/// Two vectors of f64 as one of f32.
pub(super) fn demote(b: &mut FunctionBuilder, x: Value, y: Value) -> Value {
    let (x, y) = (b.ins().fvdemote(x), b.ins().fvdemote(y));
    shuffle(b, x, y, LOW_HALVES, types::F32X4)
}

impl<'u, 'f> Gen<'u, 'f> {
    /// Vectors of i64 for each vector of the stage's width.
    pub(super) fn pairs(&self) -> usize {
        self.width.lanes() / 2
    }

    pub(super) fn emitter(&mut self, copies: usize) -> Emitter<'_, 'f> {
        let width = self.width;
        self.emitter_at(width, copies)
    }

    pub(super) fn emitter_at(&mut self, width: Width, copies: usize) -> Emitter<'_, 'f> {
        Emitter::new(&mut self.b, &mut self.constants, width, copies)
    }

    // ---- reals

    pub(super) fn real_val(&self, vectors: Bundle, lanes: bool) -> Val {
        Val::Real {
            vectors,
            width: self.width,
            lanes,
        }
    }

    /// A number in every lane.
    pub(super) fn real_const(&mut self, x: f64) -> Val {
        let vectors = self.emitter(1).real(x);
        self.real_val(vectors, false)
    }

    /// A scalar float in every lane of a vector of the stage's width.
    pub(super) fn splat(&mut self, scalar: Value) -> Result<Val> {
        let from = self.b.func.dfg.value_type(scalar);
        let scalar = match (from == types::F32, self.width) {
            (true, Width::F32X4) | (false, Width::F64X2) => scalar,
            (true, Width::F64X2) => self.b.ins().fpromote(types::F64, scalar),
            (false, Width::F32X4) => self.b.ins().fdemote(types::F32, scalar),
        };
        let v = self.b.ins().splat(self.width.vector(), scalar);
        Ok(self.real_val(bundle(&[v])?, false))
    }

    /// The vectors of a real at a width, rounded or promoted as needed.
    pub(super) fn at_width(&mut self, val: Val, wanted: Width) -> Result<(Bundle, bool)> {
        let Val::Real {
            vectors,
            width,
            lanes,
        } = val
        else {
            return Err(bug("a real was expected"));
        };
        let v = vectors.values();
        let out = match (width, wanted) {
            (Width::F32X4, Width::F32X4) | (Width::F64X2, Width::F64X2) => vectors,
            (Width::F32X4, Width::F64X2) if lanes => {
                let mut out = vec![];
                for &x in v {
                    out.extend(promote(&mut self.b, x));
                }
                bundle(&out)?
            }
            (Width::F32X4, Width::F64X2) => bundle(&[self.b.ins().fvpromote_low(v[0])])?,
            (Width::F64X2, Width::F32X4) if lanes => {
                let mut out = vec![];
                for pair in v.chunks(2) {
                    out.push(demote(&mut self.b, pair[0], pair[pair.len() - 1]));
                }
                bundle(&out)?
            }
            (Width::F64X2, Width::F32X4) => bundle(&[demote(&mut self.b, v[0], v[0])])?,
        };
        Ok((out, lanes))
    }

    /// The vectors of a real at the stage's width, one where all lanes are equal.
    pub(super) fn real(&mut self, id: ValueId) -> Result<(Bundle, bool)> {
        let val = self.val(id)?;
        self.at_width(val, self.width)
    }

    /// A vector for each of those in flight.
    pub(super) fn spread(&self, (vectors, lanes): (Bundle, bool)) -> Bundle {
        if lanes {
            vectors
        } else {
            Bundle::repeat(vectors.values()[0], self.copies)
        }
    }

    // ---- bools

    /// Masks of the stage's width.
    pub(super) fn mask_of(&mut self, val: Val) -> Result<(Bundle, bool)> {
        match val {
            Val::Mask { vectors, lanes } => Ok((vectors, lanes)),
            Val::Flag(flag) => {
                let (scalar, vector) = match self.width {
                    Width::F32X4 => (types::I32, types::I32X4),
                    Width::F64X2 => (types::I64, types::I64X2),
                };
                let bits = self.b.ins().bmask(scalar, flag);
                let v = self.b.ins().splat(vector, bits);
                let v = cast(&mut self.b, self.width.vector(), v);
                Ok((bundle(&[v])?, false))
            }
            Val::Real { .. } | Val::Int(_) | Val::Ints(_) => Err(bug("a bool was expected")),
        }
    }

    /// A bool that is the same for all lanes, as an i8 of 0 or 1.
    pub(super) fn flag_of(&mut self, val: Val) -> Result<Value> {
        match val {
            Val::Flag(flag) => Ok(flag),
            Val::Mask {
                vectors,
                lanes: false,
            } => {
                let v = cast(&mut self.b, self.width.integer(), vectors.values()[0]);
                let lane = self.b.ins().extractlane(v, 0);
                Ok(self.b.ins().icmp_imm_s(IntCC::NotEqual, lane, 0))
            }
            Val::Mask { .. } | Val::Real { .. } | Val::Int(_) | Val::Ints(_) => {
                Err(bug("a bool that is the same for all lanes was expected"))
            }
        }
    }

    pub(super) fn flag(&mut self, id: ValueId) -> Result<Value> {
        let val = self.val(id)?;
        if let Some(flag) = self.known.get(Fact::Flag(id)) {
            return Ok(flag);
        }
        let flag = self.flag_of(val)?;
        self.known.add(Fact::Flag(id), flag);
        Ok(flag)
    }

    /// A bool of each lane as an i8 of 0 or 1.
    pub(super) fn lane_flags(&mut self, val: Val) -> Result<Vec<Value>> {
        let vectors = match self.mask_of(val)? {
            (vectors, true) => vectors,
            (_, false) => {
                let flag = self.flag_of(val)?;
                return Ok(vec![flag; self.copies * self.width.lanes()]);
            }
        };
        let mut out = vec![];
        for &v in vectors.values() {
            let v = cast(&mut self.b, self.width.integer(), v);
            for lane in 0..self.width.lanes() {
                let x = self.b.ins().extractlane(v, lane as u8);
                out.push(self.b.ins().icmp_imm_s(IntCC::NotEqual, x, 0));
            }
        }
        Ok(out)
    }

    /// Masks as vectors of i64.
    pub(super) fn wide_masks(&mut self, masks: Bundle) -> Result<Bundle> {
        let mut out = vec![];
        for &m in masks.values() {
            let m = cast(&mut self.b, self.width.integer(), m);
            match self.width {
                Width::F32X4 => {
                    out.push(self.b.ins().swiden_low(m));
                    out.push(self.b.ins().swiden_high(m));
                }
                Width::F64X2 => out.push(m),
            }
        }
        bundle(&out)
    }

    /// Masks of vectors of i64 as masks of the stage's width.
    pub(super) fn narrow_masks(&mut self, masks: Bundle) -> Result<Bundle> {
        let mut out = vec![];
        for m in masks.values().chunks(self.pairs()) {
            out.push(match self.width {
                Width::F32X4 => shuffle(&mut self.b, m[0], m[1], EVEN_WORDS, types::F32X4),
                Width::F64X2 => cast(&mut self.b, types::F64X2, m[0]),
            });
        }
        bundle(&out)
    }

    // ---- ints

    /// An int that is the same for all lanes.
    pub(super) fn int(&mut self, id: ValueId) -> Result<Value> {
        match self.val(id)? {
            Val::Int(v) => Ok(v),
            Val::Real { .. } | Val::Ints(_) | Val::Flag(_) | Val::Mask { .. } => {
                Err(bug("an int that is the same for all lanes was expected"))
            }
        }
    }

    /// Vectors of i64, for all vectors in flight.
    pub(super) fn ints_of(&mut self, val: Val) -> Result<Bundle> {
        match val {
            Val::Ints(v) => Ok(v),
            Val::Int(v) => {
                let v = self.b.ins().splat(types::I64X2, v);
                Ok(Bundle::repeat(v, self.copies * self.pairs()))
            }
            Val::Real { .. } | Val::Flag(_) | Val::Mask { .. } => Err(bug("an int was expected")),
        }
    }

    /// An int of each lane as a scalar.
    pub(super) fn lane_ints(&mut self, val: Val) -> Result<Vec<Value>> {
        match val {
            Val::Int(v) => Ok(vec![v; self.copies * self.width.lanes()]),
            Val::Ints(vectors) => {
                let mut out = vec![];
                for &v in vectors.values() {
                    out.push(self.b.ins().extractlane(v, 0));
                    out.push(self.b.ins().extractlane(v, 1));
                }
                Ok(out)
            }
            Val::Real { .. } | Val::Flag(_) | Val::Mask { .. } => Err(bug("an int was expected")),
        }
    }

    /// Vectors from one scalar for each lane.
    pub(super) fn vectors_of(&mut self, vector: Type, scalars: &[Value]) -> Result<Bundle> {
        let mut out = vec![];
        for lanes in scalars.chunks(vector.lane_count() as usize) {
            let mut v = self.b.ins().scalar_to_vector(vector, lanes[0]);
            for (k, &x) in lanes.iter().enumerate().skip(1) {
                v = self.b.ins().insertlane(v, x, k as u8);
            }
            out.push(v);
        }
        bundle(&out)
    }

    /// One scalar for each lane of the vectors.
    pub(super) fn lanes_of(&mut self, vectors: Bundle) -> Vec<Value> {
        let mut out = vec![];
        for &v in vectors.values() {
            let lanes = self.b.func.dfg.value_type(v).lane_count();
            for k in 0..lanes {
                out.push(self.b.ins().extractlane(v, k as u8));
            }
        }
        out
    }
}
