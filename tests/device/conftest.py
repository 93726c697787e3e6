"""These tests run on device "cuda": on a GPU with ``pytest -m gpu``, else on the stand-in.

The stand-in takes the place of ``cupy`` in the process, so they run only when the whole run is for
"cuda": ``pytest --device cuda tests/device tests/test_cases.py``.
"""

from __future__ import annotations

from typing import Any

import pytest

from .. import devices


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if devices.name() == "cuda":
        return
    skip = pytest.mark.skip(reason="for device cuda: pytest --device cuda")
    for item in items:
        if "tests/device" in str(item.path):
            item.add_marker(skip)


@pytest.fixture(autouse=True)
def _first_device() -> Any:
    """Every test starts and ends on cuda:0."""
    yield
    if devices.name() == "cuda":
        import minitorch_cnn

        minitorch_cnn.cuda.set_device(0)
