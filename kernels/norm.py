"""Normalisation: the moments of each channel, and the two maps that use them.

x is (N, C, L): batch norm as it is; group norm as (1, N G, C/G L) for its moments and (1, N C, L)
for the rest; layer norm as (1, rows, D). Moments and gradient sums are accumulated in float64,
products and squares in runs of x's type that are then added in float64.

Deviations are taken from m, the mean rounded to that type, exact for elements near it; what is
left over, mean - m, is put right in the small arrays, per channel. So float32 inputs of
mean 1e4 and deviation 1 keep all their digits.

x may be the first channels of images that have P > C of them, as the maps of a DenseNet are, which
grow: kernels take it as (N, P, L), and C from an argument that has one number per channel.

Sums over a channel are made of its rows', one for each image: threads share out images, here as
elsewhere, so that a core finds in its caches what it wrote or read before. To write where another
core has just read is what takes longest: ten times as long.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from .backend import Array, contiguous, empty
from .half import is_half
from .jit import Kernel, inline, kernel, prange, short_vectors, uint
from .microkernel import VECTOR_BYTES
from .simd import load, stream, vector, vectors

Numbers: TypeAlias = tuple[Array, Array, Array]  # per channel: m, scale, shift

RUN = 1024  # elements that are added in their own type
COLUMNS = 64  # channels of a task where L is 1 (after a linear layer), and neighbours are channels


def _channel_sums_numpy(x: Array, total: Array) -> None:
    total[:] = x.sum((0, 2), dtype=np.float64)


@kernel(numpy=_channel_sums_numpy)
def _channel_sums(x: Array, total: Array) -> None:
    """total[c] = sum over n and l of x[n, c, l]: runs in x's dtype, their sums in float64."""
    N, C, L = x.shape
    flat, sums = x.reshape(x.size), np.empty(N * C)
    for row in prange(N * C):
        wide = np.float64(0)
        for start in range(0, L, RUN):
            first = uint(row * L + start)
            part = x.dtype.type(0)
            for i in range(uint(min(RUN, L - start))):
                part += flat[first + i]
            wide += part
        sums[row] = wide
    add_images(sums, N, C, total)


@inline
def add_images(sums: Array, N: int, C: int, total: Array) -> None:
    """total[c] = the sum over n of sums[n C + c]."""
    for c in range(uint(C)):
        total[c] = 0
    for n in range(N):
        first = uint(n * C)
        for c in range(uint(C)):
            total[c] += sums[first + c]


def _moments_numpy(x: Array, mean: Array, var: Array) -> None:
    x = x[:, : mean.size]
    mean[:] = x.mean((0, 2), dtype=np.float64)
    m = mean.astype(x.dtype)
    var[:] = np.square(x - m[:, None]).mean((0, 2), dtype=np.float64) - (mean - m) ** 2


@kernel(numpy=_moments_numpy)
def _moments(x: Array, mean: Array, var: Array) -> None:
    """Of each row its own moments, and from these the channel's. The squares are added in runs of
    x's dtype, these in float64; x in float64 at once."""
    N, P, L = x.shape
    C, flat, T = mean.size, x.reshape(x.size), x.dtype.type
    means, squares = np.empty(N * C), np.empty(N * C)
    for row in prange(N * C):
        place = row // C * P + row % C
        first, total = uint(place * L), np.float64(0)
        for i in range(uint(L)):
            total += flat[first + i]
        means[row] = total / L
        m, square = T(means[row]), np.float64(0)
        for start in range(0, L, RUN):
            first = uint(place * L + start)
            part = T(0)
            for i in range(uint(min(RUN, L - start))):
                d = flat[first + i] - m
                part += d * d
            square += part
        squares[row] = square / L - (means[row] - m) ** 2
    add_images(means, N, C, mean)
    for c in range(uint(C)):
        mean[c] /= N
    for n in range(N):  # a row's squares, taken from the channel's mean
        first = uint(n * C)
        for c in range(uint(C)):
            squares[first + c] += (means[first + c] - mean[c]) ** 2
    add_images(squares, N, C, var)
    for c in range(uint(C)):
        var[c] /= N


