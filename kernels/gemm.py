"""Products of matrices, the work horse under convolution and Linear.

C = A B is computed in *panels*: blocks of up to PANEL columns of B, laid out so that one row of a
panel is one run of memory. A panel is small enough to stay in a core's cache while all rows of A
pass over it, and it is the unit that threads share out. ``im2col`` makes the panels of a
convolution (it *is* how B is packed); a plain matrix is read where it lies.

``gemm`` multiplies A with each panel by itself: the panels are parts of C. ``gemm_sum`` adds the
products with all panels up: the panels are parts of the summed axis, as for the gradient of a
weight, which is a sum over all pixels. Both add up ROWS rows of C at a time in
``microkernel``; while all rows pass over a panel, the next one is fetched from main memory, which
saves up to a quarter of the time of a 1x1 convolution on large maps.

Every element of C is summed by one thread, in an order that depends on the shapes alone.
"""

from __future__ import annotations

import math

import numpy as np

from . import backend, gemm_cuda, replay
from .backend import Array, array_module, contiguous, empty
from .half import is_half
from .jit import inline, kernel, prange, uint
from .microkernel import HALF, ROWS, masked, tile4, tile6

PANEL = 256  # columns
DEPTH = 256  # rows of a panel used before moving on: DEPTH * PANEL numbers, a quarter to half of L2
TASK_ROWS = 128  # rows of C that a task computes ...
FEW_ROWS = 32  # ... or this many, where the tasks would be few
VECTOR = 16  # columns are padded to a multiple of this: whole vectors, of whatever width
COLUMNS = 240  # of a panel that is read in place: whole tiles, whatever the width of a vector
IN_PLACE = -1  # instead of the number of the first panel
WHOLE = -2  # the same, without panels that are narrower than the others
ACC = PANEL + VECTOR  # columns of a row that is being added up, whole vectors too
SMALL = 1 << 15  # multiply-adds up to which NumPy's product is faster, and runs on one thread

Panel = tuple[int, int, int]
Steps = tuple[int, int, int]


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


def rounded(n: int, to: int) -> int:
    """The multiple of ``to`` at or above n."""
    return (n + to - 1) // to * to


rounded_up = inline(rounded)


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
def add(to: Array, t: int, source: Array, s: int, n: int) -> None:
    """``to[t : t + n] += source[s : s + n]``."""
    if n > 0:
        t, s = uint(t), uint(s)
        for j in range(uint(n)):
            to[t + j] += source[s + j]


@inline
def _add_rows(
    a: Array, rows: Array, r: int, steps: Array, k0: int, depth: int,
    b: Array, q: int, b_row: int, to: Array, t: int, to_row: int, n: int, ahead: int, times: int,
) -> None:  # fmt: skip
    """``outer_products`` of ROWS rows and n columns; beyond, nothing is read or written.

    Meanwhile, n / times columns are fetched that lie ``ahead`` numbers behind b's first.
    """
    h = HALF // a.itemsize
    j = 0
    while j < n:
        far = ahead + j // times - j
        p, c = q + j, t + j
        if n - j >= 6 * h:
            tile6(a, 0, rows, r, steps, k0, depth, b, p, b_row, to, c, to_row, 0, 1, 0, 0, far)
            j += 6 * h
        elif n - j >= 4 * h:
            tile4(a, 0, rows, r, steps, k0, depth, b, p, b_row, to, c, to_row, 0, 1, 0, 0, far)
            j += 4 * h
        else:
            some = min(2 * h, n - j)
            masked(a, 0, rows, r, steps, k0, depth, b, p, b_row, to, c, to_row, some, 1, 0, 0, far)
            j += 2 * h


