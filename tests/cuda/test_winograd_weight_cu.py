"""winograd_weight.cu, with winograd.cu and gemm.cu: the gradient of the weight, against PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minitorch_cnn.kernels import emulator, winograd_weight
from minitorch_cnn.kernels.emulator import EmulatorError

from .common import CPP, ORDERS, assert_same_bits, mutated, nans, needs_emulator
from .convolution import pytorch

pytestmark = needs_emulator


def _grad_weight(
    x: np.ndarray, gy: np.ndarray, padding: tuple[int, int], tile: int, images: int = 99,
    mutant: tuple[str, Any] = ("", ""), **how: Any,
) -> np.ndarray:  # fmt: skip
    """What a launcher does, some images at a time. ``mutant``: another file for one kernel."""
    T, numbers = CPP[x.dtype], (tile + 2) ** 2
    C, (F, OH, OW) = x.shape[1], gy.shape[1:]
    gw = nans((F, C, 3, 3), x)
    for n in range(0, len(x), images):
        part, part_gy = x[n : n + images], gy[n : n + images]
        tiles = len(part) * -(-OH // tile) * -(-OW // tile)
        v, z, u = (nans((numbers, *s), x) for s in [(C, tiles), (tiles, F), (C, F)])

        def run(file: str, name: str, *args: Any) -> None:
            path = mutant[1] if mutant[0] == name else file
            emulator.run(path, f"{name}<{T}>", args, **how)

        run("winograd", "data", part, v, *padding, tile)
        run("winograd_weight", "spread", part_gy, z, tile)
        emulator.run("gemm", f"matmul_naive<{T}>", (v, z, u))
        run("winograd_weight", "taps", u, gw, tile, int(n > 0))
    return gw


def _numbers(*shape: int, seed: int, dtype: Any = np.float64) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


@settings(max_examples=15)
@given(
    sizes=st.tuples(*[st.integers(1, 3)] * 3, *[st.integers(1, 9)] * 2),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    tile=st.sampled_from([2, 4]),
    dtype=st.sampled_from([np.float32, np.float64]),
    images=st.integers(1, 3),
    seed=st.integers(0, 9),
)
def test_pytorch(
    sizes: Any, padding: tuple[int, int], tile: int, dtype: Any, images: int, seed: int
) -> None:
    N, C, F, H, W = sizes
    H, W = max(H, 3 - 2 * padding[0]), max(W, 3 - 2 * padding[1])
    x, weight = (_numbers(*s, seed=seed, dtype=dtype) for s in [(N, C, H, W), (F, C, 3, 3)])
    gy, (_, _, gw) = pytorch(x, weight, None, seed, 1, padding, 1, 1)
    ours = _grad_weight(x, gy, padding, tile, images, order="random", seed=seed)
    tolerance = 2e-5 if dtype is np.float32 else 1e-13
    np.testing.assert_allclose(ours, gw, rtol=0, atol=tolerance * (1 + abs(gw).max()))


@pytest.mark.parametrize("tile", [2, 4])
def test_more_work_than_threads_in_every_order(tile: int) -> None:
    x, gy = _numbers(3, 5, 19, 33, seed=0), _numbers(3, 40, 19, 35, seed=1)
    results = [_grad_weight(x, gy, (1, 2), tile, images=2, **order) for order in ORDERS]
    assert_same_bits(results)
    twin = winograd_weight.grad_weight(gy, x, (1, 2), tile)
    np.testing.assert_allclose(results[0], twin, atol=1e-11 * abs(twin).max())


def _trial(**how: Any) -> None:
    x, weight = (_numbers(*s, seed=2, dtype=np.float32) for s in [(2, 3, 7, 10), (4, 3, 3, 3)])
    gy, (_, _, gw) = pytorch(x, weight, None, 0, 1, (1, 0), 1, 1)
    for tile in (2, 4):
        ours = _grad_weight(x, gy, (1, 0), tile, images=1, **how)
        np.testing.assert_allclose(ours, gw, rtol=0, atol=2e-4)


@pytest.mark.parametrize("check", ["address", "undefined"])
def test_sanitizers(check: Any) -> None:
    _trial(check=check)


WRONG = "wrong numbers"
MUTANTS = [
    ("spread", "h0 + i < OH && w0", "w0", "index"),
    ("spread", "(n * TH + th) * TW + tw", "(n * TH + tw) * TW + th", WRONG),
    ("spread", "g[2] = g[0] - g[3];", "g[2] = g[3] - g[0];", WRONG),
    ("spread", "g[5] = g[3];", "g[5] = g[2];", WRONG),
    ("taps", "more ? gw(f, c, i, j) + square[i][j] : ", "", WRONG),
    ("taps", "u(e, c, f)", "u(e, f, c)", "index"),
    ("taps", "even_q + u[5];", "even_q;", WRONG),
]


@pytest.mark.parametrize(("kernel", "old", "new", "report"), MUTANTS)
def test_mistakes_are_caught(kernel: str, old: str, new: str, report: str, tmp_path: Path) -> None:
    file = mutated("winograd_weight", old, new, tmp_path)
    with pytest.raises((AssertionError, EmulatorError)) as caught:
        _trial(mutant=(kernel, file))
    said = WRONG if isinstance(caught.value, AssertionError) else caught.value.kind
    assert said == report, str(caught.value)
