"""``torch.return_types``: the named tuples of functions with two results."""

from __future__ import annotations

from typing import NamedTuple

from .tensor import Tensor


class _Printed:
    """Prints as PyTorch does: one field a line."""

    __slots__ = ()

    def __repr__(self) -> str:
        fields = ",\n".join(f"{k}={v!r}" for k, v in self._asdict().items())  # type: ignore[attr-defined]
        return f"torch.return_types.{type(self).__name__}(\n{fields})"


class _Chosen(NamedTuple):
    values: Tensor
    indices: Tensor


class _Extremes(NamedTuple):
    min: Tensor
    max: Tensor


def _chosen(name: str) -> type[_Chosen]:
    return type(name, (_Printed, _Chosen), {"__slots__": (), "__module__": __name__})


max = _chosen("max")
min = _chosen("min")
sort = _chosen("sort")
topk = _chosen("topk")
kthvalue = _chosen("kthvalue")
median = _chosen("median")
mode = _chosen("mode")
cummax = _chosen("cummax")
cummin = _chosen("cummin")
aminmax: type[_Extremes] = type(
    "aminmax", (_Printed, _Extremes), {"__slots__": (), "__module__": __name__}
)
