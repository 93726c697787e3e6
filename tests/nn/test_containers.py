"""Sequential, ModuleList, ModuleDict, ParameterList, ParameterDict: each step as in PyTorch."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest

from .test_module import BOTH, names, nn, tensor_of, torch


def both(build: Any) -> tuple[Any, Any]:
    return build(nn), build(torch.nn)


SEQUENTIAL = [
    lambda s, lib: s[1],
    lambda s, lib: s[-1],
    lambda s, lib: s[1:],
    lambda s, lib: s[:-1],
    lambda s, lib: s[::2],
    lambda s, lib: len(s),
    lambda s, lib: [type(m).__name__ for m in s],
    lambda s, lib: s.append(lib.Tanh()),
    lambda s, lib: s.extend([lib.Tanh(), lib.ReLU()]),
    lambda s, lib: s.insert(1, lib.Tanh()),
    lambda s, lib: s.insert(-1, lib.Tanh()),
    lambda s, lib: s.insert(9, lib.Tanh()),
    lambda s, lib: s.insert(0, 3),
    lambda s, lib: s.pop(1),
    lambda s, lib: s.pop(-1),
    lambda s, lib: s.pop(slice(0, 2)),
    lambda s, lib: s.pop(7),
    lambda s, lib: s.__delitem__(0),
    lambda s, lib: s.__delitem__(slice(1, None)),
    lambda s, lib: s.__delitem__(5),
    lambda s, lib: s.__setitem__(1, lib.Tanh()),
    lambda s, lib: s.__setitem__(-1, lib.Tanh()),
    lambda s, lib: s.__setitem__(5, lib.Tanh()),
    lambda s, lib: s.__setitem__(0, 3),
    lambda s, lib: s + lib.Sequential(lib.Tanh()),
    lambda s, lib: s + [lib.Tanh()],
    lambda s, lib: s.__iadd__(lib.Sequential(lib.Tanh())),
    lambda s, lib: s * 2,
    lambda s, lib: 2 * s,
    lambda s, lib: s.__imul__(2),
    lambda s, lib: s * 0,
    lambda s, lib: s["1"],
    lambda s, lib: s[4],
    lambda s, lib: s.append(3),
]


def run(step: Any, container: Any, lib: Any) -> Any:
    try:
        result = step(container, lib)
    except Exception as error:  # noqa: BLE001 - compared with PyTorch's
        result = type(error)
    return repr(result), repr(container), names(container.named_modules())


@pytest.mark.parametrize("step", SEQUENTIAL, ids=range(len(SEQUENTIAL)))
def test_sequential(step: Any) -> None:
    ours, theirs = both(lambda lib: lib.Sequential(lib.Linear(2, 2), lib.ReLU(), lib.Sigmoid()))
    assert run(step, ours, nn) == run(step, theirs, torch.nn)


NAMED = [i for i in range(len(SEQUENTIAL)) if i not in (9, 10, 29)]  # insert and *= need numbers


@pytest.mark.parametrize("step", [SEQUENTIAL[i] for i in NAMED], ids=NAMED)
def test_named_sequential(step: Any) -> None:
    ours, theirs = both(
        lambda lib: lib.Sequential(OrderedDict(fc=lib.Linear(2, 2), act=lib.ReLU(), out=lib.ELU()))
    )
    assert run(step, ours, nn) == run(step, theirs, torch.nn)


# A list is not added to lists of one kind only, nor multiplied; PyTorch's insert at -1 raises
# KeyError and beyond the end leaves a hole in the numbers, ours counts as Sequential's does.
LIST_STEPS = [s for i, s in enumerate(SEQUENTIAL) if i not in (10, 11, 12, *range(24, 32))]


@pytest.mark.parametrize("step", LIST_STEPS, ids=range(len(LIST_STEPS)))
def test_module_list(step: Any) -> None:
    ours, theirs = both(lambda lib: lib.ModuleList([lib.Linear(2, 2), lib.ReLU(), lib.ReLU()]))
    assert run(step, ours, nn) == run(step, theirs, torch.nn)


def test_module_list_insert_counts_from_the_end() -> None:
    modules = nn.ModuleList([nn.ReLU(), nn.Tanh()])
    modules.insert(-1, nn.ELU())
    assert [type(m).__name__ for m in modules] == ["ReLU", "ELU", "Tanh"]
    for index, module, error in ((9, nn.ReLU(), IndexError), (0, 3, AssertionError)):
        with pytest.raises(error):
            modules.insert(index, module)
    with pytest.raises(TypeError, match="not a string"):
        nn.ParameterDict()[3] = 3


@BOTH
def test_sequential_runs(lib: Any) -> None:
    x = tensor_of(lib, 2, 3)
    layers = [lib.Linear(3, 3), lib.ReLU(inplace=True), lib.Linear(3, 1)]
    net = lib.Sequential(*layers)
    step = x
    for layer in layers:
        step = layer(step)
    assert float(net(x).detach().sum()) == float(step.detach().sum())
    assert lib.Sequential()(x) is x
    net.act = lib.Sigmoid()
    assert float(net(x).detach().max()) < 1
    with pytest.raises(NotImplementedError):
        lib.ModuleList(layers)(x)

    class Residual(lib.Sequential):
        def forward(self, x: Any) -> Any:
            return x + super().forward(x)

    assert float((Residual(lib.Identity())(x) - 2 * x).abs().sum()) == 0


@BOTH
def test_module_dict(lib: Any) -> None:
    d = lib.ModuleDict({"b": lib.ReLU(), "a": lib.Linear(2, 2)})
    d["c"] = lib.Tanh()
    d.update([["e", lib.ELU()]])
    d.update(OrderedDict(f=lib.ReLU()))
    d.update(lib.ModuleDict({"g": lib.ReLU()}))
    assert list(d) == list(d.keys()) == ["b", "a", "c", "e", "f", "g"]
    assert "a" in d
    assert "z" not in d
    assert len(d) == 6
    assert [name for name, _ in d.items()] == list(d)
    assert isinstance(next(iter(d.values())), lib.ReLU)
    assert isinstance(d.pop("c"), lib.Tanh)
    del d["e"]
    assert names(d.named_parameters()) == ["a.weight", "a.bias"]
    for bad, error in (
        (3, TypeError), ([3], TypeError), ([["x"]], ValueError), ({"x": 3}, TypeError),
    ):  # fmt: skip
        with pytest.raises(error):
            d.update(bad)
    with pytest.raises(KeyError):
        _ = d["zz"]
    d.clear()
    assert len(d) == 0


def test_parameter_list() -> None:
    def steps(lib: Any) -> list[Any]:
        p = lib.ParameterList([tensor_of(lib, 2), lib.Parameter(tensor_of(lib, 3))])
        p.append(tensor_of(lib, 4))
        p.extend([lib.Parameter(tensor_of(lib, 5)), "text"])
        p += [tensor_of(lib, 6)]
        p[0] = tensor_of(lib, 7)
        p[-1] = tensor_of(lib, 8)
        result = [
            len(p), repr(p), [tuple(v.shape) for v in p.parameters()], list(p.state_dict()),
            repr(p[1:3]), tuple(p[-1].shape), [type(v).__name__ for v in p],
        ]  # fmt: skip
        for bad in (lambda: p[9], lambda: p(1), lambda: p.extend(tensor_of(lib, 2))):
            with pytest.raises((IndexError, RuntimeError, TypeError)):
                bad()
        return result

    assert steps(nn) == steps(torch.nn)


def test_parameter_dict() -> None:
    def steps(lib: Any) -> list[Any]:
        p = lib.ParameterDict({"b": tensor_of(lib, 2), "a": lib.Parameter(tensor_of(lib, 3))})
        p["c"] = tensor_of(lib, 4)
        p.update([("z", tensor_of(lib, 5)), ("y", 3)])
        p.update(OrderedDict(x=tensor_of(lib, 6), w=tensor_of(lib, 6)))
        result = [
            list(p), list(reversed(p)), repr(p), list(p.keys()), [k for k, _ in p.items()],
            len(list(p.values())), list(p.state_dict()), "a" in p, "q" in p, p.get("q", 1),
            tuple(p.get("a").shape), tuple(p.setdefault("a").shape), p.setdefault("n", 5),
            p.pop("y"), p.popitem()[0], list(p | {"m": 1}), list({"m": 1} | p),
            list(p.fromkeys(["u", "v"], 1)), list(p.copy()),
        ]  # fmt: skip
        del p["a"]
        p |= {"new": tensor_of(lib, 1)}
        result += [list(p), repr(p)]
        for bad in (lambda: p(1), lambda: p.update(3), lambda: p["q"]):
            with pytest.raises((AttributeError, RuntimeError, TypeError)):
                bad()
        p.clear()
        return [*result, list(p)]

    assert steps(nn) == steps(torch.nn)
