"""Run the same call here and in PyTorch, and require the same answer: values, dtype, or refusal."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import torch

import minitorch_cnn as mt
from minitorch_cnn.tensor import Tensor


def pair(array: Any, requires_grad: bool = False) -> tuple[Tensor, torch.Tensor]:
    """One array as a tensor of ours and one of PyTorch's, in memory of their own."""
    array = np.asarray(array)
    if array.dtype == ml_dtypes.bfloat16:
        theirs = torch.from_numpy(array.astype(np.float32)).bfloat16()
    else:
        theirs = torch.from_numpy(array.copy())
    return Tensor._wrap(array.copy(), requires_grad), theirs.requires_grad_(requires_grad)


def outcome(call: Callable[[], Any]) -> Any:
    """What a call returns, or the exception that it raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return call()
        except Exception as error:  # noqa: BLE001 (whatever it is, it is compared)
            return error


def assert_same(ours: Any, theirs: Any, context: str = "", **tolerance: float) -> None:
    """Equal values, dtypes and shapes; or exceptions of one type (ours may be a subclass)."""
    if isinstance(theirs, Exception) or isinstance(ours, Exception):
        agree = isinstance(theirs, Exception) and isinstance(ours, type(theirs))
        assert agree, f"{context}: ours {ours!r}, PyTorch's {theirs!r}"
        return
    if isinstance(theirs, tuple | list):
        assert len(ours) == len(theirs), context
        for a, b in zip(ours, theirs):
            assert_same(a, b, context, **tolerance)
        return
    if isinstance(theirs, torch.Tensor):
        assert isinstance(ours, Tensor), f"{context}: ours is {ours!r}"
        assert str(ours.dtype) == str(theirs.dtype), (
            f"{context}: ours {ours.dtype}, PyTorch's {theirs.dtype}"
        )
        assert tuple(ours.shape) == tuple(theirs.shape), (
            f"{context}: ours {ours.shape}, PyTorch's {theirs.shape}"
        )
        narrow = theirs.dtype == torch.bfloat16
        a, b = ours.array, (theirs.float() if narrow else theirs).detach().numpy()
        if not tolerance:
            tolerance = TOLERANCE[a.dtype.name]
        if b.dtype.kind == "f":
            a, b = a.astype(np.float64), b.astype(np.float64)
        np.testing.assert_allclose(a, b, **tolerance, err_msg=context)
        return
    assert ours == theirs or ours != ours, f"{context}: ours {ours!r}, PyTorch's {theirs!r}"


# A few units in the last place: elementary functions differ by that much between libraries.
TOLERANCE: dict[str, dict[str, float]] = {
    "float64": {"rtol": 1e-12, "atol": 1e-12},
    "float32": {"rtol": 2e-6, "atol": 1e-6},
    "float16": {"rtol": 2e-3, "atol": 1e-6},
    "bfloat16": {"rtol": 2**-7, "atol": 1e-6},  # the last of 8 bits, as PyTorch may round twice
} | {name: {} for name in ("bool", "uint8", "int8", "int16", "int32", "int64")}


def compare(fn: Callable[..., Any], *arrays: Any, context: str = "", **tolerance: float) -> None:
    """``fn(namespace, *tensors)`` with ``minitorch_cnn`` and with ``torch`` as the namespace."""
    pairs = [pair(x) if isinstance(x, np.ndarray) else (x, x) for x in arrays]
    ours = outcome(lambda: fn(mt, *(p[0] for p in pairs)))
    theirs = outcome(lambda: fn(torch, *(p[1] for p in pairs)))
    assert_same(ours, theirs, context or repr(arrays), **tolerance)


def compare_gradients(fn: Callable[..., Any], *arrays: np.ndarray, **tolerance: float) -> None:
    """Like :func:`compare`, for ``fn``'s result and the gradients of its weighted sum."""
    pairs = [pair(x, x.dtype.kind == "f") for x in arrays]
    ours = outcome(lambda: fn(mt, *(p[0] for p in pairs)))
    theirs = outcome(lambda: fn(torch, *(p[1] for p in pairs)))
    assert_same(ours, theirs, repr(arrays), **tolerance)
    if isinstance(theirs, Exception) or not theirs.requires_grad:
        return
    weights = np.random.default_rng(0).standard_normal(tuple(theirs.shape))
    gy = np.asarray(weights).astype(theirs.detach().numpy().dtype)
    ours.backward(Tensor._wrap(gy.copy()))
    theirs.backward(torch.from_numpy(gy.copy()))
    for x, y in pairs:
        if y.grad is not None:
            assert_same(x.grad, y.grad, f"gradient, {arrays!r}", **tolerance)
