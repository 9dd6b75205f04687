//! Loops as one would write them by hand for one loss and one machine: what a compiled loss is measured against.

#![allow(
    clippy::missing_safety_doc,
    reason = "all of them need the processor features that they are marked with, and nothing else"
)]
#![allow(clippy::excessive_precision)]

use std::arch::x86_64::*;

/// Whether this machine runs the AVX-512 loops.
pub fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512dq")
}

/// Whether this machine runs the AVX2 loops.
pub fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
}

#[target_feature(enable = "avx2,fma")]
fn sum8(v: __m256) -> f64 {
    let low = _mm256_cvtps_pd(_mm256_castps256_ps128(v));
    let high = _mm256_cvtps_pd(_mm256_extractf128_ps::<1>(v));
    let s = _mm256_add_pd(low, high);
    let mut out = [0.0f64; 4];
    // SAFETY: four f64 fit.
    unsafe { _mm256_storeu_pd(out.as_mut_ptr(), s) };
    out.iter().sum()
}

/// Mean squared error.
#[target_feature(enable = "avx2,fma")]
pub fn mse_avx2(y: &[f32], p: &[f32], g: &mut [f32]) -> f64 {
    let n = y.len();
    let c = _mm256_set1_ps(-2.0 / n as f32);
    let mut acc = [_mm256_setzero_ps(); 4];
    let mut total = 0.0;
    let mut i = 0;
    while i + 32 <= n {
        for (k, a) in acc.iter_mut().enumerate() {
            // SAFETY: i + 32 elements exist in all three.
            unsafe {
                let j = i + 8 * k;
                let r = _mm256_sub_ps(
                    _mm256_loadu_ps(y.as_ptr().add(j)),
                    _mm256_loadu_ps(p.as_ptr().add(j)),
                );
                *a = _mm256_fmadd_ps(r, r, *a);
                _mm256_storeu_ps(g.as_mut_ptr().add(j), _mm256_mul_ps(r, c));
            }
        }
        i += 32;
        if i % 512 == 0 {
            for a in &mut acc {
                total += sum8(*a);
                *a = _mm256_setzero_ps();
            }
        }
    }
    for a in acc {
        total += sum8(a);
    }
    for j in i..n {
        let r = y[j] - p[j];
        total += f64::from(r * r);
        g[j] = r * (-2.0 / n as f32);
    }
    total / n as f64
}

/// Huber's loss with delta.
#[target_feature(enable = "avx2,fma")]
pub fn huber_avx2(y: &[f32], p: &[f32], g: &mut [f32], delta: f32) -> f64 {
    let n = y.len();
    let c = _mm256_set1_ps(-1.0 / n as f32);
    let d = _mm256_set1_ps(delta);
    let minus_d = _mm256_set1_ps(-delta);
    let half = _mm256_set1_ps(0.5);
    let mut acc = [_mm256_setzero_ps(); 4];
    let mut total = 0.0;
    let mut i = 0;
    while i + 32 <= n {
        for (k, a) in acc.iter_mut().enumerate() {
            // SAFETY: i + 32 elements exist in all three.
            unsafe {
                let j = i + 8 * k;
                let r = _mm256_sub_ps(
                    _mm256_loadu_ps(y.as_ptr().add(j)),
                    _mm256_loadu_ps(p.as_ptr().add(j)),
                );
                let q = _mm256_max_ps(_mm256_min_ps(r, d), minus_d);
                // q (r - q/2) is r^2/2 within and delta (|r| - delta/2) outside.
                let t = _mm256_fnmadd_ps(half, q, r);
                *a = _mm256_fmadd_ps(q, t, *a);
                _mm256_storeu_ps(g.as_mut_ptr().add(j), _mm256_mul_ps(q, c));
            }
        }
        i += 32;
        if i % 512 == 0 {
            for a in &mut acc {
                total += sum8(*a);
                *a = _mm256_setzero_ps();
            }
        }
    }
    for a in acc {
        total += sum8(a);
    }
    for j in i..n {
        let r = y[j] - p[j];
        let q = r.clamp(-delta, delta);
        total += f64::from(q * (r - 0.5 * q));
        g[j] = q * (-1.0 / n as f32);
    }
    total / n as f64
}

