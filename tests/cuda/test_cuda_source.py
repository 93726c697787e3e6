"""What is read out of a .cu file: kernels, parameters, launch lines, headers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from minitorch_cnn.kernels import cuda_source

KERNELS = Path(cuda_source.__file__).parent
CODE = """
#include "tile.cuh"
/* launch: block 1, grid 1 */
constexpr int HALF = TILE / 2;

// A comment with __global__ void wrong(int x) in it.
// launch: block (TILE, HALF), grid (ceil(OW / TILE), ceil((OH + 1) / HALF), N)
template <typename T, int KH>
__global__ void __launch_bounds__(TILE* HALF)
    tiled(Array<const T, 4> x, Array<T, 4> y,  // two lines
          const T* __restrict__ table, unsigned int n, bool flag, const int PH) {
    const int N = x.shape[0], OH = y.shape[2];
    int OW = y.shape[3];
}

// launch: block 256, grid-stride over x.shape[0] * x.size
__global__ void flat(Array<long long, 1> x) {}

__launch_bounds__(32) __global__ void odd() {}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "tile.cuh").write_text("#pragma once\nconstexpr int TILE = 16;\n")
    (tmp_path / "x.cu").write_text(CODE)
    return tmp_path / "x.cu"


def shape(path: Path, name: str, max_blocks: int = 4, **arguments: Any) -> Any:
    kernel, _, templates = cuda_source.find(path, name)
    return cuda_source.launch_shape(kernel, templates, arguments, max_blocks)


def test_parameters(path: Path) -> None:
    kernel, parameters, templates = cuda_source.find(path, "tiled<double, 3>")
    assert (kernel.line, kernel.templates, templates) == (
        9,
        ("T", "KH"),
        {"T": "double", "KH": "3"},
    )
    assert [p.name for p in parameters] == ["x", "y", "table", "n", "flag", "PH"]
    assert [p.dtype for p in parameters] == [np.float64] * 3 + [np.uint32, np.bool_, np.int32]
    assert [p.ndim for p in parameters] == [4, 4, 0, None, None, None]
    assert [p.const for p in parameters] == [True, False, True, False, False, True]


def test_launch_lines(path: Path) -> None:
    x, y = np.empty((7, 3, 40, 50)), np.empty((7, 5, 31, 33))
    assert shape(path, "tiled<float, 3>", x=x, y=y) == ((3, 4, 7), (16, 8, 1))
    assert shape(path, "flat", x=np.empty(10)) == ((1, 1, 1), (256, 1, 1))
    assert shape(path, "flat", x=np.empty(1000)) == ((4, 1, 1), (256, 1, 1))
    assert shape(path, "flat", 10**6, x=np.empty(1000)) == ((3907, 1, 1), (256, 1, 1))
    assert shape(path, "flat", x=np.empty(0)) == ((0, 1, 1), (256, 1, 1))
    kernel, _, templates = cuda_source.find(path, "tiled<float, 3>")
    assert cuda_source.constant(kernel, templates, kernel.launch_bounds) == 128


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("block 8", "is neither"),
        ("block 8, grid n / m", "'m' of the launch line is no parameter"),
        ("block 8, grid f(n)", "cannot hold"),
        ("block 8, grid y.size", "needs array 'y'"),
        ("block 8, grid )", "cannot read"),
    ],
)
def test_launch_lines_that_say_nothing(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "x.cu").write_text(f"// launch: {line}\n__global__ void k(int n) {{}}\n")
    with pytest.raises(ValueError, match=message):
        shape(tmp_path / "x.cu", "k", n=3)


def test_names_and_types_that_are_none(path: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no kernel 'absent': it has tiled, flat"):
        cuda_source.find(path, "absent<float>")
    with pytest.raises(ValueError, match=r"tiled has 2 template parameters \(T, KH\), but got 1"):
        cuda_source.find(path, "tiled<float>")
    (tmp_path / "y.cu").write_text("__global__ void k(struct Geometry g) {}\n")
    with pytest.raises(ValueError, match="parameter g: 'struct Geometry' is not a type"):
        cuda_source.find(tmp_path / "y.cu", "k")


def test_headers_are_put_in_their_place_once(tmp_path: Path) -> None:
    (tmp_path / "a.cuh").write_text('#pragma once\n#include "b.cuh"\nint a;\n')
    (tmp_path / "b.cuh").write_text("#pragma once\nint b;\n")
    (tmp_path / "x.cu").write_text('#include "b.cuh"\n#include "a.cuh"\n#include <mma.h>\nint x;\n')
    text = cuda_source.inlined(tmp_path / "x.cu")
    assert text.count("int b;") == text.count("int a;") == 1
    assert "pragma" not in text
    assert text.endswith('#line 3 "x.cu"\n#include <mma.h>\nint x;')
    # Headers that are not beside a file are ours.
    (tmp_path / "y.cu").write_text('#include "array.cuh"\n')
    assert "struct Array" in cuda_source.inlined(tmp_path / "y.cu")


@pytest.mark.parametrize("file", sorted(p.name for p in KERNELS.glob("*.cu")))
def test_every_kernel_of_ours_says_how_it_is_launched(file: str) -> None:
    kernels = cuda_source.kernels(KERNELS / file)
    assert kernels
    for kernel in kernels.values():
        kernel.instantiate(["float"] * len(kernel.templates))
        assert kernel.rule is not None, kernel.name
        if kernel.launch_bounds:
            bound = cuda_source.constant(kernel, {}, kernel.launch_bounds)
            block = [cuda_source.constant(kernel, {}, part) for part in kernel.rule.block]
            assert np.prod(block) <= bound, kernel.name


HALVES = """
// launch: block 32, grid 1
// types: Half, BFloat16 from sm_80
template <typename E, typename T = Real<E>>
__global__ void stored(Array<const E, 1> x, Array<T, 1> y, T scale) {
    constexpr int V = 16 / sizeof(T);
}

// launch: block 32, grid 1
template <typename E, typename T = Real<E>>
__global__ void any(Array<E, 1> x) {}

// launch: block 32, grid 1
template <typename T>
__global__ void plain(Array<T, 1> x) {}

// launch: block 32, grid 1
__global__ void none(Array<int, 1> x) {}
"""


def test_what_is_stored_and_what_is_computed_with(tmp_path: Path) -> None:
    path = tmp_path / "x.cu"
    path.write_text(HALVES)
    kernel, parameters, values = cuda_source.find(path, "stored<Half>")
    assert values == {"E": "Half", "T": "float"}
    assert [p.dtype for p in parameters] == [np.float16, np.float32, np.float32]
    assert cuda_source.constant(kernel, values, "V") == 4
    _, parameters, values = cuda_source.find(path, "stored<double>")
    assert values == {"E": "double", "T": "double"}
    assert [p.dtype for p in parameters] == [np.float64] * 3
    _, parameters, _ = cuda_source.find(path, "stored<BFloat16>")
    assert parameters[0].dtype == ml_dtypes.bfloat16
    assert {name: k.types for name, k in cuda_source.kernels(path).items()} == {
        "stored": {"Half": "", "BFloat16": "sm_80"},
        "any": {"float": "", "double": "", "Half": "", "BFloat16": ""},
        "plain": {"float": "", "double": ""},
        "none": {"": ""},
    }
    path.write_text(HALVES.replace("T = Real<E>", "T = float"))
    with pytest.raises(ValueError, match="only Real<E> can be a default"):
        cuda_source.kernels(path)
