"""Optimizers against torch.optim: what may be given, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import minitorch_cnn.optim as optim
from minitorch_cnn.tensor import Tensor

from .optim_common import NAMES, assert_same, assert_same_state, double, leaf, pairs, set_gradients


def torch_leaf() -> Any:
    return torch.ones(2, requires_grad=True)


WRONG: list[tuple[str, Any]] = [
    ("empty list", lambda o, w: o.SGD([], lr=0.1)),
    ("a tensor", lambda o, w: o.SGD(w(), lr=0.1)),
    ("not iterable", lambda o, w: o.SGD(5, lr=0.1)),
    ("numbers", lambda o, w: o.SGD([1, 2], lr=0.1)),
    ("a set", lambda o, w: o.SGD([{"params": {w()}}], lr=0.1)),
    ("no params", lambda o, w: o.SGD([{"lr": 0.1}])),
    ("names missing", lambda o, w: o.SGD([("a", w()), w()])),
    ("names in one group", lambda o, w: o.SGD([{"params": [("a", w())]}, {"params": [w()]}])),
    ("group twice", lambda o, w: o.SGD([{"params": p} for p in [w()] * 2])),
    ("group not a dict", lambda o, w: o.SGD([w()]).add_param_group([w()])),
    ("lr", lambda o, w: o.SGD([w()], lr=-1)),
    ("momentum", lambda o, w: o.SGD([w()], momentum=-1)),
    ("weight_decay", lambda o, w: o.SGD([w()], weight_decay=-1)),
    ("nesterov", lambda o, w: o.SGD([w()], nesterov=True)),
    ("nesterov dampening", lambda o, w: o.SGD([w()], 0.1, 0.9, 0.1, nesterov=True)),
    ("Adam lr", lambda o, w: o.Adam([w()], lr=-1)),
    ("Adam eps", lambda o, w: o.Adam([w()], eps=-1)),
    ("Adam beta1", lambda o, w: o.Adam([w()], betas=(1.0, 0.9))),
    ("Adam beta2", lambda o, w: o.Adam([w()], betas=(0.9, -0.1))),
    ("Adam decay", lambda o, w: o.Adam([w()], weight_decay=-1)),
    ("AdamW decay", lambda o, w: o.AdamW([w()], weight_decay=-1)),
    ("RMSprop lr", lambda o, w: o.RMSprop([w()], lr=-1)),
    ("RMSprop alpha", lambda o, w: o.RMSprop([w()], alpha=-1)),
    ("RMSprop momentum", lambda o, w: o.RMSprop([w()], momentum=-1)),
    ("RMSprop eps", lambda o, w: o.RMSprop([w()], eps=-1)),
    ("RMSprop decay", lambda o, w: o.RMSprop([w()], weight_decay=-1)),
    ("Adagrad lr", lambda o, w: o.Adagrad([w()], lr=-1)),
    ("Adagrad lr_decay", lambda o, w: o.Adagrad([w()], lr_decay=-1)),
    ("Adagrad start", lambda o, w: o.Adagrad([w()], initial_accumulator_value=-1)),
    ("Adagrad eps", lambda o, w: o.Adagrad([w()], eps=-1)),
    ("Adagrad decay", lambda o, w: o.Adagrad([w()], weight_decay=-1)),
    ("Adadelta lr", lambda o, w: o.Adadelta([w()], lr=-1)),
    ("Adadelta rho", lambda o, w: o.Adadelta([w()], rho=1.5)),
    ("Adadelta eps", lambda o, w: o.Adadelta([w()], eps=-1)),
    ("Adadelta decay", lambda o, w: o.Adadelta([w()], weight_decay=-1)),
    ("fused and foreach", lambda o, w: o.Adam([w()], fused=True, foreach=True)),
]  # fmt: skip


@pytest.mark.parametrize(("what", "make"), WRONG, ids=[w for w, _ in WRONG])
def test_what_pytorch_refuses_is_refused_alike(what: str, make: Any) -> None:
    with pytest.raises(Exception) as theirs:
        make(torch.optim, torch_leaf)
    with pytest.raises(theirs.type):
        make(optim, leaf)


def test_non_leaf_is_refused() -> None:
    with pytest.raises(ValueError, match="can't optimize a non-leaf Tensor"):
        optim.SGD([double(leaf())], lr=0.1)


def test_tensor_lr_rules() -> None:
    with pytest.raises(ValueError, match="1-element"):
        optim.SGD([leaf()], lr=Tensor._wrap(np.ones(2)))
    with pytest.raises(ValueError, match="foreach=True"):
        optim.SGD([leaf()], lr=Tensor._wrap(np.ones(1)), foreach=True)


@pytest.mark.parametrize("name", NAMES)
def test_keywords_without_effect(name: str) -> None:
    with pytest.raises(NotImplementedError, match="differentiable"):
        getattr(optim, name)([leaf()], differentiable=True)
    assert getattr(optim, name)([leaf()], foreach=True).param_groups[0]["foreach"] is True


def test_duplicates_in_a_group_warn() -> None:
    p = leaf()
    with pytest.warns(UserWarning, match="duplicate"):
        optim.SGD([p, p], lr=0.1)


@pytest.mark.parametrize("name", NAMES)
def test_signature_and_repr_are_pytorchs(name: str) -> None:
    a, b = getattr(optim, name)([leaf()]), getattr(torch.optim, name)([torch_leaf()])
    assert repr(a) == repr(b)
    assert list(a.defaults) == list(b.defaults)


def test_groups_are_the_dicts_that_were_given() -> None:
    """As in PyTorch: a script that keeps its dict can change the rate there."""
    ours, theirs = {"params": iter([leaf()])}, {"params": iter([torch_leaf()])}
    for library, group in ((optim, ours), (torch.optim, theirs)):
        optimizer = library.SGD([group], lr=0.1)
        assert optimizer.param_groups[0] is group
        assert isinstance(group["params"], list)
    assert ours.keys() == theirs.keys()


def test_repr_of_groups() -> None:
    a = optim.SGD([{"params": [leaf()]}, {"params": leaf(), "lr": 1.0}], lr=0.1)
    b = torch.optim.SGD([{"params": [torch_leaf()]}, {"params": torch_leaf(), "lr": 1.0}], lr=0.1)
    assert repr(a) == repr(b)


def test_named_parameters() -> None:
    a = optim.SGD([("weight", leaf()), ("bias", leaf())], lr=0.1)
    b = torch.optim.SGD([("weight", torch_leaf()), ("bias", torch_leaf())], lr=0.1)
    assert a.state_dict()["param_groups"] == b.state_dict()["param_groups"]


def test_generators_and_parameters_without_gradients() -> None:
    constant = leaf(requires_grad=False)
    optimizer = optim.SGD((p for p in [leaf(), constant]), lr=0.1)
    optimizer.step()
    np.testing.assert_array_equal(constant.array, 1)


def test_add_param_group_later() -> None:
    ours, theirs = pairs([(2,), (3,)])
    a, b = optim.Adagrad(ours[:1], lr=0.1), torch.optim.Adagrad(theirs[:1], lr=0.1)
    for step in range(4):
        if step == 2:
            a.add_param_group({"params": ours[1], "lr": 0.5})
            b.add_param_group({"params": theirs[1], "lr": 0.5})
        set_gradients(ours, theirs, step)
        a.step()
        b.step()
    assert_same(ours, theirs)
    assert_same_state(a.state_dict(), b.state_dict(), np.float64)
