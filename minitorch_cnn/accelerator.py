"""``torch.accelerator``: the GPU, if there is one, under the name that fits any kind."""

from __future__ import annotations

from typing import Any

from . import cuda
from .device import device


def is_available() -> bool:
    """Whether there is something faster than the CPU. Never raises."""
    return cuda.is_available()


def current_accelerator(check_available: bool = False) -> device | None:
    """``device("cuda")``, or None where there is none (whether checked or not)."""
    return device("cuda") if cuda.is_available() else None


def device_count() -> int:
    """How many devices of the accelerator's kind there are; 0 without one."""
    return cuda.device_count()


def current_device_index() -> int:
    """The index of the device that new arrays go to; RuntimeError without one."""
    _require()
    return cuda.current_device()


def set_device_index(device: Any) -> None:
    """Make a device the current one; RuntimeError without one."""
    _require()
    cuda.set_device(device)


def synchronize(device: Any = None) -> None:
    """Wait until the device has done everything it was asked to; RuntimeError without one."""
    _require()
    cuda.synchronize(device)


def empty_cache() -> None:
    """Give unused memory back to the driver; RuntimeError without a device."""
    _require()
    cuda.empty_cache()


def memory_allocated(device: Any = None) -> int:
    """Bytes of the device's memory in use; RuntimeError without one."""
    _require()
    return cuda.memory_allocated(device)


def memory_reserved(device: Any = None) -> int:
    """Bytes of the device's memory held, used or not; RuntimeError without one."""
    _require()
    return cuda.memory_reserved(device)


def _require() -> None:
    why = cuda.why_unavailable()
    if why is not None:
        raise RuntimeError(f"Cannot access accelerator device when none is available: {why}")
