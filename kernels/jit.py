"""How a loop nest becomes machine code: ``@kernel`` and ``@inline``.

A kernel is a plain function over arrays and numbers whose outer loop is a ``prange``; every output
element is written by exactly one iteration, so the bits do not depend on the number of threads.
Calling it compiles it for the argument types (kept in a per-user cache, see ``cache.py``) and runs
it on all threads; or, where arrays are too small to pay for waking the others, compiles it without
any: that is quicker to compile, and to call by a microsecond.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from . import backend

numba: Any = None
prange: Any = range
if backend.cpu_backend == "numba":
    try:
        import numba as _numba
    except ImportError as error:
        raise ImportError(
            f"Numba cannot be imported ({error}): pip install numba, or set MINITORCH_CNN_CPU=numpy"
            " to run the (slower) plain-NumPy kernels"
        ) from error
    numba, prange = _numba, _numba.prange
    if "NUMBA_THREADING_LAYER_PRIORITY" not in os.environ:
        # OpenMP wakes threads fastest, and lets several Python threads run kernels at once.
        numba.config.THREADING_LAYER_PRIORITY = ["omp", "tbb", "workqueue"]

__all__ = ["Kernel", "inline", "kernel", "numba", "prange", "short_vectors", "uint"]

# Unsigned numbers cannot be negative, and so spare the check for an index from the end that would
# keep a loop from being vectorised.
uint: Any = np.uintp

# No nnan / ninf: NaN and infinity must travel through every kernel.
FASTMATH = {"contract", "reassoc", "nsz", "arcp"}
OPTIONS: dict[str, Any] = {"nogil": True, "fastmath": FASTMATH, "error_model": "numpy"}
# Below this many elements in the largest array, waking threads costs more than it saves: 2
# microseconds on an idle machine, 50 and more on a busy one.
PARALLEL_ABOVE = 1 << 15
# A result that does not fit into the caches beside what it is made of has left them before it is
# read: writing it past them spares reading what was there. Adding arrays of 26 MB takes 2.7 instead
# of 3.6 ms. Where all fit, the cache is quicker: relu of 13 MB takes 0.25 ms, past it 0.50.
STREAM_BYTES = backend.largest_cache()

SPINS = 3000  # rounds of a thread that waits, each about 10 nanoseconds (GNU's OpenMP)


class Kernel:
    """A loop nest, its whole-array NumPy twin, and for arrays on a GPU the CUDA function beside it;
    calling it picks by where the arrays are, backend and size."""

    def __init__(
        self, fn: Callable[..., None], numpy: Callable[..., None], parallel_above: int,
        **options: Any,
    ) -> None:  # fmt: skip
        self.fn = fn
        self.numpy = numpy
        self.parallel_above = parallel_above
        self.options = options
        # The same loops for large results, written past the caches (``simd.stream``).
        self.streamed: Kernel | None = None
        functools.update_wrapper(self, fn)

    @functools.cached_property
    def compiled(self) -> Any:
        return _compile(self.fn, parallel=True, **self.options)

    @functools.cached_property
    def serial(self) -> Any:
        return _compile(self.fn, **self.options)

    def for_result(self, y: Any, *inputs: Any) -> Kernel:
        """Its streamed version if there is one, y is too large for the caches beside its inputs
        (each as large as y), and none of them lies there (whose lines have been read anyway); else
        the kernel itself."""
        if self.streamed is None or not isinstance(y, np.ndarray):
            return self
        if y.nbytes * (1 + len(inputs)) < STREAM_BYTES:
            return self
        place = y.ctypes.data
        return self if any(a.ctypes.data == place for a in inputs) else self.streamed

    def __call__(self, *args: Any) -> None:
        if not isinstance(args[0], np.ndarray):
            from .launcher import has_twin, launch_twin

            if has_twin(self.fn):
                launch_twin(self.fn, args)
            else:
                self.numpy(*args)  # CuPy has most of NumPy
        elif backend.cpu_backend == "numba" and not numba.config.DISABLE_JIT:
            self._run(args)
        else:
            plain = self.numpy if backend.cpu_backend == "numpy" else self.fn
            with np.errstate(all="ignore"):  # machine code does not warn either
                plain(*args)

    def _run(self, args: tuple[Any, ...]) -> None:
        """The machine code, with as many threads as the largest array is worth."""
        largest = 0
        for a in args:
            if isinstance(a, np.ndarray):
                if not a.flags.writeable:
                    self._run(tuple(map(_writeable, args)))
                    return
                size = a.size
                if size > largest:
                    largest = size
        if largest < self.parallel_above or _State.forked:
            self.serial(*args)
            return
        threads = backend.get_num_threads()
        if _state.threads != threads:
            with _threads_that_sleep():  # the first call loads OpenMP
                numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
            _state.threads = threads
        if _State.reentrant:
            self.compiled(*args)
        else:
            _launch_alone(self.compiled, args)


def kernel(
    numpy: Callable[..., None], parallel_above: int = PARALLEL_ABOVE,
    streams: Kernel | None = None, **options: Any,
) -> Callable[[Callable[..., None]], Kernel]:  # fmt: skip
    """``@kernel(numpy=twin)``: see :class:`Kernel`. A loop with much work per element of its arrays
    is worth several threads above a smaller ``parallel_above`` elements. ``streams``: the kernel
    whose streamed version this is. Other options are Numba's."""

    def made(fn: Callable[..., None]) -> Kernel:
        new = Kernel(fn, numpy, parallel_above, **options)
        if streams is not None:
            streams.streamed = new
        return new

    return made


