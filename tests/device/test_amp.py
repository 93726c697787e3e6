"""Mixed precision on "cuda": PyTorch's lists of dtypes there, and a network that trains."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minitorch_cnn as torch
from minitorch_cnn import Tensor, amp, nn
from minitorch_cnn.kernels import launcher
from minitorch_cnn.nn import functional as F

# PyTorch's documented lists for CUDA. Of h, (4, 4) of float16, x of float32, and labels.
LOW: dict[str, Callable[[Any, Any, Any], Any]] = {
    "addbmm": lambda h, x, k: torch.addbmm(x, x[None], h[None]),
    "addmm": lambda h, x, k: torch.addmm(x, h, x),
    "addmv": lambda h, x, k: torch.addmv(x[0], x, h[0]),
    "baddbmm": lambda h, x, k: torch.baddbmm(x[None], x[None], x[None]),
    "bmm": lambda h, x, k: torch.bmm(x[None], x[None]),
    "conv1d": lambda h, x, k: F.conv1d(x[None], x[:, :, None]),
    "conv2d": lambda h, x, k: F.conv2d(x[None, None], x[None, None, :2], x[0, :1]),
    "conv_transpose2d": lambda h, x, k: F.conv_transpose2d(x[None, None], h[None, None]),
    "linear": lambda h, x, k: F.linear(h, x, x[0]),
    "matmul": lambda h, x, k: x @ h,
    "mm": lambda h, x, k: x.mm(x),
    "mv": lambda h, x, k: x.mv(h[0]),
    "prelu": lambda h, x, k: F.prelu(x, x[0]),
}
WIDE: dict[str, Callable[[Any, Any, Any], Any]] = {
    **{
        name: lambda h, x, k, name=name: getattr(h / 4, name)()
        for name in (
            "acos", "asin", "cosh", "exp", "expm1", "log", "log10", "log1p", "log2", "norm",
            "prod", "reciprocal", "rsqrt", "sinh", "sum", "tan",
        )
    },
    "__pow__": lambda h, x, k: h**2,
    "__rpow__": lambda h, x, k: 2**h,
    "__rtruediv__": lambda h, x, k: 1 / h,
    "binary_cross_entropy_with_logits":
        lambda h, x, k: F.binary_cross_entropy_with_logits(h, h / 4),
    "cosine_embedding_loss":
        lambda h, x, k: F.cosine_embedding_loss(h, h, torch.ones(4, device="cuda")),
    "cosine_similarity": lambda h, x, k: F.cosine_similarity(h, h),
    "cross_entropy": lambda h, x, k: F.cross_entropy(h, k, x[0]),
    "cumprod": lambda h, x, k: h.cumprod(0),
    "cumsum": lambda h, x, k: h.cumsum(0),
    "group_norm": lambda h, x, k: F.group_norm(h, 2, x[0], x[1]),
    "hinge_embedding_loss": lambda h, x, k: F.hinge_embedding_loss(h, h.sign()),
    "kl_div": lambda h, x, k: F.kl_div(h, h, reduction="sum"),
    "l1_loss": lambda h, x, k: F.l1_loss(h, h * 2),
    "layer_norm": lambda h, x, k: F.layer_norm(h, (4,), x[0], x[1]),
    "log_softmax": lambda h, x, k: F.log_softmax(h, 1),
    "margin_ranking_loss": lambda h, x, k: F.margin_ranking_loss(h[0], h[1], h[2].sign()),
    "mse_loss": lambda h, x, k: F.mse_loss(h, x),
    "multi_margin_loss": lambda h, x, k: F.multi_margin_loss(h, k),
    "nll_loss": lambda h, x, k: F.nll_loss(h, k, x[0]),
    "normalize": lambda h, x, k: F.normalize(h),
    "poisson_nll_loss": lambda h, x, k: F.poisson_nll_loss(h, h),
    "smooth_l1_loss": lambda h, x, k: F.smooth_l1_loss(h, h * 2),
    "soft_margin_loss": lambda h, x, k: F.soft_margin_loss(h, h.sign()),
    "softmax": lambda h, x, k: F.softmax(h, 1),
    "softmin": lambda h, x, k: F.softmin(h, 1),
    "softplus": lambda h, x, k: F.softplus(h),
    "triplet_margin_loss": lambda h, x, k: F.triplet_margin_loss(h, h * 2, h * 3),
}
WIDEST: dict[str, Callable[[Any, Any, Any], Any]] = {
    "addcmul": lambda h, x, k: torch.addcmul(h, x, h),
    "atan2": lambda h, x, k: torch.atan2(h, x),
    "cat": lambda h, x, k: torch.cat([h, x]),
    "dot": lambda h, x, k: torch.dot(h[0], x[0]),
    "stack": lambda h, x, k: torch.stack([h, x]),
    "tensordot": lambda h, x, k: torch.tensordot(h, x),
}
KEPT: dict[str, Callable[[Any, Any, Any], Any]] = {
    "add": lambda h, x, k: h + h,
    "avg_pool2d": lambda h, x, k: F.avg_pool2d(h[None], 2),
    "batch_norm": lambda h, x, k: F.batch_norm(h, None, None, x[0], x[1], True),
    "div": lambda h, x, k: h / 2,
    "max_pool2d": lambda h, x, k: F.max_pool2d(h[None], 2),
    "mean": lambda h, x, k: h.mean(),
    "relu": lambda h, x, k: F.relu(h),
    "sigmoid": lambda h, x, k: h.sigmoid(),
    "an in-place method": lambda h, x, k: h.clone().exp_(),
}


@pytest.mark.parametrize(
    ("call", "dtype"),
    [
        pytest.param(call, dtype, id=name)
        for calls, dtype in (
            (LOW, torch.float16), (WIDE, torch.float32), (WIDEST, torch.float32),
            (KEPT, torch.float16),
        )
        for name, call in calls.items()
    ],
)  # fmt: skip
def test_the_lists(call: Callable[[Tensor, Tensor, Tensor], Tensor], dtype: Any) -> None:
    x = torch.rand(4, 4, device="cuda") + 0.5
    labels = torch.tensor([0, 3, 1, 2], device="cuda")
    with torch.autocast("cuda"):
        y = call(x.half(), x, labels)
    assert y.is_cuda
    assert y.dtype == dtype
    # The same in float32 throughout.
    expected = call(x.half().float(), x, labels)
    scale = 1 + float(expected.abs().max())
    np.testing.assert_allclose(
        y.float().cpu().numpy(), expected.cpu().numpy(), rtol=0, atol=4e-3 * scale
    )


def test_other_devices_are_left_alone() -> None:
    x = torch.ones(2, 2)
    with torch.autocast("cuda"):
        assert torch.is_autocast_enabled()
        assert (x @ x).dtype == torch.float32
        assert (x.cuda() @ x.cuda()).dtype == torch.float16
    with torch.autocast("cpu", dtype=torch.float16):
        assert (x @ x).dtype == torch.float16
        assert (x.cuda() @ x.cuda()).dtype == torch.float32


def test_an_unsafe_loss_is_refused() -> None:
    x = torch.full((3,), 0.5, device="cuda")
    unsafe = pytest.raises(RuntimeError, match=r"unsafe to autocast.*with_logits")
    with torch.autocast("cuda"), unsafe:
        F.binary_cross_entropy(x.half(), x.half())


def _network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 6, 3, padding=1, groups=6), nn.Conv2d(6, 8, 1), nn.ReLU(),
        nn.Flatten(), nn.Linear(72, 3),
    ).cuda()  # fmt: skip


@pytest.mark.parametrize(("dtype", "kind"), [("float16", "Half"), ("bfloat16", "BFloat16")])
def test_a_network_trains_on_tensor_cores(
    dtype: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in float32, by and by; and the large first scale is backed off from by itself. bfloat16
    has float32's range and needs no scale."""
    seen: set[str] = set()
    call = launcher.CudaKernel.__call__

    def record(self: Any, *args: Any) -> None:
        seen.add(f"{self.source.path.stem}.{self.expression}")
        call(self, *args)

    monkeypatch.setattr(launcher.CudaKernel, "__call__", record)
    rng = np.random.default_rng(0)
    x = torch.tensor(rng.standard_normal((12, 1, 6, 6)).astype(np.float32), device="cuda")
    labels = torch.tensor(rng.integers(0, 3, 12), device="cuda")
    losses: list[list[float]] = []
    for mixed in (True, False):
        model = _network()
        optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
        scaled = mixed and dtype == "float16"
        scaler = amp.GradScaler("cuda", init_scale=2.0**24, enabled=scaled)
        losses.append([])
        while len(losses[-1]) < 30:
            optimizer.zero_grad()
            with torch.autocast("cuda", getattr(torch, dtype), enabled=mixed):
                loss = F.cross_entropy(model(x), labels)
            scaler.scale(loss).backward()
            scale = scaler.get_scale()
            scaler.step(optimizer)
            scaler.update()
            if scaler.get_scale() >= scale:
                losses[-1].append(loss.item())
        assert all(p.dtype == p.grad.dtype == torch.float32 for p in model.parameters())
        if mixed:
            assert not scaled or scaler.get_scale() < 2.0**24
            assert seen >= {
                f"conv2d_wmma.forward<{kind}>", f"conv2d_wmma.grad_weight<{kind}>",
                f"depthwise.forward<{kind}>", f"gemm_wmma.matmul<{kind}>",
            }  # fmt: skip
    assert losses[0][-1] < losses[0][0] / 4
    np.testing.assert_allclose(losses[0][:10], losses[1][:10], rtol=0.05, atol=0.01)


