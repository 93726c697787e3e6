"""The stand-in for CuPy: it offers what CuPy offers, takes what that takes, refuses the rest."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from ..cupy_standin import cuda as standin_cuda
from ..cupy_standin import functions, raw
from ..cupy_standin.ndarray import ndarray
from ..cupy_standin.signatures import parameters, record, recorded

cupy = functions.MODULES["cupy"]
_real = importlib.util.find_spec("cupy") if "cupy" not in sys.modules else None


@pytest.mark.skipif(_real is None, reason="no real CuPy: pip install cupy-cuda12x")
def test_the_record_is_of_the_real_one() -> None:
    found = record()
    if found["cupy"] != recorded()["cupy"]:
        pytest.skip(f"recorded from CuPy {recorded()['cupy']}, installed is {found['cupy']}")
    for kind in ("modules", "ufuncs", "classes"):
        assert found[kind] == recorded()[kind]


def test_nothing_is_offered_that_cupy_lacks() -> None:
    for name, module in functions.MODULES.items():
        known = recorded()["modules"].get(name)
        if known is None:
            continue
        ufuncs = recorded()["ufuncs"] if name == "cupy" else {}
        ours = {n for n in vars(module) if not n.startswith("_")}
        assert ours <= {*known, *ufuncs, "memory"}, name


# What the stand-in's own parts tell each other.
OURS_ALONE = {
    "cupy.cuda.MemoryPool": ("take", "give_back", "total"),
    "cupy.cuda.Stream": ("all",),
    "cupy.RawModule": ("library",),
}


@pytest.mark.parametrize(
    ("path", "ours"),
    [
        ("cupy.ndarray", ndarray), ("cupy.RawModule", raw.RawModule),
        ("cupy.cuda.Device", standin_cuda.Device), ("cupy.cuda.Stream", standin_cuda.Stream),
        ("cupy.cuda.Event", standin_cuda.Event), ("cupy.cuda.MemoryPool", standin_cuda.MemoryPool),
        ("cupy.cuda.MemoryHook", standin_cuda.MemoryHook), ("cupy.ufunc", functions.ufunc),
        ("cupy.cuda.Graph", standin_cuda.Graph),
    ],
)  # fmt: skip
def test_methods_take_what_cupys_take(path: str, ours: type) -> None:
    known = recorded()["classes"][path]
    for name, member in vars(ours).items():
        if name.startswith("_") or name in OURS_ALONE.get(path, ()):
            continue
        assert name in known, f"CuPy's {path} has no {name}"
        if isinstance(known[name], list) and callable(member) and hasattr(member, "__code__"):
            given = parameters(member) or []
            if "*args" not in given:
                assert [p.rstrip("=") for p in given] == [p.rstrip("=") for p in known[name]], name


X: Any = None


@pytest.fixture
def x() -> Any:
    return cupy.asarray(np.arange(6.0, dtype=np.float32).reshape(2, 3) - 2)


REFUSED: list[tuple[Callable[[Any], Any], type[Exception]]] = [
    (lambda x: x + np.ones(3), TypeError),
    (lambda x: np.ones(3) * x, TypeError),
    (np.asarray, TypeError),
    (lambda x: np.add(x, 1, where=x > 0), TypeError),
    (lambda x: x.max(axis=0, initial=0), TypeError),
    (lambda x: np.max(x, initial=0), TypeError),
    (np.maximum.accumulate, NotImplementedError),
    (np.maximum.reduce, NotImplementedError),
    (np.spacing, TypeError),
    (lambda x: np.concatenate([x, np.ones((2, 3))]), TypeError),
    (lambda x: np.where(np.ones((2, 3), bool), x, 0), TypeError),
    (lambda x: x.__setitem__(0, np.ones(3)), ValueError),
    (lambda x: x[np.array([0])], TypeError),
    (lambda x: [1, 2, 3][x[0, 0].astype(np.int64)], TypeError),  # no __index__
    (lambda x: np.repeat(x, cupy.asarray([1, 2, 3])), ValueError),
    (lambda x: x.flags.writeable, AttributeError),
    (lambda x: x.ctypes, AttributeError),
    (lambda x: x.set(np.ones(3)), ValueError),
    (lambda x: np.einsum("ij->ji", x, out=x), TypeError),
    (lambda x: cupy.where([True, False, True], x, 0), TypeError),
    (lambda x: np.bitwise_and(x, x), TypeError),
    (lambda x: raw.RawModule(code='#include "array.cuh"'), ValueError),
]  # fmt: skip


@pytest.mark.parametrize(("use", "error"), REFUSED)
def test_refusals(x: Any, use: Callable[[Any], Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        use(x)


def test_another_device_is_refused(x: Any) -> None:
    with standin_cuda.Device(1), pytest.raises(ValueError, match="must be same as the current"):
        x + 1
    with standin_cuda.Device(1):
        y = cupy.zeros(3)
    assert y.device.id == 1
    with pytest.raises(ValueError, match="must be same"):
        x + y


def test_views_and_results(x: Any) -> None:
    assert isinstance(x.sum(), ndarray)
    assert x.sum().shape == ()
    assert x[0].base is x
    assert x.reshape(-1)[2:].base is x
    assert (x * 2).base is None
    x[0][...] = 7
    np.testing.assert_array_equal(x.get()[0], [7, 7, 7])
    assert float(x[0, 0]) == 7.0
    assert np.maximum(x, 0).dtype == np.float32
    assert isinstance(np.where(x > 0, x, 0), ndarray)


def test_numbers_in_index_arrays_wrap_around(x: Any) -> None:
    """As CuPy's do, unchecked: whoever relies on an IndexError finds out here."""
    np.testing.assert_array_equal(x[cupy.asarray([2, -3])].get(), x.get()[[0, 1]])


