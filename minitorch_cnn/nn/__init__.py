"""Layers, containers, losses, initialisation: ``torch.nn`` for convolutional networks."""

from __future__ import annotations

from typing import NoReturn

from . import functional, init, modules, parallel, parameter, utils
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
    "functional", "init", "modules", "parallel", "parameter", "utils", *_layers,
]  # fmt: skip


def __getattr__(name: str) -> NoReturn:
    raise missing(__name__, name)
