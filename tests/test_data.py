"""Data sets, samplers and collating, against torch.utils.data where it answers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
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
    get_rng_state,
    manual_seed,
)
from minitorch_cnn.tensor import Tensor

from .data_common import Squares, Stream, outcome, plain


class Point(NamedTuple):
    x: Any
    y: Any


def tensor(values: Any) -> Tensor:
    return Tensor._wrap(np.array(values))


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
