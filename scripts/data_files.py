"""Makes tests/data/*.npy and *.npz with NumPy: what a reader of these files must understand."""

import pathlib

import numpy as np

out = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data"
out.mkdir(parents=True, exist_ok=True)
grid = np.arange(6, dtype=np.float64).reshape(2, 3) / 4

np.save(out / "c_order.npy", grid)
np.save(out / "fortran_order.npy", np.asfortranarray(grid))
np.save(out / "big_endian.npy", grid.astype(">f4"))
np.save(out / "cube_fortran.npy", np.asfortranarray(np.arange(24, dtype=np.int32).reshape(2, 3, 4)))
half = np.array([1, -0.0, 0.1, 65504, 6e-8, np.inf, np.nan], dtype="<f2")
np.save(out / "half.npy", half)
np.save(out / "half_big_endian.npy", half.astype(">f2"))
np.save(out / "int_big_endian.npy", np.array([-3, 2**40], dtype=">i8"))
np.save(out / "bool.npy", np.array([True, False, True]))
np.save(out / "scalar.npy", np.array(2.5))
np.save(out / "empty.npy", np.zeros((0, 3)))
np.save(out / "text.npy", np.array(["a", "bc"]))
np.save(out / "complex.npy", np.array([1 + 2j]))
np.savez(out / "plain.npz", yhat=grid, y=np.zeros((2, 3), dtype=np.float32))
np.savez_compressed(out / "compressed.npz", yhat=np.tile(grid, (40, 1)), target=np.arange(80, dtype=np.uint8))
np.savez(out / "mixed.npz", yhat=np.zeros(2), y=np.ones(2), names=np.array(["a", "b"]))
whole = (out / "c_order.npy").read_bytes()
(out / "truncated.npy").write_bytes(whole[:-9])
(out / "truncated_header.npy").write_bytes(whole[:40])
(out / "truncated.npz").write_bytes((out / "plain.npz").read_bytes()[:-60])
absurd = whole.replace(b"(2, 3), }", b"(99999999999, 99999999999), }").replace(b" " * 22 + b"\n", b"\n")
(out / "absurd.npy").write_bytes(absurd)
