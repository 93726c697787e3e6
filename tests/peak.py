"""How much memory a piece of a test takes at once: NumPy's and Python's, and the pool's."""

from __future__ import annotations

import contextlib
import tracemalloc
from collections.abc import Iterator

from minitorch_cnn.kernels import memory


class Peak:
    """Bytes at the worst moment, beyond those of before; known when the measurement is over."""

    nbytes = 0


@contextlib.contextmanager
def peak_memory() -> Iterator[Peak]:
    """Measure what the body takes."""
    peak, held = Peak(), 0
    if memory.pool is not None:
        memory.release()  # the pool's ``most`` starts anew
        held = memory.pool.in_use
    tracemalloc.start()
    try:
        yield peak
    finally:
        peak.nbytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        if memory.pool is not None:
            peak.nbytes += memory.pool.most - held
