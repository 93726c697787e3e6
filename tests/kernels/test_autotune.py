"""The clock chooses among algorithms, and what it said is remembered."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minitorch_cnn as mt
from minitorch_cnn.kernels import algorithms, autotune, cache, conv2d, reference

from .common import BACKENDS, interpreted

pytestmark = pytest.mark.skipif(
    interpreted() or "numba" not in BACKENDS, reason="the clock chooses among compiled kernels"
)

PROBLEM = conv2d.problem_of("forward", (2, 3, 6, 6), (4, 3, 3, 3), np.float32, padding=1)
RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(autotune, "_path", lambda: tmp_path / "times.json")
    for state in ("_chosen", "_milliseconds"):
        monkeypatch.setattr(autotune, state, {})
    monkeypatch.setattr(autotune, "_read", set())
    monkeypatch.delenv("MINITORCH_CNN_AUTOTUNE", raising=False)
    monkeypatch.delenv("MINITORCH_CNN_CONV2D", raising=False)
    yield
    mt.use_deterministic_algorithms(False)


def times(monkeypatch: pytest.MonkeyPatch, **milliseconds: float) -> list[str]:
    """Let the clock say these times; the names of what was timed are in the list."""
    asked: list[str] = []

    def least(run: Any, name: str) -> float:
        asked.append(name)
        run(name)
        return milliseconds[name]

    monkeypatch.setattr(autotune, "_least", least)
    return asked


def run() -> None:
    x, weight = (RNG.standard_normal(s).astype("f4") for s in ((2, 3, 6, 6), (4, 3, 3, 3)))
    y = conv2d.forward(x, weight, padding=(1, 1))
    expected = reference.conv2d.forward(x, weight, (1, 1), (1, 1), (1, 1), 1)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)


def test_the_fastest_is_used_and_remembered(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = times(monkeypatch, winograd=3.0, implicit_gemm=2.0, im2col=1.0)
    run()
    assert asked == []  # off by default
    table = algorithms.choose(PROBLEM).algorithm
    assert table != "im2col"
    autotune.use(True)
    run()
    assert asked == ["winograd", "implicit_gemm", "im2col"]
    chosen = algorithms.choose(PROBLEM)
    assert chosen.algorithm == "im2col"
    assert chosen.why == "measured: im2col 1 ms, implicit_gemm 2 ms, winograd 3 ms"
    assert chosen.workspace == algorithms.choose(PROBLEM, "im2col").workspace
    run()
    assert len(asked) == 3
    # Another process reads the file.
    autotune._milliseconds.clear()
    autotune._read.clear()
    run()
    assert len(asked) == 3
    assert algorithms.choose(PROBLEM).algorithm == "im2col"
    autotune.use(False)
    assert algorithms.choose(PROBLEM).algorithm == table
    assert [p.suffix for p in tmp_path.iterdir()] == [".json"]
    autotune.forget()
    assert not list(tmp_path.iterdir())
    assert autotune.known(PROBLEM) == {}


def test_what_is_asked_for_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = times(monkeypatch, winograd=3.0, implicit_gemm=2.0, im2col=1.0)
    autotune.use(True)
    with algorithms.using("implicit_gemm"):
        run()
        assert algorithms.choose(PROBLEM).algorithm == "implicit_gemm"
    assert asked == []
    assert algorithms.choose(PROBLEM, "winograd").why == "asked for"


def test_threads_directions_and_settings_are_problems_of_their_own() -> None:
    keys = {autotune._key(PROBLEM)}
    before = mt.get_num_threads()
    try:
        mt.set_num_threads(before + 1)
        keys.add(autotune._key(PROBLEM))
    finally:
        mt.set_num_threads(before)
    others: dict[str, Any] = {
        "direction": "grad_input", "stride": (2, 2), "padding": (0, 1), "dilation": (1, 2),
        "groups": 3, "itemsize": 8, "size": (1, 1), "x_shape": (1,), "weight_shape": (1,),
    }  # fmt: skip
    for name, value in others.items():
        keys.add(autotune._key(PROBLEM._replace(**{name: value})))
    assert len(keys) == 2 + len(others)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[1]", b"\xff\xfe", b'{"k": 1}', b'{"k": {"im2col": "x"}}', None]
)
def test_a_broken_file_counts_as_empty(
    content: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = autotune._path()
    assert path is not None
    if content is None:
        path.mkdir()  # cannot be written either
    else:
        path.write_bytes(content)
    asked = times(monkeypatch, winograd=1.0, implicit_gemm=2.0, im2col=3.0)
    autotune.use(True)
    run()
    run()
    assert len(asked) == 3
    assert algorithms.choose(PROBLEM).algorithm == "winograd"
    if content is not None:
        assert json.loads(path.read_text())[autotune._key(PROBLEM)]["winograd"] == 1
    assert len(list(path.parent.iterdir())) == 1  # no drafts left


def test_an_unknown_algorithm_in_the_file_is_left_out() -> None:
    path = autotune._path()
    assert path is not None
    path.write_text(json.dumps({autotune._key(PROBLEM): {"magic": 0.1, "im2col": 5}}))
    assert autotune.known(PROBLEM) == {"im2col": 5}


def test_two_processes_keep_each_others_measurements(monkeypatch: pytest.MonkeyPatch) -> None:
    times(monkeypatch, winograd=1.0, implicit_gemm=2.0, im2col=3.0)
    path = autotune._path()
    assert path is not None
    autotune.use(True)
    autotune.known(PROBLEM)
    path.write_text(json.dumps({"another": {"im2col": 5}}))
    run()
    assert len(json.loads(path.read_text())) == 2


def test_the_file_is_beside_the_compiled_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    path = autotune._path()
    assert path is not None
    assert path.parent == cache.directory()
    assert path.suffix == ".json"
    monkeypatch.setattr("minitorch_cnn.kernels.backend.processor", lambda: "another")
    assert autotune._path() not in (None, path)


def test_without_a_directory_it_measures_once_per_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(autotune, "_path", lambda: None)
    asked = times(monkeypatch, winograd=1.0, implicit_gemm=2.0, im2col=3.0)
    autotune.use(True)
    run()
    run()
    assert len(asked) == 3
    autotune.forget()


def test_real_times_of_all_three_directions() -> None:
    x, weight, gy = (
        RNG.standard_normal(s).astype("f4") for s in ((2, 3, 6, 6), (4, 3, 3, 3), (2, 4, 6, 6))
    )
    settings = {"stride": (1, 1), "padding": (1, 1)}
    calls = (
        lambda: conv2d.forward(x, weight, **settings),
        lambda: conv2d.grad_input(gy, weight, x.shape, **settings),
        lambda: conv2d.grad_weight(gy, x, weight.shape, **settings),
    )
    plain = [call() for call in calls]
    autotune.use(True)
    for call, expected in zip(calls, plain):
        np.testing.assert_allclose(call(), expected, rtol=1e-4, atol=1e-4)
    assert len(autotune._milliseconds) == 3
    for measured in autotune._milliseconds.values():
        assert set(measured) == {"winograd", "implicit_gemm", "im2col"}
        assert all(ms > 0 for ms in measured.values())


def test_switches(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not mt.backends.conv2d.is_autotuned()
    mt.backends.conv2d.autotune()
    assert mt.backends.conv2d.is_autotuned()
    mt.use_deterministic_algorithms(True)
    assert not mt.backends.conv2d.is_autotuned()
    mt.use_deterministic_algorithms(False)
    mt.backends.conv2d.autotune(False)
    with mt.backends.cudnn.flags(benchmark=True):
        assert mt.backends.conv2d.is_autotuned()
        with mt.backends.cudnn.flags(benchmark=True, deterministic=True):
            assert not mt.backends.conv2d.is_autotuned()
    assert not mt.backends.conv2d.is_autotuned()
    autotune._chosen.clear()
    monkeypatch.setenv("MINITORCH_CNN_AUTOTUNE", "1")
    assert mt.backends.conv2d.is_autotuned()
    with mt.backends.conv2d.using("im2col"):
        assert mt.backends.conv2d.algorithm() == "im2col"
        assert not mt.backends.conv2d.is_autotuned()
    monkeypatch.setattr("minitorch_cnn.kernels.backend.cpu_backend", "numpy")
    assert not mt.backends.conv2d.is_autotuned()
