"""Rows for reductions and for what chooses elements along a dimension."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from minitorch_cnn import functions as f
from minitorch_cnn import linalg

from ..strategies import arrays, shapes
from . import Call, Case

SMOOTH = ("normal", "negative", "distinct")
TIES = ("ties", "zeros_and_ones", "distinct")


@st.composite
def _reductions(
    draw: st.DrawFn,
    kinds: tuple[str, ...] = SMOOTH,
    one: bool = False,
    whole: bool = True,
    keepdims: bool = True,
    min_side: int = 0,
    min_dims: int = 0,
    **settings: Any,
) -> Call:
    """``x`` and ``dim`` (one, several, negative or absent) and ``keepdim``."""
    x = draw(arrays(shapes(min_dims, 4, min_side), kinds))
    n = max(x.ndim, 1)
    dims = st.integers(-n, n - 1)
    if x.ndim and not one:
        dims |= st.permutations(range(x.ndim)).flatmap(
            lambda order: st.integers(1, len(order)).map(lambda k: tuple(order[:k]))
        )
    chosen: dict[str, Any] = {k: draw(v) for k, v in settings.items()}
    if not whole or draw(st.booleans()):
        chosen["dim"] = draw(dims)
        if keepdims:
            chosen["keepdim"] = draw(st.booleans())
    return Call((x,), chosen)


def _row(name: str, calls: Any, op: str = "reduce", **options: Any) -> Case:
    return Case(name, f"{op}.{name}", getattr(f, name), getattr(torch, name), calls, **options)


_P = st.sampled_from([2, 1, 0, 3, 1.5, float("inf"), -float("inf"), -1])


_spread = _reductions(min_side=2, min_dims=1, correction=st.sampled_from([0, 1]))


@st.composite
def _masked(draw: st.DrawFn) -> Call:
    call = draw(_reductions(TIES))
    x = np.asarray(np.where(call.arrays[0] == 1, np.nan, call.arrays[0]))
    return Call((x,), call.settings)


@st.composite
def _counts(draw: st.DrawFn) -> Call:
    n = draw(st.integers(1, 8))
    values = draw(st.lists(st.integers(0, 6), min_size=n, max_size=n))
    return Call((np.array(values), np.ones(n)), {"minlength": draw(st.integers(0, 9))})


@st.composite
def _histograms(draw: st.DrawFn) -> Call:
    x = draw(arrays(shapes(1, 3, 1), ("ties",)))
    low, high = draw(st.sampled_from([(0, 0), (-1.25, 1.25), (-5, 5.5)]))
    return Call((x,), {"bins": draw(st.integers(1, 5)), "min": low, "max": high})


REDUCE = (
    _row("sum", _reductions()),
    _row("mean", _reductions()),
    Case("nansum", "reduce.nansum", f.nansum, torch.nansum, _masked(), smooth=False),
    Case("nanmean", "reduce.nansum", f.nanmean, torch.nanmean, _masked(), smooth=False),
    _row("prod", _reductions((*SMOOTH, "zeros_and_ones"), one=True)),
    _row("var", _spread),
    _row("std", _spread),
    _row("amax", _reductions(TIES, min_side=1), smooth=False),
    _row("amin", _reductions(TIES, min_side=1), smooth=False),
    Case("max", "reduce.amax", f.max, torch.max, _reductions(TIES, min_side=1, keepdims=False).map(
         lambda c: Call(c.arrays)), smooth=False),
    _row("logsumexp", _reductions(whole=False)),
    _row("norm", _reductions(min_side=1, p=_P), smooth=False, rtol64=1e-7),
    Case("matrix_norm", "reduce.norm",
         linalg.matrix_norm, torch.linalg.matrix_norm,
         st.builds(lambda x, p: Call((x,), {"ord": p}), arrays(shapes(2, 4, 1)),
                   st.sampled_from(["fro", 1, -1, float("inf"), -float("inf")])), smooth=False),
    _row("cumsum", _reductions(one=True, whole=False, keepdims=False)),
    _row("cumprod", _reductions((*SMOOTH, "zeros_and_ones", "ties"), one=True, whole=False,
                                keepdims=False), rtol32=1e-3),
    _row("all", _reductions(TIES), differentiable=False),
    _row("any", _reductions(TIES), differentiable=False),
    _row("count_nonzero", _reductions(TIES, keepdims=False), differentiable=False),
    _row("bincount", _counts(), differentiable=False),
    _row("histc", _histograms(), differentiable=False),
)  # fmt: skip


def _chosen(name: str, calls: Any, op: str, values_only: bool = False) -> Case:
    """Indices are compared too, except where PyTorch may choose any of several equal elements."""
    ours, theirs = getattr(f, name), getattr(torch, name)
    if values_only:
        return Case(name, op, lambda x, **s: ours(x, **s).values,
                    lambda x, **s: theirs(x, **s).values, calls, smooth=False)  # fmt: skip
    return Case(name, op, lambda x, **s: tuple(ours(x, **s)), lambda x, **s: tuple(theirs(x, **s)),
                calls, smooth=False)  # fmt: skip


@st.composite
def _ordered(draw: st.DrawFn, kinds: tuple[str, ...], **settings: Any) -> Call:
    return draw(_reductions(kinds, one=True, whole=False, min_side=1, keepdims=False, **settings))


@st.composite
def _ranks(draw: st.DrawFn, low: int, **settings: Any) -> Call:
    call = draw(_ordered(("distinct",), **settings))
    x, dim = call.arrays[0], call.settings["dim"]
    k = draw(st.integers(low, x.shape[dim])) if x.ndim else 1
    return Call(call.arrays, {**call.settings, "k": k})


_along = _reductions(TIES, one=True, whole=False, min_side=1)
_distinct_along = _reductions(("distinct",), one=True, whole=False, min_side=1)

SORT = (
    _chosen("max", _along, "sort.max_along"),
    _chosen("min", _along, "sort.min_along"),
    Case("argmax", "sort.argmax", f.argmax, torch.argmax, _along, differentiable=False),
    Case("argmin", "sort.argmin", f.argmin, torch.argmin, _along, differentiable=False),
    _chosen("sort", _ordered(TIES, descending=st.booleans(), stable=st.just(True)), "sort.sort"),
    Case("argsort", "sort.argsort", f.argsort, torch.argsort,
         _ordered(TIES, descending=st.booleans(), stable=st.just(True)), differentiable=False),
    _chosen("topk", _ranks(0, largest=st.booleans()), "sort.topk"),
    _chosen("kthvalue", _ranks(1, keepdim=st.booleans()), "sort.kthvalue"),
    _chosen("median", _distinct_along, "sort.median"),
    Case("median of all", "sort.median_of_all", f.median, torch.median,
         st.builds(lambda x: Call((x,)), arrays(kinds=TIES)), smooth=False),
    _chosen("mode", _distinct_along, "sort.mode"),
    _chosen("cummax", _ordered(TIES), "sort.cummax"),
    _chosen("cummin", _ordered(TIES), "sort.cummin"),
    Case("unique", "sort.unique",
         lambda x: f.unique(x, return_inverse=True, return_counts=True),
         lambda x: torch.unique(x, return_inverse=True, return_counts=True),
         st.builds(lambda x: Call((x,)), arrays(kinds=TIES)), differentiable=False),
)  # fmt: skip

CASES = (*REDUCE, *SORT)
