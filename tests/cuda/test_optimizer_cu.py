"""optimizer.cu against the formula for one weight, the CPU's kernels, and PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minitorch_cnn.kernels import emulator, optimizer, reference

from ..kernels.test_optimizer import KERNELS
from .common import CHECKS, ORDERS, assert_same_bits, emulate, needs_emulator

pytestmark = needs_emulator


def _arrays(name: str, size: int, dtype: Any, seed: int) -> list[np.ndarray]:
    """w, g and what the kernel remembers: squares are not negative."""
    rng = np.random.default_rng(seed)
    w, g, *memory = rng.standard_normal((2 + KERNELS[name][0], size)).astype(dtype)
    return [w, g, *(m if i == 0 else abs(m) for i, m in enumerate(memory))]


def _stepped(name: str, before: list[np.ndarray], numbers: Any, **how: Any) -> list[np.ndarray]:
    arrays = [a.copy() for a in before]
    emulate("optimizer", name, *arrays, np.array(numbers, before[0].dtype), **how)
    return arrays


@pytest.mark.parametrize("name", KERNELS)
@settings(max_examples=15)
@given(data=st.data())
def test_equals_the_formula_for_one_weight(name: str, data: st.DataObject) -> None:
    numbers = data.draw(KERNELS[name][1])
    dtype = data.draw(st.sampled_from([np.float32, np.float64]))
    size, seed = data.draw(st.sampled_from([0, 1, 7, 300, 2000])), data.draw(st.integers(0, 9))
    before = _arrays(name, size, dtype, seed)
    ours = _stepped(name, before, numbers, order="random", seed=seed)
    one = getattr(reference.optimizer, name)
    expected = [one(*row, *numbers) for row in zip(*(a.tolist() for a in before))]
    np.testing.assert_array_equal(ours[1], before[1])
    for i, a in enumerate((ours[0], *ours[2:])):
        limits = {"rtol": 1e-5, "atol": 1e-5} if dtype is np.float32 else {"rtol": 1e-10}
        np.testing.assert_allclose(a, [row[i] for row in expected], **limits)


NUMBERS: dict[str, tuple[float, ...]] = {
    "sgd": (0.1, 0.01, -1),
    "sgd_momentum": (0.1, 0.01, 1, 0.9, 0.8, 1),
    "adam": (0.1, 0.99, 0.01, 1, 0.1, 0.9, 0.1, 1e-3, 0.5),
    "amsgrad": (0.1, 0.99, 0.01, 1, 0.1, 0.9, 0.1, 1e-3, 0.5),
}


@pytest.mark.parametrize("name", KERNELS)
def test_same_bits_in_every_order_and_as_numpy(name: str) -> None:
    before = _arrays(name, 1100, np.float64, 1)
    results = [tuple(_stepped(name, before, NUMBERS[name], **order)) for order in ORDERS]
    assert_same_bits(results)
    expected = [a.copy() for a in before]
    getattr(optimizer, name).numpy(*expected, np.array(NUMBERS[name], np.float64))
    for a, b in zip(results[0], expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("check", CHECKS)
def test_sanitizers(check: Any) -> None:
    before = _arrays("amsgrad", 301, np.float32, 2)
    _stepped("amsgrad", before, NUMBERS["amsgrad"], check=check)


def test_nan_and_infinity() -> None:
    """An infinite weight without decay is no NaN; a NaN gradient stays with its weight."""
    w, g, m, v, largest = np.ones((5, 40), np.float32)
    w[3], g[5] = np.inf, np.nan
    numbers = np.array([0.1, 1, 0, 1, 0.1, 0.9, 0.1, 1e-8, 1], np.float32)
    emulate("optimizer", "amsgrad", w, g, m, v, largest, numbers)
    assert w[3] == np.inf
    for a in (w, m, v, largest):
        assert np.isnan(a).nonzero()[0].tolist() == [5]


def test_halves_step_in_float_and_are_rounded_once() -> None:
    before = [a.astype(np.float16) for a in _arrays("adam", 300, np.float32, 3)]
    expected = _stepped("adam", [a.astype(np.float32) for a in before], NUMBERS["adam"])
    ours = [a.copy() for a in before]
    emulator.run("optimizer", "adam<Half>", (*ours, np.array(NUMBERS["adam"], np.float32)))
    for a, b in zip(ours, expected, strict=True):
        np.testing.assert_array_equal(a, b.astype(np.float16))


@pytest.mark.parametrize("amsgrad", [False, True])
def test_three_steps_of_adamw_equal_pytorch(amsgrad: bool) -> None:
    lr, beta1, beta2, eps, decay = 0.01, 0.9, 0.99, 1e-8, 0.1
    w, *memory = _arrays("amsgrad" if amsgrad else "adam", 50, np.float64, 4)
    memory = [np.zeros_like(w) for _ in range(3 if amsgrad else 2)]
    theirs = torch.from_numpy(w.copy()).requires_grad_()
    step = torch.optim.AdamW([theirs], lr, (beta1, beta2), eps, decay, amsgrad=amsgrad)
    for t in range(1, 4):
        g = np.random.default_rng(t).standard_normal(50)
        theirs.grad = torch.from_numpy(g)
        step.step()
        numbers = (lr / (1 - beta1**t), 1 - lr * decay, 0, 1, 1 - beta1, beta2, 1 - beta2, eps)
        given = np.array([*numbers, np.sqrt(1 - beta2**t)])
        emulate("optimizer", "amsgrad" if amsgrad else "adam", w, g, *memory, given)
    np.testing.assert_allclose(w, theirs.detach().numpy(), rtol=1e-12)
