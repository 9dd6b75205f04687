//! Arithmetic on bundles of vectors: every helper emits its operation once for each vector of the bundle.

use cranelift::frontend::FunctionBuilder;
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{ConstantData, Endianness, InstBuilder, MemFlagsData, Value, types};

use super::MathContext;
use super::bundle::{Bundle, MAX_COPIES, Width};

/// Emits operations on bundles of one [`Width`].
///
/// Masks are bundles of the same float type whose lanes are all ones or all zeros. [`Emitter::select`] compiles to one instruction on x86-64
/// when its mask comes straight from a comparison, and to three when masks were combined.
pub struct Emitter<'e, 'f> {
    /// The function under construction.
    pub b: &'e mut FunctionBuilder<'f>,
    /// Where constants and external functions come from.
    pub context: &'e mut dyn MathContext,
    width: Width,
    copies: usize,
}

/// Bits keep their place when a vector is seen with other lanes, on a big-endian target too.
pub(super) fn bit_flags() -> MemFlagsData {
    MemFlagsData::new().with_endianness(Endianness::Little)
}

impl<'e, 'f> Emitter<'e, 'f> {
    /// An emitter for bundles of `copies` vectors.
    pub fn new(
        b: &'e mut FunctionBuilder<'f>,
        context: &'e mut dyn MathContext,
        width: Width,
        copies: usize,
    ) -> Self {
        Emitter {
            b,
            context,
            width,
            copies: copies.clamp(1, MAX_COPIES),
        }
    }

    /// The vector type.
    pub fn width(&self) -> Width {
        self.width
    }

    /// How many vectors each bundle holds.
    pub fn copies(&self) -> usize {
        self.copies
    }

    /// What `body` makes of the vectors of x and y, two at a time: for what takes so many registers that four side by side
    /// would not find room.
    pub(super) fn in_pairs(
        &mut self,
        x: Bundle,
        y: Bundle,
        mut body: impl FnMut(&mut Self, Bundle, Bundle) -> Bundle,
    ) -> Bundle {
        let copies = self.copies;
        let mut out = x;
        for first in (0..copies).step_by(2) {
            self.copies = (copies - first).min(2);
            let (x, y) = (x.part(first, self.copies), y.part(first, self.copies));
            let part = body(self, x, y);
            out.set(first, part);
        }
        self.copies = copies;
        out
    }

    /// The same emitter at f64, for parts of f32 functions that need more digits.
    pub(super) fn in_f64<R>(&mut self, body: impl FnOnce(&mut Self) -> R) -> R {
        let width = std::mem::replace(&mut self.width, Width::F64X2);
        let result = body(self);
        self.width = width;
        result
    }

    /// The lower and the upper two lanes of f32 vectors as f64.
    pub(super) fn widen(&mut self, x: Bundle) -> [Bundle; 2] {
        let upper = self.shuffle(
            x,
            x,
            [8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15],
        );
        [x, upper].map(|half| self.unary(half, |b, x| b.ins().fvpromote_low(x)))
    }

    /// The reverse of [`Emitter::widen`], rounded to nearest.
    pub(super) fn narrow(&mut self, halves: [Bundle; 2]) -> Bundle {
        let [lower, upper] = halves.map(|half| self.unary(half, |b, x| b.ins().fvdemote(x)));
        self.shuffle(
            lower,
            upper,
            [0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23],
        )
    }

    /// Picks bytes of each pair of f32 vectors: 0 to 15 of x, 16 to 31 of y.
    fn shuffle(&mut self, x: Bundle, y: Bundle, bytes: [u8; 16]) -> Bundle {
        let picks = self
            .b
            .func
            .dfg
            .immediates
            .push(ConstantData::from(&bytes[..]));
        self.binary(x, y, |b, x, y| {
            let x = b.ins().bitcast(types::I8X16, bit_flags(), x);
            let y = b.ins().bitcast(types::I8X16, bit_flags(), y);
            let picked = b.ins().shuffle(x, y, picks);
            b.ins().bitcast(types::F32X4, bit_flags(), picked)
        })
    }

    /// A number in every lane.
    pub fn real(&mut self, value: f64) -> Bundle {
        let bits = self.width.bits(value);
        self.bits(bits)
    }

    /// A bit pattern in every lane.
    pub fn bits(&mut self, bits: u64) -> Bundle {
        let value = self.context.constant(self.b, self.width, bits);
        Bundle::repeat(value, self.copies)
    }

