"""Rows for elementwise arithmetic, functions of one array, comparison and matrix products."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from minitorch_cnn import functions as f
from minitorch_cnn.ops import basic

from ..strategies import arrays, broadcastable, make_array, shapes
from . import Call, Case

SMOOTH = ("normal", "negative", "distinct")
TIES = ("ties", "zeros_and_ones", "normal")


@st.composite
def _pairs(draw: st.DrawFn, kinds: tuple[str, ...], second: tuple[str, ...] | None = None) -> Call:
    a, b = draw(broadcastable())
    return Call((draw(arrays(a, kinds)), draw(arrays(b, second or kinds))))


@st.composite
def _triples(draw: st.DrawFn, kinds: tuple[str, ...]) -> Call:
    a, b, c = draw(broadcastable(3))
    return Call((draw(arrays(a, kinds)), draw(arrays(b, kinds)), draw(arrays(c, kinds))))


@st.composite
def _whens(draw: st.DrawFn) -> Call:
    a, b, c = draw(broadcastable(3))
    mask = draw(arrays(a, ("zeros_and_ones",))) > 0
    return Call((np.asarray(mask), draw(arrays(b)), draw(arrays(c))))


@st.composite
def _clamps(draw: st.DrawFn) -> Call:
    low, high = sorted(draw(st.tuples(st.integers(-2, 2), st.integers(-2, 2))))
    bounds = draw(st.sampled_from([{"min": low}, {"max": high}, {"min": low, "max": high}]))
    return Call((draw(arrays()),), bounds)


@st.composite
def _clamps_by_tensors(draw: st.DrawFn) -> Call:
    """``x`` has the shape of the result: PyTorch's own gradient fails where a bound is larger."""
    x, low, high = draw(broadcastable(3))
    x = np.broadcast_shapes(x, low, high)
    return Call(tuple(draw(arrays(shape, TIES)) for shape in (x, low, high)))


def _one(kinds: tuple[str, ...] = SMOOTH) -> st.SearchStrategy[Call]:
    return st.builds(lambda x: Call((x,)), arrays(kinds=kinds))


def _binary(name: str, kinds: tuple[str, ...], second: Any = None, **options: Any) -> Case:
    return Case(name, f"basic.{name}", getattr(f, name), getattr(torch, name),
                _pairs(kinds, second), **options)  # fmt: skip


@st.composite
def _alike(draw: st.DrawFn) -> Call:
    shape = draw(shapes())
    return Call((draw(arrays(shape, TIES)), draw(arrays(shape, TIES))))


BASIC = (
    Case("add_relu", "basic.add_relu", basic.add_relu, lambda a, b: torch.relu(a + b), _alike(),
         differentiable=False),
    _binary("add", SMOOTH),
    _binary("sub", SMOOTH),
    _binary("mul", SMOOTH),
    _binary("div", SMOOTH, ("negative", "positive")),
    _binary("remainder", SMOOTH, ("negative", "positive"), smooth=False, atol32=1e-4),
    _binary("fmod", SMOOTH, ("negative", "positive"), smooth=False, atol32=1e-4),
    _binary("pow", ("positive",), ("normal",)),
    _binary("maximum", TIES, smooth=False),
    _binary("minimum", TIES, smooth=False),
    _binary("fmax", TIES, smooth=False),
    _binary("fmin", TIES, smooth=False),
    _binary("atan2", ("negative", "positive")),
    _binary("hypot", ("negative", "positive")),
    Case("div floor", "basic.div_rounded", lambda a, b: f.div(a, b, rounding_mode="floor"),
         lambda a, b: torch.div(a, b, rounding_mode="floor"),
         _pairs(SMOOTH, ("negative", "positive")), smooth=False),
    Case("div trunc", "basic.div_rounded", lambda a, b: f.div(a, b, rounding_mode="trunc"),
         lambda a, b: torch.div(a, b, rounding_mode="trunc"),
         _pairs(SMOOTH, ("negative", "positive")), smooth=False),
    Case("cast", "basic.cast", lambda x: basic.cast(x, dtype=np.dtype("float32")),
         lambda x: x.to(torch.float32, copy=True), _one(), smooth=False),
    Case("where", "basic.where", f.where, torch.where, _whens()),
    Case("clamp", "basic.clamp", f.clamp, torch.clamp, _clamps(), smooth=False),
    Case("clamp by tensors", "basic.clamp", f.clamp, torch.clamp, _clamps_by_tensors(),
         smooth=False),
    Case("lerp", "basic.lerp", f.lerp, torch.lerp, _triples(SMOOTH)),
    Case("addcmul", "basic.mul", lambda *x: f.addcmul(*x, value=0.5),
         lambda *x: torch.addcmul(*x, value=0.5), _triples(SMOOTH)),
    Case("addcdiv", "basic.div", lambda *x: f.addcdiv(*x, value=2),
         lambda *x: torch.addcdiv(*x, value=2), _triples(("negative", "positive"))),
)  # fmt: skip


def _unary(name: str, kinds: tuple[str, ...], **options: Any) -> Case:
    return Case(name, f"unary.{name}", getattr(f, name), getattr(torch, name), _one(kinds),
                **options)  # fmt: skip


