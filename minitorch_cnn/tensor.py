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
import heapq
import itertools
import threading
import time
import traceback
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import FunctionType
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from .device import device as Device
from .dtypes import as_numpy_dtype, dtype, from_numpy_dtype
from .size import Size

Array: TypeAlias = Any  # np.ndarray, or cupy.ndarray on a GPU
GradFn: TypeAlias = Callable[[Array], Array]
Observer: TypeAlias = Callable[[str, Mapping[str, Any], Sequence[Any], Array, float], None]


class _Mode(threading.local):
    """What the current thread wants of every op: DataLoader threads do not see each other's."""

    grad: bool = True
    inference: bool = False
    anomaly: bool = False
    observers: tuple[Observer, ...] = ()


_mode = _Mode()
_order = itertools.count()


class Node:
    """One application of an op: its name and settings, and an edge for each input to inform.

    ``order`` grows with every node made, so an input's node always has a smaller one: walking
    nodes from the largest ``order`` down is walking the graph backwards.
    """

    __slots__ = ("dtype", "edges", "hooks", "name", "order", "retains", "saved", "settings",
                 "shape", "trace")  # fmt: skip

    def __init__(
        self,
        name: str,
        settings: Mapping[str, Any],
        y: Array,
        edges: list[tuple[Node | Tensor, GradFn]],
        saved: list[tuple[list[int], int]],
    ) -> None:
        self.name = name
        self.settings = settings
        self.order = next(_order)
        self.shape: tuple[int, ...] = y.shape
        self.dtype = y.dtype
        self.edges: list[tuple[Node | Tensor, GradFn]] | None = edges
        self.saved = saved
        self.hooks: dict[int, Callable[[Tensor], Tensor | None]] = {}
        self.retains: weakref.ref[Tensor] | None = None
        self.trace = "".join(traceback.format_stack()[:-3]) if _mode.anomaly else ""

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
    grad: Tensor | None
    grad_fn: Node | None
    _requires_grad: bool
    _counter: list[int]  # one cell, shared by all views of the memory: counts in-place writes
    _is_view: bool
    _seen: int  # the counter's value when this view was taken
    _hooks: dict[int, Callable[[Tensor], Tensor | None]] | None
    _post_hooks: dict[int, Callable[[Tensor], None]] | None

    def __init__(self, *args: Any, dtype: Any = None, device: Any = None) -> None:
        if args and all(isinstance(a, int) for a in args):
            array = np.zeros(args, as_numpy_dtype(dtype))
        elif len(args) > 1:
            raise TypeError(f"Tensor(): expected sizes or one sequence, got {len(args)} arguments")
        else:
            source = args[0] if args else []
            array = np.array(getattr(source, "array", source), as_numpy_dtype(dtype))
        self._init(array)

    @classmethod
    def _wrap(cls, array: Array, requires_grad: bool = False) -> Tensor:
        self = cls.__new__(cls)
        self._init(array)
        self._requires_grad = requires_grad
        return self

    def _init(self, array: Array) -> None:
        self.array = array
        self.grad = None
        self.grad_fn = None
        self._requires_grad = False
        self._counter = [0]
        self._is_view = False
        self._seen = 0
        self._hooks = None
        self._post_hooks = None

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
        if value and self.array.dtype.kind != "f":
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

    def register_post_accumulate_grad_hook(
        self, hook: Callable[[Tensor], None]
    ) -> RemovableHandle:
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
        if isinstance(inputs, Tensor):
            inputs = (inputs,)
        run_backward((self,), (gradient,), bool(retain_graph), create_graph, inputs, True)

    def _write(self, fn: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """Every in-place method: compute ``fn(self, ...)``, then store it in this memory.

        With a graph, ``fn`` reads a snapshot, so that what it saves for backward is not what is
        overwritten here; all other saved views of this memory are told by the counter.
        """
        operands = (*args, *kwargs.values())
        others = any(isinstance(a, Tensor) and a.requires_grad for a in operands)
        graph = _mode.grad and (self.requires_grad or others)
        if not graph:
            result = fn(self, *args, **kwargs)
        elif self.requires_grad and self.is_leaf:
            raise RuntimeError(
                "a leaf Variable that requires grad is being used in an in-place operation."
                " Wrap the line in torch.no_grad(), or compute a new tensor."
            )
        elif self._is_view:
            raise RuntimeError(
                "in-place write to a view of a tensor that autograd records. Write to the tensor"
                " itself in one step (x[i, j] = v, not x[i][j] = v), or compute a new tensor."
            )
        else:
            before = Tensor._wrap(self.array.copy(), self.requires_grad)
            before.grad_fn = self.grad_fn
            result = fn(before, *args, **kwargs)
        y = result.array
        if y.shape != self.array.shape:
            raise RuntimeError(
                f"output with shape {list(self.shape)} doesn't match the broadcast shape"
                f" {list(y.shape)}: an in-place operation can't change its tensor's shape"
            )
        if y.dtype != self.array.dtype and not np.can_cast(y.dtype, self.array.dtype, "same_kind"):
            raise RuntimeError(
                f"result type {from_numpy_dtype(y.dtype)} can't be cast to the desired output type"
                f" {self.dtype} in place; compute a new tensor instead"
            )
        if not self.array.flags.writeable:
            raise RuntimeError(
                "in-place write to read-only memory (an expanded tensor, or a read-only NumPy"
                " array): clone() it first"
            )
        self.array[...] = y
        self._counter[0] += 1
        self._seen = self._counter[0]
        if result.requires_grad:
            if result.grad_fn is not None and y.dtype != self.array.dtype:
                raise RuntimeError(
                    f"in-place operation would change dtype {self.dtype} to {result.dtype} while"
                    " autograd records it; compute a new tensor instead"
                )
            self.grad_fn, self._requires_grad = result.grad_fn, True
        return self

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
        def __eq__(self, other: Any) -> Tensor: ...  # type: ignore[override]
        def __ne__(self, other: Any) -> Tensor: ...  # type: ignore[override]


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


def op(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Make a differentiable function on Tensors out of one on arrays.

    ``fn(*arrays, **settings)`` returns ``(y, grads)``: ``grads`` has one gradient function per
    positional argument (None where there is none), or is ``()`` for an op without a derivative. A
    gradient function maps dL/dy to dL/d(argument): gy itself, a view of it, or a fresh array. If
    ``y`` is a tuple, its first entry is differentiable and the others are plain (indices, ...).
    An argument may also be None or a Python number. Overhead: about 5 microseconds a call.
    """
    name = fn.__name__

    @functools.wraps(fn)
    def apply(*inputs: Any, **settings: Any) -> Any:
        tensors = [x for x in inputs if isinstance(x, Tensor)]
        if len({type(t.array) for t in tensors}) > 1:
            raise RuntimeError(_mixed_devices(name, tensors))
        started = time.perf_counter() if _mode.observers else 0.0
        arrays = [x.array if isinstance(x, Tensor) else x for x in inputs]
        result, grads = fn(*arrays, **settings)
        y, *extra = result if isinstance(result, tuple) else (result,)
        if isinstance(y, np.generic):
            y = np.asarray(y)  # NumPy reductions give scalars
        out = Tensor._wrap(y)
        roots = {id(_root(t.array)): t._counter for t in tensors}
        shared = roots.get(id(_root(y)))
        if shared is not None:
            out._counter, out._is_view, out._seen = shared, True, shared[0]

        if _mode.grad and grads and any(t._requires_grad for t in tensors):
            edges: list[tuple[Node | Tensor, GradFn]] = []
            for x, grad in zip(inputs, grads, strict=True):
                if grad is not None and isinstance(x, Tensor) and x._requires_grad:
                    if x._is_view and x._seen != x._counter[0]:
                        raise RuntimeError(_stale_view(name, x))
                    edges.append((x.grad_fn or x, grad))
            if edges:
                roots.setdefault(id(_root(y)), out._counter)
                saved = [
                    (counter, counter[0])
                    for array in _captured(grad for _, grad in edges)
                    if (counter := roots.get(id(_root(array)))) is not None
                ]
                out.grad_fn = Node(name, settings, y, edges, saved)
                out._requires_grad = True
        if _mode.observers:
            seconds = time.perf_counter() - started
            for observer in _mode.observers:
                observer(name, settings, arrays, y, seconds)
        if extra:
            return (out, *(Tensor._wrap(np.asarray(e) if np.isscalar(e) else e) for e in extra))
        return out

    apply.is_op = True  # type: ignore[attr-defined]
    return apply


def _root(array: Array) -> Array:
    """The array that owns the memory of this one."""
    while type(array.base) is type(array):
        array = array.base
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
            for cell in item.__closure__ or ():
                with contextlib.suppress(ValueError):  # a cell may still be empty
                    stack.append(cell.cell_contents)
        elif isinstance(item, (tuple, list)):
            stack.extend(item)
        elif isinstance(item, Tensor):
            yield item.array
        elif hasattr(item, "base") and hasattr(item, "strides"):
            yield item


def run_backward(
    roots: Sequence[Tensor],
    gradients: Sequence[Tensor | None],
    retain_graph: bool,
    create_graph: bool,
    inputs: Sequence[Tensor] | None,
    accumulate: bool,
) -> list[Array | None]:
    """Send ``gradients`` of ``roots`` back through the graph.

    ``accumulate`` adds to ``.grad`` of the ``inputs`` (of all leaves if None); otherwise the
    gradients of ``inputs`` are returned. Iterative, so depth is limited by memory alone.
    """
    if create_graph:
        raise NotImplementedError(
            "create_graph=True: minitorch_cnn computes first derivatives only (gradient functions"
            " work on plain arrays). Use PyTorch where you need derivatives of derivatives."
        )
    wanted = None if inputs is None else {t.grad_fn or t for t in inputs}
    pending: dict[Node | Tensor, Array] = {}
    ours: set[Node | Tensor] = set()  # sums made here, so they may be added to in place
    queue: list[tuple[int, Node]] = []
    found: dict[Node | Tensor, Array] = {}

    def send(target: Node | Tensor, g: Array) -> None:
        if target not in pending:
            pending[target] = g
            if isinstance(target, Node):
                heapq.heappush(queue, (-target.order, target))
        elif target in ours:
            pending[target] += g
        else:
            pending[target] = pending[target] + g
            ours.add(target)

    for i, (root, gradient) in enumerate(zip(roots, gradients, strict=True)):
        send(root.grad_fn or root, _root_gradient(i, root, gradient))
    useful = _ancestors_of(wanted, roots) if wanted is not None else None

    with no_grad():
        while queue:
            node = heapq.heappop(queue)[1]
            gy = pending.pop(node)
            ours.discard(node)
            gy = _run_hooks(node.hooks, gy)
            tensor = node.retains() if node.retains is not None else None
            if tensor is not None:
                _accumulate(tensor, gy.copy())
            if wanted is not None and node in wanted:
                found[node] = gy
            if useful is not None and node not in useful:
                continue
            if node.edges is None:
                raise RuntimeError(
                    "Trying to backward through the graph a second time: the saved values of"
                    f" {node.name!r} were freed. Pass retain_graph=True to the first backward()."
                )
            _check_saved(node)
            for target, grad in node.edges:
                if useful is None or target in useful:
                    g = grad(gy)
                    send(target, _checked(node, target, g, gy))
            if not retain_graph:
                node.edges, node.saved = None, []
        for leaf, g in pending.items():
            assert isinstance(leaf, Tensor)
            found[leaf] = _run_hooks(leaf._hooks or {}, g)

        if not accumulate:
            return [found.get(t.grad_fn or t) for t in inputs or ()]
        if inputs is None:
            targets = [t for t in found if isinstance(t, Tensor)]
        else:
            targets = [t for t in inputs if (t.grad_fn or t) in found]
        for t in targets:
            _accumulate(t, found[t.grad_fn or t])
        return []


def _root_gradient(i: int, root: Tensor, gradient: Tensor | None) -> Array:
    if not root.requires_grad:
        raise RuntimeError(
            f"element {i} of tensors does not require grad and does not have a grad_fn"
        )
    if gradient is None:
        if root.array.size != 1:
            raise RuntimeError(
                "grad can be implicitly created only for scalar outputs; this one has shape"
                f" {list(root.shape)}: reduce it (.sum(), .mean()) or pass gradient="
            )
        one = root.array.copy()
        one[...] = 1
        return one
    if gradient.shape != root.shape:
        raise RuntimeError(
            f"Mismatch in shape: grad_output[{i}] has a shape of {list(gradient.shape)} and"
            f" output[{i}] has a shape of {list(root.shape)}."
        )
    return gradient.array.astype(root.array.dtype)


def _ancestors_of(wanted: set[Node | Tensor], roots: Sequence[Tensor]) -> set[Node | Tensor]:
    """The nodes on some path from the roots to a wanted tensor, and the wanted ones."""
    nodes: set[Node] = set()
    stack: list[Node | Tensor] = [r.grad_fn or r for r in roots]
    while stack:
        node = stack.pop()
        if isinstance(node, Node) and node not in nodes:
            nodes.add(node)
            stack.extend(target for target, _ in node.edges or ())
    useful = set(wanted)
    for node in sorted(nodes, key=lambda n: n.order):
        if any(target in useful for target, _ in node.edges or ()):
            useful.add(node)
    return useful


def _check_saved(node: Node) -> None:
    for counter, version in node.saved:
        if counter[0] != version:
            raise RuntimeError(
                "one of the variables needed for gradient computation has been modified by an"
                f" inplace operation: {node.name!r} (output {list(node.shape)}) saved it at version"
                f" {version}, it is now at version {counter[0]}. Write y = x + 1 instead of"
                " x += 1 (or clone() before the in-place step)."
            )


def _checked(node: Node, target: Node | Tensor, g: Array, gy: Array) -> Array:
    """A gradient has its tensor's shape and dtype, and (for leaves) memory of its own."""
    like = target if isinstance(target, Node) else target.array
    if g.shape != like.shape:
        raise RuntimeError(
            f"the gradient of {node.name!r} has shape {list(g.shape)} for an input of shape"
            f" {list(like.shape)}"
        )
    if _mode.anomaly and np.isnan(g).any():
        raise RuntimeError(
            f"Function '{node.name}' returned nan values in its gradient (settings"
            f" {dict(node.settings)}, output {list(node.shape)}). It was called here:\n{node.trace}"
        )
    if g.dtype != like.dtype:
        g = g.astype(like.dtype)
    elif isinstance(target, Tensor):
        # += on a leaf's .grad must change neither gy, nor another leaf's gradient, nor keep a
        # larger buffer alive.
        root = _root(g)
        if root is _root(gy) or root.nbytes != g.nbytes or not g.flags.writeable:
            g = g.copy()
    return g


def _run_hooks(hooks: Mapping[int, Callable[[Tensor], Tensor | None]], g: Array) -> Array:
    for hook in list(hooks.values()):
        replaced = hook(Tensor._wrap(g))
        if replaced is not None:
            if replaced.array.shape != g.shape:
                raise RuntimeError(
                    f"a hook changed the shape of a gradient from {list(g.shape)} to"
                    f" {list(replaced.shape)}"
                )
            g = replaced.array
    return g


def _accumulate(tensor: Tensor, g: Array) -> None:
    if tensor.grad is None:
        tensor.grad = Tensor._wrap(g)
    else:
        tensor.grad.array = tensor.grad.array + g
    for hook in list((tensor._post_hooks or {}).values()):
        hook(tensor)


def _mixed_devices(name: str, tensors: Sequence[Tensor]) -> str:
    places = ", ".join(f"{list(t.shape)} on {t.device}" for t in tensors)
    return (
        f"{name}: Expected all tensors to be on the same device, but found {places}."
        " Move them with .to(device)."
    )


def _stale_view(name: str, x: Tensor) -> str:
    return (
        f"{name}: this tensor of shape {list(x.shape)} is a view of one that was modified in place"
        " after the view was taken; take the view again after the in-place step"
    )


class _GradMode(contextlib.ContextDecorator):
    """Sets the thread's grad mode inside a ``with`` block or a decorated function."""

    def __init__(self, mode: bool) -> None:
        self.mode = mode
        self.previous: list[bool] = []

    def __enter__(self) -> _GradMode:
        self.previous.append(_mode.grad)
        _mode.grad = self.mode
        return self

    def __exit__(self, *exc: object) -> None:
        _mode.grad = self.previous.pop()


class no_grad(_GradMode):
    """Record no graph: ``with no_grad():`` or ``@no_grad()`` (or bare ``@no_grad``)."""

    def __new__(cls, fn: Callable[..., Any] | None = None) -> Any:
        return super().__new__(cls) if fn is None else cls()(fn)

    def __init__(self, fn: None = None) -> None:
        super().__init__(False)


class enable_grad(_GradMode):
    """Record the graph again inside a ``no_grad`` block."""

    def __new__(cls, fn: Callable[..., Any] | None = None) -> Any:
        return super().__new__(cls) if fn is None else cls()(fn)

    def __init__(self, fn: None = None) -> None:
        super().__init__(True)


class set_grad_enabled(_GradMode):
    """Switch recording on or off: at once, and back again if used as a ``with`` block."""

    def __init__(self, mode: bool) -> None:
        super().__init__(bool(mode))
        self.previous = [_mode.grad]
        _mode.grad = self.mode

    def __enter__(self) -> _GradMode:
        if not self.previous:
            return super().__enter__()
        _mode.grad = self.mode
        return self

    def __call__(self, func: Any) -> Any:
        # As a decorator it must not change the mode at definition time.
        _mode.grad = self.previous.pop()
        return super().__call__(func)


class inference_mode(_GradMode):
    """``no_grad`` under the name of today's inference scripts."""

    def __init__(self, mode: bool = True) -> None:
        super().__init__(not mode and _mode.grad)
        self.inference = mode

    def __enter__(self) -> _GradMode:
        self.before = _mode.inference
        _mode.inference = self.inference
        return super().__enter__()

    def __exit__(self, *exc: object) -> None:
        super().__exit__(*exc)
        _mode.inference = self.before


def is_grad_enabled() -> bool:
    return _mode.grad


def is_inference_mode_enabled() -> bool:
    return _mode.inference


@contextlib.contextmanager
def watch(observer: Observer) -> Iterator[None]:
    """Call ``observer(name, settings, input_arrays, output_array, seconds)`` after each op.

    The one mechanism under summary, profiler and anomaly detection.
    """
    previous = _mode.observers
    _mode.observers = (*previous, observer)
    try:
        yield
    finally:
        _mode.observers = previous


@contextlib.contextmanager
def detect_anomaly(check_nan: bool = True) -> Iterator[None]:
    """Name the op that makes the first NaN: forward by a warning, backward by a RuntimeError."""
    warned = False

    def find_nan(
        name: str, settings: Mapping[str, Any], inputs: Sequence[Any], y: Array, seconds: float
    ) -> None:
        nonlocal warned
        if warned or y.dtype.kind != "f" or not np.isnan(y).any():
            return
        warned = True
        shapes = ", ".join(str(list(x.shape)) for x in inputs if hasattr(x, "shape"))
        warnings.warn(
            f"detect_anomaly: the first NaN came out of {name!r} (settings {dict(settings)},"
            f" inputs {shapes})",
            RuntimeWarning,
            stacklevel=4,
        )

    previous = _mode.anomaly
    _mode.anomaly = check_nan
    try:
        with watch(find_nan):
            yield
    finally:
        _mode.anomaly = previous
