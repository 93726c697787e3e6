"""Schedulers: every rate and momentum equals PyTorch's to 1e-12, alone, combined and resumed."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from minitorch_cnn import optim
from minitorch_cnn.optim import lr_scheduler
from minitorch_cnn.tensor import Tensor

LIBRARIES = {"ours": (optim, lr_scheduler), "theirs": (torch.optim, torch.optim.lr_scheduler)}
STEPS = 60


def leaf(library: str) -> Any:
    if library == "ours":
        return Tensor._wrap(np.ones(1), True)
    return torch.ones(1, dtype=torch.float64, requires_grad=True)


def make_optimizer(library: str, name: str = "SGD", lr: float = 0.1, **options: Any) -> Any:
    if name == "SGD":
        options = {"momentum": 0.5, **options}
    groups = [{"params": [leaf(library)]}, {"params": [leaf(library)], "lr": lr / 3}]
    return getattr(LIBRARIES[library][0], name)(groups, lr=lr, **options)


def trace(optimizer: Any, scheduler: Any, steps: int = STEPS) -> list[Any]:
    """Rates, momenta and what get_last_lr says, before the first step and after each."""
    rows = []
    for _ in range(steps + 1):
        groups = optimizer.param_groups
        rows.append([g["lr"] for g in groups])
        rows.append([g.get("momentum", g.get("betas", (0,))[0]) for g in groups])
        rows.append(list(scheduler.get_last_lr()))
        optimizer.step()
        scheduler.step()
    return rows


def both(make: Callable[[Any, Any], Any], steps: int = STEPS, **options: Any) -> list[Any]:
    """The traces of ``make(lr_scheduler, optimizer)`` in both libraries."""
    traces = []
    for library, (_, module) in LIBRARIES.items():
        optimizer = make_optimizer(library, **options)
        traces.append(trace(optimizer, make(module, optimizer), steps))
    return traces


def assert_equal(traces: list[Any]) -> None:
    np.testing.assert_allclose(*traces, rtol=1e-12, atol=1e-15)


factors = st.floats(0.05, 1.0)
counts = st.integers(1, 25)
etas = st.sampled_from([0.0, 1e-3, 0.05])
SCHEDULERS: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "StepLR": st.fixed_dictionaries({"step_size": counts, "gamma": factors}),
    "MultiStepLR": st.fixed_dictionaries(
        {"milestones": st.lists(st.integers(0, 50), max_size=5), "gamma": factors}
    ),
    "ConstantLR": st.fixed_dictionaries(
        {"factor": factors, "total_iters": st.integers(0, 25)}
    ),
    "LinearLR": st.fixed_dictionaries(
        {"start_factor": factors, "end_factor": st.floats(0, 1), "total_iters": counts}
    ),
    "ExponentialLR": st.fixed_dictionaries({"gamma": factors}),
    "PolynomialLR": st.fixed_dictionaries({"total_iters": counts, "power": st.floats(0.5, 3)}),
    "LambdaLR": st.fixed_dictionaries(
        {"lr_lambda": st.sampled_from([lambda e: 0.9**e, lambda e: 1 / (1 + e)])}
    ),
    "MultiplicativeLR": st.fixed_dictionaries(
        {"lr_lambda": st.sampled_from([lambda e: 0.97, lambda e: 1 / (1 + e / 9)])}
    ),
    "CosineAnnealingLR": st.fixed_dictionaries({"T_max": st.integers(2, 25), "eta_min": etas}),
    "CosineAnnealingWarmRestarts": st.fixed_dictionaries(
        {"T_0": counts, "T_mult": st.integers(1, 3), "eta_min": etas}
    ),
}  # fmt: skip


@st.composite
def schedules(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    name = draw(st.sampled_from(sorted(SCHEDULERS)))
    return name, draw(SCHEDULERS[name])


@given(schedules())
@settings(max_examples=60)
def test_rates_equal_pytorchs(schedule: tuple[str, dict[str, Any]]) -> None:
    name, options = schedule
    assert_equal(both(lambda module, o: getattr(module, name)(o, **options)))


CHAINABLE = sorted(set(SCHEDULERS) - {"LambdaLR", "CosineAnnealingWarmRestarts"})


@given(st.data())
@settings(max_examples=25)
def test_chained(data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from(CHAINABLE), min_size=1, max_size=3))
    options = [data.draw(SCHEDULERS[name]) for name in names]

    def make(module: Any, o: Any) -> Any:
        return module.ChainedScheduler([getattr(module, n)(o, **k) for n, k in zip(names, options)])

    assert_equal(both(make))


@given(st.data())
@settings(max_examples=25)
def test_sequential(data: st.DataObject) -> None:
    schedulers = data.draw(st.lists(schedules(), min_size=1, max_size=3))
    milestones = sorted(
        data.draw(
            st.lists(
                st.integers(1, 50),
                min_size=len(schedulers) - 1,
                max_size=len(schedulers) - 1,
                unique=True,
            )
        )
    )

    def make(module: Any, o: Any) -> Any:
        parts = [getattr(module, name)(o, **options) for name, options in schedulers]
        return module.SequentialLR(o, parts, milestones)

    assert_equal(both(make))


@given(
    total=st.integers(10, 60),
    pct_start=st.floats(0.1, 0.45),
    strategy=st.sampled_from(["cos", "linear"]),
    three_phase=st.booleans(),
    cycle_momentum=st.booleans(),
    name=st.sampled_from(["SGD", "Adam"]),
    by_epochs=st.booleans(),
)
def test_one_cycle(
    total: int, pct_start: float, strategy: str, three_phase: bool, cycle_momentum: bool,
    name: str, by_epochs: bool,
) -> None:  # fmt: skip
    assume(pct_start * total != 1)  # PyTorch divides by zero
    length = {"total_steps": total}
    if by_epochs:
        total -= total % 5
        assume(pct_start * total != 1)
        length = {"epochs": total // 5, "steps_per_epoch": 5}

    def make(module: Any, o: Any) -> Any:
        return module.OneCycleLR(
            o, [0.3, 0.1], **length, pct_start=pct_start, anneal_strategy=strategy,
            three_phase=three_phase, cycle_momentum=cycle_momentum,
        )  # fmt: skip

    assert_equal(both(make, steps=total - 1, name=name))


@given(
    up=counts,
    down=st.none() | counts,
    mode=st.sampled_from(["triangular", "triangular2", "exp_range"]),
    own_scale=st.booleans(),
    scale_mode=st.sampled_from(["cycle", "iterations"]),
    cycle_momentum=st.booleans(),
    name=st.sampled_from(["SGD", "Adam"]),
)
def test_cyclic(
    up: int, down: int | None, mode: str, own_scale: bool, scale_mode: str, cycle_momentum: bool,
    name: str,
) -> None:  # fmt: skip
    def make(module: Any, o: Any) -> Any:
        return module.CyclicLR(
            o, 0.01, [0.3, 0.1], up, down, mode, gamma=0.97,
            scale_fn=(lambda x: 1 / (x + 1)) if own_scale else None, scale_mode=scale_mode,
            cycle_momentum=cycle_momentum,
        )  # fmt: skip

    assert_equal(both(make, name=name))


@given(
    metrics=st.lists(st.floats(-2, 2) | st.just(float("nan")), min_size=50, max_size=50),
    mode=st.sampled_from(["min", "max"]),
    threshold_mode=st.sampled_from(["rel", "abs"]),
    threshold=st.sampled_from([1e-4, 0.1]),
    patience=st.integers(0, 4),
    cooldown=st.integers(0, 3),
    min_lr=st.sampled_from([0, 0.01, [0.02, 0.001]]),
    factor=st.floats(0.1, 0.9),
)
def test_reduce_on_plateau(metrics: list[float], **options: Any) -> None:
    traces: list[Any] = []
    for library, (_, module) in LIBRARIES.items():
        optimizer = make_optimizer(library)
        scheduler = module.ReduceLROnPlateau(optimizer, **options)
        rows = []
        for metric in metrics:
            scheduler.step(metric)
            rows.append([*scheduler.get_last_lr(), *(g["lr"] for g in optimizer.param_groups)])
        traces.append(rows)
    assert_equal(traces)


def test_plateau_takes_a_tensor() -> None:
    scheduler = lr_scheduler.ReduceLROnPlateau(make_optimizer("ours"), patience=0)
    scheduler.step(_Number(1.0))
    assert scheduler.best == 1.0


class _Number:
    def __init__(self, value: float) -> None:
        self.value = value

    def __float__(self) -> float:
        return self.value


# Resuming

COMBINED: dict[str, Callable[[Any, Any], Any]] = {
    "StepLR": lambda m, o: m.StepLR(o, 7),
    "MultiStepLR": lambda m, o: m.MultiStepLR(o, [3, 3, 20]),
    "LambdaLR": lambda m, o: m.LambdaLR(o, [lambda e: 0.9**e, lambda e: 1 / (1 + e)]),
    "MultiplicativeLR": lambda m, o: m.MultiplicativeLR(o, lambda e: 0.9),
    "LinearLR": lambda m, o: m.LinearLR(o, total_iters=25),
    "PolynomialLR": lambda m, o: m.PolynomialLR(o, total_iters=30, power=2),
    "ConstantLR": lambda m, o: m.ConstantLR(o, total_iters=15),
    "ExponentialLR": lambda m, o: m.ExponentialLR(o, 0.9),
    "CosineAnnealingLR": lambda m, o: m.CosineAnnealingLR(o, 20, 1e-3),
    "CosineAnnealingWarmRestarts": lambda m, o: m.CosineAnnealingWarmRestarts(o, 4, 2),
    "OneCycleLR": lambda m, o: m.OneCycleLR(o, 0.3, total_steps=50),
    "CyclicLR": lambda m, o: m.CyclicLR(o, 0.01, 0.1, 7),
    "ChainedScheduler": lambda m, o: m.ChainedScheduler([m.StepLR(o, 7), m.ConstantLR(o, 0.5, 9)]),
    "SequentialLR": lambda m, o: m.SequentialLR(
        o, [m.LinearLR(o, 0.1, total_iters=10), m.CosineAnnealingLR(o, 20)], [10]
    ),
}


@pytest.mark.parametrize("name", sorted(COMBINED))
def test_state_dict_resumes_and_is_pytorchs(name: str) -> None:
    """Ours continues from PyTorch's state dict, and the other way round."""
    runs: dict[str, Any] = {}
    for library, (_, module) in LIBRARIES.items():
        optimizer = make_optimizer(library)
        scheduler = COMBINED[name](module, optimizer)
        trace(optimizer, scheduler, 10)
        saved = copy.deepcopy((optimizer.state_dict()["param_groups"], scheduler.state_dict()))
        runs[library] = (saved, trace(optimizer, scheduler, 20))
    assert _keys(runs["ours"][0][1]) == _keys(runs["theirs"][0][1])

    for reader, writer in [("ours", "theirs"), ("theirs", "ours"), ("ours", "ours")]:
        (groups, state), expected = runs[writer]
        optimizer = make_optimizer(reader)
        scheduler = COMBINED[name](LIBRARIES[reader][1], optimizer)
        optimizer.load_state_dict({"state": {}, "param_groups": groups})
        scheduler.load_state_dict(copy.deepcopy(state))
        assert_equal([trace(optimizer, scheduler, 20), expected])


