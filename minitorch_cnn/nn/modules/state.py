"""``state_dict`` and ``load_state_dict``: a Module's parameters and buffers, out and back in."""

from __future__ import annotations

import functools
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...dtypes import BFLOAT16
from ...tensor import RemovableHandle, Tensor, on_device_of
from ..parameter import Parameter, UninitializedBuffer, UninitializedParameter, is_lazy
from .registry import Registry

EXTRA_STATE = "_extra_state"
ROWS = 8  # of each kind in an error message; the rest is counted


class _Keys(NamedTuple):
    missing_keys: list[str]
    unexpected_keys: list[str]


class _IncompatibleKeys(_Keys):
    """What ``load_state_dict`` returns: the keys that did not find a partner."""

    __slots__ = ()

    def __repr__(self) -> str:
        return super().__repr__() if any(self) else "<All keys matched successfully>"

    __str__ = __repr__


class _Plan(list[str]):
    """The ``error_msgs`` of one load, and what to write into the model if it stays empty.

    Nothing is written before every key of every submodule has been checked: a state dict that does
    not fit leaves the model as it was.
    """

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[Callable[[], None]] = []
        self.wrong_shapes: list[tuple[str, Sequence[int], Sequence[int]]] = []

    def carry_out(self) -> None:
        for write in self.writes:
            write()


