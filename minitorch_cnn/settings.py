"""Switches of the ``torch`` namespace: threads, determinism, precision, default device.

Most have nothing to switch here: results are the same bits at any number of threads, and float32
is always computed as float32.
"""

from __future__ import annotations

import warnings
from typing import Any

from .device import device as Device
from .kernels import autotune
from .kernels.backend import get_num_threads, set_num_threads

__all__ = [
    "set_num_threads", "get_num_threads", "set_num_interop_threads", "get_num_interop_threads",
    "use_deterministic_algorithms", "are_deterministic_algorithms_enabled",
    "is_deterministic_algorithms_warn_only_enabled",
    "set_float32_matmul_precision", "get_float32_matmul_precision", "set_flush_denormal",
    "set_default_device", "get_default_device",
]  # fmt: skip

_deterministic = False
_warn_only = False
_interop_threads = 1
_precision = "highest"


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Remember the wish: then no clock chooses algorithms (see :mod:`.backends.conv2d`).

    Nothing else changes: every algorithm here is deterministic.
    """
    global _deterministic, _warn_only
    _deterministic, _warn_only = bool(mode), bool(warn_only)


def are_deterministic_algorithms_enabled() -> bool:
    """What :func:`use_deterministic_algorithms` was last told."""
    return _deterministic


autotune.never_if(are_deterministic_algorithms_enabled)


def is_deterministic_algorithms_warn_only_enabled() -> bool:
    """What :func:`use_deterministic_algorithms` was last told."""
    return _warn_only


def set_num_interop_threads(n: int) -> None:
    """Remember the number. Ops run one after the other; each may use ``set_num_threads``'s."""
    global _interop_threads
    if not isinstance(n, int):
        raise RuntimeError(f"set_num_interop_threads expects an int, but got {type(n).__name__}")
    if n < 1:
        raise RuntimeError(f"set_num_interop_threads expects a positive integer, got {n!r}")
    _interop_threads = n


def get_num_interop_threads() -> int:
    """What :func:`set_num_interop_threads` was last told."""
    return _interop_threads


def set_float32_matmul_precision(precision: str) -> None:
    """Remember "highest", "high" or "medium". Products are computed in float32 in any case."""
    global _precision
    if precision not in ("highest", "high", "medium"):
        warnings.warn(
            f"{precision!r} is not one of 'highest', 'high', or 'medium';"
            " set_float32_matmul_precision has no effect",
            UserWarning,
            stacklevel=2,
        )
        return
    _precision = precision


def get_float32_matmul_precision() -> str:
    """What :func:`set_float32_matmul_precision` was last told."""
    return _precision


def set_flush_denormal(mode: bool) -> bool:
    """False: denormal numbers are always kept."""
    return False


def set_default_device(device: Any) -> None:
    """Accepts the CPU only: tensors are made there, and moved with ``.to(device)``."""
    if device is not None and Device(device).type != "cpu":
        raise NotImplementedError(
            f"set_default_device({str(device)!r}): there is no global device here; pass device="
            " or move tensors and modules with .to(device)"
        )


def get_default_device() -> Device:
    """``device("cpu")``."""
    return Device("cpu")
