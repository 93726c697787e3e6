"""Rows for activations and softmax."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from hypothesis import strategies as st

from minitorch_cnn.ops import activation

from ..strategies import arrays, make_array, shapes
from . import Call, Case

SMOOTH = ("normal", "negative", "positive")
KINKS = ("ties", "zeros_and_ones", "normal")


@st.composite
def _one(draw: st.DrawFn, kinds: tuple[str, ...], **settings: Any) -> Call:
    chosen = {name: draw(st.sampled_from(values)) for name, values in settings.items()}
    return Call((draw(arrays(kinds=kinds)) * draw(st.sampled_from([1.0, 4.0])),), chosen)


def _smooth(name: str, theirs: Any = None, **settings: Any) -> Case:
    theirs = theirs or getattr(F, name)
    return Case(name, f"activation.{name}", getattr(activation, name), theirs,
                _one(SMOOTH, **settings))  # fmt: skip


def _kinked(name: str, theirs: Any = None, **settings: Any) -> Case:
    theirs = theirs or getattr(F, name)
    return Case(name, f"activation.{name}", getattr(activation, name), theirs,
                _one(KINKS, **settings), smooth=False)  # fmt: skip


@st.composite
def _prelus(draw: st.DrawFn) -> Call:
    x = draw(arrays(shapes(min_dims=1, min_side=1), KINKS))
    channels = x.shape[1] if x.ndim > 1 else 1
    n = draw(st.sampled_from([1, channels]))
    return Call((x, make_array((n,), "normal", 3)))


@st.composite
def _with_dim(draw: st.DrawFn) -> Call:
    x = np.asarray(draw(arrays(kinds=SMOOTH)) * draw(st.sampled_from([1.0, 20.0])))
    n = max(x.ndim, 1)
    return Call((x,), {"dim": draw(st.integers(-n, n - 1))})


def _relu6_over_6(x: torch.Tensor) -> torch.Tensor:
    """PyTorch's own hardsigmoid multiplies its float64 gradient by 1/6 rounded to float32."""
    return F.relu6(x + 3) / 6


CASES = (
    _kinked("relu"),
    _kinked("hardtanh", min_val=[-1.0, -2.0], max_val=[1.0, 1.5]),
    _kinked("leaky_relu", negative_slope=[0.01, 0.3, -0.2]),
    _kinked("threshold", threshold=[0.0, 1.0], value=[-3.0, 20.0]),
    _kinked("elu", alpha=[1.0, 0.5, -1.5]),
    _kinked("celu", alpha=[1.0, 0.5, 2.0]),
    _kinked("selu"),
    _kinked("hardsigmoid", _relu6_over_6),
    _kinked("hardswish"),
    _smooth("sigmoid", torch.sigmoid),
    _smooth("tanh", torch.tanh),
    _smooth("log_sigmoid", F.logsigmoid),
    _smooth("softplus", beta=[1.0, 2.0, 0.5], threshold=[20.0, 100.0]),
    _smooth("softsign"),
    _smooth("silu"),
    _smooth("mish"),
    _smooth("gelu", approximate=["none", "tanh"]),
    Case("prelu", "activation.prelu", activation.prelu, F.prelu, _prelus(), smooth=False),
    Case("softmax", "activation.softmax", activation.softmax, F.softmax, _with_dim()),
    Case("log_softmax", "activation.log_softmax", activation.log_softmax, F.log_softmax,
         _with_dim()),
)  # fmt: skip
