"""Losses: how far a prediction is from its target, as one number or one per element.

``reduction`` is "mean", "sum" or "none". The mean of nothing is NaN, as in PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import kernels
from ..tensor import Array, op
from .basic import sum_along, sum_to

# binary_cross_entropy counts log(0) as this, so that its loss and gradient stay finite.
LOWEST_LOG = -100


def _reduce(loss: Array, reduction: str, divisor: Any = None) -> tuple[Array, Callable[..., Array]]:
    """The reduced loss, and how gy becomes the gradient of every element of ``loss``."""
    if reduction == "none":
        return loss, lambda gy: gy
    if reduction not in ("mean", "sum"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    shape, kind = loss.shape, loss.dtype
    y = np.asarray(sum_along(loss, tuple(range(loss.ndim))))
    if reduction == "sum":
        return y, lambda gy: np.broadcast_to(gy, shape)
    n = loss.size if divisor is None else divisor
    return (y / n).astype(kind), lambda gy: np.broadcast_to((gy / n).astype(kind), shape)


def _pairwise(
    x: Array, target: Array, reduction: str, loss: Array, slope: Callable[[], Array]
) -> Any:
    """A loss of x - target, whose slope for x is minus that for target."""
    y, spread = _reduce(loss, reduction)
    x_shape, target_shape = x.shape, target.shape
    return y, (
        lambda gy: sum_to(spread(gy) * slope(), x_shape),
        lambda gy: -sum_to(spread(gy) * slope(), target_shape),
    )


@op
def mse_loss(x: Array, target: Array, /, *, reduction: str = "mean") -> Any:
    """(x - target)^2."""
    _floating("mse_loss", x, target)
    d = x - target
    return _pairwise(x, target, reduction, d * d, lambda: d + d)


@op
def l1_loss(x: Array, target: Array, /, *, reduction: str = "mean") -> Any:
    """|x - target|; the slope at 0 is 0."""
    _floating("l1_loss", x, target)
    d = x - target
    return _pairwise(x, target, reduction, np.abs(d), lambda: np.sign(d))


@op
def smooth_l1_loss(
    x: Array, target: Array, /, *, beta: float = 1.0, reduction: str = "mean"
) -> Any:
    """(x - target)^2 / (2 beta) where |x - target| < beta, |x - target| - beta / 2 elsewhere."""
    _floating("smooth_l1_loss", x, target)
    d = x - target
    far = np.abs(d)
    if beta == 0:
        return _pairwise(x, target, reduction, far, lambda: np.sign(d))
    loss = np.where(far < beta, d * d * (0.5 / beta), far - 0.5 * beta)
    return _pairwise(x, target, reduction, loss, lambda: np.clip(d / beta, -1, 1))


@op
def huber_loss(x: Array, target: Array, /, *, delta: float = 1.0, reduction: str = "mean") -> Any:
    """(x - target)^2 / 2 where |x - target| < delta, delta (|x - target| - delta / 2) elsewhere."""
    _floating("huber_loss", x, target)
    d = x - target
    far = np.abs(d)
    loss = np.where(far < delta, 0.5 * d * d, delta * (far - 0.5 * delta))
    return _pairwise(x, target, reduction, loss, lambda: np.clip(d, -delta, delta))


@op
def binary_cross_entropy(
    x: Array, target: Array, /, *, weight: Array | None = None, reduction: str = "mean"
) -> Any:
    """-w (target log x + (1 - target) log(1 - x)), logs cut off at -100; x and target in [0, 1].

    ``weight`` broadcasts to x's shape.
    """
    _floating("binary_cross_entropy", x, target)
    for name, a in (("input", x), ("target", target)):
        if not ((a >= 0) & (a <= 1)).all():
            raise RuntimeError(
                f"binary_cross_entropy: all elements of {name} should be between 0 and 1"
            )
    w = _broadcastable("binary_cross_entropy", weight, x.shape)
    log_x, log_rest = (np.maximum(log, LOWEST_LOG) for log in (np.log(x), np.log1p(-x)))
    y, spread = _reduce(-w * (target * log_x + (1 - target) * log_rest), reduction)

    def grad_x(gy: Array) -> Array:
        # At 0 and 1 the slope is infinite: PyTorch divides by at least 1e-12.
        return spread(gy) * w * (x - target) / np.maximum(x * (1 - x), 1e-12)

    return y, (grad_x, lambda gy: spread(gy) * w * (log_rest - log_x))


@op
def binary_cross_entropy_with_logits(
    x: Array,
    target: Array,
    /,
    *,
    weight: Array | None = None,
    pos_weight: Array | None = None,
    reduction: str = "mean",
) -> Any:
    """-w (p target log s + (1 - target) log(1 - s)), s = sigmoid(x), p = pos_weight.

    Written as (1 - target) x + (1 + (p - 1) target) log(1 + e^-x), which neither overflows nor
    loses digits. ``weight`` and ``pos_weight`` broadcast to x's shape.
    """
    name = "binary_cross_entropy_with_logits"
    _floating(name, x, target)
    w, p = (_broadcastable(name, a, x.shape) for a in (weight, pos_weight))
    factor = 1 if pos_weight is None else 1 + (p - 1) * target
    log = np.maximum(-x, 0) + np.log1p(np.exp(-np.abs(x)))
    y, spread = _reduce(w * ((1 - target) * x + factor * log), reduction)

    def grad_x(gy: Array) -> Array:
        module = kernels.elementwise
        return spread(gy) * w * (1 - target - factor * module.apply(module.sigmoid, -x))

    def grad_target(gy: Array) -> Array:
        return spread(gy) * w * ((p - 1) * log - x)

    return y, (grad_x, grad_target)


@op
def kl_div(x: Array, target: Array, /, *, log_target: bool = False) -> Any:
    """t (log t - x) per element, for log-probabilities x; t is target, or e^target if log_target.

    0 where t is 0. Its sum over a row is the divergence of t from e^x.
    """
    if x.dtype.kind != "f" or target.dtype.kind != "f":
        raise RuntimeError("kl_div: Integral inputs not supported.")
    if log_target:
        t, log_t = np.exp(target), target
        y = t * (log_t - x)
    else:
        t, log_t = target, np.where(target == 0, 0, np.log(target))
        y = t * log_t - t * x
    x_shape, target_shape = x.shape, target.shape

    def grad_target(gy: Array) -> Array:
        slope = log_t - x + 1
        return sum_to(gy * (t * slope if log_target else slope), target_shape)

    return y, (lambda gy: sum_to(-gy * t, x_shape), grad_target)


@op
def nll_loss(
    x: Array,
    /,
    *,
    target: Array,
    weight: Array | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Any:
    """-w[t] x[t] for log-probabilities x (N, C), (N, C, ...) or (C) and classes t (N, ...) or ().

    ``target`` is int64 (or uint8), in 0..C-1 (else IndexError) or ``ignore_index``, which counts
    for nothing. "mean" divides by the sum of the w[t]; ``weight`` (C) is 1 unless given.
    """
    picked, w = _picked("nll_loss", x, target, weight, ignore_index)
    loss = np.where(picked.counted, -w * picked.take(x), 0)
    y, spread = _reduce(loss, reduction, _total(w))
    shape, kind = x.shape, x.dtype

    def grad(gy: Array) -> Array:
        gx = np.zeros(shape, kind)
        picked.put(gx, -w * spread(gy))
        return gx

    return y, (grad,)


@op
def cross_entropy(
    x: Array,
    /,
    *,
    target: Array,
    weight: Array | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """nll_loss(log_softmax(x)) in one op, which saves the log-probabilities alone.

    Shapes and ``target`` as in :func:`nll_loss`. ``label_smoothing`` e takes 1 - e of that and e of
    the mean over all classes of -w log_softmax(x); "mean" divides both by the sum of the w[t].
    """
    if not 0 <= label_smoothing <= 1:
        raise RuntimeError(
            f"cross_entropy: label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}"
        )
    picked, w = _picked("cross_entropy", x, target, weight, ignore_index)
    dim = _class_dim(x)
    log_p = kernels.softmax.log_softmax(x, dim)
    loss = np.where(picked.counted, -w * picked.take(log_p), 0)
    smooth = label_smoothing / max(x.shape[dim], 1)
    class_weight = _class_weight(weight, log_p, dim)
    if smooth:
        everywhere = np.where(picked.counted, -(class_weight * log_p).sum(dim), 0)
        loss = (1 - label_smoothing) * loss + smooth * everywhere
    y, spread = _reduce(loss, reduction, _total(w))

    def grad(gy: Array) -> Array:
        g = np.where(picked.counted, spread(gy), 0)
        g_log_p = np.zeros_like(log_p)
        if smooth:
            g_log_p -= np.expand_dims(smooth * g, dim) * class_weight
        picked.add(g_log_p, (label_smoothing - 1) * w * g)
        return kernels.softmax.log_softmax_grad(log_p, g_log_p, dim)

    return y, (grad,)


@op
def cross_entropy_probabilities(
    x: Array,
    target: Array,
    /,
    *,
    weight: Array | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """-(sum over classes of w p log_softmax(x)), p = (1 - e) target + e / C, e = label_smoothing.

    x and target (N, C), (N, C, ...) or (C). "mean" divides by the number of samples, whatever their
    weights.
    """
    _floating("cross_entropy", x, target)
    dim = _class_dim(x)
    log_p = kernels.softmax.log_softmax(x, dim)
    w = _class_weight(weight, log_p, dim)
    p = target
    if label_smoothing:
        p = (1 - label_smoothing) * target + label_smoothing / max(x.shape[dim], 1)
    y, spread = _reduce(-np.asarray((w * p * log_p).sum(dim)), reduction)

    def grad_x(gy: Array) -> Array:
        g_log_p = np.expand_dims(-spread(gy), dim) * w * p
        return kernels.softmax.log_softmax_grad(log_p, g_log_p, dim)

    def grad_target(gy: Array) -> Array:
        return np.expand_dims(-spread(gy), dim) * w * log_p * (1 - label_smoothing)

    return y, (grad_x, grad_target)


class _Picked:
    """One class per sample: reads and writes x[n, target[n], ...], wherever target counts."""

    def __init__(self, target: Array, counted: Array, dim: int) -> None:
        self.index = np.expand_dims(np.where(counted, target, 0), dim)
        self.counted = counted
        self.dim = dim

    def take(self, x: Array) -> Array:
        return np.take_along_axis(x, self.index, self.dim).squeeze(self.dim)

    def put(self, x: Array, values: Array) -> None:
        np.put_along_axis(x, self.index, np.expand_dims(values, self.dim), self.dim)

    def add(self, x: Array, values: Array) -> None:
        self.put(x, self.take(x) + values)


def _picked(
    name: str, x: Array, target: Array, weight: Array | None, ignore_index: int
) -> tuple[_Picked, Array]:
    """Checks target; returns access to x at the targets, and their weights (0 where ignored)."""
    _floating(name, x)
    if x.ndim == 0:
        raise ValueError(f"{name}: Expected 1 or more dimensions (got 0)")
    if target.dtype not in (np.int64, np.uint8):
        raise RuntimeError(
            f"{name}: expected target dtype to be Long or Byte, but got {target.dtype}"
        )
    dim = _class_dim(x)
    shape = x.shape[:dim] + x.shape[dim + 1 :]
    if x.ndim == 1 and target.shape == (1,):
        target = target.reshape(())
    if target.shape != shape:
        raise RuntimeError(
            f"{name}: Expected target size {list(shape)}, got {list(target.shape)}, for an input of"
            f" shape {list(x.shape)}"
        )
    C = x.shape[dim]
    counted = target != ignore_index
    wrong = counted & ((target < 0) | (target >= C))
    if wrong.any():
        raise IndexError(f"{name}: Target {target[wrong].flat[0]} is out of bounds. Classes: {C}")
    if weight is not None and weight.shape != (C,):
        raise RuntimeError(
            f"{name}: weight tensor should be defined either for all {C} classes or no classes but"
            f" got weight tensor of shape: {list(weight.shape)}"
        )
    picked = _Picked(target, counted, dim)
    if weight is None:
        return picked, counted.astype(x.dtype)
    return picked, np.where(counted, weight[np.where(counted, target, 0)], 0).astype(x.dtype)


def _class_dim(x: Array) -> int:
    return 0 if x.ndim == 1 else 1


def _class_weight(weight: Array | None, x: Array, dim: int) -> Any:
    """The weight of each class, shaped to broadcast along the other axes of x."""
    return 1 if weight is None else weight.reshape(-1, *(1,) * (x.ndim - dim - 1))


def _total(w: Array) -> Any:
    return sum_along(w, tuple(range(w.ndim)))


def _broadcastable(name: str, weight: Array | None, shape: tuple[int, ...]) -> Any:
    """The weight, or 1; RuntimeError if it does not broadcast to ``shape``."""
    if weight is None:
        return 1
    try:
        if np.broadcast_shapes(weight.shape, shape) == shape:
            return weight
    except ValueError:
        pass
    raise RuntimeError(
        f"{name}: a weight of shape {list(weight.shape)} is not broadcastable to the input's shape"
        f" {list(shape)}"
    )


def _floating(name: str, *arrays: Array) -> None:
    for a in arrays:
        if a.dtype.kind != "f":
            raise NotImplementedError(f'"{name}" not implemented for {a.dtype}')
