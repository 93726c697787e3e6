"""Autograd: a Tensor, the ops that make one from others, and ``backward`` through them.

A **Tensor** is an array plus the edges it came from; ``backward()`` walks the edges in reverse.
An **op** is a function on arrays: it returns ``y`` and, for each array argument, the function that
sends dL/dy back to that argument::

    @op
    def mul(a, b, /):
        y = a * b
        return y, (lambda gy: gy * b, lambda gy: gy * a)

The arrays that those gradient functions close over *are* the tensors saved for backward: nothing
else is kept, and they are let go as soon as backward has passed. Every method that is not about
gradients (``x.sum()``, ``x.view()``, ...) is attached in ``methods.py``.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import sys
import time
import traceback
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import FunctionType
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from .device import device as Device
from .dtypes import BFLOAT16, dtype, from_numpy_dtype, get_default_dtype, is_floating
from .grad_mode import (
    detect_anomaly,
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    mode,
    no_autocast,
    no_grad,
    set_grad_enabled,
    watch,
)
from .kernels.backend import HOST
from .size import Size

__all__ = [
    "Array", "GradFn", "Node", "RemovableHandle", "Tensor", "op", "as_array", "check_history",
    "is_writable", "memory_of", "on_device_of", "overwriting",
    "no_grad", "enable_grad", "set_grad_enabled", "inference_mode", "is_grad_enabled",
    "is_inference_mode_enabled", "watch", "detect_anomaly",
]  # fmt: skip

Array: TypeAlias = Any  # np.ndarray, or cupy.ndarray on a GPU
# Of a tensor that took part in an op: the counter of its memory, what that said, and the memory,
# which counts only if a gradient function holds it (None: it counts).
Seen: TypeAlias = tuple[list[int], int, Callable[[], Array | None] | None]
GradFn: TypeAlias = Callable[..., Array | None]  # of gy, and perhaps more: see overwriting()


_order = itertools.count()
_ANYWHERE: contextlib.AbstractContextManager[Any] = contextlib.nullcontext()


# An in-place result may be stored if it is no higher. "V": bfloat16.
_CATEGORY = {"b": 0, "i": 1, "u": 1, "f": 2, "V": 2}


class Node:
    """One application of an op: its name and settings, and an edge for each input to inform.

    ``order`` grows with every node made, so an input's node always has a smaller one: walking
    nodes from the largest ``order`` down is walking the graph backwards.
    """

    __slots__ = ("dtype", "edges", "hooks", "name", "order", "retains", "seen", "settings",
                 "shape", "trace")  # fmt: skip

    def __init__(
        self,
        name: str,
        settings: Mapping[str, Any],
        y: Array,
        edges: list[tuple[Node | Tensor, GradFn]],
        seen: list[Seen],
    ) -> None:
        self.name = name
        self.settings = settings
        self.order = next(_order)
        self.shape: tuple[int, ...] = y.shape
        self.dtype = y.dtype
        self.edges: list[tuple[Node | Tensor, GradFn]] | None = edges
        self.seen = seen
        self.hooks: dict[int, Callable[[Tensor], Tensor | None]] = {}
        self.retains: weakref.ref[Tensor] | None = None
        self.trace = "".join(traceback.format_stack()[:-3]) if mode.anomaly else ""

    def modified(self) -> tuple[int, int] | None:
        """The versions, then and now, of memory that was saved for backward and written to since.

        What the gradient functions close over is looked up only where a counter has moved.
        """
        for counter, version, memory in self.seen:
            if counter[0] != version and (memory is None or self._saves(memory())):
                return version, counter[0]
        return None

    def _saves(self, memory: Array | None) -> bool:
        captured = _captured(grad for _, grad in self.edges or ())
        return any(memory_of(array) is memory for array in captured)

    @property
    def next_functions(self) -> tuple[tuple[Node | Tensor, int], ...]:
        """The nodes (or leaf tensors) that this one sends gradients to, as PyTorch spells it."""
        return tuple((target, 0) for target, _ in self.edges or ())

    def __repr__(self) -> str:
        return f"<{self.name.title().replace('_', '')}Backward>"


class Tensor:
    """An n-dimensional array that remembers how it was computed.

    ``Tensor(data)`` is PyTorch's legacy constructor (float32; integers are sizes); people write
    :func:`minitorch_cnn.tensor`. Inside the package, :meth:`_wrap` puts a Tensor around an array.
    """

    array: Array
    grad_fn: Node | None = None
    _requires_grad: bool = False
    _grad: Tensor | None = None
    # Cells shared by all tensors on one memory: how many in-place writes there have been ...
    _counter: list[int]
    # ... and, among a tensor and its views, the number of the last one that changed the history.
    _rewritten: list[int]
    _seen: int = 0  # the last rewriting that this tensor's own history includes
    _rectified: int = -1  # the version at which no element is known to be below 0
    _hooks: dict[int, Callable[[Tensor], Tensor | None]] | None = None
    _post_hooks: dict[int, Callable[[Tensor], None]] | None = None

    def __init__(self, *args: Any, device: Any = None) -> None:
        from .functions.arguments import move
        from .functions.legacy import construct

        if len(args) == 1 and isinstance(args[0], Tensor):
            array = args[0].array
        else:
            array = construct("Tensor", get_default_dtype(), args)
        self._init(move(array, device))

    @classmethod
    def _wrap(cls, array: Array, requires_grad: bool = False) -> Tensor:
        self = cls.__new__(cls)
        self.array = np.asarray(array) if isinstance(array, np.generic) else array
        self._counter = [0]
        self._rewritten = [0]
        if requires_grad:
            self._requires_grad = True
        return self

    def _init(self, array: Array) -> None:
        self.array = array
        self._counter = [0]
        self._rewritten = [0]

    # What the array is

    @property
    def shape(self) -> Size:
        return Size(self.array.shape)

    @property
    def ndim(self) -> int:
        return int(self.array.ndim)

    @property
    def dtype(self) -> dtype:
        return from_numpy_dtype(self.array.dtype)

    @property
    def device(self) -> Device:
        return Device.of(self.array)

    # How it takes part in autograd

    @property
    def requires_grad(self) -> bool:
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if value and not is_floating(self.array.dtype):
            raise RuntimeError(
                f"only Tensors of floating point dtype can require gradients, got {self.dtype}"
            )
        if self.grad_fn is not None and not value:
            raise RuntimeError(
                "you can only change requires_grad flags of leaf variables. If you want to use a"
                " computed variable without its history, use var_no_grad = var.detach()."
            )
        self._requires_grad = bool(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        self.requires_grad = requires_grad
        return self

    @property
    def grad(self) -> Tensor | None:
        """dL/dself after backward: of leaves, and of others after :meth:`retain_grad`."""
        if self._grad is None and self.grad_fn is not None and not self.retains_grad:
            warnings.warn(
                "The .grad attribute of a Tensor that is not a leaf Tensor is being accessed: it"
                " is not filled by backward(). Call .retain_grad() on it before, or read .grad of"
                " the leaf that it was computed from.",
                UserWarning,
                stacklevel=2,
            )
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            if not isinstance(value, Tensor):
                raise TypeError(
                    "assigned grad expected to be a Tensor or None but got grad of type"
                    f" {type(value).__name__}"
                )
            if value.array.shape != self.array.shape or value.array.dtype != self.array.dtype:
                raise RuntimeError(
                    f"attempting to assign a gradient of size {list(value.shape)} and"
                    f" {value.dtype} to a tensor of size {list(self.shape)} and {self.dtype}"
                )
        self._grad = value

    @property
    def is_leaf(self) -> bool:
        return self.grad_fn is None

    @property
    def data(self) -> Tensor:
        """The same memory without history; writing through it is invisible to autograd."""
        return Tensor._wrap(self.array)

    @data.setter
    def data(self, value: Tensor) -> None:
        self.array = value.array

    @property
    def _version(self) -> int:
        return self._counter[0]

    def detach(self) -> Tensor:
        """The same memory without history; in-place writes through it are still noticed."""
        y = Tensor._wrap(self.array)
        y._counter = self._counter
        return y

    def detach_(self) -> Tensor:
        self.grad_fn, self._requires_grad = None, False
        self._seen = self._rewritten[0]
        return self

    def retain_grad(self) -> None:
        """Keep ``.grad`` of this non-leaf tensor after backward."""
        if not self.requires_grad:
            raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
        if self.grad_fn is not None:
            self.grad_fn.retains = weakref.ref(self)

    @property
    def retains_grad(self) -> bool:
        return self.grad_fn is not None and self.grad_fn.retains is not None

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
        """Call ``hook(grad)`` when this tensor's gradient is complete; it may return another."""
        if not self.requires_grad:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        if self.grad_fn is not None:
            return RemovableHandle(self.grad_fn.hooks, hook)
        if self._hooks is None:
            self._hooks = {}
        return RemovableHandle(self._hooks, hook)

    def register_post_accumulate_grad_hook(self, hook: Callable[[Tensor], None]) -> RemovableHandle:
        """Call ``hook(leaf)`` after each time that ``leaf.grad`` was added to."""
        if not self.is_leaf or not self.requires_grad:
            raise RuntimeError("post accumulate grad hooks go on leaf tensors that require grad")
        if self._post_hooks is None:
            self._post_hooks = {}
        return RemovableHandle(self._post_hooks, hook)

    def backward(
        self,
        gradient: Tensor | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: Tensor | Sequence[Tensor] | None = None,
    ) -> None:
        """Add dself/dleaf to ``leaf.grad`` for every leaf that self was computed from.

        ``gradient`` is dL/dself (default 1, for one-element tensors only). Each node is freed as
        it is passed unless ``retain_graph=True``. Cost: about twice the forward pass.
        """
        from .backward import run_backward

        if isinstance(inputs, Tensor):
            inputs = (inputs,)
        run_backward((self,), (gradient,), bool(retain_graph), create_graph, inputs, True)

    def _write(self, fn: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """Every in-place method: compute ``fn(self, ...)``, then store it in this memory.

        While a graph is recorded, ``fn`` reads a snapshot, so that what it saves for backward is
        not what is overwritten here; ``fn`` may overwrite what it is given. Nodes that saved this
        memory before are told by the counter, and tensors that share it are told that their history
        is no longer that of their values.
        """
        if mode.autocast:  # not of in-place methods: the dtype is given
            with no_autocast():
                return self._write(fn, *args, **kwargs)
        operands = [a for a in (*args, *kwargs.values()) if isinstance(a, Tensor)]
        recorded = mode.grad and not mode.inference
        if not (recorded and (self.requires_grad or any(a.requires_grad for a in operands))):
            self._store(fn(self, *args, **kwargs).array)
            return self
        if self.requires_grad and (self.is_leaf or self._is_view_of_leaf()):
            raise RuntimeError(
                f"{'a' if self.is_leaf else 'a view of a'} leaf Variable that requires grad is"
                " being used in an in-place operation. Wrap the line in torch.no_grad(), or"
                " compute a new tensor."
            )
        check_history(f"{fn.__name__}_", (self,))  # of the snapshot, the op could not tell
        # Memory that nobody else can see needs no snapshot: the result takes its place.
        alone = self._is_alone()
        before = Tensor._wrap(self.array if alone else self.array.copy(), self.requires_grad)
        before.grad_fn = self.grad_fn
        result = fn(before, *args, **kwargs)
        y = result.array
        if result.grad_fn is not None and y.dtype != self.array.dtype:
            raise RuntimeError(
                f"in-place operation would change dtype {self.dtype} to {result.dtype} while"
                " autograd records it; compute a new tensor instead"
            )
        shared = any(memory_of(y) is memory_of(a.array) for a in operands)
        if alone and not shared and y.shape == self.array.shape and y.dtype == self.array.dtype:
            self.array = y
            self._counter[0] += 1
            if result.grad_fn is not None:  # y is this tensor's memory now, under its counter
                result.grad_fn.seen = [
                    (self._counter, self._counter[0], memory)
                    if counter is result._counter
                    else (counter, n, memory)
                    for counter, n, memory in result.grad_fn.seen
                ]
        else:
            self._store(y)
        self._rewritten[0] = self._seen = self._counter[0]
        if result.grad_fn is not None:
            if self.retains_grad and self.grad_fn is not None:
                self.grad_fn.retains, result.grad_fn.retains = None, weakref.ref(self)
            self.grad_fn, self._requires_grad = result.grad_fn, True
        return self

    def _store(self, y: Array) -> None:
        """Overwrite this memory with ``y``, which must fit it."""
        if y.shape != self.array.shape:
            raise RuntimeError(
                f"output with shape {list(self.shape)} doesn't match the broadcast shape"
                f" {list(y.shape)}: an in-place operation can't change its tensor's shape"
            )
        if _CATEGORY[y.dtype.kind] > _CATEGORY[self.array.dtype.kind]:
            raise RuntimeError(
                f"result type {from_numpy_dtype(y.dtype)} can't be cast to the desired output type"
                f" {self.dtype} in place; compute a new tensor instead"
            )
        if not is_writable(self.array):
            raise RuntimeError(
                "in-place write to read-only memory (an expanded tensor, or a read-only NumPy"
                " array): clone() it first"
            )
        if y is not self.array:
            self.array[...] = y
        self._counter[0] += 1

    def _is_alone(self) -> bool:
        """Whether only this tensor refers to its array, and only that array to its memory.

        The counts are of the one true reference and of the argument itself.
        """
        return sys.getrefcount(self.array) == 2 and (
            _is_own(self.array.base)
            or (
                type(self.array.base) is type(self.array)
                and _is_own(self.array.base.base)
                and sys.getrefcount(self.array.base) == 2
            )
        )

    def _is_view_of_leaf(self) -> bool:
        node: Node | Tensor | None = self.grad_fn
        while isinstance(node, Node) and node.edges is not None and len(node.edges) == 1:
            node = node.edges[0][0]
        return isinstance(node, Tensor) and node._rewritten is self._rewritten

    def __hash__(self) -> int:
        return id(self)

    if TYPE_CHECKING:  # attached by methods.py, where the list of methods is
        __array_priority__: float

        def __getattr__(self, name: str) -> Any: ...
        def __len__(self) -> int: ...
        def __iter__(self) -> Iterator[Tensor]: ...
        def __float__(self) -> float: ...
        def __int__(self) -> int: ...
        def __bool__(self) -> bool: ...
        def __index__(self) -> int: ...
        def __getitem__(self, index: Any) -> Tensor: ...
        def __setitem__(self, index: Any, value: Any) -> None: ...
        def __neg__(self) -> Tensor: ...
        def __invert__(self) -> Tensor: ...
        def __add__(self, other: Any) -> Tensor: ...
        def __radd__(self, other: Any) -> Tensor: ...
        def __sub__(self, other: Any) -> Tensor: ...
        def __rsub__(self, other: Any) -> Tensor: ...
        def __mul__(self, other: Any) -> Tensor: ...
        def __rmul__(self, other: Any) -> Tensor: ...
        def __truediv__(self, other: Any) -> Tensor: ...
        def __rtruediv__(self, other: Any) -> Tensor: ...
        def __pow__(self, other: Any) -> Tensor: ...
        def __matmul__(self, other: Any) -> Tensor: ...
        def __lt__(self, other: Any) -> Tensor: ...
        def __le__(self, other: Any) -> Tensor: ...
        def __gt__(self, other: Any) -> Tensor: ...
        def __ge__(self, other: Any) -> Tensor: ...
        def __eq__(self, other: object) -> Tensor: ...  # type: ignore[override]
        def __ne__(self, other: object) -> Tensor: ...  # type: ignore[override]


class RemovableHandle:
    """A registered hook; ``remove()`` (or leaving a ``with`` block) unregisters it."""

    def __init__(self, hooks: dict[int, Any], hook: Callable[..., Any]) -> None:
        self.hooks = hooks
        self.id = next(_order)
        hooks[self.id] = hook

    def remove(self) -> None:
        self.hooks.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()


def op(
    fn: Callable[..., Any] | None = None, *, bfloat16: str = "", quiet: bool = False
) -> Callable[..., Any]:
    """Make a differentiable function on Tensors out of one on arrays.

    ``fn(*arrays, **settings)`` returns ``(y, grads)``: ``grads`` has one gradient function per
    positional argument (None where there is none), or is ``()`` for an op without a derivative. A
    gradient function maps dL/dy to dL/d(argument): gy itself, a view of it, or a fresh array. If
    ``y`` is a tuple, its first entry is differentiable and the others are plain (indices, ...).
    An argument may also be None or a Python number. A setting may be a Tensor (labels, weights of
    a loss): ``fn`` gets its array, no gradient goes there, and writing to it before backward is
    noticed. Overhead: about 4 microseconds a call.

    NumPy's warnings of overflow and division by zero are silenced, as PyTorch has none;
    ``quiet=True`` says that there are none to silence, as ``fn`` computes by kernels alone, or only
    moves numbers (it saves half a microsecond).
    bfloat16 arrays come to ``fn`` as float32 ones, and y is rounded, once; ``bfloat16="all"`` says
    that ``fn`` takes them as they are (it moves numbers), "cuda" that it does on a GPU.
    """
    if fn is None:
        return functools.partial(op, bfloat16=bfloat16, quiet=quiet)
    name = fn.__name__
    takes_any = bfloat16 == "all"

    @functools.wraps(fn)
    def apply(*inputs: Any, **settings: Any) -> Any:
        if mode.autocast:
            from .amp.lists import cast_inputs

            inputs, settings = cast_inputs(name, inputs, settings)
        tensors: list[Tensor] = []
        arrays = list(inputs)
        narrow, silent = False, quiet
        for i, x in enumerate(inputs):
            if isinstance(x, Tensor):
                tensors.append(x)
                arrays[i] = a = x.array
                if a.itemsize == 2:  # rounding to 16 bits overflows
                    silent = False
                    narrow = narrow or (a.dtype == BFLOAT16 and not takes_any)
        for key, setting in settings.items():
            if isinstance(setting, Tensor):
                tensors.append(setting)
                settings[key] = setting.array
        there = None
        for t in tensors:
            if not isinstance(t.array, HOST):
                there = t.array
                arrays, settings = _on_one_device(name, there, tensors, arrays, settings)
                break
        if narrow and there is not None and bfloat16 == "cuda":
            narrow = False
        observers = mode.observers
        started = time.perf_counter() if observers else 0.0
        if silent and there is None:
            result, grads = fn(*arrays, **settings)
        else:
            result, grads = _silenced(fn, there, narrow, arrays, settings)
        extras: list[Tensor] = []
        if isinstance(result, tuple):
            result, *more = result
            extras = [Tensor._wrap(as_array(e)) for e in more]
        out = Tensor._wrap(result)
        y = out.array
        memory = memory_of(y)
        for x in tensors:
            if memory_of(x.array) is memory:
                out._counter, out._rewritten, out._seen = x._counter, x._rewritten, x._seen

        if grads and mode.grad and not mode.inference:
            check_history(name, tensors)
            edges: list[tuple[Node | Tensor, GradFn]] = [
                (x.grad_fn or x, grad)
                for x, grad in zip(inputs, grads, strict=True)
                if grad is not None and isinstance(x, Tensor) and x._requires_grad
            ]
            if edges and is_floating(y.dtype):
                seen: list[Seen] = [
                    (t._counter, t._counter[0], weakref.ref(memory_of(t.array)))
                    for t in (*tensors, out, *extras)
                ]
                out.grad_fn = Node(name, settings, y, edges, seen)
                out._requires_grad = True
        if observers:
            seconds = time.perf_counter() - started
            for observer in observers:
                observer(name, settings, arrays, y, seconds)
        return (out, *extras) if extras else out

    apply.is_op = True  # type: ignore[attr-defined]
    return apply


@np.errstate(all="ignore")
def _silenced(
    fn: Callable[..., Any], there: Array, narrow: bool, arrays: list[Any], settings: dict[str, Any]
) -> tuple[Any, Sequence[GradFn | None]]:
    """An op where overflow and division by zero give inf and NaN without a warning."""
    with on_device_of(there):
        if narrow:
            return _in_float32(fn, arrays, settings)
        result, grads = fn(*arrays, **settings)
        return result, grads


def _in_float32(
    fn: Callable[..., Any], arrays: Sequence[Any], settings: Mapping[str, Any]
) -> tuple[Any, Sequence[GradFn | None]]:
    """An op on arrays of which some are bfloat16: its floating result is what the first one is.

    backward rounds the gradients; gy is widened once for all of them.
    """
    floats = [a.dtype for a in arrays if hasattr(a, "dtype") and is_floating(a.dtype)]
    result, grads = fn(*(_wide(a) for a in arrays), **settings)
    several = result if isinstance(result, tuple) else (result,)
    if floats[0] == BFLOAT16:
        several = tuple(y.astype(BFLOAT16) if is_floating(y.dtype) else y for y in several)
    last: list[Array] = [None, None]

    def widened(grad: GradFn | None) -> GradFn | None:
        if grad is None:
            return None

        def of_wide(gy: Array) -> Array | None:
            if last[0] is not gy:
                last[:] = gy, _wide(gy)
            return grad(last[1])

        return of_wide

    return several if isinstance(result, tuple) else several[0], tuple(map(widened, grads))


def _wide(x: Any) -> Any:
    return x.astype(np.float32) if getattr(x, "dtype", None) == BFLOAT16 else x


def overwriting(grad: Callable[..., Array]) -> Callable[..., Array]:
    """Marks a gradient function ``grad(gy, overwrite=False)`` that can write its result over gy.

    backward says ``overwrite=True`` where nobody else will look at gy.
    """
    grad.overwrites = True  # type: ignore[attr-defined]
    return grad


def _is_own(base: Any) -> bool:
    """Whether an array with this base is the only owner of its memory."""
    return base is None or getattr(base, "exclusive", False)


def as_array(y: Any) -> Array:
    """``y`` itself, unless it is the NumPy scalar that reductions and 0-d arithmetic return."""
    return np.asarray(y) if isinstance(y, np.generic) else y


def on_device_of(array: Any) -> contextlib.AbstractContextManager[Any]:
    """``with`` it, CuPy works on the GPU that the array is on, whichever is the current one."""
    if array is None or isinstance(array, HOST):
        return _ANYWHERE
    device: contextlib.AbstractContextManager[Any] = array.device
    return device


def is_writable(array: Array) -> bool:
    """Whether each element has memory of its own that may be written (broadcast ones share it)."""
    if isinstance(array, np.ndarray):
        return array.flags.writeable
    return not any(s == 0 and n > 1 for s, n in zip(array.strides, array.shape))


def memory_of(array: Array) -> Array:
    """The array that owns the memory of this one, or is alone with a NumPy scalar's."""
    base = array.base
    # An array, or what as_strided puts between. A scalar has a base too, but no weak references.
    while base is not None and hasattr(base, "base") and not isinstance(base, np.generic):
        array, base = base, base.base
    return array


def _captured(functions: Iterable[Any]) -> Iterator[Array]:
    """The arrays that gradient functions close over, also through helpers and tuples."""
    stack, seen = list(functions), set()
    while stack:
        item = stack.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, FunctionType):
            stack.extend(item.__defaults__ or ())
            for cell in item.__closure__ or ():
                with contextlib.suppress(ValueError):  # a cell may still be empty
                    stack.append(cell.cell_contents)
        elif isinstance(item, (tuple, list)):
            stack.extend(item)
        elif isinstance(item, Tensor):
            yield item.array
        elif hasattr(item, "base") and hasattr(item, "strides"):
            yield item


