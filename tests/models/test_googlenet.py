"""GoogLeNet: its module and heads against PyTorch, and what its options do."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

import minitorch_cnn as mt
from minitorch_cnn import nn, optim
from minitorch_cnn.models.googlenet import (
    TABLE_1,
    GoogLeNet,
    GoogLeNetOutputs,
    Inception,
    InceptionAux,
    googlenet,
)
from minitorch_cnn.models.inception_parts import BasicConv2d
from minitorch_cnn.tools.summary import summary

from . import common
from .inception_oracle import Weights, assert_same, fill, rescaled, sizes_at

CHANNELS = st.integers(1, 7)


def oracle(w: Weights, x: torch.Tensor) -> torch.Tensor:
    b1 = w.conv("branch1", x)
    b2 = w.conv("branch2.1", w.conv("branch2.0", x), padding=1)
    b3 = w.conv("branch3.1", w.conv("branch3.0", x), padding=1)
    b4 = w.conv("branch4.1", F.max_pool2d(x, 3, 1, 1))
    return torch.cat([b1, b2, b3, b4], 1)


def aux_oracle(w: Weights, x: torch.Tensor) -> torch.Tensor:
    x = w.conv("conv", F.adaptive_avg_pool2d(x, 4)).flatten(1)
    return w.linear("fc2", F.relu(w.linear("fc1", x)))


@given(st.tuples(*[CHANNELS] * 7), st.integers(1, 3), st.integers(2, 9), st.integers(1, 9))
def test_inception_module(channels: tuple[int, ...], n: int, h: int, w: int) -> None:
    assert_same(Inception(*channels), oracle, common.images((n, channels[0], h, w), n))


@given(CHANNELS, st.integers(1, 9), st.integers(1, 3), st.integers(1, 15), st.integers(1, 15))
def test_auxiliary_head_takes_any_map(c: int, classes: int, n: int, h: int, w: int) -> None:
    assert_same(InceptionAux(c, classes), aux_oracle, common.images((n, c, h, w), n))


def test_small_network_is_the_same_in_pytorch() -> None:
    """All of it at 28x31, heads included: outputs, gradients, running statistics."""
    options = {"num_classes": 5, "in_channels": 2, "small_input": True, "init_weights": False}
    model = fill(googlenet(**options))
    theirs = common.in_pytorch("googlenet").googlenet(**options).double()

    def run(w: Weights, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        theirs.train(w.training)
        state = {**w.parameters, **w.buffers}
        return tuple(common.outputs_of(torch.func.functional_call(theirs, state, (x,))))

    list(common.without_dropout(theirs))
    assert_same(model, run, common.images((2, 2, 28, 31), 1))


@pytest.fixture(scope="module")
def small() -> GoogLeNet:
    return googlenet(num_classes=10, in_channels=1, small_input=True, init_weights=False)


@pytest.mark.parametrize("size", [28, 32])
def test_small_input_keeps_the_stages_of_the_paper(small: GoogLeNet, size: int) -> None:
    stages = ["conv1", "conv3", "inception3a", "inception4e", "inception5b", "aux1.conv"]
    assert sizes_at(small.train(), stages, mt.zeros(2, 1, size, size)) == {
        "conv1": (64, size, size),
        "conv3": (192, size, size),
        "inception3a": (256, size, size),
        "inception4e": (832, size // 2, size // 2),
        "inception5b": (1024, size // 4, size // 4),
        "aux1.conv": (128, 4, 4),
    }


def test_outputs_in_train_and_eval_mode(small: GoogLeNet) -> None:
    x = mt.randn(2, 1, 28, 28)
    y = small.train()(x)
    assert isinstance(y, GoogLeNetOutputs)
    assert y._fields == ("logits", "aux_logits2", "aux_logits1")
    assert [t.shape for t in y] == [(2, 10)] * 3
    assert small.eval()(x).shape == (2, 10)

    plain = GoogLeNet(10, False, in_channels=1, small_input=True, init_weights=False)
    assert plain.aux1 is None
    assert plain.aux2 is None
    assert plain.train()(x).shape == (2, 10)
    plain.load_state_dict({k: v for k, v in small.state_dict().items() if "aux" not in k})
    np.testing.assert_array_equal(
        plain.eval()(x).detach().numpy(), small.eval()(x).detach().numpy()
    )


@pytest.mark.parametrize(("head", "trunk"), [("aux1", "inception4a"), ("aux2", "inception4d")])
def test_each_head_learns_and_reaches_the_first_layer(
    small: GoogLeNet, head: str, trunk: str
) -> None:
    before = {name: p.detach().numpy().copy() for name, p in small.named_parameters()}
    sgd = optim.SGD(small.parameters(), lr=0.1)
    sgd.zero_grad()
    outputs = small.train()(mt.randn(2, 1, 28, 28))
    logits = getattr(outputs, head.replace("aux", "aux_logits"))
    nn.functional.cross_entropy(logits, mt.tensor([3, 4])).backward()
    sgd.step()
    changed = {
        name.split(".")[0]
        for name, p in small.named_parameters()
        if not np.array_equal(p.detach().numpy(), before[name])
    }
    stages = [f"inception{name}" for name in TABLE_1]
    reached = stages[: stages.index(trunk) + 1]
    assert changed == {head, "conv1", "conv2", "conv3", *reached}


def test_transform_input_is_its_formula() -> None:
    model = GoogLeNet(7, transform_input=True, init_weights=False).double().eval()
    x = common.images((2, 3, 33, 40), 1)
    with mt.no_grad():
        found = model(mt.from_numpy(x))
        model.transform_input = False
        expected = model(mt.from_numpy(rescaled(x)))
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=0, atol=1e-12)


def test_a_reduction_by_1x1_saves_what_the_docstring_says() -> None:
    def macs(layer: nn.Module, channels: int) -> int:
        return int(summary(layer, (channels, 28, 28), 1).macs)

    def direct(kernel: int) -> int:
        """Module 3a without its two reductions."""
        sizes = [(64, 1), (128, 3), (32, kernel), (32, 1)]
        return sum(macs(nn.Conv2d(192, f, k, padding=k // 2), 192) for f, k in sizes)

    row = TABLE_1["3a"]
    module = macs(Inception(192, *row), 192)
    wider = macs(nn.Conv2d(16, 32, 5, padding=2), 16) - macs(nn.Conv2d(16, 32, 3, padding=1), 16)
    reduced = macs(nn.Conv2d(192, 96, 1), 192) + macs(nn.Conv2d(96, 128, 3, padding=1), 96)
    costs = (macs(nn.Conv2d(192, 128, 3, padding=1), 192), reduced)
    costs += (module, direct(3), module + wider, direct(5))
    assert costs == (173408256, 101154816, 121626624, 231211008, 128049152, 308281344)
    for cost in costs:
        assert f"{cost:,}" in str(Inception.__doc__)


def test_initialisation() -> None:
    model = googlenet()
    for layer in (model.conv1.conv, model.inception5b.branch2[1].conv, model.aux1.fc1, model.fc):
        w = layer.weight.detach().numpy()
        assert w.std() == pytest.approx(0.01, rel=0.05)
        assert abs(w.mean()) < 5 * 0.01 / w.size**0.5
    default = googlenet(init_weights=False).conv3.conv.weight.detach().numpy()
    bound = (64 * 9) ** -0.5
    assert 0.95 * bound < abs(default).max() <= bound


def test_smallest_input() -> None:
    model = GoogLeNet(3, init_weights=False).eval()
    assert model(mt.zeros(1, 3, 15, 15)).shape == (1, 3)
    with pytest.raises(RuntimeError, match=r"480 x 1 x 1(.|\n)*in layer 'maxpool3' \(MaxPool2d"):
        model(mt.zeros(1, 3, 14, 14))
    assert model.train()(mt.zeros(1, 3, 47, 47)).logits.shape == (1, 3)
    with pytest.raises(ValueError, match=r"1 value per channel(.|\n)*'inception5a.branch1.bn'"):
        model(mt.zeros(1, 3, 46, 46))


def test_wrong_options() -> None:
    with pytest.raises(ValueError, match="transform_input needs 3 channels, not 1"):
        googlenet(transform_input=True, in_channels=1)
    with pytest.raises(ValueError, match="blocks must be 3"):
        googlenet(blocks=[Inception])


def test_blocks_are_replaced() -> None:
    class Quiet(BasicConv2d):
        pass

    class Wide(Inception):
        pass

    model = googlenet(blocks=[Quiet, Wide, InceptionAux], init_weights=False)
    assert {type(m) for m in (model.conv1, model.conv2, model.conv3)} == {Quiet}
    assert {type(getattr(model, f"inception{name}")) for name in TABLE_1} == {Wide}


def test_weights_files_bring_heads_and_their_scale() -> None:
    prepare, finish = googlenet.prepare_weights, googlenet.finish_weights
    loading = {"aux_logits": True, "init_weights": False}
    assert prepare({}) == {"transform_input": True, **loading}
    assert prepare({"transform_input": False, "aux_logits": False, "dropout": 0.1}) == {
        "transform_input": False, "dropout": 0.1, **loading,
    }  # fmt: skip
    assert prepare({"num_classes": 10}) == {"num_classes": 10, **loading}

    model = GoogLeNet(10, init_weights=False)
    finish(model, {"aux_logits": True, "num_classes": 10})
    assert model.aux_logits
    with pytest.warns(UserWarning, match="auxiliary heads"):
        finish(model, {"aux_logits": True})
    finish(model, {})
    assert not model.aux_logits
    assert model.aux1 is model.aux2 is None
    assert not [name for name in model.state_dict() if name.startswith("aux")]
    assert model.train()(mt.zeros(2, 3, 32, 32)).shape == (2, 10)
