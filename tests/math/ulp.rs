//! Distances between floating-point numbers.

/// Where a number stands among all f32, so that neighbours differ by one; -0 is next to 0, and NaN far from every number.
pub fn order_f32(v: f32) -> i64 {
    if v.is_nan() {
        return i64::MIN / 2;
    }
    let bits = i64::from(v.to_bits());
    if bits >= 1 << 31 {
        (1 << 31) - 1 - bits
    } else {
        bits
    }
}

/// Where a number stands among all f64.
pub fn order_f64(v: f64) -> i128 {
    if v.is_nan() {
        return i128::MIN / 2;
    }
    let bits = i128::from(v.to_bits());
    if bits >= 1 << 63 {
        (1 << 63) - 1 - bits
    } else {
        bits
    }
}

/// The distance of `got` from `want` in units of the last place of `want` rounded to f32; 0 or infinite where that is 0, infinite or NaN.
pub fn ulps_f32(got: f32, want: f64) -> f64 {
    let rounded = want as f32;
    if rounded == 0.0 || !rounded.is_finite() || !got.is_finite() {
        let steps = order_f32(got).abs_diff(order_f32(rounded));
        return if steps == 0 { 0.0 } else { f64::INFINITY };
    }
    let exponent = ((rounded.to_bits() >> 23) & 255).max(1) as i32;
    (f64::from(got) - want).abs() / 2f64.powi(exponent - 150)
}