def _keys(state: Any) -> Any:
    """The names in a state dict, also of the schedulers in it."""
    if isinstance(state, dict) and "_schedulers" in state:
        return {**dict.fromkeys(state), "_schedulers": [_keys(s) for s in state["_schedulers"]]}
    return dict.fromkeys(state)


def test_plateau_state_dict() -> None:
    states = []
    for library, (_, module) in LIBRARIES.items():
        scheduler = module.ReduceLROnPlateau(make_optimizer(library), "max", patience=1)
        for metric in (1.0, 0.5, 0.2, 3.0):
            scheduler.step(metric)
        states.append(scheduler.state_dict())
        again = module.ReduceLROnPlateau(make_optimizer(library))
        again.load_state_dict(states[-1])
        assert again.mode_worse == -float("inf")
    assert states[0] == states[1]


def test_callable_objects_are_saved_with_their_attributes() -> None:
    class Decay:
        def __init__(self, rate: float) -> None:
            self.rate = rate

        def __call__(self, epoch: int) -> float:
            return self.rate**epoch

    scheduler = lr_scheduler.LambdaLR(make_optimizer("ours"), [Decay(0.5), lambda e: 1])
    saved = scheduler.state_dict()
    assert saved["lr_lambdas"] == [{"rate": 0.5}, None]
    again = lr_scheduler.LambdaLR(make_optimizer("ours"), [Decay(0.1), lambda e: 1])
    again.load_state_dict(saved)
    assert again.lr_lambdas[0].rate == 0.5


