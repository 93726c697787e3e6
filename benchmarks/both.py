"""One line of code, run by PyTorch and by us: cases for single ops.

An op is written once, as a function of the module (``torch`` or ``minitorch_cnn``) and of tensors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

import minitorch_cnn
from minitorch_cnn.benchmarks import machine
from minitorch_cnn.benchmarks.harness import Case, Cases

Shape = tuple[int, ...]
Op = Callable[..., Any]


@dataclass(frozen=True)
class Row:
    """``op(torch, *tensors)`` on float32 tensors of ``shapes``.

    ``classes`` adds a last argument: targets, one of so many classes for each row of the first.
    ``backward`` are the arguments whose gradients are computed (none: no backward case).
    """

    family: str
    name: str
    op: Op
    shapes: tuple[Shape, ...]
    classes: int = 0
    backward: tuple[int, ...] = (0,)
    check: Callable[[Any, Any], None] | None = None

    @property
    def label(self) -> str:
        return f"{self.name} {' + '.join('x'.join(map(str, s)) for s in self.shapes)}"


def cases(rows: Iterable[Row]) -> Cases:
    """Forward and backward of each row."""
    found: list[tuple[str, Callable[[], Case]]] = []
    for row in rows:
        found.append((f"{row.label} forward", lambda row=row: forward(row)))  # type: ignore[misc]
        if row.backward:
            found.append((f"{row.label} backward", lambda row=row: backward(row)))  # type: ignore[misc]
    return found


def arrays(row: Row, seed: int = 0) -> list[np.ndarray[Any, Any]]:
    rng = np.random.default_rng(seed)
    found: list[np.ndarray[Any, Any]] = [rng.standard_normal(s, np.float32) for s in row.shapes]
    if row.classes:
        found.append(rng.integers(0, row.classes, row.shapes[0][0]))
    return found


def modules() -> dict[str, Any]:
    return {"ours": minitorch_cnn, "pytorch": machine.pytorch()}


def forward(row: Row) -> Case:
    """Without a graph, as in inference."""

    def side(torch: Any) -> Callable[[], Any]:
        tensors = [torch.from_numpy(a) for a in arrays(row)]

        def call() -> Any:
            with torch.no_grad():
                return row.op(torch, *tensors)

        return call

    sides = {name: side(torch) for name, torch in modules().items()}
    return Case(sides, nbytes=_bytes(row, sides["pytorch"]()), facts=_facts(row, "forward"),
                check=_random(row, sides))  # fmt: skip


def backward(row: Row) -> Case:
    """Backward alone: the graph is made once and kept."""
    produced = []

    def side(torch: Any) -> Callable[[], Any]:
        tensors = [torch.from_numpy(a) for a in arrays(row)]
        for i in row.backward:
            tensors[i].requires_grad_()
        y = row.op(torch, *tensors)
        gy = torch.from_numpy(np.random.default_rng(1).standard_normal(y.shape).astype(np.float32))
        produced.append(y)

        def call() -> Any:
            for i in row.backward:
                tensors[i].grad = None
            y.backward(gy, retain_graph=True)
            return [tensors[i].grad for i in row.backward]

        return call

    sides = {name: side(torch) for name, torch in modules().items()}
    return Case(sides, nbytes=_bytes(row, produced[-1]), facts=_facts(row, "backward"),
                check=_random(row, sides))  # fmt: skip


def _random(row: Row, sides: dict[str, Callable[[], Any]]) -> Callable[[], None] | None:
    """The check of an op whose results are random: ``row.check(ours, theirs)``."""
    compare = row.check
    if compare is None:
        return None
    return lambda: compare(sides["ours"](), sides["pytorch"]())


def _facts(row: Row, direction: str) -> dict[str, Any]:
    return {"family": row.family, "direction": direction}


def _bytes(row: Row, y: Any) -> int:
    """What must be moved at least: each float32 argument once, the result once."""
    return 4 * (sum(math.prod(s) for s in row.shapes) + int(y.numel()))
