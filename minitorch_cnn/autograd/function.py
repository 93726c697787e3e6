"""``autograd.Function``: an op of one's own in PyTorch's ctx style, on the nodes of ``tensor.py``.

A call makes nodes in a row, oldest first::

    inputs  <-  gather  <-  run  <-  one node per output

The output nodes put dL/dy_i into slot i of a list (an object array, so that the engine adds lists
up slot by slot); ``run`` calls the user's ``backward`` once with the whole list and answers with
the list of dL/dx_j; ``gather`` hands dL/dx_j to input j.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..backward import modified
from ..dtypes import is_floating
from ..functions.arguments import filled
from ..grad_mode import mode, no_grad
from ..ops.basic import sum_to
from ..tensor import Array, Node, Tensor, as_array, check_history


class FunctionCtx:
    """What ``forward`` tells ``backward``: saved tensors, and any attribute that it likes to set.

    ``needs_input_grad`` says of each argument whether its gradient will be used. Do not keep an
    output as an attribute (that is a reference cycle): ``save_for_backward`` takes outputs too.
    """

    needs_input_grad: tuple[bool, ...] = ()

    def __init__(self, name: str) -> None:
        self._name = name
        self._to_save: Sequence[Tensor | None] = ()
        self._saved: list[tuple[Array, list[int], int] | None] = []
        self._dirty: set[int] = set()
        self._no_gradient: set[int] = set()
        self._materialize = True

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep inputs or outputs for ``backward``, which raises if they change in between."""
        for i, tensor in enumerate(tensors):
            if tensor is not None and not isinstance(tensor, Tensor):
                raise TypeError(
                    f"save_for_backward can only save variables, but argument {i} is of type"
                    f" {type(tensor).__name__}: set other values as attributes of ctx"
                )
        self._to_save = tensors

    @property
    def saved_tensors(self) -> tuple[Tensor | None, ...]:
        """What ``save_for_backward`` was given, without history."""
        tensors: list[Tensor | None] = []
        for saved in self._saved:
            if saved is None:
                tensors.append(None)
                continue
            array, counter, version = saved
            if counter[0] != version:
                raise RuntimeError(modified(self._name, version, counter[0]))
            tensor = Tensor._wrap(array)
            tensor._counter = counter
            tensors.append(tensor)
        return tuple(tensors)

    def mark_dirty(self, *tensors: Tensor) -> None:
        """Say which inputs ``forward`` changed in place; it must return them."""
        self._dirty = {id(t) for t in tensors}

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Say which outputs have no gradient (integer ones never have)."""
        self._no_gradient = {id(t) for t in tensors}

    def set_materialize_grads(self, value: bool) -> None:
        """False: ``backward`` gets None, not zeros, for outputs that were not used."""
        self._materialize = value

    def _keep(self) -> None:
        # Arrays, not tensors: an output's tensor leads to its node, and the node to this object.
        self._saved = [None if t is None else (t.array, t._counter, t._version)
                       for t in self._to_save]  # fmt: skip
        self._to_save = ()


class Function:
    """Subclass with static ``forward(ctx, *args)`` and ``backward(ctx, *grad_outputs)``.

    Call it as ``MyFunction.apply(*args)``. Arguments may be anything; those that are Tensors get
    gradients. ``forward`` returns a Tensor or a tuple of Tensors and other values; no graph is
    recorded inside it. ``backward`` gets dL/dy for each output and returns dL/dx (or None) for each
    argument; both run on detached tensors, so there are no second derivatives. Alternatively
    ``forward(*args)`` and ``setup_context(ctx, inputs, output)``, as PyTorch 2 has it.

    Errors: RuntimeError for a wrong number, type or shape of gradients; NotImplementedError if
    there is no ``backward``.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError(_LEGACY.format(name=type(self).__name__))

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """Compute the outputs."""
        raise NotImplementedError(
            "You must implement the forward function for custom autograd.Function."
        )

    @staticmethod
    def setup_context(ctx: FunctionCtx, inputs: tuple[Any, ...], output: Any) -> Any:
        """Save for backward, where ``forward`` has no ctx."""

    @staticmethod
    def backward(ctx: FunctionCtx, *grad_outputs: Any) -> Any:
        """Compute the gradients of the arguments."""
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom"
            " autograd.Function to use it with backward mode AD."
        )

    vjp = backward

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Compute ``forward(*args)`` and record how to go back."""
        ctx = FunctionCtx(cls.__name__)
        ctx.needs_input_grad = tuple(isinstance(a, Tensor) and a.requires_grad for a in args)
        recorded = mode.grad and not mode.inference and any(ctx.needs_input_grad)
        if recorded:
            check_history(cls.__name__, [a for a in args if isinstance(a, Tensor)])
        with no_grad():
            if cls.setup_context is Function.setup_context:
                result = cls.forward(ctx, *args)
            else:
                result = cls.forward(*args)
                cls.setup_context(ctx, args, result)
        ctx._keep()
        outputs = result if isinstance(result, tuple) else (result,)
        inputs = {id(a): a for a in args if isinstance(a, Tensor)}
        if recorded:
            run = _backward_nodes(cls, ctx, args, outputs)
        finished: list[Any] = []
        for i, y in enumerate(outputs):
            if isinstance(y, Tensor):
                differentiable = id(y) not in ctx._no_gradient and is_floating(y.array.dtype)
                y = _output(cls.__name__, y, inputs, ctx._dirty, recorded)
                if recorded and differentiable:
                    place = functools.partial(_place, i, len(outputs))
                    y.grad_fn = Node(cls.__name__, {}, y.array, [(run, place)], [])
                    y._requires_grad = True
            finished.append(y)
        return tuple(finished) if isinstance(result, tuple) else finished[0]


def once_differentiable(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Marks a ``backward`` that cannot be differentiated again; here none can."""
    return fn


