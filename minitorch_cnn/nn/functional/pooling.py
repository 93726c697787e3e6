"""Pooling: the maximum or the mean over windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...functions.arguments import check_tensor
from ...kernels.geometry import pair
from ...ops import pool as ops
from ...ops.unpool import max_unpool as max_unpool_op
from ...tensor import Tensor
from .activation import relu


def _signal(name: str, input: Any) -> Tensor:
    """(N, C, 1, L) or (C, 1, L)."""
    x = check_tensor(name, input)
    if x.ndim not in (2, 3):
        raise RuntimeError(
            f"{name}: Expected 2D (C, L) or 3D (N, C, L) input, but got shape {list(x.shape)}"
        )
    return x.unsqueeze(-2)


def _one(value: Any, name: str, op: str) -> Any:
    """The single number of an int or a tuple of one."""
    if isinstance(value, (tuple, list)):
        if len(value) != 1:
            raise RuntimeError(f"{op}(): {name} must be one integer, got {value!r}")
        return value[0]
    return value


def max_pool2d_with_indices(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> tuple[Tensor, Tensor]:
    """max_pool2d and, per output cell, the flat position h W + w of its maximum (int64)."""
    del return_indices
    return ops.max_pool2d(
        check_tensor("max_pool2d", input), kernel_size=kernel_size,
        stride=_stride(stride, kernel_size), padding=padding, dilation=dilation,
        ceil_mode=ceil_mode,
    )  # fmt: skip


def _stride(stride: Any, kernel_size: Any) -> Any:
    """The kernel size is the default; PyTorch spells it None or an empty list."""
    return kernel_size if stride is None or stride == [] or stride == () else stride


def max_pool2d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest value of each window: (N, C, H, W) or (C, H, W).

    Padding (at most half the kernel) counts as -inf, the first of equal maxima takes the whole
    gradient, NaN wins. ``stride`` is the kernel size unless given.
    """
    y, indices = max_pool2d_with_indices(input, kernel_size, stride, padding, dilation, ceil_mode)
    return (y, indices) if return_indices else y


