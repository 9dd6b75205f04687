"""Writes tests/stabilize/*.json: textbook forms, inputs, and their exact values and gradients.

Each case is a formula in mpmath, and the same formula spelled in several ways as a loss. Values are computed with 1000
digits (so that 1 + exp(-800) is not 1) and written with 60; derivatives are central differences with a step of
1e-300 of the input, exact to far more than 60 digits. Where an input is infinite or NaN there is a value and no gradient;
where the extended reals have no value either (inf - inf) it is "nan", and nothing is asked of the loss.

    python scripts/stabilize_reference.py
"""

import itertools
import json
import os
import sys

import mpmath
from mpmath import mp, mpf

mp.dps = 1000
OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "stabilize")

INF, NAN = mpf("inf"), mpf("nan")
NORMAL = [0.0, 0.5, -0.5, 1.0, -1.0, 3.25, -7.5, 30.0, -30.0]
SMALL = [1e-300, -1e-300, 1e-20, -1e-20, 1e-8, -1e-8, 1e-3, -1e-3]
LARGE = [40.0, -40.0, 100.0, -100.0, 800.0, -800.0]
SPECIAL = ["inf", "-inf", "nan"]


def number(x):
    return mpf(x) if not isinstance(x, str) else {"inf": INF, "-inf": -INF, "nan": NAN}[x]


def log(x):
    if mpmath.isnan(x) or x < 0:
        return NAN
    return -INF if x == 0 else mpmath.log(x)


def exp(x):
    if x == -INF:
        return mpf(0)
    return mpmath.exp(x)


def sigmoid(x):
    return mpf(0) if x == -INF else 1 / (1 + exp(-x))


def softplus(x):
    return log(1 + exp(x))


def tanh(x):
    return mpf(1) if x == INF else mpf(-1) if x == -INF else mpmath.tanh(x)


def cosh(x):
    return (exp(x) + exp(-x)) / 2


def logsumexp(xs):
    return log(mpmath.fsum(exp(x) for x in xs)) if INF not in xs else INF


def xlogx(x):
    return mpf(0) if x == 0 else x * log(x)


def xlogy(x, y):
    return mpf(0) if x == 0 and not mpmath.isnan(y) else x * log(y)


def sqrt(x):
    return NAN if mpmath.isnan(x) or x < 0 else mpmath.sqrt(x)


def text(x):
    if mpmath.isnan(x):
        return "nan"
    if mpmath.isinf(x):
        return "inf" if x > 0 else "-inf"
    return mpmath.nstr(x, 60)


def flat(x):
    return [e for r in x for e in flat(r)] if isinstance(x, (list, tuple)) else [x]


def rebuilt(like, values):
    return [rebuilt(r, values) for r in like] if isinstance(like, (list, tuple)) else next(values)


def convert(x):
    return [convert(e) for e in x] if isinstance(x, (list, tuple)) else number(x)


def value(f, point):
    try:
        return mpf(f(**point))
    except (ZeroDivisionError, ValueError):
        return NAN


def derivative(f, point, name, i):
    old = point[name]
    xs = flat(old)
    h = abs(xs[i]) * mpf("1e-300") if xs[i] != 0 else mpf("1e-400")
    sides = []
    for sign in (1, -1):
        moved = list(xs)
        moved[i] += sign * h
        sides.append(value(f, {**point, name: rebuilt(old, iter(moved))}))
    return (sides[0] - sides[1]) / (2 * h)


CASES = {}


def case(file, name, f, inputs, texts, points, given=(), rules=(), tolerance=1e-12, grad_tolerance=1e-9, floor=0, grad_floor=None, kinks=None):
    """floor: what is smaller is compared as if it were as large (grad_floor: for gradients). inputs: names in order; points: one list of arguments each. kinks: where the
    derivative is to be checked, if not everywhere."""
    rows = []
    for p in points:
        raw = dict(zip(inputs, p))
        point = {k: convert(v) for k, v in raw.items()}
        v = value(f, point)
        row = {"inputs": raw, "value": text(v)}
        every = [e for x in point.values() for e in flat(x)]
        if all(mpmath.isfinite(e) for e in every) and mpmath.isfinite(v):
            grads = {}
            for k in inputs:
                if k not in given:
                    grads[k] = [text(derivative(f, point, k, i)) for i in range(len(flat(point[k])))]
            if not kinks or kinks(point):
                row["grad"] = grads
        rows.append(row)
    CASES.setdefault(file, []).append(
        dict(name=name, texts=texts, rules=list(rules), tolerance=tolerance, grad_tolerance=grad_tolerance,
             floor=floor, grad_floor=floor if grad_floor is None else grad_floor, points=rows)
    )


def scalar(expressions, where="", signature="(x: [])"):
    return [f"loss t{signature} = {e}{where}" for e in expressions]


X = [[x] for x in NORMAL + SMALL + LARGE + SPECIAL]
FINITE = [[x] for x in NORMAL + SMALL + LARGE]


def pairs(a, b):
    return [list(p) for p in itertools.product(a, b)]


# ---------------------------------------------------------------- logistic

case("logistic", "softplus", lambda x: softplus(x), ["x"], scalar([
    "log(1 + exp(x))", "log(exp(x) + 1)", "log1p(exp(x))", "-log(1 / (1 + exp(x)))", "log(2 + 2 * exp(x)) - log(2)",
    "2 * log(sqrt(1 + exp(x)))", "log(1 + 1 / exp(-x))", "-log(1 - sigmoid(x))", "log((exp(-x) + 1) / exp(-x))",
    "x - log(sigmoid(x))", "log(1 + e)\n  where e = exp(x)", "log(s)\n  where\n    e = exp(x)\n    s = e + 1",
    "if x > -inf then log(1 + exp(x)) else 0",
]) + ["def soft(u) = log(1 + exp(u))\nloss t(x: []) = soft(x)"], X)

case("logistic", "log_sigmoid", lambda x: -softplus(-x), ["x"], scalar([
    "log(sigmoid(x))", "log(1 / (1 + exp(-x)))", "log(exp(x) / (1 + exp(x)))", "log(exp(x) / (exp(x) + 1))",
    "-log(1 + exp(-x))", "log(p)\n  where p = sigmoid(x)", "log(p)\n  where p = 1 / (1 + exp(-x))",
    "log(1 - sigmoid(-x))", "log(1 - p)\n  where p = 1 / (1 + exp(x))", "2 * log(sqrt(sigmoid(x)))",
    "log(sigmoid(x)^3) / 3",
]) + ["def prob(u) = 1 / (1 + exp(-u))\nloss t(x: []) = log(prob(x))"], X, rules=["log_of_exp"])

case("logistic", "log_one_less_sigmoid", lambda x: -softplus(x), ["x"], scalar([
    "log(1 - sigmoid(x))", "log(1 - 1 / (1 + exp(-x)))", "log1p(-sigmoid(x))", "log(1 - p)\n  where p = sigmoid(x)",
    "log(1 - exp(x) / (1 + exp(x)))", "log(1 / (1 + exp(x)))", "log(-(sigmoid(x) - 1))",
]), X)

