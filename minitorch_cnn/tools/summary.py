"""``summary(model, (1, 28, 28))``: what each layer makes, and what it costs.

Counted while one batch runs through the real model, by watching its ops; so what ``forward`` calls
without a layer (``F.relu``) is counted too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import nn
from ..tensor import Array, Tensor, no_grad, watch

# Multiply-accumulates of an op, from the shapes of its inputs and output. Every other op has none:
# it is counted in FLOPs alone, as one per output element.
_MACS: dict[str, Callable[[Sequence[Any], Array], int]] = {
    "conv2d": lambda x, y: y.size * math.prod(x[1].shape[1:]),
    "conv_transpose2d": lambda x, _: x[0].size * math.prod(x[1].shape[1:]),
    "conv1d": lambda x, y: y.size * math.prod(x[1].shape[1:]),
    "linear": lambda x, y: y.size * x[0].shape[-1],
    "matmul": lambda x, y: y.size * x[0].shape[-1],
}


@dataclass
class Row:
    """One layer (or one op called by a ``forward`` itself)."""

    name: str
    kind: str
    output: tuple[int, ...]
    parameters: int = 0
    macs: int = 0
    flops: int = 0
    activation_bytes: int = 0
    workspace_bytes: int = 0


@dataclass
class Summary:
    """Rows in the order of execution; ``str()`` is the table."""

    model: str
    input: tuple[int, ...]
    rows: list[Row]
    parameters: int
    trainable: int
    buffers: int
    depth: dict[str, int] = field(default_factory=dict)

    @property
    def macs(self) -> int:
        return sum(row.macs for row in self.rows)

    @property
    def flops(self) -> int:
        return sum(row.flops for row in self.rows)

    @property
    def activation_bytes(self) -> int:
        return sum(row.activation_bytes for row in self.rows)

    @property
    def workspace_bytes(self) -> int:
        return max((row.workspace_bytes for row in self.rows), default=0)

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Headings and cells, for whoever draws the table."""
        heads = ["layer", "kind", "output", "parameters", "MACs", "FLOPs", "activations",
                 "workspace"]  # fmt: skip
        cells = [
            [row.name, row.kind, " x ".join(map(str, row.output)), f"{row.parameters:,}",
             f"{row.macs:,}", f"{row.flops:,}", format_bytes(row.activation_bytes),
             format_bytes(row.workspace_bytes)]
            for row in self.rows
        ]  # fmt: skip
        cells.append(
            ["total", self.model, "", f"{self.parameters:,}", f"{self.macs:,}", f"{self.flops:,}",
             format_bytes(self.activation_bytes), format_bytes(self.workspace_bytes)]
        )  # fmt: skip
        return heads, cells

    def __str__(self) -> str:
        heads, cells = self.table()
        widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]

        def line(row: Sequence[str]) -> str:
            text = [c.ljust(w) if i < 3 else c.rjust(w)
                    for i, (c, w) in enumerate(zip(row, widths, strict=True))]  # fmt: skip
            return "  ".join(text).rstrip()

        rule = "-" * len(line(heads))
        body = [line(row) for row in cells]
        counts = (
            f"parameters {self.parameters:,} (trainable {self.trainable:,}), buffers"
            f" {self.buffers:,}"
        )
        return "\n".join([
            f"{self.model}, input {' x '.join(map(str, self.input))}",
            line(heads), rule, *body[:-1], rule, body[-1],
            counts,
            "1 MAC = 1 multiply and 1 add = 2 FLOPs; other ops count 1 FLOP per output element",
        ])  # fmt: skip


