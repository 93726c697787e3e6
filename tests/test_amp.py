"""autocast and GradScaler against PyTorch's, on the CPU; and the lists that hold on "cuda"."""

from __future__ import annotations

import copy
import threading
import warnings
from typing import Any

import numpy as np
import pytest
import torch as pytorch
from hypothesis import given
from hypothesis import strategies as st

import minitorch_cnn as torch
from minitorch_cnn import Tensor, amp, cuda, nn
from minitorch_cnn.nn import functional as F

HALVES = {"float16": 2e-3, "bfloat16": 2e-2}  # tolerances: 11 and 8 bits, rounded several times


def half_precision(dtype: str = "float16") -> Any:
    return torch.autocast("cpu", dtype=getattr(torch, dtype))


def theirs(dtype: str = "float16") -> Any:
    return pytorch.autocast("cpu", dtype=getattr(pytorch, dtype))


# Of t (torch or minitorch_cnn), F, a float32 matrix x (4, 4), a float16 one h, and labels.
CALLS = {
    "conv1d": lambda t, F, x, h, k: F.conv1d(x[None], x[:, :, None]),
    "conv2d": lambda t, F, x, h, k: F.conv2d(x[None, None], x[None, None, :2], bias=x[0, :1]),
    "conv2d of halves": lambda t, F, x, h, k: F.conv2d(h[None, None], x[None, None, :2]),
    "conv_transpose2d": lambda t, F, x, h, k: F.conv_transpose2d(x[None, None], x[None, None]),
    "linear": lambda t, F, x, h, k: F.linear(h, x, x[0]),
    "matmul": lambda t, F, x, h, k: h @ x,
    "mm": lambda t, F, x, h, k: x.mm(h),
    "bmm": lambda t, F, x, h, k: t.bmm(x[None], h[None]),
    "addmm": lambda t, F, x, h, k: t.addmm(x, h, x),
    "baddbmm": lambda t, F, x, h, k: t.baddbmm(x[None], h[None], x[None]),
    "einsum": lambda t, F, x, h, k: t.einsum("ij,jk->ik", x, h),
    "inner": lambda t, F, x, h, k: t.inner(x, x),
    "dot": lambda t, F, x, h, k: t.dot(x[0], x[1]),
    "outer": lambda t, F, x, h, k: t.outer(x[0], h[0]),
    "prelu": lambda t, F, x, h, k: F.prelu(h, x[0]),
    "float64": lambda t, F, x, h, k: x.double() @ x.double(),
    "integers": lambda t, F, x, h, k: k[:, None] @ k[None],
    "prod": lambda t, F, x, h, k: h.prod(),
    "sum": lambda t, F, x, h, k: h.sum(),
    "mean": lambda t, F, x, h, k: h.mean(),
    "softmax": lambda t, F, x, h, k: F.softmax(h, dim=1),
    "exp": lambda t, F, x, h, k: h.exp(),
    "pow": lambda t, F, x, h, k: h**2,
    "relu": lambda t, F, x, h, k: F.relu(h),
    "add": lambda t, F, x, h, k: h + x,
    "cat": lambda t, F, x, h, k: t.cat([h, x]),
    "layer_norm": lambda t, F, x, h, k: F.layer_norm(h, (4,)),
    "batch_norm": lambda t, F, x, h, k: F.batch_norm(h, None, None, x[0], x[1], True),
    "max_pool2d": lambda t, F, x, h, k: F.max_pool2d(h[None], 2),
    "in place": lambda t, F, x, h, k: x.clone().addmm_(x, x),
    "nll_loss": lambda t, F, x, h, k: F.nll_loss(h, k, x[0]),
    "cross_entropy": lambda t, F, x, h, k: F.cross_entropy(h, k, x[0]),
    "mse_loss": lambda t, F, x, h, k: F.mse_loss(h, x),
    "l1_loss": lambda t, F, x, h, k: F.l1_loss(h, h * 2),
    "smooth_l1_loss": lambda t, F, x, h, k: F.smooth_l1_loss(h, h * 2),
    "huber_loss": lambda t, F, x, h, k: F.huber_loss(h, h * 2),
    "binary_cross_entropy": lambda t, F, x, h, k: F.binary_cross_entropy(h / 4, h / 4),
    "with_logits": lambda t, F, x, h, k: F.binary_cross_entropy_with_logits(h, h / 4),
    "kl_div": lambda t, F, x, h, k: F.kl_div(h, h, reduction="sum"),
    "soft_margin_loss": lambda t, F, x, h, k: F.soft_margin_loss(h, h),
    "hinge": lambda t, F, x, h, k: F.hinge_embedding_loss(h, t.sign(h)),
    "multi_margin_loss": lambda t, F, x, h, k: F.multi_margin_loss(h, k),
    "poisson": lambda t, F, x, h, k: F.poisson_nll_loss(h, h),
    "cosine": lambda t, F, x, h, k: F.cosine_embedding_loss(h, h * 2, t.ones(4)),
    "triplet": lambda t, F, x, h, k: F.triplet_margin_loss(h, h * 2, h * 3),
    "margin_ranking": lambda t, F, x, h, k: F.margin_ranking_loss(h[0], h[1], t.ones(4)),
}


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", CALLS)
def test_dtypes_and_values_are_pytorchs(name: str, dtype: str) -> None:
    x = (np.random.default_rng(1).random((4, 4)) + 0.5).astype(np.float32)
    labels = np.array([0, 3, 1, 2])
    call: Any = CALLS[name]
    results = []
    for module, functional, region in (
        (torch, torch.nn.functional, half_precision(dtype)),
        (pytorch, pytorch.nn.functional, theirs(dtype)),
    ):
        matrix = module.from_numpy(x)
        half = matrix.to(getattr(module, dtype))
        with region:
            results.append(call(module, functional, matrix, half, module.from_numpy(labels)))
    ours, expected = results
    assert str(ours.dtype) == str(expected.dtype)
    np.testing.assert_allclose(
        ours.float().numpy(), expected.float().numpy(), rtol=HALVES[dtype], atol=HALVES[dtype]
    )