case("logistic", "sigmoid", lambda x: sigmoid(x), ["x"], scalar([
    "1 / (1 + exp(-x))", "exp(x) / (1 + exp(x))", "exp(x) / (exp(x) + 1)", "1 / (exp(-x) + 1)", "2 / (2 + 2 * exp(-x))",
    "1 - 1 / (1 + exp(x))", "0.5 * (1 + tanh(x / 2))", "(1 + tanh(x / 2)) / 2", "0.5 + 0.5 * tanh(0.5 * x)",
    "exp(-log(1 + exp(-x)))", "exp(x - log(1 + exp(x)))", "e / (1 + e)\n  where e = exp(x)",
    "e / d\n  where\n    e = exp(x)\n    d = 1 + e", "exp(x / 2) / (exp(x / 2) + exp(-x / 2))", "(1 - tanh(-x / 2)) / 2",
]), X)

case("logistic", "one_less_sigmoid", lambda x: sigmoid(-x), ["x"], scalar([
    "1 - sigmoid(x)", "-(sigmoid(x) - 1)", "1 - 1 / (1 + exp(-x))", "1 / (1 + exp(x))", "1 - p\n  where p = sigmoid(x)",
    "(3 - 3 * sigmoid(x)) / 3",
]), X)

case("logistic", "derivative of sigmoid", lambda x: sigmoid(x) * sigmoid(-x), ["x"], scalar([
    "exp(x) / (1 + exp(x))^2", "exp(-x) / (1 + exp(-x))^2", "sigmoid(x) * (1 - sigmoid(x))",
]), [[x] for x in NORMAL + LARGE + SPECIAL])

case("logistic", "softplus less x", lambda x: softplus(-x), ["x"], scalar([
    "softplus(x) - x", "log(1 + exp(x)) - x", "(2 * softplus(x) - 2 * x) / 2",
]), X, rules=["softplus_less_x"])

case("logistic", "logit of sigmoid", lambda x: x, ["x"], scalar([
    "log(p / (1 - p))\n  where p = sigmoid(x)", "log(p) - log(1 - p)\n  where p = 1 / (1 + exp(-x))", "softplus(x) - softplus(-x)",
]), [[x] for x in NORMAL + LARGE + ["inf", "-inf"]])

Y = [0.0, 1.0, 0.25]
nll = lambda x, y: y * softplus(-x) + (1 - y) * softplus(x)
case("logistic", "bernoulli", nll, ["x", "y"], scalar([
    "-(y * log(sigmoid(x)) + (1 - y) * log(1 - sigmoid(x)))",
    "-y * log(sigmoid(x)) - (1 - y) * log(1 - sigmoid(x))",
    "-(y * log(p) + (1 - y) * log(1 - p))\n  where p = 1 / (1 + exp(-x))",
    "-(y * log(p) + (1 - y) * log(q))\n  where\n    p = sigmoid(x)\n    q = 1 - p",
    "-(log(p) * y + log(1 - p) * (1 - y))\n  where p = exp(x) / (1 + exp(x))",
], signature="(x: [] | y: [])"), pairs(NORMAL + LARGE, Y), given=["y"])

case("logistic", "bernoulli, likelihood", lambda x, y: -log(y * sigmoid(x) + (1 - y) * sigmoid(-x)), ["x", "y"], scalar([
    "-log(y * sigmoid(x) + (1 - y) * (1 - sigmoid(x)))", "-log(p * y + (1 - p) * (1 - y))\n  where p = sigmoid(x)",
    "-log(p_t)\n  where\n    p = 1 / (1 + exp(-x))\n    p_t = p * y + (1 - p) * (1 - y)",
], signature="(x: [] | y: [])"), pairs(NORMAL + LARGE, Y), given=["y"])

case("logistic", "margin", lambda x, y: softplus(-y * x / mpf("0.25")), ["x", "y"], [
    "loss t(x: [] | y: []; t = 0.25 in (0, inf)) = log(1 + exp(-y * x / t))",
    "loss t(x: [] | y: []; t = 0.25 in (0, inf)) = log(exp(-(x / t) * y) + 1)",
    "loss t(x: [] | y: []; t = 0.25 in (0, inf)) = -log(sigmoid(m))\n  where m = y * x / t",
], pairs(NORMAL + LARGE, [1.0, -1.0]), given=["y"])

case("logistic", "branches", lambda x, y: -(softplus(-x) if y == 1 else softplus(x) if y == 0 else -log(y)), ["x", "y"], scalar([
    "if y == 1 then log(sigmoid(x)) else if y == 0 then log(1 - sigmoid(x)) else log(y)",
    "log(if y == 1 then p else if y == 0 then 1 - p else y)\n  where p = sigmoid(x)",
    "log(q)\n  where\n    p = 1 / (1 + exp(-x))\n    q = if y == 1 then p else if y == 0 then 1 - p else y",
], signature="(x: [] | y: [])"), pairs(NORMAL + LARGE, Y), given=["y"])

focal = lambda x: sigmoid(-x) ** 2 * softplus(-x)
case("logistic", "focal", focal, ["x"], scalar([
    "-(1 - p)^2 * log(p)\n  where p = sigmoid(x)", "-log(p) * (1 - p) * (1 - p)\n  where p = 1 / (1 + exp(-x))",
    "-(1 - exp(l))^2 * l\n  where l = log(sigmoid(x))",
]), [[x] for x in NORMAL + LARGE])

case("logistic", "power of sigmoid", lambda x: sigmoid(x) ** mpf("0.75"), ["x"], scalar([
    "sigmoid(x)^0.75", "p^q\n  where\n    p = 1 / (1 + exp(-x))\n    q = 0.75", "(1 - sigmoid(-x))^0.75",
]), [[x] for x in NORMAL + LARGE], grad_floor=1)

# ---------------------------------------------------------------- hyperbolic

case("hyperbolic", "tanh", lambda x: tanh(x), ["x"], scalar([
    "(exp(x) - exp(-x)) / (exp(x) + exp(-x))", "(exp(2 * x) - 1) / (exp(2 * x) + 1)",
    "(1 - exp(-2 * x)) / (1 + exp(-2 * x))", "sinh(x) / cosh(x)", "2 / (1 + exp(-2 * x)) - 1", "2 * sigmoid(2 * x) - 1",
    "1 - 2 * sigmoid(-2 * x)", "(exp(x) - exp(-x)) / 2 / cosh(x)", "s / c\n  where\n    s = exp(x) - exp(-x)\n    c = exp(-x) + exp(x)",
    "2 * (sigmoid(2 * x) - 0.5)", "1 - 2 / (exp(2 * x) + 1)", "(exp(2 * x) - 1) / (1 + exp(2 * x))",
]), X)

case("hyperbolic", "log_cosh", lambda x: log(cosh(x)), ["x"], scalar([
    "log(cosh(x))", "log((exp(x) + exp(-x)) / 2)", "log(exp(x) / 2 + exp(-x) / 2)", "log(0.5 * (exp(-x) + exp(x)))",
    "log(c)\n  where c = (exp(x) + exp(-x)) / 2", "-log(1 / cosh(x))", "log(0.5 * exp(x) + 0.5 * exp(-x))", "log(cosh(-x))",
]), [[x] for x in NORMAL + LARGE + [1e-3, -1e-3, 1e-2, "inf", "-inf", "nan"]], tolerance=1e-11)

