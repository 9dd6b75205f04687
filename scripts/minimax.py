#!/usr/bin/env python3
"""Derive the polynomial coefficients of src/codegen/math/coefficients.rs.

Each polynomial is a weighted near-minimax fit (Lawson's iteration, 60 digits). Coefficients are rounded to the target format one at a
time, lowest degree first, and the others are fitted again after each rounding, so that the error of rounding is absorbed.

Usage: minimax.py [NAME ...] > src/codegen/math/coefficients.rs   (all by default; the largest weighted error goes to stderr)
"""

import struct
import sys

from mpmath import mp, mpf

mp.dps = 60


def f32(v):
    return mpf(struct.unpack("<f", struct.pack("<f", float(v)))[0])


def f64(v):
    return mpf(float(v))


def solve(points, target, weight, free, fixed, degree_step=1):
    """Lawson: weighted least squares whose weights grow where the error is largest."""
    n = len(free)
    rows = [[weight[i] * x**k for k in free] for i, x in enumerate(points)]
    rest = [
        weight[i] * (target[i] - sum(c * x**k for k, c in fixed.items()))
        for i, x in enumerate(points)
    ]
    lawson = [mpf(1)] * len(points)
    best, best_error = None, None
    for _ in range(ITERATIONS):
        a = mp.matrix(n, n)
        rhs = mp.matrix(n, 1)
        for row, y, w in zip(rows, rest, lawson):
            for i in range(n):
                wr = w * row[i]
                rhs[i] += wr * y
                for j in range(i, n):
                    a[i, j] += wr * row[j]
        for i in range(n):
            for j in range(i):
                a[i, j] = a[j, i]
        c = mp.lu_solve(a, rhs)
        errors = [abs(y - sum(r * ci for r, ci in zip(row, c))) for row, y in zip(rows, rest)]
        worst = max(errors)
        if best is None or worst < best_error:
            best, best_error = c, worst
        mean = sum(w * e for w, e in zip(lawson, errors))
        if mean == 0:
            break
        lawson = [w * e / mean * len(points) for w, e in zip(lawson, errors)]
    return {k: v for k, v in zip(free, best)}, best_error


ITERATIONS = 12


def fit(f, a, b, degree, weight, fmt, given=None, points=None):
    """Coefficients of degree 0..=degree for f on [a, b]; `given` holds some of them."""
    a, b = mpf(a), mpf(b)
    count = points or 10 * (degree + 1)
    xs = [(a + b) / 2 + (b - a) / 2 * mp.cos(mp.pi * (i + mpf(1) / 2) / count) for i in range(count)]
    ys = [f(x) for x in xs]
    ws = [weight(x) for x in xs]
    fixed = dict(given or {})
    free = [k for k in range(degree + 1) if k not in fixed]
    error = None
    while free:
        c, error = solve(xs, ys, ws, free, fixed)
        k = free.pop(0)
        fixed[k] = fmt(c[k])
    worst = max(abs(w * (y - sum(c * x**k for k, c in fixed.items()))) for x, y, w in zip(xs, ys, ws))
    return [fixed[k] for k in range(degree + 1)], worst


LN2 = mp.log(2)
ONE = lambda x: mpf(1)


def series(f):
    """f, with a series' accuracy near removable singularities: more digits instead of a formula."""

    def g(x):
        with mp.workdps(90):
            return +f(x)

    return g


TABLE = {}


def entry(name, doc, fmt, f, a, b, degree, weight=ONE, given=None):
    TABLE[name] = (doc, fmt, series(f), a, b, degree, weight, given)