def test_bfloat16_needs_a_gpu_that_multiplies_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert torch.cuda.is_bf16_supported() == (torch.cuda.get_device_capability()[0] >= 8)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))
    assert not torch.cuda.is_bf16_supported()
    assert torch.cuda.is_bf16_supported(including_emulation=True)
    with pytest.raises(RuntimeError, match=r"not support bfloat16.*\(7, 5\).*torch\.float16"):
        torch.autocast("cuda", dtype=torch.bfloat16)


def test_a_step_of_infinity_changes_nothing() -> None:
    layer = nn.Linear(2, 1).cuda()
    before = layer.weight.detach().clone()
    optimizer = torch.optim.SGD(layer.parameters(), 0.1)
    scaler = amp.GradScaler("cuda", init_scale=8.0)
    scaler.scale(layer(torch.full((1, 2), float("inf"), device="cuda")).sum()).backward()
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 4.0
    assert torch.equal(layer.weight, before)


def _losses(graphs: bool) -> list[float]:
    rng = np.random.default_rng(0)
    x = torch.tensor(rng.standard_normal((8, 1, 6, 6)).astype(np.float32), device="cuda")
    labels = torch.tensor(rng.integers(0, 3, 8), device="cuda")
    model = _network()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)

    def step(x: Tensor, labels: Tensor) -> Tensor:
        optimizer.zero_grad()
        with torch.autocast("cuda"), torch.backends.conv2d.using("winograd"):
            loss = F.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss

    call = torch.cuda.graph_step(step) if graphs else step
    return [call(x, labels).item() for _ in range(5)]


def test_a_captured_step_computes_the_same() -> None:
    """A first convolution by Winograd's algorithm, the others and Linear on tensor cores."""
    assert _losses(graphs=True) == _losses(graphs=False)


def test_a_scaled_step_cannot_be_captured() -> None:
    """It decides on the CPU."""
    layer, x = nn.Linear(2, 1).cuda(), torch.ones(1, 2, device="cuda")
    optimizer, scaler = torch.optim.SGD(layer.parameters(), 0.1), amp.GradScaler("cuda")

    def step(x: Tensor) -> None:
        optimizer.zero_grad()
        scaler.scale(layer(x).sum()).backward()
        scaler.step(optimizer)

    captured = torch.cuda.graph_step(step)

    def some_steps() -> None:
        for _ in range(5):
            captured(x)
            scaler.update()

    with pytest.raises(RuntimeError, match="captur"):
        some_steps()