    /// An operation on each vector.
    pub fn unary(
        &mut self,
        x: Bundle,
        mut op: impl FnMut(&mut FunctionBuilder<'f>, Value) -> Value,
    ) -> Bundle {
        x.map(|x| op(self.b, x))
    }

    /// An operation on each pair of vectors.
    pub fn binary(
        &mut self,
        x: Bundle,
        y: Bundle,
        mut op: impl FnMut(&mut FunctionBuilder<'f>, Value, Value) -> Value,
    ) -> Bundle {
        let mut ys = y.values().iter();
        x.map(|x| match ys.next() {
            Some(&y) => op(self.b, x, y),
            None => x,
        })
    }

    /// x + y
    pub fn add(&mut self, x: Bundle, y: Bundle) -> Bundle {
        self.binary(x, y, |b, x, y| b.ins().fadd(x, y))
    }

    /// x - y
    pub fn sub(&mut self, x: Bundle, y: Bundle) -> Bundle {
        self.binary(x, y, |b, x, y| b.ins().fsub(x, y))
    }

    /// x y
    pub fn mul(&mut self, x: Bundle, y: Bundle) -> Bundle {
        self.binary(x, y, |b, x, y| b.ins().fmul(x, y))
    }

    /// x / y
    pub fn div(&mut self, x: Bundle, y: Bundle) -> Bundle {
        self.binary(x, y, |b, x, y| b.ins().fdiv(x, y))
    }

    /// The square root, correctly rounded.
    pub fn sqrt(&mut self, x: Bundle) -> Bundle {
        self.unary(x, |b, x| b.ins().sqrt(x))
    }

    /// The largest whole number not above x. Without SSE4.1, Cranelift makes it a call for each lane; so for the next two.
    pub fn floor(&mut self, x: Bundle) -> Bundle {
        self.unary(x, |b, x| b.ins().floor(x))
    }

    /// The smallest whole number not below x.
    pub fn ceil(&mut self, x: Bundle) -> Bundle {
        self.unary(x, |b, x| b.ins().ceil(x))
    }

    /// The nearest whole number, of two the even one.
    pub fn round(&mut self, x: Bundle) -> Bundle {
        self.unary(x, |b, x| b.ins().nearest(x))
    }

    /// x y + z, with one rounding where the target has FMA and with two where not.
    ///
    /// The product's first operand should be the one not needed any more: x86-64 overwrites it.
    pub fn fma(&mut self, x: Bundle, y: Bundle, z: Bundle) -> Bundle {
        if !self.context.has_fma() {
            let product = self.mul(x, y);
            return self.add(product, z);
        }
        let mut zs = z.values().iter();
        self.binary(x, y, |b, x, y| match zs.next() {
            Some(&z) => b.ins().fma(x, y, z),
            None => x,
        })
    }

    /// x c + z for a number c.
    pub fn fma_real(&mut self, x: Bundle, c: f64, z: Bundle) -> Bundle {
        let c = self.real(c);
        self.fma(x, c, z)
    }

    /// x + c for a number c.
    pub fn add_real(&mut self, x: Bundle, c: f64) -> Bundle {
        let c = self.real(c);
        self.add(x, c)
    }

    /// x c for a number c.
    pub fn mul_real(&mut self, x: Bundle, c: f64) -> Bundle {
        let c = self.real(c);
        self.mul(x, c)
    }

    /// The polynomial in x with these coefficients, lowest degree first, by Horner's rule.
    pub fn polynomial(&mut self, x: Bundle, coefficients: &[f64]) -> Bundle {
        let mut rest = coefficients.iter().rev();
        let mut p = match rest.next() {
            Some(&c) => self.real(c),
            None => self.real(0.0),
        };
        for &c in rest {
            let c = self.real(c);
            p = self.fma(p, x, c);
        }
        p
    }

    /// Bitwise x & y.
    pub fn and(&mut self, x: Bundle, y: Bundle) -> Bundle {
        self.binary(x, y, |b, x, y| b.ins().band(x, y))
    }

    /// Bitwise x | y.
    pub fn or(&mut self, x: Bundle, y: Bundle) -> Bundle {
        self.binary(x, y, |b, x, y| b.ins().bor(x, y))
    }

    /// Bitwise x ^ y.
    pub fn xor(&mut self, x: Bundle, y: Bundle) -> Bundle {
        self.binary(x, y, |b, x, y| b.ins().bxor(x, y))
    }

    /// |x|
    pub fn abs(&mut self, x: Bundle) -> Bundle {
        let bits = self.bits(self.width.sign_bit() - 1);
        self.and(x, bits)
    }

    /// -x
    pub fn neg(&mut self, x: Bundle) -> Bundle {
        let bits = self.bits(self.width.sign_bit());
        self.xor(x, bits)
    }

    /// -|x|
    pub fn neg_abs(&mut self, x: Bundle) -> Bundle {
        let bits = self.bits(self.width.sign_bit());
        self.or(x, bits)
    }

    /// The sign bit of x, everything else 0.
    pub fn sign(&mut self, x: Bundle) -> Bundle {
        let bits = self.bits(self.width.sign_bit());
        self.and(x, bits)
    }

    /// A mask of where the comparison holds.
    pub fn compare(&mut self, condition: FloatCC, x: Bundle, y: Bundle) -> Bundle {
        let vector = self.width.vector();
        let masks = self.binary(x, y, |b, x, y| b.ins().fcmp(condition, x, y));
        self.unary(masks, |b, m| b.ins().bitcast(vector, bit_flags(), m))
    }

    /// A mask of where the comparison of the lanes' bits, seen as integers, holds.
    pub fn compare_bits(&mut self, condition: IntCC, x: Bundle, y: Bundle) -> Bundle {
        self.integers(x, y, |b, x, y| b.ins().icmp(condition, x, y))
    }

    /// `if_true` where the mask is set, `if_false` elsewhere.
    pub fn select(&mut self, mask: Bundle, if_true: Bundle, if_false: Bundle) -> Bundle {
        let mut masks = mask.values().iter();
        self.binary(if_true, if_false, |b, t, f| match masks.next() {
            Some(&m) => b.ins().bitselect(m, t, f),
            None => f,
        })
    }

    /// The larger of the two; `data` when either is NaN. One instruction on x86-64.
    pub fn max_or_data(&mut self, bound: Bundle, data: Bundle) -> Bundle {
        let mask = self.compare(FloatCC::LessThan, data, bound);
        self.select(mask, bound, data)
    }

    /// The smaller of the two; `data` when either is NaN. One instruction on x86-64.
    pub fn min_or_data(&mut self, bound: Bundle, data: Bundle) -> Bundle {
        let mask = self.compare(FloatCC::LessThan, bound, data);
        self.select(mask, bound, data)
    }

    /// The larger of x and y, NaN when either is. Of two zeros it is y.
    pub fn max(&mut self, x: Bundle, y: Bundle) -> Bundle {
        let larger = self.max_or_data(x, y);
        self.keep_nan(x, larger)
    }

    /// The smaller of x and y, NaN when either is. Of two zeros it is y.
    pub fn min(&mut self, x: Bundle, y: Bundle) -> Bundle {
        let smaller = self.min_or_data(x, y);
        self.keep_nan(x, smaller)
    }

    /// x where x is NaN, `otherwise` elsewhere.
    pub fn keep_nan(&mut self, x: Bundle, otherwise: Bundle) -> Bundle {
        let nan = self.compare(FloatCC::Unordered, x, x);
        self.select(nan, x, otherwise)
    }

    /// x + y of the lanes' bits, seen as integers.
    pub(super) fn add_bits(&mut self, x: Bundle, y: Bundle) -> Bundle {
        self.integers(x, y, |b, x, y| b.ins().iadd(x, y))
    }

    /// x - y of the lanes' bits, seen as integers.
    pub(super) fn sub_bits(&mut self, x: Bundle, y: Bundle) -> Bundle {
        self.integers(x, y, |b, x, y| b.ins().isub(x, y))
    }

    /// The lanes' bits, moved up.
    pub(super) fn shift_left(&mut self, x: Bundle, by: i64) -> Bundle {
        let by = self.b.ins().iconst(types::I32, by);
        self.shift(x, |b, x| b.ins().ishl(x, by))
    }

    /// The lanes' bits, moved down, zeros from above.
    pub(super) fn shift_right(&mut self, x: Bundle, by: i64) -> Bundle {
        let by = self.b.ins().iconst(types::I32, by);
        self.shift(x, |b, x| b.ins().ushr(x, by))
    }

    fn shift(
        &mut self,
        x: Bundle,
        op: impl FnMut(&mut FunctionBuilder<'f>, Value) -> Value,
    ) -> Bundle {
        let (vector, integer) = (self.width.vector(), self.width.integer());
        let x = self.unary(x, |b, x| b.ins().bitcast(integer, bit_flags(), x));
        let shifted = self.unary(x, op);
        self.unary(shifted, |b, x| b.ins().bitcast(vector, bit_flags(), x))
    }

    fn integers(
        &mut self,
        x: Bundle,
        y: Bundle,
        op: impl FnMut(&mut FunctionBuilder<'f>, Value, Value) -> Value,
    ) -> Bundle {
        let (vector, integer) = (self.width.vector(), self.width.integer());
        let x = self.unary(x, |b, x| b.ins().bitcast(integer, bit_flags(), x));
        let y = self.unary(y, |b, y| b.ins().bitcast(integer, bit_flags(), y));
        let result = self.binary(x, y, op);
        self.unary(result, |b, x| b.ins().bitcast(vector, bit_flags(), x))
    }
}
