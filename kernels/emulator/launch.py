"""Call a kernel on NumPy arrays: check the arguments, run the grid, explain what went wrong."""

from __future__ import annotations

import ctypes
import functools
import itertools
import os
import re
import struct
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from .. import cuda_source
from ..arguments import argument_error, grid_error, packed
from ..cuda_source import Parameter
from . import compile
from .errors import EmulatorError

__all__ = ["run", "trace"]

KERNELS = Path(__file__).parents[1]
ORDERS = ("forward", "reverse", "random")
SHARED_LIMIT = 48 << 10
# Few, so that loops which stride over the grid go round more than once on small arrays too.
MAX_BLOCKS = 4

Order = Literal["forward", "reverse", "random"]
Check = Literal["address", "undefined", "thread"]


class Region(ctypes.Structure):
    """interface.h's Region."""

    _fields_ = [
        ("begin", ctypes.c_uint64),
        ("size", ctypes.c_int64),
        ("item", ctypes.c_int32),
        ("argument", ctypes.c_int32),
        ("name", ctypes.c_char_p),
    ]


class Launch(ctypes.Structure):
    """interface.h's Launch."""

    _fields_ = [
        ("grid", ctypes.c_uint32 * 3),
        ("block", ctypes.c_uint32 * 3),
        ("order", ctypes.c_int32),
        ("detect_races", ctypes.c_int32),
        ("seed", ctypes.c_uint64),
        ("step_limit", ctypes.c_int64),
        ("arguments", ctypes.POINTER(ctypes.c_void_p)),
        ("regions", ctypes.POINTER(Region)),
        ("region_count", ctypes.c_int32),
        ("trace_region", ctypes.c_int32),
        ("trace_writes", ctypes.c_int32),
        ("trace", ctypes.c_void_p),
        ("blocks_done", ctypes.c_int64),
    ]


class Report(ctypes.Structure):
    """interface.h's Report."""

    _fields_ = [
        ("failed", ctypes.c_int32),
        ("line", ctypes.c_int32),
        ("block", ctypes.c_int32 * 3),
        ("thread", ctypes.c_int32 * 3),
        ("address", ctypes.c_uint64),
        ("other", ctypes.c_uint64),
        ("kind", ctypes.c_char * 32),
        ("file", ctypes.c_char * 256),
        ("message", ctypes.c_char * 1536),
    ]


def run(
    file: str | Path,
    kernel: str,
    args: Sequence[Any],
    grid: int | Sequence[int] | None = None,
    block: int | Sequence[int] | None = None,
    order: Order = "forward",
    seed: int = 0,
    check: Check | None = None,
    steps: int = 10_000_000,
) -> None:
    """Run ``kernel`` ("max_pool2d<float>") of ``file`` ("pool", or a path) on a grid of threads.

    ``args`` are NumPy arrays, None for an absent one, and numbers; the kernel writes into the
    arrays. ``grid`` and ``block`` follow the kernel's ``// launch:`` line unless given. ``order``:
    in which order blocks, and the threads of a block between two barriers, take turns. ``check``:
    "address", "undefined" or "thread" look for what the name of the sanitizer says. ``steps``: how
    many basic blocks one thread may run through before its loop counts as endless.

    Raises EmulatorError.
    """
    _Call(file, kernel, args, grid, block, order, seed, check, steps).run()


