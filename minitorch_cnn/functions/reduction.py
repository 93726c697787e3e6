"""Reductions: PyTorch's face of ``ops.reduce``.

``dim`` is an int, a tuple, or None (or an empty tuple) for all; ``axis=`` and ``keepdims=`` are
taken too. Out-of-range dims raise IndexError.
"""

from __future__ import annotations

import builtins
import math
import warnings
from typing import Any

import numpy as np

from ..dtypes import as_numpy_dtype, is_floating
from ..ops import compare, reduce
from ..tensor import Tensor
from . import pointwise
from .arguments import check_tensor, numpy_dtype, wrap_dim
from .dims import check_keepdim, numpy_names, reduced_dims
from .promotion import INT64, dtype_name, floating, not_implemented, to_dtype

__all__ = [
    "cumsum", "cumprod", "sum", "nansum", "mean", "nanmean", "prod", "var", "std", "amax", "amin",
    "all", "any", "count_nonzero", "logsumexp", "norm", "dist", "bincount", "histc", "var_mean",
    "std_mean",
]  # fmt: skip
METHODS = tuple(name for name in __all__ if name not in ("var_mean", "std_mean"))
INPLACE = ("cumsum", "cumprod")

Dims = int | tuple[int, ...] | list[int] | None


def _setup(
    name: str, input: Any, dim: Any, keepdim: Any, dtype: Any = None
) -> tuple[Tensor, dict[str, Any]]:
    """The input in the dtype asked for, and the settings of a reduction op."""
    x = check_tensor(name, input)
    if keepdim is not False:
        check_keepdim(name, keepdim)
    axes = reduced_dims(name, dim, x.array.ndim)
    if dtype is not None:
        x = to_dtype(x, numpy_dtype(name, dtype))
    return x, {"axes": axes, "keepdims": keepdim}


