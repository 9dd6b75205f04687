#!/usr/bin/env python3
"""Write tests/math/exact.txt: functions at f64 arguments, correctly rounded from 60 digits (mpmath).

Each line: the function, the bits of x, of y (0 where there is none) and of the value, in hexadecimal. No test runs this script.
"""

import random
import struct
import sys

from mpmath import mp, mpf

mp.dps = 60
random.seed(20)
DIGAMMA_ROOT = 1.4616321449683622
INF, NAN = float("inf"), float("nan")


def bits(v):
    return struct.unpack("<Q", struct.pack("<d", v))[0]


def rounded(v):
    """To nearest f64, subnormal results included."""
    if isinstance(v, float):
        return v
    if v == 0 or mp.isinf(v) or mp.isnan(v):
        return float(v)
    m, e = mp.frexp(abs(v))
    e = max(int(e) - 53, -1074)
    n = int(mp.nint(mp.ldexp(abs(v), -e)))
    try:
        r = float(n) * 2.0**e if e > -1022 else float(mp.ldexp(mpf(n), e))
    except OverflowError:
        r = INF
    return r if v > 0 else -r


def sigmoid(x):
    return 1 / (1 + mp.exp(-x))


def softplus(x):
    return mp.log1p(mp.exp(x)) if x < 0 else x + mp.log1p(mp.exp(-x))


def polygamma(n, x):
    """By reflection for negative x, where mpmath takes a limit of sums."""
    n = int(n)
    if x > 0 or n == 0:
        return mp.polygamma(n, x)
    # psi_n(1 - x) + (-1)^(n+1) psi_n(x) = (-1)^n pi d^n/dx^n cot(pi x)
    cot = cot_derivative(n, x)
    return (-1) ** (n + 1) * ((-1) ** n * mp.pi * cot - mp.polygamma(n, 1 - x))


def cot_derivative(n, x):
    """The n-th derivative of cot(pi x): (-1)^n n!/pi times the sum of (x + k)^-(n+1) over all k, by two Hurwitz zetas of the part."""
    part = x - mp.floor(x)
    total = mp.zeta(n + 1, part) + (-1) ** (n + 1) * mp.zeta(n + 1, 1 - part)
    return (-1) ** n * mp.factorial(n) / mp.pi * total


def spread(low, high, n):
    return [random.uniform(low, high) for _ in range(n)]


def signed_scales(low, high, n):
    """Both signs, sizes 2^low to 2^high, evenly in the exponent."""
    return [random.choice((-1, 1)) * 2.0 ** random.uniform(low, high) for _ in range(n)]


def scales(low, high, n):
    return [abs(v) for v in signed_scales(low, high, n)]


ZEROS = [0.0, -0.0]
TINY = [5e-324, -5e-324, 1e-310, -1e-310, 2.2250738585072014e-308]
FUNCTIONS = {
    "exp": (mp.exp, spread(-745.2, 709.8, 400) + signed_scales(-60, 3, 200) + [-745.2, -745.13, -744.4, -708.4, 709.78, 709.79, 800.0, -800.0] + TINY),
    "expm1": (mp.expm1, spread(-40, 709.8, 200) + signed_scales(-60, 5, 400) + [-50.0, 709.79] + TINY),
    "log": (mp.log, scales(-1074, 1023, 200) + spread(0.5, 2, 300) + [1 + v for v in signed_scales(-50, -2, 100)] + [1.0, 5e-324, 1e-310, 1.7976931348623157e308]),
    "log1p": (mp.log1p, scales(-1022, 1023, 200) + spread(-0.999, 2, 300) + signed_scales(-60, -1, 100) + [-1 + 2.0**-53, 1.7976931348623157e308, 1.2e308] + TINY),
    "log2": (lambda x: mp.log(x) / mp.log(2), scales(-1074, 1023, 200) + spread(0.5, 2, 300) + [1.0, 8.0, 5e-324]),
    "tanh": (mp.tanh, signed_scales(-60, 5, 600) + spread(-1, 1, 300) + [400.0, -1e300] + TINY),
    "sigmoid": (sigmoid, spread(-745, 50, 300) + signed_scales(-60, 5, 300) + [800.0, -744.5] + TINY),
    "softplus": (softplus, spread(-745, 50, 300) + signed_scales(-60, 5, 300) + [800.0, -744.5, 1e300] + TINY),
    "sinh": (mp.sinh, signed_scales(-60, 9.4, 400) + spread(-2, 2, 200) + [710.4, -710.4, 800.0] + TINY),
    "cosh": (mp.cosh, signed_scales(-30, 9.4, 300) + [710.4, -710.4, 800.0] + TINY),
    "sin": (mp.sin, signed_scales(-60, 30, 100) + [1e22, 1e300] + TINY),
    "cos": (mp.cos, signed_scales(-60, 30, 100) + [1e22, 1e300] + TINY),
    "tan": (mp.tan, signed_scales(-60, 30, 100) + [1e22, 1e300] + TINY),
    "asin": (mp.asin, spread(-1, 1, 100) + signed_scales(-60, 0, 50) + [1.0, -1.0]),
    "acos": (mp.acos, spread(-1, 1, 100) + signed_scales(-60, 0, 50) + [1.0, -1.0]),
    "atan": (mp.atan, signed_scales(-60, 60, 100) + TINY),
    "erf": (mp.erf, signed_scales(-60, 3, 100) + TINY),
    "atan2": (mp.atan2, list(zip(signed_scales(-20, 20, 100), signed_scales(-20, 20, 100)))),
    "pow": (mp.power, list(zip(scales(-20, 20, 100), signed_scales(-20, 5, 100)))),
    "xlogy": (lambda x, y: x * mp.log(y), list(zip(signed_scales(-20, 20, 100), scales(-20, 20, 100)))),
    "lgamma": (lambda x: mp.log(abs(mp.gamma(x))), scales(-60, 60, 100) + spread(0.1, 30, 200) + spread(-20.3, -0.01, 100)),
    "digamma": (mp.digamma, scales(-60, 60, 100) + spread(0.1, 30, 200) + spread(-20.3, -0.01, 100) + [DIGAMMA_ROOT, DIGAMMA_ROOT + 1e-9, 1.26, 1.27, 1.66, 1.67]),
    "polygamma": (polygamma, [(float(n), x) for n in (0, 1, 2, 3, 4, 7, 20) for x in scales(-12, 12, 40) + spread(0.1, 30, 40) + spread(-20.3, -0.01, 30) + [-1000.25]]),
}


ODD = ("expm1", "tanh", "log1p", "sinh", "sin", "tan", "atan", "erf")


def main():
    for name, (f, points) in FUNCTIONS.items():
        for p in points + (ZEROS if name in ODD else []):
            args = p if isinstance(p, tuple) else (p,)
            value = rounded(f(*map(mpf, args)))
            if value == 0 and name in ODD:
                value = p
            y = args[1] if len(args) > 1 else 0.0
            print(f"{name} {bits(args[0]):x} {bits(y):x} {bits(value):x}")


if __name__ == "__main__":
    main()
