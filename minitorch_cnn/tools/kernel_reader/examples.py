"""Small inputs for the CUDA kernels, and what the plain loops of kernels/reference make of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...dtypes import is_floating
from ...kernels import reference
from ...kernels.winograd import matrices

Array = np.ndarray[Any, Any]
Three = tuple[int, int, int]


@dataclass(frozen=True)
class Example:
    """Arguments of a kernel by name, in order, and the results expected.

    The first result is the one that is looked at. ``thread`` of the first block is followed. Of
    each number the emulator knows the last reader, so where threads read the same numbers it must
    be the first one, which is made the last to run; ``own_reads`` is False where barriers forbid
    that. ``block``: fewer threads than the launch line says, to have several blocks. ``rows``: how
    many axes of an array are the rows of its picture; all but the last, unless given. ``product``:
    the picture has b above c, and a beside it.
    """

    arguments: dict[str, Any]
    expected: dict[str, Array]
    thread: Three = (0, 0, 0)
    block: int | None = None
    own_reads: bool = True
    rows: dict[str, int] = field(default_factory=dict)
    product: bool = False

    @property
    def output(self) -> str:
        return next(iter(self.expected))

    @property
    def inputs(self) -> list[str]:
        return [
            name
            for name, value in self.arguments.items()
            if isinstance(value, np.ndarray) and name not in self.expected and value.ndim > 1
        ]


def example(module: str, name: str) -> Example:
    """A fresh example, with outputs full of NaN."""
    return EXAMPLES[module][name]()


def _normal(*shape: int) -> Array:
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)


def _prepared(inputs: dict[str, Any], expected: dict[str, Array], **settings: Any) -> Example:
    """Outputs stand behind the input arrays and before the numbers, as in all our kernels."""
    arrays = {k: v for k, v in inputs.items() if v is None or isinstance(v, np.ndarray)}
    numbers = {k: v for k, v in inputs.items() if k not in arrays}
    empty = {
        k: np.full_like(v, np.nan if is_floating(v.dtype) else -77) for k, v in expected.items()
    }
    return Example({**arrays, **empty, **numbers}, expected, **settings)


def _geometry(kernel: bool, S: int = 1) -> dict[str, int]:
    """Padding 0: the first thread's window lies inside, and shows all of its numbers."""
    sizes = {"KH": 3, "KW": 3} if kernel else {}
    return {**sizes, "SH": S, "SW": S, "PH": 0, "PW": 0, "DH": 1, "DW": 1}


def _im2col() -> Example:
    x = _normal(1, 1, 5, 6)
    col = reference.im2col.unfold(x, (3, 3), (3, 4), (1, 1), (0, 0), (1, 1)).reshape(1, 9, 3, 4)
    return _prepared({"x": x, **_geometry(True)}, {"col": col}, block=4, rows={"col": 2})


def _convolution(C: int, F: int, H: int, W: int, groups: int, **settings: Any) -> Example:
    x, weight, bias = _normal(1, C, H, W), _normal(F, C // groups, 3, 3), _normal(F)
    y = reference.conv2d.forward(x, weight, (1, 1), (0, 0), (1, 1), groups, bias)
    inputs = {"x": x, "weight": weight, "bias": bias, **_geometry(False)}
    if not settings.pop("depthwise", False):
        inputs["groups"] = groups
    return _prepared(inputs, {"y": y}, **settings)


def _matmul(M: int, K: int, N: int, **settings: Any) -> Example:
    a, b = _normal(1, M, K), _normal(1, K, N)
    c = (a.astype(np.float64) @ b).astype(np.float32)
    return _prepared({"a": a, "b": b}, {"c": c}, product=True, **settings)


def _tiled() -> Example:
    return _matmul(100, 20, 180, thread=(37, 0, 0))


def _max_pool2d() -> Example:
    x = _normal(1, 6, 8)
    y, indices = reference.pool.max_pool2d(x, (2, 2), (2, 2), (0, 0), (1, 1), (3, 4))
    made = _prepared({"x": x}, {"y": y, "indices": indices.astype(np.int64)}, block=4)
    made.arguments.update({"lowest": -np.inf, **_geometry(True, 2), "KH": 2, "KW": 2})
    return made


def _softmax(name: str) -> Example:
    x = _normal(10, 40)
    y = getattr(reference.softmax, name)(x)
    return _prepared({"x": x}, {"y": y}, thread=(3, 2, 0))


def _moments() -> Example:
    x = _normal(2, 3, 6)
    mean, var = reference.norm.moments(x)
    return _prepared({"x": x}, {"mean": mean, "var": var}, thread=(0, 0, 0))


def _winograd_data() -> Example:
    """Tiles of 2 x 2 pixels see 4 x 4, which overlap."""
    x, B = _normal(1, 1, 6, 8), matrices(2)[0]
    tiles = [x[0, 0, h : h + 4, w : w + 4] for h in (0, 2) for w in (0, 2, 4)]
    v = np.stack([(B @ tile @ B.T).ravel() for tile in tiles], 1)[:, None].astype(np.float32)
    return _prepared({"x": x, "PH": 0, "PW": 0, "tile": 2}, {"v": v}, block=4, rows={"v": 2})


EXAMPLES: dict[str, dict[str, Callable[[], Example]]] = {
    "im2col": {"im2col": _im2col},
    "conv2d": {
        "forward_naive": lambda: _convolution(2, 2, 5, 6, 1, block=8),
        "forward": lambda: _convolution(
            2, 80, 14, 16, 1, thread=(37, 0, 0), own_reads=False, rows={"weight": 1, "y": 2}
        ),
    },
    "gemm": {
        "matmul_naive": lambda: _matmul(4, 5, 6, block=8),
        "matmul_shared": lambda: _matmul(24, 40, 28, thread=(5, 3, 0)),
        "matmul_registers": _tiled,
        "matmul_vectors": _tiled,
        "matmul": _tiled,
    },
    "pool": {"max_pool2d": _max_pool2d},
    "depthwise": {"forward": lambda: _convolution(2, 2, 5, 6, 2, depthwise=True, block=8)},
    "softmax": {
        "softmax": lambda: _softmax("softmax"),
        "log_softmax": lambda: _softmax("log_softmax"),
    },
    "norm": {"moments": _moments},
    "winograd": {"data": _winograd_data},
}
