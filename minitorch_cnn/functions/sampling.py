"""Random tensors: ``rand``, ``randn``, ``randint``, ... and in-place ``normal_``, ``uniform_``, ...

Every sampler draws from ``generator`` (the default one unless given) in the order of the elements,
so a seed fixes the result on every machine. The numbers are not PyTorch's; the distributions are.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import random
from ..dtypes import BFLOAT16, as_dtype, finfo, is_floating, is_half
from ..kernels.backend import check_memory, host
from ..tensor import Array, Tensor
from .arguments import (
    as_int,
    as_size,
    check_tensor,
    finish,
    numpy_dtype,
)
from .creation import like
from .inplace import check_expandable, overwrite

__all__ = [
    "bernoulli", "multinomial", "normal", "rand", "rand_like", "randint", "randint_like", "randn",
    "randn_like", "randperm",
]  # fmt: skip

METHODS = (
    "bernoulli", "bernoulli_", "exponential_", "multinomial", "normal_", "random_", "uniform_",
)  # fmt: skip
INPLACE: tuple[str, ...] = ()

# Bits of a float: integers up to 2**bits exist.
_MANTISSA = {
    np.dtype(np.float16): 11, BFLOAT16: 8, np.dtype(np.float32): 24, np.dtype(np.float64): 53,
}  # fmt: skip


def _draw(generator: random.Generator | None) -> np.random.Generator:
    return (generator or random.default_generator).numpy


def _unit(shape: tuple[int, ...], dtype: np.dtype[Any], source: np.random.Generator) -> Array:
    """Uniform on [0, 1): multiples of 2**-bits, so that rounding never reaches 1."""
    if is_half(dtype):
        bits = _MANTISSA[dtype]
        return (source.integers(0, 2**bits, shape) * 2.0**-bits).astype(dtype)
    return source.random(shape, dtype)


def _gaussian(shape: tuple[int, ...], dtype: np.dtype[Any], source: np.random.Generator) -> Array:
    if is_half(dtype):
        return source.standard_normal(shape, np.float32).astype(dtype)
    return source.standard_normal(shape, dtype)


def _need_float(name: str, dtype: np.dtype[Any]) -> None:
    if not is_floating(dtype):
        raise NotImplementedError(f"{name} is not implemented for {dtype}: it needs a float dtype")


def rand(
    *size: Any,
    generator: random.Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Uniform on [0, 1)."""
    shape, wanted = as_size("rand", size), numpy_dtype("rand", dtype)
    _need_float("rand", wanted)
    check_memory(shape, wanted, "rand")
    return finish(_unit(shape, wanted, _draw(generator)), device, requires_grad)