def gemm_numpy(
    a: Array, a_step: Steps, b: Array, bias: Array, c: Array, depth: int, first: int, panel: Panel
) -> None:
    """The same in whole-array NumPy."""
    N, M, OH, OW = c.shape
    G = bias.size // M
    a = np.lib.stride_tricks.as_strided(a, (G, M, depth), [s * a.itemsize for s in a_step])
    if first in (IN_PLACE, WHOLE):
        y = a[np.arange(N) % G] @ b + bias.reshape(G, M, 1)[np.arange(N) % G]
        c[...] = y.reshape(c.shape)
        return
    for p in range(len(b)):
        n0, n1, h0, h1, w0, w1 = panel_box(first + p, N, OH, OW, panel)
        size = (n1 - n0) * (h1 - h0) * (w1 - w0)
        y = a[n0 % G] @ b[p, :depth, :size] + bias.reshape(G, M, 1)[n0 % G]
        y = y.reshape(M, n1 - n0, h1 - h0, w1 - w0)
        c[n0:n1, :, h0:h1, w0:w1] = y.swapaxes(0, 1)


@inline
def _start(
    p: int, in_place: bool, N: int, OH: int, OW: int, K: int, LD: int, panel: Panel
) -> int:
    """Where panel p begins in b, (P, K, LD) if packed, or (N, K, OH OW) in place."""
    if in_place:
        n0, _, h0, _, w0, _ = box(p, N, OH, OW, panel)
        return int(n0 * K * LD + h0 * OW + w0)
    return p * K * LD


