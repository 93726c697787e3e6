"""state_dict and load_state_dict: keys, order, sharing, errors that change nothing, hooks."""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import torch

from minitorch_cnn import nn
from minitorch_cnn.tensor import Tensor

from .test_module import BOTH, make_net, tensor_of


def values(module: Any) -> dict[str, np.ndarray]:
    return {key: t.array.copy() for key, t in module.state_dict().items()}


def assert_unchanged(module: Any, before: dict[str, np.ndarray]) -> None:
    after = values(module)
    assert list(after) == list(before)
    for key, old in before.items():
        np.testing.assert_array_equal(after[key], old, err_msg=key)


def test_state_shares_memory_and_is_detached() -> None:
    net = make_net(nn)
    state = net.state_dict()
    assert isinstance(state, OrderedDict)
    assert state["scale"].array is net.scale.array
    assert not state["scale"].requires_grad
    assert net.state_dict(keep_vars=True)["scale"] is net.scale
    destination: dict[str, Any] = {"before": 1}
    assert net.state_dict(destination=destination) is destination
    assert list(destination) == ["before", *state]
    with pytest.warns(FutureWarning, match="Positional args"):
        assert list(net.state_dict({}, "x.")) == [f"x.{key}" for key in state]


def test_round_trip() -> None:
    net, other = make_net(nn), make_net(nn)
    assert not np.array_equal(net.stem[0].weight.array, other.stem[0].weight.array)
    weight = other.stem[0].weight
    result = other.load_state_dict(net.state_dict())
    assert repr(result) == "<All keys matched successfully>"
    assert result.missing_keys == result.unexpected_keys == []
    assert other.stem[0].weight is weight
    assert weight.array is not net.stem[0].weight.array
    assert_unchanged(other, values(net))


def test_takes_arrays_and_pytorchs_tensors_and_casts() -> None:
    net = make_net(nn)
    theirs = make_net(torch.nn)
    net.load_state_dict(theirs.state_dict())
    assert_unchanged(net, {k: v.numpy() for k, v in theirs.state_dict().items()})
    wide = {k: v.double().numpy() for k, v in theirs.state_dict().items()}
    net.load_state_dict(wide)
    assert_unchanged(net, {k: v.numpy() for k, v in theirs.state_dict().items()})
    parameters = dict(theirs.named_parameters(remove_duplicate=False))
    assert net.load_state_dict(parameters, strict=False).unexpected_keys == []


def test_assign_takes_the_tensors_themselves() -> None:
    net, other = make_net(nn), make_net(nn).double()
    net.heads[2].weight.requires_grad_(False)
    state = other.state_dict()
    net.load_state_dict(state, assign=True)
    assert net.stem[0].weight.array is state["stem.0.weight"].array
    assert isinstance(net.stem[0].weight, nn.Parameter)
    assert not net.heads[2].weight.requires_grad
    assert net.heads[1].weight.requires_grad
    assert net.table.array is state["table"].array


def wrong_state(net: Any) -> dict[str, Any]:
    state = dict(net.state_dict())
    del state["scale"], state["blocks.0.bn.weight"]
    state["extra.weight"] = tensor_of(nn, 2, 3)
    state["blocks.0.bogus"] = tensor_of(nn, 7)
    state["stem.0.weight.more"] = tensor_of(nn, 7)
    state["heads.2.weight"] = tensor_of(nn, 5, 4)
    return state


def test_mismatch_table_and_nothing_half_loaded() -> None:
    net = make_net(nn)
    before = values(net)
    state = wrong_state(make_net(nn))
    with pytest.raises(RuntimeError) as caught:
        net.load_state_dict(state)
    assert str(caught.value).split("\n") == [
        "Error(s) in loading state_dict for Net:",
        "    Missing key(s) in state_dict: 2",
        "        scale               [1]",
        "        blocks.0.bn.weight  [4]",
        "    Unexpected key(s) in state_dict: 3",
        "        extra.weight        [2, 3]",
        "        stem.0.weight.more  [7]",
        "        blocks.0.bogus      [7]",
        "    size mismatch for heads.2.weight:  [5, 4] in state_dict,  [3, 4] in model",
    ]
    assert_unchanged(net, before)


def test_keys_are_judged_as_in_pytorch() -> None:
    ours, theirs = make_net(nn), make_net(torch.nn)
    state = wrong_state(ours)
    del state["heads.2.weight"]
    result = ours.load_state_dict(state, strict=False)
    want = theirs.load_state_dict(
        {k: torch.from_numpy(v.array.copy()) for k, v in state.items()}, strict=False
    )
    assert result.missing_keys == want.missing_keys
    assert result.unexpected_keys == want.unexpected_keys
    assert tuple(result) == tuple(want)
    assert repr(result) == repr(want)


def test_wrong_shapes_raise_even_if_not_strict() -> None:
    net = make_net(nn)
    before = values(net)
    with pytest.raises(RuntimeError, match=r"size mismatch for heads.2.weight") as caught:
        net.load_state_dict(wrong_state(make_net(nn)), strict=False)
    assert "Missing" not in str(caught.value)
    assert_unchanged(net, before)


def test_long_lists_are_cut() -> None:
    net = nn.Sequential(*[nn.Linear(2, 2) for _ in range(30)])
    with pytest.raises(RuntimeError) as caught:
        net.load_state_dict({})
    lines = str(caught.value).split("\n")
    assert len(lines) == 11
    assert lines[1] == "    Missing key(s) in state_dict: 60"
    assert lines[-1] == "        ... and 52 more"


