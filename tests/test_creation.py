"""Tensors from data and by rule, against PyTorch: values, dtypes, and what is refused."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import minitorch_cnn as mt
from minitorch_cnn.kernels import backend

from .oracle import assert_same, compare, outcome

NAMES = {"np": np, "nan": float("nan"), "inf": float("inf")}

CALLS = """
t.tensor([t.ones(2), t.ones(2)])
t.tensor([t.tensor(1.), t.tensor(2)])
t.tensor([t.tensor([1.]), t.tensor([2])])
t.tensor([t.tensor(1., dtype=t.float64)])
t.tensor([[t.tensor(1.), 2]])
t.tensor(np.float64(1.))
t.tensor(np.float32(1.))
t.tensor(np.int32(1))
t.tensor([np.float64(1.)])
t.tensor([np.float16(1.), 1.0])
t.tensor([np.int32(1), 2])
t.tensor([np.bool_(True)])
t.tensor([[1, 2], [3]])
t.tensor([[1, 2], 3])
t.tensor([1, [2]])
t.tensor([[], []])
t.tensor([])
t.tensor(2**63)
t.tensor([2**63])
t.tensor("a")
t.tensor(["a"])
t.tensor(None)
t.tensor([None])
t.tensor([1.5, 2], dtype=t.int64)
t.tensor([300], dtype=t.uint8)
t.tensor([-1], dtype=t.uint8)
t.tensor([-300], dtype=t.uint8)
t.tensor([200], dtype=t.int8)
t.tensor([1e10], dtype=t.int8)
t.tensor([nan], dtype=t.int64)
t.tensor([1e300])
t.tensor([70000.], dtype=t.float16)
t.tensor([2, 0], dtype=t.bool)
t.tensor([0.5], dtype=t.bool)
t.tensor(np.array(["a"]))
t.tensor(np.array([1, 2], dtype=">f4"))
t.tensor(np.array([None]))
t.tensor(np.arange(4.)[::-1])
t.tensor(range(3))
t.tensor((1, 2))
t.tensor({1: 2})
t.tensor({1, 2})
t.tensor(object())
t.tensor([1, 2], requires_grad=True)
t.tensor([1., 2], requires_grad=True)
t.tensor(True)
t.tensor([True, 2])
t.tensor([True, 2.])
t.tensor(t.ones(2).shape)
t.tensor([1], device="cuda")
t.tensor([1], device="nowhere")
t.tensor([1], foo=3)
t.tensor(1, 2)
t.as_tensor([1, 2.])
t.as_tensor(np.arange(3), dtype=t.float32)
t.as_tensor(np.arange(4)[::-1])
t.from_numpy([1])
t.from_numpy(np.arange(4)[::-1])
t.from_numpy(np.array("a"))
t.from_numpy(np.array(3.5))
t.from_numpy(np.float32(3))
t.from_numpy(np.zeros(3, dtype=[("a", "f4"), ("b", "i1")])["a"])
t.asarray([1, 2])
t.asarray(np.arange(3), copy=True)
t.scalar_tensor(3)
t.scalar_tensor(True)
t.scalar_tensor(3, dtype=t.int64)
t.zeros(2, 3)
t.zeros((2, 3))
t.zeros([2, 3])
t.zeros(size=(2, 3))
t.zeros(())
t.zeros()
t.zeros(2.0)
t.zeros(2, 3.0)
t.zeros(-1)
t.zeros(2, -1)
t.zeros(t.tensor(2))
t.zeros(t.tensor([2, 3]))
t.zeros((t.tensor(2), 3))
t.zeros(np.int64(2))
t.zeros(True)
t.zeros("a")
t.zeros((2, 3), 4)
t.zeros(2, dtype=float)
t.zeros(2, dtype=int)
t.zeros(2, dtype="float32")
t.zeros(2, dtype=np.float32)
t.zeros(2, dtype=t.int64, requires_grad=True)
t.zeros(10**15)
t.zeros(2**70)
t.zeros(2).view(2**70)
t.zeros(2).unsqueeze(2**70)
t.eye(2**70)
t.arange(2**70)
t.full((2,), 2**70)
t.zeros(10**10, 10**10)
t.ones(10**15)
t.empty(10**15)
t.full((10**15,), 0.)
t.rand(10**15)
t.eye(10**8)
t.zeros(2, foo=1)
t.ones(2, 3, dtype=t.bool)
t.full((2,), 3)
t.full((2,), 3.)
t.full((2,), True)
t.full((2,), t.tensor(3.))
t.full(2, 3)
t.full([2], 3, dtype=t.uint8)
t.full([2], 300, dtype=t.uint8)
t.full([2], -1, dtype=t.uint8)
t.full([2], 1.5, dtype=t.int64)
t.full((2,), 2**63)
t.full((2,), inf)
t.full((2,), 1e300)
t.eye(3)
t.eye(2, 3)
t.eye(-1)
t.eye(2, m=1, dtype=t.int64)
t.eye(2.)
t.arange(5)
t.arange(5.)
t.arange(1, 5, 2)
t.arange(1, 5, 2.)
t.arange(0, 1, 0.3)
t.arange(5, 1)
t.arange(5, 1, -1)
t.arange(1, 5, 0)
t.arange(0, nan)
t.arange(0, inf)
t.arange(1, 2.5, dtype=t.int64)
t.arange(0.5, 4, 1.5, dtype=t.int64)
t.arange(0.5, 4, 1.5, dtype=t.int32)
t.arange(t.tensor(3))
t.arange(t.tensor(3.))
t.arange(3, dtype=t.bool)
t.arange(True)
t.arange(start=1, end=3)
t.arange(end=3)
t.arange(1, 3, step=2)
t.arange(0, 3, requires_grad=True)
t.arange(-1)
t.arange(1, 1)
t.arange(0, 1e15)
t.arange(0, 2**63)
t.arange("a")
t.arange()
t.arange(300, dtype=t.uint8)
t.range(1, 3)
t.linspace(0, 1, 5)
t.linspace(0, 1)
t.linspace(0, 1, 0)
t.linspace(0, 1, 1)
t.linspace(0, 1, -1)
t.linspace(0, 10, 4, dtype=t.int64)
t.linspace(1, 0, 5, dtype=t.float64)
t.linspace(0, 1, steps=2.)
t.logspace(0, 2, 3)
t.logspace(0, 2, 3, base=2)
t.zeros_like(t.ones(2, 3, dtype=t.int32))
t.zeros_like([1])
t.ones_like(t.arange(3), dtype=t.float64)
t.full_like(t.arange(3), 3.5)
t.full_like(t.ones(2), 3)
t.ones(2).new_zeros(2, 3)
t.ones(2).new_zeros((2, 3), dtype=t.int64)
t.arange(2).new_full((2,), 3.5)
t.arange(2).new_tensor([1.5, 2])
t.arange(2).new_ones(2)
t.arange(2).new([2, 3])
t.ones(2).new([2, 3])
t.FloatTensor([1, 2])
t.FloatTensor()
t.FloatTensor(np.array([1, 2]))
t.FloatTensor((2, 3))
t.FloatTensor(2, 3).shape
t.FloatTensor(2.5)
t.FloatTensor([[1, 2], [3]])
t.LongTensor(t.ones(2))
t.LongTensor([1.5])
t.LongTensor(t.arange(3))
t.ByteTensor([300])
t.BoolTensor([1, 0])
t.Tensor([1, 2])
t.Tensor((2, 3))
t.Tensor(2, 3).shape
t.Tensor(t.ones(2, 3).shape).shape
t.Tensor(2.5)
t.Tensor(t.arange(3))
t.Tensor()
t.Tensor(-1)
t.Tensor("a")
t.Tensor(True)
isinstance(t.ones(2), t.FloatTensor)
isinstance(t.arange(2), t.FloatTensor)
isinstance(t.arange(2), t.LongTensor)
t.typename(t.ones(2).double())
t.typename(3)
t.ones(2).type()
t.ones(2).type("torch.LongTensor")
t.ones(2).type(t.DoubleTensor)
t.ones(2).type(t.float16)
t.ones(2).type("foo")
t.meshgrid(t.arange(3), t.arange(2), indexing="ij")
t.meshgrid(t.arange(3), t.arange(2), indexing="xy")
t.meshgrid([t.arange(3), t.arange(2)], indexing="ij")
t.meshgrid(t.arange(3), t.tensor(1), indexing="ij")
t.meshgrid(t.arange(3), t.arange(3.), indexing="ij")
t.meshgrid(t.ones(2, 3), t.ones(2), indexing="ij")
t.meshgrid(t.arange(3), indexing="foo")
""".strip().splitlines()


@pytest.mark.parametrize("call", CALLS)
def test_same_as_pytorch(call: str) -> None:
    compare(lambda t: eval(call, {"t": t, **NAMES}), context=call)


@given(
    st.recursive(
        st.integers(-100, 100) | st.floats(-5, 5, width=32) | st.booleans(),
        lambda inner: st.lists(inner, max_size=3),
        max_leaves=9,
    )
)
def test_nested_lists(data: object) -> None:
    ours, theirs = outcome(lambda: mt.tensor(data)), outcome(lambda: torch.tensor(data))
    if isinstance(ours, Exception) and not isinstance(theirs, Exception):
        # PyTorch drops the numbers of a ragged list whose first row is empty.
        assert theirs.numel() == 0
        return
    if isinstance(ours, Exception) and isinstance(theirs, TypeError | ValueError):
        return  # which of two rows that do not match is named first
    assert_same(ours, theirs, repr(data))


_NUMBERS = st.integers(-20, 20) | st.floats(-20, 20, width=16)


@given(_NUMBERS, _NUMBERS, _NUMBERS.filter(lambda s: abs(s) > 0.01))
def test_arange(start: float, end: float, step: float) -> None:
    compare(lambda t: t.arange(start, end, step), context=f"{start} {end} {step}", rtol=1e-6,
            atol=2e-6)  # fmt: skip
    compare(lambda t: t.arange(start, end, step, dtype=t.int64), context=f"{start} {end} {step}")


@given(st.floats(-10, 10), st.floats(-10, 10), st.integers(0, 20))
def test_linspace(start: float, end: float, steps: int) -> None:
    compare(lambda t: t.linspace(start, end, steps), rtol=1e-6, atol=3e-6)
    compare(lambda t: t.linspace(start, end, steps, dtype=t.float64), rtol=1e-12, atol=1e-12)


def test_from_numpy_shares_memory_and_tensor_copies() -> None:
    a = np.arange(4.0)
    shared, copied = mt.from_numpy(a), mt.tensor(a)
    also = mt.as_tensor(a)
    a[0] = 9
    assert shared[0] == also[0] == 9
    assert copied[0] == 0
    shared[1] = 7
    assert a[1] == 7
    assert mt.as_tensor(shared) is shared
    assert mt.asarray(a, copy=True).data_ptr() != shared.data_ptr()
    with pytest.raises(ValueError, match="copy"):
        mt.asarray([1, 2], copy=False)


def test_subclasses_of_arrays_are_plain_arrays() -> None:
    assert type(mt.from_numpy(np.ones((2, 2)).view(np.recarray)).numpy()) is np.ndarray


def test_read_only_arrays_warn_once_and_refuse_writes() -> None:
    a = np.arange(4.0)
    a.flags.writeable = False
    with pytest.warns(UserWarning, match="not writable"):
        x = mt.from_numpy(a)
    for write in (lambda: x.add_(1), x.zero_, lambda: x.__setitem__(0, 1)):
        with pytest.raises(RuntimeError, match="read-only"):
            write()
    assert (mt.tensor(a) + 1).tolist() == [1, 2, 3, 4]


def test_copying_a_tensor_warns() -> None:
    with pytest.warns(UserWarning, match="clone"):
        mt.tensor(mt.ones(2))


@pytest.mark.parametrize("make", [
    lambda: mt.zeros(10**7, 10**7),
    lambda: mt.ones(2, 3).expand(10**12, 2, 3).clone(),
    lambda: mt.ones(2, 3).repeat(10**12, 1),
    lambda: mt.randint(0, 5, (10**14,)),
    lambda: mt.randperm(10**14),
    lambda: mt.linspace(0, 1, 10**14),
    lambda: mt.zeros_like(mt.ones(1).expand(10**14)),
    lambda: mt.cat([mt.ones(1).expand(10**14)] * 2),
    lambda: mt.ones(1).expand(10**14).contiguous(),
    lambda: mt.ones(1).new_empty(10**14),
    lambda: mt.FloatTensor(10**14),
    lambda: mt.normal(0.0, 1.0, (10**14,)),
])  # fmt: skip
def test_terabytes_are_refused_with_the_bytes_asked(make: object) -> None:
    with pytest.raises(RuntimeError, match=r"can't allocate memory: .* takes [\d,.]+ GiB"):
        make()


def test_the_limit_is_what_the_machine_has() -> None:
    assert 2**20 < backend.memory_limit() < 2**63
    backend.check_memory((1000,), np.float32, "f")


def test_default_dtype_decides_about_floats_only() -> None:
    try:
        mt.set_default_dtype(mt.float64)
        assert mt.tensor([1.5]).dtype == mt.zeros(2).dtype == mt.rand(2).dtype == mt.float64
        assert mt.tensor([1]).dtype == mt.arange(3).dtype == mt.int64
        assert mt.linspace(0, 1, 3).dtype == mt.Tensor([1]).dtype == mt.float64
        mt.set_default_tensor_type(mt.FloatTensor)
        assert mt.get_default_dtype() == mt.float32
    finally:
        mt.set_default_dtype(mt.float32)


def test_legacy_constructors_make_independent_tensors() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        x = mt.FloatTensor(2, 3).fill_(1)
    assert x.shape == (2, 3)
    assert repr(mt.FloatTensor) == "<class 'torch.FloatTensor'>"
    assert x.new(4, 1).dtype == mt.float32
