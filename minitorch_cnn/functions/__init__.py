"""PyTorch's ``torch.*`` functions over ``ops``: argument order, type promotion, checks."""

# ruff: noqa: F403 (every module lists what it exports in __all__)

from __future__ import annotations

from types import ModuleType

from . import comparison, linalg, pointwise, promotion, reduction, sorting
from .comparison import *
from .linalg import *
from .pointwise import *
from .promotion import *
from .reduction import *
from .sorting import *

__all__: list[str] = []
__all__ += comparison.__all__
__all__ += linalg.__all__
__all__ += pointwise.__all__
__all__ += promotion.__all__
__all__ += reduction.__all__
__all__ += sorting.__all__

# What methods.py goes through for the methods of Tensor.
MODULES: tuple[ModuleType, ...] = (comparison, linalg, pointwise, promotion, reduction, sorting)