class State(Registry):
    """The part of Module that saves and loads."""

    _version = 1

    # Out

    def state_dict(
        self,
        *args: Any,
        destination: Any = None,
        prefix: str = "",
        keep_vars: bool = False,
    ) -> Any:
        """Parameters and persistent buffers by path, in the order in which they were registered.

        The tensors share the model's memory and are detached unless ``keep_vars``. The result has
        an attribute ``_metadata`` with each module's version.
        """
        if args:
            warnings.warn(
                "Positional args are being deprecated, use kwargs instead.",
                FutureWarning,
                stacklevel=2,
            )
            destination, prefix, keep_vars = (*args, destination, prefix, keep_vars)[:3]
        if destination is None:
            destination = OrderedDict()
            destination._metadata = OrderedDict()
        local_metadata = {"version": self._version}
        if hasattr(destination, "_metadata"):
            destination._metadata[prefix[:-1]] = local_metadata
        for hook in self._state_dict_pre_hooks.values():
            hook(self, prefix, keep_vars)
        self._save_to_state_dict(destination, prefix, keep_vars)
        for name, module in self._modules.items():
            if module is not None:
                module.state_dict(
                    destination=destination, prefix=f"{prefix}{name}.", keep_vars=keep_vars
                )
        for hook in self._state_dict_hooks.values():
            replaced = hook(self, destination, prefix, local_metadata)
            destination = destination if replaced is None else replaced
        return destination

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        for name, tensor in self._local_state().items():
            keep = keep_vars or is_lazy(tensor)
            destination[prefix + name] = tensor if keep else tensor.detach()
        if type(self).get_extra_state is not State.get_extra_state:
            destination[prefix + EXTRA_STATE] = self.get_extra_state()

    def _local_state(self) -> dict[str, Tensor]:
        state: dict[str, Any] = dict(self._parameters)
        state.update(
            (name, buffer)
            for name, buffer in self._buffers.items()
            if name not in self._non_persistent_buffers_set
        )
        return {name: tensor for name, tensor in state.items() if tensor is not None}

    def get_extra_state(self) -> Any:
        """Override (with :meth:`set_extra_state`) to save more than tensors."""
        raise RuntimeError("get_extra_state is to be defined by the module that needs it")

    def set_extra_state(self, state: Any) -> None:
        """Receives what :meth:`get_extra_state` returned when the state was saved."""
        raise RuntimeError("set_extra_state is to be defined by the module that needs it")

    # In

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> _IncompatibleKeys:
        """Copy a state dict into this module's tensors, matched by path.

        Values are Tensors or arrays (also PyTorch's own tensors) and are cast to the model's dtype;
        with ``assign`` the tensors themselves take the place of the model's. Returns the missing
        and unexpected keys. RuntimeError with a table of them if ``strict`` and there are any, and
        in any case for wrong shapes; the model is unchanged then.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
        missing: list[str] = []
        unexpected: list[str] = []
        plan = _Plan()
        metadata = getattr(state_dict, "_metadata", None) or {}

        def load(module: State, state: dict[str, Any], prefix: str) -> None:
            local_metadata = dict(metadata.get(prefix[:-1], {}))
            if assign:
                local_metadata["assign_to_params_buffers"] = True
            module._load_from_state_dict(
                state, prefix, local_metadata, True, missing, unexpected, plan
            )
            for name, child in module._modules.items():
                if child is not None:
                    below = f"{prefix}{name}."
                    load(child, {k: v for k, v in state.items() if k.startswith(below)}, below)
            for hook in module._load_state_dict_post_hooks.values():
                if hook(module, _IncompatibleKeys(missing, unexpected)) is not None:
                    raise AssertionError(
                        "hooks registered with register_load_state_dict_post_hook change the keys"
                        " in place and return None"
                    )

        load(self, OrderedDict(state_dict), "")
        bad_keys = strict and (missing or unexpected)
        if plan or plan.wrong_shapes or bad_keys:
            raise RuntimeError(self._mismatch_table(state_dict, missing, unexpected, plan, strict))
        plan.carry_out()
        return _IncompatibleKeys(missing, unexpected)

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Plan what to load into this module, not its children; layers with a past override it."""
        for hook in self._load_state_dict_pre_hooks.values():
            hook(state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys,
                 error_msgs)  # fmt: skip
        plan = error_msgs if isinstance(error_msgs, _Plan) else _Plan()
        assign = local_metadata.get("assign_to_params_buffers", False)
        state = self._local_state()
        for name, tensor in state.items():
            key = prefix + name
            if key in state_dict:
                self._plan_tensor(plan, key, name, tensor, state_dict[key], assign)
            elif strict:
                missing_keys.append(key)

        extra = prefix + EXTRA_STATE
        if type(self).set_extra_state is not State.set_extra_state:
            if extra in state_dict:
                plan.writes.append(lambda: self.set_extra_state(state_dict[extra]))
            elif strict:
                missing_keys.append(extra)
        elif strict and extra in state_dict:
            unexpected_keys.append(extra)
        if strict:
            for key in state_dict:
                if key.startswith(prefix) and key != extra:
                    name, dot, _ = key[len(prefix) :].partition(".")
                    if name not in (self._modules if dot else state):
                        unexpected_keys.append(key)
        if plan is not error_msgs:
            error_msgs.extend(plan)
            error_msgs.extend(f"size mismatch for {k}: {a} {b}" for k, a, b in plan.wrong_shapes)
            plan.carry_out()

    def _plan_tensor(
        self, plan: _Plan, key: str, name: str, tensor: Tensor, value: Any, assign: bool
    ) -> None:
        try:
            incoming = _as_tensor(value)
        except (TypeError, ValueError, RuntimeError) as error:
            plan.append(f'the value of "{key}" is not a tensor: {error}')
            return
        if isinstance(tensor, (UninitializedParameter, UninitializedBuffer)):
            plan.writes.append(lambda: tensor.materialize(incoming.array.shape))
        elif tensor.array.shape != incoming.array.shape:
            # A scalar was saved as one element by the oldest PyTorch.
            if tensor.array.shape == () and incoming.array.shape == (1,):
                incoming = Tensor._wrap(incoming.array[0:1].reshape(()))
            else:
                plan.wrong_shapes.append((key, incoming.array.shape, tensor.array.shape))
                return
        if assign:
            plan.writes.append(lambda: self._assign(name, tensor, incoming))
        else:
            plan.writes.append(lambda: _copy_into(tensor, incoming))

    def _assign(self, name: str, old: Tensor, new: Tensor) -> None:
        if isinstance(old, Parameter):
            new = new if isinstance(new, Parameter) else Parameter(new, old.requires_grad)
            new.requires_grad = old.requires_grad
        setattr(self, name, new)

    def _mismatch_table(
        self,
        state_dict: Mapping[str, Any],
        missing: list[str],
        unexpected: list[str],
        plan: _Plan,
        strict: bool,
    ) -> str:
        ours = self.state_dict()
        lines = [f"Error(s) in loading state_dict for {type(self).__name__}:"]
        if strict and missing:
            rows = [(key, _shape(ours.get(key))) for key in missing]
            lines += [f"Missing key(s) in state_dict: {len(missing)}", *_table(rows)]
        if strict and unexpected:
            rows = [(key, _shape(state_dict.get(key))) for key in unexpected]
            lines += [f"Unexpected key(s) in state_dict: {len(unexpected)}", *_table(rows)]
        if plan.wrong_shapes:
            wrong = [
                (f"size mismatch for {key}:", f"{list(a)} in state_dict,", f"{list(b)} in model")
                for key, a, b in plan.wrong_shapes
            ]
            lines += [line.removeprefix("    ") for line in _table(wrong)]
        if plan:
            lines += [*plan[:ROWS], *_rest(len(plan))]
        lines += _hint(state_dict, missing, unexpected) if strict else []
        return "\n    ".join(lines)

    # Hooks on the way

    def register_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """``hook(module, prefix, keep_vars)`` before the state is collected."""
        return RemovableHandle(self._state_dict_pre_hooks, hook)

    def register_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """``hook(module, state_dict, prefix, local_metadata)`` changes the state dict in place."""

        def checked(*args: Any) -> None:
            if hook(*args) is not None:
                raise RuntimeError("state_dict post-hook must return None")

        return RemovableHandle(self._state_dict_hooks, checked)

    def _register_state_dict_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """As above; the hook may return another state dict."""
        return RemovableHandle(self._state_dict_hooks, hook)

    def register_load_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """``hook(module, state_dict, prefix, ...)`` before this module's part is loaded."""
        return self._register_load_state_dict_pre_hook(hook, with_module=True)

    def _register_load_state_dict_pre_hook(
        self, hook: Callable[..., Any], with_module: bool = False
    ) -> RemovableHandle:
        # A partial, because deepcopy of the module then binds the copy.
        call = functools.partial(hook, self) if with_module else hook
        return RemovableHandle(self._load_state_dict_pre_hooks, call)

    def register_load_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """``hook(module, incompatible_keys)`` may edit the two lists of keys."""
        return RemovableHandle(self._load_state_dict_post_hooks, hook)


