"""Ours beside PyTorch: first compared, then timed in turns, then written to a JSON file.

1. Each side computes once, and the results are compared; a wrong one is refused, not timed.
2. Blocks of calls of all sides alternate, in one process and with equal threads, so that a slow
   moment of the machine meets all of them. The first calls of a block are dropped: the other side's
   idle threads still spin, and caches and pages are the other side's.
3. A side's time in a block is the median of its calls, its ratio there is that time by the
   reference's; reported are the median over the blocks and the range. Below 1 is faster.

A script is a table of cases: pairs of a label and a function that builds the :class:`Case`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from minitorch_cnn.benchmarks import machine
from minitorch_cnn.kernels import backend

HERE = Path(__file__).resolve().parent
PUBLISHED = HERE / "results"
IN_CLONE = (HERE.parent / "pyproject.toml").exists()

# Seconds of calls that begin a block and do not count: idle threads of PyTorch spin for 9 ms here.
SETTLE = 0.012
LONG = 0.5  # a call of so many seconds does not feel its beginning
HOPELESS = 1.3  # a reference so many times as slow as another is not timed further
MOST = 1000  # calls in a block

Call = Callable[[], Any]
Clock = Callable[[], float]


class WrongResultError(RuntimeError):
    """A side computed something else than the reference."""


@dataclass(frozen=True)
class Case:
    """What is timed. ``sides`` are calls that take nothing and return their result.

    The first of ``sides`` is ours; of ``references`` (PyTorch, its other layouts) the quickest is
    what the others are compared with; ``extras`` are timed with the first number of threads only.
    ``flops`` and ``nbytes`` are of one call: the arithmetic, and the least traffic. ``check``
    replaces the comparison of results where these are random or spread over many arrays: it raises
    WrongResultError.
    """

    sides: Mapping[str, Call]
    references: tuple[str, ...] = ("pytorch",)
    extras: tuple[str, ...] = ()
    flops: float = 0
    nbytes: float = 0
    tolerance: float = 1e-4
    facts: Mapping[str, Any] = field(default_factory=dict)
    check: Callable[[], None] | None = None


Cases = Sequence[tuple[str, Callable[[], Case]]]


@dataclass(frozen=True)
class Options:
    """What the command line says: ``quick`` shows that it works, and measures nothing well."""

    quick: bool = False
    threads: tuple[int, ...] = (2, 1)
    out: Path = PUBLISHED
    only: tuple[str, ...] = ()
    layouts: bool = False

    def chosen(self, cases: Cases) -> Cases:
        """The cases whose label holds one of the words of ``only``."""
        return [c for c in cases if not self.only or any(word in c[0] for word in self.only)]


@dataclass(frozen=True)
class Plan:
    """How long to time: ``seconds`` for each side of a case, in ``blocks``."""

    seconds: float = 0.3
    blocks: int = 5


QUICK = Plan(seconds=0.005, blocks=2)


def difference(result: Any, expected: Any) -> float:
    """Largest absolute difference, as a part of the largest absolute value expected.

    Arrays, tensors of either side, or tuples of them. WrongResultError for shapes that differ;
    infinity where one has a NaN.
    """
    if isinstance(expected, (tuple, list)):
        pairs = zip(result, expected, strict=True)
        return max((difference(a, b) for a, b in pairs), default=0.0)
    if expected is None:
        return 0.0
    a, b = as_numpy(result), as_numpy(expected)
    if a.shape != b.shape:
        raise WrongResultError(f"shape {a.shape}, expected {b.shape}")
    if a.size == 0:
        return 0.0
    largest = float(np.abs(a - b).max()) / (float(np.abs(b).max()) or 1.0)
    return largest if largest == largest else float("inf")


def as_numpy(x: Any) -> np.ndarray[Any, Any]:
    """A tensor of either side as an array."""
    if isinstance(x, np.ndarray):
        return x
    if hasattr(x, "detach"):
        x = x.detach().cpu().numpy()
    return np.asarray(x)


def check(case: Case) -> dict[str, float]:
    """Call each side once; how far each is from the reference, or WrongResultError."""
    if case.check is not None:
        case.check()
        return {}
    expected = case.sides[case.references[0]]()
    errors = {}
    for side, call in case.sides.items():
        if side != case.references[0]:
            errors[side] = difference(call(), expected)
            if errors[side] > case.tolerance:
                raise WrongResultError(
                    f"{side} is {errors[side]:.1e} of the largest value away from"
                    f" {case.references[0]}; {case.tolerance:.0e} is allowed"
                )
    return errors


def measure(case: Case, plan: Plan, clock: Clock = time.perf_counter) -> dict[str, Any]:
    """Seconds of each side, and the ratio of each to the quickest reference: median, low, high."""
    once = {side: timed(call, clock) for side, call in case.sides.items()}
    quickest = min(once[side] for side in case.references)
    out = {s: t for s, t in once.items() if s in case.references and t > HOPELESS * quickest}
    times: dict[str, list[float]] = {side: [] for side in case.sides if side not in out}
    if min(once.values()) >= LONG:  # calls as long as a block are a block
        times = {side: [once[side]] for side in times}
    for _ in range(plan.blocks - len(next(iter(times.values())))):
        for side, blocks in times.items():
            blocks.append(block(case.sides[side], once[side], plan, clock))
    rivals = [side for side in case.references if side in times]
    reference = min(rivals, key=lambda side: statistics.median(times[side]))
    ratios = {
        side: [a / b for a, b in zip(blocks, times[reference], strict=True)]
        for side, blocks in times.items()
        if side != reference
    }
    return {
        "reference": reference,
        "seconds": {side: summary(blocks) for side, blocks in times.items()},
        "ratio": {side: summary(values) for side, values in ratios.items()},
        "too_slow": out,
    }


def timed(call: Call, clock: Clock) -> float:
    started = clock()
    call()
    return clock() - started


def block(call: Call, once: float, plan: Plan, clock: Clock) -> float:
    if once < LONG:
        started = clock()
        call()
        while clock() - started < SETTLE:
            call()
    count = max(1, min(MOST, round(plan.seconds / plan.blocks / max(once, 1e-9))))
    return statistics.median(timed(call, clock) for _ in range(count))


def summary(values: Iterable[float]) -> list[float]:
    ordered = sorted(values)
    return [statistics.median(ordered), ordered[0], ordered[-1]]


def rates(row: Mapping[str, Any], peaks: Mapping[str, float]) -> dict[str, float]:
    """GFLOP/s and GB/s of our side, and the larger of the two in % of the machine's peak."""
    seconds = row["seconds"]["ours"][0]
    found = {}
    for amount, rate in (("flops", "gflops"), ("nbytes", "gbytes")):
        if row[amount]:
            found[rate] = row[amount] / seconds / 1e9
    if found:
        found["percent_of_peak"] = max(100 * found[rate] / peaks[rate] for rate in found)
    return found


