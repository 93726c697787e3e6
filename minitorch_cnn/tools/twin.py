"""Our models with PyTorch's layers: the yardstick of tests and benchmarks.

A model file of ours uses nothing but PyTorch's names (and ``norm_relu`` and ``JoinedMaps``), so the
same source runs with PyTorch when its imports are exchanged. Needs PyTorch, which the package
itself never imports.
"""

from __future__ import annotations

import functools
import importlib
import re
import sys
import types
from pathlib import Path

_EXCHANGED = {
    "import minitorch_cnn as torch": "import torch",
    "from .. import nn": "from torch import nn",
    "from ..nn import functional as F": "from torch.nn import functional as F",
    "from ..nn.modules.joined_maps import JoinedMaps": """
class JoinedMaps:
    def __init__(self, first, more):
        self.features = [first]

    def append(self, new):
        self.features.append(new)

    @property
    def maps(self):
        return torch.cat(self.features, 1)
""",
    "from ..nn.modules.norm_relu import norm_relu": (
        "norm_relu = lambda norm, x, relu=nn.functional.relu: relu(norm(x))"
    ),
    "from ..tensor import Tensor": "from torch import Tensor",
    "from .registry import architecture": "architecture = lambda *a, **k: lambda f: f",
}
_PREFIX = "minitorch_cnn_in_pytorch_"


@functools.cache
def in_pytorch(name: str) -> types.ModuleType:
    """``models/<name>.py`` re-executed with PyTorch's imports, and so what it imports beside it.

    That our layers do what PyTorch's do is what this can show; that an architecture is the
    published one, it cannot. Errors: ImportError without PyTorch, or where the file imports
    something that PyTorch has no counterpart for.
    """
    source = Path(str(importlib.import_module(f"minitorch_cnn.models.{name}").__file__)).read_text(
        encoding="utf-8"
    )
    for ours, theirs in _EXCHANGED.items():
        source = re.sub(rf"^(\s*){re.escape(ours)}$", rf"\1{theirs}", source, flags=re.MULTILINE)
    beside = re.compile(r"^from \.(\w+) import", flags=re.MULTILINE)
    for sibling in beside.findall(source):
        in_pytorch(sibling)
    source = beside.sub(rf"from {_PREFIX}\1 import", source)
    left = re.search(r"^\s*(from \.|(import|from) minitorch_cnn\b).*", source, re.MULTILINE)
    if left is not None:
        raise ImportError(f"models/{name}.py cannot run on PyTorch: {left[0].strip()}")
    module = types.ModuleType(_PREFIX + name)
    sys.modules[module.__name__] = module
    exec(compile(source, f"{name}.py with PyTorch", "exec"), vars(module))  # noqa: S102
    return module
