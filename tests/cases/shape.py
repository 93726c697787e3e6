"""Views, rearrangements and joins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

import minitorch_cnn
from minitorch_cnn.kernels.backend import empty
from minitorch_cnn.ops import shape as ops

from ..strategies import arrays, make_array, shapes
from . import Call, Case


def _drawn(
    settings: Callable[[st.DrawFn, np.ndarray], dict[str, Any]], **kwargs: Any
) -> st.SearchStrategy[Call]:
    """One array, and settings that depend on its shape."""

    @st.composite
    def calls(draw: st.DrawFn) -> Call:
        x = draw(arrays(shapes(**kwargs)))
        return Call((x,), settings(draw, x))

    return calls()


def _shape_of_size(draw: st.DrawFn, x: np.ndarray) -> dict[str, Any]:
    """A shape with as many elements, made by splitting and merging neighbours."""
    sizes = list(x.shape)
    if len(sizes) > 1 and draw(st.booleans()):
        i = draw(st.integers(0, len(sizes) - 2))
        sizes[i : i + 2] = [sizes[i] * sizes[i + 1]]
    if draw(st.booleans()):
        sizes.insert(draw(st.integers(0, len(sizes))), 1)
    for i, n in enumerate(sizes):
        if n == 4 and draw(st.booleans()):
            sizes[i : i + 1] = [2, 2]
            break
    if x.size and sizes and draw(st.booleans()):
        sizes[draw(st.integers(0, len(sizes) - 1))] = -1
    return {"shape": tuple(sizes)}


def _some_dims(draw: st.DrawFn, x: np.ndarray) -> tuple[int, ...]:
    order = draw(st.permutations(range(x.ndim)))
    return tuple(order[: draw(st.integers(0, x.ndim))])


@st.composite
def _expansions(draw: st.DrawFn) -> Call:
    full = draw(shapes(max_dims=4))
    cut = draw(st.integers(0, len(full)))
    old = tuple(1 if draw(st.booleans()) else n for n in full[cut:])
    target = tuple(
        -1 if i >= cut and n == old[i - cut] and draw(st.booleans()) else n
        for i, n in enumerate(full)
    )
    return Call((draw(arrays(old)),), {"size": target})


@st.composite
def _joins(draw: st.DrawFn, same: bool = False) -> Call:
    shape = draw(shapes(min_dims=0 if same else 1, max_dims=3))
    dim = draw(st.integers(-len(shape) - same, len(shape) - 1 + same))
    n = draw(st.integers(1, 4))
    xs = []
    for seed in range(n):
        sizes = list(shape)
        if not same:
            sizes[dim] = draw(st.integers(0, 3))
        xs.append(make_array(tuple(sizes), "normal", seed))
    return Call(tuple(xs), {"dim": dim})


def _rolls(draw: st.DrawFn, x: np.ndarray) -> dict[str, Any]:
    dims = _some_dims(draw, x)
    if not dims:
        return {"shifts": draw(st.integers(-4, 4))}
    return {"shifts": tuple(draw(st.integers(-4, 4)) for _ in dims), "dims": dims}


def _diagonals(draw: st.DrawFn, x: np.ndarray) -> dict[str, Any]:
    a, b = draw(st.permutations(range(x.ndim)))[:2]
    return {"offset": draw(st.integers(-3, 3)), "dim1": a, "dim2": b - x.ndim}


def _windows(draw: st.DrawFn, x: np.ndarray) -> dict[str, Any]:
    dim = draw(st.integers(-x.ndim, x.ndim - 1))
    return {
        "dimension": dim,
        "size": draw(st.integers(0, x.shape[dim])),
        "step": draw(st.integers(1, 3)),
    }


@st.composite
def _pads(draw: st.DrawFn) -> Call:
    mode = draw(st.sampled_from(["constant", "reflect", "replicate", "circular"]))
    if mode == "constant":
        x = draw(arrays(shapes(min_dims=1)))
        axes = draw(st.integers(1, x.ndim))
        low = [draw(st.integers(-n, 3)) for n in x.shape[::-1][:axes]]
        high = [draw(st.integers(-min(n, n + a), 3)) for a, n in zip(low, x.shape[::-1])]
    else:
        # PyTorch pads the last one, two or three of (N, C, ...) here.
        axes = draw(st.integers(1, 3))
        sizes = tuple(draw(st.integers(3, 5)) for _ in range(axes))
        x = draw(arrays((draw(st.integers(1, 2)), draw(st.integers(1, 3)), *sizes)))
        # A circular border is at most what a negative one on the other side leaves.
        most = {"reflect": -1, "replicate": 3, "circular": -2}[mode]
        low, high = (
            [draw(st.integers(-((n - 1) // 2), n + most)) for n in sizes[::-1]] for _ in range(2)
        )
    pad = tuple(p for pair in zip(low, high) for p in pair)
    settings = {"pad": pad, "mode": mode}
    return Call((x,), settings | {"value": 2.5} if mode == "constant" else settings)


def _rearranged(name: str) -> dict[str, Callable[..., Any]]:
    """The function ``name`` of both sides."""
    return {
        "ours": getattr(minitorch_cnn, name),
        "theirs": getattr(torch, name),
    }


def _method(name: str) -> dict[str, Callable[..., Any]]:
    def call(x: Any, **settings: Any) -> Any:
        return getattr(x, name)(**settings)

    return {"ours": call, "theirs": call}


def _joined(name: str) -> dict[str, Callable[..., Any]]:
    return {
        "ours": lambda *xs, dim: getattr(minitorch_cnn, name)(xs, dim),
        "theirs": lambda *xs, dim: getattr(torch, name)(xs, dim),
    }


def _appended(first: Any, *more: Any) -> Any:
    """The op as it is used, twice or more, with the room for all and for something else."""
    room = empty((first.shape[0], 20, *first.shape[2:]), first.array)
    for x in more:
        first = ops.append(first, x, room=room)
    return first


@st.composite
def _maps(draw: st.DrawFn) -> Call:
    N, H, W = draw(st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(1, 4)))
    channels = draw(st.lists(st.integers(0, 3), min_size=2, max_size=4))
    return Call(tuple(draw(arrays((N, C, H, W))) for C in channels))


_ANY = st.builds(lambda x: Call((x,)), arrays())
_MATRICES = _drawn(lambda draw, x: {"diagonal": draw(st.integers(-4, 4))}, min_dims=2)


CASES = (
    Case("reshape", "shape.reshape", **_rearranged("reshape"), calls=_drawn(_shape_of_size)),
    Case(
        "squeeze", "shape.reshape", **_rearranged("squeeze"),
        calls=_drawn(lambda draw, x: {"dim": _some_dims(draw, x)}, max_side=2),
    ),
    Case(
        "flatten", "shape.reshape", **_rearranged("flatten"),
        calls=_drawn(lambda draw, x: {"start_dim": draw(st.integers(0, x.ndim - 1))}, min_dims=1),
    ),
    Case(
        "permute", "shape.permute", **_rearranged("permute"),
        calls=_drawn(lambda draw, x: {"dims": tuple(draw(st.permutations(range(x.ndim))))}),
    ),
    Case(
        "movedim", "shape.permute", **_rearranged("movedim"),
        calls=_drawn(lambda draw, x: {
            "source": tuple(draw(st.permutations(range(x.ndim)))[:2]),
            "destination": tuple(draw(st.permutations(range(x.ndim)))[:2]),
        }, min_dims=2),
    ),
    Case("expand", "shape.expand", **_method("expand"), calls=_expansions()),
    Case("clone", "shape.clone", **_rearranged("clone"), calls=_ANY),
    Case(
        "contiguous", "shape.clone", **_method("contiguous"), calls=_ANY,
    ),
    Case(
        "copy_", "shape.replace",
        ours=lambda x, src: (x * 1).copy_(src),
        theirs=lambda x, src: (x * 1).copy_(src),
        calls=st.builds(
            lambda x, lead, seed: Call((x, make_array(x.shape[lead:], "normal", seed))),
            arrays(), st.integers(0, 4), st.integers(0, 99),
        ),
    ),
    Case("cat", "shape.cat", **_joined("cat"), calls=_joins()),
    Case(
        "append", "shape.append", ours=_appended, theirs=lambda *xs: torch.cat(xs, 1),
        calls=_maps(),
    ),
    Case("stack", "shape.stack", **_joined("stack"), calls=_joins(same=True)),
    Case(
        "repeat", "shape.repeat",
        ours=lambda x, repeats: x.repeat(repeats), theirs=lambda x, repeats: x.repeat(repeats),
        calls=_drawn(lambda draw, x: {"repeats": tuple(
            draw(st.integers(0, 3)) for _ in range(x.ndim + draw(st.integers(0, 2)))
        )}, max_dims=3),
    ),
    Case(
        "flip", "shape.flip", **_rearranged("flip"),
        calls=_drawn(lambda draw, x: {"dims": _some_dims(draw, x)}),
    ),
    Case("roll", "shape.roll", **_rearranged("roll"), calls=_drawn(_rolls)),
    Case(
        "rot90", "shape.flip", **_rearranged("rot90"),
        calls=_drawn(lambda draw, x: {
            "k": draw(st.integers(-5, 5)), "dims": tuple(draw(st.permutations(range(x.ndim)))[:2]),
        }, min_dims=2),
    ),
    Case("tril", "shape.tril", **_rearranged("tril"), calls=_MATRICES),
    Case("triu", "shape.triu", **_rearranged("triu"), calls=_MATRICES),
    Case(
        "diagonal", "shape.diagonal", **_rearranged("diagonal"),
        calls=_drawn(_diagonals, min_dims=2),
    ),
    Case(
        "diag", "shape.diag_embed", **_rearranged("diag"),
        calls=_drawn(
            lambda draw, x: {"diagonal": draw(st.integers(-3, 3))}, min_dims=1, max_dims=2
        ),
    ),
    Case(
        "diag_embed", "shape.diag_embed", **_rearranged("diag_embed"),
        calls=_drawn(lambda draw, x: {
            "offset": draw(st.integers(-2, 2)),
            **dict(zip(("dim1", "dim2"), draw(st.permutations(range(x.ndim + 1)))[:2])),
        }, min_dims=1, max_dims=3),
    ),
    Case("unfold", "shape.unfold", **_method("unfold"), calls=_drawn(_windows, min_dims=1)),
    Case(
        "pad", "shape.pad",
        ours=lambda x, pad, mode, value=0.0: ops.pad(x, pad=pad, mode=mode, value=value),
        theirs=torch.nn.functional.pad,
        calls=_pads(),
    ),
    Case(
        "transfer", "shape.transfer",
        ours=lambda x: ops.transfer(x, there=np.copy, back=np.copy),
        theirs=lambda x: x.clone(),
        calls=_ANY,
    ),
    Case(
        "repeat_interleave", "indexing.getitem", **_rearranged("repeat_interleave"),
        calls=_drawn(lambda draw, x: {
            "repeats": draw(st.integers(0, 3)),
            "dim": draw(st.sampled_from([None, *range(-x.ndim, x.ndim)])),
        }),
    ),
    Case(
        "split", "indexing.getitem", **_rearranged("split"),
        calls=_drawn(lambda draw, x: {
            "split_size_or_sections": draw(st.integers(1, 4)),
            "dim": draw(st.integers(-x.ndim, x.ndim - 1)),
        }, min_dims=1),
    ),
    Case(
        "chunk", "indexing.getitem", **_rearranged("chunk"),
        calls=_drawn(lambda draw, x: {
            "chunks": draw(st.integers(1, 4)), "dim": draw(st.integers(-x.ndim, x.ndim - 1)),
        }, min_dims=1),
    ),
    Case(
        "unbind", "indexing.getitem", **_rearranged("unbind"),
        calls=_drawn(
            lambda draw, x: {"dim": draw(st.integers(-x.ndim, x.ndim - 1))}, min_dims=1, min_side=1
        ),
    ),
)  # fmt: skip
