"""Images and signals enlarged and shrunk: the nearest cell, or a mix of the cells around."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from .. import kernels
from ..kernels.backend import constant
from ..tensor import Array, op

Taps: TypeAlias = tuple[Array, Array, Array]

_NEAREST = ("nearest", "nearest-exact")


@op
def interpolate(
    x: Array,
    /,
    *,
    size: Sequence[int],
    scale_factor: Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool = False,
) -> Any:
    """y (N, C, OH, OW) samples x (N, C, H, W) at the point of x that each output cell stands for.

    Signals are (N, C, L), and "linear" is their "bilinear". With s = H / OH, or 1 / scale_factor
    where given, output i stands for "nearest": cell floor(i s); "nearest-exact": cell
    floor((i + 1/2) s); "bilinear": the point (i + 1/2) s - 1/2, not before 0, or with
    ``align_corners`` i (H - 1) / (OH - 1), between two cells of each axis. Floating x; the nearest
    modes take uint8 too. Cost: numel(y) copies, or two multiply-adds a cell along each axis.
    """
    if x.ndim != len(size) + 2 or x.ndim not in (3, 4) or 0 in x.shape[1:] or min(size) < 1:
        raise RuntimeError(
            "interpolate: Non-empty 4D data tensor (N, C, H, W), or 3D (N, C, L), and output sizes"
            f" greater than 0 expected, but got input {list(x.shape)} and output size {list(size)}"
        )
    if x.dtype.kind != "f" and (x.dtype != np.uint8 or mode not in _NEAREST):
        raise NotImplementedError(
            f"interpolate: mode {mode!r} is not implemented for {x.dtype}: convert the input with"
            " .float()"
        )
    factors: tuple[float | None, ...] = tuple(scale_factor or (None,) * len(size))
    signal = x.ndim == 3
    if signal:  # an image of one row
        x, size, factors = x[:, :, None], (1, *size), (None, *factors)
    kind = np.float64 if x.dtype == np.float64 else np.float32
    axes = list(zip(x.shape[2:], size, factors))
    if mode in _NEAREST:
        cells, exact = _signal_cells if signal else _cells, mode == "nearest-exact"
        y, grad = _nearest(x, *(cells(*axis, exact, kind) for axis in axes))
    else:
        y, grad = _bilinear(x, *(_taps(*axis, align_corners, kind) for axis in axes))
    if signal:
        return y[:, :, 0], (lambda gy: grad(gy[:, :, None])[:, :, 0],)
    return y, (grad,)


def _nearest(x: Array, rows: Array, columns: Array) -> tuple[Array, Callable[[Array], Array]]:
    H, W = x.shape[2:]
    y = np.take(np.take(x, constant(rows, x), 2), constant(columns, x), 3)

    def grad(gy: Array) -> Array:
        wide = gy.astype(np.float32) if gy.dtype == np.float16 else gy
        return kernels.pool.sum_ranges(wide, _users(rows, H), _users(columns, W)).astype(gy.dtype)

    return y, grad


def _bilinear(x: Array, rows: Taps, columns: Taps) -> tuple[Array, Callable[[Array], Array]]:
    size = x.shape[2:]
    y = kernels.resample.bilinear(x, rows, columns)
    return y, lambda gy: kernels.resample.bilinear_grad(gy, rows, columns, size)


def _cells(size: int, out: int, factor: float | None, exact: bool, kind: Any) -> Array:
    """In float32, and exact for factors 1 and 2, as in PyTorch: the cell must be the same one."""
    if not exact and out in (size, 2 * size):
        return np.arange(out) * size // out
    point = np.arange(out, dtype=np.float32) + np.float32(0.5 if exact else 0)
    return _floor(point * _step(size, out, factor, np.float32), size)


def _signal_cells(size: int, out: int, factor: float | None, exact: bool, kind: Any) -> Array:
    """PyTorch rounds the points of signals otherwise: in x's own dtype, with no exception."""
    step, i = _step(size, out, factor, kind), np.arange(out)
    if not exact:
        return _floor(i.astype(kind) * step, size)
    centre = ((i + 0.5) * np.float64(step) - 0.5).astype(kind)
    return _floor(centre + kind(0.5), size)


def _step(size: int, out: int, factor: float | None, kind: Any) -> Any:
    return kind(1 / factor) if factor else kind(size) / kind(out)


def _floor(point: Array, size: int) -> Array:
    return np.minimum(np.floor(point.astype(np.float32)).astype(np.int64), size - 1)


def _users(cells: Array, size: int) -> tuple[Array, Array]:
    """For each of ``size`` cells, the outputs that copied it (consecutive, as cells only rise)."""
    i = np.arange(size)
    return np.searchsorted(cells, i, "left"), np.searchsorted(cells, i, "right")


def _taps(size: int, out: int, factor: float | None, align_corners: bool, kind: Any) -> Taps:
    """The two cells around each output's point, and how far it is from the first to the second."""
    i = np.arange(out, dtype=kind)
    if out == size:  # whatever the scale factor, as in PyTorch
        point = i
    elif align_corners:
        point = i * kind((size - 1) / (out - 1) if out > 1 else 0)
    else:
        point = np.maximum((i + kind(0.5)) * _step(size, out, factor, kind) - kind(0.5), 0)
    low = np.minimum(point.astype(np.int64), size - 1)
    return low, np.minimum(low + 1, size - 1), np.clip(point - low.astype(kind), 0, 1)
