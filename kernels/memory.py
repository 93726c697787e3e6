"""Memory for results: taken from segments that the process keeps, and given back to them.

A training step asks for the same sizes again and again. Fresh memory comes as pages that the system
clears one by one when they are first touched (about 0.25 microseconds per 4 KiB, as long as a
kernel takes to compute on them); memory that was used before has its pages already.

So the pool asks the system for *segments*, each as large as all before it together, and cuts arrays
out of them. An array takes the smallest free block that holds it (*best fit*; among equals the one
with the lowest address), and leaves the rest of it free. When the array is gone, its block is
joined to the free ones on either side. After the first step of training, the next steps fit into
what is there. Most of a segment may never be touched, and then costs addresses, not memory.

Before the pool asks for another segment, the pages of what is free go back to the system;
``release`` gives them back at any time. ``MINITORCH_CNN_POOL=0`` switches the pool off.
"""

from __future__ import annotations

import contextlib
import math
import mmap
import os
import threading
from bisect import bisect_left, bisect_right, insort
from typing import Any

import numpy as np

SMALLEST = 1 << 18  # bytes; what is below, the C library reuses by itself
# A page. NumPy's large arrays begin 16 bytes behind the start of one. With a result a little
# further behind, CPUs, which compare the lower 12 bits of addresses, take a load for one of what
# was just stored, and wait: relu of 26 MB took 2.8 ms instead of 1.2.
ALIGNMENT = 4096
FIRST_SEGMENT = 1 << 26
# Linux can back memory with pages of 2 MiB: fewer of them to clear, and to find addresses in.
LARGE_PAGE = 1 << 21
_BYTE = np.dtype(np.uint8)
_PRIVATE = (
    {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_ANONYMOUS") else {}
)


class Segment(mmap.mmap):
    """Memory of the system's; a forked child has its own copy."""

    address: int

    @classmethod
    def of(cls, nbytes: int) -> Segment:
        """A new one. MemoryError if the system has no room for it."""
        try:
            made = cls(-1, nbytes, **_PRIVATE)
        except (OSError, OverflowError, ValueError) as error:
            raise MemoryError(f"no memory for {nbytes:,} bytes: {error}") from error
        made.address = np.frombuffer(made, np.uint8).ctypes.data
        made._advise("MADV_HUGEPAGE", 0, nbytes)
        return made

    def give_back(self, start: int, end: int) -> None:
        """Let go of the whole pages between two addresses; what is next written there is new."""
        self._advise("MADV_DONTNEED", start - self.address, end - start)

    def _advise(self, what: str, start: int, nbytes: int) -> None:
        # Only Linux's takes effect at once; a system that does not know it loses nothing else.
        if nbytes > 0 and hasattr(mmap, what):
            with contextlib.suppress(OSError):
                self.madvise(getattr(mmap, what), start, nbytes)


class Block(np.ndarray):
    """The bytes of one array, which is their only owner: with the array gone, they are free."""

    # Nobody but the one array whose base this is can see its memory.
    exclusive = True
    pool: Pool | None = None
    start: int

    def __del__(self) -> None:
        if self.pool is not None:  # a view of this one gives nothing back
            self.pool.returned.append((self.start, self.size))


class Pool:
    """Segments, and which blocks of them are free."""

    def __init__(self) -> None:
        self.segments: list[Segment] = []  # by address
        self.places: list[int] = []  # their addresses
        # Free blocks, none touching another: by size, by where they start, and by where they end.
        self.free: list[tuple[int, int]] = []
        self.sizes: dict[int, int] = {}
        self.starts: dict[int, int] = {}
        # Blocks of arrays that are gone. An array may be collected at any moment, also while the
        # lists above change: what it leaves waits here until the next array is asked for.
        self.returned: list[tuple[int, int]] = []
        self._in_use = self.most = 0
        # A collected object may ask for an array while the pool is at work in the very same thread.
        self.lock = threading.RLock()
        self.at_work = False

    @property
    def in_use(self) -> int:
        """Bytes of the arrays that exist."""
        with self.lock:
            return self._in_use - sum(size for _, size in self.returned)

    def empty(self, shape: tuple[int, ...], dtype: Any, nbytes: int) -> Any:
        """An uninitialised array of ``nbytes`` > 0 bytes that starts at a page."""
        size = -(-nbytes // ALIGNMENT) * ALIGNMENT
        with self.lock:
            if self.at_work:
                return np.empty(shape, dtype)
            self.at_work = True
            try:
                start = self._take(size)
            finally:
                self.at_work = False
            segment = self.segments[bisect_right(self.places, start) - 1]
        block: Any = Block.__new__(Block, size, _BYTE, segment, start - segment.address)
        block.start = start
        block.pool = self
        return np.ndarray(shape, dtype, block)

    def release(self) -> None:
        """Give all memory that no array uses back to the system."""
        with self.lock:
            if self.at_work:
                return
            self.at_work = True
            try:
                self._release()
            finally:
                self.at_work = False

    def _take(self, size: int) -> int:
        """Where a block of this size is, from now on not a free one."""
        returned = self.returned
        for i in reversed(range(len(returned))):
            if returned[i][1] == size:  # the caches may still hold it
                return returned.pop(i)[0]
        self._collect()
        at = bisect_left(self.free, (size, 0))
        if at == len(self.free):
            self._grow(size)
            at = bisect_left(self.free, (size, 0))
        whole, start = self.free[at]
        self._forget(start, whole)
        if whole > size:
            self._note(start + size, whole - size)
        self._in_use += size
        self.most = max(self.most, self._in_use)
        return start

    def _release(self) -> None:
        self._collect()
        self._give_back(ALIGNMENT)
        for segment in self.segments[:]:
            size = len(segment) - ALIGNMENT
            if self.sizes.get(segment.address) == size:
                self._forget(segment.address, size)
                self.segments.remove(segment)
                self.places.remove(segment.address)
        self.most = self._in_use

    def _grow(self, size: int) -> None:
        """One more segment, with room for a block of ``size`` bytes. May raise MemoryError."""
        self._give_back(LARGE_PAGE)
        # The last page stays unused: segments side by side are not one.
        least = size + ALIGNMENT
        try:
            segment = Segment.of(max(least, FIRST_SEGMENT, sum(map(len, self.segments))))
        except MemoryError:
            segment = Segment.of(least)
        at = bisect_left(self.places, segment.address)
        self.segments.insert(at, segment)
        self.places.insert(at, segment.address)
        self._note(segment.address, len(segment) - ALIGNMENT)

    def _give_back(self, page: int) -> None:
        """Return the free memory to the system, by pages of this size (halves of one stay)."""
        for size, start in self.free:
            segment = self.segments[bisect_right(self.places, start) - 1]
            segment.give_back(-(-start // page) * page, (start + size) // page * page)

    def _collect(self) -> None:
        """Join what came back to the free blocks around it."""
        while self.returned:
            start, size = self.returned.pop()
            self._in_use -= size
            if (before := self.starts.get(start)) is not None:
                length = self.sizes[before]
                self._forget(before, length)
                start, size = before, size + length
            if length := self.sizes.get(start + size, 0):
                self._forget(start + size, length)
                size += length
            self._note(start, size)

    def _note(self, start: int, size: int) -> None:
        """A block is free."""
        insort(self.free, (size, start))
        self.sizes[start] = size
        self.starts[start + size] = start

    def _forget(self, start: int, size: int) -> None:
        """A free block is no longer one."""
        del self.free[bisect_left(self.free, (size, start))]
        del self.sizes[start]
        del self.starts[start + size]


pool: Pool | None = None if os.environ.get("MINITORCH_CNN_POOL") == "0" else Pool()
if pool is not None and hasattr(os, "register_at_fork"):
    # No other thread is at work when the child's copy is made.
    os.register_at_fork(
        before=pool.lock.acquire,
        after_in_parent=pool.lock.release,
        after_in_child=pool.lock.release,
    )


def empty(shape: tuple[int, ...], dtype: Any) -> Any:
    """``np.empty(shape, dtype)``, from the pool if it is large."""
    nbytes = math.prod(shape) * dtype.itemsize
    if pool is None or nbytes < SMALLEST or dtype.hasobject:
        return np.empty(shape, dtype)
    return pool.empty(shape, dtype, nbytes)


def release() -> None:
    """Give the memory that the pool keeps for later arrays back to the system."""
    if pool is not None:
        pool.release()
