"""The emulator itself: what a kernel may use, what it may not do, and how it is said."""

from __future__ import annotations

import _thread
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minitorch_cnn.kernels import emulator
from minitorch_cnn.kernels.emulator import EmulatorError

from .common import needs_emulator
from .emulator_common import TURNS, floats, ints, kernel, source

pytestmark = needs_emulator


# ---- What a kernel may use ----


def test_every_thread_knows_where_it_is(tmp_path: Path) -> None:
    path = kernel(
        tmp_path,
        "Array<int, 2> y",
        """
    int block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    int thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    y(block, thread) = 1000000 * blockIdx.x + 100000 * blockIdx.y + 10000 * blockIdx.z
        + 100 * threadIdx.x + 10 * threadIdx.y + threadIdx.z;
""",
        "(5, 3, 2)",
        "(2, 3, 4)",
    )
    for order in ("forward", "reverse", "random"):
        y = np.zeros((24, 30), np.int32)
        emulator.run(path, "k", [y], order=order)
        b, t = np.indices(y.shape)
        block = 1000000 * (b % 2) + 100000 * (b // 2 % 3) + 10000 * (b // 6)
        np.testing.assert_array_equal(y, block + 100 * (t % 5) + 10 * (t // 5 % 3) + t // 15)


def test_orders_of_threads_and_blocks(tmp_path: Path) -> None:
    path = kernel(tmp_path, "Array<int, 3> y, Array<int, 1> turn", TURNS, 8, "3")

    def turns(**settings: Any) -> np.ndarray[Any, Any]:
        y = np.zeros((2, 3, 8), np.int32)
        emulator.run(path, "k", [y, ints(1, 0)], **settings)
        return y

    threads, blocks = np.arange(8), 16 * np.arange(3)[:, None]
    forward = np.stack([blocks + threads, blocks + threads + 8])
    np.testing.assert_array_equal(turns(), forward)
    np.testing.assert_array_equal(turns(order="reverse"), forward[:, ::-1, ::-1])
    random = turns(order="random", seed=1)
    np.testing.assert_array_equal(random, turns(order="random", seed=1))
    assert (random != turns(order="random", seed=2)).any()
    # Between two barriers any order; never across a barrier.
    assert (random[0].max(axis=1) < random[1].min(axis=1)).all()
    assert (np.argsort(random[0], axis=1) != np.argsort(random[1], axis=1)).any()


def test_shared_memory_begins_as_nan_in_every_block(tmp_path: Path) -> None:
    path = kernel(
        tmp_path,
        "Array<float, 2> y, Array<int, 2> z",
        """
    __shared__ float numbers[4];
    __shared__ int counts[4];
    y(blockIdx.x, threadIdx.x) = numbers[threadIdx.x];
    z(blockIdx.x, threadIdx.x) = counts[threadIdx.x];
    numbers[threadIdx.x] = counts[threadIdx.x] = threadIdx.x;
""",
        4,
        "3",
    )
    y, z = np.zeros((3, 4), np.float32), np.zeros((3, 4), np.int32)
    emulator.run(path, "k", [y, z])
    assert np.isnan(y).all()
    assert (z == -1).all()


def test_shuffles(tmp_path: Path) -> None:
    path = source(
        tmp_path,
        """
// launch: block 64, grid 1
template <typename T>
__global__ void k(Array<T, 2> y, int width) {
    const int i = threadIdx.x;
    const T mine = 1000 + i;
    const unsigned all = 0xffffffff;
    y(0, i) = __shfl_down_sync(all, mine, 3, width);
    y(1, i) = __shfl_up_sync(all, mine, 3, width);
    y(2, i) = __shfl_xor_sync(all, mine, 5, width);
    y(3, i) = __shfl_sync(all, mine, 2, width);
    y(4, i) = __shfl_sync(all, mine, i + 1, width);
    y(5, i) = i % 32 < 8 ? __shfl_xor_sync(0xffu, mine, 1) : mine;
    __syncwarp();
}
""",
    )
    i = np.arange(64)
    for dtype, name in [(np.float32, "float"), (np.float64, "double"), (np.int64, "long long")]:
        for width in (32, 8):
            y = np.zeros((6, 64), dtype)
            emulator.run(path, f"k<{name}>", [y, width], order="random")
            within = i % width
            expected = [
                np.where(within + 3 < width, i + 3, i),
                np.where(within >= 3, i - 3, i),
                i ^ 5,
                i - within + 2,
                i - within + (i + 1) % width,
                np.where(i % 32 < 8, i ^ 1, i),
            ]
            np.testing.assert_array_equal(y, 1000 + np.stack(expected))


def test_votes(tmp_path: Path) -> None:
    path = kernel(
        tmp_path,
        "Array<unsigned, 2> y",
        """
    const int i = threadIdx.x;
    y(0, i) = __ballot_sync(0xffffffff, i % 3 == 0);
    y(1, i) = __any_sync(0xffffffff, i == 40);
    y(2, i) = __all_sync(0xffffffff, i < 40);
    y(3, i) = i < 40 ? __popc(__ballot_sync(i < 32 ? 0xffffffff : 0xff, 1)) : 0;
""",
        64,
    )
    y = np.zeros((4, 64), np.uint32)
    emulator.run(path, "k", [y], order="reverse")
    i = np.arange(64)
    bits = [sum(1 << b for b in range(32) if (w + b) % 3 == 0) for w in (0, 32)]
    np.testing.assert_array_equal(y[0], np.repeat(bits, 32))
    np.testing.assert_array_equal(y[1], i >= 32)
    np.testing.assert_array_equal(y[2], i < 32)
    np.testing.assert_array_equal(y[3], np.select([i < 32, i < 40], [32, 8]))


def test_atomics(tmp_path: Path) -> None:
    path = kernel(
        tmp_path,
        "Array<int, 1> y, Array<unsigned long long, 1> z",
        """
    const int i = threadIdx.x;
    atomicAdd(&y(0), i);
    atomicSub(&y(1), i);
    atomicMin(&y(2), i - 7);
    atomicMax(&y(3), i);
    atomicExch(&y(4), 5);
    atomicOr(&y(5), 1 << (i % 8));
    atomicAnd(&y(6), ~i);
    atomicXor(&y(7), i);
    while (i == 3 && atomicCAS(&y(8), 0, 9) != 0) {}
    atomicAdd(&z(0), 1ull << 40);
""",
    )
    for check in (None, "undefined", "thread"):
        y, z = ints(9, 0), np.zeros(1, np.uint64)
        y[6] = 1 << 20
        emulator.run(path, "k", [y, z], check=check)
        np.testing.assert_array_equal(y, [496, -496, -7, 31, 5, 255, 1 << 20, 0, 9])
        assert z[0] == 32 << 40


def test_atomic_addition_of_floats_is_refused(tmp_path: Path) -> None:
    path = kernel(tmp_path, "Array<float, 1> y", "atomicAdd(&y(0), 1.0f);")
    with pytest.raises(EmulatorError, match="an order that changes from run to run") as caught:
        emulator.run(path, "k", [floats(1)])
    assert caught.value.kind == "compile"


def test_vectors_constants_and_mathematics(tmp_path: Path) -> None:
    path = source(
        tmp_path,
        """
__constant__ int table[4] = {3, 1, 4, 1};
__device__ __forceinline__ double twice(double x) { return 2 * x; }

// launch: block 4, grid 1
__global__ void k(Array<const double, 1> x, Array<double, 2> y, Array<float, 1> z, bool on) {
    const int i = threadIdx.x;
    if (i < 2) {
        const double2 v = *reinterpret_cast<const double2*>(&x(2 * i));
        *reinterpret_cast<double2*>(&y(0, 2 * i)) = make_double2(twice(v.y), v.x);
    }
    y(1, i) = table[i] + min(i, 2) + max(1u, 2u) + (on ? 100 : 0);
    y(2, i) = rsqrt(x(i)) + fma(x(i), 2.0, 1.0) + max(x(i), 2.5);
    y(3, i) = __ldg(&x(i)) + isnan(x(i)) + (i == 0 ? fmaxf(NAN, 3.0f) : min(2.0f, NAN));
    z(i) = __expf(static_cast<float>(x(i))) + rsqrtf(4.0f) + __fdividef(1.0f, 2.0f);
    z(i) += make_float4(1, 2, 3, 4).w + __int_as_float(__float_as_int(2.0f)) + __clz(1) + __ffs(8);
}
""",
    )
    x = np.array([1.0, 2.0, 3.0, 4.0])
    y, z = np.zeros((4, 4)), floats(4)
    emulator.run(path, "k", [x, y, z, True], check="undefined")
    np.testing.assert_allclose(y[0], [4, 1, 8, 3])
    np.testing.assert_allclose(y[1], [105, 104, 108, 105])
    np.testing.assert_allclose(y[2], 1 / np.sqrt(x) + 2 * x + 1 + np.maximum(x, 2.5))
    np.testing.assert_allclose(y[3], x + [3, 2, 2, 2])
    np.testing.assert_allclose(z, np.exp(x) + 1 + 6 + 35, rtol=1e-6)


def test_arrays_scalars_and_none(tmp_path: Path) -> None:
    path = source(
        tmp_path,
        """
// launch: block 64, grid-stride over y.size
template <typename T, int P>
__global__ void __launch_bounds__(64)
    k(Array<const T, 2> x, Array<const T, 1> bias, Array<T, 2> y, double scale, unsigned char add) {
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < y.size(); i += gridDim.x * blockDim.x) {
        const int h = i / y.shape[1], w = i % y.shape[1];
        y(h, w) = x(h, w) * T(scale) + (bias.data ? bias(w) : T(0)) + add + P;
    }
}
""",
    )
    x = np.random.default_rng(0).random((29, 31))
    for bias in (None, np.arange(31.0)):
        y = np.zeros_like(x)
        emulator.run(path, "k<double, 7>", [x, bias, y, 3, 200], order="random")
        np.testing.assert_array_equal(y, x * 3 + (0 if bias is None else bias) + 200 + 7)
    empty = np.zeros((0, 31))
    emulator.run(path, "k<double, 7>", [empty, None, empty.copy(), 3, 200])


# ---- What it may not do, and which check says so ----

CASES = """
__device__ int deep(int n) {
    volatile char room[4096];
    room[n & 4095] = 1;
    return n ? deep(n - 1) + room[0] : 0;
}

// launch: block 64, grid 2
__global__ void k(Array<float, 1> y, Array<const float, 2> x, int what, const int* raw) {
    const int i = threadIdx.x;
    __shared__ float tile[64], other[64];
    if (blockIdx.x == 1 && what != 31) return;
    tile[i] = other[i] = i;
    __syncthreads();
    float* p = tile;
    switch (what) {
#line 100
    case 1: y(i + 1) = 1; break;
    case 2: y(i) = x(i, 3) + x(i, -1); break;
    case 3: if (i < 40) __syncthreads(); break;
    case 4: if (i < 40) __syncthreads(); else
                __syncthreads(); break;
    case 5: y(i) = __shfl_sync(0xffff, y(i), 0); break;
    case 6: if (i != 9) y(i) = __shfl_xor_sync(0xffffffff, y(i), 1); break;
    case 7: if (i % 2) __syncwarp(); else __syncthreads(); break;
    case 8: if (i % 2) __syncwarp(1 << 1 | 1 << 3); else __ballot_sync(0x3, 1); break;
    case 9: y(i) = __shfl_sync(0xffffffff, y(i), i < 32 ? 0 : 40, 64); break;
    case 10: while (i == 5) y(0) += 1; break;
    case 11: while (i == 5) {} break;
    case 12: for (;;) __syncthreads();
    case 13: *reinterpret_cast<float*>(4ll * what) = 1; break;
    case 14: y(0) = deep(1 << 20); break;
    case 15: y(0) = 1 / (what - 15); break;
    case 16: y(i) = reinterpret_cast<float4*>(&tile[i])->y; break;
    case 17: y(i) = tile[what + 48 + i / 63]; break;
    case 18: y(0) = what * 2147483; y(1) = what * 214748364; break;
    case 19: y(0) = 1 << (what + 20); break;
    case 20: y(0) = static_cast<int>(y(2) * -1e30f); break;
    case 21: if (i < 63) p[i] = p[i + 1]; break;
    case 22: y(3) = i; break;
    case 23: if (i == 7) atomicAdd(reinterpret_cast<int*>(p), 1); else if (i == 50) p[0] = 2; break;
    case 24: p[i] = raw[i + (i == 63)]; break;
    case 25: p[i] = raw[i - (i == 0)]; break;
    case 26: y(0) = p[what + 38]; break;
    case 27: { float local[3] = {1, 2, 3}; float* q = local; y(0) = q[what - 24]; break; }
    case 28: y(i) = x(i, 0); break;
    case 29: y(i) = -2147483647 - what; break;
    case 30: y(i) = p[i]; __syncwarp(); p[i ^ 1] = y(i); __syncwarp(); p[i ^ 2] = y(i); break;
    case 31: y(i) = blockIdx.x; break;
    }
}
"""


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return source(tmp_path_factory.mktemp("cases"), CASES)


def attempt(cases: Path, what: int, check: Any = None, x: Any = ..., **settings: Any) -> Any:
    y = floats(64)
    x = np.zeros((64, 4), np.float32) if x is ... else x
    emulator.run(cases, "k", [y, x, what, ints(64, 0)], check=check, **settings)
    return y


WRONG: list[tuple[int, str | None, str, str]] = [
    (1, None, "index", r"index \(64,\) is outside an array of shape \(64,\) .*thread \(63, 0, 0\)"),
    (2, None, "index", r"index \(0, -1\) is outside an array of shape \(64, 4\)"),
    (3, None, "barrier", r"40 of 64 threads \(\(0, 0, 0\) and others\) wait at .*:102;"),
    (3, None, "barrier", r"; 24 of 64 threads \(\(40, 0, 0\) and others\) have exited"),
    (4, None, "barrier", r"test.cu:103; 24 of .* wait at __syncthreads, test.cu:104"),
    (5, None, "warp", r"lane 16 calls a shuffle with mask 0x0000ffff, which leaves it out"),
    (6, None, "warp", r"a shuffle reads lane 9, which has exited"),
    (7, None, "warp", r"32 .* wait at __syncthreads.*32 .*__syncwarp with mask 0xffffffff"),
    (8, None, "warp", r"leaves it out"),
    (9, None, "warp", r"reads lane 40, which does not exist"),
    (10, None, "steps", r"one thread ran 1000000 steps: an endless loop\?"),
    (11, None, "steps", r"an endless loop"),
    (12, None, "steps", r"one thread ran 1000000 steps"),
    (13, None, "fault", r"memory that is not the kernel's \(address 0x34\)"),
    (14, None, "fault", r"more than 256 KiB of local variables"),
    (15, None, "undefined", r"1 divided by 0"),
    (16, None, "undefined", r"float4' at an address that is no multiple of 16 bytes \(4 over\)"),
    (17, None, "undefined", r"index 65 is outside 'float \[64\]'"),
    (18, "undefined", "undefined", r"18 \* 214748364 does not fit 'int'"),
    (19, "undefined", "undefined", r"1 shifted by 39 bits"),
    (20, "undefined", "undefined", r"a 'float' that does not fit 'int'"),
    (29, "undefined", "undefined", r"-2147483647 - 29 does not fit 'int'"),
    (21, "thread", "race", r"__shared__ tile, byte 4: this write and the read by block"),
    (21, "thread", "race", r"thread \(0, 0, 0\) have no order; the earlier one: test.cu:121 \["),
    (22, "thread", "race", r"y, element 3: this write and the write"),
    (23, "thread", "race", r"tile, byte 0: this write and the atomic access"),
    (31, "thread", "race", r"y, element 0: .* by block \(0, 0, 0\).*block \(1, 0, 0\)"),
    (24, "address", "address", r"heap-buffer-overflow: .* byte 256 of raw, which has 256 bytes"),
    (25, "address", "address", r"heap-buffer-overflow: a read of 4 bytes at byte -4 of raw"),
    (26, "address", "address", r"global-buffer-overflow: a read of 4 bytes at byte 256 of tile"),
    (27, "address", "address", r"stack-buffer-overflow"),
    (13, "address", "address", r"SEGV"),
    (11, "address", "steps", r"an endless loop"),
    (1, "address", "index", r"index \(64,\)"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "check", "kind", "message"), WRONG)
def test_mistakes_are_reported(
    cases: Path, what: int, check: str | None, kind: str, message: str
) -> None:
    with pytest.raises(EmulatorError, match=f"^k: .*{message}") as caught:
        attempt(cases, what, check, steps=1_000_000)
    error = caught.value
    assert (error.kind, error.kernel) == (kind, "k")
    assert error.block is not None
    assert error.thread is not None
    if what not in (4, 11, 12, 14):  # elsewhere: the line of a case is its number's
        assert error.file == "test.cu"
        assert error.line == 99 + what - (0 if what < 5 else -1)
    # The failure leaves nothing behind.
    np.testing.assert_array_equal(attempt(cases, 0), floats(64))


@pytest.mark.parametrize("check", [None, "undefined", "thread", "address"])
def test_what_is_right_passes_every_check(cases: Path, check: Any) -> None:
    attempt(cases, 28, check)
    np.testing.assert_array_equal(attempt(cases, 30, check), np.arange(64))


def test_absent_array(cases: Path) -> None:
    with pytest.raises(EmulatorError, match="the array is None"):
        attempt(cases, 28, x=None)


def test_address_check_gives_the_same_results(tmp_path: Path) -> None:
    body = "y(threadIdx.x) = x(threadIdx.x) + y(threadIdx.x);"
    path = kernel(tmp_path, "Array<const float, 1> x, Array<float, 1> y", body, 8)
    x, y = np.arange(8, dtype=np.float32), np.ones(8, np.float32)
    emulator.run(path, "k", [x, y], check="address")
    np.testing.assert_array_equal(y, x + 1)
    emulator.run(path, "k", [y, y], check="address")  # one memory under two names stays one
    np.testing.assert_array_equal(y, 2 * x + 2)
    both = np.zeros(12, np.float32)
    with pytest.raises(EmulatorError, match="overlap in part"):
        emulator.run(path, "k", [both[:8], both[4:]], check="address")


# ---- Calling a kernel ----

READ_ONLY = np.zeros((2, 3), np.float32)

READ_ONLY.flags.writeable = False

X = np.zeros((2, 3), np.float32)


@pytest.mark.parametrize(
    ("args", "settings", "message"),
    [
        ([X, X], {}, r"takes 3 arguments \(x, y, n\), but got 2"),
        ([X.astype(np.float64), X, 1], {}, r"argument x .*expected float32, but got float64"),
        ([X[0], X, 1], {}, r"expected 2 dimensions, but got shape \(3,\)"),
        ([X.T, X, 1], {}, r"not C-contiguous"),
        ([X, READ_ONLY, 1], {}, r"argument y .*read-only"),
        ([[1.0], X, 1], {}, r"expected an array, but got list"),
        ([X, X, 1.5], {}, r"argument n \(int\): got 1.5"),
        ([X, X, 2**31], {}, r"2147483648 does not fit"),
        ([X, X, 1], {"order": "sideways"}, r"order='sideways': choose from forward"),
        ([X, X, 1], {"check": "memory"}, r"check='memory': choose address"),
        ([X, X, 1], {"block": 64}, r"__launch_bounds__ allows 32 threads"),
        ([X, X, 1], {"block": (8, 8, 65)}, r"a block has 1 to 1024 threads, 64 in z"),
        ([X, X, 1], {"grid": (1, 70000)}, r"grid \(1, 70000, 1\): at most"),
    ],
)
def test_arguments_are_checked(checked: Path, args: Any, settings: Any, message: str) -> None:
    with pytest.raises(EmulatorError, match=f"^k<float>: .*{message}") as caught:
        emulator.run(checked, "k<float>", args, **settings)
    assert caught.value.kind == "call"


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return source(
        tmp_path_factory.mktemp("checked"),
        """
// launch: block 32, grid 1
template <typename T>
__global__ void __launch_bounds__(32) k(Array<const T, 2> x, Array<T, 2> y, int n) {}

extern "C" __global__ void plain(Array<float, 1> y) { y(0) = 2; }

template <typename T>
__global__ void without(Array<T, 2> y) {}

__global__ void large(Array<float, 1> y) {
    __shared__ float tile[13000];
    tile[threadIdx.x] = 1;
    y(0) = tile[0];
}
""",
    )


def test_kernels_that_cannot_be_called(checked: Path) -> None:
    path = checked
    with pytest.raises(EmulatorError, match=r"has no '// launch:' line: give grid and block"):
        emulator.run(path, "without<float>", [X])
    emulator.run(path, "without<float>", [X], grid=1, block=1)
    emulator.run(path, "plain", [floats(1)], grid=1, block=1)
    with pytest.raises(
        EmulatorError, match=r"test.cu has no kernel 'absent': it has k, plain, without"
    ):
        emulator.run(path, "absent<float>", [X])
    with pytest.raises(EmulatorError, match=r"k has 1 template parameters \(T\), but got 2"):
        emulator.run(path, "k<float, 3>", [X])
    with pytest.raises(EmulatorError, match=r"52,000 bytes of __shared__ variables: 49,152"):
        emulator.run(path, "large", [floats(3)], grid=1, block=1)


def test_what_the_compiler_says_names_the_line(tmp_path: Path) -> None:
    path = kernel(tmp_path, "Array<float, 2> y", "\n    y(0) = 1;")
    with pytest.raises(EmulatorError, match="one index per dimension") as caught:
        emulator.run(path, "k", [X])
    assert "test.cu:6" in str(caught.value)


def test_trace_tells_which_thread_wrote_what(tmp_path: Path) -> None:
    body = """
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < 10) y(i / 5, i % 5) = x(i / 2);
    if (i == 3) y(0, 0) = x(9);
"""
    path = kernel(tmp_path, "Array<const float, 1> x, Array<float, 2> y", body, 4, "3")
    args = [np.zeros(10, np.float32), np.zeros((2, 6), np.float32)]
    wrote = emulator.trace(path, "k", args, of="y")
    assert wrote.shape == (2, 6)
    np.testing.assert_array_equal(wrote["block"][..., 0][:, :5].ravel()[1:], np.arange(1, 10) // 4)
    np.testing.assert_array_equal(wrote["thread"][..., 0][:, :5].ravel()[1:], np.arange(1, 10) % 4)
    np.testing.assert_array_equal(wrote["count"], [[2, 1, 1, 1, 1, 0], [1, 1, 1, 1, 1, 0]])
    np.testing.assert_array_equal(wrote["thread"][0, 0], [3, 0, 0])
    np.testing.assert_array_equal(wrote["block"][1, 5], [-1, -1, -1])
    read = emulator.trace(path, "k", args, of="x", access="read")
    np.testing.assert_array_equal(read["count"], [2, 2, 2, 2, 2, 0, 0, 0, 0, 1])
    with pytest.raises(EmulatorError, match="of='z' names no array argument: there are x, y"):
        emulator.trace(path, "k", args, of="z")


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C raises, also where this process was started in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_control_c_ends_a_long_launch(tmp_path: Path) -> None:
    body = "for (int i = 0; i < 1000; ++i) atomicAdd(&y(0), i);"
    path = kernel(tmp_path, "Array<int, 1> y", body)
    emulator.run(path, "k", [ints(1)])
    timer = threading.Timer(0.3, _thread.interrupt_main)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        emulator.run(path, "k", [ints(1)], grid=10_000_000)
    timer.join()
    emulator.run(path, "k", [ints(1)])
