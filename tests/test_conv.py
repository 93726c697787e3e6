"""What convolutions refuse, and how they say so; edge cases that the rows of cases do not draw."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import minitorch_cnn
import minitorch_cnn.nn.functional as F
from minitorch_cnn.tensor import Tensor

T = torch.nn.functional


def _x(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


X, W, WT = _x(2, 3, 5, 6), _x(4, 3, 3, 3), _x(3, 4, 3, 3)
COL = _x(2, 27, 12)

# name, arguments (arrays become tensors), settings, words of the message.
REFUSED: list[tuple[str, tuple[Any, ...], dict[str, Any], str]] = [
    ("conv2d", (X, W), {"stride": 0}, "stride must be positive"),
    ("conv2d", (X, W), {"stride": (1, -1)}, "stride must be positive"),
    ("conv2d", (X, W), {"stride": (1, 1, 1)}, "stride"),
    ("conv2d", (X, W), {"stride": 1.0}, "int"),
    ("conv2d", (X, W), {"stride": True}, "int"),
    ("conv2d", (X, W), {"padding": -1}, "padding must be non-negative"),
    ("conv2d", (X, W), {"padding": 0.5}, "int"),
    ("conv2d", (X, W), {"padding": (1, 1, 1, 1)}, "padding"),
    ("conv2d", (X, W), {"padding": "full"}, "Invalid padding string: 'full'"),
    ("conv2d", (X, W), {"padding": "same", "stride": 2}, "not supported for strided"),
    ("conv2d", (X, W), {"dilation": 0}, "dilation must be positive"),
    ("conv2d", (X, W), {"dilation": 3}, "Kernel size can't be greater than actual input size"),
    ("conv2d", (X, _x(4, 3, 7, 7)), {}, r"\(5 x 6\). Kernel size: \(7 x 7\)"),
    ("conv2d", (X, _x(4, 2, 3, 3)), {}, r"input\[2, 3, 5, 6\] to have 2 channels, but got 3"),
    ("conv2d", (_x(2, 1, 5, 6), W), {}, r"x.expand\(-1, 3, -1, -1\)"),
    ("conv2d", (_x(2, 5, 6, 3), W), {}, r"x.permute\(0, 3, 1, 2\)"),
    ("conv2d", (X, W), {"groups": 3}, "divisible by 3"),
    ("conv2d", (X, W), {"groups": 0}, "non-positive groups"),
    ("conv2d", (X, W), {"groups": 2.0}, "int"),
    ("conv2d", (X[0, 0], W), {}, r"3D \(unbatched\) or 4D \(batched\)"),
    ("conv2d", (X[None], W), {}, r"3D \(unbatched\) or 4D \(batched\)"),
    ("conv2d", (X, W[0]), {}, "weight"),
    ("conv2d", (X, W[None]), {}, "weight"),
    ("conv2d", (X, W[:0]), {}, "at least 1"),
    ("conv2d", (X, W[:, :, :0]), {}, "kernel size"),
    ("conv2d", (X[:, :, :0], W), {"padding": 2}, "zero batch"),
    ("conv2d", (X, W, _x(3)), {}, "4 elements, but got bias of size"),
    ("conv2d", (X, W, _x(4, 1)), {}, "1-dimensional"),
    ("conv2d", (X, W.astype(np.float64)), {}, "float32, float64"),
    ("conv2d", (X, W, _x(4).astype(np.float64)), {}, "float32, float32, float64"),
    ("conv2d", (X > 0, W > 0), {}, "bool"),
    ("conv2d", (_x(1, 1, 2, 2), _x(1, 1, 1, 1)), {"padding": 10**6}, "GiB"),
    ("conv1d", (_x(2, 3, 9, 2), _x(4, 3, 3)), {}, r"2D \(unbatched\) or 3D \(batched\)"),
    ("conv1d", (_x(2, 3, 9), _x(4, 2, 3)), {}, "2 channels"),
    ("conv1d", (_x(2, 3, 9), _x(4, 3, 3, 1)), {}, "weight"),
    ("conv1d", (_x(2, 3, 2), _x(4, 3, 4)), {}, "can't be greater"),
    ("conv1d", (_x(2, 3, 9), _x(4, 3, 3)), {"stride": (1, 2)}, "stride"),
    ("conv_transpose2d", (X, W), {}, "4 channels"),
    ("conv_transpose2d", (X, WT), {"stride": 0}, "stride must be positive"),
    ("conv_transpose2d", (X, WT), {"groups": 2}, "divisible by 2"),
    ("conv_transpose2d", (X, WT), {"output_padding": 1}, "output padding must be smaller"),
    ("conv_transpose2d", (X, WT), {"output_padding": -1, "stride": 2}, "non-negative"),
    ("conv_transpose2d", (X, WT), {"padding": 5}, "pad less"),
    ("conv_transpose2d", (X, WT), {"padding": "same"}, "padding"),
    ("conv_transpose2d", (X, WT, _x(3)), {}, "4 elements"),
    ("conv_transpose2d", (X[0, 0], WT), {}, "4D"),
    ("conv_transpose2d", (X[:, :, :0], WT), {}, "0 x 6"),
    ("conv_transpose2d", (X, WT.astype(np.float64)), {}, "float32, float64"),
    ("unfold", (X,), {"kernel_size": 7}, "no sliding block"),
    ("unfold", (X,), {"kernel_size": 0}, "kernel_size must be positive"),
    ("unfold", (X,), {"kernel_size": 3, "stride": 0}, "stride must be positive"),
    ("unfold", (X,), {"kernel_size": 3, "padding": -1}, "padding must be non-negative"),
    ("unfold", (X.astype(int),), {"kernel_size": 3}, "int64"),
    ("fold", (COL[:, :26],), {"output_size": (5, 6), "kernel_size": 3}, "divisible"),
    ("fold", (COL,), {"output_size": (6, 6), "kernel_size": 3}, r"4 \* 4 = 16"),
    ("fold", (COL,), {"output_size": (2, 2), "kernel_size": 3}, "no sliding block"),
    ("fold", (COL.astype(int),), {"output_size": (5, 6), "kernel_size": 3}, "int64"),
]


@pytest.mark.parametrize(("name", "arrays", "settings", "words"), REFUSED)
def test_what_pytorch_refuses(name: str, arrays: Any, settings: Any, words: str) -> None:
    with pytest.raises((RuntimeError, TypeError)) as theirs:
        getattr(T, name)(*map(torch.from_numpy, arrays), **settings)
    with pytest.raises(theirs.type, match=words) as ours:
        getattr(F, name)(*map(Tensor._wrap, arrays), **settings)
    assert name in str(ours.value)


def test_a_layer_that_does_not_fit_leaves_nothing_behind() -> None:
    x, weight = Tensor._wrap(X.copy(), True), Tensor._wrap(_x(4, 2, 3, 3), True)
    with pytest.raises(RuntimeError):
        F.conv2d(x, weight)
    assert x.grad is None
    np.testing.assert_array_equal(x.array, X)


def test_gradient_of_an_expanded_output() -> None:
    """sum() sends back a broadcast array, with strides of 0."""
    x, weight, bias = (Tensor._wrap(a.copy(), True) for a in (X, W, _x(4)))
    F.conv2d(x, weight, bias, padding=1).sum().backward()
    tensors = [torch.tensor(a.array, requires_grad=True) for a in (x, weight, bias)]
    T.conv2d(*tensors, padding=1).sum().backward()
    for ours, theirs in zip((x, weight, bias), tensors, strict=True):
        assert ours.grad is not None
        assert theirs.grad is not None
        np.testing.assert_allclose(ours.grad.array, theirs.grad.numpy(), rtol=1e-5, atol=1e-5)


def test_empty_batch_has_zero_gradients() -> None:
    weight, bias = Tensor._wrap(W.copy(), True), Tensor._wrap(_x(4), True)
    y = F.conv2d(Tensor._wrap(X[:0]), weight, bias)
    assert y.shape == (0, 4, 3, 4)
    y.sum().backward()
    assert weight.grad is not None
    assert bias.grad is not None
    assert not weight.grad.array.any()
    assert not bias.grad.array.any()


def test_no_gradient_is_computed_for_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any) -> None:
        raise AssertionError("grad_input was called for an input without requires_grad")

    monkeypatch.setattr(minitorch_cnn.kernels.conv2d, "grad_input", never)
    weight = Tensor._wrap(W.copy(), True)
    F.conv2d(Tensor._wrap(X), weight).sum().backward()
    assert weight.grad is not None


@pytest.mark.parametrize("groups", [1, 3])
def test_half_precision(groups: int) -> None:
    x, weight = X.astype(np.float16), _x(6, 3 // groups, 3, 3, dtype=np.float16)
    ours = [Tensor._wrap(a.copy(), True) for a in (x, weight)]
    theirs = [torch.tensor(a, requires_grad=True) for a in (x, weight)]
    y, expected = F.conv2d(*ours, groups=groups), T.conv2d(*theirs, groups=groups)
    np.testing.assert_allclose(y.array, expected.detach().numpy(), rtol=2e-3, atol=4e-3)
    y.sum().backward()
    expected.sum().backward()
    for a, b in zip(ours, theirs, strict=True):
        assert a.grad is not None
        assert b.grad is not None
        assert a.grad.array.dtype == np.float16
        np.testing.assert_allclose(a.grad.array, b.grad.numpy(), rtol=4e-3, atol=2e-2)


def test_integers() -> None:
    x, weight = (np.random.default_rng(0).integers(-9, 9, s) for s in [(2, 3, 5, 6), (3, 4, 3, 3)])
    ours = F.conv_transpose2d(Tensor._wrap(x), Tensor._wrap(weight), stride=2)
    theirs = T.conv_transpose2d(torch.from_numpy(x), torch.from_numpy(weight), stride=2)
    np.testing.assert_array_equal(ours.array, theirs.numpy())