_ANY = ("neg", "square", "exp", "exp2", "expm1", "sin", "cos", "atan", "sinh", "cosh", "asinh",
        "erf", "frac")  # fmt: skip
_POSITIVE = ("sqrt", "rsqrt", "log", "log2", "log10", "log1p")
_STEPS = ("sign", "floor", "ceil", "trunc")

UNARY = (
    *(_unary(name, SMOOTH, smooth=name != "frac") for name in _ANY),
    *(_unary(name, ("positive",)) for name in _POSITIVE),
    *(_unary(name, (*TIES, "negative"), smooth=False) for name in _STEPS),
    *(_unary(name, ("unit",)) for name in ("asin", "acos", "atanh", "tan")),
    _unary("abs", TIES, smooth=False),
    _unary("reciprocal", ("positive", "negative")),
    Case("acosh", "unary.acosh", lambda x: f.acosh(x + 1), lambda x: torch.acosh(x + 1),
         _one(("positive",))),
    Case("round", "unary.round", lambda x: f.round(x, decimals=1),
         lambda x: torch.round(x, decimals=1), _one(SMOOTH), smooth=False),
    Case("nan_to_num", "unary.nan_to_num", lambda x: f.nan_to_num(f.log(x), neginf=-3.0),
         lambda x: torch.nan_to_num(torch.log(x), neginf=-3.0), _one(("zeros_and_ones",)),
         smooth=False),
)  # fmt: skip


@st.composite
def _integer_pairs(draw: st.DrawFn, low: int = -9, high: int = 9) -> Call:
    a, b = draw(broadcastable())
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    return Call((np.asarray(rng.integers(low, high, a)), np.asarray(rng.integers(low, high, b))))


def _compared(name: str, calls: Any, ours: Any = None, theirs: Any = None) -> Case:
    return Case(name, f"compare.{name}", ours or getattr(f, name), theirs or getattr(torch, name),
                calls, differentiable=False)  # fmt: skip


_SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -1.5])
_specials = st.lists(st.sampled_from(range(5)), max_size=6).map(lambda i: Call((_SPECIAL[i],)))

COMPARE = (
    *(_compared(name, _pairs(TIES)) for name in ("eq", "ne", "lt", "le", "gt", "ge")),
    *(_compared(f"logical_{name}", _pairs(TIES)) for name in ("and", "or", "xor")),
    *(_compared(f"bitwise_{name}", _integer_pairs()) for name in ("and", "or", "xor")),
    *(_compared(f"bitwise_{name}_shift", _integer_pairs(0)) for name in ("left", "right")),
    *(_compared(name, _specials) for name in ("isnan", "isinf", "isfinite", "logical_not")),
    _compared("bitwise_not", _integer_pairs(), lambda a, b: f.bitwise_not(a),
              lambda a, b: torch.bitwise_not(a)),
    _compared("isclose", _pairs(TIES), lambda a, b: f.isclose(a, b, 0.5, 0.1),
              lambda a, b: torch.isclose(a, b, 0.5, 0.1)),
    _compared("isin", _pairs(TIES)),
)  # fmt: skip


@st.composite
def _matmuls(draw: st.DrawFn) -> Call:
    M, K, N = (draw(st.integers(0, 5)) for _ in range(3))
    left, right = draw(broadcastable(2, 0))
    left, right = left[-2:], right[-2:]
    kind = draw(st.sampled_from(["matrices", "row", "column", "dot"]))
    a = (K,) if kind in ("row", "dot") else (*left, M, K)
    b = (K,) if kind in ("column", "dot") else (*right, K, N)
    seed = draw(st.integers(0, 2**16))
    return Call((make_array(a, "normal", seed), make_array(b, "normal", seed + 1)))


_EQUATIONS = (
    "ij,jk->ik", "ij,jk", "bij,bjk->bik", "i,j->ji", "ij->", "ij->ji", "ij->j", "ii", "ii->i",
    "iij->j", "i,i", "...ij,jk->...ik", "...i,...i->...", "ij,jk,kl->il", "b...,b->b", "ij,ik->",
)  # fmt: skip


@st.composite
def _einsums(draw: st.DrawFn) -> Call:
    equation = draw(st.sampled_from(_EQUATIONS))
    sizes = {c: draw(st.integers(1, 4)) for c in "bijkl"}
    dots = draw(shapes(0, 2, 1, 3))
    operands = []
    for i, letters in enumerate(equation.split("->")[0].split(",")):
        head, _, tail = letters.partition("...")
        shape = (*(sizes[c] for c in head), *(dots if "..." in letters else ()),
                 *(sizes[c] for c in tail))  # fmt: skip
        if "..." in letters or len(set(letters)) == len(letters):  # a diagonal must be square
            shape = tuple(1 if draw(st.integers(0, 5)) == 0 else n for n in shape)
        operands.append(make_array(shape, "normal", draw(st.integers(0, 2**16)) + i))
    return Call(tuple(operands), {"equation": equation})


LINALG = (
    Case("matmul", "linalg.matmul", f.matmul, torch.matmul, _matmuls()),
    Case("einsum", "linalg.einsum", lambda *x, equation: f.einsum(equation, *x),
         lambda *x, equation: torch.einsum(equation, *x), _einsums()),
)  # fmt: skip

CASES = (*BASIC, *UNARY, *COMPARE, *LINALG)
