"""Data sets, samplers, collating and the DataLoader, against torch.utils.data where it answers."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterator
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torch.utils.data as theirs
from hypothesis import given
from hypothesis import strategies as st

import minitorch_cnn.utils.data as ours
from minitorch_cnn.random import (
    Generator,
    default_generator,
    get_rng_state,
    manual_seed,
    set_rng_state,
)
from minitorch_cnn.tensor import Tensor


class Point(NamedTuple):
    x: Any
    y: Any


def tensor(values: Any) -> Tensor:
    return Tensor._wrap(np.array(values))


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


class Noisy(Squares):
    """Samples that draw from the default generator, as random transforms do."""

    def __getitem__(self, index: int) -> tuple[int, float]:
        time.sleep(0.0005 * (index % 3))  # so that threads overtake each other
        return index, float(default_generator.numpy.random())


class Stream(ours.IterableDataset):
    def __init__(self, n: int) -> None:
        self.n = n

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.n))

    def __len__(self) -> int:
        return self.n


def workers_alive() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("DataLoader worker")]


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)
    return condition()


# Samplers


@given(n=st.integers(0, 30), size=st.integers(1, 9), drop_last=st.booleans())
def test_batches_of_indices_are_pytorchs(n: int, size: int, drop_last: bool) -> None:
    mine = ours.BatchSampler(ours.SequentialSampler(range(n)), size, drop_last)
    other = theirs.BatchSampler(theirs.SequentialSampler(range(n)), size, drop_last)
    assert list(mine) == list(other)
    assert len(mine) == len(other) == len(list(mine))


@given(n=st.integers(1, 20), num_samples=st.integers(1, 50) | st.none(), replacement=st.booleans())
def test_random_sampler_draws_whole_permutations(
    n: int, num_samples: int | None, replacement: bool
) -> None:
    sampler = ours.RandomSampler(range(n), replacement, num_samples)
    drawn = list(sampler)
    assert len(drawn) == len(sampler) == (num_samples or n)
    assert set(drawn) <= set(range(n))
    if not replacement:
        for start in range(0, len(drawn), n):
            chunk = drawn[start : start + n]
            assert len(set(chunk)) == len(chunk)


def test_random_samplers_repeat_after_manual_seed_and_differ_between_epochs() -> None:
    samplers: list[Any] = [
        ours.RandomSampler(range(50)),
        ours.RandomSampler(range(50), replacement=True),
        ours.SubsetRandomSampler(range(100, 150)),
        ours.WeightedRandomSampler([1.0] * 50, 50),
    ]
    for sampler in samplers:
        manual_seed(3)
        first, second = list(sampler), list(sampler)
        manual_seed(3)
        assert [list(sampler), list(sampler)] == [first, second]
        assert first != second


def test_random_sampler_with_its_own_generator_leaves_the_default_one_alone() -> None:
    before = get_rng_state().array.copy()
    a = list(ours.RandomSampler(range(50), generator=Generator().manual_seed(1)))
    b = list(ours.RandomSampler(range(50), generator=Generator().manual_seed(1)))
    assert a == b
    assert (get_rng_state().array == before).all()


def test_subset_random_sampler_gives_each_index_once() -> None:
    assert sorted(ours.SubsetRandomSampler([5, 9, 2])) == [2, 5, 9]


def test_weighted_sampler_follows_its_weights() -> None:
    manual_seed(0)
    drawn = np.bincount(list(ours.WeightedRandomSampler([1.0, 0.0, 3.0], 20000)), minlength=3)
    assert drawn[1] == 0
    # Binomial: 5000 expected, standard deviation 61.
    assert abs(drawn[0] - 5000) < 5 * 61
    once = list(ours.WeightedRandomSampler(tensor([0.1, 0.2, 0.0, 5.0]), 4, replacement=False))
    assert sorted(once[:3]) == [0, 1, 3]
    assert once[3] == 2
    pairs = ours.WeightedRandomSampler([1.0, 3.0], 2, replacement=False)
    first = sum(next(iter(pairs)) for _ in range(2000))
    assert abs(first - 1500) < 5 * 19


@pytest.mark.parametrize(
    "make",
    [
        lambda data: data.RandomSampler(range(5), replacement=1),
        lambda data: data.RandomSampler(range(5), num_samples=0),
        lambda data: data.RandomSampler(range(5), num_samples=2.0),
        lambda data: data.RandomSampler([]),
        lambda data: data.WeightedRandomSampler([1.0], 0),
        lambda data: data.WeightedRandomSampler([1.0], True),
        lambda data: data.WeightedRandomSampler([1.0], 1, replacement=0),
        lambda data: data.WeightedRandomSampler([[1.0]], 1),
        lambda data: list(data.WeightedRandomSampler([-1.0, 2.0], 1)),
        lambda data: list(data.WeightedRandomSampler([float("nan")], 1)),
        lambda data: list(data.WeightedRandomSampler([0.0, 0.0], 1)),
        lambda data: list(data.WeightedRandomSampler([0.0, 1.0], 3, replacement=False)),
        lambda data: data.BatchSampler(range(5), 0, False),
        lambda data: data.BatchSampler(range(5), True, False),
        lambda data: data.BatchSampler(range(5), 2.0, False),
        lambda data: data.BatchSampler(range(5), 2, 0),
    ],
)
def test_samplers_refuse_what_pytorch_refuses(make: Callable[[Any], Any]) -> None:
    expected = outcome(lambda: make(theirs))
    assert isinstance(expected, type)
    assert outcome(lambda: make(ours)) is expected


# Collating

BATCHES: dict[str, Callable[[Any], Any]] = {
    "tensors": lambda t: [t([1.0, 2.0]), t([3.0, 4.0])],
    "0-d tensors": lambda t: [t(1), t(2)],
    "empty tensors": lambda t: [t(np.zeros((0, 3))), t(np.zeros((0, 3)))],
    "tensors of mixed types": lambda t: [t(np.float32(1)), t(np.float64(2))],
    "arrays": lambda t: [np.array([1, 2], np.int16), np.array([3, 4], np.int16)],
    "numpy float64": lambda t: [np.float64(1), np.float64(2)],
    "numpy float32": lambda t: [np.float32(1)],
    "numpy bool": lambda t: [np.bool_(True), np.bool_(False)],
    "0-d arrays": lambda t: [np.array(1), np.array(2)],
    "ints": lambda t: [1, 2, 3],
    "bools": lambda t: [True, False],
    "bools, then ints": lambda t: [True, 2],
    "ints, then floats": lambda t: [1, 2.5],
    "floats": lambda t: [1.0, 2, 3.0],
    "strings": lambda t: ["a", "b"],
    "bytes": lambda t: [b"a", b"b"],
    "tuples": lambda t: [(t([1.0]), 2, "x"), (t([3.0]), 4, "y")],
    "lists": lambda t: [[1, 2.0], [3, 4.0]],
    "lists of strings": lambda t: [["a", "b"], ["c", "d"]],
    "dicts": lambda t: [{"x": 1, "y": t([1])}, {"x": 2, "y": t([2])}],
    "ordered dicts": lambda t: [OrderedDict(b=1, a=2), OrderedDict(b=3, a=4)],
    "immutable mappings": lambda t: [MappingProxyType({"a": 1}), MappingProxyType({"a": 2})],
    "namedtuples": lambda t: [Point(1, t([2.0])), Point(3, t([4.0]))],
    "ranges": lambda t: [range(2), range(2)],
    "nested": lambda t: [(1, {"a": [t(1), (2.0, "s")]}), (3, {"a": [t(4), (5.0, "t")]})],
    # Refused
    "lengths differ": lambda t: [[1, 2], [3]],
    "shapes differ": lambda t: [t([1, 2]), t([3])],
    "array shapes differ": lambda t: [np.zeros(2), np.zeros(3)],
    "objects": lambda t: [object(), object()],
    "None": lambda t: [None, None],
    "arrays of strings": lambda t: [np.array(["a"]), np.array(["b"])],
    "arrays of objects": lambda t: [np.array([None]), np.array([None])],
    "keys differ": lambda t: [{"a": 1}, {"b": 2}],
}


@pytest.mark.parametrize("name", BATCHES)
def test_default_collate_is_pytorchs(name: str) -> None:
    expected = outcome(lambda: theirs.default_collate(BATCHES[name](torch_tensor)))
    assert outcome(lambda: ours.default_collate(BATCHES[name](tensor))) == expected


@pytest.mark.parametrize("name", BATCHES)
def test_default_convert_is_pytorchs(name: str) -> None:
    batch = BATCHES[name]
    for i in range(len(batch(tensor))):
        if name in ("objects", "arrays of strings", "arrays of objects"):
            sample = batch(tensor)[i]
            assert ours.default_convert(sample) is sample
        else:
            expected = outcome(lambda i=i: theirs.default_convert(batch(torch_tensor)[i]))
            assert outcome(lambda i=i: ours.default_convert(batch(tensor)[i])) == expected


def torch_tensor(values: Any) -> torch.Tensor:
    return torch.from_numpy(np.array(values))


def test_collate_copies() -> None:
    sample = np.zeros(3, np.float32)
    batch = ours.default_collate([sample, sample])
    sample[:] = 1
    assert batch.array.tolist() == [[0.0] * 3] * 2


def test_collate_takes_other_byte_orders() -> None:
    batch = ours.default_collate([np.array([1, 2], ">i4"), np.array([3, 4], ">i4")])
    assert batch.array.dtype == np.int32
    assert batch.array.tolist() == [[1, 2], [3, 4]]


def test_collate_errors_say_what_to_do() -> None:
    from PIL import Image

    with pytest.raises(RuntimeError, match=r"\[3, 4\] at entry 0 and \[3, 5\] at entry 1.*Resize"):
        ours.default_collate([tensor(np.zeros((3, 4))), tensor(np.zeros((3, 5)))])
    with pytest.raises(TypeError, match=r"PIL.Image.Image.*ToTensor"):
        ours.default_collate([Image.new("L", (2, 2))])


def test_collate_knows_registered_types() -> None:
    class Text(str):
        __slots__ = ()

    def join(batch: Any, *, collate_fn_map: Any = None) -> str:
        return "+".join(batch)

    mapping = {**ours.default_collate_fn_map, Text: join}
    batch = [(1, Text("a")), (2, Text("b"))]
    result = ours.collate(batch, collate_fn_map=mapping)
    assert plain(result) == [("torch.int64", [1, 2]), "a+b"]


# Data sets


def test_tensor_dataset_batches_are_its_samples() -> None:
    x, y = tensor(np.arange(24.0).reshape(6, 4)), tensor(np.arange(6))
    dataset = ours.TensorDataset(x, y)
    assert len(dataset) == 6
    rows = dataset.__getitems__([4, 0, 4])
    assert plain(rows) == [
        (("torch.float64", x.array[i].tolist()), ("torch.int64", i)) for i in (4, 0, 4)
    ]
    assert all(np.shares_memory(row[0].array, x.array) for row in rows)  # as dataset[i] does


def test_batches_of_tensors_with_gradients_keep_their_history() -> None:
    x = tensor(np.arange(6.0).reshape(3, 2))
    x.requires_grad = True
    ((batch,),) = ours.DataLoader(ours.TensorDataset(x), batch_sampler=[[2, 0, 2]])
    (batch * batch).sum().backward()
    assert x.grad is not None
    assert x.grad.array.tolist() == [[0.0, 2.0], [0.0, 0.0], [16.0, 20.0]]


def test_tensor_dataset_needs_equal_first_sizes() -> None:
    with pytest.raises(AssertionError, match=r"\[3\], \[4, 2\]"):
        ours.TensorDataset(tensor(np.zeros(3)), tensor(np.zeros((4, 2))))


@pytest.mark.parametrize("index", [0, 2, 3, 6, -1, -7, 7, -8])
def test_concat_dataset_is_pytorchs(index: int) -> None:
    parts = [range(3), [], range(10, 14)]
    mine, other = ours.ConcatDataset(parts), theirs.ConcatDataset(parts)
    assert len(mine) == len(other)
    assert outcome(lambda: mine[index]) == outcome(lambda: other[index])


def test_added_datasets_follow_each_other() -> None:
    assert [*(Squares(3) + Squares(2))] == [0, 1, 4, 0, 1]
    chain = Stream(3) + Stream(2)
    assert list(chain) == [0, 1, 2, 0, 1]
    assert len(chain) == 5


@pytest.mark.parametrize(
    "make",
    [
        lambda data: data.ConcatDataset([]),
        lambda data: data.StackDataset(),
        lambda data: data.StackDataset([1], a=[2]),
        lambda data: data.StackDataset([1], [2, 3]),
        lambda data: list(data.ChainDataset([[1]])),
        lambda data: data.random_split(range(5), [2, 2]),
        lambda data: data.random_split(range(5), [0.5, 0.4]),
        lambda data: data.random_split(range(5), [1.5, -0.5]),
        lambda data: data.Dataset()[0],
    ],
)
def test_datasets_refuse_what_pytorch_refuses(make: Callable[[Any], Any]) -> None:
    expected = outcome(lambda: make(theirs))
    assert isinstance(expected, type)
    assert outcome(lambda: make(ours)) is expected


def test_stack_dataset_by_position_and_by_name() -> None:
    both = ours.StackDataset(Squares(3), [7, 8, 9])
    assert both[2] == (4, 9)
    assert both.__getitems__([1, 0]) == [(1, 8), (0, 7)]
    named = ours.StackDataset(a=Squares(3), b=[7, 8, 9])
    assert named.__getitems__([1]) == [{"a": 1, "b": 8}] == [named[1]]


@given(n=st.integers(1, 40), cuts=st.lists(st.integers(1, 10), min_size=1, max_size=4))
@pytest.mark.filterwarnings("ignore:Length of split")
def test_random_split_shares_out_as_pytorch_does(n: int, cuts: list[int]) -> None:
    fractions = [cut / sum(cuts) for cut in cuts]  # their sum may pass 1 by rounding: refused
    expected = outcome(lambda: [len(part) for part in theirs.random_split(range(n), fractions)])
    assert (
        outcome(lambda: [len(part) for part in ours.random_split(range(n), fractions)]) == expected
    )
    if isinstance(expected, list):
        parts = ours.random_split(range(n), fractions)
        assert sorted(i for part in parts for i in part) == list(range(n))


def test_random_split_repeats_with_its_generator_and_warns_of_empty_parts() -> None:
    def split() -> list[list[int]]:
        parts = ours.random_split(range(20), [5, 15], Generator().manual_seed(42))
        return [list(part) for part in parts]

    assert split() == split()
    with pytest.warns(UserWarning, match="split at index 1 is 0"):
        ours.random_split(range(1), [0.5, 0.5])


def test_subset_uses_its_datasets_batches() -> None:
    asked: list[list[int]] = []

    class Batched(Squares):
        def __getitems__(self, indices: list[int]) -> list[int]:
            asked.append(indices)
            return [self[i] for i in indices]

    subset = ours.Subset(Batched(10), [9, 7, 5])
    assert [b.array.tolist() for b in ours.DataLoader(subset, 2)] == [[81, 49], [25]]
    assert asked == [[9, 7], [5]]


def test_an_overridden_getitem_is_never_bypassed() -> None:
    class Doubled(ours.TensorDataset):
        def __getitem__(self, index: int) -> Any:
            return tuple(Tensor._wrap(t.array * 2) for t in super().__getitem__(index))

    class Numbered(ours.Subset):
        def __getitem__(self, index: int) -> Any:
            return index, super().__getitem__(index)

    doubled = Doubled(tensor(np.arange(4)))
    numbered = Numbered([5, 6, 7], [2, 0])
    (batch,) = ours.DataLoader(numbered, 2)
    assert plain(batch) == [("torch.int64", [0, 1]), ("torch.int64", [7, 5])]
    (batch,) = ours.DataLoader(doubled, 4)
    assert plain(batch) == [("torch.int64", [0, 2, 4, 6])]


# The DataLoader


@given(
    n=st.integers(0, 23),
    batch_size=st.integers(1, 7) | st.none(),
    drop_last=st.booleans(),
    num_workers=st.integers(0, 3),
)
def test_loader_batches_are_pytorchs(
    n: int, batch_size: int | None, drop_last: bool, num_workers: int
) -> None:
    drop_last = drop_last and batch_size is not None
    mine = ours.DataLoader(Squares(n), batch_size, drop_last=drop_last, num_workers=num_workers)
    other = theirs.DataLoader(Squares(n), batch_size, drop_last=drop_last)
    assert plain(list(mine)) == plain(list(other))
    assert len(mine) == len(other) == len(iter(mine))


@pytest.mark.parametrize(
    "arguments",
    [
        {"num_workers": -1},
        {"timeout": -1},
        {"prefetch_factor": 2},
        {"prefetch_factor": -1, "num_workers": 1},
        {"persistent_workers": True},
        {"sampler": range(3), "shuffle": True},
        {"batch_sampler": [[0]], "batch_size": 2},
        {"batch_sampler": [[0]], "shuffle": True},
        {"batch_sampler": [[0]], "drop_last": True},
        {"batch_size": None, "drop_last": True},
        {"batch_size": 0},
        {"batch_size": 2.5},
        {"drop_last": 1},
    ],
)
def test_loader_refuses_what_pytorch_refuses(arguments: dict[str, Any]) -> None:
    expected = outcome(lambda: theirs.DataLoader(range(5), **arguments))
    assert isinstance(expected, type)
    assert outcome(lambda: ours.DataLoader(range(5), **arguments)) is expected


@pytest.mark.parametrize(
    "arguments", [{"shuffle": True}, {"sampler": range(3)}, {"batch_sampler": [[0]]}]
)
def test_loader_lets_a_stream_decide_its_order(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="IterableDataset: expected unspecified"):
        ours.DataLoader(Stream(3), **arguments)


def test_loader_takes_every_keyword_of_todays_scripts() -> None:
    loader = ours.DataLoader(
        Squares(5), batch_size=2, shuffle=False, sampler=None, batch_sampler=None, num_workers=1,
        collate_fn=None, pin_memory=True, drop_last=False, timeout=5, worker_init_fn=None,
        multiprocessing_context="fork", generator=None, prefetch_factor=4,
        persistent_workers=True, pin_memory_device="", in_order=True,
    )  # fmt: skip
    assert plain(list(loader)) == plain(list(ours.DataLoader(Squares(5), 2)))
    assert (loader.batch_size, loader.prefetch_factor, loader.num_workers) == (2, 4, 1)
    with pytest.raises(ValueError, match="batch_size attribute should not be set"):
        loader.batch_size = 3


def test_loader_takes_samplers_batch_samplers_and_collate_functions() -> None:
    data = Squares(10)
    assert plain(list(ours.DataLoader(data, 2, sampler=[3, 1, 2]))) == [
        ("torch.int64", [9, 1]), ("torch.int64", [4]),
    ]  # fmt: skip
    assert plain(list(ours.DataLoader(data, batch_sampler=[[5], [1, 2]]))) == [
        ("torch.int64", [25]), ("torch.int64", [1, 4]),
    ]  # fmt: skip
    assert list(ours.DataLoader(data, 4, collate_fn=sum)) == [14, 126, 145]
    assert next(iter(ours.DataLoader([np.zeros(2)], batch_size=None))).array.shape == (2,)


def test_shuffled_epochs_repeat_resume_and_differ() -> None:
    loader = ours.DataLoader(Squares(40), 7, shuffle=True)
    manual_seed(5)
    first = plain(list(loader))
    state = get_rng_state()
    second = plain(list(loader))
    set_rng_state(state)
    assert plain(list(loader)) == second
    assert first != second
    manual_seed(5)
    assert plain(list(loader)) == first
    assert sorted(i for _, batch in first for i in batch) == [i * i for i in range(40)]


def test_a_loaders_generator_alone_decides_its_order() -> None:
    def order(seed: int) -> Any:
        generator = Generator().manual_seed(seed)
        return plain(list(ours.DataLoader(Squares(40), 7, shuffle=True, generator=generator)))

    before = get_rng_state().array.copy()
    assert order(1) == order(1) != order(2)
    assert (get_rng_state().array == before).all()


def test_random_numbers_do_not_depend_on_the_number_of_workers() -> None:
    def epochs(num_workers: int) -> Any:
        manual_seed(11)
        loader = ours.DataLoader(Noisy(30), 4, shuffle=True, num_workers=num_workers)
        return [plain(list(loader)), plain(list(loader)), float(default_generator.numpy.random())]

    expected = epochs(0)
    assert expected[0] != expected[1]
    drawn = [value for batch in expected[0] for value in batch[1][1]]
    assert len(set(drawn)) == 30
    for num_workers in (1, 2, 4):
        assert epochs(num_workers) == expected


def test_manual_seed_inside_a_dataset_stays_inside_its_batch() -> None:
    class Seeding(Squares):
        def __getitem__(self, index: int) -> float:
            manual_seed(index)
            return float(default_generator.numpy.random())

    manual_seed(1)
    list(ours.DataLoader(Squares(4)))
    expected = float(default_generator.numpy.random())
    manual_seed(1)
    list(ours.DataLoader(Seeding(4)))
    assert float(default_generator.numpy.random()) == expected


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_exception_reaches_the_consumer_at_its_batch(num_workers: int) -> None:
    iterator = iter(ours.DataLoader(Squares(10, bad=5), 2, num_workers=num_workers))
    assert plain([next(iterator), next(iterator)]) == [
        ("torch.int64", [0, 1]), ("torch.int64", [4, 9]),
    ]  # fmt: skip
    with pytest.raises(KeyError, match="no sample 5") as info:
        next(iterator)
    text = "".join(traceback.format_exception(info.value))
    assert "in fail" in text
    assert ("raised in DataLoader worker" in text) == bool(num_workers)
    assert plain(list(iterator)) == [("torch.int64", [36, 49]), ("torch.int64", [64, 81])]


def test_an_exception_in_the_sampler_or_collate_reaches_the_consumer() -> None:
    def sampler() -> Iterator[int]:
        yield 0
        raise LookupError("sampler")

    iterator = iter(ours.DataLoader(Squares(5), sampler=sampler(), num_workers=1))
    with pytest.raises(LookupError, match="sampler"):
        list(iterator)

    def collate(samples: list[int]) -> Any:
        raise ArithmeticError("collate")

    with pytest.raises(ArithmeticError, match="collate"):
        next(iter(ours.DataLoader(Squares(5), collate_fn=collate, num_workers=2)))


def test_workers_end_after_an_epoch_a_break_and_an_exception() -> None:
    assert wait_until(lambda: not workers_alive())
    for _ in ours.DataLoader(Squares(50), 2, num_workers=3):
        break
    assert wait_until(lambda: not workers_alive())
    list(ours.DataLoader(Squares(50), 2, num_workers=3))
    assert wait_until(lambda: not workers_alive())
    with pytest.raises(KeyError):
        list(ours.DataLoader(Squares(50, bad=20), 2, num_workers=3))
    gc.collect()
    assert wait_until(lambda: not workers_alive())


def test_a_break_cancels_what_was_not_begun() -> None:
    class Counting(Squares):
        seen = 0

        def __getitem__(self, index: int) -> int:
            Counting.seen += 1
            time.sleep(0.01)
            return index

    for _ in ours.DataLoader(Counting(100), num_workers=1, prefetch_factor=20):
        break
    assert wait_until(lambda: not workers_alive())
    assert Counting.seen <= 4


def test_workers_load_ahead_but_no_further_than_asked() -> None:
    loaded: list[int] = []

    class Counting(Squares):
        def __getitem__(self, index: int) -> int:
            loaded.append(index)
            return index

    iterator = iter(ours.DataLoader(Counting(100), num_workers=2, prefetch_factor=3))
    next(iterator)
    assert wait_until(lambda: len(loaded) == 7)  # the one taken, and 2 * 3 ahead
    time.sleep(0.05)
    assert len(loaded) == 7


def test_a_batch_that_takes_too_long_is_a_timeout() -> None:
    release = threading.Event()

    class Stuck(Squares):
        def __getitem__(self, index: int) -> int:
            if index == 1:
                release.wait(10)
            return index

    iterator = iter(ours.DataLoader(Stuck(3), num_workers=1, timeout=0.2))
    next(iterator)
    with pytest.raises(RuntimeError, match=r"timed out after 0\.2 seconds"):
        next(iterator)
    release.set()
    assert plain(list(iterator)) == [("torch.int64", [1]), ("torch.int64", [2])]
    with pytest.raises(AssertionError, match="num_workers > 0"):
        iter(ours.DataLoader(Squares(3), timeout=1))


def test_worker_init_fn_runs_in_every_worker_and_may_fail() -> None:
    seen: list[Any] = []

    def init(worker_id: int) -> None:
        info = ours.get_worker_info()
        assert info is not None
        assert info.id == worker_id
        seen.append((worker_id, info.num_workers, info.seed))

    data = Squares(6)
    loader = ours.DataLoader(data, num_workers=3, worker_init_fn=init)
    list(loader)
    assert wait_until(lambda: len(seen) == 3)
    assert sorted(s[:2] for s in seen) == [(0, 3), (1, 3), (2, 3)]
    assert len({s[2] for s in seen}) == 3
    assert ours.get_worker_info() is None

    def failing(worker_id: int) -> None:
        raise OSError("no disk")

    iterator = iter(ours.DataLoader(data, num_workers=1, worker_init_fn=failing))
    with pytest.raises(OSError, match="no disk"):
        next(iterator)
    with pytest.raises(RuntimeError, match="worker_init_fn failed"):
        next(iterator)
    del iterator
    gc.collect()
    assert wait_until(lambda: not workers_alive())


def test_persistent_workers_stay_the_same_threads() -> None:
    class Named(Squares):
        def __getitem__(self, index: int) -> int:
            time.sleep(0.002)  # long enough for both workers to have some
            return threading.get_ident()

    loader = ours.DataLoader(Named(20), num_workers=2, persistent_workers=True)
    epochs = [{b.array.item() for b in loader} for _ in range(3)]
    assert len(set().union(*epochs)) == 2
    del loader
    gc.collect()
    assert wait_until(lambda: not workers_alive())


@pytest.mark.parametrize("num_workers", [0, 1, 3])
def test_a_stream_gives_each_sample_once_in_order(num_workers: int) -> None:
    def batches(**kwargs: Any) -> Any:
        return plain(list(ours.DataLoader(Stream(7), num_workers=num_workers, **kwargs)))

    def expected(**kwargs: Any) -> Any:
        return plain(list(theirs.DataLoader(TheirStream(), **kwargs)))

    class TheirStream(theirs.IterableDataset):
        def __iter__(self) -> Iterator[int]:
            return iter(range(7))

    for kwargs in [{"batch_size": 3}, {"batch_size": 3, "drop_last": True}, {"batch_size": None}]:
        assert batches(**kwargs) == expected(**kwargs)
    assert len(ours.DataLoader(Stream(7), 3)) == 3
    assert len(ours.DataLoader(Stream(7), 3, drop_last=True)) == 2


def test_a_stream_that_shards_itself_by_worker_is_whole() -> None:
    class Sharded(Stream):
        def __iter__(self) -> Iterator[int]:
            info = ours.get_worker_info()
            first, step = (0, 1) if info is None else (info.id, info.num_workers)
            return iter(range(first, self.n, step))

    loader = ours.DataLoader(Sharded(10), 4, num_workers=3)
    assert [i for batch in loader for i in batch.array] == list(range(10))


def test_two_iterators_of_one_loader_do_not_disturb_each_other() -> None:
    loader = ours.DataLoader(Squares(9), 2, num_workers=2, persistent_workers=True)
    pairs = list(zip(loader, loader))
    assert [plain(a) for a, _ in pairs] == [plain(b) for _, b in pairs]
    assert len(pairs) == 5


@pytest.mark.parametrize("ending", ["", "del iterator", "raise SystemExit(0)"])
def test_a_program_may_end_in_the_middle_of_an_epoch(ending: str) -> None:
    code = f"""if True:
        import hashlib
        from minitorch_cnn.utils.data import DataLoader, Dataset
        class Busy(Dataset):
            def __len__(self): return 1000
            def __getitem__(self, i): return hashlib.sha256(bytes(2_000_000)).hexdigest()
        iterator = iter(DataLoader(Busy(), 4, num_workers=3))
        next(iterator)
        {ending}
    """
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("layer", ["default", "workqueue"])
def test_datasets_may_call_kernels(layer: str) -> None:
    """In several threads, while the main thread does so too: workqueue aborts if unprotected."""
    code = """if True:
        import numpy as np
        from minitorch_cnn.ops.pool import max_pool2d
        from minitorch_cnn.random import default_generator, manual_seed
        from minitorch_cnn.tensor import Tensor
        from minitorch_cnn.utils.data import DataLoader, Dataset
        def pooled(shape):
            x = Tensor._wrap(default_generator.numpy.random(shape, np.float32))
            return max_pool2d(x, kernel_size=2)[0]
        class Pooled(Dataset):
            def __len__(self): return 24
            def __getitem__(self, index): return pooled((3, 96, 96, 4)).array.sum()
        def epoch(num_workers):
            manual_seed(0)
            loader = DataLoader(Pooled(), 2, num_workers=num_workers)
            return [(batch.array.tolist(), pooled((8, 3, 96, 96)).array.sum()) for batch in loader]
        expected = epoch(0)
        assert epoch(1) == expected
        assert epoch(3) == expected
    """
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "NUMBA_THREADING_LAYER": layer},
    )
    assert done.returncode == 0, done.stderr
