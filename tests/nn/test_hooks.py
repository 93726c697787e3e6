"""Module hooks: what they are given, in what order, and what they may change."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch

import minitorch_cnn as mt
from minitorch_cnn import nn

from .compare import close, ours, theirs
from .test_module import BOTH, tensor_of

LIBS = {nn: mt, torch.nn: torch}


def number(t: Any) -> Any:
    return None if t is None else round(float(t.detach().sum()), 6)


@BOTH
def test_order_and_arguments(lib: Any) -> None:
    seen: list[Any] = []
    m = lib.ReLU()

    def note(name: str) -> Any:
        return lambda module, *rest: seen.append((name, module is m, len(rest)))

    m.register_forward_hook(note("after"))
    m.register_forward_hook(note("after first"), prepend=True)
    m.register_forward_hook(note("after kw"), with_kwargs=True)
    m.register_forward_pre_hook(note("before"))
    m.register_forward_pre_hook(note("before first"), prepend=True)
    m.register_forward_pre_hook(note("before kw"), with_kwargs=True)
    m(tensor_of(lib, 2))
    assert seen == [
        ("before first", True, 1),
        ("before", True, 1),
        ("before kw", True, 2),
        ("after first", True, 2),
        ("after", True, 2),
        ("after kw", True, 3),
    ]


@BOTH
def test_forward_hooks_change_arguments_and_results(lib: Any) -> None:
    class Affine(lib.Module):
        def forward(self, x: Any, scale: float = 1.0) -> Any:
            return x * scale

    m, x = Affine(), tensor_of(lib, 3)
    handles = [
        m.register_forward_pre_hook(lambda module, args: args[0] + 1),
        m.register_forward_pre_hook(lambda module, args: (args[0] * 2,)),
        m.register_forward_pre_hook(
            lambda module, args, kwargs: (args, {"scale": kwargs["scale"] + 1}), with_kwargs=True
        ),
        m.register_forward_hook(lambda module, args, y: y + 0.5),
        m.register_forward_hook(
            lambda module, args, kwargs, y: y * kwargs["scale"], with_kwargs=True
        ),
    ]
    assert number(m(x, scale=2.0)) == 3 * (4 * 3 + 0.5) * 3
    for handle in handles:
        handle.remove()
    assert number(m(x, scale=2.0)) == 6
    with m.register_forward_hook(lambda module, args, y: y * 0):
        assert number(m(x)) == 0
    assert number(m(x)) == 3
    m.register_forward_pre_hook(lambda module, args, kwargs: args, with_kwargs=True)
    with pytest.raises(RuntimeError, match="must return None or a tuple"):
        m(x)


@BOTH
def test_always_called(lib: Any) -> None:
    class Failing(lib.Module):
        def forward(self, x: Any) -> Any:
            raise ValueError("no")

    seen: list[Any] = []
    m = Failing()
    m.register_forward_hook(lambda *args: seen.append("usual"))
    m.register_forward_hook(lambda module, args, y: seen.append(y), always_call=True)
    with pytest.raises(ValueError, match="no"):
        m(tensor_of(lib, 1))
    assert seen == [None]

    def also_fails(*args: Any) -> None:
        raise KeyError("second")

    m.register_forward_hook(also_fails, always_call=True)
    with pytest.warns(UserWarning, match="silenced"), pytest.raises(ValueError, match="no"):
        m(tensor_of(lib, 1))


@BOTH
def test_a_hook_that_raises_is_not_called_again(lib: Any) -> None:
    seen: list[str] = []

    def fails(*args: Any) -> None:
        seen.append("called")
        raise ValueError("in the hook")

    m = lib.ReLU()
    m.register_forward_hook(fails, always_call=True)
    with pytest.raises(ValueError, match="in the hook"):
        m(tensor_of(lib, 1))
    assert seen == ["called"]


def run_backward(lib: Any, n_inputs: int, replace: bool, outputs: int = 1) -> Any:
    """Gradients, and what the hooks saw, of a module with several inputs and outputs."""

    class Mix(lib.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = lib.Parameter(tensor_of(lib, 2, 3))

        def forward(self, *xs: Any) -> Any:
            y = self.w
            for i, x in enumerate(xs):
                y = y * x.sum() + x * (i + 1) if tuple(x.shape) == (2, 3) else y * x.sum()
            return y if outputs == 1 else (y * 2, y.sum(0), 3)

    m = Mix()
    seen: list[Any] = []

    def hook(module: Any, grad_input: Any, grad_output: Any) -> Any:
        seen.append([number(g) for g in (*grad_input, *grad_output)])
        return tuple(g if g is None else g * 2 for g in grad_input) if replace else None

    def pre(module: Any, grad_output: Any) -> Any:
        seen.append(["pre", *[number(g) for g in grad_output]])
        return tuple(g if g is None else g * 3 for g in grad_output) if replace else None

    m.register_full_backward_hook(hook)
    m.register_full_backward_pre_hook(pre)
    make = ours if lib is nn else theirs
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(s).astype(np.float32) for s in ((2, 3), (4,), (2, 3))[:n_inputs]]
    xs = [make(a, True) for a in arrays]
    y = m(*xs)
    loss = y.sum() if outputs == 1 else (y[0] * y[1]).sum()
    loss.backward()
    gradients = [x.grad for x in xs] + [m.w.grad]
    return seen, [g.array if lib is nn else g.numpy() for g in gradients]


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("n_inputs", [1, 2, 3])
def test_full_backward_hooks(n_inputs: int, replace: bool, outputs: int) -> None:
    seen, gradients = run_backward(nn, n_inputs, replace, outputs)
    want_seen, want = run_backward(torch.nn, n_inputs, replace, outputs)
    assert len(seen) == len(want_seen)
    for mine, theirs_ in zip(seen, want_seen, strict=True):
        assert [type(v) for v in mine] == [type(v) for v in theirs_]
        for a, b in zip(mine, theirs_, strict=True):
            assert a == b if isinstance(a, (str, type(None))) else a == pytest.approx(b, rel=1e-4)
    for mine, theirs_ in zip(gradients, want, strict=True):
        np.testing.assert_allclose(mine, theirs_, rtol=1e-4)


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
@BOTH
def test_backward_hook_of_a_first_layer(lib: Any) -> None:
    """The image needs no gradient: the hook still runs, with None for it."""
    conv = lib.Conv2d(1, 2, 3)
    seen: list[Any] = []
    conv.register_full_backward_hook(lambda m, gi, go: seen.append((gi, tuple(go[0].shape))))
    conv(tensor_of(lib, 1, 1, 4, 5)).sum().backward()
    assert seen == [((None,), (1, 2, 2, 3))]
    assert conv.weight.grad is not None


@BOTH
def test_backward_hooks_refuse_wrong_results(lib: Any) -> None:
    m = lib.ReLU()
    m.register_full_backward_hook(lambda module, gi, go: (gi[0], gi[0]))
    x = lib.Parameter(tensor_of(lib, 2))
    with pytest.raises(RuntimeError, match="invalid number of grad_input"):
        m(x * 1).sum().backward()

    m = lib.ReLU()
    m.register_full_backward_pre_hook(lambda module, go: (go[0], go[0]))
    with pytest.raises(RuntimeError, match="invalid number of grad_output"):
        m(x * 1).sum().backward()

    class Named(lib.Module):
        def forward(self, x: Any) -> Any:
            return {"y": x}

    named = Named()
    named.register_full_backward_hook(lambda *args: None)
    with pytest.warns(UserWarning, match="should be a Tensor or a tuple of Tensors"):
        named(x)


def test_hooks_leave_gradients_alone() -> None:
    """A network with every kind of hook gives the same gradients as without."""
    rng = np.random.default_rng(0)
    # Behind the norm, a ReLU without hooks would be computed with it, in other roundings.
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(inplace=False), nn.BatchNorm2d(3)).double()
    hooked = copy.deepcopy(net)
    for m in hooked.modules():
        m.register_full_backward_hook(lambda *args: None)
        m.register_full_backward_pre_hook(lambda *args: None)
        m.register_forward_hook(lambda *args: None)
    x = rng.standard_normal((2, 2, 5, 6))
    for m in (net, hooked):
        (m(ours(x)) ** 2).sum().backward()
    for a, b in zip(net.parameters(), hooked.parameters(), strict=True):
        np.testing.assert_array_equal(a.grad.array, b.grad.array)


def test_feature_extraction() -> None:
    """The usual recipe: a hook keeps a layer's output."""
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).double()
    reference = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    reference = reference.double()
    net.load_state_dict(reference.state_dict())
    kept: dict[str, Any] = {}
    for name, m in (("ours", net), ("theirs", reference)):
        m[1].register_forward_hook(lambda module, args, y, name=name: kept.update({name: y}))
    x = np.random.default_rng(0).standard_normal((2, 3))
    net(ours(x))
    reference(theirs(x))
    close(kept["ours"], kept["theirs"])
