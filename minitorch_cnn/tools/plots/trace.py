"""Watching a model run: which layers were called, in what order, with what outputs.

Everything goes through forward hooks, so it works for any Module, including those whose ``forward``
calls one layer several times.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ... import nn
from ...tensor import Tensor, no_grad

Visit = Callable[[str, int, Any], Any]


@dataclass
class Call:
    """One call of a layer, and the calls made inside it.

    ``shape`` is that of its output, () if the output is no Tensor. ``name`` is the layer's path in
    the model ("" for the model itself), with "#2" behind it for the second of several calls.
    """

    layer: str
    module: nn.Module
    number: int = 1
    name: str = ""
    shape: tuple[int, ...] = ()
    calls: list[Call] = field(default_factory=list)

    @property
    def is_map(self) -> bool:
        """Whether the output is (N, C, H, W) with more than one pixel."""
        return len(self.shape) == 4 and self.shape[2] * self.shape[3] > 1

    def completed(self) -> Iterator[Call]:
        """This call and those inside it, in the order in which they returned."""
        for call in self.calls:
            yield from call.completed()
        yield self


def run(model: nn.Module, x: Tensor, leave: Visit, enter: Visit | None = None) -> Any:
    """``model(x)`` in eval mode, telling of each call of a layer.

    ``leave(path, number of the call, output)`` may return what takes the output's place. ``x`` is
    copied, training flags are put back one by one, hooks are removed, whatever happens.
    """
    entered: Counter[str] = Counter()
    left: Counter[str] = Counter()
    flags = {module: module.training for module in model.modules()}
    handles = []

    def attach(path: str, module: nn.Module) -> None:
        def before(module: nn.Module, args: Any) -> None:
            entered[path] += 1
            if enter is not None:
                enter(path, entered[path], module)

        def after(module: nn.Module, args: Any, output: Any) -> Any:
            left[path] += 1
            return leave(path, left[path], output)

        handles.append(module.register_forward_pre_hook(before))
        handles.append(module.register_forward_hook(after))

    try:
        for path, module in model.named_modules():
            attach(path, module)
        model.eval()
        return model(x.detach().clone())
    finally:
        for handle in handles:
            handle.remove()
        for module, training in flags.items():
            module.training = training


def trace(model: nn.Module, x: Tensor) -> Call:
    """Run the model once, without gradients; the tree of calls, from the model's own down."""
    outermost: list[Call] = []
    stack: list[Call] = []

    def enter(path: str, number: int, module: Any) -> None:
        call = Call(path, module, number)
        (stack[-1].calls if stack else outermost).append(call)
        stack.append(call)

    def leave(path: str, number: int, output: Any) -> None:
        call = stack.pop()
        if isinstance(output, Tensor):
            call.shape = tuple(output.shape)

    with no_grad():
        run(model, x, leave, enter)
    root = outermost[0]
    total = Counter(call.layer for call in root.completed())
    for call in root.completed():
        call.name = f"{call.layer}#{call.number}" if total[call.layer] > 1 else call.layer
    return root


def find(root: Call, layer: str, what: str) -> list[Call]:
    """The calls of ``layer`` ("mp"), or the one named "mp#2". ValueError lists the candidates.

    Only outputs (N, C, H, W) count; ``what`` begins the message.
    """
    calls = list(root.completed())
    found = [call for call in calls if layer in (call.layer, call.name)]
    maps = [call for call in found if len(call.shape) == 4]
    if maps:
        return maps
    names = [call.name for call in calls if call.is_map and call.layer]
    if found:
        problem = f"the output of layer {layer!r} is {_output(found[0])}, not (N, C, H, W)"
    elif any(layer == path for path, _ in root.module.named_modules()):
        problem = f"layer {layer!r} is not called by forward in eval mode"
    else:
        problem = f"there is no layer {layer!r}"
        names = difflib.get_close_matches(layer, names, 5, 0.5) + names
    raise ValueError(f"{what}: {type(root.module).__name__}: {problem}; {candidates(names)}")


def candidates(names: Iterable[str], limit: int = 30) -> str:
    """The names as the end of a sentence, without repetitions, cut where they are too many."""
    unique = list(dict.fromkeys(names))
    if not unique:
        return "no layer has such an output"
    more = f", ... ({len(unique)} in all)" if len(unique) > limit else ""
    return f"candidates are {', '.join(unique[:limit])}{more}"


def _output(call: Call) -> str:
    return f"of shape {list(call.shape)}" if call.shape else "not a Tensor"


def as_batch(model: nn.Module, x: Any, what: str) -> tuple[Tensor, bool]:
    """``x`` as (N, C, H, W) on the model's device, and whether it was one image (C, H, W).

    Arrays take the model's dtype; a Tensor keeps its own.
    """
    parameter = next(iter(model.parameters()), None)
    if not isinstance(x, Tensor):
        x = Tensor._wrap(np.array(x, np.float32 if parameter is None else parameter.dtype.numpy))
    if x.ndim not in (3, 4):
        raise ValueError(f"{what}: x must be (N, C, H, W) or (C, H, W), got {list(x.shape)}")
    single = x.ndim == 3
    x = x.detach()
    if parameter is not None:
        x = x.to(parameter.device)
    return (x.unsqueeze(0) if single else x), single


def to_numpy(x: Tensor) -> np.ndarray:
    """A copy on the host."""
    return np.array(x.detach().cpu().numpy())
