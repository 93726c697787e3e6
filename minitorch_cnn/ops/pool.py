"""Pooling: the maximum or the mean of windows of an image, (N, C, H, W) or (C, H, W)."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import kernels
from ..kernels.geometry import Pair, integer, pair, pool_output_size
from ..tensor import Array, op


@op
def max_pool2d(
    x: Array,
    /,
    *,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
) -> Any:
    """y[oh, ow] = max over kh, kw of x[oh SH - PH + kh DH, ow SW - PW + kw DW], and where it was.

    x (N, C, H, W) or (C, H, W), any dtype but bool; y (..., OH, OW) and the int64 indices h W + w.
    ``stride`` is ``kernel_size`` unless given. Padding is never the maximum (it is -inf); of equal
    elements the first in a row-major walk takes the whole gradient; NaN is larger than any number.
    RuntimeError if padding exceeds half the kernel or nothing is left of an axis. Cost: numel(y) KH
    KW comparisons, and 8 bytes per output for the indices.
    """
    name = "max_pool2d"
    _check(name, x, "fiu")
    kernel = pair(kernel_size, "kernel_size", name)
    S = kernel if stride is None else pair(stride, "stride", name)
    P = pair(padding, "padding", name, low=0)
    D = pair(dilation, "dilation", name)
    output_size = pool_output_size(name, x.shape, kernel, S, P, D, ceil_mode)
    y, indices = kernels.pool.max_pool2d(x, kernel, S, P, D, output_size)
    reach = (D[0] * (kernel[0] - 1) + 1, D[1] * (kernel[1] - 1) + 1)
    windows = map(kernels.pool.kernel_ranges, x.shape[-2:], reach, S, P, output_size)
    return (y, indices), (_max_grad(indices, x.shape, *windows),)


def _max_grad(indices: Array, shape: tuple[int, ...], rows: Any, columns: Any) -> Any:
    return lambda gy: kernels.pool.max_pool2d_grad(gy, indices, shape, rows, columns)


@op
def avg_pool2d(
    x: Array,
    /,
    *,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """y[oh, ow] = sum / size of the window of x that starts at (oh SH - PH, ow SW - PW).

    x (N, C, H, W) or (C, H, W), floating or int64 (which divides towards zero); y (..., OH, OW).
    Padding adds nothing to the sum; the size is counted within the padded image, within the image
    itself with ``count_include_pad=False``, or is ``divisor_override``. RuntimeError if padding
    exceeds half the kernel or nothing is left of an axis. Cost: OH (KH W + OW KW) additions a
    plane.
    """
    name = "avg_pool2d"
    _check(name, x, "fl")
    kernel = pair(kernel_size, "kernel_size", name)
    S = kernel if stride is None else pair(stride, "stride", name)
    P = pair(padding, "padding", name, low=0)
    size: Pair = (x.shape[-2], x.shape[-1])
    windows = pool_output_size(name, x.shape, kernel, S, P, (1, 1), ceil_mode)
    rows, columns = map(kernels.pool.kernel_ranges, size, kernel, S, P, windows)
    if divisor_override is not None:
        divisor = np.array(integer(divisor_override, "divisor_override", name))
        if divisor == 0:
            raise RuntimeError(f"{name}(): divisor must be not zero")
    else:
        divisor = _window_sizes(size, kernel, S, P, windows, count_include_pad)
    return _mean(x, rows, columns, divisor)


@functools.lru_cache(256)
def _window_sizes(
    size: Pair, kernel: Pair, S: Pair, P: Pair, windows: Pair, count_include_pad: bool
) -> Array:
    """The elements of each window (OH, OW), or one number where all are alike."""
    if count_include_pad:
        sizes = _outer(*map(_padded_lengths, size, kernel, S, P, windows))
    else:
        ranges = map(kernels.pool.kernel_ranges, size, kernel, S, P, windows)
        sizes = _outer(*(last - first for first, last in ranges))
    return sizes[0, 0] if (sizes == sizes[0, 0]).all() else sizes


def _padded_lengths(size: int, K: int, S: int, P: int, windows: int) -> Array:
    start = np.arange(windows) * S - P
    return np.minimum(start + K, size + P) - start


def _outer(rows: Array, columns: Array) -> Array:
    return rows[:, None] * columns


def _mean(x: Array, rows: Any, columns: Any, divisor: Array) -> Any:
    size = x.shape[-2:]
    y = kernels.pool.mean_ranges(x, rows, columns, divisor)

    def grad(gy: Array) -> Array:
        return kernels.pool.mean_ranges_grad(gy, rows, columns, divisor, size)

    return y, (grad,)


@op
def adaptive_avg_pool2d(x: Array, /, *, output_size: int | Sequence[int | None]) -> Any:
    """y[i, j] = the mean of x over rows floor(i H / OH) to ceil((i + 1) H / OH), columns likewise.

    x (N, C, H, W) or (C, H, W), floating; y (..., OH, OW), where None keeps an axis's size. Windows
    differ in size by at most one and may overlap. Cost: as a pooling with that kernel.
    """
    rows, columns = _adaptive_ranges("adaptive_avg_pool2d", x, output_size)
    return _mean(x, rows, columns, _outer(rows[1] - rows[0], columns[1] - columns[0]))


@op
def adaptive_max_pool2d(x: Array, /, *, output_size: int | Sequence[int | None]) -> Any:
    """The maxima, and their indices h W + w, of the windows of :func:`adaptive_avg_pool2d`."""
    rows, columns = _adaptive_ranges("adaptive_max_pool2d", x, output_size)
    y, indices = kernels.pool.max_ranges(x, rows, columns)
    return (y, indices), (_max_grad(indices, x.shape, rows, columns),)


def _adaptive_ranges(name: str, x: Array, output_size: int | Sequence[int | None]) -> Any:
    _check(name, x, "f")
    sizes = output_size if isinstance(output_size, (tuple, list)) else (output_size, output_size)
    sizes = [n if s is None else s for s, n in zip(sizes, x.shape[-2:])]
    windows = pair(sizes, "output_size", name, low=0)
    return map(kernels.pool.adaptive_ranges, x.shape[-2:], windows)


def _check(name: str, x: Array, kinds: str) -> None:
    """An image without empty axes (but perhaps no images); ``l`` among the kinds is int64 alone."""
    if x.dtype.kind not in kinds and not ("l" in kinds and x.dtype == np.int64):
        raise NotImplementedError(f'"{name}" not implemented for {x.dtype}')
    # Averages of no channels at all are PyTorch's one exception.
    empty = 0 in x.shape[-2:] or (0 in x.shape[-3:] and name != "adaptive_avg_pool2d")
    if x.ndim not in (3, 4) or empty:
        raise RuntimeError(
            f"{name}(): Expected 3D (C, H, W) or 4D (N, C, H, W) tensor with optional 0 dim batch"
            f" size for input, but got:{list(x.shape)}"
        )
