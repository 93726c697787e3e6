"""Modes, threads, observers and anomalies."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import minitorch_cnn as mt
from minitorch_cnn.tensor import op, watch

from .scenarios import Scenario, assert_ends_alike, leaf


@op
def shift(x: Any, /) -> Any:
    return x + 1, (lambda gy: gy,)


# Modes

SCENARIOS: list[Scenario] = []


def scenario(fn: Scenario) -> Scenario:
    SCENARIOS.append(fn)
    return fn


def recorded(t: Any) -> tuple[bool, bool]:
    return t.is_grad_enabled(), (leaf(t) * 2).requires_grad


@scenario
def contexts(t: Any) -> Any:
    rows = [recorded(t)]
    with t.no_grad():
        rows.append(recorded(t))
        with t.enable_grad():
            rows.append(recorded(t))
            with t.set_grad_enabled(False):
                rows.append(recorded(t))
            rows.append(recorded(t))
        rows.append(recorded(t))
        rows.append(t.ones(1, requires_grad=True).requires_grad)
    return [*rows, recorded(t)]


@scenario
def decorators(t: Any) -> Any:
    @t.no_grad()
    def a(n: int) -> Any:
        return (recorded(t), a(n - 1)) if n else recorded(t)

    @t.no_grad
    def b() -> Any:
        return recorded(t), c(), recorded(t)

    @t.enable_grad()
    def c() -> Any:
        return recorded(t)

    @t.set_grad_enabled(False)
    def d() -> Any:
        return recorded(t), c()

    @t.inference_mode()
    def e() -> Any:
        return recorded(t), t.is_inference_mode_enabled()

    @t.inference_mode
    def f() -> Any:
        return recorded(t)

    return a(2), b(), recorded(t), d(), recorded(t), e(), f(), recorded(t), a.__name__


@scenario
def generators(t: Any) -> Any:
    rows = []

    @t.no_grad()
    def produce() -> Any:
        rows.append(recorded(t))
        try:
            got = yield 1
            rows.append((got, recorded(t)))
            yield 2
        except ValueError:
            rows.append(("caught", recorded(t)))
            yield 3
        rows.append(recorded(t))
        return 4

    def consume() -> Any:
        result = yield from produce()
        rows.append(("returned", result))

    g = produce()
    rows.append((next(g), recorded(t)))
    rows.append((g.send("sent"), recorded(t)))
    rows.append((g.throw(ValueError()), recorded(t)))
    rows.append(list(g))
    rows.append(list(consume()))
    closed = produce()
    next(closed)
    closed.close()
    return rows


@scenario
def set_as_a_function(t: Any) -> Any:
    rows = []
    t.set_grad_enabled(False)
    rows.append(recorded(t))
    t.set_grad_enabled(True)
    return [*rows, recorded(t)]


@scenario
def an_exception_restores(t: Any) -> Any:
    rows = []
    for context in (t.no_grad(), t.set_grad_enabled(False), t.inference_mode()):
        try:
            with context:
                rows.append(recorded(t))
                raise KeyError
        except KeyError:
            rows.append(recorded(t))
    return rows


@scenario
def inference(t: Any) -> Any:
    rows = []
    with t.inference_mode():
        rows.append((recorded(t), t.is_inference_mode_enabled()))
        with t.enable_grad():
            rows.append(recorded(t))
        with t.inference_mode(False):
            rows.append((recorded(t), t.is_inference_mode_enabled()))
    with t.no_grad(), t.inference_mode(False):
        rows.append(recorded(t))
    return [*rows, recorded(t), t.is_inference_mode_enabled()]


@scenario
def one_context_used_twice(t: Any) -> Any:
    context, rows = t.no_grad(), []
    for _ in range(2):
        with context:
            rows.append(recorded(t))
        rows.append(recorded(t))
    return rows


@pytest.mark.parametrize("fn", SCENARIOS, ids=lambda fn: fn.__name__)
def test_modes_end_as_in_pytorch(fn: Scenario) -> None:
    assert_ends_alike(fn)


def test_threads_do_not_see_each_others_modes() -> None:
    """Also not through one decorated function that runs in several threads at once."""
    inside, release = threading.Barrier(4), threading.Barrier(4)
    after: list[bool] = []

    @mt.no_grad()
    def quiet() -> bool:
        inside.wait(10)
        state = mt.is_grad_enabled()
        release.wait(10)
        return state

    def work(enabled: bool) -> None:
        mt.set_grad_enabled(enabled)
        during = quiet()
        after.append(not during and mt.is_grad_enabled() == enabled)

    threads = [threading.Thread(target=work, args=(i % 2 == 0,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert after == [True] * 4
    assert mt.is_grad_enabled()


def test_graphs_of_threads_are_independent() -> None:
    results: dict[int, Any] = {}

    def work(i: int) -> None:
        x = leaf(mt)
        for _ in range(50):
            x.grad = None
            (x * x * i).sum().backward()
        results[i] = x.grad.numpy()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, g in results.items():
        np.testing.assert_array_equal(g, 2 * i * np.array([1.0, 2.0, 3.0]))


# Observers and anomalies


def test_watch_sees_every_op() -> None:
    seen: list[Any] = []
    x = leaf(mt)
    with watch(lambda name, settings, inputs, y, seconds: seen.append((name, y.shape, seconds))):
        shift(x * 2)
        with mt.no_grad():
            shift(x)
    shift(x)
    assert [row[:2] for row in seen] == [("mul", (3,)), ("shift", (3,)), ("shift", (3,))]
    assert all(row[2] > 0 for row in seen)


def test_anomaly_forward_names_the_first_nan() -> None:
    x = leaf(mt, -1.0, 1.0)
    with (
        pytest.warns(RuntimeWarning, match=r"first NaN came out of 'log'.*inputs \[2\]") as caught,
        mt.autograd.detect_anomaly(),
    ):
        mt.exp(mt.log(x) * 2)
    assert len(caught) == 1
    assert not mt.autograd.is_anomaly_enabled()


def test_anomaly_backward_names_the_op_and_the_line() -> None:
    x = leaf(mt, 0.0, 1.0)
    with mt.autograd.detect_anomaly():
        y = mt.sqrt(x)  # the culprit
        z = (y * 0).sum()
        with pytest.raises(RuntimeError, match=r"(?s)'sqrt'.*nan.*mt.sqrt\(x\)  # the culprit"):
            z.backward()
    y = mt.sqrt(x)
    (y * 0).sum().backward()
    assert np.isnan(x.grad.numpy()[0])


def test_set_detect_anomaly() -> None:
    mt.autograd.set_detect_anomaly(True)
    try:
        assert mt.autograd.is_anomaly_enabled()
        with mt.autograd.set_detect_anomaly(False):
            assert not mt.autograd.is_anomaly_enabled()
        with mt.autograd.detect_anomaly(check_nan=False):
            assert not mt.autograd.is_anomaly_enabled()
        assert mt.autograd.is_anomaly_enabled()
        x = leaf(mt, 0.0, 1.0)
        with pytest.raises(RuntimeError, match="nan"):
            (mt.sqrt(x) * 0).sum().backward()
    finally:
        mt.autograd.set_detect_anomaly(False)
    (mt.sqrt(leaf(mt, 0.0)) * 0).sum().backward()
