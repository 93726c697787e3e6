"""Filling weights in place: uniform, normal, Xavier (Glorot), Kaiming (He), orthogonal, ...

Numbers come from the seeded default generator unless ``generator`` is given. Nothing here is
recorded by autograd. The fans of a weight of shape (F, C, KH, KW) are fan_in = C KH KW and
fan_out = F KH KW.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import numpy as np

from ..dtypes import is_floating
from ..random import Generator, default_generator
from ..tensor import Array, Tensor

T = TypeVar("T", bound=Tensor)

_GAINS = {
    "linear": 1.0, "conv1d": 1.0, "conv2d": 1.0, "conv3d": 1.0, "conv_transpose1d": 1.0,
    "conv_transpose2d": 1.0, "conv_transpose3d": 1.0, "sigmoid": 1.0, "tanh": 5 / 3,
    "relu": math.sqrt(2), "selu": 3 / 4,
}  # fmt: skip


_unfilled = ContextVar("_unfilled", default=False)


@contextmanager
def unfilled() -> Iterator[None]:
    """Inside, ``uniform_``, ``normal_`` and ``trunc_normal_`` leave a tensor as it is.

    For a network whose weights come from a file: drawing the 138 million numbers of VGG-16 first,
    only to overwrite them, takes seconds. Until then its weights are whatever the memory held.
    """
    token = _unfilled.set(True)
    try:
        yield
    finally:
        _unfilled.reset(token)


def _rng(generator: Generator | None) -> np.random.Generator:
    return (default_generator if generator is None else generator).numpy


def _fill(tensor: T, values: Any) -> T:
    """Overwrite without a record: views and saved tensors are told by the counter."""
    if not isinstance(tensor.array, np.ndarray) and isinstance(values, np.ndarray):
        tensor.array.set(values.astype(tensor.array.dtype))
    else:
        tensor.array[...] = values
    tensor._counter[0] += 1
    tensor._seen = tensor._counter[0]
    return tensor


def _draw_dtype(tensor: Tensor) -> Any:
    if not is_floating(tensor.array.dtype):
        raise NotImplementedError(f"random numbers need a floating point dtype, not {tensor.dtype}")
    return np.float64 if tensor.array.dtype == np.float64 else np.float32


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which a nonlinearity shrinks a standard deviation, inverted.

    1 for linear and sigmoid, 5/3 for tanh, sqrt 2 for relu, sqrt(2 / (1 + slope^2)) for leaky_relu
    (``param`` is the slope, 0.01 if None), 3/4 for selu.
    """
    if nonlinearity in _GAINS:
        return _GAINS[nonlinearity]
    if nonlinearity != "leaky_relu":
        raise ValueError(f"Unsupported nonlinearity {nonlinearity}")
    if param is not None and (isinstance(param, bool) or not isinstance(param, (int, float))):
        raise ValueError(f"negative_slope {param} not a valid number")
    slope = 0.01 if param is None else param
    return math.sqrt(2 / (1 + slope**2))


def uniform_(tensor: T, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> T:
    """Uniform in [a, b)."""
    if a > b:
        raise RuntimeError(f"uniform_ expects a [from, to) range, but found from={a} > to={b}")
    if _unfilled.get():
        return tensor
    values = _rng(generator).random(tensor.shape, _draw_dtype(tensor))
    values *= b - a
    values += a
    return _fill(tensor, values)


def normal_(
    tensor: T, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None
) -> T:
    """Normal with this mean and standard deviation."""
    if std < 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std}")
    if _unfilled.get():
        return tensor
    values = _rng(generator).standard_normal(tensor.shape, _draw_dtype(tensor))
    values *= std
    values += mean
    return _fill(tensor, values)


def trunc_normal_(
    tensor: T,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator | None = None,
) -> T:
    """Normal, redrawn wherever it falls outside [a, b] (values, not multiples of std)."""
    if mean < a - 2 * std or mean > b + 2 * std:
        warnings.warn(
            "mean is more than 2 std from [a, b] in nn.init.trunc_normal_. The distribution of"
            " values may be incorrect.",
            stacklevel=2,
        )
    if _unfilled.get():
        return tensor
    rng = _rng(generator)

    def below(x: float) -> float:
        return (1 + math.erf((x - mean) / std / math.sqrt(2))) / 2

    # Of normal numbers too few would fall inside a narrow or distant window: there, accept uniform
    # ones with the probability of the density relative to its peak in the window.
    peak = ((min(max(mean, a), b) - mean) / std) ** 2
    mostly_inside = below(b) - below(a) > 0.3
    flat = np.empty(tensor.array.size)
    missing = np.arange(flat.size)
    while missing.size:
        if mostly_inside:
            flat[missing] = mean + std * rng.standard_normal(missing.size)
            accepted = (flat[missing] >= a) & (flat[missing] <= b)
        else:
            flat[missing] = rng.uniform(a, b, missing.size)
            density = np.exp(-0.5 * (((flat[missing] - mean) / std) ** 2 - peak))
            accepted = rng.random(missing.size) <= density
        missing = missing[~accepted]
    # Rounding to a narrower dtype may step over a bound.
    return _fill(tensor, np.clip(flat, a, b).reshape(tensor.shape))


def constant_(tensor: T, val: float) -> T:
    """Every element ``val``."""
    return _fill(tensor, val)


def ones_(tensor: T) -> T:
    """Every element 1."""
    return _fill(tensor, 1)


