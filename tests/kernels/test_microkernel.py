"""The micro-kernel's LLVM code against its loops, for every vector width that a CPU may have."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from minitorch_cnn.kernels import microkernel
from minitorch_cnn.kernels.jit import numba

from .common import BACKENDS, interpreted


@pytest.mark.skipif("numba" not in BACKENDS or interpreted(), reason="about compiled code")
@pytest.mark.parametrize("vectors", [1, 3])
@pytest.mark.parametrize("width", [16, 32, 64])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_loops(dtype: Any, width: int, vectors: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(microkernel, "VECTOR_BYTES", width)
    intrinsic = numba.extending.intrinsic(microkernel._generator(vectors))

    @numba.njit
    def call(a: Any, rows: Any, step: int, b: Any, at: Any, to: Any) -> None:
        q, b_row, depth, t, to_row = at
        intrinsic(a, rows[0], rows[1], rows[2], rows[3], step, b, q, b_row, depth, to, t, to_row)

    rng = np.random.default_rng(0)
    n = vectors * width // np.dtype(dtype).itemsize
    for depth, step in [(1, 1), (7, 1), (20, 3)]:
        # Small whole numbers: sums are exact in any order. Odd offsets: nothing is aligned.
        a, b, to = (rng.integers(-9, 9, s).astype(dtype) for s in (400, 3 + depth * 61, 5 + 4 * 67))
        rows, at = (1, 90, 90, 333 - 3 * depth), (3, 61, depth, 5, 67)
        expected = to.copy()
        microkernel.outer_products(a, *rows, step, b, *at[:3], expected, *at[3:], n)
        call(a, rows, step, b, at, to)
        np.testing.assert_array_equal(to, expected)
        assert (to[5:] != 0).any()


def test_the_vector_is_one_that_llvm_knows() -> None:
    assert microkernel.VECTOR_BYTES in (16, 32, 64)
