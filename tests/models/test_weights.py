"""``weights=``: files, addresses, names. What does not fit or is hostile changes, runs nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given

import minitorch_cnn as mt
from minitorch_cnn import nn
from minitorch_cnn.models import published, registry, weights
from minitorch_cnn.models.weights import Weights, WeightsEnum, closest_architecture
from minitorch_cnn.serialization import CheckpointError

from ..file_server import Page, Server, serving
from .common import facts
from .tiny import Builder, deeper_network, network, tiny_architecture, trained, written

__all__ = ["tiny_architecture"]  # a fixture, found by pytest under its name "tiny"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving() as running:
        yield running


def assert_same_function(ours: Any, theirs: Any) -> None:
    x = np.random.default_rng(1).random((2, 3, 16, 16), np.float32)
    with torch.no_grad(), mt.no_grad():
        want = theirs(torch.from_numpy(x)).numpy()
        got = ours.eval()(mt.from_numpy(x)).array
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


# Files


@pytest.mark.parametrize("legacy", [False, True])
def test_a_file_of_pytorch(tiny: Builder, tmp_path: Path, legacy: bool) -> None:
    theirs, path = trained(), tmp_path / "net.pth"
    path.write_bytes(written(theirs, _use_new_zipfile_serialization=not legacy))
    assert_same_function(tiny(weights=path), theirs)
    assert_same_function(tiny(weights=str(path), progress=False), theirs)


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".pt"])
def test_a_file_of_ours(tiny: Builder, tmp_path: Path, suffix: str) -> None:
    theirs, path = trained(), tmp_path / f"net{suffix}"
    net = network(nn)
    net.load_state_dict(theirs.state_dict())
    mt.save(net.state_dict(), path)
    assert_same_function(tiny(weights=path), theirs)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict": state, "epoch": 3, "best": 0.5},
        lambda state: {"model": state, "optimizer": {"state": {}}},
        lambda state: {"model_state_dict": state},
        lambda state: {f"module.{key}": value for key, value in state.items()},
        lambda state: {"state_dict": {f"module._orig_mod.{k}": v for k, v in state.items()}},
        lambda state: {"format": "minitorch_cnn checkpoint 1", "options": {}, "model": state},
        lambda state: {"state_dict": {"model": state}},
    ],
)
def test_checkpoints_and_wrapped_names(tiny: Builder, tmp_path: Path, wrap: Any) -> None:
    theirs = trained()
    torch.save(wrap(dict(theirs.state_dict())), tmp_path / "net.pth")
    assert_same_function(tiny(weights=tmp_path / "net.pth"), theirs)


def test_numbers_are_cast_to_the_networks_type(tiny: Builder, tmp_path: Path) -> None:
    theirs = trained().double()
    torch.save(theirs.state_dict(), tmp_path / "wide.pth")
    ours = tiny(weights=tmp_path / "wide.pth")
    assert {p.dtype for p in ours.parameters()} == {mt.float32}
    assert_same_function(ours, theirs.float())
    torch.save({k: v.half() for k, v in theirs.state_dict().items()}, tmp_path / "half.pth")
    halved = tiny(weights=tmp_path / "half.pth")
    want = theirs.state_dict()["fc.weight"].half().float().numpy()
    np.testing.assert_array_equal(halved.fc.weight.array, want)
    assert halved.bn.num_batches_tracked.dtype == mt.int64


def test_a_number_too_large_for_the_type_becomes_infinite(tmp_path: Path) -> None:
    net = network(nn)
    state = {k: v.double() if k == "fc.bias" else v for k, v in net.state_dict().items()}
    state["fc.bias"] = state["fc.bias"] * 0 + 1e300
    net.load_state_dict(state)
    assert np.isinf(net.fc.bias.array).all()


def test_files_without_batch_counters(tiny: Builder, tmp_path: Path) -> None:
    """torchvision's are such: they are older than the counters."""
    state = {k: v for k, v in trained().state_dict().items() if "num_batches" not in k}
    torch.save(state, tmp_path / "old.pth")
    assert_same_function(tiny(weights=tmp_path / "old.pth"), trained())


