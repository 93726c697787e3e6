"""Losses of classes: what ``loss.cu`` computes, and ``loss.py`` on the CPU.

x is (N, C, S): log-probabilities of C classes at S positions of N samples; target (N, S) has the
class of each position, or ``ignore_index`` where it counts for nothing; weight is (C), or None for
ones. ``smoothing`` is the share of a position that is spread over all classes.
"""

from __future__ import annotations

import numpy as np

from ..backend import Array


def nll_loss(
    x: Array, target: Array, weight: Array | None, loss: Array, used: Array, ignore_index: int,
    smoothing: float,
) -> None:  # fmt: skip
    """loss = -(1 - e) w[t] x[t] - e / C (sum over c of w[c] x[c]), e = smoothing; used = w[t].

    Both (N, S), and 0 where a position does not count. The mean divides by the sum of ``used``.
    """
    N, C, S = x.shape
    w = np.ones(C, x.dtype) if weight is None else weight
    for n in range(N):
        for s in range(S):
            t = target[n, s]
            loss[n, s] = used[n, s] = 0
            if t != ignore_index:
                every = sum(w[c] * x[n, c, s] for c in range(C))
                loss[n, s] = -(1 - smoothing) * w[t] * x[n, t, s] - smoothing / C * every
                used[n, s] = w[t]


def nll_loss_grad(
    gy: Array, total: Array, target: Array, weight: Array | None, gx: Array, ignore_index: int,
    smoothing: float,
) -> None:  # fmt: skip
    """gx = dL/dx (N, C, S) of :func:`nll_loss`. gy has one number, or one per position (N S);
    total (1) is what the mean was divided by."""
    N, C, S = gx.shape
    w = np.ones(C, gx.dtype) if weight is None else weight
    for n in range(N):
        for c in range(C):
            for s in range(S):
                t = target[n, s]
                gx[n, c, s] = 0
                if t != ignore_index:
                    g = gy[0 if gy.size == 1 else n * S + s] / total[0]
                    at_class = (1 - smoothing) * w[t] if t == c else 0
                    gx[n, c, s] = -g * (at_class + smoothing / C * w[c])


def cross_entropy_grad(
    gy: Array, total: Array, target: Array, weight: Array | None, scores: Array, gx: Array,
    ignore_index: int, smoothing: float,
) -> None:  # fmt: skip
    """gx = dL/dx of cross-entropy, which is :func:`nll_loss` of scores = log_softmax(x): that of
    the scores, less e^scores times its sum over the classes."""
    N, C, S = gx.shape
    nll_loss_grad(gy, total, target, weight, gx, ignore_index, smoothing)
    for n in range(N):
        for s in range(S):
            every = sum(gx[n, c, s] for c in range(C))
            for c in range(C):
                gx[n, c, s] -= np.exp(scores[n, c, s]) * every
