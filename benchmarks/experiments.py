"""Writes what the experiments found into docs/experiments.md and the README.

    minitorch-cnn experiment lecture --out runs/lecture       # and the other three
    python benchmarks/experiments.py --take runs/lecture      # copies results and figure here
    python benchmarks/experiments.py                          # only rewrites the tables

The tables are made from results/*.json by the functions that print them after an experiment.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from minitorch_cnn.benchmarks import readme
from minitorch_cnn.tools.experiments import bottleneck, common, degradation, identity, lecture

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
DOCS = HERE.parent / "docs" / "experiments.md"
# What an experiment writes, and its name here.
FILES = {
    "lecture": ("lecture.json", "lecture.png"),
    "bottleneck": ("bottleneck.json", "bottleneck.png"),
    "degradation": ("results.json", "degradation.png"),
    "identity": ("results.json", "identity.png"),
}


def take(folder: Path) -> None:
    """Copy an experiment's results and figure to results/."""
    name = next((n for n, (_, figure) in FILES.items() if (folder / figure).exists()), None)
    if name is None:
        raise SystemExit(f"{folder} holds no figure of an experiment that has finished")
    data, figure = FILES[name]
    shutil.copyfile(folder / data, RESULTS / f"{name}.json")
    shutil.copyfile(folder / figure, RESULTS / f"{name}.png")


def tables() -> dict[str, str]:
    found = {}
    for name in FILES:
        path = RESULTS / f"{name}.json"
        if not path.exists():
            print(f"{name}: no {path.name}, its table stays as it is")
            continue
        data = json.loads(path.read_text(encoding="utf-8"))
        if name == "lecture":
            rows = [lecture.Row(**row) for row in data["rows"]]
            found[name] = lecture.table(rows, data["clock"], data["machine"])
        elif name == "bottleneck":
            timings = [bottleneck.Timing(**t) for t in data["timings"]]
            found[name] = bottleneck.table(data["macs"], timings, data["clock"], data["machine"])
        else:
            module = degradation if name == "degradation" else identity
            found[name] = module.table(common.load(path, name))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--take", type=Path, metavar="FOLDER", help="copy these results first")
    args = parser.parse_args()
    if args.take is not None:
        take(args.take)
    found = tables()
    for name, table in found.items():
        readme.replace(name, table, DOCS)
    if "lecture" in found:
        readme.replace("lecture", found["lecture"])


if __name__ == "__main__":
    main()
