"""Normalisation: subtract a mean, divide by a deviation, scale and shift."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...dtypes import finfo
from ...functions.arguments import check_tensor
from ...ops import norm as ops
from ...tensor import Tensor
from .padding import pad
from .pooling import avg_pool2d


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """(x - mean) / sqrt(var + eps) * weight + bias per channel of (N, C, ...).

    ``training`` takes the batch's statistics (the biased variance) and moves the running ones by
    ``momentum`` towards them (the unbiased variance), in place.
    """
    return _batch_norm(
        ops.batch_norm, input, running_mean, running_var, weight, bias, training, momentum, eps
    )


def batch_norm_relu(input: Tensor, *args: Any) -> Tensor:
    """max(:func:`batch_norm`, 0) in one pass, of float32 or float64 on the CPU; same arguments.

    Not PyTorch's; ``nn.modules.norm_relu`` says when it is called.
    """
    return _batch_norm(ops.batch_norm_relu, input, *args)


def _batch_norm(
    op: Callable[..., Tensor], input: Tensor, running_mean: Tensor | None,
    running_var: Tensor | None, weight: Tensor | None, bias: Tensor | None, training: bool,
    momentum: float, eps: float,
) -> Tensor:  # fmt: skip
    y = op(
        check_tensor("batch_norm", input), weight, bias,
        running_mean=_array(running_mean), running_var=_array(running_var), training=training,
        momentum=momentum, eps=eps,
    )  # fmt: skip
    if training:
        for statistic in (running_mean, running_var):
            if statistic is not None:
                statistic._counter[0] += 1
    return y


def _array(tensor: Tensor | None) -> Any:
    return None if tensor is None else tensor.array


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """batch_norm with each image's own statistics.

    Running ones (if given) move towards the mean of the images' statistics.
    """
    x = check_tensor("instance_norm", input)
    if not use_input_stats:
        return batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
    if x.ndim < 3:
        raise ValueError(
            f"instance_norm: expected (N, C, L) or (N, C, H, W), got shape {list(x.shape)}"
        )
    N, C = x.shape[:2]
    if math.prod(x.shape[2:]) == 1:
        raise ValueError(
            f"Expected more than 1 spatial element when training, got input size {x.shape}"
        )
    # Every channel of every image is a channel of one big image.
    means, variances = (
        None if s is None else Tensor._wrap(np.tile(s.array, N))
        for s in (running_mean, running_var)
    )
    y = batch_norm(
        x.reshape(1, N * C, *x.shape[2:]), means, variances,
        None if weight is None else weight.repeat(N), None if bias is None else bias.repeat(N),
        True, momentum, eps,
    )  # fmt: skip
    for running, moved in ((running_mean, means), (running_var, variances)):
        if running is not None and moved is not None and N:
            running.array[...] = moved.array.reshape(N, C).mean(0)
            running._counter[0] += 1
    return y.reshape(x.shape)


def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Each image's groups of channels normalised, scaled and shifted per channel. Wu & He 2018."""
    x = check_tensor("group_norm", input)
    return ops.group_norm(x, weight, bias, num_groups=num_groups, eps=eps)


def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Normalised over the last dimensions, which must be ``normalized_shape``. Ba et al. 2016."""
    x = check_tensor("layer_norm", input)
    return ops.layer_norm(x, weight, bias, normalized_shape=tuple(normalized_shape), eps=eps)


def rms_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    """x / sqrt(mean(x^2) + eps) * weight over the last dimensions. Zhang & Sennrich 2019.

    ``eps`` is the dtype's own unless given.
    """
    x = check_tensor("rms_norm", input)
    shape = tuple(normalized_shape)
    if not shape or tuple(x.shape[-len(shape) :]) != shape:
        raise RuntimeError(
            f"rms_norm: Given normalized_shape={list(shape)}, expected input with shape"
            f" [*, {', '.join(map(str, shape))}], but got input of size {list(x.shape)}"
        )
    if eps is None:
        eps = finfo(x.dtype).eps
    dims = tuple(range(-len(shape), 0))
    y = x * ((x * x).mean(dims, keepdim=True) + eps).rsqrt()
    return y if weight is None else y * weight


def local_response_norm(
    input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """x / (k + alpha mean(x^2 over ``size`` neighbouring channels))^beta. Krizhevsky et al. 2012.

    Channels beyond the first and last count as 0.
    """
    x = check_tensor("local_response_norm", input)
    if x.ndim < 3:
        raise ValueError(f"Expected 3D or higher dimensionality input (got {x.ndim} dimensions)")
    N, C = x.shape[:2]
    if x.numel() == 0:
        return x
    squares = (x * x).reshape(N, 1, C, -1)
    squares = pad(squares, (0, 0, size // 2, (size - 1) // 2))
    mean = avg_pool2d(squares, (size, 1), stride=1).reshape(x.shape)
    return x / (mean * alpha + k) ** beta
