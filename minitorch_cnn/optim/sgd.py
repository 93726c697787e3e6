"""Stochastic gradient descent."""

from __future__ import annotations

import functools
from typing import Any

from .. import kernels
from ..tensor import Tensor
from .optimizer import (
    Group,
    Optimizer,
    Params,
    check_options,
    check_range,
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

    _recordable = True

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
        arrays = [p.array, p.grad.array]
        kernel, first = kernels.optimizer.sgd, False
        if scalar(group["momentum"]):
            kernel, state = kernels.optimizer.sgd_momentum, self.state[p]
            first = state.get("momentum_buffer") is None
            if first:
                state["momentum_buffer"] = zeros_like(p)
            arrays.append(state["momentum_buffer"].array)
        kernels.optimizer.update(kernel, arrays, functools.partial(_numbers, group, first))


def _numbers(group: Group, first: bool) -> tuple[float, ...]:
    """Those of a step; the first takes the gradient for b as it is."""
    lr, decay = scalar(group["lr"]), scalar(group["weight_decay"])
    momentum, dampening = scalar(group["momentum"]), scalar(group["dampening"])
    plain = (lr, decay, -1.0 if group["maximize"] else 1.0)
    if not momentum:
        return plain
    return (*plain, momentum, 1.0 if first else 1.0 - dampening, float(group["nesterov"]))
