"""nn.utils: clipping, parameters as a vector, fused convolution and batch norm."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import torch

import minitorch_cnn as mt
from minitorch_cnn import nn
from minitorch_cnn.nn import utils

from .compare import close, copy_state, ours, theirs
from .test_layers import IMAGE


def parameters(lib: Any, gradients: Any) -> list[Any]:
    make = ours if lib is nn else theirs
    result = []
    for g in gradients:
        p = lib.Parameter(make(np.zeros_like(g)))
        p.grad = make(g)
        result.append(p)
    return [*result, lib.Parameter(make(np.zeros(2)))]  # one without a gradient


GRADIENTS = [np.random.default_rng(i).standard_normal((i + 1, 3)).astype("f4") for i in range(3)]


@pytest.mark.parametrize("norm_type", [1, 2.0, 3.5, float("inf")])
@pytest.mark.parametrize("max_norm", [0.1, 1e3])
def test_clip_grad_norm(max_norm: float, norm_type: float) -> None:
    mine, want = parameters(nn, GRADIENTS), parameters(torch.nn, GRADIENTS)
    total = utils.clip_grad_norm_(mine, max_norm, norm_type)
    close(total, torch.nn.utils.clip_grad_norm_(want, max_norm, norm_type))
    for a, b in zip(mine, want, strict=True):
        close(a.grad, b.grad)
    close(utils.clip_grad_norm_(mine[0], 0.01), torch.nn.utils.clip_grad_norm_(want[0], 0.01))
    close(mine[0].grad, want[0].grad)


def test_clip_grad_norm_of_nothing_and_of_nan() -> None:
    assert utils.clip_grad_norm_([], 1.0).item() == 0
    assert utils.clip_grad_norm_(iter(parameters(nn, [])), 1.0).item() == 0
    bad = [np.array([np.nan, 1], "f4")]
    p = parameters(nn, bad)
    with pytest.raises(RuntimeError, match="non-finite"):
        utils.clip_grad_norm_(p, 1.0, error_if_nonfinite=True)
    np.testing.assert_array_equal(p[0].grad.array, bad[0])
    utils.clip_grad_norm_(p, 1.0)
    assert np.isnan(p[0].grad.array).all()
    with pytest.warns(FutureWarning, match="clip_grad_norm_"):
        utils.clip_grad_norm(p, 1.0)


def test_clip_grad_value() -> None:
    mine, want = parameters(nn, GRADIENTS), parameters(torch.nn, GRADIENTS)
    utils.clip_grad_value_(mine, 0.3)
    torch.nn.utils.clip_grad_value_(want, 0.3)
    for a, b in zip(mine, want, strict=True):
        close(a.grad, b.grad)


def test_vector_and_back() -> None:
    net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).double()
    vector = utils.parameters_to_vector(net.parameters())
    assert vector.shape == (6 + 2 + 2 + 2,)
    (vector * vector).sum().backward()
    np.testing.assert_allclose(net[0].weight.grad.array, 2 * net[0].weight.array)
    new = ours(np.arange(12.0))
    utils.vector_to_parameters(new, net.parameters())
    assert net[0].weight.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert net[1].bias.tolist() == [10, 11]
    new.array[0] = 7
    assert net[0].weight.array[0, 0] == 7  # views of the vector, as in PyTorch
    with pytest.raises(TypeError):
        utils.vector_to_parameters([1, 2], net.parameters())


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("affine", [True, False])
def test_fuse_conv_bn(bias: bool, affine: bool) -> None:
    conv = nn.Conv2d(4, 6, 3, groups=2, bias=bias).double()
    bn = nn.BatchNorm2d(6, affine=affine).double()
    for m, reference in (
        (conv, torch.nn.Conv2d(4, 6, 3, groups=2, bias=bias).double()),
        (bn, torch.nn.BatchNorm2d(6, affine=affine).double()),
    ):
        copy_state(m, reference)
    with pytest.raises(AssertionError, match="eval"):
        utils.fuse_conv_bn_eval(conv, bn)
    fused = utils.fuse_conv_bn_eval(conv.eval(), bn.eval())
    with mt.no_grad():
        want = bn(conv(ours(IMAGE))).array
    np.testing.assert_allclose(fused(ours(IMAGE)).array, want, rtol=1e-10, atol=1e-12)
    transposed = nn.ConvTranspose2d(4, 6, 3, bias=bias).double().eval()
    fused = utils.fuse_conv_bn_eval(transposed, bn, transpose=True)
    want = bn(transposed(ours(IMAGE))).array
    np.testing.assert_allclose(fused(ours(IMAGE)).array, want, rtol=1e-10, atol=1e-12)


def test_signatures() -> None:
    for name in ("clip_grad_norm_", "clip_grad_value_", "fuse_conv_bn_eval", "fuse_conv_bn_weights",
                 "get_total_norm", "parameters_to_vector", "vector_to_parameters"):  # fmt: skip
        assert list(inspect.signature(getattr(utils, name)).parameters) == list(
            inspect.signature(getattr(torch.nn.utils, name, None)
                              or getattr(torch.nn.utils.fusion, name)).parameters
        )  # fmt: skip
