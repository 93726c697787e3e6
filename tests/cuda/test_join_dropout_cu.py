"""join.cu and dropout.cu: concatenation, and masks with the bits of NumPy's generator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minitorch_cnn import Generator
from minitorch_cnn.kernels import dropout, emulator

from .common import CHECKS, ORDERS, assert_same_bits, emulate, nans, needs_emulator

pytestmark = needs_emulator

SHAPES = [[(2, 3, 5), (2, 1, 5), (2, 4, 5)], [(3, 0, 2), (3, 700, 2)], [(1, 1, 1)]]


def _joined(parts: list[np.ndarray], dim: int, **how: Any) -> np.ndarray:
    """What a launcher does for concatenate(parts, dim): a launch for each."""
    total = sum(p.shape[dim] for p in parts)
    first = parts[0]
    shape = (*first.shape[:dim], total, *first.shape[dim + 1 :])
    N, behind = int(np.prod(shape[:dim])), int(np.prod(shape[dim + 1 :]))
    y, start = nans((N, total * behind), first), 0
    for part in parts:
        x = part.reshape(N, -1) if part.size else part.reshape(N, 0)
        emulate("join", "concat", x, y, start, **how)
        start += x.shape[1]
    return y.reshape(shape)


@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_concat(shapes: list[tuple[int, ...]], dtype: Any) -> None:
    rng = np.random.default_rng(0)
    parts = [rng.standard_normal(shape).astype(dtype) for shape in shapes]
    results = [_joined(parts, 1, **order) for order in ORDERS]
    assert_same_bits(results)
    expected = torch.cat([torch.from_numpy(p) for p in parts], 1).numpy()
    np.testing.assert_array_equal(results[0], expected)


@pytest.mark.parametrize("check", CHECKS)
def test_concat_sanitizers(check: Any) -> None:
    _joined([np.ones((3, 5, 7), np.float32), np.ones((3, 2, 7), np.float32)], 1, check=check)


def mask(generator: np.random.Generator, n: int, p: float, **how: Any) -> np.ndarray:
    """What a launcher does: hand over the state, and move the generator on."""
    keep = np.zeros(n, np.bool_)
    args = (dropout.state_words(generator), keep, round(p * 2**32))
    emulator.run("dropout", "keep_mask", args, **how)
    dropout.skip(generator, n)
    return keep


@settings(max_examples=20)
@given(
    seed=st.integers(0, 2**32),
    sizes=st.lists(st.sampled_from([1, 2, 7, 8, 9, 40, 2047, 2500]), min_size=1, max_size=4),
    wide=st.integers(0, 5),
    p=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
)
def test_masks_are_those_of_the_cpu(seed: int, sizes: list[int], wide: int, p: float) -> None:
    """From wherever the generator stands: within a buffer, behind 64-bit draws, at half a word."""
    ours, cpu = (Generator().manual_seed(seed).numpy for _ in range(2))
    for generator in (ours, cpu):
        generator.integers(0, 1 << 32, seed % 3, "u4")
        generator.random(wide)
    for n in sizes:
        expected = cpu.integers(0, 1 << 32, n, "u4") >= round(p * 2**32)
        np.testing.assert_array_equal(mask(ours, n, p, order="random", seed=n), expected)
    assert str(ours.bit_generator.state) == str(cpu.bit_generator.state)


@given(
    seed=st.integers(0, 2**32), before=st.integers(0, 20), wide=st.integers(0, 5),
    n=st.one_of(st.integers(0, 60), st.integers(0, 5000)),
)  # fmt: skip
def test_skipping_is_drawing(seed: int, before: int, wide: int, n: int) -> None:
    """To the last bit of the state, which is what a saved state and the next numbers depend on."""
    drawn, skipped = (Generator().manual_seed(seed) for _ in range(2))
    for generator in (drawn, skipped):
        generator.numpy.integers(0, 1 << 32, before, "u4")
        generator.numpy.random(wide)
    drawn.numpy.integers(0, 1 << 32, n, "u4")
    dropout.skip(skipped.numpy, n)
    np.testing.assert_array_equal(skipped.get_state().numpy(), drawn.get_state().numpy())
    assert skipped.numpy.random() == drawn.numpy.random()


def test_counters_carry() -> None:
    """Past 2^64, and past the end of all four words."""
    for start in ([2**64 - 1, 7, 0, 0], [2**64 - 1] * 4):
        generator = np.random.Generator(
            np.random.Philox(key=np.array([5, 9], np.uint64), counter=np.array(start, np.uint64))
        )
        state: Any = generator.bit_generator.state
        words = np.array([*start, 5, 9, 8, dropout.NOTHING_LEFT], np.uint64)
        expected = generator.integers(0, 1 << 32, 40, "u4") >= 2**31
        keep = np.zeros(40, np.bool_)
        assert state["buffer_pos"] == 4
        for check in (None, "undefined", "address"):
            emulator.run("dropout", "keep_mask", (words, keep, 2**31), check=check)
            np.testing.assert_array_equal(keep, expected)


def test_one_thread_writes_each_element() -> None:
    words, keep = np.array([0, 1, 2, 3, 4, 5, 3, 77], np.uint64), np.zeros(5000, np.bool_)
    args = (words, keep, 2**31)
    trace = emulator.trace("dropout", "keep_mask", args, "keep")
    assert (trace["count"] == 1).all()
    results = []
    for order in ORDERS:
        emulator.run("dropout", "keep_mask", args, **order)
        results.append(keep.copy())
    emulator.run("dropout", "keep_mask", args, check="thread")
    assert_same_bits(results)


def test_dropout_scales_what_is_kept() -> None:
    rng = np.random.default_rng(0)
    x, keep = rng.standard_normal(700).astype(np.float32), rng.random(700) < 0.7
    x[:2], keep[:2] = np.nan, [True, False]
    y = nans(x.shape, x)
    emulate("dropout", "dropout", x, keep, y, 1 / 0.7)
    np.testing.assert_array_equal(y, x * (keep * np.float32(1 / 0.7)))
    emulate("dropout", "dropout", x, keep, y, 1 / 0.7, check="undefined")