class _Call:
    def __init__(
        self,
        file: str | Path,
        kernel: str,
        args: Sequence[Any],
        grid: int | Sequence[int] | None,
        block: int | Sequence[int] | None,
        order: str,
        seed: int,
        check: str | None,
        steps: int,
    ) -> None:
        self.expression = kernel
        self.path = _path(file)
        self.check = check
        if order not in ORDERS:
            raise self.refused(f"order={order!r}: choose from {', '.join(ORDERS)}")
        if check not in compile.CHECKS:
            raise self.refused(f"check={check!r}: choose address, undefined or thread")
        try:
            self.source, self.parameters, templates = cuda_source.find(self.path, kernel)
            self.built = compile.build(self.path, kernel, check)
            self.args = self.checked(args)
            self.grid, self.block = self.shape(templates, grid, block)
        except ValueError as error:
            raise self.refused(str(error)) from None
        self.order, self.seed, self.steps = order, seed, steps

    def refused(self, message: str) -> EmulatorError:
        return EmulatorError("call", message, self.expression)

    def shape(
        self,
        templates: dict[str, str],
        grid: int | Sequence[int] | None,
        block: int | Sequence[int] | None,
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        wanted = None if block is None else _three(block)
        if grid is None or wanted is None:
            values = {p.name: a for p, a in zip(self.parameters, self.args)}
            by_rule, wanted = cuda_source.launch_shape(
                self.source, templates, values, MAX_BLOCKS, wanted
            )
        chosen = by_rule if grid is None else _three(grid)
        if wrong := grid_error(chosen, wanted):
            raise self.refused(wrong)
        threads = int(np.prod(wanted))
        if self.source.launch_bounds:
            bound = cuda_source.constant(self.source, templates, self.source.launch_bounds)
            if threads > bound:
                raise self.refused(f"block {wanted}: __launch_bounds__ allows {bound} threads")
        used = sum(size for _, _, size in self.built.shared)
        if used > SHARED_LIMIT:
            raise self.refused(f"{used:,} bytes of __shared__ variables: {SHARED_LIMIT:,} at most")
        return chosen, wanted

    def checked(self, args: Sequence[Any]) -> list[Any]:
        if len(args) != len(self.parameters):
            raise self.refused(
                f"takes {len(self.parameters)} arguments"
                f" ({', '.join(p.name for p in self.parameters)}), but got {len(args)}"
            )
        for parameter, value in zip(self.parameters, args):
            if wrong := argument_error(parameter, value, np.ndarray):
                raise self.refused(wrong)
        return list(args)

    def packed(self, parameter: Parameter, value: Any) -> bytes:
        """The argument as the kernel gets it."""
        pointer = value.ctypes.data if isinstance(value, np.ndarray) else 0
        data: bytes = packed(parameter, value, pointer).tobytes()
        return data

    def run(self, trace: _Trace | None = None) -> None:
        if 0 in self.grid:
            return  # no work: the launcher launches nothing either
        packed = [self.packed(p, a) for p, a in zip(self.parameters, self.args)]
        if self.check == "address":
            self.run_apart(packed)
            return
        library = _library(self.built.path)
        sizes = (ctypes.c_int32 * (len(packed) + 1))()
        library.emulator_sizes(sizes)
        assert [len(data) for data in packed] == list(sizes)[: len(packed)]
        buffers = [ctypes.create_string_buffer(data, len(data)) for data in packed]
        pointers = (ctypes.c_void_p * (len(buffers) + 1))(*map(ctypes.addressof, buffers))
        regions = self.regions(library.emulator_base())
        launch = self.launch()
        launch.arguments = pointers
        launch.regions = (Region * len(regions))(*regions)
        launch.region_count = len(regions)
        launch.detect_races = self.check == "thread" and trace is None
        launch.trace_region = -1
        if trace is not None:
            launch.trace_region = next(
                i for i, region in enumerate(regions) if region.argument == trace.argument
            )
            launch.trace_writes = trace.writes
            launch.trace = trace.rows.ctypes.data
        report = Report()
        with one_at_a_time:
            # In between, Python sees to Ctrl-C.
            while library.emulator_run(ctypes.byref(launch), ctypes.byref(report)):
                pass
        if report.failed:
            raise self.explained(report)

    def launch(self) -> Launch:
        return Launch(
            grid=self.grid,
            block=self.block,
            order=ORDERS.index(self.order),
            seed=self.seed % 2**64,
            step_limit=self.steps,
        )

    def regions(self, base: int) -> list[Region]:
        found = []
        for i, (parameter, value) in enumerate(zip(self.parameters, self.args)):
            if isinstance(value, np.ndarray):
                data = value.ctypes.data, value.nbytes, value.itemsize
                found.append(Region(*data, i, parameter.name.encode()))
        for name, at, size in self.built.shared:
            found.append(Region(base + at, size, 1, -1, name.encode()))
        return found

    def run_apart(self, packed: list[bytes]) -> None:
        """In a program of its own, with AddressSanitizer: see driver.cpp for the form of the files.

        Arrays are copied there into memory of exactly their size.
        """
        arrays = [a for a in self.args if isinstance(a, np.ndarray)]
        memory = {(a.ctypes.data, a.nbytes): a for a in arrays}
        for (a, a_size), (b, b_size) in itertools.combinations(memory, 2):
            if a < b + b_size and b < a + a_size:
                raise self.refused("arrays overlap in part, which check='address' cannot copy")
        places = list(memory)
        request = [bytes(self.launch()), struct.pack("2q", len(memory), len(packed))]
        names: dict[tuple[int, int], str] = {}
        for parameter, value in zip(self.parameters, self.args):
            if isinstance(value, np.ndarray):
                names.setdefault((value.ctypes.data, value.nbytes), parameter.name)
        for place, array in memory.items():
            request += [_sized(names[place].encode()), _sized(array.tobytes())]
        for data, value in zip(packed, self.args):
            array_at = -1
            if isinstance(value, np.ndarray):
                array_at = places.index((value.ctypes.data, value.nbytes))
            request += [struct.pack("q", array_at), _sized(data)]
        request.append(struct.pack("q", len(self.built.shared)))
        for name, at, size in self.built.shared:
            request += [_sized(name.encode()), struct.pack("2q", at, size)]
        with tempfile.TemporaryDirectory(prefix="minitorch_cnn-") as folder:
            question, answer = Path(folder, "request"), Path(folder, "answer")
            question.write_bytes(b"".join(request))
            done = subprocess.run(  # noqa: S603
                [str(self.built.path), str(question), str(answer)],
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                stdin=subprocess.DEVNULL,
                env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0:color=never"},
            )
            result = answer.read_bytes() if answer.exists() else b""
        if not result:
            raise self.address_error(done.stderr)
        report = Report.from_buffer_copy(result)
        at = ctypes.sizeof(Report)
        for array in memory.values():
            if array.flags.writeable:
                content = np.frombuffer(result, array.dtype, array.size, at)
                array[...] = content.reshape(array.shape)
            at += array.nbytes
        if report.failed:
            raise self.explained(report)

    def address_error(self, said: str) -> EmulatorError:
        """What AddressSanitizer wrote, in one sentence."""
        what = re.search(r"AddressSanitizer:? ([\w-]+)", said)
        access = re.search(r"^(READ|WRITE) of size (\d+)", said, re.MULTILINE)
        where = re.search(r"^emulator: (byte .*)", said, re.MULTILINE)
        who = re.search(
            r"^emulator: block (.+) (.+) (.+) thread (.+) (.+) (.+)$", said, re.MULTILINE
        )
        if what is None or who is None:
            raise self.refused(f"the program with AddressSanitizer failed:\n{said.strip()}")
        numbers = tuple(map(int, who.groups()))
        message = what[1]
        if access:
            message += f": a {access[1].lower()} of {access[2]} bytes"
        if where:
            message += f" at {where[1]}"
        file, line = "", 0
        for frame in re.finditer(r"^ *#\d+ .* (\S+?):(\d+)(?::\d+)?$", said, re.MULTILINE):
            if (name := Path(frame[1]).name) not in compile.NOT_THE_KERNEL:
                file, line = name, int(frame[2])
                break
        return EmulatorError(
            "address", message, self.expression, file, line, numbers[:3], numbers[3:]
        )

    def explained(self, report: Report) -> EmulatorError:
        file, line = report.file.decode(), report.line
        message = report.message.decode(errors="replace")
        if report.address:
            file, line = compile.source_line(self.built.path, report.address)
        if report.other:
            earlier, at = compile.source_line(self.built.path, report.other)
            message += f"; the earlier one: {earlier}:{at}"
        return EmulatorError(
            report.kind.decode(),
            message,
            self.expression,
            Path(file).name,
            line,
            tuple(report.block),
            tuple(report.thread),
        )


class _Trace:
    def __init__(self, argument: int, writes: bool, rows: np.ndarray[Any, Any]) -> None:
        self.argument = argument
        self.writes = writes
        self.rows = rows


def _sized(data: bytes) -> bytes:
    return struct.pack("q", len(data)) + data


one_at_a_time = threading.Lock()


def _path(file: str | Path) -> Path:
    path = Path(file)
    return path if path.suffix == ".cu" else KERNELS / f"{file}.cu"


def _three(numbers: int | Sequence[int]) -> tuple[int, ...]:
    many = [numbers] if isinstance(numbers, (int, np.integer)) else numbers
    return (*(int(n) for n in many), 1, 1)[:3]


@functools.cache
def _library(path: Path) -> Any:
    library = ctypes.CDLL(str(path))
    library.emulator_base.restype = ctypes.c_void_p
    return library


TRACE = np.dtype([("block", np.int32, 3), ("thread", np.int32, 3), ("count", np.int32)])


def trace(
    file: str | Path,
    kernel: str,
    args: Sequence[Any],
    of: str,
    access: Literal["write", "read"] = "write",
    grid: int | Sequence[int] | None = None,
    block: int | Sequence[int] | None = None,
    order: Order = "forward",
    seed: int = 0,
    steps: int = 10_000_000,
) -> np.ndarray[Any, Any]:
    """Run a kernel, and tell which thread wrote (or last read) each element of argument ``of``.

    Returns an array of that argument's shape with fields ``block`` and ``thread`` ((x, y, z) each,
    -1 where no thread came) and ``count`` (how often the element was accessed).
    """
    call = _Call(file, kernel, args, grid, block, order, seed, "thread", steps)
    names = [parameter.name for parameter in call.parameters]
    if of not in names or not isinstance(array := call.args[names.index(of)], np.ndarray):
        raise call.refused(f"of={of!r} names no array argument: there are {', '.join(names)}")
    rows = np.full((*array.shape, 7), -1, np.int32)
    rows[..., 6] = 0
    call.run(_Trace(names.index(of), access == "write", rows))
    return rows.view(TRACE)[..., 0]
