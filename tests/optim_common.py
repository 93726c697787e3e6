"""What the tests of optimizers share."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from minitorch_cnn.tensor import Tensor, op

NAMES = ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta"]

TOLERANCE = {np.float64: {"rtol": 1e-11, "atol": 1e-13}, np.float32: {"rtol": 2e-5, "atol": 2e-6}}


@op
def double(x: Any, /) -> Any:
    return x * 2, (lambda gy: gy * 2,)


def parameter(array: np.ndarray) -> Tensor:
    return Tensor._wrap(array, requires_grad=True)


def pairs(shapes: list[tuple[int, ...]], dtype: Any = np.float64, seed: int = 0) -> Any:
    """The same parameters twice: ours and PyTorch's."""
    rng = np.random.default_rng(seed)
    arrays = [np.asarray(rng.standard_normal(s), dtype) for s in shapes]
    theirs = [torch.nn.Parameter(torch.tensor(a)) for a in arrays]
    return [parameter(a.copy()) for a in arrays], theirs


def set_gradients(ours: list[Tensor], theirs: list[Any], seed: int, present: Any = None) -> None:
    rng = np.random.default_rng(seed)
    for i, (p, q) in enumerate(zip(ours, theirs)):
        g = np.asarray(rng.standard_normal(p.array.shape), p.array.dtype)
        here = present is None or present[i]
        p.grad = Tensor._wrap(g) if here else None
        q.grad = torch.tensor(g) if here else None


def assert_same(ours: list[Tensor], theirs: list[Any]) -> None:
    for p, q in zip(ours, theirs):
        np.testing.assert_allclose(
            p.array, q.detach().numpy(), **TOLERANCE[p.array.dtype.type], strict=True
        )


def assert_same_state(a: dict[str, Any], b: dict[str, Any], dtype: Any) -> None:
    """Two state dicts, ours and PyTorch's, have the same layout and values."""
    assert a["state"].keys() == b["state"].keys()
    for key in a["state"]:
        assert set(a["state"][key]) == set(b["state"][key])
        for name, value in a["state"][key].items():
            theirs = b["state"][key][name]
            assert isinstance(value, Tensor)
            np.testing.assert_allclose(
                value.array, np.asarray(theirs), **TOLERANCE[dtype], strict=True, err_msg=name
            )
    assert [set(g) for g in a["param_groups"]] == [set(g) for g in b["param_groups"]]
    for g, h in zip(a["param_groups"], b["param_groups"]):
        assert {k: _plain(v) for k, v in g.items()} == {k: _plain(v) for k, v in h.items()}


def _plain(value: Any) -> Any:
    return (
        float(np.asarray(value.array if isinstance(value, Tensor) else value))
        if hasattr(value, "shape")
        else value
    )


# Construction


def leaf(requires_grad: bool = True) -> Any:
    return Tensor._wrap(np.ones(2, np.float32), requires_grad)