_LEGACY = (
    "{name}(): Legacy autograd function with non-static forward method is not supported. Make"
    " forward and backward static methods that take ctx, and call {name}.apply(...)."
)


def _output(
    name: str, y: Tensor, inputs: dict[int, Tensor], dirty: set[int], recorded: bool
) -> Tensor:
    """The tensor that the caller gets for ``y``: a new one, or the input that was overwritten."""
    if id(y) in dirty:
        if recorded and y.requires_grad and (y.is_leaf or y._is_view_of_leaf()):
            raise RuntimeError(
                f"{name}: a leaf Variable that requires grad has been used in an in-place"
                " operation."
            )
        y._counter[0] += 1
        if recorded:
            y._rewritten[0] = y._seen = y._counter[0]
        return y
    out = Tensor._wrap(y.array)
    out._counter = y._counter
    if id(y) in inputs:  # a view of it
        out._rewritten, out._seen = y._rewritten, y._seen
    return out


def _place(i: int, n: int, gy: Array) -> Array:
    """The list of n gradients of which only number i is known; 0 stands for the others."""
    gys = np.zeros(n, object)
    gys[i] = gy
    return gys


def _backward_nodes(
    cls: type[Function], ctx: FunctionCtx, args: Sequence[Any], outputs: Sequence[Any]
) -> Node:
    """The nodes ``gather`` and ``run``."""
    name = cls.__name__
    like = [
        (y.array.shape, y.array.dtype, y.device) if isinstance(y, Tensor) else None for y in outputs
    ]
    shapes = [a.array.shape if isinstance(a, Tensor) else None for a in args]
    needed = ctx.needs_input_grad
    vjp = cls.backward if cls.vjp is Function.vjp else cls.vjp

    def run_backward(gys: Array) -> Array:
        grads: list[Tensor | None] = []
        for gy, y in zip(gys, like):
            if y is None or (isinstance(gy, int) and not ctx._materialize):
                grads.append(None)
            elif isinstance(gy, int):
                grads.append(Tensor._wrap(filled("zeros", name, *y)))
            else:  # a copy; of 0-d arrays, the list holds the number
                array = np.array(gy, y[1]) if y[2].type == "cpu" else gy.copy()
                grads.append(Tensor._wrap(array))
        returned = vjp(ctx, *grads)
        returned = returned if isinstance(returned, tuple) else (returned,)
        if len(returned) < len(args) or any(g is not None for g in returned[len(args) :]):
            raise RuntimeError(
                f"function {name}Backward returned an incorrect number of gradients (expected"
                f" {len(args)}, got {len(returned)})"
            )
        gxs = np.empty(len(args), object)
        for j, (g, shape) in enumerate(zip(returned, shapes)):
            if g is not None:
                gxs[j] = _gradient(name, j, g, shape) if needed[j] or shape is None else None
        return gxs

    def pick(j: int, is_leaf: bool) -> Callable[[Array], Array | None]:
        def grad(gxs: Array) -> Array | None:
            g = gxs[j]
            return g.copy() if is_leaf and g is not None else g  # backward may return one twice

        return grad

    edges: list[Any] = [
        (a.grad_fn or a, pick(j, a.is_leaf)) for j, a in enumerate(args) if needed[j]
    ]
    gather = Node(f"{name}.gather", {}, np.empty(len(args), object), edges, [])
    return Node(f"{name}.run", {}, np.empty(len(outputs), object), [(gather, run_backward)], [])


def _gradient(name: str, j: int, g: Any, shape: tuple[int, ...] | None) -> Array:
    """What ``backward`` returned for argument j, as an array of that argument's shape."""
    if not isinstance(g, Tensor):
        raise RuntimeError(
            f"function {name}Backward: expected Variable or None (got {type(g).__name__}) as"
            f" gradient {j}"
        )
    if shape is None:
        raise RuntimeError(
            f"function {name}Backward returned a gradient different than None at position"
            f" {j + 1}, but the corresponding forward input was not a Variable"
        )
    array = as_array(g.array)
    if array.shape == shape:
        return array
    lead = array.ndim - len(shape)
    if lead < 0 or any(n not in (1, m) for n, m in zip(shape, array.shape[lead:])):
        raise RuntimeError(
            f"Function {name}Backward returned an invalid gradient at index {j} - got"
            f" {list(array.shape)} but expected shape compatible with {list(shape)}"
        )
    return sum_to(array, shape)
