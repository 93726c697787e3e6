"""Which algorithm of a convolution is fastest here: measured once, remembered.

Off unless asked for: by ``use``, by the environment variable ``MINITORCH_CNN_AUTOTUNE=1``, or by
whoever registers with ``also_if`` (``torch.backends.cudnn.benchmark``). The first time that a
problem is met, each algorithm that can compute it runs on the real arrays, once to be compiled and
a few times on the clock. The least time of each is kept, also in a file for later processes: one
per processor and version of this package, in the directory of the compiled kernels.

Results of different algorithms differ by rounding, and which one wins is up to the clock: with
autotuning, the first run on a machine may differ in its last bits from one elsewhere.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import backend

if TYPE_CHECKING:
    from .algorithms import Problem

RUNS = 5  # on the clock, at most
SECONDS = 0.2  # after which an algorithm is not timed again

_chosen: dict[str, bool] = {}
_switches: list[Callable[[], bool]] = []
_vetoes: list[Callable[[], bool]] = []
_milliseconds: dict[str, dict[str, float]] = {}  # by problem, by algorithm
_read: set[Path] = set()
_lock = threading.Lock()


def use(wanted: bool) -> None:
    """Switch it on or off, whatever the environment says."""
    _chosen["wanted"] = bool(wanted)


def also_if(switch: Callable[[], bool]) -> None:
    """Register a question: it is on too where the answer is True."""
    _switches.append(switch)


def never_if(veto: Callable[[], bool]) -> None:
    """Register a question: it is off where the answer is True."""
    _vetoes.append(veto)


def wanted() -> bool:
    """Whether it is on now. Plain NumPy has one algorithm, and nothing to choose."""
    asked = _chosen.get("wanted", os.environ.get("MINITORCH_CNN_AUTOTUNE") == "1")
    if not (asked or any(switch() for switch in _switches)):
        return False
    return backend.cpu_backend != "numpy" and not any(veto() for veto in _vetoes)


def known(problem: Problem) -> dict[str, float]:
    """Milliseconds by algorithm, fastest first; empty if it was never measured."""
    _load()
    times = _milliseconds.get(_key(problem), {})
    return dict(sorted(times.items(), key=lambda item: item[1]))


def measure(problem: Problem, names: Iterable[str], run: Callable[[str], None]) -> None:
    """Time ``run(name)`` for each algorithm, unless that was done before."""
    names = list(names)
    if len(names) > 1 and not set(names) <= known(problem).keys():
        times = {name: _least(run, name) for name in names}
        with _lock:
            _milliseconds[_key(problem)] = times
            _save()


def forget() -> None:
    """Forget all measurements, also those in the file."""
    with _lock:
        _milliseconds.clear()
        path = _path()
        if path is not None:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def _least(run: Callable[[str], None], name: str) -> float:
    run(name)
    times: list[float] = []
    while len(times) < RUNS and sum(times) < SECONDS:
        started = time.perf_counter()
        run(name)
        times.append(time.perf_counter() - started)
    return round(1e3 * min(times), 4)


def _key(p: Problem) -> str:
    """A problem in words: the threads count too."""
    x, w, y = ("x".join(map(str, shape)) for shape in (p.x_shape, p.weight_shape, p.size))
    S, P, D = (f"{a}x{b}" for a, b in (p.stride, p.padding, p.dilation))
    return (
        f"{p.direction} x {x} weight {w} y {y} stride {S} padding {P} dilation {D}"
        f" groups {p.groups} float{8 * p.itemsize} threads {backend.get_num_threads()}"
    )


def _path() -> Path | None:
    from ..version import __version__
    from . import cache

    folder = cache.directory()
    if folder is None:
        return None
    machine = f"{backend.processor()}, minitorch_cnn {__version__}"
    return folder / f"conv2d-times-{hashlib.sha256(machine.encode()).hexdigest()[:12]}.json"


def _load() -> None:
    """Take over what the file knows, once. Whatever is wrong with it, it counts as empty."""
    path = _path()
    if path is not None and path not in _read:
        with _lock:
            for key, times in _content(path).items():
                _milliseconds.setdefault(key, times)
            _read.add(path)


def _save() -> None:
    """Write all that is known, with what another process may have added; a failure is no error."""
    path = _path()
    if path is None:
        return
    draft = path.with_name(f".{path.name}-{os.getpid()}-{threading.get_ident()}")
    try:
        text = json.dumps({**_content(path), **_milliseconds}, indent=1, sort_keys=True)
        draft.write_text(text + "\n", encoding="utf-8")
        draft.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink()


def _content(path: Path) -> dict[str, dict[str, float]]:
    from .algorithms import NAMES

    try:
        data: Any = json.loads(path.read_text(encoding="utf-8"))
        return {
            key: {name: float(times[name]) for name in times if name in NAMES}
            for key, times in data.items()
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
