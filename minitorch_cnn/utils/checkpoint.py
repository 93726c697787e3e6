"""``checkpoint``: compute again in the backward pass what would otherwise be kept in memory.

Chen, Xu, Zhang, Guestrin, "Training deep nets with sublinear memory cost", 2016.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ..backward import run_backward
from ..grad_mode import enable_grad, is_grad_enabled, mode
from ..random import fork_rng, get_rng_state, set_rng_state
from ..tensor import Array, GradFn, Node, Seen, Tensor

__all__ = ["checkpoint"]


def checkpoint(
    function: Callable[..., Tensor],
    *args: Any,
    use_reentrant: bool | None = None,
    preserve_rng_state: bool = True,
    **kwargs: Any,
) -> Tensor:
    """``function(*args, **kwargs)``, keeping its inputs and its output but nothing in between.

    ``function`` returns one Tensor and runs again when the gradient arrives; it must compute the
    same both times. ``preserve_rng_state`` gives it the same random numbers (dropout). What it
    changes, it changes twice: batch norm's running statistics. Gradients reach the arguments and
    all parameters, also through ``autograd.grad``. ``use_reentrant`` is accepted: here the result
    is that of PyTorch's False.

    Errors: TypeError if the result is no Tensor; RuntimeError if the second one has another shape,
    or if an argument or a parameter was modified in between. Cost: one more forward pass.
    """
    if not is_grad_enabled():
        return function(*args, **kwargs)
    random_state, autocast = get_rng_state(), mode.autocast

    def run() -> tuple[list[Any], Tensor]:
        cut = [_cut(a) for a in args]
        return cut, function(*cut, **kwargs)

    # The first run records a graph too, which shows the parameters; it is dropped on return.
    cut, y = run()
    if not isinstance(y, Tensor):
        raise TypeError(f"checkpoint: the function must return a Tensor, not {type(y).__name__}")
    if not y.requires_grad:
        return y
    inputs = {id(c): i for i, c in enumerate(cut) if isinstance(c, Tensor)}
    leaves = [leaf for leaf in _leaves(y) if id(leaf) not in inputs]
    used = [a for a in args if isinstance(a, Tensor) and a.requires_grad]
    shape = y.shape

    def gradients(gy: Array) -> list[Array | None]:
        with enable_grad(), fork_rng(enabled=preserve_rng_state):
            if preserve_rng_state:
                set_rng_state(random_state)
            before, mode.autocast = mode.autocast, autocast  # backward is outside of its regions
            try:
                again, y = run()
            finally:
                mode.autocast = before
        if y.shape != shape:
            raise RuntimeError(
                f"checkpoint: the function returned shape {list(shape)} in the forward pass but"
                f" {list(y.shape)} when it ran again"
            )
        wanted = [c for c in again if isinstance(c, Tensor) and c.requires_grad] + leaves
        return run_backward((y,), (Tensor._wrap(gy),), False, False, wanted, accumulate=False)

    grads = _each_once(gradients, len(used) + len(leaves))
    edges: list[tuple[Node | Tensor, GradFn]] = [
        (x.grad_fn or x, grad) for x, grad in zip([*used, *leaves], grads, strict=True)
    ]
    seen: list[Seen] = [
        (t._counter, t._counter[0], None) for t in [*args, *leaves] if isinstance(t, Tensor)
    ]
    out = y.detach()
    out.grad_fn = Node("checkpoint", {}, y.array, edges, seen)
    out._requires_grad = True
    return out


def _cut(a: Any) -> Any:
    """A Tensor without its history, so that the graph of a run begins there."""
    return a.detach().requires_grad_(a.requires_grad) if isinstance(a, Tensor) else a


def _leaves(y: Tensor) -> Iterator[Tensor]:
    """The leaf tensors that y was computed from, each once."""
    seen: set[Node | Tensor] = set()
    stack: list[Node | Tensor] = [y.grad_fn or y]
    while stack:
        target = stack.pop()
        if target in seen:
            continue
        seen.add(target)
        if isinstance(target, Tensor):
            yield target
        else:
            stack.extend(t for t, _ in target.edges or ())


def _each_once(gradients: Callable[[Array], list[Array | None]], n: int) -> list[GradFn]:
    """A gradient function for each of n inputs; those called with one gy share one computation."""
    ready: dict[int, Array | None] = {}
    last: list[Array | None] = [None]

    def grad(i: int) -> GradFn:
        def of_input(gy: Array) -> Array | None:
            if last[0] is not gy or i not in ready:
                ready.clear()
                ready.update(enumerate(gradients(gy)))
                last[0] = gy
            g = ready.pop(i)
            if not ready:
                last[0] = None
            return g

        return of_input

    return [grad(i) for i in range(n)]