case("hyperbolic", "sinh", lambda x: mpmath.sinh(x) if mpmath.isfinite(x) else x, ["x"], scalar([
    "(exp(x) - exp(-x)) / 2", "exp(x) / 2 - exp(-x) / 2", "-(exp(-x) - exp(x)) * 0.5",
]), [[x] for x in NORMAL + SMALL + [100.0, -100.0, "inf", "-inf"]], rules=["exp_sinh_cosh"])

case("hyperbolic", "log of one less tanh squared", lambda x: log(4) - softplus(2 * x) - softplus(-2 * x), ["x"], scalar([
    "log(1 - tanh(x)^2)", "log(1 - t * t)\n  where t = tanh(x)", "log1p(-tanh(x)^2)", "log((1 - tanh(x)) * (1 + tanh(x)))",
]), [[x] for x in NORMAL + [40.0, -40.0, 100.0, 800.0, -800.0]], tolerance=1e-11)

case("hyperbolic", "one less tanh squared", lambda x: 4 * sigmoid(2 * x) * sigmoid(-2 * x), ["x"], scalar([
    "1 - tanh(x)^2", "1 - t * t\n  where t = tanh(x)",
]), [[x] for x in NORMAL + [40.0, -40.0, 100.0, -300.0, 800.0, -800.0]], rules=["one_less_tanh_squared"], tolerance=1e-11)

case("hyperbolic", "one plus tanh", lambda x: 1 + tanh(x), ["x"], scalar([
    "1 + tanh(x)", "tanh(x) + 1", "1 - tanh(-x)",
]), X, rules=["one_plus_tanh"])

# ---------------------------------------------------------------- cancellation

case("cancel", "expm1", lambda x: mpmath.expm1(x) if x != -INF else mpf(-1), ["x"], scalar([
    "exp(x) - 1", "-(1 - exp(x))", "-1 + exp(x)", "(3 * exp(x) - 3) / 3", "e - 1\n  where e = exp(x)",
]), [[x] for x in NORMAL + SMALL + [40.0, -40.0, -800.0, "inf", "-inf", "nan"]], rules=["exp_less_one"])

case("cancel", "log1p", lambda x: log(1 + x), ["x"], scalar([
    "log(1 + x)", "log(x + 1)", "log(1 - (-x))", "log(s)\n  where s = 1 + x", "0.5 * log((1 + x)^2)",
]), [[x] for x in [0.0, 0.5, -0.5, 3.25, 30.0, 1e-300, -1e-300, 1e-20, -1e-20, 1e-8, 1e-3, 1e300, "inf", "nan"]])

case("cancel", "expm1 plus one", lambda x: exp(x), ["x"], scalar([
    "expm1(x) + 1", "(2 + 2 * expm1(x)) / 2", "sigmoid(x) * exp(-x) * exp(x) / (1 - sigmoid(x))",
]), [[x] for x in NORMAL + [100.0, -100.0]])

case("cancel", "one_less_cos", lambda x: 1 - mpmath.cos(x), ["x"], scalar([
    "1 - cos(x)", "-(cos(x) - 1)", "(2 - 2 * cos(x)) / 2",
]), [[x] for x in [0.0, 0.5, -1.0, 3.25, 1e-100, 1e-20, -1e-8, 1e-3]], rules=["one_less_cos"])

case("cancel", "cosh_less_one", lambda x: mpmath.cosh(x) - 1, ["x"], scalar([
    "cosh(x) - 1", "(exp(x) + exp(-x)) / 2 - 1",
]), [[x] for x in [0.0, 0.5, -1.0, 3.25, 100.0, 1e-100, 1e-20, -1e-8, 1e-3]], rules=["cosh_less_one"])

case("cancel", "log1mexp", lambda x: log(1 - exp(x)) if x < 0 else -INF if x == 0 else NAN, ["x"], scalar([
    "log(1 - exp(x))", "log1p(-exp(x))", "log(-(exp(x) - 1))", "log(-expm1(x))", "log(1 - e)\n  where e = exp(x)",
]), [[x] for x in [-1e-300, -1e-20, -1e-8, -1e-3, -0.5, -0.6931, -0.6932, -1.0, -7.5, -40.0, -700.0, -800.0, 0.0, 1.0, "-inf", "inf", "nan"]])

case("cancel", "cloglog", lambda x: log(-mpmath.expm1(-exp(x))), ["x"], scalar([
    "log(1 - exp(-exp(x)))", "log(-expm1(-exp(x)))", "log1p(-exp(-exp(x)))", "-(-log(1 - q))\n  where\n    u = exp(x)\n    q = exp(-u)",
]), [[x] for x in [-800.0, -1e5, -745.0, -100.0, -18.1, -17.9, -10.0, -1.0, -0.3, 0.0, 0.5, 3.0, 6.0]])
case("cancel", "cloglog of a product", lambda x, w: log(-mpmath.expm1(-w * exp(x))), ["x", "w"], scalar([
    "log(1 - exp(-w * exp(x)))", "log(-expm1(-exp(x) * w))",
], signature="(x: [], w: [])"), [[x, w] for x in [-800.0, -30.0, -1.0, 2.0] for w in [1e-3, 0.5, 1.0, 20.0]])

case("cancel", "logexpm1", lambda x: log(exp(x) - 1), ["x"], scalar([
    "log(exp(x) - 1)", "log(expm1(x))",
]), [[x] for x in [1e-300, 1e-20, 1e-3, 0.5, 1.0, 7.5, 39.0, 41.0, 800.0, "inf", "nan"]], rules=["log_of_one_less_exp"])

huber = lambda c: (lambda x: mpf(1) * (sqrt(x * x + c * c) - c) if mpmath.isfinite(x) else abs(x))
POINTS = [0.0, 0.5, -1.0, 3.25, 1e-160, 1e-20, -1e-8, 1e-3, 1e5, -1e10, 2e8, 3e8, 1e20, 1e150, -1e160, 1e200, 1.7e308, "inf", "-inf", "nan"]
case("cancel", "pseudo_huber, c = 2", huber(mpf(2)), ["x"], scalar([
    "sqrt(x^2 + 4) - 2", "sqrt(4 + x * x) - 2", "-(2 - sqrt(x^2 + 4))", "-2 + sqrt(4 + x^2)",
    "r - 2\n  where r = sqrt(x^2 + 4)", "3 * (sqrt(x^2 + 4) - 2) / 3", "4 * (sqrt(1 + (x / 2)^2) - 1) / 2",
]) + [
    "loss t(x: []; delta = 2.0 in (0, inf)) = sqrt(x^2 + delta^2) - delta",
    "loss t(x: []; delta = 2.0 in [0, inf)) = sqrt(delta * delta + x^2) - delta",
    "loss t(x: []; delta = 2.0 in (0, inf)) = delta * (sqrt(1 + (x / delta)^2) - 1)",
    "loss t(x: []; delta = 1.0 in (0, inf)) = sqrt(x^2 + 4 * delta^2) - 2 * delta",
    "loss t(x: []; delta = 4.0 in [0, inf)) = sqrt(x^2 + delta) - sqrt(delta)",
    "def pseudo(r, c: []) = sqrt(r^2 + c^2) - c\nloss t(x: []; delta = 2.0 in (0, inf)) = pseudo(x, delta)",
], [[x] for x in POINTS], rules=["sqrt_difference"])
case("cancel", "pseudo_huber, c = 1", huber(mpf(1)), ["x"], scalar([
    "sqrt(1 + x^2) - 1", "sqrt(x^2 + 1) - 1", "-(1 - sqrt(1 + x * x))",
]), [[x] for x in POINTS], rules=["sqrt_difference"])
case("cancel", "pseudo_huber, c = 0.1", huber(mpf("0.1")), ["x"], scalar([
    "sqrt(x^2 + 0.01) - 0.1", "sqrt(x^2 + 0.1^2) - 0.1",
]), [[x] for x in [0.5, -1.0, 1e-20, 1e-8, 1e-3, 1e5, 1e20, -1e200]], rules=["sqrt_difference"])
case("cancel", "pseudo_huber, c = 0", lambda x: abs(x), ["x"], [
    "loss t(x: []; delta = 0.0 in [0, inf)) = sqrt(x^2 + delta^2) - delta",
], [[x] for x in [0.5, -1.0, 1e-20, 1e5, 1e200, -1e-200, "inf"]], rules=["sqrt_difference"])
case("cancel", "pseudo_huber, c = 0 at 0", lambda x: mpf(0), ["x"], [
    "loss t(x: []; delta = 0.0 in [0, inf)) = sqrt(x^2 + delta^2) - delta",
], [[0.0]], kinks=lambda p: False)

