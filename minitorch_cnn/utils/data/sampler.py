"""Which samples come in which order.

A sampler is an iterable of indices; a batch sampler is an iterable of lists of indices. Random
ones draw from ``generator``, or from the default generator, so ``manual_seed`` makes them repeat.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import Any, Generic, TypeVar

import numpy as np

from ...random import Generator, default_generator

T_co = TypeVar("T_co", covariant=True)


def draw_seed(generator: Generator | None = None) -> int:
    """A 63-bit seed from ``generator`` (the default one if None), which it advances."""
    source = default_generator if generator is None else generator
    return int(source.numpy.integers(2**63))


def _check_count(name: str, value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise ValueError(f"{name} should be a positive integer value, got {name}={value!r}")


def _check_flag(name: str, value: Any, error: type[Exception]) -> None:
    if not isinstance(value, bool):
        raise error(f"{name} should be a boolean value, got {name}={value!r}")


class Sampler(Generic[T_co]):
    """The base class: subclasses write ``__iter__`` and, where it is known, ``__len__``."""

    def __init__(self, data_source: Sized | None = None) -> None:
        """Takes and ignores ``data_source``, which samplers written for older PyTorch pass."""

    def __iter__(self) -> Iterator[T_co]:
        raise NotImplementedError(f"{type(self).__name__} should implement __iter__")


class SequentialSampler(Sampler[int]):
    """0, 1, ..., len(data_source) - 1."""

    def __init__(self, data_source: Sized) -> None:
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(Sampler[int]):
    """A permutation of the indices, or ``num_samples`` independent ones with ``replacement``.

    Without replacement, ``num_samples`` beyond len(data_source) starts further permutations.
    Without a ``generator``, each iteration draws one seed from the default generator.
    Errors: TypeError if ``replacement`` is no bool, ValueError if ``num_samples`` is not positive.
    """

    def __init__(
        self,
        data_source: Sized,
        replacement: bool = False,
        num_samples: int | None = None,
        generator: Generator | None = None,
    ) -> None:
        self.data_source = data_source
        self.replacement = replacement
        self._num_samples = num_samples
        self.generator = generator
        _check_flag("replacement", replacement, TypeError)
        _check_count("num_samples", self.num_samples)

    @property
    def num_samples(self) -> int:
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def __iter__(self) -> Iterator[int]:
        n = len(self.data_source)
        generator = self.generator
        if generator is None:
            generator = Generator().manual_seed(draw_seed())
        if self.replacement:
            yield from generator.numpy.integers(n, size=self.num_samples).tolist()
            return
        for start in range(0, self.num_samples, n):
            yield from generator.numpy.permutation(n)[: self.num_samples - start].tolist()

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(Sampler[int]):
    """The given ``indices`` in a random order, each once."""

    def __init__(self, indices: Sequence[int], generator: Generator | None = None) -> None:
        self.indices = indices
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        generator = self.generator or default_generator
        for i in generator.numpy.permutation(len(self.indices)).tolist():
            yield self.indices[i]

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(Sampler[int]):
    """``num_samples`` indices, index i with probability ``weights[i] / sum(weights)``.

    Errors: ValueError for ``weights`` that are not 1-d and for a bad ``num_samples`` or
    ``replacement``; RuntimeError when iterated, as PyTorch's multinomial: weights negative,
    infinite, NaN or all zero, or more samples than weights without replacement (where a weight of
    0 comes after all others).
    """

    def __init__(
        self,
        weights: Sequence[float],
        num_samples: int,
        replacement: bool = True,
        generator: Generator | None = None,
    ) -> None:
        _check_count("num_samples", num_samples)
        _check_flag("replacement", replacement, ValueError)
        self.weights = np.asarray(getattr(weights, "array", weights), np.float64)
        if self.weights.ndim != 1:
            raise ValueError(
                f"weights should be a 1d sequence but given weights have shape {self.weights.shape}"
            )
        self.num_samples = num_samples
        self.replacement = replacement
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        weights = self.weights
        total = weights.sum()
        if not np.isfinite(weights).all() or (weights < 0).any():
            raise RuntimeError("weights contain inf, nan or an element < 0")
        if total <= 0:
            raise RuntimeError("invalid multinomial distribution (sum of weights <= 0)")
        if not self.replacement and self.num_samples > len(weights):
            raise RuntimeError(
                f"cannot draw {self.num_samples} samples of {len(weights)} without replacement"
            )
        generator = (self.generator or default_generator).numpy
        if self.replacement:
            chosen = generator.choice(len(weights), self.num_samples, p=weights / total)
        else:
            # Exponential clocks of rates ``weights`` ring in the order of successive draws.
            rings = generator.exponential(size=len(weights)) / np.maximum(weights, 1e-300)
            chosen = rings.argsort()[: self.num_samples]
        yield from chosen.tolist()

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler[list[int]]):
    """Lists of ``batch_size`` indices of ``sampler``; the last may be shorter, or is dropped."""

    def __init__(self, sampler: Iterable[Any], batch_size: int, drop_last: bool) -> None:
        _check_count("batch_size", batch_size)
        _check_flag("drop_last", drop_last, ValueError)
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last

    def __iter__(self) -> Iterator[list[int]]:
        indices = iter(self.sampler)
        while batch := list(itertools.islice(indices, self.batch_size)):
            if self.drop_last and len(batch) < self.batch_size:
                return
            yield batch

    def __len__(self) -> int:
        n = len(self.sampler)  # type: ignore[arg-type]  # PyTorch's rule: a TypeError if unsized
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)
