"""Activation kernels and their NumPy twins against functions of one number."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minitorch_cnn.kernels import elementwise, reference

from ..strategies import LAYOUTS, arrays, with_layout
from .common import BACKENDS, assert_same_bits_at_any_thread_count, using

SETTINGS: dict[str, tuple[float, ...]] = {
    "leaky_relu": (0.125,), "clip": (-1.0, 2.0), "softplus": (1.5, 6.0), "elu": (1.5, 1.25, 0.5),
}  # fmt: skip
FUNCTIONS = sorted(reference.elementwise.FUNCTIONS)
OF_THE_OUTPUT = ("relu", "sigmoid", "tanh")  # their gradient kernels take y, the others x


def _run(name: str, x: np.ndarray, gy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    settings = SETTINGS.get(name, ())
    y = elementwise.apply(getattr(elementwise, name), x, settings=settings)
    saved = y if name in OF_THE_OUTPUT else x
    gradient = getattr(elementwise, f"{name}_grad")
    return y, elementwise.apply(gradient, saved, gy, settings=settings)


def test_every_kernel_is_specified() -> None:
    found = {k: v for k, v in vars(elementwise).items() if isinstance(v, elementwise.Kernel)}
    kernels = set(found) - {f"{k}_streamed" for k, v in found.items() if v.streamed}
    assert kernels == {f"{name}{end}" for name in FUNCTIONS for end in ("", "_grad")}
    assert sorted(reference.elementwise.SLOPES) == FUNCTIONS


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", FUNCTIONS)
@given(data=st.data())
def test_equals_the_function_of_one_number(name: str, backend: str, data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from([np.float32, np.float64]))
    x = data.draw(arrays(dtype=dtype)) * dtype(data.draw(st.sampled_from([0.01, 1, 3, 30])))
    x = with_layout(np.asarray(x, dtype), data.draw(st.sampled_from(LAYOUTS)))
    gy = np.random.default_rng(0).standard_normal(x.shape).astype(dtype)
    with using(backend):
        y, gx = _run(name, x, gy)
    settings = SETTINGS.get(name, ())
    values = x.astype(float).ravel().tolist()
    expected = [reference.elementwise.FUNCTIONS[name](v, *settings) for v in values]
    slopes = [reference.elementwise.SLOPES[name](v, *settings) for v in values]
    tolerance = (
        {"rtol": 1e-5, "atol": 1e-6} if dtype is np.float32 else {"rtol": 1e-12, "atol": 1e-13}
    )
    np.testing.assert_allclose(y, np.reshape(expected, x.shape), **tolerance)
    np.testing.assert_allclose(gx, gy * np.reshape(slopes, x.shape), **tolerance)
    assert (y.dtype, gx.dtype, y.shape, gx.shape) == (dtype, dtype, x.shape, x.shape)


EDGES = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 90.0, -90.0, 1e4, -1e4, 1e30, -1e30])
AT_EDGES = {
    "relu": [np.nan, np.inf, 0, 0, 0, 90, 0, 1e4, 0, 1e30, 0],
    "leaky_relu": [np.nan, np.inf, -np.inf, 0, 0, 90, -11.25, 1e4, -1250, 1e30, -1.25e29],
    "clip": [np.nan, 2, -1, 0, 0, 2, -1, 2, -1, 2, -1],
    "hardsigmoid": [np.nan, 1, 0, 0.5, 0.5, 1, 0, 1, 0, 1, 0],
    "hardswish": [np.nan, np.inf, np.nan, 0, 0, 90, 0, 1e4, 0, 1e30, 0],
    "sigmoid": [np.nan, 1, 0, 0.5, 0.5, 1, 0, 1, 0, 1, 0],
    "tanh": [np.nan, 1, -1, 0, 0, 1, -1, 1, -1, 1, -1],
    "silu": [np.nan, np.inf, np.nan, 0, 0, 90, 0, 1e4, 0, 1e30, 0],
    "mish": [np.nan, np.inf, np.nan, 0, 0, 90, 0, 1e4, 0, 1e30, 0],
    "erf": [np.nan, 1, -1, 0, 0, 1, -1, 1, -1, 1, -1],
    "gelu": [np.nan, np.inf, np.nan, 0, 0, 90, 0, 1e4, 0, 1e30, 0],
    "softplus": [np.nan, np.inf, 0, np.log(2) / 1.5, np.log(2) / 1.5, 90, 0, 1e4, 0, 1e30, 0],
    "elu": [np.nan, np.inf, -1.5, 0, 0, 112.5, -1.5, 1.25e4, -1.5, 1.25e30, -1.5],
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", sorted(AT_EDGES))
def test_at_the_edges(name: str, dtype: Any, backend: str) -> None:
    """The same numbers at the front of a vector, where LLVM computes several, and at its end."""
    x = np.concatenate([EDGES, np.zeros(21), EDGES]).astype(dtype)
    with using(backend):
        y = elementwise.apply(getattr(elementwise, name), x, settings=SETTINGS.get(name, ()))
    expected = np.asarray(AT_EDGES[name], dtype)
    for part in (y[: EDGES.size], y[-EDGES.size :]):
        np.testing.assert_allclose(part, expected, rtol=1e-6, atol=1e-30)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("name", "slope"), [("relu", 1), ("clip", 0), ("leaky_relu", 0.125), ("hardsigmoid", 0)]
)
def test_slope_at_nan(name: str, slope: float, backend: str) -> None:
    x, gy = np.full(37, np.nan, np.float32), np.ones(37, np.float32)
    with using(backend):
        _, gx = _run(name, x, gy)
    np.testing.assert_array_equal(gx, np.full(37, slope, np.float32))


@pytest.mark.parametrize("backend", BACKENDS)
def test_float16_is_computed_in_float32(backend: str) -> None:
    x = np.linspace(-8, 8, 99).astype(np.float16)
    with using(backend):
        y = elementwise.apply(elementwise.gelu, x)
        exact = elementwise.apply(elementwise.gelu, x.astype(np.float32))
    np.testing.assert_array_equal(y, exact.astype(np.float16))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_result_may_overwrite_its_argument(
    name: str, backend: str, rng: np.random.Generator
) -> None:
    x, gy = rng.standard_normal((2, 5, 21)).astype(np.float32) * 3
    fn, gradient = getattr(elementwise, name), getattr(elementwise, f"{name}_grad")
    given = SETTINGS.get(name, ())
    with using(backend):
        y, gx = _run(name, x, gy)
        over = gy.copy()
        saved = y if name in OF_THE_OUTPUT else x
        assert elementwise.apply(gradient, saved, over, settings=given, out=over) is over
        np.testing.assert_array_equal(over, gx)
        assert elementwise.apply(fn, x, settings=given, out=x) is x
    np.testing.assert_array_equal(x, y)
    turned = np.asfortranarray(gy)
    with using(backend):
        apart = elementwise.apply(gradient, saved, turned, settings=given, out=turned)
    assert apart is not turned
    np.testing.assert_array_equal(turned, gy)


def test_empty_and_zero_dimensional() -> None:
    assert elementwise.apply(elementwise.relu, np.empty((3, 0), np.float32)).shape == (3, 0)
    assert elementwise.apply(elementwise.relu, np.array(-2.0)).shape == ()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_same_bits_at_any_thread_count(name: str, rng: np.random.Generator) -> None:
    x, gy = rng.standard_normal((2, 40_001)).astype(np.float32)
    assert_same_bits_at_any_thread_count(lambda: _run(name, x * 4, gy))
