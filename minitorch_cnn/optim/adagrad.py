"""Adagrad."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..kernels.backend import array_module
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
)


class Adagrad(Optimizer):
    """Adagrad (Duchi, Hazan & Singer, 2011).

    With g = dL/dp (negated if ``maximize``) + weight_decay * p, at step t::

        s = s + g^2                             (s starts at initial_accumulator_value)
        p = p - lr / (1 + (t - 1) * lr_decay) * g / (sqrt(s) + eps)

    The state exists from construction, as in PyTorch. ``foreach`` and ``fused`` are accepted and
    have no effect; ``differentiable=True`` is refused. Errors: ValueError for a negative argument.
    """

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        check_options("Adagrad", lr=lr, foreach=foreach, differentiable=differentiable, fused=fused)
        check_range("learning rate", lr)
        check_range("lr_decay value", lr_decay)
        check_range("weight_decay value", weight_decay)
        check_range("initial_accumulator_value value", initial_accumulator_value)
        check_range("epsilon value", eps)
        defaults: dict[str, Any] = {
            "lr": lr, "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value, "foreach": foreach,
            "maximize": maximize, "differentiable": differentiable, "fused": fused,
        }  # fmt: skip
        super().__init__(params, defaults)

    def add_param_group(self, param_group: Group) -> None:
        super().add_param_group(param_group)
        start = param_group["initial_accumulator_value"]
        for p in param_group["params"]:
            full = array_module(p.array).full(p.array.shape, start, p.array.dtype)
            self.state[p] = {"step": step_counter(), "sum": Tensor._wrap(full)}

    def _update(self, p: Tensor, group: Group) -> None:
        assert p.grad is not None
        state = self.state[p]
        state["step"].array += 1
        t, decay, eps = scalar(state["step"]), scalar(group["weight_decay"]), scalar(group["eps"])
        step_size = scalar(group["lr"]) / (1 + (t - 1) * scalar(group["lr_decay"]))
        arrays = [p.array, p.grad.array, state["sum"].array]
        for w, g, s, t1, t2 in blocks(*arrays, scratch=2):
            d = direction(w, g, decay, group["maximize"], out=t1)
            s += np.multiply(d, d, out=t2)
            np.sqrt(s, out=t2)
            t2 += eps
            w -= np.divide(np.multiply(d, step_size, out=t1), t2, out=t1)