const LOG1P: [f32; 9] = [
    -0.499_999,
    0.333_299_64,
    -0.249_541_34,
    0.196_759_4,
    -0.153_055_95,
    0.106_036_58,
    -0.056_959_558,
    0.019_851_47,
    -0.003_244_026,
];
const EXP: [f32; 6] = [
    0.0013901356,
    0.008_363_313,
    0.041_666_854,
    0.166_665_76,
    0.5,
    1.0,
];

#[target_feature(enable = "avx512f,avx512dq")]
fn exp_negative_512(x: __m512) -> __m512 {
    let s = |v: f32| _mm512_set1_ps(v);
    let x = _mm512_max_ps(s(-87.0), x);
    let t = _mm512_fmadd_ps(x, s(std::f32::consts::LOG2_E), s(12_582_912.0));
    let n = _mm512_sub_ps(t, s(12_582_912.0));
    let r = _mm512_fmadd_ps(n, s(-0.693_145_75), x);
    let r = _mm512_fmadd_ps(n, s(-1.428_606_8e-6), r);
    let mut p = s(EXP[0]);
    for c in &EXP[1..] {
        p = _mm512_fmadd_ps(p, r, s(*c));
    }
    p = _mm512_fmadd_ps(p, r, s(1.0));
    let bits = _mm512_slli_epi32::<23>(_mm512_castps_si512(t));
    _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(p), bits))
}

/// Binary cross-entropy of logits.
#[target_feature(enable = "avx512f,avx512dq,avx2,fma")]
pub fn bce_avx512(x: &[f32], y: &[f32], g: &mut [f32]) -> f64 {
    let n = x.len();
    let s = |v: f32| _mm512_set1_ps(v);
    let c = s(1.0 / n as f32);
    let mut acc = [_mm512_setzero_ps(); 2];
    let mut total = 0.0;
    let mut i = 0;
    while i + 32 <= n {
        for (k, a) in acc.iter_mut().enumerate() {
            // SAFETY: i + 32 elements exist in all three.
            unsafe {
                let j = i + 16 * k;
                let xv = _mm512_loadu_ps(x.as_ptr().add(j));
                let yv = _mm512_loadu_ps(y.as_ptr().add(j));
                let e = exp_negative_512(_mm512_or_ps(xv, s(-0.0)));
                let mut q = s(LOG1P[8]);
                for c in LOG1P[..8].iter().rev() {
                    q = _mm512_fmadd_ps(q, e, s(*c));
                }
                let q = _mm512_fmadd_ps(_mm512_mul_ps(q, e), e, e);
                let m = _mm512_max_ps(xv, s(0.0));
                let l = _mm512_add_ps(_mm512_fnmadd_ps(xv, yv, m), q);
                *a = _mm512_add_ps(*a, l);
                let positive = _mm512_cmp_ps_mask::<_CMP_GE_OQ>(xv, s(0.0));
                let top = _mm512_mask_blend_ps(positive, e, s(1.0));
                let sig = _mm512_div_ps(top, _mm512_add_ps(e, s(1.0)));
                let d = _mm512_mul_ps(_mm512_sub_ps(sig, yv), c);
                _mm512_storeu_ps(g.as_mut_ptr().add(j), d);
            }
        }
        i += 32;
        if i % 512 == 0 {
            for a in &mut acc {
                total += f64::from(_mm512_reduce_add_ps(*a));
                *a = _mm512_setzero_ps();
            }
        }
    }
    for a in acc {
        total += f64::from(_mm512_reduce_add_ps(a));
    }
    for j in i..n {
        let e = (-x[j].abs()).exp();
        total += f64::from(x[j].max(0.0) - x[j] * y[j] + e.ln_1p());
        let sig = if x[j] >= 0.0 { 1.0 } else { e } / (1.0 + e);
        g[j] = (sig - y[j]) / n as f32;
    }
    total / n as f64
}

