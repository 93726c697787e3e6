"""bfloat16 tensors beside PyTorch's: what they are, how they print, where they go and come from.

What ops compute of them is in ``test_cases.py``, promotion in ``test_promotion.py``, files in
``serialization/``.
"""

from __future__ import annotations

import copy
import pickle
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch as pytorch
from hypothesis import given
from hypothesis import strategies as st

import minitorch_cnn as torch
from minitorch_cnn import Tensor, nn
from minitorch_cnn.kernels import backend

from .oracle import assert_same

VALUES = [0.0, -0.0, 1.0, -2.5, 3.14159, 1e38, 1e-40, float("inf"), float("-inf"), float("nan")]


def _both(values: Any) -> tuple[Tensor, pytorch.Tensor]:
    return (
        torch.tensor(values, dtype=torch.bfloat16),
        pytorch.tensor(values, dtype=pytorch.bfloat16),
    )


@given(st.lists(st.floats(width=32), max_size=20))
def test_rounding_is_pytorchs(values: list[float]) -> None:
    ours, theirs = _both(values)
    assert_same(ours, theirs)
    assert_same(ours.float(), theirs.float())
    assert_same(torch.tensor(values).bfloat16(), pytorch.tensor(values).bfloat16())


@pytest.mark.parametrize("to", ["float16", "float64", "int64", "uint8", "bool"])
def test_casts_are_pytorchs(to: str) -> None:
    ours, theirs = _both([0.0, 1.5, 2.75, 100.0])
    assert_same(ours.to(getattr(torch, to)), theirs.to(getattr(pytorch, to)))
    numbers = [0, 1, 2, 200]
    assert_same(
        torch.tensor(numbers).to(getattr(torch, to)).bfloat16(),
        pytorch.tensor(numbers).to(getattr(pytorch, to)).bfloat16(),
    )


@pytest.mark.parametrize("values", [VALUES, [1.0, 2.0], [[0.5, 1e5]], 3.14159, []])
def test_it_prints_as_in_pytorch(values: Any) -> None:
    ours, theirs = _both(values)
    assert repr(ours) == repr(theirs)
    assert str(ours.tolist()) == str(theirs.tolist())


def test_what_is_said_of_it() -> None:
    ours, theirs = torch.finfo(torch.bfloat16), pytorch.finfo(pytorch.bfloat16)
    for name in ("bits", "eps", "max", "min", "tiny", "smallest_normal", "dtype"):
        assert getattr(ours, name) == getattr(theirs, name)
    x, y = _both([1.0])
    for ask in ("element_size", "is_floating_point", "is_signed", "type", "nelement"):
        assert getattr(x, ask)() == getattr(y, ask)()
    assert str(x.dtype) == "torch.bfloat16"
    assert pickle.loads(pickle.dumps(torch.bfloat16)) is torch.bfloat16
    assert isinstance(x, torch.BFloat16Tensor)


def test_numpy_and_back_is_the_same_memory() -> None:
    x = torch.ones(3, dtype=torch.bfloat16)
    array = x.numpy()
    assert array.dtype == ml_dtypes.bfloat16
    array[0] = 5
    back = torch.from_numpy(array)
    back[1] = 7
    assert x.tolist() == [5, 7, 1]
    assert np.asarray(x).dtype == ml_dtypes.bfloat16
    assert torch.tensor(array).dtype == torch.bfloat16


def test_copies_keep_the_dtype() -> None:
    x = torch.randn(4, 5, dtype=torch.bfloat16)
    loader = torch.utils.data.DataLoader(list(x), batch_size=4)
    for y in (copy.deepcopy(x), pickle.loads(pickle.dumps(x)), x.clone(), next(iter(loader))):
        assert y.dtype == torch.bfloat16
        assert torch.equal(x, y)
        assert (y * 1.5).dtype == torch.bfloat16


