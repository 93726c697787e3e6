"""Layers, containers, losses, initialisation: ``torch.nn`` for convolutional networks."""

from __future__ import annotations

from typing import Any

from . import functional, init, modules, parameter, utils
from ._missing import missing
from .modules import *  # noqa: F403 - its __all__ is the list of layers
from .modules import DataParallel
from .modules import __all__ as _layers
from .parameter import (
    Buffer,
    Parameter,
    UninitializedBuffer,
    UninitializedParameter,
)

__all__ = [
    "Buffer", "DataParallel", "Parameter", "UninitializedBuffer", "UninitializedParameter",
    "functional", "init", "modules", "parameter", "utils", *_layers,
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name == "parallel":  # torch.nn.parallel.DataParallel
        return modules.parallel
    raise missing(__name__, name)