@pytest.mark.parametrize("name", ["StepLR", "CosineAnnealingLR", "ExponentialLR", "LinearLR"])
def test_last_epoch_resumes(name: str) -> None:
    """The old way: an optimizer whose groups have an initial_lr, and ``last_epoch``."""

    def make(module: Any, o: Any) -> Any:
        arguments = {"StepLR": [3], "CosineAnnealingLR": [9], "ExponentialLR": [0.8]}.get(name, [])
        for group in o.param_groups:
            group["initial_lr"] = group["lr"] * 2
        return getattr(module, name)(o, *arguments, last_epoch=4)

    assert_equal(both(make, steps=20))


@pytest.mark.parametrize("name", sorted(set(COMBINED) - {"ChainedScheduler", "SequentialLR"}))
def test_step_to_an_epoch(name: str) -> None:
    traces: list[Any] = []
    for library, (_, module) in LIBRARIES.items():
        optimizer = make_optimizer(library)
        scheduler = COMBINED[name](module, optimizer)
        optimizer.step()
        rows = []
        for epoch in (3, 8, 8, 25, 2, None, None):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                scheduler.step(epoch)
            rows.append([g["lr"] for g in optimizer.param_groups])
        traces.append(rows)
    assert_equal(traces)


def test_warm_restarts_take_fractions_of_epochs_without_a_warning() -> None:
    traces: list[Any] = []
    for library, (_, module) in LIBRARIES.items():
        optimizer = make_optimizer(library)
        scheduler = module.CosineAnnealingWarmRestarts(optimizer, 3, 2)
        optimizer.step()
        rows = []
        for batch in range(100):
            scheduler.step(batch / 7)
            rows.append([g["lr"] for g in optimizer.param_groups])
        traces.append(rows)
        with pytest.raises(ValueError, match="non-negative"):
            scheduler.step(-1)
    assert_equal(traces)


