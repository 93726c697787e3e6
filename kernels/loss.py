"""Losses on the CPU, each in one pass: of classes (the GPU's are ``loss.cu``), and of squares.

x is (N C S): scores of C classes at S positions of N samples; target (N S) has the class of each
position, or ``ignore_index`` where it counts for nothing; weight is (C), or None for ones. The
formulas are those of ``reference/loss.py``. What each position contributes is written down, and
then added up in float64 in one order, so that sums do not depend on the number of threads.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .backend import Array, contiguous, empty
from .jit import inline, kernel, prange, uint
from .loss_cuda import wrong_label
from .scalar import exp_negative as _exp
from .softmax import PARALLEL_ABOVE as FEW_EXPS
from .softmax import log_softmax, log_softmax_grad, log_softmax_row

RUN = 1024  # squares that are added in their own type; losses that a thread takes at once


@inline
def _losses(
    x: Array, target: Array, weight: Any, each: Array, start: int, stop: int, C: int, S: int,
    ignore_index: int, smoothing: float,
) -> None:  # fmt: skip
    """(loss, weight) of positions start to stop; both are NaN where the target is no class.

    A call for each of them would count twice who holds the arrays, longer than a loss takes.
    """
    for p in range(start, stop):
        t = target[p]
        loss: Any = 0.0
        w: Any = 0.0
        if t != ignore_index and (t < 0 or t >= C):
            loss, w = np.nan, np.nan
        elif t != ignore_index:
            first = p * C if S == 1 else p // S * C * S + p % S  # a division takes longest
            w = np.float64(1.0 if weight is None else weight[t])
            loss = -w * x[first + t * S]
            if smoothing != 0:
                every = 0.0
                for c in range(C):
                    every += x[first + c * S] if weight is None else weight[c] * x[first + c * S]
                loss = (1 - smoothing) * loss - smoothing / C * x.dtype.type(every)
        each[0, p], each[1, p] = loss, w


@inline
def _add_up(each: Array, y: Array, divisor: Array, mean: bool) -> None:
    total, used = np.float64(0), np.float64(0)
    for p in range(each.shape[1]):
        total += each[0, p]
        used += each[1, p]
    divisor[0] = used
    y[()] = total / used if mean else total


def _nll_losses_numpy(
    x: Array, target: Array, weight: Array | None, each: Array, y: Array, divisor: Array,
    C: int, S: int, mean: bool, ignore_index: int, smoothing: float,
) -> None:  # fmt: skip
    w = np.ones(C, x.dtype) if weight is None else weight
    kept, safe, wrong = _places(target, C, ignore_index)
    scores = np.moveaxis(x.reshape(target.size // max(S, 1), C, S), 1, 2).reshape(target.size, C)
    loss = -(1 - smoothing) * w[safe] * scores[np.arange(target.size), safe]
    if smoothing:
        loss -= smoothing / max(C, 1) * (w * scores).sum(1)
    each[0] = np.where(wrong, np.nan, np.where(kept, loss, 0))
    each[1] = np.where(wrong, np.nan, np.where(kept, w[safe], 0))
    total, divisor[0] = each.sum(1, dtype=np.float64)
    y[()] = total / divisor[0] if mean else total


def _places(target: Array, C: int, ignore_index: int) -> tuple[Array, Array, Array]:
    """Which positions count, their classes (0 for others), and which have none."""
    kept = target != ignore_index
    wrong = kept & ((target < 0) | (target >= C))
    return kept & ~wrong, np.where(kept & ~wrong, target, 0), wrong


@kernel(numpy=_nll_losses_numpy, parallel_above=1 << 22)
def nll_losses(
    x: Array, target: Array, weight: Array | None, each: Array, y: Array, divisor: Array,
    C: int, S: int, mean: bool, ignore_index: int, smoothing: float,
) -> None:  # fmt: skip
    """each (2, N S) = the losses of log-probabilities x, and their weights; divisor (1) = the sum
    of the weights, and y () = the sum of the losses, divided by that if ``mean``."""
    P = target.size
    for run in prange((P + RUN - 1) // RUN):
        start, stop = run * RUN, min((run + 1) * RUN, P)
        _losses(x, target, weight, each, start, stop, C, S, ignore_index, smoothing)
    _add_up(each, y, divisor, mean)


def _cross_entropies_numpy(
    x: Array, target: Array, weight: Array | None, scores: Array, each: Array, y: Array,
    divisor: Array, C: int, S: int, mean: bool, ignore_index: int, smoothing: float,
) -> None:  # fmt: skip
    scores[:] = log_softmax(x.reshape(target.size, C), 1).reshape(-1)
    how = (target, weight, each, y, divisor, C, S, mean, ignore_index, smoothing)
    _nll_losses_numpy(scores, *how)


@kernel(numpy=_cross_entropies_numpy, parallel_above=FEW_EXPS)
def cross_entropies(
    x: Array, target: Array, weight: Array | None, scores: Array, each: Array, y: Array,
    divisor: Array, C: int, S: int, mean: bool, ignore_index: int, smoothing: float,
) -> None:  # fmt: skip
    """:func:`nll_losses` of scores = log_softmax(x), both (N C); S is 1."""
    for n in prange(target.size):
        log_softmax_row(x, scores, n * C, C)
        _losses(scores, target, weight, each, n, n + 1, C, S, ignore_index, smoothing)
    _add_up(each, y, divisor, mean)


def _nll_losses_grad_numpy(
    gy: Array, total: Array, target: Array, weight: Array | None, gx: Array, C: int, S: int,
    ignore_index: int, smoothing: float,
) -> None:  # fmt: skip
    N = target.size // max(S, 1)
    w = np.ones(C, gx.dtype) if weight is None else weight
    kept, safe, _ = _places(target, C, ignore_index)
    share = np.where(kept, gy / total.astype(gx.dtype), 0).astype(gx.dtype)
    by_class = gx.reshape(N, C, S)
    by_class[...] = -smoothing / max(C, 1) * w[:, None] * share.reshape(N, 1, S)
    at_class = (1 - smoothing) * w[safe] * share
    n, s = np.divmod(np.arange(N * S), S)
    by_class[n, safe, s] -= at_class


@kernel(numpy=_nll_losses_grad_numpy)
def nll_losses_grad(
    gy: Array, total: Array, target: Array, weight: Array | None, gx: Array, C: int, S: int,
    ignore_index: int, smoothing: float,
) -> None:  # fmt: skip
    """gx = dL/dx of log-probabilities x. gy has one number, or one per position (N S); total (1) is
    what the mean was divided by."""
    T = gx.dtype.type
    step = 1 if gy.size > 1 else 0
    for n in prange(target.size // S):
        first = n * C * S
        for i in range(uint(C * S)):
            gx[uint(first) + i] = T(0)
        for s in range(S):
            p = n * S + s
            t = target[p]
            if t != ignore_index and t >= 0 and t < C:
                share = gy[p * step] / T(total[0])
                if smoothing != 0:
                    for c in range(C):
                        part = share * T(smoothing / max(C, 1))
                        gx[first + c * S + s] = -part if weight is None else -part * weight[c]
                taken = share * T(1 - smoothing)
                gx[first + t * S + s] -= taken if weight is None else taken * weight[t]


def _cross_entropies_grad_numpy(
    gy: Array, total: Array, target: Array, weight: Array | None, scores: Array, gx: Array,
    C: int, S: int, ignore_index: int, smoothing: float,
) -> None:  # fmt: skip
    share = np.empty_like(gx)
    _nll_losses_grad_numpy(gy, total, target, weight, share, C, S, ignore_index, smoothing)
    rows = (target.size, C)
    gx[:] = log_softmax_grad(scores.reshape(rows), share.reshape(rows), 1).reshape(-1)


@kernel(numpy=_cross_entropies_grad_numpy, parallel_above=FEW_EXPS)
def cross_entropies_grad(
    gy: Array, total: Array, target: Array, weight: Array | None, scores: Array, gx: Array,
    C: int, S: int, ignore_index: int, smoothing: float,
) -> None:  # fmt: skip
    """gx = dL/dx of :func:`cross_entropies`: that of the scores, less e^scores times its sum."""
    T = gx.dtype.type
    everywhere = T(smoothing / max(C, 1))  # the share of each class, besides that of the target
    step = 1 if gy.size > 1 else 0
    weights = T(0)
    for c in range(C):
        weights += T(1) if weight is None else weight[c]
    for n in prange(target.size):
        t, first = target[n], uint(n * C)
        kept = t != ignore_index and t >= 0 and t < C
        share = gy[n * step] / T(total[0]) if kept else T(0)
        t = t if kept else 0
        at_class = T(1 - smoothing) if weight is None else T(1 - smoothing) * weight[t]
        slope = share * (at_class + everywhere * weights)
        for c in range(uint(C)):
            gx[first + c] = slope * _exp(scores[first + c])
        if smoothing != 0:
            for c in range(uint(C)):
                w = T(1) if weight is None else weight[c]
                gx[first + c] -= share * everywhere * w
        gx[first + uint(t)] -= share * at_class


def _squares_numpy(x: Array, target: Array, sums: Array, y: Array, divisor: float) -> None:
    d = x - target
    y[()] = np.square(d, out=d).sum(dtype=np.float64) / divisor


@kernel(numpy=_squares_numpy)
def squares(x: Array, target: Array, sums: Array, y: Array, divisor: float) -> None:
    """y () = the sum of (x - target)^2 / divisor: runs in their own type, their ``sums`` in
    float64."""
    for run in prange(sums.size):
        first = run * RUN
        total = x.dtype.type(0)
        for i in range(uint(min(RUN, x.size - first))):
            d = x[uint(first) + i] - target[uint(first) + i]
            total += d * d
        sums[run] = total
    whole = np.float64(0)
    for run in range(sums.size):
        whole += sums[run]
    y[()] = whole / divisor


def _squares_grad_numpy(x: Array, target: Array, gy: Array, gx: Array, factor: float) -> None:
    np.multiply(x - target, gy[()] * factor, out=gx)


@kernel(numpy=_squares_grad_numpy)
def squares_grad(x: Array, target: Array, gy: Array, gx: Array, factor: float) -> None:
    """gx = factor gy (x - target), with one number gy ()."""
    slope = x.dtype.type(gy[()] * factor)
    for i in prange(x.size):
        gx[i] = slope * (x[i] - target[i])


def of_classes(
    name: str, x: Array, target: Array, weight: Array | None, ignore_index: int, smoothing: float,
    mean: bool,
) -> tuple[Array, Array, Array, Array | None]:  # fmt: skip
    """The losses at all positions (N S) of x, (N, C), (N, C, d1, ...) or (C); their sum () or mean;
    what that was divided by (1); and for "cross_entropy" log_softmax(x), which "nll_loss" takes x
    to be.

    IndexError for a target that is no class.
    """
    N, C, S = classes_and_positions(x.shape)
    each = np.empty((2, N * S), x.dtype)
    y, divisor = np.empty((), x.dtype), np.empty(1)
    flat, scores = contiguous(x).ravel(), None
    how = (each, y, divisor, C, S, mean, ignore_index, smoothing)
    if name == "nll_loss":
        nll_losses(flat, target, weight, *how)
    elif S == 1 and C:
        scores = empty(flat.shape, x)
        cross_entropies(flat, target, weight, scores, *how)
    else:
        scores = log_softmax(flat.reshape(N, C, S), 1).reshape(-1)
        nll_losses(scores, target, weight, *how)
    if divisor[0] != divisor[0]:
        wrong = _places(target, C, ignore_index)[2]
        if wrong.any():
            raise IndexError(wrong_label(name, target[wrong][0], C, ignore_index))
    if not mean:
        divisor[0] = 1
    return each[0], y, divisor, scores


def of_classes_grad(
    gy: Array, divisor: Array, target: Array, weight: Array | None, scores: Array | None,
    shape: tuple[int, ...], ignore_index: int, smoothing: float,
) -> Array:  # fmt: skip
    """gx of :func:`of_classes`, in the shape of x, from gy of one number, or of one per position.
    """
    N, C, S = classes_and_positions(shape)
    gx = empty(shape, gy)
    if not gx.size:
        return gx
    gy, flat = contiguous(gy).reshape(-1), gx.reshape(-1)
    how = (C, S, ignore_index, smoothing)
    if scores is not None and S == 1:
        cross_entropies_grad(gy, divisor, target, weight, scores, flat, *how)
        return gx
    nll_losses_grad(gy, divisor, target, weight, flat, *how)
    if scores is None:
        return gx
    by_class = (N, C, S)
    return log_softmax_grad(scores.reshape(by_class), flat.reshape(by_class), 1).reshape(shape)


def classes_and_positions(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """N, C and S of scores of this shape."""
    if len(shape) == 1:
        return 1, shape[0], 1
    return shape[0], shape[1], math.prod(shape[2:])


def mean_square(x: Array, target: Array, mean: bool) -> Array:
    """The sum of (x - target)^2, or its mean."""
    y = np.empty((), x.dtype)
    sums = np.empty(-(-x.size // RUN))
    divisor = x.size if mean else 1
    squares(contiguous(x).reshape(-1), contiguous(target).reshape(-1), sums, y, float(divisor))
    return y


def mean_square_grad(x: Array, target: Array, gy: Array, factor: float) -> Array:
    """gx = factor gy (x - target)."""
    gx = empty(x.shape, x)
    flat = [contiguous(a).reshape(-1) for a in (x, target)]
    squares_grad(*flat, gy, gx.reshape(-1), factor)
    return gx
