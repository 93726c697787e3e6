"""CUDA C++ to machine code where there is neither GPU nor CUDA toolkit: NVIDIA's compiler library.

NVRTC comes as a wheel of 60 MB (``pip install "minitorch-cnn[gate]"``) and is called through
ctypes. It is also what CuPy compiles with at run time, so that what passes here passes there.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.metadata
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .cache import directory

WHEEL = "nvidia-cuda-nvrtc"
LIBRARY = "nvrtc64_" if sys.platform == "win32" else "libnvrtc.so"
DISASSEMBLER = "nvidia-cuda-nvdisasm"
OPTIONS = ("--std=c++17", "--ptxas-options=-v")


class MissingError(ImportError):
    """A wheel that the gate stands on is not installed."""


class CompileError(Exception):
    """The compiler's log."""


@dataclass(frozen=True)
class Program:
    """One source for one architecture."""

    cubin: bytes
    log: str  # with ptxas's report of registers, stack and shared memory for each kernel
    symbols: dict[str, str]  # "max_pool2d<float>" -> the mangled name in the cubin and the log


def version() -> str:
    """Of the installed compiler; "" where there is none."""
    try:
        return importlib.metadata.version(WHEEL)
    except importlib.metadata.PackageNotFoundError:
        return ""


def installed_file(wheel: str, start: str) -> Path:
    """The one file of a wheel whose name begins with ``start``."""
    try:
        files = importlib.metadata.files(wheel) or []
    except importlib.metadata.PackageNotFoundError:
        raise MissingError(f'{wheel} is not installed: pip install "minitorch-cnn[gate]"') from None
    for file in files:
        if file.name.startswith(start):
            return Path(str(file.locate()))
    raise MissingError(f"{wheel} {importlib.metadata.version(wheel)} has no file {start}*")


@functools.cache
def _library() -> Any:
    library = ctypes.CDLL(str(installed_file(WHEEL, LIBRARY)))
    library.nvrtcGetErrorString.restype = ctypes.c_char_p
    return library


@functools.cache
def headers() -> Path:
    """The folder of ``cuda_fp16.h``, ``mma.h``, ...: NVRTC carries them, and unpacks them here."""
    top = directory()
    if top is None:  # no safe place to keep anything
        kept = tempfile.TemporaryDirectory(prefix="minitorch_cnn-headers-")
        _kept.append(kept)
        top = Path(kept.name)
    folder = top / f"cuda-headers-{version()}"
    said = ctypes.c_char_p()
    if _library().nvrtcInstallBundledHeaders(str(folder).encode(), 0, ctypes.byref(said)):
        raise CompileError(f"NVRTC cannot unpack its headers: {(said.value or b'').decode()}")
    return folder


_kept: list[tempfile.TemporaryDirectory[str]] = []


def _check(status: int) -> None:
    if status:
        raise CompileError(_library().nvrtcGetErrorString(status).decode())


def _bytes(program: ctypes.c_void_p, what: str) -> bytes:
    """NVRTC gives everything in two calls: its size, then itself."""
    library, size = _library(), ctypes.c_size_t()
    _check(getattr(library, f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
    buffer = ctypes.create_string_buffer(size.value)
    _check(getattr(library, f"nvrtcGet{what}")(program, buffer))
    return buffer.raw


def compile_cuda(source: str, names: Sequence[str], arch: str, file: str) -> Program:
    """Machine code of the instances ``names`` ("relu<float>") for ``arch`` ("sm_90").

    ``file`` is what errors call the source. Raises CompileError with the compiler's log, of
    warnings too.
    """
    library, program = _library(), ctypes.c_void_p()
    _check(
        library.nvrtcCreateProgram(
            ctypes.byref(program), source.encode(), file.encode(), 0, None, None
        )
    )
    try:
        for name in names:
            _check(library.nvrtcAddNameExpression(program, name.encode()))
        settings = f"--gpu-architecture={arch}", f"-I{headers()}", *OPTIONS
        options = [option.encode() for option in settings]
        failed = library.nvrtcCompileProgram(
            program, len(options), (ctypes.c_char_p * len(options))(*options)
        )
        log = _bytes(program, "ProgramLog").rstrip(b"\0").decode()
        if failed or ": warning" in log:
            raise CompileError(f"{file} for {arch}:\n{log}")
        symbols = {}
        for name in names:
            symbol = ctypes.c_char_p()
            _check(library.nvrtcGetLoweredName(program, name.encode(), ctypes.byref(symbol)))
            assert symbol.value is not None
            symbols[name] = symbol.value.decode()
        return Program(_bytes(program, "CUBIN"), log, symbols)
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))
