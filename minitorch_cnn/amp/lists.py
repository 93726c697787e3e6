"""Which ops autocast casts the inputs of, and to what.

Names are those of the ops (``minitorch_cnn/ops``); the lists are PyTorch's, but that ``mv`` is a
product on the CPU too. An op in none of them computes in what it is given; several dtypes become
the widest. float64 and integers are left alone, and so are in-place methods.
Source: PyTorch documentation, Automatic Mixed Precision package, autocast op reference.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..dtypes import BFLOAT16, is_floating, widest
from ..grad_mode import mode, no_autocast
from ..ops import basic
from ..tensor import Tensor

FLOAT32 = np.dtype(np.float32)
CAST = (np.dtype(np.float16), BFLOAT16, FLOAT32)

LOW = frozenset({
    "conv1d", "conv2d", "conv_transpose2d", "einsum", "linear", "matmul", "prelu",
})  # fmt: skip
WIDE = {
    "cpu": frozenset({"prod"}),
    "cuda": frozenset({
        "acos", "asin", "cosh", "cumprod", "cumsum", "exp", "expm1", "group_norm", "interpolate",
        "layer_norm", "log", "log10", "log1p", "log2", "log_softmax", "logsumexp", "norm", "pow",
        "prod", "reciprocal", "rsqrt", "sinh", "softmax", "softplus", "sum", "tan",
    }),
}  # fmt: skip


def dtype_of(op: str, inputs: Sequence[Any]) -> np.dtype[Any] | None:
    """What autocast casts an op's inputs to; None where it leaves them alone."""
    device = next((x.device.type for x in inputs if isinstance(x, Tensor)), "")
    if device not in mode.autocast:
        return None
    if op in LOW:
        return mode.autocast[device]
    reciprocal = device == "cuda" and op == "div" and not isinstance(inputs[0], Tensor)
    return FLOAT32 if op in WIDE[device] or reciprocal else None


def cast_inputs(
    op: str, inputs: tuple[Any, ...], settings: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """An op's inputs and settings as autocast wants them; the casts are recorded in the graph."""
    to = dtype_of(op, inputs)
    if to is None:
        return inputs, settings
    return tuple(_cast(x, to) for x in inputs), {k: _cast(v, to) for k, v in settings.items()}


def _cast(x: Any, to: np.dtype[Any]) -> Any:
    if not isinstance(x, Tensor) or x.array.dtype not in CAST or x.array.dtype == to:
        return x
    with no_autocast():
        return basic.cast(x, dtype=to)


def is_active(x: Tensor) -> bool:
    """Whether autocast is on for the device of a tensor."""
    return bool(mode.autocast) and x.device.type in mode.autocast


def in_float32(*values: Any) -> tuple[Any, ...]:
    """These, tensors of 2 bytes cast to float32 where autocast is on: what losses begin with."""
    if not mode.autocast:
        return values
    return tuple(
        _cast(x, FLOAT32) if isinstance(x, Tensor) and is_active(x) else x for x in values
    )


def in_widest(*values: Any) -> tuple[Any, ...]:
    """These, in the widest floating dtype among them where autocast is on."""
    tensors = [x for x in values if isinstance(x, Tensor)]
    if not mode.autocast or not all(is_floating(x.array.dtype) and is_active(x) for x in tensors):
        return values
    wide = functools.reduce(widest, (x.array.dtype for x in tensors))
    with no_autocast():
        return tuple(
            basic.cast(x, dtype=wide) if isinstance(x, Tensor) and x.array.dtype != wide else x
            for x in values
        )
