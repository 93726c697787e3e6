"""Inception's layers as plain calls of PyTorch's functions, on the weights of a module of ours."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

import minitorch_cnn
from minitorch_cnn import nn

from . import common

Pair = int | tuple[int, int]
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


class Weights:
    """A copy of a module's parameters and buffers by name, and the layers that use them."""

    def __init__(self, module: nn.Module) -> None:
        self.training = module.training
        self.parameters = {
            name: torch.from_numpy(p.detach().numpy().copy()).requires_grad_()
            for name, p in module.named_parameters()
        }
        self.buffers = {
            name: torch.from_numpy(b.numpy().copy()) for name, b in module.named_buffers()
        }

    def conv(self, name: str, x: torch.Tensor, stride: int = 1, padding: Pair = 0) -> torch.Tensor:
        """Convolution, batch norm, ReLU."""
        p, b = self.parameters, self.buffers
        x = F.conv2d(x, p[f"{name}.conv.weight"], stride=stride, padding=padding)
        mean, var = b[f"{name}.bn.running_mean"], b[f"{name}.bn.running_var"]
        gamma, beta = p[f"{name}.bn.weight"], p[f"{name}.bn.bias"]
        return F.relu(F.batch_norm(x, mean, var, gamma, beta, self.training, 0.1, 0.001))

    def linear(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self.parameters[f"{name}.weight"], self.parameters[f"{name}.bias"])


Oracle = Callable[[Weights, torch.Tensor], Any]


def fill(module: nn.Module) -> nn.Module:
    """float64 weights that depend on names alone, and no dropout."""
    module.double()
    module.load_state_dict(
        {
            name: minitorch_cnn.from_numpy(common.values(name, tensor.shape))
            for name, tensor in module.state_dict().items()
        }
    )
    list(common.without_dropout(module))
    return module


def close(ours: Any, theirs: torch.Tensor, what: str) -> None:
    expected = theirs.detach().numpy()
    assert tuple(ours.shape) == expected.shape, what
    np.testing.assert_allclose(
        ours.detach().numpy(),
        expected,
        rtol=0,
        atol=1e-9 * max(1, abs(expected).max()),
        err_msg=what,
    )


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """PyTorch without its pool of threads, which is slow on tiny maps and a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@one_thread()
def assert_same(module: nn.Module, oracle: Oracle, x: np.ndarray) -> None:
    """Eval outputs; train outputs, running statistics, and gradients by input and parameters."""
    fill(module)
    with minitorch_cnn.no_grad():
        y = common.outputs_of(module.eval()(minitorch_cnn.from_numpy(x)))
    for ours, theirs in zip(y, common.outputs_of(oracle(Weights(module), torch.from_numpy(x)))):
        close(ours, theirs, "eval output")

    weights = Weights(module.train())
    our_x = minitorch_cnn.from_numpy(x.copy()).requires_grad_()
    their_x = torch.from_numpy(x.copy()).requires_grad_()
    our_y = common.outputs_of(module(our_x))
    their_y = common.outputs_of(oracle(weights, their_x))
    assert len(our_y) == len(their_y)
    for i, (ours, theirs) in enumerate(zip(our_y, their_y)):
        close(ours, theirs, "train output")
        gy = common.probe(f"output {i}", theirs.shape)
        ours.backward(minitorch_cnn.from_numpy(gy), retain_graph=True)
        theirs.backward(torch.from_numpy(gy), retain_graph=True)
    close(our_x.grad, their_x.grad, "gradient by the input")
    for name, p in module.named_parameters():
        close(p.grad, weights.parameters[name].grad, f"gradient by {name}")
    for name, b in module.named_buffers():
        if not name.endswith("num_batches_tracked"):
            close(b, weights.buffers[name], name)


def sizes_at(module: nn.Module, names: list[str], x: Any) -> dict[str, tuple[int, ...]]:
    """The shapes that these layers of a module return for one input."""
    shapes = {}
    for name in names:
        module.get_submodule(name).register_forward_hook(
            lambda _module, _input, y, name=name: shapes.update({name: tuple(y.shape[1:])})
        )
    module(x)
    return shapes


def rescaled(x: np.ndarray) -> np.ndarray:
    """Back to pixels in [0, 1], then to [-1, 1]: what ``transform_input`` does, in two steps."""
    pixels = x * STD[:, None, None] + MEAN[:, None, None]
    return np.asarray((pixels - 0.5) / 0.5)