@numpy_names
def sum(input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The sum; of integers and bools in int64, unless ``dtype`` is given."""
    x, settings = _setup("sum", input, dim, keepdim, dtype)
    y = reduce.sum(x, **settings)
    return y if dtype is None else to_dtype(y, as_numpy_dtype(dtype))


@numpy_names
def nansum(input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The sum of the elements that are not NaN."""
    x, settings = _setup("nansum", input, dim, keepdim, dtype)
    if not is_floating(x.array.dtype):
        return sum(x, dim, keepdim, dtype=dtype)
    return reduce.nansum(x, **settings)


@numpy_names
def mean(input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The mean; NaN of no elements. RuntimeError for integers, unless ``dtype`` is given."""
    x, settings = _setup("mean", input, dim, keepdim, dtype)
    if not is_floating(x.array.dtype):
        raise RuntimeError(
            "mean(): could not infer output dtype. Input dtype must be either a floating point or"
            f" complex dtype. Got: {dtype_name(x.array.dtype)} (write x.float().mean())"
        )
    return reduce.mean(x, **settings)


@numpy_names
def nanmean(input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The mean of the elements that are not NaN."""
    x, settings = _setup("nanmean", input, dim, keepdim, dtype)
    if not is_floating(x.array.dtype):
        raise RuntimeError(
            "nanmean(): expected input to have floating point or complex dtype but got"
            f" {dtype_name(x.array.dtype)}"
        )
    known = reduce.sum(compare.eq(x, x), **settings)
    return pointwise.div(nansum(x, dim, keepdim), known)


@numpy_names
def prod(
    input: Tensor, dim: int | None = None, keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """The product over one dim or all; of integers and bools in int64 unless ``dtype`` is given."""
    if isinstance(dim, tuple | list):
        raise TypeError("prod(): argument 'dim' must be int, not a tuple (multiply one at a time)")
    x, settings = _setup("prod", input, dim, keepdim, dtype)
    y = reduce.prod(x, **settings)
    return y if dtype is None else to_dtype(y, as_numpy_dtype(dtype))


def _spread(
    name: str, input: Any, dim: Any, unbiased: Any, keepdim: Any, correction: Any
) -> tuple[Tensor, dict[str, Any]]:
    """Arguments of var and std: ``var(unbiased)``, ``var(dim, unbiased, keepdim)``, or
    ``var(dim, correction=, keepdim=)``."""
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if unbiased is not None and correction is not None:
        raise TypeError(f"{name}() takes unbiased or correction, not both")
    x, settings = _setup(name, input, dim, keepdim)
    if not is_floating(x.array.dtype):
        raise RuntimeError(
            f"{name}(): std and var only support floating point and complex dtypes, got {x.dtype}"
        )
    if correction is None:
        correction = 0 if unbiased is False else 1
    n = reduce.count(x.array.shape, settings["axes"])
    if n <= correction:
        warnings.warn(
            f"{name}(): degrees of freedom is <= 0: {n} element(s) and correction {correction} give"
            " nan",
            UserWarning,
            stacklevel=4,
        )
    return x, {**settings, "correction": correction}


@numpy_names
def var(
    input: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    """sum((x - mean)^2) / (n - correction), correction 1 unless told (``unbiased=False``: 0)."""
    x, settings = _spread("var", input, dim, unbiased, keepdim, correction)
    return reduce.var(x, **settings)


@numpy_names
def std(
    input: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    """sqrt(var); where it is 0 the gradient is 0."""
    x, settings = _spread("std", input, dim, unbiased, keepdim, correction)
    return reduce.std(x, **settings)


@numpy_names
def var_mean(
    input: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> tuple[Tensor, Tensor]:
    """``(var, mean)``."""
    x, settings = _spread("var_mean", input, dim, unbiased, keepdim, correction)
    return reduce.var(x, **settings), _mean_like(x, settings)


@numpy_names
def std_mean(
    input: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> tuple[Tensor, Tensor]:
    """``(std, mean)``."""
    x, settings = _spread("std_mean", input, dim, unbiased, keepdim, correction)
    return reduce.std(x, **settings), _mean_like(x, settings)


def _mean_like(x: Tensor, settings: dict[str, Any]) -> Tensor:
    return reduce.mean(x, axes=settings["axes"], keepdims=settings["keepdims"])


def check_not_empty(name: str, x: Tensor, axes: tuple[int, ...]) -> None:
    """The largest of nothing does not exist: IndexError naming the empty dim."""
    for axis in axes:
        if x.array.ndim and x.array.shape[axis] == 0:
            raise IndexError(
                f"{name}(): Expected reduction dim {axis} to have non-zero size, input has shape"
                f" {list(x.shape)}"
            )


def check_any_elements(name: str, x: Tensor) -> None:
    """The largest of all elements exists only if there are some: RuntimeError."""
    if not x.array.size:
        raise RuntimeError(
            f"{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the"
            f" reduction dim with the 'dim' argument (input has shape {list(x.shape)})."
        )


@numpy_names
def amax(input: Tensor, dim: Dims = (), keepdim: bool = False) -> Tensor:
    """The largest element over dims, NaN if one is; equal ones share the gradient evenly."""
    x, settings = _setup("amax", input, dim, keepdim)
    if dim is None or dim in ((), []):
        check_any_elements("amax", x)
    check_not_empty("amax", x, settings["axes"])
    return reduce.amax(x, **settings)


@numpy_names
def amin(input: Tensor, dim: Dims = (), keepdim: bool = False) -> Tensor:
    """The smallest element over dims, NaN if one is; equal ones share the gradient evenly."""
    x, settings = _setup("amin", input, dim, keepdim)
    if dim is None or dim in ((), []):
        check_any_elements("amin", x)
    check_not_empty("amin", x, settings["axes"])
    return reduce.amin(x, **settings)


@numpy_names
def all(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """No element is zero (true of none): bool, but uint8 for uint8."""
    return _truth("all", reduce.all, input, dim, keepdim)


@numpy_names
def any(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Some element is nonzero (false of none): bool, but uint8 for uint8."""
    return _truth("any", reduce.any, input, dim, keepdim)


def _truth(name: str, fn: Any, input: Any, dim: Any, keepdim: Any) -> Tensor:
    x, settings = _setup(name, input, dim, keepdim)
    if dim == () or dim == []:  # here, unlike elsewhere, PyTorch means no dim at all
        settings["axes"] = ()
    y = fn(x, **settings)
    return to_dtype(y, x.array.dtype) if x.array.dtype == np.uint8 else y


@numpy_names
def count_nonzero(input: Tensor, dim: Dims = None) -> Tensor:
    """How many elements are nonzero, in int64."""
    x, settings = _setup("count_nonzero", input, dim, False)
    return reduce.count_nonzero(x, axes=settings["axes"])


@numpy_names
def logsumexp(input: Tensor, dim: Dims, keepdim: bool = False) -> Tensor:
    """ln sum e^x over dims, without overflow."""
    if dim is None:
        raise TypeError("logsumexp(): argument 'dim' must be tuple of ints, not NoneType")
    x, settings = _setup("logsumexp", input, dim, keepdim)
    return reduce.logsumexp(floating("logsumexp", x), **settings)


@numpy_names
def norm(
    input: Tensor, p: Any = "fro", dim: Dims = None, keepdim: bool = False, dtype: Any = None
) -> Tensor:
    """(sum |x|^p)^(1/p) over dims; "fro" is 2; inf, -inf and 0 are max, min and a count."""
    if p == "nuc":
        raise NotImplementedError("norm(p='nuc') needs a singular value decomposition: not here")
    return vector_norm(input, 2 if p is None or p == "fro" else p, dim, keepdim, dtype=dtype)


@numpy_names
def vector_norm(
    x: Tensor, ord: float = 2, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """The norm of the elements over dims as one vector; its gradient at 0 is 0."""
    x, settings = _setup("linalg.vector_norm", x, dim, keepdim, dtype)
    if not is_floating(x.array.dtype):
        raise RuntimeError(
            "linalg.vector_norm: Expected a floating point or complex tensor as input. Got"
            f" {dtype_name(x.array.dtype)}"
        )
    p = float(ord)
    if math.isinf(p) or p < 0:
        empty = builtins.any(x.array.shape[a] == 0 for a in settings["axes"])
        if empty:
            raise RuntimeError(f"linalg.vector_norm cannot compute the {p} norm of no elements")
    return reduce.norm(x, p=p, **settings)


def dist(input: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """The p-norm of input - other."""
    return vector_norm(pointwise.sub(input, check_tensor("dist", other, "other")), p)


@numpy_names
def cumsum(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """y_i = x_0 + ... + x_i along dim; integers in int64."""
    return _cumulative("cumsum", reduce.cumsum, input, dim, dtype)


@numpy_names
def cumprod(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """y_i = x_0 ... x_i along dim; integers in int64."""
    return _cumulative("cumprod", reduce.cumprod, input, dim, dtype)


def _cumulative(name: str, fn: Any, input: Any, dim: Any, dtype: Any) -> Tensor:
    x = check_tensor(name, input)
    axis = wrap_dim(name, dim, x.array.ndim)
    if dtype is None:
        return fn(x, axis=axis)
    d = numpy_dtype(name, dtype)
    if d.kind == "b":
        raise not_implemented(name, to_dtype(x, d))
    return to_dtype(fn(to_dtype(x, d), axis=axis), d)


def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each non-negative integer occurs in a 1-d tensor, or the sum of its weights."""
    x = check_tensor("bincount", input)
    if x.array.dtype.kind not in "iu":
        raise not_implemented("bincount", x)
    if x.array.ndim != 1 or (x.array < 0).any():
        raise RuntimeError(
            "bincount only supports 1-d non-negative integral inputs, got shape"
            f" {list(x.shape)}{' with negative values' if x.array.ndim == 1 else ''}"
        )
    if minlength < 0:
        raise RuntimeError(f"minlength should be >= 0, got {minlength}")
    if weights is not None and weights.shape != x.shape:
        raise RuntimeError(
            f"weights should be 1-d and have the same length as input: {list(weights.shape)} and"
            f" {list(x.shape)}"
        )
    return reduce.bincount(to_dtype(x, INT64), weights, minlength=minlength)


def histc(input: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """Counts in ``bins`` equal parts of [min, max] (of the data's range if the two are equal)."""
    x = check_tensor("histc", input)
    if not is_floating(x.array.dtype):
        raise not_implemented("histogram", x)
    if bins <= 0:
        raise RuntimeError(f"bins must be > 0, got {bins}")
    if min > max:
        raise RuntimeError(f"torch.histc: max must be larger than min, got {min} and {max}")
    low, high = float(min), float(max)
    if low == high and x.array.size:
        low, high = float(x.array.min()), float(x.array.max())
    if low == high:
        low, high = low - 1, high + 1
    if not (math.isfinite(low) and math.isfinite(high)):
        raise RuntimeError(f"range of [{low}, {high}] is not finite")
    return reduce.histc(x, bins=bins, low=low, high=high)
