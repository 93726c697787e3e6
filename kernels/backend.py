"""Which array module an array belongs to, and how many threads work: the seam for two backends.

This file and ``jit.py`` (how a loop nest becomes machine code) are all that a GPU has to change.
"""

from __future__ import annotations

import os
import sys
import threading
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = Any

cpu_backend: str = os.environ.get("MINITORCH_CNN_CPU", "numba").lower()
if cpu_backend not in ("numba", "numpy"):
    raise ValueError(f"MINITORCH_CNN_CPU={cpu_backend!r}: choose numba (default) or numpy")

_threads: int | None = None
parallel_lock = threading.Lock()


def array_module(x: Array) -> ModuleType:
    """numpy or cupy: the module that ``x`` is an array of."""
    if isinstance(x, np.ndarray):
        return np
    return sys.modules[type(x).__module__.partition(".")[0]]


def empty(shape: tuple[int, ...], like: Array, dtype: Any = None) -> Array:
    """An uninitialised C-contiguous array where ``like`` lives, of its dtype unless told."""
    return array_module(like).empty(shape, like.dtype if dtype is None else dtype)


def contiguous(x: Array) -> Array:
    """``x`` itself if C-contiguous and aligned, else a copy: kernels see plain memory only."""
    return array_module(x).ascontiguousarray(x)


def available_cores() -> int:
    """Cores that this process may run on."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        return os.cpu_count() or 1


def get_num_threads() -> int:
    """Threads that a kernel may use."""
    return _threads or available_cores()


def set_num_threads(n: int) -> None:
    """Let kernels use ``n`` threads (at most the cores there are). Results do not depend on it."""
    global _threads
    if not isinstance(n, int) or n < 1:
        raise RuntimeError(f"set_num_threads expects a positive integer, got {n!r}")
    _threads = min(n, available_cores())
