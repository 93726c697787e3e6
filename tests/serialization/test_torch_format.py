"""PyTorch's files, both ways: what it writes is read, what is written it reads."""

from __future__ import annotations

import io
import subprocess
import sys
from collections import Counter, OrderedDict, defaultdict
from pathlib import Path
from typing import Any

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given

import minitorch_cnn as mt
from minitorch_cnn.nn.parameter import Parameter
from minitorch_cnn.serialization import load, save
from minitorch_cnn.size import Size
from minitorch_cnn.tensor import Tensor

DTYPES = ["float16", "float32", "float64", "uint8", "int8", "int16", "int32", "int64", "bool"]
LEGACY = {"zip": True, "legacy": False}


def wrap(array: Any) -> Tensor:
    return Tensor._wrap(np.asarray(array))


def written_by_torch(obj: Any, format: str = "zip", **options: Any) -> io.BytesIO:
    file = io.BytesIO()
    torch.save(obj, file, _use_new_zipfile_serialization=LEGACY[format], **options)
    file.seek(0)
    return file


def written(obj: Any) -> io.BytesIO:
    file = io.BytesIO()
    save(obj, file)
    file.seek(0)
    return file


def native(tensor: Any) -> np.ndarray[Any, Any]:
    """The elements in this machine's byte order, the only one that files and PyTorch have."""
    if isinstance(tensor, Tensor):
        array = tensor.array
    elif tensor.dtype == torch.bfloat16:
        array = tensor.detach().view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    else:
        array = tensor.detach().numpy()
    return np.asarray(array, array.dtype.newbyteorder("="))


def assert_same(ours: Any, theirs: Any) -> None:
    """Equal values and types, tensors compared with PyTorch's or with ours."""
    if isinstance(theirs, (torch.Tensor, Tensor)):
        assert isinstance(ours, (torch.Tensor, Tensor))
        a, b = native(ours), native(theirs)
        assert ours.requires_grad == theirs.requires_grad
        np.testing.assert_array_equal(a, b, strict=True)
    elif isinstance(theirs, dict):
        assert isinstance(ours, dict)
        assert list(ours) == list(theirs)
        assert isinstance(ours, OrderedDict) == isinstance(theirs, OrderedDict)
        for key in theirs:
            assert_same(ours[key], theirs[key])
        assert getattr(ours, "_metadata", None) == getattr(theirs, "_metadata", None)
    elif isinstance(theirs, (list, tuple)):
        assert isinstance(ours, list) == isinstance(theirs, list)
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            assert_same(a, b)
    else:
        assert type(ours) is type(theirs)
        assert ours == theirs or (ours != ours and theirs != theirs)


def network() -> torch.nn.Module:
    layers = [torch.nn.Conv2d(3, 4, (2, 3)), torch.nn.BatchNorm2d(4), torch.nn.PReLU()]
    return torch.nn.Sequential(*layers, torch.nn.Linear(5, 6, bias=False))


@pytest.mark.parametrize("format", LEGACY)
def test_reads_a_training_checkpoint_of_torch(format: str) -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [3, 5])
    model(torch.randn(2, 3, 4, 7)).sum().backward()
    optimizer.step()
    checkpoint = {
        "epoch": 3,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
        "history": [(1, 0.5), (2, float("nan"))],
        "name": "net é",
        "shape": [None, True, False, 2**40, -7],
    }
    ours = load(written_by_torch(checkpoint, format))
    assert_same(ours, checkpoint)
    assert ours["scheduler"]["milestones"] == Counter({3: 1, 5: 1})


@pytest.mark.parametrize("format", LEGACY)
@pytest.mark.parametrize("dtype", DTYPES)
def test_reads_every_dtype(dtype: str, format: str) -> None:
    tensor = torch.arange(-3, 3).reshape(2, 3).to(getattr(torch, dtype))
    assert_same(load(written_by_torch(tensor, format)), tensor)


@pytest.mark.parametrize("format", LEGACY)
def test_bfloat16_both_ways(format: str) -> None:
    theirs = torch.tensor([1.0, -2.5, 3e38, float("inf"), float("nan"), 1e-40]).bfloat16()
    ours = load(written_by_torch([theirs, theirs[1:]], format))
    assert ours[0].dtype == mt.bfloat16
    assert_same(ours[0].float(), theirs.float())
    back = torch.load(written([ours[0], mt.nn.Parameter(ours[1])]), weights_only=True)
    assert_same(back[0].float(), theirs.float())
    assert back[1].dtype == torch.bfloat16
    assert back[1].data_ptr() - back[0].data_ptr() == 2


@pytest.mark.parametrize("dtype", ["complex64", "uint16", "float8_e5m2"])
def test_names_an_unsupported_dtype(dtype: str) -> None:
    with pytest.raises(mt.serialization.CheckpointError, match="torch"):
        load(written_by_torch(torch.zeros(2).to(getattr(torch, dtype))))


