"""One step of an optimizer: every array of a parameter passes through memory once.

w are the weights and g = dL/dw; b, m, v and ``largest`` are what the optimizer remembers of them,
all flat and of one length, and changed in place (except g). ``numbers`` is an array of their type,
as a captured CUDA graph must find each step's in memory: ``sign`` is -1 to maximise, ``decay`` the
factor of w that is added to g, 1 and 0 otherwise.
Written as separate NumPy steps (the twins), the same update reads and writes its arrays three to
five times.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .backend import Array, contiguous, host_numbers
from .half import is_half
from .jit import Kernel, inline, kernel, prange, short_vectors

MOST = 9  # numbers of a kernel


def _direction(w: Array, g: Array, sign: float, decay: float) -> Array:
    return sign * g + decay * w if decay else sign * g


@inline(forceinline=True)
def _descend(w: Any, g: Any, sign: Any, decay: Any) -> Any:
    """sign g + decay w; without decay an infinite w does not count."""
    return sign * g + decay * w if decay != 0 else sign * g


def _sgd_numpy(w: Array, g: Array, numbers: Array) -> None:
    lr, decay, sign = numbers
    w -= lr * _direction(w, g, sign, decay)


@kernel(numpy=_sgd_numpy)
def sgd(w: Array, g: Array, numbers: Array) -> None:
    """w -= lr d, with d = sign g + decay w. Numbers: lr, decay, sign."""
    lr, decay, sign = numbers[0], numbers[1], numbers[2]
    for i in prange(w.size):
        short_vectors()
        w[i] -= lr * _descend(w[i], g[i], sign, decay)


def _sgd_momentum_numpy(w: Array, g: Array, b: Array, numbers: Array) -> None:
    lr, decay, sign, momentum, rest, ahead = numbers
    d = _direction(w, g, sign, decay)
    b *= momentum
    b += rest * d
    w -= lr * (d + momentum * b if ahead else b)


@kernel(numpy=_sgd_momentum_numpy)
def sgd_momentum(w: Array, g: Array, b: Array, numbers: Array) -> None:
    """b = momentum b + rest d, then w -= lr b; with ``ahead`` (Nesterov) w -= lr (d + momentum b).

    rest = 1 - dampening, and 1 at the first step, when b is 0. Numbers: lr, decay, sign, momentum,
    rest, ahead.
    """
    lr, decay, sign = numbers[0], numbers[1], numbers[2]
    momentum, rest, ahead = numbers[3], numbers[4], numbers[5]
    for i in prange(w.size):
        short_vectors()
        d = _descend(w[i], g[i], sign, decay)
        v = momentum * b[i] + rest * d
        b[i] = v
        w[i] -= lr * (d + momentum * v if ahead != 0 else v)


def _adam_numpy(w: Array, g: Array, m: Array, v: Array, numbers: Array) -> None:
    lr, shrink, decay, sign, rest1, beta2, rest2, eps, root = numbers
    w *= shrink
    d = _direction(w, g, sign, decay)
    m += rest1 * (d - m)
    v *= beta2
    v += rest2 * d * d
    w -= lr * m / (np.sqrt(v) / root + eps)


@kernel(numpy=_adam_numpy)
def adam(w: Array, g: Array, m: Array, v: Array, numbers: Array) -> None:
    """m += rest1 (d - m), v = beta2 v + rest2 d^2, then w -= lr m / (sqrt(v) / root + eps).

    rest1 = 1 - beta1, rest2 = 1 - beta2; lr is already divided by 1 - beta1^t, and root is
    sqrt(1 - beta2^t). w is multiplied by ``shrink`` before (1, or AdamW's 1 - lr decay). Numbers:
    lr, shrink, decay, sign, rest1, beta2, rest2, eps, root.
    """
    lr, shrink, decay, sign = numbers[0], numbers[1], numbers[2], numbers[3]
    rest1, beta2, rest2, eps, root = numbers[4], numbers[5], numbers[6], numbers[7], numbers[8]
    for i in prange(w.size):
        short_vectors()
        old = w[i] * shrink
        d = _descend(old, g[i], sign, decay)
        mean = m[i] + rest1 * (d - m[i])
        square = beta2 * v[i] + rest2 * d * d
        m[i] = mean
        v[i] = square
        w[i] = old - lr * mean / (np.sqrt(square) / root + eps)


def _amsgrad_numpy(
    w: Array, g: Array, m: Array, v: Array, largest: Array, numbers: Array
) -> None:
    lr, shrink, decay, sign, rest1, beta2, rest2, eps, root = numbers
    w *= shrink
    d = _direction(w, g, sign, decay)
    m += rest1 * (d - m)
    v *= beta2
    v += rest2 * d * d
    np.maximum(largest, v, out=largest)
    w -= lr * m / (np.sqrt(largest) / root + eps)


@kernel(numpy=_amsgrad_numpy)
def amsgrad(w: Array, g: Array, m: Array, v: Array, largest: Array, numbers: Array) -> None:
    """:func:`adam` that divides by the root of the largest v so far (NaN counts as largest)."""
    lr, shrink, decay, sign = numbers[0], numbers[1], numbers[2], numbers[3]
    rest1, beta2, rest2, eps, root = numbers[4], numbers[5], numbers[6], numbers[7], numbers[8]
    for i in prange(w.size):
        old = w[i] * shrink
        d = _descend(old, g[i], sign, decay)
        mean = m[i] + rest1 * (d - m[i])
        square = beta2 * v[i] + rest2 * d * d
        top = largest[i] if largest[i] >= square or largest[i] != largest[i] else square
        m[i] = mean
        v[i] = square
        largest[i] = top
        w[i] = old - lr * mean / (np.sqrt(top) / root + eps)


@functools.lru_cache(8)
def _as_array(numbers: tuple[float, ...], T: Any) -> Array:
    """All parameters of a group have the same numbers."""
    return np.array(numbers, T)


def update(k: Kernel, arrays: Sequence[Array], numbers: Callable[[], Sequence[float]]) -> None:
    """``k(*arrays, numbers())`` on arrays w, g, ... of any shape and layout; g is only read.

    A captured CUDA graph calls ``numbers`` before each launch, and not while it is captured.
    Steps of float16 and bfloat16 are computed in float32: 0.999, say, is 1 in bfloat16.
    """
    g = arrays[1]
    half = is_half(g.dtype)
    T = np.dtype(np.float32) if half else g.dtype
    on_cpu = isinstance(g, np.ndarray)
    if on_cpu:
        given = _as_array(tuple(numbers()), T)
    else:
        given = host_numbers(lambda: np.array(numbers(), T), MOST, T, g)
    if g.size:
        wide = half and on_cpu  # a GPU's kernels read and write halves
        plain = [a.astype(T, order="C") if wide else contiguous(a) for a in arrays]
        k(*[a.ravel() for a in plain], given)
        for a, p in zip(arrays, plain):
            if p is not a and a is not g:
                a[...] = p
