"""Generators and samplers: exact states, right distributions, PyTorch's refusals."""

from __future__ import annotations

import math
import pickle
import threading
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import minitorch_cnn as mt
from minitorch_cnn import random

from .oracle import compare

CALLS = """
t.rand(2, dtype=t.int64)
t.randn(2, dtype=t.int64)
t.rand(2, 3).shape
t.rand((2, 3)).dtype
t.rand(-1)
t.randint(5, 5, (2,))
t.randint(10, (2,)).dtype
t.randint(0, 10, (2,), dtype=t.float32).dtype
t.randint(0, 300, (2,), dtype=t.uint8)
t.randint(10)
t.randint(high=10, size=(2,)).shape
t.randint(low=2, high=10, size=(2,)).shape
t.randint(2, 10, size=(2,)).shape
t.randint(0.5, 10, (2,))
t.randint(0, 10, 2)
t.randint(0, t.tensor(3), (2,)).shape
t.randint(0, 2**70, (2,))
t.zeros(3).fill_(2**70)
t.randperm(3).dtype
t.randperm(0)
t.randperm(1)
t.randperm(-1)
t.randperm(3.)
t.randperm(300, dtype=t.uint8)
t.randperm(3, dtype=t.float32).dtype
t.normal(0., 1., (2,)).dtype
t.normal(0., -1., (2,))
t.normal(0., 0., (2,))
t.normal(t.zeros(2), t.ones(2)).shape
t.normal(t.zeros(2), 1.).shape
t.normal(0., t.ones(2)).shape
t.normal(t.zeros(2), -t.ones(2))
t.normal(t.zeros(2), t.ones(3))
t.normal(t.zeros(2, 1), t.ones(1, 3)).shape
t.normal(0, 1)
t.normal(mean=0., std=1., size=(2,)).shape
t.normal(t.zeros(2)).shape
t.normal(t.zeros(2, dtype=t.int64), 1.)
t.bernoulli(t.tensor([0., 1.]))
t.bernoulli(t.tensor([0, 1]))
t.bernoulli(t.tensor([2.]))
t.bernoulli(t.tensor([nan]))
t.bernoulli(t.zeros(2), 1.)
t.bernoulli(t.zeros(2, dtype=t.int64), 1.)
t.bernoulli(t.zeros(2), 1.5)
t.multinomial(t.tensor([0., 1.]), 1)
t.multinomial(t.tensor([0., 1.]), 2)
t.multinomial(t.tensor([0., 1.]), 3)
t.multinomial(t.tensor([0., 1., 0.]), 5, replacement=True)
t.multinomial(t.tensor([0., 0.]), 1)
t.multinomial(t.tensor([-1., 1.]), 1)
t.multinomial(t.tensor([inf, 1.]), 1)
t.multinomial(t.tensor([0, 1]), 1)
t.multinomial(t.tensor(1.), 1)
t.multinomial(t.ones(2, 2, 2), 1)
t.multinomial(t.ones(2, 3), 2).shape
t.multinomial(t.ones(2, 3), 0)
t.multinomial(t.ones(0, 3), 1)
t.empty(3).uniform_(2, 1)
t.empty(3).uniform_(2, 2)
t.empty(3, dtype=t.int64).uniform_()
t.empty(3).uniform_(a=1)
t.empty(3).uniform_(**{"from": 1, "to": 2}).dtype
t.empty(3, dtype=t.int64).normal_()
t.empty(3).normal_(0, -1)
t.empty(3).exponential_(0)
t.empty(3).exponential_(-1)
t.empty(3, dtype=t.int64).exponential_()
t.empty(3).bernoulli_(2)
t.empty(3, dtype=t.int64).bernoulli_(1)
t.zeros(3).bernoulli_(t.ones(3))
t.zeros(3).bernoulli_(t.ones(2))
t.zeros(3).random_(5, 5)
t.zeros(3).random_(5, 6)
t.zeros(3, dtype=t.uint8).random_(0, 300)
t.zeros(3).fill_(3)
t.zeros(3, dtype=t.uint8).fill_(300)
t.zeros(3, dtype=t.uint8).fill_(1.5)
t.zeros(3).fill_(t.tensor(3))
t.zeros(3).fill_(t.tensor([3]))
t.zeros(3).fill_("a")
t.ones(3).zero_()
t.zeros(3).copy_(t.tensor([3]))
t.zeros(3).copy_(t.tensor(3))
t.zeros(3).copy_(t.ones(2))
t.zeros(3).copy_(t.ones(2, 3))
t.zeros(3).copy_([1, 2, 3])
t.zeros(3).copy_(3)
t.zeros(3, dtype=t.int64).copy_(t.tensor([1.5, 2, -3.7]))
t.rand_like(t.arange(3))
t.rand_like(t.ones(2, 3)).shape
t.randn_like(t.ones(2), dtype=t.float64).dtype
t.randint_like(t.ones(2), 3).dtype
t.randint_like(t.ones(2), 3, 4)
t.Generator().manual_seed(1.5)
t.Generator().manual_seed("a")
t.Generator().manual_seed(True)
t.Generator().manual_seed(2**64)
t.Generator().manual_seed(-1).initial_seed()
t.Generator().manual_seed(-2**63).initial_seed()
t.Generator().manual_seed(2**64 - 1).initial_seed()
t.Generator().set_state(t.zeros(5, dtype=t.uint8))
t.Generator().set_state(t.zeros(5))
t.Generator().set_state(3)
""".strip().splitlines()

