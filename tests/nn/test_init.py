"""nn.init: bounds and moments of what is drawn, exact values of what is not, errors, seeding."""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np
import pytest
import torch

import minitorch_cnn as mt
from minitorch_cnn import nn
from minitorch_cnn.nn import init
from minitorch_cnn.tensor import Tensor

BIG = (200, 30, 3, 5)  # fan_in 450, fan_out 3000


def blank(*shape: int, dtype: Any = np.float32) -> Tensor:
    return Tensor._wrap(np.full(shape, np.nan, dtype))


def is_uniform(x: np.ndarray, low: float, high: float) -> None:
    assert low <= x.min() < low + 0.01 * (high - low)
    assert high - 0.01 * (high - low) < x.max() <= high
    share = (x < low + (high - low) / 4).mean()
    assert abs(share - 0.25) < 5 * math.sqrt(0.1875 / x.size)
    assert abs(x.mean() - (low + high) / 2) < 5 * (high - low) / math.sqrt(12 * x.size)


def is_normal(x: np.ndarray, mean: float, std: float) -> None:
    assert abs(x.mean() - mean) < 5 * std / math.sqrt(x.size)
    assert abs(x.std() / std - 1) < 5 / math.sqrt(2 * x.size)
    assert abs((abs(x - mean) < std).mean() - 0.6827) < 5 * math.sqrt(0.22 / x.size)


def test_every_function_is_here_with_pytorchs_signature() -> None:
    public = [n for n in torch.nn.init.__all__ if not n.startswith("_")]
    for name in public:
        mine, want = getattr(init, name), getattr(torch.nn.init, name)
        if name.endswith("_") or name == "calculate_gain":
            assert list(inspect.signature(mine).parameters) == list(
                inspect.signature(want).parameters
            )
            for p in inspect.signature(want).parameters.values():
                assert inspect.signature(mine).parameters[p.name].default == p.default


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_uniform_and_normal(dtype: Any) -> None:
    mt.manual_seed(0)
    x = blank(*BIG, dtype=dtype)
    assert init.uniform_(x, -2, 3) is x
    assert x.array.dtype == dtype
    is_uniform(x.array.astype(float), -2, 3)
    is_normal(init.normal_(x, 1.5, 0.5).array.astype(float), 1.5, 0.5)


@pytest.mark.parametrize(
    ("fill", "bound"),
    [
        (init.xavier_uniform_, math.sqrt(6 / 3450)),
        (lambda t: init.xavier_uniform_(t, gain=2), 2 * math.sqrt(6 / 3450)),
        (lambda t: init.kaiming_uniform_(t, a=math.sqrt(5)), 1 / math.sqrt(450)),
        (
            lambda t: init.kaiming_uniform_(t, mode="fan_out", nonlinearity="relu"),
            math.sqrt(2) * math.sqrt(3 / 3000),
        ),
    ],
)
def test_bounds(fill: Any, bound: float) -> None:
    mt.manual_seed(1)
    is_uniform(fill(blank(*BIG)).array.astype(float), -bound, bound)


@pytest.mark.parametrize(
    ("fill", "std"),
    [
        (init.xavier_normal_, math.sqrt(2 / 3450)),
        (lambda t: init.kaiming_normal_(t, nonlinearity="relu"), math.sqrt(2 / 450)),
        (lambda t: init.kaiming_normal_(t, mode="fan_out", a=1), math.sqrt(1 / 3000)),
        (lambda t: init.kaiming_normal_(t, 0, "fan_in", "tanh"), 5 / 3 / math.sqrt(450)),
    ],
)
def test_deviations(fill: Any, std: float) -> None:
    mt.manual_seed(2)
    is_normal(fill(blank(*BIG)).array.astype(float), 0, std)


@pytest.mark.parametrize(
    ("mean", "std", "a", "b"), [(0.0, 1.0, -2.0, 2.0), (0.0, 1.0, -0.1, 0.2), (1.0, 0.5, 1.4, 9.0)]
)
def test_trunc_normal(mean: float, std: float, a: float, b: float) -> None:
    mt.manual_seed(3)
    x = init.trunc_normal_(blank(300, 100), mean, std, a, b).array.astype(float)
    assert x.min() >= a
    assert x.max() <= b

    def below(v: float) -> float:
        return (1 + math.erf((v - mean) / std / math.sqrt(2))) / 2

    for q in np.linspace(a, min(b, mean + 3 * std), 6)[1:-1]:
        want = (below(q) - below(a)) / (below(b) - below(a))
        assert abs((x < q).mean() - want) < 5 * math.sqrt(0.25 / x.size)
    with pytest.warns(UserWarning, match="more than 2 std"):
        init.trunc_normal_(blank(2), 0.0, 0.1, 1.0, 2.0)