def test_no_random_number_is_drawn_for_weights_from_a_file(tiny: Builder, tmp_path: Path) -> None:
    (tmp_path / "net.pth").write_bytes(written(trained()))
    before = mt.get_rng_state().array.copy()
    tiny(weights=tmp_path / "net.pth")
    np.testing.assert_array_equal(mt.get_rng_state().array, before)
    tiny()
    assert not np.array_equal(mt.get_rng_state().array, before)
    for fill in (nn.init.uniform_, nn.init.normal_, nn.init.trunc_normal_):
        with nn.init.unfilled():
            assert (fill(mt.zeros(9)).array == 0).all()
        assert (fill(mt.zeros(9)).array != 0).any()


# What does not fit


def test_another_architecture_is_named_in_a_short_table(tiny: Builder, tmp_path: Path) -> None:
    torch.save(deeper_network(torch.nn).state_dict(), tmp_path / "net.pth")
    with pytest.raises(RuntimeError) as caught:
        tiny(weights=tmp_path / "net.pth")
    text = str(caught.value)
    assert text.startswith(f"cannot load {tmp_path / 'net.pth'} into tiny: ")
    assert "Unexpected key(s) in state_dict: 8" in text
    assert text.endswith("These look like the weights of deeper.")
    torch.save({f"w{i}": torch.zeros(1) for i in range(500)}, tmp_path / "strange.pth")
    with pytest.raises(RuntimeError) as caught:
        tiny(weights=tmp_path / "strange.pth")
    text = str(caught.value)
    assert "... and 492 more" in text
    assert len(text.splitlines()) < 25
    assert "look like" not in text


def test_weights_of_the_zoo_are_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    for name in ("resnet34", "wide_resnet50_2", "squeezenet1_1"):
        shapes = facts("state_dicts")[name]
        state = {key: mt.zeros(()).expand(shape) for key, shape in shapes}
        assert closest_architecture(state) == name


@pytest.mark.parametrize(
    ("file", "asked", "told"),
    [
        ({"num_classes": 7}, {}, r"num_classes=7 and the network was built with 10 \(fc.weight is"),
        ({}, {"num_classes": 3}, r"write tiny\(weights=..., num_classes=10\)\. To train for other"),
        ({"in_channels": 1}, {}, r"in_channels=1 .* 3 \(conv.weight is \[4, 1, 3, 3\] in the file"),
    ],
)
def test_another_number_of_classes_or_channels(
    tiny: Builder, tmp_path: Path, file: Any, asked: Any, told: str
) -> None:
    torch.save(trained(**file).state_dict(), tmp_path / "net.pth")
    with pytest.raises(ValueError, match=told):
        tiny(weights=tmp_path / "net.pth", **asked)
    tiny(weights=tmp_path / "net.pth", **file)


def test_other_shapes_get_the_table(tiny: Builder, tmp_path: Path) -> None:
    torch.save(trained(width=5).state_dict(), tmp_path / "net.pth")
    with pytest.raises(RuntimeError, match=r"size mismatch for conv.weight:\s+\[5, 3, 3, 3\] in"):
        tiny(weights=tmp_path / "net.pth")


def mutated(draw: Any, state: dict[str, Any]) -> dict[str, Any]:
    """The state with some tensors dropped, renamed, reshaped or of another type."""
    changed: dict[str, Any] = {}
    for key, value in state.items():
        what = draw(st.sampled_from(["keep"] * 6 + ["drop", "rename", "longer", "flat", "double"]))
        if what == "drop":
            continue
        if what == "longer":
            value = torch.cat([value.reshape(-1), value.reshape(-1), torch.ones(1)])
        elif what == "flat":
            value = value.reshape(-1)
        elif what == "double":
            value = value.double()
        changed[key + "x" if what == "rename" else key] = value
    return changed