N = 40_000


@pytest.mark.parametrize("call", CALLS)
def test_same_as_pytorch(call: str) -> None:
    names = {"nan": float("nan"), "inf": float("inf")}
    if call.endswith(".dtype"):
        call = f"str({call})"
    compare(lambda t: eval(call, {"t": t, **names}), context=call)


@pytest.fixture
def generator() -> random.Generator:
    return mt.Generator().manual_seed(7)


def _close(sample: np.ndarray, mean: float, std: float) -> None:
    """Mean and standard deviation within five standard errors."""
    x = sample.astype(np.float64)
    assert abs(x.mean() - mean) < 5 * std / math.sqrt(x.size)
    assert abs(x.std() - std) < 5 * std / math.sqrt(x.size) + 1e-12


@pytest.mark.parametrize("dtype", [mt.float16, mt.float32, mt.float64])
def test_uniform_is_half_open(dtype: Any, generator: random.Generator) -> None:
    x = mt.rand(N, generator=generator, dtype=dtype).numpy()
    assert x.min() >= 0
    assert x.max() < 1
    _close(x, 0.5, 1 / math.sqrt(12))
    # Bounds so close that rounding would otherwise reach the upper one.
    y = mt.empty(N, dtype=dtype).uniform_(100, 100.5, generator=generator).numpy()
    assert y.min() >= 100
    assert y.max() < 100.5


@given(st.floats(-1e6, 1e6, width=32), st.floats(0, 1e3, width=32), st.integers(0, 99))
def test_uniform_never_leaves_its_bounds(low: float, width: float, seed: int) -> None:
    high = float(np.float32(low + width))
    y = mt.empty(200).uniform_(low, high, generator=mt.Generator().manual_seed(seed)).numpy()
    assert (y >= np.float32(low)).all()
    assert (y < np.float32(high)).all() or high == np.float32(low)


@pytest.mark.parametrize("dtype", [mt.float16, mt.float32, mt.float64])
def test_normal(dtype: Any, generator: random.Generator) -> None:
    _close(mt.randn(N, generator=generator, dtype=dtype).numpy(), 0, 1)
    _close(mt.empty(N, dtype=dtype).normal_(3, 0.5, generator=generator).numpy(), 3, 0.5)
    _close(mt.normal(3.0, 0.5, (N,), generator=generator, dtype=dtype).numpy(), 3, 0.5)
    spread = mt.normal(mt.tensor([0.0, 100]), mt.tensor([[1.0]] * N), generator=generator)
    _close(spread[:, 0].numpy(), 0, 1)
    _close(spread[:, 1].numpy(), 100, 1)
    beyond = (mt.randn(N, generator=generator).abs() > 1.96).float().mean().item()
    assert abs(beyond - 0.05) < 0.006


