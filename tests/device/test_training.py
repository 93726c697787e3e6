"""Layers, optimizers, loaders and checkpoints on "cuda" against the CPU."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minitorch_cnn as torch
from minitorch_cnn import Tensor, nn, optim
from minitorch_cnn.kernels import launcher
from minitorch_cnn.nn import functional as F

IMAGE, VECTOR = (2, 4, 7, 6), (3, 4)
LAYERS: list[tuple[Callable[[], nn.Module], tuple[int, ...]]] = [
    (lambda: nn.Conv2d(4, 6, 3, padding=1), IMAGE),
    (lambda: nn.Conv2d(4, 8, (3, 2), stride=2, groups=2, bias=False), IMAGE),
    (lambda: nn.Conv2d(4, 4, 3, groups=4), IMAGE),
    (lambda: nn.Conv1d(4, 5, 3), (2, 4, 9)),
    (lambda: nn.ConvTranspose2d(4, 3, 3, stride=2, output_padding=1), IMAGE),
    (lambda: nn.BatchNorm2d(4), IMAGE),
    (lambda: nn.BatchNorm1d(4), VECTOR),
    (lambda: nn.GroupNorm(2, 4), IMAGE),
    (lambda: nn.LayerNorm((7, 6)), IMAGE),
    (lambda: nn.InstanceNorm2d(4, affine=True), IMAGE),
    (lambda: nn.LocalResponseNorm(3), IMAGE),
    (lambda: nn.MaxPool2d(3, 2, 1), IMAGE),
    (lambda: nn.MaxPool2d(2, dilation=2), IMAGE),
    (lambda: nn.AvgPool2d(3, 2, 1, count_include_pad=False), IMAGE),
    (lambda: nn.AdaptiveAvgPool2d((3, 1)), IMAGE),
    (lambda: nn.AdaptiveMaxPool2d(2), IMAGE),
    (lambda: nn.Linear(4, 5), VECTOR),
    (lambda: nn.Upsample(scale_factor=2, mode="bilinear"), IMAGE),
    (lambda: nn.Upsample(scale_factor=2), IMAGE),
    (lambda: nn.Dropout(0.3), IMAGE),
    (lambda: nn.Dropout2d(0.3), IMAGE),
    (lambda: nn.AlphaDropout(0.3), IMAGE),
    (lambda: nn.ReLU(inplace=True), IMAGE),
    (lambda: nn.PReLU(4), IMAGE),
    (nn.GELU, IMAGE),
    (nn.SiLU, IMAGE),
    (nn.Hardswish, IMAGE),
    (lambda: nn.Softmax(1), IMAGE),
    (lambda: nn.LogSoftmax(1), VECTOR),
    (lambda: nn.Unfold(2), IMAGE),
    (lambda: nn.PixelShuffle(2), IMAGE),
    (lambda: nn.ZeroPad2d(1), IMAGE),
    (lambda: nn.ReflectionPad2d(1), IMAGE),
    (lambda: nn.Sequential(nn.Conv2d(4, 3, 1), nn.Flatten(), nn.Linear(126, 2)), IMAGE),
]  # fmt: skip


def assert_close(there: Any, here: Any, what: str = "") -> None:
    assert there.device.type == "cuda", what
    a, b = there.detach().cpu().numpy(), here.detach().numpy()
    scale = max(1.0, float(np.abs(b).max(initial=0)))
    np.testing.assert_allclose(a, b, rtol=0, atol=3e-6 * scale, err_msg=what)


@pytest.mark.parametrize(("make", "shape"), LAYERS, ids=lambda v: "" if callable(v) else None)
def test_layers(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    """Forward, all gradients, and the buffers after it; in training mode and not."""
    here = make()
    there = copy.deepcopy(here).cuda()
    for training in (True, False):
        here.train(training)
        there.train(training)
        x = torch.randn(*shape, requires_grad=True)
        x2 = x.detach().cuda().requires_grad_()
        torch.manual_seed(1)
        y = here(x * 1)
        torch.manual_seed(1)
        y2 = there(x2 * 1)
        assert_close(y2, y, "y")
        gy = torch.randn_like(y)
        y.backward(gy)
        y2.backward(gy.cuda())
        assert_close(x2.grad, x.grad, "gx")
        for (name, p), p2 in zip(here.named_parameters(), there.parameters(), strict=True):
            assert_close(p2.grad, p.grad, name)
        for (name, b), b2 in zip(here.named_buffers(), there.buffers(), strict=True):
            assert_close(b2, b, name)


def test_dropout_moves_the_generator_on_as_the_cpu_does() -> None:
    """Its mask is computed on the GPU; the next numbers, and a saved state, are the CPU's."""
    states = {}
    for device in ("cpu", "cuda"):
        torch.manual_seed(11)
        y = F.dropout(torch.ones(7, 33, device=device), 0.4)
        saved = torch.get_rng_state()
        z = F.dropout2d(torch.ones(3, 5, 2, 2, device=device), 0.3)
        torch.set_rng_state(saved)
        again = F.dropout2d(torch.ones(3, 5, 2, 2, device=device), 0.3)
        np.testing.assert_array_equal(again.cpu().numpy(), z.cpu().numpy())
        states[device] = [v.cpu().numpy() for v in (y, z, torch.get_rng_state(), torch.rand(3))]
    for here, there in zip(states["cpu"], states["cuda"], strict=True):
        np.testing.assert_array_equal(there, here)


