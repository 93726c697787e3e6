"""CUDA graphs: a replayed step is the eager one bit for bit; and what cannot be recorded."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minitorch_cnn as torch
from minitorch_cnn import Tensor, nn, optim
from minitorch_cnn.backends.cuda import preferred_blas_library
from minitorch_cnn.kernels import backend
from minitorch_cnn.nn import functional as F


@pytest.fixture(autouse=True)
def _products_of_our_own() -> Iterator[None]:
    """CuPy hands nothing to cuBLAS in a capture; eager steps shall have the same bits."""
    preferred_blas_library("kernels")
    yield
    preferred_blas_library("default")


def network(p: float) -> nn.Module:
    """The lecture's layers, on smaller pictures."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.MaxPool2d(2), nn.ReLU(), nn.BatchNorm2d(4), nn.Conv2d(4, 6, 3),
        nn.ReLU(), nn.Dropout2d(p), nn.Flatten(), nn.Linear(96, 10), nn.Dropout(p),
        nn.Linear(10, 10), nn.LogSoftmax(1),
    )  # fmt: skip


OPTIMIZERS: dict[str, Callable[..., optim.Optimizer]] = {
    "sgd": lambda p: optim.SGD(p, 0.1),
    "momentum": lambda p: optim.SGD(p, 0.1, momentum=0.9, dampening=0.1, weight_decay=0.01),
    "adam": lambda p: optim.Adam(p, 0.01, amsgrad=True),
    "adamw": lambda p: optim.AdamW(p, 0.01),
}


def run(
    optimizer: str, p: float, graphs: bool, steps: int = 6, dtype: Any = torch.float32
) -> list[np.ndarray[Any, Any]]:
    """Losses, weights, buffers, optimizer state and the generator's state after some steps."""
    torch.manual_seed(4)
    rng = np.random.default_rng(0)
    model = network(p).to("cuda", dtype)
    step_of = OPTIMIZERS[optimizer](model.parameters())
    schedule = optim.lr_scheduler.StepLR(step_of, 2, 0.5)

    def step(x: Tensor, t: Tensor) -> Any:
        step_of.zero_grad()
        y = model(x)
        loss = F.nll_loss(y, t)
        loss.backward()
        step_of.step()
        return {"loss": loss, "right": [y.argmax(1).eq(t).sum()]}

    call: Callable[..., Any] = torch.cuda.graph_step(step) if graphs else step
    found = []
    for i in range(steps):
        x = torch.tensor(rng.standard_normal((4, 1, 14, 14)), dtype=dtype, device="cuda")
        t = torch.tensor(rng.integers(0, 10, 4), device="cuda")
        rows = 3 if i == steps - 2 else 4  # a smaller batch in between
        results = call(x[:rows], t[:rows])
        schedule.step()
        found += [results["loss"], results["right"][0]]
    found += [*model.parameters(), *model.buffers()]
    for p_ in model.parameters():
        found += [v for v in step_of.state[p_].values() if isinstance(v, Tensor)]
    found.append(torch.get_rng_state())
    return [v.detach().cpu().numpy() for v in found]


@pytest.mark.parametrize(
    ("optimizer", "p"), [("sgd", 0.0), ("momentum", 0.3), ("adam", 0.3), ("adamw", 0.0)]
)
def test_replays_equal_eager_steps(optimizer: str, p: float) -> None:
    """With a learning rate that changes, dropout, running statistics, and another batch size."""
    for eager, replayed in zip(run(optimizer, p, False), run(optimizer, p, True), strict=True):
        np.testing.assert_array_equal(replayed, eager)
        assert np.isfinite(eager).all()


def test_nothing_runs_while_it_is_recorded() -> None:
    x = torch.ones(5, device="cuda")
    g = torch.cuda.CUDAGraph()
    assert not torch.cuda.is_current_stream_capturing()
    with torch.cuda.graph(g):
        assert torch.cuda.is_current_stream_capturing()
        y = x.mul_(2) + 1
    assert not torch.cuda.is_current_stream_capturing()
    assert x.tolist() == [1] * 5
    for i in range(1, 4):
        g.replay()
        assert x.tolist() == [2**i] * 5
        assert y.tolist() == [2**i + 1] * 5
    x.fill_(10)  # in place: the graph reads the same memory
    g.replay()
    assert y.tolist() == [21] * 5
    g.reset()
    with pytest.raises(RuntimeError, match="without a preceding successful capture"):
        g.replay()


