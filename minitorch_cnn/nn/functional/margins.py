"""Losses that are a line of arithmetic each: margins, rankings, Poisson and Gaussian likelihoods.

All take ``reduction`` 'mean', 'sum' or 'none', and its predecessors ``size_average``, ``reduce``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ...amp.lists import in_float32
from ...functions.arguments import check_tensor
from ...kernels.backend import array_module
from ...tensor import Tensor
from .._reduction import chosen, reduced
from .activation import logsigmoid, softplus
from .linear import pairwise_distance


def soft_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """log(1 + e^(-y x)) for y = +-1."""
    input, target = in_float32(input, target)
    return reduced(softplus(-target * input), chosen(reduction, size_average, reduce))


def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """x where y = 1, max(0, margin - x) where y = -1."""
    input, target = in_float32(input, target)
    positive = Tensor._wrap((check_tensor("hinge_embedding_loss", target).array != -1) * 1.0)
    negative = Tensor._wrap((target.array != 1) * 1.0)
    kind = input.dtype
    loss = input * positive.to(kind) + (margin - input).clamp_min(0) * negative.to(kind)
    return reduced(loss, chosen(reduction, size_average, reduce))


def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, -y (x1 - x2) + margin): y = 1 if x1 should rank higher."""
    if not input1.ndim == input2.ndim == target.ndim:
        raise RuntimeError(
            "margin_ranking_loss : All input tensors should have same dimension but got sizes:"
            f" input1: {list(input1.shape)}, input2: {list(input2.shape)},"
            f" target: {list(target.shape)}"
        )
    input1, input2, target = in_float32(input1, input2, target)
    loss = (-target * (input1 - input2) + margin).clamp_min(0)
    return reduced(loss, chosen(reduction, size_average, reduce))


def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """1 - cos(x1, x2) where y = 1, max(0, cos(x1, x2) - margin) where y = -1."""
    dim = target.ndim
    if target.ndim not in (0, 1) or input1.ndim != dim + 1 or input2.ndim != dim + 1:
        raise RuntimeError(
            "cosine_embedding_loss: a target of N (or no) dimensions goes with inputs of one more;"
            f" got {list(input1.shape)}, {list(input2.shape)} and {list(target.shape)}"
        )
    input1, input2 = in_float32(input1, input2)
    tiny = 1e-12
    squares = ((input1 * input1).sum(dim) + tiny) * ((input2 * input2).sum(dim) + tiny)
    cosine = (input1 * input2).sum(dim) / squares.sqrt()
    same = (target == 1).to(input1.dtype)
    other = (target == -1).to(input1.dtype)
    loss = (1 - cosine) * same + (cosine - margin).clamp_min(0) * other
    return reduced(loss, chosen(reduction, size_average, reduce))


def multilabel_soft_margin_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The mean over the last dimension of the binary cross entropy of sigmoid(x)."""
    input, target, weight = in_float32(input, target, weight)
    loss = -(target * logsigmoid(input) + (1 - target) * logsigmoid(-input))
    if weight is not None:
        loss = loss * weight
    return reduced(loss.mean(-1), chosen(reduction, size_average, reduce))


def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """sum over the other classes i of max(0, margin - x[class] + x[i])^p / C."""
    if p not in (1, 2):
        raise ValueError("only p == 1 and p == 2 supported")
    input, weight = in_float32(input, weight)
    x, y = (input, target) if input.ndim == 2 else (input.unsqueeze(0), target.reshape(1))
    if x.ndim != 2 or y.ndim != 1 or len(x.array) != len(y.array):
        raise RuntimeError(
            f"multi_margin_loss: inconsistent sizes {list(input.shape)} and {list(target.shape)}"
        )
    N, C = x.shape
    rows = array_module(x.array).arange(N)
    picked = x.gather(1, y.unsqueeze(1))
    others = array_module(x.array).ones((N, C), x.array.dtype)
    others[rows, y.array] = 0
    loss = (margin - picked + x).clamp_min(0) ** p * Tensor._wrap(others)
    if weight is not None:
        loss = loss * Tensor._wrap(weight.array[y.array][:, None])
    loss = loss.sum(1) / C
    return reduced(loss if input.ndim == 2 else loss[0], chosen(reduction, size_average, reduce))


def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, |a - p| - |a - n| + margin); ``swap`` takes the nearer of a and p to n."""

    def distance(a: Tensor, b: Tensor) -> Tensor:
        return pairwise_distance(a, b, p, eps)

    reduction = chosen(reduction, size_average, reduce)
    return _triplet(anchor, positive, negative, distance, margin, swap, reduction)


def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """triplet_margin_loss with any distance."""
    distance = distance_function or pairwise_distance
    return _triplet(anchor, positive, negative, distance, margin, swap, reduction)


def _triplet(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    distance: Callable[[Tensor, Tensor], Tensor],
    margin: float,
    swap: bool,
    reduction: str,
) -> Tensor:
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    anchor, positive, negative = in_float32(anchor, positive, negative)
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = far.minimum(distance(positive, negative))
    return reduced((near - far + margin).clamp_min(0), reduction)


def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """e^x - y x, or x - y log(x + eps); ``full`` adds Stirling's log y! where y > 1."""
    input, target = in_float32(input, target)
    if log_input:
        loss = input.exp() - target * input
    else:
        loss = input - target * (input + eps).log()
    if full:
        y = target.array
        with np.errstate(all="ignore"):
            stirling = y * np.log(y) - y + 0.5 * np.log(2 * math.pi * y)
        loss = loss + Tensor._wrap(np.where(y > 1, stirling, 0).astype(y.dtype))
    return reduced(loss, chosen(reduction, size_average, reduce))


def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Any,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """(log max(var, eps) + (x - y)^2 / max(var, eps)) / 2; ``full`` adds log(2 pi) / 2.

    The clamp of ``var`` has no gradient of its own.
    """
    if isinstance(var, (int, float)):
        var = Tensor._wrap(array_module(input.array).full(input.shape, var, input.array.dtype))
    if var.shape != input.shape:
        if input.shape[:-1] == var.shape:
            var = var.unsqueeze(-1)
        elif not (input.shape[:-1] == var.shape[:-1] and var.shape[-1] == 1):
            raise ValueError(f"var is of incorrect size: {list(var.shape)} for {list(input.shape)}")
    if (var.array < 0).any():
        raise ValueError("var has negative entry/entries")
    safe = var + Tensor._wrap(np.maximum(eps - var.array, 0).astype(var.array.dtype))
    loss = 0.5 * (safe.log() + (input - target) ** 2 / safe)
    if full:
        loss = loss + 0.5 * math.log(2 * math.pi)
    return reduced(loss, reduction)
