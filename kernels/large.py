"""Arithmetic on arrays of any size: threads and pooled memory for large ones.

The array module's own functions serve all the rest: small arrays (waking a thread costs more than
it saves), other dtypes, shapes that broadcast, memory that is not contiguous. On a GPU nothing is
too small for a kernel.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .backend import LARGE, Array, contiguous, empty
from .half import is_floating


def add(a: Any, b: Any) -> Array:
    """a + b, of arrays that broadcast or numbers."""
    return _both("add", np.add, a, b)


def add_relu(a: Array, b: Array) -> Array:
    """max(a + b, 0), of arrays of one shape."""
    if not _large_alike(a, b):
        return np.maximum(a + b, 0)
    from . import arithmetic

    y = empty(a.shape, a)
    arithmetic.add_relu.for_result(y, a, b)(a.reshape(-1), b.reshape(-1), y.reshape(-1))
    return y


def mul(a: Any, b: Any) -> Array:
    """a b, of arrays that broadcast or numbers."""
    return _both("mul", np.multiply, a, b)


def keep(x: Array, mask: Array, scale: Any) -> Array:
    """x mask scale, of a bool mask that broadcasts to x; scale has the type of x."""
    worth = x.size >= LARGE
    if not isinstance(x, np.ndarray):
        x, worth = contiguous(x), x.size > 0
    if not worth or x.shape != mask.shape or not (_plain(x) and mask.flags.c_contiguous):
        return x * (mask * scale)
    from .dropout import dropout

    y = empty(x.shape, x)
    dropout(x.reshape(-1), mask.reshape(-1), y.reshape(-1), scale)
    return y


def add_into(y: Array, b: Array) -> None:
    """y += b, of one shape."""
    if _large_alike(y, b):
        from .arithmetic import add as add_kernel

        add_kernel(y.reshape(-1), b.reshape(-1), y.reshape(-1))
    else:
        y += b


def concatenate(xs: Sequence[Array], dim: int) -> Array:
    """The arrays (one dtype, and one shape but for axis ``dim``) one after the other along it."""
    x = xs[0]
    shape = list(x.shape)
    shape[dim] = sum(x.shape[dim] for x in xs)
    size = math.prod(shape)
    if isinstance(x, np.ndarray):
        if size < LARGE or not all(_plain(x) for x in xs):
            return np.concatenate(xs, dim)
        y = empty(tuple(shape), x)
        if size < LARGE * len(xs):  # many small arrays
            return np.concatenate(xs, dim, out=y)
    else:  # CuPy's function copies many arrays' addresses to the GPU, which no graph can hold
        y, xs = empty(tuple(shape), x), [contiguous(x) for x in xs]
        if not is_floating(x.dtype):
            _assign_parts(y, xs, dim)
            return y
    from .join import concat
    from .simd import BLOCK

    N = math.prod(shape[:dim])
    start = 0
    for x in xs:
        if x.size:
            rows = x.reshape(N, -1)
            k = concat.for_result(y, x) if rows.shape[1] >= BLOCK else concat
            k(rows, y.reshape(N, -1), start)
            start += rows.shape[1]
    return y


def copy(x: Array) -> Array | None:
    """A C-contiguous copy of a large x on the CPU, if x is rows of memory with equal gaps."""
    kind = x.dtype
    if kind.kind != "f" or kind.itemsize < 4 or not kind.isnative or not x.flags.aligned:
        return None
    found = _rows(x)
    if found is None:
        return None
    N, L, pitch = found
    from .join import take_rows
    from .simd import BLOCK

    y = empty(x.shape, x)
    flat = np.lib.stride_tricks.as_strided(x, ((N - 1) * pitch + L,), (x.itemsize,))
    k = take_rows.for_result(y, x) if L >= BLOCK else take_rows
    k(flat, pitch, y.reshape(N, L))
    return y


def _rows(x: Array) -> tuple[int, int, int] | None:
    """N rows of L elements, ``pitch`` apart, that x is in memory; rows are long or there is one."""
    L, d = 1, x.ndim
    while d and (x.shape[d - 1] == 1 or x.strides[d - 1] == L * x.itemsize):
        L, d = L * x.shape[d - 1], d - 1
    if d == 0:
        return 1, L, L
    N, pitch = x.shape[d - 1], x.strides[d - 1] // x.itemsize
    if any(n != 1 for n in x.shape[: d - 1]) or L < 256 or pitch < L:
        return None
    return N, L, pitch


def stack(xs: Sequence[Array], dim: int) -> Array:
    """The arrays (one dtype and shape) along a new axis ``dim``."""
    x = xs[0]
    if isinstance(x, np.ndarray):
        return np.stack(xs, dim)
    return concatenate([x.reshape(*x.shape[:dim], 1, *x.shape[dim:]) for x in xs], dim)


def _assign_parts(y: Array, xs: Sequence[Array], dim: int) -> None:
    start = 0
    for x in xs:
        stop = start + x.shape[dim]
        y[(*(slice(None),) * dim, slice(start, stop))] = x
        start = stop


def _both(name: str, plain: Callable[..., Any], a: Any, b: Any) -> Array:
    if not _large_alike(a, b):
        return plain(a, b)
    from . import arithmetic

    y = empty(a.shape, a)
    found = getattr(arithmetic, name)
    found.for_result(y, a, b)(a.reshape(-1), b.reshape(-1), y.reshape(-1))
    return y


def _large_alike(a: Any, b: Any) -> bool:
    return (
        isinstance(a, np.ndarray)
        and a.size >= LARGE
        and _plain(a)
        and _plain(b)
        and a.shape == b.shape
        and a.dtype is b.dtype
    )


def _plain(x: Any) -> bool:
    """float32 or float64 in C-contiguous memory, on a GPU also float16 and bfloat16."""
    if not isinstance(x, np.ndarray):
        return hasattr(x, "dtype") and is_floating(x.dtype) and bool(x.flags.c_contiguous)
    return (
        x.dtype.kind == "f"
        and x.dtype.itemsize >= 4
        and x.flags.c_contiguous
        and x.flags.aligned
    )
