"""How a loop nest becomes machine code: ``@kernel`` and ``@inline``.

A kernel is a plain function over arrays and numbers whose outer loop is a ``prange``; every output
element is written by exactly one iteration, so the bits do not depend on the number of threads.
Calling it compiles it once per argument types (kept in a per-user cache) and runs it in parallel,
or serially when the arrays are too small to pay for waking the other threads.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from . import backend

try:
    import numba
    from numba import prange
except ImportError:
    if backend.cpu_backend == "numba":
        raise ImportError(
            "Numba cannot be imported: pip install numba, or set MINITORCH_CNN_CPU=numpy to run"
            " the (slower) plain-NumPy kernels"
        ) from None
    numba, prange = None, range

__all__ = ["Kernel", "inline", "kernel", "prange"]

# No nnan / ninf: NaN and infinity must travel through every kernel.
FASTMATH = {"contract", "reassoc", "nsz", "arcp"}
# Below this many array elements, waking threads costs more than it saves (measured: about 50 us
# of work).
PARALLEL_ABOVE = 1 << 14


def cache_directory() -> Path | None:
    """Where compiled kernels are kept, or None if no directory is writable."""
    chosen = os.environ.get("MINITORCH_CNN_CACHE") or os.environ.get("NUMBA_CACHE_DIR")
    if chosen:
        directory = Path(chosen)
    else:
        import platformdirs

        directory = Path(platformdirs.user_cache_dir("minitorch_cnn"))
    directory = directory / f"numba-{numba.__version__}"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = directory / f".writable-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError:
        return None
    return directory


@contextlib.contextmanager
def _cache_in(directory: Path | None) -> Iterator[None]:
    """Numba reads its cache directory from a global: set it for our kernels only."""
    previous = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(directory)
    try:
        yield
    finally:
        numba.config.CACHE_DIR = previous


def _compile(fn: Callable[..., Any], **options: Any) -> Any:
    options = {"nogil": True, "fastmath": FASTMATH, "error_model": "numpy", **options}
    directory = cache_directory()
    if directory is not None:
        with contextlib.suppress(RuntimeError), _cache_in(directory):
            return numba.njit(fn, cache=True, **options)
    return numba.njit(fn, **options)


def inline(fn: Callable[..., Any] | None = None, **options: Any) -> Any:
    """A helper called from kernels (a CUDA ``__device__`` function); options are Numba's."""
    if fn is None:
        return lambda f: inline(f, **options)
    return fn if numba is None else _compile(fn, **options)


class Kernel:
    """A loop nest and its whole-array NumPy twin; calling it picks by backend and size."""

    def __init__(self, fn: Callable[..., None], numpy: Callable[..., None] | None) -> None:
        self.fn = fn
        self.numpy = numpy
        functools.update_wrapper(self, fn)

    @functools.cached_property
    def serial(self) -> Any:
        return _compile(self.fn)

    @functools.cached_property
    def parallel(self) -> Any:
        return _compile(self.fn, parallel=True)

    def __call__(self, *args: Any) -> None:
        if backend.cpu_backend == "numpy" and self.numpy is not None:
            self.numpy(*args)
        elif numba is None:
            self.fn(*args)
        elif (
            backend.get_num_threads() == 1
            or max((a.size for a in args if isinstance(a, np.ndarray)), default=0) < PARALLEL_ABOVE
        ):
            _run(self, "serial", args)
        else:
            with _threads():
                _run(self, "parallel", args)


def kernel(numpy: Callable[..., None] | None = None) -> Callable[[Callable[..., None]], Kernel]:
    """``@kernel(numpy=twin)``: see :class:`Kernel`."""
    return lambda fn: Kernel(fn, numpy)


def _run(k: Kernel, which: str, args: tuple[Any, ...]) -> None:
    try:
        getattr(k, which)(*args)
    except OSError:
        # Numba compiled, and could not store the result (full disk, cache removed meanwhile).
        compiled = numba.njit(
            k.fn, nogil=True, fastmath=FASTMATH, error_model="numpy", parallel=which == "parallel"
        )
        setattr(k, which, compiled)
        compiled(*args)


@contextlib.contextmanager
def _threads() -> Iterator[None]:
    """Numba's thread count is per calling thread; its workqueue layer allows one launch at a time."""
    numba.set_num_threads(min(backend.get_num_threads(), numba.config.NUMBA_NUM_THREADS))
    with contextlib.ExitStack() as stack:
        if not _layer_is_reentrant():
            stack.enter_context(backend.parallel_lock)
        yield


@functools.cache
def _known_layer() -> str:
    return str(numba.threading_layer())


def _layer_is_reentrant() -> bool:
    try:
        return _known_layer() != "workqueue"
    except ValueError:  # not chosen before the first parallel launch
        return False


class _Announce:
    """Say what is being compiled when the user has waited longer than a second for it."""

    def __init__(self) -> None:
        self.timers: list[threading.Timer] = []

    def on_start(self, event: Any) -> None:
        name = getattr(event.data["dispatcher"], "__name__", "a kernel")
        timer = threading.Timer(
            1.0, lambda: print(f"compiling {name} (once; cached afterwards) ...", file=sys.stderr)
        )
        timer.daemon = True
        self.timers.append(timer)
        timer.start()

    def on_end(self, event: Any) -> None:
        if self.timers:
            self.timers.pop().cancel()

    def notify(self, event: Any) -> None:
        (self.on_start if event.is_start else self.on_end)(event)


if numba is not None and not numba.config.DISABLE_JIT:
    from numba.core import event as _event

    _event.Listener.register(_Announce)
    _event.register("numba:compile", _Announce())
