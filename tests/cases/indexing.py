"""Reading and writing at indices, along a dimension and through masks."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

import minitorch_cnn

from ..devices import from_numpy
from ..strategies import arrays, make_array, shapes
from . import Call, Case


@st.composite
def indices(draw: st.DrawFn, shape: tuple[int, ...]) -> Any:
    """Whatever may stand in x[...] for an x of this shape; index tensors are arrays here."""
    if len(shape) and draw(st.integers(0, 5)) == 0:
        return np.array(draw(st.lists(st.booleans(), min_size=shape[0], max_size=shape[0])), bool)
    items: list[Any] = []
    common = draw(st.sampled_from([(), (1,), (3,), (2, 3)]))
    d = 0
    while d < len(shape):
        kind = draw(st.sampled_from(["int", "slice", "array", "array", "none", "mask", "stop"]))
        n = shape[d]
        if kind == "none":
            items.append(None)
            continue
        if kind == "stop":
            break
        if kind == "int" and n:
            items.append(draw(st.integers(-n, n - 1)))
        elif kind == "array" and n and common:
            sizes = tuple(1 if draw(st.integers(0, 3)) == 0 else c for c in common)
            picks = st.lists(
                st.integers(-n, n - 1), min_size=int(np.prod(sizes)), max_size=int(np.prod(sizes))
            )
            items.append(np.array(draw(picks), np.int64).reshape(sizes))
        elif kind == "mask" and not any(isinstance(i, np.ndarray) for i in items):
            k = draw(st.integers(1, min(2, len(shape) - d)))
            seed = draw(st.integers(0, 99))
            items.append(np.random.default_rng(seed).random(shape[d : d + k]) < 0.5)
            common = ()
            d += k - 1
        else:
            bounds = st.none() | st.integers(-n - 1, n + 1)
            step = draw(st.none() | st.integers(1, 3))
            items.append(slice(draw(bounds), draw(bounds), step))
        d += 1
    if draw(st.booleans()):
        # Before the last item only if nothing after it depends on its dimension.
        items.append(Ellipsis)
    return tuple(items)


def to_tensors(index: Any, make: Any) -> Any:
    if isinstance(index, tuple):
        return tuple(to_tensors(i, make) for i in index)
    return make(index) if isinstance(index, np.ndarray) else index


def _ours(index: Any) -> Any:
    return to_tensors(index, from_numpy)


def _theirs(index: Any) -> Any:
    return to_tensors(index, torch.from_numpy)


@st.composite
def _reads(draw: st.DrawFn) -> Call:
    x = draw(arrays(shapes(max_dims=4)))
    return Call((x,), {"index": draw(indices(x.shape))})


@st.composite
def _writes(draw: st.DrawFn) -> Call:
    x = draw(arrays(shapes(min_dims=1, max_dims=4, min_side=1)))
    index = draw(indices(x.shape).filter(_never_twice))
    target = torch.from_numpy(x)[_theirs(index)].shape
    cut = draw(st.integers(0, len(target)))
    sizes = tuple(1 if draw(st.integers(0, 3)) == 0 else n for n in target[cut:])
    sizes = (1,) * draw(st.integers(0, 1)) + sizes if cut == 0 else sizes
    return Call((x, make_array(sizes, "normal", draw(st.integers(0, 99)))), {"index": index})


def _never_twice(index: Any) -> bool:
    """Which of two values written to one place stays is not defined."""
    items = index if isinstance(index, tuple) else (index,)
    return not any(isinstance(i, np.ndarray) and i.dtype == np.int64 and i.size > 1 for i in items)


def _write(x: Any, value: Any, index: Any) -> Any:
    y = x * 1
    y[index] = value
    return y


@st.composite
def _along(draw: st.DrawFn, sources: int = 0, unique: bool = False) -> Call:
    """x, a dim, an index no larger than x elsewhere, and sources of the index's shape.

    (Sources may be larger, but PyTorch cannot differentiate those.)
    """
    shape = draw(shapes(min_dims=1, max_dims=3, min_side=1))
    dim = draw(st.integers(0, len(shape) - 1))
    sizes = [draw(st.integers(0, n)) for n in shape]
    if not unique:
        sizes[dim] = draw(st.integers(0, 6))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    if unique:
        order = np.argsort(rng.random((*sizes[:dim], shape[dim], *sizes[dim + 1 :])), dim)
        index = np.take(order, range(sizes[dim]), dim)
    else:
        index = rng.integers(0, shape[dim], sizes)
    extra = tuple(make_array(tuple(sizes), "normal", seed) for seed in range(sources))
    return Call(
        (draw(arrays(shape)), *extra), {"dim": dim - draw(st.sampled_from([0, len(shape)])),
                                        "index": index},
    )  # fmt: skip


@st.composite
def _rows(draw: st.DrawFn, source: bool = False, unique: bool = False) -> Call:
    """x, a dim, and a vector of indices into it."""
    x = draw(arrays(shapes(min_dims=1, max_dims=3, min_side=1)))
    dim = draw(st.integers(0, x.ndim - 1))
    rows = st.lists(st.integers(0, x.shape[dim] - 1), max_size=6, unique=unique)
    index = np.array(draw(rows), np.int64)
    shape = (*x.shape[:dim], len(index), *x.shape[dim + 1 :])
    given = (make_array(shape, "normal", 5),) if source else ()
    return Call((x, *given), {"dim": dim, "index": index})


@st.composite
def _masked(draw: st.DrawFn, value: str) -> Call:
    full = draw(shapes(max_dims=3, min_side=1))
    cuts = (draw(st.integers(0, len(full))), draw(st.integers(0, len(full))))
    x_shape, mask_shape = (
        tuple(1 if draw(st.integers(0, 3)) == 0 else n for n in full[cut:]) for cut in cuts
    )
    mask = np.random.default_rng(draw(st.integers(0, 99))).random(mask_shape) < 0.5
    x = draw(arrays(x_shape))
    if value == "none":
        return Call((x,), {"mask": np.asarray(mask)})
    size = () if value == "number" else (int(np.prod(full)) + 1,)
    return Call((x, make_array(size, "normal", 7)), {"mask": np.asarray(mask)})


def _pair(name: str, *names: str) -> dict[str, Any]:
    """The function of both sides, its index or mask made a tensor of theirs or ours."""

    def on(side: Any, make: Any) -> Any:
        def call(*xs: Any, **settings: Any) -> Any:
            given = {
                k: make(np.ascontiguousarray(v)) if isinstance(v, np.ndarray) and v.ndim else
                side.tensor(v.item()) if isinstance(v, np.ndarray) else v
                for k, v in settings.items()
            }  # fmt: skip
            return getattr(side, name)(xs[0], **dict(zip(names, xs[1:])), **given)

        return call

    return {
        "ours": on(minitorch_cnn, from_numpy),
        "theirs": on(torch, torch.from_numpy),
    }


CASES = (
    Case(
        "getitem", "indexing.getitem",
        ours=lambda x, index: x[_ours(index)],
        theirs=lambda x, index: x[_theirs(index)],
        calls=_reads(),
    ),
    Case(
        "setitem", "indexing.setitem",
        ours=lambda x, v, index: _write(x, v, _ours(index)),
        theirs=lambda x, v, index: _write(x, v, _theirs(index)),
        calls=_writes(),
    ),
    Case("gather", "indexing.gather", **_pair("gather"), calls=_along()),
    Case(
        "scatter", "indexing.scatter", **_pair("scatter", "src"), calls=_along(1, unique=True)
    ),
    Case("scatter_add", "indexing.scatter_add", **_pair("scatter_add", "src"), calls=_along(1)),
    Case("index_select", "indexing.getitem", **_pair("index_select"), calls=_rows()),
    Case(
        "index_add", "indexing.scatter_add", **_pair("index_add", "source"),
        calls=_rows(source=True),
    ),
    Case(
        "index_copy", "indexing.setitem", **_pair("index_copy", "source"),
        calls=_rows(source=True, unique=True),
    ),
    Case(
        "index_fill", "indexing.setitem",
        ours=lambda x, dim, index: x.index_fill(dim, from_numpy(index), 2.5),
        theirs=lambda x, dim, index: x.index_fill(dim, torch.from_numpy(index), 2.5),
        calls=_rows(),
    ),
    Case("masked_fill", "indexing.masked_fill", **_pair("masked_fill", "value"),
         calls=_masked("number")),
    Case("masked_select", "indexing.getitem", **_pair("masked_select"), calls=_masked("none")),
    Case("masked_scatter", "indexing.masked_scatter", **_pair("masked_scatter", "source"),
         calls=_masked("vector")),
    Case(
        "take", "indexing.getitem",
        ours=lambda x, index: x.take(from_numpy(index)),
        theirs=lambda x, index: x.take(torch.from_numpy(index)),
        calls=arrays(shapes(min_side=1)).flatmap(lambda x: st.builds(
            lambda picks: Call((x,), {"index": np.array(picks, np.int64)}),
            st.lists(st.integers(-x.size, x.size - 1), max_size=5),
        )),
    ),
    Case(
        "take_along_dim", "indexing.gather",
        ours=lambda x, index: minitorch_cnn.take_along_dim(x, from_numpy(index), 1),
        theirs=lambda x, index: torch.take_along_dim(x, torch.from_numpy(index), 1),
        calls=st.builds(
            lambda seed, one: Call(
                (make_array((3, 4, 1 if one else 2), "normal", seed),),
                {"index": np.random.default_rng(seed).integers(0, 4, (1, 3, 2))},
            ),
            st.integers(0, 99), st.booleans(),
        ),
    ),
)  # fmt: skip
