"""Kernels of the .py run as their CUDA twins, on the emulator."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minitorch_cnn.kernels import cuda_source, jit, norm, pool

from .common import CPP, ORDERS, assert_same_bits, emulate


def run(file: str, name: str, *args: Any, check: Any = None) -> None:
    """Run ``name`` of kernels/``file``.cu in several thread orders, which must give the same bits,
    or in one under a sanitizer. Results hold garbage before."""
    T = next(CPP[a.dtype] for a in args if isinstance(a, np.ndarray))
    _, parameters, _ = cuda_source.find(Path(jit.__file__).with_name(f"{file}.cu"), f"{name}<{T}>")
    written = [i for i, p in enumerate(parameters) if p.ndim is not None and not p.const]
    results = []
    for settings in ORDERS if check is None else [{"check": check}]:
        trial = list(args)
        for i in written:
            trial[i] = np.full_like(args[i], np.nan if args[i].dtype.kind == "f" else -77)
        emulate(file, name, *trial, **settings)
        results.append(tuple(trial[i] for i in written))
    assert_same_bits(results)
    for i, result in zip(written, results[0], strict=True):
        args[i][...] = result


@contextlib.contextmanager
def emulated(check: Any = None) -> Iterator[list[str]]:
    """Calls of kernels go to the .cu beside the .py: same name, same arguments in the same order,
    whatever the small function around them does. Gives the list of those that ran."""
    ran: list[str] = []

    def call(kernel: jit.Kernel, *args: Any) -> None:
        file, name = kernel.fn.__module__.rpartition(".")[2], kernel.fn.__name__.lstrip("_")
        ran.append(name)
        run(file, name, *args, check=check)

    with pytest.MonkeyPatch.context() as patch, np.errstate(all="ignore"):
        patch.setattr(jit.Kernel, "__call__", call)
        # On the CPU alone, rows of one element and the windows of kernels have loops of their own.
        patch.setattr(norm, "_run", lambda k, _, x, *args: k(x, *args) if x.size else None)
        patch.setattr(pool, "window_of", lambda *_: None)
        yield ran
