"""Which array module an array belongs to, how memory is asked for, and how many threads work.

The seam for two backends: this file and ``jit.py`` (how a loop nest becomes machine code) are all
that a GPU has to change.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import platform
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np

from . import memory, replay

Array: TypeAlias = Any

cpu_backend: str = os.environ.get("MINITORCH_CNN_CPU", "numba").lower()
if cpu_backend not in ("numba", "numpy"):
    raise ValueError(f"MINITORCH_CNN_CPU={cpu_backend!r}: choose numba (default) or numpy")

# Not a plain global: constants of a module are part of what compiled kernels are found by.
_chosen: dict[str, int] = {}
parallel_lock = threading.Lock()

# Elements. A pass over this many takes about 30 microseconds, and so does waking a thread.
LARGE = 1 << 17
SURELY_THERE = 1 << 23  # elements: no machine is too small for 64 MB
SMALL = memory.SMALLEST // 16  # elements, of 16 bytes at most: the pool is for larger arrays
HOST = (np.ndarray, np.generic)  # what lives in the CPU's memory; the rest is CuPy's


class OutOfMemoryError(MemoryError, RuntimeError):
    """More memory than this machine has was asked for (PyTorch's answer is a RuntimeError)."""


def array_module(x: Array) -> ModuleType:
    """numpy or cupy: the module that ``x`` is an array of."""
    if isinstance(x, HOST):
        return np
    return sys.modules[type(x).__module__.partition(".")[0]]


def host(x: Array) -> Array:
    """The numbers of an array in host memory: itself if it is there, else a copy (which waits)."""
    if isinstance(x, HOST):
        return x
    if replay.recording():
        replay.refuse("an array was copied to the CPU (.item(), .cpu(), an op that runs there)",
                      "Read the results after the launch.")  # fmt: skip
    return x.get()


def place(x: Array, like: Array) -> Array:
    """``x`` where ``like`` lives: itself if it is there, else a copy."""
    if isinstance(like, HOST):
        return host(x)
    if not isinstance(x, HOST):
        return x
    refuse_copies()
    return array_module(like).asarray(x)


def constant(x: Array, like: Array) -> Array:
    """:func:`place` of what is only read: small arrays are copied once, and shared."""
    if isinstance(like, HOST) or not isinstance(x, HOST) or x.nbytes > REMEMBERED:
        return place(x, like)
    cupy = array_module(like)
    there = _remembered(cupy, int(like.device.id), x.tobytes(), x.dtype, x.shape)
    if recording := replay.recording():
        recording.kept.append(there)  # a graph uses it where it is, however long that is remembered
    return there


REMEMBERED = 1 << 12  # bytes: the ranges of pooling windows, a layer's padding, ...


@functools.lru_cache(1024)
def _remembered(
    cupy: ModuleType, device: int, data: bytes, dtype: np.dtype[Any], shape: tuple[int, ...]
) -> Array:
    refuse_copies()
    return cupy.asarray(np.frombuffer(data, dtype).reshape(shape))


def refuse_copies() -> None:
    """RuntimeError in a capture: a graph would copy from memory that is long used for others."""
    if replay.recording():
        replay.refuse("numbers were copied from the CPU to the GPU",
                      "Move tensors there, and run the step once, before the capture.")  # fmt: skip


def host_numbers(compute: replay.Numbers, size: int, dtype: Any, like: Array) -> Array:
    """What ``compute()`` gives, up to ``size`` numbers, where ``like`` lives.

    A captured graph asks for them before each launch, in the order of the capture, not during it.
    """
    if recording := replay.recording():
        return recording.slot(compute, size, dtype)
    return constant(compute(), like)


def on_host(fn: Callable[..., Array], *arrays: Array) -> Array:
    """``fn(*arrays)`` computed on the CPU, its result where the first array lives.

    For what CuPy has no function for, or one whose sums come out in another order each time.
    """
    return place(fn(*map(host, arrays)), arrays[0])


def empty(shape: tuple[int, ...], like: Array, dtype: Any = None, op: str = "") -> Array:
    """An uninitialised C-contiguous array where ``like`` lives, of its dtype unless told.

    Raises OutOfMemoryError, naming ``op`` and the shape, for more than the machine's memory: Linux
    would grant it, and end the process once it is written to.
    """
    dtype = like.dtype if dtype is None else np.dtype(dtype)
    if not isinstance(like, HOST):
        return _on_gpu(array_module(like).empty, shape, dtype)
    n = math.prod(shape)
    if n < SMALL:
        return np.empty(shape, dtype)
    if n > SURELY_THERE:
        check_memory(shape, dtype, op)
    return memory.empty(shape, dtype)


def _on_gpu(make: Callable[..., Array], *args: Any) -> Array:
    try:
        return make(*args)
    except MemoryError as error:  # CuPy's own, of no use to who catches ours
        raise OutOfMemoryError(f"CUDA out of memory. {error}") from error


def check_memory(shape: Sequence[int], dtype: Any, op: str = "") -> None:
    """Raise OutOfMemoryError if an array of this shape can never fit into memory."""
    nbytes = math.prod(shape) * np.dtype(dtype).itemsize
    if nbytes > 1 << 26 and nbytes > memory_limit():
        raise OutOfMemoryError(
            f"{op + '(): ' if op else ''}can't allocate memory: an array of shape {list(shape)}"
            f" ({np.dtype(dtype)}) takes {nbytes / 2**30:,.1f} GiB, this machine has"
            f" {memory_limit() / 2**30:,.1f} GiB"
        )


@functools.cache
def memory_limit() -> int:
    """Bytes that this process can ever have: physical memory, or its container's share of it."""
    limits = [sys.maxsize]
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for name in ("memory.max", "memory/memory.limit_in_bytes"):  # cgroups, version 2 and 1
        try:
            text = (Path("/sys/fs/cgroup") / name).read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            limits.append(int(text))
    return min(limits)


def own_matmul(choice: bool | None = None) -> bool:
    """Whether products of matrices on a GPU are gemm.cu's instead of cuBLAS's; a choice sets it."""
    if choice is not None:
        _chosen["own_matmul"] = int(choice)
    return bool(_chosen.get("own_matmul"))


def contiguous(x: Array) -> Array:
    """``x`` itself if C-contiguous and aligned, else a copy: kernels see plain memory only."""
    flags = x.flags
    if flags.c_contiguous and (not isinstance(x, np.ndarray) or flags.aligned):
        return x
    return copy(x)


def copy(x: Array) -> Array:
    """A C-contiguous copy, on the CPU in memory of the pool."""
    if not isinstance(x, np.ndarray) or x.dtype.hasobject:
        return x.copy(order="C")
    if x.size >= LARGE:
        from . import large

        y = large.copy(x)
        if y is not None:
            return y
    y = empty(x.shape, x)
    y[...] = x
    return y


def available_cores() -> int:
    """Cores that this process may run on."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        return os.cpu_count() or 1


@functools.cache
def largest_cache() -> int:
    """Bytes of the last cache before main memory, as Linux tells; elsewhere a usual size."""
    sizes = [32 << 20]
    with contextlib.suppress(OSError, ValueError):
        found = Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")
        sizes = [int(path.read_text().strip().removesuffix("K")) << 10 for path in found] or sizes
    return max(sizes)


@functools.cache
def processor() -> str:
    """What the operating system calls this machine's processor."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def get_num_threads() -> int:
    """Threads that a kernel may use: the cores there are, or ``OMP_NUM_THREADS``, unless set."""
    return _chosen.get("threads") or _default_threads()


@functools.cache
def _default_threads() -> int:
    """As with OpenMP, what the environment says when the first kernel runs."""
    wish = os.environ.get("OMP_NUM_THREADS", "")
    return int(wish) if wish.isdigit() and int(wish) > 0 else available_cores()


def set_num_threads(n: int) -> None:
    """Let kernels use ``n`` threads (in effect at most the cores there are).

    Results do not depend on it: every kernel gives the same bits at any number of threads.
    """
    if not isinstance(n, int):
        raise RuntimeError(f"set_num_threads expects an int, but got {type(n).__name__}")
    if n < 1:
        raise RuntimeError(f"set_num_threads expects a positive integer, got {n!r}")
    _chosen["threads"] = n
