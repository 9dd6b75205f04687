"""The vocabulary of the reference cases.

A loss is a function of torch tensors, registered under its name; its cases follow it:

    @loss("huber", "torch.nn.functional.huber_loss", wrt=["yhat"])
    def huber(yhat, y, delta=1.0):
        return F.huber_loss(yhat, y, delta=delta)

    huber.case("typical", lambda r: dict(yhat=r.normal(7), y=r.normal(7)), delta=0.75)

The gradient is autograd's. Where it is not the one that losscc promises, the case states the right one
(`grad=...`, with a `note`) or leaves it out (`grad=None`).
"""

import json
import math
import zlib

import jax
import torch

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
jax.config.update("jax_enable_x64", True)

LOSSES = {}
NAN = math.nan
INF = math.inf


class Random:
    """Random inputs of one case. Every number is exactly representable in f32."""

    def __init__(self, seed):
        self.generator = torch.Generator().manual_seed(seed)

    def normal(self, *shape, scale=1.0):
        return to_f32(torch.randn(shape, generator=self.generator) * scale)

    def uniform(self, *shape, low=0.0, high=1.0):
        return to_f32(low + (high - low) * torch.rand(shape, generator=self.generator))

    def grid(self, *shape, size=4.0):
        """Multiples of 1/64 between -size and size: short to write, and with exact ties."""
        steps = int(size * 64)
        return torch.randint(-steps, steps + 1, shape, generator=self.generator) / 64

    def integers(self, high, *shape, low=0):
        return torch.randint(low, high, shape, generator=self.generator)

    def bits(self, *shape):
        return self.integers(2, *shape).to(torch.float64)

    def signs(self, *shape):
        return 2 * self.bits(*shape) - 1

    def mask(self, *shape):
        return self.integers(2, *shape).bool()

    def distribution(self, *shape):
        return to_f32(torch.softmax(self.normal(*shape), -1))

    def log_distribution(self, *shape):
        return to_f32(torch.log_softmax(self.normal(*shape), -1))

    def boxes(self, count):
        """Boxes (x1, y1, x2, y2) of positive size, most of which overlap."""
        corner = self.uniform(count, 2, high=2.0)
        return to_f32(torch.cat([corner, corner + self.uniform(count, 2, low=0.5, high=2.5)], 1))


def to_f32(x):
    return x.to(torch.float32).to(torch.float64)