@pytest.fixture
def capture() -> Iterator[Any]:
    """A stream that captures, with memory of a pool of its own."""
    pool, stream = cupy.cuda.MemoryPool(), cupy.cuda.Stream(non_blocking=True)
    with cupy.cuda.using_allocator(pool.malloc), stream:
        stream.begin_capture()
        yield stream
        if stream.is_capturing():
            stream.end_capture()


def test_a_capture_does_nothing_until_its_launch(x: Any, capture: Any) -> None:
    before = x._host.copy()
    y = x * 2
    y += 1
    total = y.sum()
    x[0] = 0
    part = y[cupy.zeros(2, np.int64)]
    np.add.at(y, 1, 5)
    np.testing.assert_array_equal(x._host, before)
    assert all(np.isnan(a._host).all() for a in (y, total, part))
    graph = capture.end_capture()
    for x0 in (before, before):
        expected = x0 * 2 + 1
        graph.launch()
        assert total.get() == expected.sum()
        np.testing.assert_array_equal(part.get(), expected[[0, 0]])
        np.testing.assert_array_equal(y.get(), expected + [[0], [5]])
        np.testing.assert_array_equal(x.get(), [[0, 0, 0], before[1]])
        x.set(before)


IN_A_CAPTURE: list[tuple[Callable[[Any], Any], type[Exception], str]] = [
    (lambda x: x.get(), RuntimeError, "cudaErrorStreamCaptureUnsupported"),
    (lambda x: bool(x[0, 0]), RuntimeError, "cudaErrorStreamCaptureUnsupported"),
    (lambda x: x[x > 0], RuntimeError, "cudaErrorStreamCaptureUnsupported"),
    (np.nonzero, RuntimeError, "cudaErrorStreamCaptureUnsupported"),
    (lambda x: cupy.cuda.Device().synchronize(), RuntimeError, "CaptureUnsupported"),
    (lambda x: cupy.get_default_memory_pool().free_all_blocks(), RuntimeError, "Capture"),
    (lambda x: x @ x.T, NotImplementedError, "cuBLAS"),
    (lambda x: cupy.asarray(np.ones(3)), AssertionError, "copy from the host"),
    (lambda x: x.set(np.ones((2, 3), np.float32)), AssertionError, "copy from the host"),
    (lambda x: np.concatenate([x] * 9), AssertionError, "copy from the host"),
]


@pytest.mark.parametrize(("use", "error", "says"), IN_A_CAPTURE)
def test_refusals_in_a_capture(
    x: Any, capture: Any, use: Callable[[Any], Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        use(x)
    if error is RuntimeError:  # the GPU was waited for: all is lost
        with pytest.raises(RuntimeError, match="cudaErrorStreamCaptureInvalidated"):
            capture.end_capture()
    assert capture.is_capturing() == (error is not RuntimeError)


def test_memory_of_captures(x: Any) -> None:
    with pytest.raises(RuntimeError, match="CaptureUnsupported"):
        cupy.cuda.Stream.null.begin_capture()
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        with pytest.raises(AssertionError, match="default pool"):
            x + 1
        x += 1
        graph = stream.end_capture()
    graph.launch()
    del x
    # pytest keeps the fixture's array: this one is gone.
    y = cupy.zeros(3)
    with stream:
        stream.begin_capture()
        y += 1
        graph = stream.end_capture()
    del y
    with pytest.raises(AssertionError, match="freed after its capture"):
        graph.launch()


def test_fresh_memory_is_noticed() -> None:
    assert np.isnan(cupy.empty(3).get()).all()


def test_memory_is_counted() -> None:
    pool = cupy.get_default_memory_pool()
    before = pool.used_bytes()
    x = cupy.zeros(100)
    assert pool.used_bytes() == before + 1024
    y = x[1:]
    del x
    assert pool.used_bytes() == before + 1024
    del y
    assert pool.used_bytes() == before
    with pytest.raises(MemoryError):
        cupy.zeros(1 << 28)


def test_a_copy_on_a_stream_must_be_waited_for() -> None:
    stream = standin_cuda.Stream(non_blocking=True)
    host = standin_cuda.empty_pinned(3)
    host[...] = 1
    x = cupy.zeros(3)
    x.set(host, stream)
    with pytest.raises(AssertionError, match="race"):
        x + 1
    host[...] = 2  # too early: the copy has not run
    stream.synchronize()
    np.testing.assert_array_equal(x.get(), [2, 2, 2])
