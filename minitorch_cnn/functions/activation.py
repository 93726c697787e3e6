"""The activations that are methods and ``torch.`` functions; ``nn.functional`` has them all."""

from __future__ import annotations

from typing import Any

from ..ops import activation
from ..tensor import Tensor
from .arguments import as_int, check_tensor, numpy_dtype
from .dims import numpy_names
from .promotion import floating, to_dtype

__all__ = ["relu", "sigmoid", "tanh", "softmax", "log_softmax", "prelu"]
METHODS = tuple(__all__)
INPLACE = ("relu", "sigmoid", "tanh")


def relu(input: Tensor) -> Tensor:
    """max(input, 0); the gradient at 0 is 0."""
    return activation.relu(check_tensor("relu", input))


def sigmoid(input: Tensor) -> Tensor:
    """1 / (1 + e^-input); integers give the default dtype."""
    return activation.sigmoid(floating("sigmoid", input))


def tanh(input: Tensor) -> Tensor:
    """The hyperbolic tangent; integers give the default dtype."""
    return activation.tanh(floating("tanh", input))


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """input where positive, weight input elsewhere: one weight, or one per channel (dim 1)."""
    return activation.prelu(check_tensor("prelu", input), check_tensor("prelu", weight, "weight"))


@numpy_names
def softmax(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """e^x / sum(e^x) along dim, without overflow; ``dtype`` casts the input first."""
    return _along("softmax", activation.softmax, input, dim, dtype)


@numpy_names
def log_softmax(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """x - log(sum(e^x)) along dim, without overflow; ``dtype`` casts the input first."""
    return _along("log_softmax", activation.log_softmax, input, dim, dtype)


def _along(name: str, fn: Any, input: Any, dim: Any, dtype: Any) -> Tensor:
    x = check_tensor(name, input)
    if dtype is not None:
        x = to_dtype(x, numpy_dtype(name, dtype))
    return fn(x, dim=as_int(name, "dim", dim))
