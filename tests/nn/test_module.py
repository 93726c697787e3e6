"""Module: registering, walking, printing, converting, copying, naming the layer of an error."""

from __future__ import annotations

import copy
import functools
import pickle
from typing import Any

import numpy as np
import pytest
import torch

import minitorch_cnn as mt
from minitorch_cnn import nn
from minitorch_cnn.tensor import Tensor

BOTH = pytest.mark.parametrize("lib", [nn, torch.nn], ids=["ours", "pytorch"])


def tensor_of(lib: Any, *shape: int) -> Any:
    return torch.ones(shape) if lib is torch.nn else Tensor._wrap(np.ones(shape, np.float32))


def make_net(lib: Any) -> Any:
    class Block(lib.Module):
        def __init__(self, channels: int) -> None:
            super(Block, self).__init__()  # noqa: UP008 - the spelling of 2017
            self.conv = lib.Conv2d(channels, channels, 3, padding=1, bias=False)
            self.bn = lib.BatchNorm2d(channels)
            self.relu = lib.ReLU(inplace=True)

        def forward(self, x: Any) -> Any:
            return self.relu(self.bn(self.conv(x)) + x)

    class Net(lib.Module):
        def __init__(self) -> None:
            super().__init__()
            norm = functools.partial(lib.GroupNorm, 2, eps=1e-3)
            layers = [Block(4) for _ in range(2)]
            self.scale = lib.Parameter(tensor_of(lib, 1))
            self.stem = lib.Sequential(lib.Conv2d(3, 4, 3), norm(4))
            self.blocks = lib.Sequential(*layers)
            self.heads = lib.ModuleList([lib.Linear(4, 2), lib.Linear(4, 2), lib.Linear(4, 3)])
            self.heads[1].weight = self.heads[0].weight
            self.by_name = lib.ModuleDict({"a": lib.Identity(), "b": self.heads[2]})
            self.register_buffer("table", tensor_of(lib, 2))
            self.register_buffer("scratch", tensor_of(lib, 3), persistent=False)
            self.register_buffer("absent", None)
            self.register_parameter("missing", None)

        def forward(self, x: Any) -> Any:
            y = self.blocks(self.stem(x)).mean((2, 3)) * self.scale
            return [head(y) for head in self.heads]

    return Net()


OURS, THEIRS = make_net(nn), make_net(torch.nn)


def names(pairs: Any) -> list[str]:
    return [name for name, _ in pairs]


def test_walks_as_pytorch() -> None:
    for ask in (
        lambda m: names(m.named_parameters()),
        lambda m: names(m.named_parameters(prefix="net", remove_duplicate=False)),
        lambda m: names(m.named_parameters(recurse=False)),
        lambda m: names(m.named_buffers()),
        lambda m: names(m.named_buffers("p", recurse=False)),
        lambda m: names(m.named_modules()),
        lambda m: names(m.named_modules(prefix="x", remove_duplicate=False)),
        lambda m: names(m.named_children()),
        lambda m: list(m.state_dict()),
        lambda m: list(m.state_dict(prefix="pre.")),
        lambda m: [type(c).__name__ for c in m.modules()],
        lambda m: [type(c).__name__ for c in m.children()],
        lambda m: sum(p.numel() for p in m.parameters()),
        lambda m: len(list(m.buffers())),
        lambda m: [tuple(p.shape) for p in m.parameters()],
        lambda m: dict(m.state_dict()._metadata),
        lambda m: {"scale", "stem", "table", "weight"} & set(dir(m)),
        lambda m: {"0", "1"} & set(dir(m.blocks)),
    ):
        assert ask(OURS) == ask(THEIRS)


def test_prints_as_pytorch() -> None:
    assert repr(OURS) == repr(THEIRS)
    for lib in (nn, torch.nn):
        lib.folded = lib.ModuleList([lib.ReLU() for _ in range(3)] + [lib.Sequential(lib.Tanh())])
    assert repr(nn.folded) == repr(torch.nn.folded)
    assert "(0-2): 3 x ReLU()" in repr(nn.folded)
    del nn.folded, torch.nn.folded

    def odd(lib: Any) -> Any:
        class Odd(lib.Module):
            def __init__(self) -> None:
                super().__init__()
                self.inner = lib.Sequential(lib.ReLU(), lib.Sequential())
                self.gone = None

            def extra_repr(self) -> str:
                return "two\nlines"

        module = Odd()
        module.add_module("none", None)
        return module

    assert repr(odd(nn)) == repr(odd(torch.nn))


