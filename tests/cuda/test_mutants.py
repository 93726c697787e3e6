"""One mistake at a time in the kernels of convolution: the emulator must not let any of them pass.

Each is one that people make: a barrier, a guard or a bounds check left out, height and width mixed
up, the wrong buffer, one step too many or too few.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from minitorch_cnn.kernels import emulator
from minitorch_cnn.kernels.emulator import EmulatorError

from .common import emulate, nans, needs_emulator
from .convolution import forward, grad_input, grad_weight, pytorch

pytestmark = needs_emulator

KERNELS = Path(emulator.__file__).parents[1]
WRONG = "wrong numbers"


@dataclass(frozen=True)
class Mutant:
    """``old`` becomes ``new`` where ``function`` is defined; ``kernel`` of ``file``, which is or
    uses it, then gives ``report``: wrong numbers, or an error of the emulator."""

    name: str
    file: str
    kernel: str
    old: str
    new: str
    report: str
    function: str = ""
    check: Any = None
    dtype: Any = np.float32


BARRIER = "__syncthreads();\n"
M = Mutant
MUTANTS = [
    M("no barrier after the loads", "gemm", "matmul_shared", BARRIER + "        for", "for", "race",
      check="thread"),
    M("no barrier after the sums", "gemm", "matmul_shared", BARRIER[:-1] + "  // before", "// b",
      "race", check="thread"),
    M("threads without a result leave", "gemm", "matmul_shared", "T sum = 0;",
      "T sum = 0; if (m >= M || n >= N) return;", "barrier"),
    M("no guard of k", "gemm", "matmul_shared", "m < M && k0 + tx < K", "m < M", "index"),
    M("no barrier between steps", "gemm", "matmul_registers", BARRIER + "    }", "}", "race",
      check="thread"),
    M("rows that overlap", "gemm", "matmul_registers", "ty + 8 * j, n", "ty + 7 * j, n", WRONG),
    M("no guard of n", "gemm", "matmul_vectors", "if (m < M && n < N)", "if (m < M)", "index"),
    M("rows beyond the last", "gemm", "matmul_vectors", "min(m0 + row, M - 1)", "m0 + row",
      "index"),
    M("vectors from anywhere", "gemm", "matmul_vectors",
      " && reinterpret_cast<size_t>(from) % sizeof(Vector<E, COUNT>) == 0", "", "undefined",
      function="load_some"),
    M("a vector beyond the row", "gemm", "matmul", "i < n ? T(from[i]) : T(0)", "from[i]", WRONG,
      function="load_some"),
    M("multiplies the tile being filled", "gemm", "matmul", "multiply(tile[(step - 1) % 2]",
      "multiply(tile[step % 2]", WRONG),
    M("one buffer instead of two", "gemm", "matmul", "tile[step % 2].b", "tile[0].b", WRONG),
    M("no barrier in the pipeline", "gemm", "matmul", BARRIER, "", "race", check="thread"),
    M("the last step is not multiplied", "gemm", "matmul", "step <= steps", "step < steps", WRONG),
    M("halves of a tile overlap", "gemm", "matmul", "(COLS / 2)", "(COLS / 4)", WRONG,
      function="column"),

    M("one row of x too many", "conv2d", "forward_naive", "h < H", "h <= H", "index"),
    M("no dilation", "conv2d", "forward_naive", "kw * DW", "kw", WRONG),
    M("one column of the halo too few", "conv2d", "forward", "0 <= w &&", "1 <= w &&", WRONG),
    M("one column of the halo too many", "conv2d", "forward", "w < W;", "w <= W;", "index"),
    M("strides swapped", "conv2d", "forward", "p / OW * SH - PH, w0 = p % OW * SW",
      "p / OW * SW - PH, w0 = p % OW * SH", WRONG),
    M("padding of the height for the width", "conv2d", "forward", "p % OW * SW - PW",
      "p % OW * SW - PH", WRONG),
    M("taps beyond the last", "conv2d", "forward", "&& c < CG ", "", "index"),
    M("pixels beyond the last", "conv2d", "forward", "n < N && c < CG", "c < CG", "index"),
    M("all groups see the first", "conv2d", "forward", "x(n, g * CG + c, h, w)", "x(n, c, h, w)",
      WRONG),
    M("no barrier before the pixels are read", "conv2d", "forward", BARRIER + "    const auto",
      "const auto", "race", check="thread", dtype=np.float64),
    M("windows between the strides", "conv2d", "grad_input", "oh * SH == h && ", "", WRONG),
    M("dilations swapped", "conv2d", "grad_input", "h0 - kh * DH, w = w0 - kw * DW",
      "h0 - kh * DW, w = w0 - kw * DH", WRONG),
    M("taps in the order of x", "conv2d", "grad_input", "++kw == KW", "++kw == KH", WRONG),
    M("pixels of y beyond the last image", "conv2d", "grad_weight", "inside = n < N && ",
      "inside = ", "index"),
    M("slices run into each other", "conv2d", "grad_weight", "min(each, all - s * each)",
      "all - s * each", WRONG),
    M("the first slice is left out", "conv2d", "grad_weight", "int s = 0", "int s = 1", WRONG,
      function="add_slices"),

    M("filters of the next channel", "depthwise", "forward", "f / (F / C)", "f % C", WRONG),
    M("one filter too few", "depthwise", "grad_input", "f < (c + 1) * FC", "f < (c + 1) * FC - 1",
      WRONG),
    M("one number of a warp is lost", "depthwise", "grad_weight", "THREADS / WARP; warp++",
      "THREADS / WARP - 1; warp++", WRONG, function="block_sum"),
    M("no barrier before the warps' sums", "depthwise", "grad_weight", BARRIER + "    T total",
      "T total", "race", function="block_sum", check="thread"),

    M("one column too many", "im2col", "im2col", "w < W;", "w <= W;", "index"),
    M("columns of the tap before", "im2col", "im2col", "(c * KH + kh) * KW + kw",
      "(c * KW + kh) * KW + kw", WRONG),
    M("windows that read another pixel", "im2col", "col2im", " && ow * SW == w + PW - kw * DW", "",
      WRONG),
]  # fmt: skip


# ---- What must hold of each kernel: on shapes that fill no tile, with nothing equal in height and
# ---- width, and more steps than one.


def _product(file: Path, kernel: str, dtype: Any, how: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(s).astype(dtype) for s in [(1, 66, 19), (2, 19, 133)])
    c = nans((2, 66, 133), a)
    emulate(file, kernel, a, b, c, **how)
    np.testing.assert_allclose(c, a @ b, rtol=1e-4, atol=1e-4)


STRIDE, PADDING, DILATION = (2, 3), (1, 2), (1, 2)


def _convolution(file: Path, kernel: str, dtype: Any, how: dict[str, Any]) -> None:
    depthwise = file.stem == "depthwise"
    # 350 and 175 pixels: more than a block has threads.
    N, C, F, G = (14, 3, 6, 3) if depthwise else (7, 6, 4, 2)
    rng = np.random.default_rng(1)
    shapes = (N, C, 9, 12), (F, C // G, 3, 2), (F,)
    x, weight, bias = (rng.standard_normal(s).astype(dtype) for s in shapes)
    gy, (y, gx, gw) = pytorch(x, weight, bias, 2, STRIDE, PADDING, DILATION, G)
    settings: Any = (*STRIDE, *PADDING, *DILATION, *([] if depthwise else [G]))
    if kernel.startswith("forward"):
        ours, theirs = forward(file, kernel, x, weight, bias, y.shape, *settings, **how), y
    elif kernel.startswith("grad_input"):
        ours, theirs = grad_input(file, kernel, gy, weight, x.shape, *settings, **how), gx
    else:
        slices = 0 if depthwise else 3
        theirs = gw
        ours = grad_weight(file, kernel, gy, x, gw.shape, *settings, slices=slices, **how)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)


def _columns(file: Path, kernel: str, dtype: Any, how: dict[str, Any]) -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 9, 12)).astype(dtype)
    settings: Any = ((3, 2), DILATION, PADDING, STRIDE)
    expected = torch.nn.functional.unfold(torch.from_numpy(x), *settings)
    back = torch.nn.functional.fold(expected, x.shape[2:], *settings)
    col = expected.numpy().reshape(2, 18, 5, 5)
    numbers = (3, 2, *STRIDE, *PADDING, *DILATION)
    ours, theirs = (nans(col.shape, x), col) if kernel == "im2col" else (nans(x.shape, x), back)
    emulate(file, kernel, x if kernel == "im2col" else col, ours, *numbers, **how)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


Trial = Callable[[Path, str, Any, dict[str, Any]], None]
TRIALS: dict[str, Trial] = {
    "gemm": _product, "conv2d": _convolution, "depthwise": _convolution, "im2col": _columns,
}  # fmt: skip


def _mutated(folder: Path, mutant: Mutant) -> Path:
    """The kernels, of which one function has the mistake."""
    changed = 0
    for source in [*KERNELS.glob("*.cuh"), KERNELS / f"{mutant.file}.cu"]:
        text = source.read_text(encoding="utf-8")
        name = mutant.function or mutant.kernel
        start = re.search(rf"^( *).*__(global|device)__.*\b{name}\(", text, re.MULTILINE)
        if start is not None:
            end = re.compile(rf"^{start[1]}\}}", re.MULTILINE).search(text, start.start())
            assert end is not None
            body = text[start.start() : end.end()]
            if mutant.old in body:
                assert body.count(mutant.old) == 1
                text = text.replace(body, body.replace(mutant.old, mutant.new))
                changed += 1
        (folder / source.name).write_text(text, encoding="utf-8")
    assert changed == 1, f"{mutant.old!r} is not in {mutant.function or mutant.kernel}"
    return folder / f"{mutant.file}.cu"


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: f"{m.kernel}: {m.name}")
def test_caught(mutant: Mutant, tmp_path: Path) -> None:
    file = _mutated(tmp_path, mutant)
    with pytest.raises((AssertionError, EmulatorError)) as caught:
        TRIALS[mutant.file](file, mutant.kernel, mutant.dtype, {"check": mutant.check})
    said = WRONG if isinstance(caught.value, AssertionError) else caught.value.kind
    assert said == mutant.report, str(caught.value)


TRIED = sorted({(m.file, m.kernel, m.check or "", m.dtype.__name__) for m in MUTANTS})


@pytest.mark.parametrize(("file", "kernel", "check", "dtype"), TRIED)
def test_without_the_mistake(file: str, kernel: str, check: str, dtype: str) -> None:
    how = {"check": check or None}
    TRIALS[file](KERNELS / f"{file}.cu", kernel, np.dtype(dtype).type, how)
