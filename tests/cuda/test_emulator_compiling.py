"""What the emulator compiles, and keeps."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from minitorch_cnn.kernels import emulator
from minitorch_cnn.kernels.emulator import EmulatorUnavailableError, compile

from .common import needs_emulator
from .emulator_common import TURNS, floats, ints, kernel

pytestmark = needs_emulator


# ---- Compiling ----


@pytest.fixture
def anew() -> Iterator[None]:
    """Look for the compiler again, before and after."""
    for clear in (True, False):
        compile._compiler.cache_clear()
        compile._build.cache_clear()
        if clear:
            yield


def test_without_a_compiler_one_sentence_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, anew: None
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    compile._compiler.cache_clear()
    why = emulator.why_unavailable()
    assert why is not None
    assert "'no-such-compiler' is not on the PATH" in why
    assert "apt install g++" in why
    with pytest.raises(EmulatorUnavailableError, match="needs GCC"):
        emulator.run(kernel(tmp_path, "Array<float, 1> y", ""), "k", [floats(1)])
    monkeypatch.setenv("CXX", sys.executable)
    compile._compiler.cache_clear()
    assert "is another one" in str(emulator.why_unavailable())
    monkeypatch.delenv("CXX")
    compile._compiler.cache_clear()
    assert emulator.why_unavailable() is None


def test_other_processors_switch_stacks_through_the_c_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, anew: None
) -> None:
    monkeypatch.setattr(compile, "COMMON", [*compile.COMMON, "-DEMULATOR_UCONTEXT"])
    compile._build.cache_clear()
    path = kernel(tmp_path, "Array<int, 3> y, Array<int, 1> turn", TURNS, 8, "3")
    y = np.zeros((2, 3, 8), np.int32)
    emulator.run(path, "k", [y, ints(1, 0)])
    np.testing.assert_array_equal(y[1, 2], 40 + np.arange(8))


def test_two_processes_at_once_and_no_place_to_keep_anything(tmp_path: Path) -> None:
    path = kernel(tmp_path, "Array<float, 1> y", "y(threadIdx.x) = 3;")
    code = (
        "import sys, numpy as np\n"
        "from minitorch_cnn.kernels import emulator\n"
        "y = np.zeros(32, np.float32)\n"
        "emulator.run(sys.argv[1], 'k', [y])\n"
        "assert (y == 3).all()\n"
    )

    def start(cache: Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", code, str(path)],
            env={**os.environ, "MINITORCH_CNN_CACHE_DIR": str(cache)},
            stderr=subprocess.PIPE,
            text=True,
        )

    (tmp_path / "file").touch()
    places = [tmp_path / "cache", tmp_path / "cache", tmp_path / "file" / "below"]
    for process in [start(place) for place in places]:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
    kept = [p.name for p in (tmp_path / "cache").rglob("*") if p.is_file()]
    assert sorted(name.partition("-")[0] for name in kept) == ["k", "k", "runtime"]


def test_what_was_not_used_for_a_month_is_removed(tmp_path: Path) -> None:
    for name, age in [("new", compile.KEEP - 3600), ("old", compile.KEEP + 3600)]:
        (tmp_path / name).touch()
        os.utime(tmp_path / name, 2 * (time.time() - age,))
    compile._forget_old(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
