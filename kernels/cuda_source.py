"""What a ``.cu`` file says about itself: its kernels, their parameters and their launch shape.

One truth for all who launch or compile kernels. A file holds plain kernels, ::

    // launch: block (16, 16), grid (ceil(OW / 16), ceil(OH / 16), N)
    template <typename T>
    __global__ void __launch_bounds__(256) name(Array<const T, 4> x, Array<T, 4> y, int KH) {

of which a small parser reads the ``// launch:`` line (and ``// types: Half, BFloat16 from sm_80``
where not every type will do), the template's and the kernel's parameters, ``constexpr int``
constants, and names that the body gives to extents (``int OW = y.shape[3]``). The expressions of a
launch line may use all of these names. The template is of ``T``, or of ``E`` with ``T = Real<E>``
(see half.cuh).
"""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .half import BFLOAT16

__all__ = ["Kernel", "LaunchRule", "Parameter", "find", "inlined", "kernels", "launch_shape"]

SCALARS: dict[str, Any] = {  # what np.dtype takes
    "float": "f4",
    "double": "f8",
    "bool": "?",
    "char": "i1",
    "signed char": "i1",
    "unsigned char": "u1",
    "short": "i2",
    "unsigned short": "u2",
    "int": "i4",
    "unsigned": "u4",
    "unsigned int": "u4",
    "long long": "i8",
    "unsigned long long": "u8",
    "int8_t": "i1",
    "uint8_t": "u1",
    "int16_t": "i2",
    "uint16_t": "u2",
    "int32_t": "i4",
    "uint32_t": "u4",
    "int64_t": "i8",
    "uint64_t": "u8",
    "Half": "f2",
    "BFloat16": BFLOAT16,
}
REAL = {"Half": "float", "BFloat16": "float"}  # half.cuh's Real: the others are their own
TYPES = {"E": ("float", "double", "Half", "BFloat16"), "T": ("float", "double")}


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One parameter of a kernel; ``ndim`` is None for a number, 0 for a bare pointer."""

    name: str
    type: str
    dtype: np.dtype[Any]
    ndim: int | None
    const: bool


@dataclasses.dataclass(frozen=True)
class LaunchRule:
    """``// launch: block ..., grid ...``, or what the grid strides over: expressions."""

    block: tuple[str, ...]
    grid: tuple[str, ...]
    stride: str


@dataclasses.dataclass(frozen=True)
class Kernel:
    """A kernel of a file, as it is written: types may still name template parameters."""

    path: Path
    name: str
    line: int
    templates: tuple[str, ...]  # of those that a caller gives; T = Real<E> follows from E
    derived: Mapping[str, str]  # T -> "E"
    types: Mapping[str, str]  # that it is compiled for -> the oldest architecture, or ""
    parameters: tuple[tuple[str, str], ...]  # (type, name)
    rule: LaunchRule | None
    launch_bounds: str
    constants: Mapping[str, str]
    extents: Mapping[str, tuple[str, int]]  # OW -> ("y", 3)

    def values(self, arguments: Sequence[str]) -> dict[str, str]:
        """All template parameters, where these are given: ``["Half"]`` is E, and T is float."""
        if len(arguments) != len(self.templates):
            raise ValueError(
                f"{self.name} has {len(self.templates)} template parameters"
                f" ({', '.join(self.templates)}), but got {len(arguments)}"
            )
        given = dict(zip(self.templates, arguments, strict=True))
        return given | {name: REAL.get(given[E], given[E]) for name, E in self.derived.items()}

    def instantiate(self, arguments: Sequence[str]) -> tuple[Parameter, ...]:
        """The parameters for given template arguments, ``["float"]``."""
        values = self.values(arguments)
        return tuple(_parameter(type, name, values) for type, name in self.parameters)