# Rules


def test_lr_may_be_a_tensor_and_keeps_its_identity() -> None:
    lr = Tensor._wrap(np.array(0.1))
    optimizer = optim.SGD([leaf("ours")], lr=lr)
    scheduler = lr_scheduler.ExponentialLR(optimizer, 0.5)
    optimizer.step()
    scheduler.step()
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] is lr
    assert lr.array == pytest.approx(0.025)
    assert scheduler.base_lrs[0].array == pytest.approx(0.1)


def test_wrong_order_warns_once() -> None:
    optimizer = make_optimizer("ours")
    scheduler = lr_scheduler.StepLR(optimizer, 3)
    with pytest.warns(UserWarning, match=r"before `optimizer.step\(\)`"):
        scheduler.step()
    scheduler.step()
    second = make_optimizer("ours")
    later = lr_scheduler.StepLR(second, 3)
    second.step()
    later.step()


def test_get_lr_outside_step_warns() -> None:
    scheduler = lr_scheduler.StepLR(make_optimizer("ours"), 3)
    with pytest.warns(UserWarning, match="get_last_lr"):
        scheduler.get_lr()


def test_epoch_argument_warns() -> None:
    optimizer = make_optimizer("ours")
    scheduler = lr_scheduler.StepLR(optimizer, 3)
    optimizer.step()
    with pytest.warns(UserWarning, match="deprecated"):
        scheduler.step(5)


@pytest.mark.parametrize("verbose", [True, "yes"])
def test_verbose_is_tolerated(verbose: Any) -> None:
    for make in (
        lambda: lr_scheduler.StepLR(make_optimizer("ours"), 3, verbose=verbose),
        lambda: lr_scheduler.ReduceLROnPlateau(make_optimizer("ours"), verbose=verbose),
    ):
        with pytest.warns(UserWarning, match="verbose"):
            make()
    lr_scheduler.StepLR(make_optimizer("ours"), 3, verbose=False)
    lr_scheduler.CosineAnnealingLR(make_optimizer("ours"), 3, verbose="deprecated")


