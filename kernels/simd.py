"""Whole vectors as values: what a loop over 4, 8 or 16 neighbours is meant to become.

    v = load(a, i)          a[i : i + lanes]; load_inside: some lanes of it, and zeros
    store(a, i, 4 * v - w)  arithmetic is element by element, as with NumPy's arrays
    stream(a, i, v)         store past the caches, for results larger than they are
    transpose(...)          a square of numbers, rows become columns
    product(...)            a block of a matrix product, its sums held in registers

The compiler turns a plain loop into vectors only where it can prove that the arrays do not overlap;
with the dozens of rows that a transform of Winograd's reads and writes, it gives up. So Numba is
taught a type, Vector, that *is* a register (LLVM's ``<16 x float>``), and the kernels say what they
mean. Without the compiler, a vector is a short NumPy array.

A vector is as wide as the CPU's: 16 float32 with AVX-512, 8 with AVX, else 4; half as many float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .backend import Array
from .jit import inline, numba
from .microkernel import VECTOR_BYTES

COMPILED = numba is not None and not numba.config.DISABLE_JIT
# Sums of a product are held in registers: 12 x 2 vectors of AVX-512's 32 registers, 6 x 2 of 16.
TALL = 12 if VECTOR_BYTES == 64 else 6
LOW = TALL * 2 // 3
WIDE = 2  # vectors
BLOCK = 1 << 14  # numbers that a task streams


def _load(a: Array, i: int) -> Array:
    """The vector a[i : i + lanes]."""
    return a[i : i + VECTOR_BYTES // a.itemsize].copy()


def _load_inside(a: Array, i: int, low: int, high: int) -> Array:
    """a[i + j] for lanes j with low <= j < high, 0 for the others, which are not read."""
    v = np.zeros(VECTOR_BYTES // a.itemsize, a.dtype)
    low, high = max(low, 0), min(high, len(v))
    if low < high:
        v[low:high] = a[i + low : i + high]
    return v


def _store(a: Array, i: int, v: Array) -> None:
    """a[i : i + lanes] = v."""
    a[i : i + len(v)] = v


def _stream(a: Array, i: int, v: Array) -> None:
    """a[i : i + lanes] = v, past the caches if a[i] lies at a boundary.

    A store reads the line of memory that it changes a part of; one that changes whole lines need
    not. Nothing has to be waited for: a CPU finishes these stores before any locked instruction,
    and no thread hands over its work without one.
    """
    a[i : i + len(v)] = v


def _past_boundary(a: Array, i: int) -> int:
    """How many numbers before a[i] lies the last boundary, an address that the width of a vector
    divides: 0 if a[i] does."""
    return int((a.ctypes.data // a.itemsize + i) % (VECTOR_BYTES // a.itemsize))


def _at_least(v: Array, least: float) -> Array:
    """The larger of each number of v and ``least``; NaN stays."""
    return np.maximum(v, v.dtype.type(least))


def _where_above_zero(y: Array, v: Array) -> Array:
    """The numbers of v where y > 0 or NaN, else 0."""
    return np.where(y <= 0, v.dtype.type(0), v)


def _choose(x: Array, v: Array, w: Array) -> Array:
    """The numbers of v where x > 0, else (and where x is NaN) those of w."""
    return np.where(x > 0, v, w)


def _transpose(
    source: Array, s: int, s_row: int, rows: int, to: Array, t: int, t_row: int, columns: int
) -> None:
    """to[t + j t_row + i] = source[s + i s_row + j] for a square of one vector's width.

    All of each source row is read, and all of each row of ``to`` is written, but only ``rows`` of
    the former and ``columns`` of the latter exist: beyond, the last one is read again; and what
    would be written is not.
    """
    lanes = VECTOR_BYTES // source.itemsize
    square = [source[s + i * s_row :][:lanes] for i in range(rows)]
    square += [square[-1]] * (lanes - rows)
    for j, row in enumerate(np.array(square).T[:columns]):
        to[t + j * t_row :][:lanes] = row


def _product(rows: int, wide: int) -> Any:
    """A block of ``rows`` rows and ``wide`` vectors."""

    def product(
        a: Array, p: int, a_row: int, a_step: int, b: Array, q: int, b_row: int, depth: int,
        to: Array, t: int, to_row: int, more: bool,
    ) -> None:  # fmt: skip
        """to[t + i to_row + j] (+)= sum over k < depth of a[p + i a_row + k a_step] *
        b[q + k b_row + j], for i < rows, and j < wide vectors; added to what is there if more."""
        n = wide * VECTOR_BYTES // a.itemsize
        for i in range(rows):
            total = to[t + i * to_row :][:n]
            if not more:
                total[...] = 0
            for k in range(depth):
                total += a[p + i * a_row + k * a_step] * b[q + k * b_row :][:n]

    return product


load: Any
load_inside: Any
store: Any
stream: Any
past_boundary: Any
at_least: Any
where_above_zero: Any
choose: Any
transpose: Any
load, load_inside, store = _load, _load_inside, _store
stream, past_boundary = _stream, _past_boundary
at_least, where_above_zero, transpose = _at_least, _where_above_zero, _transpose
choose = _choose
product = _product
if COMPILED:
    from . import simd_llvm

    load, load_inside, store = simd_llvm.load, simd_llvm.load_inside, simd_llvm.store
    stream, past_boundary = simd_llvm.stream, simd_llvm.past_boundary
    at_least, where_above_zero = simd_llvm.at_least, simd_llvm.where_above_zero
    choose = simd_llvm.choose
    transpose, product = simd_llvm.transpose, simd_llvm.product
tall_product, low_product = product(TALL, WIDE), product(LOW, WIDE)


@inline
def turn(
    source: Array, s: int, s_row: int, rows: int, to: Array, t: int, t_row: int, columns: int
) -> None:
    """``transpose``, also where it would read beyond the end of the source."""
    lanes = VECTOR_BYTES // source.itemsize
    if s + (rows - 1) * s_row + lanes <= source.size:
        transpose(source, s, s_row, rows, to, t, t_row, columns)
    else:
        for i in range(lanes):
            for j in range(columns):
                to[t + j * t_row + i] = source[s + min(i, rows - 1) * s_row + j]


@inline
def block(first: int, count: int, b: int) -> Any:
    """Where block b of ``count // BLOCK`` begins and ends, of ``count`` numbers from ``first`` on.
    The last one has what is left, too."""
    start = first + b * BLOCK
    return start, first + count if b + 1 == count // BLOCK else start + BLOCK


@inline
def vectors(a: Array, first: int, end: int) -> int:
    """How many vectors cover a[first:end], which holds at least one, if they begin at boundaries.

    All but the first and the last do. The last ends at ``end``: it may repeat what is before.
    """
    lanes = VECTOR_BYTES // a.itemsize
    return (end - first + past_boundary(a, first) + lanes - 1) // lanes


@inline
def vector(a: Array, first: int, end: int, k: int) -> int:
    """Where the k-th of these begins."""
    lanes = VECTOR_BYTES // a.itemsize
    return min(max(first, first - past_boundary(a, first) + k * lanes), end - lanes)
