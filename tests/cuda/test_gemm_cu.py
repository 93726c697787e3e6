"""The ladder of products in gemm.cu against NumPy, and on shapes that fill no tile."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minitorch_cnn.kernels import reference

from ..strategies import make_array
from .common import CHECKS, ORDERS, assert_same_bits, emulate, nans, needs_emulator

pytestmark = needs_emulator

LADDER = ["matmul_naive", "matmul_shared", "matmul_registers", "matmul_vectors", "matmul"]
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-13}
DTYPES = [np.float32, np.float64]

# (matrices of a, matrices, M, K, N): below, at and above a tile of 64 x 128 floats or 32 x 64
# doubles and its depth of 8; rows that are and are not whole vectors.
SHAPES = {
    "one": (1, 1, 1, 1, 1),
    "whole tiles": (1, 1, 64, 16, 128),
    "one more": (2, 2, 65, 17, 129),
    "one less": (1, 2, 63, 7, 127),
    "vectors": (2, 2, 36, 12, 132),
    "tall": (1, 1, 131, 9, 3),
    "nothing to add up": (1, 2, 5, 0, 7),
}


def product(kernel: str, a: np.ndarray, b: np.ndarray, **settings: Any) -> np.ndarray:
    c = nans((len(b), a.shape[1], b.shape[2]), a)
    emulate("gemm", kernel, a, b, c, **settings)
    return c


def matrices(shape: tuple[int, ...], dtype: Any, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    images, B, M, K, N = shape
    a = make_array((images, M, K), "normal", seed, dtype)
    return a, make_array((B, K, N), "normal", seed + 1, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("kernel", LADDER)
def test_numpy(kernel: str, name: str, dtype: Any) -> None:
    a, b = matrices(SHAPES[name], dtype)
    expected = a.astype(np.float64) @ b.astype(np.float64)
    tolerance = TOLERANCE[dtype]
    np.testing.assert_allclose(product(kernel, a, b), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kernel", LADDER)
@given(
    sizes=st.tuples(st.integers(0, 2), *[st.integers(1, 20)] * 3),
    shared=st.booleans(),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 99),
)
def test_three_loops(kernel: str, sizes: Any, shared: bool, dtype: Any, seed: int) -> None:
    a, b = matrices((1 if shared else sizes[0], *sizes), dtype, seed)
    if b.size:
        b.flat[seed % b.size] = [np.nan, np.inf][seed % 2]
    c = product(kernel, a, b, order="random", seed=seed)
    for i in range(len(c)):
        with np.errstate(invalid="ignore"):
            expected = reference.gemm.matmul(a[i % len(a)], b[i])
        np.testing.assert_allclose(c[i], expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("kernel", LADDER)
def test_same_bits_in_every_order(kernel: str) -> None:
    a, b = matrices(SHAPES["one more"], np.float32)
    assert_same_bits([product(kernel, a, b, **order) for order in ORDERS])


def test_all_steps_of_the_ladder_round_alike() -> None:
    """Each adds up in the order of k."""
    a, b = matrices((1, 2, 70, 40, 140), np.float32)
    assert_same_bits([product(kernel, a, b) for kernel in LADDER])


def test_rows_that_start_between_vectors() -> None:
    """An array may start at any number: 16 bytes at once only from where 16 divides the address."""
    a, b = matrices((1, 1, 66, 20, 136), np.float32)
    moved = []
    for array in (a, b):
        room = np.zeros(array.size + 4, array.dtype)
        start = (-room.ctypes.data // 4) % 4 + 1
        moved.append(room[start : start + array.size].reshape(array.shape))
        moved[-1][...] = array
    assert all(array.ctypes.data % 16 == 4 for array in moved)
    np.testing.assert_array_equal(product("matmul", *moved), product("matmul", a, b))


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("kernel", LADDER)
def test_sanitizers(kernel: str, check: str) -> None:
    a, b = matrices((1, 2, 66, 19, 133), np.float32)
    c = product(kernel, a, b, check=check)
    np.testing.assert_allclose(c, a @ b, rtol=1e-5, atol=1e-5)
