"""``torch.cuda.make_graphed_callables``: a function's forward and backward as CUDA graphs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from .autograd import Function, FunctionCtx, grad
from .graphs import CUDAGraph, graph, mapped
from .nn import Module
from .tensor import Tensor, no_grad

__all__ = ["make_graphed_callables"]


def make_graphed_callables(
    callables: Any,
    sample_args: Any,
    num_warmup_iters: int = 3,
    allow_unused_input: bool = False,
    pool: Any = None,
) -> Any:
    """Functions of tensors, or modules, that replay CUDA graphs: part of a step, where the rest of
    it cannot be recorded (:class:`graph_step` records a whole one).

    ``sample_args`` is a tuple of tensors like those that will come (shapes, dtypes, device and
    ``requires_grad``); for a tuple of callables, a tuple of such tuples. Each is run
    ``num_warmup_iters`` times, forward and backward, and then recorded twice. A module is returned
    itself, with another ``forward``: its graph serves the mode (train or eval) that it was recorded
    in, the old ``forward`` the other. A function's tensors must all be arguments, those that get
    gradients too. Results are copies.

    Errors: RuntimeError for what a graph cannot hold, for a module with hooks, for arguments unlike
    the samples, for an argument or parameter without a gradient (unless ``allow_unused_input``),
    and for a backward behind a second forward, whose numbers have taken the first one's place.
    Memory: what one forward and backward need.
    """
    if not isinstance(callables, tuple):
        return make_graphed_callables(
            (callables,), (sample_args,), num_warmup_iters, allow_unused_input, pool
        )[0]
    made = []
    for fn, samples in zip(callables, sample_args, strict=True):
        graphed = _Graphed(fn, tuple(samples), num_warmup_iters, allow_unused_input, pool)
        made.append(_with_forward(fn, graphed) if isinstance(fn, Module) else graphed)
    return tuple(made)


def _with_forward(module: Module, graphed: _Graphed) -> Module:
    eager, training = module.forward, module.training

    def forward(*args: Tensor) -> Any:
        return (graphed if module.training == training else eager)(*args)

    module.forward = forward
    return module


class _Graphed:
    """The two graphs of one callable, and the memory that they read and write."""

    def __init__(
        self, fn: Callable[..., Any], samples: tuple[Tensor, ...], warmup: int, unused: bool,
        pool: Any,
    ) -> None:  # fmt: skip
        self.name = getattr(fn, "__name__", type(fn).__name__)
        if not all(x.is_cuda for x in samples):
            raise RuntimeError(f"make_graphed_callables: {self.name}: samples must be on a GPU")
        parameters: tuple[Tensor, ...] = ()
        if isinstance(fn, Module):
            parameters = tuple(fn.parameters())
            if fn._has_hooks():
                raise RuntimeError(
                    f"make_graphed_callables: {self.name} has hooks, which a graph would not call:"
                    " register them afterwards"
                )
        self.samples = tuple(x.detach().clone().requires_grad_(x.requires_grad) for x in samples)
        self.parameters = parameters
        self.wanted = [x for x in (*self.samples, *parameters) if x.requires_grad]
        self.calls = 0
        for _ in range(warmup):
            self._backward(_flat(fn(*self.samples)), None, unused)
        self.forward = CUDAGraph()
        with graph(self.forward, pool):
            self.result = fn(*self.samples)
        self.outputs = _flat(self.result)
        self.differentiable = [y.requires_grad for y in self.outputs]
        self.given = [y.detach().clone() for y in self.outputs if y.requires_grad]
        self.backward, self.grads = CUDAGraph(), []
        if self.wanted and self.given:
            with graph(self.backward, self.forward.pool()):
                self.grads = self._backward(self.outputs, self.given, unused)
        self.outputs = [y.detach() for y in self.outputs]
        self.result = mapped(lambda y: y.detach(), self.result)

    def _backward(
        self, outputs: list[Tensor], given: list[Tensor] | None, unused: bool
    ) -> list[Tensor | None]:
        outputs = [y for y in outputs if y.requires_grad]
        if not self.wanted or not outputs:
            return []
        if given is None:
            given = [y.detach() for y in outputs]
        return list(grad(outputs, self.wanted, given, allow_unused=unused))

    def __call__(self, *args: Tensor) -> Any:
        like = [(x.shape, x.dtype, x.device) for x in self.samples]
        if [(x.shape, x.dtype, x.device) for x in args] != like:
            found, wanted = (
                ", ".join(f"{list(x.shape)} {x.dtype} on {x.device}" for x in tensors)
                for tensors in (args, self.samples)
            )
            raise RuntimeError(f"{self.name} was recorded with {wanted}, but is given {found}")
        outputs = iter(_Replay.apply(self, *args, *self.parameters))
        return mapped(lambda _: next(outputs), self.result)


class _Replay(Function):
    """The op that both graphs are one node of."""

    @staticmethod
    def forward(ctx: FunctionCtx, graphed: _Graphed, *inputs: Tensor) -> tuple[Tensor, ...]:
        graphed.calls += 1
        ctx.graphed, ctx.call = graphed, graphed.calls  # type: ignore[attr-defined]
        with no_grad():
            for mine, x in zip(graphed.samples, inputs):
                mine.copy_(x)
        graphed.forward.replay()
        outputs = tuple(y.clone() for y in graphed.outputs)
        pairs = zip(outputs, graphed.differentiable)
        ctx.mark_non_differentiable(*(y for y, needed in pairs if not needed))
        return outputs

    @staticmethod
    def backward(ctx: FunctionCtx, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        graphed: _Graphed = ctx.graphed  # type: ignore[attr-defined]
        if ctx.call != graphed.calls:  # type: ignore[attr-defined]
            raise RuntimeError(
                f"backward of a graphed {graphed.name} whose forward was called again since: what"
                " it saved has been overwritten. Call backward before the next forward."
            )
        needed = (gy for gy, needed in zip(grad_outputs, graphed.differentiable) if needed)
        for mine, gy in zip(graphed.given, needed):
            mine.copy_(gy)
        graphed.backward.replay()
        grads: Iterator[Tensor | None] = iter(graphed.grads)
        inputs = (*graphed.samples, *graphed.parameters)
        return (None, *(next(grads) if x.requires_grad else None for x in inputs))


def _flat(result: Any) -> list[Tensor]:
    found: list[Tensor] = []
    mapped(found.append, result)
    return found
