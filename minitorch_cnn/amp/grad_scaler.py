"""``GradScaler``: gradients of float16 times a number that keeps them in float16's range."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import cuda
from ..grad_mode import no_grad
from ..kernels.backend import array_module, host
from ..tensor import Array, Tensor, on_device_of

if TYPE_CHECKING:
    from ..optim import Optimizer


class _Stage(Enum):
    """Where an optimizer is between two calls of update()."""

    UNSCALED = 1
    STEPPED = 2


class GradScaler:
    """Scales losses so that small gradients do not vanish in float16 (below 6e-8).

    ``scaler.scale(loss).backward()``, ``scaler.step(optimizer)``, ``scaler.update()``: step divides
    the gradients by the scale and skips the optimizer's step if one is infinite or NaN; update then
    multiplies the scale by ``backoff_factor``, and else, after every ``growth_interval`` steps, by
    ``growth_factor``. For clipping, ``unscale_(optimizer)`` before step divides them earlier.
    With ``enabled=False``, or for "cuda" without a GPU (with a warning), it does nothing.

    Cost: a pass over the gradients, and the CPU waits for the GPU once a step, to know.
    Source: P. Micikevicius et al., Mixed Precision Training, arXiv:1710.03740.
    """

    def __init__(
        self,
        device: str = "cuda",
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        if enabled and device == "cuda" and (why := cuda.why_unavailable()) is not None:
            warnings.warn(
                f"GradScaler is enabled for 'cuda', but CUDA is not available ({why}). Disabling.",
                stacklevel=2,
            )
            enabled = False
        if enabled and growth_factor <= 1:
            raise AssertionError(f"The growth factor must be > 1.0, got {growth_factor}")
        if enabled and backoff_factor >= 1:
            raise AssertionError(f"The backoff factor must be < 1.0, got {backoff_factor}")
        self._enabled = bool(enabled)
        self._scale = float(init_scale)
        self._growth_factor = growth_factor
        self._backoff_factor = backoff_factor
        self._growth_interval = growth_interval
        self._good_steps = 0  # in a row since the scale last changed
        self._used = False  # since when there is something to step and to update
        self._stages: dict[int, _Stage] = {}
        self._found_inf: dict[int, bool] = {}

    def scale(self, outputs: Any) -> Any:
        """A loss, or several in a list, tuple or iterator, times the scale."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            self._used = True
            with on_device_of(outputs.array):
                xp = array_module(outputs.array)
                scale = Tensor._wrap(xp.asarray(self._scale, np.float32))
            # A loss of float16 (one number) becomes float32 here, as a product of two tensors does.
            return outputs * scale
        if isinstance(outputs, Iterable):
            scaled = map(self.scale, outputs)
            return type(outputs)(scaled) if isinstance(outputs, (list, tuple)) else scaled
        raise ValueError("scale: outputs must be a Tensor or an iterable of Tensors")

    def unscale_(self, optimizer: Optimizer) -> None:
        """Divide the gradients of an optimizer's parameters by the scale, in place.

        Once per step, when all of them are there: RuntimeError otherwise. ValueError for gradients
        of float16: the parameters that autocast works with are float32.
        """
        if not self._enabled:
            return
        self._check_used("unscale_")
        stage = self._stages.get(id(optimizer))
        if stage is _Stage.UNSCALED:
            raise RuntimeError(
                "unscale_() has already been called on this optimizer since the last update()."
            )
        if stage is _Stage.STEPPED:
            raise RuntimeError("unscale_() is being called after step().")
        grads = [
            p.grad for group in optimizer.param_groups for p in group["params"]
            if p.grad is not None
        ]  # fmt: skip
        if any(g.array.dtype == np.float16 for g in grads):
            raise ValueError(
                "Attempting to unscale FP16 gradients: keep the parameters in float32"
                " (no model.half()), autocast casts them where they are used"
            )
        inverse = 1 / self._scale
        with no_grad():
            finite = [_all_finite(g.array) for g in grads]
            for g in grads:
                g.mul_(inverse)
        if grads:
            self._found_inf[id(optimizer)] = not all(bool(host(f)) for f in finite)
        self._stages[id(optimizer)] = _Stage.UNSCALED

    def step(self, optimizer: Optimizer, *args: Any, **kwargs: Any) -> Any:
        """``optimizer.step()`` with unscaled gradients, if all are finite; else None."""
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs:
            raise RuntimeError("Closure use is not supported if GradScaler is enabled.")
        self._check_used("step")
        if self._stages.get(id(optimizer)) is _Stage.STEPPED:
            raise RuntimeError("step() has already been called since the last update().")
        if id(optimizer) not in self._stages:
            self.unscale_(optimizer)
        if id(optimizer) not in self._found_inf:
            raise AssertionError(
                "No inf checks were recorded for this optimizer: none of its parameters has a"
                " gradient"
            )
        found = self._found_inf[id(optimizer)]
        result = None if found else optimizer.step(*args, **kwargs)
        self._stages[id(optimizer)] = _Stage.STEPPED
        return result

    def update(self, new_scale: float | Tensor | None = None) -> None:
        """Adapt the scale to what the steps since the last update found, or set it."""
        if not self._enabled:
            return
        self._check_used("update")
        if new_scale is not None:
            self._scale = float(new_scale)
        elif not self._found_inf:
            raise AssertionError("No inf checks were recorded prior to update.")
        elif any(self._found_inf.values()):
            self._scale *= self._backoff_factor
            self._good_steps = 0
        else:
            self._good_steps += 1
            if self._good_steps == self._growth_interval:
                self._grow()
        self._stages, self._found_inf = {}, {}

    def _grow(self) -> None:
        grown = self._scale * self._growth_factor
        if grown <= float(np.finfo(np.float32).max):
            self._scale = grown
        self._good_steps = 0

    def _check_used(self, what: str) -> None:
        if not self._used:
            raise AssertionError(
                f"Attempted {what} before scaler.scale(loss) was called: backward() has to begin"
                " from scaler.scale(loss)"
            )

    def get_scale(self) -> float:
        """The scale; 1.0 if this does nothing."""
        return self._scale if self._enabled else 1.0

    def get_growth_factor(self) -> float:
        """What the scale is multiplied by after ``growth_interval`` good steps."""
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        """Another growth factor."""
        self._growth_factor = new_factor

    def get_backoff_factor(self) -> float:
        """What the scale is multiplied by when gradients were infinite or NaN."""
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        """Another backoff factor."""
        self._backoff_factor = new_factor

    def get_growth_interval(self) -> int:
        """Good steps in a row after which the scale grows."""
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        """Another growth interval."""
        self._growth_interval = new_interval

    def is_enabled(self) -> bool:
        """Whether this does anything."""
        return self._enabled

    def state_dict(self) -> dict[str, Any]:
        """The scale, the factors, the interval and the number of good steps; {} if disabled."""
        if not self._enabled:
            return {}
        return {
            "scale": self._scale,
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._good_steps,
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`; RuntimeError for the empty one of a disabled scaler."""
        if not self._enabled:
            return
        if not state_dict:
            raise RuntimeError(
                "The source state dict is empty, possibly because it was saved from a disabled"
                " instance of GradScaler."
            )
        self._scale = float(state_dict["scale"])
        self._growth_factor = state_dict["growth_factor"]
        self._backoff_factor = state_dict["backoff_factor"]
        self._growth_interval = state_dict["growth_interval"]
        self._good_steps = state_dict["_growth_tracker"]


def _all_finite(x: Array) -> Array:
    """One bool, where ``x`` lives: nobody waits for it yet."""
    with on_device_of(x):
        return np.isfinite(x).all()
