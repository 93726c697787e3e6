"""The same numbers in another shape or order: views where NumPy has one, copies elsewhere.

An op here moves numbers, so its gradient moves them back; where an element went to several places
(``expand``, ``repeat``, ``unfold``, ``pad``), its gradient is the sum over them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import kernels
from ..dtypes import is_half
from ..kernels.backend import array_module, constant
from ..tensor import Array, GradFn, memory_of, op
from .basic import sum_along, sum_to


@op(bfloat16="all")
def reshape(x: Array, /, *, shape: tuple[int, ...]) -> Any:
    """y has the elements of x in row-major order: a view if the strides allow it, else a copy."""
    before = x.shape
    return x.reshape(shape), (lambda gy: gy.reshape(before),)


@op(bfloat16="all")
def permute(x: Array, /, *, dims: tuple[int, ...]) -> Any:
    """Axis i of y is axis dims[i] of x (a view)."""
    inverse = [0] * len(dims)
    for i, d in enumerate(dims):
        inverse[d] = i
    return x.transpose(dims), (lambda gy: gy.transpose(inverse),)


@op(bfloat16="all")
def expand(x: Array, /, *, shape: tuple[int, ...]) -> Any:
    """x repeated along new leading axes and along axes of size 1, without copying (a view)."""
    before = x.shape
    lead = len(shape) - x.ndim
    if shape[lead:] == before and all(n == 1 for n in shape[:lead]):
        y = x[(None,) * lead]  # unlike broadcast_to's, this view may be written to
    else:
        y = array_module(x).broadcast_to(x, shape)
    return y, (lambda gy: sum_to(gy, before),)


@op(bfloat16="all")
def clone(x: Array, /, *, contiguous: bool = False) -> Any:
    """A copy: in the memory order of x unless ``contiguous``."""
    return x.copy(order="C" if contiguous else "K"), (lambda gy: gy,)


@op(bfloat16="all")
def replace(x: Array, src: Array, /) -> Any:
    """y = src in the shape and dtype of x, whose own numbers are lost (``copy_``, ``fill_``)."""
    y = array_module(x).empty_like(x, order="C")
    y[...] = src
    before = src.shape
    return y, (array_module(x).zeros_like, lambda gy: sum_to(gy, before))


@op(bfloat16="all")
def cat(*xs: Array, dim: int) -> Any:
    """The arrays one after the other along axis ``dim``."""
    y = kernels.large.concatenate(xs, dim)
    before: tuple[slice, ...] = (slice(None),) * dim

    def part(start: int, stop: int) -> GradFn:
        return lambda gy: gy[(*before, slice(start, stop))]

    grads, start = [], 0
    for x in xs:
        grads.append(part(start, start + x.shape[dim]))
        start += x.shape[dim]
    return y, tuple(grads)


@op
def append(x: Array, new: Array, /, *, room: Array) -> Any:
    """cat((x, new), 1) as a view of ``room``, of which x are the first channels, or become them.

    x and y share memory. room is (N, C, ...) in plain memory and holds the channels of both. Cost:
    ``new`` is copied, and x where it is not in room.
    """
    C = x.shape[1]
    if memory_of(x) is not memory_of(room):
        kernels.large.put(x, room, 0)
    kernels.large.put(new, room, C)
    y = room[:, : C + new.shape[1]]
    return y, (lambda gy: gy[:, :C], lambda gy: gy[:, C:])


@op(bfloat16="all")
def stack(*xs: Array, dim: int) -> Any:
    """Arrays of one shape along a new axis ``dim``."""
    y = kernels.large.stack(xs, dim)
    before: tuple[slice, ...] = (slice(None),) * dim

    def layer(i: int) -> GradFn:
        return lambda gy: gy[(*before, i, ...)]

    return y, tuple(layer(i) for i in range(len(xs)))


@op
def repeat(x: Array, /, *, repeats: tuple[int, ...]) -> Any:
    """x tiled ``repeats[i]`` times along axis i (as many axes as repeats, new ones in front)."""
    before = x.shape
    sizes = (1,) * (len(repeats) - x.ndim) + before
    # (r0, s0, r1, s1, ...): the repeated axes are the even ones.
    pairs = tuple(n for pair in zip(repeats, sizes) for n in pair)
    even = tuple(range(0, len(pairs), 2))
    return array_module(x).tile(x, repeats), (
        lambda gy: sum_along(gy.reshape(pairs), even).reshape(before),
    )


@op
def flip(x: Array, /, *, dims: tuple[int, ...]) -> Any:
    """x backwards along ``dims`` (a copy)."""
    backwards = tuple(slice(None, None, -1) if d in dims else slice(None) for d in range(x.ndim))
    return x[(*backwards, ...)].copy(), (lambda gy: gy[(*backwards, ...)],)


@op
def roll(x: Array, /, *, shifts: tuple[int, ...], dims: tuple[int, ...] | None) -> Any:
    """x moved by ``shifts`` along ``dims``, what falls off coming in again; None: as if 1-d."""
    xp = array_module(x)
    by, back = (shifts, tuple(-s for s in shifts)) if dims else (shifts[0], -shifts[0])
    return xp.roll(x, by, dims), (lambda gy: xp.roll(gy, back, dims),)


@op
def tril(x: Array, /, *, diagonal: int) -> Any:
    """x on and below a diagonal of its last two axes, 0 elsewhere."""
    xp = array_module(x)
    return xp.tril(x, diagonal), (lambda gy: xp.tril(gy, diagonal),)


@op
def triu(x: Array, /, *, diagonal: int) -> Any:
    """x on and above a diagonal of its last two axes, 0 elsewhere."""
    xp = array_module(x)
    return xp.triu(x, diagonal), (lambda gy: xp.triu(gy, diagonal),)


def diagonal_view(x: Array, offset: int) -> Array:
    """The entries (i, i + offset) of the last two axes, as a view."""
    rows, columns = max(0, -offset), max(0, offset)
    corner = x[..., rows:, columns:]
    n = min(corner.shape[-2:])
    as_strided = array_module(x).lib.stride_tricks.as_strided
    strides = (*x.strides[:-2], x.strides[-2] + x.strides[-1])
    y: Array = as_strided(corner, (*corner.shape[:-2], n), strides)
    return y


@op(bfloat16="all")
def diagonal(x: Array, /, *, offset: int) -> Any:
    """y[..., i] = x[..., i, i + offset], a view (i - offset, i where offset is negative)."""
    before = x.shape

    def grad_x(gy: Array) -> Array:
        gx = array_module(gy).zeros(before, gy.dtype)
        diagonal_view(gx, offset)[...] = gy
        return gx

    return diagonal_view(x, offset), (grad_x,)


@op
def diag_embed(x: Array, /, *, offset: int) -> Any:
    """Square matrices of zeros with x on a diagonal: the inverse of :func:`diagonal`."""
    n = x.shape[-1] + abs(offset)
    y = array_module(x).zeros((*x.shape[:-1], n, n), x.dtype)
    diagonal_view(y, offset)[...] = x
    return y, (lambda gy: diagonal_view(gy, offset),)


@op(bfloat16="all")
def unfold(x: Array, /, *, dim: int, size: int, step: int) -> Any:
    """Windows of ``size`` every ``step`` along axis ``dim``, their content last (a view)."""
    before = x.shape
    n = (before[dim] - size) // step + 1
    as_strided = array_module(x).lib.stride_tricks.as_strided
    shape = (*before[:dim], n, *before[dim + 1 :], size)
    stride = x.strides[dim]
    y = as_strided(x, shape, (*x.strides[:dim], stride * step, *x.strides[dim + 1 :], stride))

    def grad_x(gy: Array) -> Array:
        gx = array_module(gy).zeros(before, np.float32 if is_half(gy.dtype) else gy.dtype)
        at = np.moveaxis(gx, dim, -1)
        windows = np.moveaxis(gy, dim, -2)
        for k in range(size):  # position k of all windows: no two of them are the same element
            at[..., k : k + (n - 1) * step + 1 : step] += windows[..., k]
        return gx

    return y, (grad_x,)


def _sources(n: int, before: int, after: int, mode: str) -> Array:
    """For each place along a padded axis of size n, the index that its number comes from."""
    i = np.arange(-before, n + after)
    if mode == "replicate":
        return i.clip(0, n - 1)
    if mode == "circular":  # of what a negative border leaves
        cut = max(0, -before)
        kept = n - cut - max(0, -after)
        if kept <= 0 < before + n + after:
            raise RuntimeError(f"pad: nothing is left to wrap around of {n} with {before}, {after}")
        return cut + (i - cut) % kept
    i = np.abs(i)  # reflect: the border itself is not repeated
    return np.where(i < n, i, 2 * (n - 1) - i)


@op
def pad(x: Array, /, *, pad: tuple[int, ...], mode: str = "constant", value: float = 0.0) -> Any:
    """x with borders: ``pad`` is (before, after) of the last axis, then of the one before it, ...

    Modes: constant ``value``; reflect (the border not repeated), replicate (the border repeated),
    circular. Negative numbers cut off instead.
    """
    axes = [x.ndim - 1 - i for i in range(len(pad) // 2)]
    amounts = list(zip(axes, pad[::2], pad[1::2], strict=True))
    if mode == "constant":
        return _pad_constant(x, amounts, value)
    y, steps = x, []
    for axis, before, after in amounts:
        if before or after:
            source = _sources(x.shape[axis], before, after, mode)
            steps.append((axis, x.shape[axis], before, source))
            y = y.take(constant(source, y), axis)

    def grad_x(gy: Array) -> Array:
        for axis, n, before, source in reversed(steps):
            gy = _unpad(gy, axis, n, before, source)
        return gy

    return y.copy() if y is x else y, (grad_x,)


def _pad_constant(x: Array, amounts: list[tuple[int, int, int]], value: float) -> Any:
    shape, inner, outer = list(x.shape), [slice(None)] * x.ndim, [slice(None)] * x.ndim
    for axis, before, after in amounts:
        n = x.shape[axis]
        shape[axis] = n + before + after
        inner[axis] = slice(max(0, -before), n - max(0, -after))  # what is kept of x
        outer[axis] = slice(max(0, before), shape[axis] - max(0, after))  # where it goes
    kept, place, old = tuple(inner), tuple(outer), x.shape
    y = array_module(x).full(tuple(shape), value, x.dtype)
    y[place] = x[kept]

    def grad_x(gy: Array) -> Array:
        if all(before >= 0 and after >= 0 for _, before, after in amounts):
            return gy[place]
        gx = array_module(gy).zeros(old, gy.dtype)
        gx[kept] = gy[place]
        return gx

    return y, (grad_x,)


def _unpad(gy: Array, axis: int, n: int, before: int, source: Array) -> Array:
    """Add each place of a padded axis to the place that it was copied from."""
    gx = array_module(gy).zeros((*gy.shape[:axis], n, *gy.shape[axis + 1 :]), gy.dtype)
    to, given = np.moveaxis(gx, axis, 0), np.moveaxis(gy, axis, 0)
    first, last = max(0, before), min(len(source), before + n)  # not copies: x itself
    if first < last:
        to[source[first] : source[first] + last - first] = given[first:last]
    for k in (*range(first), *range(last, len(source))):
        to[source[k]] += given[k]
    return gx


@op(bfloat16="all")
def transfer(x: Array, /, *, there: GradFn, back: GradFn) -> Any:
    """x on another device, its gradient brought back: ``there`` and ``back`` copy arrays."""
    return there(x), (back,)
