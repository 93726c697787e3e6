"""What the launcher checks before CUDA would compute with it."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

from minitorch_cnn.kernels import conv2d_cuda, elementwise, launcher, pool
from minitorch_cnn.kernels.launcher import launch


@pytest.fixture
def cupy() -> Any:
    return importlib.import_module("cupy")


def test_wrong_arguments_are_named(cupy: Any) -> None:
    x, y = cupy.zeros(4, np.float32), cupy.zeros(4, np.float32)
    cases: list[tuple[tuple[Any, ...], str]] = [
        ((x, cupy.zeros(4)), r"relu<float>: argument y .*expected float32, but got float64"),
        ((x, np.zeros(4, np.float32)), r"argument y .*on the GPU, but got one of shape \(4,\) on"),
        ((x, cupy.zeros((2, 2), np.float32)), r"argument y .*expected 1 dimensions"),
        ((cupy.zeros(8, np.float32)[::2], y), r"argument x .*not C-contiguous"),
        ((x,), r"takes 2 arguments \(x, y\), but got 1"),
        ((x, [0.0]), r"argument y .*expected an array, but got list"),
    ]
    for args, says in cases:
        with pytest.raises(TypeError, match=says):
            launch("elementwise", "relu", *args)
    with pytest.raises(TypeError, match=r"clip<float>: argument low .*'a'"):
        launch("elementwise", "clip", x, y, "a", 1.0)
    planes, indices = x.reshape(1, 2, 2), cupy.zeros((1, 2, 2), np.int64)
    with pytest.raises(TypeError, match=r"max_pool2d<float>: argument KH .*2147483648"):
        launch("pool", "max_pool2d", planes, planes, indices, 0.0, 2**31, *[1] * 7)
    with pytest.raises(NotImplementedError, match=r"elementwise\.cu has no kernel 'nothing'"):
        launch("elementwise", "nothing", x, y)


def test_arrays_of_two_devices(cupy: Any) -> None:
    if cupy.cuda.runtime.getDeviceCount() < 2:
        pytest.skip("one GPU")
    x = cupy.zeros(4, np.float32)
    with cupy.cuda.Device(1):
        y = cupy.zeros(4, np.float32)
    with pytest.raises(TypeError, match="argument y is on cuda:1, others are on cuda:0"):
        launch("elementwise", "relu", x, y)
    launch("elementwise", "relu", y, y)  # on its own device, not on the current one


def test_a_kernel_runs_the_function_beside_it(cupy: Any) -> None:
    x = cupy.asarray(np.array([-1.0, 2.0, np.nan], np.float32))
    y = cupy.empty_like(x)
    elementwise.relu(x, y)
    np.testing.assert_array_equal(y.get(), [0, 2, np.nan])


def test_nothing_is_launched_for_nothing(cupy: Any) -> None:
    empty = cupy.zeros(0, np.float32)
    launch("elementwise", "relu", empty, empty)


def test_a_kernel_without_a_cuda_twin_falls_back_to_whole_arrays(cupy: Any) -> None:
    from minitorch_cnn.kernels.jit import kernel

    def whole(x: Any, y: Any) -> None:
        np.add(x, 1, out=y)

    @kernel(numpy=whole)
    def add_one(x: Any, y: Any) -> None:
        raise AssertionError("this is for the CPU")

    x = cupy.zeros(3)
    add_one(x, x)
    np.testing.assert_array_equal(x.get(), [1, 1, 1])


def test_integers_and_halves(cupy: Any) -> None:
    x = np.random.default_rng(0).integers(-9, 9, (2, 3, 6, 5))
    for dtype in (np.int64, np.int32, np.float16):
        y, at = pool.max_pool2d(x.astype(dtype), (2, 2), (2, 1), (0, 0), (1, 1), (3, 4))
        there = cupy.asarray(x.astype(dtype))
        y2, at2 = pool.max_pool2d(there, (2, 2), (2, 1), (0, 0), (1, 1), (3, 4))
        assert y2.dtype == dtype
        np.testing.assert_array_equal(y2.get(), y)
        np.testing.assert_array_equal(at2.get(), at)


def test_slices_depend_on_shapes_alone(cupy: Any) -> None:
    assert conv2d_cuda.slices((64, 10, 24, 24), (10, 1, 5, 5), 1, np.float32) == 36
    assert conv2d_cuda.slices((8, 512, 7, 7), (512, 512, 3, 3), 1, np.float32) == 1
    assert conv2d_cuda.slices((1, 4, 2, 2), (4, 4, 1, 1), 1, np.float64) == 1
    groups = 40_000
    wide = conv2d_cuda.slices((999, groups, 9, 9), (groups, 2, 1, 1), groups, np.float32)
    assert wide * groups <= 65535


def test_compiled_once(cupy: Any) -> None:
    relu = launcher.cuda_kernel(launcher.HERE / "elementwise.cu", "relu", "f")
    assert relu is launcher.cuda_kernel(launcher.HERE / "elementwise.cu", "relu", "f")
    assert relu.most_blocks(0) >= 1
