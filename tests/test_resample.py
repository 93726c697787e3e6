"""Interpolation beyond the rows of cases/resample.py: every index, refusals, bytes, infinities."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as TF

from minitorch_cnn import Tensor
from minitorch_cnn.nn import functional as F


def _same(x: np.ndarray, **settings: Any) -> None:
    y = F.interpolate(Tensor._wrap(x), **settings)
    want = TF.interpolate(torch.tensor(x), **settings)
    assert y.dtype.name == str(want.dtype).removeprefix("torch.")
    np.testing.assert_array_equal(y.array, want.numpy(), err_msg=str((x.shape, settings)))


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("image", [False, True])
def test_every_nearest_index(mode: str, dtype: str, image: bool) -> None:
    """Sizes where rounding decides: 6 -> 74, 21 -> 69 and 2 -> 41 among them."""
    for n in (1, 2, 3, 5, 6, 7, 12, 14, 21, 24, 26):
        x = np.arange(n, dtype=dtype).reshape((1, 1, 1, n) if image else (1, 1, n))
        for m in range(1, 76):
            if not image and dtype == "float32" and mode == "nearest-exact" and m in (41, 47, 55):
                continue  # PyTorch's answer depends on the processor: fused multiply-add or not
            _same(x, size=(1, m) if image else m, mode=mode)
        for k in (0.3, 0.5, 0.7, 1.1, 1.3, 1.5, 1.7, 2.1, 2.5, 2.9, 3.3, 1 / 3, 7 / 3):
            if int(n * k):
                _same(x, scale_factor=(1.0, k) if image else k, mode=mode)


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
def test_nearest_of_bytes(mode: str) -> None:
    _same(np.arange(24, dtype=np.uint8).reshape(1, 2, 3, 4), size=(5, 7), mode=mode)


@pytest.mark.parametrize("align_corners", [False, True])
def test_an_infinite_pixel_stays_local(align_corners: bool) -> None:
    x = np.zeros((1, 1, 4, 5))
    x[0, 0, 1, 2] = np.inf
    _same(x, size=(9, 9), mode="bilinear", align_corners=align_corners)


def test_bilinear_by_hand() -> None:
    x = Tensor._wrap(np.array([[[[0.0, 4.0]]]]), True)
    y = F.interpolate(x, scale_factor=2, mode="bilinear")
    np.testing.assert_array_equal(y.array, [[[[0, 1, 3, 4], [0, 1, 3, 4]]]])
    y.backward(Tensor._wrap(np.array([[[[1.0, 1, 1, 1], [0, 0, 0, 8]]]])))
    np.testing.assert_array_equal(x.grad.array, [[[[2, 10]]]])


def test_the_result_is_a_copy() -> None:
    x = Tensor._wrap(np.zeros((1, 1, 3, 3)))
    for mode in ("nearest", "bilinear"):
        assert not np.shares_memory(F.interpolate(x, size=3, mode=mode).array, x.array)


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.bool_])
@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_integers_are_refused(dtype: Any, mode: str) -> None:
    x = np.ones((1, 1, 2, 3), dtype)
    with pytest.raises(NotImplementedError):
        TF.interpolate(torch.tensor(x), size=4, mode=mode)
    with pytest.raises(NotImplementedError, match=r"\.float\(\)"):
        F.interpolate(Tensor._wrap(x), size=4, mode=mode)


REFUSED = [
    ((1, 1, 3, 3), {}),
    ((1, 1, 3, 3), {"size": 3, "scale_factor": 2.0}),
    ((1, 1, 3, 3), {"size": (3,)}),
    ((1, 1, 3, 3), {"size": (0, 3)}),
    ((1, 1, 3, 3), {"scale_factor": 0.1}),
    ((1, 1, 3, 3), {"size": 3, "mode": "linear"}),
    ((1, 1, 3, 3), {"size": 3, "align_corners": True}),
    ((1, 1, 3, 3), {"size": 3, "mode": "unknown"}),
    ((3, 3), {"size": 3}),
    ((2, 0, 3, 3), {"size": 3}),
    ((2, 0, 3, 3), {"size": 3, "mode": "bilinear"}),
    ((2, 1, 0, 3), {"size": 3}),
    ((2, 0, 3), {"size": 3}),
]


@pytest.mark.parametrize(("shape", "settings"), REFUSED)
def test_refuses_what_pytorch_refuses(shape: tuple[int, ...], settings: dict[str, Any]) -> None:
    with pytest.raises(Exception) as expected:
        TF.interpolate(torch.zeros(shape), **settings)
    with pytest.raises(expected.type):
        F.interpolate(Tensor._wrap(np.zeros(shape, np.float32)), **settings)
