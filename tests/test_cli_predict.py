"""``predict`` with an architecture, ``models`` and ``summary``, as a user types them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import minitorch_cnn as torch
from minitorch_cnn import nn
from minitorch_cnn.cli import app
from minitorch_cnn.models import imagenet, registry, resnet20
from minitorch_cnn.models.published import PUBLISHED
from minitorch_cnn.nn import functional as F
from minitorch_cnn.tools import zoo
from minitorch_cnn.tools.summary import summary

from .models.common import builder_and_options, facts

runner = CliRunner()


@pytest.fixture(autouse=True)
def architectures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two networks: one sees colours, the other takes grey digits."""
    table = dict(registry.ARCHITECTURES)
    for module in (registry, zoo):
        monkeypatch.setattr(module, "ARCHITECTURES", table)

    @registry.architecture(input=(3, 224, 224))
    def colours(num_classes: int = 1000, in_channels: int = 3) -> Any:
        net = nn.Sequential()
        net.add_module("pool", nn.AdaptiveAvgPool2d((1, 1)))
        net.add_module("flat", nn.Flatten())
        net.add_module("fc", nn.Linear(in_channels, num_classes))
        return net

    @registry.architecture(input=(1, 28, 28))
    def digits() -> Any:
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))


def write_weights(path: Path, num_classes: int) -> Path:
    """Class 0 is for red pictures, 1 for green, 2 for blue."""
    weight = torch.zeros(num_classes, 3)
    weight.array[:3] = 2 * np.eye(3)
    torch.save({"fc.weight": weight, "fc.bias": torch.zeros(num_classes)}, path)
    return path


def write_photo(path: Path, colour: tuple[int, ...], mode: str = "RGB", **options: Any) -> Path:
    Image.new(mode, (60, 40), colour if len(colour) > 1 else colour[0]).save(path, **options)
    return path