@given(st.data(), st.booleans())
def test_a_misfit_leaves_every_weight_and_is_judged_as_in_pytorch(
    data: st.DataObject, strict: bool
) -> None:
    state = mutated(data.draw, trained(1).state_dict())
    ours, theirs = network(nn), network(torch.nn)
    before = {key: value.array.copy() for key, value in ours.state_dict().items()}
    refused = False
    try:
        want = theirs.load_state_dict(state, strict=strict)
    except RuntimeError:
        refused = True
    if refused:
        with pytest.raises(RuntimeError, match="in loading state_dict for Sequential"):
            ours.load_state_dict(state, strict=strict)
        for key, value in ours.state_dict().items():
            np.testing.assert_array_equal(value.array, before[key])
    else:
        got = ours.load_state_dict(state, strict=strict)
        assert sorted(got.missing_keys) == sorted(want.missing_keys)
        assert sorted(got.unexpected_keys) == sorted(want.unexpected_keys)
        for key in set(state) & set(before):
            value = theirs.state_dict()[key].numpy()
            np.testing.assert_array_equal(ours.state_dict()[key].array, value)


@pytest.mark.parametrize("content", [[1, 2], {}, {"epoch": 3, "best": 0.5}, torch.zeros(3)])
def test_readable_files_without_weights(tiny: Builder, tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "net.pth")
    with pytest.raises(CheckpointError, match=r"net\.pth holds no weights by name but a"):
        tiny(weights=tmp_path / "net.pth")


# Names


@pytest.fixture
def names(server: Server, monkeypatch: pytest.MonkeyPatch) -> type[WeightsEnum]:
    content = written(trained())
    server.pages["/tiny.pth"] = Page(content)
    made = Weights(
        f"{server.url}/tiny.pth",
        hashlib.sha256(content).hexdigest()[:8],
        lambda: "preparation",
        {"categories": [f"class {i}" for i in range(10)]},
    )

    class Tiny_Weights(WeightsEnum):  # torchvision's spelling
        IMAGENET1K_V1 = made
        DEFAULT = IMAGENET1K_V1

    monkeypatch.setattr(published, "PUBLISHED", {"tiny": Tiny_Weights})
    return Tiny_Weights


def test_published_names(tiny: Builder, server: Server, names: Any) -> None:
    given_as = ["DEFAULT", "IMAGENET1K_V1", "Tiny_Weights.DEFAULT", names.DEFAULT,
                names.IMAGENET1K_V1, names.IMAGENET1K_V1.value]  # fmt: skip
    for name in given_as:
        assert_same_function(tiny(weights=name), trained())
    assert [path for path, _ in server.requests] == ["/tiny.pth"], "it is downloaded once"
    with pytest.warns(UserWarning, match="pretrained"):
        assert_same_function(tiny(pretrained=True), trained())
    assert names.DEFAULT is names.IMAGENET1K_V1
    assert names.DEFAULT.transforms() == "preparation"
    assert names.DEFAULT.meta["categories"][3] == "class 3"
    assert set(names.DEFAULT.get_state_dict(progress=True)) == set(trained().state_dict())
    assert repr(names.DEFAULT) == "Tiny_Weights.IMAGENET1K_V1"


def test_published_weights_have_their_number_of_classes(
    tiny: Builder, server: Server, names: Any
) -> None:
    with pytest.raises(ValueError, match="'num_classes' expected value 10 but got 7 instead"):
        tiny(weights="DEFAULT", num_classes=7)
    assert server.requests == [], "known without the file"
    assert_same_function(tiny(weights="DEFAULT", num_classes=10), trained())


