"""Convolution kernels and their NumPy twins against the six loops, and against PyTorch."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minitorch_cnn.kernels import (
    algorithms,
    backend,
    conv2d,
    im2col_gemm,
    implicit_gemm,
    implicit_gemm_plan,
    implicit_gemm_weight,
    pointwise,
    reference,
)

from ..peak import peak_memory
from ..strategies import LAYOUTS, make_array, with_layout
from .common import BACKENDS, assert_same_bits_at_any_thread_count, interpreted, using

TOLERANCE = {
    np.float32: {"rtol": 2e-5, "atol": 2e-5},
    np.float64: {"rtol": 1e-12, "atol": 1e-12},
}


def _pairs(low: int, high: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(low, high), st.integers(low, high))


@st.composite
def convolutions(draw: st.DrawFn, dtype: Any = None) -> tuple[Any, ...]:
    """x, weight, bias and (stride, padding, dilation, groups); one in three is depthwise."""
    kernel, S, P, D = draw(_pairs(1, 3)), draw(_pairs(1, 3)), draw(_pairs(0, 3)), draw(_pairs(1, 2))
    H, W = (draw(st.integers(max(1, d * (k - 1) + 1 - 2 * p), 7)) for k, p, d in zip(kernel, P, D))
    G = draw(st.sampled_from([1, 1, 2, 3]))
    C = G * draw(st.sampled_from([1, 1, 2, 3]))
    F = G * draw(st.integers(1, 3))
    N = draw(st.integers(0, 3))
    dtype = dtype or draw(st.sampled_from([np.float32, np.float64]))
    seed = draw(st.integers(0, 999))
    x, weight, bias = (
        make_array(shape, "normal", seed + i, dtype)
        for i, shape in enumerate([(N, C, H, W), (F, C // G, *kernel), (F,)])
    )
    layout = draw(st.sampled_from(LAYOUTS))
    return with_layout(x, layout), with_layout(weight, layout), bias, (S, P, D, G)


@pytest.mark.parametrize("backend", BACKENDS)
@given(call=convolutions())
def test_the_six_loops(backend: str, call: Any) -> None:
    x, weight, bias, settings = call
    expected = reference.conv2d.forward(x, weight, *settings, bias)
    gy = make_array(expected.shape, "normal", 7, x.dtype)
    before = x.copy(), weight.copy(), gy.copy()
    with using(backend):
        y = conv2d.forward(x, weight, *settings, bias)
        gx = conv2d.grad_input(gy, weight, x.shape, *settings)
        gw = conv2d.grad_weight(gy, x, weight.shape, *settings)
    assert {y.dtype, gx.dtype, gw.dtype} == {x.dtype}
    tolerance = TOLERANCE[x.dtype.type]
    np.testing.assert_allclose(y, expected, **tolerance)
    expected = reference.conv2d.grad_input(gy, weight, x.shape, *settings)
    np.testing.assert_allclose(gx, expected, **tolerance)
    expected = reference.conv2d.grad_weight(gy, x, weight.shape, *settings)
    np.testing.assert_allclose(gw, expected, **tolerance)
    for array, old in zip((x, weight, gy), before, strict=True):
        np.testing.assert_array_equal(array, old)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@given(call=convolutions(np.float32), seed=st.integers(0, 99))
def test_nan_and_infinity_reach_exactly_what_they_touch(
    backend: str, value: float, call: Any, seed: int
) -> None:
    x, weight, _, settings = call
    if not x.size:
        return
    x = x.copy()
    x.flat[seed % x.size] = value
    expected = reference.conv2d.forward(x, weight, *settings)
    with using(backend):
        y = conv2d.forward(x, weight, *settings)
    np.testing.assert_allclose(y, expected, **TOLERANCE[np.float32])
    gy = make_array(y.shape, "normal", 7, np.float32)
    if gy.size:
        gy.flat[seed % gy.size] = value
        with using(backend):
            gx = conv2d.grad_input(gy, weight, x.shape, *settings)
        expected = reference.conv2d.grad_input(gy, weight, x.shape, *settings)
        np.testing.assert_allclose(gx, expected, **TOLERANCE[np.float32])


# N, C, H, W, F, KH, KW, stride, padding, dilation, groups. Each crosses some limit of the blocking:
# several panels an image, rows longer than a panel, more filters than a task, more taps than DEPTH,
# more panels than the workspace holds, groups of small images.
LARGE = {
    "lecture 1": (9, 1, 28, 28, 10, 5, 5, (1, 1), (0, 0), (1, 1), 1),
    "lecture 2": (9, 10, 12, 12, 20, 5, 5, (1, 1), (0, 0), (1, 1), 1),
    "same": (3, 24, 19, 23, 37, 3, 5, (1, 1), (1, 2), (1, 1), 1),
    "long rows": (1, 3, 5, 611, 5, 3, 3, (1, 1), (1, 1), (1, 1), 1),
    "stem": (1, 3, 67, 71, 8, 7, 7, (2, 2), (3, 3), (1, 1), 1),
    "many channels": (2, 130, 9, 7, 70, 3, 3, (2, 1), (1, 1), (1, 1), 1),
    "two images of four pixels": (2, 3, 1, 4, 1, 3, 3, (1, 1), (1, 1), (1, 1), 1),
    "tiny maps": (40, 40, 3, 2, 36, 3, 3, (1, 1), (1, 1), (1, 1), 1),
    "pointwise": (5, 33, 17, 19, 41, 1, 1, (1, 1), (0, 0), (1, 1), 1),
    "pointwise, last pixels of many images": (140, 9, 5, 10, 11, 1, 1, (1, 1), (0, 0), (1, 1), 1),
    "pointwise, last pixels, groups": (6, 12, 7, 7, 20, 1, 1, (1, 1), (0, 0), (1, 1), 2),
    "pointwise stride 2": (5, 33, 17, 19, 41, 1, 1, (2, 2), (0, 0), (1, 1), 1),
    "pointwise, few channels": (20, 10, 12, 12, 16, 1, 1, (1, 1), (0, 0), (1, 1), 1),
    "pointwise, few channels, stride": (20, 11, 23, 15, 7, 1, 1, (3, 2), (0, 0), (1, 1), 1),
    "pointwise, groups, stride": (4, 12, 9, 11, 8, 1, 1, (2, 3), (0, 0), (1, 1), 4),
    "groups": (4, 24, 17, 13, 36, 3, 3, (1, 1), (1, 1), (1, 1), 4),
    "groups of pixels": (4, 12, 4, 3, 12, 3, 3, (1, 1), (1, 1), (1, 1), 3),
    "depthwise": (2, 19, 21, 33, 19, 3, 3, (1, 1), (1, 1), (1, 1), 19),
    "depthwise stride 2": (2, 8, 21, 33, 16, 5, 3, (2, 2), (2, 1), (1, 1), 8),
    "dilated": (2, 9, 30, 31, 10, 3, 3, (1, 1), (2, 4), (2, 4), 1),
    "stride and dilation": (2, 9, 30, 31, 10, 3, 3, (2, 3), (2, 4), (4, 3), 1),
    "strided, odd rows": (3, 40, 37, 35, 50, 3, 3, (2, 2), (1, 1), (1, 1), 1),
    "strided, small images": (9, 16, 13, 12, 24, 3, 3, (2, 2), (1, 1), (1, 1), 1),
    "stride beyond the kernel": (2, 8, 25, 34, 19, 2, 1, (3, 2), (0, 0), (1, 1), 1),
    "few taps, long rows": (2, 3, 7, 1201, 40, 3, 3, (2, 2), (0, 0), (1, 1), 1),
    "few taps, padding": (5, 5, 33, 31, 24, 3, 3, (1, 2), (1, 0), (1, 1), 1),
    "pointwise, few rows, stride": (3, 24, 37, 45, 70, 1, 1, (2, 2), (0, 0), (1, 1), 1),
    "kernel as large as x": (6, 5, 6, 7, 8, 6, 7, (1, 1), (0, 0), (1, 1), 1),
    "wide padding": (2, 3, 4, 5, 6, 2, 3, (1, 2), (5, 6), (1, 1), 1),
    "asymmetric": (2, 16, 17, 17, 20, 1, 7, (1, 1), (0, 3), (1, 1), 1),
}


def _large(name: str, dtype: Any) -> tuple[Any, ...]:
    N, C, H, W, F, KH, KW, *settings = LARGE[name]
    rng = np.random.default_rng(5)
    shapes = (N, C, H, W), (F, C // settings[-1], KH, KW), (F,)
    x, weight, bias = (rng.standard_normal(s).astype(dtype) for s in shapes)
    gy = rng.standard_normal(reference_shape(x, weight, settings)).astype(dtype)
    return x, weight, bias, gy, tuple(settings)


def reference_shape(x: Any, weight: Any, settings: Any) -> tuple[int, ...]:
    y = torch.nn.functional.conv2d(torch.from_numpy(x), torch.from_numpy(weight), None, *settings)
    return tuple(y.shape)


def test_pixels_are_put_together() -> None:
    x = np.arange(60.0).reshape(2, 3, 10)
    for put in (pointwise.put_together, pointwise.put_together.numpy):
        to = np.full((1, 3, 7), -1.0)
        put(x, to, 7)
        assert to[0, :, :6].tolist() == [[*x[0, c, 7:], *x[1, c, 7:]] for c in range(3)]
        assert (to[0, :, 6] == -1).all()


@pytest.mark.skipif(interpreted(), reason="too large for plain Python loops")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", LARGE)
@pytest.mark.parametrize("backend", BACKENDS)
def test_pytorch(backend: str, name: str, dtype: Any) -> None:
    x, weight, bias, gy, settings = _large(name, dtype)
    # In float64 also for float32 inputs: PyTorch's rounding errors are not ours to follow.
    tensors = [torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in (x, weight, bias)]
    expected = torch.nn.functional.conv2d(*tensors, *settings)
    expected.backward(torch.from_numpy(gy).double())
    with using(backend):
        results = [
            (conv2d.forward(x, weight, *settings, bias), expected.detach()),
            (conv2d.grad_input(gy, weight, x.shape, *settings), tensors[0].grad),
            (conv2d.grad_weight(gy, x, weight.shape, *settings), tensors[1].grad),
        ]
    for ours, theirs in results:
        scale = float(theirs.abs().max())
        eps = np.finfo(dtype).eps
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=0, atol=32 * eps * scale)


@pytest.mark.skipif(interpreted(), reason="too large for plain Python loops")
@pytest.mark.parametrize("name", LARGE)
def test_same_bits_at_any_thread_count(name: str) -> None:
    x, weight, bias, gy, settings = _large(name, np.float32)

    def all_three() -> Any:
        return (
            conv2d.forward(x, weight, *settings, bias),
            conv2d.grad_input(gy, weight, x.shape, *settings),
            conv2d.grad_weight(gy, x, weight.shape, *settings),
        )

    assert_same_bits_at_any_thread_count(all_three)


def _capable(name: str) -> list[str]:
    """The algorithms that can compute a layer."""
    N, C, H, W, F, KH, KW, *settings = LARGE[name]
    sizes = (N, C, H, W), (F, C // settings[-1], KH, KW)
    names = ("stride", "padding", "dilation", "groups")
    settings_by_name = dict(zip(names, settings, strict=True))
    problem = conv2d.problem_of("forward", *sizes, np.float32, **settings_by_name)
    return algorithms.can(problem)


@pytest.mark.skipif(interpreted(), reason="too large for plain Python loops")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("name", "algorithm"), [(name, each) for name in LARGE for each in _capable(name)]
)
def test_every_algorithm(name: str, algorithm: str, dtype: Any) -> None:
    x, weight, bias, gy, settings = _large(name, dtype)
    tensors = [torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in (x, weight, bias)]
    expected = torch.nn.functional.conv2d(*tensors, *settings)
    expected.backward(torch.from_numpy(gy).double())

    def all_three() -> Any:
        return (
            conv2d.forward(x, weight, *settings, bias, algorithm),
            conv2d.grad_input(gy, weight, x.shape, *settings, algorithm),
            conv2d.grad_weight(gy, x, weight.shape, *settings, algorithm),
        )

    theirs = expected.detach(), tensors[0].grad, tensors[1].grad
    bound = 256 if algorithm == "winograd" else 32
    for a, b in zip(all_three(), theirs, strict=True):
        scale = float(b.abs().max())
        atol = bound * np.finfo(dtype).eps * scale
        np.testing.assert_allclose(a, b.numpy(), rtol=0, atol=atol)
    assert_same_bits_at_any_thread_count(all_three)


@pytest.mark.skipif(interpreted(), reason="too large for plain Python loops")
@pytest.mark.parametrize(
    "name",
    ["lecture 2", "same", "stem", "groups", "wide padding", "dilated", "strided, odd rows"],
)
def test_a_small_workspace_and_bands_of_rows_change_nothing(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, weight, bias, gy, settings = _large(name, np.float32)

    def all_three(algorithm: str) -> Any:
        return (
            conv2d.forward(x, weight, *settings, bias, algorithm),
            conv2d.grad_input(gy, weight, x.shape, *settings, algorithm),
            conv2d.grad_weight(gy, x, weight.shape, *settings, algorithm),
        )

    whole = all_three("im2col")
    monkeypatch.setattr(im2col_gemm, "WORKSPACE", 1 << 10)
    for a, b in zip(all_three("im2col"), whole, strict=True):
        np.testing.assert_array_equal(a, b)
    monkeypatch.setattr(im2col_gemm, "LARGEST", 1 << 14)
    for a, b in zip(all_three("im2col"), whole, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6 * np.abs(b).max())
    whole = all_three("implicit_gemm")
    monkeypatch.setattr(implicit_gemm_plan, "BAND", 1 << 10)
    monkeypatch.setattr(implicit_gemm_plan, "LONGEST_BAND", 1 << 10)
    monkeypatch.setattr(implicit_gemm_weight, "CHUNK", 1 << 12)
    plans_of = implicit_gemm_plan.plans_of.__wrapped__  # what was planned with other bands is kept
    monkeypatch.setattr(implicit_gemm, "plans_of", plans_of)
    for a, b in zip(all_three("implicit_gemm"), whole, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-6 * np.abs(b).max())


@pytest.mark.skipif(
    interpreted() or "numba" not in BACKENDS, reason="NumPy holds padded copies of its own"
)
@pytest.mark.parametrize("algorithm", ["im2col", "implicit_gemm"])
def test_workspace_is_bounded(algorithm: str) -> None:
    """Of 18 MiB of columns, or 2 MiB of packed gy, little exists at a time."""
    x, weight = np.ones((8, 16, 64, 64), np.float32), np.ones((4, 16, 3, 3), np.float32)
    y = conv2d.forward(x, weight, (1, 1), (1, 1))
    bound = (1 << 20) * backend.get_num_threads() + (1 << 18)

    def extra(fn: Any) -> int:
        with peak_memory() as peak:
            result = fn()
        return int(peak.nbytes - result.nbytes)

    around = (1, 1), (1, 1), (1, 1), 1
    assert extra(lambda: conv2d.forward(x, weight, *around, None, algorithm)) < bound
    assert extra(lambda: conv2d.grad_weight(y, x, weight.shape, *around, algorithm)) < bound
    # im2col's grad_input holds panels of gy beside the columns.
    assert extra(lambda: conv2d.grad_input(y, weight, x.shape, *around, algorithm)) < 2 * bound
    with algorithms.using(algorithm):
        said = conv2d.workspace_bytes(x.shape, weight.shape, x.dtype, padding=1)
    assert 0 < said <= bound
    assert conv2d.workspace_bytes((1, 8, 9, 9), (8, 1, 3, 3), np.float32, groups=8) == 0


# Which of them pays is the compiler's affair.
compiled = pytest.mark.skipif("numba" not in BACKENDS, reason="plain NumPy: always im2col")


@compiled
def test_an_algorithm_that_cannot_leaves_the_layer_to_the_table() -> None:
    problem = conv2d.problem_of("forward", (1, 64, 9, 9), (64, 64, 3, 3), np.float32, stride=2)
    assert algorithms.choose(problem, "winograd").algorithm == "implicit_gemm"
    with pytest.raises(ValueError, match="choose one of auto, direct, pointwise"):
        algorithms.choose(problem, "fft")


@compiled
def test_the_wanted_algorithm_is_of_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = conv2d.problem_of("forward", (1, 4, 9, 9), (4, 4, 1, 1), np.float32)
    assert algorithms.choose(problem).algorithm == "pointwise"
    with algorithms.using("im2col"):
        assert algorithms.choose(problem).algorithm == "im2col"
    monkeypatch.setenv("MINITORCH_CNN_CONV2D", "implicit_gemm")
    assert algorithms.choose(problem).algorithm == "implicit_gemm"
    monkeypatch.setenv("MINITORCH_CNN_CONV2D", "fast")
    with pytest.raises(ValueError, match="MINITORCH_CNN_CONV2D='fast'"):
        algorithms.choose(problem)


def test_half_precision_is_summed_in_single() -> None:
    x, weight = np.full((1, 3, 40, 1), 0.1, np.float16), np.ones((1, 3, 40, 1), np.float16)
    y = conv2d.forward(x, weight)
    assert y.dtype == np.float16
    assert y.item() == np.float16(120 * float(np.float16(0.1)))


def test_integers_are_exact() -> None:
    rng = np.random.default_rng(3)
    x, weight = rng.integers(-(2**40), 2**40, (2, 4, 5, 6)), rng.integers(-9, 9, (6, 2, 2, 3))
    bias = np.arange(6)
    settings: Any = ((1, 2), (1, 0), (2, 1), 2)
    theirs = torch.nn.functional.conv2d(*map(torch.from_numpy, (x, weight, bias)), *settings)
    np.testing.assert_array_equal(conv2d.forward(x, weight, *settings, bias), theirs.numpy())


def test_read_only_and_unaligned_arrays() -> None:
    buffer = np.zeros(4 * 50 + 1, np.uint8)
    x = buffer[1:].view(np.float32)[:50].reshape(1, 2, 5, 5)
    x[...] = np.arange(50).reshape(x.shape)
    x.flags.writeable = False
    weight = np.ones((1, 2, 2, 2), np.float32)
    np.testing.assert_array_equal(
        conv2d.forward(x, weight), reference.conv2d.forward(x, weight, (1, 1), (0, 0), (1, 1), 1)
    )


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("stride", [(1, 1), (2, 1)])
def test_infinity_in_a_depthwise_input_stays_with_its_taps(backend: str, stride: Any) -> None:
    x, gy = np.ones((1, 2, 5, 6), np.float32), np.ones((1, 2, 5, 6), np.float32)
    x[0, 0, 0, 5] = np.inf  # in a corner: only some of the taps ever see it
    gy = gy[:, :, : (5 + 2 - 3) // stride[0] + 1]
    settings: Any = (stride, (1, 1), (1, 1), 2)
    with using(backend):
        gw = conv2d.grad_weight(gy, x, (2, 1, 3, 3), *settings)
    expected = reference.conv2d.grad_weight(gy, x, (2, 1, 3, 3), *settings)
    assert np.isinf(expected).any()
    assert np.isfinite(expected[0]).any()
    np.testing.assert_array_equal(gw, expected)


def test_each_module_can_be_the_first_that_is_imported() -> None:
    """Modules need each other; none may depend on who came first."""
    program = """
import importlib, pkgutil, sys
import minitorch_cnn.kernels as kernels
names = [m.name for m in pkgutil.iter_modules(kernels.__path__)]
for name in names:
    for loaded in [n for n in sys.modules if n.startswith("minitorch_cnn.kernels")]:
        del sys.modules[loaded]
    importlib.import_module(f"minitorch_cnn.kernels.{name}")
print(len(names))
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) > 30
