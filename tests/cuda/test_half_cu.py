"""Half storage: a kernel of Half is the kernel of float, with its inputs and outputs rounded."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch

from minitorch_cnn.kernels import emulator

from ..strategies import make_array
from .common import CHECKS, needs_emulator

pytestmark = needs_emulator

S, P, D = (2, 1), (1, 0), (1, 2)  # stride, padding, dilation


def _half(*shape: int, seed: int = 0) -> np.ndarray:
    return make_array(shape, "normal", seed, np.float32).astype(np.float16)


class Out:
    """An output: of halves, or of ``wide`` numbers that stay what they are."""

    def __init__(self, *shape: int, wide: Any = None) -> None:
        self.shape, self.wide = shape, wide


def _long(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


X, GY = _half(2, 3, 7, 9), _half(2, 4, 4, 5, seed=1)
WEIGHT, BIAS = _half(4, 3, 3, 3, seed=2), _half(4, seed=3)
ROWS = _half(3, 40)
PLANES = _half(2, 5, 6)
CHANNELS = np.float32([0.1, -0.3, 0.7])
DEEP = _half(6, 1, 3, 3, seed=4)
A, B = _half(1, 66, 19), _half(2, 19, 133)
FLAT, SENT = _half(300), _half(300, seed=5)
NUMBERS = (*S, *P, *D)

CASES: dict[str, tuple[Any, ...]] = {
    "elementwise relu": (FLAT, Out(300)),
    "elementwise leaky_relu_grad": (FLAT, SENT, Out(300), 0.01),
    "elementwise mish": (FLAT, Out(300)),
    "softmax softmax": (ROWS, Out(3, 40)),
    "softmax log_softmax_columns": (_half(2, 5, 7), Out(2, 5, 7)),
    "norm moments": (_half(4, 3, 50), Out(3, wide=np.float64), Out(3, wide=np.float64)),
    "norm combine": (_half(4, 3, 5), _half(4, 3, 5, seed=7), *[CHANNELS + i for i in range(4)],
                     Out(4, 3, 5)),
    "pool max_pool2d": (PLANES, Out(2, 2, 3), Out(2, 2, 3, wide=np.int64), -np.inf, 2, 2, 2, 2, 0,
                        0, 1, 1),
    "resample bilinear": (PLANES, Out(2, 2, 2), _long(0, 2), _long(1, 3), CHANNELS[:2],
                          _long(0, 3), _long(1, 4), CHANNELS[:2]),
    "im2col im2col": (X, Out(2, 27, 4, 5), 3, 3, *NUMBERS),
    "depthwise forward": (_half(2, 3, 7, 9), DEEP, None, Out(2, 6, 4, 5), *NUMBERS),
    "gemm matmul": (A, B, Out(2, 66, 133)),
    "conv2d forward": (X, WEIGHT, BIAS, Out(2, 4, 4, 5), *NUMBERS, 1),
    "conv2d grad_weight": (GY, X, Out(2, 4, 3, 3, 3, wide=np.float32), *NUMBERS, 1),
    "conv2d add_slices": (make_array((2, 4, 3, 3, 3), "normal", 8, np.float32), Out(4, 3, 3, 3)),
}  # fmt: skip


DTYPES = {"Half": np.dtype(np.float16), "BFloat16": np.dtype(ml_dtypes.bfloat16)}


def _run(name: str, kind: str, stored: str = "Half", **how: Any) -> list[np.ndarray]:
    """The outputs; for "float" the numbers of type ``stored`` go in, and come out rounded to it."""
    half = DTYPES[stored]
    file, kernel = name.split()
    args: list[Any] = []
    outputs: list[tuple[np.ndarray, bool]] = []
    for arg in CASES[name]:
        if isinstance(arg, Out):
            dtype = arg.wide or (np.float32 if kind == "float" else half)
            array = np.full(arg.shape, -7 if dtype == np.int64 else np.nan, dtype)
            outputs.append((array, arg.wide is None))
            args.append(array)
        elif isinstance(arg, np.ndarray) and arg.dtype == np.float16:
            args.append(arg.astype(half).astype(np.float32 if kind == "float" else half))
        else:
            args.append(arg)
    emulator.run(file, f"{kernel}<{kind}>", args, **how)
    rounded = [array.astype(half) if rounds else array for array, rounds in outputs]
    return [array.astype(np.float32) if array.dtype == half else array for array in rounded]


@pytest.mark.parametrize("kind", DTYPES)
@pytest.mark.parametrize("name", CASES)
def test_equals_float_rounded(name: str, kind: str) -> None:
    ours, expected = _run(name, kind, kind, order="random"), _run(name, "float", kind)
    for a, b in zip(ours, expected, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("name", "check"),
    [*[("gemm matmul", check) for check in CHECKS], ("conv2d forward", "address")],
)
def test_sanitizers(name: str, check: Any) -> None:
    """Vectors of four halves are loads of 8 bytes, from rows that start anywhere."""
    for ours, expected in zip(_run(name, "Half", check=check), _run(name, "float"), strict=True):
        np.testing.assert_array_equal(ours, expected)


def test_bfloat16() -> None:
    """One run of each kind of kernel, with PyTorch's rounding."""
    x = torch.randn(3, 40, generator=torch.Generator().manual_seed(0)).bfloat16()
    bits = x.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    y = np.zeros_like(bits)
    emulator.run("softmax", "softmax<BFloat16>", (bits, y))
    expected = torch.softmax(x.float(), 1)
    ours = torch.from_numpy(y.view(np.int16)).view(torch.bfloat16).float()
    torch.testing.assert_close(ours, expected, rtol=2**-8, atol=0)
    emulator.run("elementwise", "relu<BFloat16>", (bits.ravel(), y.ravel()))
    np.testing.assert_array_equal(y.view(np.int16), torch.relu(x).view(torch.int16).numpy())
