"""Data sets: anything with ``__getitem__`` and ``__len__``, and ways to put them together.

A dataset may also answer ``__getitems__(indices)``, PyTorch's protocol for a whole batch: it
returns the list of samples that one ``__getitem__`` each would give, but can make them at once.
"""

from __future__ import annotations

import bisect
import itertools
import math
import operator
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Generic, TypeAlias, TypeVar

import numpy as np

from ...random import Generator, default_generator
from ...tensor import Tensor

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
BatchGetter: TypeAlias = Callable[[list[Any]], Sequence[Any]]


class Dataset(Generic[T_co]):
    """The base class of map-style data sets; subclasses write ``__getitem__`` and ``__len__``."""

    def __getitem__(self, index: Any) -> T_co:
        raise NotImplementedError(f"{type(self).__name__} should implement __getitem__")

    def __add__(self, other: Dataset[Any]) -> ConcatDataset[Any]:
        return ConcatDataset([self, other])


class IterableDataset(Dataset[T_co]):
    """The base class of streams: subclasses write ``__iter__``, and ``__len__`` where known."""

    def __iter__(self) -> Iterator[T_co]:
        raise NotImplementedError(f"{type(self).__name__} should implement __iter__")

    def __add__(self, other: Dataset[Any]) -> ChainDataset[Any]:  # type: ignore[override]
        return ChainDataset([self, other])


def length(dataset: Any) -> int:
    """``len(dataset)``: that a Dataset has a length is a promise which its type cannot make."""
    size: int = len(dataset)
    return size


def batch_getter(dataset: Any) -> BatchGetter:
    """The function that gives the samples at a list of indices.

    ``__getitems__`` where there is one, except if a subclass wrote its own ``__getitem__`` and
    inherits ``__getitems__`` from further up: that one would not know of the new samples.
    """
    for cls in type(dataset).__mro__:
        if "__getitems__" in vars(cls):
            getitems: BatchGetter = dataset.__getitems__
            return getitems
        if "__getitem__" in vars(cls):
            break
    return lambda indices: [dataset[i] for i in indices]


class TensorDataset(Dataset[tuple[Tensor, ...]]):
    """Sample i is ``(tensors[0][i], tensors[1][i], ...)``; first sizes must agree."""

    def __init__(self, *tensors: Tensor) -> None:
        if any(t.shape[0] != tensors[0].shape[0] for t in tensors):
            shapes = ", ".join(str(list(t.shape)) for t in tensors)
            raise AssertionError(f"Size mismatch between tensors: {shapes} differ in the first")
        self.tensors = tensors

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple(tensor[index] for tensor in self.tensors)

    def __getitems__(self, indices: list[int]) -> list[tuple[Tensor, ...]]:
        if any(tensor.requires_grad for tensor in self.tensors):
            return [self[i] for i in indices]  # so that each sample has its history
        columns = [[Tensor._wrap(t.array[i, ...]) for i in indices] for t in self.tensors]
        return list(zip(*columns))

    def __len__(self) -> int:
        return int(self.tensors[0].shape[0])


class StackDataset(Dataset[Any]):
    """Sample i is the tuple (or, with keywords, the dict) of sample i of every dataset."""

    def __init__(self, *args: Dataset[Any], **kwargs: Dataset[Any]) -> None:
        if args and kwargs:
            raise ValueError("StackDataset takes datasets by position or by keyword, not both")
        if not args and not kwargs:
            raise ValueError("At least one dataset should be passed")
        lengths = [length(d) for d in args or kwargs.values()]
        if len(set(lengths)) > 1:
            raise ValueError(f"Size mismatch between datasets: lengths {lengths}")
        self.datasets: tuple[Dataset[Any], ...] | dict[str, Dataset[Any]] = args or kwargs
        self._length = lengths[0]

    def __getitem__(self, index: Any) -> Any:
        if isinstance(self.datasets, dict):
            return {key: dataset[index] for key, dataset in self.datasets.items()}
        return tuple(dataset[index] for dataset in self.datasets)

    def __getitems__(self, indices: list[int]) -> list[Any]:
        datasets = self.datasets
        parts = datasets.values() if isinstance(datasets, dict) else datasets
        columns = [batch_getter(dataset)(indices) for dataset in parts]
        for column in columns:
            if len(column) != len(indices):
                raise ValueError(
                    f"Nested dataset's output size mismatch: {len(indices)} samples asked for,"
                    f" {len(column)} given"
                )
        rows = list(zip(*columns))
        return [dict(zip(datasets, row)) for row in rows] if isinstance(datasets, dict) else rows

    def __len__(self) -> int:
        return self._length


