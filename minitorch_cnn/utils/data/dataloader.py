"""The DataLoader: batches of a dataset, in the order of a sampler."""

from __future__ import annotations

import itertools
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from ...random import Generator, use_generator
from ._collate import default_collate, default_convert, pinned
from ._workers import WorkerInfo, Workers, get_worker_info
from .dataset import Dataset, IterableDataset, batch_getter, length
from .sampler import BatchSampler, RandomSampler, SequentialSampler, draw_seed

__all__ = ["DataLoader", "WorkerInfo", "default_collate", "default_convert", "get_worker_info"]

T_co = TypeVar("T_co", covariant=True)

_FIXED = {
    "batch_size", "batch_sampler", "sampler", "drop_last", "dataset", "persistent_workers",
}  # fmt: skip


class DataLoader(Generic[T_co]):
    """Iterates over batches: ``for x, target in DataLoader(dataset, batch_size=64, shuffle=True)``.

    Indices come from ``batch_sampler``, or from ``sampler`` (``shuffle`` chooses one) in groups of
    ``batch_size``; ``drop_last`` drops an incomplete last group. The samples at those indices go
    through ``collate_fn`` (:func:`default_collate`). ``batch_size=None`` turns batching off.

    ``num_workers`` threads load up to ``num_workers * prefetch_factor`` batches ahead; ``timeout``
    limits the wait for one, in seconds. Order and random numbers do not depend on
    ``num_workers``: each epoch draws one seed from ``generator`` (the default one if None), and
    each batch is made under a generator of its own, which random transforms and ``torch.rand``
    use. Python's ``random`` and ``np.random`` are shared by all threads; avoid them in datasets.
    An IterableDataset is one stream, so one thread reads it, as worker 0 of 1.

    ``pin_memory=True`` puts batches into memory that a GPU reads by itself (where there is one):
    ``x.to("cuda", non_blocking=True)`` then only queues the copy, and with workers the next batches
    are ready in pinned memory while the GPU computes. ``pin_memory_device``,
    ``multiprocessing_context`` and ``in_order`` are accepted and change nothing: there are no
    processes, and batches always come in order.

    Errors: ValueError for contradicting arguments; RuntimeError after ``timeout``; whatever a
    dataset raises reaches the consumer at that batch, with the worker's traceback.
    """

    def __init__(
        self,
        dataset: Dataset[T_co],
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[Any] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[Any], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], object] | None = None,
        multiprocessing_context: object = None,
        generator: Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ) -> None:
        if num_workers < 0:
            raise ValueError(f"num_workers should be non-negative, got {num_workers}")
        if timeout < 0:
            raise ValueError(f"timeout should be non-negative, got {timeout}")
        if prefetch_factor is not None and (num_workers == 0 or prefetch_factor < 0):
            raise ValueError(
                f"prefetch_factor should be non-negative and needs num_workers > 0, got"
                f" prefetch_factor={prefetch_factor} with num_workers={num_workers}"
            )
        if persistent_workers and num_workers == 0:
            raise ValueError("persistent_workers option needs num_workers > 0")
        if isinstance(dataset, IterableDataset):
            for name, value in [
                ("shuffle", shuffle or None),
                ("sampler", sampler),
                ("batch_sampler", batch_sampler),
            ]:
                if value is not None:
                    raise ValueError(
                        f"DataLoader with IterableDataset: expected unspecified {name} option, but"
                        f" got {name}={value}: the stream itself decides its order"
                    )
        if sampler is not None and shuffle:
            raise ValueError("sampler option is mutually exclusive with shuffle")
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ValueError(
                    "batch_sampler option is mutually exclusive with batch_size, shuffle, sampler,"
                    " and drop_last"
                )
            batch_size = None
        elif batch_size is None and drop_last:
            raise ValueError(
                "batch_size=None turns batching off, so drop_last has nothing to drop: give one"
                " of them up"
            )
        if sampler is None:
            sampler = _default_sampler(dataset, bool(shuffle), generator)
        if batch_size is not None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        if collate_fn is None:
            collate_fn = default_convert if batch_sampler is None else default_collate

        self.dataset = dataset
        self.batch_size = batch_size
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.num_workers = num_workers
        self.collate_fn = collate_fn
        self.pin_memory = pin_memory
        self.drop_last = drop_last
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.multiprocessing_context = multiprocessing_context
        self.generator = generator
        self.prefetch_factor = 2 if num_workers and prefetch_factor is None else prefetch_factor
        self.persistent_workers = persistent_workers
        self.pin_memory_device = pin_memory_device
        self.in_order = in_order
        self._workers: Workers | None = None
        self._initialized = True

    def __setattr__(self, name: str, value: object) -> None:
        if name in _FIXED and getattr(self, "_initialized", False):
            raise ValueError(
                f"{name} attribute should not be set after {type(self).__name__} is initialized:"
                " make a new one"
            )
        super().__setattr__(name, value)

    @property
    def _index_sampler(self) -> Iterable[Any]:
        return self.sampler if self.batch_sampler is None else self.batch_sampler

    def __len__(self) -> int:
        """Number of batches. TypeError if the dataset or the sampler has no length."""
        if not isinstance(self.dataset, IterableDataset):
            return length(self._index_sampler)
        samples = length(self.dataset)
        if self.batch_size is None:
            return samples
        return samples // self.batch_size if self.drop_last else -(-samples // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        if self.num_workers:
            return _ThreadedEpoch(self)
        if self.timeout:
            raise AssertionError(
                f"timeout={self.timeout} needs num_workers > 0: without a worker there is nobody"
                " to wait for"
            )
        return _Epoch(self)

    def _hire(self, seed: int) -> Workers:
        """The worker threads of one epoch, or of all epochs if they are persistent."""
        if self._workers is not None:
            return self._workers
        count = 1 if isinstance(self.dataset, IterableDataset) else self.num_workers
        workers = Workers(count, self.worker_init_fn, seed, self.dataset)
        if self.persistent_workers:
            self._workers = workers
        return workers


