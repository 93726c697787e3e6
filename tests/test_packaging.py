"""The wheel holds every module and data file, works from elsewhere, and imports lightly."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "minitorch_cnn"
HEAVY = ["numba", "llvmlite", "torch", "cupy", "matplotlib", "PIL", "typer", "rich", "safetensors"]


def _run(code: str, *args: str, cwd: Path, **env: str) -> str:
    """Run a Python snippet on its own; only its last line of output counts."""
    done = subprocess.run(
        [sys.executable, "-c", code, *args],
        cwd=cwd,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().rsplit("\n", 1)[-1]


def _source_files() -> set[str]:
    """Every module and data file of the package, under the path that it has in the wheel."""
    patterns = {
        PACKAGE: ["**/*.py", "py.typed", "datasets/mnist_data/*.gz", "models/data/*"],
        ROOT / "kernels": [
            "**/*.py",
            "**/*.cu",
            "**/*.cuh",
            "**/*.md",
            "budget.json",
            "emulator/*.[hc]*",
        ],
        ROOT / "benchmarks": ["**/*.py"],
    }
    names = set()
    for top, globs in patterns.items():
        prefix = "minitorch_cnn" if top == PACKAGE else f"minitorch_cnn/{top.name}"
        for glob in globs:
            found = (path.relative_to(top).as_posix() for path in top.glob(glob))
            names |= {f"{prefix}/{name}" for name in found if "__pycache__" not in name}
    return names


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build from a copy, so that the clone gets no build/ and no stale file from one gets in."""
    copy = tmp_path_factory.mktemp("source") / "copy"
    copy.mkdir()
    for name in ["pyproject.toml", "README.md", "LICENSE", "NOTICE"]:
        shutil.copy(ROOT / name, copy)
    for name in ["minitorch_cnn", "kernels", "benchmarks"]:
        ignore = shutil.ignore_patterns("__pycache__", "*.nb[ci]")
        shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=ignore)
    out = tmp_path_factory.mktemp("wheel")
    build = "import sys; from setuptools import build_meta as b; print(b.build_wheel(sys.argv[1]))"
    return out / _run(build, str(out), cwd=copy)


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--target", str(target), str(wheel)], check=True, timeout=300)
    return target


def test_wheel_holds_every_module_and_data_file(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    expected = _source_files()
    assert sum(name.endswith(".gz") for name in expected) == 4, "MNIST's four files are missing"
    assert "minitorch_cnn/models/data/imagenet_classes.txt" in expected
    assert packed == expected, (
        f"not in the wheel (package list of pyproject.toml?): {sorted(expected - packed)}; "
        f"only in the wheel: {sorted(packed - expected)}"
    )


def test_package_list_names_exactly_the_packages() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = {
        name.removesuffix("/__init__.py").replace("/", ".")
        for name in _source_files()
        if name.endswith("/__init__.py")
    }
    assert set(listed) == found


def test_wheel_carries_licence_and_notice(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        texts = {Path(n).name: archive.read(n) for n in archive.namelist() if "/licenses/" in n}
    assert b"MIT License" in texts["LICENSE"]
    assert b"Yann LeCun and Corinna Cortes" in texts["NOTICE"]
    assert b"WordNet" in texts["NOTICE"]


def test_installed_wheel_imports_from_elsewhere(installed: Path, tmp_path: Path) -> None:
    code = """if True:
        import importlib.metadata, json, minitorch_cnn as torch
        torch.nn, torch.optim, torch.kernels, torch.datasets
        x = torch.tensor([[1.0, 2.0]], requires_grad=True)
        (x * x).sum().backward()
        print(json.dumps({
            "file": torch.__file__,
            "kernels": torch.kernels.__file__,
            "version": torch.__version__,
            "metadata": importlib.metadata.version("minitorch-cnn"),
            "grad": x.grad.tolist(),
        }))
    """
    facts = json.loads(_run(code, cwd=tmp_path, PYTHONPATH=str(installed)))
    assert Path(facts["file"]).is_relative_to(installed)
    assert Path(facts["kernels"]).is_relative_to(installed)
    assert facts["version"] == facts["metadata"]
    assert facts["grad"] == [[2.0, 4.0]]


def test_import_is_light(tmp_path: Path) -> None:
    code = "import json, sys, minitorch_cnn; print(json.dumps(sorted(sys.modules)))"
    loaded = set(json.loads(_run(code, cwd=tmp_path, PYTHONPATH=str(ROOT))))
    assert "minitorch_cnn" in loaded
    assert not loaded.intersection(HEAVY)


def test_command_without_the_app_extra_says_what_to_install(tmp_path: Path) -> None:
    code = """if True:
        import sys
        sys.modules["typer"] = None  # what an import finds where it is not installed
        sys.argv = ["minitorch-cnn", "--help"]
        try:
            from minitorch_cnn.cli import main
            main()
        except SystemExit as stop:
            print("stopped:", stop.code)
    """
    assert 'pip install "minitorch-cnn[app]"' in _run(code, cwd=tmp_path, PYTHONPATH=str(ROOT))
