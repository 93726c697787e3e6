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
    assert pool.in_use == 2 * LARGE


def check(pool: memory.Pool, live: list[np.ndarray]) -> None:
    """Arrays and free blocks tile the segments; no two free blocks touch."""
    with pool.lock:
        pool._collect()
    pieces = [(start, size, True) for size, start in pool.free]
    pieces += [(address(a), pages(a.nbytes), False) for a in live]
    at, was_free = 0, False
    ends = []
    for start, size, is_free in sorted(pieces):
        if start != at:
            ends.append(at)
            assert start in pool.places
        else:
            assert not (is_free and was_free)
        at, was_free = start + size, is_free
    ends.append(at)
    assert ends[1:] == [s.address + len(s) - memory.ALIGNMENT for s in pool.segments]
    assert pool.free == sorted((size, start) for start, size in pool.sizes.items())
    assert pool.starts == {start + size: start for start, size in pool.sizes.items()}


def pages(nbytes: int) -> int:
    return -(-nbytes // memory.ALIGNMENT) * memory.ALIGNMENT


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("take"), st.integers(1, 40 << 20)),
            st.tuples(st.just("drop"), st.integers(0, 99)),
            st.just(("release", 0)),
        ),
        max_size=60,
    )
)
def test_arrays_and_free_blocks_tile_the_segments(requests):
    pool, live, in_use, most = memory.Pool(), [], 0, 0
    for what, n in requests:
        if what == "take":
            a = take(pool, 4 * n)
            a[0], a[-1] = n, -n
            live.append(a)
            in_use += pages(a.nbytes)
            most = max(most, in_use)
            del a
        elif what == "drop" and live:
            in_use -= pages(live.pop(n % len(live)).nbytes)
        elif what == "release":
            pool.release()
            most = in_use
        check(pool, live)
        assert (pool.in_use, pool.most) == (in_use, most)
    for a in live:
        assert a[-1] == -a.size
        assert a[0] == a.size or a.size == 1


def test_the_smallest_free_block_is_taken_and_neighbours_are_joined():
    pool = memory.Pool()
    sizes = [5 * LARGE, LARGE, 3 * LARGE, LARGE, 4 * LARGE, 7 * LARGE]
    arrays = [take(pool, size) for size in sizes]
    places = [address(a) for a in arrays]
    assert places == [places[0] + sum(sizes[:i]) for i in range(6)]
    del arrays[4], arrays[2], arrays[0]  # free: 5, 3 and 4
    assert address(take(pool, 4 * LARGE - 4)) == places[4]
    assert address(take(pool, 2 * LARGE)) == places[2]
    del arrays[0]  # of LARGE, between 5 and 3
    assert address(take(pool, 9 * LARGE)) == places[0]


def test_of_what_just_came_back_the_same_size_is_taken():
    """Its lines are still in the caches, those of the smallest block may not be."""
    pool = memory.Pool()
    a, _, b, _ = (take(pool, LARGE) for _ in range(4))
    del a
    take(pool, LARGE // 2)  # joins a's block to the free ones
    before = address(b)
    del b
    assert address(take(pool, LARGE)) == before


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_repeated_step_touches_no_new_pages():
    code = """
import resource, sys
import numpy as np
from minitorch_cnn.kernels import memory

def step():
    kept = []
    for n in (3, 1, 7, 2, 5, 5, 8, 1, 4):
        a = memory.empty((n * 1_000_003,), np.dtype("f4"))
        a.fill(1)
        kept = [*kept[-2:], a]

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()

before = resident()
for _ in range(3):
    step()
first = faults()
for _ in range(10):
    step()
assert faults() - first < 50, faults() - first
used = resident() - before
held = memory.empty((1 << 17,), np.dtype("f4"))
memory.release()
assert len(memory.pool.segments) > 0
assert resident() - before < used / 10
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_child_process_has_memory_of_its_own():
    if not hasattr(os, "fork"):
        pytest.skip("no fork here")
    code = """
import os
import numpy as np
from minitorch_cnn.kernels import memory

a = memory.empty((1 << 20,), np.dtype("f4"))
a.fill(1)
child = os.fork()
if not child:
    a.fill(2)
    os._exit(0)
os.waitpid(child, 0)
assert (a == 1).all()
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_fork_waits_for_the_pool():
    """A child that inherits a lock held by a thread of its parent would wait for ever."""
    if not hasattr(os, "fork"):
        pytest.skip("no fork here")
    code = """
import os, threading, time
import numpy as np
from minitorch_cnn.kernels import memory

def work():
    while not over:
        memory.empty((1 << 18,), np.dtype("f4"))

over = False
thread = threading.Thread(target=work)
thread.start()
for _ in range(50):
    child = os.fork()
    if not child:
        memory.empty((1 << 18,), np.dtype("f4"))
        os._exit(0)
    for _ in range(500):
        if os.waitpid(child, os.WNOHANG)[0]:
            break
        time.sleep(0.01)
    else:
        os.kill(child, 9)
        over = True
        raise SystemExit("a child hangs")
over = True
"""
    subprocess.run([sys.executable, "-W", "ignore::DeprecationWarning", "-c", code], check=True)


def test_memory_asked_for_while_the_pool_is_at_work():
    """The collector may run someone's __del__ at any moment, in the same thread."""
    pool = memory.Pool()
    made = []

    class Careless(list):
        def append(self, item: object) -> None:
            super().append(item)

        def __len__(self) -> int:
            made.append(take(pool, LARGE))
            pool.release()
            return super().__len__()

    pool.returned = Careless()
    kept = take(pool, LARGE)
    assert made[0].base is None  # NumPy's own
    assert kept.base is not None
    pool.returned = []
    check(pool, [kept])


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
    assert not pool.segments
    assert not pool.free


def test_a_segment_in_use_stays():
    pool = memory.Pool()
    a, b = take(pool, LARGE), take(pool, LARGE)
    a[:] = 3
    del b
    pool.release()
    assert len(pool.segments) == 1
    assert (a == 3).all()
    check(pool, [a])


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