@BOTH
def test_attributes(lib: Any) -> None:
    m = lib.Linear(2, 3)
    weight = m.weight
    m.weight = lib.Parameter(tensor_of(lib, 3, 2))
    assert m.weight is not weight
    with pytest.raises(TypeError, match="as parameter 'weight'"):
        m.weight = tensor_of(lib, 3, 2)
    m.bias = None
    assert dict(m._parameters)["bias"] is None
    assert list(m.state_dict()) == ["weight"]
    m.note = "plain"
    m.note = lib.ReLU()
    assert names(m.named_children()) == ["note"]
    with pytest.raises(TypeError, match="as child module 'note'"):
        m.note = 3
    m.note = lib.Parameter(tensor_of(lib, 1))
    assert names(m.named_children()) == []
    assert names(m.named_parameters()) == ["weight", "note"]
    del m.note
    with pytest.raises(AttributeError, match="'Linear' object has no attribute 'note'"):
        _ = m.note
    with pytest.raises(AttributeError):
        del m.note
    m.extra = lib.Buffer(tensor_of(lib, 2))
    m.hidden = lib.Buffer(tensor_of(lib, 2), persistent=False)
    assert names(m.named_buffers()) == ["extra", "hidden"]
    assert list(m.state_dict()) == ["weight", "extra"]
    m.extra = tensor_of(lib, 5)
    assert tuple(m.state_dict()["extra"].shape) == (5,)
    with pytest.raises(TypeError, match="as buffer 'extra'"):
        m.extra = 3
    del m.extra
    assert names(m.named_buffers()) == ["hidden"]
    m.training = False
    assert not m.training


@BOTH
def test_registering(lib: Any) -> None:
    m = lib.Module()
    p = lib.Parameter(tensor_of(lib, 2))
    for error, call in [
        (KeyError, lambda: m.register_parameter("a.b", p)),
        (KeyError, lambda: m.register_parameter("", p)),
        (TypeError, lambda: m.register_parameter(3, p)),
        (TypeError, lambda: m.register_parameter("x", tensor_of(lib, 2))),
        (KeyError, lambda: m.register_parameter("forward", p)),
        (KeyError, lambda: m.register_buffer("a.b", None)),
        (TypeError, lambda: m.register_buffer("x", 3)),
        (KeyError, lambda: m.register_buffer("training", None)),
        (KeyError, lambda: m.add_module("a.b", lib.ReLU())),
        (TypeError, lambda: m.add_module("x", 3)),
        (TypeError, lambda: m.add_module(3, lib.ReLU())),
        (KeyError, lambda: m.add_module("eval", lib.ReLU())),
    ]:
        with pytest.raises(error):
            call()
    leaf = lib.Parameter(tensor_of(lib, 2))
    derived = leaf * 2
    with pytest.raises((ValueError, TypeError)):
        m.register_parameter("derived", derived)
    m.register_module("relu", lib.ReLU())
    m.register_parameter("p", p)
    assert m.p is p
    with pytest.raises(KeyError, match="already exists"):
        m.register_buffer("p", None)


@BOTH
def test_before_super_init(lib: Any) -> None:
    class Forgetful(lib.Module):
        def __init__(self, value: Any) -> None:
            self.value = value

    Forgetful(3)  # a plain attribute is fine
    for value in (lib.ReLU(), lib.Parameter(tensor_of(lib, 1))):
        with pytest.raises(AttributeError, match=r"before Module.__init__\(\) call"):
            Forgetful(value)
    with pytest.raises(TypeError):
        lib.Module(1)
    with pytest.raises(TypeError):
        lib.Module(size=1)
    with pytest.raises(NotImplementedError, match='missing the required "forward" function'):
        lib.Module()(1)


@BOTH
def test_paths(lib: Any) -> None:
    net = OURS if lib is nn else THEIRS
    assert net.get_submodule("") is net
    assert net.get_submodule("blocks.1.conv") is net.blocks[1].conv
    assert net.get_parameter("blocks.1.conv.weight") is net.blocks[1].conv.weight
    assert net.get_buffer("blocks.0.bn.running_mean") is net.blocks[0].bn.running_mean
    for call in (
        lambda: net.get_submodule("blocks.7"),
        lambda: net.get_submodule("blocks.0.training"),
        lambda: net.get_parameter("blocks.0.bn.running_mean"),
        lambda: net.get_parameter("nothing.weight"),
        lambda: net.get_buffer("blocks.0.conv.weight"),
        lambda: net.get_buffer("nothing"),
    ):
        with pytest.raises(AttributeError):
            call()
    copied = copy.deepcopy(net)
    copied.set_submodule("blocks.0.relu", lib.Tanh())
    assert isinstance(copied.blocks[0].relu, lib.Tanh)
    with pytest.raises(ValueError, match="target"):
        copied.set_submodule("", lib.Tanh())


