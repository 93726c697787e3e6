"""Optimizers against torch.optim: updates, state dicts, steps."""

from __future__ import annotations

import copy
import io
import itertools
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import minitorch_cnn as mt
import minitorch_cnn.optim as optim
from minitorch_cnn.nn import Parameter
from minitorch_cnn.optim import optimizer as base
from minitorch_cnn.optim.optimizer import Optimizer
from minitorch_cnn.tensor import Tensor, no_grad

from .optim_common import (
    NAMES,
    TOLERANCE,
    assert_same,
    assert_same_state,
    double,
    leaf,
    pairs,
    parameter,
    set_gradients,
)
from .strategies import LAYOUTS, with_layout

rates = st.floats(1e-3, 0.5)

decays = st.sampled_from([0, 0, 1e-2, 0.3])

flags = st.booleans()

OPTIONS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "SGD": {
        "lr": rates, "momentum": st.sampled_from([0, 0.5, 0.9]), "weight_decay": decays,
        "dampening": st.sampled_from([0, 0.2, 1.0]), "nesterov": flags, "maximize": flags,
    },
    "Adam": {
        "lr": rates, "betas": st.tuples(st.floats(0, 0.99), st.floats(0.1, 0.999)),
        "eps": st.sampled_from([1e-8, 1e-3]), "weight_decay": decays, "amsgrad": flags,
        "maximize": flags, "decoupled_weight_decay": flags,
    },
    "AdamW": {"lr": rates, "weight_decay": decays, "amsgrad": flags, "maximize": flags},
    "RMSprop": {
        "lr": rates, "alpha": st.floats(0.1, 0.999), "eps": st.sampled_from([1e-8, 1e-3]),
        "weight_decay": decays, "momentum": st.sampled_from([0, 0.9]), "centered": flags,
        "maximize": flags,
    },
    "Adagrad": {
        "lr": rates, "lr_decay": st.sampled_from([0, 0.1]), "weight_decay": decays,
        "initial_accumulator_value": st.sampled_from([0, 0.5]), "maximize": flags,
    },
    "Adadelta": {
        "lr": rates, "rho": st.floats(0, 1), "eps": st.sampled_from([1e-6, 1e-3]),
        "weight_decay": decays, "maximize": flags,
    },
}  # fmt: skip


