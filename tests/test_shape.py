"""Shapes, views and joins against PyTorch: results, shared memory, strides, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import minitorch_cnn as mt
from minitorch_cnn.tensor import memory_of

from .oracle import assert_same, compare, outcome
from .strategies import shapes

CALLS = """
x.view(6, 4)
x.view(6, -1)
x.view(-1, -1)
x.view(5, -1)
x.view(5, 5)
x.view(-2, 12)
x.transpose(0, 1).view(6, 4)
x.transpose(1, 2).view(2, 12)
x.view([6, 4])
x.view(t.zeros(6, 4).shape)
x.view()
x.view(2.0, 12)
x.view(size=(6, 4))
x.view_as(t.zeros(4, 6))
e.view(0, -1)
e.view(-1)
e.view(2, -1)
e.view(0, 5)
t.zeros(0, 3).view(-1, 3)
t.zeros(0, 3).view(3, -1)
x.reshape(-1)
x.reshape(())
t.reshape(x, (6, 4))
x.reshape(shape=(6, 4))
x.reshape_as(t.zeros(4, 6))
x.flatten()
x.flatten(1)
x.flatten(1, 0)
x.flatten(0, 5)
x.flatten(-2, -1)
t.tensor(3.).flatten()
x.unflatten(1, (3, 1))
x.unflatten(1, (2, 2))
x.unflatten(2, (-1, 2))
x.unflatten(2, ())
x.unflatten(1, [3, -1, 1])
x.ravel()
x.permute(2, 0, 1)
x.permute((2, 0, 1))
x.permute(0, 1)
x.permute(0, 0, 1)
x.permute(0, 1, 5)
t.permute(x, (2, 0, 1))
t.permute(x, dims=(2, 0, 1))
x.transpose(0, 2)
x.transpose(0, 5)
x.transpose(0)
x.transpose(dim0=0, dim1=1)
x.swapaxes(0, 1)
x.swapdims(0, 1)
t.tensor(1.).transpose(0, -1)
x.t()
x[0].t()
x[0, 0].t()
x.T
x[0].T
x.mT
x[0].H
x.H
x[0, 0].mT
x.movedim(0, 2)
x.movedim((0, 1), (2, 0))
x.movedim((0, 1), (2,))
x.movedim((0, 0), (1, 2))
x.moveaxis(0, 1)
t.zeros(1, 2, 1).squeeze()
t.zeros(1, 2, 1).squeeze(1)
t.zeros(1, 2, 1).squeeze((0, 1))
t.zeros(1, 2, 1).squeeze((0, 0))
t.zeros(1, 2, 1).squeeze(5)
t.tensor(3.).squeeze(0)
t.zeros(1, 2, 1).squeeze(())
x.unsqueeze(0)
x.unsqueeze(-1)
x.unsqueeze(3)
x.unsqueeze(4)
x.unsqueeze()
t.tensor(3.).unsqueeze(0)
t.zeros(1, 3).expand(4, 3)
t.zeros(1, 3).expand(4, 3).stride()
t.zeros(1, 3).expand(4, -1)
t.zeros(3).expand(-1, 3)
t.zeros(2, 3).expand(3)
t.zeros(2, 3).expand(4, 3)
t.zeros(1, 3).expand((4, 3))
t.zeros(1, 3).expand(-2, 3)
t.zeros(1, 3).expand_as(t.zeros(4, 3))
t.zeros(1).expand(0)
t.zeros(2).repeat(3)
t.zeros(2, 3).repeat(3)
t.zeros(2).repeat(-1)
t.zeros(2).repeat((2, 3))
t.tensor(1.).repeat(2, 2)
t.tile(t.zeros(2, 3), (2,))
t.zeros(2, 3).tile(2, 2, 2)
y.repeat_interleave(2)
y.repeat_interleave(2, 1)
y.repeat_interleave(t.tensor([1, 2]), 0)
y.repeat_interleave(t.tensor([1, 2]), 1)
y.repeat_interleave(t.tensor([2]), 1)
y.repeat_interleave(-1)
t.repeat_interleave(t.tensor([1, 2]))
y.repeat_interleave(t.tensor([-1, 2]), 0)
y.repeat_interleave(2, 0, output_size=4)
t.broadcast_to(i, (2, 3))
i.broadcast_to((2, 2))
x.broadcast_to(3)
t.broadcast_tensors(i, t.zeros(2, 1))
t.broadcast_tensors(i, t.zeros(2))
t.broadcast_shapes((2, 1), (3,))
t.broadcast_shapes((2, 1), (3, 4), (5,))
t.cat([x, x])
t.cat((x, x), -1)
t.cat([x, x], dim=1)
t.cat([x, x], axis=1)
t.cat([])
t.cat(x)
t.cat([x, i])
t.cat([x, t.zeros(2, 3, 5)])
t.cat([x, t.zeros(2, 3, 5)], 2)
t.cat([x, e])
t.cat([e, x], 2)
t.cat([e, i])
t.cat([e, e])
t.cat([e, x], 1)
t.cat([x, t.zeros(0, 3)])
t.cat([t.tensor(1.), t.tensor(2.)])
t.cat([x, 3])
t.cat([x], 3)
t.cat([i, t.zeros(2, dtype=t.float64)])
t.cat([i, t.zeros(2, dtype=t.float16)])
t.cat([i.to(t.uint8), i.to(t.int8)])
t.cat([i, i > 1])
t.cat(tensors=[i, i])
t.concat([i, i])
t.concatenate([i, i])
t.stack([i, i], 1)
t.stack([i, i], -1)
t.stack([i, i], 2)
t.stack([i, t.zeros(2)])
t.stack([])
t.stack([i, i.float()])
t.stack(i)
t.stack([t.tensor(1), t.tensor(2)])
t.hstack([i, i])
t.hstack([x, x])
t.hstack([t.tensor(1), i])
t.vstack([i, i])
t.vstack([x, x])
t.dstack([i, i])
t.dstack([y, y])
t.row_stack([i, i])
t.column_stack([i, i])
t.column_stack([i, i.view(3, 1)])
t.atleast_1d(t.tensor(1))
t.atleast_2d(i)
t.atleast_3d(y)
t.atleast_3d([i, t.tensor(1)])
x.chunk(2)
t.arange(7).chunk(3)
t.arange(5).chunk(4)
t.arange(0).chunk(3)
x.chunk(0)
x.chunk(2, 5)
t.tensor(1).chunk(1)
t.arange(7).split(3)
t.arange(7).split([3, 4])
t.arange(7).split([3, 3])
t.arange(7).split([3, -1, 5])
t.arange(7).split(0)
t.arange(0).split(0)
t.arange(7).split(-1)
t.split(t.arange(7), split_size_or_sections=3, dim=0)
t.arange(0).split(2)
t.arange(7).tensor_split(3)
t.arange(7).tensor_split((1, 3))
t.arange(7).tensor_split((5, 3))
t.arange(7).tensor_split(t.tensor([1, 3]))
t.arange(7).tensor_split(0)
x.unbind()
x.unbind(-1)
t.tensor(1).unbind()
x.flip(0)
x.flip(0, 1)
x.flip((0, 0))
x.flip(5)
x.flip()
x.flip(())
t.fliplr(i)
t.flipud(t.tensor(1))
t.fliplr(x)
i.roll(1)
x.roll((1, 2), (0, 1))
x.roll((1, 2), 0)
x.roll((1, 2))
x.roll(1, 5)
t.roll(i, shifts=-1, dims=0)
t.rot90(y)
t.rot90(x, 1, (0, 0))
t.rot90(x, 1, (0,))
t.rot90(i)
x.narrow(1, 1, 2)
x.narrow(1, 2, 2)
x.narrow(1, -1, 1)
x.narrow(1, 0, -1)
x.narrow(1, 4, 0)
x.narrow(1, 3, 0)
x.select(0, -1)
x.select(0, 2)
x.select(5, 0)
t.tensor(1).select(0, 0)
y.diagonal()
x.diagonal(1, 1, 2)
x.diagonal(0, 0, 0)
x.diagonal(offset=5)
i.diagonal()
t.diag(i, 1)
t.diag(y, -1)
t.diag(x)
t.diag_embed(i)
t.diag_embed(y, 1, 0, 2)
t.tril(t.ones(3))
t.tril(y, diagonal=1.5)
x.unfold(2, 2, 1)
x.unfold(2, 2, 2)
x.unfold(2, 5, 1)
x.unfold(2, 2, 0)
x.unfold(2, 0, 1)
x.unfold(2, -1, 1)
t.tensor(1.).unfold(0, 1, 1)
x.clone().stride()
x.transpose(0, 2).clone().stride()
x.transpose(0, 2).contiguous().stride()
x.expand(2, 2, 3, 4).clone().stride()
x.transpose(0, 2).clone(memory_format=t.contiguous_format).stride()
x.stride(5)
x.stride(-1)
x.is_contiguous(memory_format=t.channels_last)
x.transpose(0, 1).is_contiguous()
x[1].storage_offset()
x.size(5)
x.size(-1)
x.size(dim=1)
x.size(None)
t.tensor(1).size(0)
""".strip().splitlines()


def _names(t: Any) -> dict[str, Any]:
    return {
        "t": t, "x": t.arange(24.0).reshape(2, 3, 4), "y": t.arange(6.0).reshape(2, 3),
        "i": t.arange(3), "e": t.zeros(0),
    }  # fmt: skip


@pytest.mark.parametrize("call", CALLS)
def test_same_as_pytorch(call: str) -> None:
    compare(lambda t: eval(call, _names(t)), context=call)


VIEWS = """
x.view(-1)
x.view_as(x)
x.reshape(6, 4)
x.transpose(0, 1).reshape(6, 4)
x.flatten()
x.transpose(0, 2).flatten()
x.ravel()
x.permute(2, 0, 1)
x.transpose(0, 1)
x[0].T
x.mT
x[0].H
x.movedim(0, 2)
x.squeeze()
x.unsqueeze(1)
x.expand(5, 2, 3, 4)
x.unflatten(2, (2, 2))
x.narrow(1, 0, 2)
x.select(1, 2)
x.split(2, 2)[1]
x.chunk(2)[1]
x.unbind(1)[1]
x.tensor_split(3, 2)[0]
x.diagonal(0, 1, 2)
x.diagonal(-1, 1, 2)
x.unfold(2, 2, 1)
x.contiguous()
x.transpose(0, 1).contiguous()
x.detach()
x.data
x[0]
x[0, 1]
x[0, 1, 2]
x[:, 1:]
x[..., 0]
x[None]
x[:, None, ::2]
x[[0, 1]]
x[x > 3]
x[0, [0, 1]]
x.flip(0)
x.roll(1)
x.repeat(1, 1, 1)
x.tile(1, 1)
x.clone()
x.float()
x.to(t.float32)
x.to("cpu")
x.cpu()
x.double()
x.type_as(x)
x.float().contiguous()
x.repeat_interleave(1)
t.rot90(x, 0)
t.rot90(x, 4)
t.cat([x])
t.stack([x])
t.tril(x)
t.diag(x[0])
t.atleast_1d(x)
t.broadcast_to(x, (2, 3, 4))
t.meshgrid(x[0, 0], x[0, 0], indexing="ij")[0]
x.gather(2, t.zeros(1, 1, 1, dtype=t.int64))
x.take(t.tensor([0]))
x.masked_select(x > 0)
t.as_tensor(x)
t.asarray(x)
t.from_dlpack(x)
""".strip().splitlines()


@pytest.mark.parametrize("call", VIEWS)
def test_shares_memory_exactly_where_pytorch_does(call: str) -> None:
    ours, theirs = _names(mt), _names(torch)
    y, expected = eval(call, ours), eval(call, theirs)
    shared = expected.untyped_storage().data_ptr() == theirs["x"].untyped_storage().data_ptr()
    assert np.shares_memory(y.array, ours["x"].array) == shared
    if shared:
        assert memory_of(y.array) is memory_of(ours["x"].array) or "dlpack" in call
        for n, ours_apart, theirs_apart in zip(y.shape, y.stride(), expected.stride()):
            assert n == 1 or ours_apart == theirs_apart
        assert y.storage_offset() == expected.storage_offset() or "dlpack" in call
        if 0 not in expected.stride():
            y.fill_(-1)
            expected.fill_(-1)
            assert_same(ours["x"], theirs["x"])


@st.composite
def _strided(draw: st.DrawFn) -> np.ndarray:
    """A view of a larger array: some axes permuted, some steps above 1."""
    shape = draw(shapes(min_dims=1, max_dims=4))
    base = np.arange(np.prod([2 * n for n in shape]), dtype=np.float64)
    x = base.reshape([2 * n for n in shape])
    steps = tuple(slice(0, 2 * n, 2) if draw(st.booleans()) else slice(0, n) for n in shape)
    return x[steps].transpose(draw(st.permutations(range(len(shape)))))


@given(_strided(), st.data())
def test_view_exists_exactly_where_pytorch_has_one(x: np.ndarray, data: st.DataObject) -> None:
    n = x.size
    divisors = [d for d in range(1, n + 1) if n % d == 0] or [0, 1]
    first = data.draw(st.sampled_from(divisors))
    second = data.draw(st.sampled_from([-1, *divisors]))
    rest = [] if second == -1 else [n // (first * second)] if first * second else [3]
    target = (first, second, *rest)
    ours, theirs = mt.from_numpy(x), torch.from_numpy(x)
    y, expected = outcome(lambda: ours.view(target)), outcome(lambda: theirs.view(target))
    assert_same(y, expected, f"{x.shape} {x.strides} {target}")
    y, expected = outcome(lambda: ours.reshape(target)), outcome(lambda: theirs.reshape(target))
    assert_same(y, expected)
    if isinstance(expected, torch.Tensor) and n:
        shared = expected.untyped_storage().data_ptr() == theirs.untyped_storage().data_ptr()
        assert np.shares_memory(y.array, x) == shared


def test_view_errors_name_shape_strides_and_the_way_out() -> None:
    with pytest.raises(RuntimeError, match=r"\[3, 2\].*strides \[1, 3\].*\[6\].*reshape"):
        mt.ones(2, 3).t().view(6)


def test_cat_errors_name_the_dimension_and_both_sizes() -> None:
    with pytest.raises(RuntimeError, match=r"dimension 0\. Expected size 4 but got size 5"):
        mt.cat([mt.ones(2, 3, 4), mt.ones(2, 3, 5)])


def test_gradients_of_views_reach_the_base_through_other_views() -> None:
    x = mt.arange(12.0).requires_grad_()
    (x.view(3, 4).t()[1:3].unfold(1, 2, 1) * 2).sum().backward()
    expected = torch.arange(12.0).requires_grad_()
    (expected.view(3, 4).t()[1:3].unfold(1, 2, 1) * 2).sum().backward()
    assert_same(x.grad, expected.grad)


@pytest.mark.parametrize("call", [
    "x.squeeze_()", "x.squeeze_(0)", "x.unsqueeze_(1)", "x.transpose_(0, 2)", "x[0].t_()",
    "x.swapaxes_(0, 1)", "x.tril_()", "x.triu_(1)",
])  # fmt: skip
def test_in_place_views_change_the_tensor_itself(call: str) -> None:
    for t in (mt, torch):
        names = _names(t)
        assert eval(call, names) is not None
    ours, theirs = _names(mt), _names(torch)
    y, expected = eval(call, ours), eval(call, theirs)
    assert_same(y, expected)
    assert_same(ours["x"], theirs["x"])


def test_in_place_views_keep_the_graph() -> None:
    for t in (mt, torch):
        leaf = t.ones(1, 3, requires_grad=True)
        with pytest.raises(RuntimeError, match="leaf"):
            leaf.squeeze_()
        y = leaf * 2
        y.squeeze_()
        (y * y).sum().backward()
        assert leaf.grad.tolist() == [[8, 8, 8]]


def test_expanded_memory_cannot_be_written_to() -> None:
    y = mt.zeros(1, 3).expand(4, 3)
    for write in (lambda: y.add_(1), lambda: y.fill_(1), lambda: y.__setitem__(0, 1)):
        with pytest.raises(RuntimeError, match=r"clone\(\)"):
            write()
    same = mt.zeros(2, 3).expand(1, 2, 3)
    same.fill_(1)
    assert same.sum() == 6


def test_windows_may_overlap_and_still_be_written_to() -> None:
    ours, theirs = mt.zeros(4), torch.zeros(4)
    ours.unfold(0, 2, 1)[0].fill_(1)
    theirs.unfold(0, 2, 1)[0].fill_(1)
    assert_same(ours, theirs)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_padding_twice_as_wide_adds_up_every_copy(mode: str) -> None:
    from minitorch_cnn.ops import shape as ops

    x = np.arange(1.0, 7).reshape(1, 1, 6)
    ours, theirs = mt.from_numpy(x).requires_grad_(), torch.from_numpy(x).requires_grad_()
    y = ops.pad(ours, pad=(4, 5), mode=mode)
    expected = torch.nn.functional.pad(theirs, (4, 5), mode)
    assert_same(y, expected)
    weights = np.arange(15.0).reshape(1, 1, 15)
    y.backward(mt.from_numpy(weights))
    expected.backward(torch.from_numpy(weights))
    assert_same(ours.grad, theirs.grad)