@kernel(numpy=_moments_numpy)
def _column_moments(x: Array, mean: Array, var: Array) -> None:
    """``_moments`` for L = 1."""
    N, C = x.shape[:2]
    flat = x.reshape(x.size)
    for block in prange((C + COLUMNS - 1) // COLUMNS):
        c0 = block * COLUMNS
        some = uint(min(COLUMNS, C - c0))
        total, squares, m = np.zeros(COLUMNS), np.zeros(COLUMNS), np.zeros(COLUMNS, x.dtype)
        for n in range(N):
            first = uint(n * C + c0)
            for c in range(some):
                total[c] += flat[first + c]
        for c in range(some):
            m[c] = total[c] / N
        for n in range(N):
            first = uint(n * C + c0)
            for c in range(some):
                d = np.float64(flat[first + c] - m[c])
                squares[c] += d * d
        for c in range(some):
            mean[uint(c0) + c] = total[c] / N
            var[uint(c0) + c] = squares[c] / N - (total[c] / N - m[c]) ** 2


def scale_numpy(x: Array, m: Array, scale: Array, shift: Array, y: Array) -> None:
    """y = (x - m) scale + shift."""
    np.subtract(x[:, : m.size], m[:, None], out=y)
    y *= scale[:, None]
    y += shift[:, None]


@kernel(numpy=scale_numpy)
def _scale(x: Array, m: Array, scale: Array, shift: Array, y: Array) -> None:
    N, C, L = y.shape
    xf, yf = x.reshape(x.size), y.reshape(y.size)
    for row in prange(N * C):
        short_vectors()
        n, c = row // C, row % C
        first, to = uint((n * x.shape[1] + c) * L), uint(row * L)
        middle, factor, new = m[c], scale[c], shift[c]
        for i in range(uint(L)):
            yf[to + i] = (xf[first + i] - middle) * factor + new


@kernel(numpy=scale_numpy, streams=_scale)
def _scale_streamed(x: Array, m: Array, scale: Array, shift: Array, y: Array) -> None:
    """``_scale`` for a large y."""
    N, C, L = y.shape
    xf, yf = x.reshape(x.size), y.reshape(y.size)
    for row in prange(N * C):
        n, c = row // C, row % C
        middle, factor, new = m[c], scale[c], shift[c]
        ahead = n * (x.shape[1] - C) * L
        first, end = row * L, (row + 1) * L
        for k in range(vectors(yf, first, end)):
            i = vector(yf, first, end, k)
            stream(yf, i, (load(xf, i + ahead) - middle) * factor + new)


@kernel(numpy=scale_numpy)
def _scale_columns(x: Array, m: Array, scale: Array, shift: Array, y: Array) -> None:
    """``_scale`` for L = 1."""
    N, C = x.shape[:2]
    xf, yf = x.reshape(x.size), y.reshape(y.size)
    for n in prange(N):
        first = uint(n * C)
        for c in range(uint(C)):
            yf[first + c] = (xf[first + c] - m[c]) * scale[c] + shift[c]


def gradient_sums_numpy(x: Array, gy: Array, m: Array, total: Array, product: Array) -> None:
    """Sums of gy, and of gy (x - m)."""
    total[:] = gy.sum((0, 2), dtype=np.float64)
    product[:] = (gy * (x[:, : m.size] - m[:, None])).sum((0, 2), dtype=np.float64)


@kernel(numpy=gradient_sums_numpy)
def _gradient_sums(x: Array, gy: Array, m: Array, total: Array, product: Array) -> None:
    """The products are added in runs of x's dtype, these in float64; gy in float64 at once."""
    N, C, L = gy.shape
    xf, gyf = x.reshape(x.size), gy.reshape(gy.size)
    totals, products = np.empty(N * C), np.empty(N * C)
    for row in prange(N * C):
        n, c = row // C, row % C
        middle, a, b = m[c], np.float64(0), np.float64(0)
        for start in range(0, L, RUN):
            first, at = uint((n * x.shape[1] + c) * L + start), uint(row * L + start)
            part = x.dtype.type(0)
            for i in range(uint(min(RUN, L - start))):
                a += gyf[at + i]
                part += gyf[at + i] * (xf[first + i] - middle)
            b += part
        totals[row] = a
        products[row] = b
    add_images(totals, N, C, total)
    add_images(products, N, C, product)


@kernel(numpy=gradient_sums_numpy)
def _column_gradient_sums(x: Array, gy: Array, m: Array, total: Array, product: Array) -> None:
    """``_gradient_sums`` for L = 1, all in float64."""
    N, C = x.shape[:2]
    xf, gyf = x.reshape(x.size), gy.reshape(gy.size)
    for block in prange((C + COLUMNS - 1) // COLUMNS):
        c0 = uint(block * COLUMNS)
        some = uint(min(COLUMNS, C - block * COLUMNS))
        a, b = np.zeros(COLUMNS), np.zeros(COLUMNS)
        for n in range(N):
            first = uint(n * C) + c0
            for c in range(some):
                a[c] += gyf[first + c]
                b[c] += gyf[first + c] * (xf[first + c] - m[c0 + c])
        for c in range(some):
            total[c0 + c] = a[c]
            product[c0 + c] = b[c]


def combine_numpy(
    x: Array, gy: Array, m: Array, scale: Array, slope: Array, shift: Array, gx: Array
) -> None:
    """gx = scale gy + slope (x - m) + shift."""
    np.multiply(gy, scale[:, None], out=gx)  # first, as gx may be gy
    gx += (x[:, : m.size] - m[:, None]) * slope[:, None] + shift[:, None]


@kernel(numpy=combine_numpy)
def _combine(
    x: Array, gy: Array, m: Array, scale: Array, slope: Array, shift: Array, gx: Array
) -> None:
    N, C, L = gx.shape
    xf, gyf, gxf = x.reshape(x.size), gy.reshape(gy.size), gx.reshape(gx.size)
    for row in prange(N * C):
        short_vectors()
        n, c = row // C, row % C
        first, to = uint((n * x.shape[1] + c) * L), uint(row * L)
        middle, a, b, rest = m[c], scale[c], slope[c], shift[c]
        for i in range(uint(L)):
            gxf[to + i] = a * gyf[to + i] + b * (xf[first + i] - middle) + rest


@kernel(numpy=combine_numpy, streams=_combine)
def _combine_streamed(
    x: Array, gy: Array, m: Array, scale: Array, slope: Array, shift: Array, gx: Array
) -> None:
    """``_combine`` for a large gx that lies apart."""
    N, C, L = gx.shape
    xf, gyf, gxf = x.reshape(x.size), gy.reshape(gy.size), gx.reshape(gx.size)
    for row in prange(N * C):
        n, c = row // C, row % C
        middle, a, b, rest = m[c], scale[c], slope[c], shift[c]
        ahead = n * (x.shape[1] - C) * L
        first, end = row * L, (row + 1) * L
        for k in range(vectors(gxf, first, end)):
            i = vector(gxf, first, end, k)
            stream(gxf, i, a * load(gyf, i) + b * (load(xf, i + ahead) - middle) + rest)


@kernel(numpy=combine_numpy)
def _combine_columns(
    x: Array, gy: Array, m: Array, scale: Array, slope: Array, shift: Array, gx: Array
) -> None:
    """``_combine`` for L = 1."""
    N, C = x.shape[:2]
    xf, gyf, gxf = x.reshape(x.size), gy.reshape(gy.size), gx.reshape(gx.size)
    for n in prange(N):
        first = uint(n * C)
        for c in range(uint(C)):
            d = xf[first + c] - m[c]
            gxf[first + c] = scale[c] * gyf[first + c] + slope[c] * d + shift[c]


def channel_sums(x: Array) -> Array:
    """The sums over N and L of x (N, C, L), (C) of its type, added in runs and then in float64."""
    total = zeros(x)
    if x.size:
        _channel_sums(_plain(x), total)
    return total.astype(x.dtype)


def moments(x: Array) -> tuple[Array, Array]:
    """The mean and the (biased) variance of each channel over N and L, as float64 (C)."""
    mean, var = zeros(x), zeros(x)
    _run(_moments, _column_moments, _prepared(x), mean, var)
    return mean, np.maximum(var, 0)


def scale(x: Array, mean: Array, scale: Array, shift: Array) -> Array:
    """y = (x - mean) scale + shift per channel; the three are float64 (C)."""
    dtype, shape, x = x.dtype, x.shape, _prepared(x)
    y = empty(shape, x)
    numbers = rounded(x, mean, scale, shift)
    _run(for_result(_scale, y, x), _scale_columns, x, *numbers, y)
    return y.astype(dtype, copy=False)


def rounded(x: Array, mean: Array, scale: Array, shift: Array) -> Numbers:
    """m, scale, shift in x's type, such that (x - m) scale + shift loses none of mean's digits."""
    m = mean.astype(x.dtype)
    return m, scale.astype(x.dtype), (shift - (mean - m) * scale).astype(x.dtype)


def gradient_sums(x: Array, gy: Array, mean: Array) -> tuple[Array, Array]:
    """The sums of gy and of gy (x - mean) over N and L, as float64 (C)."""
    total, product = zeros(x), zeros(x)
    x, gy = _prepared(x), _plain(gy)
    m = mean.astype(x.dtype)
    _run(_gradient_sums, _column_gradient_sums, x, gy, m, total, product)
    return total, product - (mean - m) * total


def combine(
    x: Array, gy: Array, mean: Array, scale: Array, slope: Array, shift: Array,
    overwrite: bool = False,
) -> Array:  # fmt: skip
    """gx = scale gy + slope (x - mean) + shift per channel; the four are float64 (C).

    ``overwrite`` puts gx where gy was, if that is plain memory.
    """
    dtype, x, given = x.dtype, _prepared(x), gy
    gy = _plain(given)
    gx = gy if overwrite and gy is given else empty(gy.shape, x)
    m, slope, shift = rounded(x, mean, slope, shift)
    factors = scale.astype(x.dtype), slope, shift
    _run(for_result(_combine, gx, x, gy), _combine_columns, x, gy, m, *factors, gx)
    return gx.astype(dtype, copy=False)


def _plain(x: Array) -> Array:
    return contiguous(x.astype(np.float32) if is_half(x.dtype) else x)


def _prepared(x: Array) -> Array:
    return _plain(x) if is_half(x.dtype) else images(x)


def images(x: Array) -> Array:
    """x (N, C, L) in plain memory, or where it is on the CPU, (N, P, L) if its images are the first
    C channels of larger ones: what is behind them is never read."""
    if x.flags.c_contiguous or not isinstance(x, np.ndarray) or not x.flags.aligned:
        return contiguous(x)
    N, C, L = x.shape
    row = L * x.itemsize
    P, rest = divmod(x.strides[0], row) if row else (0, 0)
    if L == 1 or rest or P < C or x.strides[1:] != (row, x.itemsize):
        return contiguous(x)
    return np.lib.stride_tricks.as_strided(x, (N, P, L))


def _run(rows: Kernel, columns: Kernel, x: Array, *args: Array) -> None:
    """Along the rows of each channel; where they are of one element, along the channels."""
    if x.size:
        (columns if x.shape[2] == 1 and isinstance(x, np.ndarray) else rows)(x, *args)


def for_result(rows: Kernel, y: Array, *inputs: Array) -> Kernel:
    """Its streamed version if y is large, and its rows hold a vector."""
    return rows.for_result(y, *inputs) if y.shape[2] * y.itemsize >= VECTOR_BYTES else rows


def zeros(x: Array) -> Array:
    """One float64 per channel; stays 0 if there is nothing to add up."""
    sums = empty((x.shape[1],), x, np.float64)
    sums[:] = 0
    return sums
