"""CUDA graphs: a whole training step, recorded once and then started by one call.

A step of a small network is hundreds of short kernels, and Python takes longer to queue them than
a GPU to run them. A graph holds them all with their arguments: the same memory, the same numbers.
What the host computes anew for each step (dropout's random state, learning rates, Adam's step
count) is read from memory that :meth:`CUDAGraph.replay` fills first (``kernels/replay.py``), so a
replayed step equals an eager one bit for bit.

Nothing runs while it is recorded, so nothing can be read then: no ``loss.item()``, no printing, no
checks of labels, no copies between CPU and GPU. Products of matrices are our own kernel's instead
of cuBLAS's, which CuPy does not hand to a graph; with
``torch.backends.cuda.preferred_blas_library("kernels")`` eager steps use it too.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable
from typing import Any

import numpy as np

from .kernels import replay
from .tensor import Tensor, no_grad

__all__ = ["CUDAGraph", "graph", "graph_pool_handle", "graph_step", "is_current_stream_capturing"]


def is_current_stream_capturing() -> bool:
    """Whether this thread is recording a graph."""
    return replay.recording() is not None


def graph_pool_handle() -> Any:
    """Memory for several graphs: the ``pool`` of :class:`graph`."""
    from .cuda import _gpu

    return _gpu()[0].cuda.MemoryPool()


class CUDAGraph:
    """A recording of what a GPU was asked to do: :class:`graph` makes it, :meth:`replay` repeats.

    It keeps the memory that was allocated while it was recorded. Tensors of before the capture are
    used where they lay: keep them, and change them in place only.
    """

    def __init__(self, keep_graph: bool = False) -> None:
        del keep_graph
        self._graph: Any = None
        self._recording: replay.Recording | None = None
        self._contexts = contextlib.ExitStack()

    def capture_begin(self, pool: Any = None, capture_error_mode: str = "relaxed") -> None:
        """Record what this thread asks of the current GPU from here on, on a stream of its own.

        ``pool`` is the :meth:`pool` of another graph, whose memory is used too: for graphs that are
        always replayed in the order of their recording. CuPy's mode of capture is "relaxed", which
        other threads need not mind; PyTorch's other modes are accepted.
        """
        from .cuda import _gpu

        if capture_error_mode not in ("global", "thread_local", "relaxed"):
            raise RuntimeError(f"Unknown capture error mode: {capture_error_mode!r}")
        if is_current_stream_capturing() or self._graph is not None:
            raise RuntimeError("this CUDAGraph, or another, is being captured or has been: reset()")
        cupy, index = _gpu()
        gc.collect()  # what dies later would give its memory back in the middle of the capture
        self._device = cupy.cuda.Device(index)
        self._device.synchronize()
        self._pool = cupy.cuda.MemoryPool() if pool is None else pool
        self._recording = replay.Recording(cupy)
        self._stream = cupy.cuda.Stream(non_blocking=True)
        # Memory of the common pool would be handed to others once the capture is done with it.
        self._contexts.enter_context(cupy.cuda.using_allocator(self._pool.malloc))
        self._contexts.enter_context(self._stream)
        try:  # in CuPy's mode, relaxed: the pool may ask the driver for memory
            self._stream.begin_capture()
        except Exception:
            self._contexts.close()
            raise
        replay.record(self._recording)

    def capture_end(self) -> None:
        """End the recording. Nothing of it has run yet."""
        if replay.recording() is None or replay.recording() is not self._recording:
            raise RuntimeError("capture_end() without capture_begin()")
        replay.record(None)
        try:
            self._graph = self._stream.end_capture()
        finally:
            self._contexts.close()

    def replay(self) -> None:
        """Queue the recorded work on the current stream, with the host's numbers of this step."""
        if self._graph is None or self._recording is None:
            raise RuntimeError("Called CUDAGraph::replay without a preceding successful capture.")
        with self._device:
            self._recording.refresh()
            self._graph.launch()

    def reset(self) -> None:
        """Forget the recording, and give its memory back."""
        self._graph = self._recording = self._pool = None

    def pool(self) -> Any:
        """The memory of this graph, for :class:`graph` of another one."""
        return self._pool


