"""Users' scripts run with nothing changed but their imports."""

from __future__ import annotations

import re
import runpy
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch as real_torch

from minitorch_cnn import datasets

SCRIPTS = Path(__file__).parent / "scripts"


@pytest.fixture
def small_mnist(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first images of MNIST only: a script's text stays as it is, its run is short."""
    load = datasets.MNIST.__init__

    def shortened(self: Any, *args: Any, **kwargs: Any) -> None:
        load(self, *args, **kwargs)
        n = 2560 if self.train else 500
        self.data, self.targets = self.data[:n], self.targets[:n]

    monkeypatch.setattr(datasets.MNIST, "__init__", shortened)


@pytest.mark.usefixtures("small_mnist")
def test_lecture_script_of_2017(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        runpy.run_path(str(SCRIPTS / "lecture_cnn_2017.py"), run_name="__main__")
    told = {str(w.message).split(".")[0][:40] for w in caught}
    assert any("Implicit dimension choice" in text for text in told)
    out = capsys.readouterr().out
    lines = re.findall(r"Train Epoch: 1 \[(\d+)/2560 \((\d+)%\)\]\tLoss: (\d\.\d{6})", out)
    assert [int(seen) for seen, _, _ in lines] == [0, 640, 1280, 1920]
    test = re.search(r"Test set: Average loss: (\d\.\d{4}), Accuracy: (\d+)/500 \((\d+)%\)", out)
    assert test is not None
    assert int(test[2]) / 5 == pytest.approx(float(test[3]), abs=0.51)
    assert float(lines[-1][2]) < float(lines[0][2])


@pytest.mark.usefixtures("small_mnist")
def test_script_of_today(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    argv = ["mnist_today.py", "--epochs", "1", "--save-model", "--no-accel"]
    monkeypatch.setattr("sys.argv", argv)
    runpy.run_path(str(SCRIPTS / "mnist_today.py"), run_name="__main__")
    out = capsys.readouterr().out
    accuracy = re.search(r"Accuracy: (\d+)/500", out)
    assert accuracy is not None
    assert int(accuracy[1]) > 350
    saved = real_torch.load(tmp_path / "mnist_cnn.pt", weights_only=True)
    assert list(saved)[:2] == ["features.0.weight", "features.0.bias"]
