"""``repr`` equals PyTorch's, character by character."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minitorch_cnn as mt


@pytest.fixture(autouse=True)
def _default_options() -> Iterator[None]:
    yield
    for side in (mt, torch):
        side.set_printoptions(profile="default")


def both(array: np.ndarray) -> tuple[str, str]:
    array = np.ascontiguousarray(array).reshape(array.shape)
    return repr(mt.from_numpy(array)), repr(torch.from_numpy(array.copy()))


_SIDES = {"min_dims": 0, "max_dims": 4, "min_side": 0, "max_side": 12}
_FLOATS = (
    st.floats(width=32),
    st.floats(-1, 1, width=32),
    st.integers(-2000, 2000).map(float),
    st.sampled_from([0.0, -0.0, 1.0, float("nan"), float("inf"), -float("inf"), 1e-5, 1e9]),
    st.floats(1, 100, width=32),
)


def float_arrays(dtype: Any) -> st.SearchStrategy[np.ndarray]:
    """Each array draws its numbers from one or all of several ranges."""
    kinds = st.sampled_from([*_FLOATS, st.one_of(*_FLOATS)])
    wide = kinds.flatmap(
        lambda numbers: hnp.arrays(np.float64, hnp.array_shapes(**_SIDES), elements=numbers)
    )

    def cast(x: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return x.astype(dtype)

    return wide.map(cast)


@given(float_arrays(np.float32))
def test_float32(x: np.ndarray) -> None:
    ours, theirs = both(x)
    assert ours == theirs


@given(float_arrays(np.float64))
def test_float64(x: np.ndarray) -> None:
    ours, theirs = both(x)
    assert ours == theirs


@given(float_arrays(np.float16))
def test_float16(x: np.ndarray) -> None:
    ours, theirs = both(x)
    assert ours == theirs


@given(
    st.sampled_from([np.int64, np.int32, np.int16, np.int8, np.uint8, np.bool_]).flatmap(
        lambda d: hnp.arrays(d, hnp.array_shapes(**_SIDES))
    )
)
def test_integers_and_bools(x: np.ndarray) -> None:
    ours, theirs = both(x)
    assert ours == theirs


@given(
    float_arrays(np.float32),
    st.fixed_dictionaries({}, optional={
        "precision": st.integers(0, 8), "threshold": st.integers(0, 50),
        "edgeitems": st.integers(0, 4), "linewidth": st.integers(10, 200),
        "sci_mode": st.booleans(), "profile": st.sampled_from(["default", "short", "full"]),
    }),
)  # fmt: skip
def test_options(x: np.ndarray, options: dict[str, Any]) -> None:
    try:
        for side in (mt, torch):
            side.set_printoptions(**options)
        ours, theirs = both(x)
    finally:
        for side in (mt, torch):
            side.set_printoptions(profile="default")
    assert ours == theirs


@pytest.mark.parametrize("shape", [(1001,), (1000,), (40, 30), (2, 600), (7, 8, 20), (3, 2, 2, 90)])
def test_long_tensors_are_summarized(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    for x in (rng.standard_normal(shape).astype(np.float32), rng.integers(-5, 5000, shape)):
        ours, theirs = both(x)
        assert ours == theirs
        assert ("..." in ours) == (x.size > 1000)


def test_a_wide_number_off_screen_does_not_widen_the_rest() -> None:
    x = np.zeros(2000, np.int64)
    x[1000] = 10**15
    assert repr(mt.from_numpy(x)) == "tensor([0, 0, 0,  ..., 0, 0, 0])"


@given(
    st.lists(st.integers(1, 12), max_size=3).map(tuple),
    st.sampled_from([torch.float32, torch.float64]),
)
def test_requires_grad_and_grad_fn(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    array = np.random.default_rng(0).standard_normal(shape).astype(str(dtype)[6:])
    array = np.asarray(array)
    ours = mt.from_numpy(array).requires_grad_()
    theirs = torch.from_numpy(array.copy()).requires_grad_()
    assert repr(ours) == repr(theirs)
    # PyTorch counts the variants of a node (MulBackward0), so lines may break elsewhere.
    texts = repr(ours * 2), repr(theirs * 2).replace("Backward0>", "Backward>")
    assert texts[0].split() == texts[1].split()


def test_repr_of_a_whole_default_is_short() -> None:
    assert repr(mt.tensor(3.0)) == "tensor(3.)"
    assert repr(mt.tensor([])) == "tensor([])"
    assert repr(mt.tensor([], dtype=mt.int64)) == "tensor([], dtype=torch.int64)"
    assert str(mt.zeros(0, 3)) == "tensor([], size=(0, 3))"
    assert repr(mt.tensor([True])) == "tensor([True])"


def test_options_can_be_read() -> None:
    mt.set_printoptions(precision=2)
    assert mt.get_printoptions()["precision"] == 2
    assert repr(mt.tensor([1.12345])) == "tensor([1.12])"
    mt.set_printoptions(profile="default")
    assert mt.get_printoptions()["threshold"] == 1000


def test_default_dtype_goes_unnamed() -> None:
    try:
        for side in (mt, torch):
            side.set_default_dtype(side.float64)
        for dtype in (np.float32, np.float64):
            ours, theirs = both(np.array([1.5], dtype))
            assert ours == theirs
    finally:
        for side in (mt, torch):
            side.set_default_dtype(side.float32)
