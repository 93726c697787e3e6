"""Two devices, their memory pools, streams and pinned memory: ``cupy.cuda`` of the stand-in.

Work is done at once, with one exception: a copy from the host on a stream that is not the default
one waits until somebody waits for the stream, as it may on a GPU. Who uses the array before gets an
error instead of old numbers.
"""

from __future__ import annotations

import contextlib
import itertools
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np

DEVICES = 2
MEMORY = 1 << 30  # bytes of each
UNIT = 512  # what CuPy's pool rounds to
_numbers = itertools.count(1)


class CUDARuntimeError(RuntimeError):
    pass


class OutOfMemoryError(MemoryError):
    pass


class _State(threading.local):
    def __init__(self) -> None:
        self.device = 0
        self.streams: dict[int, Stream] = {}
        self.hooks: dict[str, MemoryHook] = {}
        self.allocator: Callable[[int], Any] | None = None


state = _State()


class Device:
    def __init__(self, device: Any = None) -> None:
        self.id = state.device if device is None else int(device)
        if not 0 <= self.id < DEVICES:
            raise CUDARuntimeError("cudaErrorInvalidDevice: invalid device ordinal")
        self._before: list[int] = []

    def __int__(self) -> int:
        return self.id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"<CUDA Device {self.id}>"

    def __enter__(self) -> Device:
        self._before.append(state.device)
        state.device = self.id
        return self

    def __exit__(self, *args: object) -> None:
        state.device = self._before.pop()

    def use(self) -> None:
        state.device = self.id

    def synchronize(self) -> None:
        for stream in Stream.all:
            stream.synchronize()

    @property
    def compute_capability(self) -> str:
        return "90"

    @property
    def mem_info(self) -> tuple[int, int]:
        return MEMORY - pool.total(self.id), MEMORY


class Event:
    def __init__(
        self, block: bool = False, disable_timing: bool = False, interprocess: bool = False
    ) -> None:
        self.waiting: list[Any] = []

    def record(self, stream: Any = None) -> None:
        self.waiting = list((stream or get_current_stream()).waiting)

    @property
    def done(self) -> bool:
        return all(copy.done for copy in self.waiting)

    def synchronize(self) -> None:
        for copy in self.waiting:
            copy.run()


class Stream:
    all: ClassVar[list[Stream]] = []
    null: Stream

    def __init__(
        self, null: bool = False, non_blocking: bool = False, ptds: bool = False, priority: Any = 0
    ) -> None:
        self.is_non_blocking = non_blocking
        self.waiting: list[Any] = []  # copies from the host that have not run
        self.recording: Graph | None = None
        self._before: list[Any] = []
        Stream.all.append(self)

    def use(self) -> Stream:
        state.streams[state.device] = self
        return self

    def __enter__(self) -> Stream:
        self._before.append(state.streams.get(state.device, Stream.null))
        return self.use()

    def __exit__(self, *args: object) -> None:
        state.streams[state.device] = self._before.pop()

    @property
    def done(self) -> bool:
        return not self.waiting

    def synchronize(self) -> None:
        if self.recording is not None:
            self.recording.invalid = True
            raise CUDARuntimeError(
                "cudaErrorStreamCaptureUnsupported: operation not permitted when stream is"
                " capturing"
            )
        for copy in self.waiting:
            copy.run()
        self.waiting = []

    def record(self, event: Any = None) -> Event:
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        event.synchronize()

    def is_capturing(self) -> bool:
        return self.recording is not None

    def begin_capture(self, mode: Any = None) -> None:
        if not self.is_non_blocking:  # one that waits for the legacy stream ends in errors there
            raise CUDARuntimeError("cudaErrorStreamCaptureUnsupported: not a non-blocking stream")
        self.synchronize()
        self.recording = Graph()

    def end_capture(self) -> Graph:
        assert self.recording is not None
        graph, self.recording = self.recording, None
        if graph.invalid:
            raise CUDARuntimeError(
                "cudaErrorStreamCaptureInvalidated: operation failed due to a previous error during"
                " capture"
            )
        return graph


