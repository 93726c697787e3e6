"""Arithmetic of large arrays against NumPy's: threads change neither values nor what is allowed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minitorch_cnn.kernels import large

from ..strategies import LAYOUTS, with_layout
from .common import BACKENDS, assert_same_bits_at_any_thread_count, using


@pytest.fixture(autouse=True)
def small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large, "LARGE", 8)


@pytest.mark.parametrize("backend", BACKENDS)
@given(data=st.data())
def test_equals_numpy(backend: str, data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from([np.float32, np.float64, np.float16, np.int64]))
    shape = data.draw(st.sampled_from([(3, 4, 5), (7,), (2, 0), (), (1, 17)]))
    rng = np.random.default_rng(data.draw(st.integers(0, 9)))
    a, b = (rng.integers(-9, 9, (2, *shape)) / (1 if dtype is np.int64 else 4)).astype(dtype)
    a, b = (with_layout(np.asarray(v), data.draw(st.sampled_from(LAYOUTS))) for v in (a, b))
    mask = rng.random(shape) < 0.5
    total = np.array(a)
    with using(backend):
        np.testing.assert_array_equal(large.add(a, b), a + b, strict=True)
        np.testing.assert_array_equal(large.mul(a, b), a * b, strict=True)
        np.testing.assert_array_equal(large.add(a, 2), a + 2)
        np.testing.assert_array_equal(large.mul(a, b.ravel()[:1]), a * b.ravel()[:1])
        large.add_into(total, b)
        kept = large.keep(a, np.asarray(mask), dtype(2))
    np.testing.assert_array_equal(total, a + b)
    np.testing.assert_array_equal(kept, a * (mask * dtype(2)))


@pytest.mark.parametrize("backend", BACKENDS)
@given(data=st.data())
def test_concatenate(backend: str, data: st.DataObject) -> None:
    dim = data.draw(st.integers(0, 2))
    lengths = data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=5))
    xs, start = [], 0.0
    for n in lengths:
        shape = [2, 3, 4]
        shape[dim] = n
        x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape) + start
        xs.append(with_layout(x, data.draw(st.sampled_from(LAYOUTS))))
        start += 100
    with using(backend):
        y = large.concatenate(xs, dim)
    np.testing.assert_array_equal(y, np.concatenate(xs, dim), strict=True)


@pytest.mark.parametrize("backend", BACKENDS)
@given(data=st.data())
def test_parts_of_the_channels(backend: str, data: st.DataObject) -> None:
    """Written with ``put``, added from with ``add_into``."""
    N, C, L = data.draw(st.tuples(st.integers(0, 3), st.integers(0, 5), st.sampled_from([1, 90])))
    start, behind = data.draw(st.tuples(st.integers(0, 4), st.integers(0, 4)))
    kinds = st.sampled_from([np.float32, np.float64, np.float16])
    dtype = data.draw(kinds)
    rng = np.random.default_rng(N + C)
    whole = rng.integers(-9, 9, (N, start + C + behind, L)).astype(dtype)
    x = rng.integers(-9, 9, (N, C, L)).astype(dtype)
    x = with_layout(x, data.draw(st.sampled_from(LAYOUTS)))
    expected = np.concatenate([whole[:, :start], x, whole[:, start + C :]], 1)
    total = rng.integers(-9, 9, x.shape).astype(data.draw(kinds))
    sums = total + x.astype(total.dtype)
    with using(backend):
        large.put(x, whole, start)
        large.add_into(total, whole[:, start : start + C].astype(total.dtype, copy=False))
    np.testing.assert_array_equal(whole, expected)
    np.testing.assert_array_equal(total, sums)


@pytest.mark.parametrize("backend", BACKENDS)
def test_dropped_nan_stays_nan(backend: str) -> None:
    x = np.full(20, np.nan, np.float32)
    with using(backend):
        assert np.isnan(large.keep(x, np.zeros(20, bool), np.float32(2))).all()


def test_same_bits_at_any_thread_count(rng: np.random.Generator) -> None:
    a, b = rng.standard_normal((2, 3, 100_001)).astype(np.float32)
    mask = a > 0

    def sum_with_a_part() -> Any:
        y = b[:, :70_001].copy()
        large.add_into(y, a[:, 30_000:])
        return y

    def run() -> tuple[Any, ...]:
        return (
            large.add(a, b), large.mul(a, b), large.keep(a, mask, np.float32(3)),
            large.concatenate([a, b], 1), sum_with_a_part(),
        )  # fmt: skip

    assert_same_bits_at_any_thread_count(run)