def _parameter(type: str, name: str, values: Mapping[str, str]) -> Parameter:
    written = re.sub(r"\b\w+\b", lambda word: values.get(word[0], word[0]), type)
    ndim: int | None = None
    element = written
    if array := re.fullmatch(r"(?:const )?Array<\s*(.+?)\s*,\s*(\w+)\s*>", written):
        element, ndim = array[1], int(array[2])
    elif "*" in written:
        element, ndim = written.replace("__restrict__", "").replace("*", " ").strip(), 0
    const = bool(re.search(r"\bconst\b", element))
    plain = " ".join(re.sub(r"\bconst\b", " ", element).split())
    if plain not in SCALARS:
        raise ValueError(f"parameter {name}: {plain!r} is not a type that kernels take")
    return Parameter(name, written, np.dtype(SCALARS[plain]), ndim, const)


def inlined(path: Path | str) -> str:
    """The text of a .cu with our headers (``#include "x.cuh"``) put in their place.

    ``#line`` directives keep what compilers report at the right line of the right file.
    """
    return _inlined(Path(path), set())


def _header(path: Path, name: str) -> Path:
    """Beside the file that includes it, or else here: a reader's own .cu can use array.cuh too."""
    beside = path.parent / name
    return beside if beside.exists() else Path(__file__).parent / name


def _inlined(path: Path, seen: set[Path]) -> str:
    lines = [f'#line 1 "{path.name}"']
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if re.match(r"\s*#\s*pragma\s+once\b", line):
            lines.append("")
        elif include := re.match(r'\s*#\s*include\s+"([^"]+)"', line):
            header = _header(path, include[1])
            if header not in seen:
                seen.add(header)
                lines.append(_inlined(header, seen))
                lines.append(f'#line {number + 1} "{path.name}"')
            else:
                lines.append("")
        else:
            lines.append(line)
    return "\n".join(lines)


