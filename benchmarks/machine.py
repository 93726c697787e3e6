"""The machine under a measurement: what it is, what it can do at best, and how memory is read."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from minitorch_cnn.kernels import backend, microkernel
from minitorch_cnn.tools.machine import machine_facts


def pytorch() -> Any:
    """The module torch; ModuleNotFoundError that says how to get it where it is missing."""
    try:
        return importlib.import_module("torch")
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ModuleNotFoundError(
            "this benchmark compares with PyTorch, which is not installed: pip install torch"
        ) from None


def facts() -> dict[str, Any]:
    """Processor, cores, vector width, versions."""
    found: dict[str, Any] = dict(machine_facts())
    del found["threads"]  # each row has its own
    found["system"] = platform.platform(terse=True)
    found["vector_bits"] = 8 * microkernel.VECTOR_BYTES
    found["numba"] = _version("numba")
    found["torch"] = _version("torch")
    return found


def _version(package: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def set_threads(threads: int) -> None:
    """Ours, PyTorch's if it is loaded, and NumPy's BLAS: all the same number."""
    backend.set_num_threads(threads)
    if "torch" in sys.modules:
        pytorch().set_num_threads(threads)
    threadpool_limits(threads, user_api="blas")


def peaks(threads: int, n: int = 1536, megabytes: int = 256) -> dict[str, float]:
    """GFLOP/s of the better of NumPy's and PyTorch's sgemm, GB/s (read + written) of a copy."""
    set_threads(threads)
    a = np.random.default_rng(0).standard_normal((n, n), np.float32)
    c = np.empty_like(a)
    source, target = (np.ones(megabytes << 18, np.float32) for _ in range(2))
    multiply: list[Callable[[], Any]] = [lambda: np.matmul(a, a, out=c)]
    copy: list[Callable[[], Any]] = [lambda: np.copyto(target, source)]
    if "torch" in sys.modules:
        torch = pytorch()
        A, to, of = (torch.from_numpy(x) for x in (a, target, source))
        multiply.append(lambda: A @ A)
        copy.append(lambda: to.copy_(of))
    return {
        "gflops": 2 * n**3 / min(map(_best, multiply)) / 1e9,
        "gbytes": 2 * source.nbytes / min(map(_best, copy)) / 1e9,
    }


def _best(call: Callable[[], Any], repeats: int = 6) -> float:
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return min(times)


def restart_peak() -> int:
    """Bytes that this process holds now; :func:`peak` counts from here, where the system can."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # glibc: give back what is free
        ctypes.CDLL(None).malloc_trim(0)
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return peak()
    return _status("VmRSS")


def peak() -> int:
    """The most bytes this process has held at a time.

    Not ``ru_maxrss`` where Linux knows better: a child process starts with its parent's.
    """
    try:
        return _status("VmHWM")
    except OSError:
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _status(key: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(key + ":"):
            return 1024 * int(line.split()[1])
    raise OSError(f"/proc/self/status has no {key}")


def in_a_process(module: str, *args: str, env: Mapping[str, str] | None = None) -> Any:
    """What ``python -m minitorch_cnn.benchmarks.MODULE ARGS`` prints last, read as JSON."""
    done = subprocess.run(
        [sys.executable, "-m", f"minitorch_cnn.benchmarks.{module}", *args],
        env={**os.environ, **(env or {})}, stdout=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"benchmarks.{module} {' '.join(args)} ended with {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])
