"""elementwise.cu against functions of one number."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minitorch_cnn.kernels import elementwise, reference

from ..kernels.test_elementwise import AT_EDGES, EDGES, FUNCTIONS, OF_THE_OUTPUT, SETTINGS
from ..strategies import arrays, make_array
from .common import needs_emulator
from .twins import emulated

pytestmark = needs_emulator

# Each kernel is compiled for each type that it is tested in: double where a function of CUDA is
# called, and where a constant is rounded.
CASES = [(name, np.float32) for name in FUNCTIONS]
CASES += [(name, np.float64) for name in ("gelu", "elu", "softplus", "hardswish")]


def _run(
    name: str, x: np.ndarray, gy: np.ndarray, check: str | None = None
) -> tuple[np.ndarray, np.ndarray]:
    given = SETTINGS.get(name, ())
    with emulated(check) as ran:
        y = elementwise.apply(getattr(elementwise, name), x, settings=given)
        saved = y if name in OF_THE_OUTPUT else x
        gx = elementwise.apply(getattr(elementwise, f"{name}_grad"), saved, gy, settings=given)
    assert ran == ([name, f"{name}_grad"] if x.size else [])
    return y, gx


@pytest.mark.parametrize(("name", "dtype"), CASES)
@settings(max_examples=8)
@given(data=st.data())
def test_equals_the_function_of_one_number(name: str, dtype: Any, data: st.DataObject) -> None:
    x = np.asarray(data.draw(arrays(dtype=dtype)) * data.draw(st.sampled_from([0.01, 3, 30])))
    x = x.astype(dtype)
    gy = np.random.default_rng(0).standard_normal(x.shape).astype(dtype)
    y, gx = _run(name, x, gy)
    given = SETTINGS.get(name, ())
    values = x.astype(float).ravel().tolist()
    expected = [reference.elementwise.FUNCTIONS[name](v, *given) for v in values]
    slopes = [reference.elementwise.SLOPES[name](v, *given) for v in values]
    limit = 1e-5 if dtype is np.float32 else 1e-12
    np.testing.assert_allclose(y, np.reshape(expected, x.shape), rtol=limit, atol=limit / 10)
    expected_gx = gy * np.reshape(slopes, x.shape)
    np.testing.assert_allclose(gx, expected_gx, rtol=limit, atol=limit / 10)


@pytest.mark.parametrize("name", sorted(AT_EDGES))
def test_at_the_edges(name: str) -> None:
    """More elements than the emulator's grid has threads: the loop over the grid goes round."""
    x = np.tile(EDGES, 100).astype(np.float32)
    y, gx = _run(name, x, np.ones_like(x))
    expected = np.tile(np.asarray(AT_EDGES[name], np.float32), 100)
    np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-30)
    if name in ("relu", "clip", "leaky_relu", "hardsigmoid"):
        at_nan = {"relu": 1, "leaky_relu": 0.125}.get(name, 0)
        np.testing.assert_array_equal(gx[:: EDGES.size], np.full(100, at_nan, np.float32))


@pytest.mark.parametrize("check", ["address", "undefined"])
def test_sanitizers_have_nothing_to_say(check: str) -> None:
    """All kernels of the file share their loop."""
    x = make_array((1500,), "normal", 1, np.float32)
    _run("clip", x, x, check)
