"""Rows for the losses, through the face that people call."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as TF
from hypothesis import strategies as st

import minitorch_cnn

from ..devices import from_numpy
from ..strategies import arrays, make_array, shapes
from . import Call, Case

_REDUCTIONS = st.sampled_from(["mean", "sum", "none"])
_KINDS = ("normal", "negative", "distinct")


def _row(
    name: str, op: str, calls: st.SearchStrategy[Call], face: str = "", **options: Any
) -> Case:
    """``face(*arrays, **settings)`` on both sides; settings that are arrays become tensors."""
    face = face or name

    def ours(*args: Any, **settings: Any) -> Any:
        wrapped = {
            k: from_numpy(v.astype(args[0].array.dtype)) if isinstance(v, np.ndarray) else v
            for k, v in settings.items()
        }
        return getattr(minitorch_cnn.nn.functional, face)(*args, **wrapped)

    def theirs(*args: Any, **settings: Any) -> Any:
        wrapped = {
            k: torch.tensor(v, dtype=args[0].dtype) if isinstance(v, np.ndarray) else v
            for k, v in settings.items()
        }
        return getattr(TF, face)(*args, **wrapped)

    return Case(name, f"loss.{op}", ours, theirs, calls, **options)


@st.composite
def _scores(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """The shape of the scores, that of the positions, and the number of classes."""
    C = draw(st.integers(1, 6))
    if draw(st.integers(0, 4)) == 0:
        return (C,), (), C
    N = draw(st.integers(0, 5))
    space = draw(shapes(0, 3, 1, 4))
    return (N, C, *space), (N, *space), C


@st.composite
def _classified(draw: st.DrawFn, smoothing: bool = False) -> Call:
    shape, positions, C = draw(_scores())
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    target = np.asarray(rng.integers(0, C, positions))
    settings: dict[str, Any] = {"reduction": draw(_REDUCTIONS)}
    ignored = draw(st.sampled_from([None, -100, 0, C - 1]))
    if ignored is not None:
        settings["ignore_index"] = ignored
        target = np.where(rng.random(positions) < 0.3, ignored, target)
    if draw(st.booleans()):
        settings["weight"] = draw(arrays((C,), ("positive",)))
    if smoothing:
        settings["label_smoothing"] = draw(st.sampled_from([0.0, 0.1, 0.7, 1.0]))
    small = len(shape) <= 2 and not settings.get("label_smoothing") and (target >= 0).all()
    dtype = np.uint8 if small and draw(st.booleans()) else np.int64
    return Call((draw(arrays(shape, (*_KINDS, "ties"))), target.astype(dtype)), settings)


@st.composite
def _distributed(draw: st.DrawFn) -> Call:
    shape, _, C = draw(_scores())
    settings: dict[str, Any] = {"reduction": draw(_REDUCTIONS)}
    if draw(st.booleans()):
        settings["weight"] = draw(arrays((C,), ("positive",)))
    settings["label_smoothing"] = draw(st.sampled_from([0.0, 0.1, 1.0]))
    return Call((draw(arrays(shape)), draw(arrays(shape, ("unit",)))), settings)


@st.composite
def _pairs(
    draw: st.DrawFn, kinds: tuple[str, ...], second: tuple[str, ...] | None = None, **settings: Any
) -> Call:
    """Two arrays of one shape; settings are strategies."""
    shape = draw(shapes())
    x, y = draw(arrays(shape, kinds)), draw(arrays(shape, second or kinds))
    drawn = {name: draw(strategy) for name, strategy in settings.items()}
    return Call((x, y), {"reduction": draw(_REDUCTIONS), **drawn})


@st.composite
def _binary(
    draw: st.DrawFn, kinds: tuple[str, ...], targets: tuple[str, ...], *weights: str
) -> Call:
    """Numbers and their targets in [0, 1]; weights of a shape that broadcasts to theirs."""
    call = draw(_pairs(kinds, targets))
    shape = call.arrays[0].shape
    for name in weights:
        if draw(st.booleans()):
            cut = draw(st.integers(0, len(shape)))
            part = tuple(1 if draw(st.integers(0, 3)) == 0 else n for n in shape[cut:])
            seed = draw(st.integers(0, 2**16))
            call.settings[name] = np.asarray(make_array(part, "positive", seed))
    return call


@st.composite
def _divergences(draw: st.DrawFn, log_target: bool) -> Call:
    shape = draw(shapes(1))
    y = draw(arrays(shape, ("negative",) if log_target else ("unit", "positive")))
    reduction = draw(st.sampled_from(["batchmean", "sum", "none"]))
    if 0 in shape:
        reduction = "sum"
    return Call((draw(arrays(shape, ("negative",))), y),
                {"reduction": reduction, "log_target": log_target})  # fmt: skip


_TIES = ("ties", "zeros_and_ones", "normal")
_WIDTHS = st.sampled_from([0.3, 1.0, 1.7])

CASES = (
    _row("nll_loss", "nll_loss", _classified()),
    _row("cross_entropy", "cross_entropy", _classified(smoothing=True)),
    _row("cross_entropy probabilities", "cross_entropy_probabilities", _distributed(),
         "cross_entropy"),
    _row("mse_loss", "mse_loss", _pairs((*_KINDS, "ties"))),
    _row("l1_loss", "l1_loss", _pairs(_TIES), smooth=False),
    _row("smooth_l1_loss", "smooth_l1_loss", _pairs(_TIES, beta=st.sampled_from([0.0, 0.3, 1, 2])),
         smooth=False),
    _row("huber_loss", "huber_loss", _pairs(_TIES, delta=_WIDTHS), smooth=False),
    _row("smooth_l1_loss smooth", "smooth_l1_loss", _pairs(("normal",), beta=_WIDTHS),
         "smooth_l1_loss"),
    _row("binary_cross_entropy", "binary_cross_entropy", _binary(("unit",), ("unit",), "weight")),
    _row("binary_cross_entropy certain", "binary_cross_entropy",
         _binary(("zeros_and_ones", "unit"), ("zeros_and_ones", "unit"), "weight"),
         "binary_cross_entropy", smooth=False),
    _row("binary_cross_entropy_with_logits", "binary_cross_entropy_with_logits",
         _binary(_KINDS, ("unit", "zeros_and_ones"), "weight", "pos_weight")),
    _row("kl_div", "kl_div", _divergences(log_target=False)),
    _row("kl_div of logs", "kl_div", _divergences(log_target=True), "kl_div"),
)  # fmt: skip
