"""Filters, feature maps and the moving windows: the numbers, the files, the commands."""

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
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.nn import functional as TF
from typer.testing import CliRunner

import minitorch_cnn as mt
from minitorch_cnn import nn
from minitorch_cnn.models import lecture
from minitorch_cnn.models.imagenet import ImageClassification
from minitorch_cnn.models.registry import ARCHITECTURES, architecture
from minitorch_cnn.tools import plots
from minitorch_cnn.tools.plots import subjects
from minitorch_cnn.tools.plots.commands import app

from .plots_common import random_residual, residual_by_hand, weights_of

ROOT = Path(__file__).parents[1]

runner = CliRunner()


def test_first_layer_filters_are_a_copy_of_the_weights() -> None:
    model = lecture.InceptionNet()
    got = plots.first_layer_filters(model)
    np.testing.assert_array_equal(got, model.conv1.weight.array)
    np.testing.assert_array_equal(
        plots.first_layer_filters(model, "incept1.branch5x5_2"),
        model.incept1.branch5x5_2.weight.array,
    )
    got[:] = 0
    assert np.abs(model.conv1.weight.array).max() > 0
    with pytest.raises(ValueError, match=r"'fc' is not a Conv2d; candidates are conv1, conv2"):
        plots.first_layer_filters(model, "fc")
    with pytest.raises(ValueError, match="Linear has no Conv2d"):
        plots.first_layer_filters(nn.Linear(2, 2))


def test_feature_maps_are_the_layers_outputs(rng: Any) -> None:
    model = random_residual()
    x = rng.normal(size=(2, 3, 11, 8))
    _, maps = residual_by_hand(weights_of(model), torch.from_numpy(x))
    # In-place layers come after "bn" and "branch.1": what they overwrite was copied before.
    got = plots.feature_maps(model, x, ["branch.1", "bn", "relu", "down"])
    assert list(got) == ["bn", "relu#1", "down", "branch.1", "relu#2"]
    for name, values in got.items():
        np.testing.assert_allclose(values, maps[name].detach().numpy(), rtol=1e-9, atol=1e-12)
    assert list(plots.feature_maps(model, x)) == ["relu#1", "relu#2"]
    assert list(plots.feature_maps(model, x, ["relu#2"])) == ["relu#2"]
    with pytest.raises(ValueError, match="feature_maps: Residual: there is no layer 'relu#3'"):
        plots.feature_maps(model, x, ["relu#3"])


