"""Memory for results: given back to a pool, not to the operating system.

A training step asks for the same sizes again and again. Fresh memory comes as pages that the system
clears one by one when they are first touched (about 0.25 microseconds per 4 KiB, as long as a
kernel takes to compute on them); memory that was used before has its pages already. So what an
array held goes to a pool when the array is gone, and the next array of that size takes it.

The pool never makes the process larger: what is in use and what is kept together stay below the
most that was ever in use at once (rounded up to the size classes). ``release`` lets everything go;
``MINITORCH_CNN_POOL=0`` switches the pool off.
"""

from __future__ import annotations

import math
import os
import threading
from typing import Any

import numpy as np

SMALLEST = 1 << 18  # bytes; what is below, the C library reuses by itself
# A page. NumPy's large arrays begin 16 bytes behind the start of one. With a result a little
# further behind, CPUs, which compare the lower 12 bits of addresses, take a load for one of what
# was just stored, and wait: relu of 26 MB took 2.8 ms instead of 1.2.
ALIGNMENT = 4096


class Block:
    """Memory of one array, which is its only owner: with the array gone, it returns to the pool."""

    # Nobody but the one array whose base this is can see its memory.
    exclusive = True
    __slots__ = ("__array_interface__", "memory", "pool")

    def __init__(self, pool: Pool, memory: Memory, shape: tuple[int, ...], dtype: Any) -> None:
        self.pool = pool
        self.memory = memory
        self.__array_interface__ = {
            "version": 3,
            "shape": shape,
            "typestr": dtype.str,
            "data": (memory.address, False),
        }

    def __del__(self) -> None:
        self.pool.take_back(self.memory)


class Memory:
    """``size`` bytes of the system's, and the first aligned address in them."""

    __slots__ = ("address", "raw", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.raw = np.empty(size, np.uint8)
        self.address = -(-self.raw.ctypes.data // ALIGNMENT) * ALIGNMENT


class Pool:
    """Free memory by size class, and how much of it there may be."""

    def __init__(self) -> None:
        self.free: dict[int, list[Memory]] = {}
        self.in_use = self.kept = self.most = 0
        # Re-entrant: an array may be collected, and so come back, while another one is asked for.
        self.lock = threading.RLock()

    def empty(self, shape: tuple[int, ...], dtype: Any, nbytes: int) -> Any:
        """An uninitialised array of ``nbytes`` > 0 bytes, aligned to cache lines."""
        size = size_class(nbytes) + ALIGNMENT
        memory = None
        with self.lock:
            self.in_use += size
            if same := self.free.get(size):
                memory = same.pop()
                self.kept -= size
            else:
                self.most = max(self.most, self.in_use)
                self._shrink()
        if memory is None:
            try:
                memory = Memory(size)
            except MemoryError:
                self.forget(size)
                raise
        made = np.asarray(Block(self, memory, shape, dtype))
        return made if made.dtype == dtype else made.view(dtype)  # bfloat16's typestr: raw bytes

    def take_back(self, memory: Memory) -> None:
        """Keep the memory of an array that is gone, as far as there is room."""
        with self.lock:
            self.in_use -= memory.size
            self.free.setdefault(memory.size, []).append(memory)
            self.kept += memory.size

    def forget(self, size: int) -> None:
        """Memory that was asked for did not come: let go of what is kept."""
        with self.lock:
            self.in_use -= size
        self.release()

    def release(self) -> None:
        """Give all memory that no array uses back to the system."""
        with self.lock:
            self.free.clear()
            self.kept = 0
            self.most = self.in_use

    def _shrink(self) -> None:
        while self.kept and self.in_use + self.kept > self.most:
            size = max(size for size, arrays in self.free.items() if arrays)
            self.free[size].pop()
            self.kept -= size


def size_class(nbytes: int) -> int:
    """``nbytes`` rounded up to three significant bits: at most an eighth is wasted."""
    step = 1 << max(nbytes.bit_length() - 4, 0)
    return -(-nbytes // step) * step


pool: Pool | None = None if os.environ.get("MINITORCH_CNN_POOL") == "0" else Pool()


def empty(shape: tuple[int, ...], dtype: Any) -> Any:
    """``np.empty(shape, dtype)``, from the pool if it is large."""
    nbytes = math.prod(shape) * dtype.itemsize
    if pool is None or nbytes < SMALLEST or dtype.hasobject:
        return np.empty(shape, dtype)
    return pool.empty(tuple(map(int, shape)), dtype, nbytes)


def release() -> None:
    """Give the memory that the pool keeps for later arrays back to the system."""
    if pool is not None:
        pool.release()
