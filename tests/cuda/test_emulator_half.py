"""Numbers of 16 bits and tensor cores on the emulator: their bits, and what breaks their rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch

from minitorch_cnn.kernels import emulator
from minitorch_cnn.kernels.emulator import EmulatorError

from .common import CHECKS, needs_emulator

pytestmark = needs_emulator

CONVERSIONS = """
#include "array.cuh"
#include "half.cuh"

// launch: block 256, grid 4
template <typename E>
__global__ void widen(Array<const E, 1> x, Array<float, 1> y) {
    for (int i = blockIdx.x * 256 + threadIdx.x; i < x.shape[0]; i += 1024) y(i) = x(i);
}

// launch: block 256, grid 4
template <typename E>
__global__ void narrow_all(Array<const float, 1> x, Array<E, 1> y) {
    for (int i = blockIdx.x * 256 + threadIdx.x; i < x.shape[0]; i += 1024) y(i) = x(i);
}

// launch: block 1, grid 1
template <typename E>
__global__ void arithmetic(Array<const E, 1> x, Array<float, 1> y) {
    y(0) = x(0) * x(1) + x(2);
    y(1) = exp(x(0)) + (x(1) > 0.5f ? x(1) : 0.0f);
}
"""


@pytest.fixture(scope="module")
def conversions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("half") / "half.cu"
    path.write_text(CONVERSIONS)
    return path


def every_value(kind: str) -> np.ndarray:
    bits = np.arange(1 << 16, dtype=np.uint16)
    if kind == "Half":
        return bits.view(np.float16).astype(np.float32)
    return torch.from_numpy(bits.view(np.int16)).view(torch.bfloat16).float().numpy()


@pytest.mark.parametrize("kind", ["Half", "BFloat16"])
def test_every_number_becomes_its_float(conversions: Path, kind: str) -> None:
    x, y = np.arange(1 << 16, dtype=np.uint16), np.empty(1 << 16, np.float32)
    stored = x.view(np.float16 if kind == "Half" else ml_dtypes.bfloat16)
    emulator.run(conversions, f"widen<{kind}>", (stored, y), check="undefined")
    np.testing.assert_array_equal(y, every_value(kind))


@pytest.mark.parametrize("kind", ["Half", "BFloat16"])
def test_floats_are_rounded_to_nearest_and_ties_to_even(conversions: Path, kind: str) -> None:
    """Every number, what lies halfway between neighbours, and the floats beside it."""
    values = every_value(kind)
    values = np.sort(values[np.isfinite(values)])
    with np.errstate(over="ignore"):
        halfway = ((values[1:].astype(np.float64) + values[:-1]) / 2).astype(np.float32)
        steps = [np.nextafter(halfway, np.float32(s)) for s in (-np.inf, np.inf)]
    special = np.array([65519.99, 65520, 1e30, 3.4028235e38, np.inf, np.nan, 1e-45], np.float32)
    x = np.concatenate([values, halfway, *steps, special, -special])
    if kind == "Half":
        y = np.empty(x.shape, np.float16)
        with np.errstate(over="ignore"):
            expected = x.astype(np.float16)
    else:
        y = np.empty(x.shape, ml_dtypes.bfloat16)
        expected = torch.from_numpy(x).bfloat16().view(torch.int16).numpy().view(np.uint16)
    emulator.run(conversions, f"narrow_all<{kind}>", (x, y))
    number = ~np.isnan(x)
    np.testing.assert_array_equal(y.view(np.uint16)[number], expected.view(np.uint16)[number])
    assert (y.view(np.uint16)[~number] == 0x7FFF).all()  # as a GPU's conversion of any NaN


def test_arithmetic_is_that_of_floats(conversions: Path) -> None:
    x, y = np.array([1.0009765625, 1.0009765625, -1.001953125], np.float16), np.empty(2, np.float32)
    emulator.run(conversions, "arithmetic<Half>", (x, y))
    a, b, c = x.astype(np.float32)
    np.testing.assert_array_equal(y[0], a * b + c)
    np.testing.assert_allclose(y[1], np.exp(a) + b, rtol=1e-6)


MATRICES = """
#include "array.cuh"
#include "half.cuh"
#include <mma.h>
using namespace nvcuda;

// c = a b^T + c, with b^T read by columns, and c scaled element by element.
// launch: block 32, grid 1
template <typename E>
__global__ void product(Array<const E, 2> a, Array<const E, 2> b, Array<float, 2> c, float scale) {
    using Bits = decltype(E::bits);
    const Bits* a_bits = reinterpret_cast<const Bits*>(a.data);
    const Bits* b_bits = reinterpret_cast<const Bits*>(b.data);
    wmma::fragment<wmma::accumulator, 16, 16, 16, float> sum, more;
    wmma::load_matrix_sync(sum, c.data, c.shape[1], wmma::mem_row_major);
    wmma::fill_fragment(more, 0.5f);
    for (int k = 0; k < a.shape[1]; k += 16) {
        wmma::fragment<wmma::matrix_a, 16, 16, 16, Bits, wmma::row_major> rows;
        wmma::fragment<wmma::matrix_b, 16, 16, 16, Bits, wmma::col_major> columns;
        wmma::load_matrix_sync(rows, a_bits + k, a.shape[1]);
        wmma::load_matrix_sync(columns, b_bits + k, b.shape[1]);
        wmma::mma_sync(sum, rows, columns, sum);
    }
    for (int i = 0; i < sum.num_elements; i++) sum.x[i] = sum.x[i] * scale + more.x[i];
    __syncwarp();  // c was read by rows
    wmma::store_matrix_sync(c.data, sum, c.shape[1], wmma::mem_col_major);
}