for c in [1e100, 1e15, 1e-15, 1e-100]:
    case("cancel", f"pseudo_huber, c = {c}", huber(mpf(c)), ["x"], [
        f"loss t(x: []; delta = {c!r} in (0, inf)) = sqrt(x^2 + delta^2) - delta",
    ] + [f"loss t(x: []; delta = {c!r} in [0, inf)) = delta * (sqrt(1 + (x / delta)^2) - 1)" for _ in [c] if c > 1e-50], [[x * s] for x in [1e-20, 1e-8, 1e-3, 0.5, 1.0, 3.0, 1e3, 1e8, 2e8, 1e30] for s in [c, -c]] + [[0.0], [1e250], [-1e250], ["inf"]],
        rules=["sqrt_difference"])
pseudo = lambda x, c: sqrt(x * x + c * c) - c
case("cancel", "pseudo_huber, c = exp(t)", lambda x, t: pseudo(x, exp(t)), ["x", "t"], [
    "loss t(x: [], t: []) = sqrt(x^2 + c^2) - c\n  where c = exp(t)",
    "loss t(x: [], t: []) = sqrt(exp(t)^2 + x * x) - exp(t)",
], [[x, t] for x in [0.0, 0.5, -1e-3, 3.0, -1e200] for t in [-30.0, -2.0, 0.5, 40.0, 300.0]], rules=["sqrt_difference"])
case("cancel", "pseudo_huber, c = sqrt(v)", lambda x, v: pseudo(x, sqrt(v)), ["x", "v"], [
    "loss t(x: [], v: []) = if v > 0 then sqrt(x^2 + v) - sqrt(v) else 0",
], [[x, v] for x in [0.0, 0.5, -1e-3, 1e10, -1e200] for v in [1e-30, 1e-3, 1.0, 3.0, 1e10]], rules=["sqrt_difference"])

# ---------------------------------------------------------------- softmax

ROWS = [
    [0.0, 0.0, 0.0], [1.0, 2.0, 3.0], [-1.5, 0.25, 7.0], [30.0, -30.0, 0.0], [800.0, 799.0, 0.0], [-800.0, -801.0, -900.0],
    [800.0, -800.0, 0.0], [1e-20, 0.0, -1e-20], [1e4, 1e4, -1e4],
]
ODD = [["-inf", 0.0, 1.0], ["-inf", "-inf", "-inf"], ["inf", 0.0, 1.0], ["nan", 0.0, 1.0], ["-inf", 800.0, -800.0]]
ALL = [[r] for r in ROWS + ODD]
vector = lambda e: scalar(e, signature="(x: [C])")

case("softmax", "logsumexp", lambda x: logsumexp(x), ["x"], vector([
    "log(sum(exp(x)))", "log(sum[C](exp(x)))", "-log(1 / sum(exp(x)))", "log(sum(2 * exp(x))) - log(2)",
    "log(3 * sum(exp(x)) / 3)", "log(s)\n  where s = sum(exp(x))", "log(sum(e))\n  where e[C] = exp(x)",
    "log(mean(exp(x))) + log(size(C))", "log(mean(exp(x)) * size(C))", "2 * log(sqrt(sum(exp(x))))",
    "log(sum[C if C >= 0](exp(x)))", "log(sum[C](if C >= 0 then exp(x) else 0))", "log(sum(1 / exp(-x)))",
    "log(sum(exp(x / 2)^2))", "log(sum(exp(x) * exp(1))) - 1", "log(sum(exp(x + 1))) - 1",
]) + ["def lse(u: [K]) = log(sum[K](exp(u)))\nloss t(x: [C]) = lse(x)"], ALL, rules=["log_of_exp"], floor=1)

case("softmax", "logsumexp of a guard", lambda x: logsumexp(x[1:]), ["x"], vector([
    "log(sum[C if C >= 1](exp(x)))", "log(sum[C](if C >= 1 then exp(x) else 0))", "log(sum[C if C != 0](exp(x)))",
    "log(mean[C if C >= 1](exp(x))) + log(count[C](C >= 1))",
]), ALL, rules=["log_of_exp"], floor=1)

case("softmax", "log2 of a sum", lambda x: logsumexp(x) / log(2), ["x"], vector([
    "log2(sum(exp(x)))", "-log2(1 / sum(exp(x)))",
]), [[r] for r in ROWS], rules=["log2_of_exp"], floor=1)

case("softmax", "shifted by hand", lambda x: logsumexp(x), ["x"], vector([
    "log(sum(exp(x - m))) + m\n  where m = max(x)", "m + log(sum(exp(x - m)))\n  where m = max(x)",
    "max(x) - log(1 / sum(exp(x - max(x))))", "c + log(sum(exp(x - c)))\n  where c = 3 * x[0]",
]), [[r] for r in ROWS + ODD[:2]], floor=1)

case("softmax", "logsumexp of nothing", lambda x: -INF, ["x"], vector([
    "log(sum[C if C >= 5](exp(x)))",
]), [[r] for r in ROWS[:3]], rules=["log_of_exp"], floor=1)

case("softmax", "logsumexp with temperature", lambda x: logsumexp([e / mpf("0.5") for e in x]) * mpf("0.5"), ["x"], [
    "loss t(x: [C]; t = 0.5 in (0, inf)) = t * log(sum(exp(x / t)))",
    "loss t(x: [C]; t = 0.5 in (0, inf)) = log(sum[C](exp(x / t))) * t",
    "loss t(x: [C]; t = 0.5 in (0, inf)) = log((sum(exp(x / t)))^t)",
], [[r] for r in ROWS], rules=["log_of_exp"], floor=1)

case("softmax", "log_mean_exp", lambda x: logsumexp(x) - log(len(x)), ["x"], vector([
    "log(mean(exp(x)))", "log(sum(exp(x)) / size(C))", "log(sum(exp(x) / size(C)))", "-log(size(C) / sum(exp(x)))",
]), ALL, rules=["log_of_exp"], floor=1)