def _network(t: Any) -> Any:
    return t.nn.Sequential(
        t.nn.Conv2d(1, 6, 3, padding=1), t.nn.BatchNorm2d(6), t.nn.ReLU(), t.nn.MaxPool2d(2),
        t.nn.Conv2d(6, 4, 3), t.nn.ReLU(), t.nn.Flatten(), t.nn.Linear(16, 5),
    )  # fmt: skip


@pytest.mark.parametrize("dtype", HALVES)
def test_a_network_gets_pytorchs_gradients(dtype: str) -> None:
    """In the parameters' dtype, also of a weight that is used twice."""
    rng = np.random.default_rng(2)
    x, labels = rng.standard_normal((6, 1, 8, 8)).astype(np.float32), rng.integers(0, 5, 6)
    ours, reference = _network(torch), _network(pytorch)
    reference.load_state_dict(
        {k: pytorch.from_numpy(v.numpy().copy()) for k, v in ours.state_dict().items()}
    )
    losses = []
    for module, model, region in (
        (torch, ours, half_precision(dtype)), (pytorch, reference, theirs(dtype)),
    ):  # fmt: skip
        images, targets = module.from_numpy(x), module.from_numpy(labels)
        with region:
            scores = model(images) + model(images * 2)
            assert str(scores.dtype) == f"torch.{dtype}"
            losses.append(module.nn.functional.cross_entropy(scores, targets))
        losses[-1].backward()
    assert losses[0].dtype == torch.float32
    np.testing.assert_allclose(losses[0].item(), losses[1].item(), rtol=HALVES[dtype])
    for (name, p), q in zip(ours.named_parameters(), reference.parameters(), strict=True):
        assert p.grad is not None
        assert p.grad.dtype == torch.float32
        scale = float(q.grad.abs().max())
        np.testing.assert_allclose(
            p.grad.numpy(), q.grad.numpy(), atol=HALVES[dtype] * (10 * scale + 0.5), err_msg=name
        )


def test_regions_nest_and_end() -> None:
    x = torch.ones(2, 2)
    assert not torch.is_autocast_enabled("cpu")
    with half_precision():
        assert torch.is_autocast_enabled("cpu")
        assert torch.get_autocast_dtype("cpu") == torch.float16
        assert (x @ x).dtype == torch.float16
        with torch.autocast("cpu", enabled=False):
            assert not torch.is_autocast_enabled("cpu")
            assert (x @ x).dtype == torch.float32
        with torch.autocast("cpu"):  # float16, as around it
            assert (x @ x).dtype == torch.float16
    assert (x @ x).dtype == torch.float32
    with pytest.raises(ValueError, match="inside"), half_precision():
        raise ValueError("inside")
    assert not torch.is_autocast_enabled("cpu")


def test_decorated_functions_and_threads() -> None:
    region = half_precision()

    @region
    def product(x: Tensor) -> Tensor:
        return x @ x

    x = torch.ones(2, 2)
    assert product(x).dtype == torch.float16
    assert (x @ x).dtype == torch.float32
    seen: list[Any] = []
    with half_precision():
        thread = threading.Thread(target=lambda: seen.append((x @ x).dtype))
        thread.start()
        thread.join()
    assert seen == [torch.float32]


def test_the_default_on_the_cpu_is_bfloat16() -> None:
    assert torch.get_autocast_dtype("cpu") == torch.bfloat16
    assert torch.get_autocast_dtype("cuda") == torch.float16
    x = torch.ones(2, 2)
    with torch.autocast("cpu"):
        assert (x @ x).dtype == torch.bfloat16


def test_what_there_is_not() -> None:
    with pytest.raises(ValueError, match="`device_type` of type `str`"):
        torch.autocast(torch.device("cpu"))  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="'cpu' or 'cuda'"):
        torch.autocast("tpu")
    with pytest.warns(UserWarning, match=r"float32 is not a dtype.*Disabling"):
        region = torch.autocast("cpu", dtype=torch.float32)
    with region:
        assert not torch.is_autocast_enabled("cpu")
    if not cuda.is_available():
        with pytest.warns(UserWarning, match="CUDA is not available"):
            region = torch.autocast("cuda")
        with region:
            assert not torch.is_autocast_enabled()
        with pytest.warns(UserWarning, match="CUDA is not available"):
            assert not amp.GradScaler().is_enabled()
    assert amp.is_autocast_available("cuda")
    assert not amp.is_autocast_available("tpu")
    with torch.autocast("cuda", enabled=False):
        pass


