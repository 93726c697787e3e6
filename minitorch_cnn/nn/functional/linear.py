"""Linear maps, embeddings and distances between vectors."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...functions import gathering
from ...functions.arguments import as_int, check_tensor
from ...kernels.backend import array_module
from ...ops.linear import linear as linear_op
from ...tensor import Tensor, on_device_of


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x W^T + b over the last axis: (*, K), (M, K), (M) -> (*, M). RuntimeError if K differs."""
    return linear_op(check_tensor("linear", input), check_tensor("linear", weight, "weight"), bias)


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """weight[input]: integers of any shape -> shape + (D,). No gradient for ``padding_idx``."""
    del norm_type
    if max_norm is not None or scale_grad_by_freq or sparse:
        raise NotImplementedError(
            "embedding: max_norm, scale_grad_by_freq and sparse are not part of minitorch_cnn"
        )
    if padding_idx is not None:
        rows = check_tensor("embedding", weight, "weight").shape[0]
        if not -rows <= padding_idx < rows:
            raise AssertionError("Padding_idx must be within num_embeddings")
        padding_idx %= rows
    return gathering.embedding(weight, input, -1 if padding_idx is None else padding_idx)


def one_hot(input: Tensor, num_classes: int = -1) -> Tensor:
    """Integers -> a last axis of ``num_classes`` (the largest + 1 if -1): 1 there, 0 elsewhere."""
    array = check_tensor("one_hot", input).array
    classes = as_int("one_hot", "num_classes", num_classes)
    if array.dtype != np.int64:
        raise RuntimeError("one_hot is only applicable to index tensor of type LongTensor.")
    if array.size == 0 and classes <= 0:
        raise RuntimeError("Can not infer total number of classes from empty tensor.")
    if array.size and array.min() < 0:
        raise RuntimeError("Class values must be non-negative.")
    if classes == -1:
        classes = int(array.max()) + 1
    elif array.size and array.max() >= classes:
        raise RuntimeError(
            f"Class values must be smaller than num_classes: {array.max()} and {classes}."
        )
    if classes < 0:
        raise RuntimeError("num_classes should be positive")
    with on_device_of(array):
        every = array_module(array).arange(classes)
        return Tensor._wrap((array[..., None] == every).astype(np.int64))


def normalize(
    input: Tensor, p: float = 2.0, dim: Any = 1, eps: float = 1e-12, out: Tensor | None = None
) -> Tensor:
    """x / max(|x|_p, eps) along ``dim``."""
    if out is not None:
        raise NotImplementedError("normalize: out= is not supported, use the returned tensor")
    length = check_tensor("normalize", input).norm(p, dim, keepdim=True)
    return input / length.clamp_min(eps)


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """x1 . x2 / (max(|x1|, eps) max(|x2|, eps)) along ``dim``; the other dims broadcast."""
    check_tensor("cosine_similarity", x1, "x1")
    check_tensor("cosine_similarity", x2, "x2")
    shape = np.broadcast_shapes(x1.shape, x2.shape)
    x1, x2 = x1.expand(shape), x2.expand(shape)
    lengths = [x.norm(2, dim, keepdim=True).clamp_min(eps) for x in (x1, x2)]
    return ((x1 / lengths[0]) * (x2 / lengths[1])).sum(dim)


def pairwise_distance(
    x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Tensor:
    """|x1 - x2 + eps|_p along the last dimension."""
    check_tensor("pairwise_distance", x1, "x1")
    return (x1 - x2 + eps).norm(p, -1, keepdim)