case("softmax", "logsumexp and one", lambda x: softplus(logsumexp(x)), ["x"], vector([
    "log(1 + sum(exp(x)))", "log(sum(exp(x)) + 1)", "log1p(sum(exp(x)))", "log(sum(exp(x)) + exp(0))",
]), ALL, floor=1)

case("softmax", "logsumexp and exp", lambda x, y: logsumexp(x + [y]), ["x", "y"], scalar([
    "log(sum(exp(x)) + exp(y))", "log(exp(y) + sum(exp(x)))", "log(2 * sum(exp(x)) + 2 * exp(y)) - log(2)",
], signature="(x: [C], y: [])"), [[r, y] for r in ROWS + ODD[:3] for y in [0.0, 800.0, -800.0, "-inf"]], rules=["log_of_exp"], floor=1)

PAIRS = pairs([0.0, 1.0, -3.5, 40.0, 800.0, -800.0, "inf", "-inf", "nan"], [0.0, 0.5, -40.0, 800.0, -801.0, "-inf"])
case("softmax", "logaddexp", lambda a, b: logsumexp([a, b]), ["a", "b"], scalar([
    "log(exp(a) + exp(b))", "log(exp(b) + exp(a))", "log(2 * (exp(a) + exp(b)) / 2)", "log(3 * exp(a) + 3 * exp(b)) - log(3)",
    "log(u + v)\n  where\n    u = exp(a)\n    v = exp(b)", "-log(1 / (exp(a) + exp(b)))", "log(exp(b) + 1 / exp(-a))",
], signature="(a: [], b: [])"), PAIRS, rules=["log_of_exp"])

case("softmax", "logaddexp of three, scaled", lambda a, b: log(2 * exp(a) + exp(b) / 4 + exp(2 * a)), ["a", "b"], scalar([
    "log(2 * exp(a) + exp(b) / 4 + exp(2 * a))", "log(exp(2 * a) + 0.25 * exp(b) + exp(a) * 2)",
], signature="(a: [], b: [])"), PAIRS, rules=["log_of_exp"], floor=1)

case("softmax", "exp plus constant", lambda x: log(exp(x) + mpf("0.125")), ["x"], scalar([
    "log(exp(x) + 0.125)", "log(0.125 + exp(x))",
]) + ["loss t(x: []; eps = 0.125 in [0, inf)) = log(eps + exp(x))"], X, rules=["log_of_exp"])
case("softmax", "exp plus nothing", lambda x: x, ["x"], [
    "loss t(x: []; eps = 0.0 in [0, inf)) = log(eps + exp(x))",
], [[x] for x in NORMAL + LARGE + ["inf", "-inf"]], rules=["log_of_exp"])

case("softmax", "log of a difference", lambda a, b: log(exp(a) - exp(b)), ["a", "b"], scalar([
    "log(exp(a) - exp(b))", "log(-exp(b) + exp(a))",
], signature="(a: [], b: [])"), [[1.0, 0.5], [3.0, -2.0], [800.0, 799.0], [-800.0, -801.0], [0.0, 1.0], [5.0, "-inf"], [700.0, -700.0]],
    rules=["log_of_exp"], floor=1)

case("softmax", "exp and another term", lambda x, y: log(exp(x) + y), ["x", "y"], scalar([
    "log(exp(x) + y)", "log(y + exp(x))",
], signature="(x: [], y: [])"), pairs([0.0, 1.0, -3.0, 800.0, -800.0, 300.0, "inf"], [0.0, 2.0, 1e-10, 1e300, -0.5]), rules=["log_of_exp"], floor=1)

weighted = lambda x, w: log(mpmath.fsum(exp(a) * b if b != 0 or not mpmath.isfinite(a) else mpf(0) for a, b in zip(x, w)))
WEIGHTS = [[1.0, 1.0, 1.0], [0.5, 2.0, 0.25], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1e-300, 1.0, 1.0], [3.0, -0.25, 0.5], [1.0, 0.0, 2.0]]
WPOINTS = [[r, w] for r in ROWS[:8] + [[700.0, -100.0, -50.0], [-400.0, -300.0, 400.0]] for w in WEIGHTS]
case("softmax", "weighted logsumexp", weighted, ["x", "w"], scalar([
    "log(sum(w * exp(x)))", "log(sum(exp(x) * w))", "log(sum[C](2 * w * exp(x))) - log(2)",
    "log(s)\n  where s = sum(w * exp(x))", "log(sum(w / exp(-x)))", "log(mean(w * exp(x)) * size(C))",
    "log(sum(w * e))\n  where e[C] = exp(x)",
], signature="(x: [C] | w: [C])"), WPOINTS, given=["w"], rules=["log_of_exp"], tolerance=2e-12, floor=1)
case("softmax", "weighted logsumexp, differentiable weights", weighted, ["x", "w"], scalar([
    "log(sum(w * exp(x)))",
], signature="(x: [C], w: [C])"), [[r, w] for r in ROWS[:4] for w in WEIGHTS[:5]], rules=["log_of_exp"], tolerance=2e-12, floor=1)

case("softmax", "log of a weight and exp", lambda x, w: log(w) + x, ["x", "w"], scalar([
    "log(w * exp(x))", "log(exp(x) * w)", "log(exp(x) / (1 / w))", "log(w / exp(-x))",
], signature="(x: [], w: [])"), pairs([0.0, 1.0, 800.0, -800.0], [0.5, 2.0, 1e-10]), floor=1)
case("softmax", "log of a negative weight", lambda x, w: -INF, ["x", "w"], scalar([
    "log(w * exp(x))", "log(exp(x) * w)",
], signature="(x: [], w: [])"), [["-inf", -2.0], ["-inf", 2.0]], rules=["log_of_exp"])

soft = lambda x: [e - logsumexp(x) for e in x]
GATHER = [[r, k] for r in ROWS for k in (0, 2)] + [[["-inf", 0.0, 1.0], 1], [["-inf", 0.0, 1.0], 0], [["-inf", 800.0, -800.0], 2]]
gather = lambda e: scalar(e, signature="(x: [C] | k: int[])")
case("softmax", "log_softmax, gathered", lambda x, k: soft(x)[int(k)], ["x", "k"], gather([
    "log(exp(x[k]) / sum(exp(x)))", "log(p[k])\n  where p[C] = exp(x) / sum(exp(x))", "log(p[k])\n  where p[C] = softmax[C](x)",
    "sum[C if C == k](log(softmax[C](x)))", "l[k]\n  where l[C] = log(softmax[C](x))",
    "log(e[k] / sum(e))\n  where e[C] = exp(x)", "log(e[k] / z)\n  where\n    e[C] = exp(x)\n    z = sum(e)",
    "-log(sum(exp(x)) / exp(x[k]))", "x[k] - log(sum(exp(x)))", "log(exp(x[k])) - log(sum(exp(x)))",
    "log(p[k])\n  where\n    m = max(x)\n    e[C] = exp(x - m)\n    p[C] = e / sum(e)",
]), GATHER[:-3] + GATHER[-3:], given=["k"], floor=1)
case("softmax", "log_softmax of rows", lambda x, k: mpmath.fsum(-soft(r)[int(j)] for r, j in zip(x, k)) / 2, ["x", "k"], scalar([
    "mean[N](-log(exp(x[N, k]) / sum[C](exp(x))))", "-mean[N](log(p[N, k]))\n  where p[N, C] = exp(x) / sum[C](exp(x))",
    "mean[N](-log(p[N, k]))\n  where p[N, C] = softmax[C](x)", "-mean[N](sum[C if C == k](log(p)))\n  where p[N, C] = softmax[C](x)",
    "mean[N](-log(sum[C if C == k](p)))\n  where p[N, C] = exp(x) / sum[C](exp(x))",
    "mean(l)\n  where\n    z[N] = sum[C](exp(x))\n    l[N] = -log(exp(x[N, k]) / z)",
], signature="(x: [N, C] | k: int[N])"), [[[a, b], [0, 2]] for a, b in zip(ROWS, ROWS[1:])], given=["k"], floor=1)

