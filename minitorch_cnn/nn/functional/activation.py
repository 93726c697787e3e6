"""Activation functions: one number in, one number out, except softmax and glu."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from ...dtypes import as_numpy_dtype
from ...functions.arguments import check_tensor
from ...functions.promotion import to_dtype
from ...kernels.backend import place
from ...ops import activation as ops
from ...random import default_generator
from ...tensor import Tensor
from ._common import apply


def _overwriting(inplace: bool) -> dict[str, bool]:
    """For ops that need no memory of their own in place, because they save only their output."""
    return {"overwrite": True} if inplace else {}


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(x, 0). The gradient at 0 is 0."""
    if inplace:
        x = check_tensor("relu", input)
        if x._rectified == x._version:  # a layer of a fused network has done it
            return x
        return apply("relu", ops.relu, x, True, overwrite=True)
    return apply("relu", ops.relu, input, False)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(x, 0), 6)."""
    return hardtanh(input, 0.0, 6.0, inplace)


def hardtanh(
    input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Tensor:
    """x, limited to [min_val, max_val]; the gradient is 0 at the limits."""
    if min_val > max_val:
        raise ValueError(f"hardtanh: min_val {min_val} cannot be greater than max_val {max_val}")
    return apply(
        "hardtanh", ops.hardtanh, input, inplace, min_val=min_val, max_val=max_val,
        **_overwriting(inplace),
    )  # fmt: skip


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x where positive, negative_slope x elsewhere."""
    return apply("leaky_relu", ops.leaky_relu, input, inplace, negative_slope=negative_slope)


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """leaky_relu whose slopes are learned: one, or one per channel (dimension 1)."""
    return ops.prelu(check_tensor("prelu", input), check_tensor("prelu", weight, "weight"))


def rrelu(
    input: Tensor,
    lower: float = 1.0 / 8,
    upper: float = 1.0 / 3,
    training: bool = False,
    inplace: bool = False,
) -> Tensor:
    """leaky_relu with a slope drawn from [lower, upper] per element; their mean if not training."""
    if not training:
        return leaky_relu(input, (lower + upper) / 2, inplace)
    array = check_tensor("rrelu", input).array
    slope = default_generator.numpy.uniform(lower, upper, array.shape).astype(array.dtype)
    slope = place(slope, array)
    factor = Tensor._wrap(np.where(array > 0, array.dtype.type(1), slope))
    return apply("rrelu", lambda x: x * factor, input, inplace)


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where positive, alpha (e^x - 1) elsewhere."""
    return apply("elu", ops.elu, input, inplace, alpha=alpha)


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where positive, alpha (e^(x / alpha) - 1) elsewhere."""
    return apply("celu", ops.celu, input, inplace, alpha=alpha)


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """1.0507 elu(x, 1.6733): keeps mean 0 and variance 1. Klambauer et al. 2017."""
    return apply("selu", ops.selu, input, inplace)


def gelu(input: Tensor, *, approximate: str = "none") -> Tensor:
    """x Phi(x); with approximate='tanh' by a tanh. Hendrycks & Gimpel 2016."""
    if approximate not in ("none", "tanh"):
        raise RuntimeError("approximate argument must be either none or tanh.")
    return apply("gelu", ops.gelu, input, False, approximate=approximate)


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """x sigmoid(x)."""
    return apply("silu", ops.silu, input, inplace)


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """x tanh(softplus(x))."""
    return apply("mish", ops.mish, input, inplace)


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """x relu6(x + 3) / 6."""
    return apply("hardswish", ops.hardswish, input, inplace)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """relu6(x + 3) / 6."""
    return apply("hardsigmoid", ops.hardsigmoid, input, inplace)


def sigmoid(input: Tensor) -> Tensor:
    """1 / (1 + e^-x), computed without overflow. Today's spelling is ``torch.sigmoid``."""
    return apply("sigmoid", ops.sigmoid, input, False)


def tanh(input: Tensor) -> Tensor:
    """tanh(x). Today's spelling is ``torch.tanh``."""
    return apply("tanh", ops.tanh, input, False)