// launch: block BLOCK, grid 1
__global__ void wrong(Array<Half, 1> x, Array<float, 1> y, int what) {
    alignas(32) __shared__ __half tile[16 * 24];
    const int i = threadIdx.x;
    wmma::fragment<wmma::matrix_a, 16, 16, 16, __half, wmma::row_major> a;
    wmma::fragment<wmma::matrix_b, 16, 16, 16, __half, wmma::row_major> b;
    wmma::fragment<wmma::accumulator, 16, 16, 16, float> c;
    for (int j = i; j < 16 * 24; j += BLOCK) tile[j] = __float2half_rn(1);
    if (what != 4) __syncthreads();
    switch (what) {
#line 100
    case 1: wmma::load_matrix_sync(a, tile + 8, 24); break;
    case 2: wmma::load_matrix_sync(a, tile, 23); break;
    case 3: if (i >= 32) wmma::load_matrix_sync(a, tile, 24); break;
    case 4: wmma::load_matrix_sync(a, tile, 24); break;
    case 5: wmma::load_matrix_sync(a, tile + 16 * (i / 16), 16); break;
    case 6: if (i < 16) wmma::mma_sync(c, a, b, c); else __syncthreads(); break;
    case 7: wmma::store_matrix_sync(y.data, c, 24, wmma::mem_row_major); break;
    case 8: wmma::store_matrix_sync(y.data, c, 16, wmma::mem_row_major);
            if (i < 32) y(i) = y(i + 1);
            break;
    case 9: wmma::load_matrix_sync(a, &x(0).bits, 16); break;
    }
}
"""


def aligned(array: np.ndarray) -> np.ndarray:
    """As GPU memory is: NumPy's may start at any multiple of 16 bytes."""
    room = np.zeros(array.nbytes + 64, np.uint8)
    start = -room.ctypes.data % 64
    moved = room[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    moved[...] = array
    return moved


def matrices(folder: Path, block: int = 32) -> Path:
    path = folder / "matrices.cu"
    text = MATRICES.replace("block BLOCK", f"block {block}").replace("BLOCK", str(block))
    path.write_text(text.replace("#line 100", '#line 100 "matrices.cu"'))
    return path


@pytest.mark.parametrize("check", [None, *CHECKS])
def test_products_of_matrices(tmp_path: Path, check: Any) -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-8, 9, (16, 48)).astype(np.float32) for _ in range(2))
    start = rng.integers(-8, 9, (16, 16)).astype(np.float32)
    expected = ((a @ b.T + start) * 2 + 0.5).T
    for kind in ("Half", "BFloat16") if check is None else ("Half",):
        c = aligned(start)
        dtype = np.float16 if kind == "Half" else ml_dtypes.bfloat16
        stored = [m.astype(dtype) for m in (a, b)]
        arrays = (*map(aligned, stored), c)
        path = matrices(tmp_path)
        emulator.run(path, f"product<{kind}>", (*arrays, 2.0), order="random", check=check)
        np.testing.assert_array_equal(c, expected)


@pytest.mark.parametrize(
    ("what", "block", "check", "kind", "message"),
    [
        (1, 64, None, "undefined", r"load_matrix_sync: .* no multiple of 32 bytes \(16 over\)"),
        (2, 64, None, "undefined", r"rows of 23 numbers are no multiple of 16 bytes"),
        (3, 48, None, "warp", r"load_matrix_sync needs all 32 lanes .*: 16 are there"),
        (4, 64, "thread", "race", r"__shared__ tile"),
        (5, 64, None, "warp", r"lanes of a warp give load_matrix_sync different addresses or rows"),
        (6, 64, None, "warp", r"16 of 64 .* in mma_sync with mask 0xffffffff"),
        (7, 64, "address", "address", r"heap-buffer-overflow: a write of 4 bytes"),
        (8, 64, "thread", "race", r"y, element"),
        (9, 64, "address", "address", r"heap-buffer-overflow: a read of 2 bytes"),
    ],
)
def test_mistakes_are_reported(
    tmp_path: Path, what: int, block: int, check: Any, kind: str, message: str
) -> None:
    x, y = aligned(np.zeros(16 * 15, np.float16)), aligned(np.zeros(16 * 16, np.float32))
    with pytest.raises(EmulatorError, match=message) as caught:
        emulator.run(matrices(tmp_path, block), "wrong", (x, y, what), check=check)
    assert caught.value.kind == kind
    line = {8: 108, 9: 110}.get(what, 99 + what)
    if what != 4:  # there, the line of the load or of the write, whichever came later
        assert (caught.value.file, caught.value.line) == ("matrices.cu", line)


def test_fragments_start_as_nan(tmp_path: Path) -> None:
    """A sum that nobody set to 0."""
    path = tmp_path / "k.cu"
    path.write_text("""
#include "array.cuh"
#include <mma.h>
// launch: block 32, grid 1
__global__ void k(Array<float, 1> y) {
    nvcuda::wmma::fragment<nvcuda::wmma::accumulator, 16, 16, 16, float> c;
    nvcuda::wmma::store_matrix_sync(y.data, c, 16, nvcuda::wmma::mem_row_major);
}
""")
    y = aligned(np.zeros(256, np.float32))
    emulator.run(path, "k", (y,))
    assert np.isnan(y).all()
