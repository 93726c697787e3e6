"""``minitorch-cnn bench``: which scripts there are, and several of them one after another.

    python benchmarks/suite.py all
"""

from __future__ import annotations

import ast
import subprocess
import sys
import time
from collections.abc import Sequence

from minitorch_cnn.benchmarks import harness
from minitorch_cnn.benchmarks.harness import Options

# Minutes on the 2-core machine of the README, with 2 threads and then 1: what a user cares about
# first comes first.
MINUTES = {
    "train_step": 6.0,
    "inference": 2.0,
    "conv2d": 5.0,
    "pool": 0.5,
    "norm": 1.0,
    "elementwise": 1.0,
    "softmax": 0.5,
    "optim": 0.3,
    "backends": 2.0,
    "startup": 1.0,
    "scaling": 3.0,
}
REPORT = "report"


def listing() -> str:
    """Every script's name, its minutes, and the question that it answers."""
    lines = []
    for name, minutes in [*MINUTES.items(), (REPORT, 0)]:
        source = (harness.HERE / f"{name}.py").read_text(encoding="utf-8")
        question = (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]
        lines.append(f"{name:12} {f'{minutes:g} min' if minutes else '':8} {question}")
    lines.append(f"{'all':12} {f'{sum(MINUTES.values()):.0f} min':8} All of them in this order.")
    return "\n".join(lines)


def expand(names: Sequence[str]) -> list[str]:
    """The scripts asked for; ValueError lists the names there are."""
    known = [*MINUTES, REPORT]
    wrong = [name for name in names if name not in (*known, "all")]
    if wrong:
        raise ValueError(f"no benchmark {', '.join(wrong)}; there are:\n{listing()}")
    return known if "all" in names else list(names)


def run(names: Sequence[str], options: Options) -> int:
    """Run each script in a process of its own: its memory is gone before the next one begins.

    The exit code: 0, or the last script's that failed, 130 after Ctrl-C.
    """
    todo = expand(names)
    started, code = time.perf_counter(), 0
    for i, name in enumerate(todo):
        spent = (time.perf_counter() - started) / 60
        left = sum(MINUTES.get(other, 0) for other in todo[i:])
        about = "a quick run" if options.quick else f"{spent:.0f} min so far, about {left:.0f} left"
        print(f"== {name} ({i + 1} of {len(todo)}; {about})", flush=True)
        process = subprocess.Popen(
            [sys.executable, "-m", f"minitorch_cnn.benchmarks.{name}", *arguments(options)]
        )
        try:
            failed = process.wait()
        except KeyboardInterrupt:  # the terminal has sent it to the script, too
            process.wait()
            return 130
        if failed == 130:
            return 130
        code = failed or code
    return code


def arguments(options: Options) -> list[str]:
    """The options as a script's command line takes them."""
    found = ["--threads", ",".join(map(str, options.threads)), "--out", str(options.out)]
    found += ["--quick"] * options.quick + ["--layouts"] * options.layouts
    return found + (["--only", *options.only] if options.only else [])


if __name__ == "__main__":
    raise SystemExit(run(sys.argv[1:] or ["all"], Options(
        threads=harness.default_threads(), out=harness.default_out(quick=False))))  # fmt: skip
