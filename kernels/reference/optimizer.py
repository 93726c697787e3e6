"""One step of an optimizer for one weight, as its paper has it: see ``kernels/optimizer.py``."""

from __future__ import annotations

import math


def sgd(w: float, g: float, lr: float, decay: float, sign: float) -> tuple[float, ...]:
    """The new w."""
    return (w - lr * (sign * g + decay * w),)


def sgd_momentum(
    w: float, g: float, b: float, lr: float, decay: float, sign: float, momentum: float,
    rest: float, ahead: float,
) -> tuple[float, ...]:  # fmt: skip
    """The new w and b."""
    d = sign * g + decay * w
    b = momentum * b + rest * d
    return w - lr * (d + momentum * b if ahead else b), b


def adam(
    w: float, g: float, m: float, v: float, lr: float, shrink: float, decay: float, sign: float,
    rest1: float, beta2: float, rest2: float, eps: float, root: float,
) -> tuple[float, ...]:  # fmt: skip
    """The new w, m and v."""
    w = shrink * w
    d = sign * g + decay * w
    m = (1 - rest1) * m + rest1 * d
    v = beta2 * v + rest2 * d * d
    return w - lr * m / (math.sqrt(v) / root + eps), m, v


def amsgrad(
    w: float, g: float, m: float, v: float, largest: float, *numbers: float
) -> tuple[float, ...]:
    """The new w, m, v and largest v."""
    lr, shrink, *_, eps, root = numbers
    _, m, v = adam(w, g, m, v, *numbers)
    largest = max(largest, v)
    return shrink * w - lr * m / (math.sqrt(largest) / root + eps), m, v, largest
