"""``backward``: walk the graph from its roots in reverse, each node once, and add up gradients."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from .dtypes import is_floating
from .grad_mode import mode, no_grad
from .kernels import large
from .kernels.backend import copy
from .tensor import Array, Node, Tensor, as_array, is_writable, memory_of, on_device_of

Target: TypeAlias = Node | Tensor  # where a gradient goes: to an op's node, or to a leaf


class _Pending:
    """Gradients on their way: for each target the sum of what has arrived."""

    def __init__(self) -> None:
        self.sums: dict[Target, Array] = {}
        self.ours: set[Target] = set()  # sums in memory of their own, to be added to in place
        self.queue: list[tuple[int, Node]] = []  # the nodes among the targets, youngest first

    def send(self, target: Target, g: Array, fresh: bool) -> None:
        """``fresh`` says that nobody else will look at g."""
        if target not in self.sums:
            self.sums[target] = g
            if isinstance(target, Node):
                heapq.heappush(self.queue, (-target.order, target))
        elif target in self.ours:
            large.add_into(self.sums[target], g)
        elif fresh:
            large.add_into(g, self.sums[target])
            self.sums[target] = g
        else:
            self.sums[target] = as_array(large.add(self.sums[target], g))
            fresh = True
        if fresh:
            self.ours.add(target)

    def nodes(self) -> Iterator[tuple[Node, Array, bool]]:
        """Each node, its sum, and whether that is in memory which nobody else will look at.

        Whoever sends to a node is younger, so the sum is complete.
        """
        while self.queue:
            node = heapq.heappop(self.queue)[1]
            ours = node in self.ours
            self.ours.discard(node)
            yield node, self.sums.pop(node), ours


@np.errstate(all="ignore")  # gradients overflow and divide by zero as silently as PyTorch's
def run_backward(
    roots: Sequence[Tensor],
    gradients: Sequence[Tensor | None],
    retain_graph: bool,
    create_graph: bool,
    inputs: Sequence[Tensor] | None,
    accumulate: bool,
) -> list[Array | None]:
    """Send ``gradients`` of ``roots`` back through the graph.

    ``accumulate`` adds to ``.grad`` of the ``inputs`` (of all leaves if None); otherwise the
    gradients of ``inputs`` are returned. Iterative, so depth is limited by memory alone. Each node
    lets go of what it saved as soon as it has run, unless ``retain_graph``.
    """
    if create_graph:
        raise NotImplementedError(
            "create_graph=True: minitorch_cnn computes first derivatives only (gradient functions"
            " work on plain arrays). Use PyTorch where you need derivatives of derivatives."
        )
    plan = None
    if inputs is not None:
        plan = _Plan(_targets(inputs, accumulate), roots)
    pending = _Pending()
    for i, (root, gradient) in enumerate(zip(roots, gradients, strict=True)):
        pending.send(root.grad_fn or root, _root_gradient(i, root, gradient), fresh=False)

    with no_grad():
        found = _walk(pending, plan, retain_graph)
        if inputs is None or plan is None:
            for leaf, g in found.items():
                assert isinstance(leaf, Tensor)
                _accumulate(leaf, g)
            return []
        if plan.meets_freed and not all((t.grad_fn or t) in found for t in inputs):
            raise RuntimeError(_second_time("a part of the graph"))
        if not accumulate:
            return [found.get(t.grad_fn or t) for t in inputs]
        for t in dict.fromkeys(inputs):
            if (t.grad_fn or t) in found:
                _accumulate(t, found[t.grad_fn or t])
        return []


class _Plan:
    """Where the gradients of chosen tensors are found, and the nodes to run for them."""

    def __init__(self, wanted: set[Target], roots: Sequence[Tensor]) -> None:
        nodes: set[Node] = set()
        stack: list[Target] = [r.grad_fn or r for r in roots]
        while stack:
            node = stack.pop()
            if isinstance(node, Node) and node not in nodes:
                nodes.add(node)
                stack.extend(target for target, _ in node.edges or ())
        self.wanted = wanted
        self.needed = set(wanted)  # and the nodes between the roots and these
        self.runs: set[Node] = set()
        for node in sorted(nodes, key=lambda n: n.order):
            if any(target in self.needed for target, _ in node.edges or ()):
                self.runs.add(node)
                self.needed.add(node)
        self.meets_freed = any(node.edges is None for node in nodes)


def _walk(pending: _Pending, plan: _Plan | None, retain_graph: bool) -> dict[Target, Array]:
    """Run the nodes of the plan (all without one); the gradients it wants (those of all leaves)."""
    found: dict[Target, Array] = {}
    for node, gy, ours in pending.nodes():
        if plan is not None and node not in plan.needed:
            continue
        gy = _run_hooks(node.hooks, gy)
        retaining = node.retains() if node.retains is not None else None
        if plan is not None and node in plan.wanted:
            found[node] = gy.copy()
        elif retaining is not None:
            _accumulate(retaining, gy.copy())
        if plan is None or node in plan.runs:
            _run(node, gy, ours, plan, pending)
            if not retain_graph:
                node.edges, node.seen = None, []
    for leaf, g in pending.sums.items():
        if isinstance(leaf, Tensor) and (plan is None or leaf in plan.wanted):
            found[leaf] = _run_hooks(leaf._hooks, g)
    return found


def _run(node: Node, gy: Array, ours: bool, plan: _Plan | None, pending: _Pending) -> None:
    """Send the gradients of one node's inputs on.

    If gy is ``ours``, and no other input's gradient is gy or a view of it, the last function may
    overwrite it, or pass it on as ours.
    """
    if node.edges is None:
        raise RuntimeError(_second_time(repr(node.name)))
    versions = node.modified()
    if versions is not None:
        raise RuntimeError(modified(f"{node.name!r} (output {list(node.shape)})", *versions))
    edges = node.edges
    if plan is not None:
        edges = [edge for edge in edges if edge[0] in plan.needed]
    with on_device_of(gy):
        # Of a part of a larger array (from concatenated maps), kernels need a copy: one for all.
        if len(edges) > 1 and not gy.flags.c_contiguous and is_writable(gy):
            gy, ours = copy(gy), True
        if ours and len(edges) > 1:
            edges = sorted(edges, key=_overwrites)
        for edge in edges:
            target, grad = edge
            last = ours and edge is edges[-1]
            g = grad(gy, True) if last and _overwrites(edge) else grad(gy)
            if g is None:
                continue
            given = as_array(g)
            fresh = _is_fresh(given, gy)
            own = fresh or (last and is_writable(given))  # not writable: gy, broadcast
            g = _checked(node, target, given, own)
            fresh = fresh or g is not given
            pending.send(target, g, fresh or own)
            ours = ours and fresh


def _overwrites(edge: tuple[Target, Any]) -> bool:
    return hasattr(edge[1], "overwrites")


def _targets(inputs: Sequence[Tensor], accumulate: bool) -> set[Target]:
    """Where the gradients of ``inputs`` arrive."""
    if not inputs:
        name = "backward()" if accumulate else "grad()"
        raise RuntimeError(f"`inputs` argument to `{name}` cannot be empty.")
    for i, t in enumerate(inputs):
        if not t.requires_grad:
            raise RuntimeError(
                f"One of the differentiated Tensors does not require grad: number {i}, of shape"
                f" {list(t.shape)}. Call .requires_grad_() on it before computing with it."
            )
    return {t.grad_fn or t for t in inputs}


def _root_gradient(i: int, root: Tensor, gradient: Tensor | None) -> Array:
    if not root.requires_grad:
        raise RuntimeError(
            f"element {i} of tensors does not require grad and does not have a grad_fn"
        )
    if gradient is None:
        if root.array.size != 1:
            raise RuntimeError(
                "grad can be implicitly created only for scalar outputs; this one has shape"
                f" {list(root.shape)}: reduce it (.sum(), .mean()) or pass gradient="
            )
        with on_device_of(root.array):
            one = root.array.copy()
            one[...] = 1
        return one
    if not isinstance(gradient, Tensor):
        raise TypeError(
            f"gradients can be either Tensors or None, but got {type(gradient).__name__}"
        )
    if gradient.shape != root.shape:
        raise RuntimeError(
            f"Mismatch in shape: grad_output[{i}] has a shape of {list(gradient.shape)} and"
            f" output[{i}] has a shape of {list(root.shape)}."
        )
    # A leaf keeps what it is given; other nodes only read it.
    with on_device_of(gradient.array):
        return gradient.array.astype(root.array.dtype, copy=root.is_leaf).view()


def _second_time(what: str) -> str:
    return (
        f"Trying to backward through the graph a second time: the saved values of {what} were"
        " freed. Pass retain_graph=True to the first backward()."
    )


def modified(who: str, saved: int, now: int) -> str:
    """The message that memory which ``who`` saved has been written to since."""
    return (
        "one of the variables needed for gradient computation has been modified by an inplace"
        f" operation: {who} saved it at version {saved}, it is now at version {now}. Write"
        " y = x + 1 instead of x += 1 (or clone() before the in-place step)."
    )


def _checked(node: Node, target: Target, g: Array, ours: bool) -> Array:
    """A gradient has its tensor's shape and dtype, and (for leaves) memory of its own.

    ``ours``: g may keep the memory that it is in.
    """
    like = target if isinstance(target, Node) else target.array
    if g.shape != like.shape:
        raise RuntimeError(
            f"the gradient of {node.name!r} has shape {list(g.shape)} for an input of shape"
            f" {list(like.shape)}"
        )
    if mode.anomaly and is_floating(g.dtype) and np.isnan(g).any():
        raise RuntimeError(
            f"Function '{node.name}' returned nan values in its gradient (settings"
            f" {dict(node.settings)}, output {list(node.shape)}). It was called here:\n{node.trace}"
        )
    if g.dtype != like.dtype:
        return g.astype(like.dtype)
    # += on a leaf's .grad must change neither gy, nor another leaf's gradient, nor keep a larger
    # buffer alive.
    if isinstance(target, Tensor) and (not ours or memory_of(g).nbytes != g.nbytes):
        return copy(g)
    return g


def _is_fresh(g: Array, gy: Array) -> bool:
    """Whether a gradient function made g: what it returns is gy, a view of it, or made for us.

    Gradients of :class:`autograd.Function` are lists of what its user returned.
    """
    return is_floating(gy.dtype) and is_writable(g) and memory_of(g) is not memory_of(gy)


def _run_hooks(hooks: Mapping[int, Callable[[Tensor], Tensor | None]] | None, g: Array) -> Array:
    if not hooks:
        return g
    # A hook may change what it is given, or keep it: neither may reach another tensor's gradient.
    given = Tensor._wrap(g.copy())
    for hook in list(hooks.values()):
        replaced: Any = hook(given)
        if replaced is None:
            continue
        if not isinstance(replaced, Tensor):
            raise TypeError(
                f"a hook must return None or a Tensor, but got {type(replaced).__name__}"
            )
        if replaced.array.shape != g.shape:
            raise RuntimeError(
                f"a hook changed the shape of a gradient from {list(g.shape)} to"
                f" {list(replaced.shape)}"
            )
        given = replaced
    return given.array.astype(g.dtype)


def _accumulate(tensor: Tensor, g: Array) -> None:
    grad = tensor._grad
    if grad is None:
        tensor._grad = Tensor._wrap(g)
    else:
        with on_device_of(g):
            if is_writable(grad.array):
                grad.array += g
                grad._counter[0] += 1
            else:
                grad.array = grad.array + g
    for hook in list((tensor._post_hooks or {}).values()):
        hook(tensor)