def test_mistaken_names(tiny: Builder, names: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="by name: IMAGENET1K_V1, DEFAULT"):
        tiny(weights="IMAGENET1K_V2")
    with pytest.raises(ValueError, match=r"deeper: .* by name: none"):
        registry.ARCHITECTURES["deeper"].builder(weights="DEFAULT")
    with pytest.raises(TypeError, match=r"expected Tiny_Weights but received ResNet18_Weights"):
        tiny(weights=published.ResNet18_Weights.DEFAULT)
    with pytest.raises(FileNotFoundError, match=r"tiny: there is no weight file 'missing\.pth'"):
        tiny(weights="missing.pth")
    for wrong in (True, {"conv.weight": 1}, ("a", "b", "c")):
        with pytest.raises(TypeError, match="weights is a file, an address"):
            tiny(weights=wrong)
    with pytest.raises(ValueError, match="sha256 is 64 hexadecimal digits or the first 8"):
        tiny(weights=("https://example.org/net.pth", "0123"))
    with pytest.raises(ValueError, match="is not an address"):
        tiny(weights=("ftp://example.org/net.pth", "01234567"))


def test_the_table_of_published_files() -> None:
    files: set[str] = set()
    costs = facts("model_costs")
    for name, entries in published.PUBLISHED.items():
        assert "DEFAULT" in entries.__members__
        assert published.get_model_weights(name) is entries
        for entry in entries:
            assert entry.url.startswith("https://download.pytorch.org/models/")
            file = entry.url.rpartition("/")[2]
            assert file.startswith(name.split("_")[0])
            assert file.endswith(f"-{entry.value.sha256}.pth")
            files.add(file)
            assert published.get_weight(f"{entries.__name__}.{entry.name}") is entry
            assert len(entry.meta["categories"]) == 1000
            accuracy = entry.meta["_metrics"]["ImageNet-1K"]
            assert 55 < accuracy["acc@1"] < accuracy["acc@5"] < 97
            key = {"inception_v3": "inception_v3_aux_logits-True"}.get(name, name)
            if key in costs and name != "googlenet":
                assert entry.meta["num_params"] == costs[key]["parameters"]
    assert len(files) == sum(map(len, published.PUBLISHED.values())) == 35
    assert published.ResNet50_Weights.DEFAULT.url.endswith("/resnet50-11ad3fa6.pth")
    assert published.ResNet50_Weights.DEFAULT.transforms().resize_size == [232]
    for wrong in ("ResNet50_Weights.IMAGENET1K_V9", "ResNet50_Weights", "resnet50"):
        with pytest.raises(ValueError, match="no published weights"):
            published.get_weight(wrong)
    with pytest.raises(ValueError, match="no published weights for 'plain34'"):
        published.get_model_weights("plain34")


def test_the_cache_is_the_users_unless_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("MINITORCH_CNN_CACHE_DIR", str(tmp_path))
    assert weights.cache_directory() == tmp_path / "weights"
    monkeypatch.delenv("MINITORCH_CNN_CACHE_DIR")
    assert "minitorch_cnn" in weights.cache_directory().parts
    assert weights.cache_directory().is_absolute()


# Addresses


def cached() -> list[str]:
    folder = weights.cache_directory()
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_an_address_with_and_without_checksum(tiny: Builder, server: Server) -> None:
    content = written(trained())
    server.pages["/a/net.pth"] = Page(content)
    digest = hashlib.sha256(content).hexdigest()
    url = f"{server.url}/a/net.pth"
    for address in [(url, digest), (url, digest[:8].upper()), Weights(url, digest), url, url]:
        assert_same_function(tiny(weights=address), trained())
    assert len(server.requests) == 2, "the same file twice: known by its digest and by its address"
    assert cached()[-1] == "net.pth"


def test_files_of_one_name_at_two_addresses(tiny: Builder, server: Server) -> None:
    for seed in (1, 2):
        server.pages[f"/{seed}/model.pth?download=1"] = Page(written(trained(seed)))
    for _ in range(2):
        for seed in (1, 2):
            address = f"{server.url}/{seed}/model.pth?download=1"
            assert_same_function(tiny(weights=address), trained(seed))
    assert len(cached()) == 2


def test_a_redirect_is_followed(tiny: Builder, server: Server) -> None:
    server.pages["/old.pth"] = Page(location="/new.pth")
    server.pages["/new.pth"] = Page(written(trained()))
    assert_same_function(tiny(weights=f"{server.url}/old.pth"), trained())


