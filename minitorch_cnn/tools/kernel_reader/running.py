"""Run an example on the emulator: how far off it is, and which thread did what."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from ...kernels import cuda_source, emulator
from .examples import Array, Example, Three, example
from .sources import FOLDER

FIRST: Three = (0, 0, 0)
CELLS = 200  # of an output that is printed whole


@dataclass(frozen=True)
class Run:
    """What came out, and traces: ``writes`` of the first result, ``reads`` of each input."""

    module: str
    name: str
    example: Example
    grid: tuple[int, ...]
    block: tuple[int, ...]
    differences: dict[str, float]
    writes: Array
    reads: dict[str, Array]

    def matrix(self, name: str, trace: Array) -> Array:
        """A trace as its picture has it: leading axes are rows, the others columns."""
        rows = self.example.rows.get(name, trace.ndim - 1)
        return trace.reshape(int(np.prod(trace.shape[:rows])), -1)

    def by_block(self, trace: Array) -> Array:
        """Of each element the number of its block, counted as CUDA does; -1 where none came."""
        return _flat(trace["block"], self.grid)

    def by_thread(self, trace: Array) -> Array:
        return _flat(trace["thread"], self.block)

    def of_first_block(self, trace: Array) -> Array:
        return np.asarray(np.all(trace["block"] == FIRST, axis=-1))

    def of_thread(self, trace: Array) -> Array:
        """The elements of the followed thread, of the first block."""
        mine = np.all(trace["thread"] == self.example.thread, axis=-1)
        return np.asarray(self.of_first_block(trace) & mine)


def _flat(index: Array, sizes: tuple[int, ...]) -> Array:
    flat = index[..., 0] + sizes[0] * (index[..., 1] + sizes[1] * index[..., 2])
    return np.where(index[..., 0] < 0, -1, flat)


def run(module: str, name: str, order: Any, seed: int, check: Any) -> Run:
    """Run it as asked for, and compare; then twice more, to see who writes and who reads.

    Of each number the emulator knows the last reader. In reverse order the first block is the last
    to run, so that all it reads is its own; where threads do not wait, so it is for its first one.
    """
    made, kernel = example(module, name), f"{name}<float>"
    arguments = list(made.arguments.values())
    block = made.block
    emulator.run(module, kernel, arguments, block=block, order=order, seed=seed, check=check)
    differences = {
        key: float(np.abs(made.arguments[key] - value).max())
        for key, value in made.expected.items()
    }
    source, _, templates = cuda_source.find(FOLDER / f"{module}.cu", kernel)
    grid, threads = cuda_source.launch_shape(
        source,
        templates,
        made.arguments,
        emulator.launch.MAX_BLOCKS,
        None if block is None else (block, 1, 1),
    )
    writes = emulator.trace(module, kernel, arguments, made.output, block=block)
    reads = {
        key: emulator.trace(module, kernel, arguments, key, "read", block=block, order="reverse")
        for key in made.inputs
    }
    return Run(module, name, made, grid, threads, differences, writes, reads)


def report(done: Run) -> Iterator[str]:
    """Lines of text: the launch, the differences, who wrote what, what was read for it."""
    made, output = done.example, done.example.output
    yield f"{done.module}.cu: {done.name}<float>, on the emulator"
    for key, value in made.arguments.items():
        if isinstance(value, np.ndarray):
            yield f"  {key} {value.shape}"
    numbers = {k: v for k, v in made.arguments.items() if not isinstance(v, np.ndarray)}
    if numbers:
        yield "  " + ", ".join(f"{key} = {value}" for key, value in numbers.items())
    yield f"Launch: grid {done.grid}, block {done.block}{smaller_block(done)}"
    for key, difference in done.differences.items():
        yield f"Largest difference of {key} from what is expected: {difference:.2g}"
    yield ""
    yield from _who_wrote(done)
    yield ""
    first = f"Thread {made.thread} of block {FIRST}"
    yield f"{first} wrote {_places(output, done.of_thread(done.writes))}"
    for key, trace in done.reads.items():
        if made.own_reads:
            yield f"{first} read {_places(key, done.of_thread(trace))}"
        mine = done.of_first_block(trace)
        if not (mine == done.of_thread(trace)).all():
            yield f"Its block read {_places(key, mine)}"


def smaller_block(done: Run) -> str:
    """A remark, where the block is not the launch line's."""
    if done.example.block is None:
        return ""
    return f" (fewer threads than its launch line says, so that there are {done.grid[0]} blocks)"


def _who_wrote(done: Run) -> Iterator[str]:
    """A grid of block:thread, or of large outputs what each block wrote."""
    output = done.example.output
    blocks = done.matrix(output, done.by_block(done.writes))
    threads = done.matrix(output, done.by_thread(done.writes))
    if blocks.size <= CELLS:
        yield f"block:thread that wrote each element of {output}, as rows of {blocks.shape[1]}"
        cells = [[f"{b}:{t}" for b, t in zip(*row)] for row in zip(blocks, threads)]
        width = max(len(cell) for row in cells for cell in row)
        yield from ("  " + " ".join(cell.rjust(width) for cell in row) for row in cells)
        return
    for block in range(int(np.prod(done.grid))):
        x, y, z = np.unravel_index(block, done.grid, order="F")
        mine = done.by_block(done.writes) == block
        count = len(np.unique(done.by_thread(done.writes)[mine]))
        yield f"block {(int(x), int(y), int(z))}: {_places(output, mine)}, by {count} threads"


def _places(name: str, mask: Array) -> str:
    """``c[0, 0-63, 0-127]``, of elements that are a product of ranges; else how many they are."""
    used = [np.unique(axis) for axis in np.nonzero(mask)]
    if not mask.any():
        return f"nothing of {name}"
    if np.prod([len(axis) for axis in used]) != mask.sum():
        return f"{mask.sum()} elements of {name}"
    return f"{name}[{', '.join(_ranges(axis) for axis in used)}]"


def _ranges(numbers: Array) -> str:
    parts = []
    for _, group in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
        members = [int(n) for _, n in group]
        parts.append(str(members[0]) if len(members) == 1 else f"{members[0]}-{members[-1]}")
    return " ".join(parts)
