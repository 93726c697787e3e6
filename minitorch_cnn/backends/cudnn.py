"""``torch.backends.cudnn``: cuDNN is not used; on a GPU the kernels are our own.

``benchmark = True`` lets the clock choose the algorithm of each convolution on the CPU, unless
``deterministic`` is set too: see :mod:`minitorch_cnn.backends.conv2d`. The other flags keep what
they are set to and change nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ..kernels import autotune

enabled: bool = True
benchmark: bool = False
benchmark_limit: int = 10
deterministic: bool = False
allow_tf32: bool = True

autotune.also_if(lambda: benchmark)
autotune.never_if(lambda: benchmark and deterministic)


def is_available() -> bool:
    """False."""
    return False


def version() -> None:
    """None."""
    return


@contextlib.contextmanager
def flags(
    enabled: bool = False,
    benchmark: bool = False,
    benchmark_limit: int = 10,
    deterministic: bool = False,
    allow_tf32: bool = True,
) -> Iterator[None]:
    """Set the flags inside a ``with`` block."""
    chosen = {
        "enabled": enabled, "benchmark": benchmark, "benchmark_limit": benchmark_limit,
        "deterministic": deterministic, "allow_tf32": allow_tf32,
    }  # fmt: skip
    previous = {name: globals()[name] for name in chosen}
    globals().update(chosen)
    try:
        yield
    finally:
        globals().update(previous)
