"""Rows for normalisation."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch.nn.functional as F
from hypothesis import strategies as st

from minitorch_cnn import relu
from minitorch_cnn.ops import norm

from ..devices import place
from ..strategies import arrays, make_array
from . import Call, Case

EPS = st.sampled_from([1e-5, 1e-3, 0.1])


@st.composite
def _images(draw: st.DrawFn) -> np.ndarray:
    """(N, C, ...) with enough values in every channel, group and row for a variance."""
    lead = draw(st.integers(2, 4)), draw(st.sampled_from([2, 4, 6]))
    rest = draw(st.lists(st.integers(3, 5), min_size=1, max_size=2))
    return draw(arrays((*lead, *rest), ("normal", "negative", "distinct")))


def _parameters(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    return make_array(shape, "normal", 1) + 1, make_array(shape, "normal", 2)


@st.composite
def _batch_norms(draw: st.DrawFn) -> Call:
    x = draw(_images())
    if draw(st.booleans()):
        x = x.mean(tuple(range(2, x.ndim)))  # (N, C), as after a linear layer
    settings = {"training": draw(st.booleans()), "eps": draw(EPS)}
    return Call((x, *_parameters(x.shape[1:2])), settings)


@st.composite
def _group_norms(draw: st.DrawFn) -> Call:
    x = draw(_images())
    groups = draw(st.sampled_from([1, 2, x.shape[1]]))
    return Call((x, *_parameters(x.shape[1:2])), {"num_groups": groups, "eps": draw(EPS)})


@st.composite
def _layer_norms(draw: st.DrawFn) -> Call:
    x = draw(_images())
    shape = x.shape[-draw(st.integers(1, x.ndim - 1)) :]
    return Call((x, *_parameters(shape)), {"normalized_shape": shape, "eps": draw(EPS)})


def _running(x: Any) -> tuple[np.ndarray, np.ndarray]:
    dtype = x.dtype.numpy if hasattr(x, "array") else x.detach().numpy().dtype
    C = x.shape[1]
    # Of few bits: the same numbers in every dtype.
    return (np.arange(C) / 4 - 1).astype(dtype), (np.arange(C) / 4 + 0.5).astype(dtype)


def _our_batch_norm(x: Any, weight: Any, bias: Any, training: bool, eps: float) -> Any:
    """All that there is to compare: the result, and what became of the running statistics."""
    mean, var = map(place, _running(x))
    y = norm.batch_norm(
        x, weight, bias, running_mean=mean, running_var=var, training=training, momentum=0.3,
        eps=eps,
    )  # fmt: skip
    return y, type(y)._wrap(mean), type(y)._wrap(var)


def _their_batch_norm(x: Any, weight: Any, bias: Any, training: bool, eps: float) -> Any:
    mean, var = (x.new_tensor(a) for a in _running(x))
    return F.batch_norm(x, mean, var, weight, bias, training, 0.3, eps), mean, var


def _without_parameters(fn: Any) -> Any:
    return lambda x, **settings: fn(x, None, None, **settings)


def _our_batch_norm_relu(x: Any, weight: Any, bias: Any, eps: float) -> Any:
    """The op is the CPU's; a GPU gets what it stands for."""
    dtype = np.float64 if x.array.dtype == np.float64 else np.float32
    mean, var = (place(a.astype(dtype)) for a in _running(x))
    settings = {"running_mean": mean, "running_var": var, "eps": eps}
    if x.is_cuda:
        return relu(norm.batch_norm(x, weight, bias, training=False, momentum=0.1, **settings))
    return norm.batch_norm_relu(x, weight, bias, **settings)


def _their_batch_norm_relu(x: Any, weight: Any, bias: Any, eps: float) -> Any:
    mean, var = (x.new_tensor(a) for a in _running(x))
    return F.relu(F.batch_norm(x, mean, var, weight, bias, False, 0.1, eps))


def _our_trained_norm_relu(x: Any, weight: Any, bias: Any, eps: float) -> Any:
    """Likewise, with what became of the running statistics."""
    mean, var = map(place, _running(x))
    settings = {"running_mean": mean, "running_var": var, "eps": eps, "training": True}
    if x.is_cuda or x.array.dtype not in (np.float32, np.float64):
        y = relu(norm.batch_norm(x, weight, bias, momentum=0.3, **settings))
    else:
        y = norm.batch_norm_relu(x, weight, bias, momentum=0.3, **settings)
    return y, type(y)._wrap(mean), type(y)._wrap(var)


def _their_trained_norm_relu(x: Any, weight: Any, bias: Any, eps: float) -> Any:
    mean, var = (x.new_tensor(a) for a in _running(x))
    return F.relu(F.batch_norm(x, mean, var, weight, bias, True, 0.3, eps)), mean, var


CASES = (
    Case("batch_norm_relu", "norm.batch_norm_relu", _our_batch_norm_relu, _their_batch_norm_relu,
         _batch_norms().map(lambda call: Call(call.arrays, {"eps": call.settings["eps"]})),
         differentiable=False, rtol32=1e-3, atol32=1e-4),
    Case("batch_norm_relu_trained", "norm.batch_norm_relu", _our_trained_norm_relu,
         _their_trained_norm_relu,
         _batch_norms().filter(lambda call: call.settings["training"])
         .map(lambda call: Call(call.arrays, {"eps": call.settings["eps"]})),
         smooth=False, rtol32=1e-3, atol32=1e-4),
    Case("batch_norm", "norm.batch_norm", _our_batch_norm, _their_batch_norm, _batch_norms(),
         rtol32=1e-3, atol32=1e-4),
    Case("group_norm", "norm.group_norm", norm.group_norm,
         lambda x, w, b, num_groups, eps: F.group_norm(x, num_groups, w, b, eps), _group_norms(),
         rtol32=1e-3, atol32=1e-4),
    Case("layer_norm", "norm.layer_norm", norm.layer_norm,
         lambda x, w, b, normalized_shape, eps: F.layer_norm(x, normalized_shape, w, b, eps),
         _layer_norms(), rtol32=1e-3, atol32=1e-4),
    Case("layer_norm_plain", "norm.layer_norm", _without_parameters(norm.layer_norm),
         lambda x, normalized_shape, eps: F.layer_norm(x, normalized_shape, eps=eps),
         _layer_norms().map(lambda call: Call(call.arrays[:1], call.settings)),
         rtol32=1e-3, atol32=1e-4),
    Case("group_norm_plain", "norm.group_norm", _without_parameters(norm.group_norm),
         lambda x, num_groups, eps: F.group_norm(x, num_groups, eps=eps),
         _group_norms().map(lambda call: Call(call.arrays[:1], call.settings)),
         rtol32=1e-3, atol32=1e-4),
)  # fmt: skip