@pytest.mark.parametrize("format", LEGACY)
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_reads_every_pickle_protocol(protocol: int, format: str) -> None:
    obj = OrderedDict(a=[torch.ones(2), {1, 2}], b=torch.Size([2, 3]), c=b"\x00\xff", d=torch.int8)
    ours = load(written_by_torch(obj, format, pickle_protocol=protocol))
    assert_same(ours["a"][0], obj["a"][0])
    assert ours["a"][1:] == [{1, 2}]
    assert (ours["b"], type(ours["b"])) == ((2, 3), Size)
    assert ours["c"] == b"\x00\xff"
    assert ours["d"] is mt.dtypes.int8


@pytest.mark.parametrize("format", LEGACY)
def test_views_of_torch_keep_strides_and_share_memory(format: str) -> None:
    base = torch.arange(24.0).reshape(2, 3, 4)
    views = [base, base[1], base[:, 1, ::2], base.permute(2, 0, 1), base[0, 0, 0]]
    views += [base[:0], torch.ones(3, 1).expand(3, 5), torch.tensor(7), torch.zeros(0)]
    ours = load(written_by_torch(views, format))
    assert_same(ours, views)
    assert ours[3].array.strides == tuple(4 * s for s in views[3].stride())
    ours[0].array[...] = -1
    assert all((view.array == -1).all() for view in ours[1:5])
    assert not (ours[6].array == -1).any()


def test_tensor_met_twice_is_one_tensor() -> None:
    tensor = torch.ones(2)
    for file in (written_by_torch([tensor, tensor]), written([wrap(np.ones(2))] * 2)):
        first, second = load(file)
        assert first is second


@pytest.mark.parametrize("format", LEGACY)
def test_parameters_of_torch_stay_parameters(format: str) -> None:
    ours = load(written_by_torch([torch.nn.Parameter(torch.ones(2)),
                                  torch.nn.Parameter(torch.ones(2), requires_grad=False),
                                  torch.ones(2, requires_grad=True)], format))  # fmt: skip
    assert [isinstance(t, Parameter) for t in ours] == [True, True, False]
    assert [t.requires_grad for t in ours] == [True, False, True]


def test_torch_reads_what_is_written(tmp_path: Path) -> None:
    base = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    obj = OrderedDict(
        base=wrap(base),
        view=wrap(base[1, :, ::2]),
        negative=wrap(base[0, ::-1]),
        swapped=wrap(base.astype(">f4")),
        fortran=wrap(np.asfortranarray(base)),
        expanded=wrap(np.broadcast_to(base[0, 0], (3, 4))),
        gaps=wrap(np.arange(100.0)[::7]),
        scalar=wrap(np.array(3, np.int64)),
        empty=wrap(np.empty((0, 3), np.float16)),
        parameter=Parameter(wrap(np.ones(3, np.float32))),
        dtypes=[wrap(np.array([0, 1], dtype)) for dtype in DTYPES],
        plain=[None, True, 0, 255, 256, -1, 2**31, -(2**63), 2**100, 1e-300, "é\n", b"\x00\xff"],
        nested=({"a": (1, [2])}, {3: "x", (1, 2): None}, {1, 2}, Counter({5: 1})),
        numpy=[np.float32(1.5), np.int64(3), np.bool_(True), np.str_("s")],
        default=defaultdict(list, {"k": [1]}),
        size=Size((1, 2)),
        dtype=mt.dtypes.float64,
        device=mt.device("cpu"),
    )
    obj._metadata = OrderedDict({"": {"version": 1}})  # type: ignore[attr-defined]
    save(obj, tmp_path / "net.pth")
    for mmap in (False, True):
        theirs = torch.load(tmp_path / "net.pth", weights_only=True, mmap=mmap)
        size, dtype, device, numpy, default, nested = (
            theirs.pop(key) for key in ("size", "dtype", "device", "numpy", "default", "nested")
        )
        assert_same({k: obj[k] for k in theirs}, dict(theirs))
        assert theirs._metadata == obj._metadata
        assert (size, dtype) == (torch.Size([1, 2]), torch.float64)
        assert device == torch.device("cpu")
        assert [(type(x), x) for x in numpy] == [(float, 1.5), (int, 3), (bool, True), (str, "s")]
        assert (nested, default) == (obj["nested"], {"k": [1]})
        assert isinstance(theirs["parameter"], torch.nn.Parameter)
        assert theirs["base"].data_ptr() % 64 == theirs["fortran"].data_ptr() % 64 == 0
    theirs["base"][...] = -1
    assert (theirs["view"] == -1).all()
    assert len(theirs["gaps"].untyped_storage()) == 8 * theirs["gaps"].numel()


def test_a_slice_of_a_large_array_is_saved_alone() -> None:
    large = np.zeros((1000, 1000))
    assert written([wrap(large[3, :5]), wrap(large[7])]).getbuffer().nbytes < 20_000