def write_json(path: Path, data: Any) -> None:
    """Whole or not at all: a reader never sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}-{os.getpid()}")
    draft.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    draft.replace(path)


class Results:
    """The JSON file of a script, rewritten after every row, so that stopping loses nothing."""

    def __init__(self, name: str, options: Options) -> None:
        self.path = options.out / f"{name}.json"
        self.data: dict[str, Any] = {
            "name": name,
            "command": f"minitorch-cnn bench {name}",
            "quick": options.quick,
            "complete": False,
            "machine": machine.facts(),
            "rows": [],
        }

    def set(self, **values: Any) -> None:
        self.data.update(values)
        write_json(self.path, self.data)

    def add(self, row: Mapping[str, Any]) -> None:
        self.data["rows"].append(dict(row))
        write_json(self.path, self.data)

    def finish(self) -> None:
        self.set(complete=True)
        print(f"results: {self.path}", flush=True)


def run(name: str, cases: Cases, options: Options, plan: Plan | None = None) -> Results:
    """Check and time all cases with each number of threads; print a line for each."""
    machine.pytorch()
    todo = options.chosen(cases)
    plan = QUICK if options.quick else plan or Plan()
    results = Results(name, options)
    small = {"n": 256, "megabytes": 8} if options.quick else {}
    peaks = {str(n): machine.peaks(n, **small) for n in options.threads}
    results.set(peaks=peaks)
    for n, best in peaks.items():
        print(f"{n} threads: sgemm {best['gflops']:.0f} GFLOP/s, copy {best['gbytes']:.0f} GB/s")
    started = time.perf_counter()
    for done, (label, build) in enumerate(todo):
        print(f"{_progress(done, len(todo), time.perf_counter() - started)} {label}", flush=True)
        machine.set_threads(options.threads[0])
        case = build()
        row = {"case": label, "flops": case.flops, "nbytes": case.nbytes, **case.facts}
        try:
            row["errors"] = check(case)
        except WrongResultError as error:
            results.add({**row, "refused": str(error)})
            print(f"    REFUSED: {error}", flush=True)
            continue
        for threads in options.threads:
            machine.set_threads(threads)
            if threads != options.threads[0]:
                case = without(case, case.extras)
            measured = {**row, "threads": threads, **measure(case, plan)}
            best = peaks[str(threads)]
            measured.update(rates(measured, best), peak_gflops=best["gflops"])
            results.add(measured)
            print(line(measured), flush=True)
    results.finish()
    return results


def without(case: Case, sides: tuple[str, ...]) -> Case:
    return replace(case, sides={k: v for k, v in case.sides.items() if k not in sides})


def _progress(done: int, total: int, seconds: float) -> str:
    left = f", {seconds / done * (total - done):4.0f} s left" if done else ""
    return f"[{done + 1}/{total}{left}]"


def line(row: Mapping[str, Any]) -> str:
    """A row for the terminal."""
    reference = row["reference"]
    ms = 1e3 * row["seconds"][reference][0]
    parts = [f"    {row['threads']} threads: {reference} {ms:.3g} ms"]
    for side, (ratio, low, high) in row["ratio"].items():
        ms = 1e3 * row["seconds"][side][0]
        parts.append(f"{side} {ms:.3g} ms, ratio {ratio:.2f} ({low:.2f}..{high:.2f})")
    for rate, unit in (("gflops", "GFLOP/s"), ("gbytes", "GB/s"), ("percent_of_peak", "% of peak")):
        if rate in row:
            parts.append(f"{row[rate]:.3g} {unit}")
    return "; ".join(parts)


def default_threads() -> tuple[int, ...]:
    return (2, 1) if backend.available_cores() > 1 else (1,)


def default_out(quick: bool) -> Path:
    """Beside the scripts in a clone, whose numbers are published; else a folder of the user's."""
    if quick:
        return Path("bench-quick")
    return PUBLISHED if IN_CLONE else Path("bench")


