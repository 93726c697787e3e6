"""``minitorch-cnn doctor``: what this machine and installation have, in a table of facts."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time

import numpy as np

from ..kernels import backend
from ..version import __version__


def facts() -> list[tuple[str, str]]:
    """(what, state) pairs. Nothing here raises: what cannot be found out says why."""
    rows = [
        ("minitorch_cnn", __version__),
        ("Python", f"{platform.python_version()} ({platform.system()}, {platform.machine()})"),
        ("NumPy", np.__version__),
    ]
    packages = ("numba", "llvmlite", "pillow", "safetensors", "torch")
    rows.extend((name, _version(name)) for name in packages)
    rows.append(("CPU kernels", backend.cpu_backend))
    rows.append(
        ("threads", f"{backend.get_num_threads()} of {backend.available_cores()} cores available")
    )
    rows.append(("kernel cache", _cache()))
    if backend.cpu_backend == "numba":
        rows.append(("threading layer", _layer()))
    rows.append(("first kernel", _first_kernel()))
    from ..cuda import why_unavailable

    rows.append(("GPU", why_unavailable() or "available"))
    rows.append(("MNIST", _mnist()))
    return rows


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _cache() -> str:
    if backend.cpu_backend != "numba":
        return "unused"
    from ..kernels import cache

    directory = cache.directory()
    if directory is None:
        return "no writable directory: kernels are compiled anew in each process"
    files = [p for p in directory.rglob("*") if p.is_file()]
    size = sum(p.stat().st_size for p in files) / 2**20
    return f"{directory} ({len(files)} files, {size:.1f} MiB)"


def _layer() -> str:
    from numba.np.ufunc.parallel import threading_layer

    from ..kernels import elementwise

    x = np.zeros(1 << 20, np.float32)
    elementwise.relu(x, np.empty_like(x))
    try:
        return str(threading_layer())  # type: ignore[no-untyped-call]
    except ValueError:
        return "not started (one thread)"


def _first_kernel() -> str:
    from ..kernels import conv2d

    started = time.perf_counter()
    x = np.zeros((1, 1, 8, 8), np.float32)
    conv2d.forward(x, np.zeros((1, 1, 3, 3), np.float32), (1, 1), (0, 0), (1, 1), 1)
    return f"a small conv2d ran after {time.perf_counter() - started:.2f} s"


def _mnist() -> str:
    from ..datasets import MNIST

    try:
        return f"{len(MNIST(train=True))} training and {len(MNIST(train=False))} test images"
    except (OSError, RuntimeError, ValueError) as error:
        return f"not readable: {error}"


def environment() -> list[tuple[str, str]]:
    """The environment variables that change behaviour, as set now."""
    names = ("MINITORCH_CNN_CPU", "MINITORCH_CNN_CONV2D", "MINITORCH_CNN_AUTOTUNE",
             "MINITORCH_CNN_CACHE_DIR", "NUMBA_CACHE_DIR", "NUMBA_NUM_THREADS",
             "NUMBA_THREADING_LAYER", "NUMBA_DISABLE_JIT", "OMP_NUM_THREADS",
             "OMP_WAIT_POLICY", "GOMP_SPINCOUNT")  # fmt: skip
    return [(name, os.environ[name]) for name in names if name in os.environ]
