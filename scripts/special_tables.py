#!/usr/bin/env python3
"""Print src/codegen/math/special_tables.rs (mpmath, 60 digits)."""

from mpmath import bernoulli, findroot, factorial, mp, mpf, polygamma

mp.dps = 60
root = findroot(lambda x: polygamma(0, x), mpf("1.4616"))
high = mpf(float(root))
print("//! Constants of the gamma family: made by scripts/special_tables.py, not by hand.")
print("\n/// The Bernoulli numbers B_2, B_4, ...")
print("pub(super) const BERNOULLI: [f64; 12] = [")
for k in range(1, 13):
    print(f"    {float(bernoulli(2 * k))!r},")
print("];\n\n/// The positive root of digamma, in two parts.")
print(f"pub(super) const DIGAMMA_ROOT: [f64; 2] = [{float(root)!r}, {float(root - high)!r}];")
print("\n/// Taylor coefficients of digamma at its root, from the linear one on.")
print("pub(super) const DIGAMMA_AT_ROOT: [f64; 20] = [")
for k in range(1, 21):
    print(f"    {float(polygamma(k, root) / factorial(k))!r},")
print("];")