def test_checkpoint_computes_the_same_again() -> None:
    layer = nn.Linear(3, 3)
    x = torch.randn(2, 3, requires_grad=True)
    grads = []
    for run in (layer, lambda x: torch.utils.checkpoint.checkpoint(layer, x)):
        x.grad = None
        with half_precision():
            y = run(x)
        assert y.dtype == torch.float16
        y.sum().backward()
        grads.append(x.grad.numpy().copy())
    np.testing.assert_array_equal(*grads)


# What a training step does: gradients (NaN and infinity among them), then step and update, of both.
STEPS = st.lists(
    st.tuples(
        st.sampled_from([0.5, -3.0, 0.0, float("inf"), float("nan"), 1e-3]),
        st.sampled_from(["", "unscale_", "update to 8", "save and load"]),
    ),
    min_size=1,
    max_size=12,
)


@given(steps=STEPS, interval=st.integers(1, 4), init=st.sampled_from([2.0**16, 1.0, 2.0**126]))
def test_the_scaler_is_pytorchs(steps: Any, interval: int, init: float) -> None:
    numbers: list[list[Any]] = []
    for t in (torch, pytorch):
        w = t.nn.Parameter(t.ones(3))
        unused = t.nn.Parameter(t.ones(2))
        optimizer = t.optim.SGD([w, unused], lr=0.1)
        make = lambda t=t: t.amp.GradScaler("cpu", init, growth_interval=interval)
        scaler, seen = make(), []
        for factor, extra in steps:
            optimizer.zero_grad()
            scaler.scale((w * factor).sum()).backward()
            if extra == "unscale_":
                scaler.unscale_(optimizer)
                seen.append(w.grad.numpy().copy())
            scaler.step(optimizer)
            scaler.update(8.0 if extra == "update to 8" else None)
            if extra == "save and load":
                state = scaler.state_dict()
                seen.append(np.array(list(state.values())))
                scaler = make()
                scaler.load_state_dict(state)
            seen += [np.float64(scaler.get_scale()), w.detach().numpy().copy()]
        numbers.append(seen)
    for ours, expected in zip(*numbers, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-6)


def test_scaling_several_outputs() -> None:
    scaler = amp.GradScaler("cpu", init_scale=4.0)
    x = torch.ones(2)
    a, (b, c) = scaler.scale([x, (x, x * 2)])
    for scaled, number in ((a, 4), (b, 4), (c, 8)):
        assert scaled.tolist() == [number, number]
    assert [y.tolist() for y in scaler.scale(x * i for i in range(2))] == [[0, 0], [4, 4]]
    loss = torch.tensor(1000.0).half()
    assert amp.GradScaler("cpu").scale(loss).item() == 65536000.0  # a number: in float32
    with pytest.raises(ValueError, match="iterable"):
        scaler.scale(3)


def test_the_scalers_rules() -> None:
    w = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([w], 0.1)
    scaler = amp.GradScaler("cpu", init_scale=4.0)
    for early in (lambda: scaler.step(optimizer), scaler.update):
        with pytest.raises(AssertionError, match=r"scaler\.scale"):
            early()
    scaler.scale(w.sum()).backward()
    with pytest.raises(AssertionError, match="No inf checks were recorded prior to update"):
        scaler.update()
    with pytest.raises(RuntimeError, match="Closure"):
        scaler.step(optimizer, closure=lambda: 0)
    scaler.unscale_(optimizer)
    with pytest.raises(RuntimeError, match="already been called"):
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    with pytest.raises(RuntimeError, match="already been called"):
        scaler.step(optimizer)
    with pytest.raises(RuntimeError, match="after step"):
        scaler.unscale_(optimizer)
    scaler.update()
    optimizer.zero_grad()
    with pytest.raises(AssertionError, match="No inf checks"):
        scaler.step(optimizer)
    halves = nn.Parameter(torch.ones(2).half())
    scaler.scale(halves.sum()).backward()
    with pytest.raises(ValueError, match="FP16"):
        scaler.step(torch.optim.SGD([halves], 0.1))
    for wrong in ({"growth_factor": 1.0}, {"backoff_factor": 1.0}):
        with pytest.raises(AssertionError):
            amp.GradScaler("cpu", **wrong)
    with pytest.raises(RuntimeError, match="empty"):
        scaler.load_state_dict({})
    off = amp.GradScaler("cpu", enabled=False)
    assert off.scale(w) is w
    assert (off.get_scale(), off.state_dict()) == (1.0, {})
    assert copy.deepcopy(scaler).get_scale() == scaler.get_scale()


def test_nothing_is_cast_outside() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y = F.linear(torch.ones(1, 2), torch.ones(3, 2))
    assert y.dtype == torch.float32
