"""Who reads what a layer returns: found by running a model once and watching its ops."""

from __future__ import annotations

import gc
import weakref
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...tensor import Array, Tensor, inference_mode, watch
from ..modules.module import Module


@dataclass
class Step:
    """One run of a layer whose result went to ``reader`` alone."""

    layer: Any
    reader: Any
    shape: tuple[int, ...]  # of the result


@dataclass
class _Result:
    """What a layer returned, as long as it lives."""

    layer: Module
    shape: tuple[int, ...]
    tensor: weakref.ref[Tensor]
    array: weakref.ref[Any]
    version: int
    readers: list[Module] = field(default_factory=list)
    uses: int = 0
    first: str = ""  # the op that used it first
    gone: bool = False  # when the model had returned


def run_and_record(
    model: Module, inputs: Sequence[Any], layers: tuple[type, ...], readers: tuple[type, ...]
) -> list[Step]:
    """Run ``model`` and return each step from one of ``layers`` to one of ``readers``.

    Both are meant exactly, without subclasses. Both ran once, have no hooks, and the layer's
    parameters are used by nothing else; its result was used by nothing else, is not part of what
    the model returned, and is kept nowhere.
    """
    results, runs, parameters = _record(model, inputs, layers, readers)
    return [
        Step(r.layer, r.readers[0], r.shape)
        for r in results
        if r.gone
        and r.uses == len(r.readers) == 1
        and runs[r.layer] == runs[r.readers[0]] == 1
        and all(parameters[id(p.array)] == 1 for p in r.layer.parameters())
    ]


def before_relu(
    model: Module, inputs: Sequence[Any], layers: tuple[type, ...]
) -> dict[Module, bool]:
    """The modules among ``layers`` (exactly, and without hooks) that ran, and of each whether what
    it returned was used first, each time, by a ReLU in place: then nobody saw anything else."""
    results, _, _ = _record(model, inputs, layers, ())
    found: dict[Module, bool] = {}
    for r in results:
        found[r.layer] = found.get(r.layer, True) and r.first == "relu in place"
    return found


def _record(
    model: Module, inputs: Sequence[Any], layers: tuple[type, ...], readers: tuple[type, ...]
) -> tuple[list[_Result], Counter[Module], Counter[int]]:
    """What layers returned, how often each module ran, and how often each parameter was used."""
    runs: Counter[Module] = Counter()
    parameters: Counter[int] = Counter()  # ops that used an array, by its id
    watched = {id(p.array) for p in model.parameters()}
    results: list[_Result] = []
    living: dict[int, _Result] = {}  # by the array's id

    def find(array: Array) -> _Result | None:
        found = living.get(id(array))
        return found if found is not None and found.array() is array else None

    def observe(
        op: str, settings: Mapping[str, Any], arrays: Sequence[Any], y: Array, seconds: float
    ) -> None:
        for array in _arrays((*arrays, *settings.values())):
            if id(array) in watched:
                parameters[id(array)] += 1
            result = find(array)
            if result is not None:
                if not result.uses:
                    result.first = f"{op} in place" if settings.get("overwrite") else op
                result.uses += 1

    def left(layer: Module, args: Any, output: Any) -> None:
        runs[layer] += 1
        a = output.array
        result = _Result(layer, a.shape, weakref.ref(output), weakref.ref(a), output._version)
        results.append(result)
        living[id(a)] = result

    def entered(reader: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        runs[reader] += 1
        given = args[0] if args else kwargs.get("input")
        if isinstance(given, Tensor):
            result = find(given.array)
            if result is not None and given._version == result.version:
                result.readers.append(reader)

    hooked = {m for m in model.modules() if m._has_hooks()}
    handles = [
        m.register_forward_hook(left) if type(m) in layers
        else m.register_forward_pre_hook(entered, with_kwargs=True)
        for m in model.modules()
        if type(m) in (*layers, *readers) and m not in hooked and "forward" not in vars(m)
    ]  # fmt: skip
    try:
        with inference_mode(), watch(observe):
            returned = model(*inputs)
        gc.collect()
        for r in results:
            r.gone = r.tensor() is None and r.array() is None
        del returned
    finally:
        for handle in handles:
            handle.remove()
    return results, runs, parameters


def _arrays(values: Iterable[Any]) -> Iterable[Any]:
    for value in values:
        if isinstance(value, (tuple, list)):
            yield from _arrays(value)
        elif hasattr(value, "strides"):
            yield value