def logsigmoid(input: Tensor) -> Tensor:
    """log(sigmoid(x))."""
    return apply("logsigmoid", ops.log_sigmoid, input, False)


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + e^(beta x)) / beta; x itself where beta x > threshold."""
    return apply("softplus", ops.softplus, input, False, beta=beta, threshold=threshold)


def softsign(input: Tensor) -> Tensor:
    """x / (1 + |x|)."""
    return apply("softsign", ops.softsign, input, False)


def tanhshrink(input: Tensor) -> Tensor:
    """x - tanh(x)."""
    return input - tanh(input)


def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x where |x| > lambd, 0 elsewhere."""
    keep = abs(check_tensor("hardshrink", input).array) <= lambd
    return input.masked_fill(Tensor._wrap(keep), 0.0)


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x moved towards 0 by lambd, and 0 where |x| <= lambd."""
    if lambd < 0:
        raise RuntimeError(
            f"lambda must be greater or equal to 0, but found to be {lambd}"
        )
    return input - hardtanh(input, -lambd, lambd) if lambd else input * 1


def threshold(
    input: Tensor, threshold: float, value: float, inplace: bool = False
) -> Tensor:
    """x where it is above ``threshold``, ``value`` elsewhere."""
    return apply("threshold", ops.threshold, input, inplace, threshold=threshold, value=value)


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """a sigmoid(b), where a and b are the halves of x along ``dim``."""
    if check_tensor("glu", input).ndim == 0:
        raise RuntimeError("glu does not support 0-dimensional tensors")
    if input.shape[dim] % 2 != 0:
        raise RuntimeError(
            f"Halving dimension must be even, but dimension {dim} is size {input.shape[dim]}"
        )
    a, b = input.chunk(2, dim)
    return a * sigmoid(b)


def softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None
) -> Tensor:
    """e^x / sum(e^x) along ``dim``, computed without overflow; ``dtype`` casts x first."""
    dim = _implicit_dim("softmax", input, _stacklevel) if dim is None else dim
    return ops.softmax(_cast("softmax", input, dtype), dim=dim)


def softmin(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None
) -> Tensor:
    """softmax(-x) along ``dim``."""
    dim = _implicit_dim("softmin", input, _stacklevel) if dim is None else dim
    return ops.softmax(-_cast("softmin", input, dtype), dim=dim)


def log_softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None
) -> Tensor:
    """x - log(sum(e^x)) along ``dim``, computed without overflow; ``dtype`` casts x first."""
    dim = _implicit_dim("log_softmax", input, _stacklevel) if dim is None else dim
    return ops.log_softmax(_cast("log_softmax", input, dtype), dim=dim)


def _cast(name: str, input: Any, dtype: Any) -> Tensor:
    x = check_tensor(name, input)
    return x if dtype is None else to_dtype(x, as_numpy_dtype(dtype))


def _implicit_dim(name: str, input: Any, stacklevel: int) -> int:
    """The dimension that PyTorch took in 2017: 0 for 0, 1 or 3 dimensions, else 1."""
    ndim = check_tensor(name, input).ndim
    warnings.warn(
        f"Implicit dimension choice for {name} has been deprecated. Change the call to include"
        " dim=X as an argument.",
        UserWarning,
        stacklevel=stacklevel,
    )
    return 0 if ndim in (0, 1, 3) else 1


def gumbel_softmax(
    logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1
) -> Tensor:
    """softmax((x + Gumbel noise) / tau): a sample from the classes. ``hard`` gives 0 and 1."""
    del eps
    array = check_tensor("gumbel_softmax", logits).array
    noise = default_generator.numpy.gumbel(size=array.shape).astype(array.dtype)
    soft = softmax((logits + Tensor._wrap(place(noise, array))) / tau, dim)
    if not hard:
        return soft
    one_hot = np.zeros_like(soft.array)
    chosen = np.expand_dims(soft.array.argmax(dim), dim)
    np.put_along_axis(one_hot, chosen, 1, dim)
    return Tensor._wrap(one_hot) - soft.detach() + soft


def relu_(input: Tensor) -> Tensor:
    """relu in place."""
    return relu(input, True)


def hardtanh_(input: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """hardtanh in place."""
    return hardtanh(input, min_val, max_val, True)


def leaky_relu_(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """leaky_relu in place."""
    return leaky_relu(input, negative_slope, True)


def elu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """elu in place."""
    return elu(input, alpha, True)


def celu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """celu in place."""
    return celu(input, alpha, True)


def selu_(input: Tensor) -> Tensor:
    """selu in place."""
    return selu(input, True)


def rrelu_(
    input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False
) -> Tensor:
    """rrelu in place."""
    return rrelu(input, lower, upper, training, True)


def threshold_(input: Tensor, threshold: float, value: float) -> Tensor:
    """threshold in place."""
    return _threshold(input, threshold, value, True)


_threshold = threshold