class Graph:
    """What was queued while a stream captured: launched as often as wanted, on the same memory.

    Memory of before the capture must still be there at each launch. What the capture allocated
    stays, in whatever pool: a pool that others take from would hand it out again.
    """

    def __init__(self) -> None:
        self.invalid = False
        self._works: list[Callable[[], None]] = []
        self._own: list[Any] = []  # memory allocated in the capture
        self._used: dict[int, weakref.ref[Block]] = {}

    def _add(self, work: Callable[[], None], blocks: Iterable[Block]) -> None:
        for block in blocks:
            self._used[block.id] = weakref.ref(block)
        self._works.append(work)

    def launch(self, stream: Any = None) -> None:
        stream = stream or get_current_stream()
        for copy in stream.waiting:  # they come first on it
            copy.run()
        stream.waiting = []
        if any(block() is None for block in self._used.values()):
            raise AssertionError("a graph uses memory that was freed after its capture")
        for work in self._works:
            work()

    def upload(self, stream: Any = None) -> None:
        pass


def queue(work: Callable[[], None], blocks: Iterable[Block] = ()) -> None:
    """Do something on the current stream, with arrays in ``blocks`` of memory. A captured stream
    only writes it down."""
    recording = get_current_stream().recording
    if recording is not None:
        recording._add(work, blocks)
    else:
        work()


def no_synchronizing() -> None:
    """What a copy to the host raises in a capture, which it spoils."""
    stream = get_current_stream()
    if stream.recording is not None:
        stream.synchronize()


def no_copies_from_the_host() -> None:
    """A captured copy reads that host memory again at each launch, whatever it holds by then."""
    if get_current_stream().recording is not None:
        raise AssertionError("a copy from the host was captured")


def no_libraries() -> None:
    """CuPy hands nothing to cuBLAS and its like in a capture."""
    if get_current_stream().recording is not None:
        raise NotImplementedError(
            "calling cuBLAS API during stream capture is currently unsupported"
        )


def get_current_stream(device_id: Any = None) -> Stream:
    return state.streams.get(state.device if device_id is None else device_id, Stream.null)


Stream.null = Stream(null=True)


class MemoryHook:
    name = "MemoryHook"

    def __enter__(self) -> MemoryHook:
        if self.name in state.hooks:
            raise KeyError(f"memory hook {self.name} already exists")
        state.hooks[self.name] = self
        return self

    def __exit__(self, *_: object) -> None:
        del state.hooks[self.name]

    def alloc_preprocess(self, **kwargs: Any) -> None: ...
    def alloc_postprocess(self, **kwargs: Any) -> None: ...
    def malloc_preprocess(self, **kwargs: Any) -> None: ...
    def malloc_postprocess(self, **kwargs: Any) -> None: ...
    def free_preprocess(self, **kwargs: Any) -> None: ...
    def free_postprocess(self, **kwargs: Any) -> None: ...


