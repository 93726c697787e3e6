"""Normalisation, channel by channel. x is (N, C, L); everything per channel is float64."""

from __future__ import annotations

import math

import numpy as np

from ..backend import Array


def moments(x: Array) -> tuple[Array, Array]:
    """The mean and the biased variance of each channel, by exactly rounded sums."""
    N, C, L = x.shape
    mean, var = np.zeros(C), np.zeros(C)
    for c in range(C):
        values = [float(x[n, c, i]) for n in range(N) for i in range(L)]
        if values:
            mean[c] = math.fsum(values) / len(values)
            var[c] = math.fsum((v - mean[c]) ** 2 for v in values) / len(values)
    return mean, var


def scale(x: Array, mean: Array, scale: Array, shift: Array) -> Array:
    """y = (x - mean) scale + shift."""
    y = np.empty_like(x)
    for n, c, i in np.ndindex(x.shape):
        y[n, c, i] = (float(x[n, c, i]) - mean[c]) * scale[c] + shift[c]
    return y


def gradient_sums(x: Array, gy: Array, mean: Array) -> tuple[Array, Array]:
    """The sums of gy and of gy (x - mean) over each channel."""
    total, product = np.zeros(x.shape[1]), np.zeros(x.shape[1])
    for n, c, i in np.ndindex(x.shape):
        total[c] += float(gy[n, c, i])
        product[c] += float(gy[n, c, i]) * (float(x[n, c, i]) - mean[c])
    return total, product


def combine(x: Array, gy: Array, mean: Array, scale: Array, slope: Array, shift: Array) -> Array:
    """gx = scale gy + slope (x - mean) + shift."""
    gx = np.empty_like(x)
    for n, c, i in np.ndindex(x.shape):
        deviation = float(x[n, c, i]) - mean[c]
        gx[n, c, i] = scale[c] * float(gy[n, c, i]) + slope[c] * deviation + shift[c]
    return gx
