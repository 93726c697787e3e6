"""The slow path of ``Module.__call__``: hooks around forward, and on the gradients through it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...tensor import Array, Tensor, is_grad_enabled, op
from .registry import Registry

Grads = tuple[Tensor | None, ...]


@op(bfloat16="all")
def pass_through(x: Array, /) -> Any:
    """y = x: a place in the graph for a hook on one gradient."""
    return x.view(), (lambda gy: gy,)


@op(bfloat16="all")
def pack(*arrays: Array) -> Any:
    """All arrays, flattened, one after the other: one place for a hook on several gradients."""
    shapes = [x.shape for x in arrays]
    stops = np.cumsum([math.prod(shape) for shape in shapes])

    def grad_of(i: int) -> Callable[[Array], Array]:
        return lambda gy: gy[stops[i] - math.prod(shapes[i]) : stops[i]].reshape(shapes[i])

    y = np.concatenate([x.ravel() for x in arrays])
    return y, tuple(grad_of(i) for i in range(len(arrays)))


@op(bfloat16="all")
def unpack(x: Array, /, *, start: int, shape: tuple[int, ...]) -> Any:
    """The array of this shape that begins at ``start`` of a packed one."""
    size, stop = x.size, start + math.prod(shape)

    def grad_x(gy: Array) -> Array:
        gx = np.zeros(size, gy.dtype)
        gx[start:stop] = gy.ravel()
        return gx

    return x[start:stop].reshape(shape), (grad_x,)


def call_with_hooks(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """forward with whatever hooks the module has, in PyTorch's order."""
    called: set[int] = set()
    result: Any = None
    try:
        args, kwargs = _run_pre_hooks(module, args, kwargs)
        gradients = _GradientHooks(module) if module._has_backward_hooks() else None
        if gradients is not None:
            args = gradients.around_inputs(args)
        result = module.forward(*args, **kwargs)
        for key, hook in list(module._forward_hooks.items()):
            called.add(key)
            replaced = _run_forward_hook(module, key, hook, args, kwargs, result)
            result = result if replaced is None else replaced
        if gradients is not None:
            result = gradients.around_outputs(result)
        return result
    except Exception:
        for key, hook in list(module._forward_hooks.items()):
            if key in module._hooks_always_called and key not in called:
                try:
                    _run_forward_hook(module, key, hook, args, kwargs, result)
                except Exception as error:  # noqa: BLE001 - the first error is the one to report
                    warnings.warn(
                        "module forward hook with ``always_call=True`` raised an exception that was"
                        f" silenced as another error was raised in forward: {error}",
                        stacklevel=3,
                    )
        raise


def _run_pre_hooks(
    module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    for key, hook in list(module._forward_pre_hooks.items()):
        if key in module._hooks_with_kwargs:
            replaced = hook(module, args, kwargs)
            if replaced is not None:
                if not (isinstance(replaced, tuple) and len(replaced) == 2):
                    raise RuntimeError(
                        "forward pre-hook must return None or a tuple of (new_args, new_kwargs),"
                        f" but got {replaced}."
                    )
                args, kwargs = replaced
        else:
            replaced = hook(module, args)
            if replaced is not None:
                args = replaced if isinstance(replaced, tuple) else (replaced,)
    return args, kwargs


def _run_forward_hook(
    module: Any, key: int, hook: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
) -> Any:
    if key in module._hooks_with_kwargs:
        return hook(module, args, kwargs, result)
    return hook(module, args, result)


class _GradientHooks:
    """Full backward hooks of one call: they see dL/d(outputs) and may replace dL/d(inputs)."""

    def __init__(self, module: Registry) -> None:
        self.module = module
        self.before = list(module._backward_pre_hooks.values())
        self.after = list(module._backward_hooks.values())
        self.grad_output: Grads = ()
        self.inputs_have_gradients = False
        self.n_inputs = 0

    def around_inputs(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        tensors = [i for i, x in enumerate(args) if isinstance(x, Tensor)]
        places = [i for i in tensors if args[i].requires_grad]
        self.n_inputs = len(tensors)
        if not places or not is_grad_enabled() or not self.after:
            return args
        self.inputs_have_gradients = True
        positions = [tensors.index(i) for i in places]

        def on_gradient(grads: Grads) -> Grads:
            full: list[Tensor | None] = [None] * self.n_inputs
            for position, g in zip(positions, grads):
                full[position] = g
            full = list(self._run_after(tuple(full)))
            return tuple(full[position] for position in positions)

        passed = _watch([args[i] for i in places], on_gradient)
        changed = list(args)
        for i, x in zip(places, passed):
            changed[i] = x
        return tuple(changed)

    def around_outputs(self, result: Any) -> Any:
        outputs = (result,) if isinstance(result, Tensor) else result
        if not isinstance(outputs, tuple):
            warnings.warn(
                "For backward hooks to be called, module output should be a Tensor or a tuple of"
                f" Tensors but received {type(result)}",
                stacklevel=4,
            )
            return result
        places = [i for i, y in enumerate(outputs) if isinstance(y, Tensor) and y.requires_grad]
        if not places:
            return result

        def on_gradient(grads: Grads) -> Grads:
            full: list[Tensor | None] = [None] * len(outputs)
            for i, g in zip(places, grads):
                full[i] = g
            self.grad_output = tuple(full)
            for hook in self.before:
                replaced = hook(self.module, self.grad_output)
                self.grad_output = _replaced(self.grad_output, replaced, "pre hook", "grad_output")
            if not self.inputs_have_gradients:
                self._run_after((None,) * self.n_inputs)
            return tuple(self.grad_output[i] for i in places)

        changed = list(outputs)
        for i, y in zip(places, _watch([outputs[i] for i in places], on_gradient)):
            changed[i] = y
        return changed[0] if outputs is not result else tuple(changed)

    def _run_after(self, grad_input: Grads) -> Grads:
        for hook in self.after:
            replaced = hook(self.module, grad_input, self.grad_output)
            grad_input = _replaced(grad_input, replaced, "hook", "grad_input")
        return grad_input


def _replaced(grads: Grads, new: Any, hook: str, what: str) -> Grads:
    if new is None:
        return grads
    new = new if isinstance(new, tuple) else (new,)
    if len(new) != len(grads):
        raise RuntimeError(
            f"Backward {hook} returned an invalid number of {what}, got {len(new)}, but expected"
            f" {len(grads)}"
        )
    return new


def _watch(tensors: Sequence[Tensor], on_gradient: Callable[[Grads], Grads]) -> list[Tensor]:
    """The same tensors behind one graph node, whose gradients ``on_gradient`` sees together."""
    if len(tensors) == 1:
        passed = pass_through(tensors[0])
        passed.register_hook(lambda g: on_gradient((g,))[0])
        return [passed]
    packed = pack(*tensors)
    starts = np.cumsum([0, *(t.numel() for t in tensors)]).tolist()

    def split(g: Tensor) -> Tensor:
        pieces = [
            Tensor._wrap(g.array[start : start + t.array.size].reshape(t.array.shape))
            for start, t in zip(starts, tensors)
        ]
        grads = on_gradient(tuple(pieces))
        return Tensor._wrap(
            np.concatenate([
                np.zeros(p.array.size, g.array.dtype) if new is None else new.array.ravel()
                for p, new in zip(pieces, grads)
            ])
        )  # fmt: skip

    packed.register_hook(split)
    return [unpack(packed, start=s, shape=t.array.shape) for s, t in zip(starts, tensors)]
