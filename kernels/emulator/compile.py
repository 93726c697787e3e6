"""From a .cu to a library that this process loads, or to a program with AddressSanitizer in it.

Both consist of three pieces: ``runtime.cpp``; the .cu behind ``cuda.h``; and two generated lines
that name the kernel, so that g++ instantiates its template. Built once, kept in the user's cache
directory under a hash of all that went in.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from ..cuda_source import inlined
from .errors import EmulatorError, EmulatorUnavailableError

HERE = Path(__file__).parent
KEEP = 30 * 24 * 3600  # seconds
HALVES = ("cuda_fp16.h", "cuda_bf16.h", "mma.h")
OURS = ("cuda.h", "runtime.cpp", "interface.h", "driver.cpp", *HALVES)
# Files that a report does not mean, where a line of the kernel called into them.
NOT_THE_KERNEL = (*OURS, "array.cuh", "entry", "kernel.cpp")

COMMON = ["-std=c++17", "-O1", "-g", "-fPIC", "-fvisibility=hidden", "-fno-gnu-unique", "-w"]
# An error report must hold what the source says, and every run the same bits.
COMMON += ["-fno-omit-frame-pointer", "-ffp-contract=off"]
# Checks that are always on: calls into runtime.cpp, no library. The first counts the steps.
ALWAYS = [
    "-fsanitize-coverage=trace-pc",
    "-fsanitize=alignment,bounds-strict,integer-divide-by-zero",
    "-fno-sanitize-recover=all",
]
CHECKS = {
    None: ALWAYS,
    "undefined": [
        ALWAYS[0],
        "-fsanitize=undefined,bounds-strict,float-cast-overflow",
        "-fno-sanitize=vptr",
        "-fno-sanitize-recover=all",
    ],
    # The instrumentation of ThreadSanitizer over our own run time, which knows CUDA's barriers.
    "thread": [*ALWAYS, "-fsanitize=thread", "--param", "tsan-instrument-func-entry-exit=0"],
    "address": [*ALWAYS, "-fsanitize=address"],
    "none": ["-O2"],
}


@dataclasses.dataclass(frozen=True)
class Built:
    """A library (or program, for check="address") and the ``__shared__`` variables in it."""

    path: Path
    shared: tuple[tuple[str, int, int], ...]  # name, offset from the start of the file, bytes


@functools.cache
def _compiler() -> tuple[str, str, str]:
    """(path, version, "") of g++, or ("", "", why there is none)."""
    if platform.system() != "Linux":
        return "", "", f"the CUDA emulator runs on Linux only, and this is {platform.system()}"
    name = os.environ.get("CXX", "g++")
    path = shutil.which(name)
    if path is None:
        reason = f"the CUDA emulator needs GCC's C++ compiler, and {name!r} is not on the PATH"
        return "", "", f"{reason} (Debian, Ubuntu: apt install g++)"
    done = subprocess.run(  # noqa: S603
        [path, "-v"], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    version = done.stderr.strip()
    if done.returncode or "gcc version" not in version:
        return "", "", f"the CUDA emulator needs GCC's C++ compiler, and {path} is another one"
    return path, version, ""


def why_unavailable() -> str | None:
    """One sentence that says why nothing can be emulated here, or None."""
    return _compiler()[2] or None


def build(path: Path, expression: str, check: str | None) -> Built:
    """Compile the kernel ``expression`` of the .cu at ``path``, unless that was done before."""
    if reason := why_unavailable():
        raise EmulatorUnavailableError("compile", reason)
    entry = (
        f"namespace emulator {{ void kernel_entry(void** a) {{ call(&{expression}, a); }} }}\n"
        f'extern "C" int emulator_sizes(int* s) {{ return emulator::sizes(&{expression}, s); }}\n'
    )
    # Kernels are static here: see cuda.h.
    code = re.sub(r'extern "C"\s+__global__', "__global__", inlined(path))
    source = f'#include "cuda.h"\n#include "interface.h"\n{code}\n#line 1 "entry"\n{entry}'
    return _build(source, path.name, expression, check)


def build_fast(code: str, names: tuple[str, ...]) -> Path:
    """Compile several kernels of a source text (with its headers in it) into one library, without
    the checks: ``emulator_choose`` says which of them ``emulator_run`` runs."""
    if reason := why_unavailable():
        raise EmulatorUnavailableError("compile", reason)
    cases = [f"case {i}: call(&{name}, a); break;" for i, name in enumerate(names)]
    counts = [f"case {i}: return emulator::sizes(&{name}, s);" for i, name in enumerate(names)]
    public = 'extern "C" __attribute__((visibility("default")))'
    entry = (
        "static int chosen;\n"
        f"namespace emulator {{ void kernel_entry(void** a) {{ switch (chosen) {{ {' '.join(cases)}"
        " } } }\n"
        f"{public} void emulator_choose(int kernel) {{ chosen = kernel; }}\n"
        f"{public} int emulator_sizes_of(int kernel, int* s) {{ switch (kernel) {{"
        f" {' '.join(counts)} }} return -1; }}\n"
    )
    source = f'#include "cuda.h"\n#include "interface.h"\n{code}\n#line 1 "entry"\n{entry}'
    return _build(source, "kernels", f"{len(names)} kernels", "none").path


@functools.lru_cache(maxsize=256)
def _build(source: str, file: str, expression: str, check: str | None) -> Built:
    flags = CHECKS[check]
    key = _digest(source, flags)
    folder = _folder()
    plain = "".join(c if c.isalnum() else "_" for c in expression)
    target = folder / f"{plain}-{check or 'plain'}-{key}"
    listing = target.with_suffix(".json")
    if target.exists() and listing.exists():
        with contextlib.suppress(OSError):
            target.touch()
            listing.touch()
    else:
        _forget_old(folder)
        with tempfile.TemporaryDirectory(prefix=".build-", dir=folder) as name:
            work = Path(name)
            (work / "kernel.cpp").write_text(source, encoding="utf-8")
            compiler = _compiler()[0]
            _run(
                [compiler, *COMMON, *flags, f"-I{HERE}", "-c", "kernel.cpp", "-o", "kernel.o"],
                work,
                file,
                expression,
            )
            # One program for AddressSanitizer, which wants to be there from the start.
            kind = ["-fsanitize=address", "-pie"] if check == "address" else ["-shared"]
            objects = [_runtime(folder, check)]
            if check == "address":
                objects.append(_runtime(folder, check, "driver.cpp"))
            _run(
                [compiler, "kernel.o", *map(str, objects), *kind, "-lm", "-o", "whole"],
                work,
                file,
                expression,
            )
            (work / "listing").write_text(json.dumps(_shared(work / "whole")), encoding="utf-8")
            (work / "listing").replace(listing)
            (work / "whole").replace(target)
    shared = json.loads(listing.read_text(encoding="utf-8"))
    return Built(target, tuple((name, at, size) for name, at, size in shared))


def _forget_old(folder: Path) -> None:
    """Remove what nobody has used for a month, such as earlier versions of a kernel."""
    for path in folder.iterdir():
        with contextlib.suppress(OSError):  # another process is doing the same
            if path.is_file() and path.stat().st_mtime < time.time() - KEEP:
                path.unlink()


def _runtime(folder: Path, check: str | None, name: str = "runtime.cpp") -> Path:
    """runtime.cpp compiled: not instrumented, but it tells AddressSanitizer of its fibers."""
    flags = ["-DEMULATOR_ADDRESS"] if check == "address" else []
    target = folder / f"{Path(name).stem}-{_digest(name, flags)}.o"
    if not target.exists():
        with tempfile.TemporaryDirectory(prefix=".build-", dir=folder) as work:
            command = [_compiler()[0], *COMMON, *flags, "-c", str(HERE / name), "-o", "out.o"]
            _run(command, Path(work), name, name)
            (Path(work) / "out.o").replace(target)
    return target


@functools.cache
def _folder() -> Path:
    from ..cache import directory

    top = directory()
    if top is None:  # no safe place to keep anything: compile anew in every process
        kept = tempfile.TemporaryDirectory(prefix="minitorch_cnn-emulator-")
        _kept.append(kept)
        return Path(kept.name)
    folder = top / "emulator"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


_kept: list[tempfile.TemporaryDirectory[str]] = []


def _digest(*things: object) -> str:
    ours = [(HERE / name).read_text(encoding="utf-8") for name in OURS]
    return hashlib.sha256(repr((things, COMMON, ours, _compiler())).encode()).hexdigest()[:20]


def _run(command: Sequence[str], folder: Path, file: str, expression: str) -> str:
    done = subprocess.run(  # noqa: S603
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "LC_ALL": "C"},
    )
    if done.returncode:
        said = done.stderr.replace(f"{HERE}/", "").strip()
        raise EmulatorError("compile", f"g++ rejects {file}:\n{said}", expression)
    return done.stdout


def _shared(program: Path) -> list[tuple[str, int, int]]:
    """The ``__shared__`` variables: the static variables of functions that start as zeros."""
    table = _run(["objdump", "-t", str(program)], program.parent, program.name, program.name)
    found = []
    for line in table.splitlines():
        fields = line.replace(".hidden", "").split()
        if len(fields) >= 5 and fields[-3] == ".bss" and fields[-1].startswith("_ZZ"):
            found.append((_plain_name(fields[-1]), int(fields[0], 16), int(fields[-2], 16)))
    return found


def _plain_name(mangled: str) -> str:
    with contextlib.suppress(OSError):
        done = subprocess.run(  # noqa: S603
            ["c++filt", mangled],  # noqa: S607
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        return done.stdout.strip().rpartition("::")[2] or mangled
    return mangled


def source_line(program: Path, address: int) -> tuple[str, int]:
    """(file, line) of the kernel's source that an instruction stands for."""
    with contextlib.suppress(OSError, EmulatorError):
        command = ["addr2line", "-i", "-e", str(program), hex(address)]
        frames = _run(command, program.parent, "", "").split("\n")
        for frame in frames:
            file, _, line = frame.partition(" ")[0].rpartition(":")
            name = Path(file).name
            if line.isdigit() and name not in NOT_THE_KERNEL:
                return name, int(line)
    return "", 0