class graph:
    """``with torch.cuda.graph(g):`` records the block into a :class:`CUDAGraph` without running it.

    Run the block once before: kernels are compiled, optimizers make their state, and constants move
    to the GPU then. Raises RuntimeError for what a graph cannot hold, and stops recording.
    """

    def __init__(
        self,
        cuda_graph: CUDAGraph,
        pool: Any = None,
        stream: None = None,
        capture_error_mode: str = "relaxed",
    ) -> None:
        if stream is not None:
            raise NotImplementedError("torch.cuda.graph(stream=): it has a stream of its own")
        self.cuda_graph, self._settings = cuda_graph, (pool, capture_error_mode)

    def __enter__(self) -> None:
        self.cuda_graph.capture_begin(*self._settings)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            self.cuda_graph.capture_end()
            return
        with contextlib.suppress(RuntimeError):  # a capture that waited for the GPU is invalid
            self.cuda_graph.capture_end()
        self.cuda_graph.reset()
        if "apture" in str(error) and not isinstance(error, replay.CaptureError):
            raise replay.CaptureError(  # in other words than CUDA's, or CuPy's
                f"this cannot be part of a CUDA graph ({error}): it reads numbers of the GPU, or"
                " calls a library. Move it out of the step, behind the replay."
            ) from error


class graph_step:
    """A training step that becomes a CUDA graph: ``step = torch.cuda.graph_step(fn)``.

    ``fn(*tensors)`` does a whole step (``zero_grad``, forward, loss, backward, ``optimizer.step``)
    and returns a Tensor, or a tuple, list or dict of them, or None. Each call is one step: the
    first ``warmup`` calls run ``fn``; then it is recorded and replayed, for each set of shapes,
    dtypes and devices of the inputs (the last, smaller batch of an epoch has a graph of its own).
    Results are copies. What ``fn`` does besides (counting, hooks, a changed ``train()`` mode)
    happens in the warm-up and the recording only; learning rates and momenta of SGD and Adam(W)
    are read at every step. A replay writes gradients where ``.grad`` was in the recording.

    Errors: RuntimeError for inputs that are not on a GPU, and for what a graph cannot hold;
    TypeError for other results, which would be those of the recording for ever. Memory: what one
    step needs, for each set of shapes.
    """

    def __init__(self, fn: Callable[..., Any], warmup: int = 2) -> None:
        self.fn, self.warmup = fn, warmup
        self.seen: dict[Any, int] = {}
        self.graphs: dict[Any, tuple[CUDAGraph, tuple[Tensor, ...], Any]] = {}

    def __call__(self, *inputs: Tensor) -> Any:
        key = tuple((x.shape, x.dtype, str(x.device)) for x in inputs)
        if not all(x.is_cuda for x in inputs):
            raise RuntimeError(
                "graph_step: inputs must be on a GPU, but got"
                f" {', '.join(f'{list(x.shape)} on {x.device}' for x in inputs)}"
            )
        if key not in self.graphs:
            self.seen[key] = self.seen.get(key, 0) + 1
            if self.seen[key] <= self.warmup:
                return _copies(self.fn(*inputs))
            self.graphs[key] = self._recorded(inputs)
        recorded, static, results = self.graphs[key]
        with no_grad():
            for mine, x in zip(static, inputs):
                mine.copy_(x)
        recorded.replay()
        return _copies(results)

    def _recorded(self, inputs: tuple[Tensor, ...]) -> tuple[CUDAGraph, tuple[Tensor, ...], Any]:
        static = tuple(x.detach().clone() for x in inputs)
        recorded = CUDAGraph()
        with graph(recorded):
            results = _detached(self.fn(*static))
        return recorded, static, results


def _detached(results: Any) -> Any:
    return mapped(lambda x: x.detach(), results)


def _copies(results: Any) -> Any:
    return mapped(lambda x: x.detach().clone(), results)


def mapped(fn: Callable[[Tensor], Any], results: Any) -> Any:
    """The tensors of a step's result replaced; TypeError for other results."""
    if isinstance(results, Tensor):
        return fn(results)
    if isinstance(results, dict):
        return {name: mapped(fn, value) for name, value in results.items()}
    if isinstance(results, (tuple, list)):
        return type(results)(mapped(fn, value) for value in results)
    if results is None:
        return None
    kind = "a number" if isinstance(results, (int, float, np.generic)) else type(results).__name__
    raise TypeError(f"the step returned {kind}: return Tensors, and read them outside the graph")
