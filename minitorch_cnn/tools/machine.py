"""What a measurement was made on, for the record beside its numbers."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable

import numpy as np

from ..kernels import backend
from ..version import __version__


def machine_facts() -> dict[str, str | int | None]:
    """Processor, cores and threads, versions."""
    return {
        "processor": backend.processor(),
        "cores": os.cpu_count(),
        "threads": backend.get_num_threads(),
        "kernels": backend.cpu_backend,
        "minitorch_cnn": __version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def stopwatch(device: str) -> tuple[Callable[[], float], str]:
    """A clock in seconds, and its name.

    For one CPU thread it is the processor's own, which other programs do not advance; several
    threads (whose processor times would add up) and GPUs, whose work it waits for, need the wall's.
    """
    if device.startswith("cuda"):
        from ..cuda import synchronize

        def read() -> float:
            synchronize()
            return time.perf_counter()

        return read, "wall clock"
    if backend.get_num_threads() == 1:
        return time.process_time, "processor time"
    return time.perf_counter, "wall clock"
