"""What every test shares: hypothesis profiles, which markers run, seeds and PyTorch's threads."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, settings

import minitorch_cnn

from . import devices
from .file_server import Server, serving

# Wall-clock deadlines and speed checks say more about a busy machine than about the code.
_COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("ci", derandomize=True, max_examples=25, print_blob=True, **_COMMON)
settings.register_profile("dev", max_examples=25, **_COMMON)
# Mistakes of a backend show in any example, and emulated kernels are slow.
settings.register_profile(
    "device", derandomize=True, max_examples=6, phases=[Phase.explicit, Phase.generate], **_COMMON
)
settings.register_profile("thorough", max_examples=1000, **_COMMON)

_in_ci = os.environ.get("CI", "").lower() not in ("", "0", "false")
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if _in_ci else "dev"))

# One pool of two threads at most: more would spin against Numba's on a two-core machine.
torch.set_num_threads(min(2, os.cpu_count() or 1))



def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--device",
        default=os.environ.get("MINITORCH_CNN_TEST_DEVICE", "cpu"),
        choices=("cpu", "cuda"),
        help="cuda: the rows of cases and the tests that know devices run on a GPU, or, where there"
        " is none, on the CUDA emulator",
    )


def _wants_gpu(config: pytest.Config) -> bool:
    return "gpu" in (config.getoption("-m") or "").replace("not gpu", "")


def pytest_configure(config: pytest.Config) -> None:
    available = minitorch_cnn.cuda.is_available()
    if config.getoption("--device") == "cuda" or (_wants_gpu(config) and available):
        devices.choose("cuda", real=available)


_OPT_IN = ("slow", "network", "mpi")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip slow, network and mpi tests unless the -m expression names them.

    What can run on device "cuda" is what ``-m gpu`` chooses.
    """
    chosen = config.getoption("-m") or ""
    for item in items:
        if "device" in item.path.parts or item.path.name == "test_cases.py":
            item.add_marker(pytest.mark.gpu)
            if _wants_gpu(config) and devices.name() == "cpu":
                why = minitorch_cnn.cuda.why_unavailable()
                item.add_marker(pytest.mark.skip(reason=f"needs a GPU: {why}"))
        for name in _OPT_IN:
            if item.get_closest_marker(name) and name not in chosen:
                item.add_marker(pytest.mark.skip(reason=f"opt in with: pytest -m {name}"))


@pytest.fixture
def rng() -> np.random.Generator:
    """A NumPy generator with a fixed seed: the same numbers in every run."""
    return np.random.default_rng(2024)


@pytest.fixture(autouse=True)
def _seed() -> None:
    """The order of tests decides nothing about their random weights."""
    torch.manual_seed(2024)
    minitorch_cnn.manual_seed(2024)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A web server on this machine."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving() as running:
        yield running