def test_views_and_in_place_methods() -> None:
    x, y = _both([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    for t in (x, y):
        t[0].mul_(1.5)
        t.T[2] += 1
        t[t > 6] = 0.1
        t.view(-1)[1:3].add_(100.3)
    assert_same(x, y)
    with pytest.raises(RuntimeError, match="can't be cast"):
        torch.ones(2, dtype=torch.int64).add_(x[0, :2])


def test_large_arrays() -> None:
    """Their memory is the pool's."""
    x = torch.ones(1 << 19, dtype=torch.bfloat16, requires_grad=True)
    y = x.reshape(2, -1)
    (y.sum() * 2).backward()
    assert x.grad.dtype == torch.bfloat16
    assert bool((x.grad == 2).all())
    copied = backend.copy(x.grad.numpy())
    assert copied.dtype == ml_dtypes.bfloat16
    assert (copied == 2).all()


@pytest.mark.parametrize("shape", [(), (1,), (3, 4)])
def test_gradients_are_pytorchs(shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).standard_normal(shape).tolist()
    results = []
    for module, x in zip((torch, pytorch), _both(values), strict=True):
        x.requires_grad_()
        y = (x * 1.5 + x.exp()).float() * x  # float32, and back into bfloat16
        y.sum().backward()
        assert str(y.dtype) == "torch.float32", module
        results.append(x.grad)
    np.testing.assert_allclose(
        results[0].float().numpy(), results[1].float().numpy(), rtol=2**-6, atol=2**-7
    )


def test_an_op_is_rounded_once() -> None:
    """256 + 1 is 256 in bfloat16, again and again; a sum is not."""
    x = torch.ones(512, dtype=torch.bfloat16)
    assert x.sum().item() == 512
    assert (x.cumsum(0)[-1].item(), x.mean().item(), (x @ x).item()) == (512, 1, 512)
    table = torch.ones(1, 1, dtype=torch.bfloat16, requires_grad=True)
    nn.functional.embedding(torch.zeros(400, dtype=torch.int64), table).sum().backward()
    assert table.grad.item() == 400


def test_a_network_is_trained_as_in_float32() -> None:
    losses = {}
    for dtype in (torch.float32, torch.bfloat16):
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(36, 3),
        ).to(dtype)  # fmt: skip
        optimizer = torch.optim.Adam(model.parameters(), 0.01)
        x = torch.randn(12, 1, 8, 8).to(dtype)
        labels = torch.arange(12) % 3
        losses[dtype] = []
        for _ in range(10):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), labels)
            loss.backward()
            optimizer.step()
            losses[dtype].append(loss.item())
        assert all(v.dtype == dtype for v in model.state_dict().values() if v.is_floating_point())
    np.testing.assert_allclose(losses[torch.bfloat16], losses[torch.float32], rtol=0.05)
    other = nn.BatchNorm2d(4)
    other.load_state_dict(model[1].state_dict())
    assert other.weight.dtype == torch.float32
    assert nn.Linear(2, 2).bfloat16().half().float().weight.dtype == torch.float32


def test_the_default_dtype_may_be_bfloat16() -> None:
    try:
        torch.set_default_dtype(torch.bfloat16)
        assert torch.tensor([1.0, 2.0]).dtype == torch.bfloat16
        assert (torch.arange(3) / 2).dtype == torch.bfloat16
        assert nn.Linear(2, 3)(torch.rand(4, 2)).dtype == torch.bfloat16
    finally:
        torch.set_default_dtype(torch.float32)


def test_random_numbers_lie_in_their_range() -> None:
    x = torch.rand(2000, dtype=torch.bfloat16)
    assert 0 <= x.min().item() <= x.max().item() < 1
    y = torch.empty(2000, dtype=torch.bfloat16).uniform_(-1, 2)
    assert -1 <= y.min().item() < -0.9
    assert 1.9 < y.max().item() < 2
    assert torch.empty(500, dtype=torch.bfloat16).exponential_().min().item() > 0
    integers = torch.empty(500, dtype=torch.bfloat16).random_()
    assert 0 <= integers.min().item() <= integers.max().item() <= 256
    nn.init.kaiming_uniform_(torch.empty(3, 4, dtype=torch.bfloat16))
