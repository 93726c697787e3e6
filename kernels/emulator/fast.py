"""Kernels for the CPU without the checks that cost time: to run whole networks of them.

``run`` looks for mistakes in one kernel. Here the kernels of a file are compiled together, with
optimisation; indices are still checked against their arrays.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import compile
from .errors import EmulatorError
from .launch import Launch, Report, one_at_a_time

__all__ = ["Library"]


class Library:
    """Compiled kernels of one source text, with its headers in it, by name."""

    def __init__(self, code: str, names: Sequence[str]) -> None:
        self.names = {name: number for number, name in enumerate(names)}
        self.library = ctypes.CDLL(str(compile.build_fast(code, tuple(names))))
        self.sizes: dict[str, list[int]] = {}
        for name, number in self.names.items():
            sizes = (ctypes.c_int32 * 64)()
            count = self.library.emulator_sizes_of(number, sizes)
            self.sizes[name] = list(sizes)[:count]

    def run(
        self, name: str, grid: Sequence[int], block: Sequence[int], values: Sequence[Any]
    ) -> None:
        """Run a kernel; ``values`` are one-element arrays with its arguments' bytes."""
        given = [value.nbytes for value in values]
        if given != self.sizes[name]:
            raise EmulatorError(
                "call", f"arguments of {given} bytes, expected {self.sizes[name]}", name
            )
        launch = Launch(
            grid=tuple(grid), block=tuple(block), order=0, seed=0, step_limit=np.iinfo("i8").max
        )
        launch.arguments = (ctypes.c_void_p * (len(values) + 1))(
            *(value.ctypes.data for value in values)
        )
        launch.trace_region = -1
        report = Report()
        with one_at_a_time:
            self.library.emulator_choose(self.names[name])
            while self.library.emulator_run(ctypes.byref(launch), ctypes.byref(report)):
                pass
        if report.failed:
            raise EmulatorError(
                report.kind.decode(),
                report.message.decode(errors="replace"),
                name,
                report.file.decode(),
                report.line,
                tuple(report.block),
                tuple(report.thread),
            )