class ConcatDataset(Dataset[T_co]):
    """The samples of the first dataset, then those of the second, and so on."""

    def __init__(self, datasets: Iterable[Dataset[T_co]]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise AssertionError("datasets should not be an empty iterable")
        if any(isinstance(d, IterableDataset) for d in self.datasets):
            raise AssertionError("ConcatDataset does not support IterableDataset")
        self.cumulative_sizes = list(itertools.accumulate(length(d) for d in self.datasets))

    def __getitem__(self, index: int) -> T_co:
        if index < 0:
            if -index > len(self):
                raise ValueError(f"index {index} is before the first of {len(self)} samples")
            index += len(self)
        if index >= len(self):
            raise IndexError(f"index {index} is out of range for {len(self)} samples")
        which = bisect.bisect_right(self.cumulative_sizes, index)
        before = self.cumulative_sizes[which - 1] if which else 0
        return self.datasets[which][index - before]

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]


class ChainDataset(IterableDataset[T_co]):
    """The first stream, then the second, and so on."""

    def __init__(self, datasets: Iterable[Dataset[T_co]]) -> None:
        self.datasets = datasets

    def _streams(self) -> Iterator[IterableDataset[T_co]]:
        for dataset in self.datasets:
            if not isinstance(dataset, IterableDataset):
                raise AssertionError("ChainDataset only supports IterableDataset")
            yield dataset

    def __iter__(self) -> Iterator[T_co]:
        for stream in self._streams():
            yield from stream

    def __len__(self) -> int:
        return sum(length(stream) for stream in self._streams())


class Subset(Dataset[T_co]):
    """Sample i is ``dataset[indices[i]]``."""

    def __init__(self, dataset: Dataset[T_co], indices: Sequence[int]) -> None:
        self.dataset = dataset
        self.indices = indices

    def __getitem__(self, index: Any) -> T_co:
        if isinstance(index, list):
            return self.dataset[[self.indices[i] for i in index]]
        return self.dataset[self.indices[index]]

    def __getitems__(self, indices: list[int]) -> Sequence[T_co]:
        return batch_getter(self.dataset)([self.indices[i] for i in indices])

    def __len__(self) -> int:
        return len(self.indices)


def random_split(
    dataset: Dataset[T], lengths: Sequence[Any], generator: Generator | None = None
) -> list[Subset[T]]:
    """Disjoint random subsets of the given ``lengths``, or of fractions that sum to 1.

    A fraction f gets floor(f * len(dataset)) samples; what is left over goes to the subsets in
    turn, one each. Errors: ValueError if the lengths do not sum to len(dataset) or a fraction is
    outside 0..1; UserWarning if a fraction gets no sample.
    """
    n = length(dataset)
    total = sum(lengths)
    if math.isclose(total, 1) and total <= 1:
        for i, fraction in enumerate(lengths):
            if not 0 <= fraction <= 1:
                raise ValueError(f"Fraction at index {i} is not between 0 and 1: {fraction}")
        counts = [math.floor(n * fraction) for fraction in lengths]
        for i in range(n - sum(counts)):
            counts[i % len(counts)] += 1
        for i, count in enumerate(counts):
            if count == 0:
                warnings.warn(
                    f"Length of split at index {i} is 0. This might result in an empty dataset.",
                    stacklevel=2,
                )
    elif total != n:
        raise ValueError(
            f"Sum of input lengths does not equal the length of the input dataset:"
            f" {list(lengths)} for {n} samples"
        )
    else:
        counts = [operator.index(count) for count in lengths]
    source = default_generator if generator is None else generator
    order: list[int] = source.numpy.permutation(n).tolist()
    ends = np.cumsum(counts).tolist()
    return [Subset(dataset, order[end - count : end]) for end, count in zip(ends, counts)]
