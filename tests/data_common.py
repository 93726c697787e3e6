"""What the tests of data sets and of the DataLoader share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

import minitorch_cnn.utils.data as ours
from minitorch_cnn.tensor import Tensor


def plain(value: Any) -> Any:
    """A batch with each tensor as (dtype, values), so that ours and PyTorch's can be compared."""
    if isinstance(value, (Tensor, torch.Tensor)):
        return str(value.dtype), np.asarray(getattr(value, "array", value)).tolist()
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(plain, value))
    if isinstance(value, dict):
        return type(value)({k: plain(v) for k, v in value.items()})
    if isinstance(value, MappingProxyType):
        return "proxy", {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(plain(v) for v in value)
    return value


def outcome(fn: Callable[[], Any]) -> Any:
    """What fn gives, or the type of what it raises."""
    try:
        return plain(fn())
    except Exception as error:  # noqa: BLE001  # its type is the answer
        return type(error)


class Squares(ours.Dataset):
    """0, 1, 4, ...; the sample at ``bad`` raises."""

    def __init__(self, n: int, bad: int | None = None) -> None:
        self.n = n
        self.bad = bad

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> int:
        if index == self.bad:
            self.fail(index)
        return index * index

    def fail(self, index: int) -> None:
        raise KeyError(f"no sample {index}")


class Stream(ours.IterableDataset):
    def __init__(self, n: int) -> None:
        self.n = n

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.n))

    def __len__(self) -> int:
        return self.n
