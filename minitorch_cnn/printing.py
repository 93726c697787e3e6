"""``print(tensor)``: the text that PyTorch prints for the same numbers.

All numbers of a tensor get one format. Floats that are all whole print as ``1.``; others with
``precision`` digits, in scientific notation if the largest is more than 1000 times the smallest,
above 1e8 or (for fractions) below 1e-4. Above ``threshold`` elements only the first and last
``edgeitems`` along each dimension are shown.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, TypedDict

import numpy as np

from .dtypes import get_default_dtype, is_floating
from .tensor import Array, Tensor

__all__ = ["get_printoptions", "set_printoptions"]

METHODS: tuple[str, ...] = ()
INPLACE: tuple[str, ...] = ()


class Options(TypedDict):
    """What :func:`set_printoptions` sets."""

    precision: int
    threshold: float
    edgeitems: int
    linewidth: int
    sci_mode: bool | None


_DEFAULT = Options(precision=4, threshold=1000, edgeitems=3, linewidth=80, sci_mode=None)
_PROFILES: dict[str, dict[str, Any]] = {
    "default": {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80},
    "short": {"precision": 2, "threshold": 1000, "edgeitems": 2, "linewidth": 80},
    "full": {"precision": 4, "threshold": math.inf, "edgeitems": 3, "linewidth": 80},
}
_options = _DEFAULT.copy()


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """How tensors print. Profiles: default, short, full. ``sci_mode=None``: by the numbers."""
    new: dict[str, Any] = {} if profile is None else dict(_PROFILES[profile])
    given = {
        "precision": precision, "threshold": threshold, "edgeitems": edgeitems,
        "linewidth": linewidth,
    }  # fmt: skip
    new |= {name: value for name, value in given.items() if value is not None}
    new["sci_mode"] = sci_mode
    _options.update(new)  # type: ignore[typeddict-item]


def get_printoptions() -> dict[str, Any]:
    """The current options by name."""
    return dict(_options)


class _Format:
    """One format for all of ``values``: ``width`` characters, or more for what does not count."""

    def __init__(self, values: Array) -> None:
        self.show: Callable[[Any], str] = str
        counted = values.reshape(-1)
        if is_floating(values.dtype):
            counted = counted[np.isfinite(counted) & (counted != 0)].astype(np.float64)
            self.show = _float_format(counted)
        self.width = max((len(self.show(v)) for v in counted.tolist()), default=1)

    def __call__(self, value: Any) -> str:
        return self.show(value).rjust(self.width)


def _float_format(numbers: Array) -> Callable[[float], str]:
    """How to print floats of which ``numbers`` are those that are finite and not 0."""
    digits = _options["precision"]
    whole = bool((numbers == np.ceil(numbers)).all())
    scientific = False
    if numbers.size:
        low, high = float(np.abs(numbers).min()), float(np.abs(numbers).max())
        scientific = high / low > 1000 or high > 1e8 or low < 1e-4
        if _options["sci_mode"] is not None:
            scientific = _options["sci_mode"]
    if scientific:
        return lambda value: f"{value:.{digits}e}"
    if whole:
        return lambda value: f"{value:.0f}" + ("." if math.isfinite(value) else "")
    return lambda value: f"{value:.{digits}f}"


def _edges(values: Array) -> Array:
    """The elements that a summary shows."""
    edge = _options["edgeitems"]
    for axis, n in enumerate(values.shape):
        if n > 2 * edge:
            values = np.delete(values, np.s_[edge : n - edge], axis)
    return values


def _entries(n: int, summarize: bool) -> Iterator[int | None]:
    """The indices along a dimension that are shown, with None for what is left out."""
    edge = _options["edgeitems"]
    if not summarize or n <= 2 * edge:
        yield from range(n)
        return
    yield from range(edge)
    yield None
    yield from range(n - edge, n)


def _row(values: Array, indent: int, summarize: bool, show: _Format) -> str:
    left_out = " ..." if _options["edgeitems"] else "..."
    texts = [
        left_out if i is None else show(values[i].item()) for i in _entries(len(values), summarize)
    ]
    per_line = max(1, (_options["linewidth"] - indent) // (show.width + 2))
    lines = [", ".join(texts[i : i + per_line]) for i in range(0, len(texts), per_line)]
    return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"


def _body(values: Array, indent: int, summarize: bool, show: _Format) -> str:
    if values.ndim == 0:
        return show(values.item())
    if values.ndim == 1:
        return _row(values, indent, summarize, show)
    parts = [
        "..." if i is None else _body(values[i], indent + 1, summarize, show)
        for i in _entries(len(values), summarize)
    ]
    gap = "," + "\n" * int(values.ndim - 1) + " " * (indent + 1)
    return "[" + gap.join(parts) + "]"


def _suffixes(x: Tensor) -> list[str]:
    obvious: list[Any] = [get_default_dtype().numpy, np.dtype(np.int64), np.dtype(bool)]
    texts = []
    if x.device.type != "cpu":
        texts.append(f"device='{x.device}'")
    if x.array.size == 0:
        if x.array.ndim != 1:
            texts.append(f"size={tuple(x.shape)}")
        del obvious[1:]  # there are no numbers to tell the dtype by
    elif not _options["edgeitems"]:
        texts.append(f"size={tuple(x.shape)}")
    if x.array.dtype not in obvious:
        texts.append(f"dtype={x.dtype}")
    if x.grad_fn is not None:
        texts.append(f"grad_fn={x.grad_fn!r}")
    elif x.requires_grad:
        texts.append("requires_grad=True")
    return texts


def tensor_repr(x: Tensor) -> str:
    """The numbers, then what is not obvious from them: dtype, device, grad_fn."""
    values = x.array if isinstance(x.array, np.ndarray) else x.array.get()
    kind = type(x).__name__
    prefix = "tensor(" if kind in ("Tensor", "Parameter") else f"{kind}("
    indent = len(prefix)
    text = prefix + "[]"
    if values.size:
        summarize = values.size > _options["threshold"]
        show = _Format(_edges(values) if summarize else values)
        text = prefix + _body(values, indent, summarize, show)
    length = len(text) - text.rfind("\n") - 1 + 2  # of the last line, with a comma and a space
    for suffix in _suffixes(x):
        if length + len(suffix) + 2 > _options["linewidth"]:
            text += ",\n" + " " * indent + suffix
            length = indent + len(suffix)
        else:
            text += ", " + suffix
            length += len(suffix) + 2
    return text + ")"


ONLY_METHODS: dict[str, Any] = {"__repr__": tensor_repr, "__str__": tensor_repr}
