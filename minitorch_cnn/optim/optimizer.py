"""What every optimizer shares: parameter groups, state, state_dict, step and its hooks.

A new optimizer is a class with one method, ``_update(p, group)``, that changes ``p.array`` in
place; everything else is here.
"""

from __future__ import annotations

import functools
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np

from ..dtypes import get_default_dtype, is_floating, is_half
from ..kernels import replay
from ..kernels.backend import array_module, place
from ..tensor import Array, RemovableHandle, Tensor, enable_grad, no_grad, on_device_of

Params: TypeAlias = Iterable[Tensor] | Iterable[dict[str, Any]] | Iterable[tuple[str, Tensor]]
Group: TypeAlias = dict[str, Any]

# An update reads and writes several arrays in several steps. Done in blocks of this many elements
# the steps after the first find everything in the cache, so that each array passes through memory
# once. Measured: 16 k to 64 k elements are equally good, whole arrays a fifth slower.
BLOCK = 32768


class _Required:
    """The default of an option that a parameter group must give (``lr=required``)."""

    def __repr__(self) -> str:
        return "<required parameter>"


required = _Required()


class Optimizer:
    """Base class: ``params`` to optimize and the default options of their groups.

    ``params`` is an iterable of Tensors, of ``(name, Tensor)`` pairs, or of dicts with the key
    "params" and options that differ from ``defaults``. ``state[p]`` holds what the optimizer
    remembers of a parameter. Errors: ValueError (empty list, a non-leaf tensor, a parameter in two
    groups), TypeError (not an iterable of Tensors).
    """

    param_groups: list[Group]
    state: defaultdict[Any, dict[str, Any]]
    _recordable = False  # in a CUDA graph: its numbers come by kernels.optimizer.update

    def __init__(self, params: Params, defaults: dict[str, Any]) -> None:
        if isinstance(params, Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or"
                f" dicts, but got a Tensor of shape {list(params.shape)}; write [param]"
            )
        self.defaults = defaults
        self.state = defaultdict(dict)
        self.param_groups = []
        self._reset_hooks()
        groups: list[Any] = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "step" in cls.__dict__:
            cls.step = _with_hooks(cls.step)  # type: ignore[method-assign]

    def add_param_group(self, param_group: Group) -> None:
        """Optimize more parameters: ``{"params": ..., "lr": ...}``, as when unfreezing layers."""
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        group = param_group
        params = group["params"]
        if isinstance(params, Tensor):
            params = [params]
        elif isinstance(params, set | frozenset):
            raise TypeError(
                "optimizer parameters need to be organized in ordered collections, but the order"
                " of tensors in sets changes between runs. Please use a list instead."
            )
        group["params"], names = _split_names(list(params))
        if names:
            group["param_names"] = names
        if self.param_groups and ("param_names" in self.param_groups[0]) != bool(names):
            raise ValueError("all optimizer param groups should be with or without names alike")

        for name, value in self.defaults.items():
            if value is required and name not in group:
                raise ValueError(
                    f"parameter group didn't specify a value of required option {name}"
                )
            group.setdefault(name, value)
        seen = {id(p) for p in group["params"]}
        if len(seen) != len(group["params"]):
            warnings.warn(
                "optimizer contains a parameter group with duplicate parameters", stacklevel=3
            )
        if any(id(p) in seen for g in self.param_groups for p in g["params"]):
            raise ValueError("some parameters appear in more than one parameter group")
        self.param_groups.append(group)

    # The step

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients; with ``set_to_none=False`` fill them with zeros instead."""
        for group in self.param_groups:
            for p in group["params"]:
                if p._grad is None:
                    continue
                if set_to_none:
                    p._grad = None
                else:
                    p.grad.array[...] = 0
                    p.grad._counter[0] += 1

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient; returns ``closure()`` if one is given."""
        if replay.recording() and not self._recordable:
            replay.refuse(
                f"{type(self).__name__}.step() ran",
                "Its numbers would stay those of the capture: use SGD, Adam or AdamW.",
            )
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        with no_grad(), np.errstate(all="ignore"):
            for group in self.param_groups:
                for p in group["params"]:
                    if p._grad is not None:
                        with on_device_of(p.array):
                            self._update(p, group)
                        p._counter[0] += 1
        return loss

    def _update(self, p: Tensor, group: Group) -> None:
        """Change ``p.array`` in place, given ``p.grad``, ``group`` and ``self.state[p]``."""
        raise NotImplementedError(f"{type(self).__name__} must define _update or step")

    def register_step_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(optimizer, args, kwargs)`` before each step; it may return new ones."""
        return RemovableHandle(self._pre_hooks, hook)

    def register_step_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(optimizer, args, kwargs)`` after each step."""
        return RemovableHandle(self._post_hooks, hook)

    def _reset_hooks(self) -> None:
        self._pre_hooks: dict[int, Callable[..., Any]] = {}
        self._post_hooks: dict[int, Callable[..., Any]] = {}
        self._opt_called = False  # read by the schedulers, which must step second
        self._stepping = False

    # Saving and loading

    def state_dict(self) -> dict[str, Any]:
        """``{"state": {index: ...}, "param_groups": [...]}``: PyTorch's own layout.

        Parameters are counted through all groups in order. Tensors are the live ones, not copies.
        """
        index: dict[int, int] = {}
        for group in self.param_groups:
            for p in group["params"]:
                index.setdefault(id(p), len(index))
        groups = [
            {**{k: v for k, v in group.items() if k != "params"},
             "params": [index[id(p)] for p in group["params"]]}
            for group in self.param_groups
        ]  # fmt: skip
        state = {(index[id(p)] if isinstance(p, Tensor) else p): s for p, s in self.state.items()}
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from a :meth:`state_dict`, ours or PyTorch's; everything is copied.

        Groups and parameters are matched by position. Options that an older file lacks keep their
        defaults. Errors: ValueError if the numbers of groups or parameters differ, or a shape.
        """
        loaded = state_dict["param_groups"]
        if len(loaded) != len(self.param_groups):
            raise ValueError(
                "loaded state dict has a different number of parameter groups"
                f" ({len(loaded)}, the optimizer has {len(self.param_groups)})"
            )
        params: dict[int, Tensor] = {}
        for i, (new, group) in enumerate(zip(loaded, self.param_groups)):
            if len(new["params"]) != len(group["params"]):
                raise ValueError(
                    "loaded state dict contains a parameter group that doesn't match the size of"
                    f" optimizer's group: group {i} has {len(new['params'])} parameters, the"
                    f" optimizer's {len(group['params'])}"
                )
            params.update(zip(new["params"], group["params"]))

        state: defaultdict[Any, dict[str, Any]] = defaultdict(dict)
        for key, values in state_dict["state"].items():
            p = params.get(key)
            if p is None:
                state[key] = values
            else:
                state[p] = {name: _loaded(name, value, p) for name, value in values.items()}
        self.state = state
        for new, group in zip(loaded, self.param_groups):
            options = {k: _own(v) for k, v in new.items() if k != "params"}
            group.update({**self.defaults, **options})

    def __getstate__(self) -> dict[str, Any]:
        return {
            "defaults": self.defaults, "state": self.state, "param_groups": self.param_groups
        }  # fmt: skip

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reset_hooks()

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for i, group in enumerate(self.param_groups):
            lines += ["Parameter Group " + str(i)]
            lines += [f"    {key}: {group[key]}" for key in sorted(group) if key != "params"]
            lines += [""]
        return "\n".join(lines[:-1]) + "\n)"


def _with_hooks(step: Callable[..., Any]) -> Callable[..., Any]:
    """Run the step hooks around ``step``, also around that of a user's own optimizer."""

    @functools.wraps(step)
    def hooked(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        self._opt_called = True
        if self._stepping:  # a subclass's step called super().step()
            return step(self, *args, **kwargs)
        for hook in list(self._pre_hooks.values()):
            replaced = hook(self, args, kwargs)
            if replaced is not None:
                args, kwargs = replaced
        self._stepping = True
        try:
            result = step(self, *args, **kwargs)
        finally:
            self._stepping = False
        for hook in list(self._post_hooks.values()):
            hook(self, args, kwargs)
        return result

    return hooked


Optimizer.step = _with_hooks(Optimizer.step)  # type: ignore[method-assign]


def _split_names(params: list[Any]) -> tuple[list[Tensor], list[str]]:
    """Parameters, and their names if they came as pairs; checks that they can be optimized."""
    names = [p[0] for p in params if isinstance(p, tuple)]
    if names and len(names) != len(params):
        raise ValueError(
            "all optimizer params should be with/without names. Some param names are missing"
        )
    tensors = [p[1] for p in params] if names else params
    for p in tensors:
        if not isinstance(p, Tensor):
            raise TypeError(
                f"optimizer can only optimize Tensors, but one of the params is {type(p).__name__}"
            )
        if not p.is_leaf:
            raise ValueError(
                f"can't optimize a non-leaf Tensor (shape {list(p.shape)}, computed by"
                f" {p.grad_fn!r}): give the parameters themselves, or .detach() it"
            )
    return tensors, names


def _own(value: Any) -> Any:
    """A copy of a loaded value; arrays and other libraries' tensors become Tensors."""
    if isinstance(value, Tensor):
        return Tensor._wrap(value.array.copy())
    if hasattr(value, "__array__"):
        return Tensor._wrap(np.asarray(value).copy())
    return list(value) if isinstance(value, list) else value


def _loaded(name: str, value: Any, p: Tensor) -> Any:
    """One entry of ``state[p]``: of p's dtype and device, except the step counter."""
    if name == "step":
        return step_counter(float(value))
    value = _own(value)
    if isinstance(value, Tensor) and is_floating(value.array.dtype):
        if value.shape != p.shape and value.ndim > 0:
            raise ValueError(
                f"loaded optimizer state {name!r} has shape {list(value.shape)}, its parameter"
                f" has shape {list(p.shape)}: is this the state of another model?"
            )
        value.array = place(value.array, p.array).astype(p.array.dtype, copy=False)
    return value


# Helpers of the updates


def scalar(value: Any) -> float:
    """An option as a Python float (a NumPy or Tensor scalar would change the arrays' dtype)."""
    if type(value) is float:
        return value
    return float(value.array.item() if isinstance(value, Tensor) else value)


def step_counter(value: float = 0.0) -> Tensor:
    """The 0-d tensor that counts steps, a float as in PyTorch."""
    wide = get_default_dtype().numpy == np.float64
    return Tensor._wrap(np.array(value, np.float64 if wide else np.float32))


def zeros_like(p: Tensor) -> Tensor:
    """A state tensor of p's shape, dtype and device, plain C-contiguous memory."""
    if replay.recording():
        replay.refuse(
            "an optimizer made its state (its first step)",
            "Run a step before the capture: each replay would fill it with zeros.",
        )
    return Tensor._wrap(array_module(p.array).zeros(p.array.shape, p.array.dtype))


def blocks(*arrays: Array, scratch: int) -> Iterator[tuple[Array, ...]]:
    """Matching pieces of the arrays, and ``scratch`` uninitialised arrays of the same size.

    The pieces are views: writing to them writes to the arrays. Arrays that do not lie in memory
    alike, or that live on a GPU, come whole. float16 and bfloat16 arrays come as float32 ones, and
    what was written to them is rounded; the second array, the gradient, is only read.
    """
    first = arrays[0]
    if is_half(first.dtype):
        wide = [a.astype(np.float32) for a in arrays]
        yield from blocks(*wide, scratch=scratch)
        for i, (a, result) in enumerate(zip(arrays, wide)):
            if i != 1:
                a[...] = result
        return
    if not isinstance(first, np.ndarray) or not all(a.flags.c_contiguous for a in arrays):
        empty_like = array_module(first).empty_like
        yield (*arrays, *(empty_like(first) for _ in range(scratch)))
        return
    size = first.size
    flat = [a.reshape(-1) for a in arrays]
    temporary = [np.empty(min(size, BLOCK), first.dtype) for _ in range(scratch)]
    if size <= BLOCK:
        yield (*flat, *temporary)
        return
    for start in range(0, size, BLOCK):
        stop = min(start + BLOCK, size)
        yield (*(a[start:stop] for a in flat), *(t[: stop - start] for t in temporary))


def direction(w: Array, g: Array, decay: float, maximize: bool, out: Array) -> Array:
    """The gradient to descend, ``±g + decay * w``: g itself where that is it, else in ``out``."""
    if decay:
        np.multiply(w, decay, out=out)
        return np.subtract(out, g, out=out) if maximize else np.add(out, g, out=out)
    return np.negative(g, out=out) if maximize else g


def check_options(optimizer: str, **options: Any) -> None:
    """Refuse what an update cannot do; ``foreach``, ``fused``, ``capturable`` have no effect."""
    if options.get("differentiable"):
        raise NotImplementedError(
            f"{optimizer}(differentiable=True): minitorch_cnn computes first derivatives only, so"
            " an update is never part of a graph"
        )
    if options.get("fused") and options.get("foreach"):
        raise RuntimeError("`fused` and `foreach` cannot be `True` together.")
    lr = options["lr"]
    if isinstance(lr, Tensor):
        if options.get("foreach") and not options.get("capturable"):
            raise ValueError(
                "lr as a Tensor is not supported for capturable=False and foreach=True"
            )
        if lr.array.size != 1:
            raise ValueError(f"Tensor lr must be 1-element, got shape {list(lr.shape)}")


def check_range(name: str, value: Any, low: float = 0.0, high: float = float("inf")) -> None:
    """ValueError unless ``low <= value <= high``."""
    if not low <= scalar(value) <= high:
        raise ValueError(f"Invalid {name}: {value}")
