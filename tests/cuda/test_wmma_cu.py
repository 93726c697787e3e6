"""Products and convolutions on tensor cores: right, and with mistakes that must be caught."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from minitorch_cnn.kernels import emulator
from minitorch_cnn.kernels.emulator import EmulatorError

from .common import CHECKS, ORDERS, assert_same_bits, needs_emulator
from .convolution import pytorch

pytestmark = needs_emulator

KERNELS = Path(emulator.__file__).parents[1]
BITS = {"Half": 10, "BFloat16": 7}  # of fraction


DTYPES = {"Half": np.float16, "BFloat16": ml_dtypes.bfloat16}


def _stored(x: np.ndarray, kind: str) -> np.ndarray:
    return x.astype(DTYPES[kind])


def _numbers(*shape: int, seed: int) -> np.ndarray:
    """Eight bits suffice for each: exact in both types."""
    return np.random.default_rng(seed).integers(-15, 16, shape).astype(np.float32) / 8


def _close(ours: np.ndarray, expected: np.ndarray, kind: str) -> None:
    """Rounded once: sums of these numbers are exact in float."""
    rtol = 2.0 ** -(BITS[kind] + 1)
    np.testing.assert_allclose(ours.astype(np.float32), expected, rtol=rtol, atol=0)


def _garbage(shape: tuple[int, ...], kind: str) -> np.ndarray:
    return np.full(shape, np.nan, DTYPES[kind])


def _product(shape: Any, kind: str = "Half", file: Any = "gemm_wmma", **how: Any) -> np.ndarray:
    images, B, M, K, N = shape
    a, b = _numbers(images, M, K, seed=1), _numbers(B, K, N, seed=2)
    c = _garbage((B, M, N), kind)
    emulator.run(file, f"matmul<{kind}>", (_stored(a, kind), _stored(b, kind), c), **how)
    _close(c, a @ b, kind)
    return c


# (matrices of a, matrices, M, K, N): below, at and above a tile of 64 x 64 and its depth of 32.
SHAPES = [
    (1, 1, 1, 1, 1),
    (1, 1, 64, 32, 64),
    (2, 2, 65, 33, 66),
    (1, 2, 63, 40, 72),
    (1, 1, 5, 0, 7),
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", BITS)
def test_matmul(shape: Any, kind: str) -> None:
    _product(shape, kind, order="random")


@pytest.mark.parametrize("check", CHECKS)
def test_matmul_sanitizers(check: Any) -> None:
    _product((1, 2, 65, 33, 66), check=check)


def test_same_bits_in_every_order() -> None:
    assert_same_bits([_product((1, 2, 65, 33, 66), **order) for order in ORDERS])


# N, C, H, W, F, kernel, stride, padding, dilation, groups: 175 pixels of y, 756 of x; 70 filters
# and 66 channels in a group are more than a tile has, 54 numbers under a window more than a step.
GEOMETRIES = [
    ((7, 6, 9, 12), (4, 3, 2), (2, 3), (1, 2), (1, 2), 2),
    ((1, 66, 5, 4), (70, 3, 3), (1, 1), (1, 1), (1, 1), 1),
]


def _convolution(which: str, geometry: Any, file: Any = "conv2d_wmma", **how: Any) -> np.ndarray:
    x_shape, (F, *kernel), S, P, D, G = geometry
    kind = how.pop("kind", "Half")
    x, weight = _numbers(*x_shape, seed=3), _numbers(F, x_shape[1] // G, *kernel, seed=4)
    bias = _numbers(F, seed=5)
    _, (y, _, _) = pytorch(x, weight, bias, 0, S, P, D, G)
    gy = _numbers(*y.shape, seed=6)
    y, gx, gw = _in_pytorch(x, weight, bias, gy, S, P, D, G)
    numbers = (*S, *P, *D, G)
    x16, w16, b16, gy16 = (_stored(v, kind) for v in (x, weight, bias, gy))
    if which == "forward":
        ours = _garbage(y.shape, kind)
        emulator.run(file, f"forward<{kind}>", (x16, w16, b16, ours, *numbers), **how)
    elif which == "grad_input":
        ours = _garbage(x.shape, kind)
        emulator.run(file, f"grad_input<{kind}>", (gy16, w16, ours, *numbers), **how)
    else:
        slices = np.full((3, *weight.shape), np.nan, np.float32)
        emulator.run(file, f"grad_weight<{kind}>", (gy16, x16, slices, *numbers), **how)
        ours = slices.sum(0)
    _close(ours, {"forward": y, "grad_input": gx, "grad_weight": gw}[which], kind)
    return ours


def _in_pytorch(x: Any, weight: Any, bias: Any, gy: Any, S: Any, P: Any, D: Any, G: int) -> Any:
    import torch

    tensors = [torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in (x, weight)]
    y = torch.nn.functional.conv2d(*tensors, torch.from_numpy(bias).double(), S, P, D, G)
    gx, gw = torch.autograd.grad(y, tensors, torch.from_numpy(gy).double())
    return y.detach().numpy(), gx.numpy(), gw.numpy()


WHICH = ["forward", "grad_input", "grad_weight"]


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=["strided", "more than a tile"])
@pytest.mark.parametrize("which", WHICH)
def test_convolutions(which: str, geometry: Any) -> None:
    _convolution(which, geometry, order="random")


def test_convolution_of_bfloat16() -> None:
    _convolution("forward", GEOMETRIES[0], kind="BFloat16")


@pytest.mark.parametrize(
    ("which", "check"),
    [
        *[(which, "thread") for which in WHICH],
        ("forward", "address"),
        ("grad_weight", "undefined"),
    ],
)
def test_convolution_sanitizers(which: str, check: Any) -> None:
    _convolution(which, GEOMETRIES[0], check=check)


BARRIER = "__syncthreads();\n"
WRONG = "wrong numbers"
MUTANTS = [
    ("matmul", "gemm_wmma.cu", "        __syncthreads();  // before this", "        // before this",
     "race", "thread"),
    ("matmul", "gemm_wmma.cu", BARRIER + "        multiply", "multiply", "race", "thread"),
    ("matmul", "gemm_wmma.cu", "min(k, K - 1), 0) + n0", "k, 0) + n0", "index", None),
    ("matmul", "gemm_wmma.cu", "if (m0 + m < M && n0", "if (n0", "index", None),
    ("matmul", "gemm_wmma.cu", "K - k0 - depth", "K", "address", "address"),
    ("matmul", "tensor_tile.cuh", "            __syncwarp();\n            for", "for", "race",
     "thread"),
    ("matmul", "tensor_tile.cuh", "            __syncwarp();  // before", "// before", "race",
     "thread"),
    ("matmul", "tensor_tile.cuh", "column + 16 * i", "column + 8 * i", "undefined", None),
    ("matmul", "tensor_tile.cuh", "threadIdx.x / 32 % 2 * 32", "threadIdx.x / 64 * 32", WRONG,
     None),
    ("matmul", "tensor_tile.cuh", "a[ROWS][DEPTH + VECTOR]", "a[ROWS][DEPTH + 4]", WRONG, None),
    ("forward", "conv2d_wmma.cu", "n < N && c < CG && 0 <= h", "n < N && 0 <= h", "index", None),
    ("forward", "conv2d_wmma.cu", "start + value", "value", WRONG, None),
    ("grad_input", "conv2d_wmma.cu", "f < FG ? (&weight", "true ? (&weight", "index", None),
    ("grad_weight", "conv2d_wmma.cu", "min(each, all - s * each)", "all - s * each", WRONG, None),
]  # fmt: skip


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: f"{m[0]}: {m[2].strip()[:30]}")
def test_mistakes_are_caught(mutant: Any, tmp_path: Path) -> None:
    kernel, name, old, new, report, check = mutant
    file = "gemm_wmma" if kernel == "matmul" else "conv2d_wmma"
    for source in [*KERNELS.glob("*.cuh"), KERNELS / f"{file}.cu"]:
        text = source.read_text(encoding="utf-8")
        if source.name == name:
            assert text.count(old) == 1
            text = text.replace(old, new)
        (tmp_path / source.name).write_text(text, encoding="utf-8")
    how = {"file": tmp_path / f"{file}.cu", "check": check}
    trial = partial(_convolution, kernel, GEOMETRIES[0], **how)
    if kernel == "matmul":
        trial = partial(_product, SHAPES[2], **how)
    with pytest.raises((AssertionError, EmulatorError)) as caught:
        trial()
    said = WRONG if isinstance(caught.value, AssertionError) else caught.value.kind
    assert said == report, str(caught.value)
