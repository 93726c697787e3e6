"""Numbers, NumPy, DLPack, devices, copies and pickles against PyTorch."""

from __future__ import annotations

import copy
import math
import pickle
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import minitorch_cnn as mt
from minitorch_cnn.utils import dlpack

from .oracle import assert_same, compare, outcome
from .strategies import arrays

CALLS = """
x.item()
x[:1, 0].item()
x.tolist()
s.tolist()
int(x)
int(s)
int(t.tensor([4.5]))
int(t.tensor(nan))
float(i[1:2])
bool(x)
bool(t.zeros(0))
bool(t.zeros(1, 0))
bool(t.tensor([0]))
bool(t.tensor(nan))
complex(s)
s.is_nonzero()
x.is_nonzero()
t.tensor(True).__index__()
math.sqrt(t.tensor(4.))
math.floor(s)
math.ceil(s)
round(s)
max(t.tensor([1., 3, 2]))
sum([t.tensor(1.), t.tensor(2.)])
sorted([t.tensor(3), t.tensor(1)])
hash(x) == id(x)
"{:.6f}".format(s)
"{}".format(s)
"{}".format(t.tensor(2.567))
"{}".format(t.tensor(3))
"{}".format(x)
"{:.2f}".format(x)
"{:.2f}".format(t.tensor([2.5]))
"{:d}".format(t.tensor(3))
"{:5}".format(t.tensor(3))
"{:>8}".format(s)
"{}".format(t.tensor(2.5, requires_grad=True))
"{:.0f}%".format(100. * t.tensor(9846) / 10000)
"{}/{} ({:.0f}%)".format(t.tensor(9846), 10000, 100. * t.tensor(9846) / 10000)
"%d %.2f %s" % (t.tensor(3), s, s)
f"{t.tensor(True)}"
f"{t.tensor(7) / 2:g}"
str(s)
a * t.ones(3) if t is not torch else t.from_numpy(a) * t.ones(3)
t.ones(3) * a
np.float64(2) * t.ones(3)
t.ones(3) * np.float64(2)
np.float32(2) * t.ones(3)
np.int64(2) * t.ones(3)
a == t.ones(3)
np.sin(t.ones(3))
np.add(a, t.ones(3))
np.asarray(x)
np.array([t.ones(3), t.ones(3)])
np.array([t.tensor(1.), t.tensor(2.)])
np.asarray(x, dtype=np.int32)
np.asarray(g)
np.stack([t.ones(3), t.ones(3)])
np.argmax(t.ones(3))
np.dot(a, t.ones(3))
g.numpy()
g.numpy(force=True)
g.detach().numpy()
t.from_dlpack(np.arange(3))
np.from_dlpack(t.arange(3))
t.from_dlpack(t.arange(3))
t.from_dlpack([1])
t.from_dlpack(np.array([True]))
t.from_dlpack(np.array(["a"]))
np.from_dlpack(g)
x.to(t.float64)
x.to("cpu") is x
x.to(t.float32) is x
x.to(t.float32, copy=True) is x
x.to(i)
x.to(t.device("cpu"), t.float64)
x.to("cpu", t.float64, True)
x.to("cpu", t.float64, True, True)
x.to(dtype=t.float64, device="cpu")
x.to(None)
x.to("cpu", None)
x.to(float)
x.to("foo")
x.to("cuda")
x.to([1])
x.to(t.float64, 3)
x.to(foo=1)
x.cuda()
x.type_as(i)
x.float() is x
x.double()
x.half()
i.char()
(i - 1).byte()
t.tensor([300.7, -1.5]).int()
i.bool()
i.short().long()
x.element_size()
x.nbytes
x.itemsize
x.dim()
x.ndimension()
x.numel()
t.numel(x)
x.nelement()
x.is_cuda
x.is_cpu
x.is_pinned()
x.get_device()
x.is_floating_point()
t.is_floating_point(i)
x.is_complex()
i.byte().is_signed()
t.is_tensor(x)
t.is_tensor(3)
copy.deepcopy(g)
copy.deepcopy(g * 2)
copy.copy(x)
pickle.loads(pickle.dumps(g))
""".strip().splitlines()


def _names(t: Any) -> dict[str, Any]:
    return {
        "t": t, "torch": torch, "np": np, "math": math, "copy": copy, "pickle": pickle,
        "nan": float("nan"), "a": np.array([1.0, 2, 3]), "x": t.arange(6.0).reshape(2, 3),
        "i": t.arange(3), "s": t.tensor(1.5), "g": t.ones(3, requires_grad=True),
    }  # fmt: skip


def _plain(result: Any) -> Any:
    return (result.tolist(), str(result.dtype)) if isinstance(result, np.ndarray) else result


@pytest.mark.parametrize("call", CALLS)
def test_same_as_pytorch(call: str) -> None:
    compare(lambda t: _plain(eval(call, _names(t))), context=call)


def test_numpy_shares_memory() -> None:
    x = mt.zeros(3)
    a = x.numpy()
    a[0] = 5
    x[1] = 7
    assert x.tolist() == a.tolist() == [5, 7, 0]
    assert np.shares_memory(np.asarray(x), a)
    assert np.asarray(x, copy=True).base is None
    with pytest.raises(ValueError, match="copy"):
        np.asarray(x, dtype=np.int32, copy=False)
    a.shape = (1, 3)
    assert x.shape == (3,)


