"""Machine code read back: which instructions a kernel's innermost loop is made of.

SASS is what a GPU runs; ``nvdisasm`` lists it (``pip install "minitorch-cnn[gate]"``).
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import nvrtc

# The product-and-sums that a kernel is there for, of numbers and (HMMA, DMMA) of small matrices.
MULTIPLY_ADDS = ("FFMA", "DFMA", "HFMA2", "HMMA", "DMMA", "IMMA")
TENSOR = ("HMMA", "DMMA", "IMMA")  # 64 multiply-adds per thread and more, in one instruction
LOADS = ("LDG", "LDS", "LDSM")
LOCAL = ("LDL", "STL")  # registers or arrays kept in memory

_SECTION = re.compile(r"^\.text\.(\w+):$", re.MULTILINE)
_LABEL = re.compile(r"^(\.L_\w+):")
_INSTRUCTION = re.compile(r"/\*[0-9a-f]{4,}\*/\s+(?:\{\s*)?(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_]*)")
_BRANCH_TO = re.compile(r"BRA\S*.*\(?(\.L_\w+)\)?")


@dataclass(frozen=True)
class Mix:
    """How often each instruction stands in a kernel, and in its hot loop."""

    kernel: Counter[str]
    loop: Counter[str]  # empty where there is none


def mixes(cubin: bytes) -> dict[str, Mix]:
    """By mangled name of the kernel."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernels.cubin"
        path.write_bytes(cubin)
        listing = subprocess.run(  # noqa: S603 - our own file, the installed tool
            [nvrtc.installed_file(nvrtc.DISASSEMBLER, "nvdisasm"), "-c", path],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
    _, *parts = _SECTION.split(listing)
    return {
        symbol: read_listing(code) for symbol, code in zip(parts[::2], parts[1::2], strict=True)
    }


def read_listing(listing: str) -> Mix:
    """One kernel. A loop is what lies between a label and a jump back to it, without the loops
    inside. The hot one has a tensor core's instructions; or the most multiply-adds, if they are an
    eighth of it or more; else it is the innermost one with the most of them, and then of loads."""
    opcodes: list[str] = []
    labels: dict[str, int] = {}
    loops: list[range] = []
    called = False
    for line in listing.splitlines():
        if line.startswith("$"):  # functions that the kernel calls follow it
            called = True
        elif label := _LABEL.match(line):
            labels[label[1]] = len(opcodes)
        elif instruction := _INSTRUCTION.search(line):
            opcodes.append(instruction[1])
            target = _BRANCH_TO.search(line)
            if target and target[1] in labels and not called:
                loops.append(range(labels[target[1]], len(opcodes)))
    hot: tuple[Any, Counter[str]] = ((), Counter())
    for loop in loops:
        if len(loop) == 1:  # a kernel ends in a jump to itself, and padding
            continue
        inside = {i for other in loops if _within(other, loop) for i in other}
        own = Counter(opcodes[i] for i in loop if i not in inside)
        fma = count(own, MULTIPLY_ADDS)
        rank = count(own, TENSOR), fma >= own.total() / 8, not inside, fma, count(own, LOADS)
        hot = max(hot, (rank, own), key=lambda pair: pair[0])
    while opcodes and opcodes[-1] == "NOP":
        opcodes.pop()
    return Mix(Counter(opcodes), hot[1])


def _within(inner: range, outer: range) -> bool:
    return inner != outer and outer.start <= inner.start and inner.stop <= outer.stop


def count(instructions: Counter[str], names: tuple[str, ...]) -> int:
    """How many of these kinds there are."""
    return sum(instructions[name] for name in names)