#[target_feature(enable = "avx2,fma")]
fn exp_negative_256(x: __m256) -> __m256 {
    let s = |v: f32| _mm256_set1_ps(v);
    let x = _mm256_max_ps(s(-87.0), x);
    let t = _mm256_fmadd_ps(x, s(std::f32::consts::LOG2_E), s(12_582_912.0));
    let n = _mm256_sub_ps(t, s(12_582_912.0));
    let r = _mm256_fmadd_ps(n, s(-0.693_145_75), x);
    let r = _mm256_fmadd_ps(n, s(-1.428_606_8e-6), r);
    let mut p = s(EXP[0]);
    for c in &EXP[1..] {
        p = _mm256_fmadd_ps(p, r, s(*c));
    }
    p = _mm256_fmadd_ps(p, r, s(1.0));
    let bits = _mm256_slli_epi32::<23>(_mm256_castps_si256(t));
    _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p), bits))
}

/// Binary cross-entropy of logits.
#[target_feature(enable = "avx2,fma")]
pub fn bce_avx2(x: &[f32], y: &[f32], g: &mut [f32]) -> f64 {
    let n = x.len();
    let s = |v: f32| _mm256_set1_ps(v);
    let c = s(1.0 / n as f32);
    let mut acc = [_mm256_setzero_ps(); 2];
    let mut total = 0.0;
    let mut i = 0;
    while i + 16 <= n {
        for (k, a) in acc.iter_mut().enumerate() {
            // SAFETY: i + 16 elements exist in all three.
            unsafe {
                let j = i + 8 * k;
                let xv = _mm256_loadu_ps(x.as_ptr().add(j));
                let yv = _mm256_loadu_ps(y.as_ptr().add(j));
                let e = exp_negative_256(_mm256_or_ps(xv, s(-0.0)));
                let mut q = s(LOG1P[8]);
                for c in LOG1P[..8].iter().rev() {
                    q = _mm256_fmadd_ps(q, e, s(*c));
                }
                let q = _mm256_fmadd_ps(_mm256_mul_ps(q, e), e, e);
                let m = _mm256_max_ps(xv, s(0.0));
                let l = _mm256_add_ps(_mm256_fnmadd_ps(xv, yv, m), q);
                *a = _mm256_add_ps(*a, l);
                let positive = _mm256_cmp_ps::<_CMP_GE_OQ>(xv, s(0.0));
                let top = _mm256_blendv_ps(e, s(1.0), positive);
                let sig = _mm256_div_ps(top, _mm256_add_ps(e, s(1.0)));
                let d = _mm256_mul_ps(_mm256_sub_ps(sig, yv), c);
                _mm256_storeu_ps(g.as_mut_ptr().add(j), d);
            }
        }
        i += 16;
        if i % 512 == 0 {
            for a in &mut acc {
                total += sum8(*a);
                *a = _mm256_setzero_ps();
            }
        }
    }
    for a in acc {
        total += sum8(a);
    }
    for j in i..n {
        let e = (-x[j].abs()).exp();
        total += f64::from(x[j].max(0.0) - x[j] * y[j] + e.ln_1p());
        let sig = if x[j] >= 0.0 { 1.0 } else { e } / (1.0 + e);
        g[j] = (sig - y[j]) / n as f32;
    }
    total / n as f64
}

