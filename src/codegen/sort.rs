//! Sorts: code that calls a function of this library.
//!
//! The function gets where the order goes, the address of two cells (of the keys, and of what is kept or 0), and how
//! many there are: the signature of all functions that code calls.

use super::math::MathContext;
use super::stage::{Gen, Result, bug, memory};
use crate::loops::{BufferId, Index, Sort};
use cranelift_codegen::ir::{InstBuilder, StackSlotData, StackSlotKind, Value, types};
use std::cmp::Ordering;

impl Gen<'_, '_> {
    pub(super) fn sort(&mut self, sort: &Sort) -> Result<()> {
        if self.lane_loop.is_some() {
            return Err(bug("a sort within lanes"));
        }
        let symbol = match self.scalar_type(self.elem(sort.keys)) {
            types::F32 => SORT_F32,
            types::F64 => SORT_F64,
            types::I64 => SORT_I64,
            _ => return Err(bug("keys that have no order")),
        };
        let (order, count) = self.run(sort.into, &sort.at)?;
        let (keys, _) = self.run(sort.keys, &sort.keys_at)?;
        let kept = match &sort.kept {
            Some((buffer, at)) => self.run(*buffer, at)?.0,
            None => self.b.ins().iconst(types::I64, 0),
        };
        let data = StackSlotData::new(StackSlotKind::ExplicitSlot, 16, 3);
        let slot = self.b.create_sized_stack_slot(data);
        let cells = self.b.ins().stack_addr(types::I64, slot, 0);
        self.b.ins().store(memory(), keys, cells, 0);
        self.b.ins().store(memory(), kept, cells, 8);
        let function = self.constants.function(&mut self.b, symbol);
        self.b.ins().call(function, &[order, cells, count]);
        Ok(())
    }

    /// Where the elements along a buffer's last dim begin, and how many there are.
    fn run(&mut self, buffer: BufferId, at: &[Index]) -> Result<(Value, Value)> {
        let Some((&along, outside)) = self.dims(buffer).split_last().map(|(l, o)| (l, o.len()))
        else {
            return Err(bug("a sort of one number"));
        };
        if outside != at.len() {
            return Err(bug("a sort's indices"));
        }
        let mut indices = vec![];
        for index in at {
            indices.push(self.index(index, None)?);
        }
        indices.push(self.b.ins().iconst(types::I64, 0));
        let start = self.address(buffer, &indices, true);
        Ok((start, self.extent(along)))
    }
}

const SORT_F32: &str = "losscc_sort_f32";
const SORT_F64: &str = "losscc_sort_f64";
const SORT_I64: &str = "losscc_sort_i64";

/// The functions and their names.
pub(super) fn symbols() -> [(&'static str, *const u8); 3] {
    [
        (SORT_F32, sort_f32 as *const u8),
        (SORT_F64, sort_f64 as *const u8),
        (SORT_I64, sort_i64 as *const u8),
    ]
}

unsafe extern "C" fn sort_f32(order: *mut i64, cells: *const [usize; 2], count: usize) {
    // SAFETY: compiled code passes what `arguments` asks for.
    let (order, keys, kept) = unsafe { arguments::<f32>(order, cells, count) };
    if u32::try_from(order.len()).is_ok() {
        by_code(order, keys, kept);
    } else {
        by_key(order, keys, kept, reals);
    }
}

unsafe extern "C" fn sort_f64(order: *mut i64, cells: *const [usize; 2], count: usize) {
    // SAFETY: as above.
    let (order, keys, kept) = unsafe { arguments::<f64>(order, cells, count) };
    by_key(order, keys, kept, reals);
}

unsafe extern "C" fn sort_i64(order: *mut i64, cells: *const [usize; 2], count: usize) {
    // SAFETY: as above.
    let (order, keys, kept) = unsafe { arguments::<i64>(order, cells, count) };
    if kept.is_some() || !invert(order, keys) {
        by_key(order, keys, kept, i64::cmp);
    }
}

/// The arrays that a sort works on.
///
/// # Safety
/// `order` points to `count` ints that nothing else uses, `cells` to the addresses of `count` keys and of `count` bytes
/// that are 0 or 1, or to 0; nobody writes them meanwhile, and all live as long as the answer is used.
unsafe fn arguments<'a, K>(
    order: *mut i64,
    cells: *const [usize; 2],
    count: usize,
) -> (&'a mut [i64], &'a [K], Option<&'a [u8]>) {
    // SAFETY: the caller's promise.
    let [keys, kept] = unsafe { *cells };
    // SAFETY: the caller's promise.
    let order = unsafe { std::slice::from_raw_parts_mut(order, count) };
    // SAFETY: the caller's promise.
    let keys = unsafe { std::slice::from_raw_parts(keys as *const K, count) };
    let kept = match kept {
        0 => None,
        // SAFETY: the caller's promise.
        kept => Some(unsafe { std::slice::from_raw_parts(kept as *const u8, count) }),
    };
    (order, keys, kept)
}

fn is_kept(kept: Option<&[u8]>, k: usize) -> bool {
    kept.is_none_or(|kept| kept[k] != 0)
}