def test_two_graphs_do_not_share_memory() -> None:
    x = torch.ones(300, device="cuda")
    graphs, results = [], []
    for i in range(2):
        g = torch.cuda.CUDAGraph()
        with torch.cuda.graph(g):
            results.append((x + i) * 2)
        graphs.append(g)
    for g in graphs:
        g.replay()
    others = [torch.zeros(300, device="cuda") for _ in range(4)]  # of the common pool
    graphs[0].replay()
    assert results[0].tolist() == [2] * 300
    assert results[1].tolist() == [4] * 300
    assert not any(o.any() for o in others)


def test_constants_outlive_the_cache() -> None:
    """What is copied to the GPU once and shared stays where a graph reads it."""
    x = torch.randn(1, 2, 5, 6, device="cuda")
    expected = F.interpolate(x, scale_factor=2, mode="bilinear")  # the copy
    g = torch.cuda.CUDAGraph()
    with torch.cuda.graph(g):
        y = F.interpolate(x, scale_factor=2, mode="bilinear")
    backend._remembered.cache_clear()
    g.replay()
    np.testing.assert_array_equal(y.cpu().numpy(), expected.cpu().numpy())


def test_joined_arrays() -> None:
    """CuPy's own function copies the addresses of more than 8 arrays from the host."""
    x, i = torch.ones(2, 3, device="cuda"), torch.arange(6, device="cuda").reshape(2, 3)
    g = torch.cuda.CUDAGraph()
    with torch.cuda.graph(g):
        results = [torch.cat([x, x * 2], 1), torch.stack([x, x], 1), torch.cat([i] * 9),
                   torch.stack([i] * 9, -1)]  # fmt: skip
    x.add_(1)
    i.add_(1)
    g.replay()
    expected = [torch.cat([x, x * 2], 1), torch.stack([x, x], 1), torch.cat([i] * 9),
                torch.stack([i] * 9, -1)]  # fmt: skip
    for a, b in zip(results, expected, strict=True):
        np.testing.assert_array_equal(a.cpu().numpy(), b.cpu().numpy())


def test_a_pool_for_two_graphs() -> None:
    """The second may use what the first is done with, as they are replayed in their order."""
    x = torch.ones(1000, device="cuda")
    pool, graphs, results = torch.cuda.graph_pool_handle(), [], [x]
    for _ in range(2):
        g = torch.cuda.CUDAGraph()
        with torch.cuda.graph(g, pool=pool):
            results.append(results[-1] * 2 + 1)
        assert g.pool() is pool
        graphs.append(g)
    for value in (1.0, 5.0):
        x.fill_(value)
        for g in graphs:
            g.replay()
        assert results[2].tolist() == [4 * value + 3] * 1000


def test_a_replay_goes_to_the_current_stream() -> None:
    """And so do the numbers of its step."""
    cupy = importlib.import_module("cupy")
    x = torch.ones(64, device="cuda")
    g = torch.cuda.CUDAGraph()
    with torch.cuda.graph(g):
        y = F.dropout(x, 0.5)
    torch.manual_seed(3)
    torch.cuda.synchronize()
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        g.replay()
        g.replay()
    stream.synchronize()
    torch.manual_seed(3)
    expected = [F.dropout(torch.ones(64), 0.5) for _ in range(2)][1]
    np.testing.assert_array_equal(y.cpu().numpy(), expected.numpy())


def test_a_graph_of_the_second_gpu() -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("one GPU")
    with torch.cuda.device(1):
        x = torch.ones(5, device="cuda")
        g = torch.cuda.CUDAGraph()
        with torch.cuda.graph(g):
            y = F.dropout(x, 0.5) + x
    torch.manual_seed(2)
    g.replay()
    torch.manual_seed(2)
    np.testing.assert_array_equal(y.cpu().numpy(), (F.dropout(torch.ones(5), 0.5) + 1).numpy())


def test_mixed_precision() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 4)).cuda()
    x, t = torch.randn(4, 1, 6, 6, device="cuda"), torch.tensor([0, 3, 1, 1], device="cuda")
    found = []
    for recorded in (False, True):
        ours = copy.deepcopy(model)
        optimizer = optim.SGD(ours.parameters(), 0.1)

        def step(x: Tensor, t: Tensor, ours: Any = ours, optimizer: Any = optimizer) -> Tensor:
            optimizer.zero_grad()
            with torch.autocast("cuda"):
                loss = F.cross_entropy(ours(x), t)
            loss.backward()
            optimizer.step()
            return loss

        call: Callable[..., Tensor] = torch.cuda.graph_step(step, 1) if recorded else step
        found.append([call(x, t).item() for _ in range(4)])
    assert found[0] == found[1]
    assert found[0][3] < found[0][0]


