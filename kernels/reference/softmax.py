"""softmax over the rows of a matrix."""

from __future__ import annotations

import math

import numpy as np

from ..backend import Array


def _exps(row: Array) -> tuple[float, list[float]]:
    """The largest element, and e^(v - largest) for each v; NaN where that has no value."""
    values = [float(v) for v in row]
    largest = math.nan if any(map(math.isnan, values)) else max(values)
    return largest, [math.exp(v - largest) for v in values]


def softmax(x: Array) -> Array:
    """y = e^x / sum of e^x."""
    y = np.empty_like(x)
    for n, row in enumerate(x):
        _, exps = _exps(row)
        total = math.fsum(exps)
        for i, e in enumerate(exps):
            y[n, i] = e / total
    return y


def softmax_grad(y: Array, gy: Array) -> Array:
    """gx = y (gy - sum of y gy)."""
    gx = np.empty_like(y)
    for n in range(y.shape[0]):
        total = math.fsum(float(a) * float(b) for a, b in zip(y[n], gy[n]))
        for i in range(y.shape[1]):
            gx[n, i] = float(y[n, i]) * (float(gy[n, i]) - total)
    return gx


def log_softmax(x: Array) -> Array:
    """y = x - log(sum of e^x)."""
    y = np.empty_like(x)
    for n, row in enumerate(x):
        largest, exps = _exps(row)
        log_total = math.log(math.fsum(exps))
        for i, v in enumerate(row):
            y[n, i] = float(v) - largest - log_total
    return y


def log_softmax_grad(y: Array, gy: Array) -> Array:
    """gx = gy - e^y (sum of gy)."""
    gx = np.empty_like(y)
    for n in range(y.shape[0]):
        total = math.fsum(map(float, gy[n]))
        for i in range(y.shape[1]):
            gx[n, i] = float(gy[n, i]) - math.exp(float(y[n, i])) * total
    return gx