# exp: (e^r - 1 - r) / r^2, on |r| <= log 2 where half the exponent is applied at a time, else on half of that.
R = LN2 * mpf("1.0001")
exp_over = lambda r: (mp.expm1(r) - r) / r**2
exp_weight = lambda r: r**2 / mp.exp(r)
expm1_weight = lambda r: r**2 / mp.expm1(r)
entry("EXP_F32", "(e^r - 1 - r)/r^2 on |r| <= log 2, error relative to e^r.", f32, exp_over, -R, R, 6, exp_weight, {0: mpf(0.5)})
entry("EXP_NEGATIVE_F32", "(e^r - 1 - r)/r^2 on |r| <= log(2)/2, error relative to e^r.", f32, exp_over, -R / 2, R / 2, 4, exp_weight)
entry("EXPM1_F32", "(e^r - 1 - r)/r^2 on |r| <= log 2, error relative to e^r - 1.", f32, exp_over, -R, R, 6, expm1_weight, {0: mpf(0.5)})
entry("EXP_F64", "(e^r - 1 - r)/r^2 on |r| <= log 2, error relative to e^r - 1.", f64, exp_over, -R, R, 12, expm1_weight, {0: mpf(0.5)})
entry("EXP_NEGATIVE_F64", "(e^r - 1 - r)/r^2 on |r| <= log(2)/2, error relative to e^r.", f64, exp_over, -R / 2, R / 2, 9, exp_weight, {0: mpf(0.5)})

# log: (log(1+f) - f + f^2/2) / f^3 on [sqrt(1/2) - 1, sqrt(2) - 1].
LO, HI = mp.sqrt(mpf(1) / 2) - 1 - mpf("1e-4"), mp.sqrt(2) - 1 + mpf("1e-4")
entry("LOG_F32", "(log(1+f) - f + f^2/2)/f^3 on [sqrt(1/2)-1, sqrt(2)-1], error relative to log(1+f).", f32,
      lambda f: (mp.log1p(f) - f + f * f / 2) / f**3, LO, HI, 7, lambda f: f**3 / mp.log1p(f))
entry("LOG2_F32", "log2(1+f)/f - (the leading constant) over f, error relative to log2(1+f).", f32,
      lambda f: (mp.log1p(f) / mp.log(2) / f - f32(1 / mp.log(2))), LO, HI, 9, lambda f: f / mp.log1p(f) * mp.log(2),
      {0: f32(1 / mp.log(2) - f32(1 / mp.log(2)))})
# log(1+f) = f - f^2/2 + s (f^2/2 + R(s^2)), s = f/(2+f).


def log_remainder(z):
    s = mp.sqrt(z)
    return (2 * mp.atanh(s) / s - 2)
entry("LOG_F64", "(2 atanh(s)/s - 2)/s^2 in s^2, s = f/(2+f), for log(1+f) = f - (f^2/2 - s (f^2/2 + s^2 P)).", f64,
      lambda z: log_remainder(z) / z, mpf("1e-12"), (HI / (2 + HI)) ** 2, 6, ONE)

# log1p on [0, 1], for softplus: (log1p(u)/u - 1)/u.
entry("LOG1P_UNIT_F32", "(log(1+u)/u - 1)/u on [0, 1], error relative to log(1+u).", f32,
      lambda u: (mp.log1p(u) / u - 1) / u, mpf("1e-9"), 1, 8, lambda u: u * u / mp.log1p(u))

# tanh: (tanh(x)/x - 1)/x^2 in x^2.


def tanh_odd(z):
    x = mp.sqrt(z)
    return (mp.tanh(x) / x - 1) / z
entry("TANH_F32", "(tanh(x)/x - 1)/x^2 in x^2, |x| <= 0.7.", f32, tanh_odd, mpf("1e-9"), mpf("0.49"), 5,
      lambda z: z * mp.sqrt(z) / mp.tanh(mp.sqrt(z)))
entry("TANH_F64", "(tanh(x)/x - 1)/x^2 in x^2, |x| <= 0.7.", f64, tanh_odd, mpf("1e-12"), mpf("0.49"), 12,
      lambda z: z * mp.sqrt(z) / mp.tanh(mp.sqrt(z)))


# sin r = r + r z P(z), cos r = 1 - z/2 + z^2 P(z), tan r = r + r z P(z), z = r^2, |r| a little above pi/4.
QUARTER = mpf("0.8") ** 2
SMALL = mpf("1e-9")