def test_default_stages() -> None:
    def stages(model: nn.Module, *size: int) -> list[str]:
        return list(plots.feature_maps(model, np.zeros((1, *size), np.float32)))

    assert stages(lecture.CNN(), 1, 28, 28) == ["conv1", "mp#1", "conv2", "mp#2"]
    assert stages(lecture.InceptionNet(), 1, 28, 28) == ["conv1", "incept1", "conv2", "incept2"]
    features = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(2, 2, 3))
    nested = nn.Sequential(features, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert stages(nested, 1, 14, 14) == ["0.1", "0.2", "0.3"]
    assert stages(nn.Sequential(nested), 1, 14, 14) == ["0.0.1", "0.0.2", "0.0.3"]
    assert stages(nn.Conv2d(1, 2, 3), 1, 5, 5) == ["Conv2d"]
    with pytest.raises(ValueError, match="no layer of Flatten has a 4-d output"):
        stages(nn.Flatten(), 1, 5, 5)


def test_golden_pooling_of_the_lecture() -> None:
    data = plots.pooling_steps([[1, 1, 2, 4], [5, 6, 7, 8], [3, 2, 1, 0], [1, 2, 3, 4]], 2)
    assert data.output.tolist() == [[6, 8], [3, 4]]
    assert [(s.row, s.col, s.top, s.left, s.value) for s in data.steps] == [
        (0, 0, 0, 0, 6), (0, 1, 0, 2, 8), (1, 0, 2, 0, 3), (1, 1, 2, 2, 4),
    ]  # fmt: skip
    assert data.steps[1].window.tolist() == [[2, 4], [7, 8]]
    x = [[3, 3, 2, 1, 0], [0, 0, 1, 3, 1], [3, 1, 2, 2, 3], [2, 0, 0, 2, 2], [2, 0, 0, 0, 1]]
    mean = plots.pooling_steps(x, 3, 1, "average")
    expected = [[1.7, 1.7, 1.7], [1.0, 1.2, 1.8], [1.1, 0.8, 1.3]]
    assert np.round(mean.output, 1).tolist() == expected
    assert np.isclose(mean.steps[4].terms.sum(), mean.steps[4].value)


sides = st.integers(1, 4)


@given(st.data())
def test_steps_agree_with_pytorch(data: Any) -> None:
    KH, KW, SH, SW = (data.draw(sides) for _ in range(4))
    PH, PW = data.draw(st.integers(0, 2)), data.draw(st.integers(0, 2))
    H, W = data.draw(st.integers(KH, 9)), data.draw(st.integers(KW, 9))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    x, w = rng.normal(size=(H, W)), rng.normal(size=(KH, KW))
    tx = torch.from_numpy(x)[None, None]
    conv = plots.convolution_steps(x, mt.tensor(w), (SH, SW), (PH, PW), bias=0.5)
    bias = torch.tensor([0.5], dtype=torch.float64)
    y = TF.conv2d(tx, torch.from_numpy(w)[None, None], bias, (SH, SW), (PH, PW))[0, 0]
    np.testing.assert_allclose(conv.output, y.numpy(), rtol=1e-9, atol=1e-12)
    for step in conv.steps:
        assert np.isclose(step.terms.sum() + 0.5, conv.output[step.row, step.col])
        window = conv.x[step.top : step.top + KH, step.left : step.left + KW]
        np.testing.assert_array_equal(window, step.window)
    largest = plots.pooling_steps(x, (KH, KW), (SH, SW))
    expected = TF.max_pool2d(tx, (KH, KW), (SH, SW))[0, 0].numpy()
    np.testing.assert_array_equal(largest.output, expected)
    mean = plots.pooling_steps(x, (KH, KW), (SH, SW), "average")
    expected = TF.avg_pool2d(tx, (KH, KW), (SH, SW))[0, 0].numpy()
    np.testing.assert_allclose(mean.output, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: plots.pooling_steps(np.ones((2, 2)), 3), "window of 3 x 3 does not fit .* 2 x 2"),
        (lambda: plots.pooling_steps(np.ones((2, 2)), 0), "integers of at least 1, got 0"),
        (lambda: plots.pooling_steps(np.ones((2, 2)), 2, mode="min"), "'max' or 'average'"),
        (lambda: plots.pooling_steps(np.ones((1, 2, 2)), 2), r"one channel, got shape \[1, 2, 2\]"),
        (lambda: plots.pooling_steps([[np.nan]], 1), "NaN"),
        (lambda: plots.pooling_steps(np.ones((65, 2)), 1), "too large to draw"),
        (lambda: plots.convolution_steps([[1]], [[1]], padding=-1), "padding"),
        (lambda: plots.convolution_steps([[1]], [[1]], stride=(1, 1, 1)), "stride"),
        (lambda: plots.pooling_in_action([[1]], 1).figure(0), "panels"),
        (lambda: plots.curves({"history": []}), "--results"),
    ],
)
def test_refusals(call: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        call()


def texts(figure: Any) -> list[str]:
    return [t.get_text() for ax in figure.axes for t in ax.texts]


def test_panels_write_out_the_arithmetic() -> None:
    action = plots.convolution_in_action([[1, 2], [3, 4]], [[5, -6]], padding=(0, 1), bias=0.5)
    figure = action.figure()
    assert len(figure.axes) == 6
    assert "  1·5 + 2·(−6) + 0.5 = −6.5" in texts(figure)
    assert "image 2 × 2 + padding" in texts(figure)
    first = [t.get_text() for t in figure.axes[0].texts]
    assert "−5.5" in first
    assert "−6.5" not in first  # written at the second step
    large = plots.pooling_in_action(np.arange(196.0).reshape(14, 14), 7, mode="average").figure(2)
    assert [t for t in texts(large) if "=" in t] == [
        "mean of 49 numbers = 45",
        "mean of 49 numbers = 150",
    ]


SIGNATURES = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF", ".gif": b"GIF8"}


@pytest.mark.parametrize("suffix", SIGNATURES)
def test_every_format_twice_the_same(suffix: str, tmp_path: Path) -> None:
    action = plots.pooling_in_action([[1, 2, 3, 4], [5, 6, 7, 8]], 2)
    paths = [tmp_path / f"a{suffix}", tmp_path / f"b{suffix.upper()}"]
    for path in paths:
        action.save(path)
    assert paths[0].read_bytes().startswith(SIGNATURES[suffix])
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert len(list(tmp_path.iterdir())) == 2


def test_a_film_shows_every_step(tmp_path: Path) -> None:
    plots.convolution_in_action(np.eye(4), np.eye(2)).save(tmp_path / "a.gif", seconds=0.5)
    with Image.open(tmp_path / "a.gif") as film:
        frames = []
        for i in range(film.n_frames):
            film.seek(i)
            frames.append((film.convert("RGB").tobytes(), film.info["duration"]))
    assert len({pixels for pixels, _ in frames}) == 9
    assert sum(duration for _, duration in frames) == 12 * 500


def test_a_long_film_is_shortened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from minitorch_cnn.tools.plots import in_action

    monkeypatch.setattr(in_action, "_FRAMES", 3)
    plots.pooling_in_action(np.eye(14), 1).save(tmp_path / "a.gif")  # 196 steps, no numbers
    with Image.open(tmp_path / "a.gif") as film:
        assert film.n_frames == 3
    title = plots.pooling_in_action(np.eye(14), 1).figure(2).get_suptitle()
    assert title == "Max pooling 1 × 1, stride 1, 2 of 196 steps"


def test_a_failed_drawing_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.axes import Axes

    action = plots.pooling_in_action([[1, 2], [3, 4]], 2)
    figure = action.figure()
    for suffix in (".png", ".gif"):
        (tmp_path / f"old{suffix}").write_bytes(b"old")
    with pytest.raises(ValueError, match=r"write one of \.png, \.svg, \.pdf"):
        plots.save_figure(figure, tmp_path / "old.bmp")
    with pytest.raises(OSError, match="does not exist"):
        plots.save_figure(figure, tmp_path / "missing" / "x.png")

    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("no ink")

    monkeypatch.setattr(Axes, "draw", fail)
    for suffix in (".png", ".gif"):
        with pytest.raises(RuntimeError, match="no ink"):
            action.save(tmp_path / f"old{suffix}")
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {
        "old.png": b"old", "old.gif": b"old",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("model", "pictures"),
    [
        (nn.Conv2d(1, 3, 3), 3),
        (nn.Conv2d(3, 66, 3), 64),
        (nn.Conv2d(20, 2, 3), 2 * 16),
        (nn.Conv2d(4, 2, (1, 3), groups=2), 2 * 2),
    ],
)
def test_filters_of_any_depth(model: nn.Module, pictures: int) -> None:
    figure = plots.filters_figure(model)
    drawn = [ax.images[0].get_array() for ax in figure.axes if ax.images]
    assert len(drawn) == pictures
    weights = model.weight.array
    if weights.shape[1] == 3:
        np.testing.assert_allclose(
            drawn[5], 0.5 + weights[5].transpose(1, 2, 0) / (2 * np.abs(weights).max()), rtol=1e-6
        )
    else:
        np.testing.assert_array_equal(drawn[1], weights.reshape(-1, *weights.shape[2:])[1])


def test_figures_show_what_was_computed(rng: Any) -> None:
    model = random_residual(np.float32)
    x = rng.normal(size=(2, 3, 12, 10)).astype(np.float32)
    figure = plots.grad_cam_figure(model, x, [1, 2], names=["a", "b"], class_names=list("vwxyz"))
    titles = [ax.get_title() for ax in figure.axes]
    assert titles[:2] == ["a", "b"]
    assert [title[0] for title in titles[2:4]] == ["w", "x"]
    heat = plots.grad_cam(model, x, [1, 2])
    for i in range(2):
        np.testing.assert_array_equal(figure.axes[2 + i].images[1].get_array(), heat[i])
    with pytest.raises(ValueError, match="2 images, but 1 names"):
        plots.grad_cam_figure(model, x, names=["a"])
    maps = plots.feature_maps(model, x[0])
    drawn = plots.feature_maps_figure(model, x[0], channels=2)
    images = [ax.images[0].get_array() for ax in drawn.axes[1:]]
    assert len(images) == 4
    np.testing.assert_array_equal(images[3], maps["relu#2"][0, 1])
    with pytest.raises(ValueError, match="draws one image, got 2"):
        plots.feature_maps_figure(model, x)


HISTORY = [
    {"epoch": 1, "train_loss": 0.5, "test_loss": 0.4, "correct": 90, "total": 100, "seconds": 1.0},
    {"epoch": 2, "train_loss": 0.3, "test_loss": 0.2, "correct": 95, "total": 100, "seconds": 2.0},
]


def test_training_curves(tmp_path: Path) -> None:
    from minitorch_cnn.tools.training import Result

    run = {"options": {"model": "cnn"}, "history": HISTORY}
    (tmp_path / "first.json").write_text(json.dumps(run))
    for source in (run, tmp_path / "first.json", [Result(**r) for r in HISTORY]):
        (arrays,) = plots.curves(source).values()
        assert arrays["accuracy"].tolist() == [90, 95]
        assert arrays["train_loss"].tolist() == [0.5, 0.3]
    figure = plots.training_curves({"one": run, "two": tmp_path / "first.json"})
    labels = [line.get_label() for line in figure.axes[0].lines]
    assert labels == ["one, training", "one, test", "two, training", "two, test"]
    assert figure.axes[1].lines[1].get_ydata().tolist() == [90, 95]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained CNN, saved as train does."""
    from minitorch_cnn.tools import training

    path = tmp_path_factory.mktemp("run") / "cnn.pt"
    training.Run.start(training.Options()).save(path)
    return path


def invoke(*arguments: Any) -> Any:
    return runner.invoke(app, [str(a) for a in arguments], env={"COLUMNS": "200"})


def test_commands_on_a_checkpoint(checkpoint: Path, tmp_path: Path) -> None:
    Image.fromarray(np.eye(28, dtype=np.uint8) * 255).save(tmp_path / "digit.png")
    for name, images in [
        ("filters", []), ("maps", [7]), ("gradcam", [0, tmp_path / "digit.png", 9999]),
    ]:  # fmt: skip
        out = tmp_path / f"{name}.svg"
        result = invoke(name, checkpoint, *images, "-o", out)
        assert result.exit_code == 0, result.output
        assert result.stdout == f"wrote {out}\n"  # stderr may tell of compiling
        assert out.read_bytes().startswith(b"<?xml")


def test_commands_without_a_checkpoint(tmp_path: Path) -> None:
    run = tmp_path / "r.json"
    run.write_text(json.dumps({"history": HISTORY}))
    for arguments in [
        ("convolution", "--padding", 1), ("convolution", "--image", 5, "--panels", 2),
        ("pooling", "--mode", "average", "--image", "1 2; 3 4"), ("curves", run, run),
    ]:  # fmt: skip
        result = invoke(*arguments, "-o", tmp_path / "x.png")
        assert result.exit_code == 0, result.output
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> str:
    """A registered architecture for photos."""
    monkeypatch.delitem(ARCHITECTURES, "tiny_photo", raising=False)

    @architecture(input=(3, 32, 32))
    def tiny_photo(num_classes: int = 1000) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(3, 4, 5), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
            nn.Linear(16, num_classes),
        )  # fmt: skip

    yield "tiny_photo"
    del ARCHITECTURES["tiny_photo"]


def test_commands_on_an_architecture_with_weights(tiny: str, tmp_path: Path, rng: Any) -> None:
    model = ARCHITECTURES[tiny].builder()
    mt.save(model.state_dict(), tmp_path / "w.pth")
    photo = rng.integers(0, 256, (50, 60, 3), dtype=np.uint8)
    Image.fromarray(photo).save(tmp_path / "photo.png")
    out = tmp_path / "x.svg"
    weights = ("--weights", tmp_path / "w.pth")
    for name in ("gradcam", "maps"):
        result = invoke(name, "--model", tiny, *weights, tmp_path / "photo.png", "-o", out)
        assert result.exit_code == 0, result.output
    assert invoke("filters", "--model", tiny, *weights, "-o", out).exit_code == 0
    (tmp_path / "no.jpg").write_text("no")
    result = invoke("gradcam", "--model", tiny, tmp_path / "no.jpg", "-o", out)
    assert "not an image that Pillow can read" in str(result.exception)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["gradcam", "CHECKPOINT"], "give an image file"),
        (["gradcam"], "give a checkpoint"),
        (["gradcam", "CHECKPOINT", "0", "--weights", "x"], "--model"),
        (["gradcam", "CHECKPOINT", "10000"], "0..9999"),
        (["gradcam", "CHECKPOINT", "nothing.png"], "nothing.png"),
        (["gradcam", "CHECKPOINT", "0", "--layer", "fc"], "candidates are conv1"),
        (["gradcam", "--model", "nothing", "0"], "nothing"),
        (["maps", "CHECKPOINT", "0", "1"], "one image, got 2"),
        (["filters", "CHECKPOINT", "0"], "needs no image"),
        (["filters", "CHECKPOINT", "-o", "x.bmp"], "write one of .png"),
        (["convolution", "--kernel", "1,2;3"], "rows of equal length"),
        (["pooling", "--kernel", "9"], "does not fit"),
    ],
)
def test_commands_refuse(
    arguments: list[str], told: str, checkpoint: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    result = invoke(*(str(checkpoint) if a == "CHECKPOINT" else a for a in arguments))
    assert result.exit_code != 0
    assert told in re.sub(r"[\s│]+", " ", f"{result.output} {result.exception}")
    assert not list(tmp_path.iterdir())


def test_without_matplotlib_it_says_what_to_install(tmp_path: Path) -> None:
    code = """if True:
        import sys
        sys.modules["matplotlib"] = None  # what an import finds where it is not installed
        import numpy as np
        from minitorch_cnn.models import lecture
        from minitorch_cnn.tools import plots
        heat = plots.grad_cam(lecture.CNN(), np.ones((1, 28, 28)))  # arrays need no matplotlib
        assert heat.shape == (28, 28)
        try:
            plots.filters_figure(lecture.CNN())
        except ImportError as error:
            print(error)
        sys.argv = ["minitorch-cnn", "plot", "pooling"]
        from minitorch_cnn.cli import main
        try:
            main()
        except SystemExit as stop:
            print(stop.code)
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=120, check=True,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert all('pip install "minitorch-cnn[app]"' in line for line in lines)
    assert not list(tmp_path.iterdir())


def test_photos_are_turned_upright(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # a camera held on its side: turn clockwise by 90 degrees
    Image.fromarray(pixels).save(tmp_path / "side.png", exif=exif)
    prepare = ImageClassification(crop_size=24, resize_size=24)
    x, _, _ = subjects._Photos(prepare)(str(tmp_path / "side.png"))
    upright = Image.fromarray(np.rot90(pixels, -1).copy())
    np.testing.assert_array_equal(x[0].numpy(), prepare(upright).numpy())