def zeros_(tensor: T) -> T:
    """Every element 0."""
    return _fill(tensor, 0)


def eye_(tensor: T) -> T:
    """The identity matrix (2 dimensions): a Linear layer that passes its input on."""
    if tensor.ndim != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    return _fill(tensor, np.eye(*tensor.shape))


def dirac_(tensor: T, groups: int = 1) -> T:
    """A convolution weight that passes each input channel of its group on to one output channel."""
    if tensor.ndim not in (3, 4, 5):
        raise ValueError("Only tensors with 3, 4, or 5 dimensions are supported")
    F, C, *kernel = tensor.shape
    if F % groups != 0:
        raise ValueError("dim 0 must be divisible by groups")
    values = np.zeros(tensor.shape)
    middle = tuple(K // 2 for K in kernel)
    for g in range(groups):
        for c in range(min(F // groups, C)):
            values[(g * (F // groups) + c, c, *middle)] = 1
    return _fill(tensor, values)


def _calculate_fan_in_and_fan_out(tensor: Tensor) -> tuple[int, int]:
    if tensor.ndim < 2:
        raise ValueError(
            "Fan in and fan out can not be computed for tensor with fewer than 2 dimensions; this"
            f" one has shape {list(tensor.shape)}"
        )
    F, C, *kernel = tensor.shape
    return C * math.prod(kernel), F * math.prod(kernel)


def _calculate_correct_fan(tensor: Tensor, mode: str) -> int:
    modes = ["fan_in", "fan_out"]
    if mode.lower() not in modes:
        raise ValueError(f"Mode {mode} not supported, please use one of {modes}")
    return _calculate_fan_in_and_fan_out(tensor)[modes.index(mode.lower())]


def xavier_uniform_(tensor: T, gain: float = 1.0, generator: Generator | None = None) -> T:
    """Uniform in +-gain sqrt(6 / (fan_in + fan_out)). Glorot & Bengio 2010."""
    bound = gain * math.sqrt(6 / sum(_calculate_fan_in_and_fan_out(tensor)))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: T, gain: float = 1.0, generator: Generator | None = None) -> T:
    """Normal with std gain sqrt(2 / (fan_in + fan_out)). Glorot & Bengio 2010."""
    std = gain * math.sqrt(2 / sum(_calculate_fan_in_and_fan_out(tensor)))
    return normal_(tensor, 0.0, std, generator)


def kaiming_uniform_(
    tensor: T,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> T:
    """Uniform in +-gain sqrt(3 / fan); ``a`` is the slope of leaky_relu. He et al. 2015."""
    std = _kaiming_std(tensor, a, mode, nonlinearity)
    return tensor if std is None else uniform_(
        tensor, -math.sqrt(3) * std, math.sqrt(3) * std, generator
    )  # fmt: skip


def kaiming_normal_(
    tensor: T,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> T:
    """Normal with std gain / sqrt(fan); ``a`` is the slope of leaky_relu. He et al. 2015."""
    std = _kaiming_std(tensor, a, mode, nonlinearity)
    return tensor if std is None else normal_(tensor, 0.0, std, generator)


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float | None:
    if 0 in tensor.shape:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=3)
        return None
    fan = _calculate_correct_fan(tensor, mode)
    return calculate_gain(nonlinearity, a) / math.sqrt(fan)


def orthogonal_(tensor: T, gain: float = 1, generator: Generator | None = None) -> T:
    """Orthonormal rows or columns (the fewer) of the (F, rest) matrix. Saxe et al. 2013."""
    if tensor.ndim < 2:
        raise ValueError("Only tensors with 2 or more dimensions are supported")
    if tensor.array.size == 0:
        return tensor
    rows = tensor.shape[0]
    columns = tensor.array.size // rows
    tall = _rng(generator).standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(tall)
    # With the signs of R's diagonal moved into Q, Q is uniform over all orthogonal matrices.
    q = q * np.sign(np.diag(r))
    matrix: Array = q.T if rows < columns else q
    return _fill(tensor, gain * matrix.reshape(tensor.shape))


def sparse_(
    tensor: T, sparsity: float, std: float = 0.01, generator: Generator | None = None
) -> T:
    """Normal, with this fraction of each column's elements set to 0 (2-d). Martens 2010."""
    if tensor.ndim != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    rows, columns = tensor.shape
    rng = _rng(generator)
    values = std * rng.standard_normal((rows, columns))
    zeros = math.ceil(sparsity * rows)
    for column in range(columns):
        values[rng.permutation(rows)[:zeros], column] = 0
    return _fill(tensor, values)


def _deprecated(new: Callable[..., Any]) -> Callable[..., Any]:
    name = new.__name__

    @functools.wraps(new)
    def old(*args: Any, **kwargs: Any) -> Any:
        warnings.warn(
            f"`nn.init.{name[:-1]}` is now deprecated in favor of `nn.init.{name}`.",
            FutureWarning,
            stacklevel=2,
        )
        return new(*args, **kwargs)

    return old


uniform = _deprecated(uniform_)
normal = _deprecated(normal_)
constant = _deprecated(constant_)
eye = _deprecated(eye_)
dirac = _deprecated(dirac_)
xavier_uniform = _deprecated(xavier_uniform_)
xavier_normal = _deprecated(xavier_normal_)
kaiming_uniform = _deprecated(kaiming_uniform_)
kaiming_normal = _deprecated(kaiming_normal_)
orthogonal = _deprecated(orthogonal_)
sparse = _deprecated(sparse_)
