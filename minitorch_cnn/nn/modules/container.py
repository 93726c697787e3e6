"""Sequential, ModuleList and ModuleDict: modules in a row, in a list, under names."""

from __future__ import annotations

import operator
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, TypeVar

from .batchnorm import BatchNorm2d
from .module import Module, indented
from .norm_relu import norm_relu

S = TypeVar("S", bound="_Row")


class _Row(Module):
    """Modules in an order. Registered as "0", "1", ... unless named."""

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._modules.values())

    def _name_at(self, index: Any) -> str:
        i = operator.index(index)
        n = len(self._modules)
        if not -n <= i < n:
            raise IndexError(f"index {i} is out of range for {type(self).__name__} of length {n}")
        return list(self._modules)[i]

    def __setitem__(self, index: Any, module: Any) -> None:
        setattr(self, self._name_at(index), module)

    def __delitem__(self, index: Any) -> None:
        names = list(self._modules)
        chosen = names[index] if isinstance(index, slice) else [self._name_at(index)]
        for name in chosen:
            delattr(self, name)
        # The numbers close up again; as in PyTorch, names given by an OrderedDict are lost here.
        self._modules = {str(i): m for i, m in enumerate(self._modules.values())}

    def pop(self, key: Any) -> Any:
        """Remove and return one module, or a slice of them."""
        removed = self[key]  # type: ignore[index]
        del self[key]
        return removed

    def append(self: S, module: Any) -> S:
        """Add one module at the end."""
        self.add_module(str(len(self)), module)
        return self

    def _insert(self, index: int, module: Any) -> None:
        n = len(self)
        if not -n <= index <= n:
            raise IndexError(f"Index out of range: {index}")
        if not isinstance(module, Module):
            raise AssertionError(f"module should be of type: {Module}")
        at = index + n if index < 0 else index
        for i in range(n, at, -1):
            self._modules[str(i)] = self._modules[str(i - 1)]
        self._modules[str(at)] = module

    def extend(self: S, modules: Iterable[Any]) -> S:
        """Add several modules at the end."""
        if not isinstance(modules, Iterable):
            raise TypeError(
                f"{type(self).__name__}.extend should be called with an iterable, but got"
                f" {type(modules).__name__}"
            )
        for module in list(modules):
            self.append(module)
        return self


class Sequential(_Row):
    """Each module's output is the next one's input.

    ``Sequential(a, b, c)`` numbers them; ``Sequential(OrderedDict(conv=a, relu=b))`` names them.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__()
        if len(args) == 1 and isinstance(args[0], OrderedDict):
            pairs: Iterable[tuple[str, Any]] = args[0].items()
        else:
            pairs = ((str(i), module) for i, module in enumerate(args))
        for name, module in pairs:
            self.add_module(name, module)

    def insert(self, index: int, module: Any) -> Sequential:
        """Add one module before position ``index``."""
        self._insert(index, module)
        return self

    def forward(self, input: Any) -> Any:
        norm = None  # held back: if a ReLU follows, both take one pass
        for module in self._modules.values():
            if norm is not None:
                input, norm = norm_relu(norm, input, module), None
            elif type(module) is BatchNorm2d:
                norm = module
            else:
                input = module(input)
        return input if norm is None else norm(input)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return type(self)(OrderedDict(list(self._modules.items())[index]))
        return self._modules[self._name_at(index)]

    def __add__(self, other: Any) -> Sequential:
        return Sequential(*self, *_sequential(other))

    def __iadd__(self, other: Any) -> Sequential:
        return self.extend(_sequential(other))

    def __mul__(self, times: int) -> Sequential:
        return Sequential(*list(self) * _positive(times))

    def __rmul__(self, times: int) -> Sequential:
        return self * times

    def __imul__(self, times: int) -> Sequential:
        return self.extend(list(self) * (_positive(times) - 1))


def _sequential(other: Any) -> Sequential:
    if not isinstance(other, Sequential):
        raise ValueError(
            "add operator supports only objects of Sequential class, but"
            f" {type(other)} is given."
        )
    return other


def _positive(times: Any) -> int:
    if not isinstance(times, int):
        raise TypeError(f"unsupported operand type(s) for *: Sequential and {type(times)}")
    if times <= 0:
        raise ValueError(f"Non-positive multiplication factor {times} for Sequential")
    return times


class ModuleList(_Row):
    """A list whose modules are registered. It has no forward: loop over it."""

    def __init__(self, modules: Iterable[Any] | None = None) -> None:
        super().__init__()
        if modules is not None:
            self.extend(modules)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return type(self)(list(self._modules.values())[index])
        return self._modules[self._name_at(index)]

    def insert(self, index: int, module: Any) -> None:
        """Add one module before position ``index``."""
        self._insert(index, module)

    def __iadd__(self, other: Iterable[Any]) -> ModuleList:
        return self.extend(other)

    def __add__(self, other: Iterable[Any]) -> ModuleList:
        return ModuleList(chain(self, other))

    def __repr__(self) -> str:
        """Equal neighbours are printed once: ``(0-2): 3 x Conv2d(...)``."""
        runs: list[tuple[int, int, str]] = []
        for i, module in enumerate(self):
            text = repr(module)
            if runs and runs[-1][2] == text:
                runs[-1] = (runs[-1][0], i, text)
            else:
                runs.append((i, i, text))
        lines = [
            f"({a}): {text}" if a == b else f"({a}-{b}): {b - a + 1} x {text}"
            for a, b, text in runs
        ]
        if not lines:
            return f"{self._get_name()}()"
        return f"{self._get_name()}(\n  " + "\n  ".join(map(indented, lines)) + "\n)"


class ModuleDict(Module):
    """A dict whose modules are registered under its keys. It has no forward."""

    def __init__(self, modules: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        if modules is not None:
            self.update(modules)

    def __getitem__(self, key: str) -> Any:
        return self._modules[key]

    def __setitem__(self, key: str, module: Any) -> None:
        self.add_module(key, module)

    def __delitem__(self, key: str) -> None:
        del self._modules[key]

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __contains__(self, key: object) -> bool:
        return key in self._modules

    def clear(self) -> None:
        """Remove all."""
        self._modules.clear()

    def pop(self, key: str) -> Any:
        """Remove and return one."""
        return self._modules.pop(key)

    def keys(self) -> Any:
        """The names."""
        return self._modules.keys()

    def items(self) -> Any:
        """Names and modules."""
        return self._modules.items()

    def values(self) -> Any:
        """The modules."""
        return self._modules.values()

    def update(self, modules: Any) -> None:
        """Add all of a mapping's modules, or of an iterable of (name, module) pairs."""
        if not isinstance(modules, Iterable):
            raise TypeError(
                "ModuleDict.update should be called with an iterable of key/value pairs, but got"
                f" {type(modules).__name__}"
            )
        pairs = modules.items() if hasattr(modules, "items") else modules
        for i, pair in enumerate(pairs):
            if not isinstance(pair, Iterable):
                raise TypeError(
                    f"ModuleDict update sequence element #{i} should be Iterable; is"
                    f" {type(pair).__name__}"
                )
            items = list(pair)
            if len(items) != 2:
                raise ValueError(
                    f"ModuleDict update sequence element #{i} has length {len(items)}; 2 is"
                    " required"
                )
            self[items[0]] = items[1]
