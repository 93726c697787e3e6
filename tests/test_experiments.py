"""Experiments: exact resume, refusals, records, tables and figures."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import minitorch_cnn as torch
from minitorch_cnn import datasets
from minitorch_cnn.cli import app
from minitorch_cnn.kernels import backend
from minitorch_cnn.nn import functional as F
from minitorch_cnn.tools import training
from minitorch_cnn.tools.experiments import bottleneck, common, lecture
from minitorch_cnn.tools.experiments.common import Experiment, execute, load, save
from minitorch_cnn.tools.machine import stopwatch
from minitorch_cnn.tools.presets import PRESETS
from minitorch_cnn.tools.training import Options

runner = CliRunner()

SMALL = Options(epochs=2, batch_size=32, train_images=256, test_images=100)
# Everything that draws random numbers or has a state: dropout, augmentation, a schedule, momentum.
RANDOM = Options(
    model="densenet",
    model_options={"growth_rate": 2, "block_config": [1, 1], "num_init_features": 4,
                   "num_classes": 10, "in_channels": 1, "drop_rate": 0.3},
    epochs=2, batch_size=32, lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4,
    schedule="onecycle", augment="affine", train_images=256, test_images=100,
)  # fmt: skip
BATCHES = 8


class Silent:
    """Progress that can call a function at the n-th batch of the experiment."""

    def __init__(self, at: int = 0, then: Any = None) -> None:
        self.batches, self.at, self.then = 0, at, then
        self.titles: list[str] = []

    def start(self, title: str) -> None:
        self.titles.append(title)

    def batch(self, *args: Any) -> None:
        self.batches += 1
        if self.batches == self.at:
            self.then()

    def epoch(self, result: training.Result) -> None:
        pass

    def stop(self) -> None:
        pass


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


class PowerCut(BaseException):
    """What no handler sees coming."""


def power_cut() -> None:
    raise PowerCut


def two_runs() -> Experiment:
    return Experiment("two", {"cnn-1": SMALL, "dense-2": replace(RANDOM, seed=2)})


def bits(out: Path, experiment: Experiment) -> dict[str, Any]:
    """All that must not depend on interruptions: curves and weights."""
    found: dict[str, Any] = {}
    for name, record in load(out / "results.json", experiment.name).items():
        assert not record.diverged
        history = [{k: v for k, v in h.items() if k != "seconds"} for h in record.history]
        network, _ = training.load_network(out / f"{name}.pt")
        weights = {k: v.numpy().tobytes() for k, v in network.state_dict().items()}
        found[name] = (record.options, history, weights)
    return found


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("unbroken")
    assert execute(two_runs(), out, Silent()) is not None
    return bits(out, two_runs())


@pytest.mark.parametrize("at", [1, BATCHES, BATCHES + 3, 2 * BATCHES + 1, 3 * BATCHES + 5])
def test_a_stopped_experiment_ends_with_the_same_bits(
    tmp_path: Path, unbroken: dict[str, Any], at: int
) -> None:
    first = Silent(at, interrupt)
    assert execute(two_runs(), tmp_path, first) is None
    second = Silent()
    assert execute(two_runs(), tmp_path, second) is not None
    assert first.batches + second.batches == 4 * BATCHES
    assert bits(tmp_path, two_runs()) == unbroken


@pytest.mark.parametrize("at", [2, 7, 2 * BATCHES + 7])
def test_a_power_cut_loses_only_what_came_after_the_last_checkpoint(
    tmp_path: Path, unbroken: dict[str, Any], at: int
) -> None:
    first = Silent(at, power_cut)
    with pytest.raises(PowerCut):
        execute(two_runs(), tmp_path, first, every=3)
    second = Silent()
    assert execute(two_runs(), tmp_path, second, every=3) is not None
    assert first.batches + second.batches - 4 * BATCHES == at % BATCHES % 3
    assert bits(tmp_path, two_runs()) == unbroken


def test_a_power_cut_before_the_record_repeats_nothing(
    tmp_path: Path, unbroken: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(common, "save", lambda *args: power_cut())
        with pytest.raises(PowerCut):
            execute(two_runs(), tmp_path, Silent())
    second = Silent()
    execute(two_runs(), tmp_path, second)
    assert second.batches == 2 * BATCHES
    assert bits(tmp_path, two_runs()) == unbroken


def test_finished_runs_are_not_repeated_and_more_can_be_added(tmp_path: Path) -> None:
    execute(Experiment("grows", {"cnn-1": SMALL}), tmp_path, Silent())
    before = load(tmp_path / "results.json", "grows")["cnn-1"]
    more = {"cnn-1": SMALL, "cnn-2": replace(SMALL, seed=2)}
    progress = Silent()
    records = execute(Experiment("grows", more), tmp_path, progress)
    assert progress.titles == ["run 2 of 2: cnn-2"]
    assert records is not None
    assert list(records) == ["cnn-1", "cnn-2"]
    assert records["cnn-1"] == before


@pytest.mark.parametrize("stop_at", [3, 0])
def test_other_settings_under_the_same_name_are_refused(tmp_path: Path, stop_at: int) -> None:
    """With a checkpoint (stopped at batch 3), and with a record."""
    execute(Experiment("e", {"cnn": SMALL}), tmp_path, Silent(stop_at, interrupt))
    files = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    other = Experiment("e", {"cnn": replace(SMALL, lr=0.5, augment="affine")})
    with pytest.raises(ValueError, match="cnn") as caught:
        execute(other, tmp_path, Silent())
    assert "lr was 0.01 and is now 0.5" in str(caught.value)
    assert "augment was 'none' and is now 'affine'" in str(caught.value)
    assert "momentum" not in str(caught.value)
    assert "--out" in str(caught.value)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == files


def test_where_the_images_lie_is_neither_recorded_nor_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute(Experiment("e", {"cnn": SMALL}), tmp_path, Silent(3, interrupt))
    elsewhere = replace(SMALL, data_dir=str(Path(datasets.__file__).parent / "mnist_data"))
    seen: list[Any] = []
    loaders = training.loaders
    monkeypatch.setattr(
        training, "loaders", lambda options: seen.append(options.data_dir) or loaders(SMALL)
    )
    assert execute(Experiment("e", {"cnn": elsewhere}), tmp_path, Silent()) is not None
    assert seen == [elsewhere.data_dir]
    assert "data_dir" not in (tmp_path / "results.json").read_text()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"format": "minitorch_cnn experiment 1", "experiment": "e", "ru',
        b"[1, 2]",
        b'{"runs": {}}',
        b'{"format": "minitorch_cnn experiment 9", "experiment": "e", "runs": {}}',
        b'{"format": "minitorch_cnn experiment 1", "experiment": "e", "runs": [1]}',
        b'{"format": "minitorch_cnn experiment 1", "experiment": "e", "runs": {"cnn": {"x": 1}}}',
        b"\x89PNG\xff\xfe\x00",
    ],
)
def test_a_damaged_results_file_is_named_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "results.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"results\.json is damaged.*--out"):
        execute(Experiment("e", {"cnn": SMALL}), tmp_path, Silent())
    assert path.read_bytes() == content


def test_results_of_another_experiment_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "results.json", "identity", {})
    with pytest.raises(ValueError, match=r"'identity', not 'e'.*--out"):
        execute(Experiment("e", {"cnn": SMALL}), tmp_path, Silent())


def test_a_run_that_diverges_is_recorded_and_the_others_go_on(tmp_path: Path) -> None:
    runs = {"wild": replace(SMALL, lr=1e30), "cnn": SMALL}
    records = execute(Experiment("e", runs), tmp_path, Silent())
    assert records is not None
    assert "loss became" in records["wild"].diverged
    assert records["wild"].history == []
    assert len(records["cnn"].history) == 2
    again = Silent()
    assert execute(Experiment("e", runs), tmp_path, again) == records
    assert again.batches == 0


def test_observations_and_facts_are_recorded(tmp_path: Path) -> None:
    def observe(run: training.Run) -> dict[str, Any]:
        return {"epoch": run.epoch, "norms": [float(p.norm()) for p in run.network.parameters()]}

    records = execute(Experiment("e", {"cnn": SMALL}, observe), tmp_path, Silent())
    assert records is not None
    history = records["cnn"].history
    assert [h["observed"]["epoch"] for h in history] == [1, 2]
    assert all(len(h["observed"]["norms"]) == 6 for h in history)
    assert history[0]["observed"]["norms"] != history[1]["observed"]["norms"]
    assert records["cnn"].machine["minitorch_cnn"]
    assert load(tmp_path / "results.json", "e") == records
    assert [h["train_total"] for h in history] == [256, 256]
    assert all(0 < h["train_correct"] < 256 for h in history)


# The runs themselves


@pytest.mark.parametrize(
    "wrong",
    [
        {"schedule": "random"},
        {"dataset": "imagenet"},
        {"augment": "all"},
        {"weight_decay": -1.0},
        {"train_images": 0},
        {"test_images": 0},
    ],
)
def test_options_refuse_nonsense(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Options(**wrong)


def test_a_model_without_options_takes_none() -> None:
    with pytest.raises(TypeError, match="cnn takes no options"):
        training.build(Options(model_options={"width": 3}))


@pytest.mark.parametrize("name", PRESETS)
def test_the_loss_fits_what_the_network_returns(name: str) -> None:
    network = training.build(PRESETS[name]).eval()
    with torch.no_grad():
        sums = network(torch.randn(2, 1, 28, 28)).exp().sum(dim=1).tolist()
    are_probabilities = sums == pytest.approx([1.0, 1.0], rel=1e-5)
    loss_of = training.loss_function(PRESETS[name].model)
    assert loss_of is (F.nll_loss if are_probabilities else F.cross_entropy)


def test_schedules() -> None:
    """The rates of the steps of four epochs with two steps each."""

    def rates(**changes: Any) -> list[float]:
        options = replace(SMALL, epochs=4, lr=0.5, train_images=64, test_images=1, **changes)
        run = training.Run.start(options)
        found: list[float] = []

        class Rates(Silent):
            def batch(self, *args: Any) -> None:
                found.append(run.optimizer.param_groups[0]["lr"])  # of the next step

        found.append(run.optimizer.param_groups[0]["lr"])
        run.fit(Rates())
        return found[:-1]

    assert rates() == rates(milestones=(1,)) == [0.5] * 8
    steps = rates(schedule="steps", milestones=(1, 3))
    assert steps == pytest.approx([0.5] * 2 + [0.05] * 4 + [0.005] * 2)
    cycle = rates(schedule="onecycle")
    assert cycle[0] == pytest.approx(0.5 / 25)
    assert max(cycle) > 0.4
    assert cycle[3:] == sorted(cycle[3:], reverse=True)
    assert 0 < cycle[-1] < 1e-4


def test_a_cycle_cannot_be_made_longer(tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    training.Run.start(RANDOM).save(path)
    with pytest.raises(ValueError, match="one-cycle schedule ends"):
        training.Run.resume(path, epochs=5)
    assert training.Run.resume(path, epochs=2).options == RANDOM


def test_augmentation_changes_training_images_only() -> None:
    def first_batches(**changes: Any) -> list[np.ndarray[Any, Any]]:
        loaders = training.loaders(replace(SMALL, **changes))
        assert loaders[0].generator is not None
        loaders[0].generator.manual_seed(5)
        return [next(iter(loader))[0].numpy() for loader in loaders]

    plain, again, moved = (
        first_batches(), first_batches(), first_batches(augment="affine")
    )  # fmt: skip
    assert np.array_equal(plain[0], again[0])
    assert not np.array_equal(plain[0], moved[0])
    assert plain[0].shape == moved[0].shape == (32, 1, 28, 28)
    assert np.array_equal(plain[1], moved[1])
    # Centres of mass: 8 % of 28 pixels are 2 steps of a pixel, and turning adds less than 2.
    ink = [(x[:, 0] - x.min()) for x in (plain[0], moved[0])]
    grid = np.arange(28.0)
    shift = [
        abs((x @ grid).sum(1) / x.sum((1, 2)) - (y @ grid).sum(1) / y.sum((1, 2)))
        for x, y in (ink, [i.swapaxes(1, 2) for i in ink])
    ]
    assert np.max(shift) < 4
    assert np.mean(shift) > 0.5


# The lecture's networks


@pytest.fixture
def tiny_lecture(monkeypatch: pytest.MonkeyPatch) -> Experiment:
    """Four networks of the lecture experiment, for a step or two."""
    monkeypatch.setattr(lecture, "TURNS", 1)
    whole = lecture.experiment([1, 2], epochs=1)
    runs = {
        name: replace(options, train_images=128, test_images=50)
        for name, options in whole.runs.items()
        if not name.startswith("inception")
    }
    return Experiment(whole.name, runs)


def test_lecture_writes_table_json_and_figure(tmp_path: Path, tiny_lecture: Experiment) -> None:
    report = lecture.run(tiny_lecture, tmp_path, Silent())
    assert report is not None
    assert (tmp_path / "lecture.md").read_text() == report + "\n"
    assert (tmp_path / "lecture.png").read_bytes().startswith(b"\x89PNG\r\n")
    rows = {r["network"]: r for r in json.loads((tmp_path / "lecture.json").read_text())["rows"]}
    assert list(rows) == ["cnn", "deeper", "resnet20", "densenet"]
    # By hand: 5x5x1x10+10, 5x5x10x20+20, 320x10+10; and 24x24 and 8x8 maps.
    assert rows["cnn"]["parameters"] == 260 + 5020 + 3210
    assert rows["cnn"]["macs"] == 24 * 24 * 250 + 8 * 8 * 5000 + 3200
    # resnet20's published 269,722 (10 classes, 3 channels) without two input channels of the stem.
    assert rows["resnet20"]["parameters"] == 269_722 - 2 * 9 * 16
    for row in rows.values():
        assert row["seeds"] == [1, 2]
        assert len(row["accuracy"]) == len(row["curves"]) == 2
        assert row["epoch_seconds"] > 0
        assert f"| {row['parameters']:,} | {row['macs']:,} |" in report
    records = load(tmp_path / "results.json", "lecture")
    last = records["deeper-2"].history[-1]
    assert rows["deeper"]["accuracy"][1] == pytest.approx(2 * last["correct"])  # of 50 images

    # Once more, from the records alone.
    again = Silent()
    lecture.run(tiny_lecture, tmp_path, again)
    assert again.batches == 0


def test_lecture_has_the_lectures_settings() -> None:
    runs = lecture.experiment([1, 2, 3]).runs
    assert len(runs) == 15
    for name in ("cnn", "inception", "deeper"):
        assert runs[f"{name}-3"] == Options(model=name, epochs=9, batch_size=64, lr=0.01,
                                            momentum=0.5, seed=3)  # fmt: skip
    assert {o.epochs for o in lecture.experiment([1], quick=True).runs.values()} == {1}
    assert {o.epochs for o in lecture.experiment([1], epochs=4).runs.values()} == {4}


def test_lecture_stopped_gives_no_table(tmp_path: Path, tiny_lecture: Experiment) -> None:
    assert lecture.run(tiny_lecture, tmp_path, Silent(3, interrupt)) is None
    assert not (tmp_path / "lecture.md").exists()


def test_results_of_train_are_taken_where_the_settings_are_the_same(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    this = Experiment("lecture", {"cnn-1": SMALL, "cnn-2": replace(SMALL, seed=2)})
    result = {"epoch": 1, "train_loss": 1.0, "test_loss": 1.0, "correct": 50, "total": 100,
              "seconds": 1.0}  # fmt: skip

    def write(name: str, options: Options, epochs: int) -> None:
        data = {"options": common.settings(options), "history": [result] * epochs}
        (theirs / name).write_text(json.dumps(data))

    write("stopped.json", SMALL, 1)
    write("other.json", replace(SMALL, lr=0.2), 2)
    write("equal.json", replace(SMALL, seed=2), 2)
    (theirs / "table.json").write_text('{"rows": []}')
    (theirs / "list.json").write_text("[]")
    out = tmp_path / "out"
    lecture.adopt(this, out, theirs)
    records = load(out / "results.json", "lecture")
    assert list(records) == ["cnn-2"]
    assert records["cnn-2"].machine == {"from": "equal.json"}
    progress = Silent()
    assert execute(this, out, progress) is not None
    assert progress.titles == ["run 1 of 2: cnn-1"]


def test_a_network_that_diverged_is_shown_as_such(tmp_path: Path) -> None:
    this = Experiment("lecture", {"cnn-1": replace(SMALL, lr=1e30)})
    report = lecture.run(this, tmp_path, Silent())
    assert report is not None
    assert "**diverged**" in report


# 1x1 convolutions


def test_bottleneck_counts_and_measures(tmp_path: Path) -> None:
    report = bottleneck.run(tmp_path, Silent(), batches=(1, 2), repeats=2)
    data = json.loads((tmp_path / "bottleneck.json").read_text())
    assert data["macs"] == {"conv5x5": 120_422_400, "bottleneck5x5": 12_443_648}
    assert "120,422,400" in report
    assert "12,443,648" in report
    assert (tmp_path / "bottleneck.md").read_text() == report + "\n"
    assert (tmp_path / "bottleneck.png").read_bytes().startswith(b"\x89PNG\r\n")
    assert len(data["timings"]) == 2 * 2 * 2
    for t in data["timings"]:
        assert 0 < t["low"] <= t["seconds"] <= t["high"]
        passes = 1 if t["what"] == "forward" else 3
        flops = 2 * data["macs"][t["network"]] * t["batch"] * passes
        assert t["gflops"] == pytest.approx(flops / t["seconds"] / 1e9)


def test_quartiles() -> None:
    assert bottleneck.quartiles([3.0]) == (3.0, 3.0, 3.0)
    assert bottleneck.quartiles([5.0, 1.0, 2.0, 4.0, 3.0]) == (2.0, 3.0, 4.0)


def timing(network: str, what: str, seconds: float, gflops: float) -> bottleneck.Timing:
    return bottleneck.Timing(network, 8, what, seconds, seconds, seconds, gflops)


def test_the_verdict_says_whether_time_follows_the_count() -> None:
    def verdict(forward: float, both: float) -> str:
        return bottleneck.verdict(
            [120_422_400, 12_443_648],
            [
                timing("conv5x5", "forward", forward, 50.0),
                timing("bottleneck5x5", "forward", 1.0, 50.0),
                timing("conv5x5", "forward + backward", both, 60.0),
                timing("bottleneck5x5", "forward + backward", 1.0, 20.0),
            ],
        )

    assert verdict(9.5, 9.8).startswith("Time follows")
    told = verdict(9.5, 3.2)
    assert told.startswith("Time does not follow")
    assert "3.2 to 9.5" in told
    assert "3.0 times fewer operations" in told
    # 28 x 28 floats of 192 + 32 channels; and of 192 + 16 + 16 + 32.
    assert bottleneck.map_bytes("conv5x5") == 784 * 4 * 224
    assert bottleneck.map_bytes("bottleneck5x5") == 784 * 4 * 256
    assert "31 operations for each byte, and the 5x5 convolution 343." in told


def test_one_thread_is_timed_by_the_processors_clock() -> None:
    threads = backend.get_num_threads()
    try:
        backend.set_num_threads(1)
        assert stopwatch("cpu")[1] == "processor time"
        if backend.available_cores() > 1:
            backend.set_num_threads(2)
            assert stopwatch("cpu")[1] == "wall clock"
    finally:
        backend.set_num_threads(threads)


def test_without_matplotlib_the_error_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(RuntimeError, match=r'pip install "minitorch-cnn\[app\]"'):
        bottleneck.run(tmp_path, Silent(), batches=(1,), repeats=1)
    with pytest.raises(RuntimeError, match="matplotlib"):
        lecture.run(lecture.experiment([1]), tmp_path, Silent())
    assert list(tmp_path.iterdir()) == []


# The command line


@pytest.fixture
def small_mnist(monkeypatch: pytest.MonkeyPatch) -> None:
    read = datasets.MNIST.__init__

    def shortened(self: Any, *args: Any, **kwargs: Any) -> None:
        read(self, *args, **kwargs)
        self.data, self.targets = self.data[:256], self.targets[:256]

    monkeypatch.setattr(datasets.MNIST, "__init__", shortened)


@pytest.mark.usefixtures("small_mnist")
def test_lecture_from_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(lecture, "TITLES", {"cnn": "CNN", "deeper": "deeper CNN"})
    done = runner.invoke(app, ["experiment", "lecture", "--quick"])
    assert done.exit_code == 0, done.output
    assert "run 2 of 2: deeper-1" in done.output
    assert "epoch 1: training loss" in done.output
    assert "| CNN | 8,490 |" in done.output
    folder = Path("experiments/lecture-quick")
    assert {p.name for p in folder.iterdir()} == {
        "results.json", "cnn-1.pt", "deeper-1.pt", "lecture.json", "lecture.md", "lecture.png"
    }  # fmt: skip


@pytest.mark.usefixtures("small_mnist")
def test_a_stop_on_the_command_line_ends_with_130_and_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*args: Any) -> None:
        return None

    monkeypatch.setattr(lecture, "run", stopped)
    done = runner.invoke(app, ["experiment", "lecture", "--out", str(tmp_path / "here")])
    assert done.exit_code == 130
    assert "here: the same command continues" in done.output


@pytest.mark.usefixtures("small_mnist")
@pytest.mark.parametrize("model", ["resnet20", "densenet"])
def test_train_and_evaluate_a_modern_network(tmp_path: Path, model: str) -> None:
    done = runner.invoke(
        app, ["train", model, "--epochs", "1", "--checkpoint-dir", str(tmp_path),
              "--results", str(tmp_path / "r.json")]
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    options = json.loads((tmp_path / "r.json").read_text())["options"]
    assert common.settings(Options(**options)) == common.settings(replace(PRESETS[model], epochs=1))
    loss = json.loads((tmp_path / "r.json").read_text())["history"][0]["test_loss"]
    told = runner.invoke(app, ["evaluate", str(tmp_path / f"{model}.pt")])
    assert f"Average loss: {loss:.4f}" in told.output


def test_help_lists_the_experiments() -> None:
    told = runner.invoke(app, ["experiment", "--help"]).output
    for name in ("lecture", "bottleneck"):
        assert name in told
        assert "--quick" in runner.invoke(app, ["experiment", name, "--help"]).output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nothing"], "nothing"),
        (["lecture", "--seeds", "1,x"], "write whole numbers"),
        (["lecture", "--seeds", "1,1"], "seeds must be different"),
        (["lecture", "--epochs", "0"], "epochs"),
        (["lecture", "--threads", "0"], "threads"),
        (["lecture", "--device", "cuda"], "--device cuda"),
        (["bottleneck", "--device", "cuda"], "--device cuda"),
        (["lecture", "--out", "damaged"], "results.json is damaged"),
        (["lecture", "--out", "damaged/results.json"], "results.json"),
    ],
)
def test_mistakes_get_one_sentence(tmp_path: Path, arguments: list[str], told: str) -> None:
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "results.json").write_text("{")
    done = subprocess.run(
        [sys.executable, "-m", "minitorch_cnn.cli", "experiment", *arguments],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent),
             "CUDA_VISIBLE_DEVICES": ""},
    )  # fmt: skip
    assert done.returncode != 0
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "damaged" / "results.json").read_text() == "{"