def inline(fn: Callable[..., Any] | None = None, **options: Any) -> Any:
    """A helper called from kernels (a CUDA ``__device__`` function); options are Numba's."""
    if fn is None:
        return functools.partial(inline, **options)
    if numba is None:
        return fn
    return numba.njit(fn, no_cpython_wrapper=True, no_cfunc_wrapper=True, **(OPTIONS | options))


def _compile(fn: Callable[..., Any], **options: Any) -> Any:
    from .cache import KernelCache

    options = OPTIONS | options
    dispatcher = numba.njit(fn, **options)
    dispatcher._cache = KernelCache(dispatcher.py_func, options)
    return dispatcher


def _short_vectors() -> None:
    """Called inside the prange of a loop that waits for memory: 256 bits are enough for a vector.

    With AVX-512 on AMD's CPUs, a + b of arrays from main memory takes 2.4 ms in vectors of 512 bits
    and 2.0 ms in shorter ones; NumPy's and PyTorch's loops are of the latter. Does nothing itself.
    """


short_vectors: Any = _short_vectors
if numba is not None and not numba.config.DISABLE_JIT:

    @numba.extending.intrinsic
    def _compiled_short_vectors(typing: Any) -> Any:
        def write(target: Any, builder: Any, signature: Any, args: Any) -> Any:
            # llvmlite's own add() knows LLVM's attributes with a fixed meaning only.
            set.add(builder.function.attributes, '"prefer-vector-width"="256"')
            return target.get_dummy_value()

        return numba.types.none(), write

    short_vectors = _compiled_short_vectors


class _State(threading.local):
    """Numba's thread count belongs to the calling thread; setting it costs as much as a launch."""

    threads = 0
    # Shared by all threads, as class attributes:
    launched = False
    reentrant = False
    forked = False


_state = _State()


def _launch_alone(compiled: Any, args: tuple[Any, ...]) -> None:
    """Numba's fallback layer, workqueue, aborts the process if two threads launch at once."""
    with backend.parallel_lock:
        _State.launched = True
        compiled(*args)
        _State.reentrant = numba.threading_layer() != "workqueue"


@contextlib.contextmanager
def _threads_that_sleep() -> Iterator[None]:
    """Let OpenMP's threads spin for some microseconds while they wait and then sleep, unless the
    user has chosen.

    Waking one costs up to 50 microseconds, and a step of the lecture's CNN has about twenty waits.
    Spinning for milliseconds, the default, makes steps up to 50 times slower where another process
    wants a core. OpenMP reads its settings once, when it is loaded; they are taken back, so that
    what loads another OpenMP later finds what the user has set.
    """
    wishes = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": str(SPINS)}
    if any(name in os.environ for name in wishes):
        yield
        return
    os.environ.update(wishes)
    try:
        yield
    finally:
        for name in wishes:
            os.environ.pop(name, None)


def _writeable(a: Any) -> Any:
    """Numba compiles anew for read-only arrays; kernels do not write to their inputs anyway."""
    if isinstance(a, np.ndarray) and not a.flags.writeable:
        return np.asarray(_Memory(a))
    return a


class _Memory:
    def __init__(self, a: np.ndarray[Any, Any]) -> None:
        self.keep = a
        self.__array_interface__ = a.__array_interface__ | {"data": (a.ctypes.data, False)}


def _after_fork_in_child() -> None:
    # The threads stayed in the parent, and OpenMP would end a child that calls for them.
    _State.forked = _State.launched


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