def test_a_seed_between_replays() -> None:
    """Dropout's numbers come from where the generator stands at each replay."""
    x = torch.ones(50, device="cuda")
    g = torch.cuda.CUDAGraph()
    with torch.cuda.graph(g):
        y = F.dropout(x, 0.4)
    for seed in (7, 8):
        torch.manual_seed(seed)
        g.replay()
        first = y.clone()
        saved = torch.get_rng_state()
        g.replay()
        second = y.clone()
        torch.set_rng_state(saved)
        g.replay()
        torch.manual_seed(seed)
        expected = [F.dropout(torch.ones(50), 0.4).numpy() for _ in range(2)]
        np.testing.assert_array_equal(first.cpu().numpy(), expected[0])
        np.testing.assert_array_equal(second.cpu().numpy(), expected[1])
        np.testing.assert_array_equal(y.cpu().numpy(), expected[1])


def test_gradients_that_are_added_up() -> None:
    """Without zero_grad, each replay adds to the same .grad."""
    w = torch.ones(3, device="cuda", requires_grad=True)
    x = torch.arange(3.0, device="cuda")
    (w * x).sum().backward()
    g = torch.cuda.CUDAGraph()
    with torch.cuda.graph(g):
        (w * x).sum().backward()
    g.replay()
    g.replay()
    assert w.grad is not None
    assert w.grad.tolist() == [0, 3, 6]


def _new_optimizer(x: Tensor) -> None:
    w = torch.ones(3, device="cuda", requires_grad=True)
    w.grad = torch.ones(3, device="cuda")
    optim.Adam([w]).step()


def _other_optimizer(x: Tensor) -> None:
    w = torch.ones(3, device="cuda", requires_grad=True)
    w.grad = torch.ones(3, device="cuda")
    optim.RMSprop([w]).step()


REFUSED: list[tuple[Callable[[Tensor], Any], str]] = [
    (lambda x: x.sum().item(), "reads numbers of the GPU|copied to the CPU"),
    (lambda x: x.tolist(), "reads numbers of the GPU|copied to the CPU"),
    (lambda x: x.cpu(), "reads numbers of the GPU"),
    (lambda x: torch.cat([x, x]).isnan().any().item(), "reads numbers of the GPU|to the CPU"),
    (repr, "reads numbers of the GPU|copied to the CPU"),
    (lambda x: x[x > 0], "reads numbers of the GPU"),
    (lambda x: 1 if x.sum() > 0 else 0, "reads numbers of the GPU"),
    (lambda x: x + torch.ones(2, 3).cuda(), "copied from the CPU to the GPU"),
    (lambda x: torch.rand(2, 3, device="cuda"), "copied from the CPU to the GPU"),
    (lambda x: F.embedding(torch.zeros(2, dtype=torch.int64, device="cuda"), x), "reads numbers"),
    (lambda x: x.cummax(0), "copied to the CPU"),
    (lambda x: torch.cuda.synchronize(), "reads numbers of the GPU"),
    (_new_optimizer, "optimizer made its state"),
    (_other_optimizer, "RMSprop"),
]


@pytest.mark.parametrize(("use", "says"), REFUSED)
def test_what_cannot_be_recorded(use: Callable[[Tensor], Any], says: str) -> None:
    x = torch.ones(2, 3, device="cuda")
    g = torch.cuda.CUDAGraph()
    with pytest.raises(RuntimeError, match=says), torch.cuda.graph(g):
        use(x)
    # And all is as before: outside, and for the next capture.
    assert not torch.cuda.is_current_stream_capturing()
    assert (x + 1).sum().item() == 12
    with torch.cuda.graph(g):
        y = x + 2
    g.replay()
    assert y.sum().item() == 18


def test_errors_of_others_stay_theirs() -> None:
    g = torch.cuda.CUDAGraph()
    with pytest.raises(ZeroDivisionError), torch.cuda.graph(g):
        _ = 1 / 0
    with pytest.raises(RuntimeError, match="is being captured"), torch.cuda.graph(g):
        torch.cuda.CUDAGraph().capture_begin()
    with pytest.raises(RuntimeError, match=r"capture_end\(\) without"):
        g.capture_end()


