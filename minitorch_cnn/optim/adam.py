"""Adam, and AdamW with its decoupled weight decay."""

from __future__ import annotations

import functools
import math
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
    step_counter,
    zeros_like,
)


class Adam(Optimizer):
    """Adam (Kingma & Ba, 2015).

    With g = dL/dp (negated if ``maximize``) + weight_decay * p, at step t::

        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g^2       (amsgrad: the largest v so far is used below)
        p = p - lr * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)

    ``decoupled_weight_decay=True`` shrinks p by ``1 - lr * weight_decay`` instead (AdamW).
    ``lr`` may be a one-element Tensor. ``foreach``, ``fused`` and ``capturable`` (a CUDA graph may
    always hold the step) are accepted and have no effect; ``differentiable=True`` is refused.
    Errors: ValueError for a negative lr, eps or weight_decay and for a beta outside [0, 1). Memory:
    two arrays like p (three with amsgrad), each
    passed through once.
    """

    _recordable = True

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1e-3,
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        check_options(
            type(self).__name__, lr=lr, foreach=foreach, capturable=capturable,
            differentiable=differentiable, fused=fused,
        )  # fmt: skip
        check_range("learning rate", lr)
        check_range("epsilon value", eps)
        for i, beta in enumerate(betas):
            check_range(f"beta parameter at index {i}", beta, high=math.nextafter(1.0, 0.0))
        check_range("weight_decay value", weight_decay)
        defaults: dict[str, Any] = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
            "amsgrad": amsgrad, "maximize": maximize, "foreach": foreach,
            "capturable": capturable, "differentiable": differentiable, "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        }  # fmt: skip
        super().__init__(params, defaults)

    def _update(self, p: Tensor, group: Group) -> None:
        assert p.grad is not None
        state = self.state[p]
        if not state:
            state["step"] = step_counter()
            state["exp_avg"] = zeros_like(p)
            state["exp_avg_sq"] = zeros_like(p)
            if group["amsgrad"]:
                state["max_exp_avg_sq"] = zeros_like(p)
        arrays = [p.array, p.grad.array, state["exp_avg"].array, state["exp_avg_sq"].array]
        kernel = kernels.optimizer.adam
        if group["amsgrad"]:
            kernel = kernels.optimizer.amsgrad
            arrays.append(state["max_exp_avg_sq"].array)
        kernels.optimizer.update(kernel, arrays, functools.partial(_numbers, state, group))


def _numbers(state: dict[str, Any], group: Group) -> tuple[float, ...]:
    """Count a step, and give its numbers."""
    state["step"].array += 1
    t = scalar(state["step"])
    lr, eps, decay = (scalar(group[name]) for name in ("lr", "eps", "weight_decay"))
    beta1, beta2 = (scalar(beta) for beta in group["betas"])
    decoupled = group["decoupled_weight_decay"]
    return (
        lr / (1 - beta1**t),
        1 - lr * decay if decoupled else 1.0,
        0.0 if decoupled else decay,
        -1.0 if group["maximize"] else 1.0,
        1 - beta1,
        beta2,
        1 - beta2,
        eps,
        math.sqrt(1 - beta2**t),
    )


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter, 2019): p shrinks by 1 - lr * decay.

    Arguments and errors as for :class:`Adam`.
    """

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1e-3,
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params, lr, betas, eps, weight_decay, amsgrad, foreach=foreach, maximize=maximize,
            capturable=capturable, differentiable=differentiable, fused=fused,
            decoupled_weight_decay=True,
        )  # fmt: skip
