"""Stochastic gradient descent."""

from __future__ import annotations

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
        sign = -1.0 if group["maximize"] else 1.0
        step = kernels.optimizer
        if not momentum:
            step.update(step.sgd, (p.array, p.grad.array), lr, decay, sign)
            return
        state = self.state[p]
        rest = 1.0 - dampening
        if state.get("momentum_buffer") is None:
            state["momentum_buffer"], rest = zeros_like(p), 1.0
        arrays = (p.array, p.grad.array, state["momentum_buffer"].array)
        step.update(
            step.sgd_momentum, arrays, lr, decay, sign, momentum, rest, group["nesterov"]
        )
