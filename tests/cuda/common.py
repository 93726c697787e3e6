"""What the tests of CUDA kernels share: running one on the emulator, in several orders."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minitorch_cnn.kernels import emulator

needs_emulator = pytest.mark.skipif(
    emulator.why_unavailable() is not None and not os.environ.get("CI"),
    reason=str(emulator.why_unavailable()),
)

CPP = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}


def emulate(file: str | Path, kernel: str, *args: Any, **settings: Any) -> None:
    """Run a kernel of arrays of one type: "float" or "double" is appended to its name."""
    dtype = next(a.dtype for a in args if isinstance(a, np.ndarray))
    emulator.run(file, f"{kernel}<{CPP[dtype]}>", args, **settings)


def nans(shape: tuple[int, ...], like: np.ndarray) -> np.ndarray:
    """An output: a number that the kernel leaves out stays NaN."""
    return np.full(shape, np.nan, like.dtype)


def assert_same_bits(results: list[Any]) -> None:
    """Of arrays, or of tuples of them."""
    wrapped = [r if isinstance(r, tuple) else (r,) for r in results]
    for other in wrapped[1:]:
        for a, b in zip(wrapped[0], other, strict=True):
            np.testing.assert_array_equal(a.view(np.uint8), b.view(np.uint8))


def mutated(file: str, old: str, new: str, folder: Path) -> Path:
    """A copy of kernels/``file``.cu and its headers, in one of which ``old`` is ``new``."""
    kernels, found = Path(emulator.__file__).parents[1], 0
    for source in [*kernels.glob("*.cuh"), kernels / f"{file}.cu"]:
        text = source.read_text(encoding="utf-8")
        found += text.count(old)
        (folder / source.name).write_text(text.replace(old, new), encoding="utf-8")
    assert found == 1
    return folder / f"{file}.cu"


ORDERS: list[dict[str, Any]] = [
    {"order": "forward"},
    {"order": "reverse"},
    {"order": "random", "seed": 1},
    {"order": "random", "seed": 2},
]
CHECKS = ["address", "undefined", "thread"]
