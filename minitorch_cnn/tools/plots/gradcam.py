"""Grad-CAM: which part of the image spoke for a class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ... import autograd, nn
from ...nn import functional as F
from ...tensor import Node, RemovableHandle, Tensor, enable_grad
from .trace import Call, as_batch, find, run, to_numpy, trace


@dataclass(frozen=True)
class Explanation:
    """Heat maps (N, H, W) in [0, 1], the layer they come from, and what they explain.

    ``targets`` and ``probabilities`` hold, for each image, the class and the model's softmax of it.
    """

    heat: np.ndarray
    layer: str
    targets: np.ndarray
    probabilities: np.ndarray


def grad_cam(
    model: nn.Module,
    x: Any,
    target: int | Sequence[int] | None = None,
    layer: str | None = None,
) -> np.ndarray:
    """Heat map in [0, 1] at the size of the input: (N, H, W) for x (N, C, H, W), (H, W) for one.

    With A^k the k-th map of ``layer``, Z its number of pixels, and y^c the score of class c before
    softmax::

        alpha_k^c = 1/Z  sum_ij  dy^c / dA^k_ij
        L^c       = ReLU( sum_k  alpha_k^c A^k )

    L^c is enlarged to the input's size (bilinear) and divided by its largest value, image by image;
    where nothing speaks for the class it is 0 everywhere.

    ``target``: the class, or one for each image; by default the one with the highest score.
    ``layer``: a path as in ``named_modules()``; of several calls of it the last counts, or the k-th
    as in "mp#1". By default the last layer whose output has more than one pixel, which is the one
    before global pooling or flattening. If the output is the model's own (log-)softmax, y is what
    went into it; of a tuple or dict, the first Tensor is meant.

    The model runs twice in eval mode. Its parameters may be frozen; their ``.grad``, the training
    flags, ``x`` and random numbers stay as they are.

    Errors: ValueError for an unknown layer or one without a 4-d output (listing the candidates),
    for an output that is not (N, classes) or does not depend on the layer, for a class that is not
    there.

    Source: Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
    Localization", ICCV 2017, equations 1 and 2.
    """
    x, single = as_batch(model, x, "grad_cam")
    heat = explain(model, x, target, layer).heat
    return heat[0] if single else heat


def explain(
    model: nn.Module,
    x: Any,
    target: int | Sequence[int] | None = None,
    layer: str | None = None,
) -> Explanation:
    """:func:`grad_cam` with what it found out on the way: the layer, the classes, how sure."""
    x, _ = as_batch(model, x, "grad_cam")
    call = _layer(trace(model, x), layer)
    maps: list[Tensor] = []

    def cut(path: str, number: int, output: Any) -> Any:
        """Begin the graph at the layer's output: so it is there even if everything is frozen."""
        if (path, number) != (call.layer, call.number):
            return None
        maps.append(output.detach().clone().requires_grad_())
        return maps[0].clone()  # a leaf could not be changed in place by the next layer

    with enable_grad():
        y = _first_tensor(run(model, x, cut))
        if y is None or y.ndim != 2:
            got = "no Tensor" if y is None else list(y.shape)
            raise ValueError(
                f"grad_cam: {type(model).__name__} must return scores (N, classes), got {got}"
            )
        targets = _targets(y, target)
        gradient = _gradient(y, maps[0], targets)
    if gradient is None:
        raise ValueError(
            f"grad_cam: the output of {type(model).__name__} does not depend on layer"
            f" {call.name!r} (or its forward detaches it): choose another layer"
        )
    weights = gradient.mean((2, 3), keepdim=True)
    heat = F.relu((weights * maps[0].detach()).sum(1, keepdim=True))
    heat = F.interpolate(heat, size=tuple(x.shape[2:]), mode="bilinear", align_corners=False)
    array = to_numpy(heat)[:, 0]
    largest = array.max((1, 2), keepdims=True)
    array = np.divide(array, largest, out=np.zeros_like(array), where=largest != 0)
    return Explanation(array, call.name, targets, _probabilities(y, targets))


def _layer(root: Call, layer: str | None) -> Call:
    if layer is not None:
        return find(root, layer, "grad_cam")[-1]
    calls = [call for call in root.completed() if call.is_map and call is not root]
    if not calls:
        shapes = [f"{c.name} {list(c.shape)}" for c in root.completed() if c.shape and c.layer]
        raise ValueError(
            f"grad_cam: no layer of {type(root.module).__name__} has an output (N, C, H, W) of more"
            f" than one pixel; outputs: {', '.join(shapes[-10:]) or 'none'}"
        )
    return calls[-1]


def _first_tensor(output: Any) -> Tensor | None:
    if isinstance(output, Tensor):
        return output
    parts = output.values() if isinstance(output, dict) else output
    if not isinstance(output, (tuple, list, dict)):
        return None
    return next((t for t in parts if isinstance(t, Tensor)), None)


def _targets(y: Tensor, target: Any) -> np.ndarray:
    n, classes = y.shape
    if target is None:
        return to_numpy(y.argmax(1))
    array = np.asarray(to_numpy(target) if isinstance(target, Tensor) else target)
    if array.dtype.kind not in "iu" or array.shape not in ((), (n,)):
        raise ValueError(
            f"grad_cam: target must be a class or one for each of the {n} images, got {target!r}"
        )
    if array.size and (array.min() < 0 or array.max() >= classes):
        raise ValueError(f"grad_cam: target {target!r} is not among the classes 0..{classes - 1}")
    return np.broadcast_to(array, (n,)).astype(np.int64)


def _softmax(y: Tensor) -> Node | None:
    """The node of the softmax that made ``y``, if one did."""
    node = y.grad_fn
    return node if node is not None and node.name in ("softmax", "log_softmax") else None


def _gradient(y: Tensor, maps: Tensor, targets: np.ndarray) -> Tensor | None:
    """dy^c/dmaps, of the scores before softmax."""
    if y.grad_fn is None:
        return None
    one_hot = np.zeros(y.shape, y.dtype.numpy)
    one_hot[np.arange(len(targets)), targets] = 1
    start = Tensor._wrap(one_hot).to(y.device)
    softmax = _softmax(y)
    if softmax is None:
        return _grad(y, maps, start)
    # The scores themselves are no longer at hand, but their node is: what comes back through the
    # softmax is replaced there by the gradient of the score alone.
    assert softmax.edges is not None
    scores = softmax.edges[0][0]
    assert isinstance(scores, Node)
    with RemovableHandle(scores.hooks, lambda _: start):
        return _grad(y, maps, start)


def _grad(y: Tensor, maps: Tensor, start: Tensor) -> Tensor | None:
    found: Tensor | None = autograd.grad(y, maps, start, allow_unused=True)[0]
    return found


def _probabilities(y: Tensor, targets: np.ndarray) -> np.ndarray:
    softmax = _softmax(y)
    p = y if softmax is not None and softmax.name == "softmax" else F.softmax(y, dim=1)
    chosen: np.ndarray = to_numpy(p)[np.arange(len(targets)), targets]
    return chosen
