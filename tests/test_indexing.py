"""Indexing, assignment, gather and scatter against PyTorch, refusals included."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import minitorch_cnn as mt

from .cases.indexing import indices, to_tensors
from .oracle import assert_same, compare, outcome
from .strategies import shapes

READS = """
x[[0, 1]]
x[[[0, 1], [1, 2]]]
x[[slice(0, 1), 1]]
x[[0, None]]
x[0, :, [1, 2]]
x[True]
x[False]
x[t.tensor(1)]
x[t.tensor(True)]
x[np.int64(1)]
x[np.array([0, 1])]
x[np.array([True, False])]
x[np.array([1.])]
x[np.float64(1)]
x[np.True_]
x[1.0]
x[[1.0]]
x[t.tensor([1.])]
x[t.tensor(1.)]
x[t.tensor([0], dtype=t.int16)]
x[t.tensor([0], dtype=t.int32)]
x[5]
x[-3]
x[[-3]]
x[0, 0, 0, 0]
x[::-1]
x[0:2:0]
x[1.5:2]
x[t.tensor(0):t.tensor(1)]
x[t.tensor([5])]
x[t.tensor([True, False, True])]
x[t.tensor([[True, False, True]])]
x[t.tensor([1, 0], dtype=t.uint8)]
x[t.tensor(1, dtype=t.uint8)]
x[[True, False]]
x[..., ...]
x[..., 0, ...]
x[(0, [0, 1])]
x[range(2)]
x["a"]
x[t.tensor([0, 1]), t.tensor([0, 1, 2])]
x[[]]
x[t.tensor([])]
x[t.tensor([], dtype=t.int64)]
x[:, t.tensor(1), [0, 1]]
x[None, [0, 1]]
x[[0, 1], None, [0, 1]]
x[[0, 1], :, [0, 1]]
x[[0, 1], 0, [0, 1]]
x[True, [0, 1]]
x[[0, 1], True]
x[:, True, [0, 1]]
x[t.tensor(True), [0, 1]]
x[[t.tensor(1), t.tensor(0)]]
x[()]
x[((0, 1), (0, 1))]
x[t.tensor([True, False]), [0]]
x[t.tensor([True, True]), [0, 1, 2]]
x[t.tensor([[True, False, True], [False, True, True]]), None]
x[t.tensor([[True, False, True], [False, True, True]]), 0]
t.zeros(0, 3)[t.tensor([0])]
t.zeros(3, 0)[t.tensor([0])]
s[None]
s[...]
s[()]
s[True]
s[0]
s[:]
s[t.tensor(0)]
s[[0]]
len(x)
len(s)
list(s)
list(x[0, 0])
[*reversed(i)]
3 in i
1 in i
t.tensor(1) in i
"a" in i
[1] in i
x in i
[10, 20, 30][t.tensor(1)]
[10, 20, 30][t.tensor([1])]
[10, 20, 30][t.tensor(1.)]
list(range(t.tensor(3)))
""".strip().splitlines()

WRITES = """
put(0, 1)
put(0, 1.5, t.int64)
put(0, t.tensor(1.5), t.int64)
put(0, t.tensor([1.5, 2, 3]), t.int64)
put(0, t.tensor([1.5, 2, 3], dtype=t.float64))
put([0], t.tensor([1.5, 2, 3], dtype=t.float64))
put([0], t.tensor(1.5, dtype=t.float64))
put([0], t.tensor(2))
put([0], 1.5, t.int64)
put([0], t.tensor([1., 2]))
put(0, t.tensor([1., 2]))
put(0, t.tensor([[1., 2, 3]]))
put(0, t.tensor([[[1., 2, 3]]]))
put([0, 1], t.tensor([[[1., 2, 3]]]))
put(0, t.tensor([[1., 2, 3], [4, 5, 6]]))
put(0, [1, 2, 3])
put(0, (1, 2, 3))
put(0, np.array([1., 2, 3]))
put(0, np.float64(3))
put(0, "a")
put(0, None)
put(mask, 5)
put(mask, t.tensor([1., 2, 3, 4]))
put(mask, t.tensor([1., 2, 3]))
put(mask, t.tensor([1, 2, 3, 4]))
put(mask, t.tensor(5))
put(mask, t.tensor(5., dtype=t.float64))
put(t.tensor([True, False]), t.tensor([1., 2, 3]))
put((slice(None), t.tensor([True, False, True])), t.tensor([1., 2]))
put((slice(None), [0, 2]), t.tensor([[1.], [2]]))
put((t.tensor([0, 0]), t.tensor([1, 1])), t.tensor([3., 4]))
put(5, 1)
put([5], 1)
put((0, 0, 0), 1)
put(slice(None, None, -1), 1)
put(..., 1)
put((), 1)
put(None, 1)
put(True, 1)
put(False, 1)
put(0, True)
put(0, 300, t.uint8)
put(0, -1, t.uint8)
put(0, 2, t.bool)
put(0, 2**70)
put(0, 1e300)
put(0, nan, t.int64)
put(slice(0, 0), 1)
put(slice(0, 0), t.tensor([1., 2]))
put([], 1)
""".strip().splitlines()

ALONG = """
y.gather(0, t.tensor([[0, 1]]))
y.gather(1, t.tensor([[0, 1, 2, 0]]))
y.gather(1, t.tensor([[0], [1], [0]]))
y.gather(1, t.tensor([[3]]))
y.gather(1, t.tensor([[-1]]))
y.gather(0, t.tensor([0]))
y.gather(0, t.tensor([[0]], dtype=t.int32))
y.gather(0, t.tensor([[0.]]))
y.gather(2, t.tensor([[0]]))
s.gather(0, t.tensor([0]))
s.gather(0, t.tensor(0))
i.gather(0, t.tensor(0))
y.gather(1, t.zeros(0, dtype=t.int64))
y.scatter(1, t.tensor([[0], [1]]), 9.)
y.scatter(1, t.tensor([[0], [1]]), y + 1)
y.scatter(1, t.tensor([[0], [1]]), t.tensor([[5], [6]]))
y.scatter(1, t.tensor([[0], [3]]), 1.)
y.scatter(1, t.tensor([[0], [-1]]), 1.)
y.scatter(1, t.tensor([[0, 0], [1, 1]]), 1, reduce="add")
y.scatter(1, t.tensor([[0], [1]]), src=y)
y.scatter(1, t.tensor([[0], [1]]), value=2)
y.scatter(1, t.tensor([[0, 1], [1, 2]]), t.tensor([[1.], [2]]))
i.scatter(0, t.tensor([0]), 1.5)
y.scatter_(1, t.tensor([[0], [1]]), 9.)
y.scatter_add(1, t.tensor([[0, 0], [1, 1]]), y)
y.scatter_add(1, t.tensor([[0, 0], [1, 5]]), y)
y.scatter_add(1, t.tensor([[0, 0], [1, 1]]), y.double())
y.scatter_add(1, t.tensor([[0, 0], [1, 1]]), 1.)
y.scatter_add(1, t.zeros(0, dtype=t.int64), y)
i.scatter_add(0, t.tensor([0, 0, 2]), i)
y.scatter_add_(1, t.tensor([[0, 0], [1, 1]]), y.clone())
y.index_select(0, t.tensor([1, 0, 1]))
y.index_select(0, t.tensor([2]))
y.index_select(0, t.tensor([-1]))
y.index_select(0, t.tensor(1))
y.index_select(0, t.tensor([[1]]))
y.index_select(0, t.tensor([1.]))
y.index_select(0, t.tensor([1], dtype=t.int32))
y.index_select(0, t.tensor([1], dtype=t.uint8))
y.index_select(0, [1])
s.index_select(0, t.tensor([0]))
y.index_add(0, t.tensor([0, 0]), y)
y.index_add(0, t.tensor([0, 0]), y, alpha=2)
y.index_add(0, t.tensor([0]), y)
y.index_add(0, t.tensor([2, 0]), y)
y.index_add(0, t.tensor([0, 0]), y.double())
y.index_add(0, t.tensor([0, 0]), y[:, :2])
y.index_fill(0, t.tensor([0]), 5)
y.index_fill(0, t.tensor([5]), 5)
y.index_fill(0, t.tensor([-1]), 5)
y.index_fill(0, t.tensor([0]), t.tensor(5.))
y.index_fill(0, t.tensor([0]), t.tensor([5.]))
s.index_fill(0, t.tensor([0]), 1)
y.index_copy(0, t.tensor([1]), y[:1])
y.index_copy(0, t.tensor([1]), y)
y.masked_fill(y > 2, 9)
y.masked_fill(y > 2, t.tensor(9.))
y.masked_fill(y > 2, t.tensor([9.]))
y.masked_fill(y[0] > 1, 9)
y[0].masked_fill(y > 2, 9)
y.masked_fill(y, 9)
y.masked_fill((y > 2).to(t.uint8), 9)
i.masked_fill(i > 1, 9.5)
i.masked_fill(i > 1, t.tensor(9.5))
y.masked_fill(t.ones(2) > 0, 9)
y.masked_fill_(y > 2, 9)
y[0].masked_fill_(y > 2, 9)
y.masked_fill(y > 2, -inf)
y.masked_select(y > 2)
y.masked_select(y[0] > 1)
s.masked_select(s > 0)
y.masked_select(y)
y.masked_select(t.ones(2) > 0)
y.masked_scatter(y > 2, t.tensor([1., 2, 3]))
y.masked_scatter(y > 2, t.tensor([1., 2]))
y.masked_scatter(y > 2, t.tensor([1, 2, 3]))
y.take(t.tensor([0, 5]))
y.take(t.tensor([[0], [-1]]))
y.take(t.tensor([6]))
y.take(t.tensor([0.]))
y.take(0)
t.take_along_dim(y, t.tensor([[0], [1]]), 1)
t.take_along_dim(y, t.tensor([[0]]), 1)
t.take_along_dim(y, t.tensor([0, 5]))
t.take_along_dim(y, t.tensor([[0], [1], [0]]), 1)
t.nonzero(y > 2)
t.nonzero(y > 2, as_tuple=True)
(y > 2).nonzero()
t.nonzero(t.tensor(1))
t.nonzero(t.tensor(0))
t.nonzero(t.tensor(1), as_tuple=True)
t.argwhere(y > 2)
t.where(y > 2)
""".strip().splitlines()


def _names(t: Any) -> dict[str, Any]:
    def put(index: Any, value: Any, dtype: Any = None) -> Any:
        x = t.zeros(2, 3, dtype=dtype)
        x[index] = value
        return x

    return {
        "t": t, "np": np, "nan": float("nan"), "inf": float("inf"), "put": put,
        "x": t.arange(24.0).reshape(2, 3, 4), "y": t.arange(6.0).reshape(2, 3),
        "i": t.arange(3), "s": t.tensor(5.0),
        "mask": t.tensor([[True, False, True], [False, True, True]]),
    }  # fmt: skip


@pytest.mark.parametrize("call", [*READS, *WRITES, *ALONG])
def test_same_as_pytorch(call: str) -> None:
    compare(lambda t: eval(call, _names(t)), context=call)


@given(shapes(max_dims=4), st.data())
def test_any_index_reads_and_writes_the_same_elements(
    shape: tuple[int, ...], data: st.DataObject
) -> None:
    index = data.draw(indices(shape))
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    ours, theirs = mt.from_numpy(array.copy()), torch.from_numpy(array.copy())
    mine, other = to_tensors(index, mt.from_numpy), to_tensors(index, torch.from_numpy)
    y, expected = outcome(lambda: ours[mine]), outcome(lambda: theirs[other])
    assert_same(y, expected, repr(index))
    if isinstance(expected, torch.Tensor):
        ours[mine] = -5
        theirs[other] = -5
        assert_same(ours, theirs, repr(index))


def test_old_list_indices_warn() -> None:
    x = mt.arange(4).reshape(2, 2)
    with pytest.warns(UserWarning, match="non-tuple sequence"):
        assert x[[slice(0, 1), 1]].tolist() == [1]
    with pytest.warns(UserWarning, match="uint8 is now deprecated"):
        assert x[mt.tensor([1, 0], dtype=mt.uint8)].tolist() == [[0, 1]]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert x[[1, 0]].tolist() == [[2, 3], [0, 1]]


def test_a_loss_that_is_a_number_says_how_to_read_it() -> None:
    with pytest.raises(IndexError, match=r"item\(\)"):
        mt.tensor(0.5).data[0]


def test_repeated_indices_add_up_in_the_gradient() -> None:
    index = np.random.default_rng(0).integers(0, 7, (5, 400))
    for pick in (lambda x, i: x[i[0]], lambda x, i: x[:, i[1] % 3], lambda x, i: x[i[2], i[3] % 3]):
        array = np.random.default_rng(1).standard_normal((7, 3, 2))
        ours, theirs = mt.from_numpy(array).requires_grad_(), torch.tensor(array).requires_grad_()
        y, expected = pick(ours, mt.from_numpy(index)), pick(theirs, torch.from_numpy(index))
        assert_same(y, expected)
        (y * y.detach().sin()).sum().backward()
        (expected * expected.detach().sin()).sum().backward()
        assert_same(ours.grad, theirs.grad, rtol=1e-12, atol=1e-12)


def test_one_element_named_from_the_front_and_from_the_back() -> None:
    x = mt.zeros(3, 2, requires_grad=True)
    x[[-1, 2, 0]].sum().backward()
    assert x.grad.tolist() == [[1, 1], [0, 0], [2, 2]]


@pytest.mark.parametrize("index", [5, -3, [5], [0, -3], (0, [7])])
def test_errors_name_the_dimension_and_its_size(index: Any) -> None:
    with pytest.raises(IndexError, match=r"out of bounds for dimension \d with size [23]"):
        mt.zeros(2, 3)[index]


def test_repeated_indices_sum_in_the_same_order_every_time() -> None:
    index = mt.from_numpy(np.random.default_rng(0).integers(0, 3, 50_000))
    weights = mt.from_numpy(np.random.default_rng(1).standard_normal(50_000).astype(np.float32))
    gradients = []
    for _ in range(3):
        x = mt.zeros(3, requires_grad=True)
        (x[index] * weights).sum().backward()
        gradients.append(x.grad.numpy().tobytes())
    assert len(set(gradients)) == 1


def test_a_source_larger_than_the_index_is_read_from_its_corner() -> None:
    index = np.array([[0, 2], [1, 0]])
    source = np.arange(12.0).reshape(3, 4)
    for name in ("scatter", "scatter_add"):
        compare(
            lambda t, i, s, name=name: getattr(t.zeros(2, 3, dtype=t.float64), name)(1, i, s),
            index, source,
        )  # fmt: skip
    source = mt.from_numpy(source).requires_grad_()
    mt.zeros(2, 3, dtype=mt.float64).scatter_add(1, mt.from_numpy(index), source).sum().backward()
    assert source.grad.tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]]


def test_assignment_is_recorded() -> None:
    for t in (mt, torch):
        w = t.ones(3, requires_grad=True)
        x = t.zeros(2, 3)
        x[0] = w * 2
        x[1, 1:] = w[0]
        x[x > 1.5] = w[1] * 5
        (x * t.arange(6.0).reshape(2, 3)).sum().backward()
        assert w.grad.tolist() == [9, 15, 0]


def test_assignment_to_a_leaf_that_requires_grad_is_refused() -> None:
    for t in (mt, torch):
        w = t.ones(3, requires_grad=True)
        with pytest.raises(RuntimeError, match="leaf"):
            w[0] = 1
        with t.no_grad():
            w[0] = 5
        assert w.tolist() == [5, 1, 1]


def test_overwriting_a_saved_value_is_noticed() -> None:
    for t in (mt, torch):
        w = t.ones(3, requires_grad=True)
        x = t.ones(3)
        y = (w * x).sum()
        x[0] = 7
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.backward()


def test_embedding_has_pytorchs_order_of_arguments() -> None:
    gradients = []
    for t in (mt, torch):
        weight = t.arange(12.0).reshape(4, 3).requires_grad_()
        y = t.embedding(weight, t.tensor([[0, 3], [1, 1]]), 1)
        assert y.tolist() == [[[0, 1, 2], [9, 10, 11]], [[3, 4, 5], [3, 4, 5]]]
        y.sum().backward()
        gradients.append(weight.grad.tolist())
        with pytest.raises(RuntimeError, match="argument #1 'indices'"):
            t.embedding(weight, t.ones(2))
    assert gradients[0] == gradients[1]
    assert gradients[0] == [[1, 1, 1], [0, 0, 0], [0, 0, 0], [1, 1, 1]]