def test_what_graph_step_takes_and_gives() -> None:
    step = torch.cuda.graph_step(lambda x: (x * 2, None), warmup=1)
    with pytest.raises(RuntimeError, match=r"must be on a GPU, but got \[2\] on cpu"):
        step(torch.ones(2))
    kept = [step(torch.full((2,), float(i), device="cuda"))[0] for i in range(4)]
    assert [y.tolist() for y in kept] == [[2.0 * i] * 2 for i in range(4)]
    with pytest.raises(TypeError, match="the step returned a number"):
        torch.cuda.graph_step(lambda x: 3.0)(kept[0])


def test_a_graph_uses_no_memory_that_is_gone() -> None:
    """The stand-in's own check; on a GPU the replay would read what came there since."""
    if not hasattr(importlib.import_module("cupy").cuda.Graph, "_add"):
        pytest.skip("a GPU does not check")
    x = torch.ones(5, device="cuda")
    g = torch.cuda.CUDAGraph()
    with torch.cuda.graph(g):
        y = x + 1
    del x
    with pytest.raises(AssertionError, match="freed after its capture"):
        g.replay()
    del y


def test_losses_without_checks() -> None:
    """A label that is no class is seen in the loss: NaN."""
    x = torch.zeros(2, 3, device="cuda")
    t = torch.tensor([1, 2], device="cuda")
    step = torch.cuda.graph_step(F.cross_entropy, warmup=0)
    assert np.isclose(step(x, t).item(), np.log(3))
    assert np.isnan(step(x, t + 1).item())


