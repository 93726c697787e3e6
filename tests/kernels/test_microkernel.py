"""The micro-kernel's LLVM code against its loops, for every vector width that a CPU may have."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from minitorch_cnn.kernels import microkernel
from minitorch_cnn.kernels.jit import numba

from .common import BACKENDS, interpreted


@pytest.mark.skipif("numba" not in BACKENDS or interpreted(), reason="about compiled code")
@pytest.mark.parametrize(("halves", "masked"), [(6, False), (3, False), (1, False), (2, True)])
@pytest.mark.parametrize(("width", "rows"), [(16, 4), (32, 4), (64, 8)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_loops(
    dtype: Any, width: int, rows: int, halves: int, masked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(microkernel, "VECTOR_BYTES", width)
    monkeypatch.setattr(microkernel, "HALF", width // 2)
    monkeypatch.setattr(microkernel, "ROWS", rows)
    intrinsic = numba.extending.intrinsic(microkernel._generator(halves, masked))

    @numba.njit
    def call(a: Any, places: Any, steps: Any, b: Any, at: Any, to: Any) -> None:
        a0, r, k0, depth, q, b_row, t, to_row, n, runs, gap, a_ahead, ahead = at
        intrinsic(
            a, a0, places, r, steps, k0, depth, b, q, b_row, to, t, to_row, n, runs, gap,
            a_ahead, ahead,
        )  # fmt: skip

    rng = np.random.default_rng(0)
    full = halves * width // 2 // np.dtype(dtype).itemsize
    n = full - 1 if masked else full
    for depth, runs, gap, ahead in (
        (1, 1, 0, 0), (7, 1, 5, -9), (20, 1, 0, 64), (1, 4, 2, 0), (5, 3, 1, 0), (4, 2, 0, 0),
        (8, 1, 0, 0), (9, 2, 7, 1 << 50),  # far beyond all memory: nothing is read there
    ):  # fmt: skip
        terms = runs * (depth + gap)
        # Small whole numbers: sums are exact in any order. Odd offsets: nothing is aligned.
        a, b = (rng.integers(-9, 9, s).astype(dtype) for s in (500, 3 + (terms - 1) * 61 + n))
        to = rng.integers(-9, 9, 5 + rows * 67).astype(dtype)
        places, steps = rng.integers(0, 150, rows + 2), rng.integers(0, 200, terms + 4)
        at = (7, 2, 4, depth, 3, 61, 5, 67, n, runs, gap, -ahead, ahead)
        expected = to.copy()
        microkernel.outer_products(
            a, 7, places, 2, steps, 4, depth, b, 3, 61, expected, 5, 67, n, runs, gap, 0, 0
        )
        call(a, places, steps, b, at, to)
        np.testing.assert_array_equal(to, expected)
        assert (to != 0).any()


def test_the_vector_is_one_that_llvm_knows() -> None:
    assert microkernel.VECTOR_BYTES in (16, 32, 64)
