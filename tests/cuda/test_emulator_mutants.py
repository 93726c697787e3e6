"""The emulator finds what it is there to find: four correct kernels pass every check in every
order of threads, and each of them with one mistake put in is caught."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from minitorch_cnn.kernels import emulator
from minitorch_cnn.kernels.emulator import EmulatorError

from .common import needs_emulator

pytestmark = needs_emulator
ORDERS: tuple[Literal["forward", "reverse", "random"], ...] = ("forward", "reverse", "random")
SOURCES = Path(__file__).parent / "sources"

Check = Literal["address", "undefined", "thread"] | None
# Arguments, and a function of them that says whether the kernel's answer is right.
Case = tuple[list[Any], Callable[[], bool]]


def _empty(*shape: int, dtype: Any = np.float32) -> np.ndarray[Any, Any]:
    return np.full(shape, -1e30 if np.dtype(dtype).kind == "f" else -(2**30), dtype)


def _matmul() -> Case:
    rng = np.random.default_rng(0)
    a = rng.integers(-4, 5, (11, 13)).astype(np.float32)
    b = rng.integers(-4, 5, (13, 19)).astype(np.float32)
    c = _empty(11, 19)
    return [a, b, c], lambda: np.array_equal(c, a @ b)


def _row_sums() -> Case:
    x = np.random.default_rng(1).integers(1, 9, (5, 1031)).astype(np.float32)
    y = _empty(5)
    return [x, y], lambda: np.array_equal(y, x.sum(axis=1))


def _row_facts() -> Case:
    x = np.random.default_rng(2).integers(-9, 9, (3, 333)).astype(np.int32)
    y = _empty(3, 2, dtype=np.int32)
    facts = np.stack([(x > 0).sum(axis=1), (x * x).sum(axis=1)], axis=1)
    return [x, y], lambda: np.array_equal(y, facts)


def _transpose() -> Case:
    x = np.random.default_rng(3).random((37, 21), np.float32)
    y = _empty(21, 37)
    return [x, y], lambda: np.array_equal(y, x.T)


def _smooth() -> Case:
    x = np.random.default_rng(4).random((3, 63), np.float32)
    y = _empty(3, 63)
    expected = x.astype(np.float64)
    for _ in range(3):
        padded = np.pad(expected, ((0, 0), (2, 2)))
        taps = [0.0625, 0.25, 0.375, 0.25, 0.0625]
        expected = sum(w * padded[:, i : i + 63] for i, w in enumerate(taps))
    return [x, y, 3], lambda: bool(np.allclose(y, expected, rtol=1e-5, atol=1e-6))


CASES: dict[str, tuple[str, Callable[[], Case]]] = {
    "matmul<float>": ("matmul", _matmul),
    "row_sums": ("reduce", _row_sums),
    "row_facts": ("reduce", _row_facts),
    "transpose<float>": ("transpose", _transpose),
    "smooth": ("stencil", _smooth),
}


@pytest.mark.parametrize("check", [None, "undefined", "thread", "address"])
@pytest.mark.parametrize("kernel", CASES)
def test_correct_kernels_pass(kernel: str, check: Check) -> None:
    file, case = CASES[kernel]
    results = []
    for order in ORDERS:
        args, right = case()
        emulator.run(SOURCES / f"{file}.cu", kernel, args, order=order, seed=7, check=check)
        assert right(), f"wrong numbers in order {order}"
        results.append(next(a for a in reversed(args) if isinstance(a, np.ndarray)).tobytes())
    assert len(set(results)) == 1, "the bits depend on the order of threads"


@dataclasses.dataclass(frozen=True)
class Mutant:
    """``old`` becomes ``new`` (the ``which``-th time it occurs, from 0, or ALL); found by an error
    of this kind, or by "numbers": a wrong answer in one of the three orders."""

    name: str
    kernel: str
    old: str
    new: str
    found_by: str
    check: Check = None
    which: int = 0


ALL = -1
BARRIER = "__syncthreads();"
MUTANTS = [
    Mutant("no barrier after the loads", "matmul<float>", BARRIER, "", "numbers"),
    Mutant("no barrier before the next loads", "matmul<float>", BARRIER, "", "numbers", None, 1),
    Mutant("... seen as a race", "matmul<float>", BARRIER, "", "race", "thread", 1),
    Mutant("unguarded rows", "matmul<float>", "m < M && ka < K", "ka < K", "index"),
    Mutant("unguarded tail of k", "matmul<float>", "m < M && ka < K", "m < M", "index"),
    Mutant("unguarded store", "matmul<float>", "m < M && n < N) c", "m < M) c", "index"),
    Mutant("tail not zeroed", "matmul<float>", ": T(0)", ": T(1)", "numbers", None, ALL),
    Mutant("swapped indices of a tile", "matmul<float>", "b_tile[k][threadIdx.x]",
           "b_tile[threadIdx.x][k]", "numbers"),
    Mutant("swapped strides", "matmul<float>", "b(kb, n)", "(&b(0, 0))[n * K + kb]", "numbers"),
    Mutant("one step of k too many", "matmul<float>", "k < TILE; ++k", "k <= TILE; ++k",
           "undefined"),
    Mutant("barrier in a divergent branch", "matmul<float>", "sum = 0;\n",
           "sum = 0;\n    if (m >= M) return;\n", "barrier"),
    Mutant("wrong warp mask", "row_sums", "0xffffffff, sum", "0x0000ffff, sum", "warp"),
    Mutant("half of a warp shuffles", "row_sums", "sum += __shfl",
           "if (threadIdx.x % 32 < lanes) sum += __shfl", "warp"),
    Mutant("not all lanes summed", "row_sums", "lanes = 16", "lanes = 8", "numbers"),
    Mutant("no barrier between warps", "row_sums", BARRIER, "", "numbers"),
    Mutant("... seen as a race", "row_sums", BARRIER, "", "race", "thread"),
    Mutant("misaligned float4", "row_sums", "(row * N) % 4 == 0 ? N / 4 * 4 : 0", "N / 4 * 4",
           "undefined"),
    Mutant("float4 over the end", "row_sums", "N / 4 * 4 : 0", "(N + 3) / 4 * 4 : 0", "numbers"),
    Mutant("... seen in the last row", "row_sums", "N / 4 * 4 : 0", "(N + 3) / 4 * 4 : 0",
           "address", "address"),
    Mutant("every thread stores", "row_sums", "if (threadIdx.x == 0) {",
           "if (threadIdx.x <= 1) {", "race", "thread"),
    Mutant("uninitialised shared memory", "row_facts", "if (threadIdx.x == 0) total = 0;", "",
           "numbers"),
    Mutant("no barrier after the zero", "row_facts", BARRIER, "", "race", "thread"),
    Mutant("plain addition for an atomic one", "row_facts", "atomicAdd(&total, value * value)",
           "total += value * value", "race", "thread"),
    Mutant("int overflow", "row_facts", "value * value", "value * (value + 400000000)",
           "undefined", "undefined"),
    Mutant("vote in a divergent branch", "row_facts", "count += __popc",
           "if (i < N) count += __popc", "warp"),
    Mutant("no barrier between store and load", "transpose<float>", BARRIER, "", "numbers"),
    Mutant("... seen as a race", "transpose<float>", BARRIER, "", "race", "thread"),
    Mutant("unguarded tail of the load", "transpose<float>", "h0 + i < H && w0 + threadIdx.x < W",
           "h0 + i < H", "index"),
    Mutant("guard of the other axis", "transpose<float>", "h0 + threadIdx.x < H && w0 + i < W",
           "h0 + i < H && w0 + threadIdx.x < W", "index"),
    Mutant("swapped indices of the tile", "transpose<float>", "= tile[threadIdx.x][i]",
           "= tile[i][threadIdx.x]", "numbers"),
    Mutant("one row of threads too few", "transpose<float>", "i += ROWS", "i += ROWS + 1",
           "numbers"),
    Mutant("blocks overlap", "transpose<float>", "h0 = blockIdx.y * TILE",
           "h0 = blockIdx.y * (TILE - 1)", "race", "thread"),
    Mutant("shared memory a row too small", "transpose<float>", "tile[TILE][TILE + 1]",
           "tile[TILE - 1][TILE + 1]", "undefined"),
    Mutant("halo off by one", "smooth", "line[BLOCK + HALO + w] = 0", "line[BLOCK + w] = 0",
           "numbers"),
    Mutant("halo too narrow", "smooth", "w < HALO", "w < HALO - 1", "numbers"),
    Mutant("taps off by one", "smooth", "line[w + tap]", "line[w + tap + 1]", "undefined"),
    Mutant("stores right after the loads", "smooth", BARRIER, "", "race", "thread", 1),
    Mutant("... seen in the numbers", "smooth", BARRIER, "", "numbers", None, 1),
    Mutant("loads right after the stores", "smooth", BARRIER, "", "race", "thread", 2),
    Mutant("threads beyond the row leave", "smooth", "const int w = threadIdx.x;",
           "const int w = threadIdx.x;\n    if (w >= W) return;", "barrier"),
    Mutant("a loop that never ends", "smooth", "t < times; ++t", "t < times;", "steps"),
]  # fmt: skip


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: f"{m.kernel}: {m.name}")
def test_every_mistake_is_caught(mutant: Mutant, tmp_path: Path) -> None:
    file, case = CASES[mutant.kernel]
    parts = (SOURCES / f"{file}.cu").read_text().split(f" {mutant.kernel.partition('<')[0]}(")
    pieces = parts[1].split(mutant.old)
    assert len(pieces) > mutant.which + 1, "the kernel no longer reads so"
    where = mutant.which + 1
    body = mutant.old.join(pieces[:where]) + mutant.new + mutant.old.join(pieces[where:])
    if mutant.which == ALL:
        body = mutant.new.join(pieces)
    path = tmp_path / f"{file}.cu"
    path.write_text(f"{parts[0]} {mutant.kernel.partition('<')[0]}({body}")

    def run(order: Any) -> bool:
        args, right = case()
        emulator.run(path, mutant.kernel, args, order=order, check=mutant.check, steps=1_000_000)
        return right()

    if mutant.found_by == "numbers":
        assert not all(run(order) for order in ORDERS), "survived"
        return
    with pytest.raises(EmulatorError) as caught:
        run("forward")
    assert caught.value.kind == mutant.found_by, caught.value
    if mutant.found_by != "steps":
        assert caught.value.file == path.name
        assert caught.value.line > 0
