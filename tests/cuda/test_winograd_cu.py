"""winograd.cu, with gemm.cu between: forward and the gradient of the input, against PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minitorch_cnn.kernels import emulator
from minitorch_cnn.kernels.emulator import EmulatorError

from .common import CPP, ORDERS, assert_same_bits, mutated, nans, needs_emulator
from .convolution import pytorch

pytestmark = needs_emulator

def _correlate(
    x: np.ndarray, weight: np.ndarray, bias: Any, padding: tuple[int, int], tile: int,
    turned: bool = False, relu: bool = False, mutant: tuple[str, Any] = ("", ""), **how: Any,
) -> np.ndarray:  # fmt: skip
    """What a launcher does: three kernels and a product. ``mutant``: another file for one."""
    T = "Half" if x.dtype == np.float16 else CPP[x.dtype]
    real = np.zeros(0, np.float32 if T == "Half" else x.dtype)
    N, C, H, W = x.shape
    F = weight.shape[1] if turned else weight.shape[0]
    OH, OW = (n + 2 * p - 2 for n, p in zip((H, W), padding))
    tiles, numbers = N * -(-OH // tile) * -(-OW // tile), (tile + 2) ** 2
    u, v, m = (nans((numbers, *s), real) for s in [(F, C), (C, tiles), (F, tiles)])
    y = nans((N, F, OH, OW), x)

    def run(name: str, *args: Any) -> None:
        file = mutant[1] if mutant[0] == name else "winograd"
        emulator.run(file, f"{name}<{T}>", args, **how)

    run("filters", weight, u, tile, int(turned))
    run("data", x, v, *padding, tile)
    emulator.run("gemm", f"matmul_naive<{CPP[real.dtype]}>", (u, v, m))
    run("result", m, bias, y, tile, int(relu))
    return y


def _numbers(*shape: int, seed: int, dtype: Any) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


@settings(max_examples=15)
@given(
    sizes=st.tuples(*[st.integers(1, 3)] * 3, *[st.integers(1, 9)] * 2),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 3)),
    tile=st.sampled_from([2, 4]),
    dtype=st.sampled_from([np.float32, np.float64]),
    with_bias=st.booleans(),
    seed=st.integers(0, 9),
)
def test_pytorch(
    sizes: Any, padding: tuple[int, int], tile: int, dtype: Any, with_bias: bool, seed: int
) -> None:
    N, C, F, H, W = sizes
    H, W = max(H, 3 - 2 * padding[0]), max(W, 3 - 2 * padding[1])
    x, weight = (_numbers(*s, seed=seed, dtype=dtype) for s in [(N, C, H, W), (F, C, 3, 3)])
    bias = _numbers(F, seed=seed + 1, dtype=dtype) if with_bias else None
    gy, (y, gx, _) = pytorch(x, weight, bias, seed, 1, padding, 1, 1)
    how = {"order": "random", "seed": seed}
    tolerance = 2e-5 if dtype is np.float32 else 1e-13
    ours = _correlate(x, weight, bias, padding, tile, **how)
    np.testing.assert_allclose(ours, y, rtol=0, atol=tolerance * (1 + abs(y).max()))
    ours = _correlate(x, weight, bias, padding, tile, relu=True, **how)
    np.testing.assert_allclose(ours, np.maximum(y, 0), rtol=0, atol=tolerance * (1 + abs(y).max()))
    around = 2 - padding[0], 2 - padding[1]
    ours = _correlate(gy, weight, None, around, tile, turned=True, **how)
    np.testing.assert_allclose(ours, gx, rtol=0, atol=tolerance * (1 + abs(gx).max()))


@pytest.mark.parametrize("tile", [2, 4])
def test_more_tiles_than_threads_in_every_order(tile: int) -> None:
    x, weight = _numbers(2, 5, 19, 33, seed=0, dtype=np.float64), np.ones((3, 5, 3, 3))
    results = [_correlate(x, weight, None, (1, 2), tile, **order) for order in ORDERS]
    assert_same_bits(results)
    y = torch.nn.functional.conv2d(torch.from_numpy(x), torch.from_numpy(weight), padding=(1, 2))
    np.testing.assert_allclose(results[0], y.numpy(), atol=1e-11)


def test_nan_stays_where_it_is_seen() -> None:
    """Not further than the tile; and a relu keeps it."""
    x, weight = np.zeros((1, 1, 12, 12), np.float32), np.ones((1, 1, 3, 3), np.float32)
    x[0, 0, 5, 5] = np.nan
    y = _correlate(x, weight, None, (1, 1), 4, relu=True)
    assert np.isnan(y[0, 0, 4:7, 4:7]).all()
    assert not np.isnan(y[0, 0, :4]).any()
    assert not np.isnan(y[0, 0, 8:]).any()


def test_halves_are_transformed_in_float() -> None:
    x, weight = (_numbers(*s, seed=1, dtype=np.float16) for s in [(1, 2, 7, 6), (3, 2, 3, 3)])
    wide = _correlate(x.astype("f4"), weight.astype("f4"), None, (1, 1), 4)
    ours = _correlate(x, weight, None, (1, 1), 4)
    np.testing.assert_array_equal(ours, wide.astype(np.float16))


def _trial(**how: Any) -> None:
    x, weight = (
        _numbers(2, 3, 7, 10, seed=2, dtype=np.float32),
        _numbers(4, 3, 3, 3, seed=3, dtype=np.float32),
    )
    bias = np.arange(4, dtype=np.float32)
    gy, (y, gx, _) = pytorch(x, weight, bias, 0, 1, (1, 0), 1, 1)
    for tile in (2, 4):
        ours = _correlate(x, weight, bias, (1, 0), tile, **how)
        np.testing.assert_allclose(ours, y, rtol=0, atol=1e-4)
    ours = _correlate(gy, weight, None, (1, 2), 4, turned=True, **how)
    np.testing.assert_allclose(ours, gx, rtol=0, atol=1e-4)


@pytest.mark.parametrize("check", ["address", "undefined"])
def test_sanitizers(check: Any) -> None:
    _trial(check=check)


WRONG = "wrong numbers"
MUTANTS = [
    ("data", "0 <= h && h < H && 0", "0 <= h && h <= H && 0", "index"),
    ("filters", "2 - i, 2 - j", "i, j", WRONG),
    ("result", "if (h0 + i < OH && w0", "if (w0", "index"),
    ("data", "tw * tile - PW, t =", "tw * tile - PH, t =", WRONG),
    ("result", "+ start;", ";", WRONG),
    ("data", "const T d1 = d[1];", "const T d1 = d[0];", WRONG),
    ("data", "q + odd_q;\n    d[4]", "q;\n    d[4]", WRONG),
]


@pytest.mark.parametrize(("kernel", "old", "new", "report"), MUTANTS)
def test_mistakes_are_caught(kernel: str, old: str, new: str, report: str, tmp_path: Path) -> None:
    file = mutated("winograd", old, new, tmp_path)
    with pytest.raises((AssertionError, EmulatorError)) as caught:
        _trial(mutant=(kernel, file))
    said = WRONG if isinstance(caught.value, AssertionError) else caught.value.kind
    assert said == report, str(caught.value)
