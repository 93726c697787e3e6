"""The pool behind ``backend.empty``: memory comes back, is used again, and never grows."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minitorch_cnn.kernels import memory

F32 = np.dtype(np.float32)
LARGE = memory.SMALLEST


def take(pool: memory.Pool, nbytes: int) -> np.ndarray:
    return pool.empty((nbytes // 4,), F32, nbytes)


def address(a: np.ndarray) -> int:
    return a.ctypes.data


def test_memory_of_an_array_that_is_gone_is_used_again():
    pool = memory.Pool()
    a = take(pool, LARGE)
    before = address(a)
    del a
    assert address(take(pool, LARGE)) == before


def test_a_view_keeps_the_memory():
    pool = memory.Pool()
    a = take(pool, LARGE)
    a[:] = 1
    view = a.reshape(2, -1)[1]
    del a
    b = take(pool, LARGE)
    b[:] = 2
    assert (view == 1).all()
    assert pool.in_use == 2 * (memory.size_class(LARGE) + memory.ALIGNMENT)


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 5)), max_size=60))
def test_what_is_kept_and_used_stays_below_the_most_ever_used(requests):
    pool, live = memory.Pool(), []
    for size, keep in requests:
        live.append(take(pool, LARGE * size))
        live = live[-keep:] if keep else []
        assert pool.in_use == sum(a.base.memory.size for a in live)
        assert pool.kept == sum(m.size for free in pool.free.values() for m in free)
        assert pool.in_use + pool.kept <= pool.most


@given(st.integers(1, 1 << 40))
def test_a_size_class_wastes_at_most_an_eighth(nbytes):
    size = memory.size_class(nbytes)
    assert nbytes <= size <= nbytes + max(nbytes // 8, 0)
    assert memory.size_class(size) == size


def test_powers_of_two_waste_nothing_but_the_alignment():
    pool = memory.Pool()
    a = take(pool, 1 << 23)
    assert pool.in_use == a.nbytes + memory.ALIGNMENT


def test_arrays_are_aligned_writeable_and_of_the_shape_and_type_asked_for():
    a = memory.empty((3, 5, LARGE), np.dtype(np.float64))
    assert a.shape == (3, 5, LARGE)
    assert a.dtype == np.float64
    assert a.flags.c_contiguous
    assert a.flags.writeable
    assert address(a) % memory.ALIGNMENT == 0
    a[...] = 7  # all of it is there


def test_small_arrays_are_numpys():
    assert memory.empty((3,), F32).base is None
    assert memory.empty((0, LARGE), F32).base is None


def test_release_lets_everything_go():
    pool = memory.Pool()
    kept = take(pool, LARGE)
    del kept
    pool.release()
    assert pool.kept == 0
    assert not pool.free


def test_memory_that_cannot_be_had_is_not_counted():
    pool = memory.Pool()
    with pytest.raises(MemoryError):
        pool.empty((1 << 60,), np.dtype(np.uint8), 1 << 60)
    assert pool.in_use == 0


def test_threads_share_it():
    pool = memory.Pool()
    failures = []

    def work(number: int) -> None:
        for _ in range(300):
            a = take(pool, LARGE)
            a[:100] = number
            if not (a[:100] == number).all():
                failures.append(number)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    gc.collect()
    assert not failures
    assert pool.in_use == 0


def test_the_pool_can_be_switched_off():
    code = (
        "import numpy as np; from minitorch_cnn.kernels import memory;"
        "assert memory.pool is None; assert memory.empty((1 << 20,), np.dtype('f4')).base is None"
    )
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={**os.environ, "MINITORCH_CNN_POOL": "0"}
    )