@kernel(numpy=gemm_numpy, parallel_above=1 << 13)
def gemm(
    a: Array, a_step: Steps, b: Array, bias: Array, c: Array, depth: int, first: int, panel: Panel
) -> None:
    """c[n, m, oh, ow] = bias[g, m] + sum_k a[g, m, k] b[p, k, j], with g = n modulo the groups.

    a: flat memory; a[g, m, k] is at a_step . (g, m, k). b: (P, >= depth, PANEL), panels ``first``
    to ``first + P`` of the output's pixels (``panel_shape``). bias: (G M). c: (N, M, OH, OW).
    ``first`` = IN_PLACE: b is (N, depth, OH OW), not cut into panels but read where it lies;
    WHOLE: so it is, and of c only whole panels are computed.
    """
    N, M, OH, OW = c.shape
    P, K, LD = b.shape
    in_place, whole = first < 0, first == WHOLE
    _, high, wide = panel
    if in_place:
        first, P = 0, N * ((OH + high - 1) // high) * ((OW + wide - 1) // wide)
    G = bias.size // M
    tall = TASK_ROWS if P * M >= 8 * TASK_ROWS else FEW_ROWS
    blocks = (M + tall - 1) // tall
    bf, cf = b.reshape(b.size), c.reshape(c.size)
    zero = c.dtype.type(0)
    for task in prange(P * blocks):
        p = task // blocks
        n0, n1, h0, h1, w0, w1 = box(first + p, N, OH, OW, panel)
        if whole and w1 - w0 < wide:
            continue
        run = (h1 - h0) * (w1 - w0)  # pixels of one image: neighbours in c, too
        columns = (n1 - n0) * run
        g = n0 % G
        top = task % blocks * tall
        rows = np.empty(tall, np.int64)
        for i in range(tall):  # where fewer are left, the last is computed again
            rows[i] = g * a_step[0] + min(top + i, M - 1) * a_step[1]
        steps = np.empty(depth, np.int64)
        for k in range(depth):
            steps[k] = k * a_step[2]
        bottom = min(top + tall, M)
        source = _start(p, in_place, N, OH, OW, K, LD, panel)
        next_panel = min((task + 1) // blocks, P - 1)
        following = _start(next_panel, in_place, N, OH, OW, K, LD, panel)
        acc = np.empty(ROWS * ACC, c.dtype)
        times = (bottom - top + ROWS - 1) // ROWS  # that each part of the panel is passed over
        parts = max(1, (depth + DEPTH - 1) // DEPTH)
        some = (depth + parts - 1) // parts  # rows of b at a time: no part is a sliver
        for k in range(0, depth, some):
            # The part to be read next: the rows below, or the first ones of the next task's panel.
            to_next = some * LD if k + some < depth else following - source - k * LD
            for m in range(top, bottom, ROWS):
                # Sums go to c, or where a row of the panel is not one of c, to acc and from there.
                to, to_row, sums = ((n0 * M + m) * OH + h0) * OW + w0, OH * OW, cf
                straight = n1 - n0 == 1 and m + ROWS <= M
                if not straight:
                    to, to_row, sums = 0, ACC, acc
                # Each block of the sum is added up by itself: a shorter chain rounds less.
                if k == 0 or not straight:
                    for i in range(min(ROWS, M - m)):
                        start = bias[g * M + m + i] if k == 0 else zero
                        fill(sums, to + i * to_row, start, columns)
                ahead = to_next + (m - top) // ROWS * columns // times
                _add_rows(
                    a, rows, m - top, steps, k, min(some, depth - k),
                    bf, source + k * LD, LD, sums, to, to_row, columns, ahead, times,
                )  # fmt: skip
                for i in range(0 if straight else min(ROWS, M - m)):
                    for n in range(n0, n1):
                        to = ((n * M + m + i) * OH + h0) * OW + w0
                        if k == 0:
                            copy(cf, to, acc, i * ACC + (n - n0) * run, run)
                        else:
                            add(cf, to, acc, i * ACC + (n - n0) * run, run)


def gemm_sum_numpy(
    a: Array, b: Array, c: Array, N: int, OH: int, OW: int, first: int, panel: Panel
) -> None:
    """The same in whole-array NumPy."""
    rows = c.shape[1]
    for p in range(len(b)):
        n0, n1, h0, h1, w0, w1 = panel_box(first + p, N, OH, OW, panel)
        size = (n1 - n0) * (h1 - h0) * (w1 - w0)
        c[n0 % len(c)] += a[p, :rows, :size] @ b[p, :size]


@kernel(numpy=gemm_sum_numpy, parallel_above=1 << 13)
def gemm_sum(
    a: Array, b: Array, c: Array, N: int, OH: int, OW: int, first: int, panel: Panel
) -> None:
    """c[g, k, m] += sum over the panels p of group g and their columns j of a[p, k, j] b[p, j, m].

    a: (P, >= rows, LD) and b: (P, >= columns, W), panels ``first`` to ``first + P`` of N images of
    OH x OW pixels; image n belongs to group n modulo G. c: (G, rows, W), W a multiple of VECTOR.
    """
    G, rows, W = c.shape
    P, K, LD = a.shape
    depth = b.shape[1]
    # Tiles of c, small enough that a small c still occupies all threads.
    tall = min(FEW_ROWS, max(ROWS, rounded_up(rows // 16, ROWS)))
    down, across = (rows + tall - 1) // tall, (W + PANEL - 1) // PANEL
    af, bf, cf = a.reshape(a.size), b.reshape(b.size), c.reshape(c.size)
    steps = np.arange(depth)
    for task in prange(G * down * across):
        g = task // (down * across)
        top, left = task // across % down * tall, task % across * PANEL
        wide = min(PANEL, W - left)
        places = np.empty(tall, np.int64)
        acc = np.empty(ROWS * ACC, c.dtype)
        for p in range(P):
            n0, n1, h0, h1, w0, w1 = box(first + p, N, OH, OW, panel)
            if n0 % G == g:
                n = (n1 - n0) * (h1 - h0) * (w1 - w0)
                for i in range(tall):
                    places[i] = (p * K + min(top + i, rows - 1)) * LD
                for k in range(top, min(top + tall, rows), ROWS):
                    fill(acc, 0, 0, ROWS * ACC)
                    _add_rows(
                        af, places, k - top, steps, 0, n,
                        bf, p * depth * W + left, W, acc, 0, ACC, wide, 0, 1,
                    )  # fmt: skip
                    for i in range(min(ROWS, rows - k)):
                        add(cf, (g * rows + k + i) * W + left, acc, i * ACC, wide)


def pack_transposed_numpy(x: Array, out: Array, first: int, panel: Panel) -> None:
    """The same in whole-array NumPy."""
    N, M, OH, OW = x.shape
    for p in range(len(out)):
        n0, n1, h0, h1, w0, w1 = panel_box(first + p, N, OH, OW, panel)
        seen = x[n0:n1, :, h0:h1, w0:w1].transpose(0, 2, 3, 1).reshape(-1, M)
        out[p, : len(seen), :M] = seen
        out[p, : len(seen), M:] = 0


@kernel(numpy=pack_transposed_numpy)
def pack_transposed(x: Array, out: Array, first: int, panel: Panel) -> None:
    """out[p, j, m] = x[n, m, oh, ow] for the pixels j = (n, oh, ow) of panels ``first`` and on.

    x: (N, M, OH, OW). out: (P, columns of a panel, W), W >= M; what is beyond M is set to 0.
    """
    N, M, OH, OW = x.shape
    P, depth, W = out.shape
    blocks = (W + VECTOR - 1) // VECTOR
    xf, of = x.reshape(x.size), out.reshape(out.size)
    for task in prange(P * blocks):
        p, m0 = task // blocks, task % blocks * VECTOR
        n0, n1, h0, h1, w0, w1 = box(first + p, N, OH, OW, panel)
        run = (h1 - h0) * (w1 - w0)
        for n in range(n0, n1):
            to = (p * depth + (n - n0) * run) * W
            source = (n * M * OH + h0) * OW + w0
            # Tiles of VECTOR x VECTOR, so that the lines of memory written to stay in cache.
            for j in range(0, run, VECTOR):
                for m in range(m0, min(m0 + VECTOR, W)):
                    for i in range(uint(j), uint(min(j + VECTOR, run))):
                        if m < M:
                            of[uint(to + m) + i * uint(W)] = xf[uint(source + m * OH * OW) + i]
                        else:
                            of[uint(to + m) + i * uint(W)] = 0


def matmul(a: Array, b: Array) -> Array:
    """a @ b over the last two axes, the axes before them broadcast; both have at least two axes.

    float32 and float64, in any memory order; float16 and bfloat16 are computed in float32, integers
    by NumPy. The bits do not depend on the number of threads (those of a multi-threaded BLAS do).
    On a GPU this is cuBLAS, and of float16 and bfloat16 gemm_wmma.cu where there are tensor cores;
    gemm.cu where that was chosen, and in a captured graph, where CuPy refuses cuBLAS.
    """
    if is_half(a.dtype):
        if not isinstance(a, np.ndarray) and gemm_cuda.can(a, b):
            return gemm_cuda.matmul(a, b)
        return matmul(a.astype(np.float32), b.astype(np.float32)).astype(a.dtype)
    if not isinstance(a, np.ndarray):
        ours = a.dtype.kind == "f" and (replay.recording() or backend.own_matmul())
        return gemm_cuda.matmul(a, b) if ours else array_module(a).matmul(a, b)
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
    elif c.size and not batch and b.strides[0] < b.strides[1] and N > M:
        _matmul_transposed(a, contiguous(b.T), c)
    elif c.size:
        a = _stack(a, batch if a.ndim > 2 else ())
        _matmul(a, contiguous(_stack(b, batch)), _stack(c, batch))
    return c


def _stack(x: Array, batch: tuple[int, ...]) -> Array:
    """Matrices x, broadcast to ``batch``, along one axis."""
    if x.shape[:-2] != batch:
        x = np.broadcast_to(x, (*batch, *x.shape[-2:]))
    return x.reshape(math.prod(batch), *x.shape[-2:])


def _matmul(a: Array, b: Array, c: Array) -> None:
    """c = a @ b for stacks of matrices; a has as many as b, or one for all of them."""
    B, K, N = b.shape
    M = a.shape[1]
    if a.strides[1] < a.strides[2]:
        a, steps = contiguous(a.swapaxes(1, 2)), (M * K, 1, M)
    else:
        a, steps = contiguous(a), (M * K, K, 1)
    bias = np.zeros(len(a) * M, c.dtype)
    gemm(a.reshape(-1), steps, b, bias, c.reshape(B, M, 1, N), K, IN_PLACE, (1, 1, COLUMNS))


def _matmul_transposed(a: Array, b: Array, c: Array) -> None:
    """c = a @ b^T, as Linear has it: by c^T = b @ a^T, so that the weight b is read as it lies."""
    (M, K), N = a.shape, len(b)
    turned = empty((1, N, 1, M), c)
    rows, bias = contiguous(a.T).reshape(1, K, M), np.zeros(N, c.dtype)
    gemm(b.reshape(-1), (0, K, 1), rows, bias, turned, K, IN_PLACE, (1, 1, COLUMNS))
    c[...] = turned.reshape(N, M).T
