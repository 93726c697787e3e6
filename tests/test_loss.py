"""Losses beyond the rows of cases/loss.py: refusals, warnings, nothing to count, extreme scores."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as TF

import minitorch_cnn
from minitorch_cnn import Tensor
from minitorch_cnn.nn import functional as F


def _both(array: Any, requires_grad: bool = False) -> tuple[Tensor, torch.Tensor]:
    array = np.asarray(array)
    return Tensor._wrap(array.copy(), requires_grad), torch.tensor(
        array, requires_grad=requires_grad
    )


def _x(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).random(shape).astype(np.float32)


def _classes(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.int64)


REFUSED: list[tuple[str, tuple[np.ndarray, ...], dict[str, Any], str]] = [
    ("cross_entropy", (_x(3, 4), np.array([1, 10, 0])), {}, "Target 10 is out of bounds."),
    ("cross_entropy", (_x(3, 4), np.array([1, -1, 0])), {}, "Target -1 is out of bounds."),
    ("nll_loss", (_x(4), np.array(7)), {}, "Target 7 is out of bounds."),
    ("nll_loss", (_x(1, 4, 2), np.array([[0, 4]])), {}, "Target 4 is out of bounds."),
    ("nll_loss", (_x(3, 4), _classes(4)), {},
     r"Expected input batch_size \(3\) to match target batch_size \(4\)."),
    ("cross_entropy", (_x(3, 4), _classes(4)), {},
     r"Expected input batch_size \(3\) to match target batch_size \(4\)."),
    ("cross_entropy", (_x(3, 4), _classes(3).astype(np.int32)), {},
     "expected target dtype to be Long or Byte, but got Int"),
    ("cross_entropy", (_x(3, 4), _classes(3, 1)), {}, "multi-target not supported"),
    ("cross_entropy", (_x(3, 4, 2, 2), _classes(3, 2, 3)), {}, r"\[3, 2, 3\]"),
    ("cross_entropy", (_x(3, 4), _classes(3)), {"weight": _x(3)}, "for all 4 classes or no"),
    ("cross_entropy", (_x(3, 4), _classes(3)), {"label_smoothing": 1.5}, "between 0.0 and 1.0"),
    ("cross_entropy", (_x(3, 4), _classes(3)), {"reduction": "avg"}, "avg is not a valid value"),
    ("cross_entropy", (_x(3, 4), _classes(3, 4)), {}, "got Long"),
    ("binary_cross_entropy", (_x(3), _x(4)), {}, "the same size"),
    ("binary_cross_entropy", (_x(3) + 1, _x(3)), {}, "elements of input should be between 0 and 1"),
    ("binary_cross_entropy", (_x(3), _x(3) - 1), {}, "elements of target should be between"),
    ("binary_cross_entropy", (_x(3), _classes(3)), {}, "Found dtype Long but expected Float"),
    ("binary_cross_entropy_with_logits", (_x(3), _x(4)), {}, "must be the same"),
    ("binary_cross_entropy_with_logits", (_x(3), _x(3)), {"weight": _x(2, 3)}, r"\[2, 3\]"),
    ("smooth_l1_loss", (_x(3), _x(3)), {"beta": -1.0}, "negative values for beta"),
    ("huber_loss", (_x(3), _x(3)), {"delta": 0.0}, "non-positive values for delta"),
    ("kl_div", (_x(3), _x(3)), {"reduction": "avg"}, "avg is not a valid value"),
    ("mse_loss", (_classes(3), _classes(3)), {}, "not implemented for 'Long'"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "arrays", "settings", "message"), REFUSED)
def test_refuses_what_pytorch_refuses(
    name: str, arrays: tuple[np.ndarray, ...], settings: dict[str, Any], message: str
) -> None:
    pairs = [_both(a) for a in arrays]
    weights = {k: _both(v) for k, v in settings.items() if isinstance(v, np.ndarray)}
    ours = {**settings, **{k: v[0] for k, v in weights.items()}}
    theirs = {**settings, **{k: v[1] for k, v in weights.items()}}
    with pytest.raises(Exception) as expected:
        getattr(TF, name)(*(p[1] for p in pairs), **theirs)
    with pytest.raises(expected.type, match=message):
        getattr(F, name)(*(p[0] for p in pairs), **ours)


@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"])
def test_sizes_that_broadcast_warn_and_others_fail(name: str) -> None:
    x, y = _both(_x(3, 4)), _both(_x(4))
    with pytest.warns(UserWarning, match="different to the input size"):
        result = getattr(F, name)(x[0], y[0])
    with pytest.warns(UserWarning, match="different to the input size"):
        expected = getattr(TF, name)(x[1], y[1])
    np.testing.assert_allclose(result.array, expected.numpy(), rtol=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(RuntimeError, match=r"\[3, 4\].*\[3\]"):
            getattr(F, name)(x[0], _both(_x(3))[0])


@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss",
                                  "binary_cross_entropy_with_logits"])  # fmt: skip
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_of_nothing(name: str, reduction: str) -> None:
    ours, theirs = _both(_x(0, 3))
    result = getattr(F, name)(ours, ours, reduction=reduction)
    expected = getattr(TF, name)(theirs, theirs, reduction=reduction)
    np.testing.assert_array_equal(result.array, expected.numpy())


@pytest.mark.parametrize("name", ["nll_loss", "cross_entropy"])
@pytest.mark.parametrize("shape", [(0, 3), (0, 3, 2, 2), (2, 3), (2, 3, 2), (3,)])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_of_ignored_positions_only(name: str, shape: tuple[int, ...], reduction: str) -> None:
    x, theirs = _both(_x(*shape), requires_grad=True)
    positions = (shape[0], *shape[2:]) if len(shape) > 1 else ()
    target, their_target = _both(np.full(positions, -100))
    result = getattr(F, name)(x, target, reduction=reduction)
    expected = getattr(TF, name)(theirs, their_target, reduction=reduction)
    np.testing.assert_array_equal(result.array, expected.detach().numpy())
    result.sum().backward()
    expected.sum().backward()
    np.testing.assert_array_equal(x.grad.array, theirs.grad.numpy())


def test_an_ignored_row_may_hold_nan() -> None:
    x = np.array([[1.0, 2.0], [np.nan, np.inf]])
    ours, theirs = _both(x, requires_grad=True)
    target, their_target = _both([0, -100])
    result, expected = F.nll_loss(ours, target), TF.nll_loss(theirs, their_target)
    result.backward()
    expected.backward()
    assert result.item() == expected.item() == -1
    np.testing.assert_array_equal(ours.grad.array, theirs.grad.numpy())


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_extreme_scores(smoothing: float) -> None:
    x = np.array([[1e4, 0, -1e4], [3e38, 0, 1], [-np.inf, 0, 1], [-1e30, -1e30, -1e30]], "f")
    ours, theirs = _both(x, requires_grad=True)
    target, their_target = _both([1, 0, 2, 0])
    settings: dict[str, Any] = {"reduction": "none", "label_smoothing": smoothing}
    result = F.cross_entropy(ours, target, **settings)
    expected = TF.cross_entropy(theirs, their_target, **settings)
    np.testing.assert_allclose(result.array, expected.detach().numpy(), rtol=1e-6)
    result.backward(minitorch_cnn.ones(4))
    expected.backward(torch.ones(4))
    np.testing.assert_allclose(ours.grad.array, theirs.grad.numpy(), rtol=1e-5, atol=1e-7)


def test_logits_do_not_overflow() -> None:
    ours, theirs = _both(np.array([1e4, -1e4, 0.0, 90.0], "f"), requires_grad=True)
    y, their_y = _both(np.array([0.0, 1.0, 0.5, 1.0], "f"))
    v, their_v = _both(np.array([2.0], "f"))
    F.binary_cross_entropy_with_logits(ours, y, pos_weight=v).backward()
    TF.binary_cross_entropy_with_logits(theirs, their_y, pos_weight=their_v).backward()
    # 1 - sigmoid(90) is 8e-40, which PyTorch rounds to 0.
    np.testing.assert_allclose(ours.grad.array, theirs.grad.numpy(), rtol=1e-6, atol=1e-38)


@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"])
def test_nan_gives_the_gradient_of_pytorch(name: str) -> None:
    x = np.array([np.nan, np.inf, 1.0])
    (ours, theirs), (y, their_y) = _both(x, requires_grad=True), _both(np.zeros(3))
    getattr(F, name)(ours, y, reduction="sum").backward()
    getattr(TF, name)(theirs, their_y, reduction="sum").backward()
    np.testing.assert_array_equal(ours.grad.array, theirs.grad.numpy())


def test_a_target_of_zero_in_kl_div() -> None:
    (x, their_x), (y, their_y) = _both(np.log(_x(3)), True), _both(np.array([0, 1, 2], "f"), True)
    result = F.kl_div(x, y, reduction="sum")
    expected = TF.kl_div(their_x, their_y, reduction="sum")
    assert result.item() == pytest.approx(expected.item())
    result.backward()
    expected.backward()
    np.testing.assert_allclose(x.grad.array, their_x.grad.numpy())
    np.testing.assert_allclose(y.grad.array, their_y.grad.numpy(), rtol=1e-6)


def test_the_mean_of_many_float16_losses_does_not_overflow() -> None:
    x = np.full(100_000, 20, np.float16)
    y = np.zeros_like(x)
    assert F.mse_loss(_both(x)[0], _both(y)[0]).item() == 400
    scores, _ = _both(np.zeros((70_000, 2), np.float16), requires_grad=True)
    loss = F.cross_entropy(scores, _both(_classes(70_000))[0])
    assert loss.item() == pytest.approx(np.log(2), rel=1e-3)


def test_lists_of_scores_one_class_each() -> None:
    """PyTorch takes a single class for (C) as a list of one, too."""
    x, theirs = _both(_x(4))
    target, their_target = _both([2])
    for name in ("nll_loss", "cross_entropy"):
        result = getattr(F, name)(x, target)
        expected = getattr(TF, name)(theirs, their_target)
        np.testing.assert_allclose(result.array, expected.numpy(), rtol=1e-6)


def test_an_image_of_labels_by_plain_loops() -> None:
    rng = np.random.default_rng(0)
    x, target, w = rng.standard_normal((2, 3, 4, 5)), rng.integers(0, 3, (2, 4, 5)), rng.random(3)
    target[0, 1, 2] = 7
    total = weights = 0.0
    for n, i, j in np.ndindex(target.shape):
        t = target[n, i, j]
        if t != 7:
            scores = x[n, :, i, j]
            total -= w[t] * (scores[t] - np.log(np.exp(scores).sum()))
            weights += w[t]
    loss = F.cross_entropy(_both(x)[0], _both(target)[0], _both(w)[0], ignore_index=7)
    assert loss.item() == pytest.approx(total / weights)
