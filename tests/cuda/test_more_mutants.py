"""One mistake at a time in the kernels of join, dropout, optimizer and losses: all are caught."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from minitorch_cnn.kernels import dropout, emulator, optimizer
from minitorch_cnn.kernels.emulator import EmulatorError

from .common import needs_emulator

pytestmark = needs_emulator

KERNELS = Path(emulator.__file__).parents[1]
WRONG = "wrong numbers"


def _concat(file: Path) -> None:
    x, y = np.arange(15.0).reshape(3, 5), np.full((3, 9), np.nan)
    emulator.run(file, "concat<double>", (x, y, 4))
    np.testing.assert_array_equal(y[:, 4:], x)


def _mask(file: Path) -> None:
    generator = np.random.Generator(np.random.Philox(key=np.array([3, 2**63], np.uint64)))
    generator.integers(0, 1 << 32, 3, "u4")
    keep = np.zeros(2051, np.bool_)
    emulator.run(file, "keep_mask", (dropout.state_words(generator), keep, 2**31))
    np.testing.assert_array_equal(keep, generator.integers(0, 1 << 32, 2051, "u4") >= 2**31)


def _amsgrad(file: Path) -> None:
    numbers = np.array([0.1, 0.9, 0.5, -1.0, 0.1, 0.8, 0.3, 1e-3, 0.5])
    ours = list(abs(np.random.default_rng(0).standard_normal((5, 300))))
    expected = [a.copy() for a in ours]
    emulator.run(file, "amsgrad<double>", (*ours, numbers))
    optimizer.amsgrad.numpy(*expected, numbers)
    for a, b in zip(ours, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def _momentum(file: Path) -> None:
    numbers = np.array([0.1, 0.5, -1.0, 0.9, 0.3, 1.0])
    ours = list(np.random.default_rng(0).standard_normal((3, 300)))
    expected = [a.copy() for a in ours]
    emulator.run(file, "sgd_momentum<double>", (*ours, numbers))
    optimizer.sgd_momentum.numpy(*expected, numbers)
    for a, b in zip(ours, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def _sums(file: Path) -> None:
    x, partial, y, total = np.arange(1000.0), np.zeros(3), np.zeros(1), np.zeros(1)
    emulator.run(file, "slice_sums<double>", (x, partial))
    emulator.run(file, "finish_mean<double>", (partial, partial / 2, y, total))
    np.testing.assert_allclose((y[0], total[0]), (2, x.sum() / 2))


def _nll(file: Path) -> None:
    x, target = np.arange(12.0).reshape(2, 3, 2), np.array([[0, 2], [-100, 1]])
    loss, used = np.zeros((2, 2)), np.zeros((2, 2))
    emulator.run(file, "nll_loss<double>", (x, target, None, loss, used, -100, 0.0))
    np.testing.assert_array_equal(loss, [[0, -5], [0, -9]])
    np.testing.assert_array_equal(used, [[1, 1], [0, 1]])


Trial = Callable[[Path], None]
MUTANTS: list[tuple[str, Trial, str, str, str]] = [
    ("join", _concat, "y(n, start + i) =", "y(n, start + i + 1) =", "index"),
    ("join", _concat, "y(n, start + i) =", "y(n, i) =", WRONG),
    ("dropout", _mask, "round < 10", "round < 9", WRONG),
    ("dropout", _mask, "0 <= at && at < draws", "0 <= at", "index"),
    ("dropout", _mask, "32 * (i % 2)", "32 * (1 - i % 2)", WRONG),
    ("dropout", _mask, "key_1 += WEYL_1;", "", WRONG),
    ("dropout", _mask, "left < 1ll << 32", "left < 0", WRONG),
    ("dropout", _mask, "state(6)", "8", WRONG),
    ("optimizer", _amsgrad, "before >= square || ", "", WRONG),
    ("optimizer", _amsgrad, "lr * mean / (sqrt(top)", "lr * mean / (sqrt(square)", WRONG),
    ("optimizer", _momentum, "rest = numbers(4)", "rest = numbers(3)", WRONG),
    ("optimizer", _momentum, "ahead = numbers(5)", "ahead = numbers(6)", "index"),
    ("loss", _sums, "(x.shape[0] + partial.shape[0] - 1)", "x.shape[0]", WRONG),
    ("loss", _sums, "sum / total(0)", "sum", WRONG),
    ("loss", _nll, "kept ? value : T(0)", "value", WRONG),
    ("loss", _nll, "kept && !wrong ? static_cast<int>(t) : 0", "static_cast<int>(t)", "index"),
]


@pytest.mark.parametrize(("file", "trial", "old", "new", "report"), MUTANTS)
def test_mistakes_are_caught(
    file: str, trial: Trial, old: str, new: str, report: str, tmp_path: Path
) -> None:
    text = (KERNELS / f"{file}.cu").read_text(encoding="utf-8")
    assert text.count(old) == 1
    mutant = tmp_path / f"{file}.cu"
    mutant.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises((AssertionError, EmulatorError)) as caught:
        trial(mutant)
    said = WRONG if isinstance(caught.value, AssertionError) else caught.value.kind
    assert said == report, str(caught.value)


@pytest.mark.parametrize("name", ["join", "dropout", "optimizer", "loss"])
def test_without_the_mistake(name: str) -> None:
    for trial in {trial for file, trial, *_ in MUTANTS if file == name}:
        trial(KERNELS / f"{name}.cu")