@st.composite
def configurations(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    name = draw(st.sampled_from(NAMES))
    options = draw(st.fixed_dictionaries({}, optional=OPTIONS[name]))
    if options.get("nesterov"):
        options |= {"momentum": 0.9, "dampening": 0}
    return name, options


@given(configurations(), st.sampled_from([np.float64, np.float32]), st.integers(0, 99), st.data())
@settings(max_examples=60)
def test_updates_equal_pytorch(
    configuration: tuple[str, dict[str, Any]], dtype: Any, seed: int, data: st.DataObject
) -> None:
    name, options = configuration
    if options.get("centered"):
        dtype = np.float64  # of mean(g^2) - mean(g)^2, float32 keeps few digits where g repeats
    shapes = [(3, 2), (), (0, 4), (5,)]
    ours, theirs = pairs(shapes, dtype, seed)
    second = {"lr": 0.05, "weight_decay": 0.1}
    a = getattr(optim, name)([{"params": ours[:2]}, {"params": ours[2:], **second}], **options)
    b = getattr(torch.optim, name)(
        [{"params": theirs[:2]}, {"params": theirs[2:], **second}], **options
    )
    for step in range(25):
        present = [step % 4 != 2, True, True, data.draw(flags) if step < 4 else True]
        set_gradients(ours, theirs, seed * 1000 + step, present)
        a.step()
        b.step()
    assert_same(ours, theirs)
    assert_same_state(a.state_dict(), b.state_dict(), dtype)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("lr", [0.1, 0.001])
def test_long_runs_in_float32_stay_close(name: str, lr: float) -> None:
    """200 steps on a quadratic bowl, so that errors could build up."""
    ours, theirs = pairs([(40,)], np.float32)
    a, b = getattr(optim, name)(ours, lr=lr), getattr(torch.optim, name)(theirs, lr=lr)
    target = np.linspace(-1, 1, 40, dtype=np.float32)
    for _ in range(200):
        ours[0].grad = Tensor._wrap(ours[0].array - target)
        theirs[0].grad = theirs[0].detach() - torch.tensor(target)
        a.step()
        b.step()
    np.testing.assert_allclose(ours[0].array, theirs[0].detach().numpy(), rtol=1e-4, atol=3e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_memory_layout(name: str, layout: str) -> None:
    x = np.random.default_rng(1).standard_normal((6, 5))
    g = np.random.default_rng(2).standard_normal((6, 5))
    results = []
    for arrange in (lambda v: v.copy(), lambda v: with_layout(v.copy(), layout)):
        p = parameter(arrange(x))
        optimizer = getattr(optim, name)([p], weight_decay=0.1, maximize=True)
        for sign in (1, -1, 1):
            p.grad = Tensor._wrap(arrange(g * sign))
            optimizer.step()
        results.append(p.array)
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [20, 21, 27])
def test_blocks_do_not_show(name: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Updates in blocks of 7 equal updates of the whole array, bit for bit."""
    results = []
    for block in (10**6, 7):
        monkeypatch.setattr(base, "BLOCK", block)
        ours, theirs = pairs([(size,)], np.float32)
        options = {"momentum": 0.9} if name in ("SGD", "RMSprop") else {}
        optimizer = getattr(optim, name)(ours, lr=0.1, weight_decay=0.1, **options)
        for seed in range(3):
            set_gradients(ours, theirs, seed)
            optimizer.step()
        results.append(ours[0].array)
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("name", NAMES)
def test_update_is_in_place_and_leaves_the_gradient_alone(name: str) -> None:
    (p,), _ = pairs([(4, 3)], np.float32)
    memory, view = p.array, p.array[0]
    p.grad = Tensor._wrap(np.ones((4, 3), np.float32))
    version = p._version
    getattr(optim, name)([p], lr=0.1, weight_decay=0.1, maximize=True).step()
    assert p.array is memory
    assert np.shares_memory(view, p.array)
    np.testing.assert_array_equal(p.grad.array, 1)
    assert p._version == version + 1
    assert p.requires_grad
    assert p.is_leaf


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e38])
def test_nan_and_overflow_travel_silently(name: str, bad: float) -> None:
    ours, theirs = pairs([(3,)], np.float32)
    a, b = getattr(optim, name)(ours, lr=10.0), getattr(torch.optim, name)(theirs, lr=10.0)
    for _ in range(2):
        g = np.array([bad, 1, 0], np.float32)
        ours[0].grad, theirs[0].grad = Tensor._wrap(g), torch.tensor(g)
        a.step()
        b.step()
    theirs_array = theirs[0].detach().numpy()
    np.testing.assert_allclose(ours[0].array, theirs_array, **TOLERANCE[np.float32])


@pytest.mark.parametrize("name", NAMES)
def test_empty_and_half_precision(name: str) -> None:
    ours, theirs = pairs([(0,), (3,)], np.float16)
    a, b = getattr(optim, name)(ours, lr=0.1), getattr(torch.optim, name)(theirs, lr=0.1)
    set_gradients(ours, theirs, 3)
    a.step()
    b.step()
    assert ours[1].array.dtype == np.float16
    np.testing.assert_allclose(ours[1].array, theirs[1].detach().numpy(), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("name", NAMES)
def test_steps_of_bfloat16_are_computed_in_float32(name: str) -> None:
    """PyTorch's step in float32 of the same numbers, rounded; what is kept between steps too."""
    start, g = (mt.randn(50, dtype=mt.bfloat16) for _ in range(2))
    ours = Parameter(start.clone())
    theirs = torch.nn.Parameter(torch.from_numpy(start.float().numpy()))
    ours.grad, theirs.grad = g, torch.from_numpy(g.float().numpy())
    a, b = getattr(optim, name)([ours], lr=0.1), getattr(torch.optim, name)([theirs], lr=0.1)
    a.step()
    b.step()
    assert ours.dtype == mt.bfloat16
    for p, q in [(ours, theirs), *zip(a.state[ours].values(), b.state[theirs].values())]:
        if isinstance(p, Tensor) and p.ndim:
            expected = q.detach().numpy()
            np.testing.assert_allclose(p.detach().float().numpy(), expected, 2**-8, 1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_lr_may_be_a_tensor(name: str) -> None:
    ours, theirs = pairs([(3,)])
    lr = Tensor._wrap(np.array(0.05))
    a = getattr(optim, name)(ours, lr=lr)
    b = getattr(torch.optim, name)(theirs, lr=torch.tensor(0.05, dtype=torch.float64))
    for seed in range(5):
        set_gradients(ours, theirs, seed)
        a.step()
        b.step()
        lr.array *= 0.5
        b.param_groups[0]["lr"] *= 0.5
    assert_same(ours, theirs)
    assert ours[0].array.dtype == np.float64


# State dicts


def as_torch(value: Any) -> Any:
    """Our state dict with PyTorch's tensors in it."""
    if isinstance(value, Tensor):
        return torch.tensor(value.array)
    if isinstance(value, dict):
        return {k: as_torch(v) for k, v in value.items()}
    return [as_torch(v) for v in value] if isinstance(value, list) else value


@given(configurations(), st.sampled_from([np.float64, np.float32]))
@settings(max_examples=30)
def test_state_dicts_are_pytorchs_both_ways(
    configuration: tuple[str, dict[str, Any]], dtype: Any
) -> None:
    """Ten steps in one library, then ten in the other, and the other way round."""
    name, options = configuration
    ours, theirs = pairs([(2, 3), ()], dtype)
    a, b = getattr(optim, name)(ours, **options), getattr(torch.optim, name)(theirs, **options)
    for seed in range(10):
        set_gradients(ours, theirs, seed)
        a.step()
        b.step()
    ours2 = [parameter(q.detach().numpy().copy()) for q in theirs]
    theirs2 = [torch.nn.Parameter(torch.tensor(p.array)) for p in ours]
    a2, b2 = getattr(optim, name)(ours2), getattr(torch.optim, name)(theirs2)
    a2.load_state_dict(b.state_dict())
    b2.load_state_dict(as_torch(a.state_dict()))
    for seed in range(10, 20):
        set_gradients(ours2, theirs2, seed)
        set_gradients(ours, theirs, seed)
        for optimizer in (a, b, a2, b2):
            optimizer.step()
    assert_same(ours2, theirs)
    assert_same(ours, theirs2)
    assert_same_state(a2.state_dict(), b2.state_dict(), dtype)


def test_checkpoint_file_of_pytorch_continues_here() -> None:
    serialization = pytest.importorskip("minitorch_cnn.serialization")
    ours, theirs = pairs([(4,), (2, 2)], np.float32)
    b = torch.optim.Adam(theirs, lr=0.01, amsgrad=True)
    set_gradients(ours, theirs, 0)
    b.step()
    file = io.BytesIO()
    torch.save({"optimizer": b.state_dict(), "params": [q.detach() for q in theirs]}, file)
    file.seek(0)
    checkpoint = serialization.load(file)
    ours = [parameter(t.array.copy()) for t in checkpoint["params"]]
    a = optim.Adam(ours)
    a.load_state_dict(checkpoint["optimizer"])
    for seed in range(1, 20):
        set_gradients(ours, theirs, seed)
        a.step()
        b.step()
    assert_same(ours, theirs)


def test_loading_copies_and_casts() -> None:
    (p,), _ = pairs([(3,)], np.float32)
    (q,), _ = pairs([(3,)], np.float64)
    first, second = optim.SGD([p], momentum=0.9), optim.SGD([q], momentum=0.9)
    p.grad = Tensor._wrap(np.ones(3, np.float32))
    first.step()
    saved = first.state_dict()
    second.load_state_dict(saved)
    buffer = second.state[q]["momentum_buffer"]
    assert buffer.array.dtype == np.float64
    first.step()
    np.testing.assert_array_equal(buffer.array, 1)
    assert saved["param_groups"][0]["params"] == [0]


def test_options_that_an_old_file_lacks_keep_their_defaults() -> None:
    (p,), _ = pairs([(3,)])
    optimizer = optim.Adam([p], lr=0.1)
    p.grad = Tensor._wrap(np.ones(3))
    optimizer.step()
    old = {
        "state": {0: {"step": 7, "exp_avg": np.ones(3), "exp_avg_sq": np.ones(3)}},
        "param_groups": [{"lr": 0.3, "betas": (0.9, 0.999), "eps": 1e-8, "params": [0]}],
    }
    optimizer.load_state_dict(old)
    optimizer.step()
    assert optimizer.param_groups[0]["lr"] == 0.3
    assert optimizer.param_groups[0]["amsgrad"] is False
    assert optimizer.state[p]["step"].array == 8


def test_load_errors() -> None:
    ours, theirs = pairs([(3,), (2,)])
    a, b = optim.SGD(ours, momentum=0.5), torch.optim.SGD(theirs, momentum=0.5)
    for wrong in (
        {"state": {}, "param_groups": []},
        {"state": {}, "param_groups": [{"params": [0]}]},
    ):
        for optimizer in (a, b):
            with pytest.raises(ValueError, match="loaded state dict"):
                optimizer.load_state_dict(wrong)
    groups = a.state_dict()["param_groups"]
    with pytest.raises(ValueError, match=r"\[5\].*\[3\]"):
        a.load_state_dict({"state": {0: {"momentum_buffer": np.ones(5)}}, "param_groups": groups})


# Steps


def test_zero_grad() -> None:
    p = leaf()
    optimizer = optim.SGD([p, leaf()], lr=0.1)
    p.grad = Tensor._wrap(np.ones(2, np.float32))
    grad = p.grad
    optimizer.zero_grad(set_to_none=False)
    assert p.grad is grad
    np.testing.assert_array_equal(grad.array, 0)
    optimizer.zero_grad()
    assert p.grad is None


def test_closure_runs_with_gradients_and_its_value_is_returned() -> None:
    p = leaf()

    def closure() -> Tensor:
        optimizer.zero_grad()
        y = double(p)
        y.backward(Tensor._wrap(np.ones(2, np.float32)))
        return y

    optimizer = optim.SGD([p], lr=0.1)
    with no_grad():
        y = optimizer.step(closure)
    assert y.requires_grad
    np.testing.assert_allclose(p.array, 1 - 0.1 * 2, rtol=1e-6)


def test_step_hooks() -> None:
    p = leaf()
    p.grad = Tensor._wrap(np.ones(2, np.float32))
    optimizer = optim.SGD([p], lr=0.1)
    calls: list[str] = []
    before = optimizer.register_step_pre_hook(lambda o, args, kwargs: calls.append("before"))
    optimizer.register_step_post_hook(lambda o, args, kwargs: calls.append("after"))
    optimizer.step()
    before.remove()
    optimizer.step()
    assert calls == ["before", "after", "after"]


def test_an_optimizer_of_ones_own_in_pytorchs_style() -> None:
    class Plain(Optimizer):
        def __init__(self, params: Any, lr: float) -> None:
            super().__init__(params, {"lr": lr})

        @no_grad()
        def step(self, closure: Any = None) -> None:
            for group in self.param_groups:
                for p in group["params"]:
                    self.state[p]["count"] = self.state[p].get("count", 0) + 1
                    p.array -= group["lr"] * p.grad.array

    class Loud(Plain):
        def step(self, closure: Any = None) -> None:
            super().step()

    p = leaf()
    p.grad = Tensor._wrap(np.ones(2, np.float32))
    optimizer = Loud([p], lr=0.5)
    calls: list[int] = []
    optimizer.register_step_post_hook(lambda *args: calls.append(1))
    optimizer.step()
    np.testing.assert_array_equal(p.array, 0.5)
    assert optimizer.state_dict()["state"] == {0: {"count": 1}}
    assert calls == [1]


def test_required_options() -> None:
    with pytest.raises(ValueError, match="required option lr"):
        Optimizer([leaf()], {"lr": base.required})
    Optimizer([{"params": leaf(), "lr": 0.1}], {"lr": base.required})
    p = leaf()
    p.grad = leaf()
    with pytest.raises(NotImplementedError, match="_update"):
        Optimizer([p], {}).step()


def test_a_copy_is_independent() -> None:
    p = leaf()
    p.grad = Tensor._wrap(np.ones(2, np.float32))
    optimizer = optim.SGD([p], lr=0.1, momentum=0.9)
    optimizer.step()
    twin = copy.deepcopy(optimizer)
    (q,) = twin.param_groups[0]["params"]
    twin.step()
    np.testing.assert_allclose(p.array, 0.9, rtol=1e-6)
    np.testing.assert_allclose(q.array, 0.9 - 0.19, rtol=1e-6)


def test_missing_optimizers_are_named() -> None:
    with pytest.raises(AttributeError, match=r"LBFGS.*Adam.*SGD"):
        _ = optim.LBFGS


def test_no_warnings_in_a_plain_run() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, flag in itertools.product(NAMES, [True, False]):
            p = leaf()
            p.grad = Tensor._wrap(np.zeros(2, np.float32))
            getattr(optim, name)([p], maximize=flag).step()
