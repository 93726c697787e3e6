"""Tensors on "cuda": moving, making, indexing, printing, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minitorch_cnn as torch
from minitorch_cnn import Tensor


def test_there_and_back() -> None:
    x = torch.randn(3, 4)
    y = x.to("cuda")
    assert (str(x.device), str(y.device)) == ("cpu", "cuda:0")
    assert y.is_cuda
    assert not x.is_cuda
    assert y.get_device() == 0
    np.testing.assert_array_equal(y.cpu().numpy(), x.numpy())
    assert y.to("cuda") is y
    assert y.cuda() is y
    assert x.cpu() is x
    assert x.to("cuda", torch.float64).dtype == torch.float64
    assert torch.zeros(2).to(y).device == y.device
    assert torch.zeros(2).type_as(y).is_cuda


def test_the_gradient_comes_back() -> None:
    x = torch.randn(3, requires_grad=True)
    (x.to("cuda") * 2).sum().backward()
    assert x.grad is not None
    assert not x.grad.is_cuda
    np.testing.assert_array_equal(x.grad.numpy(), [2, 2, 2])


FACTORIES: list[Callable[..., Tensor]] = [
    lambda device: torch.tensor([[1.0, 2.0]], device=device),
    lambda device: torch.zeros(2, 3, device=device),
    lambda device: torch.ones(2, 3, device=device),
    lambda device: torch.empty(2, 3, device=device).zero_(),
    lambda device: torch.full((2,), 7, device=device),
    lambda device: torch.eye(3, device=device),
    lambda device: torch.arange(5, device=device),
    lambda device: torch.linspace(0, 1, 5, device=device),
    lambda device: torch.logspace(0, 1, 5, device=device),
    lambda device: torch.rand(2, 3, device=device),
    lambda device: torch.randn(2, 3, device=device),
    lambda device: torch.randint(0, 9, (4,), device=device),
    lambda device: torch.randperm(6, device=device),
    lambda device: torch.zeros_like(torch.ones(2, device=device)),
    lambda device: torch.randn_like(torch.ones(2, device=device)),
    lambda device: torch.ones(2, device=device).new_zeros(3),
    lambda device: torch.bernoulli(torch.full((5,), 0.5, device=device)),
    lambda device: torch.multinomial(torch.ones(5, device=device), 3),
    lambda device: torch.normal(torch.zeros(4, device=device), 1.0),
    lambda device: torch.empty(5, device=device).uniform_(),
    lambda device: torch.empty(5, device=device).normal_(),
    lambda device: torch.empty(5, device=device).exponential_(),
    lambda device: torch.empty(5, device=device).fill_(3),
    lambda device: torch.nn.functional.dropout(torch.ones(40, device=device)),
    lambda device: torch.nn.init.kaiming_uniform_(torch.empty(4, 5, device=device)),
]  # fmt: skip


@pytest.mark.parametrize("make", FACTORIES)
@pytest.mark.parametrize("device", ["cuda", "cuda:0"])
def test_factories_give_the_cpus_numbers(make: Callable[..., Tensor], device: str) -> None:
    """Also the random ones: all are drawn on the host, from one stream."""
    torch.manual_seed(5)
    there = make(device)
    torch.manual_seed(5)
    here = make("cpu")
    assert str(there.device) == "cuda:0"
    assert there.dtype == here.dtype
    np.testing.assert_array_equal(there.cpu().numpy(), here.numpy())


READS: list[Callable[[Tensor], Any]] = [
    lambda x: x[1],
    lambda x: x[-1, 1:],
    lambda x: x[:, ::2],
    lambda x: x[..., None],
    lambda x: x[x > 0],
    lambda x: x[[2, 0, 0]],
    lambda x: x[torch.tensor([2, 0])],
    lambda x: x[torch.tensor([2, 0], device=x.device), 1],
    lambda x: x[True],
    lambda x: x.T[1],
    lambda x: torch.stack(list(x)),
    lambda x: x.sum(0),
    lambda x: x.max(1)[0],
    lambda x: x.max(1)[1],
    lambda x: x.argmax(),
    lambda x: x.mean(),
    lambda x: x.std(1),
    lambda x: x > 0.5,
    lambda x: x == x,
    lambda x: 2 - x,
    lambda x: 1 / (x + 10),
    lambda x: x * torch.tensor(3.0),  # a number of the CPU follows
    lambda x: x.clamp(min=0).sqrt(),
    lambda x: torch.where(x > 0, x, 0.0),
    lambda x: torch.cat([x, x]),
    lambda x: x @ x.T,
    lambda x: x.long() // 2,
    lambda x: x.sort(1, descending=True)[1],
    lambda x: x.topk(2)[0],
    lambda x: x.unique(),
    lambda x: x.cummax(0)[0],
    lambda x: x.nonzero(),
    lambda x: torch.nn.functional.one_hot(x.argmax(1), 4),
    lambda x: torch.einsum("ij,kj->ik", x, x),
    lambda x: torch.nn.functional.pad(x[None], (1, 2), mode="reflect"),
    lambda x: x.half() + 1,
    lambda x: x.erf(),
    lambda x: x.masked_fill(x > 0, -1.0),
    lambda x: x.index_fill(0, torch.tensor([1], device=x.device), 9.0),
    lambda x: torch.isin(x, x[0]),
    lambda x: torch.allclose(x, x),
    lambda x: x.tolist(),
    lambda x: x[0, 0].item(),
    lambda x: float(x[1, 2]),
    lambda x: bool((x > -99).all()),
    len,
    lambda x: 0.25 in x,
]  # fmt: skip


@pytest.mark.parametrize("read", READS)
def test_reads_give_the_cpus_numbers(read: Callable[[Tensor], Any]) -> None:
    x = torch.randn(3, 4)
    here, there = read(x), read(x.cuda())
    if isinstance(here, Tensor):
        assert there.is_cuda
        assert here.dtype == there.dtype
        np.testing.assert_allclose(there.cpu().numpy(), here.numpy(), rtol=1e-6, atol=1e-7)
    else:
        assert here == there


WRITES: list[Callable[[Tensor], Any]] = [
    lambda x: x.__setitem__(0, 5.0),
    lambda x: x.__setitem__((slice(None), 1), x[:, 2]),
    lambda x: x.__setitem__(x > 0, 0.0),
    lambda x: x.__setitem__([0, 2], torch.ones(4)),  # from the CPU, as PyTorch copies it
    lambda x: x.__setitem__((1, 1), torch.tensor(2.0)),
    lambda x: x.add_(1).mul_(2),
    lambda x: x.copy_(torch.ones(4)),
    lambda x: x.zero_(),
    lambda x: x.clamp_(0, 1),
    lambda x: x.scatter_(1, torch.zeros(3, 1, dtype=torch.int64, device=x.device), 7.0),
    lambda x: x.index_add_(0, torch.tensor([0, 0], device=x.device), x[:2].clone()),
    lambda x: x.t_(),
]  # fmt: skip


@pytest.mark.parametrize("write", WRITES)
def test_writes_give_the_cpus_numbers(write: Callable[[Tensor], Any]) -> None:
    x = torch.randn(3, 4)
    y = x.cuda()
    write(x)
    write(y)
    np.testing.assert_allclose(y.cpu().numpy(), x.numpy(), rtol=1e-6)


def test_equal_results_do_not_share_memory() -> None:
    """Of ops that compute on the host, of clipping, and of loaded state."""
    x = torch.zeros(2, 3, device="cuda")
    results: list[Callable[[], Any]] = [
        lambda: x.cummax(0)[0],
        lambda: torch.repeat_interleave(torch.tensor([2, 1], device="cuda")),
        lambda: _loaded_state(x),
    ]
    for make in results:
        first, second = make(), make()
        expected = second.tolist()
        first += 1
        assert second.tolist() == expected


def _loaded_state(x: Tensor) -> Tensor:
    p = torch.nn.Parameter(x.clone())
    p.grad = torch.zeros_like(p)
    optimizer = torch.optim.SGD([p], 0.1, momentum=0.9)
    optimizer.step()
    here = {"state": {0: {"momentum_buffer": torch.zeros(2, 3)}}}
    optimizer.load_state_dict({**optimizer.state_dict(), **here})
    buffer = optimizer.state[p]["momentum_buffer"]
    assert buffer.is_cuda
    return buffer


def test_printing() -> None:
    assert repr(torch.ones(2, device="cuda")) == "tensor([1., 1.], device='cuda:0')"


def test_mixing_devices_names_both() -> None:
    a, b = torch.ones(2, 3, device="cuda"), torch.ones(2, 3)
    with pytest.raises(RuntimeError, match=r"same device.*\[2, 3\] on cuda:0, \[2, 3\] on cpu"):
        a + b
    with pytest.raises(RuntimeError, match=r"same device.*cuda:0.*cpu"):
        torch.nn.Linear(3, 3)(a)
    if torch.cuda.device_count() > 1:
        with pytest.raises(RuntimeError, match=r"same device.*cuda:0.*cuda:1"):
            a + a.to("cuda:1")
    with pytest.raises(RuntimeError, match="indices should be either on cpu or on the same"):
        b[torch.tensor([0], device="cuda")]


def test_numpy_is_refused() -> None:
    x = torch.ones(2, device="cuda")
    with pytest.raises(TypeError, match=r"\.cpu\(\)"):
        x.numpy()
    with pytest.raises(TypeError):
        np.asarray(x)


def test_an_expanded_tensor_cannot_be_written() -> None:
    with pytest.raises(RuntimeError, match="clone"):
        torch.zeros(1, 3, device="cuda").expand(4, 3).add_(1)


def test_the_second_gpu_works_while_the_first_is_current() -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("one GPU")
    x = torch.randn(2, 3, 9, 8, device="cuda:1", requires_grad=True)
    layer = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
        torch.nn.Flatten(), torch.nn.Linear(36, 5),
    ).to("cuda:1")  # fmt: skip
    optimizer = torch.optim.Adam(layer.parameters())
    loss = torch.nn.functional.cross_entropy(layer(x), torch.tensor([1, 4], device="cuda:1"))
    loss.backward()
    optimizer.step()
    assert torch.cuda.current_device() == 0
    assert all(str(p.device) == "cuda:1" for p in layer.parameters())
    assert x.grad is not None
    assert str(x.grad.device) == "cuda:1"
    with torch.cuda.device(1):
        assert torch.cuda.current_device() == 1
        assert str(torch.ones(1, device="cuda").device) == "cuda:1"
    assert torch.cuda.current_device() == 0


def test_questions() -> None:
    cuda = torch.cuda
    assert cuda.is_available()
    assert cuda.is_initialized()
    assert cuda.device_count() >= 1
    assert isinstance(cuda.get_device_name(), str)
    assert cuda.get_device_capability()[0] >= 7
    assert torch.accelerator.current_accelerator() == torch.device("cuda")
    cuda.synchronize()


def test_memory_is_counted() -> None:
    cuda = torch.cuda
    cuda.empty_cache()
    cuda.reset_peak_memory_stats()
    before = cuda.memory_allocated()
    x = torch.zeros(1000, device="cuda")
    held = cuda.memory_allocated() - before
    assert 4000 <= held < 8000
    y = x + 1
    del y
    assert cuda.memory_allocated() - before == held
    assert cuda.max_memory_allocated() - before >= 2 * held
    cuda.reset_peak_memory_stats()
    assert cuda.max_memory_allocated() == cuda.memory_allocated()
    del x
    assert cuda.memory_allocated() == before
    assert cuda.memory_reserved() > before
    cuda.empty_cache()
    free, total = cuda.mem_get_info()
    assert 0 < free <= total


def test_more_memory_than_there_is() -> None:
    with pytest.raises(torch.cuda.OutOfMemoryError, match="memory"):
        torch.empty(1 << 24, 1 << 12, device="cuda")


def test_functions_of_ones_own() -> None:
    class Both(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
            return x * 2, x * 3

        @staticmethod
        def backward(ctx: Any, first: Tensor, second: Tensor) -> Tensor:
            assert first.is_cuda
            assert second.device == first.device
            return first * 2 + second * 3

    for dtype in (torch.float32, torch.bfloat16):
        x = torch.ones(3, device="cuda", dtype=dtype, requires_grad=True)
        first, second = Both.apply(x)
        (first.sum() + second.sum()).backward()
        assert x.grad.tolist() == [5, 5, 5]
        Both.apply(x)[0].sum().backward()  # zeros for the other
        assert x.grad.tolist() == [7, 7, 7]
        assert x.grad.dtype == dtype