def test_hints() -> None:
    net = nn.Sequential(nn.Linear(2, 2))
    wrapped = {f"module.{key}": value for key, value in net.state_dict().items()}
    with pytest.raises(RuntimeError, match=r"The keys have 'module\.' in front"):
        net.load_state_dict(wrapped)
    with pytest.raises(RuntimeError, match=r"load_state_dict\(checkpoint\['net'\]\)\?"):
        net.load_state_dict({"net": net.state_dict(), "epoch": 3})
    nn.DataParallel(net).load_state_dict(wrapped)


def test_refuses_what_is_no_tensor() -> None:
    net = nn.Linear(2, 2)
    before = values(net)
    with pytest.raises(TypeError, match="dict-like"):
        net.load_state_dict([("weight", 1)])
    for bad in (3.0, "text", None, [[1, 2], [3, 4]], np.array(["a"]), np.array([1j])):
        with pytest.raises(RuntimeError, match='the value of "weight" is not a tensor'):
            net.load_state_dict({"weight": bad, "bias": np.zeros(2)})
    assert_unchanged(net, before)


def test_batch_counts_may_be_missing() -> None:
    """Files older than PyTorch 0.4.1, and formats without metadata, may lack them."""
    norm = nn.BatchNorm2d(2)
    state = {k: v for k, v in norm.state_dict().items() if k != "num_batches_tracked"}
    norm.num_batches_tracked.array += 5
    assert norm.load_state_dict(state).missing_keys == []
    assert int(norm.num_batches_tracked.array) == 5
    new = OrderedDict(state)
    new._metadata = {"": {"version": 2}}
    with pytest.raises(RuntimeError, match="num_batches_tracked"):
        norm.load_state_dict(new)


def test_scalars_of_the_oldest_files() -> None:
    class Old(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("count", Tensor._wrap(np.zeros((), np.int64)))

    old = Old()
    old.load_state_dict({"count": np.array([7])})
    assert old.count.array == 7
    assert old.count.array.shape == ()


@BOTH
def test_hooks(lib: Any) -> None:
    net = lib.Sequential(lib.Linear(2, 2, bias=False), lib.ReLU())
    seen: list[Any] = []
    handles = [
        net[0].register_state_dict_pre_hook(lambda m, prefix, keep: seen.append(("pre", prefix))),
        net[0].register_state_dict_post_hook(
            lambda m, state, prefix, meta: state.update({f"{prefix}note": 1})
        ),
        net[0].register_load_state_dict_pre_hook(
            lambda m, state, prefix, *rest: state.pop(f"{prefix}note", None)
        ),
        net.register_load_state_dict_post_hook(
            lambda m, keys: seen.append(("loaded", list(keys.missing_keys)))
        ),
    ]
    state = net.state_dict()
    assert list(state) == ["0.weight", "0.note"]
    net.load_state_dict(state, strict=False)
    net.load_state_dict({}, strict=False)
    assert seen == [("pre", "0."), ("loaded", []), ("loaded", ["0.weight"])]
    for handle in handles:
        handle.remove()
    assert list(net.state_dict()) == ["0.weight"]
    net[0].register_state_dict_post_hook(lambda *args: 1)
    with pytest.raises(RuntimeError, match="must return None"):
        net.state_dict()
    net.register_load_state_dict_post_hook(lambda *args: 1)
    with pytest.raises(AssertionError):
        net.load_state_dict({}, strict=False)


def test_private_hooks_and_copies() -> None:
    net = nn.Linear(2, 2)
    seen: list[Any] = []

    def before_load(module: Any, *args: Any) -> None:
        seen.append(module)

    net.register_load_state_dict_pre_hook(before_load)
    net._register_load_state_dict_pre_hook(lambda state, prefix, *rest: seen.append(prefix))
    net._register_state_dict_hook(lambda m, state, prefix, meta: {"only": 1})
    assert net.state_dict() == {"only": 1}
    copied = copy.deepcopy(net)
    copied.load_state_dict({}, strict=False)
    assert seen == [copied, ""]


@BOTH
def test_overridden_loading(lib: Any) -> None:
    """Layers that renamed a parameter override _load_from_state_dict, as torchvision's do."""

    class Renamed(lib.Linear):
        def _load_from_state_dict(self, state: Any, prefix: str, *args: Any) -> None:
            if f"{prefix}kernel" in state:
                state[f"{prefix}weight"] = state.pop(f"{prefix}kernel")
            super()._load_from_state_dict(state, prefix, *args)

    net = lib.Sequential(Renamed(2, 3, bias=False))
    net.load_state_dict({"0.kernel": tensor_of(lib, 3, 2)})
    assert float(net[0].weight.detach().sum()) == 6


@BOTH
def test_extra_state(lib: Any) -> None:
    class Counting(lib.Module):
        count = 3

        def get_extra_state(self) -> Any:
            return self.count

        def set_extra_state(self, state: Any) -> None:
            self.count = state

    net = lib.Sequential(Counting())
    assert net.state_dict() == {"0._extra_state": 3}
    net.load_state_dict({"0._extra_state": 9})
    assert net[0].count == 9
    with pytest.raises(RuntimeError, match="_extra_state"):
        net.load_state_dict({})
    with pytest.raises(RuntimeError, match="_extra_state"):
        lib.ReLU().load_state_dict({"_extra_state": 1})
