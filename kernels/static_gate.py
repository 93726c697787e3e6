"""What can be known of the CUDA kernels without a GPU: that they compile, and what they cost.

    python -m minitorch_cnn.kernels.static_gate [--update]

Every kernel, for every type of numbers that it takes, is compiled to machine code for five
generations of GPUs. Its registers, its shared memory and its local memory must not exceed
``budget.json``, and no register may be spilled; ``--update`` writes what was measured, and
``BUDGET.md`` with the occupancy that follows and the instructions of each kernel's hot loop. The
figures are those of one compiler version: another one is refused, not compared.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import itertools
import json
import math
import os
import re
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import cuda_source, nvrtc, sass
from .backend import available_cores
from .cache import directory

HERE = Path(__file__).parent
BUDGET = HERE / "budget.json"
TABLE = HERE / "BUDGET.md"


@dataclass(frozen=True)
class Multiprocessor:
    """What the threads of one multiprocessor share out among themselves.

    Source: CUDA Programming Guide, "Technical specifications per compute capability"; how resources
    are rounded: cuda_occupancy.h of the toolkit.
    """

    gpu: str
    warps: int
    blocks: int
    shared: int  # bytes
    shared_unit: int
    shared_reserved: int  # per block, by the system
    registers: int = 65536


WARP = 32
PARTITIONS = 4  # of a multiprocessor: a warp's registers lie in one of them
REGISTER_UNIT = 256  # per warp
ARCHITECTURES = {
    "sm_75": Multiprocessor("T4, RTX 20", 32, 16, 64 << 10, 256, 0),
    "sm_80": Multiprocessor("A100", 64, 32, 164 << 10, 128, 1024),
    "sm_90": Multiprocessor("H100, H200", 64, 32, 228 << 10, 128, 1024),
    "sm_100": Multiprocessor("B200", 64, 32, 228 << 10, 128, 1024),
    "sm_120": Multiprocessor("RTX 50", 48, 24, 100 << 10, 128, 1024),
}
SHOWN = "sm_90"  # the one whose instructions are listed


@dataclass(frozen=True)
class Usage:
    """What one kernel takes on one architecture, as ptxas reports it."""

    registers: int
    shared: int  # static, bytes per block
    stack: int  # local memory, bytes per thread: arrays with computed indices
    spills: int  # bytes stored to and loaded from local memory for want of registers


@dataclass(frozen=True)
class Kernel:
    """One instance of a kernel: ``relu<float>`` of elementwise.cu."""

    file: str
    name: str
    threads: int  # of a block
    usage: dict[str, Usage]  # by architecture
    mix: sass.Mix


def occupancy(usage: Usage, threads: int, arch: str) -> float:
    """Resident warps over possible warps, if nothing but the multiprocessor's size limits them."""
    sm = ARCHITECTURES[arch]
    warps = _round_up(threads, WARP) // WARP
    per_warp = _round_up(usage.registers * WARP, REGISTER_UNIT)
    by_registers = sm.registers // PARTITIONS // per_warp * PARTITIONS // warps
    shared = _round_up(usage.shared + sm.shared_reserved, sm.shared_unit)
    by_shared = sm.shared // shared if shared else sm.blocks
    return min(sm.blocks, sm.warps // warps, by_registers, by_shared) * warps / sm.warps


def _round_up(n: int, unit: int) -> int:
    return -(-n // unit) * unit


_ENTRY = re.compile(r"Compiling entry function '(\w+)' for")
_STACK = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
_USED = re.compile(r"Used (\d+) registers.*")
_SHARED = re.compile(r"(\d+) bytes smem")


def read_log(log: str) -> dict[str, Usage]:
    """ptxas's report, by mangled name. A function that a kernel calls is reported after it, and
    its spills are the kernel's."""
    usage = {}
    _, *parts = _ENTRY.split(log)
    for symbol, report in zip(parts[::2], parts[1::2], strict=True):
        used, frames = _USED.search(report), _STACK.findall(report)
        if used is None or not frames:
            raise ValueError(f"no figures for {symbol} in the compiler's log:\n{report}")
        shared = _SHARED.search(used[0])
        usage[symbol] = Usage(
            registers=int(used[1]),
            shared=int(shared[1]) if shared else 0,
            stack=max(int(frame[0]) for frame in frames),
            spills=sum(int(frame[1]) + int(frame[2]) for frame in frames),
        )
    return usage


def measure(paths: Sequence[Path] | None = None) -> list[Kernel]:
    """Every kernel of these files, or of all, compiled for every architecture."""
    paths = sorted(HERE.glob("*.cu")) if paths is None else paths
    with ThreadPoolExecutor(available_cores()) as pool:
        programs = {
            (path, arch): pool.submit(compile_file, path, arch)
            for path in paths
            for arch in ARCHITECTURES
            if instances(path, arch)
        }
        return [
            kernel
            for path in paths
            for kernel in _kernels(
                path, {arch: p.result() for (of, arch), p in programs.items() if of == path}
            )
        ]


def _kernels(path: Path, programs: dict[str, nvrtc.Program]) -> Iterator[Kernel]:
    usage = {arch: read_log(program.log) for arch, program in programs.items()}
    shown = programs[SHOWN]
    mixes = sass.mixes(shown.cubin)
    for name, threads in instances(path, SHOWN).items():
        yield Kernel(
            path.name,
            name,
            threads,
            {
                arch: usage[arch][program.symbols[name]]
                for arch, program in programs.items()
                if name in program.symbols
            },
            mixes[shown.symbols[name]],
        )


def instances(path: Path, arch: str) -> dict[str, int]:
    """``relu<float>``, ...: what is compiled of a file, and the threads of its blocks."""
    found = {}
    for kernel in cuda_source.kernels(path).values():
        if len(kernel.templates) > 1:
            raise ValueError(f"{path.name}: {kernel.name} has templates {kernel.templates}, not T")
        if kernel.rule is None:
            raise ValueError(f"{path.name}: {kernel.name} has no '// launch:' line")
        for kind, oldest in kernel.types.items():
            if oldest and _generation(arch) < _generation(oldest):
                continue
            values = kernel.values([kind] if kind else [])
            sizes = (cuda_source.constant(kernel, values, part) for part in kernel.rule.block)
            found[f"{kernel.name}<{kind}>" if kind else kernel.name] = math.prod(sizes)
    return found


def _generation(arch: str) -> int:
    return int(arch.removeprefix("sm_"))


def compile_file(path: Path, arch: str) -> nvrtc.Program:
    """All instances in one file; from the cache if neither source nor compiler has changed."""
    names = list(instances(path, arch))
    source = cuda_source.inlined(path)
    folder = directory()
    if folder is None:
        return nvrtc.compile_cuda(source, names, arch, path.name)
    key = repr((source, names, arch, nvrtc.OPTIONS, nvrtc.version())).encode()
    cached = folder / f"{path.stem}-{arch}-{hashlib.sha256(key).hexdigest()}.cubin"
    try:
        head, _, cubin = cached.read_bytes().partition(b"\n")
        facts = json.loads(head)
        if facts["bytes"] == len(cubin):
            return nvrtc.Program(cubin, facts["log"], facts["symbols"])
    except (OSError, ValueError, KeyError):
        pass  # not there, or not whole
    program = nvrtc.compile_cuda(source, names, arch, path.name)
    facts = {"bytes": len(program.cubin), "log": program.log, "symbols": program.symbols}
    new = cached.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
    with contextlib.suppress(OSError):
        new.write_bytes(json.dumps(facts).encode() + b"\n" + program.cubin)
        new.replace(cached)
    return program


def budget(kernels: Sequence[Kernel]) -> dict[str, Any]:
    """What ``budget.json`` holds; lists are in the order of its architectures, with None for one
    that the kernel's type does not exist on."""
    return {
        "compiler": f"{nvrtc.WHEEL} {nvrtc.version()}",
        "architectures": list(ARCHITECTURES),
        "kernels": {
            f"{kernel.file} {kernel.name}": {
                what: [getattr(kernel.usage.get(arch), what, None) for arch in ARCHITECTURES]
                for what in ("registers", "shared", "stack")
            }
            for kernel in kernels
        },
    }


def check(kernels: Sequence[Kernel], allowed: dict[str, Any]) -> list[str]:
    """What is wrong, a sentence each; nothing if the gate is open."""
    measured = budget(kernels)
    for what in ("compiler", "architectures"):
        if measured[what] != allowed[what]:
            return [f"budget.json is for {what} {allowed[what]}; here: {measured[what]}"]
    wrong = [
        f"{kernel.file} {kernel.name}, {arch}: spills {usage.spills} bytes of registers"
        for kernel in kernels
        for arch, usage in kernel.usage.items()
        if usage.spills
    ]
    gone = sorted(allowed["kernels"].keys() - measured["kernels"].keys())
    wrong += [f"{name}: in budget.json, not in the sources" for name in gone]
    for name, takes in measured["kernels"].items():
        if name not in allowed["kernels"]:
            wrong.append(f"{name}: not in budget.json")
            continue
        for what, values in takes.items():
            for arch, value, limit in zip(
                ARCHITECTURES, values, allowed["kernels"][name][what], strict=True
            ):
                if value is not None and (limit is None or value > limit):
                    wrong.append(f"{name}, {arch}: {what} {value}, the budget is {limit}")
    return wrong


def budget_text(kernels: Sequence[Kernel]) -> str:
    """JSON with a line per kernel, so that a change of one is a change of one line."""
    data = budget(kernels)
    rows = ",\n".join(
        f"    {json.dumps(name)}: {json.dumps(takes)}"
        for name, takes in data.pop("kernels").items()
    )
    head = ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in data.items())
    return f'{{\n{head},\n  "kernels": {{\n{rows}\n  }}\n}}\n'


INTRODUCTION = """\
# What each CUDA kernel takes

Written by `python -m minitorch_cnn.kernels.static_gate --update`; a test compares it with the
sources. Compiler: {compiler}. No kernel spills a register.

| architecture | for example | warps | blocks | shared memory | registers |
|---|---|---|---|---|---|
{limits}

These are the limits of one multiprocessor (CUDA Programming Guide, technical specifications per
compute capability). **Occupancy** is the share of its warps that can be resident: how much waiting
for memory can be hidden, not how fast a kernel is. It is computed, not measured.

The **hot loop** is, in the machine code for {shown}, the one with the most multiply-adds (FFMA,
DFMA, HMMA), without the loops inside it; where they are less than an eighth of it, the innermost
one with the most of them, and then of loads. An HMMA is 64 multiply-adds per thread or more, and a
few are enough. Of a loop that the compiler unrolled, it holds several
rounds. **Local** counts loads and stores of local memory in the whole kernel. Several numbers in a
cell are those of the architectures in this order, with a dash for one that has no instructions for
the kernel's type; a single one holds for all.
"""
COLUMNS = (
    "kernel", "threads", "registers", "shared bytes", "occupancy %", "instructions", "hot loop",
    "multiply-adds", "global loads", "shared loads", "local",
)  # fmt: skip


def table(kernels: Sequence[Kernel]) -> str:
    """``BUDGET.md``."""
    limits = "\n".join(
        f"| {a} | {sm.gpu} | {sm.warps} | {sm.blocks} | {sm.shared >> 10} KB | {sm.registers} |"
        for a, sm in ARCHITECTURES.items()
    )
    compiler = f"{nvrtc.WHEEL} {nvrtc.version()}"
    text = [INTRODUCTION.format(compiler=compiler, limits=limits, shown=SHOWN)]
    for file, group in itertools.groupby(kernels, key=lambda kernel: kernel.file):
        text += [f"## {file}\n", f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
        text += [_row(kernel) for kernel in group]
        text.append("")
    return "\n".join(text)


def _row(kernel: Kernel) -> str:
    used, loop = [kernel.usage.get(arch) for arch in ARCHITECTURES], kernel.mix.loop
    length = loop.total()
    fma = sass.count(loop, sass.MULTIPLY_ADDS)
    cells = [
        f"`{kernel.name}`",
        kernel.threads,
        _joined(str(u.registers) if u else "-" for u in used),
        _joined(str(u.shared) if u else "-" for u in used),
        _joined(
            str(round(100 * occupancy(u, kernel.threads, a))) if u else "-"
            for a, u in zip(ARCHITECTURES, used, strict=True)
        ),
        kernel.mix.kernel.total(),
        length,
        f"{fma} ({100 * fma / length:.0f} %)" if fma else 0,
        loop["LDG"],
        loop["LDS"] + loop["LDSM"],
        sass.count(kernel.mix.kernel, sass.LOCAL),
    ]
    return f"| {' | '.join(map(str, cells))} |"


def _joined(values: Iterable[str]) -> str:
    """Once if they are all the same."""
    values = list(values)
    return values[0] if len(set(values)) == 1 else " / ".join(values)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--update", action="store_true", help="write budget.json and BUDGET.md")
    update = parser.parse_args(arguments).update
    try:
        kernels = measure()
    except (nvrtc.MissingError, nvrtc.CompileError) as error:
        print(error, file=sys.stderr)
        return 1
    if update:
        BUDGET.write_text(budget_text(kernels), encoding="utf-8")
        TABLE.write_text(table(kernels), encoding="utf-8")
    wrong = check(kernels, json.loads(BUDGET.read_text(encoding="utf-8")))
    if not wrong and TABLE.read_text(encoding="utf-8") != table(kernels):
        wrong = ["BUDGET.md is not what --update writes"]
    for sentence in wrong:
        print(sentence, file=sys.stderr)
    print(f"{len(kernels)} kernels x {len(ARCHITECTURES)} architectures: {len(wrong)} problems")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
