"""Every kernel as plain loops over scalars: the specification that the fast ones are tested on.

Nothing here is fast. One module per kernel module (``conv2d``, ``pool``, ``norm``, ...), functions
of the same names; sums are accumulated in float64 and rounded once, to the input's dtype.
"""

from __future__ import annotations

import importlib
from types import ModuleType


def __getattr__(name: str) -> ModuleType:
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(f".{name}", __name__)