class Loss:
    def __init__(self, name, source, wrt, function, peer):
        self.name, self.source, self.wrt, self.function, self.peer = name, source, wrt, function, peer
        self.cases = []

    def __call__(self, *args, **kwargs):
        return self.function(*args, **kwargs)

    def case(
        self, name, inputs, *, value="reference", grad="reference", hessian=(), f32=True, note=None, peer=True, **hyper
    ):
        """Adds a case. `inputs` are tensors, lists or numbers by name, or a function from `Random` to them.

        value, grad: what is expected, if not what the reference computes; `grad` maps inputs to gradients, or is
            None if no gradient can be promised. hessian: inputs whose Hessian's diagonal is written.
        f32: whether an f32 kernel is to reach 1e-5. note: why something is stated or left out.
        peer: whether the independent peer can compute this case.
        """
        if callable(inputs):
            inputs = inputs(Random(zlib.crc32(f"{self.name}/{name}".encode())))
        inputs = {key: torch.as_tensor(x) for key, x in inputs.items()}
        if any(
            x.is_floating_point() and not torch.equal(x.nan_to_num(), to_f32(x).nan_to_num()) for x in inputs.values()
        ):
            inputs = {key: to_f32(x) if x.is_floating_point() else x for key, x in inputs.items()}
        case = {"name": name, "inputs": {key: x.tolist() for key, x in inputs.items()}}
        if hyper:
            case["set"] = hyper
        if not f32:
            case["f32"] = False
        if note:
            case["why"] = note
        got_value, got_grad = self.value_and_grad(inputs, hyper)
        if self.peer and peer:
            self.compare(name, self.peer(**inputs, **hyper), got_value, got_grad)
        case["value"] = got_value if value == "reference" else float(value)
        if grad == "reference":
            grad = got_grad
            if any(math.isnan(x) for g in grad.values() for x in flat(g)) and not math.isnan(case["value"]):
                raise ValueError(f"{self.name}/{name}: the reference's gradient is NaN")
        if grad is not None:
            case["grad"] = {key: digits(torch.as_tensor(g).tolist()) for key, g in grad.items()}
        if hessian:
            case["hessian_diag"] = {key: digits(self.hessian_diag(inputs, hyper, key)) for key in hessian}
        self.cases.append(case)

    def value_and_grad(self, inputs, hyper):
        leaves = {key: x.clone().requires_grad_(key in self.wrt) for key, x in inputs.items()}
        value = self.function(**leaves, **hyper)
        xs = [leaves[key] for key in self.wrt]
        grads = torch.autograd.grad(value, xs, allow_unused=True) if value.requires_grad else [None] * len(xs)
        grads = [torch.zeros_like(x) if g is None else g for x, g in zip(xs, grads)]
        return value.item(), {key: g.tolist() for key, g in zip(self.wrt, grads)}

    def hessian_diag(self, inputs, hyper, key):
        x = inputs[key]
        at = lambda flat_x: self.function(**{**inputs, key: flat_x.view(x.shape)}, **hyper)
        return torch.autograd.functional.hessian(at, x.reshape(-1)).diagonal().view(x.shape).tolist()

    def compare(self, name, expected, value, grad):
        """Checks the reference against an independent one: a value, or a value and gradients by input."""
        want_value, want_grad = expected if isinstance(expected, tuple) else (expected, {})
        pairs = [(float(want_value), value)]
        for key, want in want_grad.items():
            pairs += zip(flat(torch.as_tensor(want).tolist()), flat(grad[key]), strict=True)
        for want, got in pairs:
            if not (want == got or abs(want - got) <= 1e-9 * max(1, abs(want)) or math.isnan(want) and math.isnan(got)):
                raise ValueError(f"{self.name}/{name}: the peers disagree: {want} and {got}")

    def to_json(self):
        lines = ["{", f'  "loss": {json.dumps(self.name)},', f'  "source": {json.dumps(self.source)},', '  "cases": [']
        for position, case in enumerate(self.cases):
            fields = [f"      {json.dumps(key)}: {encode(x)}" for key, x in case.items()]
            comma = "," if position + 1 < len(self.cases) else ""
            lines += ["    {", ",\n".join(fields), "    }" + comma]
        return "\n".join(lines + ["  ]", "}", ""])


def loss(name, source, wrt, peer=None):
    """Registers the function below it as the reference of a loss. `peer` is an independent second opinion."""

    def register(function):
        LOSSES[name] = Loss(name, source, wrt, function, peer)
        return LOSSES[name]

    return register


def autograd(function, wrt):
    """A peer: the value and gradients of a library's function."""

    def peer(**inputs):
        leaves = {
            key: x.clone().requires_grad_(key in wrt) if isinstance(x, torch.Tensor) else x for key, x in inputs.items()
        }
        value = function(**leaves)
        return value.item(), dict(zip(wrt, torch.autograd.grad(value, [leaves[key] for key in wrt])))

    return peer


def encode(x):
    """A field of a case; the tensors of `inputs` and `grad` on a line each."""
    if isinstance(x, dict) and any(isinstance(y, list) for y in x.values()):
        return "{\n" + ",\n".join(f"        {json.dumps(key)}: {dump(y)}" for key, y in x.items()) + "\n      }"
    return dump(x)


def dump(x):
    return json.dumps(plain(x), allow_nan=False)


def plain(x):
    if isinstance(x, list):
        return [plain(y) for y in x]
    if isinstance(x, dict):
        return {key: plain(y) for key, y in x.items()}
    if isinstance(x, float) and not math.isfinite(x):
        return "NaN" if math.isnan(x) else "Infinity" if x > 0 else "-Infinity"
    return x


def digits(x):
    """Gradients to 13 digits: far below every tolerance, and half as long."""
    if isinstance(x, list):
        return [digits(y) for y in x]
    return float(f"{x:.13g}") + 0.0


def flat(x):
    return [z for y in x for z in flat(y)] if isinstance(x, list) else [x]


def softplus(x):
    """log(1 + exp(x)) of any x; torch's own rounds to x above a threshold."""
    return torch.logaddexp(torch.zeros_like(x), x)


def ones(*shape):
    return torch.ones(shape)


def zeros(*shape):
    return torch.zeros(shape)
