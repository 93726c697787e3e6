"""Limits for gradients, in place, between ``backward()`` and the optimizer's step."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np

from ...kernels.backend import place
from ...tensor import Tensor, on_device_of

Tensors = Tensor | Iterable[Tensor]


def _gradients(parameters: Tensors) -> list[Tensor]:
    if isinstance(parameters, Tensor):
        parameters = [parameters]
    return [p.grad for p in parameters if p.grad is not None]


def _norm(array: Any, p: float) -> float:
    with on_device_of(array):
        flat = np.abs(array.astype(np.float64)).ravel()
        if not flat.size:
            return 0.0
        if p == math.inf:
            return float(flat.max())
        if p == 2:
            return math.sqrt(float(np.square(flat).sum()))
        return float((flat**p).sum() ** (1 / p))


def get_total_norm(
    tensors: Tensors,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The norm of all tensors' elements together, accumulated in float64."""
    del foreach
    arrays = [t.array for t in ([tensors] if isinstance(tensors, Tensor) else tensors)]
    if not arrays:
        return Tensor._wrap(np.zeros((), np.float32))
    p = float(norm_type)
    total = _norm(np.array([_norm(a, p) for a in arrays]), p)
    if error_if_nonfinite and not math.isfinite(total):
        raise RuntimeError(
            f"The total norm of order {p} for gradients from `parameters` is non-finite, so it"
            " cannot be clipped. To disable this error and scale the gradients by the non-finite"
            " norm anyway, set `error_if_nonfinite=False`"
        )
    with on_device_of(arrays[0]):
        return Tensor._wrap(place(np.asarray(total, arrays[0].dtype), arrays[0]))


def clip_grad_norm_(
    parameters: Tensors,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale all gradients by max_norm / (norm + 1e-6) if their joint norm exceeds ``max_norm``.

    Returns the norm before clipping.
    """
    del foreach
    gradients = _gradients(parameters)
    total = get_total_norm(gradients, norm_type, error_if_nonfinite)
    scale = min(float(max_norm) / (float(total.array) + 1e-6), 1.0)
    if scale != 1.0:  # also for NaN, which spreads as in PyTorch
        for g in gradients:
            with on_device_of(g.array):
                g.array *= g.array.dtype.type(scale)
            g._counter[0] += 1
    return total


def clip_grad_norm(parameters: Tensors, *args: Any, **kwargs: Any) -> Tensor:
    """The old name of :func:`clip_grad_norm_`."""
    warnings.warn(
        "`torch.nn.utils.clip_grad_norm` is now deprecated in favor of"
        " `torch.nn.utils.clip_grad_norm_`.",
        FutureWarning,
        stacklevel=2,
    )
    return clip_grad_norm_(parameters, *args, **kwargs)


def clip_grad_value_(
    parameters: Tensors, clip_value: float, foreach: bool | None = None
) -> None:
    """Limit every gradient element to [-clip_value, clip_value]."""
    del foreach
    limit = float(clip_value)
    for g in _gradients(parameters):
        with on_device_of(g.array):
            np.clip(g.array, -limit, limit, out=g.array)
        g._counter[0] += 1
