"""Compiling, caching and threading, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from minitorch_cnn.kernels import jit, microkernel

from .common import BACKENDS, interpreted

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(
    "numba" not in BACKENDS or interpreted(), reason="about compiled kernels"
)

# A small kernel in a module of its own, and what to do with it.
KERNEL = """
from minitorch_cnn.kernels.jit import inline, kernel, prange

FACTOR = 2

@inline
def grow(v):
    return v * FACTOR

def twice_numpy(x, y):
    y[...] = x * FACTOR

@kernel(numpy=twice_numpy, parallel_above=1)
def twice(x, y):
    for i in prange(x.size):
        y[i] = grow(x[i])
"""
CALL = """
import numpy as np
from small import twice
x, y = np.arange(9, dtype=np.float32), np.zeros(9, np.float32)
twice(x, y)
assert (y == FACTOR * x).all(), y
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "small.py").write_text(KERNEL)
    return tmp_path


def _start(here: Path, code: str, factor: int = 2, **env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code.replace("FACTOR", str(factor))],
        cwd=here,
        env={
            **os.environ,
            "PYTHONPATH": f"{here}{os.pathsep}{ROOT}",
            "MINITORCH_CNN_CACHE_DIR": str(here / "cache"),
            **env,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _finish(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out + err


def _run(here: Path, code: str = CALL, factor: int = 2, **env: str) -> str:
    return _finish(_start(here, code, factor, **env))


def _cached(here: Path) -> list[Path]:
    return sorted((here / "cache").rglob("*.bin"))


COUNT_COMPILATIONS = """
import atexit
from numba.core import event
listener = event.RecordingListener()
event.register("numba:compile", listener)
atexit.register(lambda: print("compiled", len(listener.buffer)))
"""


def test_a_second_run_compiles_nothing_and_adds_nothing(here: Path) -> None:
    _run(here)
    (file,) = _cached(here)
    assert "small.twice-" in file.name
    assert "compiled 0" in _run(here, COUNT_COMPILATIONS + CALL)
    assert _cached(here) == [file]
    file.unlink()
    assert "compiled 0" not in _run(here, COUNT_COMPILATIONS + CALL)


def test_an_edit_of_a_helper_or_constant_is_noticed_and_replaces_the_file(here: Path) -> None:
    _run(here)
    (before,) = _cached(here)
    (here / "small.py").write_text(KERNEL.replace("FACTOR = 2", "FACTOR = 3"))
    _run(here, factor=3)
    (after,) = _cached(here)
    assert after != before
    (here / "small.py").write_text(KERNEL.replace("v * FACTOR", "v + v + 2 * v"))
    _run(here, factor=4)
    assert len(_cached(here)) == 1


def test_other_fields_of_a_named_tuple_are_noticed(here: Path) -> None:
    pair = """
from typing import NamedTuple

class Pair(NamedTuple):
    first: int
    second: int

def put_numpy(y, pair):
    y[0] = pair.first

@kernel(numpy=put_numpy)
def put(y, pair):
    for i in prange(1):
        y[i] = pair.first
"""
    call = """
import numpy as np
from small import Pair, put
y = np.zeros(1)
put(y, Pair(first=1, second=2))
assert y[0] == 1, y
"""
    (here / "small.py").write_text(KERNEL + pair)
    _run(here, call)
    swapped = pair.replace("first: int\n    second: int", "second: int\n    first: int")
    assert swapped != pair
    (here / "small.py").write_text(KERNEL + swapped)
    _run(here, call)


def test_a_damaged_file_costs_a_compilation_only(here: Path) -> None:
    _run(here)
    (file,) = _cached(here)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    for bad in (bytes(data), bytes(data[:5000]), b""):
        file.write_bytes(bad)
        _run(here)
        assert len(file.read_bytes()) > 9000, "not repaired"
    file.unlink()
    file.mkdir()
    _run(here)


def test_full_disk(here: Path) -> None:
    # No file may be longer than 4 kB: writing the compiled kernel fails as on a full disk.
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
    _run(here, limit + CALL)
    assert _cached(here) == []
    assert not [p for p in (here / "cache").rglob("*") if p.is_file()], "a draft was left behind"


def test_a_kernel_that_cannot_be_kept_says_so(tmp_path: Path, monkeypatch: Any) -> None:
    from minitorch_cnn.kernels import cache, winograd

    monkeypatch.setattr(cache, "directory", lambda: tmp_path)
    library = SimpleNamespace(has_dynamic_globals=True)
    codegen = SimpleNamespace(magic_tuple=lambda: ("cpu",))
    keeper = cache.KernelCache(winograd.correlate.fn, {})
    with pytest.warns(RuntimeWarning, match=r"winograd\.correlate holds addresses"):
        keeper.save_overload("()", SimpleNamespace(library=library, codegen=codegen))
    assert not list(tmp_path.iterdir())


def test_no_place_for_the_cache(here: Path) -> None:
    (here / "file").write_text("")
    _run(here, MINITORCH_CNN_CACHE_DIR=str(here / "file" / "below"))
    shared = here / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    find = "from minitorch_cnn.kernels import cache; print(cache.directory())"
    version = Path(_run(here, find).strip()).name
    (shared / version).mkdir()
    (shared / version).chmod(0o777)  # anybody could plant code to run there
    assert _run(here, find, MINITORCH_CNN_CACHE_DIR=str(shared)).strip() == "None"


def test_processes_racing_for_one_cache(here: Path) -> None:
    for process in [_start(here, CALL) for _ in range(3)]:
        _finish(process)
    assert len(_cached(here)) == 1


def test_says_what_it_compiles_once_that_takes_a_second(here: Path) -> None:
    slow = "from minitorch_cnn.kernels import cache; cache._Spent.seconds = 1.0\n"
    assert "compiling kernel small.twice" in _run(here, slow + CALL + "import time; time.sleep(.1)")
    assert "compiling" not in _run(here, slow + CALL)
    (_cached(here)[0]).unlink()
    patient = "from minitorch_cnn.kernels import cache; cache._Spent.seconds = -60.0\n"
    assert "compiling" not in _run(here, patient + CALL)


def test_numpy_without_numba(here: Path) -> None:
    blocked = "import sys; sys.modules['numba'] = sys.modules['llvmlite'] = None\n"
    everything = """
from minitorch_cnn.kernels import conv2d, depthwise, gemm, im2col
conv2d.forward(np.ones((1, 2, 5, 5)), np.ones((3, 2, 3, 3)))
"""
    _run(here, blocked + CALL + everything, MINITORCH_CNN_CPU="numpy")
    process = _start(here, blocked + CALL)
    _, err = process.communicate(timeout=300)
    assert process.returncode != 0
    assert "MINITORCH_CNN_CPU=numpy" in err


def test_plain_python_kernels(here: Path) -> None:
    assert "compiled 0" in _run(here, COUNT_COMPILATIONS + CALL, NUMBA_DISABLE_JIT="1")


def test_an_unknown_backend_is_named(here: Path) -> None:
    process = _start(here, CALL, MINITORCH_CNN_CPU="fortran")
    _, err = process.communicate(timeout=300)
    assert process.returncode != 0
    assert "MINITORCH_CNN_CPU='fortran': choose numba (default) or numpy" in err


THREADS = """
import threading
import numpy as np
from minitorch_cnn.kernels import backend
from small import twice
backend.set_num_threads(2)
def work(seed):
    x = np.arange(50_000, dtype=np.float32) + seed
    for _ in range(60):
        y = np.zeros_like(x)
        twice(x, y)
        assert (y == 2 * x).all()
        done.append(seed)
done = []
threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
for t in threads: t.start()
for t in threads: t.join()
assert len(done) == 240
import numba
print("layer", numba.threading_layer())
"""


@pytest.mark.parametrize("layer", ["workqueue", "default"])
def test_python_threads_may_run_kernels_at_once(here: Path, layer: str) -> None:
    said = _run(here, THREADS, NUMBA_THREADING_LAYER=layer)
    assert layer == "default" or "layer workqueue" in said


FORK = """
import os
twice(x, y)
child = os.fork()
if child == 0:
    y[:] = 0
    twice(x, y)
    os._exit(0 if (y == 2 * x).all() else 7)
assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_may_run_kernels(here: Path) -> None:
    _run(here, CALL + FORK)


def _sum_to(a: Any, y: Any) -> None:
    for i in jit.prange(y.size):
        y[i] = y[i] + a[i]


def _sum_in_short_vectors(a: Any, y: Any) -> None:
    for i in jit.prange(y.size):
        jit.short_vectors()
        y[i] = y[i] + a[i]


@pytest.mark.skipif(microkernel.VECTOR_BYTES < 64, reason="all vectors are short here")
def test_short_vectors() -> None:
    for fn, longest in ((_sum_to, "zmm"), (_sum_in_short_vectors, "ymm")):
        compiled = jit.numba.njit("(f4[::1], f4[::1])", parallel=True, **jit.OPTIONS)(fn)
        (code,) = compiled.inspect_asm().values()
        assert ("zmm" if "zmm" in code else "ymm" if "ymm" in code else "") == longest


def test_setting_threads_does_not_hide_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cached kernel is found by its code, whatever has been set at run time."""
    from minitorch_cnn.kernels import backend, cache, elementwise, gemm, jit

    modules = [m.__name__ for m in (jit, gemm, elementwise)]
    found = [cache._fingerprint.__wrapped__(name) for name in modules]
    monkeypatch.setitem(backend._chosen, "threads", 1)
    assert [cache._fingerprint.__wrapped__(name) for name in modules] == found
