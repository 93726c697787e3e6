"""``torch.cuda``: whether a GPU can be used, and if not, why, in one sentence.

A GPU is reached through CuPy and the kernels in ``kernels/*.cu``; neither is imported before
somebody asks for it. Without a GPU the questions are answered as by a CPU-only PyTorch, and what
needs one raises AssertionError, as there.
"""

from __future__ import annotations

import collections
import ctypes
import functools
import importlib.util
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from . import graphs, kernels
from .device import device as Device
from .kernels.backend import OutOfMemoryError, refuse_copies
from .tensor import Array

CUDAGraph, graph, graph_step = graphs.CUDAGraph, graphs.graph, graphs.graph_step
is_current_stream_capturing = graphs.is_current_stream_capturing
graph_pool_handle = graphs.graph_pool_handle

_MINIMUM_CUDA = 12000  # as cuDriverGetVersion counts: CUDA 12.0


@functools.cache
def why_unavailable() -> str | None:
    """One sentence that says what is missing and what mends it; None if a GPU can be used."""
    try:
        return _no_kernels() or _no_driver() or _no_cupy()
    except Exception as error:  # noqa: BLE001 (a broken GPU set-up fails in ways of its own)
        return f"looking for a GPU failed: {type(error).__name__}: {error}"


def _no_kernels() -> str | None:
    if any(any(Path(folder).glob("*.cu")) for folder in kernels.__path__):
        return None
    return "this version has no CUDA kernels yet, so it computes on the CPU"


def _no_driver() -> str | None:
    driver = _driver()
    if driver is None:
        return "no NVIDIA driver was found: install one (580 or later runs CUDA 13) and restart"
    code = driver.cuInit(0)
    if code != 0:
        return f"the NVIDIA driver found no usable GPU (cuInit gave error {code}): see nvidia-smi"
    version = _driver_version(driver)
    if version < _MINIMUM_CUDA:
        return (
            f"the NVIDIA driver is too old: it runs CUDA {version // 1000}.{version % 1000 // 10},"
            " and CUDA 12 is needed: install driver 525 or later"
        )
    return None


def _no_cupy() -> str | None:
    extra = "cuda13" if _driver_version(_driver()) >= 13000 else "cuda12"
    install = f"pip install 'minitorch-cnn[{extra}]'"
    if importlib.util.find_spec("cupy") is None:
        return f"CuPy is not installed: {install}"
    try:
        if int((_cupy().arange(3) ** 2).sum()) != 5:
            return f"CuPy gives wrong results on this GPU: reinstall it with {install}"
    except Exception as error:  # noqa: BLE001 (missing NVRTC, wrong wheel, no memory, ...)
        reason = str(error).strip().partition("\n")[0]
        return f"CuPy is installed but cannot compute ({reason}): {install}"
    return None


def _driver() -> Any:
    """The driver's library, or None."""
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        return ctypes.CDLL(name)
    except OSError:
        return None


def _driver_version(driver: Any) -> int:
    version = ctypes.c_int(0)
    driver.cuDriverGetVersion(ctypes.byref(version))
    return version.value


def _cupy() -> ModuleType:
    return importlib.import_module("cupy")


def _gpu(device: Any = None) -> tuple[ModuleType, int]:
    """CuPy and the index of a device; AssertionError if there is no GPU."""
    why = why_unavailable()
    if why is not None:
        raise AssertionError(f"CUDA is not available: {why}")
    cupy = _cupy()
    _peaks.watch(cupy)
    if device is None:
        return cupy, int(cupy.cuda.runtime.getDevice())
    chosen = Device(device)
    if chosen.type != "cuda":
        raise ValueError(f"Expected a cuda device, but got: {chosen}")
    return cupy, chosen.index or 0


def is_available() -> bool:
    """Whether tensors can live and compute on a GPU. Never raises; see :func:`why_unavailable`."""
    return why_unavailable() is None


def is_initialized() -> bool:
    """Whether a GPU is in use: it is from the first question on, if there is one."""
    return is_available()