def test_the_lecture_network() -> None:
    from minitorch_cnn.models.lecture import CNN

    torch.manual_seed(1)
    eager = CNN().cuda()
    recorded = copy.deepcopy(eager)
    weights = []
    for model in (eager, recorded):
        optimizer = optim.SGD(model.parameters(), 0.01, momentum=0.5)

        def step(x: Tensor, t: Tensor, model: Any = model, optimizer: Any = optimizer) -> Tensor:
            optimizer.zero_grad()
            loss = F.nll_loss(model(x), t)
            loss.backward()
            optimizer.step()
            return loss

        call = torch.cuda.graph_step(step, warmup=1) if model is recorded else step
        rng = np.random.default_rng(2)
        for _ in range(4):
            x = torch.tensor(rng.random((2, 1, 28, 28)).astype(np.float32), device="cuda")
            call(x, torch.tensor(rng.integers(0, 10, 2), device="cuda"))
        weights.append([p.detach().cpu().numpy() for p in model.parameters()])
    for a, b in zip(*weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_training_run(tmp_path: Path) -> None:
    """What ``minitorch-cnn train --device cuda --cuda-graph`` does; the last batch is smaller."""
    from minitorch_cnn.tools import training
    from minitorch_cnn.tools.options import Options
    from minitorch_cnn.tools.progress import Lines

    losses = []
    for recorded in (False, True):
        options = Options(
            model="cnn", epochs=1, batch_size=2, test_batch_size=2, train_images=9, test_images=2,
            device="cuda", cuda_graph=recorded,
        )  # fmt: skip
        run = training.Run.start(options)
        assert run.fit(Lines(9))
        losses.append([run.history[0].train_loss, run.history[0].test_loss])
    assert losses[0] == losses[1]


@pytest.mark.parametrize(
    ("a", "b"),
    [((3, 5), (5, 7)), ((2, 3, 4, 5), (5, 6)), ((2, 1, 4, 5), (3, 5, 6)), ((4, 5), (2, 5, 6)),
     ((70, 40), (40, 70)), ((0, 3), (3, 2)), ((2, 0), (0, 3))],
)  # fmt: skip
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_products_of_our_own(a: tuple[int, ...], b: tuple[int, ...], dtype: Any) -> None:
    x, y = torch.randn(*a, dtype=dtype), torch.randn(*b, dtype=dtype)
    close: dict[str, float] = {"rtol": 1e-5, "atol": 1e-5}
    for left, right in ((x, y), (x.mT.contiguous().mT, y)):
        ours = left.cuda() @ right.cuda()
        np.testing.assert_allclose(ours.cpu().numpy(), x.numpy() @ y.numpy(), **close)


def test_who_multiplies() -> None:
    assert preferred_blas_library() == "kernels"
    assert preferred_blas_library("cublas") == "cublas"
    with pytest.raises(ValueError, match="choose 'cublas' or 'kernels'"):
        preferred_blas_library("mkl")


def _steps(graphed: bool, p: float) -> list[Any]:
    """A graphed body, an eager head, and what no graph can hold: GradScaler, reading the loss."""
    torch.manual_seed(3)
    rng = np.random.default_rng(1)
    body, head = nn.Sequential(*network(p)[:8]).cuda(), nn.Linear(96, 10).cuda()
    optimizer = optim.SGD([*body.parameters(), *head.parameters()], 0.1, momentum=0.9)
    scaler = torch.amp.GradScaler("cuda", init_scale=16.0)
    before = copy.deepcopy(body.state_dict())
    if graphed:
        sample = torch.zeros(6, 1, 14, 14, device="cuda", requires_grad=True)
        eager = body.forward
        assert torch.cuda.make_graphed_callables(body, (sample,), num_warmup_iters=1) is body
        assert body.forward is not eager
        body.load_state_dict(before)
    torch.manual_seed(5)
    seen: list[Any] = []
    for _ in range(3):
        x = torch.tensor(rng.standard_normal((6, 1, 14, 14)).astype(np.float32), device="cuda")
        t = torch.tensor(rng.integers(0, 10, 6), device="cuda")
        optimizer.zero_grad()
        x.requires_grad_()
        loss = F.cross_entropy(head(body(x)), t)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        seen += [loss.item(), x.grad.cpu().numpy()]
    body.eval()
    seen += [body(x[:2]).detach().cpu().numpy()]  # another mode: not the graph, so of any size
    return seen + [v.cpu().numpy() for v in body.state_dict().values()]


@pytest.mark.parametrize("p", [0.0, 0.4])
def test_graphed_modules_equal_eager_ones(p: float) -> None:
    for ours, expected in zip(_steps(True, p), _steps(False, p), strict=True):
        np.testing.assert_array_equal(ours, expected)


def test_graphed_functions() -> None:
    def both(x: Tensor, y: Tensor) -> dict[str, Any]:
        return {"sum": (x * y, x.argmax()), "none": None}

    x = torch.ones(3, device="cuda", requires_grad=True)
    first, second = torch.cuda.make_graphed_callables(
        (both, lambda x: (x * x,)), ((x, x.detach()), (x,)), num_warmup_iters=1
    )
    y = torch.tensor([2.0, 3.0, 4.0], device="cuda")
    for _ in range(2):  # gradients add up
        result = first(x, y)
        result["sum"][0].sum().backward()
    assert result["none"] is None
    assert result["sum"][0].tolist() == [2, 3, 4]
    assert result["sum"][1].item() == 0
    assert not result["sum"][1].requires_grad
    assert x.grad.tolist() == [4, 6, 8]
    kept = second(y)[0]
    assert second(x)[0].tolist() == [1, 1, 1]
    assert kept.tolist() == [4, 9, 16]
    with torch.no_grad():
        assert not second(x)[0].requires_grad


def test_what_cannot_be_a_graphed_callable() -> None:
    x = torch.ones(3, device="cuda", requires_grad=True)
    graphed = torch.cuda.make_graphed_callables(lambda x: x.exp(), (x,), num_warmup_iters=1)
    early = graphed(x)
    graphed(x)
    with pytest.raises(RuntimeError, match="forward was called again since"):
        early.sum().backward()
    with pytest.raises(RuntimeError, match=r"recorded with \[3\] torch.float32 .* given \[2\]"):
        graphed(x[:2])
    with pytest.raises(RuntimeError, match="samples must be on a GPU"):
        torch.cuda.make_graphed_callables(torch.exp, (x.cpu(),))
    hooked = nn.Linear(3, 1).cuda()
    hooked.register_forward_hook(lambda *args: None)
    with pytest.raises(RuntimeError, match="Linear has hooks"):
        torch.cuda.make_graphed_callables(hooked, (x,))
    unused = nn.Module()
    unused.weight = nn.Parameter(x.detach())
    unused.forward = lambda x: x * 2
    with pytest.raises(RuntimeError, match="allow_unused"):
        torch.cuda.make_graphed_callables(unused, (x,))
    y = torch.cuda.make_graphed_callables(unused, (x,), allow_unused_input=True)(x)
    y.sum().backward()
    assert unused.weight.grad is None
    assert x.grad.tolist() == [2, 2, 2]
