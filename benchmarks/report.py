"""Writes what the benchmarks measured into the README, RESULTS.md and figures.

    python benchmarks/report.py            # or: minitorch-cnn bench report

The only place where a number of ``results/*.json`` becomes text. The README's tables stand between
markers and are short; RESULTS.md has every case. Files of a quick run, or of another folder
(``--out``), become a RESULTS.md and figures beside them, and leave the README alone.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from minitorch_cnn.benchmarks import figures, harness, readme

Data = Mapping[str, Any]
Row = Mapping[str, Any]
OPS = ("conv2d", "pool", "norm", "elementwise", "softmax", "optim")
MEANING = (
    "Ratio: our time by PyTorch's, below 1 is faster; the median of interleaved blocks in one"
    " process (lowest..highest block)."
)


def load(folder: Path) -> dict[str, Data]:
    """Results of this harness by name; what other scripts left in the folder is not one."""
    found: dict[str, Data] = {}
    for path in sorted(folder.glob("*.json")):
        data = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(data, dict) and "rows" in data and "command" in data:
            found[data["name"]] = data
    return found


def markdown(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in lines)


def caption(data: Data, *sentences: str) -> str:
    """What the numbers mean, the machine, the command, and what is missing."""
    m = data["machine"]
    told = [text for text in sentences if text]
    told.append(
        f"{m['processor']}, {m['cores']} cores, {m['vector_bits']}-bit vectors, Python"
        f" {m['python']}, PyTorch {m['torch']}; `{data['command']}`."
    )
    if peaks := data.get("peaks"):
        best = (f"{named(int(n))} sgemm {p['gflops']:.0f} GFLOP/s, copy {p['gbytes']:.0f} GB/s"
                for n, p in peaks.items())  # fmt: skip
        told.append(f"The machine at best: {'; '.join(best)}.")
    if data["quick"]:
        told.append("A quick run: no measurement.")
    if not data["complete"]:
        told.append("Stopped before the end.")
    refused = [row["case"] for row in data["rows"] if "refused" in row]
    if refused:
        told.append(f"Refused, because the result was wrong: {', '.join(refused)}.")
    return " ".join(told)


def by_case(data: Data) -> dict[str, dict[int, Row]]:
    """Timed rows: case, then number of threads."""
    found: dict[str, dict[int, Row]] = {}
    for row in data["rows"]:
        if "refused" not in row:
            found.setdefault(row["case"], {})[row["threads"]] = row
    return found


def threads_of(data: Data) -> list[int]:
    return list(dict.fromkeys(row["threads"] for row in data["rows"] if "threads" in row))


def named(threads: int) -> str:
    return f"{threads} thread" + "s" * (threads != 1)


def ms(row: Row | None, side: str) -> str:
    return f"{1e3 * row['seconds'][side][0]:.3g}" if row and side in row["seconds"] else ""


def ratio(row: Row | None, side: str = "ours") -> str:
    if row is None or side not in row["ratio"]:
        return ""
    return "{:.2f} ({:.2f}..{:.2f})".format(*row["ratio"][side])


def ratios(rows: Iterable[Row], side: str = "ours") -> list[float]:
    return [row["ratio"][side][0] for row in rows if side in row.get("ratio", {})]


def mean(values: Sequence[float]) -> str:
    return f"**{statistics.geometric_mean(values):.2f}**" if values else ""


def networks_table(data: Data, sides: Sequence[str]) -> list[list[str]]:
    """For each network, milliseconds and ratios of the sides; then geometric means."""
    cases, counts = by_case(data), threads_of(data)
    rows = []
    for case, of in cases.items():
        first = next(iter(of.values()))
        cells = [case, str(first["batch"])]
        for n in counts:
            row = of.get(n)
            cells.append(ms(row, row["reference"]) if row else "")
            for side in sides:
                cells += [ms(row, side), ratio(row, side)]
        rows.append(cells)
    cells = ["geometric mean", ""]
    for n in counts:
        measured = [of[n] for of in cases.values() if n in of]
        cells.append("")
        for side in sides:
            cells += ["", mean(ratios(measured, side))]
    return [*rows, cells]


def networks_head(data: Data, sides: Sequence[str]) -> list[str]:
    head = ["network", "batch"]
    for n in threads_of(data):
        head.append(f"PyTorch, ms ({named(n)})")
        for side in sides:
            head += [f"{side}, ms", "ratio"]
    return head


def train_step(data: Data) -> str:
    sides = ["ours"]
    head, rows = networks_head(data, sides), networks_table(data, sides)
    memory = {row["case"]: row for row in data.get("memory", [])}
    head += ["peak MB", "PyTorch's", "loss, first to last"]
    for cells in rows:
        row = memory.get(cells[0])
        cells += ["", "", ""] if row is None else [
            f"{row['ours']['peak_bytes'] / 1e6:.0f}", f"{row['pytorch']['peak_bytes'] / 1e6:.0f}",
            f"{row['ours']['losses'][0]:.2f} to {row['ours']['losses'][-1]:.2f}",
        ]  # fmt: skip
    steps = len(next(iter(memory.values()))["ours"]["losses"]) if memory else 0
    told = caption(
        data, "A training step: forward, loss, backward, SGD with momentum.", MEANING,
        f"Peak memory: {steps} steps in a process of its own, above what it held before the"
        " network." if memory else "",
    )  # fmt: skip
    return f"{markdown(head, rows)}\n\n{told}"


def inference(data: Data) -> str:
    fused = any("ours fused" in row.get("ratio", {}) for row in data["rows"])
    sides = ["ours", "ours fused"] if fused else ["ours"]
    after = (
        "Fused: after `torch.fuse`, which makes batch norms and ReLUs parts of the layers before"
        " them and packs weights once."
    )
    told = caption(data, "Evaluation mode under `no_grad`.", after if fused else "", MEANING)
    return f"{markdown(networks_head(data, sides), networks_table(data, sides))}\n\n{told}"


def ops(found: Mapping[str, Data]) -> str:
    """One row for each family of ops and direction: geometric mean and worst case."""
    families: dict[str, list[Row]] = {}
    present = [found[name] for name in OPS if name in found]
    for data in present:
        for row in data["rows"]:
            if "refused" not in row:
                label = row["family"]
                if row.get("direction", "") not in label:
                    label += f", {row['direction']}"
                families.setdefault(label, []).append(row)
    counts = list(dict.fromkeys(n for data in present for n in threads_of(data)))
    head = ["op", "cases"]
    for n in counts:
        head += [f"mean ratio, {named(n)}", "worst"]
    rows = []
    for label, measured in families.items():
        cells = [label, str(len({row["case"] for row in measured}))]
        for n in counts:
            values = ratios(row for row in measured if row["threads"] == n)
            cells += [mean(values), f"{max(values):.2f}" if values else ""]
        rows.append(cells)
    commands = ", ".join(f"`{data['command']}`" for data in present)
    whole = {**present[0], "command": "minitorch-cnn bench all", "rows": []}
    told = caption(
        whole, "Geometric mean and worst ratio of the cases of `benchmarks/RESULTS.md`, from"
        f" {commands}.", "Ratio: our time by PyTorch's, below 1 is faster.",
    )  # fmt: skip
    return f"{markdown(head, rows)}\n\n{told}"


def backends(data: Data) -> str:
    sides = list(dict.fromkeys(side for row in data["rows"] for side in row.get("seconds", {})))
    titles = {"pytorch": "PyTorch", "numba": "ours, Numba", "numpy": "ours, plain NumPy",
              "cupy": "ours, CuPy", "cupy graph": "ours, CUDA graph",
              "pytorch cuda": "PyTorch, CUDA"}  # fmt: skip
    rows = [
        [case, str(n), *(ms(row, side) for side in sides)]
        for n in threads_of(data)
        for case, of in by_case(data).items()
        for row in [of.get(n)]
        if row is not None
    ]
    absent = [f"{titles[name]}: {why}" for name, why in data.get("left_out", {}).items()]
    told = caption(data, "Milliseconds of forward + backward, and of whole training steps; each"
                   " backend in a process of its own.",
                   f"Not measured: {'; '.join(absent)}." if absent else "")  # fmt: skip
    return f"{markdown(['what', 'threads', *(titles[s] for s in sides)], rows)}\n\n{told}"


def startup(data: Data) -> str:
    rows = [
        [row["case"], f"{row['seconds'][0]:.2f}",
         f"{row['cache_bytes'] / 1e6:.2f}" if "cache_bytes" in row else ""]
        for row in data["rows"]
    ]  # fmt: skip
    told = caption(
        data, "Seconds of a whole process, Python's start included. First step: one training step"
        " of the lecture's CNN; run 1 has an empty cache of kernels.",
    )  # fmt: skip
    return f"{markdown(['what', 's', 'cache, MB'], rows)}\n\n{told}"


def scaling(data: Data) -> str:
    rows = []
    for row in data["rows"]:
        cells = [row["varied"], str(row["value"]), row["network"], str(row["threads"]),
                 f"{row['macs'] / row['batch'] / 1e6:.0f}"]  # fmt: skip
        for side in ("ours", "pytorch"):
            seconds, images = row["seconds"][side][0], row["batch"]
            cells += [f"{1e3 * seconds / images:.2f}", f"{6 * row['macs'] / seconds / 1e9:.0f}",
                      f"{row['peak_bytes'][side] / images / 1e6:.1f}"]  # fmt: skip
        rows.append(cells)
    head = ["varied", "to", "network", "threads", "million MACs an image", "ms an image", "GFLOP/s",
            "MB an image", "PyTorch's ms", "GFLOP/s", "MB"]  # fmt: skip
    told = caption(data, "Training steps, each point in a process of its own; cost that is"
                   " proportional to the work has the same GFLOP/s in each row.")  # fmt: skip
    return f"{markdown(head, rows)}\n\n{told}"


def every_case(data: Data) -> str:
    """All rows of a script of single ops."""
    head = ["case"]
    for n in threads_of(data):
        head += [f"PyTorch, ms ({named(n)})", "ours, ms", "ratio", "GFLOP/s", "GB/s", "% of peak"]
    rows = []
    for case, of in by_case(data).items():
        cells = [case]
        for n in threads_of(data):
            row = of.get(n)
            cells += [ms(row, row["reference"]) if row else "", ms(row, "ours"), ratio(row)]
            for rate in ("gflops", "gbytes", "percent_of_peak"):
                cells.append(f"{row[rate]:.3g}" if row and rate in row else "")
        rows.append(cells)
    return f"{markdown(head, rows)}\n\n{caption(data, MEANING)}"


DIRECTIONS = ("forward", "grad_input", "grad_weight")


def conv2d(data: Data) -> str:
    """One row for each layer; for each direction our ratio, our speed, and the other algorithms."""
    parts = [conv2d_networks(data)]
    for n in threads_of(data):
        layers: dict[str, dict[str, Row]] = {}
        for of in by_case(data).values():
            if n in of:
                layers.setdefault(of[n]["layer"], {})[of[n]["direction"]] = of[n]
        rows = []
        for label, of_direction in layers.items():
            counts = next(iter(of_direction.values()))["counts"]
            rows.append([label, ", ".join(f"{net} {k}" for net, k in counts.items()),
                         *(conv2d_cell(of_direction.get(d)) for d in DIRECTIONS)])  # fmt: skip
        head = ["layer", "how often", *(d.replace("_", "-") for d in DIRECTIONS)]
        parts += [f"### {named(n)}", markdown(head, rows)]
    workspace = max((row.get("workspace_bytes", 0) for row in data["rows"]), default=0)
    told = caption(
        data, MEANING, "Of PyTorch's layouts (N, C, H, W and channels_last in memory) the quicker."
        " Each cell: our ratio, the algorithm, GFLOP/s of the definition's arithmetic, % of the"
        " machine's sgemm; then the ratios of the other algorithms.",
        f"The largest workspace: {workspace / 1e6:.1f} MB with {named(threads_of(data)[0])}.",
    )  # fmt: skip
    parts.append(told)
    return "\n\n".join(parts)


def conv2d_cell(row: Row | None) -> str:
    if row is None:
        return ""
    percent = 100 * row["gflops"] / row["peak_gflops"]
    others = (f"{side} {values[0]:.2f}" for side, values in row["ratio"].items()
              if side != "ours" and not side.startswith("pytorch"))  # fmt: skip
    ours = f"**{row['ratio']['ours'][0]:.2f}** {row['algorithm']}, {row['gflops']:.0f}"
    return "; ".join([f"{ours}, {percent:.0f} %", *others])


def conv2d_networks(data: Data) -> str:
    """All convolutions of a network together: the sum of times, each as often as it occurs."""
    totals: dict[tuple[str, int, str], list[float]] = {}
    for row in data["rows"]:
        if "refused" not in row:
            for network, count in row["counts"].items():
                total = totals.setdefault((network, row["threads"], row["direction"]), [0.0, 0.0])
                for i, side in enumerate(("ours", row["reference"])):
                    total[i] += count * row["seconds"][side][0]
    rows = []
    for network, n in dict.fromkeys(key[:2] for key in totals):
        cells = [network, str(n)]
        for direction in DIRECTIONS:
            ours, theirs = totals.get((network, n, direction), (0.0, 0.0))
            cells.append(f"{ours / theirs:.2f} ({1e3 * ours:.3g} / {1e3 * theirs:.3g} ms)"
                         if theirs else "")  # fmt: skip
        rows.append(cells)
    return markdown(["all convolutions of", "threads", "forward", "grad-input", "grad-weight"],
                    rows)  # fmt: skip


TABLES: dict[str, Callable[[Data], str]] = {
    "train_step": train_step, "inference": inference, "backends": backends, "startup": startup,
    "scaling": scaling, "conv2d": conv2d,
}  # fmt: skip
IN_README = ("train_step", "inference", "backends", "startup")


def page(found: Mapping[str, Data], pictures: Sequence[Path], folder: Path) -> str:
    """RESULTS.md: every case that was measured."""
    written = "Written by `minitorch-cnn bench report` from the JSON files beside the figures."
    parts = ["# Every case measured", written]
    shown = {path.stem: path for path in pictures}
    for name in (*TABLES, *OPS[1:]):
        if name in found:
            parts.append(f"## {name}")
            if name in shown:
                parts.append(f"![{name}]({shown[name].relative_to(folder)})")
            parts.append(TABLES.get(name, every_case)(found[name]))
    return "\n\n".join(parts) + "\n"


def write(out: Path) -> list[Path]:
    """Tables and figures of the results in ``out``; the files that were written."""
    found = load(out)
    if not found:
        raise ValueError(f"{out} holds no results: run `minitorch-cnn bench all` first")
    published = out.resolve() == harness.PUBLISHED and harness.IN_CLONE
    folder = out.parent if published else out
    pictures = figures.draw(found, out)
    target = folder / "RESULTS.md"
    target.write_text(page(found, pictures, folder), encoding="utf-8")
    written = [target, *pictures]
    if published:
        real = {name: data for name, data in found.items() if not data["quick"]}
        for name in IN_README:
            if name in real:
                readme.replace(name, TABLES[name](real[name]))
        if any(name in real for name in OPS):
            readme.replace("ops", ops(real))
        written.append(readme.README)
    return written


def run(options: harness.Options) -> None:
    for path in write(options.out):
        print(path)


if __name__ == "__main__":
    harness.main(__doc__, run)