/// NaN last; the two zeros are equal.
fn reals<T: PartialOrd>(a: &T, b: &T) -> Ordering {
    let nan = |x: &T| x.partial_cmp(x).is_none();
    a.partial_cmp(b).unwrap_or_else(|| nan(a).cmp(&nan(b)))
}

/// Sorts in place. No two elements are equal, as the place decides last: so this is stable.
fn by_key<K>(
    order: &mut [i64],
    keys: &[K],
    kept: Option<&[u8]>,
    compare: impl Fn(&K, &K) -> Ordering,
) {
    // What is left out stands behind the rest.
    let mut next = 0;
    for wanted in [true, false] {
        for k in (0..keys.len()).filter(|&k| is_kept(kept, k) == wanted) {
            order[next] = k as i64;
            next += 1;
        }
        if wanted {
            let rest = &mut order[..next];
            rest.sort_unstable_by(|&a, &b| {
                compare(&keys[a as usize], &keys[b as usize]).then(a.cmp(&b))
            });
        }
    }
}

/// The code of what is left out: after every key, also NaN.
const LEFT_OUT: u32 = u32::MAX;
const NAN: u32 = u32::MAX - 1;

/// As [`by_key`] for at most 2^32 keys: key and place as one int each, which sorts many times faster.
fn by_code(order: &mut [i64], keys: &[f32], kept: Option<&[u8]>) {
    // The ints of `order` are compared as if they had no sign.
    let sign = i64::MIN;
    for (k, (o, &key)) in order.iter_mut().zip(keys).enumerate() {
        let code = if is_kept(kept, k) {
            code(key)
        } else {
            LEFT_OUT
        };
        *o = (i64::from(code) << 32 | k as i64) ^ sign;
    }
    order.sort_unstable();
    for o in order {
        *o &= 0xffff_ffff;
    }
}

/// An int for each real, in the same order.
fn code(key: f32) -> u32 {
    if key.is_nan() {
        return NAN;
    }
    // 0 for both zeros.
    let bits = (key + 0.0).to_bits();
    match bits >> 31 {
        0 => bits | 1 << 31,
        _ => !bits,
    }
}

/// The order of a permutation is its inverse. Tells whether the keys are one.
fn invert(order: &mut [i64], keys: &[i64]) -> bool {
    order.fill(-1);
    for (k, &key) in keys.iter().enumerate() {
        let place = usize::try_from(key).ok().and_then(|p| order.get_mut(p));
        match place {
            Some(place) if *place < 0 => *place = k as i64,
            _ => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interp::scalar::{Scalar, sort_order};

    /// As the definition says it.
    fn expected(keys: &[Scalar], kept: Option<&[u8]>) -> Vec<i64> {
        let key = |k: &i64| is_kept(kept, *k as usize).then_some(keys[*k as usize]);
        let mut order: Vec<i64> = (0..keys.len() as i64).collect();
        order.sort_by(|a, b| sort_order(key(a), key(b)));
        order
    }

    #[test]
    fn ties_zeros_nan_and_what_is_left_out() {
        let mut rng = fastrand::Rng::with_seed(1);
        let values = [
            f32::NAN,
            -f32::NAN,
            f32::INFINITY,
            f32::NEG_INFINITY,
            0.0,
            -0.0,
            f32::MIN_POSITIVE,
            -1e-45,
            f32::MAX,
            f32::MIN,
        ];
        for n in [0, 1, 2, 3, 7, 20, 100, 1000] {
            for guarded in [false, true] {
                let reals: Vec<f32> = (0..n)
                    .map(|_| match rng.u8(..3) {
                        0 => values[rng.usize(..values.len())],
                        1 => f32::from(rng.i8(-3..3)),
                        _ => rng.f32() - 0.5,
                    })
                    .collect();
                let wide: Vec<f64> = reals.iter().map(|&x| f64::from(x)).collect();
                let ints: Vec<i64> = (0..n).map(|_| rng.i64(-2..4)).collect();
                let kept: Vec<u8> = (0..n).map(|_| rng.u8(..2)).collect();
                let kept = guarded.then_some(&kept[..]);
                let of_reals = expected(
                    &wide.iter().map(|&x| Scalar::Real(x)).collect::<Vec<_>>(),
                    kept,
                );
                let of_ints = expected(
                    &ints.iter().map(|&x| Scalar::Int(x)).collect::<Vec<_>>(),
                    kept,
                );
                let mut order = vec![7; n];
                by_code(&mut order, &reals, kept);
                assert_eq!(order, of_reals);
                by_key(&mut order, &wide, kept, super::reals);
                assert_eq!(order, of_reals);
                by_key(&mut order, &ints, kept, i64::cmp);
                assert_eq!(order, of_ints);
            }
        }
    }

    #[test]
    fn a_permutation_is_inverted() {
        let mut order = [0; 4];
        assert!(invert(&mut order, &[2, 0, 3, 1]));
        assert_eq!(order, [1, 3, 0, 2]);
        assert!(!invert(&mut order, &[2, 0, 3, 2]));
        assert!(!invert(&mut order, &[4, 0, 3, 1]));
        assert!(!invert(&mut order, &[-1, 0, 3, 1]));
        assert!(invert(&mut [], &[]));
    }
}
