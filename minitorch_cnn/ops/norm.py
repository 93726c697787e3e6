"""Normalisation: x minus a mean, over a standard deviation, times a weight, plus a bias.

With x^ = (x - mean) / sqrt(var + eps) and a = weight / sqrt(var + eps), the gradient of
y = weight x^ + bias, where mean and var were taken over M elements of x, is

    gx = a gy - (a / M) (sum of gy) - x^ (a / M) (sum of gy x^)

The sums over the M elements are also the gradients of bias and weight. All of one size per channel
(moments, sums, factors) is float64 here, whatever the dtype of x.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import kernels
from ..dtypes import is_floating, is_half
from ..tensor import Array, op, overwriting


@op(bfloat16="all")
def batch_norm(
    x: Array,
    weight: Array | None,
    bias: Array | None,
    /,
    *,
    running_mean: Array | None,
    running_var: Array | None,
    training: bool,
    momentum: float,
    eps: float,
) -> Any:
    """y = (x - mean) / sqrt(var + eps) weight + bias, mean and var per channel of x (N, C, ...).

    ``training`` takes them over the batch (var divides by M = N H W) and moves ``running_mean`` and
    ``running_var`` in place, towards them, by ``momentum`` (that var divides by M - 1); otherwise
    they are the running ones. weight, bias and running ones are (C) or None. ValueError for one
    value per channel in training. Cost: x is read three times and y written once. Ioffe & Szegedy
    2015.
    """
    _check("batch_norm", x, weight, bias, running_mean, running_var)
    if x.ndim < 2:
        raise RuntimeError(f"batch_norm: expected an input (N, C, ...), got {list(x.shape)}")
    C = x.shape[1]
    for name, a in (("running_mean", running_mean), ("running_var", running_var),
                    ("weight", weight), ("bias", bias)):  # fmt: skip
        if a is not None and a.shape != (C,):
            raise RuntimeError(
                f"batch_norm: {name} should contain {C} elements not {a.size}, for an input of"
                f" shape {list(x.shape)}"
            )
    M = x.size // C if C else 0
    if not training and (running_mean is None or running_var is None):
        raise RuntimeError(
            "batch_norm: running_mean and running_var must be defined in evaluation mode"
        )
    if training and M == 1:
        raise ValueError(
            f"batch_norm: Expected more than 1 value per channel when training, got input size"
            f" torch.Size({list(x.shape)})"
        )
    if training and eps <= 0:
        raise ValueError(f"batch_norm eps must be positive during training, but got {eps}")
    image = x.reshape(x.shape[0], C, -1) if x.size else x.reshape(*x.shape[:2], 0)
    mean, inverse = _statistics(image, running_mean, running_var, training, momentum, eps)
    a = inverse if weight is None else inverse * weight
    y = kernels.norm.scale(image, mean, a, _or_zeros(bias, mean)).reshape(x.shape)
    if training:
        return y, _batch_gradients(image, mean, inverse, a)
    sums = _sums_of(image, mean, inverse)

    def grad_x(gy: Array) -> Array:
        wide = np.float32 if is_half(gy.dtype) else gy.dtype
        return (gy.reshape(image.shape) * a.astype(wide)[:, None]).reshape(gy.shape)

    return y, (grad_x, *_of_sums(sums))


def _statistics(
    x: Array, running_mean: Array | None, running_var: Array | None, training: bool,
    momentum: float, eps: float,
) -> tuple[Array, Array]:  # fmt: skip
    """mean and 1 / sqrt(var + eps): the running ones, or in training those of x (N, C, L), towards
    which the running ones are moved."""
    if training:
        mean, var = kernels.norm.moments(x)
        M = x.shape[0] * x.shape[2]
        if M > 1:
            _move(running_mean, mean, momentum)
            _move(running_var, var * (M / (M - 1)), momentum)
    else:
        mean, var = running_mean.astype(np.float64), running_var.astype(np.float64)  # type: ignore[union-attr]
    return mean, 1 / np.sqrt(var + eps)


def _batch_gradients(
    x: Array, mean: Array, inverse: Array, a: Array, cut: Any = None
) -> tuple[Callable[..., Array], ...]:
    """Those of x, weight and bias, in training; ``cut``: the numbers of a ReLU that is included."""
    M = x.shape[0] * x.shape[2]
    sums = _sums_of(x, mean, inverse, cut)

    @overwriting
    def grad_x(gy: Array, overwrite: bool = False) -> Array:
        total, product = sums(gy)
        share = a / -M
        slope, shift = share * inverse * product, share * total
        g = gy.reshape(x.shape)
        if cut is None:
            gx = kernels.norm.combine(x, g, mean, a, slope, shift, overwrite)
        else:
            gx = kernels.norm_relu.combine(x, g, mean, slope, shift, cut, overwrite)
        return gx.reshape(gy.shape)

    return grad_x, *_of_sums(sums)


def _of_sums(sums: Callable[[Array], tuple[Array, Array]]) -> tuple[Callable[..., Array], ...]:
    """The gradients of weight and bias."""
    return lambda gy: sums(gy)[1].astype(gy.dtype), lambda gy: sums(gy)[0].astype(gy.dtype)


@op
def batch_norm_relu(
    x: Array,
    weight: Array | None,
    bias: Array | None,
    /,
    *,
    running_mean: Array | None,
    running_var: Array | None,
    eps: float,
    training: bool = False,
    momentum: float = 0.0,
) -> Any:
    """The larger of :func:`batch_norm` and 0. In evaluation without a derivative: for prediction.

    x (N, C, ...) of float32 or float64, on the CPU; in training more than one value per channel.
    Cost: as batch_norm alone. Where y is 0 is computed from x once more, so backward need not read
    y.
    """
    _check("batch_norm", x, weight, bias, running_mean, running_var)
    image = x.reshape(*x.shape[:2], -1) if x.size else x.reshape(*x.shape[:2], 0)
    mean, inverse = _statistics(image, running_mean, running_var, training, momentum, eps)
    a = inverse if weight is None else inverse * weight
    numbers = kernels.norm.rounded(image, mean, a, _or_zeros(bias, mean))
    y = kernels.norm_relu.rectified(image, numbers).reshape(x.shape)
    return y, _batch_gradients(image, mean, inverse, a, numbers) if training else ()


def _sums_of(
    x: Array, mean: Array, inverse: Array, cut: Any = None
) -> Callable[[Array], tuple[Array, Array]]:
    """gy -> (sum of gy, sum of gy x^) per channel; all three gradients need them, computed once.

    With ``cut``, gy is that of ``kernels.norm_relu.rectified``.
    """
    last: list[Any] = [None, None]

    def sums(gy: Array) -> tuple[Array, Array]:
        if last[0] is not gy:
            g = gy.reshape(x.shape)
            if cut is None:
                total, product = kernels.norm.gradient_sums(x, g, mean)
            else:
                total, product = kernels.norm_relu.gradient_sums(x, g, mean, cut)
            last[:] = gy, (total, product * inverse)
        result: tuple[Array, Array] = last[1]
        return result

    return sums


@op
def group_norm(
    x: Array, weight: Array | None, bias: Array | None, /, *, num_groups: int, eps: float
) -> Any:
    """y = (x - mean) / sqrt(var + eps) weight + bias, moments per image and group of C/G channels.

    x (N, C, ...); weight and bias (C) or None. RuntimeError if C is not a multiple of the number of
    groups. Cost as batch_norm's. Wu & He 2018.
    """
    _check("group_norm", x, weight, bias)
    if x.ndim < 2:
        raise RuntimeError(
            f"group_norm: Expected at least 2 dimensions for input tensor but received {x.ndim}"
        )
    N, C = x.shape[:2]
    G = num_groups
    if G <= 0:
        raise RuntimeError(f"group_norm: Expected num groups to be greater than 0, got {G}")
    if C % G:
        raise RuntimeError(
            "group_norm: Expected number of channels in input to be divisible by num_groups, but"
            f" got input of shape {list(x.shape)} and num_groups={G}"
        )
    for name, a in (("weight", weight), ("bias", bias)):
        if a is not None and a.shape != (C,):
            raise RuntimeError(
                f"group_norm: Expected {name} to be a vector of size equal to the number of"
                f" channels in input, but got {name} of shape {list(a.shape)} and input of shape"
                f" {list(x.shape)}"
            )
    L = math.prod(x.shape[2:])
    D = C // G * L
    if N * G * D and N * D == 1:
        raise ValueError(
            "group_norm: Expected more than 1 value per channel when training, got input size"
            f" {list(x.shape)}"
        )
    channels = x.reshape(1, N * C, L)
    mean, inverse = (np.repeat(m, C // G) for m in _mean_and_inverse(x.reshape(1, N * G, D), eps))
    w = np.ones_like(mean) if weight is None else np.tile(weight.astype(np.float64), N)
    shift = _or_zeros(bias, mean[:C])
    y = kernels.norm.scale(channels, mean, w * inverse, np.tile(shift, N))
    sums = _sums_of(channels, mean, inverse)

    def over_group(a: Array) -> Array:
        return np.repeat((w * a).reshape(N * G, C // G).sum(1) / D, C // G)

    def grad_x(gy: Array) -> Array:
        total, product = sums(gy)
        slope, shift = -inverse * inverse * over_group(product), -inverse * over_group(total)
        g = gy.reshape(channels.shape)
        return kernels.norm.combine(channels, g, mean, w * inverse, slope, shift).reshape(gy.shape)

    def over_batch(a: Array, gy: Array) -> Array:
        return a.reshape(N, C).sum(0).astype(gy.dtype)

    return y.reshape(x.shape), (
        grad_x,
        lambda gy: over_batch(sums(gy)[1], gy),
        lambda gy: over_batch(sums(gy)[0], gy),
    )


@op
def layer_norm(
    x: Array,
    weight: Array | None,
    bias: Array | None,
    /,
    *,
    normalized_shape: Sequence[int],
    eps: float,
) -> Any:
    """y = (x - mean) / sqrt(var + eps) weight + bias, moments over the last dimensions.

    x (..., *normalized_shape); weight and bias of that shape or None. Ba et al. 2016.
    """
    _check("layer_norm", x, weight, bias)
    shape = tuple(normalized_shape)
    if not shape or x.shape[-len(shape) :] != shape:
        raise RuntimeError(
            f"layer_norm: Given normalized_shape={list(shape)}, expected input with shape"
            f" [*, {', '.join(map(str, shape))}], but got input of size {list(x.shape)}"
        )
    for name, a in (("weight", weight), ("bias", bias)):
        if a is not None and a.shape != shape:
            raise RuntimeError(
                f"layer_norm: Expected {name} to be of same shape as normalized_shape, but got"
                f" {name} of shape {list(a.shape)} and normalized_shape = {list(shape)}"
            )
    D = math.prod(shape)
    R = math.prod(x.shape[: -len(shape)])
    rows = x.reshape(1, R, D)
    mean, inverse = _mean_and_inverse(rows, eps)

    def normalized() -> Array:
        return kernels.norm.scale(rows, mean, inverse, np.zeros_like(mean)).reshape(x.shape)

    y = normalized()
    if weight is not None:
        y = y * weight
    if bias is not None:
        y = y + bias
    sums = _sums_of(rows, mean, inverse)

    def grad_x(gy: Array) -> Array:
        g = (gy if weight is None else gy * weight).reshape(rows.shape)
        total, product = sums(g)
        slope, shift = -inverse * inverse * product / D, -inverse * total / D
        return kernels.norm.combine(rows, g, mean, inverse, slope, shift).reshape(gy.shape)

    def over_rows(a: Array) -> Array:
        return a.reshape(R, *shape).sum(0, dtype=np.float64).astype(a.dtype)

    return y, (grad_x, lambda gy: over_rows(gy * normalized()), over_rows)


def _mean_and_inverse(x: Array, eps: float) -> tuple[Array, Array]:
    mean, var = kernels.norm.moments(x)
    return mean, 1 / np.sqrt(var + eps)


def _or_zeros(bias: Array | None, like: Array) -> Array:
    return np.zeros_like(like) if bias is None else bias.astype(np.float64)


def _move(running: Array | None, batch: Array, momentum: float) -> None:
    if running is not None:
        running[...] = (1 - momentum) * running.astype(batch.dtype) + momentum * batch


def _check(name: str, x: Array, *others: Array | None) -> None:
    """Floating, and parameters of x's dtype (float32 ones too for float16 and bfloat16)."""
    if not is_floating(x.dtype):
        raise NotImplementedError(f'"{name}" not implemented for {x.dtype}')
    for a in others:
        allowed = (x.dtype, np.float32) if is_half(x.dtype) else (x.dtype,)
        if a is not None and a.dtype not in allowed:
            raise RuntimeError(
                f"{name}: mixed dtype: the input is {x.dtype}, but a parameter or running statistic"
                f" is {a.dtype}; convert one of them"
            )