def init() -> None:
    """Nothing to do where there is a GPU; AssertionError where there is none."""
    _gpu()


def device_count() -> int:
    """GPUs that can be used; 0 without any."""
    return int(_cupy().cuda.runtime.getDeviceCount()) if is_available() else 0


def current_device() -> int:
    """The index of the GPU that new arrays go to."""
    return _gpu()[1]


def set_device(device: Any) -> None:
    """Make a GPU the current one."""
    cupy, index = _gpu(device)
    cupy.cuda.runtime.setDevice(index)


def get_device_name(device: Any = None) -> str:
    """What the driver calls the GPU."""
    cupy, index = _gpu(device)
    name = cupy.cuda.runtime.getDeviceProperties(index)["name"]
    return name.decode() if isinstance(name, bytes) else str(name)


def get_device_capability(device: Any = None) -> tuple[int, int]:
    """(major, minor) compute capability."""
    cupy, index = _gpu(device)
    properties = cupy.cuda.runtime.getDeviceProperties(index)
    return int(properties["major"]), int(properties["minor"])


def synchronize(device: Any = None) -> None:
    """Wait until the GPU has done everything it was asked to."""
    cupy, index = _gpu(device)
    cupy.cuda.Device(index).synchronize()


def memory_allocated(device: Any = None) -> int:
    """Bytes of GPU memory in use by arrays; 0 without a GPU."""
    if not is_available():
        return 0
    cupy, index = _gpu(device)
    with cupy.cuda.Device(index):
        return int(cupy.get_default_memory_pool().used_bytes())


def max_memory_allocated(device: Any = None) -> int:
    """The most bytes that were in use at once since the start or :func:`reset_peak_memory_stats`,
    as far as this thread asked for them."""
    if not is_available():
        return 0
    now, index = memory_allocated(device), _gpu(device)[1]
    _peaks.most[index] = max(_peaks.most.get(index, 0), now)
    return _peaks.most[index]


def reset_peak_memory_stats(device: Any = None) -> None:
    """Let :func:`max_memory_allocated` start from what is in use now."""
    _, index = _gpu(device)
    _peaks.used[index] = _peaks.most[index] = memory_allocated(device)


class _Peaks:
    """CuPy's pool keeps no record of its peak; a hook that it calls does. By device."""

    def __init__(self) -> None:
        self.used: dict[int, int] = {}
        self.most: dict[int, int] = {}
        self.watched = threading.local()

    def watch(self, cupy: ModuleType) -> None:
        """Hooks are a thread's own."""
        if getattr(self.watched, "hook", None) is None:
            self.watched.hook = self.hook(cupy)
            self.watched.hook.__enter__()

    def hook(self, cupy: ModuleType) -> Any:
        peaks = self

        class Hook(cupy.cuda.MemoryHook):  # type: ignore[misc, name-defined]
            name = "minitorch_cnn"

            def malloc_postprocess(self, **event: Any) -> None:
                device = event["device_id"]
                peaks.used[device] = peaks.used.get(device, 0) + event["mem_size"]
                peaks.most[device] = max(peaks.most.get(device, 0), peaks.used[device])

            def free_postprocess(self, **event: Any) -> None:
                device = event["device_id"]
                peaks.used[device] = max(0, peaks.used.get(device, 0) - event["mem_size"])

        return Hook()


_peaks = _Peaks()


def memory_reserved(device: Any = None) -> int:
    """Bytes of GPU memory held by the pool, used or not; 0 without a GPU."""
    if not is_available():
        return 0
    cupy, index = _gpu(device)
    with cupy.cuda.Device(index):
        return int(cupy.get_default_memory_pool().total_bytes())


def mem_get_info(device: Any = None) -> tuple[int, int]:
    """(free, total) bytes of GPU memory."""
    cupy, index = _gpu(device)
    with cupy.cuda.Device(index):
        free, total = cupy.cuda.runtime.memGetInfo()
    return int(free), int(total)