def test_array_times_tensor_is_a_tensor() -> None:
    y = np.array([1.0, 2]) * mt.ones(2, requires_grad=True)
    assert isinstance(y, mt.Tensor)
    assert y.requires_grad


@given(arrays(), st.sampled_from(["float32", "float64", "float16", "int64", "uint8", "bool"]))
def test_dlpack_both_ways_without_a_copy(x: np.ndarray, dtype: str) -> None:
    array = x.astype(dtype)
    theirs = torch.from_numpy(array)
    ours = mt.from_dlpack(theirs)
    assert_same(ours, theirs)
    assert not x.size or ours.data_ptr() == theirs.data_ptr()
    back = torch.from_dlpack(ours)
    assert_same(ours, back)
    assert not x.size or back.data_ptr() == theirs.data_ptr()
    assert np.shares_memory(np.from_dlpack(ours), array) or not x.size


def test_dlpack_capsules() -> None:
    x = mt.arange(4.0)
    theirs = torch.utils.dlpack.from_dlpack(dlpack.to_dlpack(x))
    theirs[0] = 9
    assert x[0] == 9
    back = dlpack.from_dlpack(torch.utils.dlpack.to_dlpack(theirs))
    back[1] = 8
    assert x[1] == 8
    assert x.__dlpack_device__() == (1, 0)


def test_memory_outlives_the_tensor_that_made_it() -> None:
    x = mt.from_dlpack(torch.arange(1000))
    y = torch.from_dlpack(mt.arange(1000))
    assert int(x.sum()) == int(y.sum()) == 499500


def test_negative_strides_are_refused_not_a_crash() -> None:
    with pytest.raises(ValueError, match="negative"):
        mt.from_dlpack(np.ones((3, 3))[:, ::-1])


def test_gradients_flow_through_conversions() -> None:
    for t in (mt, torch):
        x = t.ones(3, requires_grad=True)
        y = x.double().to("cpu").float().half()
        (y * t.arange(3)).sum().backward()
        assert x.grad.tolist() == [0, 1, 2]
        assert x.grad.dtype == t.float32
        assert not x.long().requires_grad


def test_deepcopy_copies_the_gradient_and_keeps_identity() -> None:
    x = mt.ones(2, requires_grad=True)
    (x * 3).sum().backward()
    a, b, other = copy.deepcopy([x, x, mt.zeros(1)])
    assert a is b
    assert a is not x
    assert a.grad.tolist() == [3, 3]
    a.grad.zero_()
    assert x.grad.tolist() == [3, 3]
    assert not other.requires_grad


def test_pickles_hold_numbers_and_no_history() -> None:
    x = mt.ones(2, requires_grad=True)
    y = pickle.loads(pickle.dumps(x * 2))
    assert y.is_leaf
    assert not y.requires_grad
    assert pickle.loads(pickle.dumps(x)).requires_grad
    names = {op[1] for op in _globals(pickle.dumps(x))}
    assert all(n.startswith(("minitorch_cnn", "numpy")) for n in names), names


def _globals(data: bytes) -> list[tuple[str, str]]:
    import pickletools

    strings: list[str] = []
    found = []
    for op, arg, _ in pickletools.genops(data):
        if "UNICODE" in op.name:
            strings.append(str(arg))
        elif op.name == "STACK_GLOBAL":
            found.append((op.name, strings[-2] if len(strings) > 1 else ""))
        elif op.name == "GLOBAL":
            found.append((op.name, str(arg)))
    return [f for f in found if "." in f[1] or f[1] == "numpy"]


def test_shallow_copy_shares_memory() -> None:
    x = mt.zeros(2)
    copy.copy(x)[0] = 1
    assert x[0] == 1


def test_formats_of_an_old_training_loop() -> None:
    """Losses of 2017 went into format strings as tensors of no dimensions."""
    for t in (mt, torch):
        loss, correct = t.tensor(0.108415), t.tensor(9846)
        line = "Loss: {:.6f}, Accuracy: {}/{} ({:.0f}%)\n"
        text = line.format(loss, correct, 10000, 100.0 * correct / 10000)
        assert text == "Loss: 0.108415, Accuracy: 9846/10000 (98%)\n"


def test_asking_for_a_gpu_without_one_says_why() -> None:
    if mt.cuda.is_available():
        pytest.skip("there is a GPU")
    for ask in (
        mt.ones(1).cuda,
        lambda: mt.ones(1).to("cuda:0"),
        lambda: mt.ones(1, device="cuda"),
    ):
        with pytest.raises(AssertionError, match="CUDA is not available: "):
            ask()


def test_reversed_dims_warn_as_in_pytorch() -> None:
    with pytest.warns(UserWarning, match="deprecated"):
        assert mt.ones(2, 3, 4).T.shape == (4, 3, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert mt.ones(2, 3).T.shape == (3, 2)
    assert isinstance(outcome(lambda: mt.ones(3).H), RuntimeError)
