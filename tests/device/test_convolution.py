"""Convolutions and products on "cuda": each algorithm that can do a layer, against PyTorch."""

from __future__ import annotations

import importlib
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch as pytorch
from hypothesis import given, settings
from hypothesis import strategies as st

import minitorch_cnn as torch
from minitorch_cnn import nn
from minitorch_cnn.kernels import (
    algorithms,
    conv2d,
    conv2d_cuda,
    gemm,
    gemm_cuda,
    launcher,
    winograd_cuda,
)
from minitorch_cnn.tools.explain import explain

from .. import devices
from ..strategies import LAYOUTS, make_array, with_layout

DTYPES = {
    # relative to the largest number: Winograd's float32 is what needs the most
    np.float16: 2e-3,
    ml_dtypes.bfloat16: 2e-2,
    np.float32: 3e-5,
    np.float64: 1e-12,
}


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[Any, ...]:
    """x, weight, bias, (stride, padding, dilation, groups); half of them are plain 3x3."""
    plain = draw(st.booleans())
    pairs = [st.tuples(st.integers(low, high), st.integers(low, high))
             for low, high in ((1, 4), (1, 3), (0, 2), (1, 2))]  # fmt: skip
    kernel, S, P, D = (3, 3), (1, 1), draw(pairs[2]), (1, 1)
    if not plain:
        kernel, S, P, D = map(draw, pairs)
    H, W = (draw(st.integers(max(1, d * (k - 1) + 1 - 2 * p), 11))
            for k, p, d in zip(kernel, P, D))  # fmt: skip
    G = 1 if plain else draw(st.sampled_from([1, 2, 3]))
    C, F = (G * draw(st.integers(1, 4)) for _ in range(2))
    dtype = draw(st.sampled_from(list(DTYPES)))
    seed, layout = draw(st.integers(0, 999)), draw(st.sampled_from(LAYOUTS))
    x, weight, bias = (
        make_array(shape, "normal", seed + i, dtype)
        for i, shape in enumerate([(draw(st.integers(0, 3)), C, H, W), (F, C // G, *kernel), (F,)])
    )
    biased = draw(st.booleans())
    return with_layout(x, layout), weight, bias if biased else None, (S, P, D, G)


def _of_pytorch(x: Any, weight: Any, bias: Any, S: Any, P: Any, D: Any, G: int) -> Any:
    """gy, and y, gx, gw in float64 of the same numbers."""
    tensors = [pytorch.tensor(a.astype(np.float64), requires_grad=True) for a in (x, weight)]
    biases = None if bias is None else pytorch.tensor(bias.astype(np.float64))
    y = pytorch.nn.functional.conv2d(*tensors, biases, S, P, D, G)
    gy = make_array(tuple(y.shape), "normal", 7, x.dtype)
    gx, gw = pytorch.autograd.grad(y, tensors, pytorch.from_numpy(gy.astype(np.float64)))
    return gy, y.detach().numpy(), gx.numpy(), gw.numpy()


def _close(ours: Any, expected: Any, what: str) -> None:
    ours = devices.host(ours)
    atol = DTYPES[ours.dtype.type] * max(1.0, float(np.abs(expected).max(initial=0)))
    np.testing.assert_allclose(ours, expected, rtol=0, atol=atol, err_msg=what)


@settings(max_examples=40)
@given(call=convolutions())
def test_every_algorithm_is_pytorchs_convolution(call: Any) -> None:
    x, weight, bias, (S, P, D, G) = call
    gy, y, gx, gw = _of_pytorch(x, weight, bias, S, P, D, G)
    x, weight, gy = map(devices.place, (x, weight, gy))
    bias = None if bias is None else devices.place(bias)
    for name in algorithms.NAMES:
        how = S, P, D, G
        _close(conv2d.forward(x, weight, *how, bias, algorithm=name), y, f"forward, {name}")
        ours = conv2d.grad_input(gy, weight, x.shape, *how, algorithm=name)
        _close(ours, gx, f"grad_input, {name}")
        ours = conv2d.grad_weight(gy, x, weight.shape, *how, algorithm=name)
        _close(ours, gw, f"grad_weight, {name}")


def _launches(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The kernels that run from now on."""
    seen: list[str] = []
    call = launcher.CudaKernel.__call__

    def record(self: Any, *args: Any) -> None:
        seen.append(f"{self.source.path.stem}.{self.expression}")
        call(self, *args)

    monkeypatch.setattr(launcher.CudaKernel, "__call__", record)
    return seen


def _layer(F: int, C: int, kernel: int = 3, groups: int = 1, dtype: Any = torch.float32) -> Any:
    layer = nn.Conv2d(C, F, kernel, padding=kernel // 2, groups=groups)
    return layer.to("cuda", dtype)


@pytest.mark.parametrize(
    ("dtype", "groups", "wanted", "forward", "grad_weight"),
    [
        (torch.float32, 1, "auto", "conv2d.forward<float>", "conv2d.grad_weight<float>"),
        (torch.float32, 1, "winograd", "winograd.filters<float>", "winograd_weight.taps<float>"),
        (torch.float64, 1, "winograd", "winograd.filters<double>", "winograd_weight.taps<double>"),
        (torch.float16, 1, "winograd", "winograd.filters<Half>", "conv2d_wmma.grad_weight<Half>"),
        (torch.float32, 2, "winograd", "conv2d.forward<float>", "conv2d.grad_weight<float>"),
        (torch.float32, 4, "tensor_cores", "depthwise.forward<float>",
         "depthwise.grad_weight<float>"),
        (torch.float16, 1, "auto", "conv2d_wmma.forward<Half>", "conv2d_wmma.grad_weight<Half>"),
        (torch.float16, 2, "auto", "conv2d_wmma.forward<Half>", "conv2d_wmma.grad_weight<Half>"),
        (torch.float16, 1, "implicit_gemm", "conv2d.forward<Half>", "conv2d.grad_weight<Half>"),
        (torch.float16, 4, "auto", "depthwise.forward<Half>", "depthwise.grad_weight<Half>"),
        (torch.float64, 1, "tensor_cores", "conv2d.forward<double>", "conv2d.grad_weight<double>"),
    ],
)  # fmt: skip
def test_which_kernels_run(
    dtype: Any, groups: int, wanted: str, forward: str, grad_weight: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    layer = _layer(4, 4, groups=groups, dtype=dtype)
    x = torch.randn(2, 4, 6, 5, device="cuda").to(dtype).requires_grad_()
    seen = _launches(monkeypatch)
    with torch.backends.conv2d.using(wanted):
        y = layer(x)
        assert seen[0] == forward
        seen.clear()
        y.sum().backward()
    assert forward.replace("forward", "grad_input") in seen
    assert grad_weight in seen


def test_the_environment_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINITORCH_CNN_CONV2D", "winograd")
    seen = _launches(monkeypatch)
    _layer(3, 2)(torch.randn(1, 2, 5, 5, device="cuda"))
    assert [name.partition(".")[0] for name in seen] == [
        "winograd", "winograd", "gemm", "winograd",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("dtype", "kind"), [(torch.float16, "Half"), (torch.bfloat16, "BFloat16")]
)
def test_a_gpu_without_tensor_cores(
    dtype: Any, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launcher, "_has_tensor_cores", lambda device, code: False)
    layer, x = _layer(4, 4, dtype=dtype), torch.randn(1, 4, 5, 5, device="cuda").to(dtype)
    seen = _launches(monkeypatch)
    with torch.backends.conv2d.using("tensor_cores"):
        layer(x)
    x[0, 0] @ x[0, 1]
    assert seen == [f"conv2d.forward<{kind}>"]


def test_who_has_tensor_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = launcher._has_tensor_cores.__wrapped__
    assert asked(0, "e")
    assert asked(0, torch.bfloat16.numpy.char)

    def fails(kernel: Any) -> None:
        raise RuntimeError(said)

    monkeypatch.setattr(launcher.CudaKernel, "function", property(fails))
    said = 'cannot open source file "mma.h"'
    with pytest.warns(UserWarning, match=r"without tensor cores.*mma\.h.*cuda13"):
        assert not asked(0, "e")
    said = "no memory"
    with pytest.raises(RuntimeError, match="no memory"):
        asked(0, "e")
    device = type(importlib.import_module("cupy").cuda.Device(0))
    monkeypatch.setattr(device, "compute_capability", "61")
    assert not asked(0, "e")
    monkeypatch.setattr(launcher.CudaKernel, "function", None)
    monkeypatch.setattr(device, "compute_capability", "75")
    assert asked(0, "e")
    assert not asked(0, torch.bfloat16.numpy.char)


def _problem(
    N: int, C: int, H: int, F: int, itemsize: int = 4, direction: str = "forward"
) -> algorithms.Problem:
    one = (1, 1)
    return algorithms.Problem(
        direction, (N, C, H, H), (F, C, 3, 3), (H, H), itemsize, one, one, one, 1, gpu=True,
        tensor_cores=True,
    )  # fmt: skip


def test_the_table_by_width() -> None:
    for direction in ("forward", "grad_input", "grad_weight"):
        for N, C, H in ((8, 128, 28), (32, 256, 14), (64, 512, 7)):
            chosen = algorithms.choose(_problem(N, C, H, C, direction=direction))
            assert chosen.algorithm == "winograd"
            assert 0 < chosen.workspace <= winograd_cuda.LARGEST
        for N, C, H in ((8, 64, 56), (1, 128, 28), (8, 16, 224), (1, 256, 1024)):
            assert algorithms.choose(_problem(N, C, H, C)).algorithm == "implicit_gemm"
    assert algorithms.choose(_problem(8, 128, 28, 128, itemsize=8)).algorithm == "implicit_gemm"
    assert algorithms.choose(_problem(8, 128, 28, 128, itemsize=2)).algorithm == "tensor_cores"


@given(
    N=st.integers(1, 300), C=st.integers(1, 600), F=st.integers(1, 600),
    size=st.tuples(st.integers(1, 300), st.integers(1, 300)), itemsize=st.sampled_from([2, 4, 8]),
)  # fmt: skip
def test_winograds_workspace_is_bounded(
    N: int, C: int, F: int, size: tuple[int, int], itemsize: int
) -> None:
    plan = winograd_cuda.plan(N, C, F, size, itemsize)
    assert 1 <= plan.images <= N
    alone = winograd_cuda.plan(1, C, F, size, itemsize).workspace
    assert plan.workspace <= max(winograd_cuda.LARGEST, alone)


def test_images_come_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight = torch.randn(5, 3, 9, 6, device="cuda"), torch.randn(4, 3, 3, 3, device="cuda")
    whole = conv2d.forward(x.array, weight.array, padding=(1, 1), algorithm="winograd")
    monkeypatch.setattr(winograd_cuda, "LARGEST", 14_000)
    seen = _launches(monkeypatch)
    parts = conv2d.forward(x.array, weight.array, padding=(1, 1), algorithm="winograd")
    assert seen.count("winograd.data<float>") == 3
    np.testing.assert_array_equal(devices.host(parts), devices.host(whole))
    gy = torch.randn(5, 4, 9, 6, device="cuda")
    gw = conv2d.grad_weight(gy.array, x.array, weight.shape, padding=(1, 1), algorithm="winograd")
    assert seen.count("winograd_weight.taps<float>") == 3
    expected = pytorch.nn.grad.conv2d_weight(
        pytorch.from_numpy(x.cpu().numpy()), weight.shape, pytorch.from_numpy(gy.cpu().numpy()),
        padding=1,
    )  # fmt: skip
    _close(gw, expected.numpy(), "grad_weight in parts")


def test_explain_says_what_runs_here() -> None:
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 4, 1)
    ).cuda()
    with torch.backends.conv2d.using("winograd"):
        rows = explain(model, torch.randn(1, 2, 6, 6, device="cuda"))
    names = [row.forward.algorithm for row in rows]
    assert names == ["winograd", "direct", "implicit_gemm"]
    assert rows[0].forward.workspace > 0
    x = torch.randn(1, 2, 6, 6, device="cuda").half()
    rows = explain(model.half(), x)
    assert [row.grad_weight.algorithm for row in rows] == ["tensor_cores", "direct", "tensor_cores"]
    S = conv2d_cuda.slices((1, 4, 6, 6), (4, 2, 3, 3), 1, np.float16, "conv2d_wmma")
    assert rows[0].grad_weight.workspace == S * 4 * 2 * 9 * 4  # partial sums in float32


SHAPES = [
    ((3, 4), (4, 5)),
    ((65, 33), (33, 66)),
    ((0, 4), (4, 5)),
    ((3, 0), (0, 5)),
    ((2, 3, 4), (4, 5)),
    ((2, 3, 4), (2, 4, 5)),
    ((3, 4), (2, 4, 5)),
    ((2, 1, 3, 4), (3, 4, 5)),
]


@pytest.mark.parametrize(("left", "right"), SHAPES)
def test_products_of_halves(left: Any, right: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = make_array(left, "normal", 1, np.float16), make_array(right, "normal", 2, np.float16)
    expected = a.astype(np.float64) @ b.astype(np.float64)
    seen = _launches(monkeypatch)
    c = gemm.matmul(devices.place(a), devices.place(b))
    assert c.dtype == np.float16
    assert c.shape == expected.shape
    assert seen == ["gemm_wmma.matmul<Half>"] * bool(expected.size)
    np.testing.assert_allclose(devices.host(c), expected, rtol=2e-3, atol=2e-3)


def test_a_linear_layer_of_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = nn.Linear(20, 7).cuda().half()
    x = torch.randn(5, 20, device="cuda").half().requires_grad_()
    seen = _launches(monkeypatch)
    layer(x).sum().backward()
    assert seen.count("gemm_wmma.matmul<Half>") == 3
    x2 = x.detach().cpu().double().requires_grad_()
    layer2 = nn.Linear(20, 7).double()
    layer2.load_state_dict({k: v.cpu().double() for k, v in layer.state_dict().items()})
    layer2(x2).sum().backward()
    for ours, expected in ((x.grad, x2.grad), (layer.weight.grad, layer2.weight.grad)):
        np.testing.assert_allclose(ours.cpu().numpy(), expected.numpy(), atol=5e-3)


def test_products_out_of_the_kernels_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gemm_cuda, "MOST_BLOCKS", 1)
    a, b = (make_array((2, 3, 4), "normal", i, np.float16) for i in (1, 2))
    seen = _launches(monkeypatch)
    c = gemm.matmul(devices.place(a), devices.place(b.swapaxes(1, 2)))
    assert seen == []
    np.testing.assert_allclose(devices.host(c), a @ b.swapaxes(1, 2), rtol=2e-3, atol=2e-3)