class Block:
    """A piece of a device's memory: counted until the last array on it is gone."""

    def __init__(self, nbytes: int, start: int = 0) -> None:
        self.device = state.device
        self.size = -(-nbytes // UNIT) * UNIT
        self.pool = getattr(state.allocator, "__self__", pool)
        if self.pool is pool and get_current_stream().recording is not None:
            raise AssertionError(
                "a capture took memory of the default pool: others will, once it is free, and the"
                " graph will write there"
            )
        self.pool.take(self.device, self.size)
        self.id = next(_numbers)
        self.span = range(start, start + nbytes)
        live[self.id] = self
        for hook in list(state.hooks.values()):
            hook.malloc_postprocess(
                device_id=self.device, size=nbytes, mem_size=self.size, mem_ptr=self.id, pmem_id=0
            )

    def __del__(self, is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        if is_finalizing() or pool is None or not hasattr(self, "id"):
            return
        self.pool.give_back(self.device, self.size)
        for hook in list(state.hooks.values()):
            hook.free_postprocess(
                device_id=self.device, mem_size=self.size, mem_ptr=self.id, pmem_id=0
            )


class MemoryPool:
    def __init__(self, allocator: Any = None) -> None:
        self._used = [0] * DEVICES
        self._kept = [0] * DEVICES
        self._limit = MEMORY

    def take(self, device: int, size: int) -> None:
        if self._used[device] + size > self._limit:
            raise OutOfMemoryError(
                f"Out of memory allocating {size:,} bytes (allocated so far:"
                f" {self._used[device]:,} bytes)."
            )
        self._used[device] += size
        self._kept[device] = max(0, self._kept[device] - size)

    def give_back(self, device: int, size: int) -> None:
        self._used[device] -= size
        self._kept[device] += size

    def total(self, device: int) -> int:
        return self._used[device] + self._kept[device]

    def used_bytes(self) -> int:
        return self._used[state.device]

    def total_bytes(self) -> int:
        return self.total(state.device)

    def free_bytes(self) -> int:
        return self._kept[state.device]

    def free_all_blocks(self, stream: Any = None) -> None:
        no_synchronizing()
        self._kept[state.device] = 0

    def set_limit(self, size: Any = None, fraction: Any = None) -> None:
        self._limit = MEMORY if size is None else size

    def get_limit(self) -> int:
        return self._limit

    def malloc(self, size: int) -> Any:
        return Block(size)


pool = MemoryPool()
live: weakref.WeakValueDictionary[int, Block] = weakref.WeakValueDictionary()


def blocks_at(addresses: Iterable[int]) -> list[Block]:
    """The memory that pointers point into."""
    wanted = [a for a in addresses if a]
    return [b for b in list(live.values()) if any(a in b.span for a in wanted)]


def get_allocator() -> Callable[[int], Any]:
    return state.allocator or pool.malloc


def set_allocator(allocator: Any = None) -> None:
    state.allocator = allocator


@contextlib.contextmanager
def using_allocator(allocator: Any = None) -> Iterator[None]:
    before, state.allocator = state.allocator, allocator
    try:
        yield
    finally:
        state.allocator = before


class PinnedMemoryPointer(bytearray):
    """Host memory that a GPU can read by itself; arrays are made over it."""

    def size(self) -> int:
        return len(self)


def alloc_pinned_memory(size: int) -> PinnedMemoryPointer:
    return PinnedMemoryPointer(size)


def empty_pinned(shape: Any, dtype: Any = float, order: Any = "C") -> Any:
    nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.ndarray(shape, dtype, alloc_pinned_memory(max(nbytes, 1)), order=order)


def is_pinned(array: Any) -> bool:
    while array is not None:
        if isinstance(array, PinnedMemoryPointer):
            return True
        array = getattr(array, "base", None)
    return False


def _set_device(device: int) -> None:
    Device(device).use()


def _properties(device: int) -> dict[str, Any]:
    return {
        "name": b"CUDA emulator",
        "major": 9,
        "minor": 0,
        # Few, so that loops over the grid go round more than once on small arrays too.
        "multiProcessorCount": 2,
        "totalGlobalMem": MEMORY,
    }


runtime = SimpleNamespace(
    CUDARuntimeError=CUDARuntimeError,
    getDevice=lambda: state.device,
    setDevice=_set_device,
    getDeviceCount=lambda: DEVICES,
    getDeviceProperties=_properties,
    memGetInfo=lambda: Device().mem_info,
    deviceSynchronize=lambda: Device().synchronize(),
    driverGetVersion=lambda: 12080,
    runtimeGetVersion=lambda: 12080,
)
driver = SimpleNamespace(
    occupancyMaxActiveBlocksPerMultiprocessor=lambda func, blockSize, dynamicSMemSize: 2
)