def test_integers(generator: random.Generator) -> None:
    x = mt.randint(-3, 4, (N,), generator=generator).numpy()
    values, counts = np.unique(x, return_counts=True)
    assert values.tolist() == [-3, -2, -1, 0, 1, 2, 3]
    assert ((counts - N / 7) ** 2 / (N / 7)).sum() < 30  # chi-squared, 6 degrees of freedom
    full = mt.empty(N, dtype=mt.int8).random_(generator=generator).numpy()
    assert (full.min(), full.max()) == (0, 127)
    assert mt.empty(N, dtype=mt.int64).random_(generator=generator).numpy().max() > 2**62
    assert set(mt.empty(99, dtype=mt.bool).random_(generator=generator).tolist()) == {False, True}
    assert mt.empty(N).random_(generator=generator).max().item() <= 2**24


def test_permutations(generator: random.Generator) -> None:
    rows = np.stack([mt.randperm(4, generator=generator).numpy() for _ in range(2400)])
    assert (np.sort(rows) == np.arange(4)).all()
    counts = np.unique(rows, axis=0, return_counts=True)[1]
    assert len(counts) == 24
    assert ((counts - 100) ** 2 / 100).sum() < 60  # 23 degrees of freedom


def test_coins_and_waits(generator: random.Generator) -> None:
    _close(mt.empty(N).bernoulli_(0.3, generator=generator).numpy(), 0.3, math.sqrt(0.21))
    chances = mt.tensor([0.1, 0.9]).expand(N, 2)
    means = mt.bernoulli(chances, generator=generator).mean(0)
    assert (means - mt.tensor([0.1, 0.9])).abs().max() < 0.01
    waits = mt.empty(N).exponential_(2.0, generator=generator).numpy()
    assert waits.min() > 0
    _close(waits, 0.5, 0.5)


@pytest.mark.parametrize("replacement", [True, False])
def test_multinomial(replacement: bool, generator: random.Generator) -> None:
    weights = mt.tensor([1.0, 0.0, 3.0, 6.0])
    first = mt.multinomial(weights.expand(N, 4), 2, replacement, generator=generator).numpy()
    shares = np.bincount(first[:, 0], minlength=4) / N
    assert np.abs(shares - [0.1, 0, 0.3, 0.6]).max() < 0.015
    if not replacement:
        assert (first[:, 0] != first[:, 1]).all()
        after_the_last = first[first[:, 0] == 3, 1]
        assert abs((after_the_last == 2).mean() - 0.75) < 0.02


def test_a_seed_fixes_the_stream_of_every_sampler() -> None:
    def draw() -> list[Any]:
        return [
            mt.rand(3), mt.randn(2, dtype=mt.float64), mt.randint(9, (4,)), mt.randperm(5),
            mt.zeros(3).uniform_(), mt.zeros(3).normal_(), mt.bernoulli(mt.full((4,), 0.5)),
            mt.multinomial(mt.ones(5), 3), mt.normal(0.0, 1.0, (2,)), mt.rand_like(mt.ones(2)),
        ]  # fmt: skip

    mt.manual_seed(5)
    first = draw()
    second = draw()
    mt.manual_seed(5)
    again = draw()
    assert all(np.array_equal(a.numpy(), b.numpy()) for a, b in zip(first, again))
    assert not all(np.array_equal(a.numpy(), b.numpy()) for a, b in zip(first, second))


