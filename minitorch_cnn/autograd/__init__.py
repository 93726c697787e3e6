"""``torch.autograd``: gradients on request, Functions of one's own, and checks of both."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from ..backward import run_backward
from ..grad_mode import (
    detect_anomaly,
    enable_grad,
    inference_mode,
    is_anomaly_enabled,
    no_grad,
    set_detect_anomaly,
    set_grad_enabled,
)
from ..tensor import Tensor
from .function import Function, FunctionCtx
from .numerical import GradcheckError, gradcheck
from .variable import Variable

__all__ = [
    "Variable", "Function", "FunctionCtx", "backward", "grad", "gradcheck", "GradcheckError",
    "no_grad", "enable_grad", "set_grad_enabled", "inference_mode",
    "detect_anomaly", "set_detect_anomaly", "is_anomaly_enabled",
]  # fmt: skip


def backward(
    tensors: Tensor | Sequence[Tensor],
    grad_tensors: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    grad_variables: Tensor | Sequence[Tensor | None] | None = None,
    inputs: Tensor | Sequence[Tensor] | Mapping[str, Tensor] | None = None,
) -> None:
    """Add the gradients of the sum of ``tensors`` to ``.grad`` of the leaves, or of ``inputs``.

    ``grad_tensors`` are dL/dtensor, one each; None means 1 and is for one-element tensors only.
    Errors: RuntimeError for wrong shapes or numbers, NotImplementedError for ``create_graph``.
    """
    if grad_variables is not None:
        warnings.warn(
            "`grad_variables` is deprecated. Use `grad_tensors` instead.", FutureWarning, 2
        )
        if grad_tensors is not None:
            raise RuntimeError("`grad_tensors` and `grad_variables` cannot both be given")
        grad_tensors = grad_variables
    roots = _sequence(tensors)
    chosen = None if inputs is None else _sequence(inputs)
    gradients = _one_each(roots, grad_tensors)
    run_backward(roots, gradients, bool(retain_graph), create_graph, chosen, accumulate=True)


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor] | Mapping[str, Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> Any:
    """The gradients of the sum of ``outputs`` with respect to ``inputs``; ``.grad`` is not touched.

    Returns a tuple of Tensors (a dict for a dict of inputs). An input that the outputs do not
    depend on is an error, or gives None with ``allow_unused``, or zeros with
    ``materialize_grads``. Only what lies between inputs and outputs is computed, and freed.
    Errors: RuntimeError, ValueError for contradicting flags, NotImplementedError for
    ``create_graph`` and ``is_grads_batched``.
    """
    if is_grads_batched:
        raise NotImplementedError("autograd.grad: is_grads_batched needs vmap, which is not here")
    if materialize_grads and allow_unused is False:
        raise ValueError(
            "Expected allow_unused to be True or not passed when materialize_grads=True, but got:"
            " allow_unused=False."
        )
    if not only_inputs:
        warnings.warn(
            "only_inputs argument is deprecated and is ignored now (defaults to True)",
            FutureWarning,
            stacklevel=2,
        )
    roots, chosen = _sequence(outputs), _sequence(inputs)
    gradients = _one_each(roots, grad_outputs)
    arrays = run_backward(
        roots, gradients, bool(retain_graph), create_graph, chosen, accumulate=False
    )
    found: list[Tensor | None] = []
    for i, (array, x) in enumerate(zip(arrays, chosen)):
        if array is None and materialize_grads:
            array = x.array.copy()
            array[...] = 0
        elif array is None and not allow_unused:
            raise RuntimeError(
                f"The differentiated Tensor at index {i} appears to not have been used in the"
                " graph. Set allow_unused=True if this is the desired behavior."
            )
        found.append(None if array is None else Tensor._wrap(array))
    return dict(zip(inputs, found)) if isinstance(inputs, Mapping) else tuple(found)


def _sequence(tensors: Any) -> tuple[Tensor, ...]:
    several = tensors.values() if isinstance(tensors, Mapping) else tensors
    several = (several,) if isinstance(several, Tensor) else tuple(several)
    for t in several:
        if not isinstance(t, Tensor):
            raise TypeError(f"expected Tensors, but got {type(t).__name__}")
    return several


def _one_each(roots: Sequence[Tensor], gradients: Any) -> tuple[Tensor | None, ...]:
    if gradients is None:
        return (None,) * len(roots)
    several = (gradients,) if isinstance(gradients, Tensor) else tuple(gradients)
    if len(several) != len(roots):
        raise RuntimeError(f"got {len(roots)} tensors and {len(several)} gradients")
    return several


_MISSING = {
    "functional": "jacobian, hessian and the like need derivatives of derivatives",
    "forward_ad": "there is no forward mode",
    "gradgradcheck": "there are no second derivatives",
    "graph": "there are no saved-tensor hooks",
    "profiler": "use minitorch_cnn.tools",
}


def __getattr__(name: str) -> NoReturn:
    why = f": {_MISSING[name]}" if name in _MISSING else ""
    raise AttributeError(f"minitorch_cnn.autograd has no {name!r}{why}")
