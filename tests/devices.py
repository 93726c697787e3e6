"""The device that the suite runs on: ``pytest --device cuda``, ``pytest -m gpu``, or the CPU.

On "cuda" without a GPU, CuPy is the stand-in of ``tests/cupy_standin``. Helpers that put arrays on
the device and get them back keep tests the same everywhere.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

import numpy as np

import minitorch_cnn
from minitorch_cnn.device import device as Device
from minitorch_cnn.tensor import Tensor

_chosen = {"device": "cpu"}


def name() -> str:
    """"cpu" or "cuda"."""
    return _chosen["device"]


def choose(device: str, real: bool) -> None:
    """Before anything is computed: ``real`` is a GPU, else the stand-in."""
    _chosen["device"] = device
    if real and os.environ.get("MINITORCH_CNN_TEST_POOL") == "0":  # see benchmarks/sanitize.sh
        importlib.import_module("cupy").cuda.set_allocator(None)
    if device == "cuda" and not real:
        from . import cupy_standin

        cupy_standin.install()


def place(array: np.ndarray[Any, Any]) -> Any:
    """A copy on the device, with the array's own layout; on the CPU, the array itself."""
    if name() == "cpu":
        return array
    there = minitorch_cnn.cuda.move(np.ascontiguousarray(array), Device("cuda"))
    there = there.reshape(array.shape)
    if array.ndim == 0 or array.flags.c_contiguous:
        return there
    cupy = importlib.import_module("cupy")
    if array.T.flags.c_contiguous:
        return there.copy(order="F")
    if array.strides[0] < 0:
        return cupy.ascontiguousarray(there[::-1])[::-1]
    wide = cupy.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
    wide[..., ::2] = there
    return wide[..., ::2]


def from_numpy(array: np.ndarray[Any, Any]) -> Tensor:
    """A tensor on the device."""
    return Tensor._wrap(place(np.asarray(array)))


def host(array: Any) -> np.ndarray[Any, Any]:
    """What an array on the device holds."""
    return np.asarray(array) if isinstance(array, (np.ndarray, np.generic)) else array.get()
