"""The benchmarks' harness, on workloads and a clock that are made up; nothing here is timed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from minitorch_cnn.benchmarks import conv2d, figures, harness, machine, readme, report, suite
from minitorch_cnn.benchmarks.harness import Case, Options, Plan, WrongResultError
from minitorch_cnn.cli import app

QUICK = Options(quick=True, threads=(1,))
MACHINE = {"processor": "P", "cores": 2, "vector_bits": 512, "python": "3", "torch": "2"}


class FakeTime:
    """A clock that only the workloads advance."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[str] = []

    def read(self) -> float:
        return self.now

    def workload(self, name: str, *seconds: float) -> Callable[[], np.ndarray[Any, Any]]:
        """A call that takes ``seconds``, one after another, and the last of them from then on."""
        durations = iter(seconds)

        def call() -> np.ndarray[Any, Any]:
            self.calls.append(name)
            self.now += next(durations, seconds[-1])
            return np.ones(3, np.float32)

        return call


def test_ratio_is_the_median_over_blocks_of_medians() -> None:
    fake = FakeTime()
    # One call to learn how long it takes; per block one that is dropped and two that count.
    ours = fake.workload("ours", 0.1, 9, 0.1, 0.1, 9, 0.2, 0.2, 9, 0.4, 0.4)
    theirs = fake.workload("pytorch", 0.1)
    case = Case({"ours": ours, "pytorch": theirs})
    found = harness.measure(case, Plan(seconds=0.6, blocks=3), fake.read)
    assert found["reference"] == "pytorch"
    assert found["seconds"]["ours"] == pytest.approx([0.2, 0.1, 0.4])
    assert found["ratio"]["ours"] == pytest.approx([2.0, 1.0, 4.0])
    assert fake.calls == ["ours", "pytorch"] + 3 * (["ours"] * 3 + ["pytorch"] * 3)


def test_first_calls_of_a_block_are_dropped_until_threads_have_settled() -> None:
    fake = FakeTime()
    short = harness.SETTLE / 3.5
    case = Case({"ours": fake.workload("ours", short), "pytorch": fake.workload("pytorch", short)})
    harness.measure(case, Plan(seconds=2 * short, blocks=1), fake.read)
    assert fake.calls.count("ours") == 1 + 4 + 2


def test_a_long_call_is_not_repeated_to_settle() -> None:
    fake = FakeTime()
    long = 2 * harness.LONG
    case = Case({"ours": fake.workload("ours", long), "pytorch": fake.workload("pytorch", long)})
    harness.measure(case, Plan(seconds=0.1, blocks=3), fake.read)
    assert fake.calls.count("ours") == 3


def test_the_quicker_layout_is_the_reference_and_a_hopeless_one_is_not_timed() -> None:
    fake = FakeTime()
    sides = {
        "ours": fake.workload("ours", 0.2),
        "pytorch": fake.workload("pytorch", 0.11),
        "pytorch channels_last": fake.workload("channels_last", 0.1),
        "pytorch slow": fake.workload("slow", 0.5),
    }
    case = Case(sides, references=tuple(sides)[1:])
    found = harness.measure(case, Plan(seconds=0.2, blocks=2), fake.read)
    assert found["reference"] == "pytorch channels_last"
    assert found["ratio"]["ours"][0] == pytest.approx(2.0)
    assert found["ratio"]["pytorch"][0] == pytest.approx(1.1)
    assert found["too_slow"] == {"pytorch slow": 0.5}
    assert fake.calls.count("slow") == 1


@pytest.mark.parametrize(
    ("ours", "why"),
    [
        (np.array([1, 2.01, 4]), "of the largest value away"),
        (np.array([1, np.nan, 4]), "of the largest value away"),
        (np.array([1, 2]), "shape"),
    ],
)
def test_a_wrong_result_is_refused_before_timing(
    ours: np.ndarray[Any, Any], why: str, tmp_path: Path
) -> None:
    right = np.array([1.0, 2.0, 4.0])
    timed = []
    case = Case({"ours": lambda: ours, "pytorch": lambda: timed.append(1) or right})
    with pytest.raises(WrongResultError, match=why):
        harness.check(case)
    fine = dict.fromkeys(("ours", "another way", "pytorch"), lambda: right)
    right_case = Case(fine, extras=("another way",), flops=8)
    cases = [("wrong", lambda: case), ("right", lambda: right_case)]
    timed.clear()
    options = Options(quick=True, threads=(2, 1), out=tmp_path)
    results = harness.run("made_up", cases, options)
    assert len(timed) == 1  # computed to compare, and never again
    refused, measured, serial = json.loads((tmp_path / "made_up.json").read_text())["rows"]
    assert why in refused["refused"]
    assert "seconds" not in refused
    assert measured["gflops"] > 0
    assert (measured["threads"], list(measured["ratio"])) == (2, ["ours", "another way"])
    assert (serial["threads"], list(serial["ratio"])) == (1, ["ours"])
    assert results.data["complete"]


