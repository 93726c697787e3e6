"""What a measurement was made on, for the record beside its numbers."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import numpy as np

from ..kernels import backend
from ..version import __version__


def machine_facts() -> dict[str, str | int | None]:
    """Processor, cores and threads, versions."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": backend.get_num_threads(),
        "kernels": backend.cpu_backend,
        "minitorch_cnn": __version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def processor() -> str:
    """What the operating system calls this machine's processor."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