def run(*arguments: Any) -> str:
    result = runner.invoke(app, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output
    return result.output


def told(*arguments: Any) -> str:
    """The sentence that a mistake gets: a usage message, or an expected error."""
    result = runner.invoke(app, [str(a) for a in arguments])
    assert result.exit_code != 0
    expected = (OSError, RuntimeError, ValueError, TypeError)
    assert isinstance(result.exception, (SystemExit, *expected))
    if isinstance(result.exception, expected):
        return str(result.exception)
    return " ".join(re.sub(r"[│╭╮╰╯─]", " ", result.output).split())


def test_the_top_five_with_imagenets_names(tmp_path: Path) -> None:
    weights = write_weights(tmp_path / "f.pth", 1000)
    photo = write_photo(tmp_path / "photo.png", (0, 255, 0))
    out = run("predict", photo, "--model", "colours", "--weights", weights).splitlines()
    assert out[0] == str(photo)
    assert len(out) == 6
    # Logits: twice the standardised colours for the first three classes, 0 for the other 997.
    colour = (np.array([0, 1, 0]) - imagenet.MEAN) / imagenet.STD
    logits = np.concatenate([2 * colour, np.zeros(997)])
    want = np.exp(logits) / np.exp(logits).sum()
    assert out[1] == f"  {100 * want[1]:6.2f} %  {imagenet.categories()[1]}"
    assert out[1].endswith("goldfish")
    probabilities = [float(line.split(" %")[0]) for line in out[1:]]
    assert probabilities == sorted(probabilities, reverse=True)


def test_several_photos_of_any_mode(tmp_path: Path) -> None:
    weights = write_weights(tmp_path / "f.npz", 3)
    (tmp_path / "names.txt").write_text("red\ngreen\nblue\n")
    photos = [
        write_photo(tmp_path / "a.jpg", (250, 0, 0)),
        write_photo(tmp_path / "b.png", (0, 0, 250, 255), "RGBA"),
        write_photo(tmp_path / "c.png", (90,), "L"),
        write_photo(tmp_path / "d.gif", (0, 250, 0)),
    ]
    common = ("--model", "colours", "--weights", weights, "--classes", tmp_path / "names.txt")
    lines = run("predict", *photos, *common, "--top", 1).splitlines()
    assert lines[::2] == [str(photo) for photo in photos]
    assert [line.split("%  ")[1] for line in lines[1::2]][:2] == ["red", "blue"]
    assert lines[7].endswith("green")
    assert len(run("predict", photos[0], *common, "--top", 50).splitlines()) == 4


def test_classes_without_names_are_numbered(tmp_path: Path) -> None:
    weights = write_weights(tmp_path / "f.safetensors", 7)
    photo = write_photo(tmp_path / "a.png", (0, 0, 255))
    out = run("predict", photo, "--model", "colours", "--weights", weights, "--top", 2)
    assert out.splitlines()[1].endswith("class 2")


def test_photos_are_turned_upright(tmp_path: Path) -> None:
    image = Image.new("RGB", (60, 40))
    exif = image.getexif()
    exif[0x0112] = 6  # the camera was turned by a quarter
    image.save(tmp_path / "a.jpg", exif=exif)
    assert zoo.read_photo(tmp_path / "a.jpg").size == (40, 60)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["a.png"], "write `predict CHECKPOINT IMAGE...`"),
        (["f.pth", "a.png", "--top", "3"], "--top and --classes go with --model and --weights"),
        (["f.pth", "a.png", "--classes", "n.txt"], "--top and --classes go with"),
        (["a.png", "--model", "colours"], "--model colours needs --weights"),
        (["a.png", "--weights", "f.pth"], "--weights needs --model"),
        (["a.png", "--model", "colour", "--weights", "f.pth"], "did you mean colours"),
        (["a.png", "--model", "colours", "--weights", "none.pth"], "no weight file 'none.pth'"),
        (["a.png", "--model", "colours", "--weights", "DEFAULT"], "weights by name: none"),
        (["a.png", "--model", "colours", "--weights", "a.png"], "cannot load a.png"),
        (["none.png", "--model", "colours", "--weights", "f.pth"], "No such file"),
        (["f.pth", "--model", "colours", "--weights", "f.pth"], "f.pth is not an image"),
        (["a.png", "--model", "digits", "--weights", "f.pth"], "takes images of 1 channels"),
        (["a.png", "--model", "resnet20", "--weights", "f.pth"], "cannot load f.pth into resnet20"),
        (
            ["a.png", "--model", "colours", "--weights", "f.pth", "--classes", "n.txt"],
            "2 names for the 4 classes",
        ),
        (["a.png", "--model", "colours", "--weights", "f.pth", "--top", "0"], "--top"),
        (["f.pth", "a.png"], "f.pth is not a checkpoint of 'minitorch-cnn train'"),
    ],
)
def test_mistakes(
    arguments: list[str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TERMINAL_WIDTH", "200")
    write_weights(Path("f.pth"), 4)
    write_photo(Path("a.png"), (1, 2, 3))
    Path("n.txt").write_text("one\ntwo\n")
    assert sentence in told("predict", *arguments)


def test_a_checkpoint_of_other_images_says_what_to_write(tmp_path: Path) -> None:
    torch.save(
        {
            "format": "minitorch_cnn checkpoint 1",
            "options": {"model": "resnet20", "dataset": "cifar10"},
            "model": resnet20().state_dict(),
        },
        tmp_path / "r.pt",
    )
    photo = write_photo(tmp_path / "a.png", (200, 0, 0))
    assert "--model resnet20 --weights" in told("predict", tmp_path / "r.pt", photo)
    out = run("predict", photo, "--model", "resnet20", "--weights", tmp_path / "r.pt")
    assert out.count("class ") == 5


def test_models_lists_every_architecture() -> None:
    lines = run("models").splitlines()
    assert lines[0].split() == ["name", "input", "parameters", "MACs", "published", "weights",
                                "(top-1", "accuracy)"]  # fmt: skip
    names = [line.split()[0] for line in lines[1:]]
    assert names == list(zoo.ARCHITECTURES)
    row = next(line for line in lines if line.startswith("resnet20 "))
    assert re.search(r"3 x 32 x 32 +269,722 +40,551,040$", row)
    assert re.search(r"3 x 224 x 224 +4,000 +3,000$", lines[-2]), "counted, for it is in no table"
    if "resnet50" in names:
        row = next(line for line in lines if line.startswith("resnet50 "))
        assert "25,557,032" in row
        assert "IMAGENET1K_V1 (76.1 %), IMAGENET1K_V2 (80.9 %)" in row


def test_the_table_of_costs_is_that_of_the_networks() -> None:
    """All parameters are counted again, and the MACs of small images; the facts tell the others."""
    own = {"colours", "digits"}
    recorded = zoo._recorded_costs()
    for name, architecture in zoo.ARCHITECTURES.items():
        if name in own or architecture.input[0] != 3:
            continue
        with nn.init.unfilled():
            parameters = sum(p.numel() for p in architecture.builder().parameters())
        assert name in recorded, f"models/data/costs.json lacks {name}: {zoo.costs(name)}"
        assert recorded[name][0] == parameters
        if architecture.input[1] == 32:
            counted = summary(zoo.build_to_count(architecture), architecture.input)
            assert recorded[name][1] == counted.macs, name
    for key, cost in facts("model_costs").items():
        name, options = builder_and_options(key)
        if not options:
            assert recorded[name] == (cost["parameters"], cost["macs"])


def test_published_weights_belong_to_architectures() -> None:
    assert set(PUBLISHED) <= set(zoo.ARCHITECTURES)
    for name, entries in PUBLISHED.items():
        parameters, _ = zoo.costs(name)
        heads = {"googlenet": 6_379_984}.get(name, 0)  # torchvision leaves them out of its count
        assert {entry.meta["num_params"] for entry in entries} == {parameters - heads}


def test_summary_takes_architectures_and_options() -> None:
    out = run("summary", "resnet20")
    assert "CifarResNet, input 1 x 3 x 32 x 32" in out
    assert "269,722" in out
    out = run("summary", "resnet20", "--num-classes", 7, "--in-channels", 1, "--batch-size", 2)
    assert "input 2 x 1 x 32 x 32" in out
    assert re.search(r"fc +Linear +2 x 7 ", out)
    assert "input 1 x 3 x 48 x 40" in run("summary", "resnet20", "--input", "3,48,40")
    assert "takes no options" in told("summary", "cnn", "--num-classes", 3)
    assert re.search(r"'resnet2': did you mean .*resnet20", told("summary", "resnet2"))


def test_softmax_of_log_probabilities_is_the_probabilities() -> None:
    """Why one line serves the lecture's networks and all others."""
    x = torch.randn(4, 10)
    p = F.softmax(x, dim=1)
    np.testing.assert_allclose(F.softmax(F.log_softmax(x, dim=1), dim=1).array, p.array, atol=1e-7)