/// Softmax cross-entropy, a row at a time in three passes with AVX-512.
#[target_feature(enable = "avx512f,avx512dq,avx2,fma")]
pub fn cross_entropy_avx512(x: &[f32], target: &[i64], c: usize, g: &mut [f32]) -> f64 {
    let n = target.len();
    let s = |v: f32| _mm512_set1_ps(v);
    let w = 1.0 / n as f32;
    let mut total = 0.0;
    for (i, &t) in target.iter().enumerate() {
        let row = &x[i * c..(i + 1) * c];
        let out = &mut g[i * c..(i + 1) * c];
        let mask = |j: usize| -> __mmask16 {
            let left = c - j;
            if left >= 16 {
                0xffff
            } else {
                (1u16 << left) - 1
            }
        };
        let mut m = s(f32::NEG_INFINITY);
        for j in (0..c).step_by(16) {
            // SAFETY: the mask keeps it within the row.
            let v =
                unsafe { _mm512_mask_loadu_ps(s(f32::NEG_INFINITY), mask(j), row.as_ptr().add(j)) };
            m = _mm512_max_ps(m, v);
        }
        let m = _mm512_reduce_max_ps(m);
        let mut z = s(0.0);
        for j in (0..c).step_by(16) {
            // SAFETY: as above.
            unsafe {
                let v = _mm512_maskz_loadu_ps(mask(j), row.as_ptr().add(j));
                let e = exp_negative_512(_mm512_sub_ps(v, s(m)));
                z = _mm512_mask_add_ps(z, mask(j), z, e);
                _mm512_mask_storeu_ps(out.as_mut_ptr().add(j), mask(j), e);
            }
        }
        let z = _mm512_reduce_add_ps(z);
        let scale = s(w / z);
        for j in (0..c).step_by(16) {
            // SAFETY: as above.
            unsafe {
                let e = _mm512_maskz_loadu_ps(mask(j), out.as_ptr().add(j));
                _mm512_mask_storeu_ps(out.as_mut_ptr().add(j), mask(j), _mm512_mul_ps(e, scale));
            }
        }
        let t = t as usize;
        total += f64::from(m + z.ln() - row[t]);
        out[t] -= w;
    }
    total / n as f64
}

/// The same with AVX2, for rows of a multiple of 8.
#[target_feature(enable = "avx2,fma")]
pub fn cross_entropy_avx2(x: &[f32], target: &[i64], c: usize, g: &mut [f32]) -> f64 {
    let n = target.len();
    let s = |v: f32| _mm256_set1_ps(v);
    let w = 1.0 / n as f32;
    let mut total = 0.0;
    for (i, &t) in target.iter().enumerate() {
        let row = &x[i * c..(i + 1) * c];
        let out = &mut g[i * c..(i + 1) * c];
        let whole = c - c % 8;
        let mut mv = s(f32::NEG_INFINITY);
        for j in (0..whole).step_by(8) {
            // SAFETY: 8 elements from j exist.
            mv = _mm256_max_ps(mv, unsafe { _mm256_loadu_ps(row.as_ptr().add(j)) });
        }
        let mut lanes = [0.0f32; 8];
        // SAFETY: eight f32 fit.
        unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), mv) };
        let m = lanes
            .iter()
            .chain(&row[whole..])
            .fold(f32::MIN, |a, &b| a.max(b));
        let mut zv = s(0.0);
        for j in (0..whole).step_by(8) {
            // SAFETY: 8 elements from j exist.
            unsafe {
                let e = exp_negative_256(_mm256_sub_ps(_mm256_loadu_ps(row.as_ptr().add(j)), s(m)));
                zv = _mm256_add_ps(zv, e);
                _mm256_storeu_ps(out.as_mut_ptr().add(j), e);
            }
        }
        let mut z = sum8(zv) as f32;
        for j in whole..c {
            out[j] = (row[j] - m).exp();
            z += out[j];
        }
        let scale = w / z;
        for v in out.iter_mut() {
            *v *= scale;
        }
        let t = t as usize;
        total += f64::from(m + z.ln() - row[t]);
        out[t] -= w;
    }
    total / n as f64
}

/// Softmax cross-entropy as plain Rust.
pub fn cross_entropy_plain(x: &[f32], target: &[i64], c: usize, g: &mut [f32]) -> f64 {
    let w = 1.0 / target.len() as f32;
    let mut total = 0.0;
    for ((row, out), &t) in x.chunks(c).zip(g.chunks_mut(c)).zip(target) {
        let m = row.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
        let mut z = 0.0;
        for (o, &v) in out.iter_mut().zip(row) {
            *o = (v - m).exp();
            z += *o;
        }
        for o in out.iter_mut() {
            *o *= w / z;
        }
        let t = t as usize;
        total += f64::from(m + z.ln() - row[t]);
        out[t] -= w;
    }
    total / target.len() as f64
}
