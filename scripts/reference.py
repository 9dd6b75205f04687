"""Writes tests/reference/<loss>.json and tests/inner/<loss>.json: values and gradients that losscc is compared with.

    pip install -r scripts/requirements.txt
    python scripts/reference.py [loss ...]

Everything is computed in f64 by the library that `source` names, or by the loss's definition in torch where no
library has it. Inputs are exactly representable in f32, so that one file serves both precisions. The tests
read the files only; they never run this script.

`peers/` holds one file for each family of losses, `peers/case.py` the vocabulary they are written in.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

from peers import classification, generative, inner, ranking, regression, segmentation, structured  # noqa: E402, F401
from peers.case import LOSSES  # noqa: E402

# Where the specs are, and where their references go.
FOLDERS = {"specs": "tests/reference", "tests/inner": "tests/inner"}
LARGEST_FILE = 60_000


def main(names):
    folders = {path.stem: ROOT / to for of, to in FOLDERS.items() for path in (ROOT / of).glob("*.loss")}
    if set(folders) != set(LOSSES):
        sys.exit(f"specs and references differ: {sorted(set(folders) ^ set(LOSSES))}")
    for name in names or sorted(LOSSES):
        text = LOSSES[name].to_json()
        if len(text) > LARGEST_FILE:
            sys.exit(f"{name}: {len(text)} bytes, more than {LARGEST_FILE}")
        folders[name].mkdir(parents=True, exist_ok=True)
        (folders[name] / f"{name}.json").write_text(text)


if __name__ == "__main__":
    main(sys.argv[1:])