WRONG: dict[str, Callable[[Any, Any], Any]] = {
    "not an optimizer": lambda m, o: m.StepLR(5, 2),
    "plateau of no optimizer": lambda m, o: m.ReduceLROnPlateau(5),
    "one-cycle of no optimizer": lambda m, o: m.OneCycleLR(5, 0.1, 10),
    "no initial_lr": lambda m, o: m.StepLR(o, 2, last_epoch=3),
    "constant factor": lambda m, o: m.ConstantLR(o, 1.5),
    "start factor": lambda m, o: m.LinearLR(o, 0.0),
    "end factor": lambda m, o: m.LinearLR(o, 0.5, 2.0),
    "number of lambdas": lambda m, o: m.LambdaLR(o, [lambda e: 1]),
    "lambda is no function": lambda m, o: m.MultiplicativeLR(o, 3),
    "T_0": lambda m, o: m.CosineAnnealingWarmRestarts(o, 0),
    "T_0 is a float": lambda m, o: m.CosineAnnealingWarmRestarts(o, 2.5),
    "T_mult": lambda m, o: m.CosineAnnealingWarmRestarts(o, 2, 0),
    "no length": lambda m, o: m.OneCycleLR(o, 0.1),
    "length": lambda m, o: m.OneCycleLR(o, 0.1, 0),
    "length is a float": lambda m, o: m.OneCycleLR(o, 0.1, 2.5),
    "epochs": lambda m, o: m.OneCycleLR(o, 0.1, epochs=-1, steps_per_epoch=3),
    "pct_start": lambda m, o: m.OneCycleLR(o, 0.1, 10, pct_start=1.5),
    "strategy": lambda m, o: m.OneCycleLR(o, 0.1, 10, anneal_strategy="exp"),
    "max_lr list": lambda m, o: m.OneCycleLR(o, [0.1], 10),
    "mode of cyclic": lambda m, o: m.CyclicLR(o, 0.1, 0.2, mode="square"),
    "plateau factor": lambda m, o: m.ReduceLROnPlateau(o, factor=1.0),
    "plateau mode": lambda m, o: m.ReduceLROnPlateau(o, mode="less"),
    "plateau threshold": lambda m, o: m.ReduceLROnPlateau(o, threshold_mode="x"),
    "plateau min_lr": lambda m, o: m.ReduceLROnPlateau(o, min_lr=[0.1]),
    "no schedulers": lambda m, o: m.SequentialLR(o, [], []),
    "milestones": lambda m, o: m.SequentialLR(o, [m.StepLR(o, 1), m.StepLR(o, 2)], [1, 2]),
    "sequential plateau": lambda m, o: m.SequentialLR(o, [m.ReduceLROnPlateau(o)], []),
    "chained plateau": lambda m, o: m.ChainedScheduler([m.ReduceLROnPlateau(o)]),
    "empty chain": lambda m, o: m.ChainedScheduler([]),
    "not a scheduler": lambda m, o: m.ChainedScheduler([m.StepLR(o, 1), 5]),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_pytorch_refuses_is_refused_alike(what: str) -> None:
    with pytest.raises(Exception) as theirs:
        WRONG[what](torch.optim.lr_scheduler, make_optimizer("theirs"))
    with pytest.raises(theirs.type):
        WRONG[what](lr_scheduler, make_optimizer("ours"))


def test_schedulers_of_two_optimizers() -> None:
    a, b = make_optimizer("ours"), make_optimizer("ours")
    with pytest.raises(ValueError, match="same optimizer"):
        lr_scheduler.ChainedScheduler([lr_scheduler.StepLR(a, 1), lr_scheduler.StepLR(b, 1)])


def test_cyclic_schedules_need_a_momentum() -> None:
    for make in (
        lambda o: lr_scheduler.OneCycleLR(o, 0.1, 10),
        lambda o: lr_scheduler.CyclicLR(o, 0.1, 0.2),
    ):
        with pytest.raises(ValueError, match="cycle_momentum"):
            make(make_optimizer("ours", "Adagrad"))


def test_one_cycle_with_a_phase_of_no_length() -> None:
    with pytest.raises(ValueError, match="pct_start"):
        lr_scheduler.OneCycleLR(make_optimizer("ours"), 0.1, 10, pct_start=0.1)


def test_one_cycle_is_over() -> None:
    optimizer = make_optimizer("ours")
    scheduler = lr_scheduler.OneCycleLR(optimizer, 0.1, 3)
    optimizer.step()
    for _ in range(3):
        scheduler.step()
    with pytest.raises(ValueError, match="4 times"):
        scheduler.step()


def test_plateau_meets_a_new_group() -> None:
    for min_lr, error in [(0.0, False), ([0.0, 0.0], True)]:
        optimizer = make_optimizer("ours")
        scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, min_lr=min_lr)
        optimizer.add_param_group({"params": [leaf("ours")]})
        scheduler.step(1.0)
        if error:
            with pytest.raises(RuntimeError, match="3 parameter groups"):
                scheduler.step(2.0)
        else:
            scheduler.step(2.0)
            assert [g["lr"] for g in optimizer.param_groups] == pytest.approx(
                [0.01, 0.1 / 30, 0.01]
            )


def test_base_class_in_the_style_of_older_scripts() -> None:
    class Halve(lr_scheduler._LRScheduler):
        def get_lr(self) -> list[float]:
            return [base * 0.5**self.last_epoch for base in self.base_lrs]

    optimizer = make_optimizer("ours")
    scheduler = Halve(optimizer)
    optimizer.step()
    scheduler.step()
    assert scheduler.get_last_lr() == pytest.approx([0.05, 0.1 / 6])
    with pytest.raises(NotImplementedError):
        lr_scheduler.LRScheduler(optimizer)


def test_all_of_pytorchs_schedulers_are_here() -> None:
    theirs = {
        name
        for name, value in vars(torch.optim.lr_scheduler).items()
        if isinstance(value, type) and issubclass(value, torch.optim.lr_scheduler.LRScheduler)
    }
    assert theirs <= set(vars(lr_scheduler))
