"""Which algorithm computes a convolution: a table for the CPU, one for GPUs, read from the top.

A row says for which shapes an algorithm *can* be used, for which it *pays*, and why. ``choose``
takes the first row that can and pays, unless a name is asked for: by the call's ``algorithm=``, by
:func:`use`, or by the environment variable ``MINITORCH_CNN_CONV2D``. A name that cannot do a layer
(no algorithm but the direct loops does depthwise ones, and tensor cores are a GPU's) leaves that
layer to the table.

Results of different algorithms differ by rounding; each by itself gives the same bits every time.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from . import autotune, backend
from .geometry import Pair


class Problem(NamedTuple):
    """One of the three computations of one layer."""

    direction: str  # forward, grad_input or grad_weight
    x_shape: tuple[int, ...]  # (N, C, H, W)
    weight_shape: tuple[int, ...]  # (F, C/G, KH, KW)
    size: Pair  # (OH, OW)
    itemsize: int  # 4: float32, 8: float64; on a GPU also 2: float16
    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int
    gpu: bool = False  # it is computed on a GPU ...
    tensor_cores: bool = False  # ... that can multiply numbers of 16 bits faster

    @property
    def macs(self) -> int:
        """Multiply-adds by the definition."""
        return self.x_shape[0] * math.prod(self.weight_shape) * math.prod(self.size)


class Choice(NamedTuple):
    """A row of the table."""

    algorithm: str
    module: str
    why: str
    can: Callable[[Problem], bool]
    pays: Callable[[Problem], bool]


class Chosen(NamedTuple):
    """What ``choose`` answers."""

    algorithm: str
    module: str
    why: str
    workspace: int  # bytes beside input, weight and output


def _depthwise(p: Problem) -> bool:
    return p.weight_shape[1] == 1 and p.groups > 1


def _plain_1x1(p: Problem) -> bool:
    return p.weight_shape[2:] == (1, 1) and p.padding == (0, 0)


def _plain_3x3(p: Problem) -> bool:
    alone = p.stride == (1, 1) and p.dilation == (1, 1) and p.groups == 1
    return alone and p.weight_shape[2:] == (3, 3) and max(p.padding) <= 2


def _wide_3x3(p: Problem) -> bool:
    """float32 only: in float64, precision is what is wanted. grad_weight has channels and filters
    by the 32: of 24 of both, 7 of 16 products would be of nothing."""
    least = 32 if p.direction == "grad_weight" else 24
    return p.itemsize == 4 and min(p.weight_shape[:2]) >= least and min(p.size) >= 2


def _rows(p: Problem) -> bool:
    """Rows of at least a vector, copies that stay small, and for gradients stride 1."""
    from . import shifted_rows

    shapes = p.x_shape, p.weight_shape, p.size
    return p.groups == 1 and shifted_rows.can(
        p.direction, *shapes, p.stride, p.padding, p.dilation, p.itemsize
    )


def _few_channels(p: Problem) -> bool:
    """Where filters do not fill implicit_gemm's vectors, or K is too short to pay for its packing,
    and pixels and filters fill those of row_tile."""
    from .row_tile import ROW_BYTES, ROWS

    F, C = p.weight_shape[:2]
    lanes = ROW_BYTES // p.itemsize
    columns = p.size[1] / (math.ceil(p.size[1] / lanes) * lanes)
    rows = F / (math.ceil(F / ROWS) * ROWS)
    if C <= 4:
        return columns >= 0.75
    some = 128 if p.direction == "forward" else 40  # gradients have a pass more over t, or over gy
    return some >= C and F % 8 != 0 and columns * rows >= 0.85


def _fits_in_memory(p: Problem) -> bool:
    """Whether what implicit_gemm copies stays small: bands of rows, and images of few channels."""
    few = p.weight_shape[1] % 8 != 0
    image = math.prod(p.x_shape[1:]) * p.itemsize
    if few and p.direction == "grad_weight" and image > LARGEST_BAND:
        return False
    wide = max(p.x_shape[3], p.size[1] * p.stride[1]) + p.weight_shape[3] * p.dilation[1]
    tall = p.weight_shape[2] * p.dilation[0] + p.stride[0]
    return wide * tall * max(p.weight_shape[:2]) * p.itemsize <= LARGEST_BAND


def _always(_: Problem) -> bool:
    return True


def _tensor_cores(p: Problem) -> bool:
    return p.tensor_cores and p.itemsize == 2


def _winograd_on_gpu(p: Problem) -> bool:
    return _plain_3x3(p) and (p.direction != "grad_weight" or p.itemsize > 2)


def _saves_on_gpu(p: Problem) -> bool:
    """float32 only, as on the CPU."""
    from .winograd_cuda import saves

    return p.itemsize == 4 and saves(p)


LARGEST_BAND = 1 << 23
TABLE = (
    Choice(
        "direct", "depthwise", "one channel per filter: there is no sum to turn into a product",
        _depthwise, _always,
    ),
    Choice(
        "pointwise", "pointwise", "1x1: a product of matrices, on x as it lies",
        _plain_1x1, _always,
    ),
    Choice(
        "winograd", "winograd_conv", "3x3 and many channels: 2.25 to 4 times fewer multiplications",
        _plain_3x3, _wide_3x3,
    ),
    Choice(
        "rows", "shifted_rows", "few channels: sums of shifted rows of pixels, which fill vectors",
        _rows, _few_channels,
    ),
    Choice(
        "implicit_gemm", "implicit_gemm", "a product of matrices that reads x through the window",
        _fits_in_memory, _always,
    ),
    Choice(
        "im2col", "im2col_gemm", "the columns are written down, some panels at a time",
        _always, _always,
    ),
)  # fmt: skip
# Of a row here, ``module`` is the .cu, or the .py that launches several. Not measured on a GPU.
GPU_TABLE = (
    TABLE[0],
    Choice(
        "tensor_cores", "conv2d_wmma", "16 bits: tensor cores multiply matrices of 16 x 16 at once",
        _tensor_cores, _always,
    ),
    Choice(
        "winograd", "winograd_cuda", "3x3: the multiplications saved outweigh the memory traffic",
        _winograd_on_gpu, _saves_on_gpu,
    ),
    Choice(
        "implicit_gemm", "conv2d", "a product of matrices, its tiles fetched through the window",
        _always, _always,
    ),
)  # fmt: skip
NAMES = ("auto", *dict.fromkeys(row.algorithm for row in (*TABLE, *GPU_TABLE)))
_wanted: dict[str, str] = {}


def _table(problem: Problem) -> tuple[Choice, ...]:
    return GPU_TABLE if problem.gpu else TABLE


def can(problem: Problem) -> list[str]:
    """The algorithms that can compute it."""
    names = [row.algorithm for row in _table(problem) if row.can(problem)]
    return names if "direct" not in names else ["direct"]


def choose(
    problem: Problem, algorithm: str = "auto", measure: Callable[[], None] | None = None
) -> Chosen:
    """The algorithm for a problem: the one asked for, if it can, else that of the table.

    Where the clock chooses, ``measure`` is called before.
    """
    if not problem.gpu and autotuned(algorithm):
        if measure is not None:
            measure()
        if times := autotune.known(problem):
            chosen = choose(problem, next(iter(times)))
            told = ", ".join(f"{name} {ms:.3g} ms" for name, ms in times.items())
            return chosen._replace(why=f"measured: {told}")
    if algorithm == "auto":
        algorithm = get()
    elif algorithm not in NAMES:
        raise ValueError(f"conv2d: algorithm={algorithm!r}: choose one of {', '.join(NAMES)}")
    return _choose(problem, algorithm, backend.cpu_backend, backend.get_num_threads())


def autotuned(algorithm: str) -> bool:
    """Whether, with this wish, the clock chooses."""
    return algorithm == "auto" and autotune.wanted() and get() == "auto"


@functools.lru_cache(maxsize=4096)
def _choose(problem: Problem, algorithm: str, cpu: str, threads: int) -> Chosen:
    names, table = can(problem), _table(problem)
    if algorithm in names:
        row, why = next(row for row in table if row.algorithm == algorithm), "asked for"
    elif cpu == "numpy" and not problem.gpu and names != ["direct"]:
        row, why = TABLE[-1], "plain NumPy: whole-array products"
    else:
        row = next(row for row in table if row.algorithm in names and row.pays(problem))
        why = row.why
    return Chosen(row.algorithm, row.module, why, _workspace(problem, row.algorithm))


def _workspace(p: Problem, algorithm: str) -> int:
    N = p.x_shape[0]
    F, CG, KH, KW = p.weight_shape
    if p.gpu:
        from . import conv2d_cuda

        return conv2d_cuda.workspace_bytes(p, algorithm)
    if algorithm == "winograd":
        from . import winograd
        from .winograd_conv import tile_of

        dtype, tile = f"f{p.itemsize}", tile_of(p.size)
        return winograd.workspace_bytes(p.x_shape, p.weight_shape, dtype, p.padding, tile)
    if algorithm == "rows":
        from . import shifted_rows

        shapes = p.x_shape, p.weight_shape, p.size, p.stride, p.padding, p.dilation
        return shifted_rows.workspace_bytes(p.direction, *shapes, p.itemsize)
    if algorithm == "implicit_gemm":
        from . import implicit_gemm_plan

        M = F // p.groups
        shape = (CG, M, (KH, KW), p.size, p.stride, p.dilation, p.itemsize, p.groups)
        return implicit_gemm_plan.workspace_bytes(N * p.groups, *shape)
    if algorithm == "pointwise":
        from . import pointwise

        return pointwise.workspace_bytes(N, CG, p.groups, p.size, p.stride, p.itemsize)
    if algorithm == "im2col":
        from . import im2col_gemm

        images, merge = N * p.groups, p.groups == 1
        return im2col_gemm.workspace_bytes(images, CG * KH * KW, p.size, p.itemsize, merge)
    return 0


def get() -> str:
    """The algorithm that is wanted: "auto" unless :func:`use` or the environment say otherwise."""
    if "algorithm" in _wanted:
        return _wanted["algorithm"]
    name = os.environ.get("MINITORCH_CNN_CONV2D", "auto")
    if name not in NAMES:
        raise ValueError(f"MINITORCH_CNN_CONV2D={name!r}: choose one of {', '.join(NAMES)}")
    return name


def use(algorithm: str) -> None:
    """Want an algorithm for all convolutions that it can compute; "auto": the table's again."""
    if algorithm not in NAMES:
        raise ValueError(f"conv2d: algorithm {algorithm!r}: choose one of {', '.join(NAMES)}")
    _wanted["algorithm"] = algorithm


@contextmanager
def using(algorithm: str) -> Iterator[None]:
    """:func:`use`, inside a ``with`` block."""
    before = dict(_wanted)
    use(algorithm)
    try:
        yield
    finally:
        _wanted.clear()
        _wanted.update(before)