LOSSES: list[Callable[[Tensor, Tensor], Tensor]] = [
    F.cross_entropy,
    lambda x, t: F.cross_entropy(x, t, label_smoothing=0.1, reduction="sum"),
    lambda x, t: F.nll_loss(F.log_softmax(x, 1), t, ignore_index=1),
    lambda x, t: F.nll_loss(F.log_softmax(x, 1), t, weight=torch.ones(4, device=x.device) * 2),
    lambda x, t: F.mse_loss(x, torch.ones_like(x)),
    lambda x, t: F.binary_cross_entropy_with_logits(x, torch.ones_like(x)),
    lambda x, t: F.smooth_l1_loss(x, torch.zeros_like(x)),
    lambda x, t: F.kl_div(F.log_softmax(x, 1), F.softmax(x.detach() * 2, 1), reduction="batchmean"),
    F.multi_margin_loss,
]  # fmt: skip


LOSS = ["nll_loss", "slice_sums", "slice_sums", "finish_mean"]
KERNELS: list[tuple[Callable[..., Tensor], dict[str, list[str]]]] = [
    (lambda x, t: F.dropout(x), {"dropout": ["keep_mask", "dropout", "dropout"]}),
    (lambda x, t: torch.cat([x, x, x.T.contiguous().T]), {"join": ["concat"] * 3}),
    (F.cross_entropy, {"softmax": ["log_softmax"], "loss": [*LOSS, "cross_entropy_grad"]}),
    (F.nll_loss, {"loss": [*LOSS, "nll_loss_grad"]}),
]  # fmt: skip