def randn(
    *size: Any,
    generator: random.Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Normal with mean 0 and standard deviation 1."""
    shape, wanted = as_size("randn", size), numpy_dtype("randn", dtype)
    _need_float("randn", wanted)
    check_memory(shape, wanted, "randn")
    return finish(_gaussian(shape, wanted, _draw(generator)), device, requires_grad)


def randint(
    *args: Any,
    low: int | None = None,
    high: int | None = None,
    size: Sequence[int] | None = None,
    generator: random.Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """``randint(high, size)`` or ``randint(low, high, size)``: integers in [low, high)."""
    positional = list(args)
    if size is None and positional:
        size = positional.pop()
    if high is None and positional:
        high = positional.pop()
    if low is None:
        low = positional.pop() if positional else 0
    if positional or high is None or not isinstance(size, (tuple, list)):
        raise TypeError("randint() takes (high, size) or (low, high, size), size a tuple of ints")
    shape = as_size("randint", (size,))
    wanted = numpy_dtype("randint", dtype, np.dtype(np.int64))
    a, b = as_int("randint", "low", low), as_int("randint", "high", high)
    check_memory(shape, wanted, "randint")
    return finish(_integers(shape, wanted, a, b, _draw(generator)), device, requires_grad)


def randperm(
    n: int,
    *,
    generator: random.Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """A random order of 0, ..., n - 1."""
    count, wanted = as_int("randperm", "n", n), numpy_dtype("randperm", dtype, np.dtype(np.int64))
    (count,) = as_size("randperm", (count,))
    largest = 2 ** _MANTISSA[wanted] if is_floating(wanted) else np.iinfo(wanted).max
    if count - 1 > largest:
        raise RuntimeError(f"randperm: {count - 1} does not fit in {wanted}")
    check_memory((count,), wanted, "randperm")
    y = _draw(generator).permutation(count).astype(wanted, copy=False)
    return finish(y, device, requires_grad)


def normal(
    mean: Any,
    std: Any = 1.0,
    size: Sequence[int] | None = None,
    *,
    generator: random.Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Normal numbers: of tensors ``mean`` and/or ``std`` element by element, or of a ``size``."""
    if size is not None:
        shape, wanted = as_size("normal", (size,)), numpy_dtype("normal", dtype)
        y = _normal(shape, wanted, float(mean), float(std), _draw(generator))
        return finish(y, device, requires_grad)
    tensors = [t for t in (mean, std) if isinstance(t, Tensor)]
    if not tensors:
        raise TypeError("normal() of two numbers needs a size")
    m, s = (host(t.array) if isinstance(t, Tensor) else t for t in (mean, std))
    wanted = tensors[0].array.dtype
    _need_float("normal", wanted)
    try:
        shape = np.broadcast_shapes(np.shape(m), np.shape(s))
    except ValueError:
        raise RuntimeError(
            f"normal: mean {list(np.shape(m))} and std {list(np.shape(s))} do not broadcast"
        ) from None
    if np.min(s, initial=0) < 0:
        raise RuntimeError("normal expects all elements of std >= 0.0")
    y = (_gaussian(shape, wanted, _draw(generator)) * s + m).astype(wanted, copy=False)
    return finish(np.asarray(y), tensors[0].device)


def bernoulli(
    input: Tensor, p: float | None = None, *, generator: random.Generator | None = None
) -> Tensor:
    """1 with probability ``input`` (element by element; or with probability ``p``), else 0."""
    x = host(check_tensor("bernoulli", input).array)
    if p is None:
        _need_float("bernoulli", x.dtype)
        return finish(_coins(x.shape, x.dtype, x, _draw(generator)), input.device)
    return finish(_coins(x.shape, x.dtype, p, _draw(generator)), input.device)


def multinomial(
    input: Tensor,
    num_samples: int,
    replacement: bool = False,
    *,
    generator: random.Generator | None = None,
) -> Tensor:
    """``num_samples`` column indices drawn from each row of weights (int64).

    Without replacement the first draws go to the weights by size of weight / exponential number,
    which is the same as drawing one after the other.
    """
    x = host(check_tensor("multinomial", input).array)
    if x.ndim not in (1, 2):
        raise RuntimeError(f"multinomial: input must have 1 or 2 dims, got shape {list(x.shape)}")
    if not is_floating(x.dtype):
        raise RuntimeError(f"multinomial only supports floating-point input, got {input.dtype}")
    n = as_int("multinomial", "num_samples", num_samples)
    if n <= 0:
        raise RuntimeError(f"multinomial: cannot draw {n} samples")
    if not replacement and n > x.shape[-1]:
        raise RuntimeError(
            f"multinomial: cannot draw {n} samples without replacement from {x.shape[-1]} weights"
        )
    if not np.isfinite(x).all() or (x < 0).any():
        raise RuntimeError("probability tensor contains either `inf`, `nan` or element < 0")
    weights = np.atleast_2d(np.asarray(x, np.float64))
    if (weights.sum(1) <= 0).any():
        raise RuntimeError("invalid multinomial distribution (sum of probabilities <= 0)")
    source = _draw(generator)
    if replacement:
        total = weights.cumsum(1)
        u = source.random((len(weights), n)) * total[:, -1:]
        picked = [np.searchsorted(c, row, side="right") for c, row in zip(total, u)]
        y = np.array(picked, np.int64).reshape(len(weights), n)
    else:
        race = weights / source.standard_exponential(weights.shape)
        y = np.argsort(-race, axis=1, kind="stable")[:, :n].astype(np.int64, copy=False)
    return finish(y.reshape((*x.shape[:-1], n)), input.device)


def rand_like(input: Tensor, **options: Any) -> Tensor:
    """:func:`rand` of the shape, dtype and device of ``input``."""
    options = like("rand_like", input, options)
    return rand(tuple(input.shape), **options)


def randn_like(input: Tensor, **options: Any) -> Tensor:
    """:func:`randn` of the shape, dtype and device of ``input``."""
    options = like("randn_like", input, options)
    return randn(tuple(input.shape), **options)


def randint_like(input: Tensor, low: int, high: int | None = None, **options: Any) -> Tensor:
    """:func:`randint` of the shape, dtype and device of ``input``; one bound is ``high``."""
    low, high = (0, low) if high is None else (low, high)
    options = like("randint_like", input, options)
    return randint(low, high, tuple(input.shape), **options)


def uniform_(
    self: Tensor, *bounds: float, generator: random.Generator | None = None, **named: float
) -> Tensor:
    """``uniform_(from=0, to=1)``: fill with uniform numbers in [from, to)."""
    low, high = _from_to("uniform_", bounds, named, (0.0, 1.0))
    dtype = self.array.dtype
    _need_float("uniform_", dtype)
    if not low <= high:
        raise RuntimeError(
            f"uniform_ expects to return a [from, to) range, but found from={low} > to={high}"
        )

    def sample() -> Array:
        u = _unit(self.array.shape, dtype, _draw(generator))
        y = u * dtype.type(high - low) + dtype.type(low)
        if high > low:  # the sum may round up to ``high``, which is not in the range
            np.minimum(y, np.nextafter(dtype.type(high), dtype.type(low)), out=y)
        return y

    return overwrite(self, sample)


def normal_(
    self: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: random.Generator | None = None
) -> Tensor:
    """Fill with normal numbers."""
    x = self.array
    return overwrite(self, lambda: _normal(x.shape, x.dtype, mean, std, _draw(generator)))


def exponential_(
    self: Tensor, lambd: float = 1.0, *, generator: random.Generator | None = None
) -> Tensor:
    """Fill with exponential numbers of mean 1 / lambd."""
    dtype = self.array.dtype
    if not is_floating(dtype):
        raise RuntimeError(f"exponential_ needs a floating point dtype, not {self.dtype}")
    if not lambd > 0:
        raise RuntimeError(f"exponential_ expects lambda > 0.0, but found lambda={lambd}")

    def sample() -> Array:
        y = _draw(generator).standard_exponential(self.array.shape) / lambd
        # Rounding to fewer bits may reach 0, which has probability 0.
        return np.maximum(y.astype(dtype), dtype.type(finfo(as_dtype(dtype)).tiny))

    return overwrite(self, sample)


def random_(
    self: Tensor, *bounds: int, generator: random.Generator | None = None, **named: int
) -> Tensor:
    """``random_()``, ``random_(to)``, ``random_(from, to)``: integers in [from, to).

    Without bounds: every value of an integer dtype from 0 up, and the integers that a float dtype
    can count to.
    """
    dtype = self.array.dtype
    if len(bounds) == 1 and not named:
        bounds = (0, bounds[0])
    if dtype.kind == "b":
        full = 2
    elif is_floating(dtype):
        full = 2 ** _MANTISSA[dtype] + 1
    else:
        full = int(np.iinfo(dtype).max) + 1
    given = tuple(as_int("random_", "bounds", v) for v in bounds)
    also = {name: as_int("random_", name, v) for name, v in named.items()}
    a, b = _from_to("random_", given, also, (0, full))
    return overwrite(self, lambda: _integers(self.array.shape, dtype, a, b, _draw(generator)))


def bernoulli_(self: Tensor, p: Any = 0.5, *, generator: random.Generator | None = None) -> Tensor:
    """Fill with 1 (with probability ``p``, a number or a tensor) and 0."""
    x = self.array
    chance = host(p.array) if isinstance(p, Tensor) else p
    return overwrite(self, lambda: _coins(x.shape, x.dtype, chance, _draw(generator)))


def _from_to(
    name: str, given: tuple[Any, ...], named: dict[str, Any], defaults: tuple[Any, Any]
) -> tuple[Any, Any]:
    """``from`` and ``to``: the first is a word of Python's, so it arrives in a dictionary."""
    unexpected = set(named) - {"from", "to"}
    if len(given) > 2 or unexpected or (given and "from" in named):
        raise TypeError(f"{name}() takes from and to, got {given} {named}")
    values = [*given, *defaults[len(given) :]]
    return named.get("from", values[0]), named.get("to", values[1])


def _normal(
    shape: tuple[int, ...], dtype: np.dtype[Any], mean: float, std: float, source: Any
) -> Array:
    _need_float("normal", dtype)
    if not std >= 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std}")
    check_memory(shape, dtype, "normal")
    y = np.asarray(_gaussian(shape, dtype, source))
    y *= dtype.type(std)
    y += dtype.type(mean)
    return y


