"""``gradcheck``: compare a function's gradients with central differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..backward import run_backward
from ..dtypes import is_floating
from ..tensor import Array, Tensor


class GradcheckError(RuntimeError):
    """Raised by :func:`gradcheck` when two derivatives disagree."""


def gradcheck(
    func: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
    masked: bool | None = None,
) -> bool:
    """Check dL/dx of every input that requires grad against (f(x + eps) - f(x - eps)) / (2 eps).

    ``func`` takes ``inputs`` and returns a Tensor or several. Every entry of both Jacobians must
    satisfy ``|a - n| <= atol + rtol * |n|``; backward is run twice, and both must agree to
    ``nondet_tol``. ``fast_mode`` compares one random direction of each pair of input and output
    instead of whole Jacobians. ``check_undefined_grad``, ``check_grad_dtypes`` and ``masked`` have
    no effect: gradients always have their tensor's dtype and are checked one output at a time.

    Returns True, or False on a mismatch if ``raise_exception`` is False (else GradcheckError).
    Errors: ValueError for inputs or outputs that are not float64 (PyTorch only warns, and then
    fails for want of precision), for read-only or overlapping inputs, and if no input requires
    grad. Cost: 2 calls of ``func`` per input element and 2 of backward per output element; in
    fast mode 2 calls per input and 2 of backward per output.
    """
    if check_batched_grad or check_batched_forward_grad or check_forward_ad:
        raise NotImplementedError(
            "gradcheck: minitorch_cnn has no batched gradients and no forward-mode derivatives"
        )
    args = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    checked = [x for x in args if isinstance(x, Tensor) and x.requires_grad]
    if not checked:
        raise ValueError(
            "gradcheck expects at least one input tensor to require gradient, but none of them"
            " have requires_grad=True."
        )
    for i, x in enumerate(checked):
        _check_precision(f"input {i}", x)
        overlapping = any(s == 0 and n > 1 for s, n in zip(x.array.strides, x.array.shape))
        if overlapping or not x.array.flags.writeable:
            raise ValueError(
                f"gradcheck: input {i} of shape {list(x.shape)} is read-only or expanded, so that"
                " its elements cannot be changed one by one: call .clone() on it first"
            )
    if not check_backward_ad:
        return True
    try:
        compare = _compare_directions if fast_mode else _compare_jacobians
        compare(func, args, checked, eps, atol, rtol, nondet_tol)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def _check_precision(what: str, x: Tensor) -> None:
    if x.array.dtype != np.float64:
        raise ValueError(
            f"gradcheck: {what} of shape {list(x.shape)} is {x.dtype}; differences of float32"
            " values are mostly rounding error. Use torch.float64: x.double().requires_grad_()"
        )


def _outputs(func: Callable[..., Any], args: Sequence[Any]) -> list[Tensor]:
    result = func(*args)
    several = result if isinstance(result, tuple | list) else (result,)
    floating = [y for y in several if isinstance(y, Tensor) and is_floating(y.array.dtype)]
    if not floating:
        raise ValueError("gradcheck: func returned no floating-point Tensor")
    for j, y in enumerate(floating):
        _check_precision(f"output {j}", y)
    return floating


def _values(func: Callable[..., Any], args: Sequence[Any]) -> list[Array]:
    """The outputs, copied (they may be views of the inputs)."""
    return [y.array.copy() for y in _outputs(func, args)]


def _vjp(y: Tensor, gy: Array, inputs: Sequence[Tensor]) -> list[Array]:
    """dL/dx of every input, given dL/dy of one output."""
    if not y.requires_grad:
        return [np.zeros_like(x.array) for x in inputs]
    found = run_backward((y,), (Tensor._wrap(gy),), True, False, inputs, accumulate=False)
    return [np.zeros_like(x.array) if g is None else g for g, x in zip(found, inputs)]


def _compare_jacobians(
    func: Callable[..., Any],
    args: Sequence[Any],
    inputs: Sequence[Tensor],
    eps: float,
    atol: float,
    rtol: float,
    nondet_tol: float,
) -> None:
    outputs = _outputs(func, args)
    numerical = [
        [np.empty((x.array.size, y.array.size)) for y in outputs] for x in inputs
    ]  # one row per input element
    for i, x in enumerate(inputs):
        for k, index in enumerate(np.ndindex(x.array.shape)):
            for j, slope in enumerate(_difference(func, args, x, _unit(x, index), eps)):
                numerical[i][j][k] = slope.reshape(-1)
    for j, y in enumerate(outputs):
        analytical = [np.empty((x.array.size, y.array.size)) for x in inputs]
        for k, index in enumerate(np.ndindex(y.array.shape)):
            first, second = (_vjp(y, _unit(y, index), inputs) for _ in range(2))
            for i, (a, b) in enumerate(zip(first, second)):
                _check_repeatable(i, j, a, b, nondet_tol)
                analytical[i][:, k] = a.reshape(-1)
        for i, a in enumerate(analytical):
            _check_close(i, j, a, numerical[i][j], atol, rtol)


def _compare_directions(
    func: Callable[..., Any],
    args: Sequence[Any],
    inputs: Sequence[Tensor],
    eps: float,
    atol: float,
    rtol: float,
    nondet_tol: float,
) -> None:
    """Compare u . J v for a random unit v of each input and a random unit u of each output."""
    rng = np.random.default_rng(0)
    directions = [_random_unit(rng, x) for x in inputs]
    outputs = _outputs(func, args)
    weights = [_random_unit(rng, y) for y in outputs]
    slopes = [_difference(func, args, x, v, eps) for x, v in zip(inputs, directions)]
    for j, (y, u) in enumerate(zip(outputs, weights)):
        first, second = (_vjp(y, u, inputs) for _ in range(2))
        for i, (a, b, v) in enumerate(zip(first, second, directions)):
            _check_repeatable(i, j, a, b, nondet_tol)
            numerical = np.sum(slopes[i][j] * u)
            _check_close(i, j, np.sum(a * v).reshape(1, 1), numerical.reshape(1, 1), atol, rtol)


def _difference(
    func: Callable[..., Any], args: Sequence[Any], x: Tensor, direction: Array, eps: float
) -> list[Array]:
    """(f(x + eps * direction) - f(x - eps * direction)) / (2 eps), for each output."""
    original = x.array.copy()
    try:
        x.array[...] = original + eps * direction
        above = _values(func, args)
        x.array[...] = original - eps * direction
        below = _values(func, args)
    finally:
        x.array[...] = original
    return [(a - b) / (2 * eps) for a, b in zip(above, below, strict=True)]


def _unit(x: Tensor, index: tuple[int, ...]) -> Array:
    unit = np.zeros_like(x.array)
    unit[index] = 1
    return unit


def _random_unit(rng: np.random.Generator, x: Tensor) -> Array:
    direction = rng.standard_normal(x.array.shape)
    return direction / max(float(np.sqrt(np.sum(direction**2))), 1e-300)


def _check_repeatable(i: int, j: int, a: Array, b: Array, nondet_tol: float) -> None:
    if a.size and not np.allclose(a, b, rtol=0, atol=nondet_tol, equal_nan=True):
        raise GradcheckError(
            f"Backward is not reentrant: two runs gave gradients of output {j} with respect to"
            f" input {i} that differ by {np.max(np.abs(a - b))}, more than nondet_tol={nondet_tol}"
        )


def _check_close(i: int, j: int, a: Array, n: Array, atol: float, rtol: float) -> None:
    close = np.abs(a - n) <= atol + rtol * np.abs(n)
    if close.all():
        return
    row, column = np.argwhere(~close)[0]
    raise GradcheckError(
        f"Jacobian mismatch for output {j} with respect to input {i}: {np.sum(~close)} of"
        f" {close.size} entries, the first for element {row} of the input and {column} of the"
        f" output, where numerical is {n[row, column]:.6g} and analytical {a[row, column]:.6g}\n"
        f"numerical:{n}\nanalytical:{a}"
    )
