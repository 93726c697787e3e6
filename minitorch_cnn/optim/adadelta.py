"""Adadelta."""

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
    step_counter,
    zeros_like,
)


class Adadelta(Optimizer):
    """Adadelta (Zeiler, 2012).

    With g = dL/dp (negated if ``maximize``) + weight_decay * p::

        v = rho * v + (1 - rho) * g^2
        d = g * sqrt(a + eps) / sqrt(v + eps)
        a = rho * a + (1 - rho) * d^2
        p = p - lr * d

    ``foreach`` and ``capturable`` are accepted and have no effect; ``differentiable=True`` is
    refused. Errors: ValueError for a negative lr, eps or weight_decay and a rho outside [0, 1].
    """

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_options(
            "Adadelta", lr=lr, foreach=foreach, capturable=capturable, differentiable=differentiable
        )
        check_range("learning rate", lr)
        check_range("rho value", rho, high=1.0)
        check_range("epsilon value", eps)
        check_range("weight_decay value", weight_decay)
        defaults: dict[str, Any] = {
            "lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize,
            "capturable": capturable, "foreach": foreach, "differentiable": differentiable,
        }  # fmt: skip
        super().__init__(params, defaults)

    def _update(self, p: Tensor, group: Group) -> None:
        assert p.grad is not None
        state = self.state[p]
        if not state:
            state["step"] = step_counter()
            state["square_avg"] = zeros_like(p)
            state["acc_delta"] = zeros_like(p)
        state["step"].array += 1
        lr, rho, eps = (scalar(group[name]) for name in ("lr", "rho", "eps"))
        decay = scalar(group["weight_decay"])
        arrays = [p.array, p.grad.array, state["square_avg"].array, state["acc_delta"].array]
        for w, g, v, a, t, u, std in blocks(*arrays, scratch=3):
            d = direction(w, g, decay, group["maximize"], out=t)
            v *= rho
            v += np.multiply(np.multiply(d, d, out=u), 1 - rho, out=u)
            np.sqrt(np.add(v, eps, out=std), out=std)
            np.sqrt(np.add(a, eps, out=u), out=u)
            u /= std
            u *= d
            a *= rho
            a += np.multiply(np.multiply(u, u, out=std), 1 - rho, out=std)
            w -= np.multiply(u, lr, out=u)