def _integers(
    shape: tuple[int, ...], dtype: np.dtype[Any], low: int, high: int, source: Any
) -> Array:
    if low >= high:
        raise RuntimeError(
            f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}"
        )
    if is_floating(dtype):
        exact = 2 ** _MANTISSA[dtype]
        if max(abs(low), abs(high - 1)) > exact:
            warnings.warn(
                f"integers from {low} to {high - 1} in {dtype}: above {exact} not every integer"
                " exists, so the numbers are rounded",
                UserWarning,
                stacklevel=3,
            )
    else:
        smallest, largest = (
            (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
        )
        if low < smallest or high - 1 > largest:
            raise RuntimeError(f"from={low} or to - 1 = {high - 1} is out of bounds for {dtype}")
    return np.asarray(source.integers(low, high, shape, np.int64)).astype(dtype, copy=False)


def _coins(shape: tuple[int, ...], dtype: np.dtype[Any], p: Any, source: Any) -> Array:
    smallest, largest = np.min(p, initial=1), np.max(p, initial=0)
    if not (smallest >= 0 and largest <= 1):
        raise RuntimeError(
            f"bernoulli expects p to be in [0, 1], but got values from {smallest} to {largest}"
        )
    check_expandable("bernoulli: p", np.shape(p), shape)
    return np.asarray(source.random(shape) < p).astype(dtype)
