"""One row per op: how to call it here and in PyTorch, and what to call it with.

``tests/test_cases.py`` runs every row: forward and gradient against PyTorch in float64 and float32,
a random-direction gradient check, other memory layouts, inputs left alone, dtype kept; and asserts
that no op in ``minitorch_cnn.ops`` lacks a row. Each file here has a tuple ``CASES``.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st


@dataclass(frozen=True)
class Call:
    """Arguments: ``arrays`` become tensors (float64 ones take the tested dtype, and gradients)."""

    arrays: tuple[np.ndarray, ...]
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """``ours(*tensors, **settings)`` must equal ``theirs(*torch_tensors, **settings)``.

    ``op`` is the function in ``minitorch_cnn.ops`` that this row covers (``module.function``;
    several rows may cover one op). Either side may return a tensor or a tuple of tensors, of which
    the first is differentiated. ``smooth=False`` leaves out the gradient check by differences (for
    draws that sit on kinks); PyTorch remains the oracle there.
    """

    name: str
    op: str
    ours: Callable[..., Any]
    theirs: Callable[..., Any]
    calls: st.SearchStrategy[Call]
    smooth: bool = True
    differentiable: bool = True
    rtol32: float = 1e-4
    atol32: float = 1e-5
    rtol64: float = 1e-9
    atol64: float = 1e-10


def all_cases() -> list[Case]:
    """Every row of every file in this package."""
    rows: list[Case] = []
    for module in pkgutil.iter_modules(__path__):
        rows.extend(importlib.import_module(f"{__name__}.{module.name}").CASES)
    return rows
