"""Inception v3: every block against PyTorch, and what the options do."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

import minitorch_cnn as mt
from minitorch_cnn import nn, optim
from minitorch_cnn.models.inception_parts import BasicConv2d
from minitorch_cnn.models.inception_v3 import (
    Inception3,
    InceptionA,
    InceptionAux,
    InceptionB,
    InceptionC,
    InceptionD,
    InceptionE,
    InceptionOutputs,
    inception_v3,
)
from minitorch_cnn.tools.summary import summary

from . import common
from .inception_oracle import Weights, assert_same, fill, one_thread, rescaled, sizes_at

CHANNELS = st.integers(1, 9)
BATCH = st.integers(1, 2)
SIDE = st.integers(2, 9)
SIDE_TO_HALVE = st.integers(5, 11)


def average(x: torch.Tensor) -> torch.Tensor:
    """With the zeros around the map written out."""
    return F.avg_pool2d(F.pad(x, (1, 1, 1, 1)), 3, 1)


def a(w: Weights, x: torch.Tensor) -> torch.Tensor:
    b5 = w.conv("branch5x5_2", w.conv("branch5x5_1", x), padding=2)
    b3 = w.conv("branch3x3dbl_2", w.conv("branch3x3dbl_1", x), padding=1)
    b3 = w.conv("branch3x3dbl_3", b3, padding=1)
    return torch.cat([w.conv("branch1x1", x), b5, b3, w.conv("branch_pool", average(x))], 1)


def b(w: Weights, x: torch.Tensor) -> torch.Tensor:
    b3 = w.conv("branch3x3dbl_2", w.conv("branch3x3dbl_1", x), padding=1)
    b3 = w.conv("branch3x3dbl_3", b3, stride=2)
    return torch.cat([w.conv("branch3x3", x, stride=2), b3, F.max_pool2d(x, 3, 2)], 1)


def c(w: Weights, x: torch.Tensor) -> torch.Tensor:
    wide, tall = (0, 3), (3, 0)
    b7 = w.conv("branch7x7_2", w.conv("branch7x7_1", x), padding=wide)
    b7 = w.conv("branch7x7_3", b7, padding=tall)
    double = w.conv("branch7x7dbl_2", w.conv("branch7x7dbl_1", x), padding=tall)
    double = w.conv("branch7x7dbl_3", double, padding=wide)
    double = w.conv("branch7x7dbl_4", double, padding=tall)
    double = w.conv("branch7x7dbl_5", double, padding=wide)
    return torch.cat([w.conv("branch1x1", x), b7, double, w.conv("branch_pool", average(x))], 1)


def d(w: Weights, x: torch.Tensor) -> torch.Tensor:
    b3 = w.conv("branch3x3_2", w.conv("branch3x3_1", x), stride=2)
    b7 = w.conv("branch7x7x3_2", w.conv("branch7x7x3_1", x), padding=(0, 3))
    b7 = w.conv("branch7x7x3_4", w.conv("branch7x7x3_3", b7, padding=(3, 0)), stride=2)
    return torch.cat([b3, b7, F.max_pool2d(x, 3, 2)], 1)


def e(w: Weights, x: torch.Tensor) -> torch.Tensor:
    b3 = w.conv("branch3x3_1", x)
    double = w.conv("branch3x3dbl_2", w.conv("branch3x3dbl_1", x), padding=1)
    return torch.cat(
        [
            w.conv("branch1x1", x),
            w.conv("branch3x3_2a", b3, padding=(0, 1)),
            w.conv("branch3x3_2b", b3, padding=(1, 0)),
            w.conv("branch3x3dbl_3a", double, padding=(0, 1)),
            w.conv("branch3x3dbl_3b", double, padding=(1, 0)),
            w.conv("branch_pool", average(x)),
        ],
        1,
    )


def head(w: Weights, x: torch.Tensor) -> torch.Tensor:
    x = w.conv("conv1", w.conv("conv0", F.avg_pool2d(x, 5, 3)))
    return w.linear("fc", x.mean(dim=(2, 3)))


def small_head(w: Weights, x: torch.Tensor) -> torch.Tensor:
    x = w.conv("conv1", w.conv("conv0", F.adaptive_avg_pool2d(x, 5)))
    return w.linear("fc", x[:, :, 0, 0])


@given(CHANNELS, CHANNELS, BATCH, SIDE, SIDE)
def test_inception_a(channels: int, pool_features: int, n: int, h: int, w: int) -> None:
    assert_same(InceptionA(channels, pool_features), a, common.images((n, channels, h, w), n))


@given(CHANNELS, BATCH, SIDE_TO_HALVE, SIDE_TO_HALVE)
def test_inception_b(channels: int, n: int, h: int, w: int) -> None:
    assert_same(InceptionB(channels), b, common.images((n, channels, h, w), n))


@given(CHANNELS, CHANNELS, BATCH, SIDE, SIDE)
def test_inception_c(channels: int, channels_7x7: int, n: int, h: int, w: int) -> None:
    assert_same(InceptionC(channels, channels_7x7), c, common.images((n, channels, h, w), n))


@settings(max_examples=10)
@given(CHANNELS, BATCH, SIDE_TO_HALVE, SIDE_TO_HALVE)
def test_inception_d(channels: int, n: int, h: int, w: int) -> None:
    assert_same(InceptionD(channels), d, common.images((n, channels, h, w), n))


@settings(max_examples=6)
@given(CHANNELS, BATCH, SIDE, SIDE)
def test_inception_e(channels: int, n: int, h: int, w: int) -> None:
    assert_same(InceptionE(channels), e, common.images((n, channels, h, w), n))


@settings(max_examples=6)
@given(CHANNELS, st.integers(1, 9), st.integers(17, 22), st.integers(17, 22))
def test_auxiliary_head(channels: int, classes: int, h: int, w: int) -> None:
    assert_same(InceptionAux(channels, classes), head, common.images((2, channels, h, w), 3))


@settings(max_examples=6)
@given(CHANNELS, st.integers(1, 9), st.integers(1, 18), st.integers(1, 18))
def test_auxiliary_head_of_small_inputs_takes_any_map(
    channels: int, classes: int, h: int, w: int
) -> None:
    model = InceptionAux(channels, classes, small_input=True)
    assert_same(model, small_head, common.images((2, channels, h, w), 3))


def stem_of(small_input: bool) -> Inception3:
    """The network with everything behind the stem cut out."""
    model = Inception3(aux_logits=False, init_weights=False, small_input=small_input)
    for name, _ in list(model.named_children()):
        if name.startswith("Mixed") or name in ("avgpool", "fc"):
            setattr(model, name, nn.Identity())
    return model


def test_stem() -> None:
    def oracle(w: Weights, x: torch.Tensor) -> torch.Tensor:
        x = w.conv("Conv2d_2a_3x3", w.conv("Conv2d_1a_3x3", x, stride=2))
        x = F.max_pool2d(w.conv("Conv2d_2b_3x3", x, padding=1), 3, 2)
        x = w.conv("Conv2d_4a_3x3", w.conv("Conv2d_3b_1x1", x))
        return F.max_pool2d(x, 3, 2).flatten(1)

    assert_same(stem_of(False), oracle, common.images((2, 3, 37, 44), 1))


def test_stem_of_small_inputs() -> None:
    def oracle(w: Weights, x: torch.Tensor) -> torch.Tensor:
        x = w.conv("Conv2d_2a_3x3", w.conv("Conv2d_1a_3x3", x, padding=1), padding=1)
        x = w.conv("Conv2d_3b_1x1", w.conv("Conv2d_2b_3x3", x, padding=1))
        return w.conv("Conv2d_4a_3x3", x, padding=1).flatten(1)

    assert_same(stem_of(True), oracle, common.images((2, 3, 6, 9), 1))


@pytest.fixture(scope="module")
def small() -> Inception3:
    return inception_v3(num_classes=10, in_channels=1, small_input=True)


@pytest.mark.parametrize(("size", "half", "quarter"), [(28, 13, 6), (32, 15, 7)])
def test_small_input(small: Inception3, size: int, half: int, quarter: int) -> None:
    stages = ["Mixed_5b", "Mixed_6e", "AuxLogits.conv0", "AuxLogits.conv1", "Mixed_7c"]
    assert sizes_at(small.train(), stages, mt.zeros(2, 1, size, size)) == {
        "Mixed_5b": (256, size, size),
        "Mixed_6e": (768, half, half),
        "AuxLogits.conv0": (128, 5, 5),
        "AuxLogits.conv1": (768, 1, 1),
        "Mixed_7c": (2048, quarter, quarter),
    }


def test_outputs_in_train_and_eval_mode(small: Inception3) -> None:
    x = mt.randn(2, 1, 28, 28)
    y = small.train()(x)
    assert isinstance(y, InceptionOutputs)
    assert y._fields == ("logits", "aux_logits")
    assert [t.shape for t in y] == [(2, 10)] * 2
    assert small.eval()(x).shape == (2, 10)

    plain = Inception3(10, False, in_channels=1, small_input=True, init_weights=False)
    assert plain.AuxLogits is None
    assert plain.train()(x).shape == (2, 10)
    plain.load_state_dict({k: v for k, v in small.state_dict().items() if "Aux" not in k})
    with mt.no_grad():
        np.testing.assert_array_equal(plain.eval()(x).numpy(), small.eval()(x).numpy())


def test_the_head_learns_and_reaches_the_first_layer(small: Inception3) -> None:
    before = {name: p.detach().numpy().copy() for name, p in small.named_parameters()}
    sgd = optim.SGD(small.parameters(), lr=0.1)
    sgd.zero_grad()
    _, aux = small.train()(mt.randn(2, 1, 28, 28))
    nn.functional.cross_entropy(aux, mt.tensor([3, 4])).backward()
    assert small.fc.weight.grad is None
    sgd.step()
    changed = {
        name.split(".")[0]
        for name, p in small.named_parameters()
        if not np.array_equal(p.detach().numpy(), before[name])
    }
    assert {"AuxLogits", "Conv2d_1a_3x3", "Mixed_5b", "Mixed_6e"} <= changed
    assert not {"Mixed_7a", "Mixed_7c", "fc"} & changed


def test_transform_input_is_its_formula() -> None:
    model = fill(Inception3(7, transform_input=True, init_weights=False)).eval()
    x = common.images((1, 3, 76, 80), 1)
    with mt.no_grad():
        found = model(mt.from_numpy(x))
        model.transform_input = False
        expected = model(mt.from_numpy(rescaled(x)))
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=0, atol=1e-12)


def test_factorising_saves_what_the_docstring_says() -> None:
    def macs(*layers: nn.Module) -> int:
        return int(summary(nn.Sequential(*layers), (768, 17, 17), 1).macs)

    block = InceptionC(768, 128)
    costs = (
        macs(nn.Conv2d(768, 192, 7, padding=3)),
        macs(nn.Conv2d(768, 128, 1), nn.Conv2d(128, 192, 7, padding=3)),
        macs(block.branch7x7_1, block.branch7x7_2, block.branch7x7_3),
    )
    assert costs == (2088124416, 376430592, 111271936)
    for cost in costs:
        assert f"{cost:,}" in str(InceptionC.__doc__)


def test_initialisation() -> None:
    model = inception_v3()
    for layer, std in (
        (model.Conv2d_2a_3x3.conv, 0.1),
        (model.Mixed_7c.branch3x3dbl_2.conv, 0.1),
        (model.AuxLogits.conv1.conv, 0.1),
        (model.AuxLogits.fc, 0.001),
        (model.fc, 0.1),
    ):
        w = layer.weight.detach().numpy()
        assert w.std() == pytest.approx(std, rel=0.05)
        assert abs(w.mean()) < 5 * std / w.size**0.5
    default = inception_v3(init_weights=False).Conv2d_4a_3x3.conv.weight.detach().numpy()
    bound = (80 * 9) ** -0.5
    assert 0.95 * bound < abs(default).max() <= bound


def test_smallest_input() -> None:
    model = Inception3(3, init_weights=False).eval()
    assert model(mt.zeros(1, 3, 75, 75)).shape == (1, 3)
    layer = r"padded input size per channel: \(2 x 2\)(.|\n)*in layer 'Mixed_7a.branch3x3_2.conv'"
    with pytest.raises(RuntimeError, match=layer):
        model(mt.zeros(1, 3, 74, 74))


def test_smallest_maps_of_the_head() -> None:
    model = InceptionAux(4, 3).train()
    with pytest.raises(RuntimeError, match=r"\(4 x 5\). Kernel size: \(5 x 5\)(.|\n)*'conv1.conv'"):
        model(mt.zeros(2, 4, 16, 17))
    with pytest.raises(ValueError, match=r"1 value per channel(.|\n)*'conv1.bn'"):
        model(mt.zeros(1, 4, 17, 17))


def test_wrong_options() -> None:
    with pytest.raises(ValueError, match="transform_input needs 3 channels, not 1"):
        inception_v3(transform_input=True, in_channels=1)
    with pytest.raises(ValueError, match="inception_blocks must be 7"):
        inception_v3(inception_blocks=[InceptionA])


def test_inception_blocks_are_replaced() -> None:
    """As in the networks of the Frechet distance: other pooling, the same attributes."""

    class OtherA(InceptionA):
        def forward(self, x: mt.Tensor) -> mt.Tensor:
            pooled = nn.functional.max_pool2d(x, 3, stride=1, padding=1)
            branches = [
                self.branch1x1(x),
                self.branch5x5_2(self.branch5x5_1(x)),
                self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x))),
                self.branch_pool(pooled),
            ]
            return mt.cat(branches, 1)

    def oracle(w: Weights, x: torch.Tensor) -> torch.Tensor:
        expected = a(w, x)
        pooled = w.conv("branch_pool", F.max_pool2d(x, 3, 1, 1))
        return torch.cat([expected[:, : -pooled.shape[1]], pooled], 1)

    blocks = [
        BasicConv2d, OtherA, InceptionB, InceptionC, InceptionD, InceptionE, InceptionAux,
    ]  # fmt: skip
    model = inception_v3(inception_blocks=blocks, init_weights=False)
    assert [type(m) for m in (model.Mixed_5b, model.Mixed_5d)] == [OtherA, OtherA]
    block = fill(OtherA(3, 2)).eval()
    x = common.images((1, 3, 5, 6), 1)
    with one_thread():
        expected = oracle(Weights(block), torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(block(mt.from_numpy(x)).detach().numpy(), expected, atol=1e-12)


def test_weights_files_bring_the_head_and_their_scale() -> None:
    prepare, finish = inception_v3.prepare_weights, inception_v3.finish_weights
    loading = {"aux_logits": True, "init_weights": False}
    assert prepare({"aux_logits": False}) == {"transform_input": True, **loading}
    assert prepare({"in_channels": 1}) == {"in_channels": 1, **loading}

    model = Inception3(10, init_weights=False)
    finish(model, {})
    assert model.AuxLogits is not None
    finish(model, {"aux_logits": False})
    assert model.AuxLogits is None
    assert not model.aux_logits
    assert not [name for name in model.state_dict() if name.startswith("Aux")]
