"""The command line, as a user types it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from minitorch_cnn import datasets
from minitorch_cnn.cli import app

runner = CliRunner()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CNN trained for two epochs on the first images of MNIST."""
    directory = tmp_path_factory.mktemp("run")
    load = datasets.MNIST.__init__

    def shortened(self: Any, *args: Any, **kwargs: Any) -> None:
        load(self, *args, **kwargs)
        n = 6400 if self.train else 500
        self.data, self.targets = self.data[:n], self.targets[:n]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.MNIST, "__init__", shortened)
        result = runner.invoke(
            app,
            ["train", "cnn", "--epochs", "2", "--lr", "0.05", "--momentum", "0.9",
             "--checkpoint-dir", str(directory), "--results", str(directory / "curves.json")],
        )  # fmt: skip
    assert result.exit_code == 0, result.output
    (directory / "log.txt").write_text(result.output)
    return directory / "cnn.pt"


def test_train_prints_the_lectures_lines(checkpoint: Path) -> None:
    log = (checkpoint.parent / "log.txt").read_text()
    lines = log.splitlines()
    assert re.fullmatch(r"Train Epoch: 1 \[0/6400 \(0%\)\]\tLoss: 2\.\d{6}", lines[0])
    assert re.fullmatch(r"Train Epoch: 1 \[640/6400 \(10%\)\]\tLoss: \d\.\d{6}", lines[1])
    assert re.search(r"^\nTest set: Average loss: \d\.\d{4}, Accuracy: \d+/500 \(\d+%\)\n$",
                     "\n".join(lines[10:13]) + "\n")  # fmt: skip
    curves = json.loads((checkpoint.parent / "curves.json").read_text())
    assert [r["epoch"] for r in curves["history"]] == [1, 2]
    assert curves["history"][1]["train_loss"] < curves["history"][0]["train_loss"]


def test_evaluate(checkpoint: Path) -> None:
    result = runner.invoke(app, ["evaluate", str(checkpoint)])
    assert result.exit_code == 0, result.output
    found = re.fullmatch(
        r"Test set: Average loss: \d\.\d{4}, Accuracy: (\d+)/10000 \(\d+%\)\n", result.output
    )
    assert found is not None
    assert int(found[1]) > 9000


def test_predict_reads_plain_scanned_and_inverted_digits(checkpoint: Path, tmp_path: Path) -> None:
    test = datasets.MNIST(train=False)
    right = 0
    for i in range(10):
        digit = np.asarray(test.data[i], np.uint8)
        page = np.full((120, 90), 255, np.uint8)
        large = np.asarray(Image.fromarray(digit).resize((56, 56)))
        page[20:76, 15:71] = 255 - large
        Image.fromarray(digit).save(tmp_path / "plain.png")
        Image.fromarray(255 - digit).save(tmp_path / "inverted.png")
        Image.fromarray(page).convert("RGB").save(tmp_path / "scan.jpg", quality=95)
        files = [str(tmp_path / name) for name in ("plain.png", "inverted.png", "scan.jpg")]
        result = runner.invoke(app, ["predict", str(checkpoint), *files])
        assert result.exit_code == 0, result.output
        answers = re.findall(r"\.(?:png|jpg): (\d)$", result.output, re.MULTILINE)
        assert len(answers) == 3
        assert answers[0] == answers[1]
        right += sum(int(a) == int(test.targets[i]) for a in answers)
    assert right >= 24


def test_summary_prints_the_slides_numbers() -> None:
    assert "120,422,400" in runner.invoke(app, ["summary", "conv5x5"]).output
    assert "12,443,648" in runner.invoke(app, ["summary", "bottleneck5x5"]).output
    out = runner.invoke(app, ["summary", "cnn", "--batch-size", "64"]).output
    assert "64 x 10 x 24 x 24" in out
    assert "MACs" in out
    assert "FLOPs" in out


def test_doctor_states_facts() -> None:
    result = runner.invoke(app, ["doctor"])
    assert result.exit_code == 0, result.output
    for part in ("NumPy", "numba", "threads", "GPU", "60000 training and 10000 test images"):
        assert part in result.output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["train", "resnet9000"], "choose one of cnn, inception, deeper"),
        (["train", "cnn", "--epochs", "0"], "epochs must be at least 1"),
        (["train", "cnn", "--lr", "0"], "lr must be a positive number"),
        (["train", "cnn", "--resume", "--checkpoint-dir", "nowhere"], "no checkpoint"),
        (["train", "cnn", "--device", "cuda"], "cuda"),
        (["train", "cnn", "--cuda-graph"], "needs --device cuda"),
        (["train", "cnn", "--device", "tpu"], "device"),
        (["evaluate", "missing.pt"], "missing.pt"),
        (["evaluate", "noise.pt"], "noise.pt"),
        (["predict", "noise.pt", "x.png"], "noise.pt"),
        (["summary", "cnn", "--input", "28"], "C,H,W"),
    ],
)
def test_mistakes_get_one_sentence(tmp_path: Path, arguments: list[str], told: str) -> None:
    (tmp_path / "noise.pt").write_bytes(bytes(range(256)) * 10)
    done = subprocess.run(
        [sys.executable, "-m", "minitorch_cnn.cli", *arguments],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
    )  # fmt: skip
    assert done.returncode != 0
    assert told in done.stderr
    assert "Traceback" not in done.stderr