case("softmax", "cross entropy with soft targets", lambda x, q: -mpmath.fsum(a * b for a, b in zip(q, soft(x))), ["x", "q"], scalar([
    "-sum(q * log(exp(x) / sum(exp(x))))", "-sum(q * log(softmax[C](x)))", "-sum(log(p) * q)\n  where p[C] = exp(x) / sum(exp(x))",
    "-sum(xlogy(q, softmax[C](x)))",
], signature="(x: [C] | q: [C])"), [[r, q] for r in ROWS for q in ([1.0, 0.0, 0.0], [0.25, 0.5, 0.25])], given=["q"], floor=1)
case("softmax", "cross entropy with one-hot targets", lambda x, q: -log(mpmath.fsum(a * exp(b) for a, b in zip(q, soft(x)))), ["x", "q"], scalar([
    "-log(sum(q * softmax[C](x)))", "-log(sum(q * exp(x)) / sum(exp(x)))", "-log(sum(p * q))\n  where p[C] = exp(x) / sum(exp(x))",
], signature="(x: [C] | q: [C])"), [[r, q] for r in ROWS for q in ([1.0, 0.0, 0.0], [0.25, 0.5, 0.25])], given=["q"], tolerance=2e-12, floor=1)

case("softmax", "softmax", lambda x, k: exp(soft(x)[int(k)]), ["x", "k"], gather([
    "exp(x[k]) / sum(exp(x))", "p[k]\n  where p[C] = exp(x) / sum(exp(x))", "sum[C if C == k](exp(x) / sum(exp(x)))",
    "1 / sum(exp(x)) * exp(x[k])", "e[k] / sum(e)\n  where e[C] = exp(x)", "exp(-log(sum(exp(x)) / exp(x[k])))",
]), GATHER, given=["k"], tolerance=2e-12, grad_floor=1)
masked = lambda x, w, k: w[int(k)] * exp(x[int(k)] - weighted(x, w)) if w[int(k)] != 0 else mpf(0)
case("softmax", "masked softmax", masked, ["x", "w", "k"], scalar([
    "w[k] * exp(x[k]) / sum(w * exp(x))", "p[k]\n  where p[C] = w * exp(x) / sum[C](w * exp(x))",
], signature="(x: [C] | w: [C], k: int[])"), [[r, w, k] for r in ROWS[:7] + [[700.0, -100.0, -50.0], [-400.0, -300.0, 400.0]]
    for w in ([1.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 1.0]) for k in (0, 2)], given=["w", "k"], tolerance=2e-12, grad_floor=1)
case("softmax", "expectation under a softmax", lambda x, v: mpmath.fsum(exp(s) * b for s, b in zip(soft(x), v)), ["x", "v"], scalar([
    "sum(v * exp(x)) / sum(exp(x))", "sum(exp(x) * v / sum(exp(x)))", "sum(p * v)\n  where p[C] = exp(x) / sum(exp(x))",
    "a / b\n  where\n    a = sum(exp(x) * v)\n    b = sum(exp(x))",
], signature="(x: [C], v: [C])"),
    [[r, v] for r in ROWS[:8] for v in ([1.0, 2.0, 3.0], [-1.0, 0.5, 0.0], [0.0, 0.0, 0.0])], tolerance=2e-12, floor=1)
case("softmax", "masked softmax by guard", lambda x, w: mpmath.fsum(a * exp(b - logsumexp(x[1:])) for a, b in zip(w, x) if a != 0), ["x", "w"], scalar([
    "sum(w * exp(x) / sum[C if C >= 1](exp(x)))", "sum(p * w)\n  where p[C] = if w != 0 then exp(x) / sum[C if C >= 1](exp(x)) else 0",
], signature="(x: [C] | w: [C])"), [[r, w] for r in ROWS[:8] + [[400.0, -400.0, -401.0]] for w in ([0.0, 1.0, 2.0], [0.0, 0.0, 1.0])], given=["w"], tolerance=2e-12, grad_floor=1)
case("softmax", "softmax of two", lambda a, b: sigmoid(a - b), ["a", "b"], scalar([
    "exp(a) / (exp(a) + exp(b))", "1 / (1 + exp(b - a))", "1 - exp(b) / (exp(b) + exp(a))",
], signature="(a: [], b: [])"), pairs([0.0, 1.0, 800.0, -800.0], [0.0, 0.5, 801.0, -801.0, "-inf"]), tolerance=2e-12)
case("softmax", "exp quotient", lambda a, b: exp(a - b), ["a", "b"], scalar([
    "exp(a) / exp(b)", "exp(a) * exp(-b)", "1 / (exp(b) / exp(a))", "exp(-b) / exp(-a)",
], signature="(a: [], b: [])"), pairs([0.0, 1.0, 800.0, -800.0], [0.5, 801.0, -801.0]))
case("softmax", "info_nce", lambda s, k: -soft([e / mpf("0.5") for e in s])[int(k)], ["s", "k"], [
    "loss t(s: [M] | k: int[]; t = 0.5 in (0, inf)) = -log(exp(s[k] / t) / sum(exp(s / t)))",
    "loss t(s: [M] | k: int[]; t = 0.5 in (0, inf)) = -log(exp(s[k] / t) / (exp(s[k] / t) + sum[M if M != k](exp(s / t))))",
    "loss t(s: [M] | k: int[]; t = 0.5 in (0, inf)) = -log(e[k] / sum(e))\n  where e[M] = exp(s / t)",
], [[r, k] for r in ROWS for k in (0, 2)], given=["k"], tolerance=5e-12, floor=1)
case("softmax", "kl of softmaxes", lambda a, b: mpmath.fsum(exp(u) * (u - v) for u, v in zip(soft(a), soft(b))), ["a", "b"], scalar([
    "sum(p * log(p / q))\n  where\n    p[C] = softmax[C](a)\n    q[C] = softmax[C](b)",
    "sum(p * (log(p) - log(q)))\n  where\n    p[C] = exp(a) / sum(exp(a))\n    q[C] = exp(b) / sum(exp(b))",
], signature="(a: [C], b: [C])"), [[a, b] for a in ROWS[:8] for b in (ROWS[1], ROWS[3], ROWS[6])], tolerance=1e-11, floor=1)
case("softmax", "exp of log", lambda x: abs(x), ["x"], scalar([
    "exp(log(abs(x)))", "exp(log(x^2) / 2)",
]), [[x] for x in [0.5, 3.0, 1e-300, 1e300]])

# ---------------------------------------------------------------- products and entropy