def _default_sampler(
    dataset: Dataset[Any], shuffle: bool, generator: Generator | None
) -> Iterable[Any]:
    if isinstance(dataset, IterableDataset):
        return itertools.repeat(None)  # the stream decides when it ends
    if shuffle:
        return RandomSampler(dataset, generator=generator)  # type: ignore[arg-type]
    return SequentialSampler(dataset)  # type: ignore[arg-type]


class _Fetcher:
    """Makes batch ``number`` of an epoch out of what the index sampler gave for it."""

    def __init__(self, loader: DataLoader[Any], seed: int) -> None:
        self.dataset = loader.dataset
        self.collate_fn = loader.collate_fn
        self.pin_memory = loader.pin_memory
        self.batched = loader.batch_sampler is not None
        self.drop_last = loader.drop_last
        self.seed = seed
        self.stream: Iterator[Any] | None = None

    def __call__(self, number: int, index: Any) -> Any:
        with use_generator(Generator().manual_seed((self.seed + number) % 2**63)):
            if isinstance(self.dataset, IterableDataset):
                samples = self._next_samples(index)
            elif self.batched:
                samples = batch_getter(self.dataset)(index)
            else:
                samples = self.dataset[index]
            batch = self.collate_fn(samples)
            return pinned(batch) if self.pin_memory else batch

    def _next_samples(self, index: Any) -> Any:
        """The next sample or batch of a stream; StopIteration after its last."""
        if self.stream is None:
            self.stream = iter(self.dataset)
        if not self.batched:
            return next(self.stream)
        samples = list(itertools.islice(self.stream, len(index)))
        if not samples or (self.drop_last and len(samples) < len(index)):
            raise StopIteration
        return samples


class _Epoch:
    """One pass over a DataLoader, made in the thread that asks for it."""

    def __init__(self, loader: DataLoader[Any]) -> None:
        self._index_sampler = loader._index_sampler
        self._indices = iter(self._index_sampler)
        self._seed = draw_seed(loader.generator)
        self._fetch = _Fetcher(loader, self._seed)
        self._numbers = itertools.count()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __len__(self) -> int:
        return length(self._index_sampler)

    def __next__(self) -> Any:
        index = next(self._indices)
        return self._fetch(next(self._numbers), index)


class _ThreadedEpoch(_Epoch):
    """One pass over a DataLoader, made ahead of time by its workers.

    The sampler runs here, in the consumer's thread; the workers get (number, index) pairs and may
    finish them in any order, and their futures are waited for in the order of submission.
    """

    def __init__(self, loader: DataLoader[Any]) -> None:
        super().__init__(loader)
        self._timeout = loader.timeout
        self._ahead = loader.num_workers * max(1, loader.prefetch_factor or 0)
        self._pending: deque[Future[Any]] = deque()
        self._workers: Workers | None = loader._hire(self._seed)
        weakref.finalize(self, _cancel, self._pending)

    def _submit(self) -> None:
        while self._workers is not None and len(self._pending) < self._ahead:
            try:
                index = next(self._indices)
            except StopIteration:
                self._workers = None
            else:
                job = self._workers.submit(self._fetch, next(self._numbers), index)
                self._pending.append(job)

    def __next__(self) -> Any:
        self._submit()
        if not self._pending:
            raise StopIteration
        future = self._pending[0]
        try:
            batch = future.result(self._timeout or None)
        except TimeoutError:
            if future.done():  # then it is the dataset's own
                self._pending.popleft()
                raise
            raise RuntimeError(
                f"DataLoader timed out after {self._timeout} seconds: a batch takes longer than"
                " that to load; raise timeout, or look for what blocks in the dataset"
            ) from None
        except StopIteration:
            self._workers = None  # the batches still pending find the stream's end, too
            raise
        except BaseException:
            if future.done():
                self._pending.popleft()
            raise
        finally:
            del future  # its exception's traceback holds this frame; a cycle would keep workers
        self._pending.popleft()
        self._submit()
        return batch


def _cancel(pending: deque[Future[Any]]) -> None:
    while pending:
        pending.pop().cancel()
