"""What a captured CUDA graph still needs from the host: numbers that change with each launch.

A graph repeats kernels with the arguments that they had. Where the host computes an argument anew
in each step (the state of a random generator, Adam's bias correction, a learning rate), the kernel
reads it from memory instead, and that memory is filled before each launch: so a replayed step
computes what an eager one would.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

Numbers = Callable[[], np.ndarray[Any, Any]]
PAGE = 1 << 16  # bytes that are copied together
ALIGNED = 64


class CaptureError(RuntimeError):
    """What a CUDA graph cannot hold."""


class Recording:
    """The numbers of one graph: where they lie on the GPU, and the functions that compute them."""

    def __init__(self, cupy: Any) -> None:
        self.cupy = cupy
        self.pages: list[tuple[Any, np.ndarray[Any, Any]]] = []  # on the GPU, and here
        self.used = PAGE  # bytes of the last page
        self.slots: list[tuple[np.ndarray[Any, Any], Numbers]] = []
        self.kept: list[Any] = []  # memory that only a cache holds

    def slot(self, compute: Numbers, size: int, dtype: Any) -> Any:
        """Memory of the GPU for ``size`` numbers, which from the next :meth:`refresh` on begins
        with what ``compute()`` gives."""
        nbytes = size * np.dtype(dtype).itemsize
        if self.used + nbytes > PAGE:
            self.pages.append((self.cupy.empty(PAGE, np.uint8), np.zeros(PAGE, np.uint8)))
            self.used = 0
        there, here = self.pages[-1]
        part = slice(self.used, self.used + nbytes)
        self.used += -(-nbytes // ALIGNED) * ALIGNED
        self.slots.append((here[part].view(dtype), compute))
        return there[part].view(dtype)

    def refresh(self) -> None:
        """Compute all numbers, in the order of the recording, and queue their copies on the current
        stream. These need not be waited for: CUDA takes what is in ordinary host memory at once."""
        for here, compute in self.slots:
            numbers = compute()
            here[: numbers.size] = numbers
        stream = self.cupy.cuda.get_current_stream()
        for i, (there, page) in enumerate(self.pages):
            used = self.used if i == len(self.pages) - 1 else PAGE
            there[:used].set(page[:used], stream)


class _State(threading.local):
    recording: Recording | None = None


_state = _State()


def recording() -> Recording | None:
    """Of the capture that this thread is in."""
    return _state.recording


def record(new: Recording | None) -> None:
    """Enter a capture, or leave it."""
    _state.recording = new


def refuse(what: str, instead: str) -> NoReturn:
    """CaptureError, in PyTorch's words, and what to do instead."""
    raise CaptureError(
        f"{what} while a CUDA graph is captured: operation not permitted when stream is capturing."
        f" {instead}"
    )
