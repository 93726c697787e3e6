"""What the tests of kernels share: which code runs a kernel, and on how many threads."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from minitorch_cnn.kernels import backend

# "numba" is plain Python under NUMBA_DISABLE_JIT=1.
BACKENDS = ("numba", "numpy") if backend.cpu_backend == "numba" else ("numpy",)


@contextlib.contextmanager
def using(name: str) -> Iterator[None]:
    """Kernels run as compiled loops ("numba") or as their whole-array twins ("numpy")."""
    before = backend.cpu_backend
    backend.cpu_backend = name
    try:
        with np.errstate(all="ignore"):
            yield
    finally:
        backend.cpu_backend = before


def assert_same_bits_at_any_thread_count(fn: Callable[[], Any]) -> None:
    """``fn`` returns an array or several; its arrays must be large enough to be shared out."""
    if backend.cpu_backend == "numpy" or os.environ.get("NUMBA_DISABLE_JIT", "0") != "0":
        pytest.skip("no compiled kernels: one thread")
    before = dict(backend._chosen)
    results = []
    try:
        for threads in (1, 2, 3):
            backend.set_num_threads(threads)
            y = fn()
            results.append(y if isinstance(y, tuple) else (y,))
    finally:
        backend._chosen.clear()
        backend._chosen.update(before)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a.view(np.uint8), b.view(np.uint8))


def interpreted() -> bool:
    """Whether kernels run as plain Python loops here."""
    return os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0")