@given(st.integers(-(2**63), 2**64 - 1), st.lists(st.sampled_from("rniu"), max_size=8))
def test_a_state_continues_exactly(seed: int, drawn: str) -> None:
    g = mt.Generator().manual_seed(seed)

    def draw(kind: str) -> list[float]:
        if kind == "i":
            return mt.randint(2**40, (3,), generator=g).tolist()
        if kind == "u":
            return mt.empty(3, dtype=mt.float16).uniform_(generator=g).tolist()
        return (mt.rand if kind == "r" else mt.randn)(3, generator=g).tolist()

    for kind in drawn:
        draw(kind)
    state = g.get_state()
    assert state.dtype == mt.uint8
    expected = [draw(k) for k in "rniu"]
    later = mt.Generator().set_state(state)
    assert later.initial_seed() == g.initial_seed() == seed % 2**64
    g.set_state(state)
    assert [draw(k) for k in "rniu"] == expected
    g = later
    assert [draw(k) for k in "rniu"] == expected


@given(st.binary(min_size=0, max_size=110), st.integers(0, 200))
def test_a_damaged_state_is_refused_and_changes_nothing(garbage: bytes, at: int) -> None:
    g = mt.Generator().manual_seed(3)
    good = g.get_state().numpy().tobytes()
    mixed = bytearray(good)
    mixed[at % len(mixed) :] = garbage
    for data in (garbage, bytes(mixed)):
        state = mt.from_numpy(np.frombuffer(data, np.uint8).copy())
        before = g.get_state().tolist()
        try:
            g.set_state(state)
        except RuntimeError:
            assert g.get_state().tolist() == before
        mt.rand(5, generator=g)  # whatever was accepted can be drawn from


@pytest.mark.parametrize("byte", [0, -6, -5])
def test_a_state_with_one_impossible_byte_is_refused(byte: int) -> None:
    g = mt.Generator()
    state = g.get_state()
    state[byte] = 9  # the tag, the position in the buffer, the flag of a half-used word
    with pytest.raises(RuntimeError, match="invalid RNG state"):
        g.set_state(state)


def test_generators_pickle_with_their_position() -> None:
    g = mt.Generator().manual_seed(3)
    mt.rand(5, generator=g)
    other = pickle.loads(pickle.dumps(g))
    assert mt.rand(4, generator=g).tolist() == mt.rand(4, generator=other).tolist()


def test_the_default_generator() -> None:
    assert mt.manual_seed(11) is mt.default_generator
    assert mt.initial_seed() == 11
    state = mt.get_rng_state()
    a = mt.rand(3)
    with random.fork_rng():
        mt.manual_seed(1)
        mt.rand(10)
    b = mt.rand(3)
    mt.set_rng_state(state)
    assert (mt.rand(3) == a).all()
    assert (mt.rand(3) == b).all()
    assert mt.seed() == mt.initial_seed() != 11
    mt.manual_seed(2.0)
    assert mt.initial_seed() == 2


def test_generators_of_their_own_leave_the_default_one_alone() -> None:
    mt.manual_seed(0)
    expected = mt.rand(2).tolist()
    mt.manual_seed(0)
    mt.rand(100, generator=mt.Generator())
    assert mt.rand(2).tolist() == expected


def test_a_thread_can_have_a_stream_of_its_own() -> None:
    mt.manual_seed(0)
    expected = mt.rand(2).tolist()
    mt.manual_seed(0)
    seen = []

    def work() -> None:
        with random.use_generator(mt.Generator().manual_seed(1)):
            seen.append(mt.rand(2).tolist())

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
        thread.join()
    assert seen[0] == seen[1] != expected
    assert mt.rand(2).tolist() == expected


def test_in_place_samplers_and_autograd() -> None:
    for t in (mt, torch):
        w = t.ones(3, requires_grad=True)
        with pytest.raises(RuntimeError, match="leaf"):
            w.normal_()
        with t.no_grad():
            w.uniform_(2, 3)
        assert (w >= 2).all()
        y = w * 2
        y.normal_()
        y.sum().backward()
        assert w.grad.tolist() == [0, 0, 0]
        z = t.zeros(3)
        z.copy_(w)
        (z * t.arange(3)).sum().backward()
        assert w.grad.tolist() == [0, 1, 2]
        v = w * 1
        v[0].fill_(t.tensor(5.0))
