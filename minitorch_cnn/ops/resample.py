"""Signals and images at another size, an axis at a time: one gather (nearest) or two (linear)."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tensor import Array, op

_NEAREST = ("nearest", "nearest-exact")


@op
def interpolate(
    x: Array,
    /,
    *,
    size: tuple[int, ...],
    scale_factor: tuple[float, ...] | None = None,
    mode: str = "nearest",
    align_corners: bool = False,
) -> Any:
    """x (N, C, L) or (N, C, H, W) with spatial axes of ``size``.

    With r = 1 / scale_factor, or n_in / n_out if not given, output o comes from the input at

    - 'nearest': floor(r o); 'nearest-exact': floor(r (o + 1/2));
    - 'linear', 'bilinear': s = r (o + 1/2) - 1/2, at least 0, or with ``align_corners``
      s = o (n_in - 1) / (n_out - 1): the neighbours floor(s) and floor(s) + 1, weighted linearly.

    The linear modes leave an axis alone that keeps its size, whatever its factor. Gradients are
    sums over the outputs of each input, in their order. Floating x; nearest takes uint8 too. Cost:
    a pass over the output per axis.
    """
    _check(x, size, mode)
    axes = range(2, x.ndim)
    factors: tuple[float | None, ...] = scale_factor or (None,) * len(size)
    if mode in _NEAREST:
        sources = [
            _nearest(x.shape[a], n, r, mode == "nearest-exact", x)
            for a, n, r in zip(axes, size, factors)
        ]
        y = x
        for axis, source in zip(axes, sources):
            y = y.take(source, axis)
        shape = x.shape

        def grad_nearest(gy: Array) -> Array:
            for axis, source in zip(axes, sources):
                gy = _add_runs(gy, source, shape[axis], axis)
            return gy

        return y, (grad_nearest,)

    kind, wide = x.dtype, np.float32 if x.dtype == np.float16 else x.dtype
    taps = [_linear(n_in, n, r, align_corners) for n_in, n, r in zip(x.shape[2:], size, factors)]
    y = x.astype(wide, copy=False)
    for axis in reversed(axes):
        low, high, share = taps[axis - 2]
        w = _along(share, axis, y)
        y = y.take(low, axis) * (1 - w) + y.take(high, axis) * w
    shape = x.shape

    def grad_linear(gy: Array) -> Array:
        g = gy.astype(wide, copy=False)
        for axis in axes:
            low, high, share = taps[axis - 2]
            w, n = _along(share, axis, g), shape[axis]
            g = _add_runs(g * (1 - w), low, n, axis) + _add_runs(g * w, high, n, axis)
        return g.astype(kind, copy=False)

    return y.astype(kind, copy=False), (grad_linear,)


def _check(x: Array, size: tuple[int, ...], mode: str) -> None:
    if x.ndim < 3 or len(size) != x.ndim - 2:
        raise RuntimeError(
            f"interpolate: an input of shape {list(x.shape)} (N, C, ...) and an output size"
            f" {list(size)} do not fit"
        )
    if x.shape[1] == 0 or min(*x.shape[2:], *size) <= 0:
        raise RuntimeError(
            "interpolate: Input and output sizes should be greater than 0 (only the batch may be"
            f" empty), but got input {list(x.shape)} and output size {list(size)}"
        )
    if x.dtype.kind != "f" and not (x.dtype == np.uint8 and mode in _NEAREST):
        raise NotImplementedError(
            f"interpolate: mode {mode!r} is not implemented for {x.dtype}: convert the input with"
            " .float()"
        )


def _nearest(n_in: int, n_out: int, factor: float | None, exact: bool, x: Array) -> Array:
    """The input index of every output, rounded as PyTorch rounds: it decides between neighbours.

    Images count in float32, and doubling ones not at all; signals count in their own dtype.
    """
    image = x.ndim > 3
    if image and not exact and n_out in (n_in, 2 * n_in):
        return np.arange(n_out) // (n_out // n_in)
    kind = np.float64 if x.dtype == np.float64 and not image else np.float32
    r = kind(1 / factor) if factor else kind(n_in) / kind(n_out)
    o = np.arange(n_out)
    if not exact:
        position = o.astype(kind) * r
    elif image:
        position = (o.astype(kind) + kind(0.5)) * r
    else:
        position = ((o + 0.5) * np.float64(r) - 0.5).astype(kind) + kind(0.5)
    return np.minimum(np.floor(position.astype(np.float32)).astype(np.intp), n_in - 1)


def _linear(
    n_in: int, n_out: int, factor: float | None, align_corners: bool
) -> tuple[Array, Array, Array]:
    """The two neighbours of every output and the share of the second."""
    o = np.arange(n_out)
    if n_in == n_out:
        return o, o, np.zeros(n_out)
    if align_corners:
        position = o * ((n_in - 1) / max(n_out - 1, 1))
    else:
        r = 1 / factor if factor else n_in / n_out
        position = np.maximum((o + 0.5) * r - 0.5, 0)
    low = np.minimum(position.astype(np.intp), n_in - 1)
    return low, np.minimum(low + 1, n_in - 1), np.minimum(position - low, 1)


def _along(share: Array, axis: int, x: Array) -> Array:
    """``share`` in x's dtype, to be broadcast along ``axis``."""
    return share.astype(x.dtype).reshape((-1,) + (1,) * (x.ndim - axis - 1))


def _add_runs(g: Array, index: Array, n: int, axis: int) -> Array:
    """y[i] = the sum of g[o] over the outputs with index[o] = i, along ``axis`` of size n.

    ``index`` never decreases, so these outputs are neighbours. The opposite of ``take``.
    """
    first = np.flatnonzero(np.diff(index, prepend=-1))
    sums = np.add.reduceat(g, first, axis)
    if len(first) == n:
        return sums
    y = np.zeros((*g.shape[:axis], n, *g.shape[axis + 1 :]), g.dtype)
    y[(slice(None),) * axis + (index[first],)] = sums
    return y