def odd(f):
    """(f(x)/x - 1)/x^2 as a function of z = x^2, and the weight that makes its error relative to f."""

    def ratio(z):
        x = mp.sqrt(z)
        return (f(x) / x - 1) / z

    return ratio, lambda z: z * mp.sqrt(z) / f(mp.sqrt(z))


entry("SIN_F32", "(sin(r)/r - 1)/r^2 in r^2, |r| <= 0.8, relative to sin.", f32, odd(mp.sin)[0], SMALL, QUARTER, 3, odd(mp.sin)[1])
entry("COS_F32", "(cos(r) - 1 + r^2/2)/r^4 in r^2, |r| <= 0.8, relative to cos.", f32,
      lambda z: (mp.cos(mp.sqrt(z)) - 1 + z / 2) / z**2, SMALL, QUARTER, 2, lambda z: z * z / mp.cos(mp.sqrt(z)))
entry("TAN_F32", "(tan(r)/r - 1)/r^2 in r^2, |r| <= 0.8, relative to tan.", f32, odd(mp.tan)[0], SMALL, QUARTER, 6, odd(mp.tan)[1])
entry("ASIN_F32", "(asin(s)/s - 1)/s^2 in s^2, |s| <= 1/2, relative to asin.", f32, odd(mp.asin)[0], SMALL, mpf("0.25"), 4, odd(mp.asin)[1])
entry("ATAN_F32", "(atan(t)/t - 1)/t^2 in t^2, |t| <= 1, relative to atan.", f32, odd(mp.atan)[0], SMALL, 1, 8, odd(mp.atan)[1])
entry("SINH_F32", "(sinh(x)/x - 1)/x^2 in x^2, |x| <= 1, relative to sinh.", f32, odd(mp.sinh)[0], SMALL, 1, 4, odd(mp.sinh)[1])
entry("SINH_F64", "(sinh(x)/x - 1)/x^2 in x^2, |x| <= 1, relative to sinh.", f64, odd(mp.sinh)[0], mpf("1e-12"), 1, 8, odd(mp.sinh)[1])

# erf x = x + x P(x^2) for small x, 1 - exp(-x P(x)) for larger.
entry("ERF_SMALL_F32", "erf(x)/x - 1 in x^2, |x| <= 0.95, relative to erf.", f32, lambda z: mp.erf(mp.sqrt(z)) / mp.sqrt(z) - 1, SMALL, mpf("0.9025"), 6,
      lambda z: mp.sqrt(z) / mp.erf(mp.sqrt(z)))
entry("ERF_LARGE_F32", "-log(1 - erf(x))/x on [0.95, 4], error of erf.", f32, lambda x: -mp.log(mp.erfc(x)) / x, mpf("0.94"), mpf("4.01"), 7, lambda x: x * mp.erfc(x))

# For pow on f32 by way of f64: half of f64's digits are enough.
entry("POW_LOG_F64", "As LOG_F64, shorter: relative to log(1+f), for f32 results.", f64, lambda z: log_remainder(z) / z, mpf("1e-12"), (HI / (2 + HI)) ** 2, 3, lambda z: z / 2)
entry("POW_EXP_F64", "As EXP_NEGATIVE_F64, shorter: for f32 results.", f64, exp_over, -R / 2, R / 2, 5, exp_weight)


def main():
    names = sys.argv[1:] or list(TABLE)
    print("//! Polynomial coefficients, lowest degree first: made by scripts/minimax.py, not by hand.")
    print("//! Those of f32 forms are f32 numbers.")
    for name in names:
        doc, fmt, f, a, b, degree, weight, given = TABLE[name]
        c, worst = fit(f, a, b, degree, weight, fmt, given)
        sys.stderr.write(f"{name}: degree {degree}, error 2^{float(mp.log(worst, 2)):.2f}\n")
        print(f"\n/// {doc}\n///\n/// Largest error 2^{float(mp.log(worst, 2)):.1f}.")
        print(f"pub(super) const {name}: [f64; {len(c)}] = [")
        for v in c:
            print(f"    {float(v)!r},")
        print("];")


if __name__ == "__main__":
    main()