P = [0.0, 1e-300, 0.25, 0.5, 1.0]
inside = lambda *names: (lambda p: all(p[n] != 0 for n in names))
case("entropy", "x log x", lambda x: xlogx(x), ["x"], scalar([
    "x * log(x)", "log(x) * x", "2 * x * log(x) / 2", "x * l\n  where l = log(x)", "-x * log(x) * -1",
]), [[x] for x in P + [3.0, "inf", "nan"]], rules=["x_log_y"], kinks=inside("x"))
case("entropy", "x log2 x", lambda x: xlogx(x) / log(2), ["x"], scalar(["x * log2(x)", "log2(x) * x"]), [[x] for x in P], rules=["x_log_y"], kinks=inside("x"))
case("entropy", "p log(p / q)", lambda p, q: mpf(0) if p == 0 else p * log(p / q), ["p", "q"], scalar([
    "p * log(p / q)", "log(p / q) * p", "2 * p * log(p / q) / 2", "p * r\n  where r = log(p / q)",
], signature="(p: [], q: [])"), pairs(P, P[1:]) + [[0.0, 0.0], [0.0, "inf"]], rules=["x_log_y"], kinks=inside("p", "q"))
case("entropy", "p (log p - log q)", lambda p, q: mpf(0) if p == 0 else p * log(p / q), ["p", "q"], scalar([
    "p * (log(p) - log(q))", "(log(p) - log(q)) * p", "-(log(q) - log(p)) * p",
], signature="(p: [], q: [])"), pairs(P, P[1:]) + [[0.0, 0.0]], rules=["p_log_p_less_log_q"], kinks=inside("p", "q"))
case("entropy", "y log q", lambda q, y: xlogy(y, q), ["q", "y"], scalar([
    "y * log(q)", "log(q) * y",
], signature="(q: [] | y: [])"), pairs([0.0, 0.25, 1.0, 3.0, "inf"], [0.0, 0.5, 1.0]), given=["y"], rules=["x_log_y"])
case("entropy", "bernoulli with probabilities", lambda p, y: -(xlogy(y, p) + xlogy(1 - y, 1 - p)), ["p", "y"], scalar([
    "-(y * log(p) + (1 - y) * log(1 - p))", "-y * log(p) - (1 - y) * log(1 - p)", "-(y * log(p) + (1 - y) * log1p(-p))",
], signature="(p: [] | y: [])"), pairs([0.0, 1e-20, 0.25, 0.5, 1.0], [0.0, 0.5, 1.0]), given=["y"], floor=1)
case("entropy", "entropy of a softmax", lambda x: mpmath.fsum(-exp(s) * s if s != -INF else mpf(0) for s in soft(x)), ["x"], vector([
    "-sum(p * log(p))\n  where p[C] = softmax[C](x)", "-sum(p * log(p))\n  where p[C] = exp(x) / sum(exp(x))",
    "-sum(xlogy(p, p))\n  where p[C] = softmax[C](x)", "-sum(exp(x) / sum(exp(x)) * log(exp(x) / sum(exp(x))))",
]), [[r] for r in ROWS + [["-inf", 0.0, 1.0], ["-inf", 800.0, -800.0]]], tolerance=1e-11, floor=1)
case("entropy", "entropy of a sigmoid", lambda x: sigmoid(x) * softplus(-x) + sigmoid(-x) * softplus(x) if mpmath.isfinite(x) else mpf(0), ["x"], scalar([
    "-(p * log(p) + (1 - p) * log(1 - p))\n  where p = sigmoid(x)",
]), [[x] for x in NORMAL + [40.0, -40.0, "inf", "-inf"]], tolerance=1e-11, floor=1)

PRODUCT = pairs([2.0, 1e-200, 1e200], [3.0, 1e-200, 1e200])
case("products", "log of squares", lambda a, b: log(a * a * b * b), ["a", "b"], scalar([
    "log(a^2 * b^2)", "log(a * a * b^2)", "2 * log(abs(a * b))", "log((a * b)^2)", "log(a^2) + log(b^2)", "log(abs(a)^2 * abs(b)^2)",
], signature="(a: [], b: [])"), PRODUCT + pairs([-2.0, -1e200], [-3.0, 1e-200, -1e200]), floor=1)
case("products", "log of a constant and a square", lambda a: log(2 * mp.pi * a * a), ["a"], scalar([
    "log(2 * pi * a^2)", "2 * log(sqrt(2 * pi * a^2))", "log(2 * pi * v)\n  where v = a^2",
], signature="(a: [])"), [[x] for x in [1.0, -2.0, 1e-200, 1e200, "inf"]], tolerance=1e-12)
case("products", "log of a power", lambda a: 3 * log(a), ["a"], scalar([
    "log(a^3)", "1.5 * log(a^2)", "6 * log(sqrt(a))",
], signature="(a: [])"), [[x] for x in [1.0, 2.0, 1e-150, 1e150, 0.0, "inf"]])
case("products", "log of prod", lambda x: mpmath.fsum(log(abs(e)) for e in x), ["x"], vector([
    "log(prod(abs(x)))", "log(p)\n  where p = prod(abs(x))", "0.5 * log(prod(x^2))", "log(prod[C](abs(x)))",
]), [[r] for r in [[1.0, 2.0, 3.0], [1e-200, 1e-200, 2.0], [1e200, -1e200, 1e200], [-1.0, -2.0, 4.0]]])
case("products", "log of prod of exp", lambda x: mpmath.fsum(x), ["x"], vector(["log(prod(exp(x)))"]), [[r] for r in ROWS])
case("products", "gaussian density", lambda x, s: -x * x / (2 * s * s) - log(s) - log(2 * mp.pi) / 2, ["x", "s"], scalar([
    "log(exp(-x^2 / (2 * s^2)) / sqrt(2 * pi * s^2))", "log(1 / (s * sqrt(2 * pi)) * exp(-0.5 * (x / s)^2))",
    "log(d)\n  where d = exp(-0.5 * (x / s)^2) / (s * sqrt(2 * pi))",
], signature="(x: [], s: [])"), pairs([0.0, 1.0, -50.0, 100.0], [1.0, 0.5, 3.0]))
case("products", "mixture of gaussians", lambda x: log(exp(-(x - 1) ** 2 / 2) * mpf("0.25") + exp(-(x + 1) ** 2 / 2) * mpf("0.75")), ["x"], scalar([
    "log(0.25 * exp(-(x - 1)^2 / 2) + 0.75 * exp(-(x + 1)^2 / 2))",
]), [[x] for x in [0.0, 1.0, 40.0, -40.0, 100.0]])

# ---------------------------------------------------------------- norms and moments

norm = lambda x: sqrt(mpmath.fsum(e * e for e in x))
VECTORS = [[3.0, 4.0, 0.0], [1.0, -2.0, 2.0], [1e-200, 0.0, 0.0], [3e200, 4e200, 0.0], [-1e-180, 2e-180, 2e-180], [1e300, 1.0, 1e-300]]
case("norms", "norm", norm, ["x"], vector([
    "sqrt(sum(x^2))", "sqrt(sum[C](x * x))", "(sum(x^2))^0.5", "sqrt(s)\n  where s = sum(x^2)", "sqrt(4 * sum(x^2)) / 2",
    "sqrt(sum[C](4 * x^2)) / 2", "sqrt(sum(abs(x)^2))", "sqrt(sum[C]((2 * x)^2) / 4)", "sqrt(sum(d))\n  where d[C] = x^2",
    "sqrt(sum[C if C >= 0](x^2))",
]) + ["def length(v: [K]) = sqrt(sum[K](v^2))\nloss t(x: [C]) = length(x)"],
    [[v] for v in VECTORS] + [[["inf", 1.0, 0.0]], [["nan", 1.0, 0.0]]], rules=["root_of_squares"])
