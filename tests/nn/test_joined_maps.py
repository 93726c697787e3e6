"""Maps that grow in one place: the same as torch.cat, and what later ones may not do to earlier."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import minitorch_cnn as ours
from minitorch_cnn import nn
from minitorch_cnn.nn.modules.joined_maps import JoinedMaps


def block(torch: Any, join: Any, given: list[np.ndarray], gy: np.ndarray) -> list[np.ndarray]:
    """Each step reads what was joined so far, twice, as a layer of a DenseNet does."""
    tensors = [torch.from_numpy(x).requires_grad_() for x in given]
    first, *more = tensors
    y = join(first, [lambda maps, x=x: x * maps.mean() + maps.sum() / 8 for x in more])
    y.backward(torch.from_numpy(gy))
    return [t.detach().numpy() for t in (y, *(t.grad for t in tensors))]


def join_ours(first: Any, steps: list[Any], more: int = 9) -> Any:
    joined = JoinedMaps(first, more)
    for step in steps:
        joined.append(step(joined.maps))
    return joined.maps


def join_theirs(first: Any, steps: list[Any]) -> Any:
    for step in steps:
        first = torch.cat([first, step(first)], 1)
    return first


@given(data=st.data())
def test_equals_pytorch(data: st.DataObject) -> None:
    N, H, W = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4)))
    channels = data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=4))
    more = data.draw(st.sampled_from([9, 3, 0]))  # too few: joined as torch.cat does
    rng = np.random.default_rng(sum(channels))
    given = [rng.standard_normal((N, C, H, W)) for C in channels]
    gy = rng.standard_normal((N, sum(channels), H, W))
    found = block(ours, lambda *args: join_ours(*args, more), given, gy)
    for a, b in zip(found, block(torch, join_theirs, given, gy), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_each_map_is_copied_once() -> None:
    joined = JoinedMaps(ours.ones(2, 1, 3, 3), 2)
    joined.append(ours.full((2, 1, 3, 3), 2.0))
    before = joined.maps
    joined.append(ours.full((2, 1, 3, 3), 3.0))
    assert before.shape == (2, 2, 3, 3)
    assert np.shares_memory(before.array, joined.maps.array)
    assert joined.maps[0, :, 0, 0].tolist() == [1, 2, 3]


def test_other_dtypes_and_shapes_are_joined_as_by_cat() -> None:
    half = JoinedMaps(ours.ones(1, 1, 2, 2, dtype=ours.float16), 2)
    half.append(ours.ones(1, 2, 2, 2, dtype=ours.float16))
    assert half.maps.dtype == ours.float16
    assert half.maps.shape == (1, 3, 2, 2)
    mixed = JoinedMaps(ours.ones(1, 1, 2, 2), 2)
    mixed.append(ours.ones(1, 1, 2, 2, dtype=ours.float64))
    assert mixed.maps.dtype == ours.float64
    flat = JoinedMaps(ours.ones(1, 1), 2)
    flat.append(ours.ones(1, 1))
    assert flat.maps.shape == (1, 2)
    with pytest.raises(RuntimeError, match=r"cat: Sizes of tensors must match except in dim.* 1"):
        JoinedMaps(ours.ones(1, 1, 2, 2), 2).append(ours.ones(1, 1, 2, 3))


def test_writing_to_maps_that_a_graph_has_saved_is_noticed() -> None:
    norm = nn.BatchNorm2d(2)
    joined = JoinedMaps(ours.randn(2, 1, 3, 3), 2)
    joined.append(ours.randn(2, 1, 3, 3))
    new = norm(joined.maps)
    joined.append(new[:, :1])
    joined.maps.mul_(2)  # in PyTorch, another array than the one that norm has saved
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        new.sum().backward()
