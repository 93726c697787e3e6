"""exp and its kin against the math module, in units of the last place."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from minitorch_cnn.kernels import backend, scalar
from minitorch_cnn.kernels.jit import inline

from .common import interpreted


def _softplus(x: float) -> float:
    return math.log1p(math.exp(x))


# name: the function, how to compute it exactly (in float64), where, and its error in eps
FUNCTIONS: dict[str, tuple[Callable[[float], float], tuple[float, float], float, float]] = {
    "exp": (math.exp, (-80, 80), 1, 1.5),
    "exp_negative": (math.exp, (-80, 0), 1, 1.5),
    "expm1_negative": (math.expm1, (-80, 0), 1, 1.5),
    "log1p_of_exp_negative": (_softplus, (-80, 0), 3, 4),
    "sigmoid": (lambda x: 1 / (1 + math.exp(-x)), (-80, 80), 2, 3),
    "tanh": (math.tanh, (-30, 30), 2, 3),
    "tanh_of_softplus": (lambda x: math.tanh(math.log1p(math.exp(x))), (-30, 30), 4, 6),
    "log": (math.log, (1, 1e5), 2, 1.5),
    "erf": (math.erf, (-3, 3), 2, 1.5),
    "normal_cdf": (lambda x: 0.5 * math.erfc(-x * math.sqrt(0.5)), (-3, 3), 8, 12),
    "normal_pdf": (lambda x: math.exp(-x * x / 2) / math.sqrt(2 * math.pi), (-3, 3), 4, 6),
}


def _map(name: str, x: np.ndarray) -> np.ndarray:
    f = getattr(scalar, name, None)
    if f is None:  # one of two results
        both, part = scalar.normal, ("normal_cdf", "normal_pdf").index(name)
        f = inline(lambda x: both(x)[part])
    y = np.empty_like(x)
    if interpreted() or backend.cpu_backend == "numpy":
        with np.errstate(all="ignore"):
            y[:] = [f(v) for v in x]
        return y
    import numba

    @numba.njit(fastmath={"contract"})
    def loop(x: Any, y: Any) -> None:
        for i in range(x.size):
            y[i] = f(x[i])

    loop(x, y)
    return y


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_error_in_units_of_the_last_place(name: str, dtype: Any) -> None:
    exact, (low, high), *limits = FUNCTIONS[name]
    rng = np.random.default_rng(0)
    # Over the whole range, and near 0, where subtracting nearly equal numbers would show.
    near_nothing = low + np.geomspace(1e-3, 1, 300) if low > 0 else np.geomspace(1e-6, 1, 300) * low
    x = np.concatenate([rng.uniform(low, high, 2000), near_nothing / (1 if low > 0 else 3)])
    x = x.astype(dtype)
    expected = np.array([exact(v) for v in x.astype(np.float64).tolist()])
    error = np.abs(_map(name, x) / expected - 1).max() / np.finfo(dtype).eps
    assert error <= limits[0 if dtype is np.float32 else 1]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ends_of_the_range(dtype: Any) -> None:
    info = np.finfo(dtype)
    largest = math.log(float(info.max))
    x = np.array([np.nan, np.inf, -np.inf, 1e30, -1e30, largest * 0.9999, largest * 1.01], dtype)
    y = _map("exp", x)
    assert np.isnan(y[0])
    assert y[1:5].tolist() == [np.inf, 0, np.inf, 0]
    assert np.isfinite(y[5])
    assert y[6] == np.inf
    small = np.array([math.log(float(info.tiny)) - 3], dtype)
    for name in ("exp", "exp_negative"):
        assert 0 < _map(name, small)[0] < info.tiny  # subnormal numbers are not lost
    y = _map("exp_negative", np.array([np.nan, -np.inf, -1e30, -0.0], dtype))
    assert np.isnan(y[0])
    assert y[1:].tolist() == [0, 0, 1]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ends_of_log_and_erf(dtype: Any) -> None:
    x = np.array([1, np.inf, np.nan, np.finfo(dtype).max], dtype)
    y = _map("log", x)
    assert y[:2].tolist() == [0, np.inf]
    assert np.isnan(y[2])
    assert y[3] == pytest.approx(math.log(float(x[3])))
    y = _map("erf", np.array([0.0, -0.0, np.inf, -np.inf, 30, np.nan], dtype))
    assert y[:5].tolist() == [0, 0, 1, -1, 1]
    assert np.isnan(y[5])


def test_signs_of_nothing() -> None:
    assert _map("tanh", np.array([0.0, -0.0])).tolist() == [0, 0]
    assert _map("expm1_negative", np.array([0.0])).tolist() == [0]
    assert _map("sigmoid", np.array([np.inf, -np.inf])).tolist() == [1, 0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ranks_are_in_the_order_of_the_numbers(dtype: Any) -> None:
    if interpreted() or backend.cpu_backend == "numpy":
        pytest.skip("there, a number is its own rank")
    import numba

    info = np.finfo(dtype)
    positive = [0.0, info.smallest_subnormal, info.tiny, 0.1, 1, 1e30, info.max, np.inf]
    x = np.array([-v for v in reversed(positive)] + positive, dtype)

    @numba.njit
    def ranks(x: Any, k: Any, back: Any) -> None:
        for i in range(x.size):
            k[i] = scalar.rank(x[i])
            back[i] = scalar.of_rank(scalar.rank(x[i]))

    k, back = np.empty(x.size, f"i{x.itemsize}"), np.empty_like(x)
    ranks(x, k, back)
    assert (k[1:] > k[:-1]).all()
    assert back.tobytes() == x.tobytes()