def test_a_redirect_to_a_local_file_is_not(tiny: Builder, server: Server, tmp_path: Path) -> None:
    (tmp_path / "net.pth").write_bytes(written(trained()))
    server.pages["/old.pth"] = Page(location=(tmp_path / "net.pth").as_uri())
    with pytest.raises(RuntimeError, match=r"could not download .*old\.pth"):
        tiny(weights=f"{server.url}/old.pth")


def test_a_download_goes_on_after_a_cut(tiny: Builder, server: Server) -> None:
    content = written(trained())
    server.pages["/net.pth"] = Page(content, cut=[1000, 500])
    digest = hashlib.sha256(content).hexdigest()
    assert_same_function(tiny(weights=(f"{server.url}/net.pth", digest)), trained())
    assert [asked for _, asked in server.requests] == [None, "bytes=1000-", "bytes=1500-"]
    assert cached() == ["net.pth"]


def test_a_wrong_file_is_not_kept(tiny: Builder, server: Server) -> None:
    server.pages["/net.pth"] = Page(written(trained()))
    with pytest.raises(RuntimeError, match=r"sha256 beginning 01234567, found [0-9a-f]{64}"):
        tiny(weights=(f"{server.url}/net.pth", "01234567"))
    assert cached() == []


def test_a_missing_file_says_where_to_put_it(tiny: Builder, server: Server) -> None:
    with pytest.raises(RuntimeError, match="HTTP Error 404") as caught:
        tiny(weights=(f"{server.url}/net.pth", "01234567"))
    assert str(weights.cache_directory() / "net.pth") in str(caught.value)


def test_a_page_instead_of_a_file(tiny: Builder, server: Server) -> None:
    server.pages["/net.pth"] = Page(b"<html>Sign in to the hotel's network</html>")
    with pytest.raises(CheckpointError, match="starts with b'<html>Si'"):
        tiny(weights=f"{server.url}/net.pth")


# Architectures with a past


def test_hooks_of_an_architecture(tmp_path: Path) -> None:
    """Old names, an extra head in the file that goes after loading, and files saved after that."""
    calls: list[str] = []

    def with_head(head: bool = True, scale: int = 1) -> Any:
        net = network(nn)
        net.scale = scale
        net.fc.head = nn.Linear(2, 2) if head else None
        return net

    def rename_keys(state: dict[str, Any]) -> dict[str, Any]:
        calls.append("rename")
        return {key.replace("old", "fc"): value for key, value in state.items()}

    def prepare_weights(options: dict[str, Any]) -> dict[str, Any]:
        return {"scale": 5, **options, "head": True}

    def finish_weights(net: Any, options: dict[str, Any]) -> None:
        calls.append("finish")
        if not options.get("head", False):
            net.fc.head = None

    with_head.rename_keys = rename_keys  # type: ignore[attr-defined]
    with_head.prepare_weights = prepare_weights  # type: ignore[attr-defined]
    with_head.finish_weights = finish_weights  # type: ignore[attr-defined]
    build = registry.architecture(input=(3, 16, 16))(with_head)

    theirs = trained()
    state = {k.replace("fc", "old"): v for k, v in theirs.state_dict().items()}
    head = {"fc.head.weight": torch.ones(2, 2), "fc.head.bias": torch.ones(2)}
    torch.save({**state, **head}, tmp_path / "published.pth")
    ours = build(weights=tmp_path / "published.pth")
    assert ours.fc.head is None
    assert ours.scale == 5
    assert calls == ["rename", "finish"]
    assert_same_function(ours, theirs)
    assert build(weights=tmp_path / "published.pth", scale=2).scale == 2
    assert (build(weights=tmp_path / "published.pth", head=True).fc.head.weight.array == 1).all()

    mt.save(ours.state_dict(), tmp_path / "saved.pth")
    again = build(weights=tmp_path / "saved.pth")
    assert again.fc.head is None
    assert_same_function(again, theirs)
    with pytest.raises(RuntimeError, match=r"fc\.head\.weight"):
        build(weights=tmp_path / "saved.pth", head=True)
