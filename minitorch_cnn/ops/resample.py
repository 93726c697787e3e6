"""Images enlarged and shrunk: the nearest cell, or a mix of the four around."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import kernels
from ..tensor import Array, op


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

    With s = H / OH, or 1 / scale_factor where given, output i stands for
    "nearest": cell floor(i s); "nearest-exact": cell floor((i + 1/2) s); "bilinear": the point
    (i + 1/2) s - 1/2, not before 0, or with ``align_corners`` i (H - 1) / (OH - 1), between two
    cells of each axis. Cost: numel(y) copies, or two multiply-adds a cell along each axis.
    """
    if x.ndim != 4 or 0 in x.shape[1:] or min(size) < 1:
        raise RuntimeError(
            "interpolate: Non-empty 4D data tensor (N, C, H, W) and output sizes greater than 0"
            f" expected, but got input {list(x.shape)} and output size {list(size)}"
        )
    scales: Sequence[float | None] = (None, None) if scale_factor is None else scale_factor
    if mode == "bilinear":
        return _bilinear(x, size, scales, align_corners)
    if x.dtype.kind != "f" and x.dtype != np.uint8:
        raise NotImplementedError(f'"interpolate" not implemented for {x.dtype}')
    if mode not in ("nearest", "nearest-exact"):
        raise NotImplementedError(f"interpolate: mode {mode!r}")
    shift = 0.5 if mode == "nearest-exact" else 0.0
    H, W = x.shape[2:]
    rows, columns = (_nearest(n, o, s, shift) for n, o, s in zip((H, W), size, scales))
    y = np.take(np.take(x, rows, 2), columns, 3)

    def grad(gy: Array) -> Array:
        wide = gy.astype(np.float32) if gy.dtype == np.float16 else gy
        return kernels.pool.sum_ranges(wide, _users(rows, H), _users(columns, W)).astype(gy.dtype)

    return y, (grad,) if x.dtype.kind == "f" else ()


def _nearest(size: int, out: int, scale_factor: float | None, shift: float) -> Array:
    """In float32, and exact for factors 1 and 2, as in PyTorch: the cell must be the same one."""
    if shift == 0 and out in (size, 2 * size):
        return np.arange(out) * size // out
    step = np.float32(size / out if scale_factor is None else 1 / scale_factor)
    cell = np.floor((np.arange(out, dtype=np.float32) + np.float32(shift)) * step)
    return np.minimum(cell.astype(np.int64), size - 1)


def _users(cells: Array, size: int) -> tuple[Array, Array]:
    """For each of ``size`` cells, the outputs that copied it (consecutive, as cells only rise)."""
    i = np.arange(size)
    return np.searchsorted(cells, i, "left"), np.searchsorted(cells, i, "right")


def _bilinear(
    x: Array, size: Sequence[int], scales: Sequence[float | None], align_corners: bool
) -> Any:
    if x.dtype.kind != "f":
        raise NotImplementedError(f'"interpolate" (bilinear) not implemented for {x.dtype}')
    H, W = x.shape[2:]
    kind = np.float64 if x.dtype == np.float64 else np.float32
    rows, columns = (_taps(n, o, s, align_corners, kind) for n, o, s in zip((H, W), size, scales))
    y = kernels.resample.bilinear(x, rows, columns)
    return y, (lambda gy: kernels.resample.bilinear_grad(gy, rows, columns, (H, W)),)


def _taps(
    size: int, out: int, scale_factor: float | None, align_corners: bool, kind: Any
) -> tuple[Array, Array, Array]:
    i = np.arange(out, dtype=kind)
    if out == size:  # whatever the scale factor, as in PyTorch
        point = i
    elif align_corners:
        point = i * kind((size - 1) / (out - 1) if out > 1 else 0)
    else:
        step = kind(size / out if scale_factor is None else 1 / scale_factor)
        point = np.maximum((i + kind(0.5)) * step - kind(0.5), 0)
    low = np.minimum(point.astype(np.int64), size - 1)
    return low, np.minimum(low + 1, size - 1), np.clip(point - low.astype(kind), 0, 1)
