"""``explain(model, x)``: which algorithm computes each convolution of a model, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .. import nn
from ..dtypes import is_floating
from ..kernels import algorithms
from ..kernels.algorithms import Chosen, Problem
from ..kernels.backend import HOST
from ..kernels.geometry import pair
from ..kernels.launcher import has_tensor_cores
from ..ops.conv import find_padding
from ..tensor import Array, Tensor, no_grad, watch
from .summary import format_bytes, named_layers

# A transposed convolution's forward is a convolution's gradient, and the other way around.
_DIRECTIONS = {
    "conv1d": ("forward", "grad_input", "grad_weight"),
    "conv2d": ("forward", "grad_input", "grad_weight"),
    "conv_transpose2d": ("grad_input", "forward", "grad_weight"),
}


@dataclass(frozen=True)
class Row:
    """One convolution that ran. ``grad_input`` is None where the input is the model's own."""

    name: str
    input: tuple[int, ...]
    weight: tuple[int, ...]
    output: tuple[int, ...]
    forward: Chosen
    grad_input: Chosen | None
    grad_weight: Chosen
    macs: int  # of each of the three

    @property
    def chosen(self) -> tuple[Chosen, ...]:
        """What there is of the three."""
        return tuple(c for c in (self.forward, self.grad_input, self.grad_weight) if c is not None)

    @property
    def workspace(self) -> int:
        """Bytes beside input, weight and output: the most of the three."""
        return max(c.workspace for c in self.chosen)


@dataclass(frozen=True)
class Explanation(Sequence[Row]):
    """The rows in the order of execution; ``str()`` is the table."""

    model: str
    rows: tuple[Row, ...]

    def __getitem__(self, index: Any) -> Any:
        return self.rows[index]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    @property
    def macs(self) -> int:
        """Multiply-adds of one run forward, by the definition."""
        return sum(row.macs for row in self.rows)

    @property
    def workspace(self) -> int:
        """Bytes: the most that one layer needs."""
        return max((row.workspace for row in self.rows), default=0)

    def reasons(self) -> dict[str, str]:
        """Why, by algorithm and by what was said of it; the same reason once."""
        said = {(c.algorithm, c.why): None for row in self.rows for c in row.chosen}
        return {f"{name}: {why}": name for name, why in said}

    def __str__(self) -> str:
        heads = ["layer", "input", "weight", "output", "forward", "grad_input", "grad_weight",
                 "MACs", "workspace"]  # fmt: skip
        cells = [
            [
                row.name, *(_by(shape) for shape in (row.input, row.weight, row.output)),
                *("-" if c is None else c.algorithm
                  for c in (row.forward, row.grad_input, row.grad_weight)),
                f"{row.macs:,}", format_bytes(row.workspace),
            ]
            for row in self.rows
        ]  # fmt: skip
        cells.append(
            ["total", *[""] * 6, f"{self.macs:,}", f"{format_bytes(self.workspace)} at most"]
        )
        widths = [max(map(len, column)) for column in zip(heads, *cells)]

        def line(row: Sequence[str]) -> str:
            text = [c.ljust(w) for c, w in zip(row[:7], widths)]
            numbers = [c.rjust(w) for c, w in zip(row[7:], widths[7:])]
            return "  ".join([*text, *numbers])

        rule = "-" * len(line(cells[-1]))
        body = [line(row) for row in cells]
        return "\n".join(
            [self.model, line(heads), rule, *body[:-1], rule, body[-1], *sorted(self.reasons())]
        )


def explain(model: nn.Module, *inputs: Any) -> Explanation:
    """Run ``model`` once in eval mode and say which algorithm computes each convolution.

    For each: the choice for forward and both gradients, as it stands now (threads, what was asked
    for, what was measured), multiply-adds, and bytes of workspace. Without a backward run: the
    choice depends on shapes alone (on a GPU, also on whether that has tensor cores). Convolutions
    of integers have no choice.
    """
    given = {id(x.array) for x in inputs if isinstance(x, Tensor)}
    rows: list[Row] = []
    with named_layers(model) as current:

        def observe(
            op: str, settings: Mapping[str, Any], arrays: Sequence[Any], y: Array, seconds: float
        ) -> None:
            if op in _DIRECTIONS and is_floating(y.dtype) and y.size:
                rows.append(_row(current() or f"({op})", op, settings, arrays, y, given))

        was_training = model.training
        model.eval()
        try:
            with no_grad(), watch(observe):
                model(*inputs)
        finally:
            model.train(was_training)
    return Explanation(type(model).__name__, tuple(rows))


def _row(
    name: str, op: str, settings: Mapping[str, Any], arrays: Sequence[Any], y: Array,
    given: set[int],
) -> Row:  # fmt: skip
    x, weight = arrays[:2]
    problems = [_problem(direction, op, settings, x, weight, y) for direction in _DIRECTIONS[op]]
    forward, grad_input, grad_weight = map(algorithms.choose, problems)
    return Row(
        name, x.shape, weight.shape, y.shape, forward,
        None if id(x) in given else grad_input, grad_weight, problems[0].macs,
    )  # fmt: skip


def _problem(
    direction: str, op: str, settings: Mapping[str, Any], x: Array, weight: Array, y: Array
) -> Problem:
    """What the chooser is asked when this op runs."""
    S, P, D = (settings.get(key, default) for key, default in
               (("stride", 1), ("padding", 0), ("dilation", 1)))  # fmt: skip
    image, filters, result = x.shape, weight.shape, y.shape
    if op == "conv1d":
        S, D = (1, _only(S)), (1, _only(D))
        P = P if isinstance(P, str) else (0, _only(P))
        image, filters, result = ((*s[:-1], 1, s[-1]) for s in (image, filters, result))
    image, result = ((1, *s) if len(s) == 3 else s for s in (image, result))
    S, D = pair(S, "stride", op), pair(D, "dilation", op)
    P, extra = find_padding(op, P, filters[2:], S, D)
    image = (*image[:2], image[2] + extra[0], image[3] + extra[1])
    if op == "conv_transpose2d":
        image, result = result, image
    gpu = not isinstance(x, HOST)
    tensor_cores = gpu and x.itemsize == 2 and has_tensor_cores(x)
    itemsize = x.itemsize if gpu else max(4, x.itemsize)  # a CPU computes halves in float32
    return Problem(
        direction, image, filters, result[2:], itemsize, S, P, D, settings.get("groups", 1), gpu,
        tensor_cores,
    )  # fmt: skip


def _only(value: Any) -> Any:
    return value[0] if isinstance(value, (tuple, list)) else value


def _by(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
