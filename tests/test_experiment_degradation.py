"""The experiments degradation and identity: exact resume, records, gradients by hand, verdicts."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from typer.testing import CliRunner

import minitorch_cnn
from minitorch_cnn import models
from minitorch_cnn.cli import app
from minitorch_cnn.tools import training
from minitorch_cnn.tools.experiments import degradation, identity, residual
from minitorch_cnn.tools.experiments.common import Experiment, Record, execute

from .models import common as zoo

BATCH, BATCHES = 4, 3


class Stop(BaseException):
    """What no handler sees coming."""


class Silent:
    """Progress without a word, which may stop the experiment at its n-th batch."""

    def __init__(self, at: int = 0) -> None:
        self.batches, self.at = 0, at

    def start(self, title: str) -> None:
        pass

    def batch(self, *args: Any) -> None:
        self.batches += 1
        if self.batches == self.at:
            raise Stop

    def epoch(self, result: training.Result) -> None:
        pass

    def stop(self) -> None:
        pass


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(residual, "BATCH", BATCH)
    monkeypatch.setattr(residual, "BATCHES", BATCHES)
    monkeypatch.setattr(residual, "TEST_IMAGES", 10)
    monkeypatch.setattr(identity, "IMAGES", 4)


def tiny_degradation() -> Experiment:
    return degradation.experiment((20, 32), epochs=2, dataset="mnist")


def tiny_identity(names: tuple[str, ...] = ("identity", "dropout")) -> Experiment:
    made = identity.experiment(quick=True, dataset="mnist")
    return replace(made, runs={name: made.runs[name] for name in names})


def outcome(out: Path, experiment: Experiment) -> dict[str, Any]:
    """All that must not depend on interruptions: curves, observations and weights."""
    found = {}
    for name, record in json.loads((out / "results.json").read_text())["runs"].items():
        history = [{k: v for k, v in h.items() if k != "seconds"} for h in record["history"]]
        network, _ = training.load_network(out / f"{name}.pt")
        weights = {k: v.numpy().tobytes() for k, v in network.state_dict().items()}
        found[name] = (record["options"], history, weights)
    assert list(found) == list(experiment.runs)
    return found


def png_size(path: Path) -> tuple[int, int]:
    head = path.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", head[16:])
    return width, height


@pytest.mark.parametrize(
    ("make", "run", "name"),
    [(tiny_degradation, degradation.run, "degradation"), (tiny_identity, identity.run, "identity")],
)
def test_a_broken_experiment_ends_with_the_same_bits_table_and_figure(
    tmp_path: Path, make: Callable[[], Experiment], run: Callable[..., Any], name: str
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    report = run(make(), whole, Silent())
    for at in (BATCHES + 1, 2):  # in the second epoch; then in what remained of it
        with pytest.raises(Stop):
            run(make(), broken, Silent(at))
        assert not (broken / f"{name}.png").exists()
    assert run(make(), broken, Silent()) == report
    assert outcome(broken, make()) == outcome(whole, make())
    assert (whole / f"{name}.md").read_text(encoding="utf-8") == report + "\n"
    width, height = png_size(whole / f"{name}.png")
    assert width > height > 300


def test_records_hold_what_a_figure_needs(tmp_path: Path) -> None:
    identity.run(tiny_identity(), tmp_path, Silent())
    data = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert data["experiment"] == "identity"
    for name, record in data["runs"].items():
        options = record["options"]
        assert options["model"] == "preact_resnet20"
        assert options["model_options"]["shortcut"] == identity.VARIANTS[name].shortcut
        assert (options["lr"], options["momentum"], options["weight_decay"]) == (0.1, 0.9, 1e-4)
        assert "data_dir" not in options
        first, second = record["history"]
        assert first["train_total"] == BATCH * BATCHES
        assert set(first["observed"]) == {"start", "now"}
        assert set(second["observed"]) == {"now"}
        for norms in (*first["observed"].values(), *second["observed"].values()):
            assert list(norms) == ["all", "shortcuts"]
            assert all(len(values) == 9 + 1 for values in norms.values())
            assert norms["all"][-1] == norms["shortcuts"][-1] > 0
    record = Record(**data["runs"]["identity"])
    assert residual.iterations(record) == [BATCHES, 2 * BATCHES]


def test_observing_changes_nothing(tmp_path: Path) -> None:
    seen, unseen = tmp_path / "seen", tmp_path / "unseen"
    execute(tiny_identity(("dropout",)), seen, Silent())
    execute(replace(tiny_identity(("dropout",)), observe=None), unseen, Silent())
    assert (
        outcome(seen, tiny_identity(("dropout",)))["dropout"][2]
        == (outcome(unseen, tiny_identity(("dropout",)))["dropout"][2])
    )


def forward_by_hand(network: Any, x: torch.Tensor, constant: bool) -> tuple[Any, list[Any]]:
    """Logits and x_0 ... x_L of a pre-activation network in PyTorch, written out."""
    x = torch.relu(network.bn1(network.conv1(x)))
    xs = [x]
    for stage in (network.layer1, network.layer2, network.layer3):
        for block in stage:
            branch = block.conv1(torch.relu(block.bn1(x)))
            branch = block.conv2(torch.relu(block.bn2(branch)))
            x = block.shortcut(x, branch.detach() if constant else branch)
            xs.append(x)
    return network.fc(torch.relu(network.bn2(x)).mean(dim=(2, 3))), xs


@pytest.mark.parametrize("shortcut", ["identity", "scale", "shortcut_gate", "conv1x1"])
def test_gradient_norms_are_those_by_hand(shortcut: str) -> None:
    options = {"width": 3, "in_channels": 1, "block": "preact", "shortcut": shortcut}
    ours = models.cifar_resnet(14, **options).double()
    theirs = zoo.in_pytorch("cifar_resnet").cifar_resnet(14, **options).double()
    theirs.load_state_dict({k: torch.from_numpy(v.numpy()) for k, v in ours.state_dict().items()})
    x, labels = np.random.default_rng(1).normal(0, 1, (5, 1, 12, 10)), np.array([3, 1, 4, 1, 5])
    found = identity.gradient_norms(
        ours, minitorch_cnn.from_numpy(x), minitorch_cnn.from_numpy(labels)
    )
    for path, constant in (("all", False), ("shortcuts", True)):
        logits, xs = forward_by_hand(theirs, torch.from_numpy(x), constant)
        gradients = torch.autograd.grad(F.cross_entropy(logits, torch.from_numpy(labels)), xs)
        expected = [float(g.norm()) for g in gradients]
        assert found[path] == pytest.approx(expected, rel=1e-9)


def norms_of(options: dict[str, Any], depth: int = 26) -> dict[str, list[float]]:
    minitorch_cnn.manual_seed(5)
    network = models.cifar_resnet(depth, width=4, in_channels=1, stem_stride=2, **options)
    x = minitorch_cnn.randn(6, 1, 28, 28)
    return identity.gradient_norms(network, x, minitorch_cnn.arange(6))


def test_the_sum_of_an_identity_and_the_product_of_a_scale() -> None:
    plain = norms_of({"block": "preact", "shortcut": "identity"})["shortcuts"]
    scaled = {"block": "preact", "shortcut": "scale", "shortcut_options": {"scale": 0.5}}
    halved = norms_of(scaled)["shortcuts"]
    # Blocks 9, 10 and 11 do not change the shape; x_12 is the last one's output.
    assert plain[9:] == pytest.approx([plain[12]] * 4, rel=1e-5)
    assert halved[9:] == pytest.approx([halved[12] * 0.5**k for k in (3, 2, 1, 0)], rel=1e-5)
    # Nor do 5, 6, 7 and 1, 2, 3; 8 and 4 do, and option A drops what its zeros would receive.
    for first in (5, 1):
        assert plain[first : first + 4] == pytest.approx([plain[first]] * 4, rel=1e-5)
        assert plain[first] < plain[first + 4]
        expected = [halved[first] * 2.0**k for k in range(4)]
        assert halved[first : first + 4] == pytest.approx(expected, rel=1e-5)


def test_no_shortcut_hands_nothing_back_and_the_network_is_left_alone() -> None:
    found = norms_of({"block": "preact", "shortcut": "none"}, depth=8)
    assert found["shortcuts"][:-1] == [0, 0, 0]
    assert min(found["all"]) > 0
    network = models.cifar_resnet(8, width=2, in_channels=1)
    before = {k: v.numpy().copy() for k, v in network.state_dict().items()}
    identity.gradient_norms(network, minitorch_cnn.randn(4, 1, 9, 9), minitorch_cnn.arange(4))
    assert all((v.numpy() == before[k]).all() for k, v in network.state_dict().items())
    assert all(p.grad is None for p in network.parameters())


def test_original_blocks_are_measured_too() -> None:
    found = norms_of({"shortcut": "identity"}, depth=8)
    assert found["shortcuts"][0] <= found["shortcuts"][-1]
    assert min(found["all"]) > 0


def record(errors: list[float], diverged: str = "", observed: list[Any] | None = None) -> Record:
    """A finished run with these training errors in percent (and half of them as test errors)."""
    history = [
        {"epoch": i, "train_total": 1000, "train_correct": round(1000 - 10 * e), "total": 2000,
         "correct": round(2000 - 10 * e), "observed": observed[i - 1] if observed else {}}
        for i, e in enumerate(errors, 1)
    ]  # fmt: skip
    options = {
        "batch_size": 100, "epochs": 2, "train_images": 1000, "dataset": "mnist",
        "augment": "affine", "model": "preact_resnet20", "model_options": {"width": 8},
    }  # fmt: skip
    return Record(options, history, diverged, {})


def test_verdicts_follow_the_numbers() -> None:
    records = {
        "plain20": record([50, 10]), "resnet20": record([50, 9]),
        "plain32": record([60, 15]), "resnet32": record([50, 8.5]),
        "plain56": record([90, 80]), "resnet56": record([50, 9.5]),
    }  # fmt: skip
    text = degradation.table(records)
    assert "| 56 | **80.00** | 40.00 | **9.50** | 4.75 |" in text
    assert (
        "Plain networks: 56 layers end with 70.00 points more training error than 20 (80.00 against"
        " 10.00 %): degradation, with every step in depth." in text
    )
    assert "Residual networks: 56 layers end with 0.50 points more" in text
    assert text.endswith("(9.50 against 9.00 %): no degradation.")

    records["plain32"] = record([99, 81])
    assert degradation.table(records).count("every step") == 0
    assert degradation.verdict("plain", records).endswith(": degradation.")
    records["plain56"] = record([60, 2])
    assert degradation.verdict("plain", records) == (
        "Plain networks: 56 layers end with 8.00 points less training error than 20 (2.00 against"
        " 10.00 %): no degradation."
    )
    records["plain56"] = record([], diverged="the training loss became nan")
    assert "Plain networks: 56 layers diverged; 32 layers end" in degradation.table(records)
    assert "| 56 | **–** | – |" in degradation.table(records)
    lonely = {name: records[name] for name in ("plain56", "resnet56")}
    assert degradation.verdict("resnet", lonely).endswith("nothing to compare.")


def test_identity_table_and_verdict() -> None:
    norms = {"all": [6.0, 2.0], "shortcuts": [0.5, 2.0]}
    later = {"all": [1.0, 4.0], "shortcuts": [0.0, 4.0]}
    observed = [{"start": norms, "now": norms}, {"now": later}]
    records = {
        "identity": record([50, 10], observed=observed),
        "scale": record([50, 12], observed=observed),
        "dropout": record([50, 10.5], observed=observed),
        "none": record([50, 8], observed=observed),
        "conv1x1": record([], diverged="the training loss became inf"),
    }
    text = identity.table(records)
    assert "| scale | 0.5 x + F | **12.00** | 6.00 | fails | 3, 0.25 | 0.25, 0 |" in text
    assert "| conv1x1 | W x + F | **–** | – | 12.22 | – | – |" in text
    assert text.endswith(
        "Diverged: conv1x1. At least a point more training error than identity: scale. "
        "At least a point less training error than identity: none."
    )
    assert identity.verdict({"identity": record([1]), "scale": record([1.5])}).startswith("No var")
    assert identity.verdict({"scale": record([1])}) == "Nothing to compare."


def test_cifar10_is_taken_where_it_lies(tmp_path: Path) -> None:
    assert residual.find_data(tmp_path) == "mnist"
    (tmp_path / "cifar-10-python.tar.gz").touch()
    assert residual.find_data(tmp_path) == "cifar10"
    for experiment in (
        degradation.experiment(data_dir=tmp_path), identity.experiment(data_dir=tmp_path)
    ):  # fmt: skip
        for options in experiment.runs.values():
            assert (options.dataset, options.augment) == ("cifar10", "crop-flip")
            assert options.model_options["in_channels"] == 3
            assert options.data_dir == str(tmp_path)


def test_sizes_of_the_experiments() -> None:
    assert list(degradation.experiment(dataset="mnist").runs) == [
        f"{family}{depth}" for depth in (20, 32, 44, 56) for family in ("plain", "resnet")
    ]
    assert list(degradation.experiment(quick=True).runs) == [
        "plain20", "resnet20", "plain56", "resnet56"
    ]  # fmt: skip
    assert degradation.experiment(epochs=12).runs["plain20"].milestones == (6, 9)
    assert identity.experiment(epochs=3).runs["scale"].milestones == ()
    assert {o.model for o in identity.experiment(block="original").runs.values()} == {"resnet56"}


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match=r"no networks of depth \[50\]; there are 20, 32, 44"):
        degradation.experiment((20, 50))
    with pytest.raises(ValueError, match=r"must be one of mnist, cifar10; got 'svhn'"):
        identity.experiment(dataset="svhn")
    with pytest.raises(ValueError, match="'bottleneck'"):
        identity.experiment(block="bottleneck")


def test_commands(tmp_path: Path) -> None:
    def call(*arguments: str) -> Any:
        return CliRunner().invoke(
            app, ["experiment", *arguments, "--dataset", "mnist", "--epochs", "1"]
        )

    out = tmp_path / "d"
    result = call("degradation", "--depths", "20", "--seed", "7", "--out", str(out))
    assert result.exit_code == 0, result.output
    assert "| layers | plain: training error" in result.output
    assert json.loads((out / "results.json").read_text())["runs"]["plain20"]["options"]["seed"] == 7
    out = tmp_path / "i"
    result = call("identity", "--quick", "--block", "original", "--out", str(out))
    assert result.exit_code == 0, result.output
    assert "| shortcut-gate-6 |" in result.output
    assert png_size(out / "identity.png")
    assert "'20,x'" in str(call("degradation", "--depths", "20,x").exception)