def _without_comments(text: str) -> str:
    """Comments and strings become blanks, so that positions and line numbers stay."""
    blank: Callable[[re.Match[str]], str] = lambda match: re.sub(r"[^\n]", " ", match[0])
    return re.sub(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', blank, text, flags=re.DOTALL)


def kernels(path: Path | str) -> dict[str, Kernel]:
    """Every ``__global__`` function of a file, by name."""
    path = Path(path)
    text = path.read_text(encoding="utf-8")
    code = _without_comments(text)
    headers = "".join(
        _without_comments(inlined(_header(path, name)))
        for name in re.findall(r'^\s*#\s*include\s+"([^"]+)"', text, flags=re.MULTILINE)
    )
    rules, types = (
        [(match.start(), match[1]) for match in re.finditer(rf"//\s*{what}:\s*([^\n]*)", text)]
        for what in ("launch", "types")
    )
    found: dict[str, Kernel] = {}
    starts = list(re.finditer(r"__global__\s", code))
    previous = 0
    for i, start in enumerate(starts):
        end = starts[i + 1].start() if i + 1 < len(starts) else len(code)
        bounds = ""
        head = re.compile(
            r"__global__\s+(?:static\s+)?(?:void\s+)?(?:__launch_bounds__\s*\(([^)]*)\)\s*)?"
            r"(?:void\s+)?(\w+)\s*\("
        ).match(code, start.start())
        if head is None:
            continue
        bounds = (head[1] or "").split(",")[0].strip()
        close = _closing(code, head.end() - 1)
        body = code[close:end]
        template = re.search(r"template\s*<((?:[^<>]|<[^<>]*>)*)>\s*$", code[: start.start()])
        # The first comment line between the kernel before and this one.
        rule = next((r for at, r in rules if previous <= at < start.start()), None)
        only = next((t for at, t in types if previous <= at < start.start()), None)
        constants = _constants(headers + code[: starts[0].start()] + body)
        given, derived = _templates(template[1] if template else "")
        found[head[2]] = Kernel(
            path,
            head[2],
            code.count("\n", 0, start.start()) + 1,
            given,
            derived,
            _types(only, given),
            tuple(_declaration(part) for part in _split(code[head.end() : close])),
            _rule(rule) if rule else None,
            bounds,
            constants,
            _extents(body),
        )
        previous = start.end()
    return found


def _templates(text: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """``typename E, typename T = Real<E>``: E is given, T follows from it."""
    given, derived = [], {}
    for part in _split(text):
        declared, _, default = part.partition("=")
        name = declared.split()[-1]
        if not default:
            given.append(name)
        elif real := re.fullmatch(r"\s*Real<(\w+)>", default):
            derived[name] = real[1]
        else:
            raise ValueError(f"template parameter {part!r}: only Real<E> can be a default")
    return tuple(given), derived


def _types(line: str | None, templates: tuple[str, ...]) -> dict[str, str]:
    """``// types: Half, BFloat16 from sm_80``; without such a line, all that E or T can be."""
    if line is None:
        return dict.fromkeys(TYPES.get(templates[0], ()) if templates else ("",), "")
    pairs = (part.partition(" from ") for part in _split(line))
    return {name.strip(): oldest.strip() for name, _, oldest in pairs}


def _constants(code: str) -> dict[str, str]:
    """``constexpr int A = 16 / sizeof(T), B = Tile<T>::B;``: a name for another's is left out."""
    found = {}
    for declared in re.findall(r"\bconstexpr\s+(?:int|unsigned|long long)\s+([^;]+);", code):
        for part in _split(declared):
            name, _, value = part.partition("=")
            value = re.sub(r"\b\w+\s*<[^<>]*>::", "", value).strip()
            if value != name.strip():
                found[name.strip()] = value
    return found


def _extents(body: str) -> dict[str, tuple[str, int]]:
    """``H = x.shape[2]`` and ``auto [N, C, H, W] = x.shape``."""
    found = {
        name: (array, int(axis))
        for name, array, axis in re.findall(r"\b(\w+)\s*=\s*(\w+)\.shape\[(\d+)\]\s*[,;]", body)
    }
    for names, array in re.findall(r"\bauto&?\s*\[([^\]]*)\]\s*=\s*(\w+)\.shape\s*;", body):
        found |= {name: (array, axis) for axis, name in enumerate(_split(names))}
    return found


def find(path: Path | str, expression: str) -> tuple[Kernel, tuple[Parameter, ...], dict[str, str]]:
    """The kernel, its parameters and its template's values for a name such as ``conv2d<float>``."""
    name, _, rest = expression.replace(" ", "").partition("<")
    all_kernels = kernels(path)
    if name not in all_kernels:
        raise ValueError(
            f"{Path(path).name} has no kernel {name!r}: it has {', '.join(all_kernels) or 'none'}"
        )
    kernel = all_kernels[name]
    arguments = _split(rest.removesuffix(">").replace("longlong", "long long"))
    return kernel, kernel.instantiate(arguments), kernel.values(arguments)


def _closing(code: str, opening: int) -> int:
    depth = 0
    for at in range(opening, len(code)):
        depth += {"(": 1, ")": -1}.get(code[at], 0)
        if depth == 0:
            return at
    raise ValueError("a kernel's parameter list has no end")


def _split(text: str) -> list[str]:
    """Split at commas outside of brackets."""
    parts, depth = [""], 0
    for character in text:
        depth += {"<": 1, "(": 1, "[": 1, ">": -1, ")": -1, "]": -1}.get(character, 0)
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts if part.strip()]


def _declaration(text: str) -> tuple[str, str]:
    match = re.fullmatch(r"(.*?)\s*\b(\w+)", " ".join(text.split()))
    assert match is not None
    return match[1], match[2]


def _rule(text: str) -> LaunchRule:
    pattern = r"block\s+(.+?),\s*(?:grid-stride\s+over\s+(.+)|grid\s+(.+))"
    match = re.fullmatch(pattern, text.strip())
    if match is None:
        raise ValueError(
            f"'// launch: {text}' is neither 'block B, grid-stride over E' nor 'block B, grid G'"
        )
    return LaunchRule(
        _tuple_of(match[1]), _tuple_of(match[3]) if match[3] else (), (match[2] or "").strip()
    )


def _tuple_of(text: str) -> tuple[str, ...]:
    text = text.strip()
    if text.startswith("(") and len(parts := _split(text[1:-1])) > 1:
        return tuple(parts)
    return (text,)


def launch_shape(
    kernel: Kernel,
    templates: Mapping[str, str],
    arguments: Mapping[str, Any],
    max_blocks: int,
    block: Sequence[int] | None = None,
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(grid, block) of three numbers each, by the kernel's ``// launch:`` line.

    ``arguments`` holds arrays (anything with ``shape`` and ``size``) and numbers by parameter name;
    a grid-stride loop gets as many blocks as there is work for, but ``max_blocks`` at most.
    """
    rule = kernel.rule
    if rule is None:
        raise ValueError(f"{kernel.name} has no '// launch:' line: give grid and block")
    names = _Names(kernel, templates, arguments)
    if block is None:
        block = [names.value(part) for part in rule.block]
    if rule.stride:
        work, threads = names.value(rule.stride), int(np.prod(block))
        grid = [min(-(-work // threads), max_blocks)]
    else:
        grid = [names.value(part) for part in rule.grid]
    return _three(grid), _three(block)


def constant(kernel: Kernel, templates: Mapping[str, str], expression: str) -> int:
    """The value of an expression of constants, such as that in ``__launch_bounds__``."""
    return _Names(kernel, templates, {}).value(expression)


def _three(numbers: Sequence[int]) -> tuple[int, ...]:
    return (*(int(n) for n in numbers), 1, 1)[:3]


class _Names:
    def __init__(
        self, kernel: Kernel, templates: Mapping[str, str], arguments: Mapping[str, Any]
    ) -> None:
        self.kernel = kernel
        self.templates = templates
        self.arguments = arguments

    def value(self, expression: str) -> int:
        try:
            tree = ast.parse(expression.strip(), mode="eval")
        except SyntaxError:
            raise ValueError(f"{self.kernel.name}: cannot read {expression!r}") from None
        return int(self._node(tree.body))

    def _node(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=int(number)):
                return number
            case ast.Name(id=name):
                return self._name(name)
            case ast.BinOp(left=left, op=op, right=right):
                a, b = self._node(left), self._node(right)
                match op:
                    case ast.Add():
                        return a + b
                    case ast.Sub():
                        return a - b
                    case ast.Mult():
                        return a * b
                    case ast.Div() | ast.FloorDiv():
                        return a // b
            case ast.Call(func=ast.Name(id="ceil"), args=[ast.BinOp(left, ast.Div(), right)]):
                return -(-self._node(left) // self._node(right))
            case ast.Call(func=ast.Name(id="min" | "max" as which), args=args):
                return {"min": min, "max": max}[which](self._node(arg) for arg in args)
            case ast.Call(func=ast.Name(id="sizeof"), args=[ast.Name(id=type)]):
                return np.dtype(SCALARS[self.templates.get(type, type)]).itemsize
            case ast.Attribute(value=ast.Name(id=array), attr="size"):
                return self._array(array).size
            case ast.Subscript(
                value=ast.Attribute(value=ast.Name(id=array), attr="shape"), slice=axis
            ):
                return self._array(array).shape[self._node(axis)]
        raise ValueError(f"{self.kernel.name}: a launch line cannot hold {ast.unparse(node)!r}")

    def _array(self, name: str) -> Any:
        array = self.arguments.get(name)
        if not hasattr(array, "shape"):
            raise ValueError(f"{self.kernel.name}: the launch line needs array {name!r}")
        return array

    def _name(self, name: str) -> int:
        if isinstance(value := self.arguments.get(name), (int, np.integer)):
            return int(value)
        if name in self.templates:
            return int(self.templates[name])
        if name in self.kernel.extents:
            array, axis = self.kernel.extents[name]
            return int(self._array(array).shape[axis])
        if name in self.kernel.constants:
            return self.value(self.kernel.constants[name])
        raise ValueError(
            f"{self.kernel.name}: {name!r} of the launch line is no parameter, no constexpr int,"
            f" and no extent that the body names ({name} = array.shape[...])"
        )
