"""Losses: one number per sample or element, then the mean, the sum or all of them.

Scores are x (N, C), (N, C, d1, ...) or (C): classes are the second axis, or the only one.
``reduction`` is 'mean', 'sum' or 'none'; the mean of nothing is NaN. Sums of float16 add up in
float32. Weights and class labels are settings: they get no gradient. Shapes and dtypes are checked
by ``nn.functional``. Cost: a few passes over x.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import kernels
from ..kernels.backend import HOST
from ..kernels.half import is_half
from ..tensor import Array, op
from .basic import sum_along, sum_to

INT64 = np.dtype(np.int64)
_LOWEST_LOG = -100  # of binary_cross_entropy, so that log 0 gives a finite loss
# Of x (1 - x) in its gradient, for the same reason; PyTorch has it as a float32.
_LEAST_SPREAD = float(np.float32(1e-12))


def _wide(x: Array) -> Array:
    """x in a dtype to add up in."""
    return x.astype(np.float32) if x.dtype.char == "e" else x


def _total(x: Array) -> Array:
    return sum_along(_wide(x), tuple(range(x.ndim)))


def _reduce(loss: Array, reduction: str, count: Any = None) -> tuple[Array, Callable[..., Array]]:
    """The reduced loss, and the function from its gradient to that of the entries of ``loss``.

    'mean' divides by ``count``: the number of entries unless told.
    """
    if reduction == "none":
        return loss, lambda gy: gy
    kind = loss.dtype
    if reduction == "sum":
        return _total(loss).astype(kind), lambda gy: gy
    n = loss.size if count is None else count
    return np.true_divide(_total(loss), n).astype(kind), lambda gy: np.true_divide(gy, n)


def _by_class(x: Array) -> Array:
    """x as (N, C, S): S positions per sample, 1 unless it is an image."""
    if x.ndim == 1:
        return x.reshape(1, x.size, 1)
    return x.reshape(*x.shape[:2], math.prod(x.shape[2:]))


def _samples(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape without its classes."""
    return shape[:1] + shape[2:] if len(shape) > 1 else ()


def _per_position(g: Array, positions: tuple[int, int]) -> Array:
    """The gradient of the loss of each position, (N, S) or one for all."""
    return g if g.ndim == 0 and positions != (1, 1) else g.reshape(positions)


def _to_classes(g: Array) -> Array:
    """What :func:`_per_position` gave, for all classes of each position."""
    return g[:, None] if g.ndim else g


def _of_classes(
    name: str, x: Array, target: Array, weight: Array | None, ignore_index: int, smoothing: float,
    reduction: str,
) -> Any:  # fmt: skip
    """The loss in the samples' shape and the dtype of x, and its gradient function."""
    shape, kind = x.shape, x.dtype
    if not isinstance(x, HOST):
        return _of_classes_on_gpu(
            name, x, target, weight, ignore_index, smoothing, reduction
        )
    wide = _wide(x)
    target = target.ravel()
    if target.dtype is not INT64:
        target = target.astype(INT64)
    if weight is not None:
        weight = weight.astype(wide.dtype, copy=False)
    each, y, divisor, scores = kernels.loss.of_classes(
        name, wide, target, weight, ignore_index, smoothing, reduction == "mean"
    )
    if reduction == "none":
        y = each.reshape(_samples(shape))

    def grad_x(gy: Array) -> Array:
        gx = kernels.loss.of_classes_grad(
            _wide(gy), divisor, target, weight, scores, shape, ignore_index, smoothing
        )
        return gx.astype(kind, copy=False)

    return y if wide is x else y.astype(kind), (grad_x,)


def _of_classes_on_gpu(
    name: str, x: Array, target: Array, weight: Array | None, ignore_index: int, smoothing: float,
    reduction: str,
) -> Any:  # fmt: skip
    """:func:`_of_classes` of arrays on a GPU."""
    shape, kind = x.shape, x.dtype
    given, scores = _wide(_by_class(x)), None
    if name == "cross_entropy":
        given = scores = kernels.softmax.log_softmax(given, 1)
    loss = kernels.loss_cuda.Loss(name, given, target, weight, ignore_index, smoothing, reduction)
    y = loss.y.reshape(_samples(shape) if reduction == "none" else ())

    def grad_x(gy: Array) -> Array:
        return loss.grad(_wide(gy), scores).astype(kind, copy=False).reshape(shape)

    return y.astype(kind, copy=False), (grad_x,)