def max_pool1d_with_indices(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> tuple[Tensor, Tensor]:
    """max_pool1d and the position of each maximum."""
    del return_indices
    K = _one(kernel_size, "kernel_size", "max_pool1d")
    S = _one(_stride(stride, K), "stride", "max_pool1d")
    P, D = (_one(v, n, "max_pool1d") for v, n in ((padding, "padding"), (dilation, "dilation")))
    y, indices = max_pool2d_with_indices(
        _signal("max_pool1d", input), (1, K), (1, S), (0, P), (1, D), ceil_mode
    )
    return y.squeeze(-2), indices.squeeze(-2)


def max_pool1d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest value of each window of (N, C, L) or (C, L); see :func:`max_pool2d`."""
    y, indices = max_pool1d_with_indices(input, kernel_size, stride, padding, dilation, ceil_mode)
    return (y, indices) if return_indices else y


def avg_pool2d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window: (N, C, H, W) or (C, H, W).

    Padding counts as zeros unless ``count_include_pad=False``; ``divisor_override`` divides by
    that number instead of the window's size.
    """
    return ops.avg_pool2d(
        check_tensor("avg_pool2d", input), kernel_size=kernel_size,
        stride=_stride(stride, kernel_size), padding=padding, ceil_mode=ceil_mode,
        count_include_pad=count_include_pad, divisor_override=divisor_override,
    )  # fmt: skip


def avg_pool1d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window of (N, C, L) or (C, L); see :func:`avg_pool2d`."""
    K = _one(kernel_size, "kernel_size", "avg_pool1d")
    S = _one(_stride(stride, K), "stride", "avg_pool1d")
    P = _one(padding, "padding", "avg_pool1d")
    x = _signal("avg_pool1d", input)
    return avg_pool2d(x, (1, K), (1, S), (0, P), ceil_mode, count_include_pad).squeeze(-2)


def lp_pool2d(
    input: Tensor,
    norm_type: float,
    kernel_size: Any,
    stride: Any = None,
    ceil_mode: bool = False,
) -> Tensor:
    """(sum x^p)^(1/p) over each window; NaN for the root of a negative sum."""
    KH, KW = pair(kernel_size, "kernel_size", "lp_pool2d")
    mean = avg_pool2d(input**norm_type, (KH, KW), stride, 0, ceil_mode)
    return _root(mean, KH * KW, norm_type)


def _root(mean: Tensor, size: int, p: float) -> Tensor:
    """(size mean)^(1/p). Its slope at 0 is infinite, and 0 here: that of the relu."""
    return (mean.sign() * relu(mean.abs()) * size) ** (1.0 / p)


def lp_pool1d(
    input: Tensor,
    norm_type: float,
    kernel_size: Any,
    stride: Any = None,
    ceil_mode: bool = False,
) -> Tensor:
    """(sum x^p)^(1/p) over each window of signals."""
    K = _one(kernel_size, "kernel_size", "lp_pool1d")
    mean = avg_pool1d(input**norm_type, K, stride, 0, ceil_mode)
    return _root(mean, K, norm_type)


def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """Means over windows [floor(i H / OH), ceil((i + 1) H / OH)); None keeps an axis's size."""
    x = check_tensor("adaptive_avg_pool2d", input)
    return ops.adaptive_avg_pool2d(x, output_size=_sizes("adaptive_avg_pool2d", output_size))


def adaptive_max_pool2d_with_indices(
    input: Tensor, output_size: Any, return_indices: bool = False
) -> tuple[Tensor, Tensor]:
    """adaptive_max_pool2d and the flat position of each maximum."""
    del return_indices
    x = check_tensor("adaptive_max_pool2d", input)
    return ops.adaptive_max_pool2d(x, output_size=_sizes("adaptive_max_pool2d", output_size))


def adaptive_max_pool2d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Maxima over windows [floor(i H / OH), ceil((i + 1) H / OH)); None keeps an axis's size."""
    y, indices = adaptive_max_pool2d_with_indices(input, output_size)
    return (y, indices) if return_indices else y


def _sizes(name: str, output_size: Any) -> Any:
    if isinstance(output_size, (tuple, list)) and len(output_size) != 2:
        raise RuntimeError(f"{name}: output_size must be 2 numbers (or None), got {output_size}")
    return output_size


def adaptive_avg_pool1d(input: Tensor, output_size: Any) -> Tensor:
    """Means over ``output_size`` nearly equal windows of (N, C, L) or (C, L)."""
    x = _signal("adaptive_avg_pool1d", input)
    OL = _one(output_size, "output_size", "adaptive_avg_pool1d")
    return adaptive_avg_pool2d(x, (1, OL)).squeeze(-2)


def adaptive_max_pool1d_with_indices(
    input: Tensor, output_size: Any, return_indices: bool = False
) -> tuple[Tensor, Tensor]:
    """adaptive_max_pool1d and the position of each maximum."""
    del return_indices
    x = _signal("adaptive_max_pool1d", input)
    OL = _one(output_size, "output_size", "adaptive_max_pool1d")
    y, indices = adaptive_max_pool2d_with_indices(x, (1, OL))
    return y.squeeze(-2), indices.squeeze(-2)


def adaptive_max_pool1d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Maxima over ``output_size`` nearly equal windows of (N, C, L) or (C, L)."""
    y, indices = adaptive_max_pool1d_with_indices(input, output_size)
    return (y, indices) if return_indices else y


def max_unpool2d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """Zeros, and each value at the flat position that ``indices`` (of max_pool2d) says."""
    K = pair(kernel_size, "kernel_size", "max_unpool2d")
    S = pair(_stride(stride, kernel_size), "stride", "max_unpool2d")
    P = pair(padding, "padding", "max_unpool2d", low=0)
    return _max_unpool("max_unpool2d", input, indices, K, S, P, output_size)


def max_unpool1d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """Zeros, and each value at the position that ``indices`` (of max_pool1d) says."""
    K = _one(kernel_size, "kernel_size", "max_unpool1d")
    S = _one(_stride(stride, kernel_size), "stride", "max_unpool1d")
    P = _one(padding, "padding", "max_unpool1d")
    return _max_unpool("max_unpool1d", input, indices, (K,), (S,), (P,), output_size)


def _max_unpool(
    name: str,
    input: Tensor,
    indices: Tensor,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    output_size: Sequence[int] | None,
) -> Tensor:
    x, where = check_tensor(name, input), check_tensor(name, indices, "indices")
    n = len(kernel)
    if x.ndim not in (n + 1, n + 2):
        raise RuntimeError(f"{name}: Expected {n + 1}D or {n + 2}D input, got {list(x.shape)}")
    if where.array.dtype.name != "int64":
        raise RuntimeError(f"elements in indices should be type int64 but got: {where.dtype}")
    if x.shape != where.shape:
        raise RuntimeError(
            f"{name}: Expected shape of indices to be same as that of the input tensor"
            f" ({list(x.shape)}) but got {list(where.shape)}"
        )
    default = [
        (size - 1) * S + K - 2 * P
        for size, K, S, P in zip(x.shape[-n:], kernel, stride, padding)
    ]
    if output_size is None:
        size = default
    else:
        size = list(output_size)[-n:]
        if len(output_size) not in (n, n + 2):
            raise ValueError(
                f"output_size should be a sequence containing {n} or {n + 2} elements, but it has a"
                f" length of '{len(output_size)}'"
            )
        if any(not d - S < s < d + S for s, d, S in zip(size, default, stride)):
            raise ValueError(
                f"invalid output_size {list(output_size)}: each must be within a stride"
                f" {list(stride)} of {default}"
            )
    return max_unpool_op(x, indices=where, size=tuple(size))