case("norms", "norm at zero", lambda x: mpf(0), ["x"], vector([
    "sqrt(sum(x^2))", "sqrt(sum(x * x))", "sqrt(mean(x^2))", "(sum(x^2))^0.5",
]), [[[0.0, 0.0, 0.0]]], rules=["root_of_squares"])
case("norms", "norm of nothing", lambda x: mpf(0), ["x"], vector(["sqrt(sum[C if C >= 5](x^2))"]), [[[1.0, 2.0, 3.0]]], rules=["root_of_squares"])
case("norms", "rmse", lambda x: norm(x) / sqrt(mpf(len(x))), ["x"], vector([
    "sqrt(mean(x^2))", "sqrt(sum(x^2) / size(C))", "sqrt(m)\n  where m = mean(x * x)", "(mean(x^2))^0.5", "sqrt(mean[C](4 * x^2)) / 2",
]), [[v] for v in VECTORS], rules=["root_of_squares"])
case("norms", "rmse of a guard", lambda x: norm(x[1:]) / sqrt(mpf(2)), ["x"], vector([
    "sqrt(mean[C if C >= 1](x^2))", "sqrt(sum[C if C >= 1](x^2) / count[C](C >= 1))",
]), [[v] for v in ([3.0, 4.0, 1.0], [0.0, 3e200, 4e200], [7.0, 1e-200, 1e-200])])
case("norms", "distance", lambda x, y: norm([a - b for a, b in zip(x, y)]), ["x", "y"], scalar([
    "sqrt(sum((x - y)^2))", "sqrt(sum(d^2))\n  where d[C] = x - y", "sqrt(sum((y - x) * (y - x)))",
], signature="(x: [C], y: [C])"), [[[1.0, 2.0, 3.0], [4.0, 6.0, 3.0]], [[1e200, 0.0, 0.0], [0.0, 1e200, 0.0]]])
case("norms", "norm of rows and columns", lambda x: norm(flat(x)), ["x"], scalar([
    "sqrt(sum[N, C](x^2))", "sqrt(sum[N](sum[C](x^2)))", "sqrt(sum[N](r))\n  where r[N] = sum[C](x^2)",
], signature="(x: [N, C])"), [[[[3.0, 4.0], [0.0, 12.0]]], [[[3e200, 4e200], [0.0, 0.0]]]])
case("norms", "root of square", lambda x: abs(x), ["x"], scalar([
    "sqrt(x^2)", "sqrt(x * x)", "(x^2)^0.5", "sqrt(4 * x^2) / 2", "sqrt(abs(x)^2)", "sqrt((2 * x)^2) / 2",
]), [[x] for x in [1.0, -2.0, 1e-200, -1e200, "inf", "-inf", "nan"]], rules=["root_of_square"])
case("norms", "hypot", lambda a, b: sqrt(a * a + b * b), ["a", "b"], scalar([
    "sqrt(a^2 + b^2)", "sqrt(b * b + a^2)", "(a^2 + b^2)^0.5", "sqrt(s)\n  where s = a^2 + b^2",
], signature="(a: [], b: [])"), pairs([3.0, -1.0, 1e-200, 3e200], [4.0, 1e-200, -4e200]) + [["inf", 1.0], ["nan", 1.0], [1.0, "-inf"]],
    rules=["root_of_two_squares"])
case("norms", "hypot at zero", lambda a, b: mpf(0), ["a", "b"], scalar(["sqrt(a^2 + b^2)"], signature="(a: [], b: [])"), [[0.0, 0.0]])

mean = lambda x: mpmath.fsum(x) / len(x)
var = lambda x: mean([(e - mean(x)) ** 2 for e in x])
SAMPLES = [[1.0, 2.0, 4.0], [0.0, 0.0, 0.0], [-3.0, 5.0, 0.25], [1e8, 1e8 + 1, 1e8 + 2], [1e15, 1e15 + 1, 1e15 + 2], [-1e10, -1e10, 1.0 - 1e10]]
case("moments", "variance", var, ["x"], vector([
    "mean(x^2) - mean(x)^2", "mean(x * x) - mean(x) * mean(x)", "-(mean(x)^2 - mean(x^2))", "sum(x^2) / size(C) - (sum(x) / size(C))^2",
    "s - m^2\n  where\n    s = mean(x^2)\n    m = mean(x)", "(sum(x^2) - sum(x)^2 / size(C)) / size(C)",
    "(sum(x^2) - size(C) * mean(x)^2) / size(C)", "(2 * mean(x^2) - 2 * mean(x)^2) / 2", "mean[C if C >= 0](x^2) - mean[C if C >= 0](x)^2",
    "sum(x^2) / size(C) - sum(x)^2 / size(C)^2",
]), [[v] for v in SAMPLES], rules=["mean_of_square_less_square_of_mean"], tolerance=1e-11)
case("moments", "variance of a guard", lambda x: var(x[1:]), ["x"], vector([
    "mean[C if C >= 1](x^2) - mean[C if C >= 1](x)^2",
    "sum[C if C >= 1](x^2) / count[C](C >= 1) - (sum[C if C >= 1](x) / count[C](C >= 1))^2",
]), [[v] for v in SAMPLES], rules=["mean_of_square_less_square_of_mean"], tolerance=1e-11)
case("moments", "covariance", lambda x, y: mean([a * b for a, b in zip(x, y)]) - mean(x) * mean(y), ["x", "y"], scalar([
    "mean(x * y) - mean(x) * mean(y)", "mean(y * x) - mean(y) * mean(x)", "mean[C](x * y) - a * b\n  where\n    a = mean(x)\n    b = mean(y)",
], signature="(x: [C], y: [C])"), [[a, b] for a in SAMPLES for b in SAMPLES[:4]], rules=["mean_of_square_less_square_of_mean"], tolerance=1e-11)
case("moments", "variance of rows", lambda x: mpmath.fsum(var(r) for r in x), ["x"], scalar([
    "sum[N](mean[C](x^2) - mean[C](x)^2)", "sum[N](v)\n  where v[N] = mean[C](x^2) - mean[C](x)^2",
], signature="(x: [N, C])"), [[[a, b]] for a, b in zip(SAMPLES, SAMPLES[1:])])
case("moments", "standard deviation", lambda x: sqrt(var(x)), ["x"], vector([
    "sqrt(mean(x^2) - mean(x)^2)",
]), [[v] for v in SAMPLES if len(set(v)) > 1], tolerance=1e-11)


def main():
    os.makedirs(OUT, exist_ok=True)
    only = sys.argv[1:]
    for file, cases in CASES.items():
        if only and file not in only:
            continue
        with open(os.path.join(OUT, file + ".json"), "w") as out:
            out.write("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
        print(file, len(cases), "cases,", sum(len(c["points"]) for c in cases), "points")


if __name__ == "__main__":
    main()
