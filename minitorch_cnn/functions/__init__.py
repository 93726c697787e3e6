"""PyTorch's ``torch.*`` functions over ``ops``: argument order, type promotion, checks."""

# ruff: noqa: F403 (every module lists what it exports in __all__)

from __future__ import annotations

from types import ModuleType

from .. import printing
from ..printing import *
from . import (
    activation,
    comparison,
    conversion,
    creation,
    gathering,
    indexing,
    inplace,
    interop,
    joining,
    layout,
    legacy,
    linalg,
    pointwise,
    promotion,
    reduction,
    sampling,
    shape,
    sorting,
    unary,
)
from .activation import *
from .comparison import *
from .creation import *
from .gathering import *
from .interop import *
from .joining import *
from .layout import *
from .legacy import *
from .linalg import *
from .pointwise import *
from .promotion import *
from .reduction import *
from .sampling import *
from .shape import *
from .sorting import *
from .unary import *

__all__: list[str] = []
__all__ += printing.__all__
__all__ += activation.__all__
__all__ += comparison.__all__
__all__ += creation.__all__
__all__ += gathering.__all__
__all__ += interop.__all__
__all__ += joining.__all__
__all__ += layout.__all__
__all__ += legacy.__all__
__all__ += linalg.__all__
__all__ += pointwise.__all__
__all__ += promotion.__all__
__all__ += reduction.__all__
__all__ += sampling.__all__
__all__ += shape.__all__
__all__ += sorting.__all__
__all__ += unary.__all__

# What methods.py goes through for the methods of Tensor.
MODULES: tuple[ModuleType, ...] = (
    activation,
    comparison,
    conversion,
    creation,
    gathering,
    indexing,
    inplace,
    interop,
    joining,
    layout,
    legacy,
    linalg,
    pointwise,
    printing,
    promotion,
    reduction,
    sampling,
    shape,
    sorting,
    unary,
)