def parse_threads(text: str) -> tuple[int, ...]:
    """ "2,1" as numbers; ValueError for anything else."""
    try:
        found = tuple(int(part) for part in text.split(","))
    except ValueError:
        found = (0,)
    if min(found) < 1:
        raise ValueError(f"--threads {text!r}: write numbers of threads, as in 2,1")
    return found


def main(doc: str | None, benchmark: Callable[[Options], Any]) -> None:
    """The command line that all scripts share."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="shows that it works, times nothing")
    parser.add_argument("--threads", type=parse_threads, default=default_threads(), metavar="2,1")
    parser.add_argument("--out", type=Path, help="folder for the JSON file")
    parser.add_argument("--only", nargs="+", default=[], help="cases whose label holds such a word")
    parser.add_argument("--layouts", action="store_true", help="time PyTorch's channels_last too")
    args = parser.parse_args()
    options = Options(
        args.quick, args.threads, args.out or default_out(args.quick), tuple(args.only),
        args.layouts,
    )  # fmt: skip
    try:
        results = benchmark(options)
    except KeyboardInterrupt:
        print(f"\nstopped; what was measured is in {options.out}")
        raise SystemExit(130) from None
    except (ModuleNotFoundError, ValueError) as error:
        raise SystemExit(str(error)) from None
    if isinstance(results, Results) and any("refused" in row for row in results.data["rows"]):
        raise SystemExit("some results were wrong and have not been timed: see REFUSED above")
