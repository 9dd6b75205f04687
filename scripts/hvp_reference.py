"""Writes tests/hvp.json: products of Hessians with vectors, by torch.autograd.functional.hvp.

    pip install -r scripts/requirements.txt
    python scripts/hvp_reference.py

The inputs are those of the first case of each loss in tests/reference. A loss whose reference cannot be differentiated
twice is left out.
"""

import json
import sys
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

import torch  # noqa: E402
from peers import classification, generative, ranking, regression, segmentation, structured  # noqa: E402, F401
from peers.case import LOSSES, Random, digits, plain  # noqa: E402


def product(name, entry):
    case = entry.cases[0]
    inputs = {key: torch.as_tensor(x) for key, x in case["inputs"].items()}
    inputs = {key: x.double() if key in entry.wrt else x for key, x in inputs.items()}
    hyper = case.get("set", {})
    r = Random(zlib.crc32(f"hvp/{name}".encode()))
    vectors = [r.grid(*inputs[key].shape, size=2) for key in entry.wrt]

    def value(*xs):
        return entry.function(**{**inputs, **dict(zip(entry.wrt, xs))}, **hyper)

    _, products = torch.autograd.functional.hvp(value, tuple(inputs[k] for k in entry.wrt), tuple(vectors))
    if not all(torch.isfinite(p).all() for p in products):
        raise ValueError("not finite")
    return {
        "case": case["name"],
        "v": {key: v.tolist() for key, v in zip(entry.wrt, vectors)},
        "hvp": {key: digits(p.tolist()) for key, p in zip(entry.wrt, products)},
    }


def main():
    lines = []
    for name in sorted(LOSSES):
        try:
            found = product(name, LOSSES[name])
        except (RuntimeError, ValueError, TypeError, NotImplementedError) as e:
            print(f"{name}: left out, {str(e).splitlines()[0]}", file=sys.stderr)
            continue
        lines.append(f"  {json.dumps(name)}: {json.dumps(plain(found), allow_nan=False)}")
    (ROOT / "tests" / "hvp.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
