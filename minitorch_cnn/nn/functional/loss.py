"""The losses of classification and regression.

All take ``reduction`` 'mean', 'sum' or 'none', and its predecessors ``size_average``, ``reduce``.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from ...amp.lists import in_float32, is_active
from ...dtypes import is_floating, is_half
from ...functions.arguments import check_tensor
from ...functions.promotion import common_dtype, dtype_name, not_implemented, to_dtype
from ...ops import loss as ops
from ...tensor import Tensor
from .._reduction import chosen, reduced

CLASSES = (np.dtype(np.int64), np.dtype(np.uint8))


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-w[y] x[y]: x are log-probabilities (N, C), (N, C, d1, ...) or (C), y classes (N, d1, ...).

    y is int64 (or uint8). 'mean' divides by the sum of the weights w[y]; targets equal to
    ``ignore_index`` count for nothing; with nothing to count the mean is NaN.
    """
    reduction = chosen(reduction, size_average, reduce)
    x, y = check_tensor("nll_loss", input), check_tensor("nll_loss", target, "target")
    x, weight = in_float32(x, weight)
    w = _check_classes("nll_loss", x, y, weight)
    return ops.nll_loss(
        x, target=y, weight=w, ignore_index=ignore_index, reduction=reduction
    )


def _check_classes(name: str, x: Tensor, y: Tensor, weight: Tensor | None) -> Any:
    """The shapes and dtypes of scores, classes and class weights; returns the weights' array."""
    shape, given, kind = x.array.shape, y.array.shape, y.array.dtype
    if not shape:
        raise ValueError(f"{name}: Expected 1 or more dimensions (got 0)")
    if not is_floating(x.array.dtype):
        raise not_implemented(name, x)
    alone = len(shape) == 1
    if not alone and given and shape[0] != given[0]:
        raise ValueError(
            f"{name}: Expected input batch_size ({shape[0]}) to match target batch_size"
            f" ({given[0]}); shapes {list(shape)} and {list(given)}."
        )
    if kind not in CLASSES:
        raise RuntimeError(
            f"{name}: expected target dtype to be Long or Byte, but got {dtype_name(kind)}"
        )
    expected = () if alone else shape[:1] + shape[2:]
    if given != expected and not (alone and given == (1,)):
        if len(shape) <= 2:
            raise RuntimeError(
                f"{name}: 0D or 1D target tensor expected, multi-target not supported: input"
                f" {list(shape)}, target {list(given)}"
            )
        raise RuntimeError(f"{name}: Expected target size {list(expected)}, got {list(given)}")
    if weight is None:
        return None
    C = shape[0] if alone else shape[1]
    if weight.array.shape != (C,):
        raise RuntimeError(
            f"{name}: weight tensor should be defined either for all {C} classes or no classes but"
            f" got weight tensor of shape: {list(weight.array.shape)}"
        )
    if weight.array.dtype != x.array.dtype:
        raise RuntimeError(
            f"{name}: expected scalar type {dtype_name(x.array.dtype)} but found"
            f" {dtype_name(weight.array.dtype)} (the class weights)"
        )
    return weight


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-sum over classes of w p log_softmax(x): (N, C), (N, C, d1, ...) or (C).

    p comes from ``target``: classes (int64, a dimension less than x), or probabilities (floating,
    x's shape). ``label_smoothing`` e mixes them with 1/C: (1 - e) p + e / C. For classes 'mean' is
    as in :func:`nll_loss`; for probabilities it divides by the number of samples.
    """
    reduction = chosen(reduction, size_average, reduce)
    x = check_tensor("cross_entropy", input)
    y = check_tensor("cross_entropy", target, "target")
    x, y, weight = in_float32(x, y, weight)
    if not 0.0 <= label_smoothing <= 1.0:
        raise RuntimeError(
            f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}"
        )
    if x.array.shape == y.array.shape and x.array.ndim:
        if not is_floating(y.array.dtype):
            raise RuntimeError(
                "Expected floating point type for target with class probabilities, got"
                f" {dtype_name(y.array.dtype)}"
            )
        if ignore_index >= 0:
            raise RuntimeError("ignore_index is not supported for floating point target")
        if y.array.dtype != x.array.dtype:
            wide = common_dtype(x, y)
            x, y = to_dtype(x, wide), to_dtype(y, wide)
        classes = x.array.shape[0 if x.array.ndim == 1 else 1]
        if weight is not None and weight.array.shape != (classes,):
            raise RuntimeError(
                f"cross_entropy: weight tensor should be defined either for all {classes} classes"
                f" or no classes but got weight tensor of shape: {list(weight.shape)}"
            )
        w = weight
        return ops.cross_entropy_probabilities(
            x, y, weight=w, reduction=reduction, label_smoothing=label_smoothing
        )
    w = _check_classes("cross_entropy", x, y, weight)
    return ops.cross_entropy(
        x, target=y, weight=w, ignore_index=ignore_index, reduction=reduction,
        label_smoothing=label_smoothing,
    )  # fmt: skip


def _pair(name: str, input: Any, target: Any) -> tuple[Tensor, Tensor]:
    """Both as floats of one dtype and shape; warns where PyTorch does before broadcasting."""
    x, y = in_float32(check_tensor(name, input), check_tensor(name, target, "target"))
    if x.array.shape != y.array.shape:
        warnings.warn(
            f"Using a target size ({y.shape}) that is different to the input size ({x.shape}). This"
            " will likely lead to incorrect results due to broadcasting. Please ensure they have"
            " the same size.",
            stacklevel=3,
        )
        try:
            shape = np.broadcast_shapes(x.array.shape, y.array.shape)
        except ValueError:
            raise RuntimeError(
                f"{name}: input of shape {list(x.shape)} and target of shape {list(y.shape)} do"
                " not broadcast: they must have the same size"
            ) from None
        x, y = x.expand(shape), y.expand(shape)
    if x.array.dtype != y.array.dtype:
        wide = common_dtype(x, y)
        x, y = to_dtype(x, wide), to_dtype(y, wide)
    if not is_floating(x.array.dtype):
        raise not_implemented(name, x)
    return x, y


def _weighted(name: str, loss: Tensor, weight: Tensor) -> Tensor:
    """The loss of each element times its weight."""
    if weight.array.shape != loss.array.shape:
        raise ValueError(
            f"{name}: Weights and input must have the same size, got {list(weight.shape)} and"
            f" {list(loss.shape)}."
        )
    return loss * weight


def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """(x - y)^2. With ``weight`` per element, 'mean' divides by the sum of the weights."""
    reduction = chosen(reduction, size_average, reduce)
    x, y = _pair("mse_loss", input, target)
    if weight is not None:
        loss = _weighted("mse_loss", ops.mse_loss(x, y, reduction="none"), weight)
        return loss.sum() / weight.sum() if reduction == "mean" else reduced(loss, reduction)
    return ops.mse_loss(x, y, reduction=reduction)


def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """|x - y|; the gradient at 0 is 0. ``weight`` as in :func:`mse_loss`."""
    reduction = chosen(reduction, size_average, reduce)
    x, y = _pair("l1_loss", input, target)
    if weight is not None:
        loss = _weighted("l1_loss", ops.l1_loss(x, y, reduction="none"), weight)
        return loss.sum() / weight.sum() if reduction == "mean" else reduced(loss, reduction)
    return ops.l1_loss(x, y, reduction=reduction)


def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """(x - y)^2 / (2 beta) where |x - y| < beta, |x - y| - beta / 2 elsewhere."""
    reduction = chosen(reduction, size_average, reduce)
    if beta < 0:
        raise RuntimeError("smooth_l1_loss does not support negative values for beta.")
    x, y = _pair("smooth_l1_loss", input, target)
    if beta == 0:
        return ops.l1_loss(x, y, reduction=reduction)
    return ops.smooth_l1_loss(x, y, beta=float(beta), reduction=reduction)


def huber_loss(
    input: Tensor,
    target: Tensor,
    reduction: str = "mean",
    delta: float = 1.0,
    weight: Tensor | None = None,
) -> Tensor:
    """(x - y)^2 / 2 where |x - y| < delta, delta (|x - y| - delta / 2) elsewhere."""
    chosen(reduction)
    if delta <= 0:
        raise RuntimeError("huber_loss does not support non-positive values for delta.")
    x, y = _pair("huber_loss", input, target)
    if weight is not None:
        loss = ops.huber_loss(x, y, delta=float(delta), reduction="none")
        return reduced(_weighted("huber_loss", loss, weight), reduction)
    return ops.huber_loss(x, y, delta=float(delta), reduction=reduction)


def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-(y log x + (1 - y) log(1 - x)) for probabilities x; each log counts as at least -100."""
    reduction = chosen(reduction, size_average, reduce)
    x = check_tensor("binary_cross_entropy", input)
    y = check_tensor("binary_cross_entropy", target, "target")
    if is_half(x.array.dtype) and x.is_cuda and is_active(x):
        raise RuntimeError(
            "binary_cross_entropy and BCELoss are unsafe to autocast: log(x) of 16 bits overflows"
            " in backward. Leave out the sigmoid and use binary_cross_entropy_with_logits or"
            " BCEWithLogitsLoss, or cast with .float() inside autocast('cuda', enabled=False)."
        )
    x, y, weight = in_float32(x, y, weight)
    if x.array.shape != y.array.shape:
        raise ValueError(
            f"Using a target size ({y.shape}) that is different to the input size ({x.shape}) is"
            " deprecated. Please ensure they have the same size."
        )
    if x.array.dtype != y.array.dtype:
        raise RuntimeError(
            f"binary_cross_entropy: Found dtype {dtype_name(y.array.dtype)} but expected"
            f" {dtype_name(x.array.dtype)}"
        )
    for role, p in (("input", x.array), ("target", y.array)):
        if not ((p >= 0) & (p <= 1)).all():
            raise RuntimeError(
                f"binary_cross_entropy: all elements of {role} should be between 0 and 1"
            )
    return ops.binary_cross_entropy(x, y, weight=weight, reduction=reduction)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """binary_cross_entropy of sigmoid(x), without overflow; ``pos_weight`` multiplies y's part."""
    reduction = chosen(reduction, size_average, reduce)
    x = check_tensor("binary_cross_entropy_with_logits", input)
    y = check_tensor("binary_cross_entropy_with_logits", target, "target")
    x, y, weight, pos_weight = in_float32(x, y, weight, pos_weight)
    if x.array.shape != y.array.shape:
        raise ValueError(
            f"Target size ({y.shape}) must be the same as input size ({x.shape})"
        )
    if not is_floating(x.array.dtype) or not is_floating(y.array.dtype):
        raise RuntimeError(
            "binary_cross_entropy_with_logits: result type Float can't be cast to the desired"
            f" output type {dtype_name(y.array.dtype)}"
        )
    if x.array.dtype != y.array.dtype:
        wide = common_dtype(x, y)
        x, y = to_dtype(x, wide), to_dtype(y, wide)
    return ops.binary_cross_entropy_with_logits(
        x, y, weight=weight, pos_weight=pos_weight, reduction=reduction,
    )  # fmt: skip


def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """y (log y - x), x being log-probabilities; y too (as e^y) with ``log_target``.

    'batchmean' is the divergence: the sum divided by the number of rows. 'mean' divides by the
    number of elements.
    """
    reduction = chosen(reduction, size_average, reduce, also="batchmean")
    if reduction == "mean":
        warnings.warn(
            "reduction: 'mean' divides the total loss by both the batch size and the support size."
            " 'batchmean' divides only by the batch size: that is the Kullback-Leibler divergence.",
            stacklevel=2,
        )
    x, y = in_float32(check_tensor("kl_div", input), check_tensor("kl_div", target, "target"))
    if x.array.dtype != y.array.dtype:
        wide = common_dtype(x, y)
        x, y = to_dtype(x, wide), to_dtype(y, wide)
    loss = ops.kl_div(x, y, log_target=log_target)
    if reduction == "batchmean":
        return loss.sum() / x.shape[0] if x.ndim else loss.sum()
    return reduced(loss, reduction)
