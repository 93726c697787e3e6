"""Activations: functions of each element by itself, and softmax along a dimension.

Inputs are floating; relu, hardtanh and threshold take integers too, and sigmoid, tanh and softsign
make the default dtype of them. The gradient at a kink is PyTorch's: 0 for relu at 0 and for
hardtanh at its limits.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import kernels
from ..dtypes import get_default_dtype, is_floating
from ..tensor import Array, op, overwriting
from .basic import sum_to

# The fixed point of Klambauer et al. 2017: mean 0 and variance 1 stay so.
SELU_ALPHA = 1.6732632423543772
SELU_SCALE = 1.0507009873554805


def _apply(
    name: str, *arrays: Array, settings: tuple[float, ...] = (), out: Array | None = None
) -> Array:
    module = kernels.elementwise
    return module.apply(getattr(module, name), *arrays, settings=settings, out=out)


def _gradient(name: str, saved: Array, settings: tuple[float, ...] = ()) -> Any:
    """The gradient function that is kernel ``name`` of a saved array and gy."""

    @overwriting
    def grad(gy: Array, overwrite: bool = False) -> Array:
        return _apply(name, saved, gy, settings=settings, out=gy if overwrite else None)

    return grad


def _of_input(name: str, x: Array, *settings: float) -> Any:
    """Kernels ``name`` and ``name_grad``, whose gradient is a function of the input."""
    _floating(name, x)
    y = _apply(name, x, settings=settings)
    return y, (_gradient(f"{name}_grad", x, settings),)


def _of_output(name: str, x: Array, overwrite: bool = False) -> Any:
    """Kernels ``name`` and ``name_grad``, whose gradient is a function of the output."""
    _floating(name, x)
    y = _apply(name, x, out=x if overwrite else None)
    return y, (_gradient(f"{name}_grad", y),)


def _as_floating(x: Array) -> Array:
    return x if is_floating(x.dtype) else x.astype(get_default_dtype().numpy)


def _floating(name: str, x: Array) -> None:
    if not is_floating(x.dtype):
        raise NotImplementedError(f'"{name}" not implemented for {x.dtype}')


@op(quiet=True)
def relu(x: Array, /, *, overwrite: bool = False) -> Any:
    """y = max(x, 0), in the memory of x if ``overwrite``. The output is saved, not the input."""
    if is_floating(x.dtype):
        return _of_output("relu", x, overwrite)
    if x.dtype == bool:
        raise RuntimeError("Boolean inputs not supported for relu")
    return np.maximum(x, 0), ()


@op
def hardtanh(x: Array, /, *, min_val: float, max_val: float, overwrite: bool = False) -> Any:
    """y = min(max(x, min_val), max_val), in the memory of x if ``overwrite``; the output is saved,
    not the input."""
    if is_floating(x.dtype):
        y = _apply("clip", x, settings=(min_val, max_val), out=x if overwrite else None)
        rounded = float(x.dtype.type(min_val)), float(x.dtype.type(max_val))  # as they are in y
        return y, (_gradient("clip_grad", y, rounded),)
    return np.clip(x, min_val, max_val).astype(x.dtype), ()


@op
def leaky_relu(x: Array, /, *, negative_slope: float) -> Any:
    """y = x for x > 0, else negative_slope x."""
    return _of_input("leaky_relu", x, negative_slope)


@op
def prelu(x: Array, weight: Array, /) -> Any:
    """y = x for x > 0, else weight x; weight has one element, or one per channel (dimension 1)."""
    _floating("prelu", x)
    if weight.ndim > 1:
        raise RuntimeError(
            f"prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = {weight.ndim}"
        )
    if weight.dtype != x.dtype:
        raise RuntimeError(
            f"prelu: Type promoting not supported. Got {x.dtype} and {weight.dtype} (the weight)"
        )
    channels = x.shape[1] if x.ndim > 1 else 1
    if weight.size not in (1, channels):
        raise RuntimeError(
            "prelu: Mismatch of parameter numbers and input channel size. Found parameter numbers"
            f" = {weight.size} and channel size = {channels} in an input of shape {list(x.shape)}."
        )
    w = weight.reshape(-1, *(1,) * (x.ndim - 2)) if weight.size > 1 else weight.reshape(())
    positive = x > 0

    def grad_x(gy: Array) -> Array:
        return np.where(positive, gy, gy * w)

    def grad_weight(gy: Array) -> Array:
        return sum_to(np.where(positive, 0, gy * x), w.shape).reshape(weight.shape)

    return np.where(positive, x, x * w), (grad_x, grad_weight)


@op
def threshold(x: Array, /, *, threshold: float, value: float) -> Any:
    """y = x where x > threshold, else value."""
    below = x <= threshold
    return np.where(below, x.dtype.type(value), x), (lambda gy: np.where(below, 0, gy),)


@op
def elu(x: Array, /, *, alpha: float) -> Any:
    """y = x for x > 0, else alpha (e^x - 1). Clevert et al. 2015."""
    return _of_input("elu", x, alpha, 1.0, 1.0)


@op
def celu(x: Array, /, *, alpha: float) -> Any:
    """y = x for x > 0, else alpha (e^(x / alpha) - 1). Barron 2017."""
    if alpha == 0:
        raise RuntimeError("ZeroDivisionError: alpha cannot be 0 for CELU")
    return _of_input("elu", x, alpha, 1.0, 1.0 / alpha)


@op(quiet=True)
def selu(x: Array, /) -> Any:
    """y = 1.0507 elu(x, alpha=1.6733). Klambauer et al. 2017."""
    return _of_input("elu", x, SELU_SCALE * SELU_ALPHA, SELU_SCALE, 1.0)


@op
def sigmoid(x: Array, /) -> Any:
    """y = 1 / (1 + e^-x)."""
    return _of_output("sigmoid", _as_floating(x))


@op
def tanh(x: Array, /) -> Any:
    """y = tanh x."""
    return _of_output("tanh", _as_floating(x))


@op
def log_sigmoid(x: Array, /) -> Any:
    """y = log(sigmoid(x)) = -softplus(-x)."""
    _floating("log_sigmoid", x)
    exact = (1.0, math.inf)  # softplus without its shortcut for large arguments
    y = -_apply("softplus", -x, settings=exact)
    return y, (lambda gy: _apply("softplus_grad", -x, gy, settings=exact),)


@op
def softplus(x: Array, /, *, beta: float, threshold: float) -> Any:
    """y = log(1 + e^(beta x)) / beta, and x where beta x > threshold."""
    return _of_input("softplus", x, beta, threshold)


@op
def softsign(x: Array, /) -> Any:
    """y = x / (1 + |x|)."""
    x = _as_floating(x)
    below = 1 + np.abs(x)
    return x / below, (lambda gy: gy / (below * below),)


@op(quiet=True)
def silu(x: Array, /) -> Any:
    """y = x sigmoid(x). Hendrycks & Gimpel 2016; Ramachandran et al. 2017 (swish)."""
    return _of_input("silu", x)


@op(quiet=True)
def mish(x: Array, /) -> Any:
    """y = x tanh(softplus(x)). Misra 2019."""
    return _of_input("mish", x)


@op(quiet=True)
def gelu(x: Array, /, *, approximate: str = "none") -> Any:
    """y = x P(standard normal < x), or its approximation by tanh. Hendrycks & Gimpel 2016."""
    return _of_input("gelu_tanh" if approximate == "tanh" else "gelu", x)


@op(quiet=True)
def hardswish(x: Array, /) -> Any:
    """y = x min(max(x + 3, 0), 6) / 6. Howard et al. 2019."""
    return _of_input("hardswish", x)


@op
def hardsigmoid(x: Array, /) -> Any:
    """y = min(max(x + 3, 0), 6) / 6."""
    return _of_input("hardsigmoid", x)


@op(quiet=True)
def softmax(x: Array, /, *, dim: int) -> Any:
    """y = e^x / sum of e^x along ``dim``; a row with inf or NaN, or of -inf alone, becomes NaN."""
    dim = _dim("softmax", x, dim)
    y = kernels.softmax.softmax(x, dim)
    return y, (lambda gy: kernels.softmax.softmax_grad(y, gy, dim),)


@op(quiet=True)
def log_softmax(x: Array, /, *, dim: int) -> Any:
    """y = x - log(sum of e^x along ``dim``), with the digits that log(softmax(x)) would lose."""
    dim = _dim("log_softmax", x, dim)
    y = kernels.softmax.log_softmax(x, dim)
    return y, (lambda gy: kernels.softmax.log_softmax_grad(y, gy, dim),)


def _dim(name: str, x: Array, dim: int) -> int:
    _floating(name, x)
    n = max(x.ndim, 1)
    if not -n <= dim < n:
        raise IndexError(
            f"{name}: Dimension out of range (expected to be in range of [{-n}, {n - 1}], but got"
            f" {dim}) for an input of shape {list(x.shape)}"
        )
    return int(dim % n)