def test_fixed_values() -> None:
    for fill, args in (
        ("ones_", ()), ("zeros_", ()), ("constant_", (0.3,)), ("eye_", ()),
    ):  # fmt: skip
        mine = getattr(init, fill)(blank(3, 5), *args)
        want = getattr(torch.nn.init, fill)(torch.empty(3, 5), *args)
        np.testing.assert_array_equal(mine.array, want.numpy())
    for shape, groups in (
        ((6, 4, 3), 1), ((6, 2, 3, 5), 3), ((4, 6, 3, 4), 2), ((4, 2, 3, 3, 3), 1),
    ):  # fmt: skip
        mine = init.dirac_(blank(*shape), groups)
        np.testing.assert_array_equal(
            mine.array, torch.nn.init.dirac_(torch.empty(shape), groups).numpy()
        )
    assert init.zeros_(Tensor._wrap(np.ones(2, np.int64))).array.tolist() == [0, 0]


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 2, 3, 3), (40, 2, 3, 3), (4, 4)])
def test_orthogonal(shape: tuple[int, ...]) -> None:
    mt.manual_seed(4)
    m = init.orthogonal_(blank(*shape, dtype=np.float64), gain=2).array.reshape(shape[0], -1) / 2
    small = m @ m.T if m.shape[0] <= m.shape[1] else m.T @ m
    np.testing.assert_allclose(small, np.eye(len(small)), atol=1e-12)


def test_sparse() -> None:
    mt.manual_seed(5)
    x = init.sparse_(blank(100, 50), sparsity=0.31, std=2.0).array
    assert ((x == 0).sum(0) == 31).all()
    is_normal(x[x != 0].astype(float), 0, 2.0)


def test_gains_and_fans() -> None:
    for name, param in [(n, None) for n in init._GAINS] + [
        ("leaky_relu", None), ("leaky_relu", 0.3), ("leaky_relu", 1)
    ]:  # fmt: skip
        assert init.calculate_gain(name, param) == torch.nn.init.calculate_gain(name, param)
    for name, param in (("unknown", None), ("leaky_relu", "steep"), ("leaky_relu", True)):
        with pytest.raises(ValueError, match=r"Unsupported|not a valid number"):
            init.calculate_gain(name, param)
    for shape in ((5, 3), BIG, (4, 2, 7)):
        assert init._calculate_fan_in_and_fan_out(
            blank(*shape)
        ) == torch.nn.init._calculate_fan_in_and_fan_out(torch.empty(shape))


@pytest.mark.parametrize(
    ("error", "call"),
    [
        (ValueError, lambda: init.xavier_normal_(blank(3))),
        (ValueError, lambda: init.kaiming_normal_(blank(3, 2), mode="fan_up")),
        (ValueError, lambda: init.eye_(blank(3))),
        (ValueError, lambda: init.dirac_(blank(3, 2))),
        (ValueError, lambda: init.dirac_(blank(3, 2, 1), groups=2)),
        (ValueError, lambda: init.orthogonal_(blank(3))),
        (ValueError, lambda: init.sparse_(blank(3), 0.1)),
        (RuntimeError, lambda: init.uniform_(blank(3), 1, 0)),
        (RuntimeError, lambda: init.normal_(blank(3), 0, -1)),
        (NotImplementedError, lambda: init.normal_(Tensor._wrap(np.ones(3, np.int64)))),
    ],
)
def test_refusals(error: type[Exception], call: Any) -> None:
    with pytest.raises(error):
        call()


def test_nothing_to_fill() -> None:
    empty = blank(0, 3)
    with pytest.warns(UserWarning, match="zero-element"):
        assert init.kaiming_uniform_(empty) is empty
    assert init.orthogonal_(empty) is empty


def test_deprecated_names() -> None:
    with pytest.warns(FutureWarning, match=r"deprecated in favor of `nn.init.xavier_uniform_`"):
        init.xavier_uniform(blank(3, 2))


def test_not_recorded_and_noticed() -> None:
    p = nn.Parameter(blank(2, 3))
    assert init.ones_(p) is p
    assert p.grad_fn is None
    assert p.requires_grad
    y = (p * p).sum()
    init.zeros_(p)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


def test_seeds() -> None:
    def draw(generator: Any = None) -> list[float]:
        return init.normal_(blank(4), generator=generator).tolist()

    mt.manual_seed(7)
    first = draw()
    assert draw() != first
    mt.manual_seed(7)
    assert draw() == first
    g = mt.random.Generator().manual_seed(7)
    assert draw(g) == first
    mt.manual_seed(8)
    weights = nn.Conv2d(2, 3, 3).weight.tolist()
    mt.manual_seed(8)
    assert nn.Conv2d(2, 3, 3).weight.tolist() == weights


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("Linear", (300, 200)),
        ("Conv2d", (40, 50, (3, 5))),
        ("Conv2d", (40, 48, 3, 1, 0, 1, 8)),
        ("ConvTranspose2d", (40, 50, 3)),
    ],
)
def test_layers_start_as_pytorchs(name: str, args: Any) -> None:
    mt.manual_seed(9)
    layer = getattr(nn, name)(*args)
    fan_in, _ = torch.nn.init._calculate_fan_in_and_fan_out(getattr(torch.nn, name)(*args).weight)
    bound = 1 / math.sqrt(fan_in)
    is_uniform(layer.weight.array.astype(float), -bound, bound)
    assert bound * 0.8 < abs(layer.bias.array).max() <= bound
    for norm in (nn.BatchNorm2d(3), nn.GroupNorm(1, 3), nn.LayerNorm(3)):
        assert norm.weight.tolist() == [1, 1, 1]
        assert norm.bias.tolist() == [0, 0, 0]
    assert nn.PReLU(2).weight.tolist() == [0.25, 0.25]
    table = nn.Embedding(400, 100, padding_idx=3).weight.array
    assert not table[3].any()
    is_normal(np.delete(table, 3, 0).astype(float), 0, 1)
