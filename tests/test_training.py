"""Runs: exact resume, stops, and checkpoints that are never broken."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minitorch_cnn as torch
from minitorch_cnn import datasets
from minitorch_cnn.tools import training


@pytest.fixture
def small_mnist(monkeypatch: pytest.MonkeyPatch) -> None:
    load = datasets.MNIST.__init__

    def shortened(self: Any, *args: Any, **kwargs: Any) -> None:
        load(self, *args, **kwargs)
        n = 700 if self.train else 300
        self.data, self.targets = self.data[:n], self.targets[:n]

    monkeypatch.setattr(datasets.MNIST, "__init__", shortened)


class Silent:
    def __init__(self) -> None:
        self.losses: list[float] = []

    def batch(
        self, epoch: int, index: int, size: int, batches: int, images: int, loss: float
    ) -> None:
        self.losses.append(loss)

    def epoch(self, result: training.Result) -> None:
        pass


class InterruptAt(Silent):
    """Sends SIGINT to this process in the middle of the run."""

    def __init__(self, batch: int) -> None:
        super().__init__()
        self.at = batch

    def batch(self, *args: Any) -> None:
        super().batch(*args)
        if len(self.losses) == self.at:
            os.kill(os.getpid(), signal.SIGINT)


def same_bits(a: training.Run, b: training.Run) -> bool:
    pairs = zip(a.network.state_dict().values(), b.network.state_dict().values(), strict=True)
    return all(np.array_equal(x.numpy(), y.numpy()) for x, y in pairs)


@pytest.mark.usefixtures("small_mnist")
@pytest.mark.parametrize("stop_at", [1, 7, 11, 18])
def test_resume_continues_bit_for_bit(tmp_path: Path, stop_at: int) -> None:
    options = training.Options(epochs=2, seed=3)
    whole, report = training.Run.start(options), Silent()
    assert whole.fit(report)

    path = tmp_path / "cnn.pt"
    first = training.Run.start(options)
    interrupted = InterruptAt(stop_at)
    assert not first.fit(interrupted, path)
    second, rest = training.Run.resume(path), Silent()
    assert second.fit(rest, path)
    assert interrupted.losses + rest.losses == report.losses
    assert same_bits(whole, second)
    strip = [dataclasses.replace(r, seconds=0) for r in second.history]
    assert strip == [dataclasses.replace(r, seconds=0) for r in whole.history]


@pytest.mark.usefixtures("small_mnist")
def test_a_finished_run_trains_on_to_more_epochs(tmp_path: Path) -> None:
    path = tmp_path / "cnn.pt"
    training.Run.start(training.Options(epochs=1)).fit(Silent(), path)
    longer = training.Run.resume(path, epochs=2)
    assert longer.fit(Silent(), path)
    whole = training.Run.start(training.Options(epochs=2))
    whole.fit(Silent())
    assert same_bits(longer, whole)


@pytest.mark.parametrize(
    "wrong", [{"epochs": 0}, {"batch_size": 0}, {"lr": -1.0}, {"lr": float("nan")}, {"momentum": 1}]
)
def test_options_refuse_nonsense(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        training.Options(**wrong)


@pytest.mark.usefixtures("small_mnist")
def test_a_diverging_run_says_so() -> None:
    run = training.Run.start(training.Options(epochs=3, lr=1e30))
    with pytest.raises(FloatingPointError, match="learning rate"):
        run.fit(Silent())


def test_new_runs_never_overwrite(tmp_path: Path) -> None:
    names = []
    for _ in range(3):
        path = training.new_checkpoint(tmp_path, "cnn")
        path.touch()
        names.append(path.name)
    assert names == ["cnn.pt", "cnn-2.pt", "cnn-3.pt"]
    assert training.latest_checkpoint(tmp_path, "cnn").name in names
    with pytest.raises(FileNotFoundError, match="inception"):
        training.latest_checkpoint(tmp_path, "inception")


def test_a_file_that_is_no_checkpoint_is_named(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"conv1.weight": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match=r"weights\.pt is not a checkpoint"):
        training.read_checkpoint(path)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_sigint_saves_and_sigkill_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    """A real process on the real data, interrupted, resumed, killed, resumed."""
    command = [sys.executable, "-m", "minitorch_cnn.cli", "train", "cnn", "--epochs", "1",
               "--checkpoint-dir", str(tmp_path)]  # fmt: skip

    def start(*extra: str) -> subprocess.Popen[str]:
        return subprocess.Popen([*command, *extra], stdout=subprocess.PIPE, text=True)

    first = start()
    assert first.stdout is not None
    line = ""
    for _ in range(4):
        line = first.stdout.readline()
    assert line.startswith("Train Epoch: 1 [1920/60000 (3%)]\tLoss: ")
    first.send_signal(signal.SIGINT)
    rest, _ = first.communicate(timeout=60)
    assert first.returncode == 130
    assert "--resume continues" in rest
    done = training.read_checkpoint(tmp_path / "cnn.pt")["batches_done"]
    assert done > 30

    second = start("--resume")
    assert second.stdout is not None
    second.stdout.readline()
    time.sleep(0.2)
    second.kill()
    second.communicate(timeout=60)
    assert training.read_checkpoint(tmp_path / "cnn.pt")["batches_done"] == done
    assert [p.name for p in tmp_path.iterdir()] == ["cnn.pt"]
