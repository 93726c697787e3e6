"""Products of matrices, the work horse under convolution and Linear.

C = A B is computed in *panels*: blocks of up to PANEL columns of B, laid out so that one row of a
panel is one run of memory. A panel is small enough to stay in a core's cache while all rows of A
pass over it, and it is the unit that threads share out. ``im2col`` makes the panels of a
convolution (it *is* how B is packed); a plain matrix is packed by the same function as a 1x1
convolution.

``gemm`` adds multiples of the rows of a panel to rows of C. ``gemm_nt`` is for C = A B^T, where
both operands run along the summed axis: it takes dot products. Both work on blocks of 4 x 4, so
that every number loaded is used four times; LLVM makes their innermost loops vector instructions.
A hand-made micro-kernel would take the place of ``_add_4_rows``.

Every element of C is summed by one thread, in an order that depends on the shapes alone.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import backend
from .backend import Array, contiguous, empty
from .jit import inline, kernel, prange

PANEL = 256  # columns; a constant distance between rows lets LLVM prove that they do not overlap
DEPTH = 256  # rows of a panel used before moving on: DEPTH * PANEL numbers, a quarter to half of L2
ROWS = 32  # rows of C that a task computes
VECTOR = 16  # columns are padded to a multiple of this, so that no loop has a scalar rest
SMALL = 1 << 15  # multiply-adds up to which NumPy's product is faster, and runs on one thread

Panel = tuple[int, int, int]
Steps = tuple[int, int, int]
# Unsigned numbers cannot be negative, and so spare the check for an index from the end that would
# keep a loop from being vectorised.
uint: Any = np.uintp


def panel_shape(N: int, OH: int, OW: int, columns: int, merge: bool) -> Panel:
    """(images, rows, cols): how N images of OH x OW pixels are cut into panels.

    Several whole images where they are small (and ``merge``), else some rows of one image, else a
    part of one row; balanced, so that no panel is a sliver.
    """
    if columns >= OH * OW:
        images = columns // (OH * OW) if merge else 1
        return math.ceil(N / math.ceil(N / images)), OH, OW
    if columns >= OW:
        return 1, math.ceil(OH / math.ceil(OH / (columns // OW))), OW
    return 1, 1, math.ceil(OW / math.ceil(OW / columns))


def panel_count(N: int, OH: int, OW: int, panel: Panel) -> int:
    """How many panels there are."""
    images, rows, cols = panel
    return math.ceil(N / images) * math.ceil(OH / rows) * math.ceil(OW / cols)


def panel_box(p: int, N: int, OH: int, OW: int, panel: Panel) -> tuple[int, ...]:
    """Panel p covers images n0:n1, rows h0:h1, columns w0:w1 of the output."""
    images, rows, cols = panel
    across = (OW + cols - 1) // cols
    down = (OH + rows - 1) // rows
    n0 = p // (across * down) * images
    h0 = p // across % down * rows
    w0 = p % across * cols
    return n0, min(n0 + images, N), h0, min(h0 + rows, OH), w0, min(w0 + cols, OW)


box = inline(panel_box)


@inline
def copy(to: Array, t: int, source: Array, s: int, n: int) -> None:
    """``to[t : t + n] = source[s : s + n]``."""
    if n > 0:
        t, s = uint(t), uint(s)
        for j in range(uint(n)):
            to[t + j] = source[s + j]


@inline
def fill(to: Array, t: int, value: float, n: int) -> None:
    """``to[t : t + n] = value``."""
    if n > 0:
        t = uint(t)
        for j in range(uint(n)):
            to[t + j] = value


@inline
def _add_4_rows(
    a: Array, start: int, row: int, step: int, rows: int, b: Array, depth: int, acc: Array, n: int
) -> None:
    """acc[i, :n] += sum_k a[i, k] b[k, :n] for i = 0..3; a[i, k] is at start + i row + k step.

    Where fewer than four rows are left, the last is computed again (and not stored).
    """
    p0, p1 = start, start + min(1, rows - 1) * row
    p2, p3 = start + min(2, rows - 1) * row, start + min(3, rows - 1) * row
    whole = depth - depth % 4
    for k in range(0, whole, 4):
        a00, a01, a02, a03 = a[p0], a[p0 + step], a[p0 + 2 * step], a[p0 + 3 * step]
        a10, a11, a12, a13 = a[p1], a[p1 + step], a[p1 + 2 * step], a[p1 + 3 * step]
        a20, a21, a22, a23 = a[p2], a[p2 + step], a[p2 + 2 * step], a[p2 + 3 * step]
        a30, a31, a32, a33 = a[p3], a[p3 + step], a[p3 + 2 * step], a[p3 + 3 * step]
        r = b[k * PANEL : (k + 4) * PANEL]
        for j in range(n):
            b0, b1, b2, b3 = r[j], r[PANEL + j], r[2 * PANEL + j], r[3 * PANEL + j]
            acc[j] += a00 * b0 + a01 * b1 + a02 * b2 + a03 * b3
            acc[PANEL + j] += a10 * b0 + a11 * b1 + a12 * b2 + a13 * b3
            acc[2 * PANEL + j] += a20 * b0 + a21 * b1 + a22 * b2 + a23 * b3
            acc[3 * PANEL + j] += a30 * b0 + a31 * b1 + a32 * b2 + a33 * b3
        p0, p1, p2, p3 = p0 + 4 * step, p1 + 4 * step, p2 + 4 * step, p3 + 4 * step
    for k in range(whole, depth):
        a0, a1, a2, a3 = a[p0], a[p1], a[p2], a[p3]
        r = b[k * PANEL : (k + 1) * PANEL]
        for j in range(n):
            acc[j] += a0 * r[j]
            acc[PANEL + j] += a1 * r[j]
            acc[2 * PANEL + j] += a2 * r[j]
            acc[3 * PANEL + j] += a3 * r[j]
        p0, p1, p2, p3 = p0 + step, p1 + step, p2 + step, p3 + step


def gemm_numpy(
    a: Array, a_step: Steps, b: Array, bias: Array, c: Array, depth: int, first: int, panel: Panel
) -> None:
    """The same in whole-array NumPy."""
    N, M, OH, OW = c.shape
    G = bias.size // M
    a = np.lib.stride_tricks.as_strided(a, (G, M, depth), [s * a.itemsize for s in a_step])
    for p in range(len(b)):
        n0, n1, h0, h1, w0, w1 = panel_box(first + p, N, OH, OW, panel)
        size = (n1 - n0) * (h1 - h0) * (w1 - w0)
        y = a[n0 % G] @ b[p, :depth, :size] + bias.reshape(G, M, 1)[n0 % G]
        y = y.reshape(M, n1 - n0, h1 - h0, w1 - w0)
        c[n0:n1, :, h0:h1, w0:w1] = y.swapaxes(0, 1)


@kernel(numpy=gemm_numpy, parallel_above=1 << 13)
def gemm(
    a: Array, a_step: Steps, b: Array, bias: Array, c: Array, depth: int, first: int, panel: Panel
) -> None:
    """c[n, m, oh, ow] = bias[g, m] + sum_k a[g, m, k] b[p, k, j], with g = n modulo the groups.

    a: flat memory; a[g, m, k] is at a_step . (g, m, k). b: (P, >= depth, PANEL), panels ``first``
    to ``first + P`` of the output's pixels (``panel_shape``). bias: (G M). c: (N, M, OH, OW).
    """
    N, M, OH, OW = c.shape
    P, K, LD = b.shape
    G = bias.size // M
    blocks = (M + ROWS - 1) // ROWS
    bf, cf = b.reshape(b.size), c.reshape(c.size)
    for task in prange(P * blocks):
        p = task // blocks
        n0, n1, h0, h1, w0, w1 = box(first + p, N, OH, OW, panel)
        run = (h1 - h0) * (w1 - w0)  # pixels of one image: neighbours in c, too
        columns = ((n1 - n0) * run + VECTOR - 1) // VECTOR * VECTOR
        g = n0 % G
        top = task % blocks * ROWS
        acc = np.empty(4 * PANEL, c.dtype)
        for k in range(0, depth, DEPTH):
            part = bf[(p * K + k) * LD : (p * K + min(k + DEPTH, depth)) * LD]
            for m in range(top, min(top + ROWS, M), 4):
                for i in range(min(4, M - m)):
                    if k == 0:
                        fill(acc, i * PANEL, bias[g * M + m + i], columns)
                    else:
                        for n in range(n0, n1):
                            to = i * PANEL + (n - n0) * run
                            copy(acc, to, cf, ((n * M + m + i) * OH + h0) * OW + w0, run)
                start = g * a_step[0] + m * a_step[1] + k * a_step[2]
                rest = min(DEPTH, depth - k)
                _add_4_rows(a, start, a_step[1], a_step[2], M - m, part, rest, acc, columns)
                for i in range(min(4, M - m)):
                    for n in range(n0, n1):
                        source = i * PANEL + (n - n0) * run
                        copy(cf, ((n * M + m + i) * OH + h0) * OW + w0, acc, source, run)


@inline
def _dot_4_by_4(
    a: Array, p: int, rows: int, b: Array, q: int, cols: int, step: int, n: int, sums: Array
) -> None:
    """sums[4 i + j] = sum over n of a[p + i step + ...] b[q + j step + ...] for i, j = 0..3.

    Rows beyond ``rows`` and ``cols`` repeat the last one (their sums are not used).
    """
    p0, p1 = uint(p), uint(p + min(1, rows - 1) * step)
    p2, p3 = uint(p + min(2, rows - 1) * step), uint(p + min(3, rows - 1) * step)
    q0, q1 = uint(q), uint(q + min(1, cols - 1) * step)
    q2, q3 = uint(q + min(2, cols - 1) * step), uint(q + min(3, cols - 1) * step)
    zero = a.dtype.type(0)
    s00 = s01 = s02 = s03 = zero
    s10 = s11 = s12 = s13 = zero
    s20 = s21 = s22 = s23 = zero
    s30 = s31 = s32 = s33 = zero
    for j in range(uint(n)):
        a0, a1, a2, a3 = a[p0 + j], a[p1 + j], a[p2 + j], a[p3 + j]
        b0, b1, b2, b3 = b[q0 + j], b[q1 + j], b[q2 + j], b[q3 + j]
        s00 += a0 * b0
        s01 += a0 * b1
        s02 += a0 * b2
        s03 += a0 * b3
        s10 += a1 * b0
        s11 += a1 * b1
        s12 += a1 * b2
        s13 += a1 * b3
        s20 += a2 * b0
        s21 += a2 * b1
        s22 += a2 * b2
        s23 += a2 * b3
        s30 += a3 * b0
        s31 += a3 * b1
        s32 += a3 * b2
        s33 += a3 * b3
    sums[0], sums[1], sums[2], sums[3] = s00, s01, s02, s03
    sums[4], sums[5], sums[6], sums[7] = s10, s11, s12, s13
    sums[8], sums[9], sums[10], sums[11] = s20, s21, s22, s23
    sums[12], sums[13], sums[14], sums[15] = s30, s31, s32, s33


def gemm_nt_numpy(
    a: Array, b: Array, c: Array, N: int, OH: int, OW: int, first: int, panel: Panel
) -> None:
    """The same in whole-array NumPy."""
    G, M, K = c.shape
    for p in range(len(b)):
        n0, n1, h0, h1, w0, w1 = panel_box(first + p, N, OH, OW, panel)
        size = (n1 - n0) * (h1 - h0) * (w1 - w0)
        c[n0 % G] += a[p, :M, :size] @ b[p, :K, :size].T


@kernel(numpy=gemm_nt_numpy, parallel_above=1 << 13)
def gemm_nt(
    a: Array, b: Array, c: Array, N: int, OH: int, OW: int, first: int, panel: Panel
) -> None:
    """c[g, m, k] += sum over the panels p of group g and their columns j of a[p, m, j] b[p, k, j].

    a: (P, >= M, LD) and b: (P, >= K, LD), panels ``first`` to ``first + P`` of N images of OH x OW
    pixels; image n belongs to group n modulo G. c: (G, M, K).
    """
    G, M, K = c.shape
    P, MA, LD = a.shape
    KB = b.shape[1]
    # Tiles of c, small enough that a small c still occupies all threads.
    tall = 32 if M * K > 1 << 14 else 16
    wide = 16 if M * K > 1 << 14 else 8
    down, across = (M + tall - 1) // tall, (K + wide - 1) // wide
    af, bf, cf = a.reshape(a.size), b.reshape(b.size), c.reshape(c.size)
    for task in prange(G * down * across):
        g = task // (down * across)
        top, left = task // across % down * tall, task % across * wide
        sums = np.empty(16, c.dtype)
        for p in range(P):
            n0, n1, h0, h1, w0, w1 = box(first + p, N, OH, OW, panel)
            size = (n1 - n0) * (h1 - h0) * (w1 - w0)
            if n0 % G == g:
                n = min(LD, (size + VECTOR - 1) // VECTOR * VECTOR)
                for k in range(left, min(left + wide, K), 4):
                    for m in range(top, min(top + tall, M), 4):
                        rows, cols = min(4, M - m), min(4, K - k)
                        at, bt = (p * MA + m) * LD, (p * KB + k) * LD
                        _dot_4_by_4(af, at, rows, bf, bt, cols, LD, n, sums)
                        for i in range(rows):
                            for j in range(cols):
                                cf[(g * M + m + i) * K + k + j] += sums[4 * i + j]


def matmul(a: Array, b: Array) -> Array:
    """a @ b over the last two axes, the axes before them broadcast; both have at least two axes.

    float32 and float64, in any memory order; float16 is computed in float32, integers by NumPy. The
    bits do not depend on the number of threads (those of a multi-threaded BLAS do).
    """
    if a.dtype == np.float16:
        return matmul(a.astype(np.float32), b.astype(np.float32)).astype(np.float16)
    M, K, N = a.shape[-2], a.shape[-1], b.shape[-1]
    if backend.cpu_backend == "numpy" or a.dtype.kind != "f" or M * K * N <= SMALL:
        return np.matmul(a, b)
    if b.ndim == 2 and a.ndim > 2:
        rows = math.prod(a.shape[:-1])
        return matmul(a.reshape(rows, K), b).reshape(*a.shape[:-1], N)
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    c = empty((*batch, M, N), a, op="matmul")
    if K == 0:
        c[...] = 0
    elif c.size:
        images = math.prod(batch)
        if a.ndim > 2:
            a = np.broadcast_to(a, (*batch, M, K)).reshape(images, M, K)
        b = np.broadcast_to(b, (*batch, K, N)).reshape(images, K, N)
        _matmul(a if a.ndim == 3 else a[None], b, c.reshape(images, M, N))
    return c


def _matmul(a: Array, b: Array, c: Array) -> None:
    """c = a @ b for stacks of matrices; a has as many as b, or one for all of them."""
    B, K, N = b.shape
    M = a.shape[1]
    if b.strides[1] < b.strides[2]:  # B is the transpose of what is in memory: so is Linear's
        c[...] = 0
        rows, b = contiguous(a), contiguous(b.swapaxes(1, 2))
        rows = rows if len(rows) == B else contiguous(np.broadcast_to(rows, (B, M, K)))
        gemm_nt(rows, b, c, B, 1, K, 0, (1, 1, K))
        return
    from .im2col import im2col

    if a.strides[1] < a.strides[2]:
        a = contiguous(a.swapaxes(1, 2))
        steps = (M * K, 1, M)
    else:
        a = contiguous(a)
        steps = (M * K, K, 1)
    images, out = contiguous(b).reshape(B, K, 1, N), c.reshape(B, M, 1, N)
    bias = np.zeros(len(a) * M, c.dtype)
    panel = panel_shape(B, 1, N, PANEL, len(a) == 1)
    P = panel_count(B, 1, N, panel)
    chunk = max(1, min(P, (1 << 22) // (K * PANEL)))
    col = empty((chunk, K, PANEL), c)
    for first in range(0, P, chunk):
        part = col[: P - first]
        im2col(images, part, first, panel, (1, 1), (1, N), (1, 1), (0, 0), (1, 1))
        gemm(a.reshape(-1), steps, part, bias, out, K, first, panel)
