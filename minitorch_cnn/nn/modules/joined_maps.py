"""Maps to which more are joined, again and again: what a block of a DenseNet makes."""

from __future__ import annotations

import numpy as np

from ...functions.joining import cat
from ...grad_mode import mode
from ...kernels.backend import empty
from ...ops import shape
from ...tensor import Array, Tensor


class JoinedMaps:
    """``torch.cat`` of maps that come one after the other: ``maps``, (N, C, H, W).

    To join all of them anew for each one that is added copies and keeps bytes that grow with the
    square of their number. Here each is copied once, to its place in an array with room for all,
    whose first channels ``maps`` is a view of. So maps of earlier times share memory with it, and
    must not be written to: a graph that has saved them refuses its backward pass.

    ``more`` is the number of channels that will come. Where kernels take such views: on the CPU,
    in float32 and float64; elsewhere, and for maps that do not fit in, ``maps`` is what torch.cat
    makes.
    """

    def __init__(self, first: Tensor, more: int) -> None:
        self.maps = first
        self._room = _room(first, more)

    def append(self, new: Tensor) -> None:
        """``maps`` and, behind its channels, those of ``new``, (N, C, H, W)."""
        if self._room is None or not _fits(self._room, self.maps.array, new.array):
            self.maps, self._room = cat([self.maps, new], 1), None
        else:
            self.maps = shape.append(self.maps, new, room=self._room)


def _room(first: Tensor, more: int) -> Array | None:
    x = first.array
    if not isinstance(x, np.ndarray) or x.dtype not in (np.float32, np.float64):
        return None
    if x.ndim != 4 or mode.autocast:
        return None
    N, C, H, W = x.shape
    return empty((N, C + more, H, W), x, op="cat")


def _fits(room: Array, maps: Array, new: Array) -> bool:
    return (
        isinstance(new, np.ndarray)
        and new.dtype == room.dtype
        and new.shape[:1] + new.shape[2:] == room.shape[:1] + room.shape[2:]
        and maps.shape[1] + new.shape[1] <= room.shape[1]
    )
