"""Stochastic gradient descent."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tensor import Tensor
from .optimizer import (
    Group,
    Optimizer,
    Params,
    blocks,
    check_options,
    check_range,
    direction,
    scalar,
    zeros_like,
)


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum as in Sutskever et al. (2013).

    With g = dL/dp (negated if ``maximize``) + weight_decay * p::

        b = momentum * b + (1 - dampening) * g      (b = g at the first step)
        p = p - lr * (g + momentum * b   if nesterov, else b)

    ``lr`` may be a one-element Tensor. ``foreach`` and ``fused`` are accepted and have no effect;
    ``differentiable=True`` is refused. Errors: ValueError for a negative lr, momentum or
    weight_decay, and for nesterov without momentum or with dampening. Cost: each of p, g and b
    passes through memory once.
    """

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float | Tensor = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        check_options("SGD", lr=lr, foreach=foreach, differentiable=differentiable, fused=fused)
        check_range("learning rate", lr)
        check_range("momentum value", momentum)
        check_range("weight_decay value", weight_decay)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        defaults: dict[str, Any] = {
            "lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay,
            "nesterov": nesterov, "maximize": maximize, "foreach": foreach,
            "differentiable": differentiable, "fused": fused,
        }  # fmt: skip
        super().__init__(params, defaults)

    def _update(self, p: Tensor, group: Group) -> None:
        assert p.grad is not None
        lr, decay = scalar(group["lr"]), scalar(group["weight_decay"])
        momentum, dampening = scalar(group["momentum"]), scalar(group["dampening"])
        arrays = [p.array, p.grad.array]
        first = False
        if momentum:
            state = self.state[p]
            first = state.get("momentum_buffer") is None
            if first:
                state["momentum_buffer"] = zeros_like(p)
            arrays.append(state["momentum_buffer"].array)

        for w, g, *buffer, t, u in blocks(*arrays, scratch=2):
            d = direction(w, g, decay, group["maximize"], out=t)
            if momentum:
                b = buffer[0]
                if first:
                    b[...] = d
                else:
                    b *= momentum
                    b += np.multiply(d, 1.0 - dampening, out=u) if dampening else d
                d = np.add(np.multiply(b, momentum, out=u), d, out=u) if group["nesterov"] else b
            w -= np.multiply(d, lr, out=u)
