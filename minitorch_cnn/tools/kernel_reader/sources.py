"""What kernels there are, and their sources, cut out of the files without running them."""

from __future__ import annotations

import ast
import difflib
import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ... import kernels
from ...kernels import cuda_source

FOLDER = Path(kernels.__file__).parent


@dataclass(frozen=True)
class Source:
    """A function, or a file: where it stands and its text. ``summary`` is one line about it."""

    path: Path
    name: str
    line: int
    text: str
    summary: str = ""
    launch: str = ""
    is_kernel: bool = True

    @property
    def title(self) -> str:
        where = self.path.relative_to(FOLDER.parent) if FOLDER in self.path.parents else self.path
        return f"{where}:{self.line}" if self.name else str(where)


@dataclass(frozen=True)
class Entry:
    """A line of the list: a kernel, with what it has of CPU and CUDA source."""

    module: str
    name: str
    cpu: tuple[Source, ...]
    cuda: Source | None

    @property
    def summary(self) -> str:
        summaries = [self.cuda.summary if self.cuda else "", *(s.summary for s in self.cpu)]
        if self.name.endswith("_grad"):
            summaries.append(f"the gradient of {self.name.removesuffix('_grad')}")
        return next((s for s in summaries if " " in s), "")  # one word says nothing


def modules() -> list[str]:
    """The modules with CUDA kernels."""
    return sorted(path.stem for path in FOLDER.glob("*.cu"))


def files(module: str) -> list[Source]:
    """A module's .py and .cu, whole."""
    known("kernel module", module, modules())
    return [
        Source(path, "", 1, path.read_text(encoding="utf-8").rstrip("\n"))
        for path in (FOLDER / f"{_cpu_module(module)}.py", FOLDER / f"{module}.cu")
        if path.exists()
    ]


def entries(module: str) -> list[Entry]:
    """All CUDA kernels of a module, then the CPU kernels that have no CUDA twin."""
    known("kernel module", module, modules())
    cpu, cuda = _python(FOLDER / f"{module}.py"), _cuda(FOLDER / f"{module}.cu")
    found = [Entry(module, name, _twins(module, name), source) for name, source in cuda.items()]
    for source in cpu:
        name = source.name.lstrip("_")
        if source.is_kernel and name not in cuda:
            found.append(Entry(module, name, (source,), None))
    return found


def entry(module: str, name: str) -> Entry:
    """One kernel by name, or any other function of the .py; a leading underscore may be left out.

    ValueError with close matches if there is none.
    """
    by_name = {e.name: e for e in entries(module)}
    wanted = name.lstrip("_")
    if wanted not in by_name and (functions := _named(module, wanted)):
        return Entry(module, wanted, functions, None)
    known(f"kernel in {module}", wanted, by_name)
    return by_name[wanted]


def known(what: str, name: str, choices: Iterable[str]) -> None:
    """ValueError, with close matches, if ``name`` is none of ``choices``."""
    choices = list(choices)
    if name not in choices:
        close = difflib.get_close_matches(name, choices, 3, 0.5)
        hint = f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(choices)}"
        raise ValueError(f"no {what} is called {name!r}: {hint}")


def _cpu_module(module: str) -> str:
    """conv2d_wmma.cu has the kernels of conv2d.cu on tensor cores, and conv2d.py beside it."""
    return module.removesuffix("_wmma")


def _named(module: str, name: str) -> tuple[Source, ...]:
    path = FOLDER / f"{_cpu_module(module)}.py"
    return tuple(s for s in _python(path) if s.name.lstrip("_") == name)


def _twins(module: str, name: str) -> tuple[Source, ...]:
    """The CPU functions that compute what a CUDA kernel does.

    Those of its name. A ``_naive`` kernel is the definition, as the plain loops of reference/ are;
    matmul_shared and its like are stages of matmul. Of a module that has no .py the plain loops are
    all there is.
    """
    base = name.removesuffix("_naive")
    plain = tuple(s for s in _python(FOLDER / "reference" / f"{module}.py") if s.name == base)
    if base != name and plain:
        return plain
    found = _named(module, name) or (() if _python(FOLDER / f"{module}.py") else plain)
    while not found and "_" in base:
        base = base.rpartition("_")[0]
        found = _named(module, base)
    return found


@functools.cache
def _python(path: Path) -> tuple[Source, ...]:
    if not path.exists():  # what NumPy does in one call needs no kernel on the CPU
        return ()
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    found = []
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef):
            decorators = [ast.unparse(d) for d in node.decorator_list]
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            doc = (ast.get_docstring(node) or "").partition("\n")[0]
            is_kernel = any(d == "kernel" or d.startswith("kernel(") for d in decorators)
            body = "\n".join(lines[first - 1 : node.end_lineno])
            found.append(Source(path, node.name, first, body, doc, is_kernel=is_kernel))
    return tuple(found)


@functools.cache
def _cuda(path: Path) -> dict[str, Source]:
    lines = path.read_text(encoding="utf-8").splitlines()
    found = {}
    for name, kernel in cuda_source.kernels(path).items():
        first = kernel.line - 1
        while first and re.match(r"//|template", lines[first - 1]):
            first -= 1
        end = next(i for i in range(kernel.line, len(lines)) if lines[i] == "}")
        comment = [line[2:].strip() for line in lines[first : kernel.line] if line[:2] == "//"]
        launch = next((c.removeprefix("launch: ") for c in comment if c.startswith("launch:")), "")
        said = [c for c in comment if not c.startswith(("launch:", "types:"))]
        text = "\n".join(lines[first : end + 1])
        found[name] = Source(path, name, first + 1, text, _first_sentence(said), launch)
    return found


def _first_sentence(comment: list[str]) -> str:
    """Of a comment's first paragraph; "The same." says too little without the kernel above."""
    paragraph = comment[: comment.index("")] if "" in comment else comment
    text = " ".join(paragraph).removeprefix("The same. ")
    return re.split(r"(?<=[.:;]) ", text)[0].rstrip(".:;")
