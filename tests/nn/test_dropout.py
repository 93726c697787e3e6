"""Dropout: nothing in evaluation; in training the right share, scale, channels, gradient, seed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

import minitorch_cnn as mt
from minitorch_cnn import nn
from minitorch_cnn.nn import functional as F
from minitorch_cnn.tensor import Tensor

from ..oracle import outcome
from .compare import ours

NAMES = ["dropout", "dropout1d", "dropout2d", "alpha_dropout", "feature_alpha_dropout"]


def shape_for(name: str) -> tuple[int, ...]:
    return (40, 50, 30) if name == "dropout1d" else (20, 30, 8, 9)


@pytest.mark.parametrize("name", NAMES)
def test_evaluation_changes_nothing(name: str) -> None:
    x = ours(np.random.default_rng(0).standard_normal(shape_for(name)), True)
    assert getattr(F, name)(x, 0.5, training=False) is x
    np.testing.assert_array_equal(getattr(F, name)(x, 0.0, training=True).array, x.array)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("name", NAMES)
def test_training(name: str, p: float) -> None:
    mt.manual_seed(0)
    x = ours(np.random.default_rng(0).standard_normal(shape_for(name)), True)
    y = getattr(F, name)(x, p, training=True)
    kept = y.array != (0 if "alpha" not in name else y.array.min())
    if "alpha" in name:  # what was dropped has one value; find it by the formula
        a = 1 / math.sqrt((1 - p) * (1 + p * 1.7580993408473766**2))
        dropped = -1.7580993408473766 * a * (1 - p)
        kept = ~np.isclose(y.array, dropped, rtol=1e-12)
        want = np.where(kept, a * x.array + 1.7580993408473766 * a * p, dropped)
        scale = a
    else:
        scale = 1 / (1 - p)
        want = np.where(kept, x.array * scale, 0)
    np.testing.assert_allclose(y.array, want, rtol=1e-12)
    if name not in ("dropout", "alpha_dropout"):  # whole channels
        per_channel = kept.reshape(*kept.shape[:2], -1)
        assert (per_channel == per_channel[..., :1]).all()
        kept = per_channel[..., 0]
    assert abs(kept.mean() - (1 - p)) < 5 * math.sqrt(p * (1 - p) / kept.size)
    y.sum().backward()
    full = np.broadcast_to(kept.reshape(kept.shape + (1,) * (x.ndim - kept.ndim)), x.shape)
    np.testing.assert_allclose(x.grad.array, np.where(full, scale, 0), rtol=1e-12)


def test_moments_of_alpha_dropout() -> None:
    mt.manual_seed(0)
    x = ours(np.random.default_rng(0).standard_normal(200_000))
    y = F.alpha_dropout(x, 0.3, training=True).array
    assert abs(y.mean()) < 0.02
    assert abs(y.std() - 1) < 0.02


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_everything_dropped(dtype: Any) -> None:
    x = ours(np.ones((3, 4), dtype), True)
    y = F.dropout(x, 1.0)
    assert y.array.dtype == dtype
    assert not y.array.any()
    y.sum().backward()
    assert not x.grad.array.any()
    assert np.isnan(F.dropout(ours(np.array([np.inf])), 1.0).array).all()


def test_seed_and_order() -> None:
    x = ours(np.ones((50, 7), np.float32))
    mt.manual_seed(3)
    first, second = F.dropout(x).array, F.dropout(x).array
    assert (first != second).any()
    mt.manual_seed(3)
    np.testing.assert_array_equal(F.dropout(x).array, first)
    # Another memory order is the same tensor.
    mt.manual_seed(3)
    np.testing.assert_array_equal(F.dropout(ours(np.asfortranarray(x.array))).array, first)


def test_inplace() -> None:
    mt.manual_seed(0)
    x = ours(np.ones((4, 5), np.float32))
    y = F.dropout(x, 0.5, inplace=True)
    assert y is x
    assert set(np.unique(x.array)) == {0.0, 2.0}
    a = ours(np.ones((4, 5)), True)
    b = a * 3
    c = F.dropout(b, 0.5, inplace=True)
    assert c is b
    c.sum().backward()
    np.testing.assert_array_equal(a.grad.array, b.array)


@pytest.mark.parametrize("name", ["Dropout", "Dropout1d", "Dropout2d", "AlphaDropout",
                                  "FeatureAlphaDropout"])  # fmt: skip
def test_layers(name: str) -> None:
    for args in ((), (0.3,), (0.3, True)):
        layer = getattr(nn, name)(*args)
        assert repr(layer) == repr(getattr(torch.nn, name)(*args))
    x = ours(np.ones(shape_for(name.lower()), np.float32))
    layer = getattr(nn, name)(0.5)
    assert (layer(x).array != 1).any()
    assert layer.eval()(x) is x
    for p in (-0.1, 1.1):
        with pytest.raises(ValueError, match="between 0 and 1"):
            getattr(nn, name)(p)


@pytest.mark.parametrize("name", NAMES)
def test_refusals(name: str) -> None:
    function = getattr(F, name)
    with pytest.raises(ValueError, match="between 0 and 1"):
        function(ours(np.ones((2, 3, 4))), 1.5)
    with pytest.raises(RuntimeError, match="can't be cast"):
        function(ours(np.ones((2, 3, 4), int)), 0.5, True)
    with pytest.raises(TypeError, match="must be Tensor"):
        function(np.ones((2, 3, 4)), 0.5)


def test_dimensions_as_in_pytorch() -> None:
    for name, ndim in (("dropout1d", 1), ("dropout1d", 4), ("dropout2d", 1)):
        x = np.ones((2,) * ndim)
        for call in (
            lambda: getattr(F, name)(ours(x)),  # noqa: B023
            lambda: getattr(torch.nn.functional, name)(torch.from_numpy(x)),  # noqa: B023
        ):
            assert isinstance(outcome(call), RuntimeError)
    mt.manual_seed(0)
    with pytest.warns(UserWarning, match=r"Received a 3D input to dropout2d"):
        y = F.dropout2d(ours(np.ones((30, 20, 5))))
    assert (y.array == y.array[..., :1]).all()
    y = F.dropout1d(ours(np.ones((300, 5))))
    assert (y.array == y.array[:, :1]).all()
    assert 0 < y.array.mean() < 2
    assert isinstance(y, Tensor)
