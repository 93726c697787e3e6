"""Training's one fusion: a ReLU behind a batch norm needs no pass over memory of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...grad_mode import mode
from ...tensor import Tensor
from ..functional.normalization import batch_norm_relu
from .activation import ReLU
from .batchnorm import BatchNorm2d
from .module import Module

PLAIN = ReLU()  # of networks that have no layer for it


def norm_relu(norm: Module, x: Tensor, relu: Callable[[Tensor], Tensor] = PLAIN) -> Tensor:
    """relu(norm(x)), where nobody but ``relu`` sees what comes from ``norm``.

    In training on the CPU, a plain BatchNorm2d computes a plain ReLU with its own result: forward
    saves reading and writing an array, backward reading two and writing one. Layers of other
    types, or with hooks, and networks that predict, call one after the other.
    """
    if (
        type(norm) is BatchNorm2d
        and type(relu) is ReLU
        and norm.training
        and not (norm._has_hooks() or relu._has_hooks())
        and _fits(norm, x)
    ):
        return norm._normalized(x, batch_norm_relu)
    return relu(norm(x))


def _fits(norm: BatchNorm2d, x: Any) -> bool:
    """Whether ``batch_norm_relu`` can do it; what is wrong with other inputs, ``norm`` says."""
    array = x.array if isinstance(x, Tensor) else None
    if not isinstance(array, np.ndarray) or array.dtype not in (np.float32, np.float64):
        return False
    own = norm.weight, norm.bias, norm.running_mean, norm.running_var
    return (
        array.ndim == 4
        and array.shape[1] == norm.num_features
        and array.size > norm.num_features
        and all(t is None or t.array.dtype == array.dtype for t in own)
        and not mode.autocast
    )
