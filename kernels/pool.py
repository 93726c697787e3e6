"""Pooling: the largest element or the sum of each window, and what backward sends to each element.

Arrays here are stacks of planes: (N, C, H, W) is (N*C, H, W). A plane is one iteration of the
parallel loop, forward and backward, so no two threads write to one element and every sum has its
fixed order.

Max pooling has taps (a kernel with stride, padding, dilation). Sums and adaptive pooling have
ranges: window (oh, ow) covers rows ``top[oh]:bottom[oh]`` and columns ``left[ow]:right[ow]``, which
describes a kernel without dilation and adaptive pooling alike. The gradient of a sum over ranges is
again a sum over ranges: those of the windows that cover an element.
"""

from __future__ import annotations

import functools
import math
from typing import Any, TypeAlias

import numpy as np

from .backend import Array, constant, contiguous, empty
from .half import is_half
from .jit import inline, kernel, prange, uint
from .window_sums import sum_windows, window_of

Pair: TypeAlias = tuple[int, int]
Ranges: TypeAlias = tuple[Any, Any]  # first index of each window, and one past its last


def windows_inside(offset: int, S: int, size: int, windows: int) -> Any:
    """The first window whose tap at ``offset`` from its start is inside, and one past the last."""
    first = 0 if offset >= 0 else (S - 1 - offset) // S
    last = min(windows, (size - 1 - offset) // S + 1)
    return first, max(first, last)


_windows_inside = inline(windows_inside)

TOGETHER = 1 << 12  # numbers of small planes that max pooling takes together


def _max_pool2d_numpy(
    x: Array, y: Array, indices: Array, lowest: Any, KH: int, KW: int, SH: int, SW: int, PH: int,
    PW: int, DH: int, DW: int,
) -> None:  # fmt: skip
    _, H, W = x.shape
    _, OH, OW = y.shape
    position = np.arange(H * W).reshape(H, W)
    indices[...] = -1
    for kh in range(KH):
        oh, oh_end = windows_inside(kh * DH - PH, SH, H, OH)
        h = slice(oh * SH + kh * DH - PH, oh_end * SH + kh * DH - PH, SH)
        for kw in range(KW):
            ow, ow_end = windows_inside(kw * DW - PW, SW, W, OW)
            w = slice(ow * SW + kw * DW - PW, ow_end * SW + kw * DW - PW, SW)
            if oh == oh_end or ow == ow_end:
                continue
            v = x[:, h, w]
            best = y[:, oh:oh_end, ow:ow_end]
            at = indices[:, oh:oh_end, ow:ow_end]
            larger = (v > best) | (v != v) | (at < 0)
            np.copyto(best, v, where=larger)
            np.copyto(at, position[h, w], where=larger)
    y[indices < 0] = lowest


@inline
def _first_inside(
    oh: int, ow: int, H: int, W: int, KH: int, KW: int, SH: int, SW: int, PH: int, PW: int,
    DH: int, DW: int,
) -> int:  # fmt: skip
    """The index h W + w of a window's first element that is not in the padding; -1 if all are."""
    for kh in range(KH):
        for kw in range(KW):
            h, w = oh * SH - PH + kh * DH, ow * SW - PW + kw * DW
            if 0 <= h < H and 0 <= w < W:
                return h * W + w
    return -1


@inline
def _every_nth(x: Array, first: int, count: int, step: int, parts: Array, size: int) -> None:
    """parts[i size + j] = x[first + j step + i], of ``count`` numbers: windows that are neighbours
    shall read neighbours."""
    if step == 2:  # the commonest, written out: LLVM loads whole vectors and separates them
        for j in range(count // 2):
            i = uint(j)
            parts[i] = x[uint(first) + i + i]
            parts[i + uint(size)] = x[uint(first) + i + i + uint(1)]
        if count % 2:
            parts[count // 2] = x[first + count - 1]
        return
    for i in range(step):
        for j in range((count - i + step - 1) // step):
            parts[i * size + j] = x[first + j * step + i]


@inline
def _take_larger(parts: Array, start: int, here: int, best: Array, at: Array) -> None:
    """One tap of many windows: its value and place, where it is larger than before, or NaN.

    No branch depends on the data: LLVM compares several windows at once. Unsigned indices tell
    Numba that none is negative, which it would have to count from the end.
    """
    for p in range(len(best)):
        i, v = uint(p), parts[uint(start + p)]
        larger = (v > best[i]) | (v != v)
        best[i] = v if larger else best[i]
        at[i] = np.int32(here) if larger else at[i]


@kernel(numpy=_max_pool2d_numpy)
def _max_pool2d(
    x: Array, y: Array, indices: Array, lowest: Any, KH: int, KW: int, SH: int, SW: int, PH: int,
    PW: int, DH: int, DW: int,
) -> None:  # fmt: skip
    """Rows are often shorter than a vector, so with SH == SW a plane is taken as one long row.

    In the plane with its padding, ``wide`` columns, window p = oh wide + ow begins at element SW p
    (without padding, in the plane itself).
    Windows with ow >= OW run on into the next row: computing them, and leaving them out at the
    end, is cheaper than many short rows. Small planes whose windows cover them exactly follow each
    other like the rows of one, and are taken together. Padding is the lowest number there is, which
    never wins; only a window of nothing else has to be looked at again. The buffers are flat, as a
    view of a row costs as much as its few numbers.
    """
    planes, H, W = x.shape
    _, OH, OW = y.shape
    high, wide = (OH - 1) * SH + (KH - 1) * DH + 1, (OW - 1) * SW + (KW - 1) * DW + 1
    padding = PH + PW > 0 or high > H or wide > W
    if not padding:
        wide = W
    inside = min(W, wide - PW)
    several = max(1, min(16, planes // 64))
    at_once = 1  # planes
    if not padding and SH == SW and OH * SH == H:
        at_once = max(1, min(several, TOGETHER // (H * W)))
    rows = at_once * OH if SH == SW else 1
    size = (high + (at_once - 1) * H) * wide // SW + 1
    xf, yf, to = x.reshape(x.size), y.reshape(y.size), indices.reshape(indices.size)
    for block in prange((planes + several - 1) // several):
        padded = np.empty(high * wide if padding else 0, x.dtype)
        seen = padded if padding else xf
        parts = np.empty(SW * size, x.dtype)
        best = np.empty((rows - 1) * wide + OW, x.dtype)
        at = np.empty(len(best), np.int32)  # counted from the window's first element
        end = min(planes, (block + 1) * several)
        for n in range(block * several, end, at_once):
            more = min(at_once, end - n) - 1
            for i in range(len(padded)):
                padded[uint(i)] = lowest
            for h in range(PH, min(high, H + PH) if padding else 0):
                for w in range(inside):
                    i = uint(h * wide + PW + w)
                    padded[i] = x[n, uint(h - PH), uint(w)]
            count = (high + more * H) * wide
            _every_nth(seen, 0 if padding else n * H * W, count, SW, parts, size)
            for start in range(0, (1 + more) * OH, rows):
                for p in range(len(best)):
                    best[uint(p)] = lowest
                    at[uint(p)] = 0
                for kh in range(KH):
                    for kw in range(KW):
                        tap = (start * SH + kh * DH) * wide + kw * DW
                        part = tap % SW * size + tap // SW
                        _take_larger(parts, part, kh * DH * W + kw * DW, best, at)
                for row in range(start, min(start + rows, (1 + more) * OH)):
                    oh, here = row % OH, uint((n * OH + row) * OW)
                    first, of = (oh * SH - PH) * W - PW, uint((row - start) * wide)
                    again: Any = 0
                    for ow in range(uint(OW)):
                        yf[here + ow] = best[of + ow]
                        to[here + ow] = first + np.int64(ow) * SW + np.int64(at[of + ow])
                        again += np.int64(best[of + ow] == lowest)
                    for ow in range(uint(OW if again else 0)):
                        if yf[here + ow] == lowest:
                            to[here + ow] = _first_inside(
                                oh, ow, H, W, KH, KW, SH, SW, PH, PW, DH, DW
                            )


def max_pool2d(
    x: Array, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair, output_size: Pair
) -> tuple[Array, Array]:
    """y = the largest element of each window, and its index h W + w in the plane (int64).

    x (..., H, W); y and indices (..., OH, OW). The first of equal elements counts; a NaN is larger
    than every number, and the last NaN counts; padding is never taken. A window that lies in the
    padding with all its taps (dilation on a tiny plane) gives -inf and index -1.
    Cost: numel(y) KH KW comparisons.
    """
    if is_half(x.dtype):
        y, indices = max_pool2d(
            x.astype(np.float32), kernel_size, stride, padding, dilation, output_size
        )
        return y.astype(x.dtype), indices
    y = empty((*x.shape[:-2], *output_size), x)
    indices = empty(y.shape, x, np.int64)
    if y.size:
        lowest = x.dtype.type(-np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min)
        _max_pool2d(
            _planes(x), _planes(y), _planes(indices), lowest,
            *kernel_size, *stride, *padding, *dilation,
        )  # fmt: skip
    return y, indices


def _max_pool2d_grad_numpy(gy: Array, indices: Array, gx: Array) -> None:
    planes, size = gx.shape
    flat = np.arange(planes)[:, None] * size + indices
    taken = indices >= 0
    gx[...] = np.bincount(flat[taken], gy[taken], gx.size).reshape(gx.shape)


@kernel(numpy=_max_pool2d_grad_numpy)
def _max_pool2d_grad(gy: Array, indices: Array, gx: Array) -> None:
    zero = gx.dtype.type(0)
    for n in prange(gx.shape[0]):
        for i in range(gx.shape[1]):
            gx[n, i] = zero
        for o in range(gy.shape[1]):
            if indices[n, o] >= 0:
                gx[n, indices[n, o]] += gy[n, o]


def max_pool2d_grad(
    gy: Array, indices: Array, shape: tuple[int, ...], rows: Ranges | None = None,
    columns: Ranges | None = None,
) -> Array:  # fmt: skip
    """gx[index of a window's largest element] += gy of that window; 0 elsewhere.

    gy, indices (..., OH, OW); gx of ``shape`` (..., H, W). A plane is one thread's, which adds in
    the order of the windows: as deterministic as asking, for every element, the windows that
    could have taken it, and 20 to 30 times as fast. A GPU, where elements are threads', asks: of
    the windows of ranges ``rows`` and ``columns`` those that cover the element.
    """
    if is_half(gy.dtype):
        wide = gy.astype(np.float32)
        return max_pool2d_grad(wide, indices, shape, rows, columns).astype(gy.dtype)
    gx = empty(shape, gy)
    if gx.size and not isinstance(gy, np.ndarray):
        _max_pool2d_grad_cuda(gy, indices, gx, rows, columns)
    elif gx.size:
        planes = math.prod(shape[:-2])
        _max_pool2d_grad(
            contiguous(gy).reshape(planes, -1),
            contiguous(indices).reshape(planes, -1),
            gx.reshape(planes, -1),
        )
    return gx


def _max_pool2d_grad_cuda(
    gy: Array, indices: Array, gx: Array, rows: Ranges | None, columns: Ranges | None
) -> None:
    """The kernel in pool.cu gathers, and so has other arguments than the one above."""
    from .launcher import launch

    ranges: list[Array] = []
    for windows, size, n in zip((rows, columns), gx.shape[-2:], gy.shape[-2:]):
        every = (np.zeros(size, np.int64), np.full(size, n))
        covering = every if windows is None else covering_ranges(windows, size)
        ranges += (constant(r, gx) for r in covering)
    launch("pool", "max_pool2d_grad", _planes(gy), _planes(indices), _planes(gx), *ranges)


def _max_ranges_numpy(
    x: Array, y: Array, indices: Array, top: Array, bottom: Array, left: Array, right: Array
) -> None:
    planes, _, W = x.shape
    for oh in range(y.shape[1]):
        for ow in range(y.shape[2]):
            width = right[ow] - left[ow]
            window = x[:, top[oh] : bottom[oh], left[ow] : right[ow]].reshape(planes, -1)
            at = np.argmax(window, axis=1)
            nan = window != window
            any_nan = nan.any(axis=1)
            at[any_nan] = window.shape[1] - 1 - np.argmax(nan[any_nan, ::-1], axis=1)
            y[:, oh, ow] = window[np.arange(planes), at]
            indices[:, oh, ow] = (top[oh] + at // width) * W + left[ow] + at % width


@kernel(numpy=_max_ranges_numpy)
def _max_ranges(
    x: Array, y: Array, indices: Array, top: Array, bottom: Array, left: Array, right: Array
) -> None:
    planes, _, W = x.shape
    for n in prange(planes):
        for oh in range(y.shape[1]):
            for ow in range(y.shape[2]):
                best = x[n, top[oh], left[ow]]
                at = top[oh] * W + left[ow]
                for h in range(top[oh], bottom[oh]):
                    for w in range(left[ow], right[ow]):
                        v = x[n, h, w]
                        if v > best or v != v:
                            best = v
                            at = h * W + w
                y[n, oh, ow] = best
                indices[n, oh, ow] = at


def max_ranges(x: Array, rows: Ranges, columns: Ranges) -> tuple[Array, Array]:
    """The largest element of each window given by ranges, and its index: see :func:`max_pool2d`."""
    if is_half(x.dtype):
        y, indices = max_ranges(x.astype(np.float32), rows, columns)
        return y.astype(x.dtype), indices
    y = empty((*x.shape[:-2], rows[0].size, columns[0].size), x)
    indices = empty(y.shape, x, np.int64)
    if y.size:
        ranges = (constant(r, x) for r in (*rows, *columns))
        _max_ranges(_planes(x), _planes(y), _planes(indices), *ranges)
    return y, indices


def _sum_ranges_numpy(
    x: Array, y: Array, top: Array, bottom: Array, left: Array, right: Array
) -> None:
    planes, _, W = x.shape
    columns = np.empty((planes, y.shape[1], W), x.dtype)
    for oh in range(y.shape[1]):
        columns[:, oh] = x[:, top[oh] : bottom[oh]].sum(1)
    for ow in range(y.shape[2]):
        y[:, :, ow] = columns[:, :, left[ow] : right[ow]].sum(2)


# Planes that one iteration takes, with one buffer; windows in a run that is worth a vector loop.
PLANES, RUN = 16, 8


@inline
def _regular_run(left: Array, right: Array) -> Any:
    """The windows around the middle one that are as wide as it, each one further than the last."""
    middle = left.size // 2
    first, last = middle, middle + 1
    while first > 0 and left[first] - left[first - 1] == right[first] - right[first - 1] == 1:
        first -= 1
    while last < left.size and left[last] - left[last - 1] == right[last] - right[last - 1] == 1:
        last += 1
    return (first, last) if last - first >= RUN else (0, 0)


@inline
def _add_row(row: Array, total: Array) -> None:
    for i in range(total.size):
        total[i] += row[i]


@inline
def _sum(row: Array) -> Any:
    total = row.dtype.type(0)
    for i in range(row.size):
        total += row[i]
    return total


@inline
def _sum_plane(
    x: Array, y: Array, column: Array, top: Array, bottom: Array, left: Array, right: Array,
    first: int, last: int,
) -> None:  # fmt: skip
    """First down the columns, then across; windows first:last are a regular run."""
    for oh in range(y.shape[0]):
        column[:] = 0
        for h in range(top[oh], bottom[oh]):
            _add_row(x[h], column)
        total = y[oh]
        if first < last:  # shifted rows add up, a vector at a time
            total[first:last] = 0
            for k in range(left[first], right[first]):
                _add_row(column[k : k + last - first], total[first:last])
        for ow in range(total.size):
            if not first <= ow < last:
                s = x.dtype.type(0)
                for w in range(left[ow], right[ow]):
                    s += column[w]
                total[ow] = s


@kernel(numpy=_sum_ranges_numpy)
def _sum_ranges(x: Array, y: Array, top: Array, bottom: Array, left: Array, right: Array) -> None:
    planes, H, W = x.shape
    first, last = _regular_run(left, right)
    row = H == 1 and y.size == planes and right[0] - left[0] == W
    for block in prange((planes + PLANES - 1) // PLANES):
        start, stop = block * PLANES, min(planes, (block + 1) * PLANES)
        if row:
            for n in range(start, stop):
                y[n, 0, 0] = _sum(x[n, 0])
        else:
            column = np.empty(W, x.dtype)
            for n in range(start, stop):
                _sum_plane(x[n], y[n], column, top, bottom, left, right, first, last)


def sum_ranges(x: Array, rows: Ranges, columns: Ranges, divisor: Any = 1) -> Array:
    """y[oh, ow] = the sum of x over rows ``top[oh]:bottom[oh]``, columns ``left[ow]:right[ow]``,
    divided by ``divisor``, a number.

    x (..., H, W); y (..., OH, OW). First down the columns, then across: OH KH W + OH OW KW
    additions a plane instead of OH OW KH KW.
    """
    y = empty((*x.shape[:-2], rows[0].size, columns[0].size), x)
    if not y.size:
        return y
    planes = _planes(x)
    if _whole(rows, columns, x.shape[-2:]):  # as one row: a sum without a buffer
        planes = planes.reshape(planes.shape[0], 1, -1)
        L = planes.shape[2]
        rows, columns = kernel_ranges(1, 1, 1, 0, 1), kernel_ranges(L, L, 1, 0, 1)
    elif isinstance(x, np.ndarray) and x.dtype.kind == "f":
        down, across = window_of(*rows, x.shape[-2]), window_of(*columns, x.shape[-1])
        if down and across:
            sum_windows(planes, _planes(y), *zip(down, across), x.dtype.type(divisor))
            return y
    _sum_ranges(planes, _planes(y), *(constant(r, x) for r in (*rows, *columns)))
    return y if divisor == 1 else np.divide(y, divisor, out=y)


def mean_ranges(x: Array, rows: Ranges, columns: Ranges, divisor: Array) -> Array:
    """:func:`sum_ranges` / divisor (OH, OW). Integers divide towards zero, halves in float32."""
    if is_half(x.dtype):
        return mean_ranges(x.astype(np.float32), rows, columns, divisor).astype(x.dtype)
    if x.dtype.kind != "f":
        y = sum_ranges(x, rows, columns)
        divisor = constant(divisor, y)
        return np.sign(y) * np.sign(divisor) * (np.abs(y) // np.abs(divisor))
    divisor = _plain_divisor(divisor, x)
    if divisor.ndim == 0:
        return sum_ranges(x, rows, columns, divisor)
    y = sum_ranges(x, rows, columns)
    return np.divide(y, divisor, out=y)


def mean_ranges_grad(gy: Array, rows: Ranges, columns: Ranges, divisor: Array, size: Pair) -> Array:
    """gx[h, w] = the sum of gy / divisor over the windows that cover (h, w); may be read-only."""
    if is_half(gy.dtype):
        wide = gy.astype(np.float32)
        return mean_ranges_grad(wide, rows, columns, divisor, size).astype(gy.dtype)
    divisor = _plain_divisor(divisor, gy)
    if divisor.ndim or gy.shape[-2:] != size:  # else, a stride of 1: dividing needs no pass
        gy, divisor = np.divide(gy, divisor, out=empty(gy.shape, gy)), 1
        if _whole(rows, columns, size):
            return np.broadcast_to(gy, (*gy.shape[:-2], *size))  # one window over everything
    covering = covering_ranges(rows, size[0]), covering_ranges(columns, size[1])
    return sum_ranges(gy, *covering, divisor)


def _whole(rows: Ranges, columns: Ranges, size: tuple[int, ...]) -> bool:
    """Whether there is one window, over everything."""
    return rows[0].size == columns[0].size == 1 and (
        (rows[0][0], columns[0][0], rows[1][0], columns[1][0]) == (0, 0, *size)
    )


def _plain_divisor(divisor: Array, like: Array) -> Array:
    """One number where all are equal: NumPy then divides in one go instead of row by row."""
    divisor = divisor.astype(like.dtype)
    if divisor.size and (divisor == divisor.flat[0]).all():
        return divisor.flat[0]
    return constant(divisor, like)


@functools.lru_cache(256)
def kernel_ranges(size: int, K: int, S: int, P: int, windows: int) -> Ranges:
    """The part inside 0:size of each window of a kernel without dilation."""
    start = np.arange(windows) * S - P
    return np.maximum(start, 0), np.minimum(start + K, size)


@functools.lru_cache(256)
def adaptive_ranges(size: int, windows: int) -> Ranges:
    """Window i of n covers floor(i size / n) to ceil((i + 1) size / n), whatever the size."""
    i = np.arange(windows)
    return i * size // max(windows, 1), -((i + 1) * -size // max(windows, 1))


def covering_ranges(windows: Ranges, size: int) -> Ranges:
    """For each index of 0:size the windows that cover it: consecutive, as windows only move on."""
    i = np.arange(size)
    return np.searchsorted(windows[1], i, "right"), np.searchsorted(windows[0], i, "right")


def _planes(x: Array) -> Array:
    return contiguous(x).reshape(math.prod(x.shape[:-2]), *x.shape[-2:])