@op(quiet=True)
def nll_loss(
    x: Array,
    /,
    *,
    target: Array,
    weight: Array | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Any:
    """-w[t] x[t] of log-probabilities x, for the class t of each position.

    'mean' divides by the sum of the w[t]; positions labelled ``ignore_index`` count for nothing.
    """
    return _of_classes("nll_loss", x, target, weight, ignore_index, 0.0, reduction)


@op(quiet=True)
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
    """-(1 - e) w[t] p[t] - e / C (sum over c of w[c] p[c]), with p = log_softmax(x).

    t is the class of each position, e ``label_smoothing``; 'mean' and ``ignore_index`` are as in
    :func:`nll_loss`. For e = 0 dL/dx = w[t] (softmax(x) - [c = t]): only p is kept for it.
    """
    return _of_classes(
        "cross_entropy", x, target, weight, ignore_index, label_smoothing, reduction
    )


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
    """-sum over c of w[c] q[c] log_softmax(x)[c], with q = (1 - e) target + e / C.

    target has the shape of x; 'mean' divides by the number of positions, whatever the weights.
    """
    shape, kind = x.shape, x.dtype
    p = kernels.softmax.log_softmax(_wide(_by_class(x)), 1)
    q = _by_class(target)
    if label_smoothing:
        q = q * (1 - label_smoothing) + label_smoothing / max(q.shape[1], 1)
    w = p.dtype.type(1) if weight is None else weight[:, None].astype(p.dtype)
    q = q * w
    loss = -sum_along(p * q, (1,)).astype(kind)
    positions = loss.shape
    y, spread = _reduce(loss.reshape(_samples(shape)), reduction)

    def per_position(gy: Array) -> Array:
        return _to_classes(_per_position(spread(gy), positions))

    def grad_x(gy: Array) -> Array:
        slope = np.exp(p) * sum_along(q, (1,), keepdims=True) - q
        return (slope * per_position(gy)).astype(kind, copy=False).reshape(shape)

    def grad_target(gy: Array) -> Array:
        slope = p * (w * (label_smoothing - 1))
        return (slope * per_position(gy)).astype(kind, copy=False).reshape(shape)

    return y, (grad_x, grad_target)


@op
def mse_loss(x: Array, target: Array, /, *, reduction: str = "mean") -> Any:
    """d^2 with d = x - target, of one shape."""
    if reduction != "none" and isinstance(x, HOST) and not is_half(x.dtype):
        factor = 2 / x.size if x.size and reduction == "mean" else 2.0
        y = kernels.loss.mean_square(x, target, reduction == "mean")
        return y, (
            lambda gy: kernels.loss.mean_square_grad(x, target, gy, factor),
            lambda gy: kernels.loss.mean_square_grad(x, target, gy, -factor),
        )
    d = x - target
    y, spread = _reduce(d * d, reduction)
    return y, (lambda gy: spread(gy) * 2 * d, lambda gy: spread(gy) * -2 * d)


@op
def l1_loss(x: Array, target: Array, /, *, reduction: str = "mean") -> Any:
    """|d| with d = x - target, of one shape. The gradient is 0 where d is 0 or NaN."""
    d = x - target
    y, spread = _reduce(abs(d), reduction)

    def grad_x(gy: Array) -> Array:
        return spread(gy) * ((d > 0).astype(d.dtype) - (d < 0))

    return y, (grad_x, lambda gy: -grad_x(gy))


@op
def smooth_l1_loss(
    x: Array, target: Array, /, *, beta: float = 1.0, reduction: str = "mean"
) -> Any:
    """d^2 / (2 beta) where |d| < beta, |d| - beta / 2 elsewhere; d = x - target, beta > 0."""
    d = x - target
    size = abs(d)
    loss = np.where(size < beta, d * d * (0.5 / beta), size - 0.5 * beta)
    y, spread = _reduce(loss, reduction)

    def grad_x(gy: Array) -> Array:
        return spread(gy) * np.clip(d / beta, -1, 1)

    return y, (grad_x, lambda gy: -grad_x(gy))


@op
def huber_loss(x: Array, target: Array, /, *, delta: float = 1.0, reduction: str = "mean") -> Any:
    """d^2 / 2 where |d| < delta, delta (|d| - delta / 2) elsewhere; d = x - target, delta > 0."""
    d = x - target
    size = abs(d)
    loss = np.where(size < delta, d * d * 0.5, (size - 0.5 * delta) * delta)
    y, spread = _reduce(loss, reduction)

    def grad_x(gy: Array) -> Array:
        return spread(gy) * np.clip(d, -delta, delta)

    return y, (grad_x, lambda gy: -grad_x(gy))


def _times(x: Array, weight: Array | None, name: str) -> Array:
    """x * weight, if there is one: it may be broadcast to x, but not x to it."""
    if weight is None:
        return x
    try:
        return x * np.broadcast_to(weight.astype(x.dtype, copy=False), x.shape)
    except ValueError:
        raise RuntimeError(
            f"{name}: a weight of shape {list(weight.shape)} can't be broadcast to the input's"
            f" {list(x.shape)}"
        ) from None


@op
def binary_cross_entropy(
    x: Array, target: Array, /, *, weight: Array | None = None, reduction: str = "mean"
) -> Any:
    """-w (t log x + (1 - t) log(1 - x)) for x in [0, 1]; each log counts as at least -100.

    dL/dx = w (x - t) / max(x (1 - x), 1e-12), and dL/dt = w (log(1 - x) - log x) may be infinite.
    """
    name = "binary_cross_entropy"

    log_x, log_rest = (np.maximum(log, _LOWEST_LOG) for log in (np.log(x), np.log1p(-x)))
    loss = (target - 1) * log_rest - target * log_x
    y, spread = _reduce(_times(loss, weight, name), reduction)

    def grad_x(gy: Array) -> Array:
        slope = (x - target) / np.maximum((1 - x) * x, _LEAST_SPREAD)
        return spread(gy) * _times(slope, weight, name)

    def grad_target(gy: Array) -> Array:
        return spread(gy) * _times(np.log1p(-x) - np.log(x), weight, name)

    return y, (grad_x, grad_target)


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
    """w ((1 - t) x + (1 + (v - 1) t) log(1 + e^-x)), with v = ``pos_weight`` or 1.

    That is binary_cross_entropy of sigmoid(x), its part with t taken v times, and no e^x overflows.
    """
    name = "binary_cross_entropy_with_logits"
    extra = None if pos_weight is None else pos_weight - 1

    def log_part() -> Array:
        """log(1 + e^-x)."""
        softplus = kernels.elementwise.softplus
        return kernels.elementwise.apply(softplus, -x, settings=(1, math.inf))

    def factor() -> Array | int:
        return 1 if extra is None else 1 + _times(target, extra, name)

    loss = (1 - target) * x + factor() * log_part()
    y, spread = _reduce(_times(loss, weight, name), reduction)

    def grad_x(gy: Array) -> Array:
        slope = kernels.elementwise.apply(kernels.elementwise.sigmoid, -x)  # 1 - sigmoid(x)
        slope *= factor()
        np.subtract(1 - target, slope, out=slope)
        return np.multiply(_times(slope, weight, name), spread(gy), out=slope)

    def grad_target(gy: Array) -> Array:
        slope = -x if extra is None else _times(log_part(), extra, name) - x
        return spread(gy) * _times(slope, weight, name)

    return y, (grad_x, grad_target)


@op
def kl_div(x: Array, target: Array, /, *, log_target: bool = False) -> Any:
    """t (log t - x), 0 for t = 0; with ``log_target`` e^t (t - x). Element by element, broadcast.

    As in PyTorch the gradient with respect to t is NaN at t = 0.
    """
    x_shape, t_shape = x.shape, target.shape
    if log_target:
        return np.exp(target) * (target - x), (
            lambda gy: sum_to(-gy * np.exp(target), x_shape),
            lambda gy: sum_to(gy * (np.exp(target) * (target - x + 1)), t_shape),
        )
    entropy = np.where(target == 0, target, target * np.log(target))
    return entropy - target * x, (
        lambda gy: sum_to(-gy * target, x_shape),
        lambda gy: sum_to(gy * (np.log(target) + target / target - x), t_shape),
    )