def empty_cache() -> None:
    """Give unused GPU memory back to the driver; nothing to do without a GPU."""
    if is_available():
        _cupy().get_default_memory_pool().free_all_blocks()


def manual_seed(seed: int) -> None:
    """Nothing to do: random numbers are drawn on the CPU, from ``torch.manual_seed``'s stream."""


def manual_seed_all(seed: int) -> None:
    """Nothing to do, as for :func:`manual_seed`."""


def is_bf16_supported(including_emulation: bool = False) -> bool:
    """Whether the current GPU's tensor cores multiply bfloat16: from compute capability 8.0 on.

    Older ones compute it in float32, and win nothing but memory: ``including_emulation`` counts
    them too (PyTorch's default). Without a GPU, False.
    """
    return is_available() and (including_emulation or get_device_capability()[0] >= 8)


class device:
    """``with cuda.device(1):`` another current GPU; None and -1 change nothing."""

    def __init__(self, device: Any) -> None:
        self.index = -1 if device in (None, -1) else _gpu(device)[1]

    def __enter__(self) -> None:
        if self.index >= 0:
            self.before = current_device()
            set_device(self.index)

    def __exit__(self, *error: object) -> None:
        if self.index >= 0:
            set_device(self.before)


def move(array: Array, target: Device) -> Array:
    """An array on the GPU ``target``; what ``.to("cuda")`` does.

    From pinned memory the copy is only queued; that memory is kept until it is done.
    """
    cupy, index = _gpu(target if target.index is not None else None)
    if isinstance(array, np.ndarray):
        refuse_copies()
    with cupy.cuda.Device(index):
        if isinstance(array, np.ndarray) and is_pinned(array) and array.flags.c_contiguous:
            stream = cupy.cuda.get_current_stream()
            there = cupy.empty(array.shape, array.dtype)
            there.set(array, stream)
            _copies.keep(array, stream.record())
            return there
        return cupy.asarray(array)


class _Copies:
    """Pinned memory that is being copied from: not to be used again before."""

    def __init__(self) -> None:
        self.running: collections.deque[tuple[Array, Any]] = collections.deque()

    def keep(self, array: Array, event: Any) -> None:
        self.running.append((array, event))
        while self.running and self.running[0][1].done:
            self.running.popleft()


_copies = _Copies()


def make(how: str, shape: tuple[int, ...], dtype: Any, target: Device) -> Array:
    """``zeros``, ``ones`` or ``empty`` (by name) on a GPU; OutOfMemoryError if it has no room."""
    cupy, index = _gpu(target if target.index is not None else None)
    with cupy.cuda.Device(index):
        try:
            return getattr(cupy, how)(shape, dtype)
        except MemoryError as error:
            raise OutOfMemoryError(f"CUDA out of memory. {error}") from error


def pin(array: Array) -> Array:
    """A copy of a host array in memory that a GPU can read while the CPU goes on."""
    _gpu()
    pinned = importlib.import_module("cupyx").empty_pinned(array.shape, array.dtype)
    pinned[...] = array
    return pinned


def is_pinned(array: Array) -> bool:
    """Whether a host array lies in pinned memory."""
    while array is not None:
        if type(array).__name__ == "PinnedMemoryPointer":
            return True
        array = getattr(array, "base", None)
    return False


_MISSING = {
    "Stream": "work is queued on CuPy's current stream",
    "Event": "time with time.perf_counter() around torch.cuda.synchronize()",
    "stream": "work is queued on CuPy's current stream",
    "amp": "write torch.amp.autocast('cuda') and torch.amp.GradScaler('cuda')",
    "max_memory_reserved": "CuPy's memory pool keeps no record of its peak",
}


def __getattr__(name: str) -> Any:
    if name == "make_graphed_callables":  # it needs modules, which need this
        from .graphed_callables import make_graphed_callables

        return make_graphed_callables
    why = f": {_MISSING[name]}" if name in _MISSING else ""
    raise AttributeError(f"minitorch_cnn.cuda has no {name!r}{why}")
