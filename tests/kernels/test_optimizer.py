"""Steps of optimizers against the formula for one weight."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minitorch_cnn.kernels import optimizer, reference

from ..strategies import LAYOUTS, arrays, with_layout
from .common import BACKENDS, assert_same_bits_at_any_thread_count, using

small = st.floats(0, 1)
signs = st.sampled_from([1.0, -1.0])
decays = st.sampled_from([0.0, 0.1])
# A smaller eps would magnify the rounding of m where v is 0.
ADAM = st.tuples(
    small, st.sampled_from([1.0, 0.9]), decays, signs, small, small, small,
    st.sampled_from([0.1, 0.5]), st.floats(0.1, 1),
)  # fmt: skip
# What each kernel remembers of a weight, and its numbers.
KERNELS: dict[str, tuple[int, st.SearchStrategy[Any]]] = {
    "sgd": (0, st.tuples(small, decays, signs)),
    "sgd_momentum": (
        1, st.tuples(small, decays, signs, small, small, st.sampled_from([0.0, 1.0])),
    ),
    "adam": (2, ADAM),
    "amsgrad": (3, ADAM),
}  # fmt: skip


def test_every_kernel_is_tested() -> None:
    kernels = {k for k, v in vars(optimizer).items() if isinstance(v, optimizer.Kernel)}
    assert kernels == set(KERNELS)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", KERNELS)
@given(data=st.data())
def test_equals_the_formula_for_one_weight(name: str, backend: str, data: st.DataObject) -> None:
    memories, numbers = KERNELS[name]
    dtype = data.draw(st.sampled_from([np.float32, np.float64]))
    w = data.draw(arrays(dtype=dtype))
    rng = np.random.default_rng(data.draw(st.integers(0, 9)))
    given = data.draw(numbers)
    g, *memory = (rng.standard_normal(w.shape).astype(dtype) for _ in range(1 + memories))
    memory[-memories:] = [m if name == "sgd_momentum" else abs(m) for m in memory]
    before = [np.array(a) for a in (w, g, *memory)]
    layout = data.draw(st.sampled_from(LAYOUTS))
    ours = [with_layout(a.copy(), layout) for a in before]
    with using(backend):
        optimizer.update(getattr(optimizer, name), ours, lambda: given)

    one = getattr(reference.optimizer, name)
    rows = np.array([one(*row, *given) for row in zip(*(a.ravel().tolist() for a in before))])
    expected = rows.reshape(-1, 1 + memories).T.reshape(1 + memories, *w.shape)
    limits = {"rtol": 1e-5, "atol": 1e-5} if dtype is np.float32 else {"rtol": 1e-11, "atol": 1e-12}
    np.testing.assert_array_equal(ours[1], before[1])
    for a, b in zip((ours[0], *ours[2:]), expected, strict=True):
        assert a.dtype == dtype
        np.testing.assert_allclose(a, b, **limits)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", KERNELS)
def test_nan_and_infinity(name: str, backend: str) -> None:
    """They stay with their weight; an infinite weight without decay is no NaN."""
    memories, _ = KERNELS[name]
    numbers: tuple[float, ...] = {
        "sgd": (0.1, 0, 1), "sgd_momentum": (0.1, 0, 1, 0.9, 1, 1)
    }.get(name, (0.1, 1, 0, 1, 0.1, 0.9, 0.1, 1e-8, 1))  # fmt: skip
    w = np.ones(40, np.float32)
    g = np.ones(40, np.float32)
    w[3], g[5] = np.inf, np.nan
    memory = [np.zeros(40, np.float32) for _ in range(memories)]
    with using(backend):
        optimizer.update(getattr(optimizer, name), [w, g, *memory], lambda: numbers)
    assert w[3] == np.inf
    assert np.isnan(w).nonzero()[0].tolist() == [5]
    for m in memory:
        assert np.isnan(m).nonzero()[0].tolist() == [5]


@pytest.mark.parametrize("name", KERNELS)
def test_same_bits_at_any_thread_count(name: str, rng: np.random.Generator) -> None:
    memories, _ = KERNELS[name]
    start = abs(rng.standard_normal((2 + memories, 70_001))).astype(np.float32)
    numbers = (0.1, 0.01, 1, 0.9, 0.8, 1) if memories < 2 else (0.1, 1, 0, 1, 0.1, 0.9, 0.1, 1, 1)

    def step() -> tuple[np.ndarray, ...]:
        ours = tuple(start.copy())
        given = numbers[: 3 if name == "sgd" else None]
        optimizer.update(getattr(optimizer, name), ours, lambda: given)
        return ours

    assert_same_bits_at_any_thread_count(step)
