"""Losses of classes on a GPU: the host side of loss.cu, for ``ops/loss.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import replay
from .backend import Array, contiguous, empty
from .launcher import launch

SLICE = 1 << 12  # numbers that one block adds up
SLICES = 256


class Loss:
    """The loss of log-probabilities ``scores`` (N, C, S) for the class of each position (N, S).

    ``y`` has a number for each position (N, S) if ``reduction`` is "none", else one (1).

    A GPU finds a target that is no class while it computes: the sum of the weights is NaN then. It
    is read to raise IndexError, but not in a captured graph, where the mean is NaN.
    """

    def __init__(
        self, name: str, scores: Array, target: Array, weight: Array | None, ignore_index: int,
        smoothing: float, reduction: str,
    ) -> None:  # fmt: skip
        N, C, S = self.shape = scores.shape
        target = contiguous(target.reshape(N, S).astype(np.int64, copy=False))
        if weight is not None:
            weight = contiguous(weight.astype(scores.dtype, copy=False))
        self.of, self.numbers = (target, weight), (ignore_index, smoothing)
        loss, used = empty((N, S), scores), empty((N, S), scores)
        launch("loss", "nll_loss", contiguous(scores), *self.of, loss, used, *self.numbers)
        y, self.total = mean(loss, used if reduction == "mean" else None)
        self.y = loss if reduction == "none" else y
        if not replay.recording():
            found = self.total if reduction == "mean" else mean(used, None)[0]
            if np.isnan(found.get()[0]):
                wrong = (target != ignore_index) & ((target < 0) | (target >= C))
                if wrong.any():
                    raise IndexError(wrong_label(name, target[wrong][0], C, ignore_index))

    def grad(self, gy: Array, scores: Array | None = None) -> Array:
        """gx (N, C, S): of the scores, or of the x that they are log_softmax of."""
        gy = contiguous(gy.reshape(-1))
        gx = empty(self.shape, gy)
        if scores is None:
            launch("loss", "nll_loss_grad", gy, self.total, *self.of, gx, *self.numbers)
        else:
            given = (gy, self.total, *self.of, contiguous(scores), gx, *self.numbers)
            launch("loss", "cross_entropy_grad", *given)
        return gx


def wrong_label(name: str, label: Any, C: int, ignore_index: int) -> str:
    """The message."""
    return (
        f"{name}: Target {label} is out of bounds. The labels of {C} classes are 0 to {C - 1}, and"
        f" ignore_index is {ignore_index}"
    )


def mean(loss: Array, used: Array | None) -> tuple[Array, Array]:
    """The sum of ``loss``, divided by that of ``used`` (None: by 1), and the divisor; both (1).

    Blocks add up slices, and one block their sums, in float64.
    """
    y, total = empty((1,), loss), empty((1,), loss, np.float64)
    sums = [None if part is None else _slice_sums(part) for part in (loss, used)]
    launch("loss", "finish_mean", *sums, y, total)
    return y, total


def _slice_sums(x: Array) -> Array:
    partial = empty((max(1, min(SLICES, -(-x.size // SLICE))),), x, np.float64)
    launch("loss", "slice_sums", x.reshape(-1), partial)
    return partial