@BOTH
def test_modes_and_gradients(lib: Any) -> None:
    net = make_net(lib)
    assert net.eval() is net
    assert not any(m.training for m in net.modules())
    net.train()
    assert all(m.training for m in net.modules())
    with pytest.raises(ValueError, match="boolean"):
        net.train(1)
    assert net.requires_grad_(False) is net
    assert not any(p.requires_grad for p in net.parameters())
    net.requires_grad_()
    for p in net.parameters():
        p.grad = tensor_of(lib, *p.shape)
    net.zero_grad(set_to_none=False)
    assert all(float(p.grad.sum()) == 0 for p in net.parameters())
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())
    order: list[str] = []
    net.apply(lambda m: order.append(type(m).__name__))
    assert order[-1] == "Net"
    assert order == [type(m).__name__ for m in _children_first(net)]


def _children_first(module: Any) -> Any:
    for child in module.children():
        yield from _children_first(child)
    yield module


def test_conversions() -> None:
    net = make_net(nn)
    parameter = net.scale
    parameter.grad = Tensor._wrap(np.ones(1, np.float32))
    assert net.double() is net
    assert net.scale is parameter
    assert parameter.dtype is mt.float64
    assert parameter.grad.dtype is mt.float64
    assert net.blocks[0].bn.running_mean.dtype is mt.float64
    assert net.blocks[0].bn.num_batches_tracked.dtype is mt.int64
    assert net.heads[0].weight is net.heads[1].weight
    for convert, dtype in (
        (net.float, mt.float32),
        (net.half, mt.float16),
        (lambda: net.to(mt.float64), mt.float64),
        (lambda: net.to("cpu", mt.float32), mt.float32),
        (lambda: net.to(device=mt.device("cpu"), dtype=mt.float64), mt.float64),
        (lambda: net.to(Tensor._wrap(np.ones(1, np.float32))), mt.float32),
        (lambda: net.to("cpu", non_blocking=True), mt.float32),
        (lambda: net.cpu().share_memory(), mt.float32),
    ):
        assert convert() is net
        assert net.stem[0].weight.dtype is dtype
    with pytest.raises(TypeError, match="floating point"):
        net.to(mt.int64)
    with pytest.raises(TypeError):
        net.to(color="red")


def test_parameter() -> None:
    data = Tensor._wrap(np.arange(3, dtype=np.float32))
    p = nn.Parameter(data)
    assert p.array is data.array
    assert p.requires_grad
    assert p.is_leaf
    assert isinstance(p, Tensor)
    assert repr(p).startswith("Parameter containing:\ntensor([0., 1., 2.], requires_grad=True)")
    assert type(p * 2) is Tensor
    assert type(p.detach()) is Tensor
    assert not nn.Parameter(data, requires_grad=False).requires_grad
    assert nn.Parameter().array.shape == (0,)
    with pytest.raises(RuntimeError, match="floating point"):
        nn.Parameter(Tensor._wrap(np.arange(3)))
    with pytest.raises(TypeError, match="expects a Tensor"):
        nn.Parameter(np.ones(3))
    with mt.no_grad():
        assert nn.Parameter(data).requires_grad
    p.grad = Tensor._wrap(np.ones(3, np.float32))
    for copied in (copy.deepcopy(p), pickle.loads(pickle.dumps(p))):
        assert type(copied) is nn.Parameter
        assert copied.requires_grad
        assert copied.grad is None
        assert copied.array is not p.array
        np.testing.assert_array_equal(copied.array, p.array)


def test_copy_and_pickle() -> None:
    linear = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Dropout(0.1)).eval()
    linear[0].tied = linear[0].weight
    for copied in (copy.deepcopy(linear), pickle.loads(pickle.dumps(linear))):
        assert repr(copied) == repr(linear)
        assert not copied.training
        assert copied[0].tied is copied[0].weight
        for key, value in linear.state_dict().items():
            np.testing.assert_array_equal(copied.state_dict()[key].array, value.array)
            assert copied.state_dict()[key].array is not value.array
        assert all(p.requires_grad for p in copied.parameters())


