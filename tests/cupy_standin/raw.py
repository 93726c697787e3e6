"""``cupy.RawModule`` over the emulator: the unmodified source, compiled once for the CPU.

Checks that cost time (races, steps, sanitizers) are the business of ``tests/cuda``; here indices
are checked, and what CuPy would not take is refused.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from minitorch_cnn.kernels.emulator.fast import Library

from . import cuda


class RawModule:
    def __init__(
        self,
        code: str | None = None,
        *,
        path: str | None = None,
        options: Sequence[str] = (),
        backend: str = "nvrtc",
        translate_cucomplex: bool = False,
        enable_cooperative_groups: bool = False,
        name_expressions: Sequence[str] | None = None,
        jitify: Any = None,
    ) -> None:
        if code is None or not isinstance(options, tuple):
            raise TypeError("RawModule: code and a tuple of options")
        if '#include "' in code:
            raise ValueError("CuPy's cache does not see the content of included files")
        self.code, self.options = code, options
        self.name_expressions = tuple(name_expressions or ())

    @functools.cached_property
    def library(self) -> Library:
        return Library(self.code, self.name_expressions)

    def compile(self, log_stream: Any = None) -> None:
        _ = self.library

    def get_function(self, name: str) -> RawKernel:
        if name not in self.name_expressions:
            raise ValueError(f"{name} is not among name_expressions")
        return RawKernel(self, name)


class RawKernel:
    def __init__(self, module: RawModule, name: str) -> None:
        self.module = module
        self.name = name

    @property
    def kernel(self) -> Any:
        return SimpleNamespace(ptr=id(self))

    def __call__(self, grid: Any, block: Any, args: Any, **kwargs: Any) -> None:
        if set(kwargs) - {"shared_mem", "stream", "enable_cooperative_groups"}:
            raise TypeError(f"unexpected keywords {sorted(kwargs)}")
        if not all(isinstance(part, tuple) for part in (grid, block, args)):
            raise TypeError("grid, block and args must be tuples")
        values = [_by_value(a).copy() for a in args]
        blocks = []
        if cuda.get_current_stream().is_capturing():
            pointers = [v["data"].item() for v in values if v.dtype.names]
            blocks = cuda.blocks_at(pointers)
            if len(blocks) < len({p for p in pointers if p}):
                raise AssertionError(f"{self.name}: an argument points to no array's memory")
        cuda.queue(lambda: self.module.library.run(self.name, grid, block, values), blocks)


def _by_value(argument: Any) -> np.ndarray[Any, Any]:
    """The bytes that CuPy hands to the driver: a pointer, a number, or a struct."""
    from .ndarray import ndarray

    if isinstance(argument, ndarray):
        return np.array([argument.data.ptr], np.uint64)
    if isinstance(argument, np.ndarray):
        if argument.size != 1 or argument.dtype.kind != "V":
            raise TypeError("a struct goes by value as an array of one element")
        return argument
    if isinstance(argument, np.generic):
        return np.array([argument])
    if isinstance(argument, (bool, int, float)):  # by CuPy's rule, not by the kernel's signature
        kind = {bool: np.bool_, int: np.int64, float: np.float64}[type(argument)]
        return np.array([argument], kind)
    raise TypeError(f"Unsupported type {type(argument)}")


__all__ = ["RawKernel", "RawModule"]
