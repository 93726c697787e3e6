"""How much memory there is, so that asking for more is an exception and not a killed process.

Operating systems hand out more memory than they have and end the process that then writes to it;
PyTorch's allocator is refused at once where the request is absurd. So are ours.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np


@functools.cache
def physical_memory() -> int:
    """Bytes of memory that this process may ever have (a container's limit counts)."""
    sizes = [2**63 - 1]
    try:
        sizes.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        sizes.append(2**44)
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            text = Path(limit).read_text(encoding="ascii").strip()
        except OSError:
            continue
        if text.isdecimal():
            sizes.append(int(text))
    return min(sizes)


def check_allocation(name: str, shape: Sequence[int], dtype: np.dtype[Any]) -> None:
    """RuntimeError naming the bytes if an array of this shape cannot fit into memory."""
    nbytes = math.prod(shape) * dtype.itemsize
    if nbytes > 2**20 and nbytes > physical_memory():
        raise RuntimeError(
            f"{name}: DefaultCPUAllocator: can't allocate memory: you tried to allocate {nbytes}"
            f" bytes (shape {list(shape)}, {dtype}), this machine has {physical_memory()}"
        )
