"""Reading and writing at indices. The gradient of reading is adding at the same indices.

Sums over repeated indices are made in the order of the elements: the same bits every time.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..dtypes import is_floating
from ..kernels.backend import array_module, on_host
from ..tensor import Array, op
from .basic import sum_to


def add_at(shape: tuple[int, ...], positions: Array, values: Array) -> Array:
    """Zeros of ``shape``, with each value added at its position in row-major order.

    On the CPU also for a GPU's arrays: there, CuPy adds in whatever order threads arrive.
    """
    if not isinstance(values, np.ndarray):
        return on_host(lambda v, p: add_at(shape, p, v), values, positions)
    size = math.prod(shape)
    flat = positions.reshape(-1)
    sums: Array
    if is_floating(values.dtype):
        sums = np.bincount(flat, values.reshape(-1), size)  # adds up in float64
    else:
        sums = np.zeros(size, values.dtype)
        np.add.at(sums, flat, values.reshape(-1))
    return sums.astype(values.dtype).reshape(shape)


def positions_along(shape: tuple[int, ...], dim: int, index: Array) -> Array:
    """Where gather and scatter find element (i, index[i, j, k], k) of an array of ``shape``."""
    xp = array_module(index)
    stride = math.prod(shape[dim + 1 :])
    positions = index.astype(np.int64) * stride
    for axis, n in enumerate(index.shape):
        if axis != dim:
            steps = xp.arange(n) * math.prod(shape[axis + 1 :])
            positions += steps.reshape((n,) + (1,) * (index.ndim - 1 - axis))
    return positions


def _has_duplicates(shape: tuple[int, ...], arrays: tuple[Any, ...]) -> bool:
    dims = [d for d, a in enumerate(arrays) if not isinstance(a, slice)]
    if any(arrays[d].dtype.kind == "b" for d in dims):
        return False  # a mask, which the caller passes only alone
    xp = array_module(arrays[dims[0]])
    flat = sum((arrays[d] % shape[d]) * math.prod(shape[e] for e in dims if e > d) for d in dims)
    flat = xp.sort(xp.asarray(flat).reshape(-1))
    return bool((flat[1:] == flat[:-1]).any())


def _kept(arrays: tuple[Any, ...]) -> tuple[Any, ...]:
    """Copies: autograd does not notice if the caller writes to an index array before backward."""
    return tuple(a if isinstance(a, slice) else a.copy() for a in arrays)


@op(bfloat16="all")
def getitem(x: Array, /, *, basic: tuple[Any, ...], arrays: tuple[Any, ...] = ()) -> Any:
    """y = x[basic], a view; with ``arrays`` (slices, index arrays, or one mask) y[arrays].

    Integers in ``basic`` go first: NumPy would take them for index arrays of one element.
    """
    before = x.shape
    y = x[basic]
    inner = y.shape
    arrays = _kept(arrays)
    if arrays:
        y = y[arrays]

    def grad_x(gy: Array) -> Array:
        gx = array_module(gy).zeros(before, gy.dtype)
        if not arrays:
            gx[basic] = gy
        elif not _has_duplicates(inner, arrays):
            gx[basic][arrays] = gy
        else:
            # The cells of a picture of the indexed array, to see where each element came from.
            cells = array_module(gy).arange(math.prod(inner)).reshape(inner)[arrays]
            gx[basic] = add_at(inner, cells, gy)
        return gx

    return y, (grad_x,)


@op(bfloat16="all")
def setitem(
    x: Array, value: Array, /, *, basic: tuple[Any, ...], arrays: tuple[Any, ...] = ()
) -> Any:
    """x with ``value`` (broadcast, cast) written where :func:`getitem` would read."""
    y = x.copy()
    arrays = _kept(arrays)
    write(y, value, basic, arrays)
    value_shape = getattr(value, "shape", ())

    def grad_x(gy: Array) -> Array:
        gx = gy.copy()
        write(gx, 0, basic, arrays)
        return gx

    def grad_value(gy: Array) -> Array:
        g = gy[basic]
        return sum_to(g[arrays] if arrays else g, value_shape)

    return y, (grad_x, grad_value)


def write(x: Array, value: Any, basic: tuple[Any, ...], arrays: tuple[Any, ...]) -> None:
    """x[basic][arrays] = value, in place."""
    if arrays:
        x[basic][arrays] = value
    else:
        x[basic] = value


@op
def gather(x: Array, /, *, dim: int, index: Array) -> Any:
    """y[i, j, k] = x[i, index[i, j, k], k] for dim = 1; index may be smaller than x elsewhere."""
    before = x.shape
    positions = positions_along(before, dim, index)
    return x.reshape(-1)[positions], (lambda gy: add_at(before, positions, gy),)


@op
def scatter(x: Array, src: Array, /, *, dim: int, index: Array) -> Any:
    """x with src[i, j, k] written to [i, index[i, j, k], k] for dim = 1; the last one stays.

    The gradient of a number that another one overwrote is wrong in PyTorch too: indices along
    ``dim`` should differ.
    """
    y = x.copy(order="C")
    positions = positions_along(x.shape, dim, index)
    corner = tuple(slice(n) for n in index.shape)
    src_shape = getattr(src, "shape", ())
    y.reshape(-1)[positions] = src[corner] if src_shape else src

    def grad_x(gy: Array) -> Array:
        gx = gy.copy(order="C")
        gx.reshape(-1)[positions] = 0
        return gx

    def grad_src(gy: Array) -> Array:
        return _in_corner(src_shape, corner, gy.reshape(-1)[positions])

    return y, (grad_x, grad_src)


@op
def scatter_add(x: Array, src: Array, /, *, dim: int, index: Array) -> Any:
    """x with src[i, j, k] added to [i, index[i, j, k], k] for dim = 1; indices may repeat."""
    positions = positions_along(x.shape, dim, index)
    corner = tuple(slice(n) for n in index.shape)
    src_shape = src.shape
    y = x + add_at(x.shape, positions, src[corner])
    return y, (
        lambda gy: gy,
        lambda gy: _in_corner(src_shape, corner, gy.reshape(-1)[positions]),
    )


def _in_corner(shape: tuple[int, ...], corner: tuple[slice, ...], g: Array) -> Array:
    """The gradient of a source of which only the first entries along each axis were used."""
    if not shape:
        return g.sum(dtype=g.dtype)
    if g.shape == shape:
        return g
    gx = array_module(g).zeros(shape, g.dtype)
    gx[corner] = g
    return gx


@op
def masked_fill(x: Array, value: Any, /, *, mask: Array) -> Any:
    """value where mask, x elsewhere, broadcast together; ``value`` has one element."""
    xp = array_module(x)
    (mask,) = _kept((mask,))
    shape = np.broadcast_shapes(x.shape, mask.shape)
    y = xp.empty(shape, x.dtype)
    y[...] = x
    y[xp.broadcast_to(mask, shape)] = value
    before = x.shape
    return y, (
        lambda gy: sum_to(xp.where(mask, gy.dtype.type(0), gy), before),
        lambda gy: xp.where(mask, gy, gy.dtype.type(0)).sum(dtype=gy.dtype),
    )


@op
def masked_scatter(x: Array, source: Array, /, *, mask: Array) -> Any:
    """x with the elements of ``source``, in order, at the places where mask (of x's shape) is."""
    y = x.copy(order="C")
    (mask,) = _kept((mask,))
    n = int(mask.sum())
    y[mask] = source.reshape(-1)[:n]
    before = source.shape

    def grad_source(gy: Array) -> Array:
        g = array_module(gy).zeros(math.prod(before), gy.dtype)
        g[:n] = gy[mask]
        return g.reshape(before)

    return y, (
        lambda gy: array_module(gy).where(mask, gy.dtype.type(0), gy),
        grad_source,
    )
