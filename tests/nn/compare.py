"""The same module here and in PyTorch: equal weights in, equal outputs and gradients out."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

from minitorch_cnn.tensor import Tensor

TOLERANCE = {np.dtype("f8"): (1e-9, 1e-10), np.dtype("f4"): (1e-4, 1e-5)}


class Constant(NamedTuple):
    """An input that gets no gradient."""

    array: np.ndarray


def ours(array: Any, requires_grad: bool = False) -> Tensor:
    return Tensor._wrap(np.array(array), requires_grad)


def theirs(array: Any, requires_grad: bool = False) -> torch.Tensor:
    return torch.from_numpy(np.array(array)).requires_grad_(requires_grad)


def close(mine: Any, want: Any, what: str = "", rtol: float = 0.0) -> None:
    """Equal within the rounding of their dtype: both None, or of equal shape, dtype and content."""
    if want is None:
        assert mine is None, what
        return
    assert mine is not None, f"{what}: PyTorch has something here"
    want = want.detach().numpy()
    usual, atol = TOLERANCE.get(want.dtype, (0, 0))
    assert mine.array.shape == want.shape, what
    assert mine.array.dtype == want.dtype, what
    np.testing.assert_allclose(mine.array, want, rtol=max(rtol, usual), atol=atol, err_msg=what)


def copy_state(module: Any, reference: torch.nn.Module) -> None:
    """Random weights for PyTorch's module, the same for ours."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, t in reference.state_dict().items():
            if t.is_floating_point():
                t.copy_(torch.rand(t.shape, generator=generator, dtype=t.dtype) - 0.4)
                if name.endswith("running_var"):
                    t.abs_().add_(0.5)
    module.load_state_dict(reference.state_dict())


def same_state(module: Any, reference: torch.nn.Module) -> None:
    mine, want = module.state_dict(), reference.state_dict()
    assert list(mine) == list(want)
    for key, value in want.items():
        close(mine[key], value, key)


def compare(
    module: Any,
    reference: torch.nn.Module,
    *arrays: Any,
    call: Any = lambda m, *xs: m(*xs),
    rtol: float = 0.0,
) -> None:
    """Forward, gradients of inputs and parameters, and the buffers afterwards."""
    wanted = [not isinstance(a, Constant) and a.dtype.kind == "f" for a in arrays]
    plain = [a.array if isinstance(a, Constant) else a for a in arrays]
    xs = [ours(a, g) for a, g in zip(plain, wanted)]
    ts = [theirs(a, g) for a, g in zip(plain, wanted)]
    # Times 1: a layer may overwrite its input, and a leaf must not be overwritten.
    y = call(module, *[x * 1 if x.requires_grad else x for x in xs])
    want = call(reference, *[t * 1 if t.requires_grad else t for t in ts])
    ys = y if isinstance(y, tuple) else (y,)
    wants = want if isinstance(want, tuple) else (want,)
    for mine, expected in zip(ys, wants, strict=True):
        close(mine, expected, "output")
    if wants[0].requires_grad:
        gy = np.random.default_rng(3).standard_normal(wants[0].shape)
        gy = np.asarray(gy, wants[0].detach().numpy().dtype)
        ys[0].backward(ours(gy))
        wants[0].backward(theirs(gy))
    for i, (x, t) in enumerate(zip(xs, ts)):
        close(x.grad, t.grad, f"gradient of input {i}", rtol)
    gradients = {name: p.grad for name, p in module.named_parameters()}
    for name, p in reference.named_parameters():
        close(gradients.pop(name), p.grad, f"gradient of {name}")
    assert not gradients
    same_state(module, reference)