_scalars = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text()
_arrays = hnp.arrays(
    st.sampled_from([np.dtype(d) for d in DTYPES]), hnp.array_shapes(min_dims=0, min_side=0)
)
_keys = st.text() | st.integers(-(2**40), 2**40)
_objects = st.recursive(
    _scalars | _arrays.map(wrap),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(_keys, inner, max_size=4)
        | st.dictionaries(_keys, inner, max_size=4).map(OrderedDict)
    ),
    max_leaves=12,
)


@given(_objects)
def test_any_nested_object_survives(obj: Any) -> None:
    assert_same(load(written(obj)), obj)
    assert_same(obj, torch.load(written(obj), weights_only=True))


@given(st.data())
def test_any_views_of_one_array_survive(data: st.DataObject) -> None:
    base = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    index = hnp.basic_indices(base.shape, allow_newaxis=True)
    views = [wrap(base[i]) for i in data.draw(st.lists(index, min_size=1, max_size=4))]
    ours = load(written(views))
    assert_same(ours, views)
    assert_same(views, torch.load(written(views), weights_only=True))
    forward = [min(v.array.strides, default=0) >= 0 for v in views]
    for i, a in enumerate(views):
        for j, b in enumerate(views):
            if forward[i] and forward[j] and np.shares_memory(a.array, b.array):
                assert np.shares_memory(ours[i].array, ours[j].array)


def test_loading_imports_no_torch_and_no_numba(tmp_path: Path) -> None:
    torch.save(network().state_dict(), tmp_path / "net.pth")
    code = """if True:
        import sys, minitorch_cnn
        minitorch_cnn.load("net.pth")
        print({"torch", "numba"} & {*sys.modules})
    """
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(root)},
                          capture_output=True, text=True, check=True)  # fmt: skip
    assert done.stdout == "set()\n"


@pytest.mark.parametrize(
    "location",
    [None, "cpu", mt.device("cpu"), {"cuda:0": "cpu"}, lambda storage, location: storage],
)
def test_map_location_of_today_and_then(location: Any) -> None:
    assert load(written_by_torch(torch.ones(2)), map_location=location).device.type == "cpu"


@pytest.mark.parametrize("format", LEGACY)
def test_tensors_are_moved_once_they_hold_their_values(
    format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = []

    def to(self: Tensor, device: mt.device) -> Tensor:
        moved.append(str(device))
        return wrap(self.array.copy())

    monkeypatch.setattr(Tensor, "to", to, raising=False)
    tensors = [torch.arange(5.0), torch.nn.Parameter(torch.arange(3.0))]
    for location in ("cuda:1", {"cpu": "cuda:1"}):
        assert_same(load(written_by_torch(tensors, format), map_location=location), tensors)
    assert moved == ["cuda:1"] * 4


def test_paths_file_objects_and_suffixes(tmp_path: Path) -> None:
    obj = {"w": wrap(np.ones(2))}
    for name in ["a.pt", "b.pth", "c.tar", "d"]:
        save(obj, str(tmp_path / name))
        assert_same(load(tmp_path / name), obj)
        assert_same(obj, torch.load(tmp_path / name, weights_only=True))
    with (tmp_path / "e").open("wb") as file:
        save(obj, file)
    with (tmp_path / "e").open("rb") as file:
        assert_same(load(file), obj)
    with (tmp_path / "e").open(encoding="latin-1") as text, pytest.raises(TypeError, match="'rb'"):
        load(text)  # type: ignore[arg-type]


class Point(tuple[int, int]):
    __slots__ = ()


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        (torch.nn.Linear(2, 2), r"the object, a Linear: save its state_dict\(\)"),
        ({"o": [torch.optim.SGD([torch.zeros(1)])]}, r"the object\['o'\]\[0\], a SGD: save its"),
        ([lambda x: x], r"the object\[0\], a function: code is not saved"),
        ({"f": len}, "code is not saved"),
        (np.ones(2), r"a ndarray: save torch.from_numpy\(array\)"),
        (Path("x"), "only tensors, numbers, strings"),
        (Point((1, 2)), "a Point"),
        (1j, "a complex"),
        (bytearray(2), "a bytearray"),
        (np.longdouble(1), "a longdouble"),
        ({frozenset(): 1}, "a key of type frozenset"),
        ({(1, (2,)): 1}, "a key of type tuple"),
        (2**3000, "more than 255 bytes"),
        (wrap(np.ones(2, np.complex64)), "no dtype complex64"),
    ],
)
def test_refuses_to_save_what_it_cannot_load(obj: Any, message: str) -> None:
    file = io.BytesIO()
    with pytest.raises(TypeError, match=message):
        save(obj, file)
    assert not file.getvalue()


def test_refuses_to_save_a_list_in_itself() -> None:
    cycle: list[Any] = []
    cycle.append(cycle)
    with pytest.raises(TypeError, match="nested more than 200 deep"):
        save(cycle, io.BytesIO())