@pytest.mark.parametrize(("run", "expected"), KERNELS)
def test_our_kernels_run(
    run: Callable[[Tensor, Tensor], Tensor], expected: dict[str, list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Not CuPy's functions, nor the host's."""
    ran: dict[str, list[str]] = {}
    launch = launcher.CudaKernel.__call__

    def noted(self: launcher.CudaKernel, *args: Any) -> None:
        ran.setdefault(self.source.path.stem, []).append(self.source.name)
        launch(self, *args)

    monkeypatch.setattr(launcher.CudaKernel, "__call__", noted)
    x = torch.randn(5, 4, device="cuda", requires_grad=True)
    run(x, torch.tensor([3, 0, 2, 1, 1], device="cuda")).sum().backward()
    assert ran == expected


def test_a_wrong_label_is_named() -> None:
    x = torch.randn(3, 4, device="cuda")
    for reduction in ("mean", "sum", "none"):
        with pytest.raises(IndexError, match=r"nll_loss: Target 4 is out of bounds.*0 to 3"):
            F.nll_loss(x, torch.tensor([1, 4, -100], device="cuda"), reduction=reduction)


@pytest.mark.parametrize("loss", LOSSES)
def test_losses(loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    x, t = torch.randn(5, 4, requires_grad=True), torch.tensor([3, 0, 2, 1, 1])
    x2 = x.detach().cuda().requires_grad_()
    y, y2 = loss(x, t), loss(x2, t.cuda())
    assert_close(y2, y)
    y.backward()
    y2.backward()
    assert_close(x2.grad, x.grad)


def test_a_wrong_label_is_refused() -> None:
    x = torch.randn(2, 3, device="cuda")
    with pytest.raises(IndexError, match="Target 3 is out of bounds"):
        F.cross_entropy(x, torch.tensor([0, 3], device="cuda"))


OPTIMIZERS: list[Callable[[Any], optim.Optimizer]] = [
    lambda p: optim.SGD(p, 0.1),
    lambda p: optim.SGD(p, 0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    lambda p: optim.Adam(p, 0.01, weight_decay=0.1),
    lambda p: optim.Adam(p, 0.01, amsgrad=True),
    lambda p: optim.AdamW(p, 0.01),
    lambda p: optim.RMSprop(p, 0.01, momentum=0.9, centered=True),
    lambda p: optim.Adagrad(p, 0.1),
    optim.Adadelta,
]


@pytest.mark.parametrize("make", OPTIMIZERS)
def test_optimizers(make: Callable[[Any], optim.Optimizer], tmp_path: Path) -> None:
    """Three steps, the state through a file, and a fourth."""
    here = nn.Linear(4, 3)
    there = copy.deepcopy(here).cuda()
    ours, theirs = make(here.parameters()), make(there.parameters())
    for step in range(4):
        x = torch.randn(5, 4)
        for model, optimizer, batch in ((here, ours, x), (there, theirs, x.cuda())):
            optimizer.zero_grad()
            (model(batch) ** 2).mean().backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
        for p, p2 in zip(here.parameters(), there.parameters(), strict=True):
            assert_close(p2, p)
        if step == 2:
            torch.save(theirs.state_dict(), tmp_path / "state.pt")
            theirs = make(there.parameters())
            theirs.load_state_dict(torch.load(tmp_path / "state.pt"))
            for state in theirs.state.values():
                assert all(t.is_cuda for name, t in state.items() if name != "step")


def test_checkpoints_load_where_there_is_no_gpu(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).cuda()
    torch.save(model.state_dict(), tmp_path / "model.pt")
    state = torch.load(tmp_path / "model.pt")
    assert all(not t.is_cuda for t in state.values())
    fresh = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    fresh.load_state_dict(state)
    for p, q in zip(fresh.parameters(), model.parameters(), strict=True):
        assert_close(q, p)
    there = torch.load(tmp_path / "model.pt", map_location="cuda")
    assert all(t.is_cuda for t in there.values())
    model.load_state_dict(state)
    assert all(p.is_cuda for p in model.parameters())


def test_pinned_batches() -> None:
    data = torch.utils.data.TensorDataset(torch.arange(20.0).reshape(10, 2), torch.arange(10))
    for workers in (0, 2):
        loader = torch.utils.data.DataLoader(data, 4, pin_memory=True, num_workers=workers)
        rows = []
        for x, t in loader:
            assert x.is_pinned()
            assert t.is_pinned()
            there = x.to("cuda", non_blocking=True)
            assert there.is_cuda
            assert not there.is_pinned()
            rows.append(there.cpu())
        np.testing.assert_array_equal(torch.cat(rows).numpy(), data.tensors[0].numpy())


def test_the_lecture_network_trains_alike() -> None:
    """A few hundred steps on both; float64, so that rounding has no time to grow."""
    from minitorch_cnn.models.lecture import CNN

    rng = np.random.default_rng(0)
    pictures = rng.random((64, 1, 28, 28))
    labels = rng.integers(0, 10, 64)
    losses: dict[str, list[float]] = {}
    for device in ("cpu", "cuda"):
        torch.manual_seed(3)
        model = CNN().double().to(device)
        optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.5)
        losses[device] = []
        for step in range(300):
            rows = [step * 2 % 64, (step * 2 + 1) % 64]
            x = torch.tensor(pictures[rows], device=device)
            t = torch.tensor(labels[rows], device=device)
            optimizer.zero_grad()
            loss = F.nll_loss(model(x), t)
            loss.backward()
            optimizer.step()
            losses[device].append(loss.item())
    np.testing.assert_allclose(losses["cuda"], losses["cpu"], rtol=1e-6)
    assert np.mean(losses["cuda"][-64:]) < np.mean(losses["cuda"][:64])
