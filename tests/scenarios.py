"""Scenarios: code that is run in PyTorch and in this package, and must end alike in both."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, TypeAlias

import torch

import minitorch_cnn
from minitorch_cnn.tensor import Tensor

Scenario: TypeAlias = Callable[[Any], Any]


def run(fn: Scenario, t: Any) -> Any:
    """What ``fn(t)`` returns, or the type of what it raises, and the kinds of its warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = plain(fn(t))
        except Exception as error:  # noqa: BLE001 (the type is what is compared)
            result = type(error)
    return result, [w.category for w in caught]


def assert_ends_alike(fn: Scenario) -> None:
    assert run(fn, minitorch_cnn) == run(fn, torch)


def plain(value: Any) -> Any:
    """Tensors as dtype, shape and list, also inside dicts and sequences."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, torch.Tensor | Tensor):
        return [str(value.dtype), list(value.shape), value.detach().numpy().tolist()]
    return value


def leaf(t: Any, *values: float) -> Any:
    """A float64 leaf of the library ``t``, [1, 2, 3] unless told."""
    return t.tensor(values or (1.0, 2.0, 3.0), dtype=t.float64, requires_grad=True)