def error_of(call: Any) -> BaseException:
    with pytest.raises(Exception) as caught:
        call()
    return caught.value


def test_errors_name_the_layer() -> None:
    x = Tensor._wrap(np.zeros((2, 5), np.float32))
    net = nn.Sequential(nn.Sequential(nn.Linear(5, 4), nn.ReLU()), nn.Linear(3, 2))
    error = error_of(lambda: net(x))
    assert type(error) is RuntimeError
    assert str(error).endswith("\nin layer '1' (Linear(in_features=3, out_features=2, bias=True))")
    assert str(error).count("in layer") == 1
    deeper = nn.DataParallel(nn.Sequential(nn.Identity(), net))
    assert "\nin layer 'module.1.1' (Linear(" in str(error_of(lambda: deeper(x)))
    assert "\nin layer Linear(" in str(error_of(lambda: net[1](x)))

    class Picky(nn.Module):
        def __init__(self, error: Exception) -> None:
            super().__init__()
            self.inner = nn.ReLU()
            self.error = error

        def forward(self, x: Any) -> Any:
            raise self.error

    for error in (ValueError("no"), IndexError("no"), NotImplementedError("no")):
        caught = error_of(lambda error=error: nn.Sequential(nn.Tanh(), Picky(error))(x))
        assert caught is error
        assert str(caught) == "no\nin layer '1' (Picky)"
    # Errors whose arguments mean something else stay as they are.
    for error in (KeyError("no"), OSError(2, "no"), ValueError(), ValueError("a", "b")):
        before = error.args
        assert error_of(lambda error=error: Picky(error)(x)).args == before


def test_linear_says_what_to_write() -> None:
    net = nn.Sequential(nn.Linear(100, 10))
    message = str(error_of(lambda: net(Tensor._wrap(np.zeros((64, 320), np.float32)))))
    for part in (
        "mat1 and mat2 shapes cannot be multiplied (64x320 and 100x10)",
        "[64 x 320]",
        "[100 x 10]",
        "Linear(320, 10)",
        "in layer '0' (Linear(in_features=100, out_features=10, bias=True))",
    ):
        assert part in message
    deep = str(error_of(lambda: net(Tensor._wrap(np.zeros((2, 3, 7), np.float32)))))
    assert "(6x7 and 100x10)" in deep
    assert "[2, 3, 7]" in deep
    mixed = error_of(lambda: net(Tensor._wrap(np.zeros((2, 100)))))
    assert isinstance(mixed, RuntimeError)
    assert "same dtype" in str(mixed)


@pytest.mark.parametrize(
    ("where", "name", "feature"),
    [
        (nn, "LSTM", "recurrent networks"),
        (nn, "Transformer", "attention and transformers"),
        (nn, "MultiheadAttention", "attention"),
        (nn, "Conv3d", "volumes"),
        (nn, "quantized", "quantisation"),
        (nn.functional, "scaled_dot_product_attention", "attention"),
        (nn.functional, "ctc_loss", "CTC"),
        (nn.functional, "grid_sample", "spatial transformers"),
        (nn.modules, "GRU", "recurrent networks"),
        (nn.utils, "spectral_norm", "reparametrised weights"),
        (nn, "Conv2D", "plain convolutional networks"),
    ],
)
def test_missing_parts_say_so(where: Any, name: str, feature: str) -> None:
    with pytest.raises(AttributeError, match=feature) as caught:
        getattr(where, name)
    assert name in str(caught.value)
    assert not hasattr(where, name)


def test_paths_that_scripts_import() -> None:
    from minitorch_cnn.nn.modules.batchnorm import _BatchNorm
    from minitorch_cnn.nn.modules.conv import _ConvNd
    from minitorch_cnn.nn.modules.utils import _pair
    from minitorch_cnn.nn.parallel import DataParallel
    from minitorch_cnn.nn.parameter import Parameter

    assert isinstance(nn.BatchNorm2d(3), _BatchNorm)
    assert isinstance(nn.Conv2d(3, 3, 1), _ConvNd)
    assert _pair(3) == (3, 3)
    assert _pair([1, 2]) == (1, 2)
    assert Parameter is nn.Parameter
    assert DataParallel is nn.DataParallel