def _as_tensor(value: Any) -> Tensor:
    if isinstance(value, Tensor):
        return value
    if not hasattr(value, "__array__"):
        raise TypeError(f"expected torch.Tensor or an array, but received {type(value)}")
    array = np.asarray(value.detach() if hasattr(value, "detach") else value)
    if array.dtype.kind not in "fiub" and array.dtype != BFLOAT16:
        raise TypeError(f"an array of dtype {array.dtype} cannot be a tensor")
    return Tensor._wrap(array)


def _copy_into(tensor: Tensor, value: Tensor) -> None:
    if value.device != tensor.device:
        value = value.to(tensor.device)
    # A cast to a narrower dtype may overflow to infinity.
    with np.errstate(all="ignore"), on_device_of(tensor.array):
        tensor.array[...] = value.array
    tensor._counter[0] += 1


def _shape(value: Any) -> str:
    if is_lazy(value):
        return "(not known yet)"
    return str(list(value.shape)) if hasattr(value, "shape") else f"({type(value).__name__})"


def _table(rows: Sequence[tuple[str, ...]]) -> Iterable[str]:
    """Aligned columns, indented; a long table is cut and its rest counted."""
    shown = rows[:ROWS]
    widths = [max(map(len, column)) for column in zip(*shown)]
    for row in shown:
        cells = [cell.ljust(width) for cell, width in zip(row, widths)]
        yield ("    " + "  ".join(cells)).rstrip()
    yield from (f"    {line}" for line in _rest(len(rows)))


def _rest(n: int) -> list[str]:
    return [f"... and {n - ROWS} more"] if n > ROWS else []


def _hint(state_dict: Mapping[str, Any], missing: list[str], unexpected: list[str]) -> list[str]:
    nested = [key for key, value in state_dict.items() if isinstance(value, Mapping)]
    if missing and nested:
        return [f"This looks like a whole checkpoint: load_state_dict(checkpoint[{nested[0]!r}])?"]
    first = {key.partition(".")[0] + "." for key in unexpected}
    if missing and len(first) == 1:
        prefix = first.pop()
        if {key.removeprefix(prefix) for key in unexpected} >= set(missing):
            renamed = f"{{k.removeprefix({prefix!r}): v for k, v in state.items()}}"
            return [f"The keys have {prefix!r} in front: load_state_dict({renamed})"]
    return []
