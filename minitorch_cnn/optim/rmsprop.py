"""RMSprop."""

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


class RMSprop(Optimizer):
    """RMSprop (Hinton's lecture 6e, 2012; ``centered`` from Graves, 2013).

    With g = dL/dp (negated if ``maximize``) + weight_decay * p::

        v = alpha * v + (1 - alpha) * g^2
        a = alpha * a + (1 - alpha) * g         (centered only; then v - a^2 stands for v below)
        b = momentum * b + g / (sqrt(v) + eps)
        p = p - lr * b

    ``foreach`` and ``capturable`` are accepted and have no effect; ``differentiable=True`` is
    refused. Errors: ValueError for a negative lr, eps, momentum, weight_decay or alpha.
    """

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_options(
            "RMSprop", lr=lr, foreach=foreach, capturable=capturable, differentiable=differentiable
        )
        check_range("learning rate", lr)
        check_range("epsilon value", eps)
        check_range("momentum value", momentum)
        check_range("weight_decay value", weight_decay)
        check_range("alpha value", alpha)
        defaults: dict[str, Any] = {
            "lr": lr, "momentum": momentum, "alpha": alpha, "eps": eps, "centered": centered,
            "weight_decay": weight_decay, "capturable": capturable, "foreach": foreach,
            "maximize": maximize, "differentiable": differentiable,
        }  # fmt: skip
        super().__init__(params, defaults)

    def _update(self, p: Tensor, group: Group) -> None:
        assert p.grad is not None
        lr, alpha, eps = (scalar(group[name]) for name in ("lr", "alpha", "eps"))
        momentum, decay = scalar(group["momentum"]), scalar(group["weight_decay"])
        centered = group["centered"]
        state = self.state[p]
        if not state:
            state["step"] = step_counter()
            state["square_avg"] = zeros_like(p)
            if momentum > 0:
                state["momentum_buffer"] = zeros_like(p)
            if centered:
                state["grad_avg"] = zeros_like(p)
        state["step"].array += 1

        names = ["square_avg", *["momentum_buffer"] * (momentum > 0), *["grad_avg"] * centered]
        arrays = [p.array, p.grad.array, *(state[name].array for name in names)]
        for w, g, v, *more, t1, t2 in blocks(*arrays, scratch=2):
            d = direction(w, g, decay, group["maximize"], out=t1)
            v *= alpha
            v += np.multiply(np.multiply(d, d, out=t2), 1 - alpha, out=t2)
            if centered:
                a = more[-1]
                a += np.multiply(np.subtract(d, a, out=t2), 1 - alpha, out=t2)
                np.subtract(v, np.multiply(a, a, out=t2), out=t2)
                np.sqrt(t2, out=t2)
            else:
                np.sqrt(v, out=t2)
            t2 += eps
            if momentum > 0:
                b = more[0]
                b *= momentum
                b += np.divide(d, t2, out=t2)
                w -= np.multiply(b, lr, out=t2)
            else:
                w -= np.divide(np.multiply(d, lr, out=t1), t2, out=t1)