def test_difference_is_relative_to_the_largest_value_of_each_array() -> None:
    a, b = [np.array([10.0, 0.5]), np.array([2.0])], [np.array([10.0, 0.4]), np.array([2.0])]
    assert harness.difference(a, b) == pytest.approx(0.01)
    assert harness.difference((), ()) == 0
    assert harness.difference(np.zeros((0, 2)), np.zeros((0, 2))) == 0


def test_what_was_measured_survives_ctrl_c(tmp_path: Path) -> None:
    def interrupted() -> Case:
        raise KeyboardInterrupt

    ones = np.ones(2)
    fine = Case({"ours": lambda: ones, "pytorch": lambda: ones})
    with pytest.raises(KeyboardInterrupt):
        harness.run("made_up", [("fine", lambda: fine), ("next", interrupted)],
                    Options(quick=True, threads=(1,), out=tmp_path))  # fmt: skip
    data = json.loads((tmp_path / "made_up.json").read_text())
    assert [row["case"] for row in data["rows"]] == ["fine"]
    assert not data["complete"]
    assert [path.name for path in tmp_path.iterdir()] == ["made_up.json"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    harness.write_json(path, {"rows": [1]})
    with pytest.raises(TypeError):
        harness.write_json(path, {"rows": object()})
    assert json.loads(path.read_text()) == {"rows": [1]}
    harness.write_json(path, {"rows": [2]})
    assert json.loads(path.read_text()) == {"rows": [2]}


def test_replace_changes_only_what_is_between_the_markers(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("head\n<!-- a: begin -->\nold\n<!-- a: end -->\ntail <!-- b: begin -->\n")
    readme.replace("a", "| new |", page)
    assert page.read_text() == (
        "head\n<!-- a: begin -->\n| new |\n<!-- a: end -->\ntail <!-- b: begin -->\n"
    )
    with pytest.raises(ValueError, match="no markers <!-- b: begin -->"):
        readme.replace("b", "text", page)


def results(name: str, rows: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {"name": name, "command": f"minitorch-cnn bench {name}", "quick": False,
            "complete": True, "machine": MACHINE, "rows": rows, **more}  # fmt: skip


def timing(case: str, ratio: float, threads: int, **more: Any) -> dict[str, Any]:
    spread = [ratio, ratio - 0.1, ratio + 0.1]
    return {"case": case, "threads": threads, "reference": "pytorch", "ratio": {"ours": spread},
            "seconds": {"ours": [0.01 * ratio] * 3, "pytorch": [0.01] * 3},
            "flops": 1e9, "nbytes": 1e6, **more}  # fmt: skip


def test_train_step_table_has_medians_ranges_memory_and_the_geometric_mean() -> None:
    rows = [timing("A", 0.5, 2, batch=64), timing("B", 2.0, 2, batch=8)]
    side = {"peak_bytes": 3e6, "losses": [2.5, 1.5]}
    memory = [{"case": "A", "ours": side, "pytorch": {**side, "peak_bytes": 6e6}}]
    lines = report.train_step(results("train_step", rows, memory=memory)).splitlines()
    assert lines[2] == "| A | 64 | 10 | 5 | 0.50 (0.40..0.60) | 3 | 6 | 2.50 to 1.50 |"
    assert lines[3] == "| B | 8 | 10 | 20 | 2.00 (1.90..2.10) |  |  |  |"
    assert "| geometric mean |  |  |  | **1.00** |" in lines[4]
    assert "`minitorch-cnn bench train_step`" in lines[-1]


def test_ops_table_gives_mean_and_worst_of_each_family_and_thread_count() -> None:
    fact = {"family": "relu", "direction": "forward"}
    rows = [timing("a", 0.5, 2, **fact), timing("b", 2.0, 2, **fact), timing("a", 0.8, 1, **fact),
            {"case": "c", "refused": "wrong"}]  # fmt: skip
    lines = report.ops({"pool": results("pool", rows)}).splitlines()
    assert "| mean ratio, 2 threads | worst | mean ratio, 1 thread | worst |" in lines[0]
    assert lines[2] == "| relu, forward | 2 | **1.00** | 2.00 | **0.80** | 0.80 |"


def test_report_of_another_folder_leaves_the_readme_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readme, "replace", lambda *_: pytest.fail("wrote into the README"))
    fact = {"family": "relu", "direction": "forward"}
    harness.write_json(
        tmp_path / "pool.json", results("pool", [timing("relu 2x2", 0.5, 1, **fact)])
    )
    harness.write_json(tmp_path / "other.json", {"rows": "of another script"})
    assert report.write(tmp_path) == [tmp_path / "RESULTS.md"]
    assert "| relu 2x2 | 10 | 5 | 0.50 (0.40..0.60) |" in (tmp_path / "RESULTS.md").read_text()
    with pytest.raises(ValueError, match="holds no results"):
        report.write(tmp_path / "nowhere")


def test_readme_has_a_place_for_each_table() -> None:
    text = readme.README.read_text(encoding="utf-8")
    for name in (*report.IN_README, "ops"):
        assert text.count(f"<!-- {name}: begin -->") == text.count(f"<!-- {name}: end -->") == 1


def test_figures_are_drawn(tmp_path: Path) -> None:
    layer = {"direction": "forward", "kernel": [3, 3]}
    point = {"varied": "depth", "value": 18, "batch": 4, "macs": 1e9,
             "seconds": {"ours": [0.1], "pytorch": [0.2]},
             "peak_bytes": {"ours": 1e6, "pytorch": 2e6}}  # fmt: skip
    found = {
        "train_step": results("train_step", [timing("A", 0.5, 2), timing("A", 0.6, 1)]),
        "conv2d": results("conv2d", [timing("B", 0.5, 2, **layer)]),
        "scaling": results("scaling", [point, {**point, "value": 34}]),
        "inference": results("inference", [{"case": "C", "refused": "wrong"}]),
    }
    written = figures.draw(found, tmp_path)
    assert {path.name for path in written} == {"train_step.png", "conv2d.png", "scaling.png"}
    assert all(path.stat().st_size > 5000 for path in written)


def test_every_convolution_of_the_networks_is_found() -> None:
    """Counts by the papers' tables, projections of the shortcuts included."""
    found: dict[str, int] = {}
    layers = conv2d.inventory()
    for counts in layers.values():
        for network, count in counts.items():
            found[network] = found.get(network, 0) + count
    assert found == {
        "lecture CNN": 2, "Inception net": 16, "ResNet-18, 32x32": 20, "ResNet-50": 53,
        "DenseNet-121": 120, "Inception v3": 94, "Inception v4": 149,
    }  # fmt: skip
    labels = [layer.label for layer in layers]
    assert len(set(labels)) == len(labels)
    stem = next(layer for layer in layers if layer.weight == (64, 3, 7, 7))
    assert stem.label == "7x7 3->64 @224x224 batch 8 stride 2"
    assert stem.y == (8, 64, 112, 112)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peaks restart on Linux")
def test_peak_memory_counts_from_the_restart() -> None:
    held = machine.restart_peak()
    assert np.ones(10_000_000).sum() == 1e7
    assert 75e6 <= machine.peak() - held < 120e6
    held = machine.restart_peak()
    assert machine.peak() - held < 20e6


def test_command_line_runs_a_script(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "minitorch_cnn.cli", "bench", "softmax", "report", "--quick",
               "--threads", "1", "--only", "log_softmax", "--out", str(tmp_path)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "softmax (1 of 2" in done.stdout
    data = json.loads((tmp_path / "softmax.json").read_text())
    assert data["complete"]
    assert [row["case"] for row in data["rows"]] == [
        "log_softmax 64x10 forward", "log_softmax 64x10 backward",
    ]  # fmt: skip
    assert all(row["errors"]["ours"] < 1e-4 for row in data["rows"])
    assert "log_softmax 64x10 forward" in (tmp_path / "RESULTS.md").read_text()


def test_command_line_lists_and_refuses() -> None:
    listed = CliRunner().invoke(app, ["bench"]).output
    assert all(name in listed for name in suite.MINUTES)
    for arguments, message in ((["nonsense"], "no benchmark nonsense"),
                               (["pool", "--threads", "two"], "as in 2,1")):  # fmt: skip
        refused = CliRunner().invoke(app, ["bench", *arguments])
        assert isinstance(refused.exception, ValueError)
        assert message in str(refused.exception)


def test_without_pytorch_there_is_a_sentence_and_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(sys, "argv", ["pool.py", "--quick"])
    from minitorch_cnn.benchmarks import pool

    with pytest.raises(SystemExit, match="pip install torch"):
        harness.main("Pool?", pool.run)
