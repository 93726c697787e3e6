"""``minitorch-cnn kernels``: the list, the sources, and runs on the emulator."""

from __future__ import annotations

import ast
import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from minitorch_cnn.cli import app
from minitorch_cnn.kernels import cuda_source, emulator
from minitorch_cnn.tools.kernel_reader import commands, running, sources
from minitorch_cnn.tools.kernel_reader.examples import EXAMPLES

runner = CliRunner()
needs_emulator = pytest.mark.skipif(
    emulator.why_unavailable() is not None and not os.environ.get("CI"),
    reason=str(emulator.why_unavailable()),
)


def invoke(*arguments: str, fails: int = 0) -> str:
    result = runner.invoke(app, ["kernels", *arguments], terminal_width=200)
    assert result.exit_code == fails, result.output
    return result.output


def test_the_list_has_every_kernel_of_every_cu_file() -> None:
    text = invoke()
    assert text == invoke("list")
    rows = [line.split() for line in text.splitlines()]
    for module in sources.modules():
        for name in cuda_source.kernels(sources.FOLDER / f"{module}.cu"):
            assert any(row[:2] == [module, name] and ".cu" in row[2:4] for row in rows), name
    assert "y = e^x / sum of e^x" in text
    assert "block (16, 16), grid (ceil(N / 16), ceil(M / 16), B)" in text
    entries = {(e.module, e.name): e for m in sources.modules() for e in sources.entries(m)}
    assert all(e.summary for e in entries.values())
    assert entries["gemm", "gemm"].cuda is None
    assert entries["conv2d", "add_slices"].cpu == ()


@pytest.mark.parametrize(
    ("module", "name", "cpu"),
    [
        ("pool", "max_pool2d", ["_max_pool2d", "max_pool2d"]),
        ("pool", "_max_pool2d", ["_max_pool2d", "max_pool2d"]),
        ("gemm", "matmul_shared", ["matmul", "_matmul"]),
        ("im2col", "im2col", ["im2col"]),
    ],
)
def test_twins(module: str, name: str, cpu: list[str]) -> None:
    found = sources.entry(module, name)
    assert [s.name for s in found.cpu] == cpu
    for source in found.cpu:
        ast.parse(source.text)
    assert found.cuda is not None
    assert found.cuda.text.endswith("\n}")
    assert found.cuda.text.count("__global__") == 1
    lines = found.cuda.path.read_text().splitlines()
    assert lines[found.cuda.line - 1] == found.cuda.text.splitlines()[0]


def test_the_naive_kernels_twins_are_the_plain_loops() -> None:
    text = invoke("show", "conv2d", "forward_naive")
    assert "kernels/reference/conv2d.py:14" in text
    assert "for n, f, oh, ow, channel, c, kh, kw, h, w in _taps(" in text
    assert "__launch_bounds__(256) forward_naive(" in text


def test_show_into_a_pipe_is_the_plain_source() -> None:
    whole = invoke("show", "conv2d")
    for suffix in (".py", ".cu"):
        assert (sources.FOLDER / f"conv2d{suffix}").read_text().rstrip("\n") in whole
    part = invoke("show", "pool", "max_ranges")
    assert "def _max_ranges(" in part
    assert "max_ranges(\n    Array<const E, 3> x" in part
    assert "max_pool2d_grad" not in part
    assert "def panel_shape(" in invoke("show", "gemm", "panel_shape")


@pytest.mark.parametrize("width", [200, 80])
def test_show_on_a_terminal(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    """Side by side if there is room: the first lines of both in one line."""
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=width, color_system=None)
    monkeypatch.setattr(commands, "_console", lambda: console)
    invoke("show", "norm", "scale")
    lines = written.getvalue().splitlines()
    both = [line for line in lines if "norm.py:" in line and "norm.cu:" in line]
    assert len(both) == (width == 200)
    assert any("__global__" in line for line in lines)
    assert max(map(len, lines)) <= width


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "conv"], "did you mean conv2d or"),
        (["show", "conv2d", "foward"], "did you mean forward"),
        (["show", "zzz"], "there are conv2d, conv2d_wmma, depthwise"),
        (["run", "gemm", "matmull", "--emulate"], "did you mean matmul"),
        (["run", "gemm"], "add --emulate"),
        (["run", "gemm", "--emulate", "-o", "a.txt"], "write one of .png, .svg, .pdf"),
    ],
)
def test_mistakes(arguments: list[str], message: str) -> None:
    text = invoke(*arguments, fails=2)
    assert message in " ".join(text.replace("│", " ").split())


def test_run_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulator, "why_unavailable", lambda: "there is no g++")
    assert invoke("run", "im2col", "--emulate", fails=1) == "minitorch-cnn: there is no g++\n"


@needs_emulator
@pytest.mark.parametrize(
    ("module", "name"), [(m, n) for m, names in EXAMPLES.items() for n in names]
)
def test_every_example_is_right(module: str, name: str) -> None:
    done = running.run(module, name, "random", 1, None)
    assert max(done.differences.values()) < 1e-5
    assert (done.writes["count"] > 0).all()
    assert done.of_thread(done.writes).any()
    for key, trace in done.reads.items():
        assert done.of_first_block(trace).any(), key


@needs_emulator
def test_run_tells_who_wrote_what() -> None:
    text = invoke("run", "im2col", "--emulate", "--order", "random", "--seed", "3")
    assert "grid (3, 1, 1), block (4, 1, 1)" in text
    assert "Largest difference of col from what is expected: 0\n" in text
    assert text.count("  0:0 0:1 0:2 0:3 1:0 1:1 1:2 1:3 2:0 2:1 2:2 2:3\n") == 9
    assert "wrote col[0, 0-8, 0, 0]" in text
    assert "read x[0, 0, 0-2, 0-2]" in text


@needs_emulator
def test_a_register_block_and_its_picture(tmp_path: Path) -> None:
    picture = tmp_path / "matmul.png"
    text = invoke("run", "gemm", "matmul", "--emulate", "--check", "thread", "-o", str(picture))
    assert "block (1, 0, 0): c[0, 0-63, 128-179], by 104 threads" in text
    assert "wrote c[0, 8-11 40-43, 20-23 84-87]" in text
    assert text.endswith(f"wrote {picture}\n")
    pixels = np.asarray(Image.open(picture).convert("RGB")).reshape(-1, 3)
    red = (pixels == [213, 94, 0]).all(1).mean()
    assert 0.001 < red < 0.1


@needs_emulator
def test_the_emulators_refusals_are_one_line() -> None:
    text = invoke("run", "im2col", "--emulate", "--check", "races", fails=1)
    assert text.startswith("minitorch-cnn: im2col<float>: check='races'")
    assert text.count("\n") == 1