def _on_one_device(
    name: str,
    there: Array,
    tensors: Sequence[Tensor],
    arrays: list[Any],
    settings: dict[str, Any],
) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of an op with an array on a GPU: numbers (0-d tensors) follow it there."""
    from .functions.arguments import move

    device = Device.of(there)
    if any(t.device != device and (t.array.ndim or t._requires_grad) for t in tensors):
        raise RuntimeError(_mixed_devices(name, tensors))

    def follow(x: Any) -> Any:
        return move(x, device) if isinstance(x, np.ndarray) and not x.ndim else x

    return [follow(x) for x in arrays], {k: follow(v) for k, v in settings.items()}


def _mixed_devices(name: str, tensors: Sequence[Tensor]) -> str:
    places = ", ".join(f"{list(t.shape)} on {t.device}" for t in tensors)
    return (
        f"{name}: Expected all tensors to be on the same device, but found {places}."
        " Move them with .to(device)."
    )


def check_history(name: str, tensors: Iterable[Tensor]) -> None:
    """RuntimeError if a tensor's values were rewritten, with a graph, through another one."""
    for x in tensors:
        if x._seen < x._rewritten[0]:
            raise RuntimeError(
                f"{name}: this tensor of shape {list(x.shape)} shares memory with one that was"
                " since modified in place while autograd recorded it, so its history is out of"
                " date. Use the modified tensor, take the view again after the in-place step, or"
                " clone() before it."
            )