def summary(
    model: nn.Module, input_size: Sequence[int] | Tensor, batch_size: int = 1
) -> Summary:
    """Run ``model`` once in eval mode and count.

    ``input_size`` is (C, H, W), or a Tensor with its batch dimension. Shapes, MACs and bytes are
    for the whole batch. Parameters shared by two layers are counted once.
    """
    if isinstance(input_size, Tensor):
        x = input_size
    else:
        x = Tensor._wrap(np.zeros((batch_size, *input_size), _dtype_of(model)))
    names = {id(module): name for name, module in model.named_modules()}
    counted: set[int] = set()
    rows: list[Row] = []
    stack: list[tuple[str, Row | None]] = []

    def own_parameters(module: nn.Module) -> int:
        total = 0
        for p in module.parameters(recurse=False):
            if id(p) not in counted:
                counted.add(id(p))
                total += p.numel()
        return total

    def enter(module: nn.Module, args: Any) -> None:
        name = names.get(id(module), "")
        is_leaf = not any(True for _ in module.children())
        row = Row(name or "(model)", type(module).__name__, ()) if is_leaf else None
        if row is not None:
            row.parameters = own_parameters(module)
            rows.append(row)
        stack.append((name, row))

    def leave(module: nn.Module, args: Any, output: Any) -> None:
        _, row = stack.pop()
        first = output[0] if isinstance(output, (tuple, list)) else output
        if row is not None and isinstance(first, Tensor):
            row.output = tuple(first.shape)

    def observe(
        op: str, settings: Mapping[str, Any], inputs: Sequence[Any], y: Array, seconds: float
    ) -> None:
        name, row = stack[-1] if stack else ("", None)
        if row is None:
            row = Row(f"{name}.({op})" if name else f"({op})", op, tuple(y.shape))
            rows.append(row)
        macs = int(_MACS[op](inputs, y)) if op in _MACS else 0
        is_view = any(np.shares_memory(y, a) for a in inputs if isinstance(a, np.ndarray))
        row.macs += macs
        row.flops += 2 * macs if macs else (0 if is_view else y.size)
        row.activation_bytes += 0 if is_view else y.nbytes
        row.workspace_bytes = max(row.workspace_bytes, _workspace(op, settings, inputs))

    was_training = model.training
    model.eval()
    try:
        with _hooked(model, enter, leave), no_grad(), watch(observe):
            model(x)
    finally:
        model.train(was_training)
    parameters = list(model.parameters())
    return Summary(
        type(model).__name__,
        tuple(x.shape),
        rows,
        sum(p.numel() for p in parameters),
        sum(p.numel() for p in parameters if p.requires_grad),
        sum(b.numel() for b in model.buffers()),
    )


@contextmanager
def _hooked(model: nn.Module, enter: Any, leave: Any) -> Iterator[None]:
    handles = []
    for module in model.modules():
        handles.append(module.register_forward_pre_hook(enter))
        handles.append(module.register_forward_hook(leave))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def named_layers(model: nn.Module) -> Iterator[Callable[[], str]]:
    """While the model runs: a function that gives the name of the module that is running."""
    names = {id(module): name for name, module in model.named_modules()}
    stack: list[str] = []

    def enter(module: nn.Module, args: Any) -> None:
        stack.append(names[id(module)])

    def leave(module: nn.Module, args: Any, output: Any) -> None:
        stack.pop()

    with _hooked(model, enter, leave):
        yield lambda: stack[-1] if stack else ""


def _dtype_of(model: nn.Module) -> Any:
    first = next(iter(model.parameters()), None)
    return np.float32 if first is None else first.array.dtype


def _workspace(op: str, settings: Mapping[str, Any], inputs: Sequence[Any]) -> int:
    """Scratch memory of the convolution algorithms: the column panels, for all threads."""
    if op != "conv2d":
        return 0
    from ..kernels import conv2d

    x, weight = inputs[0], inputs[1]
    return int(conv2d.workspace_bytes(x.shape, weight.shape, x.dtype, **settings))


def format_bytes(n: int) -> str:
    """1536 as 1.5 KiB."""
    for unit in ("B", "KiB", "MiB"):
        if n < 1024:
            return f"{n:.0f} {unit}" if unit == "B" else f"{n:.1f} {unit}"
        n /= 1024  # type: ignore[assignment]
    return f"{n:.1f} GiB"
