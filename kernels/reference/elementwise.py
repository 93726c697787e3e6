"""Each activation as a function of one number, and its slope.

``FUNCTIONS[name]`` and ``SLOPES[name]`` take a finite x and the kernel's settings; the slope at a
kink is the one that the gradient kernel gives.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

Function: TypeAlias = Callable[..., float]

_C = math.sqrt(2 / math.pi)


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def _softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def _cdf(x: float) -> float:
    return 0.5 * math.erfc(-x * math.sqrt(0.5))


def _pdf(x: float) -> float:
    return math.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)


def _clamp(x: float, low: float, high: float) -> float:
    return min(max(x, low), high)


def _inner(x: float) -> float:
    """What gelu_tanh takes the tanh of."""
    return _C * (x + 0.044715 * x**3)


def _gelu_tanh_slope(x: float) -> float:
    t = math.tanh(_inner(x))
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * _C * (1 + 3 * 0.044715 * x * x)


def _mish_slope(x: float) -> float:
    t = math.tanh(_softplus(x))
    return t + x * (1 - t * t) * _sigmoid(x)


def _hardswish_slope(x: float) -> float:
    if x <= -3:
        return 0
    return 1 if x >= 3 else x / 3 + 0.5


FUNCTIONS: dict[str, Function] = {
    "relu": lambda x: max(x, 0.0),
    "leaky_relu": lambda x, slope: x if x > 0 else slope * x,
    "clip": _clamp,
    "hardsigmoid": lambda x: _clamp(x + 3, 0, 6) / 6,
    "hardswish": lambda x: x * _clamp(x + 3, 0, 6) / 6,
    "sigmoid": _sigmoid,
    "tanh": math.tanh,
    "silu": lambda x: x * _sigmoid(x),
    "mish": lambda x: x * math.tanh(_softplus(x)),
    "erf": math.erf,
    "gelu": lambda x: x * _cdf(x),
    "gelu_tanh": lambda x: 0.5 * x * (1 + math.tanh(_inner(x))),
    "softplus": lambda x, beta, threshold: (
        x if beta * x > threshold else _softplus(beta * x) / beta
    ),
    "elu": lambda x, below, above, inner: above * x if x > 0 else below * math.expm1(inner * x),
}
SLOPES: dict[str, Function] = {
    "relu": lambda x: float(x > 0),
    "leaky_relu": lambda x, slope: 1 if x > 0 else slope,
    "clip": lambda x, low, high: float(low < x < high),
    "hardsigmoid": lambda x: float(-3 < x < 3) / 6,
    "hardswish": _hardswish_slope,
    "sigmoid": lambda x: _sigmoid(x) * _sigmoid(-x),
    "tanh": lambda x: 1 - math.tanh(x) ** 2,
    "silu": lambda x: _sigmoid(x) * (1 + x * _sigmoid(-x)),
    "mish": _mish_slope,
    "erf": lambda x: 2 / math.sqrt(math.pi) * math.exp(-x * x),
    "gelu": lambda x: _cdf(x) + x * _pdf(x),
    "gelu_tanh": _gelu_tanh_slope,
    "softplus": lambda x, beta, threshold: 1 if beta * x > threshold else _sigmoid(beta * x),
    "elu": lambda x, below, above, inner: above if x > 0 else below * inner * math.exp(inner * x),
}
