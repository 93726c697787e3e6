"""What the real CuPy offers, and with which parameters: ``signatures.json``.

    python -m tests.cupy_standin.signatures > tests/cupy_standin/signatures.json

records it where CuPy is installed (no GPU is needed). The stand-in offers nothing that is not in
there, and its functions take the parameters that are in there, whatever NumPy's take.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import re
import types
from pathlib import Path
from typing import Any

import numpy as np

FILE = Path(__file__).with_name("signatures.json")
MODULES = (
    "cupy", "cupy.cuda", "cupy.cuda.runtime", "cupy.cuda.driver", "cupy.linalg",
    "cupy.lib.stride_tricks", "cupyx",
)  # fmt: skip
CLASSES = (
    "cupy.ndarray", "cupy.ufunc", "cupy.RawModule", "cupy.RawKernel", "cupy.cuda.Device",
    "cupy.cuda.Stream", "cupy.cuda.Event", "cupy.cuda.MemoryPool", "cupy.cuda.MemoryHook",
    "cupy.cuda.MemoryPointer", "cupy.cuda.PinnedMemoryPointer", "cupy.cuda.Graph",
)  # fmt: skip


@functools.cache
def recorded() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return found


def parameters(thing: Any) -> list[str] | None:
    """``["a", "axis=", "*", "kind="]``: names, = where there is a default; None if unknown."""
    try:
        signature = inspect.signature(thing)
    except (TypeError, ValueError):
        return _from_docstring(thing)
    found = _plain(signature)
    # What Cython does not tell of its classes and their methods, their first line may.
    return (_from_docstring(thing) or found) if "*args" in found else found


def _plain(signature: inspect.Signature) -> list[str]:
    names, keyword_only = [], False
    for p in signature.parameters.values():
        if p.kind is p.VAR_POSITIONAL:
            names.append(f"*{p.name}")
            keyword_only = True
        elif p.kind is p.VAR_KEYWORD:
            names.append(f"**{p.name}")
        else:
            if p.kind is p.KEYWORD_ONLY and not keyword_only:
                names.append("*")
                keyword_only = True
            names.append(p.name + ("" if p.default is p.empty else "="))
    return names


def _from_docstring(thing: Any) -> list[str] | None:
    """The signature that Cython writes: ``f(self, int axis=-1, kind=None) -> ndarray``."""
    head = re.match(r"\s*[\w.]+\((.*?)\)(?: *->.*)?\s*(?:\n|$)", thing.__doc__ or "")
    if head is None:
        return None
    names = []
    for part in re.split(r",\s*(?![^(\[]*[)\]])", head[1]):
        name, default, _ = part.partition("=")
        names.append((name.split()[-1] if name.split() else "") + default)
    return [name.replace("\\", "") for name in names if name]


def _named(path: str) -> Any:
    first, *rest = path.split(".")
    return functools.reduce(getattr, rest, importlib.import_module(first))


def record() -> dict[str, Any]:
    """All of it, from the CuPy that is installed."""
    import cupy

    modules: dict[str, Any] = {}
    ufuncs: dict[str, list[str]] = {}
    for module_name in MODULES:
        module = _named(module_name)
        names: dict[str, Any] = {}
        for name in sorted(n for n in dir(module) if not n.startswith("_")):
            thing = getattr(module, name)
            if isinstance(thing, cupy.ufunc):
                ufuncs[name] = list(thing.types)
            elif isinstance(thing, (types.ModuleType, type)):
                names[name] = type(thing).__name__
            elif callable(thing):
                names[name] = parameters(thing)
        modules[module_name] = names
    classes = {}
    for path in CLASSES:
        module_name, _, name = path.rpartition(".")
        cls = getattr(_named(module_name), name)
        members = {"__init__": _from_docstring(cls) or parameters(cls)}
        for member in sorted(dir(cls)):
            thing = inspect.getattr_static(cls, member)
            if member.startswith("_") and not (member.startswith("__") and callable(thing)):
                continue
            if member in vars(object):
                continue
            callable_ = callable(thing) and not isinstance(thing, property)
            members[member] = parameters(getattr(cls, member)) if callable_ else "attribute"
        classes[path] = members
    return {
        "cupy": cupy.__version__,
        "numpy": np.__version__,
        "modules": modules,
        "ufuncs": dict(sorted(ufuncs.items())),
        "classes": classes,
    }


def as_text(found: dict[str, Any]) -> str:
    """JSON with the parameters of each function on one line."""
    text = json.dumps(found, indent=1)
    return re.sub(r"\[\s+([^\[\]]*?)\s+\]", lambda m: "[" + " ".join(m[1].split()) + "]", text)


if __name__ == "__main__":
    print(as_text(record()))
