//! Intervals: what is known of a value, and what operators make of it.

/// An interval of reals or ints; an open end at an infinity means that the value is finite.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    pub low: f64,
    pub high: f64,
    pub low_open: bool,
    pub high_open: bool,
    /// 0 is not in it, though it may lie between the ends.
    pub not_zero: bool,
}

impl Range {
    /// Any value.
    pub const ALL: Range = Range::closed(f64::NEG_INFINITY, f64::INFINITY);

    pub const fn closed(low: f64, high: f64) -> Range {
        Range {
            low,
            high,
            low_open: false,
            high_open: false,
            not_zero: false,
        }
    }

    pub const fn open(low: f64, high: f64) -> Range {
        Range {
            low,
            high,
            low_open: true,
            high_open: true,
            not_zero: false,
        }
    }

    /// From `low`, not infinite.
    pub(super) const fn from(low: f64) -> Range {
        Range {
            high_open: true,
            ..Range::closed(low, f64::INFINITY)
        }
    }

    /// `>= 0`.
    pub fn is_nonnegative(self) -> bool {
        self.low >= 0.0
    }

    /// `> 0`.
    pub fn is_positive(self) -> bool {
        self.low > 0.0 || self.low == 0.0 && self.low_open
    }

    /// `< 0`.
    pub fn is_negative(self) -> bool {
        self.high < 0.0 || self.high == 0.0 && self.high_open
    }

    pub fn is_nonzero(self) -> bool {
        self.not_zero || self.is_positive() || self.is_negative()
    }

    /// Neither infinity.
    pub fn is_finite(self) -> bool {
        (self.low > f64::NEG_INFINITY || self.low_open)
            && (self.high < f64::INFINITY || self.high_open)
    }

    pub fn contains(self, x: f64) -> bool {
        (x > self.low || x == self.low && !self.low_open)
            && (x < self.high || x == self.high && !self.high_open)
    }

    /// What is in both.
    pub fn meet(self, other: Range) -> Range {
        let (low, low_open) = match self.low.total_cmp(&other.low) {
            std::cmp::Ordering::Greater => (self.low, self.low_open),
            std::cmp::Ordering::Less => (other.low, other.low_open),
            std::cmp::Ordering::Equal => (self.low, self.low_open || other.low_open),
        };
        let (high, high_open) = match self.high.total_cmp(&other.high) {
            std::cmp::Ordering::Less => (self.high, self.high_open),
            std::cmp::Ordering::Greater => (other.high, other.high_open),
            std::cmp::Ordering::Equal => (self.high, self.high_open || other.high_open),
        };
        Range {
            low,
            high,
            low_open,
            high_open,
            not_zero: self.not_zero || other.not_zero,
        }
    }

    /// What is in either, and between.
    pub fn join(self, other: Range) -> Range {
        let (low, low_open) = match self.low.total_cmp(&other.low) {
            std::cmp::Ordering::Less => (self.low, self.low_open),
            std::cmp::Ordering::Greater => (other.low, other.low_open),
            std::cmp::Ordering::Equal => (self.low, self.low_open && other.low_open),
        };
        let (high, high_open) = match self.high.total_cmp(&other.high) {
            std::cmp::Ordering::Greater => (self.high, self.high_open),
            std::cmp::Ordering::Less => (other.high, other.high_open),
            std::cmp::Ordering::Equal => (self.high, self.high_open && other.high_open),
        };
        let not_zero = self.is_nonzero() && other.is_nonzero();
        Range {
            low,
            high,
            low_open,
            high_open,
            not_zero,
        }
    }

    pub(super) fn negated(self) -> Range {
        Range {
            low: -self.high,
            high: -self.low,
            low_open: self.high_open,
            high_open: self.low_open,
            not_zero: self.not_zero,
        }
    }

    /// Rounding may reach an end that the exact sum does not, but not where the other term is not negative (positive).
    pub(super) fn plus(self, other: Range) -> Range {
        let end = |a: f64, b: f64, none: f64| if (a + b).is_nan() { none } else { a + b };
        let stays =
            |a_open: bool, b_open: bool, a: f64, b: f64| a_open && b == 0.0 || b_open && a == 0.0;
        Range {
            low: end(self.low, other.low, f64::NEG_INFINITY),
            high: end(self.high, other.high, f64::INFINITY),
            low_open: self.low.is_finite()
                && other.low.is_finite()
                && stays(self.low_open, other.low_open, self.low, other.low),
            high_open: self.high.is_finite()
                && other.high.is_finite()
                && stays(self.high_open, other.high_open, self.high, other.high),
            not_zero: false,
        }
    }

    pub(super) fn times(self, other: Range) -> Range {
        // 0 * inf is NaN, which is no bound.
        let product = |a: f64, b: f64| if a == 0.0 || b == 0.0 { 0.0 } else { a * b };
        let corners = [
            product(self.low, other.low),
            product(self.low, other.high),
            product(self.high, other.low),
            product(self.high, other.high),
        ];
        let mut r = Range::closed(
            corners.iter().copied().fold(f64::INFINITY, f64::min),
            corners.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        );
        // A literal factor does not make 0 of a positive number worth speaking of.
        let literal = |r: Range| r.low == r.high && r.low != 0.0 && r.low.is_finite();
        if literal(other) && self.is_nonzero() || literal(self) && other.is_nonzero() {
            if r.low == 0.0 {
                r.low_open = true;
            }
            if r.high == 0.0 {
                r.high_open = true;
            }
        }
        r
    }

    /// The range of an increasing function that is `f` at the ends (which may be rounded, so ends are closed).
    pub(super) fn mapped(self, f: impl Fn(f64) -> f64) -> Range {
        let (low, high) = (f(self.low), f(self.high));
        Range::closed(
            if low.is_nan() {
                f64::NEG_INFINITY
            } else {
                low - slack(low)
            },
            if high.is_nan() {
                f64::INFINITY
            } else {
                high + slack(high)
            },
        )
    }

    pub(super) fn absolute(self) -> Range {
        if self.is_nonnegative() {
            return self;
        }
        if self.high <= 0.0 {
            return self.negated();
        }
        let high = self.high.max(-self.low);
        let high_open = (self.high < high || self.high_open) && (-self.low < high || self.low_open);
        Range {
            low: 0.0,
            high,
            low_open: self.not_zero,
            high_open,
            not_zero: false,
        }
    }

    pub(super) fn squared(self) -> Range {
        let a = self.absolute();
        Range::closed(a.low * a.low, a.high * a.high)
    }

    pub(super) fn divided_by(self, other: Range) -> Range {
        if other.low == other.high && other.low != 0.0 && other.low.is_finite() {
            return self.times(Range::closed(1.0 / other.low, 1.0 / other.low));
        }
        let sign = |r: Range| {
            if r.is_nonnegative() {
                1
            } else if r.high <= 0.0 {
                -1
            } else {
                0
            }
        };
        match sign(self) * sign(other) {
            1 => Range::closed(0.0, f64::INFINITY),
            -1 => Range::closed(f64::NEG_INFINITY, 0.0),
            _ => Range::ALL,
        }
    }
}

/// How far a rounded value may be from the exact one.
pub(super) fn slack(x: f64) -> f64 {
    if x.is_finite() { x.abs() * 1e-14 } else { 0.0 }
}
